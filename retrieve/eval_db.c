#include "retrieve/eval_db.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/db.h"
#include "base/file.h"

#define GROUPS_MAX 64 /* collections with figures of their own: the ones with most questions */
#define PAIRS_MAX 4096

static const struct db_migration migrations[] = {
    {1, "CREATE TABLE runs(id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL,"
        " generation INTEGER NOT NULL, encoder TEXT NOT NULL, mode TEXT NOT NULL,"
        " settings TEXT NOT NULL, documents INTEGER NOT NULL) STRICT;"
        "CREATE TABLE results(run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,"
        " key INTEGER NOT NULL, recall5 REAL NOT NULL, recall20 REAL NOT NULL,"
        " ndcg10 REAL NOT NULL, mrr10 REAL NOT NULL,"
        " PRIMARY KEY(run, key)) STRICT, WITHOUT ROWID;"
        "CREATE TABLE measures(run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,"
        " collection TEXT NOT NULL, questions INTEGER NOT NULL, measure INTEGER NOT NULL,"
        " mean REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,"
        " PRIMARY KEY(run, collection, measure)) STRICT, WITHOUT ROWID;"},
};

static enum status open_db(const char *home, const char *tenant, bool create, sqlite3 **out,
                           struct error *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/tenants/%s", home, tenant);
    *out = NULL;
    if (n < 0 || (size_t)n >= sizeof path - 16) {
        return error_set(err, STATUS_TOO_LARGE,
                         "evaluation: the data directory's name is too long");
    }
    enum status s = create ? file_mkdirs(path, 0700, err) : STATUS_OK;
    (void)snprintf(path + n, sizeof path - (size_t)n, "/eval.db");
    if (s != STATUS_OK || (!create && access(path, F_OK) != 0)) {
        return s;
    }
    return db_open(path, DB_CREATE, migrations, sizeof migrations / sizeof migrations[0], out, err);
}

/* ---- writing ---- */

static enum status add_run(sqlite3 *db, const struct eval_run *run, int64_t *id, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "INSERT INTO runs(at_ms, generation, encoder, mode, settings,"
                               " documents) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, run->at_wall_ms);
        (void)sqlite3_bind_int64(st, 2, (int64_t)run->generation);
        (void)sqlite3_bind_text(st, 3, run->encoder, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 4, run->mode, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 5, run->settings, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 6, run->documents);
        s = db_run(st, err);
        *id = sqlite3_last_insert_rowid(db);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status add_results(sqlite3 *db, int64_t id, const struct eval_run *run,
                               struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s =
        db_prepare(db, "INSERT OR IGNORE INTO results VALUES(?1, ?2, ?3, ?4, ?5, ?6)", &st, err);
    for (size_t i = 0; i < run->n && s == STATUS_OK; i++) {
        (void)sqlite3_bind_int64(st, 1, id);
        (void)sqlite3_bind_int64(st, 2, (int64_t)run->results[i].key);
        for (int k = 0; k < MEASURES; k++) {
            (void)sqlite3_bind_double(st, 3 + k, (double)run->results[i].m.v[k]);
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* The four intervals of one collection's questions; NULL: of all. */
static enum status add_group(sqlite3_stmt *st, int64_t id, const struct eval_run *run,
                             const char *collection, float *scratch, struct error *err)
{
    enum status s = STATUS_OK;
    for (int k = 0; k < MEASURES && s == STATUS_OK; k++) {
        struct interval i;
        size_t n = 0;
        for (size_t r = 0; r < run->n; r++) {
            if (collection == NULL || strcmp(run->results[r].collection, collection) == 0) {
                scratch[n++] = run->results[r].m.v[k];
            }
        }
        interval_of(scratch, n, &i);
        (void)sqlite3_bind_int64(st, 1, id);
        (void)sqlite3_bind_text(st, 2, collection == NULL ? "" : collection, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, (int64_t)n);
        (void)sqlite3_bind_int(st, 4, k);
        (void)sqlite3_bind_double(st, 5, i.mean);
        (void)sqlite3_bind_double(st, 6, i.low);
        (void)sqlite3_bind_double(st, 7, i.high);
        s = db_run(st, err);
    }
    return s;
}

static enum status add_groups(sqlite3 *db, int64_t id, const struct eval_run *run,
                              struct error *err)
{
    const char *seen[GROUPS_MAX];
    size_t n_seen = 0;
    sqlite3_stmt *st = NULL;
    float *scratch = calloc(run->n + 1, sizeof *scratch);
    enum status s = scratch == NULL ? error_set(err, STATUS_NO_MEMORY, "evaluation: out of memory")
                                    : db_prepare(db,
                                                 "INSERT INTO measures"
                                                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                                 &st, err);
    if (s == STATUS_OK) {
        s = add_group(st, id, run, NULL, scratch, err);
    }
    for (size_t i = 0; i < run->n && s == STATUS_OK; i++) {
        const char *name = run->results[i].collection;
        bool known = name[0] == '\0';
        for (size_t k = 0; k < n_seen && !known; k++) {
            known = strcmp(seen[k], name) == 0;
        }
        if (!known && n_seen < GROUPS_MAX) {
            seen[n_seen++] = name;
            s = add_group(st, id, run, name, scratch, err);
        }
    }
    (void)sqlite3_finalize(st);
    free(scratch);
    return s;
}

static enum status forget_old(sqlite3 *db, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "DELETE FROM runs WHERE id NOT IN"
                               " (SELECT id FROM runs ORDER BY id DESC LIMIT ?1)",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int(st, 1, EVAL_RUNS_KEPT);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status eval_db_add(const char *home, const char *tenant, const struct eval_run *run,
                        struct error *err)
{
    sqlite3 *db = NULL;
    int64_t id = 0;
    enum status s = open_db(home, tenant, true, &db, err);
    if (s == STATUS_OK) {
        s = db_exec(db, "BEGIN IMMEDIATE", err);
    }
    if (s == STATUS_OK) {
        s = add_run(db, run, &id, err);
    }
    if (s == STATUS_OK) {
        s = add_results(db, id, run, err);
    }
    if (s == STATUS_OK) {
        s = add_groups(db, id, run, err);
    }
    if (s == STATUS_OK) {
        s = forget_old(db, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    db_close(db); /* rolls back what was not committed */
    return s;
}

/* ---- forgetting ---- */

static enum status drop_named(sqlite3 *db, struct subject_set *set, uint32_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    sqlite3_stmt *drop = NULL;
    bool row = false;
    enum status s = db_prepare(db, "SELECT run, measure, collection FROM measures", &st, err);
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "DELETE FROM measures WHERE run = ?1 AND measure = ?2 AND collection = ?3",
                       &drop, err);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        struct str name = db_column(st, 2);
        if (subject_in(set, name)) {
            (void)sqlite3_bind_int64(drop, 1, sqlite3_column_int64(st, 0));
            (void)sqlite3_bind_int64(drop, 2, sqlite3_column_int64(st, 1));
            (void)sqlite3_bind_text(drop, 3, name.ptr, (int)name.len, SQLITE_TRANSIENT);
            s = db_run(drop, err);
            db_reset(drop);
            (*n)++;
        }
    }
    (void)sqlite3_finalize(st);
    (void)sqlite3_finalize(drop);
    return s;
}

enum status eval_db_forget(const char *home, const char *tenant, struct subject_set *set,
                           bool whole, uint32_t *n, bool *clean, struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = open_db(home, tenant, false, &db, err);
    *n = 0;
    *clean = true;
    if (s != STATUS_OK || db == NULL) {
        return s;
    }
    s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s == STATUS_OK) {
        s = drop_named(db, set, n, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    if (s == STATUS_OK) {
        s = db_scrub(db, whole, clean, err);
    }
    db_close(db); /* rolls back what was not committed */
    return s;
}

/* ---- reading ---- */

static void *made(void *p, struct error *err)
{
    if (p == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "evaluation: out of memory");
    }
    return p;
}

static char *text(sqlite3_stmt *st, int col, struct arena *a)
{
    struct str s = db_column(st, col);
    return arena_strndup(a, s.ptr, s.len);
}

static Rt__MeasureGroup *group_new(struct arena *a, char *collection, struct error *err)
{
    Rt__MeasureGroup *g = arena_alloc(a, sizeof *g);
    Rt__Interval *i = arena_array(a, MEASURES, sizeof *i);
    if (made(g, err) == NULL || made(i, err) == NULL || made(collection, err) == NULL) {
        return NULL;
    }
    rt__measure_group__init(g);
    for (int k = 0; k < MEASURES; k++) {
        rt__interval__init(&i[k]);
    }
    g->collection = collection;
    g->recall_5 = &i[RECALL_5];
    g->recall_20 = &i[RECALL_20];
    g->ndcg_10 = &i[NDCG_10];
    g->mrr_10 = &i[MRR_10];
    return g;
}

static void set_measure(Rt__MeasureGroup *g, int measure, const struct interval *v)
{
    Rt__Interval *const to[] = {g->recall_5, g->recall_20, g->ndcg_10, g->mrr_10};
    if (measure >= 0 && measure < MEASURES) {
        to[measure]->mean = v->mean;
        to[measure]->low = v->low;
        to[measure]->high = v->high;
    }
}

static enum status read_groups(sqlite3 *db, Rt__EvaluationRun *run, struct arena *a,
                               struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT collection, questions, measure, mean, low, high"
                               " FROM measures WHERE run = ?1 ORDER BY collection, measure",
                               &st, err);
    run->groups = made(arena_array(a, GROUPS_MAX + 2, sizeof *run->groups), err);
    s = run->groups == NULL ? STATUS_NO_MEMORY : s;
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, (int64_t)run->id);
        s = db_row(st, &row, err);
    }
    while (s == STATUS_OK && row) {
        Rt__MeasureGroup *g = run->n_groups > 0 ? run->groups[run->n_groups - 1] : NULL;
        if (g == NULL || !str_eq(str_from(g->collection), db_column(st, 0))) {
            if (run->n_groups == GROUPS_MAX + 1) {
                break;
            }
            g = group_new(a, text(st, 0, a), err);
            if (g == NULL) {
                s = STATUS_NO_MEMORY;
                break;
            }
            g->questions = (uint32_t)sqlite3_column_int64(st, 1);
            run->groups[run->n_groups++] = g;
        }
        struct interval v = {sqlite3_column_double(st, 3), sqlite3_column_double(st, 4),
                             sqlite3_column_double(st, 5)};
        set_measure(g, sqlite3_column_int(st, 2), &v);
        s = db_row(st, &row, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status read_run(sqlite3 *db, sqlite3_stmt *st, struct arena *a, Rt__EvaluateReply *out,
                            struct error *err)
{
    Rt__EvaluationRun *run = made(arena_alloc(a, sizeof *run), err);
    if (run == NULL) {
        return STATUS_NO_MEMORY;
    }
    rt__evaluation_run__init(run);
    run->id = (uint64_t)sqlite3_column_int64(st, 0);
    run->at_wall_ms = sqlite3_column_int64(st, 1);
    run->generation = (uint64_t)sqlite3_column_int64(st, 2);
    run->encoder = text(st, 3, a);
    run->mode = text(st, 4, a);
    run->settings = text(st, 5, a);
    run->documents = (uint32_t)sqlite3_column_int64(st, 6);
    if (run->encoder == NULL || run->mode == NULL || run->settings == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "evaluation: out of memory");
    }
    out->runs[out->n_runs++] = run;
    return read_groups(db, run, a, err);
}

static enum status read_runs(sqlite3 *db, uint32_t limit, struct arena *a, Rt__EvaluateReply *out,
                             struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT id, at_ms, generation, encoder, mode, settings, documents"
                               " FROM runs ORDER BY id DESC LIMIT ?1",
                               &st, err);
    out->runs = made(arena_array(a, (size_t)limit + 1, sizeof *out->runs), err);
    s = out->runs == NULL ? STATUS_NO_MEMORY : s;
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, limit);
        s = db_row(st, &row, err);
    }
    while (s == STATUS_OK && row) {
        s = read_run(db, st, a, out, err);
        if (s == STATUS_OK) {
            s = db_row(st, &row, err);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status read_difference(sqlite3 *db, uint64_t a, uint64_t b, struct arena *arena,
                                   Rt__EvaluateReply *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    size_t n = 0;
    float *values =
        made(arena_array(arena, (size_t)(2 * MEASURES + 1) * PAIRS_MAX, sizeof *values), err);
    Rt__MeasureGroup *g = group_new(arena, arena_strdup(arena, ""), err);
    if (values == NULL || g == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status s = db_prepare(db,
                               "SELECT a.recall5, a.recall20, a.ndcg10, a.mrr10,"
                               " b.recall5, b.recall20, b.ndcg10, b.mrr10"
                               " FROM results a JOIN results b ON b.run = ?2 AND b.key = a.key"
                               " WHERE a.run = ?1 LIMIT 4096",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, (int64_t)a);
        (void)sqlite3_bind_int64(st, 2, (int64_t)b);
        s = db_row(st, &row, err);
    }
    while (s == STATUS_OK && row) {
        for (int k = 0; k < 2 * MEASURES; k++) {
            values[(size_t)k * PAIRS_MAX + n] = (float)sqlite3_column_double(st, k);
        }
        n++;
        s = db_row(st, &row, err);
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK && n == 0) {
        return error_set(err, STATUS_NOT_FOUND,
                         "the two runs have no question in common, or one is not kept");
    }
    for (size_t k = 0; s == STATUS_OK && k < MEASURES; k++) {
        struct interval v;
        interval_of_difference(values + k * PAIRS_MAX, values + (k + MEASURES) * PAIRS_MAX, n,
                               values + (size_t)2 * MEASURES * PAIRS_MAX, &v);
        set_measure(g, (int)k, &v);
    }
    g->questions = (uint32_t)n;
    out->difference = g;
    return s;
}

enum status eval_db_read(const char *home, const char *tenant, uint32_t limit, uint64_t a,
                         uint64_t b, struct arena *arena, Rt__EvaluateReply *out, struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = open_db(home, tenant, false, &db, err);
    if (s != STATUS_OK || db == NULL) {
        return s == STATUS_OK && a != 0 && b != 0
                   ? error_set(err, STATUS_NOT_FOUND, "no evaluation has been run yet")
                   : s;
    }
    s = read_runs(db, limit, arena, out, err);
    if (s == STATUS_OK && a != 0 && b != 0) {
        s = read_difference(db, a, b, arena, out, err);
    }
    db_close(db);
    return s;
}
