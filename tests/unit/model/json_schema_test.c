#include "model/json_schema.h"

#include <jansson.h>

#include "tests/unit/test.h"

static struct grammar *grammar_of(const char *schema)
{
    struct grammar *g = NULL;
    struct error err;
    if (json_schema_grammar(str_from(schema), &g, &err) != STATUS_OK) {
        fail_msg("%s: %s", schema, err.text);
    }
    return g;
}

static void values_of_a_schema(void **state)
{
    static const struct {
        const char *schema;
        const char *yes[8], *no[8];
    } cases[] = {
        {"{}", {"1", "\"a\"", "{\"a\": [1, null]}", "true", "-0.5e3"}, {"", "{", "01", "tru"}},
        {"true", {"null"}, {"nul"}},
        {"{\"type\":\"string\"}",
         {"\"\"", "\"a\\n\\u00e9\"", "\"\xC3\xA9\""},
         {"\"", "\"\n\"", "\"\\x\"", "a"}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"abc\"", "\"\\n\xC3\xA9\""},
         {"\"a\"", "\"abcd\""}},
        {"{\"enum\":[\"a\\\"b\",1,null,{\"x\":[]}]}",
         {"\"a\\\"b\"", "1", "null", "{\"x\":[]}"},
         {"\"a\"", "2"}},
        {"{\"const\":\"ja\"}", {"\"ja\""}, {"\"nein\""}},
        {"{\"required\":[\"a\",\"a\"],\"additionalProperties\":false}",
         {"{\"a\":1}"},
         {"{}", "{\"a\":1,\"a\":1}"}},
        {"{\"type\":[\"integer\",\"null\"]}", {"-12", "0", "null"}, {"1.5", "00", "\"1\""}},
        {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":123}",
         {"-5", "-1", "0", "9", "10", "99", "100", "123"},
         {"-6", "124", "1000", "-0", "01", "1.0"}},
        {"{\"type\":\"integer\",\"exclusiveMinimum\":9,\"exclusiveMaximum\":21}",
         {"10", "19", "20"},
         {"9", "21", "1"}},
        {"{\"type\":\"integer\",\"minimum\":995}",
         {"995", "999", "1000", "123456789012345"},
         {"994", "0", "-995"}},
        {"{\"type\":\"integer\",\"maximum\":-17}",
         {"-17", "-18", "-20", "-100"},
         {"-16", "17", "-1"}},
        {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
         {"0", "1", "0.5", "0.001", "0.50", "0.0"},
         {"-0.5", "1.5", "2", "-1"}},
        {"{\"type\":\"number\",\"exclusiveMinimum\":0}",
         {"0.1", "1", "17.25", "0.10"},
         {"0", "0.0", "-1"}},
        {"{\"type\":\"number\",\"minimum\":-2,\"maximum\":-1}",
         {"-2", "-1", "-1.5"},
         {"-2.5", "-0.5", "1"}},
        {"{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-\\\\d+(?:/[a-z\\\"]*)?$\"}",
         {"\"AB-1\"", "\"AB-12/x\"", "\"AB-1/\\\"a\""},
         {"\"A-1\"", "\"AB-\"", "\"xAB-1\"", "\"AB-1/A\""}},
        {"{\"type\":\"string\",\"pattern\":\"b|^c$\"}",
         {"\"b\"", "\"abc\"", "\"c\""},
         {"\"a\"", "\"cc\"", "\"\""}},
        {"{\"type\":\"string\",\"pattern\":\"^.\\\\\\\\[^x]\\\\.$\"}",
         {"\"a\\\\b.\""},
         {"\"a\\\\x.\"", "\"a\\\\bc\""}},
        {"{\"type\":\"string\",\"format\":\"date\"}",
         {"\"2026-11-21\""},
         {"\"2026-13-01\"", "\"26-1-1\"", "\"2026-02-30\""}},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         {"\"2026-11-21T10:00:00Z\""},
         {"\"2026-11-21\"", "\"2026-11-21T25:00:00Z\""}},
        {"{\"type\":\"string\",\"format\":\"email\"}", {"\"anything\""}, {"1"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
         {"[1]", "[1, 2,3]", "[ 1 ]"},
         {"[]", "[1,2,3,4]", "[\"a\"]", "[1,]"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", {"[]", "[1,2,3,4,5]"}, {"[,1]"}},
        {"{\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"integer\"}],\"items\":false}",
         {"[\"a\",1]"},
         {"[1,\"a\"]", "[\"a\",1,2]"}},
        {"{\"type\":\"array\",\"maxItems\":0}", {"[]"}, {"[1]"}},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{}},"
         "\"required\":[\"a\"],\"additionalProperties\":false}",
         {"{\"a\":1}", "{\"a\": 1, \"b\": [2]}", "{ \"a\":1 }"},
         {"{}", "{\"b\":1}", "{\"a\":1,}", "{\"a\":1,\"c\":2}", "{\"a\":\"x\"}"}},
        {"{\"properties\":{\"a\":true,\"b\":true}}",
         {"{}", "{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":2}"},
         {"{\"a\":1\"b\":2}", "{,\"b\":2}", "{\"c\":1}"}},
        {"{\"properties\":{\"ab\":{\"type\":\"null\"},\"a\":{\"type\":\"null\"}},"
         "\"additionalProperties\":{\"type\":\"integer\"}}",
         {"{}", "{\"ab\":null}", "{\"ab\":null,\"abc\":1,\"b\":2}", "{\"aa\":1}", "{\"\":1}"},
         {"{\"ab\":1}", "{\"a\":1}", "{\"abc\":null}", "{\"\\u0061\":1}"}},
        {"{\"type\":\"object\"}", {"{}", "{\"x\":{\"y\":1}}"}, {"[]", "1"}},
        {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"object\",\"properties\":{\"k\":{\"const\":"
         "1}},"
         "\"required\":[\"k\"]}]}",
         {"5", "{\"k\":1}"},
         {"{}", "\"a\""}},
        {"{\"$ref\":\"#/$defs/"
         "tree\",\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":"
         "\"integer\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tree\"}}},"
         "\"required\":[\"n\"]}}}",
         {"{\"n\":1}", "{\"n\":1,\"kids\":[{\"n\":2,\"kids\":[]},{\"n\":3}]}"},
         {"{\"n\":1,\"kids\":[1]}"}},
        {"{\"allOf\":[{\"$ref\":\"#/$defs/"
         "a\"},{\"properties\":{\"y\":{\"type\":\"integer\"}},\"required\":"
         "[\"y\"]}],\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":"
         "\"integer\"}},"
         "\"required\":[\"x\"]}}}",
         {"{\"x\":1,\"y\":2}"},
         {"{\"x\":1}", "{\"y\":1}"}},
        {"{\"type\":\"object\",\"required\":[\"z\"]}", {"{\"z\":1}"}, {"{}"}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct grammar *g = grammar_of(cases[i].schema);
        for (size_t k = 0; k < 16; k++) {
            const char *text = k < 8 ? cases[i].yes[k] : cases[i].no[k - 8];
            bool yes;
            struct error err;
            if (text == NULL) {
                continue;
            }
            assert_int_equal(grammar_matches(g, str_from(text), &yes, &err), STATUS_OK);
            if (yes != (k < 8)) {
                fail_msg("%s: %s is %s", cases[i].schema, text, yes ? "taken" : "refused");
            }
        }
        grammar_free(g);
    }
}

static void what_cannot_be_decoded_to_is_named(void **state)
{
    static const struct {
        const char *schema, *says;
    } cases[] = {
        {"{", "no JSON: line 1"},
        {"1", "not a schema"},
        {"false", "nothing is allowed"},
        {"{\"type\":\"thing\"}", "\"thing\" is no type"},
        {"{\"properties\":{\"a\":{\"not\":{}}}}", "at #/properties/a: \"not\" cannot"},
        {"{\"items\":{\"type\":\"number\",\"multipleOf\":3}}", "at #/items: \"multipleOf\""},
        {"{\"type\":\"array\",\"uniqueItems\":true}", "uniqueItems"},
        {"{\"pattern\":\"(?=a)\"}", "character 2"},
        {"{\"pattern\":\"\\\\bword\"}", "escape"},
        {"{\"pattern\":\"[a\"}", "no ]"},
        {"{\"pattern\":\"a{\"}", "repetition"},
        {"{\"pattern\":\"a)\"}", "without its ("},
        {"{\"pattern\":\"a\",\"maxLength\":3}", "beside minLength"},
        {"{\"$ref\":\"#/nowhere\"}", "leads to nothing"},
        {"{\"$ref\":\"http://example.org/s\"}", "not a place in this schema"},
        {"{\"$ref\":\"#\"}", "has no text that ends"},
        {"{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", "bounds"},
        {"{\"type\":\"number\",\"minimum\":0.2,\"maximum\":0.8}", "bounds"},
        {"{\"type\":\"number\",\"minimum\":1e300}", "bounds"},
        {"{\"type\":\"number\",\"maximum\":-1e300}", "bounds"},
        {"{\"type\":\"integer\",\"minimum\":1e300}", "bounds"},
        {"{\"type\":\"string\",\"minLength\":5000}", "4096"},
        {"{\"type\":\"string\",\"minLength\":3,\"maxLength\":1}", "below"},
        {"{\"type\":\"string\",\"minLength\":-1}", "whole number"},
        {"{\"type\":\"object\",\"minProperties\":2}", "minProperties"},
        {"{\"enum\":[]}", "list of values"},
        {"{\"anyOf\":[]}", "list of schemas"},
        {"{\"allOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}", "differs between parts"},
        {"{\"properties\":{\"a\":false},\"required\":[\"a\"]}", "may not be there"},
        {"{\"properties\":[]}", "properties is an object"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct grammar *g = NULL;
        struct error err;
        if (json_schema_grammar(str_from(cases[i].schema), &g, &err) == STATUS_OK) {
            fail_msg("taken: %s", cases[i].schema);
        }
        if (strstr(err.text, cases[i].says) == NULL) {
            fail_msg("%s: says \"%s\"", cases[i].schema, err.text);
        }
    }
}

/* A part of allOf is copied wherever it is named: a short schema must not take all memory. */
static void copies_are_bounded(void **state)
{
    struct buf text;
    struct grammar *g = NULL;
    struct error err;
    (void)state;
    buf_init(&text, GRAMMAR_TEXT_MAX);
    buf_z(&text, "{\"$defs\":{\"big\":{\"type\":\"null\",\"description\":\"");
    for (unsigned i = 0; i < 400000; i++) {
        buf_char(&text, 'x');
    }
    buf_z(&text, "\"}},\"anyOf\":[");
    for (unsigned i = 0; i < 100; i++) {
        buf_printf(&text, "%s{\"allOf\":[{\"$ref\":\"#/$defs/big\"}]}", i > 0 ? "," : "");
    }
    buf_z(&text, "]}");
    assert_int_equal(json_schema_grammar(buf_view(&text), &g, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, "allOf"));
    buf_reset(&text);
    buf_z(&text, "{\"required\":[\"a\"");
    for (unsigned i = 0; i < 4000; i++) {
        buf_z(&text, ",\"a\"");
    }
    buf_z(&text, "]}");
    assert_int_equal(json_schema_grammar(buf_view(&text), &g, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, "more than 4000 names"));
    buf_deinit(&text);
}

/* Random answers, byte by byte, are JSON. */
static void random_answers_are_json(void **state)
{
    static const char *const schemas[] = {
        "{\"type\":\"object\"}",
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":5},\"n\":"
        "{\"type\":"
        "\"number\",\"minimum\":-3.5,\"maximum\":7},\"l\":{\"type\":\"array\",\"items\":{\"enum\":["
        "\"a\",2]},"
        "\"maxItems\":4},\"p\":{\"type\":\"string\",\"pattern\":\"^[\\\\w \\\"\\\\\\\\]{1,6}$\"}},"
        "\"additionalProperties\":{\"type\":\"boolean\"}}",
    };
    static char bytes[256];
    static struct str pieces[257];
    static bool ends[257];
    struct grammar_vocabulary *v;
    struct error err;
    unsigned whole = 0;
    uint64_t rnd = 11;
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        pieces[i] = (struct str){.ptr = &bytes[i], .len = 1};
    }
    ends[256] = true;
    assert_int_equal(grammar_vocabulary_of(pieces, ends, 257, &v, &err), STATUS_OK);
    for (unsigned round = 0; round < 300; round++) {
        struct grammar *g = grammar_of(schemas[round % 2]);
        struct grammar_run *r;
        char text[600];
        size_t n = 0;
        assert_int_equal(grammar_run_new(g, v, &r, &err), STATUS_OK);
        while (n < sizeof text && !grammar_run_ended(r)) {
            const uint64_t *mask;
            uint32_t choice[257];
            uint32_t k = 0;
            uint32_t pick;
            assert_int_equal(grammar_run_allowed(r, &mask, &err), STATUS_OK);
            for (uint32_t t = 0; t < 256; t++) {
                if ((mask[t >> 6] >> (t & 63) & 1) != 0) {
                    choice[k++] = t;
                }
            }
            assert_true(k > 0);
            rnd = rnd * 6364136223846793005U + 1442695040888963407U;
            pick = choice[(uint32_t)(rnd >> 33) % k];
            for (uint32_t i = 0; i < k; i++) { /* come to an end more often than chance would */
                if ((rnd >> 20 & 3) == 0 && strchr("\"]}", (int)choice[i]) != NULL &&
                    choice[i] != 0) {
                    pick = choice[i];
                }
            }
            assert_int_equal(grammar_run_accept(r, pick, &err), STATUS_OK);
            text[n++] = (char)pick;
        }
        if (grammar_run_ended(r)) {
            json_error_t je;
            json_t *j = json_loadb(text, n, JSON_ALLOW_NUL, &je);
            if (j == NULL) {
                fail_msg("%.*s: %s", (int)n, text, je.text);
            }
            json_decref(j);
            whole++;
        }
        grammar_run_free(r);
        grammar_free(g);
    }
    grammar_vocabulary_free(v);
    assert_true(whole > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_a_schema),
        cmocka_unit_test(what_cannot_be_decoded_to_is_named),
        cmocka_unit_test(copies_are_bounded),
        cmocka_unit_test(random_answers_are_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
