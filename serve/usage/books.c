#include "serve/usage/books.h"

#include <string.h>

#include "base/db.h"
#include "base/log.h"

void books_amounts(const struct book_entry *e, int64_t out[BOOKS_AMOUNTS])
{
    const int64_t amounts[BOOKS_AMOUNTS] = {e->used.prompt_tokens,
                                            e->used.completion_tokens,
                                            e->used.embedding_tokens,
                                            e->used.cpu_us,
                                            e->used.gpu_us,
                                            e->used.upload_bytes,
                                            e->cost.micro,
                                            e->cost.external,
                                            e->cost.guessed};
    for (int i = 0; i < BOOKS_AMOUNTS; i++) {
        out[i] = amounts[i];
    }
}

static void bind_text(sqlite3_stmt *st, int at, const char *z)
{
    (void)sqlite3_bind_text(st, at, z, -1, SQLITE_STATIC);
}

static void bind_amounts(sqlite3_stmt *st, int at, const struct book_entry *e)
{
    int64_t amounts[BOOKS_AMOUNTS];
    books_amounts(e, amounts);
    for (int i = 0; i < BOOKS_AMOUNTS; i++) {
        (void)sqlite3_bind_int64(st, at + i, amounts[i]);
    }
}

static enum status enter_request(sqlite3_stmt *st, const struct book_entry *e, struct error *err)
{
    bind_text(st, 1, e->request);
    (void)sqlite3_bind_int64(st, 2, e->at_wall_ms);
    bind_text(st, 3, e->user);
    bind_text(st, 4, e->key);
    bind_text(st, 5, e->team);
    bind_text(st, 6, e->route);
    bind_text(st, 7, e->used.model);
    bind_text(st, 8, e->used.engine);
    (void)sqlite3_bind_int64(st, 9, e->status);
    bind_amounts(st, 10, e);
    return db_run(st, err);
}

static enum status enter_day(sqlite3_stmt *st, const struct book_entry *e, struct error *err)
{
    (void)sqlite3_bind_int64(st, 1, e->at_wall_ms / METER_DAY_MS);
    bind_text(st, 2, e->user);
    bind_text(st, 3, e->key);
    bind_text(st, 4, e->team);
    bind_text(st, 5, e->used.model);
    bind_amounts(st, 6, e);
    return db_run(st, err);
}

static enum status enter_found(sqlite3_stmt *st, const struct book_entry *e, struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t at = 0; s == STATUS_OK && at < e->found_len; at += strlen(e->found + at) + 1) {
        (void)sqlite3_bind_int64(st, 1, e->at_wall_ms / METER_DAY_MS);
        bind_text(st, 2, e->found + at);
        s = db_run(st, err);
    }
    return s;
}

static enum status enter_all(sqlite3 *db, const struct book_entry *list, size_t n,
                             struct error *err)
{
    sqlite3_stmt *request = NULL;
    sqlite3_stmt *day = NULL;
    sqlite3_stmt *found = NULL;
    enum status s = db_prepare(db,
                               "INSERT OR IGNORE INTO used VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,"
                               " ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
                               &request, err);
    if (s == STATUS_OK) {
        s = db_prepare(
            db,
            "INSERT INTO used_days VALUES(?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"
            " ?13, ?14) ON CONFLICT DO UPDATE SET requests = requests + 1,"
            " prompt = prompt + excluded.prompt, completion = completion + excluded.completion,"
            " embedding = embedding + excluded.embedding, cpu_us = cpu_us + excluded.cpu_us,"
            " gpu_us = gpu_us + excluded.gpu_us, upload = upload + excluded.upload,"
            " micro = micro + excluded.micro, external = external + excluded.external,"
            " guessed = guessed + excluded.guessed",
            &day, err);
    }
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "INSERT INTO found_days VALUES(?1, ?2, 1)"
                       " ON CONFLICT DO UPDATE SET times = times + 1",
                       &found, err);
    }
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        s = enter_request(request, &list[i], err);
        if (s == STATUS_OK && sqlite3_changes(db) == 1) {
            s = enter_day(day, &list[i], err);
            s = s == STATUS_OK ? enter_found(found, &list[i], err) : s;
        }
    }
    (void)sqlite3_finalize(found);
    (void)sqlite3_finalize(request);
    (void)sqlite3_finalize(day);
    return s;
}

static enum status take_out(sqlite3 *db, int64_t before_ms, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "DELETE FROM used WHERE at_wall_ms < ?1", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, before_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status books_enter(sqlite3 *db, const struct book_entry *list, size_t n, int64_t keep_days,
                        int64_t wall_ms, struct error *err)
{
    struct error lost;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = enter_all(db, list, n, err);
    if (s == STATUS_OK) {
        s = take_out(db, wall_ms - keep_days * METER_DAY_MS, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    if (s != STATUS_OK && db_exec(db, "ROLLBACK", &lost) != STATUS_OK) {
        LOG_WARN("the books: no way back", LOG_STR("err", lost.text), LOG_END);
    }
    return s;
}

/* ---- storage ---- */

static enum status store_one(sqlite3 *db, const struct book_stored *b, int64_t day, int64_t *more,
                             struct error *err)
{
    static const char *const sql[] = {
        "SELECT micro FROM stored_days WHERE day = ?1 AND collection = ?2",
        "INSERT OR REPLACE INTO stored_days(day, collection, documents, bytes, micro)"
        " VALUES(?1, ?2, ?3, ?4, ?5)",
    };
    enum status s = STATUS_OK;
    for (int i = 0; s == STATUS_OK && i < 2; i++) {
        sqlite3_stmt *st = NULL;
        bool row = false;
        s = db_prepare(db, sql[i], &st, err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_int64(st, 1, day);
            bind_text(st, 2, b->collection);
        }
        if (s == STATUS_OK && i == 0) {
            s = db_row(st, &row, err);
            *more += b->micro - (row ? sqlite3_column_int64(st, 0) : 0);
        } else if (s == STATUS_OK) {
            (void)sqlite3_bind_int64(st, 3, b->documents);
            (void)sqlite3_bind_int64(st, 4, b->bytes);
            (void)sqlite3_bind_int64(st, 5, b->micro);
            s = db_run(st, err);
        }
        (void)sqlite3_finalize(st);
    }
    return s;
}

static enum status drop_days(sqlite3 *db, int64_t before, struct error *err)
{
    static const char *const sql[] = {"DELETE FROM stored_days WHERE day < ?1",
                                      "DELETE FROM found_days WHERE day < ?1",
                                      "DELETE FROM worked_days WHERE day < ?1"};
    enum status s = STATUS_OK;
    for (int i = 0; s == STATUS_OK && i < 3; i++) {
        sqlite3_stmt *st = NULL;
        s = db_prepare(db, sql[i], &st, err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_int64(st, 1, before);
            s = db_run(st, err);
        }
        (void)sqlite3_finalize(st);
    }
    return s;
}

enum status books_store(sqlite3 *db, void *data, struct error *err)
{
    struct books_storing *b = data;
    struct error lost;
    int64_t more = 0;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    for (size_t i = 0; s == STATUS_OK && i < b->n; i++) {
        s = store_one(db, &b->list[i], b->day, &more, err);
    }
    if (s == STATUS_OK) {
        s = drop_days(db, b->day - BOOKS_STORED_DAYS, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    if (s != STATUS_OK && db_exec(db, "ROLLBACK", &lost) != STATUS_OK) {
        LOG_WARN("the books: no way back", LOG_STR("err", lost.text), LOG_END);
    }
    b->micro_more = s == STATUS_OK ? more : 0;
    return s;
}
