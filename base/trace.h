/* Traces: how to look for a text that may not be written down. A trace is a keyed hash of one run
 * of TRACE_BYTES bytes, and the rolling hash (Karp and Rabin 1987) that finds candidates for it
 * while a file streams by. A handful of them, spread over a document, tell whether any of its
 * bytes are still in a file; nobody reads the document out of them. */
#ifndef CARREL_BASE_TRACE_H
#define CARREL_BASE_TRACE_H

#include <stdint.h>

#include "base/sign.h"
#include "base/str.h"

#define TRACE_BYTES 24
#define TRACE_KEYED_BYTES 16

struct trace {
    uint64_t roll;
    uint8_t keyed[TRACE_KEYED_BYTES];
};

/* At most max traces, evenly spread; runs of few different bytes are passed over, for they would be
 * found anywhere. Returns how many. */
size_t traces_take(const uint8_t key[KEYED_KEY_BYTES], struct str bytes, size_t max,
                   struct trace *out);

struct trace_set;
/* A copy of the traces, ready for scanning; NULL: out of memory. */
struct trace_set *trace_set_new(const uint8_t key[KEYED_KEY_BYTES], const struct trace *list,
                                size_t n);
void trace_set_free(struct trace_set *t);          /* NULL is fine */
size_t trace_set_count(const struct trace_set *t); /* those still looked for */
/* How many of the set's traces stand in the file, each counted once. drop: those are looked for no
 * more. A file that has gone counts as 0. Blocks; one thread at a time. */
enum status trace_set_scan(struct trace_set *t, const char *path, bool drop, size_t *found,
                           struct error *err) MUST_CHECK;

#endif
