/* Full-text indexing and ranking, pure: postings and statistics come and go through `struct
 * lexical_source` (the catalogue in the service, memory in tests and benches), no I/O of its own.
 *
 * Ranking (shared measurements in docs/decisions/ranking.md): BM25 over stems, title words counted
 * four times, function words of the query at .3; what cannot be among the best is passed over in
 * windows (block-max MaxScore); the best `limit` chunks are re-scored by .6 x (.90 words + .05
 * ordered pairs + .05 pairs within 8) + .4 x BM25 over character 4-grams, each normalised by the
 * query's upper bound, and a little for coverage of question and title (lexical_weights.h). */
#ifndef CARREL_VECTORSTORE_LEXICAL_H
#define CARREL_VECTORSTORE_LEXICAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/text/text.h"

/* A chunk's number in the tenant's store: dense, growing, never reused. Never leaves vectorstore.
 */
typedef uint32_t chunk_no;

/* Character 4-gram document frequencies are kept hashed into this many counters. */
#define LEXICAL_GRAM_BUCKETS (1U << 18)

struct lexical_stats {
    uint64_t chunks;       /* N */
    uint64_t length_total; /* sum of |u| (text tf + 4 title tf) */
    uint64_t gram_length_total;
    uint64_t plain_length_total; /* text + title once, for plain BM25 */
};

/* What one chunk adds to (or, when it is deleted, takes from) the index. Lives in the arena. */
struct lexical_posting {
    struct str term;
    uint32_t tf_text;
    uint32_t tf_title; /* 0 or 1: a title word counts once */
};
/* A word as a text spells it, normalised, and what the index holds for it: what misspelled words of
 * questions are compared with. No codes, no digits, LEXICAL_FORM_POINTS letters and more. */
struct lexical_form {
    struct str form, stem;
};
#define LEXICAL_FORM_POINTS 4U
#define LEXICAL_FORM_BYTES 128U /* longer ones are nobody's correction */

struct lexical_entry {
    struct lexical_posting *postings; /* by term, each once */
    size_t n_postings;
    struct lexical_form *forms; /* each spelling once; two may differ in case alone */
    size_t n_forms;
    uint32_t *gram_buckets; /* each distinct bucket once: its df changes by one */
    size_t n_gram_buckets;
    uint32_t length, gram_length, plain_length;
};
enum status lexical_analyze(struct text_analyzer *t, struct str text, struct str title,
                            const char *language, struct arena *a, struct lexical_entry *out,
                            struct error *err) MUST_CHECK;

/* ---- postings, packed (lexical_list.h says how) ---- */

#define LEXICAL_BLOCK 128 /* postings in a block */

struct lexical_length {     /* of one chunk; all zero: nothing was indexed under its number */
    uint16_t length, plain; /* clipped */
    uint32_t grams;
};
struct lexical_add {
    chunk_no chunk;
    uint32_t tf_text, tf_title; /* clipped to 65535 and 7 when read back */
};
/* The postings of one term in one part of the index. */
struct lexical_list {
    struct str bytes;
    uint32_t df;                          /* postings; 0: the term is not in the part */
    chunk_no base;                        /* the part's first chunk */
    const struct lexical_length *lengths; /* of the part's chunks, n_lengths of them */
    uint32_t n_lengths;
};
/* Appends n >= 1 postings, ascending from base on; lengths[chunk - base] must be there for each. */
enum status lexical_list_encode(const struct lexical_add *adds, uint32_t n, chunk_no base,
                                const struct lexical_length *lengths, struct buf *out,
                                struct error *err) MUST_CHECK;

/* A set of chunks: bit n % 64 of word n / 64, for numbers below the limit. */
struct lexical_allowed {
    const uint64_t *bits;
    uint64_t limit;
};
static inline bool lexical_allowed(const struct lexical_allowed *a, uint64_t n)
{
    return n < a->limit && (a->bits[n / 64] >> (n % 64) & 1U) != 0;
}

struct lexical_chunk { /* what re-scoring needs; valid until the next call of the source */
    struct str text;
    struct str title; /* title and heading path as indexed */
    const char *language;
    uint32_t length, gram_length;
};

typedef bool (*lexical_form_fn)(const struct lexical_form *f, const chunk_no *chunks, uint32_t n,
                                void *ctx);

struct lexical_source {
    void *data;
    /* The index comes in parts, ascending and disjoint in their chunk numbers. */
    size_t n_parts;
    /* The term's postings in a part (df 0 where it has none), valid until the search ends. */
    enum status (*list)(void *data, size_t part, struct str term, struct lexical_list *out,
                        struct error *err);
    /* Forms within max_edits (1 or 2) of `word`, which need not be in the index, each handed to
     * `visit` (false stops), in any order, once a part; chunks: some that have it, of `n` >= 1 at
     * least one. NULL: not to be had. */
    enum status (*similar)(void *data, struct str word, uint32_t max_edits, lexical_form_fn visit,
                           void *ctx, struct error *err);
    enum status (*chunk)(void *data, chunk_no n, struct lexical_chunk *out, struct error *err);
    uint32_t (*gram_df)(void *data, uint32_t bucket); /* below LEXICAL_GRAM_BUCKETS */
    struct lexical_stats stats;
    /* Live and visible to this caller under his filter; consulted while scoring, before any cut. */
    struct lexical_allowed allowed;
    /* Languages present, most chunks first: query words are stemmed by each. */
    const char *const *languages;
    size_t n_languages;
    /* Set by another thread to stop early (STATUS_CANCELLED); may be NULL. */
    const _Atomic bool *cancelled;
};

/* In how many chunks the term occurs; 0 too when none of them is allowed, so that nothing told to
 * the caller depends on a word that only others may read. The number counts what is hidden and what
 * is gone until it is merged away, as stats.chunks does. */
enum status lexical_df(const struct lexical_source *source, struct str term, uint64_t *df,
                       struct error *err) MUST_CHECK;

struct lexical_hit {
    chunk_no chunk;
    float score; /* fused, 0..1 */
    float words, sdm, char4;
};
/* A word of the question that no visible chunk has, and those in visible chunks that were looked
 * for in its place, as spelled there. */
#define LEXICAL_SIMILAR_MAX 4
struct lexical_similar {
    struct str word;
    struct str tried[LEXICAL_SIMILAR_MAX];
    size_t n_tried;
};
struct lexical_result {
    struct lexical_hit *hits; /* best first; ties by chunk number */
    size_t n_hits;
    float upper_bound_share;
    uint32_t matched;  /* chunks that have a word of the query, up to the limit */
    struct str *terms; /* the query's stems that occur in what is allowed */
    size_t n_terms;
    struct lexical_similar *similar;
    size_t n_similar;
};
struct lexical_query {
    struct str text;
    const struct str *earlier; /* earlier user turns, weight .2 */
    size_t n_earlier;
    uint32_t limit; /* 1..1000 */
    bool plain;     /* stemmed BM25 alone: k1 1.2, b .75, title once, no function-word weights */
    /* What a passage must have, or must not: at most LEXICAL_DEMANDS of each kind. A phrase's words
     * stand side by side in the text or the title, spelled as given (case and accents aside);
     * excluded words count in all their forms; title words stand in the title or a heading. */
    const struct str *phrases, *excluded, *in_title;
    size_t n_phrases, n_excluded, n_in_title;
};
#define LEXICAL_DEMANDS 16
enum status lexical_search(struct text_analyzer *t, const struct lexical_source *source,
                           const struct lexical_query *q, struct arena *a,
                           struct lexical_result *out, struct error *err) MUST_CHECK;

#endif
