/* A tick looks at each tenant: what is due is taken from its database (take), sent (flight), and
 * written down (outcome); where an endpoint is told of documents, ingest is asked for what happened
 * since a cursor, which is kept in the same transaction as the deliveries that come of it.
 * Databases are touched on the lane of answers.h only. */
#include "serve/webhooks.h"

#include <dirent.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/list.h"
#include "base/log.h"
#include "base/tenant.h"
#include "ingest/ingest_rpc.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/webhooks_store.h"

#define TICK_MS 250
#define ASK_MS 1000
#define SWEEP_MS (INT64_C(600) * 1000)
#define WRITE_AGAIN_MS 1000
#define FLYING_MAX 8U /* of a tenant */
#define TENANTS_MAX 4096U
#define EVENTS_AT_ONCE 200U
#define HOUR_MS INT64_C(3600000)
#define JOB_ARENA ((size_t)8 << 20)

struct hook_tenant {
    struct list link;
    struct webhooks *w;
    char name[65];
    struct webhook_state state;
    bool unbegun; /* what was under way when serve ended last is leased still */
    bool taking, wake, putting;
    unsigned flying; /* what became of it is not written down yet */
    struct list
        unwritten; /* struct hook_job: outcomes and a beginning that the disk did not take */
    struct rpc_request *asking;
    int64_t asked_ms, swept_ms; /* monotonic */
};

struct webhooks {
    struct service *svc;
    struct answers *answers;
    struct outbound *outbound;
    webhooks_may_fn may;
    void *may_data;
    uv_timer_t tick;
    struct list tenants, flights;
    size_t n_tenants, jobs;
    uint64_t taken, failed, given_up, dropped;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

struct flight {
    struct list link;
    struct hook_tenant *t;
    struct outbound_call *call;
    bool over; /* who made the endpoint may not any more */
    struct webhook_delivery d;
    int64_t started_ms;
};

struct hook_job {
    struct list link; /* unwritten */
    bool kept;        /* there */
    int64_t again_ms;
    struct hook_tenant *t;
    enum status (*run)(sqlite3 *db, struct hook_job *j, struct error *err);
    void (*done)(struct hook_job *j, const struct error *err);
    struct webhook_state state;
    struct arena a;
    struct webhook_delivery taken[FLYING_MAX];
    size_t n_taken, room;
    struct webhook_outcome outcome;
    char delivery[ID_CAP], webhook[ID_CAP], error[WEBHOOK_ERROR_MAX];
    struct webhook_happening *happened;
    size_t n_happened;
    int64_t cursor; /* of ingest's events */
};

/* ---- jobs ---- */

static void maybe_closed(struct webhooks *w);

static struct hook_job *job_new(struct hook_tenant *t)
{
    struct hook_job *j = calloc(1, sizeof *j);
    if (j != NULL) {
        j->t = t;
        arena_init(&j->a, JOB_ARENA);
    }
    return j;
}

static enum status run_job(sqlite3 *db, void *data, struct error *err)
{
    struct hook_job *j = data;
    enum status s = j->run(db, j, err);
    return s == STATUS_OK ? webhooks_store_state(db, &j->state, err) : s;
}

static void job_free(struct hook_job *j)
{
    arena_reset(&j->a);
    free(j);
}

static void job_done(const struct error *err, struct buf *json, void *data)
{
    struct hook_job *j = data;
    struct webhooks *w = j->t->w;
    (void)json;
    if (err->code == STATUS_OK) {
        j->t->state = j->state;
    } else {
        LOG_WARN("webhooks", LOG_STR("tenant", j->t->name), LOG_STR("err", err->text), LOG_END);
    }
    w->jobs--;
    if (j->done != NULL) {
        j->done(j, err);
    }
    if (!j->kept) {
        job_free(j);
    }
    maybe_closed(w);
}

static void submit(struct hook_job *j)
{
    j->t->w->jobs++;
    answers_run(j->t->w->answers, j->t->name, run_job, job_done, j);
}

/* The job is done again: the disk was full, or busy. */
static bool keep(struct hook_job *j, const struct error *err)
{
    j->kept = err->code != STATUS_OK && !j->t->w->closing;
    if (j->kept) {
        j->again_ms = clock_monotonic_ms() + WRITE_AGAIN_MS;
        list_push(&j->t->unwritten, &j->link);
    }
    return j->kept;
}

static enum status run_begin(sqlite3 *db, struct hook_job *j, struct error *err)
{
    return webhooks_store_begin(db, j->t->w->svc->home, &j->state, err);
}

static void begun(struct hook_job *j, const struct error *err)
{
    j->t->unbegun = keep(j, err);
}

/* NULL: too many, or out of memory. */
static struct hook_tenant *tenant_of(struct webhooks *w, const char *name)
{
    list_for_each(it, &w->tenants)
    {
        struct hook_tenant *t = list_entry(it, struct hook_tenant, link);
        if (strcmp(t->name, name) == 0) {
            return t;
        }
    }
    struct hook_tenant *t = w->n_tenants < TENANTS_MAX ? calloc(1, sizeof *t) : NULL;
    if (t == NULL) {
        return NULL;
    }
    t->w = w;
    (void)snprintf(t->name, sizeof t->name, "%s", name);
    t->state.cursor = -1;
    t->asked_ms = t->swept_ms = INT64_MIN / 2;
    list_init(&t->unwritten);
    list_push(&w->tenants, &t->link);
    w->n_tenants++;
    return t;
}

/* ---- sending ---- */

static enum status run_outcome(sqlite3 *db, struct hook_job *j, struct error *err)
{
    return webhooks_store_outcome(db, &j->outcome, err);
}

/* Until it is written the delivery is leased, and two that are leased hold up their endpoint. */
static void outcome_done(struct hook_job *j, const struct error *err)
{
    if (!keep(j, err)) {
        j->t->flying--;
    }
}

static void write_again(struct hook_tenant *t, int64_t now)
{
    list_for_each_safe(it, &t->unwritten)
    {
        struct hook_job *j = list_entry(it, struct hook_job, link);
        if (now >= j->again_ms) {
            list_remove(&j->link);
            j->kept = false;
            submit(j);
        }
    }
}

static void land(struct flight *f, const struct outbound_reply *r)
{
    struct hook_tenant *t = f->t;
    struct webhooks *w = t->w;
    const struct settings *set = w->svc->settings;
    struct hook_job *j = job_new(t);
    int64_t now = clock_wall_ms();
    bool taken = r->error.code == STATUS_OK && r->status >= 200 && r->status < 300;
    bool gone = r->error.code == STATUS_OK && r->status == 410;
    int64_t wait = webhook_wait_ms(f->d.attempts + 1, randombytes_random());
    int64_t asked = (int64_t)r->retry_after_s * 1000;
    asked = asked > WEBHOOK_WAIT_MAX_MS ? WEBHOOK_WAIT_MAX_MS : asked;
    wait = asked > wait ? asked : wait;
    bool last =
        gone || f->over || now + wait > f->d.created_ms + set->webhooks.retry_hours * HOUR_MS;
    w->taken += taken ? 1 : 0;
    w->failed += taken ? 0 : 1;
    w->given_up += !taken && last ? 1 : 0;
    LOG_INFO("webhook", LOG_STR("tenant", t->name), LOG_STR("delivery", f->d.id),
             LOG_STR("webhook", f->d.webhook), LOG_INT("http", r->status),
             LOG_INT("attempt", f->d.attempts + 1), LOG_STR("err", r->error.text),
             LOG_INT("dur_ms", clock_monotonic_ms() - f->started_ms), LOG_END);
    if (j != NULL) {
        (void)snprintf(j->delivery, sizeof j->delivery, "%s", f->d.id);
        (void)snprintf(j->webhook, sizeof j->webhook, "%s", f->d.webhook);
        if (r->error.code != STATUS_OK) {
            (void)snprintf(j->error, sizeof j->error, "%.250s", r->error.text);
        } else if (!taken) {
            (void)snprintf(j->error, sizeof j->error,
                           r->status >= 300 && r->status < 400
                               ? "HTTP %ld: redirects are not followed"
                               : "HTTP %ld",
                           r->status);
        }
        j->outcome = (struct webhook_outcome){.delivery = j->delivery,
                                              .webhook = j->webhook,
                                              .taken = taken,
                                              .gone = gone,
                                              .last = last,
                                              .over = f->over,
                                              .status = r->status,
                                              .error = j->error,
                                              .now_ms = now,
                                              .took_ms = clock_monotonic_ms() - f->started_ms,
                                              .due_ms = now + wait,
                                              .disable_ms = set->webhooks.disable_hours * HOUR_MS};
        j->run = run_outcome;
        j->done = outcome_done;
        submit(j);
    } else {
        t->flying--; /* it is sent again after the next start */
    }
    list_remove(&f->link);
    free(f->d.body);
    explicit_bzero(f->d.secret, sizeof f->d.secret);
    explicit_bzero(f->d.secret_old, sizeof f->d.secret_old);
    free(f);
}

static void on_reply(void *data, const struct outbound_reply *r)
{
    struct flight *f = data;
    f->call = NULL;
    land(f, r);
}

static enum status send_one(struct flight *f, struct error *err)
{
    struct webhooks *w = f->t->w;
    const struct settings *set = w->svc->settings;
    char id[64], at[64], signature[WEBHOOK_SIGNATURE_CAP], old[WEBHOOK_SIGNATURE_CAP] = "";
    char signed_[24 + 2 * WEBHOOK_SIGNATURE_CAP];
    const char *headers[] = {
        id, at, signed_, "Content-Type: application/json", "User-Agent: Carrel", "Expect:"};
    int64_t now_s = clock_wall_ms() / 1000;
    struct str body = str_from(f->d.body);
    f->over = !w->may(w->may_data, f->t->name, f->d.by, f->d.everything);
    enum status s = f->over ? error_set(err, STATUS_FORBIDDEN, "who made it may not any more")
                            : webhooks_url_check(set, f->d.url, err); /* may be another list now */
    if (s == STATUS_OK && f->d.lost) {
        s = error_set(err, STATUS_UNAVAILABLE,
                      "its secret does not open with system/secrets.key: "
                      "restore that file, or replace the secret");
    }
    if (s != STATUS_OK) {
        return s;
    }
    webhook_sign(f->d.secret, f->d.id, now_s, body, signature);
    if (f->d.has_old) { /* the receiver may not have the new one yet */
        webhook_sign(f->d.secret_old, f->d.id, now_s, body, old);
    }
    (void)snprintf(id, sizeof id, "webhook-id: %s", f->d.id);
    (void)snprintf(at, sizeof at, "webhook-timestamp: %lld", (long long)now_s);
    (void)snprintf(signed_, sizeof signed_, "webhook-signature: %s%s%s", signature,
                   f->d.has_old ? " " : "", old);
    const struct outbound_request r = {.what = "the receiver",
                                       .method = "POST",
                                       .url = f->d.url,
                                       .headers = headers,
                                       .n_headers = sizeof headers / sizeof headers[0],
                                       .body = body,
                                       .ca_file = set->webhooks.ca_file,
                                       .max_reply_bytes = 1024,
                                       .timeout_ms = set->webhooks.timeout_ms,
                                       .done = on_reply,
                                       .data = f};
    return outbound_start(w->outbound, &r, &f->call, err);
}

static enum status run_take(sqlite3 *db, struct hook_job *j, struct error *err)
{
    enum status s = STATUS_OK;
    bool found = true;
    while (s == STATUS_OK && found && j->n_taken < j->room) {
        s = webhooks_store_take(db, j->t->w->svc->home, clock_wall_ms(), &j->taken[j->n_taken],
                                &found, err);
        j->n_taken += s == STATUS_OK && found ? 1 : 0;
    }
    return j->n_taken > 0 ? STATUS_OK : s; /* those that were taken are sent */
}

static void took(struct hook_job *j, const struct error *err)
{
    struct hook_tenant *t = j->t;
    (void)err; /* those that were taken are leased, whatever could not be read after it */
    t->taking = false;
    for (size_t i = 0; i < j->n_taken; i++) {
        struct flight *f = t->w->closing ? NULL : calloc(1, sizeof *f);
        struct outbound_reply refused = {.status = 0};
        if (f == NULL) { /* it waits again after the next start */
            free(j->taken[i].body);
            continue;
        }
        f->t = t;
        f->d = j->taken[i];
        f->started_ms = clock_monotonic_ms();
        t->flying++;
        list_push(&t->w->flights, &f->link);
        if (send_one(f, &refused.error) != STATUS_OK) {
            land(f, &refused);
        }
    }
}

static void take(struct hook_tenant *t)
{
    struct hook_job *j = job_new(t);
    if (j != NULL) {
        t->taking = true;
        t->wake = false;
        j->room = FLYING_MAX - t->flying;
        j->run = run_take;
        j->done = took;
        submit(j);
    }
}

/* ---- what happened ---- */

static enum status run_put(sqlite3 *db, struct hook_job *j, struct error *err)
{
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    for (size_t i = 0; i < j->n_happened && s == STATUS_OK; i++) {
        s = webhooks_put(db, &j->happened[i], err);
    }
    if (s == STATUS_OK && j->cursor >= 0) {
        s = webhooks_store_cursor(db, j->cursor, err);
    }
    s = s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
    if (s != STATUS_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return s;
}

static void put_done(struct hook_job *j, const struct error *err)
{
    if (j->cursor >= 0) {
        j->t->putting = false;
    } else if (err->code != STATUS_OK) { /* with a cursor it is asked for again */
        j->t->w->dropped += j->n_happened;
        LOG_ERROR("an event is not told of", LOG_STR("tenant", j->t->name),
                  LOG_STR("event", j->happened[0].event), LOG_STR("err", err->text), LOG_END);
    }
}

static struct hook_job *put_job(struct webhooks *w, const char *tenant, const char *event,
                                const char *ref, const char *data)
{
    struct hook_tenant *t = w->closing ? NULL : tenant_of(w, tenant);
    struct hook_job *j = t == NULL ? NULL : job_new(t);
    struct webhook_happening *h = j == NULL ? NULL : arena_alloc(&j->a, sizeof *h);
    if (h == NULL) {
        free(j);
        w->dropped++;
        return NULL;
    }
    *h = (struct webhook_happening){.tenant = t->name,
                                    .event = arena_strdup(&j->a, event),
                                    .ref = arena_strdup(&j->a, ref == NULL ? "" : ref),
                                    .data = arena_strdup(&j->a, data)};
    j->happened = h;
    j->n_happened = 1;
    j->cursor = -1;
    j->run = run_put;
    j->done = put_done;
    if (h->event == NULL || h->ref == NULL || h->data == NULL) {
        job_free(j);
        w->dropped++;
        return NULL;
    }
    return j;
}

void webhooks_emit(struct webhooks *w, const char *tenant, const char *event, const char *ref,
                   const char *data)
{
    struct hook_job *j = w == NULL ? NULL : put_job(w, tenant, event, ref, data);
    if (j != NULL) {
        submit(j);
    }
}

void webhooks_wake(struct webhooks *w, const char *tenant)
{
    struct hook_tenant *t = w == NULL || w->closing ? NULL : tenant_of(w, tenant);
    if (t != NULL) {
        t->wake = true;
    }
}

/* ---- ingest's events ---- */

/* false: out of memory */
static bool happening_of(struct hook_job *j, const Ig__Event *e)
{
    struct webhook_happening *h = &j->happened[j->n_happened];
    const char **readers = arena_array(&j->a, e->document->n_readers + 1, sizeof *readers);
    *h = (struct webhook_happening){.tenant = j->t->name,
                                    .event = strcmp(e->kind, "failed") == 0 ? "document.failed"
                                                                            : "document.ingested",
                                    .ref = arena_strdup(&j->a, e->document->document),
                                    .data = webhook_event_data(&j->a, e),
                                    .readers = readers};
    for (size_t i = 0; readers != NULL && i < e->document->n_readers; i++) {
        readers[i] = arena_strdup(&j->a, e->document->readers[i]);
        if (readers[i] == NULL) {
            return false;
        }
        h->n_readers++;
    }
    j->n_happened++;
    return h->ref != NULL && h->data != NULL && readers != NULL;
}

static void on_events(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct hook_tenant *t = data;
    const Ig__EventsReply *reply = ig_events_reply(m);
    (void)r;
    if (reply == NULL) {
        return;
    }
    bool behind = t->state.cursor < 0 || (int64_t)reply->last < t->state.cursor;
    if (!behind && (int64_t)reply->upto <= t->state.cursor) {
        return;
    }
    struct hook_job *j = job_new(t);
    if (j == NULL) {
        return;
    }
    j->run = run_put;
    j->done = put_done;
    j->cursor = (int64_t)(behind ? reply->last : reply->upto);
    j->happened = arena_array(&j->a, reply->n_events + 1, sizeof *j->happened);
    bool memory = j->happened != NULL;
    for (size_t i = 0; memory && !behind && i < reply->n_events; i++) {
        memory = happening_of(j, reply->events[i]);
    }
    if (!memory) { /* asked again */
        job_free(j);
        return;
    }
    t->putting = true;
    submit(j);
}

static void on_events_end(struct rpc_request *r, const struct error *err, void *data)
{
    struct hook_tenant *t = data;
    (void)r;
    (void)err; /* ingest is away or starting: asked again */
    t->asking = NULL;
}

static void ask(struct hook_tenant *t, int64_t now)
{
    Ig__EventsRequest q = IG__EVENTS_REQUEST__INIT;
    const struct rpc_options o = {.tenant = t->name, .priority = 1};
    const struct rpc_callbacks cb = {.on_reply = on_events, .on_finish = on_events_end};
    struct rpc_client *client = service_client(t->w->svc, PEER_INGEST);
    t->asked_ms = now;
    q.has_after = t->state.cursor >= 0;
    q.after = q.has_after ? (uint64_t)t->state.cursor : 0;
    q.limit = EVENTS_AT_ONCE;
    if (client != NULL) {
        t->asking = ig_events(client, &o, &q, &cb, t);
    }
}

/* ---- life ---- */

static enum status run_sweep(sqlite3 *db, struct hook_job *j, struct error *err)
{
    const struct settings *s = j->t->w->svc->settings;
    return webhooks_store_sweep(db, clock_wall_ms(), s->webhooks.retry_hours * HOUR_MS,
                                s->webhooks.keep_days * 24 * HOUR_MS, err);
}

static void look_at(struct hook_tenant *t, int64_t now, int64_t wall)
{
    bool due = t->state.due_ms > 0 && t->state.due_ms <= wall;
    write_again(t, now);
    if (!t->unbegun && !t->taking && t->flying < FLYING_MAX && (due || t->wake)) {
        take(t);
    }
    if (t->state.documents && t->asking == NULL && !t->putting && now - t->asked_ms >= ASK_MS) {
        ask(t, now);
    }
    if ((t->state.endpoints || t->state.due_ms > 0) && now - t->swept_ms >= SWEEP_MS) {
        struct hook_job *j = job_new(t);
        t->swept_ms = now;
        if (j != NULL) {
            j->run = run_sweep;
            submit(j);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct webhooks *w = container_of(timer, struct webhooks, tick);
    int64_t now = clock_monotonic_ms(), wall = clock_wall_ms();
    list_for_each(it, &w->tenants)
    {
        look_at(list_entry(it, struct hook_tenant, link), now, wall);
    }
}

static void find_tenants(struct webhooks *w)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/tenants", w->svc->home);
    DIR *d = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        int m = snprintf(path, sizeof path, "%s/tenants/%.64s/serve.db", w->svc->home, e->d_name);
        if (!tenant_name_valid(str_from(e->d_name)) || m < 0 || (size_t)m >= sizeof path ||
            access(path, F_OK) != 0) {
            continue;
        }
        struct hook_tenant *t = tenant_of(w, e->d_name);
        struct hook_job *j = t == NULL ? NULL : job_new(t);
        if (j != NULL) {
            t->unbegun = true;
            j->run = run_begin;
            j->done = begun;
            submit(j);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

enum status webhooks_open(struct service *svc, struct answers *answers, struct outbound *outbound,
                          webhooks_may_fn may, void *data, struct webhooks **out, struct error *err)
{
    struct webhooks *w = calloc(1, sizeof *w);
    if (w == NULL || sodium_init() < 0) {
        free(w);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    w->svc = svc;
    w->answers = answers;
    w->outbound = outbound;
    w->may = may;
    w->may_data = data;
    list_init(&w->tenants);
    list_init(&w->flights);
    (void)uv_timer_init(svc->loop, &w->tick);
    (void)uv_timer_start(&w->tick, on_tick, TICK_MS, TICK_MS);
    find_tenants(w);
    *out = w;
    return STATUS_OK;
}

static void on_tick_closed(uv_handle_t *h)
{
    struct webhooks *w = container_of((uv_timer_t *)(void *)h, struct webhooks, tick);
    void (*closed)(void *) = w->closed;
    void *data = w->closed_data;
    list_for_each_safe(it, &w->tenants)
    {
        struct hook_tenant *t = list_entry(it, struct hook_tenant, link);
        list_for_each_safe(at, &t->unwritten)
        {
            job_free(list_entry(at, struct hook_job, link));
        }
        free(t);
    }
    free(w);
    closed(data);
}

static void maybe_closed(struct webhooks *w)
{
    if (w->closing && w->jobs == 0 && !uv_is_closing((uv_handle_t *)&w->tick)) {
        uv_close((uv_handle_t *)&w->tick, on_tick_closed);
    }
}

void webhooks_close(struct webhooks *w, void (*closed)(void *data), void *data)
{
    w->closing = true;
    w->closed = closed;
    w->closed_data = data;
    (void)uv_timer_stop(&w->tick);
    list_for_each(it, &w->tenants)
    {
        struct hook_tenant *t = list_entry(it, struct hook_tenant, link);
        if (t->asking != NULL) {
            rpc_request_cancel(t->asking);
            t->asking = NULL;
        }
    }
    list_for_each_safe(it, &w->flights)
    {
        struct flight *f = list_entry(it, struct flight, link);
        if (f->call != NULL) {
            outbound_cancel(f->call);
        }
        list_remove(&f->link);
        free(f->d.body);
        free(f);
    }
    maybe_closed(w);
}

void webhooks_metrics(const struct webhooks *w, struct buf *out)
{
    buf_printf(out,
               "# TYPE carrel_webhook_deliveries_total counter\n"
               "carrel_webhook_deliveries_total{outcome=\"taken\"} %llu\n"
               "carrel_webhook_deliveries_total{outcome=\"failed\"} %llu\n"
               "carrel_webhook_deliveries_total{outcome=\"given_up\"} %llu\n"
               "# TYPE carrel_webhook_events_dropped_total counter\n"
               "carrel_webhook_events_dropped_total %llu\n",
               (unsigned long long)w->taken, (unsigned long long)w->failed,
               (unsigned long long)w->given_up, (unsigned long long)w->dropped);
}
