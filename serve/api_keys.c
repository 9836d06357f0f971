/* /api/keys and /api/tenants, for administrators: who may ask, as which groups, in which tenant. An
 * administrator looks after the keys of his own tenant; those of tenant "main", who run the
 * appliance, after all. A key is shown once, in the answer that made it. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/tenant.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"

#define TENANT_RULE "must be 1 to 64 lower-case letters, digits or -"

struct key_op {
    struct principal p;
    char key[KEY_CAP];
    const char *home;
    const char *user; /* to revoke */
    struct buf names; /* of tenants, each ended by NUL */
    struct error err;
};

/* ---- blocking work ---- */

struct key_job {
    struct request *q;
    enum status (*work)(struct key_op *op, struct error *err);
    void (*done)(struct request *q);
};

static void on_work(void *job)
{
    struct key_job *j = job;
    struct key_op *op = j->q->op;
    op->err.code = j->work(op, &op->err);
}

static void on_done(void *job)
{
    struct key_job *j = job; /* in the request's arena */
    struct request *q = j->q;
    struct http_request *http = q->http;
    struct serve *serve = q->serve;
    struct key_op *op = q->op;
    if (op->err.code == STATUS_OK) {
        j->done(q);
    } else if (!http_request_gone(http)) {
        api_fail(q, &op->err);
    }
    explicit_bzero(op->key, sizeof op->key);
    http_request_release(http);
    serve_admin_done(serve);
}

/* What the database has got counts, whether the asker is still there or not. */
static void run_job(struct request *q, enum status (*work)(struct key_op *op, struct error *err),
                    void (*done)(struct request *q))
{
    struct key_op *op = q->op;
    struct key_job *j = arena_alloc(q->arena, sizeof *j);
    if (j == NULL) {
        api_out_of_memory(q);
        return;
    }
    op->home = q->serve->svc->home;
    *j = (struct key_job){.q = q, .work = work, .done = done};
    http_request_hold(q->http);
    if (lane_submit(&q->serve->admin, on_work, on_done, j, &op->err) != STATUS_OK) {
        http_request_release(q->http);
        api_fail(q, &op->err);
    }
}

/* ---- one key ---- */

static void key_fields(struct jsonw *w, const struct principal *p)
{
    jsonw_field_z(w, "id", p->user);
    jsonw_field_z(w, "name", p->name);
    jsonw_field_z(w, "tenant", p->tenant);
    jsonw_field_bool(w, "admin", p->admin);
    jsonw_field_z(w, "role", role_name(p->role));
    jsonw_key(w, "scopes");
    jsonw_open(w, '[');
    for (unsigned i = 0; i < SCOPES_N; i++) {
        if ((p->scopes & 1U << i) != 0) {
            jsonw_str(w, str_from(scope_name(i)));
        }
    }
    jsonw_close(w, ']');
    jsonw_key(w, "groups");
    jsonw_open(w, '[');
    for (size_t i = 0; i < p->n_groups; i++) {
        jsonw_str(w, str_from(p->groups[i]));
    }
    jsonw_close(w, ']');
    jsonw_field_int(w, "created", p->created_wall_ms / 1000);
}

static enum status read_groups(const struct json *names, struct principal *p, struct error *err)
{
    struct str list[GROUPS_MAX];
    size_t n = names == NULL ? 0 : jsonr_len(names);
    if (names != NULL && (jsonr_kind(names) != JSON_KIND_ARRAY || n > GROUPS_MAX)) {
        return error_set(err, STATUS_INVALID, "groups must be an array of at most %d names",
                         GROUPS_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        list[i] = jsonr_str(jsonr_at(names, i));
        if (list[i].ptr == NULL) {
            return error_set(err, STATUS_INVALID, "groups[%zu] must be a string", i);
        }
    }
    return auth_set_groups(p, list, n, err);
}

/* "admin": true is how an administrator's key was asked for before there were roles. */
static enum status read_role(const struct json *body, struct principal *p, struct error *err)
{
    struct str name;
    bool admin;
    enum role role;
    enum status s = jsonr_bool(body, "admin", false, &admin, err);
    if (s == STATUS_OK) {
        s = jsonr_string(body, "role", &name, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    role = admin ? ROLE_ADMIN : ROLE_READER;
    if (name.ptr != NULL && (!role_read(name, &role) || (admin && role != ROLE_ADMIN))) {
        return error_set(err, STATUS_INVALID,
                         "role must be admin, manager, editor, reader, auditor or service");
    }
    auth_set_role(p, role);
    return STATUS_OK;
}

static enum status read_scopes(const struct json *body, struct principal *p, struct error *err)
{
    const struct json *names = jsonr_get(body, "scopes");
    if (names == NULL) {
        return STATUS_OK;
    }
    if (jsonr_kind(names) != JSON_KIND_ARRAY || jsonr_len(names) == 0) {
        return error_set(err, STATUS_INVALID, "scopes must be an array of at least one name");
    }
    unsigned scopes = 0;
    for (size_t i = 0; i < jsonr_len(names); i++) {
        struct str name = jsonr_str(jsonr_at(names, i));
        unsigned bit = name.ptr == NULL ? 0 : scope_read(name);
        if (bit == 0 || (bit & p->scopes) == 0) {
            return error_set(err, STATUS_INVALID, "scopes[%zu]: %s", i,
                             bit == 0 ? "must be ask, search, read, ingest, manage, audit, monitor "
                                        "or admin"
                                      : "the key's role can make no use of that one");
        }
        scopes |= bit;
    }
    p->scopes = scopes;
    return STATUS_OK;
}

static enum status read_key(struct request *q, const struct json *body, struct principal *p,
                            struct error *err)
{
    struct str name;
    struct str tenant;
    enum status s = jsonr_string(body, "name", &name, err);
    if (s == STATUS_OK && (name.ptr == NULL || !api_name_ok(name, sizeof p->name - 1))) {
        s = error_set(err, STATUS_INVALID, "name must be a string of 1 to %zu bytes",
                      sizeof p->name - 1);
    }
    if (s == STATUS_OK) {
        (void)snprintf(p->name, sizeof p->name, "%.*s", STR_ARG(name));
        s = read_role(body, p, err);
    }
    if (s == STATUS_OK) {
        s = read_scopes(body, p, err);
    }
    if (s == STATUS_OK) {
        s = jsonr_string(body, "tenant", &tenant, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    tenant = tenant.ptr == NULL ? str_from(q->who->tenant) : tenant;
    if (!str_eq(tenant, str_from(q->who->tenant)) && !api_runs_appliance(q)) {
        return error_set(err, STATUS_FORBIDDEN,
                         "only administrators of the tenant \"" API_OPERATORS
                         "\" make keys for another tenant");
    }
    if (!tenant_name_valid(tenant)) {
        return error_set(err, STATUS_INVALID, "tenant: " TENANT_RULE);
    }
    (void)snprintf(p->tenant, sizeof p->tenant, "%.*s", STR_ARG(tenant));
    s = read_groups(jsonr_get(body, "groups"), p, err);
    if (s == STATUS_OK && !auth_looks_after(q->who, p)) {
        s = error_set(err, STATUS_FORBIDDEN,
                      "a manager makes keys of editors, readers and services whose groups are all "
                      "his own, at least one");
    }
    return s;
}

static enum status tenant_path(const struct key_op *op, char path[PATH_MAX], struct error *err)
{
    int n = snprintf(path, PATH_MAX, "%s/tenants/%s", op->home, op->p.tenant);
    return n < 0 || n >= PATH_MAX ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", op->home)
                                  : STATUS_OK;
}

static enum status store_key(struct key_op *op, struct error *err)
{
    char path[PATH_MAX];
    enum status s = tenant_path(op, path, err);
    if (s == STATUS_OK && strcmp(op->p.tenant, API_OPERATORS) != 0 && access(path, F_OK) != 0) {
        s = error_set(err, STATUS_INVALID,
                      "there is no tenant \"%s\": make it first (carrel tenant create %s)",
                      op->p.tenant, op->p.tenant);
    }
    return s == STATUS_OK ? auth_store_key(op->home, &op->p, err) : s;
}

static void key_made(struct request *q)
{
    struct key_op *op = q->op;
    if (auth_add(q->serve->auth, &op->p, &op->err) != STATUS_OK) {
        api_fail(q, &op->err);
        return;
    }
    fair_know(q->serve->fair, op->p.tenant);
    if (http_request_gone(q->http)) { /* nobody has seen the key: it opens nothing */
        (void)auth_revoke(q->serve->auth, op->p.user);
        return;
    }
    struct jsonw w;
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    key_fields(&w, &op->p);
    jsonw_field_z(&w, "key", op->key);
    jsonw_close(&w, '}');
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

static enum status store_revoked(struct key_op *op, struct error *err)
{
    return auth_store_revoked(op->home, op->user, err);
}

static void key_revoked(struct request *q)
{
    const struct key_op *op = q->op;
    (void)auth_revoke(q->serve->auth, op->user);
    if (!http_request_gone(q->http)) {
        struct jsonw w;
        jsonw_init(&w, &q->out);
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "id", op->user);
        jsonw_field_bool(&w, "revoked", true);
        api_object_end(q, 200, &w);
    }
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
    const struct principal *p = auth_user(q->serve->auth, id);
    if (p == NULL || !auth_looks_after(q->who, p)) {
        api_error(q, 404, NULL, "not_found", "There is no such key.");
    } else if (p == q->who) {
        api_error(q, 409, NULL, "conflict", "A key cannot revoke itself: use another one.");
    } else {
        op->user = id;
        q->op = op;
        run_job(q, store_revoked, key_revoked);
    }
}

/* ---- tenants ---- */

static enum status store_tenant(struct key_op *op, struct error *err)
{
    char path[PATH_MAX];
    enum status s = tenant_path(op, path, err);
    if (s == STATUS_OK) {
        s = auth_store_tenant(op->home, op->p.tenant, err);
    }
    return s == STATUS_OK ? file_mkdirs(path, 0700, err) : s; /* ingest and the store follow */
}

static void tenant_made(struct request *q)
{
    const struct key_op *op = q->op;
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
static enum status read_tenants(struct key_op *op, struct error *err)
{
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

static void tenants_read(struct request *q)
{
    struct key_op *op = q->op;
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
