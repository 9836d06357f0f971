/* A cross-encoder (Nogueira and Cho 2019) with RoBERTa's head over the first token x of the last
 * layer:
 *
 *   score = output . tanh(dense . x + b) + c */
#include <math.h>

#include "model/model_internal.h"

enum status model_rank(const struct model *m, struct workspace *w, const uint32_t *tokens,
                       uint32_t n, uint32_t second, float *score, struct error *err)
{
    size_t d = m->info.width;
    if (!m->info.ranks || n == 0) {
        return error_set(err, STATUS_INVALID, "%s ranks nothing", m->info.architecture);
    }
    enum status s = encoder_check(m, w, tokens, n, err);
    if (s != STATUS_OK) {
        return s;
    }
    encoder_forward(m, w, tokens, n, second);
    const float *x = w->x;
    if (m->rank_dense.data != NULL) {
        op_matmul(&m->rank_dense, m->rank_dense_bias, x, 1, w->h, w->row);
        for (size_t i = 0; i < d; i++) {
            w->h[i] = tanhf(w->h[i]);
        }
        x = w->h;
    }
    float out = 0;
    op_matmul(&m->rank_out, m->rank_out_bias, x, 1, &out, w->row);
    if (!isfinite(out)) {
        return error_set(err, STATUS_CORRUPT, "%s: the score is no number: the weights are damaged",
                         m->info.name);
    }
    *score = out;
    return STATUS_OK;
}
