/* Questions that a document should be found by, made from the document itself: from its title, its
 * headings, words it defines, questions it asks, and sentences. The words are varied (one is left
 * out, or only the longest are kept), so that what is asked is never the indexed text itself.
 * docs/decisions/evaluation.md says what such questions can tell and what not. Pure. */
#ifndef CARREL_RETRIEVE_QUESTIONS_H
#define CARREL_RETRIEVE_QUESTIONS_H

#include <stdint.h>

#include "base/arena.h"

enum question_kind {
    QUESTION_TITLE,    /* any passage of the document answers */
    QUESTION_HEADING,  /* any passage of the section */
    QUESTION_TERM,     /* the passage that defines the term, as the next two: that passage */
    QUESTION_ASKED,    /* a sentence that ends in a question mark */
    QUESTION_SENTENCE, /* the longest words of the first sentence of a passage */
    QUESTION_MODEL,    /* the local model's, about one passage (question_ask.h) */
};

struct question_passage {
    struct str text, heading; /* heading: "Leave > Parental leave", or "" */
};
struct question {
    enum question_kind kind;
    const char *text;     /* UTF-8, in the arena */
    uint32_t first, last; /* the passages that answer it: [first, last] */
    uint64_t key;         /* the same for the same question of the same document, in every run */
};

#define QUESTIONS_PER_DOCUMENT 6

/* At most QUESTIONS_PER_DOCUMENT, into out; the same ones for the same document. id: the
 * document's. */
enum status questions_make(const char *id, struct str title, const struct question_passage *p,
                           size_t n, struct arena *a, struct question *out, size_t *n_out,
                           struct error *err) MUST_CHECK;

#endif
