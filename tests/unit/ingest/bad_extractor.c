/* A carrel-extract that has been taken over: started, shut in and sealed as the real one, its
 * readers then do what the task's format says. What they found out comes back as the document's
 * title. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox/sandbox.h"
#include "ingest/extract_serve.h"
#include "ingest/piece.h"

#if defined(__SANITIZE_ADDRESS__)
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0:handle_segv=0"; /* as the real one; a crash is to be one */
}
#endif

static const struct sandbox_limits limits = {
    .memory_bytes = 512U << 20,
    .output_bytes = 4U << 20,
    .cpu_s = 20,
    .open_files = 64,
    .processes = 16,
};
static const char *const readable[] = {"/usr/lib", "/lib", "/lib64", NULL};
static const char *const executables[] = {NULL};

static char left[64]; /* by an earlier document, if that were possible */
static char *left_in_heap;

static int say(const char *what)
{
    Ex__Document document = EX__DOCUMENT__INIT;
    Ex__Piece first = EX__PIECE__INIT;
    Ex__Piece last = EX__PIECE__INIT;
    char text[256], format[] = "bad";
    (void)snprintf(text, sizeof text, "%s", what);
    document.format = format;
    document.title = text;
    first.document = &document;
    last.has_done = last.done = true;
    return piece_write(1, &first, NULL) == STATUS_OK && piece_write(1, &last, NULL) == STATUS_OK
               ? 0
               : 3;
}

static int claim(enum status status)
{
    Ex__Failure failure = EX__FAILURE__INIT;
    Ex__Piece last = EX__PIECE__INIT;
    char text[] = "so it says";
    failure.status = (uint32_t)status;
    failure.text = text;
    last.failure = &failure;
    return piece_write(1, &last, NULL) == STATUS_OK ? 0 : 3;
}

static const char *opens_socket(const char *document)
{
    (void)document;
    int pair[2];
    return socket(AF_INET, SOCK_STREAM, 0) >= 0             ? "an internet socket"
           : socket(AF_INET6, SOCK_DGRAM, 0) >= 0           ? "a datagram socket"
           : socket(AF_UNIX, SOCK_STREAM, 0) >= 0           ? "a local socket"
           : socket(AF_NETLINK, SOCK_RAW, 0) >= 0           ? "a netlink socket"
           : socket(AF_PACKET, SOCK_RAW, 0) >= 0            ? "a packet socket"
           : socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 ? "a pair of sockets"
                                                            : NULL;
}

/* The document is the path of a file of the data directory, open to everyone. */
static const char *reads_data(const char *document)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s", document);
    if (open(path, O_RDONLY) >= 0 || open(path, O_PATH) >= 0) {
        return "the data";
    }
    struct stat st;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    if (open(path, O_RDONLY | O_DIRECTORY) >= 0) {
        return "the data's folder";
    }
    *slash = '/';
    return symlink(path, "/tmp/carrel-link") == 0   ? "a link to the data"
           : link(path, "/tmp/carrel-link") == 0    ? "another name of the data"
           : chdir(path) == 0                       ? "the data's place"
           : open("/proc/self/maps", O_RDONLY) >= 0 ? "/proc"
           : open("/etc/passwd", O_RDONLY) >= 0     ? "the system's users"
           : stat("/dev/sda", &st) == 0 && open("/dev/sda", O_RDONLY) >= 0 ? "a disk"
                                                                           : NULL;
}

static const char *bombs(const char *document)
{
    (void)document;
    for (int i = 0; i < 200; i++) {
        long got[] = {fork(), syscall(SYS_vfork), syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0),
                      syscall(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0)};
        for (size_t k = 0; k < sizeof got / sizeof got[0]; k++) {
            if (got[k] == 0) {
                _exit(0);
            }
            if (got[k] > 0) {
                return "a process";
            }
        }
    }
    char *args[] = {NULL};
    (void)execve("/bin/sh", args, args);
    (void)execve("/proc/self/exe", args, args);
    return NULL;
}

static const char *fills_disk(const char *document)
{
    static const char *const folders[] = {"/tmp", "/var/tmp", "/dev/shm", "/run", "/", "."};
    static char block[65536];
    (void)document;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "%s/carrel-planted", folders[i]);
        if (open(path, O_WRONLY | O_CREAT, 0600) >= 0 || mkdir(path, 0700) == 0 ||
            mknod(path, S_IFIFO | 0600, 0) == 0 ||
            open(folders[i], O_TMPFILE | O_RDWR, 0600) >= 0) {
            return "a file";
        }
    }
    if (syscall(SYS_memfd_create, "x", 0) >= 0) {
        return "memory as a file";
    }
    if (write(0, block, sizeof block) > 0 || pwrite(0, block, sizeof block, 0) > 0 ||
        ftruncate(0, 1LL << 40) == 0 || fallocate(0, 0, 0, 1LL << 40) == 0) {
        return "the document itself";
    }
    return NULL;
}

/* The parent is the starter; other readers have numbers near the own. */
static const char *disturbs(const char *document)
{
    (void)document;
    for (pid_t p = getpid() - 20; p < getpid() + 20; p++) {
        char one;
        struct iovec own = {&one, 1}, theirs = {left, 1};
        if (p > 1 && p != getpid() &&
            (kill(p, 0) == 0 || ptrace(PTRACE_ATTACH, p, NULL, NULL) == 0 ||
             process_vm_readv(p, &own, 1, &theirs, 1, 0) > 0 ||
             syscall(SYS_pidfd_open, p, 0) >= 0)) {
            return "another process";
        }
    }
    /* by the kernel's hand: the signal goes out when somebody reads what is written here */
    if (fcntl(1, F_SETOWN, getppid()) == 0 || fcntl(1, F_SETSIG, SIGKILL) == 0 ||
        fcntl(1, F_SETFL, O_ASYNC) == 0) {
        return "a signal when its output is read";
    }
    return kill(getppid(), SIGTERM) == 0 || kill(-1, 0) == 0 ? "the starter" : NULL;
}

static const char *is_privileged(const char *document)
{
    (void)document;
    return getuid() == 0 || geteuid() == 0 || getgid() == 0 ? "root"
           : setuid(0) == 0 || setreuid(0, 0) == 0          ? "root again"
           : unshare(CLONE_NEWUSER) == 0                    ? "a user namespace"
                                                            : NULL;
}

/* Leaves its document wherever a process can leave something. */
static const char *leaves(const char *document)
{
    (void)snprintf(left, sizeof left, "%s", document);
    left_in_heap = strdup(document);
    return left_in_heap == NULL || dup2(0, 9) != 9 ? "no memory" : NULL;
}

static const char *looks(const char *document)
{
    (void)document;
    if (left[0] != '\0' || left_in_heap != NULL) {
        return "the text of another document";
    }
    for (int fd = 3; fd < 64; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            return "a descriptor that is not its own";
        }
    }
    return NULL;
}

static const struct {
    const char *name;
    const char *(*attempt)(const char *document); /* NULL: refused, or what it got at */
} attempts[] = {
    {"socket", opens_socket}, {"data", reads_data},      {"forks", bombs},  {"disk", fills_disk},
    {"others", disturbs},     {"rights", is_privileged}, {"leave", leaves}, {"look", looks},
};

static void die(int sig)
{
    (void)signal(sig, SIG_DFL);
    (void)kill(getpid(), sig);
    (void)pause();
}

/* What a broken program does rather than a bad one; it is not sealed, so that it can. */
static int break_down(const char *how)
{
    static const char huge[] = "\377\377\377\377garbage";
    static const char wrong[] = "\003\000\000\000\377\377\377";
    static const char cut[] = "\100\000\000\000short";
    if (strcmp(how, "hang") == 0) {
        (void)pause();
    } else if (strcmp(how, "segv") == 0) {
        die(SIGSEGV);
    } else if (strcmp(how, "kill") == 0) {
        die(SIGKILL);
    } else if (strcmp(how, "xcpu") == 0) {
        die(SIGXCPU);
    } else if (strcmp(how, "starter") == 0) {
        (void)kill(getppid(), SIGKILL);
        (void)pause();
    } else if (strcmp(how, "stop") == 0) { /* a starter that does not do as it is told */
        (void)kill(getppid(), SIGSTOP);
        (void)pause();
    } else if (strcmp(how, "diskfull") == 0) {
        return claim(STATUS_DISK_FULL);
    } else if (strcmp(how, "huge") == 0) {
        (void)!write(1, huge, sizeof huge - 1);
    } else if (strcmp(how, "wrong") == 0) {
        (void)!write(1, wrong, sizeof wrong - 1);
    } else if (strcmp(how, "cut") == 0) {
        (void)!write(1, cut, sizeof cut - 1);
    } else if (strcmp(how, "flood") == 0) {
        static char block[65536];
        while (write(1, block, sizeof block) > 0) {
        }
    }
    return 0;
}

static int read_one(const Ex__Task *task, void *data)
{
    char document[512];
    struct error err = {0};
    (void)data;
    ssize_t n = pread(0, document, sizeof document - 1, 0);
    document[n < 0 ? 0 : n] = '\0';
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        if (task->format != NULL && strcmp(task->format, attempts[i].name) == 0) {
            if (sandbox_seal_parser(&limits, &err) != STATUS_OK) {
                return say(err.text);
            }
            const char *got = attempts[i].attempt(document);
            return say(got == NULL ? "refused" : got);
        }
    }
    return break_down(task->format == NULL ? "" : task->format);
}

int main(void)
{
    const struct sandbox_paths paths = {readable, executables};
    struct error err = {0};
    if (sandbox_enter(&limits, &paths, &err) != STATUS_OK ||
        extract_serve(0, read_one, NULL, &err) != STATUS_OK) {
        fprintf(stderr, "bad-extractor: %s\n", err.text);
        return 3;
    }
    return 0;
}
