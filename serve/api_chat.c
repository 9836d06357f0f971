/* POST /v1/chat/completions. In the order things happen:
 *
 *   api_chat      read and check the request
 *   on_passages   retrieve.Search has answered; in a conversation a language model that may have
 * these passages rewrites the question (generate.Chat, standing_question), and both are searched:
 * the citations are written once, generate.Chat starts on_piece      route and engine come with the
 * first reply (the stream begins), then text on_finished   generate is through: the record is
 * written (answers.h) ... on_recorded   ... and then the last event, or the whole answer, goes out
 *
 * A client that leaves cancels both calls; the record then says "cancelled". */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/model_line.h"
#include "generate/generate_rpc.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/api.h"
#include "serve/chat_request.h"
#include "serve/cited.h"
#include "serve/http/jsonw.h"
#include "serve/http/sse.h"
#include "serve/logprobs.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "serve/service.h"

#define ANSWER_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define CITED_MAX 256
/* A rewritten question is worth this wait, and not a word more than this. */
#define REWRITE_MS 4000

struct chat {
    struct request *q; /* NULL once answered or gone */
    struct http_request *http;
    char id[ID_CAP];
    struct chat_request ask;
    int64_t created_wall_ms, started_ms, search_ms, first_ms;
    const Rt__SearchReply *found;
    struct model_line rewritten; /* the question standing alone; "" until and unless it is */
    bool rewriting_over;         /* tried, well or not */
    bool generating;
    bool begun;    /* the stream's first event is out */
    bool first;    /* the first reply has come */
    bool complete; /* the last reply has come */
    bool paused;
    bool recorded;
    struct buf text; /* the answer */
    struct rpc_request *rpc;
    /* what generate said; all in the arena */
    const char *engine, *model, *note, *finish_reason, *route_json;
    const char *logprobs_json; /* NULL: none */
    bool refused;
    uint32_t marks_removed, prompt_tokens, completion_tokens;
    struct {
        uint32_t number;
        uint32_t mark; /* code points of the answer before it, the first time */
    } cited[CITED_MAX];
    size_t n_cited;
    struct error failure;
    struct answer_record record;
};

/* ---- JSON ---- */

static bool is_cited(const struct chat *c, size_t number, uint32_t *mark)
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
        if (!all && !is_cited(c, i + 1, &mark)) {
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

static void begin_stream(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    c->begun = true;
    c->http->on_drain = on_drain;
    sse_begin(c->http);
    buf_init(&b, ANSWER_BYTES_MAX);
    jsonw_init(&w, &b);
    envelope(&w, c, "chat.completion.chunk");
    choices(&w, c, "assistant", "", NULL);
    citations(&w, c, true);
    carrel_object(&w, c, false);
    jsonw_close(&w, '}');
    send_event(c, &b);
}

static void stream_text(struct chat *c, const char *text)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, ANSWER_BYTES_MAX);
    jsonw_init(&w, &b);
    envelope(&w, c, "chat.completion.chunk");
    choices(&w, c, NULL, text, NULL);
    jsonw_close(&w, '}');
    send_event(c, &b);
}

static void end_stream(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, ANSWER_BYTES_MAX);
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

/* In the middle of a stream an error can only be one more event; no [DONE] follows it. */
static void fail_stream(struct chat *c)
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

static void answer_whole(struct chat *c)
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
    jsonw_field_str(&w, "content", buf_view(&c->text));
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

/* ---- the record ---- */

static const char *take_text(struct chat *c, struct buf *b)
{
    const char *copy =
        buf_status(b) == STATUS_OK ? arena_strndup(&c->http->arena, b->ptr, b->len) : NULL;
    buf_deinit(b);
    return copy;
}

static const char *passages_json(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, (size_t)1024 * 1024);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = 0; c->found != NULL && i < c->found->n_passages; i++) {
        const Vs__Passage *p = c->found->passages[i]->passage;
        jsonw_open(&w, '{');
        jsonw_field_int(&w, "number", (int64_t)i + 1);
        jsonw_field_z(&w, "document", p->document);
        hex_field(&w, "passage", p->chunk);
        hex_field(&w, "hash", p->hash);
        jsonw_field_z(&w, "label", p->label);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    return take_text(c, &b);
}

static const char *cited_json(struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, 16384);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = 0; i < c->n_cited; i++) {
        jsonw_int(&w, c->cited[i].number);
    }
    jsonw_close(&w, ']');
    return take_text(c, &b);
}

static void on_recorded(const struct error *err, struct buf *json, void *data);

/* Once a chat, whatever became of it. The request's memory is held until the record is written. */
static void record(struct chat *c, const char *outcome)
{
    if (c->recorded) {
        return;
    }
    c->recorded = true;
    c->record = (struct answer_record){
        .id = c->id,
        .tenant = c->q->who->tenant,
        .user = c->q->who->user,
        .question = c->ask.question.ptr,
        .asked_model = c->ask.model,
        .engine = c->engine,
        .model = c->model,
        .route = c->route_json,
        .passages = passages_json(c),
        .cited = cited_json(c),
        .outcome = outcome,
        .error = c->failure.text,
        .note = c->note,
        .created_wall_ms = c->created_wall_ms,
        .search_ms = c->search_ms,
        .first_ms = c->first_ms,
        .total_ms = clock_monotonic_ms() - c->started_ms,
        .marks_removed = c->marks_removed,
        .prompt_tokens = c->prompt_tokens,
        .completion_tokens = c->completion_tokens,
    };
    http_request_hold(c->http);
    answers_write(c->q->serve->answers, &c->record, on_recorded, c);
}

static void on_recorded(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    struct chat *c = data;
    struct http_request *http = c->http;
    if (err->code != STATUS_OK) {
        LOG_ERROR("the record of an answer could not be written", LOG_STR("req", http->id),
                  LOG_STR("err", err->text), LOG_END);
        c->note = "The record of this answer could not be written.";
    }
    if (c->q != NULL && c->complete && !http_request_gone(http)) {
        c->q->on_gone = NULL;
        if (c->ask.stream) {
            end_stream(c);
        } else {
            answer_whole(c);
        }
    }
    buf_deinit(&c->text);
    http_request_release(http);
}

static void on_gone(struct request *q)
{
    struct chat *c = q->op;
    record(c, c->complete ? (c->refused ? "refused" : "answered") : "cancelled");
    c->rpc = NULL;
    c->q = NULL;
}

/* ---- generate ---- */

static const char *keep_z(struct chat *c, const char *z)
{
    return z == NULL ? NULL : arena_strdup(&c->http->arena, z);
}

static void first_reply(struct chat *c, const Ge__ChatReply *m)
{
    c->first = true;
    c->first_ms = clock_monotonic_ms() - c->started_ms;
    c->engine = keep_z(c, m->engine);
    c->model = keep_z(c, m->model);
    if (m->route != NULL) {
        struct buf b;
        struct jsonw w;
        buf_init(&b, 8192);
        jsonw_init(&w, &b);
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "verdict", m->route->verdict);
        jsonw_field_z(&w, "reason", m->route->reason);
        jsonw_field_z(&w, "strictest_label", m->route->strictest_label);
        jsonw_field_z(&w, "destination", m->route->destination);
        jsonw_close(&w, '}');
        c->route_json = take_text(c, &b);
    }
    if (c->ask.stream) {
        begin_stream(c);
    }
}

static const char *logprobs_json(struct chat *c, const Ge__ChatReply *m)
{
    struct buf b;
    buf_init(&b, ANSWER_BYTES_MAX);
    logprobs_write(&b, m);
    return take_text(c, &b);
}

static void last_reply(struct chat *c, const Ge__ChatReply *m)
{
    c->logprobs_json = m->n_logprobs > 0 ? logprobs_json(c, m) : NULL;
    c->complete = true;
    c->finish_reason = keep_z(c, m->finish_reason);
    c->note = keep_z(c, m->note);
    c->refused = m->has_refused && m->refused;
    c->marks_removed = m->has_marks_removed ? m->marks_removed : 0;
    c->prompt_tokens = m->has_prompt_tokens ? m->prompt_tokens : 0;
    c->completion_tokens = m->has_completion_tokens ? m->completion_tokens : 0;
    for (size_t i = 0; i < m->n_citations && c->n_cited < CITED_MAX; i++) {
        uint32_t mark;
        if (!is_cited(c, m->citations[i]->number, &mark)) {
            c->cited[c->n_cited].number = m->citations[i]->number;
            c->cited[c->n_cited++].mark = m->citations[i]->start;
        }
    }
}

static void on_piece(struct request *q, const ProtobufCMessage *message)
{
    struct chat *c = q->op;
    const Ge__ChatReply *m = ge_chat_reply(message);
    if (m == NULL || c->complete) {
        return;
    }
    if (!c->first) {
        first_reply(c, m);
    }
    if (m->delta != NULL && m->delta[0] != '\0') {
        buf_z(&c->text, m->delta);
        if (c->ask.stream) {
            stream_text(c, m->delta);
        }
    }
    if (m->has_last && m->last) {
        last_reply(c, m);
    }
}

static void on_finished(struct request *q, const struct error *err)
{
    struct chat *c = q->op;
    c->rpc = NULL;
    if (err->code == STATUS_OK && c->complete && buf_status(&c->text) == STATUS_OK) {
        q->serve->answers_total++;
        record(c, c->refused ? "refused" : "answered");
        return; /* on_recorded goes on */
    }
    c->failure = *err;
    c->complete = false;
    if (err->code == STATUS_OK) {
        (void)error_set(&c->failure, STATUS_INTERNAL, "the answer broke off");
    } else if (err->code == STATUS_UNAVAILABLE) {
        (void)error_set(
            &c->failure, STATUS_UNAVAILABLE,
            "What writes the answers (generate) is down. Search still works: POST /api/search.");
    }
    q->on_gone = NULL;
    record(c, "failed");
    c->q = NULL;
    if (c->begun) {
        fail_stream(c);
    } else {
        api_fail(q, &c->failure);
    }
}

static void generate(struct chat *c)
{
    struct request *q = c->q;
    Ge__ChatRequest *ask = &c->ask.ask;
    size_t n = c->found->n_passages;
    ask->answer_id = c->id;
    ask->scope = pb_text(q->who->tenant);
    ask->passages = arena_array(q->arena, n + 1, sizeof *ask->passages);
    if (ask->passages == NULL) {
        api_out_of_memory(q);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ask->passages[i] = c->found->passages[i]->passage;
    }
    ask->n_passages = n;
    ask->has_upper_bound_share = true;
    ask->upper_bound_share = c->found->upper_bound_share;
    struct api_call how = {.on_reply = on_piece, .on_finish = on_finished};
    q->on_gone = on_gone;
    c->rpc = api_start(q, PEER_GENERATE, &ge_chat_method, 0, &ask->base, &how);
}

/* ---- retrieve ---- */

static void search(struct chat *c);

static void on_rewritten_piece(struct request *q, const ProtobufCMessage *message)
{
    struct chat *c = q->op;
    const Ge__ChatReply *m = ge_chat_reply(message);
    if (m != NULL && m->delta != NULL) {
        model_line_add(&c->rewritten, m->delta);
    }
}

static void on_rewritten(struct request *q, const struct error *err)
{
    struct chat *c = q->op;
    model_line_end(&c->rewritten);
    if (err->code != STATUS_OK || str_eq(str_from(c->rewritten.text), c->ask.question)) {
        c->rewritten.text[0] = '\0';
        generate(c); /* what the earlier turns found */
        return;
    }
    search(c);
}

/* What goes along of the passages are the labels: they decide where the questions may go, as they
 * will for the answer. */
static void rewrite(struct chat *c)
{
    struct request *q = c->q;
    Ge__ChatRequest ask = GE__CHAT_REQUEST__INIT;
    size_t n = c->found->n_passages;
    Vs__Passage *bare = arena_array(q->arena, n + 1, sizeof *bare);
    Vs__Passage **list = arena_array(q->arena, n + 1, sizeof *list);
    static char none[] = "";
    c->rewriting_over = true;
    if (bare == NULL || list == NULL) {
        api_out_of_memory(q);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        vs__passage__init(&bare[i]);
        bare[i].label = c->found->passages[i]->passage->label;
        bare[i].document = bare[i].collection = bare[i].format = bare[i].content = none;
        list[i] = &bare[i];
    }
    ask.answer_id = c->id;
    ask.messages = c->ask.ask.messages;
    ask.n_messages = c->ask.ask.n_messages;
    ask.passages = list;
    ask.n_passages = n;
    ask.engine = c->ask.ask.engine;
    ask.scope = pb_text(q->who->tenant);
    ask.has_temperature = ask.has_max_tokens = ask.has_standing_question = true;
    ask.max_tokens = 150;
    ask.standing_question = true;
    struct api_call how = {.on_reply = on_rewritten_piece, .on_finish = on_rewritten};
    (void)api_start(q, PEER_GENERATE, &ge_chat_method, REWRITE_MS, &ask.base, &how);
}

static void on_passages(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct chat *c = q->op;
    c->search_ms = clock_monotonic_ms() - c->started_ms;
    const Rt__SearchReply *found = rt_search_reply(m);
    c->found = found != NULL ? found : c->found; /* the first search's, if the second failed */
    if (c->found == NULL) {
        c->failure = *err;
        q->on_gone = NULL;
        record(c, "failed");
        c->q = NULL;
        api_fail(q, err);
        return;
    }
    if (c->ask.n_earlier > 0 && c->found->n_passages > 0 && !c->rewriting_over) {
        rewrite(c);
    } else {
        generate(c);
    }
}

static void search(struct chat *c)
{
    Rt__SearchRequest ask = RT__SEARCH_REQUEST__INIT;
    ProtobufCBinaryData earlier[CHAT_EARLIER_MAX];
    ask.query = pb_bytes(c->ask.question);
    for (size_t i = 0; i < c->ask.n_earlier; i++) {
        earlier[i] = pb_bytes(c->ask.earlier[i]);
    }
    ask.earlier = earlier;
    ask.n_earlier = c->ask.n_earlier;
    ask.has_widen = true;
    ask.widen = (uint32_t)c->q->serve->settings->retrieve.widen;
    ask.has_rewritten = c->rewritten.text[0] != '\0';
    ask.rewritten = pb_bytes(str_from(c->rewritten.text));
    ask.filter = c->ask.filtered ? &c->ask.filter : NULL;
    api_unary(c->q, PEER_RETRIEVE, &rt_search_method, 0, &ask.base, on_passages);
}

static void on_json(struct request *q, const struct json *body)
{
    struct chat *c = arena_alloc(q->arena, sizeof *c);
    struct error err;
    const char *param;
    if (c == NULL) {
        api_out_of_memory(q);
        return;
    }
    enum status s = chat_request_read(body, q->arena, &c->ask, &param, &err);
    if (s != STATUS_OK) {
        api_error(q, status_http(s), param,
                  s == STATUS_NOT_FOUND ? "model_not_found" : status_name(s), err.text);
        return;
    }
    c->q = q;
    c->http = q->http;
    c->created_wall_ms = clock_wall_ms();
    c->started_ms = clock_monotonic_ms();
    /* the record is written after the body's JSON may be gone */
    c->ask.model = arena_strdup(q->arena, c->ask.model);
    if (c->ask.model == NULL) {
        api_out_of_memory(q);
        return;
    }
    buf_init(&c->text, ANSWER_BYTES_MAX);
    id_new(c->id);
    q->op = c;
    q->on_gone = on_gone;
    search(c);
}

void api_chat(struct request *q)
{
    api_read_json(q, on_json);
}
