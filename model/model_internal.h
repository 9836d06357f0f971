/* What the files of the model share: the weights by name, and the scratch memory of a pass. */
#ifndef CARREL_MODEL_MODEL_INTERNAL_H
#define CARREL_MODEL_MODEL_INTERNAL_H

#include <pthread.h>

#include "base/hash.h"
#include "model/attend.h"
#include "model/matmul.h"
#include "model/model.h"
#include "model/ops.h"
#include "model/pack.h"

struct expert {
    struct matrix gate, up, down;
};

#define EXPERTS_USED_MAX 32U

struct layer {
    /* decoders: norms before; encoders: norms behind */
    const float *attention_norm, *attention_norm_bias;
    const float *feed_forward_norm, *feed_forward_norm_bias;
    const float *query_norm, *key_norm; /* qwen3: on each head */
    struct matrix query, key, value, output;
    const float *query_bias, *key_bias, *value_bias, *output_bias;
    struct matrix gate, up, down;
    const float *up_bias, *down_bias;
    const float *attention_post_norm, *feed_forward_post_norm; /* gemma: on what a half adds */
    struct matrix router;                                      /* which experts a token goes to */
    struct expert *experts; /* owned; NULL: gate, up and down are for all */
    uint32_t window;        /* tokens a query sees, itself among them; 0: all before it */
    uint32_t rope;          /* which of the model's */
};

/* Angles of positions (Su et al. 2021). */
struct rope {
    float base;
    float scale;          /* positions are divided by it (linear scaling); 1: not */
    float magnitude;      /* of cosines and sines (LongRoPE); 1 */
    const float *factors; /* of each pair's wave length (Llama 3, Phi 3); NULL: all 1 */
};

#define ROPES_MAX 2U

/* Packed when the first workspace is made (weights.c). */
struct weights {
    pthread_mutex_t lock;
    struct pack *pack;
    char *pack_path, *model_path; /* NULL: no file keeps them */
    uint8_t sha256[SHA256_BYTES];
    char note[400];
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
    uint32_t rope_width;
    struct rope ropes[ROPES_MAX];
    uint32_t n_ropes;
    bool rope_halves;
    bool gelu_gate;        /* GELU instead of SiLU in the gate */
    float embedding_scale; /* of the embeddings; 1 */
    float attention_scale; /* of the scores */
    float attention_cap;   /* scores and logits are held within it; 0: not */
    float logit_cap;
    uint32_t window, window_period; /* gemma: every period-th layer sees all */
    uint32_t trained_context;       /* phi3: before it was made longer */
    uint32_t expert_width;
    struct layer *layers;
};

struct workspace {
    uint32_t tokens; /* capacity */
    const struct kernels *kernels;
    struct pool *pool;
    struct pool *own_pool; /* NULL: the caller's */
    struct matmul *matmul;
    float *x, *h;                   /* tokens x width */
    float *q;                       /* tokens x heads x head width */
    float *k, *v;                   /* tokens x kv heads x head width (value width) */
    float *attended;                /* tokens x heads x value width */
    float *gate, *up;               /* tokens x feed forward */
    float *row;                     /* one row of the widest matrix */
    double *frequencies[ROPES_MAX]; /* of the pairs */
    float magnitudes[ROPES_MAX];
    float *cosines[ROPES_MAX], *sines[ROPES_MAX]; /* tokens x pairs; NULL: no such rope */
    struct expert_room *expert_room;              /* NULL: no experts */
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
/* The text's vector of unit length, of its tokens' rows as the file says. */
void pool_rows(const struct model *m, const struct workspace *w, const float *rows, uint32_t n,
               float *out);
/* A decoder's vector of one text, of the rows behind its last norm (Zhang et al. 2025, Qwen3
 * Embedding). */
enum status decoder_embed(const struct model *m, struct workspace *w, const uint32_t *tokens,
                          uint32_t n, float *out, struct error *err) MUST_CHECK;
/* Are the pieces what a pass of at most `most` tokens takes, and is there room? *n: their tokens.
 */
enum status pieces_check(const struct model *m, uint32_t most, const struct kv_pool *pool,
                         const struct model_piece *pieces, size_t n_pieces, uint32_t *n,
                         struct error *err) MUST_CHECK;
/* model_forward's layers from `first` on, the ones before having left x (a row a token): for a
 * device that has those. */
enum status decoder_rest(const struct model *m, struct workspace *w, struct kv_pool *pool,
                         const struct model_piece *pieces, size_t n_pieces, uint32_t first,
                         const float *x, float *logits, struct error *err) MUST_CHECK;
/* Are these n tokens what the encoder and the workspace take? */
enum status encoder_check(const struct model *m, const struct workspace *w, const uint32_t *tokens,
                          uint32_t n, struct error *err) MUST_CHECK;
/* The network of experts: w->h (n rows) becomes the weighted sum of what each token's experts make
 * of it (Shazeer et al. 2017). experts.c. */
void experts_run(const struct model *m, struct workspace *w, const struct layer *l, uint32_t n);
enum status expert_room_new(const struct model *m, uint32_t tokens, struct expert_room **out,
                            struct error *err) MUST_CHECK;
uint64_t expert_room_bytes(const struct model_info *i, uint32_t tokens);
void expert_room_free(struct expert_room *r); /* NULL is fine */

/* The frequencies of a rope's pairs. */
void rope_frequencies(const struct model *m, uint32_t which, double *out);
/* The angles of the positions of n tokens for all pairs, of every rope. */
void rope_angles(struct workspace *w, uint32_t pairs, uint32_t n);
void matrix_row(const struct matrix *w, uint32_t row, float *out);
/* Which kinds of matrices there are, for model_info. */
enum status weights_kinds(struct model *m, struct error *err) MUST_CHECK;
void weights_free(struct weights *w);
/* Packs the weights unless they are. */
enum status model_pack(const struct model *m, struct pool *pool, struct error *err) MUST_CHECK;

#endif
