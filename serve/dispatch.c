/* From a head to its handler: host, route, key or session, rate, CSRF, the caller's signature. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/http/url.h"
#include "serve/origin.h"
#include "serve/request.h"
#include "serve/service.h"

#define CALLER_SLACK_MS 60000

/* While only this machine can reach us, a page of some web site could still have its own name point
 * here (DNS rebinding). It cannot have an IP address or "localhost" as its name. */
static bool host_ok(const struct serve *s, struct str host, bool by_proxy)
{
    /* HTTP/1.0 without Host comes from no browser; a proxy has a name of its own */
    if (!s->loopback || host.len == 0 || by_proxy) {
        return true;
    }
    char name[256];
    if (host.len >= sizeof name) {
        return false;
    }
    if (host.ptr[0] == '[') { /* an IPv6 literal */
        return true;
    }
    const char *colon = memchr(host.ptr, ':', host.len);
    size_t n = colon == NULL ? host.len : (size_t)(colon - host.ptr);
    memcpy(name, host.ptr, n);
    name[n] = '\0';
    struct in_addr v4;
    return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &v4) == 1 ||
           (n > 10 && strcasecmp(name + n - 10, ".localhost") == 0);
}

static bool retry_later(struct request *q, int64_t retry_s, const char *message)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)retry_s);
    http_header(q->http, "Retry-After", text);
    api_error(q, 429, NULL, "rate_limit_exceeded", message);
    return false;
}

static bool refuse_key(struct request *q, const char *message)
{
    int64_t retry_s;
    if (!auth_note_failure(q->serve->auth, q->http->peer, clock_monotonic_ms(), &retry_s)) {
        return retry_later(q, retry_s, "Too many wrong keys came from this address.");
    }
    http_header(q->http, "WWW-Authenticate", "Bearer realm=\"carrel\"");
    api_error(q, 401, NULL, "invalid_api_key", message);
    return false;
}

static bool by_key(struct request *q, struct str key)
{
    bool expired;
    struct principal *p = auth_key(q->serve->auth, key);
    if (p == NULL) {
        return refuse_key(q, "This key is not known here.");
    }
    const char *why = auth_key_now(q->serve->auth, p, q->http->peer, clock_wall_ms(), &expired);
    q->refused = p;
    if (why != NULL && expired) {
        return refuse_key(q, why);
    }
    if (why != NULL) {
        api_error(q, 403, NULL, "wrong_address", why);
        return false;
    }
    q->who = p;
    api_note_uses(q->serve);
    return true;
}

/* A session that was opened with a key goes no further than the key: not to another address. */
static bool by_session(struct request *q)
{
    struct principal *p = q->session->who;
    bool expired;
    q->refused = p;
    const char *why = p->key[0] == '\0' ? NULL
                                        : auth_key_now(q->serve->auth, p, q->http->peer,
                                                       clock_wall_ms(), &expired);
    if (why != NULL) {
        q->session = NULL;
        api_error(q, 403, NULL, "wrong_address", why);
        return false;
    }
    q->who = p;
    return true;
}

static bool known(struct request *q)
{
    struct auth *auth = q->serve->auth;
    struct str given = http_head_get(q->http->head, "authorization");
    struct str bare =
        http_head_get(q->http->head, "x-api-key"); /* as Anthropic's clients send it */
    if (given.len == 0 && bare.len > 0) {
        return by_key(q, bare);
    }
    if (given.len > 0) {
        if (given.len < 8 || strncasecmp(given.ptr, "Bearer ", 7) != 0) {
            return refuse_key(q, "Authorization must be: Bearer <key>.");
        }
        return by_key(q, (struct str){given.ptr + 7, given.len - 7});
    }
    struct str cookie = cookie_get(http_head_get(q->http->head, "cookie"), q->serve->cookie);
    if (cookie.len > 0) {
        q->session = auth_session(auth, cookie, clock_wall_ms());
        if (q->session != NULL) {
            return by_session(q);
        }
    }
    http_header(q->http, "WWW-Authenticate", "Bearer realm=\"carrel\"");
    api_error(q, 401, NULL, "invalid_api_key",
              cookie.len > 0 ? "This session is over: sign in again."
                             : "A key is needed: Authorization: Bearer <key>.");
    return false;
}

/* What is missing: the role, or a scope of the key. */
void api_refuse(struct request *q, unsigned roles, unsigned scopes)
{
    struct buf b;
    buf_init(&b, 512);
    if (!auth_may(q->who, roles, SCOPES_NONE)) {
        buf_printf(&b, "The role \"%s\" may not do that", role_name(q->who->role));
        buf_z(&b, roles == ROLE_BIT(ROLE_ADMIN) ? ": only an administrator may." : ".");
    } else if (scopes == SCOPE_PERSON) {
        buf_z(&b, "Only a person who signed in may do that: no key may.");
    } else {
        const char *between = "This key may not do that: it needs the scope ";
        for (unsigned i = 0; i < SCOPES_N; i++) {
            if ((scopes & 1U << i) != 0) {
                buf_printf(&b, "%s%s", between, scope_name(i));
                between = " or ";
            }
        }
        buf_z(&b, ".");
    }
    api_error(q, 403, NULL, "forbidden", buf_view(&b).ptr);
    buf_deinit(&b);
}

enum status serve_sign(struct request *q, int64_t life_ms, struct error *err)
{
    struct caller c = {
        .tenant = q->who->tenant,
        .user = q->who->user,
        .groups = q->who->groups,
        .n_groups = q->who->n_groups,
        .admin = q->who->admin,
        .collections = q->who->collections,
        .n_collections = q->who->n_collections,
        .expires_wall_ms = clock_wall_ms() + life_ms,
    };
    return caller_sign(&q->serve->svc->identity, &c, &q->http->asked, &q->token, &q->token_len,
                       err);
}

static bool allowed(struct request *q)
{
    const struct route *route = q->match.route;
    if (route->roles == ROLES_OPEN) {
        return true;
    }
    if (!known(q)) {
        return false;
    }
    /* a key comes from a program; a browser with a cookie can be made to ask by others */
    q->http->may_compress = q->session == NULL;
    if (!fair_admit(q)) {
        return false;
    }
    if (!auth_may(q->who, route->roles, route->scopes)) {
        api_refuse(q, route->roles, route->scopes);
        return false;
    }
    if (q->session != NULL && q->session->must_change && route->scopes != SCOPE_PERSON &&
        route->roles != ROLES_ALL) {
        api_error(q, 403, NULL, "password_change_required", "Choose a password of your own first.");
        return false;
    }
    if (route->csrf && q->session != NULL &&
        !auth_equal(http_head_get(q->http->head, "x-csrf-token"), str_from(q->session->csrf))) {
        api_error(q, 403, NULL, "csrf", "X-CSRF-Token is missing or not this session's.");
        return false;
    }
    struct error err;
    if (serve_sign(q, q->serve->settings->http.request_timeout_ms + CALLER_SLACK_MS, &err) !=
        STATUS_OK) {
        api_fail(q, &err);
        return false;
    }
    return true;
}

static void no_route(struct request *q)
{
    struct http_request *r = q->http;
    if (str_eq(r->head->path, STR("*"))) { /* RFC 9110 9.3.7: the server as a whole */
        http_header(r, "Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
        http_respond(r, 204, NULL, STR(""));
        return;
    }
    if (q->match.allow != 0) {
        struct buf b;
        buf_init(&b, 128);
        route_allow(q->match.allow, &b);
        http_header(r, "Allow", buf_view(&b).ptr);
        buf_deinit(&b);
        api_error(q, 405, NULL, "method_not_allowed", "This method is not for this address.");
        return;
    }
    bool reads = r->head->verb == VERB_GET || r->head->verb == VERB_HEAD;
    if (reads && q->serve->page != NULL) {
        r->route = "page";
        if (static_serve(q->serve->page, r)) {
            return;
        }
    } else if (reads && str_eq(r->head->path, STR("/"))) {
        http_respond(r, 503, "text/plain; charset=utf-8",
                     STR("The web page has not been built (serve/web/dist). The API works.\n"));
        return;
    }
    api_error(q, 404, NULL, "unknown_url", "There is nothing at this address.");
}

/* From whom it comes and how, as the connection or a proxy of ours says. */
static bool whence(struct request *q, bool *by_proxy)
{
    struct forwarded f;
    bool readable = forwarded_read(q->http->head, q->http->peer, &q->serve->proxies, &f);
    if (readable) {
        memcpy(q->http->peer, f.client, sizeof q->http->peer);
    }
    q->https = q->serve->tls != NULL || (readable && f.tls);
    *by_proxy = readable && f.told;
    return readable;
}

static void take_request(struct serve *s, struct http_request *r, struct request *q)
{
    bool by_proxy;
    if (!whence(q, &by_proxy)) {
        api_error(q, 400, NULL, "bad_forwarded",
                  "A proxy's X-Forwarded-For and Forwarded name no address, or two of them: let it "
                  "set one and remove the other.");
        return;
    }
    if (http_address_busy(r)) {
        (void)retry_later(q, 1,
                          "Too many requests of this address are being worked on: try again "
                          "shortly.");
        return;
    }
    if (!host_ok(s, r->head->host, by_proxy)) {
        api_error(
            q, 421, NULL, "wrong_host",
            "The Host header names a machine that this one is not: use localhost or the address.");
        return;
    }
    route_find(serve_routes, serve_routes_n, r->head->verb, r->head->path, &q->match);
    if (q->match.route == NULL) {
        no_route(q);
        return;
    }
    r->route = q->match.route->pattern;
    r->error_shape = q->match.route->errors;
    struct str coded = http_head_get(r->head, "content-encoding");
    if (coded.len > 0 && !(coded.len == 8 && strncasecmp(coded.ptr, "identity", 8) == 0)) {
        http_header(r, "Accept-Encoding", "identity"); /* RFC 9110 12.5.3 */
        api_error(q, 415, NULL, "unsupported_encoding",
                  "Bodies are taken as they are: send it without Content-Encoding.");
    } else if (origin_websocket(r->head)) {
        api_error(q, 400, NULL, "no_websocket", "WebSocket is not spoken here.");
    } else if (origin_foreign(r->head)) {
        api_error(q, 403, NULL, "cross_site", "Pages of other sites may not ask here.");
    } else if (allowed(q)) {
        precondition_begin(q);
    }
}

void serve_on_request(struct http_request *r, void *serve)
{
    struct request *q = api_request_new(serve, r);
    struct effort_use work;
    r->route = "none";
    if (q == NULL) {
        http_respond_error(r, 503, "server_error", NULL, "no_memory", "Out of memory.");
        return;
    }
    api_work_begin(q, &work);
    take_request(serve, r, q);
    api_work_end(&work);
}

void serve_on_done(struct http_request *r, int status, void *serve)
{
    struct serve *s = serve;
    int digit = status / 100;
    s->by_class[digit >= 0 && digit < STATUS_CLASSES ? digit : 0]++;
    if (r == NULL) {
        LOG_INFO("refused before a request", LOG_INT("status", status), LOG_END);
        return;
    }
    struct request *q = r->data;
    if (q != NULL) {
        api_cancel_calls(q);
        share_leave(s->share, &q->place);
        fair_done(q, status);
        effort_end(&q->effort);
        audit_over(q, status);
        precondition_over(q);
        jsonr_free(q->body);
        jsonr_free(q->translated);
        q->body = q->translated = NULL;
        buf_deinit(&q->out);
    }
    LOG_INFO("request", LOG_STR("req", r->id), LOG_STR("route", r->route),
             LOG_INT("status", status), LOG_INT("dur_ms", clock_monotonic_ms() - r->started_ms),
             LOG_INT("bytes", r->bytes_out),
             LOG_STR("tenant", q == NULL || q->who == NULL ? "" : q->who->tenant), LOG_END);
}
