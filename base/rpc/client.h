/* What client.c and client_request.c share. */
#ifndef CARREL_BASE_RPC_CLIENT_H
#define CARREL_BASE_RPC_CLIENT_H

#include "base/rpc/conn.h"
#include "base/rpc/deadlines.h"
#include "base/rpc/flow.h"
#include "base/rpc/idmap.h"
#include "base/rpc/rpc.h"

#define CLIENT_REQUESTS_MAX 16384
#define CLIENT_WINDOW ((uint32_t)1024 * 1024)

enum client_phase {
    CLIENT_IDLE,       /* nobody has asked yet */
    CLIENT_CONNECTING, /* requests wait for the first connection */
    CLIENT_READY,
    CLIENT_BACKOFF, /* the peer is known to be down; a timer runs */
    CLIENT_CLOSING,
};

struct rpc_client {
    uv_loop_t *loop;
    const struct identity *identity;
    enum peer target;
    struct rpc_address address;
    struct tls_context *tls;
    enum client_phase phase;
    bool known_down; /* the last attempt failed, or the last connection broke */
    bool shut;       /* takes no more requests */
    struct rpc_conn *conn;
    uv_timer_t backoff;
    uint32_t backoff_ms;
    uv_idle_t kick; /* late finishes and resumed requests */
    struct deadlines deadlines;
    struct idmap ids;    /* requests in flight */
    struct list waiting; /* struct rpc_request by `link`: for the connection */
    struct list sent;    /* by `link` */
    struct list late;    /* by `link`: on_finish is due in the next turn */
    struct list resumed; /* by `turn` */
    struct list blocked; /* by `wait`: for the connection's queue */
    uint32_t n_requests;
    uint32_t last_id;
    uint32_t body_max;
    unsigned open_handles;
    void (*on_closed)(void *data);
    void *on_closed_data;
};

enum request_phase { REQUEST_WAITING, REQUEST_SENT, REQUEST_LATE, REQUEST_GONE };

struct rpc_request {
    struct list link, turn, wait;
    struct rpc_client *client;
    const struct rpc_method *method;
    struct rpc_callbacks cb;
    void *data;
    enum request_phase phase;
    unsigned in_callback;
    uint32_t id;
    uint32_t priority;
    bool wait_for_ready;
    bool end_sent; /* or, while waiting, to be sent */
    bool replied;  /* unary: the reply was handed over */
    bool over;     /* the callee has ended; outcome says how */
    enum status outcome;
    char *outcome_text; /* NULL: in the status's own words */
    struct deadline deadline;
    struct flow_in in;
    struct flow_out out;
    struct effort_use use; /* on whose behalf */
    uint64_t told_us;      /* what the callee has spent, as it said last */
    /* while waiting: what the REQUEST will say, and the messages after the first */
    char *tenant, *traceparent;
    uint8_t *caller;
    size_t caller_len;
    bool has_first;
    struct list pending; /* struct held_message */
};

/* client.c */
void rpc_client_kick(struct rpc_client *c);
void rpc_client_need_connection(struct rpc_client *c);

/* client_request.c */
/* The connection stands: send what waited. */
void client_request_connected(struct rpc_request *r);
void client_request_finish(struct rpc_request *r, enum status s, const char *text);
enum status client_request_frame(struct rpc_client *c, const struct frame *f,
                                 struct error *err) MUST_CHECK;
/* What was held while it was paused. */
enum status client_request_deliver_held(struct rpc_request *r, struct error *err) MUST_CHECK;
void client_request_drained(struct rpc_request *r);
void client_request_on_due(struct deadline *d);

/* For service.c: ends what is in flight and refuses new requests, but stays there to be closed. */
void rpc_client_shut(struct rpc_client *c);

#endif
