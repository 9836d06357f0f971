#include "vectorstore/visible.h"

#include <stdlib.h>
#include <string.h>

#define KEY_BYTES ((size_t)64 * 1024)

static bool in_group(struct str name, const struct caller *caller)
{
    for (size_t i = 0; i < caller->n_groups; i++) {
        if (str_eq(name, str_from(caller->groups[i]))) {
            return true;
        }
    }
    return false;
}

bool visible_readers(struct str readers, const struct caller *caller)
{
    if (caller == NULL || readers.len == 0) {
        return true;
    }
    while (readers.len > 0) {
        const char *end = memchr(readers.ptr, '\0', readers.len);
        size_t n = end == NULL ? readers.len : (size_t)(end - readers.ptr);
        if (in_group((struct str){.ptr = readers.ptr, .len = n}, caller)) {
            return true;
        }
        n = n < readers.len ? n + 1 : n;
        readers.ptr += n;
        readers.len -= n;
    }
    return false;
}

struct making {
    struct visible *v;
    const struct caller *caller;
    char *const *collections;
    size_t n_collections;
};

static void set_range(struct visible *v, chunk_no first, chunk_no last)
{
    for (uint64_t n = first; n <= last && n < v->limit; n++) {
        uint64_t bit = (uint64_t)1 << (n % 64);
        v->count += (v->bits[n / 64] & bit) == 0 ? 1 : 0;
        v->bits[n / 64] |= bit;
    }
}

static enum status add_span(chunk_no first, chunk_no last, struct str collection,
                            struct str readers, void *data, struct error *err)
{
    (void)err;
    struct making *m = data;
    bool wanted = m->n_collections == 0;
    for (size_t i = 0; i < m->n_collections && !wanted; i++) {
        wanted = str_eq(collection, str_from(m->collections[i]));
    }
    if (wanted && visible_readers(readers, m->caller)) {
        set_range(m->v, first, last);
    }
    return STATUS_OK;
}

static enum status blank(const struct catalogue_state *state, struct visible **out,
                         struct error *err)
{
    uint64_t limit = (uint64_t)state->next_chunk;
    struct visible *v = calloc(1, sizeof *v + (size_t)(limit / 64 + 1) * sizeof v->bits[0]);
    if (v == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    atomic_init(&v->refs, 1);
    v->limit = limit;
    *out = v;
    return STATUS_OK;
}

enum status visible_make(struct catalogue *c, const struct catalogue_state *state,
                         const struct caller *caller, char *const *collections,
                         size_t n_collections, struct visible **out, struct error *err)
{
    struct making m = {
        .caller = caller, .collections = collections, .n_collections = n_collections};
    enum status s = blank(state, &m.v, err);
    if (s == STATUS_OK) {
        s = catalogue_spans_visible(c, add_span, &m, err);
    }
    if (s != STATUS_OK) {
        visible_drop(m.v);
        return s;
    }
    *out = m.v;
    return STATUS_OK;
}

enum status visible_all(struct catalogue *c, const struct catalogue_state *state,
                        struct visible **out, struct error *err)
{
    struct making m = {0};
    enum status s = blank(state, &m.v, err);
    if (s == STATUS_OK) {
        s = catalogue_spans_all(c, add_span, &m, err);
    }
    if (s != STATUS_OK) {
        visible_drop(m.v);
        return s;
    }
    *out = m.v;
    return STATUS_OK;
}

void visible_drop(struct visible *v)
{
    if (v != NULL && atomic_fetch_sub(&v->refs, 1) == 1) {
        free(v);
    }
}

void visible_key(const struct caller *caller, char *const *collections, size_t n_collections,
                 struct buf *out)
{
    buf_char(out, caller == NULL ? 'a' : 'c');
    for (size_t i = 0; caller != NULL && i < caller->n_groups; i++) {
        buf_append(out, caller->groups[i], strlen(caller->groups[i]) + 1);
    }
    buf_char(out, '\0'); /* an empty name: the end of the groups */
    for (size_t i = 0; i < n_collections; i++) {
        buf_append(out, collections[i], strlen(collections[i]) + 1);
    }
}

struct visible *visible_cached(struct visible_cache *cache, struct str key, int64_t generation)
{
    for (size_t i = 0; i < VISIBLE_CACHED; i++) {
        if (cache->slots[i].v != NULL && cache->slots[i].generation == generation &&
            str_eq(buf_view(&cache->slots[i].key), key)) {
            cache->slots[i].used = ++cache->clock;
            (void)atomic_fetch_add(&cache->slots[i].v->refs, 1);
            return cache->slots[i].v;
        }
    }
    return NULL;
}

void visible_remember(struct visible_cache *cache, struct str key, int64_t generation,
                      struct visible *v)
{
    size_t victim = 0;
    for (size_t i = 0; i < VISIBLE_CACHED; i++) {
        if (cache->slots[i].v == NULL || cache->slots[i].generation < generation) {
            victim = i; /* free, or of an older state */
            break;
        }
        if (cache->slots[i].used < cache->slots[victim].used) {
            victim = i;
        }
    }
    struct buf copy;
    buf_init(&copy, KEY_BYTES);
    buf_str(&copy, key);
    if (buf_status(&copy) != STATUS_OK) {
        buf_deinit(&copy);
        return; /* not cached: made again next time */
    }
    visible_drop(cache->slots[victim].v);
    buf_deinit(&cache->slots[victim].key);
    cache->slots[victim].v = v;
    cache->slots[victim].key = copy;
    cache->slots[victim].generation = generation;
    cache->slots[victim].used = ++cache->clock;
    (void)atomic_fetch_add(&v->refs, 1);
}

void visible_forget(struct visible_cache *cache)
{
    for (size_t i = 0; i < VISIBLE_CACHED; i++) {
        visible_drop(cache->slots[i].v);
        buf_deinit(&cache->slots[i].key);
        cache->slots[i].v = NULL;
    }
}
