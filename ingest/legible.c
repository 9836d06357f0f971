#include "ingest/legible.h"

#include "ingest/utf8.h"

static bool is_private(uint32_t c)
{
    return (c >= 0xE000 && c <= 0xF8FF) || c >= 0xF0000;
}

static bool is_letter(uint32_t c)
{
    if (c < 0x80) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }
    bool sign = c < 0xC0 || c == 0xD7 || c == 0xF7 || (c >= 0x2000 && c < 0x2C00) ||
                (c >= 0x3000 && c < 0x3005) || (c >= 0xFF00 && c < 0xFF10);
    return !sign;
}

void legible_count(struct legible *l, struct str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n;
        uint32_t c = utf8_next(s.ptr + i, s.ptr + s.len, &n);
        if (c == UTF8_BAD || c == 0xFFFD || is_private(c)) {
            l->bad++;
        } else if (is_letter(c)) {
            l->letters++;
        } else if (!utf8_is_space(c)) {
            l->signs++;
        }
        i += n;
    }
}

bool legible_garbled(const struct legible *l)
{
    return l->bad * 8 > l->letters + l->signs + l->bad;
}

uint64_t legible_worth(const struct legible *l)
{
    uint64_t bad = 2 * l->bad;
    return l->letters > bad ? l->letters - bad : 0;
}
