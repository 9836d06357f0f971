/* An arena: one per request or document, freed as a whole. Nothing reachable from it outlives it.
 * Not thread-safe: one thread at a time. */
#ifndef CARREL_BASE_ARENA_H
#define CARREL_BASE_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "base/status.h"
#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *head; /* the block being filled */
    size_t used;              /* bytes handed out, rounding included */
    size_t max;               /* ceiling on `used`; allocation past it fails */
};

/* Nothing is allocated until first use. max_bytes must be > 0. */
void arena_init(struct arena *a, size_t max_bytes);
/* Zeroed memory aligned for any object; NULL when out of memory or over the ceiling. */
void *arena_alloc(struct arena *a, size_t len) MUST_CHECK;
/* n * size with overflow checked. */
void *arena_array(struct arena *a, size_t n, size_t size) MUST_CHECK;
/* NUL-terminated copies; NULL as arena_alloc. */
char *arena_strdup(struct arena *a, const char *z) MUST_CHECK;
char *arena_strndup(struct arena *a, const char *p, size_t len) MUST_CHECK;
char *arena_printf(struct arena *a, const char *fmt, ...) MUST_CHECK PRINTF_LIKE(2, 3);
/* Frees everything; the arena can be used again. */
void arena_reset(struct arena *a);
/* protobuf-c's allocator hook: unpacking draws from the arena and its ceiling; free is a no-op.
 * `out->allocator_data` borrows a. */
void arena_protobuf(struct arena *a, ProtobufCAllocator *out);

#endif
