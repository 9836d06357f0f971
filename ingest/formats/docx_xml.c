#include "ingest/formats/docx_xml.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/map.h"
#include "ingest/formats/numbering.h"

#define PARAGRAPHS_MAX 8 /* text boxes stand within paragraphs */
#define STYLES_MAX 4096
#define STYLE_LISTS 1024U /* by hash: each paragraph asks for its style and those above it */
#define TEXT_MAX (8U * 1024 * 1024) /* one paragraph or row */

struct style {
    struct style *next;
    const char *id, *based_on, *name;
    int outline;      /* 0..8, -1: none said */
    long list, level; /* of its numbering, -1: none said, 0: none */
};

struct paragraph {
    struct buf text;
    const char *style;
    int outline;
    long list, level;
};

struct docx_reader {
    struct arena *arena;
    struct emitter *e;
    enum docx_part part;
    bool in_text;  /* character data counts */
    bool vanished; /* the run is hidden text, which Word does not show either */
    struct paragraph paragraphs[PARAGRAPHS_MAX];
    unsigned n_paragraphs;
    struct emit_waiting waiting; /* boxes of the paragraph at hand, which follow it */
    unsigned tables, cells;
    bool row_deleted, in_row_properties;
    bool row_names; /* it is said again on each page: it names the columns */
    struct buf row;
    struct style *styles[STYLE_LISTS]; /* the last defined first */
    struct style *style;               /* being read */
    size_t n_styles;
    struct numbering numbering;
    uint32_t scheme, list, level; /* being read */
    bool in_list;
    struct str title, language;
    struct buf own_language; /* as the styles have it */
};

static bool is(const char *name, const char *what)
{
    return strcmp(name, what) == 0;
}

/* The attribute of that local name, into the arena; NULL: not there. */
static const char *attribute(struct sax *x, const struct sax_attributes *a, const char *name)
{
    struct docx_reader *r = x->data;
    struct str v = sax_attribute(a, name);
    const char *value = v.ptr == NULL ? NULL : arena_strndup(r->arena, v.ptr, v.len);
    if (v.ptr != NULL && value == NULL) {
        sax_fail(x, STATUS_NO_MEMORY, "out of memory");
    }
    return value;
}

static int small_number(const struct sax_attributes *a)
{
    return (int)sax_number(sax_attribute(a, "val"), 9, -1);
}

static long list_number(const struct sax_attributes *a)
{
    return sax_number(sax_attribute(a, "val"), INT32_MAX, 0);
}

/* --- styles --- */

static size_t slot_of(const char *id)
{
    return hash64(id, strlen(id)) % STYLE_LISTS;
}

static void style_start(struct sax *x, struct docx_reader *r, const char *name,
                        const struct sax_attributes *a)
{
    if (is(name, "style") && r->n_styles < STYLES_MAX) {
        r->style = arena_alloc(r->arena, sizeof *r->style);
        if (r->style == NULL) {
            sax_fail(x, STATUS_NO_MEMORY, "out of memory");
            return;
        }
        *r->style = (struct style){
            .id = attribute(x, a, "styleId"), .outline = -1, .list = -1, .level = -1};
        if (r->style->id != NULL) {
            struct style **list = &r->styles[slot_of(r->style->id)];
            r->style->next = *list;
            *list = r->style;
        }
        r->n_styles++;
    } else if (is(name, "lang") && r->own_language.len == 0) {
        struct str v = sax_attribute(a, "val");
        buf_str(&r->own_language, v.ptr == NULL ? STR("") : v);
    } else if (r->style == NULL) {
        return;
    } else if (is(name, "name")) {
        r->style->name = attribute(x, a, "val");
    } else if (is(name, "basedOn")) {
        r->style->based_on = attribute(x, a, "val");
    } else if (is(name, "outlineLvl")) {
        r->style->outline = small_number(a);
    } else if (is(name, "numId")) {
        r->style->list = list_number(a);
    } else if (is(name, "ilvl")) {
        r->style->level = small_number(a);
    }
}

/* --- numbering --- */

static void numbering_start(struct sax *x, struct docx_reader *r, const char *name,
                            const struct sax_attributes *a)
{
    struct numbering_level *l = numbering_level(&r->numbering, r->scheme, r->level);
    struct str val = sax_attribute(a, "val");
    if (is(name, "abstractNum")) {
        r->in_list = false;
        r->scheme = (uint32_t)sax_number(sax_attribute(a, "abstractNumId"), INT32_MAX, 0);
        r->level = 0;
    } else if (is(name, "num")) {
        r->in_list = true;
        r->list = (uint32_t)sax_number(sax_attribute(a, "numId"), INT32_MAX, 0);
    } else if (is(name, "lvl") || is(name, "lvlOverride")) {
        r->level = (uint32_t)sax_number(sax_attribute(a, "ilvl"), 100, 100);
    } else if (is(name, "abstractNumId")) {
        r->scheme = (uint32_t)sax_number(val, INT32_MAX, 0);
        numbering_list(&r->numbering, r->list, r->scheme);
    } else if (is(name, "startOverride")) {
        numbering_restart(&r->numbering, r->list, r->level, (uint32_t)sax_number(val, 1000000, 1));
    } else if (l == NULL || r->in_list) { /* what a list changes of its scheme is rare */
        return;
    } else if (is(name, "start")) {
        l->start = (uint32_t)sax_number(val, 1000000, 1);
    } else if (is(name, "numFmt")) {
        l->format = numbering_format_of(val);
    } else if (is(name, "isLgl")) {
        l->legal = !sax_is_off(val);
    } else if (is(name, "lvlText")) {
        const char *text = attribute(x, a, "val");
        l->text = str_from(text == NULL ? "" : text);
    }
}

static const struct style *find_style(const struct docx_reader *r, const char *id)
{
    const struct style *s = id == NULL ? NULL : r->styles[slot_of(id)];
    while (s != NULL && strcmp(s->id, id) != 0) {
        s = s->next;
    }
    return s;
}

/* Which list the paragraph is of, and how deep: by its own words, else its styles'. */
static bool list_of(const struct docx_reader *r, const struct paragraph *p, uint32_t *list,
                    uint32_t *level)
{
    long in = p->list;
    long deep = p->level;
    const char *id = p->style;
    for (int i = 0; i < 16 && id != NULL && (in < 0 || deep < 0); i++) {
        const struct style *s = find_style(r, id);
        in = in < 0 && s != NULL ? s->list : in;
        deep = deep < 0 && s != NULL ? s->level : deep;
        id = s == NULL ? NULL : s->based_on;
    }
    *list = in <= 0 ? 0 : (uint32_t)in;
    *level = deep < 0 ? 0 : (uint32_t)deep;
    return in > 0;
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
    uint32_t list, level;
    bool numbered = list_of(r, p, &list, &level);
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
        if (strncasecmp(name, "list", 4) == 0) {
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

static void open_paragraph(struct sax *x, struct docx_reader *r)
{
    if (r->n_paragraphs == PARAGRAPHS_MAX) {
        x->attack = true;
        sax_fail(x, STATUS_INVALID, "the Word file nests text boxes too deeply");
        return;
    }
    struct paragraph *p = &r->paragraphs[r->n_paragraphs++];
    if (p->text.max == 0) {
        buf_init(&p->text, TEXT_MAX);
    }
    buf_reset(&p->text);
    p->style = NULL;
    p->outline = -1;
    p->list = p->level = -1;
}

/* Cell text: its paragraphs on one line. */
static void put_in_row(struct docx_reader *r, struct str s)
{
    if (s.len > 0 && r->row.len > 0 && r->row.ptr[r->row.len - 1] != ' ') {
        buf_char(&r->row, ' ');
    }
    for (size_t i = 0; i < s.len; i++) {
        buf_char(&r->row, s.ptr[i] == '\n' || s.ptr[i] == '\t' ? ' ' : s.ptr[i]);
    }
}

/* A box stands within the paragraph that it is anchored in, and follows it. */
static void put_block(struct sax *x, struct docx_reader *r, const struct emit_block *b)
{
    if (r->n_paragraphs == 0) {
        emit(r->e, b);
        emit_waited(r->e, &r->waiting);
        return;
    }
    if (!emit_later(&r->waiting, r->arena, b)) {
        sax_fail(x, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
}

static Ex__Block__Kind kind_here(const struct docx_reader *r, const struct paragraph *p,
                                 uint32_t *level)
{
    *level = r->part == DOCX_BODY ? heading_level(r, p) : 0;
    return r->part == DOCX_FURNITURE                           ? EX__BLOCK__KIND__FURNITURE
           : r->part == DOCX_NOTES || r->part == DOCX_COMMENTS ? EX__BLOCK__KIND__NOTE
           : *level > 0                                        ? EX__BLOCK__KIND__HEADING
                                                               : kind_of(r, p);
}

static void close_paragraph(struct sax *x, struct docx_reader *r)
{
    struct paragraph *p = current(r);
    struct emit_block b = {.page = 0};
    struct buf squeezed;
    uint32_t list, deep;
    if (p == NULL) {
        return;
    }
    r->n_paragraphs--;
    if (buf_status(&p->text) != STATUS_OK) {
        sax_fail(x, STATUS_TOO_LARGE, "one of its paragraphs is larger than 8 MB");
        return;
    }
    buf_init(&squeezed, TEXT_MAX + 4096);
    b.kind = kind_here(r, p, &b.level);
    bool said = p->text.len > 0 && list_of(r, p, &list, &deep); /* an empty one has no number */
    if (said) {
        numbering_next(&r->numbering, list, deep, &squeezed);
        buf_z(&squeezed, squeezed.len > 0 ? " " : "");
    }
    if (r->tables > 0) {
        put_in_row(r, buf_view(&squeezed));
        put_in_row(r, buf_view(&p->text));
        buf_deinit(&squeezed);
        return;
    }
    if (b.kind == EX__BLOCK__KIND__CODE) {
        buf_str(&squeezed, buf_view(&p->text));
    } else {
        text_squeeze(&squeezed, buf_view(&p->text), true);
    }
    b.text = buf_view(&squeezed);
    emit_document(r->e, "docx",
                  r->title.len > 0 ? r->title
                  : b.level > 0    ? b.text
                                   : STR(""),
                  r->language.len > 0 ? r->language : buf_view(&r->own_language), 0);
    put_block(x, r, &b);
    buf_deinit(&squeezed);
}

static void close_row(struct sax *x, struct docx_reader *r)
{
    if (buf_status(&r->row) != STATUS_OK) {
        sax_fail(x, STATUS_TOO_LARGE, "one of its table rows is larger than 8 MB");
        return;
    }
    struct str s = buf_view(&r->row);
    size_t letters = 0;
    for (size_t i = 0; i < s.len; i++) {
        letters += s.ptr[i] != ' ' && s.ptr[i] != '|';
    }
    emit_document(r->e, "docx", r->title,
                  r->language.len > 0 ? r->language : buf_view(&r->own_language), 0);
    if (letters > 0 && !r->row_deleted) {
        bool body = r->part == DOCX_BODY;
        struct emit_block b = {.kind = body                        ? EX__BLOCK__KIND__TABLE_ROW
                                       : r->part == DOCX_FURNITURE ? EX__BLOCK__KIND__FURNITURE
                                                                   : EX__BLOCK__KIND__NOTE,
                               .level = body && r->row_names ? 1 : 0,
                               .text = s};
        put_block(x, r, &b);
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

static void paragraph_property(struct sax *x, struct docx_reader *r, const char *name,
                               const struct sax_attributes *a)
{
    struct paragraph *p = current(r);
    if (p == NULL) {
        return;
    }
    if (is(name, "pStyle")) {
        p->style = attribute(x, a, "val");
    } else if (is(name, "outlineLvl")) {
        p->outline = small_number(a);
    } else if (is(name, "numId")) {
        p->list = list_number(a);
    } else if (is(name, "ilvl")) {
        p->level = small_number(a);
    }
}

static void body_start(struct sax *x, struct docx_reader *r, const char *name,
                       const struct sax_attributes *a)
{
    if (is(name, "p")) {
        open_paragraph(x, r);
    } else if (is(name, "r")) {
        r->vanished = false;
    } else if (is(name, "vanish")) {
        r->vanished = !sax_is_off(sax_attribute(a, "val"));
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
        r->row_deleted = r->row_names = false;
    } else if (is(name, "tc") && r->tables == 1) {
        buf_z(&r->row, r->cells++ > 0 ? " | " : "");
    } else if (is(name, "trPr")) {
        r->in_row_properties = true;
    } else if (is(name, "tblHeader") && r->in_row_properties) {
        r->row_names = r->row_names || (r->tables == 1 && !sax_is_off(sax_attribute(a, "val")));
    } else if (is(name, "del") && r->in_row_properties) {
        r->row_deleted = r->row_deleted || r->tables == 1;
    } else if (is(name, "del") || is(name, "moveFrom") || is(name, "Fallback") ||
               is(name, "pPrChange") || is(name, "rPrChange") || is(name, "tabs")) {
        sax_skip(x); /* deleted, or said twice, or how it once looked; tab stops */
    } else if (r->part == DOCX_NOTES && (is(name, "footnote") || is(name, "endnote"))) {
        const char *type = attribute(x, a, "type");
        if (type != NULL && strcasestr(type, "separator") != NULL) {
            sax_skip(x);
        }
    } else {
        paragraph_property(x, r, name, a);
    }
}

static void body_end(struct sax *x, struct docx_reader *r, const char *name)
{
    if (is(name, "p")) {
        close_paragraph(x, r);
    } else if (is(name, "t")) {
        r->in_text = false;
    } else if (is(name, "tbl")) {
        r->tables -= r->tables > 0;
    } else if (is(name, "tr") && r->tables == 1) {
        close_row(x, r);
    } else if (is(name, "trPr")) {
        r->in_row_properties = false;
    }
}

/* --- parts --- */

static void on_start(struct sax *x, const char *name, const char *uri,
                     const struct sax_attributes *a)
{
    struct docx_reader *r = x->data;
    (void)uri;
    switch (r->part) {
    case DOCX_STYLES:
        style_start(x, r, name, a);
        break;
    case DOCX_NUMBERING:
        numbering_start(x, r, name, a);
        break;
    case DOCX_BODY:
    case DOCX_NOTES:
    case DOCX_COMMENTS:
    case DOCX_FURNITURE:
        body_start(x, r, name, a);
        break;
    }
}

static void on_end(struct sax *x, const char *name, const char *uri)
{
    struct docx_reader *r = x->data;
    (void)uri;
    if (r->part == DOCX_STYLES) {
        r->style = is(name, "style") ? NULL : r->style;
    } else if (r->part != DOCX_NUMBERING) {
        body_end(x, r, name);
    }
}

static void on_text(struct sax *x, struct str text)
{
    struct docx_reader *r = x->data;
    if (r->in_text && current(r) != NULL) {
        buf_str(&current(r)->text, text);
    }
}

struct docx_reader *docx_reader_new(struct arena *a, struct emitter *e, struct str title,
                                    struct str language)
{
    struct docx_reader *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->arena = r->numbering.arena = a;
        r->e = e;
        r->title = title;
        r->language = language;
        buf_init(&r->row, TEXT_MAX);
        buf_init(&r->own_language, 64);
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
    buf_deinit(&r->own_language);
    free(r);
}

enum status docx_reader_read(struct docx_reader *r, enum docx_part part, struct package *p,
                             const char *name, bool *found, struct error *err)
{
    static const struct sax_handler handler = {.start = on_start, .end = on_end, .text = on_text};
    struct sax x = {.handler = &handler, .data = r, .e = r->e};
    r->part = part;
    r->n_paragraphs = r->tables = 0;
    r->in_text = r->in_row_properties = false;
    r->style = NULL;
    buf_reset(&r->row);
    enum status s =
        part == DOCX_BODY ? sax_read(&x, p, name, found, err) : sax_read_help(&x, p, name, err);
    if (s == STATUS_OK && part != DOCX_STYLES && part != DOCX_NUMBERING) {
        emit_waited(r->e, &r->waiting);
    }
    return s;
}
