#include "tests/unit/test.h"

#include "base/buf.h"

static void test_append_and_consume(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_z(&b, "hello");
    buf_char(&b, ' ');
    buf_printf(&b, "%d", 42);
    assert_string_equal(b.ptr, "hello 42");
    buf_consume(&b, 6);
    assert_string_equal(b.ptr, "42");
    buf_consume(&b, 99);
    assert_int_equal(b.len, 0);
    buf_deinit(&b);
}

static void test_the_ceiling_is_sticky(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_z(&b, "0123456789");
    assert_int_equal(buf_status(&b), STATUS_OK);
    buf_char(&b, 'x');
    assert_int_equal(buf_status(&b), STATUS_TOO_LARGE);
    buf_reset(&b);
    buf_z(&b, "again");
    assert_int_equal(buf_status(&b), STATUS_OK);
    buf_deinit(&b);
}

static void test_taking_leaves_it_empty(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_z(&b, "mine");
    char *p = buf_take(&b);
    assert_string_equal(p, "mine");
    assert_int_equal(b.len, 0);
    assert_null(b.ptr);
    free(p);
    buf_z(&b, "far too long for it");
    assert_null(buf_take(&b));
}

static void test_every_length_up_to_the_ceiling(void **state)
{
    (void)state;
    for (size_t max = 0; max < 300; max++) {
        struct buf b;
        buf_init(&b, max);
        for (size_t i = 0; i < max; i++) {
            buf_char(&b, 'a');
        }
        assert_int_equal(buf_status(&b), STATUS_OK);
        assert_int_equal(b.len, max);
        buf_char(&b, 'a');
        assert_int_equal(buf_status(&b), STATUS_TOO_LARGE);
        buf_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_consume),
        cmocka_unit_test(test_the_ceiling_is_sticky),
        cmocka_unit_test(test_taking_leaves_it_empty),
        cmocka_unit_test(test_every_length_up_to_the_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
