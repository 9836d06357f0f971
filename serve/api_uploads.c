/* /v1/uploads: a file that comes in parts. Announced (create), its parts (api_files_create.c), put
 * together (complete) or dropped (cancel). Format: OpenAI API reference, "Uploads".
 *
 * complete: the parts in the order asked for (tenant_run) -> copied one after the other into one
 * file, a part a job of the lane, hashed on the way -> synced and put in place (lane) -> the file's
 * row, the parts away (tenant_run). Asked again, it tells the same file. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/db.h"
#include "serve/api.h"
#include "serve/api_files.h"
#include "serve/file_writing.h"
#include "serve/service.h"
#include "serve/tenant_run.h"
#include "serve/uploads.h"

#define DAY_MS INT64_C(86400000)
#define PIECE_BYTES ((size_t)256 * 1024)

struct putting {
    struct request *q;
    const char *home;
    char tenant[65];
    const char *id;
    struct upload upload;
    struct staged_file file;
    bool has_file; /* it is complete */
    /* complete */
    const char **parts;
    int64_t *sizes;
    size_t n, at;
    const char *md5; /* as told; NULL: not */
    char file_id[FILE_ID_CAP], hash[SHA256_HEX_CAP];
    struct file_writing whole;
    struct md5 *sum;
    char *piece;
};

static struct putting *putting_new(struct request *q, bool with_id)
{
    struct putting *p = arena_alloc(q->arena, sizeof *p);
    if (p == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    p->q = q;
    p->home = q->serve->svc->home;
    p->whole.fd = -1;
    (void)snprintf(p->tenant, sizeof p->tenant, "%s", q->who->tenant);
    q->op = p;
    if (with_id) {
        p->id = api_id(q, 0);
    }
    return with_id && p->id == NULL ? NULL : p;
}

static void tell(struct request *q)
{
    const struct putting *p = q->op;
    const struct upload *u = &p->upload;
    struct jsonw w;
    api_object_begin(q, &w);
    jsonw_field_z(&w, "id", u->id);
    jsonw_field_z(&w, "object", "upload");
    jsonw_field_int(&w, "bytes", u->bytes);
    jsonw_field_int(&w, "created_at", u->created_wall_ms / 1000);
    jsonw_field_z(&w, "filename", u->name);
    jsonw_field_z(&w, "purpose", u->purpose);
    jsonw_field_z(&w, "status", u->state);
    jsonw_field_int(&w, "expires_at", u->expires_wall_ms / 1000);
    jsonw_key(&w, "file");
    if (p->has_file) {
        staged_file_json(&w, &p->file);
    } else {
        jsonw_null(&w);
    }
    api_object_end(q, 200, &w);
}

static void on_told(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    tell(q);
}

/* ---- announced ---- */

static const char *name_of(struct request *q, const struct json *body)
{
    struct str name;
    return file_name_read(jsonr_str(jsonr_get(body, "filename")), &name)
               ? arena_strndup(q->arena, name.ptr, name.len)
               : NULL;
}

static enum status read_upload(struct request *q, const struct json *body, struct upload *u,
                               const char **param, struct error *err)
{
    struct str purpose = {0}, type = {0};
    int64_t seconds = 0;
    *param = "filename";
    u->name = name_of(q, body);
    if (u->name == NULL) {
        return error_set(err, STATUS_INVALID,
                         "filename is missing, hidden, not UTF-8, or too long");
    }
    *param = "bytes";
    enum status s = jsonr_int(body, "bytes", 1, INT64_MAX, 0, &u->bytes, err);
    if (s == STATUS_OK && u->bytes == 0) {
        s = error_set(err, STATUS_INVALID, "bytes is missing: how long the file is");
    }
    if (s == STATUS_OK) {
        *param = "purpose";
        s = jsonr_string(body, "purpose", &purpose, err);
    }
    if (s == STATUS_OK && (purpose.ptr == NULL || !api_name_ok(purpose, 64))) {
        s = error_set(err, STATUS_INVALID, "purpose is missing, or not a name");
    }
    if (s == STATUS_OK) {
        *param = "mime_type";
        s = jsonr_string(body, "mime_type", &type, err);
    }
    if (s == STATUS_OK && type.ptr != NULL && !api_name_ok(type, 255)) {
        s = error_set(err, STATUS_INVALID, "mime_type is not one");
    }
    if (s == STATUS_OK) {
        *param = "expires_after";
        s = read_expiry(body, "seconds", 3600, 2592000, &seconds, err);
    }
    u->purpose = s == STATUS_OK ? purpose.ptr : "";
    u->type = s == STATUS_OK && type.ptr != NULL ? type.ptr : "";
    u->keep_ms = seconds * 1000;
    return s;
}

static enum status add_upload(sqlite3 *db, void *data, struct error *err)
{
    struct putting *p = data;
    enum status s = files_sweep(db, p->home, p->tenant, clock_wall_ms(), err);
    return s == STATUS_OK
               ? uploads_add(db, &p->upload, p->q->serve->settings->files.max_total_bytes, err)
               : s;
}

static void on_create_json(struct request *q, const struct json *body)
{
    struct putting *p = putting_new(q, false);
    struct error err;
    const char *param = NULL;
    char id[ID_CAP];
    if (p == NULL) {
        return;
    }
    int64_t now = clock_wall_ms(), keep = q->serve->settings->files.keep_days * DAY_MS;
    enum status s = read_upload(q, body, &p->upload, &param, &err);
    if (s != STATUS_OK) {
        api_error(q, 400, param, status_name(s), err.text);
        return;
    }
    id_new(id);
    p->upload.id = arena_printf(q->arena, UPLOAD_PREFIX "%s", id);
    p->upload.user = arena_strdup(q->arena, q->who->user);
    p->upload.state = "pending";
    p->upload.file = "";
    p->upload.keep_ms =
        p->upload.keep_ms > 0 && p->upload.keep_ms < keep ? p->upload.keep_ms : keep;
    p->upload.created_wall_ms = now;
    p->upload.expires_wall_ms = now + UPLOAD_LIFE_MS;
    if (p->upload.id == NULL || p->upload.user == NULL) {
        api_out_of_memory(q);
        return;
    }
    tenant_run(q, add_upload, p, on_told);
}

void api_upload_create(struct request *q)
{
    api_read_json(q, on_create_json);
}

/* ---- dropped ---- */

static enum status cancel_upload(sqlite3 *db, void *data, struct error *err)
{
    struct putting *p = data;
    int64_t now = clock_wall_ms();
    const char *owner = files_owner(p->q);
    enum status s = uploads_get(db, owner, p->id, now, p->q->arena, &p->upload, err);
    if (s == STATUS_OK && strcmp(p->upload.state, "cancelled") != 0) { /* twice is as good */
        s = strcmp(p->upload.state, "pending") == 0
                ? uploads_end(db, p->home, p->tenant, p->id, "cancelled", "", err)
                : error_set(err, STATUS_CONFLICT, "the upload is %s", p->upload.state);
        p->upload.state = "cancelled";
    }
    return s;
}

void api_upload_cancel(struct request *q)
{
    struct putting *p = putting_new(q, true);
    if (p != NULL) {
        tenant_run(q, cancel_upload, p, on_told);
    }
}

/* ---- put together ---- */

static void release(struct putting *p)
{
    char sum[MD5_HEX_CAP];
    file_writing_end(&p->whole);
    if (p->sum != NULL) {
        md5_end(p->sum, sum);
        p->sum = NULL;
    }
}

static enum status find_file(sqlite3 *db, struct putting *p, struct error *err)
{
    enum status s = files_get(db, NULL, p->upload.file, p->q->arena, &p->file, err);
    p->has_file = s == STATUS_OK;
    return s == STATUS_NOT_FOUND ? STATUS_OK : s; /* deleted since */
}

static enum status find_parts(sqlite3 *db, void *data, struct error *err)
{
    struct putting *p = data;
    int64_t all = 0;
    enum status s =
        uploads_get(db, files_owner(p->q), p->id, clock_wall_ms(), p->q->arena, &p->upload, err);
    if (s == STATUS_OK && strcmp(p->upload.state, "completed") == 0) {
        return find_file(db, p, err);
    }
    if (s == STATUS_OK && strcmp(p->upload.state, "pending") != 0) {
        return error_set(err, STATUS_CONFLICT, "the upload is %s", p->upload.state);
    }
    for (size_t i = 0; i < p->n && s == STATUS_OK; i++) {
        for (size_t k = 0; k < i && s == STATUS_OK; k++) {
            if (strcmp(p->parts[i], p->parts[k]) == 0) {
                s = error_set(err, STATUS_INVALID, "part_ids names %s twice", p->parts[i]);
            }
        }
        s = s == STATUS_OK ? uploads_part(db, p->id, p->parts[i], &p->sizes[i], err) : s;
        all += s == STATUS_OK ? p->sizes[i] : 0;
    }
    if (s == STATUS_OK && all != p->upload.bytes) {
        s = error_set(err, STATUS_INVALID, "the parts are %lld bytes together, %lld were announced",
                      (long long)all, (long long)p->upload.bytes);
    }
    return s;
}

/* The next part, behind those before it. */
static enum status copy_part(void *op, struct error *err)
{
    struct putting *p = op;
    char path[PATH_MAX];
    enum status s = files_path(p->home, p->tenant, p->parts[p->at], path, err);
    int from = s == STATUS_OK ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    int64_t left = p->sizes[p->at];
    while (from >= 0 && left > 0 && s == STATUS_OK) {
        ssize_t n = read(from, p->piece, PIECE_BYTES);
        if (n <= 0 || n > left) {
            break;
        }
        left -= n;
        if (p->sum != NULL) {
            md5_add(p->sum, p->piece, (size_t)n);
        }
        s = file_writing_add(&p->whole, p->home, p->tenant, p->file_id,
                             (struct str){p->piece, (size_t)n}, err);
    }
    if (from >= 0) {
        (void)close(from);
    }
    if (s == STATUS_OK && left > 0) {
        s = error_set(err, STATUS_NOT_FOUND, "the bytes of %s are not here any more: upload again",
                      p->parts[p->at]);
    }
    return s;
}

static enum status place_file(void *op, struct error *err)
{
    struct putting *p = op;
    char sum[MD5_HEX_CAP];
    file_writing_hash(&p->whole, p->hash);
    if (p->sum != NULL) {
        md5_end(p->sum, sum);
        p->sum = NULL;
        if (strcasecmp(sum, p->md5) != 0) {
            return error_set(err, STATUS_INVALID,
                             "md5 does not hold of the parts together: it is %s", sum);
        }
    }
    return file_writing_place(&p->whole, err);
}

/* The file's row and the parts' end are one; who was slower tells the other's file. */
static enum status end_upload(sqlite3 *db, void *data, struct error *err)
{
    struct putting *p = data;
    int64_t bytes = 0, rows = 0;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        files_unlink(p->home, p->tenant, p->file_id);
        return s;
    }
    s = uploads_end(db, NULL, p->tenant, p->id, "completed", p->file_id, err);
    s = s == STATUS_OK ? files_total(db, &bytes, &rows, err) : s;
    if (s == STATUS_OK && rows >= FILES_ROWS_MAX) {
        s = error_set(err, STATUS_TOO_LARGE, "there is no room for more files: delete some");
    }
    s = s == STATUS_OK ? files_add(db, &p->file, err) : s;
    s = s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
    p->has_file = s == STATUS_OK;
    if (s != STATUS_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        files_unlink(p->home, p->tenant, p->file_id);
    }
    for (size_t i = 0; i < p->n && s == STATUS_OK; i++) { /* not before the file is sure to stay */
        files_unlink(p->home, p->tenant, p->parts[i]);
    }
    if (s == STATUS_CONFLICT) {
        return find_parts(db, p, err);
    }
    p->upload.state = s == STATUS_OK ? "completed" : p->upload.state;
    return s;
}

/* Told, or why not; the lane is through. */
static bool over(struct request *q, const struct error *err)
{
    struct putting *p = q->op;
    if (http_request_gone(q->http)) {
        release(p);
        return true;
    }
    if (err->code != STATUS_OK) {
        struct error e = *err;
        release(p);
        api_fail(q, &e);
        return true;
    }
    return false;
}

static void on_placed(struct request *q, const struct error *err)
{
    struct putting *p = q->op;
    int64_t now = clock_wall_ms();
    if (over(q, err)) {
        return;
    }
    file_writing_keep(&p->whole);
    p->file = (struct staged_file){.id = p->file_id,
                                   .user = p->upload.user,
                                   .name = p->upload.name,
                                   .purpose = p->upload.purpose,
                                   .hash = p->hash,
                                   .bytes = p->upload.bytes,
                                   .created_wall_ms = now,
                                   .expires_wall_ms = now + p->upload.keep_ms};
    tenant_run(q, end_upload, p, on_told);
}

/* Where the lane is full the error is told already. */
static void on_lane(struct request *q, enum status (*work)(void *op, struct error *err),
                    void (*done)(struct request *q, const struct error *err))
{
    api_on_lane(q, &q->serve->files, q->op, work, done);
    if (q->http->status != 0) {
        release(q->op);
    }
}

/* A part was away: who asked for the same at the same time may have been faster. */
static void on_looked_again(struct request *q, const struct error *err)
{
    const struct putting *p = q->op;
    if (err->code == STATUS_OK && strcmp(p->upload.state, "completed") != 0) {
        api_error(q, 404, NULL, "not_found", "The bytes of a part are not here any more.");
        return;
    }
    on_told(q, err);
}

static void on_copied(struct request *q, const struct error *err)
{
    struct putting *p = q->op;
    if (err->code == STATUS_NOT_FOUND && !http_request_gone(q->http)) {
        release(p);
        tenant_run(q, find_parts, p, on_looked_again);
        return;
    }
    if (over(q, err)) {
        return;
    }
    p->at++;
    if (p->at < p->n) {
        on_lane(q, copy_part, on_copied);
    } else {
        on_lane(q, place_file, on_placed);
    }
}

static void on_parts(struct request *q, const struct error *err)
{
    struct putting *p = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    if (strcmp(p->upload.state, "completed") == 0) {
        tell(q);
        return;
    }
    p->piece = arena_alloc(q->arena, PIECE_BYTES);
    p->sum = p->md5 == NULL ? NULL : md5_new();
    if (!file_writing_init(&p->whole) || p->piece == NULL || (p->md5 != NULL && p->sum == NULL)) {
        release(p);
        api_out_of_memory(q);
        return;
    }
    memcpy(p->file_id, FILE_PREFIX, strlen(FILE_PREFIX));
    id_new(p->file_id + strlen(FILE_PREFIX));
    on_lane(q, copy_part, on_copied);
}

static void on_complete_json(struct request *q, const struct json *body)
{
    struct putting *p = putting_new(q, true);
    const struct json *list = jsonr_get(body, "part_ids");
    struct str md5 = jsonr_str(jsonr_get(body, "md5"));
    if (p == NULL) {
        return;
    }
    p->n = jsonr_kind(list) == JSON_KIND_ARRAY ? jsonr_len(list) : 0;
    if (p->n == 0 || p->n > UPLOAD_PARTS_MAX) {
        api_error(q, 400, "part_ids", "invalid", "part_ids must be the ids of 1 to 1024 parts");
        return;
    }
    if (jsonr_get(body, "md5") != NULL && md5.len != MD5_HEX_CAP - 1) {
        api_error(q, 400, "md5", "invalid", "md5 must be 32 hexadecimal digits");
        return;
    }
    p->md5 = md5.ptr;
    p->parts = arena_array(q->arena, p->n, sizeof *p->parts);
    p->sizes = arena_array(q->arena, p->n, sizeof *p->sizes);
    if (p->parts == NULL || p->sizes == NULL) {
        api_out_of_memory(q);
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        struct str id = jsonr_str(jsonr_at(list, i));
        if (id.ptr == NULL || !str_starts(id, STR(PART_PREFIX)) ||
            !id_valid(id.ptr + strlen(PART_PREFIX))) {
            api_error(q, 400, "part_ids", "invalid", "part_ids holds what is no part's id");
            return;
        }
        p->parts[i] = id.ptr;
    }
    tenant_run(q, find_parts, p, on_parts);
}

void api_upload_complete(struct request *q)
{
    api_read_json(q, on_complete_json);
}
