/* Excel's binary workbooks ([MS-XLS], BIFF8; BIFF5 of Excel 5 and 95 differs in its strings). First
 * the part for the whole book: shared strings, number formats, names of the sheets and where they
 * begin; then sheet by sheet its cells as they are shown, row by row, and what is written in boxes
 * and comments. */
#include <stdio.h>

#include "ingest/formats/biff.h"
#include "ingest/formats/charset.h"
#include "ingest/formats/ole.h"
#include "ingest/formats/xlsx_format.h"

#define SHEETS_MAX 1024U
#define FORMATS_MAX 65536U
#define CUSTOMS_MAX 4096U
#define TEXT_MAX (8U * 1024 * 1024)
#define GAP_MAX 64U
#define DEPTH_MAX 16U

enum {
    FORMULA = 0x06,
    END = 0x0A,
    DATE_MODE = 0x22,
    FILE_PASS = 0x2F,
    CODE_PAGE = 0x42,
    BOUND_SHEET = 0x85,
    MUL_RK = 0xBD,
    RICH_STRING = 0xD6,
    XF = 0xE0,
    SHARED_STRINGS = 0xFC,
    LABEL_SHARED = 0xFD,
    TEXT_OBJECT = 0x1B6,
    NUMBER = 0x203,
    LABEL = 0x204,
    BOOL_ERROR = 0x205,
    STRING = 0x207,
    RK = 0x27E,
    FORMAT = 0x41E,
    BEGIN = 0x809,
    SERIES_TEXT = 0x100D
};

struct sheet {
    struct str name;
    uint32_t at;
};

struct custom {
    struct custom *next;
    uint32_t id;
    enum xlsx_format format;
};

struct book {
    struct ole *o;
    struct biff b;
    bool old; /* BIFF5: strings of bytes */
    const char *charset;
    bool since_1904;
    struct sheet sheets[SHEETS_MAX];
    uint32_t n_sheets;
    struct str *strings;
    uint32_t n_strings;
    uint64_t shared_left;
    struct custom *customs;
    uint32_t n_customs;
    uint8_t *formats;
    uint32_t n_formats;
    uint64_t left; /* bytes of records: sheets may lie over each other */
    struct buf text, row;
    uint32_t page, row_number, column;
    bool named, in_row;
    bool awaits; /* the text of a formula's result, in the record behind it */
    uint32_t awaits_column;
    bool too_large;
};

/* ---- strings ---- */

static void bytes_put(struct book *k, struct str s, struct buf *out)
{
    struct error none = {0};
    if (charset_decode(s, k->charset, out, &none) != STATUS_OK) {
        k->too_large = true;
    }
}

/* A string of the record at hand, its length in `width` bytes. */
static void read_string(struct book *k, unsigned width)
{
    buf_reset(&k->text);
    uint32_t n = biff_number(&k->b, width);
    if (k->old) {
        bytes_put(k, cut(k->b.data, k->b.in_data, n), &k->text);
    } else {
        (void)biff_string(&k->b, n, &k->text);
    }
}

static bool keep(struct book *k, struct str *out)
{
    const char *copy = arena_strndup(k->o->in->arena, buf_view(&k->text).ptr, k->text.len);
    *out = (struct str){copy, k->text.len};
    return copy != NULL && buf_status(&k->text) == STATUS_OK;
}

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
}

static enum status read_shared(struct book *k, struct error *err)
{
    (void)biff_number(&k->b, 4);
    uint32_t n = biff_number(&k->b, 4);
    uint64_t room = k->b.stream.len / 3 + 1; /* a string takes three bytes at least */
    n = n < room ? n : (uint32_t)room;
    k->strings = arena_array(k->o->in->arena, (size_t)n + 1, sizeof *k->strings);
    if (k->strings == NULL) {
        return no_memory(err);
    }
    for (k->n_strings = 0; k->n_strings < n; k->n_strings++) {
        uint32_t length = biff_number(&k->b, 2);
        buf_reset(&k->text);
        bool whole = biff_string(&k->b, length, &k->text);
        if (!keep(k, &k->strings[k->n_strings])) {
            return no_memory(err);
        }
        if (!whole) {
            k->n_strings++;
            break; /* cut off */
        }
    }
    return STATUS_OK;
}

/* ---- the whole book ---- */

static enum status read_format(struct book *k, struct error *err)
{
    uint32_t id = biff_number(&k->b, 2);
    struct custom *c = arena_alloc(k->o->in->arena, sizeof *c);
    if (c == NULL) {
        return no_memory(err);
    }
    read_string(k, k->old ? 1 : 2);
    *c = (struct custom){
        .next = k->customs, .id = id, .format = xlsx_custom_format(buf_view(&k->text))};
    k->customs = c;
    k->n_customs++;
    return STATUS_OK;
}

static enum status read_xf(struct book *k, struct error *err)
{
    uint32_t id = le16(k->b.data, 2);
    enum xlsx_format f = xlsx_builtin_format(id);
    if (k->formats == NULL) {
        k->formats = arena_array(k->o->in->arena, FORMATS_MAX, 1);
    }
    if (k->formats == NULL) {
        return no_memory(err);
    }
    for (const struct custom *c = k->customs; c != NULL; c = c->next) {
        f = c->id == id ? c->format : f;
    }
    k->formats[k->n_formats++] = (uint8_t)f;
    return STATUS_OK;
}

static enum status read_sheet_name(struct book *k, struct error *err)
{
    struct sheet *s = &k->sheets[k->n_sheets];
    uint32_t at = biff_number(&k->b, 4);
    uint32_t kind = biff_number(&k->b, 2) >> 8;
    if (kind != 0 && kind != 2) { /* macros; charts are on sheets of their own, too */
        return STATUS_OK;
    }
    read_string(k, 1);
    *s = (struct sheet){.at = at};
    if (!keep(k, &s->name)) {
        return no_memory(err);
    }
    k->n_sheets++;
    return STATUS_OK;
}

static enum status begin_book(struct book *k, struct error *err)
{
    k->b = (struct biff){.stream = k->b.stream};
    if (!biff_next(&k->b) || k->b.type != BEGIN) {
        return error_set(err, STATUS_INVALID, "the workbook is damaged, or older than Excel 5");
    }
    k->old = le16(k->b.data, 0) < 0x0600;
    return STATUS_OK;
}

static enum status read_book(struct book *k, struct error *err)
{
    enum status s = begin_book(k, err);
    while (s == STATUS_OK && biff_next(&k->b) && k->b.type != END) {
        uint32_t type = k->b.type;
        if (type == FILE_PASS) {
            s = error_set(err, STATUS_UNSUPPORTED,
                          "the workbook is encrypted: save it without a password");
        } else if (type == CODE_PAGE) {
            k->charset = ole_charset(le16(k->b.data, 0));
        } else if (type == DATE_MODE) {
            k->since_1904 = le16(k->b.data, 0) == 1;
        } else if (type == SHARED_STRINGS && k->strings == NULL) {
            s = read_shared(k, err);
        } else if (type == FORMAT && k->n_customs < CUSTOMS_MAX) {
            s = read_format(k, err);
        } else if (type == XF && k->n_formats < FORMATS_MAX) {
            s = read_xf(k, err);
        } else if (type == BOUND_SHEET && k->n_sheets < SHEETS_MAX) {
            s = read_sheet_name(k, err);
        }
    }
    return s;
}

/* ---- cells ---- */

static void put_block(struct book *k, Ex__Block__Kind kind, struct str text)
{
    if (!k->named && k->page > 0) {
        struct emit_block heading = {.kind = EX__BLOCK__KIND__HEADING,
                                     .level = 1,
                                     .page = k->page,
                                     .text = k->sheets[k->page - 1].name};
        k->named = true;
        emit_unit(k->o->e, EX__BLOCK__UNIT__SHEET, heading.text);
        emit(k->o->e, &heading);
    }
    struct emit_block block = {.kind = kind, .text = text, .page = k->page};
    emit(k->o->e, &block);
}

static void end_row(struct book *k)
{
    struct str r = buf_view(&k->row);
    bool blank = true;
    k->too_large = k->too_large || buf_status(&k->row) != STATUS_OK;
    for (size_t i = 0; i < r.len && blank; i++) {
        blank = r.ptr[i] == ' ' || r.ptr[i] == '|';
    }
    if (!blank) {
        put_block(k, EX__BLOCK__KIND__TABLE_ROW, r);
    }
    buf_reset(&k->row);
    k->in_row = false;
}

/* Room for what the cell shows: the end of the row, behind as many marks as columns are empty. */
static void begin_cell(struct book *k, uint32_t row, uint32_t column)
{
    if (k->in_row && row != k->row_number) {
        end_row(k);
    }
    if (!k->in_row) {
        k->in_row = true;
        k->row_number = row;
        k->column = 0;
    } else {
        buf_z(&k->row, " | ");
    }
    uint32_t gap = column > k->column ? column - k->column : 0;
    for (uint32_t i = 0; i < gap && i < GAP_MAX; i++) {
        buf_z(&k->row, " | ");
    }
    k->column = column + 1;
}

static void put_number(struct book *k, double v, uint32_t style)
{
    char number[40];
    struct buf shown;
    enum xlsx_format f = style < k->n_formats ? (enum xlsx_format)k->formats[style] : XLSX_NUMBER;
    int n = snprintf(number, sizeof number, "%.17g", v);
    buf_init(&shown, 256);
    xlsx_show(&shown, (struct str){number, n > 0 ? (size_t)n : 0}, f, k->since_1904);
    text_squeeze(&k->row, buf_view(&shown), false);
    buf_deinit(&shown);
}

static double rk_value(uint32_t rk)
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

static double real_value(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void put_bool_or_error(struct book *k, uint32_t value, bool is_error)
{
    static const struct {
        uint32_t code;
        const char *shown;
    } errors[] = {{0x00, "#NULL!"}, {0x07, "#DIV/0!"}, {0x0F, "#VALUE!"}, {0x17, "#REF!"},
                  {0x1D, "#NAME?"}, {0x24, "#NUM!"},   {0x2A, "#N/A"}};
    const char *shown = value != 0 ? "TRUE" : "FALSE";
    for (size_t i = 0; i < sizeof errors / sizeof errors[0] && is_error; i++) {
        shown = errors[i].code == value ? errors[i].shown : i == 0 ? "#N/A" : shown;
    }
    buf_z(&k->row, shown);
}

static void put_shared(struct book *k, uint32_t i)
{
    struct str s = i < k->n_strings ? k->strings[i] : STR("");
    if (s.len > k->shared_left) { /* blanks, which would never be too much text */
        k->too_large = true;
        return;
    }
    k->shared_left -= s.len;
    text_squeeze(&k->row, s, false);
}

static void put_formula(struct book *k)
{
    struct str d = k->b.data;
    uint32_t kind = le8(d, 6);
    if (le16(d, 12) != 0xFFFF) {
        put_number(k, real_value(le64(d, 6)), le16(d, 4));
    } else if (kind == 0) {
        k->awaits = true;
    } else if (kind == 1 || kind == 2) {
        put_bool_or_error(k, le8(d, 8), kind == 2);
    }
}

static void put_many(struct book *k)
{
    struct str d = k->b.data;
    uint32_t row = le16(d, 0), column = le16(d, 2);
    for (size_t at = 4; at + 8 <= d.len; at += 6) {
        begin_cell(k, row, column++);
        put_number(k, rk_value(le32(d, at + 2)), le16(d, at));
    }
}

static void put_label(struct book *k)
{
    biff_skip(&k->b, 6);
    read_string(k, 2);
    text_squeeze(&k->row, buf_view(&k->text), false);
}

/* What is written in a box or a comment. */
static void put_box(struct book *k)
{
    uint32_t n = le16(k->b.data, 10);
    buf_reset(&k->text);
    if (n == 0 || k->old) {
        return;
    }
    k->b.in_data = k->b.data.len; /* the characters are in the continuation */
    (void)biff_chars(&k->b, n, false, &k->text);
    end_row(k);
    put_block(k, EX__BLOCK__KIND__NOTE, buf_view(&k->text));
}

static void on_record(struct book *k)
{
    struct str d = k->b.data;
    uint32_t type = k->b.type;
    if (k->awaits && type == STRING) {
        read_string(k, 2);
        text_squeeze(&k->row, buf_view(&k->text), false);
    }
    bool cell = type == FORMULA || type == LABEL_SHARED || type == NUMBER || type == LABEL ||
                type == BOOL_ERROR || type == RK || type == RICH_STRING;
    /* shared and array formulas stand between a formula and its text */
    k->awaits = k->awaits && !cell && type != STRING && type != MUL_RK;
    if (cell) {
        begin_cell(k, le16(d, 0), le16(d, 2));
    }
    if (type == FORMULA) {
        put_formula(k);
    } else if (type == LABEL_SHARED) {
        put_shared(k, le32(d, 6));
    } else if (type == NUMBER) {
        put_number(k, real_value(le64(d, 6)), le16(d, 4));
    } else if (type == RK) {
        put_number(k, rk_value(le32(d, 6)), le16(d, 4));
    } else if (type == BOOL_ERROR) {
        put_bool_or_error(k, le8(d, 6), le8(d, 7) != 0);
    } else if (type == LABEL || type == RICH_STRING) {
        put_label(k);
    } else if (type == MUL_RK) {
        put_many(k);
    } else if (type == TEXT_OBJECT) {
        put_box(k);
    } else if (type == SERIES_TEXT) {
        biff_skip(&k->b, 2);
        read_string(k, 1);
        end_row(k);
        put_block(k, EX__BLOCK__KIND__CAPTION, buf_view(&k->text));
    }
}

/* From its beginning to its end, the charts on it between them. */
static enum status read_sheet(struct book *k, const struct sheet *s, struct error *err)
{
    unsigned depth = 0;
    k->b = (struct biff){.stream = k->b.stream, .at = s->at};
    k->named = k->in_row = k->awaits = false;
    buf_reset(&k->row);
    size_t read = k->b.at;
    while (biff_next(&k->b) && !emit_failed(k->o->e) && !k->too_large) {
        if (k->b.type == BEGIN) {
            depth++;
        } else if (k->b.type == END) {
            if (depth <= 1) {
                break;
            }
            depth--;
        } else if (depth == 0 || depth > DEPTH_MAX) {
            break; /* no sheet begins here */
        } else {
            on_record(k);
        }
        if (k->b.at - read > k->left) {
            return error_set(err, STATUS_INVALID,
                             "the workbook is damaged: its sheets lie over each other");
        }
        k->left -= k->b.at - read;
        read = k->b.at;
    }
    end_row(k);
    return k->too_large ? error_set(err, STATUS_TOO_LARGE,
                                    "its cells hold more text than the memory allowed")
                        : STATUS_OK;
}

enum status xls_read(struct ole *o, uint32_t stream, struct error *err)
{
    struct book *k = arena_alloc(o->in->arena, sizeof *k);
    if (k == NULL) {
        return no_memory(err);
    }
    k->o = o;
    k->charset = "WINDOWS-1252";
    k->shared_left = o->in->max_bytes;
    buf_init(&k->text, TEXT_MAX);
    buf_init(&k->row, TEXT_MAX);
    enum status s = cfb_read(&o->file, stream, &k->b.stream, err);
    k->left = (uint64_t)k->b.stream.len * 2 + 65536;
    if (s == STATUS_OK) {
        s = read_book(k, err);
    }
    if (s == STATUS_OK) {
        emit_document(o->e, "xls", o->title, STR(""), k->n_sheets);
    }
    for (uint32_t i = 0; i < k->n_sheets && s == STATUS_OK && !emit_failed(o->e); i++) {
        k->page = i + 1;
        s = read_sheet(k, &k->sheets[i], err);
    }
    buf_deinit(&k->text);
    buf_deinit(&k->row);
    return s;
}
