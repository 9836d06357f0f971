#include "base/metrics.h"

#include "tests/unit/test.h"

static void assert_text(const struct buf *b, const char *expected)
{
    assert_int_equal(buf_status(b), STATUS_OK);
    assert_string_equal(buf_view(b).ptr, expected);
}

static void test_counters_and_gauges(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct buf b;
    buf_init(&b, 65536);
    const struct metric_label get[] = {{"method", "GET"}, {"path", "/a\"b\\c\nd"}};
    const struct metric_label put[] = {{"method", "PUT"}};
    struct metric *one = metrics_counter(m, "asked_total", "Questions\nasked \\.", get, 2);
    struct metric *queue = metrics_gauge(m, "queue", "Waiting.", NULL, 0);
    struct metric *two = metrics_counter(m, "asked_total", "Questions\nasked \\.", put, 1);
    metric_add(one, 2);
    metric_add(one, 1);
    metric_add(two, 9007199254740992U);
    metric_set(queue, -5);
    metrics_write(m, &b);
    /* series of one name under one head */
    assert_text(&b, "# HELP asked_total Questions\\nasked \\\\.\n"
                    "# TYPE asked_total counter\n"
                    "asked_total{method=\"GET\",path=\"/a\\\"b\\\\c\\nd\"} 3\n"
                    "asked_total{method=\"PUT\"} 9007199254740992\n"
                    "# HELP queue Waiting.\n"
                    "# TYPE queue gauge\n"
                    "queue -5\n");
    buf_deinit(&b);
    metrics_free(m);
}

static void test_histogram(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct buf b;
    buf_init(&b, 65536);
    struct metric *h = metrics_histogram(m, "took_seconds", "Time.", NULL, 0);
    metric_observe_us(h, 0);
    metric_observe_us(h, 1000); /* the bound belongs to its bucket */
    metric_observe_us(h, 1001);
    metric_observe_us(h, 61000000);
    metrics_write(m, &b);
    static const char *const lines[] = {
        "# TYPE took_seconds histogram\n",
        "took_seconds_bucket{le=\"0.001\"} 2\n",
        "took_seconds_bucket{le=\"0.0025\"} 3\n",
        "took_seconds_bucket{le=\"60\"} 3\n",
        "took_seconds_bucket{le=\"+Inf\"} 4\n",
        "took_seconds_sum 61.002001\n",
        "took_seconds_count 4\n",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        assert_non_null(strstr(buf_view(&b).ptr, lines[i]));
    }
    buf_deinit(&b);
    metrics_free(m);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "1st", "a-b", "a b", "a\n", "\xc3\xa4"};
    struct metrics *m = metrics_new();
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_null(metrics_counter(m, bad[i], "h", NULL, 0));
    }
    for (int i = 0; i < METRICS_MAX; i++) {
        assert_non_null(metrics_counter(m, "many", "h", NULL, 0));
    }
    assert_null(metrics_counter(m, "many", "h", NULL, 0));
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe_us(NULL, 1);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_and_gauges),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
