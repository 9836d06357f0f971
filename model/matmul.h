/* Matrices times activations with the packed weights, in chunks over a pool. A row's result does
 * not depend on how many rows are computed, nor on the threads. */
#ifndef CARREL_MODEL_MATMUL_H
#define CARREL_MODEL_MATMUL_H

#include "base/status.h"
#include "model/kernels.h"
#include "model/ops.h"
#include "model/pool.h"

struct matmul; /* the room for activations as the kernels read them */

struct matmul_room {
    uint32_t tokens, widest; /* vectors of up to so many floats */
    bool quantized, floats;  /* for matrices of these kinds */
};

/* kernels, pool: borrowed; pool NULL: none. */
enum status matmul_new(const struct kernels *kernels, struct pool *pool,
                       const struct matmul_room *room, struct matmul **out,
                       struct error *err) MUST_CHECK;
/* What it works in, but for a row of floats a thread. */
uint64_t matmul_bytes(const struct matmul_room *room);
void matmul_free(struct matmul *m); /* NULL is fine */

struct product {
    const struct matrix *w;
    const float *bias; /* NULL: none */
    float *y;          /* n x w->rows */
};

#define PRODUCTS_MAX 4U

/* y[t][r] = w[r] . x[t] + bias[r] for n vectors and up to PRODUCTS_MAX matrices of the same
 * columns. */
void matmul_run(struct matmul *m, const float *x, uint32_t n, const struct product *products,
                uint32_t n_products);

#endif
