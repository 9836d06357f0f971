#include "ingest/formats/octets.h"

#include "ingest/utf8.h"

void utf16_put(struct buf *out, struct str s)
{
    for (size_t i = 0; i + 2 <= s.len; i += 2) {
        uint32_t c = le16(s, i);
        uint32_t low = le16(s, i + 2);
        if (c >= 0xD800 && c < 0xDC00 && low >= 0xDC00 && low < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            i += 2;
        }
        utf8_put(out, c >= 0xD800 && c < 0xE000 ? 0xFFFD : c);
    }
}
