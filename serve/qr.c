/* In the standard's order: the bits of the text, their correction (Reed-Solomon over GF(256)),
 * interleaved blocks, the fixed patterns, the zigzag, and the mask that scores best. */
#include "serve/qr.h"

#include <stdlib.h>
#include <string.h>

#define VERSION_MAX 10U
#define CODEWORDS_MAX 346U
#define ECC_MAX 30U

struct version { /* level M */
    uint16_t codewords;
    uint8_t ecc; /* correction bytes a block */
    uint8_t blocks;
    uint8_t align[3];
};

static const struct version versions[VERSION_MAX + 1] = {
    {0, 0, 0, {0}},
    {26, 10, 1, {0}},
    {44, 16, 1, {6, 18}},
    {70, 26, 1, {6, 22}},
    {100, 18, 2, {6, 26}},
    {134, 24, 2, {6, 30}},
    {172, 16, 4, {6, 34}},
    {196, 18, 4, {6, 22, 38}},
    {242, 22, 4, {6, 24, 42}},
    {292, 22, 5, {6, 26, 46}},
    {346, 26, 5, {6, 28, 50}},
};

struct qr {
    unsigned version, side;
    uint8_t dark[QR_SIDE_MAX][QR_SIDE_MAX];
    uint8_t fixed[QR_SIDE_MAX][QR_SIDE_MAX]; /* not for data */
};

/* ---- data and correction ---- */

static uint8_t multiply(uint8_t x, uint8_t y)
{
    unsigned z = 0;
    for (int i = 7; i >= 0; i--) {
        z = (z << 1) ^ ((z >> 7) * 0x11d);
        z ^= ((unsigned)(y >> i) & 1U) * x;
    }
    return (uint8_t)z;
}

static void correction(const uint8_t *data, size_t n, unsigned ecc, uint8_t *out)
{
    uint8_t divisor[ECC_MAX] = {0};
    uint8_t root = 1;
    divisor[ecc - 1] = 1;
    for (unsigned i = 0; i < ecc; i++) {
        for (unsigned k = 0; k < ecc; k++) {
            divisor[k] = multiply(divisor[k], root);
            divisor[k] ^= k + 1 < ecc ? divisor[k + 1] : 0;
        }
        root = multiply(root, 2);
    }
    memset(out, 0, ecc);
    for (size_t i = 0; i < n; i++) {
        uint8_t factor = data[i] ^ out[0];
        memmove(out, out + 1, ecc - 1);
        out[ecc - 1] = 0;
        for (unsigned k = 0; k < ecc; k++) {
            out[k] ^= multiply(divisor[k], factor);
        }
    }
}

static void put_bits(uint8_t *out, size_t *at, unsigned value, unsigned n)
{
    for (unsigned i = n; i-- > 0; (*at)++) {
        out[*at / 8] |= (uint8_t)(((value >> i) & 1U) << (7 - *at % 8));
    }
}

/* Mode, length, text, end, and padding up to n bytes. */
static void lay_data(struct str text, unsigned version, size_t n, uint8_t *out)
{
    size_t at = 0;
    memset(out, 0, n);
    put_bits(out, &at, 4, 4);
    put_bits(out, &at, (unsigned)text.len, version < 10 ? 8 : 16);
    for (size_t i = 0; i < text.len; i++) {
        put_bits(out, &at, (unsigned char)text.ptr[i], 8);
    }
    at = (at + 4 + 7) / 8; /* the end is four zeros, or as many as there is room for */
    for (unsigned pad = 0xec; at < n; at++, pad ^= 0xec ^ 0x11) {
        out[at] = (uint8_t)pad;
    }
}

static void interleave(const struct version *v, const uint8_t *data, uint8_t *out)
{
    uint8_t ecc[8][ECC_MAX];
    size_t n_data = v->codewords - (size_t)v->ecc * v->blocks;
    size_t is_short = n_data / v->blocks;
    size_t n_short = v->blocks - n_data % v->blocks;
    size_t starts[9] = {0};
    size_t at = 0;
    for (size_t b = 0; b < v->blocks; b++) {
        size_t len = is_short + (b < n_short ? 0 : 1);
        starts[b + 1] = starts[b] + len;
        correction(data + starts[b], len, v->ecc, ecc[b]);
    }
    for (size_t i = 0; i <= is_short; i++) {
        for (size_t b = 0; b < v->blocks; b++) {
            if (starts[b] + i < starts[b + 1]) {
                out[at++] = data[starts[b] + i];
            }
        }
    }
    for (size_t i = 0; i < v->ecc; i++) {
        for (size_t b = 0; b < v->blocks; b++) {
            out[at++] = ecc[b][i];
        }
    }
}

/* ---- patterns ---- */

static void set(struct qr *q, unsigned x, unsigned y, bool dark)
{
    q->dark[y][x] = dark;
    q->fixed[y][x] = 1;
}

static int far(int dx, int dy)
{
    int a = abs(dx);
    int b = abs(dy);
    return a > b ? a : b;
}

static void finder(struct qr *q, int cx, int cy)
{
    for (int dy = -4; dy <= 4; dy++) {
        for (int dx = -4; dx <= 4; dx++) {
            int x = cx + dx;
            int y = cy + dy;
            int d = far(dx, dy);
            if (x >= 0 && y >= 0 && x < (int)q->side && y < (int)q->side) {
                set(q, (unsigned)x, (unsigned)y, d != 2 && d != 4);
            }
        }
    }
}

static void alignments(struct qr *q)
{
    const uint8_t *at = versions[q->version].align;
    unsigned n = at[0] == 0 ? 0 : at[2] == 0 ? 2 : 3;
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < n; k++) {
            bool corner = (i == 0 && k == 0) || (i == 0 && k == n - 1) || (i == n - 1 && k == 0);
            for (int dy = -2; dy <= 2 && !corner; dy++) {
                for (int dx = -2; dx <= 2; dx++) {
                    set(q, (unsigned)(at[i] + dx), (unsigned)(at[k] + dy), far(dx, dy) != 1);
                }
            }
        }
    }
}

static void format(struct qr *q, unsigned mask)
{
    unsigned data = mask; /* level M is 00 */
    unsigned rest = data;
    for (int i = 0; i < 10; i++) {
        rest = (rest << 1) ^ ((rest >> 9) * 0x537);
    }
    unsigned bits = (data << 10 | rest) ^ 0x5412;
    unsigned s = q->side;
    for (unsigned i = 0; i < 6; i++) {
        set(q, 8, i, (bits >> i) & 1U);
    }
    set(q, 8, 7, (bits >> 6) & 1U);
    set(q, 8, 8, (bits >> 7) & 1U);
    set(q, 7, 8, (bits >> 8) & 1U);
    for (unsigned i = 9; i < 15; i++) {
        set(q, 14 - i, 8, (bits >> i) & 1U);
    }
    for (unsigned i = 0; i < 8; i++) {
        set(q, s - 1 - i, 8, (bits >> i) & 1U);
    }
    for (unsigned i = 8; i < 15; i++) {
        set(q, 8, s - 15 + i, (bits >> i) & 1U);
    }
    set(q, 8, s - 8, true);
}

static void version_bits(struct qr *q)
{
    unsigned rest = q->version;
    for (int i = 0; i < 12; i++) {
        rest = (rest << 1) ^ ((rest >> 11) * 0x1f25);
    }
    unsigned bits = q->version << 12 | rest;
    for (unsigned i = 0; i < 18 && q->version >= 7; i++) {
        unsigned a = q->side - 11 + i % 3;
        set(q, a, i / 3, (bits >> i) & 1U);
        set(q, i / 3, a, (bits >> i) & 1U);
    }
}

static void patterns(struct qr *q)
{
    for (unsigned i = 0; i < q->side; i++) {
        set(q, 6, i, i % 2 == 0);
        set(q, i, 6, i % 2 == 0);
    }
    finder(q, 3, 3);
    finder(q, (int)q->side - 4, 3);
    finder(q, 3, (int)q->side - 4);
    alignments(q);
    format(q, 0);
    version_bits(q);
}

static void zigzag(struct qr *q, const uint8_t *codewords, size_t n)
{
    size_t i = 0;
    for (int right = (int)q->side - 1; right >= 1; right -= 2) {
        right = right == 6 ? 5 : right;
        for (unsigned v = 0; v < q->side; v++) {
            for (int k = 0; k < 2; k++) {
                unsigned x = (unsigned)(right - k);
                bool up = ((right + 1) & 2) == 0;
                unsigned y = up ? q->side - 1 - v : v;
                if (!q->fixed[y][x] && i < n * 8) {
                    q->dark[y][x] = ((unsigned)codewords[i / 8] >> (7 - i % 8)) & 1U;
                    i++;
                }
            }
        }
    }
}

/* ---- the mask ---- */

static bool masked(unsigned mask, unsigned x, unsigned y)
{
    switch (mask) {
    case 0:
        return (x + y) % 2 == 0;
    case 1:
        return y % 2 == 0;
    case 2:
        return x % 3 == 0;
    case 3:
        return (x + y) % 3 == 0;
    case 4:
        return (x / 3 + y / 2) % 2 == 0;
    case 5:
        return x * y % 2 + x * y % 3 == 0;
    case 6:
        return (x * y % 2 + x * y % 3) % 2 == 0;
    default:
        return ((x + y) % 2 + x * y % 3) % 2 == 0;
    }
}

static void apply(struct qr *q, unsigned mask)
{
    for (unsigned y = 0; y < q->side; y++) {
        for (unsigned x = 0; x < q->side; x++) {
            q->dark[y][x] ^= !q->fixed[y][x] && masked(mask, x, y);
        }
    }
}

static unsigned at(const struct qr *q, unsigned line, unsigned i, bool column)
{
    return column ? q->dark[i][line] : q->dark[line][i];
}

/* Runs of one colour, and what looks like a finder. */
static long penalty_line(const struct qr *q, unsigned line, bool column)
{
    long sum = 0;
    unsigned run = 0;
    unsigned seen = 0;
    for (unsigned i = 0; i < q->side; i++) {
        unsigned c = at(q, line, i, column);
        run = i > 0 && at(q, line, i - 1, column) == c ? run + 1 : 1;
        sum += run == 5 ? 3 : run > 5 ? 1 : 0;
        seen = (seen << 1 | c) & 0x7ff;
        sum += i >= 10 && (seen == 0x5d || seen == 0x5d0) ? 40 : 0;
    }
    return sum;
}

static long penalty(const struct qr *q)
{
    long sum = 0;
    long dark = 0;
    long all = (long)q->side * q->side;
    for (unsigned y = 0; y < q->side; y++) {
        sum += penalty_line(q, y, false) + penalty_line(q, y, true);
        for (unsigned x = 0; x < q->side; x++) {
            dark += q->dark[y][x];
            bool square = x + 1 < q->side && y + 1 < q->side;
            unsigned four = square ? (unsigned)q->dark[y][x] + q->dark[y][x + 1] +
                                         q->dark[y + 1][x] + q->dark[y + 1][x + 1]
                                   : 1;
            sum += four == 0 || four == 4 ? 3 : 0;
        }
    }
    return sum + labs(dark * 20 - all * 10) / all * 10;
}

static unsigned best_mask(struct qr *q)
{
    unsigned best = 0;
    long least = 0;
    for (unsigned mask = 0; mask < 8; mask++) {
        apply(q, mask);
        format(q, mask);
        long p = penalty(q);
        if (mask == 0 || p < least) {
            best = mask;
            least = p;
        }
        apply(q, mask); /* off again */
    }
    return best;
}

enum status qr_modules(struct str text, uint8_t out[QR_SIDE_MAX * QR_SIDE_MAX], unsigned *side,
                       struct error *err)
{
    uint8_t data[CODEWORDS_MAX];
    uint8_t codewords[CODEWORDS_MAX];
    struct qr q = {.version = 0};
    const struct version *v = NULL;
    size_t room = 0;
    for (unsigned i = 1; i <= VERSION_MAX && q.version == 0; i++) {
        v = &versions[i];
        room = v->codewords - (size_t)v->ecc * v->blocks;
        q.version = room >= text.len + (i < 10 ? 2 : 3) ? i : 0;
    }
    if (q.version == 0) {
        return error_set(err, STATUS_TOO_LARGE, "the text is too long for a code");
    }
    q.side = 17 + 4 * q.version;
    patterns(&q);
    lay_data(text, q.version, room, data);
    interleave(v, data, codewords);
    zigzag(&q, codewords, v->codewords);
    unsigned mask = best_mask(&q);
    apply(&q, mask);
    format(&q, mask);
    for (unsigned y = 0; y < q.side; y++) {
        memcpy(out + (size_t)y * q.side, q.dark[y], q.side);
    }
    *side = q.side;
    return STATUS_OK;
}

enum status qr_svg(struct str text, struct buf *out, struct error *err)
{
    uint8_t dark[QR_SIDE_MAX * QR_SIDE_MAX];
    unsigned side;
    enum status s = qr_modules(text, dark, &side, err);
    if (s != STATUS_OK) {
        return s;
    }
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" "
               "shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%uv%uH0z\"/><path "
               "fill=\"#000\" d=\"",
               side + 8, side + 8, side + 8, side + 8);
    for (unsigned y = 0; y < side; y++) {
        for (unsigned x = 0; x < side; x++) {
            unsigned n = 0;
            while (x + n < side && dark[y * side + x + n]) {
                n++;
            }
            if (n > 0) {
                buf_printf(out, "M%u %uh%uv1h-%uz", x + 4, y + 4, n, n);
                x += n;
            }
        }
    }
    buf_z(out, "\"/></svg>");
    s = buf_status(out);
    return s == STATUS_OK ? s : error_set(err, s, "out of memory");
}
