#include "serve/chat_answer.h"

#include "serve/cited.h"
#include "serve/http/jsonw.h"
#include "serve/http/sse.h"
#include "serve/passage.h"
#include "serve/request.h"

#define CALL_PIECE ((size_t)1024) /* bytes of a call's arguments in one event */

bool chat_is_cited(const struct chat *c, size_t number, uint32_t *mark)
{
    for (size_t i = 0; i < c->n_cited; i++) {
        if (c->cited[i].number == number) {
            *mark = c->cited[i].mark;
            return true;
        }
    }
    return false;
}

/* Before the end nobody knows what will be cited: then all passages. */
static void citations(struct jsonw *w, const struct chat *c, bool all)
{
    jsonw_key(w, "citations");
    jsonw_open(w, '[');
    for (size_t i = 0; i < c->found->n_passages; i++) {
        const Vs__Passage *p = c->found->passages[i]->passage;
        uint32_t mark = 0;
        if (!all && !chat_is_cited(c, i + 1, &mark)) {
            continue;
        }
        jsonw_open(w, '{');
        jsonw_field_int(w, "number", (int64_t)i + 1);
        hex_field(w, "passage", p->chunk);
        passage_fields(w, p, all ? 0 : cited_page(p, buf_view(&c->text), mark));
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void carrel_object(struct jsonw *w, const struct chat *c, bool last)
{
    jsonw_key(w, "carrel");
    jsonw_open(w, '{');
    jsonw_field_z(w, "answer_id", c->id);
    jsonw_field_z(w, "engine", c->engine);
    jsonw_field_z(w, "model", c->model);
    if (c->route_json != NULL) {
        jsonw_key(w, "route");
        jsonw_raw(w, str_from(c->route_json));
    }
    if (c->search_json != NULL) {
        jsonw_key(w, "search");
        jsonw_raw(w, str_from(c->search_json));
    }
    if (c->found->n_notes > 0) {
        jsonw_key(w, "notes");
        jsonw_open(w, '[');
        for (size_t i = 0; i < c->found->n_notes; i++) {
            jsonw_str(w, str_from(c->found->notes[i]));
        }
        jsonw_close(w, ']');
    }
    jsonw_field_int(w, "widen", c->q->serve->settings->retrieve.widen);
    if (c->rewritten.text[0] != '\0') {
        jsonw_field_z(w, "rewritten", c->rewritten.text);
    }
    if (last) {
        if (c->note != NULL && c->note[0] != '\0') {
            jsonw_field_z(w, "note", c->note);
        }
        jsonw_field_bool(w, "refused", c->refused);
        jsonw_field_int(w, "marks_removed", c->marks_removed);
    }
    jsonw_close(w, '}');
}

static void usage(struct jsonw *w, const struct chat *c)
{
    jsonw_key(w, "usage");
    jsonw_open(w, '{');
    jsonw_field_int(w, "prompt_tokens", c->prompt_tokens);
    jsonw_field_int(w, "completion_tokens", c->completion_tokens);
    jsonw_field_int(w, "total_tokens", (int64_t)c->prompt_tokens + c->completion_tokens);
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
}

/* OpenAI knows no "refused": the answer that there is none ended as it should. */
static const char *finish_reason(const struct chat *c)
{
    if (c->n_calls > 0) {
        return "tool_calls";
    }
    return c->finish_reason != NULL && strcmp(c->finish_reason, "length") == 0 ? "length" : "stop";
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
static void choices(struct jsonw *w, const struct chat *c, const char *role, const char *text,
                    const char *finish)
{
    jsonw_key(w, "choices");
    jsonw_open(w, '[');
    jsonw_open(w, '{');
    jsonw_field_int(w, "index", 0);
    jsonw_key(w, "delta");
    jsonw_open(w, '{');
    if (role != NULL) {
        jsonw_field_z(w, "role", role);
    }
    if (text != NULL) {
        jsonw_field_z(w, "content", text);
    }
    jsonw_close(w, '}');
    logprobs(w, finish == NULL ? NULL : c->logprobs_json);
    jsonw_field_z(w, "finish_reason", finish);
    jsonw_close(w, '}');
    jsonw_close(w, ']');
}

/* ---- the stream ---- */

static void send_event(struct chat *c, struct buf *b)
{
    enum status s = buf_status(b);
    if (s == STATUS_OK) {
        s = sse_data(c->http, buf_view(b));
    } else {
        http_stream_cut(c->http);
    }
    if (s == STATUS_BUSY && c->rpc != NULL && !c->paused) {
        c->paused = true;
        rpc_request_pause(c->rpc);
    }
    buf_deinit(b);
}

static void on_drain(struct http_request *http)
{
    struct request *q = http->data;
    struct chat *c = q->op;
    if (c->paused && c->rpc != NULL) {
        c->paused = false;
        rpc_request_resume(c->rpc);
    }
}

void chat_begin_stream(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    c->begun = true;
    c->http->on_drain = on_drain;
    sse_begin(c->http);
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    envelope(&w, c, "chat.completion.chunk");
    choices(&w, c, "assistant", "", NULL);
    citations(&w, c, true);
    carrel_object(&w, c, false);
    jsonw_close(&w, '}');
    send_event(c, &b);
}

void chat_stream_text(struct chat *c, const char *text)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    envelope(&w, c, "chat.completion.chunk");
    choices(&w, c, NULL, text, NULL);
    jsonw_close(&w, '}');
    send_event(c, &b);
}

void chat_end_stream(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    envelope(&w, c, "chat.completion.chunk");
    choices(&w, c, NULL, NULL, finish_reason(c));
    citations(&w, c, false);
    carrel_object(&w, c, true);
    jsonw_close(&w, '}');
    send_event(c, &b);
    if (c->ask.include_usage) {
        buf_init(&b, 4096);
        jsonw_init(&w, &b);
        envelope(&w, c, "chat.completion.chunk");
        jsonw_key(&w, "choices");
        jsonw_open(&w, '[');
        jsonw_close(&w, ']');
        usage(&w, c);
        jsonw_close(&w, '}');
        send_event(c, &b);
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
    envelope(&w, c, "chat.completion.chunk");
    jsonw_key(&w, "choices");
    jsonw_open(&w, '[');
    jsonw_open(&w, '{');
    jsonw_field_int(&w, "index", 0);
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
    send_event(c, &b);
}

/* First the name with empty arguments, then the arguments in whole characters. */
void chat_stream_call(struct chat *c)
{
    size_t index = c->n_calls - 1;
    struct str rest = str_from(c->calls[index].arguments);
    call_event(c, index, true, STR(""));
    while (rest.len > 0) {
        size_t n = rest.len < CALL_PIECE ? rest.len : CALL_PIECE;
        while (n < rest.len && ((unsigned char)rest.ptr[n] & 0xC0) == 0x80) {
            n++;
        }
        call_event(c, index, false, (struct str){rest.ptr, n});
        rest = (struct str){rest.ptr + n, rest.len - n};
    }
}

static void calls(struct jsonw *w, const struct chat *c)
{
    jsonw_key(w, "tool_calls");
    jsonw_open(w, '[');
    for (size_t i = 0; i < c->n_calls; i++) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "id", c->calls[i].id);
        jsonw_field_z(w, "type", "function");
        jsonw_key(w, "function");
        jsonw_open(w, '{');
        jsonw_field_z(w, "name", c->calls[i].name);
        jsonw_field_z(w, "arguments", c->calls[i].arguments);
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

/* In the middle of a stream an error can only be one more event; no [DONE] follows it. */
void chat_fail_stream(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, 8192);
    jsonw_init(&w, &b);
    jsonw_open(&w, '{');
    jsonw_key(&w, "error");
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "message", c->failure.text);
    jsonw_field_z(&w, "type", "server_error");
    jsonw_field_z(&w, "param", NULL);
    jsonw_field_z(&w, "code", status_name(c->failure.code));
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
    send_event(c, &b);
    http_stream_end(c->http);
}

void chat_answer_whole(struct chat *c)
{
    struct request *q = c->q;
    struct jsonw w;
    jsonw_init(&w, &q->out);
    envelope(&w, c, "chat.completion");
    jsonw_key(&w, "choices");
    jsonw_open(&w, '[');
    jsonw_open(&w, '{');
    jsonw_field_int(&w, "index", 0);
    jsonw_key(&w, "message");
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "role", "assistant");
    if (c->n_calls > 0 && c->text.len == 0) {
        jsonw_field_z(&w, "content", NULL);
    } else {
        jsonw_field_str(&w, "content", buf_view(&c->text));
    }
    if (c->n_calls > 0) {
        calls(&w, c);
    }
    jsonw_field_z(&w, "refusal", NULL);
    jsonw_key(&w, "annotations");
    jsonw_open(&w, '[');
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    logprobs(&w, c->logprobs_json);
    jsonw_field_z(&w, "finish_reason", finish_reason(c));
    jsonw_close(&w, '}');
    jsonw_close(&w, ']');
    usage(&w, c);
    citations(&w, c, false);
    carrel_object(&w, c, true);
    api_object_end(q, 200, &w);
}
