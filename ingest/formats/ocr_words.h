/* What `tesseract ... tsv` writes, read as it comes: the words of a picture with their boxes, in
 * the order in which they are read. A row is level, page, block, paragraph, line, word, left, top,
 * width, height, confidence and text, divided by tabs; level 1 tells the picture's size, level 5 is
 * a word, the others say nothing that the words do not. */
#ifndef CARREL_INGEST_FORMATS_OCR_WORDS_H
#define CARREL_INGEST_FORMATS_OCR_WORDS_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

#define OCR_WORDS_MAX 100000 /* a newspaper's page has 10,000 */
#define OCR_ROW_MAX 8192

struct ocr_word {
    uint32_t block, paragraph, line; /* numbered anew in each block, and in each paragraph */
    float x0, y0, x1, y1;            /* pixels from the upper left corner, within the picture */
    float confidence;                /* 0..100 */
    struct str text;                 /* clean UTF-8, not empty */
};

struct ocr_words {
    struct arena *arena; /* texts and the list */
    struct ocr_word *list;
    size_t n, cap;
    float width, height; /* of the picture, pixels */
    struct buf row;
};

/* Everything lives in a; deinit frees the rest. */
void ocr_words_init(struct ocr_words *w, struct arena *a);
void ocr_words_deinit(struct ocr_words *w);
/* Rows that make no sense are passed over; TOO_LARGE past the bounds. */
enum status ocr_words_feed(struct ocr_words *w, struct str piece, struct error *err) MUST_CHECK;
enum status ocr_words_end(struct ocr_words *w, struct error *err) MUST_CHECK;

#endif
