/* Unary calls and reply streams: copy the request, run the row's work on a lane of the tenant,
 * answer on the loop thread; a stream runs its work once a message, and waits where the window is
 * full. The request streams are in service_stream.c. */
#include "vectorstore/service.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vectorstore/service_internal.h"

/* ---- operations ---- */

const ProtobufCMessage *op_copy(const ProtobufCMessage *m, struct arena *a)
{
    ProtobufCAllocator alloc;
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *packed = arena_alloc(a, n + 1);
    if (packed == NULL) {
        return NULL;
    }
    arena_protobuf(a, &alloc);
    n = protobuf_c_message_pack(m, packed);
    return protobuf_c_message_unpack(m->descriptor, &alloc, n, packed);
}

struct op *op_new(struct rpc_call *call, const ProtobufCMessage *m, const struct op_row *row)
{
    struct error err;
    struct op *op = calloc(1, sizeof *op);
    enum status s = op == NULL ? error_set(&err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    if (op != NULL) {
        op->call = call;
        op->row = row;
        op->files[0] = op->files[1] = op->files[2] = -1;
        arena_init(&op->arena, OP_ARENA);
        arena_init(&op->page, OP_ARENA);
        op->who = (struct asker){.caller = rpc_call_caller(call), .cancelled = &op->cancelled};
        op->request = m == NULL ? NULL : op_copy(m, &op->arena);
        s = m != NULL && op->request == NULL
                ? error_set(&err, STATUS_TOO_LARGE, "the request is too large")
                : tenant_take(service_state(call), rpc_call_tenant(call), &op->tenant, &err);
    }
    if (s != STATUS_OK) {
        op_free(op);
        rpc_call_fail(call, &err);
        return NULL;
    }
    *rpc_call_data(call) = op;
    return op;
}

void op_free(struct op *op)
{
    if (op == NULL) {
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        if (op->files[i] >= 0) {
            (void)close(op->files[i]);
        }
    }
    if (op->hash != NULL) {
        uint8_t unused[SHA256_BYTES];
        sha256_end(op->hash, unused);
    }
    if (op->tenant != NULL) {
        tenant_give(op->tenant);
    }
    arena_reset(&op->arena);
    arena_reset(&op->page);
    free(op);
}

static void op_fail(struct op *op)
{
    struct rpc_call *call = op->call;
    struct error err = op->err;
    op_free(op);
    rpc_call_fail(call, &err);
}

static void on_work(void *job)
{
    struct op *op = job;
    struct store *s;
    op->status = tenant_enter(op->tenant, &s, &op->err);
    if (op->status == STATUS_OK) {
        op->status = op->row->work(op, s, &op->err);
        tenant_leave(op->tenant);
    }
}

static void on_unary_done(void *job);
static void on_page_done(void *job);

static void op_run(struct op *op)
{
    bool stream = op->row->method->shape == RPC_REPLY_STREAM;
    arena_reset(&op->page);
    op->reply = NULL;
    op->working = true;
    /* once submitted the operation is the job's: only what fails to start is touched here */
    struct error err;
    struct tenant *t = op->tenant;
    struct lane *const lanes[] = {&t->read, &t->write, &t->seal};
    struct lane *lane = lanes[op->row->lane];
    if (op->row->lane == OP_SEALS) {
        tenant_purge_waits(t, true);
    }
    enum status st = lane_submit_for(lane, rpc_call_effort(op->call), on_work,
                                     stream ? on_page_done : on_unary_done, op, &err);
    if (st != STATUS_OK) {
        if (op->row->lane == OP_SEALS) {
            tenant_purge_waits(t, false);
        }
        op->working = false;
        op->err = err;
        op_fail(op);
    }
}

static bool op_dropped(struct op *op)
{
    op->working = false;
    if (!atomic_load(&op->cancelled)) {
        return false;
    }
    (void)error_set(&op->err, STATUS_CANCELLED, "the caller went away");
    op_fail(op);
    return true;
}

static void on_unary_done(void *job)
{
    struct op *op = job;
    if (op->row->lane == OP_WRITES && op->status == STATUS_OK) {
        tenant_written(op->tenant);
    }
    if (op_dropped(op)) {
        return;
    }
    if (op->status != STATUS_OK) {
        op_fail(op);
        return;
    }
    rpc_call_return(op->call, op->reply); /* packed before it returns */
    op_free(op);
}

/* ---- reply streams ---- */

static void op_send(struct op *op)
{
    enum status s = op->reply == NULL ? STATUS_OK : rpc_call_send(op->call, op->reply);
    op->unsent = s == STATUS_BUSY;
    if (s == STATUS_BUSY) {
        return; /* on_ready comes */
    }
    if (s != STATUS_OK) {
        (void)error_set(&op->err, s, "the answer could not be sent");
        op_fail(op);
    } else if (op->last) {
        struct rpc_call *call = op->call;
        op_free(op);
        rpc_call_finish(call, STATUS_OK, NULL);
    } else {
        op_run(op);
    }
}

static void on_page_done(void *job)
{
    struct op *op = job;
    if (op_dropped(op)) {
        return;
    }
    if (op->status != STATUS_OK) {
        op_fail(op);
        return;
    }
    op_send(op);
}

static void on_ready(struct rpc_call *call)
{
    struct op *op = *rpc_call_data(call);
    if (op != NULL && op->unsent && !op->working) {
        op_send(op);
    }
}

static void on_cancel(struct rpc_call *call)
{
    struct op *op = *rpc_call_data(call);
    if (op == NULL) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
        return;
    }
    atomic_store(&op->cancelled, true);
    if (!op->working) {
        (void)op_dropped(op);
    }
}

static void on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    const struct rpc_method *method = rpc_call_method(call);
    for (size_t i = 0; i < n_op_rows; i++) {
        if (op_rows[i].method == method || strcmp(op_rows[i].method->name, method->name) == 0) {
            struct op *op = op_new(call, m, &op_rows[i]);
            if (op != NULL) {
                op_run(op);
            }
            return;
        }
    }
    rpc_call_finish(call, STATUS_UNSUPPORTED, NULL);
}

/* ---- unary work: decode, call, encode ---- */

#define WORK(fn, Name, lower)                                                                      \
    static enum status work_##fn(struct op *op, struct store *s, struct error *err)                \
    {                                                                                              \
        const Vs__##Name##Request *m = vs_##fn##_request(op->request);                             \
        Vs__##Name##Reply *r = arena_alloc(&op->page, sizeof *r);                                  \
        if (m == NULL || r == NULL) {                                                              \
            return error_set(err, STATUS_NO_MEMORY, "out of memory");                              \
        }                                                                                          \
        vs__##lower##_reply__init(r);                                                              \
        op->reply = &r->base;                                                                      \
        return lower##_now(op, s, m, r, err);                                                      \
    }

#define SIMPLE(fn, Name)                                                                           \
    static enum status fn##_now(struct op *op, struct store *s, const Vs__##Name##Request *m,      \
                                Vs__##Name##Reply *r, struct error *err)                           \
    {                                                                                              \
        (void)op;                                                                                  \
        return store_##fn(s, m, r, err);                                                           \
    }                                                                                              \
    WORK(fn, Name, fn)

#define SEARCH(fn, Name)                                                                           \
    static enum status fn##_now(struct op *op, struct store *s, const Vs__##Name##Request *m,      \
                                Vs__##Name##Reply *r, struct error *err)                           \
    {                                                                                              \
        return store_##fn(s, &op->who, m, &op->page, r, err);                                      \
    }                                                                                              \
    WORK(fn, Name, fn)

SIMPLE(has_content, HasContent)
SIMPLE(move, Move)
SIMPLE(remove, Remove)
SIMPLE(put_vectors, PutVectors)
SIMPLE(publish, Publish)
SIMPLE(hold_versions, HoldVersions)
SIMPLE(erase, Erase)
SIMPLE(scrub, Scrub)
SEARCH(search_text, SearchText)
SEARCH(explain, Explain)
SEARCH(search_vector, SearchVector)
SEARCH(fetch, Fetch)
SEARCH(facets, Facets)
SEARCH(list_versions, ListVersions)

static enum status status_now(struct op *op, struct store *s, const Vs__StatusRequest *m,
                              Vs__StatusReply *r, struct error *err)
{
    (void)m;
    enum status st = store_status(s, &op->page, r, err);
    if (st == STATUS_OK && op->who.caller != NULL && !op->who.caller->admin) {
        r->generation = 0; /* how much others have, and when it changes, is not his */
        r->documents = r->chunks = r->fitted_on = 0;
        r->has_missing = r->has_retained_chunks = r->has_candidate_missing = false;
        r->candidate = r->intent = NULL;
    }
    return st;
}
WORK(status, Status, status)

static enum status erase_inspect_now(struct op *op, struct store *s,
                                     const Vs__EraseInspectRequest *m, Vs__EraseInspectReply *r,
                                     struct error *err)
{
    return store_erase_inspect(s, m, &op->page, r, err);
}
WORK(erase_inspect, EraseInspect, erase_inspect)

static enum status find_subject_now(struct op *op, struct store *s, const Vs__FindSubjectRequest *m,
                                    Vs__FindSubjectReply *r, struct error *err)
{
    return store_find_subject(s, m, &op->page, r, err);
}
WORK(find_subject, FindSubject, find_subject)

static enum status list_encoders_now(struct op *op, struct store *s,
                                     const Vs__ListEncodersRequest *m, Vs__ListEncodersReply *r,
                                     struct error *err)
{
    (void)m;
    return store_list_encoders(s, &op->page, r, err);
}
WORK(list_encoders, ListEncoders, list_encoders)

static enum status promote_now(struct op *op, struct store *s, const Vs__PromoteRequest *m,
                               Vs__PromoteReply *r, struct error *err)
{
    return store_promote(s, m, &op->page, r, err);
}
WORK(promote, Promote, promote)

static enum status hold_back_now(struct op *op, struct store *s, const Vs__HoldBackRequest *m,
                                 Vs__HoldBackReply *r, struct error *err)
{
    (void)op;
    (void)r;
    return store_hold_back(s, m, err);
}
WORK(hold_back, HoldBack, hold_back)

static enum status remove_encoder_now(struct op *op, struct store *s,
                                      const Vs__RemoveEncoderRequest *m, Vs__RemoveEncoderReply *r,
                                      struct error *err)
{
    (void)op;
    (void)r;
    return store_remove_encoder(s, m->encoder, err);
}
WORK(remove_encoder, RemoveEncoder, remove_encoder)

static enum status purge_vectors_now(struct op *op, struct store *s,
                                     const Vs__PurgeVectorsRequest *m, Vs__PurgeVectorsReply *r,
                                     struct error *err)
{
    (void)op;
    (void)m;
    return store_purge_vectors(s, &r->segments, err);
}
WORK(purge_vectors, PurgeVectors, purge_vectors)

static enum status verify_now(struct op *op, struct store *s, const Vs__VerifyRequest *m,
                              Vs__VerifyReply *r, struct error *err)
{
    (void)m;
    return store_verify(s, &op->who, &op->page, r, err);
}
WORK(verify, Verify, verify)

static enum status get_document_now(struct op *op, struct store *s, const Vs__GetDocumentRequest *m,
                                    Vs__GetDocumentReply *r, struct error *err)
{
    r->document = arena_alloc(&op->page, sizeof *r->document);
    if (r->document == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    return store_document(s, &op->who, m->document, m->has_as_of_ms ? &m->as_of_ms : NULL,
                          &op->page, r->document, err);
}
WORK(get_document, GetDocument, get_document)

const struct op_row op_rows[] = {
    {&vs_has_content_method, work_has_content, OP_READS},
    {&vs_move_method, work_move, OP_WRITES},
    {&vs_remove_method, work_remove, OP_WRITES},
    {&vs_list_method, work_list, OP_READS},
    {&vs_status_method, work_status, OP_READS},
    {&vs_get_encoder_method, work_get_encoder, OP_READS},
    {&vs_scan_method, work_scan, OP_READS},
    {&vs_export_vectors_method, work_export_vectors, OP_READS},
    {&vs_put_vectors_method, work_put_vectors, OP_WRITES},
    {&vs_publish_method, work_publish, OP_WRITES},
    {&vs_search_text_method, work_search_text, OP_READS},
    {&vs_explain_method, work_explain, OP_READS},
    {&vs_search_vector_method, work_search_vector, OP_READS},
    {&vs_fetch_method, work_fetch, OP_READS},
    {&vs_facets_method, work_facets, OP_READS},
    {&vs_list_versions_method, work_list_versions, OP_READS},
    {&vs_get_document_method, work_get_document, OP_READS},
    {&vs_get_original_method, work_get_original, OP_READS},
    {&vs_get_text_method, work_get_text, OP_READS},
    {&vs_erase_inspect_method, work_erase_inspect, OP_READS},
    {&vs_hold_versions_method, work_hold_versions, OP_WRITES},
    {&vs_find_subject_method, work_find_subject, OP_READS},
    {&vs_erase_method, work_erase, OP_WRITES},
    {&vs_scrub_method, work_scrub, OP_WRITES},
    {&vs_promote_method, work_promote, OP_WRITES},
    {&vs_hold_back_method, work_hold_back, OP_WRITES},
    {&vs_remove_encoder_method, work_remove_encoder, OP_WRITES},
    {&vs_purge_vectors_method, work_purge_vectors, OP_SEALS},
    {&vs_list_encoders_method, work_list_encoders, OP_READS},
    {&vs_verify_method, work_verify,
     OP_WRITES}, /* on the writer's lane: nothing changes meanwhile */
};
const size_t n_op_rows = sizeof op_rows / sizeof op_rows[0];

/* ---- the service ---- */

#define UNARY(name)                                                                                \
    {                                                                                              \
        .method = &vs_##name##_method, .on_request = on_request, .on_cancel = on_cancel            \
    }
#define STREAM(name)                                                                               \
    {                                                                                              \
        .method = &vs_##name##_method, .on_request = on_request, .on_ready = on_ready,             \
        .on_cancel = on_cancel                                                                     \
    }
#define UPLOAD(name)                                                                               \
    {                                                                                              \
        .method = &vs_##name##_method, .on_request = put_on_request, .on_end = put_on_end,         \
        .on_cancel = put_on_cancel                                                                 \
    }

static const struct rpc_handler handlers[] = {
    UNARY(has_content),
    UPLOAD(put),
    UNARY(move),
    UNARY(remove),
    STREAM(list),
    UNARY(status),
    UPLOAD(put_encoder),
    STREAM(get_encoder),
    STREAM(scan),
    STREAM(export_vectors),
    UNARY(put_vectors),
    UNARY(publish),
    UNARY(search_text),
    UNARY(explain),
    UNARY(search_vector),
    UNARY(fetch),
    UNARY(get_document),
    STREAM(get_original),
    STREAM(get_text),
    UNARY(verify),
    UNARY(facets),
    UNARY(list_versions),
    {.method = &vs_snapshot_method,
     .on_request = snapshot_on_request,
     .on_cancel = snapshot_on_cancel},
    UNARY(erase_inspect),
    UNARY(hold_versions),
    UNARY(find_subject),
    UNARY(erase),
    UNARY(scrub),
    UNARY(promote),
    UNARY(hold_back),
    UNARY(remove_encoder),
    UNARY(purge_vectors),
    UNARY(list_encoders),
};

static enum status open_service(struct service *svc, struct error *err)
{
    struct tenants *all = NULL;
    enum status s = tenants_open(svc, &all, err);
    svc->state = all;
    return s;
}

static void health(struct service *svc, struct service_health *out)
{
    if (svc->state != NULL) {
        tenants_health(svc->state, out);
    }
}

static void close_service(struct service *svc)
{
    tenants_close(svc->state);
}

const struct service_definition vectorstore_definition = {.self = PEER_VECTORSTORE,
                                                          .handlers = handlers,
                                                          .n_handlers =
                                                              sizeof handlers / sizeof handlers[0],
                                                          .open = open_service,
                                                          .health = health,
                                                          .close = close_service};
