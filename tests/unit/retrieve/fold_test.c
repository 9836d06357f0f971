#include "tests/unit/test.h"

#include "retrieve/fold.h"

#define LETTER                                                                                     \
    "Dear tenants, the lift in the north building will be out of service from Monday to Friday "   \
    "while its cables are replaced. Please use the south stairs and allow more time for moving "   \
    "heavy goods. The caretaker can be reached by telephone at any hour."

static void check(const struct str *texts, size_t n, const uint32_t *expected)
{
    struct arena a;
    struct text_analyzer *t;
    struct error err;
    uint32_t into[16];
    arena_init(&a, 8 << 20);
    assert_int_equal(text_analyzer_new(&t, &err), STATUS_OK);
    assert_int_equal(fold(t, texts, n, &a, into, &err), STATUS_OK);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(into[i], expected[i]);
    }
    text_analyzer_free(t);
    arena_reset(&a);
}

static void test_copies(void **state)
{
    (void)state;
    struct str texts[] = {STR(LETTER),
                          STR("An entirely different passage about parental leave, "
                              "which nobody would take for the letter."),
                          STR(LETTER " Thank you."), STR(LETTER)};
    check(texts, 4, (uint32_t[]){0, 1, 0, 0});
}

static void test_layout_does_not_matter(void **state)
{
    (void)state;
    struct str texts[] = {STR("One two three four five six seven eight."),
                          STR("ONE, two;\n three -- four   FIVE six (seven) eight")};
    check(texts, 2, (uint32_t[]){0, 0});
}

static void test_part_of_a_long_one_stays(void **state)
{
    (void)state;
    struct str texts[] = {STR(LETTER), STR("Please use the south stairs")};
    check(texts, 2, (uint32_t[]){0, 1});
}

static void test_short_and_empty(void **state)
{
    (void)state;
    struct str texts[] = {STR("Yes"), STR("yes!"), STR("no"), STR(""), STR("...")};
    check(texts, 5, (uint32_t[]){0, 0, 2, 3, 4});
}

static void test_chinese(void **state)
{
    (void)state;
    struct str texts[] = {STR("黑豹队的防守只丢了分在联赛中排名第六"),
                          STR("黑豹队的防守只丢了分，在联赛中排名第六。"),
                          STR("职业碗防守截锋卡万肖特领先于全队")};
    check(texts, 3, (uint32_t[]){0, 0, 2});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_layout_does_not_matter),
        cmocka_unit_test(test_part_of_a_long_one_stays),
        cmocka_unit_test(test_short_and_empty),
        cmocka_unit_test(test_chinese),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
