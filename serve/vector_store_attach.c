/* Files become documents of a collection: each is sent to ingest as an upload into the
 * collection's folder.
 *
 * begin (tenant_run: the file, whether it is there already, a row that waits) -> is the same
 * content there under this name (the store's list) -> the upload, piece by piece read on the lane;
 * a name that is taken by another content gets a number -> end (tenant_run: the row with its
 * document) -> the next. What fails has its error in its item and, of a batch, in its row. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/answers.h"
#include "serve/api_vector_stores.h"
#include "serve/passage.h"
#include "serve/search_request.h"
#include "serve/service.h"
#include "serve/tenant_run.h"

#define PIECE_BYTES ((size_t)64 * 1024)
#define NAMES_TRIED 50
#define WAIT_MS INT64_C(900000) /* what waits longer was interrupted */

static void begin_item(struct request *q);
static void try_path(struct request *q);
static void read_piece(struct request *q);

static struct attach *attach_of(struct request *q)
{
    return &((struct stores *)q->op)->attach;
}

static struct attach_item *item_of(struct request *q)
{
    struct attach *a = attach_of(q);
    return &a->items[a->at];
}

/* ---- the client goes away in the middle ---- */

struct interruption {
    char tenant[65], batch[64];
};

static enum status run_interrupt(sqlite3 *db, void *data, struct error *err)
{
    const struct interruption *i = data;
    return attached_interrupt(db, i->batch, "cancelled", "the request was broken off", err);
}

static void on_interrupted(const struct error *err, struct buf *json, void *data)
{
    (void)err; /* then they are told as interrupted by their age */
    (void)json;
    free(data);
}

static void close_file(struct attach *a)
{
    if (a->fd >= 0) {
        (void)close(a->fd);
        a->fd = -1;
    }
}

static void gone(struct request *q)
{
    struct attach *a = attach_of(q);
    a->gone = true;
    a->rpc = NULL;
    if (!a->busy) {
        close_file(a);
    }
    struct interruption *i = a->batch[0] == '\0' ? NULL : calloc(1, sizeof *i);
    if (i != NULL) {
        (void)snprintf(i->tenant, sizeof i->tenant, "%s", q->who->tenant);
        (void)snprintf(i->batch, sizeof i->batch, "%s", a->batch);
        answers_run(q->serve->answers, i->tenant, run_interrupt, on_interrupted, i);
    }
}

/* ---- the end of one ---- */

static enum status end_row(sqlite3 *db, void *data, struct error *err)
{
    struct attach *a = data;
    struct attach_item *item = &a->items[a->at];
    if (item->row.collection == NULL) { /* it did not begin */
        return STATUS_OK;
    }
    if (item->err.code != STATUS_OK && a->batch[0] == '\0') {
        return attached_remove(db, item->row.collection, item->row.file, err);
    }
    item->row.state = item->err.code != STATUS_OK ? "failed" : "";
    item->row.error = item->err.code != STATUS_OK ? item->err.text : "";
    return attached_put(db, &item->row, err);
}

static void on_end(struct request *q, const struct error *err)
{
    struct attach *a = attach_of(q);
    if (err->code != STATUS_OK && item_of(q)->err.code == STATUS_OK) {
        item_of(q)->err = *err;
    }
    a->at++;
    begin_item(q);
}

static void end_item(struct request *q, const struct error *err)
{
    struct attach *a = attach_of(q);
    close_file(a);
    if (err != NULL && err->code != STATUS_OK) {
        item_of(q)->err = *err;
    }
    tenant_run(q, end_row, a, on_end);
}

/* ---- the upload ---- */

static void on_stored(struct request *q, const ProtobufCMessage *m)
{
    const Ig__UploadReply *reply = ig_upload_reply(m);
    if (reply != NULL) {
        item_of(q)->row.document = arena_strdup(q->arena, reply->document->document);
    }
}

static void on_upload_end(struct request *q, const struct error *err)
{
    struct attach *a = attach_of(q);
    struct error e = *err;
    a->rpc = NULL;
    if (e.code == STATUS_OK && item_of(q)->row.document == NULL) {
        (void)error_set(&e, STATUS_NO_MEMORY, "out of memory");
    }
    if (a->busy) { /* the lane still reads: its end goes on */
        a->ending = true;
        a->said = e;
        return;
    }
    if (e.code == STATUS_CONFLICT && a->tries < NAMES_TRIED) {
        close_file(a);
        try_path(q);
        return;
    }
    end_item(q, &e);
}

static void read_work(void *job)
{
    struct attach *a = job;
    a->err.code = STATUS_OK;
    if (a->fd < 0) {
        a->fd = open(a->disk, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    ssize_t n = a->fd < 0 ? -1 : read(a->fd, a->piece, PIECE_BYTES);
    if (n < 0) {
        a->err.code = error_set(&a->err, STATUS_NOT_FOUND,
                                "the file's bytes are not here any more: upload it again");
    }
    a->piece_len = n > 0 ? (size_t)n : 0;
    a->at_end = n == 0;
}

static void send_piece(struct request *q)
{
    struct attach *a = attach_of(q);
    Ig__UploadRequest m = IG__UPLOAD_REQUEST__INIT;
    m.has_data = true;
    m.data = pb_bytes((struct str){a->piece, a->piece_len});
    enum status s = ig_upload_send(a->rpc, &m);
    if (s == STATUS_OK) {
        read_piece(q);
    } else if (s != STATUS_BUSY && s != STATUS_CANCELLED && s != STATUS_UNAVAILABLE) {
        struct error err;
        (void)error_set(&err, s, "the upload could not be passed on");
        api_cancel_forget(q, a->rpc);
        a->rpc = NULL;
        end_item(q, &err);
    } /* BUSY: on_ready sends it again; an upload that has ended says so through on_upload_end */
}

static void read_done(void *job)
{
    struct attach *a = job;
    struct stores *s = container_of(a, struct stores, attach);
    struct request *q = s->q;
    struct http_request *http = q->http;
    struct serve *serve = q->serve;
    a->busy = false;
    if (a->gone || http_request_gone(http)) {
        close_file(a);
    } else if (a->ending) { /* ingest said no while a piece was read */
        a->ending = false;
        on_upload_end(q, &a->said);
    } else if (a->err.code != STATUS_OK) {
        struct error err = a->err;
        api_cancel_forget(q, a->rpc);
        a->rpc = NULL;
        end_item(q, &err);
    } else if (a->at_end) {
        rpc_request_end(a->rpc);
    } else {
        send_piece(q);
    }
    http_request_release(http);
    serve_admin_done(serve);
}

static void read_piece(struct request *q)
{
    struct attach *a = attach_of(q);
    if (a->busy || a->at_end || a->rpc == NULL) {
        return;
    }
    a->busy = true;
    http_request_hold(q->http);
    if (lane_submit(&q->serve->files, read_work, read_done, a, &a->err) != STATUS_OK) {
        read_done(a);
    }
}

static void on_ready(struct request *q)
{
    struct attach *a = attach_of(q);
    if (a->busy || a->rpc == NULL || a->at_end) {
        return;
    }
    if (a->piece_len > 0) { /* it was not taken */
        send_piece(q);
    } else {
        read_piece(q);
    }
}

static void start_upload(struct request *q)
{
    struct attach *a = attach_of(q);
    Ig__UploadRequest first = IG__UPLOAD_REQUEST__INIT;
    struct api_call how = {.on_reply = on_stored, .on_ready = on_ready, .on_finish = on_upload_end};
    first.has_path = true;
    first.path = pb_bytes(str_from(a->path));
    fair_owner(q, &first.key, &first.team);
    a->at_end = a->ending = false;
    a->piece_len = 0;
    a->rpc = api_start(q, PEER_INGEST, &ig_upload_method, 0, &first.base, &how);
    if (a->rpc != NULL) {
        read_piece(q);
    }
}

/* ---- its name ---- */

static void on_same(struct request *q, const ProtobufCMessage *m)
{
    const Vs__ListReply *reply = vs_list_reply(m);
    struct attach_item *item = item_of(q);
    if (reply != NULL && reply->n_documents > 0 && item->row.document[0] == '\0') {
        item->row.document = arena_strdup(q->arena, reply->documents[0]->location->document);
    }
}

static void on_same_end(struct request *q, const struct error *err)
{
    struct attach_item *item = item_of(q);
    if (item->row.document == NULL) {
        api_out_of_memory(q);
    } else if (item->row.document[0] != '\0') {
        end_item(q, NULL); /* the same file under the same name: it is that document */
    } else if (err->code != STATUS_OK && err->code != STATUS_UNAVAILABLE) {
        end_item(q, err);
    } else {
        item->row.document = "";
        start_upload(q);
    }
}

/* collection/name, then "name (2).pdf" and so on. */
static bool make_path(struct attach *a, const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t stem = dot == NULL || dot == name ? strlen(name) : (size_t)(dot - name);
    int n = a->tries == 1 ? snprintf(a->path, sizeof a->path, "%s/%s", a->collection, name)
                          : snprintf(a->path, sizeof a->path, "%s/%.*s (%u)%s", a->collection,
                                     (int)stem, name, a->tries, name + stem);
    return n > 0 && (size_t)n < sizeof a->path;
}

static void try_path(struct request *q)
{
    struct attach *a = attach_of(q);
    struct attach_item *item = item_of(q);
    Vs__ListRequest ask = VS__LIST_REQUEST__INIT;
    Vs__Filter filter = VS__FILTER__INIT;
    struct api_call how = {.on_reply = on_same, .on_finish = on_same_end};
    uint8_t hash[SHA256_BYTES];
    a->tries++;
    if (!make_path(a, item->staged.name) || !sha256_parse(item->staged.hash, hash)) {
        struct error err;
        (void)error_set(&err, STATUS_TOO_LARGE, "the file's name is too long");
        end_item(q, &err);
        return;
    }
    ProtobufCBinaryData path = pb_bytes(str_from(a->path));
    ProtobufCBinaryData digest = {.len = sizeof hash, .data = hash};
    filter.under = &path;
    filter.hashes = &digest;
    filter.n_under = filter.n_hashes = 1;
    ask.filter = &filter;
    ask.has_limit = true;
    ask.limit = 1;
    (void)api_start(q, PEER_VECTORSTORE, &vs_list_method, 0, &ask.base, &how);
}

/* ---- the beginning of one ---- */

/* A row of somebody else: to all but administrators there is no such file. */
static bool others(const struct request *q, const struct attached_file *row)
{
    return !q->who->admin && strcmp(row->user, q->who->user) != 0;
}

static enum status begin_row(sqlite3 *db, void *data, struct error *err)
{
    struct attach *a = data;
    struct stores *s = container_of(a, struct stores, attach);
    struct attach_item *item = &a->items[a->at];
    struct arena *arena = s->q->arena;
    struct attached_file old;
    bool found = false;
    enum status st = attached_get(db, a->collection, item->file, arena, &old, &found, err);
    if (st != STATUS_OK) {
        return st;
    }
    item->found = found && old.document[0] != '\0';
    if (found && strcmp(old.state, "cancelled") == 0 && a->batch[0] != '\0' &&
        strcmp(old.batch, a->batch) == 0) { /* meanwhile */
        item->err.code = STATUS_CANCELLED;
        return STATUS_OK;
    }
    if (found && others(s->q, &old)) {
        item->err.code =
            error_set(&item->err, STATUS_NOT_FOUND, "there is no file %.64s", item->file);
        return STATUS_OK;
    }
    if (!item->found) {
        item->err.code =
            files_get(db, files_owner(s->q), item->file, arena, &item->staged, &item->err);
        if (item->err.code != STATUS_OK) {
            return STATUS_OK;
        }
        st = files_path(s->q->serve->svc->home, s->q->who->tenant, item->file, a->disk, err);
        old = (struct attached_file){.attributes = "{}"};
    }
    item->row = (struct attached_file){
        .collection = a->collection,
        .file = item->found ? old.file : item->file, /* it may have been named by its document */
        .document = item->found ? old.document : "",
        .user = item->found ? old.user : s->q->who->user,
        .attributes = item->attributes != NULL ? item->attributes : old.attributes,
        .created_wall_ms = item->found ? old.created_wall_ms : clock_wall_ms(),
        .batch = item->found ? old.batch : a->batch,
        .state = item->found ? "" : "waiting",
        .error = ""};
    return st == STATUS_OK ? attached_put(db, &item->row, err) : st;
}

/* The document that it was may have been deleted since. */
static enum status drop_row(sqlite3 *db, void *data, struct error *err)
{
    const struct attach *a = data;
    return attached_remove(db, a->collection, a->items[a->at].row.file, err);
}

static void on_dropped(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        end_item(q, err);
    } else {
        begin_item(q); /* as a new one */
    }
}

static void on_still(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct attach *a = attach_of(q);
    if (m == NULL && err->code == STATUS_NOT_FOUND) {
        tenant_run(q, drop_row, a, on_dropped);
        return;
    }
    a->at++;
    begin_item(q);
}

static void on_begun(struct request *q, const struct error *err)
{
    struct attach *a = attach_of(q);
    struct attach_item *item = item_of(q);
    if (err->code != STATUS_OK) {
        end_item(q, err);
    } else if (item->err.code != STATUS_OK) {
        a->at++;
        begin_item(q);
    } else if (item->found) {
        Ig__GetRequest ask = IG__GET_REQUEST__INIT;
        ask.document = pb_text(item->row.document);
        api_unary(q, PEER_INGEST, &ig_get_method, 0, &ask.base, on_still);
    } else {
        a->tries = 0;
        try_path(q);
    }
}

static void begin_item(struct request *q)
{
    struct attach *a = attach_of(q);
    if (a->at == a->n) {
        q->on_gone = NULL;
        a->then(q);
        return;
    }
    tenant_run(q, begin_row, a, on_begun);
}

/* Rows that wait, so that a batch is seen whole from its beginning. */
static enum status announce(sqlite3 *db, void *data, struct error *err)
{
    struct attach *a = data;
    const struct stores *s = container_of(a, struct stores, attach);
    enum status st = STATUS_OK;
    for (size_t i = 0; i < a->n && st == STATUS_OK; i++) {
        struct attached_file row = {.collection = a->collection,
                                    .file = a->items[i].file,
                                    .document = "",
                                    .user = s->q->who->user,
                                    .attributes = "{}",
                                    .created_wall_ms = clock_wall_ms(),
                                    .batch = a->batch,
                                    .state = "waiting",
                                    .error = ""};
        struct attached_file old;
        struct staged_file staged;
        struct error missing;
        bool found = false, waits = false;
        st = attached_get(db, a->collection, row.file, s->q->arena, &old, &found, err);
        if (st != STATUS_OK) {
            break;
        }
        if (found && !others(s->q, &old) && old.document[0] != '\0') {
            row.file = old.file; /* it may have been named by its document */
        } else if (!found || !others(s->q, &old)) {
            st = files_get(db, files_owner(s->q), row.file, s->q->arena, &staged, &missing);
            waits = st == STATUS_OK;
            st = st == STATUS_NOT_FOUND ? STATUS_OK : st;
        } /* else it is somebody else's, and stays so */
        if (st != STATUS_OK) {
            *err = missing;
            break;
        }
        st = waits ? attached_put(db, &row, err) : STATUS_OK;
        st = st == STATUS_OK ? batch_add(db, a->batch, a->collection, row.file, s->q->who->user,
                                         row.created_wall_ms, err)
                             : st;
    }
    return st;
}

static void on_announced(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        q->on_gone = NULL;
        api_fail(q, err);
        return;
    }
    begin_item(q);
}

void attach_run(struct request *q, void (*then)(struct request *q))
{
    struct attach *a = attach_of(q);
    a->then = then;
    a->at = 0;
    a->fd = -1;
    if (a->n > 0 && a->piece == NULL) {
        a->piece = arena_alloc(q->arena, PIECE_BYTES);
        if (a->piece == NULL) {
            api_out_of_memory(q);
            return;
        }
    }
    q->on_gone = gone;
    if (a->batch[0] != '\0') {
        tenant_run(q, announce, a, on_announced);
    } else {
        begin_item(q);
    }
}

/* ---- what came ---- */

static enum status read_item(struct request *q, const struct json *id,
                             const struct json *attributes, struct attach *a, struct error *err)
{
    struct str s = jsonr_str(id);
    struct attach_item *item = &a->items[a->n];
    if (s.ptr == NULL || s.len == 0 || s.len > 64 || !api_name_ok(s, 64)) {
        return error_set(err, STATUS_INVALID, "file_ids[%zu] is not the id of a file", a->n);
    }
    for (size_t i = 0; i < a->n; i++) {
        if (str_eq(s, str_from(a->items[i].file))) {
            return STATUS_OK; /* once is enough */
        }
    }
    *item = (struct attach_item){.file = arena_strndup(q->arena, s.ptr, s.len)};
    if (item->file == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    a->n++;
    return attributes == NULL
               ? STATUS_OK
               : read_attributes(q, attributes, "attributes", false, &item->attributes, err);
}

enum status attach_read(struct request *q, const struct json *body, struct error *err)
{
    struct attach *a = attach_of(q);
    const struct json *ids = jsonr_get(body, "file_ids"), *files = jsonr_get(body, "files");
    const struct json *list = files != NULL ? files : ids;
    size_t n = list == NULL ? 0 : jsonr_len(list);
    if (list != NULL && (jsonr_kind(list) != JSON_KIND_ARRAY || n > ATTACH_MAX)) {
        return error_set(err, STATUS_INVALID, "%s must be an array of at most %d",
                         files != NULL ? "files" : "file_ids", ATTACH_MAX);
    }
    a->items = arena_array(q->arena, n + 1, sizeof *a->items);
    a->n = 0;
    if (a->items == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = STATUS_OK;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        const struct json *v = jsonr_at(list, i);
        const struct json *own = files != NULL ? jsonr_get(v, "attributes") : NULL;
        s = read_item(q, files != NULL ? jsonr_get(v, "file_id") : v,
                      own != NULL ? own : jsonr_get(body, "attributes"), a, err);
    }
    return s;
}

/* ---- what is told ---- */

void store_file_of_row(const struct attached_file *r, struct store_file *out)
{
    bool old = clock_wall_ms() - r->created_wall_ms > WAIT_MS;
    *out = (struct store_file){.id = r->file,
                               .document = r->document,
                               .collection = r->collection,
                               .created_wall_ms = r->created_wall_ms,
                               .status = "in_progress",
                               .attributes = r->attributes};
    if (strcmp(r->state, "cancelled") == 0) {
        out->status = "cancelled";
        out->error_code = "server_error";
        out->error = r->error;
    } else if (strcmp(r->state, "failed") == 0) {
        out->status = "failed";
        out->error_code = "invalid_file";
        out->error = r->error;
    } else if (strcmp(r->state, "waiting") == 0 && old) {
        out->status = "failed";
        out->error_code = "server_error";
        out->error = "it was interrupted: attach it again";
    }
}

void store_file_of_state(const Ig__DocumentState *d, struct store_file *out)
{
    *out = (struct store_file){.id = d->document,
                               .document = d->document,
                               .collection = d->collection,
                               .path = str_of_bytes(d->path),
                               .created_wall_ms = d->modified_wall_ms,
                               .bytes = (int64_t)d->size,
                               .status = "in_progress",
                               .attributes = "{}"};
    if (strcmp(d->state, "ready") == 0) {
        out->status = "completed";
    } else if (strcmp(d->state, "failed") == 0) {
        out->status = "failed";
        out->error = d->error == NULL ? "it could not be read" : d->error;
        out->error_code =
            strstr(out->error, "format") != NULL ? "unsupported_file" : "invalid_file";
    } else if (strcmp(d->state, "excluded") == 0) {
        out->status = "cancelled";
    }
}

void store_file_of_document(const Vs__DocumentInfo *d, struct store_file *out)
{
    *out = (struct store_file){.id = d->location->document,
                               .document = d->location->document,
                               .collection = d->location->collection,
                               .path = str_of_bytes(d->location->path),
                               .created_wall_ms = d->location->modified_wall_ms,
                               .bytes = (int64_t)d->size,
                               .status = "completed",
                               .attributes = "{}"};
}

void store_file_row(const struct attached_file *r, struct store_file *out)
{
    out->id = r->file;
    out->attributes = r->attributes[0] == '\0' ? "{}" : r->attributes;
}

void store_file_json(struct jsonw *w, const struct store_file *f)
{
    char id[VECTOR_STORE_ID_CAP];
    vector_store_id(str_from(f->collection), id);
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", f->id);
    jsonw_field_z(w, "object", "vector_store.file");
    jsonw_field_int(w, "usage_bytes", f->bytes);
    jsonw_field_int(w, "created_at", f->created_wall_ms / 1000);
    jsonw_field_z(w, "vector_store_id", id);
    jsonw_field_z(w, "status", f->status);
    jsonw_key(w, "last_error");
    if (f->error != NULL) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "code", f->error_code == NULL ? "server_error" : f->error_code);
        jsonw_field_z(w, "message", f->error);
        jsonw_close(w, '}');
    } else {
        jsonw_null(w);
    }
    jsonw_key(w, "chunking_strategy"); /* documents are cut as their formats say */
    jsonw_raw(w, STR("{\"type\":\"other\"}"));
    jsonw_key(w, "attributes");
    jsonw_raw(w, str_from(f->attributes[0] == '\0' ? "{}" : f->attributes));
    jsonw_key(w, "carrel");
    jsonw_open(w, '{');
    jsonw_field_z(w, "document", f->document[0] == '\0' ? NULL : f->document);
    jsonw_key(w, "path");
    jsonw_path(w, f->path);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}
