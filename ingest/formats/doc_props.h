/* What Word's binary files say of stretches of their text ([MS-DOC] 2.6, 2.8): properties of
 * characters and of paragraphs, and the styles that paragraphs have theirs from. */
#ifndef CARREL_INGEST_FORMATS_DOC_PROPS_H
#define CARREL_INGEST_FORMATS_DOC_PROPS_H

#include <stdbool.h>

#include "base/arena.h"
#include "ingest/formats/octets.h"

struct doc_char {
    bool hidden, deleted, symbol;
};

struct doc_paragraph {
    uint32_t level; /* a heading: 1..6 */
    bool in_table, row_end, inner_cell, inner_row_end;
    uint32_t list; /* the place of its list, from 1; 0: none */
    uint32_t list_level;
};

struct doc_style {
    struct doc_paragraph p;
    bool leveled, listing; /* it says so itself, whatever it is based on */
    uint16_t base;
    uint8_t kind;
};

struct doc_props {
    struct str main;              /* the stream that the pages of properties lie in */
    struct str chars, paragraphs; /* tables of those pages: offsets, then page numbers */
    struct doc_style *styles;
    uint32_t n_styles;
    /* the run at hand, by offsets in `main` */
    uint32_t char_from, char_to, paragraph_from, paragraph_to;
    struct doc_char c;
    struct doc_paragraph p;
};

/* false: out of memory. A damaged style sheet has fewer styles. */
bool doc_styles_read(struct doc_props *d, struct str sheet, struct arena *a);
/* Of the character at this offset; quick for those that follow one another. Lives until the next
 * call. */
const struct doc_char *doc_char_at(struct doc_props *d, uint32_t offset);
const struct doc_paragraph *doc_paragraph_at(struct doc_props *d, uint32_t offset);

#endif
