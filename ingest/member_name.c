#include "ingest/member_name.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The longest beginning of s, at most max bytes, that cuts no character of UTF-8. */
static size_t cut_at(struct str s, size_t max)
{
    size_t n = s.len < max ? s.len : max;
    while (n > 0 && n < s.len && n + 4 > max && ((unsigned char)s.ptr[n] & 0xC0) == 0x80) {
        n--;
    }
    return n;
}

/* Where the ending (".pdf") begins; its length where there is none. */
static size_t ending_at(struct str name)
{
    for (size_t i = name.len; i > 1 && name.len - i < 16 && name.ptr[i - 1] != '/'; i--) {
        if (name.ptr[i - 1] == '.' && name.ptr[i - 2] != '/') {
            return i - 1;
        }
    }
    return name.len;
}

/* One part, cleaned, appended at out + n; its length, 0: it is none. */
static size_t put_part(struct str part, char *out)
{
    char clean[MEMBER_NAME_CAP * 2];
    size_t n = 0;
    for (size_t i = 0; i < part.len; i++) {
        if (i == MEMBER_NAME_CAP && part.len > 2 * MEMBER_NAME_CAP) {
            i = part.len - MEMBER_NAME_CAP; /* of what is far too long the ending is kept */
        }
        unsigned char c = (unsigned char)part.ptr[i];
        if (c >= 0x20 && c != 0x7f) {
            clean[n++] = (char)c;
        }
    }
    struct str s = {clean, n};
    while (s.len > 0 && s.ptr[0] == ' ') {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && s.ptr[s.len - 1] == ' ') {
        s.len--;
    }
    if (s.len == 0 || str_eq(s, STR(".")) || str_eq(s, STR(".."))) {
        return 0;
    }
    size_t dot = ending_at(s);
    size_t tail = s.len - dot;
    size_t head = cut_at((struct str){s.ptr, dot}, MEMBER_PART_MAX - tail);
    memcpy(out, s.ptr, head);
    memcpy(out + head, s.ptr + dot, tail);
    return head + tail;
}

static bool is_separator(char c, bool windows)
{
    return c == '/' || c == '\0' || (windows && c == '\\');
}

size_t member_name_clean(struct str raw, const char *otherwise, char out[MEMBER_NAME_CAP])
{
    bool windows = raw.len > 0 && memchr(raw.ptr, '/', raw.len) == NULL;
    char part[MEMBER_PART_MAX + 16];
    size_t at = raw.len;
    size_t n = 0; /* written at out's end, from the last part to the first */
    if (raw.len >= 3 && raw.ptr[1] == ':' && (raw.ptr[2] == '\\' || raw.ptr[2] == '/')) {
        raw.ptr += 3; /* a drive */
        raw.len -= 3;
        at = raw.len;
    }
    for (unsigned parts = 0; at > 0 && parts < MEMBER_PARTS_MAX;) {
        size_t end = at;
        while (at > 0 && !is_separator(raw.ptr[at - 1], windows)) {
            at--;
        }
        size_t len = put_part((struct str){raw.ptr + at, end - at}, part);
        at -= at > 0;
        if (len > 0 && n + len + 2 > MEMBER_NAME_CAP) {
            break;
        }
        if (len > 0) {
            if (n > 0) {
                out[MEMBER_NAME_CAP - 1 - ++n] = '/';
            }
            n += len;
            memcpy(out + MEMBER_NAME_CAP - 1 - n, part, len);
            parts++;
        }
    }
    if (n == 0) {
        n = (size_t)snprintf(out, MEMBER_NAME_CAP, "%s", otherwise);
    } else {
        memmove(out, out + MEMBER_NAME_CAP - 1 - n, n);
    }
    out[n] = '\0';
    return n;
}

size_t member_name_number(struct str name, unsigned number, char out[MEMBER_NAME_CAP])
{
    size_t dot = ending_at(name);
    size_t room = MEMBER_NAME_CAP - 16 - (name.len - dot);
    size_t head = cut_at((struct str){name.ptr, dot}, room);
    int n = snprintf(out, MEMBER_NAME_CAP, "%.*s (%u)%.*s", (int)head, name.ptr, number,
                     (int)(name.len - dot), name.ptr + dot);
    return n > 0 ? (size_t)n : 0;
}

size_t member_name_inner(struct str container, char out[MEMBER_NAME_CAP])
{
    static const char *const tars[] = {".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".tlz", ".taz"};
    size_t dot = ending_at(container);
    const char *more = dot == container.len ? ".out" : "";
    for (size_t i = 0; i < sizeof tars / sizeof tars[0]; i++) {
        if (container.len - dot == strlen(tars[i]) &&
            strncasecmp(container.ptr + dot, tars[i], container.len - dot) == 0) {
            more = ".tar";
        }
    }
    size_t head = cut_at((struct str){container.ptr, dot}, MEMBER_PART_MAX);
    int n = snprintf(out, MEMBER_NAME_CAP, "%.*s%s", (int)head, container.ptr, more);
    return n > 0 ? (size_t)n : 0;
}
