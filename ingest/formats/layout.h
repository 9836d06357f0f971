/* From lines with boxes to paragraphs, headings, list items and page furniture. Pure. */
#ifndef CARREL_INGEST_FORMATS_LAYOUT_H
#define CARREL_INGEST_FORMATS_LAYOUT_H

#include "ingest/formats/bbox.h"
#include "ingest/formats/emit.h"

/* Marks blocks of d and emits them in reading order; furniture comes last, so that a chunk may run
 * on from page to page. */
enum status layout_emit(struct bbox_document *d, struct arena *a, struct emitter *e,
                        struct error *err) MUST_CHECK;

#endif
