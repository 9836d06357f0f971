/* A write's way: precondition_begin -> (its turn) -> start -> (GET of the address, without a
 * connection: on_looked) -> audit_begin, or 412 -> precondition_over. */
#include "serve/precondition.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "serve/api.h"
#include "serve/json.h"
#include "serve/request.h"
#include "serve/service.h"

#define NO_TAG "What is at this address has no ETag to hold a condition against."

static bool asks(const struct http_head *h)
{
    return http_head_get(h, "if-match").ptr != NULL ||
           http_head_get(h, "if-none-match").ptr != NULL ||
           http_head_get(h, "if-unmodified-since").ptr != NULL;
}

static bool uploads(const struct request *q)
{
    return q->match.route->handler == api_documents_upload;
}

static bool same_address(const struct write_turn *a, const struct write_turn *b)
{
    bool path =
        a->path == NULL || b->path == NULL ? a->path == b->path : strcmp(a->path, b->path) == 0;
    return path && str_eq(a->q->http->head->path, b->q->http->head->path) &&
           strcmp(a->q->who->tenant, b->q->who->tenant) == 0;
}

/* Does a write that came before go first? */
static bool must_wait(const struct write_turn *t)
{
    const struct list *all = &t->q->serve->writes;
    for (struct list *it = all->next; it != all && it != &t->link; it = it->next) {
        const struct write_turn *before = list_entry(it, struct write_turn, link);
        if ((before->conditional || t->conditional) && same_address(before, t)) {
            return true;
        }
    }
    return false;
}

/* "" where GET says nothing of it. */
static void modified_of(const struct http_request *look, char *out, size_t cap)
{
    static const char name[] = "Last-Modified: ";
    const char *at = look->headers.len == 0
                         ? NULL
                         : memmem(look->headers.ptr, look->headers.len, name, sizeof name - 1);
    out[0] = '\0';
    if (at != NULL) {
        at += sizeof name - 1;
        size_t n = strcspn(at, "\r\n");
        if (n < cap) {
            memcpy(out, at, n);
            out[n] = '\0';
        }
    }
}

/* What is there: the tag of what GET says of it, and of a file's bytes too ("" where there is
 * none). */
struct there {
    char etag[HTTP_JSON_ETAG_CAP], file[SHA256_HEX_CAP + 2], modified[HTTP_DATE_CAP];
};

static bool listed(const struct http_head *h, const char *header, const struct there *t, bool weak)
{
    return http_etag_listed(h, header, t->etag, weak) ||
           (t->file[0] != '\0' && http_etag_listed(h, header, t->file, weak));
}

/* RFC 9110 13.2.2, of what is there. */
static bool holds(const struct http_head *h, const struct there *t)
{
    struct str since = http_head_get(h, "if-unmodified-since");
    int64_t asked;
    int64_t last;
    if (http_head_get(h, "if-match").ptr != NULL) {
        if (!listed(h, "if-match", t, false)) {
            return false;
        }
    } else if (since.ptr != NULL && http_date_read(since, &asked) &&
               http_date_read(str_from(t->modified), &last) && last > asked) {
        return false;
    }
    return http_head_get(h, "if-none-match").ptr == NULL || !listed(h, "if-none-match", t, true);
}

static void failed(struct request *q, const char *message)
{
    api_error(q, 412, NULL, "precondition_failed", message);
}

static void file_tag(struct str document, struct there *t)
{
    struct error err;
    struct json *j = NULL;
    t->file[0] = '\0';
    if (jsonr_read(document, &j, &err) == STATUS_OK) {
        struct str hash = jsonr_str(jsonr_get(j, "hash"));
        if (hash.len == SHA256_HEX_CAP - 1) {
            (void)snprintf(t->file, sizeof t->file, "\"%.*s\"", (int)hash.len, hash.ptr);
        }
    }
    jsonr_free(j);
}

static void on_looked(void *data, int status, struct str body)
{
    struct request *q = data;
    const struct http_head *h = q->http->head;
    struct there t = {.file = ""};
    modified_of(q->turn->look, t.modified, sizeof t.modified);
    q->turn->look = NULL;
    q->on_gone = NULL;
    bool met = true; /* without the condition it would be refused too: RFC 9110 13.2.1 */
    if (status == 200) {
        http_json_etag(body, false, t.etag);
        if (uploads(q)) {
            file_tag(body, &t);
        }
        met = holds(h, &t);
    } else if (status == 404 && uploads(q)) {
        met = http_head_get(h, "if-match").ptr == NULL;
    } else if (status == 400) { /* a list that is streamed has no ETag */
        failed(q, NO_TAG);
        return;
    } else if (uploads(q)) {
        api_error(q, 503, NULL, "unavailable",
                  "What stands at this path cannot be looked at now: try again.");
        return;
    }
    if (met) {
        audit_begin(q);
    } else {
        failed(q, "It is not, or no longer, what If-Match, If-None-Match or "
                  "If-Unmodified-Since names: GET it again.");
    }
}

static void on_gone(struct request *q)
{
    struct http_request *look = q->turn->look;
    q->turn->look = NULL;
    if (look != NULL) {
        http_request_drop(look);
    }
}

/* What ?path= says its fields may unsay, and it may hold several files. */
static bool sends_form(const struct request *q)
{
    struct str type = http_head_get(q->http->head, "content-type");
    return type.len >= 10 && strncasecmp(type.ptr, "multipart/", 10) == 0;
}

static void look(struct request *q)
{
    struct http_request *r;
    struct request *g;
    struct route_match match;
    struct error err;
    route_find(serve_routes, serve_routes_n, VERB_GET, q->http->head->path, &match);
    if (match.route == NULL) {
        failed(q, NO_TAG);
        return;
    }
    if (uploads(q) && (q->turn->path == NULL || sends_form(q))) {
        failed(q, "A form names its files too late for a condition: send one file, named by "
                  "?path=.");
        return;
    }
    if (match.route->roles != ROLES_OPEN &&
        !auth_may(q->who, match.route->roles, match.route->scopes)) {
        api_refuse(q, match.route->roles, match.route->scopes);
        return;
    }
    r = http_request_detached(q->serve->http, on_looked, q);
    g = r == NULL ? NULL : api_request_new(q->serve, r);
    if (g == NULL) {
        if (r != NULL) {
            http_request_drop(r);
        }
        api_out_of_memory(q);
        return;
    }
    r->route = "condition";
    memcpy(r->peer, q->http->peer, sizeof r->peer);
    g->match = match;
    g->who = q->who;
    g->session = q->session;
    q->turn->look = r;
    q->on_gone = on_gone;
    if (serve_sign(g, q->http->deadline_ms - q->http->started_ms, &err) != STATUS_OK) {
        api_fail(g, &err);
        return;
    }
    if (uploads(q)) {
        g->op = (void *)(uintptr_t)q->turn->path;
        api_document_at(g);
    } else {
        match.route->handler(g);
    }
}

static void start(struct write_turn *t)
{
    t->waiting = false;
    if (t->conditional) {
        look(t->q);
    } else {
        audit_begin(t->q);
    }
}

/* As begin_file of api_upload.c puts it together. false: answered. */
static bool upload_path(struct request *q, const char **out)
{
    const char *collection = NULL;
    const char *path = NULL;
    *out = NULL;
    if (!api_query(q, "collection", &collection) || !api_query(q, "path", &path)) {
        return false;
    }
    if (path != NULL && path[0] != '\0') {
        bool bare = collection == NULL || collection[0] == '\0';
        *out = bare ? path : arena_printf(q->arena, "%s/%s", collection, path);
        if (*out == NULL) {
            api_out_of_memory(q);
            return false;
        }
    }
    return true;
}

void precondition_begin(struct request *q)
{
    struct route_match twin;
    bool conditional = asks(q->http->head);
    bool reads = q->match.route->verb == VERB_GET;
    route_find(serve_routes, serve_routes_n, VERB_GET, q->http->head->path, &twin);
    if (reads || q->who == NULL || (twin.route == NULL && !conditional)) {
        audit_begin(q);
        return;
    }
    struct write_turn *t = arena_alloc(q->arena, sizeof *t);
    if (t == NULL) {
        api_out_of_memory(q);
        return;
    }
    *t = (struct write_turn){.q = q, .conditional = conditional};
    if (uploads(q) && !upload_path(q, &t->path)) {
        return;
    }
    list_push(&q->serve->writes, &t->link);
    q->turn = t;
    if (must_wait(t)) {
        t->waiting = true;
    } else {
        start(t);
    }
}

void precondition_over(struct request *q)
{
    struct write_turn *t = q->turn;
    if (t == NULL) {
        return;
    }
    struct serve *s = q->serve;
    q->turn = NULL;
    list_remove(&t->link);
    bool any = true;
    while (any) { /* whoever starts may be over at once, so the list is looked through anew */
        any = false;
        list_for_each(it, &s->writes)
        {
            struct write_turn *next = list_entry(it, struct write_turn, link);
            if (next->waiting && !must_wait(next)) {
                any = true;
                start(next);
                break;
            }
        }
    }
}
