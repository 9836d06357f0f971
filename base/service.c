/* The life of a service, in the order of this file: arguments -> identity -> user -> settings ->
 * loop -> open -> listen -> ... -> signal -> server closed -> service closed -> clients closed ->
 * end. */
#include "base/service.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rpc/client.h"
#include "base/rpc/health_rpc.h"
#include "base/tls/tls.h"

#define CLOSE_HARD_MS 5000
#define CLOSE_SHUT_MS                                                                              \
    1500 /* then requests to other services end, so that whoever waits for one can finish */
#define BOOT_WAIT_MS 5000
#define BEAT_MS 1000
#define METRICS_TEXT_MAX ((size_t)512 * 1024)
#define SETTINGS_MEMORY_MAX ((size_t)1024 * 1024)

struct service_private {
    const struct service_definition *def;
    uv_loop_t loop;
    struct arena arena;
    struct settings settings;
    struct rpc_handler *handlers;
    struct rpc_server *server;
    struct rpc_client *clients[PEER_COUNT];
    struct tls_context *tls;
    struct metrics *metrics;
    uv_signal_t signals[2];
    uv_timer_t closer;
    uv_timer_t beat;
    int beat_fd; /* -1: nobody listens */
    unsigned open_clients;
    bool closing, server_closed, service_closed, clients_closing, shut_done;
    int exit_code;
    int64_t up_since_wall_ms;
    char last_error[256];
    int64_t last_error_wall_ms;
};

/* ---- arguments */

struct arguments {
    const char *home, *log_level, *user;
    int boot_fd, beat_fd;
};

static void usage(const char *program)
{
    fprintf(stderr,
            "usage: %s --home DIR [--boot-fd N] [--beat-fd N] [--log-level debug|info|warn|error]\n"
            "       [--user NAME]\n"
            "A part of Carrel, started by `carrel up`, which hands over the process's identity on\n"
            "descriptor N (3) and hears its heartbeat on the other.\n",
            program);
}

static bool parse_arguments(int argc, char **argv, struct arguments *a)
{
    *a = (struct arguments){.boot_fd = 3, .beat_fd = -1};
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL) {
            return false;
        }
        if (strcmp(argv[i], "--home") == 0) {
            a->home = value;
        } else if (strcmp(argv[i], "--log-level") == 0) {
            a->log_level = value;
        } else if (strcmp(argv[i], "--user") == 0) {
            a->user = value;
        } else if (strcmp(argv[i], "--boot-fd") == 0 || strcmp(argv[i], "--beat-fd") == 0) {
            char *end;
            long n = strtol(value, &end, 10);
            if (*value == '\0' || *end != '\0' || n < 0 || n > 1023) {
                return false;
            }
            *(argv[i][3] == 'o' ? &a->boot_fd : &a->beat_fd) = (int)n;
        } else {
            return false;
        }
    }
    return a->home != NULL;
}

/* ---- who we are */

/* SIGKILL: a supervisor that was killed can neither restart nor log us, and its successor must find
 * sockets and databases free at once. Every service is built to be killed at any moment. */
static enum status die_with_parent(struct error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return error_errno(err, errno, "PR_SET_PDEATHSIG");
    }
    return STATUS_OK;
}

static enum status read_identity(int fd, enum peer self, struct identity *out, struct error *err)
{
    uint8_t record[IDENTITY_RECORD_BYTES];
    size_t have = 0;
    int64_t until = clock_monotonic_ms() + BOOT_WAIT_MS;
    enum status s = STATUS_OK;
    while (s == STATUS_OK && have < sizeof record) {
        int64_t left = until - clock_monotonic_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, left < 0 ? 0 : (int)left);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        ssize_t n = ready > 0 ? read(fd, record + have, sizeof record - have) : 0;
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            s = error_set(err, STATUS_INVALID,
                          "no identity on descriptor %d (services are started by `carrel up`)", fd);
        } else {
            have += (size_t)n;
        }
    }
    (void)close(fd);
    if (s == STATUS_OK) {
        s = identity_decode(record, sizeof record, out, err);
    }
    if (s == STATUS_OK && out->self != self) {
        s = error_set(err, STATUS_INVALID, "the identity handed over is that of %s",
                      peer_name(out->self));
    }
    sodium_memzero(record, sizeof record);
    return s;
}

/* Changing the user clears the death signal and closes /proc/self to ourselves; both are wanted
 * back. */
static enum status become_user(const char *name, struct error *err)
{
    if (geteuid() != 0) {
        return STATUS_OK;
    }
    errno = 0;
    const struct passwd *pw = getpwnam(name);
    if (pw == NULL) {
        return error_set(err, STATUS_NOT_FOUND, "user \"%s\": not on this machine", name);
    }
    gid_t gid = pw->pw_gid;
    uid_t uid = pw->pw_uid;
    if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0) {
        return error_errno(err, errno, "becoming user \"%s\"", name);
    }
    if (prctl(PR_SET_DUMPABLE, 1) != 0) {
        return error_errno(err, errno, "PR_SET_DUMPABLE");
    }
    return die_with_parent(err);
}

static enum status take_place(const struct arguments *a, enum peer self, pid_t parent,
                              struct identity *identity, struct error *err)
{
    enum status s = die_with_parent(err);
    if (s == STATUS_OK) {
        s = read_identity(a->boot_fd, self, identity, err);
    }
    if (s == STATUS_OK && a->user != NULL) {
        s = become_user(a->user, err);
    }
    /* The parent may have gone before the death signal was armed. */
    if (s == STATUS_OK && getppid() != parent) {
        s = error_set(err, STATUS_CANCELLED, "the supervisor is gone");
    }
    return s;
}

/* ---- what other files see */

void *service_state(const struct rpc_call *call)
{
    const struct service *svc = rpc_call_service(call);
    return svc->state;
}

struct metrics *service_metrics(struct service *svc)
{
    return svc->p->metrics;
}

void service_note_error(struct service *svc, const struct error *err)
{
    (void)snprintf(svc->p->last_error, sizeof svc->p->last_error, "%s", err->text);
    svc->p->last_error_wall_ms = clock_wall_ms();
    LOG_ERROR("error", LOG_STR("status", status_name(err->code)), LOG_STR("err", err->text),
              LOG_END);
}

static bool over_tls(const struct settings *s, enum peer p)
{
    return strcmp(s->rpc.transport, "tls") == 0 && p != PEER_SUPERVISOR && p != PEER_EGRESS &&
           p != PEER_CLI;
}

void service_address(const struct settings *s, const char *home, enum peer p, char *out, size_t cap)
{
    if (over_tls(s, p)) {
        (void)snprintf(out, cap, "tls:%s:%lld", s->rpc.tls_host,
                       (long long)s->rpc.tls_base_port + (long long)p);
    } else {
        (void)snprintf(out, cap, "unix:%s/run/%s.sock", home, peer_name(p));
    }
}

enum status service_tls(const struct settings *s, enum peer self, struct tls_context **out,
                        struct error *err)
{
    char certificate[1024];
    char key[1024];
    struct stat st;
    if (strcmp(s->rpc.transport, "tls") != 0) {
        *out = NULL;
        return STATUS_OK;
    }
    if (s->rpc.tls_ca[0] == '\0' || s->rpc.tls_certificate[0] == '\0') {
        return error_set(err, STATUS_INVALID,
                         "rpc.transport is tls: rpc.tls_ca and rpc.tls_certificate must be set");
    }
    if (stat(s->rpc.tls_certificate, &st) == 0 && S_ISDIR(st.st_mode)) {
        (void)snprintf(certificate, sizeof certificate, "%s/%s.crt", s->rpc.tls_certificate,
                       peer_name(self));
        (void)snprintf(key, sizeof key, "%s/%s.key", s->rpc.tls_certificate, peer_name(self));
    } else {
        (void)snprintf(certificate, sizeof certificate, "%s", s->rpc.tls_certificate);
        (void)snprintf(key, sizeof key, "%s", s->rpc.tls_key);
    }
    const struct tls_files files = {.certificate = certificate, .key = key, .ca = s->rpc.tls_ca};
    return tls_context_new(&files, out, err);
}

struct rpc_client *service_client(struct service *svc, enum peer target)
{
    struct service_private *p = svc->p;
    char address[1200];
    struct error err;
    if ((unsigned)target >= PEER_COUNT || p->clients_closing) {
        return NULL;
    }
    if (p->clients[target] == NULL) {
        service_address(svc->settings, svc->home, target, address, sizeof address);
        if (rpc_client_new(svc->loop, &svc->identity, target, address, p->tls, &p->clients[target],
                           &err) != STATUS_OK) {
            p->clients[target] = NULL;
            service_note_error(svc, &err);
            return NULL;
        }
        p->open_clients++;
    }
    return p->clients[target];
}

/* ---- rpc.Health */

static void put_own_metric(struct buf *out, const char *service, const char *what, const char *kind,
                           const char *help, double value)
{
    char name[96];
    (void)snprintf(name, sizeof name, "carrel_%s_%s", service, what);
    metrics_write_head(out, name, kind, help);
    metrics_write_sample(out, name, NULL, 0, value);
}

static void put_rpc_metrics(const struct service *svc, struct buf *out)
{
    const char *self = peer_name(svc->identity.self);
    struct rpc_server_stats st;
    size_t rss = 0;
    rpc_server_stats(svc->p->server, &st);
    put_own_metric(out, self, "rpc_calls_total", "counter", "Calls begun.", (double)st.calls_total);
    put_own_metric(out, self, "rpc_calls_failed_total", "counter",
                   "Calls that ended with an error.", (double)st.calls_failed);
    put_own_metric(out, self, "rpc_calls", "gauge", "Calls in flight.", st.calls_now);
    put_own_metric(out, self, "rpc_connections_total", "counter", "Connections taken.",
                   (double)st.connections_total);
    put_own_metric(out, self, "rpc_connections_refused_total", "counter",
                   "Connections turned away.", (double)st.connections_refused);
    put_own_metric(out, self, "rpc_connections", "gauge", "Connections open.", st.connections_now);
    if (uv_resident_set_memory(&rss) == 0) {
        put_own_metric(out, self, "resident_bytes", "gauge", "Resident memory of the process.",
                       (double)rss);
    }
}

static void health_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct service *svc = rpc_call_service(call);
    struct service_private *p = svc->p;
    struct buf text;
    char name[32];
    char build[32];
    buf_init(&text, METRICS_TEXT_MAX);
    struct service_health health = {.metrics = &text};
    metrics_write(p->metrics, &text);
    put_rpc_metrics(svc, &text);
    if (p->def->health != NULL && !p->closing) {
        p->def->health(svc, &health);
    }
    health.detail[sizeof health.detail - 1] = '\0';
    (void)snprintf(name, sizeof name, "%s", peer_name(svc->identity.self));
    (void)snprintf(build, sizeof build, "%s", CARREL_BUILD);
    Rpc__HealthReply reply = RPC__HEALTH_REPLY__INIT;
    reply.service = name;
    reply.build = build;
    reply.up_since_wall_ms = p->up_since_wall_ms;
    reply.has_queue = 1;
    reply.queue = health.queue;
    reply.detail = health.detail[0] == '\0' ? NULL : health.detail;
    if (p->last_error_wall_ms != 0) {
        reply.last_error = p->last_error;
        reply.has_last_error_wall_ms = 1;
        reply.last_error_wall_ms = p->last_error_wall_ms;
    }
    if (buf_status(&text) == STATUS_OK && text.len > 0) {
        reply.has_metrics = 1;
        reply.metrics.len = text.len;
        reply.metrics.data = (uint8_t *)text.ptr;
    }
    rpc_health_return(call, &reply);
    buf_deinit(&text);
}

/* ---- the end */

static void on_client_closed(void *data)
{
    struct service *svc = data;
    struct service_private *p = svc->p;
    if (--p->open_clients == 0) {
        uv_unref((uv_handle_t *)&p
                     ->closer); /* a handle left open by the service still meets the limit */
    }
}

/* Server and service are done with: nothing needs the others any more. */
static void close_clients(struct service *svc)
{
    struct service_private *p = svc->p;
    if (!p->server_closed || !p->service_closed || p->clients_closing) {
        return;
    }
    p->clients_closing = true;
    p->open_clients++; /* keeps the count above 0 during the loop */
    for (int i = 0; i < PEER_COUNT; i++) {
        if (p->clients[i] != NULL) {
            rpc_client_close(p->clients[i], on_client_closed, svc);
        }
    }
    on_client_closed(svc);
}

void service_closed(struct service *svc)
{
    svc->p->service_closed = true;
    close_clients(svc);
}

static void on_server_closed(void *data)
{
    struct service *svc = data;
    struct service_private *p = svc->p;
    p->server = NULL;
    p->server_closed = true;
    if (p->def->close != NULL) {
        p->def->close(svc);
    } else {
        p->service_closed = true;
    }
    close_clients(svc);
}

static void on_closer(uv_timer_t *timer)
{
    struct service *svc = timer->data;
    struct service_private *p = svc->p;
    if (p->shut_done) {
        LOG_ERROR("closing took too long, exiting",
                  LOG_INT("limit_ms", CLOSE_HARD_MS + svc->grace_ms), LOG_END);
        _exit(3);
    }
    p->shut_done = true;
    (void)uv_timer_start(timer, on_closer, CLOSE_HARD_MS - CLOSE_SHUT_MS, 0);
    for (int i = 0; i < PEER_COUNT && !p->clients_closing; i++) {
        if (p->clients[i] != NULL) {
            rpc_client_shut(p->clients[i]);
        }
    }
}

static void begin_close(struct service *svc)
{
    struct service_private *p = svc->p;
    p->closing = true;
    (void)uv_timer_start(&p->closer, on_closer, (uint64_t)(CLOSE_SHUT_MS + svc->grace_ms), 0);
    rpc_server_close(p->server, on_server_closed, svc);
    for (int i = 0; i < 2; i++) {
        uv_unref((uv_handle_t *)&p->signals[i]); /* still heard, but the loop may end */
    }
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct service *svc = handle->data;
    if (svc->p->closing) {
        _exit(128 + signum);
    }
    LOG_INFO("closing", LOG_INT("signal", signum), LOG_END);
    begin_close(svc);
}

/* ---- the heartbeat */

/* From the loop, so that whatever keeps the loop from turning is heard as silence. A pipe that
 * nobody empties is full one day: nothing is lost by that. */
static void on_beat(uv_timer_t *timer)
{
    const struct service *svc = timer->data;
    ssize_t unused = write(svc->p->beat_fd, "", 1);
    (void)unused;
}

static enum status start_beating(struct service *svc, int fd, struct error *err)
{
    struct service_private *p = svc->p;
    (void)uv_timer_init(svc->loop, &p->beat);
    p->beat.data = svc;
    p->beat_fd = fd;
    if (fd < 0) {
        return STATUS_OK;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        return error_errno(err, errno, "--beat-fd %d", fd);
    }
    (void)uv_timer_start(&p->beat, on_beat, 0, BEAT_MS);
    uv_unref((uv_handle_t *)&p->beat);
    return STATUS_OK;
}

/* ---- the start */

static enum status configure(struct service *svc, const struct arguments *a, struct error *err)
{
    struct service_private *p = svc->p;
    enum log_level level;
    (void)umask(077);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || setenv("UV_THREADPOOL_SIZE", "4", 1) != 0) {
        return error_errno(err, errno, "starting");
    }
    if (chdir(svc->home) != 0) {
        return error_errno(err, errno, "%s", svc->home);
    }
    enum status s = settings_load(svc->home, &p->arena, &p->settings, err);
    if (s != STATUS_OK) {
        return s;
    }
    svc->settings = &p->settings;
    const char *name = a->log_level != NULL ? a->log_level : p->settings.log_level;
    if (!log_level_parse(name, &level)) {
        return error_set(err, STATUS_INVALID,
                         "log level \"%s\": expected debug, info, warn or error", name);
    }
    log_init(peer_name(p->def->self), level);
    return service_tls(&p->settings, p->def->self, &p->tls, err);
}

static enum status start_server(struct service *svc, struct error *err)
{
    struct service_private *p = svc->p;
    const struct service_definition *def = p->def;
    p->handlers = calloc(def->n_handlers + 1, sizeof *p->handlers);
    if (p->handlers == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "starting: out of memory");
    }
    if (def->n_handlers > 0) {
        memcpy(p->handlers, def->handlers, def->n_handlers * sizeof *p->handlers);
    }
    p->handlers[def->n_handlers] =
        (struct rpc_handler){.method = &rpc_health_method, .on_request = health_on_request};
    enum status s = rpc_server_new(svc->loop, &svc->identity, p->handlers, def->n_handlers + 1,
                                   NULL, svc, &p->server, err);
    if (s == STATUS_OK) {
        rpc_server_tls(p->server, p->tls);
    }
    return s;
}

static enum status start_listening(struct service *svc, struct error *err)
{
    char address[1200];
    char folder[1100];
    (void)snprintf(folder, sizeof folder, "%s/run", svc->home);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return error_errno(err, errno, "%s", folder);
    }
    service_address(svc->settings, svc->home, svc->p->def->self, address, sizeof address);
    enum status s = rpc_server_listen(svc->p->server, address, err);
    if (s == STATUS_OK) {
        LOG_INFO("ready", LOG_STR("address", address), LOG_END);
    }
    return s;
}

static enum status start(struct service *svc, int beat_fd, struct error *err)
{
    static const int signums[2] = {SIGTERM, SIGINT};
    struct service_private *p = svc->p;
    for (int i = 0; i < 2; i++) {
        (void)uv_signal_init(svc->loop, &p->signals[i]);
        p->signals[i].data = svc;
        int rc = uv_signal_start(&p->signals[i], on_signal, signums[i]);
        if (rc != 0) {
            return error_set(err, STATUS_INTERNAL, "signals: %s", uv_strerror(rc));
        }
    }
    (void)uv_timer_init(svc->loop, &p->closer);
    p->closer.data = svc;
    enum status s = start_beating(svc, beat_fd, err);
    if (s == STATUS_OK) {
        s = start_server(svc, err);
    }
    if (s == STATUS_OK) {
        s = p->def->open(svc, err);
    }
    if (s == STATUS_OK) {
        s = start_listening(svc, err);
    }
    return s;
}

static void run(struct service *svc)
{
    struct service_private *p = svc->p;
    (void)uv_run(svc->loop, UV_RUN_DEFAULT);
    for (int i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&p->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&p->closer, NULL);
    uv_close((uv_handle_t *)&p->beat, NULL);
    (void)uv_run(svc->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(svc->loop);
}

static void forget(struct service_private *p)
{
    tls_context_free(p->tls);
    metrics_free(p->metrics);
    free(p->handlers);
    arena_reset(&p->arena);
    free(p);
}

static int failed(const struct error *err)
{
    LOG_ERROR("cannot start", LOG_STR("status", status_name(err->code)), LOG_STR("err", err->text),
              LOG_END);
    return 1;
}

int service_main(int argc, char **argv, const struct service_definition *def)
{
    pid_t parent = getppid();
    struct arguments a;
    struct error err;
    struct service svc = {0};
    log_init(peer_name(def->self), LOG_LEVEL_INFO);
    if (!parse_arguments(argc, argv, &a)) {
        usage(argv[0]);
        return 2;
    }
    struct service_private *p = calloc(1, sizeof *p);
    char *home = NULL;
    int code = 1;
    if (p == NULL) {
        return 1;
    }
    svc.p = p;
    p->def = def;
    p->up_since_wall_ms = clock_wall_ms();
    p->metrics = metrics_new();
    arena_init(&p->arena, SETTINGS_MEMORY_MAX);
    if (p->metrics == NULL || take_place(&a, def->self, parent, &svc.identity, &err) != STATUS_OK) {
        code = p->metrics == NULL ? 1 : failed(&err);
        goto out;
    }
    home = realpath(a.home, NULL);
    if (home == NULL) {
        error_errno(&err, errno, "%s", a.home);
        code = failed(&err);
        goto out;
    }
    svc.home = home;
    if (configure(&svc, &a, &err) != STATUS_OK) {
        code = failed(&err);
        goto out;
    }
    if (uv_loop_init(&p->loop) != 0) {
        goto out;
    }
    svc.loop = &p->loop;
    if (start(&svc, a.beat_fd, &err) != STATUS_OK) {
        /* Half open: what was begun is the kernel's to clear away. */
        (void)failed(&err);
        _exit(1);
    }
    run(&svc);
    LOG_INFO("closed", LOG_END);
    code = 0;
out:
    sodium_memzero(&svc.identity, sizeof svc.identity);
    free(home);
    forget(p);
    return code;
}
