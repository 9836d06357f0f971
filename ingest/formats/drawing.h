/* Text in shapes (ECMA-376 part 1, DrawingML), as slides, sheets' drawings, notes, diagrams and
 * comments have it. */
#ifndef CARREL_INGEST_FORMATS_DRAWING_H
#define CARREL_INGEST_FORMATS_DRAWING_H

#include "ingest/formats/sax.h"

enum drawing_place {
    DRAWING_SHAPE,     /* a box of its own */
    DRAWING_BODY,      /* the layout's place for text */
    DRAWING_TITLE,     /* the layout's place for the title */
    DRAWING_FURNITURE, /* date, number, header and footer */
};

struct drawing_block {
    struct drawing_block *next;
    Ex__Block__Kind kind; /* PARAGRAPH, LIST_ITEM or TABLE_ROW */
    enum drawing_place place;
    struct str text;
};

struct drawing_text {
    struct drawing_block *first, **last;
};

/* A part's text in order, in the arena; a part that is not there or malformed has none, for it is
 * one of many. */
enum status drawing_read(struct package *p, const char *name, struct arena *a,
                         struct drawing_text *out, struct error *err) MUST_CHECK;

#endif
