/* POST /v1/responses, and the responses that were kept: GET, DELETE /v1/responses/{id}, GET
 * /v1/responses/{id}/input_items. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/api.h"
#include "serve/chat_record.h"
#include "serve/chat_responses.h"
#include "serve/conversations.h"
#include "serve/file_search.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/turns.h"
#include "serve/vector_store_match.h"

int64_t responses_expired_ms(int64_t keep_days)
{
    return clock_wall_ms() - keep_days * 86400000;
}

/* Work on the lane for a request. It may end after the request has gone. */
struct turn_work {
    struct request *q;
    struct http_request *http;
    char tenant[65], user[64], answer[ID_CAP];
    enum { TURNS_BEFORE, CONVERSATION_BEFORE, TURN_RESPONSE, TURN_MESSAGES, TURN_DELETE } what;
    int64_t expired_ms;    /* made before: not kept any more */
    int64_t kept_since_ms; /* conversations likewise */
    struct buf out;
    struct responses *response; /* of TURNS_BEFORE */
};

static enum status run_work(sqlite3 *db, void *data, struct error *err)
{
    struct turn_work *w = data;
    enum status s = turns_expire(db, w->expired_ms, err);
    if (s != STATUS_OK) {
        return s;
    }
    switch (w->what) {
    case TURNS_BEFORE:
        return turns_read(db, w->user, w->answer, &w->out, err);
    case CONVERSATION_BEFORE:
        return conversation_messages(
            db,
            &(struct conversation_ask){
                .user = w->user, .id = w->answer, .expired_ms = w->kept_since_ms, .out = &w->out},
            err);
    case TURN_DELETE:
        return turn_delete(db, w->user, w->answer, err);
    case TURN_RESPONSE:
    case TURN_MESSAGES:
        break;
    }
    return turn_read(db, w->user, w->answer, w->what == TURN_MESSAGES, &w->out, err);
}

static void start_work(struct request *q, struct turn_work *w, const char *answer,
                       answers_done_fn done)
{
    if (w == NULL) {
        api_out_of_memory(q);
        return;
    }
    w->q = q;
    w->http = q->http;
    (void)snprintf(w->tenant, sizeof w->tenant, "%s", q->who->tenant);
    (void)snprintf(w->user, sizeof w->user, "%s", q->who->user);
    (void)snprintf(w->answer, sizeof w->answer, "%s", answer);
    w->expired_ms = responses_expired_ms(q->serve->settings->responses.keep_days);
    w->kept_since_ms = responses_expired_ms(q->serve->settings->conversations.keep_days);
    buf_init(&w->out, TURNS_BYTES);
    http_request_hold(w->http); /* w lives in its arena */
    answers_run(q->serve->answers, w->tenant, run_work, done, w);
}

/* ---- asking ---- */

static void go_on(struct request *q, struct turn_work *w)
{
    struct responses *r = w->response;
    struct json *doc = NULL;
    struct error err;
    struct buf list;
    buf_init(&list, TURNS_BYTES + 2);
    buf_char(&list, '[');
    buf_str(&list, buf_view(&w->out));
    buf_char(&list, ']');
    enum status s = buf_status(&list);
    s = s == STATUS_OK ? jsonr_read(buf_view(&list), &doc, &err) : error_set(&err, s, "too long");
    r->n_before = jsonr_len(doc);
    jsonr_free(doc);
    buf_deinit(&list);
    r->before = (struct str){arena_strndup(q->arena, w->out.ptr, w->out.len), w->out.len};
    if (s != STATUS_OK) {
        api_fail(q, &err);
    } else if (r->before.ptr == NULL) {
        api_out_of_memory(q);
    } else {
        chat_ask(q, r->body, &responses_dialect, r);
    }
}

static void on_before(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    struct turn_work *w = data;
    struct http_request *http = w->http;
    if (!http_request_gone(http)) {
        struct request *q = w->q;
        if (err->code == STATUS_NOT_FOUND && w->what == CONVERSATION_BEFORE) {
            api_error(q, 404, "conversation", "conversation_not_found", err->text);
        } else if (err->code == STATUS_NOT_FOUND) {
            api_error(q, 404, "previous_response_id", "previous_response_not_found", err->text);
        } else if (err->code != STATUS_OK) {
            api_fail(q, err);
        } else {
            go_on(q, w);
        }
    }
    buf_deinit(&w->out);
    http_request_release(http);
}

/* The answer, or first the turns before it. */
static void begin(struct request *q, struct responses *r)
{
    bool old = r->conversation != NULL && strcmp(r->conversation, "new") != 0;
    if (r->previous == NULL && !old) {
        chat_ask(q, r->body, &responses_dialect, r);
        return;
    }
    struct turn_work *w = arena_alloc(q->arena, sizeof *w);
    if (w != NULL) {
        *w = (struct turn_work){.what = old ? CONVERSATION_BEFORE : TURNS_BEFORE, .response = r};
    }
    start_work(q, w, old ? r->conversation : r->previous, on_before);
}

static void on_matched(struct request *q, struct match *m)
{
    struct responses *r = q->op;
    if (m->n > MATCH_DOCUMENTS_MAX) {
        api_error(q, 400, "tools", "too_large",
                  "The filters hold of more than 2048 files: narrow them.");
        return;
    }
    q->narrowed = m;
    begin(q, r);
}

/* To what the filters of file_search hold of. */
static void narrow(struct request *q, struct responses *r, const struct file_search *f)
{
    struct match *m = arena_alloc(q->arena, sizeof *m);
    if (m == NULL) {
        api_out_of_memory(q);
        return;
    }
    m->filters = r->filters;
    m->n_collections = f->n;
    memcpy(m->collections, f->collections, f->n * sizeof f->collections[0]);
    match_run(q, m, on_matched);
}

static void on_stores(struct request *q, struct file_search *f)
{
    struct responses *r = q->op;
    if (r->filters != NULL) {
        narrow(q, r, f);
    } else {
        begin(q, r);
    }
}

bool api_responses_check(struct request *q, const struct json *body)
{
    struct responses r;
    struct error err;
    const char *param = NULL;
    enum status s = responses_read(body, &r, &param, &err);
    if (s != STATUS_OK) {
        api_error(q, 400, param, status_name(s), err.text);
    }
    return s == STATUS_OK && chat_check(q, body, &responses_dialect, &r);
}

static void on_json(struct request *q, const struct json *body)
{
    struct responses *r = arena_alloc(q->arena, sizeof *r);
    struct error err;
    const char *param = NULL;
    if (r == NULL) {
        api_out_of_memory(q);
        return;
    }
    enum status s = responses_read(body, r, &param, &err);
    if (s != STATUS_OK) {
        api_error(q, 400, param, status_name(s), err.text);
        return;
    }
    if (r->background && q->job == NULL && !chat_check(q, body, &responses_dialect, r)) {
        return;
    }
    if (r->background && q->job == NULL) {
        api_response_background(q, body);
        return;
    }
    r->store = r->store && q->serve->settings->responses.keep_days > 0;
    q->op = r;
    struct file_search *f = arena_alloc(q->arena, sizeof *f);
    if (f == NULL) {
        api_out_of_memory(q);
    } else if (file_search_read(body, q->arena, f, &err) != STATUS_OK) {
        api_error(q, 400, "tools", "invalid", err.text);
    } else if (f->n == 0) {
        on_stores(q, f);
    } else {
        file_search_use(q, f, on_stores);
    }
}

void api_responses(struct request *q)
{
    if (!api_job_instead(q)) {
        api_read_json(q, on_json);
    }
}

/* ---- keeping ---- */

struct kept {
    struct chat *c;
    char tenant[65], answer[ID_CAP];
    char *previous, *messages, *response;
    struct turn turn;
};

static void free_kept(struct kept *k)
{
    free(k->previous);
    free(k->messages);
    free(k->response);
    free(k);
}

static enum status run_keep(sqlite3 *db, void *data, struct error *err)
{
    const struct kept *k = data;
    return turns_write(db, &k->turn, err);
}

static void on_kept(const struct error *err, struct buf *json, void *data)
{
    struct kept *k = data;
    (void)json;
    chat_written(k->c, err);
    free_kept(k);
}

/* Owned; NULL: too long, or no memory. */
static char *take_z(struct buf *b)
{
    buf_char(b, '\0');
    if (buf_status(b) != STATUS_OK) {
        buf_deinit(b);
        return NULL;
    }
    return buf_take(b);
}

/* What is new in this turn, and the answer as the assistant's message. */
static char *new_messages(const struct chat *c)
{
    const struct responses *r = c->more;
    const struct json *all = jsonr_get(c->q->translated, "messages");
    struct buf b;
    struct jsonw w;
    buf_init(&b, TURNS_BYTES);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = (r->instructed ? 1 : 0) + r->n_before; i < jsonr_len(all); i++) {
        const char *text = jsonr_text(jsonr_at(all, i), c->q->arena);
        jsonw_raw(&w, str_from(text == NULL ? "null" : text));
    }
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "role", "assistant");
    jsonw_field_str(&w, "content", buf_view(&c->text));
    if (c->n_calls > 0) {
        jsonw_key(&w, "tool_calls");
        chat_calls(&w, c->calls, c->n_calls);
    }
    jsonw_close(&w, '}');
    jsonw_close(&w, ']');
    return take_z(&b);
}

void responses_keep(struct chat *c)
{
    const struct responses *r = c->more;
    struct buf b;
    if (!r->store || c->q == NULL) {
        return;
    }
    struct kept *k = calloc(1, sizeof *k);
    struct error err = {.code = STATUS_NO_MEMORY, .text = "out of memory"};
    chat_writing(c);
    if (k == NULL) {
        chat_written(c, &err);
        return;
    }
    k->c = c;
    (void)snprintf(k->tenant, sizeof k->tenant, "%s", c->q->who->tenant);
    (void)snprintf(k->answer, sizeof k->answer, "%s", c->id);
    buf_init(&b, TURNS_BYTES);
    responses_write(&b, c);
    k->response = take_z(&b);
    k->messages = new_messages(c);
    k->previous = strdup(r->previous == NULL ? "" : r->previous);
    if (k->response == NULL || k->messages == NULL || k->previous == NULL) {
        (void)error_set(&err, STATUS_TOO_LARGE, "a response is too long to be kept");
        chat_written(c, &err);
        free_kept(k);
        return;
    }
    k->turn = (struct turn){.answer = k->answer,
                            .previous = k->previous,
                            .messages = k->messages,
                            .response = k->response,
                            .created_wall_ms = c->created_wall_ms};
    answers_run(c->q->serve->answers, k->tenant, run_keep, on_kept, k);
}

/* ---- those that were kept ---- */

static const char *response_id(struct request *q)
{
    const char *id = api_id(q, 0);
    if (id != NULL && (strncmp(id, RESPONSE_ID, strlen(RESPONSE_ID)) != 0 ||
                       strlen(id) >= strlen(RESPONSE_ID) + ID_CAP)) {
        api_error(q, 404, NULL, "not_found", "This is no response's id.");
        return NULL;
    }
    return id == NULL ? NULL : id + strlen(RESPONSE_ID);
}

/* Messages as the items that they came as. */
static void write_items(struct request *q, struct str messages)
{
    struct json *doc = NULL;
    struct error err;
    struct jsonw w;
    if (jsonr_read(messages, &doc, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    api_object_begin(q, &w);
    jsonw_field_z(&w, "object", "list");
    jsonw_key(&w, "data");
    jsonw_open(&w, '[');
    for (size_t i = 0; i + 1 < jsonr_len(doc); i++) { /* the last one is the answer */
        const char *text = jsonr_text(jsonr_get(jsonr_at(doc, i), "content"), q->arena);
        struct str role = jsonr_str(jsonr_get(jsonr_at(doc, i), "role"));
        bool plain = jsonr_str(jsonr_get(jsonr_at(doc, i), "content")).ptr != NULL;
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "type", "message");
        jsonw_key(&w, "id");
        buf_printf(w.out, "\"item_%zu\"", i);
        w.comma = true;
        jsonw_field_str(&w, "role", role.ptr == NULL ? STR("user") : role);
        jsonw_key(&w, "content");
        if (plain) {
            buf_z(w.out, "[{\"type\":\"input_text\",\"text\":");
        }
        jsonw_raw(&w, str_from(text == NULL ? "[]" : text));
        if (plain) {
            buf_z(w.out, "}]");
        }
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_field_bool(&w, "has_more", false);
    jsonr_free(doc);
    api_object_end(q, 200, &w);
}

static void on_turn(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    struct turn_work *w = data;
    struct http_request *http = w->http;
    if (!http_request_gone(http)) {
        struct request *q = w->q;
        if (err->code == STATUS_NOT_FOUND && w->what == TURN_RESPONSE) {
            api_response_job(q, w->answer); /* it may be under way in the background */
        } else if (err->code != STATUS_OK) {
            api_fail(q, err);
        } else if (w->what == TURN_DELETE) {
            struct jsonw out;
            api_object_begin(q, &out);
            jsonw_key(&out, "id");
            buf_printf(out.out, "\"" RESPONSE_ID "%s\"", w->answer);
            out.comma = true;
            jsonw_field_z(&out, "object", "response");
            jsonw_field_bool(&out, "deleted", true);
            api_object_end(q, 200, &out);
        } else if (w->what == TURN_MESSAGES) {
            write_items(q, buf_view(&w->out));
        } else {
            api_json(q, 200, &w->out);
        }
    }
    buf_deinit(&w->out);
    http_request_release(http);
}

static void with_turn(struct request *q, int what)
{
    const char *id = response_id(q);
    struct turn_work *w = id == NULL ? NULL : arena_alloc(q->arena, sizeof *w);
    if (id == NULL) {
        return;
    }
    if (w != NULL) {
        *w = (struct turn_work){0};
        w->what = what;
    }
    start_work(q, w, id, on_turn);
}

void api_response_get(struct request *q)
{
    with_turn(q, TURN_RESPONSE);
}

void api_response_items(struct request *q)
{
    with_turn(q, TURN_MESSAGES);
}

void api_response_delete(struct request *q)
{
    with_turn(q, TURN_DELETE);
}
