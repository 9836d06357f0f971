#include "serve/audit/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/audit/record.h"
#include "base/clock.h"
#include "base/log.h"
#include "serve/api.h"
#include "serve/audit/erase.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/share.h"

#define ANSWER_MAX ((size_t)4 << 20)

/* Calls that leave no record: they show no document's text and nothing made from one. What the
 * page and the command line ask again and again while they wait is among them. What is not listed
 * is recorded. */
static const char *const left_out[] = {
    "/api/health",    "/api/version",    "/api/tags",        "/api/ps",
    "/api/show",      "/v1/models",      "/v1/models/{id}",  "/api/status",
    "/metrics",       "/api/progress",   "/api/session",     "/api/documents",
    "/api/facets",    "/api/sources",    "/api/erasures",    "/api/erasures/{id}",
    "/api/encoders",  "/api/quarantine", "/api/holds",       "/api/eval",
    "/api/keys",      "/api/tenants",    "/api/audit/head",  "/api/conversations",
    "/api/jobs/{id}", "/api/limits",     "/api/limits/mine", "/api/webhooks",
    "/api/users",     "/v1/files",       "/openapi.json",
};
/* What was found is part of the record, so that it is written with the answer. */
static const char *const late[] = {
    "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat",
    "/api/generate",        "/mcp",          "/api/search",  "/api/explain",
    "/v1/embeddings",       "/api/embed",    "/v1/rerank",   "/v1/vector_stores/{id}/search",
};

static bool listed(const char *const *list, size_t n, const char *pattern)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], pattern) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- notes ---- */

void audit_note_question(struct request *q, struct str question)
{
    char *copy = arena_strndup(q->arena, question.ptr, question.len);
    if (copy != NULL) {
        q->audit.question = (struct str){copy, question.len};
    }
}

static int strictness(const char *label)
{
    static const char *const labels[] = {"public", "internal", "confidential", "restricted"};
    for (int i = 0; label != NULL && i < 4; i++) {
        if (strcmp(labels[i], label) == 0) {
            return i;
        }
    }
    return label == NULL || label[0] == '\0' ? -1 : 4;
}

static const char *take(struct request *q, struct buf *b)
{
    const char *copy = buf_status(b) == STATUS_OK ? arena_strndup(q->arena, b->ptr, b->len) : NULL;
    buf_deinit(b);
    return copy;
}

void audit_note_passages(struct request *q, Rt__RankedPassage *const *found, size_t n)
{
    struct audit_call *c = &q->audit;
    struct buf b, documents;
    struct jsonw w;
    buf_init(&b, (size_t)1 << 20);
    buf_init(&documents, (size_t)256 * 1024);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = 0; i < n; i++) {
        const Vs__Passage *p = found[i]->passage;
        passage_named(&w, (int64_t)i + 1, p);
        buf_append(&documents, p->document, strlen(p->document) + 1);
        if (strictness(p->label) > strictness(c->label)) {
            c->label = arena_strdup(q->arena, p->label);
        }
    }
    jsonw_close(&w, ']');
    c->n_passages = n;
    c->n_documents = n;
    c->documents_len = documents.len;
    c->documents = n == 0 ? NULL : arena_strndup(q->arena, documents.ptr, documents.len);
    buf_deinit(&documents);
    c->passages = take(q, &b);
}

void audit_link_conversations(struct request *q)
{
    q->audit.linked = arena_printf(q->arena, AUDIT_CONVERSATIONS_OF "%s", q->who->user);
}

void audit_note_document(struct request *q, const char *id)
{
    q->audit.documents = arena_strdup(q->arena, id);
    q->audit.documents_len = strlen(id) + 1;
    q->audit.n_documents = 1;
}

/* ---- records ---- */

/* Sign-ins that fail belong to nobody: those who run the appliance see them. */
static const char *tenant_of(const struct request *q)
{
    return q->who != NULL ? q->who->tenant : API_OPERATORS;
}

static void add_documents(const struct audit_call *c, struct audit_item *i)
{
    if (c->documents != NULL) {
        buf_append(&i->documents, c->documents, c->documents_len);
        i->n_documents = c->n_documents;
    }
    if (c->linked != NULL) {
        buf_append(&i->documents, c->linked, strlen(c->linked) + 1);
        i->n_documents++;
    }
}

static void raw(struct jsonw *w, const char *key, const char *json)
{
    if (json != NULL && json[0] != '\0') {
        jsonw_key(w, key);
        jsonw_raw(w, str_from(json));
    }
}

static void text(struct jsonw *w, const char *key, struct str s)
{
    if (s.ptr != NULL && s.len > 0) {
        jsonw_field_str(w, key, s);
    }
}

static void who(const struct request *q, struct jsonw *w)
{
    const struct http_head *h = q->http->head;
    if (q->who != NULL) {
        jsonw_field_z(w, "user", q->who->user);
        jsonw_field_z(w, "name", q->who->name);
        jsonw_field_z(w, "role", role_name(q->who->role));
    }
    jsonw_field_z(w, "from", q->http->peer);
    jsonw_field_z(w, "by", q->session != NULL ? "session" : q->who != NULL ? "key" : "nobody");
    if (h != NULL) {
        jsonw_field_str(w, "path", h->path);
        text(w, "query", h->query);
    }
}

static const char *act_of(const struct request *q)
{
    return q->match.route == NULL ? NULL : q->match.route->act;
}

static struct audit_item *open_item(struct request *q)
{
    struct audit_call *c = &q->audit;
    const char *act = act_of(q);
    struct audit_item *i = audit_item_new(tenant_of(q), act != NULL ? "act" : "open");
    struct jsonw w;
    if (i == NULL) {
        return NULL;
    }
    audit_field_z(&i->fields, "call", c->id);
    char what[160];
    (void)snprintf(what, sizeof what, "%s %s",
                   q->match.route == NULL ? "POST" : verb_name(q->match.route->verb),
                   q->http->route);
    audit_field_z(&i->fields, "what", what);
    audit_field_z(&i->fields, "act", act);
    if (c->passages != NULL) {
        audit_field_int(&i->fields, "passages", (int64_t)c->n_passages);
    }
    audit_field_z(&i->fields, "label", c->label);
    audit_field_z(&i->fields, "route", c->verdict);
    audit_field_z(&i->fields, "rule", c->rule);
    jsonw_init(&w, &i->text);
    jsonw_open(&w, '{');
    who(q, &w);
    text(&w, "asked_model", str_from(c->asked_model));
    text(&w, "question", c->question);
    raw(&w, "passages", c->passages);
    raw(&w, "route", c->route);
    raw(&w, "search", c->search);
    jsonw_close(&w, '}');
    add_documents(c, i);
    return i;
}

static const char *outcome_of(const struct audit_call *c)
{
    if (c->outcome != NULL) {
        return c->outcome;
    }
    return c->status == 0    ? "cancelled"
           : c->status < 400 ? "done"
           : c->status < 500 ? "refused"
                             : "failed";
}

static void number(struct audit_item *i, const char *key, int64_t n)
{
    if (n != 0) {
        audit_field_int(&i->fields, key, n);
    }
}

static struct audit_item *close_item(struct request *q)
{
    struct audit_call *c = &q->audit;
    struct audit_item *i = audit_item_new(tenant_of(q), "close");
    struct jsonw w;
    if (i == NULL) {
        return NULL;
    }
    audit_field_z(&i->fields, "call", c->id);
    audit_field_z(&i->fields, "outcome", outcome_of(c));
    number(i, "status", c->status);
    audit_field_z(&i->fields, "engine", c->engine);
    audit_field_z(&i->fields, "model", c->model);
    audit_field_z(&i->fields, "model_version", c->model_version);
    audit_field_z(&i->fields, "model_sha256", c->model_sha256);
    audit_field_z(&i->fields, "masks", c->masks);
    number(i, "prompt_tokens", c->prompt_tokens);
    number(i, "completion_tokens", c->completion_tokens);
    number(i, "marks_removed", c->marks_removed);
    number(i, "masked", c->masked);
    number(i, "search_ms", c->search_ms);
    number(i, "first_ms", c->first_ms);
    audit_field_int(&i->fields, "ms", clock_monotonic_ms() - c->started_ms);
    bool has_text = c->answer.len > 0 || c->cited != NULL || c->calls != NULL ||
                    c->details != NULL || (c->error != NULL && c->error[0] != '\0');
    if (has_text) {
        jsonw_init(&w, &i->text);
        jsonw_open(&w, '{');
        text(&w, "answer",
             c->answer.len > ANSWER_MAX ? (struct str){c->answer.ptr, ANSWER_MAX} : c->answer);
        raw(&w, "cited", c->cited);
        raw(&w, "calls", c->calls);
        raw(&w, "details", c->details);
        text(&w, "error", str_from(c->error));
        jsonw_close(&w, '}');
        add_documents(c, i);
    }
    return i;
}

/* ---- an administrative act's particulars: the body, without what is secret ---- */

static bool secret(struct str key)
{
    static const char *const words[] = {"pass", "secret", "token",   "otp",     "code",
                                        "key",  "mark",   "subject", "content", "text"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (key.len >= strlen(words[i]) &&
            memmem(key.ptr, key.len, words[i], strlen(words[i])) != NULL) {
            return true;
        }
    }
    return false;
}

/* One level: what is deeper may be anything. */
static const char *details(struct request *q)
{
    struct buf b;
    struct jsonw w;
    void *at = NULL;
    struct str key;
    const struct json *v;
    if (q->body == NULL || jsonr_kind(q->body) != JSON_KIND_OBJECT) {
        return NULL;
    }
    buf_init(&b, 65536);
    jsonw_init(&w, &b);
    jsonw_open(&w, '{');
    while (jsonr_next(q->body, &at, &key, &v)) {
        const char *name = arena_strndup(q->arena, key.ptr, key.len);
        const char *value = secret(key) ? "\"(not recorded)\"" : jsonr_text(v, q->arena);
        if (name != NULL && value != NULL && strlen(value) <= 4096) {
            struct buf quoted;
            struct jsonw k;
            buf_init(&quoted, 4096);
            jsonw_init(&k, &quoted);
            (void)jsonw_escape(&quoted, key, true);
            if (buf_status(&quoted) == STATUS_OK && quoted.len > 0) {
                jsonw_key(&w, quoted.ptr);
                jsonw_raw(&w, str_from(value));
            }
            buf_deinit(&quoted);
        }
    }
    jsonw_close(&w, '}');
    return take(q, &b);
}

/* ---- writing ---- */

static void put(struct request *q, struct audit_item *a, struct audit_item *b, audit_done_fn done)
{
    http_request_hold(q->http);
    if (a != NULL) {
        a->next = b;
    }
    audit_put(q->serve->audit, a, done, q);
}

static const char refusal[] =
    "The audit cannot be written, so nothing is answered: an administrator finds the reason in "
    "GET /api/status and in the log.";

static void refuse(struct request *q)
{
    http_header(q->http, "Retry-After", "2");
    api_error(q, 503, NULL, "audit_unavailable", refusal);
}

/* "close" is in the audit, or cannot be: the answer that waits goes out, or 503 in its place. */
static void on_closed(const struct error *err, void *data)
{
    struct request *q = data;
    struct http_request *r = q->http;
    void (*then)(struct request *, const struct error *) = q->audit.then;
    q->audit.state = AUDIT_CALL_CLOSED;
    q->audit.then = NULL;
    if (then != NULL) {
        then(q, err);
    } else if (!http_request_gone(r)) {
        if (err->code == STATUS_OK) {
            http_gate_open(r);
        } else if (http_gate_refuse(r)) {
            refuse(q);
        }
    }
    http_request_release(r);
}

static void write_close(struct request *q)
{
    struct audit_call *c = &q->audit;
    struct audit_item *close = close_item(q);
    if (c->state == AUDIT_CALL_NEW) {
        struct audit_item *open = close == NULL ? NULL : open_item(q);
        if (open == NULL) {
            audit_item_free(close);
            close = NULL;
        }
        c->state = AUDIT_CALL_CLOSING;
        put(q, open, close, on_closed);
    } else {
        c->state = AUDIT_CALL_CLOSING;
        put(q, close, NULL, on_closed);
    }
}

/* http.h: is this answer to wait? */
static bool gate(struct http_request *r, int status)
{
    struct request *q = r->data;
    struct audit_call *c = &q->audit;
    if (c->state != AUDIT_CALL_NEW && c->state != AUDIT_CALL_OPEN) {
        return false; /* closed: by chat.c, or this is the refusal */
    }
    if (q->who == NULL && status == 429 && c->state == AUDIT_CALL_NEW) {
        c->state = AUDIT_CALL_NONE; /* counted (refused.h): the chain takes no flood */
        return false;
    }
    c->status = status;
    q->on_gone = NULL;                       /* it has answered */
    share_leave(q->serve->share, &q->place); /* the cores are free while the disk writes */
    if (act_of(q) != NULL) {
        c->details = details(q);
    }
    return true;
}

static void gate_kept(struct http_request *r)
{
    write_close(r->data);
}

/* ---- open ---- */

/* The client left while it was being written. */
static void close_after(struct request *q)
{
    q->audit.state = AUDIT_CALL_OPEN;
    q->audit.then = NULL;
    write_close(q);
}

static void on_opened(const struct error *err, void *data)
{
    struct request *q = data;
    struct http_request *r = q->http;
    void (*then)(struct request *, const struct error *) = q->audit.then;
    q->audit.then = NULL;
    if (http_request_gone(r)) {
        if (err->code == STATUS_OK) {
            close_after(q);
        }
    } else if (err->code == STATUS_OK) {
        q->audit.state = AUDIT_CALL_OPEN;
        if (then != NULL) {
            then(q, err);
        } else {
            q->match.route->handler(q);
        }
    } else {
        q->audit.state = AUDIT_CALL_CLOSED;
        if (then != NULL) {
            then(q, err);
        } else {
            refuse(q);
        }
    }
    http_request_release(r);
}

void audit_open_now(struct request *q, void (*then)(struct request *q, const struct error *err))
{
    q->audit.then = then;
    q->audit.state = AUDIT_CALL_OPENING;
    put(q, open_item(q), NULL, on_opened);
}

void audit_close_now(struct request *q, void (*then)(struct request *q, const struct error *err))
{
    q->audit.then = then;
    write_close(q);
}

void audit_begin(struct request *q)
{
    const struct route *route = q->match.route;
    struct audit_call *c = &q->audit;
    bool reads = route->verb == VERB_GET || strcmp(route->pattern, "/api/show") == 0;
    bool none =
        route->act == NULL &&
        ((reads && listed(left_out, sizeof left_out / sizeof left_out[0], route->pattern)) ||
         (q->who == NULL && route->roles == ROLES_OPEN));
    if (none) {
        route->handler(q);
        return;
    }
    memcpy(c->id, q->http->id, sizeof c->id); /* what the client was told, and the log says */
    c->state = AUDIT_CALL_NEW;
    c->started_ms = clock_monotonic_ms();
    c->late = q->who == NULL ||
              (route->act == NULL && listed(late, sizeof late / sizeof late[0], route->pattern));
    q->http->gate = gate;
    q->http->gate_kept = gate_kept;
    if (c->late) {
        route->handler(q);
        return;
    }
    if (strstr(route->pattern, "/api/documents/{id}") != NULL) {
        char *id = arena_strndup(q->arena, q->match.params[0].ptr, q->match.params[0].len);
        if (id != NULL && route->act == NULL) {
            audit_note_document(q, id);
        }
    }
    audit_open_now(q, NULL);
}

void audit_begin_job(struct request *q, void (*handler)(struct request *q))
{
    memcpy(q->audit.id, q->http->id, sizeof q->audit.id);
    q->audit.state = AUDIT_CALL_NEW;
    q->audit.started_ms = clock_monotonic_ms();
    q->audit.late = true;
    q->http->gate = gate;
    q->http->gate_kept = gate_kept;
    handler(q);
}

void audit_over(struct request *q, int status)
{
    struct audit_call *c = &q->audit;
    if (c->state == AUDIT_CALL_NEW || c->state == AUDIT_CALL_OPEN) {
        c->status = status;
        c->outcome = c->outcome == NULL ? "cancelled" : c->outcome;
        write_close(q);
    } else if (c->state == AUDIT_CALL_OPENING) {
        c->outcome = "cancelled";
    }
}
