/* Addresses: what stays within the configured one, and how keys are written into it. */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ingest/sources/listing.h"

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* false: an encoded slash or NUL, which would mean another path than it reads; or too long. */
static bool decode(const char *s, char *out, size_t cap, size_t *len)
{
    size_t n = 0;
    for (; *s != '\0'; s++) {
        char c = *s;
        if (c == '%' && hex(s[1]) >= 0 && hex(s[2]) >= 0) {
            c = (char)(hex(s[1]) * 16 + hex(s[2]));
            s += 2;
            if (c == '/' || c == '\0') {
                return false;
            }
        }
        if (n + 1 >= cap) {
            return false;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    *len = n;
    return true;
}

static bool has_dots(struct str path)
{
    for (size_t at = 0; at <= path.len;) {
        const char *slash = at == path.len ? NULL : memchr(path.ptr + at, '/', path.len - at);
        size_t end = slash == NULL ? path.len : (size_t)(slash - path.ptr);
        struct str name = {path.ptr + at, end - at};
        if (str_eq(name, STR(".")) || str_eq(name, STR(".."))) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

static bool take_part(CURLU *u, CURLUPart what, unsigned flags, char *out, size_t cap)
{
    char *s = NULL;
    bool ok = curl_url_get(u, what, &s, flags) == CURLUE_OK && strlen(s) < cap;
    if (ok) {
        memcpy(out, s, strlen(s) + 1);
    }
    curl_free(s);
    return ok;
}

static bool read_place(CURLU *u, struct origin *out)
{
    char port[8];
    if (!take_part(u, CURLUPART_SCHEME, 0, out->scheme, sizeof out->scheme) ||
        !take_part(u, CURLUPART_HOST, 0, out->host, sizeof out->host) ||
        !take_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof port)) {
        return false;
    }
    unsigned n = 0;
    for (const char *p = port; *p >= '0' && *p <= '9' && n < 65536; p++) {
        n = n * 10 + (unsigned)(*p - '0');
    }
    out->port = (uint16_t)n;
    for (char *p = out->host; *p != '\0'; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    }
    return (strcmp(out->scheme, "http") == 0 || strcmp(out->scheme, "https") == 0) && n > 0 &&
           n < 65536;
}

enum status origin_of_url(const char *url, struct origin *out, struct error *err)
{
    struct origin o = {0};
    char raw[1024];
    size_t len = 0;
    CURLU *u = curl_url();
    bool ok = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              read_place(u, &o) && take_part(u, CURLUPART_PATH, 0, raw, sizeof raw) &&
              decode(raw, o.path, sizeof o.path - 1, &len);
    curl_url_cleanup(u);
    if (!ok || len == 0) {
        return error_set(err, STATUS_INVALID, "%.100s: no http or https address", url);
    }
    if (o.path[len - 1] != '/') {
        o.path[len++] = '/';
        o.path[len] = '\0';
    }
    *out = o;
    return STATUS_OK;
}

void origin_host(const struct origin *o, char out[280])
{
    bool usual = o->port == (strcmp(o->scheme, "https") == 0 ? 443 : 80);
    if (usual) {
        (void)snprintf(out, 280, "%s", o->host);
    } else {
        (void)snprintf(out, 280, "%s:%u", o->host, (unsigned)o->port);
    }
}

enum href_kind origin_key(const struct origin *o, const char *page, struct str href,
                          struct buf *out)
{
    char text[3 * LISTING_KEY_MAX];
    char raw[3 * LISTING_KEY_MAX];
    char path[LISTING_KEY_MAX + 1024];
    struct origin there = {0};
    size_t len = 0;
    size_t base = strlen(o->path);
    buf_reset(out);
    if (href.len >= sizeof text || (href.len > 0 && memchr(href.ptr, '\0', href.len) != NULL)) {
        return HREF_OUTSIDE;
    }
    memcpy(text, href.ptr == NULL ? "" : href.ptr, href.len);
    text[href.len] = '\0';
    CURLU *u = curl_url();
    bool ok = u != NULL && curl_url_set(u, CURLUPART_URL, page, 0) == CURLUE_OK &&
              curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK && read_place(u, &there) &&
              take_part(u, CURLUPART_PATH, 0, raw, sizeof raw);
    char *q = NULL; /* "?" alone too: a link that sorts */
    ok = ok && curl_url_get(u, CURLUPART_QUERY, &q, 0) == CURLUE_NO_QUERY;
    curl_free(q);
    q = NULL;
    ok = ok && curl_url_get(u, CURLUPART_USER, &q, 0) == CURLUE_NO_USER;
    curl_free(q);
    curl_url_cleanup(u);
    if (!ok || strcmp(there.scheme, o->scheme) != 0 || strcmp(there.host, o->host) != 0 ||
        there.port != o->port || !decode(raw, path, sizeof path, &len) || len < base ||
        memcmp(path, o->path, base) != 0 || len - base > LISTING_KEY_MAX ||
        has_dots((struct str){path + base, len - base})) {
        return HREF_OUTSIDE;
    }
    bool folder = path[len - 1] == '/';
    buf_append(out, path + base, len - base - (folder && len > base ? 1 : 0));
    return buf_status(out) != STATUS_OK ? HREF_OUTSIDE : folder ? HREF_FOLDER : HREF_FILE;
}

bool origin_folder(const struct origin *o, const char *page, struct buf *out)
{
    enum href_kind kind = origin_key(o, page, STR("."), out);
    if (out->len > 0) {
        buf_char(out, '/');
    }
    return kind != HREF_OUTSIDE && buf_status(out) == STATUS_OK;
}

void url_encode(struct buf *out, struct str s, bool slashes)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if ((c == '/' && slashes) || (c != '\0' && strchr(plain, c) != NULL)) {
            buf_char(out, c);
        } else {
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)c);
        }
    }
}

void origin_url(const struct origin *o, struct str key, struct buf *out)
{
    char host[280];
    origin_host(o, host);
    buf_printf(out, "%s://%s", o->scheme, host);
    url_encode(out, str_from(o->path), true);
    url_encode(out, key, true);
}
