/* The description of the API, OpenAPI 3.1, made of the fragments in serve/openapi/ and the table of
 * routes. A fragment is JSON in few words:
 *
 *   {"tag": "Search", "about": "...",
 *    "paths": {"POST /api/search": {
 *      "summary": "...", "about": "...",
 *      "query": {"limit?": "integer -- what it is"}, "header": likewise,
 *      "body": TYPE or {"multipart/form-data": TYPE}, "body?": the same, where none will do,
 *      "200": TYPE or "image/png" or {"application/json": TYPE, "text/event-stream": TYPE},
 *      "errors": {"409": "code|code -- when"},
 *      "example": the body's, "example 200": that answer's}},
 *    "schemas": {"Name": TYPE or {"field": TYPE, "optional?": TYPE, "*": TYPE of the others,
 *                                 "$with": "Name" whose fields it has too}}}
 *
 * TYPE: string integer number boolean object any null, 'word', Name, [TYPE], {TYPE} (by keys),
 * TYPE|TYPE; behind " -- " what it means. Or an object of fields, as a schema's. Behind a plain
 * type's word may stand ":format" and then "(least..most)": integer:unix-time, string(1..200).
 *
 * Objects of answers have the fields that are told and no others ("*" tells of the others); what
 * is sent may have more: bodies, and schemas with "$open": true. "$nullable": true: or null.
 * "$part": true: there for "$with" only.
 *
 * Parameters of paths, who may call, scopes, tokens against forged requests, the shape of errors
 * and what goes wrong everywhere come from the table. Pure. */
#ifndef CARREL_SERVE_OPENAPI_H
#define CARREL_SERVE_OPENAPI_H

#include "base/buf.h"
#include "base/status.h"
#include "serve/http/router.h"

struct openapi_fragment {
    const char *name;
    const unsigned char *text;
    size_t len;
};

/* Those of serve/openapi/, built in. */
extern const struct openapi_fragment openapi_fragments[];
extern const size_t openapi_fragments_n;

/* Rows that no fragment describes have their parameters and errors, and "x-undescribed": true.
 * INVALID: a fragment is not as above, describes a row twice or one that is not in the table, or
 * names a schema that is not there; the error says which. */
enum status openapi_build(const struct openapi_fragment *fragments, size_t n,
                          const struct route *table, size_t n_routes, const char *version,
                          struct buf *out, struct error *err) MUST_CHECK;

#endif
