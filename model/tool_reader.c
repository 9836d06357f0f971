#include "model/tool_reader.h"

#include <ctype.h>
#include <string.h>

#include "model/json_text.h"

#define PIECE ((size_t)32 * 1024)

static const struct {
    const char *open, *close; /* marks; "" where there are none */
    const char *arguments;    /* the member that holds them */
    const char *more[2];      /* other marks */
} forms[TOOLS_FORMS] = {
    [TOOLS_NONE] = {"", "", "", {NULL}},
    [TOOLS_QWEN] = {"<tool_call>", "</tool_call>", "arguments", {NULL}},
    [TOOLS_QWEN_THINKING] = {"<tool_call>", "</tool_call>", "arguments", {NULL}},
    [TOOLS_HERMES] = {"<tool_call>", "</tool_call>", "arguments", {NULL}},
    [TOOLS_LLAMA3] = {"", "", "parameters", {"<|python_tag|>"}},
    [TOOLS_MISTRAL] = {"[TOOL_CALLS]", "", "arguments", {NULL}},
    [TOOLS_MISTRAL_TEKKEN] = {"[TOOL_CALLS]", "", "arguments", {NULL}},
    [TOOLS_MISTRAL_ARGS] = {"[TOOL_CALLS]", "", "arguments", {"[CALL_ID]", "[ARGS]"}},
    [TOOLS_MISTRAL_NAMED] = {"[TOOL_CALLS]", "", "arguments", {"[ARGS]"}},
};

size_t tool_marks(enum template_tools form, struct str *out)
{
    size_t n = 0;
    const char *all[TOOL_MARKS_MAX] = {forms[form].open, forms[form].close, forms[form].more[0],
                                       forms[form].more[1]};
    for (size_t i = 0; i < TOOL_MARKS_MAX; i++) {
        if (all[i] != NULL && all[i][0] != '\0') {
            out[n++] = str_from(all[i]);
        }
    }
    return n;
}

void tool_reader_init(struct tool_reader *r, enum template_tools form, const struct str *names,
                      size_t n_names, const struct tool_sink *sink)
{
    *r = (struct tool_reader){.form = form,
                              .names = names,
                              .n_names = n_names,
                              .sink = sink,
                              .free = form == TOOLS_NONE || n_names == 0};
    buf_init(&r->held, TOOL_CALL_MAX + 2 * PIECE);
}

void tool_reader_deinit(struct tool_reader *r)
{
    buf_deinit(&r->held);
}

void tool_reader_opened(struct tool_reader *r, struct str name)
{
    r->name = template_names_first(r->form) ? name : STR("");
    r->state = READER_CALL;
    r->mark = 0;
}

/* ---- small things ---- */

static struct str rest_of(const struct tool_reader *r, size_t from)
{
    struct str all = buf_view(&r->held);
    return (struct str){all.ptr + from, all.len - from};
}

static size_t spaces(struct str s)
{
    size_t n = 0;
    while (n < s.len && isspace((unsigned char)s.ptr[n])) {
        n++;
    }
    return n;
}

static void say(struct tool_reader *r, size_t n)
{
    if (n > 0) {
        r->sink->text(r->sink->data, (struct str){r->held.ptr, n});
        buf_consume(&r->held, n);
    }
}

/* Bytes of the JSON object or array at the start of s; 0: not whole yet. */
static size_t balanced(struct str s)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* How many bytes at the end of s may be the beginning of the mark. */
static size_t half_mark(struct str s, struct str mark)
{
    size_t n = s.len < mark.len - 1 ? s.len : mark.len - 1;
    while (n > 0 && memcmp(s.ptr + s.len - n, mark.ptr, n) != 0) {
        n--;
    }
    return n;
}

/* ---- a call ---- */

static bool declared(const struct tool_reader *r, struct str name)
{
    for (size_t i = 0; i < r->n_names; i++) {
        if (str_eq(r->names[i], name)) {
            return true;
        }
    }
    return false;
}

/* Arguments come as an object, from some models as a string that holds one. */
static json_t *arguments_of(const json_t *call, const char *member)
{
    struct error ignored;
    json_t *v = json_object_get(call, member);
    v = v != NULL ? v : json_object_get(call, "arguments");
    v = v != NULL ? v : json_object_get(call, "parameters");
    if (json_is_string(v)) {
        v = json_text_parse((struct str){json_string_value(v), json_string_length(v)}, "arguments",
                            &ignored);
    } else {
        v = v == NULL ? json_object() : json_incref(v);
    }
    if (v != NULL && !json_is_object(v)) {
        json_decref(v);
        v = NULL;
    }
    return v;
}

static bool tell(struct tool_reader *r, struct str name, const json_t *arguments)
{
    struct buf b;
    buf_init(&b, 2 * TOOL_CALL_MAX);
    json_text_write(arguments, 0, &b);
    bool ok = buf_status(&b) == STATUS_OK;
    if (ok) {
        r->calls++;
        r->sink->call(r->sink->data, name, buf_view(&b));
    }
    buf_deinit(&b);
    return ok;
}

static bool is_call(const struct tool_reader *r, const json_t *call)
{
    const json_t *name = json_object_get(call, "name");
    json_t *arguments = arguments_of(call, forms[r->form].arguments);
    bool ok = json_is_string(name) && arguments != NULL &&
              declared(r, (struct str){json_string_value(name), json_string_length(name)});
    json_decref(arguments);
    return ok;
}

static bool tell_one(struct tool_reader *r, const json_t *call)
{
    const json_t *name = json_object_get(call, "name");
    json_t *arguments = arguments_of(call, forms[r->form].arguments);
    bool ok = tell(r, (struct str){json_string_value(name), json_string_length(name)}, arguments);
    json_decref(arguments);
    return ok;
}

/* One call, or a list of them: all or none. */
static bool tell_all(struct tool_reader *r, struct str body)
{
    struct error ignored;
    json_t *v = json_text_parse(body, "call", &ignored);
    bool list = json_is_array(v), ok = v != NULL && (!list || json_array_size(v) > 0);
    for (size_t i = 0; ok && list && i < json_array_size(v); i++) {
        ok = is_call(r, json_array_get(v, i));
    }
    ok = ok && (list || is_call(r, v));
    for (size_t i = 0; ok && list && i < json_array_size(v); i++) {
        ok = tell_one(r, json_array_get(v, i));
    }
    ok = ok && (list || tell_one(r, v));
    json_decref(v);
    return ok;
}

enum reading { READING_MORE, READING_NONE, READING_DONE };

static bool tell_arguments(struct tool_reader *r, struct str name, struct str body)
{
    struct error ignored;
    json_t *v = json_text_parse(body, "arguments", &ignored);
    bool ok = json_is_object(v) && tell(r, name, v);
    json_decref(v);
    return ok;
}

/* "{...}" or "[...]" behind white space. */
static enum reading read_json(struct tool_reader *r, size_t from, size_t *end)
{
    struct str s = rest_of(r, from);
    size_t skip = spaces(s);
    if (skip == s.len) {
        return READING_MORE;
    }
    if (s.ptr[skip] != '{' && s.ptr[skip] != '[') {
        return READING_NONE;
    }
    size_t n = balanced(rest_of(r, from + skip));
    if (n == 0) {
        return READING_MORE;
    }
    *end = from + skip + n;
    struct str body = {s.ptr + skip, n};
    bool ok = r->name.len > 0 ? tell_arguments(r, r->name, body) : tell_all(r, body);
    return ok ? READING_DONE : READING_NONE;
}

/* "name[CALL_ID]id[ARGS]{...}"; some leave the id out. */
static enum reading read_args(struct tool_reader *r, size_t from, size_t *end)
{
    static const char args[] = "[ARGS]";
    struct str s = rest_of(r, from);
    const char *at = s.len > 0 ? memmem(s.ptr, s.len, args, sizeof args - 1) : NULL;
    if (at == NULL) {
        return s.len > 512 ? READING_NONE : READING_MORE;
    }
    struct str name = {s.ptr, (size_t)(at - s.ptr)};
    const char *bracket = memchr(name.ptr, '[', name.len);
    name.len = bracket == NULL ? name.len : (size_t)(bracket - name.ptr);
    size_t skip = (size_t)(at - s.ptr) + sizeof args - 1;
    skip += spaces(rest_of(r, from + skip));
    struct str body = rest_of(r, from + skip);
    if (!declared(r, name) || (body.len > 0 && body.ptr[0] != '{')) {
        return READING_NONE;
    }
    body.len = balanced(body);
    if (body.len == 0) {
        return READING_MORE;
    }
    *end = from + skip + body.len;
    return tell_arguments(r, name, body) ? READING_DONE : READING_NONE;
}

/* ---- states; each returns true when it has moved on ---- */

/* A mark that opens nothing is text; what follows is looked at anew. */
static bool no_call(struct tool_reader *r)
{
    r->state = READER_TEXT;
    if (forms[r->form].open[0] == '\0') {
        r->free = true; /* any JSON begins so */
    } else {
        r->refused = true;
        size_t mark = r->mark;
        r->mark = 0;
        say(r, mark);
        r->free = r->free || mark == 0; /* the prompt opened the call */
    }
    return true;
}

static bool on_call(struct tool_reader *r)
{
    size_t end = 0;
    enum reading got = template_names_first(r->form) && r->name.len == 0
                           ? read_args(r, r->mark, &end)
                           : read_json(r, r->mark, &end);
    if (got == READING_MORE && r->held.len <= TOOL_CALL_MAX) {
        return false;
    }
    if (got != READING_DONE) {
        return no_call(r);
    }
    buf_consume(&r->held, end);
    r->mark = 0;
    r->name = STR("");
    r->state = READER_AFTER;
    return true;
}

/* The closing mark and white space go; then text, or the next call. */
static bool on_after(struct tool_reader *r)
{
    struct str close = str_from(forms[r->form].close);
    size_t skip = spaces(buf_view(&r->held));
    struct str s = rest_of(r, skip);
    if (s.len == 0) {
        return false;
    }
    if (close.len > 0 && str_starts(s, close)) {
        buf_consume(&r->held, skip + close.len);
        return true;
    }
    if (close.len > s.len && memcmp(s.ptr, close.ptr, s.len) == 0) {
        return false;
    }
    if (r->form == TOOLS_LLAMA3 && (s.ptr[0] == ';' || s.ptr[0] == ',')) {
        skip++;
    }
    buf_consume(&r->held, skip);
    r->state = READER_TEXT;
    return true;
}

/* Without a mark a call begins where an answer begins, with a brace. */
static bool on_unmarked(struct tool_reader *r)
{
    static const char tag[] = "<|python_tag|>";
    size_t skip = spaces(buf_view(&r->held));
    struct str s = rest_of(r, skip);
    size_t half = s.len < sizeof tag - 1 ? s.len : sizeof tag - 1;
    if (s.len == 0 || (half < sizeof tag - 1 && memcmp(s.ptr, tag, half) == 0)) {
        return false;
    }
    if (s.ptr[0] == '{' || memcmp(s.ptr, tag, half) == 0) {
        r->mark = s.ptr[0] == '{' ? skip : skip + half;
        r->state = READER_CALL;
    } else {
        r->free = true;
    }
    return true;
}

static bool on_text(struct tool_reader *r)
{
    struct str s = buf_view(&r->held);
    if (r->free) {
        say(r, s.len);
        return false;
    }
    struct str open = str_from(forms[r->form].open);
    if (open.len == 0) {
        return on_unmarked(r);
    }
    const char *at = s.len > 0 ? memmem(s.ptr, s.len, open.ptr, open.len) : NULL;
    if (at == NULL) {
        say(r, s.len - half_mark(s, open));
        return false;
    }
    say(r, (size_t)(at - s.ptr));
    r->mark = open.len;
    r->state = READER_CALL;
    return true;
}

/* Piece by piece: what has gathered behind a slow reader may be more than is ever held. */
void tool_reader_add(struct tool_reader *r, struct str text)
{
    for (size_t at = 0; at < text.len && buf_status(&r->held) == STATUS_OK;) {
        size_t n = text.len - at < PIECE ? text.len - at : PIECE;
        buf_append(&r->held, text.ptr + at, n);
        at += n;
        bool more = buf_status(&r->held) == STATUS_OK;
        while (more) {
            more = r->state == READER_TEXT   ? on_text(r)
                   : r->state == READER_CALL ? on_call(r)
                                             : on_after(r);
        }
    }
}

enum status tool_reader_end(struct tool_reader *r, struct error *err)
{
    enum status s = buf_status(&r->held);
    if (s != STATUS_OK) {
        return error_set(err, s, "the answer: %s", status_text(s));
    }
    if (r->state != READER_AFTER) {
        r->refused = r->refused || r->state == READER_CALL;
        say(r, r->held.len);
    }
    buf_reset(&r->held);
    return STATUS_OK;
}
