/* 512 bit with VNNI: one instruction multiplies 64 unsigned bytes with 64 signed ones and adds them
 * by fours into 32 bit, without saturating. One row after another: from memory that is faster than
 * four at once (docs/decisions/vectors.md); only their last sums are added together. */
#include "vectorstore/dot.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define ROWS 4U

/* Sixteen lanes to four; four vectors to their four sums. */
AVX512 static inline __m128i fold(__m512i v)
{
    __m256i w = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}

AVX512 static inline __m128i fold_four(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m128i w = fold(a);
    __m128i x = fold(b);
    __m128i y = fold(c);
    __m128i z = fold(d);
    __m128i wx = _mm_add_epi32(_mm_unpacklo_epi32(w, x), _mm_unpackhi_epi32(w, x));
    __m128i yz = _mm_add_epi32(_mm_unpacklo_epi32(y, z), _mm_unpackhi_epi32(y, z));
    return _mm_add_epi32(_mm_unpacklo_epi64(wx, yz), _mm_unpackhi_epi64(wx, yz));
}

AVX512 static inline __m512i one_row(const int8_t *q, const uint8_t *row, size_t whole,
                                     __mmask64 some)
{
    __m512i a = _mm512_setzero_si512();
    __m512i b = a;
    size_t i = 0;
    for (; i + 128 <= whole; i += 128) {
        a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(row + i), _mm512_loadu_si512(q + i));
        b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(row + i + 64),
                                _mm512_loadu_si512(q + i + 64));
    }
    if (i < whole) {
        a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(row + i), _mm512_loadu_si512(q + i));
    }
    b = _mm512_dpbusd_epi32(b, _mm512_maskz_loadu_epi8(some, row + whole),
                            _mm512_maskz_loadu_epi8(some, q + whole));
    return _mm512_add_epi32(a, b);
}

AVX512 void dot_codes_avx512(const int8_t *q, const uint8_t *rows, size_t d, size_t n, int32_t *out)
{
    const __m512i ones = _mm512_set1_epi8(1);
    __mmask64 some = d % 64 == 0 ? 0 : ~(__mmask64)0 >> (64 - d % 64);
    size_t whole = d - d % 64;
    __m512i query = _mm512_setzero_si512(); /* sums of q: what the bias adds to every row */
    for (size_t i = 0; i < whole; i += 64) {
        query = _mm512_dpbusd_epi32(query, ones, _mm512_loadu_si512(q + i));
    }
    query = _mm512_dpbusd_epi32(query, ones, _mm512_maskz_loadu_epi8(some, q + whole));
    int32_t bias = DOT_BIAS * _mm512_reduce_add_epi32(query);
    size_t r = 0;
    for (; r + ROWS <= n; r += ROWS) {
        __m512i sums4[ROWS];
        for (size_t k = 0; k < ROWS; k++) {
            sums4[k] = one_row(q, rows + (r + k) * d, whole, some);
        }
        __m128i sums =
            _mm_sub_epi32(fold_four(sums4[0], sums4[1], sums4[2], sums4[3]), _mm_set1_epi32(bias));
        _mm_storeu_si128((__m128i *)(void *)(out + r), sums);
    }
    for (; r < n; r++) {
        out[r] = _mm512_reduce_add_epi32(one_row(q, rows + r * d, whole, some)) - bias;
    }
}

AVX512 float dot_half_avx512(const float *q, const uint16_t *row, size_t d)
{
    __m512 a = _mm512_setzero_ps();
    __m512 b = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 32 <= d; i += 32) {
        __m512 x = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(row + i)));
        __m512 y =
            _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(row + i + 16)));
        a = _mm512_fmadd_ps(_mm512_loadu_ps(q + i), x, a);
        b = _mm512_fmadd_ps(_mm512_loadu_ps(q + i + 16), y, b);
    }
    for (; i < d; i += 16) {
        __mmask16 some = (__mmask16)(d - i >= 16 ? 0xffffU : (1U << (d - i)) - 1U);
        __m512 x = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(some, row + i));
        a = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, q + i), x, a);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
}
#endif
