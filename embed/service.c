#include "embed/service.h"

#include <stdlib.h>

#include "base/log.h"
#include "embed/embed.h"

#define TEXTS_MAX 256
#define TITLE_BYTES_MAX 4096
#define QUEUED_MAX 64
#define QUERIES_QUEUED_MAX 256
#define HASHED_NAME "carrel-hash"

enum status embed_take_scratch(struct embed *e, struct encode_scratch **out, struct error *err)
{
    struct encode_scratch *found = NULL;
    uv_mutex_lock(&e->lock);
    for (size_t i = 0; found == NULL && i < EMBED_SCRATCHES; i++) {
        found = e->scratches[i];
        e->scratches[i] = NULL;
    }
    uv_mutex_unlock(&e->lock);
    if (found == NULL) {
        return encode_scratch_new(out, err);
    }
    *out = found;
    return STATUS_OK;
}

void embed_give_scratch(struct embed *e, struct encode_scratch *s)
{
    uv_mutex_lock(&e->lock);
    for (size_t i = 0; s != NULL && i < EMBED_SCRATCHES; i++) {
        if (e->scratches[i] == NULL) {
            e->scratches[i] = s;
            s = NULL;
        }
    }
    uv_mutex_unlock(&e->lock);
    encode_scratch_free(s);
}

static void end_service(struct embed *e)
{
    fits_free(e->fits);
    for (size_t i = 0; i < EMBED_SCRATCHES; i++) {
        encode_scratch_free(e->scratches[i]);
    }
    uv_mutex_destroy(&e->lock);
    struct service *svc = e->svc;
    svc->state = NULL;
    free(e);
    service_closed(svc);
}

void embed_call_over(struct embed *e)
{
    e->n_calls--;
    if (e->stopping && e->n_calls == 0) {
        end_service(e);
    }
}

/* ---- embed.Encode: copy the texts -> have the fit -> encode on a lane -> reply ---------------------- */

struct encode_call {
    struct embed *embed;
    struct rpc_call *call;
    struct fits_waiter waiter;
    struct fit *fit; /* NULL: hashed stems */
    struct encode_text *texts;
    size_t n_texts;
    bool query;
    uint32_t dimensions;
    float *vectors;
    size_t words;
    struct error error;
};

static void encode_finish(struct encode_call *c)
{
    struct embed *e = c->embed;
    if (c->error.code == STATUS_OK) {
        struct lsa_info info = {0};
        if (c->fit != NULL) {
            lsa_describe(fit_model(c->fit), &info);
        }
        Em__EncodeReply reply = EM__ENCODE_REPLY__INIT;
        reply.encoder = info.encoder;
        reply.dimensions = c->dimensions;
        reply.n_vectors = c->n_texts * c->dimensions;
        reply.vectors = c->vectors;
        reply.tokens = (uint32_t)(c->words < UINT32_MAX ? c->words : UINT32_MAX);
        e->texts += c->n_texts;
        e->words += c->words;
        em_encode_return(c->call, &reply);
    } else {
        rpc_call_fail(c->call, &c->error);
    }
    /* c lay in the call's arena and is gone with the call */
}

static void encode_end(struct encode_call *c)
{
    struct embed *e = c->embed;
    struct fit *fit = c->fit;
    encode_finish(c);
    if (fit != NULL) {
        fit_let_go(fit);
    }
    embed_call_over(e);
}

static void encode_work(void *job) /* on a lane */
{
    struct encode_call *c = job;
    struct encode_scratch *scratch;
    if (embed_take_scratch(c->embed, &scratch, &c->error) != STATUS_OK) {
        return;
    }
    const struct lsa_model *model = c->fit == NULL ? NULL : fit_model(c->fit);
    enum status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < c->n_texts; i++) {
        s = rpc_call_cancelled(c->call)
                ? error_set(&c->error, STATUS_CANCELLED, "the caller went away")
                : encode_one(scratch, model, &c->texts[i], c->query,
                             c->vectors + i * c->dimensions, &c->words, &c->error);
    }
    embed_give_scratch(c->embed, scratch);
}

static void encode_done(void *job)
{
    encode_end(job);
}

static void encode_start(struct encode_call *c)
{
    struct lsa_info info = {.dimensions = ENCODE_HASHED_DIMENSIONS};
    if (c->fit != NULL) {
        lsa_describe(fit_model(c->fit), &info);
    }
    c->dimensions = info.dimensions;
    c->vectors = arena_array(rpc_call_arena(c->call), c->n_texts * c->dimensions + 1, sizeof(float));
    if (c->vectors == NULL) {
        error_set(&c->error, STATUS_NO_MEMORY, "out of memory for %zu vectors", c->n_texts);
    }
    struct lane *lane = c->query ? &c->embed->queries : &c->embed->passages;
    if (c->vectors == NULL ||
        lane_submit(lane, encode_work, encode_done, c, &c->error) != STATUS_OK) {
        encode_end(c);
    }
}

static void encode_on_fit(struct fits_waiter *w, struct fit *fit, const struct error *err)
{
    struct encode_call *c = container_of(w, struct encode_call, waiter);
    c->fit = fit;
    if (fit == NULL) {
        c->error = *err;
        encode_end(c);
    } else {
        encode_start(c);
    }
}

static enum status encode_check(const Em__EncodeRequest *ask, struct error *err)
{
    if (ask->n_texts > TEXTS_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "%zu texts in one call; at most %d", ask->n_texts,
                         TEXTS_MAX);
    }
    if (ask->n_titles != 0 && ask->n_titles != ask->n_texts) {
        return error_set(err, STATUS_INVALID, "%zu titles for %zu texts", ask->n_titles,
                         ask->n_texts);
    }
    return STATUS_OK;
}

static struct encode_call *encode_copy(struct rpc_call *call, const Em__EncodeRequest *ask)
{
    struct arena *a = rpc_call_arena(call);
    struct encode_call *c = arena_alloc(a, sizeof *c);
    struct encode_text *texts = arena_array(a, ask->n_texts + 1, sizeof *texts);
    if (c == NULL || texts == NULL) {
        return NULL;
    }
    *c = (struct encode_call){.embed = service_state(call),
                              .call = call,
                              .waiter = {.on_fit = encode_on_fit},
                              .texts = texts,
                              .n_texts = ask->n_texts,
                              .query = ask->kind == EM__ENCODE_REQUEST__KIND__QUERY};
    for (size_t i = 0; i < ask->n_texts; i++) {
        texts[i].text = (struct str){
            .ptr = arena_strndup(a, (const char *)ask->texts[i].data, ask->texts[i].len),
            .len = ask->texts[i].len};
        const char *title = i < ask->n_titles ? ask->titles[i] : "";
        size_t len = strnlen(title, TITLE_BYTES_MAX);
        texts[i].title = (struct str){.ptr = arena_strndup(a, title, len), .len = len};
        if (texts[i].text.ptr == NULL || texts[i].title.ptr == NULL) {
            return NULL;
        }
    }
    return c;
}

static void encode_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct embed *e = service_state(call);
    const Em__EncodeRequest *ask = em_encode_request(m);
    struct error err = {0};
    if (ask == NULL || e->stopping) {
        rpc_call_finish(call, ask == NULL ? STATUS_INVALID : STATUS_UNAVAILABLE, NULL);
        return;
    }
    if (encode_check(ask, &err) != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    struct encode_call *c = encode_copy(call, ask);
    if (c == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, "out of memory for the texts");
        return;
    }
    e->n_calls++;
    if (ask->encoder[0] == '\0') {
        encode_start(c);
        return;
    }
    enum status s;
    c->fit = fits_want(e->fits, rpc_call_tenant(call), ask->encoder, &c->waiter, &s, &c->error);
    if (c->fit != NULL) {
        encode_start(c);
    } else if (s != STATUS_OK) {
        encode_end(c);
    }
}

/* ---- embed.ListEncoders -------------------------------------------------------------------------- */

struct listing {
    struct arena *arena;
    Em__EncoderInfo *items[FITS_MAX + 1];
    size_t n;
    double weight;
    bool failed;
};

static void list_add(struct listing *l, const char *name, const char *version, uint32_t dimensions,
                     const char *state, double weight)
{
    Em__EncoderInfo *item = arena_alloc(l->arena, sizeof *item);
    char *own_name = arena_strdup(l->arena, name), *own_version = arena_strdup(l->arena, version);
    char *own_state = arena_strdup(l->arena, state);
    if (item == NULL || own_name == NULL || own_version == NULL || own_state == NULL) {
        l->failed = true;
        return;
    }
    em__encoder_info__init(item);
    item->name = own_name;
    item->version = own_version;
    item->state = own_state;
    item->dimensions = dimensions;
    item->weight = (float)weight;
    l->items[l->n++] = item;
}

static void list_fit(const struct lsa_info *info, void *data)
{
    struct listing *l = data;
    if (l->n <= FITS_MAX) {
        /* the version of a fit is what tells it from other fits: the hash in its name */
        list_add(l, info->encoder, info->encoder + strlen("carrel-lsa-"), info->dimensions, "fitted",
                 l->weight);
    }
}

static void list_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    struct embed *e = service_state(call);
    struct listing l = {.arena = rpc_call_arena(call),
                        .weight = e->svc->settings->retrieve.lsa_weight};
    list_add(&l, HASHED_NAME, "1", ENCODE_HASHED_DIMENSIONS, "hashed", 0);
    fits_each(e->fits, rpc_call_tenant(call), list_fit, &l);
    if (l.failed) {
        rpc_call_finish(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    Em__ListEncodersReply reply = EM__LIST_ENCODERS_REPLY__INIT;
    reply.n_encoders = l.n;
    reply.encoders = l.items;
    em_list_encoders_return(call, &reply);
}

/* ---- life ---------------------------------------------------------------------------------------- */

static enum status embed_open(struct service *svc, struct error *err)
{
    /* OpenBLAS reads it as it is loaded, which happens at the first fit (svd.c): one fit, one thread. */
    if (setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    struct rpc_client *store = service_client(svc, PEER_VECTORSTORE);
    struct embed *e = store == NULL ? NULL : calloc(1, sizeof *e);
    if (e == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    e->svc = svc;
    lane_init(&e->passages, svc->loop, 1, QUEUED_MAX);
    lane_init(&e->queries, svc->loop, 1, QUERIES_QUEUED_MAX);
    lane_init(&e->fitting, svc->loop, 1, 1);
    lane_init(&e->loading, svc->loop, 1, FITS_FETCHES_MAX);
    enum status s = fits_new(store, &e->loading, &e->fits, err);
    if (s == STATUS_OK && uv_mutex_init(&e->lock) != 0) {
        fits_free(e->fits);
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (s != STATUS_OK) {
        free(e);
        return s;
    }
    svc->state = e;
    return STATUS_OK;
}

static void embed_health(struct service *svc, struct service_health *out)
{
    const struct embed *e = svc->state;
    if (e == NULL) {
        return;
    }
    out->queue = (uint32_t)(e->passages.n_waiting + e->passages.running + e->queries.n_waiting +
                            e->queries.running);
    (void)snprintf(out->detail, sizeof out->detail, "%zu fits in memory%s", fits_count(e->fits),
                   e->fit == NULL ? "" : ", fitting");
    buf_printf(out->metrics,
               "# TYPE carrel_embed_texts_total counter\n"
               "carrel_embed_texts_total %llu\n"
               "# TYPE carrel_embed_words_total counter\n"
               "carrel_embed_words_total %llu\n"
               "# TYPE carrel_embed_fits_total counter\n"
               "carrel_embed_fits_total %llu\n"
               "# TYPE carrel_embed_fitting gauge\n"
               "carrel_embed_fitting %d\n",
               (unsigned long long)e->texts, (unsigned long long)e->words,
               (unsigned long long)e->fits_made, e->fit != NULL);
}

static void embed_close(struct service *svc)
{
    struct embed *e = svc->state;
    e->stopping = true;
    e->n_calls++; /* keeps e until the line below the stops */
    fits_stop(e->fits);
    if (e->fit != NULL) {
        fit_call_stop(e->fit);
    }
    embed_call_over(e);
}

static const struct rpc_handler handlers[] = {
    {.method = &em_encode_method, .on_request = encode_on_request},
    {.method = &em_fit_method,
     .on_request = fit_call_on_request,
     .on_end = fit_call_on_end,
     .on_ready = fit_call_on_ready,
     .on_cancel = fit_call_on_cancel},
    {.method = &em_list_encoders_method, .on_request = list_on_request},
};

const struct service_definition embed_definition = {
    .self = PEER_EMBED,
    .handlers = handlers,
    .n_handlers = sizeof handlers / sizeof *handlers,
    .open = embed_open,
    .health = embed_health,
    .close = embed_close,
};
