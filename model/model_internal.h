/* What the files of the model share: the weights by name, and the scratch memory of a pass. */
#ifndef CARREL_MODEL_MODEL_INTERNAL_H
#define CARREL_MODEL_MODEL_INTERNAL_H

#include <pthread.h>

#include "model/attend.h"
#include "model/matmul.h"
#include "model/model.h"
#include "model/ops.h"
#include "model/pack.h"

struct layer {
    /* decoders: norms before; encoders: norms behind */
    const float *attention_norm, *attention_norm_bias;
    const float *feed_forward_norm, *feed_forward_norm_bias;
    const float *query_norm, *key_norm; /* qwen3: on each head */
    struct matrix query, key, value, output;
    const float *query_bias, *key_bias, *value_bias, *output_bias;
    struct matrix gate, up, down;
    const float *up_bias, *down_bias;
};

/* Packed when the first workspace is made. */
struct weights {
    pthread_mutex_t lock;
    struct pack *pack;
    struct matrix head; /* the embedding where the file has none of its own */
};

struct model {
    struct gguf *file;
    struct tokenizer *tokenizer;
    struct model_info info;
    struct matrix embedding;
    struct weights *weights;
    struct matrix positions;     /* encoders */
    const float *token_types[2]; /* encoders; the second is the first where there is only one */
    const float *first_norm, *first_norm_bias;
    const float *last_norm;
    struct matrix rank_dense, rank_out; /* the classification head; data NULL where there is none */
    const float *rank_dense_bias, *rank_out_bias;
    float epsilon;
    float rope_base;
    uint32_t rope_width;
    float rope_scale;          /* positions are divided by it (linear scaling); 1: not */
    const float *rope_factors; /* of each pair's wave length (Llama 3); NULL: all 1 */
    bool rope_halves;
    struct layer *layers;
};

struct workspace {
    uint32_t tokens; /* capacity */
    const struct kernels *kernels;
    struct pool *pool;
    struct matmul *matmul;
    float *x, *h;           /* tokens x width */
    float *q;               /* tokens x heads x head width */
    float *k, *v;           /* tokens x kv heads x head width (value width) */
    float *attended;        /* tokens x heads x value width */
    float *gate, *up;       /* tokens x feed forward */
    float *row;             /* one row of the widest matrix */
    double *frequencies;    /* of the pairs */
    float *cosines, *sines; /* tokens x pairs */
    struct attend_room rooms[POOL_THREADS_MAX];
    float *pages;                 /* encoders: keys and values by page and head */
    uint32_t n_pages;             /* that fit */
    uint32_t *firsts;             /* tokens + 1: of each piece or text, its first tile */
    uint32_t *first_tokens;       /* of each piece or text */
    uint32_t *positions, *owners; /* of each token; the piece it is of */
};

#define TOKENS_PER_CHUNK 8U
/* Runs fn for every TOKENS_PER_CHUNK tokens of n. */
void for_tokens(struct workspace *w, uint32_t n, pool_fn fn, void *data);
/* The piece (text) that tile t belongs to. */
uint32_t piece_of_tile(const struct workspace *w, uint32_t n_pieces, uint32_t t);

/* Tokens from `second` on are of the second type (n: none). w->x: the last layer's rows. */
void encoder_forward(const struct model *m, struct workspace *w, const uint32_t *tokens, uint32_t n,
                     uint32_t second);
/* Are these n tokens what the encoder and the workspace take? */
enum status encoder_check(const struct model *m, const struct workspace *w, const uint32_t *tokens,
                          uint32_t n, struct error *err) MUST_CHECK;
/* The angles of the positions of n tokens for all pairs. */
void rope_angles(struct workspace *w, uint32_t pairs, uint32_t n);
void matrix_row(const struct matrix *w, uint32_t row, float *out);
/* Packs the weights unless they are. */
enum status model_pack(const struct model *m, struct pool *pool, struct error *err) MUST_CHECK;

#endif
