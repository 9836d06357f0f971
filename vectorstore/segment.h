/* A sealed, immutable set of vectors of one encoder, read by mmap: the vectors numbered (after,
 * until] in the catalogue, as fp16 rows in order of their inverted list. Most have one list and are
 * scanned whole; from STORE_INVERTED_VECTORS on FAISS clusters them, and a search looks into the
 * nearest lists, or into all when the filter leaves few rows. The file carries a SHA-256 of its
 * body, checked on opening. Thread-safe once open. */
#ifndef CARREL_VECTORSTORE_SEGMENT_H
#define CARREL_VECTORSTORE_SEGMENT_H

#include <stdatomic.h>

#include "vectorstore/best.h"
#include "vectorstore/vectors.h"
#include "vectorstore/visible.h"

struct segment;

/* CORRUPT when the file is not whole, NOT_FOUND when it is not there. */
enum status segment_open(const char *path, struct segment **out, struct error *err) MUST_CHECK;
void segment_close(struct segment *s); /* NULL is fine */
uint64_t segment_count(const struct segment *s);
uint32_t segment_dimensions(const struct segment *s);
/* Offers what is visible to best. q: of unit length. Stops early, CANCELLED, when cancelled is set.
 */
enum status segment_search(const struct segment *s, const float *q, const struct visible *visible,
                           const _Atomic bool *cancelled, struct best *best,
                           struct error *err) MUST_CHECK;
/* Writes the vectors (after, until] of e, n of them in that many lists (1: none), whole and synced,
 * to path. */
enum status segment_write(const char *path, struct catalogue *c, const struct encoder *e,
                          int64_t after, int64_t until, uint64_t n, uint32_t lists,
                          struct error *err) MUST_CHECK;
/* How many lists n vectors should have. */
uint32_t segment_lists(uint64_t n);

#endif
