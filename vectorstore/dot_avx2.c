/* 256 bit: the byte instruction of AVX2 saturates at 16 bit, but not over magnitudes of at most
 * 127: the query's sign is moved to the row first. One row after another: from memory that is
 * faster than four at once, whose four streams the prefetcher follows less well. */
#include "vectorstore/dot.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))

AVX2 static inline int32_t add_lanes(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/* 32 bytes of which n count, the others as given */
AVX2 static inline __m256i load_some(const void *p, size_t n, int fill)
{
    uint8_t room[32];
    memset(room, fill, sizeof room);
    memcpy(room, p, n);
    return _mm256_loadu_si256((const __m256i *)(const void *)room);
}

AVX2 static inline __m256i add_products(__m256i sum, __m256i q, __m256i row)
{
    const __m256i bias = _mm256_set1_epi8((char)DOT_BIAS);
    __m256i signed_row = _mm256_sign_epi8(_mm256_xor_si256(row, bias), q);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), signed_row);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

AVX2 void dot_codes_avx2(const int8_t *q, const uint8_t *rows, size_t d, size_t n, int32_t *out)
{
    size_t whole = d - d % 32;
    __m256i last = load_some(q + whole, d - whole, 0);
    for (size_t r = 0; r < n; r++, rows += d) {
        __m256i sum = _mm256_setzero_si256();
        for (size_t i = 0; i < whole; i += 32) {
            sum = add_products(sum, _mm256_loadu_si256((const __m256i *)(const void *)(q + i)),
                               _mm256_loadu_si256((const __m256i *)(const void *)(rows + i)));
        }
        if (whole < d) {
            sum = add_products(sum, last, load_some(rows + whole, d - whole, DOT_BIAS));
        }
        out[r] = add_lanes(sum);
    }
}

AVX2 float dot_half_avx2(const float *q, const uint16_t *row, size_t d)
{
    __m256 a = _mm256_setzero_ps();
    __m256 b = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= d; i += 16) {
        __m256 x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + i)));
        __m256 y = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + i + 8)));
        a = _mm256_fmadd_ps(_mm256_loadu_ps(q + i), x, a);
        b = _mm256_fmadd_ps(_mm256_loadu_ps(q + i + 8), y, b);
    }
    float lanes[8];
    _mm256_storeu_ps(lanes, _mm256_add_ps(a, b));
    float sum =
        lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
    for (; i < d; i++) {
        sum += q[i] * half_to_float(row[i]);
    }
    return sum;
}
#endif
