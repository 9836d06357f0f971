/* Writing goes over the source a few times, never holding the vectors in memory:
 *
 *   1. with lists only: an even sample, from which FAISS makes the lists
 *   2. each row's number and list
 *   3. each row to its place in a spill file (unlinked from the start), and its codes behind
 *   4. from the spill, in order, into the segment's file
 *
 * A row that goes away between two passes leaves an empty place, whose chunk number nobody can
 * see. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vectorstore/dense_internal.h"

#define SAMPLE_A_LIST 40U
#define SAMPLE_BYTES ((size_t)96 * 1024 * 1024)
#define ASSIGN_ROWS 256U /* at once: FAISS is many times faster over a batch */
#define COPY_ROWS 256U
#define NOBODY UINT32_MAX /* the chunk of an empty place */

struct writing {
    const struct dense_source *source;
    struct dense_meta meta;
    size_t d;
    uint64_t seen;
    /* the sample */
    float *sample;
    uint64_t sampled, wanted;
    struct dense_quantizer *quantizer;
    /* by order of arrival */
    int64_t *seqs;
    uint16_t *list_of; /* NULL: one list */
    float *waiting;    /* rows without a list yet */
    uint64_t assigned;
    /* by place */
    uint64_t *offsets, *at;
    chunk_no *chunks;
    float *scales;
    uint16_t *centroids;
    int spill;
    uint8_t *codes; /* mapped, behind the rows */
    size_t codes_at;
};

static void writing_free(struct writing *w)
{
    free(w->sample);
    dense_quantizer_free(w->quantizer);
    free(w->seqs);
    free(w->list_of);
    free(w->waiting);
    free(w->offsets);
    free(w->at);
    free(w->chunks);
    free(w->scales);
    free(w->centroids);
    if (w->codes != NULL) {
        (void)munmap(w->codes, (size_t)w->meta.n * w->d);
    }
    if (w->spill >= 0) {
        (void)close(w->spill);
    }
}

uint32_t dense_lists_for(uint64_t n, uint32_t dimensions)
{
    if (n * dimensions < DENSE_FLAT_BYTES) {
        return 1;
    }
    double lists = sqrt((double)n);
    return lists > DENSE_LISTS_MAX ? DENSE_LISTS_MAX : (uint32_t)lists;
}

static void widen(const uint16_t *row, size_t d, float *out)
{
    for (size_t i = 0; i < d; i++) {
        out[i] = half_to_float(row[i]);
    }
}

/* ---- lists ---- */

static enum status take_sample(int64_t seq, chunk_no chunk, const uint16_t *row, void *data,
                               struct error *err)
{
    (void)seq;
    (void)chunk;
    (void)err;
    struct writing *w = data;
    if (w->sampled < w->wanted && w->seen * w->wanted / w->source->n >= w->sampled) {
        widen(row, w->d, w->sample + w->sampled++ * w->d);
    }
    w->seen++;
    return STATUS_OK;
}

static enum status make_lists(struct writing *w, struct error *err)
{
    uint64_t most = SAMPLE_BYTES / (w->d * sizeof *w->sample);
    w->wanted = (uint64_t)w->meta.lists * SAMPLE_A_LIST;
    w->wanted = w->wanted > most ? most : w->wanted;
    w->wanted = w->wanted > w->source->n ? w->source->n : w->wanted;
    w->sample = calloc((size_t)w->wanted, w->d * sizeof *w->sample);
    if (w->sample == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
    }
    enum status s = w->source->each(w->source->data, take_sample, w, err);
    if (s == STATUS_OK && w->sampled < w->meta.lists) {
        s = error_set(err, STATUS_CONFLICT, "sealing vectors: most of them went away");
    }
    if (s == STATUS_OK) {
        const struct dense_training t = {.sample = w->sample,
                                         .n = w->sampled,
                                         .dimensions = w->meta.dimensions,
                                         .lists = w->meta.lists,
                                         .pause = w->source->pause,
                                         .pause_data = w->source->pause_data};
        s = dense_quantizer_train(&t, &w->quantizer, err);
    }
    free(w->sample);
    w->sample = NULL;
    if (s == STATUS_OK) {
        size_t values = (size_t)w->meta.lists * w->d;
        const float *c = dense_quantizer_centroids(w->quantizer);
        w->centroids = malloc(values * sizeof *w->centroids);
        for (size_t i = 0; w->centroids != NULL && i < values; i++) {
            w->centroids[i] = half_from_float(c[i]);
        }
        if (w->centroids == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
        }
    }
    return s;
}

static enum status assign_waiting(struct writing *w, struct error *err)
{
    size_t n = (size_t)(w->seen - w->assigned);
    enum status s =
        dense_quantizer_assign(w->quantizer, w->waiting, n, w->list_of + w->assigned, err);
    w->assigned = w->seen;
    return s;
}

static enum status note_row(int64_t seq, chunk_no chunk, const uint16_t *row, void *data,
                            struct error *err)
{
    (void)chunk;
    struct writing *w = data;
    if (w->seen == w->source->n) {
        return error_set(err, STATUS_CONFLICT, "sealing vectors: there are more than there were");
    }
    if (w->list_of != NULL) {
        widen(row, w->d, w->waiting + (w->seen - w->assigned) * w->d);
    }
    w->seqs[w->seen++] = seq;
    return w->list_of != NULL && w->seen - w->assigned == ASSIGN_ROWS ? assign_waiting(w, err)
                                                                      : STATUS_OK;
}

static enum status note_rows(struct writing *w, struct error *err)
{
    size_t most = (size_t)w->source->n;
    w->seqs = malloc((most + 1) * sizeof *w->seqs);
    if (w->meta.lists > 1) {
        w->list_of = malloc((most + 1) * sizeof *w->list_of);
        w->waiting = malloc(ASSIGN_ROWS * w->d * sizeof *w->waiting);
    }
    if (w->seqs == NULL || (w->meta.lists > 1 && (w->list_of == NULL || w->waiting == NULL))) {
        return error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
    }
    w->seen = 0;
    enum status s = w->source->each(w->source->data, note_row, w, err);
    if (s == STATUS_OK && w->meta.lists > 1) {
        s = assign_waiting(w, err);
    }
    w->meta.n = w->seen;
    if (s == STATUS_OK && w->meta.n == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "sealing vectors: there are none");
    }
    return s;
}

/* ---- places ---- */

static enum status write_at(const struct writing *w, const void *data, size_t len, size_t at,
                            struct error *err)
{
    const unsigned char *p = data;
    while (len > 0) {
        ssize_t n = pwrite(w->spill, p, len, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return error_errno(err, n < 0 ? errno : EIO, "sealing vectors");
        }
        p += n;
        at += (size_t)n;
        len -= (size_t)n;
    }
    return STATUS_OK;
}

static enum status read_rows(const struct writing *w, uint64_t row, size_t n, uint16_t *out,
                             struct error *err)
{
    unsigned char *p = (unsigned char *)out;
    size_t len = n * w->d * sizeof *out;
    size_t at = (size_t)row * w->d * sizeof *out;
    while (len > 0) {
        ssize_t got = pread(w->spill, p, len, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return error_errno(err, got < 0 ? errno : EIO, "sealing vectors");
        }
        p += got;
        at += (size_t)got;
        len -= (size_t)got;
    }
    return STATUS_OK;
}

static enum status open_spill(struct writing *w, const char *path, struct error *err)
{
    char name[PATH_MAX];
    int len = snprintf(name, sizeof name, "%s.spill", path);
    if (len < 0 || (size_t)len >= sizeof name) {
        return error_set(err, STATUS_TOO_LARGE, "%s: the path is too long", path);
    }
    w->spill = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (w->spill < 0) {
        return error_errno(err, errno, "%s", name);
    }
    (void)unlink(name);
    /* room is taken first: a full disk is an error here, not a fault in the mapping */
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t codes = (size_t)w->meta.n * w->d;
    w->codes_at = (codes * sizeof(uint16_t) + page - 1) / page * page;
    int rc = posix_fallocate(w->spill, 0, (off_t)(w->codes_at + codes));
    if (rc != 0) {
        return error_errno(err, rc, "%s", name);
    }
    void *map = mmap(NULL, codes, PROT_READ, MAP_SHARED, w->spill, (off_t)w->codes_at);
    if (map == MAP_FAILED) {
        return error_errno(err, errno, "%s: mmap", name);
    }
    w->codes = map;
    return STATUS_OK;
}

static enum status make_places(struct writing *w, const char *path, struct error *err)
{
    size_t n = (size_t)w->meta.n;
    w->offsets = calloc((size_t)w->meta.lists + 1, sizeof *w->offsets);
    w->at = calloc((size_t)w->meta.lists + 1, sizeof *w->at);
    w->chunks = malloc(n * sizeof *w->chunks);
    w->scales = calloc(n, sizeof *w->scales);
    if (w->offsets == NULL || w->at == NULL || w->chunks == NULL || w->scales == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        w->offsets[w->list_of == NULL ? 1 : w->list_of[i] + 1]++;
        w->chunks[i] = NOBODY;
    }
    for (uint32_t i = 0; i < w->meta.lists; i++) {
        w->offsets[i + 1] += w->offsets[i];
        w->at[i] = w->offsets[i];
    }
    return open_spill(w, path, err);
}

static enum status place(int64_t seq, chunk_no chunk, const uint16_t *row, void *data,
                         struct error *err)
{
    struct writing *w = data;
    uint8_t codes[VECTOR_MAX_DIMENSIONS];
    while (w->seen < w->meta.n && w->seqs[w->seen] < seq) { /* gone: its place stays empty */
        w->at[w->list_of == NULL ? 0 : w->list_of[w->seen]]++;
        w->seen++;
    }
    if (w->seen == w->meta.n || w->seqs[w->seen] != seq) {
        return error_set(err, STATUS_CONFLICT, "sealing vectors: there are more than there were");
    }
    uint64_t to = w->at[w->list_of == NULL ? 0 : w->list_of[w->seen]]++;
    w->seen++;
    w->chunks[to] = chunk;
    w->scales[to] = dot_encode_half(row, w->d, codes);
    enum status s = write_at(w, row, w->d * sizeof *row, (size_t)to * w->d * sizeof *row, err);
    return s == STATUS_OK ? write_at(w, codes, w->d, w->codes_at + (size_t)to * w->d, err) : s;
}

/* ---- the file ---- */

static enum status add_section(struct segment_writer *f, const char *name, const void *p,
                               size_t len, struct error *err)
{
    enum status s = segment_writer_section(f, name, err);
    return s == STATUS_OK ? segment_writer_add(f, p, len, err) : s;
}

static enum status add_rows(const struct writing *w, struct segment_writer *f, struct error *err)
{
    uint16_t *rows = malloc(COPY_ROWS * w->d * sizeof *rows);
    if (rows == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
    }
    enum status s = segment_writer_section(f, DENSE_ROWS, err);
    for (uint64_t i = 0; i < w->meta.n && s == STATUS_OK; i += COPY_ROWS) {
        size_t n = w->meta.n - i < COPY_ROWS ? (size_t)(w->meta.n - i) : COPY_ROWS;
        s = read_rows(w, i, n, rows, err);
        if (s == STATUS_OK) {
            s = segment_writer_add(f, rows, n * w->d * sizeof *rows, err);
        }
        if (s == STATUS_OK) {
            s = w->source->pause(w->source->pause_data, err);
        }
    }
    free(rows);
    return s;
}

static enum status add_codes(const struct writing *w, struct segment_writer *f, struct error *err)
{
    size_t len = (size_t)w->meta.n * w->d;
    size_t step = COPY_ROWS * w->d;
    enum status s = segment_writer_section(f, DENSE_CODES, err);
    for (size_t at = 0; at < len && s == STATUS_OK; at += step) {
        s = segment_writer_add(f, w->codes + at, len - at < step ? len - at : step, err);
        if (s == STATUS_OK) {
            s = w->source->pause(w->source->pause_data, err);
        }
    }
    return s;
}

static enum status write_file(const struct writing *w, const char *path, struct error *err)
{
    struct segment_writer *f = NULL;
    size_t n = (size_t)w->meta.n;
    enum status s = segment_writer_begin(path, DENSE_KIND, DENSE_VERSION, w->source->key, &f, err);
    if (s == STATUS_OK) {
        s = add_section(f, DENSE_META, &w->meta, sizeof w->meta, err);
    }
    if (s == STATUS_OK) {
        s = add_section(f, DENSE_OFFSETS, w->offsets,
                        ((size_t)w->meta.lists + 1) * sizeof *w->offsets, err);
    }
    if (s == STATUS_OK) {
        s = add_section(
            f, DENSE_CENTROIDS, w->centroids,
            w->centroids == NULL ? 0 : (size_t)w->meta.lists * w->d * sizeof *w->centroids, err);
    }
    if (s == STATUS_OK) {
        s = add_section(f, DENSE_CHUNKS, w->chunks, n * sizeof *w->chunks, err);
    }
    if (s == STATUS_OK) {
        s = add_section(f, DENSE_SCALES, w->scales, n * sizeof *w->scales, err);
    }
    if (s == STATUS_OK) {
        s = add_codes(w, f, err);
    }
    if (s == STATUS_OK) {
        s = add_rows(w, f, err);
    }
    if (s == STATUS_OK) {
        s = segment_writer_finish(f, err);
    }
    segment_writer_end(f);
    return s;
}

static enum status spilled_row(void *data, uint64_t at, uint16_t *out, struct error *err)
{
    const struct writing *w = data;
    return read_rows(w, at, 1, out, err);
}

static enum status calibrate(struct writing *w, struct error *err)
{
    struct calibrating c = {.meta = &w->meta,
                            .codes = w->codes,
                            .scales = w->scales,
                            .offsets = w->offsets,
                            .centroids = w->centroids,
                            .row = spilled_row,
                            .data = w,
                            .pause = w->source->pause,
                            .pause_data = w->source->pause_data};
    return dense_calibrate(&c, err);
}

enum status dense_write(const char *path, const struct dense_source *source, uint32_t lists,
                        uint64_t *n, struct error *err)
{
    struct writing w = {.source = source,
                        .meta = {.dimensions = source->dimensions, .lists = lists},
                        .d = source->dimensions,
                        .spill = -1};
    if (w.d == 0 || w.d > VECTOR_MAX_DIMENSIONS || lists == 0 || lists > DENSE_LISTS_MAX ||
        source->n == 0 || source->n >= UINT32_MAX) {
        return error_set(err, STATUS_INVALID, "%s: cannot be a segment", path);
    }
    enum status s = lists > 1 ? make_lists(&w, err) : STATUS_OK;
    if (s == STATUS_OK) {
        s = note_rows(&w, err);
    }
    if (s == STATUS_OK) {
        s = make_places(&w, path, err);
    }
    if (s == STATUS_OK) {
        w.seen = 0;
        s = source->each(source->data, place, &w, err);
    }
    if (s == STATUS_OK && lists > 1) {
        s = calibrate(&w, err);
    }
    if (s == STATUS_OK) {
        s = write_file(&w, path, err);
    }
    *n = w.meta.n;
    writing_free(&w);
    return s;
}
