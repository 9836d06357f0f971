/* The client: one connection that comes back by itself, and the requests that use it. */
#include "base/rpc/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS 2000
#define CONNECT_TIMEOUT_MS 5000
#define CLOSE_ROUNDS 64

static void client_release(struct rpc_client *c);
static void try_connect(struct rpc_client *c);

enum status rpc_client_new(uv_loop_t *loop, const struct identity *identity, enum peer target,
                           const char *address, struct tls_context *tls, struct rpc_client **out,
                           struct error *err)
{
    struct rpc_address a;
    enum status s = rpc_address_parse(address, &a, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (a.tls && tls == NULL) {
        return error_set(err, STATUS_INVALID, "%s: TCP is never used without mutual TLS", address);
    }
    struct rpc_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "rpc client: out of memory");
    }
    c->loop = loop;
    c->identity = identity;
    c->target = target;
    c->address = a;
    c->tls = a.tls ? tls : NULL;
    c->body_max = RPC_MESSAGE_MAX;
    list_init(&c->waiting);
    list_init(&c->sent);
    list_init(&c->late);
    list_init(&c->resumed);
    list_init(&c->blocked);
    deadlines_init(&c->deadlines, loop, client_request_on_due);
    (void)uv_timer_init(loop, &c->backoff);
    (void)uv_idle_init(loop, &c->kick);
    c->kick.data = c;
    c->open_handles = 3;
    *out = c;
    return STATUS_OK;
}

bool rpc_client_connected(const struct rpc_client *c)
{
    return c->phase == CLIENT_READY;
}

/* ---- late finishes and resumed requests, outside the functions that asked for them */

static void on_kick(uv_idle_t *h)
{
    struct rpc_client *c = h->data;
    struct list late, resumed;
    (void)uv_idle_stop(h);
    list_init(&late);
    list_init(&resumed);
    while (!list_empty(&c->late)) {
        struct list *it = c->late.next;
        list_remove(it);
        list_push(&late, it);
    }
    while (!list_empty(&c->resumed)) {
        struct list *it = c->resumed.next;
        list_remove(it);
        list_push(&resumed, it);
    }
    while (!list_empty(&late)) {
        struct rpc_request *r = list_entry(late.next, struct rpc_request, link);
        client_request_finish(r, r->outcome, r->outcome_text);
    }
    while (!list_empty(&resumed)) {
        struct rpc_request *r = list_entry(resumed.next, struct rpc_request, turn);
        struct error err;
        list_remove(&r->turn);
        if (client_request_deliver_held(r, &err) != STATUS_OK && c->conn != NULL) {
            rpc_conn_close(c->conn, &err);
        }
    }
}

void rpc_client_kick(struct rpc_client *c)
{
    if (c->phase != CLIENT_CLOSING) {
        (void)uv_idle_start(&c->kick, on_kick);
    }
}

/* ---- the connection */

static void on_backoff(uv_timer_t *timer)
{
    try_connect(container_of(timer, struct rpc_client, backoff));
}

/* Doubling with jitter: the callers of a service that comes back do not all knock at the same
 * moment. */
static void schedule_retry(struct rpc_client *c)
{
    uint32_t base = c->backoff_ms == 0 ? BACKOFF_FIRST_MS : c->backoff_ms * 2;
    c->backoff_ms = base > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : base;
    uint32_t dice;
    random_bytes(&dice, sizeof dice);
    uint64_t wait = c->backoff_ms / 2 + dice % (c->backoff_ms / 2 + 1);
    c->phase = CLIENT_BACKOFF;
    (void)uv_timer_start(&c->backoff, on_backoff, wait, 0);
}

/* Requests that were on the way are lost; those that wait stay only when they want to. */
static void fail_requests(struct rpc_client *c, enum status s, const char *text, bool all)
{
    struct list failed;
    list_init(&failed);
    list_for_each_safe(it, &c->sent)
    {
        list_remove(it);
        list_push(&failed, it);
    }
    list_for_each_safe(it, &c->waiting)
    {
        if (all || !list_entry(it, struct rpc_request, link)->wait_for_ready) {
            list_remove(it);
            list_push(&failed, it);
        }
    }
    while (!list_empty(&failed)) {
        client_request_finish(list_entry(failed.next, struct rpc_request, link), s, text);
    }
}

static void connection_lost(struct rpc_client *c, const char *why)
{
    char text[sizeof(((struct error *)0)->text)];
    bool first = !c->known_down;
    c->conn = NULL;
    c->known_down = true;
    (void)snprintf(text, sizeof text, "%s: %.200s", peer_name(c->target), why);
    if (first) {
        LOG_INFO("rpc peer down", LOG_STR("peer", peer_name(c->target)), LOG_STR("err", why),
                 LOG_END);
    }
    schedule_retry(c);
    fail_requests(c, STATUS_UNAVAILABLE, text, false);
}

static void on_conn_ready(struct rpc_conn *conn)
{
    struct rpc_client *c = conn->owner;
    if (c->known_down) {
        LOG_INFO("rpc peer up", LOG_STR("peer", peer_name(c->target)), LOG_END);
    }
    c->phase = CLIENT_READY;
    c->known_down = false;
    c->backoff_ms = 0;
    while (!list_empty(&c->waiting) && c->phase == CLIENT_READY) {
        client_request_connected(list_entry(c->waiting.next, struct rpc_request, link));
    }
}

static enum status on_conn_frame(struct rpc_conn *conn, const struct frame *f, struct error *err)
{
    return client_request_frame(conn->owner, f, err);
}

static void on_conn_drained(struct rpc_conn *conn)
{
    struct rpc_client *c = conn->owner;
    struct list now;
    list_init(&now);
    while (!list_empty(&c->blocked)) {
        struct list *it = c->blocked.next;
        list_remove(it);
        list_push(&now, it);
    }
    while (!list_empty(&now)) {
        client_request_drained(list_entry(now.next, struct rpc_request, wait));
    }
}

static void on_conn_close(struct rpc_conn *conn, const struct error *why)
{
    struct rpc_client *c = conn->owner;
    if (why->code != STATUS_UNAVAILABLE) {
        LOG_WARN("rpc connection closed", LOG_STR("peer", peer_name(c->target)),
                 LOG_STR("status", status_name(why->code)), LOG_STR("err", why->text), LOG_END);
    }
    connection_lost(c, why->text);
}

static void on_conn_gone(struct rpc_conn *conn)
{
    client_release(conn->owner);
}

static const struct rpc_conn_ops client_conn_ops = {
    .on_ready = on_conn_ready,
    .on_frame = on_conn_frame,
    .on_drained = on_conn_drained,
    .on_close = on_conn_close,
    .on_gone = on_conn_gone,
};

static void try_connect(struct rpc_client *c)
{
    struct error err;
    const struct rpc_conn_options o = {.loop = c->loop,
                                       .identity = c->identity,
                                       .ops = &client_conn_ops,
                                       .owner = c,
                                       .tls = c->tls,
                                       .client = true,
                                       .target = c->target,
                                       .window = CLIENT_WINDOW,
                                       .hello_timeout_ms = CONNECT_TIMEOUT_MS,
                                       .body_max = c->body_max};
    c->phase = CLIENT_CONNECTING;
    if (rpc_conn_new(&o, &c->conn, &err) != STATUS_OK) {
        connection_lost(c, err.text);
        return;
    }
    c->open_handles++;
    if (rpc_conn_connect(c->conn, &c->address, &err) != STATUS_OK) {
        rpc_conn_close(c->conn, &err);
    }
}

static void on_first_use(uv_timer_t *timer)
{
    try_connect(container_of(timer, struct rpc_client, backoff));
}

/* From the timer, because a failure calls back and nobody is called back from rpc_client_start. */
void rpc_client_need_connection(struct rpc_client *c)
{
    if (c->phase == CLIENT_IDLE) {
        c->phase = CLIENT_CONNECTING;
        (void)uv_timer_start(&c->backoff, on_first_use, 0, 0);
    }
}

/* ---- the end */

static void client_release(struct rpc_client *c)
{
    if (--c->open_handles > 0) {
        return;
    }
    void (*on_closed)(void *data) = c->on_closed;
    void *data = c->on_closed_data;
    idmap_deinit(&c->ids);
    free(c);
    if (on_closed != NULL) {
        on_closed(data);
    }
}

static void on_backoff_closed(uv_handle_t *h)
{
    client_release(container_of(h, struct rpc_client, backoff));
}

static void on_kick_closed(uv_handle_t *h)
{
    client_release(h->data);
}

static void on_deadlines_closed(uv_handle_t *h)
{
    client_release(container_of(h, struct rpc_client, deadlines.timer));
}

void rpc_client_shut(struct rpc_client *c)
{
    struct list late;
    c->shut = true;
    list_init(&late);
    list_for_each_safe(it, &c->late)
    {
        list_remove(it);
        list_push(&late, it);
    }
    while (!list_empty(&late)) {
        struct rpc_request *r = list_entry(late.next, struct rpc_request, link);
        client_request_finish(r, r->outcome, r->outcome_text);
    }
    fail_requests(c, STATUS_CANCELLED, "this process is closing", true);
}

void rpc_client_close(struct rpc_client *c, void (*on_closed)(void *data), void *data)
{
    if (c->phase == CLIENT_CLOSING) {
        return;
    }
    c->on_closed = on_closed;
    c->on_closed_data = data;
    c->shut = true;
    c->phase = CLIENT_CLOSING;
    if (c->conn != NULL) {
        rpc_conn_close(c->conn, NULL);
        c->conn = NULL;
    }
    /* Again for requests that a callback started; one that starts another for ever is not followed. */
    for (int i = 0; i < CLOSE_ROUNDS && c->n_requests > 0; i++) {
        rpc_client_shut(c);
    }
    while (!list_empty(&c->late)) {
        rpc_request_cancel(list_entry(c->late.next, struct rpc_request, link));
    }
    uv_close((uv_handle_t *)&c->backoff, on_backoff_closed);
    uv_close((uv_handle_t *)&c->kick, on_kick_closed);
    deadlines_close(&c->deadlines, on_deadlines_closed);
}
