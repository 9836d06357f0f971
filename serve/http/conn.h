/* Private to serve/http: one connection, from accept to close. */
#ifndef CARREL_SERVE_HTTP_CONN_H
#define CARREL_SERVE_HTTP_CONN_H

#include "serve/http/http.h"

struct tls_engine;

struct http_conn {
    struct list link;
    struct list kicked; /* in server->kicked while conn_kick waits */
    struct http_server *server;
    uv_tcp_t tcp;
    char peer[64];
    struct http_parser *parser;
    struct buf in; /* plain bytes not yet used */
    size_t held;   /* first bytes of in are body, waiting for the handler */
    struct tls_engine *tls;
    struct http_request *request; /* being read or answered */
    size_t queued;                /* bytes given to uv_write and not written */
    size_t waiting;               /* of these in libuv's queue when last looked */
    size_t drained;               /* bytes of an unread body thrown away */
    int64_t read_ms, write_ms;    /* last progress */
    int64_t head_ms;              /* first byte of the head being read, 0: none */
    int64_t linger_ms;            /* since when; 0: not lingering */
    bool reading, processing, closing;
    bool draining; /* the rest of an unread body is being skipped */
    bool last;     /* linger and close when the queue is empty */
    bool served;   /* has had a request */
    bool told;     /* that the server stops */
    bool surplus;  /* beyond a limit of connections: its first request is answered 503 */
};

struct http_server {
    uv_loop_t *loop;
    struct http_limits limits;
    struct http_callbacks cb;
    struct tls_context *tls;
    uv_tcp_t listeners[4];
    size_t n_listeners, listeners_open;
    uv_timer_t sweep;
    uv_async_t kick;
    struct list kicked;
    struct list conns;
    struct http_stats stats;
    bool stopping;
    int64_t stop_ms;
    bool trimmed; /* nothing has begun since memory was given back */
    int64_t begun_ms;
    unsigned open_handles;
    void (*on_closed)(void *data);
    void *closed_data;
    char scratch[65536]; /* libuv reads into it; used before the next read */
};

#define HTTP_TOO_MANY_CONNECTIONS "Too many connections are open: close some, or try again shortly."

/* server.c */
/* A connection has left the list; the server may have waited for it. */
void server_conn_gone(struct http_server *s);

/* conn.c */
void conn_set_reading(struct http_conn *c, bool on);
/* The loop's turn of conn_kick. */
void conn_on_kick(uv_async_t *a);
/* Go on with the connection's input from a fresh stack. */
void conn_kick(struct http_conn *c);
void conn_close(struct http_conn *c);
/* The answer of c->request is complete: next request, or linger and close. */
void conn_answered(struct http_conn *c);

/* write.c */
/* Takes bytes (malloc'd). A failure closes the connection. */
void conn_write(struct http_conn *c, char *bytes, size_t len);
void conn_write_copy(struct http_conn *c, const char *bytes, size_t len);
/* A head (taken) and its body in one system call. owned: freed when the body has left (it may be
 * body.ptr); NULL: body stays until the server is closed. */
void conn_write_two(struct http_conn *c, char *head, size_t head_len, struct str body, char *owned);
/* Below TLS. */
void conn_write_raw(struct http_conn *c, char *bytes, size_t len);
/* When the queue is empty and the connection is at its end: FIN, then wait for the peer's. */
void conn_maybe_linger(struct http_conn *c);

/* conn_tls.c: without TLS these pass bytes through */
enum status conn_tls_new(struct http_conn *c) MUST_CHECK;
void conn_tls_free(struct http_conn *c);
/* Bytes of the wire into c->in, as plain text. */
enum status conn_tls_feed(struct http_conn *c, const char *p, size_t len) MUST_CHECK;
void conn_tls_write(struct http_conn *c, struct str first, struct str second);
void conn_tls_end(struct http_conn *c);

/* request.c */
struct http_request *request_new(struct http_conn *c);
/* The client is gone: on_abort, on_done, release. */
void request_abort(struct http_request *r);
/* The request cannot go on (deadline, malformed body, ...): on_abort, then an error answer or a
 * cut. */
void request_fail(struct http_request *r, int status, const char *type, const char *message);
/* Its answer waits behind the gate: what the client goes on to send, or not, changes nothing about
 * it. */
static inline bool request_kept(const struct http_request *r)
{
    return r->answer == ANSWER_KEPT || r->answer == ANSWER_KEPT_STREAM;
}
void request_body_end(struct http_request *r);
/* The answer of a request without a connection: handed over, and the request ends. */
void request_sink(struct http_request *r, int status, struct str body);
/* The last byte of the answer is queued. */
void request_answered(struct http_request *r);
/* An error page for what never became a request. */
void conn_refuse(struct http_conn *c, int status, const char *message);

#endif
