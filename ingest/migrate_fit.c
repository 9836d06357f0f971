/* A fit: passages from the store to embed, the fit's bytes back, and to the store. */
#include "base/clock.h"
#include "base/log.h"
#include "ingest/migrate_internal.h"

#define FIT_PIECE ((size_t)256 << 10)
#define FIT_MS 3600000
#define UNFIT_MS ((int64_t)10 * 60 * 1000)

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
    if (e.code == STATUS_INVALID) { /* the passages' own fault: another try says the same */
        m->unfit_chunks = m->stood.chunks;
        m->unfit_until_ms = clock_monotonic_ms() + UNFIT_MS;
    }
    migrate_failed(m, &e);
    if (too_little) {
        migrate_refit_ended(m, "");
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
    if (reply != NULL && reply->has_basis) {
        buf_reset(&m->basis);
        buf_append(&m->basis, reply->basis.data, reply->basis.len);
    }
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
        (void)snprintf(m->doing, sizeof m->doing, "fitting %s to %u chunks: %d%%",
                       m->wish.under_way ? "a candidate" : "the encoder", m->chunks,
                       (int)(m->progress * 100));
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

void migrate_start_fit(struct migration *m)
{
    const struct settings *st = m->t->in->settings;
    m->phase = MIGRATE_FIT;
    m->fit_known = m->scan_ended = m->scan_failed = false;
    buf_reset(&m->basis);
    (void)snprintf(m->doing, sizeof m->doing, "fitting %s to %u chunks",
                   m->wish.under_way ? "a candidate" : "the encoder", m->chunks);
    Em__FitRequest first = EM__FIT_REQUEST__INIT;
    first.has_dimensions = first.has_min_document_frequency = 1;
    first.dimensions = m->wish.under_way && m->wish.dimensions > 0
                           ? m->wish.dimensions
                           : (uint32_t)st->encoder.dimensions;
    first.min_document_frequency = (uint32_t)st->encoder.min_document_frequency;
    struct rpc_options o = migrate_options(m, FIT_MS);
    struct rpc_callbacks fit = {
        .on_reply = on_fit_reply, .on_ready = on_fit_ready, .on_finish = on_fit_end};
    m->request = em_fit(migrate_embed(m), &o, &first, &fit, m);
    Vs__ScanRequest q = VS__SCAN_REQUEST__INIT;
    struct rpc_callbacks scan = {.on_reply = on_fit_scan, .on_finish = on_fit_scan_end};
    m->scan = m->request == NULL ? NULL : vs_scan(migrate_store(m), &o, &q, &scan, m);
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

static void on_store_reply(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct migration *m = data;
    const Vs__PutEncoderReply *reply = vs_put_encoder_reply(msg);
    (void)snprintf(m->stored_state, sizeof m->stored_state, "%s",
                   reply == NULL || reply->state == NULL ? "" : reply->state);
}

/* The next look at the store finds what it lacks. */
static void stored_aside(struct migration *m)
{
    char how[sizeof m->wish.last];
    bool by_setting = m->wish.by_setting;
    if (strcmp(m->stored_state, "candidate") == 0) {
        (void)snprintf(how, sizeof how, "%s is stored, its vectors are made", m->encoder);
    } else {
        (void)snprintf(how, sizeof how, "the new one is the same as %s, which is %s", m->encoder,
                       m->stored_state);
    }
    migrate_wish_ended(m, how);
    if (by_setting && strcmp(m->stored_state, "candidate") == 0) {
        (void)snprintf(m->set.encoder, sizeof m->set.encoder, "%s", m->encoder);
        m->aside = true; /* it may be complete already: then it is published */
        m->missing = m->chunks;
        migrate_start_scan(m);
        return;
    }
    m->set.declined = m->set.declined || (by_setting && strcmp(m->stored_state, "kept") == 0);
    if (by_setting) {
        (void)snprintf(m->set.encoder, sizeof m->set.encoder, "%s", m->encoder);
    }
    migrate_rest(m);
}

static void on_store_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    m->request = NULL;
    if (err->code != STATUS_OK) {
        migrate_failed(m, err);
        return;
    }
    migrate_forget_work(m);
    if (m->forced) {
        (void)snprintf(m->fresh, sizeof m->fresh, "%s", m->encoder);
    }
    if (m->wish.under_way) {
        stored_aside(m);
        return;
    }
    m->publish = true;
    m->missing = m->chunks;
    m->filled = 0;
    m->cursor.len = 0;
    migrate_start_scan(m);
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
    first.has_candidate = 1;
    first.candidate = m->wish.under_way;
    first.has_basis = m->fitted_on > 0 && m->basis.len > 0 && buf_status(&m->basis) == STATUS_OK;
    first.basis = (ProtobufCBinaryData){.data = (uint8_t *)m->basis.ptr, .len = m->basis.len};
    struct rpc_options o = migrate_options(m, 0);
    struct rpc_callbacks cb = {
        .on_reply = on_store_reply, .on_ready = on_store_ready, .on_finish = on_store_end};
    m->request = vs_put_encoder(migrate_store(m), &o, &first, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
        return;
    }
    pump_store(m);
}

/* ---- PROBE ---- */

static void on_probe_reply(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct migration *m = data;
    const Em__EncodeReply *reply = em_encode_reply(msg);
    m->fit_known = reply != NULL && reply->dimensions > 0 && reply->encoder[0] != '\0' &&
                   strlen(reply->encoder) < sizeof m->encoder;
    m->dimensions = m->fit_known ? reply->dimensions : 0;
    if (m->fit_known) { /* the name that its vectors go by */
        (void)snprintf(m->encoder, sizeof m->encoder, "%s", reply->encoder);
    }
}

static void on_probe_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    struct error e = *err;
    m->request = NULL;
    if (e.code == STATUS_OK && !m->fit_known) {
        (void)error_set(&e, STATUS_PROTOCOL, "embed named no encoder");
    }
    if (e.code != STATUS_OK) {
        migrate_failed(m, &e);
        return;
    }
    m->fitted_on = 0; /* it is no fit of the tenant's text: growth does not wear it out */
    start_store(m);
}

void migrate_start_probe(struct migration *m)
{
    static const char text[] = "dimensions";
    ProtobufCBinaryData texts[1] = {{.data = (uint8_t *)(uintptr_t)text, .len = sizeof text - 1}};
    m->phase = MIGRATE_PROBE;
    m->fit_known = false;
    Em__EncodeRequest q = EM__ENCODE_REQUEST__INIT;
    q.encoder = m->wish.encoder;
    q.kind = EM__ENCODE_REQUEST__KIND__QUERY;
    q.texts = texts;
    q.n_texts = 1;
    struct rpc_options o = migrate_options(m, 0);
    struct rpc_callbacks cb = {.on_reply = on_probe_reply, .on_finish = on_probe_end};
    m->request = em_encode(migrate_embed(m), &o, &q, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
    }
}
