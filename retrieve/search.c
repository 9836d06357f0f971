/* retrieve.Search, in the order things happen:
 *
 *   search_on_request -> vectorstore.SearchText  \
 *                        embed.Encode -> vectorstore.SearchVector  } at once
 *   both ended        -> fuse -> vectorstore.Fetch [-> embed.Rerank] -> fold [->
 * vectorstore.Explain]
 *                     -> reply
 *
 * The encoder's name comes from a cache of what the tenant last had; SearchText's reply corrects
 * it, and the dense side is then begun again (once). The dense side never fails a search: what was
 * missing is a note. */
#include "retrieve/search.h"

#include "base/clock.h"
#include "base/log.h"
#include "retrieve/rerank_ask.h"

#define TOP_K_MAX 200U
#define WIDEN_MAX 3U
#define QUERY_BYTES_MAX ((size_t)64 * 1024)
#define EARLIER_MAX 16
#define NOTES_MAX 5
/* A search does not wait longer than this for the question's vector. */
#define ENCODE_TIMEOUT_MS 2000U

enum side {
    SIDE_OFF, /* not part of this search, or ended without a result */
    SIDE_RUNNING,
    SIDE_DONE,
};

struct search {
    struct retrieve *r;
    struct rpc_call *call; /* NULL: a job */
    struct search_job job;
    const char *tenant;
    struct arena *a; /* the call's */
    struct rpc_options options;
    Rt__SearchRequest *request; /* our copy */
    Vs__Filter filter;
    Vs__SearchTextRequest ask; /* the query as read */
    uint32_t top_k, limit;
    int64_t started_us;

    enum side text, dense;
    enum side
        second; /* full text by the rewritten question: helps, and is never waited for in vain */
    struct fuse_hit *second_hits;
    struct text_hit *second_why;
    size_t n_second;
    float second_share;
    struct rpc_request *second_rpc;
    struct rpc_request *text_rpc, *dense_rpc, *fetch_rpc, *explain_rpc;
    char encoder[ENCODER_NAME_MAX]; /* of the dense side */
    bool dense_restarted;

    struct fuse_hit *text_hits, *dense_hits;
    struct text_hit *text_why;
    size_t n_text, n_dense;
    float *vector;
    size_t n_vector;
    struct fused *fused;
    size_t n_fused;
    Vs__FetchReply *fetched;
    struct rerank_ask rerank;
    Vs__ExplainReply *explained;
    Rt__SearchReply reply;
    char *notes[NOTES_MAX];
    char *dense_note; /* why the dense side gave nothing */
    struct error error;
};

static bool text_start(struct search *s);
static void dense_start(struct search *s);
static void sides_ended(struct search *s);

/* ---- ends ---- */

static void cancel(struct rpc_request **r)
{
    if (*r != NULL) {
        rpc_request_cancel(*r);
        *r = NULL;
    }
}

/* The only way out; s is gone afterwards. */
static void finish(struct search *s, enum status status)
{
    struct retrieve *r = s->r;
    cancel(&s->text_rpc);
    cancel(&s->second_rpc);
    cancel(&s->dense_rpc);
    cancel(&s->fetch_rpc);
    rerank_ask_stop(&s->rerank);
    cancel(&s->explain_rpc);
    r->searches++;
    int64_t took_us = clock_monotonic_us() - s->started_us;
    r->total_us += (uint64_t)took_us;
    LOG_DEBUG("search", LOG_STR("tenant", s->tenant), LOG_STR("status", status_name(status)),
              LOG_INT("dur_us", took_us), LOG_INT("passages", s->reply.n_passages), LOG_END);
    if (s->call == NULL) {
        s->error.code = status;
        s->job.done(s->job.data, &s->error, &s->reply);
    } else if (status == STATUS_OK) {
        rt_search_return(s->call, &s->reply);
    } else {
        r->failed += status != STATUS_CANCELLED;
        s->error.code = status;
        rpc_call_fail(s->call, &s->error);
    }
    retrieve_call_over(r);
}

static void fail(struct search *s, const struct error *err)
{
    s->error = *err;
    finish(s, err->code);
}

static void no_memory(struct search *s)
{
    finish(s, error_set(&s->error, STATUS_NO_MEMORY, "search: out of memory"));
}

static void note(struct search *s, char *text)
{
    if (text != NULL && s->reply.n_notes < NOTES_MAX) {
        s->notes[s->reply.n_notes++] = text;
    }
}

void search_on_cancel(struct rpc_call *call)
{
    struct search *s = *rpc_call_data(call);
    finish(s, error_set(&s->error, STATUS_CANCELLED, "search: the caller went away"));
}

/* ---- copies: messages are gone when their callback returns ---- */

static bool copy_bytes(struct arena *a, const void *p, size_t len, struct str *out)
{
    char *copy = arena_strndup(a, p == NULL ? "" : p, len);
    *out = (struct str){copy, len};
    return copy != NULL;
}

static ProtobufCMessage *copy_message(const ProtobufCMessage *m, struct arena *a)
{
    ProtobufCAllocator allocator;
    arena_protobuf(a, &allocator);
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = arena_alloc(a, len + 1);
    if (bytes == NULL) {
        return NULL;
    }
    protobuf_c_message_pack(m, bytes);
    return protobuf_c_message_unpack(m->descriptor, &allocator, len, bytes);
}

/* ---- full text ---- */

/* "tennant" -> "tenant, tenants", for the reply and, in words, for people. */
static bool copy_similar(struct search *s, const Vs__SearchTextReply *t)
{
    s->reply.similar = arena_array(s->a, t->n_similar + 1, sizeof(*s->reply.similar));
    s->reply.n_similar = 0;
    for (size_t i = 0; i < t->n_similar && s->reply.similar != NULL; i++) {
        Vs__Similar *copy = (Vs__Similar *)(void *)copy_message(&t->similar[i]->base, s->a);
        if (copy == NULL) {
            return false;
        }
        s->reply.similar[s->reply.n_similar++] = copy;
        char *line = NULL;
        for (size_t k = 0; k < copy->n_tried; k++) {
            line = k == 0
                       ? arena_printf(s->a, "no passage has \"%s\": searched for \"%s\"",
                                      copy->word, copy->tried[k])
                       : arena_printf(s->a, "%s, \"%s\"", line == NULL ? "" : line, copy->tried[k]);
        }
        note(s, line);
    }
    return s->reply.similar != NULL;
}

static void on_text_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    const Vs__SearchTextReply *t = vs_search_text_reply(m);
    if (t == NULL) {
        return;
    }
    s->text_hits = arena_array(s->a, t->n_hits + 1, sizeof(*s->text_hits));
    s->text_why = arena_array(s->a, t->n_hits + 1, sizeof(*s->text_why));
    s->reply.terms = arena_array(s->a, t->n_terms + 1, sizeof(char *));
    s->reply.encoder = arena_strdup(s->a, t->encoder);
    if (s->text_hits == NULL || s->text_why == NULL || s->reply.terms == NULL ||
        s->reply.encoder == NULL) {
        return;
    }
    for (size_t i = 0; i < t->n_hits; i++) {
        const Vs__TextHit *h = t->hits[i];
        s->text_hits[i].score = h->score;
        s->text_why[i] = (struct text_hit){h->words, h->sdm, h->char4};
        if (!copy_bytes(s->a, h->chunk.data, h->chunk.len, &s->text_hits[i].chunk)) {
            return;
        }
    }
    for (size_t i = 0; i < t->n_terms; i++) {
        s->reply.terms[i] = arena_strdup(s->a, t->terms[i]);
        if (s->reply.terms[i] == NULL) {
            return;
        }
    }
    s->reply.n_terms = t->n_terms;
    if (!copy_similar(s, t)) {
        return;
    }
    s->reply.upper_bound_share = t->upper_bound_share;
    s->reply.matched = t->matched;
    s->n_text = t->n_hits;
    s->text = SIDE_DONE;
}

static bool wants_dense(const struct search *s)
{
    const struct settings *settings = s->r->svc->settings;
    return s->request->mode == RT__SEARCH_REQUEST__MODE__DENSE ||
           (s->request->mode == RT__SEARCH_REQUEST__MODE__DEFAULT &&
            (settings->retrieve.lsa_weight > 0 || settings->retrieve.encoder_weight > 0));
}

static float encoder_weight(const struct search *s)
{
    const struct settings *settings = s->r->svc->settings;
    return fuse_encoder_weight(s->encoder, settings->retrieve.lsa_weight,
                               settings->retrieve.encoder_weight);
}

/* Nothing has the quoted words side by side: they are searched as words, and a note says so. */
static bool relax(struct search *s)
{
    if (s->ask.n_phrases == 0) {
        return false;
    }
    note(s, arena_strdup(s->a, "no passage has the quoted words side by side: searched as words"));
    s->ask.n_phrases = 0;
    s->reply.interpreted->n_phrases = 0;
    s->text = SIDE_OFF;
    if (!text_start(s)) {
        no_memory(s);
    }
    return true;
}

static void on_text_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->text_rpc = NULL;
    if (err->code != STATUS_OK) {
        fail(s, err);
        return;
    }
    if (s->text != SIDE_DONE) {
        no_memory(s);
        return;
    }
    if (s->n_text == 0 && relax(s)) {
        return;
    }
    const char *encoder = s->reply.encoder;
    encoder_learn(s->r, s->tenant, encoder);
    if (s->job.encoder == NULL && wants_dense(s) && strcmp(encoder, s->encoder) != 0 &&
        s->dense != SIDE_DONE && !s->dense_restarted && strlen(encoder) < ENCODER_NAME_MAX) {
        cancel(&s->dense_rpc);
        s->dense = SIDE_OFF;
        s->dense_restarted = true;
        memcpy(s->encoder, encoder, strlen(encoder) + 1);
        dense_start(s); /* may end the search */
        return;
    }
    sides_ended(s);
}

static bool text_start(struct search *s)
{
    Vs__SearchTextRequest q = s->ask;
    q.filter = &s->filter;
    q.limit = s->limit;
    q.has_mode = 1;
    q.mode = s->request->mode == RT__SEARCH_REQUEST__MODE__PLAIN_BM25
                 ? VS__SEARCH_TEXT_REQUEST__MODE__PLAIN_BM25
                 : VS__SEARCH_TEXT_REQUEST__MODE__DEFAULT;
    q.n_earlier = s->request->n_earlier;
    q.earlier = s->request->earlier;
    static const struct rpc_callbacks callbacks = {.on_reply = on_text_reply,
                                                   .on_finish = on_text_finish};
    struct rpc_client *c = service_client(s->r->svc, PEER_VECTORSTORE);
    s->text_rpc = c == NULL ? NULL : vs_search_text(c, &s->options, &q, &callbacks, s);
    s->text = SIDE_RUNNING;
    return s->text_rpc != NULL;
}

/* ---- the rewritten question ---- */

static bool rewritten(const struct search *s)
{
    return s->request->has_rewritten && s->request->rewritten.len > 0 &&
           s->request->mode != RT__SEARCH_REQUEST__MODE__PLAIN_BM25 && !interpret_demands(&s->ask);
}

static void on_second_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    const Vs__SearchTextReply *t = vs_search_text_reply(m);
    if (t == NULL) {
        return;
    }
    s->second_hits = arena_array(s->a, t->n_hits + 1, sizeof(*s->second_hits));
    s->second_why = arena_array(s->a, t->n_hits + 1, sizeof(*s->second_why));
    for (size_t i = 0; s->second_hits != NULL && s->second_why != NULL && i < t->n_hits; i++) {
        const Vs__TextHit *h = t->hits[i];
        s->second_hits[i].score = h->score;
        s->second_why[i] = (struct text_hit){h->words, h->sdm, h->char4};
        if (!copy_bytes(s->a, h->chunk.data, h->chunk.len, &s->second_hits[i].chunk)) {
            return;
        }
        s->n_second = i + 1;
    }
    s->second_share = t->upper_bound_share;
}

static void on_second_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->second_rpc = NULL;
    s->second = SIDE_DONE;
    if (err->code != STATUS_OK) {
        s->n_second = 0;
    }
    sides_ended(s);
}

static bool second_start(struct search *s)
{
    Vs__SearchTextRequest q = VS__SEARCH_TEXT_REQUEST__INIT;
    q.query = s->request->rewritten;
    q.filter = &s->filter;
    q.limit = s->limit;
    static const struct rpc_callbacks callbacks = {.on_reply = on_second_reply,
                                                   .on_finish = on_second_finish};
    struct rpc_client *c = service_client(s->r->svc, PEER_VECTORSTORE);
    s->second_rpc = c == NULL ? NULL : vs_search_text(c, &s->options, &q, &callbacks, s);
    s->second = SIDE_RUNNING;
    return s->second_rpc != NULL;
}

/* Both questions' lists become one, half each. */
static bool join_second(struct search *s)
{
    if (s->n_second == 0) {
        return true;
    }
    struct fused *f = NULL;
    size_t n = 0;
    if (fuse(s->text_hits, s->n_text, s->second_hits, s->n_second, .5F, s->a, &f, &n, &s->error) !=
        STATUS_OK) {
        return false;
    }
    struct fuse_hit *hits = arena_array(s->a, n + 1, sizeof(*hits));
    struct text_hit *why = arena_array(s->a, n + 1, sizeof(*why));
    if (hits == NULL || why == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        hits[i] = (struct fuse_hit){.chunk = f[i].chunk, .score = f[i].score};
        why[i] = f[i].dense_rank > 0 ? s->second_why[f[i].dense_rank - 1]
                                     : s->text_why[f[i].text_rank - 1];
    }
    s->text_hits = hits;
    s->text_why = why;
    s->n_text = n;
    s->n_second = 0;
    if (s->second_share > s->reply.upper_bound_share) {
        s->reply.upper_bound_share = s->second_share;
    }
    return true;
}

/* ---- dense ---- */

/* Without vectors the search goes on, unless they were all that was asked for. */
static void dense_failed(struct search *s, const char *what, const struct error *err)
{
    s->dense = SIDE_OFF;
    if (s->request->mode == RT__SEARCH_REQUEST__MODE__DENSE) {
        fail(s, err);
        return;
    }
    bool down = err->code == STATUS_UNAVAILABLE || err->code == STATUS_DEADLINE;
    s->dense_note = down
                        ? arena_strdup(s->a, what)
                        : arena_printf(s->a, "vector search failed, full-text only: %s", err->text);
    sides_ended(s);
}

static void on_vector_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    const Vs__SearchVectorReply *v = vs_search_vector_reply(m);
    if (v == NULL) {
        return;
    }
    s->dense_hits = arena_array(s->a, v->n_hits + 1, sizeof(*s->dense_hits));
    if (s->dense_hits == NULL) {
        return;
    }
    for (size_t i = 0; i < v->n_hits; i++) {
        s->dense_hits[i].score = v->hits[i]->cosine;
        if (!copy_bytes(s->a, v->hits[i]->chunk.data, v->hits[i]->chunk.len,
                        &s->dense_hits[i].chunk)) {
            return;
        }
    }
    s->n_dense = v->n_hits;
    s->dense = SIDE_DONE;
}

static void on_vector_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->dense_rpc = NULL;
    if (err->code != STATUS_OK) {
        dense_failed(s, "vector search does not answer: full-text only", err);
    } else if (s->dense != SIDE_DONE) {
        no_memory(s);
    } else {
        sides_ended(s);
    }
}

static void on_encode_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    const Em__EncodeReply *e = em_encode_reply(m);
    if (e == NULL || e->n_vectors == 0) {
        return;
    }
    s->vector = arena_array(s->a, e->n_vectors, sizeof(float));
    if (s->vector != NULL) {
        memcpy(s->vector, e->vectors, e->n_vectors * sizeof(float));
        s->n_vector = e->n_vectors;
    }
}

static bool all_zero(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i] > 0 || v[i] < 0) {
            return false;
        }
    }
    return true;
}

static void on_encode_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->dense_rpc = NULL;
    if (err->code != STATUS_OK) {
        dense_failed(s, "embed is down: full-text only", err);
        return;
    }
    if (s->vector == NULL || all_zero(s->vector, s->n_vector)) {
        s->dense = SIDE_DONE; /* none of the question's words is in the encoder's vocabulary */
        sides_ended(s);
        return;
    }
    Vs__SearchVectorRequest q = VS__SEARCH_VECTOR_REQUEST__INIT;
    q.encoder = s->encoder;
    q.n_vector = s->n_vector;
    q.vector = s->vector;
    q.filter = &s->filter;
    q.limit = s->limit;
    static const struct rpc_callbacks callbacks = {.on_reply = on_vector_reply,
                                                   .on_finish = on_vector_finish};
    struct rpc_client *c = service_client(s->r->svc, PEER_VECTORSTORE);
    s->dense_rpc = c == NULL ? NULL : vs_search_vector(c, &s->options, &q, &callbacks, s);
    if (s->dense_rpc == NULL) {
        no_memory(s);
    }
}

/* With s->encoder set; "": there is nothing to do. May end the search. */
static void dense_start(struct search *s)
{
    bool weightless =
        s->request->mode == RT__SEARCH_REQUEST__MODE__DEFAULT && !(encoder_weight(s) > 0);
    if (s->encoder[0] == '\0' || weightless) {
        s->dense = SIDE_OFF;
        sides_ended(s);
        return;
    }
    Em__EncodeRequest q = EM__ENCODE_REQUEST__INIT;
    q.encoder = s->encoder;
    q.kind = EM__ENCODE_REQUEST__KIND__QUERY;
    q.n_texts = 1;
    q.texts = rewritten(s) ? &s->request->rewritten : &s->ask.query;
    struct rpc_options options = s->options;
    if (s->request->mode != RT__SEARCH_REQUEST__MODE__DENSE &&
        (options.timeout_ms == 0 || options.timeout_ms > ENCODE_TIMEOUT_MS)) {
        options.timeout_ms = ENCODE_TIMEOUT_MS;
    }
    static const struct rpc_callbacks callbacks = {.on_reply = on_encode_reply,
                                                   .on_finish = on_encode_finish};
    struct rpc_client *c = service_client(s->r->svc, PEER_EMBED);
    s->vector = NULL;
    s->dense_note = NULL;
    s->dense_rpc = c == NULL ? NULL : em_encode(c, &options, &q, &callbacks, s);
    s->dense = SIDE_RUNNING;
    if (s->dense_rpc == NULL) {
        no_memory(s);
    }
}

/* ---- which encoder, for searches by vector alone ---- */

static void on_status_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    const Vs__StatusReply *v = vs_status_reply(m);
    if (v != NULL && strlen(v->encoder) < ENCODER_NAME_MAX) {
        memcpy(s->encoder, v->encoder, strlen(v->encoder) + 1);
        s->reply.encoder = arena_strdup(s->a, v->encoder);
        encoder_learn(s->r, s->tenant, v->encoder);
    }
}

static void on_status_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->dense_rpc = NULL;
    if (err->code != STATUS_OK) {
        fail(s, err);
    } else if (s->reply.encoder == NULL) {
        no_memory(s);
    } else {
        if (s->encoder[0] == '\0') {
            note(s,
                 arena_strdup(s->a, "no encoder is fitted yet: nothing can be found by vectors"));
        }
        dense_start(s);
    }
}

static bool status_start(struct search *s)
{
    Vs__StatusRequest q = VS__STATUS_REQUEST__INIT;
    static const struct rpc_callbacks callbacks = {.on_reply = on_status_reply,
                                                   .on_finish = on_status_finish};
    struct rpc_client *c = service_client(s->r->svc, PEER_VECTORSTORE);
    s->dense_rpc = c == NULL ? NULL : vs_status(c, &s->options, &q, &callbacks, s);
    s->dense = SIDE_RUNNING;
    return s->dense_rpc != NULL;
}

/* ---- fuse, fetch, fold ---- */

/* ---- the reasons, when they are asked for ---- */

static void on_explain_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    s->explained = (Vs__ExplainReply *)(void *)copy_message(m, s->a);
}

static void on_explain_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->explain_rpc = NULL;
    if (err->code != STATUS_OK) {
        fail(s, err);
        return;
    }
    if (s->explained == NULL) {
        no_memory(s);
        return;
    }
    finish(s, explain_fill(s->explained, s->request->why_not != NULL, s->dense_hits, s->n_dense,
                           s->a, &s->reply, &s->error));
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
        no_memory(s);
        return;
    }
    for (size_t i = 0; i < s->reply.n_passages; i++) {
        q.chunks[q.n_chunks++] = s->reply.passages[i]->passage->chunk;
    }
    s->explain_rpc = c == NULL ? NULL : vs_explain(c, &s->options, &q, &callbacks, s);
    if (s->explain_rpc == NULL) {
        no_memory(s);
    }
}

static void explain_or_finish(struct search *s, enum status status)
{
    if (status == STATUS_OK && s->request->has_explain && s->request->explain) {
        explain(s);
    } else {
        finish(s, status);
    }
}

static void on_fetch_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct search *s = data;
    if (vs_fetch_reply(m) != NULL) {
        s->fetched = (Vs__FetchReply *)(void *)copy_message(m, s->a);
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
        note(s, arena_strdup(s->a,
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
        no_memory(s);
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
        no_memory(s);
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
    note(s, ask->note);
    s->reply.reranker = ask->model;
    s->reply.has_reranked = ask->model != NULL;
    s->reply.reranked = ask->n_reranked;
    answer(s);
}

static void rerank_start(struct search *s)
{
    s->rerank = (struct rerank_ask){.r = s->r,
                                    .a = s->a,
                                    .options = &s->options,
                                    .spent_ms = (clock_monotonic_us() - s->started_us) / 1000,
                                    .query = rewritten(s) ? s->request->rewritten : s->ask.query,
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
        fail(s, err);
        return;
    }
    if (s->fetched == NULL) {
        no_memory(s);
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
static void sides_ended(struct search *s)
{
    if (s->text == SIDE_RUNNING || s->second == SIDE_RUNNING || s->dense == SIDE_RUNNING) {
        return;
    }
    if (!join_second(s)) {
        no_memory(s);
        return;
    }
    if (s->dense == SIDE_OFF && s->dense_note != NULL && s->call == NULL) {
        /* a job measures what it was asked to, or nothing */
        finish(s, error_set(&s->error, STATUS_UNAVAILABLE, "encoder %s: %s", s->encoder,
                            s->dense_note));
        return;
    }
    if (s->dense == SIDE_OFF && s->dense_note != NULL) {
        note(s, s->dense_note);
        s->r->without_dense++;
    }
    if (interpret_demands(&s->ask)) {
        keep_demanded(s);
    }
    float weight = fuse_weight(encoder_weight(s), s->reply.upper_bound_share);
    bool some = s->dense == SIDE_DONE && s->n_dense > 0;
    enum status status = fuse(s->text_hits, s->n_text, s->dense_hits, some ? s->n_dense : 0, weight,
                              s->a, &s->fused, &s->n_fused, &s->error);
    if (status != STATUS_OK) {
        finish(s, status);
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
        no_memory(s);
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
        no_memory(s);
    }
}

/* ---- start ---- */

static enum status check(const char *tenant, const Rt__SearchRequest *q, struct error *err)
{
    if (tenant[0] == '\0') {
        return error_set(err, STATUS_INVALID, "search: the call names no tenant");
    }
    if (q->query.len == 0) {
        return error_set(err, STATUS_INVALID, "search: the query is empty");
    }
    if (q->query.len > QUERY_BYTES_MAX) {
        return error_set(err, STATUS_TOO_LARGE,
                         "search: a query of %zu bytes; at most %zu are taken", q->query.len,
                         QUERY_BYTES_MAX);
    }
    if (q->n_earlier > EARLIER_MAX || q->n_collections > 256) {
        return error_set(
            err, STATUS_TOO_LARGE,
            "search: %zu earlier turns and %zu collections; at most %d and 256 are taken",
            q->n_earlier, q->n_collections, EARLIER_MAX);
    }
    for (size_t i = 0; i < q->n_earlier; i++) {
        if (q->earlier[i].len > QUERY_BYTES_MAX) {
            return error_set(err, STATUS_TOO_LARGE, "search: an earlier turn of %zu bytes",
                             q->earlier[i].len);
        }
    }
    if (q->filter != NULL && q->filter->n_collections > 0 && q->n_collections > 0) {
        return error_set(err, STATUS_INVALID, "search: collections in the filter and beside it");
    }
    if (q->widen > WIDEN_MAX) {
        return error_set(err, STATUS_INVALID, "search: widen is %u; at most %u is possible",
                         q->widen, WIDEN_MAX);
    }
    if (q->top_k > TOP_K_MAX) {
        return error_set(err, STATUS_INVALID, "search: top_k is %u; at most %u is possible",
                         q->top_k, TOP_K_MAX);
    }
    return STATUS_OK;
}

/* Fills *s, but for its call, options and tenant. */
static void prepare(struct search *s, struct retrieve *r, struct arena *a, Rt__SearchRequest *copy)
{
    static char none[] = "";
    const struct settings *settings = r->svc->settings;
    *s =
        (struct search){.r = r,
                        .a = a,
                        .request = copy,
                        .filter = VS__FILTER__INIT,
                        .reply = RT__SEARCH_REPLY__INIT,
                        .top_k = copy->top_k > 0 ? copy->top_k : (uint32_t)settings->retrieve.top_k,
                        .limit = (uint32_t)settings->retrieve.candidates,
                        .started_us = clock_monotonic_us()};
    s->reply.encoder = copy->mode == RT__SEARCH_REQUEST__MODE__DENSE ? NULL : none;
    s->reply.notes = s->notes;
    s->limit = s->limit < s->top_k ? s->top_k : s->limit;
    if (copy->filter != NULL) {
        s->filter = *copy->filter;
    }
    if (s->filter.n_collections == 0) {
        s->filter.n_collections = copy->n_collections;
        s->filter.collections = copy->collections;
    }
}

/* The query is read; ends the search where nothing can be done. */
static void begin(struct search *s, bool impossible)
{
    static char none[] = "";
    bool started;
    s->r->n_calls++;
    if (impossible) {
        note(s, arena_strdup(s->a, "nothing can be found: the conditions exclude each other"));
        s->reply.encoder = none;
        finish(s, STATUS_OK);
        return;
    }
    if (s->request->mode == RT__SEARCH_REQUEST__MODE__DENSE && s->job.encoder == NULL) {
        started = status_start(s);
    } else {
        started = s->request->mode == RT__SEARCH_REQUEST__MODE__DENSE ||
                  (text_start(s) && (!rewritten(s) || second_start(s)));
        const char *known =
            s->job.encoder != NULL ? s->job.encoder : encoder_known(s->r, s->tenant);
        if (started && wants_dense(s) && known[0] != '\0' && strlen(known) < ENCODER_NAME_MAX) {
            memcpy(s->encoder, known, strlen(known) + 1);
            dense_start(s); /* text is running: ends the search only without memory */
            return;
        }
    }
    if (!started) {
        no_memory(s);
    }
}

struct search *search_start(struct retrieve *r, const struct search_job *job, struct error *err)
{
    struct search *s = arena_alloc(job->a, sizeof(*s));
    Rt__SearchRequest *copy =
        (Rt__SearchRequest *)(void *)copy_message(&job->request->base, job->a);
    bool impossible = false;
    if (s == NULL || copy == NULL) {
        (void)error_set(err, STATUS_NO_MEMORY, "search: out of memory");
        return NULL;
    }
    if (check(job->options.tenant, copy, err) != STATUS_OK) {
        return NULL;
    }
    prepare(s, r, job->a, copy);
    s->job = *job;
    s->tenant = job->options.tenant;
    s->options = job->options;
    if (interpret(r->text, copy, job->a, &s->filter, &s->ask, &s->reply.interpreted, &impossible,
                  err) != STATUS_OK) {
        return NULL;
    }
    begin(s, impossible);
    return s;
}

void search_cancel(struct search *s)
{
    finish(s, error_set(&s->error, STATUS_CANCELLED, "search: it was stopped"));
}

void search_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct retrieve *r = service_state(call);
    const Rt__SearchRequest *q = rt_search_request(m);
    struct arena *a = rpc_call_arena(call);
    struct search *s = arena_alloc(a, sizeof(*s));
    struct error err = {.code = STATUS_OK};
    Rt__SearchRequest *copy = NULL;
    if (r == NULL || r->stopping) {
        (void)error_set(&err, STATUS_UNAVAILABLE, "retrieve is stopping");
    } else if (q == NULL) {
        (void)error_set(&err, STATUS_INVALID, "search: no request");
    } else if (check(rpc_call_tenant(call), q, &err) == STATUS_OK) {
        copy = (Rt__SearchRequest *)(void *)copy_message(m, a);
        if (s == NULL || copy == NULL) {
            (void)error_set(&err, STATUS_NO_MEMORY, "search: out of memory");
        }
    }
    if (err.code != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    prepare(s, r, a, copy);
    s->call = call;
    s->tenant = rpc_call_tenant(call);
    rpc_options_from_call(call, &s->options);
    bool impossible = false;
    if (interpret(r->text, copy, a, &s->filter, &s->ask, &s->reply.interpreted, &impossible,
                  &err) != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    *rpc_call_data(call) = s;
    begin(s, impossible);
}
