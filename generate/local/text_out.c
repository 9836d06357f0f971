#include "generate/local/text_out.h"

#define HELD_MAX ((size_t)64 * 1024) /* one token's bytes and an unfinished character */

enum status text_out_init(struct text_out *t, const struct tokenizer *tokenizer,
                          const struct str *stops, size_t n_stops, struct error *err)
{
    *t = (struct text_out){.tokenizer = tokenizer};
    buf_init(&t->raw, HELD_MAX);
    buf_init(&t->clean, 3 * HELD_MAX);
    return stop_init(&t->stop, stops, n_stops, err);
}

void text_out_deinit(struct text_out *t)
{
    stop_deinit(&t->stop);
    buf_deinit(&t->raw);
    buf_deinit(&t->clean);
}

/* Bytes of the whole, well-formed character at p; 0: there is none (RFC 3629). */
static size_t character(const unsigned char *p, size_t len)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n == 0 || p[0] > 0xF4 || n > len || p[0] == 0) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool bad = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
               (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F);
    return bad ? 0 : n;
}

static void clean(struct text_out *t, size_t len)
{
    const unsigned char *p = (const unsigned char *)t->raw.ptr;
    for (size_t i = 0; i < len;) {
        size_t n = character(p + i, len - i);
        if (n > 0) {
            buf_append(&t->clean, p + i, n);
        } else {
            buf_z(&t->clean, "\xEF\xBF\xBD");
        }
        i += n > 0 ? n : 1;
    }
    buf_consume(&t->raw, len);
}

static unsigned flags_of(const struct text_out *t, uint32_t token)
{
    for (size_t i = 0; i < t->n_shown; i++) {
        if (t->shown[i] == token) {
            return TOKENIZER_SPECIALS;
        }
    }
    return 0;
}

bool text_out_add(struct text_out *t, uint32_t token, struct buf *out)
{
    size_t before = t->raw.len;
    tokenizer_piece(t->tokenizer, token, !t->begun, flags_of(t, token), &t->raw);
    t->begun = t->begun || t->raw.len > before;
    if (buf_status(&t->raw) != STATUS_OK) { /* a vocabulary's token of many pages */
        out->failed = buf_status(&t->raw);
        return true;
    }
    if (t->raw.len == 0) {
        return t->stop.stopped;
    }
    clean(t, t->raw.len - tokenizer_incomplete(buf_view(&t->raw)));
    bool stopped = stop_feed(&t->stop, buf_view(&t->clean), out);
    buf_reset(&t->clean);
    return stopped;
}

void text_out_end(struct text_out *t, struct buf *out)
{
    if (t->raw.len > 0) {
        clean(t, t->raw.len);
    }
    if (!stop_feed(&t->stop, buf_view(&t->clean), out)) {
        stop_end(&t->stop, out);
    }
    buf_reset(&t->clean);
}
