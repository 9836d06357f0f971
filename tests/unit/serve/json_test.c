#include "serve/json.h"

#include "tests/unit/test.h"

static void strictness(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"{}", true},
        {" {\"a\": [1, 2.5, \"x\", null, true]} ", true},
        {"[]", true},
        {"", false},
        {"{", false},
        {"{} {}", false},
        {"{\"a\":1,\"a\":2}", false},
        {"{'a':1}", false},
        {"{\"a\":1,}", false},
        {"{\"a\":NaN}", false},
        {"{\"a\":\"\\u0000\"}", false},
        {"{\"a\":\"\xff\"}", false},
        {"{\"a\":\"\\ud800\"}", false},
        {"{\"a\":99999999999999999999}", false},
        {"nul", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct json *doc = NULL;
        struct error err;
        bool ok = jsonr_read(str_from(cases[i].text), &doc, &err) == STATUS_OK;
        if (ok != cases[i].ok) {
            fail_msg("%s", cases[i].text);
        }
        if (ok) {
            jsonr_free(doc);
        } else {
            assert_int_equal(err.code, STATUS_INVALID);
        }
    }
    struct error err;
    struct json *doc;
    assert_int_equal(jsonr_read(STR("{\n \"a\": oops}"), &doc, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "line 2"));
}

static void depth(void **state)
{
    (void)state;
    static char text[20001];
    memset(text, '[', 10000);
    memset(text + 10000, ']', 10000);
    struct json *doc;
    struct error err;
    assert_int_equal(jsonr_read((struct str){text, 20000}, &doc, &err), STATUS_INVALID);
    assert_int_equal(jsonr_read((struct str){text + 10000 - 64, 128}, &doc, &err), STATUS_OK);
    jsonr_free(doc);
    assert_int_equal(jsonr_read((struct str){text + 10000 - 65, 130}, &doc, &err), STATUS_INVALID);
    /* brackets inside a string nest nothing */
    char quoted[256] = "[\"\\\"";
    memset(quoted + 4, '[', 100);
    memcpy(quoted + 104, "\"]", 3);
    assert_int_equal(jsonr_read(str_from(quoted), &doc, &err), STATUS_OK);
    jsonr_free(doc);
}

static void reading(void **state)
{
    (void)state;
    struct json *doc;
    struct error err;
    int64_t n;
    bool b;
    double d;
    bool present;
    struct str s;
    assert_int_equal(
        jsonr_read(STR("{\"n\":5,\"b\":true,\"d\":1,\"s\":\"x\",\"z\":null,\"list\":[1]}"), &doc,
                   &err),
        STATUS_OK);
    assert_int_equal(jsonr_int(doc, "n", 1, 5, 0, &n, &err), STATUS_OK);
    assert_int_equal(n, 5);
    assert_int_equal(jsonr_int(doc, "n", 1, 4, 0, &n, &err), STATUS_INVALID);
    assert_int_equal(jsonr_int(doc, "s", 1, 4, 0, &n, &err), STATUS_INVALID);
    assert_int_equal(jsonr_int(doc, "z", 1, 4, 3, &n, &err), STATUS_OK);
    assert_int_equal(n, 3);
    assert_int_equal(jsonr_bool(doc, "b", false, &b, &err), STATUS_OK);
    assert_true(b);
    assert_int_equal(jsonr_bool(doc, "n", false, &b, &err), STATUS_INVALID);
    assert_int_equal(jsonr_number(doc, "d", 0, 2, &present, &d, &err), STATUS_OK);
    assert_true(present);
    assert_int_equal(jsonr_number(doc, "d", 0, 0.5, &present, &d, &err), STATUS_INVALID);
    assert_int_equal(jsonr_string(doc, "s", &s, &err), STATUS_OK);
    assert_true(str_eq(s, STR("x")));
    assert_int_equal(jsonr_string(doc, "absent", &s, &err), STATUS_OK);
    assert_null(s.ptr);
    assert_int_equal(jsonr_len(jsonr_get(doc, "list")), 1);
    jsonr_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strictness), cmocka_unit_test(depth),
                                       cmocka_unit_test(reading)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
