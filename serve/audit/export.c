/* Records and heads as messages of RFC 5424, octet-counted over TLS (RFC 5425) or as datagrams to a
 * local socket. A thread of its own dials, sends and waits; what it cannot send waits in a queue of
 * QUEUE_MAX bytes. When that is full the oldest go, and a message says how many. */
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/audit/record.h"
#include "base/clock.h"
#include "base/destination.h"
#include "base/door.h"
#include "base/file.h"
#include "base/log.h"
#include "base/settings/places.h"
#include "serve/audit/internal.h"

#define QUEUE_MAX ((size_t)32 << 20)
#define MESSAGE_MAX ((size_t)12 * 1024)
#define TIMEOUT_MS 10000
#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 30000
#define CLOSE_MS 2000
#define FACILITY_NOTICE (13 * 8 + 5) /* log audit, notice */
#define FACILITY_WARNING (13 * 8 + 4)

struct audit_export {
    /* set at the start */
    bool local; /* datagrams to a Unix socket */
    char socket[4096], host[256], ca[4096], name[128];
    uint16_t port;
    /* shared */
    uv_mutex_t mutex;
    uv_cond_t more;
    struct buf queue; /* octet-counted messages */
    uint64_t lost, sent;
    bool closing;
    char error[256];
    /* the thread's */
    uv_thread_t thread;
    int fd;
    SSL_CTX *tls_context;
    SSL *tls;
    /* the end */
    uv_async_t ended;
    void (*on_closed)(void *data);
    void *closed_data;
};

/* ---- messages (RFC 5424, section 6) ---- */

static void stamp(int64_t ms, char out[40])
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    size_t n = gmtime_r(&t, &tm) == NULL ? 0 : strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + n, 40 - n, ".%03dZ", (int)(ms % 1000));
}

static void message(const struct audit_export *e, int priority, int64_t at, const char *id,
                    const char *tenant, struct str text, struct buf *out)
{
    struct buf b;
    char when[40];
    stamp(at, when);
    buf_init(&b, MESSAGE_MAX);
    buf_printf(&b, "<%d>1 %s %s carrel - %s [carrel@32473 tenant=\"%s\"] ", priority, when, e->name,
               id, tenant);
    buf_str(&b, text);
    if (buf_status(&b) == STATUS_OK) {
        buf_printf(out, "%zu ", b.len);
        buf_str(out, buf_view(&b));
    }
    buf_deinit(&b);
}

void audit_export_take(const struct audit_export *e, const char *tenant, struct str lines,
                       struct buf *out)
{
    while (e != NULL && lines.len > 0) {
        const char *end = memchr(lines.ptr, '\n', lines.len);
        struct str line = {lines.ptr, end == NULL ? lines.len : (size_t)(end - lines.ptr)};
        message(e, FACILITY_NOTICE, clock_wall_ms(), "record", tenant, line, out);
        size_t used = line.len + (end != NULL);
        lines = (struct str){lines.ptr + used, lines.len - used};
    }
}

void audit_export_head(const struct audit_export *e, struct str line, struct buf *out)
{
    line.len -= line.len > 0 && line.ptr[line.len - 1] == '\n';
    message(e, FACILITY_NOTICE, clock_wall_ms(), "head", "-", line, out);
}

/* The first message of the queue with its count; false: there is none. */
static bool first(const struct buf *b, size_t *whole, struct str *text)
{
    size_t n = 0, i = 0;
    for (; i < b->len && i < 8 && b->ptr[i] != ' '; i++) {
        n = n * 10 + (size_t)(b->ptr[i] - '0');
    }
    if (i == 0 || i >= b->len || i + 1 + n > b->len) {
        return false;
    }
    *whole = i + 1 + n;
    *text = (struct str){b->ptr + i + 1, n};
    return true;
}

void audit_export_put(struct audit_export *e, const struct buf *messages)
{
    size_t whole;
    struct str text;
    uv_mutex_lock(&e->mutex);
    while (e->queue.len + messages->len > QUEUE_MAX && first(&e->queue, &whole, &text)) {
        buf_consume(&e->queue, whole);
        if (e->lost++ == 0) {
            LOG_ERROR("the log server does not keep up: messages of the audit are lost", LOG_END);
        }
    }
    buf_append(&e->queue, messages->ptr, messages->len);
    if (buf_status(&e->queue) != STATUS_OK) {
        e->lost++;
        e->queue.failed = STATUS_OK;
    }
    uv_cond_signal(&e->more);
    uv_mutex_unlock(&e->mutex);
}

/* ---- the thread ---- */

static void hang_up(struct audit_export *e)
{
    if (e->tls != NULL) {
        SSL_free(e->tls);
        e->tls = NULL;
    }
    if (e->fd >= 0) {
        (void)close(e->fd);
        e->fd = -1;
    }
}

static enum status dial_local(struct audit_export *e, struct error *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (strlen(e->socket) >= sizeof un.sun_path) {
        return error_set(err, STATUS_TOO_LARGE, "%.100s: too long for a socket", e->socket);
    }
    memcpy(un.sun_path, e->socket, strlen(e->socket) + 1);
    e->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return e->fd >= 0 && connect(e->fd, (struct sockaddr *)&un, sizeof un) == 0
               ? STATUS_OK
               : error_errno(err, errno, "%s", e->socket);
}

static enum status dial_tls(struct audit_export *e, struct error *err)
{
    enum status s = door_dial(e->socket, e->host, e->port, TIMEOUT_MS, &e->fd, err);
    if (s != STATUS_OK) {
        return s;
    }
    e->tls = SSL_new(e->tls_context);
    if (e->tls == NULL || SSL_set_fd(e->tls, e->fd) != 1 || SSL_set1_host(e->tls, e->host) != 1 ||
        SSL_set_tlsext_host_name(e->tls, e->host) != 1) {
        return error_set(err, STATUS_NO_MEMORY, "TLS");
    }
    if (SSL_connect(e->tls) != 1) {
        long why = SSL_get_verify_result(e->tls);
        return error_set(err, STATUS_UNAVAILABLE, "%s: no TLS: %s", e->host,
                         why != X509_V_OK ? X509_verify_cert_error_string(why)
                                          : "the handshake failed");
    }
    return STATUS_OK;
}

static bool send_one(struct audit_export *e, struct str whole, struct str text)
{
    if (e->local) {
        return send(e->fd, text.ptr, text.len, MSG_NOSIGNAL) == (ssize_t)text.len ||
               errno == EMSGSIZE; /* it will never take this one */
    }
    return SSL_write(e->tls, whole.ptr, (int)whole.len) == (int)whole.len;
}

/* Waits until there is something, or the end; gives a copy of the first message. */
static bool next_message(struct audit_export *e, struct buf *copy, struct str *text)
{
    size_t whole;
    struct str view;
    buf_reset(copy);
    uv_mutex_lock(&e->mutex);
    while (e->queue.len == 0 && e->lost == 0 && !e->closing) {
        uv_cond_wait(&e->more, &e->mutex);
    }
    if (e->lost > 0) {
        char said[96];
        int n = snprintf(said, sizeof said, "%llu messages of the audit were lost",
                         (unsigned long long)e->lost);
        message(e, FACILITY_WARNING, clock_wall_ms(), "lost", "-", (struct str){said, (size_t)n},
                copy);
    } else if (first(&e->queue, &whole, &view)) {
        buf_append(copy, e->queue.ptr, whole);
    }
    uv_mutex_unlock(&e->mutex);
    return copy->len > 0 && first(copy, &whole, text);
}

static void sent(struct audit_export *e, size_t whole, bool told_lost, uint64_t lost)
{
    uv_mutex_lock(&e->mutex);
    if (told_lost) {
        e->lost -= lost;
    } else if (e->queue.len >= whole) {
        buf_consume(&e->queue, whole);
    }
    e->sent++;
    e->error[0] = '\0';
    uv_mutex_unlock(&e->mutex);
}

static bool rest(struct audit_export *e, int64_t ms, const struct error *err)
{
    uv_mutex_lock(&e->mutex);
    if (e->error[0] == '\0') {
        LOG_WARN("the audit does not reach the log server", LOG_STR("err", err->text), LOG_END);
    }
    (void)snprintf(e->error, sizeof e->error, "%s", err->text);
    if (!e->closing) {
        (void)uv_cond_timedwait(&e->more, &e->mutex, (uint64_t)ms * 1000000);
    }
    bool on = !e->closing;
    uv_mutex_unlock(&e->mutex);
    return on;
}

static void run(void *data)
{
    struct audit_export *e = data;
    struct buf copy;
    struct str text;
    int64_t retry_ms = RETRY_FIRST_MS;
    buf_init(&copy, MESSAGE_MAX + 64);
    for (bool on = true; on && next_message(e, &copy, &text);) {
        struct error err = {.code = STATUS_OK, .text = "the connection broke"};
        enum status s = e->fd >= 0 ? STATUS_OK : e->local ? dial_local(e, &err) : dial_tls(e, &err);
        uv_mutex_lock(&e->mutex);
        uint64_t lost = e->lost;
        uv_mutex_unlock(&e->mutex);
        bool about_loss = memmem(copy.ptr, copy.len, " lost [", 7) != NULL;
        if (s == STATUS_OK && send_one(e, buf_view(&copy), text)) {
            sent(e, copy.len, about_loss, lost);
            retry_ms = RETRY_FIRST_MS;
        } else {
            hang_up(e);
            on = rest(e, retry_ms, &err);
            retry_ms = retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : retry_ms * 2;
        }
    }
    buf_deinit(&copy);
    if (e->tls != NULL) {
        (void)SSL_shutdown(e->tls);
    }
    hang_up(e);
    (void)uv_async_send(&e->ended);
}

/* ---- start and end ---- */

static enum status open_tls(struct audit_export *e, const struct settings *set, struct error *err)
{
    e->tls_context = SSL_CTX_new(TLS_client_method());
    if (e->tls_context == NULL ||
        SSL_CTX_set_min_proto_version(e->tls_context, TLS1_2_VERSION) != 1) {
        return error_set(err, STATUS_NO_MEMORY, "TLS");
    }
    SSL_CTX_set_verify(e->tls_context, SSL_VERIFY_PEER, NULL);
    bool given = set->audit.syslog_ca[0] != '\0';
    int ok = given ? SSL_CTX_load_verify_locations(e->tls_context, set->audit.syslog_ca, NULL)
                   : SSL_CTX_set_default_verify_paths(e->tls_context);
    return ok == 1 ? STATUS_OK
                   : error_set(err, STATUS_INVALID, "audit.syslog_ca: %s cannot be read",
                               set->audit.syslog_ca);
}

static enum status read_address(struct audit_export *e, const char *home,
                                const struct settings *set, struct error *err)
{
    struct str to = str_from(set->audit.syslog);
    struct destination d;
    if (str_starts(to, STR("unix:"))) {
        e->local = true;
        return snprintf(e->socket, sizeof e->socket, "%s", to.ptr + 5) < (int)sizeof e->socket
                   ? STATUS_OK
                   : error_set(err, STATUS_TOO_LARGE, "audit.syslog: path too long");
    }
    enum status s = destination_of_url(to.ptr, &d, err);
    if (s != STATUS_OK || strcmp(d.scheme, "tls") != 0) {
        return error_set(err, STATUS_INVALID,
                         "audit.syslog: must be unix:/path or tls://host:port, not %.80s", to.ptr);
    }
    (void)snprintf(e->host, sizeof e->host, "%s", d.host);
    e->port = d.port;
    s = file_join(e->socket, sizeof e->socket, home, SERVE_SOCKET, err);
    return s == STATUS_OK ? open_tls(e, set, err) : s;
}

static void on_ended_closed(uv_handle_t *h)
{
    struct audit_export *e = h->data;
    void (*closed)(void *) = e->on_closed;
    void *data = e->closed_data;
    uv_mutex_destroy(&e->mutex);
    uv_cond_destroy(&e->more);
    buf_deinit(&e->queue);
    SSL_CTX_free(e->tls_context);
    free(e);
    closed(data);
}

static void on_ended(uv_async_t *h)
{
    struct audit_export *e = h->data;
    (void)uv_thread_join(&e->thread);
    uv_close((uv_handle_t *)h, on_ended_closed);
}

enum status audit_export_open(uv_loop_t *loop, const char *home, const struct settings *settings,
                              struct audit_export **out, struct error *err)
{
    *out = NULL;
    if (settings->audit.syslog[0] == '\0') {
        return STATUS_OK;
    }
    struct audit_export *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    e->fd = -1;
    buf_init(&e->queue, QUEUE_MAX + ((size_t)16 << 20));
    if (gethostname(e->name, sizeof e->name - 1) != 0 || e->name[0] == '\0') {
        (void)snprintf(e->name, sizeof e->name, "-");
    }
    enum status s = read_address(e, home, settings, err);
    if (s != STATUS_OK) {
        SSL_CTX_free(e->tls_context);
        free(e);
        return s;
    }
    (void)uv_mutex_init(&e->mutex);
    (void)uv_cond_init(&e->more);
    (void)uv_async_init(loop, &e->ended, on_ended);
    e->ended.data = e;
    if (uv_thread_create(&e->thread, run, e) != 0) {
        return error_set(err, STATUS_NO_MEMORY, "audit.syslog: no thread");
    }
    *out = e;
    return STATUS_OK;
}

void audit_export_close(struct audit_export *e, void (*on_closed)(void *data), void *data)
{
    if (e == NULL) {
        on_closed(data);
        return;
    }
    e->on_closed = on_closed;
    e->closed_data = data;
    uv_mutex_lock(&e->mutex);
    e->closing = true;
    if (e->queue.len > 0) {
        LOG_WARN(
            "messages of the audit wait for the log server; what is not sent now is lost there",
            LOG_INT("bytes", (int64_t)e->queue.len), LOG_END);
    }
    uv_cond_signal(&e->more);
    uv_mutex_unlock(&e->mutex);
}
