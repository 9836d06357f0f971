#include "model/tool_grammar.h"

#include "tests/unit/test.h"

#define TEXT(z)                                                                                    \
    {                                                                                              \
        .ptr = (z), .len = sizeof(z) - 1                                                           \
    }

static const struct tool_offer offers[] = {
    {TEXT("{\"type\":\"function\",\"function\":{\"name\":\"rain\",\"parameters\":{\"type\":"
          "\"object\",\"properties\":{\"city\":{\"$ref\":\"#/$defs/place\"},\"days\":{\"type\":"
          "\"integer\"}},\"required\":[\"city\"],\"additionalProperties\":false,\"$defs\":{"
          "\"place\":{\"enum\":[\"Bonn\",\"Ulm\"]}}}}}"),
     true},
    {TEXT("{\"type\":\"function\",\"function\":{\"name\":\"now\"}}"), false},
    /* a keyword that no grammar can keep to */
    {TEXT("{\"type\":\"function\",\"function\":{\"name\":\"odd\",\"parameters\":{\"type\":"
          "\"object\",\"properties\":{\"x\":{\"type\":\"array\",\"uniqueItems\":true}}}}}"),
     false},
};

#define RAIN "{\"name\": \"rain\", \"arguments\": {\"city\": \"Bonn\"}}"

static void an_answer_can_only_be_a_call_of_what_was_offered(void **state)
{
    (void)state;
    static const struct {
        enum template_tools form;
        size_t n;
        bool one;
        const char *text;
        bool good;
    } rows[] = {
        {TOOLS_QWEN, 2, true, "\n" RAIN, true},
        {TOOLS_QWEN, 2, true, RAIN, false},
        {TOOLS_QWEN, 2, true, "\n{\"name\": \"now\", \"arguments\": {}}", true},
        {TOOLS_QWEN, 1, true, "\n{\"name\": \"now\", \"arguments\": {}}", false},
        {TOOLS_HERMES, 2, true, "\n{\"name\": \"rain\", \"arguments\": {\"city\": \"Rome\"}}",
         false},
        {TOOLS_QWEN, 3, true, "\n{\"name\": \"odd\", \"arguments\": {\"x\": [1, 1]}}", true},
        {TOOLS_LLAMA3, 2, true, "{\"name\": \"rain\", \"parameters\": {\"city\": \"Ulm\"}}", true},
        {TOOLS_MISTRAL, 2, true, " [" RAIN "]", true},
        {TOOLS_MISTRAL_TEKKEN, 2, true, "[" RAIN ", " RAIN "]", false},
        {TOOLS_MISTRAL_TEKKEN, 2, false, "[" RAIN ", " RAIN "]", true},
        {TOOLS_MISTRAL_ARGS, 1, true, "{\"city\": \"Ulm\", \"days\": 3}", true},
        {TOOLS_MISTRAL_ARGS, 1, true, "{\"days\": 3}", false},
        {TOOLS_MISTRAL_NAMED, 1, true, "{\"city\": \"Ulm\"}", true},
    };
    for (size_t k = 0; k < COUNT_OF(rows); k++) {
        struct grammar *g = NULL;
        struct error err = {0};
        bool good = false;
        if (tool_grammar(rows[k].form, offers, rows[k].n, rows[k].one, &g, &err) != STATUS_OK) {
            fail_msg("%zu: %s", k, err.text);
        }
        assert_int_equal(grammar_matches(g, str_from(rows[k].text), &good, &err), STATUS_OK);
        if (good != rows[k].good) {
            fail_msg("%zu: %s is %s", k, rows[k].text, good ? "taken" : "refused");
        }
        grammar_free(g);
    }
}

/* Llama's calls have no mark: what begins with a brace is one, all else is free. */
static void without_a_mark_text_stays_free(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } rows[] = {{"It rains.\n{\"a\": 1}", true},
                {"{\"name\": \"now\", \"parameters\": {}}", true},
                {"{\"a\": 1}", false},
                {" {\"a\": 1}", false},
                {"{\"name\": \"now\", \"parameters\": {}} and", false}};
    struct grammar *g = NULL;
    struct error err = {0};
    assert_int_equal(tool_grammar_or_text(TOOLS_LLAMA3, offers, 2, &g, &err), STATUS_OK);
    for (size_t k = 0; k < COUNT_OF(rows); k++) {
        bool good = false;
        assert_int_equal(grammar_matches(g, str_from(rows[k].text), &good, &err), STATUS_OK);
        if (good != rows[k].good) {
            fail_msg("%s is %s", rows[k].text, good ? "taken" : "refused");
        }
    }
    grammar_free(g);
}

static void what_cannot_be_kept_to_is_said_with_the_name(void **state)
{
    (void)state;
    struct tool_offer strict = offers[2];
    struct grammar *g = NULL;
    struct error err = {0};
    strict.strict = true;
    assert_int_equal(tool_grammar(TOOLS_QWEN, &strict, 1, true, &g, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "odd"));
    assert_int_equal(tool_grammar(TOOLS_MISTRAL_ARGS, offers, 2, true, &g, &err),
                     STATUS_UNSUPPORTED);
    strict.declaration = STR("{\"type\":\"function\"}");
    assert_int_equal(tool_grammar(TOOLS_QWEN, &strict, 1, true, &g, &err), STATUS_INVALID);
    assert_null(g);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(an_answer_can_only_be_a_call_of_what_was_offered),
        cmocka_unit_test(without_a_mark_text_stays_free),
        cmocka_unit_test(what_cannot_be_kept_to_is_said_with_the_name),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
