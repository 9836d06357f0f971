/* A connection's life: accept -> read -> parse -> hand over -> (answered in response.c) -> next, or
 * linger and close. Input is only looked at from libuv's own callbacks (on_read, on_kick), so that
 * no handler is ever called from inside something a handler called. */
#include "serve/http/conn.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define DRAIN_MAX ((size_t)256 * 1024)

static void conn_process(struct http_conn *c);

/* ---- the end of a connection
 * ------------------------------------------------------------------------- */

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
    server_conn_gone(s);
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
        conn_set_reading(c, false);
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

void conn_set_reading(struct http_conn *c, bool on)
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
    if (c->surplus) {
        r->close_after = true;
        http_header(r, "Retry-After", "1");
        http_respond_error(r, 503, "server_error", NULL, "busy", HTTP_TOO_MANY_CONNECTIONS);
        return;
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
        r->paused_ms = clock_monotonic_ms();
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

/* One step; false when there is nothing more to do now. */
static bool step(struct http_conn *c)
{
    struct http_request *r = c->request;
    if (c->last && r == NULL) {
        buf_reset(&c->in);
        c->held = 0;
        return false;
    }
    if (r == NULL && !c->draining && c->queued > HTTP_QUEUE_HIGH) {
        return false; /* who does not read is answered no more: on_written goes on */
    }
    if (r != NULL && (r->body_state != BODY_WANTED || request_kept(r))) {
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
    if (c->in.len == 0) {
        buf_deinit(&c->in); /* it may be long until more comes */
    }
    /* While a request is worked on, reading goes on (to notice that the client left) up to a bound.
     */
    bool full = c->in.len >= HTTP_INPUT_MAX ||
                (c->request != NULL && c->request->body_state == BODY_PAUSED && c->held > 0 &&
                 c->in.len >= sizeof c->server->scratch);
    conn_set_reading(c, !full);
}

void conn_on_kick(uv_async_t *a)
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
