/* The description of the API: every route of the table is in it and nothing else, and mistakes in
 * the fragments are named. */
#include "serve/openapi.h"

#include <string.h>

#include "serve/json.h"
#include "serve/roles.h"
#include "serve/service.h"
#include "tests/unit/test.h"

static void every_route_is_described(void **state)
{
    (void)state;
    struct buf out;
    struct error err;
    struct json *doc = NULL;
    buf_init(&out, (size_t)8 * 1024 * 1024);
    enum status s = openapi_build(openapi_fragments, openapi_fragments_n, serve_routes,
                                  serve_routes_n, "1", &out, &err);
    if (s != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(STATUS_OK, jsonr_read(buf_view(&out), &doc, &err));
    size_t missing = 0;
    for (size_t i = 0; i < serve_routes_n; i++) {
        char verb[16] = "";
        for (size_t k = 0; verb_name(serve_routes[i].verb)[k] != '\0'; k++) {
            verb[k] = (char)(verb_name(serve_routes[i].verb)[k] | 0x20);
        }
        const struct json *op =
            jsonr_get(jsonr_get(jsonr_get(doc, "paths"), serve_routes[i].pattern), verb);
        assert_non_null(op);
        if (jsonr_get(op, "x-undescribed") != NULL) {
            print_error("not described in serve/openapi/: %s %s\n", verb_name(serve_routes[i].verb),
                        serve_routes[i].pattern);
            missing++;
        }
    }
    assert_int_equal(0, missing);
    jsonr_free(doc);
    buf_deinit(&out);
}

static void handler(struct request *q)
{
    (void)q;
}

static const struct route table[] = {
    {VERB_GET, "/a/{id}", ROLE_BIT(ROLE_ADMIN), SCOPE_READ, false, handler, ERRORS_OPENAI, NULL},
};

#define ERRORS                                                                                     \
    "\"ErrorOpenAI\":{\"error\":\"object\"},\"ErrorAnthropic\":\"object\",\"ErrorOllama\":"        \
    "\"object\",\"ErrorRPC\":\"object\""

static void expect(const char *fragment, const char *problem, const char *within)
{
    struct openapi_fragment f = {"x.json", (const unsigned char *)fragment, strlen(fragment)};
    struct buf out;
    struct error err = {0};
    buf_init(&out, 1 << 20);
    enum status s = openapi_build(&f, 1, table, 1, "1", &out, &err);
    if (problem != NULL) {
        assert_int_not_equal(STATUS_OK, s);
        assert_non_null(strstr(err.text, problem));
    } else {
        if (s != STATUS_OK) {
            fail_msg("%s", err.text);
        }
        buf_char(&out, '\0');
        if (strstr(out.ptr, within) == NULL) {
            fail_msg("%s\nnot in\n%s", within, out.ptr);
        }
    }
    buf_deinit(&out);
}

#define PATHS(op) "{\"paths\":{\"GET /a/{id}\":" op "},\"schemas\":{" ERRORS "}}"

static void mistakes_are_named(void **state)
{
    (void)state;
    expect("{", "x.json", NULL);
    expect(PATHS("{\"summary\":\"s\",\"200\":\"Nowhere\"}"), "no such type: Nowhere", NULL);
    expect(PATHS("{\"summary\":\"s\",\"200\":\"[string\"}"), "bracket", NULL);
    expect(PATHS("{\"summary\":\"s\",\"200\":\"integer(7)\"}"), "least..most", NULL);
    expect(PATHS("{\"summary\":\"s\",\"200\":{\"$with\":\"Nowhere\"}}"), "no such fields", NULL);
    expect(PATHS("{\"200\":\"string\"}"), "no summary", NULL);
    expect(PATHS("{\"summary\":\"s\",\"200\":7}"), "a type is words", NULL);
    expect("{\"paths\":{\"GET /b\":{\"summary\":\"s\"}},\"schemas\":{" ERRORS "}}",
           "no such route: GET /b", NULL);
    expect(PATHS("{\"summary\":\"s\",\"200\":"
                 "\"[[[[[[[[[[[[[[[[[[[[[[[[[string]]]]]]]]]]]]]]]]]]]]]]]]]\"}"),
           "too many brackets", NULL);
}

static void few_words_become_schemas(void **state)
{
    (void)state;
    expect("{\"schemas\":{" ERRORS "}}", NULL, "\"x-undescribed\":true");
    expect(PATHS("{\"summary\":\"s\",\"200\":\"string|null -- a name\"}"), NULL,
           "{\"type\":[\"string\",\"null\"],\"description\":\"a name\"}");
    expect(PATHS("{\"summary\":\"s\",\"200\":\"'a'|'b'|null\"}"), NULL,
           "{\"enum\":[\"a\",\"b\",null]}");
    expect(PATHS("{\"summary\":\"s\",\"200\":\"[string|[integer]]|{any}\"}"), NULL,
           "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":"
           "\"array\",\"items\":{\"type\":\"integer\"}}]}},{\"type\":\"object\","
           "\"additionalProperties\":{}}]}");
    expect(PATHS("{\"summary\":\"s\",\"200\":{\"a\":\"integer\",\"b?\":\"any\",\"*\":\"string\"}}"),
           NULL,
           "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{}},"
           "\"required\":[\"a\"],\"additionalProperties\":{\"type\":\"string\"}}");
    expect(PATHS("{\"summary\":\"s\",\"200\":{\"a\":\"integer:unix-time(0..9)|null\"}}"), NULL,
           "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":[\"integer\",\"null\"],\"format\":"
           "\"unix-time\",\"minimum\":0,\"maximum\":9}},\"required\":[\"a\"],"
           "\"additionalProperties\":false}");
    expect(PATHS("{\"summary\":\"s\",\"body\":{\"a\":\"string(1..)\"},\"example\":{\"a\":\"x\"}}"),
           NULL,
           "{\"a\":{\"type\":\"string\",\"minLength\":1}},\"required\":[\"a\"]},\"example\":{\"a\":"
           "\"x\"}}");
    expect(
        "{\"paths\":{\"GET /a/{id}\":{\"summary\":\"s\",\"200\":{\"$with\":\"T\",\"b\":\"any\"}}},"
        "\"schemas\":{" ERRORS ",\"T\":{\"a?\":\"any\",\"$open\":true}}}",
        NULL,
        "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"required\":[\"b\"],"
        "\"additionalProperties\":false}");
    expect(PATHS("{\"summary\":\"s\",\"200\":\"any\",\"errors\":{\"404\":\"gone -- Never "
                 "was.\"}}"),
           NULL, "\"404\":{\"description\":\"Never was.\",\"x-codes\":[\"gone\",\"not_found\"]");
    expect(PATHS("{\"summary\":\"s\",\"query\":{\"n?\":\"integer\"}}"), NULL,
           "\"parameters\":[{\"name\":\"id\",\"in\":\"path\",\"required\":true,\"schema\":{"
           "\"type\":\"string\"}},{\"name\":\"n\",\"in\":\"query\",\"required\":false,");
    expect(PATHS("{\"summary\":\"s\"}"), NULL, "\"x-roles\":[\"admin\"],\"x-scopes\":[\"read\"]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_described),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(few_words_become_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
