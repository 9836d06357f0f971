#include "serve/http/parse.h"

#include <ctype.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define TARGET_BYTES_MAX ((size_t)8192)
#define LENGTH_DIGITS_MAX 18
#define PORT_DIGITS_MAX 5

struct http_parser {
    llhttp_t ll;
    struct guard guard;
    struct buf bytes; /* of the head */
    struct http_head head;
    struct http_header *lines; /* head.headers: as many as the guard counted */
    struct str target;
    struct str name; /* being read */
    struct str value;
    bool in_body;
    bool complete;    /* llhttp has seen the end of the message */
    size_t body_seen; /* bytes llhttp took for body in this step */
    int bad;
    const char *reason;
};

static const char *const verb_names[VERB_COUNT] = {
#define VERB_NAME(name) [VERB_##name] = #name,
    VERB_LIST(VERB_NAME)
#undef VERB_NAME
};

const char *verb_name(enum verb v)
{
    return (unsigned)v < VERB_COUNT ? verb_names[v] : "?";
}

struct str http_head_get(const struct http_head *h, const char *name)
{
    struct str wanted = str_from(name);
    for (size_t i = 0; i < h->n_headers; i++) {
        if (str_eq(h->headers[i].name, wanted)) {
            return h->headers[i].value;
        }
    }
    return (struct str){0};
}

/* ---- what llhttp tells
 * ------------------------------------------------------------------------------ */

static struct http_parser *of(llhttp_t *ll)
{
    return container_of(ll, struct http_parser, ll);
}

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
    of(ll)->target = (struct str){at, len};
    return 0;
}

static int on_field(llhttp_t *ll, const char *at, size_t len)
{
    of(ll)->name = (struct str){at, len};
    of(ll)->value = (struct str){"", 0};
    return 0;
}

static int on_value(llhttp_t *ll, const char *at, size_t len)
{
    of(ll)->value = (struct str){at, len};
    return 0;
}

static int on_value_complete(llhttp_t *ll)
{
    struct http_parser *p = of(ll);
    if (p->head.n_headers == HTTP_HEADERS_MAX) {
        return HPE_USER;
    }
    struct str v = p->value;
    if (p->head.n_headers == p->guard.headers) {
        return HPE_USER; /* the guard saw fewer lines: they must agree */
    }
    while (v.len > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\t')) {
        v.ptr++;
        v.len--;
    }
    while (v.len > 0 && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == '\t')) {
        v.len--;
    }
    p->head.headers[p->head.n_headers++] = (struct http_header){p->name, v};
    return 0;
}

static int on_headers_complete(llhttp_t *ll)
{
    ll->upgrade = 0; /* no other protocol is spoken here: the header means nothing */
    return 0;
}

static int on_body(llhttp_t *ll, const char *at, size_t len)
{
    (void)at;
    of(ll)->body_seen += len;
    return 0;
}

static int on_complete(llhttp_t *ll)
{
    of(ll)->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

enum status http_parser_new(size_t max_head_bytes, struct http_parser **out)
{
    struct http_parser *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return STATUS_NO_MEMORY;
    }
    buf_init(&p->bytes, max_head_bytes);
    struct guard_limits limits = {max_head_bytes, HTTP_HEADERS_MAX, TARGET_BYTES_MAX};
    guard_init(&p->guard, &limits);
    llhttp_init(&p->ll, HTTP_REQUEST, &settings);
    *out = p;
    return STATUS_OK;
}

void http_parser_free(struct http_parser *p)
{
    if (p != NULL) {
        buf_deinit(&p->bytes);
        free(p->lines);
        free(p);
    }
}

const struct http_head *http_parser_head(const struct http_parser *p)
{
    return &p->head;
}

void http_parser_forget(struct http_parser *p)
{
    buf_deinit(&p->bytes);
    free(p->lines);
    p->lines = p->head.headers = NULL;
    p->head.n_headers = 0;
    p->head.path = p->head.query = p->head.host = (struct str){"", 0};
    p->target = p->name = p->value = (struct str){"", 0};
}

bool http_parser_in_head(const struct http_parser *p)
{
    return !p->in_body && p->bytes.len > 0;
}

int http_parser_bad(const struct http_parser *p, const char **reason)
{
    *reason = p->reason;
    return p->bad;
}

static enum http_event bad(struct http_parser *p, int status, const char *reason)
{
    p->bad = status;
    p->reason = reason;
    return HTTP_EVENT_BAD;
}

/* ---- the head, once it is whole
 * --------------------------------------------------------------------- */

static void lower(struct http_parser *p, struct str s)
{
    char *c = p->bytes.ptr + (s.ptr - p->bytes.ptr); /* the views point into our own buffer */
    for (size_t i = 0; i < s.len; i++) {
        if (c[i] >= 'A' && c[i] <= 'Z') {
            c[i] = (char)(c[i] + ('a' - 'A'));
        }
    }
}

static bool equals_nocase(struct str s, const char *z)
{
    return s.len == strlen(z) && strncasecmp(s.ptr, z, s.len) == 0;
}

static bool read_length(struct str v, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9') {
            return false;
        }
        n = n * 10 + (uint64_t)(v.ptr[i] - '0');
    }
    *out = n;
    return v.len > 0 && v.len <= LENGTH_DIGITS_MAX;
}

/* "gzip, chunked": framed in a way that is understood, coded in one that is not (RFC 9112 6.1). */
static bool chunked_last(struct str v)
{
    const char *comma = memrchr(v.ptr, ',', v.len);
    struct str last = {0};
    if (comma == NULL) {
        return false;
    }
    last = str_trim((struct str){comma + 1, v.len - (size_t)(comma + 1 - v.ptr)});
    struct str rest = {v.ptr, (size_t)(comma - v.ptr)};
    return equals_nocase(last, "chunked") && rest.len > 0 &&
           memmem(rest.ptr, rest.len, "hunked", 6) == NULL;
}

/* RFC 3986 3.2.2, and digits for a port. An empty one is what a client sends that has none. */
static bool host_valid(struct str h)
{
    size_t i = 0;
    if (h.len == 0) {
        return true;
    }
    if (h.ptr[0] == '[') {
        while (++i < h.len &&
               (isxdigit((unsigned char)h.ptr[i]) || h.ptr[i] == ':' || h.ptr[i] == '.')) {
        }
        if (i < 3 || i == h.len || h.ptr[i] != ']') {
            return false;
        }
        i++;
    } else {
        while (i < h.len && (isalnum((unsigned char)h.ptr[i]) ||
                             (h.ptr[i] != '\0' && strchr("-._~%!$&'()*+;=", h.ptr[i]) != NULL))) {
            i++;
        }
    }
    size_t digits = i < h.len ? h.len - i - 1 : 0;
    bool ok = i > 0 && (i == h.len || h.ptr[i] == ':') && digits <= PORT_DIGITS_MAX;
    for (i++; ok && i < h.len; i++) {
        ok = h.ptr[i] >= '0' && h.ptr[i] <= '9';
    }
    return ok;
}

static bool read_framing(struct http_parser *p)
{
    struct http_head *h = &p->head;
    unsigned lengths = 0;
    unsigned encodings = 0;
    unsigned hosts = 0;
    bool coded = false;
    for (size_t i = 0; i < h->n_headers; i++) {
        struct http_header *f = &h->headers[i];
        lower(p, f->name);
        if (str_eq(f->name, STR("content-length"))) {
            lengths++;
            if (!read_length(f->value, &h->length)) {
                (void)bad(p, 400, "Content-Length is not a number");
                return false;
            }
            h->has_length = true;
        } else if (str_eq(f->name, STR("transfer-encoding"))) {
            encodings++;
            h->chunked = equals_nocase(f->value, "chunked");
            coded = chunked_last(f->value);
        } else if (str_eq(f->name, STR("host"))) {
            hosts++;
            h->host = f->value;
        } else if (str_eq(f->name, STR("expect")) && h->http11) {
            if (!equals_nocase(f->value, "100-continue")) {
                (void)bad(p, 417, "only Expect: 100-continue is understood");
                return false;
            }
            h->expects_continue = true;
        }
    }
    const char *why = NULL;
    int status = 400;
    if (lengths > 1) {
        why = "more than one Content-Length";
    } else if (encodings > 0 && lengths > 0) {
        why = "both Content-Length and Transfer-Encoding";
    } else if (encodings == 1 && coded && h->http11) {
        status = 501;
        why = "a Transfer-Encoding that is not understood here";
    } else if (encodings > 1 || (encodings == 1 && !h->chunked)) {
        why = "a Transfer-Encoding other than chunked";
    } else if (encodings > 0 && !h->http11) {
        why = "Transfer-Encoding in HTTP/1.0";
    } else if (hosts > 1) {
        why = "more than one Host";
    } else if (hosts == 0 && h->http11) {
        why = "no Host header";
    } else if (!host_valid(h->host)) {
        why = "the Host header names no host";
    }
    if (why != NULL) {
        (void)bad(p, status, why);
    }
    return why == NULL;
}

static bool read_target(struct http_parser *p)
{
    struct http_head *h = &p->head;
    struct str t = p->target;
    struct str scheme = {0};
    if (t.len > 7 && strncasecmp(t.ptr, "http://", 7) == 0) {
        scheme = STR("http://");
    } else if (t.len > 8 && strncasecmp(t.ptr, "https://", 8) == 0) {
        scheme = STR("https://");
    }
    if (scheme.len >
        0) { /* the absolute form, as sent to proxies: its authority counts, not Host */
        t.ptr += scheme.len;
        t.len -= scheme.len;
        const char *slash = memchr(t.ptr, '/', t.len);
        size_t n = slash == NULL ? t.len : (size_t)(slash - t.ptr);
        h->host = (struct str){t.ptr, n};
        if (n == 0 || !host_valid(h->host)) {
            (void)bad(p, 400, "the request target names no host");
            return false;
        }
        t.ptr += n;
        t.len -= n;
        if (t.len == 0) {
            t = STR("/");
        }
    }
    bool server = h->verb == VERB_OPTIONS && str_eq(p->target, STR("*"));
    if (t.len == 0 || (t.ptr[0] != '/' && !server) || memchr(t.ptr, '#', t.len) != NULL) {
        (void)bad(p, 400, "the request target is not a path");
        return false;
    }
    const char *mark = memchr(t.ptr, '?', t.len);
    h->path = (struct str){t.ptr, mark == NULL ? t.len : (size_t)(mark - t.ptr)};
    h->query = mark == NULL ? (struct str){"", 0} : (struct str){mark + 1, t.len - h->path.len - 1};
    return true;
}

static bool read_verb(struct http_parser *p)
{
    const char *name = llhttp_method_name((llhttp_method_t)p->ll.method);
    for (unsigned v = 0; v < VERB_COUNT; v++) {
        if (strcmp(name, verb_names[v]) == 0) {
            p->head.verb = (enum verb)v;
            return true;
        }
    }
    (void)bad(p, 501, "this method is not known");
    return false;
}

static enum http_event head_complete(struct http_parser *p)
{
    free(p->lines); /* of the head before */
    p->lines = calloc(p->guard.headers + 1, sizeof *p->lines);
    if (p->lines == NULL) {
        return bad(p, 503, "out of memory");
    }
    p->head = (struct http_head){.host = {"", 0}, .headers = p->lines};
    p->complete = false;
    enum llhttp_errno e = llhttp_execute(&p->ll, p->bytes.ptr, p->bytes.len);
    if (e == HPE_PAUSED && p->complete) {
        llhttp_resume(&p->ll);
    } else if (e != HPE_OK) {
        return bad(p, e == HPE_INVALID_METHOD ? 501 : 400,
                   e == HPE_INVALID_METHOD ? "this method is not known"
                                           : "the head of the request is malformed");
    }
    p->head.http11 = p->ll.http_minor == 1;
    if (!read_verb(p) || !read_framing(p) || !read_target(p)) {
        return HTTP_EVENT_BAD;
    }
    p->head.keep_alive = llhttp_should_keep_alive(&p->ll) != 0;
    if (p->head.chunked) {
        guard_expect_chunks(&p->guard);
    } else if (p->head.has_length) {
        guard_expect_length(&p->guard, p->head.length);
    }
    p->in_body = true;
    return HTTP_EVENT_HEAD;
}

static enum http_event next_in_head(struct http_parser *p, const char *bytes, size_t len,
                                    size_t *used)
{
    bool done;
    *used = guard_head(&p->guard, bytes, len, &done);
    if (p->guard.status != 0) {
        return bad(p, p->guard.status, p->guard.reason);
    }
    buf_append(&p->bytes, bytes, *used);
    if (buf_status(&p->bytes) != STATUS_OK) {
        return bad(p, 503, "out of memory");
    }
    return done ? head_complete(p) : HTTP_EVENT_MORE;
}

/* llhttp follows the guard byte by byte and must come to the same view of them. */
static bool llhttp_agrees(struct http_parser *p, const char *bytes, size_t n, size_t body)
{
    p->body_seen = 0;
    enum llhttp_errno e = llhttp_execute(&p->ll, bytes, n);
    if (e == HPE_PAUSED && p->complete) {
        llhttp_resume(&p->ll);
        e = HPE_OK;
    }
    return e == HPE_OK && p->body_seen == body;
}

enum http_event http_parser_next(struct http_parser *p, const char *bytes, size_t len, size_t *used,
                                 struct str *piece)
{
    *used = 0;
    if (p->bad != 0) {
        return HTTP_EVENT_BAD;
    }
    if (!p->in_body) {
        if (p->bytes.len > 0 && p->guard.head_bytes == 0) {
            buf_reset(&p->bytes); /* the head before is no longer needed */
        }
        return next_in_head(p, bytes, len, used);
    }
    for (;;) {
        size_t n;
        enum guard_piece g = guard_body(&p->guard, bytes + *used, len - *used, &n);
        if (g == GUARD_REFUSED) {
            return bad(p, p->guard.status, p->guard.reason);
        }
        if (g == GUARD_END) {
            p->in_body = false;
            return p->complete ? HTTP_EVENT_END : bad(p, 400, "the end of the body is ambiguous");
        }
        if (n == 0) {
            return HTTP_EVENT_MORE;
        }
        if (!llhttp_agrees(p, bytes + *used, n, g == GUARD_DATA ? n : 0)) {
            return bad(p, 400, "the framing of the body is malformed");
        }
        if (g == GUARD_DATA) {
            *piece = (struct str){bytes + *used, n};
            *used += n;
            return HTTP_EVENT_BODY;
        }
        *used += n;
    }
}
