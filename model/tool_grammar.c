#include "model/tool_grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/json_schema.h"
#include "model/json_text.h"

#define CALLS_AT_ONCE 16
#define PLACE_CAP 96U

/* References within a function's schema go on to mean the same where it stands now. */
static int move_references(json_t *v, const char *place)
{
    const char *key;
    json_t *member;
    size_t i;
    int bad = 0;
    json_t *ref = json_object_get(v, "$ref");
    if (json_is_string(ref) && json_string_value(ref)[0] == '#') {
        json_t *moved = json_sprintf("#%s%s", place, json_string_value(ref) + 1);
        bad |= json_object_set_new(v, "$ref", moved);
    }
    if (json_is_object(v)) {
        json_object_foreach(v, key, member)
        {
            bad |= move_references(member, place);
        }
    }
    json_array_foreach(v, i, member)
    {
        bad |= move_references(member, place);
    }
    return bad;
}

/* Owned. What a function without parameters takes is the empty object. */
static json_t *parameters_of(const struct tool_offer *o, json_t **name, struct error *err)
{
    json_t *tool = json_text_parse(o->declaration, "a tool's declaration", err);
    const json_t *f = json_object_get(tool, "function");
    json_t *p = json_object_get(f, "parameters");
    *name = json_incref(json_object_get(f, "name"));
    p = p == NULL || json_object_size(p) == 0
            ? json_pack("{s:s,s:{},s:b}", "type", "object", "properties", "additionalProperties", 0)
            : json_incref(p);
    json_decref(tool);
    if (!json_is_string(*name)) {
        (void)error_set(err, STATUS_INVALID, "a tool's function has no name");
        json_decref(p);
        json_decref(*name);
        *name = NULL;
        return NULL;
    }
    return p;
}

/* Where the schema alone cannot be decoded to: an error if it is strict, else any object. */
static enum status usable(const struct tool_offer *o, const json_t *name, json_t **p,
                          struct error *err)
{
    struct buf text, gbnf;
    buf_init(&text, GRAMMAR_TEXT_MAX);
    buf_init(&gbnf, GRAMMAR_TEXT_MAX);
    json_text_write(*p, 0, &text);
    enum status s = buf_status(&text);
    s = s != STATUS_OK ? error_set(err, s, "too long")
                       : json_schema_gbnf(buf_view(&text), &gbnf, err);
    if (s != STATUS_OK && o->strict) {
        (void)error_prefix(err, "function %s", json_string_value(name));
    } else if (s != STATUS_OK) {
        json_decref(*p);
        *p = json_pack("{s:s}", "type", "object");
        s = STATUS_OK;
    }
    buf_deinit(&text);
    buf_deinit(&gbnf);
    return s;
}

static enum status add_call(const struct tool_offer *o, const char *member, const char *place,
                            json_t *list, struct error *err)
{
    json_t *name = NULL, *p = parameters_of(o, &name, err);
    if (p == NULL) {
        return err->code;
    }
    enum status s = usable(o, name, &p, err);
    if (s == STATUS_OK) {
        json_t *moved = json_deep_copy(p);
        int bad = move_references(moved, place);
        json_t *call = json_pack("{s:s,s:{s:{s:O},s:o},s:[s,s],s:b}", "type", "object",
                                 "properties", "name", "const", name, member, moved, "required",
                                 "name", member, "additionalProperties", 0);
        s = bad != 0 || json_array_append_new(list, call) != 0
                ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                : STATUS_OK;
    }
    json_decref(name);
    json_decref(p);
    return s;
}

static bool is_list(enum template_tools form)
{
    return form == TOOLS_MISTRAL || form == TOOLS_MISTRAL_TEKKEN;
}

/* The schema of what the answer says, and before it white space. Owned. */
static json_t *schema_of(enum template_tools form, const struct tool_offer *offers, size_t n,
                         bool one, struct error *err)
{
    const char *member = form == TOOLS_LLAMA3 ? "parameters" : "arguments";
    char place[PLACE_CAP];
    json_t *name = NULL;
    if (template_names_first(form)) { /* the name stands in the prompt */
        json_t *p = parameters_of(offers, &name, err);
        if (p != NULL && usable(offers, name, &p, err) != STATUS_OK) {
            json_decref(p);
            p = NULL;
        }
        json_decref(name);
        return p;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(place, sizeof place, "%s/anyOf/%zu/properties/%s",
                       is_list(form) ? "/items" : "", i, member);
        if (add_call(&offers[i], member, place, list, err) != STATUS_OK) {
            json_decref(list);
            return NULL;
        }
    }
    json_t *schema = json_pack("{s:o}", "anyOf", list);
    if (is_list(form)) {
        schema = json_pack("{s:s,s:o,s:i,s:i}", "type", "array", "items", schema, "minItems", 1,
                           "maxItems", one ? 1 : CALLS_AT_ONCE);
    }
    if (schema == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    return schema;
}

/* The schema's own root becomes a part. */
static enum status with_root(const char *before, const char *other, struct buf *gbnf,
                             struct error *err)
{
    static const char root[] = "root ::= ";
    char *at = gbnf->len == 0 ? NULL : memmem(gbnf->ptr, gbnf->len, root, sizeof root - 1);
    if (at == NULL) {
        return error_set(err, STATUS_INTERNAL, "a grammar without a root");
    }
    memcpy(at, "call", 4);
    buf_printf(gbnf, "root ::= \"%s\" call%s\n", before, other);
    return buf_status(gbnf) == STATUS_OK
               ? STATUS_OK
               : error_set(err, buf_status(gbnf), "the tools make too large a grammar");
}

static enum status make(enum template_tools form, const struct tool_offer *offers, size_t n,
                        bool one, const char *other, struct grammar **out, struct error *err)
{
    struct buf text;
    struct buf gbnf;
    *out = NULL;
    if (n == 0 || (n > 1 && template_names_first(form))) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "this model's template can only be held to one function: name it");
    }
    json_t *schema = schema_of(form, offers, n, one, err);
    if (schema == NULL) {
        return err->code;
    }
    buf_init(&text, GRAMMAR_TEXT_MAX);
    buf_init(&gbnf, GRAMMAR_TEXT_MAX);
    json_text_write(schema, 0, &text);
    enum status s = buf_status(&text);
    s = s == STATUS_OK ? json_schema_gbnf(buf_view(&text), &gbnf, err)
                       : error_set(err, s, "the tools make too large a grammar");
    bool marked = form == TOOLS_QWEN || form == TOOLS_QWEN_THINKING || form == TOOLS_HERMES;
    const char *before = marked ? "\\n" : form == TOOLS_MISTRAL ? " " : "";
    s = s != STATUS_OK ? s : with_root(before, other, &gbnf, err);
    s = s != STATUS_OK ? s : grammar_parse(buf_view(&gbnf), out, err);
    buf_deinit(&text);
    buf_deinit(&gbnf);
    json_decref(schema);
    return s;
}

enum status tool_grammar(enum template_tools form, const struct tool_offer *offers, size_t n,
                         bool one, struct grammar **out, struct error *err)
{
    return make(form, offers, n, one, "", out, err);
}

enum status tool_grammar_or_text(enum template_tools form, const struct tool_offer *offers,
                                 size_t n, struct grammar **out, struct error *err)
{
    return make(form, offers, n, true, " | [^{ \\t\\r\\n] anything*\nanything ::= [^\\x00]", out,
                err);
}
