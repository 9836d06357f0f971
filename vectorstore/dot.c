#include "vectorstore/dot.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
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

static float half_scalar(const float *q, const uint16_t *row, size_t d)
{
    float sum = 0;
    for (size_t i = 0; i < d; i++) {
        sum += q[i] * half_to_float(row[i]);
    }
    return sum;
}

static void codes_scalar(const int8_t *q, const uint8_t *rows, size_t d, size_t n, int32_t *out)
{
    for (size_t i = 0; i < n; i++, rows += d) {
        int32_t sum = 0;
        for (size_t j = 0; j < d; j++) {
            sum += (int32_t)q[j] * ((int32_t)rows[j] - DOT_BIAS);
        }
        out[i] = sum;
    }
}

static const struct dot scalar = {.name = "scalar", .codes = codes_scalar, .half = half_scalar};

#if defined(__x86_64__)
static const struct dot avx2 = {.name = "avx2", .codes = dot_codes_avx2, .half = dot_half_avx2};
static const struct dot avx512 = {
    .name = "avx512", .codes = dot_codes_avx512, .half = dot_half_avx512};

/* gcc's own check of cpuid, which also asks whether the system saves the registers (XGETBV) */
static bool has_avx2(void)
{
    __builtin_cpu_init();
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    /* clang 14 knows no "f16c"; AVX2 says that the registers are saved */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

const struct dot *dot_named(const char *name)
{
    if (strcmp(name, avx512.name) == 0 && has_avx512()) {
        return &avx512;
    }
    if (strcmp(name, avx2.name) == 0 && has_avx2()) {
        return &avx2;
    }
    return strcmp(name, scalar.name) == 0 ? &scalar : NULL;
}
#else
const struct dot *dot_named(const char *name)
{
    return strcmp(name, scalar.name) == 0 ? &scalar : NULL;
}
#endif

const struct dot *dot_choose(void)
{
    static const char *const best_first[] = {"avx512", "avx2"};
    const char *forced = getenv("CARREL_CPU");
    const struct dot *found = forced == NULL ? NULL : dot_named(forced);
    for (size_t i = 0; found == NULL && i < sizeof best_first / sizeof best_first[0]; i++) {
        found = dot_named(best_first[i]);
    }
    return found == NULL ? &scalar : found;
}

static int code_of(float x)
{
    float r = rintf(x);
    return r > 127 ? 127 : r < -127 ? -127 : (int)r;
}

float dot_encode_half(const uint16_t *row, size_t d, uint8_t *codes)
{
    float most = 0;
    for (size_t i = 0; i < d; i++) {
        most = fmaxf(most, fabsf(half_to_float(row[i])));
    }
    float up = most > 0 ? 127 / most : 0;
    for (size_t i = 0; i < d; i++) {
        codes[i] = (uint8_t)(code_of(half_to_float(row[i]) * up) + DOT_BIAS);
    }
    return most / 127;
}

float dot_encode_query(const float *q, size_t d, int8_t *codes)
{
    float most = 0;
    for (size_t i = 0; i < d; i++) {
        most = fmaxf(most, fabsf(q[i]));
    }
    float up = most > 0 ? 127 / most : 0;
    for (size_t i = 0; i < d; i++) {
        codes[i] = (int8_t)code_of(q[i] * up);
    }
    return most / 127;
}
