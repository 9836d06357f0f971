#include "serve/http/forwarded.h"

#include <string.h>

/* The right end of a list of hops; those before were written by somebody else. */
struct hops {
    struct str names[FORWARDED_HOPS_MAX + 1];
    struct str protos[FORWARDED_HOPS_MAX + 1]; /* of Forwarded only */
    size_t n;                                  /* all that there were */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct str trim(struct str s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

static bool is_word(struct str s, const char *z)
{
    return s.len == strlen(z) && strncasecmp(s.ptr, z, s.len) == 0;
}

static void push(struct hops *h, struct str name, struct str proto)
{
    size_t at = h->n++ % (FORWARDED_HOPS_MAX + 1);
    h->names[at] = name;
    h->protos[at] = proto;
}

/* The i-th from the right. */
static size_t from_right(const struct hops *h, size_t i)
{
    return (h->n - 1 - i) % (FORWARDED_HOPS_MAX + 1);
}

/* "192.0.2.7", "192.0.2.7:4711", "2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:4711". */
static bool read_node(struct str s, uint8_t out[16])
{
    if (s.len == 0) {
        return false;
    }
    const char *first = memchr(s.ptr, ':', s.len);
    const char *last = memrchr(s.ptr, ':', s.len);
    struct str port = STR("");
    if (s.ptr[0] == '[') {
        const char *end = memchr(s.ptr, ']', s.len);
        if (end == NULL || first == NULL) {
            return false;
        }
        size_t after = (size_t)(s.ptr + s.len - (end + 1));
        if (after > 0 && (end[1] != ':' || after == 1)) {
            return false;
        }
        if (after > 0) {
            port = (struct str){end + 2, after - 1};
        }
        s = (struct str){s.ptr + 1, (size_t)(end - s.ptr) - 1};
        if (memchr(s.ptr, ':', s.len) == NULL) { /* brackets are IPv6's */
            return false;
        }
    } else if (first != NULL && first == last) {
        port = (struct str){first + 1, (size_t)(s.ptr + s.len - first) - 1};
        s.len = (size_t)(first - s.ptr);
        if (port.len == 0) {
            return false;
        }
    }
    for (size_t i = 0; i < port.len; i++) {
        if (port.ptr[i] < '0' || port.ptr[i] > '9' || port.len > 5) {
            return false;
        }
    }
    return address_read(s, out);
}

static void read_list(struct str value, struct hops *out)
{
    for (bool more = true; more;) {
        const char *comma = value.len == 0 ? NULL : memchr(value.ptr, ',', value.len);
        size_t len = comma == NULL ? value.len : (size_t)(comma - value.ptr);
        push(out, trim((struct str){value.ptr, len}), STR(""));
        more = comma != NULL;
        value = more ? (struct str){comma + 1, value.len - len - 1} : value;
    }
}

/* ---- Forwarded: RFC 7239 section 4 ---- */

static bool is_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* token, or what stands between quotes. Nobody's address needs a backslash: refused. */
static bool read_text(struct str *s, struct str *out)
{
    size_t n = 0;
    if (s->len > 0 && s->ptr[0] == '"') {
        for (n = 1; n < s->len && s->ptr[n] != '"'; n++) {
            if (s->ptr[n] == '\\') {
                return false;
            }
        }
        if (n == s->len) {
            return false;
        }
        *out = (struct str){s->ptr + 1, n - 1};
        n++;
    } else {
        while (n < s->len && (is_token(s->ptr[n]) || s->ptr[n] == ':' || s->ptr[n] == '[' ||
                              s->ptr[n] == ']')) { /* unquoted by proxies that know no better */
            n++;
        }
        *out = (struct str){s->ptr, n};
    }
    s->ptr += n;
    s->len -= n;
    return out->len > 0;
}

/* One hop's pairs, up to its comma or the end. */
static bool read_element(struct str *s, struct str *node, struct str *proto)
{
    *node = *proto = STR("");
    for (;;) {
        struct str name;
        struct str value;
        *s = trim(*s);
        size_t n = 0;
        while (n < s->len && is_token(s->ptr[n])) {
            n++;
        }
        name = (struct str){s->ptr, n};
        if (n == 0 || n == s->len || s->ptr[n] != '=') {
            return false;
        }
        s->ptr += n + 1;
        s->len -= n + 1;
        if (!read_text(s, &value)) {
            return false;
        }
        struct str *to = is_word(name, "for") ? node : is_word(name, "proto") ? proto : NULL;
        if (to != NULL && to->len > 0) {
            return false; /* each at most once */
        }
        if (to != NULL) {
            *to = value;
        }
        *s = trim(*s);
        if (s->len == 0 || s->ptr[0] == ',') {
            return true;
        }
        if (s->ptr[0] != ';') {
            return false;
        }
        s->ptr++;
        s->len--;
    }
}

static bool read_forwarded(struct str value, struct hops *out)
{
    for (;;) {
        struct str node;
        struct str proto;
        if (!read_element(&value, &node, &proto)) {
            return false;
        }
        push(out, node, proto);
        if (value.len == 0) {
            return true;
        }
        value.ptr++;
        value.len--;
    }
}

/* ---- whose words count ---- */

/* Walks from the right: what a trusted proxy wrote is the one that asked it. *depth: of whom. */
static bool find_client(const struct hops *h, const struct forwarded_proxies *trusted,
                        uint8_t out[16], size_t *depth)
{
    for (size_t i = 0; i < h->n && i <= FORWARDED_HOPS_MAX; i++) {
        if (!read_node(h->names[from_right(h, i)], out)) {
            return false;
        }
        *depth = i;
        if (i + 1 == h->n || !address_in(out, trusted->ranges, trusted->n)) {
            return true;
        }
    }
    return false;
}

/* The last that was said: each proxy writes over it or adds at the right. */
static bool says_https(const struct http_head *h)
{
    bool https = false;
    for (size_t i = 0; i < h->n_headers; i++) {
        if (str_eq(h->headers[i].name, STR("x-forwarded-proto"))) {
            struct str v = h->headers[i].value;
            const char *comma = v.len == 0 ? NULL : memrchr(v.ptr, ',', v.len);
            if (comma != NULL) {
                v = (struct str){comma + 1, (size_t)(v.ptr + v.len - comma) - 1};
            }
            https = is_word(trim(v), "https");
        }
    }
    return https;
}

bool forwarded_trusts(const struct forwarded_proxies *trusted, const char *peer)
{
    uint8_t a[16];
    return trusted->n > 0 && address_read(str_from(peer), a) &&
           address_in(a, trusted->ranges, trusted->n);
}

bool forwarded_read(const struct http_head *h, const char *peer,
                    const struct forwarded_proxies *trusted, struct forwarded *out)
{
    struct hops list = {.n = 0};
    struct hops forwarded = {.n = 0};
    uint8_t a[16];
    uint8_t b[16];
    size_t depth = 0;
    *out = (struct forwarded){.told = false};
    if (address_read(str_from(peer), a)) {
        address_text(a, out->client);
    }
    if (!forwarded_trusts(trusted, peer)) {
        return true;
    }
    for (size_t i = 0; i < h->n_headers; i++) {
        struct str value = h->headers[i].value;
        if (str_eq(h->headers[i].name, STR("x-forwarded-for"))) {
            read_list(value, &list);
        } else if (str_eq(h->headers[i].name, STR("forwarded")) &&
                   !read_forwarded(value, &forwarded)) {
            return false;
        }
    }
    out->tls = says_https(h);
    if ((list.n > 0 && !find_client(&list, trusted, a, &depth)) ||
        (forwarded.n > 0 && !find_client(&forwarded, trusted, b, &depth))) {
        return false;
    }
    if (list.n > 0 && forwarded.n > 0 && memcmp(a, b, sizeof a) != 0) {
        return false; /* one of them is the client's own: which, nobody knows */
    }
    if (forwarded.n > 0 && forwarded.protos[from_right(&forwarded, depth)].len > 0) {
        out->tls = is_word(forwarded.protos[from_right(&forwarded, depth)], "https");
    }
    out->told = list.n > 0 || forwarded.n > 0;
    if (out->told) {
        address_text(list.n > 0 ? a : b, out->client);
    }
    return true;
}
