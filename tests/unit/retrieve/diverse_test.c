/* Places for passages: written as "document page score", the chosen ones read back as letters. */
#include "tests/unit/test.h"

#include "retrieve/diverse.h"

static const char *choose(const char *documents, const char *pages, const int *scores,
                          size_t places)
{
    static char out[64];
    struct diverse_passage p[32];
    size_t n = strlen(documents), k = 0;
    for (size_t i = 0; i < n; i++) {
        p[i] = (struct diverse_passage){.content = {documents + i, 1},
                                        .page = (uint32_t)(pages[i] - '0'),
                                        .score = (float)scores[i] / 100,
                                        .gone = documents[i] == '-'};
    }
    diverse(p, n, places);
    for (size_t i = 0; i < n; i++) {
        if (p[i].chosen) {
            out[k++] = (char)('0' + (char)i);
        }
    }
    out[k] = '\0';
    return out;
}

static void test_places(void **state)
{
    (void)state;
    static const int even[] = {90, 88, 86, 84, 82, 80, 78, 76};
    static const int steep[] = {90, 88, 86, 40, 30, 20, 10, 5};
    assert_string_equal(choose("abcdefgh", "11111111", even, 4), "0123");
    /* the third passage of a page gives way */
    assert_string_equal(choose("aaabc", "11111", even, 4), "0134");
    /* not when nobody else deserves the place */
    assert_string_equal(choose("aaabc", "11111", steep, 4), "0123");
    assert_string_equal(choose("aaa", "111", even, 4), "012");
    /* other pages of the document, up to half of the places */
    assert_string_equal(choose("aaaaaabc", "12345678", even, 6), "012367");
    assert_string_equal(choose("aaaaaabc", "00000000", even, 8), "01234567");
    /* folded passages stand for nobody */
    assert_string_equal(choose("a-ab", "1111", even, 3), "023");
    assert_string_equal(choose("", "", even, 3), "");
    assert_string_equal(choose("ab", "11", even, 0), "");
    /* what comes back takes the places of the weakest */
    assert_string_equal(choose("aaaabcde", "11111111", steep, 4), "0124");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
