/* Who seals next: nobody who waits is passed over for ever. */
#include "vectorstore/tenants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void who_has_waited_longest_is_next(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d"};
    struct tenants all = {.sealing_asked = 0};
    struct tenant t[4] = {{.waiting = 0}, {.waiting = 7}, {.waiting = 3}, {.waiting = 2}};
    map_init(&all.by_name);
    assert_null(tenant_next_to_seal(&all));
    for (size_t i = 0; i < 4; i++) {
        t[i].all = &all;
        assert_int_equal(map_put(&all.by_name, str_from(names[i]), &t[i], NULL), STATUS_OK);
    }
    t[3].closing = true;
    assert_ptr_equal(tenant_next_to_seal(&all), &t[2]);
    t[2].waiting = 8; /* it has sealed and asks again */
    assert_ptr_equal(tenant_next_to_seal(&all), &t[1]);
    t[1].waiting = 0;
    assert_ptr_equal(tenant_next_to_seal(&all), &t[2]);
    map_deinit(&all.by_name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_waited_longest_is_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
