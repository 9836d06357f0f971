/* Cutting an extracted document into chunks (pure: no I/O).
 *
 * The document's text is its blocks' texts joined by one newline (between items of the same list or
 * rows of the same table) or by a blank line. A chunk is one contiguous range of that text: its
 * text is found at [start, end) code points, always. Chunks follow structure (a heading starts one,
 * a paragraph is kept whole when it fits), then sentences, then words: target about 200 words,
 * never more than 380; in CJK about 400 characters. Where a format has pages, a chunk ends with its
 * page unless one block runs over it, and it never joins two units (slides, sheets, mails).
 * FURNITURE blocks (running headers and footers) are in the text but in no chunk. What a chunk of a
 * table or list needs from before its range (the header row, the sentence that leads in) is its
 * `context`, beside the text.
 *
 * Two steps, so that a stored document is cut anew without reading the file again: chunk_assemble
 * makes text, boxes and a table of the blocks; chunk_cut makes the chunks of these.
 * docs/decisions/chunking.md tells why. */
#ifndef CARREL_INGEST_CHUNK_H
#define CARREL_INGEST_CHUNK_H

#include "base/arena.h"
#include "base/status.h"
#include "extract.pb-c.h"

#define CHUNKER_VERSION 2

struct chunk_options { /* overlap_words < target_words <= max_words */
    uint32_t target_words;
    uint32_t max_words;
    uint32_t target_cjk_chars;
    uint32_t overlap_words; /* whole sentences of the chunk before, 0: none */
};

struct chunk {
    uint32_t start, end; /* code points of the document's text */
    struct str text;
    const char *heading_path; /* "A > B", or "" */
    const char *context;      /* "Name | Price", "You need:", or ""; lines of the text before it */
    const char *unit;         /* "slide 4", "sheet Q3", "message Re: offer", or "" */
    uint32_t page, page_end;  /* 0: none */
};

struct chunk_box { /* a line of text on a page, in code points of the document's text */
    uint32_t page;
    float x0, y0, x1, y1;
    uint32_t start, end;
};

struct chunk_block { /* a block of the text */
    Ex__Block__Kind kind;
    uint32_t level;      /* HEADING: 1..6. TABLE_ROW: 1, a header row */
    uint32_t page;       /* 0: none */
    uint32_t unit;       /* 1-based in `units`; 0: none */
    uint32_t start, end; /* code points of the document's text */
    uint32_t n_boxes;    /* they follow those of the block before */
};

struct chunked_document {
    struct str text; /* the whole extracted text */
    struct chunk_block *blocks;
    size_t n_blocks;
    const char **units; /* "slide 4" */
    size_t n_units;
    struct chunk_box *boxes;
    size_t n_boxes;
    struct chunk *chunks;
    size_t n_chunks;
};

/* blocks[n] as the extractor gave them: everything but the chunks. Everything in out lives in a.
 * TOO_LARGE past 64 MiB of text. */
enum status chunk_assemble(const Ex__Block *const *blocks, size_t n, struct arena *a,
                           struct chunked_document *out, struct error *err) MUST_CHECK;
/* d's chunks; what it had before is forgotten. */
enum status chunk_cut(struct chunked_document *d, const struct chunk_options *o, struct arena *a,
                      struct error *err) MUST_CHECK;
/* Both. */
enum status chunk_document(const Ex__Block *const *blocks, size_t n, const struct chunk_options *o,
                           struct arena *a, struct chunked_document *out,
                           struct error *err) MUST_CHECK;

/* The blocks and units as one string of bytes for the store (ex.BlockTable), and back: d has text
 * and boxes and gets blocks and units. CORRUPT when they do not fit the text. */
enum status chunk_table_write(const struct chunked_document *d, struct arena *a, struct str *out,
                              struct error *err) MUST_CHECK;
enum status chunk_table_read(struct str table, struct arena *a, struct chunked_document *d,
                             struct error *err) MUST_CHECK;

#endif
