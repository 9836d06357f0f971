/* Opening a model: one struct architecture a family, in a file of its own (arch_*.c), says which
 * numbers and tensors it has; model.c knows what is common. After an error all of these do nothing,
 * so that an architecture reads as a list. */
#ifndef CARREL_MODEL_OPENING_H
#define CARREL_MODEL_OPENING_H

#include "model/model_internal.h"

struct architecture;

struct opening {
    struct model *m;
    const struct architecture *a;
    struct error *err;
    enum status s;
};

struct architecture {
    const char *name; /* general.architecture, and the beginning of its keys */
    bool encoder;
    bool rope_halves;                             /* pairs are (i, i + n/2) */
    void (*numbers)(struct opening *o);           /* beyond the common ones; NULL: none */
    void (*layer)(struct opening *o, uint32_t n); /* its tensors */
    void (*around)(struct opening *o);            /* tensors of no layer */
};

extern const struct architecture arch_llama, arch_qwen2, arch_qwen3, arch_qwen3moe, arch_gemma2,
    arch_gemma3, arch_phi3, arch_bert, arch_nomic;

/* The file's number "<architecture>.<name>". fallback 0: the file must have it. */
uint32_t opening_number(struct opening *o, const char *name, uint32_t fallback);
float opening_real(const struct opening *o, const char *name, float fallback);
/* A tensor by its name. Of another shape, or missing and not optional: INVALID. */
struct matrix opening_matrix(struct opening *o, const char *name, uint32_t columns, uint32_t rows,
                             bool optional);
/* Rows first .. first + rows - 1 of one that has `all`. */
struct matrix opening_rows(struct opening *o, const char *name, uint32_t columns, uint32_t all,
                           uint32_t first, uint32_t rows);
/* Matrix `which` of a tensor of n of them. */
struct matrix opening_slice(struct opening *o, const char *name, uint32_t columns, uint32_t rows,
                            uint32_t n, uint32_t which);
/* Norms and biases are stored as F32, or the file is refused. */
const float *opening_vector(struct opening *o, const char *name, uint32_t n, bool optional);
/* "blk.<layer>.<what>" */
const char *opening_name(uint32_t layer, const char *what, char out[96]);
/* Query, key, value and output of a layer, each a tensor; biases where the file has them. */
void opening_attention(struct opening *o, struct layer *l, uint32_t n, bool biases);
/* What encoders have around their layers: the first norm, the types of tokens, a reranker's head.
 */
void opening_texts(struct opening *o);
/* Experts of a layer whose feed-forward network is a choice of them. */
void opening_experts(struct opening *o, struct layer *l, uint32_t n);

#endif
