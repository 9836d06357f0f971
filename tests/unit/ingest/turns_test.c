#include "ingest/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_turns(void **state)
{
    static const struct {
        struct turns t;
        enum turn next;
    } cases[] = {
        {{2, 0, 0, false, false}, TURN_NONE},
        {{2, 0, 0, true, false}, TURN_SMALL},
        {{2, 1, 0, true, false}, TURN_SMALL}, /* small ones alone: all places */
        {{2, 2, 0, true, false}, TURN_NONE},
        {{2, 0, 1, false, true}, TURN_LARGE}, /* large ones alone: all places */
        {{2, 0, 2, false, true}, TURN_NONE},
        {{2, 0, 0, true, true}, TURN_LARGE}, /* a place each */
        {{2, 0, 1, true, true}, TURN_SMALL},
        {{2, 1, 0, true, true}, TURN_LARGE},
        {{2, 1, 1, true, true}, TURN_NONE},
        {{2, 0, 2, true, true}, TURN_SMALL}, /* the reserved place */
        {{2, 1, 2, true, true}, TURN_NONE},
        {{1, 0, 0, true, true}, TURN_LARGE},
        {{1, 0, 1, true, true}, TURN_SMALL},
        {{1, 1, 1, true, true}, TURN_NONE},
        {{1, 1, 0, true, true}, TURN_NONE},
        {{8, 0, 3, true, true}, TURN_LARGE}, /* half of them */
        {{8, 0, 4, true, true}, TURN_SMALL},
        {{8, 3, 4, true, true}, TURN_SMALL},
        {{8, 0, 8, true, false}, TURN_SMALL},
        {{2, 0, 3, true, true}, TURN_NONE}, /* a small one that turned out to be large */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (turn_next(&cases[i].t) != cases[i].next) {
            fail_msg("case %zu", i);
        }
    }
}

/* Steps of equal length: each small document takes one, each large one fifty. */
static void test_nobody_waits_long(void **state)
{
    (void)state;
    for (size_t places = 1; places <= 9; places++) {
        size_t left[64];
        bool large[64];
        struct turns t = {.places = places};
        unsigned memos = 100, books = 40, longest = 0, step = 0, idle = 0;
        while (memos + books + t.small + t.large > 0 && step < 100000) {
            enum turn next;
            t.small_waits = memos > 0;
            t.large_waits = books > 0;
            while ((next = turn_next(&t)) != TURN_NONE) {
                size_t at = t.small + t.large;
                assert_true(at < 64 && at <= places);
                large[at] = next == TURN_LARGE;
                left[at] = large[at] ? 50 : 1;
                t.small += !large[at];
                t.large += large[at];
                memos -= !large[at];
                books -= large[at];
                t.small_waits = memos > 0;
                t.large_waits = books > 0;
            }
            idle += t.small + t.large < places && memos + books > 0;
            step++;
            longest = memos > 0 ? step : longest;
            for (size_t i = 0; i < t.small + t.large;) {
                size_t last = t.small + t.large - 1;
                if (--left[i] > 0) {
                    i++;
                    continue;
                }
                t.small -= !large[i];
                t.large -= large[i];
                left[i] = left[last];
                large[i] = large[last];
            }
        }
        assert_true(longest <= 100); /* as if there were one reader for them alone */
        assert_int_equal(idle, 0);
        assert_true(step <= 40 * 50 / places + 150 + 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_nobody_waits_long),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
