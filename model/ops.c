#include "model/ops.h"

#include <math.h>

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

void op_rms_norm(const float *x, const float *weight, size_t n, float epsilon, float *y)
{
    float scale = 1.0F / sqrtf(op_dot(x, x, n) / (float)n + epsilon);
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * scale * weight[i];
    }
}

void op_layer_norm(const float *x, const float *weight, const float *bias, size_t n, float epsilon,
                   float *y)
{
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    float mean = (float)(sum / (double)n);
    for (size_t i = 0; i < n; i++) {
        double d = (double)(x[i] - mean);
        squares += d * d;
    }
    float scale = 1.0F / sqrtf((float)(squares / (double)n) + epsilon);
    for (size_t i = 0; i < n; i++) {
        y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    }
}

void op_softmax(float *x, size_t n)
{
    float most = -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        most = x[i] > most ? x[i] : most;
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - most);
        sum += (double)x[i];
    }
    float scale = (float)(1 / sum);
    for (size_t i = 0; i < n; i++) {
        x[i] *= scale;
    }
}

void op_swiglu(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gate[i] = gate[i] / (1.0F + expf(-gate[i])) * up[i];
    }
}

void op_gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.5F * x[i] * (1.0F + erff(x[i] * 0.70710678118654752F));
    }
}

void op_rope(float *head, const float *cosines, const float *sines, size_t n, bool halves)
{
    size_t pairs = n / 2;
    for (size_t i = 0; i < pairs; i++) {
        float *a = halves ? head + i : head + 2 * i;
        float *b = halves ? a + pairs : a + 1;
        float x = *a;
        float y = *b;
        *a = x * cosines[i] - y * sines[i];
        *b = x * sines[i] + y * cosines[i];
    }
}
