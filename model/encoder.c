/* BERT (Devlin et al. 2019): every token sees every other, norms stand behind, positions are
 * learned.
 *
 *   x = norm(embedding[token] + position[t] + type[0])
 *   x = norm(x + output . attention(Wq x, Wk x, Wv x))
 *   x = norm(x + down . gelu(up . x))
 *
 * Nomic's (Nussbaum et al. 2024) has no position[t] and turns queries and keys instead; its network
 * is down . (silu(gate . x) * (up . x)). */
#include <math.h>
#include <string.h>

#include "model/model_internal.h"

/* Texts one behind the other. Each sees only itself. */
struct pass {
    const struct model *m;
    struct workspace *w;
    const struct model_tokens *texts;
    uint32_t n_texts, n; /* tokens in all */
    uint32_t second;     /* tokens of a text from there on are of the second type */
    /* of the step at hand */
    const float *weight, *bias;
};

static uint32_t last_of_chunk(const struct pass *p, uint32_t chunk)
{
    uint32_t end = (chunk + 1) * TOKENS_PER_CHUNK;
    return end < p->n ? end : p->n;
}

/* ---- attention ---- */

/* Pages of a text are those from its own first one on; w->owners says which. */
static float *page_at(const struct pass *p, uint32_t page, uint32_t head)
{
    const struct model_info *i = &p->m->info;
    size_t bytes = (size_t)KV_PAGE * (i->head_width + ATTEND_PADDED(i->head_width));
    return p->w->pages + ((size_t)page * i->heads + head) * bytes;
}

static uint32_t pages_of(uint32_t n)
{
    return (n + KV_PAGE - 1) / KV_PAGE;
}

/* Rotary positions, where none are learned. */
static void turn(const struct pass *p, uint32_t t)
{
    const struct model *m = p->m;
    size_t pairs = m->rope_width / 2;
    for (uint32_t h = 0; m->positions.data == NULL && h < m->info.heads; h++) {
        size_t at = ((size_t)t * m->info.heads + h) * m->info.head_width;
        p->w->kernels->rope(p->w->q + at, p->w->cosines[0] + t * pairs, p->w->sines[0] + t * pairs,
                            m->rope_width, m->rope_halves);
        p->w->kernels->rope(p->w->k + at, p->w->cosines[0] + t * pairs, p->w->sines[0] + t * pairs,
                            m->rope_width, m->rope_halves);
    }
}

static void place_tokens(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    const struct model_info *i = &p->m->info;
    (void)worker;
    for (uint32_t t = chunk * TOKENS_PER_CHUNK; t < last_of_chunk(p, chunk); t++) {
        uint32_t slot = p->w->positions[t] % KV_PAGE;
        uint32_t page = p->w->owners[t] + p->w->positions[t] / KV_PAGE;
        turn(p, t);
        for (uint32_t h = 0; h < i->heads; h++) {
            const float *key = p->w->k + ((size_t)t * i->heads + h) * i->head_width;
            const float *value = p->w->v + ((size_t)t * i->heads + h) * i->head_width;
            float *keys = page_at(p, page, h);
            float *values = keys + (size_t)KV_PAGE * i->head_width;
            for (uint32_t d = 0; d < i->head_width; d++) {
                keys[d * KV_PAGE + slot] = key[d];
            }
            memcpy(values + (size_t)slot * ATTEND_PADDED(i->head_width), value,
                   i->head_width * sizeof *value);
        }
    }
}

struct pages {
    const struct pass *p;
    uint32_t first, head;
};

static void page_of(const void *data, uint32_t page, const void **keys, const void **values)
{
    const struct pages *at = data;
    const float *start = page_at(at->p, at->first + page, at->head);
    *keys = start;
    *values = start + (size_t)KV_PAGE * at->p->m->info.head_width;
}

static void attend_tile(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    const struct model_info *i = &p->m->info;
    uint32_t text = piece_of_tile(p->w, p->n_texts, chunk / i->heads);
    uint32_t tiles = p->w->firsts[text + 1] - p->w->firsts[text];
    uint32_t place = chunk - p->w->firsts[text] * i->heads; /* head by head: its keys stay near */
    uint32_t first = p->w->first_tokens[text];
    struct pages pages = {.p = p, .first = p->w->owners[first], .head = place / tiles};
    struct attend_job job = {.key_width = i->head_width,
                             .value_width = i->head_width,
                             .scale = 1.0F / sqrtf((float)i->head_width),
                             .page = page_of,
                             .data = &pages};
    uint32_t t = place % tiles * KERNEL_TILE;
    for (; t < p->texts[text].n && job.n < KERNEL_TILE; t++, job.n++) {
        size_t at = ((size_t)(first + t) * i->heads + pages.head) * i->head_width;
        job.q_at[job.n] = p->w->q + at;
        job.out_at[job.n] = p->w->attended + at;
        job.sees[job.n] = p->texts[text].n;
    }
    attend_run(p->w->kernels, &job, &p->w->rooms[worker]);
}

/* ---- layers ---- */

static void add_and_norm(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    size_t d = p->m->info.width;
    (void)worker;
    for (uint32_t t = chunk * TOKENS_PER_CHUNK; t < last_of_chunk(p, chunk); t++) {
        float *x = p->w->x + t * d;
        p->w->kernels->add(x, p->w->h + t * d, d);
        p->w->kernels->layer_norm(x, p->weight, p->bias, d, p->m->epsilon, x);
    }
}

static void bend_tokens(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    size_t f = p->m->info.feed_forward;
    size_t first = (size_t)chunk * TOKENS_PER_CHUNK;
    (void)worker;
    p->w->kernels->gelu(p->w->up + first * f, (last_of_chunk(p, chunk) - first) * f);
}

static void gate_tokens(void *data, uint32_t chunk, uint32_t worker)
{
    const struct pass *p = data;
    size_t f = p->m->info.feed_forward;
    size_t first = (size_t)chunk * TOKENS_PER_CHUNK;
    (void)worker;
    p->w->kernels->swiglu(p->w->gate + first * f, p->w->up + first * f,
                          (last_of_chunk(p, chunk) - first) * f);
}

static void feed_forward(struct pass *p, const struct layer *l)
{
    struct workspace *w = p->w;
    bool gated = l->gate.data != NULL;
    const struct product in[] = {{&l->up, l->up_bias, w->up}, {&l->gate, NULL, w->gate}};
    const struct product down = {&l->down, l->down_bias, w->h};
    matmul_run(w->matmul, w->x, p->n, in, gated ? 2 : 1);
    for_tokens(w, p->n, gated ? gate_tokens : bend_tokens, p);
    matmul_run(w->matmul, gated ? w->gate : w->up, p->n, &down, 1);
}

static void run_layer(struct pass *p, const struct layer *l)
{
    struct workspace *w = p->w;
    const struct product in[] = {{&l->query, l->query_bias, w->q},
                                 {&l->key, l->key_bias, w->k},
                                 {&l->value, l->value_bias, w->v}};
    const struct product out = {&l->output, l->output_bias, w->h};
    matmul_run(w->matmul, w->x, p->n, in, 3);
    for_tokens(w, p->n, place_tokens, p);
    pool_run(w->pool, w->firsts[p->n_texts] * p->m->info.heads, attend_tile, p);
    matmul_run(w->matmul, w->attended, p->n, &out, 1);
    p->weight = l->attention_norm;
    p->bias = l->attention_norm_bias;
    for_tokens(w, p->n, add_and_norm, p);
    feed_forward(p, l);
    p->weight = l->feed_forward_norm;
    p->bias = l->feed_forward_norm_bias;
    for_tokens(w, p->n, add_and_norm, p);
}

static void lay_out(const struct pass *p)
{
    const struct model *m = p->m;
    struct workspace *w = p->w;
    size_t d = m->info.width;
    uint32_t token = 0;
    uint32_t page = 0;
    w->firsts[0] = 0;
    for (uint32_t j = 0; j < p->n_texts; j++) {
        uint32_t n = p->texts[j].n;
        w->first_tokens[j] = token;
        w->firsts[j + 1] = w->firsts[j] + (n + KERNEL_TILE - 1) / KERNEL_TILE;
        for (uint32_t t = 0; t < n; t++, token++) {
            float *x = w->x + token * d;
            w->positions[token] = t;
            w->owners[token] = page;
            matrix_row(&m->embedding, p->texts[j].tokens[t], x);
            const float *type = m->token_types[t < p->second ? 0 : 1];
            if (m->positions.data != NULL) {
                matrix_row(&m->positions, t, w->row);
                w->kernels->add(x, w->row, d);
            }
            if (type != NULL) {
                w->kernels->add(x, type, d);
            }
            w->kernels->layer_norm(x, m->first_norm, m->first_norm_bias, d, m->epsilon, x);
        }
        page += pages_of(n);
    }
    if (m->positions.data == NULL) {
        rope_angles(w, m->rope_width / 2, p->n);
    }
}

void pool_rows(const struct model *m, const struct workspace *w, const float *rows, uint32_t n,
               float *out)
{
    size_t d = m->info.width;
    if (m->info.pooling == POOLING_CLS || m->info.pooling == POOLING_LAST) {
        memcpy(out, rows + (m->info.pooling == POOLING_CLS ? 0 : n - 1) * d, d * sizeof *out);
    } else {
        memset(out, 0, d * sizeof *out);
        for (uint32_t t = 0; t < n; t++) {
            w->kernels->add(out, rows + t * d, d);
        }
    }
    float length = sqrtf(w->kernels->dot_f32(out, out, d));
    for (size_t i = 0; i < d && length > 0; i++) {
        out[i] /= length;
    }
}

enum status encoder_check(const struct model *m, const struct workspace *w, const uint32_t *tokens,
                          uint32_t n, struct error *err)
{
    if (n > m->info.context || n > w->tokens) {
        return error_set(err, STATUS_TOO_LARGE, "the text has %u tokens, the encoder takes %u", n,
                         m->info.context < w->tokens ? m->info.context : w->tokens);
    }
    for (uint32_t t = 0; t < n; t++) {
        if (tokens[t] >= m->info.vocabulary) {
            return error_set(err, STATUS_INVALID, "token %u is not in the vocabulary", tokens[t]);
        }
    }
    return STATUS_OK;
}

static void run(struct pass *p)
{
    lay_out(p);
    for (uint32_t layer = 0; layer < p->m->info.layers; layer++) {
        run_layer(p, &p->m->layers[layer]);
    }
}

void encoder_forward(const struct model *m, struct workspace *w, const uint32_t *tokens, uint32_t n,
                     uint32_t second)
{
    struct model_tokens text = {.tokens = tokens, .n = n};
    struct pass p = {.m = m, .w = w, .texts = &text, .n_texts = 1, .n = n, .second = second};
    run(&p);
}

/* How many of the texts go into one pass: no more than keep every thread's activations in its
 * core's cache, beyond which more texts make each slower. */
#define PASS_TOKENS 256U /* a thread */

static uint32_t fitting(const struct workspace *w, const struct model_tokens *texts, size_t n_texts,
                        uint32_t *tokens)
{
    uint32_t most = PASS_TOKENS * pool_threads(w->pool);
    uint32_t n = 0;
    uint32_t pages = 0;
    *tokens = 0;
    most = most < w->tokens ? most : w->tokens;
    while (n < n_texts && *tokens + texts[n].n <= (n == 0 ? w->tokens : most) &&
           pages + pages_of(texts[n].n) <= w->n_pages) {
        *tokens += texts[n].n;
        pages += pages_of(texts[n++].n);
    }
    return n;
}

enum status model_embed_many(const struct model *m, struct workspace *w,
                             const struct model_tokens *texts, size_t n_texts, float *out,
                             struct error *err)
{
    bool pools = m->info.pooling != POOLING_NONE && m->info.pooling != POOLING_RANK;
    for (size_t i = 0; i < n_texts; i++) {
        if (!(m->info.encoder || pools) || m->info.ranks || texts[i].n == 0) {
            return error_set(err, STATUS_INVALID, "%s makes no vectors of this",
                             m->info.architecture);
        }
        enum status s = encoder_check(m, w, texts[i].tokens, texts[i].n, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    for (size_t i = 0; i < n_texts && !m->info.encoder; i++) {
        enum status s =
            decoder_embed(m, w, texts[i].tokens, texts[i].n, out + i * (size_t)m->info.width, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    while (n_texts > 0 && m->info.encoder) {
        struct pass p = {.m = m, .w = w, .texts = texts, .second = UINT32_MAX};
        p.n_texts = fitting(w, texts, n_texts, &p.n);
        run(&p);
        for (uint32_t i = 0; i < p.n_texts; i++) {
            pool_rows(m, w, w->x + (size_t)w->first_tokens[i] * m->info.width, texts[i].n,
                      out + (size_t)i * m->info.width);
        }
        texts += p.n_texts;
        n_texts -= p.n_texts;
        out += (size_t)p.n_texts * m->info.width;
    }
    return STATUS_OK;
}

enum status model_embed(const struct model *m, struct workspace *w, const uint32_t *tokens,
                        uint32_t n, float *out, struct error *err)
{
    struct model_tokens text = {.tokens = tokens, .n = n};
    return model_embed_many(m, w, &text, 1, out, err);
}
