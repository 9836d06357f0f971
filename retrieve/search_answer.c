/* From two lists to an answer: fuse, fetch, rerank, fold, widen, explain. */
#include "base/clock.h"
#include "retrieve/search_internal.h"

/* ---- the reasons, when they are asked for ---- */

static void on_explain_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    s->explained = (Vs__ExplainReply *)(void *)search_copy_message(m, s->a);
}

static void on_explain_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->explain_rpc = NULL;
    if (err->code != STATUS_OK) {
        search_fail(s, err);
        return;
    }
    if (s->explained == NULL) {
        search_no_memory(s);
        return;
    }
    search_finish(s, explain_fill(s->explained, s->request->why_not != NULL, s->dense_hits,
                                  s->n_dense, s->a, &s->reply, &s->error));
}

static void explain(struct search *s)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_explain_reply,
                                                   .on_finish = on_explain_finish};
    Vs__ExplainRequest q = VS__EXPLAIN_REQUEST__INIT;
    struct rpc_client *c = service_client(s->r->svc, PEER_VECTORSTORE);
    Vs__SearchTextRequest text = s->ask;
    text.filter = &s->filter;
    text.limit = s->limit;
    text.n_earlier = s->request->n_earlier;
    text.earlier = s->request->earlier;
    q.text = &text;
    q.document = s->request->why_not;
    q.chunks = arena_array(s->a, s->reply.n_passages + 1, sizeof(*q.chunks));
    if (q.chunks == NULL) {
        search_no_memory(s);
        return;
    }
    for (size_t i = 0; i < s->reply.n_passages; i++) {
        q.chunks[q.n_chunks++] = s->reply.passages[i]->passage->chunk;
    }
    s->explain_rpc = c == NULL ? NULL : vs_explain(c, &s->options, &q, &callbacks, s);
    if (s->explain_rpc == NULL) {
        search_no_memory(s);
    }
}

static void explain_or_finish(struct search *s, enum status status)
{
    if (status == STATUS_OK && s->request->has_explain && s->request->explain) {
        explain(s);
    } else {
        search_finish(s, status);
    }
}

static void on_fetch_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    if (vs_fetch_reply(m) != NULL) {
        s->fetched = (Vs__FetchReply *)(void *)search_copy_message(m, s->a);
    }
}

/* What was chosen is fetched again with its neighbours. Without them it is still an answer. */
static void on_widened(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->fetch_rpc = NULL;
    enum status status = STATUS_OK;
    if (err->code == STATUS_OK && s->fetched != NULL) {
        status = answer_widen(s->fetched, s->a, &s->reply, &s->error);
    } else {
        search_note(
            s, arena_strdup(s->a,
                            "passages are shown without their neighbours: reading those failed"));
    }
    explain_or_finish(s, status);
}

static void widen_start(struct search *s)
{
    Vs__FetchRequest q = VS__FETCH_REQUEST__INIT;
    q.filter = &s->filter;
    q.has_widen = 1;
    q.widen = s->request->widen;
    q.chunks = arena_array(s->a, s->reply.n_passages, sizeof(*q.chunks));
    if (q.chunks == NULL) {
        search_no_memory(s);
        return;
    }
    for (size_t i = 0; i < s->reply.n_passages; i++) {
        q.chunks[q.n_chunks++] = s->reply.passages[i]->passage->chunk;
    }
    s->fetched = NULL;
    static const struct rpc_callbacks callbacks = {.on_reply = on_fetch_reply,
                                                   .on_finish = on_widened};
    struct rpc_client *c = service_client(s->r->svc, PEER_VECTORSTORE);
    s->fetch_rpc = c == NULL ? NULL : vs_fetch(c, &s->options, &q, &callbacks, s);
    if (s->fetch_rpc == NULL) {
        search_no_memory(s);
    }
}

/* The passages have their last order. */
static void answer(struct search *s)
{
    struct answer in = {.text = s->text_hits,
                        .dense = s->dense_hits,
                        .text_why = s->text_why,
                        .fused = s->fused,
                        .n_fused = s->n_fused,
                        .top_k = s->top_k,
                        .fold = !(s->request->has_no_fold && s->request->no_fold)};
    enum status status =
        answer_fill(s->r->text, &in, s->fetched, s->a, &s->reply, &s->r->folded, &s->error);
    if (status == STATUS_OK && s->request->has_widen && s->request->widen > 0 &&
        s->reply.n_passages > 0) {
        widen_start(s);
        return;
    }
    explain_or_finish(s, status);
}

static bool reranks(const struct search *s)
{
    return s->request->mode == RT__SEARCH_REQUEST__MODE__DEFAULT &&
           !(s->request->has_no_rerank && s->request->no_rerank) &&
           rerank_wanted(s->r->svc->settings) > 0;
}

static void on_reranked(void *data, struct rerank_ask *ask)
{
    struct search *s = data;
    search_note(s, ask->note);
    s->reply.reranker = ask->model;
    s->reply.reranker_model = ask->model == NULL ? NULL : ask->line;
    s->reply.has_reranked = ask->model != NULL;
    s->reply.reranked = ask->n_reranked;
    answer(s);
}

static void rerank_start(struct search *s)
{
    s->rerank =
        (struct rerank_ask){.r = s->r,
                            .a = s->a,
                            .options = &s->options,
                            .spent_ms = (clock_monotonic_us() - s->started_us) / 1000,
                            .query = search_rewritten(s) ? s->request->rewritten : s->ask.query,
                            .fetched = s->fetched,
                            .fused = s->fused,
                            .n_fused = s->n_fused,
                            .done = on_reranked,
                            .data = s};
    if (!rerank_ask_start(&s->rerank)) {
        answer(s);
    }
}

static void on_fetch_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->fetch_rpc = NULL;
    if (err->code != STATUS_OK) {
        search_fail(s, err);
        return;
    }
    if (s->fetched == NULL) {
        search_no_memory(s);
        return;
    }
    if (reranks(s)) {
        rerank_start(s);
    } else {
        answer(s);
    }
}

/* What the query demands of a passage only the full-text search can tell: vectors then rank what it
 * found, and add nothing. */
static void keep_demanded(struct search *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_dense; i++) {
        for (size_t k = 0; k < s->n_text; k++) {
            if (str_eq(s->dense_hits[i].chunk, s->text_hits[k].chunk)) {
                s->dense_hits[n++] = s->dense_hits[i];
                break;
            }
        }
    }
    s->n_dense = n;
}

/* Called whenever a side has ended; goes on when both have. */
void search_sides_ended(struct search *s)
{
    if (s->text == SIDE_RUNNING || s->second == SIDE_RUNNING || s->dense == SIDE_RUNNING) {
        return;
    }
    if (!search_join_second(s)) {
        search_no_memory(s);
        return;
    }
    if (s->dense == SIDE_OFF && s->dense_note != NULL && s->call == NULL) {
        /* a job measures what it was asked to, or nothing */
        search_finish(s, error_set(&s->error, STATUS_UNAVAILABLE, "encoder %s: %s", s->encoder,
                                   s->dense_note));
        return;
    }
    if (s->dense == SIDE_OFF && s->dense_note != NULL) {
        search_note(s, s->dense_note);
        s->r->without_dense++;
    }
    if (interpret_demands(&s->ask)) {
        keep_demanded(s);
    }
    float weight = fuse_weight(search_encoder_weight(s), s->reply.upper_bound_share);
    bool some = s->dense == SIDE_DONE && s->n_dense > 0;
    enum status status = fuse(s->text_hits, s->n_text, s->dense_hits, some ? s->n_dense : 0, weight,
                              s->a, &s->fused, &s->n_fused, &s->error);
    if (status != STATUS_OK) {
        search_finish(s, status);
        return;
    }
    if (s->n_fused == 0) {
        explain_or_finish(s, STATUS_OK);
        return;
    }
    bool folding = !(s->request->has_no_fold && s->request->no_fold);
    /* some are folded, and some give way to other documents */
    size_t wanted = s->top_k + (folding ? s->top_k + 4U : 0U);
    if (reranks(s) && wanted < rerank_wanted(s->r->svc->settings)) {
        wanted = rerank_wanted(s->r->svc->settings);
    }
    wanted = wanted < s->n_fused ? wanted : s->n_fused;
    Vs__FetchRequest q = VS__FETCH_REQUEST__INIT;
    q.filter = &s->filter;
    q.chunks = arena_array(s->a, wanted, sizeof(*q.chunks));
    if (q.chunks == NULL) {
        search_no_memory(s);
        return;
    }
    for (size_t i = 0; i < wanted; i++) {
        q.chunks[i].len = s->fused[i].chunk.len;
        q.chunks[i].data = (uint8_t *)(uintptr_t)s->fused[i].chunk.ptr;
    }
    q.n_chunks = wanted;
    static const struct rpc_callbacks callbacks = {.on_reply = on_fetch_reply,
                                                   .on_finish = on_fetch_finish};
    struct rpc_client *c = service_client(s->r->svc, PEER_VECTORSTORE);
    s->fetch_rpc = c == NULL ? NULL : vs_fetch(c, &s->options, &q, &callbacks, s);
    if (s->fetch_rpc == NULL) {
        search_no_memory(s);
    }
}
