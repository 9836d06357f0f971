/* The journal's lane: every operation on one tenant's journal runs on one thread at a time, and all
 * that have come together share one transaction and one fsync. An operation that fails takes no
 * other with it: the transaction is rolled back and each is run in one of its own. Loop thread
 * only. */
#ifndef CARREL_INGEST_JOURNAL_LANE_H
#define CARREL_INGEST_JOURNAL_LANE_H

#include "base/lane.h"
#include "ingest/journal.h"

#define JOURNAL_BATCH 256
#define JOURNAL_WAITING_MAX 4096

struct journal_op {
    struct list link;
    /* On the lane's thread, inside a transaction; may run twice (after a rollback), so it writes
     * its results afresh each time. */
    enum status (*run)(struct journal *j, struct journal_op *op, struct error *err);
    /* On the loop, exactly once, after the commit; op->err.code is STATUS_OK on success. */
    void (*done)(struct journal_op *op);
    struct error err;
};

struct journal_lane {
    struct lane lane;
    struct journal *journal; /* owned */
    struct list waiting;
    size_t n_waiting;
    struct list batch; /* the lane's thread owns it while it runs */
    bool running;
};

void journal_lane_init(struct journal_lane *l, uv_loop_t *loop, struct journal *j);
/* Never fails by itself: callers that strangers can multiply ask journal_lane_full first. */
void journal_submit(struct journal_lane *l, struct journal_op *op);
bool journal_lane_full(const struct journal_lane *l);
bool journal_lane_idle(const struct journal_lane *l);

#endif
