#include "model/template.h"

#include "tests/unit/model/template_tools_golden.h"
#include "tests/unit/test.h"

#define TEXT(z)                                                                                    \
    {                                                                                              \
        .ptr = (z), .len = sizeof(z) - 1                                                           \
    } /* STR is no constant */

static const struct str tools[] = {
    TEXT("{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"Weather "
         "of "
         "a \\u00e9t\\u00e9 city.\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{"
         "\"type\":\"string\",\"description\":\"A city\"},\"days\":{\"type\":[\"integer\","
         "\"string\"],\"minimum\":1,\"description\":\" how many \"}},\"required\":[\"city\"],"
         "\"additionalProperties\":false}}}"),
    TEXT("{\"type\":\"function\",\"function\":{\"name\":\"list_files\",\"description\":\"Files\","
         "\"parameters\":{\"type\":\"object\",\"properties\":{\"tags\":{\"type\":\"array\","
         "\"items\":{\"type\":\"string\"},\"description\":\"All\"},\"share\":{\"type\":\"number\","
         "\"default\":0.1,\"description\":\"x\"},\"more\":{\"type\":\"object\",\"description\":"
         "\"y\"},\"map\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"boolean\"},"
         "\"description\":\"z\"}}}}}"),
    TEXT("{\"type\":\"function\",\"function\":{\"name\":\"now\",\"description\":\"Time\","
         "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}"),
};

static const struct template_call rain = {TEXT("abcdef123"), TEXT("get_weather"),
                                          TEXT("{\"city\":\"K\xC3\xB6ln\",\"days\":2}")};
static const struct template_call several[] = {
    {TEXT("abcdef123"), TEXT("get_weather"), TEXT("{\"city\": \"Bonn\"}")},
    {TEXT("ghijkl456"), TEXT("list_files"), TEXT("{\"tags\":[\"a\",\"b\"],\"share\":2.5e-1}")},
};

#define SYSTEM                                                                                     \
    {                                                                                              \
        .role = TEMPLATE_SYSTEM, .content = TEXT("Be brief.")                                      \
    }
#define QUESTION                                                                                   \
    {                                                                                              \
        .role = TEMPLATE_USER, .content = TEXT("Rain in K\xC3\xB6ln?")                             \
    }
#define RESULT(id, text)                                                                           \
    {                                                                                              \
        .role = TEMPLATE_TOOL, .content = TEXT(text), .call_id = TEXT(id)                          \
    }

static const struct template_message result[] = {
    SYSTEM,
    QUESTION,
    {.role = TEMPLATE_ASSISTANT, .content = TEXT(""), .calls = &rain, .n_calls = 1},
    RESULT("abcdef123", "{\"mm\": 1.5, \"note\": \"wet\nday\"}"),
};
static const struct template_message two[] = {
    SYSTEM,
    QUESTION,
    {.role = TEMPLATE_ASSISTANT, .content = TEXT("Let me look."), .calls = several, .n_calls = 2},
    RESULT("abcdef123", "dry"),
    RESULT("ghijkl456", "[]"),
    {.role = TEMPLATE_ASSISTANT, .content = TEXT("It is dry.")},
    {.role = TEMPLATE_USER, .content = TEXT("Thanks. And now?")},
};

static enum template_tools form_of(const char *name)
{
    for (enum template_tools f = TOOLS_NONE; f < TOOLS_FORMS; f++) {
        if (strcmp(template_tools_name(f), name) == 0) {
            return f;
        }
    }
    return TOOLS_NONE;
}

static struct template_talk talk_of(const char *name)
{
    if (strcmp(name, "first") == 0) {
        return (struct template_talk){.messages = result, .n = 2, .tools = tools, .n_tools = 3};
    }
    if (strcmp(name, "bare") == 0) {
        return (struct template_talk){.messages = result + 1, .n = 1, .tools = tools, .n_tools = 3};
    }
    if (strcmp(name, "result") == 0) {
        return (struct template_talk){.messages = result, .n = 4};
    }
    return (struct template_talk){.messages = two, .n = 7, .tools = tools, .n_tools = 3};
}

static void prompts_are_those_of_the_makers_templates(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT_OF(golden); k++) {
        struct template_pieces p;
        struct error err = {0};
        struct buf text;
        enum template_tools form = form_of(golden[k].form);
        struct template_talk talk = talk_of(golden[k].talk);
        struct template_message one[6] = {two[0], two[1], two[2], two[3], two[5], two[6]};
        if (form == TOOLS_LLAMA3 && talk.n == 7) { /* it calls once a turn */
            one[2].n_calls = 1;
            talk.messages = one;
            talk.n = 6;
        }
        if (form == TOOLS_HERMES && talk.n_tools == 0) { /* it cannot do without */
            talk.tools = tools;
            talk.n_tools = 3;
        }
        buf_init(&text, 65536);
        if (template_render_tools(form, &talk, &p, &err) != STATUS_OK) {
            fail_msg("%s %s: %s", golden[k].form, golden[k].talk, err.text);
        }
        template_text(&p, &text);
        buf_char(&text, '\0');
        if (strcmp(text.ptr, golden[k].text) != 0) {
            fail_msg("%s %s:\n%s\nnot\n%s", golden[k].form, golden[k].talk, text.ptr,
                     golden[k].text);
        }
        template_pieces_deinit(&p);
        buf_deinit(&text);
    }
}

static void forms_are_told_by_their_marks(void **state)
{
    (void)state;
    static const struct {
        enum template_family family;
        const char *jinja;
        enum template_tools form;
    } rows[] = {
        {TEMPLATE_QWEN, "<tools>\" }}...\\n{\\\"name\\\": <function-name>, <|im_start|>",
         TOOLS_QWEN},
        {TEMPLATE_QWEN_THINKING, "<tools>\" }}{\\\"name\\\": <function-name>, enable_thinking",
         TOOLS_QWEN_THINKING},
        {TEMPLATE_QWEN, "<tools>... \"title\": \"FunctionCall\" ... <tool_call>", TOOLS_HERMES},
        {TEMPLATE_CHATML, "<|im_start|>", TOOLS_NONE},
        {TEMPLATE_LLAMA3, "<|start_header_id|>", TOOLS_NONE},
        {TEMPLATE_LLAMA3, "Given the following functions, ... ipython", TOOLS_LLAMA3},
        {TEMPLATE_MISTRAL_V3, "{{- \"[AVAILABLE_TOOLS] [\" }}", TOOLS_MISTRAL},
        {TEMPLATE_MISTRAL_V3_TEKKEN, "{{- \"[AVAILABLE_TOOLS][\" }}", TOOLS_MISTRAL_TEKKEN},
        {TEMPLATE_MISTRAL_V7_TEKKEN, "[SYSTEM_PROMPT][AVAILABLE_TOOLS][CALL_ID][ARGS]",
         TOOLS_MISTRAL_ARGS},
        {TEMPLATE_MISTRAL_V7_TEKKEN, "[SYSTEM_PROMPT] tools_definition [AVAILABLE_TOOLS][ARGS]",
         TOOLS_MISTRAL_NAMED},
        {TEMPLATE_GEMMA, "<start_of_turn>", TOOLS_NONE},
        {TEMPLATE_QWEN, "", TOOLS_QWEN},
        {TEMPLATE_LLAMA3, "", TOOLS_NONE},
    };
    for (size_t k = 0; k < COUNT_OF(rows); k++) {
        enum template_tools form = template_tools_of(rows[k].family, str_from(rows[k].jinja));
        if (form != rows[k].form) {
            fail_msg("%s: told as %s", rows[k].jinja, template_tools_name(form));
        }
    }
}

static void what_a_template_cannot_say_is_refused(void **state)
{
    (void)state;
    struct template_pieces p;
    struct error err;
    struct template_talk talk = talk_of("several");
    assert_int_equal(template_render_tools(TOOLS_NONE, &talk, &p, &err), STATUS_UNSUPPORTED);
    assert_int_equal(template_render_tools(TOOLS_LLAMA3, &talk, &p, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "one a turn"));
    const struct template_message stray[] = {QUESTION, RESULT("nobody", "x")};
    talk = (struct template_talk){.messages = stray, .n = 2};
    assert_int_equal(template_render_tools(TOOLS_QWEN, &talk, &p, &err), STATUS_INVALID);
    const struct template_call bad[] = {{STR("a"), STR("f"), STR("{\"x\": ")},
                                        {STR("a"), STR("f"), STR("[1]")},
                                        {STR("a"), STR(""), STR("{}")}};
    for (size_t k = 0; k < COUNT_OF(bad); k++) {
        struct template_message m[] = {
            QUESTION,
            {.role = TEMPLATE_ASSISTANT, .content = STR(""), .calls = &bad[k], .n_calls = 1},
            RESULT("a", "x")};
        talk = (struct template_talk){.messages = m, .n = 3};
        assert_int_equal(template_render_tools(TOOLS_QWEN, &talk, &p, &err), STATUS_INVALID);
    }
    char deep[300];
    memset(deep, '[', sizeof deep);
    const struct str declarations[] = {{deep, sizeof deep}};
    talk = (struct template_talk){.messages = stray, .n = 1, .tools = declarations, .n_tools = 1};
    assert_int_equal(template_render_tools(TOOLS_QWEN, &talk, &p, &err), STATUS_TOO_LARGE);
}

/* Clients name calls as they like. */
static void mistral_has_ids_of_nine(void **state)
{
    (void)state;
    struct template_call call = rain;
    struct template_message m[] = {
        QUESTION,
        {.role = TEMPLATE_ASSISTANT, .content = STR(""), .calls = &call, .n_calls = 1},
        RESULT("call_0123456789-long", "x")};
    struct template_talk talk = {.messages = m, .n = 3};
    struct template_pieces p;
    struct error err;
    struct buf text;
    call.id = m[2].call_id;
    buf_init(&text, 4096);
    assert_int_equal(template_render_tools(TOOLS_MISTRAL, &talk, &p, &err), STATUS_OK);
    template_text(&p, &text);
    buf_char(&text, '\0');
    const char *id = strstr(text.ptr, "\"id\": \"");
    assert_non_null(id);
    id += 7;
    assert_int_equal(strcspn(id, "\""), 9);
    const char *again = strstr(text.ptr, "\"call_id\": \"");
    assert_non_null(again);
    assert_memory_equal(id, again + 12, 9);
    template_pieces_deinit(&p);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(prompts_are_those_of_the_makers_templates),
        cmocka_unit_test(forms_are_told_by_their_marks),
        cmocka_unit_test(what_a_template_cannot_say_is_refused),
        cmocka_unit_test(mistral_has_ids_of_nine),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
