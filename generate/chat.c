/* A chat goes:
 *   on_request    checks and copies the request, decides the route, starts an engine
 *   on_text       marks become citations, text goes into `pending`
 *   flush         sends the first reply (route, engine, model) and pieces, as fast as serve takes
 * them; holds the engine while too much is pending on_finish     an upstream that failed before its
 * first word is replaced by quoted sentences, visibly flush         ... and the last reply
 * (citations, reason, note) The RPC call and the engine's job end independently; memory goes when
 * both have. */
#include "generate/chat.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/text/text.h"
#include "generate/chat_state.h"
#include "generate/extractive.h"

#define PENDING_MAX ((size_t)4 * 1024 * 1024)
#define PENDING_HIGH ((size_t)64 * 1024)
#define MESSAGES_MAX 256
#define CHATS_MAX 256
#define TOOLS_MAX 128
#define REQUEST_ARENA_MAX ((size_t)12 * 1024 * 1024)

static const struct engine_sink sink;

/* ---- the end
 * ------------------------------------------------------------------------------------- */

static void release_if_over(struct chat *c)
{
    if (c->call != NULL || c->job != NULL || c->flushing) {
        return;
    }
    struct generate *g = c->owner;
    list_remove(&c->link);
    buf_deinit(&c->pending);
    free(c->cite);
    arena_reset(&c->arena);
    free(c);
    generate_chat_over(g);
}

void chat_fail(struct chat *c, const struct error *err)
{
    if (c->call == NULL) {
        return;
    }
    c->owner->failed++;
    LOG_WARN("answer failed", LOG_STR("req", c->ask == NULL ? "" : c->ask->answer_id),
             LOG_STR("status", status_name(err->code)), LOG_STR("err", err->text), LOG_END);
    struct rpc_call *call = c->call;
    c->call = NULL;
    *rpc_call_data(call) = NULL;
    rpc_call_fail(call, err);
}

/* ---- sending
 * ------------------------------------------------------------------------------------- */

static bool makes_question(const struct chat *c)
{
    return c->ask->has_make_question && c->ask->make_question;
}

/* Brackets in it are JSON's, not marks; and quoted sentences would not keep to it. */
static bool has_form(const struct chat *c)
{
    return c->ask->json_schema != NULL || c->ask->grammar != NULL ||
           (c->ask->has_json_object && c->ask->json_object);
}

static bool offers_tools(const struct chat *c)
{
    return c->ask->n_tools > 0 &&
           (c->ask->tool_choice == NULL || strcmp(c->ask->tool_choice, "none") != 0);
}

/* Quoted sentences call nothing. */
static bool must_call(const struct chat *c)
{
    return offers_tools(c) && c->ask->tool_choice != NULL &&
           strcmp(c->ask->tool_choice, "required") == 0;
}

static bool is_plain(const struct chat *c)
{
    return c->ask->has_plain && c->ask->plain;
}

bool chat_rewrites(const struct chat *c)
{
    return makes_question(c) || (c->ask->has_standing_question && c->ask->standing_question);
}

/* Sends what it can. Room made lets the engine speak again, which may bring more text from inside
 * resume: hence the loop, and `flushing` for the inner call. */
static void flush(struct chat *c)
{
    if (c->flushing) {
        return;
    }
    c->flushing = true;
    bool again = true;
    while (again) {
        enum status s = chat_send_pending(c);
        again = false;
        if (c->held && c->job != NULL && c->pending.len < PENDING_HIGH / 2) {
            c->held = false;
            c->engine->ops->resume(c->job);
            again = s == STATUS_OK && c->call != NULL && c->pending.len > 0;
        }
    }
    c->flushing = false;
}

void chat_on_ready(struct rpc_call *call)
{
    struct chat *c = *rpc_call_data(call);
    if (c != NULL) {
        flush(c);
        if (c->call == NULL && c->job != NULL) {
            c->engine->ops->cancel(c->job); /* sending failed: nobody wants the rest */
        }
        release_if_over(c);
    }
}

/* ---- the engine speaks
 * --------------------------------------------------------------------------- */

static bool on_text(void *data, const char *p, size_t len)
{
    struct chat *c = data;
    if (c->call == NULL) {
        return true; /* nobody listens; finish is on its way */
    }
    c->any_text = true;
    if (c->engine->ops->cites) {
        buf_append(&c->pending, p, len);
    } else {
        cite_add(c->cite, p, len, &c->pending);
    }
    flush(c);
    c->held = c->call != NULL && c->pending.len - c->sent > PENDING_HIGH;
    return !c->held;
}

static bool is_offered(const struct chat *c, struct str name)
{
    for (size_t i = 0; i < c->ask->n_tools; i++) {
        if (str_eq(name, str_from(c->ask->tools[i]->name))) {
            return true;
        }
    }
    return false;
}

/* A document may tell a model to call something; clients run what they are told by its name. */
static bool on_call(void *data, const char *id, struct str name, struct str arguments)
{
    struct chat *c = data;
    char made[ID_CAP];
    if (!is_offered(c, name)) {
        c->stranger = true;
        return true;
    }
    Ge__ToolCall *call = c->n_calls < CALLS_MAX ? arena_alloc(&c->arena, sizeof *call) : NULL;
    if (c->call == NULL || call == NULL) {
        c->lost = true;
        return true;
    }
    id_new(made);
    ge__tool_call__init(call);
    call->id = id != NULL && id[0] != '\0' ? arena_strdup(&c->arena, id)
                                           : arena_printf(&c->arena, "call_%s", made);
    call->name = arena_strndup(&c->arena, name.ptr, name.len);
    call->arguments = arena_strndup(&c->arena, arguments.ptr, arguments.len);
    if (call->id == NULL || call->name == NULL || call->arguments == NULL) {
        c->lost = true;
        return true;
    }
    c->any_text = true;
    c->calls[c->n_calls++] = call;
    flush(c);
    return true;
}

static enum status start_engine(struct chat *c, struct engine *e, struct error *err)
{
    c->engine = e;
    c->before.cpu_us += c->spent.cpu_us;
    c->before.gpu_us += c->spent.gpu_us;
    c->before.prompt_tokens += c->spent.prompt_tokens;
    c->before.completion_tokens += c->spent.completion_tokens;
    c->before.guessed_prompt += c->spent.guessed_prompt;
    c->before.guessed_completion += c->spent.guessed_completion;
    c->spent = (struct engine_spent){0};
    return e->ops->start(e, c->ask, &sink, c, &c->job, err);
}

/* Quoted sentences instead of an engine that failed before its first word. Said in the note. What a
 * caller can mend (a wrong option) or wait out (a full queue) is an error. */
static bool fall_back(struct chat *c, const struct error *why)
{
    bool local = c->engine == c->owner->local;
    bool callers = local && (why->code == STATUS_BUSY || why->code == STATUS_DEADLINE ||
                             why->code == STATUS_INVALID || has_form(c) || offers_tools(c));
    if (c->engine == c->owner->extractive || callers || must_call(c) || is_plain(c) ||
        c->any_text || chat_rewrites(c) || why->code == STATUS_CANCELLED || c->owner->stopping) {
        return false;
    }
    struct error err = {0};
    cite_init(c->cite, (uint32_t)c->ask->n_passages);
    (void)snprintf(c->note, sizeof c->note, "quoted from the documents, because the %s failed: %s",
                   local ? "model" : "upstream", why->text);
    LOG_WARN("an engine failed, quoting instead", LOG_STR("engine", local ? "local" : "upstream"),
             LOG_STR("req", c->ask->answer_id), LOG_STR("err", why->text), LOG_END);
    c->owner->fallbacks++;
    return start_engine(c, c->owner->extractive, &err) == STATUS_OK;
}

static void take_result(struct chat *c, const struct engine_result *r)
{
    (void)snprintf(c->version, sizeof c->version, "%s", r->version == NULL ? "" : r->version);
    c->finish_reason = r->finish_reason;
    c->stop = r->stop;
    c->refused = r->refused;
    c->prompt_tokens = r->prompt_tokens;
    c->completion_tokens = r->completion_tokens;
    c->logprobs = r->logprobs;
    c->n_logprobs = r->n_logprobs;
    if (r->note != NULL && c->note[0] == '\0') {
        (void)snprintf(c->note, sizeof c->note, "%s", r->note);
    }
    if (c->stranger && c->note[0] == '\0') {
        (void)snprintf(c->note, sizeof c->note,
                       "The model called a function that was not offered: the call is left out.");
    }
    if (c->stranger && c->n_calls == 0) {
        c->finish_reason = "stop";
    }
    if (c->engine->ops->cites) {
        c->cite->n_citations =
            r->n_citations < CITE_CITATIONS_MAX ? r->n_citations : CITE_CITATIONS_MAX;
        if (c->cite->n_citations > 0) {
            memcpy(c->cite->citations, r->citations, c->cite->n_citations * sizeof *r->citations);
        }
    } else {
        cite_end(c->cite, &c->pending);
    }
    c->complete = true;
}

static void on_finish(void *data, const struct engine_result *r)
{
    struct chat *c = data;
    c->job = NULL;
    if (c->call != NULL && r->error.code != STATUS_OK) {
        if (!fall_back(c, &r->error)) {
            chat_fail(c, &r->error);
        }
    } else if (c->call != NULL) {
        take_result(c, r);
        enum status s = c->lost ? STATUS_TOO_LARGE : buf_status(&c->pending);
        if (s != STATUS_OK) {
            struct error err = {0};
            error_set(&err, s, "the answer: %s", status_text(s));
            chat_fail(c, &err);
        } else {
            flush(c);
        }
    }
    release_if_over(c);
}

static void on_given(void *data, size_t n_passages)
{
    struct chat *c = data;
    c->cite->n_passages =
        n_passages < c->cite->n_passages ? (uint32_t)n_passages : c->cite->n_passages;
}

static void on_spent(void *data, const struct engine_spent *spent)
{
    struct chat *c = data;
    c->spent = *spent;
}

/* Where it goes is told first: whoever leaves before the first word has sent it all the same. */
static void on_leaves(void *data, const struct prompt_masks *masks)
{
    struct chat *c = data;
    c->left = true;
    c->masks = *masks;
    chat_send_route(c);
}

static struct arena *room_of(void *data)
{
    struct chat *c = data;
    return &c->arena;
}

static const struct engine_sink sink = {.text = on_text,
                                        .call = on_call,
                                        .finish = on_finish,
                                        .given = on_given,
                                        .spent = on_spent,
                                        .leaves = on_leaves,
                                        .room = room_of};

void chat_on_cancel(struct rpc_call *call)
{
    struct chat *c = *rpc_call_data(call);
    if (c == NULL) {
        return;
    }
    *rpc_call_data(call) = NULL;
    c->call = NULL;
    rpc_call_finish(call, STATUS_CANCELLED, NULL);
    if (c->job != NULL) {
        c->engine->ops->cancel(c->job);
    }
    release_if_over(c);
}

void chat_stop_all(struct generate *g)
{
    list_for_each_safe(it, &g->chats)
    {
        struct chat *c = list_entry(it, struct chat, link);
        struct error err = {0};
        error_set(&err, STATUS_UNAVAILABLE, "generate is stopping");
        chat_fail(c, &err);
        if (c->job != NULL) {
            c->engine->ops->cancel(c->job);
        }
        release_if_over(c);
    }
}

/* ---- the request
 * --------------------------------------------------------------------------------- */

static enum status check(const Ge__ChatRequest *ask, enum route_engine *engine, struct error *err)
{
    if (ask->n_messages > MESSAGES_MAX || ask->n_passages > EXTRACTIVE_PASSAGES_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "%zu messages and %zu passages; at most %d and %d",
                         ask->n_messages, ask->n_passages, MESSAGES_MAX, EXTRACTIVE_PASSAGES_MAX);
    }
    if (prompt_question(ask) == NULL) {
        return error_set(err, STATUS_INVALID,
                         "there is no question: the last user message is empty");
    }
    if (!route_engine_parse(ask->engine, engine)) {
        return error_set(err, STATUS_INVALID,
                         "there is no engine of that name; extractive, local, upstream or none");
    }
    if (ask->n_tools > TOOLS_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "tools: %zu; at most %d", ask->n_tools, TOOLS_MAX);
    }
    if (ask->has_make_question && ask->make_question && ask->n_passages != 1) {
        return error_set(err, STATUS_INVALID, "a question is made about one passage");
    }
    for (size_t i = 0; i < ask->n_passages; i++) {
        struct str text = {.ptr = (const char *)ask->passages[i]->text.data,
                           .len = ask->passages[i]->text.len};
        if (!text_utf8_valid(text)) {
            return error_set(err, STATUS_INVALID, "passage %zu is not valid UTF-8", i + 1);
        }
    }
    return STATUS_OK;
}

/* The message is ours only until on_request returns, so it is packed and unpacked into the arena.
 * What a model computes is shared within the call's tenant at most, whatever the message calls its
 * scope. */
static const Ge__ChatRequest *copy_request(struct arena *a, const Ge__ChatRequest *ask,
                                           const char *tenant)
{
    size_t len = ge__chat_request__get_packed_size(ask);
    uint8_t *packed = arena_alloc(a, len + 1);
    if (packed == NULL) {
        return NULL;
    }
    ProtobufCAllocator allocator;
    arena_protobuf(a, &allocator);
    Ge__ChatRequest *copy =
        ge__chat_request__unpack(&allocator, ge__chat_request__pack(ask, packed), packed);
    if (copy != NULL && copy->scope != NULL && strcmp(copy->scope, tenant) != 0) {
        copy->scope = NULL;
    }
    return copy;
}

static enum status decide(struct chat *c, enum route_engine wanted, struct error *err)
{
    const struct settings *s = c->owner->svc->settings;
    const char **labels = arena_array(&c->arena, c->ask->n_passages + 1, sizeof *labels);
    struct route_policy policy = {.destination = "",
                                  .may_receive = s->generate.upstream.may_receive.items,
                                  .n_may_receive = s->generate.upstream.may_receive.n};
    if (labels == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < c->ask->n_passages; i++) {
        labels[i] = c->ask->passages[i]->label;
    }
    if (!route_engine_parse(s->generate.engine, &policy.engine)) {
        policy.engine =
            ROUTE_ENGINE_EXTRACTIVE; /* the schema lets no other in; stay here if it does */
    }
    if (c->owner->upstream != NULL) {
        policy.destination = upstream_engine_destination(c->owner->upstream);
        policy.unready = upstream_engine_unready(c->owner->upstream);
    }
    struct engine_description model = {.ready = false};
    if (c->owner->local != NULL) {
        c->owner->local->ops->describe(c->owner->local, &model);
        policy.model = true;
        policy.model_unready = model.ready ? NULL : model.detail;
    }
    struct route_request request = {.engine = is_plain(c) ? ROUTE_ENGINE_LOCAL : wanted,
                                    .labels = labels,
                                    .n_passages = c->ask->n_passages,
                                    .model_alone = offers_tools(c) || is_plain(c)};
    route_decide(&request, &policy, &c->route);
    if (c->route.held_back) {
        (void)snprintf(c->note, sizeof c->note, "%s: %s",
                       c->route.model ? "answered on this machine" : "quoted from the documents",
                       c->route.reason);
    }
    return STATUS_OK;
}

/* Nothing went wrong: the asker searches without. */
static void refuse_rewrite(struct chat *c, const struct error *err)
{
    struct rpc_call *call = c->call;
    c->call = NULL;
    *rpc_call_data(call) = NULL;
    rpc_call_fail(call, err);
    release_if_over(c);
}

static void answer(struct chat *c)
{
    struct generate *g = c->owner;
    struct error err = {0};
    if (chat_rewrites(c) && !c->route.model &&
        (c->route.verdict != ROUTE_EXTERNAL || makes_question(c))) {
        error_set(&err, STATUS_UNAVAILABLE, "no language model may have the questions: %s",
                  c->route.reason);
        refuse_rewrite(c, &err);
        return;
    }
    g->held_back += c->route.held_back;
    if ((is_plain(c) || (must_call(c) && c->route.verdict != ROUTE_EXTERNAL)) && !c->route.model) {
        error_set(&err, is_plain(c) || c->route.held_back ? STATUS_UNAVAILABLE : STATUS_UNSUPPORTED,
                  "%s: %s",
                  is_plain(c) ? "no model answers" : "tool_choice: nobody can call a tool",
                  c->route.reason);
        chat_fail(c, &err);
        release_if_over(c);
        return;
    }
    if (c->route.verdict == ROUTE_REFUSE) {
        c->refused = true;
        c->finish_reason = "refused";
        (void)snprintf(c->note, sizeof c->note, "%s", c->route.reason);
        c->complete = true;
        flush(c);
        release_if_over(c);
        return;
    }
    if (has_form(c) && !c->route.model) {
        error_set(&err, STATUS_UNSUPPORTED,
                  "response_format: only a model of this machine keeps to a form: %s",
                  c->route.held_back || c->route.verdict == ROUTE_EXTERNAL ? c->route.reason
                                                                           : "none answers here");
        chat_fail(c, &err);
        release_if_over(c);
        return;
    }
    bool external = c->route.verdict == ROUTE_EXTERNAL;
    g->external += external;
    struct engine *here = c->route.model ? g->local : g->extractive;
    g->modelled += !external && c->route.model && !chat_rewrites(c);
    enum status s = start_engine(c, external ? g->upstream : here, &err);
    if (s != STATUS_OK && !fall_back(c, &err)) {
        chat_fail(c, &err);
        release_if_over(c);
    }
}

void chat_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct generate *g = service_state(call);
    const Ge__ChatRequest *ask = ge_chat_request(m);
    enum route_engine wanted = ROUTE_ENGINE_AUTO;
    struct error err = {0};
    if (ask == NULL || g->stopping) {
        rpc_call_finish(call, ask == NULL ? STATUS_INVALID : STATUS_UNAVAILABLE, NULL);
        return;
    }
    if (g->n_calls >= CHATS_MAX) {
        error_set(&err, STATUS_BUSY, "%d answers are being written: try again shortly", CHATS_MAX);
    }
    struct chat *c = err.code != STATUS_OK || check(ask, &wanted, &err) != STATUS_OK
                         ? NULL
                         : calloc(1, sizeof *c);
    if (c == NULL) {
        if (err.code == STATUS_OK) {
            error_set(&err, STATUS_NO_MEMORY, "out of memory");
        }
        rpc_call_fail(call, &err);
        return;
    }
    c->owner = g;
    c->call = call;
    *rpc_call_data(call) = c;
    arena_init(&c->arena, REQUEST_ARENA_MAX);
    buf_init(&c->pending, PENDING_MAX);
    list_push(&g->chats, &c->link);
    g->n_calls++;
    c->cite = calloc(1, sizeof *c->cite);
    c->ask = copy_request(&c->arena, ask, rpc_call_tenant(call));
    if (c->cite == NULL || c->ask == NULL) {
        error_set(&err, STATUS_NO_MEMORY, "out of memory for the request");
    }
    if (err.code != STATUS_OK || decide(c, wanted, &err) != STATUS_OK) {
        chat_fail(c, &err);
        release_if_over(c);
        return;
    }
    cite_init(c->cite, has_form(c) ? 0 : (uint32_t)c->ask->n_passages);
    answer(c);
}
