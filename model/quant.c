#include "model/quant.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "model/quant_k.h"

#define SMALL 32
#define LARGE 256

static float half_at(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return half_to_float(h);
}

static uint32_t u32_at(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* ---- blocks of 32: a scale, perhaps a minimum, then the values; the halves of a byte are 16 apart
 * ---- */

static void decode_q4_0(const unsigned char *b, float *y)
{
    float d = half_at(b);
    for (int j = 0; j < SMALL / 2; j++) {
        y[j] = (float)((b[2 + j] & 0xF) - 8) * d;
        y[j + SMALL / 2] = (float)((b[2 + j] >> 4) - 8) * d;
    }
}

static void decode_q4_1(const unsigned char *b, float *y)
{
    float d = half_at(b);
    float m = half_at(b + 2);
    for (int j = 0; j < SMALL / 2; j++) {
        y[j] = (float)(b[4 + j] & 0xF) * d + m;
        y[j + SMALL / 2] = (float)(b[4 + j] >> 4) * d + m;
    }
}

static void decode_q5(const unsigned char *high, const unsigned char *low, int j, int *first,
                      int *second)
{
    uint32_t h = u32_at(high);
    *first = (low[j] & 0xF) | (int)((h >> j & 1U) << 4);
    *second = (low[j] >> 4) | (int)((h >> (j + SMALL / 2) & 1U) << 4);
}

static void decode_q5_0(const unsigned char *b, float *y)
{
    float d = half_at(b);
    for (int j = 0; j < SMALL / 2; j++) {
        int first;
        int second;
        decode_q5(b + 2, b + 6, j, &first, &second);
        y[j] = (float)(first - 16) * d;
        y[j + SMALL / 2] = (float)(second - 16) * d;
    }
}

static void decode_q5_1(const unsigned char *b, float *y)
{
    float d = half_at(b);
    float m = half_at(b + 2);
    for (int j = 0; j < SMALL / 2; j++) {
        int first;
        int second;
        decode_q5(b + 4, b + 8, j, &first, &second);
        y[j] = (float)first * d + m;
        y[j + SMALL / 2] = (float)second * d + m;
    }
}

static void decode_q8_0(const unsigned char *b, float *y)
{
    float d = half_at(b);
    for (int j = 0; j < SMALL; j++) {
        y[j] = (float)(int8_t)b[2 + j] * d;
    }
}

/* ---- blocks of 256 with scales of their own for every 16 or 32 ---- */

static void decode_q2_k(const unsigned char *b, float *y)
{
    const unsigned char *scales = b;
    const unsigned char *q = b + 16;
    float d = half_at(b + 80);
    float m = half_at(b + 82);
    for (int half = 0; half < 2; half++, q += 32) {
        for (int shift = 0; shift < 8; shift += 2) {
            for (int k = 0; k < 2; k++, scales++) {
                float dl = d * (float)(*scales & 0xF);
                float ml = m * (float)(*scales >> 4);
                for (int l = 0; l < 16; l++) {
                    *y++ = dl * (float)(q[16 * k + l] >> shift & 3) - ml;
                }
            }
        }
    }
}

/* Sixteen scales of six bits in twelve bytes: the lower four bits side by side, the upper two
 * behind. */
static int q3_scale(const unsigned char *s, int i)
{
    int low = i < 8 ? s[i] & 0xF : s[i - 8] >> 4;
    return (low | (s[8 + i % 4] >> 2 * (i / 4) & 3) << 4) - 32;
}

static void decode_q3_k(const unsigned char *b, float *y)
{
    const unsigned char *mask = b;
    const unsigned char *q = b + 32;
    float d = half_at(b + 108);
    int bit = 0;
    int scale = 0;
    for (int half = 0; half < 2; half++, q += 32) {
        for (int shift = 0; shift < 8; shift += 2, bit++) {
            for (int k = 0; k < 2; k++) {
                float dl = d * (float)q3_scale(b + 96, scale++);
                for (int l = 16 * k; l < 16 * k + 16; l++) {
                    *y++ = dl * (float)((q[l] >> shift & 3) - ((mask[l] >> bit & 1) != 0 ? 0 : 4));
                }
            }
        }
    }
}

/* Eight scales and eight minima of six bits in twelve bytes. */
static void q4_scale(const unsigned char *s, int i, float *scale, float *min)
{
    if (i < 4) {
        *scale = (float)(s[i] & 63);
        *min = (float)(s[i + 4] & 63);
    } else {
        *scale = (float)((s[i + 4] & 0xF) | s[i - 4] >> 6 << 4);
        *min = (float)(s[i + 4] >> 4 | s[i] >> 6 << 4);
    }
}

static void decode_q4_k(const unsigned char *b, float *y)
{
    float d = half_at(b);
    float m = half_at(b + 2);
    const unsigned char *q = b + 16;
    for (int i = 0; i < 8; i++) {
        float scale;
        float min;
        q4_scale(b + 4, i, &scale, &min);
        scale *= d;
        min *= m;
        for (int l = 0; l < 32; l++) {
            *y++ = scale * (float)(q[32 * (i / 2) + l] >> 4 * (i % 2) & 0xF) - min;
        }
    }
}

static void decode_q5_k(const unsigned char *b, float *y)
{
    float d = half_at(b);
    float m = half_at(b + 2);
    const unsigned char *high = b + 16;
    const unsigned char *q = b + 48;
    for (int i = 0; i < 8; i++) {
        float scale;
        float min;
        q4_scale(b + 4, i, &scale, &min);
        scale *= d;
        min *= m;
        for (int l = 0; l < 32; l++) {
            int v = (q[32 * (i / 2) + l] >> 4 * (i % 2) & 0xF) + ((high[l] >> i & 1) != 0 ? 16 : 0);
            *y++ = scale * (float)v - min;
        }
    }
}

static void decode_q6_k(const unsigned char *b, float *y)
{
    const unsigned char *low = b;
    const unsigned char *high = b + 128;
    const int8_t *scales = (const int8_t *)(b + 192);
    float d = half_at(b + 208);
    for (int half = 0; half < 2; half++, y += 128, low += 64, high += 32, scales += 8) {
        for (int l = 0; l < 32; l++) {
            int s = l / 16;
            int q1 = ((low[l] & 0xF) | (high[l] >> 0 & 3) << 4) - 32;
            int q2 = ((low[l + 32] & 0xF) | (high[l] >> 2 & 3) << 4) - 32;
            int q3 = (low[l] >> 4 | (high[l] >> 4 & 3) << 4) - 32;
            int q4 = (low[l + 32] >> 4 | (high[l] >> 6 & 3) << 4) - 32;
            y[l] = d * (float)scales[s] * (float)q1;
            y[l + 32] = d * (float)scales[s + 2] * (float)q2;
            y[l + 64] = d * (float)scales[s + 4] * (float)q3;
            y[l + 96] = d * (float)scales[s + 6] * (float)q4;
        }
    }
}

/* ---- sixteen values of a fixed curve ---- */

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

static void decode_iq4_nl(const unsigned char *b, float *y)
{
    float d = half_at(b);
    for (int j = 0; j < SMALL / 2; j++) {
        y[j] = d * (float)iq4_values[b[2 + j] & 0xF];
        y[j + SMALL / 2] = d * (float)iq4_values[b[2 + j] >> 4];
    }
}

static void decode_iq4_xs(const unsigned char *b, float *y)
{
    float d = half_at(b);
    unsigned high = (unsigned)b[2] | (unsigned)b[3] << 8;
    const unsigned char *q = b + 8;
    for (int i = 0; i < 8; i++, q += 16, y += 32) {
        int scale = (b[4 + i / 2] >> 4 * (i % 2) & 0xF) | (int)(high >> 2 * i & 3U) << 4;
        float dl = d * (float)(scale - 32);
        for (int j = 0; j < 16; j++) {
            y[j] = dl * (float)iq4_values[q[j] & 0xF];
            y[j + 16] = dl * (float)iq4_values[q[j] >> 4];
        }
    }
}

/* ---- rows ---- */

static void decode_floats(enum tensor_type type, const unsigned char *p, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        if (type == TENSOR_F16) {
            out[i] = half_at(p + 2 * i);
        } else {
            uint32_t bits = (uint32_t)p[2 * i] << 16 | (uint32_t)p[2 * i + 1] << 24;
            memcpy(&out[i], &bits, sizeof bits);
        }
    }
}

void quant_decode(enum tensor_type type, const void *row, size_t n, float *out)
{
    static void (*const decoders[])(const unsigned char *b, float *y) = {
        [TENSOR_Q4_0] = decode_q4_0,     [TENSOR_Q4_1] = decode_q4_1,
        [TENSOR_Q5_0] = decode_q5_0,     [TENSOR_Q5_1] = decode_q5_1,
        [TENSOR_Q8_0] = decode_q8_0,     [TENSOR_Q2_K] = decode_q2_k,
        [TENSOR_Q3_K] = decode_q3_k,     [TENSOR_Q4_K] = decode_q4_k,
        [TENSOR_Q5_K] = decode_q5_k,     [TENSOR_Q6_K] = decode_q6_k,
        [TENSOR_IQ4_NL] = decode_iq4_nl, [TENSOR_IQ4_XS] = decode_iq4_xs,
    };
    if (type == TENSOR_F32) {
        memcpy(out, row, n * sizeof *out);
        return;
    }
    if (type == TENSOR_F16 || type == TENSOR_BF16) {
        decode_floats(type, row, n, out);
        return;
    }
    const struct tensor_type_info *info = tensor_type_info(type);
    const unsigned char *p = row;
    for (size_t i = 0; i < n; i += info->block_values, p += info->block_bytes) {
        decoders[type](p, out + i);
    }
}

/* ---- writing ---- */

static void half_put(unsigned char *p, float f)
{
    uint16_t h = half_from_float(f);
    memcpy(p, &h, sizeof h);
}

static void encode_q8_0(const float *x, unsigned char *b)
{
    float most = 0;
    for (int j = 0; j < SMALL; j++) {
        most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
    }
    float d = most / 127;
    float inverse = d > 0 ? 1 / d : 0;
    half_put(b, d);
    for (int j = 0; j < SMALL; j++) {
        b[2 + j] = (unsigned char)(int8_t)roundf(x[j] * inverse);
    }
}

static void encode_q4_0(const float *x, unsigned char *b)
{
    float most = 0;
    float value = 0;
    for (int j = 0; j < SMALL; j++) {
        if (fabsf(x[j]) > most) {
            most = fabsf(x[j]);
            value = x[j];
        }
    }
    float d = value / -8;
    float inverse = d < 0 || d > 0 ? 1 / d : 0;
    half_put(b, d);
    for (int j = 0; j < SMALL / 2; j++) {
        int low = (int)(x[j] * inverse + 8.5F);
        int high = (int)(x[j + SMALL / 2] * inverse + 8.5F);
        low = low > 15 ? 15 : low;
        high = high > 15 ? 15 : high;
        b[2 + j] = (unsigned char)(low | high << 4);
    }
}

static void encode_blocks(enum tensor_type type, void (*encode)(const float *x, unsigned char *b),
                          const float *in, size_t n, unsigned char *p)
{
    const struct tensor_type_info *info = tensor_type_info(type);
    for (size_t i = 0; i < n; i += info->block_values, p += info->block_bytes) {
        encode(in + i, p);
    }
}

bool quant_encode(enum tensor_type type, const float *in, size_t n, void *row)
{
    unsigned char *p = row;
    if (type == TENSOR_F32) {
        memcpy(row, in, n * sizeof *in);
        return true;
    }
    if (type == TENSOR_F16) {
        half_encode(in, n, row);
        return true;
    }
    if (type == TENSOR_BF16) {
        for (size_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &in[i], sizeof bits);
            bits += 0x7FFF + (bits >> 16 & 1);
            p[2 * i] = (unsigned char)(bits >> 16);
            p[2 * i + 1] = (unsigned char)(bits >> 24);
        }
        return true;
    }
    if (type == TENSOR_Q8_0 || type == TENSOR_Q4_0) {
        encode_blocks(type, type == TENSOR_Q8_0 ? encode_q8_0 : encode_q4_0, in, n, p);
        return true;
    }
    if (type == TENSOR_Q4_K || type == TENSOR_Q6_K) {
        encode_blocks(type, type == TENSOR_Q4_K ? quant_encode_q4_k : quant_encode_q6_k, in, n, p);
        return true;
    }
    if (type == TENSOR_Q5_0) {
        encode_blocks(type, quant_encode_q5_0, in, n, p);
        return true;
    }
    return false;
}
