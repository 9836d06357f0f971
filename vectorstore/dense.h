/* A sealed, immutable set of vectors of one encoder: those numbered (after, until] in the
 * catalogue, in order of their inverted list. Each vector is there twice: as bytes with a scale,
 * which are scanned, and as fp16, from which the best of the scan are scored again. Small ones have
 * one list and are scanned whole; large ones are clustered by FAISS, and a search looks into the
 * nearest lists until it has scored as many rows as the calibration at sealing asked for; a filter
 * makes it look further, down to every visible row. Thread-safe once open. */
#ifndef CARREL_VECTORSTORE_DENSE_H
#define CARREL_VECTORSTORE_DENSE_H

#include <stdatomic.h>

#include "vectorstore/best.h"
#include "vectorstore/dot.h"
#include "vectorstore/segment_keys.h"
#include "vectorstore/visible.h"

#define VECTOR_MAX_DIMENSIONS 4096U
#define DENSE_FLAT_BYTES ((uint64_t)64 * 1024 * 1024) /* of codes: above, lists are made */

struct dense;

/* CORRUPT when the file is not whole, NOT_FOUND when it is not there. Reads little: blocks are
 * checked when touched. keys: borrowed until the last drop; NULL is fine. Owned: dense_drop. */
enum status dense_open(const char *path, const struct segment_keys *keys, struct dense **out,
                       struct error *err) MUST_CHECK;
void dense_hold(struct dense *s);
void dense_drop(struct dense *s); /* the last one closes; NULL is fine */
uint64_t dense_count(const struct dense *s);
uint32_t dense_dimensions(const struct dense *s);
uint32_t dense_lists(const struct dense *s);
bool dense_clear(const struct dense *s);                /* not encrypted */
uint32_t dense_probes(const struct dense *s, double k); /* lists that hold enough of the best k */

/* ---- searching ---- */

struct dense_query {
    const struct dot *dot;
    const float *unit; /* of unit length */
    int8_t codes[VECTOR_MAX_DIMENSIONS];
    const struct visible *visible;
    double share;                  /* of all rows, visible; an estimate */
    const _Atomic bool *cancelled; /* NULL is fine */
    uint32_t k;
};

/* Rows that may be among the best, by their bytes; shared by the segments of a search. */
struct candidate {
    float score; /* in the scale of the query's codes */
    uint32_t segment, row;
    chunk_no chunk;
};

struct candidates {
    struct candidate *heap; /* room for cap, the root is the worst */
    size_t n, cap;
};

/* How many to keep so that the best k by fp16 are among them. */
size_t dense_candidates(uint32_t k);
/* rows: how many there are in all segments. */
void dense_query_init(struct dense_query *q, const struct dot *dot, const float *unit,
                      uint32_t dimensions, const struct visible *visible, uint64_t rows,
                      const _Atomic bool *cancelled, uint32_t k);
/* Adds the visible rows of s, as segment number `segment`. CORRUPT: a block of the file is damaged.
 */
enum status dense_scan(const struct dense *s, uint32_t segment, const struct dense_query *q,
                       struct candidates *c, struct error *err) MUST_CHECK;
/* Scores n candidates, all of s, by fp16. */
enum status dense_rescore(const struct dense *s, const struct dense_query *q,
                          const struct candidate *c, size_t n, struct best *best,
                          struct error *err) MUST_CHECK;
/* The chunk numbers of all rows. */
enum status dense_chunks(const struct dense *s,
                         void (*visit)(const chunk_no *chunks, size_t n, void *data), void *data,
                         struct error *err) MUST_CHECK;
/* Reads and checks the whole file. */
enum status dense_check(const struct dense *s, const _Atomic bool *cancelled,
                        struct error *err) MUST_CHECK;

/* ---- writing ---- */

/* Return other than OK to end the visit with it. row: dimensions fp16. */
typedef enum status (*dense_visit)(int64_t seq, chunk_no chunk, const uint16_t *row, void *data,
                                   struct error *err);
/* Where the rows come from. Passes may differ by rows that went away meanwhile. */
struct dense_source {
    uint32_t dimensions;
    uint64_t n; /* at most so many */
    void *data;
    enum status (*each)(void *data, dense_visit visit, void *visit_data, struct error *err);
    /* Called every few milliseconds of work: may sleep, may refuse (the writing ends with that). */
    enum status (*pause)(void *pause_data, struct error *err);
    void *pause_data;
    const struct segment_key *key; /* NULL: not encrypted */
};

/* How many lists n vectors should have; 1: none. */
uint32_t dense_lists_for(uint64_t n, uint32_t dimensions);
/* Writes the source's vectors in that many lists, whole and synced, to path; *n how many. NOT_FOUND
 * when there are none. Memory: some 20 bytes a vector and at most 100 MB for clustering. */
enum status dense_write(const char *path, const struct dense_source *source, uint32_t lists,
                        uint64_t *n, struct error *err) MUST_CHECK;

#endif
