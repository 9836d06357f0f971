/* What OpenAI's API knows that collections and documents do not say by themselves: files that were
 * uploaded and are not documents yet (their bytes lie in tenants/<tenant>/files/<id>), vector
 * stores that have no document yet or were given a name, and which file became which document, with
 * its attributes. Rows in tenants/<tenant>/serve.db; functions of the lane of answers.h. Strings
 * that come out live in the arena. */
#ifndef CARREL_SERVE_FILES_H
#define CARREL_SERVE_FILES_H

#include <limits.h>
#include <sqlite3.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/status.h"
#include "base/text/subject.h"

#define FILE_PREFIX "file-"
#define FILE_ID_CAP (5 + ID_CAP)
#define BATCH_PREFIX "vsfb_"
#define FILE_NAME_MAX 255
#define FILES_ROWS_MAX 10000 /* of a tenant */
#define STORES_ROWS_MAX 10000
#define ATTRIBUTES_MAX ((size_t)16384)

/* tenants/<id>/serve.db */
#define FILES_SCHEMA                                                                               \
    "CREATE TABLE files(id TEXT PRIMARY KEY, user TEXT NOT NULL, name TEXT NOT NULL,"              \
    " purpose TEXT NOT NULL, bytes INTEGER NOT NULL, hash TEXT NOT NULL,"                          \
    " created_wall_ms INTEGER NOT NULL, expires_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"  \
    "CREATE INDEX files_by_time ON files(created_wall_ms, id);"                                    \
    "CREATE TABLE stores(collection TEXT PRIMARY KEY, user TEXT NOT NULL, name TEXT NOT NULL,"     \
    " metadata TEXT NOT NULL, created_wall_ms INTEGER NOT NULL, days INTEGER NOT NULL,"            \
    " active_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"                                     \
    "CREATE TABLE attached(collection TEXT NOT NULL, file TEXT NOT NULL, document TEXT NOT NULL,"  \
    " user TEXT NOT NULL, attributes TEXT NOT NULL, created_wall_ms INTEGER NOT NULL,"             \
    " batch TEXT NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL,"                              \
    " PRIMARY KEY(collection, file)) STRICT, WITHOUT ROWID;"                                       \
    "CREATE INDEX attached_by_document ON attached(document);"                                     \
    "CREATE INDEX attached_by_batch ON attached(batch);"

/* Likewise. What was put into a batch; the file's own row stays whose it was. */
#define BATCH_FILES_SCHEMA                                                                         \
    "CREATE TABLE batch_files(batch TEXT NOT NULL, collection TEXT NOT NULL, file TEXT NOT NULL,"  \
    " user TEXT NOT NULL, created_wall_ms INTEGER NOT NULL, PRIMARY KEY(batch, file)) STRICT,"     \
    " WITHOUT ROWID;"                                                                              \
    "CREATE INDEX batch_files_by_file ON batch_files(collection, file);"                           \
    "INSERT INTO batch_files SELECT batch, collection, file, user, created_wall_ms FROM attached"  \
    " WHERE batch <> '';"

struct staged_file {
    const char *id, *user, *name, *purpose;
    const char *hash; /* SHA-256, hexadecimal */
    int64_t bytes, created_wall_ms, expires_wall_ms;
};

struct store_row {
    const char *collection, *user, *name;
    const char *metadata; /* JSON object */
    int64_t created_wall_ms, active_wall_ms;
    int64_t days; /* after the last use that it expires; 0: never */
};

/* A file of a store. One that came by the watched folder has a row only when it was given
 * attributes; its file is its document then. */
struct attached_file {
    const char *collection, *file;
    const char *document; /* "": it did not become one */
    const char *user;
    const char *attributes; /* JSON object, or "" */
    int64_t created_wall_ms;
    const char *batch; /* "": none */
    const char *state; /* "": as the document's; "waiting", "failed", "cancelled" */
    const char *error;
};

/* ---- files ---- */

enum status files_add(sqlite3 *db, const struct staged_file *f, struct error *err) MUST_CHECK;
/* user NULL: anybody's. NOT_FOUND. */
enum status files_get(sqlite3 *db, const char *user, const char *id, struct arena *a,
                      struct staged_file *out, struct error *err) MUST_CHECK;
struct files_query {
    const char *user, *purpose, *after; /* NULL: any, any, from the beginning */
    bool ascending;
    size_t limit;
};
/* Up to limit + 1 of them, so that one sees whether there are more. */
enum status files_list(sqlite3 *db, const struct files_query *q, struct arena *a,
                       struct staged_file **out, size_t *n, struct error *err) MUST_CHECK;
enum status files_remove(sqlite3 *db, const char *id, struct error *err) MUST_CHECK;
/* Bytes and rows of all; what is announced to come in parts (uploads.h) counts. */
enum status files_total(sqlite3 *db, int64_t *bytes, int64_t *rows, struct error *err) MUST_CHECK;
/* Those whose time has come, at most `limit`. */
enum status files_expired(sqlite3 *db, int64_t now_ms, size_t limit, struct arena *a, char ***ids,
                          size_t *n, struct error *err) MUST_CHECK;

/* ---- stores ---- */

/* CONFLICT: there is one of this collection. */
enum status stores_add(sqlite3 *db, const struct store_row *s, struct error *err) MUST_CHECK;
/* Adds or replaces. */
enum status stores_put(sqlite3 *db, const struct store_row *s, struct error *err) MUST_CHECK;
/* *found false: no row, which does not mean no collection. */
enum status stores_get(sqlite3 *db, const char *collection, struct arena *a, struct store_row *out,
                       bool *found, struct error *err) MUST_CHECK;
enum status stores_all(sqlite3 *db, struct arena *a, struct store_row **out, size_t *n,
                       struct error *err) MUST_CHECK;
enum status stores_touch(sqlite3 *db, const char *collection, int64_t now_ms,
                         struct error *err) MUST_CHECK;
/* The row and those of its files. */
enum status stores_remove(sqlite3 *db, const char *collection, struct error *err) MUST_CHECK;

/* ---- files of stores ---- */

enum status attached_put(sqlite3 *db, const struct attached_file *f, struct error *err) MUST_CHECK;
/* By the file's id or the document's. */
enum status attached_get(sqlite3 *db, const char *collection, const char *id, struct arena *a,
                         struct attached_file *out, bool *found, struct error *err) MUST_CHECK;
/* In any store, by the file's id: the first that became a document. */
enum status attached_anywhere(sqlite3 *db, const char *file, struct arena *a,
                              struct attached_file *out, bool *found, struct error *err) MUST_CHECK;
/* Wherever the file became a document. */
enum status attached_of_file(sqlite3 *db, const char *file, size_t limit, struct arena *a,
                             struct attached_file **out, size_t *n, struct error *err) MUST_CHECK;
/* All rows of a collection, in order of documents; at most limit. */
enum status attached_list(sqlite3 *db, const char *collection, size_t limit, struct arena *a,
                          struct attached_file **out, size_t *n, struct error *err) MUST_CHECK;
/* What was put into a batch, the rows that are the user's (NULL: anybody's). Of what has no such
 * row, a failed one that says that there is no such file. */
enum status batch_list(sqlite3 *db, const char *batch, const char *collection, const char *user,
                       size_t limit, struct arena *a, struct attached_file **out, size_t *n,
                       struct error *err) MUST_CHECK;
/* Of stores whose time is over, what became a document by being attached; at most limit, any of
 * them.
 */
enum status attached_expired(sqlite3 *db, int64_t now_ms, size_t limit, struct arena *a,
                             struct attached_file **out, size_t *n, struct error *err) MUST_CHECK;
/* The file, as it was named, is in the batch, which is the user's. */
enum status batch_add(sqlite3 *db, const char *batch, const char *collection, const char *file,
                      const char *user, int64_t now_ms, struct error *err) MUST_CHECK;
/* NOT_FOUND: there is no such batch of the user's (NULL: anybody's) in the collection. */
enum status batch_begun(sqlite3 *db, const char *batch, const char *collection, const char *user,
                        int64_t *created_ms, struct error *err) MUST_CHECK;
enum status attached_remove(sqlite3 *db, const char *collection, const char *file,
                            struct error *err) MUST_CHECK;
/* What waited when serve ended does not wait any more. */
enum status attached_interrupt(sqlite3 *db, const char *batch, const char *state, const char *error,
                               struct error *err) MUST_CHECK;

/* ---- files_disk.c: bytes. All block ---- */

/* home/tenants/<tenant>/files/<id>; the folder is made. */
enum status files_path(const char *home, const char *tenant, const char *id, char out[PATH_MAX],
                       struct error *err) MUST_CHECK;
void files_unlink(const char *home, const char *tenant, const char *id);
/* Takes out what has no row and is older than a day, and what has expired. */
enum status files_sweep(sqlite3 *db, const char *home, const char *tenant, int64_t now_ms,
                        struct error *err) MUST_CHECK;
/* files_forget.c: an erasure's part: rows and bytes of files that became one of these documents,
 * and of those that name a data subject in name, attributes or text; with subjects also every file
 * that is not plain text, for what it says cannot be told. folder: of the tenant's files. */
enum status files_forget(sqlite3 *db, const char *const *documents, size_t n,
                         struct subject_set *subjects, const char *folder,
                         struct error *err) MUST_CHECK;

#endif
