/* One connection: a stream (Unix socket, or TCP under TLS), its handshake, frames in, frames out.
 * Knows no calls: server.c and client.c give it an `ops` table.
 *
 * Phases: CONNECTING -> HELLO (both sides send and await one) -> PROOF (Unix sockets only) ->
 * READY, and from each of them -> CLOSING. Memory goes only after the last libuv handle is closed
 * (ops->on_gone).
 *
 * Writing: frames queue up and leave in one write a loop turn; at most one uv_write is under way,
 * so that an interactive frame overtakes the background frames that still wait. */
#ifndef CARREL_BASE_RPC_CONN_H
#define CARREL_BASE_RPC_CONN_H

#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/rpc/address.h"
#include "base/rpc/frame.h"
#include "base/rpc/peer.h"
#include "base/tls/tls.h"

#define CONN_NONCE_BYTES 32
#define CONN_QUEUE_MAX ((size_t)64 * 1024 * 1024)  /* past it data is refused (rpc_conn_full) */
#define CONN_QUEUE_LOW ((size_t)16 * 1024 * 1024)  /* on_drained comes at this mark */
#define CONN_QUEUE_HARD ((size_t)96 * 1024 * 1024) /* past it the peer is given up */
#define CONN_WINDOW_LEAST ((uint32_t)64 * 1024)

enum rpc_conn_phase { CONN_CONNECTING, CONN_HELLO, CONN_PROOF, CONN_READY, CONN_CLOSING };

struct rpc_conn;

struct rpc_conn_ops {
    /* The peer is known (conn->peer) and may be spoken to. */
    void (*on_ready)(struct rpc_conn *c);
    /* STATUS_PROTOCOL closes the connection with this reason. */
    enum status (*on_frame)(struct rpc_conn *c, const struct frame *f, struct error *err);
    /* rpc_conn_full was true and the queue has become short again. */
    void (*on_drained)(struct rpc_conn *c);
    /* The connection is over. Not after a rpc_conn_close with a NULL reason. */
    void (*on_close)(struct rpc_conn *c, const struct error *why);
    /* The last word: c is freed when it returns. */
    void (*on_gone)(struct rpc_conn *c);
};

struct rpc_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } io;
    uv_timer_t hello_timer;
    uv_idle_t
        flush_idle; /* while frames wait: keeps the loop from sleeping, flushes before polling */
    uv_check_t flush_check; /* flushes what the events of this turn have queued */
    uv_connect_t connecting;
    uv_getaddrinfo_t lookup;
    uv_write_t write;
    unsigned open_handles; /* and the lookup */
    int dir_fd;

    const struct rpc_conn_ops *ops;
    void *owner;
    const struct identity *identity;
    enum rpc_conn_phase phase;
    bool expects; /* client: only `peer` is accepted */
    bool writing, was_full;
    enum peer peer; /* known from the hello on, believed from READY on */
    uint8_t nonce[CONN_NONCE_BYTES];
    uint8_t peer_nonce[CONN_NONCE_BYTES];
    uint32_t window;      /* ours, told in the hello */
    uint32_t peer_window; /* theirs */
    uint32_t body_max;

    struct tls_engine *tls; /* NULL: plain */
    struct buf tls_sending; /* ciphertext under way */
    char *tls_in;

    uint8_t *in;
    size_t in_cap, in_len, in_pos;
    struct frame_scratch scratch;

    struct list queue[2]; /* struct out_frame: interactive, background */
    struct list sending;
    size_t queued; /* bytes in queue and sending */
};

struct rpc_conn_options {
    uv_loop_t *loop;
    const struct identity *identity;
    const struct rpc_conn_ops *ops;
    void *owner;
    struct tls_context *tls; /* NULL: Unix socket */
    bool client;
    enum peer target; /* client */
    uint32_t window;
    uint32_t hello_timeout_ms;
    uint32_t body_max; /* largest body of a call's message */
};

/* The hello timer runs from here on. */
enum status rpc_conn_new(const struct rpc_conn_options *o, struct rpc_conn **out,
                         struct error *err) MUST_CHECK;
/* Server: take the connection that waits on listener. */
enum status rpc_conn_accept(struct rpc_conn *c, uv_stream_t *listener,
                            struct error *err) MUST_CHECK;
/* Client. A failure that shows later comes through on_close. */
enum status rpc_conn_connect(struct rpc_conn *c, const struct rpc_address *a,
                             struct error *err) MUST_CHECK;
/* why NULL: the owner closes, on_close is not called. Calling it again is fine. What is queued and
 * fits the socket is still sent. */
void rpc_conn_close(struct rpc_conn *c, const struct error *why);

/* After a uv_read_stop on io.stream (tests). An errno of libuv. */
int rpc_conn_read_start(struct rpc_conn *c);

/* Takes f (NULL: out of memory, false). background: 0 or 1. */
bool rpc_conn_send(struct rpc_conn *c, struct out_frame *f, uint32_t background);
/* Header and message in one go; body may be NULL. */
bool rpc_conn_send_message(struct rpc_conn *c, const Rpc__FrameHeader *h,
                           const ProtobufCMessage *body, uint32_t background);
/* No more data for the moment: on_drained will come. */
bool rpc_conn_full(struct rpc_conn *c);

/* ---- between conn.c, conn_hello.c and conn_write.c ---------------------------------------------
 */

enum status rpc_conn_hello_start(struct rpc_conn *c, struct error *err) MUST_CHECK;
/* A frame before READY. */
enum status rpc_conn_hello_frame(struct rpc_conn *c, const struct frame *f,
                                 struct error *err) MUST_CHECK;
void rpc_conn_write_init(struct rpc_conn *c);
void rpc_conn_write_deinit(struct rpc_conn *c);
void rpc_conn_flush_soon(struct rpc_conn *c);
void rpc_conn_flush(struct rpc_conn *c);
/* Best effort before closing: what fits the socket's buffer without waiting. */
void rpc_conn_flush_last(struct rpc_conn *c);

#endif
