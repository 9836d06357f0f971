/* .carrelignore by a table, as git reads the same lines, and the matcher's sets. */
#include "tests/unit/test.h"

#include "base/glob.h"
#include "ingest/ignore.h"

static void judges(void **state)
{
    static const struct {
        const char *text, *path;
        bool folder;
        uint64_t size;
        enum ignored said;
    } cases[] = {
        {"*.log\n", "a.log", false, 1, IGNORE_YES},
        {"*.log\n", "deep/er/a.log", false, 1, IGNORE_YES},
        {"*.log\n", "a.logs", false, 1, IGNORE_UNSAID},
        {"/a.log\n", "b/a.log", false, 1, IGNORE_UNSAID},
        {"/a.log\n", "a.log", false, 1, IGNORE_YES},
        {"b/a.log\n", "b/a.log", false, 1, IGNORE_YES},
        {"b/a.log\n", "c/b/a.log", false, 1, IGNORE_UNSAID},
        {"**/b/a.log\n", "c/b/a.log", false, 1, IGNORE_YES},
        {"old/\n", "old", true, 0, IGNORE_YES},
        {"old/\n", "old", false, 1, IGNORE_UNSAID},
        {"old/\n", "x/old", true, 0, IGNORE_YES},
        {"a/**\n", "a/b/c", false, 1, IGNORE_YES},
        {"a/**/z\n", "a/z", false, 1, IGNORE_YES},
        {"a/**/z\n", "a/b/c/z", false, 1, IGNORE_YES},
        {"*.log\n!keep.log\n", "keep.log", false, 1, IGNORE_NO},
        {"!keep.log\n*.log\n", "keep.log", false, 1, IGNORE_YES},
        {"# *.log\n\n", "# x.log", false, 1, IGNORE_UNSAID},
        {"\\#a\n", "#a", false, 1, IGNORE_YES},
        {"\\!a\n", "!a", false, 1, IGNORE_YES},
        {"a.txt  \r\n", "a.txt", false, 1, IGNORE_YES},
        {"a\\ \n", "a ", false, 1, IGNORE_YES},
        {"\xef\xbb\xbf*.log\n", "a.log", false, 1, IGNORE_YES},
        {"[a-c]?.[!t]xt\n", "b1.dxt", false, 1, IGNORE_YES},
        {"[a-c]?.[!t]xt\n", "b1.txt", false, 1, IGNORE_UNSAID},
        {"[a-c]?.[!t]xt\n", "d1.dxt", false, 1, IGNORE_UNSAID},
        {"[]a]b\n", "]b", false, 1, IGNORE_YES},
        {"[ab\n", "[ab", false, 1, IGNORE_YES},
        {"x[!y]z\n", "x/z", false, 1, IGNORE_UNSAID},
        {"size > 20MiB\n", "a.mp4", false, 20971521, IGNORE_YES},
        {"size > 20MiB\n", "a.mp4", false, 20971520, IGNORE_UNSAID},
        {"size > 20MiB\n", "folder", true, 0, IGNORE_UNSAID},
        {"size > 1KiB\n!big.pdf\n", "big.pdf", false, 2000, IGNORE_NO},
        {"sizes\n", "sizes", false, 1, IGNORE_YES},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena a;
        struct ignore_rules r = {0};
        struct error err = {0};
        arena_init(&a, 1 << 20);
        if (ignore_parse(str_from(cases[i].text), &a, &r, &err) != STATUS_OK) {
            fail_msg("%s: %s", cases[i].text, err.text);
        }
        if (ignore_judge(&r, str_from(cases[i].path), cases[i].folder, cases[i].size) !=
            cases[i].said) {
            fail_msg("case %zu: %s on %s", i, cases[i].text, cases[i].path);
        }
        arena_reset(&a);
    }
}

static void mistakes_name_their_line(void **state)
{
    static const char *const texts[] = {"a\nsize > much\n", "a\n!\n", "b\n/\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct arena a;
        struct ignore_rules r;
        struct error err = {0};
        arena_init(&a, 1 << 20);
        assert_int_equal(ignore_parse(str_from(texts[i]), &a, &r, &err), STATUS_INVALID);
        assert_non_null(strstr(err.text, ".carrelignore:2: "));
        arena_reset(&a);
    }
}

/* A pattern that makes backtracking matchers run for years. */
static void costs_no_more_than_lengths(void **state)
{
    char path[4001];
    (void)state;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_false(glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", str_from(path), 0));
    assert_true(glob_match("**/*a*a*a*a*a*a*a*a*a*a*a*a*", str_from(path), GLOB_SETS));
    assert_true(glob_match("[a]*", str_from(path), GLOB_SETS));
    assert_false(glob_match("[a]*", str_from(path), 0)); /* a bracket is a bracket in access.yaml */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges),
        cmocka_unit_test(mistakes_name_their_line),
        cmocka_unit_test(costs_no_more_than_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
