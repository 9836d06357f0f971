/* Typed calls between the services: protobuf-c messages in frames over libuv streams.
 *
 * Wire (docs/protocol.md): each frame is  u32 header_len | u32 body_len  (little endian), a FrameHeader
 * (base/rpc/frame.proto, itself extensible), then the body: one message of the method's type. The first
 * frame of each side is a hello; then calls are multiplexed by id. Unary and streaming in both directions;
 * each direction of each call has its own credit window in bytes, so that one slow reader stalls nobody
 * else. A frame over the limit, a bad length, an unknown method or garbage closes that one connection with
 * a logged reason; every call in flight on it ends with STATUS_UNAVAILABLE.
 *
 * Threads: everything here is called on, and calls back on, the loop thread, except rpc_call_cancelled.
 * Memory: messages given to a callback are valid until it returns; messages given to send are packed at
 * once and may be freed.
 * Bounds: calls in flight a connection, bytes queued a call (its window) and a connection, message size a
 * method, calls waiting for a connection. Past a bound: STATUS_BUSY, never growth. */
#ifndef CARREL_BASE_RPC_RPC_H
#define CARREL_BASE_RPC_RPC_H

#include <protobuf-c/protobuf-c.h>
#include <uv.h>

#include "base/arena.h"
#include "base/effort.h"
#include "base/rpc/caller.h"
#include "base/rpc/peer.h"
#include "base/status.h"

enum rpc_shape {
    RPC_UNARY = 0,
    RPC_REQUEST_STREAM = 1, /* many requests, one reply */
    RPC_REPLY_STREAM = 2,   /* one request, many replies */
    RPC_BOTH_STREAM = 3,
};

#define RPC_MESSAGE_MAX ((uint32_t)4 * 1024 * 1024)

/* One row a method; made by RPC_METHOD below in the service's <service>_rpc.h. */
struct rpc_method {
    const char *name; /* "vectorstore.SearchText" */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *reply;
    enum rpc_shape shape;
    uint32_t from;              /* FROM(...) set: the peers that may call it */
    uint32_t timeout_ms;        /* used when the caller gives none */
    uint32_t message_max_bytes; /* 0: RPC_MESSAGE_MAX */
};

/* RPC_METHOD(vs, search_text, "vectorstore.SearchText", vs__search_text_request, Vs__SearchTextRequest,
 *            vs__search_text_reply, Vs__SearchTextReply, RPC_UNARY, FROM(RETRIEVE), 2000)
 * declares the descriptor `vs_search_text_method` and typed helpers:
 *   start:   struct rpc_request *vs_search_text(client, &options, const Vs__SearchTextRequest *first or NULL,
 *                                               const struct rpc_callbacks *cb, void *data)
 *   more:    enum status vs_search_text_send(request, const Vs__SearchTextRequest *)   (request streams)
 *   reading: const Vs__SearchTextReply *vs_search_text_reply(const ProtobufCMessage *)
 *   server:  const Vs__SearchTextRequest *vs_search_text_request(const ProtobufCMessage *)
 *            enum status vs_search_text_respond(call, const Vs__SearchTextReply *)  (one reply of a stream)
 *            void vs_search_text_return(call, const Vs__SearchTextReply *)          (reply and finish OK) */
#define RPC_METHOD(pkg, fn, wire, req, Req, rep, Rep, kind, callers, ms)                           \
    __attribute__((unused)) static const struct rpc_method pkg##_##fn##_method = {                 \
        .name = wire,                                                                              \
        .request = &req##__descriptor,                                                             \
        .reply = &rep##__descriptor,                                                               \
        .shape = kind,                                                                             \
        .from = callers,                                                                           \
        .timeout_ms = ms};                                                                         \
    __attribute__((unused)) static inline struct rpc_request *pkg##_##fn(                          \
        struct rpc_client *client, const struct rpc_options *o, const Req *first,                  \
        const struct rpc_callbacks *cb, void *data)                                                \
    {                                                                                              \
        return rpc_client_start(client, &pkg##_##fn##_method, o, first == NULL ? NULL : &first->base, \
                                cb, data);                                                         \
    }                                                                                              \
    __attribute__((unused)) static inline enum status pkg##_##fn##_send(struct rpc_request *r,     \
                                                                        const Req *m)              \
    {                                                                                              \
        return rpc_request_send(r, &m->base);                                                      \
    }                                                                                              \
    __attribute__((unused)) static inline const Rep *pkg##_##fn##_reply(const ProtobufCMessage *m) \
    {                                                                                              \
        return m == NULL || m->descriptor != &rep##__descriptor ? NULL : (const Rep *)(const void *)m; \
    }                                                                                              \
    __attribute__((unused)) static inline const Req *pkg##_##fn##_request(                         \
        const ProtobufCMessage *m)                                                                 \
    {                                                                                              \
        return m == NULL || m->descriptor != &req##__descriptor ? NULL : (const Req *)(const void *)m; \
    }                                                                                              \
    __attribute__((unused)) static inline enum status pkg##_##fn##_respond(struct rpc_call *c,     \
                                                                           const Rep *m)           \
    {                                                                                              \
        return rpc_call_send(c, &m->base);                                                         \
    }                                                                                              \
    __attribute__((unused)) static inline void pkg##_##fn##_return(struct rpc_call *c,             \
                                                                   const Rep *m)                   \
    {                                                                                              \
        rpc_call_return(c, &m->base);                                                              \
    }

/* ---- server side ------------------------------------------------------------------------------- */

struct rpc_server;
struct rpc_call;

/* How a service answers one method. A call lives from its first on_request until rpc_call_finish or
 * rpc_call_return: exactly one of them must be called, now or later, also after on_cancel. */
struct rpc_handler {
    const struct rpc_method *method;
    /* Once for a unary request; for a request stream once a message. m is valid until it returns. */
    void (*on_request)(struct rpc_call *call, const ProtobufCMessage *m);
    /* Request streams: the caller has sent everything. NULL where the request is unary. */
    void (*on_end)(struct rpc_call *call);
    /* Reply streams: the window has opened again after rpc_call_send said STATUS_BUSY. May be NULL. */
    void (*on_ready)(struct rpc_call *call);
    /* The caller cancelled, vanished, or the deadline passed; at most once, never after finish. Stop work
     * soon and finish (nothing more is sent). NULL: work runs to its end. */
    void (*on_cancel)(struct rpc_call *call);
};

struct rpc_limits {
    uint32_t calls_per_connection; /* 0: 16384 */
    uint32_t connections;          /* 0: 256 */
    uint32_t window_bytes;         /* credit a direction of a call; 0: 1 MiB */
    uint32_t hello_timeout_ms;     /* 0: 5000 */
};

/* Borrows identity, handlers and limits (may be NULL) for its life. `service` is handed to handlers. */
enum status rpc_server_new(uv_loop_t *loop, const struct identity *identity,
                           const struct rpc_handler *handlers, size_t n_handlers,
                           const struct rpc_limits *limits, void *service, struct rpc_server **out,
                           struct error *err) MUST_CHECK;
/* "unix:/path" (socket made 0600; a stale one is replaced) or "tls:host:port" (needs rpc_server_tls first).
 * May be called more than once. */
enum status rpc_server_listen(struct rpc_server *s, const char *address, struct error *err) MUST_CHECK;
struct tls_context; /* base/tls/tls.h */
void rpc_server_tls(struct rpc_server *s, struct tls_context *tls); /* borrows */
/* Stops accepting, ends calls in flight with STATUS_UNAVAILABLE (handlers get on_cancel), closes;
 * on_closed runs last, then s is freed. */
void rpc_server_close(struct rpc_server *s, void (*on_closed)(void *data), void *data);
struct rpc_server_stats {
    uint64_t calls_total, calls_failed, connections_total, connections_refused;
    uint32_t calls_now, connections_now;
};
void rpc_server_stats(const struct rpc_server *s, struct rpc_server_stats *out);

void *rpc_call_service(const struct rpc_call *c);
const struct rpc_method *rpc_call_method(const struct rpc_call *c);
/* A slot for the handler's own state; NULL at first. */
void **rpc_call_data(struct rpc_call *c);
/* Lives as long as the call (16 MiB ceiling). */
struct arena *rpc_call_arena(struct rpc_call *c);
enum peer rpc_call_peer(const struct rpc_call *c);
/* Tenant of the call: never NULL, "" when none was given; with a caller it always equals caller->tenant.
 * Checked for form ([a-z0-9-]{1,64}) before the handler runs. */
const char *rpc_call_tenant(const struct rpc_call *c);
/* NULL when the call carries no caller; otherwise verified. Lives as long as the call. */
const struct caller *rpc_call_caller(const struct rpc_call *c);
/* Processor time spent on it, which its caller is told with each message and the end. Handlers run
 * inside it; work on lanes is put there by lane_submit_for. Ends with the call. */
struct effort *rpc_call_effort(struct rpc_call *c);
int64_t rpc_call_deadline_ms(const struct rpc_call *c); /* clock_monotonic_ms time */
/* Any thread. True once on_cancel has run or is due. */
bool rpc_call_cancelled(const struct rpc_call *c);
/* Queue one reply of a stream. STATUS_BUSY: the window is full, nothing was queued, on_ready will come.
 * STATUS_CANCELLED: nobody listens any more. */
enum status rpc_call_send(struct rpc_call *c, const ProtobufCMessage *m) MUST_CHECK;
/* Reply and finish with OK; the call is gone. */
void rpc_call_return(struct rpc_call *c, const ProtobufCMessage *m);
/* Finish; text may be NULL (the status's own). The call is gone. */
void rpc_call_finish(struct rpc_call *c, enum status s, const char *text);
void rpc_call_fail(struct rpc_call *c, const struct error *err); /* finish with err */
/* Request streams: hold further on_request calls (at most one window of bytes arrives meanwhile). */
void rpc_call_pause(struct rpc_call *c);
void rpc_call_resume(struct rpc_call *c);

/* ---- client side ------------------------------------------------------------------------------- */

struct rpc_client;
struct rpc_request;

struct rpc_options {
    uint32_t timeout_ms; /* 0: the method's */
    const char *tenant;  /* NULL: none */
    const uint8_t *caller; /* signed token of base/rpc/caller.h, or NULL */
    size_t caller_len;
    const char *traceparent; /* W3C, or NULL */
    uint32_t priority;       /* 0 interactive, 1 background */
    bool wait_for_ready;     /* wait for the peer until the deadline instead of failing at once while it
                                is known to be down */
    struct effort *effort;   /* on whose behalf: gets the time that the callee tells, and is entered
                                in the callbacks; may end before the call. NULL: nobody's */
};

struct rpc_callbacks {
    /* Each reply; exactly one for a unary one that succeeds. May be NULL. */
    void (*on_reply)(struct rpc_request *r, const ProtobufCMessage *m, void *data);
    /* Request streams: the window has opened again after rpc_request_send said STATUS_BUSY. */
    void (*on_ready)(struct rpc_request *r, void *data);
    /* Exactly once and last, never from inside rpc_client_start; not after rpc_request_cancel. err->code is
     * STATUS_OK on success. r is gone when it returns. Must not be NULL. */
    void (*on_finish)(struct rpc_request *r, const struct error *err, void *data);
};

/* Connects on first use, reconnects by itself with backoff (50 ms doubling to 2 s, with jitter).
 * address as in rpc_server_listen. Borrows identity and tls (NULL unless "tls:"). */
enum status rpc_client_new(uv_loop_t *loop, const struct identity *identity, enum peer target,
                           const char *address, struct tls_context *tls, struct rpc_client **out,
                           struct error *err) MUST_CHECK;
/* Ends requests in flight with STATUS_CANCELLED through on_finish, closes, on_closed last. */
void rpc_client_close(struct rpc_client *c, void (*on_closed)(void *data), void *data);
bool rpc_client_connected(const struct rpc_client *c);

/* Starts a call. Never NULL unless out of memory: every other failure comes through on_finish. first: the
 * unary request, or a stream's first message, or NULL. cb is copied. */
struct rpc_request *rpc_client_start(struct rpc_client *c, const struct rpc_method *m,
                                     const struct rpc_options *o, const ProtobufCMessage *first,
                                     const struct rpc_callbacks *cb, void *data);
enum status rpc_request_send(struct rpc_request *r, const ProtobufCMessage *m) MUST_CHECK;
void rpc_request_end(struct rpc_request *r); /* request streams: everything was sent */
/* No callback runs any more; r is gone; the other side is told. */
void rpc_request_cancel(struct rpc_request *r);
/* Reply streams: hold further on_reply calls. */
void rpc_request_pause(struct rpc_request *r);
void rpc_request_resume(struct rpc_request *r);
/* Options that pass a call's tenant, caller, trace, priority, effort and time left on to the next
 * service. */
void rpc_options_from_call(struct rpc_call *call, struct rpc_options *out);

#endif
