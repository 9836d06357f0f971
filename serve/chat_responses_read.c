/* A request for a response as a chat. Format: OpenAI API reference, "Create a model response". */
#include <stdlib.h>
#include <string.h>

#include "serve/attribute_filter.h"
#include "serve/chat_responses.h"
#include "serve/chat_translate.h"
#include "serve/conversations.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"

#define ITEMS_MAX 1024

static enum status wrong(const char **param, const char *what, struct error *err, const char *text)
{
    *param = what;
    return error_set(err, STATUS_INVALID, "%s", text);
}

/* n8n's nodes send {} where no filter is meant. */
static bool no_members(const struct json *object)
{
    void *at = NULL;
    struct str key;
    const struct json *value;
    return jsonr_kind(object) == JSON_KIND_OBJECT && !jsonr_next(object, &at, &key, &value);
}

enum status responses_read(const struct json *body, struct responses *out, const char **param,
                           struct error *err)
{
    struct str previous = {0};
    bool stream = false;
    const struct json *include = jsonr_get(body, "include");
    *out = (struct responses){.body = body, .message = SIZE_MAX};
    *param = "previous_response_id";
    enum status s = jsonr_string(body, "previous_response_id", &previous, err);
    if (s == STATUS_OK) {
        *param = "store";
        s = jsonr_bool(body, "store", true, &out->store, err);
    }
    if (s == STATUS_OK) {
        *param = "background";
        s = jsonr_bool(body, "background", false, &out->background, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (out->background) {
        *param = "stream";
        s = jsonr_bool(body, "stream", false, &stream, err);
        if (s == STATUS_OK && stream) {
            s = error_set(err, STATUS_UNSUPPORTED,
                          "a background response is not streamed: ask for it by its id");
        }
        if (s == STATUS_OK && !out->store) {
            *param = "store";
            s = error_set(err, STATUS_INVALID, "a background response is kept: store must be true");
        }
        if (s != STATUS_OK) {
            return s;
        }
    }
    const struct json *conversation = jsonr_get(body, "conversation");
    if (conversation != NULL) {
        struct str id =
            jsonr_str(jsonr_kind(conversation) == JSON_KIND_OBJECT ? jsonr_get(conversation, "id")
                                                                   : conversation);
        *param = "conversation";
        if (str_starts(id, STR(CONVERSATION_PREFIX))) {
            id.ptr += strlen(CONVERSATION_PREFIX);
        }
        if (id.ptr == NULL || (strcmp(id.ptr, "new") != 0 && !id_valid(id.ptr))) {
            return error_set(err, STATUS_INVALID, "conversation must be the id of one of yours");
        }
        if (previous.ptr != NULL) {
            return error_set(err, STATUS_INVALID,
                             "either conversation or previous_response_id, not both");
        }
        out->conversation = id.ptr;
    }
    if (jsonr_get(body, "prompt") != NULL) {
        *param = "prompt";
        return error_set(err, STATUS_UNSUPPORTED,
                         "prompts are not kept here: send instructions and input");
    }
    for (size_t i = 0; i < jsonr_len(include); i++) {
        struct str name = jsonr_str(jsonr_at(include, i));
        out->with_results |= name.ptr != NULL && str_eq(name, STR("file_search_call.results"));
    }
    const struct json *tools = jsonr_get(body, "tools");
    for (size_t i = 0; i < jsonr_len(tools); i++) {
        const struct json *ids = jsonr_get(jsonr_at(tools, i), "vector_store_ids");
        if (jsonr_is(jsonr_at(tools, i), "type", "file_search") && ids != NULL &&
            jsonr_kind(ids) != JSON_KIND_ARRAY) { /* else all documents were searched */
            *param = "tools";
            return error_set(err, STATUS_INVALID,
                             "tools[%zu].vector_store_ids must be an array of ids", i);
        }
        const struct json *filters = jsonr_get(jsonr_at(tools, i), "filters");
        if (filters == NULL || no_members(filters) ||
            !jsonr_is(jsonr_at(tools, i), "type", "file_search")) {
            continue;
        }
        *param = "tools";
        if (out->filters != NULL ||
            jsonr_len(jsonr_get(jsonr_at(tools, i), "vector_store_ids")) == 0) {
            return error_set(err, STATUS_INVALID,
                             "filters: of one file_search, which names its vector stores");
        }
        s = attribute_filter_check(filters, err);
        if (s != STATUS_OK) {
            return s;
        }
        out->filters = filters;
    }
    if (previous.ptr != NULL) {
        if (!str_starts(previous, STR(RESPONSE_ID)) ||
            previous.len >= strlen(RESPONSE_ID) + ID_CAP) {
            return wrong(param, "previous_response_id", err, "this is no response's id");
        }
        out->previous = previous.ptr + strlen(RESPONSE_ID);
    }
    return STATUS_OK;
}

/* ---- input ---- */

/* What a function returned: a string, or parts of text. */
static void write_output(struct jsonw *w, struct arena *a, const struct json *item)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "role", "tool");
    translate_copy(w, a, item, "call_id", "tool_call_id");
    translate_copy(w, a, item, "output", "content");
    jsonw_close(w, '}');
}

static void write_call(struct jsonw *w, struct arena *a, const struct json *item)
{
    jsonw_open(w, '{');
    translate_copy(w, a, item, "call_id", "id");
    jsonw_field_z(w, "type", "function");
    jsonw_key(w, "function");
    jsonw_open(w, '{');
    translate_copy(w, a, item, "name", "name");
    translate_copy(w, a, item, "arguments", "arguments");
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

/* Calls that follow one another are one message of the assistant's. Returns how many. */
static size_t write_calls(struct jsonw *w, struct arena *a, const struct json *input, size_t i)
{
    size_t first = i;
    jsonw_open(w, '{');
    jsonw_field_z(w, "role", "assistant");
    jsonw_field_z(w, "content", "");
    jsonw_key(w, "tool_calls");
    jsonw_open(w, '[');
    for (; i < jsonr_len(input) && jsonr_is(jsonr_at(input, i), "type", "function_call"); i++) {
        write_call(w, a, jsonr_at(input, i));
    }
    jsonw_close(w, ']');
    jsonw_close(w, '}');
    return i - first;
}

/* Files and pictures are told by where the client put them, and what to do instead. */
static enum status check_parts(const struct json *item, size_t i, struct error *err)
{
    const struct json *parts = jsonr_get(item, "content");
    for (size_t k = 0; k < jsonr_len(parts); k++) {
        struct str type = jsonr_str(jsonr_get(jsonr_at(parts, k), "type"));
        if (str_starts(type, STR("input_")) && !str_eq(type, STR("input_text"))) {
            return error_set(err, STATUS_UNSUPPORTED,
                             "input[%zu].content[%zu]: %.*s is not read here, only text: put the "
                             "file in as a document, and ask about it",
                             i, k, type.len > 40 ? 40 : (int)type.len, type.ptr);
        }
    }
    return STATUS_OK;
}

static enum status write_items(struct jsonw *w, struct arena *a, const struct json *input,
                               struct error *err)
{
    size_t n = jsonr_len(input);
    if (n == 0 || n > ITEMS_MAX) {
        return error_set(err, STATUS_INVALID, "input must be a string or 1 to %d items", ITEMS_MAX);
    }
    for (size_t i = 0; i < n;) {
        const struct json *item = jsonr_at(input, i);
        bool message = jsonr_is(item, "type", "message") ||
                       (jsonr_get(item, "type") == NULL && jsonr_get(item, "role") != NULL);
        if (jsonr_is(item, "type", "function_call")) {
            i += write_calls(w, a, input, i);
            continue;
        }
        if (message) {
            enum status s = check_parts(item, i, err);
            if (s != STATUS_OK) {
                return s;
            }
            jsonw_open(w, '{');
            translate_copy(w, a, item, "role", "role");
            translate_copy(w, a, item, "content", "content");
            jsonw_close(w, '}');
        } else if (jsonr_is(item, "type", "function_call_output")) {
            write_output(w, a, item);
        } else if (!jsonr_is(item, "type", "reasoning") &&
                   !jsonr_is(item, "type", "file_search_call")) {
            struct str type = jsonr_str(jsonr_get(item, "type"));
            return error_set(err, STATUS_UNSUPPORTED,
                             "input[%zu]: items of type \"%.40s\" are not read here", i,
                             type.ptr == NULL ? "" : type.ptr);
        }
        i++;
    }
    return STATUS_OK;
}

static enum status write_messages(struct chat *c, struct jsonw *w, const struct json *body,
                                  const char **param, struct error *err)
{
    struct responses *r = c->more;
    const struct json *input = jsonr_get(body, "input");
    const struct json *instructions = jsonr_get(body, "instructions");
    struct str text = jsonr_str(input);
    enum status s = STATUS_OK;
    jsonw_key(w, "messages");
    jsonw_open(w, '[');
    if (jsonr_str(instructions).ptr != NULL) {
        r->instructed = true;
        jsonw_open(w, '{');
        jsonw_field_z(w, "role", "system");
        jsonw_field_str(w, "content", jsonr_str(instructions));
        jsonw_close(w, '}');
    } else if (instructions != NULL) {
        return wrong(param, "instructions", err, "instructions must be a string");
    }
    if (r->before.len > 0) {
        jsonw_raw(w, r->before);
    }
    *param = "input";
    if (text.ptr != NULL) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "role", "user");
        jsonw_field_str(w, "content", text);
        jsonw_close(w, '}');
    } else {
        s = write_items(w, c->q->arena, input, err);
    }
    jsonw_close(w, ']');
    return s;
}

/* ---- tools ---- */

/* The vector stores of a file_search are collections. */
static enum status take_stores(struct arena *a, const struct json *tool, const char **names,
                               size_t *n, struct error *err)
{
    const struct json *ids = jsonr_get(tool, "vector_store_ids");
    for (size_t i = 0; i < jsonr_len(ids); i++) {
        struct str id = jsonr_str(jsonr_at(ids, i));
        const char *name = id.ptr == NULL ? NULL : vector_store_collection(id, a);
        if (name == NULL || *n == RESPONSES_STORES_MAX) {
            return error_set(err, STATUS_INVALID,
                             "tools: vector_store_ids must be at most %d ids of vector stores",
                             RESPONSES_STORES_MAX);
        }
        names[(*n)++] = name;
    }
    return STATUS_OK;
}

/* What narrows the search: the object "carrel", or the stores of file_search. */
static enum status write_filter(struct jsonw *w, struct arena *a, const struct json *body,
                                const char *const *names, size_t n, const char **param,
                                struct error *err)
{
    if (n == 0) {
        translate_copy(w, a, body, "carrel", "carrel");
        return STATUS_OK;
    }
    if (jsonr_get(body, "carrel") != NULL) {
        return wrong(param, "carrel", err, "either vector_store_ids or \"carrel\", not both");
    }
    jsonw_key(w, "carrel");
    jsonw_open(w, '{');
    jsonw_key(w, "collections");
    jsonw_open(w, '[');
    for (size_t i = 0; i < n; i++) {
        jsonw_str(w, str_from(names[i]));
    }
    jsonw_close(w, ']');
    jsonw_close(w, '}');
    return STATUS_OK;
}

static enum status write_tools(struct jsonw *w, struct arena *a, const struct json *body,
                               const char **param, struct error *err)
{
    const struct json *tools = jsonr_get(body, "tools"), *choice = jsonr_get(body, "tool_choice");
    const char *stores[RESPONSES_STORES_MAX];
    size_t n_stores = 0;
    enum status s = STATUS_OK;
    *param = "tools";
    if (tools != NULL && jsonr_kind(tools) != JSON_KIND_ARRAY) {
        return wrong(param, "tools", err, "tools must be an array");
    }
    jsonw_key(w, "tools");
    jsonw_open(w, '[');
    for (size_t i = 0; i < jsonr_len(tools) && s == STATUS_OK; i++) {
        const struct json *tool = jsonr_at(tools, i);
        if (jsonr_is(tool, "type", "function")) {
            translate_function(w, a, tool, "parameters");
        } else if (jsonr_is(tool, "type", "file_search")) {
            s = take_stores(a, tool, stores, &n_stores, err);
        } else {
            s = error_set(err, STATUS_UNSUPPORTED,
                          "tools[%zu]: only function and file_search are known here", i);
        }
    }
    jsonw_close(w, ']');
    if (s == STATUS_OK) {
        s = write_filter(w, a, body, stores, n_stores, param, err);
    }
    if (s == STATUS_OK && jsonr_is(choice, "type", "function")) {
        translate_choice(w, a, choice);
    } else if (s == STATUS_OK && jsonr_str(choice).ptr != NULL) {
        translate_copy(w, a, body, "tool_choice", "tool_choice");
    } /* file_search is always used */
    return s;
}

/* ---- the rest ---- */

static void write_form(struct jsonw *w, struct arena *a, const struct json *format)
{
    if (jsonr_is(format, "type", "json_schema") && jsonr_get(format, "schema") != NULL) {
        translate_schema(w, a, jsonr_get(format, "schema"));
    } else if (format != NULL) {
        const char *text = jsonr_text(format, a);
        jsonw_key(w, "response_format");
        jsonw_raw(w, str_from(text == NULL ? "null" : text));
    }
}

enum status responses_translate(struct chat *c, const struct json *body, struct buf *out,
                                const char **param, struct error *err)
{
    static const char *const same[] = {"model",
                                       "stream",
                                       "temperature",
                                       "top_p",
                                       "top_k",
                                       "seed",
                                       "min_p",
                                       "presence_penalty",
                                       "frequency_penalty",
                                       "repetition_penalty",
                                       "logit_bias",
                                       "stop",
                                       "parallel_tool_calls",
                                       "top_logprobs",
                                       "truncation"};
    struct arena *a = c->q->arena;
    const struct json *include = jsonr_get(body, "include");
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        translate_copy(&w, a, body, same[i], same[i]);
    }
    for (size_t i = 0; i < jsonr_len(include); i++) {
        struct str name = jsonr_str(jsonr_at(include, i));
        if (name.ptr != NULL && str_eq(name, STR("message.output_text.logprobs"))) {
            jsonw_field_bool(&w, "logprobs", true);
        }
    }
    translate_copy(&w, a, body, "max_output_tokens", "max_completion_tokens");
    write_form(&w, a, jsonr_get(jsonr_get(body, "text"), "format"));
    enum status s = write_tools(&w, a, body, param, err);
    s = s == STATUS_OK ? write_messages(c, &w, body, param, err) : s;
    jsonw_close(&w, '}');
    return s;
}
