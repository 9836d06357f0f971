/* The few words of fragments as JSON Schema. */
#include "serve/openapi_internal.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 16

void openapi_wrong(struct openapi_types *b, const char *what, struct str about)
{
    if (b->status == STATUS_OK) {
        b->status = error_set(b->err, STATUS_INVALID, "%s: %s: %.*s", b->where, what,
                              (int)(about.len > 80 ? 80 : about.len), about.ptr);
    }
}

static struct str part(struct str s, size_t from, size_t to)
{
    return (struct str){s.ptr + from, to - from};
}

static const struct json *schema_find(const struct openapi_types *b, struct str name)
{
    char key[OPENAPI_NAME_MAX];
    const struct json *found = NULL;
    if (name.len == 0 || name.len >= sizeof key) {
        return NULL;
    }
    memcpy(key, name.ptr, name.len);
    key[name.len] = '\0';
    for (size_t i = 0; i < b->n && found == NULL; i++) {
        found = jsonr_get(jsonr_get(b->docs[i], "schemas"), key);
    }
    return found;
}

/* A type's word without its format and its bounds. */
static struct str base_word(struct str t)
{
    size_t end = 0;
    while (end < t.len && t.ptr[end] != ':' && t.ptr[end] != '(') {
        end++;
    }
    return part(t, 0, end);
}

static bool plain_type(struct str t)
{
    t = base_word(t);
    static const char *const types[] = {"string", "integer", "number", "boolean",
                                        "object", "array",   "null"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (str_eq(t, str_from(types[i]))) {
            return true;
        }
    }
    return false;
}

/* The next of the alternatives that '|' divides outside brackets; false at the end. */
static bool alternative(struct str s, size_t *at, struct str *out)
{
    int depth = 0;
    size_t i = *at;
    if (i > s.len) {
        return false;
    }
    while (i < s.len && (depth > 0 || s.ptr[i] != '|')) {
        depth += s.ptr[i] == '[' || s.ptr[i] == '{' ? 1 : 0;
        depth -= s.ptr[i] == ']' || s.ptr[i] == '}' ? 1 : 0;
        i++;
    }
    *out = part(s, *at, i);
    *at = i + 1;
    return true;
}

/* "(1..9)" behind a type: of numbers the least and the most, of strings their lengths, of which
 * either may be missing. */
static void bounds(struct openapi_types *b, struct str base, struct str inside)
{
    const char *dots = memmem(inside.ptr, inside.len, "..", 2);
    bool text = str_eq(base, STR("string"));
    if (dots == NULL) {
        openapi_wrong(b, "bounds are (least..most)", inside);
        return;
    }
    struct str least = part(inside, 0, (size_t)(dots - inside.ptr));
    struct str most = part(inside, least.len + 2, inside.len);
    if (least.len > 0) {
        jsonw_key(&b->w, text ? "minLength" : "minimum");
        jsonw_raw(&b->w, least);
    }
    if (most.len > 0) {
        jsonw_key(&b->w, text ? "maxLength" : "maximum");
        jsonw_raw(&b->w, most);
    }
}

/* What stands behind a plain type's word: ":format" and bounds. */
static void plain_suffix(struct openapi_types *b, struct str t)
{
    struct str base = base_word(t);
    size_t at = base.len;
    if (at < t.len && t.ptr[at] == ':') {
        size_t end = at + 1;
        while (end < t.len && t.ptr[end] != '(') {
            end++;
        }
        jsonw_field_str(&b->w, "format", part(t, at + 1, end));
        at = end;
    }
    if (at < t.len && (t.ptr[at] != '(' || t.ptr[t.len - 1] != ')')) {
        openapi_wrong(b, "a bracket is missing", t);
    } else if (at < t.len) {
        bounds(b, base, part(t, at + 1, t.len - 1));
    }
}

void openapi_reference(struct openapi_types *b, const char *name)
{
    jsonw_key(&b->w, "$ref");
    buf_printf(b->w.out, "\"#/components/schemas/%s\"", name);
    b->w.comma = true;
}

static void type_members(struct openapi_types *b, struct str t, int depth);

static void type_object(struct openapi_types *b, struct str t, int depth)
{
    jsonw_open(&b->w, '{');
    type_members(b, t, depth);
    jsonw_close(&b->w, '}');
}

/* One of a union, as the members of an open object. */
static void single(struct openapi_types *b, struct str t, int depth)
{
    struct jsonw *w = &b->w;
    if (t.len > 2 && (t.ptr[0] == '[' || t.ptr[0] == '{')) {
        bool list = t.ptr[0] == '[';
        if (t.ptr[t.len - 1] != (list ? ']' : '}')) {
            openapi_wrong(b, "a bracket is missing", t);
        }
        jsonw_field_z(w, "type", list ? "array" : "object");
        jsonw_key(w, list ? "items" : "additionalProperties");
        type_object(b, part(t, 1, t.len - 1), depth + 1);
    } else if (t.len > 2 && t.ptr[0] == '\'') {
        jsonw_field_str(w, "const", part(t, 1, t.len - 1));
    } else if (plain_type(t)) {
        jsonw_field_str(w, "type", base_word(t));
        plain_suffix(b, t);
    } else if (schema_find(b, t) != NULL) {
        jsonw_key(w, "$ref");
        buf_printf(w->out, "\"#/components/schemas/%.*s\"", (int)t.len, t.ptr);
        w->comma = true;
    } else if (!str_eq(t, STR("any"))) {
        openapi_wrong(b, "there is no such type", t);
    }
}

static void type_union(struct openapi_types *b, struct str t, int depth)
{
    struct jsonw *w = &b->w;
    struct str one;
    bool words = true;
    bool plain = true;
    for (size_t at = 0; alternative(t, &at, &one);) {
        words = words && one.len > 0 && (one.ptr[0] == '\'' || str_eq(one, STR("null")));
        plain = plain && plain_type(one);
    }
    jsonw_key(w, words ? "enum" : plain ? "type" : "anyOf");
    jsonw_open(w, '[');
    for (size_t at = 0; alternative(t, &at, &one);) {
        if (words && one.ptr[0] == '\'') {
            jsonw_str(w, part(one, 1, one.len - 1));
        } else if (words) {
            jsonw_null(w);
        } else if (plain) {
            jsonw_str(w, base_word(one));
        } else {
            jsonw_open(w, '{');
            single(b, one, depth + 1);
            jsonw_close(w, '}');
        }
    }
    jsonw_close(w, ']');
    for (size_t at = 0; plain && !words && alternative(t, &at, &one);) {
        plain_suffix(b, one);
    }
}

static void type_members(struct openapi_types *b, struct str t, int depth)
{
    static const char border[] = " -- ";
    const char *about = memmem(t.ptr, t.len, border, 4);
    struct str said = {0};
    struct str one;
    size_t at = 0;
    if (depth > DEPTH_MAX) {
        openapi_wrong(b, "too many brackets", t);
        return;
    }
    if (about != NULL) {
        said = part(t, (size_t)(about - t.ptr) + 4, t.len);
        t.len = (size_t)(about - t.ptr);
    }
    (void)alternative(t, &at, &one);
    if (one.len == t.len) {
        single(b, t, depth);
    } else {
        type_union(b, t, depth);
    }
    if (said.ptr != NULL) {
        jsonw_field_str(&b->w, "description", said);
    }
}

static void type(struct openapi_types *b, const struct json *v, int depth);

struct str openapi_field_name(struct str key, bool *optional)
{
    *optional = key.len > 1 && key.ptr[key.len - 1] == '?';
    return part(key, 0, key.len - (*optional ? 1 : 0));
}

/* The schema whose fields v has too, or NULL. */
static const struct json *with(struct openapi_types *b, const struct json *v, int depth)
{
    struct str name = jsonr_str(jsonr_get(v, "$with"));
    const struct json *found = name.ptr == NULL ? NULL : schema_find(b, name);
    if (name.ptr != NULL &&
        (found == NULL || jsonr_kind(found) != JSON_KIND_OBJECT || depth > DEPTH_MAX)) {
        openapi_wrong(b, "there are no such fields", name);
        found = NULL;
    }
    return found;
}

static void properties(struct openapi_types *b, const struct json *v, int depth)
{
    void *at = NULL;
    struct str key;
    const struct json *value;
    const struct json *too = with(b, v, depth);
    if (too != NULL) {
        properties(b, too, depth + 1);
    }
    while (jsonr_next(v, &at, &key, &value)) {
        if (key.ptr[0] != '$' && key.ptr[0] != '*') {
            char z[OPENAPI_NAME_MAX];
            bool optional;
            struct str name = openapi_field_name(key, &optional);
            (void)snprintf(z, sizeof z, "%.*s", (int)name.len, name.ptr);
            jsonw_key(&b->w, z);
            type(b, value, depth + 1);
        }
    }
}

static void required(struct openapi_types *b, const struct json *v, int depth)
{
    void *at = NULL;
    struct str key;
    const struct json *value;
    const struct json *too = with(b, v, depth);
    if (too != NULL) {
        required(b, too, depth + 1);
    }
    while (jsonr_next(v, &at, &key, &value)) {
        bool optional;
        struct str name = openapi_field_name(key, &optional);
        if (key.ptr[0] != '$' && key.ptr[0] != '*' && !optional) {
            jsonw_str(&b->w, name);
        }
    }
}

static void fields(struct openapi_types *b, const struct json *v, int depth)
{
    struct jsonw *w = &b->w;
    if (jsonr_true(jsonr_get(v, "$nullable"))) {
        jsonw_key(w, "type");
        jsonw_raw(w, STR("[\"object\",\"null\"]"));
    } else {
        jsonw_field_z(w, "type", "object");
    }
    jsonw_key(w, "properties");
    jsonw_open(w, '{');
    properties(b, v, depth);
    jsonw_close(w, '}');
    jsonw_key(w, "required");
    jsonw_open(w, '[');
    required(b, v, depth);
    jsonw_close(w, ']');
    if (jsonr_get(v, "*") != NULL) {
        jsonw_key(w, "additionalProperties");
        type(b, jsonr_get(v, "*"), depth + 1);
    } else if (!b->open) {
        jsonw_field_bool(w, "additionalProperties", false);
    }
}

static void type(struct openapi_types *b, const struct json *v, int depth)
{
    struct jsonw *w = &b->w;
    struct str t = jsonr_str(v);
    struct str about = jsonr_str(jsonr_get(v, "$about"));
    jsonw_open(w, '{');
    if (depth > DEPTH_MAX || (t.ptr == NULL && jsonr_kind(v) != JSON_KIND_OBJECT)) {
        openapi_wrong(b, "a type is words or an object of fields", STR(""));
    } else if (t.ptr != NULL) {
        type_members(b, t, depth);
    } else {
        fields(b, v, depth);
    }
    if (about.ptr != NULL) {
        jsonw_field_str(w, "description", about);
    }
    jsonw_close(w, '}');
}

void openapi_type(struct openapi_types *b, const struct json *v)
{
    type(b, v, 0);
}
