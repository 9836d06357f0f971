/* The order of events: supervisor_run opens everything and starts all services at once (each waits
 * for those it needs by reconnecting); supervisor_child_changed announces when all have answered;
 * supervisor_stop ends them in reverse order; begin_close waits for their last lines; then every
 * handle closes and the loop ends. */
#include "cli/supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/settings/places.h"
#include "base/tls/tls.h"
#include "cli/heartbeat.h"
#include "cli/term.h"

#define LAST_LINES_MS 500
#define PORT_TRIES_MS 10

static void run_path(const struct supervisor *s, const char *name, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s/run/%s", s->config->home, name); /* home is at most 900 bytes */
}

void supervisor_say(struct supervisor *s, const char *fmt, ...)
{
    struct buf out;
    va_list ap;

    buf_init(&out, 4096);
    buf_z(&out, s->colour ? "\x1b[1msupervisor  |\x1b[0m " : "supervisor  | ");
    va_start(ap, fmt);
    buf_vprintf(&out, fmt, ap);
    va_end(ap);
    buf_char(&out, '\n');
    if (buf_status(&out) == STATUS_OK) {
        (void)sink_write(&s->sink, buf_view(&out));
    }
    buf_deinit(&out);
}

/* ---- ready ---- */

static bool read_port(const struct supervisor *s, int *port)
{
    char path[1024];
    char text[16] = "";

    run_path(s, "serve.port", path, sizeof(path));
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    bool got = fgets(text, sizeof(text), f) != NULL;
    (void)fclose(f);
    char *end = NULL;
    long n = got ? strtol(text, &end, 10) : 0;
    if (!got || end == text || n <= 0 || n > 65535) {
        return false;
    }
    *port = (int)n;
    return true;
}

static void make_url(struct supervisor *s, int port)
{
    const struct settings *cfg = s->config->settings;
    const char *host = cfg->http.listen;
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    bool v6 = !any && strchr(host, ':') != NULL;

    (void)snprintf(s->url, sizeof(s->url), "%s://%s%.200s%s:%d",
                   cfg->http.tls_certificate[0] == '\0' ? "http" : "https", v6 ? "[" : "",
                   any ? "127.0.0.1" : host, v6 ? "]" : "", port);
}

static enum status write_ready(struct supervisor *s, const char *key_file, struct error *err)
{
    char path[1024];
    json_t *o = json_pack("{s:s, s:s, s:s, s:i}", "url", s->url, "watch", s->config->watch,
                          "key_file", key_file, "pid", (int)getpid());
    char *text = o == NULL ? NULL : json_dumps(o, JSON_INDENT(2));
    enum status st;

    run_path(s, "ready.json", path, sizeof(path));
    st = text == NULL ? error_set(err, STATUS_INVALID, "%s: a name in it is not UTF-8", path)
                      : file_write_atomic(path, text, strlen(text), 0644, err);
    free(text);
    json_decref(o);
    return st;
}

static void print_key(const struct supervisor *s, const char *key_file)
{
    struct buf key;

    if (!s->config->show_key) {
        (void)printf("  key       in %s\n", key_file);
        return;
    }
    buf_init(&key, 4096);
    if (file_read(key_file, &key, NULL) == STATUS_OK && key.len > 0) {
        while (key.len > 0 && (key.ptr[key.len - 1] == '\n' || key.ptr[key.len - 1] == ' ')) {
            key.len--;
        }
        (void)printf("  key       %.*s\n            (shown this once; it lies in %s)\n",
                     (int)key.len, key.ptr, key_file);
    } else {
        (void)printf("  key       in %s\n", key_file);
    }
    if (key.ptr != NULL) {
        explicit_bzero(key.ptr, key.cap);
    }
    buf_deinit(&key);
}

static void announce(struct supervisor *s, const char *key_file)
{
    const struct settings *cfg = s->config->settings;
    const char *bold = s->colour ? "\x1b[1m" : "";
    const char *plain = s->colour ? "\x1b[0m" : "";
    bool upstream =
        cfg->generate.upstream.url[0] != '\0' && strcmp(cfg->generate.engine, "extractive") != 0;

    (void)printf("\n%sCarrel is ready%s (after %.1f s)\n\n", bold, plain,
                 (double)(clock_monotonic_ms() - s->started_ms) / 1000.0);
    (void)printf("  web       %s%s/%s\n", bold, s->url, plain);
    (void)printf("  folder    %s%s%s   put documents here\n", bold, s->config->watch, plain);
    print_key(s, key_file);
    if (cfg->generate.model[0] != '\0' && strcmp(cfg->generate.engine, "extractive") != 0) {
        (void)printf("  answers   by the model %s on this machine, as soon as it is loaded; until "
                     "then, and where\n            nothing is found, quoted from the documents "
                     "(carrel status)\n",
                     cfg->generate.model);
    } else if (upstream) {
        (void)printf("  answers   by %s at %s where policy lets the passages go (%zu %s),\n"
                     "            otherwise quoted from the documents\n",
                     cfg->generate.upstream.model, cfg->generate.upstream.url,
                     cfg->generate.upstream.may_receive.n,
                     term_word(cfg->generate.upstream.may_receive.n, "label", "labels"));
    } else {
        (void)printf("  answers   quoted from the documents, word for word (no model is there; "
                     "nothing leaves "
                     "this machine)\n");
    }
    (void)printf("\nCtrl-C stops it.\n\n");
    (void)fflush(stdout);
}

static void on_finish_timer(uv_timer_t *t);

static void announce_when_ready(struct supervisor *s)
{
    char key_file[1024];
    struct error err = {0};
    int port = 0;

    for (size_t i = 0; i < s->n_order; i++) {
        if (s->children[s->order[i]].state != CHILD_READY) {
            return;
        }
    }
    if (!read_port(s, &port)) { /* serve answers but has not written its port yet */
        (void)uv_timer_start(&s->finish_timer, on_finish_timer, PORT_TRIES_MS, 0);
        return;
    }
    s->port = port;
    make_url(s, port);
    (void)snprintf(key_file, sizeof(key_file), "%s/admin.key", s->config->home);
    s->announced = true;
    announce(s, key_file);
    if (write_ready(s, key_file, &err) != STATUS_OK) {
        supervisor_say(s, "run/ready.json could not be written: %s", err.text);
    }
}

/* ---- stop ---- */

static void remove_traces(const struct supervisor *s)
{
    static const char *const names[] = {"ready.json", "serve.port"};
    char path[1024];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        run_path(s, names[i], path, sizeof(path));
        (void)unlink(path);
    }
}

static void close_signal(uv_signal_t *h)
{
    uv_close((uv_handle_t *)h, NULL);
}

static void close_handles(struct supervisor *s)
{
    if (s->handles_closing) {
        return;
    }
    s->handles_closing = true;
    for (size_t i = 0; i < s->n_order; i++) {
        child_close(&s->children[s->order[i]]);
    }
    close_signal(&s->sigchld);
    close_signal(&s->sigint);
    close_signal(&s->sigterm);
    close_signal(&s->sighup);
    uv_close((uv_handle_t *)&s->drained, NULL);
    uv_close((uv_handle_t *)&s->finish_timer, NULL);
    uv_close((uv_handle_t *)&s->beats_timer, NULL);
    if (s->control != NULL) {
        rpc_server_close(s->control, NULL, NULL);
        s->control = NULL;
    }
}

void supervisor_closed_one(struct supervisor *s)
{
    if (s->closing && s->forwards == NULL) {
        close_handles(s);
    }
}

static void on_finish_timer(uv_timer_t *t)
{
    struct supervisor *s = container_of(t, struct supervisor, finish_timer);

    if (s->closing) {
        forward_close_all(s);
        supervisor_closed_one(s);
    } else if (!s->announced && !s->stopping) {
        announce_when_ready(s);
    }
}

static void stop_next(struct supervisor *s)
{
    for (size_t i = s->n_order; i > 0; i--) {
        struct child *c = &s->children[s->order[i - 1]];
        if (c->state != CHILD_STOPPING && c->state != CHILD_STOPPED && c->state != CHILD_FAILED) {
            child_stop(c);
        }
        if (c->state == CHILD_STOPPING) {
            return;
        }
    }
    if (!s->closing) {
        s->closing = true;
        (void)uv_timer_start(&s->finish_timer, on_finish_timer, LAST_LINES_MS, 0);
        supervisor_closed_one(s);
    }
}

void supervisor_child_changed(struct supervisor *s)
{
    if (s->stopping) {
        stop_next(s);
    } else if (!s->announced) {
        announce_when_ready(s);
    }
}

void supervisor_stop(struct supervisor *s)
{
    if (s->stopping) {
        return;
    }
    s->stopping = true;
    remove_traces(s);
    supervisor_say(s, "stopping");
    stop_next(s);
}

static void on_stop_signal(uv_signal_t *h, int signum)
{
    struct supervisor *s = h->data;

    if (!s->stopping) {
        supervisor_stop(s);
    } else if (signum == SIGINT) {
        supervisor_say(s, "asked twice: every service is killed now (nothing is lost by it)");
        for (size_t i = 0; i < s->n_order; i++) {
            child_kill(&s->children[s->order[i]]);
        }
    }
}

static void on_child_signal(uv_signal_t *h, int signum)
{
    struct supervisor *s = h->data;
    int wstatus = 0;

    (void)signum;
    for (size_t i = 0; i < s->n_order; i++) {
        struct child *c = &s->children[s->order[i]];
        if (c->pid > 0 && waitpid(c->pid, &wstatus, WNOHANG) == c->pid) {
            child_exited(c, wstatus);
        }
    }
}

static void on_drained(uv_async_t *h)
{
    forward_resume_all(container_of(h, struct supervisor, drained));
}

static void tell_drained(void *data)
{
    struct supervisor *s = data;

    (void)uv_async_send(&s->drained);
}

/* ---- start ---- */

static enum status open_tls(struct supervisor *s, struct error *err)
{
    const struct settings *cfg = s->config->settings;
    char certificate[1200];
    char key[1200];
    struct stat st;

    if (strcmp(cfg->rpc.transport, "tls") != 0) {
        return STATUS_OK;
    }
    bool folder = stat(cfg->rpc.tls_certificate, &st) == 0 && S_ISDIR(st.st_mode);
    (void)snprintf(certificate, sizeof(certificate), "%.1000s%s", cfg->rpc.tls_certificate,
                   folder ? "/supervisor.crt" : "");
    (void)snprintf(key, sizeof(key), "%.1000s%s",
                   folder ? cfg->rpc.tls_certificate : cfg->rpc.tls_key,
                   folder ? "/supervisor.key" : "");
    const struct tls_files files = {.certificate = certificate, .key = key, .ca = cfg->rpc.tls_ca};
    return tls_context_new(&files, &s->tls, err);
}

static enum status write_cli_identity(struct supervisor *s, struct error *err)
{
    uint8_t record[IDENTITY_RECORD_BYTES];
    char path[1024];

    run_path(s, "cli.identity", path, sizeof(path));
    identity_encode(&s->identities[PEER_CLI], record);
    enum status st = file_write_atomic(path, record, sizeof(record), 0600, err);
    explicit_bzero(record, sizeof(record));
    return st;
}

static int open_signal(struct supervisor *s, uv_signal_t *h, uv_signal_cb cb, int signum)
{
    int rc = uv_signal_init(s->loop, h);

    h->data = s;
    return rc != 0 ? rc : uv_signal_start(h, cb, signum);
}

/* These cannot fail but for want of memory or descriptors at the very start; then there is nothing
 * to tidy. */
static enum status open_handles(struct supervisor *s, struct error *err)
{
    int rc = open_signal(s, &s->sigchld, on_child_signal, SIGCHLD);

    rc = rc != 0 ? rc : open_signal(s, &s->sigint, on_stop_signal, SIGINT);
    rc = rc != 0 ? rc : open_signal(s, &s->sigterm, on_stop_signal, SIGTERM);
    rc = rc != 0 ? rc : open_signal(s, &s->sighup, on_stop_signal, SIGHUP);
    rc = rc != 0 ? rc : uv_async_init(s->loop, &s->drained, on_drained);
    rc = rc != 0 ? rc : uv_timer_init(s->loop, &s->finish_timer);
    rc = rc != 0 ? rc : heartbeat_watch(s);
    return rc == 0 ? STATUS_OK : error_set(err, STATUS_INTERNAL, "starting: %s", uv_strerror(rc));
}

static void choose_order(struct supervisor *s)
{
    static const enum peer needed[] = {PEER_VECTORSTORE, PEER_EMBED,  PEER_RETRIEVE,
                                       PEER_GENERATE,    PEER_INGEST, PEER_SERVE};

    if (settings_reach_outside(s->config->settings)) {
        s->order[s->n_order++] = PEER_EGRESS;
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        s->order[s->n_order++] = needed[i];
    }
}

static enum status open_all(struct supervisor *s, struct error *err)
{
    enum status st = open_tls(s, err);

    if (st == STATUS_OK) {
        st = write_cli_identity(s, err);
    }
    choose_order(s);
    for (size_t i = 0; i < s->n_order && st == STATUS_OK; i++) {
        st = child_init(&s->children[s->order[i]], s, s->order[i], err);
    }
    if (st == STATUS_OK) {
        st = control_open(s, err);
    }
    return st;
}

enum status supervisor_run(const struct supervisor_config *config, struct error *err)
{
    struct supervisor *s = calloc(1, sizeof(*s));
    uv_loop_t loop;
    enum status st;

    if (s == NULL || uv_loop_init(&loop) != 0) {
        free(s);
        return error_set(err, STATUS_NO_MEMORY, "starting: out of memory");
    }
    s->loop = &loop;
    s->config = config;
    s->port = config->port;
    s->started_ms = clock_monotonic_ms();
    s->started_wall_ms = clock_wall_ms();
    s->colour = term_colour(stderr);
    identity_make(s->identities);
    remove_traces(s);
    st = open_handles(s, err);
    if (st == STATUS_OK) {
        st = sink_open(&s->sink, STDERR_FILENO, tell_drained, s, err);
    }
    if (st != STATUS_OK) {
        free(s); /* the loop and its handles end with the process */
        return st;
    }
    st = open_all(s, err);
    if (st == STATUS_OK) {
        for (size_t i = 0; i < s->n_order; i++) {
            child_start(&s->children[s->order[i]]);
        }
    } else {
        s->stopping = s->closing = true;
        close_handles(s);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    remove_traces(s);
    tls_context_free(s->tls);
    explicit_bzero(s->identities, sizeof(s->identities));
    if (sink_close(&s->sink, 3000)) {
        free(s); /* otherwise its thread still looks at it, and ends with the process */
    }
    return st;
}
