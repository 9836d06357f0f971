#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/sandbox/sandbox.h"

static char home[64];

static bool can_read(const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", home, name);
    int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0;
}

/* In a child: there is no way back. */
static void test_hide(void **state)
{
    (void)state;
    char hidden[128], path[200], through[256];
    if (sandbox_landlock_abi() == 0) {
        print_message("skipped: this kernel has no Landlock\n");
        skip();
    }
    (void)snprintf(home, sizeof home, "/tmp/carrel-hide-XXXXXX");
    assert_non_null(mkdtemp(home));
    (void)snprintf(hidden, sizeof hidden, "%s/signer", home);
    assert_int_equal(file_mkdirs(hidden, 0700, NULL), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/audit.key", hidden);
    assert_int_equal(file_write_atomic(path, "key", 3, 0600, NULL), STATUS_OK);
    (void)snprintf(path, sizeof path, "%s/other", home);
    assert_int_equal(file_write_atomic(path, "other", 5, 0600, NULL), STATUS_OK);
    assert_true(can_read("signer/audit.key"));
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        struct error err;
        bool ok = sandbox_hide(hidden, &err) == STATUS_OK && can_read("other") &&
                  !can_read("signer/audit.key");
        (void)snprintf(path, sizeof path, "%s/audit.key", hidden);
        ok = ok && open(path, O_WRONLY) < 0 && unlink(path) != 0;
        /* nor around: by a link, by another process' root, by a descriptor's name */
        (void)snprintf(through, sizeof through, "/proc/%d/root%s", (int)parent, path);
        ok = ok && open(through, O_RDONLY) < 0;
        (void)snprintf(through, sizeof through, "%s/link", home);
        ok = ok && (symlink(path, through) != 0 || open(through, O_RDONLY) < 0);
        int fd = open(hidden, O_PATH | O_DIRECTORY);
        ok = ok && (fd < 0 || openat(fd, "audit.key", O_RDONLY) < 0);
        (void)snprintf(through, sizeof through, "%s/signer2", home);
        ok = ok && (rename(hidden, through) != 0 || !can_read("signer2/audit.key"));
        _exit(ok ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(file_remove_tree(home, NULL), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hide)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
