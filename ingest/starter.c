#include "ingest/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "ingest/extract_serve.h"

#define TASKS_EACH 256

struct starter {
    uv_process_t process;
    uv_poll_t poll;
    int control;
    struct list tasks; /* struct started */
    uint32_t next_id;
    unsigned open_handles;
    bool exited, crashed, retired;
    void (*on_freed)(void *data);
    void *data;
};

static void on_handle_closed(uv_handle_t *h)
{
    struct starter *t = h->data;
    if (--t->open_handles == 0) {
        void (*on_freed)(void *) = t->on_freed;
        void *data = t->data;
        close(t->control);
        free(t);
        if (on_freed != NULL) {
            on_freed(data);
        }
    }
}

static void maybe_free(struct starter *t)
{
    if (t->exited && t->retired && !uv_is_closing((uv_handle_t *)&t->poll)) {
        uv_close((uv_handle_t *)&t->poll, on_handle_closed);
        uv_close((uv_handle_t *)&t->process, on_handle_closed);
    }
}

/* Nothing is left to hear of: the other side ends when it sees the socket closed. */
static void maybe_dismiss(struct starter *t)
{
    if (t->retired && !t->exited && list_empty(&t->tasks)) {
        (void)shutdown(t->control, SHUT_RDWR);
    }
}

/* An idle starter does not keep the loop alive. */
static void keep_loop(struct starter *t, bool alive)
{
    void (*change)(uv_handle_t *) = alive ? uv_ref : uv_unref;
    change((uv_handle_t *)&t->process);
    change((uv_handle_t *)&t->poll);
}

static void end_task(struct started *s, const struct reader_end *end)
{
    struct starter *t = s->starter;
    list_remove(&s->link);
    s->starter = NULL;
    keep_loop(t, t->retired || !list_empty(&t->tasks));
    s->ended(s, end);
}

static struct started *task_of(struct starter *t, uint32_t id)
{
    list_for_each(it, &t->tasks)
    {
        struct started *s = list_entry(it, struct started, link);
        if (s->id == id) {
            return s;
        }
    }
    return NULL;
}

static void take_end(struct starter *t, const uint8_t *packed, size_t n)
{
    Ex__TaskEnd *m = ex__task_end__unpack(NULL, n, packed);
    struct started *s = m == NULL ? NULL : task_of(t, m->id);
    if (m == NULL) {
        LOG_WARN("the readers' starter gave a malformed answer", LOG_END);
        if (!t->exited) {
            (void)uv_process_kill(&t->process, SIGKILL);
        }
        return;
    }
    if (s != NULL) {
        struct reader_end end = {
            .exit_code = m->exit_code,
            .signal = (int)m->signal,
            .cpu_us = m->has_cpu_us && m->cpu_us <= INT64_MAX ? (int64_t)m->cpu_us : 0,
            .error = m->error == NULL ? "" : m->error,
        };
        t->crashed = t->crashed || (m->has_signal && m->signal != 0);
        end_task(s, &end);
    }
    ex__task_end__free_unpacked(m, NULL);
}

static void drain(struct starter *t)
{
    uint8_t packed[TASK_MAX];
    for (;;) {
        ssize_t n = recv(t->control, packed, sizeof packed, MSG_DONTWAIT);
        if (n > 0) {
            take_end(t, packed, (size_t)n);
        } else if (n == 0 || errno != EINTR) {
            if (n == 0 || errno != EAGAIN) { /* what is left to know, its exit tells */
                (void)uv_poll_stop(&t->poll);
            }
            break;
        }
    }
    maybe_dismiss(t);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    drain(container_of(poll, struct starter, poll));
}

static void on_exit_of_starter(uv_process_t *process, int64_t code, int sig)
{
    struct starter *t = container_of(process, struct starter, process);
    t->exited = true;
    drain(t); /* what it said before it went */
    (void)uv_poll_stop(&t->poll);
    if (!t->retired) {
        LOG_WARN("the readers' starter ended", LOG_INT("status", code), LOG_INT("signal", sig),
                 LOG_END);
    }
    struct reader_end lost = {.lost = true, .error = ""};
    while (!list_empty(&t->tasks)) {
        end_task(list_entry(t->tasks.next, struct started, link), &lost);
    }
    maybe_free(t);
}

enum status starter_new(uv_loop_t *loop, const char *program, char **argv,
                        void (*on_freed)(void *data), void *data, struct starter **out,
                        struct error *err)
{
    int ends[2];
    char *no_environment[] = {NULL};
    struct starter *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        free(t);
        return error_errno(err, errno, "a socket for the readers");
    }
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_INHERIT_FD, .data.fd = ends[1]},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO}, /* readers have one of their own */
    };
    uv_process_options_t o = {
        .exit_cb = on_exit_of_starter,
        .file = program,
        .args = argv,
        .env = no_environment,
        .cwd = "/",
        .stdio_count = 3,
        .stdio = stdio,
    };
    list_init(&t->tasks);
    t->control = ends[0];
    t->on_freed = on_freed;
    t->data = data;
    int rc = uv_spawn(loop, &t->process, &o);
    close(ends[1]);
    (void)uv_poll_init(loop, &t->poll, t->control); /* a socket: it cannot fail */
    t->process.data = t->poll.data = t;
    t->open_handles = 2;
    if (rc != 0) {
        t->exited = t->retired = true;
        t->on_freed = NULL;
        maybe_free(t);
        return error_set(err, STATUS_UNAVAILABLE, "the extractor could not be started: %s: %s",
                         program, uv_strerror(rc));
    }
    (void)uv_poll_start(&t->poll, UV_READABLE, on_control);
    keep_loop(t, false);
    *out = t;
    return STATUS_OK;
}

static int send_task(const struct starter *t, const Ex__Task *task, const int *fds, size_t n_fds)
{
    union {
        char room[CMSG_SPACE(sizeof(int) * TASK_DESCRIPTORS)];
        struct cmsghdr aligned;
    } control;
    uint8_t packed[TASK_MAX];
    size_t n = ex__task__get_packed_size(task);
    if (n > sizeof packed) {
        return EMSGSIZE;
    }
    (void)ex__task__pack(task, packed);
    struct iovec v = {packed, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    memset(&control, 0, sizeof control);
    if (n_fds > 0) {
        m.msg_control = control.room;
        m.msg_controllen = sizeof control.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    ssize_t sent;
    do {
        sent = sendmsg(t->control, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? errno : 0;
}

enum status starter_run(struct starter *t, Ex__Task *task, const int fds[3], struct started *s,
                        struct error *err)
{
    task->id = t->next_id++;
    int e = send_task(t, task, fds, TASK_DESCRIPTORS);
    if (e != 0) {
        return error_set(err, STATUS_UNAVAILABLE, "the extractor could not be started: %s",
                         strerror(e));
    }
    s->starter = t;
    s->id = task->id;
    list_push(&t->tasks, &s->link);
    keep_loop(t, true);
    return STATUS_OK;
}

void starter_stop(struct started *s)
{
    Ex__Task stop = EX__TASK__INIT;
    if (s->starter == NULL) {
        return;
    }
    stop.id = s->id;
    stop.has_stop = stop.stop = true;
    if (send_task(s->starter, &stop, NULL, 0) != 0) { /* it does not listen: all of it goes */
        (void)uv_process_kill(&s->starter->process, SIGKILL);
    }
}

void starter_kill(struct started *s)
{
    if (s->starter != NULL && !s->starter->exited) {
        LOG_WARN("the readers' starter does not answer and is killed", LOG_END);
        (void)uv_process_kill(&s->starter->process, SIGKILL);
    }
}

bool starter_spent(const struct starter *t)
{
    return t->exited || t->crashed || t->next_id >= TASKS_EACH;
}

void starter_retire(struct starter *t, bool now)
{
    t->retired = true;
    keep_loop(t, true);
    if (now && !t->exited) {
        (void)uv_process_kill(&t->process, SIGKILL);
    }
    maybe_dismiss(t);
    maybe_free(t);
}
