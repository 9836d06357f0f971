/* A round: the tenants that there are, one after another: ask ingest, enter, next. */
#include "serve/usage/storage.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/service.h"
#include "ingest/ingest_rpc.h"
#include "serve/answers.h"
#include "serve/auth.h"
#include "serve/usage/books.h"

#define FIRST_MS 3000
#define EVERY_MS 3600000

struct storage {
    struct service *svc;
    const struct auth *auth;
    struct answers *answers;
    struct fair *fair;
    uv_timer_t timer;
    char (*tenants)[METER_NAME_CAP]; /* of this round */
    size_t n, at;
    struct rpc_request *rpc;
    bool entering, stopped, timer_closed;
    struct book_stored *list;
    struct books_storing storing;
    void (*closed)(void *data);
    void *data;
};

static void next(struct storage *s);

static void maybe_closed(struct storage *s)
{
    if (!s->timer_closed || s->entering) {
        return;
    }
    void (*closed)(void *) = s->closed;
    void *data = s->data;
    free(s->tenants);
    free(s->list);
    free(s);
    closed(data);
}

static void on_entered(const struct error *err, struct buf *json, void *data)
{
    struct books_storing *b = data;
    struct storage *s = b->owner;
    (void)json;
    s->entering = false;
    free(s->list);
    s->list = NULL;
    if (err->code != STATUS_OK) {
        LOG_WARN("what documents take could not be entered", LOG_STR("tenant", s->tenants[s->at]),
                 LOG_STR("err", err->text), LOG_END);
    } else {
        fair_charge_tenant(s->fair, s->tenants[s->at], b->micro_more);
    }
    s->at++;
    if (s->stopped) {
        maybe_closed(s);
    } else {
        next(s);
    }
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct storage *s = data;
    const Ig__StoredReply *reply = ig_stored_reply(m);
    (void)r;
    if (reply == NULL || s->list != NULL) {
        return;
    }
    s->list = calloc(reply->n_collections + 1, sizeof *s->list);
    s->storing = (struct books_storing){.owner = s, .list = s->list};
    for (size_t i = 0; s->list != NULL && i < reply->n_collections; i++) {
        const Ig__StoredReply__Collection *c = reply->collections[i];
        struct book_stored *b = &s->list[s->storing.n++];
        (void)snprintf(b->collection, sizeof b->collection, "%s", c->collection);
        b->documents = c->documents < INT64_MAX ? (int64_t)c->documents : INT64_MAX;
        b->bytes = c->bytes < INT64_MAX ? (int64_t)c->bytes : INT64_MAX;
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    struct storage *s = data;
    (void)r;
    s->rpc = NULL;
    if (s->stopped) {
        return;
    }
    if (err->code != STATUS_OK || s->list == NULL) {
        s->at++;
        next(s);
        return;
    }
    int64_t now = clock_wall_ms();
    int64_t month = meter_month(now);
    int days = (int)((meter_month_start(month + 1) - meter_month_start(month)) / METER_DAY_MS);
    for (size_t i = 0; i < s->storing.n; i++) {
        s->list[i].micro = prices_storage_day(fair_prices(s->fair), s->list[i].bytes, days);
    }
    s->storing.day = now / METER_DAY_MS;
    s->entering = true;
    answers_run(s->answers, s->tenants[s->at], books_store, on_entered, &s->storing);
}

static void next(struct storage *s)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};
    struct rpc_client *client = service_client(s->svc, PEER_INGEST);
    if (s->at >= s->n || client == NULL) {
        free(s->tenants);
        s->tenants = NULL;
        s->n = s->at = 0;
        return;
    }
    Ig__StoredRequest ask = IG__STORED_REQUEST__INIT;
    struct rpc_options o = {.tenant = s->tenants[s->at], .priority = 1, .wait_for_ready = true};
    s->rpc = rpc_client_start(client, &ig_stored_method, &o, &ask.base, &callbacks, s);
    if (s->rpc == NULL) {
        s->n = s->at; /* out of memory: the next round may have some */
    }
}

static bool known(const struct storage *s, const char *tenant)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->tenants[i], tenant) == 0) {
            return true;
        }
    }
    return false;
}

static void on_timer(uv_timer_t *t)
{
    struct storage *s = t->data;
    size_t n = 0;
    if (s->tenants != NULL) {
        return; /* the round before still goes on */
    }
    while (auth_at(s->auth, n) != NULL) {
        n++;
    }
    s->tenants = calloc(n + 1, sizeof *s->tenants);
    s->n = s->at = 0;
    for (size_t i = 0; s->tenants != NULL && i < n; i++) {
        const char *tenant = auth_at(s->auth, i)->tenant;
        if (!known(s, tenant)) {
            (void)snprintf(s->tenants[s->n++], METER_NAME_CAP, "%s", tenant);
        }
    }
    next(s);
}

enum status storage_start(struct service *svc, const struct auth *auth, struct answers *answers,
                          struct fair *fair, struct storage **out, struct error *err)
{
    struct storage *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *s = (struct storage){.svc = svc, .auth = auth, .answers = answers, .fair = fair};
    s->timer.data = s;
    (void)uv_timer_init(svc->loop, &s->timer);
    (void)uv_timer_start(&s->timer, on_timer, FIRST_MS, EVERY_MS);
    *out = s;
    return STATUS_OK;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct storage *s = h->data;
    s->timer_closed = true;
    maybe_closed(s);
}

void storage_stop(struct storage *s, void (*closed)(void *data), void *data)
{
    if (s == NULL) {
        closed(data);
        return;
    }
    s->stopped = true;
    s->closed = closed;
    s->data = data;
    if (s->rpc != NULL) {
        rpc_request_cancel(s->rpc);
        s->rpc = NULL;
    }
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}
