/* Vectors for chunks that lack them, a batch at a time, and what becomes of an encoder then. */
#include "base/clock.h"
#include "base/half.h"
#include "base/log.h"
#include "ingest/migrate_internal.h"

#define LOOK_UP_MS 10000 /* a candidate gives way so often */
#define PAUSE_MS 20      /* between batches while documents are being ingested */
#define SLOW_BATCH 8
#define SLOW_MS 600000

/* ---- PUBLISH ---- */

static void on_publish_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    if (err->code == STATUS_CONFLICT) {
        m->filled = 0;
        m->cursor.len = 0;
        migrate_start_scan(m); /* chunks came meanwhile */
    } else if (err->code != STATUS_OK) {
        migrate_failed(m, err);
    } else {
        LOG_INFO("encoder published", LOG_STR("tenant", m->t->id), LOG_STR("encoder", m->encoder),
                 LOG_END);
        (void)snprintf(m->t->encoder, sizeof m->t->encoder, "%s", m->encoder);
        if (m->aside) {
            (void)snprintf(m->wish.last, sizeof m->wish.last,
                           "%.100s is complete and published, as encoder.model says", m->encoder);
        }
        migrate_gate_forget(m);
        migrate_rest(m);
        if (m->forced && strcmp(m->fresh, m->encoder) == 0) {
            migrate_refit_ended(m, m->fresh);
        }
    }
}

void migrate_start_publish(struct migration *m)
{
    struct gate_told told;
    m->phase = MIGRATE_PUBLISH;
    Vs__PublishRequest q = VS__PUBLISH_REQUEST__INIT;
    q.encoder = m->encoder;
    if (migrate_gate_known(m)) {
        migrate_gate_tell(m, &told);
        q.comparison = &told.comparison;
    }
    struct rpc_options o = migrate_options(m, 0);
    struct rpc_callbacks cb = {.on_finish = on_publish_end};
    m->request = vs_publish(migrate_store(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
    }
}

/* ---- HOLD ---- */

static void on_held_back(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    if (err->code != STATUS_OK && err->code != STATUS_CONFLICT) { /* CONFLICT: it stands aside */
        migrate_failed(m, err);
        return;
    }
    LOG_WARN("encoder held back", LOG_STR("tenant", m->t->id), LOG_STR("encoder", m->encoder),
             LOG_STR("verdict", m->gate.verdict), LOG_END);
    if (m->aside) { /* encoder.model asked for it: not again while this runs */
        m->set.declined = true;
        (void)snprintf(m->wish.last, sizeof m->wish.last,
                       "%.100s, as encoder.model says, is complete and not published: %s",
                       m->encoder, m->gate.verdict);
    }
    migrate_gate_forget(m);
    migrate_rest(m);
}

void migrate_start_hold_back(struct migration *m)
{
    struct gate_told told;
    m->phase = MIGRATE_HOLD;
    migrate_gate_tell(m, &told);
    Vs__HoldBackRequest q = VS__HOLD_BACK_REQUEST__INIT;
    q.encoder = m->encoder;
    q.comparison = &told.comparison;
    struct rpc_options o = migrate_options(m, 0);
    struct rpc_callbacks cb = {.on_finish = on_held_back};
    m->request = vs_hold_back(migrate_store(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
    }
}

/* ---- VECTORS ---- */

static void say(struct migration *m)
{
    if (m->aside) {
        uint32_t all = m->stood.chunks + m->stood.retained;
        uint32_t lacking = m->missing > m->filled ? m->missing - m->filled : 0;
        (void)snprintf(m->doing, sizeof m->doing, "filling the candidate %s: %u of %u chunks",
                       m->encoder, all > lacking ? all - lacking : 0, all);
        return;
    }
    (void)snprintf(m->doing, sizeof m->doing, "%s %u of %u chunks",
                   m->publish ? "re-embedding" : "embedding", m->filled,
                   m->filled > m->missing ? m->filled : m->missing);
}

static void on_vectors_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    if (err->code != STATUS_OK) {
        migrate_failed(m, err);
        return;
    }
    m->backoff_ms = 0;
    m->filled += (uint32_t)m->n;
    say(m);
    m->phase = MIGRATE_SCAN;
    if (m->aside && clock_monotonic_ms() - m->looked_ms > LOOK_UP_MS) {
        m->phase = MIGRATE_IDLE; /* something may be more urgent; it goes on from the cursor */
        (void)snprintf(m->cursor_of, sizeof m->cursor_of, "%s", m->encoder);
    }
    migrate_later(m, m->t->in->active > 0 ? PAUSE_MS : 0);
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
    struct rpc_options o = migrate_options(m, 0);
    struct rpc_callbacks cb = {.on_finish = on_vectors_end};
    m->request = vs_put_vectors(migrate_store(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
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
        migrate_failed(m, &e);
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
    q.has_windows = 1;
    q.windows = 1;
    q.texts = m->texts;
    q.n_texts = m->n;
    q.titles = m->titles;
    q.n_titles = m->n;
    struct rpc_options o = migrate_options(m, encoder_is_slow(m->encoder) ? SLOW_MS : 0);
    struct rpc_callbacks cb = {.on_reply = on_encode_reply, .on_finish = on_encode_end};
    m->request = em_encode(migrate_embed(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
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
    /* what encoder.model names is to be published when it is complete */
    bool set = m->aside && strcmp(m->encoder, m->set.encoder) == 0;
    if (err->code != STATUS_OK) {
        migrate_failed(m, err);
    } else if (m->n > 0) {
        start_encode(m);
    } else if ((m->publish || set) && migrate_gate_wanted(m)) {
        migrate_start_gate(m);
    } else if (m->publish || set) {
        migrate_start_publish(m);
    } else {
        if (m->aside) {
            (void)snprintf(m->wish.complete, sizeof m->wish.complete, "%s", m->encoder);
            m->wish.complete_ms = clock_wall_ms();
            (void)snprintf(m->wish.last, sizeof m->wish.last,
                           "%.100s is complete: `carrel encoder compare %.100s`", m->encoder,
                           m->encoder);
        }
        migrate_rest(m);
    }
}

void migrate_start_scan(struct migration *m)
{
    m->phase = MIGRATE_SCAN;
    arena_reset(&m->batch);
    m->n = 0;
    m->keys = arena_array(&m->batch, BATCH, sizeof *m->keys);
    m->texts = arena_array(&m->batch, BATCH, sizeof *m->texts);
    m->titles = arena_array(&m->batch, BATCH, sizeof *m->titles);
    if (m->keys == NULL || m->texts == NULL || m->titles == NULL) {
        migrate_no_memory(m);
        return;
    }
    Vs__ScanRequest q = VS__SCAN_REQUEST__INIT;
    q.missing_encoder = m->encoder;
    q.has_limit = 1;
    q.limit = encoder_is_slow(m->encoder) ? SLOW_BATCH : BATCH;
    if (m->cursor.len > 0) {
        q.has_after = 1;
        q.after.data = (uint8_t *)m->cursor.ptr;
        q.after.len = m->cursor.len;
    }
    struct rpc_options o = migrate_options(m, 60000);
    struct rpc_callbacks cb = {.on_reply = on_scan, .on_finish = on_scan_end};
    m->request = vs_scan(migrate_store(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
    }
}
