/* Emacs' Org mode (orgmode.org, "Org Syntax"), line by line: headings by their stars without
 * states, priorities and tags; lists, tables, blocks (source, example, quote), footnotes; drawers,
 * comments and properties are left out. Nothing is nested beyond one block. */
#include <strings.h>

#include "ingest/formats/fields.h"
#include "ingest/formats/source.h"

#define SPAN_MAX 4096 /* of what stands between two signs */
#define DRAWER_MAX 64 /* letters of its name */

enum mode { TEXT, CODE, QUOTE, SKIPPED, DRAWER };

struct org {
    struct emitter *e;
    struct buf block, clean;
    Ex__Block__Kind kind;
    enum mode mode;
    struct str end; /* what ends the block: "src" of "#+end_src" */
};

static bool begins(struct str s, const char *word) /* whatever the case */
{
    size_t n = strlen(word);
    return s.len >= n && strncasecmp(s.ptr, word, n) == 0;
}

static struct str from(struct str s, size_t n)
{
    return n < s.len ? (struct str){s.ptr + n, s.len - n} : STR("");
}

/* ---- signs within a line ---- */

static bool is_word(struct str s, size_t i)
{
    unsigned char c = i < s.len ? (unsigned char)s.ptr[i] : ' ';
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c >= 0x80;
}

static bool is_space(struct str s, size_t i)
{
    return i >= s.len || s.ptr[i] == ' ' || s.ptr[i] == '\t' || s.ptr[i] == '\n';
}

static size_t find(struct str s, size_t i, const char *what)
{
    size_t n = i < s.len ? s.len - i : 0;
    n = n < SPAN_MAX ? n : SPAN_MAX;
    const char *p = n == 0 ? NULL : memmem(s.ptr + i, n, what, strlen(what));
    return p == NULL ? s.len : (size_t)(p - s.ptr);
}

/* [[target][text]] and [[target]]: what is shown; how long it is, 0: it is none. */
static size_t put_link(struct str s, size_t i, struct buf *out)
{
    size_t end = find(s, i, "]]"), middle = find(s, i, "][");
    if (end == s.len) {
        return 0;
    }
    size_t at = middle < end ? middle + 2 : i + 2;
    buf_append(out, s.ptr + at, end - at);
    return end + 2 - i;
}

/* *x*, /x/, _x_, =x=, ~x~, +x+: the sign that ends what begins at i; 0: nothing begins there. */
static size_t span_end(struct str s, size_t i)
{
    const char sign[2] = {s.ptr[i], '\0'};
    if (strchr("*/_=~+", sign[0]) == NULL || (i > 0 && is_word(s, i - 1)) || is_space(s, i + 1)) {
        return 0;
    }
    size_t end = find(s, i + 2, sign);
    return end < s.len && !is_space(s, end - 1) && !is_word(s, end + 1) ? end : 0;
}

static void put_inline(struct str s, struct buf *out)
{
    size_t open = 0; /* where the span that is being read ends */
    for (size_t i = 0; i < s.len; i++) {
        size_t n = 0;
        if (s.ptr[i] == '[' && i + 1 < s.len && s.ptr[i + 1] == '[') {
            n = put_link(s, i, out);
        }
        if (n > 0) {
            i += n - 1;
            continue;
        }
        size_t end = i == open || open == 0 ? span_end(s, i) : 0;
        if (open != 0 && i == open) {
            open = 0;
        } else if (end != 0) {
            open = end;
        } else if (s.ptr[i] != '\\' || i + 1 >= s.len || s.ptr[i + 1] != '\\') {
            buf_char(out, s.ptr[i]);
        } else {
            i++; /* a line's break */
        }
    }
}

/* ---- blocks ---- */

static void finish_block(struct org *o)
{
    buf_reset(&o->clean);
    if (o->kind == EX__BLOCK__KIND__CODE) {
        buf_str(&o->clean, buf_view(&o->block));
        while (o->clean.len > 0 && o->clean.ptr[o->clean.len - 1] == '\n') {
            o->clean.len--;
        }
    } else {
        put_inline(text_trim(buf_view(&o->block)), &o->clean);
    }
    if (o->clean.len > 0) {
        emit_document(o->e, "org", STR(""), STR(""), 0);
        emit_text(o->e, o->kind, 0, buf_view(&o->clean));
    }
    buf_reset(&o->block);
    o->kind = o->mode == CODE    ? EX__BLOCK__KIND__CODE
              : o->mode == QUOTE ? EX__BLOCK__KIND__QUOTE
                                 : EX__BLOCK__KIND__PARAGRAPH;
}

static void add_line(struct org *o, struct str line)
{
    buf_str(&o->block, line);
    buf_char(&o->block, '\n');
}

static void put(struct org *o, Ex__Block__Kind kind, struct str text)
{
    finish_block(o);
    o->kind = kind;
    add_line(o, text);
}

/* "*** STATE [#A] Title :tag:other:" */
static void put_heading(struct org *o, size_t stars, struct str s)
{
    static const char *const states[] = {("TO"
                                          "DO "),
                                         "DONE ", "NEXT ", "WAITING ", "CANCELLED "};
    s = text_trim(s);
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        s = str_starts(s, str_from(states[i])) ? text_trim(from(s, strlen(states[i]))) : s;
    }
    if (s.len > 4 && memcmp(s.ptr, "[#", 2) == 0 && s.ptr[3] == ']') {
        s = text_trim(from(s, 4));
    }
    size_t cut = s.len;
    if (s.len > 2 && s.ptr[s.len - 1] == ':') {
        while (cut > 0 && !is_space(s, cut - 1)) {
            cut--;
        }
        s.len = cut < s.len && s.ptr[cut] == ':' ? cut : s.len;
    }
    finish_block(o);
    buf_reset(&o->clean);
    put_inline(text_trim(s), &o->clean);
    emit_document(o->e, "org", STR(""), STR(""), 0);
    emit_text(o->e, EX__BLOCK__KIND__HEADING, (uint32_t)(stars < 6 ? stars : 6),
              buf_view(&o->clean));
}

/* "| a | b |"; what is between rows is a line of signs. */
static void put_row(struct org *o, struct str s)
{
    struct buf row;
    finish_block(o);
    if (s.len > 1 && s.ptr[1] == '-') {
        return;
    }
    buf_init(&row, s.len * 4 + 16);
    size_t len = s.ptr[s.len - 1] == '|' && s.len > 1 ? s.len - 1 : s.len;
    for (size_t i = 1; i <= len;) {
        size_t at = i;
        while (i < len && s.ptr[i] != '|') {
            i++;
        }
        buf_reset(&o->clean);
        put_inline(text_trim((struct str){s.ptr + at, i - at}), &o->clean);
        buf_z(&row, at > 1 ? " | " : "");
        buf_str(&row, buf_view(&o->clean));
        i++;
    }
    emit_document(o->e, "org", STR(""), STR(""), 0);
    emit_text(o->e, EX__BLOCK__KIND__TABLE_ROW, 0, buf_view(&row));
    buf_deinit(&row);
}

/* "- ", "+ ", "1. ", "1) ", and "* " where it is indented: how long the mark is; 0: none. */
static size_t item_mark(struct str s, bool indented)
{
    size_t n = 0;
    if (s.len > 1 && s.ptr[1] == ' ' &&
        (s.ptr[0] == '-' || s.ptr[0] == '+' || (indented && s.ptr[0] == '*'))) {
        n = 2;
    } else {
        while (n < s.len && n < 9 && s.ptr[n] >= '0' && s.ptr[n] <= '9') {
            n++;
        }
        bool mark =
            n > 0 && n + 1 < s.len && (s.ptr[n] == '.' || s.ptr[n] == ')') && s.ptr[n + 1] == ' ';
        n = mark ? n + 2 : 0;
    }
    bool box = n > 0 && s.len - n >= 4 && s.ptr[n] == '[' && s.ptr[n + 2] == ']' &&
               strchr(" X-", s.ptr[n + 1]) != NULL && s.ptr[n + 3] == ' ';
    return box ? n + 4 : n;
}

static struct str word_of(struct str s)
{
    size_t n = 0;
    while (n < s.len && !is_space(s, n)) {
        n++;
    }
    return (struct str){s.ptr, n};
}

/* "#+...": a block's beginning, or what the file says of itself. */
static void on_keyword(struct org *o, struct str s)
{
    const char *colon = memchr(s.ptr, ':', s.len);
    finish_block(o);
    if (begins(s, "begin_")) {
        o->end = word_of(from(s, 6));
        o->mode = begins(o->end, "src") || begins(o->end, "example") ? CODE
                  : begins(o->end, "quote")                          ? QUOTE
                  : begins(o->end, "comment")                        ? SKIPPED
                                                                     : TEXT;
        finish_block(o);
        return;
    }
    if (colon == NULL) {
        return;
    }
    struct str name = {s.ptr, (size_t)(colon - s.ptr)};
    struct str value = text_trim(from(s, name.len + 1));
    if (name.len == 5 && begins(name, "title")) {
        emit_title(o->e, value);
        emit_document(o->e, "org", value, STR(""), 0);
        emit_text(o->e, EX__BLOCK__KIND__HEADING, 1, value);
    } else if (name.len == 7 && begins(name, "caption")) {
        emit_document(o->e, "org", STR(""), STR(""), 0);
        emit_text(o->e, EX__BLOCK__KIND__CAPTION, 0, value);
    } else {
        emit_field(o->e, name, value);
    }
}

/* ":NAME:" alone on its line. */
static bool is_drawer(struct str s)
{
    if (s.len < 3 || s.len > DRAWER_MAX || s.ptr[0] != ':' || s.ptr[s.len - 1] != ':') {
        return false;
    }
    for (size_t i = 1; i + 1 < s.len; i++) {
        if (!is_word(s, i) && s.ptr[i] != '-' && s.ptr[i] != '_') {
            return false;
        }
    }
    return true;
}

static void on_text(struct org *o, struct str line)
{
    struct str s = text_trim(line);
    size_t stars = 0;
    while (stars < line.len && line.ptr[stars] == '*') {
        stars++;
    }
    size_t mark = item_mark(s, line.len > 0 && line.ptr[0] == ' ');
    if (s.len == 0) {
        finish_block(o);
    } else if (stars > 0 && stars < line.len && line.ptr[stars] == ' ') {
        put_heading(o, stars, from(line, stars));
    } else if (str_starts(s, STR("#+"))) {
        on_keyword(o, from(s, 2));
    } else if (str_starts(s, STR("# ")) || str_eq(s, STR("#"))) {
        finish_block(o);
    } else if (is_drawer(s)) {
        finish_block(o);
        o->mode = DRAWER;
    } else if (s.ptr[0] == '|') {
        put_row(o, s);
    } else if (str_starts(s, STR(": "))) {
        if (o->kind != EX__BLOCK__KIND__CODE) {
            put(o, EX__BLOCK__KIND__CODE, from(s, 2));
        } else {
            add_line(o, from(s, 2));
        }
    } else if (mark > 0) {
        put(o, EX__BLOCK__KIND__LIST_ITEM, from(s, mark));
    } else if (str_starts(s, STR("[fn:")) && find(s, 0, "]") < s.len) {
        put(o, EX__BLOCK__KIND__NOTE, from(s, find(s, 0, "]") + 1));
    } else {
        if (o->kind == EX__BLOCK__KIND__CODE) {
            finish_block(o);
        }
        add_line(o, s);
    }
}

static void on_line(struct org *o, struct str line)
{
    struct str s = text_trim(line);
    bool keyword = begins(s, "#+end_");
    if (o->mode == DRAWER) {
        o->mode = s.len == 5 && begins(s, ":end:") ? TEXT : DRAWER;
    } else if (keyword &&
               (o->mode == TEXT ||
                (s.len - 6 >= o->end.len && strncasecmp(s.ptr + 6, o->end.ptr, o->end.len) == 0))) {
        o->mode = TEXT;
        finish_block(o);
    } else if (o->mode == CODE) {
        add_line(o, line);
    } else if (o->mode == QUOTE) {
        if (s.len == 0) {
            finish_block(o);
        } else {
            add_line(o, s);
        }
    } else if (o->mode == TEXT) {
        on_text(o, line);
    }
}

enum status org_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct str line;
    struct org o = {.e = e, .kind = EX__BLOCK__KIND__PARAGRAPH, .end = STR("")};
    buf_init(&o.block, in->max_bytes);
    buf_init(&o.clean, in->max_bytes);
    enum status s = source_open(&source, in, NULL, err);
    for (size_t at = 0;
         s == STATUS_OK && !emit_failed(e) && source_line(source.text, &at, &line);) {
        on_line(&o, line);
    }
    finish_block(&o);
    if (s == STATUS_OK &&
        (buf_status(&o.block) != STATUS_OK || buf_status(&o.clean) != STATUS_OK)) {
        s = error_set(err, STATUS_TOO_LARGE, "a paragraph is too large for the memory allowed");
    }
    buf_deinit(&o.block);
    buf_deinit(&o.clean);
    source_close(&source);
    return s;
}
