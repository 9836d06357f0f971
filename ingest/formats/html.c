/* Web pages through libxml2's HTML parser. The page becomes a tree; a first walk counts each
 * element's text, link text and structure (kept in _private), a second one emits the main content:
 * navigation, scripts, asides, forms and hidden parts are left out. Both walks go by parent
 * pointers: nesting costs no stack. */
#include <libxml/HTMLparser.h>
#include <libxml/HTMLtree.h>
#include <libxml/parserInternals.h>
#include <string.h>
#include <strings.h>

#include "ingest/formats/charset.h"
#include "ingest/formats/fields.h"
#include "ingest/formats/html.h"
#include "ingest/formats/html_tags.h"
#include "ingest/utf8.h"

enum role {
    INLINE,
    BLOCK,
    SKIP,
    HEADING,
    ITEM,
    LIST,
    TABLE,
    ROW,
    CELL,
    PRE,
    QUOTE,
    CAPTION,
    BREAK
};

static const struct {
    const char *name;
    enum role role;
} roles[] = {
    {"p", BLOCK},         {"div", BLOCK},        {"section", BLOCK},
    {"article", BLOCK},   {"main", BLOCK},       {"header", BLOCK},
    {"body", BLOCK},      {"html", BLOCK},       {"address", BLOCK},
    {"hr", BLOCK},        {"fieldset", BLOCK},   {"details", BLOCK},
    {"summary", BLOCK},   {"figure", BLOCK},     {"form", BLOCK},
    {"center", BLOCK},    {"hgroup", BLOCK},     {"legend", BLOCK},
    {"thead", BLOCK},     {"tbody", BLOCK},      {"tfoot", BLOCK},
    {"h1", HEADING},      {"h2", HEADING},       {"h3", HEADING},
    {"h4", HEADING},      {"h5", HEADING},       {"h6", HEADING},
    {"li", ITEM},         {"dt", ITEM},          {"dd", ITEM},
    {"ul", LIST},         {"ol", LIST},          {"dl", LIST},
    {"table", TABLE},     {"tr", ROW},           {"td", CELL},
    {"th", CELL},         {"pre", PRE},          {"listing", PRE},
    {"xmp", PRE},         {"blockquote", QUOTE}, {"figcaption", CAPTION},
    {"caption", CAPTION}, {"br", BREAK},         {"script", SKIP},
    {"style", SKIP},      {"noscript", SKIP},    {"template", SKIP},
    {"nav", SKIP},        {"footer", SKIP},      {"aside", SKIP},
    {"svg", SKIP},        {"iframe", SKIP},      {"object", SKIP},
    {"button", SKIP},     {"select", SKIP},      {"textarea", SKIP},
    {"head", SKIP},       {"dialog", SKIP},      {"canvas", SKIP},
    {"audio", SKIP},      {"video", SKIP},       {"rt", SKIP},
    {"rp", SKIP},
};

static enum role role_of(const xmlNode *n)
{
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp((const char *)n->name, roles[i].name) == 0) {
            return roles[i].role;
        }
    }
    return INLINE;
}

/* What the first walk leaves in _private: letters below (31 bits), letters in links (31), and two
 * marks. */
#define COUNT_MAX ((UINT64_C(1) << 31) - 1)
_Static_assert(sizeof(void *) == 8, "the counts live in a pointer");
#define MARK_STRUCTURE UINT64_C(1) /* headings, lists, tables or preformatted text below */
#define MARK_SKIPPED UINT64_C(2)   /* leave it out */

static uint64_t note(const xmlNode *n)
{
    return (uint64_t)(uintptr_t)n->_private;
}

static uint64_t letters(const xmlNode *n)
{
    return note(n) >> 33;
}

static uint64_t link_letters(const xmlNode *n)
{
    return note(n) >> 2 & COUNT_MAX;
}

static void set_note(xmlNode *n, uint64_t text, uint64_t links, uint64_t marks)
{
    text = text > COUNT_MAX ? COUNT_MAX : text;
    links = links > COUNT_MAX ? COUNT_MAX : links;
    n->_private = (void *)(uintptr_t)(text << 33 | links << 2 | marks);
}

static const char *attribute(const xmlNode *n, const char *name)
{
    for (const xmlAttr *a = n->properties; a != NULL; a = a->next) {
        if (strcmp((const char *)a->name, name) == 0) {
            return a->children != NULL && a->children->content != NULL
                       ? (const char *)a->children->content
                       : "";
        }
    }
    return NULL;
}

/* `words` somewhere in the value, without regard to white space in it. */
static bool style_says(const char *style, const char *property, const char *value)
{
    const char *p = style == NULL ? NULL : strcasestr(style, property);
    if (p == NULL) {
        return false;
    }
    p += strlen(property);
    p += strspn(p, " \t:");
    return strncasecmp(p, value, strlen(value)) == 0;
}

static bool is_hidden(const xmlNode *n)
{
    const char *hidden = attribute(n, "hidden");
    const char *aria = attribute(n, "aria-hidden");
    const char *style = attribute(n, "style");
    return (hidden != NULL && strcasecmp(hidden, "until-found") != 0) ||
           (aria != NULL && strcasecmp(aria, "true") == 0 && role_of(n) != INLINE) ||
           style_says(style, "display", "none") || style_says(style, "visibility", "hidden");
}

/* Names that page authors give to what is not the page's subject; believed where most of the text
 * is links. */
static bool named_as_furniture(const xmlNode *n)
{
    static const char *const names[] = {"nav",    "menu",   "sidebar", "footer",  "breadcrumb",
                                        "cookie", "social", "share",   "toolbar", "skip-link"};
    const char *values[2] = {attribute(n, "class"), attribute(n, "id")};
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; values[v] != NULL && i < sizeof names / sizeof names[0]; i++) {
            if (strcasestr(values[v], names[i]) != NULL) {
                return true;
            }
        }
    }
    const char *role = attribute(n, "role");
    return role != NULL && (strcmp(role, "navigation") == 0 || strcmp(role, "contentinfo") == 0 ||
                            strcmp(role, "menu") == 0 || strcmp(role, "search") == 0);
}

static bool is_skipped(const xmlNode *n)
{
    return (note(n) & MARK_SKIPPED) != 0;
}

static uint64_t count_letters(const xmlChar *s)
{
    uint64_t c = 0;
    for (; s != NULL && *s != 0; s++) {
        c += *s > ' ' && (*s & 0xC0) != 0x80;
    }
    return c;
}

/* An aside that is part of the text: a book's footnote, which says so (EPUB 3.3, structural
 * semantics), or a note or warning as manuals have them. */
static bool is_note(const xmlNode *n)
{
    static const char *const names[] = {"note",      "warning",    "caution",
                                        "important", "admonition", "callout"};
    const char *type = attribute(n, "epub:type"), *class = attribute(n, "class");
    const char *role = attribute(n, "role");
    bool says = (type != NULL && strcasestr(type, "note") != NULL) ||
                (role != NULL && strcmp(role, "note") == 0);
    for (size_t i = 0; class != NULL && i < sizeof names / sizeof names[0]; i++) {
        says = says || strcasestr(class, names[i]) != NULL;
    }
    return says && strcmp((const char *)n->name, "aside") == 0;
}

/* An element has been walked: decide on it and tell its parent. */
static void judge(xmlNode *n)
{
    uint64_t text = letters(n), links = link_letters(n), marks = note(n) & MARK_STRUCTURE;
    enum role r = role_of(n);
    if (strcmp((const char *)n->name, "a") == 0) {
        links = text;
    }
    bool furniture = r != INLINE && r != HEADING && strcmp((const char *)n->name, "body") != 0 &&
                     strcmp((const char *)n->name, "html") != 0 && links * 2 > text &&
                     named_as_furniture(n);
    if ((r == SKIP && !is_note(n)) || furniture || is_hidden(n)) {
        set_note(n, text, links, marks | MARK_SKIPPED);
        return;
    }
    set_note(n, text, links, marks);
    bool structure = r == HEADING || r == LIST || r == TABLE || r == PRE || r == QUOTE;
    if (n->parent != NULL && n->parent->type == XML_ELEMENT_NODE) {
        xmlNode *p = n->parent;
        set_note(p, letters(p) + text, link_letters(p) + links,
                 (note(p) & MARK_STRUCTURE) | marks | (structure ? MARK_STRUCTURE : 0));
    }
}

static void count(xmlNode *root)
{
    for (xmlNode *n = root; n != NULL;) {
        if (n->type == XML_TEXT_NODE || n->type == XML_CDATA_SECTION_NODE) {
            xmlNode *p = n->parent;
            if (p != NULL && p->type == XML_ELEMENT_NODE) {
                set_note(p, letters(p) + count_letters(n->content), link_letters(p), note(p) & 3);
            }
        }
        if (n->type == XML_ELEMENT_NODE && n->children != NULL) {
            n = n->children;
            continue;
        }
        for (;;) {
            if (n->type == XML_ELEMENT_NODE) {
                judge(n);
            }
            if (n == root) {
                return;
            }
            if (n->next != NULL) {
                n = n->next;
                break;
            }
            n = n->parent;
        }
    }
}

struct page {
    struct emitter *e;
    struct buf text;
    unsigned pre, items, quotes, captions, rows, cells;
    unsigned names; /* of the row's cells: <th> */
    uint32_t level; /* within a heading */
    bool space;     /* white space is due before the next letter */
};

static void finish_block(struct page *p)
{
    struct str s = buf_view(&p->text);
    while (s.len > 0 && (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == ' ')) {
        s.len--;
    }
    Ex__Block__Kind kind = p->level > 0      ? EX__BLOCK__KIND__HEADING
                           : p->pre > 0      ? EX__BLOCK__KIND__CODE
                           : p->items > 0    ? EX__BLOCK__KIND__LIST_ITEM
                           : p->captions > 0 ? EX__BLOCK__KIND__CAPTION
                           : p->quotes > 0   ? EX__BLOCK__KIND__QUOTE
                                             : EX__BLOCK__KIND__PARAGRAPH;
    emit_text(p->e, kind, p->level, s);
    buf_reset(&p->text);
    p->space = false;
}

static void put_text(struct page *p, const xmlChar *z)
{
    struct str s = str_from((const char *)z);
    if (p->pre > 0 && p->rows == 0) {
        buf_str(&p->text, s);
        return;
    }
    for (size_t i = 0; i < s.len;) {
        size_t n;
        uint32_t c = utf8_next(s.ptr + i, s.ptr + s.len, &n);
        if (c != UTF8_BAD && utf8_is_space(c)) {
            p->space = true;
        } else {
            if (p->space && p->text.len > 0 && p->text.ptr[p->text.len - 1] != '\n') {
                buf_char(&p->text, ' ');
            }
            p->space = false;
            buf_append(&p->text, s.ptr + i, n);
        }
        i += n;
    }
}

/* A row of data, as opposed to a table that only places things: some cells, and no structure
 * within. */
static bool is_data_row(const xmlNode *n)
{
    unsigned cells = 0;
    for (const xmlNode *c = n->children; c != NULL; c = c->next) {
        cells += c->type == XML_ELEMENT_NODE && role_of(c) == CELL;
    }
    return cells > 1 && (note(n) & MARK_STRUCTURE) == 0;
}

static void on_break(struct page *p)
{
    if (p->rows > 0) {
        p->space = true;
    } else if (p->pre == 0 && p->text.len > 0 && p->text.ptr[p->text.len - 1] == '\n') {
        finish_block(p);
    } else if (p->text.len > 0 || p->pre > 0) {
        buf_char(&p->text, '\n');
        p->space = false;
    }
}

static void enter(struct page *p, const xmlNode *n)
{
    enum role r = role_of(n);
    if (r == BREAK) {
        on_break(p);
        return;
    }
    if (r == INLINE) {
        return;
    }
    if (p->rows > 0) { /* within a row everything is a cell's text */
        if (r == CELL && p->rows == 1) {
            buf_z(&p->text, p->cells++ > 0 ? " | " : "");
            p->names += strcmp((const char *)n->name, "th") == 0;
            p->space = false;
        } else {
            p->space = true;
        }
        p->rows += r == ROW;
        return;
    }
    finish_block(p);
    p->pre += r == PRE;
    p->items += r == ITEM;
    p->quotes += r == QUOTE;
    p->captions += r == CAPTION;
    if (r == HEADING) {
        p->level = (uint32_t)(n->name[1] - '0');
    }
    if (r == ROW && is_data_row(n)) {
        p->rows = 1;
        p->cells = p->names = 0;
    }
}

static void leave(struct page *p, const xmlNode *n)
{
    enum role r = role_of(n);
    if (r == INLINE || r == BREAK) {
        return;
    }
    if (p->rows > 0) {
        p->space = true;
        if (r == ROW && --p->rows == 0) {
            emit_text(p->e, EX__BLOCK__KIND__TABLE_ROW,
                      p->cells > 0 && p->names == p->cells ? 1 : 0, buf_view(&p->text));
            buf_reset(&p->text);
            p->space = false;
        }
        return;
    }
    finish_block(p);
    p->pre -= r == PRE;
    p->items -= r == ITEM;
    p->quotes -= r == QUOTE;
    p->captions -= r == CAPTION;
    p->level = r == HEADING ? 0 : p->level;
}

static void walk(struct page *p, const xmlNode *root)
{
    for (const xmlNode *n = root; n != NULL && !emit_failed(p->e);) {
        bool element = n->type == XML_ELEMENT_NODE && (n == root || !is_skipped(n));
        if (n->type == XML_TEXT_NODE || n->type == XML_CDATA_SECTION_NODE) {
            put_text(p, n->content);
        }
        if (element) {
            enter(p, n);
            if (n->children != NULL) {
                n = n->children;
                continue;
            }
            leave(p, n);
        }
        while (n != root && n->next == NULL) {
            n = n->parent;
            leave(p, n);
        }
        n = n == root ? NULL : n->next;
    }
    finish_block(p);
}

struct landmarks {
    const xmlNode *body, *main, *article, *title, *html;
    unsigned articles;
};

static void find_landmarks(const xmlNode *root, struct landmarks *l)
{
    for (const xmlNode *n = root; n != NULL;) {
        if (n->type == XML_ELEMENT_NODE) {
            const char *name = (const char *)n->name;
            const char *role = attribute(n, "role");
            bool is_main = strcmp(name, "main") == 0 || (role != NULL && strcmp(role, "main") == 0);
            bool is_article = strcmp(name, "article") == 0;
            l->articles += is_article;
            l->main = is_main && l->main == NULL && !is_skipped(n) ? n : l->main;
            l->article = is_article && l->article == NULL && !is_skipped(n) ? n : l->article;
            l->body = strcmp(name, "body") == 0 && l->body == NULL ? n : l->body;
            l->title = strcmp(name, "title") == 0 && l->title == NULL ? n : l->title;
            l->html = strcmp(name, "html") == 0 && l->html == NULL ? n : l->html;
            if (n->children != NULL) {
                n = n->children;
                continue;
            }
        }
        while (n != root && n->next == NULL) {
            n = n->parent;
        }
        n = n == root ? NULL : n->next;
    }
}

/* The element that holds what the page is about. */
static const xmlNode *subject(const struct landmarks *l, const xmlNode *root)
{
    const xmlNode *all = l->body != NULL ? l->body : root;
    if (l->main != NULL && letters(l->main) > 150) {
        return l->main;
    }
    if (l->articles == 1 && l->article != NULL && letters(l->article) * 2 > letters(all)) {
        return l->article;
    }
    return all;
}

/* charset=... of a <meta> or an XML declaration, in the first bytes. */
static const char *declared_charset(struct str s, char *out, size_t cap)
{
    size_t n = s.len < 4096 ? s.len : 4096;
    for (size_t i = 0; i + 9 < n; i++) {
        size_t skip = strncasecmp(s.ptr + i, "charset=", 8) == 0    ? 8
                      : strncasecmp(s.ptr + i, "encoding=", 9) == 0 ? 9
                                                                    : 0;
        if (skip == 0) {
            continue;
        }
        size_t len = 0;
        for (size_t k = i + skip; k < n && len + 1 < cap; k++) {
            char c = s.ptr[k];
            bool quote = c == '"' || c == '\'';
            if (quote && len == 0) {
                continue;
            }
            if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  strchr("-_:.+", c) != NULL) ||
                c == '\0') {
                break;
            }
            out[len++] = c;
        }
        out[len] = '\0';
        return len > 0 ? out : NULL;
    }
    return NULL;
}

/* <meta name= or property= or itemprop= or http-equiv= content=>, of the head. */
static void emit_meta(const xmlNode *html, struct emitter *e)
{
    static const char *const names[] = {"name", "property", "itemprop", "http-equiv"};
    const xmlNode *head = html == NULL ? NULL : html->children;
    while (head != NULL && strcmp((const char *)head->name, "head") != 0) {
        head = head->next;
    }
    for (const xmlNode *n = head == NULL ? NULL : head->children; n != NULL; n = n->next) {
        const char *content =
            n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, "meta") == 0
                ? attribute(n, "content")
                : NULL;
        for (size_t i = 0; content != NULL && i < sizeof names / sizeof names[0]; i++) {
            const char *name = attribute(n, names[i]);
            if (name != NULL) {
                emit_field(e, str_from(name), str_from(content));
            }
        }
    }
}

static enum status emit_page(htmlDocPtr doc, struct emitter *e, uint64_t max_bytes,
                             struct error *err)
{
    xmlNode *root = xmlDocGetRootElement(doc);
    struct landmarks l = {0};
    struct page p = {.e = e};
    if (root == NULL) {
        return error_set(err, STATUS_INVALID, "no text was found in it");
    }
    buf_init(&p.text, max_bytes);
    count(root);
    find_landmarks(root, &l);
    const char *language = l.html != NULL ? attribute(l.html, "lang") : NULL;
    const char *title = l.title != NULL && l.title->children != NULL
                            ? (const char *)l.title->children->content
                            : NULL;
    emit_meta(l.html, e);
    emit_document(e, "html", str_from(title), str_from(language), 0);
    const xmlNode *top = subject(&l, root);
    walk(&p, top);
    if (e->blocks_out == 0 && l.body != NULL && top != l.body) {
        walk(&p, l.body);
    }
    enum status s = buf_status(&p.text);
    if (s != STATUS_OK) {
        s = error_set(err, STATUS_TOO_LARGE, "the page is too large for the memory allowed");
    }
    buf_deinit(&p.text);
    return s;
}

/* NULL: out of memory. */
static htmlDocPtr parse_page(struct str utf8)
{
    htmlParserCtxtPtr ctxt = htmlCreateMemoryParserCtxt(utf8.ptr, (int)utf8.len);
    if (ctxt == NULL) {
        return NULL;
    }
    (void)htmlCtxtUseOptions(ctxt, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
                                       HTML_PARSE_NONET | HTML_PARSE_COMPACT |
                                       HTML_PARSE_IGNORE_ENC);
    /* or nesting beyond 256 ends the page: the parser keeps its own stack, and so do the walks here
     */
    ctxt->options |= XML_PARSE_HUGE;
    (void)xmlSwitchEncoding(ctxt, XML_CHAR_ENCODING_UTF8);
    (void)htmlParseDocument(ctxt);
    htmlDocPtr doc = ctxt->myDoc;
    ctxt->myDoc = NULL;
    if (ctxt->errNo == XML_ERR_NO_MEMORY && doc != NULL) {
        xmlFreeDoc(doc);
        doc = NULL;
    }
    htmlFreeParserCtxt(ctxt);
    return doc;
}

/* The page as a tree; *out NULL: it is empty. */
static enum status open_page(struct str data, uint64_t max_bytes, htmlDocPtr *out,
                             struct error *err)
{
    char name[64], declared[64];
    size_t bom;
    const char *charset = charset_guess(data, declared_charset(data, declared, sizeof declared),
                                        name, sizeof name, &bom);
    struct buf decoded, clean;
    *out = NULL;
    buf_init(&decoded, max_bytes);
    buf_init(&clean, max_bytes);
    enum status s =
        charset_decode((struct str){data.ptr + bom, data.len - bom}, charset, &decoded, err);
    if (s == STATUS_OK) {
        utf8_clean(&clean, buf_view(&decoded));
    }
    buf_deinit(&decoded);
    bool large = buf_status(&clean) != STATUS_OK || clean.len > INT32_MAX;
    if (s == STATUS_OK && !large && clean.len > 0) {
        html_shorten_tags(&clean);
        *out = parse_page(buf_view(&clean));
        large = *out == NULL;
    }
    buf_deinit(&clean);
    return s == STATUS_OK && large
               ? error_set(err, STATUS_TOO_LARGE, "the page is too large for the memory allowed")
               : s;
}

enum status html_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    htmlDocPtr doc = NULL;
    enum status s = open_page(in->data, in->max_bytes, &doc, err);
    if (s == STATUS_OK) {
        s = doc == NULL ? error_set(err, STATUS_INVALID, "no text was found in it")
                        : emit_page(doc, e, in->max_bytes, err);
    }
    if (doc != NULL) {
        xmlFreeDoc(doc);
    }
    return s;
}

enum status html_chapter(struct str page, uint64_t max_bytes, struct emitter *e, struct error *err)
{
    htmlDocPtr doc = NULL;
    struct page p = {.e = e};
    struct landmarks l = {0};
    enum status s = open_page(page, max_bytes, &doc, err);
    xmlNode *root = doc == NULL ? NULL : xmlDocGetRootElement(doc);
    buf_init(&p.text, max_bytes);
    if (s == STATUS_OK && root != NULL) {
        count(root);
        find_landmarks(root, &l);
        walk(&p, l.body != NULL ? l.body : root);
    }
    if (s == STATUS_OK && buf_status(&p.text) != STATUS_OK) {
        s = error_set(err, STATUS_TOO_LARGE, "a chapter is too large for the memory allowed");
    }
    buf_deinit(&p.text);
    if (doc != NULL) {
        xmlFreeDoc(doc);
    }
    return s;
}
