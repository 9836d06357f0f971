/* Tables on a page, found by where words stand: rows whose cells keep to the same columns, with
 * blank strips between them. No lines are needed (pdftotext does not tell of any). Pure. */
#ifndef CARREL_INGEST_FORMATS_TABLES_H
#define CARREL_INGEST_FORMATS_TABLES_H

#include "ingest/formats/bbox.h"

struct table_piece { /* words of one line that stand together */
    struct bbox box;
    struct bbox_line *line;
    uint32_t start, end; /* bytes of the line's text */
    uint32_t column;
};

struct table_row { /* pieces by column, and within one from above; a cell may have several */
    struct table_piece *pieces;
    uint32_t n;
};

struct table {
    struct table_row *rows;
    uint32_t n_rows, n_columns;
    bool emitted; /* for the layout's use */
};

/* Sets `table` of the lines that belong to one; furniture is passed over. Takes time in step with
 * the page's words: what is too large to be looked at has no tables. */
enum status tables_find(struct bbox_page *page, struct arena *a, struct error *err) MUST_CHECK;

#endif
