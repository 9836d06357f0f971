/* The vectors of one tenant, ready to be searched: sealed segments listed in segments/manifest, and
 * the tail of newer ones in memory, both derived from the catalogue. What neither covers, because a
 * segment is missing or damaged or the tail is full, is read from the catalogue in each search, so
 * that nothing is ever left out, until the next sealing has made it again. Any number of threads.
 */
#ifndef CARREL_VECTORSTORE_VECTORS_H
#define CARREL_VECTORSTORE_VECTORS_H

#include <stdatomic.h>

#include "vectorstore/best.h"
#include "vectorstore/catalogue.h"
#include "vectorstore/dense.h"
#include "vectorstore/visible.h"

struct vectors;

/* keys: borrowed; NULL: not encrypted. */
enum status vectors_open(const char *tenant_dir, const struct segment_keys *keys,
                         struct vectors **out, struct error *err) MUST_CHECK;
void vectors_close(struct vectors *v); /* NULL is fine */
/* The best k visible ones by cosine, best first, ties by number; exact but for clustered segments.
 * c: in a read transaction with that state. q: dimensions of the encoder, any length. hits: room
 * for k. */
enum status vectors_search(struct vectors *v, struct catalogue *c,
                           const struct catalogue_state *state, const struct encoder *e,
                           const float *q, const struct visible *visible, uint32_t k,
                           const _Atomic bool *cancelled, struct vector_hit *hits, size_t *n,
                           struct error *err) MUST_CHECK;

/* Rows of one encoder as they lie: for status lines and tests. */
struct vectors_counts {
    uint64_t sealed, tail, segments, clustered;
};
void vectors_count(struct vectors *v, int64_t encoder, struct vectors_counts *out);

/* Segments of any encoder that are not encrypted; 0 without a key. */
uint32_t vectors_clear(struct vectors *v);

/* Reads all segments of e and checks every block. What is damaged is dropped, to be made again, and
 * told, as is what was found missing before. Blocks long. */
enum status vectors_check(struct vectors *v, const struct encoder *e, const _Atomic bool *cancelled,
                          void (*damaged)(void *data, const char *why), void *data,
                          struct error *err) MUST_CHECK;

/* ---- background; one thread at a time, c its own connection outside any transaction ---- */

/* Makes again what is missing, seals the tail of e when it holds at least STORE_SEAL_VECTORS,
 * merges small segments and rewrites those that hold many dead rows; *sealed: something was done.
 * Reads the catalogue in short transactions and stands back for searches. */
enum status vectors_seal(struct vectors *v, struct catalogue *c, const struct encoder *e,
                         bool *sealed, struct error *err) MUST_CHECK;
/* Rewrites every segment of e that holds a row whose chunk is gone, so that nothing of it is left
 * on disk; *rewritten how many. */
enum status vectors_purge(struct vectors *v, struct catalogue *c, const struct encoder *e,
                          size_t *rewritten, struct error *err) MUST_CHECK;
/* The store is about to close: a running vectors_seal ends soon, a later one at once. Any thread.
 */
void vectors_stop(struct vectors *v);
/* vectors_purge is about to be called on the sealing thread, which may be busy: what it does is
 * thrown away, unless what it did before was. Any thread. */
void vectors_yield(struct vectors *v, bool wanted);
/* Forgets encoders that are no longer there. */
void vectors_retain(struct vectors *v, const int64_t *encoders, size_t n);

/* To fp16, scaled to unit length (zero stays zero); false when a value is not finite. in:
 * dimensions fp16. */
bool vector_normalise(struct str in, uint16_t *out, uint32_t dimensions);
/* The same from floats. in: dimensions of 4 bytes. */
bool vector_normalise_floats(struct str in, uint16_t *out, uint32_t dimensions);

#endif
