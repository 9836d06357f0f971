/* The dense side: the question to a vector, the vector to passages. It never fails a search: what
 * was missing is a note. */
#include "retrieve/search_internal.h"

/* A search does not wait longer than this for the question's vector. */
#define ENCODE_TIMEOUT_MS 2000U

/* ---- dense ---- */

/* Without vectors the search goes on, unless they were all that was asked for. */
static void dense_failed(struct search *s, const char *what, const struct error *err)
{
    s->dense = SIDE_OFF;
    if (s->request->mode == RT__SEARCH_REQUEST__MODE__DENSE) {
        search_fail(s, err);
        return;
    }
    bool down = err->code == STATUS_UNAVAILABLE || err->code == STATUS_DEADLINE;
    s->dense_note = down
                        ? arena_strdup(s->a, what)
                        : arena_printf(s->a, "vector search failed, full-text only: %s", err->text);
    search_sides_ended(s);
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
        if (!search_copy(s->a, v->hits[i]->chunk.data, v->hits[i]->chunk.len,
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
        search_no_memory(s);
    } else {
        search_sides_ended(s);
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
    s->reply.encoder_model = e->model == NULL ? NULL : arena_strdup(s->a, e->model);
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
        search_sides_ended(s);
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
        search_no_memory(s);
    }
}

/* With s->encoder set; "": there is nothing to do. May end the search. */
void search_dense_start(struct search *s)
{
    bool weightless =
        s->request->mode == RT__SEARCH_REQUEST__MODE__DEFAULT && !(search_encoder_weight(s) > 0);
    if (s->encoder[0] == '\0' || weightless) {
        s->dense = SIDE_OFF;
        search_sides_ended(s);
        return;
    }
    Em__EncodeRequest q = EM__ENCODE_REQUEST__INIT;
    q.encoder = s->encoder;
    q.kind = EM__ENCODE_REQUEST__KIND__QUERY;
    q.n_texts = 1;
    q.texts = search_rewritten(s) ? &s->request->rewritten : &s->ask.query;
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
        search_no_memory(s);
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
        search_fail(s, err);
    } else if (s->reply.encoder == NULL) {
        search_no_memory(s);
    } else {
        if (s->encoder[0] == '\0') {
            search_note(
                s, arena_strdup(s->a, "no encoder is fitted yet: nothing can be found by vectors"));
        }
        search_dense_start(s);
    }
}

bool search_encoder_start(struct search *s)
{
    Vs__StatusRequest q = VS__STATUS_REQUEST__INIT;
    static const struct rpc_callbacks callbacks = {.on_reply = on_status_reply,
                                                   .on_finish = on_status_finish};
    struct rpc_client *c = service_client(s->r->svc, PEER_VECTORSTORE);
    s->dense_rpc = c == NULL ? NULL : vs_status(c, &s->options, &q, &callbacks, s);
    s->dense = SIDE_RUNNING;
    return s->dense_rpc != NULL;
}
