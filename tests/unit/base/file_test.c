#include "tests/unit/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static void test_write_read_replace(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[128];
    struct error err;
    assert_int_equal(file_join(path, sizeof path, dir, "x", &err), STATUS_OK);
    assert_int_equal(file_write_atomic(path, "one", 3, 0600, &err), STATUS_OK);
    assert_int_equal(file_write_atomic(path, "second", 6, 0640, &err), STATUS_OK);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    struct buf b;
    buf_init(&b, 6);
    assert_int_equal(file_read(path, &b, &err), STATUS_OK);
    assert_string_equal(b.ptr, "second");
    buf_deinit(&b);
    buf_init(&b, 5);
    assert_int_equal(file_read(path, &b, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, path));
    buf_deinit(&b);
    test_folder_remove(dir);
}

static void test_folders(void **state)
{
    (void)state;
    char dir[64];
    test_folder(dir);
    char path[128];
    struct error err;
    (void)snprintf(path, sizeof path, "%s/a/b/c", dir);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_OK);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/a/file", dir);
    assert_int_equal(file_write_atomic(path, "", 0, 0600, &err), STATUS_OK);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_CONFLICT);
    (void)snprintf(path, sizeof path, "%s/none/file", dir);
    assert_int_equal(file_write_atomic(path, "", 0, 0600, &err), STATUS_NOT_FOUND);
    char small[4];
    assert_int_equal(file_join(small, sizeof small, "abc", "d", &err), STATUS_TOO_LARGE);
    test_folder_remove(dir);
}

static void assert_holds(const char *path, const char *text)
{
    struct buf b;
    struct error err;
    buf_init(&b, 64);
    assert_int_equal(file_read(path, &b, &err), STATUS_OK);
    assert_int_equal(b.len, strlen(text));
    assert_memory_equal(b.ptr, text, b.len);
    buf_deinit(&b);
}

static void test_new_file(void **state)
{
    (void)state;
    char dir[64];
    char path[128];
    struct stat st;
    struct error err;
    test_folder(dir);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(file_join(path, sizeof path, dir, "key", &err), STATUS_OK);
    assert_int_equal(file_write_new(path, "first", 5, 0600, &st, &err), STATUS_OK);
    assert_int_equal(file_write_new(path, "second", 6, 0600, &st, &err), STATUS_CONFLICT);
    assert_holds(path, "first");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0); /* a name is a name */
    assert_int_equal(file_write_new(path, "third", 5, 0600, NULL, &err), STATUS_CONFLICT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* nothing is left beside */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_read_replace),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_new_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
