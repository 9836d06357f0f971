#include "serve/origin.h"

#include "tests/unit/test.h"

static const struct {
    enum verb verb;
    const char *lines[7];
    bool foreign;
} rows[] = {
    {VERB_GET, {NULL}, false}, /* a program */
    {VERB_GET, {"sec-fetch-site", "same-origin", "sec-fetch-mode", "cors"}, false},
    {VERB_GET, {"sec-fetch-site", "none", "sec-fetch-mode", "navigate"}, false},
    {VERB_GET, {"sec-fetch-site", "cross-site", "sec-fetch-mode", "navigate"}, false}, /* a link */
    {VERB_POST, {"sec-fetch-site", "cross-site", "sec-fetch-mode", "navigate"}, true}, /* a form */
    {VERB_GET, {"sec-fetch-site", "cross-site", "sec-fetch-mode", "no-cors"}, true}, /* an image */
    {VERB_GET, {"sec-fetch-site", "cross-site", "sec-fetch-mode", "cors"}, true}, /* EventSource */
    {VERB_GET, {"sec-fetch-site", "same-site", "sec-fetch-mode", "cors"}, true},
    {VERB_GET, {"sec-fetch-site", "cross-site", "sec-fetch-mode", "websocket"}, true},
    {VERB_GET, {"sec-fetch-site", ""}, true},
    {VERB_GET, {"sec-fetch-site", "cross-site", "authorization", "Bearer x"}, false},
    {VERB_POST, {"origin", "https://evil.example"}, true},
    {VERB_POST, {"origin", "null"}, true},
    {VERB_POST, {"origin", "http://here.example:8642"}, false},
    {VERB_POST, {"origin", "HTTPS://HERE.example:8642"}, false},
    {VERB_POST, {"origin", "http://here.example"}, true},
    {VERB_POST, {"origin", "http://here.example:8642.evil.example"}, true},
    {VERB_POST, {"origin", "chrome-extension://abc", "x-api-key", "k"}, false},
    /* what the browser says goes before what may have been rewritten on the way */
    {VERB_POST, {"sec-fetch-site", "same-origin", "origin", "https://proxy.example"}, false},
};

static void foreign(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_header lines[8];
        struct http_head h = {
            .verb = rows[i].verb, .headers = lines, .host = STR("here.example:8642")};
        for (const char *const *l = rows[i].lines; l[0] != NULL; l += 2) {
            h.headers[h.n_headers++] = (struct http_header){str_from(l[0]), str_from(l[1])};
        }
        if (origin_foreign(&h) != rows[i].foreign) {
            fail_msg("row %zu", i);
        }
    }
}

static void websocket(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool yes;
    } values[] = {{"websocket", true}, {"WebSocket", true}, {"h2c, websocket", true},
                  {"h2c", false},      {"", false},         {"websocke", false}};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct http_header line = {STR("upgrade"), str_from(values[i].value)};
        struct http_head h = {.n_headers = 1, .headers = &line};
        assert_int_equal(origin_websocket(&h), values[i].yes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(foreign), cmocka_unit_test(websocket)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
