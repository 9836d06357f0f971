#include "ingest/formats/mime.h"

#include <stdio.h>
#include <strings.h>

#include "ingest/formats/charset.h"
#include "ingest/formats/source.h"

#define WORD_MAX 4096
#define FIELD_MAX 65536

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* ---- fields ---- */

/* The field that begins at *at, with the lines that continue it; *at behind it. */
static bool next_field(struct str header, size_t *at, struct str *field)
{
    struct str line;
    if (!source_line(header, at, &line) || line.len == 0) {
        return false;
    }
    const char *end = line.ptr + line.len;
    for (;;) {
        size_t next = *at;
        if (next >= header.len || !is_blank(header.ptr[next]) ||
            !source_line(header, &next, &line)) {
            break;
        }
        end = line.ptr + line.len;
        *at = next;
    }
    *field = (struct str){field->ptr, 0};
    field->len = (size_t)(end - field->ptr);
    return true;
}

struct str mime_field(struct str header, const char *name)
{
    size_t n = strlen(name);
    for (size_t at = 0; at < header.len;) {
        struct str f = {header.ptr + at, 0};
        if (!next_field(header, &at, &f)) {
            break;
        }
        size_t colon = n;
        while (colon < f.len && is_blank(f.ptr[colon])) {
            colon++;
        }
        if (f.len > colon && f.ptr[colon] == ':' && strncasecmp(f.ptr, name, n) == 0) {
            struct str value = text_trim((struct str){f.ptr + colon + 1, f.len - colon - 1});
            value.len = value.len < FIELD_MAX ? value.len : FIELD_MAX;
            return value;
        }
    }
    return STR("");
}

size_t mime_header_end(struct str message)
{
    struct str line;
    for (size_t at = 0; source_line(message, &at, &line);) {
        if (line.len == 0) {
            return at;
        }
    }
    return message.len;
}

/* ---- transfer encodings ---- */

static int digit64(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static void decode_base64(struct str s, struct buf *out)
{
    uint32_t bits = 0;
    unsigned n = 0;
    for (size_t i = 0; i < s.len; i++) {
        int d = digit64(s.ptr[i]);
        if (s.ptr[i] == '=') { /* the end, or of one of several put together */
            n = 0;
        }
        if (d < 0) {
            continue;
        }
        bits = bits << 6 | (uint32_t)d;
        n += 6;
        if (n >= 8) {
            n -= 8;
            buf_char(out, (char)(bits >> n & 0xFF));
        }
    }
}

/* in_word: '_' is a space. */
static void decode_quoted(struct str s, bool in_word, struct buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '=' && i + 2 < s.len && text_hex(s.ptr[i + 1]) >= 0 &&
            text_hex(s.ptr[i + 2]) >= 0) {
            buf_char(out, (char)(text_hex(s.ptr[i + 1]) * 16 + text_hex(s.ptr[i + 2])));
            i += 2;
        } else if (c == '=' && !in_word) {
            size_t k = i + 1;
            while (k < s.len && is_blank(s.ptr[k])) {
                k++;
            }
            if (k >= s.len) {
                return;
            }
            if (s.ptr[k] == '\r' || s.ptr[k] == '\n') { /* the line goes on */
                i = s.ptr[k] == '\r' && k + 1 < s.len && s.ptr[k + 1] == '\n' ? k + 1 : k;
            } else {
                buf_char(out, c);
            }
        } else {
            buf_char(out, in_word && c == '_' ? ' ' : c);
        }
    }
}

/* One line of uuencode (POSIX): how many bytes it stands for, then four letters for three of them.
 */
static void decode_uu_line(struct str line, struct buf *out)
{
    size_t left = (size_t)(line.ptr[0] - ' ') & 63;
    for (size_t i = 1; left > 0 && i < line.len; i += 4) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            char c = i + k < line.len ? line.ptr[i + k] : ' ';
            bits = bits << 6 | (uint32_t)((c - ' ') & 63);
        }
        for (unsigned k = 0; k < 3 && left > 0; k++, left--) {
            buf_char(out, (char)(bits >> (16 - 8 * k) & 0xFF));
        }
    }
}

static void decode_uu(struct str s, struct buf *out)
{
    struct str line;
    bool inside = false;
    for (size_t at = 0; source_line(s, &at, &line);) {
        if (!inside) {
            inside = str_starts(line, STR("begin "));
        } else if (line.len == 0 || str_eq(line, STR("end"))) {
            break;
        } else {
            decode_uu_line(line, out);
        }
    }
}

void mime_decode(struct str body, const char *encoding, struct buf *out)
{
    if (strcasecmp(encoding, "base64") == 0) {
        decode_base64(body, out);
    } else if (strcasecmp(encoding, "quoted-printable") == 0) {
        decode_quoted(body, false, out);
    } else if (strcasecmp(encoding, "x-uuencode") == 0 || strcasecmp(encoding, "uuencode") == 0) {
        decode_uu(body, out);
    } else {
        buf_str(out, body);
    }
}

/* ---- encoded words ---- */

static void put_text(struct str bytes, const char *declared, struct buf *out)
{
    char name[64];
    size_t bom = 0;
    const char *charset = charset_guess(bytes, declared, name, sizeof name, &bom);
    bytes.ptr += bom;
    bytes.len -= bom;
    (void)!charset_decode(bytes, charset, out, NULL);
}

/* "=?charset?Q?text?=" at the beginning of s: its length, 0: there is none. */
static size_t encoded_word(struct str s, char charset[64], char *kind, struct str *text)
{
    if (s.len < 8 || s.ptr[0] != '=' || s.ptr[1] != '?') {
        return 0;
    }
    size_t limit = s.len < WORD_MAX ? s.len : WORD_MAX;
    const char *q1 = memchr(s.ptr + 2, '?', limit - 2);
    size_t at = q1 == NULL ? 0 : (size_t)(q1 - s.ptr);
    if (q1 == NULL || at - 2 >= 64 || at + 3 >= limit || s.ptr[at + 2] != '?') {
        return 0;
    }
    *kind = s.ptr[at + 1];
    const char *end = memmem(s.ptr + at + 3, limit - at - 3, "?=", 2);
    /* of "?Q?=41?=" the first "?=" is no end */
    if (end == NULL || strchr("bBqQ", *kind) == NULL || *kind == '\0') {
        return 0;
    }
    memcpy(charset, s.ptr + 2, at - 2);
    charset[at - 2] = '\0';
    char *language = strchr(charset, '*'); /* RFC 2231: charset*language */
    if (language != NULL) {
        *language = '\0';
    }
    *text = (struct str){s.ptr + at + 3, (size_t)(end - s.ptr) - at - 3};
    return (size_t)(end - s.ptr) + 2;
}

void mime_decode_words(struct str value, struct buf *out)
{
    struct buf raw;   /* of encoded words of one charset: a character may be cut between two */
    struct buf plain; /* of what is none */
    char last[64] = "";
    buf_init(&raw, FIELD_MAX);
    buf_init(&plain, FIELD_MAX);
    size_t i = 0;
    size_t blanks = 0; /* where those behind an encoded word begin */
    bool after_word = false;
    while (i <= value.len) {
        char charset[64] = "";
        char kind = 0;
        struct str text = STR("");
        struct str rest = {value.ptr + i, value.len - i};
        size_t n = encoded_word(rest, charset, &kind, &text);
        bool space = n == 0 && i < value.len && strchr(" \t\r\n", value.ptr[i]) != NULL;
        if (n > 0) {
            if (raw.len > 0 && strcasecmp(last, charset) != 0) {
                put_text(buf_view(&raw), last, out);
                buf_reset(&raw);
            }
            (void)snprintf(last, sizeof last, "%s", charset);
            put_text(buf_view(&plain), NULL, out);
            buf_reset(&plain);
            if (kind == 'b' || kind == 'B') {
                decode_base64(text, &raw);
            } else {
                decode_quoted(text, true, &raw);
            }
            i += n;
            blanks = i;
            after_word = true;
            continue;
        }
        if (after_word && !space) { /* the blanks between two words are none of the text */
            put_text(buf_view(&raw), last, out);
            buf_reset(&raw);
            if (i > blanks) {
                buf_char(out, ' ');
            }
            after_word = false;
        }
        if (i < value.len && !after_word) {
            char c = value.ptr[i];
            buf_char(&plain, c == '\r' || c == '\n' || c == '\t' ? ' ' : c);
        }
        i++;
    }
    if (raw.len > 0) {
        put_text(buf_view(&raw), last, out);
    }
    put_text(buf_view(&plain), NULL, out);
    buf_deinit(&raw);
    buf_deinit(&plain);
}

/* ---- parameters ---- */

void mime_token(struct str value, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < value.len && n + 1 < cap; i++) {
        char c = value.ptr[i];
        if (c == ';' || c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '(') {
            break;
        }
        out[n++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    out[n] = '\0';
}

/* One parameter at *at (behind a ';'): its name and raw value. */
static bool next_parameter(struct str v, size_t *at, struct str *name, struct buf *value)
{
    size_t i = *at;
    while (i < v.len && (v.ptr[i] == ';' || strchr(" \t\r\n", v.ptr[i]) != NULL)) {
        i++;
    }
    size_t from = i;
    while (i < v.len && v.ptr[i] != '=' && v.ptr[i] != ';') {
        i++;
    }
    *name = text_trim((struct str){v.ptr + from, i - from});
    buf_reset(value);
    if (i < v.len && v.ptr[i] == '=') {
        i++;
        while (i < v.len && strchr(" \t\r\n", v.ptr[i]) != NULL) {
            i++;
        }
        bool quoted = i < v.len && v.ptr[i] == '"';
        for (i += quoted ? 1 : 0; i < v.len; i++) {
            char c = v.ptr[i];
            if (quoted ? c == '"' : (c == ';' || strchr(" \t\r\n", c) != NULL)) {
                break;
            }
            if (quoted && c == '\\' && i + 1 < v.len) {
                c = v.ptr[++i];
            }
            buf_char(value, c);
        }
        while (i < v.len && v.ptr[i] != ';') {
            i++;
        }
    }
    *at = i;
    return name->len > 0 || i < v.len;
}

/* "UTF-8'en'%C3%A9": the charset, and the bytes. */
static void decode_percent(struct str s, char charset[64], bool first, struct buf *out)
{
    if (first) {
        const char *q1 = memchr(s.ptr, '\'', s.len);
        const char *q2 = q1 == NULL ? NULL : memchr(q1 + 1, '\'', s.len - (size_t)(q1 + 1 - s.ptr));
        if (q2 != NULL) {
            (void)snprintf(charset, 64, "%.*s", (int)(q1 - s.ptr < 60 ? q1 - s.ptr : 60), s.ptr);
            s.len -= (size_t)(q2 + 1 - s.ptr);
            s.ptr = q2 + 1;
        }
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '%' && i + 2 < s.len && text_hex(s.ptr[i + 1]) >= 0 &&
            text_hex(s.ptr[i + 2]) >= 0) {
            buf_char(out, (char)(text_hex(s.ptr[i + 1]) * 16 + text_hex(s.ptr[i + 2])));
            i += 2;
        } else {
            buf_char(out, s.ptr[i]);
        }
    }
}

bool mime_parameter(struct str value, const char *name, char *out, size_t cap)
{
    struct buf raw;
    struct buf whole;
    struct buf text;
    char charset[64] = "";
    bool found = false;
    bool coded = false;
    size_t n = strlen(name);
    size_t at = 0;
    struct str key;
    buf_init(&raw, FIELD_MAX);
    buf_init(&whole, FIELD_MAX);
    buf_init(&text, 4 * FIELD_MAX);
    while (at < value.len && value.ptr[at] != ';') {
        at++;
    }
    while (at < value.len && next_parameter(value, &at, &key, &raw)) {
        if (key.len < n || strncasecmp(key.ptr, name, n) != 0 ||
            (key.len > n && key.ptr[n] != '*')) {
            continue;
        }
        bool extended = key.ptr[key.len - 1] == '*';
        if (extended) {
            decode_percent(buf_view(&raw), charset, !found, &whole);
        } else {
            buf_str(&whole, buf_view(&raw));
        }
        coded = coded || extended;
        found = true;
        if (key.len == n) {
            break;
        }
    }
    if (coded) {
        put_text(buf_view(&whole), charset, &text);
    } else {
        mime_decode_words(buf_view(&whole), &text);
    }
    found = found && text.len < cap && buf_status(&text) == STATUS_OK;
    if (found) {
        memcpy(out, text.len > 0 ? text.ptr : "", text.len);
        out[text.len] = '\0';
    }
    buf_deinit(&raw);
    buf_deinit(&whole);
    buf_deinit(&text);
    return found;
}
