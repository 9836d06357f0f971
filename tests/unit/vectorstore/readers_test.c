/* Who reads beside whom: as many searches as there are threads for them leave the writer its look
 * at what it has put, and the other way round. */
#include "fixture.h"

#include "vectorstore/store_internal.h"

static void searches_and_the_writer_do_not_wait_for_each_other(void **state)
{
    (void)state;
    char dir[64];
    struct error err;
    struct store *s = NULL;
    struct reader *searching[STORE_READERS];
    struct catalogue_state at;
    static const char *const texts[] = {"The ferry leaves from pier nine."};
    struct draft d = {.document = "d1", .sequence = 1, .texts = texts, .n = 1};
    struct put *p = NULL;
    struct arena a;
    Vs__DocumentInfo info;
    Vs__PutReply r = VS__PUT_REPLY__INIT;
    arena_init(&a, 1 << 20);
    temp_dir(dir);
    OK(store_open(dir, &s, &err));
    for (size_t i = 0; i < STORE_READERS; i++) {
        OK(reader_take(s, &searching[i], &at, &err));
    }
    OK(begin_draft(s, &d, &p, &err));
    OK(add_draft(p, &d, &err));
    OK(store_put_commit(p, &r, &err));
    OK(store_put_stored(p, &a, &info, &err));
    assert_non_null(info.location);
    assert_string_equal(info.location->document, "d1");
    store_put_end(p);
    struct reader *own = NULL; /* the writer's; then all are taken */
    struct reader *none = NULL;
    OK(reader_take(s, &own, &at, &err));
    assert_int_equal(reader_take(s, &none, &at, &err), STATUS_BUSY);
    reader_give(s, own);
    for (size_t i = 0; i < STORE_READERS; i++) {
        reader_give(s, searching[i]);
    }
    arena_reset(&a);
    store_close(s);
    drop_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches_and_the_writer_do_not_wait_for_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
