/* One page of a PDF as PNG, from pdftoppm's output on to ex.Piece messages. */
#ifndef CARREL_INGEST_RENDER_H
#define CARREL_INGEST_RENDER_H

#include "extract.pb-c.h"
#include "ingest/formats/tool.h"

/* The page's size comes from the picture's, so that boxes in points fit it, whatever the page's
 * rotation. */
enum status render_page(const struct tool_runner *r, uint32_t page, uint32_t dpi,
                        enum status (*sink)(void *data, const Ex__Piece *piece, struct error *err),
                        void *data, struct error *err) MUST_CHECK;

#endif
