/* FAISS's part: k-means and the nearest list of many rows at once, through its C API. Both run in
 * the calling thread only: OpenMP and OpenBLAS are told so where they are linked, or a sealing at
 * low priority would start helpers that take every core. */
#include <faiss/c_api/Clustering_c.h>
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <stdlib.h>
#include <string.h>

#include "vectorstore/dense_internal.h"

#define ITERATIONS 8 /* of k-means: more change the lists little */
#define ASSIGN_MAX 1024U

/* absent where FAISS was built without them */
extern void omp_set_num_threads(int n) __attribute__((weak));
extern void openblas_set_num_threads(int n) __attribute__((weak));

struct dense_quantizer {
    uint32_t lists;
    FaissIndex *flat; /* the centroids */
    FaissClustering *clustering;
    const float *centroids; /* the clustering's */
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

static enum status train(struct dense_quantizer *z, const float *sample, uint64_t n,
                         uint32_t dimensions, struct error *err)
{
    FaissClusteringParameters params;
    float *centroids = NULL;
    size_t size = 0;
    faiss_ClusteringParameters_init(&params);
    params.niter = ITERATIONS;
    params.min_points_per_centroid = 1; /* it says so on the output where there are fewer */
    FaissIndexFlat *flat = NULL;
    if (faiss_IndexFlat_new_with(&flat, (idx_t)dimensions, METRIC_L2) != 0) {
        return faiss_failed(err, "making a quantizer");
    }
    z->flat = flat;
    if (faiss_Clustering_new_with_params(&z->clustering, (int)dimensions, (int)z->lists, &params) !=
            0 ||
        faiss_Clustering_train(z->clustering, (idx_t)n, sample, z->flat) != 0) {
        return faiss_failed(err, "clustering");
    }
    faiss_Clustering_centroids(z->clustering, &centroids, &size);
    z->centroids = centroids;
    return size == (size_t)z->lists * dimensions ? STATUS_OK : faiss_failed(err, "clustering");
}

enum status dense_quantizer_train(const float *sample, uint64_t n, uint32_t dimensions,
                                  uint32_t lists, struct dense_quantizer **out, struct error *err)
{
    struct dense_quantizer *z = calloc(1, sizeof *z);
    if (z == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "clustering vectors: out of memory");
    }
    z->lists = lists;
    one_thread();
    enum status st = train(z, sample, n, dimensions, err);
    if (st != STATUS_OK) {
        dense_quantizer_free(z);
        return st;
    }
    *out = z;
    return STATUS_OK;
}

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
    if (z->clustering != NULL) {
        faiss_Clustering_free(z->clustering);
    }
    if (z->flat != NULL) {
        faiss_Index_free(z->flat);
    }
    free(z);
}
