#include "serve/usage/fair_store.h"

#include <limits.h>
#include <stdio.h>

#include "base/db.h"
#include "base/file.h"

/* auth_open has made it and brought it up to date. */
static enum status open_system(const char *home, sqlite3 **out, struct error *err)
{
    char path[PATH_MAX];
    enum status s = file_join(path, sizeof path, home, "system/serve.db", err);
    return s == STATUS_OK ? db_open(path, 0, NULL, 0, out, err) : s;
}

static struct meter_subject *subject_of(struct meter *m, sqlite3_stmt *st, int64_t now_ms,
                                        struct error *err)
{
    char tenant[METER_NAME_CAP];
    char name[METER_NAME_CAP];
    struct str t = db_column(st, 1);
    struct str n = db_column(st, 2);
    int64_t kind = sqlite3_column_int64(st, 0);
    if (kind < 0 || kind >= METER_KINDS || t.len >= sizeof tenant || n.len >= sizeof name) {
        (void)error_set(err, STATUS_CORRUPT, "system/serve.db: whose limit this is cannot be read");
        return NULL;
    }
    (void)snprintf(tenant, sizeof tenant, "%.*s", STR_ARG(t));
    (void)snprintf(name, sizeof name, "%.*s", STR_ARG(n));
    struct meter_subject *s = meter_subject(m, (enum meter_kind)kind, tenant, name, now_ms);
    if (s == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "limits of more than %zu keys and users",
                        METER_SUBJECTS_MAX);
    }
    return s;
}

static void read_limits(struct meter_subject *s, sqlite3_stmt *st, const struct meter *m)
{
    for (int i = 0; i < METER_LIMITS; i++) {
        s->limits[i] = sqlite3_column_type(st, 3 + i) == SQLITE_NULL
                           ? METER_INHERIT
                           : sqlite3_column_int64(st, 3 + i);
    }
    struct str team = db_column(st, 8);
    (void)snprintf(s->team, sizeof s->team, "%.*s", (int)(team.len < 64 ? team.len : 64), team.ptr);
    s->own = true;
    s->bucket = (double)meter_limit_of(m, s, METER_REQUESTS);
}

static void read_counters(struct meter_subject *s, sqlite3_stmt *st)
{
    s->day = sqlite3_column_int64(st, 3);
    s->tokens = sqlite3_column_int64(st, 4);
    s->upload_bytes = sqlite3_column_int64(st, 5);
    s->month = sqlite3_column_int64(st, 6);
    s->micro = sqlite3_column_int64(st, 7);
    s->warned_month = sqlite3_column_int64(st, 8);
}

/* Of counters only what still counts, and at most three quarters of what there is room for, those
 * that have used most first: new ones must find a place, and a start never fails for their number.
 */
static enum status load_table(sqlite3 *db, struct meter *m, bool limits, int64_t now_ms,
                              int64_t wall_ms, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               limits ? "SELECT kind, tenant, name, requests, tokens, streams,"
                                        " upload, budget, team FROM limits"
                                      : "SELECT kind, tenant, name, day, tokens, upload, month,"
                                        " micro, warned FROM metered WHERE month >= ?1"
                                        " AND (day >= ?2 OR micro > 0)"
                                        " ORDER BY micro DESC, tokens DESC LIMIT ?3",
                               &st, err);
    bool row = s == STATUS_OK;
    if (row && !limits) {
        (void)sqlite3_bind_int64(st, 1, meter_month(wall_ms));
        (void)sqlite3_bind_int64(st, 2, wall_ms / METER_DAY_MS);
        (void)sqlite3_bind_int64(st, 3, (sqlite3_int64)(METER_SUBJECTS_MAX / 4 * 3));
    }
    while (s == STATUS_OK && row) {
        s = db_row(st, &row, err);
        if (s != STATUS_OK || !row) {
            break;
        }
        struct meter_subject *subject = subject_of(m, st, now_ms, err);
        if (subject == NULL) {
            s = err->code;
        } else if (limits) {
            read_limits(subject, st, m);
        } else {
            read_counters(subject, st);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status fair_store_load(const char *home, struct meter *m, int64_t now_ms, int64_t wall_ms,
                            struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = open_system(home, &db, err);
    if (s == STATUS_OK) {
        s = load_table(db, m, true, now_ms, wall_ms, err);
    }
    if (s == STATUS_OK) {
        s = load_table(db, m, false, now_ms, wall_ms, err);
    }
    db_close(db);
    return s;
}

static void bind_who(sqlite3_stmt *st, const struct meter_subject *s)
{
    (void)sqlite3_bind_int64(st, 1, s->kind);
    (void)sqlite3_bind_text(st, 2, s->tenant, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 3, s->name, -1, SQLITE_STATIC);
}

static enum status write_counters(sqlite3 *db, const struct meter_subject *list, size_t n,
                                  struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(
        db, "INSERT OR REPLACE INTO metered VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", &st, err);
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        const int64_t numbers[] = {list[i].day,   list[i].tokens, list[i].upload_bytes,
                                   list[i].month, list[i].micro,  list[i].warned_month};
        bind_who(st, &list[i]);
        for (int k = 0; k < 6; k++) {
            (void)sqlite3_bind_int64(st, 4 + k, numbers[k]);
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    st = NULL;
    if (s == STATUS_OK && n > 0) {
        s = db_prepare(db, "DELETE FROM metered WHERE month < ?1", &st, err);
    }
    if (s == STATUS_OK && n > 0) {
        (void)sqlite3_bind_int64(st, 1, list[0].month);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status fair_store_counters(const char *home, const struct meter_subject *list, size_t n,
                                struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = open_system(home, &db, err);
    if (s == STATUS_OK) {
        s = db_exec(db, "BEGIN IMMEDIATE", err);
    }
    if (s == STATUS_OK) {
        s = write_counters(db, list, n, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    db_close(db); /* without COMMIT it rolls back */
    return s;
}

enum status fair_store_limits(const char *home, const struct meter_subject *subject,
                              struct error *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    enum status s = open_system(home, &db, err);
    if (s == STATUS_OK) {
        s = db_prepare(
            db,
            subject->own
                ? "INSERT OR REPLACE INTO limits VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                : "DELETE FROM limits WHERE kind=?1 AND tenant=?2 AND name=?3",
            &st, err);
    }
    if (s == STATUS_OK) {
        bind_who(st, subject);
        for (int i = 0; subject->own && i < METER_LIMITS; i++) {
            if (subject->limits[i] != METER_INHERIT) {
                (void)sqlite3_bind_int64(st, 4 + i, subject->limits[i]);
            }
        }
        if (subject->own) {
            (void)sqlite3_bind_text(st, 9, subject->team, -1, SQLITE_STATIC);
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    db_close(db);
    return s;
}
