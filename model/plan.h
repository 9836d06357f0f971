/* The memory that a model needs, before anything is loaded: weights as they lie in the file, keys
 * and values for N users at C tokens in whole pages, and what a pass works in. Pure.
 *
 * A shape is enough: plan_shape gives the usual sizes of models without a file. */
#ifndef CARREL_MODEL_PLAN_H
#define CARREL_MODEL_PLAN_H

#include "model/model.h"

#define PLAN_PASS_TOKENS 256U /* tokens of one pass where nothing else is asked for */
#define PLAN_USERS_MAX 4096U

struct plan_request {
    const struct model_info *info;
    enum tensor_type kv_type; /* of keys and values */
    uint32_t context;     /* tokens of one user, prompt and answer; 0: as the model was trained */
    uint32_t users;       /* answers at once, at least 1 */
    uint32_t pass_tokens; /* 0: PLAN_PASS_TOKENS */
    uint64_t weights;     /* bytes of them in memory; 0: as they lie in the file */
    uint64_t vocabulary;  /* bytes of the tokenizer's tables; 0: about as usual */
    uint64_t memory;      /* bytes there are; 0: unlimited */
};

enum plan_verdict { PLAN_EASY, PLAN_COMFORTABLE, PLAN_TIGHT, PLAN_NO };

struct plan {
    uint32_t context, users; /* as planned for */
    uint64_t weights;
    uint64_t vocabulary;        /* tables of the tokenizer */
    uint64_t page_bytes;        /* KV_PAGE tokens in the layers that see all (kv.h) */
    uint32_t pages_each, pages; /* of one user at the context; of all users */
    uint64_t window_page_bytes; /* in the layers with a window; 0: there are none */
    uint32_t window_pages_each;
    uint64_t keys_values; /* of all users */
    uint64_t workspace;   /* scratch of a pass, logits and samplers of all users */
    uint64_t total;
    bool fits;
    bool past_training;       /* the context is longer than the model was trained for */
    uint32_t most_users;      /* at this context; 0: not one; at most PLAN_USERS_MAX */
    uint32_t largest_context; /* for so many users, in whole pages; 0: none; at most the model's */
    enum plan_verdict verdict;
};

/* INVALID: no users, or a context past 2^24 tokens. */
enum status plan_make(const struct plan_request *r, struct plan *out, struct error *err) MUST_CHECK;
/* What a model's weights take on this kind of machine: packed for the processor's kernels
 * (model/pack.h), what is not packed as it lies in the file. The file itself is mapped besides: its
 * pages (rows of the embedding, which are looked up token by token) are cache, which the system
 * takes back when it needs them. */
uint64_t plan_packed_weights(const struct model *m);
/* Of them what is not of the first `layer` layers. */
uint64_t plan_packed_from(const struct model *m, uint32_t layer);
/* What a model file holds besides its weights. */
uint64_t plan_header(const struct model *m);
/* The tokenizer's tables, and the part of the file that its strings lie in. */
uint64_t plan_vocabulary(const struct model *m);
const char *plan_verdict_name(enum plan_verdict v); /* "easy", "comfortable", "tight", "no" */

/* The shapes that people speak of by their size: "8B" (Llama 3), "13B" (Llama 2), "34B" (Code
 * Llama) and "70B" (Llama 3), with weights of a kind: F16, Q8_0, Q6_K, Q4_0, or Q4_K_M, whose mix
 * is llama.cpp's. INVALID names what is known. */
enum status plan_shape(const char *size, const char *kind, struct model_info *out,
                       struct error *err) MUST_CHECK;

#endif
