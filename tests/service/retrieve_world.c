#include "tests/service/retrieve_world.h"

/* The store has chunks a, b, c, d; c repeats a's text. */
static const char *const texts[] = {
    "The notice period is three months from the end of a quarter for either side",
    "Parental leave is granted on request and lasts up to fourteen weeks in all",
    "The notice period is three months from the end of a quarter, for either side.",
    "The canteen opens at noon and closes when the last guest has gone home again",
};

ProtobufCBinaryData bytes(const char *z)
{
    return (ProtobufCBinaryData){.len = strlen(z), .data = (uint8_t *)(uintptr_t)z};
}

static char *text_of(const char *z)
{
    return (char *)(uintptr_t)z;
}

static void demand(struct world *w, char kind, const ProtobufCBinaryData *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(w->last_demands);
        (void)snprintf(w->last_demands + len, sizeof w->last_demands - len, "%c[%.*s]", kind,
                       (int)b[i].len, (const char *)b[i].data);
    }
}

/* The second search of a request: it finds d first. "fails": not at all. */
static void on_rewritten(struct world *w, struct rpc_call *call)
{
    w->rewrites++;
    if (strcmp(w->rewritten, "fails") == 0) {
        rpc_call_finish(call, STATUS_UNAVAILABLE, "not today");
        return;
    }
    static const char *const ids[] = {"d", "b"};
    Vs__TextHit hits[2], *list[2];
    for (size_t i = 0; i < 2; i++) {
        vs__text_hit__init(&hits[i]);
        hits[i].chunk = bytes(ids[i]);
        hits[i].content = text_of("content");
        hits[i].score = .8F - .3F * (float)i;
        list[i] = &hits[i];
    }
    Vs__SearchTextReply reply = VS__SEARCH_TEXT_REPLY__INIT;
    reply.hits = list;
    reply.n_hits = 2;
    reply.upper_bound_share = .75F;
    reply.encoder = text_of(w->encoder);
    vs_search_text_return(call, &reply);
}

static void on_text(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct world *w = rpc_call_service(call);
    const Vs__SearchTextRequest *q = vs_search_text_request(m);
    assert_non_null(q);
    w->texts++;
    w->last_limit = q->limit;
    w->last_earlier = q->n_earlier;
    w->last_collections = q->filter == NULL ? 0 : q->filter->n_collections;
    w->last_plain = q->mode == VS__SEARCH_TEXT_REQUEST__MODE__PLAIN_BM25;
    (void)snprintf(w->last_tenant, sizeof w->last_tenant, "%s", rpc_call_tenant(call));
    if (w->rewritten != NULL && q->query.len == strlen(w->rewritten) &&
        memcmp(q->query.data, w->rewritten, q->query.len) == 0) {
        assert_int_equal(q->n_earlier, 0);
        on_rewritten(w, call);
        return;
    }
    (void)snprintf(w->last_query, sizeof w->last_query, "%.*s", (int)q->query.len,
                   (const char *)q->query.data);
    w->last_demands[0] = '\0';
    demand(w, 'p', q->phrases, q->n_phrases);
    demand(w, 'e', q->excluded, q->n_excluded);
    demand(w, 't', q->in_title, q->n_in_title);
    for (size_t i = 0; q->filter != NULL && i < q->filter->n_formats; i++) {
        demand(
            w, 'f',
            &(ProtobufCBinaryData){strlen(q->filter->formats[i]), (uint8_t *)q->filter->formats[i]},
            1);
    }
    if (w->hold_text) {
        w->held = call;
        return;
    }
    static const char *const ids[] = {"a", "c", "b"};
    Vs__TextHit hits[3], *list[3];
    for (size_t i = 0; i < 3; i++) {
        vs__text_hit__init(&hits[i]);
        hits[i].chunk = bytes(ids[i]);
        hits[i].content = text_of("content");
        hits[i].score = .9F - .3F * (float)i;
        hits[i].words = 2;
        hits[i].sdm = 2.5F;
        hits[i].char4 = 3;
        list[i] = &hits[i];
    }
    char *terms[] = {text_of("notic")};
    Vs__SearchTextReply reply = VS__SEARCH_TEXT_REPLY__INIT;
    reply.hits = list;
    bool none = strncmp((const char *)q->query.data, "nothing", 7) == 0 ||
                (q->n_phrases > 0 && strncmp((const char *)q->phrases[0].data, "un", 2) == 0);
    reply.n_hits = none ? 0 : 3;
    reply.upper_bound_share = .5F;
    reply.matched = 3;
    reply.encoder = text_of(w->encoder);
    reply.terms = terms;
    reply.n_terms = 1;
    vs_search_text_return(call, &reply);
}

static void on_text_cancel(struct rpc_call *call)
{
    struct world *w = rpc_call_service(call);
    w->text_cancelled = true;
    w->held = NULL;
    rpc_call_finish(call, STATUS_CANCELLED, NULL);
}

static void on_vector(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct world *w = rpc_call_service(call);
    const Vs__SearchVectorRequest *q = vs_search_vector_request(m);
    assert_non_null(q);
    w->vectors++;
    (void)snprintf(w->last_vector, sizeof w->last_vector, "%s", q->encoder);
    assert_int_equal(q->n_vector, 2);
    if (w->reject_vectors || strcmp(q->encoder, w->encoder) != 0) {
        rpc_call_finish(call, STATUS_NOT_FOUND, "no such encoder");
        return;
    }
    static const char *const ids[] = {"d", "b"};
    Vs__VectorHit hits[2], *list[2];
    for (size_t i = 0; i < 2; i++) {
        vs__vector_hit__init(&hits[i]);
        hits[i].chunk = bytes(ids[i]);
        hits[i].content = text_of("content");
        hits[i].cosine = .8F - .2F * (float)i;
        list[i] = &hits[i];
    }
    Vs__SearchVectorReply reply = VS__SEARCH_VECTOR_REPLY__INIT;
    reply.hits = list;
    reply.n_hits = 2;
    reply.encoder = q->encoder;
    vs_search_vector_return(call, &reply);
}

static void on_fetch(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct world *w = rpc_call_service(call);
    const Vs__FetchRequest *q = vs_fetch_request(m);
    assert_non_null(q);
    assert_true(q->n_chunks <= 4);
    if (q->widen > 0 && w->fail_widened) {
        rpc_call_finish(call, STATUS_UNAVAILABLE, "not today");
        return;
    }
    w->fetches++;
    w->last_widen = q->widen;
    w->last_fetched = q->n_chunks;
    Vs__Passage p[4], *list[4];
    char path[4][8];
    for (size_t i = 0; i < q->n_chunks; i++) {
        size_t k = (size_t)(q->chunks[i].data[0] - 'a');
        (void)snprintf(path[i], sizeof path[i], "%c.md", (char)('a' + (char)k));
        vs__passage__init(&p[i]);
        p[i].chunk = q->chunks[i];
        p[i].document = text_of("doc");
        p[i].path = bytes(path[i]);
        p[i].collection = p[i].format = p[i].content = text_of("x");
        p[i].label = text_of("");
        p[i].text = bytes(texts[k]);
        p[i].hash = bytes("hash");
        p[i].start = (uint32_t)k * 100;
        p[i].end = p[i].start + 100;
        if (q->widen > 0) { /* a with the one after it; d with nothing */
            p[i].end += k == 0 ? 100 : 0;
        }
        p[i].has_page = true;
        p[i].page = 3;
        list[i] = &p[i];
    }
    Vs__FetchReply reply = VS__FETCH_REPLY__INIT;
    reply.passages = list;
    reply.n_passages = q->n_chunks;
    vs_fetch_return(call, &reply);
}

static void on_status(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct world *w = rpc_call_service(call);
    assert_non_null(vs_status_request(m));
    w->statuses++;
    Vs__StatusReply reply = VS__STATUS_REPLY__INIT;
    reply.encoder = text_of(w->encoder);
    vs_status_return(call, &reply);
}

static void on_encode(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct world *w = rpc_call_service(call);
    const Em__EncodeRequest *q = em_encode_request(m);
    assert_non_null(q);
    w->encodes++;
    assert_int_equal(q->kind, EM__ENCODE_REQUEST__KIND__QUERY);
    assert_int_equal(q->n_texts, 1);
    (void)snprintf(w->last_encode, sizeof w->last_encode, "%s", q->encoder);
    float vector[2] = {.6F, .8F};
    Em__EncodeReply reply = EM__ENCODE_REPLY__INIT;
    reply.encoder = q->encoder;
    reply.dimensions = 2;
    reply.n_vectors = 2;
    reply.vectors = vector;
    em_encode_return(call, &reply);
}

/* Likes the canteen, then leave. */
static void on_rerank(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct world *w = rpc_call_service(call);
    const Em__RerankRequest *q = em_rerank_request(m);
    static const char *const model = "judge";
    float scores[64];
    assert_non_null(q);
    assert_true(q->n_passages <= 64 && q->n_titles == q->n_passages);
    w->reranks++;
    w->rerank_budget = q->budget_ms;
    (void)snprintf(w->rerank_query, sizeof w->rerank_query, "%.*s", (int)q->query.len,
                   (const char *)q->query.data);
    (void)snprintf(w->rerank_first, sizeof w->rerank_first, "%.*s", 10,
                   (const char *)q->passages[0].data);
    if (w->rerank_fails != STATUS_OK) {
        rpc_call_finish(call, w->rerank_fails, "no such model");
        return;
    }
    Em__RerankReply reply = EM__RERANK_REPLY__INIT;
    for (size_t i = 0; i < q->n_passages && i < w->rerank_time; i++) {
        static const float liked[] = {-1, 2, -2, 4};
        for (size_t k = 0; k < 4; k++) {
            if (q->passages[i].len == strlen(texts[k]) &&
                memcmp(q->passages[i].data, texts[k], q->passages[i].len) == 0) {
                scores[i] = liked[k];
            }
        }
        reply.n_scores = i + 1;
    }
    reply.model = reply.sha256 = text_of(model);
    reply.scores = scores;
    em_rerank_return(call, &reply);
}

static const struct rpc_handler store_handlers[] = {
    {.method = &vs_search_text_method, .on_request = on_text, .on_cancel = on_text_cancel},
    {.method = &vs_search_vector_method, .on_request = on_vector},
    {.method = &vs_fetch_method, .on_request = on_fetch},
    {.method = &vs_status_method, .on_request = on_status},
};
static const struct rpc_handler embed_handlers[] = {
    {.method = &em_encode_method, .on_request = on_encode},
    {.method = &em_rerank_method, .on_request = on_rerank},
};

static struct rpc_server *fake(struct world *w, enum peer self, const struct rpc_handler *handlers,
                               size_t n)
{
    char address[160];
    struct rpc_server *s = NULL;
    struct error err = {0};
    (void)snprintf(address, sizeof address, "unix:%s/run/%s.sock", w->service.home,
                   peer_name(self));
    assert_int_equal(
        rpc_server_new(&w->loop, &w->service.all[self], handlers, n, NULL, w, &s, &err), STATUS_OK);
    assert_int_equal(rpc_server_listen(s, address, &err), STATUS_OK);
    return s;
}

struct world *begin_with(bool store, bool embed, const char *yaml)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    one_service_home(&w->service, yaml);
    w->rerank_time = 64;
    w->encoder = "carrel-lsa-1";
    if (store) {
        w->store = fake(w, PEER_VECTORSTORE, store_handlers, 4);
    }
    if (embed) {
        w->embed = fake(w, PEER_EMBED, embed_handlers, 2);
    }
    one_service_start(&w->service, "carrel-retrieve", PEER_RETRIEVE, "retrieve.sock");
    w->serve = one_service_client(&w->service, &w->loop, PEER_SERVE, PEER_RETRIEVE);
    return w;
}

struct world *begin(bool store, bool embed)
{
    return begin_with(store, embed, "retrieve:\n  lsa_weight: 1\n");
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

void finish(struct world *w)
{
    bool client = false, store = w->store == NULL, embed = w->embed == NULL;
    rpc_client_close(w->serve, on_closed, &client);
    one_service_until(&w->loop, &client);
    one_service_stop(&w->service);
    if (!store) {
        rpc_server_close(w->store, on_closed, &store);
        one_service_until(&w->loop, &store);
    }
    if (!embed) {
        rpc_server_close(w->embed, on_closed, &embed);
        one_service_until(&w->loop, &embed);
    }
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
}

/* ---- one search ---- */

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct answer *a = data;
    const Rt__SearchReply *reply = rt_search_reply(m);
    assert_non_null(reply);
    for (size_t i = 0; i < reply->n_passages; i++) {
        const Rt__RankedPassage *p = reply->passages[i];
        a->order[i] = (char)p->passage->chunk.data[0];
        for (size_t k = 0; k < p->why->n_folded; k++) {
            (void)snprintf(a->folded, sizeof a->folded, "%s", p->why->folded[k]);
        }
        assert_true(p->score >= 0 && p->score <= 1);
    }
    if (reply->n_passages > 0) {
        a->first = reply->passages[0]->score;
        a->text_rank = reply->passages[0]->why->text_rank;
        a->dense_rank = reply->passages[0]->why->dense_rank;
        a->rank_before = reply->passages[0]->why->rank_before;
        a->rerank_score = reply->passages[0]->why->rerank_score;
        a->fused = reply->passages[0]->why->fused;
    }
    a->share = reply->upper_bound_share;
    a->reranked = reply->reranked;
    (void)snprintf(a->reranker, sizeof a->reranker, "%s",
                   reply->reranker == NULL ? "" : reply->reranker);
    if (reply->interpreted != NULL) {
        const Rt__Interpreted *i = reply->interpreted;
        (void)snprintf(a->interpreted, sizeof a->interpreted, "%.*s|%s|%s|%s", (int)i->text.len,
                       (const char *)i->text.data, i->n_phrases > 0 ? i->phrases[0] : "",
                       i->n_excluded > 0 ? i->excluded[0] : "",
                       i->n_filters > 0 ? i->filters[0] : "");
    }
    (void)snprintf(a->note, sizeof a->note, "%s", reply->n_notes > 0 ? reply->notes[0] : "");
    (void)snprintf(a->encoder, sizeof a->encoder, "%s", reply->encoder);
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct answer *a = data;
    a->error = *err;
    a->finished = true;
}

const struct rpc_callbacks callbacks = {.on_reply = on_reply, .on_finish = on_finish};

struct answer ask(struct world *w, const char *query, Rt__SearchRequest__Mode mode, bool no_fold,
                  uint32_t top_k)
{
    struct answer a = {.finished = false};
    char *collections[] = {text_of("default")};
    ProtobufCBinaryData earlier[] = {bytes("What about leave?")};
    Rt__SearchRequest q = RT__SEARCH_REQUEST__INIT;
    q.query = bytes(query);
    q.has_mode = q.has_no_fold = q.has_top_k = true;
    q.mode = mode;
    q.no_fold = no_fold;
    q.top_k = top_k;
    q.collections = collections;
    q.n_collections = 1;
    q.earlier = earlier;
    q.n_earlier = 1;
    q.has_no_rerank = q.no_rerank = w->no_rerank;
    q.has_widen = w->widen > 0;
    q.widen = w->widen;
    q.has_rewritten = w->rewritten != NULL;
    q.rewritten = bytes(w->rewritten == NULL ? "" : w->rewritten);
    struct rpc_options o = {.tenant = "main", .wait_for_ready = true, .timeout_ms = 60000};
    assert_non_null(rt_search(w->serve, &o, &q, &callbacks, &a));
    one_service_until(&w->loop, &a.finished);
    return a;
}
