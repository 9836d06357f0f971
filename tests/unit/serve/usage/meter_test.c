#include "serve/usage/meter.h"

#include "tests/unit/test.h"

#define NOW INT64_C(1000000)
#define WALL (INT64_C(20000) * METER_DAY_MS + 3600000) /* one o'clock, some day in October 2024 */

static const struct meter_who someone = {
    .tenant = "main", .user = "ann", .key = "k1", .team = "law"};

static struct meter_defaults limits_of(enum meter_kind kind, enum meter_limit which, int64_t n)
{
    struct meter_defaults d = {.warn_percent = 80};
    d.limits[kind][which] = n;
    return d;
}

static enum meter_verdict ask(struct meter *m, const struct meter_who *who, unsigned uses,
                              int64_t now, int64_t wall, struct meter_ticket *t,
                              struct meter_decision *d)
{
    meter_enter(m, who, uses, now, wall, t, d);
    return d->verdict;
}

static void requests(void **state)
{
    (void)state;
    for (int kind = 0; kind < METER_KINDS; kind++) {
        struct meter m;
        struct meter_defaults defaults = limits_of((enum meter_kind)kind, METER_REQUESTS, 3);
        struct meter_ticket t;
        struct meter_decision d;
        meter_init(&m, &defaults);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(ask(&m, &someone, 0, NOW, WALL, &t, &d), METER_OK);
            assert_int_equal(d.requests.limit, 3);
            assert_int_equal(d.requests.left, 2 - i);
            meter_leave(&t);
        }
        assert_int_equal(ask(&m, &someone, 0, NOW, WALL, &t, &d), METER_NO_REQUESTS);
        assert_int_equal(d.by->kind, kind);
        assert_int_equal(d.requests.left, 0);
        assert_in_range(d.retry_ms, 19000, 20001); /* a third of a minute */
        meter_leave(&t);
        assert_int_equal(d.by->in_flight, 0);
        /* others are not touched by it */
        struct meter_who other = {.tenant = "branch", .user = "bob", .key = "k2", .team = "care"};
        assert_int_equal(ask(&m, &other, 0, NOW, WALL, &t, &d), METER_OK);
        meter_leave(&t);
        /* and it comes back with time */
        assert_int_equal(ask(&m, &someone, 0, NOW + 20100, WALL, &t, &d), METER_OK);
        meter_leave(&t);
        meter_deinit(&m);
    }
}

/* A request that the tenant has no room for takes nothing from its key. */
static void refused_takes_nothing(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults defaults = limits_of(METER_KEY, METER_REQUESTS, 10);
    struct meter_ticket t;
    struct meter_decision d;
    defaults.limits[METER_TENANT][METER_REQUESTS] = 1;
    meter_init(&m, &defaults);
    assert_int_equal(ask(&m, &someone, 0, NOW, WALL, &t, &d), METER_OK);
    meter_leave(&t);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask(&m, &someone, 0, NOW, WALL, &t, &d), METER_NO_REQUESTS);
        assert_int_equal(d.by->kind, METER_TENANT);
    }
    struct meter_subject *key = meter_subject(&m, METER_KEY, "main", "k1", NOW);
    assert_in_range((int64_t)key->bucket, 9, 9);
    assert_int_equal(key->in_flight, 0);
    meter_deinit(&m);
}

static void days(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults defaults = limits_of(METER_USER, METER_TOKENS, 100);
    struct meter_ticket t;
    struct meter_decision d;
    defaults.limits[METER_TENANT][METER_UPLOAD] = 1000;
    meter_init(&m, &defaults);
    assert_int_equal(ask(&m, &someone, METER_USES_TOKENS, NOW, WALL, &t, &d), METER_OK);
    assert_int_equal(d.tokens.left, 100);
    meter_charge(&t, 130, 0, 0, WALL); /* the last one may pass it */
    meter_leave(&t);
    assert_int_equal(ask(&m, &someone, METER_USES_TOKENS, NOW, WALL, &t, &d), METER_NO_TOKENS);
    assert_int_equal(d.tokens.left, 0);
    assert_int_equal(d.retry_ms, 23 * 3600000);
    assert_int_equal(ask(&m, &someone, 0, NOW, WALL, &t, &d),
                     METER_OK); /* what uses none goes on */
    meter_leave(&t);
    assert_int_equal(ask(&m, &someone, METER_USES_TOKENS, NOW, WALL + METER_DAY_MS, &t, &d),
                     METER_OK);
    meter_leave(&t);
    /* a body whose length is known must fit; one of unknown length only begins below */
    struct meter_who up = someone;
    up.body_bytes = 1001;
    assert_int_equal(ask(&m, &up, METER_USES_UPLOAD, NOW, WALL, &t, &d), METER_NO_UPLOAD);
    up.body_bytes = 600;
    assert_int_equal(ask(&m, &up, METER_USES_UPLOAD, NOW, WALL, &t, &d), METER_OK);
    meter_charge(&t, 0, 600, 0, WALL);
    meter_leave(&t);
    assert_int_equal(ask(&m, &up, METER_USES_UPLOAD, NOW, WALL, &t, &d), METER_NO_UPLOAD);
    meter_deinit(&m);
}

static void streams_and_shares(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults defaults = limits_of(METER_KEY, METER_STREAMS, 2);
    struct meter_ticket t[8];
    struct meter_decision d;
    struct meter_who branch = {.tenant = "branch", .user = "bob", .key = "k2", .team = ""};
    defaults.tenant_share = 4;
    meter_init(&m, &defaults);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(&m, &someone, METER_USES_STREAM, NOW, WALL, &t[i], &d), METER_OK);
    }
    assert_int_equal(ask(&m, &someone, METER_USES_STREAM, NOW, WALL, &t[2], &d), METER_NO_STREAMS);
    for (int i = 2; i < 6; i++) { /* alone it may have everything */
        assert_int_equal(ask(&m, &someone, 0, NOW, WALL, &t[i], &d), METER_OK);
    }
    assert_int_equal(ask(&m, &branch, 0, NOW, WALL, &t[6], &d), METER_OK);
    assert_int_equal(ask(&m, &someone, 0, NOW, WALL, &t[7], &d), METER_NO_SHARE);
    for (int i = 0; i < 7; i++) {
        meter_leave(&t[i]);
    }
    assert_int_equal(ask(&m, &someone, METER_USES_STREAM, NOW, WALL, &t[0], &d), METER_OK);
    meter_leave(&t[0]);
    meter_leave(&t[0]); /* twice is once */
    assert_int_equal(meter_subject(&m, METER_TENANT, "main", "", NOW)->in_flight, 0);
    meter_deinit(&m);
}

static void budgets(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults defaults = limits_of(METER_TEAM, METER_BUDGET, 10000000);
    struct meter_ticket t;
    struct meter_decision d;
    meter_init(&m, &defaults);
    assert_int_equal(ask(&m, &someone, METER_USES_MONEY, NOW, WALL, &t, &d), METER_OK);
    meter_charge(&t, 0, 0, 7999999, WALL);
    assert_null(meter_warning(&m, &t, true, WALL));
    meter_charge(&t, 0, 0, 1, WALL);
    const struct meter_subject *s = meter_warning(&m, &t, true, WALL);
    assert_non_null(s);
    assert_string_equal(s->name, "law");
    assert_null(meter_warning(&m, &t, true, WALL));      /* told once */
    assert_non_null(meter_warning(&m, &t, false, WALL)); /* and shown always */
    meter_charge(&t, 0, 0, 2000000, WALL);
    meter_leave(&t);
    assert_int_equal(ask(&m, &someone, METER_USES_MONEY, NOW, WALL, &t, &d), METER_NO_BUDGET);
    assert_int_equal(d.retry_ms, meter_month_start(meter_month(WALL) + 1) - WALL);
    meter_subject(&m, METER_TEAM, "main", "law", NOW)->limits[METER_BUDGET] = 20000000; /* raised */
    assert_int_equal(ask(&m, &someone, METER_USES_MONEY, NOW, WALL, &t, &d), METER_OK);
    meter_leave(&t);
    assert_int_equal(ask(&m, &someone, METER_USES_MONEY, NOW, WALL + 40 * METER_DAY_MS, &t, &d),
                     METER_OK);
    assert_int_equal(meter_subject(&m, METER_TEAM, "main", "law", NOW)->micro, 0);
    meter_leave(&t);
    meter_deinit(&m);
}

/* What is charged to keys is what is charged to users, to teams (where there is one) and to
 * tenants, whatever the order. */
static void sums(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults defaults = {0};
    uint64_t r = 42;
    int64_t all[3] = {0};
    int64_t by[METER_KINDS][3] = {{0}};
    meter_init(&m, &defaults);
    for (int i = 0; i < 5000; i++) {
        char tenant[16], user[16], key[16], team[16];
        struct meter_ticket t;
        struct meter_decision d;
        r = r * 6364136223846793005U + 1442695040888963407U;
        unsigned x = (unsigned)(r >> 33);
        (void)snprintf(tenant, sizeof tenant, "t%u", x % 3);
        (void)snprintf(user, sizeof user, "u%u", x / 3 % 10);
        (void)snprintf(key, sizeof key, "k%u", x / 3 % 20);
        (void)snprintf(team, sizeof team, "g%u", x / 3 % 5);
        struct meter_who who = {.tenant = tenant, .user = user, .key = key, .team = team};
        assert_int_equal(ask(&m, &who, METER_USES_MONEY, NOW + i, WALL, &t, &d), METER_OK);
        int64_t amounts[3] = {x % 977, x % 131, x % 100003};
        meter_charge(&t, amounts[0], amounts[1], amounts[2], WALL);
        meter_leave(&t);
        for (int k = 0; k < 3; k++) {
            all[k] += amounts[k];
        }
    }
    size_t pos = 0;
    struct meter_subject *s;
    while ((s = meter_next_dirty(&m, &pos)) != NULL) {
        by[s->kind][0] += s->tokens;
        by[s->kind][1] += s->upload_bytes;
        by[s->kind][2] += s->micro;
        assert_int_equal(s->in_flight, 0);
    }
    for (int kind = 0; kind < METER_KINDS; kind++) {
        assert_memory_equal(by[kind], all, sizeof all);
    }
    meter_deinit(&m);
}

/* More keys than there is room for: those at rest make room, those at work do not. */
static void bounded(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults defaults = {0};
    struct meter_ticket t, first;
    struct meter_decision d;
    meter_init(&m, &defaults);
    assert_int_equal(ask(&m, &someone, METER_USES_TOKENS, NOW, WALL, &first, &d), METER_OK);
    for (int i = 0; i < 100000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key%d", i);
        struct meter_who who = {.tenant = "main", .user = key, .key = key, .team = ""};
        assert_int_equal(ask(&m, &who, 0, NOW + i * INT64_C(100), WALL, &t, &d), METER_OK);
        meter_leave(&t);
        assert_in_range(m.subjects.len, 1, METER_SUBJECTS_MAX);
    }
    meter_charge(&first, 5, 0, 0, WALL);
    meter_leave(&first);
    assert_int_equal(meter_subject(&m, METER_KEY, "main", "k1", NOW)->tokens, 5);
    meter_deinit(&m);
}

static enum meter_verdict again(struct meter *m, int64_t wall)
{
    struct meter_ticket t;
    struct meter_decision d;
    enum meter_verdict v =
        ask(m, &someone, METER_USES_TOKENS | METER_USES_MONEY, NOW, wall, &t, &d);
    meter_leave(&t);
    return v;
}

/* Set back a little or by years, and forward again: nothing that was used comes back before the
 * next day and month do. */
static void clock_set_back(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults defaults = limits_of(METER_USER, METER_TOKENS, 100);
    struct meter_ticket t;
    struct meter_decision d;
    int64_t midnight = WALL - WALL % METER_DAY_MS;
    meter_init(&m, &defaults);
    assert_int_equal(ask(&m, &someone, METER_USES_TOKENS, NOW, midnight + 10, &t, &d), METER_OK);
    meter_charge(&t, 100, 0, 7, midnight + 10);
    meter_leave(&t);
    struct meter_subject *s = meter_subject(&m, METER_USER, "main", "ann", NOW);
    for (int i = 0; i < 5; i++) { /* to and fro over midnight */
        assert_int_equal(again(&m, midnight - 20), METER_NO_TOKENS);
        assert_int_equal(again(&m, midnight + 20), METER_NO_TOKENS);
    }
    assert_int_equal(again(&m, midnight - 700 * METER_DAY_MS), METER_NO_TOKENS);
    assert_int_equal(s->micro, 7);
    assert_int_equal(again(&m, midnight - 699 * METER_DAY_MS), METER_OK);
    /* wrong by years, and mended: nobody waits for those years to come */
    assert_int_equal(again(&m, midnight + 9000 * METER_DAY_MS), METER_OK);
    meter_charge(&(struct meter_ticket){.who = {[METER_USER] = s}, .held = true}, 100, 0, 3,
                 midnight + 9000 * METER_DAY_MS);
    assert_int_equal(again(&m, WALL), METER_NO_TOKENS);
    assert_int_equal(s->micro, 3);
    assert_int_equal(again(&m, WALL + METER_DAY_MS), METER_OK);
    meter_deinit(&m);
}

/* What was used on days that are over holds nobody's place. */
static void yesterdays_make_room(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults defaults = {0};
    struct meter_ticket t;
    struct meter_decision d;
    meter_init(&m, &defaults);
    for (int i = 0; i < 60000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key%d", i);
        struct meter_who who = {.tenant = "main", .user = key, .key = key, .team = ""};
        int64_t wall = WALL + i / 10000 * METER_DAY_MS;
        assert_int_equal(ask(&m, &who, METER_USES_TOKENS, NOW + i * INT64_C(100), wall, &t, &d),
                         METER_OK);
        meter_charge(&t, 5, 0, 0, wall);
        meter_leave(&t);
        size_t pos = 0;
        while (i % 1000 == 999 && meter_next_dirty(&m, &pos) != NULL) {
        }
        assert_in_range(m.subjects.len, 1, METER_SUBJECTS_MAX);
    }
    meter_deinit(&m);
}

static void what_is_left(void **state)
{
    (void)state;
    struct meter m;
    struct meter_defaults d = limits_of(METER_KEY, METER_TOKENS, 100);
    struct meter_ticket t;
    struct meter_ticket beside;
    struct meter_decision out;
    d.limits[METER_TEAM][METER_TOKENS] = 120;
    meter_init(&m, &d);
    struct meter_who other = someone;
    other.key = "k2";
    assert_int_equal(ask(&m, &someone, METER_USES_TOKENS, NOW, WALL, &t, &out), METER_OK);
    assert_int_equal(ask(&m, &other, METER_USES_TOKENS, NOW, WALL, &beside, &out), METER_OK);
    assert_int_equal(meter_left(&m, &t, METER_TOKENS), 100);
    assert_true(meter_left(&m, &t, METER_BUDGET) == INT64_MAX);
    meter_charge(&beside, 90, 0, 7, WALL);
    assert_int_equal(meter_left(&m, &t, METER_TOKENS), 30); /* of the team */
    assert_int_equal(meter_left(&m, &beside, METER_TOKENS), 10);
    meter_charge(&t, 200, 0, 0, WALL);
    assert_int_equal(meter_left(&m, &t, METER_TOKENS), 0);
    meter_leave(&t);
    meter_leave(&beside);
    assert_true(meter_left(&m, &t, METER_TOKENS) == INT64_MAX);
    meter_deinit(&m);
}

static void months(void **state)
{
    (void)state;
    int64_t m = meter_month(INT64_C(1732230000000)); /* 2024-11-21 */
    assert_int_equal(m, 2024 * 12 + 10);
    assert_int_equal(meter_month_start(m), INT64_C(1730419200000));
    assert_int_equal(meter_month_start(m + 2), INT64_C(1735689600000)); /* 2025-01-01 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(refused_takes_nothing),
        cmocka_unit_test(days),
        cmocka_unit_test(streams_and_shares),
        cmocka_unit_test(budgets),
        cmocka_unit_test(sums),
        cmocka_unit_test(bounded),
        cmocka_unit_test(months),
        cmocka_unit_test(clock_set_back),
        cmocka_unit_test(what_is_left),
        cmocka_unit_test(yesterdays_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
