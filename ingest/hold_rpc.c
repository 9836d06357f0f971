/* The questions about legal holds. */
#include <stdlib.h>
#include <string.h>

#include "ingest/documents.h"
#include "ingest/erase.h"
#include "ingest/holds.h"

#define HOLD_ARENA ((size_t)16 << 20)

struct holding {
    struct journal_op op;
    struct rpc_call *call;
    struct tenant *t;
    struct arena arena;
    struct hold hold;
    struct hold *list;
    size_t n;
};

static struct holding *holding_new(struct rpc_call *call)
{
    struct tenant *t = erase_may(call) ? documents_tenant(call) : NULL;
    struct holding *h = t == NULL ? NULL : calloc(1, sizeof *h);
    if (t != NULL && h == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
    }
    if (h != NULL) {
        h->call = call;
        h->t = t;
        arena_init(&h->arena, HOLD_ARENA);
    }
    return h;
}

static void holding_end(struct holding *h)
{
    arena_reset(&h->arena);
    free(h);
}

static void refuse(struct holding *h, enum status s, const char *text)
{
    struct rpc_call *call = h->call;
    holding_end(h);
    rpc_call_finish(call, s, text);
}

static void message(const struct hold *h, Ig__Hold *out)
{
    static const char *const kinds[] = {"", "document", "path", "collection"};
    ig__hold__init(out);
    out->id = (char *)(uintptr_t)h->id;
    out->kind = (char *)(uintptr_t)kinds[h->kind];
    out->target.data = (uint8_t *)(uintptr_t)h->target.ptr;
    out->target.len = h->target.len;
    out->reason = (char *)(uintptr_t)h->reason;
    out->by = (char *)(uintptr_t)h->by;
    out->created_wall_ms = h->created_ms;
}

/* ---- add ---- */

static enum status run_add(struct journal *j, struct journal_op *op, struct error *err)
{
    struct holding *h = container_of(op, struct holding, op);
    return hold_add(j, &h->hold, &h->arena, err);
}

static void add_done(struct journal_op *op)
{
    struct holding *h = container_of(op, struct holding, op);
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(h->call, &op->err);
    } else {
        Ig__AddHoldReply reply = IG__ADD_HOLD_REPLY__INIT;
        Ig__Hold m;
        message(&h->hold, &m);
        reply.hold = &m;
        ig_add_hold_return(h->call, &reply);
    }
    holding_end(h);
}

static bool read_hold(struct holding *h, const Ig__AddHoldRequest *r)
{
    static const struct {
        const char *name;
        enum hold_kind kind;
    } kinds[] = {{"document", HOLD_DOCUMENT}, {"path", HOLD_PATH}, {"collection", HOLD_COLLECTION}};
    const struct caller *who = rpc_call_caller(h->call);
    size_t len = r->target.len;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, r->kind) == 0) {
            h->hold.kind = kinds[i].kind;
        }
    }
    while (h->hold.kind == HOLD_PATH && len > 0 && r->target.data[len - 1] == '/') {
        len--;
    }
    if (h->hold.kind == 0 || len == 0 || len > INGEST_PATH_MAX || r->reason[0] == '\0' ||
        strlen(r->reason) > HOLD_REASON_MAX) {
        refuse(h, STATUS_INVALID,
               "a hold needs a document, path or collection, and a reason of at most 500 bytes");
        return false;
    }
    h->hold.target.ptr = arena_strndup(&h->arena, (const char *)r->target.data, len);
    h->hold.target.len = len;
    h->hold.reason = arena_strdup(&h->arena, r->reason);
    h->hold.by = arena_strdup(&h->arena, who == NULL ? "the appliance" : who->user);
    if (h->hold.target.ptr == NULL || h->hold.reason == NULL || h->hold.by == NULL) {
        refuse(h, STATUS_NO_MEMORY, NULL);
        return false;
    }
    return true;
}

void hold_rpc_add(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__AddHoldRequest *r = ig_add_hold_request(m);
    struct holding *h = holding_new(call);
    if (h == NULL) {
        return;
    }
    if (r == NULL) {
        refuse(h, STATUS_INVALID, NULL);
    } else if (read_hold(h, r)) {
        h->op.run = run_add;
        h->op.done = add_done;
        journal_submit(&h->t->journal, &h->op);
    }
}

/* ---- list, remove ---- */

static enum status run_list(struct journal *j, struct journal_op *op, struct error *err)
{
    struct holding *h = container_of(op, struct holding, op);
    arena_reset(&h->arena);
    return hold_list(j, &h->arena, &h->list, &h->n, err);
}

static void list_done(struct journal_op *op)
{
    struct holding *h = container_of(op, struct holding, op);
    Ig__ListHoldsReply reply = IG__LIST_HOLDS_REPLY__INIT;
    Ig__Hold *list = arena_array(&h->arena, h->n + 1, sizeof *list);
    reply.holds = arena_array(&h->arena, h->n + 1, sizeof *reply.holds);
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(h->call, &op->err);
    } else if (list == NULL || reply.holds == NULL) {
        rpc_call_finish(h->call, STATUS_NO_MEMORY, NULL);
    } else {
        for (size_t i = 0; i < h->n; i++) {
            message(&h->list[i], &list[i]);
            reply.holds[reply.n_holds++] = &list[i];
        }
        ig_list_holds_return(h->call, &reply);
    }
    holding_end(h);
}

void hold_rpc_list(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct holding *h = holding_new(call);
    if (h != NULL) {
        h->op.run = run_list;
        h->op.done = list_done;
        journal_submit(&h->t->journal, &h->op);
    }
}

static enum status run_remove(struct journal *j, struct journal_op *op, struct error *err)
{
    struct holding *h = container_of(op, struct holding, op);
    return hold_remove(j, h->hold.id, err);
}

static void remove_done(struct journal_op *op)
{
    struct holding *h = container_of(op, struct holding, op);
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(h->call, &op->err);
    } else {
        Ig__RemoveHoldReply reply = IG__REMOVE_HOLD_REPLY__INIT;
        ig_remove_hold_return(h->call, &reply);
    }
    holding_end(h);
}

void hold_rpc_remove(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__RemoveHoldRequest *r = ig_remove_hold_request(m);
    struct holding *h = holding_new(call);
    if (h == NULL) {
        return;
    }
    if (r == NULL || !id_valid(r->hold)) {
        refuse(h, STATUS_NOT_FOUND, "there is no hold with this id");
        return;
    }
    memcpy(h->hold.id, r->hold, ID_CAP);
    h->op.run = run_remove;
    h->op.done = remove_done;
    journal_submit(&h->t->journal, &h->op);
}
