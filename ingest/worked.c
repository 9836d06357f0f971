/* What reading documents cost: read on the journal's lane, told from the loop thread. */
#include "ingest/worked.h"

#include <stdlib.h>

#include "ingest/documents.h"

#define LIMIT 1000U

struct worked {
    struct journal_op op;
    struct rpc_call *call; /* NULL: nobody waits any more */
    struct arena arena;
    uint64_t after;
    struct journal_work *list;
    size_t n;
};

static enum status run(struct journal *j, struct journal_op *op, struct error *err)
{
    struct worked *w = container_of(op, struct worked, op);
    arena_reset(&w->arena);
    return journal_worked_page(j, w->after, LIMIT, &w->arena, &w->list, &w->n, err);
}

/* protobuf-c wants char * where it only reads. */
static char *readonly(const char *z)
{
    union {
        const char *in;
        char *out;
    } u = {.in = z};
    return u.out;
}

static bool fill(struct worked *w, Ig__WorkedReply *reply)
{
    Ig__Worked *list = arena_array(&w->arena, w->n + 1, sizeof *list);
    reply->works = arena_array(&w->arena, w->n + 1, sizeof(Ig__Worked *));
    if (list == NULL || reply->works == NULL) {
        return false;
    }
    for (size_t i = 0; i < w->n; i++) {
        const struct journal_work *from = &w->list[i];
        ig__worked__init(&list[i]);
        list[i].seq = from->seq;
        list[i].day = from->day;
        list[i].ready = from->ready;
        list[i].cpu_us = (uint64_t)from->cpu_us;
        list[i].collection = readonly(from->collection);
        list[i].user = readonly(from->owner.user);
        list[i].key = readonly(from->owner.key);
        list[i].team = readonly(from->owner.team);
        reply->works[reply->n_works++] = &list[i];
    }
    return true;
}

static void done(struct journal_op *op)
{
    struct worked *w = container_of(op, struct worked, op);
    if (w->call != NULL) {
        Ig__WorkedReply reply = IG__WORKED_REPLY__INIT;
        *rpc_call_data(w->call) = NULL;
        if (op->err.code != STATUS_OK) {
            rpc_call_fail(w->call, &op->err);
        } else if (!fill(w, &reply)) {
            rpc_call_finish(w->call, STATUS_NO_MEMORY, NULL);
        } else {
            ig_worked_return(w->call, &reply);
        }
    }
    arena_reset(&w->arena);
    free(w);
}

void worked_tell(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__WorkedRequest *q = ig_worked_request(m);
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return;
    }
    struct worked *w = calloc(1, sizeof *w);
    if (w == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    arena_init(&w->arena, (size_t)16 * 1024 * 1024);
    w->call = call;
    w->after = q == NULL || !q->has_after ? 0 : q->after;
    w->op.run = run;
    w->op.done = done;
    *rpc_call_data(call) = w;
    journal_submit(&t->journal, &w->op);
}

void worked_cancel(struct rpc_call *call)
{
    struct worked *w = *rpc_call_data(call);
    if (w != NULL) {
        w->call = NULL;
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
    }
}
