/* Plain C: what the other sets must equal bit for bit, and what any processor can run. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/half.h"

typedef struct {
    float at[16];
} V;
typedef struct {
    int32_t at[16];
} I;
typedef struct {
    uint8_t at[64];
} B;
#define INNER 2U
#define KERNELS_NAME "scalar"
#define KERNELS_TABLE kernels_scalar
#define LANES_IN_MEMORY
#define OP static inline
#define EACH(n) for (unsigned k = 0; k < (n); k++)

OP V v_set1(float x)
{
    V r;
    EACH(16)
    {
        r.at[k] = x;
    }
    return r;
}
OP V v_zero(void)
{
    return v_set1(0);
}
OP V v_load(const void *p)
{
    V r;
    memcpy(&r, p, sizeof r);
    return r;
}
OP void v_store(float *p, V x)
{
    memcpy(p, &x, sizeof x);
}
OP V v_load_some(const float *p, size_t n)
{
    V r = v_zero();
    memcpy(&r, p, n * sizeof *p);
    return r;
}
OP void v_store_some(float *p, V x, size_t n)
{
    memcpy(p, &x, n * sizeof *p);
}
OP V v_load_half(const unsigned char *p)
{
    V r;
    EACH(16)
    {
        r.at[k] = half_to_float((uint16_t)(p[2 * k] | p[2 * k + 1] << 8));
    }
    return r;
}
OP V v_load_bf16(const unsigned char *p)
{
    V r;
    EACH(16)
    {
        uint32_t bits = (uint32_t)p[2 * k] << 16 | (uint32_t)p[2 * k + 1] << 24;
        memcpy(&r.at[k], &bits, sizeof bits);
    }
    return r;
}
OP V v_load_u8(const unsigned char *p)
{
    V r;
    EACH(16)
    {
        r.at[k] = (float)p[k];
    }
    return r;
}
OP V v_load_s8(const unsigned char *p)
{
    V r;
    EACH(16)
    {
        r.at[k] = (float)(int8_t)p[k];
    }
    return r;
}
OP V v_fma(V a, V b, V c)
{
    EACH(16)
    {
        c.at[k] = fmaf(a.at[k], b.at[k], c.at[k]);
    }
    return c;
}
OP V v_fnma(V a, V b, V c)
{
    EACH(16)
    {
        c.at[k] = fmaf(-a.at[k], b.at[k], c.at[k]);
    }
    return c;
}
#define LANEWISE(name, expression)                                                                 \
    OP V name(V a, V b)                                                                            \
    {                                                                                              \
        EACH(16)                                                                                   \
        {                                                                                          \
            float x = a.at[k];                                                                     \
            float y = b.at[k];                                                                     \
            a.at[k] = (expression);                                                                \
        }                                                                                          \
        return a;                                                                                  \
    }
LANEWISE(v_mul, x *y)
LANEWISE(v_div, x / y)
LANEWISE(v_add, x + y)
LANEWISE(v_sub, x - y)
LANEWISE(v_max, x > y ? x : y) /* the second where either is no number, as the instructions do */
LANEWISE(v_min, x < y ? x : y)
OP V v_abs(V a)
{
    EACH(16)
    {
        a.at[k] = fabsf(a.at[k]);
    }
    return a;
}
OP V v_neg(V a)
{
    EACH(16)
    {
        a.at[k] = -a.at[k];
    }
    return a;
}
/* 2^n for whole n of -127 to 127; 0 at -127 */
OP V v_power2(V n)
{
    EACH(16)
    {
        uint32_t bits = (uint32_t)((int32_t)n.at[k] + 127) << 23;
        memcpy(&n.at[k], &bits, sizeof bits);
    }
    return n;
}
/* lanes from n on become `other` */
OP V v_first(V a, unsigned n, float other)
{
    EACH(16)
    {
        a.at[k] = k < n ? a.at[k] : other;
    }
    return a;
}
/* lanes below n become `other` */
OP V v_from(V a, unsigned n, float other)
{
    EACH(16)
    {
        a.at[k] = k >= n ? a.at[k] : other;
    }
    return a;
}
OP float v_sum(V a)
{
    for (unsigned width = 8; width > 0; width /= 2) {
        EACH(width)
        {
            a.at[k] += a.at[k + width];
        }
    }
    return a.at[0];
}
OP float v_largest(V a)
{
    for (unsigned width = 8; width > 0; width /= 2) {
        EACH(width)
        {
            a.at[k] = a.at[k] > a.at[k + width] ? a.at[k] : a.at[k + width];
        }
    }
    return a.at[0];
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
OP V v_from_i(I a)
{
    V r;
    EACH(16)
    {
        r.at[k] = (float)a.at[k];
    }
    return r;
}
OP I i_set1(int32_t a)
{
    I r;
    EACH(16)
    {
        r.at[k] = a;
    }
    return r;
}
OP I i_zero(void)
{
    return i_set1(0);
}
OP I i_shift_left(I a, unsigned n)
{
    EACH(16)
    {
        a.at[k] *= 1 << n;
    }
    return a;
}
OP I i_round(V a) /* to even at ties */
{
    I r;
    EACH(16)
    {
        r.at[k] = (int32_t)((a.at[k] + 12582912.0F) - 12582912.0F);
    }
    return r;
}
OP int32_t i_sum(I a)
{
    int32_t sum = 0;
    EACH(16)
    {
        sum += a.at[k];
    }
    return sum;
}
OP void i_store_bytes(int8_t *p, I a)
{
    EACH(16)
    {
        p[k] = (int8_t)a.at[k];
    }
}
OP int32_t byte_of(int32_t four, unsigned j)
{
    return (int8_t)(uint8_t)((uint32_t)four >> 8 * j);
}
/* codes up to 63 */
OP I i_dot(I sum, B codes, int32_t a)
{
    EACH(64)
    {
        sum.at[k / 4] += (int32_t)codes.at[k] * byte_of(a, k % 4);
    }
    return sum;
}
OP I i_dot_lanes(I sum, B codes, I a)
{
    EACH(64)
    {
        int32_t product = (int32_t)codes.at[k] * byte_of(a.at[k / 4], k % 4);
        sum.at[k / 4] = (int32_t)((uint32_t)sum.at[k / 4] + (uint32_t)product);
    }
    return sum;
}
OP I i_shift_right(I a, unsigned n)
{
    EACH(16)
    {
        a.at[k] = (int32_t)((uint32_t)a.at[k] >> n);
    }
    return a;
}
/* codes that are 128 too large */
OP I i_start_wide(int32_t minus)
{
    return i_set1(minus * 128);
}
OP I i_dot_wide(I sum, B codes, int32_t a)
{
    return i_dot(sum, codes, a);
}
OP B b_load(const unsigned char *p)
{
    B r;
    memcpy(&r, p, sizeof r);
    return r;
}
OP B b_and(B a, int mask)
{
    EACH(64)
    {
        a.at[k] = (uint8_t)(a.at[k] & mask);
    }
    return a;
}
OP B b_or(B a, B b)
{
    EACH(64)
    {
        a.at[k] |= b.at[k];
    }
    return a;
}
OP B b_shift_right(B a, unsigned n)
{
    EACH(64)
    {
        a.at[k] = (uint8_t)(a.at[k] >> n);
    }
    return a;
}
OP B b_shift_left(B a, unsigned n)
{
    EACH(64)
    {
        a.at[k] = (uint8_t)(a.at[k] << n);
    }
    return a;
}
/* adds x to the bytes whose bit is set in the 64 at mask */
OP B b_add_masked(B a, const unsigned char *mask, int x)
{
    EACH(64)
    {
        a.at[k] = (uint8_t)(a.at[k] + ((mask[k / 8] >> k % 8 & 1) != 0 ? x : 0));
    }
    return a;
}
/* IQ4's sixteen values, 128 too large */
OP B b_iq4(B codes)
{
    static const uint8_t values[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                       129, 141, 153, 166, 181, 197, 217, 241};
    EACH(64)
    {
        codes.at[k] = values[codes.at[k]];
    }
    return codes;
}

#include "model/cpu_body.h"
