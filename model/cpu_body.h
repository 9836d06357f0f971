/* The kernels themselves, once for all sets of instructions: cpu_scalar.c, cpu_avx2.c and
 * cpu_avx512.c define sixteen floats (V), sixteen integers (I) and sixty-four bytes (B) with their
 * operations and include this. Every operation is rounded as IEEE 754 says and their order is fixed
 * here, so all sets give the same bits.
 *
 * INNER is how many tokens' sums the set's registers hold at once; KERNELS_NAME, KERNELS_TABLE name
 * the set. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "model/kernels.h"

#define LANES 16U
#if defined(LANES_IN_MEMORY)
#define INLINE static inline
#define UNROLL
#elif defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("unroll")
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* ---- exp and erf ---- */

/* Within 2 units in the last place; 0 below -88 (so also for -INFINITY and NaN). Cephes' expf. */
INLINE V v_exp(V x)
{
    x = v_min(v_max(x, v_set1(-88.0F)), v_set1(88.0F));
    V magic = v_set1(12582912.0F); /* 1.5 x 2^23: adding it rounds to a whole number */
    V n = v_sub(v_fma(x, v_set1(1.44269504088896341F), magic), magic);
    V r = v_fma(n, v_set1(-0.693359375F), x);
    r = v_fma(n, v_set1(2.12194440e-4F), r);
    V p = v_set1(1.9875691500e-4F);
    p = v_fma(p, r, v_set1(1.3981999507e-3F));
    p = v_fma(p, r, v_set1(8.3334519073e-3F));
    p = v_fma(p, r, v_set1(4.1665795894e-2F));
    p = v_fma(p, r, v_set1(1.6666665459e-1F));
    p = v_fma(p, r, v_set1(5.0000001201e-1F));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set1(1.0F));
    return v_mul(p, v_power2(n));
}

/* Within 4e-7: a rational function of x on [-4, 4], as in Eigen. */
INLINE V v_erf(V x)
{
    x = v_min(v_max(x, v_set1(-4.0F)), v_set1(4.0F));
    V s = v_mul(x, x);
    V p = v_set1(-2.72614225801306e-10F);
    p = v_fma(p, s, v_set1(2.77068142495902e-08F));
    p = v_fma(p, s, v_set1(-2.10102402082508e-06F));
    p = v_fma(p, s, v_set1(-5.69250639462346e-05F));
    p = v_fma(p, s, v_set1(-7.34990630326855e-04F));
    p = v_fma(p, s, v_set1(-2.95459980854025e-03F));
    p = v_fma(p, s, v_set1(-1.60960333262415e-02F));
    V q = v_set1(-1.45660718464996e-05F);
    q = v_fma(q, s, v_set1(-2.13374055278905e-04F));
    q = v_fma(q, s, v_set1(-1.68282697438203e-03F));
    q = v_fma(q, s, v_set1(-7.37332916720468e-03F));
    q = v_fma(q, s, v_set1(-1.42647390514189e-02F));
    return v_div(v_mul(x, p), q);
}

/* cap tanh(x / cap) (Gemma 2); off by 1e-7 of cap at most. */
INLINE V v_cap(V x, float cap)
{
    V e = v_exp(v_mul(x, v_set1(2.0F / cap)));
    V share = v_div(v_set1(2.0F), v_add(e, v_set1(1.0F)));
    return v_mul(v_set1(cap), v_sub(v_set1(1.0F), share));
}

#include "model/cpu_attend.h"
#include "model/cpu_dot.h"

/* ---- panels ---- */

#define SMALLEST 1e-30F /* a block without a larger value counts as zeros */

static void quantize_block(const float *x, unsigned t, unsigned tile, unsigned char *block)
{
    float *scales = (float *)(void *)block;
    int32_t *minus = (int32_t *)(void *)(block + (size_t)8 * tile);
    unsigned char *bytes = block + (size_t)20 * tile + (size_t)t * 4;
    int8_t q[KERNEL_BLOCK];
    V low = v_load(x);
    V high = v_load(x + LANES);
    float most = v_largest(v_max(v_abs(low), v_abs(high)));
    bool some = most > SMALLEST;
    float scale = some ? most / 127.0F : 0.0F;
    V inverse = v_set1(some ? 127.0F / most : 0.0F);
    V bound = v_set1(127.0F);
    I first = i_round(v_min(v_max(v_mul(low, inverse), v_neg(bound)), bound));
    I second = i_round(v_min(v_max(v_mul(high, inverse), v_neg(bound)), bound));
    i_store_bytes(q, first);
    i_store_bytes(q + LANES, second);
    int32_t sum_first = i_sum(first);
    int32_t sum_second = i_sum(second);
    scales[t] = scale;
    scales[tile + t] = scale * (float)(sum_first + sum_second);
    minus[t] = -(sum_first + sum_second);
    minus[tile + t] = -sum_first;
    minus[2 * tile + t] = -sum_second;
    for (size_t four = 0; four < 8; four++) {
        memcpy(bytes + four * tile * 4, q + four * 4, 4);
    }
}

static void quantize(const float *x, size_t stride, size_t columns, unsigned n, unsigned tile,
                     unsigned char *panel)
{
    if (n < tile) {
        memset(panel, 0, columns / KERNEL_BLOCK * PANEL_BLOCK_BYTES(tile));
    }
    for (unsigned t = 0; t < n; t++) {
        for (size_t b = 0; b < columns / KERNEL_BLOCK; b++) {
            quantize_block(x + t * stride + b * KERNEL_BLOCK, t, tile,
                           panel + b * PANEL_BLOCK_BYTES(tile));
        }
    }
}

static void interleave(const float *x, size_t stride, size_t columns, unsigned n, unsigned tile,
                       unsigned char *panel)
{
    float *p = (float *)(void *)panel;
    size_t padded = (columns + KERNEL_BLOCK - 1) / KERNEL_BLOCK * KERNEL_BLOCK;
    if (n < tile || padded > columns) {
        memset(p, 0, padded * tile * sizeof *p);
    }
    for (unsigned t = 0; t < n; t++) {
        for (size_t c = 0; c < columns; c++) {
            p[c * tile + t] = x[t * stride + c];
        }
    }
}
/* ---- the rest ---- */

static float dot_f32(const float *a, const float *b, size_t n)
{
    V sum = v_zero();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        sum = v_fma(v_load(a + i), v_load(b + i), sum);
    }
    if (i < n) {
        sum = v_fma(v_load_some(a + i, n - i), v_load_some(b + i, n - i), sum);
    }
    return v_sum(sum);
}

static void rms_norm(const float *x, const float *weight, size_t n, float epsilon, float *y)
{
    float scale = 1.0F / sqrtf(dot_f32(x, x, n) / (float)n + epsilon);
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * scale * weight[i];
    }
}

static void layer_norm(const float *x, const float *weight, const float *bias, size_t n,
                       float epsilon, float *y)
{
    V sum = v_zero();
    V squares = v_zero();
    for (size_t i = 0; i < n; i += LANES) {
        sum = v_add(sum, i + LANES <= n ? v_load(x + i) : v_load_some(x + i, n - i));
    }
    float mean = v_sum(sum) / (float)n;
    for (size_t i = 0; i < n; i += LANES) {
        bool whole = i + LANES <= n;
        V d = v_sub(whole ? v_load(x + i) : v_load_some(x + i, n - i), v_set1(mean));
        d = whole ? d : v_first(d, (unsigned)(n - i), 0);
        squares = v_fma(d, d, squares);
    }
    float scale = 1.0F / sqrtf(v_sum(squares) / (float)n + epsilon);
    for (size_t i = 0; i < n; i++) {
        y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    }
}

INLINE V swiglu_of(V gate, V up)
{
    V one = v_set1(1.0F);
    return v_mul(v_div(gate, v_add(one, v_exp(v_neg(gate)))), up);
}

static void swiglu(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        v_store(gate + i, swiglu_of(v_load(gate + i), v_load(up + i)));
    }
    if (i < n) {
        V y = swiglu_of(v_load_some(gate + i, n - i), v_load_some(up + i, n - i));
        v_store_some(gate + i, y, n - i);
    }
}

/* By the hyperbolic tangent, which is a logistic function of twice its argument. */
INLINE V geglu_of(V gate, V up)
{
    V cube = v_mul(v_mul(gate, gate), gate);
    V u = v_mul(v_set1(1.5957691216057308F), v_fma(cube, v_set1(0.044715F), gate));
    return v_mul(v_div(gate, v_add(v_set1(1.0F), v_exp(v_neg(u)))), up);
}

static void geglu(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        v_store(gate + i, geglu_of(v_load(gate + i), v_load(up + i)));
    }
    if (i < n) {
        V y = geglu_of(v_load_some(gate + i, n - i), v_load_some(up + i, n - i));
        v_store_some(gate + i, y, n - i);
    }
}

static void cap_all(float *x, size_t n, float cap)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        v_store(x + i, v_cap(v_load(x + i), cap));
    }
    if (i < n) {
        v_store_some(x + i, v_cap(v_load_some(x + i, n - i), cap), n - i);
    }
}

INLINE V gelu_of(V x)
{
    V half = v_mul(v_set1(0.5F), x);
    return v_mul(half, v_add(v_set1(1.0F), v_erf(v_mul(x, v_set1(0.70710678118654752F)))));
}

static void gelu(float *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        v_store(x + i, gelu_of(v_load(x + i)));
    }
    if (i < n) {
        v_store_some(x + i, gelu_of(v_load_some(x + i, n - i)), n - i);
    }
}

static void rope(float *head, const float *cosines, const float *sines, size_t n, bool halves)
{
    size_t pairs = n / 2;
    for (size_t i = 0; i < pairs; i++) {
        float *a = halves ? head + i : head + 2 * i;
        float *b = halves ? a + pairs : a + 1;
        float x = *a;
        float y = *b;
        *a = x * cosines[i] - y * sines[i];
        *b = x * sines[i] + y * cosines[i];
    }
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] += y[i];
    }
}

static uint64_t peak(uint32_t rounds)
{
    static const unsigned char ones[64] = {1, 2, 3};
    I sums[KERNEL_TILE];
    B codes = b_load(ones);
    UNROLL for (unsigned t = 0; t < KERNEL_TILE; t++)
    {
        sums[t] = i_set1((int32_t)(rounds + t));
    }
    I factors = i_set1((int32_t)rounds);
    for (uint32_t r = 0; r < rounds / 64; r++) {
        for (unsigned k = 0; k < 8; k++) {
            UNROLL for (unsigned t = 0; t < KERNEL_TILE; t++)
            {
                sums[t] = i_dot_lanes(sums[t], codes, factors);
            }
        }
    }
    int32_t total = 0;
    for (unsigned t = 0; t < KERNEL_TILE; t++) {
        total ^= i_sum(i_shift_right(sums[t], 8));
    }
    return (uint64_t)(rounds / 64) * 8 * KERNEL_TILE * 128 + (total == 1 ? 1 : 0);
}

const struct kernels KERNELS_TABLE = {
    .name = KERNELS_NAME,
    .dot = {[PACK_F32] = dot_singles,
            [PACK_F16] = dot_halves,
            [PACK_BF16] = dot_brains,
            [PACK_Q8_0] = dot_q8_0,
            [PACK_Q4_0] = dot_q4_0,
            [PACK_Q4_1] = dot_q4_1,
            [PACK_Q5_0] = dot_q5_0,
            [PACK_Q5_1] = dot_q5_1,
            [PACK_Q4_K] = dot_q4_k,
            [PACK_Q5_K] = dot_q5_k,
            [PACK_Q6_K] = dot_q6_k,
            [PACK_IQ4_NL] = dot_iq4_nl,
            [PACK_IQ4_XS] = dot_iq4_xs},
    .quantize = quantize,
    .interleave = interleave,
    .attend = attend,
    .dot_f32 = dot_f32,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .swiglu = swiglu,
    .geglu = geglu,
    .cap = cap_all,
    .gelu = gelu,
    .rope = rope,
    .peak = peak,
    .add = add,
};
