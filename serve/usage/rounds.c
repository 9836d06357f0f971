#include "serve/usage/rounds.h"

#include <stdlib.h>
#include <string.h>

#include "base/service.h"
#include "serve/auth.h"

const char *rounds_tenant(const struct rounds *r)
{
    return r->tenants[r->at];
}

static void begin(struct rounds *r)
{
    if (r->at < r->n) {
        r->begin(r);
        return;
    }
    free(r->tenants);
    r->tenants = NULL;
    r->n = r->at = 0;
}

void rounds_next(struct rounds *r)
{
    r->at++;
    begin(r);
}

void rounds_ask(struct rounds *r, const struct rpc_method *m, struct rpc_options o,
                const ProtobufCMessage *q, const struct rpc_callbacks *callbacks, void *data)
{
    struct rpc_client *client = service_client(r->svc, PEER_INGEST);
    o.tenant = rounds_tenant(r);
    r->rpc = client == NULL ? NULL : rpc_client_start(client, m, &o, q, callbacks, data);
    if (r->rpc == NULL) {
        r->at = r->n; /* out of memory: the next round may have some */
        begin(r);
    }
}

bool rounds_answered(struct rounds *r)
{
    r->rpc = NULL;
    return !r->stopped;
}

void rounds_enter(struct rounds *r, answers_work_fn work, answers_done_fn done, void *data)
{
    r->entering = true;
    answers_run(r->answers, rounds_tenant(r), work, done, data);
}

static void maybe_closed(struct rounds *r)
{
    if (!r->timer_closed || r->entering) {
        return;
    }
    void (*closed)(void *) = r->closed;
    void *data = r->data;
    free(r->tenants);
    r->over(r);
    closed(data);
}

bool rounds_entered(struct rounds *r)
{
    r->entering = false;
    if (r->stopped) {
        maybe_closed(r);
        return false;
    }
    return true;
}

/* ---- the timer ---- */

static void on_timer(uv_timer_t *t)
{
    struct rounds *r = t->data;
    if (r->tenants != NULL) {
        return; /* the round before still goes on */
    }
    r->tenants = auth_tenants(r->auth, &r->n);
    r->at = 0;
    begin(r);
}

void rounds_start(struct rounds *r, uint64_t first_ms, uint64_t every_ms)
{
    r->timer.data = r;
    (void)uv_timer_init(r->svc->loop, &r->timer);
    (void)uv_timer_start(&r->timer, on_timer, first_ms, every_ms);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct rounds *r = h->data;
    r->timer_closed = true;
    maybe_closed(r);
}

void rounds_stop(struct rounds *r, void (*closed)(void *data), void *data)
{
    r->stopped = true;
    r->closed = closed;
    r->data = data;
    if (r->rpc != NULL) {
        rpc_request_cancel(r->rpc);
        r->rpc = NULL;
    }
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}
