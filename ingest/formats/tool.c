#include "ingest/formats/tool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Threads are refused, so nobody need ask how many there may be. */
static const char *const environment[] = {"OMP_THREAD_LIMIT=1", NULL};

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
    if (sandbox_seal_tool(limits, &err) == STATUS_OK) {
        /* execve's arguments are const in all but name */
        union {
            const char *const *in;
            char *const *out;
        } args = {argv}, env = {environment};
        (void)execve(argv[0], args.out, env.out);
    }
    _exit(126);
}

static enum status start(const char *const argv[], int fd, int out, int errs,
                         const struct sandbox_limits *limits, int *pid, struct error *err)
{
    *pid = fork();
    if (*pid < 0) {
        return error_errno(err, errno, "starting %s", argv[0]);
    }
    if (*pid == 0) {
        child(argv, fd, out, errs, limits);
    }
    return STATUS_OK;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0) {
            close(pair[i]);
            pair[i] = -1;
        }
    }
}

/* A first tool that runs without a second ends at its next write, or with this process. */
enum status tool_start_two(struct tool *t, const char *const first[], const char *const second[],
                           int fd, const struct sandbox_limits *limits, struct error *err)
{
    memset(t, 0, sizeof *t);
    int between[2] = {-1, -1}, out[2] = {-1, -1}, errs[2] = {-1, -1};
    enum status s = STATUS_OK;
    if (pipe(out) != 0 || pipe(errs) != 0 || (first != NULL && pipe(between) != 0)) {
        s = error_errno(err, errno, "a pipe for %s", second[0]);
        goto out;
    }
    if (first != NULL) {
        t->feeder_name = first[0];
        s = start(first, fd, between[1], errs[1], limits, &t->feeder, err);
        fd = between[0];
    }
    if (s == STATUS_OK) {
        t->name = second[0];
        s = start(second, fd, out[1], errs[1], limits, &t->pid, err);
    }
    if (s == STATUS_OK) {
        t->out = out[0];
        t->errs = errs[0];
        out[0] = errs[0] = -1;
    }
out:
    close_pair(between);
    close_pair(out);
    close_pair(errs);
    return s;
}

enum status tool_start(struct tool *t, const char *const argv[], int fd,
                       const struct sandbox_limits *limits, struct error *err)
{
    return tool_start_two(t, NULL, argv, fd, limits, err);
}

static void note_complaint(struct tool *t, const char *p, size_t n)
{
    size_t room = sizeof t->complaint - 1 - t->complaint_len;
    n = n < room ? n : room;
    memcpy(t->complaint + t->complaint_len, p, n);
    t->complaint_len += n;
    t->complaint[t->complaint_len] = '\0';
}

static bool says(const struct tool *t, const char *words)
{
    return strstr(t->complaint, words) != NULL;
}

/* A picture that cannot be read, or one that is read for text. */
static enum status explain_ocr(const struct tool *t, int code, struct error *err)
{
    if (code == 126 || code == 127) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "its text is in pictures, and nothing that reads pictures could be "
                         "started: install tesseract-ocr");
    }
    if (says(t, "load any languages") || says(t, "ailed loading language")) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the reader of pictures has no language it can read: install "
                         "tesseract-ocr-eng, or the package of the language");
    }
    return error_set(err, STATUS_INVALID, "the picture is damaged, or of a kind that is not read");
}

/* What a bad end means to the document's owner. poppler's tools: 1 cannot open, 3 not permitted. */
static enum status explain(const struct tool *t, const char *name, int status, struct error *err)
{
    bool ocr = strstr(name, "tesseract") != NULL;
    if (says(t, "bad_alloc") || says(t, "ut of memory") || says(t, "alloc fail")) {
        return error_set(err, STATUS_TOO_LARGE, "reading it needs more memory than the limit");
    }
    if (WIFSIGNALED(status)) {
        int sig = WTERMSIG(status);
        if (sig == SIGXCPU || sig == SIGKILL) {
            return error_set(err, STATUS_TOO_LARGE,
                             "reading it takes more processor time than the limit");
        }
        return error_set(err, STATUS_INVALID, "the %s reader crashed on it (signal %d)",
                         ocr ? "picture" : "PDF", sig);
    }
    int code = WEXITSTATUS(status);
    if (ocr) {
        return explain_ocr(t, code, err);
    }
    if (code == 126 || code == 127) {
        return error_set(err, STATUS_UNAVAILABLE,
                         "the PDF tools could not be started: install poppler-utils");
    }
    if (says(t, "ncorrect password")) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the PDF is encrypted: save it without a password");
    }
    if (code == 3) {
        return error_set(
            err, STATUS_FORBIDDEN,
            "the PDF does not permit copying its text: ask its author for one that does");
    }
    return error_set(
        err, STATUS_INVALID,
        "the PDF is damaged or is no PDF at all: where a viewer opens it, print it to a "
        "new PDF");
}

static bool wait_for(int pid, int *status, struct error *err)
{
    while (waitpid(pid, status, 0) < 0) {
        if (errno != EINTR) {
            (void)error_errno(err, errno, "waiting for the tool that reads it");
            return false;
        }
    }
    return true;
}

static bool ended_well(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static enum status reap(struct tool *t, enum status s, struct error *err)
{
    /* its pipes are closed, so a tool that was cut off ends at its next write */
    close(t->out);
    close(t->errs);
    int status = 0, feeder = 0;
    struct error waiting = {0};
    bool reaped = wait_for(t->pid, &status, &waiting);
    if (t->feeder > 0) { /* what it wrote to nobody has ended it */
        reaped = wait_for(t->feeder, &feeder, &waiting) && reaped;
    }
    if (s != STATUS_OK) {
        return s;
    }
    if (!reaped) {
        *err = waiting;
        return err->code;
    }
    /* a first that was stopped by the second's end is not what went wrong */
    if (!ended_well(feeder) && !(WIFSIGNALED(feeder) && WTERMSIG(feeder) == SIGPIPE)) {
        return explain(t, t->feeder_name, feeder, err);
    }
    return ended_well(status) ? STATUS_OK : explain(t, t->name, status, err);
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
