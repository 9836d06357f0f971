#include "tests/unit/test.h"

#include "retrieve/questions.h"

#define VIEW(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    } /* STR is no constant */

static const struct question_passage handbook[] = {
    {VIEW("The office opens at eight. Visitors report to the desk on the ground floor please."),
     VIEW("Office")},
    {VIEW("Annual leave means the paid days off in a calendar year. How many days may I carry over "
          "into next year? Five days."),
     VIEW("Leave > Annual leave and public holidays")},
    {VIEW("Requests for time off are made at least four weeks before the first day of absence."),
     VIEW("Leave > Annual leave and public holidays")},
};

static size_t make(const char *id, struct arena *a, struct question *out)
{
    size_t n = 0;
    struct error err;
    assert_int_equal(
        questions_make(id, STR("Staff Handbook of Examplia"), handbook, 3, a, out, &n, &err),
        STATUS_OK);
    return n;
}

static const struct question *of_kind(const struct question *q, size_t n, enum question_kind k)
{
    for (size_t i = 0; i < n; i++) {
        if (q[i].kind == k) {
            return &q[i];
        }
    }
    return NULL;
}

static void test_each_kind(void **state)
{
    (void)state;
    struct arena a;
    struct question q[QUESTIONS_PER_DOCUMENT];
    arena_init(&a, 1 << 20);
    size_t n = make("doc1", &a, q);
    const struct question *title = of_kind(q, n, QUESTION_TITLE);
    const struct question *heading = of_kind(q, n, QUESTION_HEADING);
    const struct question *term = of_kind(q, n, QUESTION_TERM);
    const struct question *asked = of_kind(q, n, QUESTION_ASKED);
    assert_non_null(title);
    assert_non_null(heading);
    assert_non_null(term);
    assert_non_null(asked);
    assert_int_equal(title->first, 0);
    assert_int_equal(title->last, 2);
    assert_int_equal(heading->first, 1);
    assert_int_equal(heading->last, 2);
    assert_string_equal(term->text, "what is Annual leave");
    assert_int_equal(term->first, 1);
    assert_int_equal(asked->first, 1);
    arena_reset(&a);
}

/* What is asked is never text as it is indexed. */
static void test_varied(void **state)
{
    (void)state;
    struct arena a;
    struct question q[QUESTIONS_PER_DOCUMENT];
    arena_init(&a, 1 << 20);
    size_t n = make("doc1", &a, q);
    for (size_t i = 0; i < n; i++) {
        assert_null(strstr("Staff Handbook of Examplia", q[i].text));
        for (size_t k = 0; k < 3; k++) {
            assert_null(strstr(handbook[k].text.ptr, q[i].text));
            assert_null(strstr(handbook[k].heading.ptr, q[i].text));
        }
    }
    arena_reset(&a);
}

static void test_stable(void **state)
{
    (void)state;
    struct arena a;
    struct question x[QUESTIONS_PER_DOCUMENT], y[QUESTIONS_PER_DOCUMENT],
        other[QUESTIONS_PER_DOCUMENT];
    arena_init(&a, 1 << 20);
    size_t n = make("doc1", &a, x);
    assert_int_equal(make("doc1", &a, y), n);
    for (size_t i = 0; i < n; i++) {
        assert_true(x[i].key == y[i].key);
        assert_string_equal(x[i].text, y[i].text);
        for (size_t k = 0; k < i; k++) {
            assert_true(x[i].key != x[k].key);
        }
    }
    (void)make("doc2", &a, other);
    assert_true(x[0].key != other[0].key);
    arena_reset(&a);
}

static void test_nothing_to_ask(void **state)
{
    (void)state;
    struct arena a;
    struct question q[QUESTIONS_PER_DOCUMENT];
    struct error err;
    size_t n = 1;
    const struct question_passage odd[] = {{STR("?!. ... --- \xff\xfe \xc3"), STR("")},
                                           {STR(""), STR(" > ")}};
    arena_init(&a, 1 << 20);
    assert_int_equal(questions_make("d", STR(""), odd, 2, &a, q, &n, &err), STATUS_OK);
    assert_int_equal(n, 0);
    assert_int_equal(questions_make("d", STR("A title"), odd, 0, &a, q, &n, &err), STATUS_OK);
    assert_int_equal(n, 0);
    arena_reset(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind),
        cmocka_unit_test(test_varied),
        cmocka_unit_test(test_stable),
        cmocka_unit_test(test_nothing_to_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
