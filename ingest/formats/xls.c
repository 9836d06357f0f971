/* Excel's binary workbooks ([MS-XLS], BIFF8; BIFF5 of Excel 5 and 95 differs in its strings). First
 * the part for the whole book: shared strings, number formats, names of the sheets and where they
 * begin; then sheet by sheet its cells as they are shown, row by row, and what is written in boxes
 * and comments. */
#include "ingest/formats/biff.h"
#include "ingest/formats/cells.h"
#include "ingest/formats/charset.h"
#include "ingest/formats/ole.h"

#define SHEETS_MAX 1024U
#define TEXT_MAX (8U * 1024 * 1024)
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

struct book {
    struct ole *o;
    struct biff b;
    struct cells c;
    bool old; /* BIFF5: strings of bytes */
    const char *charset;
    struct sheet sheets[SHEETS_MAX];
    uint32_t n_sheets;
    struct str *strings;
    uint32_t n_strings;
    uint64_t left; /* bytes of records: sheets may lie over each other */
    struct buf text;
    bool awaits; /* the text of a formula's result, in the record behind it */
};

/* ---- strings ---- */

static void bytes_put(struct book *k, struct str s, struct buf *out)
{
    struct error none = {0};
    if (charset_decode(s, k->charset, out, &none) != STATUS_OK) {
        k->c.too_large = true;
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
    read_string(k, k->old ? 1 : 2);
    return cells_format(&k->c, id, buf_view(&k->text)) ? STATUS_OK : no_memory(err);
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
            k->c.since_1904 = le16(k->b.data, 0) == 1;
        } else if (type == SHARED_STRINGS && k->strings == NULL) {
            s = read_shared(k, err);
        } else if (type == FORMAT) {
            s = read_format(k, err);
        } else if (type == XF) {
            s = cells_style(&k->c, le16(k->b.data, 2)) ? STATUS_OK : no_memory(err);
        } else if (type == BOUND_SHEET && k->n_sheets < SHEETS_MAX) {
            s = read_sheet_name(k, err);
        }
    }
    return s;
}

/* ---- cells ---- */

static double real_value(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void put_bool_or_error(struct book *k, uint32_t value, bool is_error)
{
    if (is_error) {
        cells_error(&k->c, value);
    } else {
        cells_bool(&k->c, value != 0);
    }
}

static void put_formula(struct book *k)
{
    struct str d = k->b.data;
    uint32_t kind = le8(d, 6);
    if (le16(d, 12) != 0xFFFF) {
        cells_number(&k->c, real_value(le64(d, 6)), le16(d, 4));
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
        cells_begin(&k->c, row, column++);
        cells_number(&k->c, cells_rk(le32(d, at + 2)), le16(d, at));
    }
}

static void put_label(struct book *k)
{
    biff_skip(&k->b, 6);
    read_string(k, 2);
    cells_text(&k->c, buf_view(&k->text));
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
    cells_end_row(&k->c);
    cells_block(&k->c, EX__BLOCK__KIND__NOTE, buf_view(&k->text));
}

static void on_record(struct book *k)
{
    struct str d = k->b.data;
    uint32_t type = k->b.type;
    if (k->awaits && type == STRING) {
        read_string(k, 2);
        cells_text(&k->c, buf_view(&k->text));
    }
    bool cell = type == FORMULA || type == LABEL_SHARED || type == NUMBER || type == LABEL ||
                type == BOOL_ERROR || type == RK || type == RICH_STRING;
    /* shared and array formulas stand between a formula and its text */
    k->awaits = k->awaits && !cell && type != STRING && type != MUL_RK;
    if (cell) {
        cells_begin(&k->c, le16(d, 0), le16(d, 2));
    }
    if (type == FORMULA) {
        put_formula(k);
    } else if (type == LABEL_SHARED) {
        cells_shared(&k->c, le32(d, 6) < k->n_strings ? k->strings[le32(d, 6)] : STR(""));
    } else if (type == NUMBER) {
        cells_number(&k->c, real_value(le64(d, 6)), le16(d, 4));
    } else if (type == RK) {
        cells_number(&k->c, cells_rk(le32(d, 6)), le16(d, 4));
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
        cells_end_row(&k->c);
        cells_block(&k->c, EX__BLOCK__KIND__CAPTION, buf_view(&k->text));
    }
}

/* From its beginning to its end, the charts on it between them. */
static enum status read_sheet(struct book *k, const struct sheet *s, struct error *err)
{
    unsigned depth = 0;
    k->b = (struct biff){.stream = k->b.stream, .at = s->at};
    k->awaits = false;
    size_t read = k->b.at;
    while (biff_next(&k->b) && !emit_failed(k->o->e) && !k->c.too_large) {
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
    cells_end_row(&k->c);
    return k->c.too_large ? error_set(err, STATUS_TOO_LARGE,
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
    buf_init(&k->text, TEXT_MAX);
    cells_init(&k->c, o->e, o->in->arena, o->in->max_bytes);
    enum status s = cfb_read(&o->file, stream, &k->b.stream, err);
    k->left = (uint64_t)k->b.stream.len * 2 + 65536;
    if (s == STATUS_OK) {
        s = read_book(k, err);
    }
    if (s == STATUS_OK) {
        emit_document(o->e, "xls", o->title, STR(""), k->n_sheets);
    }
    for (uint32_t i = 0; i < k->n_sheets && s == STATUS_OK && !emit_failed(o->e); i++) {
        cells_sheet(&k->c, k->sheets[i].name, i + 1);
        s = read_sheet(k, &k->sheets[i], err);
    }
    buf_deinit(&k->text);
    cells_deinit(&k->c);
    return s;
}
