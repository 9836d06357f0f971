#include "retrieve/rerank_ask.h"

#include "retrieve/rerank.h"

#define MARGIN_MS 250 /* of the search's own time, for what follows */

uint32_t rerank_wanted(const struct settings *s)
{
    uint32_t n = s->reranker.model[0] == '\0' ? 0 : (uint32_t)s->reranker.candidates;
    return n < RERANK_MAX ? n : RERANK_MAX;
}

static uint32_t budget(const struct rerank_ask *ask)
{
    uint32_t ms = (uint32_t)ask->r->svc->settings->reranker.budget_ms;
    int64_t left = (int64_t)ask->options->timeout_ms - ask->spent_ms - MARGIN_MS;
    if (ask->options->timeout_ms > 0 && left < (int64_t)ms) {
        ms = left > 0 ? (uint32_t)left : 0;
    }
    return ms;
}

/* ---- the answer ---- */

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct rerank_ask *ask = data;
    const Em__RerankReply *reply = em_rerank_reply(m);
    if (reply == NULL || reply->n_scores == 0 || reply->n_scores > ask->asked) {
        return; /* nothing in the time left: the order stays */
    }
    ask->scores = arena_array(ask->a, reply->n_scores + 1, sizeof *ask->scores);
    ask->model = arena_strdup(ask->a, reply->model);
    ask->line = reply->line == NULL ? NULL : arena_strdup(ask->a, reply->line);
    if (ask->scores != NULL && ask->model != NULL) {
        memcpy(ask->scores, reply->scores, reply->n_scores * sizeof *ask->scores);
        ask->n_scores = reply->n_scores;
    }
}

/* The passages that came stand in the order of fused, a few left out. */
static size_t *places(const struct rerank_ask *ask)
{
    size_t *order = arena_array(ask->a, ask->n_scores + 1, sizeof *order);
    for (size_t i = 0, at = 0; order != NULL && i < ask->n_scores; i++, at++) {
        const ProtobufCBinaryData *chunk = &ask->fetched->passages[i]->chunk;
        struct str name = {(const char *)chunk->data, chunk->len};
        while (at < ask->n_fused && !str_eq(ask->fused[at].chunk, name)) {
            at++;
        }
        order[i] = at;
    }
    return order;
}

static enum status reorder(struct rerank_ask *ask, struct error *err)
{
    size_t n = ask->n_scores;
    size_t *order = places(ask);
    size_t *before = arena_array(ask->a, n + 1, sizeof *before);
    Vs__Passage **old = arena_array(ask->a, n + 1, sizeof *old);
    if (order == NULL || before == NULL || old == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "search: out of memory");
    }
    memcpy(before, order, n * sizeof *before);
    memcpy(old, ask->fetched->passages, n * sizeof *old);
    enum status s = rerank(ask->fused, ask->n_fused, order, ask->scores, n, ask->a, err);
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        size_t from = 0;
        while (from < n && before[from] != order[i]) {
            from++;
        }
        ask->fetched->passages[i] = old[from];
    }
    return s;
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct rerank_ask *ask = data;
    struct error e = *err;
    ask->request = NULL;
    if (e.code == STATUS_OK && ask->scores == NULL) {
        (void)error_set(&e, STATUS_PROTOCOL, "its answer does not fit the question");
    }
    if (e.code == STATUS_OK && ask->n_scores > 0) {
        e.code = reorder(ask, &e);
    }
    if (e.code == STATUS_UNAVAILABLE || e.code == STATUS_DEADLINE || e.code == STATUS_BUSY) {
        ask->note = arena_strdup(ask->a, "the reranker does not answer: ranked without it");
    } else if (e.code != STATUS_OK) {
        ask->note = arena_printf(ask->a, "ranked without the reranker: %s", e.text);
    } else if (ask->n_scores < ask->asked) {
        ask->note = arena_printf(ask->a, "the reranker had time for %zu of the best %zu passages",
                                 ask->n_scores, ask->asked);
    }
    ask->n_reranked = e.code == STATUS_OK ? (uint32_t)ask->n_scores : 0;
    ask->model = ask->n_reranked > 0 ? ask->model : NULL;
    ask->done(ask->data, ask);
}

/* ---- the question ---- */

static char *title_of(const Vs__Passage *p, struct arena *a)
{
    const char *title = p->title == NULL ? "" : p->title;
    const char *heading = p->heading_path == NULL ? "" : p->heading_path;
    const char *context = p->context == NULL ? "" : p->context;
    return arena_printf(a, "%s%s%s%s%s", title, title[0] != '\0' && heading[0] != '\0' ? "\n" : "",
                        heading, context[0] != '\0' ? "\n" : "", context);
}

bool rerank_ask_start(struct rerank_ask *ask)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};
    size_t n = rerank_wanted(ask->r->svc->settings);
    n = n < ask->fetched->n_passages ? n : ask->fetched->n_passages;
    Em__RerankRequest q = EM__RERANK_REQUEST__INIT;
    q.query = ask->query;
    q.passages = arena_array(ask->a, n + 1, sizeof *q.passages);
    q.titles = arena_array(ask->a, n + 1, sizeof *q.titles);
    q.has_budget_ms = 1;
    q.budget_ms = budget(ask);
    if (q.passages == NULL || q.titles == NULL || n < 2 || q.budget_ms == 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        q.passages[i] = ask->fetched->passages[i]->text;
        q.titles[i] = title_of(ask->fetched->passages[i], ask->a);
        if (q.titles[i] == NULL) {
            return false;
        }
    }
    q.n_passages = q.n_titles = n;
    ask->asked = n;
    struct rpc_options options = *ask->options;
    options.timeout_ms = q.budget_ms + MARGIN_MS / 2;
    struct rpc_client *c = service_client(ask->r->svc, PEER_EMBED);
    ask->request = c == NULL ? NULL : em_rerank(c, &options, &q, &callbacks, ask);
    return ask->request != NULL;
}

void rerank_ask_stop(struct rerank_ask *ask)
{
    if (ask->request != NULL) {
        rpc_request_cancel(ask->request);
        ask->request = NULL;
    }
}
