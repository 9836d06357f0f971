/* The seccomp lists. Both are lists of what is allowed; anything else fails with EPERM, which the C
 * library and the tools take as an ordinary error. The process that execs a tool has execve
 * besides, and Landlock says which files that may be. clone and fork are on neither list: pdftotext
 * and pdftoppm need no threads. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/sandbox/sandbox.h"

static const int calls_always[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(preadv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(wait4),
    SCMP_SYS(waitid),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(times),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(fadvise64),
};

static const int calls_with_files[] = {
    SCMP_SYS(newfstatat), SCMP_SYS(stat),      SCMP_SYS(lstat),      SCMP_SYS(statx),
    SCMP_SYS(access),     SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(getcwd),    SCMP_SYS(getdents64), SCMP_SYS(fstatfs),
    SCMP_SYS(statfs),
};

/* 0, or a negative errno; a call that this architecture lacks is no loss */
static int allow_each(scmp_filter_ctx f, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
        if (rc != 0 && rc != -EDOM) {
            return rc;
        }
    }
    return 0;
}

static int allow_reading_files(scmp_filter_ctx f)
{
    const scmp_datum_t writing = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND |
                                 (O_TMPFILE & ~O_DIRECTORY) |
                                 O_PATH; /* which Landlock does not look at */
    int rc = allow_each(f, calls_with_files, sizeof calls_with_files / sizeof calls_with_files[0]);
    if (rc == 0) {
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, writing, O_RDONLY));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, writing, O_RDONLY));
        rc = rc == -EDOM ? 0 : rc;
    }
    return rc;
}

/* What concerns the descriptor alone. By F_SETOWN, F_SETSIG and O_ASYNC the kernel would send any
 * signal to any process of this user when a pipe is read, which is kill() by another name. */
static int allow_descriptor_flags(scmp_filter_ctx f)
{
    static const scmp_datum_t commands[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL};
    int rc = 0;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0] && rc == 0; i++) {
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_EQ, commands[i], 0));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2,
                              SCMP_A1(SCMP_CMP_EQ, F_SETFL, 0),
                              SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, 0));
    }
    return rc;
}

static int allow_narrowly(scmp_filter_ctx f)
{
    /* abort() signals the own process, whose number execve keeps */
    int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    if (rc == 0) { /* the own limits, which can only become tighter */
        rc =
            seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_EQ, 0, 0));
    }
    if (rc == 0) {
        rc = allow_descriptor_flags(f);
    }
    if (rc == 0) { /* isatty: no */
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 0);
    }
    if (rc == 0) { /* the C library then falls back to calls that the filter can look into */
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    }
    if (rc == 0) {
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0);
    }
    return rc;
}

static enum status seal(const struct sandbox_limits *limits, bool open_files, bool exec,
                        struct error *err)
{
    enum status s = STATUS_OK;
    struct rlimit none = {limits->processes, limits->processes};
    if (setrlimit(RLIMIT_NPROC, &none) != 0) {
        return error_errno(err, errno, "limit on processes");
    }
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "seccomp filter");
    }
    /* a tree instead of a list of comparisons: the filter runs at every call */
    int rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0) {
        rc = allow_each(f, calls_always, sizeof calls_always / sizeof calls_always[0]);
    }
    if (rc == 0) {
        rc = allow_narrowly(f);
    }
    if (rc == 0 && open_files) {
        rc = allow_reading_files(f);
    }
    if (rc == 0 && exec) {
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(execve), 0);
    }
    if (rc == 0) {
        rc = seccomp_load(f);
    }
    if (rc != 0) {
        s = error_errno(err, -rc, "seccomp");
    }
    seccomp_release(f);
    return s;
}

enum status sandbox_seal_parser(const struct sandbox_limits *limits, struct error *err)
{
    return seal(limits, sandbox_landlock_abi() > 0, false, err);
}

enum status sandbox_seal_tool(const struct sandbox_limits *limits, struct error *err)
{
    pid_t parent = getppid();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        return error_set(err, STATUS_CANCELLED, "the process that wanted this is gone");
    }
    /* The tool is no sanitizer build, so the limit that the sanitizer spared this process is due
     * now. Last, because under it such a process can allocate nothing more. */
    struct rlimit memory = {limits->memory_bytes, limits->memory_bytes};
    enum status s = seal(limits, true, true, err);
    if (s == STATUS_OK && limits->memory_bytes != 0) {
        struct rlimit now;
        if (getrlimit(RLIMIT_AS, &now) == 0 && now.rlim_max != limits->memory_bytes) {
            s = setrlimit(RLIMIT_AS, &memory) == 0 ? STATUS_OK
                                                   : error_errno(err, errno, "limit on memory");
        }
    }
    return s;
}
