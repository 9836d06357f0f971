/* Filters over attributes: what holds of what, and what is refused. */
#include "serve/attribute_filter.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"

static const char own_text[] =
    "{\"part\":\"roof\",\"year\":2024,\"share\":0.5,\"urgent\":true,\"empty\":\"\"}";
static const char more_text[] = "{\"filename\":\"roof.md\",\"part\":\"never seen\",\"pages\":3}";

static bool holds(const char *text)
{
    struct json *filter = NULL, *own = NULL, *more = NULL;
    struct error err;
    assert_int_equal(jsonr_read(str_from(text), &filter, &err), STATUS_OK);
    assert_int_equal(jsonr_read(str_from(own_text), &own, &err), STATUS_OK);
    assert_int_equal(jsonr_read(str_from(more_text), &more, &err), STATUS_OK);
    assert_int_equal(attribute_filter_check(filter, &err), STATUS_OK);
    bool is = attribute_filter_holds(filter, own, more);
    jsonr_free(filter);
    jsonr_free(own);
    jsonr_free(more);
    return is;
}

static void comparisons(void **state)
{
    (void)state;
    static const struct {
        const char *type, *key, *value;
        bool holds;
    } rows[] = {
        {"eq", "part", "\"roof\"", true},
        {"eq", "part", "\"Roof\"", false},
        {"eq", "part", "\"never seen\"", false}, /* its own goes first */
        {"eq", "filename", "\"roof.md\"", true},
        {"eq", "year", "2024", true},
        {"eq", "year", "2024.0", true},
        {"eq", "year", "\"2024\"", false},
        {"ne", "year", "\"2024\"", true},
        {"eq", "urgent", "true", true},
        {"eq", "urgent", "false", false},
        {"eq", "urgent", "1", false},
        {"gt", "year", "2023", true},
        {"gt", "year", "2024", false},
        {"gte", "year", "2024", true},
        {"lt", "share", "0.75", true},
        {"lte", "share", "0.5", true},
        {"gt", "part", "\"roo\"", true}, /* strings by their bytes */
        {"lt", "part", "\"rooftop\"", true},
        {"gt", "urgent", "false", false}, /* which have no order */
        {"gt", "part", "1", false},
        {"eq", "empty", "\"\"", true},
        {"in", "part", "[\"cellar\",\"roof\"]", true},
        {"in", "year", "[\"2024\"]", false},
        {"nin", "part", "[\"cellar\"]", true},
        {"nin", "part", "[\"roof\"]", false},
        {"eq", "missing", "\"x\"", false},
        {"ne", "missing", "\"x\"", true},
        {"lt", "missing", "5", false},
        {"in", "missing", "[\"x\"]", false},
        {"nin", "missing", "[\"x\"]", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "{\"type\":\"%s\",\"key\":\"%s\",\"value\":%s}",
                       rows[i].type, rows[i].key, rows[i].value);
        if (holds(text) != rows[i].holds) {
            fail_msg("%s", text);
        }
    }
}

#define ROOF "{\"type\":\"eq\",\"key\":\"part\",\"value\":\"roof\"}"
#define MOON "{\"type\":\"eq\",\"key\":\"part\",\"value\":\"moon\"}"

static void compounds(void **state)
{
    (void)state;
    assert_true(holds("{\"type\":\"and\",\"filters\":[" ROOF "]}"));
    assert_false(holds("{\"type\":\"and\",\"filters\":[" ROOF "," MOON "]}"));
    assert_true(holds("{\"type\":\"or\",\"filters\":[" MOON "," ROOF "]}"));
    assert_false(holds("{\"type\":\"or\",\"filters\":[" MOON "," MOON "]}"));
    assert_true(holds("{\"type\":\"and\",\"filters\":[{\"type\":\"or\",\"filters\":[" MOON "," ROOF
                      "]}," ROOF "]}"));
}

static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"type\":\"like\",\"key\":\"a\",\"value\":\"b\"}",
        "{\"type\":\"eq\",\"value\":\"b\"}",
        "{\"type\":\"eq\",\"key\":\"\",\"value\":\"b\"}",
        "{\"type\":\"eq\",\"key\":\"a\"}",
        "{\"type\":\"eq\",\"key\":\"a\",\"value\":null}",
        "{\"type\":\"eq\",\"key\":\"a\",\"value\":[1]}",
        "{\"type\":\"in\",\"key\":\"a\",\"value\":1}",
        "{\"type\":\"in\",\"key\":\"a\",\"value\":[]}",
        "{\"type\":\"in\",\"key\":\"a\",\"value\":[{}]}",
        "{\"type\":\"and\"}",
        "{\"type\":\"and\",\"filters\":[]}",
        "{\"type\":\"or\",\"filters\":[" ROOF ",3]}",
    };
    struct error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct json *filter = NULL;
        assert_int_equal(jsonr_read(str_from(bad[i]), &filter, &err), STATUS_OK);
        if (attribute_filter_check(filter, &err) != STATUS_INVALID) {
            fail_msg("%s", bad[i]);
        }
        jsonr_free(filter);
    }
    char deep[1024] = "";
    for (int i = 0; i <= FILTER_DEPTH_MAX; i++) {
        size_t n = strlen(deep);
        (void)snprintf(deep + n, sizeof deep - n, "{\"type\":\"and\",\"filters\":[");
    }
    (void)snprintf(deep + strlen(deep), sizeof deep - strlen(deep), ROOF);
    for (int i = 0; i <= FILTER_DEPTH_MAX; i++) {
        (void)snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "]}");
    }
    struct json *filter = NULL;
    assert_int_equal(jsonr_read(str_from(deep), &filter, &err), STATUS_OK);
    assert_int_equal(attribute_filter_check(filter, &err), STATUS_INVALID);
    jsonr_free(filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparisons),
        cmocka_unit_test(compounds),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
