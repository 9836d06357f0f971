/* A connection goes: greeting -> request -> resolve -> dial (address after address) -> pipe both ways.
 * conn_close is the only way out; memory goes when all handles are closed and no resolve is under way. */
#include "generate/egress/egress.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"

#define PIECE_BYTES 16384
#define REQUEST_MAX 300 /* greeting of 257 bytes or request of 262 */
#define CONNECTIONS 64
#define CONNECT_TIMEOUT_MS 15000
#define IDLE_TIMEOUT_MS 300000
#define BACKLOG 32

enum socks_reply {
    SOCKS_OK = 0,
    SOCKS_FAILED = 1,
    SOCKS_NOT_ALLOWED = 2,
    SOCKS_UNREACHABLE = 4,
    SOCKS_REFUSED = 5,
    SOCKS_NO_COMMAND = 7,
    SOCKS_NO_ADDRESS_TYPE = 8,
};

enum conn_phase { CONN_GREETING, CONN_REQUEST, CONN_RESOLVING, CONN_DIALLING, CONN_PIPING, CONN_ENDING };

/* One direction: a piece is read, then written, then the next is read; nothing piles up. */
struct half {
    struct conn *conn;
    uv_stream_t *from, *to;
    uv_write_t write;
    uv_shutdown_t shutdown;
    bool ended;
    uint64_t bytes;
    char piece[PIECE_BYTES];
};

struct conn {
    struct list link;
    struct egress *egress;
    enum conn_phase phase;
    uv_pipe_t client;
    uv_tcp_t remote;
    uv_timer_t timer;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_write_t write;
    unsigned busy; /* open handles, and a resolve under way */
    bool remote_open, resolving;
    uint8_t in[REQUEST_MAX];
    size_t in_len;
    uint8_t out[10];
    const struct destination *destination;
    char place[DESTINATION_CAP]; /* as asked for; for the log */
    struct addrinfo *addresses, *next;
    bool saw_private;
    const char *verdict;
    int64_t started_ms;
    struct half up, down;
};

struct egress {
    struct egress_options options;
    uv_loop_t *loop;
    uv_pipe_t listener;
    struct list conns;
    uint32_t n_conns;
    bool listener_open;
    struct egress_stats stats;
    void (*closed)(void *data);
    void *closed_data;
};

static void dial_next(struct conn *c);

static void ended(struct egress *e)
{
    if (e->closed != NULL && !e->listener_open && e->n_conns == 0) {
        void (*closed)(void *) = e->closed;
        void *data = e->closed_data;
        free(e);
        closed(data);
    }
}

static void conn_unbusy(struct conn *c)
{
    if (--c->busy == 0) {
        struct egress *e = c->egress;
        if (c->addresses != NULL) {
            uv_freeaddrinfo(c->addresses);
        }
        list_remove(&c->link);
        e->n_conns--;
        free(c);
        ended(e);
    }
}

static void on_closed(uv_handle_t *h)
{
    conn_unbusy(h->data);
}

static void conn_close(struct conn *c, const char *verdict)
{
    if (uv_is_closing((uv_handle_t *)&c->client)) {
        return;
    }
    c->verdict = c->verdict == NULL ? verdict : c->verdict;
    c->phase = CONN_ENDING;
    c->egress->stats.bytes_up += c->up.bytes;
    c->egress->stats.bytes_down += c->down.bytes;
    LOG_INFO("egress", LOG_STR("to", c->place), LOG_STR("verdict", c->verdict),
             LOG_INT("up", c->up.bytes), LOG_INT("down", c->down.bytes),
             LOG_INT("dur_ms", clock_monotonic_ms() - c->started_ms), LOG_END);
    if (c->resolving) {
        (void)uv_cancel((uv_req_t *)&c->resolve); /* its callback comes in any case */
    }
    uv_close((uv_handle_t *)&c->client, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
    if (c->remote_open && !uv_is_closing((uv_handle_t *)&c->remote)) {
        uv_close((uv_handle_t *)&c->remote, on_closed);
    }
}

static void on_timeout(uv_timer_t *h)
{
    struct conn *c = h->data;
    conn_close(c, c->phase == CONN_PIPING ? "idle too long" : "took too long to connect");
}

static void arm(struct conn *c)
{
    uint32_t ms = c->egress->options.idle_timeout_ms;
    (void)uv_timer_start(&c->timer, on_timeout, ms == 0 ? IDLE_TIMEOUT_MS : ms, 0);
}

/* ---- piping -------------------------------------------------------------------------------------- */

static void on_piece_room(uv_handle_t *h, size_t wanted, uv_buf_t *out);
static void on_piece(uv_stream_t *s, ssize_t n, const uv_buf_t *b);

static struct half *half_from(struct conn *c, const void *from)
{
    return from == (const void *)&c->client ? &c->up : &c->down;
}

static void on_piece_room(uv_handle_t *h, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct half *half = half_from(h->data, h);
    *out = uv_buf_init(half->piece, sizeof half->piece);
}

static void on_shutdown(uv_shutdown_t *r, int status)
{
    struct half *h = container_of(r, struct half, shutdown);
    if (status != 0 || (h->conn->up.ended && h->conn->down.ended)) {
        conn_close(h->conn, "done");
    }
}

static void on_written(uv_write_t *w, int status)
{
    struct half *h = container_of(w, struct half, write);
    if (h->conn->phase != CONN_PIPING) {
        return;
    }
    if (status != 0 || uv_read_start(h->from, on_piece_room, on_piece) != 0) {
        conn_close(h->conn, "done");
    }
}

static void on_piece(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct conn *c = s->data;
    struct half *h = half_from(c, s);
    if (n == 0) {
        return;
    }
    (void)uv_read_stop(s);
    if (n == UV_EOF) {
        h->ended = true;
        if (uv_shutdown(&h->shutdown, h->to, on_shutdown) != 0) {
            conn_close(c, "done");
        }
        return;
    }
    if (n < 0) {
        conn_close(c, "broken off");
        return;
    }
    h->bytes += (uint64_t)n;
    arm(c);
    uv_buf_t piece = uv_buf_init(b->base, (unsigned)n);
    if (uv_write(&h->write, h->to, &piece, 1, on_written) != 0) {
        conn_close(c, "broken off");
    }
}

/* ---- answering the client ------------------------------------------------------------------------ */

static void on_refusal_written(uv_write_t *w, int status)
{
    (void)status;
    conn_close(container_of(w, struct conn, write), "refused");
}

static void reply(struct conn *c, enum socks_reply code, uv_write_cb then)
{
    memset(c->out, 0, sizeof c->out);
    c->out[0] = 5;
    c->out[1] = (uint8_t)code;
    c->out[3] = 1; /* an IPv4 address follows, all zero: where we dial from is nobody's concern */
    uv_buf_t b = uv_buf_init((char *)c->out, sizeof c->out);
    if (uv_write(&c->write, (uv_stream_t *)&c->client, &b, 1, then) != 0) {
        conn_close(c, "broken off");
    }
}

static void refuse(struct conn *c, enum socks_reply code, const char *verdict)
{
    c->egress->stats.refused++;
    c->verdict = verdict;
    c->phase = CONN_ENDING;
    (void)uv_read_stop((uv_stream_t *)&c->client);
    reply(c, code, on_refusal_written);
}

static void on_accepted_written(uv_write_t *w, int status)
{
    struct conn *c = container_of(w, struct conn, write);
    if (c->phase != CONN_PIPING) {
        return;
    }
    if (status != 0 ||
        uv_read_start((uv_stream_t *)&c->client, on_piece_room, on_piece) != 0 ||
        uv_read_start((uv_stream_t *)&c->remote, on_piece_room, on_piece) != 0) {
        conn_close(c, "broken off");
    }
}

/* ---- dialling ------------------------------------------------------------------------------------ */

static void on_remote_gone(uv_handle_t *h) /* one address failed: the next */
{
    struct conn *c = h->data;
    c->remote_open = false;
    if (c->phase == CONN_DIALLING) {
        dial_next(c);
    }
    conn_unbusy(c);
}

static void on_connected(uv_connect_t *r, int status)
{
    struct conn *c = container_of(r, struct conn, connect);
    if (c->phase != CONN_DIALLING) {
        return;
    }
    if (status != 0) {
        uv_close((uv_handle_t *)&c->remote, on_remote_gone);
        return;
    }
    c->phase = CONN_PIPING;
    c->up.conn = c->down.conn = c;
    c->up.from = c->down.to = (uv_stream_t *)&c->client;
    c->up.to = c->down.from = (uv_stream_t *)&c->remote;
    (void)uv_tcp_nodelay(&c->remote, 1);
    arm(c);
    reply(c, SOCKS_OK, on_accepted_written);
}

static void dial_next(struct conn *c)
{
    for (; c->next != NULL; c->next = c->next->ai_next) {
        if (!c->egress->options.allow_private_address && !c->destination->allow_private &&
            address_private(c->next->ai_addr)) {
            c->saw_private = true;
            continue;
        }
        const struct sockaddr *address = c->next->ai_addr;
        c->next = c->next->ai_next;
        (void)uv_tcp_init(c->egress->loop, &c->remote);
        c->remote.data = c;
        c->remote_open = true;
        c->busy++;
        if (uv_tcp_connect(&c->connect, &c->remote, address, on_connected) != 0) {
            uv_close((uv_handle_t *)&c->remote, on_remote_gone);
        }
        return;
    }
    if (c->saw_private) {
        refuse(c, SOCKS_NOT_ALLOWED,
               "refused: its address is private (allow_private_address)");
    } else {
        refuse(c, SOCKS_REFUSED, "no address of it answers");
    }
}

static void on_resolved(uv_getaddrinfo_t *r, int status, struct addrinfo *found)
{
    struct conn *c = container_of(r, struct conn, resolve);
    c->resolving = false;
    c->addresses = found;
    if (c->phase == CONN_RESOLVING && status != 0) {
        refuse(c, SOCKS_UNREACHABLE, "its name cannot be resolved");
    } else if (c->phase == CONN_RESOLVING) {
        c->phase = CONN_DIALLING;
        c->next = found;
        dial_next(c);
    }
    conn_unbusy(c);
}

static void open_destination(struct conn *c)
{
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)c->destination->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    c->phase = CONN_RESOLVING;
    int rc = uv_getaddrinfo(c->egress->loop, &c->resolve, on_resolved, c->destination->host, port,
                            &hints);
    if (rc != 0) {
        refuse(c, SOCKS_FAILED, "its name cannot be resolved");
        return;
    }
    c->resolving = true;
    c->busy++;
}

/* ---- SOCKS --------------------------------------------------------------------------------------- */

static void read_greeting(struct conn *c)
{
    if (c->in_len < 2 || c->in_len < 2U + c->in[1]) {
        return;
    }
    size_t len = 2U + c->in[1];
    if (memchr(c->in + 2, 0, c->in[1]) == NULL || c->in_len != len) {
        conn_close(c, "not SOCKS5 without authentication");
        return;
    }
    c->in_len = 0;
    c->phase = CONN_REQUEST;
    static const char accepted[2] = {5, 0};
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)accepted, sizeof accepted);
    /* two bytes into an empty socket: they fit, or the peer is not there */
    if (uv_try_write((uv_stream_t *)&c->client, &b, 1) != (int)sizeof accepted) {
        conn_close(c, "broken off");
    }
}

/* The length of the request and what it names; 0 while incomplete, SIZE_MAX for an unknown address type. */
static size_t parse_request(const struct conn *c, char text[DESTINATION_HOST_CAP], struct str *host,
                            uint16_t *port)
{
    if (c->in_len < 5) {
        return 0;
    }
    size_t from = c->in[3] == 3 ? 5 : 4;
    size_t len = c->in[3] == 1 ? 4 : c->in[3] == 4 ? 16 : c->in[3] == 3 ? c->in[4] : SIZE_MAX;
    if (len == SIZE_MAX) {
        return SIZE_MAX;
    }
    if (c->in_len < from + len + 2) {
        return 0;
    }
    if (c->in[3] == 3) {
        memcpy(text, c->in + from, len); /* at most 255 */
        text[len] = '\0';
    } else {
        (void)inet_ntop(c->in[3] == 1 ? AF_INET : AF_INET6, c->in + from, text, DESTINATION_HOST_CAP);
        len = 0;
    }
    *host = (struct str){.ptr = text, .len = c->in[3] == 3 ? len : strlen(text)};
    size_t at = from + (c->in[3] == 1 ? 4 : c->in[3] == 4 ? 16 : len);
    *port = (uint16_t)(c->in[at] << 8 | c->in[at + 1]);
    return at + 2;
}

static void read_request(struct conn *c)
{
    char text[DESTINATION_HOST_CAP];
    struct str host = {0};
    uint16_t port = 0;
    size_t len = parse_request(c, text, &host, &port);
    if (len == 0) {
        return;
    }
    if (len == SIZE_MAX || c->in[0] != 5 || c->in[1] != 1 || c->in_len != len) {
        refuse(c, len == SIZE_MAX ? SOCKS_NO_ADDRESS_TYPE : SOCKS_NO_COMMAND,
               "refused: not a SOCKS5 CONNECT");
        return;
    }
    const struct egress_options *o = &c->egress->options;
    struct destination asked = {.port = port};
    for (size_t i = 0; i < host.len; i++) { /* for the log: what a name may hold and nothing else */
        char ch = host.ptr[i];
        asked.host[i] = ch > ' ' && ch < 0x7f ? ch : '?';
    }
    destination_format(&asked, c->place);
    for (size_t i = 0; c->destination == NULL && i < o->n_destinations; i++) {
        if (destination_matches(&o->destinations[i], host, port)) {
            c->destination = &o->destinations[i];
        }
    }
    (void)uv_read_stop((uv_stream_t *)&c->client);
    if (c->destination == NULL) {
        refuse(c, SOCKS_NOT_ALLOWED, "refused: not a configured destination");
    } else {
        open_destination(c);
    }
}

static void on_request_room(uv_handle_t *h, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct conn *c = h->data;
    *out = uv_buf_init((char *)c->in + c->in_len, (unsigned)(sizeof c->in - c->in_len));
}

static void on_request_bytes(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    (void)b;
    struct conn *c = s->data;
    if (n < 0) { /* UV_ENOBUFS too: more than any request has */
        conn_close(c, "broken off");
        return;
    }
    c->in_len += (size_t)n;
    if (c->in_len > 0 && c->in[0] != 5) {
        conn_close(c, "not SOCKS5");
    } else if (c->phase == CONN_GREETING) {
        read_greeting(c);
    } else if (c->phase == CONN_REQUEST) {
        read_request(c);
    }
}

/* ---- listening ----------------------------------------------------------------------------------- */

static void on_stray_closed(uv_handle_t *h)
{
    free(h);
}

/* Over the limit: accept and drop, or the listener would call again and again. */
static void drop_one(struct egress *e)
{
    uv_pipe_t *stray = calloc(1, sizeof *stray);
    if (stray != NULL && uv_pipe_init(e->loop, stray, 0) == 0) {
        (void)uv_accept((uv_stream_t *)&e->listener, (uv_stream_t *)stray);
        uv_close((uv_handle_t *)stray, on_stray_closed);
    }
    e->stats.refused++;
    LOG_WARN("egress", LOG_STR("verdict", "refused: too many connections"),
             LOG_INT("open", e->n_conns), LOG_END);
}

static void on_connection(uv_stream_t *s, int status)
{
    struct egress *e = s->data;
    if (status != 0) {
        return;
    }
    uint32_t most = e->options.max_connections;
    struct conn *c = e->n_conns < (most == 0 ? CONNECTIONS : most) ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        drop_one(e);
        return;
    }
    c->egress = e;
    c->started_ms = clock_monotonic_ms();
    list_push(&e->conns, &c->link);
    e->n_conns++;
    e->stats.connections++;
    (void)uv_pipe_init(e->loop, &c->client, 0); /* these never fail */
    (void)uv_timer_init(e->loop, &c->timer);
    c->client.data = c->timer.data = c;
    c->busy = 2;
    uint32_t ms = e->options.connect_timeout_ms;
    (void)uv_timer_start(&c->timer, on_timeout, ms == 0 ? CONNECT_TIMEOUT_MS : ms, 0);
    if (uv_accept(s, (uv_stream_t *)&c->client) != 0 ||
        uv_read_start((uv_stream_t *)&c->client, on_request_room, on_request_bytes) != 0) {
        conn_close(c, "broken off");
    }
}

static void on_listener_closed(uv_handle_t *h)
{
    struct egress *e = h->data;
    e->listener_open = false;
    ended(e);
}

static void on_failed_listener_closed(uv_handle_t *h)
{
    free(h->data);
}

enum status egress_new(uv_loop_t *loop, const struct egress_options *o, struct egress **out,
                       struct error *err)
{
    if (strlen(o->socket) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        return error_set(err, STATUS_TOO_LARGE, "%.120s...: too long for a socket's path", o->socket);
    }
    struct egress *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    e->options = *o;
    e->loop = loop;
    list_init(&e->conns);
    (void)uv_pipe_init(loop, &e->listener, 0);
    e->listener.data = e;
    (void)unlink(o->socket); /* one left by a killed process; if it stays, binding says so */
    mode_t before = umask(0177);
    int rc = uv_pipe_bind(&e->listener, o->socket);
    (void)umask(before);
    rc = rc != 0 ? rc : uv_listen((uv_stream_t *)&e->listener, BACKLOG, on_connection);
    if (rc != 0) {
        uv_close((uv_handle_t *)&e->listener, on_failed_listener_closed);
        return error_errno(err, -rc, "%s", o->socket);
    }
    e->listener_open = true;
    *out = e;
    return STATUS_OK;
}

void egress_stats(const struct egress *e, struct egress_stats *out)
{
    *out = e->stats;
    out->open = e->n_conns;
    list_for_each(it, &e->conns)
    {
        const struct conn *c = list_entry(it, struct conn, link);
        if (c->phase == CONN_PIPING) {
            out->bytes_up += c->up.bytes;
            out->bytes_down += c->down.bytes;
        }
    }
}

void egress_close(struct egress *e, void (*closed)(void *data), void *data)
{
    e->closed = closed;
    e->closed_data = data;
    (void)unlink(e->options.socket);
    uv_close((uv_handle_t *)&e->listener, on_listener_closed);
    list_for_each_safe(it, &e->conns)
    {
        struct conn *c = list_entry(it, struct conn, link);
        if (!uv_is_closing((uv_handle_t *)&c->client)) {
            conn_close(c, "egress is stopping");
        }
    }
}

enum status egress_socket_path(const char *home, char *out, size_t cap, struct error *err)
{
    return file_join(out, cap, home, "run/egress-socks.sock", err);
}
