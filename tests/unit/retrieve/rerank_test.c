#include "retrieve/rerank.h"

#include <math.h>

#include "tests/unit/test.h"

static const struct fused before[] = {
    {.chunk = {"a", 1}, .score = .9F, .text_rank = 1},
    {.chunk = {"b", 1}, .score = .8F, .dense_rank = 1},
    {.chunk = {"c", 1}, .score = .7F, .text_rank = 2},
    {.chunk = {"d", 1}, .score = .6F, .text_rank = 3},
    {.chunk = {"e", 1}, .score = .1F, .text_rank = 4},
};
#define N COUNT_OF(before)

static void run(const size_t *order_in, const float *scores, size_t n, enum status expected,
                struct fused out[N], size_t order[N], char letters[N + 1])
{
    struct arena a;
    struct error err;
    arena_init(&a, 1 << 20);
    memcpy(out, before, sizeof before);
    memcpy(order, order_in, n * sizeof *order);
    assert_int_equal(rerank(out, N, order, scores, n, &a, &err), expected);
    for (size_t i = 0; i < N; i++) {
        letters[i] = out[i].chunk.ptr[0];
    }
    letters[N] = '\0';
    arena_reset(&a);
}

static void test_the_scores_order(void **state)
{
    (void)state;
    struct fused f[N];
    size_t order[N];
    char letters[N + 1];
    static const size_t all[] = {0, 1, 2, 3, 4};
    static const float scores[] = {-2, 0, 5, 0, -9};
    run(all, scores, 5, STATUS_OK, f, order, letters);
    assert_string_equal(letters, "cbdae"); /* b and d tie: as they were */
    assert_int_equal(f[0].before, 3);
    assert_true(fabsf(f[0].before_score - .7F) < 1e-6F);
    assert_true(fabsf(f[0].rerank - 5) < 1e-6F);
    assert_true(fabsf(f[1].score - .5F) < 1e-6F);
    assert_int_equal(f[0].text_rank, 2);
    static const size_t expected[] = {2, 1, 3, 0, 4};
    assert_memory_equal(order, expected, sizeof expected);
    for (size_t i = 1; i < N; i++) {
        assert_true(f[i].score <= f[i - 1].score && f[i].score >= 0);
    }
}

/* What had no score stays behind, in its order, and never seems better than what had one. */
static void test_some_have_none(void **state)
{
    (void)state;
    struct fused f[N];
    size_t order[N];
    char letters[N + 1];
    static const size_t some[] = {0, 2}; /* b was not readable */
    static const float scores[] = {-3, 3};
    run(some, scores, 2, STATUS_OK, f, order, letters);
    assert_string_equal(letters, "cabde");
    assert_int_equal(f[2].before, 0);
    for (size_t i = 1; i < N; i++) {
        assert_true(f[i].score <= f[i - 1].score);
    }
    run(some, scores, 0, STATUS_OK, f, order, letters);
    assert_string_equal(letters, "abcde");
    assert_true(fabsf(f[0].score - .9F) < 1e-6F);
}

static void test_nonsense_changes_nothing(void **state)
{
    (void)state;
    struct fused f[N];
    size_t order[N];
    char letters[N + 1];
    static const size_t twice[] = {1, 1};
    static const size_t outside[] = {1, N};
    static const size_t fine[] = {0, 1};
    static const float scores[] = {1, 2};
    static const float broken[] = {1, NAN};
    run(twice, scores, 2, STATUS_PROTOCOL, f, order, letters);
    assert_string_equal(letters, "abcde");
    run(outside, scores, 2, STATUS_PROTOCOL, f, order, letters);
    run(fine, broken, 2, STATUS_PROTOCOL, f, order, letters);
    assert_string_equal(letters, "abcde");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_scores_order),
        cmocka_unit_test(test_some_have_none),
        cmocka_unit_test(test_nonsense_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
