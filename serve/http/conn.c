/* A connection's life: accept -> read -> parse -> hand over -> (answered in response.c) -> next, or
 * linger and close. Input is only looked at from libuv's own callbacks (on_read, on_kick), so that
 * no handler is ever called from inside something a handler called. */
#include "serve/http/conn.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define DRAIN_MAX ((size_t)256 * 1024)

static void conn_process(struct http_conn *c);

/* ---- the end of a connection
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

static void on_conn_closed(uv_handle_t *h)
{
    struct http_conn *c = h->data;
    struct http_server *s = c->server;
    if (c->request != NULL) {
        struct http_request *r = c->request;
        c->request = NULL;
        request_abort(r);
    }
    list_remove(&c->link);
    list_remove(&c->kicked);
    s->trimmed = false;
    s->begun_ms = clock_monotonic_ms();
    s->stats.connections--;
    s->open_handles--;
    http_parser_free(c->parser);
    conn_tls_free(c);
    buf_deinit(&c->in);
    free(c);
    maybe_stopped(s);
    maybe_server_gone(s);
}

void conn_close(struct http_conn *c)
{
    if (!c->closing) {
        c->closing = true;
        uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
    }
}

/* ---- input
 * ------------------------------------------------------------------------------------------- */

static void set_reading(struct http_conn *c, bool on);

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct http_conn *c = h->data;
    *out = uv_buf_init(c->server->scratch, sizeof c->server->scratch);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct http_conn *c = stream->data;
    if (n == 0 || c->closing) {
        return;
    }
    if (n == UV_EOF && c->request == NULL && c->queued > 0) {
        c->last = true; /* what was answered may still be read */
        set_reading(c, false);
        return;
    }
    if (n < 0) { /* gone, half-closed included: nobody is known to listen any more */
        conn_close(c);
        return;
    }
    c->read_ms = clock_monotonic_ms();
    c->server->stats.bytes_in += (uint64_t)n;
    if (c->linger_ms != 0) {
        return;
    }
    if (conn_tls_feed(c, bytes->base, (size_t)n) != STATUS_OK || buf_status(&c->in) != STATUS_OK) {
        conn_close(c);
        return;
    }
    conn_process(c);
}

static void set_reading(struct http_conn *c, bool on)
{
    if (c->closing || c->reading == on) {
        return;
    }
    c->reading = on;
    if (!on) {
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
    } else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        conn_close(c);
    }
}

static void begin_request(struct http_conn *c)
{
    struct http_server *s = c->server;
    c->head_ms = 0;
    c->served = true;
    s->trimmed = false;
    s->begun_ms = clock_monotonic_ms();
    struct http_request *r = request_new(c);
    if (r == NULL) {
        conn_refuse(c, 503, "out of memory");
        return;
    }
    c->request = r;
    if (!r->head->chunked && r->head->length == 0) {
        size_t used;
        struct str piece;
        if (http_parser_next(c->parser, "", 0, &used, &piece) != HTTP_EVENT_END) {
            request_fail(r, 400, "invalid_request_error", "the request is malformed");
            return;
        }
        r->body_state = BODY_COMPLETE;
    }
    if (s->stats.requests_in_flight > s->limits.max_requests_in_flight) {
        http_header(r, "Retry-After", "1");
        http_respond_error(r, 503, "server_error", NULL, "busy",
                           "Too many requests are being worked on: try again shortly.");
        return;
    }
    s->cb.on_request(r, s->cb.data);
}

/* Body bytes for a handler that asked for them. False: they wait. */
static bool deliver(struct http_conn *c)
{
    struct http_request *r = c->request;
    if (c->draining) {
        c->drained += c->held;
        buf_consume(&c->in, c->held);
        c->held = 0;
        if (c->drained > DRAIN_MAX) {
            c->last = true;
            conn_maybe_linger(c);
        }
        return true;
    }
    size_t n = c->held;
    if (n > r->body_max - r->body_seen) {
        request_fail(r, 413, "invalid_request_error", "The body is larger than allowed here.");
        return true;
    }
    size_t took = r->on_body(r, c->in.ptr, n);
    if (c->request == NULL) { /* it was answered from inside; what is held is skipped */
        return true;
    }
    r->body_seen += took;
    c->held -= took;
    buf_consume(&c->in, took);
    if (took < n && r->body_state == BODY_WANTED) {
        r->body_state = BODY_PAUSED;
    }
    return took > 0;
}

static void malformed(struct http_conn *c)
{
    const char *reason;
    int status = http_parser_bad(c->parser, &reason);
    c->server->stats.malformed_total++;
    buf_reset(&c->in);
    c->held = 0;
    if (c->request != NULL) {
        request_fail(c->request, status, "invalid_request_error", reason);
    } else if (c->draining) {
        c->last = true;
        conn_maybe_linger(c);
    } else {
        conn_refuse(c, status, reason);
    }
}

/* Its answer waits behind the gate: what the client goes on to send changes nothing about it. */
static bool kept(const struct http_request *r)
{
    return r->answer == ANSWER_KEPT || r->answer == ANSWER_KEPT_STREAM;
}

/* One step; false when there is nothing more to do now. */
static bool step(struct http_conn *c)
{
    struct http_request *r = c->request;
    if (c->last && r == NULL) {
        buf_reset(&c->in);
        c->held = 0;
        return false;
    }
    if (r != NULL && (r->body_state != BODY_WANTED || kept(r))) {
        return false;
    }
    if (c->held > 0) {
        return deliver(c);
    }
    if (r == NULL && !c->draining) {
        if (c->in.len == 0) {
            return false;
        }
        if (c->server->stopping && !http_parser_in_head(c->parser)) {
            conn_close(c);
            return false;
        }
        if (c->head_ms == 0) {
            c->head_ms = clock_monotonic_ms();
        }
    }
    size_t used;
    struct str piece = {0};
    enum http_event e =
        http_parser_next(c->parser, c->in.len == 0 ? "" : c->in.ptr, c->in.len, &used, &piece);
    if (e == HTTP_EVENT_BODY) {
        c->held = piece.len;
        used -= piece.len;
    }
    buf_consume(&c->in, used);
    switch (e) {
    case HTTP_EVENT_MORE:
        return false;
    case HTTP_EVENT_HEAD:
        begin_request(c);
        return true;
    case HTTP_EVENT_BODY:
        return true;
    case HTTP_EVENT_END:
        if (c->draining) {
            c->draining = false;
            c->head_ms = 0;
        } else {
            request_body_end(r);
        }
        return true;
    case HTTP_EVENT_BAD:
        malformed(c);
        return false;
    }
    return false;
}

static void conn_process(struct http_conn *c)
{
    c->processing = true;
    while (!c->closing && step(c)) {
    }
    c->processing = false;
    /* While a request is worked on, reading goes on (to notice that the client left) up to a bound.
     */
    bool full = c->in.len >= HTTP_INPUT_MAX ||
                (c->request != NULL && c->request->body_state == BODY_PAUSED && c->held > 0 &&
                 c->in.len >= sizeof c->server->scratch);
    set_reading(c, !full);
}

static void on_kick(uv_async_t *a)
{
    struct http_server *s = a->data;
    struct list now;
    list_init(&now);
    while (!list_empty(&s->kicked)) {
        struct list *it = s->kicked.next;
        list_remove(it);
        list_push(&now, it);
    }
    while (!list_empty(&now)) {
        struct http_conn *c = list_entry(now.next, struct http_conn, kicked);
        list_remove(&c->kicked);
        if (!c->closing) {
            conn_process(c);
        }
    }
}

void conn_kick(struct http_conn *c)
{
    if (!c->processing && !c->closing && list_empty(&c->kicked)) {
        list_push(&c->server->kicked, &c->kicked);
        (void)uv_async_send(&c->server->kick);
    }
}

void conn_answered(struct http_conn *c)
{
    struct http_request *r = c->request;
    bool body_left = r->body_state != BODY_COMPLETE;
    c->request = NULL;
    if (r->close_after || c->server->stopping) {
        c->last = true;
    } else if (body_left) {
        c->draining = true;
        c->drained = 0;
        c->head_ms = clock_monotonic_ms(); /* the rest of the body has as long as a head */
    }
    c->read_ms = clock_monotonic_ms();
    conn_maybe_linger(c);
    conn_kick(c);
}

/* ---- time
 * -------------------------------------------------------------------------------------------- */

#define SWEEP_MS 200
#define LINGER_MS 2000
#define QUIET_MS 2000
#define STOP_MS 1000 /* for last words */

static void check_request(struct http_conn *c, int64_t now)
{
    struct http_request *r = c->request;
    int64_t idle = c->server->limits.idle_timeout_ms;
    if (now >= r->deadline_ms) {
        request_fail(r, 504, "server_error", "The request took longer than allowed.");
    } else if (r->body_state == BODY_WANTED && now - c->read_ms > idle) {
        request_fail(r, 408, "invalid_request_error",
                     "The body of the request stood still too long.");
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

static bool too_many(const struct http_server *s, const struct http_conn *c)
{
    if (s->stats.connections > s->limits.max_connections) {
        return true;
    }
    size_t same = 0;
    list_for_each(it, &s->conns)
    {
        same += strcmp(list_entry(it, struct http_conn, link)->peer, c->peer) == 0;
    }
    return same > s->limits.max_connections_per_address &&
           (s->cb.many_behind == NULL || !s->cb.many_behind(c->peer, s->cb.data));
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
    if (too_many(s, c)) {
        s->stats.refused_total++;
        if (s->tls == NULL) {
            conn_refuse(c, 503, "too many connections");
        } else {
            conn_close(c);
        }
        return;
    }
    set_reading(c, true);
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
    int rc = uv_async_init(loop, &s->kick, on_kick);
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
