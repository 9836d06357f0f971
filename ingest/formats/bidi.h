/* Lines of right-to-left script as a page shows them, from left to right, turned into reading
 * order. */
#ifndef CARREL_INGEST_FORMATS_BIDI_H
#define CARREL_INGEST_FORMATS_BIDI_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

bool bidi_is_rtl(uint32_t c);
/* Appends the line in reading order: the letters of right-to-left words turned round (numbers and
 * Latin letters among them stay), and the words too where most of them are right-to-left. A line
 * without any comes as it is. */
void bidi_to_logical(struct str line, struct buf *out);

#endif
