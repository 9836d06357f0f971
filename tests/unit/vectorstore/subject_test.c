/* Looking for a data subject goes on in bounded steps, through paths and tags too. */
#include "tests/unit/vectorstore/fixture.h"

#include "base/text/subject.h"

#define DOCUMENTS 1300U /* more than one step takes */

static void put(struct store *s, unsigned i, const char *path, uint64_t sequence)
{
    struct error err;
    Vs__PutReply r;
    static const char *const texts[] = {"Nobody is named here."};
    char id[16];
    (void)snprintf(id, sizeof id, "d%05u", i);
    const struct draft d = {
        .document = id, .path = path, .sequence = sequence, .texts = texts, .n = 1};
    OK(put_draft(s, &d, &r, &err));
}

static void names_are_found_step_by_step(void **state)
{
    (void)state;
    char dir[80];
    struct store *s = NULL;
    struct error err;
    static const uint8_t key[KEYED_KEY_BYTES] = {1, 2, 3};
    struct subject_mark mark;
    uint8_t packed[SUBJECT_MARK_BYTES];
    temp_dir(dir);
    OK(store_open(dir, &s, &err));
    store_retain_versions(s, INT64_C(86400000));
    for (unsigned i = 0; i < DOCUMENTS; i++) {
        put(s, i, i == 3 || i == DOCUMENTS - 1 ? "hr/erika-mustermann.txt" : "plain.txt", i + 1);
    }
    put(s, 3, "hr/a.txt", DOCUMENTS + 1); /* once, and not any more */
    OK(subject_mark_make(key, STR("Erika Mustermann"), &mark, &err));
    subject_mark_pack(&mark, packed);

    ProtobufCBinaryData marks[] = {{.data = packed, .len = sizeof packed}};
    char after[ID_CAP] = "";
    bool names = false;
    bool done = false;
    int64_t next = 0;
    unsigned steps = 0;
    unsigned first = 0;
    unsigned last = 0;
    while (!done) {
        struct arena a;
        Vs__FindSubjectRequest m = VS__FIND_SUBJECT_REQUEST__INIT;
        Vs__FindSubjectReply r = VS__FIND_SUBJECT_REPLY__INIT;
        arena_init(&a, (size_t)16 * 1024 * 1024);
        m.key = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)key, .len = sizeof key};
        m.marks = marks;
        m.n_marks = 1;
        m.has_after = true;
        m.after = next;
        m.names_after = names ? after : NULL;
        OK(store_find_subject(s, &m, &a, &r, &err));
        for (size_t i = 0; i < r.n_items; i++) {
            assert_true(r.items[i]->name);
            first += strcmp(r.items[i]->document, "d00003") == 0;
            last += strcmp(r.items[i]->document, "d01299") == 0;
        }
        assert_true(r.n_items <= 2);
        names = r.names_next != NULL;
        if (names) {
            (void)snprintf(after, sizeof after, "%s", r.names_next);
        }
        next = r.next;
        done = r.done;
        arena_reset(&a);
        assert_true(++steps < 20);
    }
    assert_true(steps >= 4); /* contents, then no more than so many documents each */
    assert_int_equal(first, 1);
    assert_int_equal(last, 1);
    store_close(s);
    drop_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_step_by_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
