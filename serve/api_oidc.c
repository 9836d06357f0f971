/* Signing in with OpenID Connect: authorization code with PKCE.
 *
 *   GET /api/oidc/start      a flow into the browser's cookie; the browser goes to the provider
 *   GET /api/oidc/callback   and comes back with a code:
 *     begun -> metadata -> token -> keys -> (userinfo) -> account -> a session, and on to the page
 *
 * The callback comes from another site, so the flow's cookie is SameSite=Lax: browsers send it with
 * a top-level GET and nothing else. The session's stays Strict: it is set here, and the page that
 * the browser is sent on to needs none until its own scripts ask. Functions stand in the order they
 * run. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/api.h"
#include "serve/http/url.h"
#include "serve/idp.h"
#include "serve/oidc.h"
#include "serve/oidc_reply.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/users.h"

#define REPLY_MAX ((size_t)256 * 1024)
#define FORM_MAX ((size_t)32 * 1024)
#define TOKEN_AGE_S 600
#define LOGOUT_EVENT "http://schemas.openid.net/event/backchannel-logout"

struct sign_in {
    struct request *q;
    struct oidc *o;
    struct oidc_flow flow;
    struct oidc_metadata metadata; /* as it was when the browser came back */
    struct oidc_wait wait;
    struct outbound_call *call; /* NULL: none under way */
    bool refetched;             /* the keys, for this token */
    bool logout;                /* a logout token of the provider's, and no browser */
    struct str token;           /* the ID token, or the logout token */
    struct str access;          /* ptr NULL: none */
    struct json *claims;        /* the request's (q->translated) */
    /* the account: what the lane works on */
    struct external_user account;
    struct idp_verdict verdict;
    struct user user;
    struct error err;
};

/* ---- the end ---- */

static void leave(struct sign_in *op)
{
    oidc_leave(&op->wait);
    if (op->call != NULL) {
        outbound_cancel(op->call);
        op->call = NULL;
    }
    op->q->on_gone = NULL;
    sodium_memzero(&op->flow, sizeof op->flow);
}

static void on_gone(struct request *q)
{
    leave(q->op);
}

static void flow_cookie(struct request *q, const struct oidc *o, const char *value, int seconds)
{
    char line[OIDC_COOKIE_CAP + 160];
    bool tls = q->https || strncasecmp(q->serve->settings->oidc.redirect_uri, "https://", 8) == 0;
    (void)snprintf(line, sizeof line, "%s=%s; Path=/api/oidc; Max-Age=%d; HttpOnly; SameSite=Lax%s",
                   o->cookie, value, seconds, tls ? "; Secure" : "");
    http_header(q->http, "Set-Cookie", line);
}

static void go_on(struct request *q, const char *where)
{
    http_header(q->http, "Location", where);
    http_header(q->http, "Cache-Control", "no-store");
    http_respond(q->http, 303, NULL, STR(""));
}

/* code: which sentence the page shows (serve/web/src/signin.ts). The reason is for the log: it
 * names no token and no person. */
static void refuse(struct request *q, const char *code, const char *reason)
{
    char where[64];
    LOG_WARN("a sign-in by the provider was refused", LOG_STR("req", q->http->id),
             LOG_STR("code", code), LOG_STR("err", reason), LOG_END);
    (void)snprintf(where, sizeof where, "/?signin=%s", code);
    go_on(q, where);
}

static void fail(struct sign_in *op, const char *code, const struct error *err)
{
    struct request *q = op->q;
    struct error why = *err;
    leave(op);
    if (op->logout) { /* OpenID Connect Back-Channel Logout 1.0 section 2.8 */
        LOG_WARN("a logout by the provider was refused", LOG_STR("err", why.text), LOG_END);
        http_header(q->http, "Cache-Control", "no-store");
        bool down = why.code == STATUS_UNAVAILABLE || why.code == STATUS_DEADLINE;
        api_error(q, down ? 503 : 400, "logout_token", "invalid_request", why.text);
        return;
    }
    refuse(q, code, why.text);
}

static const char *code_of(const struct error *err)
{
    switch ((int)err->code) {
    case STATUS_UNAVAILABLE:
    case STATUS_DEADLINE:
    case STATUS_BUSY:
    case STATUS_NO_MEMORY:
        return "unavailable";
    default:
        return "provider";
    }
}

/* ---- the account ---- */

static void on_lane(void *job)
{
    struct sign_in *op = job;
    op->err.code = auth_store_external(op->q->serve->svc->home, &op->account, &op->user, &op->err);
}

static void on_account(void *job)
{
    struct sign_in *op = job;
    struct request *q = op->q;
    struct serve *serve = q->serve;
    struct http_request *http = q->http;
    char token[SECRET_CAP];
    const struct session *session;
    if (http_request_gone(http)) {
        /* nobody is there to be signed in; the account stands as the provider says it does */
    } else if (op->err.code != STATUS_OK) {
        refuse(q, "unavailable", op->err.text);
    } else if (auth_session_for_external(serve->auth, &op->user, clock_wall_ms(), token, &session,
                                         &op->err) != STATUS_OK) {
        refuse(q, op->err.code == STATUS_FORBIDDEN ? "disabled" : "unavailable", op->err.text);
    } else {
        api_session_cookie(q, token);
        explicit_bzero(token, sizeof token);
        go_on(q, op->flow.return_to);
    }
    http_request_release(http);
    serve_admin_done(serve);
}

static enum status judge(struct sign_in *op, const struct json *groups, struct error *err)
{
    const struct settings *s = op->o->settings;
    bool one = jsonr_kind(groups) == JSON_KIND_STRING;
    size_t n = one ? 1 : jsonr_kind(groups) == JSON_KIND_ARRAY ? jsonr_len(groups) : 0;
    if (n > IDP_GROUPS_MAX) {
        return error_set(err, STATUS_FORBIDDEN, "the provider names more than %d groups",
                         IDP_GROUPS_MAX);
    }
    struct idp_group *in = arena_array(op->q->arena, n + 1, sizeof *in);
    if (in == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        in[i] = (struct idp_group){.name = jsonr_str(one ? groups : jsonr_at(groups, i))};
    }
    return idp_judge(s, s->oidc.default_role, in, n, false, &op->verdict, err);
}

/* userinfo: NULL: not asked for. */
static void take_account(struct sign_in *op, const struct json *userinfo)
{
    struct request *q = op->q;
    const struct settings *s = op->o->settings;
    struct str sub = jsonr_str(jsonr_get(op->claims, "sub"));
    const struct json *groups = oidc_claim(op->claims, s->oidc.groups_claim);
    struct error err;
    groups = groups != NULL ? groups : oidc_claim(userinfo, s->oidc.groups_claim);
    if (judge(op, groups, &err) != STATUS_OK) {
        fail(op, err.code == STATUS_FORBIDDEN ? "role" : "unavailable", &err);
        return;
    }
    op->account = (struct external_user){
        .tenant = s->oidc.tenant,
        .issuer = s->oidc.issuer,
        .subject = arena_strndup(q->arena, sub.ptr, sub.len),
        .name = oidc_shown_name(s->oidc.name_claim, op->claims, userinfo, q->arena),
        .role = op->verdict.role,
        .groups = op->verdict.groups,
        .n_groups = op->verdict.n_groups,
    };
    if (op->account.subject == NULL || op->account.name == NULL) {
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        fail(op, "unavailable", &err);
        return;
    }
    char return_to[OIDC_RETURN_CAP];
    memcpy(return_to, op->flow.return_to, sizeof return_to);
    leave(op);
    memcpy(op->flow.return_to, return_to, sizeof return_to);
    http_request_hold(q->http);
    if (lane_submit(&q->serve->admin, on_lane, on_account, op, &err) != STATUS_OK) {
        http_request_release(q->http);
        refuse(q, "unavailable", err.text);
    }
}

/* ---- userinfo, where the ID token says nothing of groups ---- */

static void on_userinfo(void *data, const struct outbound_reply *r)
{
    struct sign_in *op = data;
    struct json *doc;
    struct error err;
    op->call = NULL;
    if (oidc_read_userinfo(r, jsonr_str(jsonr_get(op->claims, "sub")), &doc, &err) != STATUS_OK) {
        fail(op, code_of(&err), &err);
    } else {
        take_account(op, doc);
    }
    jsonr_free(doc);
}

static enum status ask(struct sign_in *op, const char *url, const char *const *headers, size_t n,
                       struct str form, void (*done)(void *, const struct outbound_reply *),
                       struct error *err)
{
    const struct outbound_request r = {
        .what = "the sign-in provider",
        .method = form.len > 0 ? "POST" : "GET",
        .url = url,
        .headers = headers,
        .n_headers = n,
        .body = form,
        .ca_file = op->o->settings->oidc.ca_file,
        .max_reply_bytes = REPLY_MAX,
        .timeout_ms = op->o->settings->oidc.timeout_ms,
        .done = done,
        .data = op,
    };
    return outbound_start(op->o->outbound, &r, &op->call, err);
}

static void ask_userinfo(struct sign_in *op)
{
    struct buf line;
    struct error err;
    buf_init(&line, JWT_BYTES_MAX + 64);
    buf_printf(&line, "Authorization: Bearer %.*s", STR_ARG(op->access));
    const char *const headers[] = {"Accept: application/json", buf_view(&line).ptr};
    enum status s = buf_status(&line);
    if (s != STATUS_OK) {
        (void)error_set(&err, STATUS_INVALID, "the provider's access token is too long");
    } else {
        s = ask(op, op->metadata.userinfo, headers, 2, STR(""), on_userinfo, &err);
    }
    buf_deinit(&line);
    if (s != STATUS_OK) {
        fail(op, code_of(&err), &err);
    }
}

/* ---- the token, believed ---- */

static void end_sessions(struct sign_in *op)
{
    struct request *q = op->q;
    struct auth *auth = q->serve->auth;
    const struct json *events = jsonr_get(op->claims, "events");
    struct str sub = jsonr_str(jsonr_get(op->claims, "sub"));
    struct error err;
    if (jsonr_kind(jsonr_get(events, LOGOUT_EVENT)) != JSON_KIND_OBJECT) {
        (void)error_set(&err, STATUS_INVALID, "the token is no logout token (events)");
        fail(op, "provider", &err);
        return;
    }
    size_t pos = 0;
    for (const struct user *u = auth_next_user(auth, &pos); u != NULL;
         u = auth_next_user(auth, &pos)) {
        if (strcmp(u->issuer, op->o->settings->oidc.issuer) == 0 &&
            str_eq(str_from(u->subject), sub)) {
            auth_sessions_end(auth, u->who.user, NULL);
        }
    }
    leave(op);
    http_header(q->http, "Cache-Control", "no-store");
    http_respond(q->http, 200, NULL, STR(""));
}

static void verify(struct sign_in *op);

static void on_keys(void *data, const struct error *err)
{
    struct sign_in *op = data;
    if (err != NULL) {
        fail(op, code_of(err), err);
        return;
    }
    verify(op);
}

static void want_keys(struct sign_in *op, bool again)
{
    struct error err;
    op->wait.then = on_keys;
    op->wait.data = op;
    if (oidc_want(op->o, OIDC_KEYS, again, &op->wait, &err) != STATUS_OK) {
        fail(op, code_of(&err), &err);
    }
}

static void verify(struct sign_in *op)
{
    const struct settings *s = op->o->settings;
    const struct jwk_set *keys = oidc_keys(op->o, clock_monotonic_ms());
    struct error err;
    if (keys == NULL) {
        want_keys(op, false);
        return;
    }
    const struct jwt_expect want = {
        .issuer = s->oidc.issuer,
        .audience = s->oidc.client_id,
        .nonce = op->logout ? NULL : op->flow.nonce,
        .now_s = clock_wall_ms() / 1000,
        .slack_s = s->oidc.clock_slack_ms / 1000,
        .max_age_s = TOKEN_AGE_S,
    };
    enum status st =
        jwt_open(op->token, keys, op->logout ? "logout+jwt" : NULL, &want, &op->claims, &err);
    op->q->translated = op->claims;
    if (st == STATUS_NOT_FOUND && !op->refetched) { /* it may have new keys */
        op->refetched = true;
        want_keys(op, true);
    } else if (st != STATUS_OK) {
        fail(op, "provider", &err);
    } else if (op->logout) {
        end_sessions(op);
    } else {
        if (oidc_claim(op->claims, s->oidc.groups_claim) == NULL &&
            op->metadata.userinfo[0] != '\0' && op->access.ptr != NULL) {
            ask_userinfo(op);
        } else {
            take_account(op, NULL);
        }
    }
}

/* ---- the code for a token ---- */

static void on_tokens(void *data, const struct outbound_reply *r)
{
    struct sign_in *op = data;
    struct error err;
    op->call = NULL;
    if (oidc_read_tokens(r, op->q->arena, &op->token, &op->access, &err) != STATUS_OK) {
        fail(op, code_of(&err), &err);
        return;
    }
    verify(op);
}

static void ask_tokens(struct sign_in *op, struct str code)
{
    struct buf form;
    struct buf line;
    struct error err;
    buf_init(&form, FORM_MAX);
    buf_init(&line, FORM_MAX);
    oidc_token_form(&op->metadata, op->o->settings, op->o->secret, code, &op->flow, &form, &line);
    const char *const headers[] = {"Accept: application/json",
                                   "Content-Type: application/x-www-form-urlencoded",
                                   buf_view(&line).ptr};
    enum status s = buf_status(&form) != STATUS_OK ? buf_status(&form) : buf_status(&line);
    if (s != STATUS_OK) {
        (void)error_set(&err, STATUS_INVALID, "what is to be sent to the provider is too long");
    } else {
        s = ask(op, op->metadata.token, headers, line.len > 0 ? 3 : 2, buf_view(&form), on_tokens,
                &err);
    }
    sodium_memzero(line.ptr == NULL ? (char[1]){0} : line.ptr, line.len);
    buf_deinit(&line);
    buf_deinit(&form);
    if (s != STATUS_OK) {
        fail(op, code_of(&err), &err);
    }
}

/* ---- the browser is back ---- */

static void on_metadata(void *data, const struct error *failed)
{
    struct sign_in *op = data;
    struct request *q = op->q;
    const struct oidc_metadata *m = oidc_metadata(op->o, clock_monotonic_ms());
    struct str code;
    struct error err;
    if (failed != NULL || m == NULL) {
        (void)error_set(&err, STATUS_UNAVAILABLE, "%s",
                        failed != NULL ? failed->text : "the provider is not known");
        fail(op, "unavailable", failed != NULL ? failed : &err);
        return;
    }
    op->metadata = *m;
    if (op->logout) {
        verify(op);
        return;
    }
    switch (oidc_read_callback(q->http->head->query, m, op->o->settings->oidc.issuer, &op->flow,
                               q->arena, &code)) {
    case OIDC_CODE:
        ask_tokens(op, code);
        return;
    case OIDC_REFUSED:
        (void)error_set(&err, STATUS_FORBIDDEN, "the provider, or the person there, said no");
        fail(op, "denied", &err);
        return;
    case OIDC_STRANGE:
        (void)error_set(&err, STATUS_FORBIDDEN, "what came back is not of this flow (state, iss)");
        fail(op, "flow", &err);
        return;
    }
}

static void want_metadata(struct sign_in *op)
{
    struct error err;
    if (oidc_metadata(op->o, clock_monotonic_ms()) != NULL) {
        on_metadata(op, NULL);
        return;
    }
    op->wait.then = on_metadata;
    op->wait.data = op;
    if (oidc_want(op->o, OIDC_METADATA, false, &op->wait, &err) != STATUS_OK) {
        fail(op, code_of(&err), &err);
    }
}

static struct sign_in *begin(struct request *q)
{
    struct sign_in *op = arena_alloc(q->arena, sizeof *op);
    if (op == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    memset(op, 0, sizeof *op);
    op->q = q;
    op->o = q->serve->oidc;
    q->op = op;
    q->on_gone = on_gone;
    return op;
}

static bool configured(struct request *q)
{
    if (q->serve->oidc == NULL) {
        api_error(q, 404, NULL, "unknown_url", "No provider is configured (oidc.issuer).");
        return false;
    }
    return true;
}

void api_oidc_callback(struct request *q)
{
    struct oidc_flow flow;
    if (!configured(q)) {
        return;
    }
    struct oidc *o = q->serve->oidc;
    struct str to = http_head_get(q->http->head, "sec-fetch-dest");
    struct str sealed = cookie_get(http_head_get(q->http->head, "cookie"), o->cookie);
    bool known = oidc_flow_open(sealed, o->seal, clock_wall_ms(), &flow);
    flow_cookie(q, o, "", 0); /* whatever comes of it, once is enough */
    if (to.len > 0 && !str_eq(to, STR("document"))) {
        refuse(q, "flow", "the callback is a page of its own, no frame and no picture");
        return;
    }
    if (!known) {
        refuse(q, "flow", "the browser brought no flow, or one that is over");
        return;
    }
    struct sign_in *op = begin(q);
    if (op != NULL) {
        op->flow = flow;
        want_metadata(op);
    }
    sodium_memzero(&flow, sizeof flow);
}

/* ---- the browser goes away ---- */

static void send_away(struct sign_in *op)
{
    struct request *q = op->q;
    char sealed[OIDC_COOKIE_CAP];
    struct buf url;
    buf_init(&url, 4 * OIDC_URL_MAX);
    oidc_authorization_url(&op->metadata, op->o->settings, &op->flow, &url);
    enum status s = buf_status(&url);
    oidc_flow_seal(&op->flow, op->o->seal, sealed);
    leave(op);
    if (s != STATUS_OK) {
        refuse(q, "provider", "the provider's authorization_endpoint is too long");
    } else {
        flow_cookie(q, op->o, sealed, (int)(OIDC_FLOW_MS / 1000));
        go_on(q, buf_view(&url).ptr);
    }
    buf_deinit(&url);
}

static void on_metadata_to_go(void *data, const struct error *failed)
{
    struct sign_in *op = data;
    const struct oidc_metadata *m = oidc_metadata(op->o, clock_monotonic_ms());
    struct error none = {STATUS_UNAVAILABLE, "the provider is not known"};
    if (failed != NULL || m == NULL) {
        fail(op, "unavailable", failed != NULL ? failed : &none);
        return;
    }
    op->metadata = *m;
    send_away(op);
}

/* The flow's cookie belongs to the host that the browser will come back to: where it came by
 * another name (localhost, an address) it goes there first. here=1: it did, whatever a proxy makes
 * of Host. */
static bool elsewhere(struct request *q, struct str return_to)
{
    const char *uri = q->serve->settings->oidc.redirect_uri;
    char origin[OIDC_URL_MAX];
    struct str here;
    if (!oidc_origin(uri, origin, sizeof origin) ||
        url_query(q->http->head->query, "here", q->arena, &here, NULL) != STATUS_OK ||
        here.ptr != NULL || str_eq(q->http->head->host, str_from(strstr(origin, "://") + 3))) {
        return false;
    }
    struct buf url;
    buf_init(&url, 4 * OIDC_URL_MAX);
    buf_printf(&url, "%s/api/oidc/start?here=1&return=", origin);
    oidc_encode(&url, return_to);
    bool ok = buf_status(&url) == STATUS_OK;
    if (ok) {
        go_on(q, buf_view(&url).ptr);
    }
    buf_deinit(&url);
    return ok;
}

void api_oidc_start(struct request *q)
{
    struct str return_to;
    struct error err;
    if (!configured(q)) {
        return;
    }
    if (url_query(q->http->head->query, "return", q->arena, &return_to, NULL) != STATUS_OK ||
        return_to.ptr == NULL) {
        return_to = STR("/");
    }
    if (elsewhere(q, return_to)) {
        return;
    }
    struct sign_in *op = begin(q);
    if (op == NULL) {
        return;
    }
    oidc_flow_new(return_to, clock_wall_ms(), &op->flow);
    if (oidc_metadata(op->o, clock_monotonic_ms()) != NULL) {
        on_metadata_to_go(op, NULL);
        return;
    }
    op->wait.then = on_metadata_to_go;
    op->wait.data = op;
    if (oidc_want(op->o, OIDC_METADATA, false, &op->wait, &err) != STATUS_OK) {
        fail(op, code_of(&err), &err);
    }
}

/* ---- the provider ends somebody's sessions ---- */

static void on_form(struct http_request *http, struct str body)
{
    struct request *q = http->data;
    struct str token;
    struct error err;
    if (url_query(body, "logout_token", q->arena, &token, &err) != STATUS_OK || token.ptr == NULL) {
        api_error(q, 400, "logout_token", "invalid_request", "logout_token is missing.");
        return;
    }
    struct sign_in *op = begin(q);
    if (op != NULL) {
        op->logout = true;
        op->token = token;
        want_metadata(op);
    }
}

void api_oidc_logout(struct request *q)
{
    if (configured(q)) {
        http_body_collect(q->http, FORM_MAX + JWT_BYTES_MAX, on_form);
    }
}
