/* The pass of a decoder, layer by layer, as in "Attention Is All You Need" with what Llama changed:
 * norms before, rotary positions, grouped keys and values, a gated feed-forward network.
 *
 *   x = embedding[token]
 *   x = x + output . attention(rope(Wq h), rope(Wk h), Wv h)      h = rms_norm(x)
 *   x = x + down . (silu(gate . h) * (up . h))                    h = rms_norm(x)
 *   logits = head . rms_norm(x)
 *
 * Where an architecture differs (arch_*.c) the model's and layers' fields say so. */
#include <string.h>

#include "model/model_internal.h"

struct pass {
    const struct model *m;
    struct workspace *w;
    struct kv_pool *pool;
    const struct model_piece *pieces;
    size_t n_pieces;
    uint32_t n; /* tokens in all */
    /* of the step at hand */
    const struct layer *l;
    uint32_t layer;
    const float *norm;
    const float *post_norm; /* of what is added; NULL: none */
};

static uint32_t last_of_chunk(const struct pass *p, uint32_t chunk)
{
    uint32_t end = (chunk + 1) * TOKENS_PER_CHUNK;
    return end < p->n ? end : p->n;
}

static void norm_heads(const struct pass *p, const float *weight, float *heads, uint32_t n)
{
    uint32_t width = p->m->info.head_width;
    for (uint32_t i = 0; weight != NULL && i < n; i++) {
        float *head = heads + (size_t)i * width;
        p->w->kernels->rms_norm(head, weight, width, p->m->epsilon, head);
    }
}

static void turn_heads(const struct pass *p, float *heads, uint32_t n, uint32_t token)
{
    size_t pairs = p->m->rope_width / 2;
    for (uint32_t h = 0; h < n; h++) {
        p->w->kernels->rope(
            heads + (size_t)h * p->m->info.head_width, p->w->cosines[p->l->rope] + token * pairs,
            p->w->sines[p->l->rope] + token * pairs, p->m->rope_width, p->m->rope_halves);
    }
}

/* Queries and keys of some tokens are turned to their positions; keys and values go into their
 * pages. */
static void place_tokens(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    const struct model_info *i = &p->m->info;
    (void)worker;
    for (uint32_t t = chunk * TOKENS_PER_CHUNK; t < last_of_chunk(p, chunk); t++) {
        float *q = p->w->q + (size_t)t * i->heads * i->head_width;
        float *k = p->w->k + (size_t)t * i->kv_heads * i->head_width;
        const float *v = p->w->v + (size_t)t * i->kv_heads * i->value_width;
        const struct kv_sequence *s = p->pieces[p->w->owners[t]].sequence;
        norm_heads(p, p->l->query_norm, q, i->heads);
        norm_heads(p, p->l->key_norm, k, i->kv_heads);
        turn_heads(p, q, i->heads, t);
        turn_heads(p, k, i->kv_heads, t);
        kv_put(p->pool, s, p->layer, p->w->positions[t], k, v);
    }
}

struct pages {
    const struct pass *p;
    const struct kv_sequence *s;
    uint32_t head;
};

static void page_of(const void *data, uint32_t page, const void **keys, const void **values)
{
    const struct pages *at = data;
    kv_page(at->p->pool, at->s, at->p->layer, at->head, page, keys, values);
}

/* Tiles of a piece: all queries that look at the same keys, token by token, eight at a time. */
static uint32_t tiles_of(const struct pass *p, const struct model_piece *piece)
{
    uint32_t group = p->m->info.heads / p->m->info.kv_heads;
    return (piece->n * group + KERNEL_TILE - 1) / KERNEL_TILE;
}

static void attend_tile(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    const struct model_info *i = &p->m->info;
    uint32_t group = i->heads / i->kv_heads;
    uint32_t at = piece_of_tile(p->w, (uint32_t)p->n_pieces, chunk / i->kv_heads);
    uint32_t tiles = p->w->firsts[at + 1] - p->w->firsts[at];
    uint32_t place = chunk - p->w->firsts[at] * i->kv_heads; /* head by head: its keys stay near */
    uint32_t kv_head = place / tiles;
    const struct model_piece *piece = &p->pieces[at];
    struct pages pages = {.p = p, .s = piece->sequence, .head = kv_head};
    struct attend_job job = {.key_width = i->head_width,
                             .value_width = i->value_width,
                             .scale = p->m->attention_scale,
                             .cap = p->m->attention_cap,
                             .form = kv_form(p->pool),
                             .page = page_of,
                             .data = &pages};
    uint32_t row = place % tiles * KERNEL_TILE;
    for (; row < piece->n * group && job.n < KERNEL_TILE; row++, job.n++) {
        uint32_t token = p->w->first_tokens[at] + row / group;
        uint32_t head = kv_head * group + row % group;
        job.q_at[job.n] = p->w->q + ((size_t)token * i->heads + head) * i->head_width;
        job.out_at[job.n] = p->w->attended + ((size_t)token * i->heads + head) * i->value_width;
        job.sees[job.n] = p->w->positions[token] + 1;
        job.from[job.n] =
            p->l->window > 0 && job.sees[job.n] > p->l->window ? job.sees[job.n] - p->l->window : 0;
    }
    attend_run(p->w->kernels, &job, &p->w->rooms[worker]);
}

static void attention(struct pass *p)
{
    struct workspace *w = p->w;
    const struct layer *l = p->l;
    const struct product in[] = {{&l->query, l->query_bias, w->q},
                                 {&l->key, l->key_bias, w->k},
                                 {&l->value, l->value_bias, w->v}};
    const struct product out = {&l->output, l->output_bias, w->h};
    matmul_run(w->matmul, w->h, p->n, in, 3);
    for_tokens(w, p->n, place_tokens, p);
    pool_run(w->pool, w->firsts[p->n_pieces] * p->m->info.kv_heads, attend_tile, p);
    matmul_run(w->matmul, w->attended, p->n, &out, 1);
}

static void gate_tokens(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    size_t f = p->m->info.feed_forward;
    size_t first = (size_t)chunk * TOKENS_PER_CHUNK;
    (void)worker;
    (p->m->gelu_gate ? p->w->kernels->geglu : p->w->kernels->swiglu)(
        p->w->gate + first * f, p->w->up + first * f, (last_of_chunk(p, chunk) - first) * f);
}

static void feed_forward(struct pass *p)
{
    struct workspace *w = p->w;
    const struct layer *l = p->l;
    if (l->experts != NULL) {
        experts_run(p->m, w, l, p->n);
        return;
    }
    const struct product in[] = {{&l->gate, NULL, w->gate}, {&l->up, l->up_bias, w->up}};
    const struct product out = {&l->down, l->down_bias, w->h};
    matmul_run(w->matmul, w->h, p->n, in, 2);
    for_tokens(w, p->n, gate_tokens, p);
    matmul_run(w->matmul, w->gate, p->n, &out, 1);
}

static void norm_tokens(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    size_t d = p->m->info.width;
    (void)worker;
    for (uint32_t t = chunk * TOKENS_PER_CHUNK; t < last_of_chunk(p, chunk); t++) {
        p->w->kernels->rms_norm(p->w->x + t * d, p->norm, d, p->m->epsilon, p->w->h + t * d);
    }
}

/* x += h (normed where the model does), then as above. */
static void add_and_norm_tokens(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    size_t d = p->m->info.width;
    size_t first = (size_t)chunk * TOKENS_PER_CHUNK;
    for (size_t t = first; p->post_norm != NULL && t < last_of_chunk(p, chunk); t++) {
        p->w->kernels->rms_norm(p->w->h + t * d, p->post_norm, d, p->m->epsilon, p->w->h + t * d);
    }
    p->w->kernels->add(p->w->x + first * d, p->w->h + first * d,
                       (last_of_chunk(p, chunk) - first) * d);
    norm_tokens(data, chunk, worker);
}

/* The logits of the wanted tokens, as many together as fit: their rows move to the front. */
static void read_out(const struct pass *p, float *logits)
{
    size_t d = p->m->info.width;
    uint32_t wanted = 0;
    uint32_t token = 0;
    for (size_t j = 0; j < p->n_pieces; j++) {
        for (uint32_t t = 0; t < p->pieces[j].n; t++, token++) {
            if (p->pieces[j].every_logit || t + 1 == p->pieces[j].n) {
                memmove(p->w->h + wanted * d, p->w->h + token * d, d * sizeof *p->w->h);
                wanted++;
            }
        }
    }
    const struct product out = {&p->m->weights->head, NULL, logits};
    if (wanted > 0) {
        matmul_run(p->w->matmul, p->w->h, wanted, &out, 1);
    }
    if (p->m->logit_cap > 0) {
        p->w->kernels->cap(logits, (size_t)wanted * p->m->info.vocabulary, p->m->logit_cap);
    }
}

enum status pieces_check(const struct model *m, uint32_t most, const struct kv_pool *pool,
                         const struct model_piece *pieces, size_t n_pieces, uint32_t *n,
                         struct error *err)
{
    uint64_t all = 0;
    for (size_t j = 0; j < n_pieces; j++) {
        const struct model_piece *piece = &pieces[j];
        all += piece->n;
        if (piece->n == 0) {
            return error_set(err, STATUS_INVALID, "a piece of no tokens");
        }
        if (piece->n > kv_pass_most(pool, piece->sequence)) {
            return error_set(err, STATUS_INTERNAL,
                             "no pages are reserved for %u tokens more in a pass", piece->n);
        }
        for (uint32_t t = 0; t < piece->n; t++) {
            if (piece->tokens[t] >= m->info.vocabulary) {
                return error_set(err, STATUS_INVALID, "token %u is not in the vocabulary",
                                 piece->tokens[t]);
            }
        }
    }
    if (all == 0 || all > most || m->info.encoder) {
        return error_set(err, STATUS_INVALID, "a pass of %llu tokens, at most %u",
                         (unsigned long long)all, most);
    }
    *n = (uint32_t)all;
    return STATUS_OK;
}

static enum status check(struct pass *p, struct error *err)
{
    return pieces_check(p->m, p->w->tokens, p->pool, p->pieces, p->n_pieces, &p->n, err);
}

/* Where each token stands, and each piece's tiles. */
static void lay_out(const struct pass *p)
{
    struct workspace *w = p->w;
    uint32_t token = 0;
    w->firsts[0] = 0;
    for (uint32_t j = 0; j < p->n_pieces; j++) {
        w->first_tokens[j] = token;
        w->firsts[j + 1] = w->firsts[j] + tiles_of(p, &p->pieces[j]);
        for (uint32_t t = 0; t < p->pieces[j].n; t++, token++) {
            w->owners[token] = j;
            w->positions[token] = p->pieces[j].sequence->length + t;
            float *x = w->x + (size_t)token * p->m->info.width;
            matrix_row(&p->m->embedding, p->pieces[j].tokens[t], x);
            for (uint32_t d = 0; p->m->embedding_scale != 1 && d < p->m->info.width; d++) {
                x[d] *= p->m->embedding_scale;
            }
        }
    }
    rope_angles(w, p->m->rope_width / 2, p->n);
}

/* The layers from p->layer on; w->h has the rows behind the last norm. */
static void run_layers(struct pass *p)
{
    const struct model *m = p->m;
    p->norm = p->layer == m->info.layers ? m->last_norm : m->layers[p->layer].attention_norm;
    for_tokens(p->w, p->n, norm_tokens, p);
    for (; p->layer < m->info.layers; p->layer++) {
        bool last = p->layer + 1 == m->info.layers;
        p->l = &m->layers[p->layer];
        attention(p);
        p->norm = p->l->feed_forward_norm;
        p->post_norm = p->l->attention_post_norm;
        for_tokens(p->w, p->n, add_and_norm_tokens, p);
        feed_forward(p);
        p->norm = last ? m->last_norm : m->layers[p->layer + 1].attention_norm;
        p->post_norm = p->l->feed_forward_post_norm;
        for_tokens(p->w, p->n, add_and_norm_tokens, p);
    }
}

static void run(struct pass *p)
{
    lay_out(p);
    p->layer = 0;
    run_layers(p);
}

enum status decoder_embed(const struct model *m, struct workspace *w, const uint32_t *tokens,
                          uint32_t n, float *out, struct error *err)
{
    struct kv_shape shape = model_kv_shape(m, TENSOR_F32);
    struct kv_pool *pool = NULL;
    struct kv_sequence sequence = {0};
    struct model_piece piece = {.sequence = &sequence, .tokens = tokens, .n = n};
    struct pass p = {.m = m, .w = w, .pieces = &piece, .n_pieces = 1};
    enum status s = kv_pool_new(&shape, (n + KV_PAGE - 1) / KV_PAGE, &pool, err);
    if (s == STATUS_OK) {
        p.pool = pool;
        s = kv_reserve(pool, &sequence, n, err);
    }
    if (s == STATUS_OK) {
        s = check(&p, err);
    }
    if (s == STATUS_OK) {
        run(&p);
        pool_rows(m, w, w->h, n, out);
    }
    if (pool != NULL) {
        kv_release(pool, &sequence);
        kv_pool_free(pool);
    }
    return s;
}

enum status model_forward(const struct model *m, struct workspace *w, struct kv_pool *pool,
                          const struct model_piece *pieces, size_t n_pieces, float *logits,
                          struct error *err)
{
    struct pass p = {.m = m, .w = w, .pool = pool, .pieces = pieces, .n_pieces = n_pieces};
    enum status s = check(&p, err);
    if (s != STATUS_OK) {
        return s;
    }
    run(&p);
    read_out(&p, logits);
    for (size_t j = 0; j < n_pieces; j++) {
        pieces[j].sequence->length += pieces[j].n;
    }
    return STATUS_OK;
}

enum status decoder_rest(const struct model *m, struct workspace *w, struct kv_pool *pool,
                         const struct model_piece *pieces, size_t n_pieces, uint32_t first,
                         const float *x, float *logits, struct error *err)
{
    struct pass p = {.m = m, .w = w, .pool = pool, .pieces = pieces, .n_pieces = n_pieces};
    enum status s = check(&p, err);
    if (s != STATUS_OK) {
        return s;
    }
    lay_out(&p);
    memcpy(w->x, x, (size_t)p.n * m->info.width * sizeof *x);
    p.layer = first;
    run_layers(&p);
    read_out(&p, logits);
    for (size_t j = 0; j < n_pieces; j++) {
        pieces[j].sequence->length += pieces[j].n;
    }
    return STATUS_OK;
}
