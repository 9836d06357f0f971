/* Content codings (RFC 9110, 8.4 and 12.5.3): which one a client takes, and whole texts made
 * smaller. Pure. */
#ifndef CARREL_SERVE_HTTP_CODING_H
#define CARREL_SERVE_HTTP_CODING_H

#include "base/buf.h"
#include "serve/http/parse.h"

enum http_coding { CODING_IDENTITY, CODING_GZIP, CODING_ZSTD, CODING_COUNT };

/* "gzip", "zstd"; NULL for identity */
const char *http_coding_name(enum http_coding c);
/* The client's choice among those of `have` (1 << coding): the highest q; zstd before gzip before
 * identity where they are equal. Identity when nothing fits: it is what a client that refuses
 * everything can at least be shown. */
enum http_coding http_coding_choose(const struct http_head *h, unsigned have);
/* `text` in that coding, appended to out (check buf_status; TOO_LARGE: no smaller than out->max).
 * best: as small as it gets, for what is made once and sent often; otherwise as fast as it gets. */
enum status http_coding_make(enum http_coding c, struct str text, bool best,
                             struct buf *out) MUST_CHECK;

#endif
