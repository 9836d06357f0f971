#include "serve/http/url.h"

#include "tests/unit/test.h"

static void decoding(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out; /* NULL: refused */
    } cases[] = {
        {"", ""},         {"abc", "abc"},  {"a%20b", "a b"}, {"a+b", "a b"},
        {"%41%6a", "Aj"}, {"%ff", "\xff"}, {"%2F", "/"},     {"%", NULL},
        {"%4", NULL},     {"%zz", NULL},   {"a%00b", NULL},  {"100%", NULL},
    };
    struct arena a;
    arena_init(&a, 65536);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str out;
        struct error err;
        enum status s = url_decode(str_from(cases[i].in), true, &a, &out, &err);
        assert_int_equal(s, cases[i].out == NULL ? STATUS_INVALID : STATUS_OK);
        if (s == STATUS_OK) {
            assert_true(str_eq(out, str_from(cases[i].out)));
        }
    }
    arena_reset(&a);
}

static void queries(void **state)
{
    (void)state;
    struct arena a;
    struct str out;
    arena_init(&a, 65536);
    assert_int_equal(url_query(STR("a=1&path=x%2Fy.pdf&b&path=z"), "path", &a, &out, NULL),
                     STATUS_OK);
    assert_true(str_eq(out, STR("x/y.pdf")));
    assert_int_equal(url_query(STR("a=1&b"), "b", &a, &out, NULL), STATUS_OK);
    assert_non_null(out.ptr);
    assert_int_equal(out.len, 0);
    assert_int_equal(url_query(STR("aa=1"), "a", &a, &out, NULL), STATUS_OK);
    assert_null(out.ptr);
    arena_reset(&a);
}

static void cookies(void **state)
{
    (void)state;
    assert_true(str_eq(cookie_get(STR("a=1; carrel_80=xyz; b=2"), "carrel_80"), STR("xyz")));
    assert_null(cookie_get(STR("xcarrel_80=xyz"), "carrel_80").ptr);
    assert_null(cookie_get(STR("carrel_8080=xyz"), "carrel_80").ptr);
    assert_null(cookie_get(STR(""), "a").ptr);
    assert_null(cookie_get(STR(";; ;"), "a").ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decoding), cmocka_unit_test(queries),
                                       cmocka_unit_test(cookies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
