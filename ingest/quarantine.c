#include "ingest/quarantine.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/db.h"

#define COLUMNS "id,document,path,name,hash,size,found_ms,moved,released_ms,released_by"

static enum status change(struct journal *j, const char *sql, const char *id, const char *by,
                          struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(journal_db(j), sql, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        if (by != NULL) {
            (void)sqlite3_bind_text(st, 2, by, -1, SQLITE_STATIC);
            (void)sqlite3_bind_int64(st, 3, clock_wall_ms());
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* Whether the statement, with a value bound, has a row; its first column goes to text. */
static enum status ask(struct journal *j, const char *sql, const void *value, size_t len,
                       const char *document, bool *found, char *text, size_t cap, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(journal_db(j), sql, &st, err);
    *found = false;
    if (s == STATUS_OK && value != NULL) {
        (void)sqlite3_bind_blob64(st, 1, value, len, SQLITE_STATIC);
    }
    if (s == STATUS_OK && document != NULL) {
        (void)sqlite3_bind_text(st, 2, document, -1, SQLITE_STATIC);
    }
    if (s == STATUS_OK) {
        s = db_row(st, found, err);
    }
    if (s == STATUS_OK && *found && text != NULL) {
        (void)snprintf(text, cap, "%.*s", STR_ARG(db_column(st, 0)));
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status quarantine_add(struct journal *j, struct quarantined *q, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool known = false;
    enum status s = ask(j,
                        "SELECT id FROM quarantine WHERE hash=?1 AND document=?2"
                        " AND released_ms IS NULL",
                        q->hash, sizeof q->hash, q->document, &known, q->id, sizeof q->id, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (!known) {
        id_new(q->id);
    }
    s = db_prepare(journal_db(j),
                   "INSERT INTO quarantine(" COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,NULL,'')"
                   " ON CONFLICT(id) DO UPDATE SET path=?3,name=?4,found_ms=?7,moved=?8",
                   &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, q->id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, q->document, -1, SQLITE_STATIC);
        (void)sqlite3_bind_blob64(st, 3, q->path.len == 0 ? "" : q->path.ptr, q->path.len,
                                  SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 4, q->name, -1, SQLITE_STATIC);
        (void)sqlite3_bind_blob(st, 5, q->hash, sizeof q->hash, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 6, (sqlite3_int64)q->size);
        (void)sqlite3_bind_int64(st, 7, clock_wall_ms());
        (void)sqlite3_bind_int(st, 8, q->moved);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status quarantine_stays(struct journal *j, const char *id, struct error *err)
{
    return change(j, "UPDATE quarantine SET moved=0 WHERE id=?1", id, NULL, err);
}

enum status quarantine_allows(struct journal *j, const uint8_t hash[SHA256_BYTES], bool *out,
                              struct error *err)
{
    return ask(j, "SELECT 1 FROM quarantine WHERE hash=?1 AND released_ms IS NOT NULL", hash,
               SHA256_BYTES, NULL, out, NULL, 0, err);
}

enum status quarantine_keeps(struct journal *j, const char *document, bool *out, struct error *err)
{
    return ask(j, "SELECT 1 FROM quarantine WHERE document=?2 AND moved=1 AND released_ms IS NULL",
               NULL, 0, document, out, NULL, 0, err);
}

static enum status read_one(sqlite3_stmt *st, struct arena *a, struct quarantined *q,
                            struct error *err)
{
    struct str path = db_column(st, 2), hash = db_column(st, 4);
    struct str name = db_column(st, 3), by = db_column(st, 9);
    *q = (struct quarantined){
        .path = {.ptr = arena_strndup(a, path.ptr, path.len), .len = path.len},
        .name = arena_strndup(a, name.ptr, name.len),
        .released_by = arena_strndup(a, by.ptr, by.len),
        .size = (uint64_t)sqlite3_column_int64(st, 5),
        .found_ms = sqlite3_column_int64(st, 6),
        .moved = sqlite3_column_int(st, 7) != 0,
        .released_ms = sqlite3_column_int64(st, 8),
    };
    (void)snprintf(q->id, sizeof q->id, "%.*s", STR_ARG(db_column(st, 0)));
    (void)snprintf(q->document, sizeof q->document, "%.*s", STR_ARG(db_column(st, 1)));
    if (hash.len == sizeof q->hash) {
        memcpy(q->hash, hash.ptr, sizeof q->hash);
    }
    return q->path.ptr == NULL || q->name == NULL || q->released_by == NULL
               ? error_set(err, STATUS_NO_MEMORY, "out of memory")
               : STATUS_OK;
}

enum status quarantine_get(struct journal *j, const char *id, struct arena *a,
                           struct quarantined *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        db_prepare(journal_db(j), "SELECT " COLUMNS " FROM quarantine WHERE id=?1", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK) {
        s = row ? read_one(st, a, out, err)
                : error_set(err, STATUS_NOT_FOUND, "nothing in quarantine has this id");
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status quarantine_list(struct journal *j, struct arena *a, struct quarantined **out, size_t *n,
                            struct error *err)
{
    sqlite3_stmt *st = NULL;
    size_t cap = 16;
    bool row = false;
    *n = 0;
    *out = arena_array(a, cap, sizeof **out);
    enum status s = *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                 : db_prepare(journal_db(j),
                                              "SELECT " COLUMNS " FROM quarantine"
                                              " ORDER BY found_ms DESC,id",
                                              &st, err);
    while (s == STATUS_OK && *n < QUARANTINE_LIST_MAX && (s = db_row(st, &row, err)) == STATUS_OK &&
           row) {
        if (*n == cap) {
            struct quarantined *grown = arena_array(a, cap * 2, sizeof *grown);
            if (grown == NULL) {
                s = error_set(err, STATUS_NO_MEMORY, "out of memory");
                break;
            }
            memcpy(grown, *out, cap * sizeof *grown);
            *out = grown;
            cap *= 2;
        }
        s = read_one(st, a, &(*out)[*n], err);
        *n += s == STATUS_OK;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status quarantine_release(struct journal *j, const char *id, const char *by, struct error *err)
{
    struct arena a;
    struct quarantined q;
    struct file_row r;
    struct error none;
    arena_init(&a, 1 << 20);
    enum status s = quarantine_get(j, id, &a, &q, err);
    if (s == STATUS_OK && q.released_ms != 0) {
        s = error_set(err, STATUS_CONFLICT, "it has been released already");
    }
    if (s == STATUS_OK) {
        s = change(j, "UPDATE quarantine SET released_by=?2,released_ms=?3,moved=0 WHERE id=?1", id,
                   by, err);
    }
    if (s == STATUS_OK && journal_get(j, q.document, &a, &r, &none) == STATUS_OK &&
        r.state == FILE_FAILED) {
        s = journal_requeue(j, r.id, err);
    }
    arena_reset(&a);
    return s;
}
