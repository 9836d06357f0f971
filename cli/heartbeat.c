/* Does a service's loop still turn? It writes a byte a second to a pipe (base/service.c); here they
 * are looked for once a second, all services in one go. What counts is silence that we saw: a tick
 * of ours that came late (the machine slept, or was loaded) counts no more than two seconds, and
 * a service that waits for its disk, for a debugger, for a processor that others hold, or for a
 * terminal that does not take its lines is not silent by its own fault. */
#include "cli/heartbeat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define TICK_MS 1000
#define TICK_COUNTS_MS 2000
#define TOLD_MS 5000 /* silence that is worth a line when it ends by itself */

enum status heartbeat_pipe(struct child *c, int *write_end, struct error *err)
{
    int fds[2];

    heartbeat_end(c);
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return error_errno(err, errno, "a pipe");
    }
    c->beats.fd = fds[0];
    *write_end = fds[1];
    return STATUS_OK;
}

void heartbeat_end(struct child *c)
{
    if (c->beats.fd >= 0) {
        (void)close(c->beats.fd);
    }
    c->beats = (struct heartbeat){.fd = -1};
}

/* ---- what the kernel says of its main thread, which is the loop's ---- */

struct thread {
    char state;
    uint64_t ticks;     /* processor time, user and system */
    uint64_t waited_ms; /* it could run, and others did */
};

/* Linux counts the wait when it is over. 0: this kernel does not. */
static uint64_t read_waited(pid_t pid)
{
    char path[64];
    unsigned long long waited_ns = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }
    int n = fscanf(f, "%*u %llu", &waited_ns);
    (void)fclose(f);
    return n == 1 ? waited_ns / 1000000 : 0;
}

static bool read_thread(pid_t pid, struct thread *out)
{
    char path[64];
    char text[1024];
    unsigned long long user = 0;
    unsigned long long kernel = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    const char *name_end = strrchr(text, ')'); /* the name before it may hold anything */
    if (name_end == NULL ||
        sscanf(name_end + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &out->state,
               &user, &kernel) != 3) {
        return false;
    }
    out->ticks = user + kernel;
    out->waited_ms = read_waited(pid);
    return true;
}

static void read_wait(pid_t pid, char *out, size_t cap)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/wchan", (int)pid);
    FILE *f = fopen(path, "re");
    size_t n = f == NULL ? 0 : fread(out, 1, cap - 1, f);
    out[n] = '\0';
    if (f != NULL) {
        (void)fclose(f);
    }
}

/* Words for the log: what the loop does instead. */
static void why(const struct child *c, const struct thread *now, char *out, size_t cap)
{
    char place[64];
    int64_t busy_ms = (int64_t)(now->ticks - c->beats.ticks) * 1000 / (int64_t)sysconf(_SC_CLK_TCK);

    if (now->state == 'T') {
        (void)snprintf(out, cap, "it is stopped by a signal");
        return;
    }
    if (now->state == 'R' || busy_ms * 2 > c->beats.silent_ms) {
        (void)snprintf(out, cap, "its loop computes without end");
        return;
    }
    read_wait(c->pid, place, sizeof(place));
    bool named = place[0] != '\0' && strcmp(place, "0") != 0;
    (void)snprintf(out, cap, "its loop waits%s%s", named ? " in " : "", named ? place : "");
}

/* ---- once a second ---- */

static bool take_beats(int fd)
{
    char bytes[256];
    bool any = false;
    ssize_t n;

    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
        any = true;
    }
    return any;
}

static void heard(struct child *c)
{
    if (c->beats.silent_ms >= TOLD_MS && c->beats.hung[0] == '\0') {
        supervisor_say(c->sup, "%s beats again after %d s", peer_name(c->peer),
                       (int)(c->beats.silent_ms / 1000));
    }
    c->beats.begun = true;
    c->beats.silent_ms = c->beats.passed_ms = 0;
}

static void end_it(struct child *c, const struct thread *now)
{
    char reason[96];
    int64_t patience = c->sup->config->settings->supervisor.patience_ms;

    why(c, now, reason, sizeof(reason));
    (void)snprintf(c->beats.hung, sizeof(c->beats.hung), "hung: no heartbeat for %d s (%s)",
                   (int)(c->beats.silent_ms / 1000), reason);
    supervisor_say(c->sup, "%s %s; it is killed (supervisor.patience: %d s)", peer_name(c->peer),
                   c->beats.hung, (int)(patience / 1000));
    c->hung++;
    child_kill(c);
}

/* What of the time that passes is its own silence. */
static void count(struct heartbeat *b, const struct thread *now, int64_t passed_ms)
{
    if (b->passed_ms == 0) {
        b->ticks = b->last_ticks = now->ticks;
        b->waited_ms = now->waited_ms;
    } else if (now->state == 'R' && now->ticks == b->last_ticks) {
        passed_ms = 0; /* it waits still */
    }
    b->last_ticks = now->ticks;
    b->passed_ms += passed_ms < TICK_COUNTS_MS ? passed_ms : TICK_COUNTS_MS;
    int64_t own_ms = b->passed_ms - (int64_t)(now->waited_ms - b->waited_ms);
    b->silent_ms = own_ms < 0 ? 0 : own_ms;
}

static void look(struct child *c, int64_t passed_ms)
{
    struct heartbeat *b = &c->beats;
    int64_t patience = c->sup->config->settings->supervisor.patience_ms;
    struct thread now = {0};
    bool stood = forward_was_paused(c);

    if (b->fd < 0 || c->pid == 0 || (c->state != CHILD_READY && c->state != CHILD_STARTING)) {
        return;
    }
    if (take_beats(b->fd)) {
        heard(c);
        return;
    }
    if (!b->begun || b->hung[0] != '\0' || !read_thread(c->pid, &now)) {
        return; /* it opens its files, or it dies already */
    }
    if (stood || now.state == 'D' || now.state == 't') {
        b->silent_ms = stood ? 0 : b->silent_ms;
        b->passed_ms = stood ? 0 : b->passed_ms;
        return;
    }
    count(b, &now, passed_ms);
    if (patience > 0 && b->silent_ms >= patience) {
        end_it(c, &now);
    }
}

static void on_tick(uv_timer_t *t)
{
    struct supervisor *s = t->data;
    int64_t now = clock_monotonic_ms();
    int64_t passed = now - s->beats_looked_ms;

    s->beats_looked_ms = now;
    for (size_t i = 0; i < s->n_order && !s->stopping; i++) {
        look(&s->children[s->order[i]], passed);
    }
}

int heartbeat_watch(struct supervisor *s)
{
    int rc = uv_timer_init(s->loop, &s->beats_timer);

    s->beats_timer.data = s;
    s->beats_looked_ms = clock_monotonic_ms();
    return rc != 0 ? rc : uv_timer_start(&s->beats_timer, on_tick, TICK_MS, TICK_MS);
}
