#include "serve/http/jsonw.h"

#include <math.h>

#include "tests/unit/test.h"

static void values(void **state)
{
    (void)state;
    struct buf b;
    struct jsonw w;
    buf_init(&b, 4096);
    jsonw_init(&w, &b);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "a", "x\"\\\n\t\x01\x7f");
    jsonw_field_z(&w, "none", NULL);
    jsonw_field_int(&w, "n", -5);
    jsonw_field_double(&w, "d", 0.5);
    jsonw_field_double(&w, "nan", NAN);
    jsonw_key(&w, "list");
    jsonw_open(&w, '[');
    jsonw_bool(&w, true);
    jsonw_raw(&w, STR("{}"));
    jsonw_open(&w, '[');
    jsonw_close(&w, ']');
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    assert_string_equal(b.ptr,
                        "{\"a\":\"x\\\"\\\\\\n\\t\\u0001\\u007f\",\"none\":null,\"n\":-5,\"d\":0.5,"
                        "\"nan\":null,\"list\":[true,{},[]]}");
    buf_deinit(&b);
}

static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *as_text;
        const char *as_path;
    } cases[] = {
        {"caf\xc3\xa9", "\"caf\xc3\xa9\"", "\"caf\xc3\xa9\""},
        {"\xff", "\"\xef\xbf\xbd\"", "\"\\\\xFF\""},
        {"a\xc3", "\"a\xef\xbf\xbd\"", "\"a\\\\xC3\""},
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"", "\"\\\\xC0\\\\xAF\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", "\"\\\\xED\\\\xA0\\\\x80\""},
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"", "\"\xf0\x9f\x98\x80\""},
        {"a\\x41", "\"a\\\\x41\"", "\"a\\\\\\\\x41\""},
        {"a\nb", "\"a\\nb\"", "\"a\\nb\""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b;
        struct jsonw w;
        buf_init(&b, 256);
        jsonw_init(&w, &b);
        jsonw_str(&w, str_from(cases[i].in));
        assert_string_equal(b.ptr, cases[i].as_text);
        buf_reset(&b);
        jsonw_init(&w, &b);
        jsonw_path(&w, str_from(cases[i].in));
        assert_string_equal(b.ptr, cases[i].as_path);
        buf_deinit(&b);
    }
}

static void pieces(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 256);
    assert_int_equal(jsonw_escape(&b, STR("ab\xe2\x82"), false), 2); /* waits for the third byte */
    assert_int_equal(jsonw_escape(&b, STR("\xe2\x82\xac"), false), 3);
    assert_int_equal(jsonw_escape(&b, STR("\xe2\x28"), false), 2); /* can never become one */
    assert_string_equal(b.ptr, "ab\xe2\x82\xac\xef\xbf\xbd(");
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(texts),
                                       cmocka_unit_test(pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
