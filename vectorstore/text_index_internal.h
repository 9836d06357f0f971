/* What the files of the full-text index share: text_index.c, text_index_merge.c. */
#ifndef CARREL_VECTORSTORE_TEXT_INDEX_INTERNAL_H
#define CARREL_VECTORSTORE_TEXT_INDEX_INTERNAL_H

#include <pthread.h>

#include "vectorstore/text_index.h"

struct text_index {
    char dir[1100];
    const struct segment_keys *keys;
    pthread_mutex_t lock;     /* of set: held for a moment only, searches wait for it */
    struct text_set *set;     /* replaced under both locks, so that either is enough to read it */
    pthread_mutex_t changing; /* of all that follows; taken first */
    struct text_set *spare;   /* for the next publish */
    uint64_t held;            /* parts of the tail up to this number are being sealed */
    uint64_t epoch;
    uint32_t runs;           /* published since the tail was sealed */
    _Atomic uint32_t *grams; /* NULL until someone asks */
};

/* ---- text_index.c ---- */

/* Empty, a reference; NULL: out of memory. */
struct text_set *text_set_new(void);
/* Of the entry at i: which chunks it holds; whether it is a file. */
const struct text_about *text_set_about(const struct text_set *s, size_t i);
bool text_set_sealed(const struct text_set *s, size_t i);
/* The number of parts that start at or before n. */
size_t text_set_starting_by(const struct text_set *s, uint64_t n);
/* Into `to`: the set with the n entries from `at` on replaced by `fresh` (part NULL: by nothing),
 * each with a reference of its own. */
void text_set_splice(const struct text_set *from, size_t at, size_t n,
                     const struct text_entry *fresh, struct text_set *to);
/* A part's counts of 4-grams come (1) or go (-1); changing is held. */
void text_index_add_grams(struct text_index *t, struct text_part *part, int sign);
/* `to` becomes the set; changing is held. Returns the old one, to be dropped. */
struct text_set *text_index_change(struct text_index *t, struct text_set *to);
/* Files first: the n entries at `at` become `fresh` (part NULL: nothing), in the manifest, in the
 * set, in the counts, and on the disk. changing is held. `to`: new and empty; where this succeeds
 * it is the set and *old what it replaced. */
enum status text_index_change_files(struct text_index *t, size_t at, size_t n,
                                    const struct text_entry *fresh, struct text_set *to,
                                    struct text_set **old, struct error *err) MUST_CHECK;

#endif
