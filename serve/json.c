#include "serve/json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *in(const struct json *v)
{
    union { /* jansson's readers take a non-const pointer and change nothing */
        const struct json *v;
        json_t *j;
    } u = {.v = v};
    return u.j;
}

static const struct json *out_of(json_t *j)
{
    return (const struct json *)(const void *)j;
}

/* Before the parser recurses. */
static bool too_deep(struct str text)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quoted) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                quoted = false;
            }
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX) {
                return true;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

enum status jsonr_read(struct str text, struct json **out, struct error *err)
{
    if (text.len == 0) {
        return error_set(err, STATUS_INVALID, "the body is empty: JSON is expected");
    }
    if (too_deep(text)) {
        return error_set(err, STATUS_INVALID, "the JSON is nested deeper than %d levels",
                         JSON_DEPTH_MAX);
    }
    json_error_t e;
    json_t *j = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &e);
    if (j == NULL) {
        return error_set(err, STATUS_INVALID, "the body is not valid JSON: line %d, column %d: %s",
                         e.line, e.column, e.text);
    }
    *out = (struct json *)(void *)j;
    return STATUS_OK;
}

void jsonr_free(struct json *doc)
{
    json_decref(in(doc));
}

enum json_kind jsonr_kind(const struct json *v)
{
    if (v == NULL) {
        return JSON_KIND_NULL;
    }
    switch (json_typeof(in(v))) {
    case JSON_OBJECT:
        return JSON_KIND_OBJECT;
    case JSON_ARRAY:
        return JSON_KIND_ARRAY;
    case JSON_STRING:
        return JSON_KIND_STRING;
    case JSON_INTEGER:
        return JSON_KIND_INT;
    case JSON_REAL:
        return JSON_KIND_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOL;
    case JSON_NULL:
        break;
    }
    return JSON_KIND_NULL;
}

const struct json *jsonr_get(const struct json *v, const char *key)
{
    json_t *j = v == NULL ? NULL : json_object_get(in(v), key);
    return j == NULL || json_is_null(j) ? NULL : out_of(j);
}

bool jsonr_has(const struct json *v, const char *key)
{
    return v != NULL && json_object_get(in(v), key) != NULL;
}

bool jsonr_as_number(const struct json *v, double *out)
{
    bool is = v != NULL && json_is_number(in(v));
    *out = is ? json_number_value(in(v)) : 0;
    return is;
}

bool jsonr_true(const struct json *v)
{
    return v != NULL && json_is_true(in(v));
}

size_t jsonr_len(const struct json *array)
{
    return array == NULL ? 0 : json_array_size(in(array));
}

const struct json *jsonr_at(const struct json *array, size_t i)
{
    return out_of(json_array_get(in(array), i));
}

const char *jsonr_text(const struct json *v, struct arena *a)
{
    char *text = json_dumps((json_t *)(uintptr_t)v, JSON_ENCODE_ANY | JSON_COMPACT);
    const char *copy = text == NULL ? NULL : arena_strdup(a, text);
    free(text);
    return copy;
}

bool jsonr_next(const struct json *object, void **at, struct str *key, const struct json **value)
{
    json_t *o =
        (json_t *)(uintptr_t)object; /* jansson's iterators are not const; nothing changes */
    *at = *at == NULL ? json_object_iter(o) : json_object_iter_next(o, *at);
    if (*at == NULL) {
        return false;
    }
    *key = str_from(json_object_iter_key(*at));
    *value = (const struct json *)json_object_iter_value(*at);
    return true;
}

struct str jsonr_str(const struct json *v)
{
    if (jsonr_kind(v) != JSON_KIND_STRING) {
        return (struct str){0};
    }
    return (struct str){json_string_value(in(v)), json_string_length(in(v))};
}

enum status jsonr_bool(const struct json *object, const char *key, bool fallback, bool *out,
                       struct error *err)
{
    const struct json *v = jsonr_get(object, key);
    if (v != NULL && jsonr_kind(v) != JSON_KIND_BOOL) {
        return error_set(err, STATUS_INVALID, "%s must be true or false", key);
    }
    *out = v == NULL ? fallback : json_is_true(in(v));
    return STATUS_OK;
}

enum status jsonr_int(const struct json *object, const char *key, int64_t min, int64_t max,
                      int64_t fallback, int64_t *out, struct error *err)
{
    const struct json *v = jsonr_get(object, key);
    if (v == NULL) {
        *out = fallback;
        return STATUS_OK;
    }
    int64_t n = json_integer_value(in(v));
    if (jsonr_kind(v) != JSON_KIND_INT || n < min || n > max) {
        return error_set(err, STATUS_INVALID, "%s must be a whole number from %lld to %lld", key,
                         (long long)min, (long long)max);
    }
    *out = n;
    return STATUS_OK;
}

enum status jsonr_number(const struct json *object, const char *key, double min, double max,
                         bool *present, double *out, struct error *err)
{
    const struct json *v = jsonr_get(object, key);
    *present = v != NULL;
    if (v == NULL) {
        return STATUS_OK;
    }
    double d = json_number_value(in(v));
    enum json_kind k = jsonr_kind(v);
    if ((k != JSON_KIND_INT && k != JSON_KIND_REAL) || !(d >= min && d <= max)) {
        return error_set(err, STATUS_INVALID, "%s must be a number from %g to %g", key, min, max);
    }
    *out = d;
    return STATUS_OK;
}

enum status jsonr_string(const struct json *object, const char *key, struct str *out,
                         struct error *err)
{
    const struct json *v = jsonr_get(object, key);
    if (v != NULL && jsonr_kind(v) != JSON_KIND_STRING) {
        return error_set(err, STATUS_INVALID, "%s must be a string", key);
    }
    *out = jsonr_str(v);
    return STATUS_OK;
}
