/* Decrypted blocks of segment files: kept while someone looks at them, and the last used ones
 * beyond that. */
#ifndef CARREL_VECTORSTORE_SEGMENT_CACHE_H
#define CARREL_VECTORSTORE_SEGMENT_CACHE_H

#include "vectorstore/segment_file.h"

struct segment_cached {
    struct segment_cached *next;          /* in its bucket */
    struct segment_cached *older, *newer; /* by use, while nobody looks at it */
    uint64_t file, block;
    unsigned pins;
    _Alignas(64) unsigned char bytes[SEGMENT_BLOCK];
};

/* Pinned for the caller (segment_cache_give), or NULL. */
struct segment_cached *segment_cache_get(struct segment_cache *c, uint64_t file, uint64_t block);
/* One of the caller's own, to be filled; NULL when out of memory. */
struct segment_cached *segment_cached_new(uint64_t file, uint64_t block);
void segment_cached_free(struct segment_cached *b);
/* Takes a filled one; returns it, or the one that was there meanwhile, pinned. */
struct segment_cached *segment_cache_put(struct segment_cache *c, struct segment_cached *b);
void segment_cache_give(struct segment_cache *c, struct segment_cached *b);
/* Drops the blocks of a file that nobody looks at any more. */
void segment_cache_forget(struct segment_cache *c, uint64_t file);

#endif
