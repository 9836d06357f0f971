/* A fit of the latent-semantic encoder: which terms it knows, their idf, and the projection that turns a
 * BM25-weighted bag of stems into a dense vector. A fit travels as one blob:
 *
 *   offset  size                content (little endian)
 *   0       8                   "CARLSA1\n"
 *   8       4                   text analyzer version it was made with
 *   12      4                   dimensions d, 1..LSA_DIMENSIONS_MAX
 *   16      4                   terms n, 1..LSA_TERMS_MAX
 *   20      4                   passages it was fitted on
 *   24      4                   average passage length in words, float
 *   28      4                   bytes of all terms, S
 *   32      LSA_LANGUAGES*8     languages, commonest first, each NUL-padded to 8 bytes; unused ones empty
 *   96      4(n+1)              offset of each term in the term bytes; terms are sorted and differ
 *   ...     S, padded to 4      term bytes
 *   ...     4n                  idf, float
 *   ...     2nd                 projection, half floats, a row a term
 *   end-32  32                  SHA-256 of everything before it
 *
 * Blobs are read back from disk, so lsa_open checks every count, offset and number. A model is immutable
 * and may be used by many threads; a bag belongs to one. */
#ifndef CARREL_EMBED_LSA_H
#define CARREL_EMBED_LSA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

#define LSA_DIMENSIONS_MAX 512
#define LSA_TERMS_MAX ((size_t)65536)
#define LSA_TERM_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define LSA_LANGUAGES 8
#define LSA_BLOB_MAX ((size_t)80 * 1024 * 1024)
#define LSA_HEADER_BYTES 96
#define LSA_ENCODER_CAP 32 /* "carrel-lsa-" and 16 hex digits */

/* BM25's saturation and length normalisation, the same at fit and at fold-in. */
#define LSA_K1 1.2F
#define LSA_B .75F

struct lsa_model;

struct lsa_info {
    uint32_t dimensions;
    uint32_t terms;
    uint32_t passages;
    const char *languages[LSA_LANGUAGES]; /* n_languages of them; live as long as the model */
    size_t n_languages;
    size_t bytes; /* memory held */
    char encoder[LSA_ENCODER_CAP]; /* "carrel-lsa-" + 16 hex digits of the blob's SHA-256 */
};

/* Takes blob (malloc'd) on success; on failure it stays the caller's. STATUS_CORRUPT says what is wrong,
 * STATUS_UNSUPPORTED that it was made with another text analysis. */
enum status lsa_open(uint8_t *blob, size_t len, struct lsa_model **out,
                     struct error *err) MUST_CHECK;
void lsa_close(struct lsa_model *m); /* NULL is fine */
void lsa_describe(const struct lsa_model *m, struct lsa_info *out);
/* The encoder's name for a blob. */
void lsa_encoder_of(const uint8_t *blob, size_t len, char out[LSA_ENCODER_CAP]);

/* The words of one text on their way to a vector. Reused from text to text. */
struct lsa_bag {
    struct lsa_word {
        uint32_t term;
        uint32_t reading;
    } *words;
    size_t n;
    size_t cap;
    size_t length[LSA_LANGUAGES]; /* words seen in each reading, known to the model or not */
};

void lsa_bag_init(struct lsa_bag *b);
void lsa_bag_deinit(struct lsa_bag *b);
void lsa_bag_reset(struct lsa_bag *b);
/* Count one stem. reading (< LSA_LANGUAGES) tells apart stemmings of the same text in several languages: of
 * each term the reading with the most occurrences counts, so that a term is not counted twice for being the
 * same in two languages. Past 64 Ki known words of a text the rest is left out. */
enum status lsa_bag_add(struct lsa_bag *b, const struct lsa_model *m, struct str stem,
                        uint32_t reading, struct error *err) MUST_CHECK;
/* The vector of length 1 into out[dimensions]; all zero when the model knows none of the words. Leaves the
 * bag to be reset. */
void lsa_fold(const struct lsa_model *m, struct lsa_bag *b, float *out);

#endif
