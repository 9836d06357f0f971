/* Plain text: paragraphs end at blank lines. A text of any size goes through in pieces: UTF-8 is
 * read where it lies, other encodings are converted a stretch at a time. */
#include "ingest/formats/charset.h"
#include "ingest/formats/source.h"
#include "ingest/utf8.h"

#define STRETCH (4 * 1024 * 1024)
#define PARAGRAPH_MAX (256 * 1024) /* a paragraph longer than this is cut at a line or a space */

struct paragraphs {
    struct emitter *e;
    struct buf pending; /* a paragraph whose end has not been seen */
};

static bool blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* Typewriters' and nroff's bold and underlined text: a character, a step back, and the same again
 * or a line under it. One of each is kept. */
static void strike_once(struct buf *b)
{
    const char *p = b->len > 0 ? memchr(b->ptr, '\b', b->len) : NULL;
    if (p == NULL) {
        return;
    }
    const char *end = b->ptr + b->len;
    size_t out = (size_t)(p - b->ptr);
    while (p < end) {
        size_t n, back = 0;
        for (; p < end && *p == '\b'; p++) {
            back++;
        }
        if (back == 0) {
            (void)utf8_next(p, end, &n);
            memmove(b->ptr + out, p, n);
            out += n;
            p += n;
        } else if (p < end && *p == '_') { /* a line under what stands there */
            for (; back > 0 && p < end && *p == '_'; back--) {
                p++;
            }
        } else if (p < end && *p != '\n') {
            for (; back > 0 && out > 0 && b->ptr[out - 1] != '\n'; back--) {
                do {
                    out--;
                } while (out > 0 && ((unsigned char)b->ptr[out] & 0xC0) == 0x80);
            }
        }
    }
    b->len = out;
}

static void finish_paragraph(struct paragraphs *ps)
{
    strike_once(&ps->pending);
    struct str s = buf_view(&ps->pending);
    while (s.len > 0 &&
           (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == '\r' || s.ptr[s.len - 1] == ' ')) {
        s.len--;
    }
    emit_text(ps->e, EX__BLOCK__KIND__PARAGRAPH, 0, s);
    buf_reset(&ps->pending);
}

static void feed(struct paragraphs *ps, struct str s)
{
    const char *end = s.ptr + s.len;
    for (const char *p = s.ptr; p < end && !emit_failed(ps->e);) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl == NULL ? (size_t)(end - p) : (size_t)(nl - p);
        n = n > PARAGRAPH_MAX ? PARAGRAPH_MAX : n;
        bool whole = nl != NULL && p + n == nl;
        if (whole && blank(p, n)) {
            finish_paragraph(ps);
        } else {
            buf_append(&ps->pending, p, n + (whole ? 1 : 0));
            if (ps->pending.len > PARAGRAPH_MAX) {
                /* at a character's border: continuation bytes stay with their lead */
                while (!whole && p + n < end && ((unsigned char)p[n] & 0xC0) == 0x80) {
                    buf_char(&ps->pending, p[n++]);
                }
                finish_paragraph(ps);
            }
        }
        p += n + (whole ? 1 : 0);
    }
}

/* Old Mac text has no LF at all; form feeds and the like end lines too (the emitter turns them into
 * newlines). */
static void carriage_returns_to_newlines(struct buf *b)
{
    if (b->len == 0 || memchr(b->ptr, '\n', b->len) != NULL) {
        return;
    }
    for (size_t i = 0; i < b->len; i++) {
        b->ptr[i] = b->ptr[i] == '\r' ? '\n' : b->ptr[i];
    }
}

/* Ends of stretches that cut no character in half: a line's end; code units for UTF-16 and 32. */
static size_t stretch(struct str s, const char *charset)
{
    if (s.len <= STRETCH) {
        return s.len;
    }
    size_t n = STRETCH;
    if (strncmp(charset, "UTF-16", 6) != 0 && strncmp(charset, "UTF-32", 6) != 0) {
        for (size_t i = n; i > n - 65536; i--) {
            if (s.ptr[i - 1] == '\n') {
                return i;
            }
        }
        while (n > STRETCH - 4 && ((unsigned char)s.ptr[n] & 0xC0) == 0x80) {
            n--;
        }
    }
    return n;
}

enum status text_extract(const struct extract_input *in, struct emitter *e, struct error *err)
{
    char name[64];
    size_t bom = 0;
    struct str s = in->data;
    enum status st = STATUS_OK;
    struct str look = s;
    look.len = look.len > STRETCH ? stretch(look, "") : look.len;
    const char *charset = text_charset(look, NULL, name, sizeof name, &bom);
    if (text_is_binary(s, charset)) {
        return error_set(err, STATUS_INVALID,
                         "it is not text: too many of its bytes are control codes");
    }
    s.ptr += bom;
    s.len -= bom;
    struct paragraphs ps = {.e = e};
    struct buf decoded;
    buf_init(&ps.pending, 2 * PARAGRAPH_MAX + 16);
    buf_init(&decoded, (size_t)STRETCH * 5);
    emit_document(e, "txt", STR(""), STR(""), 0);
    bool direct = strcmp(charset, "UTF-8") == 0 && memchr(look.ptr, '\n', look.len) != NULL;
    while (s.len > 0 && st == STATUS_OK && !emit_failed(e)) {
        struct str piece = {s.ptr, stretch(s, charset)};
        if (direct) {
            feed(&ps, piece);
        } else {
            buf_reset(&decoded);
            st = charset_decode(piece, charset, &decoded, err);
            carriage_returns_to_newlines(&decoded);
            feed(&ps, buf_view(&decoded));
        }
        s.ptr += piece.len;
        s.len -= piece.len;
    }
    finish_paragraph(&ps);
    buf_deinit(&decoded);
    buf_deinit(&ps.pending);
    return st;
}
