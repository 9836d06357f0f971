/* A round: the tenants that there are, one after another: ask ingest, enter, next. */
#include "serve/usage/storage.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/ingest_rpc.h"
#include "serve/usage/books.h"
#include "serve/usage/rounds.h"

#define FIRST_MS 3000
#define EVERY_MS 3600000

struct storage {
    struct rounds rounds; /* first */
    struct book_stored *list;
    struct books_storing storing;
};

static void over(struct rounds *r)
{
    struct storage *s = (struct storage *)r;
    free(s->list);
    free(s);
}

static void on_entered(const struct error *err, struct buf *json, void *data)
{
    struct books_storing *b = data;
    struct storage *s = b->owner;
    const char *tenant = rounds_tenant(&s->rounds);
    (void)json;
    free(s->list);
    s->list = NULL;
    if (err->code != STATUS_OK) {
        LOG_WARN("what documents take could not be entered", LOG_STR("tenant", tenant),
                 LOG_STR("err", err->text), LOG_END);
    } else {
        fair_charge_tenant(s->rounds.fair, tenant, b->micro_more);
    }
    if (rounds_entered(&s->rounds)) {
        rounds_next(&s->rounds);
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
    if (!rounds_answered(&s->rounds)) {
        return;
    }
    if (err->code != STATUS_OK || s->list == NULL) {
        rounds_next(&s->rounds);
        return;
    }
    int64_t now = clock_wall_ms();
    int64_t month = meter_month(now);
    int days = (int)((meter_month_start(month + 1) - meter_month_start(month)) / METER_DAY_MS);
    for (size_t i = 0; i < s->storing.n; i++) {
        s->list[i].micro = prices_storage_day(fair_prices(s->rounds.fair), s->list[i].bytes, days);
    }
    s->storing.day = now / METER_DAY_MS;
    rounds_enter(&s->rounds, books_store, on_entered, &s->storing);
}

static void ask(struct rounds *r)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};
    Ig__StoredRequest q = IG__STORED_REQUEST__INIT;
    struct rpc_options o = {.priority = 1, .wait_for_ready = true};
    rounds_ask(r, &ig_stored_method, o, &q.base, &callbacks, r);
}

enum status storage_start(struct service *svc, const struct auth *auth, struct answers *answers,
                          struct fair *fair, struct storage **out, struct error *err)
{
    struct storage *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    s->rounds = (struct rounds){
        .svc = svc, .auth = auth, .answers = answers, .fair = fair, .begin = ask, .over = over};
    rounds_start(&s->rounds, FIRST_MS, EVERY_MS);
    *out = s;
    return STATUS_OK;
}

void storage_stop(struct storage *s, void (*closed)(void *data), void *data)
{
    if (s == NULL) {
        closed(data);
        return;
    }
    rounds_stop(&s->rounds, closed, data);
}
