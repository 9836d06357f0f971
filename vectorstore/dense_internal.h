/* What the files of a vector segment share. */
#ifndef CARREL_VECTORSTORE_DENSE_INTERNAL_H
#define CARREL_VECTORSTORE_DENSE_INTERNAL_H

#include "vectorstore/dense.h"

#define DENSE_KIND "vectors"
#define DENSE_VERSION 2U
#define DENSE_LISTS_MAX 4096U

/* Sections of the file. Numbers are native; rows are in list order. */
#define DENSE_META "meta"           /* struct dense_meta */
#define DENSE_CHUNKS "chunks"       /* chunk_no, n */
#define DENSE_SCALES "scales"       /* float, n: a code times its scale is the value */
#define DENSE_CODES "codes"         /* bytes, n x dimensions (dot.h) */
#define DENSE_ROWS "rows"           /* fp16, n x dimensions */
#define DENSE_OFFSETS "offsets"     /* uint64_t, lists + 1: where each list starts */
#define DENSE_CENTROIDS "centroids" /* fp16, lists x dimensions; empty with one list */

struct dense_meta {
    uint32_t dimensions, lists;
    uint64_t n;
    uint32_t probes[3]; /* lists to look into for the best 10, 100 and 1000 */
    uint32_t unused;
};

/* The lists nearest to a query, nearest first: a heap that gives one at a time. */
struct nearest {
    float *score; /* of each list */
    uint16_t *heap;
    uint32_t n;
};

/* halves: half the squared length of each centroid. Owned: nearest_free. */
enum status nearest_make(struct nearest *l, const struct dot *dot, const float *unit,
                         const uint16_t *centroids, const float *halves, uint32_t lists,
                         uint32_t dimensions, struct error *err) MUST_CHECK;
uint32_t nearest_next(struct nearest *l); /* n > 0 */
void nearest_free(struct nearest *l);
/* Room for `lists` halves. */
void nearest_halves(const uint16_t *centroids, uint32_t lists, uint32_t dimensions, float *halves);

void candidates_offer(struct candidates *c, struct candidate x);

/* ---- dense_lists.c: FAISS ---- */

struct dense_quantizer;
struct dense_training {
    const float *sample; /* n x dimensions */
    uint64_t n;          /* at least lists, at most UINT32_MAX */
    uint32_t dimensions, lists;
    enum status (*pause)(void *data, struct error *err); /* every few ten milliseconds; ends it */
    void *pause_data;
};
/* k-means. Owned: dense_quantizer_free. One thread, no others. */
enum status dense_quantizer_train(const struct dense_training *t, struct dense_quantizer **out,
                                  struct error *err) MUST_CHECK;
/* The nearest list of each of n rows. */
enum status dense_quantizer_assign(const struct dense_quantizer *z, const float *rows, size_t n,
                                   uint16_t *lists, struct error *err) MUST_CHECK;
const float *dense_quantizer_centroids(const struct dense_quantizer *z); /* lists x dimensions */
void dense_quantizer_free(struct dense_quantizer *z);                    /* NULL is fine */

/* ---- dense_calibrate.c ---- */

/* A segment being written: codes and scales of all rows, in list order. */
struct calibrating {
    struct dense_meta *meta; /* gets its probes */
    const uint8_t *codes;
    const float *scales;
    const uint64_t *offsets;
    const uint16_t *centroids;
    /* row number `at`, as fp16 */
    enum status (*row)(void *data, uint64_t at, uint16_t *out, struct error *err);
    void *data;
    enum status (*pause)(void *data, struct error *err);
    void *pause_data;
};
/* Asks questions of the segment's own kind and finds how many lists hold enough of the true best.
 */
enum status dense_calibrate(const struct calibrating *c, struct error *err) MUST_CHECK;

#endif
