/* Workbooks (ECMA-376 part 1, SpreadsheetML): every sheet's rows as they are read, cells as they
 * are shown, with the sheet as heading and page; then what is written on it in boxes and comments.
 * Only the shared strings and the cell formats are held. */
#include <stdlib.h>
#include <string.h>

#include "ingest/formats/chart.h"
#include "ingest/formats/ooxml.h"
#include "ingest/formats/xlsb.h"
#include "ingest/formats/xlsx_format.h"

#define TEXT_MAX (8U * 1024 * 1024) /* a row, a string */
#define GAP_MAX 64U                 /* empty cells written between two */
#define COLUMNS_MAX 16384U
#define SHEETS_MAX 1024U
#define FORMATS_MAX 65536U
#define CUSTOMS_MAX 4096U /* Excel writes 250 at most; each cell format looks through them */

struct sheet {
    struct sheet *next;
    const char *name, *part;
};

struct custom {
    struct custom *next;
    uint32_t id;
    enum xlsx_format format;
};

struct book {
    struct arena *arena;
    struct emitter *e;
    struct package *p;
    struct ooxml_relation *relations;
    struct sheet *sheets, **last_sheet;
    uint32_t n_sheets;
    bool since_1904;
    struct str *strings;
    size_t n_strings, cap_strings;
    struct custom *customs;
    size_t n_customs;
    uint64_t shared_left; /* bytes of shared strings that cells may still show */
    uint8_t *formats;     /* of a cell's style */
    size_t n_formats, cap_formats;
    bool in_xfs;
    struct buf text; /* of the string, cell or comment at hand */
    bool in_text;
    /* the sheet at hand */
    const struct sheet *sheet;
    uint32_t page;
    bool named; /* its heading is out */
    struct buf row;
    uint32_t column; /* that comes next */
    char type;       /* of the cell: n, s (shared), i (inline), t (text, error), b */
    size_t style;
    char at[16]; /* a comment's cell */
};

static void no_memory(struct sax *x)
{
    sax_fail(x, STATUS_NO_MEMORY, "out of memory");
}

/* Room for one more; doubles, the old list stays in the arena. */
static void *grown(struct arena *a, const void *list, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return (void *)(uintptr_t)list;
    }
    size_t more = *cap == 0 ? 256 : *cap * 2;
    void *out = arena_array(a, more, size);
    if (out != NULL && n > 0) {
        memcpy(out, list, n * size);
    }
    *cap = out == NULL ? *cap : more;
    return out;
}

/* ---- the workbook ---- */

static void book_start(struct sax *x, const char *name, const char *uri,
                       const struct sax_attributes *a)
{
    struct book *b = x->data;
    (void)uri;
    if (strcmp(name, "workbookPr") == 0) {
        struct str v = sax_attribute(a, "date1904");
        b->since_1904 = v.ptr != NULL && !sax_is_off(v);
    } else if (strcmp(name, "sheet") == 0 && b->n_sheets < SHEETS_MAX) {
        struct str title = sax_attribute_ns(a, "name", "");
        const char *part = ooxml_by_id(b->relations, sax_attribute_ns(a, "id", "/relationships"));
        struct sheet *s = arena_alloc(b->arena, sizeof *s);
        const char *copy = arena_strndup(b->arena, title.ptr == NULL ? "" : title.ptr, title.len);
        if (s == NULL || copy == NULL) {
            no_memory(x);
            return;
        }
        *s = (struct sheet){.name = copy, .part = part};
        *b->last_sheet = s;
        b->last_sheet = &s->next;
        b->n_sheets++;
    }
}

/* ---- cell formats ---- */

static void style_start(struct sax *x, const char *name, const char *uri,
                        const struct sax_attributes *a)
{
    struct book *b = x->data;
    (void)uri;
    if (strcmp(name, "numFmt") == 0) {
        if (b->n_customs == CUSTOMS_MAX) {
            return;
        }
        struct custom *c = arena_alloc(b->arena, sizeof *c);
        if (c == NULL) {
            no_memory(x);
            return;
        }
        *c = (struct custom){.next = b->customs,
                             .id = (uint32_t)sax_number(sax_attribute(a, "numFmtId"), INT32_MAX, 0),
                             .format = xlsx_custom_format(sax_attribute(a, "formatCode"))};
        b->customs = c;
        b->n_customs++;
    } else if (strcmp(name, "cellXfs") == 0) {
        b->in_xfs = true;
    } else if (strcmp(name, "xf") == 0 && b->in_xfs && b->n_formats < FORMATS_MAX) {
        uint32_t id = (uint32_t)sax_number(sax_attribute(a, "numFmtId"), INT32_MAX, 0);
        enum xlsx_format f = xlsx_builtin_format(id);
        for (const struct custom *c = b->customs; c != NULL; c = c->next) {
            f = c->id == id ? c->format : f;
        }
        b->formats = grown(b->arena, b->formats, b->n_formats, &b->cap_formats, 1);
        if (b->formats == NULL) {
            no_memory(x);
            return;
        }
        b->formats[b->n_formats++] = (uint8_t)f;
    }
}

static void style_end(struct sax *x, const char *name, const char *uri)
{
    struct book *b = x->data;
    (void)uri;
    b->in_xfs = b->in_xfs && strcmp(name, "cellXfs") != 0;
}

/* ---- shared strings ---- */

static void on_text(struct sax *x, struct str text)
{
    struct book *b = x->data;
    if (b->in_text) {
        buf_str(&b->text, text);
    }
}

/* Characters that XML cannot have stand as _x000D_; those that mean nothing in a text go. */
static struct str unescape(struct buf *b)
{
    size_t out = 0;
    for (size_t i = 0; i < b->len;) {
        unsigned code = 0;
        bool escape =
            b->len - i >= 7 && b->ptr[i] == '_' && b->ptr[i + 1] == 'x' && b->ptr[i + 6] == '_';
        for (size_t k = 2; k < 6 && escape; k++) {
            char c = b->ptr[i + k];
            int d = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
            escape = d >= 0;
            code = code * 16 + (unsigned)(d < 0 ? 0 : d);
        }
        if (escape && code < 0x80) {
            b->ptr[out++] = code < 0x20 || code == 0x7F ? ' ' : (char)code;
            i += 7;
        } else {
            b->ptr[out++] = b->ptr[i++];
        }
    }
    b->len = out;
    return buf_view(b);
}

static void string_start(struct sax *x, const char *name, const char *uri,
                         const struct sax_attributes *a)
{
    struct book *b = x->data;
    (void)uri, (void)a;
    if (strcmp(name, "si") == 0) {
        buf_reset(&b->text);
    } else if (strcmp(name, "rPh") == 0) {
        sax_skip(x); /* how it is read aloud */
    }
    b->in_text = strcmp(name, "t") == 0;
}

static void string_end(struct sax *x, const char *name, const char *uri)
{
    struct book *b = x->data;
    (void)uri;
    b->in_text = false;
    if (strcmp(name, "si") != 0) {
        return;
    }
    struct str s = unescape(&b->text);
    b->strings = grown(b->arena, b->strings, b->n_strings, &b->cap_strings, sizeof *b->strings);
    const char *copy = b->strings == NULL ? NULL : arena_strndup(b->arena, s.ptr, s.len);
    if (copy == NULL || buf_status(&b->text) != STATUS_OK) {
        sax_fail(x, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
        return;
    }
    b->strings[b->n_strings++] = (struct str){copy, s.len};
}

/* ---- a sheet ---- */

static void emit_here(struct book *b, Ex__Block__Kind kind, struct str text)
{
    struct emit_block block = {.kind = kind, .text = text, .page = b->page};
    if (!b->named) {
        struct emit_block heading = {.kind = EX__BLOCK__KIND__HEADING,
                                     .level = 1,
                                     .page = b->page,
                                     .text = str_from(b->sheet->name)};
        b->named = true;
        emit_unit(b->e, EX__BLOCK__UNIT__SHEET, heading.text);
        emit(b->e, &heading);
    }
    emit(b->e, &block);
}

/* The column of "BC23", from 0; `otherwise` where there is none. */
static uint32_t column_of(struct str at, uint32_t otherwise)
{
    uint32_t n = 0;
    for (size_t i = 0; at.ptr != NULL && i < at.len; i++) {
        char c = at.ptr[i];
        if (c < 'A' || c > 'Z' || n > COLUMNS_MAX) {
            break;
        }
        n = n * 26 + (uint32_t)(c - 'A') + 1;
    }
    return n == 0 || n > COLUMNS_MAX ? otherwise : n - 1;
}

static void cell_start(struct sax *x, const char *name, const char *uri,
                       const struct sax_attributes *a)
{
    struct book *b = x->data;
    (void)uri;
    if (strcmp(name, "row") == 0) {
        buf_reset(&b->row);
        b->column = 0;
    } else if (strcmp(name, "c") == 0) {
        struct str type = sax_attribute(a, "t");
        uint32_t column = column_of(sax_attribute(a, "r"), b->column);
        uint32_t gap = column > b->column ? column - b->column : 0;
        gap = gap < GAP_MAX ? gap : GAP_MAX;
        for (uint32_t i = 0; i < gap; i++) {
            buf_z(&b->row, " | ");
        }
        b->column = column + 1;
        b->type = type.len == 0 || str_eq(type, STR("n")) ? 'n'
                  : str_eq(type, STR("s"))                ? 's'
                  : str_eq(type, STR("b"))                ? 'b'
                                                          : 't';
        b->style = (size_t)sax_number(sax_attribute(a, "s"), FORMATS_MAX, FORMATS_MAX);
        buf_reset(&b->text);
    } else if (strcmp(name, "rPh") == 0 || strcmp(name, "f") == 0) {
        sax_skip(x);
    }
    b->in_text = strcmp(name, "v") == 0 || strcmp(name, "t") == 0;
}

static void put_cell(struct sax *x, struct book *b)
{
    struct str v = buf_view(&b->text);
    struct str shown = v;
    struct buf number;
    buf_init(&number, 256);
    if (b->type == 's') {
        size_t i = (size_t)sax_number(v, (long)b->n_strings, (long)b->n_strings);
        shown = i < b->n_strings ? b->strings[i] : STR("");
        if (shown.len > b->shared_left) { /* blanks, which would never be too much text */
            sax_fail(x, STATUS_TOO_LARGE, "its cells hold more text than the memory allowed");
            shown = STR("");
        }
        b->shared_left -= shown.len;
    } else if (b->type == 'b') {
        shown = str_eq(v, STR("1")) ? STR("TRUE") : STR("FALSE");
    } else if (b->type == 'n' && v.len < 64) {
        enum xlsx_format f =
            b->style < b->n_formats ? (enum xlsx_format)b->formats[b->style] : XLSX_NUMBER;
        xlsx_show(&number, v, f, b->since_1904);
        shown = buf_view(&number);
    } else {
        shown = unescape(&b->text);
    }
    text_squeeze(&b->row, shown, false);
    buf_deinit(&number);
    buf_z(&b->row, " | ");
}

static void put_row(struct sax *x, struct book *b)
{
    struct str s = buf_view(&b->row);
    bool blank = true;
    if (buf_status(&b->row) != STATUS_OK) {
        sax_fail(x, STATUS_TOO_LARGE, "one of its rows is larger than 8 MB");
        return;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '|')) {
        s.len--;
    }
    for (size_t i = 0; i < s.len && blank; i++) {
        blank = s.ptr[i] == ' ' || s.ptr[i] == '|';
    }
    if (!blank) {
        emit_here(b, EX__BLOCK__KIND__TABLE_ROW, s);
    }
}

static void cell_end(struct sax *x, const char *name, const char *uri)
{
    struct book *b = x->data;
    (void)uri;
    b->in_text = false;
    if (strcmp(name, "c") == 0) {
        put_cell(x, b);
    } else if (strcmp(name, "row") == 0) {
        put_row(x, b);
    }
}

/* ---- comments ---- */

static void comment_start(struct sax *x, const char *name, const char *uri,
                          const struct sax_attributes *a)
{
    struct book *b = x->data;
    (void)uri;
    if (strcmp(name, "comment") == 0 || strcmp(name, "threadedComment") == 0) {
        struct str at = sax_attribute(a, "ref");
        size_t n = at.len < sizeof b->at ? at.len : sizeof b->at - 1;
        memcpy(b->at, n == 0 ? "" : at.ptr, n);
        b->at[n] = '\0';
        buf_reset(&b->text);
    }
    bool threaded = strcmp(name, "text") == 0 && sax_uri_ends(uri, "threadedcomments");
    b->in_text = strcmp(name, "t") == 0 || threaded;
}

static void comment_end(struct sax *x, const char *name, const char *uri)
{
    struct book *b = x->data;
    (void)uri;
    b->in_text = false;
    if (strcmp(name, "comment") == 0 || strcmp(name, "threadedComment") == 0) {
        struct buf said;
        buf_init(&said, TEXT_MAX + 32);
        buf_printf(&said, "%s: ", b->at);
        text_squeeze(&said, unescape(&b->text), true);
        if (b->text.len > 0) {
            emit_here(b, EX__BLOCK__KIND__NOTE, buf_view(&said));
        }
        buf_deinit(&said);
    }
}

/* ---- all ---- */

static enum status read_part(struct book *b, const struct sax_handler *handler, const char *part,
                             bool need, struct error *err)
{
    struct sax x = {.handler = handler, .data = b, .e = b->e};
    bool found = false;
    b->in_text = false;
    if (!need) {
        return sax_read_help(&x, b->p, part, err);
    }
    enum status s = sax_read(&x, b->p, part, &found, err);
    return s == STATUS_OK && !found
               ? error_set(err, STATUS_INVALID, "the %s is damaged: %s is missing",
                           package_what(b->p), part)
               : s;
}

static void emit_text_of(struct book *b, const struct drawing_text *text)
{
    for (const struct drawing_block *k = text->first; k != NULL; k = k->next) {
        emit_here(b, k->kind, k->text);
    }
}

/* Boxes and charts. */
static enum status read_drawing(struct book *b, const char *part, struct error *err)
{
    struct ooxml_relation *list = NULL;
    struct drawing_text text;
    enum status s = drawing_read(b->p, part, b->arena, &text, err);
    if (s == STATUS_OK) {
        emit_text_of(b, &text);
        s = ooxml_relations(b->p, b->arena, part, &list, err);
    }
    for (const struct ooxml_relation *r = list; r != NULL && s == STATUS_OK; r = r->next) {
        if (strcmp(r->type, "chart") == 0) {
            s = chart_read(b->p, r->target, b->arena, &text, err);
            emit_text_of(b, &text);
        }
    }
    return s;
}

static enum status read_beside(struct book *b, struct error *err)
{
    static const struct sax_handler comments = {
        .start = comment_start, .end = comment_end, .text = on_text};
    struct ooxml_relation *list = NULL;
    enum status s = ooxml_relations(b->p, b->arena, b->sheet->part, &list, err);
    bool threaded = ooxml_by_type(list, "threadedComment", NULL) != NULL;
    for (const struct ooxml_relation *r = list; r != NULL && s == STATUS_OK; r = r->next) {
        bool comment = strcmp(r->type, threaded ? "threadedComment" : "comments") == 0;
        if (comment) {
            s = read_part(b, &comments, r->target, false, err);
        } else if (strcmp(r->type, "drawing") == 0) {
            s = read_drawing(b, r->target, err);
        }
    }
    return s;
}

static enum status read_sheets(struct book *b, struct error *err)
{
    static const struct sax_handler cells = {.start = cell_start, .end = cell_end, .text = on_text};
    enum status s = STATUS_OK;
    for (b->sheet = b->sheets; b->sheet != NULL && s == STATUS_OK && !emit_failed(b->e);
         b->sheet = b->sheet->next) {
        b->page++;
        b->named = false;
        if (b->sheet->part != NULL && package_has(b->p, b->sheet->part)) {
            s = read_part(b, &cells, b->sheet->part, true, err);
        }
        if (s == STATUS_OK && b->sheet->part != NULL) {
            s = read_beside(b, err);
        }
    }
    return s;
}

static enum status read_book(struct book *b, const struct extract_input *in, struct error *err)
{
    static const struct sax_handler workbook = {.start = book_start};
    static const struct sax_handler styles = {.start = style_start, .end = style_end};
    static const struct sax_handler strings = {
        .start = string_start, .end = string_end, .text = on_text};
    struct ooxml_relation *top = NULL;
    struct ooxml_core core = {0};
    enum status s = ooxml_relations(b->p, b->arena, "", &top, err);
    if (s == STATUS_OK) {
        s = ooxml_core_read(b->p, top, &core, err);
    }
    const char *part = ooxml_by_type(top, "officeDocument", "xl/workbook.xml");
    if (s == STATUS_OK) {
        s = ooxml_relations(b->p, b->arena, part, &b->relations, err);
    }
    if (s == STATUS_OK && sax_uri_ends(part, ".bin")) {
        s = xlsb_read(b->p, in, b->e, part, b->relations, &core, err);
        goto out;
    }
    if (s == STATUS_OK) {
        s = read_part(b, &workbook, part, true, err);
    }
    if (s == STATUS_OK) {
        s = read_part(b, &styles, ooxml_by_type(b->relations, "styles", "xl/styles.xml"), false,
                      err);
    }
    if (s == STATUS_OK) {
        s = read_part(b, &strings,
                      ooxml_by_type(b->relations, "sharedStrings", "xl/sharedStrings.xml"), false,
                      err);
    }
    if (s == STATUS_OK) {
        ooxml_core_emit(&core, b->e);
        emit_document(b->e, "xlsx", buf_view(&core.title), buf_view(&core.language), b->n_sheets);
        s = read_sheets(b, err);
    }
out:
    ooxml_core_deinit(&core);
    return s;
}

enum status xlsx_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct book b = {.arena = in->arena, .e = e, .shared_left = in->max_bytes};
    b.last_sheet = &b.sheets;
    buf_init(&b.text, TEXT_MAX);
    buf_init(&b.row, TEXT_MAX);
    enum status s = package_open(in, "workbook", &b.p, err);
    if (s == STATUS_OK) {
        s = read_book(&b, in, err);
    }
    package_close(b.p);
    buf_deinit(&b.text);
    buf_deinit(&b.row);
    return s;
}
