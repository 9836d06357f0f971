/* All connections: who is let in, the one timer that looks after them, and the server's own
 * beginning and end. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "serve/http/conn.h"

#define SURPLUS_MAX 16 /* connections beyond a limit that are told so through TLS */

/* ---- the end of the server
 * ------------------------------------------------------------------------- */

static void maybe_server_gone(struct http_server *s)
{
    if (s->open_handles == 0 && s->stopping) {
        void (*closed)(void *) = s->on_closed;
        void *data = s->closed_data;
        free(s);
        if (closed != NULL) {
            closed(data);
        }
    }
}

static void close_base_handle(uv_handle_t *h)
{
    struct http_server *s = h->data;
    s->open_handles--;
    maybe_server_gone(s);
}

static void maybe_stopped(struct http_server *s)
{
    if (s->stopping && list_empty(&s->conns) && !uv_is_closing((uv_handle_t *)&s->kick)) {
        uv_close((uv_handle_t *)&s->sweep, close_base_handle);
        uv_close((uv_handle_t *)&s->kick, close_base_handle);
    }
}

void server_conn_gone(struct http_server *s)
{
    maybe_stopped(s);
    maybe_server_gone(s);
}

/* ---- time
 * -------------------------------------------------------------------------------------------- */

#define SWEEP_MS 200
#define LINGER_MS 2000
#define QUIET_MS 2000
#define STOP_MS 1000 /* for last words */

/* A byte now and then is never idle: it would hold its request for as long as one may live. */
static bool body_crawls(const struct http_request *r, int64_t now)
{
    const struct http_limits *l = &r->server->limits;
    int64_t waited = now - r->body_since_ms;
    return l->body_rate > 0 && waited > l->body_grace_ms &&
           r->body_seen < l->body_rate * (uint64_t)waited / 1000;
}

static void check_request(struct http_conn *c, int64_t now)
{
    struct http_request *r = c->request;
    int64_t idle = c->server->limits.idle_timeout_ms;
    bool reads = r->body_state == BODY_WANTED && !request_kept(r);
    if (now >= r->deadline_ms) {
        request_fail(r, 504, "server_error", "The request took longer than allowed.");
    } else if (reads && now - c->read_ms > idle) {
        request_fail(r, 408, "invalid_request_error",
                     "The body of the request stood still too long.");
    } else if (reads && body_crawls(r, now)) {
        request_fail(r, 408, "invalid_request_error",
                     "The body of the request comes too slowly.");
    } else if (c->queued > 0 && now - c->write_ms > idle) {
        conn_close(c);
    }
}

/* The grace is over: streams end with an error event, calls with 503, the rest is cut. */
static void stop_conn(struct http_conn *c, int64_t late_ms)
{
    if (c->request != NULL && late_ms <= STOP_MS) {
        if (!c->told) {
            c->told = true;
            request_fail(c->request, 503, "server_error",
                         "The appliance is being stopped: ask again shortly.");
        }
    } else if (c->queued == 0 || late_ms > STOP_MS) {
        conn_close(c);
    }
}

static void check_conn(struct http_conn *c, int64_t now)
{
    const struct http_limits *l = &c->server->limits;
    if (c->closing) {
        return;
    }
    size_t waiting = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
    if (waiting != c->waiting) { /* a part of a large answer has left: its reader is slow, not gone */
        c->waiting = waiting;
        c->write_ms = now;
    }
    if (c->linger_ms != 0) {
        if (now - c->linger_ms > LINGER_MS) {
            conn_close(c);
        }
    } else if (c->server->stopping && now - c->server->stop_ms > l->shutdown_grace_ms) {
        stop_conn(c, now - c->server->stop_ms - l->shutdown_grace_ms);
    } else if (c->request != NULL) {
        check_request(c, now);
    } else if (c->queued > 0) {
        if (now - c->write_ms > l->idle_timeout_ms) {
            conn_close(c);
        }
    } else if (c->head_ms != 0) {
        if (now - c->head_ms <= l->header_timeout_ms) {
            return;
        }
        if (c->draining || c->tls != NULL) {
            conn_close(c);
        } else {
            conn_refuse(c, 408, "the head of the request took too long");
        }
    } else if (now - c->read_ms > (c->served ? l->idle_timeout_ms : l->header_timeout_ms)) {
        conn_close(c);
    } else if (now - c->read_ms > SWEEP_MS) {
        http_parser_forget(c->parser); /* of the request before: the next may be long in coming */
    }
}

/* What a burst of handshakes and requests has left free lies in holes between what is still open:
 * once nothing has begun for a while, the pages go back to the system. */
static void give_back(struct http_server *s, int64_t now)
{
    if (!s->trimmed && now - s->begun_ms > QUIET_MS) {
        s->trimmed = true;
        (void)malloc_trim(0);
    }
}

static void on_sweep(uv_timer_t *t)
{
    struct http_server *s = t->data;
    int64_t now = clock_monotonic_ms();
    list_for_each_safe(it, &s->conns)
    {
        check_conn(list_entry(it, struct http_conn, link), now);
    }
    give_back(s, now);
    if (list_empty(&s->conns) && s->trimmed) {
        (void)uv_timer_stop(t);
    }
}

/* ---- accept
 * ------------------------------------------------------------------------------------------ */

static void peer_address(const uv_tcp_t *tcp, char *out, size_t cap)
{
    struct sockaddr_storage a;
    int len = sizeof a;
    out[0] = '\0';
    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&a, &len) != 0) {
        return;
    }
    if (a.ss_family == AF_INET) {
        (void)uv_ip4_name((const struct sockaddr_in *)(const void *)&a, out, cap);
    } else if (a.ss_family == AF_INET6) {
        (void)uv_ip6_name((const struct sockaddr_in6 *)(const void *)&a, out, cap);
    }
}

/* One customer of a provider has a whole IPv6 network to ask from. */
static bool same_client(const char *a, const char *b)
{
    uint8_t x[16];
    uint8_t y[16];
    if (strcmp(a, b) == 0) {
        return true;
    }
    if (strchr(a, ':') == NULL || strchr(b, ':') == NULL || !address_read(str_from(a), x) ||
        !address_read(str_from(b), y)) {
        return false;
    }
    struct address_range network = address_household(x);
    return address_in(y, &network, 1);
}

bool http_address_busy(const struct http_request *r)
{
    const struct http_server *s = r->server;
    size_t most = s->limits.max_requests_in_flight_per_address;
    size_t n = 0;
    if (r->detached || s->stats.requests_in_flight <= most) {
        return false;
    }
    list_for_each(it, &s->conns)
    {
        const struct http_request *other = list_entry(it, struct http_conn, link)->request;
        n += other != NULL && same_client(other->peer, r->peer);
    }
    return n > most;
}

/* By how many the connection is beyond one of the limits. */
static size_t surplus(const struct http_server *s, const struct http_conn *c)
{
    size_t all = s->stats.connections;
    size_t most = s->limits.max_connections_per_address;
    if (all > s->limits.max_connections) {
        return all - s->limits.max_connections;
    }
    if (all <= most || (s->cb.many_behind != NULL && s->cb.many_behind(c->peer, s->cb.data))) {
        return 0;
    }
    size_t same = 0;
    list_for_each(it, &s->conns)
    {
        same += same_client(list_entry(it, struct http_conn, link)->peer, c->peer);
    }
    return same > most ? same - most : 0;
}

/* Plain: it is told at once. Through TLS it can only be told after the handshake, so the first few
 * are let so far, to be answered 503; who opens still more is cut off. */
static bool turned_away(struct http_conn *c)
{
    struct http_server *s = c->server;
    size_t n = surplus(s, c);
    if (n == 0) {
        return false;
    }
    s->stats.refused_total++;
    if (c->tls == NULL) {
        conn_refuse(c, 503, HTTP_TOO_MANY_CONNECTIONS);
    } else if (n > SURPLUS_MAX) {
        conn_close(c);
    } else {
        c->surplus = true;
        return false;
    }
    return true;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct http_server *s = listener->data;
    struct http_conn *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        LOG_WARN("a connection could not be taken",
                 LOG_STR("err", status == 0 ? "out of memory" : uv_strerror(status)), LOG_END);
        return;
    }
    c->server = s;
    list_init(&c->kicked);
    buf_init(&c->in,
             2 * HTTP_INPUT_MAX); /* reading stops at HTTP_INPUT_MAX; TLS may hold a little back */
    (void)uv_tcp_init(s->loop, &c->tcp);
    c->tcp.data = c;
    list_push(&s->conns, &c->link);
    s->open_handles++;
    s->stats.connections++;
    s->stats.connections_total++;
    c->read_ms = c->write_ms = clock_monotonic_ms();
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 ||
        http_parser_new(s->limits.max_head_bytes, &c->parser) != STATUS_OK ||
        conn_tls_new(c) != STATUS_OK) {
        conn_close(c);
        return;
    }
    peer_address(&c->tcp, c->peer, sizeof c->peer);
    (void)uv_tcp_nodelay(&c->tcp, 1);
    if (!uv_is_active((uv_handle_t *)&s->sweep)) {
        (void)uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    }
    if (!turned_away(c)) {
        conn_set_reading(c, true);
    }
}

/* ---- the server
 * -------------------------------------------------------------------------------------- */

enum status http_server_new(uv_loop_t *loop, const struct http_limits *limits,
                            const struct http_callbacks *cb, struct http_server **out,
                            struct error *err)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    s->loop = loop;
    s->limits = *limits;
    s->cb = *cb;
    list_init(&s->conns);
    list_init(&s->kicked);
    int rc = uv_async_init(loop, &s->kick, conn_on_kick);
    if (rc != 0) {
        free(s);
        return error_set(err, STATUS_IO, "HTTP: %s", uv_strerror(rc));
    }
    (void)uv_timer_init(loop, &s->sweep);
    s->kick.data = s->sweep.data = s;
    s->open_handles = 2;
    *out = s;
    return STATUS_OK;
}

void http_server_tls(struct http_server *s, struct tls_context *tls)
{
    s->tls = tls;
}

static int listen_on(struct http_server *s, const struct sockaddr *a)
{
    uv_tcp_t *l = &s->listeners[s->n_listeners];
    int rc = uv_tcp_init(s->loop, l);
    if (rc != 0) {
        return rc;
    }
    l->data = s;
    s->n_listeners++;
    s->open_handles++;
    rc = uv_tcp_bind(l, a, 0);
    return rc != 0 ? rc : uv_listen((uv_stream_t *)l, 511, on_connection);
}

enum status http_server_listen(struct http_server *s, const char *host, int port, int *actual,
                               struct error *err)
{
    struct sockaddr_storage a = {0};
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (uv_ip4_addr(name, port, (struct sockaddr_in *)(void *)&a) != 0 &&
        uv_ip6_addr(name, port, (struct sockaddr_in6 *)(void *)&a) != 0) {
        return error_set(err, STATUS_INVALID, "http.listen: %s is not an IP address", host);
    }
    if (s->n_listeners == sizeof s->listeners / sizeof s->listeners[0]) {
        return error_set(err, STATUS_INVALID, "too many addresses to listen on");
    }
    int rc = listen_on(s, (const struct sockaddr *)&a);
    if (rc == UV_EADDRINUSE) {
        return error_set(err, STATUS_CONFLICT,
                         "port %d of %s is taken by another program: choose another with --port or "
                         "http.port (0 picks a free one)",
                         port, host);
    }
    if (rc != 0) {
        return error_set(err, STATUS_IO, "cannot listen on %s port %d: %s", host, port,
                         uv_strerror(rc));
    }
    int len = sizeof a;
    (void)uv_tcp_getsockname(&s->listeners[s->n_listeners - 1], (struct sockaddr *)&a, &len);
    *actual = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&a)->sin6_port
                                            : ((struct sockaddr_in *)(void *)&a)->sin_port);
    return STATUS_OK;
}

void http_server_close(struct http_server *s, void (*on_closed)(void *data), void *data)
{
    s->stopping = true;
    s->stop_ms = clock_monotonic_ms();
    s->on_closed = on_closed;
    s->closed_data = data;
    for (size_t i = 0; i < s->n_listeners; i++) {
        uv_close((uv_handle_t *)&s->listeners[i], close_base_handle);
    }
    list_for_each(it, &s->conns)
    {
        struct http_conn *c = list_entry(it, struct http_conn, link);
        if (c->request == NULL && c->queued == 0) {
            conn_close(c);
        }
    }
    maybe_stopped(s);
}

void http_server_stats(const struct http_server *s, struct http_stats *out)
{
    *out = s->stats;
}
