/* Writing Q4_K, Q6_K and Q5_0 as ggml's reference does (ggml-quants.c): the scale, and the minimum
 * where there is one, are the best of some tries around the obvious ones by weighted square error.
 */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "model/quant.h"
#include "model/quant_k.h"

#define SUPER 256
#define TRIES_SIGNED 9
#define TRIES 20
#define TINY 1e-15F

static int nearest(float x)
{
    return (int)rintf(x);
}

static int within(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

static void put_half(unsigned char *p, float f)
{
    uint16_t h = half_from_float(f);
    memcpy(p, &h, sizeof h);
}

static float half_at(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return half_to_float(h);
}

/* ---- Q6_K: sixteen values, codes -32 .. 31, weighted by their squares ---- */

static void sums_of(const float *x, float inverse, float *products, float *squares)
{
    *products = 0;
    *squares = 0;
    for (int i = 0; i < 16; i++) {
        int l = within(nearest(inverse * x[i]), -32, 31);
        float w = x[i] * x[i];
        *products += w * x[i] * (float)l;
        *squares += w * (float)l * (float)l;
    }
}

static float best_scale(const float *x)
{
    float most = 0;
    float value = 0;
    float products;
    float squares;
    for (int i = 0; i < 16; i++) {
        if (fabsf(x[i]) > most) {
            most = fabsf(x[i]);
            value = x[i];
        }
    }
    if (most < TINY) {
        return 0;
    }
    sums_of(x, -32 / value, &products, &squares);
    float scale = squares > 0 ? products / squares : 0;
    float best = scale * products;
    for (int try = -TRIES_SIGNED; try <= TRIES_SIGNED; try++) {
        if (try == 0) {
            continue;
        }
        sums_of(x, -(32 + 0.1F * (float)try) / value, &products, &squares);
        if (squares > 0 && products * products > best * squares) {
            scale = products / squares;
            best = scale * products;
        }
    }
    return scale;
}

void quant_encode_q6_k(const float *x, unsigned char *b)
{
    float scales[16];
    float most = 0;
    float largest = 0;
    uint8_t codes[SUPER] = {0};
    memset(b, 0, 210);
    for (int i = 0; i < 16; i++) {
        scales[i] = best_scale(x + (size_t)16 * (size_t)i);
        if (fabsf(scales[i]) > most) {
            most = fabsf(scales[i]);
            largest = scales[i];
        }
    }
    if (most < TINY) {
        return;
    }
    float inverse = -128.0F / largest;
    put_half(b + 208, 1 / inverse);
    for (int i = 0; i < 16; i++) {
        int scale = within(nearest(inverse * scales[i]), -128, 127);
        float d = half_at(b + 208) * (float)scale;
        b[192 + i] = (unsigned char)(int8_t)scale;
        for (int j = 16 * i; j < 16 * i + 16; j++) {
            bool some = d < 0 || d > 0;
            codes[j] = (uint8_t)((some ? within(nearest(x[j] / d), -32, 31) : 0) + 32);
        }
    }
    for (int half = 0; half < 2; half++) {
        const uint8_t *c = codes + (size_t)128 * (size_t)half;
        for (int l = 0; l < 32; l++) {
            b[64 * half + l] = (unsigned char)((c[l] & 0xF) | (c[l + 64] & 0xF) << 4);
            b[64 * half + 32 + l] = (unsigned char)((c[l + 32] & 0xF) | (c[l + 96] & 0xF) << 4);
            b[128 + 32 * half + l] = (unsigned char)(c[l] >> 4 | c[l + 32] >> 4 << 2 |
                                                     c[l + 64] >> 4 << 4 | c[l + 96] >> 4 << 6);
        }
    }
}

/* ---- Q4_K: 32 values, codes 0 .. 15, a scale and a minimum ---- */

struct fit {
    float scale, minimum; /* x is about scale * code + minimum, minimum <= 0 */
};

static float error_of(const float *x, const float *w, struct fit f, const uint8_t *codes)
{
    float sum = 0;
    for (int i = 0; i < 32; i++) {
        float d = f.scale * (float)codes[i] + f.minimum - x[i];
        sum += w[i] * d * d;
    }
    return sum;
}

/* The best scale and minimum for these codes; false: there is none. */
static bool refit(const float *x, const float *w, const uint8_t *codes, struct fit *f)
{
    float sum_w = 0;
    float sum_x = 0;
    float sum_l = 0;
    float sum_l2 = 0;
    float sum_xl = 0;
    for (int i = 0; i < 32; i++) {
        float l = (float)codes[i];
        sum_w += w[i];
        sum_x += w[i] * x[i];
        sum_l += w[i] * l;
        sum_l2 += w[i] * l * l;
        sum_xl += w[i] * l * x[i];
    }
    float determinant = sum_w * sum_l2 - sum_l * sum_l;
    if (!(determinant > 0)) {
        return false;
    }
    f->scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    f->minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    if (f->minimum > 0) {
        f->minimum = 0;
        f->scale = sum_xl / sum_l2;
    }
    return true;
}

static struct fit best_fit(const float *x)
{
    float w[32];
    uint8_t codes[32];
    float squares = 0;
    float low = x[0];
    float high = x[0];
    for (int i = 0; i < 32; i++) {
        squares += x[i] * x[i];
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    float typical = sqrtf(squares / 32);
    for (int i = 0; i < 32; i++) {
        w[i] = typical + fabsf(x[i]);
    }
    low = low > 0 ? 0 : low;
    struct fit best = {0, low};
    if (!(high > low)) {
        return best;
    }
    best.scale = 1 / (15.0F / (high - low));
    float error = INFINITY;
    for (int try = -1; try <= TRIES; try++) { /* first the obvious one as it is */
        float inverse = (try < 0 ? 15.0F : -1.0F + 0.1F * (float)try + 15.0F) / (high - low);
        struct fit f = best;
        for (int i = 0; i < 32; i++) {
            codes[i] = (uint8_t)within(nearest(inverse * (x[i] - low)), 0, 15);
        }
        if (try < 0 || refit(x, w, codes, &f)) {
            float e = error_of(x, w, f, codes);
            if (e < error) {
                error = e;
                best = f;
            }
        }
    }
    return best;
}

void quant_encode_q4_k(const float *x, unsigned char *b)
{
    struct fit fits[8];
    float most_scale = 0;
    float most_minimum = 0;
    memset(b, 0, 144);
    for (int i = 0; i < 8; i++) {
        fits[i] = best_fit(x + (size_t)32 * (size_t)i);
        most_scale = fits[i].scale > most_scale ? fits[i].scale : most_scale;
        most_minimum = -fits[i].minimum > most_minimum ? -fits[i].minimum : most_minimum;
    }
    put_half(b, most_scale / 63);
    put_half(b + 2, most_minimum / 63);
    float inverse = most_scale > 0 ? 63 / most_scale : 0;
    float inverse_minimum = most_minimum > 0 ? 63 / most_minimum : 0;
    for (int i = 0; i < 8; i++) {
        int scale = within(nearest(inverse * fits[i].scale), 0, 63);
        int minimum = within(nearest(inverse_minimum * -fits[i].minimum), 0, 63);
        unsigned char *s = b + 4;
        float d = half_at(b) * (float)scale;
        float m = half_at(b + 2) * (float)minimum;
        if (i < 4) {
            s[i] = (unsigned char)scale;
            s[i + 4] = (unsigned char)minimum;
        } else {
            s[i + 4] = (unsigned char)((scale & 0xF) | (minimum & 0xF) << 4);
            s[i - 4] = (unsigned char)(s[i - 4] | scale >> 4 << 6);
            s[i] = (unsigned char)(s[i] | minimum >> 4 << 6);
        }
        for (int l = 0; l < 32; l++) {
            int code = d > 0 ? within(nearest((x[32 * i + l] + m) / d), 0, 15) : 0;
            unsigned char *at = b + 16 + (size_t)32 * (size_t)(i / 2) + l;
            *at = (unsigned char)(*at | code << 4 * (i % 2));
        }
    }
}

/* ---- Q5_0: for rows that are no multiple of 256 ---- */

void quant_encode_q5_0(const float *x, unsigned char *b)
{
    float most = 0;
    float value = 0;
    uint32_t high = 0;
    for (int j = 0; j < 32; j++) {
        if (fabsf(x[j]) > most) {
            most = fabsf(x[j]);
            value = x[j];
        }
    }
    float d = value / -16;
    float inverse = d < 0 || d > 0 ? 1 / d : 0;
    put_half(b, d);
    for (int j = 0; j < 16; j++) {
        int first = within((int)(x[j] * inverse + 16.5F), 0, 31);
        int second = within((int)(x[j + 16] * inverse + 16.5F), 0, 31);
        b[6 + j] = (unsigned char)((first & 0xF) | (second & 0xF) << 4);
        high |= (uint32_t)(first >> 4) << j | (uint32_t)(second >> 4) << (j + 16);
    }
    memcpy(b + 2, &high, sizeof high);
}
