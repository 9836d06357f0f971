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
#include "base/log.h"

#define FIRST_WAIT_MS 10000 /* it makes its key and reads what it signed */
#define WAIT_MS 2000

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

/* The reply to what was asked last. What comes before it answers what was given up. */
static bool hear(struct signer *s, int wait_ms, struct signer_reply *out)
{
    int64_t until = clock_monotonic_ms() + wait_ms;
    ssize_t n;
    do {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        int ready;
        do {
            int64_t left = until - clock_monotonic_ms();
            ready = poll(&p, 1, left <= 0 ? 0 : (int)left);
        } while (ready < 0 && errno == EINTR);
        n = ready > 0 ? recv(s->fd, out, sizeof *out, 0) : -1;
    } while (n == (ssize_t)sizeof *out && memcmp(&out->to, &s->asked, sizeof s->asked) != 0);
    return n == (ssize_t)sizeof *out;
}

bool signer_listens(struct signer *s)
{
    struct signer_reply late;
    if (s->silent && hear(s, 0, &late)) {
        s->silent = false;
        LOG_INFO("the signer of the audit answers again", LOG_END);
    }
    return !s->silent;
}

static enum status call(struct signer *s, const struct signer_ask *ask, int wait_ms,
                        struct signer_reply *out, struct error *err)
{
    if (!signer_listens(s)) {
        return error_set(err, STATUS_UNAVAILABLE, "the signer of the audit does not answer");
    }
    if (send(s->fd, ask, sizeof *ask, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof *ask) {
        return error_set(err, STATUS_UNAVAILABLE, "the signer of the audit is gone");
    }
    memcpy(&s->asked, ask, sizeof s->asked); /* its padding too: it is compared */
    if (!hear(s, wait_ms, out)) {
        s->silent = true;
        return error_set(err, STATUS_UNAVAILABLE, "the signer of the audit does not answer");
    }
    return out->verdict == SIGNER_FAILED
               ? error_set(err, STATUS_IO, "the signer cannot note what it signs")
               : STATUS_OK;
}

enum status signer_key(struct signer *s, uint8_t key[SIGN_PUBLIC_BYTES], struct error *err)
{
    struct signer_ask ask;
    struct signer_reply reply;
    memset(&ask, 0, sizeof ask);
    enum status st = s->knows_key ? STATUS_OK : call(s, &ask, FIRST_WAIT_MS, &reply, err);
    if (st == STATUS_OK && !s->knows_key) {
        memcpy(s->key, reply.key, sizeof s->key);
        s->knows_key = true;
    }
    if (st == STATUS_OK) {
        memcpy(key, s->key, SIGN_PUBLIC_BYTES);
    }
    return st;
}

enum status signer_call(struct signer *s, const struct signer_ask *ask, struct signer_reply *out,
                        struct error *err)
{
    return call(s, ask, WAIT_MS, out, err);
}
