/* A round: the tenants that there are, one after another: what the books have last (books_work with
 * nothing to enter), ask ingest for what came after it, enter, and again until there is no more. */
#include "serve/usage/worked.h"

#include <stdlib.h>

#include "base/log.h"
#include "ingest/ingest_rpc.h"
#include "serve/usage/books.h"
#include "serve/usage/rounds.h"

#define FIRST_MS 2000
#define EVERY_MS 60000

struct worked {
    struct rounds rounds; /* first */
    struct book_work *list;
    struct books_working working;
};

static void over(struct rounds *r)
{
    struct worked *w = (struct worked *)r;
    free(w->list);
    free(w);
}

static void drop_list(struct worked *w)
{
    free(w->list);
    w->list = NULL;
}

static void go_on(struct worked *w)
{
    drop_list(w);
    rounds_next(&w->rounds);
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
        to->micro = prices_cost(fair_prices(w->rounds.fair), &used).micro;
    }
}

static void on_entered(const struct error *err, struct buf *json, void *data);

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    struct worked *w = data;
    (void)r;
    if (!rounds_answered(&w->rounds)) {
        return;
    }
    if (err->code != STATUS_OK || w->list == NULL || w->working.n == 0) {
        go_on(w);
        return;
    }
    rounds_enter(&w->rounds, books_work, on_entered, &w->working);
}

static void ask(struct worked *w)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};
    Ig__WorkedRequest q = IG__WORKED_REQUEST__INIT;
    q.has_after = true;
    q.after = (uint64_t)w->working.seen;
    rounds_ask(&w->rounds, &ig_worked_method, (struct rpc_options){.priority = 1}, &q.base,
               &callbacks, w);
}

static void on_entered(const struct error *err, struct buf *json, void *data)
{
    struct books_working *b = data;
    struct worked *w = b->owner;
    const char *tenant = rounds_tenant(&w->rounds);
    (void)json;
    for (size_t i = 0; err->code == STATUS_OK && i < b->n; i++) {
        const struct book_work *k = &b->list[i];
        fair_charge(w->rounds.fair, tenant, k->user, k->key, k->team, k->micro);
    }
    drop_list(w);
    if (err->code != STATUS_OK) {
        LOG_WARN("what reading documents cost could not be entered", LOG_STR("tenant", tenant),
                 LOG_STR("err", err->text), LOG_END);
    }
    if (!rounds_entered(&w->rounds)) {
        return;
    }
    if (err->code != STATUS_OK) {
        go_on(w);
    } else {
        ask(w);
    }
}

static void begin(struct rounds *r)
{
    struct worked *w = (struct worked *)r;
    w->working = (struct books_working){.owner = w};
    rounds_enter(r, books_work, on_entered, &w->working);
}

enum status worked_start(struct service *svc, const struct auth *auth, struct answers *answers,
                         struct fair *fair, struct worked **out, struct error *err)
{
    struct worked *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    w->rounds = (struct rounds){
        .svc = svc, .auth = auth, .answers = answers, .fair = fair, .begin = begin, .over = over};
    rounds_start(&w->rounds, FIRST_MS, EVERY_MS);
    *out = w;
    return STATUS_OK;
}

void worked_stop(struct worked *w, void (*closed)(void *data), void *data)
{
    if (w == NULL) {
        closed(data);
        return;
    }
    rounds_stop(&w->rounds, closed, data);
}
