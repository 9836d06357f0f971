/* FAISS's part: the nearest list of many rows at once, through its C API, which is what k-means
 * spends its time on. The rounds around it are ours, a slice of the sample at a time, because
 * FAISS's own clustering cannot be stopped, nor stands back for searches, for as long as it takes:
 * seconds for a large segment. Runs in the calling thread only: OpenMP and OpenBLAS are told so
 * where they are linked, or a sealing at low priority would start helpers that take every core. */
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <stdlib.h>
#include <string.h>

#include "vectorstore/dense_internal.h"

#define ITERATIONS 8 /* of k-means: more change the lists little */
#define ASSIGN_MAX 1024U
#define SPLIT (1.0F / 1024) /* halves of a split list lie so far apart, as FAISS does it */

/* absent where FAISS was built without them */
extern void omp_set_num_threads(int n) __attribute__((weak));
extern void openblas_set_num_threads(int n) __attribute__((weak));

struct dense_quantizer {
    uint32_t lists;
    FaissIndex *flat; /* the centroids */
    float *centroids;
};

static enum status faiss_failed(struct error *err, const char *what)
{
    return error_set(err, STATUS_INTERNAL, "faiss: %s failed", what);
}

static void one_thread(void)
{
    if (omp_set_num_threads != NULL) {
        omp_set_num_threads(1); /* of this thread only */
    }
    if (openblas_set_num_threads != NULL) {
        openblas_set_num_threads(1);
    }
}

/* ---- k-means ---- */

struct training {
    const struct dense_training *t;
    struct dense_quantizer *z;
    size_t d;
    float *sums;
    uint32_t *sizes;
    uint64_t rng;
};

static uint32_t draw(struct training *k, uint64_t below)
{
    k->rng = k->rng * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((k->rng >> 33) % below);
}

/* Some of the sample, each once. */
static enum status first_centroids(struct training *k, struct error *err)
{
    const struct dense_training *t = k->t;
    uint32_t *rows = malloc(t->n * sizeof *rows);
    if (rows == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "clustering vectors: out of memory");
    }
    for (uint64_t i = 0; i < t->n; i++) {
        rows[i] = (uint32_t)i;
    }
    for (uint32_t i = 0; i < t->lists; i++) {
        uint64_t j = i + draw(k, t->n - i);
        uint32_t row = rows[j];
        rows[j] = rows[i];
        memcpy(k->z->centroids + i * k->d, t->sample + row * k->d, k->d * sizeof(float));
    }
    free(rows);
    return STATUS_OK;
}

static enum status show_centroids(struct dense_quantizer *z, struct error *err)
{
    return faiss_Index_reset(z->flat) == 0 &&
                   faiss_Index_add(z->flat, (idx_t)z->lists, z->centroids) == 0
               ? STATUS_OK
               : faiss_failed(err, "setting centroids");
}

/* An empty list takes half of a large one: the two start beside each other. */
static void split(struct training *k, uint32_t empty)
{
    uint32_t from = draw(k, k->t->lists);
    for (uint32_t i = 0; i < 64; i++) { /* the largest of a few */
        uint32_t other = draw(k, k->t->lists);
        from = k->sizes[other] > k->sizes[from] ? other : from;
    }
    float *a = k->z->centroids + from * k->d;
    float *b = k->z->centroids + empty * k->d;
    for (size_t i = 0; i < k->d; i++) {
        float at = a[i];
        a[i] = at * (i % 2 == 0 ? 1 + SPLIT : 1 - SPLIT);
        b[i] = at * (i % 2 == 0 ? 1 - SPLIT : 1 + SPLIT);
    }
    k->sizes[empty] = k->sizes[from] / 2;
    k->sizes[from] -= k->sizes[empty];
}

static void move_centroids(struct training *k)
{
    for (uint32_t i = 0; i < k->t->lists; i++) {
        for (size_t j = 0; j < k->d && k->sizes[i] > 0; j++) {
            k->z->centroids[i * k->d + j] = k->sums[i * k->d + j] / (float)k->sizes[i];
        }
    }
    for (uint32_t i = 0; i < k->t->lists; i++) {
        if (k->sizes[i] == 0) {
            split(k, i);
        }
    }
}

static enum status one_round(struct training *k, struct error *err)
{
    const struct dense_training *t = k->t;
    uint16_t lists[ASSIGN_MAX];
    enum status s = show_centroids(k->z, err);
    memset(k->sums, 0, t->lists * k->d * sizeof *k->sums);
    memset(k->sizes, 0, t->lists * sizeof *k->sizes);
    for (uint64_t at = 0; at < t->n && s == STATUS_OK; at += ASSIGN_MAX) {
        size_t n = t->n - at < ASSIGN_MAX ? (size_t)(t->n - at) : ASSIGN_MAX;
        s = dense_quantizer_assign(k->z, t->sample + at * k->d, n, lists, err);
        for (size_t i = 0; i < n && s == STATUS_OK; i++) {
            const float *row = t->sample + (at + i) * k->d;
            float *sum = k->sums + lists[i] * k->d;
            for (size_t j = 0; j < k->d; j++) {
                sum[j] += row[j];
            }
            k->sizes[lists[i]]++;
        }
        if (s == STATUS_OK) {
            s = t->pause(t->pause_data, err);
        }
    }
    if (s == STATUS_OK) {
        move_centroids(k);
    }
    return s;
}

static enum status train(struct dense_quantizer *z, const struct dense_training *t,
                         struct error *err)
{
    FaissIndexFlat *flat = NULL;
    size_t values = (size_t)t->lists * t->dimensions;
    struct training k = {.t = t,
                         .z = z,
                         .d = t->dimensions,
                         .sums = malloc(values * sizeof *k.sums),
                         .sizes = malloc(t->lists * sizeof *k.sizes),
                         .rng = 1234};
    z->centroids = malloc(values * sizeof *z->centroids);
    enum status s = STATUS_OK;
    if (k.sums == NULL || k.sizes == NULL || z->centroids == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "clustering vectors: out of memory");
    } else if (faiss_IndexFlat_new_with(&flat, (idx_t)t->dimensions, METRIC_L2) != 0) {
        s = faiss_failed(err, "making a quantizer");
    }
    z->flat = flat;
    if (s == STATUS_OK) {
        s = first_centroids(&k, err);
    }
    for (int i = 0; i < ITERATIONS && s == STATUS_OK; i++) {
        s = one_round(&k, err);
    }
    if (s == STATUS_OK) {
        s = show_centroids(z, err);
    }
    free(k.sums);
    free(k.sizes);
    return s;
}

enum status dense_quantizer_train(const struct dense_training *t, struct dense_quantizer **out,
                                  struct error *err)
{
    if (t->n < t->lists || t->n > UINT32_MAX || t->lists == 0 || t->lists > DENSE_LISTS_MAX) {
        return error_set(err, STATUS_INVALID, "clustering %llu vectors into %u lists",
                         (unsigned long long)t->n, t->lists);
    }
    struct dense_quantizer *z = calloc(1, sizeof *z);
    if (z == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "clustering vectors: out of memory");
    }
    z->lists = t->lists;
    one_thread();
    enum status st = train(z, t, err);
    if (st != STATUS_OK) {
        dense_quantizer_free(z);
        return st;
    }
    *out = z;
    return STATUS_OK;
}

/* ---- assigning ---- */

enum status dense_quantizer_assign(const struct dense_quantizer *z, const float *rows, size_t n,
                                   uint16_t *lists, struct error *err)
{
    idx_t found[ASSIGN_MAX];
    float distances[ASSIGN_MAX];
    if (n > ASSIGN_MAX) {
        return error_set(err, STATUS_INTERNAL, "assigning %zu vectors at once", n);
    }
    one_thread();
    if (n > 0 && faiss_Index_search(z->flat, (idx_t)n, rows, 1, distances, found) != 0) {
        return faiss_failed(err, "assigning vectors to lists");
    }
    for (size_t i = 0; i < n; i++) { /* where none is nearest any will do */
        lists[i] = found[i] < 0 || found[i] >= (idx_t)z->lists ? 0 : (uint16_t)found[i];
    }
    return STATUS_OK;
}

const float *dense_quantizer_centroids(const struct dense_quantizer *z)
{
    return z->centroids;
}

void dense_quantizer_free(struct dense_quantizer *z)
{
    if (z == NULL) {
        return;
    }
    if (z->flat != NULL) {
        faiss_Index_free(z->flat);
    }
    free(z->centroids);
    free(z);
}
