/* embed.Rerank: copy the texts -> open the model and score on the lane, the best first, while time
 * lasts -> reply with as many scores as there are. */
#include "base/clock.h"
#include "embed/embed.h"
#include "model/pool.h"

#define PASSAGES_MAX 64
#define QUERY_BYTES_MAX ((size_t)64 * 1024)
#define TITLE_BYTES_MAX 4096

struct rerank_call {
    struct embed *embed;
    struct rpc_call *call;
    struct str query;
    struct str *passages; /* title and text */
    size_t n, scored;
    float *scores;
    int64_t until_ms; /* clock_monotonic_ms */
    char model[REGISTRY_NAME_CAP], sha256[SHA256_HEX_CAP];
    char line[NEURAL_LINE_CAP];
    struct neural_count count;
    int64_t took_us, cpu_us;
    struct error error;
};

/* The next one ends in time if it takes as long as the longest so far. */
static bool time_for_next(const struct rerank_call *c, int64_t longest_us)
{
    return clock_monotonic_ms() + longest_us / 1000 < c->until_ms;
}

static enum status score_all(struct rerank_call *c, struct model_lane *l)
{
    int64_t started_us = clock_monotonic_us();
    int64_t last_us = started_us;
    int64_t longest_us = 0;
    enum status s = STATUS_OK;
    while (s == STATUS_OK && c->scored < c->n && time_for_next(c, longest_us)) {
        s = rpc_call_cancelled(c->call)
                ? error_set(&c->error, STATUS_CANCELLED, "the caller went away")
                : neural_score(&l->scratch, open_model(l->held), c->query, c->passages[c->scored],
                               &c->scores[c->scored], &c->count, &c->error);
        c->scored += s == STATUS_OK;
        int64_t now_us = clock_monotonic_us();
        longest_us = now_us - last_us > longest_us ? now_us - last_us : longest_us;
        last_us = now_us;
    }
    c->took_us = last_us - started_us;
    return s;
}

static void rerank_work(void *job) /* on the lane */
{
    struct rerank_call *c = job;
    struct model_lane *l = &c->embed->reranking;
    struct open_model *o = NULL;
    const char *wanted = c->embed->svc->settings->reranker.model;
    enum status s = rpc_call_cancelled(c->call)
                        ? error_set(&c->error, STATUS_CANCELLED, "the caller went away")
                        : models_reranker(c->embed->models, wanted, &o, &c->error);
    if (s == STATUS_OK) {
        model_lane_use(c->embed, l, o);
        (void)snprintf(c->model, sizeof c->model, "%s", open_record(l->held)->name);
        (void)snprintf(c->sha256, sizeof c->sha256, "%s", open_record(l->held)->sha256);
        int64_t cpu = pool_cpu_us(l->scratch.pool);
        s = score_all(c, l);
        c->cpu_us = pool_cpu_us(l->scratch.pool) - cpu;
        neural_line(&l->scratch, open_record(l->held), c->line);
    }
    c->error.code = s;
}

static void rerank_done(void *job)
{
    struct rerank_call *c = job;
    struct embed *e = c->embed;
    effort_add(rpc_call_effort(c->call), c->cpu_us);
    if (c->error.code == STATUS_OK) {
        Em__RerankReply reply = EM__RERANK_REPLY__INIT;
        reply.model = c->model;
        reply.sha256 = c->sha256;
        reply.line = c->line;
        reply.scores = c->scores;
        reply.n_scores = c->scored;
        reply.tokens = (uint32_t)c->count.tokens;
        reply.cut = (uint32_t)c->count.cut;
        reply.has_cpu_us = true;
        reply.cpu_us = (uint64_t)c->cpu_us;
        e->reranked += c->scored;
        e->rerank_us += (uint64_t)c->took_us;
        e->cut += c->count.cut;
        em_rerank_return(c->call, &reply);
    } else {
        rpc_call_fail(c->call, &c->error);
    }
    /* c lay in the call's arena and is gone with the call */
    embed_call_over(e);
}

static enum status rerank_check(const struct embed *e, const Em__RerankRequest *ask,
                                struct error *err)
{
    if (e->svc->settings->reranker.model[0] == '\0') {
        return error_set(err, STATUS_NOT_FOUND, "no reranker is configured (reranker.model)");
    }
    if (ask->n_passages > PASSAGES_MAX || ask->query.len > QUERY_BYTES_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "at most %d passages and a query of %zu bytes",
                         PASSAGES_MAX, QUERY_BYTES_MAX);
    }
    if (ask->n_titles != 0 && ask->n_titles != ask->n_passages) {
        return error_set(err, STATUS_INVALID, "%zu titles for %zu passages", ask->n_titles,
                         ask->n_passages);
    }
    return STATUS_OK;
}

static struct rerank_call *rerank_copy(struct rpc_call *call, const Em__RerankRequest *ask)
{
    struct arena *a = rpc_call_arena(call);
    struct rerank_call *c = arena_alloc(a, sizeof *c);
    struct str *passages = arena_array(a, ask->n_passages + 1, sizeof *passages);
    float *scores = arena_array(a, ask->n_passages + 1, sizeof *scores);
    if (c == NULL || passages == NULL || scores == NULL) {
        return NULL;
    }
    int64_t deadline = rpc_call_deadline_ms(call);
    int64_t budget = clock_monotonic_ms() + (ask->has_budget_ms ? ask->budget_ms : INT32_MAX);
    *c = (struct rerank_call){.embed = service_state(call),
                              .call = call,
                              .passages = passages,
                              .n = ask->n_passages,
                              .scores = scores,
                              .until_ms = budget < deadline ? budget : deadline};
    c->query = (struct str){arena_strndup(a, (const char *)ask->query.data, ask->query.len),
                            ask->query.len};
    for (size_t i = 0; i < ask->n_passages; i++) {
        const char *title = i < ask->n_titles ? ask->titles[i] : "";
        int head = (int)strnlen(title, TITLE_BYTES_MAX);
        size_t len = ask->passages[i].len < INT32_MAX ? ask->passages[i].len : INT32_MAX;
        char *text = arena_printf(a, "%.*s%s%.*s", head, title, head > 0 ? "\n" : "", (int)len,
                                  (const char *)ask->passages[i].data);
        if (text == NULL) {
            return NULL;
        }
        passages[i] = str_from(text);
    }
    return c->query.ptr == NULL ? NULL : c;
}

void rerank_call_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct embed *e = service_state(call);
    const Em__RerankRequest *ask = em_rerank_request(m);
    struct error err = {0};
    if (ask == NULL || e->stopping) {
        rpc_call_finish(call, ask == NULL ? STATUS_INVALID : STATUS_UNAVAILABLE, NULL);
        return;
    }
    if (rerank_check(e, ask, &err) != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    struct rerank_call *c = rerank_copy(call, ask);
    if (c == NULL) {
        rpc_call_finish(call, STATUS_NO_MEMORY, "out of memory for the passages");
        return;
    }
    e->n_calls++;
    if (lane_submit(&e->reranking.lane, rerank_work, rerank_done, c, &c->error) != STATUS_OK) {
        rerank_done(c);
    }
}
