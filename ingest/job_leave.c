/* Rows whose content need not be read: moved, gone, deleted by a person. */
#include <stdio.h>

#include "base/log.h"
#include "ingest/job_internal.h"
#include "ingest/queue.h"

/* ---- remove, trash ---- */

static void trash_work(void *data)
{
    struct job *j = data;
    struct tenant *t = j->t;
    int root = follow_root(t->follow);
    j->err = (struct error){.code = STATUS_OK};
    enum status s = root < 0
                        ? error_set(&j->err, STATUS_UNAVAILABLE, "the watched folder is missing")
                        : trash_move(root, t->in->svc->home, t->id, j->row.path, j->row.document,
                                     j->row.stamp.ino, &j->err);
    j->err.code = s;
}

static void trash_done(void *data)
{
    struct job *j = data;
    j->in_lane = false;
    if (j->err.code == STATUS_OK || j->err.code == STATUS_NOT_FOUND) {
        job_finish(j, OUTCOME_REMOVED);
    } else if (j->err.code == STATUS_FORBIDDEN) {
        job_finish(j, OUTCOME_EXCLUDED); /* it may not be moved: it must not come back either */
    } else {
        LOG_WARN("a deleted file could not be moved to the trash", LOG_STR("tenant", j->t->id),
                 LOG_STR("doc", j->row.document), LOG_STR("err", j->err.text), LOG_END);
        j->counted = false;
        job_finish(j, OUTCOME_RETRY);
    }
}

static void on_removed(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    j->request = NULL;
    if (err->code != STATUS_OK && err->code != STATUS_NOT_FOUND) {
        job_store_failed(j, err);
        return;
    }
    queue_release(j->t->queue);
    if (j->row.op == FILE_OP_TRASH) {
        j->phase = JOB_TRASH;
        j->in_lane = true;
        if (lane_submit_for(&j->t->in->work, &j->effort, trash_work, trash_done, j, &j->err) !=
            STATUS_OK) {
            j->in_lane = false;
            job_finish(j, OUTCOME_HELD);
        }
    } else if (j->row.op == FILE_OP_EXCLUDE) {
        job_finish(j, OUTCOME_EXCLUDED);
    } else if (j->row.op == FILE_OP_REMOVE) {
        job_finish(j, OUTCOME_REMOVED);
    } else if (j->malware[0] != '\0') {
        job_quarantine(j);
    } else {
        job_finish(j, OUTCOME_FAILED);
    }
}

void job_remove(struct job *j)
{
    j->phase = JOB_REMOVE;
    Vs__RemoveRequest m = VS__REMOVE_REQUEST__INIT;
    m.document = j->row.document;
    m.sequence = j->row.wanted;
    m.has_excluded = 1;
    m.excluded = j->row.op == FILE_OP_EXCLUDE;
    struct rpc_options o;
    job_options(j, &o);
    struct rpc_callbacks cb = {.on_finish = on_removed};
    j->request = vs_remove(job_store(j), &o, &m, &cb, j);
    if (j->request == NULL) {
        job_store_unasked(j);
    }
}

/* ---- move ---- */

static void on_move_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct job *j = data;
    j->request = NULL;
    if (err->code == STATUS_NOT_FOUND) {
        job_finish(j, OUTCOME_REQUEUE);
    } else if (err->code != STATUS_OK) {
        job_store_failed(j, err);
    } else {
        queue_release(j->t->queue);
        job_finish(j, OUTCOME_MOVED);
    }
}

static void look_done(void *data)
{
    struct job *j = data;
    struct rpc_options o;
    struct rpc_callbacks cb = {.on_finish = on_move_end};
    Vs__MoveRequest m = VS__MOVE_REQUEST__INIT;
    Vs__Location l;
    j->in_lane = false;
    j->unseen = j->err.code != STATUS_OK; /* away: fewer readers must not wait until it is back */
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
    } else if (j->err.code == STATUS_NOT_FOUND) {
        job_finish(j, OUTCOME_CHANGED);
    } else if (job_rules_changed(j)) {
        if (job_look(j, look_done) != STATUS_OK) {
            job_finish(j, OUTCOME_HELD);
        }
    } else if (job_location(j, &l, &j->err) != STATUS_OK) {
        job_finish(j, OUTCOME_HELD);
    } else {
        m.location = &l;
        job_options(j, &o);
        j->request = vs_move(job_store(j), &o, &m, &cb, j);
        if (j->request == NULL) {
            job_store_unasked(j);
        }
    }
}

enum status job_move(struct job *j)
{
    j->phase = JOB_MOVE;
    return job_look(j, look_done);
}
