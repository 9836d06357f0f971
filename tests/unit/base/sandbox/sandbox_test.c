/* From inside the sandbox everything is tried that an exploited parser would try. */
#include "base/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0"; /* children end inside the sandbox, where the leak checker cannot work
                              */
}
#else
#define UNDER_ASAN 0
#endif

static const struct sandbox_limits limits = {
    .memory_bytes = 256U << 20,
    .output_bytes = 1U << 20,
    .cpu_s = 1,
    .open_files = 32,
    .processes = 8,
};
static const char *const readable[] = {"/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache", NULL};
static const char *const executables[] = {"/bin/sh", "/lib64/ld-linux-x86-64.so.2",
                                          "/lib/ld-linux-aarch64.so.1", NULL};
static const struct sandbox_paths paths = {readable, executables};
static char folder[] = "/tmp/carrel-sandbox-XXXXXX";
static char data_file[64];

/* Runs attempt in a sealed child; its return value (0: refused) comes back, or -signal when it was
 * killed. */
static int inside(int (*attempt)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct error err = {0};
        if (sandbox_enter(&limits, &paths, &err) != STATUS_OK ||
            sandbox_seal_parser(&limits, &err) != STATUS_OK) {
            (void)!write(2, err.text, strlen(err.text));
            _exit(99);
        }
        _exit(attempt());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int opens_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ||
           socket(AF_NETLINK, SOCK_RAW, 0) >= 0;
}
static int forks(void)
{
    return fork() >= 0;
}
static int reads_data(void)
{
    return open(data_file, O_RDONLY) >= 0 || open(folder, O_RDONLY | O_DIRECTORY) >= 0;
}
static int reads_passwords(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0 || open("/proc/self/environ", O_RDONLY) >= 0;
}
static int writes_file(void)
{
    char path[96];
    snprintf(path, sizeof path, "%s/planted", folder);
    return open(path, O_WRONLY | O_CREAT, 0600) >= 0 || open(data_file, O_WRONLY) >= 0 ||
           open("/tmp", O_TMPFILE | O_RDWR, 0600) >= 0 || mkdir("/tmp/carrel-planted", 0700) == 0;
}
static int removes_file(void)
{
    return unlink(data_file) == 0 || rename(data_file, "/tmp/carrel-moved") == 0 ||
           chmod(data_file, 0) == 0 || truncate(data_file, 0) == 0;
}
static int disturbs_others(void)
{
    return kill(getppid(), SIGUSR1) == 0 || kill(1, 0) == 0 || fcntl(1, F_SETOWN, getppid()) == 0 ||
           fcntl(1, F_SETSIG, SIGUSR1) == 0 || fcntl(1, F_SETFL, O_ASYNC) == 0 ||
           ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0;
}
static int gains_rights(void)
{
    return unshare(CLONE_NEWUSER) == 0 || setuid(0) == 0 ||
           mount("none", "/tmp", "tmpfs", 0, NULL) == 0 || chroot("/tmp") == 0 ||
           syscall(SYS_bpf, 0, NULL, 0) >= 0 || syscall(SYS_io_uring_setup, 1, NULL) >= 0 ||
           syscall(SYS_keyctl, 0, 0) >= 0 ||
           syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) >= 0 ||
           syscall(SYS_memfd_create, "x", 0) >= 0;
}
static int runs_programs(void)
{
    char *argv[] = {NULL};
    execve("/bin/sh", argv, argv);
    return 0; /* still here */
}
static int is_root_or_has_leftovers(void)
{
    extern char **environ;
    bool leftover = fcntl(3, F_GETFD) >= 0 || fcntl(17, F_GETFD) >= 0;
    return getuid() == 0 || geteuid() == 0 || leftover || (environ != NULL && environ[0] != NULL);
}
static int takes_memory(void)
{
    return mmap(NULL, 512U << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
           MAP_FAILED;
}
static int takes_time(void)
{
    for (volatile unsigned long i = 0;; i++) {
    }
    return 1;
}
static int reads_libraries(void)
{
    return open("/etc/ld.so.cache", O_RDONLY) >= 0;
}

static void test_refusals(void **state)
{
    static const struct {
        const char *what;
        int (*attempt)(void);
    } cases[] = {
        {"a socket", opens_socket},
        {"a new process", forks},
        {"reading the data", reads_data},
        {"reading the system", reads_passwords},
        {"writing a file", writes_file},
        {"removing a file", removes_file},
        {"signals and ptrace", disturbs_others},
        {"gaining rights", gains_rights},
        {"running a program", runs_programs},
        {"being root, descriptors, environment", is_root_or_has_leftovers},
    };
    (void)state;
    int spare = open("/dev/null", O_RDONLY);
    assert_int_equal(dup2(spare, 17), 17);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int got = inside(cases[i].attempt);
        if (got != 0) {
            fail_msg("the sandbox let through: %s (%d)", cases[i].what, got);
        }
    }
    struct stat st;
    assert_int_equal(stat(data_file, &st), 0);
    assert_int_equal(st.st_size, 7);
}

static void test_needs(void **state)
{
    (void)state;
    assert_int_equal(inside(reads_libraries), sandbox_landlock_abi() > 0 ? 1 : 0);
}

static void test_memory(void **state)
{
    (void)state;
    if (UNDER_ASAN) {
        skip(); /* the sanitizer needs the address space; the release build's test checks this */
    }
    assert_int_equal(inside(takes_memory), 0);
}

static void test_time(void **state)
{
    (void)state;
    int got = inside(takes_time);
    assert_true(got == -SIGXCPU || got == -SIGKILL);
}

/* A tool sealed for exec: what it prints comes back through a pipe. */
static void run_tool(const char *script, char *out, size_t cap)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct error err = {0};
        char sh[] = "/bin/sh", c[] = "-c", text[512];
        snprintf(text, sizeof text, "%s", script);
        char *argv[] = {sh, c, text, NULL}, *env[] = {NULL};
        dup2(p[1], 1);
        dup2(p[1], 2);
        if (sandbox_enter(&limits, &paths, &err) == STATUS_OK &&
            sandbox_seal_tool(&limits, &err) == STATUS_OK) {
            execve(sh, argv, env);
        }
        _exit(98);
    }
    close(p[1]);
    size_t n = 0;
    for (ssize_t got; n + 1 < cap && (got = read(p[0], out + n, cap - 1 - n)) > 0;) {
        n += (size_t)got;
    }
    out[n] = '\0';
    close(p[0]);
    int status;
    waitpid(pid, &status, 0);
}

static void test_tool(void **state)
{
    char out[1024], script[256];
    (void)state;
    run_tool("echo runs", out, sizeof out);
    assert_string_equal(out, "runs\n");
    run_tool("(echo forked); echo after", out, sizeof out);
    assert_null(strstr(out, "forked\n"));
    run_tool("exec /bin/cat /etc/ld.so.cache && echo exec", out, sizeof out);
    assert_null(strstr(out, "exec\n"));
    snprintf(script, sizeof script, "read x < %s; echo got:$x; echo y > %s/planted", data_file,
             folder);
    run_tool(script, out, sizeof out);
    assert_null(strstr(out, "got:secret"));
    snprintf(script, sizeof script, "%s/planted", folder);
    assert_int_not_equal(access(script, F_OK), 0);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    /* open to everyone, so that only the sandbox stands before it */
    chmod(folder, 0777);
    snprintf(data_file, sizeof data_file, "%s/data", folder);
    int fd = open(data_file, O_WRONLY | O_CREAT, 0666);
    bool ok = fd >= 0 && write(fd, "secret\n", 7) == 7 && fchmod(fd, 0666) == 0;
    close(fd);
    return ok ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(data_file);
    rmdir(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_needs),
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_time),
        cmocka_unit_test(test_tool),
    };
    return cmocka_run_group_tests_name("sandbox", tests, set_up, tear_down);
}
