/* /api/conversations: one's own conversations, and links to them. Nobody finds another's. */
#include "serve/api_conversations.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/audit/erase.h"
#include "serve/audit/internal.h"
#include "serve/http/jsonw.h"
#include "serve/service.h"

#define DAY_MS INT64_C(86400000)
#define SHARE_DAYS_MAX 365
#define SHARE_DAYS 30

struct conversation_call *conversation_call(struct request *q, size_t out_max)
{
    struct conversation_call *c = arena_alloc(q->arena, sizeof *c);
    if (c == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    *c = (struct conversation_call){.q = q, .http = q->http};
    int64_t keep_days = q->serve->settings->conversations.keep_days;
    (void)snprintf(c->tenant, sizeof c->tenant, "%s", q->who->tenant);
    (void)snprintf(c->user, sizeof c->user, "%s", q->who->user);
    c->ask.user = c->user;
    c->ask.now_ms = clock_wall_ms();
    c->ask.keep_days = keep_days;
    c->ask.per_user = q->serve->settings->conversations.per_user;
    c->ask.expired_ms = c->ask.now_ms - keep_days * DAY_MS;
    buf_init(&c->out, out_max);
    c->ask.out = &c->out;
    return c;
}

static enum status run(sqlite3 *db, void *data, struct error *err)
{
    struct conversation_call *c = data;
    return c->work(db, &c->ask, err);
}

static void on_done(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    struct conversation_call *c = data;
    struct http_request *http = c->http;
    c->running--;
    if (!http_request_gone(http)) {
        if (err->code == STATUS_OK) {
            c->then(c);
        } else {
            api_fail(c->q, err);
        }
    }
    if (c->running == 0) { /* else `then` has begun another step */
        buf_deinit(&c->out);
    }
    http_request_release(http);
}

void conversation_run(struct conversation_call *c, conversation_work_fn work,
                      void (*then)(struct conversation_call *c))
{
    c->work = work;
    c->then = then;
    c->running++;
    http_request_hold(c->http); /* c lives in its arena */
    answers_run(c->q->serve->answers, c->tenant, run, on_done, c);
}

static void tell(struct conversation_call *c)
{
    api_json(c->q, c->status == 0 ? 200 : c->status, &c->out);
}

/* The id in the path; NULL: 404 was answered. */
static struct conversation_call *about_one(struct request *q, size_t out_max)
{
    const char *id = api_id(q, 0);
    struct conversation_call *c = id == NULL ? NULL : conversation_call(q, out_max);
    if (c != NULL) {
        c->ask.id = id;
    }
    return c;
}

/* ---- lists, one, names ---- */

void api_conversations_list(struct request *q)
{
    uint64_t limit = 50;
    bool has = false;
    struct conversation_call *c = conversation_call(q, CONVERSATION_JSON_MAX);
    if (c == NULL || !api_query(q, "q", &c->ask.like) || !api_query(q, "before", &c->ask.before) ||
        !api_query_number(q, "limit", CONVERSATIONS_LISTED_MAX, &has, &limit)) {
        return;
    }
    if (c->ask.like != NULL && strlen(c->ask.like) > CONVERSATION_TITLE_MAX) {
        api_error(q, 400, "q", "invalid", "q is at most 200 bytes of the title");
        return;
    }
    c->ask.like = c->ask.like != NULL && c->ask.like[0] == '\0' ? NULL : c->ask.like;
    c->ask.limit = has ? (int64_t)limit : 50;
    conversation_run(c, conversations_list, tell);
}

void api_conversation_get(struct request *q)
{
    struct conversation_call *c = about_one(q, CONVERSATION_JSON_MAX);
    if (c != NULL) {
        conversation_run(c, conversation_read, tell);
    }
}

static void on_name(struct request *q, const struct json *body)
{
    struct str title = jsonr_str(jsonr_get(body, "title"));
    if (title.ptr == NULL || !api_name_ok(title, CONVERSATION_TITLE_MAX)) {
        api_error(q, 400, "title", "invalid",
                  "title must be a string of 1 to 200 bytes on one line");
        return;
    }
    struct conversation_call *c = about_one(q, CONVERSATION_JSON_MAX);
    if (c == NULL) {
        return;
    }
    struct jsonw w;
    c->ask.title = arena_strndup(q->arena, title.ptr, title.len);
    if (c->ask.title == NULL) {
        api_out_of_memory(q);
        return;
    }
    jsonw_init(&w, &c->out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "id", c->ask.id);
    jsonw_field_str(&w, "title", title);
    jsonw_close(&w, '}');
    conversation_run(c, conversation_rename, tell);
}

void api_conversation_rename(struct request *q)
{
    api_read_json(q, on_name);
}

static void tell_deleted(struct conversation_call *c)
{
    struct jsonw w;
    api_object_begin(c->q, &w);
    jsonw_field_int(&w, "deleted", c->ask.count);
    api_object_end(c->q, 200, &w);
}

void api_conversation_delete(struct request *q)
{
    struct conversation_call *c = about_one(q, CONVERSATION_JSON_MAX);
    if (c != NULL) {
        conversation_run(c, conversation_delete, tell_deleted);
    }
}

static enum status forget_texts(struct audit *a, struct chain *chain, void *data, struct error *err)
{
    const struct conversation_call *c = data;
    char name[160];
    (void)snprintf(name, sizeof name, AUDIT_CONVERSATIONS_OF "%s", c->ask.user);
    return audit_forget_linked(chain, audit_policy(a), name, "conversations", err);
}

static void on_texts_forgotten(const struct error *err, void *data)
{
    struct conversation_call *c = data;
    struct http_request *http = c->http;
    if (http_request_gone(http)) {
        http_request_release(http);
        return;
    }
    if (err->code != STATUS_OK) {
        api_fail(c->q, err);
    } else {
        conversation_run(c, conversations_erase, tell_deleted);
    }
    http_request_release(http);
}

/* The audit's texts first, where they go too: who asks again after a failure finds both. */
static void erase_all(struct conversation_call *c)
{
    struct request *q = c->q;
    if (strcmp(q->serve->settings->audit.conversations, "erase") == 0) {
        http_request_hold(q->http);
        audit_run(q->serve->audit, q->who->tenant, forget_texts, on_texts_forgotten, c);
    } else {
        conversation_run(c, conversations_erase, tell_deleted);
    }
}

void api_conversations_erase(struct request *q)
{
    struct conversation_call *c = conversation_call(q, CONVERSATION_JSON_MAX);
    if (c != NULL) {
        erase_all(c);
    }
}

/* An administrator's: another's of the tenant, also of somebody who is not there any more. */
void api_user_conversations_erase(struct request *q)
{
    const char *user = api_id(q, 0);
    struct conversation_call *c = user == NULL ? NULL : conversation_call(q, CONVERSATION_JSON_MAX);
    if (c != NULL) {
        c->ask.user = user;
        erase_all(c);
    }
}

/* ---- exports ---- */

static void tell_export(struct conversation_call *c)
{
    char line[128];
    (void)snprintf(line, sizeof line, "attachment; filename=\"%s%s.%s\"",
                   c->ask.id == NULL ? "conversations" : "conversation-",
                   c->ask.id == NULL ? "" : c->ask.id, c->ask.markdown ? "md" : "json");
    http_header(c->q->http, "Content-Disposition", line);
    http_respond_buf(c->q->http, 200, c->ask.markdown ? "text/markdown; charset=utf-8" : JSON_TYPE,
                     &c->out);
}

static void export(struct request *q, struct conversation_call *c)
{
    const char *format = NULL;
    if (c == NULL || !api_query(q, "format", &format)) {
        return;
    }
    if (format != NULL && strcmp(format, "json") != 0 && strcmp(format, "markdown") != 0) {
        api_error(q, 400, "format", "invalid", "format must be json or markdown");
        return;
    }
    c->ask.markdown = format != NULL && format[0] == 'm';
    conversation_run(c, conversations_export, tell_export);
}

void api_conversations_export(struct request *q)
{
    export(q, conversation_call(q, CONVERSATION_EXPORT_MAX));
}

void api_conversation_export(struct request *q)
{
    export(q, about_one(q, CONVERSATION_EXPORT_MAX));
}

/* ---- links ---- */

static void on_share(struct request *q, const struct json *body)
{
    int64_t days = SHARE_DAYS;
    uint8_t secret[32];
    struct error err;
    struct conversation_call *c = about_one(q, CONVERSATION_JSON_MAX);
    if (c == NULL) {
        return;
    }
    if (jsonr_int(body, "days", 1, SHARE_DAYS_MAX, SHARE_DAYS, &days, &err) != STATUS_OK) {
        api_error(q, 400, "days", "invalid", err.text);
        return;
    }
    random_bytes(secret, sizeof secret);
    sha256_hex(secret, c->token);
    sha256_of(c->token, strlen(c->token), c->ask.hash);
    id_new(c->share);
    c->ask.share = c->share;
    c->ask.token = c->token;
    c->ask.expires_ms = c->ask.now_ms + days * DAY_MS;
    c->status = 201;
    conversation_run(c, share_create, tell);
}

void api_share_create(struct request *q)
{
    api_read_json(q, on_share);
}

void api_shares_list(struct request *q)
{
    struct conversation_call *c = about_one(q, CONVERSATION_JSON_MAX);
    if (c != NULL) {
        conversation_run(c, shares_list, tell);
    }
}

void api_share_delete(struct request *q)
{
    const char *share = api_id(q, 1);
    struct conversation_call *c = share == NULL ? NULL : about_one(q, CONVERSATION_JSON_MAX);
    if (c != NULL) {
        c->ask.share = share;
        c->ask.count = 1;
        conversation_run(c, share_delete, tell_deleted);
    }
}
