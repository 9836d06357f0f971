/* Texts to vectors: analysis, then fold-in into a fit or, before the first one, hashed stems. Pure; one
 * analyzer and one scratch bag a thread. */
#ifndef CARREL_EMBED_ENCODE_H
#define CARREL_EMBED_ENCODE_H

#include "base/text/text.h"
#include "embed/lsa.h"
#include "embed/lsa_fit.h"

#define ENCODE_HASHED_DIMENSIONS 256

struct encode_text {
    struct str text;  /* UTF-8 */
    struct str title; /* title and heading path, counted as context; may be empty */
};

struct encode_scratch {
    struct text_analyzer *analyzer;
    struct lsa_bag bag;
};

enum status encode_scratch_new(struct encode_scratch **out, struct error *err) MUST_CHECK;
void encode_scratch_free(struct encode_scratch *s); /* NULL is fine */

/* The vector of one text, of length 1 or all zero, into out[dimensions of m, or ENCODE_HASHED_DIMENSIONS when
 * m is NULL]. A query is stemmed in every language of the fit, since a few words do not tell theirs; a
 * passage in the one detected. Adds the words read to *words. */
enum status encode_one(struct encode_scratch *s, const struct lsa_model *m,
                       const struct encode_text *t, bool query, float *out, size_t *words,
                       struct error *err) MUST_CHECK;
/* Counts one passage into a fit. */
enum status encode_into_fit(struct encode_scratch *s, struct lsa_fit *f,
                            const struct encode_text *t, struct error *err) MUST_CHECK;

#endif
