/* A round: the tenants that there are, one after another: what the books have last (books_work with
 * nothing to enter), ask ingest for what came after it, enter, and again until there is no more. */
#include "serve/usage/worked.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/service.h"
#include "ingest/ingest_rpc.h"
#include "serve/answers.h"
#include "serve/auth.h"
#include "serve/usage/books.h"

#define FIRST_MS 2000
#define EVERY_MS 60000

struct worked {
    struct service *svc;
    const struct auth *auth;
    struct answers *answers;
    struct fair *fair;
    uv_timer_t timer;
    char (*tenants)[METER_NAME_CAP]; /* of this round */
    size_t n, at;
    struct rpc_request *rpc;
    bool entering, stopped, timer_closed;
    struct book_work *list;
    struct books_working working;
    void (*closed)(void *data);
    void *data;
};

static void next(struct worked *w);

static void maybe_closed(struct worked *w)
{
    if (!w->timer_closed || w->entering) {
        return;
    }
    void (*closed)(void *) = w->closed;
    void *data = w->data;
    free(w->tenants);
    free(w->list);
    free(w);
    closed(data);
}

static void drop_list(struct worked *w)
{
    free(w->list);
    w->list = NULL;
}

static void go_on(struct worked *w)
{
    drop_list(w);
    w->at++;
    next(w);
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct worked *w = data;
    const Ig__WorkedReply *reply = ig_worked_reply(m);
    (void)r;
    if (reply == NULL || w->list != NULL) {
        return;
    }
    w->list = calloc(reply->n_works + 1, sizeof *w->list);
    w->working.list = w->list;
    w->working.n = 0;
    for (size_t i = 0; w->list != NULL && i < reply->n_works; i++) {
        const Ig__Worked *from = reply->works[i];
        struct book_work *to = &w->list[w->working.n++];
        to->seq = from->seq < INT64_MAX ? (int64_t)from->seq : INT64_MAX;
        to->day = from->day;
        to->documents = from->ready;
        to->cpu_us = from->cpu_us < INT64_MAX ? (int64_t)from->cpu_us : 0;
        (void)snprintf(to->collection, sizeof to->collection, "%s", from->collection);
        (void)snprintf(to->user, sizeof to->user, "%s", from->user == NULL ? "" : from->user);
        (void)snprintf(to->key, sizeof to->key, "%s", from->key == NULL ? "" : from->key);
        (void)snprintf(to->team, sizeof to->team, "%s", from->team == NULL ? "" : from->team);
        struct usage used = {.cpu_us = to->cpu_us};
        to->micro = prices_cost(fair_prices(w->fair), &used).micro;
    }
}

static void on_entered(const struct error *err, struct buf *json, void *data);

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    struct worked *w = data;
    (void)r;
    w->rpc = NULL;
    if (w->stopped) {
        return;
    }
    if (err->code != STATUS_OK || w->list == NULL || w->working.n == 0) {
        go_on(w);
        return;
    }
    w->entering = true;
    answers_run(w->answers, w->tenants[w->at], books_work, on_entered, &w->working);
}

static void ask(struct worked *w)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};
    struct rpc_client *client = service_client(w->svc, PEER_INGEST);
    Ig__WorkedRequest q = IG__WORKED_REQUEST__INIT;
    struct rpc_options o = {.tenant = w->tenants[w->at], .priority = 1};
    q.has_after = true;
    q.after = (uint64_t)w->working.seen;
    w->rpc = client == NULL
                 ? NULL
                 : rpc_client_start(client, &ig_worked_method, &o, &q.base, &callbacks, w);
    if (w->rpc == NULL) {
        w->at = w->n; /* out of memory: the next round may have some */
        next(w);
    }
}

static void on_entered(const struct error *err, struct buf *json, void *data)
{
    struct books_working *b = data;
    struct worked *w = b->owner;
    (void)json;
    w->entering = false;
    for (size_t i = 0; err->code == STATUS_OK && i < b->n; i++) {
        const struct book_work *k = &b->list[i];
        fair_charge(w->fair, w->tenants[w->at], k->user, k->key, k->team, k->micro);
    }
    drop_list(w);
    if (err->code != STATUS_OK) {
        LOG_WARN("what reading documents cost could not be entered",
                 LOG_STR("tenant", w->tenants[w->at]), LOG_STR("err", err->text), LOG_END);
    }
    if (w->stopped) {
        maybe_closed(w);
    } else if (err->code != STATUS_OK) {
        go_on(w);
    } else {
        ask(w);
    }
}

static void next(struct worked *w)
{
    if (w->at >= w->n) {
        free(w->tenants);
        w->tenants = NULL;
        w->n = w->at = 0;
        return;
    }
    w->working = (struct books_working){.owner = w};
    w->entering = true;
    answers_run(w->answers, w->tenants[w->at], books_work, on_entered, &w->working);
}

static bool known(const struct worked *w, const char *tenant)
{
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->tenants[i], tenant) == 0) {
            return true;
        }
    }
    return false;
}

static void on_timer(uv_timer_t *t)
{
    struct worked *w = t->data;
    size_t n = 0;
    if (w->tenants != NULL) {
        return; /* the round before still goes on */
    }
    while (auth_at(w->auth, n) != NULL) {
        n++;
    }
    w->tenants = calloc(n + 1, sizeof *w->tenants);
    w->n = w->at = 0;
    for (size_t i = 0; w->tenants != NULL && i < n; i++) {
        const char *tenant = auth_at(w->auth, i)->tenant;
        if (!known(w, tenant)) {
            (void)snprintf(w->tenants[w->n++], METER_NAME_CAP, "%s", tenant);
        }
    }
    if (w->tenants != NULL) {
        next(w);
    }
}

enum status worked_start(struct service *svc, const struct auth *auth, struct answers *answers,
                         struct fair *fair, struct worked **out, struct error *err)
{
    struct worked *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *w = (struct worked){.svc = svc, .auth = auth, .answers = answers, .fair = fair};
    w->timer.data = w;
    (void)uv_timer_init(svc->loop, &w->timer);
    (void)uv_timer_start(&w->timer, on_timer, FIRST_MS, EVERY_MS);
    *out = w;
    return STATUS_OK;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct worked *w = h->data;
    w->timer_closed = true;
    maybe_closed(w);
}

void worked_stop(struct worked *w, void (*closed)(void *data), void *data)
{
    if (w == NULL) {
        closed(data);
        return;
    }
    w->stopped = true;
    w->closed = closed;
    w->data = data;
    if (w->rpc != NULL) {
        rpc_request_cancel(w->rpc);
        w->rpc = NULL;
    }
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}
