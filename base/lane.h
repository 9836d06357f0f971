/* Lanes: blocking work (SQLite, hashing, parsing) off the loop thread, through libuv's thread pool.
 *
 * A lane runs at most `width` of its jobs at once and holds at most `max_queued` more; jobs of a
 * lane of width 1 run strictly in the order they were submitted, which makes it a single-writer
 * queue. `work` runs on a pool thread and touches only what it was given; `done` runs later on the
 * loop thread, always, exactly once. All functions are called on the loop thread. */
#ifndef CARREL_BASE_LANE_H
#define CARREL_BASE_LANE_H

#include <stddef.h>
#include <uv.h>

#include "base/effort.h"
#include "base/list.h"
#include "base/status.h"

struct lane {
    uv_loop_t *loop;
    struct list waiting;
    size_t n_waiting;
    size_t max_queued;
    unsigned width;
    unsigned running;
};

typedef void (*lane_work_fn)(void *job);
typedef void (*lane_done_fn)(void *job);

void lane_init(struct lane *l, uv_loop_t *loop, unsigned width, size_t max_queued);
/* STATUS_BUSY when full: nothing was taken and done will not run. */
enum status lane_submit(struct lane *l, lane_work_fn work, lane_done_fn done, void *job,
                        struct error *err) MUST_CHECK;
/* The same, for an effort (NULL: none): the work's processor time is added to it before done, and
 * the effort is entered while done runs. It may end at any time. */
enum status lane_submit_for(struct lane *l, struct effort *effort, lane_work_fn work,
                            lane_done_fn done, void *job, struct error *err) MUST_CHECK;
/* Nothing running and nothing waiting. */
bool lane_idle(const struct lane *l);

#endif
