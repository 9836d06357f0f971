#include "ingest/migrate.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/half.h"
#include "base/log.h"
#include "ingest/job.h"
#include "ingest/queue.h"

/* Phases:
 *   IDLE    waits for the next look
 *   STATUS  asks the store how things stand and decides
 *   FIT     Scan -> Fit, the fit's bytes are collected
 *   STORE   PutEncoder
 *   SCAN    fetches a batch of chunks without vectors; none left: PUBLISH (of an encoder being
 * built) ENCODE, VECTORS   that batch PUBLISH; CONFLICT (new chunks came meanwhile): SCAN again */
enum phase {
    MIGRATE_IDLE,
    MIGRATE_STATUS,
    MIGRATE_FIT,
    MIGRATE_STORE,
    MIGRATE_SCAN,
    MIGRATE_ENCODE,
    MIGRATE_VECTORS,
    MIGRATE_PUBLISH,
};

#define LOOK_MS 1000
#define PAUSE_MS 20 /* between batches while documents are being ingested */
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS 60000
#define BATCH 64
#define FIT_MAX_BYTES ((size_t)512 << 20)
#define FIT_PIECE ((size_t)256 << 10)
#define FIT_MS 3600000
#define BATCH_MAX_BYTES ((size_t)8 << 20)

struct migration {
    struct tenant *t;
    uv_timer_t timer;
    bool timer_closed, closing;
    enum phase phase;
    struct rpc_request *request; /* the one call in flight (FIT: to embed) */
    struct rpc_request *scan;    /* FIT: from the store */
    int64_t backoff_ms;

    struct stood { /* what the store said last */
        bool known;
        char encoder[128], building[128];
        uint32_t chunks, fitted_on, missing;
    } stood;

    char encoder[128]; /* being filled */
    uint32_t dimensions;
    bool publish; /* it is being built; else only missing vectors are filled in */
    uint32_t chunks, filled, missing;
    bool bad_building; /* the unfinished encoder cannot be used: fit anew */

    /* fit */
    struct buf blob;
    uint32_t fitted_on;
    bool fit_known;
    bool scan_ended;
    bool scan_failed;
    struct error scan_err;
    struct arena held; /* a message that the window did not take */
    Em__FitRequest *held_message;
    size_t sent; /* STORE: bytes */
    float progress;

    /* batch */
    struct arena batch;
    ProtobufCBinaryData *keys, *texts;
    char **titles;
    size_t n;
    uint8_t *vectors;
    struct buf cursor; /* where the next batch begins */

    /* a fit that was asked for: forced until it is published */
    bool forced;
    char fresh[128]; /* its name, once it is stored */
    void (*refitted)(const char *name, void *data);
    void *refitted_data;

    char doing[128];
};

static void go_on(struct migration *m);

static struct rpc_client *store_of(const struct migration *m)
{
    return service_client(m->t->in->svc, PEER_VECTORSTORE);
}

static struct rpc_client *embed_of(const struct migration *m)
{
    return service_client(m->t->in->svc, PEER_EMBED);
}

static struct rpc_options background(const struct migration *m, uint32_t timeout_ms)
{
    return (struct rpc_options){.tenant = m->t->id, .priority = 1, .timeout_ms = timeout_ms};
}

static void on_timer(uv_timer_t *timer)
{
    go_on(container_of(timer, struct migration, timer));
}

static void later(struct migration *m, int64_t ms)
{
    if (!m->closing) {
        (void)uv_timer_start(&m->timer, on_timer, (uint64_t)ms, 0);
    }
}

static void forget_work(struct migration *m)
{
    buf_deinit(&m->blob);
    buf_init(&m->blob, FIT_MAX_BYTES);
    arena_reset(&m->batch);
    arena_reset(&m->held);
    m->held_message = NULL;
    m->n = 0;
}

static void rest(struct migration *m)
{
    forget_work(m);
    m->phase = MIGRATE_IDLE;
    m->doing[0] = '\0';
    m->backoff_ms = 0;
    later(m, LOOK_MS);
}

static void failed(struct migration *m, const struct error *err)
{
    static const char *const steps[] = {"waiting",         "asking the store", "fitting",
                                        "storing the fit", "reading chunks",   "encoding",
                                        "storing vectors", "publishing"};
    m->backoff_ms = m->backoff_ms == 0 ? BACKOFF_FIRST_MS : m->backoff_ms * 2;
    m->backoff_ms = m->backoff_ms < BACKOFF_MAX_MS ? m->backoff_ms : BACKOFF_MAX_MS;
    if (m->phase != MIGRATE_STATUS && err->code != STATUS_UNAVAILABLE) {
        LOG_WARN("work on the encoder failed, will be tried again", LOG_STR("tenant", m->t->id),
                 LOG_STR("step", steps[m->phase]), LOG_STR("err", err->text),
                 LOG_INT("wait_ms", m->backoff_ms), LOG_END);
    }
    if (m->phase == MIGRATE_ENCODE && m->publish && err->code != STATUS_UNAVAILABLE &&
        err->code != STATUS_DEADLINE && err->code != STATUS_BUSY) {
        m->bad_building = true; /* embed cannot use what was stored */
    }
    forget_work(m);
    m->phase = MIGRATE_IDLE;
    m->doing[0] = '\0';
    later(m, m->backoff_ms);
}

static void no_memory(struct migration *m)
{
    struct error err;
    (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
    failed(m, &err);
}

/* ---- STATUS ---- */

static void start_fit(struct migration *m);
static void start_scan(struct migration *m);

static void refit_ended(struct migration *m, const char *name)
{
    void (*done)(const char *, void *) = m->refitted;
    m->forced = false;
    m->refitted = NULL;
    if (done != NULL) {
        done(name, m->refitted_data);
    }
}

/* A fit was asked for. */
static void decide_forced(struct migration *m)
{
    const struct stood *s = &m->stood;
    bool stored = m->fresh[0] != '\0' && !m->bad_building;
    if (stored && strcmp(s->encoder, m->fresh) == 0) {
        rest(m);
        refit_ended(m, m->fresh);
    } else if (stored && strcmp(s->building, m->fresh) == 0) {
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", m->fresh);
        m->publish = true;
        start_scan(m);
    } else if (s->chunks < (uint64_t)m->t->in->settings->encoder.first_fit_chunks) {
        rest(m);
        refit_ended(m, "");
    } else {
        m->fresh[0] = '\0';
        m->bad_building = false;
        start_fit(m);
    }
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
    m->chunks = s->chunks;
    m->missing = s->missing;
    m->filled = 0;
    m->cursor.len = 0;
    if (m->forced) {
        decide_forced(m);
    } else if (building) {
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", s->building);
        m->publish = true;
        start_scan(m);
    } else if (first || again || m->bad_building) {
        m->bad_building = false;
        start_fit(m);
    } else if (s->encoder[0] != '\0' && m->missing > 0) {
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", s->encoder);
        m->publish = false;
        start_scan(m);
    } else {
        rest(m);
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
    s->chunks = reply->chunks;
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
        failed(m, &e);
    } else {
        decide(m);
    }
}

static void start_status(struct migration *m)
{
    m->phase = MIGRATE_STATUS;
    m->stood.known = false;
    Vs__StatusRequest q = VS__STATUS_REQUEST__INIT;
    struct rpc_options o = background(m, 0);
    struct rpc_callbacks cb = {.on_reply = on_status, .on_finish = on_status_end};
    m->request = vs_status(store_of(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        no_memory(m);
    }
}

/* ---- FIT ---- */

static void start_store(struct migration *m);

static void fit_failed(struct migration *m, const struct error *err)
{
    struct error e = *err;
    if (m->scan != NULL) {
        rpc_request_cancel(m->scan);
        m->scan = NULL;
    }
    if (m->request != NULL) {
        rpc_request_cancel(m->request);
        m->request = NULL;
    }
    bool too_little = m->forced && e.code == STATUS_INVALID;
    failed(m, &e);
    if (too_little) {
        refit_ended(m, "");
    }
}

/* Sends the message held back; true when nothing is held any more. */
static bool flush_held(struct migration *m)
{
    if (m->held_message != NULL) {
        enum status s = em_fit_send(m->request, m->held_message);
        if (s != STATUS_OK) {
            return false; /* BUSY: on_ready comes; otherwise the call's end does */
        }
        m->held_message = NULL;
        arena_reset(&m->held);
    }
    return true;
}

static void fit_everything_sent(struct migration *m)
{
    if (m->scan_ended && m->held_message == NULL && m->request != NULL) {
        rpc_request_end(m->request);
    }
}

static void on_fit_ready(struct rpc_request *r, void *data)
{
    (void)r;
    struct migration *m = data;
    if (!flush_held(m)) {
        return;
    }
    if (m->scan != NULL) {
        rpc_request_resume(m->scan);
    }
    fit_everything_sent(m);
}

static Em__FitRequest *copy_passages(struct arena *a, const Vs__ScanReply *reply)
{
    Em__FitRequest *q = arena_alloc(a, sizeof *q);
    if (q == NULL) {
        return NULL;
    }
    em__fit_request__init(q);
    q->texts = arena_array(a, reply->n_items, sizeof *q->texts);
    q->titles = arena_array(a, reply->n_items, sizeof *q->titles);
    if (q->texts == NULL || q->titles == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < reply->n_items; i++) {
        const Vs__ScanReply__Item *item = reply->items[i];
        q->texts[i].len = item->text.len;
        q->texts[i].data =
            (uint8_t *)arena_strndup(a, (const char *)item->text.data, item->text.len);
        q->titles[i] = arena_strdup(a, item->title == NULL ? "" : item->title);
        if (q->texts[i].data == NULL || q->titles[i] == NULL) {
            return NULL;
        }
    }
    q->n_texts = q->n_titles = reply->n_items;
    return q;
}

static void on_fit_scan(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    struct migration *m = data;
    const Vs__ScanReply *reply = vs_scan_reply(msg);
    if (reply == NULL || reply->n_items == 0 || m->request == NULL || m->held_message != NULL) {
        return;
    }
    m->held_message = copy_passages(&m->held, reply);
    if (m->held_message == NULL) {
        m->scan_failed = true;
        (void)error_set(&m->scan_err, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    if (!flush_held(m)) {
        rpc_request_pause(r);
    }
}

static void on_fit_scan_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->scan = NULL;
    if (err->code != STATUS_OK) {
        fit_failed(m, err);
    } else if (m->scan_failed) {
        fit_failed(m, &m->scan_err);
    } else {
        m->scan_ended = true;
        fit_everything_sent(m);
    }
}

static void on_fit_reply(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct migration *m = data;
    const Em__FitReply *reply = em_fit_reply(msg);
    if (reply == NULL) {
        return;
    }
    if (reply->has_progress) {
        m->progress = reply->progress;
        (void)snprintf(m->doing, sizeof m->doing, "fitting the encoder to %u chunks: %d%%",
                       m->chunks, (int)(m->progress * 100));
    }
    if (reply->has_blob) {
        buf_append(&m->blob, reply->blob.data, reply->blob.len);
    }
    if (reply->encoder != NULL && reply->encoder[0] != '\0') {
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", reply->encoder);
        m->dimensions = reply->has_dimensions ? reply->dimensions : 0;
        /* growth is measured against the collection, of which the fit may be a sample */
        m->fitted_on =
            reply->has_passages && reply->passages > m->chunks ? reply->passages : m->chunks;
        m->fit_known = true;
    }
}

static void on_fit_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    struct error e = *err;
    if (e.code == STATUS_OK && (!m->fit_known || m->dimensions == 0 || m->blob.len == 0)) {
        (void)error_set(&e, STATUS_PROTOCOL, "the fit came without its name");
    }
    if (e.code == STATUS_OK && buf_status(&m->blob) != STATUS_OK) {
        (void)error_set(&e, buf_status(&m->blob), "the fit is larger than %zu MB",
                        FIT_MAX_BYTES >> 20);
    }
    if (e.code != STATUS_OK) {
        fit_failed(m, &e);
        return;
    }
    if (m->scan != NULL) {
        rpc_request_cancel(m->scan);
        m->scan = NULL;
    }
    LOG_INFO("encoder fitted", LOG_STR("tenant", m->t->id), LOG_STR("encoder", m->encoder),
             LOG_INT("chunks", m->fitted_on), LOG_INT("bytes", m->blob.len), LOG_END);
    start_store(m);
}

static void start_fit(struct migration *m)
{
    const struct settings *st = m->t->in->settings;
    m->phase = MIGRATE_FIT;
    m->fit_known = m->scan_ended = m->scan_failed = false;
    (void)snprintf(m->doing, sizeof m->doing, "fitting the encoder to %u chunks", m->chunks);
    Em__FitRequest first = EM__FIT_REQUEST__INIT;
    first.has_dimensions = first.has_min_document_frequency = 1;
    first.dimensions = (uint32_t)st->encoder.dimensions;
    first.min_document_frequency = (uint32_t)st->encoder.min_document_frequency;
    struct rpc_options o = background(m, FIT_MS);
    struct rpc_callbacks fit = {
        .on_reply = on_fit_reply, .on_ready = on_fit_ready, .on_finish = on_fit_end};
    m->request = em_fit(embed_of(m), &o, &first, &fit, m);
    Vs__ScanRequest q = VS__SCAN_REQUEST__INIT;
    struct rpc_callbacks scan = {.on_reply = on_fit_scan, .on_finish = on_fit_scan_end};
    m->scan = m->request == NULL ? NULL : vs_scan(store_of(m), &o, &q, &scan, m);
    if (m->scan == NULL) {
        struct error err;
        (void)error_set(&err, STATUS_NO_MEMORY, "out of memory");
        fit_failed(m, &err);
    }
}

/* ---- STORE ---- */

static void pump_store(struct migration *m)
{
    while (m->sent < m->blob.len) {
        size_t n = m->blob.len - m->sent;
        n = n < FIT_PIECE ? n : FIT_PIECE;
        Vs__PutEncoderRequest q = VS__PUT_ENCODER_REQUEST__INIT;
        q.has_blob = 1;
        q.blob.data = (uint8_t *)m->blob.ptr + m->sent;
        q.blob.len = n;
        if (vs_put_encoder_send(m->request, &q) != STATUS_OK) {
            return; /* BUSY: on_ready comes; otherwise the call's end does */
        }
        m->sent += n;
    }
    rpc_request_end(m->request);
}

static void on_store_ready(struct rpc_request *r, void *data)
{
    (void)r;
    struct migration *m = data;
    if (m->sent < m->blob.len) {
        pump_store(m);
    }
}

static void on_store_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    if (err->code != STATUS_OK) {
        failed(m, err);
        return;
    }
    forget_work(m);
    if (m->forced) {
        (void)snprintf(m->fresh, sizeof m->fresh, "%s", m->encoder);
    }
    m->publish = true;
    m->missing = m->chunks;
    m->filled = 0;
    m->cursor.len = 0;
    start_scan(m);
}

static void start_store(struct migration *m)
{
    m->phase = MIGRATE_STORE;
    m->sent = 0;
    Vs__PutEncoderRequest first = VS__PUT_ENCODER_REQUEST__INIT;
    first.encoder = m->encoder;
    first.has_dimensions = first.has_fitted_on = 1;
    first.dimensions = m->dimensions;
    first.fitted_on = m->fitted_on;
    struct rpc_options o = background(m, 0);
    struct rpc_callbacks cb = {.on_ready = on_store_ready, .on_finish = on_store_end};
    m->request = vs_put_encoder(store_of(m), &o, &first, &cb, m);
    if (m->request == NULL) {
        no_memory(m);
        return;
    }
    pump_store(m);
}

/* ---- PUBLISH ---- */

static void on_publish_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    if (err->code == STATUS_CONFLICT) {
        m->filled = 0;
        m->cursor.len = 0;
        start_scan(m); /* chunks came meanwhile */
    } else if (err->code != STATUS_OK) {
        failed(m, err);
    } else {
        LOG_INFO("encoder published", LOG_STR("tenant", m->t->id), LOG_STR("encoder", m->encoder),
                 LOG_END);
        (void)snprintf(m->t->encoder, sizeof m->t->encoder, "%s", m->encoder);
        rest(m);
        if (m->forced && strcmp(m->fresh, m->encoder) == 0) {
            refit_ended(m, m->fresh);
        }
    }
}

static void start_publish(struct migration *m)
{
    m->phase = MIGRATE_PUBLISH;
    Vs__PublishRequest q = VS__PUBLISH_REQUEST__INIT;
    q.encoder = m->encoder;
    struct rpc_options o = background(m, 0);
    struct rpc_callbacks cb = {.on_finish = on_publish_end};
    m->request = vs_publish(store_of(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        no_memory(m);
    }
}

/* ---- VECTORS ---- */

static void on_vectors_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    if (err->code != STATUS_OK) {
        failed(m, err);
        return;
    }
    m->backoff_ms = 0;
    m->filled += (uint32_t)m->n;
    (void)snprintf(m->doing, sizeof m->doing, "%s %u of %u chunks",
                   m->publish ? "re-embedding" : "embedding", m->filled,
                   m->filled > m->missing ? m->filled : m->missing);
    m->phase = MIGRATE_SCAN;
    later(m, m->t->in->active > 0 ? PAUSE_MS : 0);
}

static void start_vectors(struct migration *m)
{
    m->phase = MIGRATE_VECTORS;
    Vs__PutVectorsRequest__Item items[BATCH];
    Vs__PutVectorsRequest__Item *list[BATCH];
    for (size_t i = 0; i < m->n; i++) {
        vs__put_vectors_request__item__init(&items[i]);
        items[i].key = m->keys[i];
        items[i].vector.data = m->vectors + i * m->dimensions * 2;
        items[i].vector.len = (size_t)m->dimensions * 2;
        list[i] = &items[i];
    }
    Vs__PutVectorsRequest q = VS__PUT_VECTORS_REQUEST__INIT;
    q.encoder = m->encoder;
    q.items = list;
    q.n_items = m->n;
    struct rpc_options o = background(m, 0);
    struct rpc_callbacks cb = {.on_finish = on_vectors_end};
    m->request = vs_put_vectors(store_of(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        no_memory(m);
    }
}

/* ---- ENCODE ---- */

static void on_encode_reply(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct migration *m = data;
    const Em__EncodeReply *reply = em_encode_reply(msg);
    if (reply == NULL || strcmp(reply->encoder, m->encoder) != 0 || reply->dimensions == 0 ||
        reply->dimensions > 8192 || reply->n_vectors != m->n * reply->dimensions) {
        return;
    }
    m->dimensions = reply->dimensions;
    m->vectors = arena_array(&m->batch, m->n, (size_t)m->dimensions * 2);
    if (m->vectors != NULL) {
        half_encode(reply->vectors, reply->n_vectors, m->vectors);
    }
}

static void on_encode_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    struct error e = *err;
    if (e.code == STATUS_OK && m->vectors == NULL) {
        (void)error_set(&e, STATUS_PROTOCOL, "embed's answer does not fit the question");
    }
    if (e.code != STATUS_OK) {
        failed(m, &e);
        return;
    }
    start_vectors(m);
}

static void start_encode(struct migration *m)
{
    m->phase = MIGRATE_ENCODE;
    m->vectors = NULL;
    Em__EncodeRequest q = EM__ENCODE_REQUEST__INIT;
    q.encoder = m->encoder;
    q.kind = EM__ENCODE_REQUEST__KIND__PASSAGE;
    q.texts = m->texts;
    q.n_texts = m->n;
    q.titles = m->titles;
    q.n_titles = m->n;
    struct rpc_options o = background(m, 0);
    struct rpc_callbacks cb = {.on_reply = on_encode_reply, .on_finish = on_encode_end};
    m->request = em_encode(embed_of(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        no_memory(m);
    }
}

/* ---- SCAN ---- */

static bool keep_item(struct migration *m, const Vs__ScanReply__Item *item)
{
    size_t i = m->n;
    m->keys[i].data =
        (uint8_t *)arena_strndup(&m->batch, (const char *)item->key.data, item->key.len);
    m->keys[i].len = item->key.len;
    m->texts[i].data =
        (uint8_t *)arena_strndup(&m->batch, (const char *)item->text.data, item->text.len);
    m->texts[i].len = item->text.len;
    m->titles[i] = arena_strdup(&m->batch, item->title == NULL ? "" : item->title);
    if (m->keys[i].data == NULL || m->texts[i].data == NULL || m->titles[i] == NULL) {
        return false;
    }
    m->n++;
    return true;
}

static void on_scan(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct migration *m = data;
    const Vs__ScanReply *reply = vs_scan_reply(msg);
    for (size_t i = 0; reply != NULL && i < reply->n_items; i++) {
        if (m->n >= BATCH || !keep_item(m, reply->items[i])) {
            return; /* the cursor stays before them */
        }
    }
    if (reply != NULL) {
        buf_reset(&m->cursor);
        buf_append(&m->cursor, reply->cursor.data, reply->cursor.len);
    }
}

static void on_scan_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    if (err->code != STATUS_OK) {
        failed(m, err);
    } else if (m->n > 0) {
        start_encode(m);
    } else if (m->publish) {
        start_publish(m);
    } else {
        rest(m);
    }
}

static void start_scan(struct migration *m)
{
    m->phase = MIGRATE_SCAN;
    arena_reset(&m->batch);
    m->n = 0;
    m->keys = arena_array(&m->batch, BATCH, sizeof *m->keys);
    m->texts = arena_array(&m->batch, BATCH, sizeof *m->texts);
    m->titles = arena_array(&m->batch, BATCH, sizeof *m->titles);
    if (m->keys == NULL || m->texts == NULL || m->titles == NULL) {
        no_memory(m);
        return;
    }
    Vs__ScanRequest q = VS__SCAN_REQUEST__INIT;
    q.missing_encoder = m->encoder;
    q.has_limit = 1;
    q.limit = BATCH;
    if (m->cursor.len > 0) {
        q.has_after = 1;
        q.after.data = (uint8_t *)m->cursor.ptr;
        q.after.len = m->cursor.len;
    }
    struct rpc_options o = background(m, 60000);
    struct rpc_callbacks cb = {.on_reply = on_scan, .on_finish = on_scan_end};
    m->request = vs_scan(store_of(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        no_memory(m);
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
    forget_work(m);
    m->phase = MIGRATE_IDLE;
    m->forced = true;
    m->fresh[0] = '\0';
    m->refitted = done;
    m->refitted_data = data;
    later(m, 1);
}

static void go_on(struct migration *m)
{
    if (m->closing || m->request != NULL) {
        return;
    }
    if (m->phase == MIGRATE_SCAN) {
        start_scan(m);
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
    buf_init(&m->blob, FIT_MAX_BYTES);
    buf_init(&m->cursor, 4096);
    arena_init(&m->batch, BATCH_MAX_BYTES);
    arena_init(&m->held, 16 << 20);
    (void)uv_timer_init(t->in->loop, &m->timer);
    later(m, 1);
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
    return m->timer_closed;
}

void migration_free(struct migration *m)
{
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
