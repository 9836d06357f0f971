/* The filter of a search as clients write it: names and dates in JSON, into the store's message. */
#ifndef CARREL_SERVE_SEARCH_FILTER_H
#define CARREL_SERVE_SEARCH_FILTER_H

#include "base/arena.h"
#include "serve/json.h"
#include "vectorstore.pb-c.h"

#define FILTER_VALUES_MAX 64

/* Reads collections, labels, tags, languages, formats, documents, under (arrays of strings), from,
 * until and as_of (dates) of an object; NULL: nothing. *any tells whether there was one. Strings
 * are borrowed. INVALID names the key. */
enum status search_filter(const struct json *object, struct arena *a, Vs__Filter *out, bool *any,
                          struct error *err) MUST_CHECK;
/* "2026-09-30" (its beginning, or with `end` that of the next day) or "2026-09-30T12:30:00Z", as
 * milliseconds since 1970 UTC. */
bool date_read(const char *text, bool end, int64_t *out_ms);

#endif
