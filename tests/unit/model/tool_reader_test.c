#include "model/tool_reader.h"

#include "tests/unit/test.h"

/* What came out, as one line: text as it is, calls as <name arguments>. */
static void on_text(void *data, struct str s)
{
    buf_str(data, s);
}

static void on_call(void *data, struct str name, struct str arguments)
{
    buf_printf(data, "<%.*s %.*s>", STR_ARG(name), STR_ARG(arguments));
}

#define CALL "{\"name\": \"rain\", \"arguments\": {\"city\": \"K\xC3\xB6ln\"}}"
#define LLAMA_CALL "{\"name\": \"rain\", \"parameters\": {\"city\": \"Bonn\"}}"

static const struct {
    enum template_tools form;
    const char *written, *read;
    size_t calls;
} rows[] = {
    {TOOLS_QWEN, "Just < text <tool", "Just < text <tool", 0},
    {TOOLS_QWEN, "<tool_call>\n" CALL "\n</tool_call>", "<rain {\"city\": \"K\xC3\xB6ln\"}>", 1},
    {TOOLS_QWEN, "Look: <tool_call>" CALL "</tool_call>\n<tool_call>\n" CALL "\n</tool_call>\n",
     "Look: <rain {\"city\": \"K\xC3\xB6ln\"}><rain {\"city\": \"K\xC3\xB6ln\"}>", 2},
    {TOOLS_HERMES, "<tool_call>{\"name\":\"now\"}</tool_call> done", "<now {}>done", 1},
    {TOOLS_QWEN, "<tool_call>{\"name\":\"rain\",\"arguments\":\"{\\\"city\\\":1}\"}",
     "<rain {\"city\": 1}>", 1},
    /* the closing mark within a string is no end */
    {TOOLS_QWEN,
     "<tool_call>{\"name\":\"rain\",\"arguments\":{\"c\":\"</tool_call>}\"}}</tool_call>x",
     "<rain {\"c\": \"</tool_call>}\"}>x", 1},
    /* not offered, no JSON, no object, cut off: text */
    {TOOLS_QWEN, "<tool_call>{\"name\":\"rm\",\"arguments\":{}}</tool_call>",
     "<tool_call>{\"name\":\"rm\",\"arguments\":{}}</tool_call>", 0},
    {TOOLS_QWEN, "<tool_call>{\"name\":}</tool_call>", "<tool_call>{\"name\":}</tool_call>", 0},
    {TOOLS_QWEN, "<tool_call>rain</tool_call>", "<tool_call>rain</tool_call>", 0},
    {TOOLS_QWEN, "<tool_call>{\"name\":\"rain\",\"arguments\":[1]}",
     "<tool_call>{\"name\":\"rain\",\"arguments\":[1]}", 0},
    {TOOLS_QWEN, "a<tool_call>{\"name\":\"rain\",\"argu", "a<tool_call>{\"name\":\"rain\",\"argu",
     0},
    /* a wrong one does not hide a right one */
    {TOOLS_QWEN, "<tool_call>no <tool_call>" CALL,
     "<tool_call>no <rain {\"city\": \"K\xC3\xB6ln\"}>", 1},
    {TOOLS_LLAMA3, " " LLAMA_CALL, "<rain {\"city\": \"Bonn\"}>", 1},
    {TOOLS_LLAMA3, "<|python_tag|>" LLAMA_CALL "; " LLAMA_CALL,
     "<rain {\"city\": \"Bonn\"}><rain {\"city\": \"Bonn\"}>", 2},
    {TOOLS_LLAMA3, "It is " LLAMA_CALL, "It is " LLAMA_CALL, 0},
    {TOOLS_LLAMA3, "{\"a\": 1} and more", "{\"a\": 1} and more", 0},
    {TOOLS_LLAMA3, "<|python_", "<|python_", 0},
    {TOOLS_MISTRAL, "[TOOL_CALLS] [" CALL ", {\"name\": \"now\", \"arguments\": {}}]",
     "<rain {\"city\": \"K\xC3\xB6ln\"}><now {}>", 2},
    {TOOLS_MISTRAL_TEKKEN, "[TOOL_CALLS][" CALL ", {\"name\": \"rm\", \"arguments\": {}}]",
     "[TOOL_CALLS][" CALL ", {\"name\": \"rm\", \"arguments\": {}}]", 0},
    {TOOLS_MISTRAL_ARGS,
     "Ok[TOOL_CALLS]rain[CALL_ID]abcdefghi[ARGS]{\"city\":\"a\"}"
     "[TOOL_CALLS]now[ARGS]{}",
     "Ok<rain {\"city\": \"a\"}><now {}>", 2},
    {TOOLS_MISTRAL_NAMED, "[TOOL_CALLS]rain[ARGS]{\"city\":\"a\"}[TOOL_CALLS]now[ARGS]{}",
     "<rain {\"city\": \"a\"}><now {}>", 2},
    {TOOLS_MISTRAL_ARGS, "[TOOL_CALLS]rm[ARGS]{}", "[TOOL_CALLS]rm[ARGS]{}", 0},
    {TOOLS_NONE, "<tool_call>" CALL, "<tool_call>" CALL, 0},
};

static const struct str names[] = {{"rain", 4}, {"now", 3}};

/* step 0: all at once, else so many bytes at a time. */
static void read_all(size_t k, size_t step, struct buf *out, size_t *calls)
{
    struct tool_sink sink = {.text = on_text, .call = on_call, .data = out};
    struct tool_reader r;
    struct error err;
    struct str s = str_from(rows[k].written);
    tool_reader_init(&r, rows[k].form, names, COUNT_OF(names), &sink);
    for (size_t i = 0; i < s.len; i += step) {
        step = step == 0 || step > s.len - i ? s.len - i : step;
        tool_reader_add(&r, (struct str){s.ptr + i, step});
    }
    assert_int_equal(tool_reader_end(&r, &err), STATUS_OK);
    *calls = r.calls;
    tool_reader_deinit(&r);
    buf_char(out, '\0');
}

static void calls_are_told_from_text_however_it_comes(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT_OF(rows); k++) {
        for (size_t step = 0; step < 5; step++) {
            struct buf out;
            size_t calls = 0;
            buf_init(&out, 65536);
            read_all(k, step, &out, &calls);
            if (strcmp(out.ptr, rows[k].read) != 0 || calls != rows[k].calls) {
                fail_msg("%s by %zu:\n%s\n%zu calls", rows[k].written, step, out.ptr, calls);
            }
            buf_deinit(&out);
        }
    }
}

/* Text does not wait for the end; nothing of a mark leaves before it is known to be none. */
static void text_goes_on_and_half_marks_stay(void **state)
{
    (void)state;
    struct buf out;
    struct tool_sink sink = {.text = on_text, .call = on_call, .data = &out};
    struct tool_reader r;
    struct error err;
    buf_init(&out, 65536);
    tool_reader_init(&r, TOOLS_QWEN, names, COUNT_OF(names), &sink);
    tool_reader_add(&r, STR("abc<tool"));
    assert_int_equal(out.len, 3);
    tool_reader_add(&r, STR("s are"));
    assert_int_equal(out.len, 13);
    tool_reader_add(&r, STR("<tool_call>{\"name"));
    assert_int_equal(out.len, 13);
    assert_int_equal(tool_reader_end(&r, &err), STATUS_OK);
    assert_true(r.refused);
    tool_reader_deinit(&r);
    buf_deinit(&out);
}

/* A prompt can end with the opening. */
static void an_opened_call_needs_no_mark(void **state)
{
    (void)state;
    struct buf out;
    struct tool_sink sink = {.text = on_text, .call = on_call, .data = &out};
    struct tool_reader r;
    struct error err;
    buf_init(&out, 65536);
    tool_reader_init(&r, TOOLS_MISTRAL, names, COUNT_OF(names), &sink);
    tool_reader_opened(&r, STR(""));
    tool_reader_add(&r, STR("[" CALL "]"));
    assert_int_equal(tool_reader_end(&r, &err), STATUS_OK);
    assert_int_equal(r.calls, 1);
    tool_reader_deinit(&r);
    tool_reader_init(&r, TOOLS_MISTRAL_ARGS, names, COUNT_OF(names), &sink);
    tool_reader_opened(&r, STR("now"));
    tool_reader_add(&r, STR("{\"a\":1"));
    tool_reader_add(&r, STR("}"));
    assert_int_equal(tool_reader_end(&r, &err), STATUS_OK);
    assert_non_null(memmem(out.ptr, out.len, "<now {\"a\": 1}>", 14));
    tool_reader_deinit(&r);
    buf_deinit(&out);
}

static void an_endless_call_is_text(void **state)
{
    (void)state;
    static char long_text[TOOL_CALL_MAX + 1000];
    struct buf out;
    struct tool_sink sink = {.text = on_text, .call = on_call, .data = &out};
    struct tool_reader r;
    struct error err;
    memset(long_text, ' ', sizeof long_text);
    buf_init(&out, 1 << 20);
    tool_reader_init(&r, TOOLS_QWEN, names, COUNT_OF(names), &sink);
    tool_reader_add(&r, STR("<tool_call>{"));
    tool_reader_add(&r, (struct str){long_text, sizeof long_text});
    tool_reader_add(&r, STR("}"));
    assert_int_equal(tool_reader_end(&r, &err), STATUS_OK);
    assert_int_equal(out.len, sizeof long_text + 13);
    tool_reader_deinit(&r);
    buf_deinit(&out);
}

/* What gathers while the reader of the answer is slow comes at once, however much it is. */
static void much_at_once_is_read_as_little_by_little(void **state)
{
    (void)state;
    static char text[4 * TOOL_CALL_MAX];
    static const char call[] = "<tool_call>" CALL "</tool_call>";
    struct buf out;
    struct tool_sink sink = {.text = on_text, .call = on_call, .data = &out};
    struct tool_reader r;
    struct error err;
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text / 2, call, sizeof call - 1);
    buf_init(&out, 2 * sizeof text);
    tool_reader_init(&r, TOOLS_QWEN, names, COUNT_OF(names), &sink);
    tool_reader_add(&r, (struct str){text, sizeof text});
    assert_int_equal(tool_reader_end(&r, &err), STATUS_OK);
    assert_int_equal(r.calls, 1);
    assert_int_equal(out.len,
                     sizeof text - (sizeof call - 1) + strlen("<rain {\"city\": \"Koln\"}>") + 1);
    tool_reader_deinit(&r);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(calls_are_told_from_text_however_it_comes),
        cmocka_unit_test(text_goes_on_and_half_marks_stay),
        cmocka_unit_test(an_opened_call_needs_no_mark),
        cmocka_unit_test(an_endless_call_is_text),
        cmocka_unit_test(much_at_once_is_read_as_little_by_little),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
