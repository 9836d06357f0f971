#include "ingest/formats/biff.h"

bool biff_next(struct biff *b)
{
    if (b->at + 4 > b->stream.len) {
        return false;
    }
    b->type = le16(b->stream, b->at);
    b->data = cut(b->stream, b->at + 4, le16(b->stream, b->at + 2));
    b->in_data = 0;
    b->at += 4 + (size_t)le16(b->stream, b->at + 2);
    return true;
}

/* The record is read to its end: goes on in its continuation. */
static bool go_on(struct biff *b)
{
    if (b->at + 4 > b->stream.len || le16(b->stream, b->at) != BIFF_CONTINUE) {
        return false;
    }
    uint32_t type = b->type;
    (void)biff_next(b);
    b->type = type;
    return true;
}

uint32_t biff_number(struct biff *b, unsigned n)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        if (b->in_data >= b->data.len && !go_on(b)) {
            return 0;
        }
        v |= le8(b->data, b->in_data++) << (8 * i);
    }
    return v;
}

void biff_skip(struct biff *b, uint32_t n)
{
    while (n > 0) {
        if (b->in_data >= b->data.len && !go_on(b)) {
            return;
        }
        size_t here = b->data.len - b->in_data;
        here = here < n ? here : n;
        b->in_data += here;
        n -= (uint32_t)here;
    }
}

static void put_narrow(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) { /* the low bytes of UTF-16 */
        char wide[2] = {s.ptr[i], 0};
        utf16_put(out, (struct str){wide, 2});
    }
}

bool biff_chars(struct biff *b, uint32_t n, bool wide, struct buf *out)
{
    while (n > 0) {
        if (b->in_data >= b->data.len) {
            if (!go_on(b)) {
                return false;
            }
            wide = (biff_number(b, 1) & 1) != 0;
        }
        uint32_t width = wide ? 2 : 1;
        size_t here = (b->data.len - b->in_data) / width;
        here = here < n ? here : n;
        struct str part = cut(b->data, b->in_data, here * width);
        if (wide) {
            utf16_put(out, part);
        } else {
            put_narrow(out, part);
        }
        b->in_data += here * width;
        n -= (uint32_t)here;
        if (n > 0 && b->in_data < b->data.len) { /* half a character */
            b->in_data = b->data.len;
        }
    }
    return true;
}

bool biff_string(struct biff *b, uint32_t n, struct buf *out)
{
    uint32_t flags = biff_number(b, 1);
    uint32_t runs = (flags & 8) != 0 ? biff_number(b, 2) : 0;
    uint32_t more = (flags & 4) != 0 ? biff_number(b, 4) : 0;
    bool whole = biff_chars(b, n, (flags & 1) != 0, out);
    biff_skip(b, runs * 4);
    biff_skip(b, more);
    return whole;
}
