#include "ingest/formats/inline.h"

#include <ctype.h>

static bool is_word(const struct str *s, size_t i)
{
    return i < s->len && (isalnum((unsigned char)s->ptr[i]) || (unsigned char)s->ptr[i] >= 0x80);
}

static bool is_space(const struct str *s, size_t i)
{
    return i >= s->len || s->ptr[i] == ' ' || s->ptr[i] == '\t' || s->ptr[i] == '\n';
}

#define SPAN_MAX 4096 /* of what stands between two signs: each is looked for no further */

/* The next c from i on; s.len: there is none near. */
static size_t find(struct str s, size_t i, char c)
{
    size_t n = i < s.len ? s.len - i : 0;
    const char *p = n > 0 ? memchr(s.ptr + i, c, n < SPAN_MAX ? n : SPAN_MAX) : NULL;
    return p == NULL ? s.len : (size_t)(p - s.ptr);
}

/* ---- reStructuredText ---- */

/* "text <target>" shows its text. */
static void put_reference(struct str s, struct buf *out)
{
    size_t open = s.len;
    if (s.len > 1 && s.ptr[s.len - 1] == '>') {
        open = find(s, 0, '<');
    }
    if (open > 0 && open < s.len) {
        s.len = open;
        while (s.len > 0 && s.ptr[s.len - 1] == ' ') {
            s.len--;
        }
    }
    buf_str(out, s);
}

/* ":role:" before a quoted text: its length, 0: there is none. */
static size_t role(struct str s, size_t i)
{
    size_t end = i + 1;
    while (end < s.len && end - i < 40 &&
           (is_word(&s, end) || s.ptr[end] == '-' || s.ptr[end] == ':' || s.ptr[end] == '.')) {
        end++;
    }
    return end > i + 1 && end < s.len && s.ptr[end] == '`' && s.ptr[end - 1] == ':' ? end - i : 0;
}

void inline_rst(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool begins = i == 0 || !is_word(&s, i - 1);
        if (c == '\\' && i + 1 < s.len) {
            if (!is_space(&s, i + 1)) {
                buf_char(out, s.ptr[i + 1]);
            }
            i++;
        } else if (c == '`' && i + 1 < s.len && s.ptr[i + 1] == '`') {
            size_t end = i + 2;
            while (end + 1 < s.len && end - i < SPAN_MAX &&
                   (s.ptr[end] != '`' || s.ptr[end + 1] != '`')) {
                end++;
            }
            if (end + 1 < s.len && s.ptr[end] == '`' && s.ptr[end + 1] == '`') {
                buf_append(out, s.ptr + i + 2, end - i - 2);
                i = end + 1;
            } else {
                buf_char(out, c);
            }
        } else if (c == '`') {
            size_t end = find(s, i + 1, '`');
            if (end < s.len) {
                put_reference((struct str){s.ptr + i + 1, end - i - 1}, out);
                i = end;
                while (i + 1 < s.len && s.ptr[i + 1] == '_') {
                    i++;
                }
            } else {
                buf_char(out, c);
            }
        } else if (c == ':' && begins && role(s, i) > 0) {
            i += role(s, i) - 1;
        } else if (c == '*' || c == '|') {
            /* at a word's edge it is a sign, else a star */
            if (is_space(&s, i + 1) && (i == 0 || is_space(&s, i - 1))) {
                buf_char(out, c);
            }
        } else if (c == '_' && i > 0 && is_word(&s, i - 1) && !is_word(&s, i + 1) &&
                   (i + 1 >= s.len || s.ptr[i + 1] != '_' || !is_word(&s, i + 2))) {
            continue; /* a reference */
        } else {
            buf_char(out, c);
        }
    }
}

/* ---- AsciiDoc ---- */

static bool starts(struct str s, size_t i, const char *z)
{
    size_t n = strlen(z);
    return s.len - i >= n && memcmp(s.ptr + i, z, n) == 0;
}

/* How far a text was searched, so that signs that come again and again without their ends cost no
 * more: from the sign last seen on no target ends before `target`, no reference before `reference`.
 */
struct searched {
    size_t target, reference;
};

/* "target[text]" at i: the text, or the target where there is none; 0: it is not that. */
static size_t put_macro(struct str s, size_t i, struct searched *seen, struct buf *out)
{
    size_t open = i > seen->target ? i : seen->target;
    while (open < s.len && open - i < SPAN_MAX && s.ptr[open] != '[' && !is_space(&s, open)) {
        open++;
    }
    seen->target = open;
    size_t close = open < s.len && s.ptr[open] == '[' ? find(s, open, ']') : s.len;
    if (close >= s.len) {
        return 0;
    }
    struct str text = {s.ptr + open + 1, close - open - 1};
    struct str target = {s.ptr + i, open - i};
    size_t comma = find(text, 0, '^');
    text.len = comma < text.len ? comma : text.len;
    buf_str(out, text.len > 0 ? text : target);
    return close + 1 - i;
}

static size_t put_cross_reference(struct str s, size_t i, struct searched *seen, struct buf *out)
{
    size_t end = i + 2 > seen->reference ? i + 2 : seen->reference;
    while (end + 1 < s.len && end - i < SPAN_MAX && (s.ptr[end] != '>' || s.ptr[end + 1] != '>')) {
        end++;
    }
    seen->reference = end;
    if (end + 1 >= s.len || s.ptr[end] != '>' || s.ptr[end + 1] != '>') {
        return 0;
    }
    struct str inner = {s.ptr + i + 2, end - i - 2};
    size_t comma = find(inner, 0, ',');
    if (comma < inner.len) {
        inner.ptr += comma + 1;
        inner.len -= comma + 1;
    }
    buf_str(out, inner);
    return end + 2 - i;
}

void inline_asciidoc(struct str s, struct buf *out)
{
    static const char *const macros[] = {
        "link:", "xref:",     "mailto:", "image:", "kbd:",      "btn:",
        "menu:", "footnote:", "pass:",   "stem:",  "latexmath:"};
    struct searched seen = {0, 0};
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool begins = i == 0 || !is_word(&s, i - 1);
        size_t used = 0;
        if (begins) {
            for (size_t k = 0; k < sizeof macros / sizeof macros[0] && used == 0; k++) {
                if (starts(s, i, macros[k])) {
                    size_t n = strlen(macros[k]);
                    used = put_macro(s, i + n, &seen, out);
                    used += used > 0 ? n : 0;
                }
            }
            if (used == 0 && (starts(s, i, "http://") || starts(s, i, "https://"))) {
                used = put_macro(s, i, &seen, out);
            }
        }
        if (used == 0 && c == '<' && starts(s, i, "<<")) {
            used = put_cross_reference(s, i, &seen, out);
        }
        if (used > 0) {
            i += used - 1;
        } else if (c == '`' || ((c == '*' || c == '#' || c == '_') &&
                                !(is_space(&s, i + 1) && (i == 0 || is_space(&s, i - 1))) &&
                                !(i > 0 && is_word(&s, i - 1) && is_word(&s, i + 1)))) {
            continue;
        } else {
            buf_char(out, c);
        }
    }
}
