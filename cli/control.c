/* What the supervisor answers on run/supervisor.sock. Status asks every running service for its
 * health at once and answers when all have spoken or a second has passed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/service.h"
#include "cli/memory.h"
#include "cli/supervisor.h"
#include "cli/supervisor_rpc.h"

#define SILENCE_TOLD_MS 3000 /* less is a loop that has much to do */

struct status_op {
    struct rpc_call *call;
    struct supervisor *sup;
    struct status_part {
        struct status_op *op;
        struct child *child;
        struct rpc_request *request;
        Sv__ServiceStatus status;
    } parts[PEER_COUNT];
    Sv__ServiceStatus *list[PEER_COUNT];
    size_t waiting;
    bool starting; /* still asking: a failed start must not answer too early */
};

static const char *copy(struct status_op *op, const char *text)
{
    const char *out = arena_strdup(rpc_call_arena(op->call), text);

    return out == NULL ? "" : out;
}

static void answer(struct status_op *op)
{
    struct supervisor *s = op->sup;
    Sv__StatusReply reply = SV__STATUS_REPLY__INIT;

    if (op->waiting > 0 || op->starting) {
        return;
    }
    reply.pid = (uint32_t)getpid();
    reply.up_since_wall_ms = s->started_wall_ms;
    reply.ready = s->announced;
    reply.url = s->url;
    reply.watch = (char *)(uintptr_t)s->config->watch; /* packed, not changed */
    reply.n_services = s->n_order;
    reply.services = op->list;
    *rpc_call_data(op->call) = NULL;
    sv_status_return(op->call, &reply);
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct status_part *p = data;
    const Rpc__HealthReply *h = rpc_health_reply(m);

    (void)r;
    if (h == NULL) {
        return;
    }
    p->status.has_queue = h->has_queue;
    p->status.queue = h->queue;
    if (h->detail != NULL) {
        p->status.detail = (char *)(uintptr_t)copy(p->op, h->detail);
    }
    if (h->last_error != NULL && h->last_error[0] != '\0' &&
        h->last_error_wall_ms > p->child->last_error_wall_ms) {
        p->status.last_error = (char *)(uintptr_t)copy(p->op, h->last_error);
        p->status.has_last_error_wall_ms = true;
        p->status.last_error_wall_ms = h->last_error_wall_ms;
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    struct status_part *p = data;
    struct status_op *op = p->op;

    (void)r;
    p->request = NULL;
    if (err->code != STATUS_OK && p->child->state == CHILD_READY) {
        p->status.detail = (char *)(uintptr_t)copy(op, p->status.has_silent_s
                                                           ? "hears nothing: its loop stands still"
                                                           : "does not answer");
    }
    op->waiting--;
    answer(op);
}

static void fill(struct status_part *p)
{
    struct child *c = p->child;

    sv__service_status__init(&p->status);
    p->status.name = (char *)(uintptr_t)peer_name(c->peer);
    p->status.state = (char *)(uintptr_t)child_state_name(c->state);
    p->status.restarts = c->restarts;
    p->status.has_hung = true;
    p->status.hung = c->hung;
    if (c->beats.silent_ms >= SILENCE_TOLD_MS) {
        p->status.has_silent_s = true;
        p->status.silent_s = (uint32_t)(c->beats.silent_ms / 1000);
    }
    if (c->pid > 0) {
        p->status.has_pid = p->status.has_up_since_wall_ms = p->status.has_memory_bytes = true;
        p->status.pid = (uint32_t)c->pid;
        p->status.up_since_wall_ms = c->up_since_wall_ms;
        p->status.memory_bytes = memory_of_process(c->pid);
    }
    if (c->last_error[0] != '\0') {
        p->status.last_error = (char *)(uintptr_t)copy(p->op, c->last_error);
        p->status.has_last_error_wall_ms = true;
        p->status.last_error_wall_ms = c->last_error_wall_ms;
    }
}

static void on_status(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct supervisor *s = rpc_call_service(call);
    struct status_op *op = arena_alloc(rpc_call_arena(call), sizeof(*op));
    const struct rpc_callbacks cb = {.on_reply = on_reply, .on_finish = on_finish};
    const struct rpc_options o = {.timeout_ms = 1000};
    Rpc__HealthRequest request = RPC__HEALTH_REQUEST__INIT;

    (void)m;
    if (op == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    *op = (struct status_op){.call = call, .sup = s, .starting = true};
    *rpc_call_data(call) = op;
    for (size_t i = 0; i < s->n_order; i++) {
        struct status_part *p = &op->parts[i];
        p->op = op;
        p->child = &s->children[s->order[i]];
        op->list[i] = &p->status;
        fill(p);
        if (p->child->state == CHILD_READY) {
            p->request = rpc_health(p->child->client, &o, &request, &cb, p);
            op->waiting += p->request != NULL;
        }
    }
    op->starting = false;
    answer(op);
}

static void on_status_cancel(struct rpc_call *call)
{
    struct status_op *op = *rpc_call_data(call);

    for (size_t i = 0; op != NULL && i < op->sup->n_order; i++) {
        if (op->parts[i].request != NULL) {
            rpc_request_cancel(op->parts[i].request);
        }
    }
    rpc_call_finish(call, STATUS_CANCELLED, NULL);
}

static void on_stop(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct supervisor *s = rpc_call_service(call);
    Sv__StopReply reply = SV__STOP_REPLY__INIT;

    (void)m;
    reply.pid = (uint32_t)getpid();
    sv_stop_return(call, &reply);
    supervisor_say(s, "asked to stop by `carrel stop`");
    supervisor_stop(s);
}

static const struct rpc_handler handlers[] = {
    {.method = &sv_status_method, .on_request = on_status, .on_cancel = on_status_cancel},
    {.method = &sv_stop_method, .on_request = on_stop},
};

enum status control_open(struct supervisor *s, struct error *err)
{
    char address[1200];

    int n = snprintf(address, sizeof(address), "unix:%s/run/supervisor.sock", s->config->home);
    if (n <= 0 || (size_t)n >= sizeof(address)) {
        return error_set(err, STATUS_TOO_LARGE,
                         "the data directory's name is too long for a socket");
    }
    enum status st =
        rpc_server_new(s->loop, &s->identities[PEER_SUPERVISOR], handlers,
                       sizeof(handlers) / sizeof(handlers[0]), NULL, s, &s->control, err);
    return st == STATUS_OK ? rpc_server_listen(s->control, address, err) : st;
}
