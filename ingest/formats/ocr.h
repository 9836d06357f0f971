/* One page read from its picture: words with boxes put together to paragraphs, headings and lines
 * of their own. Pure, but for the tool's run. */
#ifndef CARREL_INGEST_FORMATS_OCR_H
#define CARREL_INGEST_FORMATS_OCR_H

#include "base/arena.h"
#include "ingest/formats/emit.h"
#include "ingest/formats/tool.h"

struct ocr_options {
    uint32_t page;        /* of the blocks and boxes */
    float scale;          /* points a pixel */
    float min_confidence; /* 0..100: words below are left out */
};

/* Runs the tool, whose output is tesseract's TSV, and emits what it read. A block's lines are its
 * words, each with its own box; a word that a line's end divides is one word with two boxes. No
 * text is no failure. */
enum status ocr_page(const struct tool_runner *r, const struct ocr_options *o, struct arena *a,
                     struct emitter *e, struct error *err) MUST_CHECK;

#endif
