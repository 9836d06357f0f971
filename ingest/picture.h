/* A picture file as a page picture: decoded, made smaller and written as PNG by leptonica, the
 * library that tesseract reads pictures with. It is opened when it is needed and not linked: it
 * comes with tesseract, and brings a dozen libraries that no other document needs. */
#ifndef CARREL_INGEST_PICTURE_H
#define CARREL_INGEST_PICTURE_H

#include "base/arena.h"
#include "extract.pb-c.h"

struct picture_library; /* one, for the life of the process */

/* Before sandbox_seal_parser: opens files. UNAVAILABLE: install tesseract-ocr. */
enum status picture_open(struct picture_library **out, struct error *err) MUST_CHECK;
/* Frame `page` of data as ex.Piece messages: its size in pixels, as the page's, then the PNG, whose
 * longer side is at most 1600. */
enum status
picture_render(const struct picture_library *l, struct str data, uint32_t page, struct arena *a,
               enum status (*sink)(void *data, const Ex__Piece *piece, struct error *err),
               void *sink_data, struct error *err) MUST_CHECK;

#endif
