/* Percent-decoding, query strings, cookies. Pure. */
#ifndef CARREL_SERVE_HTTP_URL_H
#define CARREL_SERVE_HTTP_URL_H

#include "base/arena.h"
#include "base/str.h"

/* Decodes %XX (and '+' as a space when plus is set) into a. INVALID on a bad escape or a NUL. */
enum status url_decode(struct str s, bool plus, struct arena *a, struct str *out,
                       struct error *err) MUST_CHECK;
/* The first value of a query parameter, decoded; ptr NULL when it is absent. */
enum status url_query(struct str query, const char *name, struct arena *a, struct str *out,
                      struct error *err) MUST_CHECK;
/* The value of a cookie in a Cookie header; ptr NULL when it is absent. */
struct str cookie_get(struct str header, const char *name);

#endif
