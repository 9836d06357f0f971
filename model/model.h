/* A model from a GGUF file, run on the processor. Decoders (llama, qwen2, qwen3, gemma2, gemma3,
 * phi3; llama and qwen3moe with experts) give the next token's logits, encoders (bert) a vector a
 * text.
 *
 * Deterministic: what comes out for one sequence depends on its own tokens alone, not on what else
 * is in the batch, nor on how its prompt is sliced. One forward pass at a time for each workspace;
 * a model itself is read by any number of threads. */
#ifndef CARREL_MODEL_MODEL_H
#define CARREL_MODEL_MODEL_H

#include "model/kv.h"
#include "model/pool.h"
#include "model/tokenizer.h"

#define MODEL_LAYERS_MAX 256U
#define MODEL_BATCH_MAX 4096U

/* RANK: no vector but one score of a pair, by the classification head. */
enum model_pooling {
    POOLING_NONE = 0,
    POOLING_MEAN = 1,
    POOLING_CLS = 2,
    POOLING_LAST = 3,
    POOLING_RANK = 4
};

struct model_info {
    char architecture[32];
    char name[128];
    bool encoder;
    uint32_t layers, width, feed_forward, heads, kv_heads, head_width, value_width, vocabulary;
    uint32_t context; /* tokens it was trained for */
    uint32_t window;  /* tokens that window_layers of the layers see; 0: all see all */
    uint32_t window_layers;
    uint32_t experts, experts_used; /* of a layer, and by a token; 0: none */
    enum model_pooling pooling;
    bool ranks;         /* has a classification head with one output */
    bool bytes, floats; /* matrices that want activations as bytes; as floats */
    uint64_t parameters;
    uint64_t weight_bytes; /* of the tensors */
};

struct model;
struct workspace;

/* Everything but the tensors' names and shapes is checked by gguf_open. UNSUPPORTED: an
 * architecture that is not built in; INVALID: a tensor is missing or of the wrong shape, by name.
 */
enum status model_open(const char *path, struct model **out, struct error *err) MUST_CHECK;
void model_close(struct model *m); /* NULL is fine */
const struct model_info *model_info(const struct model *m);
const struct tokenizer *model_tokenizer(const struct model *m);
const struct gguf *model_file(const struct model *m);
/* The shape of this decoder's keys and values; pass_tokens is the caller's to set. */
struct kv_shape model_kv_shape(const struct model *m, enum tensor_type type);

/* The model's packed weights are kept in a file (pack_file.h): mapped from it when they are needed,
 * written there first if it is missing or wrong, and packed in memory if it cannot be written.
 * Before the first workspace. sha256: the model's; model_path: whose owner the file gets. */
enum status model_keep_packed(struct model *m, const char *pack_path, const char *model_path,
                              const uint8_t sha256[32], struct error *err) MUST_CHECK;
/* Writes that file now, over what is there. INVALID: none is kept. */
enum status model_write_packed(const struct model *m, struct pool *pool,
                               bool (*on_progress)(uint64_t done, uint64_t total, void *data),
                               void *data, struct error *err) MUST_CHECK;
uint64_t model_packed_bytes(const struct model *m); /* 0 before they are packed */
bool model_packed_mapped(const struct model *m); /* from the file: the system may take them back */
const char *
model_packed_note(const struct model *m); /* why not, where they should be; "": nothing */

/* Scratch memory for passes of at most `tokens` tokens, with threads for as many processors as
 * there are. The first one maps the model's packed weights, or packs them (model_packed_bytes of
 * memory). */
enum status workspace_new(const struct model *m, uint32_t tokens, struct workspace **out,
                          struct error *err) MUST_CHECK;
/* The same with a pool of the caller's (borrowed; NULL: no threads). Results do not depend on it.
 */
enum status workspace_new_with(const struct model *m, uint32_t tokens, struct pool *pool,
                               struct workspace **out, struct error *err) MUST_CHECK;
/* What one for passes of so many tokens takes. */
uint64_t workspace_bytes(const struct model_info *i, uint32_t tokens);
const char *workspace_kernels(const struct workspace *w); /* "avx512": to record with an answer */
void workspace_free(struct workspace *w);                 /* NULL is fine */

/* One sequence's part of a pass: n more tokens behind what its keys and values hold; room was
 * reserved. */
struct model_piece {
    struct kv_sequence *sequence;
    const uint32_t *tokens;
    uint32_t n;
    bool every_logit; /* logits of all n tokens, else of the last */
};

/* Runs the pieces (at most the workspace's tokens in all). logits: one row of the vocabulary's size
 * for each wanted token, in order. Sequences grow by their tokens. INVALID: a token outside the
 * vocabulary; nothing has changed. */
enum status model_forward(const struct model *m, struct workspace *w, struct kv_pool *pool,
                          const struct model_piece *pieces, size_t n_pieces, float *logits,
                          struct error *err) MUST_CHECK;
/* An encoder's vector of a text's tokens (specials included), pooled as the file says, of unit
 * length. out: width floats. TOO_LARGE: more tokens than the model's context or the workspace
 * holds. */
enum status model_embed(const struct model *m, struct workspace *w, const uint32_t *tokens,
                        uint32_t n, float *out, struct error *err) MUST_CHECK;

struct model_tokens {
    const uint32_t *tokens;
    uint32_t n;
};

/* The same for several texts at once, as many together as the workspace takes: each one's vector is
 * the same as alone. out: n_texts x width floats. */
enum status model_embed_many(const struct model *m, struct workspace *w,
                             const struct model_tokens *texts, size_t n_texts, float *out,
                             struct error *err) MUST_CHECK;

/* What an encoder reads: prefix, title (on a line of its own) and text, with the tokens its model
 * wants at both ends. At most max tokens are kept of the end of the text the less, never the ends;
 * *cut tells. out is emptied first. */
struct model_text {
    struct str prefix, title, text; /* any may be empty */
};
enum status model_text_tokens(const struct model *m, const struct model_text *t, uint32_t max,
                              struct token_list *out, bool *cut, struct error *err) MUST_CHECK;
/* A question and a passage as a cross-encoder reads them: "[CLS] q [SEP] p [SEP]" with WordPiece,
 * "<s> q </s></s> p </s>" otherwise. Of the question at most half of max is kept, of the passage
 * what fits behind it. *second: where the second text begins. */
enum status model_pair_tokens(const struct model *m, struct str query, struct str passage,
                              uint32_t max, struct token_list *out, uint32_t *second, bool *cut,
                              struct error *err) MUST_CHECK;
/* The classification head's score of such a pair, larger is better (a logit). INVALID: the model
 * has no head. */
enum status model_rank(const struct model *m, struct workspace *w, const uint32_t *tokens,
                       uint32_t n, uint32_t second, float *score, struct error *err) MUST_CHECK;

#endif
