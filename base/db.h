/* The one place that opens SQLite databases, so that encryption at rest can come without moving a
 * wall: 8 KiB pages with 32 bytes reserved a page, of which 8 hold a checksum that every read
 * compares (base/db_check.c: CORRUPT names the file), no mmap, WAL, synchronous=FULL for truth and
 * NORMAL for what can be rebuilt, foreign keys on, a busy time-out, an integrity check of the
 * schema version.
 *
 * A connection belongs to one thread at a time. */
#ifndef CARREL_BASE_DB_H
#define CARREL_BASE_DB_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

enum db_flags {
    DB_CREATE = 1,   /* make the file (0600) where it is missing */
    DB_READONLY = 2, /* readers of a WAL database */
    DB_DERIVED =
        4, /* synchronous=NORMAL: a power cut may lose the last transactions, never consistency */
};

struct db_migration {
    int version;     /* 1, 2, 3 ... */
    const char *sql; /* run in one transaction together with the version's update */
};

/* Opens path; on success *out is owned (db_close). Runs the migrations above the file's
 * user_version, each in a transaction; a file newer than the last of them is refused by name. NULL
 * migrations: none. */
enum status db_open(const char *path, unsigned flags, const struct db_migration *migrations,
                    size_t n_migrations, sqlite3 **out, struct error *err) MUST_CHECK;
void db_close(sqlite3 *db); /* NULL is fine; finalizes what is left */
/* The status and text for the connection's last error, prefixed with what. */
enum status db_error(sqlite3 *db, struct error *err, const char *what);
enum status db_exec(sqlite3 *db, const char *sql, struct error *err) MUST_CHECK;
/* Prepared for long use (SQLITE_PREPARE_PERSISTENT). */
enum status db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out,
                       struct error *err) MUST_CHECK;
/* Step a statement that returns no rows, then reset it and clear its bindings, also on failure. */
enum status db_run(sqlite3_stmt *st, struct error *err) MUST_CHECK;
/* One step: STATUS_OK with *row telling whether there is a row; resets on the end and on failure.
 */
enum status db_row(sqlite3_stmt *st, bool *row, struct error *err) MUST_CHECK;
/* The first column of the first row of a statement without parameters; 0: there is no row. */
enum status db_number(sqlite3 *db, const char *sql, int64_t *out, struct error *err) MUST_CHECK;
void db_reset(sqlite3_stmt *st); /* reset and clear bindings */
/* ---- db_copy.c: for backups ---- */
/* A reader of the file as it stands now; owned (db_close), and what it sees does not change till
 * then. */
enum status db_freeze(const char *path, sqlite3 **out, struct error *err) MUST_CHECK;
/* What `from` (of db_freeze) sees, page for page, into a new file at `to`, which is not synced;
 * nothing is left there on failure. cancelled may be NULL. */
enum status db_copy(sqlite3 *from, const char *to, const _Atomic bool *cancelled,
                    struct error *err) MUST_CHECK;
/* Both at once. */
enum status db_copy_file(const char *path, const char *to, const _Atomic bool *cancelled,
                         struct error *err) MUST_CHECK;
struct str db_column(sqlite3_stmt *st, int col); /* text or blob; valid until the next step */
/* Outside a transaction: what was deleted leaves the file. Free space is written blank at all times
 * (db_check.c), so it is enough to empty the write-ahead log; a file from before that, or one of
 * 256 GiB and more, is first written anew, and so it is when `whole` is asked for: then nobody else
 * writes meanwhile, and room for a second copy is needed in SQLITE_TMPDIR. Readers go on with what
 * they see. *done false: one of them still holds the log, call again. */
enum status db_scrub(sqlite3 *db, bool whole, bool *done, struct error *err) MUST_CHECK;

#endif
