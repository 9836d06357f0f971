/* Markdown through md4c's callbacks (GitHub's dialect): no tree is built. */
#include <libxml/HTMLparser.h>
#include <md4c.h>
#include <stdio.h>
#include <stdlib.h>

#include "ingest/formats/charset.h"
#include "ingest/formats/fields.h"
#include "ingest/formats/format.h"
#include "ingest/utf8.h"

struct markdown {
    struct emitter *e;
    struct str title; /* from the front matter */
    struct buf text;
    Ex__Block__Kind kind;
    uint32_t level;
    unsigned lists, quotes, cells;
    bool names;              /* the row's cells name the columns */
    bool in_tag, in_comment; /* within raw HTML */
};

static void finish_block(struct markdown *m)
{
    struct str s = buf_view(&m->text);
    while (s.len > 0 && (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == ' ')) {
        s.len--;
    }
    if (s.len > 0) {
        bool heading = m->kind == EX__BLOCK__KIND__HEADING;
        struct str title = m->title.len > 0 ? m->title : heading ? s : STR("");
        emit_document(m->e, "md", title, STR(""), 0);
        bool row = m->kind == EX__BLOCK__KIND__TABLE_ROW;
        emit_text(m->e, m->kind, heading ? m->level : row && m->names ? 1 : 0, s);
    }
    buf_reset(&m->text);
    m->kind = m->lists > 0    ? EX__BLOCK__KIND__LIST_ITEM
              : m->quotes > 0 ? EX__BLOCK__KIND__QUOTE
                              : EX__BLOCK__KIND__PARAGRAPH;
}

static int on_enter_block(MD_BLOCKTYPE type, void *detail, void *data)
{
    struct markdown *m = data;
    if (type == MD_BLOCK_TD || type == MD_BLOCK_TH) {
        buf_z(&m->text, m->cells++ > 0 ? " | " : "");
        m->names = type == MD_BLOCK_TH;
        return 0;
    }
    m->lists += type == MD_BLOCK_UL || type == MD_BLOCK_OL;
    m->quotes += type == MD_BLOCK_QUOTE;
    finish_block(m);
    if (type == MD_BLOCK_H) {
        m->kind = EX__BLOCK__KIND__HEADING;
        m->level = ((MD_BLOCK_H_DETAIL *)detail)->level;
    } else if (type == MD_BLOCK_CODE) {
        m->kind = EX__BLOCK__KIND__CODE;
    } else if (type == MD_BLOCK_TR) {
        m->kind = EX__BLOCK__KIND__TABLE_ROW;
        m->cells = 0;
    } else if (type == MD_BLOCK_HTML) {
        m->in_tag = m->in_comment = false;
    }
    return emit_failed(m->e) ? 1 : 0;
}

static int on_leave_block(MD_BLOCKTYPE type, void *detail, void *data)
{
    struct markdown *m = data;
    (void)detail;
    if (type == MD_BLOCK_TD || type == MD_BLOCK_TH) {
        return 0;
    }
    m->lists -= type == MD_BLOCK_UL || type == MD_BLOCK_OL;
    m->quotes -= type == MD_BLOCK_QUOTE;
    finish_block(m);
    return emit_failed(m->e) ? 1 : 0;
}

static int on_span(MD_SPANTYPE type, void *detail, void *data)
{
    (void)type, (void)detail, (void)data;
    return 0;
}

/* "&amp;", "&#233;", "&#xE9;" */
static void put_entity(struct buf *out, struct str s)
{
    char name[32];
    if (s.len < 4 || s.len - 2 >= sizeof name) {
        buf_str(out, s);
        return;
    }
    memcpy(name, s.ptr + 1, s.len - 2);
    name[s.len - 2] = '\0';
    if (name[0] == '#') {
        bool hex = name[1] == 'x' || name[1] == 'X';
        unsigned long c = strtoul(name + (hex ? 2 : 1), NULL, hex ? 16 : 10);
        utf8_put(out, c > 0x10FFFF || c == 0 ? 0xFFFD : (uint32_t)c);
        return;
    }
    const htmlEntityDesc *known = htmlEntityLookup((const xmlChar *)name);
    if (known != NULL) {
        utf8_put(out, known->value);
    } else {
        buf_str(out, s);
    }
}

/* Raw HTML: the text between the tags. */
static void put_html(struct markdown *m, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        struct str rest = {s.ptr + i, s.len - i};
        if (m->in_comment) {
            m->in_comment = !str_starts(rest, STR("-->"));
            i += m->in_comment ? 0 : 2;
        } else if (m->in_tag) {
            m->in_tag = s.ptr[i] != '>';
        } else if (str_starts(rest, STR("<!--"))) {
            m->in_comment = true;
        } else if (s.ptr[i] == '<') {
            m->in_tag = true;
        } else {
            buf_char(&m->text, s.ptr[i]);
        }
    }
}

static int on_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE size, void *data)
{
    struct markdown *m = data;
    struct str s = {text, size};
    switch (type) {
    case MD_TEXT_NULLCHAR:
        utf8_put(&m->text, 0xFFFD);
        break;
    case MD_TEXT_BR:
        buf_char(&m->text, '\n');
        break;
    case MD_TEXT_SOFTBR:
        buf_char(&m->text, ' ');
        break;
    case MD_TEXT_ENTITY:
        put_entity(&m->text, s);
        break;
    case MD_TEXT_HTML:
        put_html(m, s);
        break;
    case MD_TEXT_NORMAL:
    case MD_TEXT_CODE:
    case MD_TEXT_LATEXMATH:
        buf_str(&m->text, s);
        break;
    }
    return buf_status(&m->text) == STATUS_OK ? 0 : 1;
}

static struct str next_line(struct str *rest)
{
    const char *nl = rest->len == 0 ? NULL : memchr(rest->ptr, '\n', rest->len);
    struct str line = {rest->ptr, nl == NULL ? rest->len : (size_t)(nl - rest->ptr)};
    size_t used = line.len + (nl == NULL ? 0 : 1);
    rest->ptr += used;
    rest->len -= used;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    return line;
}

/* Where the YAML block between two lines of dashes ends; NULL pointer: there is none. */
static struct str front_matter(struct str s)
{
    struct str rest = s;
    if (!str_eq(next_line(&rest), STR("---"))) {
        return (struct str){NULL, 0};
    }
    for (int lines = 0; rest.len > 0 && lines < 200; lines++) {
        const char *from = rest.ptr;
        struct str line = next_line(&rest);
        if (str_eq(line, STR("---")) || str_eq(line, STR("..."))) {
            return (struct str){s.ptr, (size_t)(from - s.ptr)};
        }
    }
    return (struct str){NULL, 0}; /* no end: it was a rule, not front matter */
}

/* Its fields, one a line, lists in brackets or one item a line; the block is not text. */
static void skip_front_matter(struct str *s, struct str *title, struct emitter *e)
{
    struct str block = front_matter(*s);
    struct str name = {"", 0};
    if (block.ptr == NULL) {
        return;
    }
    s->ptr += block.len;
    s->len -= block.len;
    (void)next_line(s);
    (void)next_line(&block);
    while (block.len > 0) {
        struct str line = next_line(&block);
        struct str item = str_trim(line);
        const char *colon = line.len == 0 ? NULL : memchr(line.ptr, ':', line.len);
        if (str_starts(item, STR("- "))) {
            emit_field(e, name, (struct str){item.ptr + 2, item.len - 2});
        } else if (colon != NULL && line.ptr[0] != ' ' && line.ptr[0] != '\t') {
            name = (struct str){line.ptr, (size_t)(colon - line.ptr)};
            struct str value = {colon + 1, (size_t)(line.ptr + line.len - colon) - 1};
            if (str_eq(name, STR("title"))) {
                while (value.len > 0 && strchr(" \t\"'", value.ptr[0]) != NULL) {
                    value.ptr++;
                    value.len--;
                }
                while (value.len > 0 && strchr(" \t\"'", value.ptr[value.len - 1]) != NULL) {
                    value.len--;
                }
                *title = value;
            } else {
                emit_field(e, name, value);
            }
        }
    }
}

enum status markdown_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    char name[64];
    size_t bom;
    const char *charset = charset_guess(in->data, NULL, name, sizeof name, &bom);
    struct str data = {in->data.ptr + bom, in->data.len - bom};
    struct buf decoded;
    struct markdown m = {.e = e, .kind = EX__BLOCK__KIND__PARAGRAPH};
    buf_init(&decoded, in->max_bytes);
    buf_init(&m.text, in->max_bytes);
    enum status s = STATUS_OK;
    if (strcmp(charset, "UTF-8") != 0) {
        s = charset_decode(data, charset, &decoded, err);
        data = buf_view(&decoded);
    }
    if (s != STATUS_OK) {
        goto out;
    }
    if (data.len > in->max_bytes) {
        s = error_set(err, STATUS_TOO_LARGE, "it is larger than %llu MB",
                      (unsigned long long)(in->max_bytes >> 20));
        goto out;
    }
    skip_front_matter(&data, &m.title, e);
    MD_PARSER parser = {
        .flags = MD_DIALECT_GITHUB,
        .enter_block = on_enter_block,
        .leave_block = on_leave_block,
        .enter_span = on_span,
        .leave_span = on_span,
        .text = on_text,
    };
    int rc = md_parse(data.ptr, (MD_SIZE)data.len, &parser, &m);
    if (rc != 0 && !emit_failed(e)) {
        s = error_set(err, rc < 0 ? STATUS_NO_MEMORY : STATUS_TOO_LARGE,
                      "the Markdown text is too large for the memory allowed");
    }
    emit_document(e, "md", m.title, STR(""), 0);
out:
    buf_deinit(&m.text);
    buf_deinit(&decoded);
    return s;
}
