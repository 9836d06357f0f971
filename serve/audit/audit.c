/* What waits is a list for each tenant; a turn (turn.h) takes all of it, and meanwhile the next
 * list gathers. TURNS_MAX tenants have a turn at once, each at most one, and those who wait are
 * served round about: so nobody's answer waits for the sync of another's records, however many they
 * are. What is due beside (syncing the file, signing) is a turn of its own, after the answers are
 * told. */
#include "serve/audit/audit.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lane.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/tenant.h"
#include "serve/audit/erase.h"
#include "serve/audit/turn.h"

#define CHAINS_OPEN_MAX 64
#define TURNS_MAX 3 /* of the four threads that serve's lanes share */
#define QUEUED_MAX 16384
#define GROUP_MAX 4096
#define TEXT_BYTES_MAX ((size_t)6 << 20)
#define TICK_MS 1000

/* A tenant's, while something waits. Tenant "": work that needs no chain. */
struct queue {
    struct list link;
    char tenant[65];
    struct audit_job *first, **last;
};

struct place {
    struct chain chain; /* the lane's while a turn has it */
    char tenant[65];    /* whose it is, or is becoming */
    uint64_t used, looked;
    bool taken;
};

struct turn {
    struct audit_turn what;
    struct place *place; /* NULL: of tenant "" */
};

struct audit {
    struct lane lane;
    struct audit_policy policy;
    uv_mutex_t alone; /* the policy's */
    char home[PATH_MAX], anchor[PATH_MAX];
    uv_timer_t tick;
    struct signer signer;  /* the lane's, by one turn at a time */
    uv_poll_t signer_gone; /* or serve's end of the line is */
    unsigned open_handles;
    struct map queues;
    struct list ring; /* struct queue */
    size_t queued;
    struct turn *turns[TURNS_MAX];
    unsigned n_turns;
    bool looked_after; /* by the last turn that began of itself */
    bool closing, ended;
    void (*on_closed)(void *data);
    void *closed_data;
    struct audit_state state;
    struct audit_export *export;
    int64_t expired_ms; /* when texts too old were last looked for, monotonic; 0: not yet */
    struct place places[CHAINS_OPEN_MAX];
    uint64_t uses, ticks;
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

/* ---- turns ---- */

static void start(struct audit *a);

static void note(struct audit *a, const struct audit_turn *r)
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
    if (r->asked_signer) {
        s->not_signed = r->not_signed;
    }
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
    map_deinit(&a->queues);
    uv_mutex_destroy(&a->alone);
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

static void begin_end(struct audit *a)
{
    if (!a->ended) {
        a->ended = true;
        audit_export_close(a->export, on_export_closed, a);
    }
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

static void work(void *data)
{
    struct turn *t = data;
    audit_turn_take(&t->what);
}

static void finished(void *data);

static struct turn *turn_new(struct audit *a, enum audit_turn_kind kind, const char *tenant)
{
    struct turn *t = calloc(1, sizeof *t);
    if (t != NULL) {
        audit_turn_init(&t->what);
        t->what.kind = kind;
        t->what.a = a;
        t->what.policy = &a->policy;
        t->what.export = a->export;
        t->what.anchor = a->anchor;
        (void)snprintf(t->what.tenant, sizeof t->what.tenant, "%s", tenant);
    }
    return t;
}

static void submit_turn(struct audit *a, struct turn *t)
{
    struct error err;
    a->turns[a->n_turns++] = t;
    if (t->place != NULL) {
        t->place->taken = true;
        t->what.chain = &t->place->chain;
    }
    if (lane_submit(&a->lane, work, finished, t, &err) != STATUS_OK) {
        for (struct audit_job *j = t->what.jobs; j != NULL; j = j->next) {
            j->err = err;
            audit_item_free(j->items);
        }
        t->what.failed = true;
        t->what.err = err;
        finished(t);
    }
}

/* Is this tenant's chain in use, or being closed to make room? */
static bool blocked(const struct audit *a, const char *tenant)
{
    for (unsigned i = 0; i < a->n_turns; i++) {
        const struct audit_turn *t = &a->turns[i]->what;
        if (strcmp(t->tenant, tenant) == 0 ||
            (t->leaving[0] != '\0' && strcmp(t->leaving, tenant) == 0)) {
            return true;
        }
    }
    return false;
}

/* The tenant's place, or the one whose tenant has been still for longest. There are more places
 * than turns. */
static struct place *place_of(struct audit *a, const char *tenant)
{
    struct place *oldest = NULL;
    for (size_t i = 0; i < CHAINS_OPEN_MAX; i++) {
        struct place *p = &a->places[i];
        if (strcmp(p->tenant, tenant) == 0) {
            return p;
        }
        if (!p->taken && (oldest == NULL || p->used < oldest->used)) {
            oldest = p;
        }
    }
    return oldest;
}

static void begin_group(struct audit *a, struct queue *q)
{
    struct turn *t = turn_new(a, AUDIT_TURN_GROUP, q->tenant);
    if (t == NULL) {
        return; /* the tick tries again */
    }
    struct audit_job **end = &q->first;
    for (size_t n = 0; *end != NULL && n < GROUP_MAX; n++) {
        end = &(*end)->next;
    }
    t->what.jobs = q->first;
    q->first = *end;
    *end = NULL;
    list_remove(&q->link);
    if (q->first == NULL) {
        (void)map_remove(&a->queues, str_from(q->tenant));
        free(q);
    } else {
        list_push(&a->ring, &q->link);
    }
    if (t->what.tenant[0] != '\0') {
        t->place = place_of(a, t->what.tenant);
        if (strcmp(t->place->tenant, t->what.tenant) != 0) {
            memcpy(t->what.leaving, t->place->tenant, sizeof t->what.leaving);
            memcpy(t->place->tenant, t->what.tenant, sizeof t->place->tenant);
        }
        t->place->used = ++a->uses;
    }
    submit_turn(a, t);
}

static bool begin_other(struct audit *a, struct place *p, enum audit_turn_kind kind)
{
    struct turn *t = turn_new(a, kind, p->tenant);
    if (t != NULL) {
        t->place = p;
        submit_turn(a, t);
    }
    return t != NULL;
}

static struct queue *next_queue(const struct audit *a)
{
    list_for_each(it, &a->ring)
    {
        struct queue *q = list_entry(it, struct queue, link);
        if (!blocked(a, q->tenant)) {
            return q;
        }
    }
    return NULL;
}

/* A chain that nobody writes to and of which something is due, each looked at once a tick; at the
 * end all of them are closed. false: there is none, or no memory. */
static bool look_after(struct audit *a)
{
    for (size_t i = 0; i < CHAINS_OPEN_MAX; i++) {
        struct place *p = &a->places[i];
        if (p->taken || p->looked == a->ticks) {
            continue;
        }
        bool due = a->closing ? p->chain.ready : audit_care_due(&p->chain, &a->policy);
        p->looked = a->ticks;
        if (due) {
            bool begun = begin_other(a, p, a->closing ? AUDIT_TURN_LAST : AUDIT_TURN_CARE);
            p->looked -= !begun;
            return begun;
        }
    }
    return false;
}

/* Those who wait and those who are to be looked after take turns: however much the one write, what
 * another wrote before is synced and signed in its time. */
static void start(struct audit *a)
{
    while (a->n_turns < TURNS_MAX) {
        struct queue *q = next_queue(a);
        bool may_look = !a->closing || list_empty(&a->ring);
        if (may_look && (q == NULL || !a->looked_after) && look_after(a)) {
            a->looked_after = true;
            continue;
        }
        if (q == NULL) {
            break;
        }
        unsigned before = a->n_turns;
        a->looked_after = false;
        begin_group(a, q);
        if (a->n_turns == before) {
            return;
        }
    }
    if (a->closing && list_empty(&a->ring) && a->n_turns == 0) {
        begin_end(a);
    }
}

static void forget_turn(struct audit *a, const struct turn *t)
{
    for (unsigned i = 0; i < a->n_turns; i++) {
        if (a->turns[i] == t) {
            a->turns[i] = a->turns[--a->n_turns];
            return;
        }
    }
}

static void finished(void *data)
{
    struct turn *t = data;
    struct audit *a = t->what.a;
    struct audit_job *jobs = t->what.jobs;
    struct place *p = t->place;
    bool group = t->what.kind == AUDIT_TURN_GROUP;
    note(a, &t->what);
    if (a->export != NULL && t->what.lines.len > 0) {
        audit_export_put(a->export, &t->what.lines);
    }
    forget_turn(a, t);
    audit_turn_deinit(&t->what);
    free(t);
    if (p != NULL) {
        p->taken = false;
        if (group && audit_care_due(&p->chain, &a->policy)) { /* before its next group */
            (void)begin_other(a, p, AUDIT_TURN_CARE);
        }
    }
    while (jobs != NULL) {
        struct audit_job *next = jobs->next;
        a->queued--;
        jobs->done(&jobs->err, jobs->data);
        free(jobs);
        jobs = next;
    }
    start(a);
}

static void on_nothing(const struct error *err, void *data)
{
    (void)err;
    (void)data;
}

/* The chain is opened, and what is due of it is done. */
static enum status no_work(struct audit *a, struct chain *c, void *data, struct error *err)
{
    (void)a;
    (void)c;
    (void)data;
    (void)err;
    return STATUS_OK;
}

struct expiring {
    struct audit *a;
    struct buf names;
};

/* Tenants of whom nobody asks anything have texts that grow too old, too. Their names, each ended
 * by NUL, to data. On the lane. */
static enum status find_expired(struct audit *a, struct chain *none, void *data, struct error *err)
{
    struct expiring *e = data;
    char path[PATH_MAX];
    (void)none;
    int n = snprintf(path, sizeof path, "%s/tenants", a->home);
    DIR *d = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    if (d == NULL) {
        return error_errno(err, errno, "%s/tenants", a->home);
    }
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d)) {
        struct error why;
        bool wanted = false;
        if (!tenant_name_valid(str_from(f->d_name))) {
            continue;
        }
        if (audit_expire_wanted(&a->policy, f->d_name, &wanted, &why) != STATUS_OK) {
            LOG_ERROR("the audit's old texts cannot be looked for", LOG_STR("tenant", f->d_name),
                      LOG_STR("err", why.text), LOG_END);
        } else if (wanted) {
            buf_append(&e->names, f->d_name, strlen(f->d_name) + 1);
        }
    }
    (void)closedir(d);
    return STATUS_OK;
}

static void on_expired_found(const struct error *err, void *data)
{
    struct expiring *e = data;
    if (err->code != STATUS_OK) {
        LOG_ERROR("the audit's old texts cannot be looked for", LOG_STR("err", err->text), LOG_END);
    }
    for (size_t i = 0; i < e->names.len; i += strlen(e->names.ptr + i) + 1) {
        audit_run(e->a, e->names.ptr + i, no_work, on_nothing, NULL);
    }
    buf_deinit(&e->names);
    free(e);
}

static void expire(struct audit *a)
{
    struct expiring *e = calloc(1, sizeof *e);
    if (e != NULL) {
        a->expired_ms = clock_monotonic_ms();
        e->a = a;
        buf_init(&e->names, (size_t)8 << 20);
        audit_run(a, "", find_expired, on_expired_found, e);
    }
}

/* Signs what is due while nothing is asked. */
static void on_tick(uv_timer_t *t)
{
    struct audit *a = t->data;
    int64_t now = clock_monotonic_ms();
    a->ticks++;
    if (a->state.not_signed && !a->closing) { /* the chains may all be closed: has it spoken? */
        audit_run(a, "", no_work, on_nothing, NULL);
    }
    if (a->policy.keep_ms > 0 && !a->closing &&
        (a->expired_ms == 0 || now - a->expired_ms >= AUDIT_EXPIRE_EVERY_MS)) {
        expire(a);
    }
    start(a);
}

static struct queue *queue_of(struct audit *a, const char *tenant)
{
    struct queue *q = map_get(&a->queues, str_from(tenant));
    if (q == NULL && (q = calloc(1, sizeof *q)) != NULL) {
        (void)snprintf(q->tenant, sizeof q->tenant, "%s", tenant);
        q->last = &q->first;
        if (map_put(&a->queues, str_from(tenant), q, NULL) != STATUS_OK) {
            free(q);
            return NULL;
        }
        list_push(&a->ring, &q->link);
    }
    return q;
}

/* false: out of memory, or full. */
static bool submit(struct audit *a, const char *tenant, const struct audit_job *what)
{
    struct queue *q = a->queued >= QUEUED_MAX || a->closing ? NULL : queue_of(a, tenant);
    struct audit_job *j = q == NULL ? NULL : calloc(1, sizeof *j);
    if (j == NULL) {
        if (q != NULL && q->first == NULL) {
            list_remove(&q->link);
            (void)map_remove(&a->queues, str_from(tenant));
            free(q);
        }
        return false;
    }
    *j = *what;
    *q->last = j;
    q->last = &j->next;
    a->queued++;
    start(a);
    return true;
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
    const struct audit_job j = {.items = list, .done = done, .data = data};
    if (list == NULL || !whole(list) || !submit(a, list->tenant, &j)) {
        refuse(a, done, data, list);
    }
}

void audit_run(struct audit *a, const char *tenant, audit_work_fn work_fn, audit_done_fn done,
               void *data)
{
    const struct audit_job j = {.work = work_fn, .done = done, .data = data};
    if (!submit(a, tenant, &j)) {
        refuse(a, done, data, NULL);
    }
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
        .alone = &a->alone,
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
    if (a == NULL || uv_mutex_init(&a->alone) != 0) {
        free(a);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)snprintf(a->home, sizeof a->home, "%s", home);
    lane_init(&a->lane, loop, TURNS_MAX, TURNS_MAX);
    map_init(&a->queues);
    a->signer.fd = signer;
    list_init(&a->ring);
    for (size_t i = 0; i < CHAINS_OPEN_MAX; i++) {
        a->places[i].chain.fd = -1;
    }
    enum status s = read_policy(a, settings, err);
    if (s == STATUS_OK) {
        s = audit_export_open(loop, home, settings, &a->export, err);
    }
    int rc = s == STATUS_OK ? uv_poll_init(loop, &a->signer_gone, signer) : 0;
    if (rc != 0) {
        s = error_set(err, STATUS_IO, "the audit's signer: %s", uv_strerror(rc));
    }
    if (s != STATUS_OK) {
        uv_mutex_destroy(&a->alone);
        free(a);
        return s;
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
    a->ticks++;
    (void)uv_timer_stop(&a->tick);
    start(a);
}

const struct audit_policy *audit_policy(const struct audit *a)
{
    return &a->policy;
}
