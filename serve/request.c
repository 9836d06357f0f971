#include "serve/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/api.h"
#include "serve/http/url.h"
#include "serve/jobs.h"
#include "serve/service.h"

#define TELL_MS 1500

#define OUT_MAX ((size_t)256 * 1024 * 1024)

/* ---- calls to the other services ---- */

/* A message outlives its callback as a copy in the arena. */
static const ProtobufCMessage *keep(struct arena *a, const ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = malloc(len == 0 ? 1 : len); /* the message has copies of them */
    ProtobufCAllocator alloc;
    arena_protobuf(a, &alloc);
    const ProtobufCMessage *copy =
        bytes == NULL ? NULL
                      : protobuf_c_message_unpack(m->descriptor, &alloc,
                                                  protobuf_c_message_pack(m, bytes), bytes);
    free(bytes);
    return copy;
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct api_call *c = data;
    if (c->done != NULL) {
        c->kept = keep(c->q->arena, m);
        c->lost = c->kept == NULL;
    } else if (c->on_reply != NULL) {
        c->on_reply(c->q, m);
    }
}

static void on_ready(struct rpc_request *r, void *data)
{
    (void)r;
    struct api_call *c = data;
    if (c->on_ready != NULL) {
        c->on_ready(c->q);
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct api_call *c = data;
    c->r = NULL;
    if (c->done == NULL) {
        c->on_finish(c->q, err);
    } else if (c->lost) {
        struct error lost;
        (void)error_set(&lost, STATUS_NO_MEMORY, "an answer is larger than there is room for");
        c->done(c->q, NULL, &lost);
    } else {
        c->done(c->q, err->code == STATUS_OK ? c->kept : NULL, err);
    }
}

/* Most requests have one call under way at a time; NULL: too many, or no memory. */
static struct api_call *free_call(struct request *q)
{
    size_t n = 0;
    for (struct api_call *c = q->calls; c != NULL; c = c->next, n++) {
        if (c->r == NULL) {
            return c;
        }
    }
    struct api_call *made = n < REQUEST_CALLS_MAX ? arena_alloc(q->arena, sizeof *made) : NULL;
    if (made != NULL) {
        made->next = q->calls;
        q->calls = made;
    }
    return made;
}

struct rpc_request *api_start(struct request *q, enum peer target, const struct rpc_method *method,
                              uint32_t timeout_ms, const ProtobufCMessage *first,
                              const struct api_call *how)
{
    static const struct rpc_callbacks callbacks = {on_reply, on_ready, on_finish};
    struct api_call *c = free_call(q);
    int64_t left = q->http->deadline_ms - clock_monotonic_ms();
    left -= left / 8 < TELL_MS ? left / 8 : TELL_MS; /* for saying what became of it */
    uint32_t wanted = timeout_ms == 0 ? method->timeout_ms : timeout_ms;
    struct rpc_options o = {
        .timeout_ms = left < 1        ? 1
                      : left < wanted ? (uint32_t)left
                                      : wanted,
        .tenant = q->who == NULL ? NULL : q->who->tenant,
        .caller = q->token,
        .caller_len = q->token_len,
        .effort = &q->effort,
    };
    struct rpc_client *client = service_client(q->serve->svc, target);
    if (c == NULL || client == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    struct api_call *next = c->next;
    *c = *how;
    c->next = next;
    c->q = q;
    c->r = rpc_client_start(client, method, &o, first, &callbacks, c);
    if (c->r == NULL) {
        api_out_of_memory(q);
    }
    return c->r;
}

void api_unary(struct request *q, enum peer target, const struct rpc_method *method,
               uint32_t timeout_ms, const ProtobufCMessage *first, api_done_fn done)
{
    struct api_call how = {.done = done};
    (void)api_start(q, target, method, timeout_ms, first, &how);
}

void api_cancel_calls(struct request *q)
{
    for (struct api_call *c = q->calls; c != NULL; c = c->next) {
        struct rpc_request *r = c->r;
        c->r = NULL;
        if (r != NULL) {
            rpc_request_cancel(r);
        }
    }
}

void api_cancel_forget(struct request *q, struct rpc_request *r)
{
    for (struct api_call *c = q->calls; c != NULL; c = c->next) {
        if (r != NULL && c->r == r) {
            c->r = NULL;
            rpc_request_cancel(r);
            return;
        }
    }
}

static void on_abort(struct http_request *http)
{
    struct request *q = http->data;
    api_cancel_calls(q);
    if (q->on_gone != NULL) {
        void (*gone)(struct request *) = q->on_gone;
        q->on_gone = NULL;
        gone(q);
    }
}

struct request *api_request_new(struct serve *s, struct http_request *http)
{
    struct request *q = arena_alloc(&http->arena, sizeof *q);
    if (q != NULL) {
        *q = (struct request){.http = http, .serve = s, .arena = &http->arena};
        buf_init(&q->out, OUT_MAX);
        effort_init(&q->effort);
        http->data = q;
        http->on_abort = on_abort;
    }
    return q;
}

void api_work_begin(struct request *q, struct effort_use *u)
{
    effort_use_init(u, &q->effort);
    effort_enter(u);
}

void api_work_end(struct effort_use *u)
{
    effort_leave(u);
    effort_use_drop(u);
}

/* ---- answers ---- */

void api_json(struct request *q, int status, struct buf *body)
{
    http_respond_buf(q->http, status, JSON_TYPE, body);
}

void api_object_begin(struct request *q, struct jsonw *w)
{
    jsonw_init(w, &q->out);
    jsonw_open(w, '{');
}

void api_object_end(struct request *q, int status, struct jsonw *w)
{
    jsonw_close(w, '}');
    api_json(q, status, &q->out);
}

void api_deleted(struct request *q, const char *object, const char *id)
{
    struct jsonw w;
    api_object_begin(q, &w);
    jsonw_field_z(&w, "id", id);
    jsonw_field_z(&w, "object", object);
    jsonw_field_bool(&w, "deleted", true);
    api_object_end(q, 200, &w);
}

bool api_runs_appliance(const struct request *q)
{
    return q->who->admin && strcmp(q->who->tenant, API_OPERATORS) == 0;
}

bool api_watches_appliance(const struct request *q)
{
    return strcmp(q->who->tenant, API_OPERATORS) == 0 &&
           auth_may(q->who, ROLE_BIT(ROLE_ADMIN) | ROLE_BIT(ROLE_SERVICE), SCOPE_MONITOR);
}

static const char *error_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 429:
        return "rate_limit_error";
    default:
        return status < 500 ? "invalid_request_error" : "server_error";
    }
}

void api_error(struct request *q, int status, const char *param, const char *code,
               const char *message)
{
    api_note_refusal(q, status, code);
    if (status == 409) { /* what is in the way stays: the official clients would ask twice more */
        http_header(q->http, "x-should-retry", "false");
    }
    http_respond_error(q->http, status, error_type(status), param, code, message);
}

void api_note_refusal(struct request *q, int status, const char *code)
{
    bool door = status == 401 || status == 402 || status == 403 || status == 429;
    /* of signing in, too: an act that is recorded, but not as often as somebody likes to try */
    if (door && (q->audit.state == AUDIT_CALL_NONE || (q->who == NULL && status == 429))) {
        refused_note(q->serve->refused, q, status, code);
    }
}

/* Where the data lie on this machine is for the log, not for callers. */
static void without_home(const struct request *q, char *text)
{
    const char *home = q->serve->svc->home;
    size_t len = strlen(home);
    for (char *at = strstr(text, home); len > 1 && at != NULL; at = strstr(at, home)) {
        size_t cut = len + (at[len] == '/' ? 1 : 0);
        memmove(at, at + cut, strlen(at + cut) + 1);
    }
}

void api_fail(struct request *q, const struct error *err)
{
    struct error told = *err;
    int status = status_http(err->code);
    if (err->code == STATUS_CANCELLED || err->code == STATUS_OK) {
        status = 503;
    }
    if (err->code == STATUS_UNAVAILABLE || err->code == STATUS_BUSY) {
        http_header(q->http, "Retry-After", err->code == STATUS_BUSY ? "1" : "2");
    }
    if (status >= 500) {
        LOG_WARN("a request failed", LOG_STR("req", q->http->id), LOG_STR("route", q->http->route),
                 LOG_STR("err", err->text), LOG_END);
    }
    without_home(q, told.text);
    api_error(q, status, NULL, status_name(told.code),
              told.text[0] == '\0' ? status_text(told.code) : told.text);
}

void api_out_of_memory(struct request *q)
{
    http_header(q->http, "Retry-After", "2");
    api_error(q, 503, NULL, "no_memory", "Out of memory: try again shortly.");
}

/* ---- what came ---- */

struct json_wait {
    void (*then)(struct request *q, const struct json *body);
};

/* Work for the cores that is over in a moment: tenants take turns (share.h). Of a chat its search
 * is (chat.c), its answer not: that takes long, and generate has a queue of its own. */
static bool takes_turns(const struct route *r)
{
    return r != NULL && (r->handler == api_search || r->handler == api_explain ||
                         r->handler == api_embeddings || r->handler == api_rerank ||
                         r->handler == api_ollama_embed || r->handler == api_vector_store_search);
}

static void on_turn(struct share_place *p)
{
    struct request *q = container_of(p, struct request, place);
    struct effort_use work;
    api_work_begin(q, &work);
    q->in_turn(q);
    api_work_end(&work);
}

static void stand_again(struct request *q)
{
    api_in_turn(q, q->in_turn);
}

void api_in_turn(struct request *q, void (*go)(struct request *q))
{
    q->in_turn = go;
    enum status s = share_enter(q->serve->share, q->who->tenant, &q->place, on_turn);
    if (s == STATUS_BUSY && q->job != NULL) { /* nobody stands there to try again */
        jobs_watch(q, stand_again);
    } else if (s != STATUS_OK) {
        http_header(q->http, "Retry-After", "1");
        api_error(q, 429, NULL, "rate_limit_exceeded",
                  "Too many searches of this tenant are waiting already: try again shortly.");
    }
}

static void read_in_turn(struct request *q)
{
    struct json_wait *w = q->op;
    q->op = NULL;
    w->then(q, q->body);
}

static void read_body(struct request *q, struct str text)
{
    struct json_wait *w = q->op;
    struct error err;
    enum status s = jsonr_read(text, &q->body, &err);
    http_body_forget(q->http); /* the document has copies */
    if (s != STATUS_OK) {
        api_error(q, 400, NULL, "invalid_json", err.text);
    } else if (jsonr_kind(q->body) != JSON_KIND_OBJECT) {
        api_error(q, 400, NULL, "invalid_json", "the body must be a JSON object");
    } else if (!takes_turns(q->match.route)) {
        q->op = NULL;
        w->then(q, q->body);
    } else {
        api_in_turn(q, read_in_turn);
    }
}

static void on_body(struct http_request *http, struct str text)
{
    struct request *q = http->data;
    struct effort_use work;
    api_work_begin(q, &work);
    read_body(q, text);
    api_work_end(&work);
}

void api_read_json(struct request *q, void (*then)(struct request *q, const struct json *body))
{
    struct json_wait *w = arena_alloc(q->arena, sizeof *w);
    struct str type = http_head_get(q->http->head, "content-type");
    if (w == NULL) {
        api_out_of_memory(q);
        return;
    }
    /* A page of another origin can send text/plain without asking; JSON it cannot. */
    if (type.len > 0 && (type.len < 16 || strncasecmp(type.ptr, "application/json", 16) != 0)) {
        api_error(q, 415, NULL, "unsupported", "Content-Type must be application/json");
        return;
    }
    w->then = then;
    q->op = w;
    http_body_collect(q->http, (size_t)q->serve->settings->http.max_body_bytes, on_body);
}

bool api_query(struct request *q, const char *name, const char **out)
{
    struct str v;
    struct error err;
    enum status s = url_query(q->http->head->query, name, q->arena, &v, &err);
    if (s != STATUS_OK) {
        api_error(q, status_http(s), name, "invalid_query", err.text);
        return false;
    }
    *out = NULL;
    if (v.ptr != NULL) {
        *out = arena_strndup(q->arena, v.ptr, v.len);
        if (*out == NULL) {
            api_out_of_memory(q);
            return false;
        }
    }
    return true;
}

bool api_query_number(struct request *q, const char *name, uint64_t max, bool *has, uint64_t *out)
{
    const char *text = NULL;
    char *end = NULL;
    if (!api_query(q, name, &text)) {
        return false;
    }
    *has = text != NULL;
    if (text == NULL) {
        return true;
    }
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != '\0' || n == 0 || n > max) {
        api_error(q, 400, name, "invalid", "a whole number above 0 is wanted");
        return false;
    }
    *out = n;
    return true;
}

void api_interval(struct jsonw *w, const char *key, double mean, double low, double high)
{
    jsonw_key(w, key);
    jsonw_open(w, '{');
    jsonw_field_double(w, "mean", mean);
    jsonw_field_double(w, "low", low);
    jsonw_field_double(w, "high", high);
    jsonw_close(w, '}');
}

const char *api_id(struct request *q, size_t param)
{
    struct str p = q->match.params[param];
    bool ok = p.len > 0 && p.len <= 64;
    for (size_t i = 0; ok && i < p.len; i++) {
        char c = p.ptr[i];
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
             c == '-' || c == '_';
    }
    const char *id = ok ? arena_strndup(q->arena, p.ptr, p.len) : NULL;
    if (id == NULL) {
        api_error(q, 404, NULL, "not_found", "There is no such thing.");
    }
    return id;
}

bool api_name_ok(struct str s, size_t max)
{
    bool ok = s.len > 0 && s.len <= max;
    for (size_t i = 0; ok && i < s.len; i++) {
        ok = (unsigned char)s.ptr[i] >= 0x20 && s.ptr[i] != 0x7f;
    }
    return ok;
}
