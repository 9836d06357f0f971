#include "ingest/formats/pdf_objects.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "ingest/formats/emit.h"
#include "ingest/utf8.h"

#define NUMBERS_MAX (1U << 20)
#define HOPS_MAX 8
#define UNPACKED_MAX (32U << 20) /* of one object stream */
#define TRAILER_LOOK (256U << 10)

/* --- tokens --- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == '\0';
}

static bool is_delimiter(char c)
{
    return c != '\0' && strchr("()<>[]{}/%", c) != NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void advance(struct str *s, size_t n)
{
    s->ptr += n;
    s->len -= n;
}

static void skip_space(struct str *s)
{
    while (s->len > 0) {
        if (s->ptr[0] == '%') {
            while (s->len > 0 && s->ptr[0] != '\n' && s->ptr[0] != '\r') {
                advance(s, 1);
            }
        } else if (!is_space(s->ptr[0])) {
            return;
        } else {
            advance(s, 1);
        }
    }
}

/* Charges what was passed over. */
static bool pay(struct pdf_objects *f, size_t bytes)
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
        advance(s, c == '\\' && s->len > 1 ? 2 : 1);
        depth += c == '(';
        if (c == ')' && --depth == 0) {
            return;
        }
    }
}

/* A name, number, keyword, or a sign that stands for itself. */
static void skip_word(struct str *s)
{
    advance(s, 1);
    while (s->len > 0 && !is_space(s->ptr[0]) && !is_delimiter(s->ptr[0])) {
        advance(s, 1);
    }
}

static size_t digits(struct str s)
{
    size_t n = 0;
    while (n < s.len && n < 10 && is_digit(s.ptr[n])) {
        n++;
    }
    return n;
}

static uint32_t whole(struct str s)
{
    uint64_t v = 0;
    for (size_t i = 0, n = digits(s); i < n; i++) {
        v = v * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

/* Length of "N G R" at the beginning; 0: something else stands there. */
static size_t reference_length(struct str s)
{
    struct str at = s;
    for (int i = 0; i < 2; i++) {
        size_t n = digits(at);
        if (n == 0 || at.len == n || !is_space(at.ptr[n])) {
            return 0;
        }
        advance(&at, n);
        skip_space(&at);
    }
    bool ends = at.len > 0 && at.ptr[0] == 'R' &&
                (at.len == 1 || is_space(at.ptr[1]) || is_delimiter(at.ptr[1]));
    return ends ? s.len - at.len + 1 : 0;
}

/* Past one value. False: there is none, or it does not end. */
static bool skip_value(struct pdf_objects *f, struct str *s)
{
    struct str was = *s;
    size_t depth = 0;
    if (f->budget == 0) {
        return false;
    }
    do {
        skip_space(s);
        if (s->len == 0) {
            (void)pay(f, was.len);
            return false;
        }
        char c = s->ptr[0], next = s->len > 1 ? s->ptr[1] : '\0';
        size_t reference = depth == 0 && is_digit(c) ? reference_length(*s) : 0;
        if (reference > 0) {
            advance(s, reference);
        } else if (c == '(') {
            skip_literal(s);
        } else if (c == '[' || (c == '<' && next == '<')) {
            advance(s, c == '[' ? 1 : 2);
            depth++;
        } else if (c == ']' || (c == '>' && next == '>')) {
            if (depth == 0) {
                return false;
            }
            advance(s, c == ']' ? 1 : 2);
            depth--;
        } else if (c == '<') {
            const char *end = memchr(s->ptr, '>', s->len);
            advance(s, end == NULL ? s->len : (size_t)(end - s->ptr) + 1);
        } else {
            skip_word(s);
        }
    } while (depth > 0);
    return pay(f, was.len - s->len);
}

/* --- values --- */

static struct str begun(struct str s)
{
    skip_space(&s);
    return s;
}

bool pdf_is_dict(struct str value)
{
    return str_starts(begun(value), STR("<<"));
}

bool pdf_is_string(struct str value)
{
    struct str s = begun(value);
    return s.len > 1 && (s.ptr[0] == '(' || (s.ptr[0] == '<' && s.ptr[1] != '<'));
}

bool pdf_name(struct str value, struct str *out)
{
    struct str s = begun(value), rest = s;
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
    struct str s = begun(value);
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
    struct str s = begun(value);
    return reference_length(s) > 0 ? whole(s) : 0;
}

bool pdf_resolve(struct pdf_objects *f, struct str value, struct str *out)
{
    struct str s = begun(value);
    for (int i = 0; i < HOPS_MAX; i++) {
        if (s.len == 0 || !is_digit(s.ptr[0]) || reference_length(s) == 0) {
            *out = s;
            return s.len > 0 && !(str_starts(s, STR("null")));
        }
        uint32_t number = whole(s);
        if (number >= f->n || f->at[number].ptr == NULL) {
            return false;
        }
        s = begun(f->at[number]);
    }
    return false;
}

bool pdf_get_raw(struct pdf_objects *f, struct str dict, const char *key, struct str *out)
{
    struct str s = begun(dict), want = str_from(key), name;
    if (!str_starts(s, STR("<<"))) {
        return false;
    }
    advance(&s, 2);
    for (;;) {
        skip_space(&s);
        if (!pdf_name(s, &name)) {
            return false;
        }
        advance(&s, name.len + 1);
        if (!pay(f, name.len)) {
            return false;
        }
        if (str_eq(name, want)) {
            *out = begun(s);
            return out->len > 0;
        }
        if (!skip_value(f, &s)) {
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
    struct str s = begun(value);
    if (!str_starts(s, STR("["))) {
        return false;
    }
    advance(&s, 1);
    *rest = s;
    return true;
}

bool pdf_next(struct pdf_objects *f, struct str *rest, struct str *out)
{
    skip_space(rest);
    if (rest->len == 0 || rest->ptr[0] == ']') {
        return false;
    }
    *out = *rest;
    return skip_value(f, rest);
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
    struct str s = begun(value), end = s;
    if (!pdf_is_string(s) || !skip_value(f, &end)) {
        return false;
    }
    s.len -= end.len;
    if (s.ptr[0] == '<') {
        put_hex(s, out);
        return buf_status(out) == STATUS_OK;
    }
    s.len -= s.ptr[s.len - 1] == ')';
    for (advance(&s, 1); s.len > 0;) {
        char c = s.ptr[0];
        advance(&s, 1);
        if (c == '\\' && s.len > 0) {
            advance(&s, put_escape(s, out));
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

/* --- streams --- */

static struct str find(struct pdf_objects *f, struct str s, const char *what)
{
    const char *at = f->budget == 0 ? NULL : memmem(s.ptr, s.len, what, strlen(what));
    (void)pay(f, at == NULL ? s.len : (size_t)(at - s.ptr));
    return at == NULL ? (struct str){0} : (struct str){at, s.len - (size_t)(at - s.ptr)};
}

/* Where the stream behind a dictionary begins; false: there is none. */
static bool stream_start(struct pdf_objects *f, struct str dict, struct str *out)
{
    struct str s = dict;
    if (!skip_value(f, &s)) {
        return false;
    }
    skip_space(&s);
    if (!str_starts(s, STR("stream"))) {
        return false;
    }
    advance(&s, 6);
    if (s.len > 0 && s.ptr[0] == '\r') {
        advance(&s, 1);
    }
    if (s.len > 0 && s.ptr[0] == '\n') {
        advance(&s, 1);
    }
    *out = s;
    return true;
}

/* Cuts it where its /Length says, if "endstream" stands there, else at the next such word. */
static bool stream_bytes(struct pdf_objects *f, struct str dict, struct str *out)
{
    struct str s, length;
    if (!stream_start(f, dict, &s)) {
        return false;
    }
    if (pdf_get(f, dict, "Length", &length)) {
        size_t n = whole(length);
        struct str rest = {s.ptr + (n < s.len ? n : 0), n < s.len ? s.len - n : 0};
        skip_space(&rest);
        if (str_starts(rest, STR("endstream"))) {
            *out = (struct str){s.ptr, n};
            return true;
        }
    }
    struct str end = find(f, s, "endstream");
    if (end.ptr == NULL) {
        return false;
    }
    *out = (struct str){s.ptr, s.len - end.len};
    return true;
}

static bool unpack(struct pdf_objects *f, struct str s, struct buf *out)
{
    z_stream z = {0};
    union { /* zlib's input is const in all but name */
        const char *in;
        unsigned char *out;
    } u = {s.ptr};
    if (s.len > UINT32_MAX / 2 || inflateInit(&z) != Z_OK) {
        return false;
    }
    z.next_in = u.out;
    z.avail_in = (uInt)s.len;
    int r = Z_OK;
    while (r == Z_OK) {
        char *room = buf_reserve(out, 32768);
        if (room == NULL) {
            break;
        }
        z.next_out = (unsigned char *)room;
        z.avail_out = 32768;
        r = inflate(&z, Z_NO_FLUSH);
        size_t n = 32768 - z.avail_out;
        out->len += n;
        if (!pay(f, n)) {
            r = Z_MEM_ERROR;
        }
        if (r == Z_OK && n == 0 && z.avail_in == 0) {
            break;
        }
    }
    (void)inflateEnd(&z);
    return r == Z_STREAM_END;
}

bool pdf_stream(struct pdf_objects *f, struct str value, struct buf *out)
{
    struct str filter, raw, predictor, parameters, one, rest;
    if (!pdf_is_dict(value) || !stream_bytes(f, value, &raw)) {
        return false;
    }
    if (!pdf_get(f, value, "Filter", &filter)) {
        buf_str(out, raw);
        return buf_status(out) == STATUS_OK && pay(f, raw.len);
    }
    if (pdf_array(filter, &rest)) { /* of one */
        if (!pdf_next(f, &rest, &one) || pdf_next(f, &rest, &raw) ||
            !pdf_resolve(f, one, &filter)) {
            return false;
        }
    }
    float p = 1;
    if (pdf_get(f, value, "DecodeParms", &parameters) &&
        pdf_get(f, parameters, "Predictor", &predictor) && pdf_number(predictor, &p) && p > 1) {
        return false;
    }
    return (pdf_is_name(filter, "FlateDecode") || pdf_is_name(filter, "Fl")) && unpack(f, raw, out);
}

/* --- the table of objects --- */

static bool keep(struct pdf_objects *f, uint32_t number, struct str value)
{
    if (number == 0 || number >= NUMBERS_MAX) {
        return true;
    }
    if (number >= f->n) {
        uint32_t n = f->n < 1024 ? 1024 : f->n;
        while (n <= number) {
            n *= 2;
        }
        struct str *grown = arena_array(f->arena, n, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        if (f->n > 0) {
            memcpy(grown, f->at, f->n * sizeof *grown);
        }
        f->at = grown;
        f->n = n;
    }
    f->at[number] = value;
    return true;
}

/* The objects of an object stream: "number offset" pairs, then the objects (7.5.7). */
static bool keep_packed(struct pdf_objects *f, struct str dict)
{
    struct buf text;
    struct str v;
    float first = 0, n = 0;
    bool ok = true;
    buf_init(&text, UNPACKED_MAX);
    if (pdf_get(f, dict, "First", &v) && pdf_number(v, &first) && pdf_get(f, dict, "N", &v) &&
        pdf_number(v, &n) && pdf_stream(f, dict, &text) && first >= 0 && (size_t)first < text.len) {
        const char *copy = arena_strndup(f->arena, text.ptr, text.len);
        struct str head = {copy, (size_t)first};
        for (size_t i = 0; copy != NULL && ok && i < (size_t)n; i++) {
            uint32_t pair[2];
            bool whole_pair = true;
            for (int k = 0; k < 2; k++) {
                skip_space(&head);
                size_t len = digits(head);
                whole_pair = whole_pair && len > 0;
                pair[k] = whole(head);
                advance(&head, len);
            }
            size_t at = (size_t)first + pair[1];
            if (!whole_pair) {
                break;
            }
            if (at < text.len) {
                ok = keep(f, pair[0], (struct str){copy + at, text.len - at});
            }
        }
        ok = ok && copy != NULL;
    }
    buf_deinit(&text);
    return ok;
}

static void keep_trailer(struct pdf_objects *f, struct str dict)
{
    struct str v;
    if (pdf_get_raw(f, dict, "Encrypt", &v)) {
        f->encrypted = true;
    }
    if (pdf_get_raw(f, dict, "Root", &v)) {
        f->trailer = dict;
    }
}

/* The number before "G obj" at `at`; 0: none. */
static uint32_t number_before(struct str data, size_t at)
{
    size_t i = at, from;
    for (int k = 0; k < 2; k++) {
        size_t blank = i;
        while (i > 0 && is_space(data.ptr[i - 1])) {
            i--;
        }
        from = i;
        while (i > 0 && from - i < 10 && is_digit(data.ptr[i - 1])) {
            i--;
        }
        if (from == i || (k == 1 && blank == from)) {
            return 0;
        }
    }
    return whole((struct str){data.ptr + i, data.len - i});
}

/* Looks at an object found in the file; where to look on. */
static bool visit(struct pdf_objects *f, uint32_t number, struct str value, struct str *rest)
{
    struct str v, s;
    if (!keep(f, number, value)) {
        return false;
    }
    *rest = value;
    if (!pdf_is_dict(value)) {
        return true;
    }
    s = value;
    if (!skip_value(f, &s)) {
        return true;
    }
    *rest = s;
    struct str raw;
    if (!stream_bytes(f, value, &raw)) {
        return true;
    }
    *rest = (struct str){raw.ptr + raw.len, (size_t)(value.ptr + value.len - raw.ptr) - raw.len};
    if (!pdf_get(f, value, "Type", &v)) {
        return true;
    }
    if (pdf_is_name(v, "XRef")) {
        keep_trailer(f, value);
    }
    return !pdf_is_name(v, "ObjStm") || keep_packed(f, value);
}

/* "trailer" with a /Root, from the file's end; of a linearized file it stands near the beginning.
 */
static void find_trailer(struct pdf_objects *f)
{
    size_t look = f->data.len < TRAILER_LOOK ? f->data.len : TRAILER_LOOK;
    for (size_t i = 0; i < 2 * look && f->trailer.ptr == NULL; i++) {
        size_t at = i < look ? f->data.len - 1 - i : i - look;
        struct str s = {f->data.ptr + at, f->data.len - at};
        if (s.ptr[0] == 't' && str_starts(s, STR("trailer"))) {
            advance(&s, 7);
            keep_trailer(f, s);
        }
    }
}

/* Where there is no trailer: the catalogue itself. */
static void find_root(struct pdf_objects *f)
{
    struct str v;
    if (f->trailer.ptr != NULL && pdf_get(f, f->trailer, "Root", &f->root)) {
        return;
    }
    for (uint32_t i = f->n; i-- > 0;) {
        if (f->at[i].ptr != NULL && pdf_get(f, f->at[i], "Type", &v) && pdf_is_name(v, "Catalog")) {
            f->root = begun(f->at[i]);
            return;
        }
    }
}

bool pdf_objects_open(struct pdf_objects *f, struct str data, struct arena *a)
{
    uint64_t budget = 64 * (uint64_t)data.len + (16U << 20);
    *f = (struct pdf_objects){.arena = a, .data = data};
    f->budget = budget < (UINT64_C(2) << 30) ? budget : UINT64_C(2) << 30;
    struct str rest = data;
    while (rest.len > 0 && f->budget > 0) {
        const char *hit = memmem(rest.ptr, rest.len, "obj", 3);
        if (hit == NULL) {
            break;
        }
        size_t at = (size_t)(hit - data.ptr);
        uint32_t number = number_before(data, at);
        rest = (struct str){hit + 3, data.len - at - 3};
        if (number > 0 && !visit(f, number, rest, &rest)) {
            return false;
        }
    }
    find_trailer(f);
    find_root(f);
    return f->root.ptr != NULL;
}
