/* The extractive answer: the sentences of the passages that best answer the question, word for
 * word, in the passages' order, each followed by its mark. Pure. docs/decisions/extractive.md tells
 * how they are scored.
 *
 * "Word for word" up to white space: line ends inside a sentence become one space, but for those
 * between rows of a table ("a | b"), where the next number would run into the last one. A
 * "sentence" of more than EXTRACTIVE_QUOTE_BYTES (a table read as text) is cut at a word and ends
 * in " …". */
#ifndef CARREL_GENERATE_EXTRACTIVE_H
#define CARREL_GENERATE_EXTRACTIVE_H

#include "base/buf.h"
#include "base/text/text.h"
#include "generate/cite.h"

#define EXTRACTIVE_PASSAGES_MAX 64
#define EXTRACTIVE_QUOTE_BYTES 1000
#define EXTRACTIVE_PICKED_MAX 20

struct extractive_passage {
    struct str text;
    struct str title; /* title and heading path: context for its sentences; may be empty */
};

struct extractive_question {
    struct str text;
    const char *language; /* ISO 639-1, or "" to detect it */
    const struct extractive_passage *passages;
    size_t n_passages;
    float upper_bound_share; /* below 0: unknown, and no reason to refuse */
    double refuse_below;
    size_t max_sentences; /* 1..EXTRACTIVE_PICKED_MAX */
};

struct extractive_answer {
    struct buf text; /* the caller inits and deinits */
    struct citation citations[EXTRACTIVE_PICKED_MAX];
    size_t n_citations;
    bool refused; /* text says that nothing in these documents answers this */
};

enum status extractive_answer(struct text_analyzer *a, const struct extractive_question *q,
                              struct extractive_answer *out, struct error *err) MUST_CHECK;
/* "Nothing in these documents answers this." in a language; English where we have none. Static. */
const char *extractive_refusal(const char *language);

#endif
