/* Opening, the tail, and searching. Sealing and merging are in vectors_seal.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "vectorstore/store.h"
#include "vectorstore/vectors_internal.h"

#define CHECK_ROWS 4096 /* rows between looks at cancelled */

bool vector_normalise(struct str in, uint16_t *out, uint32_t dimensions)
{
    double sum = 0;
    for (uint32_t i = 0; i < dimensions; i++) {
        uint16_t h;
        memcpy(&h, in.ptr + (size_t)i * sizeof h, sizeof h);
        float f = half_to_float(h);
        if (!isfinite(f)) {
            return false;
        }
        sum += (double)f * (double)f;
        out[i] = h;
    }
    if (sum > 0 && fabs(sum - 1) > 4e-3) {
        float scale = (float)(1 / sqrt(sum));
        for (uint32_t i = 0; i < dimensions; i++) {
            out[i] = half_from_float(half_to_float(out[i]) * scale);
        }
    }
    return true;
}

bool vector_normalise_floats(struct str in, uint16_t *out, uint32_t dimensions)
{
    double sum = 0;
    for (uint32_t i = 0; i < dimensions; i++) {
        float f;
        memcpy(&f, in.ptr + (size_t)i * sizeof f, sizeof f);
        if (!isfinite(f)) {
            return false;
        }
        sum += (double)f * (double)f;
    }
    for (uint32_t i = 0; i < dimensions; i++) {
        float f;
        memcpy(&f, in.ptr + (size_t)i * sizeof f, sizeof f);
        out[i] = sum > 0 ? half_from_float((float)((double)f / sqrt(sum))) : 0;
    }
    return true;
}

int64_t sealed_until(const struct encoder_vectors *ev)
{
    return ev->n_segments == 0 ? 0 : ev->segments[ev->n_segments - 1].until;
}

void vectors_path(const struct vectors *v, const char *name, char out[VECTORS_PATH])
{
    (void)snprintf(out, VECTORS_PATH, "%s/%s", v->dir, name);
}

struct encoder_vectors *vectors_find(struct vectors *v, int64_t encoder)
{
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        if (v->encoders[i].encoder == encoder) {
            return &v->encoders[i];
        }
    }
    return NULL;
}

/* ---- life ---- */

enum status vectors_open(const char *tenant_dir, const struct segment_keys *keys,
                         struct vectors **out, struct error *err)
{
    struct vectors *v = calloc(1, sizeof *v);
    if (v == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)pthread_mutex_init(&v->loading, NULL);
    (void)pthread_mutex_init(&v->manifest, NULL);
    (void)pthread_mutex_init(&v->lock, NULL);
    v->keys = keys;
    v->dot = dot_choose();
    enum status s = file_join(v->dir, sizeof v->dir, tenant_dir, "segments", err);
    if (s == STATUS_OK) {
        s = file_mkdirs(v->dir, 0700, err);
    }
    if (s != STATUS_OK) {
        vectors_close(v);
        return s;
    }
    manifest_read(v);
    manifest_sweep(v);
    *out = v;
    return STATUS_OK;
}

void vectors_close(struct vectors *v)
{
    if (v == NULL) {
        return;
    }
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        for (size_t j = 0; j < v->encoders[i].n_segments; j++) {
            dense_drop(v->encoders[i].segments[j].dense);
        }
        tail_clear(&v->encoders[i].tail);
    }
    (void)pthread_mutex_destroy(&v->loading);
    (void)pthread_mutex_destroy(&v->manifest);
    (void)pthread_mutex_destroy(&v->lock);
    free(v);
}

void vectors_stop(struct vectors *v)
{
    atomic_store(&v->stop, true);
}

void vectors_yield(struct vectors *v, bool wanted)
{
    atomic_store(&v->yield, wanted);
}

void vectors_count(struct vectors *v, int64_t encoder, struct vectors_counts *out)
{
    *out = (struct vectors_counts){0};
    (void)pthread_mutex_lock(&v->lock);
    const struct encoder_vectors *ev = vectors_find(v, encoder);
    for (size_t i = 0; ev != NULL && i < ev->n_segments; i++) {
        const struct sealed *s = &ev->segments[i];
        out->segments++;
        out->sealed += s->n;
        out->clustered += s->dense != NULL && dense_lists(s->dense) > 1 ? s->n : 0;
    }
    for (size_t i = 0; ev != NULL && i < ev->tail.n_blocks; i++) {
        out->tail += ev->tail.blocks[i]->n;
    }
    (void)pthread_mutex_unlock(&v->lock);
}

uint32_t vectors_clear(struct vectors *v)
{
    uint32_t n = 0;
    (void)pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < ENCODERS_MAX && segment_keys_key(v->keys) != NULL; i++) {
        const struct encoder_vectors *ev = &v->encoders[i];
        for (size_t j = 0; j < ev->n_segments; j++) {
            n += ev->segments[j].dense != NULL && dense_clear(ev->segments[j].dense) ? 1 : 0;
        }
    }
    (void)pthread_mutex_unlock(&v->lock);
    return n;
}

/* ---- the tail ---- */

static void block_drop(struct tail_block *b)
{
    if (atomic_fetch_sub(&b->refs, 1) == 1) {
        free(b);
    }
}

void tail_clear(struct tail *t)
{
    for (size_t i = 0; i < t->n_blocks; i++) {
        block_drop(t->blocks[i]);
    }
    free(t->blocks);
    *t = (struct tail){0};
}

/* Blocks go as a whole; of the one in between, the rows that are sealed stay unread until it goes.
 */
void tail_drop_until(struct tail *t, int64_t until)
{
    size_t gone = 0;
    if (until <= t->from) {
        return;
    }
    while (gone < t->n_blocks && t->blocks[gone]->seqs[t->blocks[gone]->n - 1] <= until) {
        block_drop(t->blocks[gone++]);
    }
    t->n_blocks -= gone;
    if (t->n_blocks > 0) {
        memmove(t->blocks, t->blocks + gone, t->n_blocks * sizeof(struct tail_block *));
    }
    t->from = until;
    t->loaded = t->loaded > until ? t->loaded : until;
    t->full = false;
}

/* The block with room for one more row, or NULL: out of memory. */
static struct tail_block *tail_room(struct tail *t, uint32_t dimensions)
{
    if (t->n_blocks > 0 && t->blocks[t->n_blocks - 1]->n < TAIL_BLOCK_ROWS) {
        return t->blocks[t->n_blocks - 1];
    }
    if (t->n_blocks == t->cap) {
        size_t cap = t->cap == 0 ? 16 : 2 * t->cap;
        struct tail_block **blocks = realloc(t->blocks, cap * sizeof(struct tail_block *));
        if (blocks == NULL) {
            return NULL;
        }
        t->blocks = blocks;
        t->cap = cap;
    }
    struct tail_block *b =
        malloc(sizeof *b + (size_t)TAIL_BLOCK_ROWS * dimensions * sizeof b->rows[0]);
    if (b != NULL) {
        atomic_init(&b->refs, 1);
        b->n = 0;
        t->blocks[t->n_blocks++] = b;
    }
    return b;
}

struct loading {
    struct vectors *v;
    struct encoder_vectors *ev;
};

static enum status tail_add(int64_t seq, chunk_no chunk, struct str vector, void *data,
                            struct error *err)
{
    struct loading *l = data;
    struct encoder_vectors *ev = l->ev;
    struct tail *t = &ev->tail;
    enum status s = STATUS_OK;
    if (vector.len != (size_t)ev->dimensions * sizeof(uint16_t)) {
        return error_set(err, STATUS_CORRUPT, "store.db: a vector has the wrong length");
    }
    (void)pthread_mutex_lock(&l->v->lock);
    if (seq > t->from) { /* not sealed meanwhile */
        if ((t->n_blocks + 1) * TAIL_BLOCK_ROWS * vector.len > TAIL_BYTES &&
            t->blocks[t->n_blocks - 1]->n == TAIL_BLOCK_ROWS) {
            t->full = true;
            s = STATUS_TOO_LARGE; /* the rest is read from the catalogue */
        } else {
            struct tail_block *b = tail_room(t, ev->dimensions);
            if (b == NULL) {
                s = error_set(err, STATUS_NO_MEMORY, "out of memory");
            } else {
                b->seqs[b->n] = seq;
                b->chunks[b->n] = chunk;
                memcpy(b->rows + (size_t)b->n * ev->dimensions, vector.ptr, vector.len);
                b->n++;
                t->loaded = seq;
            }
        }
    }
    (void)pthread_mutex_unlock(&l->v->lock);
    return s;
}

/* ---- getting ready ---- */

void vectors_lose(struct vectors *v, int64_t encoder, const char *name, const char *why)
{
    struct dense *lost = NULL;
    struct error err;
    char path[VECTORS_PATH];
    bool there = false;
    (void)pthread_mutex_lock(&v->lock);
    struct encoder_vectors *ev = vectors_find(v, encoder);
    for (size_t i = 0; ev != NULL && i < ev->n_segments && !there; i++) {
        if (strcmp(ev->segments[i].name, name) == 0) {
            there = true;
            lost = ev->segments[i].dense;
            ev->n_segments--;
            memmove(ev->segments + i, ev->segments + i + 1,
                    (ev->n_segments - i) * sizeof ev->segments[0]);
        }
    }
    (void)pthread_mutex_unlock(&v->lock);
    if (!there) {
        return; /* another search was quicker, or it was merged away */
    }
    vectors_path(v, name, path);
    LOG_WARN("a vector segment is made again from the database, which answers meanwhile",
             LOG_STR("path", path), LOG_STR("err", why), LOG_END);
    dense_drop(lost);
    (void)unlink(path); /* one that stays is swept at the next open */
    if (manifest_write(v, &err) != STATUS_OK) {
        LOG_WARN("the list of vector segments could not be written", LOG_STR("err", err.text),
                 LOG_END);
    }
}

/* Under `loading`. The segments are touched by nobody else before `opened`, but those of a merge,
 * which is after. */
static enum status open_segments(struct vectors *v, struct encoder_vectors *ev,
                                 const struct encoder *e, struct error *err)
{
    for (size_t i = 0; i < ev->n_segments;) {
        struct sealed *s = &ev->segments[i];
        struct dense *dense = NULL;
        char path[VECTORS_PATH];
        char name[sizeof s->name];
        struct error why;
        memcpy(name, s->name, sizeof name);
        vectors_path(v, name, path);
        enum status st = s->dense != NULL ? STATUS_OK : dense_open(path, v->keys, &dense, &why);
        if (st == STATUS_OK && dense != NULL &&
            (dense_dimensions(dense) != e->dimensions || dense_count(dense) != s->n)) {
            st = error_set(&why, STATUS_CORRUPT, "%s: is not the segment that the manifest lists",
                           path);
            dense_drop(dense);
        }
        if (st == STATUS_NO_MEMORY) {
            return error_set(err, st, "%s", why.text);
        }
        if (st != STATUS_OK) {
            vectors_lose(v, ev->encoder, name, why.text);
            continue;
        }
        (void)pthread_mutex_lock(&v->lock);
        s->dense = s->dense == NULL ? dense : s->dense;
        (void)pthread_mutex_unlock(&v->lock);
        i++;
    }
    return STATUS_OK;
}

static enum status prepare_locked(struct vectors *v, const struct encoder *e,
                                  struct encoder_vectors **out, struct error *err)
{
    (void)pthread_mutex_lock(&v->lock);
    struct encoder_vectors *ev = vectors_find(v, e->pk);
    if (ev == NULL) {
        ev = vectors_find(v, 0);
        if (ev != NULL) {
            *ev = (struct encoder_vectors){.encoder = e->pk};
        }
    }
    if (ev != NULL) {
        ev->dimensions = e->dimensions;
    }
    (void)pthread_mutex_unlock(&v->lock);
    if (ev == NULL) {
        return error_set(err, STATUS_BUSY,
                         "too many encoders at once; retired ones go within a minute");
    }
    enum status s = ev->opened ? STATUS_OK : open_segments(v, ev, e, err);
    if (s == STATUS_OK) {
        (void)pthread_mutex_lock(&v->lock);
        ev->opened = true;
        (void)pthread_mutex_unlock(&v->lock);
    }
    *out = ev;
    return s;
}

enum status vectors_prepare(struct vectors *v, const struct encoder *e, struct error *err)
{
    struct encoder_vectors *ev = NULL;
    (void)pthread_mutex_lock(&v->loading);
    enum status s = prepare_locked(v, e, &ev, err);
    (void)pthread_mutex_unlock(&v->loading);
    return s;
}

/* Under lock. */
static bool is_ready(struct vectors *v, int64_t encoder, int64_t until)
{
    const struct encoder_vectors *ev = vectors_find(v, encoder);
    return ev != NULL && ev->opened && (ev->tail.loaded >= until || ev->tail.full);
}

/* The tail up to what the reader sees. */
static enum status refresh(struct vectors *v, struct catalogue *c, int64_t until,
                           const struct encoder *e, struct error *err)
{
    struct loading l = {.v = v};
    (void)pthread_mutex_lock(&v->lock);
    bool ready = is_ready(v, e->pk, until);
    (void)pthread_mutex_unlock(&v->lock);
    if (ready) {
        return STATUS_OK;
    }
    (void)pthread_mutex_lock(&v->loading);
    enum status s = prepare_locked(v, e, &l.ev, err);
    if (s == STATUS_OK) {
        (void)pthread_mutex_lock(&v->lock);
        int64_t from = l.ev->tail.loaded;
        ready = is_ready(v, e->pk, until); /* another search has done it meanwhile */
        (void)pthread_mutex_unlock(&v->lock);
        if (!ready) {
            s = catalogue_vectors_between(c, e->pk, from, until, tail_add, &l, err);
        }
        if (s == STATUS_OK && !ready) {
            (void)pthread_mutex_lock(&v->lock);
            l.ev->tail.loaded = l.ev->tail.loaded > until ? l.ev->tail.loaded : until;
            (void)pthread_mutex_unlock(&v->lock);
        }
    }
    (void)pthread_mutex_unlock(&v->loading);
    return s == STATUS_TOO_LARGE ? STATUS_OK : s;
}

/* ---- searching ---- */

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
        block_drop(s->tail[i].block);
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
    enum status s = refresh(v, c, sc->until, e, err);
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

void vectors_retain(struct vectors *v, const int64_t *encoders, size_t n)
{
    struct sealed gone[SEGMENTS_MAX];
    struct error err;
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        size_t n_gone = 0;
        (void)pthread_mutex_lock(&v->loading);
        (void)pthread_mutex_lock(&v->lock);
        struct encoder_vectors *ev = &v->encoders[i];
        bool there = ev->encoder == 0;
        for (size_t j = 0; j < n && !there; j++) {
            there = encoders[j] == ev->encoder;
        }
        if (!there) {
            n_gone = ev->n_segments;
            memcpy(gone, ev->segments, n_gone * sizeof gone[0]);
            tail_clear(&ev->tail);
            *ev = (struct encoder_vectors){0};
        }
        (void)pthread_mutex_unlock(&v->lock);
        (void)pthread_mutex_unlock(&v->loading);
        if (!there && manifest_write(v, &err) != STATUS_OK) {
            LOG_WARN("the list of vector segments could not be written", LOG_STR("err", err.text),
                     LOG_END);
        }
        for (size_t j = 0; j < n_gone; j++) {
            char path[VECTORS_PATH];
            vectors_path(v, gone[j].name, path);
            dense_drop(gone[j].dense);
            (void)unlink(path); /* one that stays is swept at the next open */
        }
    }
}
