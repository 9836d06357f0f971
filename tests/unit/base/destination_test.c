#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/destination.h"

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *place; /* place NULL: refused */
    } rows[] = {
        {"https://api.example.com/v1", "api.example.com:443"},
        {"http://API.Example.com", "api.example.com:80"},
        {"https://host:8443/v1?x", "host:8443"},
        {"https://host./v1", "host:443"},
        {"http://[::1]:8080/v1", "[::1]:8080"},
        {"http://[2001:db8::1]", "[2001:db8::1]:80"},
        {"https://user:pw@host/", NULL},
        {"https://", NULL},
        {"https://:80", NULL},
        {"https://host:0", NULL},
        {"https://host:65536", NULL},
        {"https://host:8a", NULL},
        {"https://host:", NULL},
        {"https://ho st/", NULL},
        {"https://bücher.example/", NULL},
        {"http://[::1", NULL},
        {"http://[::1]x", NULL},
        {"ftp://host/", NULL},
        {"host", NULL},
        {"https://evil.com\\@host/", "evil.com:443"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct destination d;
        struct error err = {0};
        char place[DESTINATION_CAP] = "refused";
        if (destination_of_url(rows[i].url, &d, &err) == STATUS_OK) {
            destination_format(&d, place);
        }
        assert_string_equal(place, rows[i].place == NULL ? "refused" : rows[i].place);
    }
}

static void test_matching(void **state)
{
    (void)state;
    struct destination d = {.host = "api.example.com", .port = 443};
    assert_true(destination_matches(&d, STR("api.example.com"), 443));
    assert_true(destination_matches(&d, STR("API.example.com."), 443));
    assert_false(destination_matches(&d, STR("api.example.com"), 80));
    assert_false(destination_matches(&d, STR("x.api.example.com"), 443));
    assert_false(destination_matches(&d, STR("api.example.co"), 443));
    assert_false(destination_matches(&d, STR(""), 443));
}

static void test_private_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool is_private;
    } rows[] = {
        {"8.8.8.8", false},
        {"127.0.0.1", true},
        {"10.1.2.3", true},
        {"172.15.0.1", false},
        {"172.16.0.1", true},
        {"172.31.255.255", true},
        {"172.32.0.1", false},
        {"192.168.1.1", true},
        {"192.169.1.1", false},
        {"169.254.169.254", true},
        {"0.0.0.0", true},
        {"100.64.0.1", true},
        {"100.128.0.1", false},
        {"224.0.0.1", true},
        {"255.255.255.255", true},
        {"198.18.0.1", true},
        {"198.20.0.1", false},
        {"::1", true},
        {"::", true},
        {"fe80::1", true},
        {"fc00::1", true},
        {"fd12::1", true},
        {"ff02::1", true},
        {"2606:4700::1111", false},
        {"::ffff:127.0.0.1", true},
        {"::ffff:8.8.8.8", false},
        {"::127.0.0.1", true},
        {"64:ff9b::10.0.0.1", true},
        {"64:ff9b::8.8.8.8", false},
        {"2002:7f00:1::", true},
        {"2002:808:808::", false},
        {"2001:db8::1", true},
        {"2001::1", true},
        {"2001:2::1", true},
        {"2001:1ff::1", true},
        {"2001:200::1", false},
        {"3fff::1", true},
        {"3fff:fff::1", true},
        {"3fff:1000::1", false},
        {"64:ff9b:1::a00:1", true},
        {"::ffff:0:10.0.0.1", true},
        {"fec0::1", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sockaddr_storage s = {0};
        struct sockaddr_in *in = (struct sockaddr_in *)&s;
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s;
        if (inet_pton(AF_INET, rows[i].address, &in->sin_addr) == 1) {
            in->sin_family = AF_INET;
        } else {
            assert_int_equal(inet_pton(AF_INET6, rows[i].address, &in6->sin6_addr), 1);
            in6->sin6_family = AF_INET6;
        }
        if (address_private((struct sockaddr *)&s) != rows[i].is_private) {
            fail_msg("%s", rows[i].address);
        }
    }
    struct sockaddr unix_socket = {.sa_family = AF_UNIX};
    assert_true(address_private(&unix_socket));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_urls), cmocka_unit_test(test_matching),
                                       cmocka_unit_test(test_private_addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
