/* Signing in with name and password of a directory: POST /api/session/ldap {"user", "password"}.
 *
 *   asked -> the directory, on its lane -> the account, on the lane of serve.db -> a session
 *
 * Functions stand in the order they run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/ldap_text.h"
#include "serve/ldap_ways.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/users.h"

#define ARENA_MAX ((size_t)4 * 1024 * 1024)
#define LDAP_ISSUER "ldap"

/* Its own memory: the directory's thread works in it whether or not the browser still waits. */
struct ldap_job {
    struct request *q;
    struct http_request *http; /* held */
    struct serve *serve;
    struct arena arena;
    char name[129]; /* as typed */
    char password[LDAP_PASSWORD_MAX + 1];
    struct ldap_person person;
    struct idp_verdict verdict;
    struct user user;
    struct error err;
};

static void job_end(struct ldap_job *j)
{
    struct serve *serve = j->serve;
    http_request_release(j->http);
    arena_reset(&j->arena);
    explicit_bzero(j->password, sizeof j->password);
    free(j);
    serve_admin_done(serve);
}

static void retry_later(struct request *q, int64_t retry_s, const char *message)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)retry_s);
    http_header(q->http, "Retry-After", text);
    api_error(q, 429, NULL, "rate_limit_exceeded", message);
}

static void refuse(struct ldap_job *j)
{
    struct request *q = j->q;
    if (http_request_gone(j->http)) {
        return;
    }
    if (j->err.code == STATUS_UNAUTHENTICATED) {
        api_error(q, 401, NULL, "wrong_password", j->err.text);
        return;
    }
    LOG_WARN("a sign-in by the directory failed", LOG_STR("req", j->http->id),
             LOG_STR("err", j->err.text), LOG_END);
    if (j->err.code == STATUS_FORBIDDEN) {
        api_error(q, 403, NULL, "forbidden",
                  "The password is right, but this account may not sign in here. The administrator "
                  "finds the reason in the log.");
    } else {
        api_error(q, 503, NULL, "directory",
                  "The directory cannot be asked at the moment. The administrator finds the reason "
                  "in the log.");
    }
}

/* ---- the account ---- */

static void on_account_lane(void *job)
{
    struct ldap_job *j = job;
    const struct external_user e = {
        .tenant = j->serve->settings->ldap.tenant,
        .issuer = LDAP_ISSUER,
        .subject = j->person.id,
        .name = j->person.name,
        .role = j->verdict.role,
        .groups = j->verdict.groups,
        .n_groups = j->verdict.n_groups,
    };
    j->err.code = auth_store_external(j->serve->svc->home, &e, &j->user, &j->err);
}

static void on_account(void *job)
{
    struct ldap_job *j = job;
    struct request *q = j->q;
    char token[SECRET_CAP];
    const struct session *session;
    if (j->err.code == STATUS_OK && !http_request_gone(j->http) &&
        (j->err.code = auth_session_for_external(j->serve->auth, &j->user, clock_wall_ms(), token,
                                                 &session, &j->err)) == STATUS_OK) {
        struct jsonw w;
        api_session_cookie(q, token);
        explicit_bzero(token, sizeof token);
        api_object_begin(q, &w);
        jsonw_field_z(&w, "user", session->who->name);
        jsonw_field_z(&w, "user_id", session->who->user);
        jsonw_field_z(&w, "tenant", session->who->tenant);
        jsonw_field_z(&w, "role", role_name(session->who->role));
        jsonw_field_z(&w, "csrf", session->csrf);
        jsonw_field_int(&w, "expires", session->expires_wall_ms / 1000);
        api_object_end(q, 201, &w);
    } else if (j->err.code != STATUS_OK) {
        refuse(j);
    }
    job_end(j);
}

/* ---- the directory ---- */

static void on_directory_lane(void *job)
{
    struct ldap_job *j = job;
    const struct ldap_ways *w = j->serve->ldap;
    j->err.code = ldap_sign_in(&w->directory, str_from(j->name), str_from(j->password), &j->arena,
                               &j->person, &j->err);
    explicit_bzero(j->password, sizeof j->password);
    if (j->err.code == STATUS_OK) {
        j->err.code = idp_judge(&w->settings, w->settings.ldap.default_role, j->person.groups,
                                j->person.n_groups, true, &j->verdict, &j->err);
    }
}

static void on_directory(void *job)
{
    struct ldap_job *j = job;
    bool right = j->err.code == STATUS_OK || j->err.code == STATUS_FORBIDDEN;
    bool answered = right || j->err.code == STATUS_UNAUTHENTICATED;
    /* a directory that does not answer says nothing of the password */
    ldap_ways_note(j->serve->ldap, str_from(j->name), right || !answered, clock_monotonic_ms());
    if (right || !answered) {
        auth_failure_undo(j->serve->auth, j->http->peer);
    }
    if (j->err.code == STATUS_OK &&
        lane_submit(&j->serve->admin, on_account_lane, on_account, j, &j->err) == STATUS_OK) {
        return;
    }
    refuse(j);
    job_end(j);
}

/* ---- asked ---- */

static void on_body(struct request *q, const struct json *body)
{
    struct serve *s = q->serve;
    struct str user;
    struct str password;
    struct error err;
    int64_t retry_s;
    if (jsonr_string(body, "user", &user, &err) != STATUS_OK ||
        jsonr_string(body, "password", &password, &err) != STATUS_OK || user.ptr == NULL ||
        password.ptr == NULL) {
        api_error(q, 400, "user", "invalid", "user and password must be strings.");
        return;
    }
    struct ldap_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        api_out_of_memory(q);
        return;
    }
    *j = (struct ldap_job){.q = q, .http = q->http, .serve = s};
    arena_init(&j->arena, ARENA_MAX);
    http_request_hold(q->http);
    /* counted before the directory is asked: after it, guessing would go on while it is refused */
    if (!auth_note_failure(s->auth, q->http->peer, clock_monotonic_ms(), &retry_s)) {
        retry_later(q, retry_s, "Too many wrong passwords came from this address.");
    } else if (!ldap_user_ok(user) || password.len == 0 || password.len > LDAP_PASSWORD_MAX) {
        (void)error_set(&j->err, STATUS_UNAUTHENTICATED, "The name or the password is wrong.");
        refuse(j);
    } else if (!ldap_ways_may(s->ldap, user, clock_monotonic_ms(), &retry_s)) {
        retry_later(q, retry_s, "Too many wrong passwords were tried for this name.");
    } else {
        memcpy(j->name, user.ptr, user.len);
        memcpy(j->password, password.ptr, password.len);
        if (lane_submit(&s->ldap->lane, on_directory_lane, on_directory, j, &err) == STATUS_OK) {
            return;
        }
        ldap_ways_note(s->ldap, user, true, clock_monotonic_ms());
        auth_failure_undo(s->auth, q->http->peer);
        api_fail(q, &err);
    }
    job_end(j);
}

void api_session_ldap(struct request *q)
{
    /* A foreign page must not sign its visitor in as somebody else. */
    struct str site = http_head_get(q->http->head, "sec-fetch-site");
    if (q->serve->ldap == NULL) {
        api_error(q, 404, NULL, "unknown_url", "No directory is configured (ldap.url).");
    } else if (site.len > 0 && !str_eq(site, STR("same-origin")) && !str_eq(site, STR("none"))) {
        api_error(q, 403, NULL, "cross_site", "Signing in works from this server's own page only.");
    } else {
        api_read_json(q, on_body);
    }
}
