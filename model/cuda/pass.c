/* The pass of decoder.c, in a device's operations:
 *
 *   x = embedding[token]
 *   x = x + output . attention(rope(Wq h), rope(Wk h), Wv h)      h = rms_norm(x)
 *   x = x + down . (silu(gate . h) * (up . h))                    h = rms_norm(x)
 *   logits = head . rms_norm(x)
 *
 * Every function here asks for work and waits for none, but experts, whose choice the host reads to
 * gather each one's tokens, and the end. After an error the rest does nothing. */
#include <string.h>

#include "model/cuda/cuda_internal.h"

struct run {
    struct cuda *c;
    const struct cuda_pass *p;
    struct error *err;
    enum status s;
};

#define ASK(r, call)                                                                               \
    do {                                                                                           \
        if ((r)->s == STATUS_OK) {                                                                 \
            (r)->s = (r)->c->ops->call;                                                            \
        }                                                                                          \
    } while (0)

/* Those of the same columns; absent ones are left out. */
static void multiply(struct run *r, const float *x, uint32_t n, const struct gpu_product *products,
                     uint32_t n_products)
{
    ASK(r, multiply(r->c->gpu, x, n, products, n_products, r->err));
}

static void attention(struct run *r, const struct gpu_layer *l, uint32_t layer)
{
    struct cuda *c = r->c;
    const struct model_info *i = &c->m->info;
    const struct layer *from = &c->m->layers[layer];
    uint32_t n = r->p->batch.n;
    uint32_t place = 0;
    uint32_t group = kv_group(c->b.keys, layer, &place);
    struct gpu_keys keys = {.type = c->kv_type,
                            .kv_heads = i->kv_heads,
                            .key_width = i->head_width,
                            .value_width = i->value_width,
                            .data = (unsigned char *)c->pages[group] + place * c->layer_bytes,
                            .page_bytes = c->page_bytes[group],
                            .table = r->p->table[group],
                            .table_width = r->p->table_width};
    const struct gpu_product in[] = {{&l->query, l->query_bias, c->q},
                                     {&l->key, l->key_bias, c->k},
                                     {&l->value, l->value_bias, c->v}};
    const struct gpu_product out = {&l->output, l->output_bias, c->h};
    struct gpu_place put = {.batch = &r->p->batch,
                            .keys = &keys,
                            .q = c->q,
                            .k = c->k,
                            .v = c->v,
                            .query_norm = l->query_norm,
                            .key_norm = l->key_norm,
                            .heads = i->heads,
                            .epsilon = c->m->epsilon,
                            .rope_width = c->m->rope_width,
                            .rope_halves = c->m->rope_halves,
                            .cosines = c->cosines[from->rope],
                            .sines = c->sines[from->rope]};
    struct gpu_attend look = {.batch = &r->p->batch,
                              .keys = &keys,
                              .q = c->q,
                              .out = c->attended,
                              .heads = i->heads,
                              .window = from->window,
                              .scale = c->m->attention_scale,
                              .cap = c->m->attention_cap,
                              .most = r->p->most};
    multiply(r, c->h, n, in, 3);
    ASK(r, place(c->gpu, &put, r->err));
    ASK(r, attend(c->gpu, &look, r->err));
    multiply(r, c->attended, n, &out, 1);
}

/* ---- experts ---- */

/* The tokens of each expert behind each other: host_places says which row to read, and behind
 * places_most of them which result to write. firsts: experts + 1. */
static void sort_by_expert(const struct cuda *c, uint32_t n, uint32_t *firsts)
{
    uint32_t used = c->m->info.experts_used;
    uint32_t at = 0;
    for (uint32_t e = 0; e < c->m->info.experts; e++) {
        firsts[e] = at;
        for (uint32_t i = 0; i < n * used; i++) {
            if (c->host_chosen[i] == e) {
                c->host_places[at] = i / used;
                c->host_places[c->places_most + at] = i;
                at++;
            }
        }
    }
    firsts[c->m->info.experts] = at;
}

static void one_expert(struct run *r, const struct gpu_expert *x, uint32_t first, uint32_t rows)
{
    struct cuda *c = r->c;
    uint32_t width = c->m->info.width;
    const struct gpu_product in[] = {{&x->gate, NULL, c->gate}, {&x->up, NULL, c->up}};
    const struct gpu_product out = {&x->down, NULL, c->expert_out};
    const uint32_t *from = c->places + first;
    const uint32_t *to = c->places + c->places_most + first;
    ASK(r, gather(c->gpu, c->expert_in, c->h, from, rows, width, r->err));
    multiply(r, c->expert_in, rows, in, 2);
    ASK(r, gate(c->gpu, c->gate, c->up, rows, c->m->expert_width, false, r->err));
    multiply(r, c->gate, rows, &out, 1);
    ASK(r, scatter(c->gpu, c->results, c->expert_out, to, rows, width, r->err));
}

static void experts(struct run *r, const struct gpu_layer *l)
{
    struct cuda *c = r->c;
    const struct model_info *i = &c->m->info;
    uint32_t n = r->p->batch.n;
    uint32_t firsts[CUDA_EXPERTS_MAX + 1];
    uint64_t bytes = (uint64_t)n * i->experts_used * sizeof *c->chosen;
    const struct gpu_product scores = {&l->router, NULL, c->scores};
    multiply(r, c->h, n, &scores, 1);
    ASK(r, route(c->gpu, c->scores, n, i->experts, i->experts_used, c->chosen, c->shares, r->err));
    ASK(r, to_host(c->gpu, c->host_chosen, c->chosen, bytes, r->err));
    ASK(r, finish(c->gpu, r->err));
    if (r->s != STATUS_OK) {
        return;
    }
    sort_by_expert(c, n, firsts);
    ASK(r, to_device(c->gpu, c->places, c->host_places, bytes, r->err));
    ASK(r, to_device(c->gpu, c->places + c->places_most, c->host_places + c->places_most, bytes,
                     r->err));
    for (uint32_t e = 0; e < i->experts && r->s == STATUS_OK; e++) {
        if (firsts[e + 1] > firsts[e]) {
            one_expert(r, &l->experts[e], firsts[e], firsts[e + 1] - firsts[e]);
        }
    }
    ASK(r, mix(c->gpu, c->results, c->shares, n, i->experts_used, i->width, c->h, r->err));
}

static void feed_forward(struct run *r, const struct gpu_layer *l)
{
    struct cuda *c = r->c;
    uint32_t n = r->p->batch.n;
    const struct gpu_product in[] = {{&l->gate, NULL, c->gate}, {&l->up, l->up_bias, c->up}};
    const struct gpu_product out = {&l->down, l->down_bias, c->h};
    if (l->experts != NULL) {
        experts(r, l);
        return;
    }
    multiply(r, c->h, n, in, 2);
    ASK(r, gate(c->gpu, c->gate, c->up, n, c->m->info.feed_forward, c->m->gelu_gate, r->err));
    multiply(r, c->gate, n, &out, 1);
}

/* ---- all of it ---- */

static void angles(struct run *r)
{
    struct cuda *c = r->c;
    for (uint32_t k = 0; k < c->m->n_ropes; k++) {
        ASK(r, angles(c->gpu, &r->p->batch, c->frequencies[k], c->m->rope_width / 2,
                      c->m->ropes[k].magnitude, c->cosines[k], c->sines[k], r->err));
    }
}

static void norm(struct run *r, const float *weight, const float *post, bool add)
{
    struct cuda *c = r->c;
    ASK(r, norm(c->gpu, c->x, c->h, weight, post, add, r->p->batch.n, c->m->info.width,
                c->m->epsilon, r->err));
}

/* x has the embedding's rows; behind it, of the device's last layer, h what comes next. */
static void layers(struct run *r)
{
    struct cuda *c = r->c;
    angles(r);
    norm(r, c->layer[0].attention_norm, NULL, false);
    for (uint32_t n = 0; n < c->layers; n++) {
        const struct gpu_layer *l = &c->layer[n];
        bool last = n + 1 == c->layers;
        attention(r, l, n);
        norm(r, l->feed_forward_norm, l->attention_post_norm, true);
        feed_forward(r, l);
        norm(r,
             !last      ? c->layer[n + 1].attention_norm
             : c->whole ? c->last_norm
                        : NULL,
             l->feed_forward_post_norm, true);
    }
}

static void read_out(struct run *r, const uint32_t *rows, uint32_t n)
{
    struct cuda *c = r->c;
    const struct model_info *i = &c->m->info;
    const struct gpu_product out = {&c->head, NULL, c->logits};
    ASK(r, gather(c->gpu, c->wanted, c->h, rows, n, i->width, r->err));
    multiply(r, c->wanted, n, &out, 1);
    if (c->m->logit_cap > 0) {
        ASK(r, cap(c->gpu, c->logits, (uint64_t)n * i->vocabulary, c->m->logit_cap, r->err));
    }
}

/* The device has it all: a step of answers is captured whole. */
static void run_whole(struct run *r, bool read)
{
    struct cuda *c = r->c;
    const struct cuda_pass *p = r->p;
    struct gpu_graph_key key = {
        .rows = p->key_rows, .splits = p->key_splits, .wanted = read ? p->n_wanted : 0};
    bool known = false;
    if (p->captured) {
        ASK(r, graph_begin(c->gpu, &key, &known, r->err));
    }
    if (!known) {
        ASK(r, embed(c->gpu, &c->embedding, &p->batch, c->m->embedding_scale, c->x, r->err));
        layers(r);
        if (read && p->n_wanted > 0) {
            read_out(r, p->wanted, p->n_wanted);
        }
    }
    if (p->captured && !known) { /* also after an error: nothing is left half captured */
        struct error ignored = {0};
        enum status end = c->ops->graph_end(c->gpu, r->s == STATUS_OK ? r->err : &ignored);
        r->s = r->s == STATUS_OK ? end : r->s;
    }
}

/* The processor gives the embedding's rows and gets those behind the device's last layer. */
static void run_part(struct run *r)
{
    struct cuda *c = r->c;
    size_t width = c->m->info.width;
    uint64_t bytes = (uint64_t)r->p->n * width * sizeof *c->host_x;
    float *x = c->host_x;
    for (size_t i = 0; i < r->p->n_pieces; i++) {
        for (uint32_t t = 0; t < r->p->pieces[i].n; t++, x += width) {
            matrix_row(&c->m->embedding, r->p->pieces[i].tokens[t], x);
            for (size_t d = 0; d < width; d++) {
                x[d] *= c->m->embedding_scale;
            }
        }
    }
    ASK(r, to_device(c->gpu, c->x, c->host_x, bytes, r->err));
    layers(r);
    ASK(r, to_host(c->gpu, c->host_x, c->x, bytes, r->err));
}

enum status cuda_run(struct cuda *c, const struct cuda_pass *p, float *logits, struct error *err)
{
    struct run r = {.c = c, .p = p, .err = err, .s = STATUS_OK};
    size_t row = c->m->info.vocabulary;
    if (!c->whole) {
        run_part(&r);
        ASK(&r, finish(c->gpu, err));
        return r.s;
    }
    if (logits == NULL || p->captured) {
        run_whole(&r, true);
    } else {
        run_whole(&r, false);
    }
    for (uint32_t done = 0; logits != NULL && done < p->n_wanted && r.s == STATUS_OK;) {
        uint32_t n = p->n_wanted - done < c->choices ? p->n_wanted - done : c->choices;
        n = p->captured ? p->n_wanted : n; /* they are there */
        uint32_t real = p->captured ? p->n : n;
        if (!p->captured) {
            read_out(&r, p->wanted + done, n);
        }
        ASK(&r, to_host(c->gpu, logits + done * row, c->logits, real * row * sizeof *logits, err));
        ASK(&r, finish(c->gpu, err));
        done += n;
    }
    ASK(&r, finish(c->gpu, err));
    return r.s;
}
