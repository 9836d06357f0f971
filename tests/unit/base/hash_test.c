#include "tests/unit/test.h"

#include "base/hash.h"

static void test_known_digests(void **state)
{
    (void)state;
    /* FIPS 180-4 examples */
    static const struct {
        const char *in;
        const char *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t d[SHA256_BYTES];
        uint8_t again[SHA256_BYTES];
        char hex[SHA256_HEX_CAP];
        sha256_of(cases[i].in, strlen(cases[i].in), d);
        sha256_hex(d, hex);
        assert_string_equal(hex, cases[i].hex);
        assert_true(sha256_parse(hex, again));
        assert_memory_equal(d, again, sizeof d);
        struct sha256 *h = sha256_new();
        assert_non_null(h);
        for (const char *p = cases[i].in; *p != '\0'; p++) {
            sha256_add(h, p, 1);
        }
        sha256_end(h, again);
        assert_memory_equal(d, again, sizeof d);
    }
    uint8_t d[SHA256_BYTES];
    assert_false(sha256_parse("abc", d));
    assert_false(sha256_parse("zz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", d));
}

static void test_ids(void **state)
{
    (void)state;
    char ids[1000][ID_CAP];
    bool seen[26][256] = {{false}};
    for (size_t i = 0; i < 1000; i++) {
        id_new(ids[i]);
        assert_true(id_valid(ids[i]));
        for (size_t j = 0; j < 26; j++) {
            seen[j][(unsigned char)ids[i][j]] = true;
        }
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(ids[i], ids[j]);
        }
    }
    for (size_t j = 0; j < 25; j++) { /* every place varies; the last holds 3 bits */
        int n = 0;
        for (int c = 0; c < 256; c++) {
            n += seen[j][c];
        }
        assert_in_range(n, 24, 32);
    }
    assert_false(id_valid(""));
    assert_false(id_valid("0123456789abcdefghjkmnpqrU"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_digests),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
