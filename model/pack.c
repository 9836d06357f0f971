#include "model/pack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/tensor.h"

#define ROWS KERNEL_ROWS
#define BLOCK KERNEL_BLOCK
#define SUPER 8U /* blocks of a super-block */
#define FOURS 8U /* fours of columns of a block */

/* How the blocks of a kind lie (cpu_dot.h reads them). */
struct layout {
    uint8_t header; /* bytes before every eight blocks */
    uint8_t scales; /* bytes before every block */
    uint8_t bits, high;
};

static const struct layout layouts[PACK_KINDS] = {
    [PACK_Q8_0] = {0, 32, 8, 0},    [PACK_Q4_0] = {0, 32, 4, 0},  [PACK_Q4_1] = {0, 64, 4, 0},
    [PACK_Q5_0] = {0, 32, 4, 1},    [PACK_Q5_1] = {0, 64, 4, 1},  [PACK_Q4_K] = {64, 32, 4, 0},
    [PACK_Q5_K] = {64, 32, 4, 1},   [PACK_Q6_K] = {32, 32, 4, 2}, [PACK_IQ4_NL] = {0, 32, 4, 0},
    [PACK_IQ4_XS] = {32, 16, 4, 0},
};

enum pack_kind pack_kind_of(enum tensor_type type)
{
    static const uint8_t kinds[] = {
        [TENSOR_F32] = PACK_F32,       [TENSOR_F16] = PACK_F16,       [TENSOR_BF16] = PACK_BF16,
        [TENSOR_Q8_0] = PACK_Q8_0,     [TENSOR_Q4_0] = PACK_Q4_0,     [TENSOR_Q4_1] = PACK_Q4_1,
        [TENSOR_Q5_0] = PACK_Q5_0,     [TENSOR_Q5_1] = PACK_Q5_1,     [TENSOR_Q4_K] = PACK_Q4_K,
        [TENSOR_Q5_K] = PACK_Q5_K,     [TENSOR_Q6_K] = PACK_Q6_K,     [TENSOR_Q3_K] = PACK_Q6_K,
        [TENSOR_IQ4_NL] = PACK_IQ4_NL, [TENSOR_IQ4_XS] = PACK_IQ4_XS,
    };
    return (size_t)type < sizeof kinds ? (enum pack_kind)kinds[type] : PACK_NONE;
}

static size_t block_bytes(enum pack_kind kind)
{
    const struct layout *l = &layouts[kind];
    return l->scales + (l->bits == 8 ? 512U : 256U) + 64U * l->high;
}

size_t pack_group_bytes(enum pack_kind kind, size_t columns)
{
    size_t blocks = (columns + BLOCK - 1) / BLOCK;
    if (kind == PACK_F32) {
        return blocks * BLOCK * ROWS * 4;
    }
    if (kind == PACK_F16 || kind == PACK_BF16) {
        return blocks * BLOCK * ROWS * 2;
    }
    return blocks * block_bytes(kind) + (blocks + SUPER - 1) / SUPER * layouts[kind].header;
}

/* ---- one row's block of 32 ---- */

struct block {
    uint16_t scale, minimum; /* halves */
    uint8_t scales[2];       /* of a super-block's 32 or twice 16 */
    uint8_t minima;
    uint8_t codes[BLOCK];
};

static uint16_t half_of(const unsigned char *p)
{
    uint16_t h = (uint16_t)(p[0] | p[1] << 8);
    /* no set of instructions may see what another reads differently */
    return (h & 0x7c00) == 0x7c00 ? (uint16_t)((h & 0x8000) | 0x7bff) : h;
}

static void read_nibbles(const unsigned char *q, uint8_t *codes)
{
    for (unsigned j = 0; j < BLOCK / 2; j++) {
        codes[j] = q[j] & 0xF;
        codes[j + BLOCK / 2] = q[j] >> 4;
    }
}

static void read_fifth_bits(const unsigned char *high, uint8_t *codes)
{
    for (unsigned j = 0; j < BLOCK; j++) {
        codes[j] = (uint8_t)(codes[j] | (high[j / 8] >> j % 8 & 1) << 4);
    }
}

/* Half a byte of each of 32 bytes. */
static void read_half_bytes(const unsigned char *q, unsigned shift, uint8_t *codes)
{
    for (unsigned j = 0; j < BLOCK; j++) {
        codes[j] = q[j] >> shift & 0xF;
    }
}

static void read_k_scales(const unsigned char *s, unsigned i, struct block *out)
{
    out->scales[0] = (uint8_t)(i < 4 ? s[i] & 63 : (s[i + 4] & 0xF) | s[i - 4] >> 6 << 4);
    out->minima = (uint8_t)(i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | s[i] >> 6 << 4);
}

static void read_q4_k(const unsigned char *p, unsigned i, bool fifth, struct block *out)
{
    const unsigned char *q = p + (fifth ? 48 : 16) + (size_t)32 * (i / 2);
    out->scale = half_of(p);
    out->minimum = half_of(p + 2);
    read_k_scales(p + 4, i, out);
    read_half_bytes(q, 4 * (i % 2), out->codes);
    for (unsigned j = 0; fifth && j < BLOCK; j++) {
        out->codes[j] = (uint8_t)(out->codes[j] | (p[16 + j] >> i & 1) << 4);
    }
}

static void read_q6_k(const unsigned char *p, unsigned i, struct block *out)
{
    const unsigned char *low = p + (size_t)64 * (i / 4) + (size_t)32 * (i % 2);
    const unsigned char *high = p + 128 + (size_t)32 * (i / 4);
    out->scale = half_of(p + 208);
    memcpy(out->scales, p + 192 + (size_t)2 * i, 2);
    read_half_bytes(low, i % 4 < 2 ? 0 : 4, out->codes);
    for (unsigned j = 0; j < BLOCK; j++) {
        out->codes[j] = (uint8_t)(out->codes[j] | (high[j] >> 2 * (i % 4) & 3) << 4);
    }
}

/* As Q6_K: what is -4 .. 3 there is 28 .. 35 here. */
static void read_q3_k(const unsigned char *p, unsigned i, struct block *out)
{
    const unsigned char *s = p + 96;
    const unsigned char *q = p + 32 + (size_t)32 * (i / 4);
    out->scale = half_of(p + 108);
    for (unsigned k = 0; k < 2; k++) {
        unsigned n = 2 * i + k;
        unsigned low = n < 8 ? s[n] & 0xFU : (unsigned)s[n - 8] >> 4;
        unsigned value = low | ((unsigned)s[8 + n % 4] >> 2 * (n / 4) & 3U) << 4;
        out->scales[k] = (uint8_t)(value - 32);
    }
    for (unsigned j = 0; j < BLOCK; j++) {
        unsigned v = ((unsigned)q[j] >> 2 * (i % 4) & 3U) + ((p[j] >> i & 1) != 0 ? 32U : 28U);
        out->codes[j] = (uint8_t)v;
    }
}

static void read_iq4_xs(const unsigned char *p, unsigned i, struct block *out)
{
    unsigned high = (unsigned)p[2] | (unsigned)p[3] << 8;
    unsigned scale = ((unsigned)p[4 + i / 2] >> 4 * (i % 2) & 0xFU) | (high >> 2 * i & 3U) << 4;
    out->scale = half_of(p);
    out->scales[0] = (uint8_t)(scale - 32);
    read_nibbles(p + 8 + (size_t)16 * i, out->codes);
}

/* Block b of a row. */
static void read_block(enum tensor_type type, const unsigned char *row, size_t b, struct block *out)
{
    const struct tensor_type_info *info = tensor_type_info(type);
    const unsigned char *p = row + b * BLOCK / info->block_values * info->block_bytes;
    unsigned i = (unsigned)(b % SUPER);
    if (type == TENSOR_Q4_K || type == TENSOR_Q5_K) {
        read_q4_k(p, i, type == TENSOR_Q5_K, out);
    } else if (type == TENSOR_Q6_K) {
        read_q6_k(p, i, out);
    } else if (type == TENSOR_Q3_K) {
        read_q3_k(p, i, out);
    } else if (type == TENSOR_IQ4_XS) {
        read_iq4_xs(p, i, out);
    } else if (type == TENSOR_Q8_0) {
        out->scale = half_of(p);
        for (unsigned j = 0; j < BLOCK; j++) {
            out->codes[j] = p[2 + j] ^ 0x80;
        }
    } else {
        bool minima = type == TENSOR_Q4_1 || type == TENSOR_Q5_1;
        bool fifth = type == TENSOR_Q5_0 || type == TENSOR_Q5_1;
        const unsigned char *after = p + (minima ? 4 : 2);
        out->scale = half_of(p);
        out->minimum = minima ? half_of(p + 2) : 0;
        read_nibbles(after + (fifth ? 4 : 0), out->codes);
        if (fifth) {
            read_fifth_bits(after, out->codes);
        }
    }
}

/* ---- into the group ---- */

static void put_half(unsigned char *out, unsigned row, uint16_t h)
{
    memcpy(out + 2 * (size_t)row, &h, sizeof h);
}

static void put_codes(const struct layout *l, const uint8_t *codes, unsigned row,
                      unsigned char *out)
{
    uint32_t fours[FOURS];
    memcpy(fours, codes, sizeof fours);
    if (l->bits == 8) {
        for (unsigned f = 0; f < FOURS; f++) {
            memcpy(out + (size_t)64 * f + (size_t)4 * row, &fours[f], 4);
        }
        return;
    }
    for (unsigned f = 0; f < FOURS; f += 2) {
        uint32_t pair = (fours[f] & 0x0F0F0F0F) | (fours[f + 1] & 0x0F0F0F0F) << 4;
        memcpy(out + (size_t)32 * f + (size_t)4 * row, &pair, 4);
    }
    out += 256;
    for (unsigned f = 0; l->high == 1 && f < FOURS; f++) {
        uint32_t h = fours[f] >> 4 & 0x01010101;
        unsigned bits = (h | h >> 7 | h >> 14 | h >> 21) & 0xF;
        unsigned char *byte = out + (size_t)8 * f + row / 2;
        *byte = (unsigned char)(*byte | bits << 4 * (row % 2));
    }
    for (unsigned f = 0; l->high == 2 && f < FOURS; f += 4) {
        uint32_t h = 0;
        for (unsigned k = 0; k < 4; k++) {
            h |= (fours[f + k] >> 4 & 0x03030303) << 2 * k;
        }
        memcpy(out + (size_t)16 * f + (size_t)4 * row, &h, 4);
    }
}

static void put_block(enum pack_kind kind, const struct block *b, unsigned row, unsigned char *out)
{
    const struct layout *l = &layouts[kind];
    if (l->header == 0) {
        put_half(out, row, b->scale);
        if (l->scales == 64) {
            put_half(out + 32, row, b->minimum);
        }
    } else {
        out[row] = b->scales[0];
        if (l->scales == 32) {
            out[16 + row] = kind == PACK_Q6_K ? b->scales[1] : b->minima;
        }
    }
    put_codes(l, b->codes, row, out + l->scales);
}

static void pack_floats(const struct matrix *w, const unsigned char *rows, uint32_t n,
                        unsigned char *out)
{
    for (uint32_t r = 0; r < n; r++, rows += w->row_bytes) {
        for (size_t c = 0; c < w->columns; c++) {
            size_t at = c * ROWS + r;
            if (w->type == TENSOR_F32) {
                memcpy(out + at * 4, rows + c * 4, 4);
            } else if (w->type == TENSOR_F16) {
                put_half(out, (unsigned)at, half_of(rows + c * 2));
            } else {
                memcpy(out + at * 2, rows + c * 2, 2);
            }
        }
    }
}

void pack_group(const struct matrix *w, uint32_t first, uint32_t n, unsigned char *out)
{
    enum pack_kind kind = pack_kind_of(w->type);
    const unsigned char *rows = (const unsigned char *)w->data + first * w->row_bytes;
    const struct layout *l = &layouts[kind];
    memset(out, 0, pack_group_bytes(kind, w->columns));
    if (kind == PACK_F32 || kind == PACK_F16 || kind == PACK_BF16) {
        pack_floats(w, rows, n, out);
        return;
    }
    unsigned char *header = out;
    for (size_t b = 0; b < w->columns / BLOCK; b++) {
        if (l->header > 0 && b % SUPER == 0) {
            header = out;
            out += l->header;
        }
        for (uint32_t r = 0; r < n; r++) {
            struct block block;
            read_block(w->type, rows + r * w->row_bytes, b, &block);
            if (l->header > 0 && b % SUPER == 0) {
                put_half(header, r, block.scale);
                if (l->header == 64) {
                    put_half(header + 32, r, block.minimum);
                }
            }
            put_block(kind, &block, r, out);
        }
        out += block_bytes(kind);
    }
}

/* ---- a model's ---- */

struct pack {
    unsigned char *map;
    size_t map_bytes, bytes;
    bool mapped; /* a file */
};

struct packing {
    const struct matrix *w;
    unsigned char *out;
};

static void pack_chunk(void *data, uint32_t chunk, uint32_t worker)
{
    const struct packing *p = data;
    uint32_t first = chunk * ROWS;
    uint32_t left = p->w->rows - first;
    (void)worker;
    pack_group(p->w, first, left < ROWS ? left : ROWS,
               p->out + chunk * pack_group_bytes(pack_kind_of(p->w->type), p->w->columns));
}

size_t pack_matrix_bytes(const struct matrix *w)
{
    enum pack_kind kind = w == NULL || w->data == NULL ? PACK_NONE : pack_kind_of(w->type);
    size_t groups = kind == PACK_NONE ? 0 : (w->rows + ROWS - 1) / ROWS;
    return groups == 0 ? 0 : (groups * pack_group_bytes(kind, w->columns) + 63) / 64 * 64;
}

static void point(struct matrix *w, const unsigned char *packed)
{
    w->kind = pack_kind_of(w->type);
    w->packed = packed;
    w->group_bytes = pack_group_bytes(w->kind, w->columns);
}

enum status pack_over(struct matrix *const *matrices, size_t n, void *map, size_t map_bytes,
                      size_t start, struct pack **out, struct error *err)
{
    struct pack *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *p = (struct pack){
        .map = map, .map_bytes = map_bytes, .bytes = map_bytes - start, .mapped = true};
    for (size_t i = 0; i < n; i++) {
        size_t bytes = pack_matrix_bytes(matrices[i]);
        if (bytes > 0) {
            point(matrices[i], p->map + start);
            start += bytes;
        }
    }
    *out = p;
    return STATUS_OK;
}

enum status pack_new(struct matrix *const *matrices, size_t n, struct pool *pool, struct pack **out,
                     struct error *err)
{
    struct pack *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        p->bytes += pack_matrix_bytes(matrices[i]);
    }
    p->map_bytes = p->bytes + 64;
    void *at = mmap(NULL, p->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        size_t wanted = p->bytes;
        free(p);
        return error_set(err, STATUS_NO_MEMORY, "no memory for %zu MB of packed weights",
                         wanted >> 20);
    }
    p->map = at;
    (void)madvise(at, p->map_bytes, MADV_HUGEPAGE); /* fewer misses where the system has them */
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        size_t bytes = pack_matrix_bytes(matrices[i]);
        if (bytes > 0) {
            struct packing job = {.w = matrices[i], .out = p->map + used};
            pool_run(pool, (matrices[i]->rows + ROWS - 1) / ROWS, pack_chunk, &job);
            point(matrices[i], job.out);
            used += bytes;
        }
    }
    *out = p;
    return STATUS_OK;
}

void pack_free(struct pack *p)
{
    if (p != NULL) {
        (void)munmap(p->map, p->map_bytes);
        free(p);
    }
}

size_t pack_bytes(const struct pack *p)
{
    return p->bytes;
}

bool pack_mapped(const struct pack *p)
{
    return p->mapped;
}
