#include "ingest/journal_lane.h"

#include "base/db.h"

static void start(struct journal_lane *l);

static enum status run_op(struct journal *j, struct journal_op *op)
{
    op->err = (struct error){.code = STATUS_OK};
    enum status s = op->run(j, op, &op->err);
    op->err.code = s;
    return s;
}

static enum status transaction(struct journal *j, struct list *from, struct list *end)
{
    struct error err = {0};
    enum status s = db_exec(journal_db(j), "BEGIN IMMEDIATE", &err);
    for (struct list *it = from; it != end && s == STATUS_OK; it = it->next) {
        s = run_op(j, list_entry(it, struct journal_op, link));
        if (s != STATUS_OK) {
            err = list_entry(it, struct journal_op, link)->err;
        }
    }
    if (s == STATUS_OK) {
        s = db_exec(journal_db(j), "COMMIT", &err);
    }
    if (s != STATUS_OK) {
        (void)sqlite3_exec(journal_db(j), "ROLLBACK", NULL, NULL, NULL);
        for (struct list *it = from; it != end; it = it->next) {
            struct journal_op *op = list_entry(it, struct journal_op, link);
            op->err = err;
            op->err.code = s;
        }
    }
    return s;
}

static void work(void *job)
{
    struct journal_lane *l = job;
    if (transaction(l->journal, l->batch.next, &l->batch) == STATUS_OK ||
        l->batch.next->next == &l->batch) {
        return;
    }
    for (struct list *it = l->batch.next; it != &l->batch; it = it->next) {
        (void)transaction(l->journal, it, it->next); /* the error stays with the operation */
    }
}

static void done(void *job)
{
    struct journal_lane *l = job;
    struct list finished;
    list_init(&finished);
    while (!list_empty(&l->batch)) {
        struct list *it = l->batch.next;
        list_remove(it);
        list_push(&finished, it);
    }
    l->running = false;
    start(l);
    while (!list_empty(&finished)) {
        struct journal_op *op = list_entry(finished.next, struct journal_op, link);
        list_remove(&op->link);
        op->done(op);
    }
}

static void start(struct journal_lane *l)
{
    if (l->running || list_empty(&l->waiting)) {
        return;
    }
    for (size_t n = 0; n < JOURNAL_BATCH && !list_empty(&l->waiting); n++) {
        struct list *it = l->waiting.next;
        list_remove(it);
        list_push(&l->batch, it);
        l->n_waiting--;
    }
    l->running = true;
    struct error err;
    if (lane_submit(&l->lane, work, done, l, &err) == STATUS_OK) {
        return;
    }
    /* no memory: every operation hears of it, but never from inside journal_submit's caller's list
     */
    for (struct list *it = l->batch.next; it != &l->batch; it = it->next) {
        list_entry(it, struct journal_op, link)->err = err;
    }
    done(l);
}

void journal_lane_init(struct journal_lane *l, uv_loop_t *loop, struct journal *j)
{
    *l = (struct journal_lane){.journal = j};
    lane_init(&l->lane, loop, 1, 1);
    list_init(&l->waiting);
    list_init(&l->batch);
}

void journal_submit(struct journal_lane *l, struct journal_op *op)
{
    list_push(&l->waiting, &op->link);
    l->n_waiting++;
    start(l);
}

bool journal_lane_full(const struct journal_lane *l)
{
    return l->n_waiting >= JOURNAL_WAITING_MAX;
}

bool journal_lane_idle(const struct journal_lane *l)
{
    return !l->running && list_empty(&l->waiting);
}
