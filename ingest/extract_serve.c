#include "ingest/extract_serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox/sandbox.h"

#define READERS_MAX 1024 /* far more than a pool has at once */

struct reader {
    pid_t pid; /* 0: free */
    uint32_t id;
};

struct server {
    int control, children; /* a signalfd */
    extract_task_fn read_one;
    void *data;
    sigset_t before; /* the signals blocked before the server blocked its own */
    struct reader readers[READERS_MAX];
};

static struct reader *reader_of(struct server *s, pid_t pid, uint32_t id)
{
    for (size_t i = 0; i < READERS_MAX; i++) {
        struct reader *r = &s->readers[i];
        if (pid != 0 ? r->pid == pid : r->pid != 0 && r->id == id) {
            return r;
        }
    }
    return NULL;
}

static enum status tell(const struct server *s, const Ex__TaskEnd *end, struct error *err)
{
    uint8_t packed[TASK_MAX];
    size_t n = ex__task_end__get_packed_size(end);
    if (n > sizeof packed) {
        return error_set(err, STATUS_INTERNAL, "a task's end is too long");
    }
    (void)ex__task_end__pack(end, packed);
    while (send(s->control, packed, n, MSG_NOSIGNAL) < 0) {
        if (errno != EINTR) {
            return error_errno(err, errno, "telling of a task's end");
        }
    }
    return STATUS_OK;
}

static enum status refuse(const struct server *s, uint32_t id, const char *why, struct error *err)
{
    char text[256];
    Ex__TaskEnd end = EX__TASK_END__INIT;
    size_t n = strlen(why) < sizeof text - 1 ? strlen(why) : sizeof text - 1;
    memcpy(text, why, n);
    text[n] = '\0';
    end.id = id;
    end.error = text;
    return tell(s, &end, err);
}

/* ---- the reader's side ---- */

_Noreturn static void be_reader(const struct server *s, int server_pid, const Ex__Task *task,
                                const int fds[TASK_DESCRIPTORS])
{
    struct error err = {0};
    for (int i = 0; i < TASK_DESCRIPTORS; i++) { /* all of them are above 2 */
        if (dup2(fds[i], i) < 0) {
            _exit(126);
        }
    }
    if (syscall(SYS_close_range, 3U, ~0U, 0U) != 0 ||
        sigprocmask(SIG_SETMASK, &s->before, NULL) != 0 ||
        sandbox_forked(server_pid, &err) != STATUS_OK) {
        _exit(126);
    }
    _exit(s->read_one(task, s->data));
}

/* ---- the server's ---- */

static enum status start(struct server *s, const Ex__Task *task, const int fds[TASK_DESCRIPTORS],
                         struct error *err)
{
    int own = getpid();
    struct reader *free_place = NULL;
    for (size_t i = 0; i < READERS_MAX && free_place == NULL; i++) {
        free_place = s->readers[i].pid == 0 ? &s->readers[i] : NULL;
    }
    pid_t pid = free_place == NULL ? (errno = EAGAIN, -1) : fork();
    if (pid == 0) {
        be_reader(s, own, task, fds);
    }
    if (pid < 0) {
        return refuse(s, task->id, strerror(errno), err);
    }
    *free_place = (struct reader){.pid = pid, .id = task->id};
    return STATUS_OK;
}

static void stop(struct server *s, uint32_t id)
{
    const struct reader *r = reader_of(s, 0, id);
    if (r != NULL) {
        /* it leads a session of its own by now, or is about to; a tool beside it dies with it */
        (void)kill(-r->pid, SIGKILL);
        (void)kill(r->pid, SIGKILL);
    }
}

static uint64_t micro(const struct timeval *t)
{
    return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

static enum status reap(struct server *s, struct error *err)
{
    struct signalfd_siginfo said;
    enum status st = STATUS_OK;
    (void)!read(s->children, &said, sizeof said);
    for (;;) {
        int status = 0;
        struct rusage spent = {0};
        pid_t pid = wait4(-1, &status, WNOHANG, &spent);
        struct reader *r = pid > 0 ? reader_of(s, pid, 0) : NULL;
        if (pid <= 0 || st != STATUS_OK) {
            return st;
        }
        if (r == NULL) {
            continue;
        }
        Ex__TaskEnd end = EX__TASK_END__INIT;
        end.id = r->id;
        end.has_exit_code = WIFEXITED(status);
        end.exit_code = end.has_exit_code ? (uint32_t)WEXITSTATUS(status) : 0;
        end.has_signal = WIFSIGNALED(status);
        end.signal = end.has_signal ? (uint32_t)WTERMSIG(status) : 0;
        end.has_cpu_us = true;
        end.cpu_us = micro(&spent.ru_utime) + micro(&spent.ru_stime);
        r->pid = 0;
        st = tell(s, &end, err);
    }
}

static size_t take_descriptors(struct msghdr *m, int fds[TASK_DESCRIPTORS])
{
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (n < TASK_DESCRIPTORS) {
                fds[n++] = fd;
            } else {
                close(fd);
            }
        }
    }
    return n;
}

/* *end: the other side has closed. */
static enum status take_task(struct server *s, bool *end, struct error *err)
{
    union {
        char room[CMSG_SPACE(sizeof(int) * TASK_DESCRIPTORS)];
        struct cmsghdr aligned;
    } control;
    uint8_t packed[TASK_MAX];
    struct iovec v = {packed, sizeof packed};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
    int fds[TASK_DESCRIPTORS];
    ssize_t n = recvmsg(s->control, &m, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) {
        return STATUS_OK;
    }
    *end = n == 0;
    if (n <= 0) {
        return n == 0 ? STATUS_OK : error_errno(err, errno, "taking a task");
    }
    size_t n_fds = take_descriptors(&m, fds);
    Ex__Task *task = ex__task__unpack(NULL, (size_t)n, packed);
    enum status st = STATUS_OK;
    if (task == NULL || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        st = error_set(err, STATUS_PROTOCOL, "a task is malformed");
    } else if (task->has_stop && task->stop) {
        stop(s, task->id);
    } else if (n_fds != TASK_DESCRIPTORS) {
        st = refuse(s, task->id, "a descriptor is missing", err);
    } else {
        st = start(s, task, fds, err);
    }
    for (size_t i = 0; i < n_fds; i++) {
        close(fds[i]);
    }
    if (task != NULL) {
        ex__task__free_unpacked(task, NULL);
    }
    return st;
}

enum status extract_serve(int control, extract_task_fn read_one, void *data, struct error *err)
{
    sigset_t own;
    bool end = false;
    enum status st = STATUS_OK;
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *s = (struct server){.control = control, .children = -1, .read_one = read_one, .data = data};
    (void)sigemptyset(&own);
    (void)sigaddset(&own, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &own, &s->before) != 0 ||
        (s->children = signalfd(-1, &own, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
        st = error_errno(err, errno, "listening for the readers' ends");
    }
    while (st == STATUS_OK && !end) {
        struct pollfd fds[2] = {{.fd = control, .events = POLLIN},
                                {.fd = s->children, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0) {
            st = errno == EINTR ? STATUS_OK : error_errno(err, errno, "waiting for a task");
            continue;
        }
        if (fds[1].revents != 0) {
            st = reap(s, err);
        }
        if (st == STATUS_OK && fds[0].revents != 0) {
            st = take_task(s, &end, err);
        }
    }
    if (s->children >= 0) {
        close(s->children);
    }
    free(s); /* readers still at work die with this process */
    return st;
}
