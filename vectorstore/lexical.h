/* Full-text indexing and ranking, pure: postings and statistics come and go through `struct
 * lexical_source` (the catalogue in the service, memory in tests and benches), no I/O of its own.
 *
 * Ranking (shared measurements in docs/decisions/ranking.md): BM25 over stems, title words counted
 * four times, function words of the query at .3; frequent words only score candidates that rarer
 * ones found (MaxScore); the best `limit` chunks are re-scored by .6 x (.90 words + .05 ordered
 * pairs + .05 pairs within 8) + .4 x BM25 over character 4-grams, each normalised by the query's
 * upper bound, and a little for coverage of question and title (lexical_weights.h). */
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
    uint64_t chunks;       /* live chunks N */
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
struct lexical_entry {
    struct lexical_posting *postings; /* by term, each once */
    size_t n_postings;
    uint32_t *gram_buckets; /* each distinct bucket once: its df changes by one */
    size_t n_gram_buckets;
    uint32_t length, gram_length, plain_length;
};
enum status lexical_analyze(struct text_analyzer *t, struct str text, struct str title,
                            const char *language, struct arena *a, struct lexical_entry *out,
                            struct error *err) MUST_CHECK;

/* Posting lists are stored as blocks: a term's blocks in order of chunk number. A block is
 * self-contained (first and last number, count, largest tf) and at most LEXICAL_BLOCK_MAX bytes. */
#define LEXICAL_BLOCK_MAX 4000
struct lexical_add {
    chunk_no chunk;
    uint32_t tf_text, tf_title;
    uint32_t length; /* of the chunk; clipped as the codec needs */
    uint32_t plain_length;
};
/* Append postings (ascending, all above the block's last) to `block` (may be empty); when it is
 * full, *taken tells how many went in and the rest belongs into a new block. out is filled with the
 * new content. */
enum status lexical_block_append(struct str block, const struct lexical_add *adds, size_t n,
                                 struct buf *out, size_t *taken, struct error *err) MUST_CHECK;
/* Without the chunks for which `gone` says so; out empty when nothing is left. For merges. */
enum status lexical_block_purge(struct str block, bool (*gone)(chunk_no, void *), void *data,
                                struct buf *out, size_t *removed, struct error *err) MUST_CHECK;

struct lexical_chunk { /* what re-scoring needs; valid until the next call of the source */
    struct str text;
    struct str title; /* title and heading path as indexed */
    const char *language;
    uint32_t length, gram_length;
};

struct lexical_source {
    void *data;
    /* df of the term among live chunks; 0: unknown */
    enum status (*df)(void *data, struct str term, uint64_t *df, struct error *err);
    /* The term's blocks in order, each handed to `visit` (valid during the call; false stops). */
    enum status (*blocks)(void *data, struct str term, bool (*visit)(struct str block, void *ctx),
                          void *ctx, struct error *err);
    /* Terms within max_edits (1 or 2, a swap of neighbours is one) of `term`, which need not be in
     * the index, each handed to `visit` (false stops), in any order; NULL: not to be had. */
    enum status (*similar)(void *data, struct str term, uint32_t max_edits,
                           bool (*visit)(struct str term, void *ctx), void *ctx, struct error *err);
    enum status (*chunk)(void *data, chunk_no n, struct lexical_chunk *out, struct error *err);
    const uint32_t *gram_df; /* LEXICAL_GRAM_BUCKETS counters */
    struct lexical_stats stats;
    /* Live and visible to this caller under his filter; consulted while scoring, before any cut. */
    bool (*allowed)(void *data, chunk_no n);
    /* Languages present, most chunks first: query words are stemmed by each. */
    const char *const *languages;
    size_t n_languages;
    /* Set by another thread to stop early (STATUS_CANCELLED); may be NULL. */
    const _Atomic bool *cancelled;
};

/* In how many chunks the term occurs; 0 too when none of them is allowed, so that nothing told to
 * the caller depends on a word that only others may read. */
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
    uint32_t matched;  /* candidates scored */
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
