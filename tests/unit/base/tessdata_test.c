#include "base/tessdata.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct tessdata some = {.program = true, .n = 3, .names = {"deu", "eng", "fra"}};

static void test_choose(void **state)
{
    (void)state;
    static const struct {
        const char *wanted, *first, *out, *missing;
    } cases[] = {
        {"auto", NULL, "eng+deu+fra", ""},    {"auto", "fr", "fra+eng+deu", ""},
        {"auto", "de-AT", "deu+eng+fra", ""}, {"auto", "ja", "eng+deu+fra", ""},
        {"deu+eng", NULL, "deu+eng", ""},     {"deu+eng", "en", "eng+deu", ""},
        {"deu+nld", "", "deu", "nld"},        {"nld+pol", NULL, "", "nld+pol"},
        {"deu+deu", "de", "deu", ""},         {"deu", "../x", "deu", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[TESSDATA_LIST], missing[TESSDATA_LIST];
        tessdata_choose(&some, cases[i].wanted, cases[i].first, out, missing);
        assert_string_equal(out, cases[i].out);
        assert_string_equal(missing, cases[i].missing);
    }
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(tessdata_valid("auto"));
    assert_true(tessdata_valid("deu+chi_sim"));
    const char *const bad[] = {"",       "+",       "deu+", "+deu", "deu++eng",
                               "../deu", "deu eng", "DEU",  "-l",   "abcdefghijklmnopq"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(tessdata_valid(bad[i]));
    }
}

static void test_packages(void **state)
{
    (void)state;
    char out[64];
    tessdata_packages("deu+chi_sim", out, sizeof out);
    assert_string_equal(out, " tesseract-ocr-deu tesseract-ocr-chi-sim");
    tessdata_packages("", out, sizeof out);
    assert_string_equal(out, "");
    tessdata_packages("deu+fra+spa+ita", out, sizeof out); /* what does not fit is left out whole */
    assert_string_equal(out, " tesseract-ocr-deu tesseract-ocr-fra tesseract-ocr-spa");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_choose), cmocka_unit_test(test_valid),
                                       cmocka_unit_test(test_packages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
