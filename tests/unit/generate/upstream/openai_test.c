#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "generate/upstream/openai.h"

static void test_request(void **state)
{
    (void)state;
    Ge__ChatRequest ask = GE__CHAT_REQUEST__INIT;
    char blank[] = "\n\n", word[] = "END";
    char *stop[] = {blank, word};
    ask.has_temperature = ask.has_max_tokens = ask.has_seed = true;
    ask.temperature = .5F;
    ask.max_tokens = 77;
    ask.seed = 3;
    ask.stop = stop;
    ask.n_stop = 2;
    ask.has_presence_penalty = ask.has_frequency_penalty = true;
    ask.presence_penalty = .25F;
    ask.frequency_penalty = -1;
    struct prompt p;
    struct buf out;
    struct error err = {0};
    prompt_init(&p);
    buf_init(&out, 65536);
    buf_z(&p.system, "rules \"quoted\"\n");
    buf_z(&p.user, "Größe?\x01");
    assert_int_equal(openai_request(&ask, &p, "m-1", &out, &err), STATUS_OK);
    json_t *o = json_loads(buf_view(&out).ptr, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "model")), "m-1");
    assert_true(json_is_true(json_object_get(o, "stream")));
    assert_int_equal(json_integer_value(json_object_get(o, "max_tokens")), 77);
    assert_int_equal(json_array_size(json_object_get(o, "stop")), 2);
    assert_null(json_object_get(o, "top_p"));
    assert_true(json_real_value(json_object_get(o, "presence_penalty")) > .2);
    assert_true(json_real_value(json_object_get(o, "frequency_penalty")) < -.9);
    json_t *messages = json_object_get(o, "messages");
    assert_string_equal(json_string_value(json_object_get(json_array_get(messages, 0), "content")),
                        "rules \"quoted\"\n");
    assert_string_equal(json_string_value(json_object_get(json_array_get(messages, 1), "content")),
                        "Größe?\x01");
    json_decref(o);
    buf_reset(&out);
    buf_z(&p.user, "\xff");
    assert_int_equal(openai_request(&ask, &p, "m-1", &out, &err), STATUS_INVALID);
    buf_deinit(&out);
    prompt_deinit(&p);
}

/* Functions go as the caller wrote them; of the conversation only what came after the question. */
static void test_tools(void **state)
{
    (void)state;
    Ge__ChatRequest ask = GE__CHAT_REQUEST__INIT;
    Ge__Message m[5];
    Ge__Message *messages[] = {&m[0], &m[1], &m[2], &m[3], &m[4]};
    Ge__ToolCall call = GE__TOOL_CALL__INIT;
    Ge__ToolCall *calls[] = {&call};
    Ge__Tool tool = GE__TOOL__INIT;
    Ge__Tool *tools[] = {&tool};
    static char roles[][10] = {"user", "assistant", "user", "assistant", "tool"};
    static char texts[][10] = {"before", "secret", "q", "", "wet"};
    static char id[] = "c1", name[] = "rain", arguments[] = "{\"city\": \"Ulm\"}";
    static char declaration[] = "{\"type\":\"function\",\"function\":{\"name\":\"rain\"}}";
    for (size_t i = 0; i < 5; i++) {
        ge__message__init(&m[i]);
        m[i].role = roles[i];
        m[i].content = texts[i];
    }
    call.id = id;
    call.name = name;
    call.arguments = arguments;
    m[3].calls = calls;
    m[3].n_calls = 1;
    m[4].call_id = id;
    tool.name = name;
    tool.declaration = declaration;
    ask.messages = messages;
    ask.n_messages = 5;
    ask.tools = tools;
    ask.n_tools = 1;
    ask.tool_name = name;
    ask.has_one_call = ask.one_call = true;
    struct prompt p;
    struct buf out;
    struct error err = {0};
    prompt_init(&p);
    buf_init(&out, 65536);
    assert_int_equal(openai_request(&ask, &p, "m-1", &out, &err), STATUS_OK);
    buf_char(&out, '\0');
    assert_null(strstr(out.ptr, "secret"));
    assert_non_null(strstr(out.ptr, "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
                                    "\"rain\"}}],\"tool_choice\":{\"type\":\"function\","
                                    "\"function\":{\"name\":\"rain\"}},"
                                    "\"parallel_tool_calls\":false"));
    assert_non_null(strstr(out.ptr, "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{"
                                    "\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":"
                                    "\"rain\",\"arguments\":\"{\\\"city\\\": \\\"Ulm\\\"}\"}}]}"
                                    ",{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":"
                                    "\"wet\"}]"));
    buf_deinit(&out);
    prompt_deinit(&p);
}

static void test_calls_in_pieces(void **state)
{
    (void)state;
    static const char *const events[] = {
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{"
        "\"name\":\"rain\",\"arguments\":\"\"}}]}}]}",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":"
        "\"{\\\"c\"}},{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"now\"}}]}}]}",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":"
        "\"\\\":1}\"}}]},\"finish_reason\":\"tool_calls\"}]}"};
    struct buf text;
    struct openai_calls calls = {0};
    struct openai_piece piece = {.text = &text, .calls = &calls};
    struct error err = {0};
    buf_init(&text, 4096);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(openai_piece(str_from(events[i]), &piece, &err), STATUS_OK);
    }
    assert_int_equal(calls.n, 2);
    assert_string_equal(calls.items[0].id, "a");
    assert_string_equal(calls.items[0].name, "rain");
    assert_true(str_eq(buf_view(&calls.items[0].arguments), STR("{\"c\":1}")));
    assert_string_equal(calls.items[1].name, "now");
    assert_string_equal(piece.finish_reason, "tool_calls");
    assert_int_equal(
        openai_piece(STR("{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":7}]}}]}"), &piece,
                     &err),
        STATUS_PROTOCOL);
    openai_calls_deinit(&calls);
    buf_deinit(&text);
}

static const struct {
    const char *json;
    enum status status;
    const char *text;
    const char *reason;
    bool done;
} rows[] = {
    {"[DONE]", STATUS_OK, "", NULL, true},
    {"{\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}", STATUS_OK, "", NULL, false},
    {"{\"choices\":[{\"delta\":{\"content\":\"hé\"},\"finish_reason\":null}]}", STATUS_OK, "hé",
     NULL, false},
    {"{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}", STATUS_OK, "", "length", false},
    {"{\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}", STATUS_OK, "", "stop",
     false},
    {"{\"choices\":[],\"usage\":{\"prompt_tokens\":5}}", STATUS_OK, "", NULL, false},
    {"{\"choices\":[{\"delta\":{\"content\":7}}]}", STATUS_OK, "", NULL, false},
    {"{\"choices\":[null]}", STATUS_OK, "", NULL, false},
    {"{\"choices\":{}}", STATUS_PROTOCOL, "", NULL, false},
    {"{\"error\":{\"message\":\"quota\"}}", STATUS_UNAVAILABLE, "", NULL, false},
    {"{\"error\":null,\"choices\":[]}", STATUS_OK, "", NULL, false},
    {"[1]", STATUS_PROTOCOL, "", NULL, false},
    {"", STATUS_PROTOCOL, "", NULL, false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\\u0000b\"}}]}", STATUS_PROTOCOL, "", NULL, false},
    {"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", STATUS_PROTOCOL, "", NULL, false},
};

static void test_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf text;
        struct error err = {0};
        buf_init(&text, 4096);
        struct openai_piece p = {.text = &text};
        assert_int_equal(openai_piece(str_from(rows[i].json), &p, &err), rows[i].status);
        assert_string_equal(buf_view(&text).ptr, rows[i].text);
        assert_true(p.done == rows[i].done);
        assert_string_equal(p.finish_reason == NULL ? "" : p.finish_reason,
                            rows[i].reason == NULL ? "" : rows[i].reason);
        buf_deinit(&text);
    }
}

/* A stranger's word is written down once, bounded and in printable letters. */
static void test_version(void **state)
{
    (void)state;
    char version[OPENAI_VERSION_CAP] = "";
    char longest[400];
    struct buf text;
    struct error err = {0};
    buf_init(&text, 64);
    struct openai_piece p = {.text = &text, .version = version};
    assert_int_equal(openai_piece(STR("{\"choices\":[]}"), &p, &err), STATUS_OK);
    assert_string_equal(version, "");
    assert_int_equal(
        openai_piece(STR("{\"model\":\"m-1\\n\\u00e9\",\"system_fingerprint\":\"fp\"}"), &p, &err),
        STATUS_OK);
    assert_string_equal(version, "m-1___ fp");
    assert_int_equal(openai_piece(STR("{\"model\":\"other\"}"), &p, &err), STATUS_OK);
    assert_string_equal(version, "m-1___ fp");
    version[0] = '\0';
    (void)snprintf(longest, sizeof longest, "{\"model\":\"%0300d\"}", 7);
    assert_int_equal(openai_piece(str_from(longest), &p, &err), STATUS_OK);
    assert_int_equal(strlen(version), 80);
    buf_deinit(&text);
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    static char deep[4096];
    memset(deep, '[', sizeof deep - 1);
    struct buf text;
    struct error err = {0};
    buf_init(&text, 64);
    struct openai_piece p = {.text = &text};
    assert_int_equal(openai_piece(str_from(deep), &p, &err), STATUS_PROTOCOL);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),         cmocka_unit_test(test_tools),
        cmocka_unit_test(test_calls_in_pieces), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_version),         cmocka_unit_test(test_depth_is_limited)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
