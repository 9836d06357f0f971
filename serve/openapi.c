#include "serve/openapi_internal.h"

#include <stdio.h>
#include <string.h>

#include "serve/roles.h"

struct build {
    struct openapi_types t;
    const struct route *table;
    size_t n_routes;
    struct arena arena; /* of examples' texts */
};

/* ---- operations ---- */

/* A media type with its schema, and with an example where the fragment has one. */
static void media(struct build *b, const char *name, const struct json *v,
                  const struct json *example)
{
    struct jsonw *w = &b->t.w;
    jsonw_key(w, name);
    jsonw_open(w, '{');
    jsonw_key(w, "schema");
    openapi_type(&b->t, v);
    if (example != NULL && strcmp(name, "application/json") == 0) {
        const char *text = jsonr_text(example, &b->arena);
        jsonw_key(w, "example");
        jsonw_raw(w, str_from(text == NULL ? "null" : text));
    }
    jsonw_close(w, '}');
}

/* A type, a media type, or both by media type. */
static void content(struct build *b, const struct json *v, const struct json *example)
{
    struct jsonw *w = &b->t.w;
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
        media(b, "application/json", v, example);
    } else {
        for (at = NULL; jsonr_next(v, &at, &key, &value);) {
            media(b, key.ptr, value, example);
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
    struct jsonw *w = &b->t.w;
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
            jsonw_field_str(w, "name", openapi_field_name(key, &optional));
            jsonw_field_z(w, "in", kinds[k]);
            jsonw_field_bool(w, "required", !optional);
            jsonw_key(w, "schema");
            openapi_type(&b->t, value);
            jsonw_close(w, '}');
        }
    }
    jsonw_close(w, ']');
}

/* What goes wrong with most routes: codes, and when. A fragment's "errors" add to them. */
struct common_error {
    const char *status;
    const char *codes;
    const char *about;
};

enum {
    COMMON_400,
    COMMON_401,
    COMMON_402,
    COMMON_403,
    COMMON_404,
    COMMON_413,
    COMMON_415,
    COMMON_429,
    COMMON_503,
    COMMON_N
};

static const struct common_error common[COMMON_N] = {
    {"400", "invalid|invalid_query|invalid_json", "The request is not as described here."},
    {"401", "invalid_api_key", "No valid key or session was given."},
    {"402", "insufficient_quota|rate_limit_exceeded", "A budget in money is used up."},
    {"403", "forbidden|wrong_address|cross_site|csrf|password_change_required",
     "The caller's role, scopes, address or session do not allow it."},
    {"404", "not_found", "There is no such thing, or none that the caller may see."},
    {"413", "too_large", "The body is larger than the limit."},
    {"415", "unsupported", "The body's media type is another."},
    {"429", "rate_limit_exceeded|insufficient_quota|busy",
     "Too much at once: Retry-After says when to try again."},
    {"503", "unavailable|busy|no_memory|audit_unavailable",
     "A part of the appliance is down or has no room: try again."},
};

static bool common_for(const struct route *route, const struct json *op, size_t i)
{
    bool body = jsonr_get(op, "body") != NULL || jsonr_get(op, "body?") != NULL;
    switch (i) {
    case COMMON_401:
    case COMMON_402:
    case COMMON_403:
        return route->roles != ROLES_OPEN;
    case COMMON_404:
        return strchr(route->pattern, '{') != NULL;
    case COMMON_413:
    case COMMON_415:
        return body;
    default:
        return true;
    }
}

static void codes_of(struct jsonw *w, struct str list)
{
    for (size_t from = 0, i = 0; i <= list.len; i++) {
        if (i == list.len || list.ptr[i] == '|') {
            if (i > from) {
                jsonw_str(w, (struct str){list.ptr + from, i - from});
            }
            from = i + 1;
        }
    }
}

/* One status with its codes: the common ones and the fragment's ("code|code -- when"). */
static void error_response(struct build *b, const struct route *route, const char *status,
                           const struct common_error *c, struct str own)
{
    static const char *const shapes[] = {"ErrorOpenAI", "ErrorAnthropic", "ErrorOllama",
                                         "ErrorRPC"};
    struct jsonw *w = &b->t.w;
    const char *border = own.len > 4 ? memmem(own.ptr, own.len, " -- ", 4) : NULL;
    struct str when = {0};
    if (border != NULL) {
        when = (struct str){border + 4, own.len - (size_t)(border + 4 - own.ptr)};
        own.len = (size_t)(border - own.ptr);
    }
    jsonw_key(w, status);
    jsonw_open(w, '{');
    jsonw_field_str(w, "description",
                    when.ptr != NULL ? when
                    : c != NULL      ? str_from(c->about)
                                     : STR("What went wrong, in words."));
    if (c != NULL || own.len > 0) {
        jsonw_key(w, "x-codes");
        jsonw_open(w, '[');
        codes_of(w, own);
        codes_of(w, c == NULL ? STR("") : str_from(c->codes));
        jsonw_close(w, ']');
    }
    jsonw_key(w, "content");
    jsonw_open(w, '{');
    jsonw_key(w, "application/json");
    jsonw_open(w, '{');
    jsonw_key(w, "schema");
    jsonw_open(w, '{');
    openapi_reference(&b->t, shapes[route->errors < ERRORS_RPC ? route->errors : ERRORS_RPC]);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static void errors(struct build *b, const struct route *route, const struct json *op)
{
    const struct json *said = jsonr_get(op, "errors");
    void *at = NULL;
    struct str key;
    const struct json *value;
    for (size_t i = 0; i < COMMON_N; i++) {
        const struct json *own = jsonr_get(said, common[i].status);
        if (jsonr_get(op, common[i].status) != NULL) {
            continue; /* described whole */
        }
        if (own != NULL || common_for(route, op, i)) {
            error_response(b, route, common[i].status, common_for(route, op, i) ? &common[i] : NULL,
                           jsonr_str(own));
        }
    }
    while (jsonr_next(said, &at, &key, &value)) {
        bool done = false;
        for (size_t i = 0; i < COMMON_N; i++) {
            done = done || str_eq(key, str_from(common[i].status));
        }
        if (!done) {
            error_response(b, route, key.ptr, NULL, jsonr_str(value));
        }
    }
    error_response(b, route, "default", NULL, STR(""));
}

static const char *meaning(struct str status)
{
    static const char *const words[][2] = {
        {"200", "As asked."},          {"201", "Made."},
        {"202", "Taken: it goes on."}, {"204", "Done; there is no body."},
        {"303", "Elsewhere."},         {"503", "Not now."},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (str_eq(status, str_from(words[i][0]))) {
            return words[i][1];
        }
    }
    return "As told.";
}

static void responses(struct build *b, const struct route *route, const struct json *op)
{
    struct jsonw *w = &b->t.w;
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
            jsonw_field_z(w, "description", meaning(key));
            if (t.ptr == NULL || t.len > 0) { /* "": no body */
                char name[16];
                (void)snprintf(name, sizeof name, "example %.3s", key.ptr);
                content(b, value, jsonr_get(op, name));
            }
            jsonw_close(w, '}');
        }
    }
    errors(b, route, op);
    jsonw_close(w, '}');
}

/* Who may call: roles and scopes, and what a browser has to send. */
static void who(struct build *b, const struct route *route)
{
    struct jsonw *w = &b->t.w;
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
    struct buf *out = b->t.w.out;
    jsonw_key(&b->t.w, "operationId");
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
    b->t.w.comma = true;
}

static void operation(struct build *b, const struct route *route, const struct json *doc,
                      const struct json *op)
{
    struct jsonw *w = &b->t.w;
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
        b->t.open = true; /* more is accepted than is told */
        content(b, body != NULL ? body : maybe, jsonr_get(op, "example"));
        b->t.open = false;
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
    for (size_t i = 0; i < b->t.n; i++) {
        const struct json *op = jsonr_get(jsonr_get(b->t.docs[i], "paths"), key);
        if (op != NULL && found != NULL) {
            b->t.where = b->t.names[i];
            openapi_wrong(&b->t, "described twice", str_from(key));
        } else if (op != NULL) {
            b->t.where = b->t.names[i];
            *doc = b->t.docs[i];
            found = op;
        }
    }
    if (found != NULL && jsonr_str(jsonr_get(found, "summary")).len == 0) {
        openapi_wrong(&b->t, "no summary", str_from(key));
    }
    return found;
}

/* What is described has to be there. */
static void check_paths(struct build *b)
{
    for (size_t i = 0; i < b->t.n; i++) {
        void *at = NULL;
        struct str key;
        const struct json *value;
        b->t.where = b->t.names[i];
        while (jsonr_next(jsonr_get(b->t.docs[i], "paths"), &at, &key, &value)) {
            bool known = false;
            for (size_t k = 0; k < b->n_routes && !known; k++) {
                char row[512];
                (void)snprintf(row, sizeof row, "%s %s", verb_name(b->table[k].verb),
                               b->table[k].pattern);
                known = str_eq(key, str_from(row));
            }
            if (!known) {
                openapi_wrong(&b->t, "there is no such route", key);
            }
        }
    }
}

static void write_paths(struct build *b)
{
    struct jsonw *w = &b->t.w;
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
    struct jsonw *w = &b->t.w;
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
    for (size_t i = 0; i < b->t.n; i++) {
        void *at = NULL;
        struct str key;
        const struct json *value;
        b->t.where = b->t.names[i];
        while (jsonr_next(jsonr_get(b->t.docs[i], "schemas"), &at, &key, &value)) {
            if (jsonr_true(jsonr_get(value, "$part"))) {
                continue;
            }
            jsonw_key(w, key.ptr);
            b->t.open = jsonr_true(jsonr_get(value, "$open"));
            openapi_type(&b->t, value);
            b->t.open = false;
        }
    }
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static void write_tags(struct build *b)
{
    struct jsonw *w = &b->t.w;
    jsonw_key(w, "tags");
    jsonw_open(w, '[');
    for (size_t i = 0; i < b->t.n; i++) {
        struct str about = jsonr_str(jsonr_get(b->t.docs[i], "about"));
        struct str tag = jsonr_str(jsonr_get(b->t.docs[i], "tag"));
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
    struct jsonw *w = &b->t.w;
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
    struct build b = {.t = {.err = err, .where = "openapi"}, .table = table, .n_routes = n_routes};
    if (n > OPENAPI_FRAGMENTS_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "at most %d fragments", OPENAPI_FRAGMENTS_MAX);
    }
    for (size_t i = 0; i < n && b.t.status == STATUS_OK; i++) {
        struct error why;
        b.t.names[i] = fragments[i].name;
        b.t.status = jsonr_read((struct str){(const char *)fragments[i].text, fragments[i].len},
                                &b.t.docs[i], &why);
        if (b.t.status != STATUS_OK) {
            b.t.status = error_set(err, b.t.status, "%s: %s", fragments[i].name, why.text);
        } else {
            b.t.n++;
        }
    }
    arena_init(&b.arena, 1 << 20);
    jsonw_init(&b.t.w, out);
    if (b.t.status == STATUS_OK) {
        check_paths(&b);
        write_all(&b, version);
    }
    if (b.t.status == STATUS_OK && buf_status(out) != STATUS_OK) {
        b.t.status = error_set(err, buf_status(out), "the description is too long");
    }
    for (size_t i = 0; i < b.t.n; i++) {
        jsonr_free(b.t.docs[i]);
    }
    arena_reset(&b.arena);
    return b.t.status;
}
