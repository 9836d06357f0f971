/* The plain text of a mail. */
#ifndef CARREL_INGEST_FORMATS_MAIL_TEXT_H
#define CARREL_INGEST_FORMATS_MAIL_TEXT_H

#include "ingest/formats/emit.h"

/* Its paragraphs; lines that begin with ">" are quotes. flowed: RFC 3676, a line that ends in a
 * space goes on in the next. No paragraph is longer than max_bytes. */
void mail_emit_plain(struct emitter *e, struct str text, bool flowed, uint64_t max_bytes);

#endif
