/* A job's life: made (its row is written, then 202) -> queued until there is a place -> running ->
 * its answer is kept, then posted to its callback. One timer looks once a second: at deadlines, at
 * those that watch, at deliveries to be tried again. */
#include "serve/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/sign.h"
#include "serve/answers.h"
#include "serve/jobs_json.h"
#include "serve/outbound.h"
#include "serve/service.h"
#include "serve/usage/fair.h"
#include "serve/webhooks.h"

#define TICK_MS 1000
#define HOUR_MS INT64_C(3600000)
#define CALLER_SLACK_MS 60000
#define DELIVERIES_MAX 4
#define DELIVERIES_AT_ONCE 8 /* of a tenant: a receiver that stands still takes no more places */
#define DELIVERY_TIMEOUT_MS 15000

struct job {
    struct list link;
    struct jobs *jobs;
    char id[ID_CAP], tenant[65], user[64];
    char kind[16], model[256];
    struct http_request *http; /* NULL: it is over, and being written or delivered */
    struct request *q;
    void (*handler)(struct request *q);
    void (*look)(struct request *q);
    bool watches, running, writing, dead;
    unsigned roles, scopes; /* who may have it run: asked again as long as it does */
    bool told;              /* its end is in its row */
    int64_t created_wall_ms;
    int64_t deadline_ms;   /* of its life, queued or not */
    int64_t not_before_ms; /* a limit is in its way until then; 0: none */
    /* the end */
    struct job_row row;
    char *result;
    char state[16];
    struct error err;
    /* the callback */
    char *callback;
    uint8_t secret[WEBHOOK_SECRET_BYTES];
    struct buf notice;
    struct outbound_call *call;
    unsigned tries;
    int64_t retry_ms;
    char delivery[160];
};

struct jobs {
    struct serve *serve;
    uv_timer_t tick;
    struct list alive;
    size_t n;
    bool closing, timer_closed;
    void (*closed)(void *data);
    void *closed_data;
};

static void pump(struct jobs *j);
static void deliver(struct job *b);

static void maybe_closed(struct jobs *j)
{
    if (j->closing && j->timer_closed && j->n == 0) {
        void (*closed)(void *) = j->closed;
        void *data = j->closed_data;
        free(j);
        closed(data);
    }
}

static void job_release(struct job *b)
{
    struct jobs *j = b->jobs;
    list_remove(&b->link);
    j->n--;
    free(b->result);
    free(b->callback);
    buf_deinit(&b->notice);
    free(b);
    maybe_closed(j);
}

/* The tick frees it: somebody may be going through the list. */
static void job_free(struct job *b)
{
    b->dead = true;
    if (b->jobs->closing) {
        job_release(b);
    }
}

/* ---- the callback ---- */

static enum status run_delivered(sqlite3 *db, void *data, struct error *err)
{
    const struct job *b = data;
    return jobs_delivered(db, b->id, b->delivery, err);
}

static void on_delivery_written(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    if (err->code != STATUS_OK) {
        LOG_WARN("a delivery could not be written down", LOG_STR("err", err->text), LOG_END);
    }
    job_free(data);
}

static void delivery_over(struct job *b)
{
    answers_run(b->jobs->serve->answers, b->tenant, run_delivered, on_delivery_written, b);
}

static void on_delivered(void *data, const struct outbound_reply *r)
{
    struct job *b = data;
    b->call = NULL;
    b->tries++;
    if (r->error.code == STATUS_OK && r->status >= 200 && r->status < 300) {
        (void)snprintf(b->delivery, sizeof b->delivery, "delivered, status %ld", r->status);
        delivery_over(b);
        return;
    }
    if (r->error.code == STATUS_OK) {
        (void)snprintf(b->delivery, sizeof b->delivery, "status %ld, %u tries", r->status,
                       b->tries);
    } else {
        (void)snprintf(b->delivery, sizeof b->delivery, "%.100s, %u tries", r->error.text,
                       b->tries);
    }
    if (b->tries == DELIVERIES_MAX || r->refused || b->jobs->closing) {
        delivery_over(b);
    } else {
        b->retry_ms = clock_monotonic_ms() + (INT64_C(2000) << (2 * b->tries));
    }
}

static bool may_deliver(const struct job *b)
{
    size_t own = 0;
    list_for_each(l, &b->jobs->alive)
    {
        const struct job *o = list_entry(l, struct job, link);
        own += o->call != NULL && strcmp(o->tenant, b->tenant) == 0;
    }
    return own < DELIVERIES_AT_ONCE;
}

static void deliver(struct job *b)
{
    char id[64], at[64], signature[WEBHOOK_SIGNATURE_CAP], signed_[96];
    int64_t now_s = clock_wall_ms() / 1000;
    struct error err;
    if (!may_deliver(b)) {
        b->retry_ms = clock_monotonic_ms(); /* the next tick asks again */
        return;
    }
    b->retry_ms = 0;
    webhook_sign(b->secret, b->id, now_s, buf_view(&b->notice), signature);
    (void)snprintf(id, sizeof id, "webhook-id: %s", b->id);
    (void)snprintf(at, sizeof at, "webhook-timestamp: %lld", (long long)now_s);
    (void)snprintf(signed_, sizeof signed_, "webhook-signature: %s", signature);
    const char *const headers[] = {
        id, at, signed_, "Content-Type: application/json", "User-Agent: Carrel", "Expect:"};
    const struct settings *set = b->jobs->serve->settings;
    struct outbound_request r = {.what = "the callback",
                                 .method = "POST",
                                 .url = b->callback,
                                 .headers = headers,
                                 .n_headers = sizeof headers / sizeof headers[0],
                                 .body = buf_view(&b->notice),
                                 .ca_file = set->webhooks.ca_file,
                                 .max_reply_bytes = 4096,
                                 .timeout_ms = DELIVERY_TIMEOUT_MS,
                                 .done = on_delivered,
                                 .data = b};
    if (outbound_start(b->jobs->serve->outbound, &r, &b->call, &err) != STATUS_OK) {
        b->tries++;
        (void)snprintf(b->delivery, sizeof b->delivery, "%.150s", err.text);
        if (b->tries == DELIVERIES_MAX || err.code != STATUS_BUSY) {
            delivery_over(b);
        } else {
            b->retry_ms = clock_monotonic_ms() + 5000;
        }
    }
}

/* ---- the end ---- */

static enum status run_put(sqlite3 *db, void *data, struct error *err)
{
    const struct job *b = data;
    return jobs_put(db, &b->row, err);
}

static void on_end_written(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    struct job *b = data;
    b->told = true;
    if (err->code != STATUS_OK) {
        LOG_ERROR("a job's answer could not be kept", LOG_STR("job", b->id),
                  LOG_STR("err", err->text), LOG_END);
    }
    if (b->callback == NULL || b->jobs->closing) {
        job_free(b);
        return;
    }
    struct jsonw w;
    buf_init(&b->notice, JOB_RESULT_MAX + 65536);
    jsonw_init(&w, &b->notice);
    job_json(&w, &b->row, false, false);
    if (buf_status(&b->notice) != STATUS_OK) {
        job_free(b);
        return;
    }
    deliver(b);
}

/* For endpoints that are told of jobs; the answer stays here, with who asked. */
static void tell_end(const struct job *b)
{
    struct buf data;
    struct jsonw w;
    buf_init(&data, 4096);
    jsonw_init(&w, &data);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "job", b->id);
    jsonw_field_z(&w, "kind", b->row.kind);
    jsonw_field_z(&w, "status", b->state);
    jsonw_close(&w, '}');
    if (buf_status(&data) == STATUS_OK) {
        webhooks_emit(b->jobs->serve->webhooks, b->tenant, "job.done", b->id, data.ptr);
    }
    buf_deinit(&data);
}

static void end_job(struct job *b, const char *state, int status, struct str body)
{
    struct jobs *j = b->jobs;
    b->http = NULL;
    b->q = NULL;
    b->look = NULL;
    b->running = false;
    (void)snprintf(b->state, sizeof b->state, "%s", state);
    b->result = body.len <= JOB_RESULT_MAX ? strndup(body.ptr, body.len) : NULL;
    b->row.state = b->state;
    b->row.status = status;
    b->row.result = b->result == NULL ? "" : b->result;
    b->row.ended_wall_ms = clock_wall_ms();
    tell_end(b);
    answers_run(j->serve->answers, b->tenant, run_put, on_end_written, b);
    pump(j);
}

/* What would have been sent. */
static void on_answer(void *data, int status, struct str body)
{
    end_job(data, status < 300 ? "completed" : "failed", status, body);
}

static void fail(struct job *b, const char *state, const char *message)
{
    struct buf body;
    struct http_request *http = b->http;
    buf_init(&body, 8192);
    http_error_body(&body, http->error_shape, NULL, "server_error", NULL, state, message);
    b->http = NULL;
    http_request_drop(http);
    end_job(b, strcmp(state, "cancelled") == 0 ? state : "failed",
            strcmp(state, "cancelled") == 0 ? 499 : 504, buf_view(&body));
    buf_deinit(&body);
}

/* ---- running ---- */

/* Whoever asked may have been disabled or made something else meanwhile, his key revoked. */
static bool may_go_on(const struct job *b)
{
    const struct principal *who = b->q->who;
    return !auth_ended(who, clock_wall_ms()) && auth_may(who, b->roles, b->scopes);
}

static void stop_job(struct job *b)
{
    fail(b, "failed", "who asked for the job may not any more");
}

static bool has_place(const struct jobs *j, const struct job *wanted)
{
    size_t all = 0, own = 0, most = wanted->watches ? JOBS_WATCHING_MAX : JOBS_RUNNING_MAX;
    list_for_each(l, &j->alive)
    {
        const struct job *b = list_entry(l, struct job, link);
        if (b->running && b->watches == wanted->watches) {
            all++;
            own += strcmp(b->tenant, wanted->tenant) == 0;
        }
    }
    return all < most && own < most / 2;
}

static void run_job(struct job *b)
{
    struct request *q = b->q;
    struct error err;
    b->running = true;
    if (!may_go_on(b)) {
        stop_job(b);
        return;
    }
    q->http->deadline_ms = b->deadline_ms;
    int64_t life = b->deadline_ms - clock_monotonic_ms() + CALLER_SLACK_MS;
    if (serve_sign(q, life, &err) != STATUS_OK) {
        fail(b, "failed", err.text);
        return;
    }
    int64_t wait_ms = 0;
    if (!b->watches && !fair_admit_later(q, &wait_ms)) {
        if (wait_ms > 0) { /* else it was answered so, and is over */
            b->running = false;
            b->not_before_ms = clock_monotonic_ms() + wait_ms;
        }
        return;
    }
    audit_begin_job(q, b->handler); /* may end at once */
}

static void pump(struct jobs *j)
{
    int64_t now = clock_monotonic_ms();
    if (j->closing) {
        return;
    }
    list_for_each_safe(l, &j->alive)
    {
        struct job *b = list_entry(l, struct job, link);
        if (b->http != NULL && !b->running && !b->writing && b->not_before_ms <= now &&
            has_place(j, b)) {
            b->running = true; /* pump may come again from inside */
            run_job(b);
            return; /* the list may have changed: the tick, or the next end, goes on */
        }
    }
}

static void on_tick(uv_timer_t *t)
{
    struct jobs *j = t->data;
    int64_t now = clock_monotonic_ms();
    list_for_each_safe(d, &j->alive)
    {
        struct job *b = list_entry(d, struct job, link);
        if (b->dead) {
            job_release(b);
        }
    }
    for (size_t i = 0; i < JOBS_RUNNING_MAX; i++) {
        pump(j);
    }
    list_for_each_safe(l, &j->alive)
    {
        struct job *b = list_entry(l, struct job, link);
        if (b->http != NULL && !b->writing && now > b->deadline_ms) {
            fail(b, "failed", "the job took longer than jobs.max_minutes");
            return;
        }
        if (b->http != NULL && !b->writing && !may_go_on(b)) {
            stop_job(b);
            continue;
        }
        if (b->http != NULL && b->running && b->look != NULL) {
            void (*look)(struct request *) = b->look;
            b->look = NULL;
            look(b->q);
            continue;
        }
        if (b->retry_ms != 0 && now >= b->retry_ms) {
            deliver(b);
        }
    }
}

void jobs_watch(struct request *q, void (*look)(struct request *q))
{
    q->job->look = look;
}

/* ---- made ---- */

struct starting {
    struct request *q;
    struct http_request *http;
    struct job *job;
    void (*answer)(struct request *q, const struct job_row *row);
};

static enum status run_begin(sqlite3 *db, void *data, struct error *err)
{
    const struct starting *st = data;
    const struct settings *set = st->q->serve->settings;
    enum status s = jobs_expire(db, clock_wall_ms() - set->jobs.keep_hours * HOUR_MS, err);
    return s == STATUS_OK ? jobs_put(db, &st->job->row, err) : s;
}

static void answer_job(struct request *q, const struct job *b)
{
    struct jsonw w;
    char location[64];
    (void)snprintf(location, sizeof location, "/api/jobs/%s", b->id);
    http_header(q->http, "Location", location);
    http_header(q->http, "Retry-After", "2");
    http_header(q->http, "Preference-Applied", "respond-async");
    jsonw_init(&w, &q->out);
    jsonw_open(&w, '{');
    job_fields(&w, &b->row, true, b->running);
    if (b->callback != NULL) {
        char secret[WEBHOOK_SECRET_CAP];
        webhook_secret_text(b->secret, secret);
        jsonw_field_z(&w, "callback_secret", secret);
    }
    jsonw_close(&w, '}');
    api_json(q, 202, &q->out);
}

static void on_begun(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    struct starting *st = data;
    struct http_request *http = st->http;
    struct job *b = st->job;
    b->writing = false;
    if (err->code != STATUS_OK || b->jobs->closing) {
        struct http_request *detached = b->http;
        b->http = NULL;
        http_request_drop(detached);
        job_free(b);
        if (!http_request_gone(http)) {
            static const struct error stopping = {
                .code = STATUS_UNAVAILABLE, .text = "Carrel is stopping: ask again in a moment"};
            api_fail(st->q, err->code == STATUS_OK ? &stopping : err);
        }
    } else {
        struct jobs *j = b->jobs;
        if (!http_request_gone(http)) { /* it runs on, whether or not anybody heard of it */
            if (st->answer != NULL) {
                st->answer(st->q, &b->row);
            } else {
                answer_job(st->q, b);
            }
        }
        pump(j);
    }
    http_request_release(http);
}

static struct job *job_new(struct request *q, const struct job_request *r)
{
    struct jobs *j = q->serve->jobs;
    struct job *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return NULL;
    }
    int64_t life = q->serve->settings->jobs.max_minutes * 60000;
    b->deadline_ms = clock_monotonic_ms() + life;
    b->http = http_request_detached(q->serve->http, on_answer, b);
    b->q = b->http == NULL ? NULL : api_request_new(q->serve, b->http);
    b->callback = r->callback == NULL ? NULL : strdup(r->callback);
    if (b->q == NULL || (r->callback != NULL && b->callback == NULL)) {
        if (b->http != NULL) {
            http_request_drop(b->http);
        }
        free(b->callback);
        free(b);
        return NULL;
    }
    random_bytes(b->secret, sizeof b->secret);
    id_new(b->id);
    b->jobs = j;
    b->handler = r->handler;
    b->watches = r->watches;
    b->writing = true;
    b->created_wall_ms = clock_wall_ms();
    (void)snprintf(b->tenant, sizeof b->tenant, "%s", q->who->tenant);
    (void)snprintf(b->user, sizeof b->user, "%s", q->who->user);
    (void)snprintf(b->kind, sizeof b->kind, "%s", r->kind);
    (void)snprintf(b->model, sizeof b->model, "%s", r->model == NULL ? "" : r->model);
    b->http->error_shape = r->errors;
    b->http->route = q->http->route;
    memcpy(b->http->peer, q->http->peer, sizeof b->http->peer);
    buf_str(&b->http->body, r->body);
    b->q->who = q->who;
    b->q->job = b;
    b->q->answer_id = b->id;
    if (r->path != NULL) {
        route_find(serve_routes, serve_routes_n, VERB_POST, str_from(r->path), &b->q->match);
    }
    const struct route *as = b->q->match.route != NULL ? b->q->match.route : q->match.route;
    b->roles = as->roles;
    b->scopes = as->scopes;
    b->row = (struct job_row){.id = b->id,
                              .user = b->user,
                              .kind = b->kind,
                              .model = b->model,
                              .state = "queued",
                              .result = "",
                              .delivery = "",
                              .created_wall_ms = b->created_wall_ms};
    list_push(&j->alive, &b->link);
    j->n++;
    return b;
}

/* An address of the list, and few enough alive. */
static bool may_start(struct request *q, const struct job_request *r)
{
    const struct jobs *j = q->serve->jobs;
    const struct settings *set = q->serve->settings;
    struct error err;
    size_t own = 0;
    if (j == NULL) { /* serve is closing */
        (void)error_set(&err, STATUS_UNAVAILABLE, "the appliance is being stopped");
        api_fail(q, &err);
        return false;
    }
    if (r->callback != NULL &&
        outbound_url_check(r->callback, &set->webhooks.allow, &set->webhooks.allow_private, &err) !=
            STATUS_OK) {
        api_error(q, 400, "callback_url", status_name(err.code), err.text);
        return false;
    }
    list_for_each(l, &j->alive)
    {
        const struct job *b = list_entry(l, struct job, link);
        own += !b->dead && strcmp(b->tenant, q->who->tenant) == 0;
    }
    if (j->n >= JOBS_ALIVE_MAX || own >= JOBS_TENANT_MAX || j->closing) {
        (void)error_set(&err, STATUS_BUSY, "too many jobs wait: try again later");
        api_fail(q, &err);
        return false;
    }
    return true;
}

void jobs_start(struct request *q, const struct job_request *r,
                void (*answer)(struct request *q, const struct job_row *row))
{
    struct starting *st = arena_alloc(q->arena, sizeof *st);
    if (!may_start(q, r)) {
        return;
    }
    struct job *b = st == NULL ? NULL : job_new(q, r);
    if (b == NULL || buf_status(&b->http->body) != STATUS_OK) {
        if (b != NULL) {
            http_request_drop(b->http);
            job_free(b);
        }
        api_out_of_memory(q);
        return;
    }
    *st = (struct starting){.q = q, .http = q->http, .job = b, .answer = answer};
    http_request_hold(q->http);
    answers_run(q->serve->answers, b->tenant, run_begin, on_begun, st);
}

/* ---- asked about ---- */

static struct job *find(const struct jobs *j, const char *tenant, const char *id)
{
    if (j == NULL) {
        return NULL;
    }
    list_for_each(l, &j->alive)
    {
        struct job *b = list_entry(l, struct job, link);
        if (strcmp(b->id, id) == 0 && strcmp(b->tenant, tenant) == 0) {
            return b;
        }
    }
    return NULL;
}

bool jobs_alive(const struct jobs *j, const char *tenant, const char *id, bool *running)
{
    const struct job *b = find(j, tenant, id);
    *running = b != NULL && b->running;
    return b != NULL && !b->told;
}

bool jobs_cancel(struct jobs *j, const char *tenant, const char *id)
{
    struct job *b = find(j, tenant, id);
    if (b == NULL || b->http == NULL || b->writing) {
        return false;
    }
    fail(b, "cancelled", "the job was cancelled");
    return true;
}

bool jobs_preferred(const struct request *q)
{
    struct str prefer = http_head_get(q->http->head, "prefer");
    return q->job == NULL && prefer.ptr != NULL &&
           memmem(prefer.ptr, prefer.len, "respond-async", 13) != NULL;
}

/* ---- open and close ---- */

enum status jobs_new(struct serve *s, struct jobs **out, struct error *err)
{
    struct jobs *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    j->serve = s;
    list_init(&j->alive);
    (void)uv_timer_init(s->svc->loop, &j->tick);
    j->tick.data = j;
    (void)uv_timer_start(&j->tick, on_tick, TICK_MS, TICK_MS);
    *out = j;
    return STATUS_OK;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct jobs *j = h->data;
    j->timer_closed = true;
    maybe_closed(j);
}

void jobs_close(struct jobs *j, void (*closed)(void *data), void *data)
{
    j->closing = true;
    j->closed = closed;
    j->closed_data = data;
    list_for_each_safe(l, &j->alive)
    {
        struct job *b = list_entry(l, struct job, link);
        if (b->writing) {
            continue; /* on_begun frees it */
        }
        if (b->dead) {
            job_release(b);
            continue;
        }
        if (b->http != NULL) { /* its row says that it was under way: interrupted */
            struct http_request *http = b->http;
            b->http = NULL;
            http_request_drop(http);
            job_free(b);
        } else if (b->call != NULL) {
            outbound_cancel(b->call);
            b->call = NULL;
            job_free(b);
        } else if (b->retry_ms != 0) {
            job_free(b);
        } /* else the lane has it */
    }
    uv_close((uv_handle_t *)&j->tick, on_timer_closed);
}
