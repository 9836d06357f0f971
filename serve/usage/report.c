#include "serve/usage/report.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/db.h"
#include "base/file.h"
#include "base/tenant.h"

#define STORED_MAX ((size_t)20000)

const char *const report_amounts[REPORT_AMOUNTS] = {
    "requests", "prompt_tokens", "completion_tokens", "embedding_tokens", "cpu_us",
    "gpu_us",   "upload_bytes",  "cost_micro",        "external_micro",   "estimated_micro",
};

void report_month_name(int64_t month, char out[16])
{
    (void)snprintf(out, 16, "%04d-%02d", (int)(month / 12), (int)(month % 12) + 1);
}

const char *report_name_of(const struct report_ask *a, const char *id)
{
    size_t from = 0;
    size_t to = a->n_names;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int c = strcmp(a->names[middle].id, id);
        if (c == 0) {
            return a->names[middle].name;
        }
        from = c < 0 ? middle + 1 : from;
        to = c < 0 ? to : middle;
    }
    return id;
}

static void text_column(char *out, size_t cap, sqlite3_stmt *st, int col)
{
    struct str s = db_column(st, col);
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    memcpy(out, s.len == 0 ? "" : s.ptr, n);
    out[n] = '\0';
}

/* Room for one more; NULL: there may be no more, or there is no memory. */
static void *more(void *list, size_t n, size_t *cap, size_t max, size_t item)
{
    if (n < *cap) {
        return list;
    }
    size_t wanted = *cap == 0 ? 64 : *cap * 2;
    void *grown = n >= max ? NULL : realloc(list, wanted * item);
    *cap = grown == NULL ? *cap : wanted;
    return grown;
}

static enum status take_row(struct report *r, const char *tenant, sqlite3_stmt *st,
                            struct error *err)
{
    struct report_row *rows = more(r->rows, r->n_rows, &r->rows_cap, REPORT_ROWS_MAX, sizeof *rows);
    if (rows == NULL) {
        return error_set(err, STATUS_TOO_LARGE,
                         "more than %zu keys and models in one report: ask for one tenant",
                         REPORT_ROWS_MAX);
    }
    r->rows = rows;
    struct report_row *row = &rows[r->n_rows++];
    *row = (struct report_row){0};
    (void)snprintf(row->tenant, sizeof row->tenant, "%s", tenant);
    text_column(row->team, sizeof row->team, st, 0);
    text_column(row->user, sizeof row->user, st, 1);
    text_column(row->key, sizeof row->key, st, 2);
    text_column(row->model, sizeof row->model, st, 3);
    for (int i = 0; i < REPORT_AMOUNTS; i++) {
        row->n[i] = sqlite3_column_int64(st, 4 + i);
        r->total[i] += row->n[i];
    }
    return STATUS_OK;
}

static enum status take_day(struct report *r, const char *tenant, sqlite3_stmt *st,
                            struct error *err)
{
    (void)tenant;
    (void)err;
    int64_t at = sqlite3_column_int64(st, 0) - r->from_ms / METER_DAY_MS;
    for (int i = 0; at >= 0 && at < 31 && i < REPORT_AMOUNTS; i++) {
        r->days[at].n[i] += sqlite3_column_int64(st, 1 + i);
    }
    return STATUS_OK;
}

static enum status take_stored(struct report *r, const char *tenant, sqlite3_stmt *st,
                               struct error *err)
{
    struct report_stored *list =
        more(r->stored, r->n_stored, &r->stored_cap, STORED_MAX, sizeof *list);
    if (list == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "more than %zu collections in one report",
                         STORED_MAX);
    }
    r->stored = list;
    struct report_stored *s = &list[r->n_stored++];
    *s = (struct report_stored){0};
    (void)snprintf(s->tenant, sizeof s->tenant, "%s", tenant);
    text_column(s->collection, sizeof s->collection, st, 0);
    s->bytes = sqlite3_column_int64(st, 1);
    s->documents = sqlite3_column_int64(st, 2);
    s->micro = sqlite3_column_int64(st, 3);
    s->found = sqlite3_column_int64(st, 4);
    s->read = sqlite3_column_int64(st, 5);
    s->read_cpu_us = sqlite3_column_int64(st, 6);
    s->read_micro = sqlite3_column_int64(st, 7);
    r->stored_micro += s->micro;
    return STATUS_OK;
}

static enum status take_all(struct report *r, const char *tenant, sqlite3_stmt *st,
                            struct error *err)
{
    (void)tenant;
    (void)err;
    r->all_cpu_us += sqlite3_column_int64(st, 0);
    r->all_gpu_us += sqlite3_column_int64(st, 1);
    return STATUS_OK;
}

#define SUMS                                                                                       \
    "sum(requests), sum(prompt), sum(completion), sum(embedding), sum(cpu_us), sum(gpu_us),"       \
    " sum(upload), sum(micro), sum(external), sum(guessed)"

typedef enum status (*take_fn)(struct report *r, const char *tenant, sqlite3_stmt *st,
                               struct error *err);

static enum status each(struct report *r, const char *tenant, sqlite3 *db, const char *sql,
                        take_fn take, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    bool row = s == STATUS_OK;
    if (row) {
        (void)sqlite3_bind_int64(st, 1, r->from_ms / METER_DAY_MS);
        (void)sqlite3_bind_int64(st, 2, meter_month_start(r->ask->month + 1) / METER_DAY_MS - 1);
    }
    while (s == STATUS_OK && row) {
        s = db_row(st, &row, err);
        if (s == STATUS_OK && row) {
            s = take(r, tenant, st, err);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status read_asked(struct report *r, const char *tenant, sqlite3 *db, struct error *err)
{
    enum status s = each(r, tenant, db,
                         "SELECT team, user, key, model, " SUMS " FROM used_days"
                         " WHERE day BETWEEN ?1 AND ?2 GROUP BY team, user, key, model",
                         take_row, err);
    if (s == STATUS_OK) {
        s = each(r, tenant, db,
                 "SELECT day, " SUMS " FROM used_days WHERE day BETWEEN ?1 AND ?2 GROUP BY day",
                 take_day, err);
    }
    if (s == STATUS_OK) { /* with max() alone the other columns are of its row */
        s = each(r, tenant, db,
                 "SELECT c.collection, coalesce(l.bytes, 0), coalesce(l.documents, 0),"
                 " coalesce(t.micro, 0), coalesce(f.times, 0), coalesce(w.documents, 0),"
                 " coalesce(w.cpu_us, 0), coalesce(w.micro, 0)"
                 " FROM (SELECT collection FROM stored_days WHERE day BETWEEN ?1 AND ?2 UNION"
                 "  SELECT collection FROM worked_days WHERE day BETWEEN ?1 AND ?2) c"
                 " LEFT JOIN (SELECT collection, max(day) AS day, bytes, documents FROM stored_days"
                 "  WHERE day BETWEEN ?1 AND ?2 GROUP BY collection) l USING(collection)"
                 " LEFT JOIN (SELECT collection, sum(documents) AS documents,"
                 "  sum(cpu_us) AS cpu_us, sum(micro) AS micro FROM worked_days"
                 "  WHERE day BETWEEN ?1 AND ?2 GROUP BY collection) w USING(collection)"
                 " LEFT JOIN (SELECT collection, sum(micro) AS micro FROM stored_days"
                 "  WHERE day BETWEEN ?1 AND ?2 GROUP BY collection) t USING(collection)"
                 " LEFT JOIN (SELECT collection, sum(times) AS times FROM found_days"
                 "  WHERE day BETWEEN ?1 AND ?2 GROUP BY collection) f USING(collection)"
                 " ORDER BY 2 DESC, 1",
                 take_stored, err);
    }
    return s;
}

/* A tenant that nobody has asked anything yet has no books. */
static enum status read_tenant(struct report *r, const char *tenant, struct error *err)
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    bool asked = strcmp(r->ask->tenant, REPORT_TENANTS) == 0 || strcmp(r->ask->tenant, tenant) == 0;
    if (!asked && !r->ask->appliance) {
        return STATUS_OK;
    }
    int n = snprintf(path, sizeof path, "%s/tenants/%s/serve.db", r->ask->home, tenant);
    if (n < 0 || (size_t)n >= sizeof path) {
        return error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    r->tenants += asked;
    if (access(path, F_OK) != 0) {
        return STATUS_OK;
    }
    enum status s = db_open(path, DB_READONLY, NULL, 0, &db, err);
    sqlite3_stmt *st = NULL;
    bool books = false;
    if (s == STATUS_OK) { /* one of the version before has none until it is written */
        s = db_prepare(db, "SELECT 1 FROM sqlite_master WHERE name = 'found_days'", &st, err);
    }
    if (s == STATUS_OK) {
        s = db_row(st, &books, err);
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK && books) {
        s = each(r, tenant, db,
                 "SELECT coalesce(sum(cpu_us), 0), coalesce(sum(gpu_us), 0) FROM used_days"
                 " WHERE day BETWEEN ?1 AND ?2",
                 take_all, err);
    }
    if (s == STATUS_OK && books && asked) {
        s = read_asked(r, tenant, db, err);
    }
    db_close(db);
    return s;
}

static enum status read_tenants(struct report *r, struct error *err)
{
    char path[PATH_MAX];
    enum status s = file_join(path, sizeof path, r->ask->home, "tenants", err);
    DIR *d = s == STATUS_OK ? opendir(path) : NULL;
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); s == STATUS_OK && e != NULL;
         e = readdir(d)) {
        if (tenant_name_valid(str_from(e->d_name))) {
            s = read_tenant(r, e->d_name, err);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return s;
}

/* Before its first tenant was made there was no appliance that could have worked. */
static enum status read_since(struct report *r, struct error *err)
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    int64_t first = 0;
    enum status s = file_join(path, sizeof path, r->ask->home, "system/serve.db", err);
    if (s == STATUS_OK && access(path, F_OK) == 0) {
        s = db_open(path, DB_READONLY, NULL, 0, &db, err);
        s = s == STATUS_OK ? db_number(db, "SELECT min(created_wall_ms) FROM tenants", &first, err)
                           : s;
        db_close(db);
    }
    r->since_ms = first < r->from_ms ? r->from_ms : first > r->to_ms ? r->to_ms : first;
    return s;
}

enum status report_read(const struct report_ask *ask, struct report *out, struct error *err)
{
    *out = (struct report){.ask = ask, .from_ms = meter_month_start(ask->month)};
    int64_t end = meter_month_start(ask->month + 1);
    out->to_ms = ask->wall_ms < end ? ask->wall_ms : end;
    out->to_ms = out->to_ms < out->from_ms ? out->from_ms : out->to_ms;
    out->n_days = (size_t)((end - out->from_ms) / METER_DAY_MS);
    for (size_t i = 0; i < out->n_days; i++) {
        out->days[i].day = out->from_ms / METER_DAY_MS + (int64_t)i;
    }
    enum status s = read_since(out, err);
    s = s == STATUS_OK ? read_tenants(out, err) : s;
    if (s != STATUS_OK) {
        report_free(out);
    }
    return s;
}

void report_free(struct report *r)
{
    free(r->rows);
    free(r->stored);
    r->rows = NULL;
    r->stored = NULL;
}
