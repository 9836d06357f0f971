/* OpenAI's chat completions: POST /v1/chat/completions, the answer whole or as events. */
#include "serve/api.h"
#include "serve/chat.h"
#include "serve/http/jsonw.h"
#include "serve/http/sse.h"
#include "serve/request.h"

static void usage(struct jsonw *w, const struct chat *c)
{
    jsonw_key(w, "usage");
    jsonw_open(w, '{');
    jsonw_field_int(w, "prompt_tokens", c->prompt_tokens);
    jsonw_field_int(w, "completion_tokens", c->completion_tokens);
    jsonw_field_int(w, "total_tokens", c->prompt_tokens + c->completion_tokens);
    jsonw_close(w, '}');
}

static void envelope(struct jsonw *w, const struct chat *c, const char *object)
{
    jsonw_open(w, '{');
    jsonw_key(w, "id");
    buf_printf(w->out, "\"chatcmpl-%s\"", c->id);
    w->comma = true;
    jsonw_field_z(w, "object", object);
    jsonw_field_int(w, "created", c->created_wall_ms / 1000);
    jsonw_field_z(w, "model", c->ask.model);
    jsonw_field_z(w, "system_fingerprint", c->model); /* with it a seed says the same again */
}

/* A chunk that is not the last: its usage is null where the last one tells it. */
static void chunk(struct jsonw *w, const struct chat *c)
{
    envelope(w, c, "chat.completion.chunk");
    if (c->ask.include_usage) {
        jsonw_field_z(w, "usage", NULL);
    }
}

static void logprobs(struct jsonw *w, const char *json)
{
    jsonw_key(w, "logprobs");
    if (json == NULL) {
        jsonw_null(w);
    } else {
        jsonw_raw(w, str_from(json));
    }
}

/* One chunk's choices; text NULL: none; role: the first; finish: the last. */
static void choices(struct jsonw *w, size_t index, const char *role, const char *text,
                    const char *finish, const char *logprobs_json)
{
    jsonw_key(w, "choices");
    jsonw_open(w, '[');
    jsonw_open(w, '{');
    jsonw_field_int(w, "index", (int64_t)index);
    jsonw_key(w, "delta");
    jsonw_open(w, '{');
    if (role != NULL) {
        jsonw_field_z(w, "role", role);
    }
    if (text != NULL) {
        jsonw_field_z(w, "content", text);
    }
    jsonw_close(w, '}');
    logprobs(w, logprobs_json);
    jsonw_field_z(w, "finish_reason", finish);
    jsonw_close(w, '}');
    jsonw_close(w, ']');
}

/* ---- the stream ---- */

/* Takes b. */
static void send_data(struct chat *c, struct buf *b)
{
    struct buf event;
    sse_event(&event, NULL, b);
    chat_send(c, &event);
}

static void begin(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    chat_stream_begin(c);
    sse_begin(c->http);
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    chunk(&w, c);
    choices(&w, 0, "assistant", "", NULL, NULL);
    chat_citations(&w, c, true);
    chat_carrel(&w, c, false);
    jsonw_close(&w, '}');
    send_data(c, &b);
}

static void stream_text(struct chat *c, const char *text)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    chunk(&w, c);
    choices(&w, c->n_over, NULL, text, NULL, NULL);
    jsonw_close(&w, '}');
    send_data(c, &b);
}

/* One of several answers is complete, the next begins. */
static void choice(struct chat *c)
{
    const struct chat_choice *over = &c->over[c->n_over - 1];
    struct buf b;
    struct jsonw w;
    for (int i = 0; i < 2; i++) {
        buf_init(&b, CHAT_ANSWER_MAX);
        jsonw_init(&w, &b);
        chunk(&w, c);
        if (i == 0) {
            choices(&w, c->n_over - 1, NULL, NULL, over->finish_reason, over->logprobs_json);
        } else {
            choices(&w, c->n_over, "assistant", "", NULL, NULL);
        }
        jsonw_close(&w, '}');
        send_data(c, &b);
    }
}

static void end(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    chunk(&w, c);
    choices(&w, c->n_over, NULL, NULL, chat_finish(c), c->logprobs_json);
    chat_citations(&w, c, false);
    chat_carrel(&w, c, true);
    jsonw_close(&w, '}');
    send_data(c, &b);
    if (c->ask.include_usage) {
        buf_init(&b, 4096);
        jsonw_init(&w, &b);
        envelope(&w, c, "chat.completion.chunk");
        jsonw_key(&w, "choices");
        jsonw_open(&w, '[');
        jsonw_close(&w, ']');
        usage(&w, c);
        jsonw_close(&w, '}');
        send_data(c, &b);
    }
    (void)sse_data(c->http, STR("[DONE]")); /* whoever is gone is noticed by the close */
    http_stream_end(c->http);
}

static void call_event(struct chat *c, size_t index, bool begin, struct str arguments)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    chunk(&w, c);
    jsonw_key(&w, "choices");
    jsonw_open(&w, '[');
    jsonw_open(&w, '{');
    jsonw_field_int(&w, "index", (int64_t)c->n_over);
    jsonw_key(&w, "delta");
    jsonw_open(&w, '{');
    jsonw_key(&w, "tool_calls");
    jsonw_open(&w, '[');
    jsonw_open(&w, '{');
    jsonw_field_int(&w, "index", (int64_t)index);
    if (begin) {
        jsonw_field_z(&w, "id", c->calls[index].id);
        jsonw_field_z(&w, "type", "function");
    }
    jsonw_key(&w, "function");
    jsonw_open(&w, '{');
    if (begin) {
        jsonw_field_z(&w, "name", c->calls[index].name);
    }
    jsonw_field_str(&w, "arguments", arguments);
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    logprobs(&w, NULL);
    jsonw_field_z(&w, "finish_reason", NULL);
    jsonw_close(&w, '}');
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    send_data(c, &b);
}

/* First the name with empty arguments, then the arguments in whole characters. */
static void stream_call(struct chat *c)
{
    size_t index = c->n_calls - 1;
    struct str rest = str_from(c->calls[index].arguments), piece;
    call_event(c, index, true, STR(""));
    while (chat_call_piece(&rest, &piece)) {
        call_event(c, index, false, piece);
    }
}

/* In the middle of a stream an error can only be one more event; no [DONE] follows it. */
static void fail(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, 8192);
    jsonw_init(&w, &b);
    jsonw_open(&w, '{');
    jsonw_key(&w, "error");
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "message", c->failure->text);
    jsonw_field_z(&w, "type", "server_error");
    jsonw_field_z(&w, "param", NULL);
    jsonw_field_z(&w, "code", status_name(c->failure->code));
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
    send_data(c, &b);
    http_stream_end(c->http);
}

static void message(struct jsonw *w, size_t index, const struct chat_choice *a)
{
    jsonw_open(w, '{');
    jsonw_field_int(w, "index", (int64_t)index);
    jsonw_key(w, "message");
    jsonw_open(w, '{');
    jsonw_field_z(w, "role", "assistant");
    if (a->n_calls > 0 && a->text.len == 0) {
        jsonw_field_z(w, "content", NULL);
    } else {
        jsonw_field_str(w, "content", a->text);
    }
    if (a->n_calls > 0) {
        jsonw_key(w, "tool_calls");
        chat_calls(w, a->calls, a->n_calls);
    }
    jsonw_field_z(w, "refusal", NULL);
    jsonw_key(w, "annotations");
    jsonw_open(w, '[');
    jsonw_close(w, ']');
    jsonw_close(w, '}');
    logprobs(w, a->logprobs_json);
    jsonw_field_z(w, "finish_reason", a->finish_reason);
    jsonw_close(w, '}');
}

static void whole(struct chat *c)
{
    struct request *q = c->q;
    struct jsonw w;
    jsonw_init(&w, &q->out);
    envelope(&w, c, "chat.completion");
    jsonw_key(&w, "choices");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < c->n_over; i++) {
        message(&w, i, &c->over[i]);
    }
    struct chat_choice last = {.text = buf_view(&c->text),
                               .finish_reason = chat_finish(c),
                               .logprobs_json = c->logprobs_json,
                               .calls = c->calls,
                               .n_calls = c->n_calls};
    message(&w, c->n_over, &last);
    jsonw_close(&w, ']');
    usage(&w, c);
    chat_citations(&w, c, false);
    chat_carrel(&w, c, true);
    api_object_end(q, 200, &w);
}

static const struct chat_dialect dialect = {.begin = begin,
                                            .text = stream_text,
                                            .call = stream_call,
                                            .choice = choice,
                                            .end = end,
                                            .fail = fail,
                                            .whole = whole};

bool api_chat_check(struct request *q, const struct json *body)
{
    return chat_check(q, body, &dialect, NULL);
}

static void on_json(struct request *q, const struct json *body)
{
    chat_ask(q, body, &dialect, NULL);
}

void api_chat(struct request *q)
{
    if (!api_job_instead(q)) {
        api_read_json(q, on_json);
    }
}
