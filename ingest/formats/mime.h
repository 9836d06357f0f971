/* The lower half of mail: fields of a header (RFC 5322), encoded words (2047), parameters (2045,
 * 2231), transfer encodings. Pure; everything bounded by the text it is given. */
#ifndef CARREL_INGEST_FORMATS_MIME_H
#define CARREL_INGEST_FORMATS_MIME_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

/* The value of the first field of that name in the header, folded as it is; len 0: there is none.
 */
struct str mime_field(struct str header, const char *name);
/* Where the body begins: behind the first empty line, or at the end. */
size_t mime_header_end(struct str message);
/* As people read it: unfolded, encoded words decoded, UTF-8. Appends to out. */
void mime_decode_words(struct str value, struct buf *out);
/* The first token of a field such as "text/plain; charset=x", in lower case, into out[cap]. */
void mime_token(struct str value, char *out, size_t cap);
/* A parameter of such a field, decoded; false: there is none, or it does not fit. */
bool mime_parameter(struct str value, const char *name, char *out, size_t cap);
/* base64, quoted-printable and uuencode; whatever else stays as it is. Appends. What is damaged is passed
 * over. */
void mime_decode(struct str body, const char *encoding, struct buf *out);

#endif
