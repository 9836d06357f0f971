/* AVX-512 with VNNI. */
#include <immintrin.h>

typedef __m512 V;
typedef __m512i I;
typedef __m512i B;
#define INNER 8U
#define KERNELS_NAME "avx512"
#define KERNELS_TABLE kernels_avx512
#define OP static inline __attribute__((always_inline))

OP V v_zero(void)
{
    return _mm512_setzero_ps();
}
OP V v_set1(float x)
{
    return _mm512_set1_ps(x);
}
OP V v_load(const void *p)
{
    return _mm512_loadu_ps(p);
}
OP void v_store(float *p, V x)
{
    _mm512_storeu_ps(p, x);
}
OP V v_load_some(const float *p, unsigned long n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p);
}
OP void v_store_some(float *p, V x, unsigned long n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1U << n) - 1), x);
}
OP V v_load_half(const unsigned char *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
OP V v_load_bf16(const unsigned char *p)
{
    __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
OP V v_load_u8(const unsigned char *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b));
}
OP V v_load_s8(const unsigned char *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b));
}
OP V v_fma(V a, V b, V c)
{
    return _mm512_fmadd_ps(a, b, c);
}
OP V v_fnma(V a, V b, V c)
{
    return _mm512_fnmadd_ps(a, b, c);
}
OP V v_mul(V a, V b)
{
    return _mm512_mul_ps(a, b);
}
OP V v_div(V a, V b)
{
    return _mm512_div_ps(a, b);
}
OP V v_add(V a, V b)
{
    return _mm512_add_ps(a, b);
}
OP V v_sub(V a, V b)
{
    return _mm512_sub_ps(a, b);
}
OP V v_max(V a, V b)
{
    return _mm512_max_ps(a, b);
}
OP V v_min(V a, V b)
{
    return _mm512_min_ps(a, b);
}
OP V v_abs(V a)
{
    return _mm512_abs_ps(a);
}
OP V v_neg(V a)
{
    return _mm512_xor_ps(a, _mm512_set1_ps(-0.0F));
}
/* 2^n for whole n of -127 to 127; 0 at -127 */
OP V v_power2(V n)
{
    __m512i e = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}
/* lanes from n on become `other` */
OP V v_first(V a, unsigned n, float other)
{
    return _mm512_mask_blend_ps((__mmask16)((1U << n) - 1), _mm512_set1_ps(other), a);
}
/* lanes below n become `other` */
OP V v_from(V a, unsigned n, float other)
{
    return _mm512_mask_blend_ps((__mmask16)(0xFFFFU << n), _mm512_set1_ps(other), a);
}
OP float v_sum(V a)
{
    __m256 x = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
}
OP float v_largest(V a)
{
    __m256 x = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
}
/* lane t: the largest of x[t] */
OP V v_largest_of(const V x[8])
{
    V a[4];
    V b[2];
    for (int i = 0; i < 4; i++) { /* halves of x[i] and x[i + 4] */
        a[i] = _mm512_max_ps(_mm512_shuffle_f32x4(x[i], x[i + 4], 0x44),
                             _mm512_shuffle_f32x4(x[i], x[i + 4], 0xEE));
    }
    for (int i = 0; i < 2; i++) { /* quarters: of 2 i, 2 i + 4, 2 i + 1, 2 i + 5 */
        b[i] = _mm512_max_ps(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xDD));
    }
    V c = _mm512_max_ps(_mm512_shuffle_ps(b[0], b[1], 0x44), _mm512_shuffle_ps(b[0], b[1], 0xEE));
    V d = _mm512_max_ps(_mm512_shuffle_ps(c, c, 0x88), _mm512_shuffle_ps(c, c, 0xDD));
    const I order = _mm512_setr_epi32(0, 8, 1, 9, 4, 12, 5, 13, 0, 8, 1, 9, 4, 12, 5, 13);
    return _mm512_permutexvar_ps(order, d);
}
OP V v_from_i(I a)
{
    return _mm512_cvtepi32_ps(a);
}
OP I i_zero(void)
{
    return _mm512_setzero_si512();
}
OP I i_set1(int a)
{
    return _mm512_set1_epi32(a);
}
OP I i_shift_left(I a, unsigned n)
{
    return _mm512_slli_epi32(a, n);
}
OP I i_round(V a)
{
    return _mm512_cvtps_epi32(a);
}
OP int i_sum(I a)
{
    return _mm512_reduce_add_epi32(a);
}
OP void i_store_bytes(signed char *p, I a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a));
}
/* codes up to 63 */
OP I i_dot(I sum, B codes, int a)
{
    return _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(a));
}
OP I i_dot_lanes(I sum, B codes, I a)
{
    return _mm512_dpbusd_epi32(sum, codes, a);
}
OP I i_shift_right(I a, unsigned n)
{
    return _mm512_srli_epi32(a, n);
}
/* codes that are 128 too large: the start makes up for it */
OP I i_start_wide(int minus)
{
    return _mm512_slli_epi32(_mm512_set1_epi32(minus), 7);
}
OP I i_dot_wide(I sum, B codes, int a)
{
    return _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(a));
}
OP B b_load(const unsigned char *p)
{
    return _mm512_loadu_si512(p);
}
OP B b_and(B a, int mask)
{
    return _mm512_and_si512(a, _mm512_set1_epi8((char)mask));
}
OP B b_or(B a, B b)
{
    return _mm512_or_si512(a, b);
}
OP B b_shift_right(B a, unsigned n)
{
    return _mm512_srli_epi32(a, n);
}
OP B b_shift_left(B a, unsigned n)
{
    return _mm512_slli_epi32(a, n);
}
/* adds x to the bytes whose bit is set in the 64 at mask */
OP B b_add_masked(B a, const unsigned char *mask, int x)
{
    unsigned long long m;
    __builtin_memcpy(&m, mask, sizeof m);
    return _mm512_mask_add_epi8(a, m, a, _mm512_set1_epi8((char)x));
}
/* IQ4's sixteen values, 128 too large */
OP B b_iq4(B codes)
{
    const __m128i t =
        _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, (char)129, (char)141, (char)153, (char)166,
                      (char)181, (char)197, (char)217, (char)241);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), codes);
}

#include "model/cpu_body.h"
