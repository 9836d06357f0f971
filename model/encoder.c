/* BERT (Devlin et al. 2019): every token sees every other, norms stand behind, positions are
 * learned.
 *
 *   x = norm(embedding[token] + position[t] + type[0])
 *   x = norm(x + output . attention(Wq x, Wk x, Wv x))
 *   x = norm(x + down . gelu(up . x)) */
#include <math.h>
#include <string.h>

#include "model/model_internal.h"

static void attend(const struct model *m, struct workspace *w, uint32_t n, uint32_t token)
{
    const struct model_info *i = &m->info;
    size_t width = (size_t)i->heads * i->head_width;
    float scale = 1.0F / sqrtf((float)i->head_width);
    for (uint32_t h = 0; h < i->heads; h++) {
        const float *q = w->q + token * width + (size_t)h * i->head_width;
        float *out = w->attended + token * width + (size_t)h * i->head_width;
        for (uint32_t t = 0; t < n; t++) {
            const float *key = w->k + t * width + (size_t)h * i->head_width;
            w->scores[t] = op_dot(q, key, i->head_width) * scale;
        }
        op_softmax(w->scores, n);
        memset(out, 0, i->head_width * sizeof *out);
        for (uint32_t t = 0; t < n; t++) {
            const float *value = w->v + t * width + (size_t)h * i->head_width;
            for (uint32_t d = 0; d < i->head_width; d++) {
                out[d] += w->scores[t] * value[d];
            }
        }
    }
}

static void add_and_norm(const struct model *m, struct workspace *w, uint32_t n,
                         const float *weight, const float *bias)
{
    size_t d = m->info.width;
    for (uint32_t t = 0; t < n; t++) {
        float *x = w->x + t * d;
        for (size_t i = 0; i < d; i++) {
            x[i] += w->h[t * d + i];
        }
        op_layer_norm(x, weight, bias, d, m->epsilon, x);
    }
}

static void embed_tokens(const struct model *m, struct workspace *w, const uint32_t *tokens,
                         uint32_t n, uint32_t second)
{
    size_t d = m->info.width;
    for (uint32_t t = 0; t < n; t++) {
        float *x = w->x + t * d;
        matrix_row(&m->embedding, tokens[t], x);
        matrix_row(&m->positions, t, w->row);
        const float *type = m->token_types[t < second ? 0 : 1];
        for (size_t i = 0; i < d; i++) {
            x[i] += type == NULL ? w->row[i] : w->row[i] + type[i];
        }
        op_layer_norm(x, m->first_norm, m->first_norm_bias, d, m->epsilon, x);
    }
}

enum status encoder_forward(const struct model *m, struct workspace *w, const uint32_t *tokens,
                            uint32_t n, uint32_t second, struct error *err)
{
    enum status s = workspace_scores(w, n, err);
    if (s != STATUS_OK) {
        return s;
    }
    embed_tokens(m, w, tokens, n, second);
    for (uint32_t layer = 0; layer < m->info.layers; layer++) {
        const struct layer *l = &m->layers[layer];
        op_matmul(&l->query, l->query_bias, w->x, n, w->q, w->row);
        op_matmul(&l->key, l->key_bias, w->x, n, w->k, w->row);
        op_matmul(&l->value, l->value_bias, w->x, n, w->v, w->row);
        for (uint32_t t = 0; t < n; t++) {
            attend(m, w, n, t);
        }
        op_matmul(&l->output, l->output_bias, w->attended, n, w->h, w->row);
        add_and_norm(m, w, n, l->attention_norm, l->attention_norm_bias);
        op_matmul(&l->up, l->up_bias, w->x, n, w->up, w->row);
        op_gelu(w->up, (size_t)n * m->info.feed_forward);
        op_matmul(&l->down, l->down_bias, w->up, n, w->h, w->row);
        add_and_norm(m, w, n, l->feed_forward_norm, l->feed_forward_norm_bias);
    }
    return STATUS_OK;
}

static void pool(const struct model *m, const struct workspace *w, uint32_t n, float *out)
{
    size_t d = m->info.width;
    if (m->info.pooling == POOLING_CLS || m->info.pooling == POOLING_LAST) {
        size_t t = m->info.pooling == POOLING_CLS ? 0 : n - 1;
        memcpy(out, w->x + t * d, d * sizeof *out);
        return;
    }
    memset(out, 0, d * sizeof *out);
    for (uint32_t t = 0; t < n; t++) {
        for (size_t i = 0; i < d; i++) {
            out[i] += w->x[t * d + i];
        }
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

enum status model_embed(const struct model *m, struct workspace *w, const uint32_t *tokens,
                        uint32_t n, float *out, struct error *err)
{
    size_t d = m->info.width;
    if (!m->info.encoder || m->info.ranks || n == 0) {
        return error_set(err, STATUS_INVALID, "%s makes no vectors of this", m->info.architecture);
    }
    enum status s = encoder_check(m, w, tokens, n, err);
    if (s == STATUS_OK) {
        s = encoder_forward(m, w, tokens, n, n, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    pool(m, w, n, out);
    float length = sqrtf(op_dot(out, out, d));
    for (size_t i = 0; i < d && length > 0; i++) {
        out[i] /= length;
    }
    return STATUS_OK;
}
