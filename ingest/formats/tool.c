#include "ingest/formats/tool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void child(const char *const argv[], int fd, int out, int errs,
                  const struct sandbox_limits *limits)
{
    struct error err = {0};
    if (dup2(fd, 0) < 0 || dup2(out, 1) < 0 || dup2(errs, 2) < 0) {
        _exit(126);
    }
    for (int i = 3; i < 16; i++) {
        (void)close(i);
    }
    static const char *const no_env[] = {NULL};
    if (sandbox_seal_tool(limits, &err) == STATUS_OK) {
        /* execve's arguments are const in all but name */
        union {
            const char *const *in;
            char *const *out;
        } args = {argv}, env = {no_env};
        (void)execve(argv[0], args.out, env.out);
    }
    _exit(126);
}

enum status tool_start(struct tool *t, const char *const argv[], int fd,
                       const struct sandbox_limits *limits, struct error *err)
{
    memset(t, 0, sizeof *t);
    int out[2] = {-1, -1}, errs[2] = {-1, -1};
    enum status s = STATUS_OK;
    if (pipe(out) != 0 || pipe(errs) != 0) {
        s = error_errno(err, errno, "a pipe for %s", argv[0]);
        goto out;
    }
    t->pid = fork();
    if (t->pid < 0) {
        s = error_errno(err, errno, "starting %s", argv[0]);
        goto out;
    }
    if (t->pid == 0) {
        child(argv, fd, out[1], errs[1], limits);
    }
    t->out = out[0];
    t->errs = errs[0];
    out[0] = errs[0] = -1;
out:
    for (int i = 0; i < 2; i++) {
        if (out[i] >= 0) {
            close(out[i]);
        }
        if (errs[i] >= 0) {
            close(errs[i]);
        }
    }
    return s;
}

static void note_complaint(struct tool *t, const char *p, size_t n)
{
    size_t room = sizeof t->complaint - 1 - t->complaint_len;
    n = n < room ? n : room;
    memcpy(t->complaint + t->complaint_len, p, n);
    t->complaint_len += n;
    t->complaint[t->complaint_len] = '\0';
}

/* What a bad end means to the document's owner. poppler's tools: 1 cannot open, 3 not permitted. */
static enum status explain(const struct tool *t, int status, struct error *err)
{
    bool out_of_memory =
        strstr(t->complaint, "bad_alloc") != NULL || strstr(t->complaint, "ut of memory") != NULL;
    if (out_of_memory) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    if (WIFSIGNALED(status)) {
        int sig = WTERMSIG(status);
        if (sig == SIGXCPU || sig == SIGKILL) {
            return error_set(err, STATUS_TOO_LARGE,
                             "reading it takes more processor time than the limit");
        }
        return error_set(err, STATUS_INVALID, "the PDF reader crashed on it (signal %d)", sig);
    }
    int code = WEXITSTATUS(status);
    if (code == 126 || code == 127) {
        return error_set(err, STATUS_UNAVAILABLE,
                         "the PDF tools could not be started: install poppler-utils");
    }
    if (strstr(t->complaint, "ncorrect password") != NULL) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the PDF is encrypted: save it without a password");
    }
    if (code == 3) {
        return error_set(err, STATUS_FORBIDDEN, "the PDF does not permit copying its text");
    }
    return error_set(err, STATUS_INVALID, "the PDF is damaged or is no PDF at all");
}

static enum status reap(struct tool *t, enum status s, struct error *err)
{
    /* its pipes are closed, so a tool that was cut off ends at its next write */
    close(t->out);
    close(t->errs);
    int status = 0;
    while (waitpid(t->pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return error_errno(err, errno, "waiting for the PDF reader");
        }
    }
    if (s != STATUS_OK) {
        return s;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? STATUS_OK : explain(t, status, err);
}

enum status tool_run(const struct tool_runner *r,
                     enum status (*on_data)(void *data, struct str piece, struct error *err),
                     void *data, struct error *err)
{
    struct tool *t = r->data;
    enum status s = STATUS_OK;
    char piece[24576];
    struct pollfd fds[2] = {{.fd = t->out, .events = POLLIN}, {.fd = t->errs, .events = POLLIN}};
    while (s == STATUS_OK && (fds[0].fd >= 0 || fds[1].fd >= 0)) {
        if (poll(fds, 2, -1) < 0) {
            if (errno != EINTR) {
                s = error_errno(err, errno, "reading the PDF reader's output");
            }
            continue;
        }
        for (int i = 0; i < 2 && s == STATUS_OK; i++) {
            if (fds[i].fd < 0 || fds[i].revents == 0) {
                continue;
            }
            ssize_t n = read(fds[i].fd, piece, sizeof piece);
            if (n > 0 && i == 0) {
                s = on_data(data, (struct str){piece, (size_t)n}, err);
            } else if (n > 0) {
                note_complaint(t, piece, (size_t)n);
            } else if (n == 0 || errno != EINTR) {
                fds[i].fd = -1;
            }
        }
    }
    return reap(t, s, err);
}
