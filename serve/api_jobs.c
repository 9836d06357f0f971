/* /api/jobs: make, list, get, cancel; and responses in the background, which are jobs under the
 * names that OpenAI gives them. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/chat_responses.h"
#include "serve/jobs.h"
#include "serve/jobs_json.h"
#include "serve/search_request.h"
#include "serve/service.h"
#include "serve/tenant_run.h"
#include "vectorstore/vectorstore_rpc.h"

#define LIST_MAX 100
#define DOCUMENTS_MAX 100
#define INTERRUPTED "the appliance was restarted while it was under way: ask again"

/* ---- told ---- */

static bool is_over(const struct job_row *r)
{
    return strcmp(r->state, "queued") != 0;
}

const char *job_state(const struct job_row *r, bool alive, bool running)
{
    return is_over(r) ? r->state : !alive ? "failed" : running ? "running" : "queued";
}

void job_fields(struct jsonw *w, const struct job_row *r, bool alive, bool running)
{
    jsonw_field_z(w, "id", r->id);
    jsonw_field_z(w, "object", "job");
    jsonw_field_z(w, "kind", r->kind);
    jsonw_field_z(w, "status", job_state(r, alive, running));
    jsonw_field_int(w, "created_at", r->created_wall_ms / 1000);
    if (r->model[0] != '\0') {
        jsonw_field_z(w, "model", r->model);
    }
    if (r->delivery[0] != '\0') {
        jsonw_field_z(w, "callback", r->delivery);
    }
    if (is_over(r)) {
        jsonw_field_int(w, "ended_at", r->ended_wall_ms / 1000);
        jsonw_field_int(w, "http_status", r->status);
    }
    if (is_over(r) && r->result[0] != '\0') {
        jsonw_key(w, "result");
        jsonw_raw(w, str_from(r->result));
    } else if (!is_over(r) && !alive) {
        jsonw_key(w, "result");
        jsonw_raw(w, STR("{\"error\":{\"message\":\"" INTERRUPTED
                         "\",\"type\":\"server_error\",\"param\":null,\"code\":\"interrupted\"}}"));
    }
}

void job_json(struct jsonw *w, const struct job_row *r, bool alive, bool running)
{
    jsonw_open(w, '{');
    job_fields(w, r, alive, running);
    jsonw_close(w, '}');
}

/* ---- one, and the list ---- */

struct job_op {
    struct request *q;
    const char *id;
    struct job_row row, *rows;
    size_t n;
    void (*then)(struct request *q);
};

static enum status find_job(sqlite3 *db, void *data, struct error *err)
{
    struct job_op *op = data;
    return jobs_get(db, op->q->who->user, op->id, op->q->arena, &op->row, err);
}

/* A key of his that may not ask reads no answers of his. */
static bool may_see(const struct request *q, const struct job_row *r);

static void on_job(struct request *q, const struct error *err)
{
    struct job_op *op = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    if (!may_see(q, &op->row)) {
        api_error(q, 404, NULL, "not_found", "There is no such job of this key's scopes.");
        return;
    }
    op->then(q);
}

static void with_job(struct request *q, const char *id, void (*then)(struct request *q))
{
    struct job_op *op = arena_alloc(q->arena, sizeof *op);
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    *op = (struct job_op){.q = q, .id = id, .then = then};
    q->op = op;
    tenant_run(q, find_job, op, on_job);
}

static void tell(struct request *q)
{
    const struct job_op *op = q->op;
    bool running = false;
    bool alive = jobs_alive(q->serve->jobs, q->who->tenant, op->id, &running);
    struct jsonw w;
    if (!is_over(&op->row) && alive) {
        http_header(q->http, "Retry-After", "2");
    }
    jsonw_init(&w, &q->out);
    job_json(&w, &op->row, alive, running);
    api_json(q, 200, &q->out);
}

void api_job_get(struct request *q)
{
    const char *id = api_id(q, 0);
    if (id != NULL) {
        with_job(q, id, tell);
    }
}

static enum status find_jobs(sqlite3 *db, void *data, struct error *err)
{
    struct job_op *op = data;
    return jobs_list(db, op->q->who->user, LIST_MAX, op->q->arena, &op->rows, &op->n, err);
}

static void on_jobs(struct request *q, const struct error *err)
{
    const struct job_op *op = q->op;
    struct jsonw w;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    api_object_begin(q, &w);
    jsonw_key(&w, "jobs");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < op->n; i++) {
        bool running = false;
        if (!may_see(q, &op->rows[i])) {
            continue;
        }
        bool alive = jobs_alive(q->serve->jobs, q->who->tenant, op->rows[i].id, &running);
        job_json(&w, &op->rows[i], alive, running);
    }
    jsonw_close(&w, ']');
    api_object_end(q, 200, &w);
}

void api_jobs_list(struct request *q)
{
    struct job_op *op = arena_alloc(q->arena, sizeof *op);
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    op->q = q;
    q->op = op;
    tenant_run(q, find_jobs, op, on_jobs);
}

/* ---- cancelled while alive, taken away when over ---- */

static enum status drop_job(sqlite3 *db, void *data, struct error *err)
{
    const struct job_op *op = data;
    return jobs_remove(db, op->id, err);
}

static void on_dropped(struct request *q, const struct error *err)
{
    const struct job_op *op = q->op;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    api_deleted(q, "job", op->id);
}

static void cancel(struct request *q)
{
    struct job_op *op = q->op;
    if (!is_over(&op->row) && jobs_cancel(q->serve->jobs, q->who->tenant, op->id)) {
        struct jsonw w;
        op->row.state = "cancelled";
        op->row.ended_wall_ms = clock_wall_ms();
        op->row.status = 499;
        jsonw_init(&w, &q->out);
        job_json(&w, &op->row, false, false);
        api_json(q, 200, &q->out);
        return;
    }
    tenant_run(q, drop_job, op, on_dropped);
}

void api_job_cancel(struct request *q)
{
    const char *id = api_id(q, 0);
    if (id != NULL) {
        with_job(q, id, cancel);
    }
}

/* ---- made ---- */

/* Waits until documents are read or cannot be. */
struct watching {
    const char *ids[DOCUMENTS_MAX];
    const char *states[DOCUMENTS_MAX], *errors[DOCUMENTS_MAX];
    size_t n, at;
    bool all;
    bool own; /* the caller has just sent them */
};

static void look_next(struct request *q);

static void look_again(struct request *q)
{
    struct watching *w = q->op;
    w->at = 0;
    w->all = true;
    look_next(q);
}

static void watched(struct request *q)
{
    const struct watching *d = q->op;
    struct jsonw w;
    bool good = true;
    api_object_begin(q, &w);
    jsonw_key(&w, "documents");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < d->n; i++) {
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "id", d->ids[i]);
        jsonw_field_z(&w, "state", d->states[i]);
        jsonw_field_z(&w, "error", d->errors[i]);
        jsonw_close(&w, '}');
        good = good && strcmp(d->states[i], "ready") == 0;
    }
    jsonw_close(&w, ']');
    jsonw_field_bool(&w, "ready", good);
    api_object_end(q, 200, &w);
}

/* Of one that no store has, ingest alone tells: who could have read it? Nobody is named where
 * everybody may. */
static bool could_read(const struct principal *who, const Ig__DocumentState *d)
{
    bool may = d->n_readers == 0;
    for (size_t i = 0; i < d->n_readers; i++) {
        for (size_t k = 0; k < who->n_groups; k++) {
            may = may || strcmp(d->readers[i], who->groups[k]) == 0;
        }
    }
    return who->admin || (may && !auth_held_out(who, d->collection));
}

/* What the caller may not read is told as what is not there. */
static void on_may_read(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct watching *w = q->op;
    if (vs_get_document_reply(m) == NULL && err->code != STATUS_NOT_FOUND) {
        w->states[w->at] = NULL; /* asked again: the store is away */
        w->all = false;
    } else if (vs_get_document_reply(m) == NULL) {
        w->states[w->at] = "deleted";
        w->errors[w->at] = NULL;
    }
    w->at++;
    look_next(q);
}

static void on_looked(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct watching *w = q->op;
    const Ig__GetReply *r = ig_get_reply(m);
    if (r == NULL && err->code != STATUS_NOT_FOUND && err->code != STATUS_UNAVAILABLE &&
        err->code != STATUS_BUSY && err->code != STATUS_DEADLINE) {
        api_fail(q, err);
        return;
    }
    if (r == NULL) {
        bool gone = err->code == STATUS_NOT_FOUND;
        w->states[w->at] = gone ? "deleted" : NULL;
    } else if (strcmp(r->document->state, "queued") != 0 &&
               strcmp(r->document->state, "working") != 0) {
        w->states[w->at] = arena_strdup(q->arena, r->document->state);
        w->errors[w->at] =
            r->document->error == NULL ? NULL : arena_strdup(q->arena, r->document->error);
        if (!w->own && !q->who->admin && strcmp(r->document->state, "ready") == 0) {
            Vs__GetDocumentRequest ask = VS__GET_DOCUMENT_REQUEST__INIT;
            ask.document = pb_text(w->ids[w->at]);
            api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &ask.base, on_may_read);
            return;
        }
        if (!w->own && !could_read(q->who, r->document)) {
            w->states[w->at] = "deleted";
            w->errors[w->at] = NULL;
        }
    }
    w->all = w->all && w->states[w->at] != NULL;
    w->at++;
    look_next(q);
}

static void look_next(struct request *q)
{
    struct watching *w = q->op;
    Ig__GetRequest ask = IG__GET_REQUEST__INIT;
    while (w->at < w->n && w->states[w->at] != NULL) {
        w->at++;
    }
    if (w->at < w->n) {
        ask.document = pb_text(w->ids[w->at]);
        api_unary(q, PEER_INGEST, &ig_get_method, 0, &ask.base, on_looked);
    } else if (w->all) {
        watched(q);
    } else {
        jobs_watch(q, look_again);
    }
}

/* Ids of 1 to DOCUMENTS_MAX documents; false: it was told that they are not. */
static bool documents_check(struct request *q, const struct json *body)
{
    const struct json *list = jsonr_get(body, "documents");
    size_t n = jsonr_kind(list) == JSON_KIND_ARRAY ? jsonr_len(list) : 0;
    bool good = n > 0 && n <= DOCUMENTS_MAX;
    for (size_t i = 0; i < n && good; i++) {
        const char *id = jsonr_str(jsonr_at(list, i)).ptr;
        good = id != NULL && id_valid(id);
    }
    if (!good) {
        api_error(q, 400, "documents", "invalid", "documents: 1 to 100 ids of documents");
    }
    return good;
}

static void watch_json(struct request *q, const struct json *body, bool own)
{
    const struct json *list = jsonr_get(body, "documents");
    struct watching *w = arena_alloc(q->arena, sizeof *w);
    if (w == NULL) {
        api_out_of_memory(q);
        return;
    }
    w->own = own;
    if (!documents_check(q, body)) {
        return;
    }
    w->n = jsonr_len(list);
    for (size_t i = 0; i < w->n; i++) {
        w->ids[i] = jsonr_str(jsonr_at(list, i)).ptr;
    }
    q->op = w;
    look_again(q);
}

static void on_watch_json(struct request *q, const struct json *body)
{
    watch_json(q, body, false);
}

static void on_watch_own_json(struct request *q, const struct json *body)
{
    watch_json(q, body, true);
}

/* These run as jobs only. */
static void watch_documents(struct request *q)
{
    api_read_json(q, on_watch_json);
}

static void watch_own_documents(struct request *q)
{
    api_read_json(q, on_watch_own_json);
}

void api_job_documents(struct request *q, const char *const *ids, size_t n)
{
    struct buf b;
    struct jsonw w;
    const char *callback = NULL;
    buf_init(&b, 65536);
    jsonw_init(&w, &b);
    jsonw_open(&w, '{');
    jsonw_key(&w, "documents");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < n; i++) {
        jsonw_str(&w, str_from(ids[i]));
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    if (api_query(q, "callback_url", &callback)) {
        struct job_request r = {.kind = "ingest",
                                .callback = callback,
                                .body = buf_view(&b),
                                .handler = watch_own_documents,
                                .errors = ERRORS_OPENAI,
                                .watches = true};
        jobs_start(q, &r, NULL);
    }
    buf_deinit(&b);
}

static const struct {
    const char *kind, *path;
    void (*handler)(struct request *q);
    enum error_shape errors;
    unsigned scopes;
    bool watches;
    bool (*check)(struct request *q, const struct json *body);
} kinds[] = {
    {"chat", "/v1/chat/completions", api_chat, ERRORS_OPENAI, SCOPE_ASK, false, api_chat_check},
    {"responses", "/v1/responses", api_responses, ERRORS_OPENAI, SCOPE_ASK, false,
     api_responses_check},
    {"messages", "/v1/messages", api_messages, ERRORS_ANTHROPIC, SCOPE_ASK, false,
     api_messages_check},
    {"ingest", NULL, watch_documents, ERRORS_OPENAI, SCOPE_INGEST | SCOPE_READ, true,
     documents_check},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static bool may_see(const struct request *q, const struct job_row *r)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i].kind, r->kind) == 0) {
            return auth_may(q->who, ROLES_ALL, kinds[i].scopes);
        }
    }
    return false;
}

static void start(struct request *q, size_t kind, const struct json *body, const char *callback)
{
    const char *text = jsonr_text(body, q->arena);
    struct str model = jsonr_str(jsonr_get(body, "model"));
    if (text == NULL) {
        api_out_of_memory(q);
        return;
    }
    if (!auth_may(q->who, q->match.route->roles, kinds[kind].scopes)) {
        api_error(q, 403, NULL, "forbidden", "This key may not ask for such a job.");
        return;
    }
    if (!kinds[kind].check(q, body)) {
        return;
    }
    struct job_request r = {.kind = kinds[kind].kind,
                            .path = kinds[kind].path,
                            .model = model.ptr,
                            .callback = callback,
                            .body = str_from(text),
                            .handler = kinds[kind].handler,
                            .errors = kinds[kind].errors,
                            .watches = kinds[kind].watches};
    jobs_start(q, &r, NULL);
}

static void on_json(struct request *q, const struct json *body)
{
    struct str callback;
    struct error err;
    size_t found = KINDS;
    if (jsonr_string(body, "callback_url", &callback, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    for (size_t i = 0; i < KINDS; i++) {
        found = jsonr_kind(jsonr_get(body, kinds[i].kind)) == JSON_KIND_OBJECT ? i : found;
    }
    if (found == KINDS) {
        api_error(q, 400, NULL, "invalid",
                  "A job is one of chat, responses, messages and ingest: an object with what would "
                  "have been sent there.");
        return;
    }
    start(q, found, jsonr_get(body, kinds[found].kind), callback.ptr);
}

void api_job_create(struct request *q)
{
    api_read_json(q, on_json);
}

static void on_chat_json(struct request *q, const struct json *body)
{
    const char *callback = NULL;
    size_t kind = 0;
    if (api_query(q, "callback_url", &callback)) {
        while (kind + 1 < KINDS && kinds[kind].handler != q->match.route->handler) {
            kind++;
        }
        start(q, kind, body, callback);
    }
}

bool api_job_instead(struct request *q)
{
    if (!jobs_preferred(q)) {
        return false;
    }
    api_read_json(q, on_chat_json);
    return true;
}

/* ---- responses in the background ---- */

static void response_json(struct jsonw *w, const struct job_row *r, const char *status,
                          const char *error)
{
    jsonw_open(w, '{');
    jsonw_key(w, "id");
    buf_printf(w->out, "\"" RESPONSE_ID "%s\"", r->id);
    w->comma = true;
    jsonw_field_z(w, "object", "response");
    jsonw_field_int(w, "created_at", r->created_wall_ms / 1000);
    jsonw_field_z(w, "status", status);
    jsonw_field_bool(w, "background", true);
    jsonw_key(w, "error");
    if (error == NULL) {
        jsonw_null(w);
    } else {
        jsonw_open(w, '{');
        jsonw_field_z(w, "code", "server_error");
        jsonw_field_z(w, "message", error);
        jsonw_close(w, '}');
    }
    jsonw_field_z(w, "incomplete_details", NULL);
    jsonw_field_z(w, "instructions", NULL);
    jsonw_key(w, "metadata");
    jsonw_raw(w, STR("{}"));
    jsonw_field_z(w, "max_output_tokens", NULL);
    jsonw_field_z(w, "previous_response_id", NULL);
    jsonw_field_bool(w, "store", true);
    jsonw_field_z(w, "temperature", NULL);
    jsonw_field_z(w, "top_p", NULL);
    jsonw_key(w, "text");
    jsonw_raw(w, STR("{\"format\":{\"type\":\"text\"}}"));
    jsonw_field_z(w, "model", r->model);
    jsonw_key(w, "output");
    jsonw_raw(w, STR("[]"));
    jsonw_field_bool(w, "parallel_tool_calls", true);
    jsonw_field_z(w, "tool_choice", "auto");
    jsonw_key(w, "tools");
    jsonw_raw(w, STR("[]"));
    jsonw_field_z(w, "usage", NULL);
    jsonw_close(w, '}');
}

static void answer_queued(struct request *q, const struct job_row *row)
{
    struct jsonw w;
    jsonw_init(&w, &q->out);
    response_json(&w, row, "queued", NULL);
    api_json(q, 200, &q->out);
}

void api_response_background(struct request *q, const struct json *body)
{
    const char *text = jsonr_text(body, q->arena);
    if (text == NULL) {
        api_out_of_memory(q);
        return;
    }
    struct job_request r = {.kind = "responses",
                            .path = "/v1/responses",
                            .model = jsonr_str(jsonr_get(body, "model")).ptr,
                            .body = str_from(text),
                            .handler = api_responses,
                            .errors = ERRORS_OPENAI};
    jobs_start(q, &r, answer_queued);
}

/* Its error's words. */
static const char *failure(struct request *q, const struct job_row *r)
{
    struct json *doc = NULL;
    struct error err;
    struct str text = {0};
    if (jsonr_read(str_from(r->result), &doc, &err) == STATUS_OK) {
        text = jsonr_str(jsonr_get(jsonr_get(doc, "error"), "message"));
    }
    const char *z = text.ptr == NULL ? NULL : arena_strndup(q->arena, text.ptr, text.len);
    jsonr_free(doc);
    return z == NULL ? "the answer failed" : z;
}

static void tell_response(struct request *q)
{
    const struct job_op *op = q->op;
    const struct job_row *r = &op->row;
    bool running = false;
    bool alive = jobs_alive(q->serve->jobs, q->who->tenant, op->id, &running);
    const char *state = job_state(r, alive, running);
    struct jsonw w;
    if (strcmp(r->kind, "responses") != 0) {
        api_error(q, 404, NULL, "not_found", "There is no such response.");
        return;
    }
    if (strcmp(state, "completed") == 0) {
        buf_z(&q->out, r->result);
        api_json(q, 200, &q->out);
        return;
    }
    jsonw_init(&w, &q->out);
    response_json(&w, r, strcmp(state, "running") == 0 ? "in_progress" : state,
                  strcmp(state, "failed") != 0 ? NULL
                  : is_over(r)                 ? failure(q, r)
                                               : INTERRUPTED);
    api_json(q, 200, &q->out);
}

void api_response_job(struct request *q, const char *id)
{
    with_job(q, id, tell_response);
}

static void cancel_response(struct request *q)
{
    struct job_op *op = q->op;
    if (!is_over(&op->row) && jobs_cancel(q->serve->jobs, q->who->tenant, op->id)) {
        op->row.state = "cancelled";
    }
    tell_response(q);
}

void api_response_cancel(struct request *q)
{
    const char *id = api_id(q, 0);
    if (id == NULL) {
        return;
    }
    if (strncmp(id, RESPONSE_ID, strlen(RESPONSE_ID)) != 0) {
        api_error(q, 404, NULL, "not_found", "This is no response's id.");
        return;
    }
    with_job(q, id + strlen(RESPONSE_ID), cancel_response);
}
