/* Order: panels from the activations (a chunk a panel), then the products (a chunk some groups of
 * sixteen rows, against all panels, so that the weights are read from memory once and lie in the
 * core's cache for the other panels). */
#include "model/matmul.h"

#include <stdlib.h>
#include <string.h>

#include "model/quant.h"

#define CHUNK_BYTES_FEW ((size_t)96 << 10)   /* of weights, for few vectors: even shares */
#define CHUNK_BYTES_MANY ((size_t)192 << 10) /* for many: what a core's cache holds */
#define FEW KERNEL_TILE
#define SHARES 4U /* a thread's of many vectors: the last ones are over nearly together */

struct matmul {
    const struct kernels *kernels;
    struct pool *pool;
    uint32_t tokens, widest;
    unsigned char *quantized, *floats; /* panels */
    float *rows;                       /* a row of floats a worker */
};

struct run {
    struct matmul *m;
    const float *x;
    const struct product *products;
    uint32_t n, n_products, panels, columns;
    bool quantized, floats;
    uint32_t groups[PRODUCTS_MAX]; /* of a chunk */
    uint32_t first[PRODUCTS_MAX + 1];
};

static size_t panel_blocks(const struct matmul_room *r)
{
    size_t vectors = ((size_t)r->tokens + KERNEL_TILE - 1) / KERNEL_TILE * KERNEL_TILE;
    return vectors * (((size_t)r->widest + KERNEL_BLOCK - 1) / KERNEL_BLOCK);
}

uint64_t matmul_bytes(const struct matmul_room *r)
{
    return panel_blocks(r) *
           ((r->quantized ? PANEL_BLOCK_BYTES(1) : 0) + (r->floats ? PANEL_FLOAT_BYTES(1) : 0));
}

enum status matmul_new(const struct kernels *kernels, struct pool *pool,
                       const struct matmul_room *room, struct matmul **out, struct error *err)
{
    struct matmul *m = calloc(1, sizeof *m);
    size_t blocks = panel_blocks(room);
    if (m != NULL) {
        m->kernels = kernels;
        m->pool = pool;
        m->tokens = room->tokens;
        m->widest = room->widest;
        m->quantized = malloc((room->quantized ? blocks * PANEL_BLOCK_BYTES(1) : 0) + 64);
        m->floats = malloc((room->floats ? blocks * PANEL_FLOAT_BYTES(1) : 0) + 64);
        m->rows = malloc(((size_t)room->widest + 16) * pool_threads(pool) * sizeof *m->rows);
    }
    if (m == NULL || m->quantized == NULL || m->floats == NULL || m->rows == NULL) {
        matmul_free(m);
        return error_set(err, STATUS_NO_MEMORY, "no memory for passes of %u tokens", room->tokens);
    }
    *out = m;
    return STATUS_OK;
}

void matmul_free(struct matmul *m)
{
    if (m != NULL) {
        free(m->quantized);
        free(m->floats);
        free(m->rows);
        free(m);
    }
}

static bool is_float(const struct matrix *w)
{
    return w->kind == PACK_F32 || w->kind == PACK_F16 || w->kind == PACK_BF16;
}

/* The last panel is as small as fits. */
static unsigned tile_of(uint32_t n, uint32_t panel)
{
    uint32_t left = n - panel * KERNEL_TILE;
    return left > 4 ? 8 : left > 2 ? 4 : left;
}

static uint32_t vectors_of(uint32_t n, uint32_t panel)
{
    uint32_t left = n - panel * KERNEL_TILE;
    return left < KERNEL_TILE ? left : KERNEL_TILE;
}

static size_t blocks_of(uint32_t columns)
{
    return (columns + KERNEL_BLOCK - 1) / KERNEL_BLOCK;
}

static void make_panel(void *data, uint32_t panel, uint32_t worker)
{
    const struct run *r = data;
    const struct matmul *m = r->m;
    size_t first = (size_t)panel * KERNEL_TILE;
    const float *x = r->x + first * r->columns;
    unsigned n = vectors_of(r->n, panel);
    unsigned tile = tile_of(r->n, panel);
    (void)worker;
    if (r->quantized) {
        m->kernels->quantize(x, r->columns, r->columns, n, tile,
                             m->quantized + first * blocks_of(r->columns) * PANEL_BLOCK_BYTES(1));
    }
    if (r->floats) {
        m->kernels->interleave(x, r->columns, r->columns, n, tile,
                               m->floats + first * blocks_of(r->columns) * PANEL_FLOAT_BYTES(1));
    }
}

/* n sums of one group, token by token, into place. */
static void put_sums(const struct product *p, const float *sums, uint32_t group, uint32_t token,
                     uint32_t n)
{
    size_t columns = p->w->rows;
    uint32_t row = group * KERNEL_ROWS;
    uint32_t rows = p->w->rows - row < KERNEL_ROWS ? p->w->rows - row : KERNEL_ROWS;
    const float *bias = p->bias == NULL ? NULL : p->bias + row;
    float *y = p->y + token * columns + row;
    for (uint32_t t = 0; t < n; t++, sums += KERNEL_ROWS, y += columns) {
        if (rows == KERNEL_ROWS && bias == NULL) {
            memcpy(y, sums, KERNEL_ROWS * sizeof *y);
        } else if (bias == NULL) {
            memcpy(y, sums, rows * sizeof *y);
        } else if (rows == KERNEL_ROWS) { /* of a known length and apart from y: in vectors */
            float made[KERNEL_ROWS];
            for (uint32_t k = 0; k < KERNEL_ROWS; k++) {
                made[k] = sums[k] + bias[k];
            }
            memcpy(y, made, sizeof made);
        } else {
            for (uint32_t k = 0; k < rows; k++) {
                y[k] = sums[k] + bias[k];
            }
        }
    }
}

static void packed_groups(const struct run *r, const struct product *p, uint32_t from, uint32_t to)
{
    const struct matmul *m = r->m;
    size_t blocks = blocks_of(r->columns);
    bool floats = is_float(p->w);
    size_t panel_bytes =
        blocks * (floats ? PANEL_FLOAT_BYTES(1) : PANEL_BLOCK_BYTES(1)) * KERNEL_TILE;
    for (uint32_t panel = 0; panel < r->panels; panel++) {
        const unsigned char *at = (floats ? m->floats : m->quantized) + panel * panel_bytes;
        unsigned tile = tile_of(r->n, panel);
        uint32_t n = vectors_of(r->n, panel);
        for (uint32_t g = from; g < to; g++) {
            float sums[KERNEL_TILE * KERNEL_ROWS];
            m->kernels->dot[p->w->kind](p->w->packed + g * p->w->group_bytes, blocks, at, tile,
                                        sums);
            put_sums(p, sums, g, panel * KERNEL_TILE, n);
        }
    }
}

static void plain_rows(const struct run *r, const struct product *p, uint32_t from, uint32_t to,
                       float *row)
{
    const struct matrix *w = p->w;
    uint32_t end = to * KERNEL_ROWS < w->rows ? to * KERNEL_ROWS : w->rows;
    for (uint32_t i = from * KERNEL_ROWS; i < end; i++) {
        quant_decode(w->type, (const unsigned char *)w->data + i * w->row_bytes, w->columns, row);
        for (uint32_t t = 0; t < r->n; t++) {
            float sum = r->m->kernels->dot_f32(row, r->x + (size_t)t * w->columns, w->columns);
            p->y[(size_t)t * w->rows + i] = p->bias == NULL ? sum : sum + p->bias[i];
        }
    }
}

static uint32_t groups_of(const struct matrix *w)
{
    return (w->rows + KERNEL_ROWS - 1) / KERNEL_ROWS;
}

static void make_products(void *data, uint32_t chunk, uint32_t worker)
{
    const struct run *r = data;
    uint32_t i = 0;
    while (chunk >= r->first[i + 1]) {
        i++;
    }
    const struct product *p = &r->products[i];
    uint32_t from = (chunk - r->first[i]) * r->groups[i];
    uint32_t to = from + r->groups[i] < groups_of(p->w) ? from + r->groups[i] : groups_of(p->w);
    if (p->w->kind == PACK_NONE) {
        plain_rows(r, p, from, to, r->m->rows + (size_t)worker * (r->m->widest + 16));
    } else {
        packed_groups(r, p, from, to);
    }
}

/* Sixteen rows each. A small matrix and many vectors: no more than leaves every thread its part. */
static uint32_t groups_of_chunk(const struct matmul *m, const struct matrix *w, uint32_t n)
{
    size_t target = n <= FEW ? CHUNK_BYTES_FEW : CHUNK_BYTES_MANY;
    size_t bytes = w->kind == PACK_NONE ? w->row_bytes * KERNEL_ROWS : w->group_bytes;
    uint32_t threads = pool_threads(m->pool);
    uint32_t groups = bytes >= target ? 1 : (uint32_t)(target / (bytes + 1));
    uint32_t share = threads == 1 || n <= FEW ? UINT32_MAX : groups_of(w) / (threads * SHARES);
    share = share == 0 ? 1 : share;
    return groups < share ? groups : share;
}

void matmul_run(struct matmul *m, const float *x, uint32_t n, const struct product *products,
                uint32_t n_products)
{
    struct run r = {.m = m,
                    .x = x,
                    .products = products,
                    .n = n,
                    .n_products = n_products,
                    .panels = (n + KERNEL_TILE - 1) / KERNEL_TILE,
                    .columns = products[0].w->columns};
    for (uint32_t i = 0; i < n_products; i++) {
        const struct matrix *w = products[i].w;
        r.floats = r.floats || is_float(w);
        r.quantized = r.quantized || (!is_float(w) && w->kind != PACK_NONE);
        r.groups[i] = groups_of_chunk(m, w, n);
        r.first[i + 1] = r.first[i] + (groups_of(w) + r.groups[i] - 1) / r.groups[i];
    }
    if (r.floats || r.quantized) {
        pool_run(m->pool, r.panels, make_panel, &r);
    }
    pool_run(m->pool, r.first[n_products], make_products, &r);
}
