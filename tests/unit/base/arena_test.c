#include "tests/unit/test.h"

#include "base/arena.h"

static void test_memory_is_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    unsigned char *last = NULL;
    for (size_t len = 0; len < 3000; len += 37) {
        unsigned char *p = arena_alloc(&a, len);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(p[i], 0);
        }
        memset(p, 0xAA, len);
        assert_ptr_not_equal(p, last);
        last = p;
    }
    arena_reset(&a);
}

static void test_the_ceiling_holds(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1000);
    assert_null(arena_alloc(&a, 1001));
    assert_non_null(arena_alloc(&a, 900));
    assert_null(arena_alloc(&a, 900));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_array(&a, SIZE_MAX / 2, 4));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 900));
    arena_reset(&a);
}

static void test_large_blocks_keep_the_head(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    char *small = arena_strdup(&a, "small");
    char *large = arena_alloc(&a, 100000);
    char *next = arena_strdup(&a, "next");
    memset(large, 1, 100000);
    assert_string_equal(small, "small");
    assert_string_equal(next, "next");
    assert_true(next - small < 64); /* still from the first block */
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 7), "x-7");
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed_aligned_and_apart),
        cmocka_unit_test(test_the_ceiling_holds),
        cmocka_unit_test(test_large_blocks_keep_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
