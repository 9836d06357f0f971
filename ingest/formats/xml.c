/* XML of whatever vocabulary, read as it comes. What common vocabularies (JATS, DocBook, TEI, DITA,
 * RSS, HTML) call a paragraph, title, item or row is one, with all that stands in it. Elsewhere an
 * element with nothing but text is "path: text", and those of a record are one row: of the
 * shallowest elements that come again and again under one parent, which a first pass finds.
 *
 * Nothing is loaded, no entity that the file declares is expanded; what is malformed is read as far
 * as the parser finds its way. */
#include <libxml/HTMLparser.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdlib.h>
#include <strings.h>

#include "ingest/formats/source.h"
#include "ingest/formats/xml_info.h"
#include "ingest/formats/xml_push.h"
#include "ingest/utf8.h"

#define DEPTH_MAX 256
#define NAME_CAP 48
#define VALUE_MAX 400     /* a longer text is a paragraph of its own */
#define RECORD_BYTES 4096 /* a longer record is handed on in parts */

enum role {
    NONE,
    INLINE,
    PARAGRAPH,
    TITLE,
    ITEM,
    ROW,
    CELL,
    CAPTION,
    CODE,
    QUOTE,
    NOTE,
    SECTION,
    SKIP
};

struct element {
    enum role role;
    bool parent;       /* has elements below */
    unsigned sections; /* around it, itself counted */
    char name[NAME_CAP];
    char last[NAME_CAP]; /* pass one: the name of the child before */
};

struct xml {
    const struct extract_input *in;
    struct emitter *e; /* NULL: the first pass */
    xmlParserCtxtPtr ctxt;
    struct element stack[DEPTH_MAX + 2];
    size_t depth;
    size_t beyond; /* elements deeper than the stack */
    size_t record; /* depth of records; 0: there are none */
    size_t block;  /* depth of the element whose text is being read; 0: none */
    size_t skip;   /* depth of what is passed over with all below; 0: nothing */
    bool space;
    struct buf text, pairs, row;
    unsigned cells;
    struct xml_info info;
    bool crowded; /* an element has too many attributes */
    enum status html;
};

static enum role role_of(const char *name)
{
    static const struct {
        const char *names;
        enum role role;
    } known[] = {
        {" p para simpara formalpara ab lg verse dd description summary abstract-p shortdesc "
         "remark line "
         "contrib aff subj-group kwd-group mixed-citation element-citation citation award-group "
         "bibl biblstruct byline affiliation ",
         PARAGRAPH},
        {" title head heading subtitle article-title h1 h2 h3 h4 h5 h6 invention-title bridgehead ",
         TITLE},
        {" li item listitem list-item member dt def-item step ", ITEM},
        {" tr row strow ", ROW},
        {" td th entry stentry ", CELL},
        {" caption figcaption ", CAPTION},
        {" pre programlisting screen preformat literallayout codeblock ", CODE},
        {" blockquote quote disp-quote epigraph ", QUOTE},
        {" fn footnote note ", NOTE},
        {" sec section sect1 sect2 sect3 sect4 sect5 chapter part appendix div div1 div2 div3 div4 "
         "topic app-group ",
         SECTION},
        {" script style svg math inline-graphic tex-math col colgroup colspec ", SKIP},
        {" b i u em strong bold italic sub sup span a xref ext-link emph emphasis hi ref link "
         "ulink "
         "named-content sc underline monospace tt inline-formula email uri styled-content strike q "
         "pb lb seg foreign code literal filename command option trademark abbrev acronym "
         "figref claim-ref chemistry persname placename rs label big small font cite ph "
         "keyword ",
         INLINE},
    };
    char padded[NAME_CAP + 3];
    size_t n = strlen(name);
    padded[0] = ' ';
    for (size_t i = 0; i < n; i++) {
        padded[i + 1] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    }
    padded[n + 1] = ' ';
    padded[n + 2] = '\0';
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(known[i].names, padded) != NULL) {
            return known[i].role;
        }
    }
    return NONE;
}

static bool holds_text(enum role r)
{
    return r == PARAGRAPH || r == TITLE || r == ITEM || r == CELL || r == CAPTION || r == CODE ||
           r == QUOTE || r == NOTE;
}

/* ---- blocks ---- */

static void emit_block(struct xml *x, Ex__Block__Kind kind, uint32_t level, struct str s)
{
    s = text_trim(s);
    if (s.len > 0) {
        emit_document(x->e, "xml", kind == EX__BLOCK__KIND__HEADING ? s : STR(""), STR(""), 0);
        emit_text(x->e, kind, level, s);
    }
}

static void flush_pairs(struct xml *x)
{
    emit_block(x, EX__BLOCK__KIND__TABLE_ROW, 0, buf_view(&x->pairs));
    buf_reset(&x->pairs);
}

/* "address.city: " of an element, the path from its record on. */
static void put_pair(struct xml *x, size_t depth, const char *attribute, struct str value)
{
    value = text_trim(value);
    if (value.len == 0) {
        return;
    }
    if (x->pairs.len + value.len > RECORD_BYTES) {
        flush_pairs(x);
    }
    size_t from = x->record > 0 && depth > x->record ? x->record + 1 : depth;
    from = x->record == 0 && depth > 2 ? 2 : from;
    buf_z(&x->pairs, x->pairs.len > 0 ? " | " : "");
    for (size_t i = from; i <= depth; i++) {
        buf_z(&x->pairs, i > from ? "." : "");
        buf_z(&x->pairs, x->stack[i].name);
    }
    if (attribute != NULL) {
        buf_z(&x->pairs, ".");
        buf_z(&x->pairs, attribute);
    }
    buf_z(&x->pairs, ": ");
    text_squeeze(&x->pairs, value, false);
}

static uint32_t heading_level(const struct element *el)
{
    unsigned n =
        el->name[0] == 'h' && el->name[1] >= '1' && el->name[1] <= '6' && el->name[2] == '\0'
            ? (unsigned)(el->name[1] - '0')
            : el->sections + 1;
    return n < 6 ? n : 6;
}

/* HTML within, as feeds have it. */
static bool is_markup(struct str s)
{
    return memmem(s.ptr, s.len, "</", 2) != NULL || memmem(s.ptr, s.len, "<br", 3) != NULL ||
           memmem(s.ptr, s.len, "<p>", 3) != NULL;
}

static void emit_markup(struct xml *x, struct str s)
{
    struct extract_input page = *x->in;
    struct error ignored;
    page.data = s;
    emit_document(x->e, "xml", STR(""), STR(""), 0);
    enum status st = html_extract(&page, x->e, &ignored);
    x->html = st == STATUS_OK || st == STATUS_INVALID ? x->html : st;
}

/* The text of the open block goes where its element says. */
static void finish_block(struct xml *x)
{
    static const Ex__Block__Kind kinds[] = {
        [PARAGRAPH] = EX__BLOCK__KIND__PARAGRAPH, [ITEM] = EX__BLOCK__KIND__LIST_ITEM,
        [CAPTION] = EX__BLOCK__KIND__CAPTION,     [CODE] = EX__BLOCK__KIND__CODE,
        [QUOTE] = EX__BLOCK__KIND__QUOTE,         [NOTE] = EX__BLOCK__KIND__NOTE};
    if (x->block == 0) {
        return;
    }
    const struct element *el = &x->stack[x->block];
    struct str s = text_trim(buf_view(&x->text));
    if (el->role == CELL) {
        buf_str(&x->row, s);
    } else if (s.len > 0 && is_markup(s) && el->role != CODE) {
        flush_pairs(x);
        emit_markup(x, s);
    } else if (el->role == TITLE) {
        flush_pairs(x);
        emit_block(x, EX__BLOCK__KIND__HEADING, heading_level(el), s);
    } else if (holds_text(el->role)) {
        flush_pairs(x);
        emit_block(x, kinds[el->role], 0, s);
    } else if (el->parent || s.len > VALUE_MAX) {
        flush_pairs(x);
        emit_block(x, EX__BLOCK__KIND__PARAGRAPH, 0, s);
    } else {
        put_pair(x, x->block, NULL, s);
    }
    buf_reset(&x->text);
    x->block = 0;
    x->space = false;
}

static void put_text(struct xml *x, struct str s)
{
    size_t depth = x->depth;
    if (x->block == 0) {
        if (text_trim(s).len == 0) {
            return;
        }
        while (depth > 1 && x->stack[depth].role == INLINE) {
            depth--;
        }
        for (size_t d = depth; d > 0; d--) { /* within a paragraph everything is its text */
            if (holds_text(x->stack[d].role)) {
                depth = d;
                break;
            }
        }
        x->block = depth;
    }
    if (x->stack[x->block].role == CODE) {
        buf_str(&x->text, s);
        return;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            x->space = true;
        } else {
            if (x->space && x->text.len > 0) {
                buf_char(&x->text, ' ');
            }
            x->space = false;
            buf_char(&x->text, c);
        }
    }
}

/* ---- elements ---- */

/* Pass one: elements of one name under one parent, one after the other. */
static void look_for_records(struct xml *x, const struct element *el)
{
    struct element *parent = &x->stack[x->depth - 1];
    bool again = strcmp(parent->last, el->name) == 0;
    if (x->depth > 1 && again && el->role == NONE && (x->record == 0 || x->depth < x->record)) {
        x->record = x->depth;
    }
    memcpy(parent->last, el->name, sizeof parent->last);
}

static void put_attributes(struct xml *x, int n, const xmlChar **a)
{
    static const char passed[] =
        " id lang base space href src type class style version schemalocation "
        "idref rid xmlns ref n ";
    for (int i = 0; i < n; i++) {
        char padded[NAME_CAP + 3];
        const char *name = (const char *)a[5 * i];
        struct str value = {(const char *)a[5 * i + 3], (size_t)(a[5 * i + 4] - a[5 * i + 3])};
        if (strlen(name) >= NAME_CAP || value.len > VALUE_MAX || a[5 * i + 1] != NULL) {
            continue;
        }
        (void)snprintf(padded, sizeof padded, " %s ", name);
        if (strcasestr(passed, padded) == NULL) {
            put_pair(x, x->depth, name, value);
        }
    }
}

static void on_start(void *data, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri,
                     int n_ns, const xmlChar **ns, int n, int n_default, const xmlChar **a)
{
    struct xml *x = data;
    (void)prefix, (void)uri, (void)ns, (void)n_default;
    if (xml_push_too_many(n, n_ns)) {
        x->crowded = true;
        xmlStopParser(x->ctxt);
        return;
    }
    if (x->depth == DEPTH_MAX) {
        x->beyond++;
        return;
    }
    struct element *parent = &x->stack[x->depth];
    struct element *el = &x->stack[++x->depth];
    *el = (struct element){.sections = parent->sections};
    size_t len = strlen((const char *)local);
    memcpy(el->name, local, len < NAME_CAP ? len : NAME_CAP - 1);
    el->role = role_of(el->name);
    el->sections += el->role == SECTION ? 1 : 0;
    parent->parent = true;
    if (x->e == NULL) {
        look_for_records(x, el);
        return;
    }
    xml_info_start(&x->info, x->depth, el->name, n, a);
    if (x->skip > 0) {
        return;
    }
    if (el->role == SKIP) {
        x->skip = x->depth;
        return;
    }
    /* what is no block and stands in a text is part of it */
    bool within = x->block > 0 && (el->role == INLINE || el->role == NONE);
    if (el->role != INLINE && !within) {
        finish_block(x);
    }
    if (x->depth == x->record && !within) {
        flush_pairs(x); /* what stood before it is no part of it */
    }
    if (el->role == ROW) {
        flush_pairs(x);
        buf_reset(&x->row);
        x->cells = 0;
    } else if (el->role == CELL) {
        buf_z(&x->row, x->cells++ > 0 ? " | " : "");
    } else if (el->role == NONE && !within) {
        put_attributes(x, n, a);
    }
    x->space = x->space || (within && el->role == NONE);
}

static void on_end(void *data, const xmlChar *local, const xmlChar *prefix, const xmlChar *uri)
{
    struct xml *x = data;
    (void)local, (void)prefix, (void)uri;
    if (x->beyond > 0) {
        x->beyond--;
        return;
    }
    if (x->depth == 0) {
        return;
    }
    const struct element *el = &x->stack[x->depth];
    if (x->e != NULL) {
        xml_info_end(&x->info, x->depth, el->name, x->e);
    }
    if (x->e != NULL && x->skip == 0) {
        if (x->block == x->depth) {
            finish_block(x);
        }
        if (el->role == ROW) {
            emit_block(x, EX__BLOCK__KIND__TABLE_ROW, 0, buf_view(&x->row));
            buf_reset(&x->row);
        }
        if (x->depth == x->record || (x->record == 0 && x->depth == 2)) {
            flush_pairs(x);
        }
        x->space = x->space || el->role == NONE;
        if (emit_failed(x->e)) {
            xmlStopParser(x->ctxt);
        }
    }
    x->skip = x->skip == x->depth ? 0 : x->skip;
    x->depth--;
}

static void on_text(void *data, const xmlChar *text, int len)
{
    struct xml *x = data;
    if (x->e != NULL) {
        xml_info_text(&x->info, (struct str){(const char *)text, (size_t)len});
    }
    if (x->e != NULL && x->skip == 0 && x->depth > 0) {
        put_text(x, (struct str){(const char *)text, (size_t)len});
    }
}

/* An entity that nobody declared: HTML's are meant. */
static void on_reference(void *data, const xmlChar *name)
{
    const htmlEntityDesc *known = htmlEntityLookup(name);
    char bytes[8];
    if (known != NULL) {
        struct buf b;
        buf_init(&b, 8);
        utf8_put(&b, known->value);
        memcpy(bytes, b.ptr, b.len);
        on_text(data, (const xmlChar *)bytes, (int)b.len);
        buf_deinit(&b);
    }
}

static xmlParserInputPtr no_entity(void *data, const xmlChar *public_id, const xmlChar *system_id)
{
    (void)data, (void)public_id, (void)system_id;
    return NULL;
}

static void on_error(void *data, const char *text, ...)
{
    (void)data, (void)text;
}

/* Once over the file; false: out of memory. */
static bool parse(struct xml *x)
{
    xmlSAXHandler sax = {.initialized = XML_SAX2_MAGIC,
                         .startElementNs = on_start,
                         .endElementNs = on_end,
                         .characters = on_text,
                         .cdataBlock = on_text,
                         .ignorableWhitespace = on_text,
                         .reference = on_reference,
                         .getEntity = xml_push_entity,
                         .resolveEntity = no_entity,
                         .warning = on_error,
                         .error = on_error};
    struct str s = x->in->data;
    size_t head = s.len < 4 ? s.len : 4; /* which tell the encoding */
    xml_push_quiet();
    x->ctxt = xmlCreatePushParserCtxt(&sax, x, s.ptr, (int)head, NULL);
    if (x->ctxt == NULL) {
        return false;
    }
    (void)xmlCtxtUseOptions(x->ctxt, XML_PARSE_NONET | XML_PARSE_RECOVER | XML_PARSE_NOERROR |
                                         XML_PARSE_NOWARNING);
    struct xml_push push = {.ctxt = x->ctxt};
    x->crowded = !xml_push(&push, (struct str){s.ptr + head, s.len - head}) || x->crowded;
    (void)xmlParseChunk(x->ctxt, NULL, 0, 1);
    bool good = x->ctxt->errNo != XML_ERR_NO_MEMORY;
    if (x->ctxt->myDoc != NULL) {
        xmlFreeDoc(x->ctxt->myDoc);
        x->ctxt->myDoc = NULL;
    }
    xmlFreeParserCtxt(x->ctxt);
    x->ctxt = NULL;
    x->depth = x->beyond = 0;
    return good;
}

enum status xml_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct xml *x = arena_alloc(in->arena, sizeof *x);
    enum status s = STATUS_OK;
    if (x == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *x = (struct xml){.in = in};
    buf_init(&x->text, in->max_bytes);
    buf_init(&x->pairs, in->max_bytes);
    buf_init(&x->row, in->max_bytes);
    xml_info_init(&x->info);
    bool memory = parse(x);
    x->e = e;
    memset(x->stack, 0, sizeof x->stack);
    memory = memory && (x->crowded || parse(x));
    finish_block(x);
    flush_pairs(x);
    if (!memory || x->html != STATUS_OK || buf_status(&x->text) != STATUS_OK ||
        buf_status(&x->pairs) != STATUS_OK || buf_status(&x->row) != STATUS_OK) {
        s = error_set(err, STATUS_TOO_LARGE, "it is too large for the memory allowed");
    } else if (x->crowded) {
        s = error_set(err, STATUS_INVALID,
                      "an element of it has more attributes than any honest one");
    } else if (e->blocks_out == 0 && !emit_failed(e)) {
        s = error_set(err, STATUS_INVALID, "no text was found in it, or it is no sound XML");
    }
    buf_deinit(&x->text);
    buf_deinit(&x->pairs);
    buf_deinit(&x->row);
    xml_info_deinit(&x->info);
    return s;
}
