/* Which chunks a caller may find: one bit a chunk number, made from the locations (readers,
 * collection, exclusion) and consulted inside every search before its cut. Cached by what it was
 * made from. */
#ifndef CARREL_VECTORSTORE_VISIBLE_H
#define CARREL_VECTORSTORE_VISIBLE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/rpc/caller.h"
#include "vectorstore/catalogue.h"

struct visible {
    _Atomic uint32_t refs;
    uint64_t limit; /* numbers below it have a bit */
    uint64_t count; /* bits set */
    uint64_t bits[];
};

#define VISIBLE_CACHED 16

struct visible_cache {
    struct {
        struct visible *v;
        struct buf key;
        int64_t generation;
        uint64_t used;
    } slots[VISIBLE_CACHED];
    uint64_t clock;
};

static inline bool visible_has(const struct visible *v, chunk_no n)
{
    return n < v->limit && (v->bits[n / 64] >> (n % 64) & 1U) != 0;
}

/* May any of the groups of the caller read it? readers: NUL-ended names; empty: everyone. caller
 * NULL: yes. */
bool visible_readers(struct str readers, const struct caller *caller);
/* Made from the reader's snapshot. Owned: visible_drop. */
enum status visible_make(struct catalogue *c, const struct catalogue_state *state,
                         const struct caller *caller, char *const *collections,
                         size_t n_collections, struct visible **out, struct error *err) MUST_CHECK;
/* Every chunk that exists. */
enum status visible_all(struct catalogue *c, const struct catalogue_state *state,
                        struct visible **out, struct error *err) MUST_CHECK;
void visible_drop(struct visible *v); /* NULL is fine */

/* What the set depends on besides the generation. */
void visible_key(const struct caller *caller, char *const *collections, size_t n_collections,
                 struct buf *out);
/* The cached set with a reference of the caller's own, or NULL. The cache's owner locks. */
struct visible *visible_cached(struct visible_cache *cache, struct str key, int64_t generation);
void visible_remember(struct visible_cache *cache, struct str key, int64_t generation,
                      struct visible *v);
void visible_forget(struct visible_cache *cache);

#endif
