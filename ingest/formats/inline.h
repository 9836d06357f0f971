/* The signs within a line of light markup (reStructuredText, AsciiDoc), taken away: what is left is what a reader
 * of the page sees. */
#ifndef CARREL_INGEST_FORMATS_INLINE_H
#define CARREL_INGEST_FORMATS_INLINE_H

#include "base/buf.h"
#include "base/str.h"

/* ``x``, *x*, **x**, `x`_, `text <target>`_, :role:`x`, |x|, backslashes. Appends. */
void inline_rst(struct str s, struct buf *out);
/* *x*, **x**, _x_, `x`, #x#, link:target[text], https://x[text], <<id,text>>, footnote:[x], {attribute}. Appends. */
void inline_asciidoc(struct str s, struct buf *out);

#endif
