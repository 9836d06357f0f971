/* A database as it stands at one moment, in a file of its own. Pages keep their places (unlike
 * VACUUM INTO), so that two copies of a database that changed little differ little. */
#include <stdio.h>
#include <unistd.h>

#include "base/db.h"

#define STEP_PAGES 256

enum status db_freeze(const char *path, sqlite3 **out, struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = db_open(path, DB_READONLY, NULL, 0, &db, err);
    if (s == STATUS_OK) {
        s = db_exec(db, "BEGIN; SELECT count(*) FROM sqlite_schema", err); /* reading begins it */
    }
    if (s != STATUS_OK) {
        db_close(db);
        return s;
    }
    *out = db;
    return STATUS_OK;
}

static enum status open_copy(const char *to, sqlite3 **out, struct error *err)
{
    sqlite3 *db = NULL;
    (void)unlink(to);
    enum status s = db_open(to, DB_CREATE, NULL, 0, &db, err);
    if (s == STATUS_OK) {
        /* nobody reads it before it is whole */
        s = db_exec(db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", err);
    }
    if (s != STATUS_OK) {
        db_close(db);
        return s;
    }
    *out = db;
    return STATUS_OK;
}

enum status db_copy(sqlite3 *from, const char *to, const _Atomic bool *cancelled, struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = open_copy(to, &db, err);
    if (s != STATUS_OK) {
        return s;
    }
    sqlite3_backup *b = sqlite3_backup_init(db, "main", from, "main");
    int rc = b == NULL ? SQLITE_ERROR : SQLITE_OK;
    while (rc == SQLITE_OK) {
        if (cancelled != NULL && atomic_load(cancelled)) {
            s = error_set(err, STATUS_CANCELLED, "the copy was cancelled");
            break;
        }
        rc = sqlite3_backup_step(b, STEP_PAGES);
    }
    if (b != NULL && sqlite3_backup_finish(b) != SQLITE_OK && s == STATUS_OK) {
        s = db_error(db, err, to);
    } else if (b == NULL || (s == STATUS_OK && rc != SQLITE_DONE)) {
        s = db_error(db, err, to);
    }
    db_close(db);
    if (s != STATUS_OK) {
        (void)unlink(to);
    }
    return s;
}

enum status db_copy_file(const char *path, const char *to, const _Atomic bool *cancelled,
                         struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = db_freeze(path, &db, err);
    if (s == STATUS_OK) {
        s = db_copy(db, to, cancelled, err);
    }
    db_close(db);
    return s;
}
