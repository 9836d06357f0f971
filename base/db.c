#include "base/db.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/db_check.h"

#define BUSY_MS 5000
#define SCRUB_WAIT_MS 100

static enum status from_sqlite(int rc)
{
    if (rc == SQLITE_IOERR_DATA) {
        return STATUS_CORRUPT; /* base/db_check.c */
    }
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return STATUS_OK;
    case SQLITE_NOMEM:
        return STATUS_NO_MEMORY;
    case SQLITE_FULL:
        return STATUS_DISK_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STATUS_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return STATUS_CORRUPT;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        return STATUS_FORBIDDEN;
    case SQLITE_CONSTRAINT:
        return STATUS_CONFLICT;
    case SQLITE_TOOBIG:
        return STATUS_TOO_LARGE;
    case SQLITE_INTERRUPT:
        return STATUS_CANCELLED;
    default:
        return STATUS_IO;
    }
}

/* SQLite says so only where it writes a page itself: of its log's index, or a file that it cannot
 * make, it says "I/O error". */
static bool no_room(sqlite3 *db, int rc)
{
    int e = sqlite3_system_errno(db);
    return ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) &&
           (e == ENOSPC || e == EDQUOT);
}

enum status db_error(sqlite3 *db, struct error *err, const char *what)
{
    int rc = sqlite3_extended_errcode(db);
    if (rc == SQLITE_IOERR_DATA) {
        const char *file = sqlite3_db_filename(db, "main");
        return error_set(err, STATUS_CORRUPT,
                         "%.160s: a page does not match its checksum: restore it from a backup "
                         "(carrel restore)",
                         file == NULL ? what : file);
    }
    if (no_room(db, rc)) {
        return error_set(err, STATUS_DISK_FULL, "%s: the disk is full", what);
    }
    return error_set(err, from_sqlite(rc), "%s: %s", what, sqlite3_errmsg(db));
}

enum status db_exec(sqlite3 *db, const char *sql, struct error *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return db_error(db, err, "database");
    }
    return STATUS_OK;
}

enum status db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct error *err)
{
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK) {
        return db_error(db, err, sql);
    }
    return STATUS_OK;
}

void db_reset(sqlite3_stmt *st)
{
    (void)sqlite3_reset(st); /* repeats the error of the last step, which was reported */
    (void)sqlite3_clear_bindings(st);
}

enum status db_row(sqlite3_stmt *st, bool *row, struct error *err)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *row = true;
        return STATUS_OK;
    }
    enum status s = STATUS_OK;
    if (rc != SQLITE_DONE) {
        s = db_error(sqlite3_db_handle(st), err, "database");
    }
    db_reset(st);
    *row = false;
    return s;
}

enum status db_run(sqlite3_stmt *st, struct error *err)
{
    bool row;
    enum status s;
    do {
        s = db_row(st, &row, err);
    } while (s == STATUS_OK && row);
    return s;
}

struct str db_column(sqlite3_stmt *st, int col)
{
    const void *p = sqlite3_column_blob(st, col);
    int n = sqlite3_column_bytes(st, col);
    return (struct str){.ptr = p == NULL ? "" : p, .len = n < 0 ? 0 : (size_t)n};
}

static enum status read_version(sqlite3 *db, int *version, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "PRAGMA user_version", &st, err);
    if (s == STATUS_OK) {
        bool row;
        s = db_row(st, &row, err);
        *version = s == STATUS_OK && row ? sqlite3_column_int(st, 0) : 0;
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status migrate(sqlite3 *db, const char *path, const struct db_migration *m, size_t n,
                           struct error *err)
{
    int version;
    enum status s = read_version(db, &version, err);
    if (s == STATUS_OK && n > 0 && version > m[n - 1].version) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "%s: made by a newer Carrel (schema %d, this one knows %d)", path, version,
                         m[n - 1].version);
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        if (m[i].version <= version) {
            continue;
        }
        char bump[48];
        (void)snprintf(bump, sizeof bump, "PRAGMA user_version=%d", m[i].version);
        s = db_exec(db, "BEGIN IMMEDIATE", err);
        if (s == STATUS_OK) { /* another connection may have been first */
            s = read_version(db, &version, err);
        }
        if (s == STATUS_OK && m[i].version > version) {
            s = db_exec(db, m[i].sql, err);
            s = s == STATUS_OK ? db_exec(db, bump, err) : s;
        }
        if (s == STATUS_OK) {
            s = db_exec(db, "COMMIT", err);
        }
        if (s != STATUS_OK) {
            (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        }
    }
    return s;
}

static enum status configure(sqlite3 *db, unsigned flags, bool fresh, struct error *err)
{
    (void)sqlite3_busy_timeout(db, BUSY_MS);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    enum status s = STATUS_OK;
    if ((flags & DB_READONLY) == 0) {
        s = db_exec(db, "PRAGMA page_size=8192", err);
        int reserve = DB_RESERVED_BYTES;
        (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
        if (s == STATUS_OK && fresh) {
            char mark[48]; /* before the first page is written */
            (void)snprintf(mark, sizeof mark, "PRAGMA application_id=%u", DB_BLANKED_ID);
            s = db_exec(db, mark, err);
        }
        if (s == STATUS_OK) {
            s = db_exec(db, "PRAGMA journal_mode=WAL; PRAGMA secure_delete=ON", err);
        }
    }
    if (s == STATUS_OK) {
        s = db_exec(
            db, (flags & DB_DERIVED) != 0 ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL",
            err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db,
                    "PRAGMA foreign_keys=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;"
                    "PRAGMA journal_size_limit=67108864; PRAGMA cell_size_check=ON",
                    err);
    }
    return s;
}

/* One after another: a process has one umask, and a file that is made by two at once is locked for
 * both. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

static enum status open_alone(const char *path, unsigned flags,
                              const struct db_migration *migrations, size_t n_migrations,
                              sqlite3 **out, struct error *err)
{
    int mode = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if ((flags & DB_READONLY) != 0) {
        mode |= SQLITE_OPEN_READONLY;
    } else {
        mode |= SQLITE_OPEN_READWRITE | ((flags & DB_CREATE) != 0 ? SQLITE_OPEN_CREATE : 0);
    }
    sqlite3 *db = NULL;
    mode_t old = umask(077);
    db_check_register();
    struct stat st;
    bool fresh = stat(path, &st) != 0 || st.st_size == 0;
    int rc = sqlite3_open_v2(path, &db, mode, DB_VFS);
    enum status s = STATUS_OK;
    if (rc != SQLITE_OK) {
        s = db == NULL ? error_set(err, STATUS_NO_MEMORY, "%s: out of memory", path)
                       : db_error(db, err, path);
    }
    if (s == STATUS_OK) {
        s = configure(db, flags, fresh, err);
    }
    if (s == STATUS_OK && (flags & DB_READONLY) == 0) {
        s = migrate(db, path, migrations, n_migrations, err);
    }
    (void)umask(old);
    if (s != STATUS_OK) {
        if (rc == SQLITE_OK) {
            (void)error_prefix(err, "%s", path);
        }
        db_close(db);
        return s;
    }
    *out = db;
    return STATUS_OK;
}

enum status db_open(const char *path, unsigned flags, const struct db_migration *migrations,
                    size_t n_migrations, sqlite3 **out, struct error *err)
{
    (void)pthread_mutex_lock(&opening);
    enum status s = open_alone(path, flags, migrations, n_migrations, out, err);
    (void)pthread_mutex_unlock(&opening);
    return s;
}

void db_close(sqlite3 *db)
{
    if (db == NULL) {
        return;
    }
    for (sqlite3_stmt *st = sqlite3_next_stmt(db, NULL); st != NULL;
         st = sqlite3_next_stmt(db, NULL)) {
        (void)sqlite3_finalize(st);
    }
    (void)sqlite3_close(db);
}

enum status db_number(sqlite3 *db, const char *sql, int64_t *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    *out = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

/* Was every page written with its free space blank, and every free one blanked? */
static enum status blanked(sqlite3 *db, bool *out, struct error *err)
{
    int64_t id = 0;
    int64_t pages = 0;
    enum status s = db_number(db, "PRAGMA application_id", &id, err);
    if (s == STATUS_OK) {
        s = db_number(db, "PRAGMA page_count", &pages, err);
    }
    *out = s == STATUS_OK && id == DB_BLANKED_ID && pages < DB_BLANKED_PAGES;
    return s;
}

/* The copy that VACUUM makes goes to a file: a store may be larger than the memory. */
static enum status rewrite(sqlite3 *db, struct error *err)
{
    char mark[48];
    struct error ignored;
    (void)snprintf(mark, sizeof mark, "PRAGMA application_id=%u", DB_BLANKED_ID);
    enum status s = db_exec(db, "PRAGMA temp_store=FILE; VACUUM", err);
    if (db_exec(db, "PRAGMA temp_store=MEMORY", &ignored) != STATUS_OK && s == STATUS_OK) {
        *err = ignored;
        s = ignored.code;
    }
    return s == STATUS_OK ? db_exec(db, mark, err) : s;
}

enum status db_scrub(sqlite3 *db, bool whole, bool *done, struct error *err)
{
    bool clean = false;
    int64_t busy = 1;
    *done = false;
    enum status s = blanked(db, &clean, err);
    if (s == STATUS_OK && (whole || !clean)) {
        s = rewrite(db, err);
    }
    if (s == STATUS_OK) {
        (void)sqlite3_busy_timeout(db, SCRUB_WAIT_MS); /* whoever reads: the caller comes again */
        s = db_number(db, "PRAGMA wal_checkpoint(TRUNCATE)", &busy, err);
        (void)sqlite3_busy_timeout(db, BUSY_MS);
    }
    *done = s == STATUS_OK && busy == 0;
    return s;
}
