#include "cli/term.h"

#include "tests/unit/test.h"

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *says;
    } cases[] = {{-5, "0 s"},      {999, "0 s"},           {59999, "59 s"},
                 {60000, "1 min"}, {3600000, "1 h 0 min"}, {90061000, "1 d 1 h"}};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[16];
        term_duration(cases[i].ms, out);
        assert_string_equal(out, cases[i].says);
    }
    char out[16];
    term_duration(INT64_MAX, out); /* fits, whatever it says */
    assert_true(strlen(out) < sizeof(out));
}

static void test_counted_words(void **state)
{
    (void)state;
    assert_string_equal(term_word(0, "try", "tries"), "tries");
    assert_string_equal(term_word(1, "try", "tries"), "try");
    assert_string_equal(term_word(2, "try", "tries"), "tries");
    assert_string_equal(term_word(UINT64_MAX, "file", "files"), "files");
}

static void test_bytes(void **state)
{
    (void)state;
    char out[16];

    term_bytes(0, out);
    assert_string_equal(out, "0 B");
    term_bytes(1536, out);
    assert_string_equal(out, "1.5 KiB");
    term_bytes(UINT64_MAX, out);
    assert_true(strlen(out) < sizeof(out));
}

static void test_control_characters_are_shown_not_sent(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    assert_non_null(f);
    term_put_clean(f, "a\x1b[2J\tb\nc\x7f\xc3\xa9|");
    term_put_clean(f, "\xc2\x9b\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa6\xc2|");
    term_put_text(f, "\x1b\tb\n\xc2\x80", "> ");
    term_put_text(f, NULL, "> ");
    assert_int_equal(fclose(f), 0);
    assert_string_equal(text, "a\\x1b[2J\\x09b\\x0ac\\x7f\xc3\xa9|"
                              "\\xc2\\x9b\\xe2\\x80\\xae\\xe2\\x81\\xa6\xe2\x80\xa6\xc2|"
                              "\\x1b\tb\n> \\xc2\\x80");
    free(text);
}

static void test_no_colour_where_it_is_no_terminal(void **state)
{
    (void)state;
    FILE *f = tmpfile();

    assert_non_null(f);
    assert_false(term_colour(f));
    term_progress(f, 1, 2, "x");
    assert_int_equal(ftell(f), 0);
    (void)fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_counted_words),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_control_characters_are_shown_not_sent),
        cmocka_unit_test(test_no_colour_where_it_is_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
