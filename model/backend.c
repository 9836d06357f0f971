#include "model/backend.h"

void backend_close(struct backend *b)
{
    if (b != NULL) {
        b->ops->close(b);
    }
}

enum status backend_forward(struct backend *b, const struct model_piece *pieces, size_t n,
                            float *logits, struct error *err)
{
    return b->ops->forward(b, pieces, n, logits, err);
}

enum status backend_choose(struct backend *b, const struct model_piece *pieces, size_t n,
                           struct backend_pick *picks, struct error *err)
{
    return b->ops->choose(b, pieces, n, picks, err);
}

enum status backend_embed(struct backend *b, const struct model_tokens *texts, size_t n, float *out,
                          struct error *err)
{
    return b->ops->embed(b, texts, n, out, err);
}

enum status backend_rank(struct backend *b, const uint32_t *tokens, uint32_t n, uint32_t second,
                         float *score, struct error *err)
{
    return b->ops->rank(b, tokens, n, second, score, err);
}
