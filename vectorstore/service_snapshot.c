/* Snapshot: three jobs one after another, as snapshot.c has them, on the readers' lane, the
 * writer's, the readers'. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectorstore/blobs.h"
#include "vectorstore/service_internal.h"

enum phase { PREPARE, TAKE, COPY };

struct snapshotting {
    struct op *op;
    enum phase phase;
    char to[1200];
    struct store_snapshot *taken;
    Vs__SnapshotReply reply;
};

static void finish(struct snapshotting *k)
{
    struct rpc_call *call = k->op->call;
    struct error err = k->op->err;
    enum status s = k->op->status;
    Vs__SnapshotReply reply = k->reply;
    store_snapshot_end(k->taken);
    op_free(k->op);
    free(k);
    if (s == STATUS_OK) {
        vs_snapshot_return(call, &reply);
    } else {
        rpc_call_fail(call, &err);
    }
}

static void work(void *job)
{
    struct snapshotting *k = job;
    struct op *op = k->op;
    struct store *s;
    op->status = tenant_enter(op->tenant, &s, &op->err);
    if (op->status != STATUS_OK) {
        return;
    }
    switch (k->phase) {
    case PREPARE:
        op->status = store_snapshot_prepare(s, k->to, &op->err);
        break;
    case TAKE:
        op->status = store_snapshot_take(s, k->to, &k->taken, &k->reply, &op->err);
        break;
    case COPY:
        op->status = store_snapshot_copy(k->taken, &op->cancelled, &op->err);
        break;
    }
    tenant_leave(op->tenant);
}

static void done(void *job);

static void next(struct snapshotting *k)
{
    struct error err;
    struct lane *lane = k->phase == TAKE ? &k->op->tenant->write : &k->op->tenant->read;
    k->op->working = true;
    enum status s = lane_submit(lane, work, done, k, &err);
    if (s != STATUS_OK) {
        k->op->working = false;
        k->op->status = s;
        k->op->err = err;
        finish(k);
    }
}

static void done(void *job)
{
    struct snapshotting *k = job;
    struct op *op = k->op;
    op->working = false;
    if (atomic_load(&op->cancelled)) {
        op->status = error_set(&op->err, STATUS_CANCELLED, "the caller went away");
    }
    if (op->status != STATUS_OK || k->phase == COPY) {
        finish(k);
        return;
    }
    k->phase++;
    next(k);
}

void snapshot_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Vs__SnapshotRequest *r = vs_snapshot_request(m);
    const struct tenants *all = service_state(call);
    struct snapshotting *k = calloc(1, sizeof *k);
    int n = k == NULL ? -1
                      : snprintf(k->to, sizeof k->to, "%s/run/backup/%s/tenants/%s", all->svc->home,
                                 r == NULL ? "" : r->name, rpc_call_tenant(call));
    if (r == NULL || !blobs_name_ok(r->name) || n < 0 || (size_t)n >= sizeof k->to) {
        free(k);
        rpc_call_finish(call, STATUS_INVALID, "snapshot: the name is not a plain short one");
        return;
    }
    vs__snapshot_reply__init(&k->reply);
    k->op = op_new(call, m, NULL);
    if (k->op == NULL) {
        free(k);
        return;
    }
    next(k);
}

/* The job ends by itself; nothing waits outside one. */
void snapshot_on_cancel(struct rpc_call *call)
{
    struct op *op = *rpc_call_data(call);
    if (op == NULL) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
        return;
    }
    atomic_store(&op->cancelled, true);
}
