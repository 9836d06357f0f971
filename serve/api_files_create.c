/* POST /v1/files: a file beside the documents, streamed to disk as it arrives; POST
 * /v1/uploads/{id}/parts: a part of one, likewise.
 *
 * Is there room (tenant_run) -> the form, piece by piece: each is written on the lane, the body
 * stands still meanwhile -> synced and put in place (lane) -> its row (tenant_run) -> the answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text/text.h"
#include "serve/api.h"
#include "serve/api_files.h"
#include "serve/file_writing.h"
#include "serve/http/multipart.h"
#include "serve/service.h"
#include "serve/tenant_run.h"
#include "serve/uploads.h"

#define OVERHEAD_BYTES ((size_t)64 * 1024)
#define PIECE_BYTES ((size_t)1024 * 1024)
#define FIELD_MAX 512
#define DAY_MS INT64_C(86400000)

struct creation {
    struct request *q;
    struct http_request *http;
    const char *home;
    char tenant[65], user[64];
    struct multipart parts;
    char field[FIELD_MAX];
    size_t field_len;
    char name[FILE_NAME_MAX + 1], purpose[65];
    int64_t expires_s; /* 0: as configured */
    char id[FILE_ID_CAP];
    struct file_writing file;
    char hash[SHA256_HEX_CAP];
    struct buf piece;
    int64_t bytes, max_bytes, room;
    bool has_file, whole, body_over;
    bool busy;  /* the lane has it */
    bool ended; /* answered */
    struct error err;
    struct staged_file row;
    const char *upload; /* what it is a part of; NULL: a file of its own */
};

static void pump(struct request *q, const char *p, size_t len, size_t *used);

static void release(struct creation *c)
{
    file_writing_end(&c->file);
    buf_deinit(&c->piece);
}

static void gone(struct request *q)
{
    struct creation *c = q->op;
    c->ended = true;
    if (!c->busy) {
        release(c);
    }
}

static void refuse(struct request *q, int status, const char *param, const char *text)
{
    gone(q);
    q->on_gone = NULL;
    api_error(q, status, param, status == 413 ? "too_large" : "invalid", text);
}

static void fail(struct request *q, const struct error *err)
{
    struct error e = *err;
    gone(q);
    q->on_gone = NULL;
    api_fail(q, &e);
}

/* ---- on the lane ---- */

static void write_work(void *job)
{
    struct creation *c = job;
    c->err.code =
        file_writing_add(&c->file, c->home, c->tenant, c->id, buf_view(&c->piece), &c->err);
}

static void place_work(void *job)
{
    struct creation *c = job;
    write_work(c);
    if (c->err.code == STATUS_OK) {
        file_writing_hash(&c->file, c->hash);
        c->err.code = file_writing_place(&c->file, &c->err);
    }
}

static void submit(struct creation *c, lane_work_fn work, lane_done_fn done)
{
    c->busy = true;
    http_request_hold(c->http);
    if (lane_submit(&c->q->serve->files, work, done, c, &c->err) != STATUS_OK) {
        done(c);
    }
}

/* False: it is over. Ends what submit began. */
static bool lane_over(struct creation *c)
{
    c->busy = false;
    if (c->ended) {
        release(c);
    } else if (c->err.code != STATUS_OK) {
        fail(c->q, &c->err);
    } else {
        return true;
    }
    return false;
}

/* ---- the end ---- */

static enum status add_part(sqlite3 *db, void *data, struct error *err)
{
    struct creation *c = data;
    enum status s = uploads_add_part(db, c->upload, c->id, c->bytes, clock_wall_ms(), err);
    if (s != STATUS_OK) {
        files_unlink(c->home, c->tenant, c->id);
    }
    return s;
}

static void on_part_added(struct request *q, const struct error *err)
{
    const struct creation *c = q->op;
    struct jsonw w;
    q->on_gone = NULL;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    api_object_begin(q, &w);
    jsonw_field_z(&w, "id", c->id);
    jsonw_field_z(&w, "object", "upload.part");
    jsonw_field_int(&w, "created_at", clock_wall_ms() / 1000);
    jsonw_field_z(&w, "upload_id", c->upload);
    api_object_end(q, 200, &w);
}

static enum status add_row(sqlite3 *db, void *data, struct error *err)
{
    struct creation *c = data;
    int64_t bytes = 0, rows = 0;
    enum status s = files_total(db, &bytes, &rows, err);
    if (s == STATUS_OK && (bytes > c->room - c->bytes || rows >= FILES_ROWS_MAX)) {
        s = error_set(err, STATUS_TOO_LARGE,
                      "there is no room for more files: delete some (files.max_total_bytes)");
    }
    s = s == STATUS_OK ? files_add(db, &c->row, err) : s;
    if (s != STATUS_OK) {
        files_unlink(c->home, c->tenant, c->id);
    }
    return s;
}

static void on_added(struct request *q, const struct error *err)
{
    struct creation *c = q->op;
    struct jsonw w;
    q->on_gone = NULL;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    jsonw_init(&w, &q->out);
    staged_file_json(&w, &c->row);
    api_json(q, 200, &q->out);
}

static void placed(void *job)
{
    struct creation *c = job;
    struct http_request *http = c->http;
    struct serve *serve = c->q->serve;
    if (lane_over(c)) {
        int64_t now = clock_wall_ms();
        int64_t keep = c->q->serve->settings->files.keep_days * DAY_MS;
        int64_t asked = c->expires_s * 1000;
        c->row = (struct staged_file){.id = c->id,
                                      .user = c->user,
                                      .name = c->name,
                                      .purpose = c->purpose,
                                      .hash = c->hash,
                                      .bytes = c->bytes,
                                      .created_wall_ms = now,
                                      .expires_wall_ms =
                                          now + (asked > 0 && asked < keep ? asked : keep)};
        file_writing_keep(&c->file);
        release(c);
        if (c->upload != NULL) {
            tenant_run(c->q, add_part, c, on_part_added);
        } else {
            tenant_run(c->q, add_row, c, on_added);
        }
    }
    http_request_release(http);
    serve_admin_done(serve);
}

/* ---- the form ---- */

static void written(void *job)
{
    struct creation *c = job;
    struct http_request *http = c->http;
    struct serve *serve = c->q->serve;
    if (lane_over(c)) {
        size_t used = 0;
        buf_reset(&c->piece);
        if (c->body_over) {
            pump(c->q, "", 0, &used);
        } else {
            http_body_resume(http);
        }
    }
    http_request_release(http);
    serve_admin_done(serve);
}

static bool begin_file(struct request *q)
{
    struct creation *c = q->op;
    struct str name;
    if (c->has_file) {
        refuse(q, 400, "file", "one file at a time: the form holds more");
        return false;
    }
    if (c->upload != NULL) { /* a part needs no name */
        c->has_file = true;
        return true;
    }
    if (!file_name_read((struct str){c->parts.filename, c->parts.filename_len}, &name)) {
        refuse(q, 400, "file", "the file's name is missing, hidden, not UTF-8, or too long");
        return false;
    }
    memcpy(c->name, name.ptr, name.len);
    c->name[name.len] = '\0';
    c->has_file = true;
    return true;
}

static bool end_field(struct request *q)
{
    struct creation *c = q->op;
    struct str v = {c->field, c->field_len};
    c->field[c->field_len] = '\0';
    if (strcmp(c->parts.name, "purpose") == 0) {
        if (!api_name_ok(v, sizeof c->purpose - 1) || !text_utf8_valid(v)) {
            refuse(q, 400, "purpose", "purpose is not a name");
            return false;
        }
        memcpy(c->purpose, c->field, v.len + 1);
    } else if (strcmp(c->parts.name, "expires_after[seconds]") == 0) {
        char *end = NULL;
        long long n = strtoll(c->field, &end, 10);
        if (v.len == 0 || v.len > 9 || *end != '\0' || n < 3600 || n > 2592000) {
            refuse(q, 400, "expires_after", "expires_after[seconds]: 3600 to 2592000");
            return false;
        }
        c->expires_s = n;
    }
    return true; /* other fields are none of our business */
}

static bool on_data(struct request *q, struct str data)
{
    struct creation *c = q->op;
    if (!c->parts.is_file) {
        if (data.len >= sizeof c->field - c->field_len) {
            refuse(q, 400, NULL, "a field of the form is longer than allowed");
            return false;
        }
        memcpy(c->field + c->field_len, data.ptr, data.len);
        c->field_len += data.len;
        return true;
    }
    c->bytes += (int64_t)data.len;
    buf_append(&c->piece, data.ptr, data.len);
    if (c->bytes > c->max_bytes) {
        refuse(q, 413, "file",
               c->upload != NULL ? "The part is larger than 64 MiB, http.max_upload_bytes, or what "
                                   "was announced and is missing."
                                 : "The file is larger than http.max_upload_bytes allows.");
    } else if (buf_status(&c->piece) != STATUS_OK) {
        struct error err;
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        fail(q, &err);
    } else {
        submit(c, write_work, written);
    }
    return false;
}

static void finish(struct request *q)
{
    struct creation *c = q->op;
    if (!c->has_file) {
        refuse(q, 400, "file", "the form holds no file: send a part \"file\" with a filename");
    } else if (!c->whole) {
        refuse(q, 400, "file", "the form ends in the middle");
    } else {
        submit(c, place_work, placed);
    }
}

static void pump(struct request *q, const char *p, size_t len, size_t *used)
{
    struct creation *c = q->op;
    for (*used = 0;;) {
        size_t n;
        struct str data;
        if (c->ended || c->busy) {
            return;
        }
        enum multipart_event e = multipart_next(&c->parts, p + *used, len - *used, &n, &data);
        *used += n;
        if (e == MULTIPART_MORE) {
            break;
        }
        if (e == MULTIPART_BAD) {
            refuse(q, 400, NULL, c->parts.reason);
            return;
        }
        c->field_len = e == MULTIPART_PART ? 0 : c->field_len;
        c->whole = c->whole || e == MULTIPART_END;
        if ((e == MULTIPART_PART && c->parts.is_file && !begin_file(q)) ||
            (e == MULTIPART_DATA && !on_data(q, data)) ||
            (e == MULTIPART_PART_END && !c->parts.is_file && !end_field(q))) {
            return;
        }
        if (e == MULTIPART_END) {
            break;
        }
    }
    if (c->body_over) {
        finish(q);
    }
}

static size_t on_body(struct http_request *http, const char *p, size_t len)
{
    size_t used = 0;
    struct request *q = http->data;
    const struct creation *c = q->op;
    http_request_hold(http); /* pump may answer */
    pump(q, p, len, &used);
    used = c->whole ? len : used;
    q->use.used.upload_bytes += (int64_t)used;
    http_request_release(http);
    return used;
}

static void on_body_end(struct http_request *http)
{
    struct request *q = http->data;
    struct creation *c = q->op;
    size_t used;
    c->body_over = true;
    pump(q, "", 0, &used);
}

/* ---- the beginning ---- */

static enum status look_upload(sqlite3 *db, struct creation *c, struct error *err)
{
    struct upload u;
    enum status s =
        uploads_get(db, files_owner(c->q), c->upload, clock_wall_ms(), c->q->arena, &u, err);
    if (s == STATUS_OK && strcmp(u.state, "pending") != 0) {
        s = error_set(err, STATUS_CONFLICT, "the upload is %s: it takes no more parts", u.state);
    }
    if (s == STATUS_OK && u.bytes - u.parts_bytes < c->max_bytes) {
        c->max_bytes = u.bytes - u.parts_bytes;
    }
    return s;
}

static enum status look(sqlite3 *db, void *data, struct error *err)
{
    struct creation *c = data;
    int64_t bytes = 0, rows = 0;
    enum status s = files_sweep(db, c->home, c->tenant, clock_wall_ms(), err);
    if (s == STATUS_OK) {
        s = files_total(db, &bytes, &rows, err);
    }
    if (s == STATUS_OK && c->upload != NULL) {
        return look_upload(db, c, err);
    }
    if (s == STATUS_OK && (bytes >= c->room || rows >= FILES_ROWS_MAX)) {
        s = error_set(err, STATUS_TOO_LARGE,
                      "there is no room for more files: delete some (files.max_total_bytes)");
    }
    return s;
}

static void on_looked(struct request *q, const struct error *err)
{
    struct creation *c = q->op;
    if (err->code != STATUS_OK) {
        fail(q, err);
        return;
    }
    http_body_stream(q->http, (size_t)c->max_bytes + OVERHEAD_BYTES);
}

static void create(struct request *q, const char *upload)
{
    struct creation *c = arena_alloc(q->arena, sizeof *c);
    struct error err;
    if (c == NULL) {
        api_out_of_memory(q);
        return;
    }
    if (multipart_init(&c->parts, http_head_get(q->http->head, "content-type"), &err) !=
        STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    c->q = q;
    c->http = q->http;
    c->home = q->serve->svc->home;
    c->max_bytes = q->serve->settings->http.max_upload_bytes;
    c->room = q->serve->settings->files.max_total_bytes;
    (void)snprintf(c->tenant, sizeof c->tenant, "%s", q->who->tenant);
    (void)snprintf(c->user, sizeof c->user, "%s", q->who->user);
    (void)snprintf(c->purpose, sizeof c->purpose, "user_data");
    c->upload = upload;
    if (upload != NULL && c->max_bytes > UPLOAD_PART_BYTES) {
        c->max_bytes = UPLOAD_PART_BYTES;
    }
    const char *prefix = upload != NULL ? PART_PREFIX : FILE_PREFIX;
    memcpy(c->id, prefix, strlen(prefix));
    id_new(c->id + strlen(prefix));
    buf_init(&c->piece, PIECE_BYTES);
    q->op = c;
    q->on_gone = gone;
    q->http->on_body = on_body;
    q->http->on_body_end = on_body_end;
    if (!file_writing_init(&c->file)) {
        q->on_gone = NULL;
        api_out_of_memory(q);
        return;
    }
    tenant_run(q, look, c, on_looked);
}

void api_file_create(struct request *q)
{
    create(q, NULL);
}

void api_upload_part(struct request *q)
{
    const char *id = api_id(q, 0);
    if (id != NULL) {
        create(q, id);
    }
}
