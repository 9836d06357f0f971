#include "serve/http/router.h"

#include "tests/unit/test.h"

static const struct route table[] = {
    {VERB_GET, "/a", 0, 0, false, NULL, ERRORS_OPENAI, NULL},
    {VERB_POST, "/a", 1, 0, true, NULL, ERRORS_OPENAI, NULL},
    {VERB_GET, "/a/{id}", 1, 0, false, NULL, ERRORS_OPENAI, NULL},
    {VERB_DELETE, "/a/{id}", 1, 0, true, NULL, ERRORS_OPENAI, NULL},
    {VERB_GET, "/a/{id}/pages/{n}.png", 1, 0, false, NULL, ERRORS_OPENAI, NULL},
};

static void finding(void **state)
{
    (void)state;
    static const struct {
        enum verb verb;
        const char *path;
        int row; /* -1: none */
        const char *params;
        const char *allow;
    } cases[] = {
        {VERB_GET, "/a", 0, "", "GET, HEAD, POST"},
        {VERB_HEAD, "/a", 0, "", "GET, HEAD, POST"},
        {VERB_POST, "/a", 1, "", "GET, HEAD, POST"},
        {VERB_PUT, "/a", -1, "", "GET, HEAD, POST"},
        {VERB_GET, "/a/", -1, "", ""},
        {VERB_GET, "/a/x1", 2, "x1", "GET, HEAD, DELETE"},
        {VERB_DELETE, "/a/x1", 3, "x1", "GET, HEAD, DELETE"},
        {VERB_GET, "/a/x1/", -1, "", ""},
        {VERB_GET, "/a/x1/pages/12.png", 4, "x1,12", "GET, HEAD"},
        {VERB_GET, "/a/x1/pages/.png", -1, "", ""},
        {VERB_GET, "/a/x1/pages/12.pdf", -1, "", ""},
        {VERB_GET, "/", -1, "", ""},
        {VERB_GET, "/ab", -1, "", ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct route_match m;
        struct buf b;
        char params[64];
        route_find(table, COUNT_OF(table), cases[i].verb, str_from(cases[i].path), &m);
        assert_int_equal(m.route == NULL ? -1 : (int)(m.route - table), cases[i].row);
        (void)snprintf(params, sizeof params, "%.*s%s%.*s", STR_ARG(m.params[0]),
                       m.params[1].len > 0 ? "," : "", STR_ARG(m.params[1]));
        assert_string_equal(params, cases[i].params);
        buf_init(&b, 256);
        route_allow(m.allow, &b);
        assert_string_equal(buf_view(&b).ptr, cases[i].allow);
        buf_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
