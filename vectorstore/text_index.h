/* The full-text index of one tenant: parts (text_part.h) in order of their chunk numbers. Sealed
 * ones are files in text/, listed in its manifest; behind them comes the tail, images of
 * the runs that store.db holds. The writer adds a part for each run it commits; the sealing thread
 * merges small ones of the tail, writes the tail into a file and merges files, so that their number
 * stays logarithmic.
 *
 * A search holds a set: what was there at that moment, unchanged until it lets go. Chunks whose
 * numbers no part covers are a hole: index_seal (index.c) makes them again from the database.
 *
 * Any number of threads, but for what is marked. */
#ifndef CARREL_VECTORSTORE_TEXT_INDEX_H
#define CARREL_VECTORSTORE_TEXT_INDEX_H

#include "base/hash.h"
#include "vectorstore/segment_keys.h"
#include "vectorstore/text_build.h"
#include "vectorstore/text_part.h"

#define TEXT_PARTS_MAX 256U
#define TEXT_FANOUT 8U         /* parts of one size before they are merged */
#define TEXT_SEAL_CHUNKS 8192U /* the tail is sealed from here on */
#define TEXT_SEAL_RUNS 1024U   /* or from so many runs on */
#define TEXT_TIDY_PARTS 16U    /* parts of the tail from which the sealing thread merges them */
#define TEXT_CROWDED_PARTS 64U /* or the writer, where that thread is busy */
#define TEXT_TAIL_MAX 262144U  /* chunks; where the tail cannot be sealed, no more come in */
#define TEXT_SEGMENT_MAX ((uint64_t)1 << 20) /* numbers in one segment, at most */

struct text_entry {
    struct text_part *part;
    char name[ID_CAP]; /* of its file; empty: of the tail */
};

struct text_set {
    _Atomic uint32_t refs;
    size_t n;
    struct lexical_stats stats;
    struct text_entry entries[TEXT_PARTS_MAX];
};

struct text_index;

/* Opens what the manifest lists; what is missing or damaged becomes a hole. keys: borrowed; NULL:
 * not encrypted. */
enum status text_index_open(const char *tenant_dir, const struct segment_keys *keys,
                            struct text_index **out, struct error *err) MUST_CHECK;
void text_index_close(struct text_index *t); /* NULL is fine; no set may be held */

struct text_set *text_index_hold(struct text_index *t);
void text_set_drop(struct text_set *s); /* NULL is fine */
/* The last part that starts at or before the number, if it reaches it; NULL: a hole. */
struct text_part *text_set_part(const struct text_set *s, uint64_t n);
/* Counts of 4-grams, kept up to date from the first call on; they live as long as the index. */
enum status text_index_grams(struct text_index *t, const _Atomic uint32_t **out,
                             struct error *err) MUST_CHECK;
/* Work that was begun in an earlier epoch is thrown away: it may hold what has gone since. */
uint64_t text_index_epoch(struct text_index *t);
void text_index_turn(struct text_index *t);
/* Chunks of the part that have a word and are there. */
uint32_t text_part_live(const struct text_part *p, const struct lexical_allowed *there);
/* Files that are not encrypted though there is a key. */
uint32_t text_index_clear(struct text_index *t);
/* A file of the index by its path. */
enum status text_index_open_part(const struct text_index *t, const char *path,
                                 struct text_part **out, struct error *err) MUST_CHECK;
const struct segment_key *text_index_key(const struct text_index *t); /* to write one with */
/* A part turned out damaged: it becomes a hole. */
void text_index_give_up(struct text_index *t, const struct text_part *part);

/* ---- the writer ---- */

/* Before a commit, so that publishing after it cannot fail. BUSY when the tail is as long as it may
 * be. */
enum status text_index_reserve(struct text_index *t, struct error *err) MUST_CHECK;
/* Takes the part of a committed run; dropped where its numbers are covered already. */
void text_index_publish(struct text_index *t, struct text_part *part);
/* Are there so many parts in the tail that it should be tidied, by whoever comes to it (false), or
 * at once? Any thread. */
bool text_index_untidy(struct text_index *t, bool crowded);
/* Merges small parts of the tail; the writer's or the sealing thread, also both at once. */
void text_index_tidy(struct text_index *t);
/* Is there enough in the tail to seal it? */
bool text_index_due(struct text_index *t);

/* ---- the sealing thread ---- */

/* The tail becomes one file when there is enough of it (always: any). *done tells. */
enum status text_index_seal(struct text_index *t, const struct text_pace *pace, bool always,
                            bool *done, struct error *err) MUST_CHECK;
/* Merges one group of files that are of a size, or rewrites one that has lost a quarter of its
 * chunks or that is not encrypted and should be. Only while there is no hole. */
enum status text_index_merge(struct text_index *t, const struct text_pace *pace, bool *done,
                             struct error *err) MUST_CHECK;
/* A path in the folder of segments for a file to be made. */
void text_index_path(const struct text_index *t, char name[ID_CAP], char *path, size_t cap);
/* The file of `part` without what is gone; *done unless it is not in the index any more. Any
 * thread. */
enum status text_index_rewrite(struct text_index *t, struct text_part *part,
                               const struct text_pace *pace, bool *done,
                               struct error *err) MUST_CHECK;
/* fresh (NULL: nothing) in place of a part of the tail; false when that is not there any more. */
bool text_index_swap(struct text_index *t, const struct text_part *part, struct text_part *fresh);
/* Takes the file of that name in place of the parts that lie within its numbers; it is removed
 * where a part overlaps it otherwise. */
enum status text_index_take(struct text_index *t, const char *name, uint64_t epoch,
                            struct error *err) MUST_CHECK;

#endif
