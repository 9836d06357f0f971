/* The tool sections of the families' templates, after the Jinja texts of their makers. */
#include <ctype.h>
#include <string.h>

#include "base/hash.h"
#include "model/json_text.h"
#include "model/template_tools_internal.h"

#define CALL_ID 9 /* Mistral's */

static bool has(struct str s, const char *mark)
{
    return s.len > 0 && memmem(s.ptr, s.len, mark, strlen(mark)) != NULL;
}

/* Not every model of the other families was trained with tools. */
static enum template_tools usual(enum template_family f)
{
    return f == TEMPLATE_QWEN                ? TOOLS_QWEN
           : f == TEMPLATE_QWEN_THINKING     ? TOOLS_QWEN_THINKING
           : f == TEMPLATE_MISTRAL_V3        ? TOOLS_MISTRAL
           : f == TEMPLATE_MISTRAL_V3_TEKKEN ? TOOLS_MISTRAL_TEKKEN
                                             : TOOLS_NONE;
}

static bool is_chatml(enum template_family f)
{
    return f == TEMPLATE_CHATML || f == TEMPLATE_QWEN || f == TEMPLATE_QWEN_THINKING;
}

enum template_tools template_tools_of(enum template_family f, struct str j)
{
    if (j.len == 0) {
        return usual(f);
    }
    if (is_chatml(f) && has(j, "<tool_call>") && has(j, "FunctionCall")) {
        return TOOLS_HERMES;
    }
    if (is_chatml(f) && has(j, "<tools>") && has(j, "\"name\\\": <function-name>")) {
        return f == TEMPLATE_QWEN_THINKING ? TOOLS_QWEN_THINKING : TOOLS_QWEN;
    }
    if (f == TEMPLATE_LLAMA3 && has(j, "Given the following functions") && has(j, "ipython")) {
        return TOOLS_LLAMA3;
    }
    if (has(j, "[AVAILABLE_TOOLS]") && has(j, "[ARGS]")) {
        return has(j, "[CALL_ID]")          ? TOOLS_MISTRAL_ARGS
               : has(j, "tools_definition") ? TOOLS_MISTRAL_NAMED
                                            : TOOLS_NONE;
    }
    if (has(j, "[AVAILABLE_TOOLS]") && !has(j, "[SYSTEM_PROMPT]")) {
        return has(j, "[AVAILABLE_TOOLS] [") ? TOOLS_MISTRAL : TOOLS_MISTRAL_TEKKEN;
    }
    return TOOLS_NONE;
}

const char *template_tools_name(enum template_tools form)
{
    static const char *const names[TOOLS_FORMS] = {
        "none",    "qwen",           "qwen-thinking", "hermes",       "llama3",
        "mistral", "mistral-tekken", "mistral-args",  "mistral-named"};
    return (unsigned)form < TOOLS_FORMS ? names[form] : "none";
}

/* ---- what the forms share ---- */

const char *tool_role_name(enum template_role r)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    return roles[r];
}

const json_t *tool_function(const json_t *tool)
{
    return json_object_get(tool, "function");
}

static void made(struct tool_talk *t, struct buf *b)
{
    const char *copy =
        buf_status(b) == STATUS_OK ? arena_strndup(&t->p->made, b->ptr, b->len) : NULL;
    t->p->failed = t->p->failed || copy == NULL;
    piece_given(t->p, copy == NULL ? STR("") : (struct str){copy, b->len});
    buf_deinit(b);
}

void tool_json(struct tool_talk *t, const json_t *v, unsigned indent)
{
    struct buf b;
    buf_init(&b, TEMPLATE_MADE_MAX);
    json_text_write(v, indent, &b);
    made(t, &b);
}

void tool_arguments(struct tool_talk *t, const struct template_call *call)
{
    struct error err = {0};
    json_t *v = json_text_parse(call->arguments, "arguments", &err);
    t->p->failed = t->p->failed || v == NULL;
    if (v != NULL) {
        tool_json(t, v, 0);
    }
    json_decref(v);
}

/* ---- Llama 3.1 to 3.3 ---- */

static void llama_open(struct tool_talk *t, const char *role)
{
    piece_mark(t->p, "<|start_header_id|>");
    piece_words(t->p, role);
    piece_mark(t->p, "<|end_header_id|>");
    piece_words(t->p, "\n\n");
}

/* The date is the one that the template writes where it is told none: a prompt does not change
 * from one day to the next. */
static void llama_system(struct tool_talk *t)
{
    const struct template_message *m = t->talk->messages;
    llama_open(t, "system");
    piece_words(t->p, t->talk->n_tools > 0 ? "Environment: ipython\n" : "");
    piece_words(t->p, "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
    piece_given(t->p, m[0].role == TEMPLATE_SYSTEM ? piece_trimmed(m[0].content) : STR(""));
    piece_mark(t->p, "<|eot_id|>");
}

static void llama_tools(struct tool_talk *t)
{
    piece_words(t->p, "Given the following functions, please respond with a JSON for a function "
                      "call with its proper arguments that best answers the given prompt.\n\n"
                      "Respond in the format {\"name\": function name, \"parameters\": dictionary "
                      "of argument name and its value}.Do not use variables.\n\n");
    for (size_t i = 0; i < t->talk->n_tools; i++) {
        tool_json(t, t->tools[i], 4);
        piece_words(t->p, "\n\n");
    }
}

/* A result is a string of JSON. */
static void llama_result(struct tool_talk *t, struct str content)
{
    json_t *s = json_stringn(content.ptr, content.len);
    llama_open(t, "ipython");
    t->p->failed = t->p->failed || s == NULL;
    if (s != NULL) {
        tool_json(t, s, 0);
    }
    json_decref(s);
    piece_mark(t->p, "<|eot_id|>");
}

static void llama(struct tool_talk *t)
{
    bool first = t->talk->n_tools > 0;
    llama_system(t);
    for (size_t i = 0; i < t->talk->n; i++) {
        const struct template_message *m = &t->talk->messages[i];
        if (m->role == TEMPLATE_SYSTEM) {
            continue;
        }
        if (m->role == TEMPLATE_TOOL) {
            llama_result(t, m->content);
            continue;
        }
        llama_open(t, tool_role_name(m->role));
        if (first) {
            first = false;
            llama_tools(t);
        }
        if (m->n_calls > 0) {
            piece_words(t->p, "{\"name\": \"");
            piece_given(t->p, m->calls[0].name);
            piece_words(t->p, "\", \"parameters\": ");
            tool_arguments(t, &m->calls[0]);
            piece_words(t->p, "}");
        } else {
            piece_given(t->p, piece_trimmed(m->content));
        }
        piece_mark(t->p, "<|eot_id|>");
    }
    llama_open(t, "assistant");
}

/* ---- Mistral ---- */

/* Nine letters and digits: the id itself where it is such, else some that follow from it. */
static void mistral_id(struct tool_talk *t, struct str id)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char *made_id = arena_strndup(&t->p->made, id.ptr, id.len < CALL_ID ? CALL_ID : id.len);
    bool plain = id.len == CALL_ID;
    uint8_t hash[SHA256_BYTES];
    for (size_t i = 0; i < id.len && plain; i++) {
        plain = isalnum((unsigned char)id.ptr[i]) != 0;
    }
    sha256_of(id.ptr, id.len, hash);
    t->p->failed = t->p->failed || made_id == NULL;
    for (size_t i = 0; made_id != NULL && !plain && i < CALL_ID; i++) {
        made_id[i] = digits[hash[i] % 62];
    }
    piece_given(t->p, made_id == NULL ? STR("") : (struct str){made_id, CALL_ID});
}

/* Strings as they are, without escapes: so the template does. */
static void mistral_tool(struct tool_talk *t, const json_t *tool)
{
    json_t *f = (json_t *)(uintptr_t)tool_function(tool);
    const char *key, *between = "";
    json_t *v;
    struct buf b;
    buf_init(&b, TEMPLATE_MADE_MAX);
    buf_z(&b, "{\"type\": \"function\", \"function\": {");
    json_object_foreach(f, key, v)
    {
        if (strcmp(key, "return") == 0) {
            continue;
        }
        buf_printf(&b, "%s\"%s\": ", between, key);
        if (json_is_string(v)) {
            buf_printf(&b, "\"%s\"", json_string_value(v));
        } else {
            json_text_write(v, 0, &b);
        }
        between = ", ";
    }
    buf_z(&b, "}}");
    made(t, &b);
}

static void mistral_tools(struct tool_talk *t, const char *space)
{
    piece_mark(t->p, "[AVAILABLE_TOOLS]");
    piece_words(t->p, space);
    piece_words(t->p, "[");
    for (size_t i = 0; i < t->talk->n_tools; i++) {
        piece_words(t->p, i == 0 ? "" : ", ");
        if (template_names_first(t->form)) {
            tool_json(t, t->tools[i], 0);
        } else {
            mistral_tool(t, t->tools[i]);
        }
    }
    piece_words(t->p, "]");
    piece_mark(t->p, "[/AVAILABLE_TOOLS]");
}

static void mistral_calls(struct tool_talk *t, const struct template_message *m, const char *space)
{
    bool args = template_names_first(t->form);
    piece_given(t->p, t->form == TOOLS_MISTRAL_NAMED ? m->content : STR(""));
    if (!args) {
        piece_mark(t->p, "[TOOL_CALLS]");
        piece_words(t->p, space);
    }
    for (size_t i = 0; i < m->n_calls; i++) {
        const struct template_call *c = &m->calls[i];
        if (args) {
            piece_mark(t->p, "[TOOL_CALLS]");
            piece_given(t->p, c->name);
            if (t->form == TOOLS_MISTRAL_ARGS) {
                piece_mark(t->p, "[CALL_ID]");
                mistral_id(t, c->id);
            }
            piece_mark(t->p, "[ARGS]");
            tool_arguments(t, c);
            continue;
        }
        piece_words(t->p, i == 0 ? "[{\"name\": \"" : ", {\"name\": \"");
        piece_given(t->p, c->name);
        piece_words(t->p, "\", \"arguments\": ");
        tool_arguments(t, c);
        piece_words(t->p, ", \"id\": \"");
        mistral_id(t, c->id);
        piece_words(t->p, "\"}");
    }
    piece_words(t->p, args ? "" : "]");
    piece_put(t->p, PIECE_END, STR(""));
}

static void mistral_result(struct tool_talk *t, const struct template_message *m, const char *space)
{
    piece_mark(t->p, "[TOOL_RESULTS]");
    if (template_names_first(t->form)) {
        if (t->form == TOOLS_MISTRAL_ARGS) {
            mistral_id(t, m->call_id);
            piece_mark(t->p, "[TOOL_CONTENT]");
        }
        piece_given(t->p, m->content);
    } else {
        piece_words(t->p, space);
        piece_words(t->p, "{\"content\": ");
        piece_given(t->p, m->content);
        piece_words(t->p, ", \"call_id\": \"");
        mistral_id(t, m->call_id);
        piece_words(t->p, "\"}");
    }
    piece_mark(t->p, "[/TOOL_RESULTS]");
}

static void mistral_question(struct tool_talk *t, const struct template_message *m, bool last,
                             const char *space)
{
    const struct template_message *system = t->talk->messages;
    if (last && t->talk->n_tools > 0 && t->form != TOOLS_MISTRAL_NAMED) {
        mistral_tools(t, space);
    }
    piece_mark(t->p, "[INST]");
    piece_words(t->p, space);
    if (last && system->role == TEMPLATE_SYSTEM && !template_names_first(t->form)) {
        piece_given(t->p, system->content);
        piece_words(t->p, "\n\n");
    }
    piece_given(t->p, m->content);
    piece_mark(t->p, "[/INST]");
}

static void mistral(struct tool_talk *t)
{
    const struct template_message *m = t->talk->messages;
    const char *space = t->form == TOOLS_MISTRAL ? " " : "";
    size_t last = t->talk->n;
    while (last > 0 && m[last - 1].role != TEMPLATE_USER) {
        last--;
    }
    size_t declared = m[0].role == TEMPLATE_SYSTEM ? 1 : 0;
    for (size_t i = 0; i < t->talk->n; i++) {
        if (i == declared && t->form == TOOLS_MISTRAL_NAMED && t->talk->n_tools > 0) {
            mistral_tools(t, space);
        }
        if (m[i].role == TEMPLATE_USER) {
            mistral_question(t, &m[i], i + 1 == last, space);
        } else if (m[i].role == TEMPLATE_TOOL) {
            mistral_result(t, &m[i], space);
        } else if (m[i].n_calls > 0) {
            mistral_calls(t, &m[i], space);
        } else if (m[i].role == TEMPLATE_ASSISTANT) {
            piece_words(t->p, space);
            piece_given(t->p, m[i].content);
            piece_put(t->p, PIECE_END, STR(""));
        } else if (template_names_first(t->form)) {
            piece_mark(t->p, "[SYSTEM_PROMPT]");
            piece_given(t->p, m[i].content);
            piece_mark(t->p, "[/SYSTEM_PROMPT]");
        }
    }
}

bool template_open_call(enum template_tools form, struct str name, struct template_pieces *p)
{
    struct tool_talk t = {.form = form, .p = p};
    if (form == TOOLS_QWEN || form == TOOLS_QWEN_THINKING || form == TOOLS_HERMES) {
        piece_mark(p, "<tool_call>");
    } else if (form != TOOLS_LLAMA3 && form != TOOLS_NONE) {
        piece_mark(p, "[TOOL_CALLS]");
    }
    if (template_names_first(form)) {
        piece_given(p, name);
        if (form == TOOLS_MISTRAL_ARGS) {
            piece_mark(p, "[CALL_ID]");
            mistral_id(&t, name);
        }
        piece_mark(p, "[ARGS]");
    }
    return !p->failed;
}

/* ---- checks ---- */

static bool was_called(const struct template_talk *talk, size_t before, struct str id)
{
    for (size_t i = 0; i < before; i++) {
        for (size_t k = 0; k < talk->messages[i].n_calls; k++) {
            if (str_eq(talk->messages[i].calls[k].id, id)) {
                return true;
            }
        }
    }
    return false;
}

static enum status check_calls(const struct template_message *m, size_t i, bool one,
                               struct error *err)
{
    if (m->n_calls > 0 && m->role != TEMPLATE_ASSISTANT) {
        return error_set(err, STATUS_INVALID, "message %zu: only an assistant calls tools", i + 1);
    }
    if (m->n_calls > 1 && one) {
        return error_set(err, STATUS_INVALID,
                         "message %zu has %zu tool calls: this model's template knows one a turn",
                         i + 1, m->n_calls);
    }
    for (size_t k = 0; k < m->n_calls; k++) {
        json_t *v = json_text_parse(m->calls[k].arguments, "a tool call's arguments", err);
        bool object = json_is_object(v);
        json_decref(v);
        if (v == NULL || !object || m->calls[k].name.len == 0) {
            return v == NULL ? error_prefix(err, "message %zu", i + 1)
                             : error_set(err, STATUS_INVALID,
                                         "message %zu: a tool call has a name, and arguments that "
                                         "are a JSON object",
                                         i + 1);
        }
    }
    return STATUS_OK;
}

static enum status check(const struct template_talk *talk, enum template_tools form,
                         struct error *err)
{
    const struct template_message *m = talk->messages;
    if (talk->n == 0 || talk->n > TEMPLATE_MESSAGES_MAX || talk->n_tools > TEMPLATE_TOOLS_MAX) {
        return error_set(err, STATUS_INVALID, "a conversation has 1 to %u messages and %u tools",
                         TEMPLATE_MESSAGES_MAX, TEMPLATE_TOOLS_MAX);
    }
    size_t first = m[0].role == TEMPLATE_SYSTEM ? 1 : 0;
    if (first >= talk->n || m[first].role != TEMPLATE_USER) {
        return error_set(err, STATUS_INVALID, "a conversation begins with the user's message");
    }
    enum template_role last = m[talk->n - 1].role;
    if (last != TEMPLATE_USER && last != TEMPLATE_TOOL) {
        return error_set(err, STATUS_INVALID, "the last message must be the user's or a tool's");
    }
    for (size_t i = first; i < talk->n; i++) {
        if (m[i].role == TEMPLATE_SYSTEM) {
            return error_set(err, STATUS_INVALID, "message %zu: only the first may be the system's",
                             i + 1);
        }
        if (m[i].role == TEMPLATE_TOOL && !was_called(talk, i, m[i].call_id)) {
            return error_set(err, STATUS_INVALID,
                             "message %zu is the result of a tool call that no message before has",
                             i + 1);
        }
        enum status s = check_calls(&m[i], i, form == TOOLS_LLAMA3, err);
        if (s != STATUS_OK) {
            return s;
        }
    }
    return STATUS_OK;
}

static enum status read_tools(struct tool_talk *t, struct error *err)
{
    for (size_t i = 0; i < t->talk->n_tools; i++) {
        t->tools[i] = json_text_parse(t->talk->tools[i], "a tool's declaration", err);
        const json_t *f = tool_function(t->tools[i]);
        if (t->tools[i] == NULL) {
            return err->code;
        }
        if (!json_is_string(json_object_get(f, "name"))) {
            return error_set(err, STATUS_INVALID, "tool %zu: a function has a name", i + 1);
        }
    }
    return STATUS_OK;
}

static void render(struct tool_talk *t)
{
    switch (t->form) {
    case TOOLS_QWEN:
    case TOOLS_QWEN_THINKING:
        tools_qwen(t);
        break;
    case TOOLS_HERMES:
        tools_hermes(t);
        break;
    case TOOLS_LLAMA3:
        llama(t);
        break;
    case TOOLS_MISTRAL:
    case TOOLS_MISTRAL_TEKKEN:
    case TOOLS_MISTRAL_ARGS:
    case TOOLS_MISTRAL_NAMED:
    case TOOLS_NONE:
    case TOOLS_FORMS:
        mistral(t);
        break;
    }
}

enum status template_render_tools(enum template_tools form, const struct template_talk *talk,
                                  struct template_pieces *out, struct error *err)
{
    struct tool_talk t = {.talk = talk, .form = form, .p = out};
    *out = (struct template_pieces){0};
    arena_init(&out->made, TEMPLATE_MADE_MAX);
    if (form == TOOLS_NONE || (unsigned)form >= TOOLS_FORMS) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the model's chat template has no section for tools");
    }
    enum status s = check(talk, form, err);
    s = s != STATUS_OK ? s : read_tools(&t, err);
    if (s == STATUS_OK) {
        render(&t);
        s = out->failed ? error_set(err, STATUS_NO_MEMORY, "out of memory for the prompt") : s;
    }
    for (size_t i = 0; i < talk->n_tools && i < TEMPLATE_TOOLS_MAX; i++) {
        json_decref(t.tools[i]);
    }
    if (s != STATUS_OK) {
        template_pieces_deinit(out);
    }
    return s;
}
