#include "base/money.h"

#include "tests/unit/test.h"

static void enough_digits(void **state)
{
    (void)state;
    static const struct {
        int64_t micro;
        const char *text, *exact;
    } rows[] = {
        {0, "0.00", "0.000000"},
        {1, "0.000001", "0.000001"},
        {718, "0.000718", "0.000718"},
        {500000, "0.50", "0.500000"},
        {999999, "0.999999", "0.999999"},
        {2503149, "2.5031", "2.503149"},
        {12500000, "12.50", "12.500000"},
        {99999999, "100.00", "99.999999"},
        {1250004999, "1250.00", "1250.004999"},
        {1250005000, "1250.01", "1250.005000"},
        {-718, "-0.000718", "-0.000718"},
        {INT64_C(9000000000000000000), "9000000000000.00", "9000000000000.000000"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[MONEY_CAP];
        money_text(out, rows[i].micro);
        assert_string_equal(out, rows[i].text);
        money_exact(out, rows[i].micro);
        assert_string_equal(out, rows[i].exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(enough_digits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
