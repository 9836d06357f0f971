#include "serve/http/parse.h"

#include "tests/unit/test.h"

/* Everything a connection says, as one line: "POST /x[5]hello. GET /." or "!400" where it is
 * refused. */
static void transcript(const char *text, size_t piece, char *out, size_t cap)
{
    struct http_parser *p;
    size_t len = strlen(text);
    size_t at = 0;
    size_t given = 0;
    struct buf b;
    buf_init(&b, cap - 1);
    assert_int_equal(http_parser_new(4096, &p), STATUS_OK);
    for (;;) {
        size_t used;
        struct str body;
        enum http_event e = http_parser_next(p, text + at, given - at, &used, &body);
        at += used;
        if (e == HTTP_EVENT_HEAD) {
            const struct http_head *h = http_parser_head(p);
            buf_printf(&b, "%s %.*s", verb_name(h->verb), STR_ARG(h->path));
            if (h->query.len > 0) {
                buf_printf(&b, "?%.*s", STR_ARG(h->query));
            }
            buf_z(&b, h->keep_alive ? ":" : "|");
        } else if (e == HTTP_EVENT_BODY) {
            buf_str(&b, body);
        } else if (e == HTTP_EVENT_END) {
            buf_z(&b, ". ");
        } else if (e == HTTP_EVENT_BAD) {
            const char *why;
            buf_printf(&b, "!%d", http_parser_bad(p, &why));
            assert_non_null(why);
            break;
        } else if (given == len) {
            break;
        } else {
            given = given + piece < len ? given + piece : len;
        }
    }
    http_parser_free(p);
    assert_int_equal(buf_status(&b), STATUS_OK);
    (void)snprintf(out, cap, "%s", buf_view(&b).ptr);
    buf_deinit(&b);
}

static void conversations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /:. "},
        {"GET /a?b=c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /a?b=c|. "},
        {"GET / HTTP/1.0\r\n\r\n", "GET /|. "},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /:. "},
        {"GET http://h/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x:. "},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: "
         "a\r\n\r\n",
         "POST /:hello. GET /b:. "},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
         "chunked\r\n\r\n5\r\nhello\r\n1;x\r\n!\r\n0\r\n\r\n"
         "GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
         "POST /:hello!. GET /b:. "},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nDELETE /b HTTP/1.1\r\nHost: "
         "a\r\n\r\n",
         "POST /:. DELETE /b:. "},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
         "GET /:. "},
        /* smuggling */
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n",
         "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
         "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "!501"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n",
         "!400"},
        {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
         "POST /:!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "POST /:!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "!400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "!400"},
        /* who is asked */
        {"GET / HTTP/1.1\r\n\r\n", "!400"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "!400"},
        {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "!400"},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *:. "},
        {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "!501"},
        {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "!501"},
        {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "!501"},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", "!417"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        static const size_t pieces[] = {1, 2, 3, 7, 4096};
        for (size_t k = 0; k < COUNT_OF(pieces); k++) {
            char got[512];
            transcript(cases[i].text, pieces[k], got, sizeof got);
            if (strcmp(got, cases[i].expected) != 0) {
                fail_msg("case %zu in pieces of %zu: \"%s\", expected \"%s\"", i, pieces[k], got,
                         cases[i].expected);
            }
        }
    }
}

static void headers(void **state)
{
    (void)state;
    static const char text[] =
        "GET http://other:1/ HTTP/1.1\r\nHOST: a\r\nX-Thing:  two words\t\r\nEmpty:\r\n\r\n";
    struct http_parser *p;
    size_t used;
    struct str piece;
    assert_int_equal(http_parser_new(4096, &p), STATUS_OK);
    assert_int_equal(http_parser_next(p, text, sizeof text - 1, &used, &piece), HTTP_EVENT_HEAD);
    const struct http_head *h = http_parser_head(p);
    assert_int_equal(h->n_headers, 3);
    assert_true(str_eq(h->host, STR("other:1")));
    assert_true(str_eq(http_head_get(h, "x-thing"), STR("two words")));
    assert_non_null(http_head_get(h, "empty").ptr);
    assert_int_equal(http_head_get(h, "empty").len, 0);
    assert_null(http_head_get(h, "absent").ptr);
    http_parser_free(p);
}

/* The head's memory may go as soon as its handler has read it; the body and what follows it on the
 * connection are read as if nothing had happened. */
static void forgotten(void **state)
{
    (void)state;
    static const char text[] =
        "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwordGET /next "
        "HTTP/1.1\r\nHost: b\r\nX: y\r\n\r\n";
    struct http_parser *p;
    size_t used;
    size_t at = 0;
    struct str piece;
    const size_t len = sizeof text - 1;
    assert_int_equal(http_parser_new(4096, &p), STATUS_OK);
    assert_int_equal(http_parser_next(p, text, len, &used, &piece), HTTP_EVENT_HEAD);
    const struct http_head *h = http_parser_head(p);
    http_parser_forget(p);
    http_parser_forget(p);
    assert_int_equal(h->verb, VERB_POST);
    assert_true(h->http11 && h->keep_alive && h->has_length && h->length == 4);
    assert_true(h->path.len == 0 && h->query.len == 0 && h->host.len == 0 && h->n_headers == 0);
    assert_null(http_head_get(h, "host").ptr);
    at += used;
    assert_int_equal(http_parser_next(p, text + at, len - at, &used, &piece), HTTP_EVENT_BODY);
    assert_true(str_eq(piece, STR("word")));
    at += used;
    assert_int_equal(http_parser_next(p, text + at, len - at, &used, &piece), HTTP_EVENT_END);
    assert_false(http_parser_in_head(p));
    at += used;
    assert_int_equal(http_parser_next(p, text + at, len - at, &used, &piece), HTTP_EVENT_HEAD);
    assert_true(str_eq(h->path, STR("/next")));
    assert_true(str_eq(http_head_get(h, "x"), STR("y")));
    http_parser_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(conversations), cmocka_unit_test(headers),
                                       cmocka_unit_test(forgotten)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
