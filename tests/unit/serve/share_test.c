#include "serve/share.h"

#include "tests/unit/test.h"

#define PLACES 200
#define CORES 2
#define SLOTS (CORES * SHARE_SLOTS_A_CORE)

static uv_loop_t loop;
static struct share *share;
static struct share_place places[PLACES];
static size_t order[PLACES], n_order;
static bool closed;

static void go(struct share_place *p)
{
    order[n_order++] = (size_t)(p - places);
}

static void no_go(struct share_place *p)
{
    (void)p;
}

static void on_closed(void *data)
{
    (void)data;
    closed = true;
}

static int setup(void **state)
{
    (void)state;
    memset(places, 0, sizeof places);
    n_order = 0;
    closed = false;
    return uv_loop_init(&loop) == 0 && share_open(&loop, CORES, &share, NULL) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    share_close(share, on_closed, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    return closed && uv_loop_close(&loop) == 0 ? 0 : -1;
}

static void enter(size_t i, const char *tenant)
{
    assert_int_equal(share_enter(share, tenant, &places[i], go), STATUS_OK);
}

static void leave(size_t i)
{
    share_leave(share, &places[i]);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void alone_it_has_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < SLOTS + 2; i++) {
        enter(i, "a");
    }
    assert_int_equal(n_order, SLOTS);
    leave(0);
    assert_int_equal(n_order, SLOTS + 1);
    assert_int_equal(order[SLOTS], SLOTS);
    leave(SLOTS + 1); /* it gave up waiting */
    leave(1);
    assert_int_equal(n_order, SLOTS + 1);
    leave(1); /* twice does no harm */
    for (size_t i = 0; i < SLOTS + 2; i++) {
        leave(i);
    }
}

/* Who asks a little never waits; the flood has one slot (of two cores) while the other is about. */
static void a_flood_and_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        enter(i, "flood");
    }
    assert_int_equal(n_order, SLOTS);
    enter(30, "quiet");
    assert_int_equal(order[SLOTS], 30);
    leave(30);
    for (size_t i = 0; i + 1 < SLOTS; i++) {
        leave(i);
        assert_int_equal(n_order, SLOTS + 1);
    }
    leave(SLOTS - 1);
    assert_int_equal(n_order, SLOTS + 2);
    enter(31, "quiet");
    assert_int_equal(order[SLOTS + 2], 31);
    leave(SLOTS); /* the next of the flood stands back until the other's has ended */
    assert_int_equal(n_order, SLOTS + 3);
    leave(31);
    assert_int_equal(n_order, SLOTS + 4);
    for (size_t i = 0; i < 20; i++) {
        leave(i);
    }
}

/* Who stands back does so for one search of the others, not for all that come. */
static void nobody_is_starved(void **state)
{
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        enter(i, "flood");
    }
    for (size_t i = 0; i < SLOTS; i++) {
        leave(i);
    }
    for (size_t i = 0; i < 5; i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e"};
        enter(30 + i, names[i]); /* there is always one of them under way */
    }
    size_t before = n_order;
    for (size_t i = SLOTS; i < 2 * SLOTS; i++) {
        leave(i);
    }
    assert_int_equal(n_order, before);
    leave(30);
    assert_int_equal(n_order, before + 1);
    assert_int_equal(order[before], 2 * SLOTS);
    for (size_t i = 0; i < PLACES; i++) {
        leave(i);
    }
}

/* And no longer than a moment, however long the other's takes. */
static void a_long_one_holds_nobody(void **state)
{
    (void)state;
    for (size_t i = 0; i < SLOTS + 4; i++) {
        enter(i, "flood");
    }
    enter(30, "slow");
    for (size_t i = 0; i < SLOTS; i++) {
        leave(i);
    }
    while (n_order < SLOTS + 2) { /* SHARE_HOLD_MS, and it goes on */
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_true(places[30].running);
    for (size_t i = 0; i < PLACES; i++) {
        leave(i);
    }
}

/* Where the cores suffice for both, nobody stands back. */
static void many_cores(void **state)
{
    struct share *wide;
    struct share_place flood[40] = {{.running = false}}, other = {.running = false};
    (void)state;
    assert_int_equal(share_open(&loop, 16, &wide, NULL), STATUS_OK);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(share_enter(wide, "x", &other, no_go), STATUS_OK);
        share_leave(wide, &other);
        assert_int_equal(share_enter(wide, "flood", &flood[i], no_go), STATUS_OK);
    }
    assert_true(flood[14].running);
    assert_false(flood[15].running); /* one less than there are cores */
    for (size_t i = 0; i < 10; i++) {
        share_leave(wide, &flood[i]);
    }
    assert_int_equal(share_enter(wide, "x", &other, no_go), STATUS_OK);
    for (size_t i = 10; i < 15; i++) {
        share_leave(wide, &flood[i]);
    }
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(flood[15].running);
    for (size_t i = 0; i < 40; i++) {
        share_leave(wide, &flood[i]);
    }
    share_leave(wide, &other);
    share_close(wide, on_closed, NULL);
    while (!closed) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
}

/* Three with more than they may run: each has one under way, and who is done makes room for the
 * next of its own. */
static void turns_go_round(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    unsigned ran[3] = {0};
    for (size_t i = 0; i < 30; i++) {
        enter(i, names[i % 3]);
    }
    for (size_t i = 0; i < 15; i++) {
        assert_true(n_order > i);
        ran[order[i] % 3]++;
        leave(order[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_true(ran[i] >= 4 && ran[i] <= 7);
    }
    for (size_t i = 0; i < 30; i++) {
        leave(i);
    }
}

static void too_many(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHARE_WAITING_MAX + SLOTS; i++) {
        enter(i, "a");
    }
    assert_int_equal(share_enter(share, "a", &places[150], go), STATUS_BUSY);
    assert_null(places[150].tenant);
    enter(151, "b");
    leave(151);
    for (size_t i = 0; i < PLACES; i++) {
        leave(i);
    }
    assert_int_equal(n_order, SHARE_WAITING_MAX + SLOTS + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alone_it_has_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_and_one, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_is_starved, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_one_holds_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(many_cores, setup, teardown),
        cmocka_unit_test_setup_teardown(turns_go_round, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
