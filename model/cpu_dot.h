/* Weights times the columns of a panel; part of cpu_body.h, which alone includes it. */

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
