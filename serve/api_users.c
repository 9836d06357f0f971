/* /api/users, for administrators and for managers, who look after their team: who signs in, as
 * what. A password that we make is shown once, and its user must choose another. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text/text.h"
#include "serve/account.h"
#include "serve/api.h"
#include "serve/service.h"

/* ---- one user ---- */

static void user_fields(struct jsonw *w, const struct user *u)
{
    const struct principal *p = &u->who;
    jsonw_field_z(w, "id", p->user);
    jsonw_field_z(w, "name", p->name);
    jsonw_field_z(w, "tenant", p->tenant);
    jsonw_field_z(w, "role", role_name(p->role));
    jsonw_key(w, "groups");
    jsonw_open(w, '[');
    for (size_t i = 0; i < p->n_groups; i++) {
        jsonw_str(w, str_from(p->groups[i]));
    }
    jsonw_close(w, ']');
    jsonw_field_z(w, "issuer", u->issuer[0] == '\0' ? NULL : u->issuer);
    jsonw_field_bool(w, "disabled", u->disabled);
    jsonw_field_bool(w, "second_factor", u->totp);
    jsonw_field_bool(w, "must_change_password", u->must_change);
    jsonw_field_bool(w, "locked", u->attempts.locked_until_ms > clock_monotonic_ms());
    jsonw_field_int(w, "created", p->created_wall_ms / 1000);
    if (u->seen_wall_ms != 0) {
        jsonw_field_int(w, "last_seen", u->seen_wall_ms / 1000);
    }
}

static void answer(struct request *q, int status, const struct user_change *c)
{
    struct jsonw w;
    const struct user *u = auth_user_by_id(q->serve->auth, c->user.who.user);
    api_object_begin(q, &w);
    user_fields(&w, u == NULL ? &c->user : u);
    if (c->shown[0] != '\0') {
        jsonw_field_z(&w, "password", c->shown);
    }
    http_header(q->http, "Cache-Control", "no-store");
    api_object_end(q, status, &w);
}

/* The database has it: memory too, whether the asker is still there or not. */
static bool took(struct request *q, const struct error *stored)
{
    struct user_change *c = q->op;
    struct error err = *stored;
    enum status s = stored->code;
    if (s == STATUS_OK) {
        s = auth_take_user(q->serve->auth, &c->user, c->what, NULL, &err);
    }
    if (s == STATUS_OK && (c->what & USER_PASSWORD) != 0) {
        auth_sessions_end(q->serve->auth, c->user.who.user, NULL);
    }
    if (s != STATUS_OK && !http_request_gone(q->http)) {
        api_fail(q, &err);
    }
    return s == STATUS_OK && !http_request_gone(q->http);
}

static void changed(struct request *q, const struct error *stored)
{
    struct user_change *c = q->op;
    if (took(q, stored)) {
        answer(q, (c->what & USER_NEW) != 0 ? 201 : 200, c);
    }
    explicit_bzero(c->shown, sizeof c->shown);
}

static struct user_change *change_new(struct request *q)
{
    struct user_change *c = arena_alloc(q->arena, sizeof *c);
    if (c == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    *c = (struct user_change){.others = true};
    auth_asker(q->who, &c->by);
    q->op = c;
    return c;
}

/* The one of the address, if the caller looks after him. NULL: 404 was answered. */
static struct user *wanted(struct request *q)
{
    const char *id = api_id(q, 0);
    struct user *u = id == NULL ? NULL : auth_user_by_id(q->serve->auth, id);
    if (id != NULL && (u == NULL || !auth_looks_after(q->who, &u->who))) {
        api_error(q, 404, NULL, "not_found", "There is no such user.");
        return NULL;
    }
    return u;
}

static struct user_change *change_of(struct request *q, unsigned what)
{
    const struct user *u = wanted(q);
    struct user_change *c = u == NULL ? NULL : change_new(q);
    if (c != NULL) {
        c->user = *u;
        auth_point_names(&c->user.who);
        auth_seen(&u->who, &c->about);
        c->what = what;
    }
    return c;
}

void api_users_list(struct request *q)
{
    struct jsonw w;
    size_t pos = 0;
    api_object_begin(q, &w);
    jsonw_key(&w, "users");
    jsonw_open(&w, '[');
    for (const struct user *u = auth_next_user(q->serve->auth, &pos); u != NULL;
         u = auth_next_user(q->serve->auth, &pos)) {
        if (auth_looks_after(q->who, &u->who)) {
            jsonw_open(&w, '{');
            user_fields(&w, u);
            jsonw_close(&w, '}');
        }
    }
    jsonw_close(&w, ']');
    api_object_end(q, 200, &w);
}

/* ---- new ones, and changes ---- */

/* "password", or one that we make. */
static enum status read_password(const struct json *body, struct user_change *c, struct error *err)
{
    enum status s = jsonr_string(body, "password", &c->password, err);
    const char *problem = NULL;
    if (s != STATUS_OK) {
        return s;
    }
    if (c->password.ptr == NULL) {
        password_new(c->shown);
        c->password = str_from(c->shown);
    } else {
        problem = password_problem(c->password, str_from(c->user.who.name));
    }
    if (problem != NULL) {
        return error_set(err, STATUS_INVALID, "%s", problem);
    }
    return jsonr_bool(body, "must_change_password", true, &c->user.must_change, err);
}

static bool name_ok(struct str name)
{
    bool ok = name.ptr != NULL && api_name_ok(name, 63) && text_utf8_valid(name);
    return ok && name.ptr[0] != ' ' && name.ptr[name.len - 1] != ' ';
}

/* Role and groups; sets *given when either is there. */
static enum status read_rights(const struct json *body, struct principal *p, bool *given,
                               struct error *err)
{
    struct str groups[GROUPS_MAX];
    size_t n;
    enum role role = p->role;
    enum status s = api_read_role(body, p->role, &role, err);
    if (s == STATUS_OK && role == ROLE_SERVICE) {
        s = error_set(err, STATUS_INVALID, "role: service is for keys of machines, not for people");
    }
    if (s == STATUS_OK) {
        auth_set_role(p, role);
        s = api_read_names(body, "groups", groups, GROUPS_MAX, &n, err);
    }
    if (s == STATUS_OK && jsonr_get(body, "groups") != NULL) {
        s = auth_set_groups(p, groups, n, err);
    }
    *given = jsonr_get(body, "role") != NULL || jsonr_get(body, "admin") != NULL ||
             jsonr_get(body, "groups") != NULL;
    return s;
}

static enum status not_looked_after(struct error *err)
{
    return error_set(err, STATUS_FORBIDDEN,
                     "a manager looks after editors and readers whose groups are all his own, at "
                     "least one");
}

static enum status read_user(struct request *q, const struct json *body, struct user_change *c,
                             struct error *err)
{
    struct principal *p = &c->user.who;
    struct str name;
    bool given;
    enum status s = jsonr_string(body, "name", &name, err);
    if (s == STATUS_OK && !name_ok(name)) {
        s = error_set(err, STATUS_INVALID,
                      "name must be a text of 1 to 63 bytes that neither begins nor ends blank");
    }
    if (s == STATUS_OK) {
        (void)snprintf(p->name, sizeof p->name, "%.*s", STR_ARG(name));
        s = api_read_tenant(q, body, p->tenant, err);
    }
    if (s == STATUS_OK) {
        p->role = ROLE_READER;
        s = read_rights(body, p, &given, err);
    }
    if (s == STATUS_OK && !auth_looks_after(q->who, p)) {
        s = not_looked_after(err);
    }
    if (s == STATUS_OK && auth_user_by_name(q->serve->auth, p->tenant, name) != NULL) {
        s = error_set(err, STATUS_CONFLICT, "somebody in the tenant has that name already");
    }
    return s == STATUS_OK ? read_password(body, c, err) : s;
}

static void on_new(struct request *q, const struct json *body)
{
    struct error err;
    struct user_change *c = change_new(q);
    if (c == NULL) {
        return;
    }
    if (read_user(q, body, c, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    id_new(c->user.who.user);
    c->user.who.created_wall_ms = clock_wall_ms();
    c->what = USER_NEW;
    account_store_password(q, c, changed);
}

void api_user_create(struct request *q)
{
    api_read_json(q, on_new);
}

static void on_change(struct request *q, const struct json *body)
{
    struct user_change *c = change_of(q, 0);
    struct error err;
    bool rights = false;
    if (c == NULL) {
        return;
    }
    bool was_disabled = c->user.disabled;
    enum status s = read_rights(body, &c->user.who, &rights, &err);
    if (s == STATUS_OK) {
        s = jsonr_bool(body, "disabled", was_disabled, &c->user.disabled, &err);
    }
    if (s == STATUS_OK && !auth_looks_after(q->who, &c->user.who)) {
        s = not_looked_after(&err);
    }
    if (s == STATUS_OK && strcmp(c->user.who.user, q->who->user) == 0) {
        s = error_set(&err, STATUS_CONFLICT, "nobody changes his own role or disables himself");
    }
    if (s != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    c->what = (rights ? (unsigned)USER_ROLE : 0) |
              (c->user.disabled != was_disabled ? (unsigned)USER_DISABLED : 0);
    account_store(q, c, changed);
}

void api_user_change(struct request *q)
{
    api_read_json(q, on_change);
}

/* ---- password, second factor, end ---- */

static void on_reset(struct request *q, const struct json *body)
{
    struct user_change *c = change_of(q, USER_PASSWORD);
    struct error err;
    if (c == NULL) {
        return;
    }
    if (c->user.issuer[0] != '\0') {
        api_error(q, 409, NULL, "conflict", "This user signs in by another system.");
    } else if (read_password(body, c, &err) != STATUS_OK) {
        api_fail(q, &err);
    } else {
        account_store_password(q, c, changed);
    }
}

void api_user_password(struct request *q)
{
    api_read_json(q, on_reset);
}

void api_user_totp_reset(struct request *q)
{
    struct user_change *c = change_of(q, USER_TOTP | USER_RECOVERY);
    if (c != NULL) {
        account_no_totp(&c->user);
        account_store(q, c, changed);
    }
}

static void removed(struct request *q, const struct error *stored)
{
    const struct user_change *c = q->op;
    if (took(q, stored)) {
        struct jsonw w;
        api_object_begin(q, &w);
        jsonw_field_z(&w, "id", c->user.who.user);
        jsonw_field_bool(&w, "removed", true);
        api_object_end(q, 200, &w);
    }
}

void api_user_remove(struct request *q)
{
    struct user_change *c = change_of(q, USER_REMOVED);
    if (c == NULL) {
        return;
    }
    if (strcmp(c->user.who.user, q->who->user) == 0) {
        api_error(q, 409, NULL, "conflict", "Nobody removes himself.");
        return;
    }
    account_store(q, c, removed);
}
