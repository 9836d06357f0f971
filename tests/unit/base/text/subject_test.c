#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text/subject.h"

static const uint8_t key[KEYED_KEY_BYTES] = {7, 1, 2, 3};

static struct subject_set *set_of(const char *const *identifiers, size_t n)
{
    struct subject_mark marks[SUBJECTS_MAX];
    struct error err;
    for (size_t i = 0; i < n; i++) {
        uint8_t packed[SUBJECT_MARK_BYTES];
        struct subject_mark m;
        assert_int_equal(subject_mark_make(key, str_from(identifiers[i]), &m, &err), STATUS_OK);
        subject_mark_pack(&m, packed);
        assert_true(subject_mark_unpack(packed, sizeof packed, &marks[i]));
    }
    struct subject_set *s = subject_set_new(key, marks, n);
    assert_non_null(s);
    return s;
}

static bool names(const char *identifier, const char *text)
{
    struct subject_set *s = set_of(&identifier, 1);
    bool found = subject_in(s, str_from(text));
    subject_set_free(s);
    return found;
}

static void stands_as_it_may_be_written(void **state)
{
    (void)state;
    static const struct {
        const char *identifier, *text;
        bool found;
    } cases[] = {
        {"Änne Müller", "then ÄNNE MÜLLER spoke", true},
        {"Änne Müller", "Anne Muller", true},
        {"Änne Müller", "A\xcc\x88nne Mu\xcc\x88ller", true}, /* combining marks */
        {"Änne Müller", "Änne\nMül-\n  ler.", true},          /* hyphenated at a line's end */
        {"Änne Müller", "Än\xc2\xadne M\xc3\xbcl\xc2\xadler", true}, /* soft hyphens */
        {"Änne Müller", "Änne  Maria Müller", false},
        {"Änne Müller", "Müller, Änne", false},
        {"Ulfhardtsson", "Ulfhardtssons", false},
        {"Ulfhardtsson", "MrUlfhardtsson", false},
        {"Ulfhardtsson", "ulfhardtsson", true},
        {"O'Neill", "o\xe2\x80\x99NEILL", true},
        {"O'Neill", "ONeill", true},
        {"a.b@example.com", "<A.B@Example.COM>", true},
        {"a.b@example.com", "xa.b@example.com", false},
        {"DE89 3704 0044", "IBAN DE8937040044.", true},
        {"DE8937040044", "IBAN DE89 3704-0044", true},
        {"AB-1234/7", "no. AB 1234/7,", true},
        {"AB-1234/7", "AB-1234/70", false},
        {"王小明", "昨天王小明先生来了", true}, /* no spaces around it */
        {"王小明", "王小红", false},
        {"Straße 7b", "STRASSE 7B", true},
        {"Ivan Petrov",
         "ivan                                                            "
         "                      petrov",
         false}, /* too far apart */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (names(cases[i].identifier, cases[i].text) != cases[i].found) {
            fail_msg("\"%s\" in \"%s\": expected %d", cases[i].identifier, cases[i].text,
                     cases[i].found);
        }
    }
}

struct seen {
    size_t n, mark[16], start[16], end[16];
};

static bool take(size_t mark, size_t start, size_t end, void *data)
{
    struct seen *seen = data;
    assert_true(seen->n < 16);
    seen->mark[seen->n] = mark;
    seen->start[seen->n] = start;
    seen->end[seen->n++] = end;
    return true;
}

static void tells_where(void **state)
{
    (void)state;
    const char *list[] = {"Ann Lee", "Lee Ann", "4711-22"};
    struct subject_set *s = set_of(list, 3);
    struct seen seen = {0};
    const char *text = "\xff Ann Lee Ann (471122)";
    subject_scan(s, str_from(text), take, &seen);
    assert_int_equal(seen.n, 3);
    assert_int_equal(seen.mark[0], 0);
    assert_memory_equal(text + seen.start[0], "Ann Lee", seen.end[0] - seen.start[0]);
    assert_int_equal(seen.mark[1], 1);
    assert_memory_equal(text + seen.start[1], "Lee Ann", seen.end[1] - seen.start[1]);
    assert_int_equal(seen.mark[2], 2);
    assert_memory_equal(text + seen.start[2], "471122", seen.end[2] - seen.start[2]);
    subject_set_free(s);
}

/* Every word of a long text is found, and nothing of it under another key. */
static void long_texts(void **state)
{
    (void)state;
    size_t cap = (size_t)1 << 20;
    char *text = malloc(cap);
    size_t n = 0;
    assert_non_null(text);
    for (unsigned i = 0; n + 32 < cap; i++) {
        int k = snprintf(text + n, cap - n, "word%uist, ", i);
        assert_true(k > 0);
        n += (size_t)k;
    }
    for (unsigned i = 1; i < 70000; i += 6999) {
        char what[64];
        (void)snprintf(what, sizeof what, "word%uist word%uist", i, i + 1);
        const char *list[] = {what};
        struct subject_set *s = set_of(list, 1);
        assert_true(subject_in(s, (struct str){.ptr = text, .len = n}));
        subject_set_free(s);
        uint8_t other[KEYED_KEY_BYTES] = {9};
        struct subject_mark m;
        struct error err;
        assert_int_equal(subject_mark_make(other, str_from(what), &m, &err), STATUS_OK);
        s = subject_set_new(key, &m, 1);
        assert_false(subject_in(s, (struct str){.ptr = text, .len = n}));
        subject_set_free(s);
    }
    free(text);
}

static void refuses_what_names_too_much(void **state)
{
    (void)state;
    struct subject_mark m;
    struct error err;
    char longest[SUBJECT_TEXT_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(subject_mark_make(key, STR("Li"), &m, &err), STATUS_INVALID);
    assert_int_equal(subject_mark_make(key, STR(" -- "), &m, &err), STATUS_INVALID);
    assert_int_equal(subject_mark_make(key, str_from(longest), &m, &err), STATUS_INVALID);
    assert_null(strstr(err.text, "xxx"));
}

static void masks(void **state)
{
    (void)state;
    const char *list[] = {"Ann Lee"};
    struct subject_set *s = set_of(list, 1);
    char out[64];
    char small[12];
    assert_int_equal(subject_masked(s, STR("hr/ann_lee.pdf"), out, sizeof out), 12);
    assert_string_equal(out, "hr/[...].pdf");
    (void)subject_masked(s, STR("hr/other.pdf"), out, sizeof out);
    assert_string_equal(out, "hr/other.pdf");
    (void)subject_masked(s, STR("hr/ann_lee.pdf and much more"), small, sizeof small);
    assert_true(strlen(small) < sizeof small);
    assert_null(strstr(small, "lee"));
    subject_set_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stands_as_it_may_be_written),
        cmocka_unit_test(tells_where),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(refuses_what_names_too_much),
        cmocka_unit_test(masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
