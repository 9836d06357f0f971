/* Sets of chunk numbers, one bit each: what a caller may find under a filter, consulted inside
 * every search before its cut. Made and kept up to date by rights.h; never changed once handed out.
 */
#ifndef CARREL_VECTORSTORE_VISIBLE_H
#define CARREL_VECTORSTORE_VISIBLE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "vectorstore/catalogue.h"

struct visible {
    _Atomic uint32_t refs;
    uint64_t limit; /* numbers below it have a bit */
    uint64_t count; /* bits set */
    int64_t at;     /* the change (catalogue's log) up to which it holds */
    uint64_t bits[];
};

static inline bool visible_has(const struct visible *v, chunk_no n)
{
    return n < v->limit && (v->bits[n / 64] >> (n % 64) & 1U) != 0;
}

/* Numbers below limit, none set. Owned: visible_drop. */
enum status visible_new(uint64_t limit, struct visible **out, struct error *err) MUST_CHECK;
/* A copy for numbers below limit, which may be fewer or more. */
enum status visible_copy(const struct visible *v, uint64_t limit, struct visible **out,
                         struct error *err) MUST_CHECK;
/* Every chunk that exists. */
enum status visible_all(struct catalogue *c, const struct catalogue_state *state,
                        struct visible **out, struct error *err) MUST_CHECK;
void visible_drop(struct visible *v); /* NULL is fine */
size_t visible_bytes(const struct visible *v);

/* While it is being made: first to last, what is past the limit left out; then the count. */
void visible_set(struct visible *v, chunk_no first, chunk_no last);
void visible_clear(struct visible *v, chunk_no first, chunk_no last);
void visible_recount(struct visible *v);

#define VISIBLE_CACHED 64U
#define VISIBLE_CACHED_BYTES ((size_t)16 * 1024 * 1024)

/* The sets used last, by what they were made from. Its owner locks. */
struct visible_cache {
    struct {
        struct visible *v;
        struct buf key;
        uint64_t hash, used;
    } slots[VISIBLE_CACHED];
    uint64_t clock;
    size_t bytes;
};

/* The set under this key with a reference of the caller's own, or NULL. */
struct visible *visible_cached(struct visible_cache *cache, struct str key);
/* Takes a reference of its own, in place of what was there. */
void visible_remember(struct visible_cache *cache, struct str key, struct visible *v);
void visible_forget(struct visible_cache *cache);

#endif
