/* IEEE 754 half precision: how fits, vectors and many models are stored. */
#ifndef CARREL_BASE_HALF_H
#define CARREL_BASE_HALF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Every finite half is exact as a float; infinities and NaN come out as large finite numbers (check
 * with half_finite where input is not trusted). */
static inline float half_to_float(uint16_t h)
{
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13;
    float f;
    memcpy(&f, &bits, sizeof f);
    f *= 0x1p112F; /* moves the exponent's bias from 15 to 127, denormals included */
    return (h & 0x8000) != 0 ? -f : f;
}

static inline bool half_finite(uint16_t h)
{
    return (h & 0x7c00) != 0x7c00;
}

/* Nearest, ties to even; too large becomes the largest finite half, NaN becomes 0. */
static inline uint16_t half_from_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) {
        return 0;
    }
    if (bits >= 0x477ff000) { /* rounds to 65520 or more */
        return (uint16_t)(sign | 0x7bff);
    }
    if (bits < 0x38800000) { /* below the smallest normal half: in units of 2^-24 */
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        float units = magnitude * 0x1p24F;
        uint32_t whole = (uint32_t)units;
        float rest = units - (float)whole;
        whole += rest > .5F || (rest >= .5F && (whole & 1) != 0);
        return (uint16_t)(sign | whole);
    }
    uint32_t rounded = bits + 0xfff + (bits >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

/* n little-endian halves into out[2n], as vectors travel and are stored. */
static inline void half_encode(const float *in, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = half_from_float(in[i]);
        out[2 * i] = (uint8_t)(h & 0xff);
        out[2 * i + 1] = (uint8_t)(h >> 8);
    }
}

#endif
