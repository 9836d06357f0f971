/* Filling the table, following the log of changes, and bitmaps from it. In order: words, contents
 * and places; taking in changes; bitmaps. What a place must pass: rights_rules.c. */
#include "vectorstore/rights_internal.h"

#include <stdlib.h>
#include <string.h>

#define RULES_ARENA ((size_t)64 * 1024 * 1024)

/* ---- words ---- */

static enum status word_id(struct rights *r, enum rights_kind kind, struct str word, uint32_t *out,
                           struct error *err)
{
    struct words *w = &r->words[kind];
    uintptr_t there = (uintptr_t)map_get(&w->ids, word);
    if (there != 0) {
        *out = (uint32_t)(there - 1);
        return STATUS_OK;
    }
    if (w->n == w->cap) {
        uint32_t cap = w->cap == 0 ? 16 : w->cap * 2;
        struct str *list = realloc(w->list, (size_t)cap * sizeof *list);
        if (list == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        w->list = list;
        w->cap = cap;
    }
    char *copy = malloc(word.len + 1);
    if (copy == NULL || map_put(&w->ids, word, (void *)((uintptr_t)w->n + 1), NULL) != STATUS_OK) {
        free(copy);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (word.len > 0) {
        memcpy(copy, word.ptr, word.len);
    }
    w->list[w->n] = (struct str){.ptr = copy, .len = word.len};
    r->bytes += 2 * word.len + 64;
    *out = w->n++;
    return STATUS_OK;
}

static uint32_t count_words(const struct rights *r)
{
    uint32_t n = 0;
    for (size_t k = 0; k < RK_KINDS; k++) {
        n += r->words[k].n;
    }
    return n;
}

/* ---- contents and places ---- */

static struct str pk_key(const int64_t *pk)
{
    return (struct str){.ptr = (const char *)pk, .len = sizeof *pk};
}

static struct held *held_find(const struct rights *r, int64_t pk)
{
    uintptr_t at = (uintptr_t)map_get(&r->by_pk, pk_key(&pk));
    return at == 0 ? NULL : &r->contents[at - 1];
}

static enum status held_make(struct rights *r, int64_t pk, struct held **out, struct error *err)
{
    struct held *h = held_find(r, pk);
    if (h != NULL) {
        *out = h;
        return STATUS_OK;
    }
    uint32_t at = r->free_content;
    if (at == RIGHTS_NONE && r->n_contents == r->cap_contents) {
        uint32_t cap = r->cap_contents == 0 ? 64 : r->cap_contents * 2;
        struct held *grown = realloc(r->contents, (size_t)cap * sizeof *grown);
        if (grown == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        r->contents = grown;
        r->cap_contents = cap;
    }
    at = at == RIGHTS_NONE ? r->n_contents : at;
    if (map_put(&r->by_pk, pk_key(&pk), (void *)((uintptr_t)at + 1), NULL) != STATUS_OK) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (at == r->n_contents) {
        r->n_contents++;
    } else {
        r->free_content = r->contents[at].places;
    }
    r->contents[at] = (struct held){.pk = pk, .places = RIGHTS_NONE};
    r->bytes += sizeof *h + 64;
    *out = &r->contents[at];
    return STATUS_OK;
}

static void held_drop(struct rights *r, struct held *h)
{
    uint32_t at = h->places;
    while (at != RIGHTS_NONE) {
        struct row *row = &r->rows[at];
        uint32_t after = row->next;
        r->bytes -= sizeof *row + row->document_len + row->path_len;
        free(row->names);
        *row = (struct row){.next = r->free_row};
        r->free_row = at;
        at = after;
    }
    free(h->spans);
    r->bytes -= sizeof *h + 64 + h->n_spans * sizeof *h->spans;
    (void)map_remove(&r->by_pk, pk_key(&h->pk));
    *h = (struct held){.places = r->free_content};
    r->free_content = (uint32_t)(h - r->contents);
}

/* Runs come in ascending order; those that touch are one. */
static enum status add_span(int64_t content, chunk_no first, chunk_no last, void *data,
                            struct error *err)
{
    struct rights *r = data;
    struct held *h = NULL;
    enum status st = held_make(r, content, &h, err);
    if (st != STATUS_OK) {
        return st;
    }
    if (h->n_spans > 0 && h->spans[h->n_spans - 1].last + 1 == first) {
        h->spans[h->n_spans - 1].last = last;
        return STATUS_OK;
    }
    struct span *grown = realloc(h->spans, ((size_t)h->n_spans + 1) * sizeof *grown);
    if (grown == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    h->spans = grown;
    h->spans[h->n_spans++] = (struct span){.first = first, .last = last};
    r->bytes += sizeof *grown;
    return STATUS_OK;
}

static enum status row_new(struct rights *r, uint32_t *out, struct error *err)
{
    if (r->free_row != RIGHTS_NONE) {
        *out = r->free_row;
        r->free_row = r->rows[*out].next;
        return STATUS_OK;
    }
    if (r->n_rows == r->cap_rows) {
        uint32_t cap = r->cap_rows == 0 ? 64 : r->cap_rows * 2;
        struct row *grown = realloc(r->rows, (size_t)cap * sizeof *grown);
        if (grown == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        r->rows = grown;
        r->cap_rows = cap;
    }
    *out = r->n_rows++;
    return STATUS_OK;
}

static enum status add_place(const struct doc_place *p, void *data, struct error *err)
{
    struct rights *r = data;
    struct held *h = NULL;
    const struct str words[RK_KINDS] = {[RK_READERS] = p->readers,
                                        [RK_COLLECTION] = str_from(p->collection),
                                        [RK_LABEL] = str_from(p->label),
                                        [RK_TAGS] = p->tags,
                                        [RK_LANGUAGE] = str_from(p->language),
                                        [RK_FORMAT] = str_from(p->format),
                                        [RK_AUTHOR] = str_from(p->author)};
    struct str document = str_from(p->document);
    struct row row = {.pages = p->pages,
                      .hash = p->hash,
                      .date_ms = p->date_ms,
                      .from_ms = p->from_ms,
                      .to_ms = p->to_ms,
                      .document_hash = hash64(document.ptr, document.len),
                      .document_len = (uint32_t)document.len,
                      .path_len = (uint32_t)p->path.len,
                      .used = true,
                      .current = p->current,
                      .excluded = p->excluded};
    uint32_t at = 0;
    enum status st = held_make(r, p->content, &h, err);
    for (size_t k = 0; k < RK_KINDS && st == STATUS_OK; k++) {
        st = word_id(r, (enum rights_kind)k, words[k], &row.word[k], err);
    }
    row.names = malloc(document.len + p->path.len + 1);
    if (st == STATUS_OK && row.names == NULL) {
        st = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (st == STATUS_OK) {
        st = row_new(r, &at, err);
    }
    if (st != STATUS_OK) {
        free(row.names);
        return st;
    }
    memcpy(row.names, document.ptr, document.len);
    if (p->path.len > 0) {
        memcpy(row.names + document.len, p->path.ptr, p->path.len);
    }
    row.content = (uint32_t)(h - r->contents);
    row.next = h->places;
    h->places = at;
    r->rows[at] = row;
    r->bytes += sizeof row + document.len + p->path.len;
    return STATUS_OK;
}

/* ---- taking in what changed ---- */

static void empty(struct rights *r)
{
    for (uint32_t i = 0; i < r->n_rows; i++) {
        free(r->rows[i].names);
    }
    for (uint32_t i = 0; i < r->n_contents; i++) {
        free(r->contents[i].spans);
    }
    for (size_t k = 0; k < RK_KINDS; k++) {
        struct words *w = &r->words[k];
        for (uint32_t i = 0; i < w->n; i++) {
            free((void *)(uintptr_t)w->list[i].ptr);
        }
        free(w->list);
        map_deinit(&w->ids);
        *w = (struct words){0};
        map_init(&w->ids);
    }
    free(r->rows);
    free(r->contents);
    map_deinit(&r->by_pk);
    map_init(&r->by_pk);
    r->rows = NULL;
    r->contents = NULL;
    r->n_rows = r->cap_rows = r->n_contents = r->cap_contents = 0;
    r->free_row = r->free_content = RIGHTS_NONE;
    r->bytes = 0;
    r->loaded = false;
    (void)pthread_mutex_lock(&r->cache_lock);
    visible_forget(&r->cache);
    (void)pthread_mutex_unlock(&r->cache_lock);
}

static enum status fill(struct rights *r, struct catalogue *c, int64_t last, struct error *err)
{
    empty(r);
    catalogue_roomy(c, true);
    enum status st = catalogue_spans(c, 0, add_span, r, err);
    if (st == STATUS_OK) {
        st = catalogue_places(c, 0, add_place, r, err);
    }
    catalogue_roomy(c, false);
    if (st == STATUS_OK) {
        r->loaded = true;
        r->seq = r->changes_from = last;
        r->n_changes = 0;
        r->words_loaded = count_words(r);
    }
    return st;
}

static void note_change(struct rights *r, int64_t seq, int64_t pk, struct span span)
{
    struct change *slot = &r->changes[r->n_changes % RIGHTS_CHANGES];
    if (r->n_changes >= RIGHTS_CHANGES) {
        r->changes_from = slot->seq; /* what holds only up to before it misses something now */
    }
    *slot = (struct change){.seq = seq, .pk = pk, .span = span};
    r->n_changes++;
}

struct taking_in {
    struct rights *r;
    struct catalogue *c;
    int64_t last;
};

static enum status take_content(int64_t content, void *data, struct error *err)
{
    struct taking_in *in = data;
    struct rights *r = in->r;
    struct held *h = held_find(r, content);
    if (h != NULL) {
        for (uint32_t i = 0; i < h->n_spans; i++) {
            note_change(r, in->last, content, h->spans[i]);
        }
        held_drop(r, h);
    }
    enum status st = catalogue_spans(in->c, content, add_span, r, err);
    if (st == STATUS_OK) {
        st = catalogue_places(in->c, content, add_place, r, err);
    }
    h = st == STATUS_OK ? held_find(r, content) : NULL;
    for (uint32_t i = 0; h != NULL && i < h->n_spans; i++) {
        note_change(r, in->last, content, h->spans[i]);
    }
    return st;
}

/* Under the exclusive lock. */
static enum status take_in(struct rights *r, struct catalogue *c, int64_t first, int64_t last,
                           struct error *err)
{
    enum status st = STATUS_OK;
    if (r->loaded && r->seq >= last) {
        return st; /* another thread has done it */
    }
    if (!r->loaded || first > r->seq + 1 || count_words(r) > 2 * r->words_loaded + 65536) {
        st = fill(r, c, last, err);
    } else {
        struct taking_in in = {.r = r, .c = c, .last = last};
        st = catalogue_touched_since(c, r->seq, take_content, &in, err);
        r->seq = last;
    }
    if (st != STATUS_OK) {
        empty(r); /* half taken in: filled again at the next use */
    }
    return st;
}

enum status rights_lock(struct rights *r, struct catalogue *c, const struct catalogue_state *state,
                        struct error *err)
{
    int64_t first = 0;
    int64_t last = 0;
    enum status st = catalogue_touched_range(c, &first, &last, err);
    for (unsigned tries = 0; st == STATUS_OK; tries++) {
        (void)pthread_rwlock_rdlock(&r->lock);
        if (r->loaded && r->seq >= last && r->next_chunk >= (uint64_t)state->next_chunk) {
            return STATUS_OK;
        }
        (void)pthread_rwlock_unlock(&r->lock);
        if (tries == 8) {
            st = error_set(err, STATUS_BUSY, "the store changes too quickly; try again");
            break;
        }
        (void)pthread_rwlock_wrlock(&r->lock);
        st = take_in(r, c, first, last, err);
        if (r->next_chunk < (uint64_t)state->next_chunk) {
            r->next_chunk = (uint64_t)state->next_chunk;
        }
        (void)pthread_rwlock_unlock(&r->lock);
    }
    return st;
}

/* ---- bitmaps ---- */

static void key_names(struct buf *key, char kind, char *const *names, size_t n)
{
    uint64_t count = n; /* before them: two lists never make one key */
    buf_char(key, kind);
    buf_append(key, &count, sizeof count);
    for (size_t i = 0; i < n; i++) {
        buf_append(key, names[i], strlen(names[i]) + 1);
    }
}

static void key_bytes(struct buf *key, const ProtobufCBinaryData *list, size_t n)
{
    uint64_t count = n;
    buf_append(key, &count, sizeof count);
    for (size_t i = 0; i < n; i++) {
        uint64_t len = list[i].len;
        buf_append(key, &len, sizeof len);
        buf_append(key, list[i].data, list[i].len);
    }
}

/* Whatever the answer depends on: a new kind of filter belongs here too. */
static void make_key(const struct caller *caller, const Vs__Filter *f, struct buf *key)
{
    buf_char(key, caller == NULL ? 'a' : 'c');
    key_names(key, 'g', (char *const *)(uintptr_t)(caller == NULL ? NULL : caller->groups),
              caller == NULL ? 0 : caller->n_groups);
    key_names(key, 'h', (char *const *)(uintptr_t)(caller == NULL ? NULL : caller->collections),
              caller == NULL ? 0 : caller->n_collections);
    if (f == NULL) {
        return;
    }
    key_names(key, 'C', f->collections, f->n_collections);
    key_names(key, 'L', f->labels, f->n_labels);
    key_names(key, 'T', f->tags, f->n_tags);
    key_names(key, 'l', f->languages, f->n_languages);
    key_names(key, 'f', f->formats, f->n_formats);
    key_names(key, 'd', f->documents, f->n_documents);
    key_names(key, 'n', f->names, f->n_names);
    key_names(key, 'w', f->authors, f->n_authors);
    key_bytes(key, f->under, f->n_under);
    key_bytes(key, f->hashes, f->n_hashes);
    const int64_t numbers[10] = {f->has_from_ms,    f->has_from_ms ? f->from_ms : 0,
                                 f->has_until_ms,   f->has_until_ms ? f->until_ms : 0,
                                 f->has_as_of_ms,   f->has_as_of_ms ? f->as_of_ms : 0,
                                 f->has_pages_from, f->has_pages_from ? f->pages_from : 0,
                                 f->has_pages_to,   f->has_pages_to ? f->pages_to : 0};
    buf_append(key, numbers, sizeof numbers);
}

static void set_spans(struct visible *v, const struct held *h)
{
    for (uint32_t i = 0; i < h->n_spans; i++) {
        visible_set(v, h->spans[i].first, h->spans[i].last);
    }
}

static enum status make_visible(const struct rights *r, const struct caller *caller,
                                const Vs__Filter *filter, struct arena *a, struct visible **out,
                                struct error *err)
{
    struct rules rules;
    struct visible *v = NULL;
    enum status st = rules_make(r, caller, filter, true, a, &rules, err);
    if (st == STATUS_OK) {
        st = visible_new(r->next_chunk, &v, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    for (uint32_t i = 0; i < r->n_rows; i++) {
        if (rules_pass(r, &rules, &r->rows[i])) {
            set_spans(v, &r->contents[r->rows[i].content]);
        }
    }
    v->at = r->seq;
    visible_recount(v);
    *out = v;
    return STATUS_OK;
}

/* Every changed run is cleared, and set again where its content is still to be found. */
static enum status forward_visible(const struct rights *r, const struct visible *old,
                                   const struct caller *caller, const Vs__Filter *filter,
                                   struct arena *a, struct visible **out, struct error *err)
{
    struct rules rules;
    struct visible *v = NULL;
    enum status st = rules_make(r, caller, filter, false, a, &rules, err);
    if (st == STATUS_OK) {
        st = visible_copy(old, r->next_chunk, &v, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    uint64_t from = r->n_changes;
    uint64_t least = r->n_changes > RIGHTS_CHANGES ? r->n_changes - RIGHTS_CHANGES : 0;
    while (from > least && r->changes[(from - 1) % RIGHTS_CHANGES].seq > old->at) {
        from--;
        struct span span = r->changes[from % RIGHTS_CHANGES].span;
        visible_clear(v, span.first, span.last);
    }
    int64_t done = 0;
    for (uint64_t i = from; i < r->n_changes; i++) {
        int64_t pk = r->changes[i % RIGHTS_CHANGES].pk;
        const struct held *h = pk == done ? NULL : held_find(r, pk);
        bool found = false;
        for (uint32_t at = h == NULL ? RIGHTS_NONE : h->places; at != RIGHTS_NONE && !found;
             at = r->rows[at].next) {
            found = rules_pass(r, &rules, &r->rows[at]);
        }
        if (found) {
            set_spans(v, h);
        }
        done = pk;
    }
    v->at = r->seq;
    visible_recount(v);
    *out = v;
    return STATUS_OK;
}

/* Under the shared lock. */
static enum status current_visible(struct rights *r, const struct caller *caller,
                                   const Vs__Filter *filter, struct visible **out,
                                   struct error *err)
{
    struct arena a;
    struct buf key;
    struct visible *v = NULL;
    struct visible *made = NULL;
    arena_init(&a, RULES_ARENA);
    buf_init(&key, (size_t)128 * 1024);
    make_key(caller, filter, &key);
    enum status st = buf_status(&key) == STATUS_OK
                         ? STATUS_OK
                         : error_set(err, STATUS_TOO_LARGE, "the filter is too large");
    if (st == STATUS_OK) {
        (void)pthread_mutex_lock(&r->cache_lock);
        v = visible_cached(&r->cache, buf_view(&key));
        (void)pthread_mutex_unlock(&r->cache_lock);
        if (v == NULL || v->at != r->seq) {
            st = v != NULL && v->at >= r->changes_from
                     ? forward_visible(r, v, caller, filter, &a, &made, err)
                     : make_visible(r, caller, filter, &a, &made, err);
        }
    }
    if (st == STATUS_OK && made != NULL) {
        (void)pthread_mutex_lock(&r->cache_lock);
        visible_remember(&r->cache, buf_view(&key), made);
        (void)pthread_mutex_unlock(&r->cache_lock);
        visible_drop(v);
        v = made;
    }
    if (st == STATUS_OK) {
        *out = v;
    } else {
        visible_drop(v);
    }
    buf_deinit(&key);
    arena_reset(&a);
    return st;
}

enum status rights_visible(struct rights *r, struct catalogue *c,
                           const struct catalogue_state *state, const struct caller *caller,
                           const Vs__Filter *filter, struct visible **out, struct error *err)
{
    struct visible *v = NULL;
    enum status st = rights_lock(r, c, state, err);
    if (st != STATUS_OK) {
        return st;
    }
    st = current_visible(r, caller, filter, &v, err);
    (void)pthread_rwlock_unlock(&r->lock);
    if (st == STATUS_OK && v->limit > (uint64_t)state->next_chunk) {
        struct visible *cut = NULL; /* the table is ahead: chunks that the snapshot has not */
        st = visible_copy(v, (uint64_t)state->next_chunk, &cut, err);
        visible_drop(v);
        v = cut;
    }
    if (st == STATUS_OK) {
        *out = v;
    }
    return st;
}

/* ---- life ---- */

enum status rights_new(struct rights **out, struct error *err)
{
    struct rights *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)pthread_rwlock_init(&r->lock, NULL);
    (void)pthread_mutex_init(&r->cache_lock, NULL);
    map_init(&r->by_pk);
    for (size_t k = 0; k < RK_KINDS; k++) {
        map_init(&r->words[k].ids);
    }
    r->free_row = r->free_content = RIGHTS_NONE;
    *out = r;
    return STATUS_OK;
}

void rights_free(struct rights *r)
{
    if (r == NULL) {
        return;
    }
    empty(r);
    map_deinit(&r->by_pk);
    for (size_t k = 0; k < RK_KINDS; k++) {
        map_deinit(&r->words[k].ids);
    }
    (void)pthread_rwlock_destroy(&r->lock);
    (void)pthread_mutex_destroy(&r->cache_lock);
    free(r);
}

size_t rights_bytes(struct rights *r)
{
    (void)pthread_rwlock_rdlock(&r->lock);
    size_t bytes = sizeof *r + r->bytes;
    (void)pthread_rwlock_unlock(&r->lock);
    (void)pthread_mutex_lock(&r->cache_lock);
    bytes += r->cache.bytes;
    (void)pthread_mutex_unlock(&r->cache_lock);
    return bytes;
}
