/* One's own account: password and second factor. For people who signed in: no key may. What another
 * system vouches for has neither here. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "serve/account.h"
#include "serve/api.h"
#include "serve/qr.h"
#include "serve/service.h"

static struct user *self(struct request *q)
{
    struct user *u = auth_user_by_id(q->serve->auth, q->who->user);
    if (u == NULL || u->password[0] == '\0') {
        api_error(q, 409, NULL, "conflict",
                  "You sign in by another system: password and second factor are kept there.");
        return NULL;
    }
    return u;
}

static bool may_try(struct request *q, struct user *u)
{
    int64_t retry_s = 1;
    if (auth_attempt(q->serve->auth, u, u->who.tenant, str_from(u->who.name), clock_monotonic_ms(),
                     &retry_s)) {
        return true;
    }
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)retry_s);
    http_header(q->http, "Retry-After", text);
    api_error(q, 429, NULL, "rate_limit_exceeded", "Too many wrong passwords or codes: wait.");
    return false;
}

/* ---- a new password ---- */

struct renewal {
    char hash[PASSWORD_HASH_CAP];
    struct str old;
    bool same;
    struct user_change change;
};

/* The password that was looked at; else it is over with this session too. */
static bool still_his(struct request *q, const struct renewal *r)
{
    const struct user *u = auth_user_by_id(q->serve->auth, r->change.user.who.user);
    if (u != NULL && strcmp(u->password, r->hash) == 0) {
        return true;
    }
    if (!http_request_gone(q->http)) {
        api_error(q, 401, NULL, "session_over",
                  "Your password was changed meanwhile: sign in with the new one.");
    }
    return false;
}

static void renewed(struct request *q, const struct error *err)
{
    struct renewal *r = q->op;
    struct auth *auth = q->serve->auth;
    struct error late;
    if (err->code != STATUS_OK) {
        if (!http_request_gone(q->http)) {
            api_fail(q, err);
        }
        return;
    }
    if (!still_his(q, r)) {
        return; /* an administrator's came after it into the database too */
    }
    if (auth_take_user(auth, &r->change.user, USER_PASSWORD, NULL, &late) != STATUS_OK) {
        api_fail(q, &late);
        return;
    }
    auth_sessions_end(auth, r->change.user.who.user, q->session);
    auth_session_changed(auth, q->session);
    if (!http_request_gone(q->http)) {
        http_respond(q->http, 204, NULL, STR(""));
    }
}

static enum status check_old(void *op, struct error *err)
{
    struct renewal *r = op;
    (void)err;
    r->same = password_check(r->hash, r->old);
    return STATUS_OK;
}

static void old_checked(struct request *q, const struct error *none)
{
    struct renewal *r = q->op;
    struct user *u = auth_user_by_id(q->serve->auth, q->who->user);
    (void)none;
    if (http_request_gone(q->http)) {
        return;
    }
    if (!still_his(q, r)) {
        return;
    }
    if (!r->same || u == NULL) {
        api_error(q, 403, "old", "wrong_password", "The old password is wrong.");
        return;
    }
    auth_attempt_good(q->serve->auth, u, q->http->peer);
    account_store_password(q, &r->change, renewed);
}

static void on_password(struct request *q, const struct json *body)
{
    struct user *u = self(q);
    struct str old;
    struct str wanted;
    struct error err;
    struct renewal *r = u == NULL ? NULL : arena_alloc(q->arena, sizeof *r);
    if (u == NULL) {
        return;
    }
    if (r == NULL) {
        api_out_of_memory(q);
        return;
    }
    if (jsonr_string(body, "old", &old, &err) != STATUS_OK ||
        jsonr_string(body, "new", &wanted, &err) != STATUS_OK || old.ptr == NULL ||
        wanted.ptr == NULL || old.len > PASSWORD_BYTES_MAX) {
        api_error(q, 400, "new", "invalid", "old and new must be strings");
        return;
    }
    const char *problem = password_problem(wanted, str_from(u->who.name));
    if (problem == NULL && str_eq(old, wanted)) {
        problem = "The new password is the old one.";
    }
    if (problem != NULL) {
        api_error(q, 400, "new", "weak_password", problem);
        return;
    }
    if (!may_try(q, u)) {
        return;
    }
    *r = (struct renewal){.old = old};
    memcpy(r->hash, u->password, sizeof r->hash);
    r->change = (struct user_change){.user = *u, .what = USER_PASSWORD, .password = wanted};
    r->change.instead_of = r->hash;
    r->change.user.must_change = false;
    q->op = r;
    api_on_lane(q, &q->serve->passwords, r, check_old, old_checked);
}

void api_password_change(struct request *q)
{
    api_read_json(q, on_password);
}

/* ---- the second factor ---- */

static void change_failed(struct request *q, const struct error *err)
{
    if (!http_request_gone(q->http)) {
        api_fail(q, err);
    }
}

static void enrolment(struct request *q, const struct user *u)
{
    struct buf uri;
    struct buf svg;
    struct jsonw w;
    struct error err;
    char text[TOTP_TEXT_CAP];
    buf_init(&uri, 1024);
    buf_init(&svg, (size_t)256 * 1024);
    totp_text(u->totp_secret, text);
    totp_uri(u->totp_secret, str_from(u->who.name), &uri);
    enum status s = qr_svg(buf_view(&uri), &svg, &err);
    if (s == STATUS_OK) {
        api_object_begin(q, &w);
        jsonw_field_z(&w, "secret", text);
        jsonw_field_str(&w, "uri", buf_view(&uri));
        jsonw_field_str(&w, "qr_svg", buf_view(&svg));
        http_header(q->http, "Cache-Control", "no-store");
        api_object_end(q, 200, &w);
    } else {
        api_fail(q, &err);
    }
    buf_deinit(&uri);
    buf_deinit(&svg);
    explicit_bzero(text, sizeof text);
}

/* The change is in the books: takes it into memory. False: it failed, which is answered, or nobody
 * waits for the answer any more. */
static bool changed(struct request *q, const struct error *err)
{
    struct user_change *c = q->op;
    struct error late;
    if (err->code != STATUS_OK) {
        change_failed(q, err);
        return false;
    }
    if (auth_take_user(q->serve->auth, &c->user, c->what, NULL, &late) != STATUS_OK) {
        change_failed(q, &late);
        return false;
    }
    return !http_request_gone(q->http);
}

static void begun(struct request *q, const struct error *err)
{
    const struct user_change *c = q->op;
    if (changed(q, err)) {
        enrolment(q, &c->user);
    }
}

static struct user_change *change_of(struct request *q, const struct user *u, unsigned what)
{
    struct user_change *c = arena_alloc(q->arena, sizeof *c);
    if (c == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    *c = (struct user_change){.user = *u, .what = what};
    q->op = c;
    return c;
}

/* A new secret, which is asked for once a code of it has come back. */
void api_totp_begin(struct request *q)
{
    struct user *u = self(q);
    if (u == NULL) {
        return;
    }
    if (u->totp) {
        api_error(q, 409, NULL, "conflict", "There is a second factor: remove it first.");
        return;
    }
    struct user_change *c = change_of(q, u, USER_TOTP);
    if (c != NULL) {
        c->user.totp_lost = false;
        random_bytes(c->user.totp_secret, sizeof c->user.totp_secret);
        account_store(q, c, begun);
    }
}

struct confirmation {
    struct user_change change;
    char codes[RECOVERY_CODES][RECOVERY_CODE_CAP];
};

static void confirmed(struct request *q, const struct error *err)
{
    struct confirmation *c = q->op;
    struct error late;
    struct jsonw w;
    if (err->code != STATUS_OK) {
        change_failed(q, err);
    } else if (auth_take_user(q->serve->auth, &c->change.user, c->change.what, NULL, &late) !=
               STATUS_OK) {
        change_failed(q, &late);
    } else if (!http_request_gone(q->http)) {
        auth_sessions_end(q->serve->auth, q->who->user, q->session);
        api_object_begin(q, &w);
        jsonw_key(&w, "recovery_codes");
        jsonw_open(&w, '[');
        for (size_t i = 0; i < RECOVERY_CODES; i++) {
            jsonw_str(&w, str_from(c->codes[i]));
        }
        jsonw_close(&w, ']');
        http_header(q->http, "Cache-Control", "no-store");
        api_object_end(q, 200, &w);
    }
    explicit_bzero(c->codes, sizeof c->codes);
}

static void on_confirm(struct request *q, const struct json *body)
{
    static const uint8_t none[TOTP_SECRET_BYTES] = {0};
    struct user *u = self(q);
    struct str code;
    struct error err;
    int64_t step = 0;
    if (u == NULL) {
        return;
    }
    if (u->totp || memcmp(u->totp_secret, none, sizeof none) == 0) {
        api_error(q, 409, NULL, "conflict", "Nothing is to be confirmed.");
        return;
    }
    if (jsonr_string(body, "code", &code, &err) != STATUS_OK || code.ptr == NULL) {
        api_error(q, 400, "code", "invalid", "code must be a string of six digits");
        return;
    }
    if (!may_try(q, u)) {
        return;
    }
    if (!totp_check(u->totp_secret, code, clock_wall_ms() / 1000, 0, &step)) {
        api_error(q, 403, "code", "wrong_code",
                  "This code is wrong. Is the clock of your device right?");
        return;
    }
    auth_attempt_good(q->serve->auth, u, q->http->peer);
    struct confirmation *c = arena_alloc(q->arena, sizeof *c);
    if (c == NULL) {
        api_out_of_memory(q);
        return;
    }
    *c = (struct confirmation){.change = {.user = *u, .what = USER_TOTP | USER_RECOVERY}};
    c->change.user.totp = true;
    c->change.user.totp_step = step;
    account_recovery_new(&c->change.user, c->codes);
    q->op = c;
    account_store(q, &c->change, confirmed);
}

void api_totp_confirm(struct request *q)
{
    api_read_json(q, on_confirm);
}

static void removed(struct request *q, const struct error *err)
{
    if (changed(q, err)) {
        http_respond(q->http, 204, NULL, STR(""));
    }
}

void api_totp_remove(struct request *q)
{
    struct user *u = self(q);
    const char *code = NULL;
    unsigned used = 0;
    if (u == NULL || !api_query(q, "code", &code)) {
        return;
    }
    if (!u->totp) {
        api_error(q, 409, NULL, "conflict", "There is no second factor.");
        return;
    }
    if (code == NULL) {
        api_error(q, 400, "code", "invalid", "?code= must be a code of yours");
        return;
    }
    if (!may_try(q, u)) {
        return;
    }
    struct user_change *c = change_of(q, u, USER_TOTP | USER_RECOVERY);
    if (c == NULL) {
        return;
    }
    if (!account_code(&c->user, str_from(code), clock_wall_ms() / 1000, &used)) {
        api_error(q, 403, "code", "wrong_code", "This code is wrong, or was used already.");
        return;
    }
    auth_attempt_good(q->serve->auth, u, q->http->peer);
    account_no_totp(&c->user);
    account_store(q, c, removed);
}
