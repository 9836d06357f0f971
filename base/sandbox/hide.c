/* Landlock knows only what may be reached. To leave one folder out, everything beside the way to it
 * is allowed: the entries of "/", of its first folder, and so on down, but for the way itself. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sandbox/sandbox.h"

#define READ_WRITE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)
#define REMOVE (LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR)
#define RIGHT_REFER (UINT64_C(1) << 13)
#define RIGHT_TRUNCATE (UINT64_C(1) << 14)

static enum status allow(int ruleset, const char *path, uint64_t rights, struct error *err)
{
    int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    enum status s = STATUS_OK;
    if (fd < 0) {
        return STATUS_OK; /* gone meanwhile, or not ours to look at: then not ours to open */
    }
    if (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode)) {
        uint64_t of_files = READ_WRITE | RIGHT_TRUNCATE;
        struct landlock_path_beneath_attr rule = {
            .allowed_access = S_ISDIR(st.st_mode) ? rights : rights & of_files,
            .parent_fd = fd,
        };
        if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 &&
            errno != EBADFD) { /* of a file system that has no paths */
            s = error_errno(err, errno, "Landlock rule for %s", path);
        }
    }
    (void)close(fd);
    return s;
}

/* All entries of dir but `except`. */
static enum status allow_beside(int ruleset, const char *dir, const char *except, uint64_t rights,
                                struct error *err)
{
    char path[PATH_MAX];
    enum status s = STATUS_OK;
    DIR *d = opendir(dir);
    if (d == NULL) { /* a folder on the way that we may pass and not list: nothing of it is ours */
        return STATUS_OK;
    }
    for (const struct dirent *e; s == STATUS_OK && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, except) == 0) {
            continue;
        }
        int n = snprintf(path, sizeof path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, e->d_name);
        if (n > 0 && (size_t)n < sizeof path) {
            s = allow(ruleset, path, rights, err);
        }
    }
    (void)closedir(d);
    return s;
}

enum status sandbox_hide(const char *folder, struct error *err)
{
    char way[PATH_MAX];
    int abi = sandbox_landlock_abi();
    uint64_t rights =
        READ_WRITE | REMOVE | (abi >= 2 ? RIGHT_REFER : 0) | (abi >= 3 ? RIGHT_TRUNCATE : 0);
    if (abi == 0) {
        return error_set(err, STATUS_UNSUPPORTED, "this kernel has no Landlock");
    }
    if (realpath(folder, way) == NULL) {
        return error_errno(err, errno, "%s", folder);
    }
    /* only the rights of version 1 and what this kernel knows beyond them: three words as of 6.12,
     * of which an older kernel takes the first where the others are zero */
    const uint64_t attr[3] = {rights, 0, 0};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, attr, sizeof attr[0], 0);
    if (ruleset < 0) {
        return error_errno(err, errno, "Landlock ruleset");
    }
    enum status s = STATUS_OK;
    for (char *at = way; s == STATUS_OK && at != NULL;) {
        char *next = strchr(at + 1, '/');
        char name[NAME_MAX + 1];
        size_t n = next == NULL ? strlen(at + 1) : (size_t)(next - at - 1);
        (void)snprintf(name, sizeof name, "%.*s", (int)n, at + 1);
        *at = '\0';
        s = allow_beside(ruleset, way[0] == '\0' ? "/" : way, name, rights, err);
        *at = '/';
        at = next;
    }
    if (s == STATUS_OK && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        s = error_errno(err, errno, "no_new_privs");
    }
    if (s == STATUS_OK && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        s = error_errno(err, errno, "Landlock");
    }
    (void)close(ruleset);
    return s;
}
