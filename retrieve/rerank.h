/* The best passages in the order of a reranker that has read them beside the question. Pure. */
#ifndef CARREL_RETRIEVE_RERANK_H
#define CARREL_RETRIEVE_RERANK_H

#include "retrieve/fuse.h"

/* scores[i] (larger is better; any numbers) is of the candidate order[i], an index into fused, best
 * fused first. Those come first, by score, ties as they were; the others follow as they were. What
 * was moved keeps its place and score of before (before, before_score); its score becomes
 * 1 / (1 + e^-score), and no score behind is larger. order is put into the new order too. */
enum status rerank(struct fused *fused, size_t n_fused, size_t *order, const float *scores,
                   size_t n, struct arena *a, struct error *err) MUST_CHECK;

#endif
