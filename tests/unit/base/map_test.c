#include "tests/unit/test.h"

#include "base/map.h"

static int values[4096];

static struct str key_of(char out[16], int i)
{
    (void)snprintf(out, 16, "key%d", i);
    return str_from(out);
}

/* Random puts and removes against a plain array. */
static void test_against_a_model(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    int *model[500] = {0};
    size_t count = 0;
    uint32_t r = 12345;
    for (int step = 0; step < 60000; step++) {
        r = r * 1664525U + 1013904223U;
        int i = (int)(r >> 8) % 500;
        char k[16];
        struct str key = key_of(k, i);
        if ((r >> 28) % 2 == 0) {
            int *v = &values[step % 4096];
            void *old;
            assert_int_equal(map_put(&m, key, v, &old), STATUS_OK);
            assert_ptr_equal(old, model[i]);
            count += model[i] == NULL;
            model[i] = v;
        } else {
            assert_ptr_equal(map_remove(&m, key), model[i]);
            count -= model[i] != NULL;
            model[i] = NULL;
        }
        assert_int_equal(m.len, count);
    }
    size_t pos = 0;
    size_t seen = 0;
    struct str key;
    void *value;
    while (map_next(&m, &pos, &key, &value)) {
        seen++;
        assert_ptr_equal(map_get(&m, key), value);
    }
    assert_int_equal(seen, count);
    assert_in_range(m.cap, 16, 4096); /* removals do not make it grow */
    map_deinit(&m);
}

static void test_keys_are_bytes(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    assert_null(map_get(&m, STR("none")));
    assert_null(map_remove(&m, STR("none")));
    assert_int_equal(map_put(&m, (struct str){"a\0b", 3}, &values[0], NULL), STATUS_OK);
    assert_int_equal(map_put(&m, (struct str){"a\0c", 3}, &values[1], NULL), STATUS_OK);
    assert_int_equal(map_put(&m, STR(""), &values[2], NULL), STATUS_OK);
    assert_ptr_equal(map_get(&m, (struct str){"a\0b", 3}), &values[0]);
    assert_ptr_equal(map_get(&m, STR("")), &values[2]);
    assert_null(map_get(&m, STR("a")));
    map_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_keys_are_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
