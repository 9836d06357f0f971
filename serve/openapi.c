#include "serve/openapi.h"

#include <string.h>

#include "serve/http/jsonw.h"
#include "serve/json.h"
#include "serve/roles.h"

#define FRAGMENTS_MAX 64
#define DEPTH_MAX 16
#define NAME_MAX_BYTES 96

struct build {
    struct jsonw w;
    struct json *docs[FRAGMENTS_MAX];
    const char *names[FRAGMENTS_MAX];
    size_t n;
    const struct route *table;
    size_t n_routes;
    struct error *err;
    enum status status;
    const char *where; /* the fragment's name, for errors */
};

static void wrong(struct build *b, const char *what, struct str about)
{
    if (b->status == STATUS_OK) {
        b->status = error_set(b->err, STATUS_INVALID, "%s: %s: %.*s", b->where, what,
                              (int)(about.len > 80 ? 80 : about.len), about.ptr);
    }
}

/* ---- types ---- */

static struct str part(struct str s, size_t from, size_t to)
{
    return (struct str){s.ptr + from, to - from};
}

static bool schema_known(const struct build *b, struct str name)
{
    char key[NAME_MAX_BYTES];
    if (name.len == 0 || name.len >= sizeof key) {
        return false;
    }
    memcpy(key, name.ptr, name.len);
    key[name.len] = '\0';
    for (size_t i = 0; i < b->n; i++) {
        if (jsonr_get(jsonr_get(b->docs[i], "schemas"), key) != NULL) {
            return true;
        }
    }
    return false;
}

static bool plain_type(struct str t)
{
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

static void type_members(struct build *b, struct str t, int depth);

static void type_object(struct build *b, struct str t, int depth)
{
    jsonw_open(&b->w, '{');
    type_members(b, t, depth);
    jsonw_close(&b->w, '}');
}

/* One of a union, as the members of an open object. */
static void single(struct build *b, struct str t, int depth)
{
    struct jsonw *w = &b->w;
    if (t.len > 2 && (t.ptr[0] == '[' || t.ptr[0] == '{')) {
        bool list = t.ptr[0] == '[';
        if (t.ptr[t.len - 1] != (list ? ']' : '}')) {
            wrong(b, "a bracket is missing", t);
        }
        jsonw_field_z(w, "type", list ? "array" : "object");
        jsonw_key(w, list ? "items" : "additionalProperties");
        type_object(b, part(t, 1, t.len - 1), depth + 1);
    } else if (t.len > 2 && t.ptr[0] == '\'') {
        jsonw_field_str(w, "const", part(t, 1, t.len - 1));
    } else if (plain_type(t)) {
        jsonw_field_str(w, "type", t);
    } else if (schema_known(b, t)) {
        jsonw_key(w, "$ref");
        buf_printf(w->out, "\"#/components/schemas/%.*s\"", (int)t.len, t.ptr);
        w->comma = true;
    } else if (!str_eq(t, STR("any"))) {
        wrong(b, "there is no such type", t);
    }
}

static void type_union(struct build *b, struct str t, int depth)
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
            jsonw_str(w, one);
        } else {
            jsonw_open(w, '{');
            single(b, one, depth + 1);
            jsonw_close(w, '}');
        }
    }
    jsonw_close(w, ']');
}

static void type_members(struct build *b, struct str t, int depth)
{
    static const char border[] = " -- ";
    const char *about = memmem(t.ptr, t.len, border, 4);
    struct str said = {0};
    struct str one;
    size_t at = 0;
    if (depth > DEPTH_MAX) {
        wrong(b, "too many brackets", t);
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

static void type(struct build *b, const struct json *v, int depth);

/* "name?" may be absent. */
static struct str field_name(struct str key, bool *optional)
{
    *optional = key.len > 1 && key.ptr[key.len - 1] == '?';
    return part(key, 0, key.len - (*optional ? 1 : 0));
}

static void fields(struct build *b, const struct json *v, int depth)
{
    struct jsonw *w = &b->w;
    void *at = NULL;
    struct str key;
    const struct json *value;
    bool optional;
    jsonw_field_z(w, "type", "object");
    jsonw_key(w, "properties");
    jsonw_open(w, '{');
    while (jsonr_next(v, &at, &key, &value)) {
        if (key.ptr[0] != '$' && key.ptr[0] != '*') {
            struct str name = field_name(key, &optional);
            char z[NAME_MAX_BYTES];
            (void)snprintf(z, sizeof z, "%.*s", (int)name.len, name.ptr);
            jsonw_key(w, z);
            type(b, value, depth + 1);
        }
    }
    jsonw_close(w, '}');
    jsonw_key(w, "required");
    jsonw_open(w, '[');
    for (at = NULL; jsonr_next(v, &at, &key, &value);) {
        struct str name = field_name(key, &optional);
        if (key.ptr[0] != '$' && key.ptr[0] != '*' && !optional) {
            jsonw_str(w, name);
        }
    }
    jsonw_close(w, ']');
    if (jsonr_get(v, "*") != NULL) {
        jsonw_key(w, "additionalProperties");
        type(b, jsonr_get(v, "*"), depth + 1);
    }
}

static void type(struct build *b, const struct json *v, int depth)
{
    struct jsonw *w = &b->w;
    struct str t = jsonr_str(v);
    struct str with = jsonr_str(jsonr_get(v, "$with"));
    jsonw_open(w, '{');
    if (depth > DEPTH_MAX || (t.ptr == NULL && jsonr_kind(v) != JSON_KIND_OBJECT)) {
        wrong(b, "a type is words or an object of fields", STR(""));
    } else if (t.ptr != NULL) {
        type_members(b, t, depth);
    } else if (with.ptr != NULL) {
        jsonw_key(w, "allOf");
        jsonw_open(w, '[');
        type_object(b, with, depth + 1);
        jsonw_open(w, '{');
        fields(b, v, depth);
        jsonw_close(w, '}');
        jsonw_close(w, ']');
    } else {
        fields(b, v, depth);
    }
    struct str about = jsonr_str(jsonr_get(v, "$about"));
    if (about.ptr != NULL) {
        jsonw_field_str(w, "description", about);
    }
    jsonw_close(w, '}');
}

/* ---- operations ---- */

/* A type, a media type, or both by media type. */
static void content(struct build *b, const struct json *v)
{
    struct jsonw *w = &b->w;
    struct str t = jsonr_str(v);
    void *at = NULL;
    struct str key;
    const struct json *value;
    bool by_media = jsonr_kind(v) == JSON_KIND_OBJECT && jsonr_next(v, &at, &key, &value) &&
                    memchr(key.ptr, '/', key.len) != NULL;
    jsonw_key(w, "content");
    jsonw_open(w, '{');
    if (t.ptr != NULL && memchr(t.ptr, '/', t.len) != NULL) {
        jsonw_key(w, t.ptr);
        jsonw_open(w, '{');
        jsonw_close(w, '}');
    } else if (!by_media) {
        jsonw_key(w, "application/json");
        jsonw_open(w, '{');
        jsonw_key(w, "schema");
        type(b, v, 0);
        jsonw_close(w, '}');
    } else {
        for (at = NULL; jsonr_next(v, &at, &key, &value);) {
            jsonw_key(w, key.ptr);
            jsonw_open(w, '{');
            jsonw_key(w, "schema");
            type(b, value, 0);
            jsonw_close(w, '}');
        }
    }
    jsonw_close(w, '}');
}

static void path_parameters(struct jsonw *w, const char *pattern)
{
    const char *at = pattern;
    while ((at = strchr(at, '{')) != NULL) {
        const char *end = strchr(at, '}');
        jsonw_open(w, '{');
        jsonw_field_str(w, "name", (struct str){at + 1, (size_t)(end - at) - 1});
        jsonw_field_z(w, "in", "path");
        jsonw_field_bool(w, "required", true);
        jsonw_key(w, "schema");
        jsonw_open(w, '{');
        jsonw_field_z(w, "type", "string");
        jsonw_close(w, '}');
        jsonw_close(w, '}');
        at = end;
    }
}

static void parameters(struct build *b, const struct route *route, const struct json *op)
{
    static const char *const kinds[] = {"query", "header"};
    struct jsonw *w = &b->w;
    jsonw_key(w, "parameters");
    jsonw_open(w, '[');
    path_parameters(w, route->pattern);
    for (int k = 0; k < 2; k++) {
        void *at = NULL;
        struct str key;
        const struct json *value;
        while (jsonr_next(jsonr_get(op, kinds[k]), &at, &key, &value)) {
            bool optional;
            jsonw_open(w, '{');
            jsonw_field_str(w, "name", field_name(key, &optional));
            jsonw_field_z(w, "in", kinds[k]);
            jsonw_field_bool(w, "required", !optional);
            jsonw_key(w, "schema");
            type(b, value, 0);
            jsonw_close(w, '}');
        }
    }
    jsonw_close(w, ']');
}

static void errors(struct build *b, const struct route *route)
{
    static const char *const shapes[] = {"ErrorOpenAI", "ErrorAnthropic", "ErrorOllama",
                                         "ErrorRPC"};
    struct jsonw *w = &b->w;
    jsonw_key(w, "default");
    jsonw_open(w, '{');
    jsonw_field_z(w, "description", "What went wrong, in words.");
    jsonw_key(w, "content");
    jsonw_open(w, '{');
    jsonw_key(w, "application/json");
    jsonw_open(w, '{');
    jsonw_key(w, "schema");
    type_object(b, str_from(shapes[route->errors < ERRORS_RPC ? route->errors : ERRORS_RPC]), 0);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static void responses(struct build *b, const struct route *route, const struct json *op)
{
    struct jsonw *w = &b->w;
    void *at = NULL;
    struct str key;
    const struct json *value;
    jsonw_key(w, "responses");
    jsonw_open(w, '{');
    while (jsonr_next(op, &at, &key, &value)) {
        if (key.len == 3 && key.ptr[0] >= '2' && key.ptr[0] <= '5') {
            struct str t = jsonr_str(value);
            jsonw_key(w, key.ptr);
            jsonw_open(w, '{');
            jsonw_field_z(w, "description", key.ptr[0] == '2' ? "Well." : "Not now.");
            if (t.ptr == NULL || t.len > 0) { /* "": no body */
                content(b, value);
            }
            jsonw_close(w, '}');
        }
    }
    errors(b, route);
    jsonw_close(w, '}');
}

/* Names of bits, as an array. */
static void who(struct build *b, const struct route *route)
{
    struct jsonw *w = &b->w;
    jsonw_key(w, "security");
    jsonw_open(w, '[');
    if (route->roles != ROLES_OPEN) {
        buf_z(w->out, "{\"key\":[]},{\"session\":[]}");
    }
    jsonw_close(w, ']');
    jsonw_key(w, "x-roles");
    jsonw_open(w, '[');
    for (unsigned i = 0; i < ROLE_COUNT; i++) {
        if ((route->roles & ROLE_BIT(i)) != 0) {
            jsonw_str(w, str_from(role_name((enum role)i)));
        }
    }
    jsonw_close(w, ']');
    jsonw_key(w, "x-scopes");
    jsonw_open(w, '[');
    for (unsigned i = 0; i < SCOPES_N; i++) {
        if ((route->scopes & 1U << i) != 0) {
            jsonw_str(w, str_from(scope_name(i)));
        }
    }
    jsonw_close(w, ']');
    if ((route->scopes & SCOPE_PERSON) != 0) {
        jsonw_field_bool(w, "x-person", true);
    }
    if (route->csrf) {
        jsonw_field_z(w, "x-csrf", "With a session's cookie, X-CSRF-Token has to be sent");
    }
    if (route->act != NULL) {
        jsonw_field_z(w, "x-act", route->act);
    }
}

static void operation_id(struct build *b, const struct route *route)
{
    struct buf *out = b->w.out;
    jsonw_key(&b->w, "operationId");
    buf_char(out, '"');
    for (const char *v = verb_name(route->verb); *v != '\0'; v++) {
        buf_char(out, (char)(*v | 0x20));
    }
    for (const char *p = route->pattern; *p != '\0'; p++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                      (*p >= '0' && *p <= '9') || *p == '_';
        if (letter || *p == '/' || *p == '.') {
            buf_char(out, letter ? *p : '_');
        }
    }
    buf_char(out, '"');
    b->w.comma = true;
}

static void operation(struct build *b, const struct route *route, const struct json *doc,
                      const struct json *op)
{
    struct jsonw *w = &b->w;
    struct str about = jsonr_str(jsonr_get(op, "about"));
    struct str tag = jsonr_str(jsonr_get(doc, "tag"));
    const struct json *body = jsonr_get(op, "body");
    const struct json *maybe = jsonr_get(op, "body?");
    char verb[16];
    size_t n = 0;
    for (const char *v = verb_name(route->verb); *v != '\0' && n + 1 < sizeof verb; v++) {
        verb[n++] = (char)(*v | 0x20);
    }
    verb[n] = '\0';
    jsonw_key(w, verb);
    jsonw_open(w, '{');
    operation_id(b, route);
    jsonw_key(w, "tags");
    jsonw_open(w, '[');
    jsonw_str(w, tag.ptr == NULL ? STR("Other") : tag);
    jsonw_close(w, ']');
    if (op == NULL) {
        jsonw_field_bool(w, "x-undescribed", true);
    } else {
        jsonw_field_str(w, "summary", jsonr_str(jsonr_get(op, "summary")));
    }
    if (about.ptr != NULL) {
        jsonw_field_str(w, "description", about);
    }
    who(b, route);
    parameters(b, route, op);
    if (body != NULL || maybe != NULL) {
        jsonw_key(w, "requestBody");
        jsonw_open(w, '{');
        jsonw_field_bool(w, "required", body != NULL);
        content(b, body != NULL ? body : maybe);
        jsonw_close(w, '}');
    }
    responses(b, route, op);
    jsonw_close(w, '}');
}

/* ---- the whole ---- */

static const struct json *find_operation(struct build *b, const struct route *route,
                                         const struct json **doc)
{
    char key[512];
    const struct json *found = NULL;
    (void)snprintf(key, sizeof key, "%s %s", verb_name(route->verb), route->pattern);
    for (size_t i = 0; i < b->n; i++) {
        const struct json *op = jsonr_get(jsonr_get(b->docs[i], "paths"), key);
        if (op != NULL && found != NULL) {
            b->where = b->names[i];
            wrong(b, "described twice", str_from(key));
        } else if (op != NULL) {
            b->where = b->names[i];
            *doc = b->docs[i];
            found = op;
        }
    }
    if (found != NULL && jsonr_str(jsonr_get(found, "summary")).len == 0) {
        wrong(b, "no summary", str_from(key));
    }
    return found;
}

/* What is described has to be there. */
static void check_paths(struct build *b)
{
    for (size_t i = 0; i < b->n; i++) {
        void *at = NULL;
        struct str key;
        const struct json *value;
        b->where = b->names[i];
        while (jsonr_next(jsonr_get(b->docs[i], "paths"), &at, &key, &value)) {
            bool known = false;
            for (size_t k = 0; k < b->n_routes && !known; k++) {
                char row[512];
                (void)snprintf(row, sizeof row, "%s %s", verb_name(b->table[k].verb),
                               b->table[k].pattern);
                known = str_eq(key, str_from(row));
            }
            if (!known) {
                wrong(b, "there is no such route", key);
            }
        }
    }
}

static void write_paths(struct build *b)
{
    struct jsonw *w = &b->w;
    jsonw_key(w, "paths");
    jsonw_open(w, '{');
    for (size_t i = 0; i < b->n_routes; i++) {
        bool before = false;
        for (size_t k = 0; k < i && !before; k++) {
            before = strcmp(b->table[k].pattern, b->table[i].pattern) == 0;
        }
        if (before) {
            continue;
        }
        jsonw_key(w, b->table[i].pattern);
        jsonw_open(w, '{');
        for (size_t k = i; k < b->n_routes; k++) {
            const struct json *doc = NULL;
            if (strcmp(b->table[k].pattern, b->table[i].pattern) == 0) {
                const struct json *op = find_operation(b, &b->table[k], &doc);
                operation(b, &b->table[k], doc, op);
            }
        }
        jsonw_close(w, '}');
    }
    jsonw_close(w, '}');
}

static void write_schemas(struct build *b)
{
    struct jsonw *w = &b->w;
    jsonw_key(w, "components");
    jsonw_open(w, '{');
    buf_z(w->out,
          "\"securitySchemes\":{\"key\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":"
          "\"A key: carrel_...\"},\"session\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":"
          "\"carrel_<port>\",\"description\":\"The page's session; writes need its "
          "X-CSRF-Token.\"}}");
    w->comma = true;
    jsonw_key(w, "schemas");
    jsonw_open(w, '{');
    for (size_t i = 0; i < b->n; i++) {
        void *at = NULL;
        struct str key;
        const struct json *value;
        b->where = b->names[i];
        while (jsonr_next(jsonr_get(b->docs[i], "schemas"), &at, &key, &value)) {
            jsonw_key(w, key.ptr);
            type(b, value, 0);
        }
    }
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static void write_tags(struct build *b)
{
    struct jsonw *w = &b->w;
    jsonw_key(w, "tags");
    jsonw_open(w, '[');
    for (size_t i = 0; i < b->n; i++) {
        struct str about = jsonr_str(jsonr_get(b->docs[i], "about"));
        struct str tag = jsonr_str(jsonr_get(b->docs[i], "tag"));
        if (tag.ptr != NULL && about.ptr != NULL) {
            jsonw_open(w, '{');
            jsonw_field_str(w, "name", tag);
            jsonw_field_str(w, "description", about);
            jsonw_close(w, '}');
        }
    }
    jsonw_close(w, ']');
}

static void write_all(struct build *b, const char *version)
{
    struct jsonw *w = &b->w;
    jsonw_open(w, '{');
    jsonw_field_z(w, "openapi", "3.1.0");
    jsonw_key(w, "info");
    jsonw_open(w, '{');
    jsonw_field_z(w, "title", "Carrel");
    jsonw_field_z(w, "version", version);
    jsonw_field_z(w, "description",
                  "Questions to your own documents, answered with citations. The addresses below "
                  "/v1 speak OpenAI's and Anthropic's languages, some below /api Ollama's; the "
                  "others are Carrel's own. Unknown fields of requests are accepted.");
    jsonw_close(w, '}');
    jsonw_key(w, "servers");
    buf_z(w->out, "[{\"url\":\"/\"}]");
    w->comma = true;
    write_tags(b);
    write_paths(b);
    write_schemas(b);
    jsonw_close(w, '}');
}

enum status openapi_build(const struct openapi_fragment *fragments, size_t n,
                          const struct route *table, size_t n_routes, const char *version,
                          struct buf *out, struct error *err)
{
    struct build b = {.err = err, .table = table, .n_routes = n_routes, .where = "openapi"};
    if (n > FRAGMENTS_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "at most %d fragments", FRAGMENTS_MAX);
    }
    for (size_t i = 0; i < n && b.status == STATUS_OK; i++) {
        struct error why;
        b.names[i] = fragments[i].name;
        b.status = jsonr_read((struct str){(const char *)fragments[i].text, fragments[i].len},
                              &b.docs[i], &why);
        if (b.status != STATUS_OK) {
            b.status = error_set(err, b.status, "%s: %s", fragments[i].name, why.text);
        } else {
            b.n++;
        }
    }
    jsonw_init(&b.w, out);
    if (b.status == STATUS_OK) {
        check_paths(&b);
        write_all(&b, version);
    }
    if (b.status == STATUS_OK && buf_status(out) != STATUS_OK) {
        b.status = error_set(err, buf_status(out), "the description is too long");
    }
    for (size_t i = 0; i < b.n; i++) {
        jsonr_free(b.docs[i]);
    }
    return b.status;
}
