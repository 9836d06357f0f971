#include "tests/unit/test.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/lane.h"

struct job {
    int number;
    struct board *board;
};

struct board {
    atomic_int running;
    atomic_int most;
    int started[200];
    atomic_int n_started;
    int done;
};

static void work(void *p)
{
    struct job *j = p;
    int now = atomic_fetch_add(&j->board->running, 1) + 1;
    int most = atomic_load(&j->board->most);
    while (now > most && !atomic_compare_exchange_weak(&j->board->most, &most, now)) {
    }
    j->board->started[atomic_fetch_add(&j->board->n_started, 1)] = j->number;
    (void)usleep(200);
    atomic_fetch_sub(&j->board->running, 1);
}

static void done(void *p)
{
    ((struct job *)p)->board->done++;
}

static void run(unsigned width, struct board *b)
{
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct lane lane;
    lane_init(&lane, &loop, width, 100);
    struct job jobs[100];
    struct error err;
    for (int i = 0; i < 100; i++) {
        jobs[i] = (struct job){i, b};
        assert_int_equal(lane_submit(&lane, work, done, &jobs[i], &err), STATUS_OK);
        assert_int_equal(b->done, 0); /* never from inside submit */
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(b->done, 100);
    assert_true(lane_idle(&lane));
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_a_lane_of_one_keeps_the_order(void **state)
{
    (void)state;
    struct board b = {0};
    run(1, &b);
    assert_int_equal(b.most, 1);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(b.started[i], i);
    }
}

static void test_a_wider_lane_runs_no_more_than_its_width(void **state)
{
    (void)state;
    struct board b = {0};
    run(3, &b);
    assert_in_range(b.most, 2, 3);
}

static void test_a_full_lane_says_busy(void **state)
{
    (void)state;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct lane lane;
    lane_init(&lane, &loop, 1, 2);
    struct board b = {0};
    struct job j = {0, &b};
    struct error err;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lane_submit(&lane, work, done, &j, &err), STATUS_OK);
    }
    assert_int_equal(lane_submit(&lane, work, done, &j, &err), STATUS_BUSY);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(b.done, 3);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lane_of_one_keeps_the_order),
        cmocka_unit_test(test_a_wider_lane_runs_no_more_than_its_width),
        cmocka_unit_test(test_a_full_lane_says_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
