/* Opening and the tail. Searching is in vectors_search.c, sealing and merging in vectors_seal.c. */
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

void tail_block_drop(struct tail_block *b)
{
    if (atomic_fetch_sub(&b->refs, 1) == 1) {
        free(b);
    }
}

void tail_clear(struct tail *t)
{
    for (size_t i = 0; i < t->n_blocks; i++) {
        tail_block_drop(t->blocks[i]);
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
        tail_block_drop(t->blocks[gone++]);
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
bool vectors_is_ready(struct vectors *v, int64_t encoder, int64_t until)
{
    const struct encoder_vectors *ev = vectors_find(v, encoder);
    return ev != NULL && ev->opened && (ev->tail.loaded >= until || ev->tail.full);
}

/* The tail up to what the reader sees. */
enum status vectors_refresh(struct vectors *v, struct catalogue *c, int64_t until,
                            const struct encoder *e, struct error *err)
{
    struct loading l = {.v = v};
    (void)pthread_mutex_lock(&v->lock);
    bool ready = vectors_is_ready(v, e->pk, until);
    (void)pthread_mutex_unlock(&v->lock);
    if (ready) {
        return STATUS_OK;
    }
    (void)pthread_mutex_lock(&v->loading);
    enum status s = prepare_locked(v, e, &l.ev, err);
    if (s == STATUS_OK) {
        (void)pthread_mutex_lock(&v->lock);
        int64_t from = l.ev->tail.loaded;
        ready = vectors_is_ready(v, e->pk, until); /* another search has done it meanwhile */
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
