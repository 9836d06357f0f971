#include "model/json_schema.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/json_schema_internal.h"

#define DEPTH_MAX 64U
#define COPIED_MAX ((size_t)4 << 20)
#define VALUE_WEIGHT 64U

static const char common[] =
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,40}\n"
    "keychar ::= [^\"\\\\\\x00-\\x1F\\x7F]\n"
    "char ::= keychar | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4})\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "whole ::= \"-\"? (\"0\" | [1-9] [0-9]{0,14})\n"
    "number ::= whole (\".\" [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)* ws)? \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)* ws)? \"]\"\n";

static enum status visit(struct schema *c, const json_t *s, unsigned *rule);

/* ---- places and errors ---- */

enum status schema_wrong(struct schema *c, enum status s, const char *what)
{
    struct str at = buf_view(&c->place);
    return error_set(c->err, s, "the schema at #%.*s: %s", STR_ARG(at), what);
}

enum status schema_wrong_key(struct schema *c, enum status s, const char *key, const char *what)
{
    struct str at = buf_view(&c->place);
    return error_set(c->err, s, "the schema at #%.*s: \"%s\" %s", STR_ARG(at), key, what);
}

static size_t enter(struct schema *c, const char *key, const char *name)
{
    size_t was = c->place.len;
    buf_printf(&c->place, "/%s", key);
    if (name != NULL) {
        buf_printf(&c->place, "/%.200s", name);
    }
    return was;
}

static void leave(struct schema *c, size_t was)
{
    if (buf_status(&c->place) == STATUS_OK) {
        c->place.len = was;
    } else {
        buf_reset(&c->place); /* the way is too long to be told */
    }
}

enum status schema_child(struct schema *c, const json_t *s, const char *key, const char *name,
                         unsigned *rule)
{
    size_t was = enter(c, key, name);
    enum status st = visit(c, s, rule);
    if (st == STATUS_OK) {
        leave(c, was);
    }
    return st;
}

static void json_literal(struct buf *b, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (text == NULL) {
        b->failed = STATUS_NO_MEMORY;
        return;
    }
    gbnf_literal(b, str_from(text));
    buf_char(b, ' ');
    free(text);
}

/* ---- choices ---- */

static enum status any_of(struct schema *c, const json_t *list, const char *key, struct buf *b)
{
    size_t i;
    const json_t *v;
    enum status st = STATUS_OK;
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return schema_wrong_key(c, STATUS_INVALID, key, "is not a list of schemas");
    }
    json_array_foreach(list, i, v)
    {
        unsigned rule;
        char number[24];
        (void)snprintf(number, sizeof number, "%zu", i);
        st = schema_child(c, v, key, number, &rule);
        if (st != STATUS_OK) {
            break;
        }
        buf_printf(b, "%sr%u ", i > 0 ? "| " : "", rule);
    }
    return st;
}

/* RFC 6901 within the document. */
static enum status resolve(struct schema *c, const json_t *s, const json_t **out)
{
    const json_t *ref = json_object_get(s, "$ref");
    const char *p = json_is_string(ref) ? json_string_value(ref) : "";
    const json_t *at = c->root;
    if (p[0] != '#' || (p[1] != '\0' && p[1] != '/')) {
        return schema_wrong_key(c, STATUS_UNSUPPORTED, "$ref",
                                "is not a place in this schema (#/...)");
    }
    for (p++; *p == '/' && at != NULL;) {
        char key[SCHEMA_NAME_MAX + 1];
        size_t n = 0;
        for (p++; *p != '\0' && *p != '/'; p++) {
            char ch = *p;
            if (ch == '~' && (p[1] == '0' || p[1] == '1')) {
                ch = *++p == '0' ? '~' : '/';
            }
            if (n == SCHEMA_NAME_MAX) {
                return schema_wrong_key(c, STATUS_TOO_LARGE, "$ref", "is too long");
            }
            key[n++] = ch;
        }
        key[n] = '\0';
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(key, NULL, 10))
                               : json_object_get(at, key);
    }
    *out = at;
    return at == NULL ? schema_wrong_key(c, STATUS_INVALID, "$ref", "leads to nothing") : STATUS_OK;
}

/* About the bytes that a copy takes; more than most: as soon as that is certain. */
static size_t weigh(const json_t *v, size_t most)
{
    size_t n = VALUE_WEIGHT + json_string_length(v);
    for (size_t i = 0; i < json_array_size(v) && n <= most; i++) {
        n += weigh(json_array_get(v, i), most - n);
    }
    void *it = json_object_iter((json_t *)(uintptr_t)v);
    for (; it != NULL && n <= most; it = json_object_iter_next((json_t *)(uintptr_t)v, it)) {
        n += strlen(json_object_iter_key(it));
        n += n <= most ? weigh(json_object_iter_value(it), most - n) : 0;
    }
    return n;
}

/* Parts of allOf are copied wherever they are named, which may be often: a short schema would take
 * all memory. */
static enum status may_copy(struct schema *c, const json_t *v)
{
    c->copied += weigh(v, COPIED_MAX - c->copied);
    if (c->copied > COPIED_MAX) {
        c->copied = COPIED_MAX;
        return schema_wrong_key(c, STATUS_TOO_LARGE, "allOf", "has too much in it, or too often");
    }
    return STATUS_OK;
}

/* Members of part into whole; a keyword that both have with different values does not fit. */
static enum status merge_part(struct schema *c, json_t *whole, const json_t *part)
{
    void *it = json_object_iter((json_t *)(uintptr_t)part);
    for (; it != NULL; it = json_object_iter_next((json_t *)(uintptr_t)part, it)) {
        const char *key = json_object_iter_key(it);
        json_t *v = json_object_iter_value(it);
        json_t *has = json_object_get(whole, key);
        int bad = 0;
        if (has == NULL) {
            bad = json_object_set_new(whole, key, json_deep_copy(v));
        } else if (strcmp(key, "required") == 0 && json_is_array(v)) {
            bad = json_array_extend(has, v);
        } else if (strcmp(key, "properties") == 0 && json_is_object(v)) {
            const char *name;
            const json_t *p;
            void *m = json_object_iter(v);
            for (; m != NULL && bad == 0; m = json_object_iter_next(v, m)) {
                name = json_object_iter_key(m);
                p = json_object_iter_value(m);
                if (json_object_get(has, name) != NULL &&
                    !json_equal(json_object_get(has, name), p)) {
                    return schema_wrong_key(c, STATUS_UNSUPPORTED, name,
                                            "is described differently by parts of allOf");
                }
                bad = json_object_set_new(has, name, json_deep_copy(p));
            }
        } else if (!json_equal(has, v) && strcmp(key, "title") != 0 &&
                   strcmp(key, "description") != 0) {
            return schema_wrong_key(c, STATUS_UNSUPPORTED, key, "differs between parts of allOf");
        }
        if (bad != 0) {
            return error_set(c->err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    return STATUS_OK;
}

static enum status all_of(struct schema *c, const json_t *s, struct buf *b)
{
    const json_t *list = json_object_get(s, "allOf");
    size_t i;
    const json_t *v;
    if (!json_is_array(list) || json_array_size(list) == 0) {
        return schema_wrong_key(c, STATUS_INVALID, "allOf", "is not a list of schemas");
    }
    enum status st = may_copy(c, s);
    if (st != STATUS_OK) {
        return st;
    }
    json_t *whole = json_deep_copy(s);
    if (whole == NULL || json_object_del(whole, "allOf") != 0) {
        st = error_set(c->err, STATUS_NO_MEMORY, "out of memory");
    }
    json_array_foreach(list, i, v)
    {
        for (unsigned hops = 0; st == STATUS_OK && json_object_get(v, "$ref") != NULL; hops++) {
            st = hops == DEPTH_MAX ? schema_wrong_key(c, STATUS_INVALID, "$ref", "goes in a circle")
                                   : resolve(c, v, &v);
        }
        if (st == STATUS_OK && !json_is_object(v)) {
            st = schema_wrong_key(c, STATUS_INVALID, "allOf", "is not a list of schemas");
        }
        if (st == STATUS_OK && json_object_get(v, "allOf") != NULL) {
            st = schema_wrong_key(c, STATUS_UNSUPPORTED, "allOf", "within allOf");
        }
        if (st == STATUS_OK) {
            st = may_copy(c, v);
        }
        if (st == STATUS_OK) {
            st = merge_part(c, whole, v);
        }
    }
    unsigned rule;
    if (st == STATUS_OK && json_array_append(c->merged, whole) != 0) {
        st = error_set(c->err, STATUS_NO_MEMORY, "out of memory");
    }
    if (st == STATUS_OK) {
        st = visit(c, whole, &rule);
    }
    if (st == STATUS_OK) {
        buf_printf(b, "r%u ", rule);
    }
    json_decref(whole);
    return st;
}

/* ---- one schema ---- */

static enum status of_type(struct schema *c, const json_t *s, const char *type, struct buf *b)
{
    if (strcmp(type, "object") == 0) {
        return schema_object(c, s, b);
    }
    if (strcmp(type, "array") == 0) {
        return schema_array(c, s, b);
    }
    if (strcmp(type, "string") == 0) {
        return schema_string(c, s, b);
    }
    if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0) {
        return schema_number(c, s, type[0] == 'i', b);
    }
    if (strcmp(type, "boolean") == 0) {
        buf_z(b, "(\"true\" | \"false\") ");
        return STATUS_OK;
    }
    if (strcmp(type, "null") == 0) {
        buf_z(b, "\"null\" ");
        return STATUS_OK;
    }
    return schema_wrong_key(c, STATUS_INVALID, type,
                            "is no type (object, array, string, number, integer, boolean, null)");
}

static enum status of_types(struct schema *c, const json_t *s, const json_t *types, struct buf *b)
{
    size_t i;
    const json_t *v;
    enum status st = STATUS_OK;
    if (json_is_string(types)) {
        return of_type(c, s, json_string_value(types), b);
    }
    if (!json_is_array(types) || json_array_size(types) == 0) {
        return schema_wrong_key(c, STATUS_INVALID, "type", "is neither a name nor a list of names");
    }
    json_array_foreach(types, i, v)
    {
        buf_z(b, i > 0 ? "| " : "");
        st = json_is_string(v)
                 ? of_type(c, s, json_string_value(v), b)
                 : schema_wrong_key(c, STATUS_INVALID, "type", "holds something else than names");
        if (st != STATUS_OK) {
            break;
        }
    }
    return st;
}

/* Without a type: the one that its keywords speak of. */
static const char *guess(const json_t *s)
{
    static const struct {
        const char *key, *type;
    } marks[] = {
        {"properties", "object"},
        {"required", "object"},
        {"additionalProperties", "object"},
        {"items", "array"},
        {"prefixItems", "array"},
        {"minItems", "array"},
        {"maxItems", "array"},
        {"pattern", "string"},
        {"minLength", "string"},
        {"maxLength", "string"},
        {"minimum", "number"},
        {"maximum", "number"},
        {"exclusiveMinimum", "number"},
        {"exclusiveMaximum", "number"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (json_object_get(s, marks[i].key) != NULL) {
            return marks[i].type;
        }
    }
    return NULL;
}

static enum status check_keywords(struct schema *c, const json_t *s)
{
    static const char *const narrowing[] = {
        "not",
        "if",
        "then",
        "else",
        "contains",
        "minContains",
        "maxContains",
        "patternProperties",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "multipleOf",
        "unevaluatedItems",
        "unevaluatedProperties",
        "$dynamicRef",
        "$recursiveRef",
    };
    for (size_t i = 0; i < sizeof narrowing / sizeof *narrowing; i++) {
        if (json_object_get(s, narrowing[i]) != NULL) {
            return schema_wrong_key(c, STATUS_UNSUPPORTED, narrowing[i],
                                    "cannot be decoded to; leave it out and check the answer");
        }
    }
    return STATUS_OK;
}

static enum status body(struct schema *c, const json_t *s, struct buf *b)
{
    const json_t *v;
    size_t i;
    enum status st = check_keywords(c, s);
    if (st != STATUS_OK) {
        return st;
    }
    if (json_object_get(s, "$ref") != NULL) {
        const json_t *to;
        unsigned rule;
        st = resolve(c, s, &to);
        if (st == STATUS_OK) {
            st = visit(c, to, &rule);
        }
        if (st == STATUS_OK) {
            buf_printf(b, "r%u ", rule);
        }
        return st;
    }
    if ((v = json_object_get(s, "const")) != NULL) {
        json_literal(b, v);
        return STATUS_OK;
    }
    if ((v = json_object_get(s, "enum")) != NULL) {
        const json_t *e;
        if (!json_is_array(v) || json_array_size(v) == 0) {
            return schema_wrong_key(c, STATUS_INVALID, "enum", "is not a list of values");
        }
        json_array_foreach(v, i, e)
        {
            buf_z(b, i > 0 ? "| " : "");
            json_literal(b, e);
        }
        return STATUS_OK;
    }
    static const char *const choices[] = {"anyOf", "oneOf"};
    for (i = 0; i < 2; i++) {
        if ((v = json_object_get(s, choices[i])) != NULL) {
            if (json_object_get(s, "properties") != NULL || json_object_get(s, "allOf") != NULL ||
                json_object_get(s, choices[1 - i]) != NULL) {
                return schema_wrong_key(
                    c, STATUS_UNSUPPORTED, choices[i],
                    "beside properties, allOf or another choice: put all into its parts");
            }
            return any_of(c, v, choices[i], b);
        }
    }
    if (json_object_get(s, "allOf") != NULL) {
        return all_of(c, s, b);
    }
    if ((v = json_object_get(s, "type")) != NULL) {
        return of_types(c, s, v, b);
    }
    const char *type = guess(s);
    if (type != NULL) {
        return of_type(c, s, type, b);
    }
    buf_z(b, "value ");
    return STATUS_OK;
}

static enum status visit(struct schema *c, const json_t *s, unsigned *rule)
{
    struct str key = {.ptr = (const char *)&s, .len = sizeof s};
    uintptr_t known = (uintptr_t)map_get(&c->known, key);
    struct buf b;
    if (known != 0) {
        *rule = (unsigned)known - 1;
        return STATUS_OK;
    }
    if (json_is_false(s)) {
        return schema_wrong(c, STATUS_INVALID, "nothing is allowed here");
    }
    if (!json_is_object(s) && !json_is_true(s)) {
        return schema_wrong(c, STATUS_INVALID, "not a schema (an object, true or false)");
    }
    if (c->depth >= DEPTH_MAX) {
        return schema_wrong(c, STATUS_TOO_LARGE, "schemas within schemas, more than 64 deep");
    }
    if (++c->rules > SCHEMA_RULES_MAX) {
        return schema_wrong(c, STATUS_TOO_LARGE, "too many parts");
    }
    *rule = c->rules;
    if (map_put(&c->known, key, (void *)((uintptr_t)*rule + 1), NULL) != STATUS_OK) {
        return error_set(c->err, STATUS_NO_MEMORY, "out of memory");
    }
    buf_init(&b, GRAMMAR_TEXT_MAX);
    c->depth++;
    enum status st = STATUS_OK;
    if (json_is_true(s)) {
        buf_z(&b, "value ");
    } else {
        st = body(c, s, &b);
    }
    c->depth--;
    if (st == STATUS_OK && buf_status(&b) != STATUS_OK) {
        st = schema_wrong(c, buf_status(&b), "it makes too large a grammar");
    }
    if (st == STATUS_OK) {
        struct str text = buf_view(&b);
        buf_printf(c->out, "r%u ::= %.*s\n", *rule, STR_ARG(text));
    }
    buf_deinit(&b);
    return st;
}

enum status json_schema_gbnf(struct str text, struct buf *out, struct error *err)
{
    json_error_t je;
    unsigned rule = 0;
    if (text.len > GRAMMAR_TEXT_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "the schema has more than %zu bytes",
                         GRAMMAR_TEXT_MAX);
    }
    json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
    if (root == NULL) {
        return error_set(err, STATUS_INVALID, "the schema is no JSON: line %d: %s", je.line,
                         je.text);
    }
    struct schema c = {.root = root, .out = out, .err = err, .merged = json_array()};
    map_init(&c.known);
    buf_init(&c.place, 2000);
    enum status s = c.merged == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                                     : visit(&c, root, &rule);
    buf_printf(out, "root ::= r%u\n%s", rule, common);
    if (s == STATUS_OK && buf_status(out) != STATUS_OK) {
        s = error_set(err, buf_status(out), "the schema makes too large a grammar");
    }
    map_deinit(&c.known);
    buf_deinit(&c.place);
    json_decref(c.merged);
    json_decref(root);
    return s;
}

enum status json_schema_grammar(struct str schema, struct grammar **out, struct error *err)
{
    struct buf gbnf;
    *out = NULL;
    buf_init(&gbnf, GRAMMAR_TEXT_MAX);
    enum status s = json_schema_gbnf(schema, &gbnf, err);
    if (s == STATUS_OK) {
        s = grammar_parse(buf_view(&gbnf), out, err);
        if (s != STATUS_OK) { /* say, a part that always needs itself */
            s = error_prefix(err, "the schema cannot be decoded to");
        }
    }
    buf_deinit(&gbnf);
    return s;
}

enum status json_object_grammar(struct grammar **out, struct error *err)
{
    return json_schema_grammar(STR("{\"type\":\"object\"}"), out, err);
}
