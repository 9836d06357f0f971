/* OpenAI's responses: the answer as an object, or as the events in which it comes about. Format:
 * OpenAI API reference, "The response object" and "Streaming events". */
#include <string.h>

#include "serve/chat_responses.h"
#include "serve/conversations.h"
#include "serve/http/jsonw.h"
#include "serve/http/sse.h"
#include "serve/passage.h"
#include "serve/request.h"

static bool searched(const struct chat *c)
{
    return !c->ask.plain;
}

/* ---- items ---- */

static void item_id(struct jsonw *w, const char *key, const char *prefix, const struct chat *c)
{
    jsonw_key(w, key);
    buf_printf(w->out, "\"%s_%s\"", prefix, c->id);
    w->comma = true;
}

static void call_id(struct jsonw *w, const char *key, const struct chat *c, size_t i)
{
    jsonw_key(w, key);
    buf_printf(w->out, "\"fc_%s_%zu\"", c->id, i);
    w->comma = true;
}

static struct str file_name(const Vs__Passage *p)
{
    struct str path = str_of_bytes(p->path);
    for (size_t i = path.len; i > 0; i--) {
        if (path.ptr[i - 1] == '/') {
            return (struct str){path.ptr + i, path.len - i};
        }
    }
    return path;
}

/* Page, passage and hash travel with OpenAI's fields. */
static void citation(struct jsonw *w, const struct chat *c, size_t i)
{
    const Vs__Passage *p = c->found->passages[c->cited[i].number - 1]->passage;
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", "file_citation");
    jsonw_field_int(w, "index", c->cited[i].mark);
    jsonw_field_z(w, "file_id", p->document);
    jsonw_key(w, "filename");
    jsonw_path(w, file_name(p));
    jsonw_field_int(w, "number", c->cited[i].number);
    if (p->has_page && p->page > 0) {
        jsonw_field_int(w, "page", p->page);
    }
    hex_field(w, "passage", p->chunk);
    hex_field(w, "hash", p->hash);
    jsonw_close(w, '}');
}

static bool citable(const struct chat *c, size_t i)
{
    return c->cited[i].number >= 1 && c->cited[i].number <= c->found->n_passages;
}

static void text_part(struct jsonw *w, const struct chat *c, bool whole)
{
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", "output_text");
    jsonw_field_str(w, "text", whole ? buf_view(&c->text) : STR(""));
    jsonw_key(w, "annotations");
    jsonw_open(w, '[');
    for (size_t i = 0; whole && i < c->n_cited; i++) {
        if (citable(c, i)) {
            citation(w, c, i);
        }
    }
    jsonw_close(w, ']');
    jsonw_key(w, "logprobs");
    if (whole && c->logprobs_json != NULL) { /* {"content": [...]} */
        const char *list = strchr(c->logprobs_json, '[');
        size_t n = list == NULL ? 0 : strlen(list);
        jsonw_raw(w, n > 1 ? (struct str){list, n - 1} : STR("[]"));
    } else {
        jsonw_open(w, '[');
        jsonw_close(w, ']');
    }
    jsonw_close(w, '}');
}

static void message_item(struct jsonw *w, const struct chat *c, bool whole)
{
    jsonw_open(w, '{');
    item_id(w, "id", "msg", c);
    jsonw_field_z(w, "type", "message");
    jsonw_field_z(w, "status", whole ? "completed" : "in_progress");
    jsonw_field_z(w, "role", "assistant");
    jsonw_key(w, "content");
    jsonw_open(w, '[');
    if (whole) {
        text_part(w, c, true);
    }
    jsonw_close(w, ']');
    jsonw_close(w, '}');
}

static void call_item(struct jsonw *w, const struct chat *c, size_t i, bool whole)
{
    jsonw_open(w, '{');
    call_id(w, "id", c, i);
    jsonw_field_z(w, "type", "function_call");
    jsonw_field_z(w, "status", whole ? "completed" : "in_progress");
    jsonw_field_z(w, "call_id", c->calls[i].id);
    jsonw_field_z(w, "name", c->calls[i].name);
    jsonw_field_z(w, "arguments", whole ? c->calls[i].arguments : "");
    jsonw_close(w, '}');
}

static void results(struct jsonw *w, const struct chat *c)
{
    jsonw_open(w, '[');
    for (size_t i = 0; i < c->found->n_passages; i++) {
        const Vs__Passage *p = c->found->passages[i]->passage;
        jsonw_open(w, '{');
        jsonw_field_z(w, "file_id", p->document);
        jsonw_key(w, "filename");
        jsonw_path(w, file_name(p));
        jsonw_field_double(w, "score", (double)c->found->passages[i]->score);
        jsonw_field_str(w, "text", str_of_bytes(p->text));
        jsonw_key(w, "attributes");
        jsonw_open(w, '{');
        jsonw_field_z(w, "collection", p->collection);
        if (p->has_page && p->page > 0) {
            jsonw_field_int(w, "page", p->page);
        }
        hex_field(w, "passage", p->chunk);
        hex_field(w, "hash", p->hash);
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void search_item(struct jsonw *w, const struct chat *c, const char *status)
{
    const struct responses *r = c->more;
    jsonw_open(w, '{');
    item_id(w, "id", "fs", c);
    jsonw_field_z(w, "type", "file_search_call");
    jsonw_field_z(w, "status", status);
    jsonw_key(w, "queries");
    jsonw_open(w, '[');
    jsonw_str(w, c->ask.question);
    if (chat_rewritten(c)[0] != '\0') {
        jsonw_str(w, str_from(chat_rewritten(c)));
    }
    jsonw_close(w, ']');
    jsonw_key(w, "results");
    if (r->with_results && strcmp(status, "completed") == 0) {
        results(w, c);
    } else {
        jsonw_null(w);
    }
    jsonw_close(w, '}');
}

static bool has_message(const struct chat *c)
{
    return c->text.len > 0 || c->n_calls == 0;
}

/* ---- the response ---- */

/* As it was asked for, or as it is when nothing was said. */
static void said(struct jsonw *w, const struct chat *c, const char *key, const char *unsaid)
{
    const struct responses *r = c->more;
    const struct json *v = jsonr_get(r->body, key);
    const char *text = v == NULL ? unsaid : jsonr_text(v, &c->http->arena);
    jsonw_key(w, key);
    jsonw_raw(w, str_from(text == NULL ? "null" : text));
}

static void usage(struct jsonw *w, const struct chat *c)
{
    jsonw_key(w, "usage");
    jsonw_open(w, '{');
    jsonw_field_int(w, "input_tokens", c->prompt_tokens);
    jsonw_key(w, "input_tokens_details");
    jsonw_raw(w, STR("{\"cached_tokens\":0}"));
    jsonw_field_int(w, "output_tokens", c->completion_tokens);
    jsonw_key(w, "output_tokens_details");
    jsonw_raw(w, STR("{\"reasoning_tokens\":0}"));
    jsonw_field_int(w, "total_tokens", c->prompt_tokens + c->completion_tokens);
    jsonw_close(w, '}');
}

static void output(struct jsonw *w, const struct chat *c, bool whole)
{
    jsonw_key(w, "output");
    jsonw_open(w, '[');
    if (whole && searched(c)) {
        search_item(w, c, "completed");
    }
    if (whole && has_message(c)) {
        message_item(w, c, true);
    }
    for (size_t i = 0; whole && i < c->n_calls; i++) {
        call_item(w, c, i, true);
    }
    jsonw_close(w, ']');
}

static void failure(struct jsonw *w, const struct chat *c, bool failed)
{
    jsonw_key(w, "error");
    if (!failed) {
        jsonw_null(w);
        return;
    }
    jsonw_open(w, '{');
    jsonw_field_z(w, "code", "server_error");
    jsonw_field_z(w, "message", c->failure->text);
    jsonw_close(w, '}');
}

static const char *final_status(const struct chat *c)
{
    return strcmp(chat_finish(c), "length") == 0 ? "incomplete" : "completed";
}

static void response(struct jsonw *w, const struct chat *c, const char *status)
{
    const struct responses *r = c->more;
    bool whole = strcmp(status, "completed") == 0 || strcmp(status, "incomplete") == 0;
    jsonw_open(w, '{');
    item_id(w, "id", "resp", c);
    jsonw_field_z(w, "object", "response");
    jsonw_field_int(w, "created_at", c->created_wall_ms / 1000);
    jsonw_field_z(w, "status", status);
    jsonw_field_bool(w, "background", c->q != NULL && c->q->job != NULL);
    failure(w, c, strcmp(status, "failed") == 0);
    jsonw_key(w, "incomplete_details");
    jsonw_raw(w, strcmp(status, "incomplete") == 0 ? STR("{\"reason\":\"max_output_tokens\"}")
                                                   : STR("null"));
    said(w, c, "instructions", "null");
    said(w, c, "max_output_tokens", "null");
    jsonw_field_z(w, "model", c->ask.model);
    output(w, c, whole);
    said(w, c, "parallel_tool_calls", "true");
    said(w, c, "previous_response_id", "null");
    jsonw_key(w, "conversation");
    if (chat_conversation_id(c) != NULL) {
        jsonw_raw(w, STR("{\"id\":\"" CONVERSATION_PREFIX));
        buf_printf(w->out, "%s\"}", chat_conversation_id(c));
    } else {
        jsonw_null(w);
    }
    said(w, c, "reasoning", "{\"effort\":null,\"summary\":null}");
    jsonw_field_bool(w, "store", r->store);
    said(w, c, "temperature", "null");
    said(w, c, "text", "{\"format\":{\"type\":\"text\"}}");
    said(w, c, "tool_choice", "\"auto\"");
    said(w, c, "tools", "[]");
    said(w, c, "top_p", "null");
    said(w, c, "truncation", "\"disabled\"");
    said(w, c, "user", "null");
    said(w, c, "metadata", "{}");
    if (whole) {
        usage(w, c);
        chat_citations(w, c, false);
    } else {
        jsonw_field_z(w, "usage", NULL);
    }
    if (c->q != NULL) {
        chat_carrel(w, c, whole);
    }
    jsonw_close(w, '}');
}

void responses_write(struct buf *out, const struct chat *c)
{
    struct jsonw w;
    jsonw_init(&w, out);
    response(&w, c, final_status(c));
}

/* ---- the stream ---- */

static void event_open(struct chat *c, struct buf *b, struct jsonw *w, const char *type)
{
    struct responses *r = c->more;
    buf_init(b, CHAT_ANSWER_MAX);
    jsonw_init(w, b);
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", type);
    jsonw_field_int(w, "sequence_number", (int64_t)r->sequence++);
}

static void event_send(struct chat *c, struct buf *b, struct jsonw *w, const char *type)
{
    struct buf event;
    jsonw_close(w, '}');
    sse_event(&event, type, b);
    chat_send(c, &event);
}

static void response_event(struct chat *c, const char *type, const char *status)
{
    struct buf b;
    struct jsonw w;
    event_open(c, &b, &w, type);
    jsonw_key(&w, "response");
    response(&w, c, status);
    event_send(c, &b, &w, type);
}

static void search_events(struct chat *c)
{
    static const char *const states[] = {"response.file_search_call.in_progress",
                                         "response.file_search_call.searching",
                                         "response.file_search_call.completed"};
    struct responses *r = c->more;
    struct buf b;
    struct jsonw w;
    size_t index = r->outputs++;
    for (size_t i = 0; i < 2; i++) {
        const char *type = i == 0 ? "response.output_item.added" : "response.output_item.done";
        event_open(c, &b, &w, type);
        jsonw_field_int(&w, "output_index", (int64_t)index);
        jsonw_key(&w, "item");
        search_item(&w, c, i == 0 ? "in_progress" : "completed");
        event_send(c, &b, &w, type);
        for (size_t k = 0; i == 0 && k < sizeof states / sizeof states[0]; k++) {
            event_open(c, &b, &w, states[k]);
            jsonw_field_int(&w, "output_index", (int64_t)index);
            item_id(&w, "item_id", "fs", c);
            event_send(c, &b, &w, states[k]);
        }
    }
}

static void begin(struct chat *c)
{
    chat_stream_begin(c);
    sse_begin(c->http);
    response_event(c, "response.created", "in_progress");
    response_event(c, "response.in_progress", "in_progress");
    if (searched(c)) {
        search_events(c);
    }
}

/* The fields that every event of the message's text has. */
static void text_event(struct chat *c, struct buf *b, struct jsonw *w, const char *type)
{
    const struct responses *r = c->more;
    event_open(c, b, w, type);
    item_id(w, "item_id", "msg", c);
    jsonw_field_int(w, "output_index", (int64_t)r->message);
    jsonw_field_int(w, "content_index", 0);
}

static void message_event(struct chat *c, const char *type, bool whole)
{
    const struct responses *r = c->more;
    struct buf b;
    struct jsonw w;
    event_open(c, &b, &w, type);
    jsonw_field_int(&w, "output_index", (int64_t)r->message);
    jsonw_key(&w, "item");
    message_item(&w, c, whole);
    event_send(c, &b, &w, type);
}

static void part_event(struct chat *c, const char *type, bool whole)
{
    struct buf b;
    struct jsonw w;
    text_event(c, &b, &w, type);
    jsonw_key(&w, "part");
    text_part(&w, c, whole);
    event_send(c, &b, &w, type);
}

static void begin_message(struct chat *c)
{
    struct responses *r = c->more;
    if (r->message == SIZE_MAX) {
        r->message = r->outputs++;
        message_event(c, "response.output_item.added", false);
        part_event(c, "response.content_part.added", false);
    }
}

static void stream_text(struct chat *c, const char *text)
{
    struct buf b;
    struct jsonw w;
    begin_message(c);
    text_event(c, &b, &w, "response.output_text.delta");
    jsonw_field_z(&w, "delta", text);
    jsonw_key(&w, "logprobs");
    jsonw_raw(&w, STR("[]"));
    event_send(c, &b, &w, "response.output_text.delta");
}

static void call_event(struct chat *c, size_t i, size_t index, const char *type, bool whole)
{
    struct buf b;
    struct jsonw w;
    event_open(c, &b, &w, type);
    jsonw_field_int(&w, "output_index", (int64_t)index);
    jsonw_key(&w, "item");
    call_item(&w, c, i, whole);
    event_send(c, &b, &w, type);
}

static void arguments_event(struct chat *c, size_t i, size_t index, const char *type,
                            const char *key, struct str text)
{
    struct buf b;
    struct jsonw w;
    event_open(c, &b, &w, type);
    call_id(&w, "item_id", c, i);
    jsonw_field_int(&w, "output_index", (int64_t)index);
    jsonw_field_str(&w, key, text);
    event_send(c, &b, &w, type);
}

static void stream_call(struct chat *c)
{
    struct responses *r = c->more;
    size_t i = c->n_calls - 1, index = r->outputs++;
    struct str rest = str_from(c->calls[i].arguments), piece;
    call_event(c, i, index, "response.output_item.added", false);
    while (chat_call_piece(&rest, &piece)) {
        arguments_event(c, i, index, "response.function_call_arguments.delta", "delta", piece);
    }
    arguments_event(c, i, index, "response.function_call_arguments.done", "arguments",
                    str_from(c->calls[i].arguments));
    call_event(c, i, index, "response.output_item.done", true);
}

static void end_message(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    int64_t n = 0;
    begin_message(c);
    for (size_t i = 0; i < c->n_cited; i++) {
        if (citable(c, i)) {
            text_event(c, &b, &w, "response.output_text.annotation.added");
            jsonw_field_int(&w, "annotation_index", n++);
            jsonw_key(&w, "annotation");
            citation(&w, c, i);
            event_send(c, &b, &w, "response.output_text.annotation.added");
        }
    }
    text_event(c, &b, &w, "response.output_text.done");
    jsonw_field_str(&w, "text", buf_view(&c->text));
    jsonw_key(&w, "logprobs");
    jsonw_raw(&w, STR("[]"));
    event_send(c, &b, &w, "response.output_text.done");
    part_event(c, "response.content_part.done", true);
    message_event(c, "response.output_item.done", true);
}

static void end(struct chat *c)
{
    const char *status = final_status(c);
    if (has_message(c)) {
        end_message(c);
    }
    response_event(
        c, strcmp(status, "completed") == 0 ? "response.completed" : "response.incomplete", status);
    http_stream_end(c->http);
}

/* Clients that pass over response.failed stop at the error. */
static void fail(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    response_event(c, "response.failed", "failed");
    event_open(c, &b, &w, "error");
    jsonw_field_z(&w, "code", status_name(c->failure->code));
    jsonw_field_z(&w, "message", c->failure->text);
    jsonw_field_z(&w, "param", NULL);
    event_send(c, &b, &w, "error");
    http_stream_end(c->http);
}

static void whole(struct chat *c)
{
    responses_write(&c->q->out, c);
    api_json(c->q, 200, &c->q->out);
}

const struct chat_dialect responses_dialect = {.translate = responses_translate,
                                               .keep = responses_keep,
                                               .begin = begin,
                                               .text = stream_text,
                                               .call = stream_call,
                                               .end = end,
                                               .fail = fail,
                                               .whole = whole};
