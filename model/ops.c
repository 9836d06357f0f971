#include "model/ops.h"

#include "model/quant.h"

#define LANES 16

float op_dot(const float *a, const float *b, size_t n)
{
    float sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            sums[k] += a[i + k] * b[i + k];
        }
    }
    for (size_t k = 0; i < n; i++, k++) {
        sums[k] += a[i] * b[i];
    }
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t k = 0; k < width; k++) {
            sums[k] += sums[k + width];
        }
    }
    return sums[0];
}

void op_matmul(const struct matrix *w, const float *bias, const float *x, size_t n, float *y,
               float *row)
{
    const unsigned char *p = w->data;
    for (size_t r = 0; r < w->rows; r++, p += w->row_bytes) {
        quant_decode(w->type, p, w->columns, row);
        for (size_t t = 0; t < n; t++) {
            float sum = op_dot(row, x + t * w->columns, w->columns);
            y[t * w->rows + r] = bias == NULL ? sum : sum + bias[r];
        }
    }
}
