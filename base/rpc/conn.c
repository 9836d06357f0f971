/* The life of a connection and its way in: new, connect or accept, handshake, frames, close. */
#include "base/rpc/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"

#define READ_BYTES ((size_t)64 * 1024)
#define KEEP_BYTES ((size_t)256 * 1024) /* an empty buffer larger than this is given back */
#define HELLO_BODY_MAX ((uint32_t)1024)
#define KEEPALIVE_S 30

static void on_hello_timeout(uv_timer_t *timer)
{
    struct rpc_conn *c = container_of(timer, struct rpc_conn, hello_timer);
    struct error why;
    error_set(&why, STATUS_UNAVAILABLE,
              c->phase == CONN_CONNECTING ? "connecting took too long"
                                          : "no hello or proof within the time allowed");
    rpc_conn_close(c, &why);
}

enum status rpc_conn_new(const struct rpc_conn_options *o, struct rpc_conn **out, struct error *err)
{
    struct rpc_conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "connection: out of memory");
    }
    c->ops = o->ops;
    c->owner = o->owner;
    c->identity = o->identity;
    c->expects = o->client;
    c->peer = o->target;
    c->window = o->window < CONN_WINDOW_LEAST ? CONN_WINDOW_LEAST : o->window;
    c->body_max = o->body_max;
    c->dir_fd = -1;
    if (o->tls != NULL) {
        enum status s = tls_engine_new(o->tls, o->client ? TLS_CLIENT : TLS_SERVER, &c->tls, err);
        c->tls_in = s == STATUS_OK ? malloc(READ_BYTES) : NULL;
        if (c->tls_in == NULL) {
            tls_engine_free(c->tls);
            free(c);
            return s != STATUS_OK ? s
                                  : error_set(err, STATUS_NO_MEMORY, "connection: out of memory");
        }
        (void)uv_tcp_init(o->loop, &c->io.tcp);
    } else {
        (void)uv_pipe_init(o->loop, &c->io.pipe, 0);
    }
    (void)uv_timer_init(o->loop, &c->hello_timer);
    rpc_conn_write_init(c);
    c->open_handles = 4;
    (void)uv_timer_start(&c->hello_timer, on_hello_timeout, o->hello_timeout_ms, 0);
    *out = c;
    return STATUS_OK;
}

static void rpc_conn_free(struct rpc_conn *c)
{
    c->ops->on_gone(c);
    rpc_conn_write_deinit(c);
    tls_engine_free(c->tls);
    free(c->tls_in);
    free(c->in);
    if (c->dir_fd >= 0) {
        (void)close(c->dir_fd);
    }
    free(c);
}

static void release(struct rpc_conn *c)
{
    if (--c->open_handles == 0) {
        rpc_conn_free(c);
    }
}

static void on_io_closed(uv_handle_t *h)
{
    release(container_of(h, struct rpc_conn, io.handle));
}

static void on_timer_closed(uv_handle_t *h)
{
    release(container_of(h, struct rpc_conn, hello_timer));
}

static void on_flush_closed(uv_handle_t *h)
{
    release(h->data);
}

void rpc_conn_close(struct rpc_conn *c, const struct error *why)
{
    if (c->phase == CONN_CLOSING) {
        return;
    }
    rpc_conn_flush_last(c);
    c->phase = CONN_CLOSING;
    uv_close(&c->io.handle, on_io_closed);
    uv_close((uv_handle_t *)&c->hello_timer, on_timer_closed);
    uv_close((uv_handle_t *)&c->flush_idle, on_flush_closed);
    uv_close((uv_handle_t *)&c->flush_check, on_flush_closed);
    if (why != NULL) {
        c->ops->on_close(c, why);
    }
}

/* Room for at least READ_BYTES more, and for the whole frame that has begun. */
static bool reserve_input(struct rpc_conn *c, size_t room)
{
    if (c->in_pos > 0) {
        memmove(c->in, c->in + c->in_pos, c->in_len - c->in_pos);
        c->in_len -= c->in_pos;
        c->in_pos = 0;
    }
    if (c->in_cap - c->in_len >= room) {
        return true;
    }
    size_t cap = c->in_cap == 0 ? READ_BYTES : c->in_cap;
    while (cap - c->in_len < room) {
        cap *= 2;
    }
    uint8_t *p = realloc(c->in, cap);
    if (p == NULL) {
        return false;
    }
    c->in = p;
    c->in_cap = cap;
    return true;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct rpc_conn *c = container_of(h, struct rpc_conn, io.handle);
    if (c->tls != NULL) {
        *buf = uv_buf_init(c->tls_in, (unsigned)READ_BYTES);
    } else if (reserve_input(c, READ_BYTES / 2)) {
        *buf = uv_buf_init((char *)c->in + c->in_len, (unsigned)(c->in_cap - c->in_len));
    } else {
        *buf = uv_buf_init(NULL, 0); /* on_read is told UV_ENOBUFS */
    }
}

static enum status take_frame(struct rpc_conn *c, const struct frame *f, struct error *err)
{
    if (c->phase == CONN_READY) {
        return c->ops->on_frame(c, f, err);
    }
    return rpc_conn_hello_frame(c, f, err);
}

/* All whole frames of the input. A callback may close the connection at any of them. */
static enum status take_frames(struct rpc_conn *c, struct error *err)
{
    while (c->phase != CONN_CLOSING) {
        struct frame f;
        uint32_t body_max = c->phase == CONN_READY ? c->body_max : HELLO_BODY_MAX;
        enum status s =
            frame_decode(c->in + c->in_pos, c->in_len - c->in_pos, body_max, &c->scratch, &f, err);
        if (s != STATUS_OK) {
            return s;
        }
        if (f.size == 0) {
            size_t have = c->in_len - c->in_pos;
            if (have == 0 && c->in_cap > KEEP_BYTES) {
                free(c->in);
                c->in = NULL;
                c->in_cap = c->in_len = c->in_pos = 0;
            } else if (f.need > have && !reserve_input(c, f.need - have)) {
                return error_set(err, STATUS_NO_MEMORY, "no memory for a frame of %zu bytes",
                                 f.need);
            }
            return STATUS_OK;
        }
        s = take_frame(c, &f, err);
        if (s != STATUS_OK) {
            return s;
        }
        c->in_pos += f.size;
    }
    return STATUS_OK;
}

static enum status decrypt(struct rpc_conn *c, size_t len, struct error *err)
{
    enum status s = tls_engine_feed(c->tls, c->tls_in, len, err);
    while (s == STATUS_OK && c->phase != CONN_CLOSING) {
        size_t n;
        if (!reserve_input(c, READ_BYTES / 2)) {
            return error_set(err, STATUS_NO_MEMORY, "no memory for a frame");
        }
        s = tls_engine_read(c->tls, c->in + c->in_len, c->in_cap - c->in_len, &n, err);
        if (s != STATUS_OK || n == 0) {
            break;
        }
        c->in_len += n;
        s = take_frames(c, err);
    }
    if (s == STATUS_OK && c->phase != CONN_CLOSING && tls_engine_ended(c->tls)) {
        return error_set(err, STATUS_UNAVAILABLE, "the peer closed the connection");
    }
    /* The handshake's answer, or frames that have waited for its end. */
    if (c->phase != CONN_CLOSING && (tls_engine_has_output(c->tls) || c->queued > 0)) {
        rpc_conn_flush_soon(c);
    }
    return s;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct rpc_conn *c = container_of(stream, struct rpc_conn, io.stream);
    struct error why;
    enum status s = STATUS_OK;
    if (n == UV_EOF) {
        s = error_set(&why, STATUS_UNAVAILABLE, "the peer closed the connection");
    } else if (n < 0) {
        s = error_set(&why, STATUS_UNAVAILABLE, "reading: %s", uv_strerror((int)n));
    } else if (c->tls != NULL) {
        s = decrypt(c, (size_t)n, &why);
    } else {
        c->in_len += (size_t)n;
        s = take_frames(c, &why);
    }
    if (s != STATUS_OK) {
        rpc_conn_close(c, &why);
    }
}

int rpc_conn_read_start(struct rpc_conn *c)
{
    return uv_read_start(&c->io.stream, on_alloc, on_read);
}

static enum status start(struct rpc_conn *c, struct error *err)
{
    int rc = rpc_conn_read_start(c);
    if (rc != 0) {
        return error_set(err, STATUS_UNAVAILABLE, "reading: %s", uv_strerror(rc));
    }
    if (c->tls != NULL) {
        (void)uv_tcp_nodelay(&c->io.tcp, 1);
        (void)uv_tcp_keepalive(&c->io.tcp, 1, KEEPALIVE_S);
    }
    return rpc_conn_hello_start(c, err);
}

enum status rpc_conn_accept(struct rpc_conn *c, uv_stream_t *listener, struct error *err)
{
    int rc = uv_accept(listener, &c->io.stream);
    if (rc != 0) {
        return error_set(err, STATUS_UNAVAILABLE, "accepting: %s", uv_strerror(rc));
    }
    return start(c, err);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct rpc_conn *c = container_of(req, struct rpc_conn, connecting);
    struct error why;
    enum status s = STATUS_OK;
    if (c->phase == CONN_CLOSING) {
        return;
    }
    if (c->dir_fd >= 0) {
        (void)close(c->dir_fd);
        c->dir_fd = -1;
    }
    if (status < 0) {
        s = error_set(&why, STATUS_UNAVAILABLE, "connecting: %s", uv_strerror(status));
    } else {
        s = start(c, &why);
    }
    if (s != STATUS_OK) {
        rpc_conn_close(c, &why);
    }
}

static void on_looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct rpc_conn *c = container_of(req, struct rpc_conn, lookup);
    if (c->phase != CONN_CLOSING) {
        int rc = status;
        if (rc == 0) {
            rc = uv_tcp_connect(&c->connecting, &c->io.tcp, found->ai_addr, on_connected);
        }
        if (rc != 0) {
            struct error why;
            error_set(&why, STATUS_UNAVAILABLE, "looking the host up: %s", uv_strerror(rc));
            rpc_conn_close(c, &why);
        }
    }
    uv_freeaddrinfo(found);
    release(c);
}

static enum status connect_tcp(struct rpc_conn *c, const struct rpc_address *a, struct error *err)
{
    struct sockaddr_storage to;
    int rc;
    if (rpc_address_numeric(a, &to)) {
        rc = uv_tcp_connect(&c->connecting, &c->io.tcp, (const struct sockaddr *)&to, on_connected);
    } else {
        char port[8];
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        (void)snprintf(port, sizeof port, "%d", a->port);
        rc = uv_getaddrinfo(c->hello_timer.loop, &c->lookup, on_looked_up, a->host, port, &hints);
        c->open_handles += rc == 0 ? 1 : 0;
    }
    if (rc != 0) {
        return error_set(err, STATUS_UNAVAILABLE, "%s: %s", a->host, uv_strerror(rc));
    }
    return STATUS_OK;
}

enum status rpc_conn_connect(struct rpc_conn *c, const struct rpc_address *a, struct error *err)
{
    char path[RPC_SOCKET_PATH_CAP];
    if (a->tls) {
        return connect_tcp(c, a, err);
    }
    enum status s = rpc_address_socket_path(a, path, &c->dir_fd, err);
    if (s == STATUS_OK) {
        uv_pipe_connect(&c->connecting, &c->io.pipe, path, on_connected);
    }
    return s;
}
