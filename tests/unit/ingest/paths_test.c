#include "tests/unit/test.h"

#include "base/tenant.h"
#include "ingest/paths.h"

static void ignores_hidden_and_temporary(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool ignored;
    } cases[] = {
        {"a.txt", false},         {"x/a.txt", false},      {".a", true},
        {"x/.git/a.txt", true},   {"a.txt~", true},        {"a.SWP", true},
        {"a.tmp", true},          {"a.part", true},        {"a.crdownload", true},
        {"~$report.docx", true},  {"x.tmp/a.txt", true},   {"tmp", false},
        {"a\nb.txt", false},      {"\xff\xfe.txt", false}, {"", true},
        {"m/.Sent/cur/1", false}, {".Sent/x/cur/1", true}, {"m/.Sent/.a/cur/1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(path_ignored(str_from(cases[i].path), false), cases[i].ignored);
    }
    assert_false(path_ignored(STR("m/.Sent"), true)); /* the disk must tell */
    assert_true(path_ignored(STR("m/.Sent"), false));
    assert_true(path_ignored(STR("."), true));
}

static void collection_is_the_first_folder(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a.txt", "default"},      {"law/a.txt", "law"},
        {"law/deep/a.txt", "law"}, {"\xd9\x85\xd9\x84\xd9\x81/a.txt", "\xd9\x85\xd9\x84\xd9\x81"},
        {"a\xff/b.txt", "a\\xff"}, {"a\nb/c", "a\\x0ab"},
    };
    char out[INGEST_COLLECTION_CAP];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        path_collection(str_from(cases[i][0]), out);
        assert_string_equal(out, cases[i][1]);
    }
}

static void shows_any_bytes_and_never_overflows(void **state)
{
    (void)state;
    char out[8];
    path_show(str_from("\xe4\xb8\xad\xe6\x96\x87\xe5\xad\x97"), out, sizeof out);
    assert_string_equal(out, "\xe4\xb8\xad\xe6\x96\x87"); /* never half a character */
    path_show(STR("\xe4\xb8"), out, sizeof out);
    assert_string_equal(out, "\\xe4");
    path_show(str_from(""), out, sizeof out);
    assert_string_equal(out, "");
}

static void uploads_stay_inside(void **state)
{
    (void)state;
    static const char *const good[] = {"a.txt", "law/a b.pdf", "\xd9\x85/\xd9\x85.md"};
    static const char *const bad[] = {
        "",   "/a.txt", "../a.txt", "a/../b", "a//b",  "a/",       "./a",
        ".a", "x/.a",   "a\nb",     "a\xff",  "a.tmp", "a\\b.txt", "1/2/3/4/5/6/7/8/9/10.txt"};
    struct error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(path_check_upload(str_from(good[i]), &err), STATUS_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(path_check_upload(str_from(bad[i]), &err), STATUS_INVALID);
    }
    assert_int_equal(path_check_upload((struct str){.ptr = "a\0b", .len = 3}, &err),
                     STATUS_INVALID);
}

static void endings(void **state)
{
    (void)state;
    assert_true(path_same_ending(STR("a.TXT"), STR("x/b.txt")));
    assert_false(path_same_ending(STR("a.txt"), STR("a.md")));
    assert_true(path_same_ending(STR("x.d/readme"), STR("notes")));
    assert_true(path_same_ending(STR("m/new/1.M2.host"), STR("m/cur/1.M2.host:2,S")));
    assert_true(path_same_ending(STR("m/cur/1.M2.host:2,S"), STR("m/.Old/cur/1.M2.host:2,RS")));
    assert_false(path_same_ending(STR("m/cur/1.M2.host:2,S"), STR("m/cur/1.M3.host:2,RS")));
    assert_false(path_same_ending(STR("m/x/1.M2.host:2,S"), STR("m/x/1.M2.host:2,RS")));
    assert_true(tenant_name_valid(STR("main-2")));
    assert_false(tenant_name_valid(STR("Main")));
    assert_false(tenant_name_valid(STR("..")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ignores_hidden_and_temporary),
        cmocka_unit_test(collection_is_the_first_folder),
        cmocka_unit_test(shows_any_bytes_and_never_overflows),
        cmocka_unit_test(uploads_stay_inside),
        cmocka_unit_test(endings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
