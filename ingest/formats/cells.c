#include "ingest/formats/cells.h"

#include <stdio.h>

#define FORMATS_MAX 65536U
#define CUSTOMS_MAX 4096U /* Excel writes 250 at most; each style looks through them */
#define ROW_MAX (8U * 1024 * 1024)
#define GAP_MAX 64U /* empty cells written between two */

struct cells_custom {
    struct cells_custom *next;
    uint32_t id;
    enum xlsx_format format;
};

void cells_init(struct cells *c, struct emitter *e, struct arena *a, uint64_t max_bytes)
{
    *c = (struct cells){.e = e, .arena = a, .shared_left = max_bytes, .name = STR("")};
    buf_init(&c->row, ROW_MAX);
}

void cells_deinit(struct cells *c)
{
    buf_deinit(&c->row);
}

bool cells_format(struct cells *c, uint32_t id, struct str code)
{
    if (c->n_customs == CUSTOMS_MAX) {
        return true;
    }
    struct cells_custom *k = arena_alloc(c->arena, sizeof *k);
    if (k != NULL) {
        *k =
            (struct cells_custom){.next = c->customs, .id = id, .format = xlsx_custom_format(code)};
        c->customs = k;
        c->n_customs++;
    }
    return k != NULL;
}

bool cells_style(struct cells *c, uint32_t format)
{
    enum xlsx_format f = xlsx_builtin_format(format);
    if (c->n_formats == FORMATS_MAX) {
        return true;
    }
    if (c->formats == NULL) {
        c->formats = arena_array(c->arena, FORMATS_MAX, 1);
    }
    if (c->formats == NULL) {
        return false;
    }
    for (const struct cells_custom *k = c->customs; k != NULL; k = k->next) {
        f = k->id == format ? k->format : f;
    }
    c->formats[c->n_formats++] = (uint8_t)f;
    return true;
}

void cells_sheet(struct cells *c, struct str name, uint32_t page)
{
    c->name = name;
    c->page = page;
    c->named = c->in_row = false;
    buf_reset(&c->row);
}

void cells_block(struct cells *c, Ex__Block__Kind kind, struct str text)
{
    if (!c->named) {
        struct emit_block heading = {
            .kind = EX__BLOCK__KIND__HEADING, .level = 1, .page = c->page, .text = c->name};
        c->named = true;
        emit_unit(c->e, EX__BLOCK__UNIT__SHEET, c->name);
        emit(c->e, &heading);
    }
    struct emit_block block = {.kind = kind, .text = text, .page = c->page};
    emit(c->e, &block);
}

void cells_end_row(struct cells *c)
{
    struct str r = buf_view(&c->row);
    bool blank = true;
    c->too_large = c->too_large || buf_status(&c->row) != STATUS_OK;
    for (size_t i = 0; i < r.len && blank; i++) {
        blank = r.ptr[i] == ' ' || r.ptr[i] == '|';
    }
    if (!blank) {
        cells_block(c, EX__BLOCK__KIND__TABLE_ROW, r);
    }
    buf_reset(&c->row);
    c->in_row = false;
}

void cells_begin(struct cells *c, uint32_t row, uint32_t column)
{
    if (c->in_row && row != c->row_number) {
        cells_end_row(c);
    }
    if (!c->in_row) {
        c->in_row = true;
        c->row_number = row;
        c->column = 0;
    } else {
        buf_z(&c->row, " | ");
    }
    uint32_t gap = column > c->column ? column - c->column : 0;
    for (uint32_t i = 0; i < gap && i < GAP_MAX; i++) {
        buf_z(&c->row, " | ");
    }
    c->column = column < UINT32_MAX ? column + 1 : column;
}

void cells_number(struct cells *c, double v, uint32_t style)
{
    char number[40];
    struct buf shown;
    enum xlsx_format f = style < c->n_formats ? (enum xlsx_format)c->formats[style] : XLSX_NUMBER;
    int n = snprintf(number, sizeof number, "%.17g", v);
    buf_init(&shown, 256);
    xlsx_show(&shown, (struct str){number, n > 0 ? (size_t)n : 0}, f, c->since_1904);
    cells_text(c, buf_view(&shown));
    buf_deinit(&shown);
}

double cells_rk(uint32_t rk)
{
    double v;
    if ((rk & 2) != 0) {
        int32_t whole = (int32_t)rk;
        v = (double)(whole >> 2);
    } else {
        uint64_t bits = (uint64_t)(rk & ~3U) << 32;
        memcpy(&v, &bits, sizeof v);
    }
    return (rk & 1) != 0 ? v / 100 : v;
}

void cells_bool(struct cells *c, bool v)
{
    buf_z(&c->row, v ? "TRUE" : "FALSE");
}

void cells_error(struct cells *c, uint32_t code)
{
    static const struct {
        uint32_t code;
        const char *shown;
    } errors[] = {{0x00, "#NULL!"}, {0x07, "#DIV/0!"}, {0x0F, "#VALUE!"},
                  {0x17, "#REF!"},  {0x1D, "#NAME?"},  {0x24, "#NUM!"}};
    const char *shown = "#N/A";
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        shown = errors[i].code == code ? errors[i].shown : shown;
    }
    buf_z(&c->row, shown);
}

void cells_text(struct cells *c, struct str text)
{
    text_squeeze(&c->row, text, false);
}

void cells_shared(struct cells *c, struct str text)
{
    if (text.len > c->shared_left) { /* blanks, which would never be too much text */
        c->too_large = true;
        return;
    }
    c->shared_left -= text.len;
    cells_text(c, text);
}
