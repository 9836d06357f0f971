/* Per encoder: sealed segments that cover its vectors up to number `sealed` without a gap, and the
 * tail (sealed, loaded] in memory, filled from the catalogue as searches find it behind. More than
 * TAIL_MAX unsealed vectors are not held: what is past the tail is read from the catalogue in each
 * search, until the next sealing.
 *
 * The manifest lists the segments of all encoders; it is replaced atomically. A new segment
 * swallows its predecessors while they are not much larger than itself, so that their number stays
 * logarithmic.
 *
 * Locking: `lock` is held shared while searching and exclusively while the tail grows or segments
 * change. */
#include "vectorstore/vectors.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "vectorstore/dot.h"
#include "vectorstore/segment.h"
#include "vectorstore/store.h"

#define TAIL_MAX 32768U
#define SEGMENTS_MAX 32U
#define ENCODERS_MAX 8U
#define MANIFEST_MAGIC "carrel-manifest1"

struct sealed {
    int64_t after, until;
    uint64_t n;
    char name[32];
    struct segment *segment; /* NULL: not opened yet */
};

struct tail {
    int64_t loaded; /* vectors numbered up to here are in a segment or in the tail */
    size_t n, cap;
    uint32_t *chunks;
    uint16_t *rows;
};

struct encoder_vectors {
    int64_t encoder; /* 0: free */
    uint32_t dimensions;
    struct sealed segments[SEGMENTS_MAX];
    size_t n_segments;
    struct tail tail;
    bool opened; /* its segments have been opened */
};

struct vectors {
    char dir[1088];
    pthread_rwlock_t lock;
    struct encoder_vectors encoders[ENCODERS_MAX];
    const struct dot *dot;
};

struct manifest_row {
    int64_t encoder, after, until;
    uint64_t n;
    uint32_t dimensions, unused;
    char name[32];
};

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

static int64_t sealed_until(const struct encoder_vectors *ev)
{
    return ev->n_segments == 0 ? 0 : ev->segments[ev->n_segments - 1].until;
}

static void tail_clear(struct tail *t)
{
    free(t->chunks);
    free(t->rows);
    *t = (struct tail){0};
}

/* Drops segments from number i on; their vectors come from the catalogue again. */
static void drop_segments(struct vectors *v, struct encoder_vectors *ev, size_t i)
{
    char path[1200];
    for (size_t j = i; j < ev->n_segments; j++) {
        segment_close(ev->segments[j].segment);
        (void)snprintf(path, sizeof path, "%s/%s", v->dir, ev->segments[j].name);
        (void)unlink(path); /* one that stays is swept at the next open */
    }
    ev->n_segments = i;
    tail_clear(&ev->tail);
    ev->tail.loaded = sealed_until(ev);
}

static struct encoder_vectors *find(struct vectors *v, int64_t encoder)
{
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        if (v->encoders[i].encoder == encoder) {
            return &v->encoders[i];
        }
    }
    return NULL;
}

/* ---- manifest ---- */

static enum status manifest_write(struct vectors *v, struct error *err)
{
    struct buf out;
    char path[1200];
    buf_init(&out, (size_t)1024 * 1024);
    buf_z(&out, MANIFEST_MAGIC);
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        const struct encoder_vectors *ev = &v->encoders[i];
        for (size_t j = 0; ev->encoder != 0 && j < ev->n_segments; j++) {
            const struct sealed *s = &ev->segments[j];
            struct manifest_row row = {.encoder = ev->encoder,
                                       .after = s->after,
                                       .until = s->until,
                                       .n = s->n,
                                       .dimensions = ev->dimensions};
            memcpy(row.name, s->name, sizeof row.name);
            buf_append(&out, &row, sizeof row);
        }
    }
    uint8_t hash[SHA256_BYTES];
    sha256_of(out.ptr, out.len, hash);
    buf_append(&out, hash, sizeof hash);
    enum status s = buf_status(&out);
    if (s != STATUS_OK) {
        s = error_set(err, s, "segments: out of memory");
    } else {
        s = file_join(path, sizeof path, v->dir, "manifest", err);
    }
    if (s == STATUS_OK) {
        s = file_write_atomic(path, out.ptr, out.len, 0600, err);
    }
    buf_deinit(&out);
    return s;
}

static void manifest_take(struct vectors *v, const struct manifest_row *row)
{
    struct encoder_vectors *ev = find(v, row->encoder);
    if (ev == NULL) {
        ev = find(v, 0);
    }
    if (row->encoder <= 0 || ev == NULL || ev->n_segments == SEGMENTS_MAX ||
        row->until <= row->after || (ev->encoder != 0 && row->after != sealed_until(ev)) ||
        (ev->encoder == 0 && row->after != 0) ||
        memchr(row->name, '\0', sizeof row->name) == NULL || strchr(row->name, '/') != NULL) {
        return;
    }
    ev->encoder = row->encoder;
    ev->dimensions = row->dimensions;
    struct sealed *s = &ev->segments[ev->n_segments++];
    *s = (struct sealed){.after = row->after, .until = row->until, .n = row->n};
    memcpy(s->name, row->name, sizeof s->name);
    ev->tail.loaded = s->until;
}

/* A damaged manifest is the same as none: everything is derived. */
static void manifest_read(struct vectors *v)
{
    struct buf in;
    struct error err;
    char path[1200];
    uint8_t hash[SHA256_BYTES];
    buf_init(&in, (size_t)1024 * 1024);
    size_t head = strlen(MANIFEST_MAGIC);
    (void)snprintf(path, sizeof path, "%s/manifest", v->dir);
    enum status s = file_read(path, &in, &err);
    if (s == STATUS_OK && in.len >= head + sizeof hash) {
        sha256_of(in.ptr, in.len - sizeof hash, hash);
        if (memcmp(hash, in.ptr + in.len - sizeof hash, sizeof hash) == 0 &&
            memcmp(in.ptr, MANIFEST_MAGIC, head) == 0) {
            for (size_t at = head; at + sizeof(struct manifest_row) + sizeof hash <= in.len;
                 at += sizeof(struct manifest_row)) {
                struct manifest_row row;
                memcpy(&row, in.ptr + at, sizeof row);
                manifest_take(v, &row);
            }
        } else {
            LOG_WARN("the list of vector segments is damaged; they are made again", LOG_END);
        }
    } else if (s != STATUS_NOT_FOUND) {
        LOG_WARN("the list of vector segments cannot be read; they are made again", LOG_END);
    }
    buf_deinit(&in);
}

static bool listed(const struct vectors *v, const char *name)
{
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        for (size_t j = 0; j < v->encoders[i].n_segments; j++) {
            if (strcmp(v->encoders[i].segments[j].name, name) == 0) {
                return true;
            }
        }
    }
    return strcmp(name, "manifest") == 0;
}

enum status vectors_open(const char *tenant_dir, struct vectors **out, struct error *err)
{
    struct vectors *v = calloc(1, sizeof *v);
    if (v == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)pthread_rwlock_init(&v->lock, NULL);
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
    DIR *d = opendir(v->dir);
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] != '.' && !listed(v, e->d_name)) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
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
            segment_close(v->encoders[i].segments[j].segment);
        }
        tail_clear(&v->encoders[i].tail);
    }
    (void)pthread_rwlock_destroy(&v->lock);
    free(v);
}

/* ---- searching ---- */

/* Under the exclusive lock: the encoder's place, its segments opened or dropped. */
static enum status prepare(struct vectors *v, const struct encoder *e, struct encoder_vectors **out,
                           struct error *err)
{
    struct encoder_vectors *ev = find(v, e->pk);
    if (ev == NULL) {
        ev = find(v, 0);
        if (ev == NULL) {
            return error_set(err, STATUS_BUSY,
                             "too many encoders at once; retired ones go within a minute");
        }
        *ev = (struct encoder_vectors){.encoder = e->pk};
    }
    ev->dimensions = ev->n_segments == 0 ? e->dimensions : ev->dimensions;
    for (size_t i = 0; !ev->opened && i < ev->n_segments; i++) {
        struct sealed *s = &ev->segments[i];
        char path[1200];
        struct error why;
        (void)snprintf(path, sizeof path, "%s/%s", v->dir, s->name);
        enum status st = segment_open(path, &s->segment, &why);
        if (st == STATUS_OK && (segment_dimensions(s->segment) != e->dimensions ||
                                segment_count(s->segment) != s->n)) {
            st = error_set(&why, STATUS_CORRUPT, "%s: is not the segment that the manifest lists",
                           path);
        }
        if (st == STATUS_NO_MEMORY) {
            return error_set(err, st, "%s", why.text);
        }
        if (st != STATUS_OK) {
            LOG_WARN("a vector segment is made again from the database", LOG_STR("err", why.text),
                     LOG_END);
            drop_segments(v, ev, i);
            ev->dimensions = e->dimensions;
            (void)manifest_write(v, &why); /* the next sealing writes it again */
        }
    }
    ev->opened = true;
    *out = ev;
    return STATUS_OK;
}

static enum status tail_add(int64_t seq, chunk_no chunk, struct str vector, void *data,
                            struct error *err)
{
    struct encoder_vectors *ev = data;
    struct tail *t = &ev->tail;
    if (vector.len != (size_t)ev->dimensions * sizeof *t->rows) {
        return error_set(err, STATUS_CORRUPT, "store.db: a vector has the wrong length");
    }
    if (t->n == TAIL_MAX) {
        return STATUS_TOO_LARGE; /* the rest is read from the catalogue */
    }
    if (t->n == t->cap) {
        size_t cap = t->cap == 0 ? 256 : t->cap * 2;
        uint32_t *chunks = realloc(t->chunks, cap * sizeof *chunks);
        t->chunks = chunks == NULL ? t->chunks : chunks;
        uint16_t *rows = chunks == NULL ? NULL : realloc(t->rows, cap * vector.len);
        t->rows = rows == NULL ? t->rows : rows;
        if (rows == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        t->cap = cap;
    }
    t->chunks[t->n] = chunk;
    memcpy(t->rows + t->n * ev->dimensions, vector.ptr, vector.len);
    t->n++;
    t->loaded = seq;
    return STATUS_OK;
}

static enum status refresh(struct vectors *v, struct catalogue *c,
                           const struct catalogue_state *state, const struct encoder *e,
                           struct error *err)
{
    struct encoder_vectors *ev = NULL;
    (void)pthread_rwlock_wrlock(&v->lock);
    enum status s = prepare(v, e, &ev, err);
    if (s == STATUS_OK && ev->tail.loaded < state->next_vector - 1 && ev->tail.n < TAIL_MAX) {
        s = catalogue_vectors_between(c, e->pk, ev->tail.loaded, state->next_vector - 1, tail_add,
                                      ev, err);
        if (s == STATUS_OK) {
            ev->tail.loaded = state->next_vector - 1;
        } else if (s == STATUS_TOO_LARGE) {
            s = STATUS_OK;
        }
    }
    (void)pthread_rwlock_unlock(&v->lock);
    return s;
}

struct scanning {
    const struct vectors *v;
    const float *q;
    const struct visible *visible;
    const _Atomic bool *cancelled;
    struct best *best;
    uint32_t dimensions;
    uint16_t row[VECTOR_MAX_DIMENSIONS];
};

static enum status scan_row(int64_t seq, chunk_no chunk, struct str vector, void *data,
                            struct error *err)
{
    struct scanning *sc = data;
    if (vector.len != (size_t)sc->dimensions * sizeof sc->row[0]) {
        return error_set(err, STATUS_CORRUPT, "store.db: a vector has the wrong length");
    }
    if (seq % 4096 == 0 && sc->cancelled != NULL && atomic_load(sc->cancelled)) {
        return error_set(err, STATUS_CANCELLED, "the search was cancelled");
    }
    if (visible_has(sc->visible, chunk)) {
        memcpy(sc->row, vector.ptr, vector.len);
        best_offer(sc->best, chunk, sc->v->dot->half(sc->q, sc->row, sc->dimensions));
    }
    return STATUS_OK;
}

static enum status search_locked(struct vectors *v, struct catalogue *c,
                                 const struct catalogue_state *state, const struct encoder *e,
                                 struct scanning *sc, struct error *err)
{
    const struct encoder_vectors *ev = find(v, e->pk);
    int64_t from = 0;
    enum status s = STATUS_OK;
    if (ev != NULL && ev->opened) {
        for (size_t i = 0; i < ev->n_segments && s == STATUS_OK; i++) {
            s = segment_search(ev->segments[i].segment, sc->q, sc->visible, sc->cancelled, sc->best,
                               err);
        }
        for (size_t i = 0; i < ev->tail.n && s == STATUS_OK; i++) {
            if (visible_has(sc->visible, ev->tail.chunks[i])) {
                best_offer(sc->best, ev->tail.chunks[i],
                           v->dot->half(sc->q, ev->tail.rows + i * ev->dimensions, ev->dimensions));
            }
        }
        from = ev->tail.loaded;
    }
    if (s == STATUS_OK && from < state->next_vector - 1) {
        s = catalogue_vectors_between(c, e->pk, from, state->next_vector - 1, scan_row, sc, err);
    }
    return s;
}

enum status vectors_search(struct vectors *v, struct catalogue *c,
                           const struct catalogue_state *state, const struct encoder *e,
                           const float *q, const struct visible *visible, uint32_t k,
                           const _Atomic bool *cancelled, struct vector_hit *hits, size_t *n,
                           struct error *err)
{
    struct best best = {.hits = hits, .k = k};
    double sum = 0;
    float unit[VECTOR_MAX_DIMENSIONS];
    struct scanning *sc = calloc(1, sizeof *sc);
    if (sc == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < e->dimensions; i++) {
        sum += (double)q[i] * (double)q[i];
    }
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (uint32_t i = 0; i < e->dimensions; i++) {
        unit[i] = q[i] * scale;
    }
    *sc = (struct scanning){.v = v,
                            .q = unit,
                            .visible = visible,
                            .cancelled = cancelled,
                            .best = &best,
                            .dimensions = e->dimensions};
    enum status s = refresh(v, c, state, e, err);
    if (s == STATUS_OK) {
        (void)pthread_rwlock_rdlock(&v->lock);
        s = search_locked(v, c, state, e, sc, err);
        (void)pthread_rwlock_unlock(&v->lock);
    }
    free(sc);
    if (s == STATUS_OK) {
        qsort(hits, best.n, sizeof *hits, best_compare);
        *n = best.n;
    }
    return s;
}

/* ---- sealing ---- */

/* What the new segment should start after, and how many of the old it keeps. Predecessors that are
 * not more than twice as large as what is sealed are swallowed. */
static size_t keep_segments(const struct encoder_vectors *ev, uint64_t n)
{
    size_t keep = ev->n_segments;
    while (keep > 0 && (ev->segments[keep - 1].n < 2 * n || keep >= SEGMENTS_MAX - 1)) {
        n += ev->segments[--keep].n;
    }
    return keep;
}

/* Under the exclusive lock. */
static enum status take_segment(struct vectors *v, struct encoder_vectors *ev, size_t keep,
                                const struct sealed *fresh, struct error *err)
{
    struct sealed old[SEGMENTS_MAX];
    size_t n_old = ev->n_segments - keep;
    memcpy(old, ev->segments + keep, n_old * sizeof *old);
    ev->segments[keep] = *fresh;
    ev->n_segments = keep + 1;
    enum status s = manifest_write(v, err);
    if (s != STATUS_OK) { /* as it was; the new file is swept later */
        memcpy(ev->segments + keep, old, n_old * sizeof *old);
        ev->n_segments = keep + n_old;
        return s;
    }
    for (size_t i = 0; i < n_old; i++) {
        char path[1200];
        (void)snprintf(path, sizeof path, "%s/%s", v->dir, old[i].name);
        segment_close(old[i].segment);
        (void)unlink(path);
    }
    tail_clear(&ev->tail);
    ev->tail.loaded = fresh->until;
    return STATUS_OK;
}

enum status vectors_seal(struct vectors *v, struct catalogue *c,
                         const struct catalogue_state *state, const struct encoder *e, bool *sealed,
                         struct error *err)
{
    struct encoder_vectors *ev = NULL;
    struct sealed fresh = {.until = state->next_vector - 1};
    int64_t n = 0;
    int64_t last = 0;
    size_t keep = 0;
    char path[1200];
    *sealed = false;
    (void)pthread_rwlock_wrlock(&v->lock);
    enum status s = prepare(v, e, &ev, err);
    int64_t until = s == STATUS_OK ? sealed_until(ev) : 0;
    (void)pthread_rwlock_unlock(&v->lock);
    if (s == STATUS_OK) {
        s = catalogue_vectors_count(c, e->pk, until, fresh.until, &n, &last, err);
    }
    if (s != STATUS_OK || n < STORE_SEAL_VECTORS) {
        return s;
    }
    /* segments change only here and when a search drops damaged ones: that is checked again below
     */
    (void)pthread_rwlock_rdlock(&v->lock);
    keep = keep_segments(ev, (uint64_t)n);
    fresh.after = keep == 0 ? 0 : ev->segments[keep - 1].until;
    (void)pthread_rwlock_unlock(&v->lock);
    s = catalogue_vectors_count(c, e->pk, fresh.after, fresh.until, &n, &last, err);
    char id[ID_CAP];
    id_new(id);
    (void)snprintf(fresh.name, sizeof fresh.name, "%s", id);
    (void)snprintf(path, sizeof path, "%s/%s", v->dir, fresh.name);
    fresh.n = (uint64_t)n;
    if (s == STATUS_OK) {
        s = segment_write(path, c, e, fresh.after, fresh.until, fresh.n, segment_lists(fresh.n),
                          err);
    }
    if (s == STATUS_OK) {
        s = segment_open(path, &fresh.segment, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    (void)pthread_rwlock_wrlock(&v->lock);
    if (ev->encoder != e->pk || ev->n_segments < keep ||
        (keep > 0 && ev->segments[keep - 1].until != fresh.after)) {
        s = error_set(err, STATUS_BUSY, "segments changed while one was sealed; it is done again");
    } else {
        s = take_segment(v, ev, keep, &fresh, err);
    }
    (void)pthread_rwlock_unlock(&v->lock);
    if (s != STATUS_OK) {
        segment_close(fresh.segment);
        (void)unlink(path);
        return s;
    }
    *sealed = true;
    return STATUS_OK;
}

void vectors_retain(struct vectors *v, const int64_t *encoders, size_t n)
{
    struct error err;
    bool changed = false;
    (void)pthread_rwlock_wrlock(&v->lock);
    for (size_t i = 0; i < ENCODERS_MAX; i++) {
        struct encoder_vectors *ev = &v->encoders[i];
        bool there = ev->encoder == 0;
        for (size_t j = 0; j < n && !there; j++) {
            there = encoders[j] == ev->encoder;
        }
        if (!there) {
            drop_segments(v, ev, 0);
            *ev = (struct encoder_vectors){0};
            changed = true;
        }
    }
    if (changed && manifest_write(v, &err) != STATUS_OK) {
        LOG_WARN("the list of vector segments could not be written", LOG_STR("err", err.text),
                 LOG_END);
    }
    (void)pthread_rwlock_unlock(&v->lock);
}
