/* Source code: cut where a definition begins, so that a passage holds one. A line that is not
 * indented and not the end or middle of something, after an empty line or a closing one, begins a
 * part; its first line is the part's heading, level by level for languages whose definitions stand
 * within others (a class and its methods). Comments before a definition belong to it. No language
 * is parsed. */
#include <stdlib.h>

#include "ingest/formats/source.h"

#define PART_BYTES (16 * 1024) /* a longer one is cut at an empty line */
#define HEAD_MAX 160

struct code {
    struct emitter *e;
    struct buf part;
    bool defined; /* the part has its definition: the next one begins another */
    struct buf heading;
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '@' ||
           (unsigned char)c >= 0x80;
}

static bool begins_with_any(struct str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(words[i]);
        if (s.len >= len && memcmp(s.ptr, words[i], len) == 0 &&
            (s.len == len || !is_letter(s.ptr[len]))) {
            return true;
        }
    }
    return false;
}

static bool is_comment(struct str line)
{
    static const char *const marks[] = {"//",     "/*",  "*", "#", "--",   ";",
                                        "\"\"\"", "'''", "%", "@", "<!--", "(*"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (str_starts(line, str_from(marks[i]))) {
            return true;
        }
    }
    return false;
}

/* "static int f(int x)", "def f(x):", "class X {", "func (t *T) f()": not indented, or one step
 * within a class, and with a word that tells, or a parenthesis and no end of a statement. */
static bool is_definition(struct str line, size_t indent)
{
    static const char *const words[] = {
        "def",       "class",  "function", "func",   "fn",       "struct",    "enum",   "interface",
        "impl",      "trait",  "module",   "sub",    "type",     "namespace", "public", "private",
        "protected", "async",  "export",   "pub",    "template", "CREATE",    "create", "procedure",
        "package",   "object", "record",   "static", "abstract", "override",  "fun",    "val"};
    struct str s = text_trim(line);
    if (s.len == 0 || !is_letter(s.ptr[0]) || indent > 4) {
        return false;
    }
    if (begins_with_any(s, words, sizeof words / sizeof words[0])) {
        return indent == 0 || s.ptr[s.len - 1] != ';';
    }
    return indent == 0 && memchr(s.ptr, '(', s.len) != NULL && s.ptr[s.len - 1] != ';' &&
           memchr(s.ptr, '=', s.len) == NULL;
}

static void finish_part(struct code *c)
{
    struct str s = buf_view(&c->part);
    while (s.len > 0 && (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == '\r')) {
        s.len--;
    }
    while (s.len > 0 && s.ptr[0] == '\n') {
        s.ptr++;
        s.len--;
    }
    if (c->heading.len > 0 && s.len > 0) {
        emit_text(c->e, EX__BLOCK__KIND__HEADING, 1, buf_view(&c->heading));
    }
    emit_text(c->e, EX__BLOCK__KIND__CODE, 0, s);
    buf_reset(&c->part);
    buf_reset(&c->heading);
    c->defined = false;
}

static size_t indent_of(struct str line)
{
    size_t n = 0;
    for (size_t i = 0; i < line.len && (line.ptr[i] == ' ' || line.ptr[i] == '\t'); i++) {
        n += line.ptr[i] == '\t' ? 4 : 1;
    }
    return n;
}

static enum status read_lines(struct code *c, struct str text, struct error *err)
{
    struct str line;
    size_t comment = 0; /* where the comment at the part's end begins, + 1; 0: there is none */
    for (size_t at = 0; !emit_failed(c->e) && source_line(text, &at, &line);) {
        struct str s = text_trim(line);
        size_t indent = indent_of(line);
        bool defines = is_definition(line, indent);
        if (defines && (c->defined || comment > 0)) { /* what comments it goes with it */
            size_t keep = comment > 0 ? comment - 1 : c->part.len;
            struct buf rest;
            buf_init(&rest, c->part.len + 1);
            buf_append(&rest, c->part.ptr == NULL ? "" : c->part.ptr + keep, c->part.len - keep);
            c->part.len = keep;
            finish_part(c);
            buf_str(&c->part, buf_view(&rest));
            buf_deinit(&rest);
            comment = comment > 0 ? 1 : 0;
        } else if (s.len == 0 && c->part.len > PART_BYTES) {
            finish_part(c);
            comment = 0;
        }
        if (defines && !c->defined) {
            c->defined = true;
            s.len = s.len < HEAD_MAX ? s.len : HEAD_MAX;
            while (s.len > 0 && ((unsigned char)s.ptr[s.len - 1] >= 0x80 ||
                                 s.ptr[s.len - 1] == '{' || s.ptr[s.len - 1] == ' ')) {
                s.len--; /* no character is cut */
            }
            buf_str(&c->heading, s);
        }
        bool comments = indent <= 4 && is_comment(s);
        comment = comments ? (comment > 0 ? comment : c->part.len + 1) : 0;
        comment = c->part.len + 1 - comment > PART_BYTES ? 0 : comment;
        buf_str(&c->part, line);
        buf_char(&c->part, '\n');
        if (buf_status(&c->part) != STATUS_OK) {
            return error_set(err, STATUS_TOO_LARGE, "it is too large for the memory allowed");
        }
    }
    finish_part(c);
    return STATUS_OK;
}

enum status code_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    struct source source;
    struct code c = {.e = e};
    enum status s = source_open(&source, in, NULL, err);
    buf_init(&c.part, in->max_bytes);
    buf_init(&c.heading, HEAD_MAX + 1);
    if (s == STATUS_OK) {
        emit_document(e, "code", STR(""), STR(""), 0);
        s = read_lines(&c, source.text, err);
    }
    buf_deinit(&c.part);
    buf_deinit(&c.heading);
    source_close(&source);
    return s;
}
