#include "serve/http/router.h"

#include <string.h>

static bool fits(const char *pattern, struct str path, struct str *params)
{
    size_t i = 0;
    size_t n = 0;
    while (*pattern != '\0') {
        if (*pattern != '{') {
            if (i == path.len || path.ptr[i] != *pattern) {
                return false;
            }
            pattern++;
            i++;
            continue;
        }
        const char *tail = strchr(pattern, '}') + 1; /* literal up to the next '/' or the end */
        size_t tail_len = strcspn(tail, "/");
        const char *slash = memchr(path.ptr + i, '/', path.len - i);
        size_t len = slash == NULL ? path.len - i : (size_t)(slash - (path.ptr + i));
        if (n == ROUTE_PARAMS_MAX || len <= tail_len ||
            memcmp(path.ptr + i + len - tail_len, tail, tail_len) != 0) {
            return false;
        }
        params[n++] = (struct str){path.ptr + i, len - tail_len};
        i += len;
        pattern = tail + tail_len;
    }
    return i == path.len;
}

void route_find(const struct route *table, size_t n, enum verb verb, struct str path,
                struct route_match *out)
{
    *out = (struct route_match){0};
    for (size_t i = 0; i < n; i++) {
        struct str params[ROUTE_PARAMS_MAX] = {{0}};
        if (!fits(table[i].pattern, path, params)) {
            continue;
        }
        out->allow |= 1U << table[i].verb;
        bool same = table[i].verb == verb || (table[i].verb == VERB_GET && verb == VERB_HEAD);
        if (same && out->route == NULL) {
            out->route = &table[i];
            memcpy(out->params, params, sizeof params);
        }
    }
}

void route_allow(unsigned allow, struct buf *out)
{
    if ((allow & 1U << VERB_GET) != 0) {
        allow |= 1U << VERB_HEAD;
    }
    for (unsigned v = 0; v < VERB_COUNT; v++) {
        if ((allow & 1U << v) != 0) {
            buf_printf(out, "%s%s", out->len > 0 ? ", " : "", verb_name((enum verb)v));
        }
    }
}
