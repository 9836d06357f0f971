#include "ingest/formats/docx_xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdlib.h>
#include <strings.h>

#define DEPTH_MAX 256
#define PARAGRAPHS_MAX 8 /* text boxes stand within paragraphs */
#define STYLES_MAX 4096
#define TEXT_MAX (8U * 1024 * 1024) /* one paragraph or row */

struct style {
    struct style *next;
    const char *id, *based_on, *name;
    int outline; /* 0..8, -1: none said */
    bool numbered;
};

struct paragraph {
    struct buf text;
    const char *style;
    int outline;
    bool numbered;
};

struct docx_reader {
    struct arena *arena;
    struct emitter *e;
    enum docx_part part;
    xmlParserCtxtPtr ctxt;
    struct error err; /* found in a callback */
    bool attack;
    unsigned depth;
    unsigned skip_from; /* depth of the element that is left out with all below; 0: none */
    bool in_text;       /* character data counts */
    bool vanished;      /* the run is hidden text, which Word does not show either */
    struct paragraph paragraphs[PARAGRAPHS_MAX];
    unsigned n_paragraphs;
    unsigned tables, cells;
    struct buf row;
    struct style *styles;
    struct style *style; /* being read */
    size_t n_styles;
    struct buf title, language;
    struct buf *property; /* being read */
};

static void fail(struct docx_reader *r, enum status code, const char *text)
{
    if (r->err.code == STATUS_OK) {
        error_set(&r->err, code, "%s", text);
    }
    xmlStopParser(r->ctxt);
}

static bool is(const xmlChar *name, const char *what)
{
    return strcmp((const char *)name, what) == 0;
}

/* The attribute of that local name, into the arena; NULL: not there. SAX2 gives five pointers an
 * attribute. */
static const char *attribute(struct docx_reader *r, int n, const xmlChar **a, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (is(a[5 * i], name)) {
            const char *value = arena_strndup(r->arena, (const char *)a[5 * i + 3],
                                              (size_t)(a[5 * i + 4] - a[5 * i + 3]));
            if (value == NULL) {
                fail(r, STATUS_NO_MEMORY, "out of memory");
            }
            return value;
        }
    }
    return NULL;
}

static bool is_off(const char *value)
{
    return value != NULL && (strcmp(value, "0") == 0 || strcasecmp(value, "false") == 0 ||
                             strcasecmp(value, "off") == 0 || strcasecmp(value, "none") == 0);
}

static int small_number(const char *value)
{
    char *end = NULL;
    long v = value == NULL ? -1 : strtol(value, &end, 10);
    return end != NULL && end != value && v >= 0 && v <= 9 ? (int)v : -1;
}

/* --- styles --- */

static void style_start(struct docx_reader *r, const xmlChar *name, int n, const xmlChar **a)
{
    if (is(name, "style") && r->n_styles < STYLES_MAX) {
        r->style = arena_alloc(r->arena, sizeof *r->style);
        if (r->style == NULL) {
            fail(r, STATUS_NO_MEMORY, "out of memory");
            return;
        }
        r->style->id = attribute(r, n, a, "styleId");
        r->style->outline = -1;
        r->style->next = r->styles;
        r->styles = r->style;
        r->n_styles++;
    } else if (is(name, "lang") && r->language.len == 0) {
        const char *v = attribute(r, n, a, "val");
        buf_z(&r->language, v == NULL ? "" : v);
    } else if (r->style == NULL) {
        return;
    } else if (is(name, "name")) {
        r->style->name = attribute(r, n, a, "val");
    } else if (is(name, "basedOn")) {
        r->style->based_on = attribute(r, n, a, "val");
    } else if (is(name, "outlineLvl")) {
        r->style->outline = small_number(attribute(r, n, a, "val"));
    } else if (is(name, "numId")) {
        r->style->numbered = !is_off(attribute(r, n, a, "val"));
    }
}

static const struct style *find_style(const struct docx_reader *r, const char *id)
{
    for (const struct style *s = r->styles; id != NULL && s != NULL; s = s->next) {
        if (s->id != NULL && strcmp(s->id, id) == 0) {
            return s;
        }
    }
    return NULL;
}

static bool name_has(const char *name, const char *word)
{
    return name != NULL && strcasestr(name, word) != NULL;
}

/* 1..6 when the paragraph is a heading, by its own outline level, its style's, or its style's name.
 */
static uint32_t heading_level(const struct docx_reader *r, const struct paragraph *p)
{
    int outline = p->outline;
    const char *id = p->style;
    for (int i = 0; i < 16 && outline < 0 && id != NULL; i++) {
        const struct style *s = find_style(r, id);
        const char *name = s != NULL && s->name != NULL ? s->name : id;
        if (strncasecmp(name, "heading", 7) == 0) {
            const char *digit = name + strcspn(name, "123456789");
            outline = *digit != '\0' ? *digit - '1' : 0;
        } else if (strcasecmp(name, "title") == 0) {
            outline = 0;
        } else if (s != NULL && s->outline >= 0) {
            outline = s->outline;
        }
        id = s == NULL ? NULL : s->based_on;
    }
    if (outline < 0 || outline > 8) {
        return 0;
    }
    return outline >= 6 ? 6 : (uint32_t)outline + 1;
}

static Ex__Block__Kind kind_of(const struct docx_reader *r, const struct paragraph *p)
{
    bool numbered = p->numbered;
    const char *id = p->style;
    for (int i = 0; i < 16 && id != NULL; i++) {
        const struct style *s = find_style(r, id);
        const char *name = s != NULL && s->name != NULL ? s->name : id;
        if (name_has(name, "caption")) {
            return EX__BLOCK__KIND__CAPTION;
        }
        if (name_has(name, "quote")) {
            return EX__BLOCK__KIND__QUOTE;
        }
        if (name_has(name, "source code") || name_has(name, "preformatted") ||
            name_has(name, "code block")) {
            return EX__BLOCK__KIND__CODE;
        }
        if (strncasecmp(name, "list", 4) == 0 || (s != NULL && s->numbered)) {
            numbered = true;
        }
        id = s == NULL ? NULL : s->based_on;
    }
    return numbered ? EX__BLOCK__KIND__LIST_ITEM : EX__BLOCK__KIND__PARAGRAPH;
}

/* --- body and notes --- */

static struct paragraph *current(struct docx_reader *r)
{
    return r->n_paragraphs == 0 ? NULL : &r->paragraphs[r->n_paragraphs - 1];
}

static void open_paragraph(struct docx_reader *r)
{
    if (r->n_paragraphs == PARAGRAPHS_MAX) {
        fail(r, STATUS_INVALID, "the Word file nests text boxes too deeply");
        return;
    }
    struct paragraph *p = &r->paragraphs[r->n_paragraphs++];
    if (p->text.max == 0) {
        buf_init(&p->text, TEXT_MAX);
    }
    buf_reset(&p->text);
    p->style = NULL;
    p->outline = -1;
    p->numbered = false;
}

static void close_paragraph(struct docx_reader *r)
{
    struct paragraph *p = current(r);
    if (p == NULL) {
        return;
    }
    r->n_paragraphs--;
    if (buf_status(&p->text) != STATUS_OK) {
        fail(r, STATUS_TOO_LARGE, "one of its paragraphs is larger than 8 MB");
        return;
    }
    if (r->tables > 0) { /* cell text: its paragraphs on one line */
        struct str s = buf_view(&p->text);
        if (s.len > 0 && r->row.len > 0 && r->row.ptr[r->row.len - 1] != ' ') {
            buf_char(&r->row, ' ');
        }
        for (size_t i = 0; i < s.len; i++) {
            buf_char(&r->row, s.ptr[i] == '\n' || s.ptr[i] == '\t' ? ' ' : s.ptr[i]);
        }
        return;
    }
    uint32_t level = r->part == DOCX_BODY ? heading_level(r, p) : 0;
    struct buf squeezed;
    buf_init(&squeezed, TEXT_MAX + 16);
    Ex__Block__Kind kind = level > 0 ? EX__BLOCK__KIND__HEADING : kind_of(r, p);
    if (kind == EX__BLOCK__KIND__CODE) {
        buf_str(&squeezed, buf_view(&p->text));
    } else {
        text_squeeze(&squeezed, buf_view(&p->text), true);
    }
    emit_document(r->e, "docx",
                  r->title.len > 0 ? buf_view(&r->title)
                  : level > 0      ? buf_view(&squeezed)
                                   : STR(""),
                  buf_view(&r->language), 0);
    emit_text(r->e, kind, level, buf_view(&squeezed));
    buf_deinit(&squeezed);
}

static void close_row(struct docx_reader *r)
{
    if (buf_status(&r->row) != STATUS_OK) {
        fail(r, STATUS_TOO_LARGE, "one of its table rows is larger than 8 MB");
        return;
    }
    struct str s = buf_view(&r->row);
    size_t letters = 0;
    for (size_t i = 0; i < s.len; i++) {
        letters += s.ptr[i] != ' ' && s.ptr[i] != '|';
    }
    emit_document(r->e, "docx", buf_view(&r->title), buf_view(&r->language), 0);
    if (letters > 0) {
        emit_text(r->e, EX__BLOCK__KIND__TABLE_ROW, 0, s);
    }
    buf_reset(&r->row);
}

static void put(struct docx_reader *r, const char *z)
{
    struct paragraph *p = current(r);
    if (p != NULL) {
        buf_z(&p->text, z);
    }
}

static void paragraph_property(struct docx_reader *r, const xmlChar *name, int n, const xmlChar **a)
{
    struct paragraph *p = current(r);
    if (p == NULL) {
        return;
    }
    if (is(name, "pStyle")) {
        p->style = attribute(r, n, a, "val");
    } else if (is(name, "outlineLvl")) {
        p->outline = small_number(attribute(r, n, a, "val"));
    } else if (is(name, "numId")) {
        p->numbered = !is_off(attribute(r, n, a, "val"));
    }
}

static void body_start(struct docx_reader *r, const xmlChar *name, int n, const xmlChar **a)
{
    if (is(name, "p")) {
        open_paragraph(r);
    } else if (is(name, "r")) {
        r->vanished = false;
    } else if (is(name, "vanish")) {
        r->vanished = !is_off(attribute(r, n, a, "val"));
    } else if (is(name, "t")) {
        r->in_text = !r->vanished;
    } else if (is(name, "tab") || is(name, "ptab")) {
        put(r, r->in_text ? "" : "\t");
    } else if (is(name, "br") || is(name, "cr")) {
        put(r, "\n");
    } else if (is(name, "noBreakHyphen")) {
        put(r, "-");
    } else if (is(name, "tbl")) {
        r->tables++;
    } else if (is(name, "tr") && r->tables == 1) {
        buf_reset(&r->row);
        r->cells = 0;
    } else if (is(name, "tc") && r->tables == 1) {
        buf_z(&r->row, r->cells++ > 0 ? " | " : "");
    } else if (is(name, "del") || is(name, "moveFrom") || is(name, "Fallback") ||
               is(name, "pPrChange") || is(name, "rPrChange") || is(name, "tabs")) {
        r->skip_from = r->depth; /* deleted, or said twice, or how it once looked; tab stops */
    } else if (r->part == DOCX_NOTES && (is(name, "footnote") || is(name, "endnote"))) {
        const char *type = attribute(r, n, a, "type");
        if (type != NULL && strcasestr(type, "separator") != NULL) {
            r->skip_from = r->depth;
        }
    } else {
        paragraph_property(r, name, n, a);
    }
}

static void body_end(struct docx_reader *r, const xmlChar *name)
{
    if (is(name, "p")) {
        close_paragraph(r);
    } else if (is(name, "t")) {
        r->in_text = false;
    } else if (is(name, "tbl")) {
        r->tables -= r->tables > 0;
    } else if (is(name, "tr") && r->tables == 1) {
        close_row(r);
    }
}

/* --- SAX --- */

static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int n_ns, const xmlChar **ns, int n, int n_defaulted, const xmlChar **a)
{
    struct docx_reader *r = ((xmlParserCtxtPtr)ctx)->_private;
    (void)prefix, (void)uri, (void)n_ns, (void)ns, (void)n_defaulted;
    if (++r->depth > DEPTH_MAX) {
        r->attack = true;
        fail(r, STATUS_INVALID, "the Word file's XML is nested too deeply");
        return;
    }
    if (r->skip_from != 0) {
        return;
    }
    switch (r->part) {
    case DOCX_CORE:
        r->property = is(name, "title") ? &r->title : is(name, "language") ? &r->language : NULL;
        break;
    case DOCX_STYLES:
        style_start(r, name, n, a);
        break;
    case DOCX_BODY:
    case DOCX_NOTES:
        body_start(r, name, n, a);
        break;
    }
    if (emit_failed(r->e)) {
        xmlStopParser(r->ctxt);
    }
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct docx_reader *r = ((xmlParserCtxtPtr)ctx)->_private;
    (void)prefix, (void)uri;
    bool skipped = r->skip_from != 0;
    if (r->skip_from == r->depth) {
        r->skip_from = 0;
    }
    r->depth -= r->depth > 0;
    if (skipped) {
        return;
    }
    if (r->part == DOCX_CORE) {
        r->property = NULL;
    } else if (r->part == DOCX_STYLES) {
        r->style = is(name, "style") ? NULL : r->style;
    } else {
        body_end(r, name);
    }
}

static void on_characters(void *ctx, const xmlChar *p, int len)
{
    struct docx_reader *r = ((xmlParserCtxtPtr)ctx)->_private;
    if (r->skip_from != 0) {
        return;
    }
    if (r->property != NULL) {
        buf_append(r->property, p, (size_t)len);
    } else if (r->in_text && current(r) != NULL) {
        buf_append(&current(r)->text, p, (size_t)len);
    }
}

static void on_doctype(void *ctx, const xmlChar *name, const xmlChar *public_id,
                       const xmlChar *system_id)
{
    struct docx_reader *r = ((xmlParserCtxtPtr)ctx)->_private;
    (void)name, (void)public_id, (void)system_id;
    r->attack = true;
    fail(r, STATUS_INVALID,
         "the Word file declares XML entities, which no honest one does: it was not read");
}

static xmlEntityPtr on_entity(void *ctx, const xmlChar *name)
{
    (void)ctx;
    return xmlGetPredefinedEntity(name);
}

static void on_error(void *ctx, xmlErrorPtr e)
{
    (void)ctx, (void)e; /* read from the context at the end */
}

struct docx_reader *docx_reader_new(struct arena *a, struct emitter *e)
{
    struct docx_reader *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->arena = a;
        r->e = e;
        buf_init(&r->row, TEXT_MAX);
        buf_init(&r->title, 4096);
        buf_init(&r->language, 64);
    }
    return r;
}

void docx_reader_free(struct docx_reader *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < PARAGRAPHS_MAX; i++) {
        buf_deinit(&r->paragraphs[i].text);
    }
    buf_deinit(&r->row);
    buf_deinit(&r->title);
    buf_deinit(&r->language);
    free(r);
}

void docx_reader_part(struct docx_reader *r, enum docx_part part)
{
    r->part = part;
    r->depth = r->skip_from = r->n_paragraphs = r->tables = 0;
    r->in_text = false;
    r->property = NULL;
    r->style = NULL;
    r->err = (struct error){0};
    r->attack = false;
    buf_reset(&r->row);
}

enum status docx_reader_begin(struct docx_reader *r, struct error *err)
{
    xmlSAXHandler sax;
    memset(&sax, 0, sizeof sax);
    sax.initialized = XML_SAX2_MAGIC;
    sax.startElementNs = on_start;
    sax.endElementNs = on_end;
    sax.characters = on_characters;
    sax.ignorableWhitespace = on_characters;
    sax.cdataBlock = on_characters;
    sax.internalSubset = on_doctype;
    sax.getEntity = on_entity;
    sax.serror = on_error;
    r->ctxt = xmlCreatePushParserCtxt(&sax, NULL, NULL, 0, NULL);
    if (r->ctxt == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    r->ctxt->_private = r;
    (void)xmlCtxtUseOptions(r->ctxt, XML_PARSE_NONET);
    return STATUS_OK;
}

enum status docx_reader_feed(struct docx_reader *r, struct str piece, struct error *err)
{
    int rc = xmlParseChunk(r->ctxt, piece.ptr, (int)piece.len, 0);
    if (r->err.code != STATUS_OK) {
        if (err != NULL) {
            *err = r->err;
        }
        return r->err.code;
    }
    if (emit_failed(r->e)) {
        return STATUS_OK;
    }
    if (rc == XML_ERR_NO_MEMORY) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    if (rc != 0 && !r->ctxt->wellFormed) {
        return error_set(err, STATUS_INVALID, "the Word file is damaged: its XML is malformed");
    }
    return STATUS_OK;
}

enum status docx_reader_end(struct docx_reader *r, enum status s, struct error *err)
{
    if (r->ctxt == NULL) {
        return s;
    }
    if (s == STATUS_OK && !emit_failed(r->e)) {
        (void)xmlParseChunk(r->ctxt, "", 0, 1);
        if (r->err.code != STATUS_OK) {
            s = r->err.code;
            if (err != NULL) {
                *err = r->err;
            }
        } else if (!r->ctxt->wellFormed) {
            s = error_set(err, STATUS_INVALID, "the Word file is damaged: its XML is malformed");
        }
    }
    if (r->ctxt->myDoc != NULL) {
        xmlFreeDoc(r->ctxt->myDoc);
    }
    xmlFreeParserCtxt(r->ctxt);
    r->ctxt = NULL;
    return s;
}

bool docx_reader_harmless(const struct docx_reader *r)
{
    return !r->attack;
}
