/* The vectors of one tenant, ready to be searched: sealed segments listed in segments/manifest, and
 * the tail of newer ones, both derived from the catalogue. A segment that is missing or damaged is
 * dropped with everything after it and its vectors are read from the catalogue until the next
 * sealing. Any number of threads. */
#ifndef CARREL_VECTORSTORE_VECTORS_H
#define CARREL_VECTORSTORE_VECTORS_H

#include <stdatomic.h>

#include "vectorstore/catalogue.h"
#include "vectorstore/visible.h"

#define VECTOR_MAX_DIMENSIONS 4096U

struct vectors;

struct vector_hit {
    chunk_no chunk;
    float cosine;
};

enum status vectors_open(const char *tenant_dir, struct vectors **out,
                         struct error *err) MUST_CHECK;
void vectors_close(struct vectors *v); /* NULL is fine */
/* The best k visible ones by cosine, best first, ties by number; exact but for large segments
 * without a narrow filter. q: dimensions of the encoder, any length. hits: room for k. */
enum status vectors_search(struct vectors *v, struct catalogue *c,
                           const struct catalogue_state *state, const struct encoder *e,
                           const float *q, const struct visible *visible, uint32_t k,
                           const _Atomic bool *cancelled, struct vector_hit *hits, size_t *n,
                           struct error *err) MUST_CHECK;
/* Seals the tail of e when it holds at least STORE_SEAL_VECTORS. One thread at a time; own
 * connection in a read transaction. */
enum status vectors_seal(struct vectors *v, struct catalogue *c,
                         const struct catalogue_state *state, const struct encoder *e, bool *sealed,
                         struct error *err) MUST_CHECK;
/* Forgets encoders that are no longer there. */
void vectors_retain(struct vectors *v, const int64_t *encoders, size_t n);
/* To fp16, scaled to unit length (zero stays zero); false when a value is not finite. in:
 * dimensions fp16. */
bool vector_normalise(struct str in, uint16_t *out, uint32_t dimensions);

#endif
