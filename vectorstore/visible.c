#include "vectorstore/visible.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

#define KEY_BYTES ((size_t)128 * 1024)

static size_t words_of(uint64_t limit)
{
    return (size_t)(limit / 64 + 1);
}

enum status visible_new(uint64_t limit, struct visible **out, struct error *err)
{
    struct visible *v = calloc(1, sizeof *v + words_of(limit) * sizeof v->bits[0]);
    if (v == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    atomic_init(&v->refs, 1);
    v->limit = limit;
    *out = v;
    return STATUS_OK;
}

enum status visible_copy(const struct visible *v, uint64_t limit, struct visible **out,
                         struct error *err)
{
    struct visible *copy = NULL;
    enum status st = visible_new(limit, &copy, err);
    if (st == STATUS_OK) {
        uint64_t shared = limit < v->limit ? limit : v->limit;
        memcpy(copy->bits, v->bits, (size_t)(shared / 64) * sizeof v->bits[0]);
        if (shared % 64 != 0) {
            copy->bits[shared / 64] = v->bits[shared / 64] & (((uint64_t)1 << (shared % 64)) - 1);
        }
        copy->at = v->at;
        visible_recount(copy);
        *out = copy;
    }
    return st;
}

static enum status add_span(chunk_no first, chunk_no last, void *data, struct error *err)
{
    (void)err;
    visible_set(data, first, last);
    return STATUS_OK;
}

enum status visible_all(struct catalogue *c, const struct catalogue_state *state,
                        struct visible **out, struct error *err)
{
    struct visible *v = NULL;
    enum status st = visible_new((uint64_t)state->next_chunk, &v, err);
    if (st == STATUS_OK) {
        st = catalogue_spans_all(c, add_span, v, err);
    }
    if (st != STATUS_OK) {
        visible_drop(v);
        return st;
    }
    visible_recount(v);
    *out = v;
    return STATUS_OK;
}

void visible_drop(struct visible *v)
{
    if (v != NULL && atomic_fetch_sub(&v->refs, 1) == 1) {
        free(v);
    }
}

size_t visible_bytes(const struct visible *v)
{
    return sizeof *v + words_of(v->limit) * sizeof v->bits[0];
}

/* The bits of word `word` that lie in [first, last]. */
static uint64_t mask_of(uint64_t word, uint64_t first, uint64_t last)
{
    uint64_t mask = ~(uint64_t)0;
    if (first / 64 == word) {
        mask &= ~(uint64_t)0 << (first % 64);
    }
    if (last / 64 == word) {
        mask &= ~(uint64_t)0 >> (63 - last % 64);
    }
    return mask;
}

void visible_set(struct visible *v, chunk_no first, chunk_no last)
{
    uint64_t end = last < v->limit ? last : v->limit - 1;
    for (uint64_t w = first / 64; v->limit > 0 && first <= end && w <= end / 64; w++) {
        v->bits[w] |= mask_of(w, first, end);
    }
}

void visible_clear(struct visible *v, chunk_no first, chunk_no last)
{
    uint64_t end = last < v->limit ? last : v->limit - 1;
    for (uint64_t w = first / 64; v->limit > 0 && first <= end && w <= end / 64; w++) {
        v->bits[w] &= ~mask_of(w, first, end);
    }
}

void visible_recount(struct visible *v)
{
    v->count = 0;
    for (size_t i = 0; i < words_of(v->limit); i++) {
        v->count += (uint64_t)__builtin_popcountll(v->bits[i]);
    }
}

/* ---- the cache ---- */

struct visible *visible_cached(struct visible_cache *cache, struct str key)
{
    uint64_t hash = hash64(key.ptr, key.len);
    for (size_t i = 0; i < VISIBLE_CACHED; i++) {
        if (cache->slots[i].v != NULL && cache->slots[i].hash == hash &&
            str_eq(buf_view(&cache->slots[i].key), key)) {
            cache->slots[i].used = ++cache->clock;
            (void)atomic_fetch_add(&cache->slots[i].v->refs, 1);
            return cache->slots[i].v;
        }
    }
    return NULL;
}

static void empty_slot(struct visible_cache *cache, size_t i)
{
    if (cache->slots[i].v != NULL) {
        cache->bytes -= visible_bytes(cache->slots[i].v) + cache->slots[i].key.len;
        visible_drop(cache->slots[i].v);
        buf_deinit(&cache->slots[i].key);
        cache->slots[i].v = NULL;
    }
}

/* The slot of this key, or a free one, or the one used longest ago. */
static size_t slot_for(const struct visible_cache *cache, uint64_t hash, struct str key)
{
    size_t best = 0;
    for (size_t i = 0; i < VISIBLE_CACHED; i++) {
        if (cache->slots[i].v != NULL && cache->slots[i].hash == hash &&
            str_eq(buf_view(&cache->slots[i].key), key)) {
            return i;
        }
        uint64_t used = cache->slots[i].v == NULL ? 0 : cache->slots[i].used;
        uint64_t least = cache->slots[best].v == NULL ? 0 : cache->slots[best].used;
        best = used < least ? i : best;
    }
    return best;
}

void visible_remember(struct visible_cache *cache, struct str key, struct visible *v)
{
    struct buf copy;
    uint64_t hash = hash64(key.ptr, key.len);
    buf_init(&copy, KEY_BYTES);
    buf_str(&copy, key);
    if (buf_status(&copy) != STATUS_OK || visible_bytes(v) > VISIBLE_CACHED_BYTES / 2) {
        buf_deinit(&copy);
        return; /* not cached: made again next time */
    }
    size_t i = slot_for(cache, hash, key);
    empty_slot(cache, i);
    cache->slots[i].v = v;
    cache->slots[i].key = copy;
    cache->slots[i].hash = hash;
    cache->slots[i].used = ++cache->clock;
    cache->bytes += visible_bytes(v) + copy.len;
    (void)atomic_fetch_add(&v->refs, 1);
    while (cache->bytes > VISIBLE_CACHED_BYTES) { /* the new one is the youngest: it stays */
        size_t oldest = i;
        for (size_t j = 0; j < VISIBLE_CACHED; j++) {
            if (cache->slots[j].v != NULL && cache->slots[j].used < cache->slots[oldest].used) {
                oldest = j;
            }
        }
        empty_slot(cache, oldest);
    }
}

void visible_forget(struct visible_cache *cache)
{
    for (size_t i = 0; i < VISIBLE_CACHED; i++) {
        empty_slot(cache, i);
    }
}
