/* Files that come in parts (OpenAI's uploads): what was announced, and the parts that have come.
 * Their bytes lie beside those of files (files.h), under the part's id; what is put together is a
 * file. An upload lives for an hour. Rows in tenants/<tenant>/serve.db; functions of the lane of
 * answers.h. Strings that come out live in the arena. */
#ifndef CARREL_SERVE_UPLOADS_H
#define CARREL_SERVE_UPLOADS_H

#include <limits.h>
#include <sqlite3.h>

#include "base/arena.h"
#include "base/status.h"
#include "serve/files.h"

#define UPLOAD_PREFIX "upload_"
#define PART_PREFIX "part_"
#define UPLOAD_LIFE_MS INT64_C(3600000)
#define UPLOAD_PART_BYTES ((int64_t)64 << 20) /* at most, as OpenAI has it */
#define UPLOAD_PARTS_MAX 1024                 /* of one */
#define UPLOADS_MAX 100                       /* of a tenant that are alive */

/* tenants/<id>/serve.db */
#define UPLOADS_SCHEMA                                                                             \
    "CREATE TABLE uploads(id TEXT PRIMARY KEY, user TEXT NOT NULL, name TEXT NOT NULL,"            \
    " purpose TEXT NOT NULL, type TEXT NOT NULL, state TEXT NOT NULL, file TEXT NOT NULL,"         \
    " bytes INTEGER NOT NULL, keep_ms INTEGER NOT NULL, created_wall_ms INTEGER NOT NULL,"         \
    " expires_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"                                    \
    "CREATE TABLE upload_parts(id TEXT PRIMARY KEY,"                                               \
    " upload TEXT NOT NULL REFERENCES uploads(id) ON DELETE CASCADE, bytes INTEGER NOT NULL,"      \
    " created_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"                                    \
    "CREATE INDEX upload_parts_by_upload ON upload_parts(upload);"

struct upload {
    const char *id, *user, *name, *purpose, *type;
    const char *state; /* "pending", "completed", "cancelled"; of uploads_get also "expired" */
    const char *file;  /* what it became; "" */
    int64_t bytes;     /* as announced */
    int64_t keep_ms;   /* how long the file will be kept */
    int64_t created_wall_ms, expires_wall_ms;
    /* counted */
    int64_t parts, parts_bytes;
};

/* TOO_LARGE: there is no room for so many bytes (of room), or too many are alive. */
enum status uploads_add(sqlite3 *db, const struct upload *u, int64_t room,
                        struct error *err) MUST_CHECK;
/* user NULL: anybody's. NOT_FOUND. One that is over has the state "expired". */
enum status uploads_get(sqlite3 *db, const char *user, const char *id, int64_t now_ms,
                        struct arena *a, struct upload *out, struct error *err) MUST_CHECK;
/* CONFLICT: not pending any more, or more bytes than were announced. */
enum status uploads_add_part(sqlite3 *db, const char *upload, const char *part, int64_t bytes,
                             int64_t now_ms, struct error *err) MUST_CHECK;
/* The bytes of one of its parts; INVALID: it is none. */
enum status uploads_part(sqlite3 *db, const char *upload, const char *part, int64_t *bytes,
                         struct error *err) MUST_CHECK;
/* Its parts go, their bytes in home too (home NULL: they stay, for who may yet roll back). state:
 * "cancelled", or "completed" with the file. CONFLICT: it is not pending. */
enum status uploads_end(sqlite3 *db, const char *home, const char *tenant, const char *upload,
                        const char *state, const char *file, struct error *err) MUST_CHECK;
/* Those whose time has come go. */
enum status uploads_expire(sqlite3 *db, const char *home, const char *tenant, int64_t now_ms,
                           struct error *err) MUST_CHECK;
/* An erasure's part: nobody can tell what a part says, so all of them go. folder: of the tenant's
 * files; NULL: rows only. */
enum status uploads_forget(sqlite3 *db, const char *folder, struct error *err) MUST_CHECK;

#endif
