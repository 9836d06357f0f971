/* /api/keys and /api/tenants, for administrators: who may ask, as which groups, in which tenant. An
 * administrator looks after the keys of his own tenant; those of tenant "main", who run the
 * appliance, after all. A key is shown once, in the answer that made it. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/tenant.h"
#include "serve/account.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/webhooks_store.h"

#define TENANT_RULE "must be 1 to 64 lower-case letters, digits or -"

struct key_op {
    struct principal p;
    char key[KEY_CAP];
    const char *home;
    struct asker by;
    const char *user; /* to revoke */
    struct request *q;
    struct buf names; /* of tenants, each ended by NUL */
    struct error err;
};

/* ---- one key ---- */

void api_scopes(struct jsonw *w, const struct principal *p)
{
    jsonw_key(w, "scopes");
    jsonw_open(w, '[');
    for (unsigned i = 0; i < SCOPES_N; i++) {
        if ((p->scopes & 1U << i) != 0) {
            jsonw_str(w, str_from(scope_name(i)));
        }
    }
    jsonw_close(w, ']');
}

static void names_field(struct jsonw *w, const char *key, const char *const *names, size_t n)
{
    jsonw_key(w, key);
    jsonw_open(w, '[');
    for (size_t i = 0; i < n; i++) {
        jsonw_str(w, str_from(names[i]));
    }
    jsonw_close(w, ']');
}

static void key_fields(struct jsonw *w, const struct principal *p)
{
    jsonw_field_z(w, "id", p->key);
    jsonw_field_z(w, "name", p->name);
    jsonw_field_z(w, "tenant", p->tenant);
    jsonw_field_bool(w, "admin", p->admin);
    jsonw_field_z(w, "role", role_name(p->role));
    api_scopes(w, p);
    names_field(w, "groups", p->groups, p->n_groups);
    names_field(w, "collections", p->collections, p->n_collections);
    jsonw_key(w, "addresses");
    jsonw_open(w, '[');
    for (size_t i = 0; i < p->n_addresses; i++) {
        char text[ADDRESS_TEXT];
        address_range_text(&p->addresses[i], text);
        jsonw_str(w, str_from(text));
    }
    jsonw_close(w, ']');
    jsonw_field_z(w, "owner", p->owner == NULL ? NULL : p->owner->who.name);
    jsonw_field_z(w, "owner_id", p->owner == NULL ? NULL : p->owner->who.user);
    if (p->made_by[0] != '\0') {
        jsonw_field_z(w, "made_by", p->made_by);
        jsonw_field_bool(w, "idle", p->idle);
    } else if (p->owner != NULL) { /* of a version before: it follows its owner wherever he goes */
        jsonw_field_bool(w, "maker_unknown", true);
    }
    jsonw_field_int(w, "created", p->created_wall_ms / 1000);
    if (p->expires_wall_ms != 0) {
        jsonw_field_int(w, "expires", p->expires_wall_ms / 1000);
        jsonw_field_bool(w, "expired", p->expires_wall_ms <= clock_wall_ms());
    }
    if (p->used_wall_ms != 0) {
        jsonw_field_int(w, "last_used", p->used_wall_ms / 1000);
        jsonw_field_z(w, "last_used_from", p->used_from);
    }
}

enum status api_read_names(const struct json *body, const char *what, struct str *list, size_t max,
                           size_t *n, struct error *err)
{
    const struct json *names = jsonr_get(body, what);
    *n = names == NULL ? 0 : jsonr_len(names);
    if (names != NULL && (jsonr_kind(names) != JSON_KIND_ARRAY || *n > max)) {
        return error_set(err, STATUS_INVALID, "%s must be an array of at most %zu strings", what,
                         max);
    }
    for (size_t i = 0; i < *n; i++) {
        list[i] = jsonr_str(jsonr_at(names, i));
        if (list[i].ptr == NULL) {
            return error_set(err, STATUS_INVALID, "%s[%zu] must be a string", what, i);
        }
    }
    return STATUS_OK;
}

enum status api_read_role(const struct json *body, enum role fallback, enum role *out,
                          struct error *err)
{
    struct str name;
    bool admin;
    enum status s = jsonr_bool(body, "admin", fallback == ROLE_ADMIN, &admin, err);
    if (s == STATUS_OK) {
        s = jsonr_string(body, "role", &name, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    *out = jsonr_get(body, "admin") == NULL ? fallback : admin ? ROLE_ADMIN : ROLE_READER;
    if (name.ptr != NULL && !role_read(name, out)) {
        return error_set(err, STATUS_INVALID,
                         "role must be admin, manager, editor, reader, auditor or service");
    }
    return STATUS_OK;
}

enum status api_read_tenant(struct request *q, const struct json *body, char out[65],
                            struct error *err)
{
    struct str tenant;
    enum status s = jsonr_string(body, "tenant", &tenant, err);
    if (s != STATUS_OK) {
        return s;
    }
    tenant = tenant.ptr == NULL ? str_from(q->who->tenant) : tenant;
    if (!str_eq(tenant, str_from(q->who->tenant)) && !api_runs_appliance(q)) {
        return error_set(err, STATUS_FORBIDDEN,
                         "only administrators of the tenant \"" API_OPERATORS
                         "\" look after another tenant's users and keys");
    }
    if (!tenant_name_valid(tenant)) {
        return error_set(err, STATUS_INVALID, "tenant: " TENANT_RULE);
    }
    (void)snprintf(out, 65, "%.*s", STR_ARG(tenant));
    return STATUS_OK;
}

static enum status read_scopes(const struct json *body, struct principal *p, struct error *err)
{
    struct str names[SCOPES_N];
    size_t n;
    enum status s = api_read_names(body, "scopes", names, SCOPES_N, &n, err);
    unsigned chosen = 0;
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        unsigned bit = scope_read(names[i]);
        if (bit == 0) {
            s = error_set(
                err, STATUS_INVALID,
                "scopes[%zu] must be ask, search, read, ingest, manage, audit, monitor or "
                "admin",
                i);
        } else if ((bit & p->scopes) == 0) {
            s = error_set(err, STATUS_INVALID,
                          "scopes[%zu]: a key of this role%s can make no use of that one", i,
                          p->n_collections > 0 ? ", held to collections," : "");
        }
        chosen |= bit;
    }
    if (s == STATUS_OK && n == 0 && jsonr_get(body, "scopes") != NULL) {
        s = error_set(err, STATUS_INVALID, "scopes: at least one");
    }
    if (s == STATUS_OK) {
        p->chosen = chosen;
        auth_set_role(p, p->role);
    }
    return s;
}

/* Where it holds: collections, addresses, time. */
static enum status read_limits(const struct json *body, struct principal *p, struct error *err)
{
    struct str list[COLLECTIONS_MAX];
    size_t n;
    int64_t expires;
    int64_t days;
    int64_t now = clock_wall_ms();
    enum status s = api_read_names(body, "collections", list, COLLECTIONS_MAX, &n, err);
    if (s == STATUS_OK) {
        s = auth_set_collections(p, list, n, err);
    }
    if (s == STATUS_OK) {
        s = api_read_names(body, "addresses", list, ADDRESSES_MAX, &n, err);
    }
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        s = auth_add_address(p, list[i], err);
    }
    if (s == STATUS_OK) {
        s = jsonr_int(body, "expires", 0, INT32_MAX * (int64_t)4, 0, &expires, err);
    }
    if (s == STATUS_OK) {
        s = jsonr_int(body, "days", 1, 36500, 0, &days, err);
    }
    if (s == STATUS_OK) {
        p->expires_wall_ms = days > 0 ? now + days * 86400000 : expires * 1000;
        if (p->expires_wall_ms != 0 && p->expires_wall_ms <= now) {
            s = error_set(err, STATUS_INVALID, "expires: that time is past");
        }
    }
    return s;
}

/* Whose key it is: an owner's, then as him; or nobody's, with role and groups of its own. */
static enum status read_owner(struct request *q, const struct json *body, struct principal *p,
                              struct error *err)
{
    struct str owner;
    enum status s = jsonr_string(body, "owner", &owner, err);
    if (s == STATUS_OK && owner.ptr != NULL) {
        const char *id = arena_strndup(q->arena, owner.ptr, owner.len);
        struct user *u = id == NULL ? NULL : auth_user_by_id(q->serve->auth, id);
        if (u == NULL) {
            u = auth_user_by_name(q->serve->auth, p->tenant, owner);
        }
        if (u == NULL || strcmp(u->who.tenant, p->tenant) != 0 ||
            !auth_looks_after(q->who, &u->who)) {
            return error_set(err, STATUS_NOT_FOUND, "owner: there is no such user");
        }
        p->owner = u;
        memcpy(p->user, u->who.user, sizeof p->user);
        auth_set_maker(p, q->who);
        auth_follow_owner(p);
    }
    return s;
}

static enum status read_key(struct request *q, const struct json *body, struct principal *p,
                            struct error *err)
{
    struct str name;
    struct str groups[GROUPS_MAX];
    size_t n = 0;
    enum status s = jsonr_string(body, "name", &name, err);
    if (s == STATUS_OK && (name.ptr == NULL || !api_name_ok(name, sizeof p->name - 1))) {
        s = error_set(err, STATUS_INVALID, "name must be a string of 1 to %zu bytes",
                      sizeof p->name - 1);
    }
    if (s == STATUS_OK) {
        (void)snprintf(p->name, sizeof p->name, "%.*s", STR_ARG(name));
        s = api_read_tenant(q, body, p->tenant, err);
    }
    if (s == STATUS_OK) {
        s = api_read_role(body, ROLE_READER, &p->role, err);
    }
    if (s == STATUS_OK) {
        s = api_read_names(body, "groups", groups, GROUPS_MAX, &n, err);
    }
    if (s == STATUS_OK) {
        s = auth_set_groups(p, groups, n, err);
    }
    if (s == STATUS_OK) {
        s = read_owner(q, body, p, err);
    }
    if (s == STATUS_OK) {
        s = read_limits(body, p, err);
    }
    if (s == STATUS_OK) {
        s = read_scopes(body, p, err);
    }
    if (s == STATUS_OK && p->owner == NULL && !auth_looks_after(q->who, p)) {
        s = error_set(err, STATUS_FORBIDDEN,
                      "a manager makes keys of editors, readers and services whose groups are all "
                      "his own, at least one");
    }
    return s;
}

/* ---- into the database, then into memory ---- */

static void run_job(struct request *q, enum status (*work)(void *op, struct error *err),
                    void (*done)(struct request *q, const struct error *err))
{
    struct key_op *op = q->op;
    op->home = q->serve->svc->home;
    api_on_lane(q, &q->serve->admin, op, work, done);
}

/* True: go on. */
static bool went_well(struct request *q, const struct error *err)
{
    if (err->code != STATUS_OK && !http_request_gone(q->http)) {
        api_fail(q, err);
    }
    return err->code == STATUS_OK;
}

static enum status tenant_path(const struct key_op *op, char path[PATH_MAX], struct error *err)
{
    int n = snprintf(path, PATH_MAX, "%s/tenants/%s", op->home, op->p.tenant);
    return n < 0 || n >= PATH_MAX ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", op->home)
                                  : STATUS_OK;
}

static enum status store_key(void *data, struct error *err)
{
    struct key_op *op = data;
    char path[PATH_MAX];
    enum status s = tenant_path(op, path, err);
    if (s == STATUS_OK && strcmp(op->p.tenant, API_OPERATORS) != 0 && access(path, F_OK) != 0) {
        s = error_set(err, STATUS_INVALID,
                      "there is no tenant \"%s\": make it first (carrel tenant create %s)",
                      op->p.tenant, op->p.tenant);
    }
    return s == STATUS_OK ? auth_store_key_by(op->home, &op->p, &op->by, err) : s;
}

static void key_made(struct request *q, const struct error *stored)
{
    struct key_op *op = q->op;
    if (!went_well(q, stored)) {
        explicit_bzero(op->key, sizeof op->key);
        return;
    }
    if (auth_add(q->serve->auth, &op->p, &op->err) != STATUS_OK) {
        api_fail(q, &op->err);
        return;
    }
    fair_know(q->serve->fair, op->p.tenant);
    if (http_request_gone(q->http)) { /* nobody has seen the key: it opens nothing */
        (void)auth_revoke(q->serve->auth, op->p.key);
        explicit_bzero(op->key, sizeof op->key);
        return;
    }
    struct jsonw w;
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    key_fields(&w, &op->p);
    jsonw_field_z(&w, "key", op->key);
    jsonw_close(&w, '}');
    explicit_bzero(op->key, sizeof op->key);
    http_header(q->http, "Cache-Control", "no-store");
    api_json(q, 201, &q->out);
}

static void on_key_json(struct request *q, const struct json *body)
{
    struct key_op *op = arena_alloc(q->arena, sizeof *op);
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    q->op = op;
    if (read_key(q, body, &op->p, &op->err) != STATUS_OK) {
        api_fail(q, &op->err);
        return;
    }
    auth_key_new(&op->p, op->key);
    auth_asker(q->who, &op->by);
    run_job(q, store_key, key_made);
}

void api_key_create(struct request *q)
{
    api_read_json(q, on_key_json);
}

void api_keys_list(struct request *q)
{
    struct jsonw w;
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    jsonw_key(&w, "keys");
    jsonw_open(&w, '[');
    for (size_t i = 0; auth_at(q->serve->auth, i) != NULL; i++) {
        const struct principal *p = auth_at(q->serve->auth, i);
        if (!p->revoked && auth_looks_after(q->who, p)) {
            jsonw_open(&w, '{');
            key_fields(&w, p);
            jsonw_close(&w, '}');
        }
    }
    jsonw_close(&w, ']');
    api_object_end(q, 200, &w);
}

static enum status store_revoked(void *data, struct error *err)
{
    struct key_op *op = data;
    return auth_store_revoked(op->home, op->user, err);
}

/* What it had told elsewhere ends with it. */
static enum status silence(sqlite3 *db, void *data, struct error *err)
{
    const struct key_op *op = data;
    return webhooks_store_revoked(db, op->user, err);
}

static void on_silenced(const struct error *err, struct buf *json, void *data)
{
    const struct key_op *op = data;
    struct request *q = op->q;
    struct http_request *http = q->http;
    (void)json;
    webhooks_wake(q->serve->webhooks, op->p.tenant);
    if (!http_request_gone(http) && err->code != STATUS_OK) {
        api_fail(q, err); /* the key is none any more, its webhooks may be */
    } else if (!http_request_gone(http)) {
        struct jsonw w;
        jsonw_init(&w, &q->out);
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "id", op->user);
        jsonw_field_bool(&w, "revoked", true);
        api_object_end(q, 200, &w);
    }
    http_request_release(http);
}

static void key_revoked(struct request *q, const struct error *stored)
{
    struct key_op *op = q->op;
    if (!went_well(q, stored)) {
        return;
    }
    (void)auth_revoke(q->serve->auth, op->user);
    op->q = q;
    http_request_hold(q->http);
    answers_run(q->serve->answers, op->p.tenant, silence, on_silenced, op);
}

void api_key_revoke(struct request *q)
{
    const char *id = api_id(q, 0);
    struct key_op *op = id == NULL ? NULL : arena_alloc(q->arena, sizeof *op);
    if (id == NULL) {
        return;
    }
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    const struct principal *p = auth_by_key(q->serve->auth, id);
    if (p == NULL || !auth_looks_after(q->who, p)) {
        api_error(q, 404, NULL, "not_found", "There is no such key.");
    } else if (strcmp(p->key, q->who->key) == 0) {
        api_error(q, 409, NULL, "conflict", "A key cannot revoke itself: use another one.");
    } else {
        op->user = id;
        memcpy(op->p.tenant, p->tenant, sizeof op->p.tenant);
        q->op = op;
        run_job(q, store_revoked, key_revoked);
    }
}

/* ---- tenants ---- */

static enum status store_tenant(void *data, struct error *err)
{
    struct key_op *op = data;
    char path[PATH_MAX];
    enum status s = tenant_path(op, path, err);
    if (s == STATUS_OK) {
        s = auth_store_tenant(op->home, op->p.tenant, err);
    }
    return s == STATUS_OK ? file_mkdirs(path, 0700, err) : s; /* ingest and the store follow */
}

static void tenant_made(struct request *q, const struct error *stored)
{
    const struct key_op *op = q->op;
    if (!went_well(q, stored)) {
        return;
    }
    if (!http_request_gone(q->http)) {
        struct jsonw w;
        jsonw_init(&w, &q->out);
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "tenant", op->p.tenant);
        api_object_end(q, 201, &w);
    }
}

static void on_tenant_json(struct request *q, const struct json *body)
{
    struct str name;
    struct key_op *op = arena_alloc(q->arena, sizeof *op);
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    q->op = op;
    if (jsonr_string(body, "tenant", &name, &op->err) != STATUS_OK) {
        api_fail(q, &op->err);
    } else if (name.ptr == NULL || !tenant_name_valid(name)) {
        api_error(q, 400, "tenant", "invalid", "tenant: " TENANT_RULE);
    } else if (!api_runs_appliance(q)) {
        api_error(q, 403, NULL, "forbidden",
                  "Only administrators of the tenant \"" API_OPERATORS "\" make tenants.");
    } else {
        (void)snprintf(op->p.tenant, sizeof op->p.tenant, "%.*s", STR_ARG(name));
        run_job(q, store_tenant, tenant_made);
    }
}

void api_tenant_create(struct request *q)
{
    api_read_json(q, on_tenant_json);
}

/* Every folder of tenants/. */
static enum status read_tenants(void *data, struct error *err)
{
    struct key_op *op = data;
    char path[PATH_MAX];
    op->p.tenant[0] = '\0';
    enum status s = tenant_path(op, path, err);
    DIR *d = s == STATUS_OK ? opendir(path) : NULL;
    buf_init(&op->names, (size_t)1024 * 1024);
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        if (tenant_name_valid(str_from(e->d_name))) {
            buf_append(&op->names, e->d_name, strlen(e->d_name) + 1);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return s == STATUS_OK ? buf_status(&op->names) : s;
}

static void tenants_read(struct request *q, const struct error *stored)
{
    struct key_op *op = q->op;
    if (!went_well(q, stored)) {
        return;
    }
    if (!http_request_gone(q->http)) {
        struct jsonw w;
        jsonw_init(&w, &q->out);
        jsonw_open(&w, '{');
        jsonw_key(&w, "tenants");
        jsonw_open(&w, '[');
        for (size_t at = 0; at < op->names.len; at += strlen(op->names.ptr + at) + 1) {
            const char *name = op->names.ptr + at;
            if (api_runs_appliance(q) || strcmp(name, q->who->tenant) == 0) {
                jsonw_str(&w, str_from(name));
            }
        }
        jsonw_close(&w, ']');
        api_object_end(q, 200, &w);
    }
    buf_deinit(&op->names);
}

void api_tenants_list(struct request *q)
{
    struct key_op *op = arena_alloc(q->arena, sizeof *op);
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    q->op = op;
    run_job(q, read_tenants, tenants_read);
}

/* ---- when keys were used last ----
 *
 * Every use is noted in memory; at most once a minute those noted since go to the database, on the
 * lane. A serve that is killed forgets a minute's worth. */

#define USES_EVERY_MS 60000
#define USES_AT_ONCE 256

struct uses_job {
    struct serve *serve;
    size_t n;
    struct key_use uses[USES_AT_ONCE];
    struct error err;
};

static void write_uses(void *job)
{
    struct uses_job *j = job;
    j->err.code = auth_store_uses(j->serve->svc->home, j->uses, j->n, &j->err);
}

static void uses_written(void *job)
{
    struct uses_job *j = job;
    struct serve *s = j->serve;
    if (j->err.code != STATUS_OK) {
        LOG_WARN("when keys were used could not be written", LOG_STR("err", j->err.text), LOG_END);
    }
    free(j);
    s->uses_writing = false;
    serve_admin_done(s);
}

void api_note_uses(struct serve *s)
{
    int64_t now = clock_monotonic_ms();
    if (s->uses_writing || now - s->uses_ms < USES_EVERY_MS) {
        return;
    }
    struct uses_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return;
    }
    s->uses_ms = now;
    j->serve = s;
    j->n = auth_uses(s->auth, j->uses, USES_AT_ONCE);
    s->uses_writing = lane_submit(&s->admin, write_uses, uses_written, j, &j->err) == STATUS_OK;
    if (!s->uses_writing) {
        free(j);
    }
}
