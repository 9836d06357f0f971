/* A request's way: fair_admit -> its handler, which calls fair_add -> fair_done, which charges the
 * counters and puts an entry into `pending`. What is pending goes to the books, one transaction a
 * tenant, and changed counters to system/serve.db: at once when nothing was written for
 * FAIR_FLUSH_MS, else when that is over. One flush at a time. */
#include "serve/usage/fair_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lane.h"
#include "base/log.h"
#include "base/metrics.h"
#include "generate/generate_rpc.h"
#include "serve/answers.h"
#include "serve/auth.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/service.h"
#include "serve/usage/books.h"
#include "serve/usage/fair_store.h"

#define WAITERS_MAX 16
#define COUNTERS_MAX 4096 /* written at once; the rest with the next flush */

struct batch { /* of one tenant; the lane's while it is written */
    struct fair *fair;
    struct batch *next;
    char tenant[METER_NAME_CAP];
    struct book_entry *entries;
    size_t n, cap;
    int64_t keep_days, wall_ms;
    unsigned tries;
};

struct counters {
    struct fair *fair;
    const char *home;
    struct meter_subject *list; /* copies */
    size_t n;
    struct error err;
};

struct waiter {
    void (*done)(void *data);
    void *data;
};

struct fair {
    struct fair_options o;
    struct meter meter;
    struct prices prices;
    struct lane lane; /* system/serve.db */
    uv_timer_t timer;
    uint64_t flushed_ms; /* when the last flush began, the loop's time */
    struct batch *open;  /* being filled */
    size_t pending;      /* entries in memory, those being written too */
    size_t writing;      /* batches and counters on lanes */
    uint64_t lost, refused[METER_NO_MEMORY + 1];
    struct waiter next[WAITERS_MAX], now[WAITERS_MAX]; /* for the flush to come; of this one */
    size_t n_next, n_now;
    bool wanted, closing; /* another flush after this one */
    void (*closed)(void *data);
    void *closed_data;
};

/* ---- start ---- */

static void read_kind(int64_t out[METER_LIMITS], const struct limit_settings *l)
{
    out[METER_REQUESTS] = l->requests_per_minute;
    out[METER_TOKENS] = l->tokens_per_day;
    out[METER_STREAMS] = l->streams;
    out[METER_UPLOAD] = l->upload_bytes_per_day;
    out[METER_BUDGET] = prices_micro(l->budget_per_month);
}

static unsigned share_of(int64_t places, int64_t percent)
{
    int64_t n = places * percent / 100;
    return percent == 0 || percent >= 100 ? 0 : n < 1 ? 1 : (unsigned)n;
}

static void read_defaults(const struct settings *s, struct meter_defaults *d)
{
    read_kind(d->limits[METER_KEY], &s->limits.key);
    read_kind(d->limits[METER_USER], &s->limits.user);
    read_kind(d->limits[METER_TEAM], &s->limits.team);
    read_kind(d->limits[METER_TENANT], &s->limits.tenant);
    d->limits[METER_KEY][METER_REQUESTS] = s->http.requests_per_minute;
    d->warn_percent = s->limits.warn_percent;
    d->tenant_share = share_of(s->http.max_requests_in_flight, s->limits.tenant_share_percent);
    d->answer_share =
        share_of(s->generate.users + s->generate.queue, s->limits.tenant_share_percent);
}

static void on_timer(uv_timer_t *t);

enum status fair_open(const struct fair_options *o, struct fair **out, struct error *err)
{
    struct fair *f = calloc(1, sizeof *f);
    struct meter_defaults defaults = {0};
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    f->o = *o;
    read_defaults(o->settings, &defaults);
    prices_read(o->settings, &f->prices);
    meter_init(&f->meter, &defaults);
    lane_init(&f->lane, o->loop, 1, 64);
    enum status s = fair_store_load(o->home, &f->meter, clock_monotonic_ms(), clock_wall_ms(), err);
    int uv = s == STATUS_OK ? uv_timer_init(o->loop, &f->timer) : 0;
    if (uv != 0) {
        s = error_set(err, STATUS_INTERNAL, "a timer: %s", uv_strerror(uv));
    }
    if (s != STATUS_OK) {
        meter_deinit(&f->meter);
        free(f);
        return s;
    }
    f->timer.data = f;
    for (size_t i = 0; auth_at(o->auth, i) != NULL; i++) {
        fair_know(f, auth_at(o->auth, i)->tenant);
    }
    *out = f;
    return STATUS_OK;
}

void fair_know(struct fair *f, const char *tenant)
{
    (void)meter_subject(&f->meter, METER_TENANT, tenant, "", clock_monotonic_ms());
}

/* A request alone waits for nobody; of many, at most so many transactions a second. */
static void flush_soon(struct fair *f)
{
    uint64_t passed = uv_now(f->o.loop) - f->flushed_ms;
    if (f->writing == 0 && !uv_is_active((uv_handle_t *)&f->timer)) {
        (void)uv_timer_start(&f->timer, on_timer,
                             passed < FAIR_FLUSH_MS ? FAIR_FLUSH_MS - passed : 0, 0);
    }
}

static void charge(struct fair *f, enum meter_kind kind, const char *tenant, const char *name,
                   int64_t micro)
{
    struct meter_subject *s = meter_subject(&f->meter, kind, tenant, name, clock_monotonic_ms());
    if (s != NULL && micro != 0) {
        meter_roll(s, clock_wall_ms());
        s->micro += micro;
        s->dirty = true;
        flush_soon(f);
    }
}

void fair_charge_tenant(struct fair *f, const char *tenant, int64_t micro)
{
    charge(f, METER_TENANT, tenant, "", micro);
}

void fair_charge(struct fair *f, const char *tenant, const char *user, const char *key,
                 const char *team, int64_t micro)
{
    const char *const names[METER_KINDS] = {
        [METER_KEY] = key, [METER_USER] = user, [METER_TEAM] = team};
    fair_charge_tenant(f, tenant, micro);
    for (int i = 0; i < METER_KINDS; i++) {
        if (names[i] != NULL && names[i][0] != '\0') {
            charge(f, (enum meter_kind)i, tenant, names[i], micro);
        }
    }
}

/* protobuf-c wants char * where it only reads. */
void fair_owner(struct request *q, char **key, char **team)
{
    *key = arena_strndup(q->arena, fair_key(q), strlen(fair_key(q)));
    *team = arena_strndup(q->arena, q->use.team, strlen(q->use.team));
}

struct meter *fair_meter(struct fair *f)
{
    return &f->meter;
}

const struct prices *fair_prices(const struct fair *f)
{
    return &f->prices;
}

void fair_metrics(const struct fair *f, struct buf *out)
{
    static const char *const names[] = {[METER_NO_REQUESTS] = "requests",
                                        [METER_NO_TOKENS] = "tokens",
                                        [METER_NO_STREAMS] = "streams",
                                        [METER_NO_UPLOAD] = "upload",
                                        [METER_NO_BUDGET] = "budget",
                                        [METER_NO_SHARE] = "share",
                                        [METER_FULL] = "full",
                                        [METER_NO_MEMORY] = "memory"};
    static const char *const refused = "carrel_serve_limited_requests_total";
    static const char *const lost = "carrel_serve_usage_lost_total";
    metrics_write_head(out, refused, "counter", "Requests over a limit, by which.");
    for (size_t i = METER_NO_REQUESTS; i <= METER_NO_MEMORY; i++) {
        struct metric_label label = {"limit", names[i]};
        metrics_write_sample(out, refused, &label, 1, (double)f->refused[i]);
    }
    metrics_write_head(out, lost, "counter", "Requests whose use could not be entered.");
    metrics_write_sample(out, lost, NULL, 0, (double)f->lost);
}

void fair_note_refusal(struct fair *f, enum meter_verdict why)
{
    f->refused[why]++;
}

/* ---- the flush ---- */

static void free_batch(struct batch *b)
{
    b->fair->pending -= b->n;
    free(b->entries);
    free(b);
}

static void on_closed(uv_handle_t *h)
{
    struct fair *f = h->data;
    void (*closed)(void *) = f->closed;
    void *data = f->closed_data;
    meter_deinit(&f->meter);
    free(f);
    closed(data);
}

static void begin_flush(struct fair *f);

static void end_flush(struct fair *f)
{
    if (--f->writing > 0) {
        return;
    }
    struct waiter done[WAITERS_MAX];
    size_t n = f->n_now;
    memcpy(done, f->now, n * sizeof *done);
    f->n_now = 0;
    bool more = f->wanted || f->n_next > 0 || (f->closing && f->open != NULL);
    if (more) {
        begin_flush(f);
    } else if (f->closing) {
        uv_close((uv_handle_t *)&f->timer, on_closed);
    } else if (f->open != NULL) {
        flush_soon(f);
    }
    for (size_t i = 0; i < n; i++) {
        done[i].done(done[i].data);
    }
}

static enum status write_batch(sqlite3 *db, void *data, struct error *err)
{
    struct batch *b = data;
    return books_enter(db, b->entries, b->n, b->keep_days, b->wall_ms, err);
}

/* What could not be written is tried again: a full disk may have room later, a full lane soon has.
 * When closing there is no later. */
static void on_batch(const struct error *err, struct buf *json, void *data)
{
    struct batch *b = data;
    struct fair *f = b->fair;
    (void)json;
    if (err->code == STATUS_OK) {
        free_batch(b);
    } else if (f->closing || f->pending >= FAIR_PENDING_MAX || b->tries > 1000) {
        LOG_ERROR("what requests used could not be entered into the books",
                  LOG_STR("tenant", b->tenant), LOG_INT("requests", b->n),
                  LOG_STR("err", err->text), LOG_END);
        f->lost += b->n;
        free_batch(b);
    } else {
        b->tries++;
        b->next = f->open;
        f->open = b;
    }
    end_flush(f);
}

static void work_counters(void *job)
{
    struct counters *c = job;
    c->err.code = fair_store_counters(c->home, c->list, c->n, &c->err);
}

/* Copies are values, not changes: what failed now is right with the next write of its subject. */
static void done_counters(void *job)
{
    struct counters *c = job;
    struct fair *f = c->fair;
    if (c->err.code != STATUS_OK) {
        LOG_ERROR("counters of limits could not be kept", LOG_STR("err", c->err.text), LOG_END);
        for (size_t i = 0; i < c->n; i++) {
            struct meter_subject *s = meter_subject(&f->meter, c->list[i].kind, c->list[i].tenant,
                                                    c->list[i].name, clock_monotonic_ms());
            if (s != NULL) {
                s->dirty = true;
            }
        }
    }
    free(c->list);
    free(c);
    end_flush(f);
}

static void write_counters(struct fair *f)
{
    struct counters *c = calloc(1, sizeof *c);
    size_t pos = 0;
    struct meter_subject *s;
    size_t cap = 0;
    while (c != NULL && c->n < COUNTERS_MAX && (s = meter_next_dirty(&f->meter, &pos)) != NULL) {
        if (c->n == cap) {
            size_t more = cap == 0 ? 16 : cap * 2;
            struct meter_subject *list = realloc(c->list, more * sizeof *list);
            if (list == NULL) {
                s->dirty = true;
                break;
            }
            c->list = list;
            cap = more;
        }
        c->list[c->n++] = *s;
    }
    if (c == NULL || c->n == 0) {
        free(c);
        return;
    }
    c->fair = f;
    c->home = f->o.home;
    f->writing++;
    if (lane_submit(&f->lane, work_counters, done_counters, c, &c->err) != STATUS_OK) {
        done_counters(c);
    }
}

static void begin_flush(struct fair *f)
{
    struct batch *list = f->open;
    f->open = NULL;
    f->wanted = false;
    memcpy(f->now, f->next, f->n_next * sizeof *f->now);
    f->n_now = f->n_next;
    f->n_next = 0;
    f->flushed_ms = uv_now(f->o.loop);
    f->writing = 1; /* ours, so that nothing ends before all have begun */
    int64_t wall_ms = clock_wall_ms();
    while (list != NULL) {
        struct batch *b = list;
        list = b->next;
        b->next = NULL;
        b->keep_days = f->o.settings->usage.keep_days;
        b->wall_ms = wall_ms;
        f->writing++;
        answers_run(f->o.answers, b->tenant, write_batch, on_batch, b);
    }
    write_counters(f);
    end_flush(f);
}

static void on_timer(uv_timer_t *t)
{
    struct fair *f = t->data;
    if (f->writing == 0) {
        begin_flush(f);
    }
}

void fair_flush(struct fair *f, void (*done)(void *data), void *data)
{
    if (f->n_next == WAITERS_MAX) { /* so many ask at once: this one sees what is there */
        done(data);
        return;
    }
    f->next[f->n_next++] = (struct waiter){done, data};
    f->wanted = true;
    if (f->writing == 0) {
        (void)uv_timer_start(&f->timer, on_timer, 0, 0); /* never from inside */
    }
}

void fair_close(struct fair *f, void (*closed)(void *data), void *data)
{
    f->closing = true;
    f->closed = closed;
    f->closed_data = data;
    f->wanted = f->writing > 0;
    (void)uv_timer_stop(&f->timer);
    if (f->writing == 0) {
        begin_flush(f);
    }
}

/* ---- what a request used ---- */

static struct batch *batch_of(struct fair *f, const char *tenant)
{
    struct batch *b = f->open;
    while (b != NULL && (strcmp(b->tenant, tenant) != 0 || b->tries > 0)) {
        b = b->next;
    }
    if (b == NULL) {
        b = calloc(1, sizeof *b);
        if (b == NULL) {
            return NULL;
        }
        b->fair = f;
        (void)snprintf(b->tenant, sizeof b->tenant, "%s", tenant);
        b->next = f->open;
        f->open = b;
    }
    if (b->n == b->cap) {
        size_t cap = b->cap == 0 ? 8 : b->cap * 2;
        struct book_entry *more = realloc(b->entries, cap * sizeof *more);
        if (more == NULL) {
            return NULL;
        }
        b->entries = more;
        b->cap = cap;
    }
    return b;
}

static void enter(struct fair *f, const struct request *q, int status, const struct cost *cost)
{
    const struct principal *who = q->who;
    struct batch *b = f->pending < FAIR_PENDING_MAX ? batch_of(f, who->tenant) : NULL;
    if (b == NULL) {
        f->lost++;
        return;
    }
    struct book_entry *e = &b->entries[b->n++];
    f->pending++;
    *e = (struct book_entry){.route = q->match.route->pattern,
                             .at_wall_ms = clock_wall_ms(),
                             .status = status,
                             .used = q->use.used,
                             .cost = *cost};
    (void)snprintf(e->request, sizeof e->request, "%s", q->http->id);
    (void)snprintf(e->user, sizeof e->user, "%s", who->user);
    (void)snprintf(e->key, sizeof e->key, "%s", fair_key(q));
    (void)snprintf(e->team, sizeof e->team, "%s", q->use.team);
    if (q->use.found_len > 0) {
        memcpy(e->found, q->use.found, q->use.found_len);
    }
    e->found_len = q->use.found_len;
}

static void tell(const struct request *q, const char *event, const struct meter_subject *s,
                 int64_t budget)
{
    struct buf data;
    struct jsonw w;
    buf_init(&data, 4096);
    jsonw_init(&w, &data);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "of", meter_kind_name(s->kind));
    jsonw_field_z(&w, "name", s->name);
    jsonw_field_double(&w, "spent", (double)s->micro / 1e6);
    jsonw_field_double(&w, "budget", (double)budget / 1e6);
    jsonw_close(&w, '}');
    if (buf_status(&data) == STATUS_OK) {
        webhooks_emit(q->serve->webhooks, s->tenant, event, "", data.ptr);
    }
    buf_deinit(&data);
}

/* Once a month and budget: in the log and to webhooks; the page and every answer's header say it
 * from then on. And once when it is used up: by the request that did it. */
static void warn(struct fair *f, const struct request *q, int64_t micro)
{
    int64_t wall_ms = clock_wall_ms();
    const struct meter_subject *s = meter_warning(&f->meter, &q->use.ticket, true, wall_ms);
    if (s != NULL) {
        LOG_WARN("a budget is nearly used up", LOG_STR("tenant", s->tenant),
                 LOG_STR("of", meter_kind_name(s->kind)), LOG_STR("name", s->name),
                 LOG_INT("used_micro", s->micro),
                 LOG_INT("budget_micro", meter_limit_of(&f->meter, s, METER_BUDGET)), LOG_END);
        tell(q, "budget.warning", s, meter_limit_of(&f->meter, s, METER_BUDGET));
    }
    for (int i = 0; i < METER_KINDS; i++) {
        s = q->use.ticket.who[i];
        int64_t budget = s == NULL ? 0 : meter_limit_of(&f->meter, s, METER_BUDGET);
        if (budget > 0 && s->micro >= budget && s->micro - micro < budget) {
            tell(q, "budget.exceeded", s, budget);
        }
    }
}

void fair_add(struct request *q, const char *engine, const char *model, int64_t prompt_tokens,
              int64_t completion_tokens, int64_t cpu_us, int64_t gpu_us)
{
    struct usage *u = &q->use.used;
    if (engine != NULL) {
        (void)snprintf(u->engine, sizeof u->engine, "%s", engine);
        u->external = strcmp(engine, "upstream") == 0;
    }
    if (model != NULL) {
        usage_model(u, model);
    }
    u->prompt_tokens += prompt_tokens;
    u->completion_tokens += completion_tokens;
    u->cpu_us += cpu_us;
    u->gpu_us += gpu_us;
}

void fair_add_embedded(struct request *q, const char *model, int64_t tokens)
{
    q->use.used.embedding_tokens += tokens;
    fair_add(q, "embed", model, 0, 0, 0, 0);
}

void fair_found(struct request *q, const char *collection)
{
    struct fair_use *u = &q->use;
    size_t len = strlen(collection) + 1;
    for (size_t at = 0; at < u->found_len; at += strlen(u->found + at) + 1) {
        if (strcmp(u->found + at, collection) == 0) {
            return;
        }
    }
    char *more =
        len <= BOOKS_FOUND_CAP - u->found_len ? arena_alloc(q->arena, u->found_len + len) : NULL;
    if (more != NULL) {
        if (u->found_len > 0) {
            memcpy(more, u->found, u->found_len);
        }
        memcpy(more + u->found_len, collection, len);
        u->found = more;
        u->found_len += len;
    }
}

static int64_t beyond(int64_t *seen, int64_t now)
{
    int64_t more = now > *seen ? now - *seen : 0;
    *seen += more;
    return more;
}

/* To the counters what they do not have yet. */
static struct cost charge_more(struct request *q)
{
    struct fair *f = q->serve->fair;
    struct fair_use *u = &q->use;
    struct cost cost = {0};
    if (f == NULL || !u->ticket.held || u->uses == 0) {
        return cost;
    }
    cost = prices_cost(&f->prices, &u->used);
    int64_t tokens = u->used.prompt_tokens + u->used.completion_tokens + u->used.embedding_tokens;
    int64_t micro = cost.micro - u->charged.micro;
    meter_charge(&u->ticket, tokens - u->charged.tokens,
                 u->used.upload_bytes - u->charged.upload_bytes, micro, clock_wall_ms());
    u->charged.tokens = tokens;
    u->charged.upload_bytes = u->used.upload_bytes;
    u->charged.micro = cost.micro;
    warn(f, q, micro);
    return cost;
}

static void take_guess(struct request *q, const Ge__Elsewhere *e)
{
    struct fair_use *u = &q->use;
    if (u->guessed == NULL && e != NULL) {
        u->guessed = arena_alloc(q->arena, sizeof *u->guessed);
    }
    if (u->guessed == NULL) {
        return;
    }
    u->guessed->prompt = e == NULL ? 0 : e->tokens_read;
    u->guessed->completion = e == NULL ? 0 : e->tokens_written;
    if (e != NULL) {
        (void)snprintf(u->guessed->model, sizeof u->guessed->model, "%s", e->model);
    }
}

void fair_settle(struct request *q)
{
    struct fair_use *u = &q->use;
    struct fair_guess *g = u->guessed;
    if (g != NULL && (g->prompt > 0 || g->completion > 0)) {
        u->used.guessed_prompt += g->prompt;
        u->used.guessed_completion += g->completion;
        fair_add(q, "upstream", g->model, g->prompt, g->completion, 0, 0);
        g->prompt = g->completion = 0;
        charge_more(q); /* the answer that follows has that much less room */
    }
}

void fair_take_reply(struct request *q, struct fair_seen *seen, const Ge__ChatReply *m)
{
    int64_t read = m->has_tokens_read ? m->tokens_read : 0;
    int64_t written = m->has_tokens_written ? m->tokens_written : 0;
    read = m->has_prompt_tokens && m->prompt_tokens > read ? m->prompt_tokens : read;
    written =
        m->has_completion_tokens && m->completion_tokens > written ? m->completion_tokens : written;
    int64_t cpu_us = m->has_cpu_us && m->cpu_us < INT64_MAX ? (int64_t)m->cpu_us : 0;
    int64_t gpu_us = m->has_gpu_us && m->gpu_us < INT64_MAX ? (int64_t)m->gpu_us : 0;
    if (m->engine != NULL && strcmp(m->engine, "local") == 0 && !seen->local) {
        seen->local = true;
        (void)beyond(&seen->read, seen->kept);
    }
    read = beyond(&seen->read, read);
    written = beyond(&seen->written, written);
    seen->prompt += read;
    seen->completion += written;
    fair_add(q, m->engine, m->model, read, written, beyond(&seen->cpu_us, cpu_us),
             beyond(&seen->gpu_us, gpu_us));
    take_guess(q, m->elsewhere);
    charge_more(q); /* whoever asks next is told what is left now */
}

struct fair_room fair_answer_room(const struct request *q)
{
    const struct fair *f = q->serve->fair;
    const struct settings *settings = q->serve->settings;
    if (f == NULL || !q->use.ticket.held) {
        return (struct fair_room){UINT32_MAX, UINT32_MAX};
    }
    int64_t tokens = meter_left(&f->meter, &q->use.ticket, METER_TOKENS);
    int64_t micro = meter_left(&f->meter, &q->use.ticket, METER_BUDGET);
    const bool elsewhere[] = {false, true};
    uint32_t room[2];
    for (size_t i = 0; i < 2; i++) {
        const char *model =
            elsewhere[i] ? settings->generate.upstream.model : settings->generate.model;
        room[i] =
            micro == INT64_MAX ? UINT32_MAX : prices_tokens(&f->prices, model, elsewhere[i], micro);
        room[i] = tokens < room[i] ? (uint32_t)tokens : room[i];
        room[i] = room[i] < 1 ? 1 : room[i];
    }
    return (struct fair_room){room[0], room[1]};
}

void fair_settle_choice(struct request *q, struct fair_seen *seen)
{
    fair_settle(q);
    *seen = (struct fair_seen){.prompt = seen->prompt,
                               .completion = seen->completion,
                               .kept = seen->local ? seen->read : seen->kept};
}

void fair_done(struct request *q, int status)
{
    struct fair *f = q->serve->fair;
    if (!q->use.ticket.held || f == NULL) {
        return;
    }
    if (q->use.uses != 0) {
        struct usage *u = &q->use.used;
        fair_settle(q);
        u->cpu_us += effort_cpu_us(&q->effort);
        struct cost cost = charge_more(q);
        enter(f, q, status, &cost);
        flush_soon(f);
    }
    meter_leave(&q->use.ticket);
}
