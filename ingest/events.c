/* ingest.Events: what happened to documents since a cursor, for serve, which tells others. */
#include <stdlib.h>

#include "ingest/documents.h"

#define EVENTS_MAX 200U
#define ARENA ((size_t)16 << 20)

struct asked {
    struct journal_op op;
    struct rpc_call *call;
    struct tenant *t;
    struct arena arena;
    bool since;
    uint64_t after, last;
    uint32_t limit;
    struct journal_event *list;
    size_t n;
};

static enum status run(struct journal *j, struct journal_op *op, struct error *err)
{
    struct asked *q = container_of(op, struct asked, op);
    arena_reset(&q->arena);
    q->n = 0;
    enum status s = journal_events_last(j, &q->last, err);
    return s == STATUS_OK && q->since && q->after < q->last
               ? journal_events(j, q->after, q->limit, &q->arena, &q->list, &q->n, err)
               : s;
}

static bool fill(struct asked *q, Ig__EventsReply *reply)
{
    Ig__Event *all = arena_array(&q->arena, q->n + 1, sizeof *all);
    Ig__DocumentState *states = arena_array(&q->arena, q->n + 1, sizeof *states);
    reply->events = arena_array(&q->arena, q->n + 1, sizeof *reply->events);
    bool memory = all != NULL && states != NULL && reply->events != NULL;
    for (size_t i = 0; memory && i < q->n; i++) {
        const struct journal_event *e = &q->list[i];
        if (!e->known) {
            continue;
        }
        Ig__Event *out = &all[reply->n_events];
        ig__event__init(out);
        out->seq = e->seq;
        out->at_wall_ms = e->at_ms;
        out->kind = arena_strdup(&q->arena, e->failed ? "failed" : "ingested");
        out->document = &states[reply->n_events];
        memory = out->kind != NULL && document_state(q->t, &e->row, &q->arena, out->document);
        reply->events[reply->n_events++] = out;
    }
    return memory;
}

static void done(struct journal_op *op)
{
    struct asked *q = container_of(op, struct asked, op);
    Ig__EventsReply reply = IG__EVENTS_REPLY__INIT;
    reply.last = q->last;
    reply.upto = q->n > 0 ? q->list[q->n - 1].seq : q->since ? q->after : q->last;
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(q->call, &op->err);
    } else if (!fill(q, &reply)) {
        rpc_call_finish(q->call, STATUS_NO_MEMORY, NULL);
    } else {
        ig_events_return(q->call, &reply);
    }
    arena_reset(&q->arena);
    free(q);
}

void documents_events(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__EventsRequest *r = ig_events_request(m);
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return;
    }
    struct asked *q = r == NULL ? NULL : calloc(1, sizeof *q);
    if (q == NULL) {
        rpc_call_finish(call, r == NULL ? STATUS_INVALID : STATUS_NO_MEMORY, NULL);
        return;
    }
    q->call = call;
    q->t = t;
    q->since = r->has_after;
    q->after = r->has_after ? r->after : 0;
    q->limit = r->limit == 0 || r->limit > EVENTS_MAX ? EVENTS_MAX : r->limit;
    arena_init(&q->arena, ARENA);
    q->op.run = run;
    q->op.done = done;
    journal_submit(&t->journal, &q->op);
}
