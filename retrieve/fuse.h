/* Fusion of ranked lists, pure: each list's scores are stretched to 0..1 over that list (min-max)
 * and added with their weights; a passage absent from a list gets 0 from it. Ranks alone
 * (reciprocal rank fusion) were measured to lose .03 to .05 nDCG@10 beside a weak encoder. */
#ifndef CARREL_RETRIEVE_FUSE_H
#define CARREL_RETRIEVE_FUSE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

struct fuse_hit { /* best first */
    struct str chunk;
    float score;
};

struct fused {
    struct str chunk;               /* borrowed from the list */
    float score;                    /* 0..1 */
    uint32_t text_rank, dense_rank; /* from 1; 0: not in that list */
    /* by a reranker (rerank.h): its score, and what it had before; before 0: it was not asked */
    float rerank, before_score;
    uint32_t before;
};

/* The weight of vectors for one question: less, the more of the question the best passage holds
 * word for word (upper_bound_share, 0..1). Measured in docs/decisions/ranking.md. */
float fuse_weight(float encoder_weight, float upper_bound_share);

/* Of the two settings the one that holds for this encoder: imported ones are named "gguf-...". */
float fuse_encoder_weight(const char *encoder, double built_in, double imported);

/* Best first, ties by text rank, then dense rank. dense_weight 0..1; the text list has the rest, or
 * all when the other list is empty. A chunk twice in a list counts where it stands first. out lives
 * in a. */
enum status fuse(const struct fuse_hit *text, size_t n_text, const struct fuse_hit *dense,
                 size_t n_dense, float dense_weight, struct arena *a, struct fused **out,
                 size_t *n_out, struct error *err) MUST_CHECK;

#endif
