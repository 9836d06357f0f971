/* What reading documents cost, as ingest tells it, into a tenant's books. */
#include "base/db.h"
#include "base/log.h"
#include "serve/usage/books.h"

static void bind_text(sqlite3_stmt *st, int at, const char *z)
{
    (void)sqlite3_bind_text(st, at, z, -1, SQLITE_STATIC);
}

static enum status enter_used(sqlite3_stmt *st, const struct book_work *w, struct error *err)
{
    (void)sqlite3_bind_int64(st, 1, w->day);
    bind_text(st, 2, w->user);
    bind_text(st, 3, w->key);
    bind_text(st, 4, w->team);
    bind_text(st, 5, BOOKS_DOCUMENTS);
    (void)sqlite3_bind_int64(st, 6, w->cpu_us);
    (void)sqlite3_bind_int64(st, 7, w->micro);
    return db_run(st, err);
}

static enum status enter_worked(sqlite3_stmt *st, const struct book_work *w, struct error *err)
{
    (void)sqlite3_bind_int64(st, 1, w->day);
    bind_text(st, 2, w->collection);
    (void)sqlite3_bind_int64(st, 3, w->documents);
    (void)sqlite3_bind_int64(st, 4, w->cpu_us);
    (void)sqlite3_bind_int64(st, 5, w->micro);
    return db_run(st, err);
}

static enum status enter_seen(sqlite3 *db, int64_t seq, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "INSERT OR REPLACE INTO worked_seen VALUES(1, ?1)", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, seq);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status enter_all(sqlite3 *db, const struct books_working *b, struct error *err)
{
    sqlite3_stmt *used = NULL;
    sqlite3_stmt *worked = NULL;
    enum status s = db_prepare(
        db,
        "INSERT INTO used_days VALUES(?1, ?2, ?3, ?4, ?5, 0, 0, 0, 0, ?6, 0, 0, ?7, 0, 0)"
        " ON CONFLICT DO UPDATE SET cpu_us = cpu_us + excluded.cpu_us,"
        " micro = micro + excluded.micro",
        &used, err);
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "INSERT INTO worked_days VALUES(?1, ?2, ?3, ?4, ?5)"
                       " ON CONFLICT DO UPDATE SET documents = documents + excluded.documents,"
                       " cpu_us = cpu_us + excluded.cpu_us, micro = micro + excluded.micro",
                       &worked, err);
    }
    for (size_t i = 0; s == STATUS_OK && i < b->n; i++) {
        s = enter_used(used, &b->list[i], err);
        s = s == STATUS_OK ? enter_worked(worked, &b->list[i], err) : s;
    }
    (void)sqlite3_finalize(worked);
    (void)sqlite3_finalize(used);
    return s == STATUS_OK ? enter_seen(db, b->list[b->n - 1].seq, err) : s;
}

static enum status read_seen(sqlite3 *db, int64_t *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, "SELECT seq FROM worked_seen", &st, err);
    s = s == STATUS_OK ? db_row(st, &row, err) : s;
    *out = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

enum status books_work(sqlite3 *db, void *data, struct error *err)
{
    struct books_working *b = data;
    struct error lost;
    if (b->n == 0) {
        return read_seen(db, &b->seen, err);
    }
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = enter_all(db, b, err);
    s = s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
    if (s != STATUS_OK && db_exec(db, "ROLLBACK", &lost) != STATUS_OK) {
        LOG_WARN("the books: no way back", LOG_STR("err", lost.text), LOG_END);
    }
    if (s == STATUS_OK) {
        b->seen = b->list[b->n - 1].seq;
    }
    return s;
}
