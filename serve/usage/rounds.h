/* From time to time each tenant that there is, one after another: ask ingest about it, enter what
 * it says into the tenant's books, next. Part of what goes the rounds. Loop thread. */
#ifndef CARREL_SERVE_USAGE_ROUNDS_H
#define CARREL_SERVE_USAGE_ROUNDS_H

#include "base/rpc/rpc.h"
#include "serve/answers.h"
#include "serve/usage/fair.h"

struct service;

struct rounds {
    struct service *svc;
    const struct auth *auth;
    struct answers *answers;
    struct fair *fair;
    void (*begin)(struct rounds *r); /* with rounds_tenant(r) */
    void (*over)(struct rounds *r);  /* r may be freed */
    /* its own: */
    uv_timer_t timer;
    char (*tenants)[METER_NAME_CAP]; /* of this round */
    size_t n, at;
    struct rpc_request *rpc;
    bool entering, stopped, timer_closed;
    void (*closed)(void *data);
    void *data;
};

void rounds_start(struct rounds *r, uint64_t first_ms, uint64_t every_ms);
const char *rounds_tenant(const struct rounds *r);
void rounds_next(struct rounds *r);
/* Asks ingest. o may lack the tenant. Where that cannot begin, this round is over. */
void rounds_ask(struct rounds *r, const struct rpc_method *m, struct rpc_options o,
                const ProtobufCMessage *q, const struct rpc_callbacks *callbacks, void *data);
/* In on_finish. False: stopped, there is nothing more to do. */
bool rounds_answered(struct rounds *r) MUST_CHECK;
void rounds_enter(struct rounds *r, answers_work_fn work, answers_done_fn done, void *data);
/* In done, last. False: r has gone. */
bool rounds_entered(struct rounds *r) MUST_CHECK;
/* Closed may come at once. */
void rounds_stop(struct rounds *r, void (*closed)(void *data), void *data);

#endif
