/* /api/erasures: administrators erase documents for good. Beginning one answers 202 with its id; it
 * goes on by itself, and its state and certificate are asked for. */
#include <string.h>

#include "base/text/subject.h"
#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/erasure_accounts.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_request.h"

#define DOCUMENTS_MAX 10000U
#define PATH_MAX_BYTES 4000U
#define ACCOUNTS_BYTES_MAX ((size_t)1024 * 1024)

static void item_json(struct jsonw *w, const Ig__EraseItem *it)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", it->document);
    jsonw_key(w, "path");
    jsonw_path(w, str_of_bytes(it->path));
    jsonw_field_int(w, "size", (int64_t)it->size);
    jsonw_field_int(w, "chunks", it->chunks);
    jsonw_field_int(w, "versions", it->versions);
    jsonw_key(w, "copies");
    jsonw_open(w, '[');
    for (size_t i = 0; i < it->n_copies; i++) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "id", it->copies[i]->document);
        jsonw_key(w, "path");
        jsonw_path(w, str_of_bytes(it->copies[i]->path));
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    if (it->has_passages) {
        jsonw_field_int(w, "passages", it->passages);
        jsonw_field_bool(w, "only_before", it->earlier);
        jsonw_field_bool(w, "in_name", it->name);
        jsonw_field_bool(w, "in_trash", it->trash);
    }
    jsonw_close(w, '}');
}

static void items_json(struct jsonw *w, const char *key, Ig__EraseItem *const *list, size_t n)
{
    jsonw_key(w, key);
    jsonw_open(w, '[');
    for (size_t i = 0; i < n; i++) {
        item_json(w, list[i]);
    }
    jsonw_close(w, ']');
}

static void subject_json(struct jsonw *w, const Ig__EraseReply *reply)
{
    items_json(w, "kept", reply->kept, reply->n_kept);
    jsonw_field_int(w, "answers", reply->answers);
    jsonw_field_int(w, "unsearched_count", reply->unsearched_count);
    jsonw_key(w, "unsearched");
    jsonw_open(w, '[');
    for (size_t i = 0; i < reply->n_unsearched; i++) {
        const Ig__Unsearched *u = reply->unsearched[i];
        jsonw_open(w, '{');
        jsonw_field_z(w, "id", u->document);
        jsonw_key(w, "path");
        jsonw_path(w, str_of_bytes(u->path));
        jsonw_field_z(w, "why", u->why);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

struct erasing {
    const char *accounts; /* of a data subject: JSON; NULL: none was named */
    size_t n_accounts;
};

static void on_begun(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__EraseReply *reply = ig_erase_reply(m);
    const struct erasing *op = q->op;
    struct jsonw w;
    if (reply == NULL && err->code == STATUS_NOT_FOUND && op->n_accounts > 0) {
        api_error(q, 404, "subject", "only_accounts",
                  "No document and no answer names the subject, but an account of this appliance "
                  "does: GET /api/users and /api/keys show it; removing the user takes his name, "
                  "password, keys and sessions.");
        return;
    }
    if (api_object(q, reply, err, &w)) {
        jsonw_field_z(&w, "id", reply->erasure);
        items_json(&w, "documents", reply->items, reply->n_items);
        if (reply->has_answers) {
            subject_json(&w, reply);
        }
        if (op->accounts != NULL) {
            jsonw_key(&w, "accounts");
            jsonw_raw(&w, str_from(op->accounts));
        }
        api_object_end(q, reply->erasure == NULL ? 200 : 202, &w);
    }
}

/* A list of strings under a key; a string is a list of one. */
static enum status read_list(struct request *q, const struct json *body, const char *key,
                             size_t max, char ***out, size_t *n_out, struct error *err)
{
    const struct json *list = jsonr_get(body, key);
    bool one = list != NULL && jsonr_kind(list) == JSON_KIND_STRING;
    size_t n = list == NULL ? 0 : one ? 1 : jsonr_len(list);
    if (list != NULL && ((jsonr_kind(list) != JSON_KIND_ARRAY && !one) || n > max)) {
        return error_set(err, STATUS_INVALID, "%s must be a list of at most %zu strings", key, max);
    }
    *out = arena_array(q->arena, n + 1, sizeof **out);
    if (*out == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        struct str text = jsonr_str(one ? list : jsonr_at(list, i));
        if (text.ptr == NULL || strlen(text.ptr) != text.len) {
            return error_set(err, STATUS_INVALID, "%s must be a list of strings", key);
        }
        (*out)[(*n_out)++] = pb_text(text.ptr);
    }
    return STATUS_OK;
}

static enum status read_copies(const struct json *body, Ig__EraseRequest *out, struct error *err)
{
    struct str copies;
    enum status s = jsonr_string(body, "copies", &copies, err);
    if (s != STATUS_OK || copies.ptr == NULL) {
        return s;
    }
    out->has_copies = 1;
    if (str_eq(copies, STR("erase"))) {
        out->copies = IG__ERASE_REQUEST__COPIES__ALL;
    } else if (str_eq(copies, STR("keep"))) {
        out->copies = IG__ERASE_REQUEST__COPIES__KEEP;
    } else {
        s = error_set(err, STATUS_INVALID, "copies must be erase or keep");
    }
    return s;
}

static enum status look_for_accounts(struct request *q, const Ig__EraseRequest *ask,
                                     struct error *err)
{
    struct erasing *op = arena_alloc(q->arena, sizeof *op);
    struct buf b;
    if (op == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *op = (struct erasing){.accounts = NULL};
    q->op = op;
    if (ask->n_subjects == 0) {
        return STATUS_OK;
    }
    buf_init(&b, ACCOUNTS_BYTES_MAX);
    enum status s = erasure_accounts(q, ask->subjects, ask->n_subjects, &b, &op->n_accounts, err);
    if (s == STATUS_OK) {
        op->accounts = arena_strndup(q->arena, b.ptr, b.len);
        s = op->accounts == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    buf_deinit(&b);
    return s;
}

static void on_body(struct request *q, const struct json *body)
{
    Ig__EraseRequest ask = IG__ERASE_REQUEST__INIT;
    struct error err;
    struct str path = {0};
    bool dry = false;
    enum status s =
        read_list(q, body, "documents", DOCUMENTS_MAX, &ask.documents, &ask.n_documents, &err);
    if (s == STATUS_OK) {
        s = read_list(q, body, "subject", SUBJECTS_MAX, &ask.subjects, &ask.n_subjects, &err);
    }
    if (s == STATUS_OK) {
        s = read_list(q, body, "except", DOCUMENTS_MAX, &ask.except, &ask.n_except, &err);
    }
    if (s == STATUS_OK) {
        s = jsonr_string(body, "path", &path, &err);
    }
    if (s == STATUS_OK) {
        s = read_copies(body, &ask, &err);
    }
    if (s == STATUS_OK) {
        s = jsonr_bool(body, "dry_run", false, &dry, &err);
    }
    if (s == STATUS_OK && ask.n_documents + ask.n_subjects == 0 && path.len == 0) {
        s = error_set(&err, STATUS_INVALID, "say which documents, which path, or whom (subject)");
    }
    if (s == STATUS_OK && path.len > PATH_MAX_BYTES) {
        s = error_set(&err, STATUS_INVALID, "path is too long");
    }
    if (s == STATUS_OK) {
        s = look_for_accounts(q, &ask, &err);
    }
    if (s != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    if (path.len > 0) {
        ask.has_path = 1;
        ask.path = pb_bytes(path);
    }
    ask.has_listed = ask.listed = ask.n_subjects > 0 && jsonr_get(body, "documents") != NULL;
    ask.has_dry_run = 1;
    ask.dry_run = dry;
    api_unary(q, PEER_INGEST, &ig_erase_method, 0, &ask.base, on_begun);
}

void api_erasure_begin(struct request *q)
{
    api_read_json(q, on_body);
}

/* ---- looking ---- */

static void erasure_json(struct jsonw *w, const Ig__Erasure *e)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", e->id);
    jsonw_field_int(w, "requested", e->created_wall_ms / 1000);
    jsonw_field_z(w, "by", e->by);
    jsonw_field_z(w, "state", e->has_finished_wall_ms ? "done" : "working");
    jsonw_field_z(w, "step", e->step);
    if (e->has_finished_wall_ms) {
        jsonw_field_int(w, "finished", e->finished_wall_ms / 1000);
    }
    if (e->error != NULL) {
        jsonw_field_z(w, "error", e->error);
    }
    if (e->certificate != NULL) {
        jsonw_key(w, "certificate");
        jsonw_raw(w, str_from(e->certificate));
    }
    jsonw_close(w, '}');
}

static void on_got(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__GetErasureReply *reply = ig_get_erasure_reply(m);
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    struct jsonw w;
    jsonw_init(&w, &q->out);
    erasure_json(&w, reply->erasure);
    api_json(q, 200, &q->out);
}

void api_erasure_get(struct request *q)
{
    Ig__GetErasureRequest ask = IG__GET_ERASURE_REQUEST__INIT;
    const char *id = api_id(q, 0);
    if (id != NULL) {
        ask.erasure = pb_text(id);
        api_unary(q, PEER_INGEST, &ig_get_erasure_method, 0, &ask.base, on_got);
    }
}

static void on_listed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__ListErasuresReply *reply = ig_list_erasures_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_key(&w, "erasures");
        jsonw_open(&w, '[');
        for (size_t i = 0; i < reply->n_erasures; i++) {
            erasure_json(&w, reply->erasures[i]);
        }
        jsonw_close(&w, ']');
        api_object_end(q, 200, &w);
    }
}

void api_erasures_list(struct request *q)
{
    Ig__ListErasuresRequest ask = IG__LIST_ERASURES_REQUEST__INIT;
    api_unary(q, PEER_INGEST, &ig_list_erasures_method, 0, &ask.base, on_listed);
}

static void on_allowed(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__AllowErasedReply *reply = ig_allow_erased_reply(m);
    struct jsonw w;
    if (api_object(q, reply, err, &w)) {
        jsonw_field_int(&w, "contents", reply->contents);
        api_object_end(q, 200, &w);
    }
}

void api_erasure_allow(struct request *q)
{
    Ig__AllowErasedRequest ask = IG__ALLOW_ERASED_REQUEST__INIT;
    const char *id = api_id(q, 0);
    if (id != NULL) {
        ask.erasure = pb_text(id);
        api_unary(q, PEER_INGEST, &ig_allow_erased_method, 0, &ask.base, on_allowed);
    }
}
