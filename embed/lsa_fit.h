/* Fitting the latent-semantic encoder: passages in as stems, a blob (embed/lsa.h) out.
 *
 * Memory is bounded whatever comes in: when the row or entry limit is reached every second passage kept so
 * far is dropped, and from then on only every second (fourth, ...) is taken, an even sample of the stream.
 * Distinct stems past their limit are counted in a passage's length and otherwise left out; by then they
 * are rare ones. One thread at a time. */
#ifndef CARREL_EMBED_LSA_FIT_H
#define CARREL_EMBED_LSA_FIT_H

#include "embed/lsa.h"
#include "embed/svd.h"

#define LSA_FIT_ROWS_MAX ((size_t)200000)
#define LSA_FIT_ENTRIES_MAX ((size_t)20 * 1000 * 1000)
#define LSA_FIT_STEMS_MAX ((size_t)1500000)
#define LSA_FIT_STEM_BYTES 64 /* longer stems stay out */
/* So many singular values of a fit are at least this part of the largest, or it is refused. */
#define LSA_FIT_USABLE ((size_t)4)
#define LSA_FIT_USABLE_PART 0.01F

struct lsa_fit;

struct lsa_fit_options {
    uint32_t dimensions;             /* 1..LSA_DIMENSIONS_MAX */
    uint32_t min_document_frequency; /* passages a stem must occur in */
    uint64_t seed;
    size_t rows_max;                 /* 0: LSA_FIT_ROWS_MAX; for tests */
};

enum status lsa_fit_new(const struct lsa_fit_options *o, struct lsa_fit **out,
                        struct error *err) MUST_CHECK;
void lsa_fit_free(struct lsa_fit *f); /* NULL is fine */
/* One stem of the passage being read. */
enum status lsa_fit_word(struct lsa_fit *f, struct str stem, struct error *err) MUST_CHECK;
/* The passage is complete; language as text_detect_language gave it. */
enum status lsa_fit_passage(struct lsa_fit *f, const char *language, struct error *err) MUST_CHECK;
size_t lsa_fit_rows(const struct lsa_fit *f); /* passages kept */
/* Decomposes and writes *blob (malloc'd, the caller's). Uses up f's content: only lsa_fit_free may follow.
 * STATUS_INVALID when fewer than two stems are frequent enough, or the passages are too much alike. */
enum status lsa_fit_solve(struct lsa_fit *f, svd_progress_fn progress, void *data, uint8_t **blob,
                          size_t *len, struct error *err) MUST_CHECK;

#endif
