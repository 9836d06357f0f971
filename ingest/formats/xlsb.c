#include "ingest/formats/xlsb.h"

#include "ingest/formats/cells.h"
#include "ingest/formats/octets.h"

#define SHEETS_MAX 1024U
#define TEXT_MAX (8U * 1024 * 1024)

enum {
    ROW = 0,
    CELL_RK = 2,
    CELL_ERROR,
    CELL_BOOL,
    CELL_REAL,
    CELL_TEXT,
    CELL_SHARED,
    FORMULA_TEXT,
    FORMULA_NUMBER,
    FORMULA_BOOL,
    FORMULA_ERROR,
    SHARED = 19,
    FORMAT = 44,
    XF = 47,
    CELL_RICH = 62,
    BOOK = 153,
    SHEET = 156,
    XFS = 617,
    XFS_END = 618
};

struct sheet {
    struct str name;
    const char *part;
};

struct book {
    struct package *p;
    struct arena *arena;
    const struct ooxml_relation *relations;
    struct cells c;
    struct sheet sheets[SHEETS_MAX];
    uint32_t n_sheets;
    struct str *strings;
    uint32_t n_strings, cap_strings;
    bool in_xfs;
    uint32_t row;
    struct buf text;
};

/* ---- records ---- */

/* A number in groups of seven bits, the lowest first. */
static uint32_t grouped(struct str s, size_t *at, unsigned most)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < most; i++) {
        uint32_t b = le8(s, (*at)++);
        v |= (b & 0x7F) << (7 * i);
        if ((b & 0x80) == 0) {
            break;
        }
    }
    return v;
}

static bool next_record(struct str s, size_t *at, uint32_t *type, struct str *data)
{
    if (*at >= s.len) {
        return false;
    }
    uint32_t low = le8(s, (*at)++);
    *type = (low & 0x80) != 0 ? (low & 0x7F) | (le8(s, (*at)++) & 0x7F) << 7 : low;
    uint32_t size = grouped(s, at, 4);
    *data = cut(s, *at, size);
    *at += size;
    return true;
}

/* A string with its length in characters in front; what is behind it begins at *at. */
static struct str wide_at(struct str s, size_t *at)
{
    uint32_t n = le32(s, *at);
    bool none = n == UINT32_MAX;
    struct str out = none ? STR("") : cut(s, *at + 4, (size_t)n * 2);
    *at += 4 + out.len;
    return out;
}

static struct str text_at(struct book *b, struct str s, size_t at)
{
    buf_reset(&b->text);
    utf16_put(&b->text, wide_at(s, &at));
    return buf_view(&b->text);
}

static bool keep(struct book *b, struct str text, struct str *out)
{
    const char *copy = arena_strndup(b->arena, text.ptr, text.len);
    *out = (struct str){copy, text.len};
    return copy != NULL && buf_status(&b->text) == STATUS_OK;
}

/* ---- the whole book ---- */

static bool add_sheet(struct book *b, struct str d)
{
    size_t at = 8;
    if (b->n_sheets == SHEETS_MAX) {
        return true;
    }
    struct sheet *s = &b->sheets[b->n_sheets];
    buf_reset(&b->text);
    utf16_put(&b->text, wide_at(d, &at));
    s->part = ooxml_by_id(b->relations, buf_view(&b->text));
    b->n_sheets++;
    return keep(b, text_at(b, d, at), &s->name);
}

static bool add_string(struct book *b, struct str d)
{
    if (b->n_strings == b->cap_strings) {
        uint32_t more = b->cap_strings == 0 ? 256 : b->cap_strings * 2;
        struct str *grown = arena_array(b->arena, more, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if (b->n_strings > 0) {
            memcpy(grown, b->strings, b->n_strings * sizeof *grown);
        }
        b->strings = grown;
        b->cap_strings = more;
    }
    return keep(b, text_at(b, d, 1), &b->strings[b->n_strings++]);
}

/* ---- cells ---- */

static void on_cell(struct book *b, uint32_t type, struct str d)
{
    uint32_t style = le32(d, 4) & 0xFFFFFF;
    uint64_t bits = le64(d, 8);
    double v;
    memcpy(&v, &bits, sizeof v);
    cells_begin(&b->c, b->row, le32(d, 0));
    if (type == CELL_RK) {
        cells_number(&b->c, cells_rk(le32(d, 8)), style);
    } else if (type == CELL_REAL || type == FORMULA_NUMBER) {
        cells_number(&b->c, v, style);
    } else if (type == CELL_ERROR || type == FORMULA_ERROR) {
        cells_error(&b->c, le8(d, 8));
    } else if (type == CELL_BOOL || type == FORMULA_BOOL) {
        cells_bool(&b->c, le8(d, 8) != 0);
    } else if (type == CELL_SHARED) {
        uint32_t i = le32(d, 8);
        cells_shared(&b->c, i < b->n_strings ? b->strings[i] : STR(""));
    } else { /* with a byte of flags where it is rich */
        cells_text(&b->c, text_at(b, d, type == CELL_RICH ? 9 : 8));
    }
}

/* False: out of memory. */
static bool on_record(struct book *b, uint32_t type, struct str d)
{
    size_t at = 2;
    switch (type) {
    case BOOK:
        b->c.since_1904 = (le32(d, 0) & 1) != 0;
        return true;
    case SHEET:
        return add_sheet(b, d);
    case SHARED:
        return add_string(b, d);
    case FORMAT:
        return cells_format(&b->c, le16(d, 0), text_at(b, d, at));
    case XFS:
    case XFS_END:
        b->in_xfs = type == XFS;
        return true;
    case XF:
        return !b->in_xfs || cells_style(&b->c, le16(d, 2));
    case ROW:
        if (b->c.page == 0) { /* in no sheet */
            return true;
        }
        cells_end_row(&b->c);
        b->row = le32(d, 0);
        return true;
    default:
        if (b->c.page > 0 && ((type >= CELL_RK && type <= FORMULA_ERROR) || type == CELL_RICH)) {
            on_cell(b, type, d);
        }
        return true;
    }
}

static enum status read_part(struct book *b, const char *part, uint64_t max_bytes,
                             struct error *err)
{
    struct buf all;
    struct str d;
    uint32_t type;
    bool found = false;
    buf_init(&all, max_bytes);
    enum status s = part == NULL ? STATUS_OK : package_load(b->p, part, &all, &found, err);
    for (size_t at = 0; s == STATUS_OK && next_record(buf_view(&all), &at, &type, &d);) {
        if (emit_failed(b->c.e) || b->c.too_large) {
            break;
        }
        if (!on_record(b, type, d)) {
            s = error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
        }
    }
    buf_deinit(&all);
    return s;
}

static enum status read_sheets(struct book *b, uint64_t max_bytes, struct error *err)
{
    enum status s = STATUS_OK;
    for (uint32_t i = 0; i < b->n_sheets && s == STATUS_OK && !emit_failed(b->c.e); i++) {
        cells_sheet(&b->c, b->sheets[i].name, i + 1);
        s = read_part(b, b->sheets[i].part, max_bytes, err);
        cells_end_row(&b->c);
        if (s == STATUS_OK && b->c.too_large) {
            s = error_set(err, STATUS_TOO_LARGE,
                          "its cells hold more text than the memory allowed");
        }
    }
    return s;
}

enum status xlsb_read(struct package *p, const struct extract_input *in, struct emitter *e,
                      const char *book, const struct ooxml_relation *relations,
                      const struct ooxml_core *core, struct error *err)
{
    struct book *b = arena_alloc(in->arena, sizeof *b);
    if (b == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    b->p = p;
    b->arena = in->arena;
    b->relations = relations;
    buf_init(&b->text, TEXT_MAX);
    cells_init(&b->c, e, in->arena, in->max_bytes);
    enum status s = read_part(b, book, in->max_bytes, err);
    const char *const parts[] = {ooxml_by_type(relations, "styles", NULL),
                                 ooxml_by_type(relations, "sharedStrings", NULL)};
    for (size_t i = 0; i < 2 && s == STATUS_OK; i++) {
        s = read_part(b, parts[i], in->max_bytes, err);
    }
    if (s == STATUS_OK) {
        ooxml_core_emit(core, e);
        emit_document(e, "xlsb", buf_view(&core->title), buf_view(&core->language), b->n_sheets);
        s = read_sheets(b, in->max_bytes, err);
    }
    buf_deinit(&b->text);
    cells_deinit(&b->c);
    return s;
}
