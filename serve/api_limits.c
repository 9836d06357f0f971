/* /api/limits: what keys, users, teams and tenants may use, and have used. An administrator sees to
 * those of his own tenant; the tenant's own limits are set by administrators of tenant "main", who
 * run the appliance. GET /api/limits/mine: one's own, for everybody. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/tenant.h"
#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/usage/fair_store.h"

#define COUNT_MAX INT64_C(1000000000000000)

static const struct {
    const char *name;
    enum meter_limit which;
} fields[] = {
    {"requests_per_minute", METER_REQUESTS},
    {"tokens_per_day", METER_TOKENS},
    {"streams", METER_STREAMS},
    {"upload_bytes_per_day", METER_UPLOAD},
};
#define FIELDS (sizeof fields / sizeof fields[0])

struct limits_op {
    struct meter_subject s; /* a copy, as it is to be */
    const char *home;
    struct error err;
    struct request *q;
};

/* ---- as JSON ---- */

static void limit_fields(struct jsonw *w, const int64_t limits[METER_LIMITS])
{
    for (size_t i = 0; i < FIELDS; i++) {
        if (limits[fields[i].which] == METER_INHERIT) {
            jsonw_field_z(w, fields[i].name, NULL);
        } else {
            jsonw_field_int(w, fields[i].name, limits[fields[i].which]);
        }
    }
    if (limits[METER_BUDGET] == METER_INHERIT) {
        jsonw_field_z(w, "budget_per_month", NULL);
    } else {
        jsonw_field_double(w, "budget_per_month", (double)limits[METER_BUDGET] / 1e6);
    }
}

static void subject_json(struct jsonw *w, const struct meter *m, struct meter_subject *s,
                         const struct auth *auth)
{
    int64_t counted[METER_LIMITS];
    const struct principal *p =
        s->kind == METER_KEY || s->kind == METER_USER ? auth_by_id(auth, s->name) : NULL;
    meter_roll(s, clock_wall_ms());
    for (int i = 0; i < METER_LIMITS; i++) {
        counted[i] = meter_limit_of(m, s, (enum meter_limit)i);
    }
    jsonw_open(w, '{');
    jsonw_field_z(w, "kind", meter_kind_name(s->kind));
    jsonw_field_z(w, "tenant", s->tenant);
    jsonw_field_z(w, "name", s->kind == METER_TENANT ? s->tenant : s->name);
    if (p != NULL) {
        jsonw_field_z(w, "title", p->name);
    }
    if (s->team[0] != '\0') {
        jsonw_field_z(w, "team", s->team);
    }
    jsonw_key(w, "own");
    if (s->own) {
        jsonw_open(w, '{');
        limit_fields(w, s->limits);
        jsonw_close(w, '}');
    } else {
        jsonw_null(w);
    }
    jsonw_key(w, "limits");
    jsonw_open(w, '{');
    limit_fields(w, counted);
    jsonw_close(w, '}');
    jsonw_key(w, "used");
    jsonw_open(w, '{');
    jsonw_field_int(w, "tokens_today", s->tokens);
    jsonw_field_int(w, "upload_bytes_today", s->upload_bytes);
    jsonw_field_int(w, "streams", s->streams);
    jsonw_field_int(w, "in_flight", s->in_flight);
    jsonw_field_int(w, "cost_micro_this_month", s->micro);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static bool worth_telling(const struct meter_subject *s)
{
    return s->own || s->kind == METER_TENANT || s->tokens > 0 || s->upload_bytes > 0 ||
           s->micro > 0 || s->in_flight > 0;
}

void api_limits_list(struct request *q)
{
    struct meter *m = fair_meter(q->serve->fair);
    struct jsonw w;
    size_t pos = 0;
    struct str key;
    void *value;
    api_object_begin(q, &w);
    jsonw_field_z(&w, "currency", fair_prices(q->serve->fair)->currency);
    jsonw_field_int(&w, "warn_percent", m->defaults.warn_percent);
    jsonw_key(&w, "defaults");
    jsonw_open(&w, '{');
    for (int i = 0; i < METER_KINDS; i++) {
        jsonw_key(&w, meter_kind_name((enum meter_kind)i));
        jsonw_open(&w, '{');
        limit_fields(&w, m->defaults.limits[i]);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, '}');
    jsonw_key(&w, "subjects");
    jsonw_open(&w, '[');
    while (map_next(&m->subjects, &pos, &key, &value)) {
        struct meter_subject *s = value;
        if (worth_telling(s) && (api_runs_appliance(q) || strcmp(s->tenant, q->who->tenant) == 0)) {
            subject_json(&w, m, s, q->serve->auth);
        }
    }
    jsonw_close(&w, ']');
    api_object_end(q, 200, &w);
}

void api_limits_mine(struct request *q)
{
    const struct fair *f = q->serve->fair;
    struct meter *m = fair_meter(q->serve->fair);
    const struct meter_subject *warned;
    struct jsonw w;
    api_object_begin(q, &w);
    jsonw_field_z(&w, "currency", fair_prices(f)->currency);
    warned = meter_warning(m, &q->use.ticket, false, clock_wall_ms());
    jsonw_field_z(&w, "warning", warned == NULL ? NULL : meter_kind_name(warned->kind));
    jsonw_key(&w, "subjects");
    jsonw_open(&w, '[');
    for (int i = 0; i < METER_KINDS; i++) {
        if (q->use.ticket.who[i] != NULL) {
            subject_json(&w, m, q->use.ticket.who[i], q->serve->auth);
        }
    }
    jsonw_close(&w, ']');
    api_object_end(q, 200, &w);
}

/* ---- set ---- */

static bool has_own(const struct meter_subject *s)
{
    bool own = s->team[0] != '\0';
    for (int i = 0; i < METER_LIMITS; i++) {
        own = own || s->limits[i] != METER_INHERIT;
    }
    return own;
}

/* There, null: as the settings say. Not there: as it was. */
static enum status read_limit(const struct json *body, const char *name, int64_t *limit,
                              struct error *err)
{
    void *at = NULL;
    struct str key;
    const struct json *v;
    while (jsonr_next(body, &at, &key, &v)) {
        if (!str_eq(key, str_from(name))) {
            continue;
        }
        if (jsonr_kind(v) == JSON_KIND_NULL) {
            *limit = METER_INHERIT;
            return STATUS_OK;
        }
        return jsonr_int(body, name, 0, COUNT_MAX, 0, limit, err);
    }
    return STATUS_OK;
}

static enum status read_budget(const struct json *body, int64_t *limit, struct error *err)
{
    void *at = NULL;
    struct str key;
    const struct json *v;
    bool present = false;
    double amount = 0;
    while (jsonr_next(body, &at, &key, &v)) {
        if (str_eq(key, STR("budget_per_month")) && jsonr_kind(v) == JSON_KIND_NULL) {
            *limit = METER_INHERIT;
            return STATUS_OK;
        }
    }
    enum status s = jsonr_number(body, "budget_per_month", 0, 1e9, &present, &amount, err);
    if (s == STATUS_OK && present) {
        *limit = prices_micro(amount);
    }
    return s;
}

static enum status read_team(const struct json *body, struct meter_subject *s, struct error *err)
{
    struct str team;
    enum status st = jsonr_string(body, "team", &team, err);
    if (st != STATUS_OK || team.ptr == NULL) {
        return st;
    }
    if (s->kind != METER_KEY && s->kind != METER_USER) {
        return error_set(err, STATUS_INVALID, "team: only keys and users have one");
    }
    if (team.len > 0 && !auth_group_ok(team)) {
        return error_set(err, STATUS_INVALID,
                         "team: letters, digits and . _ - @, at most 64; \"\" for none");
    }
    (void)snprintf(s->team, sizeof s->team, "%.*s", STR_ARG(team));
    return STATUS_OK;
}

static enum status read_all(const struct json *body, struct meter_subject *s, struct error *err)
{
    bool reset = false;
    enum status st = jsonr_bool(body, "reset", false, &reset, err);
    if (st == STATUS_OK && reset) {
        s->team[0] = '\0';
        for (int i = 0; i < METER_LIMITS; i++) {
            s->limits[i] = METER_INHERIT;
        }
    }
    for (size_t i = 0; st == STATUS_OK && i < FIELDS; i++) {
        st = read_limit(body, fields[i].name, &s->limits[fields[i].which], err);
    }
    if (st == STATUS_OK) {
        st = read_budget(body, &s->limits[METER_BUDGET], err);
    }
    if (st == STATUS_OK) {
        st = read_team(body, s, err);
    }
    s->own = has_own(s);
    return st;
}

/* Whose limits: NULL, and the error was told. */
static struct meter_subject *subject_asked(struct request *q, const struct json *body)
{
    struct str kind;
    struct str name;
    struct str tenant;
    struct error err;
    enum meter_kind k = METER_KEY;
    if (jsonr_string(body, "kind", &kind, &err) != STATUS_OK ||
        jsonr_string(body, "name", &name, &err) != STATUS_OK ||
        jsonr_string(body, "tenant", &tenant, &err) != STATUS_OK) {
        api_fail(q, &err);
        return NULL;
    }
    if (kind.ptr == NULL || !meter_kind_read(kind, &k)) {
        api_error(q, 400, "kind", "invalid", "kind must be key, user, team or tenant");
        return NULL;
    }
    if (name.ptr == NULL || !api_name_ok(name, METER_NAME_CAP - 1)) {
        api_error(q, 400, "name", "invalid", "name: the id of a key or user, a team, or a tenant");
        return NULL;
    }
    tenant = k == METER_TENANT ? name : tenant.ptr == NULL ? str_from(q->who->tenant) : tenant;
    const char *t = arena_strndup(q->arena, tenant.ptr, tenant.len);
    const char *n = arena_strndup(q->arena, name.ptr, name.len);
    if (t == NULL || n == NULL) {
        api_out_of_memory(q);
        return NULL;
    }
    bool own_tenant = strcmp(t, q->who->tenant) == 0;
    if (!api_runs_appliance(q) && (!own_tenant || k == METER_TENANT)) {
        api_error(q, 403, NULL, "forbidden",
                  "Only administrators of the tenant \"" API_OPERATORS
                  "\" set the limits of a tenant.");
        return NULL;
    }
    const struct principal *p =
        k == METER_KEY || k == METER_USER ? auth_by_id(q->serve->auth, n) : NULL;
    if (!tenant_name_valid(str_from(t)) ||
        ((k == METER_KEY || k == METER_USER) && (p == NULL || strcmp(p->tenant, t) != 0))) {
        api_error(q, 404, "name", "not_found", "There is no such key, user or tenant.");
        return NULL;
    }
    struct meter_subject *s = meter_subject(fair_meter(q->serve->fair), k, t,
                                            k == METER_TENANT ? "" : n, clock_monotonic_ms());
    if (s == NULL) {
        api_out_of_memory(q);
    }
    return s;
}

static void work(void *job)
{
    struct limits_op *op = job;
    op->err.code = fair_store_limits(op->home, &op->s, &op->err);
}

/* What the database has got counts, whether the asker is still there or not. */
static void done(void *job)
{
    struct limits_op *op = job; /* in the request's arena */
    struct request *q = op->q;
    struct http_request *http = q->http;
    struct serve *serve = q->serve;
    struct meter *m = fair_meter(serve->fair);
    struct meter_subject *s =
        op->err.code != STATUS_OK
            ? NULL
            : meter_subject(m, op->s.kind, op->s.tenant, op->s.name, clock_monotonic_ms());
    if (s != NULL) {
        memcpy(s->limits, op->s.limits, sizeof s->limits);
        memcpy(s->team, op->s.team, sizeof s->team);
        s->own = op->s.own;
        s->bucket = (double)meter_limit_of(m, s, METER_REQUESTS);
    }
    if (!http_request_gone(http)) {
        if (s != NULL) {
            struct jsonw w;
            jsonw_init(&w, &q->out);
            subject_json(&w, m, s, serve->auth);
            api_json(q, 200, &q->out);
        } else {
            api_fail(q, &op->err);
        }
    }
    http_request_release(http);
    serve_admin_done(serve);
}

static void on_json(struct request *q, const struct json *body)
{
    struct limits_op *op = arena_alloc(q->arena, sizeof *op);
    struct meter_subject *s = op == NULL ? NULL : subject_asked(q, body);
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    if (s == NULL) {
        return;
    }
    *op = (struct limits_op){.s = *s, .home = q->serve->svc->home, .q = q};
    if (read_all(body, &op->s, &op->err) != STATUS_OK) {
        api_fail(q, &op->err);
        return;
    }
    http_request_hold(q->http);
    if (lane_submit(&q->serve->admin, work, done, op, &op->err) != STATUS_OK) {
        http_request_release(q->http);
        api_fail(q, &op->err);
    }
}

void api_limits_set(struct request *q)
{
    api_read_json(q, on_json);
}
