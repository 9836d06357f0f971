#include "model/backend.h"

#include <string.h>

#include "model/cuda/cuda.h"

bool backend_device_parse(const char *name, enum backend_device *out)
{
    static const char *const names[] = {"auto", "cpu", "cuda"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum backend_device)i;
            return true;
        }
    }
    return false;
}

enum status backend_open(const struct model *m, const struct backend_options *o,
                         struct backend **out, struct error *err)
{
    return o->device == BACKEND_CUDA ? backend_open_cuda(m, o, out, err)
                                     : backend_open_cpu(m, o, out, err);
}

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
