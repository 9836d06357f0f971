/* What a PDF's values say: dictionaries, arrays, names, numbers and strings. */
#include <stdlib.h>
#include <string.h>

#include "ingest/formats/emit.h"
#include "ingest/formats/pdf_syntax.h"
#include "ingest/utf8.h"

#define HOPS_MAX 8

/* --- tokens --- */

static bool is_delimiter(char c)
{
    return c != '\0' && strchr("()<>[]{}/%", c) != NULL;
}

void pdf_skip_space(struct str *s)
{
    while (s->len > 0) {
        if (s->ptr[0] == '%') {
            while (s->len > 0 && s->ptr[0] != '\n' && s->ptr[0] != '\r') {
                pdf_advance(s, 1);
            }
        } else if (!pdf_is_space(s->ptr[0])) {
            return;
        } else {
            pdf_advance(s, 1);
        }
    }
}

bool pdf_pay(struct pdf_objects *f, size_t bytes)
{
    if (f->budget <= bytes) {
        f->budget = 0;
        return false;
    }
    f->budget -= bytes + 1;
    return true;
}

static void skip_literal(struct str *s)
{
    size_t depth = 0;
    while (s->len > 0) {
        char c = s->ptr[0];
        pdf_advance(s, c == '\\' && s->len > 1 ? 2 : 1);
        depth += c == '(';
        if (c == ')' && --depth == 0) {
            return;
        }
    }
}

/* A name, number, keyword, or a sign that stands for itself. */
static void skip_word(struct str *s)
{
    pdf_advance(s, 1);
    while (s->len > 0 && !pdf_is_space(s->ptr[0]) && !is_delimiter(s->ptr[0])) {
        pdf_advance(s, 1);
    }
}

size_t pdf_digits(struct str s)
{
    size_t n = 0;
    while (n < s.len && n < 10 && pdf_is_digit(s.ptr[n])) {
        n++;
    }
    return n;
}

uint32_t pdf_whole(struct str s)
{
    uint64_t v = 0;
    for (size_t i = 0, n = pdf_digits(s); i < n; i++) {
        v = v * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

/* Length of "N G R" at the beginning; 0: something else stands there. */
static size_t reference_length(struct str s)
{
    struct str at = s;
    for (int i = 0; i < 2; i++) {
        size_t n = pdf_digits(at);
        if (n == 0 || at.len == n || !pdf_is_space(at.ptr[n])) {
            return 0;
        }
        pdf_advance(&at, n);
        pdf_skip_space(&at);
    }
    bool ends = at.len > 0 && at.ptr[0] == 'R' &&
                (at.len == 1 || pdf_is_space(at.ptr[1]) || is_delimiter(at.ptr[1]));
    return ends ? s.len - at.len + 1 : 0;
}

bool pdf_skip_value(struct pdf_objects *f, struct str *s)
{
    struct str was = *s;
    size_t depth = 0;
    if (f->budget == 0) {
        return false;
    }
    do {
        pdf_skip_space(s);
        if (s->len == 0) {
            (void)pdf_pay(f, was.len);
            return false;
        }
        char c = s->ptr[0], next = s->len > 1 ? s->ptr[1] : '\0';
        size_t reference = depth == 0 && pdf_is_digit(c) ? reference_length(*s) : 0;
        if (reference > 0) {
            pdf_advance(s, reference);
        } else if (c == '(') {
            skip_literal(s);
        } else if (c == '[' || (c == '<' && next == '<')) {
            pdf_advance(s, c == '[' ? 1 : 2);
            depth++;
        } else if (c == ']' || (c == '>' && next == '>')) {
            if (depth == 0) {
                return false;
            }
            pdf_advance(s, c == ']' ? 1 : 2);
            depth--;
        } else if (c == '<') {
            const char *end = memchr(s->ptr, '>', s->len);
            pdf_advance(s, end == NULL ? s->len : (size_t)(end - s->ptr) + 1);
        } else {
            skip_word(s);
        }
    } while (depth > 0);
    return pdf_pay(f, was.len - s->len);
}

/* --- values --- */

struct str pdf_begun(struct str s)
{
    pdf_skip_space(&s);
    return s;
}

bool pdf_is_dict(struct str value)
{
    return str_starts(pdf_begun(value), STR("<<"));
}

bool pdf_is_string(struct str value)
{
    struct str s = pdf_begun(value);
    return s.len > 1 && (s.ptr[0] == '(' || (s.ptr[0] == '<' && s.ptr[1] != '<'));
}

bool pdf_name(struct str value, struct str *out)
{
    struct str s = pdf_begun(value), rest = s;
    if (s.len == 0 || s.ptr[0] != '/') {
        return false;
    }
    skip_word(&rest);
    *out = (struct str){s.ptr + 1, s.len - rest.len - 1};
    return true;
}

bool pdf_is_name(struct str value, const char *name)
{
    struct str got;
    return pdf_name(value, &got) && str_eq(got, str_from(name));
}

bool pdf_number(struct str value, float *out)
{
    struct str s = pdf_begun(value);
    char text[32];
    size_t n = 0;
    while (n < s.len && n + 1 < sizeof text && s.ptr[n] != '\0' &&
           strchr("+-.0123456789", s.ptr[n]) != NULL) {
        text[n] = s.ptr[n];
        n++;
    }
    text[n] = '\0';
    float v = n == 0 ? 2e9F : strtof(text, NULL);
    if (!(v > -1e9F && v < 1e9F)) {
        return false;
    }
    *out = v;
    return true;
}

uint32_t pdf_reference(struct str value)
{
    struct str s = pdf_begun(value);
    return reference_length(s) > 0 ? pdf_whole(s) : 0;
}

bool pdf_resolve(struct pdf_objects *f, struct str value, struct str *out)
{
    struct str s = pdf_begun(value);
    for (int i = 0; i < HOPS_MAX; i++) {
        if (s.len == 0 || !pdf_is_digit(s.ptr[0]) || reference_length(s) == 0) {
            *out = s;
            return s.len > 0 && !(str_starts(s, STR("null")));
        }
        uint32_t number = pdf_whole(s);
        if (number >= f->n || f->at[number].ptr == NULL) {
            return false;
        }
        s = pdf_begun(f->at[number]);
    }
    return false;
}

bool pdf_get_raw(struct pdf_objects *f, struct str dict, const char *key, struct str *out)
{
    struct str s = pdf_begun(dict), want = str_from(key), name;
    if (!str_starts(s, STR("<<"))) {
        return false;
    }
    pdf_advance(&s, 2);
    for (;;) {
        pdf_skip_space(&s);
        if (!pdf_name(s, &name)) {
            return false;
        }
        pdf_advance(&s, name.len + 1);
        if (!pdf_pay(f, name.len)) {
            return false;
        }
        if (str_eq(name, want)) {
            *out = pdf_begun(s);
            return out->len > 0;
        }
        if (!pdf_skip_value(f, &s)) {
            return false;
        }
    }
}

bool pdf_get(struct pdf_objects *f, struct str dict, const char *key, struct str *out)
{
    return pdf_get_raw(f, dict, key, out) && pdf_resolve(f, *out, out);
}

bool pdf_array(struct str value, struct str *rest)
{
    struct str s = pdf_begun(value);
    if (!str_starts(s, STR("["))) {
        return false;
    }
    pdf_advance(&s, 1);
    *rest = s;
    return true;
}

bool pdf_next(struct pdf_objects *f, struct str *rest, struct str *out)
{
    pdf_skip_space(rest);
    if (rest->len == 0 || rest->ptr[0] == ']') {
        return false;
    }
    *out = *rest;
    return pdf_skip_value(f, rest);
}

/* --- strings --- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void put_hex(struct str s, struct buf *out)
{
    int high = -1;
    for (size_t i = 1; i < s.len && s.ptr[i] != '>'; i++) {
        int v = hex(s.ptr[i]);
        if (v >= 0 && high >= 0) {
            buf_char(out, (char)(high << 4 | v));
            high = -1;
        } else if (v >= 0) {
            high = v;
        }
    }
    if (high >= 0) {
        buf_char(out, (char)(high << 4));
    }
}

/* What stands behind a backslash; its length. */
static size_t put_escape(struct str s, struct buf *out)
{
    static const char names[] = "nrtbf", meant[] = "\n\r\t\b\f";
    const char *known = s.ptr[0] == '\0' ? NULL : strchr(names, s.ptr[0]);
    size_t n = 0;
    unsigned v = 0;
    while (n < 3 && n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '7') {
        v = v * 8 + (unsigned)(s.ptr[n++] - '0');
    }
    if (n > 0) {
        buf_char(out, (char)(v & 0xFF));
        return n;
    }
    if (s.ptr[0] == '\r' || s.ptr[0] == '\n') { /* the string goes on in the next line */
        return s.len > 1 && s.ptr[0] == '\r' && s.ptr[1] == '\n' ? 2 : 1;
    }
    buf_char(out, known != NULL ? meant[known - names] : s.ptr[0]);
    return 1;
}

bool pdf_bytes(struct pdf_objects *f, struct str value, struct buf *out)
{
    struct str s = pdf_begun(value), end = s;
    if (!pdf_is_string(s) || !pdf_skip_value(f, &end)) {
        return false;
    }
    s.len -= end.len;
    if (s.ptr[0] == '<') {
        put_hex(s, out);
        return buf_status(out) == STATUS_OK;
    }
    s.len -= s.ptr[s.len - 1] == ')';
    for (pdf_advance(&s, 1); s.len > 0;) {
        char c = s.ptr[0];
        pdf_advance(&s, 1);
        if (c == '\\' && s.len > 0) {
            pdf_advance(&s, put_escape(s, out));
        } else {
            buf_char(out, c);
        }
    }
    return buf_status(out) == STATUS_OK;
}

/* PDFDocEncoding where it is not Latin-1 (annex D.2). */
static uint32_t document_encoding(unsigned char c)
{
    static const uint16_t low[] = {0x2D8, 0x2C7, 0x2C6, 0x2D9, 0x2DD, 0x2DB, 0x2DA, 0x2DC};
    static const uint16_t high[] = {
        0x2022, 0x2020, 0x2021, 0x2026, 0x2014, 0x2013, 0x192,  0x2044, 0x2039, 0x203A, 0x2212,
        0x2030, 0x201E, 0x201C, 0x201D, 0x2018, 0x2019, 0x201A, 0x2122, 0xFB01, 0xFB02, 0x141,
        0x152,  0x160,  0x178,  0x17D,  0x131,  0x142,  0x153,  0x161,  0x17E,  0xFFFD, 0x20AC};
    return c >= 0x18 && c < 0x20 ? low[c - 0x18] : c >= 0x80 && c <= 0xA0 ? high[c - 0x80] : c;
}

static void put_utf16(struct str s, bool big, struct buf *out)
{
    for (size_t i = 2; i + 1 < s.len; i += 2) {
        unsigned char a = (unsigned char)s.ptr[i], b = (unsigned char)s.ptr[i + 1];
        uint32_t c = big ? (uint32_t)a << 8 | b : (uint32_t)b << 8 | a;
        if (c >= 0xD800 && c < 0xDC00 && i + 3 < s.len) {
            a = (unsigned char)s.ptr[i + 2];
            b = (unsigned char)s.ptr[i + 3];
            uint32_t d = big ? (uint32_t)a << 8 | b : (uint32_t)b << 8 | a;
            if (d >= 0xDC00 && d < 0xE000) {
                c = 0x10000 + ((c - 0xD800) << 10) + (d - 0xDC00);
                i += 2;
            }
        }
        utf8_put(out, c == 0x1B || c == 0 ? ' ' : c); /* an escape begins a language's name */
    }
}

bool pdf_text(struct pdf_objects *f, struct str value, struct buf *out)
{
    struct buf raw, plain;
    buf_init(&raw, 1U << 20);
    buf_init(&plain, 4U << 20);
    bool ok = pdf_bytes(f, value, &raw);
    struct str s = buf_view(&raw);
    if (ok && s.len >= 2 && (str_starts(s, STR("\xFE\xFF")) || str_starts(s, STR("\xFF\xFE")))) {
        put_utf16(s, s.ptr[0] == '\xFE', &plain);
    } else if (ok && str_starts(s, STR("\xEF\xBB\xBF"))) {
        utf8_clean(&plain, (struct str){s.ptr + 3, s.len - 3});
    } else if (ok) {
        for (size_t i = 0; i < s.len; i++) {
            unsigned char c = (unsigned char)s.ptr[i];
            utf8_put(&plain, c < 0x18 ? ' ' : document_encoding(c));
        }
    }
    ok = ok && buf_status(&plain) == STATUS_OK;
    if (ok) {
        struct buf clean;
        buf_init(&clean, 12U << 20);
        utf8_clean(&clean, buf_view(&plain));
        text_squeeze(out, buf_view(&clean), false);
        ok = buf_status(&clean) == STATUS_OK && buf_status(out) == STATUS_OK;
        buf_deinit(&clean);
    }
    buf_deinit(&raw);
    buf_deinit(&plain);
    return ok;
}
