#include "generate/sentence.h"

#include <stdint.h>
#include <strings.h>

/* The code point at p[i] and its length; invalid bytes count as themselves. */
static uint32_t decode(struct str s, size_t i, size_t *len)
{
    unsigned char b = (unsigned char)s.ptr[i];
    size_t n = b < 0x80 ? 1 : b < 0xc0 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
    *len = 1;
    if (n == 1 || i + n > s.len) {
        return b;
    }
    uint32_t c = b & (0xffU >> (n + 1));
    for (size_t k = 1; k < n; k++) {
        c = c << 6 | ((unsigned char)s.ptr[i + k] & 0x3f);
    }
    *len = n;
    return c;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool ends_anywhere(uint32_t c) /* marks that need no space after them */
{
    return c == 0x3002 || c == 0xff01 || c == 0xff1f || c == 0xff61;
}

static bool ends_before_space(uint32_t c)
{
    return c == '.' || c == '!' || c == '?' || c == 0x2026 || c == 0x061f || c == 0x06d4 ||
           c == 0x0964 || c == 0x0965;
}

static bool closes(uint32_t c) /* quotes and brackets that stay with the sentence */
{
    return c == '"' || c == '\'' || c == ')' || c == ']' || c == 0x201d || c == 0x2019 ||
           c == 0xbb || c == 0x201c || c == 0x300d || c == 0x300f || c == 0xff09;
}

/* Does the full stop at `dot` belong to the word before it? */
static bool abbreviated(struct str s, size_t dot)
{
    static const char *const known[] = {
        "dr",  "mr",  "mrs", "ms",  "prof", "st",  "no",  "nr",   "vs",  "etc", "e.g", "i.e",
        "cf",  "al",  "fig", "figs", "eq",  "sec", "art", "abs",  "bzw", "ca",  "vgl", "z.b",
        "d.h", "u.a", "inkl", "ggf", "usw", "str", "tel", "jr",   "sr",  "inc", "ltd", "co",
        "p",   "pp",  "vol", "ed",  "eds",  "approx", "dept", "est", "m", "mme", "mlle", "sra", "núm",
        "pág", "ej",  "sig", "dott", "ecc", "pag", "blz", "bijv"};
    size_t from = dot;
    while (from > 0 && !is_space(s.ptr[from - 1]) && s.ptr[from - 1] != '(') {
        from--;
    }
    struct str word = {.ptr = s.ptr + from, .len = dot - from};
    if (word.len == 0) {
        return false;
    }
    if (word.len == 1 && (is_upper(word.ptr[0]) || is_lower(word.ptr[0]))) {
        return true; /* an initial */
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct str k = str_from(known[i]);
        if (k.len == word.len && strncasecmp(k.ptr, word.ptr, k.len) == 0) {
            return true;
        }
    }
    /* "3. Mai", "der 2. Absatz": a small number before more of the sentence is told by what follows */
    return false;
}

/* After a full stop and spaces: does a sentence begin at i? */
static bool begins(struct str s, size_t i, size_t dot)
{
    if (i >= s.len) {
        return true;
    }
    if (is_lower(s.ptr[i])) {
        return false;
    }
    bool number_before = dot > 0 && is_digit(s.ptr[dot - 1]) &&
                         (dot < 3 || !is_digit(s.ptr[dot - 2]) || !is_digit(s.ptr[dot - 3]));
    /* an ordinal ("am 3. Mai") is no end; a sentence rarely ends in a one or two digit number */
    return !number_before;
}

static bool list_item(struct str s, size_t i)
{
    size_t len;
    uint32_t c = i < s.len ? decode(s, i, &len) : 0;
    if (c == 0x2022 || c == 0x25aa || c == 0x2023 || c == 0x00b7) {
        return true;
    }
    if ((c == '-' || c == '*') && i + 1 < s.len && s.ptr[i + 1] == ' ') {
        return true;
    }
    size_t digits = i;
    while (digits < s.len && is_digit(s.ptr[digits])) {
        digits++;
    }
    return digits > i && digits - i <= 3 && digits + 1 < s.len &&
           (s.ptr[digits] == '.' || s.ptr[digits] == ')') && s.ptr[digits + 1] == ' ';
}

/* Where the sentence that begins at `from` ends (exclusive). */
static size_t find_end(struct str s, size_t from)
{
    size_t i = from, len;
    while (i < s.len) {
        uint32_t c = decode(s, i, &len);
        if (c == '\n') {
            size_t next = i + 1, lines = 1;
            while (next < s.len && is_space(s.ptr[next])) {
                lines += s.ptr[next++] == '\n';
            }
            if (lines > 1 || list_item(s, next)) {
                return i;
            }
            i = next;
            continue;
        }
        if (!ends_anywhere(c) && !ends_before_space(c)) {
            i += len;
            continue;
        }
        size_t dot = i, after = i + len;
        bool anywhere = ends_anywhere(c);
        while (after < s.len) { /* "?!", "...", closing quotes */
            uint32_t more = decode(s, after, &len);
            if (!ends_anywhere(more) && !ends_before_space(more) && !closes(more)) {
                break;
            }
            anywhere = anywhere || ends_anywhere(more);
            after += len;
        }
        size_t next = after;
        while (next < s.len && is_space(s.ptr[next])) {
            next++;
        }
        if (anywhere || next >= s.len) {
            return after;
        }
        if (next > after && !(c == '.' && (abbreviated(s, dot) || !begins(s, next, dot)))) {
            return after;
        }
        i = after;
    }
    return s.len;
}

bool sentence_next(struct str text, size_t *at, struct str *out)
{
    while (*at < text.len) {
        while (*at < text.len && is_space(text.ptr[*at])) {
            ++*at;
        }
        size_t from = *at, end = find_end(text, from);
        *at = end > from ? end : from + 1;
        while (end > from && is_space(text.ptr[end - 1])) {
            end--;
        }
        if (end > from) {
            *out = (struct str){.ptr = text.ptr + from, .len = end - from};
            return true;
        }
    }
    return false;
}
