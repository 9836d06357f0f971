/* Making parts: from a batch of analysed chunks, and from other parts. Pure but for the file that
 * is written. */
#ifndef CARREL_VECTORSTORE_TEXT_BUILD_H
#define CARREL_VECTORSTORE_TEXT_BUILD_H

#include "vectorstore/text_part.h"

#define TEXT_MERGE_MAX 64 /* parts in one merge */

struct text_batch; /* what a run of chunks adds, gathered */

/* The numbers first..first+n-1. */
enum status text_batch_new(chunk_no first, uint32_t n, struct text_batch **out,
                           struct error *err) MUST_CHECK;
/* What chunk `n` adds; the entry is copied. */
enum status text_batch_add(struct text_batch *b, chunk_no n, const struct lexical_entry *e,
                           struct error *err) MUST_CHECK;
void text_batch_free(struct text_batch *b); /* NULL is fine */
/* As an image. */
enum status text_batch_part(struct text_batch *b, uint32_t analyzer, struct text_part **out,
                            struct error *err) MUST_CHECK;
/* To a file, as text_merge_file. */
enum status text_batch_file(struct text_batch *b, uint32_t analyzer, const char *path,
                            const struct segment_key *key, struct error *err) MUST_CHECK;

/* How a merge is kept from disturbing others. */
struct text_pace {
    const struct lexical_allowed
        *there; /* chunks below its limit that are not in it are dropped; NULL: none is */
    void (*rest)(void *data); /* called after every few milliseconds of work; may be NULL */
    void *data;
    const _Atomic bool *cancelled; /* may be NULL */
    uint64_t epoch;                /* text_index_epoch, from before `there` was looked up */
};

static inline bool text_pace_keeps(const struct text_pace *pace, uint64_t n)
{
    return pace->there == NULL || n >= pace->there->limit || lexical_allowed(pace->there, n);
}
enum status text_pace_rest(const struct text_pace *pace, struct error *err) MUST_CHECK;

/* parts: ascending and disjoint in their numbers; the result covers the first's first to the last's
 * last. */
enum status text_merge_image(struct text_part *const *parts, size_t n, const struct text_pace *pace,
                             struct text_part **out, struct error *err) MUST_CHECK;
/* Whole and synced under path, encrypted where a key is given. */
enum status text_merge_file(struct text_part *const *parts, size_t n, const struct text_pace *pace,
                            const char *path, const struct segment_key *key,
                            struct error *err) MUST_CHECK;

#endif
