/* The cells of a binary workbook (.xls, .xlsb) as rows: each cell as it is shown, by its style's
 * number format. */
#ifndef CARREL_INGEST_FORMATS_CELLS_H
#define CARREL_INGEST_FORMATS_CELLS_H

#include "base/arena.h"
#include "ingest/formats/emit.h"
#include "ingest/formats/xlsx_format.h"

struct cells_custom;

struct cells {
    struct emitter *e;
    struct arena *arena;
    bool since_1904;
    struct cells_custom *customs;
    uint32_t n_customs;
    uint8_t *formats; /* of the styles */
    uint32_t n_formats;
    uint64_t shared_left; /* bytes of shared strings that cells may still show */
    bool too_large;       /* a row, or the shared strings: nothing more is taken */
    /* the sheet at hand */
    struct str name;
    uint32_t page;
    bool named; /* its heading is out */
    struct buf row;
    bool in_row;
    uint32_t row_number, column; /* column: that comes next */
};

void cells_init(struct cells *c, struct emitter *e, struct arena *a, uint64_t max_bytes);
void cells_deinit(struct cells *c);
/* A number format of the workbook's own; a style by the number of its format, which comes behind
 * those. False: out of memory. Too many are passed over. */
bool cells_format(struct cells *c, uint32_t id, struct str code);
bool cells_style(struct cells *c, uint32_t format);
/* What follows is of this sheet; its name is a heading before the first block. Borrows name. */
void cells_sheet(struct cells *c, struct str name, uint32_t page);
/* The cell that what is put now belongs to; cells come by rows. */
void cells_begin(struct cells *c, uint32_t row, uint32_t column);
void cells_number(struct cells *c, double v, uint32_t style);
double cells_rk(uint32_t rk); /* a number in 30 bits */
void cells_bool(struct cells *c, bool v);
void cells_error(struct cells *c, uint32_t code);
void cells_text(struct cells *c, struct str text);
/* The same of a string that many cells may share. */
void cells_shared(struct cells *c, struct str text);
void cells_end_row(struct cells *c);
/* A block beside the rows: a comment, a chart's title. */
void cells_block(struct cells *c, Ex__Block__Kind kind, struct str text);

#endif
