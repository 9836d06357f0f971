/* Dot products of a query with stored rows: bytes for the scan, half floats (IEEE 754 binary16) for
 * scoring the best again. Rows lie one after another; no alignment is asked, no dimension is too
 * odd. Pure; any thread. */
#ifndef CARREL_VECTORSTORE_DOT_H
#define CARREL_VECTORSTORE_DOT_H

#include <stddef.h>
#include <stdint.h>

float half_to_float(uint16_t h);
uint16_t half_from_float(float f); /* nearest even; overflow becomes infinity */

#define DOT_BIAS 128 /* a stored code is 1..255 and stands for -127..127 */

struct dot {
    const char *name; /* "scalar", "avx2" or "avx512" */
    /* out[i] = sum over j < d of q[j] * (rows[i * d + j] - DOT_BIAS), exactly; d < 2^16. The bias
     * is in the rows because the byte instructions multiply an unsigned with a signed operand: the
     * correction is then one number a query. */
    void (*codes)(const int8_t *q, const uint8_t *rows, size_t d, size_t n, int32_t *out);
    /* sum of q[j] * row[j]; the order of summing differs between variants */
    float (*half)(const float *q, const uint16_t *row, size_t d);
};

/* The fastest that this processor has; the environment's CARREL_CPU names a lesser one. */
const struct dot *dot_choose(void);
/* NULL: no such variant, or the processor lacks it. */
const struct dot *dot_named(const char *name);

/* Codes and scale of a row: code - DOT_BIAS = row / scale, rounded; a row of zeros has scale 0. */
float dot_encode_half(const uint16_t *row, size_t d, uint8_t *codes);
/* The same of a query, without the bias. */
float dot_encode_query(const float *q, size_t d, int8_t *codes);

/* The variants beyond scalar; called only where the processor has them. */
#if defined(__x86_64__)
void dot_codes_avx2(const int8_t *q, const uint8_t *rows, size_t d, size_t n, int32_t *out);
float dot_half_avx2(const float *q, const uint16_t *row, size_t d);
void dot_codes_avx512(const int8_t *q, const uint8_t *rows, size_t d, size_t n, int32_t *out);
float dot_half_avx512(const float *q, const uint16_t *row, size_t d);
#endif

#endif
