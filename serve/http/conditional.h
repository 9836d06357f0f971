/* What a client may ask of one representation (RFC 9110, sections 13 and 14): "only if it changed",
 * "only if it did not", "only these bytes". Pure.
 *
 * Of several ranges none is honoured: the whole is sent, as section 14.2 allows. A list of many
 * small ranges is a way to make a server work, and no reader of documents needs it. */
#ifndef CARREL_SERVE_HTTP_CONDITIONAL_H
#define CARREL_SERVE_HTTP_CONDITIONAL_H

#include "serve/http/parse.h"

struct http_version_of {
    const char *etag;   /* with its quotes, W/ before a weak one; NULL: none */
    int64_t modified_s; /* since 1970; 0: unknown */
    uint64_t length;    /* of the whole */
};

enum http_wanted {
    HTTP_WANTED_WHOLE,     /* 200 */
    HTTP_WANTED_PART,      /* 206 */
    HTTP_WANTED_UNCHANGED, /* 304 */
    HTTP_WANTED_OTHER,     /* 412: If-Match or If-Unmodified-Since does not hold */
    HTTP_WANTED_OUTSIDE,   /* 416 */
};

/* *first and *last are set for HTTP_WANTED_PART: bytes, both included. */
enum http_wanted http_wanted(const struct http_head *h, const struct http_version_of *v,
                             uint64_t *first, uint64_t *last);

/* Is the tag in the (maybe repeated) header's list, or the list "*"? weak: W/ does not matter. */
bool http_etag_listed(const struct http_head *h, const char *header, const char *etag, bool weak);
/* RFC 9110 5.6.7: the three forms of a date, to seconds since 1970; false: none of them. */
bool http_date_read(struct str text, int64_t *out);
#define HTTP_DATE_CAP 40
void http_date_write(int64_t seconds, char out[HTTP_DATE_CAP]);

#endif
