/* embed.Encode. Fits: copy the texts -> have the fit -> encode on a lane -> reply. Imported models:
 * copy the texts -> open the model and encode on a lane of the models' -> reply. */
#include <stdlib.h>

#include "base/clock.h"
#include "embed/embed.h"
#include "model/pool.h"

#define TEXTS_MAX 256
#define TITLE_BYTES_MAX 4096

struct encode_call {
    struct embed *embed;
    struct rpc_call *call;
    struct fits_waiter waiter;
    struct fit *fit; /* NULL: hashed stems */
    struct encode_text *texts;
    size_t n_texts;
    bool query;
    uint32_t dimensions;
    const char *name;           /* of an imported model's vectors; NULL: a fit's or hashed */
    char line[NEURAL_LINE_CAP]; /* which imported model */
    char served[32];            /* the name that these go by */
    float *vectors;             /* the call's; of an imported model: ours */
    size_t words;
    bool whole;   /* nothing is cut */
    bool windows; /* but read in windows */
    size_t first; /* the number of the first text */
    struct neural_count count;
    int64_t cpu_us;
    struct error error;
};

static void encode_finish(struct encode_call *c)
{
    struct embed *e = c->embed;
    effort_add(rpc_call_effort(c->call), c->cpu_us);
    if (c->error.code == STATUS_OK) {
        struct lsa_info info = {0};
        if (c->fit != NULL) {
            lsa_describe(fit_model(c->fit), &info);
        }
        Em__EncodeReply reply = EM__ENCODE_REPLY__INIT;
        reply.encoder = c->name == NULL ? info.encoder : c->served;
        reply.dimensions = c->dimensions;
        reply.n_vectors = c->n_texts * c->dimensions;
        reply.vectors = c->vectors;
        reply.tokens = (uint32_t)(c->words < UINT32_MAX ? c->words : UINT32_MAX);
        reply.has_cut = c->name != NULL;
        reply.model = c->name == NULL ? NULL : c->line;
        reply.cut = (uint32_t)c->count.cut;
        reply.has_cpu_us = true;
        reply.cpu_us = (uint64_t)c->cpu_us;
        e->texts += c->n_texts;
        e->cut += c->count.cut;
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
    float *vectors = c->name == NULL ? NULL : c->vectors;
    encode_finish(c);
    free(vectors);
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
    int64_t cpu = clock_thread_cpu_us();
    const struct lsa_model *model = c->fit == NULL ? NULL : fit_model(c->fit);
    enum status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < c->n_texts; i++) {
        s = rpc_call_cancelled(c->call)
                ? error_set(&c->error, STATUS_CANCELLED, "the caller went away")
                : encode_one(scratch, model, &c->texts[i], c->query, c->vectors + i * c->dimensions,
                             &c->words, &c->error);
    }
    c->cpu_us = clock_thread_cpu_us() - cpu;
    embed_give_scratch(c->embed, scratch);
}

static void encode_done(void *job)
{
    encode_end(job);
}

/* With the model in hand. */
static enum status encode_all(struct encode_call *c, struct model_lane *l)
{
    const struct model_record *r = open_record(l->held);
    (void)snprintf(c->served, sizeof c->served, "%s", r->encoder);
    c->dimensions = r->width;
    c->vectors = calloc(c->n_texts * (size_t)c->dimensions + 1, sizeof(float));
    if (c->vectors == NULL) {
        return error_set(&c->error, STATUS_NO_MEMORY, "out of memory for %zu vectors", c->n_texts);
    }
    enum status s = STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < c->n_texts; i += NEURAL_GROUP) {
        size_t left = c->n_texts - i;
        uint32_t n = left < NEURAL_GROUP ? (uint32_t)left : NEURAL_GROUP;
        l->scratch.whole = c->whole;
        l->scratch.windows = c->windows && !c->whole;
        l->scratch.first = c->first + i;
        s = rpc_call_cancelled(c->call)
                ? error_set(&c->error, STATUS_CANCELLED, "the caller went away")
                : neural_encode_group(&l->scratch, open_model(l->held), r, &c->texts[i], n,
                                      c->query, c->vectors + i * c->dimensions, &c->count,
                                      &c->error);
    }
    c->words = (size_t)c->count.tokens;
    neural_line(&l->scratch, r, c->line);
    return s;
}

static void encode_with_model(void *job) /* on a lane of the models' */
{
    struct encode_call *c = job;
    struct model_lane *l = c->query ? &c->embed->model_queries : &c->embed->model_passages;
    struct open_model *o = NULL;
    enum status s = rpc_call_cancelled(c->call)
                        ? error_set(&c->error, STATUS_CANCELLED, "the caller went away")
                        : models_encoder(c->embed->models, c->name, &o, &c->error);
    if (s == STATUS_OK) {
        model_lane_use(c->embed, l, o);
        int64_t cpu = pool_cpu_us(l->scratch.pool);
        s = encode_all(c, l);
        c->cpu_us = pool_cpu_us(l->scratch.pool) - cpu; /* a pool that is new began at nothing */
    }
    c->error.code = s;
}

static void encode_start_model(struct encode_call *c)
{
    struct model_lane *l = c->query ? &c->embed->model_queries : &c->embed->model_passages;
    c->name = arena_strdup(rpc_call_arena(c->call), c->name);
    if (c->name == NULL) {
        (void)error_set(&c->error, STATUS_NO_MEMORY, "out of memory");
        encode_end(c);
    } else if (lane_submit(&l->lane, encode_with_model, encode_done, c, &c->error) != STATUS_OK) {
        encode_end(c);
    }
}

static void encode_start(struct encode_call *c)
{
    struct lsa_info info = {.dimensions = ENCODE_HASHED_DIMENSIONS};
    if (c->fit != NULL) {
        lsa_describe(fit_model(c->fit), &info);
    }
    c->dimensions = info.dimensions;
    c->vectors =
        arena_array(rpc_call_arena(c->call), c->n_texts * c->dimensions + 1, sizeof(float));
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
                              .whole = ask->has_whole && ask->whole,
                              .windows = ask->has_windows && ask->windows,
                              .first = ask->has_first ? ask->first : 0,
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

void encode_call_on_request(struct rpc_call *call, const ProtobufCMessage *m)
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
    if (models_is_encoder(ask->encoder)) {
        c->name = ask->encoder;
        encode_start_model(c);
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
