/* From bytes in whatever encoding to UTF-8. */
#ifndef CARREL_INGEST_FORMATS_CHARSET_H
#define CARREL_INGEST_FORMATS_CHARSET_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/* The encoding by byte order mark, else "UTF-8" when the bytes are valid UTF-8 (a character cut off
 * at the end is forgiven), else `declared` if iconv knows it and it is no form of UTF, else by
 * uchardet, else windows-1252. Static or within out[cap]. *bom is the length of the mark. */
const char *charset_guess(struct str s, const char *declared, char *out, size_t cap, size_t *bom);
/* s as UTF-8, at the end of out; what the encoding does not know becomes U+FFFD. */
enum status charset_decode(struct str s, const char *charset, struct buf *out,
                           struct error *err) MUST_CHECK;
bool charset_is_utf8(struct str s);

#endif
