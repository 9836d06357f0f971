/* AVX2, FMA and F16C: sixteen lanes are two registers. */
#include <immintrin.h>

typedef struct {
    __m256 a, b;
} V;
typedef struct {
    __m256i a, b;
} I;
typedef I B;
#define INNER 2U
#define KERNELS_NAME "avx2"
#define KERNELS_TABLE kernels_avx2
#define OP static inline __attribute__((always_inline))

OP V v_set1(float x)
{
    return (V){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
OP V v_zero(void)
{
    return (V){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
OP V v_load(const void *p)
{
    return (V){_mm256_loadu_ps(p), _mm256_loadu_ps((const float *)p + 8)};
}
OP void v_store(float *p, V x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
OP V v_load_some(const float *p, unsigned long n)
{
    float some[16] = {0};
    __builtin_memcpy(some, p, n * sizeof *p);
    return v_load(some);
}
OP void v_store_some(float *p, V x, unsigned long n)
{
    float some[16];
    v_store(some, x);
    __builtin_memcpy(p, some, n * sizeof *p);
}
OP __m128i load128(const unsigned char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
OP V v_load_half(const unsigned char *p)
{
    return (V){_mm256_cvtph_ps(load128(p)), _mm256_cvtph_ps(load128(p + 16))};
}
OP __m256 from_bf16(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
OP V v_load_bf16(const unsigned char *p)
{
    return (V){from_bf16(load128(p)), from_bf16(load128(p + 16))};
}
OP V v_load_u8(const unsigned char *p)
{
    __m128i b = load128(p);
    return (V){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)),
               _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8)))};
}
OP V v_load_s8(const unsigned char *p)
{
    __m128i b = load128(p);
    return (V){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)),
               _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8)))};
}
OP V v_fma(V x, V y, V z)
{
    return (V){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
OP V v_fnma(V x, V y, V z)
{
    return (V){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
OP V v_mul(V x, V y)
{
    return (V){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
OP V v_div(V x, V y)
{
    return (V){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
OP V v_add(V x, V y)
{
    return (V){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
OP V v_sub(V x, V y)
{
    return (V){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
OP V v_max(V x, V y)
{
    return (V){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
OP V v_min(V x, V y)
{
    return (V){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
OP V v_neg(V x)
{
    __m256 sign = _mm256_set1_ps(-0.0F);
    return (V){_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign)};
}
OP V v_abs(V x)
{
    __m256 sign = _mm256_set1_ps(-0.0F);
    return (V){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
OP __m256 power2(__m256 n)
{
    __m256i e = _mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
/* 2^n for whole n of -127 to 127; 0 at -127 */
OP V v_power2(V n)
{
    return (V){power2(n.a), power2(n.b)};
}
/* lanes from n on become `other` */
OP V v_first(V x, unsigned n, float other)
{
    __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lanes);
    __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - 8), lanes);
    __m256 o = _mm256_set1_ps(other);
    return (V){_mm256_blendv_ps(o, x.a, _mm256_castsi256_ps(low)),
               _mm256_blendv_ps(o, x.b, _mm256_castsi256_ps(high))};
}
/* lanes below n become `other` */
OP V v_from(V x, unsigned n, float other)
{
    __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lanes);
    __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - 8), lanes);
    __m256 o = _mm256_set1_ps(other);
    return (V){_mm256_blendv_ps(x.a, o, _mm256_castsi256_ps(low)),
               _mm256_blendv_ps(x.b, o, _mm256_castsi256_ps(high))};
}
OP float v_sum(V v)
{
    __m256 x = _mm256_add_ps(v.a, v.b);
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
}
OP float v_largest(V v)
{
    __m256 x = _mm256_max_ps(v.a, v.b);
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
}
/* lane t: the largest of x[t] */
OP V v_largest_of(const V x[8])
{
    float most[8];
    for (int t = 0; t < 8; t++) {
        most[t] = v_largest(x[t]);
    }
    return v_load_some(most, 8);
}
OP V v_from_i(I x)
{
    return (V){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
OP I i_zero(void)
{
    return (I){_mm256_setzero_si256(), _mm256_setzero_si256()};
}
OP I i_set1(int x)
{
    return (I){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
OP I i_shift_left(I x, unsigned n)
{
    return (I){_mm256_slli_epi32(x.a, (int)n), _mm256_slli_epi32(x.b, (int)n)};
}
OP I i_round(V x)
{
    return (I){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}
OP int i_sum(I x)
{
    int lanes[8];
    int sum = 0;
    _mm256_storeu_si256((__m256i *)(void *)lanes, _mm256_add_epi32(x.a, x.b));
    for (unsigned k = 0; k < 8; k++) {
        sum += lanes[k];
    }
    return sum;
}
OP void i_store_bytes(signed char *p, I x)
{
    int lanes[16];
    _mm256_storeu_si256((__m256i *)(void *)lanes, x.a);
    _mm256_storeu_si256((__m256i *)(void *)(lanes + 8), x.b);
    for (unsigned k = 0; k < 16; k++) {
        p[k] = (signed char)lanes[k];
    }
}
OP __m256i dot4(__m256i sum, __m256i unsigned_bytes, __m256i bytes)
{
    __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, bytes);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
/* codes up to 63: pairs of products stay below 2^15 */
OP I i_dot(I sum, B codes, int a)
{
    __m256i bytes = _mm256_set1_epi32(a);
    return (I){dot4(sum.a, codes.a, bytes), dot4(sum.b, codes.b, bytes)};
}
OP I i_dot_lanes(I sum, B codes, I a)
{
    return (I){dot4(sum.a, codes.a, a.a), dot4(sum.b, codes.b, a.b)};
}
OP I i_shift_right(I x, unsigned n)
{
    return (I){_mm256_srli_epi32(x.a, (int)n), _mm256_srli_epi32(x.b, (int)n)};
}
/* codes that are 128 too large: made signed again, whose signs go to the other factor, so that
 * nothing saturates */
OP I i_start_wide(int minus)
{
    (void)minus;
    return i_zero();
}
OP __m256i dot4_wide(__m256i sum, __m256i codes, __m256i bytes)
{
    __m256i w = _mm256_xor_si256(codes, _mm256_set1_epi8((char)0x80));
    return dot4(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(bytes, w));
}
OP I i_dot_wide(I sum, B codes, int a)
{
    __m256i bytes = _mm256_set1_epi32(a);
    return (I){dot4_wide(sum.a, codes.a, bytes), dot4_wide(sum.b, codes.b, bytes)};
}
OP B b_load(const unsigned char *p)
{
    return (B){_mm256_loadu_si256((const __m256i *)(const void *)p),
               _mm256_loadu_si256((const __m256i *)(const void *)(p + 32))};
}
OP B b_and(B x, int mask)
{
    __m256i m = _mm256_set1_epi8((char)mask);
    return (B){_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
OP B b_or(B x, B y)
{
    return (B){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
OP B b_shift_right(B x, unsigned n)
{
    return (B){_mm256_srli_epi16(x.a, (int)n), _mm256_srli_epi16(x.b, (int)n)};
}
OP B b_shift_left(B x, unsigned n)
{
    return (B){_mm256_slli_epi16(x.a, (int)n), _mm256_slli_epi16(x.b, (int)n)};
}
/* 32 bits as 32 bytes of ones and zeros */
OP __m256i spread(const unsigned char *mask)
{
    int bits;
    __builtin_memcpy(&bits, mask, sizeof bits);
    const __m256i byte = _mm256_setr_epi64x(0x0000000000000000, 0x0101010101010101,
                                            0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ULL);
    __m256i m = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte), bit);
    return _mm256_cmpeq_epi8(m, bit);
}
/* adds x to the bytes whose bit is set in the 64 at mask */
OP B b_add_masked(B y, const unsigned char *mask, int x)
{
    __m256i add = _mm256_set1_epi8((char)x);
    return (B){_mm256_add_epi8(y.a, _mm256_and_si256(spread(mask), add)),
               _mm256_add_epi8(y.b, _mm256_and_si256(spread(mask + 4), add))};
}
/* IQ4's sixteen values, 128 too large */
OP B b_iq4(B codes)
{
    const __m256i t = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, (char)129, (char)141, (char)153, (char)166,
                      (char)181, (char)197, (char)217, (char)241));
    return (B){_mm256_shuffle_epi8(t, codes.a), _mm256_shuffle_epi8(t, codes.b)};
}

#include "model/cpu_body.h"
