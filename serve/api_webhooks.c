/* /api/webhooks: endpoints that are told what happens, their log, a test, their secrets. For
 * administrators, and for machines whose key may manage documents: such a key has its own endpoints
 * and no others, and they hear only of documents that it may read. A secret is shown once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/users.h"
#include "serve/webhooks_store.h"

#define LOG_DEFAULT 50
#define LOG_MAX 500
#define SECRET_HOURS 24 /* what a secret that was replaced still signs, unless told otherwise */
#define SECRET_HOURS_MAX 720
#define OUT_BYTES ((size_t)4 << 20)

struct hook_op {
    struct request *q;
    struct webhook_new n;
    enum status (*work)(sqlite3 *db, struct hook_op *op, struct error *err);
    int status;        /* of the answer */
    const char *id;    /* in the path */
    const char *which; /* of the endpoint's deliveries */
    int64_t old_until_ms;
    const char *by; /* whose endpoints the caller may touch; NULL: an administrator's all */
    bool on, secret;
    uint64_t limit;
    struct buf out;
    char delivery[ID_CAP];
};

static void on_done(const struct error *err, struct buf *json, void *data)
{
    struct hook_op *op = data;
    struct request *q = op->q;
    struct http_request *http = q->http;
    (void)json;
    webhooks_wake(q->serve->webhooks, q->who->tenant);
    if (!http_request_gone(http)) {
        if (err->code == STATUS_OK) {
            if (op->secret) {
                http_header(http, "Cache-Control", "no-store");
            }
            api_json(q, op->status, &op->out);
        } else {
            api_fail(q, err);
        }
    }
    buf_deinit(&op->out);
    explicit_bzero(op->n.secret, sizeof op->n.secret);
    free(op);
    http_request_release(http);
}

static enum status work(sqlite3 *db, void *data, struct error *err)
{
    struct hook_op *op = data;
    enum status s =
        op->id != NULL && op->by != NULL ? webhooks_store_own(db, op->id, op->by, err) : STATUS_OK;
    s = s == STATUS_OK ? op->work(db, op, err) : s;
    return s == STATUS_OK && buf_status(&op->out) != STATUS_OK
               ? error_set(err, buf_status(&op->out), "the answer is too long")
               : s;
}

/* A key's own, also of somebody's: they end with it. */
static const char *maker_of(const struct principal *who)
{
    return who->key[0] != '\0' ? who->key : who->user;
}

bool serve_webhook_may(void *data, const char *tenant, const char *by, bool everything)
{
    const struct serve *s = data;
    const struct principal *p = auth_by_key(s->auth, by);
    const struct user *u = p == NULL ? auth_user_by_id(s->auth, by) : NULL;
    if (u != NULL) {
        p = u->disabled ? NULL : &u->who;
    }
    return p != NULL && strcmp(p->tenant, tenant) == 0 && !auth_ended(p, clock_wall_ms()) &&
           (p->admin || !everything) && (p->admin || p->role == ROLE_SERVICE) &&
           (p->scopes & SCOPE_MANAGE) != 0;
}

static struct hook_op *op_new(struct request *q)
{
    struct hook_op *op = calloc(1, sizeof *op); /* outlives a client that left */
    if (op == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    op->q = q;
    op->status = 200;
    op->n.by = maker_of(q->who);
    op->by = q->who->admin ? NULL : op->n.by;
    buf_init(&op->out, OUT_BYTES);
    return op;
}

static void run(struct hook_op *op,
                enum status (*with)(sqlite3 *, struct hook_op *, struct error *))
{
    struct request *q = op->q;
    op->work = with;
    http_request_hold(q->http);
    answers_run(q->serve->answers, q->who->tenant, work, on_done, op);
}

static void run_for_id(struct request *q, int status,
                       enum status (*with)(sqlite3 *, struct hook_op *, struct error *))
{
    const char *id = api_id(q, 0);
    struct hook_op *op = id == NULL ? NULL : op_new(q);
    if (op != NULL) {
        op->id = id;
        op->status = status;
        run(op, with);
    }
}

/* ---- reading ---- */

static void names(struct jsonw *w, const char *key, const struct string_list *list)
{
    jsonw_key(w, key);
    jsonw_open(w, '[');
    for (size_t i = 0; i < list->n; i++) {
        jsonw_str(w, str_from(list->items[i]));
    }
    jsonw_close(w, ']');
}

static enum status list_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    const struct settings *s = op->q->serve->settings;
    struct jsonw w;
    jsonw_init(&w, &op->out);
    jsonw_open(&w, '{');
    enum status st = webhooks_store_list(db, NULL, op->by, &w, err);
    jsonw_key(&w, "events");
    jsonw_open(&w, '[');
    for (const struct webhook_event *e = webhook_events; e->name != NULL; e++) {
        jsonw_str(&w, str_from(e->name));
    }
    jsonw_close(&w, ']');
    names(&w, "allow", &s->webhooks.allow);
    names(&w, "allow_private", &s->webhooks.allow_private);
    jsonw_close(&w, '}');
    return st;
}

void api_webhooks_list(struct request *q)
{
    struct hook_op *op = op_new(q);
    if (op != NULL) {
        run(op, list_work);
    }
}

static enum status get_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    struct jsonw w;
    jsonw_init(&w, &op->out);
    return webhooks_store_list(db, op->id, op->by, &w, err);
}

void api_webhook_get(struct request *q)
{
    run_for_id(q, 200, get_work);
}

static enum status log_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    struct jsonw w;
    jsonw_init(&w, &op->out);
    jsonw_open(&w, '{');
    enum status s = webhooks_store_log(db, op->id, (int64_t)op->limit, &w, err);
    jsonw_close(&w, '}');
    return s;
}

static void log_of(struct request *q, const char *id)
{
    uint64_t limit = LOG_DEFAULT;
    bool has = false;
    if (id == NULL || !api_query_number(q, "limit", LOG_MAX, &has, &limit)) {
        return;
    }
    struct hook_op *op = op_new(q);
    if (op != NULL) {
        op->id = id;
        op->limit = has ? limit : LOG_DEFAULT;
        run(op, log_work);
    }
}

void api_webhook_log(struct request *q)
{
    log_of(q, api_id(q, 0));
}

/* ---- making ---- */

static bool known_event(struct str name)
{
    for (const struct webhook_event *e = webhook_events; e->name != NULL; e++) {
        if (str_eq(name, str_from(e->name))) {
            return true;
        }
    }
    return false;
}

/* The names with a comma after each, in the request's arena. */
static enum status read_events(struct request *q, const struct json *list, const char **out,
                               struct error *err)
{
    struct buf b;
    buf_init(&b, 1024);
    enum status s = STATUS_OK;
    if (jsonr_kind(list) != JSON_KIND_ARRAY || jsonr_len(list) == 0 || jsonr_len(list) > 16) {
        s = error_set(
            err, STATUS_INVALID,
            "events must be an array of at least one name (GET /api/webhooks tells them)");
    }
    for (size_t i = 0; s == STATUS_OK && i < jsonr_len(list); i++) {
        struct str name = jsonr_str(jsonr_at(list, i));
        if (name.ptr == NULL || !known_event(name)) {
            s = error_set(err, STATUS_INVALID, "events[%zu]: there is no such event", i);
        } else {
            buf_str(&b, name);
            buf_char(&b, ',');
        }
    }
    *out = s == STATUS_OK && buf_status(&b) == STATUS_OK ? arena_strndup(q->arena, b.ptr, b.len)
                                                         : NULL;
    buf_deinit(&b);
    return s == STATUS_OK && *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : s;
}

static enum status own_groups(struct request *q, const char **out, struct error *err)
{
    struct buf b;
    *out = NULL;
    if (q->who->admin) {
        return STATUS_OK;
    }
    buf_init(&b, GROUPS_MAX * (GROUP_BYTES_MAX + 2));
    for (size_t i = 0; i < q->who->n_groups; i++) {
        buf_z(&b, q->who->groups[i]);
        buf_char(&b, ',');
    }
    *out = buf_status(&b) == STATUS_OK ? arena_strndup(q->arena, b.len == 0 ? "" : b.ptr, b.len)
                                       : NULL;
    buf_deinit(&b);
    return *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

static enum status read_new(struct request *q, const struct json *body, struct webhook_new *n,
                            struct error *err)
{
    struct str url, name;
    enum status s = jsonr_string(body, "url", &url, err);
    s = s == STATUS_OK ? jsonr_string(body, "name", &name, err) : s;
    if (s != STATUS_OK) {
        return s;
    }
    if (url.ptr == NULL) {
        return error_set(err, STATUS_INVALID, "url must be a string");
    }
    if (name.ptr != NULL && !api_name_ok(name, WEBHOOK_NAME_MAX)) {
        return error_set(err, STATUS_INVALID, "name must be a string of 1 to %d bytes",
                         WEBHOOK_NAME_MAX);
    }
    n->url =
        memchr(url.ptr, '\0', url.len) != NULL ? NULL : arena_strndup(q->arena, url.ptr, url.len);
    n->name = name.ptr == NULL ? "" : arena_strndup(q->arena, name.ptr, name.len);
    n->by = maker_of(q->who);
    if (n->url == NULL || n->name == NULL) {
        return error_set(err, STATUS_INVALID, "url must be a string without NUL");
    }
    s = webhooks_url_check(q->serve->settings, n->url, err);
    s = s == STATUS_OK ? read_events(q, jsonr_get(body, "events"), &n->events, err) : s;
    return s == STATUS_OK ? own_groups(q, &n->groups, err) : s;
}

static void secret_json(struct jsonw *w, const uint8_t secret[WEBHOOK_SECRET_BYTES])
{
    char text[WEBHOOK_SECRET_CAP];
    webhook_secret_text(secret, text);
    jsonw_field_z(w, "secret", text);
    explicit_bzero(text, sizeof text);
}

static enum status add_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    struct jsonw w;
    enum status s = webhooks_store_add(db, op->q->serve->svc->home, &op->n, err);
    if (s != STATUS_OK) {
        return s;
    }
    jsonw_init(&w, &op->out);
    s = webhooks_store_list(db, op->n.id, op->by, &w, err);
    if (s == STATUS_OK && op->out.len > 0) { /* the secret becomes the object's last field */
        op->out.len--;
        w.comma = true;
        secret_json(&w, op->n.secret);
        jsonw_close(&w, '}');
    }
    return s;
}

/* From now on; what came before is not told. */
static void on_last(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Ig__EventsReply *reply = ig_events_reply(m);
    struct webhook_new *n = q->op;
    if (reply == NULL) {
        api_fail(q, err);
        return;
    }
    struct hook_op *op = op_new(q);
    if (op != NULL) {
        op->n = *n;
        op->n.cursor = (int64_t)reply->last;
        op->status = 201;
        op->secret = true;
        run(op, add_work);
    }
}

static void on_new(struct request *q, const struct json *body)
{
    struct error err;
    Ig__EventsRequest ask = IG__EVENTS_REQUEST__INIT;
    struct webhook_new *n = arena_alloc(q->arena, sizeof *n);
    if (n == NULL) {
        api_out_of_memory(q);
        return;
    }
    *n = (struct webhook_new){.cursor = 0};
    if (read_new(q, body, n, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    q->op = n;
    api_unary(q, PEER_INGEST, &ig_events_method, 0, &ask.base, on_last);
}

void api_webhook_add(struct request *q)
{
    api_read_json(q, on_new);
}

/* ---- changing ---- */

static enum status remove_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    buf_z(&op->out, "{\"removed\":true}");
    return webhooks_store_remove(db, op->id, err);
}

void api_webhook_remove(struct request *q)
{
    run_for_id(q, 200, remove_work);
}

static enum status enable_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    enum status s =
        op->on && op->by == NULL ? webhooks_store_adopt(db, op->id, op->n.by, err) : STATUS_OK;
    s = s == STATUS_OK ? webhooks_store_enable(db, op->id, op->on, err) : s;
    return s == STATUS_OK ? get_work(db, op, err) : s;
}

static void on_change(struct request *q, const struct json *body)
{
    struct error err;
    bool on;
    const char *id = api_id(q, 0);
    if (id == NULL) {
        return;
    }
    if (jsonr_get(body, "enabled") == NULL) {
        api_error(q, 400, "enabled", NULL, "enabled must be true or false");
        return;
    }
    if (jsonr_bool(body, "enabled", true, &on, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    struct hook_op *op = op_new(q);
    if (op != NULL) {
        op->id = id;
        op->on = on;
        run(op, enable_work);
    }
}

void api_webhook_change(struct request *q)
{
    api_read_json(q, on_change);
}

static enum status ping_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    struct jsonw w;
    enum status s = webhooks_store_ping(db, op->q->who->tenant, op->id, op->delivery, err);
    jsonw_init(&w, &op->out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "delivery", op->delivery);
    jsonw_close(&w, '}');
    return s;
}

void api_webhook_test(struct request *q)
{
    run_for_id(q, 202, ping_work);
}

static enum status again_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    struct jsonw w;
    jsonw_init(&w, &op->out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "delivery", op->which);
    jsonw_close(&w, '}');
    return webhooks_store_again(db, op->id, op->which, clock_wall_ms(), err);
}

void api_webhook_again(struct request *q)
{
    const char *id = api_id(q, 0), *which = id == NULL ? NULL : api_id(q, 1);
    struct hook_op *op = which == NULL ? NULL : op_new(q);
    if (op != NULL) {
        op->id = id;
        op->which = which;
        op->status = 202;
        run(op, again_work);
    }
}

static enum status secret_work(sqlite3 *db, struct hook_op *op, struct error *err)
{
    struct jsonw w;
    enum status s = webhooks_store_secret(db, op->q->serve->svc->home, op->id, op->n.secret,
                                          op->old_until_ms, err);
    jsonw_init(&w, &op->out);
    jsonw_open(&w, '{');
    secret_json(&w, op->n.secret);
    if (op->old_until_ms > 0) {
        jsonw_field_int(&w, "old_until", op->old_until_ms / 1000);
    }
    jsonw_close(&w, '}');
    return s;
}

static void on_secret(struct request *q, const struct json *body)
{
    struct error err;
    int64_t hours;
    if (jsonr_int(body, "old_hours", 0, SECRET_HOURS_MAX, SECRET_HOURS, &hours, &err) !=
        STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    const char *id = api_id(q, 0);
    struct hook_op *op = id == NULL ? NULL : op_new(q);
    if (op != NULL) {
        op->id = id;
        op->secret = true;
        op->old_until_ms = hours == 0 ? 0 : clock_wall_ms() + hours * 3600000;
        run(op, secret_work);
    }
}

void api_webhook_secret(struct request *q)
{
    api_read_json(q, on_secret);
}
