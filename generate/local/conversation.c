#include "generate/local/conversation.h"

#include <string.h>

#include "generate/prompt.h"
#include "model/json_schema.h"
#include "model/tool_grammar.h"

#define ARENA_MAX ((size_t)4 * 1024 * 1024)

struct conversation {
    const Ge__ChatRequest *ask;
    struct arena arena;
    struct template_message *messages;
    size_t n;
    struct str *tools;
    size_t n_tools;
    struct buf system; /* of a plain conversation: its system messages as one */
};

static bool is(const char *a, const char *b)
{
    return a != NULL && strcmp(a, b) == 0;
}

bool conversation_offers(const Ge__ChatRequest *ask)
{
    return ask->n_tools > 0 && !is(ask->tool_choice, "none");
}

bool conversation_forces(const Ge__ChatRequest *ask)
{
    return conversation_offers(ask) && is(ask->tool_choice, "required");
}

static bool is_plain(const Ge__ChatRequest *ask)
{
    return ask->has_plain && ask->plain;
}

size_t conversation_turns(const Ge__ChatRequest *ask)
{
    size_t n = 0;
    for (size_t i = 0; i < ask->n_messages; i++) {
        n += is(ask->messages[i]->role, "user") ? 1 : 0;
    }
    return n > 0 ? n - 1 : 0;
}

/* ---- messages ---- */

static enum status out_of_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "out of memory for the prompt");
}

static struct str text(const char *z)
{
    return z == NULL ? STR("") : str_from(z);
}

static enum template_role role_of(const char *role)
{
    return is(role, "assistant") ? TEMPLATE_ASSISTANT
           : is(role, "tool")    ? TEMPLATE_TOOL
           : is(role, "system")  ? TEMPLATE_SYSTEM
                                 : TEMPLATE_USER;
}

static enum status add(struct conversation *c, const Ge__Message *m, struct error *err)
{
    struct template_message *to = &c->messages[c->n++];
    struct template_call *calls = arena_array(&c->arena, m->n_calls + 1, sizeof *calls);
    if (calls == NULL) {
        return out_of_memory(err);
    }
    *to = (struct template_message){.role = role_of(m->role),
                                    .content = text(m->content),
                                    .calls = calls,
                                    .n_calls = m->n_calls,
                                    .call_id = text(m->call_id)};
    for (size_t i = 0; i < m->n_calls; i++) {
        calls[i] = (struct template_call){text(m->calls[i]->id), text(m->calls[i]->name),
                                          text(m->calls[i]->arguments)};
    }
    return STATUS_OK;
}

/* The conversation itself; templates know one system message, which comes first. */
static enum status take_all(struct conversation *c, size_t skip, struct error *err)
{
    const Ge__ChatRequest *ask = c->ask;
    for (size_t i = 0; i < ask->n_messages; i++) {
        if (is(ask->messages[i]->role, "system")) {
            buf_z(&c->system, c->system.len > 0 ? "\n\n" : "");
            buf_z(&c->system, ask->messages[i]->content);
        }
    }
    if (buf_status(&c->system) != STATUS_OK) {
        return out_of_memory(err);
    }
    if (c->system.len > 0) {
        c->messages[c->n++] =
            (struct template_message){.role = TEMPLATE_SYSTEM, .content = buf_view(&c->system)};
    }
    enum status s = STATUS_OK;
    size_t questions = 0;
    for (size_t i = 0; i < ask->n_messages && s == STATUS_OK; i++) {
        const Ge__Message *m = ask->messages[i];
        questions += is(m->role, "user") ? 1 : 0;
        if (!is(m->role, "system") && questions > skip) {
            s = add(c, m, err);
        }
    }
    return s;
}

/* Rules, passages, question; then what has been called for this question, and what came back. */
static enum status take_grounded(struct conversation *c, const struct prompt *p, struct error *err)
{
    const Ge__ChatRequest *ask = c->ask;
    size_t from = 0;
    c->messages[c->n++] =
        (struct template_message){.role = TEMPLATE_SYSTEM, .content = buf_view(&p->system)};
    c->messages[c->n++] =
        (struct template_message){.role = TEMPLATE_USER, .content = buf_view(&p->user)};
    for (size_t i = 0; i < ask->n_messages; i++) {
        from = is(ask->messages[i]->role, "user") ? i + 1 : from;
    }
    enum status s = STATUS_OK;
    for (size_t i = from; i < ask->n_messages && ask->n_tools > 0 && s == STATUS_OK; i++) {
        const Ge__Message *m = ask->messages[i];
        if (m->n_calls > 0 || is(m->role, "tool")) {
            s = add(c, m, err);
        }
    }
    return s;
}

/* Without the oldest questions. Shallow. */
static enum status leave_out(struct conversation *c, size_t skip, Ge__ChatRequest *ask,
                             struct error *err)
{
    Ge__Message **kept = arena_array(&c->arena, ask->n_messages + 1, sizeof *kept);
    size_t n = 0;
    if (kept == NULL) {
        return out_of_memory(err);
    }
    for (size_t i = 0; i < ask->n_messages; i++) {
        bool question = is(ask->messages[i]->role, "user");
        if (!question || skip == 0) {
            kept[n++] = ask->messages[i];
        }
        skip -= question && skip > 0 ? 1 : 0;
    }
    ask->messages = kept;
    ask->n_messages = n;
    return STATUS_OK;
}

/* ---- the prompt ---- */

static enum status take_tools(struct conversation *c, struct error *err)
{
    const Ge__ChatRequest *ask = c->ask;
    c->n_tools = conversation_offers(ask) ? ask->n_tools : 0;
    c->tools = arena_array(&c->arena, c->n_tools + 1, sizeof *c->tools);
    if (c->tools == NULL) {
        return out_of_memory(err);
    }
    for (size_t i = 0; i < c->n_tools; i++) {
        c->tools[i] = text(ask->tools[i]->declaration);
    }
    return STATUS_OK;
}

static bool needs_tools(const struct conversation *c)
{
    bool needs = c->n_tools > 0;
    for (size_t i = 0; i < c->n && !needs; i++) {
        needs = c->messages[i].n_calls > 0 || c->messages[i].role == TEMPLATE_TOOL;
    }
    return needs;
}

static enum status render(struct conversation *c, const struct conversation_model *m,
                          struct template_pieces *pieces, struct error *err)
{
    if (!needs_tools(c)) {
        return template_render(m->family, c->messages, c->n, false, pieces, err);
    }
    if (m->tools == TOOLS_NONE) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "tools: the chat template of %s (%s) has no section for tools", m->name,
                         template_name(m->family));
    }
    struct template_talk talk = {
        .messages = c->messages, .n = c->n, .tools = c->tools, .n_tools = c->n_tools};
    enum status s = template_render_tools(m->tools, &talk, pieces, err);
    if (s == STATUS_OK && conversation_forces(c->ask) &&
        !template_open_call(m->tools, text(c->ask->tool_name), pieces)) {
        s = out_of_memory(err);
    }
    return s;
}

enum status conversation_encode(const Ge__ChatRequest *ask, size_t n_passages, size_t skip,
                                const struct conversation_model *m, struct token_list *out,
                                struct error *err)
{
    struct conversation c = {.ask = ask};
    Ge__ChatRequest fewer = *ask; /* shallow */
    struct prompt prompt;
    struct template_pieces pieces = {0};
    fewer.n_passages = n_passages;
    prompt_init(&prompt);
    arena_init(&c.arena, ARENA_MAX);
    buf_init(&c.system, PROMPT_BYTES_MAX);
    c.messages = arena_array(&c.arena, ask->n_messages + 2, sizeof *c.messages);
    enum status s = c.messages == NULL ? out_of_memory(err) : take_tools(&c, err);
    if (s == STATUS_OK && is_plain(ask)) {
        s = take_all(&c, skip, err);
    } else if (s == STATUS_OK) {
        s = skip == 0 ? STATUS_OK : leave_out(&c, skip, &fewer, err);
        s = s != STATUS_OK ? s : prompt_build(&fewer, &prompt, err);
        s = s != STATUS_OK ? s : take_grounded(&c, &prompt, err);
    }
    s = s != STATUS_OK ? s : render(&c, m, &pieces, err);
    s = s != STATUS_OK ? s : template_encode(m->family, m->tokenizer, &pieces, out, err);
    template_pieces_deinit(&pieces);
    buf_deinit(&c.system);
    arena_reset(&c.arena);
    prompt_deinit(&prompt);
    return s;
}

/* ---- the form ---- */

static size_t gather(const Ge__ChatRequest *ask, struct tool_offer *offers, bool *strict)
{
    size_t n = 0;
    *strict = false;
    for (size_t i = 0; i < ask->n_tools && n < TEMPLATE_TOOLS_MAX; i++) {
        const Ge__Tool *t = ask->tools[i];
        if (ask->tool_name == NULL || strcmp(ask->tool_name, t->name) == 0) {
            offers[n] = (struct tool_offer){text(t->declaration), t->has_strict && t->strict};
            *strict = *strict || offers[n++].strict;
        }
    }
    return n;
}

static enum status call_form(const Ge__ChatRequest *ask, enum template_tools tools,
                             struct grammar **out, struct error *err)
{
    struct tool_offer offers[TEMPLATE_TOOLS_MAX];
    bool strict = false;
    size_t n = gather(ask, offers, &strict);
    if (n == 0) {
        return error_set(err, STATUS_INVALID, "tool_choice: no tool is called %s", ask->tool_name);
    }
    enum status s = tool_grammar(tools, offers, n, ask->has_one_call && ask->one_call, out, err);
    return s == STATUS_OK ? s : error_prefix(err, "tool_choice");
}

/* The model calls when it likes, but what it calls then keeps to the schemas. */
static enum status strict_form(const Ge__ChatRequest *ask, enum template_tools tools,
                               struct grammar **out, struct grammar **call, struct error *err)
{
    struct tool_offer offers[TEMPLATE_TOOLS_MAX];
    bool strict = false;
    size_t n = gather(ask, offers, &strict);
    if (!strict || tools == TOOLS_NONE || template_names_first(tools)) {
        return STATUS_OK; /* names come before anything can be held to */
    }
    enum status s =
        tools == TOOLS_LLAMA3
            ? tool_grammar_or_text(tools, offers, n, out, err)
            : tool_grammar(tools, offers, n, ask->has_one_call && ask->one_call, call, err);
    return s == STATUS_OK ? s : error_prefix(err, "tools");
}

enum status conversation_form(const Ge__ChatRequest *ask, enum template_tools tools,
                              struct grammar **out, struct grammar **call, struct error *err)
{
    enum status s = STATUS_OK;
    *out = *call = NULL;
    if (conversation_forces(ask) && tools != TOOLS_NONE) {
        return call_form(ask, tools, out, err);
    }
    if (ask->json_schema != NULL) {
        s = json_schema_grammar(str_from(ask->json_schema), out, err);
    } else if (ask->grammar != NULL) {
        s = grammar_parse(str_from(ask->grammar), out, err);
    } else if (ask->has_json_object && ask->json_object) {
        s = json_object_grammar(out, err);
    } else if (conversation_offers(ask)) {
        return strict_form(ask, tools, out, call, err);
    }
    return s == STATUS_OK ? s : error_prefix(err, "response_format");
}
