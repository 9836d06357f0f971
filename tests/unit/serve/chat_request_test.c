#include "serve/chat_request.h"

#include "tests/unit/test.h"

static enum status read_one(const char *text, struct arena *a, struct chat_request *out,
                            const char **param)
{
    struct json *doc;
    struct error err;
    assert_int_equal(jsonr_read(str_from(text), &doc, &err), STATUS_OK);
    *param = NULL;
    enum status s = chat_request_read(doc, "tiny", a, out, param, &err);
    jsonr_free(doc); /* model and stop borrow from it: not read afterwards here */
    return s;
}

#define ASK "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]"

#define TOOL "{\"type\":\"function\",\"function\":{\"name\":\"rain\"}}"

static void shapes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum status expected;
        const char *param;
    } cases[] = {
        {"{\"model\":\"carrel\"," ASK "}", STATUS_OK, NULL},
        {"{\"model\":\"carrel:handbook\"," ASK "}", STATUS_OK, NULL},
        {"{\"model\":\"carrel\",\"never\":{\"heard\":[\"of\"]},\"n\":1,\"seed\":"
         "7," ASK "}",
         STATUS_OK, NULL},
        {"{\"model\":\"carrel\",\"stop\":\"x\",\"temperature\":0.3,\"max_tokens\":5,\"stream\":"
         "false," ASK "}",
         STATUS_OK, NULL},
        {"{" ASK "}", STATUS_INVALID, "model"},
        {"{\"model\":\"gpt-4o\"," ASK "}", STATUS_NOT_FOUND, "model"},
        {"{\"model\":\"carrel:\"," ASK "}", STATUS_NOT_FOUND, "model"},
        {"{\"model\":\"carrel:a/b\"," ASK "}", STATUS_NOT_FOUND, "model"},
        {"{\"model\":\"carrelx\"," ASK "}", STATUS_NOT_FOUND, "model"},
        {"{\"model\":\"carrel\"}", STATUS_INVALID, "messages"},
        {"{\"model\":\"carrel\",\"messages\":[]}", STATUS_INVALID, "messages"},
        {"{\"model\":\"carrel\",\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"}]}",
         STATUS_INVALID, "messages"},
        {"{\"model\":\"carrel\",\"messages\":[{\"role\":\"user\",\"content\":\"  \"}]}",
         STATUS_INVALID, "messages"},
        {"{\"model\":\"carrel\",\"messages\":[{\"role\":\"wizard\",\"content\":\"x\"}]}",
         STATUS_INVALID, "messages"},
        {"{\"model\":\"carrel\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_"
         "url\"}]}]}",
         STATUS_INVALID, "messages"},
        {"{\"model\":\"carrel\",\"temperature\":9," ASK "}", STATUS_INVALID, "temperature"},
        {"{\"model\":\"carrel\",\"n\":9," ASK "}", STATUS_INVALID, "n"},
        {"{\"model\":\"carrel\",\"stream\":\"yes\"," ASK "}", STATUS_INVALID, "stream"},
        {"{\"model\":\"tiny\"," ASK "}", STATUS_OK, NULL},
        {"{\"model\":\"carrel\",\"tools\":[" TOOL "],\"tool_choice\":\"auto\"," ASK "}", STATUS_OK,
         NULL},
        {"{\"model\":\"carrel\",\"tools\":[]," ASK "}", STATUS_OK, NULL},
        {"{\"model\":\"carrel\",\"tools\":[" TOOL "],\"tool_choice\":{\"type\":\"function\","
         "\"function\":{\"name\":\"rain\"}}," ASK "}",
         STATUS_OK, NULL},
        {"{\"model\":\"carrel\",\"tools\":[{}]," ASK "}", STATUS_INVALID, "tools"},
        {"{\"model\":\"carrel\",\"tools\":{}," ASK "}", STATUS_INVALID, "tools"},
        {"{\"model\":\"carrel\",\"tools\":[" TOOL "," TOOL "]," ASK "}", STATUS_INVALID, "tools"},
        {"{\"model\":\"carrel\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
         "\"a b\"}}]," ASK "}",
         STATUS_INVALID, "tools"},
        {"{\"model\":\"carrel\",\"tool_choice\":\"required\"," ASK "}", STATUS_INVALID,
         "tool_choice"},
        {"{\"model\":\"carrel\",\"tools\":[" TOOL "],\"tool_choice\":{\"type\":\"function\","
         "\"function\":{\"name\":\"rm\"}}," ASK "}",
         STATUS_INVALID, "tool_choice"},
        {"{\"model\":\"carrel\",\"tools\":[" TOOL "],\"parallel_tool_calls\":1," ASK "}",
         STATUS_INVALID, "parallel_tool_calls"},
        {"{\"model\":\"carrel\",\"tools\":[" TOOL "],\"tool_choice\":\"required\","
         "\"response_format\":{\"type\":\"json_object\"}," ASK "}",
         STATUS_INVALID, "response_format"},
        {"{\"model\":\"carrel\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
         "\"assistant\",\"tool_calls\":[{\"id\":\"a\"}]}]}",
         STATUS_INVALID, "messages"},
        {"{\"model\":\"carrel\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
         "\"tool\",\"content\":\"x\"}]}",
         STATUS_INVALID, "messages"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena a;
        struct chat_request c;
        const char *param;
        arena_init(&a, 1 << 20);
        enum status s = read_one(cases[i].text, &a, &c, &param);
        if (s != cases[i].expected) {
            fail_msg("%s: %s", cases[i].text, status_name(s));
        }
        if (cases[i].param != NULL) {
            assert_string_equal(param, cases[i].param);
        }
        arena_reset(&a);
    }
}

static void conversation(void **state)
{
    (void)state;
    struct arena a;
    struct chat_request c;
    const char *param;
    arena_init(&a, 1 << 20);
    assert_int_equal(
        read_one("{\"model\":\"carrel\",\"stream\":true,\"stream_options\":{\"include_"
                 "usage\":true},\"messages\":["
                 "{\"role\":\"developer\",\"content\":\"be brief\"},"
                 "{\"role\":\"user\",\"content\":\"one\"},"
                 "{\"role\":\"assistant\",\"content\":[],\"tool_calls\":[{\"id\":\"x\","
                 "\"function\":{\"name\":\"rain\",\"arguments\":\"\"}}]},"
                 "{\"role\":\"assistant\",\"content\":null},"
                 "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"result\"},"
                 "{\"role\":\"assistant\",\"content\":\"answer\"},"
                 "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"two\"}"
                 ",{\"type\":\"text\",\"text\":\"lines\"}]}]}",
                 &a, &c, &param),
        STATUS_OK);
    assert_true(c.stream);
    assert_true(c.include_usage);
    assert_true(str_eq(c.question, STR("two\nlines")));
    assert_int_equal(c.n_earlier, 1);
    assert_true(str_eq(c.earlier[0], STR("one")));
    assert_int_equal(c.ask->n_messages, 6);
    assert_string_equal(c.ask->messages[0]->role, "system");
    assert_int_equal(c.ask->messages[2]->n_calls, 1);
    assert_string_equal(c.ask->messages[2]->calls[0]->arguments, "{}");
    assert_string_equal(c.ask->messages[3]->role, "tool");
    assert_string_equal(c.ask->messages[4]->content, "answer");
    assert_false(c.plain);
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(conversation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
