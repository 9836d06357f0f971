#include "embed/service.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "embed/embed.h"

#define QUEUED_MAX 64
#define QUERIES_QUEUED_MAX 256
#define RERANKS_QUEUED_MAX 64
#define THREADS_MAX 8
#define LOADING_QUEUED_MAX (FITS_FETCHES_MAX + 32)

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

static uint32_t processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (uint32_t)n;
}

static void model_lane_init(struct model_lane *l, uv_loop_t *loop, size_t max_queued,
                            uint32_t threads)
{
    l->threads = threads;
    lane_init(&l->lane, loop, 1, max_queued);
    neural_scratch_init(&l->scratch);
    l->scratch.threads = threads;
}

static void model_lane_end(struct embed *e, struct model_lane *l)
{
    neural_scratch_deinit(&l->scratch);
    models_let_go(e->models, l->held);
}

void model_lane_use(struct embed *e, struct model_lane *l, struct open_model *o)
{
    if (l->held == o) {
        models_let_go(e->models, o); /* the lane has its own hold */
    } else {
        model_lane_end(e, l);
        neural_scratch_init(&l->scratch);
        l->scratch.threads = l->threads;
        l->held = o;
    }
}

static void end_service(struct embed *e)
{
    model_lane_end(e, &e->model_passages);
    model_lane_end(e, &e->model_queries);
    model_lane_end(e, &e->reranking);
    models_free(e->models);
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

/* ---- life ---- */

static enum status embed_open(struct service *svc, struct error *err)
{
    /* OpenBLAS reads it as it is loaded, which happens at the first fit (svd.c): one fit, one
     * thread. */
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
    lane_init(&e->loading, svc->loop, 1, LOADING_QUEUED_MAX);
    /* somebody waits for a question's vector and for scores; batches leave the processor to others
     */
    uint32_t threads = processors();
    model_lane_init(&e->model_passages, svc->loop, QUEUED_MAX, 1);
    model_lane_init(&e->model_queries, svc->loop, QUERIES_QUEUED_MAX, threads);
    model_lane_init(&e->reranking, svc->loop, RERANKS_QUEUED_MAX, threads);
    enum status s = models_new(svc->home, &e->models, err);
    s = s == STATUS_OK ? fits_new(store, &e->loading, &e->fits, err) : s;
    if (s == STATUS_OK && uv_mutex_init(&e->lock) != 0) {
        fits_free(e->fits);
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (s != STATUS_OK) {
        models_free(e->models);
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
    const struct lane *const lanes[] = {&e->passages, &e->queries, &e->model_passages.lane,
                                        &e->model_queries.lane, &e->reranking.lane};
    out->queue = 0;
    for (size_t i = 0; i < sizeof lanes / sizeof lanes[0]; i++) {
        out->queue += (uint32_t)(lanes[i]->n_waiting + lanes[i]->running);
    }
    (void)snprintf(out->detail, sizeof out->detail, "%zu fits in memory, %zu models open%s",
                   fits_count(e->fits), models_open(e->models), e->fit == NULL ? "" : ", fitting");
    buf_printf(out->metrics,
               "# TYPE carrel_embed_texts_total counter\n"
               "carrel_embed_texts_total %llu\n"
               "# TYPE carrel_embed_words_total counter\n"
               "carrel_embed_words_total %llu\n"
               "# TYPE carrel_embed_cut_total counter\n"
               "carrel_embed_cut_total %llu\n"
               "# TYPE carrel_embed_reranked_total counter\n"
               "carrel_embed_reranked_total %llu\n"
               "# TYPE carrel_embed_fits_total counter\n"
               "carrel_embed_fits_total %llu\n"
               "# TYPE carrel_embed_fitting gauge\n"
               "carrel_embed_fitting %d\n",
               (unsigned long long)e->texts, (unsigned long long)e->words,
               (unsigned long long)e->cut, (unsigned long long)e->reranked,
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
    {.method = &em_encode_method, .on_request = encode_call_on_request},
    {.method = &em_rerank_method, .on_request = rerank_call_on_request},
    {.method = &em_fit_method,
     .on_request = fit_call_on_request,
     .on_end = fit_call_on_end,
     .on_ready = fit_call_on_ready,
     .on_cancel = fit_call_on_cancel},
    {.method = &em_list_encoders_method, .on_request = list_call_on_request},
};

const struct service_definition embed_definition = {
    .self = PEER_EMBED,
    .handlers = handlers,
    .n_handlers = sizeof handlers / sizeof *handlers,
    .open = embed_open,
    .health = embed_health,
    .close = embed_close,
};
