/* Why a chunk has the score that a search gave it: what each word of the question adds to the
 * words' part of it. Counted as the index counts, by the same analysis; the parts of a chunk add up
 * to its `words`. */
#ifndef CARREL_VECTORSTORE_LEXICAL_EXPLAIN_H
#define CARREL_VECTORSTORE_LEXICAL_EXPLAIN_H

#include "vectorstore/lexical.h"

struct lexical_use {
    struct str word; /* as in the question */
    uint32_t in_text;
    bool in_title;
    float part; /* of words */
    bool function_word;
    bool earlier; /* only in earlier turns of the conversation */
};

struct lexical_detail {
    chunk_no chunk;
    float words;              /* the sum of the parts */
    struct lexical_use *uses; /* every word of the question, those that it lacks with part 0 */
    size_t n_uses;
};

/* out: n details, in order; a chunk that is gone has none (n_uses 0). In a. */
enum status lexical_explain(struct text_analyzer *t, const struct lexical_source *source,
                            const struct lexical_query *q, const chunk_no *chunks, size_t n,
                            struct arena *a, struct lexical_detail *out,
                            struct error *err) MUST_CHECK;

#endif
