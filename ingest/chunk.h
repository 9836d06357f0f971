/* Cutting an extracted document into chunks (pure: no I/O).
 *
 * The document's text is its blocks' texts joined by one newline (between items of the same list or rows of
 * the same table) or by a blank line. A chunk is one contiguous range of that text: its text is found at
 * [start, end) code points, always. Chunks follow structure (a heading starts one, a paragraph is kept whole
 * when it fits), then sentences, then words: target about 200 words, never more than 380; in CJK about 400
 * characters. No overlap. Where a format has pages, a chunk ends with its page unless one block runs over it. FURNITURE blocks (running headers and footers) are in the text but in no chunk. */
#ifndef CARREL_INGEST_CHUNK_H
#define CARREL_INGEST_CHUNK_H

#include "base/arena.h"
#include "base/status.h"
#include "extract.pb-c.h"

#define CHUNKER_VERSION 1

struct chunk_options {
    uint32_t target_words;
    uint32_t max_words;
    uint32_t target_cjk_chars;
};

struct chunk {
    uint32_t start, end; /* code points of the document's text */
    struct str text;
    const char *heading_path; /* "A > B", or "" */
    uint32_t page, page_end;  /* 0: none */
};

struct chunk_box { /* a line of text on a page, in code points of the document's text */
    uint32_t page;
    float x0, y0, x1, y1;
    uint32_t start, end;
};

struct chunked_document {
    struct str text; /* the whole extracted text */
    struct chunk *chunks;
    size_t n_chunks;
    struct chunk_box *boxes;
    size_t n_boxes;
};

/* blocks[n] as the extractor gave them. Everything in out lives in a. TOO_LARGE past 64 MiB of text. */
enum status chunk_document(const Ex__Block *const *blocks, size_t n, const struct chunk_options *o,
                           struct arena *a, struct chunked_document *out, struct error *err) MUST_CHECK;

#endif
