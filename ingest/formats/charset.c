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
 * to form a character are rare (one in ten pairs of a Chinese encoding, fewer in western ones). Of
 * kana in Shift_JIS they are not: *more_bad says that little speaks for it. */
static bool is_damaged_utf8(struct str s, bool *more_bad)
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
    *more_bad = bad > good;
    return good >= 2 && 3 * good >= bad;
}

/* Some bytes hardly occur outside Windows' own encodings: in those of ISO they are control codes,
 * and what they stand for (quotation marks, the euro, Czech letters) would be lost. */
static const char *windows_of(const char *charset, struct str s)
{
    static const char *const pairs[][2] = {
        {"ISO-8859-1", "WINDOWS-1252"},  {"ISO-8859-2", "WINDOWS-1250"},
        {"ISO-8859-7", "WINDOWS-1253"},  {"ISO-8859-8", "WINDOWS-1255"},
        {"ISO-8859-9", "WINDOWS-1254"},  {"ISO-8859-13", "WINDOWS-1257"},
        {"ISO-8859-15", "WINDOWS-1252"},
    };
    size_t n = 0;
    while (n < sizeof pairs / sizeof pairs[0] && strcasecmp(pairs[n][0], charset) != 0) {
        n++;
    }
    for (size_t i = 0; n < sizeof pairs / sizeof pairs[0] && i < s.len && i < LOOK_AT; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x80 && c < 0xA0 && c != 0x85) {
            return pairs[n][1];
        }
    }
    return charset;
}

/* Nothing in it that this encoding has not; it may be cut off at its end. */
static bool is_all_of(struct str s, const char *charset)
{
    iconv_t cd = iconv_open("UTF-8", charset);
    if (cd == (iconv_t)-1) {
        return false;
    }
    union { /* iconv does not write through its input */
        const char *in;
        char *out;
    } p = {s.ptr};
    size_t left = s.len < LOOK_AT ? s.len : LOOK_AT;
    bool fits = true;
    while (fits && left > 0) {
        char out[4096];
        char *to = out;
        size_t room = sizeof out;
        if (iconv(cd, &p.out, &left, &to, &room) == (size_t)-1 && errno != E2BIG) {
            fits = errno == EINVAL;
            break;
        }
    }
    iconv_close(cd);
    return fits;
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
    bool more_bad = false;
    if (!escapes && (charset_is_utf8(s) || is_damaged_utf8(s, &more_bad))) {
        return more_bad && is_all_of(s, "CP932") ? "CP932" : "UTF-8";
    }
    if (declared != NULL && strncasecmp(declared, "utf", 3) != 0 && iconv_knows(declared)) {
        return windows_of(declared, s);
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
    return windows_of(guess, s);
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
