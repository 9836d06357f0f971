/* Pages within other formats: the chapters of a book. */
#ifndef CARREL_INGEST_FORMATS_HTML_H
#define CARREL_INGEST_FORMATS_HTML_H

#include "ingest/formats/format.h"

/* The blocks of a page's whole body, after emit_document; a page without text has none. Notes in
 * asides, as books have them, are text. */
enum status html_chapter(struct str page, uint64_t max_bytes, struct emitter *e,
                         struct error *err) MUST_CHECK;

#endif
