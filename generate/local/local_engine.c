/* The local engine. A job goes: prompt, template and token ids on the lane -> the runner's batch ->
 * text as it comes -> finish. The runner tells of news through one async handle. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lane.h"
#include "generate/engine.h"
#include "generate/local/conversation.h"
#include "generate/local/runner.h"
#include "model/tool_reader.h"

#define PREPARED_AT_ONCE 2
#define PREPARED_QUEUED 128
#define ANSWER_TOKENS 1024U /* where the caller says nothing */
#define ANSWER_LEAST 16U
#define PENALTY_WINDOW 256U
#define LOGPROBS_MOST 24000U /* of an answer, likelier ones counted: what a reply holds */
#define BIASES_MAX 300U      /* as many as the API of OpenAI takes */

struct local_engine {
    struct engine engine;
    const struct settings *settings;
    struct runner *runner;
    struct lane lane;
    uv_async_t async;
    struct list jobs;            /* with the runner */
    struct runner_status status; /* as of the last describe; its strings are shown */
    void (*closed)(void *data);
    void *closed_data;
};

struct engine_job {
    struct list link;
    struct local_engine *owner;
    const struct engine_sink *sink;
    void *data;
    const Ge__ChatRequest *ask;
    struct runner_task task;
    struct str stops[STOP_STRINGS_MAX];
    struct logit_bias biases[BIASES_MAX];
    struct error error;
    struct grammar *grammar, *call_grammar;
    struct tool_reader reader; /* of an answer that may call functions */
    struct tool_sink tool_sink;
    struct str names[TEMPLATE_TOOLS_MAX];
    size_t n_passages;     /* in the prompt */
    size_t turns_left_out; /* the oldest, of a long conversation */
    bool cancelled, held;
    bool reads; /* through the reader */
    bool full;  /* it has called as often as it may: the rest does not count */
    char note[96];
};

/* ---- the prompt (on the lane) ---- */

/* With the first n passages, without the `skip` oldest turns. */
static enum status encode(struct engine_job *j, size_t n, size_t skip, struct error *err)
{
    struct runner *r = j->owner->runner;
    struct conversation_model m = {.name = j->owner->settings->generate.model,
                                   .family = runner_template(r),
                                   .tools = runner_tools(r),
                                   .tokenizer = runner_tokenizer(r)};
    if (m.tokenizer == NULL) {
        return error_set(err, STATUS_UNAVAILABLE, "the model is not ready");
    }
    token_list_deinit(&j->task.prompt);
    token_list_init(&j->task.prompt, TOKENIZER_TEXT_MAX);
    return conversation_encode(j->ask, n, skip, &m, &j->task.prompt, err);
}

/* What does not fit is left out from the end, where the passages that matter least stand. */
static enum status fit_passages(struct engine_job *j, uint32_t room, struct error *err)
{
    size_t n = j->ask->n_passages;
    enum status s = encode(j, n, 0, err);
    while (s == STATUS_OK && n > 1 && j->task.prompt.n > room) {
        size_t share = n * room / j->task.prompt.n;
        n = share >= n ? n - 1 : share < 1 ? 1 : share;
        s = encode(j, n, 0, err);
    }
    j->n_passages = n;
    return s;
}

/* Where the settings say so, the oldest turns are left out: the fewest that do. */
static enum status fit_turns(struct engine_job *j, uint32_t room, struct error *err)
{
    size_t low = 1, high = conversation_turns(j->ask), n = j->n_passages;
    enum status s = high == 0 ? STATUS_OK : encode(j, n, high, err);
    if (s != STATUS_OK || high == 0 || j->task.prompt.n > room) {
        return s;
    }
    while (s == STATUS_OK && low < high) {
        size_t middle = (low + high) / 2;
        s = encode(j, n, middle, err);
        low = j->task.prompt.n > room ? middle + 1 : low;
        high = j->task.prompt.n > room ? high : middle;
    }
    j->turns_left_out = high;
    return s == STATUS_OK ? encode(j, n, high, err) : s;
}

static enum status too_long(const struct engine_job *j, uint32_t context, uint32_t answer,
                            struct error *err)
{
    return error_set(err, STATUS_TOO_LARGE,
                     "%s %zu tokens, and an answer needs %u: the model's context is %u "
                     "(generate.context)",
                     j->ask->n_passages > 0 ? "the question with one passage has"
                                            : "the conversation has",
                     j->task.prompt.n, answer, context);
}

static enum status fit(struct engine_job *j, struct error *err)
{
    uint32_t context = runner_context(j->owner->runner);
    uint32_t wanted =
        j->ask->has_max_tokens && j->ask->max_tokens > 0 ? j->ask->max_tokens : ANSWER_TOKENS;
    if (j->ask->has_room_here && j->ask->room_here < wanted) {
        wanted = j->ask->room_here > 0 ? j->ask->room_here : 1;
    }
    uint32_t answer = wanted < context / 4 ? wanted : context / 4;
    answer = answer < ANSWER_LEAST && wanted >= ANSWER_LEAST ? ANSWER_LEAST : answer;
    uint32_t room = context > answer ? context - answer : 0;
    bool shorten = (j->ask->has_shorten && j->ask->shorten) ||
                   strcmp(j->owner->settings->generate.long_conversation, "shorten") == 0;
    enum status s = fit_passages(j, room, err);
    if (s == STATUS_OK && j->task.prompt.n > room && shorten) {
        s = fit_turns(j, room, err);
    }
    if (s == STATUS_OK && j->task.prompt.n > room) {
        s = too_long(j, context, answer, err);
    }
    if (s == STATUS_OK) {
        uint32_t left = context - (uint32_t)j->task.prompt.n;
        j->task.max_tokens = wanted < left ? wanted : left;
        if (j->task.logprobs && j->task.max_tokens > LOGPROBS_MOST / (j->task.n_top + 1)) {
            return error_set(err, STATUS_INVALID,
                             "logprobs: at most %u in one answer; lower max_tokens or top_logprobs",
                             LOGPROBS_MOST);
        }
    }
    return s;
}

static void init_reader(struct engine_job *j);

static void prepare(void *job)
{
    struct engine_job *j = job;
    enum status s = fit(j, &j->error); /* first: it names a model that knows no tools */
    s = s != STATUS_OK ? s
                       : conversation_form(j->ask, runner_tools(j->owner->runner), &j->grammar,
                                           &j->call_grammar, &j->error);
    j->task.grammar = j->grammar;
    j->task.call_grammar = j->call_grammar;
    init_reader(j);
    (void)s; /* j->error carries it to the loop thread */
}

/* ---- with the runner ---- */

static Ge__TokenLogprob *make_logprob(const struct engine_job *j, struct arena *a, uint32_t token,
                                      float logprob)
{
    struct buf bytes;
    Ge__TokenLogprob *p = arena_alloc(a, sizeof *p);
    buf_init(&bytes, 4096);
    tokenizer_piece(runner_tokenizer(j->owner->runner), token, false, TOKENIZER_SPECIALS, &bytes);
    char *copy = arena_strndup(a, bytes.ptr == NULL ? "" : bytes.ptr, bytes.len);
    if (p != NULL && copy != NULL) {
        ge__token_logprob__init(p);
        p->token = (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)copy};
        p->logprob = logprob;
    }
    buf_deinit(&bytes);
    return copy == NULL ? NULL : p;
}

/* As many as there is room for. */
static void give_logprobs(const struct engine_job *j, struct engine_result *result)
{
    struct arena *a = j->task.n_probs > 0 ? j->sink->room(j->data) : NULL;
    size_t top = j->task.n_top;
    result->logprobs = a == NULL || runner_tokenizer(j->owner->runner) == NULL
                           ? NULL
                           : arena_array(a, j->task.n_probs, sizeof *result->logprobs);
    for (size_t i = 0; result->logprobs != NULL && i < j->task.n_probs; i++) {
        const struct runner_logprob *from = &j->task.probs[i];
        Ge__TokenLogprob *p = make_logprob(j, a, from->token, from->logprob);
        Ge__TokenLogprob **list = p == NULL ? NULL : arena_array(a, top + 1, sizeof *list);
        if (list == NULL) {
            return;
        }
        p->top = list;
        while (p->n_top < top && from->top[p->n_top].token != UINT32_MAX) {
            const struct token_logprob *t = &from->top[p->n_top];
            list[p->n_top] = make_logprob(j, a, t->token, t->logprob);
            if (list[p->n_top] == NULL) {
                return;
            }
            p->n_top++;
        }
        result->logprobs[result->n_logprobs++] = p;
    }
}

/* ---- calls ---- */

static void on_text(void *data, struct str s)
{
    struct engine_job *j = data;
    bool half_call = conversation_forces(j->ask) || j->full;
    if (!half_call && s.len > 0 && !j->sink->text(j->data, s.ptr, s.len)) {
        j->held = true;
    }
}

static void on_call(void *data, struct str name, struct str arguments)
{
    struct engine_job *j = data;
    if (j->full) {
        return;
    }
    if (!j->sink->call(j->data, NULL, name, arguments)) {
        j->held = true;
    }
    if (j->ask->has_one_call && j->ask->one_call) {
        j->full = true;
        runner_cancel(j->owner->runner, &j->task);
    }
}

static void init_reader(struct engine_job *j)
{
    const Ge__ChatRequest *ask = j->ask;
    j->reads = conversation_offers(ask);
    for (size_t i = 0; i < ask->n_tools && i < TEMPLATE_TOOLS_MAX; i++) {
        j->names[i] = str_from(ask->tools[i]->name);
    }
    j->tool_sink = (struct tool_sink){.text = on_text, .call = on_call, .data = j};
    enum template_tools form = runner_tools(j->owner->runner);
    size_t n = ask->n_tools < TEMPLATE_TOOLS_MAX ? ask->n_tools : TEMPLATE_TOOLS_MAX;
    tool_reader_init(&j->reader, form, j->names, n, &j->tool_sink);
    j->task.shown = j->reads ? form : TOOLS_NONE;
    if (conversation_forces(ask)) {
        tool_reader_opened(&j->reader, ask->tool_name == NULL ? STR("") : str_from(ask->tool_name));
    }
}

/* What the model wrote since. */
static void read_on(struct engine_job *j, struct str text, bool done)
{
    struct error *err = &j->error;
    if (!j->reads) {
        on_text(j, text);
        return;
    }
    tool_reader_add(&j->reader, text);
    if (done && !j->full && tool_reader_end(&j->reader, err) == STATUS_OK && j->reader.refused &&
        j->note[0] == '\0') {
        (void)snprintf(j->note, sizeof j->note, "%s",
                       conversation_forces(j->ask)
                           ? "the call of a function was cut off"
                           : "what began as a call of a function was none and is shown as text");
    }
}

static void free_job(struct engine_job *j)
{
    tool_reader_deinit(&j->reader);
    free(j->task.probs);
    grammar_free(j->grammar);
    grammar_free(j->call_grammar);
    list_remove(&j->link);
    token_list_deinit(&j->task.prompt);
    buf_deinit(&j->task.text);
    free(j);
}

static void end(struct engine_job *j)
{
    struct engine_result result = {.error = j->error,
                                   .finish_reason = j->reader.calls > 0 ? "tool_calls"
                                                    : j->task.finish_reason == NULL
                                                        ? "stop"
                                                        : j->task.finish_reason,
                                   .stop = j->task.stopped == NULL ? NULL : j->task.stopped->ptr,
                                   .note = j->note[0] == '\0' ? NULL : j->note,
                                   .prompt_tokens = (uint32_t)j->task.prompt.n,
                                   .completion_tokens = j->task.completion_tokens};
    if (j->error.code == STATUS_OK && !j->cancelled) {
        give_logprobs(j, &result);
    }
    j->sink->finish(j->data, &result);
    free_job(j);
}

static void tell_spent(const struct engine_job *j)
{
    struct runner_spent now;
    if (j->sink->spent != NULL) {
        runner_spent(j->owner->runner, &j->task, &now);
        struct engine_spent spent = {.prompt_tokens = now.read_tokens,
                                     .completion_tokens = now.completion_tokens,
                                     .cpu_us = now.cpu_us,
                                     .gpu_us = now.gpu_us};
        j->sink->spent(j->data, &spent);
    }
}

static void take(struct engine_job *j)
{
    struct buf text;
    buf_init(&text, RUNNER_TEXT_MAX);
    bool done = runner_take(j->owner->runner, &j->task, &text);
    tell_spent(j);
    if (done) {
        j->error = j->full ? (struct error){0} : j->task.error;
    }
    if (!j->cancelled) {
        read_on(j, buf_view(&text), done && j->error.code == STATUS_OK);
    }
    enum status s = buf_status(&text);
    buf_deinit(&text);
    if (done) {
        if (s != STATUS_OK && j->error.code == STATUS_OK) {
            (void)error_set(&j->error, s, "the answer: %s", status_text(s));
        }
        if (j->cancelled && j->error.code == STATUS_OK) {
            (void)error_set(&j->error, STATUS_CANCELLED, "the caller went away");
        }
        end(j);
    }
}

static void on_handle_closed(uv_handle_t *h)
{
    struct local_engine *e = container_of(h, struct local_engine, async);
    void (*closed)(void *) = e->closed;
    void *data = e->closed_data;
    runner_free(e->runner);
    free(e);
    closed(data);
}

static void on_news(uv_async_t *h)
{
    struct local_engine *e = container_of(h, struct local_engine, async);
    struct runner_status now;
    list_for_each_safe(it, &e->jobs)
    {
        struct engine_job *j = list_entry(it, struct engine_job, link);
        if (!j->held) {
            take(j);
        }
    }
    runner_status(e->runner, &now);
    if (now.state == RUNNER_OVER && e->closed != NULL && !uv_is_closing((uv_handle_t *)h)) {
        uv_close((uv_handle_t *)h, on_handle_closed);
    }
}

static void notify(void *data) /* on the model's thread */
{
    struct local_engine *e = data;
    (void)uv_async_send(&e->async);
}

/* ---- the engine ---- */

static void prepared(void *job)
{
    struct engine_job *j = job;
    if (j->cancelled) {
        (void)error_set(&j->error, STATUS_CANCELLED, "the caller went away");
    }
    if (j->error.code == STATUS_OK && j->turns_left_out > 0) {
        (void)snprintf(j->note, sizeof j->note,
                       "the oldest %zu turns were left out: the model's context is %u tokens",
                       j->turns_left_out, runner_context(j->owner->runner));
    }
    if (j->error.code == STATUS_OK && j->n_passages < j->ask->n_passages) {
        (void)snprintf(j->note, sizeof j->note,
                       "only %zu of %zu passages fit into the model's context", j->n_passages,
                       j->ask->n_passages);
        j->sink->given(j->data, j->n_passages);
    }
    if (j->error.code != STATUS_OK ||
        runner_submit(j->owner->runner, &j->task, &j->error) != STATUS_OK) {
        end(j);
        return;
    }
    list_push(&j->owner->jobs, &j->link);
}

static enum status take_options(struct engine_job *j, struct error *err)
{
    const Ge__ChatRequest *ask = j->ask;
    j->task.sampling = (struct sampler_options){
        .temperature = ask->has_temperature ? ask->temperature : 0,
        .top_k = ask->has_top_k ? ask->top_k : 0,
        .top_p = ask->has_top_p ? ask->top_p : 1,
        .min_p = ask->has_min_p ? ask->min_p : 0,
        .repetition_penalty = ask->has_repetition_penalty ? ask->repetition_penalty : 1,
        .presence_penalty = ask->has_presence_penalty ? ask->presence_penalty : 0,
        .frequency_penalty = ask->has_frequency_penalty ? ask->frequency_penalty : 0,
        .window = PENALTY_WINDOW,
        .seed = ask->has_seed ? (uint64_t)ask->seed : 0,
        .biases = j->biases};
    if (ask->n_stop > STOP_STRINGS_MAX || ask->n_logit_bias > BIASES_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "at most %u stop strings and %u biased tokens",
                         STOP_STRINGS_MAX, BIASES_MAX);
    }
    for (size_t i = 0; i < ask->n_stop; i++) {
        j->stops[i] = str_from(ask->stop[i]);
    }
    for (size_t i = 0; i < ask->n_logit_bias; i++) {
        j->biases[i] = (struct logit_bias){ask->logit_bias[i]->token, ask->logit_bias[i]->bias};
    }
    j->task.logprobs = ask->has_logprobs && ask->logprobs;
    j->task.n_top = ask->has_top_logprobs ? ask->top_logprobs : 0;
    if (j->task.n_top > SAMPLER_LOGPROBS_MAX) {
        return error_set(err, STATUS_INVALID, "top_logprobs must be from 0 to %u",
                         SAMPLER_LOGPROBS_MAX);
    }
    j->task.sampling.n_biases = ask->n_logit_bias;
    j->task.stops = j->stops;
    j->task.n_stops = ask->n_stop;
    (void)snprintf(j->task.scope, sizeof j->task.scope, "%s",
                   ask->scope == NULL || strlen(ask->scope) >= SCOPE_CAP ? "" : ask->scope);
    return STATUS_OK;
}

static enum status start(struct engine *engine, const Ge__ChatRequest *ask,
                         const struct engine_sink *sink, void *data, struct engine_job **out,
                         struct error *err)
{
    struct local_engine *e = container_of(engine, struct local_engine, engine);
    if (runner_tokenizer(e->runner) == NULL) {
        return error_set(err, STATUS_UNAVAILABLE, "the model is not ready");
    }
    struct engine_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    list_init(&j->link);
    j->owner = e;
    j->sink = sink;
    j->data = data;
    j->ask = ask;
    j->task.deadline_ms = clock_monotonic_ms() + e->settings->generate.answer_timeout_ms;
    list_init(&j->task.link);
    buf_init(&j->task.text, 0);
    enum status s = take_options(j, err);
    s = s != STATUS_OK ? s : lane_submit(&e->lane, prepare, prepared, j, err);
    if (s != STATUS_OK) {
        free_job(j);
        return s;
    }
    *out = j;
    return STATUS_OK;
}

static void resume(struct engine_job *j)
{
    if (j->held) {
        j->held = false;
        (void)uv_async_send(&j->owner->async); /* not from inside here: the sink may be at work */
    }
}

static void cancel(struct engine_job *j)
{
    j->cancelled = true;
    j->held = false;
    if (!list_empty(&j->link)) {
        runner_cancel(j->owner->runner, &j->task);
        (void)uv_async_send(&j->owner->async); /* a job that was held may be over already */
    }
}

static void describe(const struct engine *engine, struct engine_description *out)
{
    struct local_engine *e =
        container_of((struct engine *)(uintptr_t)engine, struct local_engine, engine);
    runner_status(e->runner, &e->status);
    *out = (struct engine_description){.name = "local",
                                       .model = e->status.model,
                                       .sha256 = e->status.sha256,
                                       .ready = e->status.state == RUNNER_READY,
                                       .detail = e->status.detail};
}

void local_engine_metrics(const struct engine *engine, struct buf *out)
{
    struct local_engine *e =
        container_of((struct engine *)(uintptr_t)engine, struct local_engine, engine);
    struct runner_status s;
    runner_status(e->runner, &s);
    const struct {
        const char *name, *type;
        uint64_t value;
    } rows[] = {{"ready", "gauge", s.state == RUNNER_READY},
                {"active", "gauge", s.active},
                {"waiting", "gauge", s.waiting},
                {"pages", "gauge", s.pages},
                {"pages_free", "gauge", s.pages_free},
                {"pages_kept", "gauge", s.pages_kept},
                {"tokens_read_total", "counter", s.tokens_read},
                {"tokens_written_total", "counter", s.tokens_written},
                {"tokens_shared_total", "counter", s.tokens_shared},
                {"passes_total", "counter", s.passes}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_printf(out, "# TYPE carrel_generate_model_%s %s\ncarrel_generate_model_%s %llu\n",
                   rows[i].name, rows[i].type, rows[i].name, (unsigned long long)rows[i].value);
    }
}

static void close_engine(struct engine *engine, void (*closed)(void *data), void *data)
{
    struct local_engine *e = container_of(engine, struct local_engine, engine);
    e->closed = closed;
    e->closed_data = data;
    runner_stop(e->runner); /* the thread's last notify closes the handle */
}

static const struct engine_ops ops = {.describe = describe,
                                      .start = start,
                                      .resume = resume,
                                      .cancel = cancel,
                                      .close = close_engine};

enum status local_engine_new(uv_loop_t *loop, const char *home, const struct settings *settings,
                             struct engine **out, struct error *err)
{
    struct local_engine *e = calloc(1, sizeof *e);
    if (e == NULL || uv_async_init(loop, &e->async, on_news) != 0) {
        free(e);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    e->engine.ops = &ops;
    e->settings = settings;
    list_init(&e->jobs);
    lane_init(&e->lane, loop, PREPARED_AT_ONCE, PREPARED_QUEUED);
    enum tensor_type kv_type = TENSOR_F16;
    (void)kv_type_parse(settings->generate.kv_type, &kv_type); /* the schema knows no other */
    enum backend_device device = BACKEND_AUTO;
    (void)backend_device_parse(settings->generate.device, &device);
    int64_t layers = settings->generate.gpu_layers;
    struct runner_config c = {.home = home,
                              .model = settings->generate.model,
                              .chat_template = settings->generate.chat_template,
                              .context = (uint32_t)settings->generate.context,
                              .kv_type = kv_type,
                              .device = device,
                              .gpu_layers = layers < 0 ? BACKEND_LAYERS_FIT : (uint32_t)layers,
                              .users = (uint32_t)settings->generate.users,
                              .threads = (uint32_t)settings->generate.threads,
                              .queue = (uint32_t)settings->generate.queue,
                              .notify = notify,
                              .data = e};
    enum status s = runner_new(&c, &e->runner, err);
    if (s != STATUS_OK) {
        uv_close((uv_handle_t *)&e->async, (uv_close_cb)NULL);
        return s; /* the service does not start, and the process ends */
    }
    *out = &e->engine;
    return STATUS_OK;
}
