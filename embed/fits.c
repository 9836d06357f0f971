/* A fetch goes: vectorstore.GetEncoder streams the blob in -> its name is checked against its hash and it
 * is opened on a lane -> it joins the cache -> waiters are told. */
#include "embed/fits.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "vectorstore/vectorstore_rpc.h"

#define TENANT_CAP 65
#define ENCODER_CAP 64
#define FETCH_TIMEOUT_MS 60000

struct fit {
    struct list link; /* in fits.cached, most recently used first */
    struct lsa_model *model;
    size_t bytes;
    unsigned held; /* by the cache and by each user */
    char tenant[TENANT_CAP];
    char encoder[ENCODER_CAP];
};

struct fetch {
    struct list link;
    struct fits *fits;
    struct list waiters;
    size_t n_waiters;
    struct rpc_request *request;
    struct buf blob;
    struct lsa_model *model;
    struct error error;
    char tenant[TENANT_CAP];
    char encoder[ENCODER_CAP];
};

struct fits {
    struct rpc_client *store;
    struct lane *lane;
    struct list cached;
    size_t n_cached, bytes;
    struct list fetches;
    size_t n_fetches;
};

enum status fits_new(struct rpc_client *store, struct lane *lane, struct fits **out,
                     struct error *err)
{
    struct fits *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    f->store = store;
    f->lane = lane;
    list_init(&f->cached);
    list_init(&f->fetches);
    *out = f;
    return STATUS_OK;
}

void fit_let_go(struct fit *fit)
{
    if (--fit->held == 0) {
        lsa_close(fit->model);
        free(fit);
    }
}

static void evict(struct fits *f, struct fit *fit)
{
    list_remove(&fit->link);
    f->n_cached--;
    f->bytes -= fit->bytes;
    fit_let_go(fit);
}

void fits_free(struct fits *f)
{
    if (f == NULL) {
        return;
    }
    while (!list_empty(&f->cached)) {
        evict(f, list_entry(f->cached.next, struct fit, link));
    }
    free(f);
}

const struct lsa_model *fit_model(const struct fit *fit)
{
    return fit->model;
}

size_t fits_count(const struct fits *f)
{
    return f->n_cached;
}

void fits_each(const struct fits *f, const char *tenant,
               void (*fn)(const struct lsa_info *info, void *data), void *data)
{
    list_for_each(it, &f->cached)
    {
        const struct fit *fit = list_entry(it, struct fit, link);
        if (strcmp(fit->tenant, tenant) == 0) {
            struct lsa_info info;
            lsa_describe(fit->model, &info);
            fn(&info, data);
        }
    }
}

/* Tells every waiter and ends the fetch; fit may be NULL. */
static void fetch_finish(struct fetch *fetch, struct fit *fit)
{
    list_remove(&fetch->link);
    fetch->fits->n_fetches--;
    while (!list_empty(&fetch->waiters)) {
        struct fits_waiter *w = list_entry(fetch->waiters.next, struct fits_waiter, link);
        list_remove(&w->link);
        if (fit != NULL) {
            fit->held++;
        }
        w->on_fit(w, fit, &fetch->error);
    }
    buf_deinit(&fetch->blob);
    free(fetch);
}

void fits_stop(struct fits *f)
{
    list_for_each_safe(it, &f->fetches)
    {
        struct fetch *fetch = list_entry(it, struct fetch, link);
        if (fetch->request != NULL) {
            rpc_request_cancel(fetch->request);
            fetch->request = NULL;
            error_set(&fetch->error, STATUS_UNAVAILABLE, "embed is stopping");
            fetch_finish(fetch, NULL);
        }
    }
}

static void check_blob(void *job) /* on the lane */
{
    struct fetch *fetch = job;
    char encoder[LSA_ENCODER_CAP];
    size_t len = fetch->blob.len;
    lsa_encoder_of((const uint8_t *)buf_view(&fetch->blob).ptr, len, encoder);
    if (strcmp(encoder, fetch->encoder) != 0) {
        error_set(&fetch->error, STATUS_CORRUPT, "the stored fit %s has the content of %s",
                  fetch->encoder, encoder);
        return;
    }
    uint8_t *blob = (uint8_t *)buf_take(&fetch->blob);
    if (blob == NULL) {
        error_set(&fetch->error, STATUS_NO_MEMORY, "out of memory");
    } else if (lsa_open(blob, len, &fetch->model, &fetch->error) != STATUS_OK) {
        free(blob);
    }
}

static void on_checked(void *job)
{
    struct fetch *fetch = job;
    struct fits *f = fetch->fits;
    struct fit *fit = NULL;
    if (fetch->model != NULL) {
        fit = calloc(1, sizeof *fit);
        if (fit == NULL) {
            lsa_close(fetch->model);
            error_set(&fetch->error, STATUS_NO_MEMORY, "out of memory");
        }
    }
    if (fit != NULL) {
        struct lsa_info info;
        lsa_describe(fetch->model, &info);
        fit->model = fetch->model;
        fit->bytes = info.bytes;
        fit->held = 1;
        memcpy(fit->tenant, fetch->tenant, sizeof fit->tenant);
        memcpy(fit->encoder, fetch->encoder, sizeof fit->encoder);
        list_push_front(&f->cached, &fit->link);
        f->n_cached++;
        f->bytes += fit->bytes;
        while (f->n_cached > 1 && (f->n_cached > FITS_MAX || f->bytes > FITS_BYTES_MAX)) {
            evict(f, list_entry(f->cached.prev, struct fit, link));
        }
        LOG_INFO("fit loaded", LOG_STR("tenant", fetch->tenant), LOG_STR("encoder", fetch->encoder),
                 LOG_INT("terms", info.terms), LOG_INT("bytes", info.bytes), LOG_END);
    } else {
        LOG_WARN("fit not loaded", LOG_STR("tenant", fetch->tenant),
                 LOG_STR("encoder", fetch->encoder), LOG_STR("err", fetch->error.text), LOG_END);
    }
    fetch_finish(fetch, fit);
}

static void on_piece(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct fetch *fetch = data;
    const Vs__GetEncoderReply *reply = vs_get_encoder_reply(m);
    if (reply != NULL && reply->has_blob) {
        buf_append(&fetch->blob, reply->blob.data, reply->blob.len);
    }
}

static void on_fetched(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct fetch *fetch = data;
    fetch->request = NULL;
    fetch->error = *err;
    if (err->code == STATUS_OK && buf_status(&fetch->blob) != STATUS_OK) {
        error_set(&fetch->error, buf_status(&fetch->blob), "the stored fit %s cannot be held: %s",
                  fetch->encoder, status_text(buf_status(&fetch->blob)));
    }
    if (fetch->error.code == STATUS_OK &&
        lane_submit(fetch->fits->lane, check_blob, on_checked, fetch, &fetch->error) == STATUS_OK) {
        return;
    }
    fetch_finish(fetch, NULL);
}

static struct fetch *fetch_start(struct fits *f, const char *tenant, const char *encoder,
                                 struct error *err)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_piece, .on_finish = on_fetched};
    if (f->n_fetches >= FITS_FETCHES_MAX) {
        error_set(err, STATUS_BUSY, "too many fits are being loaded");
        return NULL;
    }
    struct fetch *fetch = calloc(1, sizeof *fetch);
    if (fetch == NULL) {
        error_set(err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    fetch->fits = f;
    list_init(&fetch->waiters);
    buf_init(&fetch->blob, LSA_BLOB_MAX);
    memcpy(fetch->tenant, tenant, strlen(tenant) + 1); /* lengths checked by fits_want */
    memcpy(fetch->encoder, encoder, strlen(encoder) + 1);
    Vs__GetEncoderRequest ask = VS__GET_ENCODER_REQUEST__INIT;
    ask.encoder = fetch->encoder;
    struct rpc_options options = {.tenant = fetch->tenant, .timeout_ms = FETCH_TIMEOUT_MS};
    fetch->request = vs_get_encoder(f->store, &options, &ask, &callbacks, fetch);
    if (fetch->request == NULL) {
        free(fetch);
        error_set(err, STATUS_NO_MEMORY, "out of memory");
        return NULL;
    }
    list_push(&f->fetches, &fetch->link);
    f->n_fetches++;
    return fetch;
}

struct fit *fits_want(struct fits *f, const char *tenant, const char *encoder,
                      struct fits_waiter *w, enum status *status, struct error *err)
{
    *status = STATUS_OK;
    if (strlen(tenant) >= TENANT_CAP || strlen(encoder) >= ENCODER_CAP) {
        *status = error_set(err, STATUS_INVALID, "no encoder has such a name");
        return NULL;
    }
    list_for_each(it, &f->cached)
    {
        struct fit *fit = list_entry(it, struct fit, link);
        if (strcmp(fit->encoder, encoder) == 0 && strcmp(fit->tenant, tenant) == 0) {
            list_remove(&fit->link);
            list_push_front(&f->cached, &fit->link);
            fit->held++;
            return fit;
        }
    }
    struct fetch *fetch = NULL;
    list_for_each(it, &f->fetches)
    {
        struct fetch *other = list_entry(it, struct fetch, link);
        if (strcmp(other->encoder, encoder) == 0 && strcmp(other->tenant, tenant) == 0) {
            fetch = other;
        }
    }
    struct error why = {0};
    if (fetch == NULL) {
        fetch = fetch_start(f, tenant, encoder, &why);
    } else if (fetch->n_waiters >= FITS_WAITERS_MAX) {
        fetch = NULL;
        error_set(&why, STATUS_BUSY, "too many calls wait for this fit");
    }
    if (fetch == NULL) {
        *status = error_set(err, why.code, "%s", why.text);
        return NULL;
    }
    list_push(&fetch->waiters, &w->link);
    fetch->n_waiters++;
    return NULL;
}
