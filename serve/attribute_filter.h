/* OpenAI's filters over attributes: {"type": "eq", "key", "value"} and {"type": "and", "filters"}.
 * Compared as what they are: a number never equals a string; what is not there equals nothing, so
 * only "ne" and "nin" are true of it. Pure. */
#ifndef CARREL_SERVE_ATTRIBUTE_FILTER_H
#define CARREL_SERVE_ATTRIBUTE_FILTER_H

#include "serve/json.h"

#define FILTER_DEPTH_MAX 8
#define FILTER_NODES_MAX 256

/* INVALID names what is wrong. */
enum status attribute_filter_check(const struct json *filter, struct error *err) MUST_CHECK;
/* Does it hold of these attributes? The second object counts where the first lacks the key. */
bool attribute_filter_holds(const struct json *filter, const struct json *own,
                            const struct json *more);

#endif
