#include "base/effort.h"

#include "base/clock.h"
#include "tests/unit/test.h"

static void spend(int64_t us)
{
    int64_t until = clock_thread_cpu_us() + us;
    while (clock_thread_cpu_us() < until) {
    }
}

static void counts_what_runs(void **state)
{
    (void)state;
    struct effort e;
    struct effort_use a;
    struct effort_use b;
    effort_init(&e);
    effort_use_init(&a, &e);
    effort_use_init(&b, &e);
    spend(3000);
    assert_int_equal(effort_cpu_us(&e), 0);
    int64_t from = clock_thread_cpu_us();
    effort_enter(&a);
    spend(2000);
    assert_true(effort_cpu_us(&e) >= 2000);
    effort_enter(&b); /* nested: once */
    spend(2000);
    effort_leave(&b);
    effort_leave(&a);
    int64_t took = clock_thread_cpu_us() - from;
    int64_t told = effort_cpu_us(&e);
    assert_true(told >= 4000 && told <= took);
    effort_add(&e, -5);
    effort_use_add(&a, 7);
    assert_int_equal(effort_cpu_us(&e), told + 7);
    effort_use_drop(&a);
    effort_use_drop(&a);
    effort_use_drop(&b);
    effort_end(&e);
}

/* It ends while one works for it. */
static void ends_before_its_uses(void **state)
{
    (void)state;
    struct effort e;
    struct effort_use a;
    struct effort zeros = {0};
    struct effort_use nobody = {0};
    effort_init(&e);
    effort_use_init(&a, &e);
    effort_enter(&a);
    effort_end(&e);
    memset(&e, 0xee, sizeof e);
    effort_leave(&a);
    effort_use_add(&a, 100);
    effort_use_drop(&a);
    effort_end(&zeros);
    effort_enter(&nobody);
    effort_leave(&nobody);
    effort_use_drop(&nobody);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_what_runs),
                                       cmocka_unit_test(ends_before_its_uses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
