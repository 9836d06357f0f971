/* Start and end of serve. */
#include "serve/service.h"

#include "serve/jobs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/sandbox/sandbox.h"
#include "base/settings/places.h"
#include "base/tls/tls.h"
#include "serve/audit/signer.h"
#include "serve/conversations_sweep.h"
#include "serve/ldap_ways.h"
#include "serve/oidc.h"
#include "serve/store_sweep.h"

#define ADMIN_QUEUED_MAX 64
#define FILES_LANES 2
#define FILES_QUEUED_MAX 512 /* a connection has one job at a time */
#define PASSWORDS_AT_ONCE 2
#define PASSWORDS_QUEUED_MAX 32

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static enum status open_tls(struct serve *s, struct error *err)
{
    const struct settings *set = s->settings;
    bool certificate = set->http.tls_certificate[0] != '\0';
    bool key = set->http.tls_key[0] != '\0';
    if (certificate != key) {
        return error_set(
            err, STATUS_INVALID,
            "http.tls_certificate and http.tls_key belong together: one of them is missing");
    }
    if (certificate) {
        struct tls_files files = {.certificate = set->http.tls_certificate,
                                  .key = set->http.tls_key};
        return tls_context_new(&files, &s->tls, err);
    }
    if (!s->loopback && !set->http.allow_plain_http_beyond_localhost) {
        return error_set(
            err, STATUS_FORBIDDEN,
            "http.listen: %s can be reached by other machines, and without TLS keys and documents "
            "would cross the network readable: set http.tls_certificate and http.tls_key, or "
            "http.allow_plain_http_beyond_localhost: true behind a proxy that speaks TLS",
            set->http.listen);
    }
    return STATUS_OK;
}

/* CARREL_PORT, set by the supervisor from --port, wins over http.port. */
static enum status wanted_port(const struct settings *set, int *out, struct error *err)
{
    const char *env = getenv("CARREL_PORT");
    *out = (int)set->http.port;
    if (env != NULL && env[0] != '\0') {
        char *end;
        long n = strtol(env, &end, 10);
        if (*end != '\0' || n < 0 || n > 65535) {
            return error_set(err, STATUS_INVALID,
                             "CARREL_PORT=%s: must be a number from 0 to 65535", env);
        }
        *out = (int)n;
    }
    return STATUS_OK;
}

static void load_page(struct serve *s)
{
    const char *dir = getenv("CARREL_WEB");
    struct error err;
    if (dir == NULL || dir[0] == '\0') {
        LOG_WARN("the web page has not been built: only the API is served", LOG_END);
    } else if (static_load(dir, &s->page, &err) != STATUS_OK) {
        LOG_WARN("the web page cannot be served", LOG_STR("err", err.text), LOG_END);
    }
}

_Static_assert(SETTINGS_PROXIES_MAX <= FORWARDED_PROXIES_MAX, "all that may be named fit");

static void read_proxies(struct serve *s)
{
    const struct string_list *l = &s->settings->http.trusted_proxies;
    for (size_t i = 0; i < l->n && i < FORWARDED_PROXIES_MAX; i++) { /* checked by the settings */
        s->proxies.n += address_range_read(str_from(l->items[i]), &s->proxies.ranges[s->proxies.n]);
    }
}

static bool many_behind(const char *peer, void *serve)
{
    const struct serve *s = serve;
    return forwarded_trusts(&s->proxies, peer);
}

static enum status open_http(struct serve *s, struct error *err)
{
    const struct settings *set = s->settings;
    struct http_limits limits = {
        .max_head_bytes = (size_t)set->http.max_header_bytes,
        .max_body_bytes = (size_t)set->http.max_body_bytes,
        .header_timeout_ms = set->http.header_timeout_ms,
        .idle_timeout_ms = set->http.idle_timeout_ms,
        .body_rate = (uint64_t)set->http.body_rate,
        .body_grace_ms = set->http.body_grace_ms,
        .request_timeout_ms = set->http.request_timeout_ms,
        .compress_above = (size_t)set->http.compress_above,
        .max_connections = (size_t)set->http.max_connections,
        .max_connections_per_address = (size_t)set->http.max_connections_per_address,
        .max_requests_in_flight = (size_t)set->http.max_requests_in_flight,
        .max_requests_in_flight_per_address = (size_t)set->http.max_requests_in_flight_per_address,
        .shutdown_grace_ms = set->http.shutdown_grace_ms,
    };
    struct http_callbacks cb = {serve_on_request, serve_on_done, s, many_behind};
    read_proxies(s);
    int port;
    enum status st = wanted_port(set, &port, err);
    if (st == STATUS_OK) {
        st = http_server_new(s->svc->loop, &limits, &cb, &s->http, err);
    }
    if (st == STATUS_OK) {
        http_server_tls(s->http, s->tls);
        st = http_server_listen(s->http, set->http.listen, port, &s->port, err);
    }
    return st;
}

/* The supervisor, and whoever else wants to know, reads the port that was picked. */
static enum status write_port(const struct serve *s, struct error *err)
{
    char path[PATH_MAX];
    char text[16];
    enum status st = file_join(path, sizeof path, s->svc->home, "run", err);
    if (st == STATUS_OK) {
        st = file_mkdirs(path, 0700, err);
    }
    if (st == STATUS_OK) {
        st = file_join(path, sizeof path, s->svc->home, "run/serve.port", err);
    }
    int n = snprintf(text, sizeof text, "%d\n", s->port);
    return st == STATUS_OK ? file_write_atomic(path, text, (size_t)n, 0644, err) : st;
}

static unsigned cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static void free_serve(struct serve *s)
{
    ldap_ways_free(s->ldap);
    auth_close(s->auth);
    static_free(s->page);
    buf_deinit(&s->openapi);
    tls_context_free(s->tls);
    free(s);
}

/* The key that signs the audit is out of reach from here on. Before the first thread. */
static enum status open_audit(struct serve *s, struct error *err)
{
    char folder[PATH_MAX];
    struct error why;
    const char *fd = getenv("CARREL_SIGNER_FD");
    static const char *const needed[] = {"run", "system",
                                         "tenants"}; /* no way to make them later */
    enum status st = fd == NULL
                         ? error_set(err, STATUS_INTERNAL, "the audit's signer was not started")
                         : file_join(folder, sizeof folder, s->svc->home, SIGNER_FOLDER, err);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0] && st == STATUS_OK; i++) {
        char path[PATH_MAX];
        st = file_join(path, sizeof path, s->svc->home, needed[i], err);
        if (st == STATUS_OK) {
            st = file_mkdirs(path, 0700, err);
        }
    }
    if (st == STATUS_OK && sandbox_hide(folder, &why) != STATUS_OK) {
        LOG_WARN("the audit's key is protected by its owner and mode only",
                 LOG_STR("err", why.text), LOG_END);
    }
    return st == STATUS_OK ? audit_open(s->svc->loop, s->svc->home, s->settings,
                                        (int)strtol(fd, NULL, 10), &s->audit, err)
                           : st;
}

static enum status serve_open(struct service *svc, struct error *err)
{
    struct serve *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    s->svc = svc;
    s->settings = svc->settings;
    svc->grace_ms = svc->settings->http.shutdown_grace_ms;
    s->loopback = is_loopback(svc->settings->http.listen);
    s->health_ms = INT64_MIN / 2;
    list_init(&s->writes);
    lane_init(&s->admin, svc->loop, 1, ADMIN_QUEUED_MAX);
    lane_init(&s->files, svc->loop, FILES_LANES, FILES_QUEUED_MAX);
    lane_init(&s->passwords, svc->loop, PASSWORDS_AT_ONCE, PASSWORDS_QUEUED_MAX);
    struct auth_options o = {svc->home, svc->settings->http.session_hours};
    enum status st = open_tls(s, err);
    if (st == STATUS_OK) {
        st = auth_open(&o, &s->auth, err);
    }
    if (st == STATUS_OK) { /* before there are threads */
        st = open_audit(s, err);
    }
    if (st == STATUS_OK) {
        st = refused_open(svc->loop, s->audit, svc->settings->audit.refusals_ms, &s->refused, err);
    }
    if (st == STATUS_OK) {
        st = answers_open(svc->loop, svc->home, &s->answers, err);
    }
    if (st == STATUS_OK) {
        st = conversations_sweep_start(svc->loop, svc->home, s->answers,
                                       svc->settings->conversations.keep_days, &s->sweep, err);
    }
    if (st == STATUS_OK) {
        st = outbound_new(svc->loop, svc->settings, &s->outbound, err);
    }
    if (st == STATUS_OK) {
        st = webhooks_open(svc, s->answers, s->outbound, serve_webhook_may, s, &s->webhooks, err);
    }
    if (st == STATUS_OK) {
        struct fair_options fo = {.loop = svc->loop,
                                  .settings = svc->settings,
                                  .home = svc->home,
                                  .answers = s->answers,
                                  .auth = s->auth};
        st = fair_open(&fo, &s->fair, err);
    }
    if (st == STATUS_OK) {
        st = jobs_new(s, &s->jobs, err);
    }
    if (st == STATUS_OK) {
        st = storage_start(svc, s->auth, s->answers, s->fair, &s->storage, err);
    }
    if (st == STATUS_OK) {
        st = store_sweep_start(svc, s->auth, s->answers, s->audit, &s->stores, err);
    }
    if (st == STATUS_OK) {
        st = worked_start(svc, s->auth, s->answers, s->fair, &s->worked, err);
    }
    if (st == STATUS_OK) {
        st = share_open(svc->loop, cores(), &s->share, err);
    }
    if (st == STATUS_OK) {
        load_page(s);
        st = open_http(s, err);
    }
    if (st == STATUS_OK) {
        /* cookies know hosts, not ports: appliances side by side must not share one */
        (void)snprintf(s->cookie, sizeof s->cookie, "carrel_%d", s->port);
        st = oidc_new(s->settings, s->outbound, s->port, &s->oidc, err);
    }
    if (st == STATUS_OK) {
        st = ldap_ways_new(svc->loop, s->settings, outbound_socket(s->outbound), &s->ldap, err);
    }
    if (st == STATUS_OK) {
        st = write_port(s, err);
    }
    if (st != STATUS_OK) {
        if (s->http == NULL &&
            s->outbound ==
                NULL) { /* otherwise the process ends with its handles: the loop never runs again */
            free_serve(s);
        }
        return st;
    }
    svc->state = s;
    LOG_INFO("serving", LOG_STR("address", svc->settings->http.listen), LOG_INT("port", s->port),
             LOG_STR("tls", s->tls != NULL ? "yes" : "no"), LOG_END);
    return STATUS_OK;
}

static void serve_health(struct service *svc, struct service_health *out)
{
    const struct serve *s = svc->state;
    struct http_stats st;
    if (s == NULL || s->http == NULL) {
        return;
    }
    http_server_stats(s->http, &st);
    out->queue = (uint32_t)st.requests_in_flight;
    (void)snprintf(out->detail, sizeof out->detail, "port %d, %zu connections%s", s->port,
                   st.connections, s->page == NULL ? ", no web page" : "");
    if (out->metrics != NULL) {
        serve_metrics(s, out->metrics);
    }
}

/* http first (its requests may still write answers' records), then what was asked outside, what
 * requests used, the records, and the rest */
static void on_answers_closed(void *data)
{
    struct serve *s = data;
    struct service *svc = s->svc;
    svc->state = NULL;
    free_serve(s);
    service_closed(svc);
}

static void on_audit_closed(void *data)
{
    struct serve *s = data;
    answers_close(s->answers, on_answers_closed, s);
}

static void on_refused_closed(void *data)
{
    struct serve *s = data;
    audit_close(s->audit, on_audit_closed, s);
}

static void on_fair_closed(void *data)
{
    struct serve *s = data;
    struct refused *refused = s->refused;
    s->fair = NULL;
    s->refused = NULL;
    refused_close(refused, on_refused_closed, s);
}

static void on_worked_stopped(void *data)
{
    struct serve *s = data;
    s->worked = NULL;
    fair_close(s->fair, on_fair_closed, s);
}

static void on_storage_stopped(void *data)
{
    struct serve *s = data;
    s->storage = NULL;
    worked_stop(s->worked, on_worked_stopped, s);
}

static void on_stores_stopped(void *data)
{
    struct serve *s = data;
    s->stores = NULL;
    storage_stop(s->storage, on_storage_stopped, s);
}

void serve_admin_done(struct serve *s)
{
    if (s->http == NULL && s->outbound == NULL && s->jobs == NULL && lane_idle(&s->admin) &&
        lane_idle(&s->passwords) && lane_idle(&s->files) && ldap_ways_idle(s->ldap)) {
        store_sweep_stop(s->stores, on_stores_stopped, s);
    }
}

static void on_outbound_closed(void *data)
{
    struct serve *s = data;
    s->outbound = NULL;
    serve_admin_done(s);
}

static void on_webhooks_closed(void *data)
{
    struct serve *s = data;
    s->webhooks = NULL;
    outbound_close(s->outbound, on_outbound_closed, s);
}

static void on_share_closed(void *data)
{
    struct serve *s = data;
    webhooks_close(s->webhooks, on_webhooks_closed, s);
}

/* Requests and jobs search; when there are neither, nobody waits for a turn. */
static void none_asks(struct serve *s)
{
    if (s->http == NULL && s->jobs == NULL) {
        share_close(s->share, on_share_closed, s);
    }
}

static void on_http_closed(void *data)
{
    struct serve *s = data;
    s->http = NULL;
    oidc_free(s->oidc);
    s->oidc = NULL;
    none_asks(s);
}

static void on_jobs_closed(void *data)
{
    struct serve *s = data;
    s->jobs = NULL;
    none_asks(s);
}

static void serve_close(struct service *svc)
{
    struct serve *s = svc->state;
    jobs_close(s->jobs, on_jobs_closed, s);
    conversations_sweep_stop(s->sweep);
    http_server_close(s->http, on_http_closed, s);
}

const struct service_definition serve_definition = {
    .self = PEER_SERVE,
    .handlers = serve_handlers,
    .n_handlers = SERVE_HANDLERS,
    .open = serve_open,
    .health = serve_health,
    .close = serve_close,
};
