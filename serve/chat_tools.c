/* The functions that a client offers, and the calls and results of a conversation. */
#include <ctype.h>
#include <string.h>

#include "serve/chat_request.h"
#include "serve/request.h"
#include "serve/search_request.h"

#define NAME_MAX_BYTES 64

static enum status out_of_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "out of memory");
}

/* What OpenAI takes: letters, digits, "_", "-" (and "." as some clients have it). */
static bool name_ok(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!isalnum((unsigned char)s.ptr[i]) && strchr("_-.", s.ptr[i]) == NULL) {
            return false;
        }
    }
    return s.ptr != NULL && s.len > 0 && s.len <= NAME_MAX_BYTES;
}

/* ---- tools ---- */

static enum status read_tool(const struct json *v, size_t i, struct arena *a, Ge__ChatRequest *ask,
                             struct error *err)
{
    const struct json *f = jsonr_get(v, "function"), *parameters = jsonr_get(f, "parameters");
    struct str type = jsonr_str(jsonr_get(v, "type")), name = jsonr_str(jsonr_get(f, "name"));
    bool strict = false;
    if (type.ptr == NULL || !str_eq(type, STR("function"))) {
        return error_set(err, STATUS_INVALID, "tools[%zu]: only type \"function\" is known here",
                         i);
    }
    if (!name_ok(name)) {
        return error_set(err, STATUS_INVALID,
                         "tools[%zu].function.name must be 1 to %d letters, digits, _ and -", i,
                         NAME_MAX_BYTES);
    }
    if (parameters != NULL && jsonr_kind(parameters) != JSON_KIND_OBJECT) {
        return error_set(err, STATUS_INVALID,
                         "tools[%zu].function.parameters must be a JSON schema (an object)", i);
    }
    for (size_t k = 0; k < ask->n_tools; k++) {
        if (strcmp(ask->tools[k]->name, name.ptr) == 0) {
            return error_set(err, STATUS_INVALID, "tools[%zu]: there are two of that name", i);
        }
    }
    enum status s = jsonr_bool(f, "strict", false, &strict, err);
    if (s != STATUS_OK) {
        return error_prefix(err, "tools[%zu].function", i);
    }
    Ge__Tool *t = arena_alloc(a, sizeof *t);
    if (t == NULL) {
        return out_of_memory(err);
    }
    ge__tool__init(t);
    t->name = pb_text(name.ptr);
    t->declaration = pb_text(jsonr_text(v, a));
    t->has_strict = t->strict = strict;
    ask->tools[ask->n_tools++] = t;
    return t->declaration == NULL ? out_of_memory(err) : STATUS_OK;
}

/* "none", "auto", "required", or {"type": "function", "function": {"name": ...}}. */
static enum status read_choice(const struct json *v, Ge__ChatRequest *ask, struct error *err)
{
    struct str word = jsonr_str(v), type = jsonr_str(jsonr_get(v, "type"));
    struct str name = jsonr_str(jsonr_get(jsonr_get(v, "function"), "name"));
    static char required[] = "required";
    if (v == NULL) {
        return STATUS_OK;
    }
    if (word.ptr != NULL &&
        (str_eq(word, STR("none")) || str_eq(word, STR("auto")) || str_eq(word, STR("required")))) {
        ask->tool_choice = pb_text(word.ptr);
    } else if (type.ptr != NULL && str_eq(type, STR("function")) && name.ptr != NULL) {
        ask->tool_choice = required;
        ask->tool_name = pb_text(name.ptr);
    } else {
        return error_set(err, STATUS_INVALID,
                         "tool_choice must be none, auto, required or the name of a function");
    }
    if (ask->n_tools == 0 && strcmp(ask->tool_choice, "none") != 0) {
        return error_set(err, STATUS_INVALID, "tool_choice: there are no tools to choose from");
    }
    for (size_t i = 0; i < ask->n_tools && ask->tool_name != NULL; i++) {
        if (strcmp(ask->tools[i]->name, ask->tool_name) == 0) {
            return STATUS_OK;
        }
    }
    return ask->tool_name == NULL
               ? STATUS_OK
               : error_set(err, STATUS_INVALID, "tool_choice: no tool is called %.64s", name.ptr);
}

enum status chat_tools_read(const struct json *body, struct arena *a, struct chat_request *out,
                            const char **param, struct error *err)
{
    const struct json *tools = jsonr_get(body, "tools");
    size_t n = jsonr_len(tools);
    bool parallel = true;
    Ge__ChatRequest *ask = out->ask;
    *param = "tools";
    if (tools != NULL && (jsonr_kind(tools) != JSON_KIND_ARRAY || n > CHAT_TOOLS_MAX)) {
        return error_set(err, STATUS_INVALID, "tools must be an array of at most %d",
                         CHAT_TOOLS_MAX);
    }
    ask->tools = arena_array(a, n + 1, sizeof *ask->tools);
    if (ask->tools == NULL) {
        return out_of_memory(err);
    }
    enum status s = STATUS_OK;
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = read_tool(jsonr_at(tools, i), i, a, ask, err);
    }
    if (s == STATUS_OK) {
        *param = "tool_choice";
        s = read_choice(jsonr_get(body, "tool_choice"), ask, err);
    }
    if (s == STATUS_OK) {
        *param = "parallel_tool_calls";
        s = jsonr_bool(body, "parallel_tool_calls", true, &parallel, err);
        ask->has_one_call = ask->one_call = !parallel;
    }
    if (s == STATUS_OK && ask->tool_choice != NULL && strcmp(ask->tool_choice, "required") == 0 &&
        (ask->json_schema != NULL || ask->grammar != NULL || ask->has_json_object)) {
        *param = "response_format";
        s = error_set(err, STATUS_INVALID,
                      "an answer that must be a tool call has no response_format");
    }
    return s;
}

/* ---- calls and results ---- */

static enum status read_call(const struct json *v, struct arena *a, Ge__Message *m)
{
    const struct json *f = jsonr_get(v, "function"), *arguments = jsonr_get(f, "arguments");
    struct str id = jsonr_str(jsonr_get(v, "id")), name = jsonr_str(jsonr_get(f, "name"));
    struct str text = jsonr_str(arguments);
    static char nothing[] = "{}";
    if (id.ptr == NULL || name.ptr == NULL ||
        (text.ptr == NULL && arguments != NULL && jsonr_kind(arguments) != JSON_KIND_OBJECT)) {
        return STATUS_INVALID;
    }
    Ge__ToolCall *c = arena_alloc(a, sizeof *c);
    if (c == NULL) {
        return STATUS_NO_MEMORY;
    }
    ge__tool_call__init(c);
    c->id = pb_text(id.ptr);
    c->name = pb_text(name.ptr);
    c->arguments = text.ptr != NULL && text.len > 0            ? pb_text(text.ptr)
                   : jsonr_kind(arguments) == JSON_KIND_OBJECT ? pb_text(jsonr_text(arguments, a))
                                                               : nothing;
    m->calls[m->n_calls++] = c;
    return c->arguments == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status chat_calls_read(const struct json *message, size_t i, struct arena *a, Ge__Message *m,
                            struct error *err)
{
    const struct json *calls = jsonr_get(message, "tool_calls");
    size_t n = jsonr_len(calls);
    if (strcmp(m->role, "tool") == 0) {
        struct str id = jsonr_str(jsonr_get(message, "tool_call_id"));
        m->call_id = pb_text(id.ptr);
        return id.ptr != NULL ? STATUS_OK
                              : error_set(err, STATUS_INVALID,
                                          "messages[%zu].tool_call_id must be a string", i);
    }
    if (calls == NULL || strcmp(m->role, "assistant") != 0) {
        return STATUS_OK;
    }
    if (jsonr_kind(calls) != JSON_KIND_ARRAY || n > CHAT_CALLS_A_MESSAGE) {
        return error_set(err, STATUS_INVALID,
                         "messages[%zu].tool_calls must be an array of at most %d", i,
                         CHAT_CALLS_A_MESSAGE);
    }
    m->calls = arena_array(a, n + 1, sizeof *m->calls);
    enum status s = m->calls == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    for (size_t k = 0; k < n && s == STATUS_OK; k++) {
        s = read_call(jsonr_at(calls, k), a, m);
        if (s == STATUS_INVALID) {
            return error_set(err, s,
                             "messages[%zu].tool_calls[%zu] must have an id and a function with "
                             "name and arguments",
                             i, k);
        }
    }
    return s == STATUS_OK ? s : out_of_memory(err);
}
