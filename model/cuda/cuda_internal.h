/* What the files of the CUDA backend share. All of it is plain C over kernels.h: cuda.c opens and
 * closes, weights.c uploads, batch.c says where tokens stand, pass.c runs the layers, pick.c
 * chooses tokens, load.c finds the plug-in. */
#ifndef CARREL_MODEL_CUDA_CUDA_INTERNAL_H
#define CARREL_MODEL_CUDA_CUDA_INTERNAL_H

#include "model/backend.h"
#include "model/cuda/kernels.h"
#include "model/model_internal.h"

#define CUDA_ROWS_GRAPH 64U /* answers at once whose step is captured */
#define CUDA_CHOICES_MAX 256U
#define CUDA_EXPERTS_MAX 512U /* of a layer */

struct gpu_expert {
    struct gpu_matrix gate, up, down;
};

/* struct layer, on the device; vectors that are not there: NULL. */
struct gpu_layer {
    struct gpu_matrix query, key, value, output, gate, up, down, router;
    struct gpu_expert *experts; /* owned; NULL: none */
    float *attention_norm, *feed_forward_norm, *query_norm, *key_norm;
    float *attention_post_norm, *feed_forward_post_norm;
    float *query_bias, *key_bias, *value_bias, *output_bias, *up_bias, *down_bias;
};

struct cuda_need { /* bytes on the device */
    uint64_t weights, keys, scratch, all;
};

struct cuda {
    struct backend b;
    const struct gpu_ops *ops;
    void *plug_in; /* of dlopen; NULL: not one */
    struct gpu *gpu;
    struct gpu_info info;
    const struct model *m;
    uint32_t tokens, choices;
    uint32_t most;   /* keys of a query, cuda_most of the context */
    uint32_t layers; /* the first so many are on the device */
    struct cuda_need need;
    bool whole; /* all of them, and the embedding and the head */
    struct gpu_layer *layer;
    struct gpu_matrix embedding, head;
    float *last_norm;
    double *frequencies[ROPES_MAX];
    void *weights; /* all of the above: one allocation */
    /* keys and values: pages of a group, its layers on the device side by side */
    void *pages[KV_GROUPS];
    uint64_t layer_bytes, page_bytes[KV_GROUPS];
    uint32_t kv_type;
    /* scratch of a pass: one allocation */
    void *scratch;
    float *x, *h, *q, *k, *v, *attended, *gate, *up, *wanted, *logits, *room;
    float *cosines[ROPES_MAX], *sines[ROPES_MAX];
    float *scores, *shares, *results, *expert_in, *expert_out;
    uint32_t *chosen, *places;
    struct gpu_sampling *samplings;
    struct gpu_touched *touched;
    uint64_t *masks;
    struct gpu_choice *picked;
    uint32_t *batch; /* the device's copy of host_batch */
    uint64_t batch_words;
    /* pinned */
    uint32_t *host_batch, *host_chosen, *host_places;
    struct gpu_sampling *host_samplings;
    struct gpu_touched *host_touched;
    uint64_t *host_masks;
    struct gpu_choice *host_picked;
    float *host_x, *host_logits; /* rows of a pass; rows of `choices` */
    struct workspace *workspace; /* of the layers that are the processor's; NULL: none */
    uint32_t places_most;        /* tokens of a pass times experts of a token */
    struct error broken;         /* a copy of a page failed */
    uint32_t n_touched;
    struct sampler_touched *touched_room; /* of one sampler */
};

/* A pass as the device sees it. */
struct cuda_pass {
    struct gpu_batch batch;
    const struct model_piece *pieces;
    size_t n_pieces;
    uint32_t n; /* tokens; batch.n counts empty rows too */
    uint32_t most;
    const uint32_t *table[KV_GROUPS];
    uint32_t table_width;
    const uint32_t *wanted; /* rows whose logits are wanted, GPU_NONE: none */
    uint32_t n_wanted;      /* rows of it, empty ones too */
    bool captured;          /* a step of answers alone: the same work every time */
    uint32_t key_rows, key_splits;
};

/* Bytes that the model's first `layers` layers take, with embedding and head where all are. 0: a
 * tensor cannot be had on the device. */
uint64_t cuda_weight_bytes(const struct cuda *c, uint32_t layers);
/* Uploads them through pinned buffers; c->layers and c->whole are set. */
enum status cuda_weights(struct cuda *c, struct pool *pool, struct error *err) MUST_CHECK;
void cuda_weights_free(struct cuda *c);

/* Lays the pass out in pinned memory and sends it. every: the logits of `every_logit` pieces are
 * wanted too; picks: only those of pieces that want a token (NULL: all). */
enum status cuda_batch(struct cuda *c, const struct model_piece *pieces, size_t n,
                       const struct backend_pick *picks, struct cuda_pass *out,
                       struct error *err) MUST_CHECK;
uint32_t cuda_power_above(uint32_t n); /* or equal */
/* Keys that a pass whose queries see so many is laid out for: a power of two of parts. */
uint32_t cuda_most(uint32_t keys);
/* Words of the largest batch. */
uint64_t cuda_batch_words(uint32_t tokens, uint32_t owners, uint32_t context);

/* Runs the device's layers; the wanted rows' logits are in c->logits where c->whole, else x has
 * come to c->host_x. `logits` NULL: at most c->choices rows are wanted. Otherwise they all go
 * there, as many together as fit. Waits. */
enum status cuda_run(struct cuda *c, const struct cuda_pass *p, float *logits,
                     struct error *err) MUST_CHECK;

/* The tokens of the rows in c->logits. */
enum status cuda_pick(struct cuda *c, const struct cuda_pass *p, struct backend_pick *picks,
                      struct error *err) MUST_CHECK;

/* The plug-in beside the program, or UNAVAILABLE, saying why. */
enum status cuda_plug_in(void **handle, const struct gpu_ops **out, struct error *err) MUST_CHECK;
void cuda_plug_in_close(void *handle);

#endif
