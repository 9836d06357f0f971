/* Scans: of everything, of new folders, and of what the journal has and the disk no longer. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/follow_internal.h"
#include "ingest/scan.h"

#define SCANS_WAITING_MAX 1024
#define DEFERRED_MAX 3

struct scanning {
    struct journal_op op;
    struct follow *f;
    struct scan *scan;
    struct scan_step step;
    struct wanted_scan *prefix;
    enum checked found[SCAN_STEP_FILES];
    bool settling[SCAN_STEP_FILES];
    size_t passed_over;
    size_t ignored;
    bool unreadable, limit;
    bool any_settling;
    int64_t cursor;
    bool changed, end;
    size_t files;
};

/* Where something is mounted outlives a restart, in which it may have gone. */
enum status follow_keep_mounts(struct journal *j, struct follow *f, struct error *err)
{
    struct buf text;
    enum status s = STATUS_OK;
    if (disk_mounts(f->o.disk, NULL) == f->mounts_kept) {
        return STATUS_OK;
    }
    buf_init(&text, DISK_MOUNTS_TEXT);
    f->mounts_written = disk_mounts(f->o.disk, &text);
    buf_char(&text, '\0');
    s = buf_status(&text) == STATUS_OK
            ? journal_note_set(j, FOLLOW_MOUNTS, buf_view(&text).ptr, err)
            : error_set(err, STATUS_NO_MEMORY, "out of memory");
    buf_deinit(&text);
    return s;
}

void follow_mounts_kept(struct follow *f, const struct journal_op *op)
{
    if (op->err.code == STATUS_OK) {
        f->mounts_kept = f->mounts_written;
    }
}

void follow_want_scan(struct follow *f, struct str prefix)
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
    follow_scan(f);
}

/* The next whole scan, by what is known now. */
static void set_rescan(struct follow *f)
{
    bool polled = f->st.watch_limit || f->st.missing || f->st.network;
    int64_t every = polled && f->o.poll_s < f->o.rescan_s ? f->o.poll_s : f->o.rescan_s;
    uv_timer_set_repeat(&f->rescan, (uint64_t)every * 1000);
    (void)uv_timer_again(&f->rescan);
}

static void scan_next(struct scanning *c);

static void say_network(struct follow *f)
{
    f->st.network = disk_is_network(f->o.disk);
    if (f->st.network && !f->network_said) {
        LOG_WARN(
            "a watched folder is on a network, where changes made elsewhere tell nobody: it is "
            "looked through every so many seconds",
            LOG_STR("tenant", f->o.tenant), LOG_INT("seconds", f->o.poll_s), LOG_END);
        set_rescan(f);
    }
    f->network_said = f->st.network;
}

static void scan_end(struct scanning *c)
{
    struct follow *f = c->f;
    if (c->prefix->len == 0) {
        f->st.passed_over = c->passed_over;
        f->st.ignored = c->ignored;
        f->st.unreadable = c->unreadable;
        f->st.watch_limit = c->limit;
        f->st.scanned = true;
        LOG_INFO("folder scanned", LOG_STR("tenant", f->o.tenant), LOG_INT("files", c->files),
                 LOG_INT("passed_over", c->passed_over), LOG_INT("ignored", c->ignored), LOG_END);
    } else {
        f->st.watch_limit = f->st.watch_limit || c->limit;
    }
    if (c->limit && !f->limit_said) {
        f->limit_said = true;
        LOG_ERROR("the system's limit on watched folders is reached (fs.inotify.max_user_watches): "
                  "changes are found by a rescan every so many seconds until it is raised",
                  LOG_STR("tenant", f->o.tenant), LOG_INT("seconds", f->o.poll_s), LOG_END);
    }
    say_network(f);
    f->o.on_scanned(f->o.data);
    if (disk_take_rules_changed(f->o.disk)) {
        f->o.on_rules(f->o.data);
    }
    f->scanning = NULL;
    scan_free(c->scan);
    arena_reset(&c->step.arena);
    free(c->prefix);
    free(c);
    if (!f->closing) {
        follow_scan(f);
    }
    follow_maybe_closed(f);
}

/* The journal could not be written (a full disk): the scan is dropped and made again. */
static bool scan_failed(struct scanning *c)
{
    if (c->op.err.code == STATUS_OK) {
        return false;
    }
    LOG_WARN("the scan could not be written down, will be made again",
             LOG_STR("tenant", c->f->o.tenant), LOG_STR("err", c->op.err.text), LOG_END);
    (void)uv_timer_start(&c->f->rescan, follow_on_rescan, 5 * FOLLOW_RETRY_MS,
                         (uint64_t)c->f->o.rescan_s * 1000);
    scan_end(c);
    return true;
}

static enum status run_verify(struct journal *j, struct journal_op *op, struct error *err)
{
    struct scanning *c = container_of(op, struct scanning, op);
    int64_t cursor = c->cursor; /* kept for the case that this runs twice */
    struct str prefix = {.ptr = c->prefix->path, .len = c->prefix->len};
    enum status s = journal_verify(j, c->f->o.disk, prefix, &cursor, FOLLOW_ROWS_A_STEP,
                                   &c->changed, &c->end, err);
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
                ? journal_renamed(j, c->f->o.disk, file->path, &file->stamp, &c->found[i], err)
                : journal_seen(j, c->f->o.disk, file->path, &file->stamp, &c->found[i], err);
    }
    return s == STATUS_OK ? follow_keep_mounts(j, c->f, err) : s;
}

static void seen_done(struct journal_op *op)
{
    struct scanning *c = container_of(op, struct scanning, op);
    struct follow *f = c->f;
    if (scan_failed(c)) {
        return;
    }
    follow_mounts_kept(f, op);
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
        (void)uv_timer_start(&f->rescan, follow_on_rescan,
                             (uint64_t)f->o.settle_ms + FOLLOW_FINISHED_MS,
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
    c->ignored += c->step.ignored;
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
    c->step.passed_over = c->step.ignored = 0;
    if (lane_submit(c->f->o.scans, run_step, step_done, c, &c->op.err) != STATUS_OK) {
        (void)scan_failed(c);
    }
}

void follow_scan(struct follow *f)
{
    if (f->scanning != NULL || f->closing || (!f->whole_wanted && list_empty(&f->scans))) {
        return;
    }
    struct wanted_scan *w;
    if (f->whole_wanted) {
        f->whole_wanted = false;
        if (!follow_open_root(f)) {
            return;
        }
        (void)follow_open_watch(f);
        w = calloc(1, sizeof *w + 1);
    } else {
        w = list_entry(f->scans.next, struct wanted_scan, link);
        list_remove(&w->link);
        f->n_scans--;
    }
    struct scanning *c = w == NULL || f->root < 0 ? NULL : calloc(1, sizeof *c);
    if (c != NULL) {
        c->scan = scan_new(f->o.disk, f->watch, (struct str){.ptr = w->path, .len = w->len});
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

void follow_on_rescan(uv_timer_t *timer)
{
    struct follow *f = container_of(timer, struct follow, rescan);
    f->whole_wanted = true;
    set_rescan(f);
    follow_scan(f);
}
