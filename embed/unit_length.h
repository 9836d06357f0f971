/* Vectors of length 1, whose cosine is their product. */
#ifndef CARREL_EMBED_UNIT_LENGTH_H
#define CARREL_EMBED_UNIT_LENGTH_H

#include <math.h>
#include <stddef.h>

/* All zeros stay zeros. */
static inline void unit_length(float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i] * (double)v[i];
    }
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (size_t i = 0; i < n; i++) {
        v[i] *= scale;
    }
}

#endif
