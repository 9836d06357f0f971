#include "serve/http/url.h"

#include <string.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum status url_decode(struct str s, bool plus, struct arena *a, struct str *out, struct error *err)
{
    char *to = arena_alloc(a, s.len + 1);
    if (to == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            int high = i + 2 < s.len ? hex(s.ptr[i + 1]) : -1;
            int low = high >= 0 ? hex(s.ptr[i + 2]) : -1;
            if (low < 0 || (high == 0 && low == 0)) {
                return error_set(err, STATUS_INVALID, "a malformed percent escape in the address");
            }
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        to[n++] = c;
    }
    *out = (struct str){to, n};
    return STATUS_OK;
}

enum status url_query(struct str query, const char *name, struct arena *a, struct str *out,
                      struct error *err)
{
    *out = (struct str){0};
    struct str wanted = str_from(name);
    while (query.len > 0) {
        const char *amp = memchr(query.ptr, '&', query.len);
        size_t len = amp == NULL ? query.len : (size_t)(amp - query.ptr);
        const char *eq = memchr(query.ptr, '=', len);
        struct str key = {query.ptr, eq == NULL ? len : (size_t)(eq - query.ptr)};
        if (str_eq(key, wanted)) {
            struct str v = {eq == NULL ? "" : eq + 1, eq == NULL ? 0 : len - key.len - 1};
            return url_decode(v, true, a, out, err);
        }
        query.ptr += amp == NULL ? len : len + 1;
        query.len -= amp == NULL ? len : len + 1;
    }
    return STATUS_OK;
}

struct str cookie_get(struct str header, const char *name)
{
    struct str wanted = str_from(name);
    while (header.len > 0) {
        while (header.len > 0 && (header.ptr[0] == ' ' || header.ptr[0] == ';')) {
            header.ptr++;
            header.len--;
        }
        const char *end = header.len == 0 ? NULL : memchr(header.ptr, ';', header.len);
        size_t len = end == NULL ? header.len : (size_t)(end - header.ptr);
        if (len > wanted.len && header.ptr[wanted.len] == '=' &&
            memcmp(header.ptr, wanted.ptr, wanted.len) == 0) {
            return (struct str){header.ptr + wanted.len + 1, len - wanted.len - 1};
        }
        header.ptr += len;
        header.len -= len;
    }
    return (struct str){0};
}
