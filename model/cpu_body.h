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

/* ---- quantized weights ---- */

/* How the blocks of a kind lie. A group: for `super` kinds, before every eight blocks, halves
 * scale[16] and, with minima, minimum[16]. A block: the scales (halves [16]; `super`: bytes [16],
 * signed where there are no minima, two of them with `sixteens`), the minima (likewise), the codes
 * (four or eight bits, column by column in fours: bytes [8][16][4]; with four bits the even fours
 * are the lower halves of the bytes), then the upper bits of the codes (one: [8] masks of 64; two:
 * bytes [2][64], four fours in each). */
struct kind {
    bool super, sixteens, lookup;
    unsigned minima; /* 1: added, 2: subtracted */
    unsigned bits, high;
    unsigned bias; /* codes are 1 << bias too large; 0: not */
};

INLINE B weights_of(const struct kind k, const unsigned char *codes, unsigned four)
{
    B w;
    if (k.bits == 8) {
        return b_load(codes + (size_t)64 * four);
    }
    w = b_load(codes + (size_t)64 * (four / 2));
    w = b_and(four % 2 == 0 ? w : b_shift_right(w, 4), 0x0F);
    if (k.high == 1) {
        w = b_add_masked(w, codes + 256 + (size_t)8 * four, 16);
    } else if (k.high == 2) {
        B h = b_load(codes + 256 + (size_t)64 * (four / 4));
        w = b_or(w, b_shift_left(b_and(b_shift_right(h, 2 * (four % 4)), 3), 4));
    }
    return k.lookup ? b_iq4(w) : w;
}

INLINE size_t kind_codes(const struct kind k)
{
    return (k.bits == 8 ? 512U : 256U) + 64U * k.high;
}

/* The four bytes of token t for the columns 4 k .. 4 k + 3 of the block. */
INLINE int32_t panel_four(const unsigned char *bytes, unsigned tile, unsigned four, unsigned t)
{
    int32_t v;
    memcpy(&v, bytes + ((size_t)four * tile + t) * 4, sizeof v);
    return v;
}

/* sums[t] += scale * scales[t] * (the codes of the fours from .. to - 1) . (token t's bytes) */
INLINE void add_products(const struct kind k, const unsigned char *codes, const unsigned from,
                         const unsigned to, const unsigned char *bytes, const unsigned tile,
                         const int32_t *minus, V scale, const float *scales, const unsigned count,
                         V *sums)
{
    I dots[KERNEL_TILE];
    UNROLL for (unsigned t = 0; t < count; t++)
    {
        dots[t] = k.bits == 8 || k.lookup ? i_start_wide(minus[t])
                  : k.bias != 0           ? i_shift_left(i_set1(minus[t]), k.bias)
                                          : i_zero();
    }
    UNROLL for (unsigned four = from; four < to; four++)
    {
        B w = weights_of(k, codes, four);
        UNROLL for (unsigned t = 0; t < count; t++)
        {
            int32_t a = panel_four(bytes, tile, four, t);
            dots[t] = k.bits == 8 || k.lookup ? i_dot_wide(dots[t], w, a) : i_dot(dots[t], w, a);
        }
    }
    UNROLL for (unsigned t = 0; t < count; t++)
    {
        sums[t] = v_fma(v_from_i(dots[t]), v_mul(scale, v_set1(scales[t])), sums[t]);
    }
}

/* Tokens first .. first + count - 1 of the panel. */
INLINE void dot_tokens(const struct kind k, const unsigned char *w, size_t blocks,
                       const unsigned char *panel, const unsigned tile, const unsigned first,
                       const unsigned count, float *out)
{
    V sums[KERNEL_TILE];
    V scale_super = v_zero();
    V minimum_super = v_zero();
    UNROLL for (unsigned t = 0; t < count; t++)
    {
        sums[t] = v_zero();
    }
    for (size_t b = 0; b < blocks; b++, panel += PANEL_BLOCK_BYTES(tile)) {
        const float *scales = (const float *)(const void *)panel + first;
        const float *scaled_sums = scales + tile;
        const int32_t *minus = (const int32_t *)(const void *)panel + 2 * (size_t)tile + first;
        const unsigned char *bytes = panel + (size_t)20 * tile + (size_t)first * 4;
        V scale[2] = {v_zero(), v_zero()};
        V minimum = v_zero();
        if (k.super && b % 8 == 0) {
            scale_super = v_load_half(w);
            minimum_super = k.minima != 0 ? v_load_half(w + 32) : minimum_super;
            w += k.minima != 0 ? 64 : 32;
        }
        if (!k.super) {
            scale[0] = v_load_half(w);
            minimum = k.minima != 0 ? v_load_half(w + 32) : minimum;
            w += k.minima != 0 ? 64 : 32;
        } else if (k.minima != 0) {
            scale[0] = v_mul(scale_super, v_load_u8(w));
            minimum = v_mul(minimum_super, v_load_u8(w + 16));
            w += 32;
        } else {
            scale[0] = v_mul(scale_super, v_load_s8(w));
            scale[1] = k.sixteens ? v_mul(scale_super, v_load_s8(w + 16)) : scale[1];
            w += k.sixteens ? 32 : 16;
        }
        if (k.sixteens) {
            add_products(k, w, 0, 4, bytes, tile, minus + tile, scale[0], scales, count, sums);
            add_products(k, w, 4, 8, bytes, tile, minus + (size_t)2 * tile, scale[1], scales, count,
                         sums);
        } else {
            add_products(k, w, 0, 8, bytes, tile, minus, scale[0], scales, count, sums);
        }
        if (k.minima != 0) {
            UNROLL for (unsigned t = 0; t < count; t++)
            {
                V s = v_set1(scaled_sums[t]);
                sums[t] = k.minima == 1 ? v_fma(minimum, s, sums[t]) : v_fnma(minimum, s, sums[t]);
            }
        }
        w += kind_codes(k);
    }
    UNROLL for (unsigned t = 0; t < count; t++)
    {
        v_store(out + (size_t)(first + t) * LANES, sums[t]);
    }
}

INLINE void dot_tiles(const struct kind k, const unsigned char *w, size_t blocks,
                      const unsigned char *panel, unsigned tile, float *out)
{
    if (tile == 1) {
        dot_tokens(k, w, blocks, panel, 1, 0, 1, out);
    } else if (tile == 2) {
        dot_tokens(k, w, blocks, panel, 2, 0, 2, out);
    } else if (tile == 4) {
        for (unsigned t = 0; t<4; t += INNER> 4 ? 4 : INNER) {
            dot_tokens(k, w, blocks, panel, 4, t, INNER > 4 ? 4 : INNER, out);
        }
    } else {
        for (unsigned t = 0; t < 8; t += INNER) {
            dot_tokens(k, w, blocks, panel, 8, t, INNER, out);
        }
    }
}

#define KINDS(X)                                                                                   \
    X(q8_0, .bits = 8, .bias = 7)                                                                  \
    X(q4_0, .bits = 4, .bias = 3)                                                                  \
    X(q4_1, .bits = 4, .minima = 1)                                                                \
    X(q5_0, .bits = 4, .high = 1, .bias = 4)                                                       \
    X(q5_1, .bits = 4, .high = 1, .minima = 1)                                                     \
    X(q4_k, .super = true, .bits = 4, .minima = 2)                                                 \
    X(q5_k, .super = true, .bits = 4, .high = 1, .minima = 2)                                      \
    X(q6_k, .super = true, .sixteens = true, .bits = 4, .high = 2, .bias = 5)                      \
    X(iq4_nl, .bits = 4, .lookup = true, .bias = 7)                                                \
    X(iq4_xs, .super = true, .bits = 4, .lookup = true, .bias = 7)

#define KIND_DOT(name, ...)                                                                        \
    static void dot_##name(const unsigned char *group, size_t blocks, const unsigned char *panel,  \
                           unsigned tile, float *out)                                              \
    {                                                                                              \
        dot_tiles((struct kind){__VA_ARGS__}, group, blocks, panel, tile, out);                    \
    }
KINDS(KIND_DOT)

/* ---- float weights: sums of 32 columns, then their sum ---- */

enum float_kind { FLOATS, HALVES, BRAINS };

INLINE V float_weights(enum float_kind kind, const unsigned char *w, size_t column)
{
    return kind == FLOATS   ? v_load(w + column * 64)
           : kind == HALVES ? v_load_half(w + column * 32)
                            : v_load_bf16(w + column * 32);
}

INLINE void dot_float_tokens(enum float_kind kind, const unsigned char *w, size_t blocks,
                             const float *panel, const unsigned tile, const unsigned first,
                             const unsigned count, float *out)
{
    V sums[KERNEL_TILE];
    UNROLL for (unsigned t = 0; t < count; t++)
    {
        sums[t] = v_zero();
    }
    for (size_t b = 0; b < blocks; b++) {
        V part[KERNEL_TILE];
        UNROLL for (unsigned t = 0; t < count; t++)
        {
            part[t] = v_zero();
        }
        for (size_t c = 0; c < KERNEL_BLOCK; c++) {
            size_t column = b * KERNEL_BLOCK + c;
            V weights = float_weights(kind, w, column);
            UNROLL for (unsigned t = 0; t < count; t++)
            {
                part[t] = v_fma(weights, v_set1(panel[column * tile + first + t]), part[t]);
            }
        }
        UNROLL for (unsigned t = 0; t < count; t++)
        {
            sums[t] = v_add(sums[t], part[t]);
        }
    }
    UNROLL for (unsigned t = 0; t < count; t++)
    {
        v_store(out + (size_t)(first + t) * LANES, sums[t]);
    }
}

INLINE void dot_floats(enum float_kind kind, const unsigned char *w, size_t blocks,
                       const unsigned char *panel, unsigned tile, float *out)
{
    const float *p = (const float *)(const void *)panel;
    if (tile == 1) {
        dot_float_tokens(kind, w, blocks, p, 1, 0, 1, out);
    } else if (tile == 2) {
        dot_float_tokens(kind, w, blocks, p, 2, 0, 2, out);
    } else if (tile == 4) {
        for (unsigned t = 0; t<4; t += INNER> 4 ? 4 : INNER) {
            dot_float_tokens(kind, w, blocks, p, 4, t, INNER > 4 ? 4 : INNER, out);
        }
    } else {
        for (unsigned t = 0; t < 8; t += INNER) {
            dot_float_tokens(kind, w, blocks, p, 8, t, INNER, out);
        }
    }
}

#define FLOAT_DOT(name, kind)                                                                      \
    static void dot_##name(const unsigned char *group, size_t blocks, const unsigned char *panel,  \
                           unsigned tile, float *out)                                              \
    {                                                                                              \
        dot_floats(kind, group, blocks, panel, tile, out);                                         \
    }
FLOAT_DOT(singles, FLOATS)
FLOAT_DOT(halves, HALVES)
FLOAT_DOT(brains, BRAINS)

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

/* ---- attention: Dao et al. 2022, "FlashAttention"; Milakov and Gimelshein 2018 ---- */

INLINE V page_load(const void *page, size_t at, const enum attend_form form)
{
    return form == ATTEND_BYTES    ? v_load_s8((const unsigned char *)page + at)
           : form == ATTEND_HALVES ? v_load_half((const unsigned char *)page + at * 2)
                                   : v_load((const float *)page + at);
}

/* Keys as bytes: each block's sum is scaled once. */
INLINE void page_scores_bytes(const struct attend_tile *a, const unsigned char *keys,
                              const unsigned first, V *scores)
{
    V s[INNER];
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        s[t] = v_zero();
    }
    for (size_t from = 0; from < a->key_width; from += KERNEL_BLOCK) {
        size_t end = from + KERNEL_BLOCK < a->key_width ? from + KERNEL_BLOCK : a->key_width;
        V scale = v_load_half(keys);
        V part[INNER];
        keys += (size_t)KERNEL_KEYS * 2;
        UNROLL for (unsigned t = 0; t < INNER; t++)
        {
            part[t] = v_zero();
        }
        for (size_t d = from; d < end; d++, keys += KERNEL_KEYS) {
            V key = v_load_s8(keys);
            UNROLL for (unsigned t = 0; t < INNER; t++)
            {
                part[t] = v_fma(key, v_set1(a->q[d * KERNEL_TILE + first + t]), part[t]);
            }
        }
        UNROLL for (unsigned t = 0; t < INNER; t++)
        {
            s[t] = v_fma(part[t], scale, s[t]);
        }
    }
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        scores[first + t] = s[t];
    }
}

INLINE void page_scores(const struct attend_tile *a, const void *keys, const enum attend_form form,
                        const unsigned first, V *scores)
{
    if (form == ATTEND_BYTES) {
        page_scores_bytes(a, keys, first, scores);
        return;
    }
    V s[INNER];
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        s[t] = v_zero();
    }
    for (size_t d = 0; d < a->key_width; d++) {
        V key = page_load(keys, d * KERNEL_KEYS, form);
        UNROLL for (unsigned t = 0; t < INNER; t++)
        {
            s[t] = v_fma(key, v_set1(a->q[d * KERNEL_TILE + first + t]), s[t]);
        }
    }
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        scores[first + t] = s[t];
    }
}

/* vectors x 16 values of INNER queries. */
INLINE void page_values(const struct attend_tile *a, const void *values,
                        const enum attend_form form, unsigned n_keys, const float *weights,
                        const float *fade, const unsigned first, size_t at, const unsigned vectors)
{
    V sums[INNER * 2];
    float shares[INNER * KERNEL_KEYS];
    const float *share_of = weights + (size_t)first * KERNEL_KEYS;
    if (form == ATTEND_BYTES) { /* at is a multiple of 32: one scale a key */
        V scale =
            v_load_half((const unsigned char *)values + at / KERNEL_BLOCK * (KERNEL_KEYS * 2));
        for (unsigned t = 0; t < INNER; t++) {
            v_store(shares + (size_t)t * KERNEL_KEYS,
                    v_mul(v_load(share_of + (size_t)t * KERNEL_KEYS), scale));
        }
        share_of = shares;
        values = (const unsigned char *)values + ATTEND_SCALES(a->value_width);
    }
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        float *out = a->out + (size_t)(first + t) * a->value_width + at;
        sums[2 * t] = v_mul(v_load(out), v_set1(fade[first + t]));
        sums[2 * t + 1] =
            vectors > 1 ? v_mul(v_load(out + LANES), v_set1(fade[first + t])) : v_zero();
    }
    for (size_t key = 0; key < n_keys; key++) {
        size_t from = key * a->value_width + at;
        V left = page_load(values, from, form);
        V right = vectors > 1 ? page_load(values, from + LANES, form) : left;
        UNROLL for (unsigned t = 0; t < INNER; t++)
        {
            V share = v_set1(share_of[(size_t)t * KERNEL_KEYS + key]);
            sums[2 * t] = v_fma(left, share, sums[2 * t]);
            sums[2 * t + 1] = vectors > 1 ? v_fma(right, share, sums[2 * t + 1]) : right;
        }
    }
    UNROLL for (unsigned t = 0; t < INNER; t++)
    {
        float *out = a->out + (size_t)(first + t) * a->value_width + at;
        v_store(out, sums[2 * t]);
        if (vectors > 1) {
            v_store(out + LANES, sums[2 * t + 1]);
        }
    }
}

INLINE void attend_page(struct attend_tile *a, const void *keys, const void *values,
                        const enum attend_form form)
{
    V scores[KERNEL_TILE];
    float weights[KERNEL_TILE * KERNEL_KEYS];
    float most[LANES];
    float fade[LANES];
    unsigned n_keys = a->partly ? 0 : KERNEL_KEYS;
    const unsigned n = INNER == KERNEL_TILE ? KERNEL_TILE : (a->n + INNER - 1) / INNER * INNER;
    for (unsigned t = n; t < KERNEL_TILE; t++) {
        scores[t] = v_zero();
    }
    for (unsigned t = 0; t < n; t += INNER) {
        page_scores(a, keys, form, t, scores);
    }
    for (unsigned t = 0; t < n && a->cap > 0; t++) {
        scores[t] = v_cap(scores[t], a->cap);
    }
    for (unsigned t = 0; t < a->n && a->partly; t++) {
        scores[t] = v_first(scores[t], a->keys[t], -INFINITY);
        scores[t] = a->skip[t] > 0 ? v_from(scores[t], a->skip[t], -INFINITY) : scores[t];
        n_keys = a->keys[t] > n_keys ? a->keys[t] : n_keys;
    }
    V before = v_load_some(a->most, KERNEL_TILE);
    V now = v_max(v_largest_of(scores), before);
    v_store_some(a->most, now, KERNEL_TILE);
    v_store(most, now);
    v_store(fade, v_exp(v_sub(before, now)));
    for (unsigned t = 0; t < n; t++) {
        V w = v_exp(v_sub(scores[t], v_set1(most[t])));
        v_store(weights + (size_t)t * KERNEL_KEYS, w);
        float *sum = a->sum + (size_t)t * KERNEL_KEYS;
        v_store(sum, v_fma(v_load(sum), v_set1(fade[t]), w));
    }
    for (unsigned t = 0; t < n; t += INNER) {
        size_t at = 0;
        for (; at + 2 * LANES <= a->value_width; at += 2 * LANES) {
            page_values(a, values, form, n_keys, weights, fade, t, at, 2);
        }
        if (at < a->value_width) {
            page_values(a, values, form, n_keys, weights, fade, t, at, 1);
        }
    }
}

static void attend(struct attend_tile *a, const void *keys, const void *values,
                   enum attend_form form)
{
    if (form == ATTEND_BYTES) {
        attend_page(a, keys, values, ATTEND_BYTES);
    } else if (form == ATTEND_HALVES) {
        attend_page(a, keys, values, ATTEND_HALVES);
    } else {
        attend_page(a, keys, values, ATTEND_FLOATS);
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
