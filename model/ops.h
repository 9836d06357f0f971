/* A matrix of a model, and its product with a few vectors (a reranker's head), plain and in a fixed
 * order: a result depends on its own inputs alone, so that it can be repeated bit for bit. What
 * runs in every pass is in kernels.h. Arrays are row-major floats; outputs do not alias inputs. */
#ifndef CARREL_MODEL_OPS_H
#define CARREL_MODEL_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "model/kernels.h"
#include "model/tensor.h"

/* A matrix as it lies in the file: `rows` outputs of `columns` inputs each. data NULL: absent. */
struct matrix {
    enum tensor_type type;
    const void *data;
    uint32_t columns, rows;
    size_t row_bytes;
    /* the same for the kernels (pack.h); PACK_NONE: not packed */
    enum pack_kind kind;
    const unsigned char *packed;
    size_t group_bytes;
};

/* Sum of a[i] b[i], sixteen partial sums and then a fixed tree. */
float op_dot(const float *a, const float *b, size_t n);
/* y[t][r] = w[r] . x[t] + bias[r] for n vectors; bias NULL: none. row: room for w->columns floats.
 */
void op_matmul(const struct matrix *w, const float *bias, const float *x, size_t n, float *y,
               float *row);

#endif
