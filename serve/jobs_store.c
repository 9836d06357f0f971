#include <string.h>

#include "base/db.h"
#include "serve/answers.h"
#include "serve/jobs.h"

#define COLUMNS "id,user,kind,model,state,result,delivery,status,created_wall_ms,ended_wall_ms"

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "out of memory");
}

enum status jobs_put(sqlite3 *db, const struct job_row *r, struct error *err)
{
    const char *const texts[] = {r->id,    r->user,   r->kind,    r->model,
                                 r->state, r->result, r->delivery};
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(
        db, "INSERT OR REPLACE INTO jobs(" COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)", &st,
        err);
    if (s == STATUS_OK) {
        for (int i = 0; i < 7; i++) {
            (void)sqlite3_bind_text(st, i + 1, texts[i], -1, SQLITE_STATIC);
        }
        (void)sqlite3_bind_int64(st, 8, r->status);
        (void)sqlite3_bind_int64(st, 9, r->created_wall_ms);
        (void)sqlite3_bind_int64(st, 10, r->ended_wall_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    st = NULL;
    /* what it was made from may have been erased while it was being made */
    if (s == STATUS_OK && r->result[0] != '\0') {
        s = db_prepare(db,
                       "DELETE FROM jobs WHERE id = ?1 AND"
                       " EXISTS(SELECT 1 FROM erased WHERE instr(jobs.result, document) > 0)",
                       &st, err);
    }
    if (st != NULL) {
        (void)sqlite3_bind_text(st, 1, r->id, -1, SQLITE_STATIC);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static bool read_row(sqlite3_stmt *st, struct arena *a, struct job_row *out)
{
    const char *texts[7];
    for (int i = 0; i < 7; i++) {
        struct str s = db_column(st, i);
        texts[i] = arena_strndup(a, s.ptr == NULL ? "" : s.ptr, s.len);
        if (texts[i] == NULL) {
            return false;
        }
    }
    *out = (struct job_row){.id = texts[0],
                            .user = texts[1],
                            .kind = texts[2],
                            .model = texts[3],
                            .state = texts[4],
                            .result = texts[5],
                            .delivery = texts[6],
                            .status = sqlite3_column_int64(st, 7),
                            .created_wall_ms = sqlite3_column_int64(st, 8),
                            .ended_wall_ms = sqlite3_column_int64(st, 9)};
    return true;
}

enum status jobs_get(sqlite3 *db, const char *user, const char *id, struct arena *a,
                     struct job_row *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(
        db, "SELECT " COLUMNS " FROM jobs WHERE id = ?1 AND (?2 IS NULL OR user = ?2)", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, user, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such job, or it is not kept any more");
    } else if (s == STATUS_OK && !read_row(st, a, out)) {
        s = no_memory(err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status jobs_list(sqlite3 *db, const char *user, size_t limit, struct arena *a,
                      struct job_row **out, size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    *n = 0;
    *out = arena_array(a, limit, sizeof **out);
    if (*out == NULL) {
        return no_memory(err);
    }
    enum status s = db_prepare(db,
                               "SELECT id,user,kind,model,state,'',delivery,status,created_wall_ms,"
                               "ended_wall_ms FROM jobs WHERE ?1 IS NULL OR user = ?1"
                               " ORDER BY created_wall_ms DESC, id LIMIT ?2",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, user, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 2, (int64_t)limit);
    }
    while (s == STATUS_OK && *n < limit && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        s = read_row(st, a, &(*out)[*n]) ? STATUS_OK : no_memory(err);
        *n += s == STATUS_OK;
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status run(sqlite3 *db, const char *sql, const char *one, const char *two,
                       struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, one, -1, SQLITE_STATIC);
        if (two != NULL) {
            (void)sqlite3_bind_text(st, 2, two, -1, SQLITE_STATIC);
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status jobs_remove(sqlite3 *db, const char *id, struct error *err)
{
    return run(db, "DELETE FROM jobs WHERE id = ?1", id, NULL, err);
}

enum status jobs_delivered(sqlite3 *db, const char *id, const char *how, struct error *err)
{
    return run(db, "UPDATE jobs SET delivery = ?2 WHERE id = ?1", id, how, err);
}

enum status jobs_expire(sqlite3 *db, int64_t before_ms, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "DELETE FROM jobs WHERE created_wall_ms < ?1", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, before_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* A result names the documents that it was made from. */
enum status jobs_forget(sqlite3 *db, const char *const *documents, size_t n,
                        struct subject_set *subjects, struct error *err)
{
    sqlite3_stmt *st = NULL, *drop = NULL;
    bool row = false;
    enum status s = STATUS_OK;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = run(db, "DELETE FROM jobs WHERE instr(result, ?1) > 0", documents[i], NULL, err);
    }
    if (s == STATUS_OK && subjects != NULL) {
        s = db_prepare(db,
                       "SELECT id, result, user || char(10) || model || char(10) || delivery"
                       " FROM jobs",
                       &st, err);
        s = s == STATUS_OK ? db_prepare(db, "DELETE FROM jobs WHERE id = ?1", &drop, err) : s;
    }
    while (s == STATUS_OK && st != NULL && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        bool named = false, beside = false; /* a result is JSON, and may be so twice over */
        s = answers_named_in(subjects, db_column(st, 1), &named, err);
        s = s == STATUS_OK ? answers_named_in(subjects, db_column(st, 2), &beside, err) : s;
        if (s == STATUS_OK && (named || beside)) {
            (void)sqlite3_bind_text(drop, 1, db_column(st, 0).ptr, -1, SQLITE_TRANSIENT);
            s = db_run(drop, err);
            db_reset(drop);
        }
    }
    (void)sqlite3_finalize(st);
    (void)sqlite3_finalize(drop);
    return s;
}
