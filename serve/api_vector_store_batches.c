/* Batches of files attached together: make, get, cancel, list. A batch is what was put into it
 * (batch_files); each document's state is asked for when the batch is. */
#include <string.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/api_vector_store_files.h"
#include "serve/search_request.h"
#include "serve/tenant_run.h"

struct batch {
    struct one_file file; /* first: stores, for attaching */
    const char *id;
    struct attached_file *rows;
    struct store_file *files;
    size_t n, at;
    int64_t created_wall_ms;
    const char *filter;
    void (*then)(struct request *q);
};

static struct batch *batch_new(struct request *q, bool with_id)
{
    struct batch *b = arena_alloc(q->arena, sizeof *b);
    if (b == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    b->file.stores.q = q;
    b->file.stores.attach.fd = -1;
    b->file.stores.collection = stores_collection(q);
    if (b->file.stores.collection == NULL) {
        api_error(q, 404, NULL, "not_found", "There is no such vector store.");
        return NULL;
    }
    if (with_id) {
        b->id = api_id(q, 1);
        if (b->id == NULL) {
            return NULL;
        }
    }
    q->op = b;
    return b;
}

/* ---- its files ---- */

static void next_file(struct request *q);

static void on_state(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct batch *b = q->op;
    const Ig__GetReply *r = ig_get_reply(m);
    struct store_file *f = &b->files[b->at];
    if (r == NULL && err->code != STATUS_NOT_FOUND) {
        api_fail(q, err);
        return;
    }
    if (r != NULL) {
        store_file_of_state(r->document, f);
        store_file_row(&b->rows[b->at], f);
    } else { /* taken out since */
        store_file_of_row(&b->rows[b->at], f);
        f->status = "cancelled";
    }
    b->at++;
    next_file(q);
}

static void next_file(struct request *q)
{
    struct batch *b = q->op;
    Ig__GetRequest ask = IG__GET_REQUEST__INIT;
    while (b->at < b->n && b->rows[b->at].document[0] == '\0') {
        store_file_of_row(&b->rows[b->at], &b->files[b->at]);
        b->at++;
    }
    if (b->at == b->n) {
        b->then(q);
        return;
    }
    ask.document = pb_text(b->rows[b->at].document);
    api_unary(q, PEER_INGEST, &ig_get_method, 0, &ask.base, on_state);
}

static enum status find_rows(sqlite3 *db, void *data, struct error *err)
{
    struct batch *b = data;
    const struct request *q = b->file.stores.q;
    const char *user = q->who->admin ? NULL : q->who->user;
    enum status s =
        batch_begun(db, b->id, b->file.stores.collection, user, &b->created_wall_ms, err);
    return s != STATUS_OK ? s
                          : batch_list(db, b->id, b->file.stores.collection, user, ATTACH_MAX,
                                       q->arena, &b->rows, &b->n, err);
}

static void on_rows(struct request *q, const struct error *err)
{
    struct batch *b = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    b->files = arena_array(q->arena, b->n + 1, sizeof *b->files);
    if (b->files == NULL) {
        api_out_of_memory(q);
    } else {
        b->at = 0;
        next_file(q);
    }
}

static void with_batch(struct request *q, void (*then)(struct request *q))
{
    struct batch *b = q->op;
    b->then = then;
    tenant_run(q, find_rows, b, on_rows);
}

/* ---- told ---- */

static void tell(struct request *q)
{
    static const char *const states[] = {"in_progress", "completed", "failed", "cancelled"};
    const struct batch *b = q->op;
    unsigned counts[4] = {0};
    char id[VECTOR_STORE_ID_CAP];
    struct jsonw w;
    for (size_t i = 0; i < b->n; i++) {
        for (size_t k = 0; k < 4; k++) {
            counts[k] += strcmp(b->files[i].status, states[k]) == 0;
        }
    }
    vector_store_id(str_from(b->file.stores.collection), id);
    api_object_begin(q, &w);
    jsonw_field_z(&w, "id", b->id);
    jsonw_field_z(&w, "object", "vector_store.files_batch");
    jsonw_field_int(&w, "created_at", b->created_wall_ms / 1000);
    jsonw_field_z(&w, "vector_store_id", id);
    jsonw_field_z(&w, "status",
                  counts[0] > 0       ? "in_progress"
                  : counts[3] == b->n ? "cancelled"
                  : counts[2] == b->n ? "failed"
                                      : "completed");
    jsonw_key(&w, "file_counts");
    jsonw_open(&w, '{');
    for (size_t k = 0; k < 4; k++) {
        jsonw_field_int(&w, states[k], counts[k]);
    }
    jsonw_field_int(&w, "total", (int64_t)b->n);
    jsonw_close(&w, '}');
    api_object_end(q, 200, &w);
}

void api_vector_store_batch_get(struct request *q)
{
    if (batch_new(q, true) != NULL) {
        with_batch(q, tell);
    }
}

static void tell_files(struct request *q)
{
    const struct batch *b = q->op;
    const struct page_query *page = &b->file.stores.page;
    const char *first = NULL, *last = NULL;
    bool open = page->after == NULL, more = false;
    size_t told = 0;
    struct jsonw w;
    api_object_begin(q, &w);
    page_begin(&w);
    for (size_t i = 0; i < b->n; i++) {
        const struct store_file *f = &b->files[page->ascending ? i : b->n - 1 - i];
        if (!open) {
            open = strcmp(f->id, page->after) == 0;
        } else if (page->before != NULL && strcmp(f->id, page->before) == 0) {
            break;
        } else if (b->filter == NULL || strcmp(b->filter, f->status) == 0) {
            more = told == page->limit;
            if (more) {
                break;
            }
            store_file_json(&w, f);
            first = first == NULL ? f->id : first;
            last = f->id;
            told++;
        }
    }
    page_end(&w, first, last, more);
    api_object_end(q, 200, &w);
}

void api_vector_store_batch_files(struct request *q)
{
    struct batch *b = batch_new(q, true);
    if (b != NULL && page_query_read(q, PAGE_LIMIT_MAX, 20, &b->file.stores.page) &&
        api_query(q, "filter", &b->filter)) {
        with_batch(q, tell_files);
    }
}

/* ---- cancelled: what waits; what is a document already stays ---- */

static enum status cancel_rows(sqlite3 *db, void *data, struct error *err)
{
    const struct batch *b = data;
    return attached_interrupt(db, b->id, "cancelled", "the batch was cancelled", err);
}

static void on_cancelled(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    with_batch(q, tell);
}

static void cancel(struct request *q)
{
    tenant_run(q, cancel_rows, q->op, on_cancelled);
}

void api_vector_store_batch_cancel(struct request *q)
{
    if (batch_new(q, true) != NULL) {
        with_batch(q, cancel);
    }
}

/* ---- made ---- */

static void on_attached(struct request *q)
{
    with_batch(q, tell);
}

static void on_json(struct request *q, const struct json *body)
{
    struct batch *b = batch_new(q, false);
    struct error err;
    char id[ID_CAP];
    if (b == NULL) {
        return;
    }
    struct attach *a = &b->file.stores.attach;
    if (attach_read(q, body, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    if (a->n == 0) {
        api_error(q, 400, "file_ids", "invalid", "file_ids is missing: upload the files first");
        return;
    }
    id_new(id);
    b->id = arena_printf(q->arena, BATCH_PREFIX "%s", id);
    if (b->id == NULL) {
        api_out_of_memory(q);
        return;
    }
    a->collection = b->file.stores.collection;
    a->batch = b->id;
    stores_known(q, on_attached);
}

void api_vector_store_batch_create(struct request *q)
{
    api_read_json(q, on_json);
}
