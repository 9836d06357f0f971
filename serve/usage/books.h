/* A tenant's books: what each request used (kept for usage.keep_days) and the sums of each day by
 * user, key, team and model (kept for good), in its serve.db, written in one transaction, so that
 * they always agree. Functions of the lane of answers.h. */
#ifndef CARREL_SERVE_USAGE_BOOKS_H
#define CARREL_SERVE_USAGE_BOOKS_H

#include <sqlite3.h>

#include "serve/usage/meter.h"
#include "serve/usage/prices.h"

/* A migration of tenants/<id>/serve.db. Amounts are in the order of books_amounts. day: days since
 * 1970; money in millionths. */
#define BOOKS_SCHEMA                                                                               \
    "CREATE TABLE used(request TEXT PRIMARY KEY, at_wall_ms INTEGER NOT NULL,"                     \
    " user TEXT NOT NULL, key TEXT NOT NULL, team TEXT NOT NULL, route TEXT NOT NULL,"             \
    " model TEXT NOT NULL, engine TEXT NOT NULL, status INTEGER NOT NULL,"                         \
    " prompt INTEGER NOT NULL, completion INTEGER NOT NULL, embedding INTEGER NOT NULL,"           \
    " cpu_us INTEGER NOT NULL, gpu_us INTEGER NOT NULL, upload INTEGER NOT NULL,"                  \
    " micro INTEGER NOT NULL, external INTEGER NOT NULL) STRICT;"                                  \
    "CREATE INDEX used_by_time ON used(at_wall_ms);"                                               \
    "CREATE TABLE used_days(day INTEGER NOT NULL, user TEXT NOT NULL, key TEXT NOT NULL,"          \
    " team TEXT NOT NULL, model TEXT NOT NULL, requests INTEGER NOT NULL,"                         \
    " prompt INTEGER NOT NULL, completion INTEGER NOT NULL, embedding INTEGER NOT NULL,"           \
    " cpu_us INTEGER NOT NULL, gpu_us INTEGER NOT NULL, upload INTEGER NOT NULL,"                  \
    " micro INTEGER NOT NULL, external INTEGER NOT NULL,"                                          \
    " PRIMARY KEY(day, user, key, team, model)) STRICT, WITHOUT ROWID;"                            \
    "CREATE TABLE stored_days(day INTEGER NOT NULL, collection TEXT NOT NULL,"                     \
    " documents INTEGER NOT NULL, bytes INTEGER NOT NULL, micro INTEGER NOT NULL,"                 \
    " PRIMARY KEY(day, collection)) STRICT, WITHOUT ROWID;"                                        \
    "CREATE TABLE found_days(day INTEGER NOT NULL, collection TEXT NOT NULL,"                      \
    " times INTEGER NOT NULL, PRIMARY KEY(day, collection)) STRICT, WITHOUT ROWID;"

#define BOOKS_AMOUNTS                                                                              \
    9 /* prompt, completion, embedding, cpu_us, gpu_us, upload, micro, external, guessed */

#define BOOKS_FOUND_CAP 256 /* more collections of one request than fit are not noted */

struct book_entry {
    char request[40];
    char user[METER_NAME_CAP], key[METER_NAME_CAP], team[METER_NAME_CAP];
    const char *route; /* static */
    int64_t at_wall_ms;
    int status;
    struct usage used;
    struct cost cost;
    char found[BOOKS_FOUND_CAP]; /* collections that it found something in, each ended by NUL */
    size_t found_len;
};

/* What the documents of a collection take on a day. */
struct book_stored {
    char collection[256];
    int64_t documents, bytes, micro;
};

struct books_storing {
    void *owner; /* the caller's */
    const struct book_stored *list;
    size_t n;
    int64_t day;
    int64_t micro_more; /* out: than the day's entries said before */
};
/* data: struct books_storing. The day's entries are replaced; those of days more than
 * BOOKS_STORED_DAYS ago go, with what was found on them. */
#define BOOKS_STORED_DAYS 400
enum status books_store(sqlite3 *db, void *data, struct error *err) MUST_CHECK;

/* What reading documents cost: BOOKS_WORK_SCHEMA is a migration too. In the days' sums it is the
 * use of BOOKS_DOCUMENTS, by no request, so that it is in every sum that a report makes. */
#define BOOKS_WORK_SCHEMA                                                                          \
    "CREATE TABLE worked_days(day INTEGER NOT NULL, collection TEXT NOT NULL,"                     \
    " documents INTEGER NOT NULL, cpu_us INTEGER NOT NULL, micro INTEGER NOT NULL,"                \
    " PRIMARY KEY(day, collection)) STRICT, WITHOUT ROWID;"                                        \
    "CREATE TABLE worked_seen(one INTEGER PRIMARY KEY CHECK(one = 1), seq INTEGER NOT NULL)"       \
    " STRICT;"
/* A migration after that: of external, what is for tokens that we have guessed. */
#define BOOKS_GUESS_SCHEMA                                                                         \
    "ALTER TABLE used ADD COLUMN guessed INTEGER NOT NULL DEFAULT 0;"                              \
    "ALTER TABLE used_days ADD COLUMN guessed INTEGER NOT NULL DEFAULT 0;"
#define BOOKS_DOCUMENTS "(documents)"

struct book_work { /* an attempt at a document */
    int64_t seq, day, documents, cpu_us, micro;
    char collection[256];
    char user[METER_NAME_CAP], key[METER_NAME_CAP], team[METER_NAME_CAP];
};

struct books_working {
    void *owner; /* the caller's */
    const struct book_work *list;
    size_t n;
    int64_t seen; /* out: the last one that was entered, then or ever; 0: none */
};
/* data: struct books_working; the list is entered and its last one remembered, in one transaction.
 */
enum status books_work(sqlite3 *db, void *data, struct error *err) MUST_CHECK;

void books_amounts(const struct book_entry *e, int64_t out[BOOKS_AMOUNTS]);
/* Enters them, and takes out what is older than keep_days. One that is there already is passed
 * over. */
enum status books_enter(sqlite3 *db, const struct book_entry *list, size_t n, int64_t keep_days,
                        int64_t wall_ms, struct error *err) MUST_CHECK;

#endif
