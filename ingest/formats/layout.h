/* From lines with boxes to paragraphs, headings, list items and page furniture. Pure. */
#ifndef CARREL_INGEST_FORMATS_LAYOUT_H
#define CARREL_INGEST_FORMATS_LAYOUT_H

#include "ingest/formats/bbox.h"
#include "ingest/formats/emit.h"
#include "ingest/formats/pdf_extras.h"

/* Marks lines to which bookmarks lead as headings: those that say the same, numbers and signs
 * aside, nearest to where the bookmark points; else type that is larger than the body's, there. */
void headings_find(struct bbox_document *d, const struct pdf_extras *x, float body);

/* Form fields, comments and links, each a block with its place. False: out of memory. */
bool extras_emit(const struct bbox_document *d, const struct pdf_extras *x, struct emitter *e);

/* Marks blocks of d and emits them in reading order; what x holds and then furniture come last, so
 * that a chunk may run on from page to page. x: NULL where nothing is known. */
enum status layout_emit(struct bbox_document *d, const struct pdf_extras *x, struct arena *a,
                        struct emitter *e, struct error *err) MUST_CHECK;

#endif
