#include "serve/origin.h"

#include <string.h>

static bool is(struct str s, const char *z)
{
    return s.len == strlen(z) && strncasecmp(s.ptr, z, s.len) == 0;
}

/* "https://host:port" against Host. The scheme does not matter: who holds the name holds both. */
static bool same_host(struct str origin, struct str host)
{
    const char *slashes = memmem(origin.ptr, origin.len, "://", 3);
    if (slashes == NULL) { /* "null": sandboxed, or a file */
        return false;
    }
    size_t at = (size_t)(slashes + 3 - origin.ptr);
    struct str name = {origin.ptr + at, origin.len - at};
    return name.len == host.len && strncasecmp(name.ptr, host.ptr, name.len) == 0;
}

bool origin_foreign(const struct http_head *h)
{
    struct str site = http_head_get(h, "sec-fetch-site");
    struct str origin = http_head_get(h, "origin");
    if (http_head_get(h, "authorization").len > 0 || http_head_get(h, "x-api-key").len > 0) {
        return false;
    }
    if (site.ptr != NULL) {
        bool leads = (h->verb == VERB_GET || h->verb == VERB_HEAD) &&
                     is(http_head_get(h, "sec-fetch-mode"), "navigate");
        return !is(site, "same-origin") && !is(site, "none") && !leads;
    }
    return origin.ptr != NULL && !same_host(origin, h->host);
}

bool origin_websocket(const struct http_head *h)
{
    for (size_t i = 0; i < h->n_headers; i++) {
        struct str v = h->headers[i].value;
        for (size_t at = 0; str_eq(h->headers[i].name, STR("upgrade")) && at + 9 <= v.len; at++) {
            if (strncasecmp(v.ptr + at, "websocket", 9) == 0) {
                return true;
            }
        }
    }
    return false;
}
