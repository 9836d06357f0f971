#include "serve/http/guard.h"

#include "tests/unit/test.h"

static const struct guard_limits limits = {.head_bytes = 1024, .headers = 8, .target_bytes = 64};

/* The status a head is refused with; 0: it is accepted whole; -1: more is expected. */
static int head(const char *text, size_t len, size_t piece)
{
    struct guard g;
    bool done = false;
    guard_init(&g, &limits);
    for (size_t i = 0; i < len && g.status == 0 && !done; i += piece) {
        (void)guard_head(&g, text + i, len - i < piece ? len - i : piece, &done);
    }
    return g.status != 0 ? g.status : done ? 0 : -1;
}

static void heads(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
        {"GET / HTTP/1.0\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nA: \t b \r\nB:\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nA: caf\xc3\xa9\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nHost: a", -1},
        {"\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: a\n\n", 400},       /* bare LF */
        {"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400}, /* bare CR */
        {"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400}, /* space before the colon */
        {"GET / HTTP/1.1\r\nA\t: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400}, /* folded */
        {"GET / HTTP/1.1\r\n A: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\n\r\n", 400},
        {"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\n\r\n", 505},
        {"GET / HTTP/1.2\r\n\r\n", 505},
        {"GET / http/1.1\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"G\xe9T / HTTP/1.1\r\n\r\n", 400},
        {"AVERYLONGMETHODNAME / HTTP/1.1\r\n\r\n", 501},
        {"A:1\r\nGET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\na:1\r\nb:1\r\nc:1\r\nd:1\r\ne:1\r\nf:1\r\ng:1\r\nh:1\r\ni:1\r\n\r\n",
         431},
        {"GET /0123456789012345678901234567890123456789012345678901234567890123456789 "
         "HTTP/1.1\r\n\r\n",
         414},
        {"\x16\x03\x01\x02", 400}, /* TLS on a plain port */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t piece = 1; piece < 6; piece++) {
            int got = head(cases[i].text, strlen(cases[i].text), piece);
            if (got != cases[i].status) {
                fail_msg("case %zu in pieces of %zu: %d, expected %d", i, piece, got,
                         cases[i].status);
            }
        }
    }
    char nul[] = "GET / HTTP/1.1\r\nA: b?c\r\n\r\n";
    *strchr(nul, '?') = '\0';
    assert_int_equal(head(nul, sizeof nul - 1, 3), 400);
    char big[2048];
    memset(big, 'a', sizeof big);
    memcpy(big, "GET / HTTP/1.1\r\nA: ", 19);
    assert_int_equal(head(big, sizeof big, 100), 431);
}

/* Body bytes seen, or -status. */
static int body(const char *text, size_t piece)
{
    struct guard g;
    guard_init(&g, &limits);
    guard_expect_chunks(&g);
    size_t len = strlen(text);
    size_t at = 0;
    int data = 0;
    for (;;) {
        size_t n;
        size_t give = len - at < piece ? len - at : piece;
        enum guard_piece k = guard_body(&g, text + at, give, &n);
        if (k == GUARD_REFUSED) {
            return -g.status;
        }
        if (k == GUARD_END) {
            return at == len ? data : 1000 + data; /* more follows */
        }
        data += k == GUARD_DATA ? (int)n : 0;
        at += n;
        if (n == 0 && at == len) {
            return -1;
        }
    }
}

static void chunks(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"0\r\n\r\n", 0},
        {"3\r\nabc\r\n0\r\n\r\n", 3},
        {"A\r\n0123456789\r\n1;x=y\r\nz\r\n0\r\n\r\n", 11},
        {"0\r\n\r\nGET", 1000},
        {"3\r\nab", -1},
        {"g\r\n", -400},
        {"\r\n", -400},
        {" 3\r\nabc\r\n", -400},
        {"3 \r\nabc\r\n", -400},
        {"0x3\r\nabc\r\n", -400},
        {"-3\r\nabc\r\n", -400},
        {"3\nabc\r\n", -400},
        {"3\r\nabcd\r\n", -400},
        {"3\r\nabc\n0\r\n\r\n", -400},
        {"3;a\nb\r\nabc\r\n", -400},
        {"fffffffffffffffff\r\n", -400},
        {"0\r\nX: y\r\n\r\n", -400}, /* trailers */
        {"0\r\n\n", -400},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t piece = 1; piece < 8; piece++) {
            int got = body(cases[i].text, piece);
            if (got != cases[i].result) {
                fail_msg("case %zu in pieces of %zu: %d, expected %d", i, piece, got,
                         cases[i].result);
            }
        }
    }
}

static void lengths(void **state)
{
    (void)state;
    struct guard g;
    size_t n;
    guard_init(&g, &limits);
    guard_expect_length(&g, 5);
    assert_int_equal(guard_body(&g, "", 0, &n), GUARD_FRAMING);
    assert_int_equal(guard_body(&g, "abc", 3, &n), GUARD_DATA);
    assert_int_equal(n, 3);
    assert_int_equal(guard_body(&g, "defgh", 5, &n), GUARD_DATA);
    assert_int_equal(n, 2);
    assert_int_equal(guard_body(&g, "fgh", 3, &n), GUARD_END);
    bool done;
    assert_int_equal(guard_head(&g, "GET / HTTP/1.1\r\n\r\nX", 19, &done), 18);
    assert_true(done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),
        cmocka_unit_test(chunks),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
