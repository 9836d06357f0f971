/* A write's way: precondition_begin -> (its turn) -> start -> (GET of the address, without a
 * connection: on_looked) -> audit_begin, or 412 -> precondition_over. */
#include "serve/precondition.h"

#include <string.h>
#include <strings.h>

#include "serve/request.h"
#include "serve/service.h"

static bool asks(const struct http_head *h)
{
    return http_head_get(h, "if-match").ptr != NULL ||
           http_head_get(h, "if-none-match").ptr != NULL ||
           http_head_get(h, "if-unmodified-since").ptr != NULL;
}

static bool same_address(const struct request *a, const struct request *b)
{
    return str_eq(a->http->head->path, b->http->head->path) &&
           strcmp(a->who->tenant, b->who->tenant) == 0;
}

/* Does a write that came before go first? */
static bool must_wait(const struct write_turn *t)
{
    const struct list *all = &t->q->serve->writes;
    for (struct list *it = all->next; it != all && it != &t->link; it = it->next) {
        const struct write_turn *before = list_entry(it, struct write_turn, link);
        if ((before->conditional || t->conditional) && same_address(before->q, t->q)) {
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

/* RFC 9110 13.2.2, of what is there. */
static bool holds(const struct http_head *h, const char *etag, const char *modified)
{
    struct str since = http_head_get(h, "if-unmodified-since");
    int64_t asked;
    int64_t last;
    if (http_head_get(h, "if-match").ptr != NULL) {
        if (!http_etag_listed(h, "if-match", etag, false)) {
            return false;
        }
    } else if (since.ptr != NULL && http_date_read(since, &asked) &&
               http_date_read(str_from(modified), &last) && last > asked) {
        return false;
    }
    return http_head_get(h, "if-none-match").ptr == NULL ||
           !http_etag_listed(h, "if-none-match", etag, true);
}

static void failed(struct request *q, const char *message)
{
    api_error(q, 412, NULL, "precondition_failed", message);
}

static void on_looked(void *data, int status, struct str body)
{
    struct request *q = data;
    char etag[HTTP_JSON_ETAG_CAP];
    char modified[HTTP_DATE_CAP];
    modified_of(q->turn->look, modified, sizeof modified);
    q->turn->look = NULL;
    q->on_gone = NULL;
    if (status == 200) {
        http_json_etag(body, false, etag);
        if (!holds(q->http->head, etag, modified)) {
            failed(q, "It is not, or no longer, what If-Match, If-None-Match or "
                      "If-Unmodified-Since names: GET it again.");
            return;
        }
    } else if (status == 400) { /* a list that is streamed has no ETag */
        failed(q, "What is at this address has no ETag to hold a condition against.");
        return;
    }
    audit_begin(q); /* without the condition it would be refused too: RFC 9110 13.2.1 */
}

static void on_gone(struct request *q)
{
    struct http_request *look = q->turn->look;
    q->turn->look = NULL;
    if (look != NULL) {
        http_request_drop(look);
    }
}

static void look(struct request *q)
{
    struct http_request *r;
    struct request *g;
    struct route_match match;
    struct error err;
    route_find(serve_routes, serve_routes_n, VERB_GET, q->http->head->path, &match);
    if (match.route == NULL) {
        failed(q, "What is at this address has no ETag to hold a condition against.");
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
    match.route->handler(g);
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
