#include "serve/audit/signer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define WAIT_MS 10000

/* The program beside this one. */
static enum status find_program(char *out, size_t cap, struct error *err)
{
    ssize_t n = readlink("/proc/self/exe", out, cap - 1);
    if (n <= 0) {
        return error_errno(err, errno, "/proc/self/exe");
    }
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    static const char name[] = "/carrel-sign";
    if (slash == NULL || (size_t)(slash - out) + sizeof name > cap) {
        return error_set(err, STATUS_TOO_LARGE, "the program's path is too long");
    }
    memcpy(slash, name, sizeof name);
    return access(out, X_OK) == 0 ? STATUS_OK : error_errno(err, errno, "%s", out);
}

enum status signer_start(const char *home, int *fd, struct error *err)
{
    char program[PATH_MAX];
    int pair[2];
    enum status s = find_program(program, sizeof program, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return error_errno(err, errno, "socketpair");
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        char *const argv[] = {program, (char[]){"--home"}, (char *)(uintptr_t)home, NULL};
        char *const envp[] = {NULL};
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* serve's identity and the supervisor's pipe are not for it */
        if (getppid() == parent && dup2(pair[1], 0) == 0 && close_range(3, ~0U, 0) == 0) {
            (void)execve(program, argv, envp);
        }
        _exit(127);
    }
    (void)close(pair[1]);
    if (pid < 0) {
        (void)close(pair[0]);
        return error_errno(err, errno, "fork");
    }
    *fd = pair[0];
    return STATUS_OK;
}

enum status signer_call(int fd, const struct signer_ask *ask, struct signer_reply *out,
                        struct error *err)
{
    ssize_t n = send(fd, ask, sizeof *ask, MSG_NOSIGNAL);
    if (n != (ssize_t)sizeof *ask) {
        return error_set(err, STATUS_UNAVAILABLE, "the signer of the audit is gone");
    }
    int64_t until = clock_monotonic_ms() + WAIT_MS;
    do {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready;
        do {
            int64_t left = until - clock_monotonic_ms();
            ready = left <= 0 ? 0 : poll(&p, 1, (int)left);
        } while (ready < 0 && errno == EINTR);
        n = ready > 0 ? recv(fd, out, sizeof *out, 0) : -1;
        if (n != (ssize_t)sizeof *out) {
            return error_set(err, STATUS_UNAVAILABLE, "the signer of the audit does not answer");
        }
    } while (memcmp(&out->to, ask, sizeof *ask) != 0);
    return out->verdict == SIGNER_FAILED
               ? error_set(err, STATUS_IO, "the signer cannot note what it signs")
               : STATUS_OK;
}
