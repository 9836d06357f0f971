#include "ingest/formats/bidi.h"

#include "ingest/utf8.h"

bool bidi_is_rtl(uint32_t c)
{
    return (c >= 0x590 && c <= 0x8FF && !(c >= 0x660 && c <= 0x669)) ||
           (c >= 0xFB1D && c <= 0xFDFF) || (c >= 0xFE70 && c <= 0xFEFC) ||
           (c >= 0x10800 && c <= 0x10FFF) || (c >= 0x1E800 && c <= 0x1EFFF);
}

static bool is_ltr(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= 0x660 && c <= 0x669) || (c >= 0xC0 && c < 0x590);
}

static uint32_t mirrored(uint32_t c)
{
    static const char pairs[] = "()[]{}<>";
    const char *p = c < 0x80 && c != 0 ? strchr(pairs, (int)c) : NULL;
    return p == NULL ? c : (uint32_t)(unsigned char)pairs[(p - pairs) ^ 1];
}

static bool has_rtl(struct str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t n;
        if (bidi_is_rtl(utf8_next(s.ptr + i, s.ptr + s.len, &n))) {
            return true;
        }
        i += n;
    }
    return false;
}

/* Start of the character that ends at byte `end` (> 0). */
static size_t step_back(struct str s, size_t end)
{
    size_t i = end - 1;
    while (i > 0 && end - i < 4 && ((unsigned char)s.ptr[i] & 0xC0) == 0x80) {
        i--;
    }
    return i;
}

static void put_reversed_word(struct str w, struct buf *out)
{
    for (size_t end = w.len; end > 0;) {
        size_t n, start = step_back(w, end);
        uint32_t c = utf8_next(w.ptr + start, w.ptr + end, &n);
        if (c != UTF8_BAD &&
            is_ltr(c)) { /* a run that keeps its order, separators within numbers too */
            size_t run = start;
            while (run > 0) {
                size_t before = step_back(w, run);
                uint32_t b = utf8_next(w.ptr + before, w.ptr + run, &n);
                bool inner = b == '.' || b == ',' || b == ':' || b == '/' || b == '-';
                if (b == UTF8_BAD || !(is_ltr(b) || (inner && before > 0 &&
                                                     is_ltr((unsigned char)w.ptr[before - 1])))) {
                    break;
                }
                run = before;
            }
            buf_append(out, w.ptr + run, end - run);
            end = run;
            continue;
        }
        utf8_put(out, c == UTF8_BAD ? 0xFFFD : mirrored(c));
        end = start;
    }
}

static void put_word(struct str w, struct buf *out)
{
    if (has_rtl(w)) {
        put_reversed_word(w, out);
    } else {
        buf_str(out, w);
    }
}

static struct str word_at(struct str line, size_t from)
{
    const char *space = memchr(line.ptr + from, ' ', line.len - from);
    size_t end = space == NULL ? line.len : (size_t)(space - line.ptr);
    return (struct str){line.ptr + from, end - from};
}

/* The word that ends at byte `end`. */
static struct str word_before(struct str line, size_t end)
{
    size_t from = end;
    while (from > 0 && line.ptr[from - 1] != ' ') {
        from--;
    }
    return (struct str){line.ptr + from, end - from};
}

static void put_words_reversed(struct str line, struct buf *out)
{
    for (size_t end = line.len;;) {
        struct str w = word_before(line, end);
        size_t start = (size_t)(w.ptr - line.ptr), run = start;
        if (!has_rtl(w)) { /* several words from left to right stay in order */
            while (run > 0) {
                struct str b = word_before(line, run - 1);
                if (has_rtl(b)) {
                    break;
                }
                run = (size_t)(b.ptr - line.ptr);
            }
            buf_append(out, line.ptr + run, end - run);
        } else {
            put_word(w, out);
        }
        if (run == 0) {
            return;
        }
        buf_char(out, ' ');
        end = run - 1;
    }
}

void bidi_to_logical(struct str line, struct buf *out)
{
    size_t rtl = 0, ltr = 0;
    if (!has_rtl(line)) {
        buf_str(out, line);
        return;
    }
    for (size_t i = 0; i <= line.len;) {
        struct str w = word_at(line, i);
        bool r = has_rtl(w);
        rtl += r;
        ltr += !r;
        i += w.len + 1;
    }
    if (rtl >= ltr) {
        put_words_reversed(line, out);
        return;
    }
    for (size_t i = 0; i <= line.len;) {
        struct str w = word_at(line, i);
        buf_z(out, i > 0 ? " " : "");
        put_word(w, out);
        i += w.len + 1;
    }
}
