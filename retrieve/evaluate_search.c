/* Questions asked in every configuration, judged, and the figures stored. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/map.h"
#include "retrieve/evaluate_internal.h"

#define TOP_K 20U

static void next_search(struct evaluation *e);

/* ---- storing ---- */

struct storing {
    struct evaluation *e;
    struct error error;
};

static const char *mode_name(const Rt__Configuration *c)
{
    static const char *const names[] = {"default", "bm25", "dense", "text"};
    if (c != NULL && c->no_rerank && c->mode == RT__SEARCH_REQUEST__MODE__DEFAULT) {
        return "fused";
    }
    return c != NULL && c->has_mode && (unsigned)c->mode < 4 ? names[c->mode] : names[0];
}

static const Rt__Configuration *configuration(const struct evaluation *e, size_t i)
{
    return i < e->request->n_configurations ? e->request->configurations[i] : NULL;
}

static const char *encoder_of(const struct evaluation *e, size_t i)
{
    const Rt__Configuration *c = configuration(e, i);
    return c != NULL && c->encoder != NULL && c->encoder[0] != '\0' ? c->encoder : e->published;
}

static void store_work(void *job)
{
    struct storing *s = job;
    struct evaluation *e = s->e;
    enum status st = STATUS_OK;
    for (size_t i = 0; i < e->n_configurations && st == STATUS_OK; i++) {
        struct eval_run run = {.at_wall_ms = clock_wall_ms(),
                               .generation = e->generation,
                               .encoder = encoder_of(e, i),
                               .mode = mode_name(configuration(e, i)),
                               .settings = e->settings[i],
                               .documents = (uint32_t)e->used_documents,
                               .results = e->results[i],
                               .n = e->n_asked};
        st = eval_db_add(e->all->r->svc->home, e->tenant, &run, &s->error);
    }
    s->error.code = st;
}

static void store_done(void *job)
{
    struct storing *s = job;
    struct error err = s->error;
    evaluation_over(s->e, err.code == STATUS_OK ? NULL : &err);
}

/* What ranks, apart from the encoder, and what makes the passages: a change of it is a change of
 * configuration. */
static char *settings_digest(struct evaluation *e)
{
    const struct settings *s = e->all->r->svc->settings;
    char *all = arena_printf(&e->arena, "%g %g %s %lld %lld %u %lld %lld %lld",
                             s->retrieve.lsa_weight, s->retrieve.encoder_weight, s->reranker.model,
                             (long long)s->reranker.candidates, (long long)s->retrieve.candidates,
                             (unsigned)TEXT_ANALYZER_VERSION, (long long)s->chunk.target_words,
                             (long long)s->chunk.max_words, (long long)s->chunk.target_cjk_chars);
    return all == NULL ? NULL : arena_printf(&e->arena, "%08x", (unsigned)hash64(all, strlen(all)));
}

static void store_all(struct evaluation *e)
{
    struct error err;
    struct storing *s = arena_alloc(&e->arena, sizeof *s);
    for (size_t i = 0; i < e->n_configurations && s != NULL; i++) {
        e->settings[i] = settings_digest(e);
        s = e->settings[i] == NULL ? NULL : s;
    }
    if (s == NULL) {
        evaluation_no_memory(e);
        return;
    }
    s->e = e;
    if (lane_submit(&e->all->lane, store_work, store_done, s, &err) != STATUS_OK) {
        evaluation_over(e, &err);
    }
}

/* ---- searching ---- */

static bool is_bad(const struct asked *q, uint64_t hash)
{
    for (size_t i = 0; i < q->n_bad; i++) {
        if (q->bad[i] == hash) {
            return true;
        }
    }
    return false;
}

/* The unit that a passage answers; n_units: none. */
static size_t unit_of(const struct asked *q, const Vs__Passage *p)
{
    uint64_t hash = evaluation_passage_hash(p->hash);
    for (size_t i = 0; i < q->n_passages; i++) {
        if (q->passages[i] == hash) {
            return 0;
        }
    }
    for (size_t i = 0; i < q->n_documents && !is_bad(q, hash); i++) {
        if (strcmp(q->documents[i], p->document) == 0) {
            return i;
        }
    }
    return JUDGED_DOCUMENTS;
}

static void judge(const struct asked *q, const Rt__SearchReply *reply, struct measured *out)
{
    uint32_t ranks[JUDGED_DOCUMENTS + 1] = {0};
    for (size_t i = 0; i < reply->n_passages; i++) {
        size_t unit = unit_of(q, reply->passages[i]->passage);
        if (ranks[unit] == 0) {
            ranks[unit] = (uint32_t)i + 1;
        }
    }
    measure(ranks, q->n_documents > 0 ? q->n_documents : 1, out);
}

static void on_searched(void *data, const struct error *err, const Rt__SearchReply *reply)
{
    struct evaluation *e = data;
    e->search = NULL;
    if (err->code != STATUS_OK || e->stopped) {
        struct error copy = *err;
        if (copy.code == STATUS_OK) {
            (void)error_set(&copy, STATUS_CANCELLED, "it was stopped");
        }
        evaluation_over(e, &copy);
        return;
    }
    const struct asked *q = &e->asked[e->at_question];
    struct eval_result *r = &e->results[e->at_configuration][e->at_question];
    *r = (struct eval_result){.key = q->key, .collection = q->collection};
    judge(q, reply, &r->m);
    if (++e->at_question == e->n_asked) {
        e->at_question = 0;
        e->at_configuration++;
    }
    arena_reset(&e->step);
    next_search(e);
}

static void next_search(struct evaluation *e)
{
    struct error err;
    if (e->at_configuration == e->n_configurations) {
        store_all(e);
        return;
    }
    const Rt__Configuration *c = configuration(e, e->at_configuration);
    struct str text = str_from(e->asked[e->at_question].text);
    Rt__SearchRequest q = RT__SEARCH_REQUEST__INIT;
    q.query = (ProtobufCBinaryData){.len = text.len, .data = (uint8_t *)(uintptr_t)text.ptr};
    q.has_literal = q.literal = 1;
    q.has_top_k = 1;
    q.top_k = TOP_K;
    q.has_mode = c != NULL && c->has_mode;
    q.mode = q.has_mode ? c->mode : RT__SEARCH_REQUEST__MODE__DEFAULT;
    q.has_no_rerank = c != NULL && c->has_no_rerank;
    q.no_rerank = q.has_no_rerank && c->no_rerank;
    struct search_job job = {.options = evaluation_options(e),
                             .request = &q,
                             .encoder = encoder_of(e, e->at_configuration),
                             .a = &e->step,
                             .done = on_searched,
                             .data = e};
    struct search *s = search_start(e->all->r, &job, &err);
    if (s == NULL) {
        evaluation_over(e, &err);
    } else if (e->running) { /* else it failed at once */
        e->search = s;
    }
}

void evaluation_search(struct evaluation *e)
{
    struct error err;
    if (e->n_asked == 0) {
        (void)error_set(&err, STATUS_NOT_FOUND,
                        "no questions could be made: are there documents with text?");
        evaluation_over(e, &err);
        return;
    }
    for (size_t i = 0; i < e->n_configurations; i++) {
        const Rt__Configuration *c = configuration(e, i);
        if (c != NULL && c->mode == RT__SEARCH_REQUEST__MODE__DENSE &&
            encoder_of(e, i)[0] == '\0') {
            (void)error_set(&err, STATUS_CONFLICT,
                            "no encoder is fitted yet: nothing can be found by vectors");
            evaluation_over(e, &err);
            return;
        }
        e->results[i] = arena_array(&e->arena, e->n_asked, sizeof *e->results[i]);
        if (e->results[i] == NULL) {
            evaluation_no_memory(e);
            return;
        }
    }
    e->at_question = e->at_configuration = 0;
    arena_reset(&e->step);
    next_search(e);
}
