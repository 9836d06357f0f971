#include "serve/http/conditional.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DATE_BYTES_MAX 64

/* ---- dates ---- */

bool http_date_read(struct str text, int64_t *out)
{
    static const char *const forms[] = {
        "%a, %d %b %Y %H:%M:%S GMT", /* as everybody writes it */
        "%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
        "%a %b %d %H:%M:%S %Y",      /* asctime */
    };
    char z[DATE_BYTES_MAX];
    if (text.len == 0 || text.len >= sizeof z) {
        return false;
    }
    memcpy(z, text.ptr, text.len);
    z[text.len] = '\0';
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm tm = {0};
        const char *end = strptime(z, forms[i], &tm);
        if (end != NULL && *end == '\0') {
            *out = (int64_t)timegm(&tm);
            return true;
        }
    }
    return false;
}

void http_date_write(int64_t seconds, char out[HTTP_DATE_CAP])
{
    time_t t = (time_t)seconds;
    struct tm tm;
    out[0] = '\0';
    if (gmtime_r(&t, &tm) != NULL) {
        (void)strftime(out, HTTP_DATE_CAP, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
}

/* ---- entity tags ---- */

/* Takes one tag off the list; false: the list is over, or not a list of tags. */
static bool next_tag(struct str *list, struct str *tag, bool *weak)
{
    while (list->len > 0 && (list->ptr[0] == ' ' || list->ptr[0] == '\t' || list->ptr[0] == ',')) {
        list->ptr++;
        list->len--;
    }
    *weak = list->len > 2 && list->ptr[0] == 'W' && list->ptr[1] == '/';
    size_t at = *weak ? 2 : 0;
    if (list->len < at + 2 || list->ptr[at] != '"') {
        return false;
    }
    const char *end = memchr(list->ptr + at + 1, '"', list->len - at - 1);
    if (end == NULL) {
        return false;
    }
    *tag = (struct str){list->ptr + at, (size_t)(end + 1 - (list->ptr + at))};
    list->len -= (size_t)(end + 1 - list->ptr);
    list->ptr = end + 1;
    return true;
}

static bool same_tag(struct str list, struct str ours, bool ours_weak, bool weak)
{
    struct str tag;
    bool tag_weak;
    while (next_tag(&list, &tag, &tag_weak)) {
        if (str_eq(tag, ours) && (weak || (!tag_weak && !ours_weak))) {
            return true;
        }
    }
    return false;
}

bool http_etag_listed(const struct http_head *h, const char *header, const char *etag, bool weak)
{
    struct str name = str_from(header);
    bool ours_weak = etag != NULL && strncmp(etag, "W/", 2) == 0;
    struct str ours = etag == NULL ? STR("") : str_from(etag + (ours_weak ? 2 : 0));
    for (size_t i = 0; i < h->n_headers; i++) {
        struct str list = h->headers[i].value;
        if (str_eq(h->headers[i].name, name) &&
            (str_eq(list, STR("*")) || (ours.len > 0 && same_tag(list, ours, ours_weak, weak)))) {
            return true;
        }
    }
    return false;
}

/* ---- ranges ---- */

static bool take_number(struct str *s, uint64_t *out)
{
    size_t n = 0;
    *out = 0;
    while (n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9') {
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(s->ptr[n] - '0'), out)) {
            *out = UINT64_MAX; /* beyond any file all the same; go on over the digits */
        }
        n++;
    }
    s->ptr += n;
    s->len -= n;
    return n > 0;
}

/* "bytes=" first "-" [last], or "bytes=-" length. Anything else is as if it had not been sent. */
static enum http_wanted read_range(struct str r, uint64_t length, uint64_t *first, uint64_t *last)
{
    uint64_t a = 0;
    uint64_t b = 0;
    if (r.len < 7 || strncasecmp(r.ptr, "bytes=", 6) != 0) {
        return HTTP_WANTED_WHOLE;
    }
    r = str_trim((struct str){r.ptr + 6, r.len - 6});
    bool has_first = take_number(&r, &a);
    if (r.len == 0 || r.ptr[0] != '-') {
        return HTTP_WANTED_WHOLE;
    }
    r.ptr++;
    r.len--;
    bool has_last = take_number(&r, &b);
    if (r.len > 0 || (!has_first && !has_last) || (has_first && has_last && b < a)) {
        return HTTP_WANTED_WHOLE;
    }
    if (has_first ? a >= length : b == 0 || length == 0) {
        return HTTP_WANTED_OUTSIDE;
    }
    *first = has_first ? a : length - (b < length ? b : length);
    *last = has_first && has_last && b < length ? b : length - 1;
    return HTTP_WANTED_PART;
}

/* Section 13.1.5: a tag must be strong on both sides, a date exactly ours. */
static bool range_holds(const struct http_head *h, const struct http_version_of *v)
{
    struct str wanted = http_head_get(h, "if-range");
    int64_t t;
    if (wanted.ptr == NULL) {
        return true;
    }
    if (http_date_read(wanted, &t)) {
        return v->modified_s != 0 && t == v->modified_s;
    }
    return http_etag_listed(h, "if-range", v->etag, false) && !str_eq(wanted, STR("*"));
}

static bool has(const struct http_head *h, const char *name)
{
    return http_head_get(h, name).ptr != NULL;
}

static bool date_of(const struct http_head *h, const char *name, int64_t *out)
{
    struct str text = http_head_get(h, name);
    return text.ptr != NULL && http_date_read(text, out);
}

/* The order of section 13.2.2. */
enum http_wanted http_wanted(const struct http_head *h, const struct http_version_of *v,
                             uint64_t *first, uint64_t *last)
{
    bool reads = h->verb == VERB_GET || h->verb == VERB_HEAD;
    int64_t t;
    if (has(h, "if-match")) {
        if (!http_etag_listed(h, "if-match", v->etag, false)) {
            return HTTP_WANTED_OTHER;
        }
    } else if (v->modified_s != 0 && date_of(h, "if-unmodified-since", &t) && v->modified_s > t) {
        return HTTP_WANTED_OTHER;
    }
    if (has(h, "if-none-match")) {
        if (http_etag_listed(h, "if-none-match", v->etag, true)) {
            return reads ? HTTP_WANTED_UNCHANGED : HTTP_WANTED_OTHER;
        }
    } else if (reads && v->modified_s != 0 && date_of(h, "if-modified-since", &t) &&
               v->modified_s <= t) {
        return HTTP_WANTED_UNCHANGED;
    }
    struct str range = http_head_get(h, "range");
    if (h->verb != VERB_GET || range.ptr == NULL || !range_holds(h, v)) {
        return HTTP_WANTED_WHOLE;
    }
    return read_range(range, v->length, first, last);
}
