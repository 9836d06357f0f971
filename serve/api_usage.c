/* GET /api/usage: a month's report as JSON or CSV, for administrators and auditors of the tenant;
 * for those who run the appliance of any tenant, or of all ("*").
 *
 * What was answered is entered first, then the report is read and written on the admin lane from
 * copies of what only the loop thread may touch. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tenant.h"
#include "serve/api.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/usage/report.h"
#include "serve/users.h"

#define OUT_MAX ((size_t)64 * 1024 * 1024)

struct usage_op { /* malloc'd: its lists and its buffer outlive a client that left */
    struct request *q;
    struct report_ask ask;
    struct report_name *names;
    struct meter_subject *budgets;
    bool csv;
    struct buf out;
    struct error err;
};

static void free_op(struct usage_op *op)
{
    free(op->names);
    free(op->budgets);
    buf_deinit(&op->out);
    free(op);
}

static int by_id(const void *a, const void *b)
{
    const struct report_name *x = a, *y = b;
    return strcmp(x->id, y->id);
}

static void name_of(struct report_name *n, const struct principal *p)
{
    (void)snprintf(n->id, sizeof n->id, "%s", p->user);
    (void)snprintf(n->name, sizeof n->name, "%s", p->name);
}

static bool copy_names(struct usage_op *op, const struct auth *auth)
{
    size_t n = 0;
    size_t pos = 0;
    const struct user *u;
    while (auth_next_user(auth, &pos) != NULL) {
        n++;
    }
    for (size_t i = 0; auth_at(auth, i) != NULL; i++) {
        n++;
    }
    op->names = calloc(n + 1, sizeof *op->names);
    n = pos = 0;
    while (op->names != NULL && (u = auth_next_user(auth, &pos)) != NULL) {
        name_of(&op->names[n++], &u->who);
    }
    for (size_t i = 0; op->names != NULL && auth_at(auth, i) != NULL; i++) {
        if (auth_at(auth, i)->owner == NULL) { /* nobody's: it uses for itself */
            name_of(&op->names[n++], auth_at(auth, i));
        }
    }
    if (op->names != NULL) {
        qsort(op->names, n, sizeof *op->names, by_id);
    }
    op->ask.names = op->names;
    op->ask.n_names = n;
    return op->names != NULL;
}

static bool copy_budgets(struct usage_op *op, struct meter *m)
{
    size_t pos = 0;
    struct str key;
    void *value;
    op->budgets = calloc(m->subjects.len + 1, sizeof *op->budgets);
    while (op->budgets != NULL && map_next(&m->subjects, &pos, &key, &value)) {
        struct meter_subject *s = value;
        int64_t budget = meter_limit_of(m, s, METER_BUDGET);
        if (budget > 0) {
            meter_roll(s, op->ask.wall_ms);
            struct meter_subject *copy = &op->budgets[op->ask.n_budgets++];
            *copy = *s;
            copy->limits[METER_BUDGET] = budget;
        }
    }
    op->ask.budgets = op->budgets;
    return op->budgets != NULL;
}

/* ---- on the lane ---- */

static void work(void *job)
{
    struct usage_op *op = job;
    struct report r;
    enum status s = report_read(&op->ask, &r, &op->err);
    if (s == STATUS_OK) {
        if (op->csv) {
            report_csv(&r, &op->out);
        } else {
            report_json(&r, &op->out);
        }
        report_free(&r);
        s = buf_status(&op->out);
        if (s != STATUS_OK) {
            (void)error_set(&op->err, s, "the report is too long: ask for one tenant");
        }
    }
    op->err.code = s;
}

/* ---- on the loop ---- */

static void done(void *job)
{
    struct usage_op *op = job;
    struct request *q = op->q;
    struct http_request *http = q->http;
    struct serve *serve = q->serve;
    char name[64];
    char month[16];
    if (!http_request_gone(http)) {
        if (op->err.code != STATUS_OK) {
            api_fail(q, &op->err);
        } else if (op->csv) {
            report_month_name(op->ask.month, month);
            (void)snprintf(name, sizeof name, "attachment; filename=\"carrel-usage-%s.csv\"",
                           month);
            http_header(http, "Content-Disposition", name);
            http_respond_buf(http, 200, "text/csv; charset=utf-8", &op->out);
        } else {
            api_json(q, 200, &op->out);
        }
    }
    free_op(op);
    http_request_release(http);
    serve_admin_done(serve);
}

static void on_entered(void *data)
{
    struct usage_op *op = data;
    struct request *q = op->q;
    struct http_request *http = q->http;
    if (http_request_gone(http)) { /* or serve is closing */
        free_op(op);
    } else if (!copy_names(op, q->serve->auth) || !copy_budgets(op, fair_meter(q->serve->fair))) {
        free_op(op);
        api_out_of_memory(q);
    } else if (lane_submit(&q->serve->admin, work, done, op, &op->err) != STATUS_OK) {
        api_fail(q, &op->err);
        free_op(op);
    } else {
        return; /* done releases */
    }
    http_request_release(http);
}

/* "2026-11"; none: the one that runs. */
static bool read_month(struct request *q, int64_t wall_ms, int64_t *out)
{
    const char *text;
    int year = 0;
    int month = 0;
    if (!api_query(q, "month", &text)) {
        return false;
    }
    *out = meter_month(wall_ms);
    if (text == NULL) {
        return true;
    }
    bool ok = strlen(text) == 7 && text[4] == '-' && strspn(text, "0123456789") == 4 &&
              strspn(text + 5, "0123456789") == 2;
    if (ok) {
        year = (int)strtol(text, NULL, 10);
        month = (int)strtol(text + 5, NULL, 10);
    }
    if (!ok || year < 2000 || month < 1 || month > 12) {
        api_error(q, 400, "month", "invalid", "month must be written like 2026-11");
        return false;
    }
    *out = (int64_t)year * 12 + month - 1;
    return true;
}

static bool read_tenant(struct request *q, char out[METER_NAME_CAP])
{
    const char *tenant;
    if (!api_query(q, "tenant", &tenant)) {
        return false;
    }
    tenant = tenant == NULL ? q->who->tenant : tenant;
    bool all = strcmp(tenant, REPORT_TENANTS) == 0;
    if (strcmp(tenant, q->who->tenant) != 0 && !api_runs_appliance(q)) {
        api_error(q, 403, "tenant", "forbidden",
                  "Only administrators of the tenant \"" API_OPERATORS
                  "\" see the usage of others.");
        return false;
    }
    if (!all && !tenant_name_valid(str_from(tenant))) {
        api_error(q, 400, "tenant", "invalid", "tenant is no tenant's name");
        return false;
    }
    (void)snprintf(out, METER_NAME_CAP, "%s", tenant);
    return true;
}

void api_usage(struct request *q)
{
    const struct settings *set = q->serve->settings;
    const char *format;
    struct report_ask ask = {.home = q->serve->svc->home,
                             .appliance = api_runs_appliance(q),
                             .wall_ms = clock_wall_ms(),
                             .prices = *fair_prices(q->serve->fair),
                             .warn_percent = set->limits.warn_percent,
                             .local_model = set->generate.model};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    ask.cores = cores < 1 ? 1 : (unsigned)cores;
    if (!api_query(q, "format", &format) || !read_month(q, ask.wall_ms, &ask.month) ||
        !read_tenant(q, ask.tenant)) {
        return;
    }
    bool csv = format != NULL && strcmp(format, "csv") == 0;
    if (format != NULL && !csv && strcmp(format, "json") != 0) {
        api_error(q, 400, "format", "invalid", "format must be json or csv");
        return;
    }
    struct usage_op *op = calloc(1, sizeof *op);
    if (op == NULL) {
        api_out_of_memory(q);
        return;
    }
    op->q = q;
    op->ask = ask;
    op->csv = csv;
    buf_init(&op->out, OUT_MAX);
    http_request_hold(q->http);
    fair_flush(q->serve->fair, on_entered, op);
}
