#include "serve/chat_generate.h"

#include <string.h>

#include "base/clock.h"
#include "generate/generate_rpc.h"
#include "serve/chat_record.h"
#include "serve/conversations.h"
#include "serve/jobs.h"
#include "serve/request.h"
#include "serve/search_request.h"

static void conclude(struct chat *c);

/* Kept only where there is one: thousands of streams may be open that have none. */
static const struct error *keep_error(struct chat *c, const struct error *err)
{
    static const struct error no_memory = {STATUS_NO_MEMORY, "out of memory"};
    struct error *copy = err->code == STATUS_OK ? NULL : arena_alloc(&c->http->arena, sizeof *copy);
    if (copy != NULL) {
        *copy = *err;
    }
    return err->code == STATUS_OK ? &chat_no_error : copy == NULL ? &no_memory : copy;
}

static void fail(struct chat *c, enum status code, const char *text)
{
    struct error err;
    (void)error_set(&err, code, "%s", text);
    c->failure = keep_error(c, &err);
}

static const char *outcome(const struct chat *c)
{
    return c->refused ? "refused" : "answered";
}

void chat_gone(struct request *q)
{
    struct chat *c = q->op;
    if (q->audit.state == AUDIT_CALL_OPEN || q->audit.state == AUDIT_CALL_NEW) {
        chat_record(c, c->complete ? outcome(c) : "cancelled", conclude);
    } else if (!c->recorded) { /* the audit closes by itself what it is about to open */
        c->opened = false;
        chat_record(c, "cancelled", conclude);
    }
    c->rpc = NULL;
    c->q = NULL;
}

/* Both records are durable, or one cannot be written. */
static void tell_failure(struct chat *c, struct request *q)
{
    if (c->begun) {
        c->dialect->fail(c);
    } else if (c->failure->code == STATUS_TOO_LARGE) { /* as OpenAI calls it */
        api_error(q, 400, "messages", "context_length_exceeded", c->failure->text);
    } else if (c->failure->code == STATUS_UNSUPPORTED) {
        api_error(q, 400, NULL, "unsupported", c->failure->text);
    } else {
        api_fail(q, c->failure);
    }
}

static void tell(struct chat *c)
{
    struct request *q = c->q;
    if (http_request_gone(c->http)) {
        return;
    }
    if (c->unwritten) {
        c->complete = false;
        fail(c, STATUS_UNAVAILABLE,
             "The record of this answer cannot be written, so it is not given: an "
             "administrator finds the reason in GET /api/status and in the log.");
    }
    c->q = c->complete ? q : NULL;
    if (!c->complete) {
        tell_failure(c, q);
    } else if (c->ask.stream) {
        c->dialect->end(c);
    } else {
        c->dialect->whole(c);
    }
}

static void conclude(struct chat *c)
{
    struct request *q = c->q;
    if (q == NULL || http_request_gone(c->http)) {
        return;
    }
    q->on_gone = NULL;
    if (!c->complete || c->unwritten) {
        tell(c);
        return;
    }
    const struct error none = {.code = STATUS_OK};
    c->concluded = tell;
    chat_writing(c);
    if (c->dialect->keep != NULL) { /* not sooner: what is kept can be read */
        c->dialect->keep(c);
    }
    chat_conversation_keep(c);
    chat_written(c, &none);
}

void chat_failed(struct chat *c, const struct error *err)
{
    c->failure = keep_error(c, err);
    chat_record(c, "failed", conclude);
}

/* ---- generate ---- */

static void on_fail(struct http_request *http, const char *message);

static const char *keep_z(struct chat *c, const char *z)
{
    return z == NULL ? NULL : arena_strdup(&c->http->arena, z);
}

/* A stream may say nothing for minutes: what the question was read from goes, unless it is asked
 * again or kept with the answer. */
static void forget_question(struct chat *c)
{
    struct request *q = c->q;
    if (q->turn == NULL) { /* else others may ask what address it writes to */
        http_head_forget(c->http);
    }
    if (c->dialect->keep == NULL && c->ask.choices <= 1 && q->job == NULL &&
        c->ask.question.ptr == q->audit.question.ptr) {
        jsonr_free(q->body);
        jsonr_free(q->translated);
        q->body = q->translated = NULL;
        c->ask.ask = NULL;
        c->ask.filter = NULL;
        c->ask.earlier = NULL;
        c->ask.n_earlier = 0;
        c->ask.collection = NULL;
        q->token = NULL; /* nobody is asked any more in this caller's name */
        q->token_len = 0;
        http_asked_forget(c->http);
    }
}

static void on_opened(struct request *q, const struct error *err);
static void finish(struct request *q, const struct error *err);

static void first_reply(struct chat *c, const Ge__ChatReply *m)
{
    c->first = true;
    c->first_ms = clock_monotonic_ms() - c->started_ms;
    c->engine = keep_z(c, m->engine);
    c->model = keep_z(c, m->model);
    c->q->audit.model_sha256 = keep_z(c, m->model_sha256);
    audit_open_now(c->q, on_opened);
}

/* What has come while the record was being written. */
static void on_opened(struct request *q, const struct error *err)
{
    struct chat *c = q->op;
    if (err->code != STATUS_OK) {
        struct rpc_request *rpc = c->rpc;
        c->rpc = NULL;
        api_cancel_forget(q, rpc);
        c->unwritten = true;
        chat_record(c, "failed", conclude);
        return;
    }
    c->opened = true;
    if (c->ask.stream) {
        size_t n = c->n_calls;
        c->http->on_fail = on_fail;
        c->dialect->begin(c);
        forget_question(c);
        if (c->text.len > 0 && buf_status(&c->text) == STATUS_OK) {
            c->dialect->text(c, c->text.ptr);
        }
        for (c->n_calls = 0; c->n_calls < n;) {
            c->n_calls++;
            c->dialect->call(c);
        }
    }
    if (c->finished) {
        finish(q, c->ended);
    }
}

/* An answer that ends where its asker's tokens or money do says so. */
static const char *note_of(struct chat *c, const Ge__ChatReply *m)
{
    bool far = c->engine != NULL && strcmp(c->engine, "upstream") == 0;
    uint32_t room = far ? c->room.elsewhere : c->room.here;
    bool own = c->max_tokens <= room;
    if (m->note != NULL || m->finish_reason == NULL || strcmp(m->finish_reason, "length") != 0 ||
        room == UINT32_MAX || own || !m->has_completion_tokens || m->completion_tokens < room) {
        return keep_z(c, m->note);
    }
    return arena_printf(&c->http->arena,
                        "the answer ends after %u tokens: so many were left of the tokens of today "
                        "or of this month's budget",
                        room);
}

static void last_reply(struct chat *c, const Ge__ChatReply *m)
{
    c->logprobs_json = m->n_logprobs > 0 ? chat_logprobs_json(c, m) : NULL;
    c->complete = true;
    c->finish_reason = keep_z(c, m->finish_reason);
    c->stop = keep_z(c, m->stop);
    c->note = note_of(c, m);
    c->q->audit.model_version = keep_z(c, m->model_version);
    c->refused = m->has_refused && m->refused;
    c->marks_removed += m->has_marks_removed ? m->marks_removed : 0;
    /* what is told is what the books have, the rewriting of the question too */
    c->prompt_tokens = c->seen.prompt + c->seen_rewriting.prompt;
    c->completion_tokens = c->seen.completion + c->seen_rewriting.completion;
    if (c->cited == NULL && m->n_citations > 0) { /* most of its time an answer has none */
        c->cited = arena_array(&c->http->arena, CHAT_CITED_MAX, sizeof *c->cited);
        c->text.failed = c->cited == NULL ? STATUS_NO_MEMORY : c->text.failed;
    }
    for (size_t i = 0; c->cited != NULL && i < m->n_citations && c->n_cited < CHAT_CITED_MAX; i++) {
        uint32_t mark;
        if (!chat_is_cited(c, m->citations[i]->number, &mark)) {
            c->cited[c->n_cited].number = m->citations[i]->number;
            c->cited[c->n_cited++].mark = m->citations[i]->start;
        }
    }
}

static void take_call(struct chat *c, const Ge__ToolCall *call)
{
    const char *id = keep_z(c, call->id), *name = keep_z(c, call->name);
    const char *arguments = keep_z(c, call->arguments);
    if (c->calls == NULL) {
        c->calls = arena_array(&c->http->arena, CHAT_CALLS_MAX, sizeof *c->calls);
    }
    if (c->calls == NULL || c->n_calls == CHAT_CALLS_MAX || id == NULL || name == NULL ||
        arguments == NULL) {
        c->text.failed = STATUS_TOO_LARGE; /* told at the end */
        return;
    }
    c->calls[c->n_calls].id = id;
    c->calls[c->n_calls].name = name;
    c->calls[c->n_calls++].arguments = arguments;
    if (c->ask.stream && c->opened) {
        c->dialect->call(c);
    }
}

static void on_piece(struct request *q, const ProtobufCMessage *message)
{
    struct chat *c = q->op;
    const Ge__ChatReply *m = ge_chat_reply(message);
    if (m == NULL || c->complete) {
        return;
    }
    fair_take_reply(q, &c->seen, m);
    if (m->route != NULL) {
        chat_note_route(c, m);
    }
    if (!c->first && m->engine != NULL) {
        first_reply(c, m);
    }
    if (m->delta != NULL && m->delta[0] != '\0') {
        buf_z(&c->text, m->delta);
        if (c->ask.stream && c->opened) {
            c->dialect->text(c, m->delta);
        }
    }
    for (size_t i = 0; i < m->n_calls; i++) {
        take_call(c, m->calls[i]);
    }
    if (m->has_last && m->last) {
        last_reply(c, m);
    }
}

/* The answer goes to those that are over, and the next is asked for. False: out of memory. */
static bool next_choice(struct chat *c)
{
    if (c->over == NULL) {
        c->over = arena_array(c->q->arena, c->ask.choices, sizeof *c->over);
    }
    struct chat_call *calls = arena_array(c->q->arena, c->n_calls + 1, sizeof *calls);
    char *text = arena_strndup(c->q->arena, buf_view(&c->text).ptr, c->text.len);
    if (c->over == NULL || calls == NULL || text == NULL) {
        return false;
    }
    struct chat_choice *over = &c->over[c->n_over];
    if (c->n_calls > 0) {
        memcpy(calls, c->calls, c->n_calls * sizeof *calls);
    }
    *over = (struct chat_choice){.text = {text, c->text.len},
                                 .finish_reason = chat_finish(c),
                                 .logprobs_json = c->logprobs_json,
                                 .calls = calls,
                                 .n_calls = c->n_calls};
    c->n_over++;
    c->n_calls = 0;
    c->complete = false;
    c->logprobs_json = NULL;
    fair_settle_choice(c->q, &c->seen);
    buf_reset(&c->text);
    /* others than the one before, the same next time */
    c->ask.ask->seed = (int64_t)((uint64_t)c->ask.ask->seed + (c->ask.ask->has_seed ? 1 : 0));
    if (c->ask.stream) {
        c->dialect->choice(c);
    }
    chat_generate(c);
    return true;
}

static void finish(struct request *q, const struct error *err)
{
    struct chat *c = q->op;
    if (err->code == STATUS_OK && c->complete && buf_status(&c->text) == STATUS_OK &&
        c->dialect->choice != NULL && c->n_over + 1 < c->ask.choices && next_choice(c)) {
        c->finished = false;
        return;
    }
    if (err->code == STATUS_OK && c->complete && buf_status(&c->text) == STATUS_OK) {
        q->serve->answers_total++;
        chat_record(c, outcome(c), conclude);
        return; /* conclude goes on */
    }
    c->failure = keep_error(c, err);
    c->complete = false;
    if (err->code == STATUS_OK) {
        fail(c, STATUS_INTERNAL, "the answer broke off");
    } else if (err->code == STATUS_UNAVAILABLE && !c->ask.plain && !c->first) {
        fail(c, STATUS_UNAVAILABLE,
             "What writes the answers (generate) is down. Search still works: POST /api/search.");
    }
    chat_record(c, "failed", conclude);
}

static void start(struct chat *c);

static void on_place(struct request *q)
{
    struct chat *c = q->op;
    if (clock_monotonic_ms() < c->again_ms) {
        jobs_watch(q, on_place);
    } else {
        start(c);
    }
}

/* A job waits for its place in a queue that is full, as for other limits that pass: nobody stands
 * there to try again. Until the job's time is over. */
static bool waits(struct chat *c, const struct error *err)
{
    bool nothing = !c->first || (c->n_over > 0 && c->text.len == 0 && c->n_calls == 0);
    if (c->q->job == NULL || err->code != STATUS_BUSY || !nothing || c->complete) {
        return false;
    }
    c->again_ms = clock_monotonic_ms() + (INT64_C(1000) << (c->tries < 5 ? c->tries : 5));
    c->tries++;
    jobs_watch(c->q, on_place);
    return true;
}

static void on_finished(struct request *q, const struct error *err)
{
    struct chat *c = q->op;
    c->rpc = NULL;
    if (waits(c, err)) {
        return;
    }
    c->finished = true;
    c->ended = keep_error(c, err);
    if (c->opened || !c->first) {
        finish(q, err);
    }
}

/* The stream must end before the answer does. Once it is whole, only its record is waited for. */
static void on_fail(struct http_request *http, const char *message)
{
    struct request *q = http->data;
    struct chat *c = q->op;
    struct error err;
    if (!c->complete && c->q != NULL) {
        api_cancel_calls(q);
        (void)error_set(&err, STATUS_UNAVAILABLE, "%s", message);
        on_finished(q, &err);
    }
}

static void start(struct chat *c)
{
    struct api_call how = {.on_reply = on_piece, .on_finish = on_finished};
    c->rpc = api_start(c->q, PEER_GENERATE, &ge_chat_method, 0, &c->ask.ask->base, &how);
}

void chat_generate(struct chat *c)
{
    struct request *q = c->q;
    Ge__ChatRequest *ask = c->ask.ask;
    size_t n = c->found->n_passages;
    audit_note_passages(q, c->found->passages, n);
    q->audit.search = c->search_json;
    ask->answer_id = c->id;
    ask->scope = pb_text(q->who->tenant);
    ask->passages = arena_array(&q->http->asked, n + 1, sizeof *ask->passages);
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
    c->room = fair_answer_room(q);
    c->max_tokens = ask->has_max_tokens ? ask->max_tokens : UINT32_MAX;
    ask->has_room_here = c->room.here < UINT32_MAX;
    ask->has_room_elsewhere = c->room.elsewhere < UINT32_MAX;
    ask->room_here = c->room.here;
    ask->room_elsewhere = c->room.elsewhere;
    q->on_gone = chat_gone;
    c->tries = 0;
    start(c);
}
