/* What leaves a connection: the queue of writes, and the orderly end. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/http/conn.h"

struct write_op {
    uv_write_t req;
    struct http_conn *conn;
    size_t len;
    char *bytes;
    char *more; /* owned by the second part; may be NULL */
};

static void on_written(uv_write_t *req, int status)
{
    struct write_op *w = container_of(req, struct write_op, req);
    struct http_conn *c = w->conn;
    c->queued -= w->len;
    c->write_ms = clock_monotonic_ms();
    free(w->bytes);
    free(w->more);
    free(w);
    if (c->closing) {
        return; /* the close callback comes after the last of these */
    }
    if (status != 0) {
        conn_close(c);
        return;
    }
    conn_maybe_linger(c);
    struct http_request *r = c->request;
    if (r == NULL && c->in.len > 0 && c->queued <= HTTP_QUEUE_HIGH / 2) {
        conn_kick(c);
    }
    if (r != NULL && r->busy && c->queued <= HTTP_QUEUE_HIGH / 2) {
        r->busy = false;
        if (r->on_drain != NULL) {
            r->on_drain(r);
        }
    }
}

static void write_parts(struct http_conn *c, char *bytes, size_t first, struct str second,
                        char *more)
{
    size_t len = first + second.len;
    struct write_op *w = c->closing || len == 0 ? NULL : malloc(sizeof *w);
    if (w == NULL) {
        free(bytes);
        free(more);
        if (len > 0) {
            conn_close(c);
        }
        return;
    }
    *w = (struct write_op){.conn = c, .len = len, .bytes = bytes, .more = more};
    if (c->queued == 0) {
        c->write_ms = clock_monotonic_ms();
    }
    /* libuv only reads what it writes */
    uv_buf_t b[2] = {{.base = bytes, .len = first},
                     {.base = (char *)(uintptr_t)second.ptr, .len = second.len}};
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, b, second.len > 0 ? 2 : 1, on_written) != 0) {
        free(bytes);
        free(more);
        free(w);
        conn_close(c);
        return;
    }
    c->queued += len;
    c->server->stats.bytes_out += len;
    if (c->queued > HTTP_QUEUE_MAX + HTTP_ARENA_MAX) {
        conn_close(c);
    }
}

void conn_write_raw(struct http_conn *c, char *bytes, size_t len)
{
    write_parts(c, bytes, len, (struct str){NULL, 0}, NULL);
}

void conn_write_two(struct http_conn *c, char *head, size_t head_len, struct str body, char *owned)
{
    if (head == NULL || c->closing) {
        free(head);
        free(owned);
        conn_close(c);
    } else if (c->tls != NULL) {
        conn_tls_write(c, (struct str){head, head_len}, body);
        free(head);
        free(owned);
    } else {
        write_parts(c, head, head_len, body, owned);
    }
}

void conn_write(struct http_conn *c, char *bytes, size_t len)
{
    if (bytes == NULL || c->closing) {
        free(bytes);
        conn_close(c);
    } else if (c->tls != NULL) {
        conn_tls_write(c, (struct str){bytes, len}, (struct str){NULL, 0});
        free(bytes);
    } else {
        conn_write_raw(c, bytes, len);
    }
}

void conn_write_copy(struct http_conn *c, const char *bytes, size_t len)
{
    char *copy = malloc(len == 0 ? 1 : len);
    if (copy != NULL && len > 0) {
        memcpy(copy, bytes, len);
    }
    conn_write(c, copy, len);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct http_conn *c = req->data;
    free(req);
    if (status != 0 && !c->closing) {
        conn_close(c);
    }
}

void conn_maybe_linger(struct http_conn *c)
{
    if (!c->last || c->request != NULL || c->queued > 0 || c->closing || c->linger_ms != 0) {
        return;
    }
    conn_tls_end(c);
    c->linger_ms = clock_monotonic_ms();
    uv_shutdown_t *shutdown = malloc(sizeof *shutdown);
    if (shutdown != NULL) {
        shutdown->data = c;
    }
    if (shutdown == NULL || uv_shutdown(shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        free(shutdown);
        conn_close(c);
        return;
    }
    buf_reset(&c->in);
    c->held = 0;
    conn_kick(c); /* reading goes on, to see the peer's FIN */
}
