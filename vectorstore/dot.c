#include "vectorstore/dot.h"

#include <string.h>

float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000U) << 16;
    uint32_t exponent = (h >> 10) & 0x1fU;
    uint32_t fraction = h & 0x3ffU;
    uint32_t bits;
    if (exponent == 0x1fU) {
        bits = sign | 0x7f800000U | fraction << 13;
    } else if (exponent != 0) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else { /* zero or subnormal: fraction * 2^-24, exact in float */
        float f = (float)fraction * 0x1p-24F;
        memcpy(&bits, &f, sizeof bits);
        bits |= sign;
    }
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t half_from_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000U;
    uint32_t rest = bits & 0x7fffffffU;
    if (rest > 0x7f800000U) {
        return (uint16_t)(sign | 0x7e00U); /* not a number */
    }
    if (rest >= 0x477ff000U) {
        return (uint16_t)(sign | 0x7c00U);
    }
    if (rest < 0x38800000U) { /* subnormal: add 0.5, whose unit is 2^-24, so that the bits round in
                                 place */
        float half = 0.5F;
        float magnitude;
        memcpy(&magnitude, &rest, sizeof magnitude);
        float sum = magnitude + half;
        uint32_t out;
        uint32_t base;
        memcpy(&out, &sum, sizeof out);
        memcpy(&base, &half, sizeof base);
        return (uint16_t)(sign | (out - base));
    }
    rest += 0xfffU + (rest >> 13 & 1U);
    return (uint16_t)(sign | ((rest - 0x38000000U) >> 13));
}

float dot_half_plain(const float *q, const uint16_t *row, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += q[i] * half_to_float(row[i]);
    }
    return sum;
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2,fma,f16c"))) static float dot_half_avx2(const float *q,
                                                                    const uint16_t *row, size_t n)
{
    __m256 a = _mm256_setzero_ps();
    __m256 b = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + i)));
        __m256 y = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + i + 8)));
        a = _mm256_fmadd_ps(_mm256_loadu_ps(q + i), x, a);
        b = _mm256_fmadd_ps(_mm256_loadu_ps(q + i + 8), y, b);
    }
    float lanes[8];
    _mm256_storeu_ps(lanes, _mm256_add_ps(a, b));
    float sum =
        lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
    return sum + dot_half_plain(q + i, row + i, n - i);
}

dot_half_fn dot_choose(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? dot_half_avx2
                                                                           : dot_half_plain;
}
#else
dot_half_fn dot_choose(void)
{
    return dot_half_plain;
}
#endif
