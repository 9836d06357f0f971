/* The page's way in: a name, a password and a code, or a key; then a cookie that scripts cannot
 * read, and a token for writes.
 *
 *   on_json        who wants to sign in; address and name are asked how often they were wrong
 *   check          the password, on the lane; for a name that nobody has the same work
 *   checked        then the code, and what of the user has changed by it goes to the database
 *   opened         a new session; the one that the browser had is over */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lane.h"
#include "base/log.h"
#include "serve/account.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/http/url.h"
#include "serve/request.h"
#include "serve/service.h"

static void describe(struct request *q, int status, const struct principal *who,
                     const struct session *session)
{
    bool person = who->key[0] == '\0';
    struct jsonw w;
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "user", who->name);
    jsonw_field_z(&w, "user_id", who->user);
    jsonw_field_z(&w, "tenant", who->tenant);
    jsonw_field_bool(&w, "admin", who->admin);
    jsonw_field_z(&w, "role", role_name(who->role));
    api_scopes(&w, who);
    jsonw_field_bool(&w, "person", person);
    jsonw_field_bool(&w, "has_password", person && who->owner->password[0] != '\0');
    jsonw_field_bool(&w, "second_factor", person && who->owner->totp);
    if (session != NULL) {
        jsonw_field_bool(&w, "must_change_password", session->must_change);
        jsonw_field_z(&w, "csrf", session->csrf);
        jsonw_field_int(&w, "expires", session->expires_wall_ms / 1000);
    }
    api_object_end(q, status, &w);
}

static void set_cookie(struct request *q, const char *value, int64_t seconds)
{
    char line[256];
    (void)snprintf(line, sizeof line, "%s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s",
                   q->serve->cookie, value, (long long)seconds, q->https ? "; Secure" : "");
    http_header(q->http, "Set-Cookie", line);
}

void api_session_cookie(struct request *q, const char *token)
{
    set_cookie(q, token, q->serve->settings->http.session_hours * 3600);
}

void api_session_get(struct request *q)
{
    describe(q, 200, q->who, q->session);
}

/* Always a new token: one that somebody else put into the browser never becomes a session. */
static void opened(struct request *q, struct principal *who)
{
    struct serve *s = q->serve;
    char token[SECRET_CAP];
    const struct session *session;
    struct error err;
    struct str old = cookie_get(http_head_get(q->http->head, "cookie"), s->cookie);
    if (old.len > 0) {
        auth_session_end(s->auth, old);
    }
    if (auth_session_new(s->auth, who, clock_wall_ms(), token, &session, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    q->who = who;
    q->session = session;
    api_session_cookie(q, token);
    explicit_bzero(token, sizeof token);
    http_header(q->http, "Cache-Control", "no-store");
    describe(q, 201, who, session);
}

static void too_many(struct request *q, int64_t retry_s, const char *message)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)retry_s);
    http_header(q->http, "Retry-After", text);
    api_error(q, 429, NULL, "rate_limit_exceeded", message);
}

/* ---- by key ---- */

static void by_key(struct request *q, struct str key)
{
    struct serve *s = q->serve;
    bool expired = true;
    while (key.len > 0 && (unsigned char)key.ptr[key.len - 1] <= 0x20) {
        key.len--; /* pasted with its line end */
    }
    struct principal *who = auth_key(s->auth, key);
    const char *why = who == NULL
                          ? "This key is not known here."
                          : auth_key_now(s->auth, who, q->http->peer, clock_wall_ms(), &expired);
    int64_t retry_s = 1;
    if (why == NULL) {
        opened(q, who);
    } else if (!auth_note_failure(s->auth, q->http->peer, clock_monotonic_ms(), &retry_s)) {
        too_many(q, retry_s, "Too many wrong keys came from this address.");
    } else if (expired) {
        api_error(q, 401, "key", "invalid_api_key", why);
    } else {
        api_error(q, 403, "key", "wrong_address", why);
    }
}

/* ---- by name and password ---- */

struct signin {
    struct user *user; /* NULL: nobody has that name */
    char hash[PASSWORD_HASH_CAP];
    char password[PASSWORD_BYTES_MAX];
    size_t password_len;
    bool same;
    bool by_code; /* the code was right too */
    struct str code;
    struct user_change change;
};

static enum status check(void *op, struct error *err)
{
    struct signin *in = op;
    (void)err;
    in->same = password_check(in->hash, (struct str){in->password, in->password_len});
    explicit_bzero(in->password, sizeof in->password);
    return STATUS_OK;
}

/* One answer for a wrong name, a wrong password and a user who may not: nobody learns which. */
static void wrong(struct request *q, const struct signin *in)
{
    LOG_WARN("signing in failed", LOG_STR("req", q->http->id), LOG_STR("from", q->http->peer),
             LOG_STR("user", in->user == NULL ? "" : in->user->who.user), LOG_END);
    api_error(q, 401, NULL, "wrong_password", "Name and password do not belong together.");
}

/* He may, and the password that was looked at is still his: it may have been changed meanwhile. */
static bool may_enter(const struct signin *in)
{
    const struct user *u = in->user;
    return !u->disabled && !u->removed && strcmp(in->hash, u->password) == 0;
}

static void stored(struct request *q, const struct error *err)
{
    struct signin *in = q->op;
    if (http_request_gone(q->http)) {
        return;
    }
    if (err->code != STATUS_OK) {
        api_fail(q, err);
    } else if (!may_enter(in) || (in->user->totp && !in->by_code)) {
        wrong(q, in);
    } else {
        opened(q, &in->user->who);
    }
}

static void checked(struct request *q, const struct error *none)
{
    struct signin *in = q->op;
    struct user *u = in->user;
    unsigned what = USER_SEEN;
    struct error err;
    (void)none;
    if (http_request_gone(q->http)) {
        return;
    }
    if (u == NULL || !in->same || !may_enter(in)) {
        wrong(q, in);
        return;
    }
    if (u->totp && in->code.len == 0) {
        auth_attempt_undo(u);
        api_error(q, 401, "code", "code_required", "The code of your authenticator is needed too.");
        return;
    }
    struct user next = *u;
    if (u->totp && !account_code(&next, in->code, clock_wall_ms() / 1000, &what)) {
        LOG_WARN("signing in failed: a wrong code", LOG_STR("req", q->http->id),
                 LOG_STR("from", q->http->peer), LOG_STR("user", u->who.user), LOG_END);
        api_error(q, 401, "code", "wrong_code", "This code is wrong, or was used already.");
        return;
    }
    in->by_code = u->totp;
    next.seen_wall_ms = clock_wall_ms();
    auth_attempt_good(q->serve->auth, u, q->http->peer);
    /* memory first: the same code again, at the same time, is one that was used */
    if (auth_take_user(q->serve->auth, &next, what, NULL, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    in->change = (struct user_change){.home = q->serve->svc->home, .user = next, .what = what};
    account_store(q, &in->change, stored);
}

static void by_password(struct request *q, const struct json *body, struct str name)
{
    struct serve *s = q->serve;
    struct str password;
    struct str tenant;
    struct str code;
    struct error err;
    int64_t retry_s = 1;
    int64_t now = clock_monotonic_ms();
    struct signin *in = arena_alloc(q->arena, sizeof *in);
    if (in == NULL) {
        api_out_of_memory(q);
        return;
    }
    *in = (struct signin){0};
    if (jsonr_string(body, "password", &password, &err) != STATUS_OK ||
        jsonr_string(body, "tenant", &tenant, &err) != STATUS_OK ||
        jsonr_string(body, "code", &code, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    if (password.ptr == NULL || password.len > sizeof in->password || name.len > 64 ||
        tenant.len > 64) {
        api_error(q, 400, "password", "invalid",
                  "name and password must be strings, of at most 64 and 256 bytes");
        return;
    }
    const char *in_tenant =
        tenant.len == 0 ? API_OPERATORS : arena_strndup(q->arena, tenant.ptr, tenant.len);
    if (in_tenant == NULL) {
        api_out_of_memory(q);
        return;
    }
    in->user = auth_user_by_name(s->auth, in_tenant, name);
    in->code = code;
    if (!auth_note_failure(s->auth, q->http->peer, now, &retry_s)) {
        too_many(q, retry_s, "Too many wrong passwords came from this address.");
        return;
    }
    if (!auth_attempt(s->auth, in->user, in_tenant, name, now, &retry_s)) {
        too_many(q, retry_s,
                 "Too many wrong passwords were given for this name: wait, or ask an administrator "
                 "for a new password.");
        return;
    }
    if (in->user != NULL) {
        memcpy(in->hash, in->user->password, sizeof in->hash);
    }
    memcpy(in->password, password.ptr, password.len);
    in->password_len = password.len;
    q->op = in;
    api_on_lane(q, &s->passwords, in, check, checked);
}

static void on_json(struct request *q, const struct json *body)
{
    struct str key;
    struct str name;
    struct error err;
    if (jsonr_string(body, "key", &key, &err) != STATUS_OK ||
        jsonr_string(body, "name", &name, &err) != STATUS_OK ||
        (key.ptr == NULL) == (name.ptr == NULL)) {
        api_error(
            q, 400, "key", "invalid",
            "Sign in with {\"key\": \"carrel_...\"} or {\"name\", \"password\"}, strings all.");
    } else if (key.ptr != NULL) {
        by_key(q, key);
    } else {
        by_password(q, body, name);
    }
}

void api_session_open(struct request *q)
{
    /* A foreign page must not sign its visitor in as somebody else. */
    struct str site = http_head_get(q->http->head, "sec-fetch-site");
    if (site.len > 0 && !str_eq(site, STR("same-origin")) && !str_eq(site, STR("none"))) {
        api_error(q, 403, NULL, "cross_site", "Signing in works from this server's own page only.");
        return;
    }
    api_read_json(q, on_json);
}

void api_session_close(struct request *q)
{
    struct str cookie = cookie_get(http_head_get(q->http->head, "cookie"), q->serve->cookie);
    if (q->session != NULL) {
        auth_session_end(q->serve->auth, cookie);
        q->session = NULL;
    }
    set_cookie(q, "", 0);
    http_respond(q->http, 204, NULL, STR(""));
}
