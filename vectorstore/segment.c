/* File: header (4 KiB), chunk numbers, list offsets, centroids, rows; each part starts on 64 bytes.
 *
 * Writing goes in two passes over the catalogue, never holding the vectors in memory: the first
 * takes an even sample for FAISS's k-means and then each row's list, the second writes rows where
 * their list says, into the mapped file under a temporary name. Then the body is hashed, the header
 * written, all synced, and renamed. */
#include "vectorstore/segment.h"

#include <errno.h>
#include <faiss/c_api/Clustering_c.h>
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "vectorstore/dot.h"
#include "vectorstore/store.h"

#define HEADER_BYTES ((size_t)4096)
#define MAGIC "carrel-segment-1"
#define SAMPLE_A_LIST 64U
#define MAX_LISTS 4096U
#define ITERATIONS 10    /* of k-means: more change the lists little */
#define ASSIGN_ROWS 256U /* at once: FAISS is many times faster over a batch */
#define CHECK_ROWS 4096U /* rows between looks at cancelled */

struct header {
    char magic[16];
    uint32_t dimensions, lists;
    uint64_t n;
    uint8_t hash[SHA256_BYTES]; /* of everything after the header */
};

struct layout {
    size_t chunks, offsets, centroids, rows, size;
};

struct segment {
    unsigned char *map;
    size_t size;
    struct header h;
    const uint32_t *chunks;
    const uint64_t *offsets;
    const uint16_t *rows;
    FaissIndex *quantizer; /* NULL: one list */
    const struct dot *dot;
};

static size_t aligned(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* false when the numbers cannot be a file */
static bool lay_out(const struct header *h, struct layout *l)
{
    if (h->dimensions == 0 || h->dimensions > VECTOR_MAX_DIMENSIONS || h->lists == 0 ||
        h->lists > MAX_LISTS || h->n == 0 || h->n > UINT32_MAX) {
        return false;
    }
    size_t d = h->dimensions;
    size_t n = (size_t)h->n;
    l->chunks = HEADER_BYTES;
    l->offsets = l->chunks + aligned(n * sizeof(uint32_t));
    l->centroids = l->offsets + aligned(((size_t)h->lists + 1) * sizeof(uint64_t));
    l->rows = l->centroids + (h->lists == 1 ? 0 : aligned((size_t)h->lists * d * sizeof(float)));
    l->size = l->rows + n * d * sizeof(uint16_t);
    return true;
}

static enum status faiss_failed(struct error *err, const char *what)
{
    return error_set(err, STATUS_INTERNAL, "faiss: %s failed", what);
}

/* ---- reading ---- */

static enum status check_body(const struct segment *s, const char *path, struct error *err)
{
    uint8_t got[SHA256_BYTES];
    (void)madvise(s->map, s->size, MADV_SEQUENTIAL);
    sha256_of(s->map + HEADER_BYTES, s->size - HEADER_BYTES, got);
    (void)madvise(s->map, s->size, MADV_NORMAL);
    if (memcmp(got, s->h.hash, sizeof got) != 0) {
        return error_set(err, STATUS_CORRUPT, "%s: its checksum does not match", path);
    }
    for (uint32_t i = 0; i < s->h.lists; i++) {
        if (s->offsets[i] > s->offsets[i + 1]) {
            return error_set(err, STATUS_CORRUPT, "%s: its lists are out of order", path);
        }
    }
    if (s->offsets[0] != 0 || s->offsets[s->h.lists] != s->h.n) {
        return error_set(err, STATUS_CORRUPT, "%s: its lists do not cover it", path);
    }
    return STATUS_OK;
}

static enum status make_quantizer(const float *centroids, uint32_t lists, uint32_t d,
                                  FaissIndex **out, struct error *err)
{
    FaissIndexFlat *flat = NULL;
    if (faiss_IndexFlat_new_with(&flat, (idx_t)d, METRIC_L2) != 0) {
        return faiss_failed(err, "making a quantizer");
    }
    if (faiss_Index_add(flat, (idx_t)lists, centroids) != 0) {
        faiss_Index_free(flat);
        return faiss_failed(err, "filling a quantizer");
    }
    *out = flat;
    return STATUS_OK;
}

static enum status map_file(struct segment *s, const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0) {
        return error_errno(err, errno, "%s", path);
    }
    enum status status = STATUS_OK;
    if (fstat(fd, &st) != 0) {
        status = error_errno(err, errno, "%s", path);
    } else if (st.st_size < (off_t)HEADER_BYTES) {
        status = error_set(err, STATUS_CORRUPT, "%s: too short", path);
    } else {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) {
            status = error_errno(err, errno, "%s: mmap", path);
        } else {
            s->map = map;
            s->size = (size_t)st.st_size;
        }
    }
    (void)close(fd);
    return status;
}

enum status segment_open(const char *path, struct segment **out, struct error *err)
{
    struct segment *s = calloc(1, sizeof *s);
    struct layout l;
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    }
    s->dot = dot_choose();
    enum status st = map_file(s, path, err);
    if (st == STATUS_OK) {
        memcpy(&s->h, s->map, sizeof s->h);
        if (memcmp(s->h.magic, MAGIC, sizeof s->h.magic) != 0 || !lay_out(&s->h, &l) ||
            l.size != s->size) {
            st = error_set(err, STATUS_CORRUPT, "%s: is not a whole segment", path);
        }
    }
    if (st == STATUS_OK) {
        s->chunks = (const uint32_t *)(const void *)(s->map + l.chunks);
        s->offsets = (const uint64_t *)(const void *)(s->map + l.offsets);
        s->rows = (const uint16_t *)(const void *)(s->map + l.rows);
        st = check_body(s, path, err);
    }
    if (st == STATUS_OK && s->h.lists > 1) {
        st = make_quantizer((const float *)(const void *)(s->map + l.centroids), s->h.lists,
                            s->h.dimensions, &s->quantizer, err);
    }
    if (st != STATUS_OK) {
        segment_close(s);
        return st;
    }
    *out = s;
    return STATUS_OK;
}

void segment_close(struct segment *s)
{
    if (s == NULL) {
        return;
    }
    if (s->quantizer != NULL) {
        faiss_Index_free(s->quantizer);
    }
    if (s->map != NULL) {
        (void)munmap(s->map, s->size);
    }
    free(s);
}

uint64_t segment_count(const struct segment *s)
{
    return s->h.n;
}

uint32_t segment_dimensions(const struct segment *s)
{
    return s->h.dimensions;
}

static enum status scan(const struct segment *s, uint64_t from, uint64_t to, const float *q,
                        const struct visible *visible, const _Atomic bool *cancelled,
                        struct best *best, struct error *err)
{
    size_t d = s->h.dimensions;
    for (uint64_t i = from; i < to; i++) {
        if (i % CHECK_ROWS == 0 && cancelled != NULL && atomic_load(cancelled)) {
            return error_set(err, STATUS_CANCELLED, "the search was cancelled");
        }
        if (visible_has(visible, s->chunks[i])) {
            best_offer(best, s->chunks[i], s->dot->half(q, s->rows + i * d, d));
        }
    }
    return STATUS_OK;
}

enum status segment_search(const struct segment *s, const float *q, const struct visible *visible,
                           const _Atomic bool *cancelled, struct best *best, struct error *err)
{
    uint32_t probes = s->h.lists / 4;
    /* a narrow filter skips most rows unread: then every list is looked into */
    if (s->quantizer == NULL || visible->count < s->h.n / 4 || best->k >= s->h.n / 16) {
        return scan(s, 0, s->h.n, q, visible, cancelled, best, err);
    }
    idx_t *lists = calloc(s->h.lists, sizeof *lists);
    float *distances = calloc(s->h.lists, sizeof *distances);
    size_t before = best->n;
    enum status st = lists == NULL || distances == NULL
                         ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                         : STATUS_OK;
    if (st == STATUS_OK &&
        faiss_Index_search(s->quantizer, 1, q, (idx_t)s->h.lists, distances, lists) != 0) {
        st = faiss_failed(err, "looking for the nearest lists");
    }
    for (uint32_t i = 0; i < s->h.lists && st == STATUS_OK; i++) {
        if (i >= probes && (best->n == best->k || best->n - before >= visible->count)) {
            break;
        }
        if (lists[i] >= 0 && lists[i] < (idx_t)s->h.lists) {
            st = scan(s, s->offsets[lists[i]], s->offsets[lists[i] + 1], q, visible, cancelled,
                      best, err);
        }
    }
    free(lists);
    free(distances);
    return st;
}

/* ---- writing ---- */

struct writing {
    struct header h;
    struct layout l;
    unsigned char *map;
    /* first pass */
    float *sample;
    uint64_t seen, sampled, wanted;
    FaissIndex *quantizer;
    uint16_t *list_of; /* a row's list, in order of the catalogue */
    uint64_t *at;      /* where the next row of a list goes */
    float *rows;       /* waiting for their lists */
    uint64_t assigned;
};

static enum status check_row(const struct writing *w, struct str vector, struct error *err)
{
    if (vector.len != (size_t)w->h.dimensions * sizeof(uint16_t)) {
        return error_set(err, STATUS_CORRUPT, "store.db: a vector has the wrong length");
    }
    return w->seen < w->h.n ? STATUS_OK
                            : error_set(err, STATUS_CONFLICT, "the vectors changed meanwhile");
}

static void widen(const struct writing *w, struct str vector, float *out)
{
    for (size_t i = 0; i < w->h.dimensions; i++) {
        uint16_t h;
        memcpy(&h, vector.ptr + i * sizeof h, sizeof h);
        out[i] = half_to_float(h);
    }
}

static enum status take_sample(int64_t seq, chunk_no chunk, struct str vector, void *data,
                               struct error *err)
{
    (void)seq;
    (void)chunk;
    struct writing *w = data;
    enum status s = check_row(w, vector, err);
    if (s == STATUS_OK && w->sampled < w->wanted && w->seen * w->wanted / w->h.n >= w->sampled) {
        widen(w, vector, w->sample + w->sampled++ * w->h.dimensions);
    }
    w->seen++;
    return s;
}

static enum status assign_waiting(struct writing *w, struct error *err)
{
    idx_t lists[ASSIGN_ROWS];
    float distances[ASSIGN_ROWS];
    size_t n = (size_t)(w->seen - w->assigned);
    if (n > 0 && faiss_Index_search(w->quantizer, (idx_t)n, w->rows, 1, distances, lists) != 0) {
        return faiss_failed(err, "assigning vectors to lists");
    }
    for (size_t i = 0; i < n; i++) {
        idx_t list = lists[i] < 0 || lists[i] >= (idx_t)w->h.lists
                         ? 0
                         : lists[i]; /* none is nearest: any will do */
        w->list_of[w->assigned++] = (uint16_t)list;
        w->at[list]++;
    }
    return STATUS_OK;
}

static enum status assign(int64_t seq, chunk_no chunk, struct str vector, void *data,
                          struct error *err)
{
    (void)seq;
    (void)chunk;
    struct writing *w = data;
    enum status s = check_row(w, vector, err);
    if (s == STATUS_OK) {
        widen(w, vector, w->rows + (w->seen - w->assigned) * w->h.dimensions);
        w->seen++;
    }
    return s == STATUS_OK && w->seen - w->assigned == ASSIGN_ROWS ? assign_waiting(w, err) : s;
}

static enum status place(int64_t seq, chunk_no chunk, struct str vector, void *data,
                         struct error *err)
{
    (void)seq;
    struct writing *w = data;
    enum status s = check_row(w, vector, err);
    if (s == STATUS_OK) {
        uint64_t to = w->at[w->list_of == NULL ? 0 : w->list_of[w->seen]]++;
        memcpy(w->map + w->l.chunks + to * sizeof chunk, &chunk, sizeof chunk);
        memcpy(w->map + w->l.rows + to * vector.len, vector.ptr, vector.len);
        w->seen++;
    }
    return s;
}

/* Clusters the sample; the centroids become the quantizer. */
static enum status train(struct writing *w, struct error *err)
{
    FaissClusteringParameters params;
    FaissIndexFlat *flat = NULL;
    FaissClustering *clustering = NULL;
    float *centroids = NULL;
    size_t size = 0;
    enum status s = STATUS_OK;
    faiss_ClusteringParameters_init(&params);
    params.niter = ITERATIONS;
    params.min_points_per_centroid = 1; /* it says so on the output where there are fewer */
    if (faiss_IndexFlat_new_with(&flat, (idx_t)w->h.dimensions, METRIC_L2) != 0 ||
        faiss_Clustering_new_with_params(&clustering, (int)w->h.dimensions, (int)w->h.lists,
                                         &params) != 0) {
        s = faiss_failed(err, "making a clustering");
    } else if (faiss_Clustering_train(clustering, (idx_t)w->sampled, w->sample, flat) != 0) {
        s = faiss_failed(err, "clustering");
    } else {
        faiss_Clustering_centroids(clustering, &centroids, &size);
        if (size != (size_t)w->h.lists * w->h.dimensions) {
            s = faiss_failed(err, "clustering");
        } else {
            memcpy(w->map + w->l.centroids, centroids, size * sizeof *centroids);
        }
    }
    if (clustering != NULL) {
        faiss_Clustering_free(clustering);
    }
    if (s != STATUS_OK && flat != NULL) {
        faiss_Index_free(flat);
        flat = NULL;
    }
    w->quantizer = flat;
    return s;
}

static enum status cluster(struct writing *w, struct catalogue *c, const struct encoder *e,
                           int64_t after, int64_t until, struct error *err)
{
    size_t d = w->h.dimensions;
    w->wanted = (uint64_t)w->h.lists * SAMPLE_A_LIST;
    w->wanted = w->wanted > w->h.n ? w->h.n : w->wanted;
    w->sample = calloc((size_t)w->wanted, d * sizeof *w->sample);
    w->list_of = calloc((size_t)w->h.n, sizeof *w->list_of);
    w->rows = calloc(ASSIGN_ROWS, d * sizeof *w->rows);
    if (w->sample == NULL || w->list_of == NULL || w->rows == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
    }
    enum status s = catalogue_vectors_between(c, e->pk, after, until, take_sample, w, err);
    if (s == STATUS_OK) {
        s = train(w, err);
    }
    free(w->sample);
    w->sample = NULL;
    if (s == STATUS_OK) {
        w->seen = 0;
        s = catalogue_vectors_between(c, e->pk, after, until, assign, w, err);
    }
    return s == STATUS_OK ? assign_waiting(w, err) : s;
}

static enum status fill(struct writing *w, struct catalogue *c, const struct encoder *e,
                        int64_t after, int64_t until, struct error *err)
{
    enum status s = STATUS_OK;
    w->at = calloc((size_t)w->h.lists + 1, sizeof *w->at);
    if (w->at == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "sealing vectors: out of memory");
    }
    if (w->h.lists > 1) {
        s = cluster(w, c, e, after, until, err);
    } else {
        w->at[0] = w->h.n;
    }
    if (s != STATUS_OK) {
        return s;
    }
    uint64_t *offsets = (uint64_t *)(void *)(w->map + w->l.offsets);
    for (uint32_t i = 0; i < w->h.lists; i++) {
        offsets[i + 1] = offsets[i] + w->at[i];
        w->at[i] = offsets[i];
    }
    w->seen = 0;
    s = catalogue_vectors_between(c, e->pk, after, until, place, w, err);
    if (s == STATUS_OK && w->seen != w->h.n) {
        s = error_set(err, STATUS_CONFLICT, "the vectors changed meanwhile");
    }
    return s;
}

static void writing_free(struct writing *w)
{
    free(w->sample);
    free(w->list_of);
    free(w->at);
    free(w->rows);
    if (w->quantizer != NULL) {
        faiss_Index_free(w->quantizer);
    }
    if (w->map != NULL) {
        (void)munmap(w->map, w->l.size);
    }
}

uint32_t segment_lists(uint64_t n)
{
    if (n < STORE_INVERTED_VECTORS) {
        return 1;
    }
    double lists = sqrt((double)n);
    return lists > MAX_LISTS ? MAX_LISTS : (uint32_t)lists;
}

static enum status write_open(struct writing *w, int fd, const char *path, struct catalogue *c,
                              const struct encoder *e, int64_t after, int64_t until,
                              struct error *err)
{
    /* room is taken first: a full disk is an error here, not a fault in the mapping */
    int rc = posix_fallocate(fd, 0, (off_t)w->l.size);
    if (rc != 0) {
        return error_errno(err, rc, "%s", path);
    }
    void *map = mmap(NULL, w->l.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return error_errno(err, errno, "%s: mmap", path);
    }
    w->map = map;
    enum status s = fill(w, c, e, after, until, err);
    if (s == STATUS_OK) {
        sha256_of(w->map + HEADER_BYTES, w->l.size - HEADER_BYTES, w->h.hash);
        memcpy(w->map, &w->h, sizeof w->h);
        if (msync(w->map, w->l.size, MS_SYNC) != 0 || fsync(fd) != 0) {
            s = error_errno(err, errno, "%s: writing", path);
        }
    }
    return s;
}

enum status segment_write(const char *path, struct catalogue *c, const struct encoder *e,
                          int64_t after, int64_t until, uint64_t n, uint32_t lists,
                          struct error *err)
{
    struct writing w = {.h = {.dimensions = e->dimensions, .lists = lists, .n = n}};
    memcpy(w.h.magic, MAGIC, sizeof w.h.magic);
    char tmp[PATH_MAX];
    int len = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof tmp || !lay_out(&w.h, &w.l)) {
        return error_set(err, STATUS_INVALID, "%s: cannot be a segment", path);
    }
    int fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_errno(err, errno, "%s", tmp);
    }
    enum status s = write_open(&w, fd, tmp, c, e, after, until, err);
    writing_free(&w);
    (void)close(fd);
    if (s == STATUS_OK && rename(tmp, path) != 0) {
        s = error_errno(err, errno, "%s", path);
    }
    if (s != STATUS_OK) {
        (void)unlink(tmp);
        return s;
    }
    return file_sync_parent(path, err);
}
