#include "ingest/formats/bbox.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdlib.h>

#include "base/buf.h"
#include "ingest/formats/bidi.h"
#include "ingest/formats/xml_push.h"
#include "ingest/utf8.h"

/* parts of the smaller word's height: less is no blank */
#define TOUCHING 0.02F
#define TOUCHING_INDEX 0.08F
#define LINE_MAX_BYTES (1024 * 1024)
#define PAGES_MAX 100000
#define DEPTH_MAX 64

struct bbox_parser {
    struct arena *arena;
    struct bbox_document *out;
    xmlParserCtxtPtr ctxt;
    struct error err;
    unsigned depth;
    char tail[4];     /* a character cut by the border of a piece */
    struct bbox word; /* the last one of the line */
    uint32_t word_start;
    bool rtl; /* in it something runs from the right */
    size_t n_tail;
    struct buf clean;
    struct buf text; /* of the line or the title */
    struct buf logical;
    struct buf words; /* struct bbox_word, of the line */
    bool in_word, in_title;
    struct bbox_page *page, **next_page;
    struct bbox_block *block, **next_block;
    struct bbox_line *line, **next_line;
};

static void fail(struct bbox_parser *p, enum status code, const char *text)
{
    if (p->err.code == STATUS_OK) {
        error_set(&p->err, code, "%s", text);
    }
    xmlStopParser(p->ctxt);
}

static bool is(const xmlChar *name, const char *what)
{
    return strcmp((const char *)name, what) == 0;
}

static float number(int n, const xmlChar **a, const char *name)
{
    for (int i = 0; i < n; i++) {
        size_t len = (size_t)(a[5 * i + 4] - a[5 * i + 3]);
        char value[40];
        if (is(a[5 * i], name) && len < sizeof value) {
            memcpy(value, a[5 * i + 3], len);
            value[len] = '\0';
            float v = strtof(value, NULL);
            return v > -1e6F && v < 1e6F ? v : 0; /* false for NaN too */
        }
    }
    return 0;
}

static struct bbox box_of(int n, const xmlChar **a)
{
    return (struct bbox){number(n, a, "xMin"), number(n, a, "yMin"), number(n, a, "xMax"),
                         number(n, a, "yMax")};
}

/* Of other size, as an index is, or other font, and close behind: no blank stands between. Where
 * script runs from the right the boxes do not tell. */
static bool touches(const struct bbox_parser *p, const struct bbox *b)
{
    float one = p->word.y1 - p->word.y0;
    float two = b->y1 - b->y0;
    float small = one < two ? one : two;
    float large = one < two ? two : one;
    float near = small < 0.9F * large ? TOUCHING_INDEX : TOUCHING;
    bool beside = b->y0 < p->word.y1 && b->y1 > p->word.y0; /* not so where the text is turned */
    float gap = b->x0 - p->word.x1;
    return !p->rtl && beside && gap < near * small && gap > -small / 2;
}

static void on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int n_ns, const xmlChar **ns, int n, int n_defaulted, const xmlChar **a)
{
    struct bbox_parser *p = ((xmlParserCtxtPtr)ctx)->_private;
    (void)prefix, (void)uri, (void)n_ns, (void)ns, (void)n_defaulted;
    void *got = p;
    if (++p->depth > DEPTH_MAX) {
        fail(p, STATUS_INVALID, "the PDF reader's output is nested too deeply");
    } else if (is(name, "word") && p->line != NULL) {
        struct bbox b = box_of(n, a);
        p->line->size = b.y1 - b.y0 > p->line->size ? b.y1 - b.y0 : p->line->size;
        if (p->text.len > 0 && p->text.ptr[p->text.len - 1] != ' ' && !touches(p, &b)) {
            buf_char(&p->text, ' ');
        }
        p->word = b;
        p->in_word = true;
        p->word_start = (uint32_t)p->text.len;
    } else if (is(name, "line") && p->block != NULL) {
        got = p->line = arena_alloc(p->arena, sizeof *p->line);
        if (p->line != NULL) {
            p->line->box = box_of(n, a);
            p->rtl = false;
            buf_reset(&p->text);
            buf_reset(&p->words);
        }
    } else if (is(name, "block") && p->page != NULL) {
        got = p->block = arena_alloc(p->arena, sizeof *p->block);
        if (p->block != NULL) {
            p->block->box = box_of(n, a);
            *p->next_block = p->block;
            p->next_block = &p->block->next;
            p->next_line = &p->block->lines;
        }
    } else if (is(name, "page")) {
        got = p->page = arena_alloc(p->arena, sizeof *p->page);
        if (++p->out->n_pages > PAGES_MAX) {
            fail(p, STATUS_TOO_LARGE, "the PDF has more than 100000 pages");
        } else if (p->page != NULL) {
            p->page->width = number(n, a, "width");
            p->page->height = number(n, a, "height");
            *p->next_page = p->page;
            p->next_page = &p->page->next;
            p->next_block = &p->page->blocks;
            p->block = NULL;
        }
    } else if (is(name, "title")) {
        p->in_title = true;
        buf_reset(&p->text);
    }
    if (got == NULL) {
        fail(p, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
}

static struct str keep_text(struct bbox_parser *p)
{
    buf_reset(&p->logical);
    if (p->line != NULL) { /* its words stand as on the page; a title is as its author wrote it */
        bidi_to_logical(buf_view(&p->text), &p->logical);
    } else {
        buf_str(&p->logical, buf_view(&p->text));
    }
    char *z = arena_strndup(p->arena, buf_view(&p->logical).ptr, p->logical.len);
    if (z == NULL || buf_status(&p->text) != STATUS_OK || buf_status(&p->logical) != STATUS_OK) {
        fail(p, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
        return STR("");
    }
    return (struct str){z, p->logical.len};
}

static void keep_word(struct bbox_parser *p)
{
    struct bbox_word w = {p->word, p->word_start, (uint32_t)p->text.len};
    if (w.end > w.start) {
        buf_append(&p->words, (const char *)&w, sizeof w);
    }
}

/* Four letters that are higher than wide run up or down. */
static bool is_turned(const struct bbox_line *l)
{
    return l->letters > 3 && l->box.y1 - l->box.y0 > 1.5F * (l->box.x1 - l->box.x0);
}

static void keep_line(struct bbox_parser *p)
{
    struct bbox_line *l = p->line;
    while (p->text.len > 0 && p->text.ptr[p->text.len - 1] == ' ') {
        p->text.len--;
    }
    l->text = keep_text(p);
    l->letters = (uint32_t)utf8_count(l->text);
    l->turned = is_turned(l);
    if (l->turned) {
        l->size = l->box.x1 - l->box.x0;
    }
    bool as_read = str_eq(l->text, buf_view(&p->text));
    size_t n = p->words.len / sizeof *l->words;
    if (as_read && !l->turned && n > 0 && buf_status(&p->words) == STATUS_OK) {
        l->words = arena_array(p->arena, n, sizeof *l->words);
        if (l->words == NULL) {
            fail(p, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
            return;
        }
        memcpy(l->words, p->words.ptr, n * sizeof *l->words);
        while (n > 0 && l->words[n - 1].start >= l->text.len) {
            n--; /* blanks at the end */
        }
        l->n_words = (uint32_t)n;
        if (n > 0 && l->words[n - 1].end > l->text.len) {
            l->words[n - 1].end = (uint32_t)l->text.len;
        }
    }
    if (l->text.len > 0) {
        *p->next_line = l;
        p->next_line = &l->next;
    }
}

static void on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    struct bbox_parser *p = ((xmlParserCtxtPtr)ctx)->_private;
    (void)prefix, (void)uri;
    p->depth -= p->depth > 0;
    if (is(name, "word")) {
        if (p->in_word && p->line != NULL) {
            keep_word(p);
        }
        p->in_word = false;
    } else if (is(name, "line") && p->line != NULL) {
        keep_line(p);
        p->line = NULL;
    } else if (is(name, "block")) {
        p->block = NULL;
    } else if (is(name, "page")) {
        p->page = NULL;
    } else if (is(name, "title") && p->in_title) {
        p->in_title = false;
        p->out->title = keep_text(p);
    }
}

static void on_characters(void *ctx, const xmlChar *s, int len)
{
    struct bbox_parser *p = ((xmlParserCtxtPtr)ctx)->_private;
    if ((p->in_word && p->line != NULL) || p->in_title) {
        for (int i = 0; i < len; i++) { /* one space, and none at the beginning */
            /* Hebrew, Arabic and their like, and the shapes that Arabic letters take */
            p->rtl = p->rtl || (s[i] >= 0xD6 && s[i] <= 0xDF) ||
                     (s[i] == 0xEF && i + 1 < len && s[i + 1] >= 0xAD && s[i + 1] <= 0xBB);
            bool blank = s[i] == ' ' && (p->text.len == 0 || p->text.ptr[p->text.len - 1] == ' ');
            if (!blank || p->in_title) {
                buf_char(&p->text, (char)s[i]);
            }
        }
    }
}

struct bbox_parser *bbox_parser_new(struct arena *a, struct bbox_document *out)
{
    struct bbox_parser *p = calloc(1, sizeof *p);
    xmlSAXHandler sax;
    memset(&sax, 0, sizeof sax);
    sax.initialized = XML_SAX2_MAGIC;
    sax.startElementNs = on_start;
    sax.endElementNs = on_end;
    sax.characters = on_characters;
    sax.ignorableWhitespace = on_characters;
    sax.getEntity = xml_push_entity;
    sax.serror = xml_push_error;
    if (p == NULL) {
        return NULL;
    }
    p->ctxt = xmlCreatePushParserCtxt(&sax, NULL, NULL, 0, NULL);
    if (p->ctxt == NULL) {
        free(p);
        return NULL;
    }
    p->ctxt->_private = p;
    (void)xmlCtxtUseOptions(p->ctxt, XML_PARSE_NONET | XML_PARSE_RECOVER);
    p->arena = a;
    p->out = out;
    *out = (struct bbox_document){.title = STR("")};
    p->next_page = &out->pages;
    buf_init(&p->text, LINE_MAX_BYTES);
    buf_init(&p->words, LINE_MAX_BYTES);
    buf_init(&p->logical, 2 * LINE_MAX_BYTES);
    buf_init(&p->clean, 4 * 1024 * 1024);
    return p;
}

void bbox_parser_free(struct bbox_parser *p)
{
    if (p == NULL) {
        return;
    }
    if (p->ctxt->myDoc != NULL) {
        xmlFreeDoc(p->ctxt->myDoc);
    }
    xmlFreeParserCtxt(p->ctxt);
    buf_deinit(&p->text);
    buf_deinit(&p->words);
    buf_deinit(&p->logical);
    buf_deinit(&p->clean);
    free(p);
}

/* How many bytes at the end begin a character that is not all there. */
static size_t cut_character(struct str s)
{
    for (size_t back = 1; back <= 3 && back <= s.len; back++) {
        unsigned char c = (unsigned char)s.ptr[s.len - back];
        if (c >= 0xC0) {
            size_t need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
            return need > back ? back : 0;
        }
        if (c < 0x80) {
            return 0;
        }
    }
    return 0;
}

static enum status parse(struct bbox_parser *p, bool last, struct error *err)
{
    if (buf_status(&p->clean) != STATUS_OK) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)xmlParseChunk(p->ctxt, buf_view(&p->clean).ptr, (int)p->clean.len, last ? 1 : 0);
    if (p->err.code != STATUS_OK && err != NULL) {
        *err = p->err;
    }
    return p->err.code;
}

/* Letters that a font draws as one (U+FB00 to FB06) are letters. In place: none becomes longer. */
static void open_ligatures(struct buf *b)
{
    static const char *const letters[] = {"ff", "fi", "fl", "ffi", "ffl", "st", "st"};
    size_t to = 0;
    for (size_t i = 0; i < b->len; i++) {
        const unsigned char *p = (const unsigned char *)b->ptr + i;
        if (b->len - i >= 3 && p[0] == 0xEF && p[1] == 0xAC && p[2] >= 0x80 && p[2] <= 0x86) {
            const char *z = letters[p[2] - 0x80];
            size_t n = strlen(z);
            memcpy(b->ptr + to, z, n);
            to += n;
            i += 2;
        } else {
            b->ptr[to++] = b->ptr[i];
        }
    }
    b->len = to;
}

/* A font may have its space at a place that has no character: the words stay words. */
static void controls_to_spaces(struct buf *b)
{
    for (size_t i = 0; i < b->len; i++) {
        unsigned char c = (unsigned char)b->ptr[i];
        b->ptr[i] = c < ' ' && c != '\t' && c != '\n' && c != '\r' ? ' ' : b->ptr[i];
    }
}

enum status bbox_feed(struct bbox_parser *p, struct str piece, struct error *err)
{
    while (piece.len > 0) {
        struct str part = {piece.ptr, piece.len < 65536 ? piece.len : 65536};
        struct buf joined;
        buf_init(&joined, part.len + sizeof p->tail + 1);
        buf_append(&joined, p->tail, p->n_tail);
        buf_str(&joined, part);
        controls_to_spaces(&joined);
        open_ligatures(&joined);
        struct str s = buf_view(&joined);
        p->n_tail = cut_character(s);
        s.len -= p->n_tail;
        memcpy(p->tail, s.ptr + s.len, p->n_tail);
        buf_reset(&p->clean);
        utf8_clean(&p->clean, s); /* what XML does not allow goes, or the parser would stop */
        enum status st = buf_status(&joined) == STATUS_OK ? parse(p, false, err) : STATUS_NO_MEMORY;
        buf_deinit(&joined);
        if (st != STATUS_OK) {
            return st;
        }
        piece.ptr += part.len;
        piece.len -= part.len;
    }
    return STATUS_OK;
}

enum status bbox_end(struct bbox_parser *p, struct error *err)
{
    buf_reset(&p->clean);
    return parse(p, true, err);
}
