#include "tests/unit/test.h"

#include <math.h>

#include "retrieve/fuse.h"

static struct fused *run(struct arena *a, const struct fuse_hit *t, size_t nt,
                         const struct fuse_hit *d, size_t nd, float w, size_t *n)
{
    struct fused *out = NULL;
    struct error err;
    assert_int_equal(fuse(t, nt, d, nd, w, a, &out, n, &err), STATUS_OK);
    return out;
}

static void test_empty(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    size_t n = 7;
    run(&a, NULL, 0, NULL, 0, .1F, &n);
    assert_int_equal(n, 0);
    arena_reset(&a);
}

static void test_weights(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    struct fuse_hit text[] = {{STR("a"), .9F}, {STR("b"), .8F}, {STR("c"), .1F}};
    struct fuse_hit dense[] = {{STR("c"), .5F}, {STR("d"), .4F}, {STR("a"), .3F}};
    size_t n;
    struct fused *f = run(&a, text, 3, dense, 3, .25F, &n);
    assert_int_equal(n, 4);
    assert_true(str_eq(f[0].chunk, STR("a")));
    assert_true(fabsf(f[0].score - (float)(.75)) < 1e-6F); /* first by text, last by vectors */
    assert_int_equal(f[0].text_rank, 1);
    assert_int_equal(f[0].dense_rank, 3);
    assert_true(str_eq(f[1].chunk, STR("b")));
    assert_true(fabsf(f[1].score - (float)(.75 * .875)) < 1e-6F);
    assert_int_equal(f[1].dense_rank, 0);
    assert_true(str_eq(f[2].chunk, STR("c")));
    assert_true(fabsf(f[2].score - (float)(.25)) < 1e-6F);
    assert_true(str_eq(f[3].chunk, STR("d")));
    assert_true(fabsf(f[3].score - (float)(.125)) < 1e-6F);
    assert_int_equal(f[3].text_rank, 0);
    arena_reset(&a);
}

static void test_one_list_alone_gets_all(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    struct fuse_hit list[] = {{STR("x"), 7}, {STR("y"), 5}};
    size_t n;
    struct fused *f = run(&a, list, 2, NULL, 0, .5F, &n);
    assert_true(fabsf(f[0].score - (float)(1)) < 1e-6F);
    f = run(&a, NULL, 0, list, 2, .1F, &n);
    assert_int_equal(n, 2);
    assert_true(fabsf(f[0].score - (float)(1)) < 1e-6F);
    assert_int_equal(f[1].dense_rank, 2);
    arena_reset(&a);
}

static void test_ties_and_repeats(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    struct fuse_hit list[] = {{STR("z"), 2}, {STR("y"), 2}, {STR("z"), 2}};
    size_t n;
    struct fused *f = run(&a, list, 3, NULL, 0, 0, &n);
    assert_int_equal(n, 2);
    assert_true(str_eq(f[0].chunk, STR("z"))); /* equal scores keep the list's order */
    assert_true(str_eq(f[1].chunk, STR("y")));
    arena_reset(&a);
}

static void test_weight_by_share(void **state)
{
    (void)state;
    assert_true(fabsf(fuse_weight(.2F, 0) - .2F) < 1e-6F);
    assert_true(fabsf(fuse_weight(.2F, .5F) - .1F) < 1e-6F);
    assert_true(fabsf(fuse_weight(.2F, 1.5F)) < 1e-6F);
    assert_true(fabsf(fuse_weight(.2F, -1)) < .2F + 1e-6F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_one_list_alone_gets_all),
        cmocka_unit_test(test_ties_and_repeats),
        cmocka_unit_test(test_weight_by_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
