/* A model on what computes it: the processor's kernels, or a GPU through a plug-in (model/cuda).
 * An instance has the weights where they are needed, the pages of keys and values and the scratch
 * of a pass; its pages are reserved, forked and released through kv.h. One pass at a time.
 *
 * Deterministic as model.h says, for one backend_name: it names the kernels and, on a GPU, which
 * layers it has, and is recorded with an answer. */
#ifndef CARREL_MODEL_BACKEND_H
#define CARREL_MODEL_BACKEND_H

#include "model/model.h"
#include "model/sampler.h"

#define BACKEND_LAYERS_FIT UINT32_MAX

/* AUTO: a GPU where there is one that can run the model, else the processor; whoever
 * asks tries. */
enum backend_device { BACKEND_AUTO, BACKEND_CPU, BACKEND_CUDA };
bool backend_device_parse(const char *name, enum backend_device *out); /* "auto", "cpu", "cuda" */

struct backend_options {
    uint32_t tokens;          /* of a pass at most */
    uint32_t sequences;       /* with keys and values at once; 0: an encoder's */
    uint32_t context;         /* tokens of each at most */
    enum tensor_type kv_type; /* of them */
    uint32_t choices;         /* pieces that a token is chosen for in a pass, at most */
    struct pool *pool;        /* borrowed; NULL: no threads */
    enum backend_device device;
    uint32_t gpu_layers; /* on a GPU, of those there are; BACKEND_LAYERS_FIT: as many as fit */
    uint64_t memory; /* bytes of the processor's, for what a GPU has not; 0: whatever there is */
};

/* What a piece's next token is to be chosen by. */
struct backend_pick {
    struct sampler *sampler;
    const uint64_t *allowed; /* one bit a token; NULL: all */
    uint64_t step;
    bool wanted;         /* false: none is chosen */
    bool logits_wanted;  /* for log probabilities */
    uint32_t token;      /* out; UINT32_MAX: nothing is allowed */
    const float *logits; /* out, where wanted: a row of the vocabulary, until the next pass */
};

struct backend;

struct backend_ops {
    const char *name; /* "cpu", "cuda" */
    enum status (*forward)(struct backend *b, const struct model_piece *pieces, size_t n,
                           float *logits, struct error *err);
    enum status (*choose)(struct backend *b, const struct model_piece *pieces, size_t n,
                          struct backend_pick *picks, struct error *err);
    enum status (*embed)(struct backend *b, const struct model_tokens *texts, size_t n, float *out,
                         struct error *err);
    enum status (*rank)(struct backend *b, const uint32_t *tokens, uint32_t n, uint32_t second,
                        float *score, struct error *err);
    void (*close)(struct backend *b);
};

struct backend { /* the first member of each one's own */
    const struct backend_ops *ops;
    const struct model *model; /* borrowed */
    struct kv_pool *keys;      /* NULL: no pages were asked for */
    uint64_t bytes;            /* of weights on the device, or packed for the processor */
    char name[64];             /* "avx512": the kernels and the layers' place */
};

/* On the device that the options name (AUTO is CPU). UNAVAILABLE, UNSUPPORTED, NO_MEMORY: why that
 * GPU cannot; the processor may. */
enum status backend_open(const struct model *m, const struct backend_options *o,
                         struct backend **out, struct error *err) MUST_CHECK;
/* The processor's. INVALID: more tokens than MODEL_BATCH_MAX; NO_MEMORY: says for what. */
enum status backend_open_cpu(const struct model *m, const struct backend_options *o,
                             struct backend **out, struct error *err) MUST_CHECK;
void backend_close(struct backend *b); /* NULL is fine; all sequences released before */

/* As model_forward: a row of logits for each wanted token. */
enum status backend_forward(struct backend *b, const struct model_piece *pieces, size_t n,
                            float *logits, struct error *err) MUST_CHECK;
/* The same pass, and the token behind each piece that wants one (picks: one a piece, no piece with
 * every_logit): the very token that sampler_pick takes of its logits. INVALID: more wanted than
 * there is room for; nothing has changed. */
enum status backend_choose(struct backend *b, const struct model_piece *pieces, size_t n,
                           struct backend_pick *picks, struct error *err) MUST_CHECK;
/* As model_embed_many and model_rank. */
enum status backend_embed(struct backend *b, const struct model_tokens *texts, size_t n, float *out,
                          struct error *err) MUST_CHECK;
enum status backend_rank(struct backend *b, const uint32_t *tokens, uint32_t n, uint32_t second,
                         float *score, struct error *err) MUST_CHECK;

#endif
