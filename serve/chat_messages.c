/* Anthropic's messages: POST /v1/messages, the answer whole or as events. Format: Anthropic API
 * reference, "Create a Message" and "Streaming messages". */
#include <string.h>

#include "serve/api.h"
#include "serve/chat.h"
#include "serve/chat_translate.h"
#include "serve/http/sse.h"
#include "serve/passage.h"
#include "serve/request.h"

#define BLOCKS_MAX 1024

struct messages {
    size_t blocks; /* begun */
    bool text;     /* a block of text is open */
};

/* ---- the request ---- */

static enum status wrong_block(size_t i, size_t k, struct error *err)
{
    return error_set(
        err, STATUS_UNSUPPORTED,
        "messages[%zu].content[%zu]: only text, tool_use and tool_result are read here", i, k);
}

static bool is_list(const struct json *v)
{
    return jsonr_kind(v) == JSON_KIND_ARRAY;
}

/* What a tool returned is a message of its own, before what else the user says. */
static void write_results(struct jsonw *w, struct arena *a, const struct json *content)
{
    for (size_t k = 0; k < jsonr_len(content); k++) {
        const struct json *block = jsonr_at(content, k);
        if (jsonr_is(block, "type", "tool_result")) {
            jsonw_open(w, '{');
            jsonw_field_z(w, "role", "tool");
            translate_copy(w, a, block, "tool_use_id", "tool_call_id");
            translate_copy(w, a, block, "content", "content");
            jsonw_close(w, '}');
        }
    }
}

static void write_uses(struct jsonw *w, struct arena *a, const struct json *content)
{
    bool any = false;
    for (size_t k = 0; k < jsonr_len(content); k++) {
        const struct json *block = jsonr_at(content, k);
        if (!jsonr_is(block, "type", "tool_use")) {
            continue;
        }
        if (!any) {
            jsonw_key(w, "tool_calls");
            jsonw_open(w, '[');
            any = true;
        }
        jsonw_open(w, '{');
        translate_copy(w, a, block, "id", "id");
        jsonw_field_z(w, "type", "function");
        jsonw_key(w, "function");
        jsonw_open(w, '{');
        translate_copy(w, a, block, "name", "name");
        translate_copy(w, a, block, "input", "arguments");
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    if (any) {
        jsonw_close(w, ']');
    }
}

/* The texts among the blocks, as parts. */
static enum status write_texts(struct jsonw *w, struct arena *a, const struct json *content,
                               size_t i, struct error *err)
{
    jsonw_key(w, "content");
    jsonw_open(w, '[');
    for (size_t k = 0; k < jsonr_len(content); k++) {
        const struct json *block = jsonr_at(content, k);
        if (jsonr_is(block, "type", "text")) {
            jsonw_open(w, '{');
            jsonw_field_z(w, "type", "text");
            translate_copy(w, a, block, "text", "text");
            jsonw_close(w, '}');
        } else if (!jsonr_is(block, "type", "tool_use") &&
                   !jsonr_is(block, "type", "tool_result") &&
                   !jsonr_is(block, "type", "thinking") &&
                   !jsonr_is(block, "type", "redacted_thinking")) {
            return wrong_block(i, k, err);
        }
    }
    jsonw_close(w, ']');
    return STATUS_OK;
}

static bool has_text(const struct json *content)
{
    for (size_t k = 0; k < jsonr_len(content); k++) {
        if (jsonr_is(jsonr_at(content, k), "type", "text")) {
            return true;
        }
    }
    return false;
}

static enum status write_message(struct jsonw *w, struct arena *a, const struct json *m, size_t i,
                                 struct error *err)
{
    const struct json *content = jsonr_get(m, "content");
    enum status s = STATUS_OK;
    if (jsonr_len(content) > BLOCKS_MAX) {
        return error_set(err, STATUS_INVALID, "messages[%zu].content: at most %d blocks", i,
                         BLOCKS_MAX);
    }
    write_results(w, a, content);
    if (is_list(content) && !has_text(content) && jsonr_is(m, "role", "user")) {
        struct buf none; /* what it holds is checked all the same */
        struct jsonw nowhere;
        buf_init(&none, (size_t)1024 * 1024);
        jsonw_init(&nowhere, &none);
        s = write_texts(&nowhere, a, content, i, err);
        buf_deinit(&none);
        return s;
    }
    jsonw_open(w, '{');
    translate_copy(w, a, m, "role", "role");
    if (is_list(content)) {
        s = write_texts(w, a, content, i, err);
        write_uses(w, a, content);
    } else {
        translate_copy(w, a, m, "content", "content");
    }
    jsonw_close(w, '}');
    return s;
}

static enum status write_conversation(struct jsonw *w, struct arena *a, const struct json *body,
                                      const char **param, struct error *err)
{
    const struct json *list = jsonr_get(body, "messages");
    enum status s = STATUS_OK;
    *param = "messages";
    jsonw_key(w, "messages");
    jsonw_open(w, '[');
    if (jsonr_get(body, "system") != NULL) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "role", "system");
        translate_copy(w, a, body, "system", "content");
        jsonw_close(w, '}');
    }
    if (!is_list(list) || jsonr_len(list) == 0) {
        return error_set(err, STATUS_INVALID, "messages must be an array of messages");
    }
    for (size_t i = 0; i < jsonr_len(list) && s == STATUS_OK; i++) {
        s = write_message(w, a, jsonr_at(list, i), i, err);
    }
    jsonw_close(w, ']');
    return s;
}

static enum status write_tools(struct jsonw *w, struct arena *a, const struct json *body,
                               const char **param, struct error *err)
{
    const struct json *tools = jsonr_get(body, "tools"), *choice = jsonr_get(body, "tool_choice");
    *param = "tools";
    if (tools != NULL && !is_list(tools)) {
        return error_set(err, STATUS_INVALID, "tools must be an array");
    }
    jsonw_key(w, "tools");
    jsonw_open(w, '[');
    for (size_t i = 0; i < jsonr_len(tools); i++) {
        const struct json *tool = jsonr_at(tools, i);
        if (jsonr_get(tool, "type") != NULL && !jsonr_is(tool, "type", "custom")) {
            return error_set(err, STATUS_UNSUPPORTED,
                             "tools[%zu]: only tools of the caller's own are known here", i);
        }
        translate_function(w, a, tool, "input_schema");
    }
    jsonw_close(w, ']');
    if (jsonr_is(choice, "type", "any")) {
        jsonw_field_z(w, "tool_choice", "required");
    } else if (jsonr_is(choice, "type", "none")) {
        jsonw_field_z(w, "tool_choice", "none");
    } else if (jsonr_is(choice, "type", "tool")) {
        translate_choice(w, a, choice);
    } else if (choice != NULL && !jsonr_is(choice, "type", "auto")) {
        *param = "tool_choice";
        return error_set(err, STATUS_INVALID, "tool_choice.type must be auto, any, tool or none");
    }
    bool one = false;
    *param = "tool_choice";
    enum status s = jsonr_bool(choice, "disable_parallel_tool_use", false, &one, err);
    if (s == STATUS_OK && one) {
        jsonw_field_bool(w, "parallel_tool_calls", false);
    }
    return s;
}

static enum status translate(struct chat *c, const struct json *body, struct buf *out,
                             const char **param, struct error *err)
{
    static const char *const same[] = {"model", "stream", "temperature",
                                       "top_p", "top_k",  "carrel"};
    struct arena *a = c->q->arena;
    struct jsonw w;
    *param = "max_tokens";
    if (jsonr_get(body, "max_tokens") == NULL) {
        return error_set(err, STATUS_INVALID, "max_tokens is missing");
    }
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        translate_copy(&w, a, body, same[i], same[i]);
    }
    translate_copy(&w, a, body, "max_tokens", "max_completion_tokens");
    translate_copy(&w, a, body, "stop_sequences", "stop");
    enum status s = write_tools(&w, a, body, param, err);
    s = s == STATUS_OK ? write_conversation(&w, a, body, param, err) : s;
    jsonw_close(&w, '}');
    return s;
}

/* ---- the answer ---- */

static void message_id(struct jsonw *w, const struct chat *c)
{
    jsonw_key(w, "id");
    buf_printf(w->out, "\"msg_%s\"", c->id);
    w->comma = true;
}

static const char *stop_reason(const struct chat *c)
{
    const char *finish = chat_finish(c);
    return strcmp(finish, "tool_calls") == 0 ? "tool_use"
           : strcmp(finish, "length") == 0   ? "max_tokens"
           : c->stop != NULL                 ? "stop_sequence"
                                             : "end_turn";
}

/* Documents are numbered as the passages are. */
static void citation(struct jsonw *w, const struct chat *c, size_t i)
{
    const Vs__Passage *p = c->found->passages[c->cited[i].number - 1]->passage;
    bool pages = p->has_page && p->page > 0;
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", pages ? "page_location" : "char_location");
    jsonw_field_str(w, "cited_text", str_of_bytes(p->text));
    jsonw_field_int(w, "document_index", (int64_t)c->cited[i].number - 1);
    jsonw_key(w, "document_title");
    jsonw_path(w, p->title != NULL && p->title[0] != '\0' ? str_from(p->title)
                                                          : str_of_bytes(p->path));
    jsonw_field_z(w, "file_id", p->document);
    jsonw_field_int(w, pages ? "start_page_number" : "start_char_index",
                    pages ? p->page : p->start);
    jsonw_field_int(w, pages ? "end_page_number" : "end_char_index",
                    pages ? (int64_t)(p->has_page_end ? p->page_end : p->page) + 1 : p->end);
    hex_field(w, "hash", p->hash);
    jsonw_close(w, '}');
}

static bool citable(const struct chat *c, size_t i)
{
    return c->cited[i].number >= 1 && c->cited[i].number <= c->found->n_passages;
}

static void text_block(struct jsonw *w, const struct chat *c)
{
    bool any = false;
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", "text");
    jsonw_field_str(w, "text", buf_view(&c->text));
    for (size_t i = 0; i < c->n_cited; i++) {
        if (citable(c, i)) {
            if (!any) {
                jsonw_key(w, "citations"); /* left out where there are none: some take no null */
                jsonw_open(w, '[');
                any = true;
            }
            citation(w, c, i);
        }
    }
    if (any) {
        jsonw_close(w, ']');
    }
    jsonw_close(w, '}');
}

static void use_block(struct jsonw *w, const struct chat *c, size_t i, const char *input)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", "tool_use");
    jsonw_field_z(w, "id", c->calls[i].id);
    jsonw_field_z(w, "name", c->calls[i].name);
    jsonw_key(w, "input");
    jsonw_raw(w, str_from(input));
    jsonw_close(w, '}');
}

/* Arguments are a model's: where they are no object they are told as one. */
static const char *input_of(struct chat *c, size_t i)
{
    struct json *doc = NULL;
    struct error err;
    bool object = jsonr_read(str_from(c->calls[i].arguments), &doc, &err) == STATUS_OK &&
                  jsonr_kind(doc) == JSON_KIND_OBJECT;
    const char *text = object ? jsonr_text(doc, &c->http->arena) : NULL;
    jsonr_free(doc);
    return text == NULL ? "{}" : text;
}

static void usage(struct jsonw *w, const struct chat *c, bool all)
{
    jsonw_key(w, "usage");
    jsonw_open(w, '{');
    if (all) {
        jsonw_field_int(w, "input_tokens", c->prompt_tokens);
    }
    jsonw_field_int(w, "output_tokens", c->completion_tokens);
    jsonw_close(w, '}');
}

static void message(struct jsonw *w, struct chat *c, bool whole)
{
    jsonw_open(w, '{');
    message_id(w, c);
    jsonw_field_z(w, "type", "message");
    jsonw_field_z(w, "role", "assistant");
    jsonw_field_z(w, "model", c->ask.model);
    jsonw_key(w, "content");
    jsonw_open(w, '[');
    if (whole && (c->text.len > 0 || c->n_calls == 0)) {
        text_block(w, c);
    }
    for (size_t i = 0; whole && i < c->n_calls; i++) {
        use_block(w, c, i, input_of(c, i));
    }
    jsonw_close(w, ']');
    jsonw_field_z(w, "stop_reason", whole ? stop_reason(c) : NULL);
    jsonw_field_z(w, "stop_sequence", whole ? c->stop : NULL);
    usage(w, c, true);
    if (whole) {
        chat_citations(w, c, false);
    }
    chat_carrel(w, c, whole);
    jsonw_close(w, '}');
}

static void whole(struct chat *c)
{
    struct jsonw w;
    jsonw_init(&w, &c->q->out);
    message(&w, c, true);
    api_json(c->q, 200, &c->q->out);
}

/* ---- the stream ---- */

static void event_open(struct buf *b, struct jsonw *w, const char *type)
{
    buf_init(b, CHAT_ANSWER_MAX);
    jsonw_init(w, b);
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", type);
}

static void event_send(struct chat *c, struct buf *b, struct jsonw *w, const char *type)
{
    struct buf event;
    jsonw_close(w, '}');
    sse_event(&event, type, b);
    chat_send(c, &event);
}

static void begin(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    chat_stream_begin(c);
    sse_begin(c->http);
    event_open(&b, &w, "message_start");
    jsonw_key(&w, "message");
    message(&w, c, false);
    event_send(c, &b, &w, "message_start");
}

static void block_begin(struct chat *c, size_t call)
{
    struct messages *m = c->more;
    struct buf b;
    struct jsonw w;
    event_open(&b, &w, "content_block_start");
    jsonw_field_int(&w, "index", (int64_t)m->blocks++);
    jsonw_key(&w, "content_block");
    if (call == SIZE_MAX) {
        jsonw_raw(&w, STR("{\"type\":\"text\",\"text\":\"\"}"));
    } else {
        use_block(&w, c, call, "{}");
    }
    event_send(c, &b, &w, "content_block_start");
}

static void block_end(struct chat *c)
{
    struct messages *m = c->more;
    struct buf b;
    struct jsonw w;
    event_open(&b, &w, "content_block_stop");
    jsonw_field_int(&w, "index", (int64_t)m->blocks - 1);
    event_send(c, &b, &w, "content_block_stop");
    m->text = false;
}

static void delta(struct chat *c, const char *type, const char *key, struct str text)
{
    const struct messages *m = c->more;
    struct buf b;
    struct jsonw w;
    event_open(&b, &w, "content_block_delta");
    jsonw_field_int(&w, "index", (int64_t)m->blocks - 1);
    jsonw_key(&w, "delta");
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "type", type);
    jsonw_field_str(&w, key, text);
    jsonw_close(&w, '}');
    event_send(c, &b, &w, "content_block_delta");
}

static void stream_text(struct chat *c, const char *text)
{
    struct messages *m = c->more;
    if (!m->text) {
        block_begin(c, SIZE_MAX);
        m->text = true;
    }
    delta(c, "text_delta", "text", str_from(text));
}

/* What the text cites is known at its end. */
static void end_text(struct chat *c)
{
    const struct messages *m = c->more;
    struct buf b;
    struct jsonw w;
    for (size_t i = 0; i < c->n_cited; i++) {
        if (citable(c, i)) {
            event_open(&b, &w, "content_block_delta");
            jsonw_field_int(&w, "index", (int64_t)m->blocks - 1);
            jsonw_key(&w, "delta");
            jsonw_open(&w, '{');
            jsonw_field_z(&w, "type", "citations_delta");
            jsonw_key(&w, "citation");
            citation(&w, c, i);
            jsonw_close(&w, '}');
            event_send(c, &b, &w, "content_block_delta");
        }
    }
    block_end(c);
}

static void stream_call(struct chat *c)
{
    struct messages *m = c->more;
    size_t i = c->n_calls - 1;
    struct str rest = str_from(c->calls[i].arguments), piece;
    if (m->text) {
        block_end(c);
    }
    block_begin(c, i);
    while (chat_call_piece(&rest, &piece)) {
        delta(c, "input_json_delta", "partial_json", piece);
    }
    block_end(c);
}

static void end(struct chat *c)
{
    const struct messages *m = c->more;
    struct buf b;
    struct jsonw w;
    if (m->text) {
        end_text(c);
    }
    event_open(&b, &w, "message_delta");
    jsonw_key(&w, "delta");
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "stop_reason", stop_reason(c));
    jsonw_field_z(&w, "stop_sequence", c->stop);
    jsonw_close(&w, '}');
    usage(&w, c, false);
    chat_citations(&w, c, false);
    chat_carrel(&w, c, true);
    event_send(c, &b, &w, "message_delta");
    event_open(&b, &w, "message_stop");
    event_send(c, &b, &w, "message_stop");
    http_stream_end(c->http);
}

static void fail(struct chat *c)
{
    struct buf b;
    struct buf event;
    buf_init(&b, 16384);
    http_error_body(&b, ERRORS_ANTHROPIC, NULL, "server_error", NULL, NULL, c->failure->text);
    sse_event(&event, "error", &b);
    chat_send(c, &event);
    http_stream_end(c->http);
}

static const struct chat_dialect dialect = {.translate = translate,
                                            .begin = begin,
                                            .text = stream_text,
                                            .call = stream_call,
                                            .end = end,
                                            .fail = fail,
                                            .whole = whole};

bool api_messages_check(struct request *q, const struct json *body)
{
    struct messages none = {0};
    return chat_check(q, body, &dialect, &none);
}

static void on_json(struct request *q, const struct json *body)
{
    struct messages *m = arena_alloc(q->arena, sizeof *m);
    if (m == NULL) {
        api_out_of_memory(q);
        return;
    }
    *m = (struct messages){0};
    chat_ask(q, body, &dialect, m);
}

void api_messages(struct request *q)
{
    if (!api_job_instead(q)) {
        api_read_json(q, on_json);
    }
}
