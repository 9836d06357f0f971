/* Changes that wait until their files are at rest, and moves. */
#include <stdlib.h>

#include "base/log.h"
#include "ingest/follow_internal.h"

#define CHECK_BATCH 128
#define TOUCHED_MAX 65536
#define MOVES_MAX 1024
#define GONE_WAITS 200 /* of FINISHED_MS */

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

void follow_touch_at(struct follow *f, struct str path, struct list *queue, int64_t delay)
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
    t->due = follow_now(f) + delay;
    list_remove(&t->link);
    list_push(queue, &t->link);
    follow_arm(f);
}

void follow_touch(struct follow *f, struct str path, bool finished)
{
    if (finished) {
        follow_touch_at(f, path, &f->soon, FOLLOW_FINISHED_MS);
    } else {
        follow_touch_at(f, path, &f->later, f->o.settle_ms);
    }
}

static enum status run_check(struct journal *j, struct journal_op *op, struct error *err)
{
    struct check_op *c = container_of(op, struct check_op, op);
    for (size_t i = 0; i < c->n; i++) {
        struct str path = {.ptr = c->items[i]->path, .len = c->items[i]->len};
        enum status s = journal_check(j, c->f->o.disk, path, FOLLOW_ROWS_A_STEP, &c->found[i],
                                      &c->more[i], err);
        if (s == STATUS_FORBIDDEN || s == STATUS_INVALID || s == STATUS_NOT_FOUND ||
            s == STATUS_UNAVAILABLE || s == STATUS_TOO_LARGE) {
            c->found[i] =
                CHECKED_IGNORED; /* cannot be looked at: nothing is known to have changed */
            c->more[i] = false;
        } else if (s != STATUS_OK) {
            return s;
        }
    }
    return follow_keep_mounts(j, c->f, err);
}

static void check_done(struct journal_op *op)
{
    struct check_op *c = container_of(op, struct check_op, op);
    struct follow *f = c->f;
    bool work = false;
    f->checking = false;
    follow_mounts_kept(f, op);
    for (size_t i = 0; i < c->n; i++) {
        struct str path = {.ptr = c->items[i]->path, .len = c->items[i]->len};
        if (op->err.code != STATUS_OK) {
            follow_touch_at(f, path, &f->later, FOLLOW_RETRY_MS);
        } else {
            work = work || c->found[i] == CHECKED_QUEUED;
            if (c->found[i] == CHECKED_FOLDER && !f->closing) {
                follow_want_scan(f, path);
            } else if (c->more[i]) {
                follow_touch_at(f, path, &f->soon, 0);
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
    follow_arm(f);
    follow_maybe_closed(f);
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
            t->due = now + FOLLOW_FINISHED_MS;
            list_push(&f->soon, &t->link);
            continue;
        }
        (void)map_remove(&f->touched, (struct str){.ptr = t->path, .len = t->len});
        c->items[c->n++] = t;
    }
}

void follow_on_settle(uv_timer_t *timer)
{
    struct follow *f = container_of(timer, struct follow, settle);
    if (f->whole_wanted && f->scanning == NULL) {
        follow_scan(f);
    }
    if (f->checking || f->closing || f->root < 0) {
        return;
    }
    struct check_op *c = calloc(1, sizeof *c);
    if (c == NULL) {
        follow_arm(f);
        return;
    }
    c->f = f;
    c->op.run = run_check;
    c->op.done = check_done;
    collect_due(f, &f->soon, follow_now(f), c);
    collect_due(f, &f->later, follow_now(f), c);
    if (c->n == 0) {
        free(c);
        follow_arm(f);
        return;
    }
    f->checking = true;
    journal_submit(f->o.journal, &c->op);
}

void follow_arm(struct follow *f)
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
    int64_t wait = due == INT64_MAX ? 100 : due - follow_now(f);
    (void)uv_timer_start(&f->settle, follow_on_settle, wait < 1 ? 1 : (uint64_t)wait, 0);
}

void follow_gone(struct follow *f, struct str path)
{
    follow_touch(f, path, true);
    struct touched *t = map_get(&f->touched, path);
    if (t != NULL) {
        t->waits = GONE_WAITS;
    }
}

/* ---- moves ---- */

static enum status run_move(struct journal *j, struct journal_op *op, struct error *err)
{
    struct move_op *m = container_of(op, struct move_op, op);
    return journal_moved(j, m->f->o.disk, m->from, m->to, FOLLOW_ROWS_A_STEP, &m->found, &m->more,
                         err);
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
        follow_touch_at(f, m->from, &f->later, FOLLOW_RETRY_MS);
        follow_touch_at(f, m->to, &f->later, FOLLOW_RETRY_MS);
    } else if (m->found == CHECKED_FOLDER && !f->closing) {
        follow_want_scan(f, m->to);
    }
    free(m);
    f->o.on_work(f->o.data);
    follow_maybe_closed(f);
}

void follow_moved(void *data, struct str from, struct str to, bool folder)
{
    (void)folder;
    struct follow *f = data;
    struct move_op *m =
        f->moves < MOVES_MAX && !f->closing ? calloc(1, sizeof *m + from.len + to.len + 2) : NULL;
    if (m == NULL) {
        follow_touch(f, to, true);
        follow_touch_at(f, from, &f->later, f->o.settle_ms);
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

void follow_free_touched(struct list *queue)
{
    while (!list_empty(queue)) {
        struct touched *t = list_entry(queue->next, struct touched, link);
        list_remove(&t->link);
        free(t);
    }
}
