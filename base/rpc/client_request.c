/* One request as its caller sees it: start, more messages, replies, the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rpc/client.h"
#include "base/rpc/message.h"

static bool request_streams(const struct rpc_request *r)
{
    return (r->method->shape & RPC_REQUEST_STREAM) != 0;
}

static bool reply_streams(const struct rpc_request *r)
{
    return (r->method->shape & RPC_REPLY_STREAM) != 0;
}

static uint32_t message_max(const struct rpc_method *m)
{
    return m->message_max_bytes == 0 ? RPC_MESSAGE_MAX : m->message_max_bytes;
}

static void drop_waiting(struct rpc_request *r)
{
    free(r->tenant);
    free(r->traceparent);
    free(r->caller);
    r->tenant = r->traceparent = NULL;
    r->caller = NULL;
    list_for_each_safe(it, &r->pending)
    {
        list_remove(it);
        free(list_entry(it, struct held_message, link));
    }
}

/* Out of every list and table: no event reaches it any more. */
static void detach(struct rpc_request *r)
{
    struct rpc_client *c = r->client;
    if (r->phase == REQUEST_GONE) {
        return;
    }
    if (r->phase == REQUEST_SENT) {
        idmap_remove(&c->ids, r->id);
    }
    r->phase = REQUEST_GONE;
    c->n_requests--;
    list_remove(&r->link);
    list_remove(&r->turn);
    list_remove(&r->wait);
    deadlines_remove(&c->deadlines, &r->deadline);
    flow_in_drop(&r->in);
    drop_waiting(r);
}

static void free_when_idle(struct rpc_request *r)
{
    if (r->phase == REQUEST_GONE && r->in_callback == 0) {
        effort_use_drop(&r->use);
        free(r->outcome_text);
        free(r);
    }
}

static void before_callback(struct rpc_request *r)
{
    r->in_callback++;
    effort_enter(&r->use);
}

/* true: r is gone and may be freed already */
static bool after_callback(struct rpc_request *r)
{
    bool gone = r->phase == REQUEST_GONE;
    effort_leave(&r->use);
    r->in_callback--;
    free_when_idle(r);
    return gone;
}

void client_request_finish(struct rpc_request *r, enum status s, const char *text)
{
    struct error outcome;
    error_set(&outcome, s, "%s",
              s == STATUS_OK || text == NULL || *text == '\0' ? status_text(s) : text);
    detach(r);
    before_callback(r);
    r->cb.on_finish(r, &outcome, r->data);
    (void)after_callback(r);
}

/* Thousands of calls may be open that have none yet. */
static void set_outcome(struct rpc_request *r, enum status s, const char *text)
{
    free(r->outcome_text);
    r->outcome = s;
    r->outcome_text = text == NULL ? NULL : strdup(text); /* without memory: the status's words */
}

/* on_finish in the next turn of the loop. */
static void finish_late(struct rpc_request *r, enum status s, const char *text)
{
    set_outcome(r, s, text);
    if (r->phase == REQUEST_SENT) {
        idmap_remove(&r->client->ids, r->id);
    }
    list_remove(&r->link);
    r->phase = REQUEST_LATE;
    list_push(&r->client->late, &r->link);
    rpc_client_kick(r->client);
}

static bool send_kind(struct rpc_request *r, Rpc__FrameKind kind, uint32_t credit)
{
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = kind;
    h.has_id = 1;
    h.id = r->id;
    h.has_credit = credit > 0;
    h.credit = credit;
    struct rpc_conn *conn = r->client->conn;
    return conn != NULL && rpc_conn_send_message(conn, &h, NULL, r->priority);
}

/* ---- start */

/* protobuf-c wants char * where it only reads. */
static char *readonly(const char *z)
{
    char *p;
    memcpy(&p, &z, sizeof p);
    return p;
}

static struct out_frame *request_header(const struct rpc_request *r, const struct rpc_options *o,
                                        const ProtobufCMessage *m,
                                        const struct held_message *packed)
{
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = RPC__FRAME_KIND__REQUEST;
    h.has_id = 1;
    h.id = r->id;
    h.method = readonly(r->method->name);
    int64_t left = r->deadline.at_ms - clock_monotonic_ms();
    h.has_time_left_ms = 1;
    h.time_left_ms = left < 1 ? 1 : (uint32_t)left;
    h.tenant = o->tenant == NULL || *o->tenant == '\0' ? NULL : readonly(o->tenant);
    if (o->caller != NULL) {
        const uint8_t *token = o->caller;
        h.has_caller = 1;
        memcpy(&h.caller.data, &token, sizeof token);
        h.caller.len = o->caller_len;
    }
    h.traceparent = o->traceparent == NULL ? NULL : readonly(o->traceparent);
    h.has_priority = r->priority != 0;
    h.priority = r->priority;
    h.has_has_message = 1;
    h.has_message = m != NULL || packed != NULL;
    h.has_end = r->end_sent && list_empty(&r->pending);
    h.end = h.has_end;
    return packed != NULL ? frame_encode_bytes(&h, packed->data, packed->len) : frame_encode(&h, m);
}

static bool enter_sent(struct rpc_request *r, struct out_frame *f)
{
    struct rpc_client *c = r->client;
    if (f == NULL || !idmap_put(&c->ids, r->id, r)) {
        free(f);
        return false;
    }
    list_remove(&r->link);
    list_push(&c->sent, &r->link);
    r->phase = REQUEST_SENT;
    return rpc_conn_send(c->conn, f, r->priority);
}

static struct held_message *pack_held(const ProtobufCMessage *m)
{
    size_t len = protobuf_c_message_get_packed_size(m);
    struct held_message *h = malloc(sizeof *h + len);
    if (h != NULL) {
        h->len = len;
        protobuf_c_message_pack(m, h->data);
    }
    return h;
}

/* Copies what the request needs until there is a connection. */
static bool keep_waiting(struct rpc_request *r, const struct rpc_options *o,
                         const ProtobufCMessage *first)
{
    r->tenant = o->tenant == NULL ? NULL : strdup(o->tenant);
    r->traceparent = o->traceparent == NULL ? NULL : strdup(o->traceparent);
    r->caller = o->caller == NULL ? NULL : malloc(o->caller_len == 0 ? 1 : o->caller_len);
    if ((o->tenant != NULL && r->tenant == NULL) ||
        (o->traceparent != NULL && r->traceparent == NULL) ||
        (o->caller != NULL && r->caller == NULL)) {
        return false;
    }
    if (o->caller != NULL && o->caller_len > 0) {
        memcpy(r->caller, o->caller, o->caller_len);
    }
    r->caller_len = o->caller_len;
    if (first != NULL) {
        struct held_message *h = pack_held(first);
        if (h == NULL) {
            return false;
        }
        r->has_first = true;
        list_push(&r->pending, &h->link);
    }
    return true;
}

void client_request_connected(struct rpc_request *r)
{
    struct rpc_client *c = r->client;
    const struct rpc_options o = {.tenant = r->tenant,
                                  .caller = r->caller,
                                  .caller_len = r->caller_len,
                                  .traceparent = r->traceparent};
    struct held_message *first = NULL;
    if (r->has_first) {
        first = list_entry(r->pending.next, struct held_message, link);
        list_remove(&first->link);
    }
    bool sent = enter_sent(r, request_header(r, &o, NULL, first));
    free(first);
    while (sent && !list_empty(&r->pending)) {
        struct held_message *h = list_entry(r->pending.next, struct held_message, link);
        list_remove(&h->link);
        Rpc__FrameHeader head = RPC__FRAME_HEADER__INIT;
        head.kind = RPC__FRAME_KIND__MESSAGE;
        head.has_id = 1;
        head.id = r->id;
        head.has_end = r->end_sent && list_empty(&r->pending);
        head.end = head.has_end;
        sent = rpc_conn_send(c->conn, frame_encode_bytes(&head, h->data, h->len), r->priority);
        free(h);
    }
    drop_waiting(r);
    if (!sent) {
        finish_late(r, STATUS_NO_MEMORY, NULL);
        return;
    }
    /* While it waited it could count on the least window only. */
    r->out.credit += (int64_t)c->conn->peer_window - CONN_WINDOW_LEAST;
    if (r->out.blocked && r->out.credit > 0) {
        client_request_drained(r);
    }
}

static void begin(struct rpc_request *r, const struct rpc_options *o, const ProtobufCMessage *first)
{
    struct rpc_client *c = r->client;
    size_t len = first == NULL ? 0 : protobuf_c_message_get_packed_size(first);
    if (len > message_max(r->method)) {
        finish_late(r, STATUS_TOO_LARGE, "the request is larger than the method's limit");
    } else if (o->caller_len > 4096) {
        finish_late(r, STATUS_INVALID, "the caller's token is longer than 4096 bytes");
    } else if (first == NULL && !request_streams(r)) {
        finish_late(r, STATUS_INVALID, "a unary call needs its request");
    } else if (c->shut) {
        finish_late(r, STATUS_CANCELLED, "this process is closing");
    } else if (c->n_requests > CLIENT_REQUESTS_MAX) {
        finish_late(r, STATUS_BUSY, "too many requests at once");
    } else if (c->known_down && c->phase != CLIENT_READY && !r->wait_for_ready) {
        char text[96];
        (void)snprintf(text, sizeof text, "%s is not running at the moment", peer_name(c->target));
        finish_late(r, STATUS_UNAVAILABLE, text);
    } else if (!deadlines_add(&c->deadlines, &r->deadline)) {
        finish_late(r, STATUS_NO_MEMORY, NULL);
    } else if (c->phase == CLIENT_READY && rpc_conn_full(c->conn)) {
        finish_late(r, STATUS_BUSY, "the peer does not keep up");
    } else if (c->phase == CLIENT_READY) {
        r->out.credit = (int64_t)c->conn->peer_window - (first == NULL ? 0 : flow_cost(len));
        if (!enter_sent(r, request_header(r, o, first, NULL))) {
            finish_late(r, STATUS_NO_MEMORY, NULL);
        }
    } else {
        r->out.credit = CONN_WINDOW_LEAST - (first == NULL ? 0 : flow_cost(len));
        if (!keep_waiting(r, o, first)) {
            finish_late(r, STATUS_NO_MEMORY, NULL);
            return;
        }
        list_push(&c->waiting, &r->link);
        rpc_client_need_connection(c);
    }
}

struct rpc_request *rpc_client_start(struct rpc_client *c, const struct rpc_method *m,
                                     const struct rpc_options *o, const ProtobufCMessage *first,
                                     const struct rpc_callbacks *cb, void *data)
{
    static const struct rpc_options none;
    struct rpc_request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    o = o == NULL ? &none : o;
    list_init(&r->link);
    list_init(&r->turn);
    list_init(&r->wait);
    list_init(&r->pending);
    effort_use_init(&r->use, o->effort);
    r->client = c;
    r->method = m;
    r->cb = *cb;
    r->data = data;
    r->priority = o->priority == 0 ? 0 : 1;
    r->wait_for_ready = o->wait_for_ready;
    r->end_sent = !request_streams(r);
    c->n_requests++;
    do {
        c->last_id++;
    } while (c->last_id == 0 || idmap_get(&c->ids, c->last_id) != NULL);
    r->id = c->last_id;
    flow_in_init(&r->in, CLIENT_WINDOW);
    uint32_t ms = o->timeout_ms == 0 ? m->timeout_ms : o->timeout_ms;
    r->deadline = (struct deadline){.at_ms = clock_monotonic_ms() + (ms == 0 ? 1 : ms),
                                    .slot = DEADLINE_NONE};
    begin(r, o, first);
    return r;
}

/* ---- more of a request stream */

enum status rpc_request_send(struct rpc_request *r, const ProtobufCMessage *m)
{
    struct rpc_client *c = r->client;
    if (r->phase == REQUEST_GONE || r->phase == REQUEST_LATE || r->over || r->end_sent) {
        return STATUS_CANCELLED;
    }
    size_t len = protobuf_c_message_get_packed_size(m);
    if (len > message_max(r->method)) {
        return STATUS_TOO_LARGE;
    }
    bool full = r->phase == REQUEST_SENT && rpc_conn_full(c->conn);
    if (r->out.credit <= 0 || full) {
        r->out.blocked = true;
        if (full && list_empty(&r->wait)) {
            list_push(&c->blocked, &r->wait);
        }
        return STATUS_BUSY;
    }
    if (r->phase == REQUEST_WAITING) {
        struct held_message *h = pack_held(m);
        if (h == NULL) {
            return STATUS_NO_MEMORY;
        }
        list_push(&r->pending, &h->link);
    } else {
        Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
        h.kind = RPC__FRAME_KIND__MESSAGE;
        h.has_id = 1;
        h.id = r->id;
        if (!rpc_conn_send(c->conn, frame_encode(&h, m), r->priority)) {
            return STATUS_NO_MEMORY;
        }
    }
    r->out.credit -= flow_cost(len);
    return STATUS_OK;
}

void rpc_request_end(struct rpc_request *r)
{
    if (r->end_sent || r->phase == REQUEST_GONE) {
        return;
    }
    r->end_sent = true;
    if (r->phase == REQUEST_SENT && !r->over) {
        (void)send_kind(r, RPC__FRAME_KIND__END, 0);
    }
}

void rpc_request_cancel(struct rpc_request *r)
{
    if (r->phase == REQUEST_GONE) {
        return; /* from inside its own on_finish */
    }
    if (r->phase == REQUEST_SENT && !r->over) {
        (void)send_kind(r, RPC__FRAME_KIND__CANCEL, 0);
    }
    detach(r);
    free_when_idle(r);
}

void rpc_request_pause(struct rpc_request *r)
{
    r->in.paused = true;
}

void rpc_request_resume(struct rpc_request *r)
{
    if (!r->in.paused) {
        return;
    }
    r->in.paused = false;
    if (r->phase == REQUEST_SENT && (!list_empty(&r->in.held) || r->over)) {
        list_remove(&r->turn);
        list_push(&r->client->resumed, &r->turn);
        rpc_client_kick(r->client);
    }
}

void client_request_on_due(struct deadline *d)
{
    struct rpc_request *r = container_of(d, struct rpc_request, deadline);
    if (r->phase == REQUEST_SENT && !r->over) {
        (void)send_kind(r, RPC__FRAME_KIND__CANCEL, 0);
    }
    char text[160];
    (void)snprintf(text, sizeof text, "%s took longer than allowed", r->method->name);
    client_request_finish(r, STATUS_DEADLINE, text);
}

static void maybe_ready(struct rpc_request *r)
{
    struct rpc_client *c = r->client;
    if (!r->out.blocked || r->out.credit <= 0 || r->over || r->phase != REQUEST_SENT) {
        return;
    }
    if (rpc_conn_full(c->conn)) {
        if (list_empty(&r->wait)) {
            list_push(&c->blocked, &r->wait);
        }
        return;
    }
    r->out.blocked = false;
    if (r->cb.on_ready != NULL) {
        before_callback(r);
        r->cb.on_ready(r, r->data);
        (void)after_callback(r);
    }
}

void client_request_drained(struct rpc_request *r)
{
    list_remove(&r->wait);
    maybe_ready(r);
}

/* ---- replies */

/* *gone: r must not be touched any more. */
static enum status deliver(struct rpc_request *r, const uint8_t *body, size_t len, bool *gone,
                           struct error *err)
{
    struct arena scratch;
    ProtobufCMessage *m;
    *gone = false;
    arena_init(&scratch, message_memory_max(len));
    enum status s = message_unpack(r->method->reply, body, len, &scratch, &m, err);
    if (s == STATUS_OK) {
        r->replied = true;
        if (r->cb.on_reply != NULL) {
            before_callback(r);
            r->cb.on_reply(r, m, r->data);
            *gone = after_callback(r);
        }
        arena_reset(&scratch);
        uint32_t credit = *gone ? 0 : flow_in_delivered(&r->in, len);
        if (credit > 0 && !r->over) {
            (void)send_kind(r, RPC__FRAME_KIND__CREDIT, credit);
        }
        return STATUS_OK;
    }
    arena_reset(&scratch);
    if (s != STATUS_PROTOCOL) {
        if (!r->over) {
            (void)send_kind(r, RPC__FRAME_KIND__CANCEL, 0);
        }
        client_request_finish(r, STATUS_PROTOCOL, err->text);
        *gone = true;
        return STATUS_OK;
    }
    return s;
}

static void finish_if_over(struct rpc_request *r)
{
    if (!r->over || r->in.paused || !list_empty(&r->in.held)) {
        return;
    }
    if (r->outcome == STATUS_OK && !reply_streams(r) && !r->replied) {
        client_request_finish(r, STATUS_PROTOCOL, "the call ended well but without its reply");
    } else {
        client_request_finish(r, r->outcome, r->outcome_text);
    }
}

enum status client_request_deliver_held(struct rpc_request *r, struct error *err)
{
    while (!r->in.paused && !list_empty(&r->in.held)) {
        struct held_message *h = list_entry(r->in.held.next, struct held_message, link);
        bool gone;
        list_remove(&h->link);
        enum status s = deliver(r, h->data, h->len, &gone, err);
        free(h);
        if (s != STATUS_OK || gone) {
            return s;
        }
    }
    finish_if_over(r);
    return STATUS_OK;
}

static enum status take_reply(struct rpc_request *r, const struct frame *f, bool last,
                              struct error *err)
{
    if (f->body_len > message_max(r->method) || (!reply_streams(r) && r->replied)) {
        return error_set(err, STATUS_PROTOCOL, "%s: a reply of %u bytes too many or too large",
                         r->method->name, f->body_len);
    }
    if (!flow_in_arrived(&r->in, f->body_len) && !last) {
        return error_set(err, STATUS_PROTOCOL, "%s: more bytes than the window allows",
                         r->method->name);
    }
    if (last) {
        r->over = true;
        r->outcome = STATUS_OK;
    }
    if (r->in.paused || !list_empty(&r->in.held)) {
        if (!flow_in_hold(&r->in, f->body, f->body_len)) {
            client_request_finish(r, STATUS_NO_MEMORY, NULL);
        }
        return STATUS_OK;
    }
    bool gone;
    enum status s = deliver(r, f->body, f->body_len, &gone, err);
    if (s == STATUS_OK && !gone) {
        finish_if_over(r);
    }
    return s;
}

/* What it has spent beyond what it said before. */
static void take_spent(struct rpc_request *r, const Rpc__FrameHeader *h)
{
    if (h->has_cpu_us && h->cpu_us > r->told_us && h->cpu_us <= INT64_MAX) {
        effort_use_add(&r->use, (int64_t)(h->cpu_us - r->told_us));
        r->told_us = h->cpu_us;
    }
}

static void take_end(struct rpc_request *r, const Rpc__FrameHeader *h)
{
    r->over = true;
    enum status s = status_from_wire(h->has_status ? (int)h->status : STATUS_INTERNAL);
    set_outcome(r, s, h->text);
    finish_if_over(r);
}

enum status client_request_frame(struct rpc_client *c, const struct frame *f, struct error *err)
{
    const Rpc__FrameHeader *h = f->header;
    /* Frames of a request that we have just given up cross our CANCEL on the way: no fault. */
    struct rpc_request *r = idmap_get(&c->ids, h->has_id ? h->id : 0);
    if (r != NULL && !r->over) {
        take_spent(r, h);
    }
    switch (h->kind) {
    case RPC__FRAME_KIND__MESSAGE:
        return r == NULL || r->over ? STATUS_OK : take_reply(r, f, h->has_end && h->end, err);
    case RPC__FRAME_KIND__END:
        if (r != NULL && !r->over) {
            take_end(r, h);
        }
        return STATUS_OK;
    case RPC__FRAME_KIND__CREDIT:
        if (r != NULL && h->has_credit) {
            if (h->credit > INT32_MAX || r->out.credit > INT32_MAX) {
                return error_set(err, STATUS_PROTOCOL, "a credit beyond all bounds");
            }
            r->out.credit += h->credit;
            maybe_ready(r);
        }
        return STATUS_OK;
    case RPC__FRAME_KIND__HELLO:
    case RPC__FRAME_KIND__PROOF:
    case RPC__FRAME_KIND__REQUEST:
    case RPC__FRAME_KIND__CANCEL:
    case _RPC__FRAME_KIND_IS_INT_SIZE:
    default:
        return error_set(err, STATUS_PROTOCOL, "a frame of kind %d does not belong here",
                         (int)h->kind);
    }
}
