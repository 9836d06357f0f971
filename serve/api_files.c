/* /v1/files: the list, one file, its content, deletion. (POST: api_files_create.c.)
 *
 * A file is what was uploaded and lies beside the documents, or a document: its id is taken here
 * too, so that what an annotation names can be asked for. Format: OpenAI API reference, "Files". */
#include "serve/api_files.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text/text.h"
#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/passage.h"
#include "serve/search_request.h"
#include "serve/service.h"
#include "serve/tenant_run.h"
#include "vectorstore/vectorstore_rpc.h"

#define PIECE_BYTES ((size_t)128 * 1024)

/* ---- shared ---- */

bool page_query_read(struct request *q, uint64_t max, size_t fallback, struct page_query *out)
{
    const char *order = NULL;
    bool has = false;
    uint64_t limit = 0;
    if (!api_query(q, "order", &order) || !api_query(q, "after", &out->after) ||
        !api_query(q, "before", &out->before) || !api_query_number(q, "limit", max, &has, &limit)) {
        return false;
    }
    if (order != NULL && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0) {
        api_error(q, 400, "order", "invalid", "order must be asc or desc");
        return false;
    }
    out->limit = has ? (size_t)limit : fallback;
    out->ascending = order != NULL && strcmp(order, "asc") == 0;
    return true;
}

void page_begin(struct jsonw *w)
{
    jsonw_field_z(w, "object", "list");
    jsonw_key(w, "data");
    jsonw_open(w, '[');
}

void page_end(struct jsonw *w, const char *first, const char *last, bool more)
{
    jsonw_close(w, ']');
    jsonw_field_z(w, "first_id", first);
    jsonw_field_z(w, "last_id", last);
    jsonw_field_bool(w, "has_more", more);
}

const char *files_owner(const struct request *q)
{
    return q->who->admin ? NULL : q->who->user;
}

struct str path_name(struct str path)
{
    for (size_t i = path.len; i > 0; i--) {
        if (path.ptr[i - 1] == '/') {
            return (struct str){path.ptr + i, path.len - i};
        }
    }
    return path;
}

bool file_name_read(struct str given, struct str *name)
{
    *name = given;
    for (size_t i = given.len; i > 0; i--) {
        if (given.ptr[i - 1] == '/' || given.ptr[i - 1] == '\\') {
            *name = (struct str){given.ptr + i, given.len - i};
            break;
        }
    }
    return name->ptr != NULL && api_name_ok(*name, FILE_NAME_MAX) && name->ptr[0] != '.' &&
           text_utf8_valid(*name);
}

static void file_fields(struct jsonw *w, const char *id, int64_t bytes, int64_t created_wall_ms,
                        struct str name, const char *purpose)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", id);
    jsonw_field_z(w, "object", "file");
    jsonw_field_int(w, "bytes", bytes);
    jsonw_field_int(w, "created_at", created_wall_ms / 1000);
    jsonw_key(w, "filename");
    jsonw_path(w, name);
    jsonw_field_z(w, "purpose", purpose);
    jsonw_field_z(w, "status", "processed");
    jsonw_field_z(w, "status_details", NULL);
}

void staged_file_json(struct jsonw *w, const struct staged_file *f)
{
    file_fields(w, f->id, f->bytes, f->created_wall_ms, str_from(f->name), f->purpose);
    jsonw_field_int(w, "expires_at", f->expires_wall_ms / 1000);
    jsonw_close(w, '}');
}

enum status read_expiry(const struct json *body, const char *unit, int64_t min, int64_t max,
                        int64_t *out, struct error *err)
{
    const struct json *e = jsonr_get(body, "expires_after");
    *out = 0;
    if (e == NULL) {
        return STATUS_OK;
    }
    if (jsonr_kind(e) != JSON_KIND_OBJECT) {
        return error_set(err, STATUS_INVALID, "expires_after must be an object");
    }
    enum status s = jsonr_int(e, unit, min, max, 0, out, err);
    return s == STATUS_OK && *out == 0
               ? error_set(err, STATUS_INVALID, "expires_after.%s is missing", unit)
               : s;
}

enum status read_attributes(struct request *q, const struct json *object, const char *param,
                            bool plain, const char **out, struct error *err)
{
    void *at = NULL;
    struct str key;
    const struct json *value = NULL;
    size_t n = 0;
    *out = "{}";
    if (object == NULL) {
        return STATUS_OK;
    }
    if (jsonr_kind(object) != JSON_KIND_OBJECT) {
        return error_set(err, STATUS_INVALID, "%s must be an object", param);
    }
    while (jsonr_next(object, &at, &key, &value)) {
        enum json_kind kind = jsonr_kind(value);
        bool fits = kind == JSON_KIND_STRING
                        ? jsonr_str(value).len <= 512
                        : !plain && (kind == JSON_KIND_BOOL || kind == JSON_KIND_INT ||
                                     kind == JSON_KIND_REAL);
        if (++n > 16 || !api_name_ok(key, 64) || !fits) {
            return error_set(err, STATUS_INVALID,
                             "%s: at most 16, with keys of 64 bytes and values that are strings of "
                             "512 bytes%s",
                             param, plain ? "" : ", numbers or booleans");
        }
    }
    *out = jsonr_text(object, q->arena);
    return *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

/* ---- the list ---- */

struct list_op {
    struct arena *arena;
    struct files_query query;
    struct staged_file *rows;
    size_t n;
};

static enum status read_list(sqlite3 *db, void *data, struct error *err)
{
    struct list_op *op = data;
    return files_list(db, &op->query, op->arena, &op->rows, &op->n, err);
}

static void on_list(struct request *q, const struct error *err)
{
    const struct list_op *op = q->op;
    struct jsonw w;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    size_t n = op->n < op->query.limit ? op->n : op->query.limit;
    api_object_begin(q, &w);
    page_begin(&w);
    for (size_t i = 0; i < n; i++) {
        staged_file_json(&w, &op->rows[i]);
    }
    page_end(&w, n > 0 ? op->rows[0].id : NULL, n > 0 ? op->rows[n - 1].id : NULL, op->n > n);
    api_object_end(q, 200, &w);
}

void api_files_list(struct request *q)
{
    struct list_op *op = arena_alloc(q->arena, sizeof *op);
    struct page_query page;
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    if (!page_query_read(q, FILES_ROWS_MAX, FILES_ROWS_MAX, &page) ||
        !api_query(q, "purpose", &op->query.purpose)) {
        return;
    }
    op->query.user = files_owner(q);
    op->query.after = page.after;
    op->query.ascending = page.ascending;
    op->query.limit = page.limit;
    op->arena = q->arena;
    q->op = op;
    tenant_run(q, read_list, op, on_list);
}

/* ---- one of them ---- */

struct file_op {
    struct request *q;
    const char *id;
    bool staged; /* otherwise a document */
    struct staged_file file;
    const char *document; /* NULL: none */
    void (*then)(struct request *q);
    /* content */
    int fd;
    char path[PATH_MAX];
    int64_t left;
    char *piece;
    size_t len;
    bool busy, waiting;
    struct error err;
    /* deletion */
    struct attached_file *places;
    size_t n_places, next;
};

static enum status find_file(sqlite3 *db, void *data, struct error *err)
{
    struct file_op *op = data;
    struct attached_file row;
    bool found = false;
    enum status s = files_get(db, files_owner(op->q), op->id, op->q->arena, &op->file, err);
    op->staged = s == STATUS_OK;
    if (s == STATUS_NOT_FOUND) {
        s = attached_anywhere(db, op->id, op->q->arena, &row, &found, err);
        op->document = s == STATUS_OK && found && row.document[0] != '\0' ? row.document
                       : id_valid(op->id)                                 ? op->id
                                                                          : NULL;
    }
    return s;
}

static void on_found(struct request *q, const struct error *err)
{
    struct file_op *op = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
    } else if (!op->staged && op->document == NULL) {
        api_error(q, 404, NULL, "not_found", "There is no such file.");
    } else {
        op->then(q);
    }
}

static void with_file(struct request *q, void (*then)(struct request *q))
{
    const char *id = api_id(q, 0);
    struct file_op *op = id == NULL ? NULL : arena_alloc(q->arena, sizeof *op);
    if (id == NULL) {
        return;
    }
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    op->q = q;
    op->id = id;
    op->then = then;
    op->fd = -1;
    q->op = op;
    tenant_run(q, find_file, op, on_found);
}

static void on_document(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const struct file_op *op = q->op;
    const Vs__GetDocumentReply *reply = vs_get_document_reply(m);
    struct jsonw w;
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    const Vs__DocumentInfo *d = reply->document;
    jsonw_init(&w, &q->out);
    file_fields(&w, op->id, (int64_t)d->size, d->location->modified_wall_ms,
                path_name(str_of_bytes(d->location->path)), "assistants");
    jsonw_close(&w, '}');
    api_json(q, 200, &q->out);
}

static void tell(struct request *q)
{
    const struct file_op *op = q->op;
    struct jsonw w;
    if (!op->staged) {
        Vs__GetDocumentRequest ask = VS__GET_DOCUMENT_REQUEST__INIT;
        ask.document = pb_text(op->document);
        api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &ask.base, on_document);
        return;
    }
    jsonw_init(&w, &q->out);
    staged_file_json(&w, &op->file);
    api_json(q, 200, &q->out);
}

void api_file_get(struct request *q)
{
    with_file(q, tell);
}

/* ---- content: read on the lane, one piece at a time ---- */

static void read_piece(struct request *q);

static void close_content(struct file_op *op)
{
    if (op->fd >= 0) {
        (void)close(op->fd);
        op->fd = -1;
    }
}

static void read_work(void *job)
{
    struct file_op *op = job;
    op->err.code = STATUS_OK;
    if (op->fd < 0) {
        op->fd = open(op->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    ssize_t n = op->fd < 0 ? -1 : read(op->fd, op->piece, PIECE_BYTES);
    op->len = n > 0 ? (size_t)n : 0;
    if (n <= 0 && op->left > 0) {
        (void)error_set(&op->err, STATUS_NOT_FOUND, "the file's bytes are not here any more");
    }
}

static void on_content_drain(struct http_request *http)
{
    struct request *q = http->data;
    struct file_op *op = q->op;
    if (op->waiting) {
        op->waiting = false;
        read_piece(q);
    }
}

static void read_done(void *job)
{
    struct file_op *op = job;
    struct request *q = op->q;
    struct http_request *http = q->http;
    struct serve *serve = q->serve;
    bool begun = http->status != 0;
    op->busy = false;
    if (http_request_gone(http) || op->err.code != STATUS_OK) {
        close_content(op);
        if (!http_request_gone(http) && begun) {
            http_stream_cut(http);
        } else if (!http_request_gone(http)) {
            q->on_gone = NULL;
            api_fail(q, &op->err);
        }
    } else {
        if (!begun) {
            http_header(http, "Content-Disposition", "attachment");
            http_header(http, "Content-Security-Policy", "sandbox; default-src 'none'");
            http->on_drain = on_content_drain;
            http_stream_begin(http, 200, "application/octet-stream", op->left);
        }
        size_t n = (int64_t)op->len < op->left ? op->len : (size_t)op->left;
        op->left -= (int64_t)n;
        enum status s = n > 0 ? http_stream_write(http, op->piece, n) : STATUS_OK;
        if (op->left == 0) {
            close_content(op);
            q->on_gone = NULL;
            http_stream_end(http);
        } else if (s == STATUS_BUSY) {
            op->waiting = true;
        } else if (s == STATUS_OK) {
            read_piece(q);
        }
    }
    http_request_release(http);
    serve_admin_done(serve);
}

static void read_piece(struct request *q)
{
    struct file_op *op = q->op;
    http_request_hold(q->http);
    op->busy = true;
    if (lane_submit(&q->serve->files, read_work, read_done, op, &op->err) != STATUS_OK) {
        read_done(op);
    }
}

static void content_gone(struct request *q)
{
    struct file_op *op = q->op;
    if (!op->busy) {
        close_content(op);
    }
}

static void send_content(struct request *q)
{
    struct file_op *op = q->op;
    struct error err;
    if (!op->staged) {
        api_original_of(q, op->document);
        return;
    }
    op->left = op->file.bytes;
    op->piece = arena_alloc(q->arena, PIECE_BYTES);
    enum status s = files_path(q->serve->svc->home, q->who->tenant, op->id, op->path, &err);
    if (op->piece == NULL || s != STATUS_OK) {
        api_out_of_memory(q);
        return;
    }
    q->on_gone = content_gone;
    read_piece(q);
}

void api_file_content(struct request *q)
{
    with_file(q, send_content);
}

/* ---- deletion: the file, and the documents that it became, as OpenAI does it ---- */

static enum status drop_file(sqlite3 *db, void *data, struct error *err)
{
    struct file_op *op = data;
    struct attached_file row;
    bool found = true;
    enum status s = STATUS_OK;
    if (op->staged) {
        files_unlink(op->q->serve->svc->home, op->q->who->tenant, op->id);
        s = files_remove(db, op->id, err);
    }
    while (s == STATUS_OK && found) { /* those whose document has gone, too */
        s = attached_anywhere(db, op->id, op->q->arena, &row, &found, err);
        if (s == STATUS_OK && found) {
            s = attached_remove(db, row.collection, row.file, err);
        }
    }
    return s;
}

static void on_dropped(struct request *q, const struct error *err)
{
    const struct file_op *op = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    api_deleted(q, "file", op->id);
}

static void delete_next(struct request *q);

static void on_document_deleted(struct request *q, const ProtobufCMessage *m,
                                const struct error *err)
{
    struct file_op *op = q->op;
    (void)m;
    bool only = op->places[op->next].file == NULL; /* a document that is a file by itself */
    if (err->code == STATUS_NOT_FOUND && only) {
        api_error(q, 404, NULL, "not_found", "There is no such file.");
        return;
    }
    if (err->code != STATUS_OK && err->code != STATUS_NOT_FOUND) {
        api_fail(q, err);
        return;
    }
    op->next++;
    delete_next(q);
}

static void delete_next(struct request *q)
{
    struct file_op *op = q->op;
    Ig__DeleteRequest ask = IG__DELETE_REQUEST__INIT;
    while (op->next < op->n_places && op->places[op->next].document[0] == '\0') {
        op->next++;
    }
    if (op->next == op->n_places) {
        tenant_run(q, drop_file, op, on_dropped);
        return;
    }
    ask.document = pb_text(op->places[op->next].document);
    api_unary(q, PEER_INGEST, &ig_delete_method, 0, &ask.base, on_document_deleted);
}

/* Ingest knows files, not readers: all of it goes that the store shows to whoever deletes, or that
 * he attached himself; where something is hidden from him, nothing goes. */
static void look_next(struct request *q);

static void on_may_read(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct file_op *op = q->op;
    if (vs_get_document_reply(m) == NULL && err->code == STATUS_NOT_FOUND) {
        api_error(q, 404, NULL, "not_found", "There is no such file.");
    } else if (vs_get_document_reply(m) == NULL) {
        api_fail(q, err);
    } else {
        op->next++;
        look_next(q);
    }
}

static bool goes_unasked(const struct request *q, const struct attached_file *f)
{
    bool made_here = f->file != NULL && strcmp(f->document, f->file) != 0;
    return q->who->admin || f->document[0] == '\0' ||
           (made_here && strcmp(f->user, q->who->user) == 0);
}

static void look_next(struct request *q)
{
    struct file_op *op = q->op;
    Vs__GetDocumentRequest look = VS__GET_DOCUMENT_REQUEST__INIT;
    while (op->next < op->n_places && goes_unasked(q, &op->places[op->next])) {
        op->next++;
    }
    if (op->next == op->n_places) {
        op->next = 0;
        delete_next(q);
        return;
    }
    look.document = pb_text(op->places[op->next].document);
    api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &look.base, on_may_read);
}

static enum status find_places(sqlite3 *db, void *data, struct error *err)
{
    struct file_op *op = data;
    return attached_of_file(db, op->id, PAGE_LIMIT_MAX, op->q->arena, &op->places, &op->n_places,
                            err);
}

static void on_places(struct request *q, const struct error *err)
{
    struct file_op *op = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    if (op->n_places == 0 && !op->staged) { /* a document that came by the folder */
        op->places = arena_alloc(q->arena, sizeof *op->places);
        if (op->places == NULL) {
            api_out_of_memory(q);
            return;
        }
        *op->places = (struct attached_file){.document = op->document};
        op->n_places = 1;
    }
    look_next(q);
}

static void delete_file(struct request *q)
{
    tenant_run(q, find_places, q->op, on_places);
}

void api_file_delete(struct request *q)
{
    with_file(q, delete_file);
}
