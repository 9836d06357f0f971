/* Ollama's chat and generate: POST /api/chat, POST /api/generate, as lines of JSON or whole.
 * Format: Ollama's docs/api.md. Times are in nanoseconds. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "serve/api.h"
#include "serve/chat.h"
#include "serve/chat_translate.h"
#include "serve/request.h"

#define NS_A_MS INT64_C(1000000)

struct ollama {
    bool generate; /* /api/generate: "response" instead of "message" */
};

/* ---- the request ---- */

/* Calls have no ids there: they are numbered, and results are matched in their order. */
static void write_calls(struct jsonw *w, struct arena *a, const struct json *calls, size_t *made)
{
    jsonw_key(w, "tool_calls");
    jsonw_open(w, '[');
    for (size_t k = 0; k < jsonr_len(calls); k++) {
        const struct json *f = jsonr_get(jsonr_at(calls, k), "function");
        jsonw_open(w, '{');
        jsonw_key(w, "id");
        buf_printf(w->out, "\"call_%zu\"", (*made)++);
        w->comma = true;
        jsonw_field_z(w, "type", "function");
        jsonw_key(w, "function");
        jsonw_open(w, '{');
        translate_copy(w, a, f, "name", "name");
        translate_copy(w, a, f, "arguments", "arguments");
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static enum status write_messages(struct jsonw *w, struct arena *a, const struct json *list,
                                  struct error *err)
{
    size_t made = 0, answered = 0;
    if (jsonr_kind(list) != JSON_KIND_ARRAY) {
        return error_set(err, STATUS_INVALID, "messages must be an array of messages");
    }
    jsonw_key(w, "messages");
    jsonw_open(w, '[');
    for (size_t i = 0; i < jsonr_len(list); i++) {
        const struct json *m = jsonr_at(list, i);
        if (jsonr_len(jsonr_get(m, "images")) > 0) {
            return error_set(err, STATUS_UNSUPPORTED, "messages[%zu]: pictures are not read here",
                             i);
        }
        jsonw_open(w, '{');
        translate_copy(w, a, m, "role", "role");
        translate_copy(w, a, m, "content", "content");
        if (jsonr_len(jsonr_get(m, "tool_calls")) > 0) {
            write_calls(w, a, jsonr_get(m, "tool_calls"), &made);
        }
        if (jsonr_is(m, "role", "tool")) {
            jsonw_key(w, "tool_call_id");
            buf_printf(w->out, "\"call_%zu\"", answered++);
            w->comma = true;
        }
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    return STATUS_OK;
}

static enum status write_prompt(struct jsonw *w, struct arena *a, const struct json *body,
                                struct error *err)
{
    if (jsonr_str(jsonr_get(body, "prompt")).ptr == NULL) {
        return error_set(err, STATUS_INVALID, "prompt must be a string");
    }
    if (jsonr_len(jsonr_get(body, "images")) > 0) {
        return error_set(err, STATUS_UNSUPPORTED, "pictures are not read here");
    }
    jsonw_key(w, "messages");
    jsonw_open(w, '[');
    if (jsonr_str(jsonr_get(body, "system")).len > 0) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "role", "system");
        translate_copy(w, a, body, "system", "content");
        jsonw_close(w, '}');
    }
    jsonw_open(w, '{');
    jsonw_field_z(w, "role", "user");
    translate_copy(w, a, body, "prompt", "content");
    jsonw_close(w, '}');
    jsonw_close(w, ']');
    return STATUS_OK;
}

/* "carrel:latest" is "carrel", "carrel:handbook" a collection. */
static void write_model(struct jsonw *w, const struct json *body)
{
    struct str model = jsonr_str(jsonr_get(body, "model"));
    if (str_ends(model, STR(":latest"))) {
        model.len -= strlen(":latest");
    }
    if (model.ptr != NULL) {
        jsonw_field_str(w, "model", model);
    }
}

static void write_options(struct jsonw *w, struct arena *a, const struct json *body)
{
    static const char *const names[][2] = {{"temperature", "temperature"},
                                           {"top_p", "top_p"},
                                           {"top_k", "top_k"},
                                           {"min_p", "min_p"},
                                           {"seed", "seed"},
                                           {"stop", "stop"},
                                           {"repeat_penalty", "repetition_penalty"},
                                           {"presence_penalty", "presence_penalty"},
                                           {"frequency_penalty", "frequency_penalty"}};
    const struct json *o = jsonr_get(body, "options");
    const struct json *predict = jsonr_get(o, "num_predict");
    int64_t most = 0;
    struct error none;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        translate_copy(w, a, o, names[i][0], names[i][1]);
    }
    /* below 1: without end */
    if (predict != NULL &&
        jsonr_int(o, "num_predict", 1, INT32_MAX, 0, &most, &none) == STATUS_OK) {
        jsonw_field_int(w, "max_completion_tokens", most);
    }
}

/* What would be missed: the prompt is always put as the model's template has it. */
static enum status refuse_others(const struct json *body, const char **param, struct error *err)
{
    static const char *const none[] = {"suffix", "template"};
    bool raw = false;
    *param = "raw";
    enum status s = jsonr_bool(body, "raw", false, &raw, err);
    if (s == STATUS_OK && raw) {
        s = error_set(err, STATUS_UNSUPPORTED, "raw prompts are not taken here");
    }
    for (size_t i = 0; i < sizeof none / sizeof none[0] && s == STATUS_OK; i++) {
        if (jsonr_str(jsonr_get(body, none[i])).len > 0) {
            *param = none[i];
            s = error_set(err, STATUS_UNSUPPORTED, "%s is not taken here", none[i]);
        }
    }
    return s;
}

static enum status translate(struct chat *c, const struct json *body, struct buf *out,
                             const char **param, struct error *err)
{
    const struct ollama *o = c->more;
    struct arena *a = c->q->arena;
    const struct json *format = jsonr_get(body, "format"), *tools = jsonr_get(body, "tools");
    bool stream = true;
    struct jsonw w;
    *param = NULL;
    enum status s = jsonr_bool(body, "stream", true, &stream, err);
    s = s == STATUS_OK ? refuse_others(body, param, err) : s;
    if (s != STATUS_OK) {
        return s;
    }
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    write_model(&w, body);
    jsonw_field_bool(&w, "stream", stream);
    write_options(&w, a, body);
    translate_copy(&w, a, body, "carrel", "carrel");
    translate_copy(&w, a, body, "logprobs", "logprobs");
    translate_copy(&w, a, body, "top_logprobs", "top_logprobs");
    if (jsonr_len(tools) > 0) {
        translate_copy(&w, a, body, "tools", "tools");
    }
    if (jsonr_kind(format) == JSON_KIND_OBJECT) {
        translate_schema(&w, a, format);
    } else if (jsonr_is(body, "format", "json")) {
        jsonw_key(&w, "response_format");
        jsonw_raw(&w, STR("{\"type\":\"json_object\"}"));
    }
    s = o->generate ? write_prompt(&w, a, body, err)
                    : write_messages(&w, a, jsonr_get(body, "messages"), err);
    jsonw_close(&w, '}');
    return s;
}

/* ---- the answer ---- */

static void created_at(struct jsonw *w)
{
    char text[40];
    int64_t now = clock_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm tm;
    size_t n = gmtime_r(&seconds, &tm) == NULL
                   ? 0
                   : strftime(text, sizeof text - 8, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(text + n, sizeof text - n, ".%03dZ", (int)(now % 1000));
    jsonw_field_z(w, "created_at", text);
}

/* Arguments are objects there. */
static void calls(struct jsonw *w, const struct chat *c, size_t from)
{
    jsonw_key(w, "tool_calls");
    jsonw_open(w, '[');
    for (size_t i = from; i < c->n_calls; i++) {
        struct json *doc = NULL;
        struct error err;
        bool object = jsonr_read(str_from(c->calls[i].arguments), &doc, &err) == STATUS_OK &&
                      jsonr_kind(doc) == JSON_KIND_OBJECT;
        jsonr_free(doc);
        jsonw_open(w, '{');
        jsonw_key(w, "function");
        jsonw_open(w, '{');
        jsonw_field_z(w, "name", c->calls[i].name);
        jsonw_key(w, "arguments");
        jsonw_raw(w, str_from(object ? c->calls[i].arguments : "{}"));
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

/* from: calls told before; SIZE_MAX: none is told. */
static void line_open(struct jsonw *w, const struct chat *c, struct str text, size_t from,
                      bool done)
{
    const struct ollama *o = c->more;
    jsonw_open(w, '{');
    jsonw_field_z(w, "model", c->ask.model);
    created_at(w);
    if (o->generate) {
        jsonw_field_str(w, "response", text);
    } else {
        jsonw_key(w, "message");
        jsonw_open(w, '{');
        jsonw_field_z(w, "role", "assistant");
        jsonw_field_str(w, "content", text);
        if (from < c->n_calls) {
            calls(w, c, from);
        }
        jsonw_close(w, '}');
    }
    jsonw_field_bool(w, "done", done);
}

static void last_fields(struct jsonw *w, const struct chat *c)
{
    int64_t total = clock_monotonic_ms() - c->started_ms;
    jsonw_field_z(w, "done_reason", strcmp(chat_finish(c), "length") == 0 ? "length" : "stop");
    jsonw_field_int(w, "total_duration", total * NS_A_MS);
    jsonw_field_int(w, "load_duration", 0);
    jsonw_field_int(w, "prompt_eval_count", c->prompt_tokens);
    jsonw_field_int(w, "prompt_eval_duration", c->first_ms * NS_A_MS);
    jsonw_field_int(w, "eval_count", c->completion_tokens);
    jsonw_field_int(w, "eval_duration", (total > c->first_ms ? total - c->first_ms : 0) * NS_A_MS);
    const char *list = c->logprobs_json == NULL ? NULL : strchr(c->logprobs_json, '[');
    if (list != NULL) { /* {"content": [...]} */
        jsonw_key(w, "logprobs");
        jsonw_raw(w, (struct str){list, strlen(list) - 1});
    }
    chat_citations(w, c, false);
    chat_carrel(w, c, true);
}

static void send_line(struct chat *c, struct buf *b)
{
    buf_char(b, '\n');
    chat_send(c, b);
}

static void begin(struct chat *c)
{
    chat_stream_begin(c);
    http_header(c->http, "Cache-Control", "no-store");
    http_header(c->http, "X-Accel-Buffering", "no");
    http_stream_begin(c->http, 200, "application/x-ndjson", -1);
}

static void piece(struct chat *c, struct str text, size_t from)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    line_open(&w, c, text, from, false);
    jsonw_close(&w, '}');
    send_line(c, &b);
}

static void stream_text(struct chat *c, const char *text)
{
    piece(c, str_from(text), SIZE_MAX);
}

static void stream_call(struct chat *c)
{
    piece(c, STR(""), c->n_calls - 1);
}

static void end(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    line_open(&w, c, STR(""), SIZE_MAX, true);
    last_fields(&w, c);
    jsonw_close(&w, '}');
    send_line(c, &b);
    http_stream_end(c->http);
}

static void fail(struct chat *c)
{
    struct buf b;
    buf_init(&b, 16384);
    http_error_body(&b, ERRORS_OLLAMA, NULL, "server_error", NULL, NULL, c->failure->text);
    send_line(c, &b);
    http_stream_end(c->http);
}

static void whole(struct chat *c)
{
    struct jsonw w;
    jsonw_init(&w, &c->q->out);
    line_open(&w, c, buf_view(&c->text), 0, true);
    last_fields(&w, c);
    api_object_end(c->q, 200, &w);
}

static void ask(struct request *q, const struct json *body, bool generate)
{
    static const struct chat_dialect dialect = {.translate = translate,
                                                .begin = begin,
                                                .text = stream_text,
                                                .call = stream_call,
                                                .end = end,
                                                .fail = fail,
                                                .whole = whole};
    struct ollama *o = arena_alloc(q->arena, sizeof *o);
    if (o == NULL) {
        api_out_of_memory(q);
        return;
    }
    *o = (struct ollama){.generate = generate};
    chat_ask(q, body, &dialect, o);
}

static void on_chat(struct request *q, const struct json *body)
{
    ask(q, body, false);
}

static void on_generate(struct request *q, const struct json *body)
{
    ask(q, body, true);
}

void api_ollama_chat(struct request *q)
{
    api_read_json(q, on_chat);
}

void api_ollama_generate(struct request *q)
{
    api_read_json(q, on_generate);
}
