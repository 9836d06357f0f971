/* One call as the server sees it: messages in, replies out, the end. */
#include "base/rpc/server.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rpc/message.h"

static bool request_streams(const struct rpc_call *c)
{
    return (c->handler->method->shape & RPC_REQUEST_STREAM) != 0;
}

static uint32_t message_max(const struct rpc_method *m)
{
    return m->message_max_bytes == 0 ? RPC_MESSAGE_MAX : m->message_max_bytes;
}

struct rpc_call *server_call_new(struct server_conn *sc, const struct rpc_handler *h,
                                 const Rpc__FrameHeader *header)
{
    struct rpc_call *c = calloc(1, sizeof *c);
    if (c == NULL || !idmap_put(&sc->ids, header->id, c)) {
        free(c);
        return NULL;
    }
    struct rpc_server *s = sc->server;
    list_init(&c->turn);
    list_init(&c->wait);
    list_push(&sc->calls, &c->link);
    sc->n_calls++;
    s->calls_alive++;
    c->server = s;
    c->sc = sc;
    c->handler = h;
    c->service = s->service;
    c->id = header->id;
    c->priority = header->has_priority && header->priority != 0 ? 1 : 0;
    c->peer = sc->conn->peer;
    c->listening = true;
    arena_init(&c->arena, CALL_ARENA_MAX);
    c->tenant = "";
    effort_init(&c->effort);
    effort_use_init(&c->own, &c->effort);
    flow_in_init(&c->in, sc->conn->window);
    c->out.credit = sc->conn->peer_window;
    uint32_t ms = header->has_time_left_ms ? header->time_left_ms : h->method->timeout_ms;
    c->deadline = (struct deadline){.at_ms = clock_monotonic_ms() + (ms == 0 ? 1 : ms),
                                    .slot = DEADLINE_NONE};
    if (!deadlines_add(&s->deadlines, &c->deadline)) {
        server_call_free(c);
        return NULL;
    }
    return c;
}

/* The caller hears no more of this call and we hear no more of the caller. */
static void forget_id(struct rpc_call *c)
{
    if (!c->listening) {
        return;
    }
    c->listening = false;
    if (c->sc != NULL) {
        idmap_remove(&c->sc->ids, c->id);
    }
    if (c->server != NULL) {
        deadlines_remove(&c->server->deadlines, &c->deadline);
    }
}

void server_call_free(struct rpc_call *c)
{
    forget_id(c);
    list_remove(&c->link);
    list_remove(&c->turn);
    list_remove(&c->wait);
    if (c->sc != NULL) {
        c->sc->n_calls--;
    }
    if (c->server != NULL) {
        c->server->calls_alive--;
    }
    flow_in_drop(&c->in);
    effort_end(&c->effort);
    arena_reset(&c->arena);
    free(c);
}

static void before_callback(struct rpc_call *c)
{
    c->in_callback++;
    effort_enter(&c->own);
}

/* After each callback: true when the call is gone. */
static bool after_callback(struct rpc_call *c)
{
    effort_leave(&c->own);
    if (--c->in_callback == 0 && c->finished) {
        server_call_free(c);
        return true;
    }
    return c->finished;
}

static bool send_header(struct rpc_call *c, Rpc__FrameHeader *h, const ProtobufCMessage *body)
{
    h->has_id = 1;
    h->id = c->id;
    return rpc_conn_send_message(c->sc->conn, h, body, c->priority);
}

static void send_end(struct rpc_call *c, enum status s, const char *text)
{
    (void)server_call_refuse(c->sc, c->id, c->priority, s, text, effort_cpu_us(&c->effort));
    forget_id(c);
}

bool server_call_refuse(struct server_conn *sc, uint32_t id, uint32_t priority, enum status s,
                        const char *text, int64_t cpu_us)
{
    char copy[256];
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = RPC__FRAME_KIND__END;
    h.has_id = 1;
    h.id = id;
    h.has_status = 1;
    h.status = (uint32_t)s;
    h.has_cpu_us = cpu_us > 0;
    h.cpu_us = cpu_us > 0 ? (uint64_t)cpu_us : 0;
    if (s != STATUS_OK) {
        /* The text may come from anywhere; one that is no string would cost us the connection. */
        const char *said = text == NULL ? status_text(s) : text;
        (void)snprintf(copy, sizeof copy, "%s", said);
        size_t len = strlen(copy);
        while (len > 0 && !message_text_valid((const uint8_t *)copy, len)) {
            copy[--len] = '\0';
        }
        h.text = copy;
        sc->server->stats.calls_failed++;
    }
    return rpc_conn_send_message(sc->conn, &h, NULL, priority);
}

static void give_credit(struct rpc_call *c, uint32_t credit)
{
    if (credit == 0 || !c->listening || c->end_seen) {
        return;
    }
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = RPC__FRAME_KIND__CREDIT;
    h.has_credit = 1;
    h.credit = credit;
    (void)send_header(c, &h, NULL);
}

static void server_call_cancel_because(struct rpc_call *c, enum status status, const char *text);

/* STATUS_OK also when the call is gone afterwards (*gone). */
static enum status deliver(struct rpc_call *c, const uint8_t *body, size_t len, bool *gone,
                           struct error *err)
{
    struct arena scratch;
    ProtobufCMessage *m;
    *gone = false;
    arena_init(&scratch, message_memory_max(len));
    enum status s = message_unpack(c->handler->method->request, body, len, &scratch, &m, err);
    if (s == STATUS_OK) {
        before_callback(c);
        c->known = true;
        c->handler->on_request(c, m);
        *gone = after_callback(c);
        arena_reset(&scratch);
        if (!*gone) {
            give_credit(c, flow_in_delivered(&c->in, len));
        }
        return STATUS_OK;
    }
    arena_reset(&scratch);
    if (s != STATUS_PROTOCOL) {
        /* The form is right, the content is not: this call's fault alone. */
        server_call_cancel_because(c, s, err->text);
        *gone = true;
        return STATUS_OK;
    }
    return s;
}

static void tell_end(struct rpc_call *c)
{
    if (c->end_told || !c->end_seen || c->in.paused || !list_empty(&c->in.held)) {
        return;
    }
    c->end_told = true;
    if (request_streams(c) && c->handler->on_end != NULL && !atomic_load(&c->cancelled)) {
        before_callback(c);
        c->known = true;
        c->handler->on_end(c);
        (void)after_callback(c);
    }
}

enum status server_call_message(struct rpc_call *c, const uint8_t *body, size_t len, bool end,
                                struct error *err)
{
    if (c->end_seen) {
        return error_set(err, STATUS_PROTOCOL, "%s: a message after the end",
                         c->handler->method->name);
    }
    bool gone = false;
    if (body != NULL) {
        if (len > message_max(c->handler->method)) {
            return error_set(err, STATUS_PROTOCOL,
                             "%s: a message of %zu bytes is over the limit of %u",
                             c->handler->method->name, len, message_max(c->handler->method));
        }
        if (!flow_in_arrived(&c->in, len)) {
            return error_set(err, STATUS_PROTOCOL, "%s: more bytes than the window allows",
                             c->handler->method->name);
        }
        c->end_seen = end;
        if (c->in.paused || !list_empty(&c->in.held)) {
            if (!flow_in_hold(&c->in, body, len)) {
                server_call_cancel(c, STATUS_NO_MEMORY);
                return STATUS_OK;
            }
        } else {
            enum status s = deliver(c, body, len, &gone, err);
            if (s != STATUS_OK) {
                return s;
            }
        }
    }
    if (!gone) {
        c->end_seen = end;
        tell_end(c);
    }
    return STATUS_OK;
}

enum status server_call_deliver_held(struct rpc_call *c, struct error *err)
{
    while (!c->in.paused && !list_empty(&c->in.held)) {
        struct held_message *h = list_entry(c->in.held.next, struct held_message, link);
        bool gone;
        list_remove(&h->link);
        enum status s = deliver(c, h->data, h->len, &gone, err);
        free(h);
        if (s != STATUS_OK || gone) {
            return s;
        }
    }
    tell_end(c);
    return STATUS_OK;
}

static void maybe_ready(struct rpc_call *c)
{
    if (!c->out.blocked || c->out.credit <= 0 || c->sc == NULL || atomic_load(&c->cancelled)) {
        return;
    }
    if (rpc_conn_full(c->sc->conn)) {
        if (list_empty(&c->wait)) {
            list_push(&c->sc->blocked, &c->wait);
        }
        return;
    }
    c->out.blocked = false;
    if (c->handler->on_ready != NULL) {
        before_callback(c);
        c->handler->on_ready(c);
        (void)after_callback(c);
    }
}

void server_call_credit(struct rpc_call *c, uint32_t credit)
{
    c->out.credit += credit;
    maybe_ready(c);
}

void server_call_drained(struct rpc_call *c)
{
    list_remove(&c->wait);
    maybe_ready(c);
}

static void server_call_cancel_because(struct rpc_call *c, enum status status, const char *text)
{
    if (c->listening && c->sc != NULL && status != STATUS_CANCELLED) {
        send_end(c, status, text);
    }
    forget_id(c);
    if (!c->known) {
        server_call_free(c);
        return;
    }
    if (!atomic_exchange(&c->cancelled, true) && !c->finished) {
        flow_in_drop(&c->in);
        list_remove(&c->turn);
        list_remove(&c->wait);
        if (c->handler->on_cancel != NULL) {
            before_callback(c);
            c->handler->on_cancel(c);
            (void)after_callback(c);
        }
    }
}

void server_call_cancel(struct rpc_call *c, enum status status)
{
    server_call_cancel_because(c, status, NULL);
}

void server_call_on_due(struct deadline *d)
{
    server_call_cancel(container_of(d, struct rpc_call, deadline), STATUS_DEADLINE);
}

/* ---- the handler's side */

void *rpc_call_service(const struct rpc_call *c)
{
    return c->service;
}

const struct rpc_method *rpc_call_method(const struct rpc_call *c)
{
    return c->handler->method;
}

void **rpc_call_data(struct rpc_call *c)
{
    return &c->data;
}

struct arena *rpc_call_arena(struct rpc_call *c)
{
    return &c->arena;
}

enum peer rpc_call_peer(const struct rpc_call *c)
{
    return c->peer;
}

const char *rpc_call_tenant(const struct rpc_call *c)
{
    return c->tenant;
}

const struct caller *rpc_call_caller(const struct rpc_call *c)
{
    return c->caller;
}

int64_t rpc_call_deadline_ms(const struct rpc_call *c)
{
    return c->deadline.at_ms;
}

struct effort *rpc_call_effort(struct rpc_call *c)
{
    return &c->effort;
}

bool rpc_call_cancelled(const struct rpc_call *c)
{
    return atomic_load(&c->cancelled);
}

/* A reply; `last` also ends the call with OK. STATUS_OK: queued. */
static enum status send_reply(struct rpc_call *c, const ProtobufCMessage *m, bool last)
{
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = RPC__FRAME_KIND__MESSAGE;
    h.has_id = 1;
    h.id = c->id;
    h.has_end = last;
    h.end = last;
    h.cpu_us = (uint64_t)effort_cpu_us(&c->effort);
    h.has_cpu_us = h.cpu_us > 0;
    size_t len = protobuf_c_message_get_packed_size(m);
    if (len > message_max(c->handler->method)) {
        LOG_ERROR("reply over the limit", LOG_STR("method", c->handler->method->name),
                  LOG_INT("bytes", len), LOG_END);
        return STATUS_TOO_LARGE;
    }
    struct out_frame *f = frame_encode(&h, m);
    if (f == NULL) {
        return STATUS_NO_MEMORY;
    }
    c->out.credit -= flow_cost(len);
    return rpc_conn_send(c->sc->conn, f, c->priority) ? STATUS_OK : STATUS_CANCELLED;
}

enum status rpc_call_send(struct rpc_call *c, const ProtobufCMessage *m)
{
    if (!c->listening || c->sc == NULL || atomic_load(&c->cancelled)) {
        return STATUS_CANCELLED;
    }
    if (c->out.credit <= 0 || rpc_conn_full(c->sc->conn)) {
        c->out.blocked = true;
        if (c->out.credit > 0 && list_empty(&c->wait)) {
            list_push(&c->sc->blocked, &c->wait);
        }
        return STATUS_BUSY;
    }
    return send_reply(c, m, false);
}

static void finish(struct rpc_call *c)
{
    c->finished = true;
    forget_id(c);
    if (c->in_callback == 0) {
        server_call_free(c);
    }
}

void rpc_call_return(struct rpc_call *c, const ProtobufCMessage *m)
{
    if (c->listening && c->sc != NULL) {
        enum status s = rpc_conn_full(c->sc->conn) ? STATUS_BUSY : send_reply(c, m, true);
        if (s != STATUS_OK) {
            send_end(c, s, NULL);
        }
    }
    finish(c);
}

void rpc_call_finish(struct rpc_call *c, enum status s, const char *text)
{
    if (c->listening && c->sc != NULL) {
        send_end(c, s, text);
    }
    finish(c);
}

void rpc_call_fail(struct rpc_call *c, const struct error *err)
{
    enum status s = err->code == STATUS_OK ? STATUS_INTERNAL : err->code;
    rpc_call_finish(c, s, err->text[0] == '\0' ? NULL : err->text);
}

void rpc_call_pause(struct rpc_call *c)
{
    c->in.paused = true;
}

void rpc_call_resume(struct rpc_call *c)
{
    if (!c->in.paused) {
        return;
    }
    c->in.paused = false;
    bool waits = !list_empty(&c->in.held) || (c->end_seen && !c->end_told);
    if (waits && c->sc != NULL && !atomic_load(&c->cancelled)) {
        list_remove(&c->turn);
        list_push(&c->server->resumed, &c->turn);
        server_call_kick(c->server);
    }
}
