#include "serve/http/forwarded.h"

#include "tests/unit/test.h"

#define PROXY "10.0.0.1"
#define REFUSED "refused"

struct row {
    const char *peer;
    const char *lines[9]; /* name, value, ..., NULL */
    const char *client;
    bool told, tls;
};

static const struct row rows[] = {
    /* anybody else's words are nothing */
    {"192.0.2.9", {"x-forwarded-for", "1.2.3.4"}, "192.0.2.9", false, false},
    {"192.0.2.9", {"forwarded", "for=1.2.3.4;proto=https"}, "192.0.2.9", false, false},
    {"192.0.2.9", {"x-forwarded-proto", "https"}, "192.0.2.9", false, false},
    {"192.0.2.9", {"forwarded", "\"\\;;,=", "x-forwarded-for", "'"}, "192.0.2.9", false, false},
    {"::ffff:192.0.2.9", {NULL}, "192.0.2.9", false, false},
    {PROXY, {NULL}, PROXY, false, false},
    /* the right-most that is no proxy of ours: what stands before it the client wrote himself */
    {PROXY, {"x-forwarded-for", "192.0.2.9"}, "192.0.2.9", true, false},
    {PROXY, {"x-forwarded-for", "10.9.9.9, 1.2.3.4 , 192.0.2.9"}, "192.0.2.9", true, false},
    {PROXY, {"x-forwarded-for", "1.2.3.4, 192.0.2.9, 10.0.0.2"}, "192.0.2.9", true, false},
    {PROXY, {"x-forwarded-for", "x\"y,, 192.0.2.9"}, "192.0.2.9", true, false},
    {PROXY,
     {"x-forwarded-for", "1.2.3.4", "x-forwarded-for", "192.0.2.9"},
     "192.0.2.9",
     true,
     false},
    {PROXY, {"x-forwarded-for", "10.0.0.3, 10.0.0.2"}, "10.0.0.3", true, false},
    {"::ffff:10.0.0.1", {"x-forwarded-for", "192.0.2.9"}, "192.0.2.9", true, false},
    /* as proxies write them */
    {PROXY, {"x-forwarded-for", "192.0.2.9:4711"}, "192.0.2.9", true, false},
    {PROXY, {"x-forwarded-for", "2001:db8::7"}, "2001:db8::7", true, false},
    {PROXY, {"x-forwarded-for", "2001:DB8:0:0::7"}, "2001:db8::7", true, false},
    {PROXY, {"x-forwarded-for", "[2001:db8::7]"}, "2001:db8::7", true, false},
    {PROXY, {"x-forwarded-for", "[2001:db8::7]:443"}, "2001:db8::7", true, false},
    {PROXY, {"x-forwarded-for", "::ffff:192.0.2.9"}, "192.0.2.9", true, false},
    {"2001:db8:1::1", {"x-forwarded-for", "1.2.3.4, 2001:db8:1::2"}, "1.2.3.4", true, false},
    {PROXY, {"forwarded", "for=192.0.2.9"}, "192.0.2.9", true, false},
    {PROXY, {"forwarded", "For=\"[2001:db8::7]:99\";Proto=HTTPS;by=_x"}, "2001:db8::7", true, true},
    {PROXY, {"forwarded", "for=1.2.3.4 , for=192.0.2.9;proto=http"}, "192.0.2.9", true, false},
    {PROXY, {"forwarded", "for=_hidden, for=192.0.2.9"}, "192.0.2.9", true, false},
    {PROXY,
     {"forwarded", "for=192.0.2.9;proto=https, for=10.0.0.2;proto=http"},
     "192.0.2.9",
     true,
     true},
    {PROXY,
     {"forwarded", "for=192.0.2.9", "x-forwarded-for", "192.0.2.9"},
     "192.0.2.9",
     true,
     false},
    /* TLS in front */
    {PROXY,
     {"x-forwarded-for", "192.0.2.9", "x-forwarded-proto", "https"},
     "192.0.2.9",
     true,
     true},
    {PROXY,
     {"x-forwarded-for", "192.0.2.9", "x-forwarded-proto", "https, http"},
     "192.0.2.9",
     true,
     false},
    {PROXY,
     {"x-forwarded-for", "192.0.2.9", "x-forwarded-proto", "httpsx"},
     "192.0.2.9",
     true,
     false},
    /* nobody guesses */
    {PROXY, {"x-forwarded-for", ""}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "192.0.2.9,"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "unknown"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "garbage, 10.0.0.2"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "192.0.2.9:"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "192.0.2.9:http"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "192.0.2.9:123456"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "192.0.2.9/32"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "192.0.2.09"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "3221225993"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "fe80::1%eth0"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "[192.0.2.9]"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "[2001:db8::7"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "[2001:db8::7]443"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "[2001:db8::7]:"}, REFUSED, false, false},
    {PROXY, {"x-forwarded-for", "["}, REFUSED, false, false},
    {PROXY,
     {"x-forwarded-for", "2001:db8:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0007"},
     REFUSED,
     false,
     false},
    {PROXY, {"forwarded", "for=unknown"}, REFUSED, false, false},
    {PROXY, {"forwarded", "proto=https"}, REFUSED, false, false},
    {PROXY, {"forwarded", "for=192.0.2.9;for=1.2.3.4"}, REFUSED, false, false},
    {PROXY, {"forwarded", "for=192.0.2.9,"}, REFUSED, false, false},
    {PROXY, {"forwarded", "for=\"192.0.2.9"}, REFUSED, false, false},
    {PROXY, {"forwarded", "for"}, REFUSED, false, false},
    {PROXY, {"forwarded", ""}, REFUSED, false, false},
    /* a quote that is to swallow what the proxy adds */
    {PROXY, {"forwarded", "for=1.2.3.4;x=\", for=192.0.2.9"}, REFUSED, false, false},
    {PROXY, {"forwarded", "for=1.2.3.4;x=\", for=\"192.0.2.9\""}, REFUSED, false, false},
    {PROXY, {"forwarded", "for=1.2.3.4;x=\"\\\", for=192.0.2.9"}, REFUSED, false, false},
    {PROXY, {"forwarded", "for=1.2.3.4;x=\"", "forwarded", "for=192.0.2.9"}, REFUSED, false, false},
    /* one of the two is the client's own */
    {PROXY, {"forwarded", "for=1.2.3.4", "x-forwarded-for", "192.0.2.9"}, REFUSED, false, false},
};

static void trust(struct forwarded_proxies *p)
{
    static const char *const texts[] = {"10.0.0.0/30", "2001:db8:1::/48"};
    p->n = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_true(address_range_read(str_from(texts[i]), &p->ranges[p->n++]));
    }
}

static void test_rows(void **state)
{
    (void)state;
    struct forwarded_proxies trusted;
    trust(&trusted);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_header lines[16];
        struct http_head h = {.verb = VERB_GET, .headers = lines};
        struct forwarded f;
        for (const char *const *l = rows[i].lines; l[0] != NULL; l += 2) {
            h.headers[h.n_headers++] = (struct http_header){str_from(l[0]), str_from(l[1])};
        }
        bool ok = forwarded_read(&h, rows[i].peer, &trusted, &f);
        if (ok == (strcmp(rows[i].client, REFUSED) == 0) ||
            (ok && (strcmp(f.client, rows[i].client) != 0 || f.told != rows[i].told ||
                    f.tls != rows[i].tls))) {
            fail_msg("row %zu (%s): %s %d %d", i, h.n_headers > 0 ? h.headers[0].value.ptr : "",
                     ok ? f.client : REFUSED, f.told, f.tls);
        }
    }
}

/* Any number of hops that somebody wrote; of ours no more than there are. */
static void test_many(void **state)
{
    (void)state;
    struct forwarded_proxies trusted;
    struct forwarded f;
    char text[4096] = "";
    size_t n = 0;
    trust(&trusted);
    for (size_t i = 0; i < 300; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "1.1.1.1, ");
    }
    (void)snprintf(text + n, sizeof text - n, "192.0.2.9, 10.0.0.2");
    struct http_header line = {STR("x-forwarded-for"), str_from(text)};
    struct http_head h = {.n_headers = 1, .headers = &line};
    assert_true(forwarded_read(&h, PROXY, &trusted, &f));
    assert_string_equal(f.client, "192.0.2.9");
    n = 0;
    for (size_t i = 0; i < FORWARDED_HOPS_MAX + 2; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s10.0.0.2", i == 0 ? "" : ", ");
    }
    h.headers[0].value = str_from(text);
    assert_false(forwarded_read(&h, PROXY, &trusted, &f));
    h.headers[0].value.len -= strlen(", 10.0.0.2");
    assert_true(forwarded_read(&h, PROXY, &trusted, &f));
    trusted.n = 0;
    assert_true(forwarded_read(&h, PROXY, &trusted, &f));
    assert_string_equal(f.client, PROXY);
    assert_false(f.told);
}

static void test_ranges(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "10.0.0.0/",     "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "2001:db8::/129",
        "10.0.0/8", "10.0.0.0/0008", "a",           "/8",          "10.0.0.1 "};
    struct address_range r;
    uint8_t a[16];
    char text[ADDRESS_TEXT];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(address_range_read(str_from(bad[i]), &r));
    }
    assert_true(address_range_read(STR("0.0.0.0/0"), &r));
    assert_true(address_read(STR("203.0.113.5"), a) && address_in(a, &r, 1));
    assert_true(address_read(STR("2001:db8::1"), a) && !address_in(a, &r, 1));
    address_range_text(&r, text);
    assert_string_equal(text, "0.0.0.0/0");
    assert_true(address_range_read(STR("2001:db8:0:1::/63"), &r));
    assert_true(address_read(STR("2001:db8:0:0::9"), a) && address_in(a, &r, 1));
    assert_true(address_read(STR("2001:db8:0:2::9"), a) && !address_in(a, &r, 1));
    r = address_household(a);
    assert_true(address_read(STR("2001:db8:0:2:ffff::1"), a) && address_in(a, &r, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
