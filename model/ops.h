/* The arithmetic of a forward pass, plain and in a fixed order: every result depends on its own
 * inputs alone, never on what else is computed beside it, so that answers can be repeated bit for
 * bit whatever the batch. Faster kernels are compared with these. All arrays are row-major floats;
 * outputs alias inputs only where said. */
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
/* y = x / rms(x) * weight (Zhang and Sennrich 2019); y may be x. */
void op_rms_norm(const float *x, const float *weight, size_t n, float epsilon, float *y);
/* y = (x - mean) / deviation * weight + bias; y may be x. */
void op_layer_norm(const float *x, const float *weight, const float *bias, size_t n, float epsilon,
                   float *y);
/* In place; the largest is taken off first. */
void op_softmax(float *x, size_t n);
/* gate = silu(gate) * up */
void op_swiglu(float *gate, const float *up, size_t n);
/* In place, by the error function (Hendrycks and Gimpel 2016). */
void op_gelu(float *x, size_t n);
/* Turns a head's pairs by their angles (Su et al. 2021): cosines and sines of n / 2 pairs. halves:
 * a pair is (i, i + n/2), as in GPT-NeoX; else (2i, 2i + 1). */
void op_rope(float *head, const float *cosines, const float *sines, size_t n, bool halves);

#endif
