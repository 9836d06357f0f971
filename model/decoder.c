/* The pass of a decoder, layer by layer, as in "Attention Is All You Need" with what Llama changed:
 * norms before, rotary positions, grouped keys and values, a gated feed-forward network.
 *
 *   x = embedding[token]
 *   x = x + output . attention(rope(Wq h), rope(Wk h), Wv h)      h = rms_norm(x)
 *   x = x + down . (silu(gate . h) * (up . h))                    h = rms_norm(x)
 *   logits = head . rms_norm(x) */
#include <math.h>
#include <string.h>

#include "model/model_internal.h"

struct pass {
    const struct model *m;
    struct workspace *w;
    struct kv_pool *pool;
    const struct model_piece *pieces;
    size_t n_pieces;
    uint32_t n; /* tokens in all */
};

static void norm_heads(const float *weight, float *heads, uint32_t n, uint32_t width, float epsilon)
{
    for (uint32_t i = 0; weight != NULL && i < n; i++) {
        op_rms_norm(heads + (size_t)i * width, weight, width, epsilon, heads + (size_t)i * width);
    }
}

/* Queries and keys of one token are turned to its position; its key and value go into their page.
 */
static void place_token(const struct pass *p, const struct layer *l, uint32_t layer, uint32_t token,
                        const struct kv_sequence *s, uint32_t position)
{
    const struct model_info *i = &p->m->info;
    float *q = p->w->q + (size_t)token * i->heads * i->head_width;
    float *k = p->w->k + (size_t)token * i->kv_heads * i->head_width;
    float *v = p->w->v + (size_t)token * i->kv_heads * i->value_width;
    norm_heads(l->query_norm, q, i->heads, i->head_width, p->m->epsilon);
    norm_heads(l->key_norm, k, i->kv_heads, i->head_width, p->m->epsilon);
    rope_angles(p->m, position, p->w->cosines, p->w->sines);
    for (uint32_t h = 0; h < i->heads; h++) {
        op_rope(q + (size_t)h * i->head_width, p->w->cosines, p->w->sines, p->m->rope_width,
                p->m->rope_halves);
    }
    for (uint32_t h = 0; h < i->kv_heads; h++) {
        op_rope(k + (size_t)h * i->head_width, p->w->cosines, p->w->sines, p->m->rope_width,
                p->m->rope_halves);
    }
    kv_put(p->pool, s, layer, position, k, v);
}

/* All heads of one token over positions 0 to `position`, page by page. */
static void attend(const struct pass *p, uint32_t layer, uint32_t token,
                   const struct kv_sequence *s, uint32_t position)
{
    const struct model_info *i = &p->m->info;
    uint32_t n = position + 1;
    uint32_t group = i->heads / i->kv_heads;
    uint32_t key_width = i->kv_heads * i->head_width;
    uint32_t value_width = i->kv_heads * i->value_width;
    float scale = 1.0F / sqrtf((float)i->head_width);
    const float *q = p->w->q + (size_t)token * i->heads * i->head_width;
    float *out = p->w->attended + (size_t)token * i->heads * i->value_width;
    float *scores = p->w->scores; /* heads x n */
    for (uint32_t from = 0; from < n; from += KV_PAGE) {
        const float *keys = kv_keys(p->pool, s, layer, from, p->w->keys_room);
        for (uint32_t t = from; t < n && t < from + KV_PAGE; t++) {
            for (uint32_t h = 0; h < i->heads; h++) {
                const float *key =
                    keys + (size_t)(t - from) * key_width + (size_t)(h / group) * i->head_width;
                scores[(size_t)h * n + t] =
                    op_dot(q + (size_t)h * i->head_width, key, i->head_width) * scale;
            }
        }
    }
    for (uint32_t h = 0; h < i->heads; h++) {
        op_softmax(scores + (size_t)h * n, n);
    }
    memset(out, 0, (size_t)i->heads * i->value_width * sizeof *out);
    for (uint32_t from = 0; from < n; from += KV_PAGE) {
        const float *values = kv_values(p->pool, s, layer, from, p->w->values_room);
        for (uint32_t t = from; t < n && t < from + KV_PAGE; t++) {
            for (uint32_t h = 0; h < i->heads; h++) {
                const float *value = values + (size_t)(t - from) * value_width +
                                     (size_t)(h / group) * i->value_width;
                float share = scores[(size_t)h * n + t];
                float *to = out + (size_t)h * i->value_width;
                for (uint32_t d = 0; d < i->value_width; d++) {
                    to[d] += share * value[d];
                }
            }
        }
    }
}

static void attention(const struct pass *p, const struct layer *l, uint32_t layer)
{
    struct workspace *w = p->w;
    op_matmul(&l->query, l->query_bias, w->h, p->n, w->q, w->row);
    op_matmul(&l->key, l->key_bias, w->h, p->n, w->k, w->row);
    op_matmul(&l->value, l->value_bias, w->h, p->n, w->v, w->row);
    uint32_t token = 0;
    for (size_t j = 0; j < p->n_pieces; j++) {
        const struct kv_sequence *s = p->pieces[j].sequence;
        for (uint32_t t = 0; t < p->pieces[j].n; t++, token++) {
            place_token(p, l, layer, token, s, s->length + t);
            attend(p, layer, token, s, s->length + t);
        }
    }
    op_matmul(&l->output, l->output_bias, w->attended, p->n, w->h, w->row);
}

static void feed_forward(const struct pass *p, const struct layer *l)
{
    struct workspace *w = p->w;
    op_matmul(&l->gate, NULL, w->h, p->n, w->gate, w->row);
    op_matmul(&l->up, l->up_bias, w->h, p->n, w->up, w->row);
    op_swiglu(w->gate, w->up, (size_t)p->n * p->m->info.feed_forward);
    op_matmul(&l->down, l->down_bias, w->gate, p->n, w->h, w->row);
}

static void norm_all(const struct pass *p, const float *weight)
{
    size_t d = p->m->info.width;
    for (uint32_t t = 0; t < p->n; t++) {
        op_rms_norm(p->w->x + t * d, weight, d, p->m->epsilon, p->w->h + t * d);
    }
}

static void add_all(const struct pass *p)
{
    size_t n = (size_t)p->n * p->m->info.width;
    for (size_t i = 0; i < n; i++) {
        p->w->x[i] += p->w->h[i];
    }
}

static void read_out(const struct pass *p, float *logits)
{
    size_t d = p->m->info.width;
    uint32_t token = 0;
    for (size_t j = 0; j < p->n_pieces; j++) {
        for (uint32_t t = 0; t < p->pieces[j].n; t++, token++) {
            if (p->pieces[j].every_logit || t + 1 == p->pieces[j].n) {
                op_rms_norm(p->w->x + token * d, p->m->last_norm, d, p->m->epsilon, p->w->h);
                op_matmul(&p->m->head, NULL, p->w->h, 1, logits, p->w->row);
                logits += p->m->head.rows;
            }
        }
    }
}

static enum status check(struct pass *p, struct error *err)
{
    uint64_t n = 0;
    uint64_t longest = 0;
    for (size_t j = 0; j < p->n_pieces; j++) {
        const struct model_piece *piece = &p->pieces[j];
        uint64_t length = (uint64_t)piece->sequence->length + piece->n;
        n += piece->n;
        longest = length > longest ? length : longest;
        if (length > (uint64_t)piece->sequence->n_pages * KV_PAGE) {
            return error_set(err, STATUS_INTERNAL, "no pages are reserved for a pass");
        }
        for (uint32_t t = 0; t < piece->n; t++) {
            if (piece->tokens[t] >= p->m->info.vocabulary) {
                return error_set(err, STATUS_INVALID, "token %u is not in the vocabulary",
                                 piece->tokens[t]);
            }
        }
    }
    if (n == 0 || n > p->w->tokens || p->m->info.encoder) {
        return error_set(err, STATUS_INVALID, "a pass of %llu tokens, at most %u",
                         (unsigned long long)n, p->w->tokens);
    }
    p->n = (uint32_t)n;
    return workspace_scores(p->w, longest * p->m->info.heads, err);
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
    uint32_t token = 0;
    for (size_t j = 0; j < n_pieces; j++) {
        for (uint32_t t = 0; t < pieces[j].n; t++, token++) {
            matrix_row(&m->embedding, pieces[j].tokens[t], w->x + (size_t)token * m->info.width);
        }
    }
    for (uint32_t layer = 0; layer < m->info.layers; layer++) {
        const struct layer *l = &m->layers[layer];
        norm_all(&p, l->attention_norm);
        attention(&p, l, layer);
        add_all(&p);
        norm_all(&p, l->feed_forward_norm);
        feed_forward(&p, l);
        add_all(&p);
    }
    read_out(&p, logits);
    for (size_t j = 0; j < n_pieces; j++) {
        pieces[j].sequence->length += pieces[j].n;
    }
    return STATUS_OK;
}
