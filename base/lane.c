#include "base/lane.h"

#include <stdlib.h>

struct lane_job {
    struct list link;
    uv_work_t req;
    struct lane *lane;
    lane_work_fn work;
    lane_done_fn done;
    void *job;
};

static void run_next(struct lane *l);

static void on_work(uv_work_t *req)
{
    struct lane_job *j = container_of(req, struct lane_job, req);
    j->work(j->job);
}

static void on_done(uv_work_t *req, int status)
{
    (void)status; /* jobs are never cancelled once queued */
    struct lane_job *j = container_of(req, struct lane_job, req);
    struct lane *l = j->lane;
    lane_done_fn done = j->done;
    void *job = j->job;
    free(j);
    l->running--;
    run_next(l); /* before done: done may free the lane's owner */
    done(job);
}

static void run_next(struct lane *l)
{
    while (l->running < l->width && !list_empty(&l->waiting)) {
        struct lane_job *j = list_entry(l->waiting.next, struct lane_job, link);
        list_remove(&j->link);
        l->n_waiting--;
        l->running++;
        (void)uv_queue_work(l->loop, &j->req, on_work, on_done); /* fails only without a work fn */
    }
}

void lane_init(struct lane *l, uv_loop_t *loop, unsigned width, size_t max_queued)
{
    *l = (struct lane){.loop = loop, .width = width, .max_queued = max_queued};
    list_init(&l->waiting);
}

enum status lane_submit(struct lane *l, lane_work_fn work, lane_done_fn done, void *job,
                        struct error *err)
{
    if (l->running >= l->width && l->n_waiting >= l->max_queued) {
        return error_set(err, STATUS_BUSY, "too much work is waiting");
    }
    struct lane_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *j = (struct lane_job){.lane = l, .work = work, .done = done, .job = job};
    list_push(&l->waiting, &j->link);
    l->n_waiting++;
    run_next(l);
    return STATUS_OK;
}

bool lane_idle(const struct lane *l)
{
    return l->running == 0 && l->n_waiting == 0;
}
