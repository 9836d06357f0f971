/* The text of a file that is text, in whatever encoding, for the formats that are read as a whole.
 */
#ifndef CARREL_INGEST_FORMATS_SOURCE_H
#define CARREL_INGEST_FORMATS_SOURCE_H

#include "ingest/formats/binary.h"
#include "ingest/formats/format.h"

/* charset_guess, and UTF-16 without a mark. */
const char *text_charset(struct str s, const char *declared, char *out, size_t cap, size_t *bom);

struct source {
    struct str text; /* without a byte order mark; bad bytes, NUL and CR may be in it: the emitter
                        cleans */
    struct buf held; /* it, where it had to be converted */
};

/* INVALID for what is no text, TOO_LARGE past in->max_bytes where it is converted. declared: the
 * encoding that the file names, or NULL. source_close also after a failure. */
enum status source_open(struct source *s, const struct extract_input *in, const char *declared,
                        struct error *err) MUST_CHECK;
void source_close(struct source *s);
/* The line at *at without its end (LF, CR LF, CR), *at behind it; false at the end. */
bool source_line(struct str text, size_t *at, struct str *line);

/* The value of a hexadecimal digit; -1: it is none. */
int text_hex(char c);
/* s without white space at its ends. */
struct str text_trim(struct str s);

#endif
