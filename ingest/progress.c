/* How far a tenant's documents are, and whether new ones are read. */
#include "ingest/progress.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/documents.h"
#include "ingest/erase.h"
#include "ingest/migrate.h"
#include "ingest/queue.h"
#include "ingest/quota.h"
#include "ingest/recut.h"

void progress_tell(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return;
    }
    const struct journal_counts *c = &t->counts;
    size_t working = queue_working(t->queue);
    working = working < c->queued ? working : (size_t)c->queued;
    struct follow_status f;
    follow_status(t->follow, &f);
    char doing[200] = "";
    char folder[120] = "";
    if (f.missing) {
        (void)snprintf(doing, sizeof doing, "the watched folder is missing");
    } else if (disk_away(t->disk, folder, sizeof folder) > 0) {
        (void)snprintf(doing, sizeof doing, "not mounted: %s",
                       folder[0] == '\0' ? "the watched folder" : folder);
    } else if (queue_held(t->queue)[0] != '\0') {
        (void)snprintf(doing, sizeof doing, "%.199s", queue_held(t->queue));
    } else if (erasing_doing(t->erasing)[0] != '\0') {
        (void)snprintf(doing, sizeof doing, "%.199s", erasing_doing(t->erasing));
    } else if (migration_doing(t->migration)[0] != '\0') {
        (void)snprintf(doing, sizeof doing, "%.199s", migration_doing(t->migration));
    } else if (recut_doing(t->recut)[0] != '\0') {
        (void)snprintf(doing, sizeof doing, "%.199s", recut_doing(t->recut));
    } else if (!f.scanned) {
        (void)snprintf(doing, sizeof doing, "looking through the watched folder");
    } else {
        queue_reading(t->queue, 0, doing, sizeof doing);
    }
    struct pace_now pace;
    pace_look(&t->pace, clock_monotonic_ms(), c->queued, c->waiting_bytes, &pace);
    Ig__ProgressReply reply = IG__PROGRESS_REPLY__INIT;
    reply.queued = (uint32_t)(c->queued - working);
    reply.working = (uint32_t)working;
    reply.ready = (uint32_t)c->ready;
    reply.failed = (uint32_t)c->failed;
    reply.has_paused = reply.has_waiting_bytes = reply.has_pages = reply.has_chunks = 1;
    reply.paused = queue_paused(t->queue);
    reply.waiting_bytes = c->waiting_bytes;
    reply.pages = c->pages;
    reply.chunks = c->chunks;
    reply.has_files_per_s = reply.has_chunks_per_s = pace.files_per_s > 0;
    reply.files_per_s = pace.files_per_s;
    reply.chunks_per_s = pace.chunks_per_s;
    reply.has_left_s = pace.left_s >= 0 && queue_held(t->queue)[0] == '\0';
    reply.left_s = reply.has_left_s ? (uint32_t)pace.left_s : 0;
    reply.has_bytes = 1;
    reply.bytes = quota_used(t);
    reply.has_quota_bytes = t->quota > 0;
    reply.quota_bytes = t->quota;
    reply.has_without_room = t->quota_waiting > 0;
    reply.without_room = (uint32_t)t->quota_waiting;
    reply.has_recut_left = recut_left(t->recut) > 0;
    reply.recut_left = recut_left(t->recut);
    char shown[400];
    path_show(str_from(doing), shown, sizeof shown);
    if (shown[0] != '\0') {
        reply.doing = shown;
    }
    ig_progress_return(call, &reply);
}

struct pausing {
    struct journal_op op;
    struct tenant *t;
    struct rpc_call *call;
    bool paused;
};

static void pause_return(struct rpc_call *call, bool paused)
{
    Ig__PauseReply reply = IG__PAUSE_REPLY__INIT;
    reply.paused = paused;
    ig_pause_return(call, &reply);
}

static enum status run_pause(struct journal *j, struct journal_op *op, struct error *err)
{
    const struct pausing *p = container_of(op, struct pausing, op);
    return journal_note_set(j, INGEST_NOTE_PAUSED, p->paused ? "1" : "", err);
}

static void pause_done(struct journal_op *op)
{
    struct pausing *p = container_of(op, struct pausing, op);
    if (op->err.code == STATUS_OK) {
        LOG_INFO(p->paused ? "reading is paused" : "reading goes on", LOG_STR("tenant", p->t->id),
                 LOG_END);
        queue_pause(p->t->queue, p->paused);
    }
    if (p->call != NULL) {
        *rpc_call_data(p->call) = NULL;
        if (op->err.code == STATUS_OK) {
            pause_return(p->call, p->paused);
        } else {
            rpc_call_fail(p->call, &op->err);
        }
    }
    free(p);
}

void progress_pause(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__PauseRequest *q = ig_pause_request(m);
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return;
    }
    if (q == NULL || !q->has_paused) {
        pause_return(call, queue_paused(t->queue));
        return;
    }
    struct pausing *p = calloc(1, sizeof *p);
    if (p == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    p->t = t;
    p->call = call;
    p->paused = q->paused;
    p->op.run = run_pause;
    p->op.done = pause_done;
    *rpc_call_data(call) = p;
    journal_submit(&t->journal, &p->op);
}

void progress_pause_cancel(struct rpc_call *call)
{
    struct pausing *p = *rpc_call_data(call);
    if (p != NULL) { /* it is written down all the same; only the answer is not wanted any more */
        p->call = NULL;
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
    }
}
