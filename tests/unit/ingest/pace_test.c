/* Rates and the time left, by a made-up clock; the hours of heavy work. */
#include "tests/unit/test.h"

#include "base/settings/hours.h"
#include "ingest/pace.h"

static void tells_rates_and_what_is_left(void **state)
{
    struct pace p = {0};
    struct pace_now now;
    (void)state;
    pace_look(&p, 1000, 5, 500, &now);
    assert_int_equal(now.left_s, -1);
    pace_look(&p, 1000, 0, 0, &now);
    assert_int_equal(now.left_s, 0);
    for (int64_t t = 100000; t < 160000;
         t += 500) { /* two a second, 1000 bytes and 3 chunks each */
        pace_done(&p, t, 1000, 3);
    }
    pace_look(&p, 160000, 120, 120000, &now);
    assert_true(now.files_per_s > 1.9 && now.files_per_s < 2.1);
    assert_true(now.chunks_per_s > 5.7 && now.chunks_per_s < 6.3);
    assert_true(now.left_s >= 58 && now.left_s <= 62);
    pace_look(&p, 160000, 120, 1200000, &now); /* larger ones are left */
    assert_true(now.left_s >= 320 && now.left_s <= 340);
}

static void forgets_what_is_long_ago(void **state)
{
    struct pace p = {0};
    struct pace_now now;
    (void)state;
    for (int64_t t = 0; t < 60000; t += 100) {
        pace_done(&p, t, 10, 1);
    }
    pace_look(&p, 60000 + PACE_SLOTS * PACE_SLOT_MS, 10, 10, &now);
    assert_int_equal(now.left_s, -1);
    pace_done(&p, 1000000, 10, 1); /* a new start: the quiet time before does not count */
    pace_done(&p, 1002000, 10, 1);
    pace_look(&p, 1002000, 10, 100, &now);
    assert_true(now.files_per_s > 0.9 && now.files_per_s < 1.1);
}

static void hours_of_the_day(void **state)
{
    static const char *const wrong[] = {"22-06", "24:00-06:00", "22:00-06:60", "22:00-22:00", "a"};
    struct hours h;
    struct tm at = {0};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(hours_parse(str_from(wrong[i]), &h));
    }
    assert_true(hours_parse(STR(""), &h));
    assert_int_equal(hours_until(&h, &at), 0);
    assert_true(hours_parse(STR("22:00-06:00"), &h));
    at.tm_hour = 21;
    at.tm_min = 59;
    at.tm_sec = 30;
    assert_int_equal(hours_until(&h, &at), 30);
    at = (struct tm){.tm_hour = 5, .tm_min = 59};
    assert_int_equal(hours_until(&h, &at), 0);
    at = (struct tm){.tm_hour = 6};
    assert_int_equal(hours_until(&h, &at), 16 * 3600);
    assert_true(hours_parse(STR("09:00-17:00"), &h));
    assert_int_equal(hours_until(&h, &at), 3 * 3600);
    at = (struct tm){.tm_hour = 18};
    assert_int_equal(hours_until(&h, &at), 15 * 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_rates_and_what_is_left),
        cmocka_unit_test(forgets_what_is_long_ago),
        cmocka_unit_test(hours_of_the_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
