/* The questions about erasures that were begun: one, all, and letting a content in again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/documents.h"
#include "ingest/erase.h"

#define LOOK_ARENA ((size_t)64 << 20)
#define LIST_MAX 200U

bool erase_may(struct rpc_call *call)
{
    const struct caller *who = rpc_call_caller(call);
    if (who != NULL && who->admin) {
        return true;
    }
    rpc_call_finish(call, STATUS_FORBIDDEN, "only an administrator may erase");
    return false;
}

struct looking {
    struct journal_op op;
    struct rpc_call *call;
    struct tenant *t;
    struct arena arena;
    char id[ID_CAP];
    struct erasure *list;
    size_t n;
    uint32_t allowed;
};

static struct looking *look(struct rpc_call *call, const char *id)
{
    struct tenant *t = erase_may(call) ? documents_tenant(call) : NULL;
    if (t == NULL) {
        return NULL;
    }
    struct looking *l = id == NULL || id_valid(id) ? calloc(1, sizeof *l) : NULL;
    if (l == NULL) {
        bool bad = id != NULL && !id_valid(id);
        rpc_call_finish(call, bad ? STATUS_NOT_FOUND : STATUS_NO_MEMORY,
                        bad ? "there is no erasure with this id" : NULL);
        return NULL;
    }
    l->call = call;
    l->t = t;
    arena_init(&l->arena, LOOK_ARENA);
    (void)snprintf(l->id, sizeof l->id, "%s", id == NULL ? "" : id);
    return l;
}

static void looking_end(struct looking *l)
{
    arena_reset(&l->arena);
    free(l);
}

static void erasure_message(const struct erasure *e, bool certificate, Ig__Erasure *out)
{
    ig__erasure__init(out);
    out->id = (char *)(uintptr_t)e->id;
    out->created_wall_ms = e->created_ms;
    out->has_finished_wall_ms = e->finished_ms > 0;
    out->finished_wall_ms = e->finished_ms;
    out->by = (char *)(uintptr_t)e->by;
    out->step = (char *)(uintptr_t)erasure_phase_name(e->phase);
    out->error = e->error[0] == '\0' ? NULL : (char *)(uintptr_t)e->error;
    out->certificate =
        certificate && e->certificate[0] != '\0' ? (char *)(uintptr_t)e->certificate : NULL;
}

static enum status run_get(struct journal *j, struct journal_op *op, struct error *err)
{
    struct looking *l = container_of(op, struct looking, op);
    l->list = arena_alloc(&l->arena, sizeof *l->list);
    return l->list == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                           : erasure_get(j, l->id, &l->arena, l->list, err);
}

static void get_done(struct journal_op *op)
{
    struct looking *l = container_of(op, struct looking, op);
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(l->call, &op->err);
    } else {
        Ig__GetErasureReply reply = IG__GET_ERASURE_REPLY__INIT;
        Ig__Erasure e;
        erasure_message(l->list, true, &e);
        reply.erasure = &e;
        ig_get_erasure_return(l->call, &reply);
    }
    looking_end(l);
}

void erase_get(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__GetErasureRequest *r = ig_get_erasure_request(m);
    struct looking *l = look(call, r == NULL ? "" : r->erasure);
    if (l != NULL) {
        l->op.run = run_get;
        l->op.done = get_done;
        journal_submit(&l->t->journal, &l->op);
    }
}

static enum status run_list(struct journal *j, struct journal_op *op, struct error *err)
{
    struct looking *l = container_of(op, struct looking, op);
    arena_reset(&l->arena);
    return erasure_list(j, LIST_MAX, &l->arena, &l->list, &l->n, err);
}

static void list_done(struct journal_op *op)
{
    struct looking *l = container_of(op, struct looking, op);
    Ig__ListErasuresReply reply = IG__LIST_ERASURES_REPLY__INIT;
    Ig__Erasure list[LIST_MAX];
    Ig__Erasure *items[LIST_MAX];
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(l->call, &op->err);
    } else {
        for (size_t i = 0; i < l->n; i++) {
            erasure_message(&l->list[i], false, &list[i]);
            items[i] = &list[i];
        }
        reply.erasures = items;
        reply.n_erasures = l->n;
        ig_list_erasures_return(l->call, &reply);
    }
    looking_end(l);
}

void erase_list(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct looking *l = look(call, NULL);
    if (l != NULL) {
        l->op.run = run_list;
        l->op.done = list_done;
        journal_submit(&l->t->journal, &l->op);
    }
}

static enum status run_allow(struct journal *j, struct journal_op *op, struct error *err)
{
    struct looking *l = container_of(op, struct looking, op);
    bool known = false;
    enum status s = erasure_known(j, l->id, &known, err);
    if (s == STATUS_OK && !known) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no erasure with this id");
    }
    return s == STATUS_OK ? erasure_allow(j, l->id, &l->allowed, err) : s;
}

static void allow_done(struct journal_op *op)
{
    struct looking *l = container_of(op, struct looking, op);
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(l->call, &op->err);
    } else {
        Ig__AllowErasedReply reply = IG__ALLOW_ERASED_REPLY__INIT;
        reply.contents = l->allowed;
        ig_allow_erased_return(l->call, &reply);
    }
    looking_end(l);
}

void erase_allow(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ig__AllowErasedRequest *r = ig_allow_erased_request(m);
    struct looking *l = look(call, r == NULL ? "" : r->erasure);
    if (l != NULL) {
        l->op.run = run_allow;
        l->op.done = allow_done;
        journal_submit(&l->t->journal, &l->op);
    }
}
