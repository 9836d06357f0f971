#include "base/lane.h"

#include <stdlib.h>

#include "base/clock.h"

struct lane_job {
    struct list link;
    uv_work_t req;
    struct lane *lane;
    lane_work_fn work;
    lane_done_fn done;
    void *job;
    struct effort_use use;
    bool measured;
    int64_t cpu_us;
};

static void run_next(struct lane *l);

static void on_work(uv_work_t *req)
{
    struct lane_job *j = container_of(req, struct lane_job, req);
    int64_t cpu = j->measured ? clock_thread_cpu_us() : 0;
    j->work(j->job);
    j->cpu_us = j->measured ? clock_thread_cpu_us() - cpu : 0;
}

static void on_done(uv_work_t *req, int status)
{
    (void)status; /* jobs are never cancelled once queued */
    struct lane_job *j = container_of(req, struct lane_job, req);
    struct lane *l = j->lane;
    l->running--;
    run_next(l); /* before done: done may free the lane's owner */
    effort_use_add(&j->use, j->cpu_us);
    effort_enter(&j->use);
    j->done(j->job);
    effort_leave(&j->use);
    effort_use_drop(&j->use);
    free(j);
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
    return lane_submit_for(l, NULL, work, done, job, err);
}

enum status lane_submit_for(struct lane *l, struct effort *effort, lane_work_fn work,
                            lane_done_fn done, void *job, struct error *err)
{
    if (l->running >= l->width && l->n_waiting >= l->max_queued) {
        return error_set(err, STATUS_BUSY, "too much work is waiting");
    }
    struct lane_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *j = (struct lane_job){
        .lane = l, .work = work, .done = done, .job = job, .measured = effort != NULL};
    effort_use_init(&j->use, effort);
    list_push(&l->waiting, &j->link);
    l->n_waiting++;
    run_next(l);
    return STATUS_OK;
}

bool lane_idle(const struct lane *l)
{
    return l->running == 0 && l->n_waiting == 0;
}
