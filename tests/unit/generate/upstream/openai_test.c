#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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

static const struct {
    const char *json;
    enum status status;
    const char *text;
    const char *reason;
    bool done;
} rows[] = {
    {"[DONE]", STATUS_OK, "", NULL, true},
    {"{\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}", STATUS_OK, "", NULL, false},
    {"{\"choices\":[{\"delta\":{\"content\":\"hé\"},\"finish_reason\":null}]}", STATUS_OK, "hé", NULL,
     false},
    {"{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}", STATUS_OK, "", "length", false},
    {"{\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}", STATUS_OK, "", "stop", false},
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_request), cmocka_unit_test(test_pieces),
                                       cmocka_unit_test(test_depth_is_limited)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
