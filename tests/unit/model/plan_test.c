#include "model/plan.h"

#include "tests/unit/test.h"

#define GIB (UINT64_C(1) << 30)

static struct model_info shape(const char *size, const char *kind)
{
    struct model_info i;
    struct error err;
    if (plan_shape(size, kind, &i, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    return i;
}

static struct plan make(const struct model_info *i, uint32_t context, uint32_t users,
                        uint64_t memory)
{
    struct plan_request r = {
        .info = i, .kv_type = TENSOR_F16, .context = context, .users = users, .memory = memory};
    struct plan p;
    struct error err;
    if (plan_make(&r, &p, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    return p;
}

/* The files that people publish: 4.92, 7.87, 20.22 and 42.52 GB. */
static void shapes_weigh_what_published_files_do(void **state)
{
    (void)state;
    static const struct {
        const char *size;
        double gb, billions;
    } rows[] = {
        {"8B", 4.92, 8.03}, {"13B", 7.87, 13.02}, {"34B", 20.22, 33.74}, {"70B", 42.52, 70.55}};
    for (size_t k = 0; k < COUNT_OF(rows); k++) {
        struct model_info i = shape(rows[k].size, "Q4_K_M");
        double gb = (double)i.weight_bytes * 1e-9;
        double billions = (double)i.parameters * 1e-9;
        if (gb < rows[k].gb * .99 || gb > rows[k].gb * 1.01 || billions < rows[k].billions * .995 ||
            billions > rows[k].billions * 1.005) {
            fail_msg("%s: %.3f GB, %.3f billion", rows[k].size, gb, billions);
        }
    }
}

static void the_table_for_24_gib(void **state)
{
    (void)state;
    static const struct {
        const char *size;
        enum plan_verdict verdict;
        uint32_t least_users, most_users;
    } rows[] = {{"8B", PLAN_EASY, 30, 40},
                {"13B", PLAN_COMFORTABLE, 4, 6},
                {"34B", PLAN_TIGHT, 4, 8},
                {"70B", PLAN_NO, 0, 0}};
    for (size_t k = 0; k < COUNT_OF(rows); k++) {
        struct model_info i = shape(rows[k].size, "q4_k_m");
        struct plan p = make(&i, 4096, 1, 24 * GIB);
        if (p.verdict != rows[k].verdict || p.most_users < rows[k].least_users ||
            p.most_users > rows[k].most_users) {
            fail_msg("%s: %s, %u users", rows[k].size, plan_verdict_name(p.verdict), p.most_users);
        }
        assert_int_equal(p.fits, p.verdict != PLAN_NO);
    }
}

static void pages_are_whole(void **state)
{
    (void)state;
    struct model_info i = shape("8B", "Q8_0");
    struct plan p = make(&i, 1001, 3, 0);
    assert_int_equal(p.page_bytes, 32 * 16 * 2 * 1024 * 2); /* layers, tokens, K and V, wide, F16 */
    assert_int_equal(p.pages_each, 63);
    assert_int_equal(p.pages, 189);
    assert_int_equal(p.keys_values, 189 * p.page_bytes);
    assert_int_equal(p.total, p.weights + p.vocabulary + p.keys_values + p.workspace);
    assert_true(p.fits);
}

/* The largest N and C fit, and one more of either does not. */
static void limits_are_the_last_that_fit(void **state)
{
    (void)state;
    static const char *const sizes[] = {"8B", "13B", "34B"};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        struct model_info i = shape(sizes[k], "Q4_K_M");
        struct plan p = make(&i, 2048, 2, 24 * GIB);
        assert_true(make(&i, 2048, p.most_users, 24 * GIB).fits);
        assert_false(make(&i, 2048, p.most_users + 1, 24 * GIB).fits);
        assert_true(make(&i, p.largest_context, 2, 24 * GIB).fits);
        if (p.largest_context < i.context) {
            assert_false(make(&i, p.largest_context + 1, 2, 24 * GIB).fits);
        }
    }
    struct model_info big = shape("70B", "Q4_K_M");
    struct plan none = make(&big, 2048, 1, 24 * GIB);
    assert_int_equal(none.most_users, 0);
    assert_int_equal(none.largest_context, 0);
}

/* Layers that see a window take a window's pages: Gemma 3's proportions. */
static void windows_cost_less(void **state)
{
    (void)state;
    struct model_info i = shape("8B", "Q4_K_M");
    i.context = 32768;
    i.window = 1024;
    i.window_layers = i.layers - i.layers / 6;
    struct plan p = make(&i, 16384, 4, 24 * GIB);
    i.window_layers = i.window = 0;
    struct plan whole = make(&i, 16384, 4, 24 * GIB);
    assert_int_equal(p.window_pages_each, (1023 + PLAN_PASS_TOKENS + 15) / 16 + 1);
    assert_int_equal(p.page_bytes + p.window_page_bytes, whole.page_bytes);
    assert_true(p.keys_values * 4 < whole.keys_values);
    assert_true(p.most_users > whole.most_users * 3);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct model_info i;
    struct error err;
    struct plan p;
    assert_int_equal(plan_shape("9B", "Q4_K_M", &i, &err), STATUS_INVALID);
    assert_non_null(strstr(err.text, "8B, 13B, 34B and 70B"));
    assert_int_equal(plan_shape("8B", "Q9", &i, &err), STATUS_INVALID);
    i = shape("8B", "F16");
    struct plan_request r = {.info = &i, .kv_type = TENSOR_F16, .context = 4096};
    assert_int_equal(plan_make(&r, &p, &err), STATUS_INVALID);
    r.users = PLAN_USERS_MAX;
    r.context = 1U << 25;
    assert_int_equal(plan_make(&r, &p, &err), STATUS_INVALID);
    r.context = 16384;
    assert_int_equal(plan_make(&r, &p, &err), STATUS_OK);
    assert_true(p.past_training);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_weigh_what_published_files_do),
        cmocka_unit_test(the_table_for_24_gib),
        cmocka_unit_test(pages_are_whole),
        cmocka_unit_test(limits_are_the_last_that_fit),
        cmocka_unit_test(windows_cost_less),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
