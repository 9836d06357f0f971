/* The forms with <tool_call>: Qwen's and Hermes'. */
#include <string.h>

#include "model/template_tools_internal.h"

static void open_turn(struct tool_talk *t, const char *role)
{
    piece_mark(t->p, "<|im_start|>");
    piece_words(t->p, role);
}

static void close_turn(struct tool_talk *t)
{
    piece_mark(t->p, "<|im_end|>");
    piece_words(t->p, "\n");
}

static void plain_turn(struct tool_talk *t, enum template_role role, struct str content)
{
    open_turn(t, tool_role_name(role));
    piece_words(t->p, "\n");
    piece_given(t->p, content);
    close_turn(t);
}

static void call(struct tool_talk *t, const struct template_call *c)
{
    piece_mark(t->p, "<tool_call>");
    piece_words(t->p, "\n{\"name\": \"");
    piece_given(t->p, c->name);
    piece_words(t->p, "\", \"arguments\": ");
    tool_arguments(t, c);
    piece_words(t->p, "}\n");
    piece_mark(t->p, "</tool_call>");
}

static void pair(struct tool_talk *t, const char *open, const char *between, const char *close)
{
    piece_mark(t->p, open);
    piece_words(t->p, between);
    piece_mark(t->p, close);
}

/* ---- Qwen ---- */

static void qwen_tools(struct tool_talk *t)
{
    struct template_pieces *p = t->p;
    piece_words(p, "# Tools\n\nYou may call one or more functions to assist with the user query."
                   "\n\nYou are provided with function signatures within ");
    pair(t, "<tools>", "", "</tools>");
    piece_words(p, " XML tags:\n");
    piece_mark(p, "<tools>");
    for (size_t i = 0; i < t->talk->n_tools; i++) {
        piece_words(p, "\n");
        tool_json(t, t->tools[i], 0);
    }
    piece_words(p, "\n");
    piece_mark(p, "</tools>");
    piece_words(p, "\n\nFor each function call, return a json object with function name and "
                   "arguments within ");
    pair(t, "<tool_call>", "", "</tool_call>");
    piece_words(p, " XML tags:\n");
    pair(t, "<tool_call>", "\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n",
         "</tool_call>");
}

static void qwen_system(struct tool_talk *t, bool thinking)
{
    bool has = t->talk->messages[0].role == TEMPLATE_SYSTEM, tools = t->talk->n_tools > 0;
    if (!has && !tools && thinking) {
        return;
    }
    open_turn(t, "system\n");
    if (has) {
        piece_given(t->p, t->talk->messages[0].content);
    } else if (!thinking) {
        piece_words(t->p, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.");
    }
    if (tools) {
        piece_words(t->p, has || !thinking ? "\n\n" : "");
        qwen_tools(t);
    }
    close_turn(t);
}

/* What an assistant thought is no part of later prompts. */
static struct str without_thoughts(struct str s)
{
    static const char mark[] = "</think>";
    const char *at = s.len > 0 ? memmem(s.ptr, s.len, mark, sizeof mark - 1) : NULL;
    while (at != NULL) {
        size_t skip = (size_t)(at - s.ptr) + sizeof mark - 1;
        s = (struct str){s.ptr + skip, s.len - skip};
        at = s.len > 0 ? memmem(s.ptr, s.len, mark, sizeof mark - 1) : NULL;
        while (s.len > 0 && s.ptr[0] == '\n') {
            s = (struct str){s.ptr + 1, s.len - 1};
        }
    }
    return s;
}

static void qwen_assistant(struct tool_talk *t, const struct template_message *m, bool thinking)
{
    struct str said = thinking ? without_thoughts(m->content) : m->content;
    open_turn(t, "assistant\n");
    piece_given(t->p, said);
    for (size_t i = 0; i < m->n_calls; i++) {
        piece_words(t->p, i > 0 || said.len > 0 ? "\n" : "");
        call(t, &m->calls[i]);
    }
    close_turn(t);
}

/* Results that follow each other are one turn. */
static void response(struct tool_talk *t, const struct template_message *m)
{
    piece_mark(t->p, "<tool_response>");
    piece_words(t->p, "\n");
    piece_given(t->p, m->content);
    piece_words(t->p, "\n");
    piece_mark(t->p, "</tool_response>");
}

static bool is_tool(const struct tool_talk *t, size_t i)
{
    return i < t->talk->n && t->talk->messages[i].role == TEMPLATE_TOOL;
}

void tools_qwen(struct tool_talk *t)
{
    bool thinking = t->form == TOOLS_QWEN_THINKING;
    qwen_system(t, thinking);
    for (size_t i = 0; i < t->talk->n; i++) {
        const struct template_message *m = &t->talk->messages[i];
        if (m->role == TEMPLATE_USER) {
            plain_turn(t, m->role, m->content);
        } else if (m->role == TEMPLATE_ASSISTANT) {
            qwen_assistant(t, m, thinking);
        } else if (m->role == TEMPLATE_TOOL) {
            if (!is_tool(t, i - 1)) {
                open_turn(t, "user");
            }
            piece_words(t->p, "\n");
            response(t, m);
            if (!is_tool(t, i + 1)) {
                close_turn(t);
            }
        }
    }
    open_turn(t, "assistant\n");
    if (thinking && !t->talk->thinking) {
        pair(t, "<think>", "\n\n", "</think>");
        piece_words(t->p, "\n\n");
    }
}

/* ---- Hermes ---- */

/* A schema as a type of Python's, as the template writes it: items of lists are left open. */
static void python_type(const json_t *schema, unsigned depth, struct buf *out)
{
    static const char *const known[][2] = {
        {"string", "str"}, {"number", "float"}, {"integer", "int"}, {"boolean", "bool"}};
    const json_t *type = json_object_get(schema, "type");
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *name = json_string_value(type);
    for (size_t i = 0; name != NULL && i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i][0]) == 0) {
            buf_z(out, known[i][1]);
            return;
        }
    }
    if (name != NULL && strcmp(name, "array") == 0) {
        buf_z(out, "list[Union[]]");
    } else if (name != NULL && strcmp(name, "object") == 0 && more != NULL && depth < 16) {
        buf_z(out, "dict[str, ");
        python_type(more, depth + 1, out);
        buf_char(out, ']');
    } else if (name != NULL && strcmp(name, "object") == 0) {
        buf_z(out, "dict");
    } else if (json_is_array(type) || type == NULL) {
        buf_z(out, "Union[");
        for (size_t i = 0; i < json_array_size(type); i++) {
            json_t *one = json_pack("{s:O}", "type", json_array_get(type, i));
            buf_z(out, i == 0 ? "" : ",");
            python_type(one, depth + 1, out);
            json_decref(one);
        }
        buf_char(out, ']');
    } else {
        buf_z(out, "Any");
    }
}

static struct str text_of(const json_t *v)
{
    return json_is_string(v) ? (struct str){json_string_value(v), json_string_length(v)} : STR("");
}

static void hermes_signature(const json_t *f, struct buf *out)
{
    json_t *members = json_object_get(json_object_get(f, "parameters"), "properties");
    const char *key, *between = "";
    json_t *member;
    struct str name = text_of(json_object_get(f, "name"));
    buf_z(out, "{\"type\": \"function\", \"function\": {\"name\": \"");
    buf_str(out, name);
    buf_z(out, "\", \"description\": \"");
    buf_str(out, name);
    buf_char(out, '(');
    json_object_foreach(members, key, member)
    {
        buf_printf(out, "%s%s: ", between, key);
        python_type(member, 0, out);
        between = ", ";
    }
    buf_z(out, ") - ");
    buf_str(out, text_of(json_object_get(f, "description")));
    buf_z(out, "\n\n");
    between = "    Args:\n";
    json_object_foreach(members, key, member)
    {
        buf_printf(out, "%s        %s(", between, key);
        python_type(member, 0, out);
        buf_z(out, "): ");
        buf_str(out, piece_trimmed(text_of(json_object_get(member, "description"))));
        between = "";
    }
    buf_z(out, "\", \"parameters\": ");
}

static void hermes_tool(struct tool_talk *t, const json_t *tool)
{
    const json_t *f = tool_function(tool), *parameters = json_object_get(f, "parameters");
    struct buf b;
    buf_init(&b, TEMPLATE_MADE_MAX);
    hermes_signature(f, &b);
    const char *made =
        buf_status(&b) == STATUS_OK ? arena_strndup(&t->p->made, b.ptr, b.len) : NULL;
    t->p->failed = t->p->failed || made == NULL;
    piece_given(t->p, made == NULL ? STR("") : (struct str){made, b.len});
    buf_deinit(&b);
    if (json_object_size(json_object_get(parameters, "properties")) == 0) {
        piece_words(t->p, "{}");
    } else {
        tool_json(t, parameters, 0);
    }
    piece_words(t->p, "}");
}

static void hermes_system(struct tool_talk *t)
{
    struct template_pieces *p = t->p;
    open_turn(t, "system\n");
    piece_words(p, "You are a function calling AI model. You are provided with function signatures "
                   "within ");
    pair(t, "<tools>", "", "</tools>");
    piece_words(p, " XML tags. You may call one or more functions to assist with the user query. "
                   "Don't make assumptions about what values to plug into functions. Here are the "
                   "available tools: ");
    piece_mark(p, "<tools>");
    piece_words(p, " ");
    for (size_t i = 0; i < t->talk->n_tools; i++) {
        piece_words(p, i == 0 ? "" : "\n");
        hermes_tool(t, t->tools[i]);
    }
    piece_words(p, " ");
    piece_mark(p, "</tools>");
    piece_words(p, "Use the following pydantic model json schema for each tool call you will make: "
                   "{\"properties\": {\"name\": {\"title\": \"Name\", \"type\": \"string\"}, "
                   "\"arguments\": {\"title\": \"Arguments\", \"type\": \"object\"}}, "
                   "\"required\": [\"name\", \"arguments\"], \"title\": \"FunctionCall\", "
                   "\"type\": \"object\"}}\nFor each function call return a json object with "
                   "function name and arguments within ");
    pair(t, "<tool_call>", "", "</tool_call>");
    piece_words(p, " XML tags as follows:\n");
    pair(t, "<tool_call>", "\n{\"name\": <function-name>, \"arguments\": <args-dict>}\n",
         "</tool_call>");
    close_turn(t);
}

static void hermes_result(struct tool_talk *t, size_t i)
{
    bool last = i + 1 == t->talk->n;
    if (!is_tool(t, i - 1)) {
        open_turn(t, "tool\n");
    }
    response(t, &t->talk->messages[i]);
    piece_words(t->p, last ? "" : "\n");
    if (!is_tool(t, i + 1)) {
        piece_mark(t->p, "<|im_end|>"); /* and no line's end after it */
    }
}

void tools_hermes(struct tool_talk *t)
{
    hermes_system(t);
    for (size_t i = 0; i < t->talk->n; i++) {
        const struct template_message *m = &t->talk->messages[i];
        if (m->role == TEMPLATE_TOOL) {
            hermes_result(t, i);
        } else if (m->n_calls == 0) {
            plain_turn(t, m->role, m->content);
        } else {
            open_turn(t, "assistant");
            for (size_t k = 0; k < m->n_calls; k++) {
                piece_words(t->p, "\n");
                call(t, &m->calls[k]);
            }
            close_turn(t);
        }
    }
    open_turn(t, "assistant\n");
}
