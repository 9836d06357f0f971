/* The page's way in: a key once, then a cookie that scripts cannot read, and a token for writes. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/http/url.h"
#include "serve/request.h"
#include "serve/service.h"

static void describe(struct request *q, int status, const struct principal *who,
                     const struct session *session)
{
    struct jsonw w;
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "user", who->name);
    jsonw_field_z(&w, "user_id", who->user);
    jsonw_field_z(&w, "tenant", who->tenant);
    jsonw_field_bool(&w, "admin", who->admin);
    jsonw_field_z(&w, "role", role_name(who->role));
    if (session != NULL) {
        jsonw_field_z(&w, "csrf", session->csrf);
        jsonw_field_int(&w, "expires", session->expires_wall_ms / 1000);
    }
    api_object_end(q, status, &w);
}

static void set_cookie(struct request *q, const char *value, int64_t seconds)
{
    char line[256];
    (void)snprintf(line, sizeof line, "%s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s",
                   q->serve->cookie, value, (long long)seconds,
                   q->serve->tls != NULL ? "; Secure" : "");
    http_header(q->http, "Set-Cookie", line);
}

void api_session_get(struct request *q)
{
    describe(q, 200, q->who, q->session);
}

static void on_key(struct request *q, const struct json *body)
{
    struct serve *s = q->serve;
    struct str key;
    struct error err;
    if (jsonr_string(body, "key", &key, &err) != STATUS_OK || key.ptr == NULL) {
        api_error(q, 400, "key", "invalid", "key must be a string: {\"key\": \"carrel_...\"}");
        return;
    }
    while (key.len > 0 && (unsigned char)key.ptr[key.len - 1] <= 0x20) {
        key.len--; /* pasted with its line end */
    }
    const struct principal *who = auth_key(s->auth, key);
    if (who == NULL) {
        int64_t retry_s = 1;
        bool few = auth_note_failure(s->auth, q->http->peer, clock_monotonic_ms(), &retry_s);
        char text[24];
        (void)snprintf(text, sizeof text, "%lld", (long long)retry_s);
        if (!few) {
            http_header(q->http, "Retry-After", text);
        }
        api_error(q, few ? 401 : 429, "key", few ? "invalid_api_key" : "rate_limit_exceeded",
                  few ? "This key is not known here."
                      : "Too many wrong keys came from this address.");
        return;
    }
    char token[SECRET_CAP];
    const struct session *session;
    if (auth_session_new(s->auth, who, clock_wall_ms(), token, &session, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    set_cookie(q, token, s->settings->http.session_hours * 3600);
    explicit_bzero(token, sizeof token);
    describe(q, 201, who, session);
}

void api_session_open(struct request *q)
{
    /* A foreign page must not sign its visitor in as somebody else. */
    struct str site = http_head_get(q->http->head, "sec-fetch-site");
    if (site.len > 0 && !str_eq(site, STR("same-origin")) && !str_eq(site, STR("none"))) {
        api_error(q, 403, NULL, "cross_site", "Signing in works from this server's own page only.");
        return;
    }
    api_read_json(q, on_key);
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
