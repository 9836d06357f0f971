/* RTF (Microsoft's specification 1.9.1): groups, control words, bytes in the code page of their
 * font. Groups are a stack of small states with a bound, so that nesting costs no recursion. What a
 * reader of the page does not see (fonts, colours, pictures, fields' instructions, hidden and
 * deleted text) is passed over; destinations that are not known and say that they may be ("\*")
 * too. Headings are paragraphs of a style named so, or with an outline level. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "ingest/formats/charset.h"
#include "ingest/formats/dates.h"
#include "ingest/formats/source.h"
#include "ingest/utf8.h"

#define DEPTH_MAX 20000
#define FONTS_MAX 1024
#define STYLES_MAX 1024
#define NUMBER_MAX 1000000000L

enum destination {
    BODY,
    SKIP,
    FONTS,
    STYLES,
    LINK,
    NOTE,
    FURNITURE,
    TITLE, /* from here on: what \info says */
    AUTHOR,
    KEYWORDS,
    CREATED,
    REVISED
};

struct state {
    uint8_t to; /* enum destination */
    uint8_t uc; /* what stands for a character that is not known, behind \u */
    uint8_t hidden;
    uint8_t list; /* within \listtext or \pntext: the mark of a list's item */
    uint16_t codepage;
};

struct target { /* a paragraph that is being read */
    struct buf text;
    size_t from; /* of `text`: what belongs to it */
};

struct rtf {
    const struct extract_input *in;
    struct emitter *e;
    const char *p, *end;
    struct state *stack;
    size_t depth;
    struct state now;
    bool star;        /* behind "\*" */
    unsigned skip;    /* characters to leave out, behind \u */
    uint32_t high;    /* the first half of a pair */
    struct buf bytes; /* not decoded yet, of `bytes_page` */
    uint16_t bytes_page;
    uint16_t codepage; /* of the document */
    uint16_t fonts[FONTS_MAX];
    uint8_t levels[STYLES_MAX]; /* of a style: 1..6, 0: no heading */
    long font, style;           /* in the tables: whose entry is being read */
    struct buf name;            /* of that style, or what \info says */
    int64_t time[5];            /* of \creatim and \revtim: year to minute */
    struct buf title;
    struct buf link; /* where the field that is open leads, */
    size_t field;    /* and how deep it is; 0: none */
    struct target body, note, furniture;
    struct buf row;
    unsigned cells;
    bool in_table, item;
    uint32_t level;
};

/* ---- text ---- */

static struct buf *place(struct rtf *r)
{
    if (r->now.hidden != 0 || (r->now.list != 0 && r->now.to != SKIP)) {
        return NULL;
    }
    switch ((enum destination)r->now.to) {
    case BODY:
        return &r->body.text;
    case NOTE:
        return &r->note.text;
    case FURNITURE:
        return &r->furniture.text;
    case STYLES:
    case TITLE:
    case AUTHOR:
    case KEYWORDS:
    case LINK:
        return &r->name;
    case FONTS:
    case SKIP:
    case CREATED:
    case REVISED:
        break;
    }
    return NULL;
}

static void decode_pending(struct rtf *r)
{
    struct buf *to = place(r);
    if (r->bytes.len > 0 && to != NULL) {
        char name[24];
        (void)snprintf(name, sizeof name, r->bytes_page == 10000 ? "MACINTOSH" : "CP%u",
                       r->bytes_page);
        struct error ignored;
        if (charset_decode(buf_view(&r->bytes), name, to, &ignored) != STATUS_OK) {
            (void)!charset_decode(buf_view(&r->bytes), "CP1252", to, &ignored);
        }
    }
    buf_reset(&r->bytes);
}

static void put_byte(struct rtf *r, char c)
{
    if (r->skip > 0) {
        r->skip--;
        return;
    }
    if (r->bytes.len > 0 && r->bytes_page != r->now.codepage) {
        decode_pending(r);
    }
    r->bytes_page = r->now.codepage;
    if (place(r) != NULL) {
        buf_char(&r->bytes, c);
    }
}

static void put_char(struct rtf *r, uint32_t c)
{
    decode_pending(r);
    struct buf *to = place(r);
    if (to != NULL) {
        utf8_put(to, c);
    }
}

/* ---- blocks ---- */

static void begin_document(struct rtf *r)
{
    emit_document(r->e, "rtf", buf_view(&r->title), STR(""), 0);
}

static void emit_target(struct rtf *r, struct target *t, Ex__Block__Kind kind, uint32_t level)
{
    struct str s = text_trim(buf_view(&t->text));
    if (s.len > 0) {
        begin_document(r);
        emit_text(r->e, kind, level, s);
    }
    buf_reset(&t->text);
}

static void emit_row(struct rtf *r)
{
    if (r->row.len > 0) {
        begin_document(r);
        emit_text(r->e, EX__BLOCK__KIND__TABLE_ROW, 0, buf_view(&r->row));
    }
    buf_reset(&r->row);
    r->cells = 0;
}

static void end_paragraph(struct rtf *r)
{
    decode_pending(r);
    if (r->now.to == NOTE || r->now.to == FURNITURE) {
        struct buf *to = place(r);
        if (to != NULL && to->len > 0) {
            buf_char(to, '\n');
        }
        return;
    }
    if (r->now.to != BODY) {
        return;
    }
    if (r->in_table) { /* a cell of several paragraphs */
        buf_char(&r->body.text, ' ');
        return;
    }
    emit_row(r);
    emit_target(r, &r->body,
                r->level > 0 ? EX__BLOCK__KIND__HEADING
                : r->item    ? EX__BLOCK__KIND__LIST_ITEM
                             : EX__BLOCK__KIND__PARAGRAPH,
                r->level);
    emit_target(r, &r->note, EX__BLOCK__KIND__NOTE, 0);
}

static void end_cell(struct rtf *r)
{
    decode_pending(r);
    if (r->now.to != BODY) {
        return;
    }
    buf_z(&r->row, r->cells++ > 0 ? " | " : "");
    text_squeeze(&r->row, text_trim(buf_view(&r->body.text)), false);
    buf_reset(&r->body.text);
}

/* ---- tables of fonts and styles ---- */

static uint16_t page_of_charset(long charset)
{
    static const struct {
        uint16_t charset, page;
    } known[] = {{77, 10000}, {128, 932},  {129, 949},  {130, 1361}, {134, 936},  {136, 950},
                 {161, 1253}, {162, 1254}, {163, 1258}, {177, 1255}, {178, 1256}, {186, 1257},
                 {204, 1251}, {222, 874},  {238, 1250}, {254, 437},  {255, 850}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].charset == charset) {
            return known[i].page;
        }
    }
    return 0; /* the document's */
}

/* "heading 2" and what other languages' Word calls it; "Title". */
static uint32_t level_of_name(struct str name)
{
    static const char *const headings[] = {"heading ", "\u00FCberschrift ", "\u00DCberschrift ",
                                           "titre ",   "t\u00EDtulo ",      "titolo ",
                                           "kop ",     "overskrift ",       "rubrik "};
    name = text_trim(name);
    for (size_t i = 0; i < sizeof headings / sizeof headings[0]; i++) {
        size_t n = strlen(headings[i]);
        if (name.len > n && strncasecmp(name.ptr, headings[i], n) == 0 && name.ptr[n] >= '1' &&
            name.ptr[n] <= '9') {
            uint32_t level = (uint32_t)(name.ptr[n] - '0');
            return level < 6 ? level : 6;
        }
    }
    return name.len == 5 && strncasecmp(name.ptr, "title", 5) == 0 ? 1 : 0;
}

/* The entry of a table ends: at its ';', or with its group. */
static void end_entry(struct rtf *r)
{
    decode_pending(r);
    if (r->now.to == STYLES && r->style >= 0 && r->style < STYLES_MAX && r->name.len > 0) {
        uint32_t level = level_of_name(buf_view(&r->name));
        if (level > 0) {
            r->levels[r->style] = (uint8_t)level;
        }
    }
    if (r->now.to == STYLES) {
        buf_reset(&r->name);
        r->style = -1;
    }
}

/* ---- control words ---- */

static void set_paragraph(struct rtf *r, const char *word, bool has, long n)
{
    if (strcmp(word, "pard") == 0) {
        r->in_table = r->item = false;
        r->level = 0;
    } else if (strcmp(word, "intbl") == 0) {
        r->in_table = true;
    } else if (strcmp(word, "ilvl") == 0 || strcmp(word, "ls") == 0 ||
               strcmp(word, "pnlvlblt") == 0) {
        r->item = true;
    } else if (strcmp(word, "outlinelevel") == 0 && has && n >= 0 && n < 9) {
        if (r->now.to == STYLES && r->style >= 0 && r->style < STYLES_MAX) {
            r->levels[r->style] = (uint8_t)(n < 6 ? n + 1 : 6);
        } else {
            r->level = (uint32_t)(n < 6 ? n + 1 : 6);
        }
    } else if (strcmp(word, "s") == 0 && has) {
        if (r->now.to == STYLES) {
            r->style = n;
        } else if (n >= 0 && n < STYLES_MAX) {
            r->level = r->levels[n];
        }
    }
}

static void set_font(struct rtf *r, const char *word, bool has, long n)
{
    bool sound = has && n >= 0 && n < FONTS_MAX;
    if (strcmp(word, "f") == 0 && sound) {
        r->font = n;
        if (r->now.to != FONTS) {
            r->now.codepage = r->fonts[n] != 0 ? r->fonts[n] : r->codepage;
        }
    } else if (strcmp(word, "fcharset") == 0 && r->now.to == FONTS && has && r->font >= 0) {
        r->fonts[r->font] = page_of_charset(n);
    } else if (strcmp(word, "plain") == 0) {
        r->now.hidden = 0;
        r->now.codepage = r->codepage;
    } else if (strcmp(word, "v") == 0 || strcmp(word, "deleted") == 0) {
        r->now.hidden = !has || n != 0;
    } else if (strcmp(word, "ansicpg") == 0 && has && n > 0 && n < 65536) {
        r->codepage = r->now.codepage = (uint16_t)(n == 65001 ? 65001 : n);
    } else if (strcmp(word, "mac") == 0) {
        r->codepage = r->now.codepage = 10000;
    } else if (strcmp(word, "pc") == 0) {
        r->codepage = r->now.codepage = 437;
    } else if (strcmp(word, "pca") == 0) {
        r->codepage = r->now.codepage = 850;
    } else if (strcmp(word, "uc") == 0 && has && n >= 0 && n < 256) {
        r->now.uc = (uint8_t)n;
    }
}

static void put_unicode(struct rtf *r, long n)
{
    uint32_t c = (uint32_t)(n < 0 ? n + 65536 : n) & 0x1FFFFF;
    if (c >= 0xD800 && c < 0xDC00) {
        r->high = c;
    } else {
        if (c >= 0xDC00 && c < 0xE000) {
            c = r->high != 0 ? 0x10000 + ((r->high - 0xD800) << 10) + (c - 0xDC00) : 0xFFFD;
        }
        r->high = 0;
        put_char(r, c);
    }
    r->skip = r->now.uc;
}

static bool set_destination(struct rtf *r, const char *word)
{
    static const struct {
        const char *word;
        enum destination to;
    } known[] = {{"fonttbl", FONTS},     {"stylesheet", STYLES}, {"title", TITLE},
                 {"footnote", NOTE},     {"annotation", NOTE},   {"header", FURNITURE},
                 {"headerl", FURNITURE}, {"headerr", FURNITURE}, {"headerf", FURNITURE},
                 {"footer", FURNITURE},  {"footerl", FURNITURE}, {"footerr", FURNITURE},
                 {"footerf", FURNITURE}, {"colortbl", SKIP},     {"info", SKIP},
                 {"pict", SKIP},         {"objdata", SKIP},      {"fldinst", LINK},
                 {"nonshppict", SKIP},   {"datafield", SKIP},    {"filetbl", SKIP},
                 {"revtbl", SKIP},       {"listtable", SKIP},    {"listoverridetable", SKIP},
                 {"themedata", SKIP},    {"datastore", SKIP},    {"bkmkstart", SKIP},
                 {"bkmkend", SKIP},      {"xe", SKIP},           {"tc", SKIP},
                 {"rxe", SKIP},          {"nonesttables", SKIP}, {"atnid", SKIP},
                 {"atnauthor", SKIP},    {"private", SKIP},      {"template", SKIP},
                 {"generator", SKIP},    {"latentstyles", SKIP}, {"xmlnstbl", SKIP},
                 {"mmathPr", SKIP},      {"pnseclvl", SKIP},     {"sp", SKIP},
                 {"author", AUTHOR},     {"keywords", KEYWORDS}, {"subject", KEYWORDS},
                 {"creatim", CREATED},   {"revtim", REVISED}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(word, known[i].word) != 0) {
            continue;
        }
        /* what lies in a thing that is passed over stays so, but for what \info says */
        if (r->now.to != SKIP || known[i].to >= TITLE) {
            memset(r->time, 0, sizeof r->time);
            r->now.to = (uint8_t)known[i].to;
            r->font = r->style = -1;
        }
        return true;
    }
    if (strcmp(word, "listtext") == 0 || strcmp(word, "pntext") == 0) {
        r->now.list = 1;
        r->item = true;
        return true;
    }
    if (strcmp(word, "field") == 0) {
        r->field = r->field == 0 ? r->depth : r->field;
        return true;
    }
    return strcmp(word, "shppict") == 0 || strcmp(word, "shptxt") == 0 || strcmp(word, "ud") == 0 ||
           strcmp(word, "pn") == 0 || strcmp(word, "nesttableprops") == 0;
}

static bool put_symbol(struct rtf *r, const char *word)
{
    static const struct {
        const char *word;
        uint32_t c;
    } known[] = {{"tab", '\t'},         {"emdash", 0x2014}, {"endash", 0x2013},
                 {"lquote", 0x2018},    {"rquote", 0x2019}, {"ldblquote", 0x201C},
                 {"rdblquote", 0x201D}, {"bullet", 0x2022}, {"emspace", ' '},
                 {"enspace", ' '},      {"line", '\n'},     {"lbr", '\n'},
                 {"softline", '\n'},    {"zwnj", 0x200C},   {"zwj", 0x200D}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(word, known[i].word) == 0) {
            put_char(r, known[i].c);
            return true;
        }
    }
    return false;
}

static bool end_something(struct rtf *r, const char *word)
{
    if (strcmp(word, "par") == 0 || strcmp(word, "sect") == 0 || strcmp(word, "page") == 0) {
        end_paragraph(r);
    } else if (strcmp(word, "cell") == 0 || strcmp(word, "nestcell") == 0) {
        end_cell(r);
    } else if (strcmp(word, "row") == 0 || strcmp(word, "nestrow") == 0) {
        if (r->now.to == BODY) {
            emit_row(r);
        }
    } else {
        return false;
    }
    return true;
}

static void set_time(struct rtf *r, const char *word, long n)
{
    static const char *const parts[] = {"yr", "mo", "dy", "hr", "min"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strcmp(word, parts[i]) == 0) {
            r->time[i] = n;
        }
    }
}

static void on_word(struct rtf *r, const char *word, bool has, long n)
{
    bool star = r->star;
    r->star = false;
    if (strcmp(word, "u") == 0 && has) {
        put_unicode(r, n);
        return;
    }
    if (strcmp(word, "bin") == 0 && has && n > 0) {
        r->p += n < r->end - r->p ? n : r->end - r->p;
        return;
    }
    if (r->skip > 0) { /* a word stands for one character */
        r->skip--;
        return;
    }
    decode_pending(r);
    if (set_destination(r, word)) {
        return;
    }
    if (star) {
        r->now.to = SKIP;
        return;
    }
    if (r->now.to == CREATED || r->now.to == REVISED) {
        set_time(r, word, n);
    } else if (r->now.to != SKIP && !put_symbol(r, word) && !end_something(r, word)) {
        set_paragraph(r, word, has, n);
        set_font(r, word, has, n);
    }
}

/* ---- syntax ---- */

static void read_symbol(struct rtf *r)
{
    char c = *r->p++;
    if (c == '\'') {
        if (r->end - r->p >= 2 && text_hex(r->p[0]) >= 0 && text_hex(r->p[1]) >= 0) {
            put_byte(r, (char)(text_hex(r->p[0]) * 16 + text_hex(r->p[1])));
            r->p += 2;
        }
        return;
    }
    if (c == '*') {
        r->star = true;
    } else if (c == '\\' || c == '{' || c == '}') {
        put_byte(r, c);
    } else if (c == '~') {
        put_char(r, ' ');
    } else if (c == '_') {
        put_char(r, '-');
    } else if (c == '\n' || c == '\r') {
        end_paragraph(r);
    }
}

static void read_word(struct rtf *r)
{
    char word[33];
    size_t n = 0;
    long value = 0;
    bool has = false;
    bool minus = false;
    while (r->p < r->end && ((*r->p >= 'a' && *r->p <= 'z') || (*r->p >= 'A' && *r->p <= 'Z'))) {
        if (n + 1 < sizeof word) {
            word[n++] = *r->p;
        }
        r->p++;
    }
    word[n] = '\0';
    if (r->p + 1 < r->end && *r->p == '-' && r->p[1] >= '0' && r->p[1] <= '9') {
        minus = true;
        r->p++;
    }
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') {
        value = value < NUMBER_MAX ? value * 10 + (*r->p - '0') : value;
        has = true;
        r->p++;
    }
    if (r->p < r->end && *r->p == ' ') {
        r->p++;
    }
    on_word(r, word, has, minus ? -value : value);
}

static bool open_group(struct rtf *r)
{
    decode_pending(r);
    if (r->depth == DEPTH_MAX) {
        return false;
    }
    r->stack[r->depth++] = r->now;
    r->star = false;
    r->skip = 0;
    return true;
}

/* HYPERLINK "where" */
static void keep_link(struct rtf *r)
{
    static const char word[] = "HYPERLINK";
    struct str s = text_trim(buf_view(&r->name));
    buf_reset(&r->link);
    if (s.len > sizeof word && strncasecmp(s.ptr, word, sizeof word - 1) == 0) {
        const char *from = memchr(s.ptr, '"', s.len);
        const char *to =
            from == NULL ? NULL : memchr(from + 1, '"', s.len - (size_t)(from + 1 - s.ptr));
        if (to != NULL) {
            buf_append(&r->link, from + 1, (size_t)(to - from - 1));
        }
    }
    buf_reset(&r->name);
}

static void put_link(struct rtf *r)
{
    struct buf *to = place(r);
    if (to != NULL && r->link.len > 0) {
        buf_z(to, " (");
        buf_str(to, buf_view(&r->link));
        buf_z(to, ")");
    }
    buf_reset(&r->link);
    r->field = 0;
}

/* A group of \info ends. */
static void keep_info(struct rtf *r, enum destination what)
{
    const int64_t *t = r->time;
    int64_t ms;
    if (what == TITLE) {
        buf_str(&r->title, buf_view(&r->name));
    } else if (what == AUTHOR) {
        emit_author(r->e, buf_view(&r->name));
    } else if (what == KEYWORDS) {
        emit_keywords(r->e, buf_view(&r->name));
    } else if (date_make(t[0], t[1], t[2], t[3], t[4], 0, &ms)) {
        emit_date_ms(r->e, what == CREATED ? EMIT_CREATED : EMIT_MODIFIED, ms);
    }
    buf_reset(&r->name);
}

static void close_group(struct rtf *r)
{
    decode_pending(r);
    enum destination was = (enum destination)r->now.to;
    enum destination before = r->depth > 0 ? (enum destination)r->stack[r->depth - 1].to : BODY;
    if (was == STYLES) {
        end_entry(r);
    }
    if (was >= TITLE && before != was) {
        keep_info(r, was);
    }
    if (was == LINK && before != LINK) {
        keep_link(r);
    }
    if (r->field != 0 && r->depth == r->field) { /* the field ends: its text, then where it leads */
        put_link(r);
    }
    if (was == FURNITURE && before != FURNITURE) {
        emit_target(r, &r->furniture, EX__BLOCK__KIND__FURNITURE, 0);
    }
    if (was == NOTE && before != NOTE && r->note.text.len > 0) {
        buf_char(&r->note.text, '\n');
    }
    if (r->depth > 0) {
        r->now = r->stack[--r->depth];
    }
    r->star = false;
    r->skip = 0;
}

static enum status read_all(struct rtf *r, struct error *err)
{
    while (r->p < r->end && !emit_failed(r->e)) {
        char c = *r->p;
        if (c == '{') {
            r->p++;
            if (!open_group(r)) {
                return error_set(err, STATUS_INVALID, "its groups are nested deeper than %d",
                                 DEPTH_MAX);
            }
        } else if (c == '}') {
            r->p++;
            close_group(r);
        } else if (c == '\\' && r->p + 1 < r->end) {
            r->p++;
            bool letter = (*r->p >= 'a' && *r->p <= 'z') || (*r->p >= 'A' && *r->p <= 'Z');
            if (letter) {
                read_word(r);
            } else {
                read_symbol(r);
            }
        } else {
            r->p++;
            if (c == ';' && (r->now.to == STYLES || r->now.to == FONTS)) {
                end_entry(r);
            } else if (c != '\r' && c != '\n' && c != '\0') {
                put_byte(r, c);
            }
        }
    }
    decode_pending(r);
    r->now.to = BODY;
    r->in_table = false;
    end_paragraph(r);
    emit_row(r);
    return STATUS_OK;
}

static bool is_rtf(struct str s)
{
    size_t i = 0;
    while (i < s.len && i < 16 && strchr(" \t\r\n\xEF\xBB\xBF", s.ptr[i]) != NULL &&
           s.ptr[i] != '\0') {
        i++;
    }
    return str_starts((struct str){s.ptr + i, s.len - i}, STR("{\\rtf"));
}

enum status rtf_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct rtf *r = arena_alloc(in->arena, sizeof *r);
    struct state *stack = arena_array(in->arena, DEPTH_MAX, sizeof *stack);
    if (r == NULL || stack == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (!is_rtf(in->data)) {
        return error_set(err, STATUS_INVALID, "it does not begin as RTF does");
    }
    *r = (struct rtf){.in = in,
                      .e = e,
                      .p = in->data.ptr,
                      .end = in->data.ptr + in->data.len,
                      .stack = stack,
                      .codepage = 1252,
                      .font = -1,
                      .style = -1,
                      .now = {.to = BODY, .uc = 1, .codepage = 1252}};
    struct buf *all[] = {&r->bytes,     &r->name,      &r->title,          &r->link,
                         &r->body.text, &r->note.text, &r->furniture.text, &r->row};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        buf_init(all[i], in->max_bytes);
    }
    enum status s = read_all(r, err);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (s == STATUS_OK && buf_status(all[i]) != STATUS_OK) {
            s = error_set(err, STATUS_TOO_LARGE, "a paragraph is too large for the memory allowed");
        }
        buf_deinit(all[i]);
    }
    return s;
}
