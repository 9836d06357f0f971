#include "ingest/utf8.h"

uint32_t utf8_next(const char *p, const char *end, size_t *len)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p);
    *len = 1;
    if (u[0] < 0x80) {
        return u[0];
    }
    size_t n = u[0] >= 0xF0 ? 4 : u[0] >= 0xE0 ? 3 : 2;
    if (u[0] < 0xC2 || u[0] > 0xF4 || left < n) {
        return UTF8_BAD;
    }
    uint32_t c = u[0] & (0xFFU >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((u[i] & 0xC0) != 0x80) {
            return UTF8_BAD;
        }
        c = c << 6 | (u[i] & 0x3FU);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
        return UTF8_BAD;
    }
    *len = n;
    return c;
}

void utf8_put(struct buf *out, uint32_t c)
{
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
        c = 0xFFFD;
    }
    char b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (char)c;
    } else if (c < 0x800) {
        b[n++] = (char)(0xC0 | c >> 6);
    } else if (c < 0x10000) {
        b[n++] = (char)(0xE0 | c >> 12);
        b[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    } else {
        b[n++] = (char)(0xF0 | c >> 18);
        b[n++] = (char)(0x80 | (c >> 12 & 0x3F));
        b[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    }
    if (c >= 0x80) {
        b[n++] = (char)(0x80 | (c & 0x3F));
    }
    buf_append(out, b, n);
}

static bool is_control(uint32_t c)
{
    return (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7F && c < 0xA0) || c == 0xFEFF ||
           (c & 0xFFFE) == 0xFFFE;
}

void utf8_clean(struct buf *out, struct str s)
{
    if (s.len == 0) { /* and perhaps no pointer */
        return;
    }
    const char *end = s.ptr + s.len;
    const char *good = s.ptr; /* what is clean goes over in runs */
    for (const char *p = s.ptr; p < end;) {
        size_t n;
        uint32_t c = utf8_next(p, end, &n);
        if (c != UTF8_BAD && !is_control(c)) {
            p += n;
            continue;
        }
        buf_append(out, good, (size_t)(p - good));
        if (c == UTF8_BAD) {
            utf8_put(out, 0xFFFD);
        } else if (c == '\r') {
            buf_char(out, '\n');
            n += p + 1 < end && p[1] == '\n' ? 1 : 0;
        } else if (c == '\f' || c == '\v') {
            buf_char(out, '\n');
        }
        p += n;
        good = p;
    }
    if (good < end) {
        buf_append(out, good, (size_t)(end - good));
    }
}

size_t utf8_count(struct str s)
{
    size_t count = 0;
    const char *end = s.len == 0 ? s.ptr : s.ptr + s.len;
    for (const char *p = s.ptr; p < end; count++) {
        size_t n;
        (void)utf8_next(p, end, &n);
        p += n;
    }
    return count;
}

bool utf8_is_space(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

bool utf8_is_unspaced(uint32_t c)
{
    return (c >= 0x2E80 && c <= 0x303F) || (c >= 0x3040 && c <= 0x30FF) || /* radicals, kana */
           (c >= 0x3100 && c <= 0x312F) || (c >= 0x31A0 && c <= 0x31FF) ||
           (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) || /* Han */
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFF00 && c <= 0xFFEF) ||
           (c >= 0x20000 && c <= 0x3FFFF) || (c >= 0x0E00 && c <= 0x0EFF) || /* Thai, Lao */
           (c >= 0x1000 && c <= 0x109F) || (c >= 0x1780 && c <= 0x17FF);     /* Burmese, Khmer */
}
