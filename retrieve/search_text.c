/* The full-text side of a search, and that of the rewritten question. */
#include "retrieve/search_internal.h"

/* ---- full text ---- */

/* "tennant" -> "tenant, tenants", for the reply and, in words, for people. */
static bool copy_similar(struct search *s, const Vs__SearchTextReply *t)
{
    s->reply.similar = arena_array(s->a, t->n_similar + 1, sizeof(*s->reply.similar));
    s->reply.n_similar = 0;
    for (size_t i = 0; i < t->n_similar && s->reply.similar != NULL; i++) {
        Vs__Similar *copy = (Vs__Similar *)(void *)search_copy_message(&t->similar[i]->base, s->a);
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
        search_note(s, line);
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
        if (!search_copy(s->a, h->chunk.data, h->chunk.len, &s->text_hits[i].chunk)) {
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

bool search_wants_dense(const struct search *s)
{
    const struct settings *settings = s->r->svc->settings;
    return s->request->mode == RT__SEARCH_REQUEST__MODE__DENSE ||
           (s->request->mode == RT__SEARCH_REQUEST__MODE__DEFAULT &&
            (settings->retrieve.lsa_weight > 0 || settings->retrieve.encoder_weight > 0));
}

float search_encoder_weight(const struct search *s)
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
    search_note(
        s, arena_strdup(s->a, "no passage has the quoted words side by side: searched as words"));
    s->ask.n_phrases = 0;
    s->reply.interpreted->n_phrases = 0;
    s->text = SIDE_OFF;
    if (!search_text_start(s)) {
        search_no_memory(s);
    }
    return true;
}

static void on_text_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct search *s = data;
    s->text_rpc = NULL;
    if (err->code != STATUS_OK) {
        search_fail(s, err);
        return;
    }
    if (s->text != SIDE_DONE) {
        search_no_memory(s);
        return;
    }
    if (s->n_text == 0 && relax(s)) {
        return;
    }
    const char *encoder = s->reply.encoder;
    encoder_learn(s->r, s->tenant, encoder);
    if (s->job.encoder == NULL && search_wants_dense(s) && strcmp(encoder, s->encoder) != 0 &&
        s->dense != SIDE_DONE && !s->dense_restarted && strlen(encoder) < ENCODER_NAME_MAX) {
        search_drop(&s->dense_rpc);
        s->dense = SIDE_OFF;
        s->dense_restarted = true;
        memcpy(s->encoder, encoder, strlen(encoder) + 1);
        search_dense_start(s); /* may end the search */
        return;
    }
    search_sides_ended(s);
}

bool search_text_start(struct search *s)
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

bool search_rewritten(const struct search *s)
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
        if (!search_copy(s->a, h->chunk.data, h->chunk.len, &s->second_hits[i].chunk)) {
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
    search_sides_ended(s);
}

bool search_second_start(struct search *s)
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
bool search_join_second(struct search *s)
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
