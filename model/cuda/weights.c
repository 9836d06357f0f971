/* Weights to the device: packed a group of rows at a time by the pool's threads into a ring of
 * pinned buffers, each copied while the next is packed. The same walk counts the bytes first. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/cuda/cuda_internal.h"

#define RING 4U
#define RING_BYTES ((uint64_t)16 << 20)
#define PAGE_BYTES ((uintptr_t)4096)

struct walk {
    struct cuda *c;
    struct pool *pool;
    struct error *err;
    enum status s;
    bool count;  /* only bytes */
    uint64_t at; /* within c->weights */
    bool impossible;
    void *ring[RING];
    uint32_t turn;
};

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* ---- copying ---- */

static void *next_buffer(struct walk *w)
{
    uint32_t n = w->turn % RING;
    if (w->s == STATUS_OK && w->turn >= RING) {
        w->s = w->c->ops->wait(w->c->gpu, n, w->err);
    }
    return w->ring[n];
}

static void send(struct walk *w, void *to, uint64_t bytes)
{
    const struct gpu_ops *ops = w->c->ops;
    uint32_t n = w->turn % RING;
    if (w->s == STATUS_OK) {
        w->s = ops->to_device(w->c->gpu, to, w->ring[n], bytes, w->err);
    }
    if (w->s == STATUS_OK) {
        w->s = ops->mark(w->c->gpu, n, w->err);
    }
    w->turn++;
}

struct packing {
    const struct gpu_ops *ops;
    const struct matrix *from;
    uint64_t group_bytes;
    uint32_t first; /* group */
    unsigned char *to;
};

static void pack_one(void *data, uint32_t chunk, uint32_t worker)
{
    const struct packing *p = data;
    uint32_t row = (p->first + chunk) * p->ops->group_rows;
    uint32_t left = p->from->rows - row;
    (void)worker;
    p->ops->pack(p->from->type, p->from->columns,
                 left < p->ops->group_rows ? left : p->ops->group_rows,
                 (const unsigned char *)p->from->data + (size_t)row * p->from->row_bytes,
                 p->from->row_bytes, p->to + chunk * p->group_bytes);
}

/* The file's pages were read once and may go. */
static void leave(const struct matrix *m)
{
    union {
        const void *from;
        void *to;
        uintptr_t number;
    } start = {.from = m->data};
    uintptr_t end = (start.number + m->row_bytes * m->rows) / PAGE_BYTES * PAGE_BYTES;
    start.number = (start.number + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (end > start.number) {
        (void)madvise(start.to, end - start.number, MADV_DONTNEED);
    }
}

static void matrix(struct walk *w, const struct matrix *from, struct gpu_matrix *to)
{
    const struct gpu_ops *ops = w->c->ops;
    if (from->data == NULL || w->s != STATUS_OK) {
        return;
    }
    uint64_t bytes = ops->matrix_bytes(from->type, from->columns, from->rows);
    uint64_t at = w->at;
    w->at += aligned(bytes);
    uint64_t group = ops->group_bytes(from->type, from->columns);
    w->impossible = w->impossible || bytes == 0 || group == 0 || group > RING_BYTES;
    if (w->count) {
        return;
    }
    *to = (struct gpu_matrix){.type = from->type,
                              .columns = from->columns,
                              .rows = from->rows,
                              .bytes = bytes,
                              .data = (unsigned char *)w->c->weights + at};
    struct packing p = {.ops = ops, .from = from, .group_bytes = group};
    uint32_t groups = (from->rows + ops->group_rows - 1) / ops->group_rows;
    uint32_t some = (uint32_t)(RING_BYTES / p.group_bytes);
    some = some > POOL_CHUNKS_MAX ? POOL_CHUNKS_MAX : some;
    for (; p.first < groups && w->s == STATUS_OK; p.first += some) {
        uint32_t n = groups - p.first < some ? groups - p.first : some;
        p.to = next_buffer(w);
        if (w->s == STATUS_OK) {
            pool_run(w->pool, n, pack_one, &p);
            send(w, (unsigned char *)to->data + p.first * p.group_bytes, n * p.group_bytes);
        }
    }
    leave(from);
}

static void bytes_of(struct walk *w, const void *from, uint64_t bytes, void **to)
{
    uint64_t at = w->at;
    if (from == NULL || w->s != STATUS_OK) {
        return;
    }
    w->at += aligned(bytes);
    if (w->count) {
        return;
    }
    *to = (unsigned char *)w->c->weights + at;
    for (uint64_t done = 0; done < bytes && w->s == STATUS_OK; done += RING_BYTES) {
        uint64_t n = bytes - done < RING_BYTES ? bytes - done : RING_BYTES;
        void *buffer = next_buffer(w);
        if (w->s == STATUS_OK) {
            memcpy(buffer, (const unsigned char *)from + done, n);
            send(w, (unsigned char *)*to + done, n);
        }
    }
}

static void vector(struct walk *w, const float *from, size_t n, float **to)
{
    void *at = NULL;
    bytes_of(w, from, n * sizeof *from, &at);
    *to = at;
}

/* ---- the walk ---- */

static void vectors(struct walk *w, const struct layer *from, struct gpu_layer *to)
{
    const struct model_info *i = &w->c->m->info;
    size_t keys = (size_t)i->kv_heads * i->head_width;
    size_t values = (size_t)i->kv_heads * i->value_width;
    vector(w, from->attention_norm, i->width, &to->attention_norm);
    vector(w, from->feed_forward_norm, i->width, &to->feed_forward_norm);
    vector(w, from->attention_post_norm, i->width, &to->attention_post_norm);
    vector(w, from->feed_forward_post_norm, i->width, &to->feed_forward_post_norm);
    vector(w, from->query_norm, i->head_width, &to->query_norm);
    vector(w, from->key_norm, i->head_width, &to->key_norm);
    vector(w, from->query_bias, (size_t)i->heads * i->head_width, &to->query_bias);
    vector(w, from->key_bias, keys, &to->key_bias);
    vector(w, from->value_bias, values, &to->value_bias);
    vector(w, from->output_bias, i->width, &to->output_bias);
    vector(w, from->up_bias, i->feed_forward, &to->up_bias);
    vector(w, from->down_bias, i->width, &to->down_bias);
}

static void layer(struct walk *w, const struct layer *from, struct gpu_layer *to)
{
    const struct {
        const struct matrix *from;
        struct gpu_matrix *to;
    } all[] = {{&from->query, &to->query}, {&from->key, &to->key},
               {&from->value, &to->value}, {&from->output, &to->output},
               {&from->gate, &to->gate},   {&from->up, &to->up},
               {&from->down, &to->down},   {&from->router, &to->router}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        matrix(w, all[i].from, all[i].to);
    }
    vectors(w, from, to);
    for (uint32_t e = 0; from->experts != NULL && e < w->c->m->info.experts; e++) {
        struct gpu_expert none;
        struct gpu_expert *x = w->count ? &none : &to->experts[e];
        matrix(w, &from->experts[e].gate, &x->gate);
        matrix(w, &from->experts[e].up, &x->up);
        matrix(w, &from->experts[e].down, &x->down);
    }
}

/* As workspace_new has them. */
static enum status frequencies(struct walk *w)
{
    const struct model *m = w->c->m;
    size_t pairs = m->rope_width / 2;
    double *f = calloc(pairs + 1, sizeof *f);
    if (f == NULL) {
        return error_set(w->err, STATUS_NO_MEMORY, "out of memory");
    }
    for (uint32_t r = 0; r < m->n_ropes; r++) {
        void *at = NULL;
        rope_frequencies(m, r, f);
        bytes_of(w, f, (pairs + 1) * sizeof *f, &at);
        w->c->frequencies[r] = at;
    }
    free(f);
    return w->s;
}

static void walk_all(struct walk *w, uint32_t layers)
{
    struct cuda *c = w->c;
    const struct model *m = c->m;
    bool whole = layers == m->info.layers;
    struct gpu_layer none = {0};
    for (uint32_t i = 0; i < layers; i++) {
        layer(w, &m->layers[i], w->count ? &none : &c->layer[i]);
    }
    if (whole) {
        bool tied = m->weights->head.data == m->embedding.data;
        matrix(w, &m->embedding, &c->embedding);
        if (!tied) {
            matrix(w, &m->weights->head, &c->head);
        } else if (!w->count) {
            c->head = c->embedding;
        }
        vector(w, m->last_norm, m->info.width, &c->last_norm);
    }
    if (w->s == STATUS_OK) {
        w->s = frequencies(w);
    }
}

uint64_t cuda_weight_bytes(const struct cuda *c, uint32_t layers)
{
    struct cuda counted = *c; /* the walk writes nothing that outlives it */
    struct error ignored = {0};
    struct walk w = {.c = &counted, .err = &ignored, .count = true};
    walk_all(&w, layers);
    return w.impossible || w.s != STATUS_OK ? 0 : w.at;
}

static enum status rooms(struct cuda *c, struct error *err)
{
    c->layer = calloc((size_t)c->layers + 1, sizeof *c->layer);
    for (uint32_t i = 0; c->layer != NULL && i < c->layers; i++) {
        if (c->m->layers[i].experts != NULL) {
            c->layer[i].experts = calloc(c->m->info.experts, sizeof *c->layer[i].experts);
            if (c->layer[i].experts == NULL) {
                return error_set(err, STATUS_NO_MEMORY, "out of memory");
            }
        }
    }
    return c->layer == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

enum status cuda_weights(struct cuda *c, struct pool *pool, struct error *err)
{
    struct walk w = {.c = c, .pool = pool, .err = err};
    w.s = rooms(c, err);
    if (w.s == STATUS_OK) {
        w.s = c->ops->allocate(c->gpu, cuda_weight_bytes(c, c->layers), &c->weights, err);
    }
    for (uint32_t i = 0; i < RING && w.s == STATUS_OK; i++) {
        w.s = c->ops->host_allocate(c->gpu, RING_BYTES, &w.ring[i], err);
    }
    if (w.s == STATUS_OK) {
        walk_all(&w, c->layers);
    }
    struct error ignored = {0};
    enum status last = c->ops->finish(c->gpu, w.s == STATUS_OK ? err : &ignored);
    w.s = w.s == STATUS_OK ? last : w.s;
    for (uint32_t i = 0; i < RING; i++) {
        c->ops->host_release(c->gpu, w.ring[i]);
    }
    return w.s;
}

void cuda_weights_free(struct cuda *c)
{
    for (uint32_t i = 0; c->layer != NULL && i < c->layers; i++) {
        free(c->layer[i].experts);
    }
    free(c->layer);
    c->layer = NULL;
    c->ops->release(c->gpu, c->weights);
    c->weights = NULL;
}
