#include "ingest/formats/lzfu.h"

#include "ingest/formats/octets.h"

#define WINDOW 4096U
#define HEADER 16U
#define COMPRESSED 0x75465A4CU
#define PLAIN 0x414C454DU

/* What the window begins with: words of every RTF. */
static const char start[] =
    "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    "\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    "\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

struct window {
    char bytes[WINDOW];
    uint32_t at;
    uint32_t left; /* bytes that may still come */
};

static void put(struct window *w, struct buf *out, char c)
{
    w->bytes[w->at] = c;
    w->at = (w->at + 1) % WINDOW;
    w->left--;
    buf_char(out, c);
}

void lzfu_decode(struct str data, struct buf *out)
{
    struct window w = {.left = le32(data, 4)};
    struct str rest = cut(data, HEADER, data.len);
    if (le32(data, 8) == PLAIN) {
        buf_str(out, cut(rest, 0, w.left));
        return;
    }
    if (le32(data, 8) != COMPRESSED) {
        return;
    }
    memset(w.bytes, ' ', sizeof w.bytes);
    memcpy(w.bytes, start, sizeof start - 1);
    w.at = sizeof start - 1;
    for (size_t at = 0; at < rest.len && w.left > 0;) {
        uint32_t flags = le8(rest, at++);
        for (int i = 0; i < 8 && at < rest.len && w.left > 0; i++, flags >>= 1) {
            if ((flags & 1) == 0) {
                put(&w, out, rest.ptr[at++]);
                continue;
            }
            uint32_t from = le8(rest, at) << 4 | le8(rest, at + 1) >> 4;
            uint32_t n = (le8(rest, at + 1) & 0xF) + 2;
            at += 2;
            if (from == w.at || buf_status(out) != STATUS_OK) { /* the end */
                return;
            }
            for (; n > 0 && w.left > 0; n--) {
                put(&w, out, w.bytes[from]);
                from = (from + 1) % WINDOW;
            }
        }
    }
}
