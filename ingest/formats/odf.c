/* OpenDocument texts, sheets and presentations (ODF 1.2 part 1), zipped or as one flat XML file.
 * One handler reads meta.xml, styles.xml and content.xml alike, for a flat file has all three in
 * one. What stands within a paragraph but is none of its text (notes, comments, boxes) follows it.
 * Changes are read as accepted. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/map.h"
#include "ingest/formats/odf_lists.h"

#define TEXT_MAX (8U * 1024 * 1024)
#define PARAGRAPHS_MAX 8U /* within one another */
#define STYLES_MAX 16384U
#define STYLE_LISTS 4096U /* by hash: each paragraph asks for its style and those above it */
#define PARENTS_MAX 16U
#define SPACES_MAX 1000L
#define CELLS_MAX 64L /* empty ones written between two */

struct style {
    struct style *next;
    const char *name, *parent;
    uint32_t level; /* of a heading, 0: not said */
};

struct paragraph {
    struct buf text;
    const char *style;
    uint32_t level;
    bool item;
    unsigned depth; /* of its element */
    size_t label;   /* bytes of its number */
};

struct odf {
    struct arena *arena;
    struct emitter *e;
    struct style **styles; /* STYLE_LISTS, the last defined first */
    size_t n_styles;
    struct buf title, language, author, keywords, created, modified;
    struct buf *property; /* being read */
    uint32_t pages;
    bool meta, body;
    const char *kind; /* odt, ods, odp */
    struct paragraph paragraphs[PARAGRAPHS_MAX];
    unsigned n_paragraphs;
    struct odf_lists lists;
    unsigned tables, header_rows, furniture, notes, boxes;
    bool is_title; /* the frame at hand */
    uint32_t page;
    struct buf row;
    long repeated;               /* cells that the cell at hand stands for */
    bool blank;                  /* the row so far */
    const char *sheet;           /* its name, until its first row is out; NULL */
    struct emit_waiting waiting; /* what stands in a paragraph, for its end */
    bool encrypted;
};

static bool of(const char *uri, const char *vocabulary)
{
    return sax_uri_ends(uri, vocabulary);
}

#define TEXT_NS "xmlns:text:1.0"
#define TABLE_NS "xmlns:table:1.0"
#define OFFICE_NS "xmlns:office:1.0"
#define DRAW_NS "xmlns:drawing:1.0"
#define STYLE_NS "xmlns:style:1.0"
#define SHOW_NS "xmlns:presentation:1.0"

static const char *keep(struct sax *x, struct odf *r, struct str s)
{
    const char *copy = s.ptr == NULL ? NULL : arena_strndup(r->arena, s.ptr, s.len);
    if (s.ptr != NULL && copy == NULL) {
        sax_fail(x, STATUS_NO_MEMORY, "out of memory");
    }
    return copy;
}

/* ---- styles ---- */

static struct style **list_of(const struct odf *r, const char *name)
{
    return &r->styles[hash64(name, strlen(name)) % STYLE_LISTS];
}

static void on_style(struct sax *x, struct odf *r, const struct sax_attributes *a)
{
    struct style *s = r->n_styles < STYLES_MAX ? arena_alloc(r->arena, sizeof *s) : NULL;
    if (s == NULL) {
        return;
    }
    *s = (struct style){.name = keep(x, r, sax_attribute_ns(a, "name", STYLE_NS)),
                        .parent = keep(x, r, sax_attribute(a, "parent-style-name")),
                        .level =
                            (uint32_t)sax_number(sax_attribute(a, "default-outline-level"), 10, 0)};
    if (s->name != NULL) {
        struct style **list = list_of(r, s->name);
        s->next = *list;
        *list = s;
    }
    r->n_styles++;
}

static const struct style *find_style(const struct odf *r, const char *name)
{
    const struct style *s = *list_of(r, name);
    while (s != NULL && strcmp(s->name, name) != 0) {
        s = s->next;
    }
    return s;
}

/* What a paragraph is by the names of its style and of those it comes from; the programs' own
 * styles have English names in every language. */
static Ex__Block__Kind kind_of(const struct odf *r, const struct paragraph *p, uint32_t *level)
{
    const char *name = p->style;
    *level = p->level;
    for (unsigned i = 0; i < PARENTS_MAX && name != NULL && *level == 0; i++) {
        const struct style *s = find_style(r, name);
        if (strcasecmp(name, "Title") == 0) {
            *level = 1;
        } else if (strncasecmp(name, "Heading", 7) == 0 && s != NULL && s->level > 0) {
            *level = s->level;
        } else if (strncasecmp(name, "Quotations", 10) == 0) {
            return EX__BLOCK__KIND__QUOTE;
        } else if (strncasecmp(name, "Preformatted", 12) == 0) {
            return EX__BLOCK__KIND__CODE;
        } else if (strcasecmp(name, "Caption") == 0) {
            return EX__BLOCK__KIND__CAPTION;
        }
        name = s == NULL ? NULL : s->parent;
    }
    *level = *level > 6 ? 6 : *level;
    return *level > 0 ? EX__BLOCK__KIND__HEADING
           : p->item  ? EX__BLOCK__KIND__LIST_ITEM
                      : EX__BLOCK__KIND__PARAGRAPH;
}

/* ---- blocks ---- */

static void put_later(struct sax *x, struct odf *r, const struct emit_block *b)
{
    if (!emit_later(&r->waiting, r->arena, b)) {
        sax_fail(x, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
}

static void put(struct sax *x, struct odf *r, const struct emit_block *b)
{
    if (r->body && r->n_paragraphs == 0 && r->tables == 0 && r->furniture == 0) {
        emit(r->e, b);
        emit_waited(r->e, &r->waiting);
    } else {
        put_later(x, r, b);
    }
}

static struct paragraph *current(struct odf *r)
{
    return r->n_paragraphs == 0 ? NULL : &r->paragraphs[r->n_paragraphs - 1];
}

static void open_paragraph(struct sax *x, struct odf *r, const char *name,
                           const struct sax_attributes *a)
{
    if (!r->body && r->furniture == 0) {
        return; /* of a layout: "click to add a title" */
    }
    if (r->n_paragraphs == PARAGRAPHS_MAX) {
        x->attack = true;
        sax_fail(x, STATUS_INVALID, "the document nests text boxes too deeply");
        return;
    }
    struct paragraph *p = &r->paragraphs[r->n_paragraphs++];
    if (p->text.max == 0) {
        buf_init(&p->text, TEXT_MAX);
    }
    buf_reset(&p->text);
    bool heading = strcmp(name, "h") == 0;
    p->style = keep(x, r, sax_attribute(a, "style-name"));
    p->level = heading ? (uint32_t)sax_number(sax_attribute(a, "outline-level"), 10, 1)
               : r->is_title && r->notes == 0 ? 1
                                              : 0;
    p->item = r->lists.depth > 0 && r->notes == 0;
    p->depth = x->depth;
    p->label = 0;
    if (r->notes == 0 && r->furniture == 0) {
        if (heading && !sax_attribute_on(a, "is-list-header")) {
            odf_lists_heading(&r->lists, p->level, &p->text);
        } else if (!heading) {
            odf_lists_label(&r->lists, &p->text);
        }
        p->label = p->text.len;
    }
}

/* A cell's paragraphs are one line; what is anchored in it follows the row. */
static void put_in_row(struct odf *r, struct str text)
{
    if (r->row.len > 0 && r->row.ptr[r->row.len - 1] != ' ') {
        buf_char(&r->row, ' ');
    }
    size_t before = r->row.len;
    text_squeeze(&r->row, text, false);
    r->blank = r->blank && r->row.len == before;
}

static void close_paragraph(struct sax *x, struct odf *r)
{
    struct paragraph *p = current(r);
    struct emit_block b = {.page = r->page};
    struct buf squeezed;
    if (buf_status(&p->text) != STATUS_OK) {
        sax_fail(x, STATUS_TOO_LARGE, "one of its paragraphs is larger than 8 MB");
        return;
    }
    r->n_paragraphs--;
    bool in_cell = r->tables > 0 && r->boxes == 0 && r->notes == 0 && r->furniture == 0;
    if (in_cell) {
        put_in_row(r, buf_view(&p->text));
        return;
    }
    buf_init(&squeezed, TEXT_MAX + 16);
    b.kind = kind_of(r, p, &b.level);
    if (r->furniture > 0) {
        b.kind = EX__BLOCK__KIND__FURNITURE;
        b.level = 0;
    }
    if (r->notes > 0 && r->furniture == 0) {
        b.kind = EX__BLOCK__KIND__NOTE;
        b.level = 0;
    }
    if (b.kind == EX__BLOCK__KIND__CODE) {
        buf_str(&squeezed, buf_view(&p->text));
    } else {
        text_squeeze(&squeezed, buf_view(&p->text), true);
    }
    b.text = buf_view(&squeezed);
    if (p->text.len > p->label) { /* a number alone is nothing */
        put(x, r, &b);
    }
    buf_deinit(&squeezed);
    if (r->n_paragraphs == 0 && r->tables == 0 && r->body && r->furniture == 0) {
        emit_waited(r->e, &r->waiting);
    }
}

static void put_text(struct odf *r, const char *z, long times)
{
    struct paragraph *p = current(r);
    for (long i = 0; p != NULL && i < times; i++) {
        buf_z(&p->text, z);
    }
}

/* ---- tables ---- */

static void close_row(struct sax *x, struct odf *r)
{
    struct str s = buf_view(&r->row);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '|')) {
        s.len--;
    }
    if (buf_status(&r->row) != STATUS_OK) {
        sax_fail(x, STATUS_TOO_LARGE, "one of its rows is larger than 8 MB");
        return;
    }
    struct emit_block b = {.kind = EX__BLOCK__KIND__TABLE_ROW,
                           .level = r->header_rows > 0 ? 1 : 0,
                           .page = r->page,
                           .text = s};
    bool outer = r->n_paragraphs == 0 && r->body && r->furniture == 0;
    if (outer && r->sheet != NULL && (!r->blank || r->waiting.first != NULL)) {
        struct emit_block heading = {.kind = EX__BLOCK__KIND__HEADING,
                                     .level = 1,
                                     .page = r->page,
                                     .text = str_from(r->sheet)};
        r->sheet = NULL;
        emit_unit(r->e, EX__BLOCK__UNIT__SHEET, heading.text);
        emit(r->e, &heading);
    }
    if (!r->blank && outer) {
        emit(r->e, &b);
    } else if (!r->blank) {
        put_later(x, r, &b);
    }
    if (outer) {
        emit_waited(r->e, &r->waiting);
    }
    buf_reset(&r->row);
}

static void table_start(struct sax *x, struct odf *r, const char *name,
                        const struct sax_attributes *a)
{
    if (strcmp(name, "table") == 0) {
        if (++r->tables == 1 && r->kind != NULL && strcmp(r->kind, "ods") == 0) {
            r->page++;
            r->sheet = keep(x, r, sax_attribute_ns(a, "name", TABLE_NS));
        }
    } else if (r->tables != 1) {
        return;
    } else if (strcmp(name, "table-header-rows") == 0) {
        r->header_rows++;
    } else if (strcmp(name, "table-row") == 0) {
        buf_reset(&r->row);
        r->blank = true;
    } else if (strcmp(name, "table-cell") == 0 || strcmp(name, "covered-table-cell") == 0) {
        r->repeated = sax_number(sax_attribute(a, "number-columns-repeated"), CELLS_MAX, CELLS_MAX);
        r->repeated = sax_attribute(a, "number-columns-repeated").ptr == NULL ? 1 : r->repeated;
    }
}

static void cell_end(struct odf *r)
{
    for (long i = 0; i < r->repeated; i++) {
        buf_z(&r->row, " | "); /* of repeated cells the first has the text */
    }
}

/* ---- elements ---- */

static void body_begin(struct odf *r, const char *kind)
{
    r->kind = kind;
    r->body = true;
    if (strcmp(kind, "odt") != 0) { /* headers of sheets are placeholders */
        r->waiting = (struct emit_waiting){0};
    }
    emit_author(r->e, buf_view(&r->author));
    emit_keywords(r->e, buf_view(&r->keywords));
    emit_date(r->e, EMIT_CREATED, buf_view(&r->created));
    emit_date(r->e, EMIT_MODIFIED, buf_view(&r->modified));
    emit_document(r->e, kind, buf_view(&r->title), buf_view(&r->language), r->pages);
}

static void office_start(struct sax *x, struct odf *r, const char *name)
{
    if (strcmp(name, "meta") == 0) {
        r->meta = true;
    } else if (strcmp(name, "text") == 0) {
        body_begin(r, "odt");
    } else if (strcmp(name, "spreadsheet") == 0) {
        body_begin(r, "ods");
    } else if (strcmp(name, "presentation") == 0 || strcmp(name, "drawing") == 0) {
        body_begin(r, "odp");
    } else if (strcmp(name, "annotation") == 0) {
        r->notes++;
    } else if (strcmp(name, "scripts") == 0 || strcmp(name, "binary-data") == 0 ||
               strcmp(name, "settings") == 0 || strcmp(name, "forms") == 0) {
        sax_skip(x);
    }
}

static void text_start(struct sax *x, struct odf *r, const char *name,
                       const struct sax_attributes *a)
{
    if (strcmp(name, "p") == 0 || strcmp(name, "h") == 0) {
        open_paragraph(x, r, name, a);
    } else if (strcmp(name, "s") == 0) {
        put_text(r, " ", sax_number(sax_attribute(a, "c"), SPACES_MAX, 1));
    } else if (strcmp(name, "tab") == 0) {
        put_text(r, "\t", 1);
    } else if (strcmp(name, "line-break") == 0) {
        put_text(r, "\n", 1);
    } else if (strcmp(name, "list") == 0) {
        odf_lists_begin(&r->lists, a);
    } else if (strcmp(name, "list-item") == 0) {
        odf_lists_item(&r->lists, a);
    } else if (strcmp(name, "note-body") == 0) {
        r->notes++;
    } else if (strcmp(name, "tracked-changes") == 0 || strcmp(name, "note-citation") == 0 ||
               strcmp(name, "ruby-text") == 0 ||
               (r->page > 0 && strcmp(name, "page-number") == 0)) {
        sax_skip(x); /* deleted; a number; how it is read aloud; "<number>" */
    } else {
        odf_lists_style(&r->lists, name, a);
    }
}

static void show_start(struct odf *r, const char *name)
{
    if (strcmp(name, "notes") == 0) {
        r->notes++;
    }
}

static void draw_start(struct odf *r, const char *name, const struct sax_attributes *a)
{
    if (strcmp(name, "page") == 0) {
        r->page++;
        emit_unit(r->e, EX__BLOCK__UNIT__SLIDE, STR(""));
    } else if (strcmp(name, "frame") == 0 || strcmp(name, "custom-shape") == 0) {
        struct str class = sax_attribute_ns(a, "class", SHOW_NS);
        r->is_title = str_eq(class, STR("title"));
    } else if (strcmp(name, "text-box") == 0) {
        r->boxes++;
    }
}

/* A property of the document: its text will be kept. False: it is none of those. The author is who
 * wrote it first, where that is said; dc:creator is who saved it last. */
static bool begin_property(struct odf *r, const char *name)
{
    const struct {
        const char *name;
        struct buf *into;
    } known[] = {
        {"title", &r->title},           {"language", &r->language}, {"initial-creator", &r->author},
        {"creator", &r->author},        {"subject", &r->keywords},  {"keyword", &r->keywords},
        {"creation-date", &r->created}, {"date", &r->modified}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct buf *b = known[i].into;
        if (strcmp(name, known[i].name) != 0) {
            continue;
        }
        if (b == &r->author && strcmp(name, "creator") == 0 && b->len > 0) {
            return true;
        }
        if (b == &r->author) {
            buf_reset(b);
        } else if (b == &r->keywords && b->len > 0) {
            buf_z(b, "; ");
        }
        r->property = b;
        return true;
    }
    return false;
}

static void on_start(struct sax *x, const char *name, const char *uri,
                     const struct sax_attributes *a)
{
    struct odf *r = x->data;
    r->property = NULL;
    if (of(uri, TEXT_NS)) {
        text_start(x, r, name, a);
    } else if (of(uri, TABLE_NS)) {
        table_start(x, r, name, a);
    } else if (of(uri, OFFICE_NS)) {
        office_start(x, r, name);
    } else if (of(uri, DRAW_NS)) {
        draw_start(r, name, a);
    } else if (of(uri, SHOW_NS)) {
        show_start(r, name);
    } else if (of(uri, STYLE_NS)) {
        if (strcmp(name, "style") == 0) {
            on_style(x, r, a);
        } else if (strncmp(name, "header", 6) == 0 || strncmp(name, "footer", 6) == 0) {
            r->furniture++;
        }
    } else if (r->meta && begin_property(r, name)) {
        return;
    } else if (strcmp(name, "encryption-data") == 0) {
        r->encrypted = true;
    } else if (r->body && strcmp(name, "content-control") != 0) { /* LibreOffice's, around text */
        sax_skip(x); /* a comment's author and date, a picture's title, formulas */
    }
    if (r->meta && strcmp(name, "document-statistic") == 0) {
        r->pages = (uint32_t)sax_number(sax_attribute(a, "page-count"), 1000000, 0);
    }
}

static void leave(unsigned *n)
{
    *n -= *n > 0;
}

static void table_end(struct sax *x, struct odf *r, const char *name)
{
    if (strcmp(name, "table") == 0) {
        leave(&r->tables);
        r->header_rows = r->tables == 0 ? 0 : r->header_rows;
        if (r->tables == 0 && r->kind != NULL && strcmp(r->kind, "ods") == 0) {
            r->sheet = NULL; /* an empty one */
        }
    } else if (r->tables == 1 && strcmp(name, "table-header-rows") == 0) {
        leave(&r->header_rows);
    } else if (r->tables == 1 && strcmp(name, "table-row") == 0) {
        close_row(x, r);
    } else if (r->tables == 1 &&
               (strcmp(name, "table-cell") == 0 || strcmp(name, "covered-table-cell") == 0)) {
        cell_end(r);
    }
}

static void on_end(struct sax *x, const char *name, const char *uri)
{
    struct odf *r = x->data;
    r->property = NULL;
    if (of(uri, TEXT_NS)) {
        if (current(r) != NULL && current(r)->depth == x->depth) {
            close_paragraph(x, r);
        } else if (strcmp(name, "list") == 0) {
            odf_lists_end(&r->lists);
        } else if (strcmp(name, "note-body") == 0) {
            leave(&r->notes);
        }
    } else if (of(uri, TABLE_NS)) {
        table_end(x, r, name);
    } else if (of(uri, OFFICE_NS)) {
        r->meta = r->meta && strcmp(name, "meta") != 0;
        if (strcmp(name, "annotation") == 0) {
            leave(&r->notes);
        }
    } else if (of(uri, DRAW_NS)) {
        if (strcmp(name, "text-box") == 0) {
            leave(&r->boxes);
        } else if (strcmp(name, "frame") == 0 || strcmp(name, "custom-shape") == 0) {
            r->is_title = false;
        }
    } else if (of(uri, SHOW_NS) && strcmp(name, "notes") == 0) {
        leave(&r->notes);
    } else if (of(uri, STYLE_NS) &&
               (strncmp(name, "header", 6) == 0 || strncmp(name, "footer", 6) == 0)) {
        leave(&r->furniture);
    }
}

/* White space is one space (ODF 1.2 part 1, 6.1.2); what is more is an element. */
static void on_text(struct sax *x, struct str text)
{
    struct odf *r = x->data;
    struct paragraph *p = current(r);
    if (r->property != NULL) {
        buf_str(r->property, text);
        return;
    }
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        bool again = p->text.len > 0 && p->text.ptr[p->text.len - 1] == ' ';
        if (!space || !again) {
            buf_char(&p->text, space ? ' ' : c);
        }
    }
}

/* ---- all ---- */

static const struct sax_handler handler = {.start = on_start, .end = on_end, .text = on_text};

static enum status read_zipped(struct odf *r, const struct extract_input *in, struct sax *x,
                               struct error *err)
{
    struct package *p = NULL;
    bool found = false;
    enum status s = package_open(in, "OpenDocument file", &p, err);
    if (s == STATUS_OK) {
        s = sax_read_help(x, p, "META-INF/manifest.xml", err);
    }
    if (s == STATUS_OK && r->encrypted) {
        s = error_set(err, STATUS_UNSUPPORTED,
                      "the OpenDocument file is encrypted: save it without a password");
    }
    if (s == STATUS_OK) {
        s = sax_read_help(x, p, "meta.xml", err);
    }
    if (s == STATUS_OK) {
        s = sax_read_help(x, p, "styles.xml", err);
    }
    r->n_paragraphs = r->lists.depth = r->tables = r->notes = r->boxes = r->furniture = 0;
    if (s == STATUS_OK) {
        s = sax_read(x, p, "content.xml", &found, err);
    }
    if (s == STATUS_OK && !found) {
        s = error_set(err, STATUS_INVALID, "it is no OpenDocument file: content.xml is missing");
    }
    package_close(p);
    return s;
}

static void deinit(struct odf *r)
{
    for (unsigned i = 0; i < PARAGRAPHS_MAX; i++) {
        buf_deinit(&r->paragraphs[i].text);
    }
    buf_deinit(&r->row);
    buf_deinit(&r->title);
    buf_deinit(&r->language);
    buf_deinit(&r->author);
    buf_deinit(&r->keywords);
    buf_deinit(&r->created);
    buf_deinit(&r->modified);
}

enum status odf_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct odf r = {.arena = in->arena, .e = e, .lists = {.numbering = {.arena = in->arena}}};
    struct sax x = {.handler = &handler, .data = &r, .e = e, .what = "OpenDocument file"};
    r.styles = arena_array(in->arena, STYLE_LISTS, sizeof(struct style *));
    if (r.styles == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    memset(r.styles, 0, STYLE_LISTS * sizeof(struct style *));
    buf_init(&r.row, TEXT_MAX);
    buf_init(&r.title, 4096);
    buf_init(&r.language, 64);
    buf_init(&r.author, 4096);
    buf_init(&r.keywords, 4096);
    buf_init(&r.created, 128);
    buf_init(&r.modified, 128);
    bool flat = str_starts(in->data, STR("<")) || str_starts(in->data, STR("\xEF\xBB\xBF<"));
    enum status s = flat ? sax_parse(&x, in->data, err) : read_zipped(&r, in, &x, err);
    if (s == STATUS_OK && r.body) {
        emit_waited(r.e, &r.waiting);
    }
    deinit(&r);
    return s;
}
