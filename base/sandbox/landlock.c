#include "base/sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights by the version that brought them; the names beyond version 2 are not in the headers. */
#define FS_RIGHTS_V1 ((UINT64_C(1) << 13) - 1)
#define FS_RIGHT_REFER (UINT64_C(1) << 13)     /* 2 */
#define FS_RIGHT_TRUNCATE (UINT64_C(1) << 14)  /* 3 */
#define NET_RIGHTS (UINT64_C(3))               /* 4: bind, connect */
#define FS_RIGHT_IOCTL_DEV (UINT64_C(1) << 15) /* 5 */
#define SCOPES (UINT64_C(3))                   /* 6: abstract sockets, signals */

struct ruleset_attr { /* as of version 6; an older kernel takes it as long as what it ignores is
                         zero */
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

int sandbox_landlock_abi(void)
{
    long v = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return v < 0 ? 0 : (int)v;
}

static enum status allow(int ruleset, const char *path, uint64_t file_rights,
                         uint64_t folder_rights, struct error *err)
{
    enum status s = STATUS_OK;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return STATUS_OK; /* not there: nothing to allow */
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        s = error_errno(err, errno, "%s", path);
        goto out;
    }
    struct landlock_path_beneath_attr rule = {
        .allowed_access = S_ISDIR(st.st_mode) ? file_rights | folder_rights : file_rights,
        .parent_fd = fd,
    };
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
        s = error_errno(err, errno, "Landlock rule for %s", path);
    }
out:
    close(fd);
    return s;
}

enum status landlock_restrict(const struct sandbox_paths *paths, struct error *err)
{
    int abi = sandbox_landlock_abi();
    if (abi == 0) {
        return STATUS_OK;
    }
    struct ruleset_attr attr = {.handled_access_fs = FS_RIGHTS_V1};
    attr.handled_access_fs |= abi >= 2 ? FS_RIGHT_REFER : 0;
    attr.handled_access_fs |= abi >= 3 ? FS_RIGHT_TRUNCATE : 0;
    attr.handled_access_fs |= abi >= 5 ? FS_RIGHT_IOCTL_DEV : 0;
    attr.handled_access_net = abi >= 4 ? NET_RIGHTS : 0;
    attr.scoped = abi >= 6 ? SCOPES : 0;

    enum status s = STATUS_OK;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0) {
        return error_errno(err, errno, "Landlock ruleset");
    }
    for (const char *const *p = paths->readable; p != NULL && *p != NULL && s == STATUS_OK; p++) {
        s = allow(ruleset, *p, LANDLOCK_ACCESS_FS_READ_FILE, LANDLOCK_ACCESS_FS_READ_DIR, err);
    }
    for (const char *const *p = paths->executables; p != NULL && *p != NULL && s == STATUS_OK;
         p++) {
        s = allow(ruleset, *p, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE, 0, err);
    }
    if (s == STATUS_OK && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        s = error_errno(err, errno, "Landlock");
    }
    close(ruleset);
    return s;
}
