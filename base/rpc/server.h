/* What server.c and server_call.c share. */
#ifndef CARREL_BASE_RPC_SERVER_H
#define CARREL_BASE_RPC_SERVER_H

#include "base/map.h"
#include "base/rpc/conn.h"
#include "base/rpc/deadlines.h"
#include "base/rpc/flow.h"
#include "base/rpc/idmap.h"
#include "base/rpc/rpc.h"

#define CALL_ARENA_MAX ((size_t)16 * 1024 * 1024)
#define LISTENERS_MAX 4
#define TOKEN_CACHE_SLOTS 64
#define TOKEN_CACHE_BYTES 512

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } io;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } spare; /* takes a connection only to close it, when there is no memory for more */
    bool spare_busy;
    struct rpc_server *server;
    bool tls;
    int dir_fd;
};

/* Tokens whose signature was found good, so that the fan-out of one request checks it once. */
struct token_slot {
    size_t len;
    uint8_t bytes[TOKEN_CACHE_BYTES];
};

struct rpc_server {
    uv_loop_t *loop;
    const struct identity *identity;
    const struct rpc_handler *handlers;
    struct map by_name; /* const struct rpc_handler * */
    struct rpc_limits limits;
    uint32_t body_max;
    void *service;
    struct tls_context *tls;
    struct listener *listeners[LISTENERS_MAX];
    size_t n_listeners;
    struct deadlines deadlines;
    uv_idle_t kick;      /* delivers to calls that were resumed */
    struct list conns;   /* struct server_conn */
    struct list resumed; /* struct rpc_call by `turn` */
    struct list
        detached; /* struct rpc_call by `link`: their connection is gone, their handler works on */
    uint32_t calls_alive; /* finished by their handler or not yet */
    struct rpc_server_stats stats;
    unsigned open_handles;
    bool closing;
    void (*on_closed)(void *data);
    void *on_closed_data;
    struct token_slot *tokens; /* TOKEN_CACHE_SLOTS, made at first use */
};

struct server_conn {
    struct list link;
    struct rpc_server *server;
    struct rpc_conn *conn;
    struct idmap ids;
    struct list calls;   /* struct rpc_call */
    struct list blocked; /* struct rpc_call by `wait`: wait for the connection's queue */
    uint32_t n_calls;
};

struct rpc_call {
    struct list link;          /* server_conn.calls or rpc_server.detached */
    struct list turn;          /* rpc_server.resumed */
    struct list wait;          /* server_conn.blocked */
    struct rpc_server *server; /* NULL: closed */
    struct server_conn *sc;    /* NULL: the connection is gone */
    const struct rpc_handler *handler;
    void *service;
    void *data;
    uint32_t id;
    uint32_t priority;
    enum peer peer;
    struct arena arena;
    struct effort effort;
    struct effort_use own; /* of it: while the handler runs */
    const char *tenant;
    const char *traceparent;
    const uint8_t *token;
    size_t token_len;
    struct caller *caller;
    struct deadline deadline;
    _Atomic bool cancelled;
    bool listening; /* the caller still waits for our END */
    bool end_seen, end_told;
    bool known;    /* the handler has heard of it */
    bool finished; /* gone for the handler; freed when no callback of it runs */
    unsigned in_callback;
    struct flow_in in;
    struct flow_out out;
};

/* server_call.c */
struct rpc_call *server_call_new(struct server_conn *sc, const struct rpc_handler *h,
                                 const Rpc__FrameHeader *header);
void server_call_free(struct rpc_call *c);
/* Hands a message to the handler, or holds it. STATUS_PROTOCOL: the connection must go. May free c.
 */
enum status server_call_message(struct rpc_call *c, const uint8_t *body, size_t len, bool end,
                                struct error *err) MUST_CHECK;
void server_call_credit(struct rpc_call *c, uint32_t credit);
/* The caller is gone or has lost interest; `status` is told to it when it still listens. May free
 * c. */
void server_call_cancel(struct rpc_call *c, enum status status);
/* The connection's queue is short again. */
void server_call_drained(struct rpc_call *c);
/* What was held while the call was paused. STATUS_PROTOCOL as above. */
enum status server_call_deliver_held(struct rpc_call *c, struct error *err) MUST_CHECK;
void server_call_on_due(struct deadline *d);

/* server.c */
/* Answers a call that never came to life. */
bool server_call_refuse(struct server_conn *sc, uint32_t id, uint32_t priority, enum status s,
                        const char *text, int64_t cpu_us);
void server_call_kick(struct rpc_server *s);

#endif
