#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vectorstore/dense_internal.h"

#define BLOCK_ROWS 64U  /* scored by one call of the kernel */
#define VIEW_ROWS 4096U /* looked at between two looks at cancelled */
#define KEEP_BYTES                                                                                 \
    ((uint64_t)32 * 1024 * 1024) /* of fp16 rows: from here on not through the map                 \
                                  */
#define SPARSE 0.6 /* with fewer rows visible than this share, rows are scored one by one */

struct dense {
    _Atomic uint32_t refs;
    struct segment_file *file;
    struct dense_meta meta;
    struct segment_section chunks, scales, codes, rows;
    struct segment_view offsets, centroids; /* held while open: they are small */
    float *halves;
};

/* ---- candidates ---- */

size_t dense_candidates(uint32_t k)
{
    return 2 * (size_t)k + 128;
}

static void sink(struct candidates *c)
{
    for (size_t i = 0;;) {
        size_t worst = i;
        for (size_t j = 2 * i + 1; j <= 2 * i + 2 && j < c->n; j++) {
            worst = c->heap[j].score < c->heap[worst].score ? j : worst;
        }
        if (worst == i) {
            return;
        }
        struct candidate t = c->heap[i];
        c->heap[i] = c->heap[worst];
        c->heap[worst] = t;
        i = worst;
    }
}

void candidates_offer(struct candidates *c, struct candidate x)
{
    if (c->n < c->cap) {
        size_t i = c->n++;
        c->heap[i] = x;
        while (i > 0 && c->heap[i].score < c->heap[(i - 1) / 2].score) {
            struct candidate t = c->heap[i];
            c->heap[i] = c->heap[(i - 1) / 2];
            c->heap[(i - 1) / 2] = t;
            i = (i - 1) / 2;
        }
    } else if (c->cap > 0 && c->heap[0].score < x.score) {
        c->heap[0] = x;
        sink(c);
    }
}

/* ---- the nearest lists ---- */

void nearest_halves(const uint16_t *centroids, uint32_t lists, uint32_t dimensions, float *halves)
{
    for (uint32_t i = 0; i < lists; i++) {
        float sum = 0;
        for (uint32_t j = 0; j < dimensions; j++) {
            float x = half_to_float(centroids[(size_t)i * dimensions + j]);
            sum += x * x;
        }
        halves[i] = sum / 2;
    }
}

static void nearest_sink(struct nearest *l, uint32_t i)
{
    for (;;) {
        uint32_t best = i;
        for (uint32_t j = 2 * i + 1; j <= 2 * i + 2 && j < l->n; j++) {
            best = l->score[l->heap[j]] > l->score[l->heap[best]] ? j : best;
        }
        if (best == i) {
            return;
        }
        uint16_t t = l->heap[i];
        l->heap[i] = l->heap[best];
        l->heap[best] = t;
        i = best;
    }
}

/* |q - c|^2 orders as |c|^2 / 2 - q.c, the query's length being the same for all */
enum status nearest_make(struct nearest *l, const struct dot *dot, const float *unit,
                         const uint16_t *centroids, const float *halves, uint32_t lists,
                         uint32_t dimensions, struct error *err)
{
    *l = (struct nearest){.score = malloc(lists * sizeof *l->score),
                          .heap = malloc(lists * sizeof *l->heap),
                          .n = lists};
    if (l->score == NULL || l->heap == NULL) {
        nearest_free(l);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < lists; i++) {
        l->score[i] = dot->half(unit, centroids + (size_t)i * dimensions, dimensions) - halves[i];
        l->heap[i] = (uint16_t)i;
    }
    for (uint32_t i = lists / 2; i-- > 0;) {
        nearest_sink(l, i);
    }
    return STATUS_OK;
}

uint32_t nearest_next(struct nearest *l)
{
    uint32_t first = l->heap[0];
    l->heap[0] = l->heap[--l->n];
    nearest_sink(l, 0);
    return first;
}

void nearest_free(struct nearest *l)
{
    free(l->score);
    free(l->heap);
    *l = (struct nearest){0};
}

/* ---- opening ---- */

static enum status find_section(const struct dense *s, const char *name, uint64_t size,
                                struct segment_section *out, struct error *err)
{
    enum status st = segment_file_section(s->file, name, out, err);
    if (st == STATUS_OK && out->size != size) {
        st = error_set(err, STATUS_CORRUPT, "its %s have the wrong size", name);
    }
    return st;
}

static enum status read_meta(struct dense *s, struct error *err)
{
    struct segment_section at;
    struct segment_view v = {0};
    enum status st = find_section(s, DENSE_META, sizeof s->meta, &at, err);
    if (st == STATUS_OK) {
        st = segment_file_view(s->file, &at, 0, sizeof s->meta, &v, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    memcpy(&s->meta, v.ptr, sizeof s->meta);
    segment_view_drop(&v);
    const struct dense_meta *m = &s->meta;
    if (m->dimensions == 0 || m->dimensions > VECTOR_MAX_DIMENSIONS || m->lists == 0 ||
        m->lists > DENSE_LISTS_MAX || m->n == 0 || m->n > UINT32_MAX) {
        return error_set(err, STATUS_CORRUPT, "its numbers cannot be those of vectors");
    }
    return STATUS_OK;
}

static enum status read_lists(struct dense *s, struct error *err)
{
    struct segment_section at;
    uint64_t lists = s->meta.lists;
    uint64_t d = s->meta.dimensions;
    enum status st = find_section(s, DENSE_OFFSETS, (lists + 1) * sizeof(uint64_t), &at, err);
    if (st == STATUS_OK) {
        st = segment_file_view(s->file, &at, 0, (size_t)at.size, &s->offsets, err);
    }
    if (st == STATUS_OK) {
        st = find_section(s, DENSE_CENTROIDS, lists == 1 ? 0 : lists * d * sizeof(uint16_t), &at,
                          err);
    }
    if (st == STATUS_OK && lists > 1) {
        st = segment_file_view(s->file, &at, 0, (size_t)at.size, &s->centroids, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    const uint64_t *offsets = (const uint64_t *)(const void *)s->offsets.ptr;
    for (uint64_t i = 0; i < lists; i++) {
        if (offsets[i] > offsets[i + 1]) {
            return error_set(err, STATUS_CORRUPT, "its lists are out of order");
        }
    }
    if (offsets[0] != 0 || offsets[lists] != s->meta.n) {
        return error_set(err, STATUS_CORRUPT, "its lists do not cover it");
    }
    if (lists > 1) {
        s->halves = malloc((size_t)lists * sizeof *s->halves);
        if (s->halves == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        nearest_halves((const uint16_t *)(const void *)s->centroids.ptr, s->meta.lists,
                       s->meta.dimensions, s->halves);
    }
    return STATUS_OK;
}

enum status dense_open(const char *path, const struct segment_keys *keys, struct dense **out,
                       struct error *err)
{
    struct dense *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    atomic_init(&s->refs, 1);
    enum status st = segment_file_open(path, DENSE_KIND, DENSE_VERSION, segment_keys_key(keys),
                                       segment_keys_cache(keys), &s->file, err);
    if (st == STATUS_OK) {
        st = read_meta(s, err);
        uint64_t n = s->meta.n;
        uint64_t d = s->meta.dimensions;
        if (st == STATUS_OK) {
            st = find_section(s, DENSE_CHUNKS, n * sizeof(chunk_no), &s->chunks, err);
        }
        if (st == STATUS_OK) {
            st = find_section(s, DENSE_SCALES, n * sizeof(float), &s->scales, err);
        }
        if (st == STATUS_OK) {
            st = find_section(s, DENSE_CODES, n * d, &s->codes, err);
        }
        if (st == STATUS_OK) {
            st = find_section(s, DENSE_ROWS, n * d * sizeof(uint16_t), &s->rows, err);
        }
        if (st == STATUS_OK) {
            st = read_lists(s, err);
        }
        if (st == STATUS_OK && s->rows.size >= KEEP_BYTES) {
            st = segment_file_keep(s->file, err);
        }
    }
    if (st != STATUS_OK) {
        dense_drop(s);
        return st;
    }
    *out = s;
    return STATUS_OK;
}

void dense_hold(struct dense *s)
{
    (void)atomic_fetch_add(&s->refs, 1);
}

void dense_drop(struct dense *s)
{
    if (s != NULL && atomic_fetch_sub(&s->refs, 1) == 1) {
        segment_view_drop(&s->offsets);
        segment_view_drop(&s->centroids);
        segment_file_close(s->file);
        free(s->halves);
        free(s);
    }
}

uint64_t dense_count(const struct dense *s)
{
    return s->meta.n;
}

uint32_t dense_dimensions(const struct dense *s)
{
    return s->meta.dimensions;
}

bool dense_clear(const struct dense *s)
{
    return segment_file_clear(s->file);
}

uint32_t dense_lists(const struct dense *s)
{
    return s->meta.lists;
}

/* In between the three calibrated numbers by the logarithm of k, beyond them in proportion. */
uint32_t dense_probes(const struct dense *s, double k)
{
    const uint32_t *p = s->meta.probes;
    double n = p[0];
    if (k > 1000) {
        n = p[2] * k / 1000;
    } else if (k > 100) {
        n = p[1] + ((double)p[2] - p[1]) * (log10(k) - 2);
    } else if (k > 10) {
        n = p[0] + ((double)p[1] - p[0]) * (log10(k) - 1);
    }
    return n >= s->meta.lists ? s->meta.lists : (uint32_t)ceil(n);
}

/* ---- scanning ---- */

void dense_query_init(struct dense_query *q, const struct dot *dot, const float *unit,
                      uint32_t dimensions, const struct visible *visible, uint64_t rows,
                      const _Atomic bool *cancelled, uint32_t k)
{
    *q = (struct dense_query){
        .dot = dot,
        .unit = unit,
        .visible = visible,
        .share = visible->count >= rows ? 1 : (double)visible->count / (double)rows,
        .cancelled = cancelled,
        .k = k};
    (void)dot_encode_query(unit, dimensions, q->codes);
}

/* Rows from `from` on, n of them, in view. */
struct piece {
    struct segment_view chunk_view, scale_view, code_view;
    const chunk_no *chunks;
    const float *scales;
    const uint8_t *codes;
    uint64_t from;
    size_t n;
};

static void piece_drop(struct piece *p)
{
    segment_view_drop(&p->chunk_view);
    segment_view_drop(&p->scale_view);
    segment_view_drop(&p->code_view);
}

static enum status piece_take(const struct dense *s, uint64_t from, size_t n, struct piece *p,
                              struct error *err)
{
    size_t d = s->meta.dimensions;
    *p = (struct piece){.from = from, .n = n};
    enum status st = segment_file_view(s->file, &s->chunks, from * sizeof(chunk_no),
                                       n * sizeof(chunk_no), &p->chunk_view, err);
    if (st == STATUS_OK) {
        st = segment_file_view(s->file, &s->scales, from * sizeof(float), n * sizeof(float),
                               &p->scale_view, err);
    }
    if (st == STATUS_OK) {
        st = segment_file_view(s->file, &s->codes, from * d, n * d, &p->code_view, err);
    }
    if (st != STATUS_OK) {
        piece_drop(p);
        return st;
    }
    p->chunks = (const chunk_no *)(const void *)p->chunk_view.ptr;
    p->scales = (const float *)(const void *)p->scale_view.ptr;
    p->codes = p->code_view.ptr;
    return STATUS_OK;
}

/* Most rows are visible: all are scored, and of those that score well the bit is asked. */
static void scan_all(const struct dense_query *q, const struct piece *p, size_t d, uint32_t segment,
                     struct candidates *c)
{
    int32_t sums[BLOCK_ROWS];
    for (size_t i = 0; i < p->n; i += BLOCK_ROWS) {
        size_t n = p->n - i < BLOCK_ROWS ? p->n - i : BLOCK_ROWS;
        q->dot->codes(q->codes, p->codes + i * d, d, n, sums);
        for (size_t j = 0; j < n; j++) {
            float score = (float)sums[j] * p->scales[i + j];
            if ((c->n < c->cap || score > c->heap[0].score) &&
                visible_has(q->visible, p->chunks[i + j])) {
                candidates_offer(c, (struct candidate){.score = score,
                                                       .segment = segment,
                                                       .row = (uint32_t)(p->from + i + j),
                                                       .chunk = p->chunks[i + j]});
            }
        }
    }
}

/* Few are: the others' codes are not read. */
static size_t scan_visible(const struct dense_query *q, const struct piece *p, size_t d,
                           uint32_t segment, struct candidates *c)
{
    size_t seen = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (visible_has(q->visible, p->chunks[i])) {
            int32_t sum = 0;
            q->dot->codes(q->codes, p->codes + i * d, d, 1, &sum);
            candidates_offer(c, (struct candidate){.score = (float)sum * p->scales[i],
                                                   .segment = segment,
                                                   .row = (uint32_t)(p->from + i),
                                                   .chunk = p->chunks[i]});
            seen++;
        }
    }
    return seen;
}

/* *seen grows by the visible rows, estimated where they are not counted. */
static enum status scan(const struct dense *s, uint64_t from, uint64_t to, uint32_t segment,
                        const struct dense_query *q, struct candidates *c, double *seen,
                        struct error *err)
{
    enum status st = STATUS_OK;
    for (uint64_t at = from; at < to && st == STATUS_OK; at += VIEW_ROWS) {
        struct piece p;
        size_t n = to - at < VIEW_ROWS ? (size_t)(to - at) : VIEW_ROWS;
        if (q->cancelled != NULL && atomic_load(q->cancelled)) {
            return error_set(err, STATUS_CANCELLED, "the search was cancelled");
        }
        st = piece_take(s, at, n, &p, err);
        if (st == STATUS_OK) {
            if (q->share < SPARSE) {
                *seen += (double)scan_visible(q, &p, s->meta.dimensions, segment, c);
            } else {
                scan_all(q, &p, s->meta.dimensions, segment, c);
                *seen += (double)n * q->share;
            }
            piece_drop(&p);
        }
    }
    return st;
}

/* With a filter that leaves a share f, the best k visible are spread like the best k / f of all,
 * and so many lists are looked into as hold those. Where that comes to half of them, all are: their
 * visible rows are then few. A filter that leaves nothing near the question, one collection say, is
 * met by going on until as many visible rows have been scored as without one. */
enum status dense_scan(const struct dense *s, uint32_t segment, const struct dense_query *q,
                       struct candidates *c, struct error *err)
{
    const struct dense_meta *m = &s->meta;
    double seen = 0;
    if (q->visible->count == 0) {
        return STATUS_OK;
    }
    uint32_t probes = dense_probes(s, (double)q->k / q->share);
    if (m->lists == 1 || probes >= m->lists / 2) {
        return scan(s, 0, m->n, segment, q, c, &seen, err);
    }
    double wanted = (double)dense_probes(s, (double)q->k) * (double)m->n / m->lists;
    double least = (double)dense_candidates(q->k);
    wanted = q->share > 0.999 || wanted < least ? least : wanted;
    struct nearest near;
    const uint64_t *offsets = (const uint64_t *)(const void *)s->offsets.ptr;
    enum status st =
        nearest_make(&near, q->dot, q->unit, (const uint16_t *)(const void *)s->centroids.ptr,
                     s->halves, m->lists, m->dimensions, err);
    for (uint32_t i = 0; st == STATUS_OK && near.n > 0; i++) {
        if (i >= probes && seen >= wanted) {
            break;
        }
        uint32_t list = nearest_next(&near);
        st = scan(s, offsets[list], offsets[list + 1], segment, q, c, &seen, err);
    }
    nearest_free(&near);
    return st;
}

enum status dense_rescore(const struct dense *s, const struct dense_query *q,
                          const struct candidate *c, size_t n, struct best *best, struct error *err)
{
    size_t d = s->meta.dimensions;
    uint16_t row[VECTOR_MAX_DIMENSIONS];
    enum status st = STATUS_OK;
    for (size_t i = 0; i < n && st == STATUS_OK; i++) {
        st = segment_file_read(s->file, &s->rows, c[i].row * d * sizeof row[0], d * sizeof row[0],
                               row, err);
        if (st == STATUS_OK) {
            best_offer(best, c[i].chunk, q->dot->half(q->unit, row, d));
        }
    }
    return st;
}

enum status dense_chunks(const struct dense *s,
                         void (*visit)(const chunk_no *chunks, size_t n, void *data), void *data,
                         struct error *err)
{
    enum status st = STATUS_OK;
    for (uint64_t at = 0; at < s->meta.n && st == STATUS_OK; at += VIEW_ROWS) {
        struct segment_view v = {0};
        size_t n = s->meta.n - at < VIEW_ROWS ? (size_t)(s->meta.n - at) : VIEW_ROWS;
        st = segment_file_view(s->file, &s->chunks, at * sizeof(chunk_no), n * sizeof(chunk_no), &v,
                               err);
        if (st == STATUS_OK) {
            visit((const chunk_no *)(const void *)v.ptr, n, data);
            segment_view_drop(&v);
        }
    }
    return st;
}

enum status dense_check(const struct dense *s, const _Atomic bool *cancelled, struct error *err)
{
    return segment_file_check(s->file, cancelled, err);
}
