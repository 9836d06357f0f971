/* What is known of a source's files: tenants/<id>/sources.db, a row for each that a listing has
 * told of. Derived: without it everything is fetched again. A row is known by the hash of its key;
 * the key and the place go when the file was deleted or erased here, so that only the hash stays,
 * to know the file by and not to fetch it again. One connection a poll, on its thread. */
#ifndef CARREL_INGEST_SOURCES_STATE_H
#define CARREL_INGEST_SOURCES_STATE_H

#include <sqlite3.h>

#include "base/arena.h"
#include "ingest/sources/listing.h"
#include "ingest/sources/names.h"

struct source_state;

struct source_poll { /* the last one; all 0 before the first */
    uint64_t number;
    int64_t started_ms, ended_ms, ok_ms; /* wall time; ok: of the last without trouble */
    int64_t due_ms;                      /* when the next one is due */
    uint32_t failures;                   /* in a row */
    bool empty;                          /* its listing had nothing, or far less, than there was */
};

struct source_row {
    uint8_t id[SHA256_BYTES];
    struct str key;
    char place[PLACE_MAX];             /* "" none yet */
    char version[LISTING_VERSION_CAP]; /* of the file that is there; "" none */
    char wanted[LISTING_VERSION_CAP];  /* as listed; "" not told: the source is asked */
    int64_t size;                      /* as listed; -1: not told */
    uint8_t hash[SHA256_BYTES];        /* of what is there */
    bool gone;                         /* deleted or erased here */
};

struct source_counts {
    uint64_t files, failed, gone; /* there, with an error, deleted here */
    uint64_t bytes;
    char error[200]; /* one of them */
};

enum status source_state_open(const char *path, const char *source, struct source_state **out,
                              struct error *err) MUST_CHECK;
void source_state_close(struct source_state *s); /* NULL is fine */
enum status source_state_poll(struct source_state *s, struct source_poll *out,
                              struct error *err) MUST_CHECK;
enum status source_state_set_poll(struct source_state *s, const struct source_poll *p,
                                  const char *error, struct error *err) MUST_CHECK;
/* Nothing of this source is known any more: its folder is new. */
enum status source_state_forget(struct source_state *s, struct error *err) MUST_CHECK;

/* Between these the calls are one transaction. */
enum status source_state_begin(struct source_state *s, struct error *err) MUST_CHECK;
enum status source_state_commit(struct source_state *s, struct error *err) MUST_CHECK;
void source_state_rollback(struct source_state *s);

/* Poll `number` has listed it. */
enum status source_state_listed(struct source_state *s, uint64_t number, const struct listed *l,
                                struct error *err) MUST_CHECK;
/* The next row by id above `after` that poll `number` has listed; missing: that it has not. */
enum status source_state_next(struct source_state *s, uint64_t number, bool missing,
                              const uint8_t after[SHA256_BYTES], struct arena *a,
                              struct source_row *out, bool *found, struct error *err) MUST_CHECK;
/* Has another row row's place, or one that differs in capitals? */
enum status source_state_taken(struct source_state *s, const struct source_row *row, bool *taken,
                               struct error *err) MUST_CHECK;
/* It lies at row's place, with row's version and hash. */
enum status source_state_fetched(struct source_state *s, const struct source_row *row,
                                 struct error *err) MUST_CHECK;
enum status source_state_failed(struct source_state *s, const struct source_row *row,
                                const char *why, struct error *err) MUST_CHECK;
/* Nothing was wrong with it after all. */
enum status source_state_fine(struct source_state *s, const struct source_row *row,
                              struct error *err) MUST_CHECK;
/* Deleted here: its names go. */
enum status source_state_gone(struct source_state *s, const struct source_row *row,
                              struct error *err) MUST_CHECK;
/* The source has it no longer. */
enum status source_state_drop(struct source_state *s, const struct source_row *row,
                              struct error *err) MUST_CHECK;
enum status source_state_count(struct source_state *s, struct source_counts *out,
                               struct error *err) MUST_CHECK;

#endif
