/* A writer of JSON text into a buffer: it sees to commas and escapes. Bytes that are not UTF-8
 * become U+FFFD, so that what leaves is always JSON. Failures are the buffer's (buf_status). */
#ifndef CARREL_SERVE_HTTP_JSONW_H
#define CARREL_SERVE_HTTP_JSONW_H

#include <stdint.h>

#include "base/buf.h"

struct jsonw {
    struct buf *out;
    bool comma; /* before the next value */
};

void jsonw_init(struct jsonw *w, struct buf *out);
void jsonw_open(struct jsonw *w, char bracket);  /* '{' or '[' */
void jsonw_close(struct jsonw *w, char bracket); /* '}' or ']' */
void jsonw_key(struct jsonw *w, const char *key);
void jsonw_str(struct jsonw *w, struct str s);
void jsonw_int(struct jsonw *w, int64_t n);
void jsonw_double(struct jsonw *w, double d); /* null when not finite */
void jsonw_bool(struct jsonw *w, bool b);
void jsonw_null(struct jsonw *w);
void jsonw_raw(struct jsonw *w, struct str json); /* a value that is JSON already */
/* key and value; z NULL: null */
void jsonw_field_z(struct jsonw *w, const char *key, const char *z);
void jsonw_field_str(struct jsonw *w, const char *key, struct str s);
void jsonw_field_int(struct jsonw *w, const char *key, int64_t n);
void jsonw_field_double(struct jsonw *w, const char *key, double d);
void jsonw_field_bool(struct jsonw *w, const char *key, bool b);

/* Escapes without quotes: for strings written in pieces. Stops before an incomplete UTF-8 sequence
 * at the end unless `last`; returns the bytes used. */
size_t jsonw_escape(struct buf *out, struct str s, bool last);
/* A file path as JSON shows it: valid UTF-8 as it is, other bytes as \xNN, a backslash as \\ (then
 * escaped as any string). */
void jsonw_path(struct jsonw *w, struct str path);

#endif
