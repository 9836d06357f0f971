/* The questions about legal holds, one at a time in each tenant, and the telling of them to the
 * store, which keeps versions of what is held:
 *
 *   add:     look it up, tell the store, write it down. What was confirmed is held in both.
 *   remove:  strike it out, tell the store all that is left.
 *   at the start, and whenever a telling failed: tell the store all there is.
 *
 * So the store holds at least what the journal says. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/documents.h"
#include "ingest/erase.h"
#include "ingest/holds.h"
#include "vectorstore/vectorstore_rpc.h"

#define HOLD_ARENA ((size_t)16 << 20)
#define WAITING_MAX 64U
#define TELL_HOLDS 256U /* in one message */
#define TELL_BYTES ((size_t)1 << 20)
#define TELL_MS 4000 /* less than a question about holds has */
#define AGAIN_MS 5000

struct holding {
    struct journal_op op;
    struct list link;      /* in the tenant's holdings while it works or waits */
    struct rpc_call *call; /* NULL: nobody asked */
    struct tenant *t;
    struct arena arena;
    struct hold hold;
    void (*start)(struct holding *h);
    void (*told)(struct holding *h, const struct error *err);
    /* telling */
    struct hold *list;
    size_t n, sent, until;
    bool complete; /* what is not in the list is lifted */
    uint64_t round;
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
        list_init(&h->link);
        arena_init(&h->arena, HOLD_ARENA);
    }
    return h;
}

static void submit(struct holding *h,
                   enum status (*run)(struct journal *, struct journal_op *, struct error *),
                   void (*done)(struct journal_op *))
{
    h->op.run = run;
    h->op.done = done;
    journal_submit(&h->t->journal, &h->op);
}

static struct holding *first(const struct tenant *t)
{
    return list_empty(&t->holdings) ? NULL : list_entry(t->holdings.next, struct holding, link);
}

static void holding_end(struct holding *h)
{
    struct tenant *t = h->t;
    bool was_first = first(t) == h;
    list_remove(&h->link);
    arena_reset(&h->arena);
    free(h);
    struct holding *next = first(t);
    if (was_first && next != NULL) {
        next->start(next);
    }
}

static void refuse(struct holding *h, enum status s, const char *text)
{
    struct rpc_call *call = h->call;
    holding_end(h); /* nobody's own telling is ever refused: call is there */
    rpc_call_finish(call, s, text);
}

/* When its turn comes. */
static void queue_up(struct holding *h, void (*start_it)(struct holding *h))
{
    size_t n = 0;
    list_for_each(it, &h->t->holdings)
    {
        n++;
    }
    if (n >= WAITING_MAX) {
        refuse(h, STATUS_BUSY, "too many questions about holds at once: ask again shortly");
        return;
    }
    h->start = start_it;
    list_push(&h->t->holdings, &h->link);
    if (n == 0) {
        h->start(h);
    }
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

/* ---- telling the store ---- */

static void tell_some(struct holding *h);

static void on_told(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    (void)m;
    (void)data;
}

static void on_told_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct holding *h = data;
    h->sent = h->until;
    if (err->code == STATUS_OK && h->sent < h->n && !h->t->in->closing) {
        tell_some(h);
    } else if (err->code == STATUS_OK && h->sent < h->n) {
        struct error ended;
        (void)error_set(&ended, STATUS_CANCELLED, "ingest is ending");
        h->told(h, &ended);
    } else {
        h->told(h, err);
    }
}

static void tell_some(struct holding *h)
{
    Vs__HoldVersionsRequest m = VS__HOLD_VERSIONS_REQUEST__INIT;
    Vs__HoldVersionsRequest__Hold holds[TELL_HOLDS];
    Vs__HoldVersionsRequest__Hold *list[TELL_HOLDS];
    size_t bytes = 0;
    for (h->until = h->sent; h->until < h->n && m.n_holds < TELL_HOLDS && bytes < TELL_BYTES;
         h->until++) {
        const struct hold *from = &h->list[h->until];
        Vs__HoldVersionsRequest__Hold *to = &holds[m.n_holds];
        vs__hold_versions_request__hold__init(to);
        to->id = (char *)(uintptr_t)from->id;
        to->kind = (Vs__HoldVersionsRequest__Hold__Kind)from->kind; /* the same numbers */
        to->target.data = (uint8_t *)(uintptr_t)from->target.ptr;
        to->target.len = from->target.len;
        bytes += from->target.len;
        list[m.n_holds++] = to;
    }
    m.holds = list;
    m.round = h->round;
    m.has_complete = true;
    m.complete = h->complete && h->until == h->n;
    struct rpc_options o = {.tenant = h->t->id, .timeout_ms = TELL_MS};
    struct rpc_callbacks cb = {.on_reply = on_told, .on_finish = on_told_end};
    if (vs_hold_versions(service_client(h->t->in->svc, PEER_VECTORSTORE), &o, &m, &cb, h) == NULL) {
        struct error err;
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        h->told(h, &err);
    }
}

/* list lives until h->told, which is called once. */
static void tell(struct holding *h, struct hold *list, size_t n, bool complete,
                 void (*told)(struct holding *h, const struct error *err))
{
    uint64_t now = (uint64_t)clock_wall_ms();
    h->t->holds_round = now > h->t->holds_round ? now : h->t->holds_round + 1;
    h->round = h->t->holds_round;
    h->list = list;
    h->n = n;
    h->sent = 0;
    h->complete = complete;
    h->told = told;
    tell_some(h);
}

static enum status run_list(struct journal *j, struct journal_op *op, struct error *err)
{
    struct holding *h = container_of(op, struct holding, op);
    arena_reset(&h->arena);
    return hold_list(j, &h->arena, &h->list, &h->n, err);
}

static void all_told(struct holding *h, const struct error *err)
{
    struct tenant *t = h->t;
    bool before = t->holds_told;
    t->holds_told = err->code == STATUS_OK;
    t->holds_due = clock_monotonic_ms() + AGAIN_MS;
    if (before && !t->holds_told) {
        LOG_WARN("the store could not be told what is held; it is told again",
                 LOG_STR("tenant", t->id), LOG_STR("err", err->text), LOG_END);
    }
    holding_end(h);
}

static void listed_to_tell(struct journal_op *op)
{
    struct holding *h = container_of(op, struct holding, op);
    if (op->err.code != STATUS_OK || h->t->in->closing) {
        all_told(h, &op->err);
    } else {
        tell(h, h->list, h->n, true, all_told);
    }
}

static void start_telling(struct holding *h)
{
    submit(h, run_list, listed_to_tell);
}

void holds_tick(struct tenant *t)
{
    int64_t now = clock_monotonic_ms();
    if (t->holds_told || now < t->holds_due || !list_empty(&t->holdings) || t->in->closing) {
        return;
    }
    struct holding *h = calloc(1, sizeof *h);
    t->holds_due = now + AGAIN_MS;
    if (h != NULL) {
        h->t = t;
        list_init(&h->link);
        arena_init(&h->arena, HOLD_ARENA);
        queue_up(h, start_telling);
    }
}

/* ---- add ---- */

static enum status run_prepare(struct journal *j, struct journal_op *op, struct error *err)
{
    struct holding *h = container_of(op, struct holding, op);
    return hold_prepare(j, &h->hold, &h->arena, err);
}

static enum status run_add(struct journal *j, struct journal_op *op, struct error *err)
{
    struct holding *h = container_of(op, struct holding, op);
    return hold_add(j, &h->hold, err);
}

static void add_done(struct journal_op *op)
{
    struct holding *h = container_of(op, struct holding, op);
    if (op->err.code != STATUS_OK) {
        h->t->holds_told = false; /* the store has one that is none */
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

static void one_told(struct holding *h, const struct error *err)
{
    if (err->code != STATUS_OK) {
        struct error e;
        (void)error_set(&e, err->code,
                        "the hold was not made: the store could not be told (%.120s); try again",
                        err->text);
        h->t->holds_told = false; /* it may have heard all the same */
        rpc_call_fail(h->call, &e);
        holding_end(h);
        return;
    }
    submit(h, run_add, add_done);
}

static void prepared(struct journal_op *op)
{
    struct holding *h = container_of(op, struct holding, op);
    if (op->err.code == STATUS_OK && h->t->in->closing) {
        (void)error_set(&op->err, STATUS_CANCELLED, "ingest is ending");
    }
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(h->call, &op->err);
        holding_end(h);
        return;
    }
    tell(h, &h->hold, 1, false, one_told);
}

static void start_adding(struct holding *h)
{
    submit(h, run_prepare, prepared);
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
        queue_up(h, start_adding);
    }
}

/* ---- list, remove ---- */

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
        submit(h, run_list, list_done);
    }
}

static enum status run_remove(struct journal *j, struct journal_op *op, struct error *err)
{
    struct holding *h = container_of(op, struct holding, op);
    return hold_remove(j, h->hold.id, err);
}

static void removed(struct journal_op *op)
{
    struct holding *h = container_of(op, struct holding, op);
    if (op->err.code != STATUS_OK) {
        rpc_call_fail(h->call, &op->err);
        holding_end(h);
        return;
    }
    Ig__RemoveHoldReply reply = IG__REMOVE_HOLD_REPLY__INIT;
    ig_remove_hold_return(h->call, &reply);
    h->call = NULL;
    start_telling(h);
}

static void start_removing(struct holding *h)
{
    submit(h, run_remove, removed);
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
    queue_up(h, start_removing);
}
