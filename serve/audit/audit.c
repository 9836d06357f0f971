/* What waits is one list; a run of the lane takes all of it, writes the records tenant by tenant,
 * then does the other work, then signs what is due. Meanwhile the next list gathers. */
#include "serve/audit/audit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lane.h"
#include "base/log.h"
#include "base/tenant.h"
#include "serve/audit/chain_write.h"
#include "serve/audit/erase.h"
#include "serve/audit/internal.h"

#define CHAINS_OPEN_MAX 64
#define QUEUED_MAX 16384
#define GROUP_MAX 4096
#define TEXT_BYTES_MAX ((size_t)6 << 20)
#define TICK_MS 1000

struct job {
    struct job *next;
    struct audit_item *items; /* to write; NULL: other work */
    char tenant[65];
    audit_work_fn work;
    audit_done_fn done;
    void *data;
    struct error err;
};

struct audit {
    struct lane lane;
    struct audit_policy policy;
    char home[PATH_MAX], anchor[PATH_MAX];
    uv_timer_t tick;
    uv_poll_t signer_gone; /* or serve's end of the line is */
    unsigned open_handles;
    struct job *first, **last;
    size_t queued;
    bool running, closing, ended;
    void (*on_closed)(void *data);
    void *closed_data;
    struct audit_state state; /* the loop's */
    struct audit_export *export;
    int64_t expired_ms; /* when texts too old were last looked for, monotonic; 0: not yet */
    /* the lane's */
    struct signer signer;
    struct chain chains[CHAINS_OPEN_MAX];
    uint64_t uses;
};

/* What one run of the lane does, and brings back. */
struct run {
    struct audit *a;
    struct job *jobs;
    bool last;        /* the audit closes: sign everything */
    struct buf lines; /* to be exported */
    uint64_t records;
    bool failed, wrote;
    struct error err;
    struct buf anchors;
    bool anchored;
    struct error anchor_err;
    bool not_signed; /* the signer is silent */
};

/* ---- items ---- */

struct audit_item *audit_item_new(const char *tenant, const char *type)
{
    struct audit_item *i = calloc(1, sizeof *i);
    if (i != NULL) {
        (void)snprintf(i->tenant, sizeof i->tenant, "%s", tenant);
        i->type = type;
        buf_init(&i->fields, 7 * (size_t)1024);
        buf_init(&i->text, TEXT_BYTES_MAX);
        buf_init(&i->documents, (size_t)256 * 1024);
    }
    return i;
}

void audit_item_free(struct audit_item *i)
{
    while (i != NULL) {
        struct audit_item *next = i->next;
        buf_deinit(&i->fields);
        buf_deinit(&i->text);
        buf_deinit(&i->documents);
        free(i);
        i = next;
    }
}

/* ---- on the lane ---- */

static struct chain *chain_of(struct audit *a, const char *tenant)
{
    struct chain *slot = &a->chains[0];
    for (size_t i = 0; i < CHAINS_OPEN_MAX; i++) {
        struct chain *c = &a->chains[i];
        if (strcmp(c->tenant, tenant) == 0) {
            c->used = ++a->uses;
            return c;
        }
        slot = c->used < slot->used ? c : slot;
    }
    if (slot->pending.len > 0) { /* all of them are in this very group */
        struct error err;
        if (chain_commit(slot, &err) != STATUS_OK) {
            return NULL;
        }
    }
    chain_close(slot);
    (void)snprintf(slot->tenant, sizeof slot->tenant, "%s", tenant);
    slot->used = ++a->uses;
    return slot;
}

static enum status add_items(struct run *r, struct chain *c, struct audit_item *items,
                             struct error *err)
{
    enum status s = chain_ready(c, &r->a->policy, err);
    for (struct audit_item *i = items; i != NULL && s == STATUS_OK; i = i->next) {
        struct audit_matter m = {
            .type = i->type,
            .fields = buf_view(&i->fields),
            .text = i->text.len == 0 ? (struct str){NULL, 0} : buf_view(&i->text),
            .documents = i->documents.ptr,
            .n_documents = i->n_documents,
        };
        s = chain_add(c, &r->a->policy, &m, clock_wall_ms(), err);
    }
    return s;
}

/* One tenant's jobs of this run, in one group; they stand or fall together. */
static void write_tenant(struct run *r, struct job *from)
{
    struct error err = {.code = STATUS_OK};
    struct chain *c = chain_of(r->a, from->tenant);
    enum status s =
        c == NULL ? error_set(&err, STATUS_BUSY, "too many tenants at once") : STATUS_OK;
    uint64_t n = 0;
    for (struct job *j = from; j != NULL && s == STATUS_OK; j = j->next) {
        if (j->items != NULL && strcmp(j->tenant, from->tenant) == 0) {
            s = add_items(r, c, j->items, &err);
            n++;
        }
    }
    if (s == STATUS_OK) {
        s = chain_commit(c, &err);
    }
    if (s != STATUS_OK) {
        r->failed = true;
        r->err = err;
        if (c != NULL) {
            chain_close(c); /* read anew before the next attempt */
        }
    } else {
        r->records += n;
        r->wrote = true;
    }
    for (struct job *j = from; j != NULL; j = j->next) {
        if (j->items != NULL && strcmp(j->tenant, from->tenant) == 0) {
            audit_item_free(j->items);
            j->items = NULL;
            j->err = err;
            j->err.code = s;
            j->work = NULL;
        }
    }
}

static void do_work(struct run *r, struct job *j)
{
    struct chain *c = chain_of(r->a, j->tenant);
    enum status s = c == NULL ? error_set(&j->err, STATUS_BUSY, "too many tenants at once")
                              : chain_ready(c, &r->a->policy, &j->err);
    s = s == STATUS_OK ? chain_commit(c, &j->err) : s; /* its beginning */
    j->err.code = s == STATUS_OK ? j->work(r->a, c, j->data, &j->err) : s;
}

static void write_anchor(struct run *r)
{
    const char *path = r->a->anchor;
    if (path[0] == '\0' || r->anchors.len == 0) {
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    enum status s = fd < 0 ? error_errno(&r->anchor_err, errno, "%s", path)
                           : file_write_all(fd, r->anchors.ptr, r->anchors.len, &r->anchor_err);
    if (s == STATUS_OK && fdatasync(fd) != 0) {
        s = error_errno(&r->anchor_err, errno, "%s", path);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    r->anchored = s == STATUS_OK;
    r->anchor_err.code = s;
}

static void sign_due(struct run *r)
{
    struct audit_policy p = r->a->policy;
    struct error err;
    p.checkpoint_ms = r->last ? 0 : p.checkpoint_ms;
    for (size_t i = 0; i < CHAINS_OPEN_MAX; i++) {
        struct chain *c = &r->a->chains[i];
        if (!c->ready) {
            continue;
        }
        if (chain_settle(c, r->last, &err) != STATUS_OK) {
            LOG_ERROR("the audit's file cannot be synced", LOG_STR("tenant", c->tenant),
                      LOG_STR("err", err.text), LOG_END);
            continue;
        }
        size_t before = r->anchors.len;
        if (chain_checkpoint(c, &p, &r->anchors, &err) != STATUS_OK) {
            LOG_ERROR("the audit's head cannot be signed", LOG_STR("tenant", c->tenant),
                      LOG_STR("err", err.text), LOG_END);
        } else if (r->anchors.len > before && r->a->export != NULL) {
            audit_export_head(r->a->export,
                              (struct str){r->anchors.ptr + before, r->anchors.len - before},
                              &r->lines);
        }
        if (c->ready && audit_expire_due(c, &r->a->policy, &err) != STATUS_OK) {
            LOG_ERROR("the audit's old texts cannot be erased", LOG_STR("tenant", c->tenant),
                      LOG_STR("err", err.text), LOG_END);
        }
    }
    r->not_signed = !signer_listens(&r->a->signer);
    write_anchor(r);
}

static void take_lines(void *data, const char *tenant, struct str lines)
{
    struct run *r = data;
    audit_export_take(r->a->export, tenant, lines, &r->lines);
}

static void work(void *data)
{
    struct run *r = data;
    for (size_t i = 0; i < CHAINS_OPEN_MAX && r->a->export != NULL; i++) {
        r->a->chains[i].on_commit = take_lines;
        r->a->chains[i].commit_data = r;
    }
    for (struct job *j = r->jobs; j != NULL; j = j->next) {
        if (j->items != NULL) {
            write_tenant(r, j);
        }
    }
    for (struct job *j = r->jobs; j != NULL; j = j->next) {
        if (j->work != NULL) {
            do_work(r, j);
        }
    }
    sign_due(r);
    if (r->last) {
        for (size_t i = 0; i < CHAINS_OPEN_MAX; i++) {
            chain_close(&r->a->chains[i]);
        }
    }
}

/* ---- on the loop ---- */

static void start(struct audit *a);

static void note(struct audit *a, const struct run *r)
{
    struct audit_state *s = &a->state;
    s->records += r->records;
    s->groups += r->wrote;
    s->failures += r->failed;
    if (r->failed) {
        if (!s->failing) {
            LOG_ERROR("the audit cannot be written: nothing is answered until it can",
                      LOG_STR("err", r->err.text), LOG_END);
        }
        s->failing = true;
        (void)snprintf(s->error, sizeof s->error, "%s", r->err.text);
    } else if (r->wrote && s->failing) {
        s->failing = false;
        LOG_INFO("the audit can be written again", LOG_END);
    }
    s->not_signed = r->not_signed;
    if (r->anchored) {
        s->anchored_wall_ms = clock_wall_ms();
        s->anchor_error[0] = '\0';
    } else if (r->anchor_err.code != STATUS_OK) {
        if (s->anchor_error[0] == '\0') {
            LOG_ERROR("the audit's head cannot be anchored", LOG_STR("err", r->anchor_err.text),
                      LOG_END);
        }
        (void)snprintf(s->anchor_error, sizeof s->anchor_error, "%s", r->anchor_err.text);
    }
}

static void on_handle_closed(uv_handle_t *h)
{
    struct audit *a = h->data;
    if (--a->open_handles > 0) {
        return;
    }
    void (*closed)(void *) = a->on_closed;
    void *data = a->closed_data;
    free(a);
    closed(data);
}

static void on_export_closed(void *data)
{
    struct audit *a = data;
    a->open_handles = 2;
    uv_close((uv_handle_t *)&a->tick, on_handle_closed);
    uv_close((uv_handle_t *)&a->signer_gone, on_handle_closed);
}

/* Nobody but the start of serve can begin another: the key is out of reach by now. What is under
 * way is still recorded, and the supervisor starts both anew. */
static void on_signer_gone(uv_poll_t *p, int status, int events)
{
    struct audit *a = p->data;
    (void)status;
    (void)events;
    (void)uv_poll_stop(p);
    if (!a->closing) {
        LOG_ERROR("the signer of the audit is gone: serve ends, to be started with a new one",
                  LOG_END);
        (void)raise(SIGTERM);
    }
}

static void finished(void *data)
{
    struct run *r = data;
    struct audit *a = r->a;
    struct job *jobs = r->jobs;
    bool last = r->last;
    note(a, r);
    if (a->export != NULL && r->lines.len > 0) {
        audit_export_put(a->export, &r->lines);
    }
    buf_deinit(&r->lines);
    buf_deinit(&r->anchors);
    free(r);
    a->running = false;
    while (jobs != NULL) {
        struct job *next = jobs->next;
        a->queued--;
        jobs->done(&jobs->err, jobs->data);
        free(jobs);
        jobs = next;
    }
    if (last) {
        audit_export_close(a->export, on_export_closed, a);
        return;
    }
    start(a);
}

static void start(struct audit *a)
{
    struct error err;
    if (a->running || (a->first == NULL && !a->closing)) {
        return;
    }
    struct run *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return; /* the tick tries again */
    }
    r->a = a;
    buf_init(&r->lines, (size_t)16 << 20);
    buf_init(&r->anchors, (size_t)64 * 1024);
    struct job **end = &a->first;
    for (size_t n = 0; *end != NULL && n < GROUP_MAX; n++) {
        end = &(*end)->next;
    }
    r->jobs = a->first;
    a->first = *end;
    *end = NULL;
    if (a->first == NULL) {
        a->last = &a->first;
        r->last = a->closing;
    }
    a->running = true;
    if (lane_submit(&a->lane, work, finished, r, &err) != STATUS_OK) {
        for (struct job *j = r->jobs; j != NULL; j = j->next) {
            j->err = err;
            audit_item_free(j->items);
        }
        r->last = false;
        r->failed = true;
        r->err = err;
        finished(r);
    }
}

static void on_nothing(const struct error *err, void *data)
{
    (void)err;
    (void)data;
}

static enum status no_work(struct audit *a, struct chain *c, void *data, struct error *err)
{
    (void)a;
    (void)c;
    (void)data;
    (void)err;
    return STATUS_OK;
}

/* Tenants of whom nobody asks anything have texts that grow too old, too. On the lane. */
static enum status expire_all(struct audit *a, struct chain *unused, void *data, struct error *err)
{
    char path[PATH_MAX];
    (void)unused; /* its place may be needed */
    (void)data;
    int n = snprintf(path, sizeof path, "%s/tenants", a->home);
    DIR *d = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    if (d == NULL) {
        return error_errno(err, errno, "%s/tenants", a->home);
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct error why;
        bool wanted = false;
        if (!tenant_name_valid(str_from(e->d_name))) {
            continue;
        }
        enum status s = audit_expire_wanted(&a->policy, e->d_name, &wanted, &why);
        if (s == STATUS_OK && wanted) {
            struct chain *c = chain_of(a, e->d_name);
            s = c == NULL ? error_set(&why, STATUS_BUSY, "too many tenants at once")
                          : chain_ready(c, &a->policy, &why);
            s = s == STATUS_OK ? audit_expire_due(c, &a->policy, &why) : s;
        }
        if (s != STATUS_OK) {
            LOG_ERROR("the audit's old texts cannot be erased", LOG_STR("tenant", e->d_name),
                      LOG_STR("err", why.text), LOG_END);
        }
    }
    (void)closedir(d);
    return STATUS_OK;
}

static void on_expired(const struct error *err, void *data)
{
    (void)data;
    if (err->code != STATUS_OK) {
        LOG_ERROR("the audit's old texts cannot be looked for", LOG_STR("err", err->text), LOG_END);
    }
}

/* Signs what is due while nothing is asked. */
static void on_tick(uv_timer_t *t)
{
    struct audit *a = t->data;
    int64_t now = clock_monotonic_ms();
    if (a->policy.keep_ms > 0 && !a->closing &&
        (a->expired_ms == 0 || now - a->expired_ms >= AUDIT_EXPIRE_EVERY_MS)) {
        a->expired_ms = now;
        audit_run(a, "main", expire_all, on_expired, NULL);
    }
    if (a->first == NULL && a->state.records > 0 && !a->running && !a->closing) {
        audit_run(a, "main", no_work, on_nothing, NULL);
    }
    start(a);
}

static void submit(struct audit *a, struct job *j)
{
    *a->last = j;
    a->last = &j->next;
    a->queued++;
    start(a);
}

static void refuse(struct audit *a, audit_done_fn done, void *data, struct audit_item *items)
{
    const struct error err = {.code = STATUS_BUSY, .text = "too much waits for the audit"};
    (void)a;
    audit_item_free(items);
    done(&err, data);
}

static bool whole(const struct audit_item *i)
{
    for (; i != NULL; i = i->next) {
        if (buf_status(&i->fields) != STATUS_OK || buf_status(&i->text) != STATUS_OK ||
            buf_status(&i->documents) != STATUS_OK) {
            return false;
        }
    }
    return true;
}

void audit_put(struct audit *a, struct audit_item *list, audit_done_fn done, void *data)
{
    struct job *j = list == NULL || !whole(list) || a->queued >= QUEUED_MAX || a->closing
                        ? NULL
                        : calloc(1, sizeof *j);
    if (j == NULL) {
        refuse(a, done, data, list);
        return;
    }
    *j = (struct job){.items = list, .done = done, .data = data};
    memcpy(j->tenant, list->tenant, sizeof j->tenant);
    submit(a, j);
}

void audit_run(struct audit *a, const char *tenant, audit_work_fn work_fn, audit_done_fn done,
               void *data)
{
    struct job *j = a->queued >= QUEUED_MAX || a->closing ? NULL : calloc(1, sizeof *j);
    if (j == NULL) {
        refuse(a, done, data, NULL);
        return;
    }
    *j = (struct job){.work = work_fn, .done = done, .data = data};
    (void)snprintf(j->tenant, sizeof j->tenant, "%s", tenant);
    submit(a, j);
}

void audit_state(const struct audit *a, struct audit_state *out)
{
    *out = a->state;
    out->anchoring = a->anchor[0] != '\0';
}

/* ---- start and end ---- */

static enum status read_policy(struct audit *a, const struct settings *set, struct error *err)
{
    const char *payload = set->audit.payload;
    a->policy = (struct audit_policy){
        .home = a->home,
        .signer = &a->signer,
        .payload = strcmp(payload, "none") == 0        ? AUDIT_NONE
                   : strcmp(payload, "encrypted") == 0 ? AUDIT_ENCRYPTED
                                                       : AUDIT_KEEP,
        .checkpoint_ms = set->audit.checkpoint_ms,
        .keep_ms = set->audit.keep_days * 24 * 3600 * 1000,
    };
    if (a->policy.payload == AUDIT_ENCRYPTED &&
        !hex_decode(set->audit.auditor_key, a->policy.auditor, sizeof a->policy.auditor)) {
        return error_set(err, STATUS_INVALID,
                         "audit.payload is encrypted: audit.auditor_key must be the auditor's "
                         "public key, 64 hexadecimal digits (`carrel audit key` makes a pair)");
    }
    int n = set->audit.anchor[0] == '/' || set->audit.anchor[0] == '\0'
                ? snprintf(a->anchor, sizeof a->anchor, "%s", set->audit.anchor)
                : snprintf(a->anchor, sizeof a->anchor, "%s/%s", a->home, set->audit.anchor);
    return n >= 0 && (size_t)n < sizeof a->anchor
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE, "audit.anchor: path too long");
}

enum status audit_open(uv_loop_t *loop, const char *home, const struct settings *settings,
                       int signer, struct audit **out, struct error *err)
{
    struct audit *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)snprintf(a->home, sizeof a->home, "%s", home);
    lane_init(&a->lane, loop, 1, 4);
    a->last = &a->first;
    a->signer.fd = signer;
    for (size_t i = 0; i < CHAINS_OPEN_MAX; i++) {
        a->chains[i].fd = -1;
    }
    enum status s = read_policy(a, settings, err);
    if (s == STATUS_OK) {
        s = audit_export_open(loop, home, settings, &a->export, err);
    }
    if (s != STATUS_OK) {
        free(a);
        return s;
    }
    int rc = uv_poll_init(loop, &a->signer_gone, signer);
    if (rc != 0) {
        free(a);
        return error_set(err, STATUS_IO, "the audit's signer: %s", uv_strerror(rc));
    }
    a->signer_gone.data = a;
    (void)uv_poll_start(&a->signer_gone, UV_DISCONNECT, on_signer_gone);
    (void)uv_timer_init(loop, &a->tick);
    a->tick.data = a;
    (void)uv_timer_start(&a->tick, on_tick, TICK_MS, TICK_MS);
    *out = a;
    return STATUS_OK;
}

void audit_close(struct audit *a, void (*on_closed)(void *data), void *data)
{
    a->on_closed = on_closed;
    a->closed_data = data;
    a->closing = true;
    (void)uv_timer_stop(&a->tick);
    start(a);
}

const struct audit_policy *audit_policy(const struct audit *a)
{
    return &a->policy;
}
