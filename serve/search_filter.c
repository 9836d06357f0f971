#include "serve/search_filter.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "serve/request.h"
#include "serve/search_request.h"

#define DAY_MS ((int64_t)24 * 3600 * 1000)

bool date_read(const char *text, bool end, int64_t *out_ms)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm t = {0};
        const char *rest = strptime(text, forms[i], &t);
        struct tm given = t;
        if (rest == NULL || *rest != '\0' || t.tm_year < 0 || t.tm_year > 8000) {
            continue;
        }
        int64_t ms = (int64_t)timegm(&t) * 1000;
        if (t.tm_mday != given.tm_mday) { /* 31 February */
            return false;
        }
        *out_ms = ms + (i == 0 && end ? DAY_MS : 0);
        return true;
    }
    return false;
}

static enum status read_names(const struct json *object, const char *key, bool empty_ok,
                              struct arena *a, char ***out, size_t *n_out, struct error *err)
{
    const struct json *list = jsonr_get(object, key);
    size_t n = list == NULL ? 0 : jsonr_len(list);
    if (list == NULL) {
        return STATUS_OK;
    }
    if (jsonr_kind(list) != JSON_KIND_ARRAY || n > FILTER_VALUES_MAX) {
        return error_set(err, STATUS_INVALID, "%s must be an array of at most %d strings", key,
                         FILTER_VALUES_MAX);
    }
    char **names = arena_array(a, n + 1, sizeof *names);
    if (names == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        struct str name = jsonr_str(jsonr_at(list, i));
        bool empty = name.ptr != NULL && name.len == 0;
        if (!(empty && empty_ok) && !api_name_ok(name, 1024)) {
            return error_set(err, STATUS_INVALID, "%s[%zu] is not a name", key, i);
        }
        names[i] = pb_text(name.ptr); /* jansson's strings end in NUL */
    }
    *out = names;
    *n_out = n;
    return STATUS_OK;
}

static enum status read_date(const struct json *object, const char *key, bool end,
                             protobuf_c_boolean *has, int64_t *out, struct error *err)
{
    struct str text;
    enum status s = jsonr_string(object, key, &text, err);
    if (s != STATUS_OK || text.ptr == NULL) {
        return s;
    }
    *has = date_read(text.ptr, end, out);
    return *has ? STATUS_OK
                : error_set(err, STATUS_INVALID,
                            "%s must be a date such as 2026-09-30 or 2026-09-30T12:00:00Z", key);
}

static enum status read_under(const struct json *object, struct arena *a, Vs__Filter *f,
                              struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    enum status s = read_names(object, "under", false, a, &names, &n, err);
    if (s != STATUS_OK || n == 0) {
        return s;
    }
    /* a name without a slash at its end may be a folder or a file: both */
    f->under = arena_array(a, 2 * n, sizeof *f->under);
    if (f->under == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        struct str name = str_from(names[i]);
        f->under[f->n_under++] = pb_bytes(name);
        if (!str_ends(name, STR("/"))) {
            char *folder = arena_printf(a, "%s/", names[i]);
            if (folder == NULL) {
                return error_set(err, STATUS_NO_MEMORY, "out of memory");
            }
            f->under[f->n_under++] = pb_bytes(str_from(folder));
        }
    }
    return STATUS_OK;
}

/* SHA-256 as hexadecimal digits, or at least the first eight of them. */
static enum status read_hashes(const struct json *object, struct arena *a, Vs__Filter *f,
                               struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    enum status s = read_names(object, "hashes", false, a, &names, &n, err);
    if (s != STATUS_OK || n == 0) {
        return s;
    }
    f->hashes = arena_array(a, n, sizeof *f->hashes);
    if (f->hashes == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(names[i]);
        uint8_t *bytes = arena_alloc(a, SHA256_BYTES);
        if (bytes == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
        bool good = len >= 8 && len <= (size_t)2 * SHA256_BYTES && len % 2 == 0 &&
                    strspn(names[i], "0123456789abcdefABCDEF") == len;
        if (!good) {
            return error_set(err, STATUS_INVALID,
                             "hashes[%zu] must be 8 to 64 hexadecimal digits, an even number", i);
        }
        for (size_t k = 0; k < len / 2; k++) {
            char two[3] = {names[i][2 * k], names[i][2 * k + 1], '\0'};
            bytes[k] = (uint8_t)strtoul(two, NULL, 16);
        }
        f->hashes[f->n_hashes++] = (ProtobufCBinaryData){.data = bytes, .len = len / 2};
    }
    return STATUS_OK;
}

static enum status read_pages(const struct json *object, const char *key, protobuf_c_boolean *has,
                              uint32_t *out, struct error *err)
{
    int64_t n = 0;
    enum status s = jsonr_int(object, key, 1, 1000000, 0, &n, err);
    if (s == STATUS_OK && n > 0) {
        *has = 1;
        *out = (uint32_t)n;
    }
    return s;
}

enum status search_filter(const struct json *object, struct arena *a, Vs__Filter *out, bool *any,
                          struct error *err)
{
    Vs__Filter f = VS__FILTER__INIT;
    const struct {
        const char *key;
        char ***list;
        size_t *n;
        bool empty_ok;
    } rows[] = {{"collections", &f.collections, &f.n_collections, false},
                {"labels", &f.labels, &f.n_labels, true}, /* "": unlabelled */
                {"tags", &f.tags, &f.n_tags, false},
                {"languages", &f.languages, &f.n_languages, false},
                {"formats", &f.formats, &f.n_formats, false},
                {"documents", &f.documents, &f.n_documents, false},
                {"authors", &f.authors, &f.n_authors, false}};
    enum status s = STATUS_OK;
    *any = false;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && s == STATUS_OK; i++) {
        s = read_names(object, rows[i].key, rows[i].empty_ok, a, rows[i].list, rows[i].n, err);
        *any = *any || *rows[i].n > 0;
    }
    if (s == STATUS_OK) {
        s = read_under(object, a, &f, err);
    }
    if (s == STATUS_OK) {
        s = read_date(object, "from", false, &f.has_from_ms, &f.from_ms, err);
    }
    if (s == STATUS_OK) {
        s = read_date(object, "until", true, &f.has_until_ms, &f.until_ms, err);
    }
    if (s == STATUS_OK) {
        s = read_date(object, "as_of", true, &f.has_as_of_ms, &f.as_of_ms, err);
    }
    if (s == STATUS_OK) {
        s = read_hashes(object, a, &f, err);
    }
    if (s == STATUS_OK) {
        s = read_pages(object, "pages_from", &f.has_pages_from, &f.pages_from, err);
    }
    if (s == STATUS_OK) {
        s = read_pages(object, "pages_to", &f.has_pages_to, &f.pages_to, err);
    }
    *any = *any || f.n_hashes > 0 || f.has_pages_from || f.has_pages_to;
    *any = *any || f.n_under > 0 || f.has_from_ms || f.has_until_ms || f.has_as_of_ms;
    if (s == STATUS_OK) {
        *out = f;
    }
    return s;
}
