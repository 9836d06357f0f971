#include "serve/uploads.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/db.h"

static enum status prepare(sqlite3 *db, const char *sql, const char *const *texts, int n,
                           sqlite3_stmt **st, struct error *err)
{
    enum status s = db_prepare(db, sql, st, err);
    for (int i = 0; i < n && s == STATUS_OK; i++) {
        if (texts[i] != NULL) {
            (void)sqlite3_bind_text(*st, i + 1, texts[i], -1, SQLITE_STATIC);
        }
    }
    return s;
}

static enum status run(sqlite3 *db, const char *sql, const char *const *texts, int n,
                       struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(db, sql, texts, n, &st, err);
    s = s == STATUS_OK ? db_run(st, err) : s;
    (void)sqlite3_finalize(st);
    return s;
}

/* What is announced and has not come counts: two that fit alone may not fit together. */
enum status uploads_add(sqlite3 *db, const struct upload *u, int64_t room, struct error *err)
{
    const char *const texts[] = {u->id, u->user, u->name, u->purpose, u->type};
    sqlite3_stmt *st = NULL;
    enum status s =
        prepare(db,
                "INSERT INTO uploads SELECT ?1,?2,?3,?4,?5,'pending','',?6,?7,?8,?9"
                " WHERE (SELECT count(*) FROM uploads WHERE state = 'pending') < ?10"
                " AND ?6 <= ?11 - (SELECT coalesce(sum(bytes), 0) FROM files)"
                " - (SELECT coalesce(sum(bytes), 0) FROM uploads WHERE state = 'pending')",
                texts, 5, &st, err);
    if (s == STATUS_OK) {
        const int64_t numbers[] = {u->bytes,           u->keep_ms,  u->created_wall_ms,
                                   u->expires_wall_ms, UPLOADS_MAX, room};
        for (int i = 0; i < 6; i++) {
            (void)sqlite3_bind_int64(st, 6 + i, numbers[i]);
        }
        s = db_run(st, err);
    }
    if (s == STATUS_OK && sqlite3_changes(db) == 0) {
        s = error_set(err, STATUS_TOO_LARGE,
                      "there is no room for this upload: delete files, or cancel other uploads "
                      "(files.max_total_bytes)");
    }
    (void)sqlite3_finalize(st);
    return s;
}

static const char *column(sqlite3_stmt *st, int i, struct arena *a)
{
    struct str v = db_column(st, i);
    return arena_strndup(a, v.len == 0 ? "" : v.ptr, v.len);
}

enum status uploads_get(sqlite3 *db, const char *user, const char *id, int64_t now_ms,
                        struct arena *a, struct upload *out, struct error *err)
{
    const char *const texts[] = {id, user};
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        prepare(db,
                "SELECT u.id, u.user, u.name, u.purpose, u.type,"
                " CASE WHEN u.state = 'pending' AND u.expires_wall_ms <= ?3 THEN 'expired'"
                " ELSE u.state END, u.file, u.bytes, u.keep_ms, u.created_wall_ms,"
                " u.expires_wall_ms, (SELECT count(*) FROM upload_parts p WHERE p.upload = u.id),"
                " (SELECT coalesce(sum(bytes), 0) FROM upload_parts p WHERE p.upload = u.id)"
                " FROM uploads u WHERE u.id = ?1 AND (?2 IS NULL OR u.user = ?2)",
                texts, 2, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 3, now_ms);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no upload %.64s", id);
    }
    if (s == STATUS_OK) {
        const char *t[7];
        for (int i = 0; i < 7; i++) {
            t[i] = column(st, i, a);
            s = t[i] == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : s;
        }
        *out = (struct upload){.id = t[0],
                               .user = t[1],
                               .name = t[2],
                               .purpose = t[3],
                               .type = t[4],
                               .state = t[5],
                               .file = t[6],
                               .bytes = sqlite3_column_int64(st, 7),
                               .keep_ms = sqlite3_column_int64(st, 8),
                               .created_wall_ms = sqlite3_column_int64(st, 9),
                               .expires_wall_ms = sqlite3_column_int64(st, 10),
                               .parts = sqlite3_column_int64(st, 11),
                               .parts_bytes = sqlite3_column_int64(st, 12)};
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status uploads_add_part(sqlite3 *db, const char *upload, const char *part, int64_t bytes,
                             int64_t now_ms, struct error *err)
{
    const char *const texts[] = {upload, part};
    sqlite3_stmt *st = NULL;
    enum status s =
        prepare(db,
                "INSERT INTO upload_parts SELECT ?2, ?1, ?3, ?4 FROM uploads u WHERE u.id = ?1"
                " AND u.state = 'pending' AND u.expires_wall_ms > ?4"
                " AND (SELECT count(*) FROM upload_parts p WHERE p.upload = ?1) < ?5"
                " AND (SELECT coalesce(sum(bytes), 0) FROM upload_parts p WHERE p.upload = ?1) + ?3"
                " <= u.bytes",
                texts, 2, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 3, bytes);
        (void)sqlite3_bind_int64(st, 4, now_ms);
        (void)sqlite3_bind_int64(st, 5, UPLOAD_PARTS_MAX);
        s = db_run(st, err);
    }
    if (s == STATUS_OK && sqlite3_changes(db) == 0) {
        s = error_set(err, STATUS_CONFLICT,
                      "the upload takes no such part: it is over, or its parts are more than the "
                      "bytes that were announced");
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status uploads_part(sqlite3 *db, const char *upload, const char *part, int64_t *bytes,
                         struct error *err)
{
    const char *const texts[] = {upload, part};
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = prepare(db, "SELECT bytes FROM upload_parts WHERE upload = ?1 AND id = ?2",
                            texts, 2, &st, err);
    s = s == STATUS_OK ? db_row(st, &row, err) : s;
    *bytes = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && !row
               ? error_set(err, STATUS_INVALID, "part_ids: %.64s is no part of it", part)
               : s;
}

static enum status drop_parts(sqlite3 *db, const char *home, const char *tenant, const char *upload,
                              struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        prepare(db, "SELECT id FROM upload_parts WHERE upload = ?1", &upload, 1, &st, err);
    while (home != NULL && s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        files_unlink(home, tenant, db_column(st, 0).ptr);
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK ? run(db, "DELETE FROM upload_parts WHERE upload = ?1", &upload, 1, err)
                          : s;
}

enum status uploads_end(sqlite3 *db, const char *home, const char *tenant, const char *upload,
                        const char *state, const char *file, struct error *err)
{
    const char *const texts[] = {upload, state, file};
    enum status s = run(db,
                        "UPDATE uploads SET state = ?2, file = ?3 WHERE id = ?1"
                        " AND state = 'pending'",
                        texts, 3, err);
    if (s == STATUS_OK && sqlite3_changes(db) == 0) {
        return error_set(err, STATUS_CONFLICT, "the upload is over already");
    }
    return s == STATUS_OK ? drop_parts(db, home, tenant, upload, err) : s;
}

enum status uploads_expire(sqlite3 *db, const char *home, const char *tenant, int64_t now_ms,
                           struct error *err)
{
    enum status s = STATUS_OK;
    for (bool row = true; row && s == STATUS_OK;) {
        sqlite3_stmt *st = NULL;
        char id[64] = "";
        const char *gone = id;
        s = db_prepare(db, "SELECT id FROM uploads WHERE expires_wall_ms <= ?1 LIMIT 1", &st, err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_int64(st, 1, now_ms);
            s = db_row(st, &row, err);
        }
        if (s == STATUS_OK && row) {
            (void)snprintf(id, sizeof id, "%s", db_column(st, 0).ptr);
        }
        (void)sqlite3_finalize(st);
        if (s == STATUS_OK && row) {
            s = drop_parts(db, home, tenant, id, err);
            s = s == STATUS_OK ? run(db, "DELETE FROM uploads WHERE id = ?1", &gone, 1, err) : s;
        }
    }
    return s;
}

enum status uploads_forget(sqlite3 *db, const char *folder, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, "SELECT id FROM upload_parts", &st, err);
    while (folder != NULL && s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        char path[PATH_MAX];
        int n = snprintf(path, sizeof path, "%s/%s", folder, db_column(st, 0).ptr);
        if (n > 0 && (size_t)n < sizeof path) {
            (void)unlink(path);
        }
    }
    (void)sqlite3_finalize(st);
    s = s == STATUS_OK ? db_exec(db, "DELETE FROM upload_parts", err) : s;
    return s == STATUS_OK ? db_exec(db, "DELETE FROM uploads", err) : s;
}
