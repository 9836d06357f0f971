/* What the parts of tables.c share. */
#ifndef CARREL_INGEST_FORMATS_TABLES_INTERNAL_H
#define CARREL_INGEST_FORMATS_TABLES_INTERNAL_H

#include "base/arena.h"
#include "ingest/formats/tables.h"

#define PIECES_MAX 4000 /* of a page */
#define STRIPS_MAX 65
#define FAR 1e6F

/* parts of a line's height */
#define GAP_OF_COLUMNS 0.4F
#define SAME_BAND 0.66F /* between middles; lines of one cell are at least 0.69 apart */

struct strip {
    float x0, x1;
};

struct strips {
    struct strip at[STRIPS_MAX];
    size_t n;
};

struct band {
    struct table_piece *pieces; /* by place from the left */
    size_t n;
    size_t apart; /* pieces, those that stand over each other counted once */
    float y0, y1, h;
    bool used;
};

struct finder {
    struct arena *arena;
    float gap; /* least one that sets pieces of a line apart, in parts of its height */
    struct table_piece *pieces;
    size_t n_pieces;
    struct band *bands;
    size_t n_bands;
    struct strip prose[64]; /* what paragraphs span */
    size_t prose_lines[64];
    size_t n_prose;
};

struct region {
    size_t first, last;  /* bands, both in it */
    struct strips blank; /* the first and the last are outside */
    size_t across;       /* bands that stand across strips */
    float page_width;
};

static inline float piece_middle(const struct table_piece *p)
{
    return (p->box.y0 + p->box.y1) / 2;
}

static inline float piece_height(const struct table_piece *p)
{
    return p->box.y1 - p->box.y0;
}

static inline struct str piece_text(const struct table_piece *p)
{
    return (struct str){p->line->text.ptr + p->start, p->end - p->start};
}

/* Words; where script sets none apart, two characters count as one. */
size_t table_words(struct str s);
/* For qsort, of pieces; equal ones in the order of the text, so that the result is the same
 * everywhere. */
int piece_by_height(const void *a, const void *b);
int piece_by_left(const void *a, const void *b);
/* Pieces of the page's lines, and the bands in which they stand. */
enum status bands_find(struct finder *f, struct bbox_page *page, struct error *err) MUST_CHECK;
uint32_t region_column(const struct region *r, const struct table_piece *p);
/* Whether what stands in the region's columns is a table. */
bool region_is_table(const struct finder *f, const struct region *r);
/* "1." "(a)" "iv)" or a bullet: what stands before the items of a list. */
bool is_list_mark(struct str s);

#endif
