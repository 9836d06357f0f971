/* What the files of the lexical library share. */
#ifndef CARREL_VECTORSTORE_LEXICAL_INTERNAL_H
#define CARREL_VECTORSTORE_LEXICAL_INTERNAL_H

#include "vectorstore/lexical.h"
#include "vectorstore/lexical_edits.h"
#include "vectorstore/lexical_list.h"
#include "vectorstore/lexical_weights.h"

/* The text without the lines at its beginning that are in the title (a chunk that opens a section
 * begins with its heading), so that no title word counts as text too. */
struct str lexical_body(struct str text, struct str title);

/* ---- the query: lexical_query.c ---- */

#define LEXICAL_MAX_GROUPS 256 /* distinct words of a query */
#define LEXICAL_MAX_VARIANTS 16
#define LEXICAL_MAX_GRAMS 4096

/* One word of the query with the stems it has in the languages of the collection. */
struct lexical_group {
    struct str variants[LEXICAL_MAX_VARIANTS];
    uint64_t variant_df[LEXICAL_MAX_VARIANTS];
    uint32_t n_variants;
    uint32_t occurrences; /* in the question itself */
    float weight;         /* occurrences and function-word weight, earlier turns included */
    bool function_word;
    bool in_question;       /* not only in earlier turns */
    bool part;              /* of a compound of the question, and no word of it */
    bool may_be_misspelled; /* a word in letters: no number, no code */
    struct str word;        /* normalised, as in the question */
    uint64_t df;
    float idf;
    float bound; /* weight * idf * (k1 + 1) */
};

/* Adjacent words of the question. */
struct lexical_pair {
    uint16_t first, second; /* groups */
    uint32_t occurrences;
};

struct lexical_gram {
    uint64_t hash;
    float weight, idf;
};

struct lexical_plan {
    struct lexical_group *groups;
    size_t n_groups;
    struct lexical_pair *pairs;
    size_t n_pairs;
    struct lexical_gram *grams;
    size_t n_grams;
    float words_bound, grams_bound;
    float words_hoped, grams_hoped; /* the same where a word that is nowhere counts as one that is
                                       in one chunk: of few chunks, what they lack would drown what
                                       they have */
    float average_length, average_gram_length;
    bool plain;
    struct lexical_similar *similar;
    size_t n_similar;
};

/* One token of a text that asks, with its stems in the languages of the collection. */
struct lexical_word {
    enum text_kind kind;
    uint32_t position;
    struct str norm;
    struct str variants[LEXICAL_MAX_VARIANTS];
    uint32_t n_variants;
    bool function_word, alone;
};
#define LEXICAL_MAX_WORDS 512
/* The words of a text as a question reads them, bigrams and single characters included; in a. */
enum status lexical_words(struct text_analyzer *t, const struct lexical_source *source,
                          struct str text, struct arena *a, struct lexical_word **out, size_t *n,
                          struct error *err) MUST_CHECK;

enum status lexical_plan_make(struct text_analyzer *t, const struct lexical_source *source,
                              const struct lexical_query *q, struct arena *a,
                              struct lexical_plan *out, struct error *err) MUST_CHECK;
/* For a word that nobody has: words that visible chunks have in its place become its variants, and
 * its weight falls. lexical_similar.c */
enum status lexical_find_similar(struct text_analyzer *t, const struct lexical_source *source,
                                 struct lexical_plan *p, struct lexical_group *g, struct arena *a,
                                 struct error *err) MUST_CHECK;
/* Hands on the stems of the parts of compounds among the words, each with its weight, where the
 * language (of the question) has compounds. lexical_compound.c */
typedef void (*lexical_part_fn)(struct str stem, float weight, void *data);
enum status lexical_split_compounds(struct text_analyzer *t, const struct lexical_source *source,
                                    const char *language, const struct lexical_word *words,
                                    size_t n, struct arena *a, lexical_part_fn part, void *data,
                                    struct error *err) MUST_CHECK;
bool lexical_in_letters(struct str norm); /* no digit in it */
/* To the power above, unless `plain`. */
float lexical_idf(uint64_t n, uint64_t df, bool plain);

struct lexical_candidate {
    chunk_no chunk;
    float score;
};
struct lexical_tally { /* scaled to an integer */
    chunk_no chunk;
    uint32_t score;
};

/* ---- what passages must have: lexical_demand.c ---- */

/* A source that answers as `inner` does, but allows only chunks that may meet the query's demands.
 */
struct lexical_demand {
    const struct lexical_source *inner;
    struct lexical_phrase *phrases; /* word order is checked on the text, lexical_demand_met */
    size_t n_phrases;
};
bool lexical_demands(const struct lexical_query *q);
/* Reads the postings of the words demanded. `narrowed` is what to search; d must outlive it. */
enum status lexical_demand_make(struct text_analyzer *t, const struct lexical_source *source,
                                const struct lexical_query *q, struct arena *a,
                                struct lexical_demand *out, struct lexical_source *narrowed,
                                struct error *err) MUST_CHECK;
/* Of the candidates, in order, those whose text has the phrases, until `limit` are found. */
enum status lexical_demand_keep(struct text_analyzer *t, const struct lexical_demand *d,
                                struct lexical_candidate *c, size_t *n, uint32_t limit,
                                struct error *err) MUST_CHECK;

/* ---- candidates: lexical_match.c ---- */

/* The best `limit` chunks by words alone, best first, ties by chunk number: what scoring every
 * match would give. */
enum status lexical_match(const struct lexical_source *source, const struct lexical_plan *p,
                          uint32_t limit, struct arena *a, struct lexical_candidate **out,
                          size_t *n_out, struct error *err) MUST_CHECK;

/* ---- re-scoring: lexical_rescore.c ---- */

enum status lexical_rescore(struct text_analyzer *t, const struct lexical_source *source,
                            struct lexical_plan *p, const struct lexical_candidate *c, size_t n,
                            struct arena *a, struct lexical_result *out,
                            struct error *err) MUST_CHECK;

#endif
