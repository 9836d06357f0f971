/* What `pdftotext -bbox-layout` writes, read by libxml2 as it comes: pages of blocks of lines with
 * their boxes, in points from the page's upper left corner. */
#ifndef CARREL_INGEST_FORMATS_BBOX_H
#define CARREL_INGEST_FORMATS_BBOX_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

struct bbox {
    float x0, y0, x1, y1;
};

struct bbox_word {
    struct bbox box;
    uint32_t start, end; /* bytes of the line's text */
};

struct bbox_line {
    struct bbox_line *next;
    struct bbox box;
    float size; /* height of its tallest word: near the font's size; of turned text the width */
    struct str text;
    uint32_t letters;    /* code points */
    bool turned;         /* runs up or down the page */
    uint32_t heading;    /* for the layout's use: level of the bookmark that leads to it */
    bool bold;           /* all of it; where that is known */
    bool heading_on;     /* the heading goes on in the next line */
    struct table *table; /* for the layout's use */
    uint32_t n_words;    /* 0 where the words' order on the page is not that of the text */
    struct bbox_word *words;
};

struct bbox_block {
    struct bbox_block *next;
    struct bbox box;
    struct bbox_line *lines;
    bool furniture; /* for the layout's use */
    bool hidden;    /* nobody sees it: furniture whatever else there is */
};

struct bbox_page {
    struct bbox_page *next;
    float width, height;
    struct bbox_block *blocks;
};

struct bbox_document {
    struct str title;
    struct bbox_page *pages;
    uint32_t n_pages;
};

struct bbox_parser;

/* Everything lives in a. NULL: out of memory. */
struct bbox_parser *bbox_parser_new(struct arena *a, struct bbox_document *out);
void bbox_parser_free(struct bbox_parser *p);
enum status bbox_feed(struct bbox_parser *p, struct str piece, struct error *err) MUST_CHECK;
enum status bbox_end(struct bbox_parser *p, struct error *err) MUST_CHECK;

#endif
