/* What a maildir's files are, on real folders. */
#include "tests/unit/ingest/disk_place.h"

#include "base/file.h"

static void make(const struct place *p, const char *path, bool folder)
{
    char whole[256];
    (void)snprintf(whole, sizeof whole, "%s/%s", p->dir, path);
    if (folder) {
        assert_int_equal(file_mkdirs(whole, 0700, NULL), STATUS_OK);
        return;
    }
    int fd = open(whole, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void what_lies_in_it(void **state)
{
    static const struct {
        const char *path;
        bool folder;
        enum tree_kind kind;
    } all[] = {
        {"m/cur", true, TREE_FOLDER},
        {"m/new", true, TREE_FOLDER},
        {"m/tmp", true, TREE_OTHER},
        {"m/cur/1.M1P2.host:2,S", false, TREE_FILE},
        {"m/cur/.nfs00", false, TREE_OTHER},
        {"m/cur/1.M2.host.tmp:2,", false, TREE_FILE},
        {"m/cur/1.M3.host.part", false, TREE_FILE},
        {"m/cur/deep", true, TREE_OTHER},
        {"m/cur/deep/2.M1", false, TREE_OTHER},
        {"m/tmp/1.M4", false, TREE_OTHER},
        {"m/dovecot.index.cache", false, TREE_OTHER},
        {"m/subscriptions", false, TREE_OTHER},
        {"m/minutes.txt", false, TREE_FILE},
        {"m/.Sent", true, TREE_FOLDER},
        {"m/.Sent/cur", true, TREE_FOLDER},
        {"m/.Sent/new", true, TREE_FOLDER},
        {"m/.Sent/tmp", true, TREE_OTHER},
        {"m/.Sent/cur/3.M1:2,S", false, TREE_FILE},
        {"m/.Sent/maildirfolder", false, TREE_OTHER},
        {"m/.half", true, TREE_FOLDER},
        {"m/.half/cur", true, TREE_OTHER},
        {"m/.half/cur/4.M1", false, TREE_OTHER},
        {"m/.Sent/.deep", true, TREE_OTHER},
        {"x/tmp", true, TREE_FOLDER}, /* no maildir: nothing about it is special */
        {"x/tmp/a.txt", false, TREE_FILE},
        {"x/cur", true, TREE_FOLDER},
        {"x/dovecot.txt", false, TREE_FILE},
        {"x/.Sent", true, TREE_OTHER},
        {"x/.Sent/cur", true, TREE_OTHER},
        {"x/.Sent/new", true, TREE_OTHER},
        {"x/.Sent/tmp", true, TREE_OTHER},
        {"x/.Sent/cur/5.M1", false, TREE_OTHER},
        {"m/..", true, TREE_MISSING},
    };
    struct place *p = *state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        make(p, all[i].path, all[i].folder);
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        enum tree_kind kind = TREE_MISSING;
        struct file_stamp stamp;
        assert_int_equal(disk_stat(p->disk, str_from(all[i].path), &kind, &stamp, NULL), STATUS_OK);
        if (kind != all[i].kind) {
            fail_msg("%s is %d", all[i].path, (int)kind);
        }
    }
}

static void the_view_tells_of_mail(void **state)
{
    static const struct {
        const char *folder;
        enum maildir_place place;
    } all[] = {
        {"m", MAILDIR_NONE},       {"m/cur", MAILDIR_MAIL},         {"m/new", MAILDIR_MAIL},
        {"m/tmp", MAILDIR_PASSED}, {"m/.Sent", MAILDIR_HIDDEN},     {"m/.Sent/cur", MAILDIR_MAIL},
        {"x/cur", MAILDIR_NONE},   {"x/.Sent/cur", MAILDIR_PASSED},
    };
    static const char *const folders[] = {"m/cur",       "m/new",       "m/tmp", "m/.Sent/cur",
                                          "m/.Sent/new", "m/.Sent/tmp", "x/cur", "x/.Sent/cur"};
    struct place *p = *state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        make(p, folders[i], true);
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct disk_view v;
        assert_int_equal(disk_look(p->disk, str_from(all[i].folder), &v, NULL), STATUS_OK);
        if (v.place != all[i].place) {
            fail_msg("%s is %d", all[i].folder, (int)v.place);
        }
        disk_view_release(&v);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(what_lies_in_it), TEST(the_view_tells_of_mail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
