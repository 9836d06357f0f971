/* The replies of a chat: the first with the route, pieces of text, calls, and the last. */
#include "generate/chat_state.h"

#define PIECE_MAX ((size_t)8 * 1024)
#define MASKS_MAX 3 /* kinds */

/* What a first reply points at. */
struct first {
    Ge__Route route;
    Ge__Mask masks[MASKS_MAX];
    Ge__Mask *list[MASKS_MAX];
};

static void set_route(struct chat *c, Ge__ChatReply *reply, Ge__Route *route)
{
    ge__route__init(route);
    /* protobuf-c's strings are not const, but packing only reads them */
    route->verdict = (char *)(uintptr_t)route_verdict_name(c->route.verdict);
    route->reason = c->route.reason;
    route->strictest_label = (char *)(uintptr_t)c->route.strictest_label;
    route->destination = (char *)(uintptr_t)c->route.destination;
    route->rule = (char *)(uintptr_t)c->route.rule;
    reply->route = route;
}

static void set_masks(const struct chat *c, Ge__ChatReply *reply, struct first *f)
{
    const struct {
        const char *kind;
        uint32_t count;
    } kinds[MASKS_MAX] = {{"earlier-answers", c->masks.earlier_answers},
                          {"earlier-questions", c->masks.earlier_questions},
                          {"marks", c->masks.marks}};
    reply->masks = f->list;
    reply->has_left = reply->left = c->left;
    for (size_t i = 0; i < MASKS_MAX && c->left; i++) {
        if (kinds[i].count > 0) {
            Ge__Mask *m = f->list[reply->n_masks] = &f->masks[reply->n_masks];
            reply->n_masks++;
            ge__mask__init(m);
            m->kind = (char *)(uintptr_t)kinds[i].kind;
            m->count = kinds[i].count;
        }
    }
}

static void set_first(struct chat *c, Ge__ChatReply *reply, struct first *f)
{
    struct engine_description d = {.name = "none", .model = ""};
    if (c->engine != NULL) {
        c->engine->ops->describe(c->engine, &d);
    }
    set_route(c, reply, &f->route);
    set_masks(c, reply, f);
    reply->engine = (char *)(uintptr_t)d.name;
    reply->model = (char *)(uintptr_t)d.model;
    reply->model_sha256 =
        d.sha256 == NULL || d.sha256[0] == '\0' ? NULL : (char *)(uintptr_t)d.sha256;
}

/* In every reply: a caller that leaves knows what was spent for it until then. */
static void set_spent(struct chat *c, Ge__ChatReply *reply)
{
    uint32_t read = c->before.guessed_prompt + c->spent.guessed_prompt;
    uint32_t written = c->before.guessed_completion + c->spent.guessed_completion;
    if (read > 0 || written > 0) {
        ge__elsewhere__init(&c->elsewhere);
        c->elsewhere.model = (char *)(uintptr_t)c->owner->svc->settings->generate.upstream.model;
        c->elsewhere.tokens_read = read;
        c->elsewhere.tokens_written = written;
        reply->elsewhere = &c->elsewhere;
    }
    reply->has_cpu_us = reply->has_gpu_us = reply->has_tokens_read = reply->has_tokens_written =
        true;
    reply->cpu_us = (uint64_t)(c->before.cpu_us + c->spent.cpu_us);
    reply->gpu_us = (uint64_t)(c->before.gpu_us + c->spent.gpu_us);
    reply->tokens_read = c->before.prompt_tokens + c->spent.prompt_tokens;
    reply->tokens_written = c->before.completion_tokens + c->spent.completion_tokens;
}

void chat_send_route(struct chat *c)
{
    Ge__ChatReply reply = GE__CHAT_REPLY__INIT;
    struct first first;
    set_route(c, &reply, &first.route);
    set_masks(c, &reply, &first);
    set_spent(c, &reply);
    (void)ge_chat_respond(c->call, &reply);
}

static enum status send_text(struct chat *c)
{
    size_t len = c->pending.len - c->sent;
    if (len > PIECE_MAX) {
        len = PIECE_MAX;
        while (len > 0 && ((unsigned char)c->pending.ptr[c->sent + len] & 0xc0) == 0x80) {
            len--; /* never through a character */
        }
    }
    char *end = c->pending.ptr + c->sent + len, kept = *end;
    Ge__ChatReply reply = GE__CHAT_REPLY__INIT;
    struct first first;
    if (!c->first_sent) {
        set_first(c, &reply, &first);
    }
    *end = '\0'; /* pending keeps room for one byte past its content */
    reply.delta = c->pending.ptr + c->sent;
    set_spent(c, &reply);
    enum status s = ge_chat_respond(c->call, &reply);
    *end = kept;
    if (s == STATUS_OK) {
        c->first_sent = true;
        c->sent += len;
    }
    return s;
}

/* One call; after the text that came before it. */
static enum status send_call(struct chat *c)
{
    Ge__ChatReply reply = GE__CHAT_REPLY__INIT;
    struct first first;
    if (!c->first_sent) {
        set_first(c, &reply, &first);
    }
    reply.calls = &c->calls[c->calls_sent];
    reply.n_calls = 1;
    set_spent(c, &reply);
    enum status s = ge_chat_respond(c->call, &reply);
    if (s == STATUS_OK) {
        c->first_sent = true;
        c->calls_sent++;
    }
    return s;
}

static enum status send_last(struct chat *c)
{
    Ge__Citation items[CITE_CITATIONS_MAX];
    Ge__Citation *list[CITE_CITATIONS_MAX];
    for (size_t i = 0; i < c->cite->n_citations; i++) {
        ge__citation__init(&items[i]);
        items[i].number = c->cite->citations[i].number;
        items[i].start = c->cite->citations[i].start;
        items[i].end = c->cite->citations[i].end;
        list[i] = &items[i];
    }
    Ge__ChatReply reply = GE__CHAT_REPLY__INIT;
    struct first first;
    if (!c->first_sent) {
        set_first(c, &reply, &first);
    }
    reply.has_last = reply.has_marks_removed = reply.has_refused = true;
    reply.last = true;
    reply.n_citations = c->cite->n_citations;
    reply.citations = list;
    reply.marks_removed = c->cite->removed;
    reply.refused = c->refused;
    reply.finish_reason = (char *)(uintptr_t)c->finish_reason;
    reply.stop = (char *)(uintptr_t)c->stop;
    reply.has_prompt_tokens = c->prompt_tokens > 0;
    reply.prompt_tokens = c->prompt_tokens;
    reply.has_completion_tokens = c->completion_tokens > 0;
    reply.completion_tokens = c->completion_tokens;
    reply.logprobs = c->logprobs;
    reply.n_logprobs = c->n_logprobs;
    reply.model_version = c->version[0] == '\0' ? NULL : c->version;
    reply.note = c->note[0] == '\0' ? NULL : c->note;
    set_spent(c, &reply);
    enum status s = ge_chat_respond(c->call, &reply);
    if (s == STATUS_OK) {
        struct generate *g = c->owner;
        g->answers += !chat_rewrites(c);
        g->refused += c->refused;
        g->marks_removed += c->cite->removed;
        struct rpc_call *call = c->call;
        c->call = NULL;
        *rpc_call_data(call) = NULL;
        rpc_call_finish(call, STATUS_OK, NULL);
    }
    return s;
}

enum status chat_send_pending(struct chat *c)
{
    enum status s = STATUS_OK;
    while (s == STATUS_OK && c->call != NULL) {
        if (c->sent < c->pending.len) {
            s = send_text(c);
        } else if (c->calls_sent < c->n_calls) {
            s = send_call(c);
        } else if (c->complete) {
            s = send_last(c);
        } else {
            break;
        }
    }
    buf_consume(&c->pending, c->sent);
    c->sent = 0;
    if (s != STATUS_OK && s != STATUS_BUSY && s != STATUS_CANCELLED) {
        struct error err = {0};
        error_set(&err, s, "the answer could not be sent: %s", status_text(s));
        chat_fail(c, &err);
    }
    return s;
}
