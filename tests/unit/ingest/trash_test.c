#include "tests/unit/test.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "ingest/ingest.h"

static void moves_away_and_purges(void **state)
{
    (void)state;
    char home[64] = "/tmp/carrel-trash-XXXXXX";
    char path[256];
    char today[25];
    struct error err = {0};
    struct stat st;
    assert_non_null(mkdtemp(home));
    (void)snprintf(path, sizeof path, "%s/w/law", home);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/w", home);
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    clock_format_utc(clock_wall_ms(), today);
    for (int i = 0; i < 2; i++) { /* the second finds its name taken */
        int fd = openat(root, "law/a.txt", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        (void)close(fd);
        assert_int_equal(
            trash_move(root, home, "main", STR("law/a.txt"), "id", (uint64_t)st.st_ino + 1, &err),
            STATUS_NOT_FOUND); /* another file than the one that was deleted */
        assert_int_equal(
            trash_move(root, home, "main", STR("law/a.txt"), "id", (uint64_t)st.st_ino, &err),
            STATUS_OK);
        assert_int_not_equal(faccessat(root, "law/a.txt", F_OK, 0), 0);
        (void)snprintf(path, sizeof path, "%s/trash/main/%.10s/law/a.txt%s", home, today,
                       i == 0 ? "" : ".id");
        assert_int_equal(access(path, F_OK), 0);
    }
    (void)snprintf(path, sizeof path, "%s/trash/main/2001-02-03/x/y", home);
    assert_int_equal(file_mkdirs(path, 0700, &err), STATUS_OK);
    trash_purge(home, 30);
    assert_int_not_equal(access(path, F_OK), 0);
    (void)snprintf(path, sizeof path, "%s/trash/main/%.10s/law/a.txt", home, today);
    assert_int_equal(access(path, F_OK), 0);
    (void)close(root);
    char cmd[128];
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", home);
    assert_int_equal(system(cmd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_away_and_purges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
