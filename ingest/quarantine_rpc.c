/* What people ask of the quarantine: what is in it, and to let something in all the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ingest/documents.h"
#include "ingest/erase.h"
#include "ingest/quarantine.h"
#include "ingest/queue.h"

#define ARENA ((size_t)16 << 20)

struct asking {
    struct journal_op op;
    struct tenant *t;
    struct rpc_call *call;
    struct arena arena;
    char id[ID_CAP];
    char by[ID_CAP * 2];
    struct quarantined one, *list;
    size_t n;
    struct error err;
};

static struct asking *asking_new(struct rpc_call *call)
{
    struct tenant *t = erase_may(call) ? documents_tenant(call) : NULL;
    struct asking *q = t == NULL ? NULL : calloc(1, sizeof *q);
    if (t != NULL && q == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
    }
    if (q != NULL) {
        q->t = t;
        q->call = call;
        arena_init(&q->arena, ARENA);
        *rpc_call_data(call) = q;
    }
    return q;
}

static void asking_free(struct asking *q)
{
    q->t->asking--;
    arena_reset(&q->arena);
    free(q);
}

void quarantine_rpc_cancel(struct rpc_call *call)
{
    struct asking *q = *rpc_call_data(call);
    if (q != NULL) { /* it is done all the same; only the answer is not wanted any more */
        q->call = NULL;
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
    }
}

static void submit(struct asking *q,
                   enum status (*run)(struct journal *, struct journal_op *, struct error *),
                   void (*done)(struct journal_op *))
{
    q->op.run = run;
    q->op.done = done;
    journal_submit(&q->t->journal, &q->op);
}

static void message(const struct quarantined *q, Ig__Quarantined *m)
{
    union { /* protobuf-c packs from a pointer that is const in all but name */
        const char *in;
        char *out;
        uint8_t *bytes;
    } id = {q->id}, document = {q->document}, name = {q->name}, by = {q->released_by},
      path = {q->path.ptr};
    ig__quarantined__init(m);
    m->id = id.out;
    m->document = document.out;
    m->path = (ProtobufCBinaryData){.len = q->path.len, .data = path.bytes};
    m->name = name.out;
    m->size = q->size;
    m->found_wall_ms = q->found_ms;
    m->moved = q->moved;
    m->has_released_wall_ms = q->released_ms != 0;
    m->released_wall_ms = q->released_ms;
    m->released_by = q->released_ms != 0 ? by.out : NULL;
}

/* Answers, or fails the call, unless nobody wants to know any more. */
static void fail(struct asking *q, const struct error *err)
{
    if (q->call != NULL) {
        *rpc_call_data(q->call) = NULL;
        rpc_call_fail(q->call, err);
    }
    asking_free(q);
}

/* ---- list ---- */

static enum status run_list(struct journal *j, struct journal_op *op, struct error *err)
{
    struct asking *q = container_of(op, struct asking, op);
    return quarantine_list(j, &q->arena, &q->list, &q->n, err);
}

static void list_done(struct journal_op *op)
{
    struct asking *q = container_of(op, struct asking, op);
    Ig__ListQuarantineReply reply = IG__LIST_QUARANTINE_REPLY__INIT;
    Ig__Quarantined *all = arena_array(&q->arena, q->n + 1, sizeof *all);
    reply.files = arena_array(&q->arena, q->n + 1, sizeof *reply.files);
    if (op->err.code == STATUS_OK && (all == NULL || reply.files == NULL)) {
        op->err.code = error_set(&op->err, STATUS_NO_MEMORY, "out of memory");
    }
    if (op->err.code != STATUS_OK) {
        fail(q, &op->err);
        return;
    }
    for (size_t i = 0; i < q->n; i++) {
        message(&q->list[i], &all[i]);
        reply.files[reply.n_files++] = &all[i];
    }
    if (q->call != NULL) {
        *rpc_call_data(q->call) = NULL;
        ig_list_quarantine_return(q->call, &reply);
    }
    asking_free(q);
}

void quarantine_rpc_list(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct asking *q = asking_new(call);
    if (q != NULL) {
        q->t->asking++;
        submit(q, run_list, list_done);
    }
}

/* ---- release: the file back to its place, then the book ---- */

static enum status run_release(struct journal *j, struct journal_op *op, struct error *err)
{
    struct asking *q = container_of(op, struct asking, op);
    return quarantine_release(j, q->id, q->by, err);
}

static void release_done(struct journal_op *op)
{
    struct asking *q = container_of(op, struct asking, op);
    if (op->err.code != STATUS_OK) {
        fail(q, &op->err);
        return;
    }
    LOG_WARN("let in although the malware scanner found something", LOG_STR("tenant", q->t->id),
             LOG_STR("doc", q->one.document), LOG_STR("found", q->one.name), LOG_STR("by", q->by),
             LOG_END);
    if (q->one.moved) {
        follow_touch(q->t->follow, q->one.path, false);
    }
    queue_changed(q->t->queue);
    if (q->call != NULL) {
        Ig__ReleaseQuarantineReply reply = IG__RELEASE_QUARANTINE_REPLY__INIT;
        *rpc_call_data(q->call) = NULL;
        ig_release_quarantine_return(q->call, &reply);
    }
    asking_free(q);
}

static void back_work(void *data)
{
    struct asking *q = data;
    int root = follow_root(q->t->follow);
    q->err.code = root < 0 ? error_set(&q->err, STATUS_UNAVAILABLE, "the watched folder is missing")
                           : quarantine_put_back(root, q->t->in->svc->home, q->t->id, q->id,
                                                 q->one.path, &q->err);
}

static void back_done(void *data)
{
    struct asking *q = data;
    if (q->err.code == STATUS_CONFLICT) {
        (void)error_set(&q->err, STATUS_CONFLICT,
                        "another file stands in its place: move that first");
    }
    if (q->err.code != STATUS_OK) {
        fail(q, &q->err);
    } else {
        submit(q, run_release, release_done);
    }
}

static enum status run_get(struct journal *j, struct journal_op *op, struct error *err)
{
    struct asking *q = container_of(op, struct asking, op);
    return quarantine_get(j, q->id, &q->arena, &q->one, err);
}

static void got(struct journal_op *op)
{
    struct asking *q = container_of(op, struct asking, op);
    if (op->err.code == STATUS_OK && q->one.released_ms != 0) {
        op->err.code = error_set(&op->err, STATUS_CONFLICT, "it has been released already");
    }
    if (op->err.code != STATUS_OK) {
        fail(q, &op->err);
    } else if (!q->one.moved) {
        submit(q, run_release, release_done);
    } else if (lane_submit(&q->t->in->work, back_work, back_done, q, &q->err) != STATUS_OK) {
        fail(q, &q->err);
    }
}

void quarantine_rpc_release(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__ReleaseQuarantineRequest *r = ig_release_quarantine_request(m);
    struct asking *q = asking_new(call);
    if (q == NULL) {
        return;
    }
    q->t->asking++;
    const struct caller *who = rpc_call_caller(call);
    (void)snprintf(q->by, sizeof q->by, "%s", who == NULL ? "the appliance" : who->user);
    if (r == NULL || !id_valid(r->id)) {
        struct error err;
        (void)error_set(&err, STATUS_NOT_FOUND, "nothing in quarantine has this id");
        fail(q, &err);
        return;
    }
    memcpy(q->id, r->id, ID_CAP);
    submit(q, run_get, got);
}
