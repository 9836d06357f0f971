/* HTTP/1.1 over uv streams: connections, requests, responses. Knows no route, no key, no service.
 *
 * A request is one struct with one arena, one deadline and one exit. It is handed to on_request
 * when its head has been read; the handler answers now or later, exactly once: http_respond*, or
 * http_stream_begin
 * ... http_stream_end. When the client goes away, the deadline passes or the server stops, on_abort
 * runs once (never from inside a function of this header) and nothing may be answered any more.
 *
 * Everything on the loop thread. Bounds: struct http_limits; a response queue of HTTP_QUEUE_MAX
 * bytes a connection; reading stops while a request is worked on and HTTP_INPUT_MAX bytes wait. */
#ifndef CARREL_SERVE_HTTP_HTTP_H
#define CARREL_SERVE_HTTP_HTTP_H

#include <uv.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "serve/http/conditional.h"
#include "serve/http/parse.h"

#define HTTP_INPUT_MAX ((size_t)256 * 1024)
#define HTTP_QUEUE_HIGH ((size_t)256 * 1024)     /* http_stream_write says BUSY above it */
#define HTTP_QUEUE_MAX ((size_t)8 * 1024 * 1024) /* a stream that ignores BUSY is cut here */
#define HTTP_ARENA_MAX ((size_t)64 * 1024 * 1024)

struct http_limits {
    size_t max_head_bytes, max_body_bytes;
    int64_t header_timeout_ms, idle_timeout_ms, request_timeout_ms;
    /* A body must bring so many bytes a second on average once the grace is over, else 408; time in
     * which its handler takes none is not counted. 0: no bound. */
    uint64_t body_rate;
    int64_t body_grace_ms;
    size_t max_connections, max_connections_per_address;
    size_t max_requests_in_flight, max_requests_in_flight_per_address;
    int64_t shutdown_grace_ms; /* requests in flight may finish within it; then they are ended */
    size_t compress_above;     /* JSON answers from this size on; 0: never */
};

struct http_server;
struct http_conn;
struct http_request;
struct tls_context;

struct http_callbacks {
    void (*on_request)(struct http_request *r, void *data);
    /* The request is over, for the log and the counters: r->status (0: aborted before an answer),
     * r->bytes_out. Also for what never reached on_request (r == NULL, malformed). */
    void (*on_done)(struct http_request *r, int status, void *data);
    void *data;
    /* Many people ask from this address: it may have more than max_connections_per_address. NULL:
     * nobody does. */
    bool (*many_behind)(const char *peer, void *data);
};

/* How errors look to the client of an address. */
enum error_shape {
    ERRORS_OPENAI,    /* {"error": {"message", "type", "param", "code"}} */
    ERRORS_ANTHROPIC, /* {"type": "error", "error": {"type", "message"}} */
    ERRORS_OLLAMA,    /* {"error": "message"} */
    ERRORS_RPC,       /* JSON-RPC 2.0, of the call rpc_id; status 200 once that is known */
    ERRORS_TOOL,      /* likewise, as the Model Context Protocol tells of a tool's */
};

struct http_request {
    enum error_shape error_shape; /* the handler's */
    const char *rpc_id;           /* JSON; NULL: none is known */
    const struct http_head *head; /* valid until the request is answered; NULL afterwards */
    struct arena arena;
    struct arena asked; /* the handler's, for what it needs until it begins to answer */
    char id[ID_CAP];
    char peer[64]; /* address of the one who asks, without port; the router may know better */
    int64_t started_ms, deadline_ms;
    int status;         /* sent */
    uint64_t bytes_out; /* of the body */
    const char *route;  /* pattern, for the log; set by the router */
    /* The handler's. The answer may be compressed: no stranger chooses a part of it and sees how
     * long it gets (docs/decisions/http.md). */
    bool may_compress;
    /* The handler's. */
    void *data;
    void (*on_abort)(struct http_request *r);
    /* Streaming bodies: bytes taken; fewer than len stops the body until http_body_resume. */
    size_t (*on_body)(struct http_request *r, const char *p, size_t len);
    void (*on_body_end)(struct http_request *r);
    void (*on_drain)(struct http_request *r); /* the queue is low again after BUSY */
    /* A stream that has begun and must end now (deadline, the server stops): end it with words of
     * its own kind. NULL: on_abort, and it is cut. */
    void (*on_fail)(struct http_request *r, const char *message);

    /* of a request without a connection; NULL once it is answered. It may wait for minutes, so it
     * is not counted as one in flight: those who wait bound themselves (jobs.h). */
    bool detached;
    void (*sink)(void *data, int status, struct str body);
    void *sink_data;
    /* Asked when a whole answer, or the end of a stream, is about to go out. true: it is kept, and
     * gate_kept runs next (it may open at once); then http_gate_open or http_gate_refuse. */
    bool (*gate)(struct http_request *r, int status);
    void (*gate_kept)(struct http_request *r);

    /* private to conn.c and response.c */
    struct http_conn *conn; /* NULL once nothing can be answered */
    struct http_server *server;
    unsigned refs;
    struct buf body;
    size_t body_max, body_seen;
    int64_t body_since_ms, paused_ms; /* it is waited for since then, pauses taken off */
    void (*on_collected)(struct http_request *r, struct str body);
    enum { BODY_UNASKED, BODY_WANTED, BODY_PAUSED, BODY_COMPLETE } body_state;
    enum { ANSWER_NONE, ANSWER_STREAM, ANSWER_KEPT, ANSWER_KEPT_STREAM, ANSWER_OVER } answer;
    struct { /* while the gate is shut */
        int status;
        const char *type;
        struct buf body;
    } kept;
    bool chunked, close_after, no_body, busy;
    bool last_words; /* its time is over, and its answer waits at the gate a little longer */
    int64_t left;   /* of a stream whose length was told; -1: it was not */
    char kept_byte; /* the last of such a stream: it waits with the end */
    bool keeps_byte;
    struct buf headers; /* extra lines of the response */
};

enum status http_server_new(uv_loop_t *loop, const struct http_limits *limits,
                            const struct http_callbacks *cb, struct http_server **out,
                            struct error *err) MUST_CHECK;
/* Borrowed; before listening. */
void http_server_tls(struct http_server *s, struct tls_context *tls);
/* host: an address, or "localhost". port 0 picks one; *actual tells which. */
enum status http_server_listen(struct http_server *s, const char *host, int port, int *actual,
                               struct error *err) MUST_CHECK;
/* Stops accepting, closes idle connections, lets requests finish within the grace; then s is freed.
 */
void http_server_close(struct http_server *s, void (*on_closed)(void *data), void *data);
struct http_stats {
    size_t connections, requests_in_flight;
    uint64_t connections_total, refused_total, malformed_total, bytes_in, bytes_out;
};
void http_server_stats(const struct http_server *s, struct http_stats *out);

/* Are more than max_requests_in_flight_per_address requests of r->peer under way, r among them? Ask
 * once r->peer is known for good. */
bool http_address_busy(const struct http_request *r);

/* ---- the request's body ---- */

/* Collects the whole body (at most max bytes, else 413 is answered by itself) and hands it over, in
 * the arena's life time. `done` may be called from inside. */
void http_body_collect(struct http_request *r, size_t max,
                       void (*done)(struct http_request *r, struct str body));
/* Streams it to r->on_body and r->on_body_end (set before). At most max bytes, else 413. */
void http_body_stream(struct http_request *r, size_t max);
void http_body_resume(struct http_request *r);

/* For handlers of long answers that have read what they need: the memory goes, whose size the
 * client chose. The body as it was collected: */
void http_body_forget(struct http_request *r);
/* what was made of it in r->asked: */
void http_asked_forget(struct http_request *r);
/* and the head: address and headers are empty from now on. */
void http_head_forget(struct http_request *r);

/* ---- the response: all are no-ops once nothing can be answered ---- */

/* Adds a header line; CR, LF and NUL in it are dropped. */
void http_header(struct http_request *r, const char *name, const char *value);
/* They told of an answer that is not given after all. */
void http_headers_forget(struct http_request *r);
void http_respond(struct http_request *r, int status, const char *type, struct str body);
/* body is taken over (it is reset). */
void http_respond_buf(struct http_request *r, int status, const char *type, struct buf *body);
/* The ETag of a JSON answer: strong, or weak where it is sent compressed. */
#define HTTP_JSON_ETAG_CAP 40
void http_json_etag(struct str body, bool weak, char out[HTTP_JSON_ETAG_CAP]);
/* One of the server's own files as the client wants it (conditions, a range). body must stay until
 * the server is closed. */
void http_respond_kept(struct http_request *r, const char *type, const struct http_version_of *v,
                       struct str body);
/* The same for what is streamed: false: 304, 412 or 416 was answered. Otherwise begin with *status
 * and send *n bytes from *from on; the headers that say so are set. */
bool http_choose(struct http_request *r, const struct http_version_of *v, int *status,
                 uint64_t *from, uint64_t *n);
/* length < 0: unknown (chunked; until the close in HTTP/1.0). While a gate stands, the last byte of
 * a known length goes out with http_stream_end: its reader has it whole no sooner. */
void http_stream_begin(struct http_request *r, int status, const char *type, int64_t length);
/* STATUS_BUSY: taken, but wait for on_drain before more. STATUS_CANCELLED: nobody listens. */
enum status http_stream_write(struct http_request *r, const void *p, size_t len);
void http_stream_end(struct http_request *r);
/* A stream that cannot be completed: cut, so that the client notices. */
void http_stream_cut(struct http_request *r);
/* Lets out what the gate kept. */
void http_gate_open(struct http_request *r);
/* Throws it away, with the headers it had. true: something else may be answered; false: it was a
 * stream, which is cut. */
bool http_gate_refuse(struct http_request *r);
/* In r's shape; type, param and code are OpenAI's, the latter two may be NULL. */
void http_respond_error(struct http_request *r, int status, const char *type, const char *param,
                        const char *code, const char *message);
/* The body of such an error; rpc_id: may be NULL. */
void http_error_body(struct buf *out, enum error_shape shape, const char *rpc_id, const char *type,
                     const char *param, const char *code, const char *message);
/* Reason phrase; "Error" outside the list. */
const char *http_reason(int status);

/* Keeps the struct and its arena while work that cannot be cancelled still points at it. */
void http_request_hold(struct http_request *r);
void http_request_release(struct http_request *r);
/* Nothing can be answered any more. */
static inline bool http_request_gone(const struct http_request *r)
{
    return r->conn == NULL && r->sink == NULL;
}

/* ---- a request without a connection ---- */

/* Runs handlers like any other: r->body, filled by the caller, is its whole body; what is answered
 * goes to sink instead, once, before the request ends. Streams are not: they are answered as
 * errors. NULL: out of memory. Ended by its answer or http_request_drop. */
struct http_request *http_request_detached(struct http_server *s,
                                           void (*sink)(void *data, int status, struct str body),
                                           void *data);
/* As if the client had gone: on_abort, on_done; sink does not run. */
void http_request_drop(struct http_request *r);

#endif
