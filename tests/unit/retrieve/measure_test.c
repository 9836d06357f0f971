#include "tests/unit/test.h"

#include "retrieve/measure.h"

static void close_to(double x, double y)
{
    assert_true(x - y < 1e-6 && y - x < 1e-6);
}

/* By hand: ideal of 3 units 1 + 1/log2(3) + 1/2 = 2.130930; ranks 2 and 7 give .630930 + 1/3. */
static void test_hand_values(void **state)
{
    (void)state;
    struct measured m;
    measure((uint32_t[]){2, 7, 0}, 3, &m);
    close_to((double)m.v[NDCG_10], (0.6309297536 + 1.0 / 3) / 2.1309297536);
    close_to((double)m.v[RECALL_5], 1.0 / 3);
    close_to((double)m.v[RECALL_20], 2.0 / 3);
    close_to((double)m.v[MRR_10], .5);
}

static void test_edges(void **state)
{
    (void)state;
    struct measured m;
    measure((uint32_t[]){1}, 1, &m);
    close_to((double)m.v[NDCG_10], 1);
    close_to((double)m.v[MRR_10], 1);
    measure((uint32_t[]){0}, 1, &m);
    for (int i = 0; i < MEASURES; i++) {
        close_to((double)m.v[i], 0);
    }
    measure((uint32_t[]){11}, 1, &m);
    close_to((double)m.v[NDCG_10], 0);
    close_to((double)m.v[MRR_10], 0);
    close_to((double)m.v[RECALL_20], 1);
}

static void test_bootstrap(void **state)
{
    (void)state;
    float v[400];
    struct interval a, b;
    for (size_t i = 0; i < 400; i++) {
        v[i] = i % 4 == 0 ? 0 : 1; /* mean .75, standard error sqrt(.75 * .25 / 400) = .02165 */
    }
    interval_of(v, 400, &a);
    interval_of(v, 400, &b);
    close_to(a.mean, .75);
    close_to(a.low, b.low);
    assert_true(a.low > .75 - 3 * .02165 && a.low < .75 - 1.3 * .02165);
    assert_true(a.high < .75 + 3 * .02165 && a.high > .75 + 1.3 * .02165);
    interval_of(v, 0, &a);
    close_to(a.mean, 0);
}

static void test_paired(void **state)
{
    (void)state;
    /* the same gain everywhere: the difference is certain although the values spread */
    float a[50], b[50], scratch[50];
    struct interval d;
    for (size_t i = 0; i < 50; i++) {
        a[i] = (float)(i % 5) / 10;
        b[i] = a[i] + .25F;
    }
    interval_of_difference(a, b, 50, scratch, &d);
    close_to(d.mean, .25);
    close_to(d.low, .25);
    close_to(d.high, .25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hand_values),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_paired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
