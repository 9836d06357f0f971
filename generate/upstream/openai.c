#include "generate/upstream/openai.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/json_text.h"

static int append(const char *p, size_t len, void *data)
{
    struct buf *out = data;
    buf_append(out, p, len);
    return buf_status(out) == STATUS_OK ? 0 : -1;
}

/* json_object_set_new fails on NULL values, which is how every failure to allocate shows. */
static int set_options(json_t *body, const Ge__ChatRequest *ask)
{
    int bad = 0;
    if (ask->has_temperature) {
        bad |= json_object_set_new(body, "temperature", json_real((double)ask->temperature));
    }
    if (ask->has_top_p) {
        bad |= json_object_set_new(body, "top_p", json_real((double)ask->top_p));
    }
    if (ask->has_presence_penalty) {
        bad |=
            json_object_set_new(body, "presence_penalty", json_real((double)ask->presence_penalty));
    }
    if (ask->has_frequency_penalty) {
        bad |= json_object_set_new(body, "frequency_penalty",
                                   json_real((double)ask->frequency_penalty));
    }
    uint32_t most = ask->has_max_tokens ? ask->max_tokens : 0; /* 0: as many as it likes */
    if (ask->has_room_elsewhere && (most == 0 || ask->room_elsewhere < most)) {
        most = ask->room_elsewhere > 0 ? ask->room_elsewhere : 1;
    }
    if (most > 0) {
        bad |= json_object_set_new(body, "max_tokens", json_integer(most));
    }
    if (ask->has_seed) {
        bad |= json_object_set_new(body, "seed", json_integer(ask->seed));
    }
    if (ask->n_stop > 0) {
        json_t *stop = json_array();
        for (size_t i = 0; i < ask->n_stop; i++) {
            bad |= json_array_append_new(stop, json_string(ask->stop[i]));
        }
        bad |= json_object_set_new(body, "stop", stop);
    }
    return bad;
}

/* ---- functions ---- */

static int add_tools(json_t *body, const Ge__ChatRequest *ask)
{
    json_t *tools = json_array();
    int bad = 0;
    for (size_t i = 0; i < ask->n_tools; i++) {
        bad |= json_array_append_new(tools, json_loads(ask->tools[i]->declaration, 0, NULL));
    }
    bad |= json_object_set_new(body, "tools", tools);
    if (ask->tool_name != NULL) {
        bad |= json_object_set_new(
            body, "tool_choice",
            json_pack("{s:s,s:{s:s}}", "type", "function", "function", "name", ask->tool_name));
    } else if (ask->tool_choice != NULL) {
        bad |= json_object_set_new(body, "tool_choice", json_string(ask->tool_choice));
    }
    if (ask->has_one_call && ask->one_call) {
        bad |= json_object_set_new(body, "parallel_tool_calls", json_false());
    }
    return bad;
}

static json_t *message_of(const Ge__Message *m)
{
    if (strcmp(m->role, "tool") == 0) {
        return json_pack("{s:s,s:s,s:s}", "role", "tool", "tool_call_id",
                         m->call_id == NULL ? "" : m->call_id, "content", m->content);
    }
    json_t *calls = json_array();
    int bad = 0;
    for (size_t i = 0; i < m->n_calls; i++) {
        bad |= json_array_append_new(calls, json_pack("{s:s,s:s,s:{s:s,s:s}}", "id",
                                                      m->calls[i]->id, "type", "function",
                                                      "function", "name", m->calls[i]->name,
                                                      "arguments", m->calls[i]->arguments));
    }
    if (bad != 0) {
        json_decref(calls);
        return NULL;
    }
    return json_pack("{s:s,s:s,s:o}", "role", "assistant", "content", m->content, "tool_calls",
                     calls);
}

/* What has been called for the last question, and what came back: it belongs to the passages of
 * this call. Earlier answers stay here. */
static int add_results(json_t *body, const Ge__ChatRequest *ask)
{
    json_t *messages = json_object_get(body, "messages");
    size_t from = 0;
    int bad = 0;
    for (size_t i = 0; i < ask->n_messages; i++) {
        from = strcmp(ask->messages[i]->role, "user") == 0 ? i + 1 : from;
    }
    for (size_t i = from; i < ask->n_messages; i++) {
        const Ge__Message *m = ask->messages[i];
        if (m->n_calls > 0 || strcmp(m->role, "tool") == 0) {
            bad |= json_array_append_new(messages, message_of(m));
        }
    }
    return bad;
}

enum status openai_request(const Ge__ChatRequest *ask, const struct prompt *prompt,
                           const char *model, struct buf *out, struct error *err)
{
    struct str system = buf_view(&prompt->system), user = buf_view(&prompt->user);
    json_t *body = json_pack("{s:s, s:b, s:[{s:s, s:s%}, {s:s, s:s%}]}", "model", model, "stream",
                             1, "messages", "role", "system", "content", system.ptr, system.len,
                             "role", "user", "content", user.ptr, user.len);
    enum status s = STATUS_OK;
    bool tools = ask->n_tools > 0;
    if (body == NULL || set_options(body, ask) != 0 ||
        (tools && (add_tools(body, ask) != 0 || add_results(body, ask) != 0)) ||
        json_dump_callback(body, append, out, JSON_COMPACT) != 0) {
        s = buf_status(out) != STATUS_OK
                ? error_set(err, buf_status(out), "the upstream's request: %s",
                            status_text(buf_status(out)))
                : error_set(
                      err, STATUS_INVALID,
                      "the prompt cannot be written as JSON: not valid UTF-8, or out of memory");
    }
    json_decref(body);
    return s;
}

static uint32_t count(const json_t *usage, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(usage, key));
    return n > 0 && n < UINT32_MAX ? (uint32_t)n : 0;
}

void openai_calls_deinit(struct openai_calls *c)
{
    for (size_t i = 0; i < c->n; i++) {
        buf_deinit(&c->items[i].arguments);
    }
    free(c->items);
    *c = (struct openai_calls){0};
}

/* The call of that number; calls come in order. NULL: a number out of turn, or no memory. */
static struct openai_call *call_at(struct openai_calls *c, json_int_t index)
{
    if (index < 0 || index > (json_int_t)c->n || index >= OPENAI_CALLS_MAX) {
        return NULL;
    }
    if (c->items == NULL) {
        c->items = calloc(OPENAI_CALLS_MAX, sizeof *c->items);
    }
    if (c->items != NULL && index == (json_int_t)c->n) {
        buf_init(&c->items[c->n++].arguments, OPENAI_ARGUMENTS_MAX);
    }
    return c->items == NULL ? NULL : &c->items[index];
}

static void copy(char *to, size_t cap, const json_t *from)
{
    if (json_is_string(from) && to[0] == '\0' && json_string_length(from) < cap) {
        memcpy(to, json_string_value(from), json_string_length(from) + 1);
    }
}

static enum status add_calls(const json_t *delta, struct openai_calls *calls, struct error *err)
{
    size_t i;
    json_t *piece;
    json_array_foreach(json_object_get(delta, "tool_calls"), i, piece)
    {
        const json_t *f = json_object_get(piece, "function"), *at = json_object_get(piece, "index");
        const json_t *arguments = json_object_get(f, "arguments");
        struct openai_call *call =
            call_at(calls, at == NULL ? (json_int_t)i : json_integer_value(at));
        if (call == NULL) {
            return error_set(err, STATUS_PROTOCOL, "the upstream's tool calls are out of order");
        }
        copy(call->id, sizeof call->id, json_object_get(piece, "id"));
        copy(call->name, sizeof call->name, json_object_get(f, "name"));
        if (json_is_string(arguments)) {
            buf_append(&call->arguments, json_string_value(arguments),
                       json_string_length(arguments));
        }
        if (buf_status(&call->arguments) != STATUS_OK) {
            return error_set(err, buf_status(&call->arguments), "the upstream's tool call: %s",
                             status_text(buf_status(&call->arguments)));
        }
    }
    return STATUS_OK;
}

/* What is written down of a stranger: printable, in one line, bounded. */
static void note_version(char *out, const json_t *piece)
{
    const char *model = json_string_value(json_object_get(piece, "model"));
    const char *print = json_string_value(json_object_get(piece, "system_fingerprint"));
    if (out[0] != '\0' || model == NULL) {
        return;
    }
    (void)snprintf(out, OPENAI_VERSION_CAP, "%.80s%s%.40s", model, print == NULL ? "" : " ",
                   print == NULL ? "" : print);
    for (char *p = out; *p != '\0'; p++) {
        *p = *p < ' ' || *p > '~' ? '_' : *p;
    }
}

enum status openai_piece(struct str json, struct openai_piece *out, struct error *err)
{
    if (str_eq(json, STR("[DONE]"))) {
        out->done = true;
        return STATUS_OK;
    }
    json_t *piece =
        json_text_too_deep(json, OPENAI_DEPTH_MAX) ? NULL : json_loadb(json.ptr, json.len, 0, NULL);
    enum status s = STATUS_OK;
    const json_t *choices = json_object_get(piece, "choices");
    const json_t *usage = json_object_get(piece, "usage");
    if (!json_is_object(piece)) {
        s = error_set(err, STATUS_PROTOCOL, "the upstream sent an event that is not a JSON object");
    } else if (json_object_get(piece, "error") != NULL &&
               !json_is_null(json_object_get(piece, "error"))) {
        /* its message may repeat the prompt, so it is not passed on */
        s = error_set(err, STATUS_UNAVAILABLE, "the upstream reported an error while answering");
    } else if (choices != NULL && !json_is_array(choices)) {
        s = error_set(err, STATUS_PROTOCOL, "the upstream's \"choices\" are not a list");
    }
    if (s == STATUS_OK && json_array_size(choices) > 0) {
        const json_t *choice = json_array_get(choices, 0);
        const json_t *content = json_object_get(json_object_get(choice, "delta"), "content");
        const char *reason = json_string_value(json_object_get(choice, "finish_reason"));
        if (json_is_string(content)) {
            buf_append(out->text, json_string_value(content), json_string_length(content));
        }
        if (reason != NULL) {
            out->finish_reason = strcmp(reason, "length") == 0       ? "length"
                                 : strcmp(reason, "tool_calls") == 0 ? "tool_calls"
                                                                     : "stop";
        }
        if (out->calls != NULL) {
            s = add_calls(json_object_get(choice, "delta"), out->calls, err);
        }
    }
    if (s == STATUS_OK && out->version != NULL) {
        note_version(out->version, piece);
    }
    if (s == STATUS_OK && json_is_object(usage)) {
        out->prompt_tokens = count(usage, "prompt_tokens");
        out->completion_tokens = count(usage, "completion_tokens");
    }
    json_decref(piece);
    return s;
}
