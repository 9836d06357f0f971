/* A report as JSON and as CSV. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/money.h"
#include "serve/http/jsonw.h"
#include "serve/usage/report.h"

/* A part of the whole is one of the cost; where nothing costs, of computing time, else of tokens.
 */
static int64_t weight(const struct report *r, const int64_t n[REPORT_AMOUNTS])
{
    const int64_t *t = r->total;
    if (t[REPORT_MICRO] > 0) {
        return n[REPORT_MICRO];
    }
    if (t[REPORT_CPU] + t[REPORT_GPU] > 0) {
        return n[REPORT_CPU] + n[REPORT_GPU];
    }
    return n[REPORT_PROMPT] + n[REPORT_COMPLETION] + n[REPORT_EMBEDDING];
}

static const char *weight_name(const struct report *r)
{
    const int64_t *t = r->total;
    return t[REPORT_MICRO] > 0                 ? "cost"
           : t[REPORT_CPU] + t[REPORT_GPU] > 0 ? "computing"
                                               : "tokens";
}

static void amounts(struct jsonw *w, const int64_t n[REPORT_AMOUNTS])
{
    for (int i = 0; i < REPORT_AMOUNTS; i++) {
        jsonw_field_int(w, report_amounts[i], n[i]);
    }
}

static int by_team(const void *a, const void *b)
{
    const struct report_row *const *x = a, *const *y = b;
    int c = strcmp((*x)->tenant, (*y)->tenant);
    return c != 0 ? c : strcmp((*x)->team, (*y)->team);
}

static int by_user(const void *a, const void *b)
{
    const struct report_row *const *x = a, *const *y = b;
    int c = strcmp((*x)->tenant, (*y)->tenant);
    return c != 0 ? c : strcmp((*x)->user, (*y)->user);
}

static int by_key(const void *a, const void *b)
{
    const struct report_row *const *x = a, *const *y = b;
    int c = strcmp((*x)->tenant, (*y)->tenant);
    return c != 0 ? c : strcmp((*x)->key, (*y)->key);
}

static int by_model(const void *a, const void *b)
{
    const struct report_row *const *x = a, *const *y = b;
    return strcmp((*x)->model, (*y)->model);
}

static void budget_fields(struct jsonw *w, const struct report *r, const struct report_row *row,
                          enum meter_kind kind)
{
    for (size_t i = 0; i < r->ask->n_budgets; i++) {
        const struct meter_subject *b = &r->ask->budgets[i];
        if (b->kind == kind && b->limits[METER_BUDGET] > 0 && strcmp(b->tenant, row->tenant) == 0 &&
            strcmp(b->name, kind == METER_TEAM ? row->team : row->user) == 0) {
            jsonw_field_int(w, "budget_micro", b->limits[METER_BUDGET]);
        }
    }
}

static void group_json(struct jsonw *w, const struct report *r, const struct report_row *row,
                       const int64_t n[REPORT_AMOUNTS], int (*by)(const void *, const void *))
{
    int64_t whole = weight(r, r->total);
    jsonw_open(w, '{');
    if (by != by_model) {
        jsonw_field_z(w, "tenant", row->tenant);
    }
    if (by == by_team) {
        jsonw_field_z(w, "team", row->team);
        budget_fields(w, r, row, METER_TEAM);
    } else if (by == by_user) {
        jsonw_field_z(w, "user", row->user);
        jsonw_field_z(w, "name", report_name_of(r->ask, row->user));
        budget_fields(w, r, row, METER_USER);
    } else if (by == by_key) {
        jsonw_field_z(w, "key", row->key);
        jsonw_field_z(w, "name", report_name_of(r->ask, row->key));
    } else {
        jsonw_field_z(w, "model", row->model);
    }
    jsonw_field_double(w, "share", whole > 0 ? (double)weight(r, n) / (double)whole : 0);
    amounts(w, n);
    jsonw_close(w, '}');
}

/* Rows that compare equal are one group. */
static void groups(struct jsonw *w, const struct report *r, const struct report_row **order,
                   const char *name, int (*by)(const void *, const void *))
{
    qsort(order, r->n_rows, sizeof *order, by);
    jsonw_key(w, name);
    jsonw_open(w, '[');
    for (size_t i = 0; i < r->n_rows;) {
        int64_t sum[REPORT_AMOUNTS] = {0};
        size_t first = i;
        for (; i < r->n_rows && by(&order[first], &order[i]) == 0; i++) {
            for (int k = 0; k < REPORT_AMOUNTS; k++) {
                sum[k] += order[i]->n[k];
            }
        }
        group_json(w, r, order[first], sum, by);
    }
    jsonw_close(w, ']');
}

static void days(struct jsonw *w, const struct report *r)
{
    jsonw_key(w, "days");
    jsonw_open(w, '[');
    for (size_t i = 0; i < r->n_days; i++) {
        char date[25];
        clock_format_utc(r->days[i].day * METER_DAY_MS, date);
        date[10] = '\0';
        jsonw_open(w, '{');
        jsonw_field_z(w, "day", date);
        amounts(w, r->days[i].n);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void storage(struct jsonw *w, const struct report *r)
{
    jsonw_key(w, "storage");
    jsonw_open(w, '[');
    for (size_t i = 0; i < r->n_stored; i++) {
        const struct report_stored *s = &r->stored[i];
        jsonw_open(w, '{');
        jsonw_field_z(w, "tenant", s->tenant);
        jsonw_field_z(w, "collection", s->collection);
        jsonw_field_int(w, "bytes", s->bytes);
        jsonw_field_int(w, "documents", s->documents);
        jsonw_field_int(w, "cost_micro", s->micro);
        jsonw_field_int(w, "found", s->found);
        jsonw_field_int(w, "read_documents", s->read);
        jsonw_field_int(w, "read_cpu_us", s->read_cpu_us);
        jsonw_field_int(w, "read_micro", s->read_micro);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void one_capacity(struct jsonw *w, const char *name, int64_t could_us, int64_t used_us)
{
    int64_t capacity_us = could_us > used_us ? could_us : used_us; /* clocks differ by a little */
    int64_t idle = capacity_us - used_us;
    jsonw_key(w, name);
    jsonw_open(w, '{');
    jsonw_field_int(w, "capacity_us", capacity_us);
    jsonw_field_int(w, "used_us", used_us);
    jsonw_field_int(w, "idle_us", idle);
    jsonw_field_double(w, "idle_share", capacity_us > 0 ? (double)idle / (double)capacity_us : 0);
    jsonw_close(w, '}');
}

static void capacity(struct jsonw *w, const struct report *r)
{
    int64_t us = (r->to_ms - r->since_ms) * 1000;
    jsonw_key(w, "capacity");
    if (!r->ask->appliance) {
        jsonw_null(w);
        return;
    }
    jsonw_open(w, '{');
    jsonw_field_int(w, "cores", r->ask->cores);
    one_capacity(w, "cpu", us * r->ask->cores, r->all_cpu_us);
    if (r->all_gpu_us > 0) {
        one_capacity(w, "gpu", us, r->all_gpu_us);
    }
    jsonw_close(w, '}');
}

static void totals(struct jsonw *w, const struct report *r)
{
    jsonw_key(w, "totals");
    jsonw_open(w, '{');
    amounts(w, r->total);
    jsonw_field_int(w, "storage_micro", r->stored_micro);
    jsonw_field_int(w, "all_micro", r->total[REPORT_MICRO] + r->stored_micro);
    jsonw_close(w, '}');
}

void report_json(const struct report *r, struct buf *out)
{
    struct jsonw w;
    char month[16];
    const struct report_row **order = calloc(r->n_rows + 1, sizeof *order);
    if (order == NULL) {
        out->failed = STATUS_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < r->n_rows; i++) {
        order[i] = &r->rows[i];
    }
    report_month_name(r->ask->month, month);
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "month", month);
    jsonw_field_z(&w, "tenant", r->ask->tenant);
    jsonw_field_z(&w, "currency", r->ask->prices.currency);
    jsonw_field_int(&w, "from", r->from_ms / 1000);
    jsonw_field_int(&w, "to", r->to_ms / 1000);
    jsonw_field_z(&w, "share_of", weight_name(r));
    totals(&w, r);
    groups(&w, r, order, "teams", by_team);
    groups(&w, r, order, "users", by_user);
    groups(&w, r, order, "keys", by_key);
    groups(&w, r, order, "models", by_model);
    days(&w, r);
    storage(&w, r);
    capacity(&w, r);
    jsonw_key(&w, "advice");
    jsonw_open(&w, '[');
    report_advice(r, &w);
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    free(order);
}

/* ---- CSV (RFC 4180) ---- */

/* Always in quotes. What a spreadsheet would take for a formula begins with an apostrophe. */
static void cell(struct buf *out, const char *z)
{
    buf_z(out, "\"");
    if (z[0] == '=' || z[0] == '+' || z[0] == '-' || z[0] == '@') {
        buf_char(out, '\'');
    }
    for (; *z != '\0'; z++) {
        if (*z == '"') {
            buf_char(out, '"');
        }
        buf_char(out, (unsigned char)*z < 0x20 ? ' ' : *z);
    }
    buf_z(out, "\",");
}

static void csv_row(struct buf *out, const char *month, const char *const texts[6],
                    const int64_t n[REPORT_AMOUNTS], const char *currency)
{
    char cost[MONEY_CAP];
    cell(out, month);
    for (int i = 0; i < 6; i++) {
        cell(out, texts[i]);
    }
    for (int i = 0; i < REPORT_AMOUNTS; i++) {
        buf_printf(out, "%" PRId64 ",", n[i]);
    }
    money_exact(cost, n[REPORT_MICRO]);
    buf_printf(out, "%s,%s\r\n", currency, cost);
}

void report_csv(const struct report *r, struct buf *out)
{
    char month[16];
    report_month_name(r->ask->month, month);
    buf_z(out, "month,tenant,team,user,name,key,model");
    for (int i = 0; i < REPORT_AMOUNTS; i++) {
        buf_printf(out, ",%s", report_amounts[i]);
    }
    buf_z(out, ",currency,cost\r\n");
    for (size_t i = 0; i < r->n_rows; i++) {
        const struct report_row *row = &r->rows[i];
        const char *const texts[6] = {row->tenant, row->team,
                                      row->user,   report_name_of(r->ask, row->user),
                                      row->key,    row->model};
        csv_row(out, month, texts, row->n, r->ask->prices.currency);
    }
    for (size_t i = 0; i < r->n_stored; i++) {
        int64_t n[REPORT_AMOUNTS] = {0};
        n[REPORT_MICRO] = r->stored[i].micro;
        char name[300];
        (void)snprintf(name, sizeof name, "(storage) %s", r->stored[i].collection);
        const char *const texts[6] = {r->stored[i].tenant, "", "", "", "", name};
        csv_row(out, month, texts, n, r->ask->prices.currency);
    }
}
