/* POST /api/documents: files into the watched folder, streamed to ingest as they arrive.
 *
 * Raw:       the body is the file; ?path= names it, ?collection= its folder, ?replace=true lets it
 * replace. Multipart: every part with a filename is a file; the fields collection, path and replace
 * count for the files after them. One file at a time: the next is read when ingest has the one
 * before.
 *
 * Back-pressure: what ingest cannot take yet is held (one piece), and the body stands still until
 * on_ready. */
#include <stdlib.h>
#include <string.h>

#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/document_json.h"
#include "serve/http/jsonw.h"
#include "serve/http/multipart.h"
#include "serve/jobs.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "serve/service.h"

#define PIECE_BYTES ((size_t)64 * 1024)
#define FILES_MAX 100
#define FIELD_BYTES_MAX 2048
#define OVERHEAD_BYTES ((size_t)256 * 1024) /* delimiters and headers of a multipart body */

struct upload {
    struct multipart parts;
    bool is_multipart;
    char collection[256];
    char path[FIELD_BYTES_MAX];
    bool replace;
    char field[FIELD_BYTES_MAX]; /* of a part that is no file */
    size_t field_len;
    struct rpc_request *rpc; /* a file under way */
    bool ending;             /* all of it was sent; ingest has not answered */
    bool body_over, answered;
    struct buf held; /* a piece ingest could not take */
    size_t files;
    const char *ids[FILES_MAX];
    struct jsonw json; /* into q->out */
};

static bool pump(struct request *q, const char *p, size_t len, size_t *used);

static void forget(struct request *q)
{
    struct upload *u = q->op;
    u->rpc = NULL;
    u->answered = true;
    buf_deinit(&u->held);
}

static void refuse(struct request *q, const struct error *err)
{
    forget(q);
    q->on_gone = NULL;
    api_fail(q, err);
}

static void refuse_text(struct request *q, const char *text)
{
    struct error err;
    (void)error_set(&err, STATUS_INVALID, "%s", text);
    refuse(q, &err);
}

static void answer(struct request *q)
{
    struct upload *u = q->op;
    if (u->files == 0) {
        refuse_text(q, "the form holds no file: send a part with a filename");
        return;
    }
    forget(q);
    q->on_gone = NULL;
    jsonw_close(&u->json, ']');
    jsonw_close(&u->json, '}');
    q->serve->uploads_total += u->files;
    bool known = jobs_preferred(q); /* then it is told when they are read */
    for (size_t i = 0; i < u->files; i++) {
        known = known && u->ids[i] != NULL;
    }
    if (known) {
        buf_reset(&q->out);
        api_job_documents(q, u->ids, u->files);
        return;
    }
    api_json(q, 201, &q->out);
}

/* ---- to ingest ---- */

static void on_stored(struct request *q, const ProtobufCMessage *m)
{
    struct upload *u = q->op;
    const Ig__UploadReply *reply = ig_upload_reply(m);
    if (reply != NULL) {
        document_json(&u->json, reply->document);
        u->ids[u->files] = arena_strdup(q->arena, reply->document->document);
        u->files++;
    }
}

static void go_on(struct request *q)
{
    struct upload *u = q->op;
    size_t used;
    if (!u->body_over) {
        http_body_resume(q->http);
    } else if (pump(q, "", 0, &used) && u->rpc == NULL) {
        answer(q);
    }
}

static void on_file_end(struct request *q, const struct error *err)
{
    struct upload *u = q->op;
    u->rpc = NULL;
    if (err->code != STATUS_OK) {
        refuse(q, err);
    } else if (!u->ending) {
        refuse_text(q, "the file was taken before its end");
    } else {
        u->ending = false;
        go_on(q);
    }
}

/* True: taken. False: held, or refused. */
static bool send_data(struct request *q, struct str data)
{
    struct upload *u = q->op;
    Ig__UploadRequest m = IG__UPLOAD_REQUEST__INIT;
    m.has_data = true;
    m.data = pb_bytes(data);
    enum status s = ig_upload_send(u->rpc, &m);
    if (s == STATUS_BUSY) {
        buf_append(&u->held, data.ptr, data.len);
        s = buf_status(&u->held);
        if (s == STATUS_OK) {
            return false;
        }
    }
    if (s != STATUS_OK && s != STATUS_CANCELLED && s != STATUS_UNAVAILABLE) {
        api_cancel_forget(q, u->rpc);
        struct error err;
        (void)error_set(&err, s, "the upload could not be passed on");
        refuse(q, &err);
        return false;
    }
    return true; /* an upload that has ended says so through on_file_end */
}

static void end_file(struct request *q)
{
    struct upload *u = q->op;
    u->ending = true;
    rpc_request_end(u->rpc);
}

static void on_ready(struct request *q)
{
    struct upload *u = q->op;
    if (u->held.len > 0) {
        struct buf piece = u->held;
        buf_init(&u->held, piece.max);
        bool taken = send_data(q, buf_view(&piece));
        buf_deinit(&piece);
        if (!taken || u->answered) {
            return;
        }
    }
    if (u->body_over && !u->is_multipart && !u->ending) {
        end_file(q);
    } else {
        go_on(q);
    }
}

static bool begin_file(struct request *q, struct str name)
{
    struct upload *u = q->op;
    struct buf path;
    struct str shown = u->path[0] != '\0' ? str_from(u->path) : name;
    if (u->files == FILES_MAX) {
        refuse_text(q, "more than 100 files in one request");
        return false;
    }
    buf_init(&path, 8192);
    if (u->collection[0] != '\0') {
        buf_printf(&path, "%s/", u->collection);
    }
    buf_str(&path, shown);
    Ig__UploadRequest first = IG__UPLOAD_REQUEST__INIT;
    struct api_call how = {.on_reply = on_stored, .on_ready = on_ready, .on_finish = on_file_end};
    first.has_path = true;
    first.path = pb_bytes(buf_view(&path));
    first.has_replace = true;
    first.replace = u->replace;
    fair_owner(q, &first.key, &first.team);
    u->path[0] = '\0';
    u->ending = false;
    u->rpc = api_start(q, PEER_INGEST, &ig_upload_method, 0, &first.base, &how);
    buf_deinit(&path);
    if (u->rpc == NULL) { /* an error was answered */
        forget(q);
    }
    return u->rpc != NULL;
}

/* ---- the form ---- */

/* Old browsers send the whole path of the visitor's disk. */
static struct str base_name(struct str s)
{
    for (size_t i = s.len; i > 0; i--) {
        if (s.ptr[i - 1] == '/' || s.ptr[i - 1] == '\\') {
            return (struct str){s.ptr + i, s.len - i};
        }
    }
    return s;
}

static bool collection_ok(struct str s)
{
    return s.len == 0 || (api_name_ok(s, 255) && memchr(s.ptr, '/', s.len) == NULL);
}

static bool end_field(struct request *q)
{
    struct upload *u = q->op;
    struct str v = {u->field, u->field_len};
    u->field[u->field_len] = '\0';
    if (strcmp(u->parts.name, "collection") == 0) {
        if (!collection_ok(v)) {
            refuse_text(q, "collection is not a collection's name");
            return false;
        }
        memcpy(u->collection, u->field, v.len + 1);
    } else if (strcmp(u->parts.name, "path") == 0) {
        memcpy(u->path, u->field, v.len + 1);
    } else if (strcmp(u->parts.name, "replace") == 0) {
        u->replace = str_eq(v, STR("true")) || str_eq(v, STR("1"));
    }
    return true; /* other fields are none of our business */
}

static bool on_part_data(struct request *q, struct str data)
{
    struct upload *u = q->op;
    if (u->parts.is_file) {
        return u->rpc == NULL || send_data(q, data);
    }
    if (data.len >= sizeof u->field - u->field_len) {
        refuse_text(q, "a field of the form is longer than allowed");
        return false;
    }
    memcpy(u->field + u->field_len, data.ptr, data.len);
    u->field_len += data.len;
    return true;
}

/* Goes through a piece of the form. False: stop here; *used bytes were taken. */
static bool pump(struct request *q, const char *p, size_t len, size_t *used)
{
    struct upload *u = q->op;
    *used = 0;
    if (!u->is_multipart) {
        return true;
    }
    for (;;) {
        if (u->answered || u->ending || u->held.len > 0) {
            return false;
        }
        size_t n;
        struct str data;
        enum multipart_event e = multipart_next(&u->parts, p + *used, len - *used, &n, &data);
        *used += n;
        switch (e) {
        case MULTIPART_MORE:
            return true;
        case MULTIPART_PART:
            u->field_len = 0;
            if (u->parts.is_file &&
                !begin_file(q, base_name((struct str){u->parts.filename, u->parts.filename_len}))) {
                return false;
            }
            break;
        case MULTIPART_DATA:
            if (!on_part_data(q, data)) {
                return false;
            }
            break;
        case MULTIPART_PART_END:
            if (u->parts.is_file && u->rpc != NULL) {
                end_file(q);
            } else if (!u->parts.is_file && !end_field(q)) {
                return false;
            }
            break;
        case MULTIPART_END:
            break;
        case MULTIPART_BAD:
            refuse_text(q, u->parts.reason);
            return false;
        }
    }
}

/* ---- from the client ---- */

static size_t take_body(struct request *q, const char *p, size_t len)
{
    struct upload *u = q->op;
    size_t used = 0;
    if (u->is_multipart) {
        (void)pump(q, p, len, &used); /* how far it came is what counts */
        return used;
    }
    while (used < len && u->held.len == 0 && !u->answered) {
        size_t n = len - used < PIECE_BYTES ? len - used : PIECE_BYTES;
        used += n;
        if (!send_data(q, (struct str){p + used - n, n})) {
            break;
        }
    }
    return used;
}

/* What is wrong with it is answered from inside: the request must last until it has been counted.
 */
static size_t on_body(struct http_request *http, const char *p, size_t len)
{
    struct request *q = http->data;
    http_request_hold(http);
    q->use.used.upload_bytes += (int64_t)len; /* an answer books it */
    size_t used = take_body(q, p, len);
    q->use.used.upload_bytes -= (int64_t)(len - used);
    http_request_release(http);
    return used;
}

static void on_body_end(struct http_request *http)
{
    struct request *q = http->data;
    struct upload *u = q->op;
    size_t used;
    if (u->answered) {
        return;
    }
    u->body_over = true;
    if (!u->is_multipart) {
        if (u->held.len == 0 && u->rpc != NULL) {
            end_file(q);
        }
    } else if (pump(q, "", 0, &used) && u->rpc == NULL) {
        answer(q);
    } else if (!u->answered && u->rpc != NULL && !u->ending && u->held.len == 0) {
        api_cancel_forget(q, u->rpc);
        refuse_text(q, "the form ends in the middle of a file");
    }
}

static bool read_query(struct request *q, struct upload *u)
{
    const char *collection;
    const char *path;
    const char *replace;
    if (!api_query(q, "collection", &collection) || !api_query(q, "path", &path) ||
        !api_query(q, "replace", &replace)) {
        return false;
    }
    if (collection != NULL && !collection_ok(str_from(collection))) {
        api_error(q, 400, "collection", "invalid", "collection is not a collection's name");
        return false;
    }
    if (path != NULL && strlen(path) >= sizeof u->path) {
        api_error(q, 400, "path", "invalid", "path is too long");
        return false;
    }
    if (collection != NULL) {
        memcpy(u->collection, collection, strlen(collection) + 1);
    }
    if (path != NULL) {
        memcpy(u->path, path, strlen(path) + 1);
    }
    u->replace = replace != NULL && (strcmp(replace, "true") == 0 || strcmp(replace, "1") == 0);
    return true;
}

void api_documents_upload(struct request *q)
{
    struct upload *u = arena_alloc(q->arena, sizeof *u);
    struct error err;
    if (u == NULL) {
        api_out_of_memory(q);
        return;
    }
    struct str type = http_head_get(q->http->head, "content-type");
    u->is_multipart = type.len >= 10 && strncasecmp(type.ptr, "multipart/", 10) == 0;
    if (u->is_multipart && multipart_init(&u->parts, type, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    if (!read_query(q, u)) {
        return;
    }
    if (!u->is_multipart && u->path[0] == '\0') {
        api_error(q, 400, "path", "invalid",
                  "Name the file: POST /api/documents?path=folder/name.pdf, or send "
                  "multipart/form-data.");
        return;
    }
    size_t max = (size_t)q->serve->settings->http.max_upload_bytes;
    if (!u->is_multipart && q->http->head->has_length && q->http->head->length > max) {
        api_error(q, 413, NULL, "too_large",
                  "The file is larger than http.max_upload_bytes allows.");
        return;
    }
    buf_init(&u->held, (size_t)1024 * 1024);
    q->op = u;
    q->on_gone = forget;
    q->http->on_body = on_body;
    q->http->on_body_end = on_body_end;
    jsonw_init(&u->json, &q->out);
    jsonw_open(&u->json, '{');
    jsonw_key(&u->json, "documents");
    jsonw_open(&u->json, '[');
    if (u->is_multipart || begin_file(q, STR(""))) {
        http_body_stream(q->http, max + (u->is_multipart ? OVERHEAD_BYTES : 0));
    }
}
