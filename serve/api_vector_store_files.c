/* Files of a vector store: attach, list, get, change their attributes, take out, read. Batches are
 * in api_vector_store_batches.c. Administrators see every state, as ingest tells it; others what is
 * ready and may be read by them, and what they attached themselves. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/api_vector_store_files.h"
#include "serve/passage.h"
#include "serve/search_request.h"
#include "serve/service.h"
#include "serve/tenant_run.h"

#define TEXT_MAX ((size_t)64 << 20)

/* ---- one file: its row, then its document ---- */

static enum status find_row(sqlite3 *db, void *data, struct error *err)
{
    struct one_file *f = data;
    return attached_get(db, f->stores.collection, f->id, f->stores.q->arena, &f->row, &f->found,
                        err);
}

static void tell_missing(struct request *q)
{
    api_error(q, 404, NULL, "not_found", "There is no such file in this vector store.");
}

static void from_store(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct one_file *f = q->op;
    const Vs__GetDocumentReply *r = vs_get_document_reply(m);
    if (r == NULL && err->code != STATUS_NOT_FOUND) {
        api_fail(q, err);
        return;
    }
    if (r == NULL || strcmp(r->document->location->collection, f->stores.collection) != 0) {
        tell_missing(q);
        return;
    }
    store_file_of_document(r->document, &f->told);
    if (f->found) {
        store_file_row(&f->row, &f->told);
    }
    f->then(q);
}

static void ask_store(struct request *q)
{
    struct one_file *f = q->op;
    Vs__GetDocumentRequest ask = VS__GET_DOCUMENT_REQUEST__INIT;
    ask.document = pb_text(f->document);
    api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &ask.base, from_store);
}

static void from_ingest(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct one_file *f = q->op;
    const Ig__GetReply *r = ig_get_reply(m);
    if (r == NULL && err->code == STATUS_UNAVAILABLE) {
        ask_store(q);
    } else if (r == NULL && err->code != STATUS_NOT_FOUND) {
        api_fail(q, err);
    } else if (r == NULL || strcmp(r->document->collection, f->stores.collection) != 0) {
        tell_missing(q);
    } else {
        store_file_of_state(r->document, &f->told);
        if (f->found) {
            store_file_row(&f->row, &f->told);
        }
        f->then(q);
    }
}

static void on_row(struct request *q, const struct error *err)
{
    struct one_file *f = q->op;
    bool own = f->found && strcmp(f->row.user, q->who->user) == 0;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    f->document = f->found ? f->row.document : f->id;
    if (f->found && f->row.document[0] == '\0') {
        if (!own && !q->who->admin) {
            tell_missing(q);
            return;
        }
        store_file_of_row(&f->row, &f->told);
        f->then(q);
    } else if (!id_valid(f->document)) {
        tell_missing(q);
    } else if (own || q->who->admin) {
        Ig__GetRequest ask = IG__GET_REQUEST__INIT;
        ask.document = pb_text(f->document);
        api_unary(q, PEER_INGEST, &ig_get_method, 0, &ask.base, from_ingest);
    } else {
        ask_store(q);
    }
}

struct one_file *one_file_new(struct request *q, size_t param)
{
    struct one_file *f = arena_alloc(q->arena, sizeof *f);
    if (f == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    f->stores.q = q;
    f->stores.attach.fd = -1;
    f->stores.collection = stores_collection(q);
    if (f->stores.collection == NULL) {
        api_error(q, 404, NULL, "not_found", "There is no such vector store.");
        return NULL;
    }
    if (param > 0) {
        f->id = api_id(q, param);
        if (f->id == NULL) {
            return NULL;
        }
    }
    q->op = f;
    return f;
}

void one_file_find(struct request *q, void (*then)(struct request *q))
{
    struct one_file *f = q->op;
    f->then = then;
    tenant_run(q, find_row, f, on_row);
}

static void with_file(struct request *q, void (*then)(struct request *q))
{
    if (one_file_new(q, 1) != NULL) {
        one_file_find(q, then);
    }
}

static void tell_file(struct request *q)
{
    const struct one_file *f = q->op;
    struct jsonw w;
    jsonw_init(&w, &q->out);
    store_file_json(&w, &f->told);
    api_json(q, 200, &q->out);
}

void api_vector_store_file_get(struct request *q)
{
    with_file(q, tell_file);
}

/* ---- attach ---- */

static void on_attached(struct request *q)
{
    struct one_file *f = q->op;
    const struct attach_item *item = &f->stores.attach.items[0];
    if (item->err.code == STATUS_NOT_FOUND) {
        api_error(q, 404, "file_id", "not_found", item->err.text);
    } else if (item->err.code != STATUS_OK) {
        api_fail(q, &item->err);
    } else {
        f->id = item->file;
        one_file_find(q, tell_file);
    }
}

static void on_attach_json(struct request *q, const struct json *body)
{
    struct one_file *f = one_file_new(q, 0);
    struct error err;
    if (f == NULL) {
        return;
    }
    struct attach *a = &f->stores.attach;
    struct str id = jsonr_str(jsonr_get(body, "file_id"));
    if (!api_name_ok(id, 64)) {
        api_error(q, 400, "file_id", "invalid", "file_id is missing: upload the file first");
        return;
    }
    a->items = arena_alloc(q->arena, sizeof *a->items);
    if (a->items == NULL) {
        api_out_of_memory(q);
        return;
    }
    a->n = 1;
    a->items[0].file = arena_strndup(q->arena, id.ptr, id.len);
    const struct json *attributes = jsonr_get(body, "attributes");
    if (attributes != NULL && read_attributes(q, attributes, "attributes", false,
                                              &a->items[0].attributes, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    a->collection = f->stores.collection;
    a->batch = "";
    stores_known(q, on_attached);
}

void api_vector_store_attach(struct request *q)
{
    api_read_json(q, on_attach_json);
}

/* ---- the store must be there: a row, or documents ---- */

static void known_attach(struct request *q)
{
    const struct stores *s = q->op;
    if (s->n == 0) {
        api_error(q, 404, NULL, "not_found", "There is no such vector store.");
    } else if (store_expired(&s->entries[0].row, clock_wall_ms())) {
        api_error(q, 400, NULL, "expired", "This vector store has expired.");
    } else {
        attach_run(q, s->attached);
    }
}

void stores_known(struct request *q, void (*then)(struct request *q))
{
    struct stores *s = q->op;
    s->attached = then;
    stores_survey(q, known_attach);
}

/* ---- attributes ---- */

static enum status put_attributes(sqlite3 *db, void *data, struct error *err)
{
    struct one_file *f = data;
    if (!f->found) {
        f->row = (struct attached_file){.collection = f->stores.collection,
                                        .file = f->document,
                                        .document = f->document,
                                        .user = f->stores.q->who->user,
                                        .created_wall_ms = f->told.created_wall_ms,
                                        .batch = "",
                                        .state = "",
                                        .error = ""};
    }
    f->row.attributes = f->attributes;
    return attached_put(db, &f->row, err);
}

static void on_changed(struct request *q, const struct error *err)
{
    struct one_file *f = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    f->told.attributes = f->attributes;
    tell_file(q);
}

static void change_attributes(struct request *q)
{
    tenant_run(q, put_attributes, q->op, on_changed);
}

static void on_attributes_json(struct request *q, const struct json *body)
{
    struct one_file *f = one_file_new(q, 1);
    struct error err;
    if (f == NULL) {
        return;
    }
    if (!jsonr_has(body, "attributes")) {
        api_error(q, 400, "attributes", "invalid", "attributes is missing");
    } else if (read_attributes(q, jsonr_get(body, "attributes"), "attributes", false,
                               &f->attributes, &err) != STATUS_OK) {
        api_fail(q, &err);
    } else {
        one_file_find(q, change_attributes);
    }
}

void api_vector_store_file_change(struct request *q)
{
    api_read_json(q, on_attributes_json);
}

/* ---- taking out: the document goes to the trash, the uploaded file stays ---- */

static enum status drop_row(sqlite3 *db, void *data, struct error *err)
{
    const struct one_file *f = data;
    return f->found ? attached_remove(db, f->row.collection, f->row.file, err) : STATUS_OK;
}

static void on_dropped(struct request *q, const struct error *err)
{
    const struct one_file *f = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    api_deleted(q, "vector_store.file.deleted", f->id);
}

static void on_taken_out(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    (void)m;
    if (err->code != STATUS_OK && err->code != STATUS_NOT_FOUND) {
        api_fail(q, err);
        return;
    }
    tenant_run(q, drop_row, q->op, on_dropped);
}

static void take_out(struct request *q)
{
    const struct one_file *f = q->op;
    Ig__DeleteRequest ask = IG__DELETE_REQUEST__INIT;
    if (f->told.document[0] == '\0') {
        tenant_run(q, drop_row, q->op, on_dropped);
        return;
    }
    ask.document = pb_text(f->told.document);
    api_unary(q, PEER_INGEST, &ig_delete_method, 0, &ask.base, on_taken_out);
}

void api_vector_store_file_delete(struct request *q)
{
    with_file(q, take_out);
}

/* ---- content: the text as it was read ---- */

static void on_text(struct request *q, const ProtobufCMessage *m)
{
    struct one_file *f = q->op;
    const Vs__GetTextReply *r = vs_get_text_reply(m);
    if (r != NULL && r->has_text) {
        buf_str(&f->text, str_of_bytes(r->text));
    }
}

static void content_gone(struct request *q)
{
    struct one_file *f = q->op;
    buf_deinit(&f->text);
}

static void on_text_end(struct request *q, const struct error *err)
{
    struct one_file *f = q->op;
    struct jsonw w;
    q->on_gone = NULL;
    if (err->code == STATUS_OK && buf_status(&f->text) == STATUS_OK) {
        api_object_begin(q, &w);
        jsonw_field_z(&w, "object", "vector_store.file_content.page");
        jsonw_key(&w, "data");
        jsonw_open(&w, '[');
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "type", "text");
        jsonw_field_str(&w, "text", buf_view(&f->text));
        jsonw_close(&w, '}');
        jsonw_close(&w, ']');
        jsonw_field_bool(&w, "has_more", false);
        jsonw_field_z(&w, "next_page", NULL);
        buf_deinit(&f->text);
        api_object_end(q, 200, &w);
        return;
    }
    enum status s = buf_status(&f->text);
    buf_deinit(&f->text);
    if (err->code == STATUS_OK) {
        struct error e;
        (void)error_set(&e, s, "the text is too long to be told at once");
        api_fail(q, &e);
    } else {
        api_fail(q, err);
    }
}

static void read_text(struct request *q)
{
    struct one_file *f = q->op;
    Vs__GetTextRequest ask = VS__GET_TEXT_REQUEST__INIT;
    struct api_call how = {.on_reply = on_text, .on_finish = on_text_end};
    if (f->told.document[0] == '\0' || strcmp(f->told.status, "completed") != 0) {
        api_error(q, 409, NULL, "conflict", "The file has not been read yet, or cannot be.");
        return;
    }
    buf_init(&f->text, TEXT_MAX);
    q->on_gone = content_gone;
    ask.document = pb_text(f->told.document);
    (void)api_start(q, PEER_VECTORSTORE, &vs_get_text_method, 0, &ask.base, &how);
}

void api_vector_store_file_content(struct request *q)
{
    with_file(q, read_text);
}
