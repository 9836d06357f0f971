#include "ingest/formats/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <strings.h>
#include <uchardet/uchardet.h>

#include "ingest/utf8.h"

#define LOOK_AT (256 * 1024) /* as much as the guess needs */

bool charset_is_utf8(struct str s)
{
    const char *end = s.ptr + s.len;
    bool seen = false; /* a character beyond ASCII */
    for (const char *p = s.ptr; p < end;) {
        size_t n;
        if (utf8_next(p, end, &n) == UTF8_BAD) {
            return seen && end - p < 4 && ((unsigned char)*p & 0xC0) == 0xC0;
        }
        seen = seen || n > 1;
        p += n;
    }
    return true;
}

static bool iconv_knows(const char *charset)
{
    iconv_t cd = iconv_open("UTF-8", charset);
    if (cd == (iconv_t)-1) {
        return false;
    }
    iconv_close(cd);
    return true;
}

/* UTF-8 with bad bytes is UTF-8 that was damaged, not another encoding: elsewhere bytes that happen
 * to form a character are rare (one in ten pairs of a Chinese encoding, fewer in western ones). */
static bool is_damaged_utf8(struct str s)
{
    size_t good = 0, bad = 0;
    const char *end = s.ptr + s.len;
    for (const char *p = s.ptr; p < end;) {
        size_t n;
        uint32_t c = utf8_next(p, end, &n);
        bad += c == UTF8_BAD;
        good += c != UTF8_BAD && c >= 0x80;
        p += n;
    }
    return good >= 2 && 3 * good >= bad;
}

const char *charset_guess(struct str s, const char *declared, char *out, size_t cap, size_t *bom)
{
    static const struct {
        const char *mark;
        size_t len;
        const char *charset;
    } marks[] = {{"\xEF\xBB\xBF", 3, "UTF-8"},
                 {"\xFF\xFE\0\0", 4, "UTF-32LE"},
                 {"\0\0\xFE\xFF", 4, "UTF-32BE"},
                 {"\xFF\xFE", 2, "UTF-16LE"},
                 {"\xFE\xFF", 2, "UTF-16BE"}};
    *bom = 0;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (s.len >= marks[i].len && memcmp(s.ptr, marks[i].mark, marks[i].len) == 0) {
            *bom = marks[i].len;
            return marks[i].charset;
        }
    }
    /* ISO-2022-JP and its kin are ASCII bytes with escape sequences */
    bool escapes =
        s.len > 0 && memmem(s.ptr, s.len < LOOK_AT ? s.len : LOOK_AT, "\033$", 2) != NULL;
    if (!escapes && (charset_is_utf8(s) || is_damaged_utf8(s))) {
        return "UTF-8";
    }
    if (declared != NULL && strncasecmp(declared, "utf", 3) != 0 && iconv_knows(declared)) {
        return declared;
    }
    const char *guess = NULL;
    uchardet_t u = uchardet_new();
    if (u != NULL) {
        size_t n = s.len < LOOK_AT ? s.len : LOOK_AT;
        if (uchardet_handle_data(u, s.ptr, n) == 0) {
            uchardet_data_end(u);
            int w = snprintf(out, cap, "%s", uchardet_get_charset(u));
            guess = w > 0 && (size_t)w < cap ? out : NULL;
        }
        uchardet_delete(u);
    }
    if (guess == NULL || strncasecmp(guess, "utf-8", 5) == 0 || strcasecmp(guess, "ascii") == 0 ||
        !iconv_knows(guess)) {
        return "WINDOWS-1252";
    }
    return guess;
}

enum status charset_decode(struct str s, const char *charset, struct buf *out, struct error *err)
{
    if (strcasecmp(charset, "UTF-8") == 0) {
        buf_str(out, s);
        return buf_status(out) == STATUS_OK
                   ? STATUS_OK
                   : error_set(err, STATUS_TOO_LARGE, "the text is larger than the limit");
    }
    iconv_t cd = iconv_open("UTF-8", charset);
    if (cd == (iconv_t)-1) {
        return error_set(err, STATUS_UNSUPPORTED, "its text is in %.40s, which cannot be converted",
                         charset);
    }
    union { /* iconv does not write through its input */
        const char *in;
        char *out;
    } p = {s.ptr};
    size_t left = s.len;
    while (left > 0 && buf_status(out) == STATUS_OK) {
        size_t room = left * 2 < 65536 ? 65536 : left < (1U << 20) ? left * 2 : (1U << 20);
        char *to = buf_reserve(out, room);
        if (to == NULL) {
            break;
        }
        size_t before = room;
        size_t rc = iconv(cd, &p.out, &left, &to, &room);
        int why = errno;
        out->len += before - room;
        if (rc == (size_t)-1 && why != E2BIG && left > 0) {
            utf8_put(out, 0xFFFD);
            p.out++;
            left--;
        }
    }
    iconv_close(cd);
    return buf_status(out) == STATUS_OK
               ? STATUS_OK
               : error_set(err, STATUS_TOO_LARGE, "the text is larger than the limit");
}
