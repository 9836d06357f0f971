#include "tests/unit/test.h"

#include <errno.h>

#include "base/status.h"

static void test_every_code_has_name_and_http(void **state)
{
    (void)state;
    for (int i = 0; i < STATUS_COUNT; i++) {
        assert_true(strlen(status_name((enum status)i)) > 1);
        assert_true(strlen(status_text((enum status)i)) > 1);
        assert_in_range(status_http((enum status)i), 200, 599);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(status_name((enum status)i), status_name((enum status)j));
        }
    }
}

static void test_numbers_from_the_wire_are_not_trusted(void **state)
{
    (void)state;
    assert_int_equal(status_from_wire(STATUS_BUSY), STATUS_BUSY);
    assert_int_equal(status_from_wire(-1), STATUS_INTERNAL);
    assert_int_equal(status_from_wire(STATUS_COUNT), STATUS_INTERNAL);
}

static void test_errno_maps(void **state)
{
    (void)state;
    assert_int_equal(status_from_errno(ENOSPC), STATUS_DISK_FULL);
    assert_int_equal(status_from_errno(ENOENT), STATUS_NOT_FOUND);
    assert_int_equal(status_from_errno(EROFS), STATUS_FORBIDDEN);
    assert_int_equal(status_from_errno(12345), STATUS_IO);
}

static void test_context_is_put_before(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(error_set(&e, STATUS_CORRUPT, "page %d", 12), STATUS_CORRUPT);
    assert_int_equal(error_prefix(&e, "%s", "manual.pdf"), STATUS_CORRUPT);
    assert_string_equal(e.text, "manual.pdf: page 12");
    assert_int_equal(error_errno(&e, ENOSPC, "write"), STATUS_DISK_FULL);
    assert_non_null(strstr(e.text, "write: No space left"));
}

static void test_long_texts_are_cut_not_overrun(void **state)
{
    (void)state;
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    struct error e;
    (void)error_set(&e, STATUS_IO, "%s", longer);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    (void)error_prefix(&e, "%s", longer);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_int_equal(error_set(NULL, STATUS_IO, "nobody"), STATUS_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_name_and_http),
        cmocka_unit_test(test_numbers_from_the_wire_are_not_trusted),
        cmocka_unit_test(test_errno_maps),
        cmocka_unit_test(test_context_is_put_before),
        cmocka_unit_test(test_long_texts_are_cut_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
