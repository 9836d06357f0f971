/* Searching: segments, what lies between them in the catalogue, the tail. A search runs on a
 * snapshot, without a lock. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vectorstore/store.h"
#include "vectorstore/vectors_internal.h"

#define CHECK_ROWS 4096 /* rows between looks at cancelled */

/* What a search looks at, held by references. */
struct snapshot {
    struct {
        struct dense *dense;
        int64_t after, until;
        char name[32];
    } segments[SEGMENTS_MAX];
    size_t n_segments;
    struct {
        struct tail_block *block;
        uint32_t n;
    } * tail;
    size_t n_tail;
    int64_t from, loaded; /* what the tail covers */
    uint64_t rows;
};

static void snapshot_drop(struct snapshot *s)
{
    for (size_t i = 0; i < s->n_segments; i++) {
        dense_drop(s->segments[i].dense);
    }
    for (size_t i = 0; i < s->n_tail; i++) {
        tail_block_drop(s->tail[i].block);
    }
    free((void *)s->tail);
    free(s);
}

/* Under lock. */
static enum status snapshot_fill(struct snapshot *s, const struct encoder_vectors *ev,
                                 struct error *err)
{
    s->tail = malloc((ev->tail.n_blocks + 1) * sizeof *s->tail);
    if (s->tail == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < ev->n_segments; i++) {
        const struct sealed *from = &ev->segments[i];
        dense_hold(from->dense);
        s->segments[i].dense = from->dense;
        s->segments[i].after = from->after;
        s->segments[i].until = from->until;
        memcpy(s->segments[i].name, from->name, sizeof from->name);
        s->rows += from->n;
    }
    s->n_segments = ev->n_segments;
    for (size_t i = 0; i < ev->tail.n_blocks; i++) {
        struct tail_block *b = ev->tail.blocks[i];
        (void)atomic_fetch_add(&b->refs, 1);
        s->tail[i].block = b;
        s->tail[i].n = b->n;
        s->rows += b->n;
    }
    s->n_tail = ev->tail.n_blocks;
    s->from = ev->tail.from;
    s->loaded = ev->tail.loaded;
    return STATUS_OK;
}

static enum status snapshot_take(struct vectors *v, int64_t encoder, struct snapshot **out,
                                 struct error *err)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)pthread_mutex_lock(&v->lock);
    const struct encoder_vectors *ev = vectors_find(v, encoder);
    enum status st = ev == NULL ? STATUS_OK : snapshot_fill(s, ev, err);
    (void)pthread_mutex_unlock(&v->lock);
    if (st != STATUS_OK) {
        snapshot_drop(s);
        return st;
    }
    *out = s;
    return STATUS_OK;
}

struct searching {
    struct vectors *v;
    struct catalogue *c;
    const struct encoder *e;
    int64_t until; /* the reader's last number */
    const struct visible *visible;
    const _Atomic bool *cancelled;
    struct best *best;
    struct candidates candidates;
    struct snapshot *snapshot;
    uint64_t from_catalogue; /* rows read there */
    struct dense_query query;
    float unit[VECTOR_MAX_DIMENSIONS];
    uint16_t row[VECTOR_MAX_DIMENSIONS];
};

static enum status cancelled(struct error *err)
{
    return error_set(err, STATUS_CANCELLED, "the search was cancelled");
}

static enum status scan_row(int64_t seq, chunk_no chunk, struct str vector, void *data,
                            struct error *err)
{
    struct searching *sc = data;
    if (vector.len != (size_t)sc->e->dimensions * sizeof sc->row[0]) {
        return error_set(err, STATUS_CORRUPT, "store.db: a vector has the wrong length");
    }
    if (seq % CHECK_ROWS == 0 && sc->cancelled != NULL && atomic_load(sc->cancelled)) {
        return cancelled(err);
    }
    sc->from_catalogue++;
    if (visible_has(sc->visible, chunk)) {
        memcpy(sc->row, vector.ptr, vector.len);
        best_offer(sc->best, chunk, sc->v->dot->half(sc->unit, sc->row, sc->e->dimensions));
    }
    return STATUS_OK;
}

static enum status scan_catalogue(struct searching *sc, int64_t after, int64_t until,
                                  struct error *err)
{
    return after < until
               ? catalogue_vectors_between(sc->c, sc->e->pk, after, until, scan_row, sc, err)
               : STATUS_OK;
}

/* What neither segments nor tail hold. */
static enum status scan_gaps(struct searching *sc, struct error *err)
{
    const struct snapshot *s = sc->snapshot;
    int64_t at = 0;
    enum status st = STATUS_OK;
    for (size_t i = 0; i < s->n_segments && st == STATUS_OK; i++) {
        st = scan_catalogue(sc, at, s->segments[i].after, err);
        at = s->segments[i].until;
    }
    if (st == STATUS_OK) {
        st = scan_catalogue(sc, at, s->from, err);
    }
    return st == STATUS_OK ? scan_catalogue(sc, s->loaded, sc->until, err) : st;
}

static enum status scan_tail(struct searching *sc, struct error *err)
{
    size_t d = sc->e->dimensions;
    for (size_t i = 0; i < sc->snapshot->n_tail; i++) {
        const struct tail_block *b = sc->snapshot->tail[i].block;
        if (i % (CHECK_ROWS / TAIL_BLOCK_ROWS) == 0 && sc->cancelled != NULL &&
            atomic_load(sc->cancelled)) {
            return cancelled(err);
        }
        for (size_t j = 0; j < sc->snapshot->tail[i].n; j++) {
            if (b->seqs[j] > sc->snapshot->from && visible_has(sc->visible, b->chunks[j])) {
                best_offer(sc->best, b->chunks[j], sc->v->dot->half(sc->unit, b->rows + j * d, d));
            }
        }
    }
    return STATUS_OK;
}

static int by_place(const void *x, const void *y)
{
    const struct candidate *a = x;
    const struct candidate *b = y;
    if (a->segment != b->segment) {
        return a->segment < b->segment ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

/* *damaged: the segment that could not be read, with CORRUPT. */
static enum status scan_segments(struct searching *sc, size_t *damaged, struct error *err)
{
    const struct snapshot *s = sc->snapshot;
    struct candidates *c = &sc->candidates;
    enum status st = STATUS_OK;
    for (size_t i = 0; i < s->n_segments && st == STATUS_OK; i++) {
        *damaged = i;
        st = dense_scan(s->segments[i].dense, (uint32_t)i, &sc->query, c, err);
    }
    if (st == STATUS_OK) {
        qsort(c->heap, c->n, sizeof *c->heap, by_place);
    }
    for (size_t i = 0, n = 0; i < c->n && st == STATUS_OK; i += n) {
        for (n = 1; i + n < c->n && c->heap[i + n].segment == c->heap[i].segment;) {
            n++;
        }
        *damaged = c->heap[i].segment;
        st = dense_rescore(s->segments[*damaged].dense, &sc->query, c->heap + i, n, sc->best, err);
    }
    return st;
}

static enum status search_once(struct searching *sc, bool *again, struct error *err)
{
    size_t damaged = 0;
    *again = false;
    sc->best->n = 0;
    sc->candidates.n = 0;
    enum status st = snapshot_take(sc->v, sc->e->pk, &sc->snapshot, err);
    if (st != STATUS_OK) {
        return st;
    }
    dense_query_init(&sc->query, sc->v->dot, sc->unit, sc->e->dimensions, sc->visible,
                     sc->snapshot->rows, sc->cancelled, (uint32_t)sc->best->k);
    st = scan_segments(sc, &damaged, err);
    if (st == STATUS_CORRUPT) { /* its numbers are then a gap */
        vectors_lose(sc->v, sc->e->pk, sc->snapshot->segments[damaged].name, err->text);
        *again = true;
    }
    if (st == STATUS_OK) {
        st = scan_tail(sc, err);
    }
    if (st == STATUS_OK) {
        st = scan_gaps(sc, err);
    }
    snapshot_drop(sc->snapshot);
    return st;
}

enum status vectors_search(struct vectors *v, struct catalogue *c,
                           const struct catalogue_state *state, const struct encoder *e,
                           const float *q, const struct visible *visible, uint32_t k,
                           const _Atomic bool *cancelled_flag, struct vector_hit *hits, size_t *n,
                           struct error *err)
{
    struct best best = {.hits = hits, .k = k};
    double sum = 0;
    bool again = true;
    size_t cap = dense_candidates(k);
    struct searching *sc = calloc(1, sizeof *sc);
    struct candidate *heap = malloc(cap * sizeof *heap);
    if (sc == NULL || heap == NULL || e->dimensions > VECTOR_MAX_DIMENSIONS) {
        free(sc);
        free(heap);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    sc->v = v;
    sc->c = c;
    sc->e = e;
    sc->until = state->next_vector - 1;
    sc->visible = visible;
    sc->cancelled = cancelled_flag;
    sc->best = &best;
    sc->candidates = (struct candidates){.heap = heap, .cap = cap};
    for (uint32_t i = 0; i < e->dimensions; i++) {
        sum += (double)q[i] * (double)q[i];
    }
    for (uint32_t i = 0; i < e->dimensions; i++) {
        sc->unit[i] = sum > 0 ? (float)((double)q[i] / sqrt(sum)) : 0;
    }
    atomic_store(&v->searched_ms, clock_monotonic_ms());
    enum status s = vectors_refresh(v, c, sc->until, e, err);
    /* each time again there is a segment less */
    for (size_t i = 0; i <= SEGMENTS_MAX && s == STATUS_OK && again; i++) {
        s = search_once(sc, &again, err);
        s = again ? STATUS_OK : s;
    }
    if (s == STATUS_OK && again) {
        s = error_set(err, STATUS_CORRUPT, "vector segments are damaged as fast as they are made");
    }
    free(sc);
    free(heap);
    if (s == STATUS_OK) {
        qsort(hits, best.n, sizeof *hits, best_compare);
        *n = best.n;
    }
    return s;
}

/* Below what is sealed or in the tail: what searches read from the catalogue. */
static bool has_gap(const struct snapshot *s)
{
    int64_t at = 0;
    bool gap = false;
    for (size_t i = 0; i < s->n_segments; i++) {
        gap = gap || s->segments[i].after > at;
        at = s->segments[i].until;
    }
    return gap || s->from > at;
}

enum status vectors_check(struct vectors *v, const struct encoder *e,
                          const _Atomic bool *cancelled_flag,
                          void (*damaged)(void *data, const char *why), void *data,
                          struct error *err)
{
    struct snapshot *s = NULL;
    enum status st = vectors_prepare(v, e, err);
    if (st == STATUS_OK) {
        st = snapshot_take(v, e->pk, &s, err);
    }
    for (size_t i = 0; st == STATUS_OK && i < s->n_segments; i++) {
        st = dense_check(s->segments[i].dense, cancelled_flag, err);
        if (st == STATUS_CORRUPT) {
            damaged(data, err->text);
            vectors_lose(v, e->pk, s->segments[i].name, err->text);
            st = STATUS_OK;
        }
    }
    if (s != NULL) {
        if (st == STATUS_OK && has_gap(s)) { /* found damaged before, or not there */
            damaged(data, "a vector segment is missing");
        }
        snapshot_drop(s);
    }
    return st;
}
