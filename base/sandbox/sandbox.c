#include "base/sandbox/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/sandbox/landlock.h"

#define NOBODY 65534

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

static enum status drop_root(struct error *err)
{
    if (getuid() != 0 && geteuid() != 0) {
        return STATUS_OK;
    }
    uid_t uid = NOBODY;
    gid_t gid = NOBODY;
    const struct passwd *pw = getpwnam("carrel");
    if (pw != NULL && pw->pw_uid != 0) {
        uid = pw->pw_uid;
        gid = pw->pw_gid;
    }
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) {
        return error_errno(err, errno, "giving up root for user %u", (unsigned)uid);
    }
    return STATUS_OK;
}

/* Capabilities that a new user namespace brought, or that the caller had. */
static enum status drop_capabilities(struct error *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof none);
    if (syscall(SYS_capset, &head, none) != 0) {
        return error_errno(err, errno, "giving up capabilities");
    }
    return STATUS_OK;
}

static enum status limit(int what, uint64_t value, uint64_t hard, const char *name,
                         struct error *err)
{
    struct rlimit old;
    struct rlimit r = {value, hard};
    if (getrlimit((__rlimit_resource_t)what, &old) == 0 && old.rlim_max != RLIM_INFINITY) {
        r.rlim_max = r.rlim_max < old.rlim_max ? r.rlim_max : old.rlim_max;
        r.rlim_cur = r.rlim_cur < r.rlim_max ? r.rlim_cur : r.rlim_max;
    }
    if (setrlimit((__rlimit_resource_t)what, &r) != 0) {
        return error_errno(err, errno, "limit on %s", name);
    }
    return STATUS_OK;
}

static enum status set_limits(const struct sandbox_limits *l, struct error *err)
{
    enum status s = limit(RLIMIT_CORE, 0, 0, "core files", err);
    if (s == STATUS_OK && l->memory_bytes != 0 && !UNDER_ASAN) {
        s = limit(RLIMIT_AS, l->memory_bytes, l->memory_bytes, "memory", err);
    }
    if (s == STATUS_OK && l->cpu_s != 0) {
        s = limit(RLIMIT_CPU, l->cpu_s, (uint64_t)l->cpu_s + 1, "processor time", err);
    }
    if (s == STATUS_OK) {
        s = limit(RLIMIT_FSIZE, l->output_bytes, l->output_bytes, "output", err);
    }
    if (s == STATUS_OK && l->open_files != 0) {
        s = limit(RLIMIT_NOFILE, l->open_files, l->open_files, "open files", err);
    }
    return s;
}

enum status sandbox_forked(int parent, struct error *err)
{
    (void)setsid(); /* cannot fail: a process just forked leads no group */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        return error_set(err, STATUS_CANCELLED, "the process that wanted this is gone");
    }
    return STATUS_OK;
}

enum status sandbox_enter(const struct sandbox_limits *limits, const struct sandbox_paths *paths,
                          struct error *err)
{
    pid_t parent = getppid();
    if (syscall(SYS_close_range, 3U, ~0U, 0U) != 0) {
        return error_errno(err, errno, "closing descriptors");
    }
    /* Where namespaces may be made: an empty network (there are no sockets anyhow) and no shared
     * memory of others. Root needs no user namespace for it, everyone else gets one with nobody in
     * it. */
    (void)!unshare((geteuid() == 0 ? 0 : CLONE_NEWUSER) | CLONE_NEWNET | CLONE_NEWIPC);
    enum status s = drop_root(err);
    if (s != STATUS_OK) {
        return s;
    }
    if (getuid() == 0 || geteuid() == 0) {
        return error_set(err, STATUS_INTERNAL, "extractors never run as root");
    }
    (void)setsid(); /* fails for a group leader, which then has no terminal to lose */
    /* after the change of user, which forgets it */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        return error_set(err, STATUS_CANCELLED, "the process that wanted this is gone");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return error_errno(err, errno, "no_new_privs");
    }
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    umask(077);
    if (clearenv() != 0 || chdir("/") != 0) {
        return error_errno(err, errno, "going to /");
    }
    s = set_limits(limits, err);
    if (s == STATUS_OK) {
        s = landlock_restrict(paths, err);
    }
    if (s == STATUS_OK) {
        s = drop_capabilities(err);
    }
    return s;
}
