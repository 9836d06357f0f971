/* Turns of conversations that clients asked to have kept (a response with "store"): what was said,
 * what was answered, and the turn before. They lie beside the answers' records, go with them when
 * an erasure takes those, and after a number of days. Turns that followed one made from an erased
 * document go too. A turn is found by who asked for it and by nobody else. Functions of the lane of
 * answers.h; the caller begins no transaction. */
#ifndef CARREL_SERVE_TURNS_H
#define CARREL_SERVE_TURNS_H

#include <sqlite3.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define TURNS_MAX 256 /* of a conversation */
#define TURNS_BYTES ((size_t)8 * 1024 * 1024)

/* tenants/<id>/serve.db, its seventh migration. */
#define TURNS_SCHEMA                                                                               \
    "CREATE TABLE turns(answer TEXT PRIMARY KEY REFERENCES answers(id) ON DELETE CASCADE,"         \
    " previous TEXT NOT NULL, created_wall_ms INTEGER NOT NULL, messages TEXT NOT NULL,"           \
    " response TEXT NOT NULL) STRICT, WITHOUT ROWID;"                                              \
    "CREATE INDEX turns_by_time ON turns(created_wall_ms);"

struct turn {
    const char *answer;   /* id of its record, which is there */
    const char *previous; /* "" none */
    const char *messages; /* JSON array of chat messages: the new ones and the answer */
    const char *response; /* JSON object */
    int64_t created_wall_ms;
};

/* Those made before this wall time go. */
enum status turns_expire(sqlite3 *db, int64_t before_ms, struct error *err) MUST_CHECK;
/* Not when the turn before has gone meanwhile: what is said here may come from it. */
enum status turns_write(sqlite3 *db, const struct turn *t, struct error *err) MUST_CHECK;
/* The messages of a conversation up to and with this turn, oldest first, separated by commas.
 * NOT_FOUND: the turn, or one before it, is not there or another user's. TOO_LARGE. */
enum status turns_read(sqlite3 *db, const char *user, const char *answer, struct buf *out,
                       struct error *err) MUST_CHECK;
/* One turn: its response, or its messages as an array. NOT_FOUND. */
enum status turn_read(sqlite3 *db, const char *user, const char *answer, bool messages,
                      struct buf *out, struct error *err) MUST_CHECK;
enum status turn_delete(sqlite3 *db, const char *user, const char *answer,
                        struct error *err) MUST_CHECK;

#endif
