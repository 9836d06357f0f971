#include "serve/turns.h"

#include <stdlib.h>

#include "base/db.h"

enum status turns_expire(sqlite3 *db, int64_t before_ms, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "DELETE FROM turns WHERE created_wall_ms < ?1", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, before_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status turns_write(sqlite3 *db, const struct turn *t, struct error *err)
{
    sqlite3_stmt *st = NULL;
    /* its answer, or what it goes on from, may have been erased while it was being made */
    enum status s = db_prepare(db,
                               "INSERT INTO turns SELECT ?1,?2,?3,?4,?5"
                               " WHERE EXISTS(SELECT 1 FROM answers WHERE id = ?1)"
                               " AND (?2 = '' OR EXISTS(SELECT 1 FROM turns WHERE answer = ?2))",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, t->answer, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, t->previous, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, t->created_wall_ms);
        (void)sqlite3_bind_text(st, 4, t->messages, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 5, t->response, -1, SQLITE_STATIC);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status prepare(sqlite3 *db, const char *sql, const char *user, const char *answer,
                           sqlite3_stmt **st, struct error *err)
{
    enum status s = db_prepare(db, sql, st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(*st, 1, user, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(*st, 2, answer, -1, SQLITE_STATIC);
    }
    return s;
}

static enum status not_kept(struct error *err)
{
    return error_set(
        err, STATUS_NOT_FOUND,
        "this response is not kept here: it was not stored, is too old, or was erased");
}

/* "[a,b]" without its brackets. */
static void add(struct buf *out, struct str array, bool comma)
{
    if (array.len > 2) {
        if (comma) {
            buf_char(out, ',');
        }
        buf_append(out, array.ptr + 1, array.len - 2);
    }
}

enum status turns_read(sqlite3 *db, const char *user, const char *answer, struct buf *out,
                       struct error *err)
{
    sqlite3_stmt *st = NULL;
    int64_t last = -1;
    /* from the newest back; a chain that breaks is not a conversation any more */
    enum status s = prepare(
        db,
        "WITH RECURSIVE chain(answer, previous, messages, depth) AS ("
        " SELECT t.answer, t.previous, t.messages, 0 FROM turns t JOIN answers a ON a.id = t.answer"
        " WHERE t.answer = ?2 AND a.user = ?1"
        " UNION ALL SELECT t.answer, t.previous, t.messages, c.depth + 1 FROM chain c"
        " JOIN turns t ON t.answer = c.previous JOIN answers a ON a.id = t.answer"
        " WHERE a.user = ?1 AND c.depth < ?3)"
        " SELECT messages, depth, previous FROM chain ORDER BY depth DESC",
        user, answer, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 3, TURNS_MAX);
    }
    bool row = false;
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        if (last < 0) {
            last = sqlite3_column_int64(st, 1);
            if (last >= TURNS_MAX) {
                s = error_set(err, STATUS_TOO_LARGE, "a conversation has at most %d turns",
                              TURNS_MAX);
            } else if (db_column(st, 2).len > 0) {
                s = not_kept(err);
            }
        }
        add(out, db_column(st, 0), out->len > 0);
    }
    if (s == STATUS_OK && last < 0) {
        s = not_kept(err);
    }
    if (s == STATUS_OK && buf_status(out) != STATUS_OK) {
        s = error_set(err, buf_status(out), "the conversation is too long");
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status turn_read(sqlite3 *db, const char *user, const char *answer, bool messages,
                      struct buf *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = prepare(db,
                            "SELECT t.response, t.messages FROM turns t JOIN answers a"
                            " ON a.id = t.answer WHERE a.user = ?1 AND t.answer = ?2",
                            user, answer, &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row) {
        buf_str(out, db_column(st, messages ? 1 : 0));
        s = buf_status(out);
    } else if (s == STATUS_OK) {
        s = not_kept(err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status turn_delete(sqlite3 *db, const char *user, const char *answer, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(db,
                            "DELETE FROM turns WHERE answer = ?2 AND EXISTS("
                            "SELECT 1 FROM answers a WHERE a.id = ?2 AND a.user = ?1)",
                            user, answer, &st, err);
    s = s == STATUS_OK ? db_run(st, err) : s;
    if (s == STATUS_OK && sqlite3_changes(db) == 0) {
        s = not_kept(err);
    }
    (void)sqlite3_finalize(st);
    return s;
}
