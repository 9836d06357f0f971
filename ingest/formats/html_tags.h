/* What libxml2's reader of pages cannot bear: it compares each attribute of a tag with all before
 * it, so that 100,000 of them, one megabyte, take it half a minute. */
#ifndef CARREL_INGEST_FORMATS_HTML_TAGS_H
#define CARREL_INGEST_FORMATS_HTML_TAGS_H

#include "base/buf.h"

#define HTML_ATTRIBUTES_MAX 512 /* of one tag; no honest one has as many */

/* Attributes beyond that become blanks, in place. Linear. */
void html_shorten_tags(struct buf *page);

#endif
