/* The life of one service process, in the order it happens: child_start forks and execs; a timer
 * asks rpc.Health until it answers; child_exited (from SIGCHLD) plans the restart or gives up;
 * child_stop asks it to end, and kills it when it does not. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/service.h"
#include "cli/heartbeat.h"

#define PROBE_MS 10
#define BOOT_FD 3
#define ALIVE_FD 4
#define BEAT_FD 5
#define ENV_MAX 512

extern char **environ;

const char *child_state_name(enum child_state s)
{
    static const char *const names[] = {
        [CHILD_STOPPED] = "stopped", [CHILD_STARTING] = "starting", [CHILD_READY] = "ready",
        [CHILD_WAITING] = "waiting", [CHILD_STOPPING] = "stopping", [CHILD_FAILED] = "failed"};

    return names[s];
}

static void note_error(struct child *c, const char *what)
{
    (void)snprintf(c->last_error, sizeof(c->last_error), "%s%s%s", what,
                   c->last_line[0] == '\0' ? "" : "; it last said: ", c->last_line);
    c->last_error_wall_ms = clock_wall_ms();
}

static void on_probe(uv_timer_t *t);
static void on_restart(uv_timer_t *t);
static void on_patience(uv_timer_t *t);

static void set_timer(struct child *c, uv_timer_cb cb, uint64_t ms)
{
    (void)uv_timer_start(&c->timer, cb, ms, 0); /* fails only while closing */
}

enum status child_init(struct child *c, struct supervisor *s, enum peer peer, struct error *err)
{
    char address[1200];

    *c =
        (struct child){.sup = s, .peer = peer, .backoff_ms = BACKOFF_FIRST_MS, .beats = {.fd = -1}};
    int rc = uv_timer_init(s->loop, &c->timer);
    if (rc != 0) {
        return error_set(err, STATUS_INTERNAL, "%s: timer: %s", peer_name(peer), uv_strerror(rc));
    }
    service_address(s->config->settings, s->config->home, peer, address, sizeof(address));
    return rpc_client_new(s->loop, &s->identities[PEER_SUPERVISOR], peer, address, s->tls,
                          &c->client, err);
}

/* ---- start ---- */

struct launch {
    char program[4096];
    char *argv[12];
    char *envp[ENV_MAX];
    char port[32];
    int out_fd, boot_fd, null_fd, alive_fd, beat_fd;
    pid_t parent;
};

/* After fork, before exec: only what a signal handler may call. */
__attribute__((noreturn)) static void become_service(const struct launch *l)
{
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != l->parent) {
        _exit(126);
    }
    (void)setpgid(0, 0); /* Ctrl-C is the supervisor's to hear: it stops the services in order */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)dup2(l->null_fd, 0);
    (void)dup2(l->out_fd, 1);
    (void)dup2(l->out_fd, 2);
    if (dup2(l->boot_fd, BOOT_FD) == BOOT_FD && dup2(l->alive_fd, ALIVE_FD) == ALIVE_FD &&
        dup2(l->beat_fd, BEAT_FD) == BEAT_FD) {
        (void)close_range(BEAT_FD + 1, ~0U, 0);
        (void)execve(l->program, l->argv, l->envp);
    }
    static const char sorry[] = "cannot be started: the program is missing or not executable\n";
    _exit(write(2, sorry, sizeof(sorry) - 1) > 0 ? 127 : 126);
}

static void fill_arguments(struct launch *l, const struct child *c)
{
    const struct supervisor_config *cfg = c->sup->config;
    const char *args[] = {l->program,
                          "--home",
                          cfg->home,
                          "--boot-fd",
                          "3",
                          "--beat-fd",
                          "5",
                          "--log-level",
                          cfg->settings->log_level,
                          cfg->user == NULL ? NULL : "--user",
                          cfg->user};
    size_t n = 0;

    for (size_t i = 0; i < sizeof(args) / sizeof(args[0]) && args[i] != NULL; i++) {
        l->argv[n++] =
            (char *)(uintptr_t)args[i]; /* execve wants char *const[] and changes nothing */
    }
    l->argv[n] = NULL;
    n = 0;
    if (c->sup->port >= 0) {
        (void)snprintf(l->port, sizeof(l->port), "CARREL_PORT=%d", c->sup->port);
        l->envp[n++] = l->port;
    }
    for (char **e = environ; *e != NULL && n < ENV_MAX - 1; e++) {
        if (strncmp(*e, "CARREL_PORT=", 12) != 0 && strncmp(*e, "CARREL_KEY=", 11) != 0) {
            l->envp[n++] = *e;
        }
    }
    l->envp[n] = NULL;
}

/* A descriptor out of the way of those the child will have. */
static int high(int fd)
{
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 10);

    if (fd >= 0) {
        (void)close(fd);
    }
    return moved;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* The identity record, ready to be read: smaller than a pipe's buffer, so writing cannot block. */
static int boot_pipe(const struct identity *id)
{
    uint8_t record[IDENTITY_RECORD_BYTES];
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return -1;
    }
    identity_encode(id, record);
    bool ok = write(fds[1], record, sizeof(record)) == (ssize_t)sizeof(record);
    explicit_bzero(record, sizeof(record));
    (void)close(fds[1]);
    if (!ok) {
        (void)close(fds[0]);
        return -1;
    }
    return high(fds[0]);
}

static void plan_restart(struct child *c, const char *what);

static bool is_unix(const struct child *c)
{
    return strcmp(c->sup->config->settings->rpc.transport, "unix") == 0;
}

static void socket_path(const struct child *c, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s/run/%s.sock", c->sup->config->home, peer_name(c->peer));
}

void child_start(struct child *c)
{
    struct supervisor *s = c->sup;
    struct launch l = {.out_fd = -1,
                       .boot_fd = -1,
                       .null_fd = -1,
                       .alive_fd = -1,
                       .beat_fd = -1,
                       .parent = getpid()};
    struct error err = {0};
    int out[2] = {-1, -1};
    char path[4200];

    if (is_unix(c)) {
        socket_path(c, path,
                    sizeof(path)); /* an old one would answer the first probe with a refusal */
        (void)unlink(path);
    }
    (void)snprintf(l.program, sizeof(l.program), "%s/carrel-%s", s->config->bin_dir,
                   peer_name(c->peer));
    fill_arguments(&l, c);
    if (pipe2(out, O_CLOEXEC) == 0) {
        l.out_fd = high(out[1]);
        out[1] = -1;
    }
    l.boot_fd = boot_pipe(&s->identities[c->peer]);
    l.null_fd = high(open("/dev/null", O_RDONLY | O_CLOEXEC));
    l.alive_fd = fcntl(s->config->alive_fd, F_DUPFD_CLOEXEC, 10);
    c->last_line[0] = '\0';
    pid_t pid = -1;
    if (heartbeat_pipe(c, &l.beat_fd, &err) == STATUS_OK) {
        l.beat_fd = high(l.beat_fd);
    }
    if (out[0] >= 0 && l.out_fd >= 0 && l.boot_fd >= 0 && l.null_fd >= 0 && l.alive_fd >= 0 &&
        l.beat_fd >= 0) {
        pid = fork();
        if (pid == 0) {
            become_service(&l);
        }
    }
    int failure = errno;
    close_fd(l.out_fd);
    close_fd(l.boot_fd);
    close_fd(l.null_fd);
    close_fd(l.alive_fd);
    close_fd(l.beat_fd);
    c->started_ms = clock_monotonic_ms();
    if (pid < 0) {
        close_fd(out[0]);
        (void)snprintf(path, sizeof(path), "could not be started: %s", strerror(failure));
        plan_restart(c, path);
        return;
    }
    c->pid = pid;
    c->up_since_wall_ms = clock_wall_ms();
    c->state = CHILD_STARTING;
    forward_start(c, out[0]);
    set_timer(c, on_probe, PROBE_MS);
}

/* ---- readiness ---- */

static void on_health(struct rpc_request *r, const struct error *err, void *data)
{
    struct child *c = data;

    (void)r;
    c->health = NULL;
    if (c->state != CHILD_STARTING) {
        return;
    }
    if (err->code == STATUS_OK) {
        c->state = CHILD_READY;
        supervisor_child_changed(c->sup);
        return;
    }
    set_timer(c, on_probe, PROBE_MS * 5);
}

static void on_probe(uv_timer_t *t)
{
    struct child *c = container_of(t, struct child, timer);
    const struct rpc_callbacks cb = {.on_finish = on_health};
    const struct rpc_options o = {.timeout_ms = 2000, .wait_for_ready = true};
    Rpc__HealthRequest request = RPC__HEALTH_REQUEST__INIT;
    char path[4200];

    socket_path(c, path, sizeof(path));
    if (is_unix(c) && access(path, F_OK) != 0) {
        set_timer(c, on_probe, PROBE_MS); /* not listening yet: do not let the client back off */
        return;
    }
    c->health = rpc_health(c->client, &o, &request, &cb, c);
    if (c->health == NULL) {
        set_timer(c, on_probe, PROBE_MS * 5);
    }
}

/* ---- death ---- */

static void forget_health(struct child *c)
{
    if (c->health != NULL) {
        rpc_request_cancel(c->health);
        c->health = NULL;
    }
}

static bool died_too_often(struct child *c)
{
    int64_t now = clock_monotonic_ms();

    c->crashes[c->n_crashes++ % CRASHES_MAX] = now;
    return c->n_crashes >= CRASHES_MAX &&
           now - c->crashes[c->n_crashes % CRASHES_MAX] <= CRASHES_WITHIN_MS;
}

static void plan_restart(struct child *c, const char *what)
{
    struct supervisor *s = c->sup;

    note_error(c, what);
    if (died_too_often(c)) {
        c->state = CHILD_FAILED;
        supervisor_say(
            s,
            "%s %s: the %dth time within %d s, so it is given up; the others go on. Its lines "
            "above "
            "say why; `carrel doctor` may help; `carrel stop` and `carrel up` try again.",
            peer_name(c->peer), what, CRASHES_MAX, CRASHES_WITHIN_MS / 1000);
        supervisor_child_changed(s);
        return;
    }
    if (clock_monotonic_ms() - c->started_ms >= CRASHES_WITHIN_MS) {
        c->backoff_ms = BACKOFF_FIRST_MS;
    }
    c->state = CHILD_WAITING;
    supervisor_say(s, "%s %s; starting it again in %u ms", peer_name(c->peer), what, c->backoff_ms);
    set_timer(c, on_restart, c->backoff_ms);
    c->backoff_ms = c->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : c->backoff_ms * 2;
}

static void on_restart(uv_timer_t *t)
{
    struct child *c = container_of(t, struct child, timer);

    c->restarts++;
    child_start(c);
}

void child_exited(struct child *c, int wstatus)
{
    char what[224];

    /* its helpers share its group; whatever it left behind ends with it */
    (void)kill(-c->pid, SIGKILL);
    c->pid = 0;
    (void)uv_timer_stop(&c->timer);
    forget_health(c);
    if (c->sup->stopping) {
        c->state = CHILD_STOPPED;
        supervisor_child_changed(c->sup);
        return;
    }
    if (c->beats.hung[0] != '\0') {
        (void)snprintf(what, sizeof(what), "%s and was killed", c->beats.hung);
    } else if (WIFSIGNALED(wstatus)) {
        (void)snprintf(what, sizeof(what), "was ended by signal %d (%s)", WTERMSIG(wstatus),
                       strsignal(WTERMSIG(wstatus)));
    } else {
        (void)snprintf(what, sizeof(what), "ended by itself with code %d", WEXITSTATUS(wstatus));
    }
    heartbeat_end(c);
    plan_restart(c, what);
}

/* ---- stop ---- */

/* serve's streams may come to their end first. */
static uint64_t patience_ms(const struct child *c)
{
    return STOP_PATIENCE_MS +
           (uint64_t)(c->peer == PEER_SERVE ? c->sup->config->settings->http.shutdown_grace_ms : 0);
}

void child_stop(struct child *c)
{
    (void)uv_timer_stop(&c->timer);
    forget_health(c);
    if (c->pid == 0) {
        c->state = c->state == CHILD_FAILED ? CHILD_FAILED : CHILD_STOPPED;
        return;
    }
    c->state = CHILD_STOPPING;
    (void)kill(c->pid, SIGTERM);
    set_timer(c, on_patience, patience_ms(c));
}

static void on_patience(uv_timer_t *t)
{
    struct child *c = container_of(t, struct child, timer);

    supervisor_say(c->sup, "%s has not ended within %d s and is killed", peer_name(c->peer),
                   (int)(patience_ms(c) / 1000));
    child_kill(c);
}

void child_kill(struct child *c)
{
    if (c->pid > 0) {
        (void)kill(-c->pid, SIGKILL);
        (void)kill(c->pid, SIGKILL);
    }
}

void child_close(struct child *c)
{
    forget_health(c);
    heartbeat_end(c);
    uv_close((uv_handle_t *)&c->timer, NULL);
    if (c->client != NULL) {
        rpc_client_close(c->client, NULL, NULL);
        c->client = NULL;
    }
}
