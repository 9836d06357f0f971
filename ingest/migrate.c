#include "ingest/migrate.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ingest/documents.h"
#include "ingest/migrate_internal.h"
#include "ingest/queue.h"

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS 60000
#define SET_AGAIN_MS 30000

static void go_on(struct migration *m);

struct rpc_client *migrate_store(const struct migration *m)
{
    return service_client(m->t->in->svc, PEER_VECTORSTORE);
}

struct rpc_client *migrate_embed(const struct migration *m)
{
    return service_client(m->t->in->svc, PEER_EMBED);
}

struct rpc_options migrate_options(const struct migration *m, uint32_t timeout_ms)
{
    return (struct rpc_options){.tenant = m->t->id, .priority = 1, .timeout_ms = timeout_ms};
}

static void on_timer(uv_timer_t *timer)
{
    go_on(container_of(timer, struct migration, timer));
}

void migrate_later(struct migration *m, int64_t ms)
{
    if (!m->closing) {
        (void)uv_timer_start(&m->timer, on_timer, (uint64_t)ms, 0);
    }
}

void migrate_forget_work(struct migration *m)
{
    buf_deinit(&m->blob);
    buf_init(&m->blob, FIT_MAX_BYTES);
    arena_reset(&m->batch);
    arena_reset(&m->held);
    m->held_message = NULL;
    m->n = 0;
}

void migrate_rest(struct migration *m)
{
    migrate_forget_work(m);
    m->phase = MIGRATE_IDLE;
    m->doing[0] = '\0';
    m->backoff_ms = 0;
    m->aside = false;
    migrate_later(m, LOOK_MS);
}

void migrate_failed(struct migration *m, const struct error *err)
{
    static const char *const steps[] = {"waiting",    "asking the store", "fitting",
                                        "probing",    "storing the fit",  "reading chunks",
                                        "encoding",   "storing vectors",  "comparing",
                                        "publishing", "holding back"};
    bool passing =
        err->code == STATUS_UNAVAILABLE || err->code == STATUS_DEADLINE || err->code == STATUS_BUSY;
    m->backoff_ms = m->backoff_ms == 0 ? BACKOFF_FIRST_MS : m->backoff_ms * 2;
    m->backoff_ms = m->backoff_ms < BACKOFF_MAX_MS ? m->backoff_ms : BACKOFF_MAX_MS;
    if (m->phase != MIGRATE_STATUS && err->code != STATUS_UNAVAILABLE) {
        LOG_WARN("work on the encoder failed, will be tried again", LOG_STR("tenant", m->t->id),
                 LOG_STR("step", steps[m->phase]), LOG_STR("err", err->text),
                 LOG_INT("wait_ms", m->backoff_ms), LOG_END);
    }
    if (m->phase == MIGRATE_ENCODE && m->publish && !passing) {
        m->bad_building = true; /* embed cannot use what was stored */
    } else if (m->phase == MIGRATE_ENCODE && m->aside && !passing) {
        (void)snprintf(m->wish.useless, sizeof m->wish.useless, "%s", m->encoder);
        (void)snprintf(m->wish.last, sizeof m->wish.last, "%.100s cannot be filled: %.110s",
                       m->encoder, err->text);
    }
    if (m->wish.under_way && !passing && err->code != STATUS_CANCELLED) {
        migrate_wish_ended(m, err->text);
    }
    m->wish.under_way = false;
    m->aside = false;
    migrate_forget_work(m);
    m->phase = MIGRATE_IDLE;
    m->doing[0] = '\0';
    migrate_later(m, m->backoff_ms);
}

void migrate_no_memory(struct migration *m)
{
    struct error err;
    (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
    migrate_failed(m, &err);
}

/* ---- STATUS ---- */

void migrate_refit_ended(struct migration *m, const char *name)
{
    void (*done)(const char *, void *) = m->refitted;
    m->forced = false;
    m->refitted = NULL;
    if (done != NULL) {
        done(name, m->refitted_data);
    }
}

void migrate_wish_ended(struct migration *m, const char *how)
{
    (void)snprintf(m->wish.last, sizeof m->wish.last, "%s", how);
    m->wish.wanted = m->wish.under_way = m->wish.by_setting = false;
    migrate_note_write(m);
    LOG_INFO("candidate", LOG_STR("tenant", m->t->id), LOG_STR("result", m->wish.last), LOG_END);
}

/* A fit was asked for. */
static void decide_forced(struct migration *m)
{
    const struct stood *s = &m->stood;
    bool stored = m->fresh[0] != '\0' && !m->bad_building;
    if (stored && strcmp(s->encoder, m->fresh) == 0) {
        migrate_rest(m);
        migrate_refit_ended(m, m->fresh);
    } else if (stored && strcmp(s->building, m->fresh) == 0) {
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", m->fresh);
        m->publish = true;
        migrate_start_scan(m);
    } else if (s->chunks < (uint64_t)m->t->in->settings->encoder.first_fit_chunks ||
               (s->encoder[0] != '\0' && s->fitted_on == 0)) { /* no fit of the tenant's text */
        migrate_rest(m);
        migrate_refit_ended(m, "");
    } else {
        m->fresh[0] = '\0';
        m->bad_building = false;
        migrate_start_fit(m);
    }
}

/* Is what encoder.model names neither searched with nor on its way? */
static bool set_due(const struct migration *m)
{
    const struct setting_wish *w = &m->set;
    bool under_way = w->encoder[0] != '\0' && (strcmp(w->encoder, m->stood.encoder) == 0 ||
                                               strcmp(w->encoder, m->stood.candidate) == 0);
    return m->t->in->settings->encoder.model[0] != '\0' && !w->declined && !under_way &&
           clock_monotonic_ms() >= w->next_ms;
}

static void set_start(struct migration *m)
{
    m->set.next_ms = clock_monotonic_ms() + SET_AGAIN_MS;
    m->cursor.len = 0;
    m->wish.wanted = m->wish.under_way = m->wish.by_setting = true;
    (void)snprintf(m->wish.encoder, sizeof m->wish.encoder, "model:%s",
                   m->t->in->settings->encoder.model);
    migrate_start_probe(m);
}

bool encoder_is_slow(const char *encoder)
{
    return strncmp(encoder, "gguf-", 5) == 0;
}

static void decide(struct migration *m)
{
    const struct settings *st = m->t->in->settings;
    const struct stood *s = &m->stood;
    (void)snprintf(m->t->encoder, sizeof m->t->encoder, "%s", s->encoder);
    uint64_t grown = (uint64_t)s->fitted_on * (100 + (uint64_t)st->encoder.refit_growth_percent);
    bool building = s->building[0] != '\0' && !m->bad_building;
    bool first = s->encoder[0] == '\0' && s->chunks >= (uint64_t)st->encoder.first_fit_chunks;
    bool again = s->encoder[0] != '\0' && s->fitted_on > 0 && (uint64_t)s->chunks * 100 >= grown;
    if (s->chunks == m->unfit_chunks && clock_monotonic_ms() < m->unfit_until_ms) {
        first = again = false; /* else all other work would wait behind it for good */
    }
    m->chunks = s->chunks;
    m->missing = s->missing;
    m->filled = 0;
    m->aside = false;
    m->looked_ms = clock_monotonic_ms();
    bool resumes = strcmp(m->cursor_of, s->candidate) == 0; /* a scan that looked up between */
    if (!resumes) {
        m->cursor.len = 0;
    }
    m->cursor_of[0] = '\0';
    if (m->forced || building || first || again || m->bad_building || m->wish.wanted) {
        m->cursor.len = 0;
    }
    if (m->forced) {
        decide_forced(m);
    } else if (building) {
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", s->building);
        m->publish = true;
        migrate_start_scan(m);
    } else if (first || again || m->bad_building) {
        m->bad_building = false;
        migrate_start_fit(m);
    } else if (s->encoder[0] != '\0' && m->missing > 0) {
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", s->encoder);
        m->publish = false;
        m->cursor.len = 0;
        migrate_start_scan(m);
    } else if (m->wish.wanted) {
        m->wish.under_way = true;
        if (m->wish.encoder[0] != '\0') {
            migrate_start_probe(m);
        } else {
            migrate_start_fit(m);
        }
    } else if (set_due(m)) {
        set_start(m);
    } else if (s->candidate[0] != '\0' && strcmp(s->candidate, m->wish.useless) != 0) {
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", s->candidate);
        m->publish = false;
        m->aside = true;
        m->missing = s->candidate_missing;
        migrate_start_scan(m);
    } else {
        migrate_rest(m);
    }
}

static void on_status(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct migration *m = data;
    const Vs__StatusReply *reply = vs_status_reply(msg);
    if (reply == NULL) {
        return;
    }
    struct stood *s = &m->stood;
    (void)snprintf(s->encoder, sizeof s->encoder, "%s", reply->encoder);
    (void)snprintf(s->building, sizeof s->building, "%s",
                   reply->building == NULL ? "" : reply->building);
    (void)snprintf(s->candidate, sizeof s->candidate, "%s",
                   reply->candidate == NULL ? "" : reply->candidate);
    s->candidate_missing = reply->has_candidate_missing ? reply->candidate_missing : 0;
    (void)snprintf(s->intent, sizeof s->intent, "%s",
                   reply->intent == NULL ? "growth" : reply->intent);
    s->generation = reply->generation;
    s->chunks = reply->chunks;
    s->retained = reply->has_retained_chunks ? reply->retained_chunks : 0;
    s->fitted_on = reply->fitted_on;
    s->missing = reply->has_missing ? reply->missing : 0;
    s->known = true;
}

static void on_status_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    struct error e = *err;
    if (e.code == STATUS_OK && !m->stood.known) {
        (void)error_set(&e, STATUS_PROTOCOL, "no status came");
    }
    if (e.code != STATUS_OK) {
        migrate_failed(m, &e);
    } else {
        decide(m);
    }
}

static void start_status(struct migration *m)
{
    m->phase = MIGRATE_STATUS;
    m->stood.known = false;
    Vs__StatusRequest q = VS__STATUS_REQUEST__INIT;
    struct rpc_options o = migrate_options(m, 0);
    struct rpc_callbacks cb = {.on_reply = on_status, .on_finish = on_status_end};
    m->request = vs_status(migrate_store(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
    }
}

/* ---- life ---- */

static void stop_work(struct migration *m)
{
    if (m->request != NULL) {
        rpc_request_cancel(m->request);
        m->request = NULL;
    }
    if (m->scan != NULL) {
        rpc_request_cancel(m->scan);
        m->scan = NULL;
    }
}

void migration_refit(struct migration *m, void (*done)(const char *name, void *data), void *data)
{
    stop_work(m); /* what is being fitted may know what must not be known */
    migrate_forget_work(m);
    m->phase = MIGRATE_IDLE;
    m->wish.under_way = m->aside = false;
    m->forced = true;
    m->fresh[0] = '\0';
    m->refitted = done;
    m->refitted_data = data;
    migrate_later(m, 1);
}

bool migration_fitting(const struct migration *m)
{
    return m->phase == MIGRATE_FIT || m->phase == MIGRATE_STORE;
}

static void go_on(struct migration *m)
{
    if (m->closing || m->request != NULL) {
        return;
    }
    if (m->phase == MIGRATE_SCAN) {
        migrate_start_scan(m);
    } else if (m->phase == MIGRATE_COMPARE) {
        migrate_gate_go_on(m);
    } else {
        start_status(m);
    }
}

struct migration *migration_new(struct tenant *t)
{
    struct migration *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    m->t = t;
    buf_init(&m->basis, BASIS_MAX_BYTES);
    buf_init(&m->blob, FIT_MAX_BYTES);
    buf_init(&m->cursor, 4096);
    arena_init(&m->batch, BATCH_MAX_BYTES);
    arena_init(&m->held, 16 << 20);
    (void)uv_timer_init(t->in->loop, &m->timer);
    migrate_later(m, 1);
    migrate_note_read(m);
    return m;
}

static void on_timer_closed(uv_handle_t *h)
{
    container_of(h, struct migration, timer)->timer_closed = true;
}

void migration_close(struct migration *m)
{
    m->closing = true;
    stop_work(m);
    uv_close((uv_handle_t *)&m->timer, on_timer_closed);
}

bool migration_idle(const struct migration *m)
{
    return m->timer_closed && !m->note.running;
}

void migration_free(struct migration *m)
{
    buf_deinit(&m->basis);
    buf_deinit(&m->blob);
    buf_deinit(&m->cursor);
    arena_reset(&m->batch);
    arena_reset(&m->held);
    free(m);
}

const char *migration_doing(const struct migration *m)
{
    return m->doing;
}

/* ---- BuildEncoder ---- */

static enum status wish_start(struct migration *m, const Ig__BuildEncoderRequest *q,
                              struct error *err)
{
    struct wish *w = &m->wish;
    const struct settings *st = m->t->in->settings;
    bool named = q->encoder != NULL && q->encoder[0] != '\0';
    if (w->wanted || m->note.call != NULL) {
        return error_set(err, STATUS_BUSY, "a candidate is being made already");
    }
    if (named && (strlen(q->encoder) >= sizeof w->encoder || q->has_dimensions)) {
        return error_set(err, STATUS_INVALID,
                         "an encoder of %zu bytes' name at most has its own dimensions",
                         sizeof w->encoder - 1);
    }
    if (!named && q->has_dimensions && (q->dimensions < 8 || q->dimensions > 1024)) {
        return error_set(err, STATUS_INVALID, "a fit has 8 to 1024 dimensions");
    }
    if (!named && m->stood.known && m->stood.chunks < (uint64_t)st->encoder.first_fit_chunks) {
        return error_set(err, STATUS_CONFLICT,
                         "there are %u chunks: the first fit is made of %lld "
                         "(encoder.first_fit_chunks)",
                         m->stood.chunks, (long long)st->encoder.first_fit_chunks);
    }
    *w = (struct wish){.wanted = true, .dimensions = q->has_dimensions ? q->dimensions : 0};
    (void)snprintf(w->encoder, sizeof w->encoder, "%s", named ? q->encoder : "");
    return STATUS_OK;
}

static void wish_cancel(struct migration *m)
{
    if (!m->wish.wanted) {
        return;
    }
    if (m->wish.under_way) {
        stop_work(m);
        migrate_wish_ended(m, "it was stopped");
        migrate_rest(m);
    } else {
        migrate_wish_ended(m, "it was stopped");
    }
}

static void tell(const struct migration *m, struct rpc_call *call)
{
    Ig__BuildEncoderReply reply = IG__BUILD_ENCODER_REPLY__INIT;
    reply.wanted = m->wish.wanted;
    reply.doing = (char *)(uintptr_t)m->doing;
    reply.last = (char *)(uintptr_t)m->wish.last;
    ig_build_encoder_return(call, &reply);
}

void migrate_wish_noted(struct migration *m, const struct error *err)
{
    struct rpc_call *call = m->note.call;
    m->note.call = NULL;
    if (call == NULL) {
        return;
    }
    if (err->code == STATUS_OK) {
        tell(m, call);
    } else {
        if (!m->wish.under_way) {
            m->wish.wanted = false;
        }
        rpc_call_fail(call, err);
    }
}

void migration_build_encoder(struct rpc_call *call, const ProtobufCMessage *msg)
{
    const Ig__BuildEncoderRequest *q = ig_build_encoder_request(msg);
    struct tenant *t = documents_tenant(call);
    struct error err = {.code = STATUS_OK};
    if (t == NULL || q == NULL) {
        return;
    }
    struct migration *m = t->migration;
    if (q->action == IG__BUILD_ENCODER_REQUEST__ACTION__START) {
        if (wish_start(m, q, &err) != STATUS_OK) {
            rpc_call_fail(call, &err);
            return;
        }
        m->note.call = call; /* told when it outlives a restart */
        migrate_note_write(m);
        return;
    }
    if (q->action == IG__BUILD_ENCODER_REQUEST__ACTION__CANCEL) {
        wish_cancel(m);
    }
    tell(m, call);
}
