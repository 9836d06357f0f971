/* The server: listens, greets, finds the handler of each call and checks who may call it. */
#include "base/rpc/server.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define CALLS_DEFAULT 16384
#define CONNECTIONS_DEFAULT 256
#define WINDOW_DEFAULT ((uint32_t)1024 * 1024)
#define HELLO_TIMEOUT_DEFAULT_MS 5000
#define BACKLOG 128
#define TENANT_MAX 64
#define TRACEPARENT_MAX 128

static void server_release(struct rpc_server *s);

/* ---- a connection's frames */

static bool tenant_valid(const char *t)
{
    size_t n = 0;
    for (; t[n] != '\0'; n++) {
        bool ok = (t[n] >= 'a' && t[n] <= 'z') || (t[n] >= '0' && t[n] <= '9') || t[n] == '-';
        if (!ok || n >= TENANT_MAX) {
            return false;
        }
    }
    return n > 0;
}

/* serve's signature over a token need not be checked again while the same bytes come back. */
static struct token_slot *token_slot(struct rpc_server *s, const uint8_t *token, size_t len)
{
    if (len > TOKEN_CACHE_BYTES) {
        return NULL;
    }
    if (s->tokens == NULL) {
        s->tokens = calloc(TOKEN_CACHE_SLOTS, sizeof *s->tokens);
    }
    return s->tokens == NULL ? NULL : &s->tokens[hash64(token, len) % TOKEN_CACHE_SLOTS];
}

static enum status verify_caller(struct rpc_server *s, struct rpc_call *c, struct error *err)
{
    struct token_slot *slot = token_slot(s, c->token, c->token_len);
    bool seen = slot != NULL && slot->len == c->token_len &&
                memcmp(slot->bytes, c->token, c->token_len) == 0;
    c->caller = arena_alloc(&c->arena, sizeof *c->caller);
    if (c->caller == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "caller: out of memory");
    }
    int64_t now = clock_wall_ms();
    enum status st =
        seen ? caller_read_verified(c->token, c->token_len, now, &c->arena, c->caller, err)
             : caller_verify(s->identity, c->token, c->token_len, now, &c->arena, c->caller, err);
    if (st == STATUS_OK && slot != NULL && !seen) {
        slot->len = c->token_len;
        memcpy(slot->bytes, c->token, c->token_len);
    }
    return st;
}

/* Tenant, caller and trace of the header into the call. */
static enum status take_origin(struct rpc_server *s, struct rpc_call *c, const Rpc__FrameHeader *h,
                               struct error *err)
{
    const char *tenant = h->tenant == NULL ? "" : h->tenant;
    if (tenant[0] != '\0' && !tenant_valid(tenant)) {
        return error_set(err, STATUS_INVALID,
                         "tenant: expected a-z, 0-9 and '-', at most %d characters", TENANT_MAX);
    }
    if (h->has_caller && h->caller.len > 0) {
        uint8_t *token = arena_alloc(&c->arena, h->caller.len);
        if (token == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "caller: out of memory");
        }
        memcpy(token, h->caller.data, h->caller.len);
        c->token = token;
        c->token_len = h->caller.len;
        enum status st = verify_caller(s, c, err);
        if (st != STATUS_OK) {
            return st;
        }
        if (tenant[0] == '\0') {
            tenant = c->caller->tenant;
        }
        if (strcmp(tenant, c->caller->tenant) != 0) {
            return error_set(err, STATUS_UNAUTHENTICATED, "caller: belongs to another tenant");
        }
        if (tenant[0] != '\0' && !tenant_valid(tenant)) {
            return error_set(err, STATUS_INVALID, "tenant: the caller's is not a tenant's name");
        }
    }
    c->tenant = tenant[0] == '\0' ? "" : arena_strdup(&c->arena, tenant);
    if (h->traceparent != NULL && strlen(h->traceparent) <= TRACEPARENT_MAX) {
        c->traceparent = arena_strdup(&c->arena, h->traceparent);
    }
    return c->tenant == NULL ? error_set(err, STATUS_NO_MEMORY, "tenant: out of memory")
                             : STATUS_OK;
}

/* Refusals that leave the connection alone; STATUS_OK: the call may begin. */
static enum status admit(struct server_conn *sc, const struct rpc_handler *h, struct error *err)
{
    struct rpc_server *s = sc->server;
    if ((h->method->from & (1U << sc->conn->peer)) == 0) {
        LOG_WARN("call refused", LOG_STR("method", h->method->name),
                 LOG_STR("peer", peer_name(sc->conn->peer)), LOG_STR("status", "forbidden"),
                 LOG_END);
        return error_set(err, STATUS_FORBIDDEN, "%s may not call %s", peer_name(sc->conn->peer),
                         h->method->name);
    }
    if (sc->n_calls >= s->limits.calls_per_connection ||
        s->calls_alive >= s->limits.calls_per_connection * 2) {
        return error_set(err, STATUS_BUSY, "too many calls at once");
    }
    if (rpc_conn_full(sc->conn)) {
        return error_set(err, STATUS_BUSY, "the caller does not read its replies");
    }
    return STATUS_OK;
}

static enum status open_call(struct server_conn *sc, const struct frame *f, struct error *err)
{
    const Rpc__FrameHeader *h = f->header;
    struct rpc_server *s = sc->server;
    const char *name = h->method == NULL ? "" : h->method;
    const struct rpc_handler *handler = map_get(&s->by_name, str_from(name));
    if (handler == NULL) {
        return error_set(err, STATUS_PROTOCOL, "unknown method \"%.64s\"", name);
    }
    bool streams = (handler->method->shape & RPC_REQUEST_STREAM) != 0;
    bool has_message = h->has_has_message && h->has_message;
    bool end = !streams || (h->has_end && h->end);
    if (!h->has_id || h->id == 0 || idmap_get(&sc->ids, h->id) != NULL ||
        (!streams && !has_message)) {
        return error_set(err, STATUS_PROTOCOL, "%s: a request with a bad id or no message", name);
    }
    s->stats.calls_total++;
    struct error why;
    uint32_t priority = h->has_priority && h->priority != 0;
    struct rpc_call *c = NULL;
    if (admit(sc, handler, &why) == STATUS_OK) {
        c = server_call_new(sc, handler, h);
        if (c == NULL) {
            error_set(&why, STATUS_NO_MEMORY, "out of memory");
        } else if (take_origin(s, c, h, &why) != STATUS_OK) {
            server_call_free(c);
            c = NULL;
        }
    }
    if (c == NULL) {
        return server_call_refuse(sc, h->id, priority, why.code, why.text, 0)
                   ? STATUS_OK
                   : error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    return server_call_message(c, has_message ? f->body : NULL, f->body_len, end, err);
}

static enum status on_frame(struct rpc_conn *conn, const struct frame *f, struct error *err)
{
    struct server_conn *sc = conn->owner;
    const Rpc__FrameHeader *h = f->header;
    if (h->kind == RPC__FRAME_KIND__REQUEST) {
        return open_call(sc, f, err);
    }
    /* Frames of a call that has just ended cross our END on the way: no fault. */
    struct rpc_call *c = idmap_get(&sc->ids, h->has_id ? h->id : 0);
    switch (h->kind) {
    case RPC__FRAME_KIND__MESSAGE:
        return c == NULL ? STATUS_OK
                         : server_call_message(c, f->body, f->body_len, h->has_end && h->end, err);
    case RPC__FRAME_KIND__END:
        return c == NULL ? STATUS_OK : server_call_message(c, NULL, 0, true, err);
    case RPC__FRAME_KIND__CANCEL:
        if (c != NULL) {
            server_call_cancel(c, STATUS_CANCELLED);
        }
        return STATUS_OK;
    case RPC__FRAME_KIND__CREDIT:
        if (c != NULL && h->has_credit) {
            if (h->credit > INT32_MAX || c->out.credit > INT32_MAX) {
                return error_set(err, STATUS_PROTOCOL, "a credit beyond all bounds");
            }
            server_call_credit(c, h->credit);
        }
        return STATUS_OK;
    case RPC__FRAME_KIND__HELLO:
    case RPC__FRAME_KIND__PROOF:
    case RPC__FRAME_KIND__REQUEST:
    case _RPC__FRAME_KIND_IS_INT_SIZE:
    default:
        return error_set(err, STATUS_PROTOCOL, "a frame of kind %d does not belong here",
                         (int)h->kind);
    }
}

/* ---- a connection's life */

static void on_conn_ready(struct rpc_conn *conn)
{
    LOG_DEBUG("rpc peer connected", LOG_STR("peer", peer_name(conn->peer)), LOG_END);
}

static void on_conn_drained(struct rpc_conn *conn)
{
    struct server_conn *sc = conn->owner;
    struct list now;
    list_init(&now);
    while (!list_empty(&sc->blocked)) {
        struct list *it = sc->blocked.next;
        list_remove(it);
        list_push(&now, it);
    }
    while (!list_empty(&now)) {
        server_call_drained(list_entry(now.next, struct rpc_call, wait));
    }
}

/* Its calls go on without it: their handlers are told and finish when they can. */
static void abandon_calls(struct server_conn *sc)
{
    while (!list_empty(&sc->calls)) {
        struct rpc_call *c = list_entry(sc->calls.next, struct rpc_call, link);
        list_remove(&c->link);
        list_push(&sc->server->detached, &c->link);
        list_remove(&c->wait);
        c->sc = NULL;
        server_call_cancel(c, STATUS_UNAVAILABLE);
    }
}

static void on_conn_close(struct rpc_conn *conn, const struct error *why)
{
    struct server_conn *sc = conn->owner;
    if (why->code == STATUS_UNAVAILABLE) {
        LOG_DEBUG("rpc connection ended", LOG_STR("peer", peer_name(conn->peer)),
                  LOG_STR("err", why->text), LOG_END);
    } else {
        LOG_WARN("rpc connection closed", LOG_STR("peer", peer_name(conn->peer)),
                 LOG_STR("status", status_name(why->code)), LOG_STR("err", why->text), LOG_END);
    }
    abandon_calls(sc);
}

static void on_conn_gone(struct rpc_conn *conn)
{
    struct server_conn *sc = conn->owner;
    struct rpc_server *s = sc->server;
    list_remove(&sc->link);
    idmap_deinit(&sc->ids);
    s->stats.connections_now--;
    free(sc);
    server_release(s);
}

static const struct rpc_conn_ops server_conn_ops = {
    .on_ready = on_conn_ready,
    .on_frame = on_frame,
    .on_drained = on_conn_drained,
    .on_close = on_conn_close,
    .on_gone = on_conn_gone,
};

static void on_spare_closed(uv_handle_t *h)
{
    struct listener *l = container_of(h, struct listener, spare.handle);
    l->spare_busy = false;
    server_release(l->server);
}

/* libuv stops listening until somebody accepts: take the connection, and close it. */
static void refuse_connection(struct listener *l)
{
    l->server->stats.connections_refused++;
    LOG_WARN("rpc connection refused", LOG_STR("err", "out of memory"), LOG_END);
    if (l->spare_busy) {
        return;
    }
    if (l->tls) {
        (void)uv_tcp_init(l->server->loop, &l->spare.tcp);
    } else {
        (void)uv_pipe_init(l->server->loop, &l->spare.pipe, 0);
    }
    l->spare_busy = true;
    l->server->open_handles++;
    (void)uv_accept(&l->io.stream, &l->spare.stream);
    uv_close(&l->spare.handle, on_spare_closed);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = container_of(stream, struct listener, io.stream);
    struct rpc_server *s = l->server;
    struct error err;
    if (status < 0 || s->closing) {
        return;
    }
    struct server_conn *sc = calloc(1, sizeof *sc);
    const struct rpc_conn_options o = {.loop = s->loop,
                                       .identity = s->identity,
                                       .ops = &server_conn_ops,
                                       .owner = sc,
                                       .tls = l->tls ? s->tls : NULL,
                                       .window = s->limits.window_bytes,
                                       .hello_timeout_ms = s->limits.hello_timeout_ms,
                                       .body_max = s->body_max};
    if (sc == NULL || rpc_conn_new(&o, &sc->conn, &err) != STATUS_OK) {
        free(sc);
        refuse_connection(l);
        return;
    }
    sc->server = s;
    sc->conn->peer = PEER_COUNT;
    list_init(&sc->calls);
    list_init(&sc->blocked);
    list_push(&s->conns, &sc->link);
    s->open_handles++;
    s->stats.connections_total++;
    s->stats.connections_now++;
    if (rpc_conn_accept(sc->conn, stream, &err) != STATUS_OK) {
        rpc_conn_close(sc->conn, &err);
    } else if (s->stats.connections_now > s->limits.connections) {
        s->stats.connections_refused++;
        LOG_WARN("rpc connection refused", LOG_STR("err", "too many connections"), LOG_END);
        rpc_conn_close(sc->conn, NULL);
    }
}

/* ---- the server's life */

static void on_kick(uv_idle_t *h)
{
    struct rpc_server *s = h->data;
    (void)uv_idle_stop(h);
    struct list now;
    list_init(&now);
    while (!list_empty(&s->resumed)) {
        struct list *it = s->resumed.next;
        list_remove(it);
        list_push(&now, it);
    }
    while (!list_empty(&now)) {
        struct rpc_call *c = list_entry(now.next, struct rpc_call, turn);
        struct error err;
        list_remove(&c->turn);
        struct rpc_conn *conn = c->sc == NULL ? NULL : c->sc->conn;
        if (conn != NULL && server_call_deliver_held(c, &err) != STATUS_OK) {
            rpc_conn_close(conn, &err);
        }
    }
}

void server_call_kick(struct rpc_server *s)
{
    if (!s->closing) {
        (void)uv_idle_start(&s->kick, on_kick);
    }
}

static uint32_t or_default(uint32_t given, uint32_t fallback)
{
    return given == 0 ? fallback : given;
}

static void server_free(struct rpc_server *s)
{
    map_deinit(&s->by_name);
    free(s->tokens);
    free(s);
}

enum status rpc_server_new(uv_loop_t *loop, const struct identity *identity,
                           const struct rpc_handler *handlers, size_t n_handlers,
                           const struct rpc_limits *limits, void *service, struct rpc_server **out,
                           struct error *err)
{
    struct rpc_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "rpc server: out of memory");
    }
    static const struct rpc_limits none;
    limits = limits == NULL ? &none : limits;
    s->loop = loop;
    s->identity = identity;
    s->handlers = handlers;
    s->service = service;
    s->limits.calls_per_connection = or_default(limits->calls_per_connection, CALLS_DEFAULT);
    s->limits.connections = or_default(limits->connections, CONNECTIONS_DEFAULT);
    s->limits.window_bytes = or_default(limits->window_bytes, WINDOW_DEFAULT);
    s->limits.hello_timeout_ms = or_default(limits->hello_timeout_ms, HELLO_TIMEOUT_DEFAULT_MS);
    list_init(&s->conns);
    list_init(&s->resumed);
    list_init(&s->detached);
    map_init(&s->by_name);
    for (size_t i = 0; i < n_handlers; i++) {
        const struct rpc_method *m = handlers[i].method;
        void *slot = (void *)(uintptr_t)&handlers[i]; /* only ever read back as const */
        uint32_t most = or_default(m->message_max_bytes, RPC_MESSAGE_MAX);
        s->body_max = most > s->body_max ? most : s->body_max;
        if (handlers[i].on_request == NULL || map_get(&s->by_name, str_from(m->name)) != NULL) {
            server_free(s);
            return error_set(err, STATUS_INVALID, "rpc server: %s: twice, or without on_request",
                             m->name);
        }
        if (map_put(&s->by_name, str_from(m->name), slot, NULL) != STATUS_OK) {
            server_free(s);
            return error_set(err, STATUS_NO_MEMORY, "rpc server: out of memory");
        }
    }
    deadlines_init(&s->deadlines, loop, server_call_on_due);
    (void)uv_idle_init(loop, &s->kick);
    s->kick.data = s;
    s->open_handles = 2;
    *out = s;
    return STATUS_OK;
}

void rpc_server_tls(struct rpc_server *s, struct tls_context *tls)
{
    s->tls = tls;
}

static void on_listener_closed(uv_handle_t *h)
{
    struct listener *l = container_of(h, struct listener, io.handle);
    struct rpc_server *s = l->server;
    if (l->dir_fd >= 0) {
        (void)close(l->dir_fd);
    }
    free(l);
    server_release(s);
}

/* A socket file that nobody answers is left from a killed process; one that answers is not ours to
 * take. */
static enum status clear_stale(const char *path, const char *name, struct error *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct stat st;
    if (lstat(path, &st) != 0) {
        return STATUS_OK;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return error_set(err, STATUS_CONFLICT, "%s: is there and is no socket", name);
    }
    memcpy(to.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* EAGAIN: somebody listens, and more wait already than he lets in */
    bool answers =
        fd >= 0 && (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 || errno == EAGAIN);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (answers) {
        return error_set(err, STATUS_CONFLICT, "%s: another process listens there", name);
    }
    (void)unlink(path);
    return STATUS_OK;
}

static enum status bind_unix(struct listener *l, const struct rpc_address *a, struct error *err)
{
    char path[RPC_SOCKET_PATH_CAP];
    enum status s = rpc_address_socket_path(a, path, &l->dir_fd, err);
    if (s == STATUS_OK) {
        s = clear_stale(path, a->path, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    int rc = uv_pipe_bind(&l->io.pipe, path);
    if (rc != 0) {
        return error_set(err, STATUS_IO, "%s: %s", a->path, uv_strerror(rc));
    }
    if (chmod(path, 0600) != 0) {
        return error_errno(err, errno, "%s", a->path);
    }
    return STATUS_OK;
}

static enum status bind_tls(struct listener *l, const struct rpc_address *a, struct error *err)
{
    struct sockaddr_storage at;
    if (l->server->tls == NULL) {
        return error_set(err, STATUS_INVALID, "%s:%d: TCP is never served without mutual TLS",
                         a->host, a->port);
    }
    enum status s = rpc_address_resolve(a, l->server->loop, &at, err);
    if (s != STATUS_OK) {
        return s;
    }
    int rc = uv_tcp_bind(&l->io.tcp, (const struct sockaddr *)&at, 0);
    return rc == 0 ? STATUS_OK
                   : error_set(err, STATUS_IO, "%s:%d: %s", a->host, a->port, uv_strerror(rc));
}

enum status rpc_server_listen(struct rpc_server *s, const char *address, struct error *err)
{
    struct rpc_address a;
    enum status st = rpc_address_parse(address, &a, err);
    if (st != STATUS_OK) {
        return st;
    }
    if (s->closing || s->n_listeners == LISTENERS_MAX) {
        return error_set(err, STATUS_BUSY, "%s: the server closes or listens in %d places already",
                         address, LISTENERS_MAX);
    }
    struct listener *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "rpc server: out of memory");
    }
    l->server = s;
    l->tls = a.tls;
    l->dir_fd = -1;
    if (a.tls) {
        (void)uv_tcp_init(s->loop, &l->io.tcp);
    } else {
        (void)uv_pipe_init(s->loop, &l->io.pipe, 0);
    }
    s->open_handles++;
    st = a.tls ? bind_tls(l, &a, err) : bind_unix(l, &a, err);
    if (st == STATUS_OK) {
        int rc = uv_listen(&l->io.stream, BACKLOG, on_connection);
        if (rc != 0) {
            st = error_set(err, STATUS_IO, "%s: %s", address, uv_strerror(rc));
        }
    }
    if (st != STATUS_OK) {
        uv_close(&l->io.handle, on_listener_closed);
        return st;
    }
    s->listeners[s->n_listeners++] = l;
    return STATUS_OK;
}

static void server_release(struct rpc_server *s)
{
    if (--s->open_handles > 0 || !s->closing) {
        return;
    }
    void (*on_closed)(void *data) = s->on_closed;
    void *data = s->on_closed_data;
    /* What handlers still work on outlives us and ends in silence. */
    while (!list_empty(&s->detached)) {
        struct rpc_call *c = list_entry(s->detached.next, struct rpc_call, link);
        list_remove(&c->link);
        c->server = NULL;
    }
    server_free(s);
    if (on_closed != NULL) {
        on_closed(data);
    }
}

static void on_deadlines_closed(uv_handle_t *h)
{
    server_release(container_of(h, struct rpc_server, deadlines.timer));
}

static void on_kick_closed(uv_handle_t *h)
{
    server_release(h->data);
}

void rpc_server_close(struct rpc_server *s, void (*on_closed)(void *data), void *data)
{
    if (s->closing) {
        return;
    }
    s->closing = true;
    s->on_closed = on_closed;
    s->on_closed_data = data;
    for (size_t i = 0; i < s->n_listeners; i++) {
        uv_close(&s->listeners[i]->io.handle, on_listener_closed);
    }
    list_for_each_safe(it, &s->conns)
    {
        struct server_conn *sc = list_entry(it, struct server_conn, link);
        list_for_each_safe(call, &sc->calls)
        {
            struct rpc_call *c = list_entry(call, struct rpc_call, link);
            if (c->listening) {
                (void)server_call_refuse(sc, c->id, c->priority, STATUS_UNAVAILABLE, NULL,
                                         effort_cpu_us(&c->effort));
            }
        }
        if (sc->conn->phase != CONN_CLOSING) {
            rpc_conn_close(sc->conn, NULL);
        }
        abandon_calls(sc);
    }
    deadlines_close(&s->deadlines, on_deadlines_closed);
    uv_close((uv_handle_t *)&s->kick, on_kick_closed);
}

void rpc_server_stats(const struct rpc_server *s, struct rpc_server_stats *out)
{
    *out = s->stats;
    out->calls_now = s->calls_alive;
}

void rpc_options_from_call(struct rpc_call *call, struct rpc_options *out)
{
    int64_t left = call->deadline.at_ms - clock_monotonic_ms();
    *out = (struct rpc_options){.timeout_ms = left < 1            ? 1
                                              : left > UINT32_MAX ? UINT32_MAX
                                                                  : (uint32_t)left,
                                .tenant = call->tenant,
                                .caller = call->token,
                                .caller_len = call->token_len,
                                .traceparent = call->traceparent,
                                .priority = call->priority,
                                .effort = &call->effort};
}
