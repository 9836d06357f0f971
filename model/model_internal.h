/* What the files of the model share: the weights by name, and the scratch memory of a pass. */
#ifndef CARREL_MODEL_MODEL_INTERNAL_H
#define CARREL_MODEL_MODEL_INTERNAL_H

#include "model/model.h"
#include "model/ops.h"

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

struct model {
    struct gguf *file;
    struct tokenizer *tokenizer;
    struct model_info info;
    struct matrix embedding, head; /* head is the embedding where the file has none */
    struct matrix positions;       /* encoders */
    const float *token_types[2];   /* encoders; the second is the first where there is only one */
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
    uint32_t tokens;  /* capacity */
    float *x, *h;     /* tokens x width */
    float *q;         /* tokens x heads x head width */
    float *k, *v;     /* tokens x kv heads x head width (value width) */
    float *attended;  /* tokens x heads x value width */
    float *gate, *up; /* tokens x feed forward */
    float *row;       /* one row of the widest matrix */
    float *cosines, *sines;
    float *keys_room, *values_room;
    float *scores; /* as many as the longest sequence has tokens: grows */
    size_t cap_scores;
};

/* Tokens from `second` on are of the second type (n: none). w->x: the last layer's rows. */
enum status encoder_forward(const struct model *m, struct workspace *w, const uint32_t *tokens,
                            uint32_t n, uint32_t second, struct error *err) MUST_CHECK;
/* Are these n tokens what the encoder and the workspace take? */
enum status encoder_check(const struct model *m, const struct workspace *w, const uint32_t *tokens,
                          uint32_t n, struct error *err) MUST_CHECK;
/* The angles of position for all pairs into w->cosines and w->sines. */
void rope_angles(const struct model *m, uint32_t position, float *cosines, float *sines);
enum status workspace_scores(struct workspace *w, size_t n, struct error *err) MUST_CHECK;
void matrix_row(const struct matrix *w, uint32_t row, float *out);

#endif
