/* UTF-8: decoding with full checks, and the measures that count code points. */
#include "base/text/internal.h"

uint32_t text_decode(const char *p, size_t len, size_t *used)
{
    const unsigned char *b = (const unsigned char *)p;
    *used = 1;
    if (b[0] < 0x80) {
        return b[0];
    }
    if (b[0] < 0xC2 || b[0] > 0xF4) {
        return TEXT_INVALID;
    }
    size_t n = b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;
    if (len < n) {
        return TEXT_INVALID;
    }
    uint32_t cp = b[0] & (0xFFU >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xC0) != 0x80) {
            return TEXT_INVALID;
        }
        cp = cp << 6 | (b[i] & 0x3FU);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (cp < least[n] || (cp >= 0xD800 && cp <= 0xDFFF) || cp > 0x10FFFF) {
        return TEXT_INVALID;
    }
    *used = n;
    return cp;
}

size_t text_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

/* How many bytes from p on are plain ASCII without NUL, counted eight at a time. */
static size_t ascii_run(const char *p, size_t len)
{
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        if ((w & 0x8080808080808080U) != 0 ||
            ((w - 0x0101010101010101U) & ~w & 0x8080808080808080U) != 0) {
            break;
        }
    }
    while (i < len && p[i] > 0) {
        i++;
    }
    return i;
}

bool text_utf8_valid(struct str s)
{
    size_t i = 0;
    while (i < s.len) {
        i += ascii_run(s.ptr + i, s.len - i);
        if (i == s.len) {
            break;
        }
        size_t used;
        uint32_t cp = text_decode(s.ptr + i, s.len - i, &used);
        if (cp == TEXT_INVALID || cp == 0) {
            return false;
        }
        i += used;
    }
    return true;
}

size_t text_code_points(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    }
    return n;
}

size_t text_byte_offset(struct str s, size_t code_points)
{
    size_t i = 0;
    for (; i < s.len; i++) {
        if (((unsigned char)s.ptr[i] & 0xC0) != 0x80) {
            if (code_points == 0) {
                break;
            }
            code_points--;
        }
    }
    return i;
}
