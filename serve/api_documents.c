/* /api/documents: the list, one document, deletion. The list is streamed as ingest sends
 * it. When ingest is down, what is ready is listed from the store, with a note. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/document_json.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "vectorstore/vectorstore_rpc.h"

#define LIMIT_MAX 1000000
#define NAME_BYTES_MAX 256U
#define UNREADY_MAX 2000U /* the most that ingest tells of to who is no administrator */
#define PIECE_BYTES_MAX ((size_t)16 * 1024 * 1024)

struct list_op {
    const char *collection, *state, *after, *name, *author, *language, *format, *label;
    int64_t limit, sent; /* limit 0: all */
    bool begun, comma, from_store;
    bool ingest_down;
    bool both;               /* what is not ready first, then from the store what is */
    char (*unready)[ID_CAP]; /* those told of, by id, as the store lists too */
    size_t n_unready, next_unready;
    struct rpc_request *rpc;
    bool paused;
};

static void send_piece(struct request *q, struct buf *b)
{
    struct list_op *op = q->op;
    enum status s = buf_status(b);
    if (s == STATUS_OK) {
        s = http_stream_write(q->http, b->ptr == NULL ? "" : b->ptr, b->len);
    } else {
        http_stream_cut(q->http);
    }
    if (s == STATUS_BUSY && op->rpc != NULL && !op->paused) {
        op->paused = true;
        rpc_request_pause(op->rpc);
    }
    buf_deinit(b);
}

static void on_drain(struct http_request *http)
{
    struct request *q = http->data;
    struct list_op *op = q->op;
    if (op->paused && op->rpc != NULL) {
        op->paused = false;
        rpc_request_resume(op->rpc);
    }
}

static void begin_list(struct request *q)
{
    struct list_op *op = q->op;
    if (!op->begun) {
        op->begun = true;
        q->http->on_drain = on_drain;
        http_stream_begin(q->http, 200, JSON_TYPE, -1);
        (void)http_stream_write(q->http, "{\"documents\":[",
                                14); /* whoever is gone is noticed later */
    }
}

static void end_list(struct request *q)
{
    const struct list_op *op = q->op;
    static const char plain[] = "],\"notes\":[]}";
    static const char noted[] =
        "],\"notes\":[\"ingest is down: only documents that are ready are listed\"]}";
    begin_list(q);
    (void)http_stream_write(q->http, op->ingest_down ? noted : plain,
                            op->ingest_down ? sizeof noted - 1 : sizeof plain - 1);
    http_stream_end(q->http);
}

static void on_states(struct request *q, const ProtobufCMessage *m)
{
    struct list_op *op = q->op;
    const Ig__ListReply *reply = ig_list_reply(m);
    struct buf b;
    struct jsonw w;
    begin_list(q);
    buf_init(&b, PIECE_BYTES_MAX);
    jsonw_init(&w, &b);
    w.comma = op->comma;
    for (size_t i = 0; reply != NULL && i < reply->n_documents; i++) {
        document_json(&w, reply->documents[i]);
        if (op->both && op->n_unready < UNREADY_MAX) {
            (void)snprintf(op->unready[op->n_unready++], ID_CAP, "%s",
                           reply->documents[i]->document);
        }
    }
    op->comma = w.comma;
    send_piece(q, &b);
}

/* It was told of already, with what becomes of it. Both lists go by id. */
static bool told(struct list_op *op, const char *document)
{
    int order = -1;
    while (op->next_unready < op->n_unready &&
           (order = strcmp(op->unready[op->next_unready], document)) < 0) {
        op->next_unready++;
    }
    return op->next_unready < op->n_unready && order == 0;
}

static bool wanted(struct list_op *op, const Vs__DocumentInfo *d)
{
    return !told(op, d->location->document) && (op->limit == 0 || op->sent < op->limit) &&
           (op->collection == NULL || strcmp(op->collection, d->location->collection) == 0) &&
           !(d->location->has_excluded && d->location->excluded);
}

static void on_stored(struct request *q, const ProtobufCMessage *m)
{
    struct list_op *op = q->op;
    const Vs__ListReply *reply = vs_list_reply(m);
    struct buf b;
    struct jsonw w;
    begin_list(q);
    buf_init(&b, PIECE_BYTES_MAX);
    jsonw_init(&w, &b);
    w.comma = op->comma;
    for (size_t i = 0; reply != NULL && i < reply->n_documents; i++) {
        if (wanted(op, reply->documents[i])) {
            stored_document_json(&w, reply->documents[i]);
            op->sent++;
        }
    }
    op->comma = w.comma;
    send_piece(q, &b);
}

static void on_stored_end(struct request *q, const struct error *err)
{
    struct list_op *op = q->op;
    op->rpc = NULL;
    if (err->code == STATUS_OK) {
        end_list(q);
    } else if (op->begun) {
        http_stream_cut(q->http);
    } else {
        api_fail(q, err);
    }
}

/* Are ready documents all that is asked for, or among it? */
static bool ready_may(const struct list_op *op)
{
    return op->state == NULL || strcmp(op->state, "ready") == 0;
}

/* What ingest's list does not know of. */
static bool by_store(const struct list_op *op)
{
    return op->name != NULL || op->author != NULL || op->language != NULL || op->format != NULL ||
           op->label != NULL;
}

/* The store lists what this caller may read; a document that is not ready is not in it. */
static void list_from_store(struct request *q)
{
    struct list_op *op = q->op;
    Vs__ListRequest ask = VS__LIST_REQUEST__INIT;
    struct api_call how = {.on_reply = on_stored, .on_finish = on_stored_end};
    Vs__Filter filter = VS__FILTER__INIT;
    char *name = pb_text(op->name);
    char *collection = pb_text(op->collection);
    op->from_store = true;
    ask.after = pb_text(op->after);
    char *author = pb_text(op->author);
    char *language = pb_text(op->language);
    char *format = pb_text(op->format);
    char *label = pb_text(op->label);
    if (by_store(op)) { /* the store looks, so that what is not wanted goes nowhere */
        filter.names = &name;
        filter.n_names = op->name != NULL;
        filter.authors = &author;
        filter.n_authors = op->author != NULL;
        filter.languages = &language;
        filter.n_languages = op->language != NULL;
        filter.formats = &format;
        filter.n_formats = op->format != NULL;
        filter.labels = &label;
        filter.n_labels = op->label != NULL;
        filter.collections = &collection;
        filter.n_collections = op->collection != NULL;
        ask.filter = &filter;
        ask.has_limit = op->limit > 0;
        ask.limit = (uint32_t)op->limit;
    }
    op->rpc = api_start(q, PEER_VECTORSTORE, &vs_list_method, 0, &ask.base, &how);
}

static void on_states_end(struct request *q, const struct error *err)
{
    struct list_op *op = q->op;
    op->rpc = NULL;
    if (err->code == STATUS_OK && op->both) {
        list_from_store(q);
        return;
    }
    if (err->code == STATUS_UNAVAILABLE && !op->begun && ready_may(op)) {
        op->ingest_down = true;
        list_from_store(q);
        return;
    }
    on_stored_end(q, err);
}

/* Who puts documents in sees what becomes of them, as far as the rules let him read them. Lists by
 * pages go by the store alone, or by one of the other states. */
static bool wants_unready(const struct request *q, bool limited)
{
    const struct list_op *op = q->op;
    return (q->who->scopes & SCOPE_INGEST) != 0 &&
           (op->state == NULL ? op->after == NULL && !limited : strcmp(op->state, "ready") != 0);
}

void api_documents_list(struct request *q)
{
    bool limited = false;
    uint64_t limit = 0;
    struct list_op *op = arena_alloc(q->arena, sizeof *op);
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    if (!api_query(q, "collection", &op->collection) || !api_query(q, "state", &op->state) ||
        !api_query(q, "after", &op->after) || !api_query(q, "q", &op->name) ||
        !api_query(q, "author", &op->author) || !api_query(q, "language", &op->language) ||
        !api_query(q, "format", &op->format) || !api_query(q, "label", &op->label) ||
        !api_query_number(q, "limit", LIMIT_MAX, &limited, &limit)) {
        return;
    }
    op->limit = (int64_t)limit;
    q->op = op;
    static const char *const states[] = {"queued", "working", "ready", "failed"};
    bool known = op->state == NULL;
    for (size_t i = 0; !known && i < sizeof states / sizeof states[0]; i++) {
        known = strcmp(op->state, states[i]) == 0;
    }
    if (!known) {
        api_error(q, 400, "state", "invalid", "state must be queued, working, ready or failed");
        return;
    }
    op->name = op->name == NULL || op->name[0] == '\0' ? NULL : op->name;
    if ((op->name != NULL && strlen(op->name) > NAME_BYTES_MAX) ||
        (by_store(op) && !ready_may(op))) {
        api_error(
            q, 400, "q", "invalid",
            "q, author, language, format and label look for ready documents; q by at most 256 "
            "bytes of the file's name");
        return;
    }
    Ig__ListRequest ask = IG__LIST_REQUEST__INIT;
    char *collection = pb_text(op->collection);
    ask.collections = &collection;
    ask.n_collections = op->collection != NULL;
    ask.state = pb_text(op->state);
    ask.after = pb_text(op->after);
    ask.has_limit = op->limit > 0;
    ask.limit = (uint32_t)op->limit;
    struct api_call how = {.on_reply = on_states, .on_finish = on_states_end};
    if (!q->who->admin && !by_store(op) && wants_unready(q, limited)) {
        ask.has_unready = ask.unready = true;
        op->both = ready_may(op);
        op->unready = op->both ? arena_array(q->arena, UNREADY_MAX, sizeof *op->unready) : NULL;
        if (op->both && op->unready == NULL) {
            api_out_of_memory(q);
            return;
        }
    } else if (!q->who->admin || by_store(op)) {
        if (ready_may(op)) {
            list_from_store(q);
        } else {
            end_list(q);
        }
        return;
    }
    op->rpc = api_start(q, PEER_INGEST, &ig_list_method, 0, &ask.base, &how);
}

/* ---- one document
 * -------------------------------------------------------------------------------------- */

static void on_stored_one(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__GetDocumentReply *reply = vs_get_document_reply(m);
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    struct jsonw w;
    jsonw_init(&w, &q->out);
    stored_document_json(&w, reply->document);
    api_json(q, 200, &q->out);
}

static void get_from_store(struct request *q)
{
    Vs__GetDocumentRequest ask = VS__GET_DOCUMENT_REQUEST__INIT;
    ask.document = q->op;
    api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &ask.base, on_stored_one);
}

static void on_got_at(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__GetReply *reply = ig_get_reply(m);
    if (reply != NULL) {
        struct jsonw w;
        char changed[HTTP_DATE_CAP];
        http_date_write(reply->document->changed_wall_ms / 1000, changed);
        http_header(q->http, "Last-Modified", changed);
        jsonw_init(&w, &q->out);
        document_json(&w, reply->document);
        api_json(q, 200, &q->out);
    } else {
        api_fail(q, err);
    }
}

static void on_got(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    if (ig_get_reply(m) == NULL && err->code == STATUS_UNAVAILABLE) {
        get_from_store(q);
    } else {
        on_got_at(q, m, err);
    }
}

void api_document_get(struct request *q)
{
    Ig__GetRequest ask = IG__GET_REQUEST__INIT;
    const char *id = api_id(q, 0);
    if (id != NULL) {
        ask.document = pb_text(id);
        q->op = ask.document;
        if (!q->who->admin) {
            get_from_store(q);
            return;
        }
        api_unary(q, PEER_INGEST, &ig_get_method, 0, &ask.base, on_got);
    }
}

/* ---- what stands at a path, for an upload with a condition: precondition.h ---- */

static void on_placed_id(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__GetReply *reply = ig_get_reply(m);
    if (reply == NULL || q->who->admin) {
        on_got_at(q, m, err);
        return;
    }
    q->op = arena_strdup(q->arena, reply->document->document);
    if (q->op == NULL) {
        api_out_of_memory(q);
        return;
    }
    get_from_store(q);
}

void api_document_at(struct request *q)
{
    Ig__GetRequest ask = IG__GET_REQUEST__INIT;
    ask.document = pb_text("");
    ask.has_path = true;
    ask.path = pb_bytes(str_from(q->op));
    api_unary(q, PEER_INGEST, &ig_get_method, 0, &ask.base, on_placed_id);
}

static void on_deleted(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__DeleteReply *reply = ig_delete_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_field_z(&w, "id", q->op);
        jsonw_field_bool(&w, "deleted", true);
        jsonw_field_bool(&w, "trashed", reply->trashed);
        jsonw_field_bool(&w, "excluded", reply->excluded);
        api_object_end(q, 200, &w);
    }
}

static void delete_it(struct request *q)
{
    Ig__DeleteRequest ask = IG__DELETE_REQUEST__INIT;
    ask.document = q->op;
    api_unary(q, PEER_INGEST, &ig_delete_method, 0, &ask.base, on_deleted);
}

/* Ingest knows files, not readers: what somebody may not read, the store says, is not there. */
static void on_may_read(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    if (vs_get_document_reply(m) == NULL) {
        api_fail(q, err);
        return;
    }
    delete_it(q);
}

void api_document_delete(struct request *q)
{
    Vs__GetDocumentRequest look = VS__GET_DOCUMENT_REQUEST__INIT;
    const char *id = api_id(q, 0);
    if (id == NULL) {
        return;
    }
    q->op = look.document = pb_text(id);
    if (q->who->admin) {
        delete_it(q);
    } else {
        api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &look.base, on_may_read);
    }
}
