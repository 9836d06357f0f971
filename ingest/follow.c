#include "ingest/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "ingest/scan.h"

/* The way of a change:
 *   event -> touched (waits until at rest) -> check batch (journal lane) -> on_work
 *   move  -> moved op (journal lane)                                     -> on_work
 *   new folder, start, lost events -> scan step (scan lane) -> seen op (journal lane) -> ...
 *                                  -> verify ops (what the journal has and the disk no longer) */
#define FINISHED_MS 50
#define RETRY_MS 2000
#define CHECK_BATCH 128
#define TOUCHED_MAX 65536
#define MOVES_MAX 1024
#define SCANS_WAITING_MAX 1024
#define ROWS_A_STEP 512
#define DEFERRED_MAX 3
#define GONE_WAITS 200 /* of FINISHED_MS */
#define LIMITED_RESCAN_S 30

struct touched {
    struct list link;
    int64_t due;
    unsigned waits; /* > 0: reported gone; how often it may still wait for a scan under way */
    size_t len;
    char path[];
};

struct check_op {
    struct journal_op op;
    struct follow *f;
    struct touched *items[CHECK_BATCH];
    enum checked found[CHECK_BATCH];
    bool more[CHECK_BATCH];
    size_t n;
};

struct move_op {
    struct journal_op op;
    struct follow *f;
    enum checked found;
    bool more;
    struct str from, to;
    char bytes[];
};

struct wanted_scan {
    struct list link;
    size_t len;
    char path[];
};

struct scanning {
    struct journal_op op;
    struct follow *f;
    struct scan *scan;
    struct scan_step step;
    struct wanted_scan *prefix;
    enum checked found[SCAN_STEP_FILES];
    bool settling[SCAN_STEP_FILES];
    size_t passed_over;
    bool unreadable, limit;
    bool any_settling;
    int64_t cursor;
    bool changed, end;
    size_t files;
};

struct follow {
    struct follow_options o;
    int root;
    struct watch *watch;
    uv_timer_t settle;
    uv_timer_t rescan;
    struct map touched;      /* path -> struct touched */
    struct list soon, later; /* each in order of due */
    bool checking;
    size_t moves;
    struct list scans;
    size_t n_scans;
    struct scanning *scanning;
    bool whole_wanted;
    unsigned deferred; /* whole scans in a row that met files not yet at rest */
    struct follow_status st;
    bool missing_said, limit_said;
    bool closing;
    int open_handles;
    void (*on_closed)(void *data);
    void *closed_data;
};

static void arm_settle(struct follow *f);
static void start_scan(struct follow *f);
static void maybe_closed(struct follow *f);
static void on_rescan(uv_timer_t *timer);

static int64_t now_of(const struct follow *f)
{
    return (int64_t)uv_now(f->o.loop);
}

/* ---- coming to rest ---- */

static void touch_at(struct follow *f, struct str path, struct list *queue, int64_t delay)
{
    if (f->closing || path.len == 0 || path.len > INGEST_PATH_MAX) {
        return;
    }
    struct touched *t = map_get(&f->touched, path);
    if (t == NULL) {
        t = f->touched.len < TOUCHED_MAX ? malloc(sizeof *t + path.len) : NULL;
        if (t == NULL) {
            f->whole_wanted = true; /* more than can be remembered: look at everything instead */
            return;
        }
        t->waits = 0;
        t->len = path.len;
        memcpy(t->path, path.ptr, path.len);
        list_init(&t->link);
        if (map_put(&f->touched, path, t, NULL) != STATUS_OK) {
            free(t);
            f->whole_wanted = true;
            return;
        }
    }
    t->due = now_of(f) + delay;
    list_remove(&t->link);
    list_push(queue, &t->link);
    arm_settle(f);
}

void follow_touch(struct follow *f, struct str path, bool finished)
{
    if (finished) {
        touch_at(f, path, &f->soon, FINISHED_MS);
    } else {
        touch_at(f, path, &f->later, f->o.settle_ms);
    }
}

static enum status run_check(struct journal *j, struct journal_op *op, struct error *err)
{
    struct check_op *c = container_of(op, struct check_op, op);
    for (size_t i = 0; i < c->n; i++) {
        struct str path = {.ptr = c->items[i]->path, .len = c->items[i]->len};
        enum status s =
            journal_check(j, c->f->root, path, ROWS_A_STEP, &c->found[i], &c->more[i], err);
        if (s == STATUS_FORBIDDEN || s == STATUS_INVALID || s == STATUS_NOT_FOUND) {
            c->found[i] =
                CHECKED_IGNORED; /* may not be looked at: nothing is known to have changed */
            c->more[i] = false;
        } else if (s != STATUS_OK) {
            return s;
        }
    }
    return STATUS_OK;
}

static void want_scan(struct follow *f, struct str prefix)
{
    struct wanted_scan *w =
        f->n_scans < SCANS_WAITING_MAX ? malloc(sizeof *w + prefix.len + 1) : NULL;
    if (w == NULL) {
        f->whole_wanted = true;
    } else {
        w->len = prefix.len;
        memcpy(w->path, prefix.ptr, prefix.len);
        w->path[prefix.len] = '\0';
        list_push(&f->scans, &w->link);
        f->n_scans++;
    }
    start_scan(f);
}

static void check_done(struct journal_op *op)
{
    struct check_op *c = container_of(op, struct check_op, op);
    struct follow *f = c->f;
    bool work = false;
    f->checking = false;
    for (size_t i = 0; i < c->n; i++) {
        struct str path = {.ptr = c->items[i]->path, .len = c->items[i]->len};
        if (op->err.code != STATUS_OK) {
            touch_at(f, path, &f->later, RETRY_MS);
        } else {
            work = work || c->found[i] == CHECKED_QUEUED;
            if (c->found[i] == CHECKED_FOLDER && !f->closing) {
                want_scan(f, path);
            } else if (c->more[i]) {
                touch_at(f, path, &f->soon, 0);
            }
        }
        free(c->items[i]);
    }
    if (op->err.code != STATUS_OK) {
        LOG_WARN("changes could not be written down, will be tried again",
                 LOG_STR("tenant", f->o.tenant), LOG_STR("err", op->err.text), LOG_END);
    }
    free(c);
    if (work) {
        f->o.on_work(f->o.data);
    }
    arm_settle(f);
    maybe_closed(f);
}

static void collect_due(struct follow *f, struct list *queue, int64_t now, struct check_op *c)
{
    while (c->n < CHECK_BATCH && !list_empty(queue)) {
        struct touched *t = list_entry(queue->next, struct touched, link);
        if (t->due > now) {
            break;
        }
        list_remove(&t->link);
        if (t->waits > 0 && (f->scanning != NULL || f->n_scans > 0)) {
            t->waits--; /* the scan may yet meet the file under its new name */
            t->due = now + FINISHED_MS;
            list_push(&f->soon, &t->link);
            continue;
        }
        (void)map_remove(&f->touched, (struct str){.ptr = t->path, .len = t->len});
        c->items[c->n++] = t;
    }
}

static void on_settle(uv_timer_t *timer)
{
    struct follow *f = container_of(timer, struct follow, settle);
    if (f->whole_wanted && f->scanning == NULL) {
        start_scan(f);
    }
    if (f->checking || f->closing || f->root < 0) {
        return;
    }
    struct check_op *c = calloc(1, sizeof *c);
    if (c == NULL) {
        arm_settle(f);
        return;
    }
    c->f = f;
    c->op.run = run_check;
    c->op.done = check_done;
    collect_due(f, &f->soon, now_of(f), c);
    collect_due(f, &f->later, now_of(f), c);
    if (c->n == 0) {
        free(c);
        arm_settle(f);
        return;
    }
    f->checking = true;
    journal_submit(f->o.journal, &c->op);
}

static void arm_settle(struct follow *f)
{
    if (f->checking || f->closing) {
        return;
    }
    int64_t due = INT64_MAX;
    if (!list_empty(&f->soon)) {
        due = list_entry(f->soon.next, struct touched, link)->due;
    }
    if (!list_empty(&f->later)) {
        int64_t d = list_entry(f->later.next, struct touched, link)->due;
        due = d < due ? d : due;
    }
    if (due == INT64_MAX && !f->whole_wanted) {
        return;
    }
    int64_t wait = due == INT64_MAX ? 100 : due - now_of(f);
    (void)uv_timer_start(&f->settle, on_settle, wait < 1 ? 1 : (uint64_t)wait, 0);
}

/* ---- moves ---- */

static enum status run_move(struct journal *j, struct journal_op *op, struct error *err)
{
    struct move_op *m = container_of(op, struct move_op, op);
    return journal_moved(j, m->f->root, m->from, m->to, ROWS_A_STEP, &m->found, &m->more, err);
}

static void move_done(struct journal_op *op)
{
    struct move_op *m = container_of(op, struct move_op, op);
    struct follow *f = m->f;
    if (op->err.code == STATUS_OK && m->more && !f->closing) {
        journal_submit(f->o.journal, &m->op);
        f->o.on_work(f->o.data);
        return;
    }
    f->moves--;
    if (op->err.code != STATUS_OK) { /* told apart as two changes, the journal finds it by inode */
        touch_at(f, m->from, &f->later, RETRY_MS);
        touch_at(f, m->to, &f->later, RETRY_MS);
    } else if (m->found == CHECKED_FOLDER && !f->closing) {
        want_scan(f, m->to);
    }
    free(m);
    f->o.on_work(f->o.data);
    maybe_closed(f);
}

static void on_moved(void *data, struct str from, struct str to, bool folder)
{
    (void)folder;
    struct follow *f = data;
    struct move_op *m =
        f->moves < MOVES_MAX && !f->closing ? calloc(1, sizeof *m + from.len + to.len + 2) : NULL;
    if (m == NULL) {
        follow_touch(f, to, true);
        touch_at(f, from, &f->later, f->o.settle_ms);
        return;
    }
    memcpy(m->bytes, from.ptr, from.len);
    memcpy(m->bytes + from.len + 1, to.ptr, to.len);
    m->from = (struct str){.ptr = m->bytes, .len = from.len};
    m->to = (struct str){.ptr = m->bytes + from.len + 1, .len = to.len};
    m->f = f;
    m->op.run = run_move;
    m->op.done = move_done;
    f->moves++;
    journal_submit(f->o.journal, &m->op);
}

/* ---- scans ---- */

static void scan_next(struct scanning *c);

static void scan_end(struct scanning *c)
{
    struct follow *f = c->f;
    if (c->prefix->len == 0) {
        f->st.passed_over = c->passed_over;
        f->st.unreadable = c->unreadable;
        f->st.watch_limit = c->limit;
        f->st.scanned = true;
        LOG_INFO("folder scanned", LOG_STR("tenant", f->o.tenant), LOG_INT("files", c->files),
                 LOG_INT("passed_over", c->passed_over), LOG_END);
    } else {
        f->st.watch_limit = f->st.watch_limit || c->limit;
    }
    if (c->limit && !f->limit_said) {
        f->limit_said = true;
        LOG_ERROR("the system's limit on watched folders is reached (fs.inotify.max_user_watches): "
                  "changes are found by a rescan every 30 s until it is raised",
                  LOG_STR("tenant", f->o.tenant), LOG_END);
    }
    f->scanning = NULL;
    scan_free(c->scan);
    arena_reset(&c->step.arena);
    free(c->prefix);
    free(c);
    if (!f->closing) {
        start_scan(f);
    }
    maybe_closed(f);
}

/* The journal could not be written (a full disk): the scan is dropped and made again. */
static bool scan_failed(struct scanning *c)
{
    if (c->op.err.code == STATUS_OK) {
        return false;
    }
    LOG_WARN("the scan could not be written down, will be made again",
             LOG_STR("tenant", c->f->o.tenant), LOG_STR("err", c->op.err.text), LOG_END);
    (void)uv_timer_start(&c->f->rescan, on_rescan, 5 * RETRY_MS, (uint64_t)c->f->o.rescan_s * 1000);
    scan_end(c);
    return true;
}

static enum status run_verify(struct journal *j, struct journal_op *op, struct error *err)
{
    struct scanning *c = container_of(op, struct scanning, op);
    int64_t cursor = c->cursor; /* kept for the case that this runs twice */
    struct str prefix = {.ptr = c->prefix->path, .len = c->prefix->len};
    enum status s =
        journal_verify(j, c->f->root, prefix, &cursor, ROWS_A_STEP, &c->changed, &c->end, err);
    if (s == STATUS_OK) {
        c->cursor = cursor;
    }
    return s;
}

static void verify_done(struct journal_op *op)
{
    struct scanning *c = container_of(op, struct scanning, op);
    if (scan_failed(c)) {
        return;
    }
    if (c->changed) {
        c->changed = false;
        c->f->o.on_work(c->f->o.data);
    }
    if (c->end || c->f->closing) {
        scan_end(c);
    } else {
        journal_submit(c->f->o.journal, &c->op);
    }
}

static enum status run_seen(struct journal *j, struct journal_op *op, struct error *err)
{
    struct scanning *c = container_of(op, struct scanning, op);
    int64_t now_ns = clock_wall_ms() * 1000000;
    int64_t rest_ns = c->f->o.settle_ms * 1000000;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < c->step.n && s == STATUS_OK; i++) {
        const struct scan_file *file = &c->step.files[i];
        int64_t age = now_ns - file->stamp.ctime_ns;
        c->settling[i] = age >= 0 && age < rest_ns;
        c->found[i] = CHECKED_SAME;
        /* A rename is a fresh ctime too: what only changed its name must not wait, else its old
         * path is taken for gone first and the document with it. */
        s = c->settling[i]
                ? journal_renamed(j, c->f->root, file->path, &file->stamp, &c->found[i], err)
                : journal_seen(j, c->f->root, file->path, &file->stamp, &c->found[i], err);
    }
    return s;
}

static void seen_done(struct journal_op *op)
{
    struct scanning *c = container_of(op, struct scanning, op);
    struct follow *f = c->f;
    if (scan_failed(c)) {
        return;
    }
    bool work = false;
    for (size_t i = 0; i < c->step.n; i++) {
        work = work || c->found[i] == CHECKED_QUEUED;
        if (c->settling[i]) {
            c->any_settling = true;
            follow_touch(f, c->step.files[i].path, false);
        }
    }
    if (work) {
        f->o.on_work(f->o.data);
    }
    if (f->closing) {
        scan_end(c);
    } else if (!c->step.end) {
        scan_next(c);
    } else if (c->any_settling && c->prefix->len == 0 && f->deferred < DEFERRED_MAX) {
        /* One of them may be a document under a new name: nothing is taken for gone before they
         * have come to rest and a second scan has seen them. */
        f->deferred++;
        (void)uv_timer_start(&f->rescan, on_rescan, (uint64_t)f->o.settle_ms + FINISHED_MS,
                             (uint64_t)f->o.rescan_s * 1000);
        scan_end(c);
    } else {
        f->deferred = c->prefix->len == 0 ? 0 : f->deferred;
        c->op.run = run_verify;
        c->op.done = verify_done;
        c->cursor = 0;
        journal_submit(f->o.journal, &c->op);
    }
}

static void run_step(void *job)
{
    struct scanning *c = job;
    scan_run_step(c->scan, &c->step);
}

static void step_done(void *job)
{
    struct scanning *c = job;
    c->passed_over += c->step.passed_over;
    c->unreadable = c->unreadable || c->step.unreadable;
    c->limit = c->limit || c->step.watch_limit;
    c->files += c->step.n;
    if (c->f->closing) {
        scan_end(c);
        return;
    }
    c->op.run = run_seen;
    c->op.done = seen_done;
    journal_submit(c->f->o.journal, &c->op);
}

static void scan_next(struct scanning *c)
{
    arena_reset(&c->step.arena);
    c->step.passed_over = 0;
    if (lane_submit(c->f->o.scans, run_step, step_done, c, &c->op.err) != STATUS_OK) {
        (void)scan_failed(c);
    }
}

/* The folder itself may have been replaced or mounted anew: lanes that hold the descriptor's number
 * see the old folder or the new one, never none. */
static bool open_root(struct follow *f)
{
    int fd = open(f->o.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        if (!f->missing_said) {
            LOG_ERROR("the watched folder is missing: its documents are kept until it is back",
                      LOG_STR("tenant", f->o.tenant), LOG_END);
        }
        f->missing_said = true;
        f->st.missing = true;
        return false;
    }
    f->missing_said = false;
    f->st.missing = false;
    if (f->root < 0) {
        f->root = fd;
        return true;
    }
    struct stat now;
    struct stat was;
    if (fstat(fd, &now) == 0 && fstat(f->root, &was) == 0 &&
        (now.st_ino != was.st_ino || now.st_dev != was.st_dev)) {
        (void)dup3(fd, f->root, O_CLOEXEC);
    }
    (void)close(fd);
    return true;
}

/* ---- what the watch says ---- */

static void on_touched(void *data, struct str path, bool finished)
{
    follow_touch(data, path, finished);
}

static void on_gone(void *data, struct str path)
{
    struct follow *f = data;
    follow_touch(f, path, true);
    struct touched *t = map_get(&f->touched, path);
    if (t != NULL) {
        t->waits = GONE_WAITS;
    }
}

static void on_folder(void *data, struct str path)
{
    want_scan(data, path);
}

static void on_lost(void *data, const char *why)
{
    follow_lost(data, why);
}

static bool open_watch(struct follow *f)
{
    static const struct watch_callbacks callbacks = {
        .touched = on_touched,
        .moved = on_moved,
        .gone = on_gone,
        .folder = on_folder,
        .lost = on_lost,
    };
    struct error err;
    if (f->watch == NULL &&
        watch_new(f->o.loop, f->root, &callbacks, f, &f->watch, &err) != STATUS_OK) {
        f->st.watch_limit = true;
        LOG_ERROR("the folder cannot be watched, only rescanned", LOG_STR("tenant", f->o.tenant),
                  LOG_STR("err", err.text), LOG_END);
        return false;
    }
    return true;
}

static void start_scan(struct follow *f)
{
    if (f->scanning != NULL || f->closing || (!f->whole_wanted && list_empty(&f->scans))) {
        return;
    }
    struct wanted_scan *w;
    if (f->whole_wanted) {
        f->whole_wanted = false;
        if (!open_root(f)) {
            return;
        }
        (void)open_watch(f);
        w = calloc(1, sizeof *w + 1);
    } else {
        w = list_entry(f->scans.next, struct wanted_scan, link);
        list_remove(&w->link);
        f->n_scans--;
    }
    struct scanning *c = w == NULL || f->root < 0 ? NULL : calloc(1, sizeof *c);
    if (c != NULL) {
        c->scan = scan_new(f->root, f->watch, (struct str){.ptr = w->path, .len = w->len});
    }
    if (c == NULL || c->scan == NULL) { /* the next rescan makes up for it */
        free(c);
        free(w);
        return;
    }
    c->f = f;
    c->prefix = w;
    arena_init(&c->step.arena, 8 << 20);
    f->scanning = c;
    scan_next(c);
}

static void on_rescan(uv_timer_t *timer)
{
    struct follow *f = container_of(timer, struct follow, rescan);
    f->whole_wanted = true;
    int64_t every = f->o.rescan_s;
    if ((f->st.watch_limit || f->st.missing) && every > LIMITED_RESCAN_S) {
        every = LIMITED_RESCAN_S;
    }
    uv_timer_set_repeat(timer, (uint64_t)every * 1000);
    (void)uv_timer_again(timer);
    start_scan(f);
}

void follow_rescan(struct follow *f)
{
    f->whole_wanted = true;
    arm_settle(f);
}

void follow_lost(struct follow *f, const char *why)
{
    f->st.lost++;
    LOG_WARN("changes were missed, looking at everything", LOG_STR("tenant", f->o.tenant),
             LOG_STR("why", why), LOG_END);
    follow_rescan(f);
}

/* ---- life ---- */

enum status follow_new(const struct follow_options *o, struct follow **out, struct error *err)
{
    struct follow *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    f->o = *o;
    f->root = -1;
    map_init(&f->touched);
    list_init(&f->soon);
    list_init(&f->later);
    list_init(&f->scans);
    (void)uv_timer_init(o->loop, &f->settle);
    (void)uv_timer_init(o->loop, &f->rescan);
    f->open_handles = 2;
    f->whole_wanted = true;
    (void)uv_timer_start(&f->rescan, on_rescan, 1, (uint64_t)o->rescan_s * 1000);
    *out = f;
    return STATUS_OK;
}

static void free_touched(struct list *queue)
{
    while (!list_empty(queue)) {
        struct touched *t = list_entry(queue->next, struct touched, link);
        list_remove(&t->link);
        free(t);
    }
}

static void on_watch_closed(void *data)
{
    struct follow *f = data;
    f->open_handles--;
    maybe_closed(f);
}

static void maybe_closed(struct follow *f)
{
    if (!f->closing || f->open_handles > 0 || f->checking || f->moves > 0 || f->scanning != NULL) {
        return;
    }
    if (f->watch != NULL) { /* only now: a scan's thread may have been adding folders to it */
        struct watch *w = f->watch;
        f->watch = NULL;
        f->open_handles++;
        watch_close(w, on_watch_closed, f);
        return;
    }
    free_touched(&f->soon);
    free_touched(&f->later);
    map_deinit(&f->touched);
    while (!list_empty(&f->scans)) {
        struct wanted_scan *w = list_entry(f->scans.next, struct wanted_scan, link);
        list_remove(&w->link);
        free(w);
    }
    if (f->root >= 0) {
        (void)close(f->root);
    }
    void (*on_closed)(void *) = f->on_closed;
    void *data = f->closed_data;
    free(f);
    on_closed(data);
}

static void on_settle_closed(uv_handle_t *h)
{
    struct follow *f = container_of(h, struct follow, settle);
    f->open_handles--;
    maybe_closed(f);
}

static void on_rescan_closed(uv_handle_t *h)
{
    struct follow *f = container_of(h, struct follow, rescan);
    f->open_handles--;
    maybe_closed(f);
}

void follow_close(struct follow *f, void (*on_closed)(void *data), void *data)
{
    f->closing = true;
    f->on_closed = on_closed;
    f->closed_data = data;
    uv_close((uv_handle_t *)&f->settle, on_settle_closed);
    uv_close((uv_handle_t *)&f->rescan, on_rescan_closed);
}

void follow_status(struct follow *f, struct follow_status *out)
{
    *out = f->st;
    out->scanning = f->scanning != NULL;
    out->watched = f->watch == NULL ? 0 : watch_count(f->watch);
    out->settling = f->touched.len;
}

int follow_root(const struct follow *f)
{
    return f->root;
}
