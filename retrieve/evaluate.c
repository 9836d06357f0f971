/* retrieve.Evaluate. START answers at once; then, in the background, one step after another:
 *
 *   vectorstore.Status                 generation and published encoder
 *   vectorstore.List                   which documents: those whose ids have the lowest hashes, so
 *                                      that most are the same ones the next time
 *   vectorstore.GetText, each          its passages -> questions (questions.h)
 *   generate.Chat, make_question       one more a document, by the local model where there is one
 *   one search a question, each        for every configuration, with the same questions
 *   eval_db_add, each configuration    on the lane
 *
 * One search is under way at a time and is marked as background, so that people do not wait for it.
 * What was made of documents' text is in memory only, and gone when the run ends. */
#include "retrieve/evaluate.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lane.h"
#include "base/log.h"
#include "base/map.h"
#include "retrieve/eval_db.h"
#include "retrieve/question_ask.h"

#define AT_ONCE 4U
#define CONFIGURATIONS_MAX 4U
#define DOCUMENTS_MAX 400U
#define QUESTIONS_MIN 10U
#define QUESTIONS_MAX 1000U
#define QUESTIONS_DEFAULT 300U
#define MODEL_QUESTIONS_MAX 60U  /* of a run: each takes a model seconds */
#define MODEL_PASSAGE_LEAST 120U /* bytes: less says too little to ask about */
#define JUDGED_MAX 200U
#define JUDGED_DOCUMENTS 20U
#define PASSAGES_MAX 512U /* of one document */
#define RUN_BYTES ((size_t)64 * 1024 * 1024)
#define STEP_BYTES ((size_t)32 * 1024 * 1024)
#define TOP_K 20U

/* A question with what answers it. */
struct asked {
    uint64_t key;
    const char *text;
    const char *collection;
    const uint64_t *passages; /* hashes of the passages that answer; one unit */
    size_t n_passages;
    char **documents; /* of a person's: each a unit */
    size_t n_documents;
    const uint64_t *bad; /* hashes of passages that do not count */
    size_t n_bad;
};

struct sampled {
    uint64_t order;
    const char *id, *title, *collection;
};

struct evaluation {
    struct evaluations *all;
    char tenant[65];
    bool running, stopped;
    struct error error; /* of the last one */
    struct arena arena, step;
    Rt__EvaluateRequest *request; /* ours */
    struct rpc_request *rpc;
    struct search *search;
    uint64_t generation;
    char *published;
    struct sampled documents[DOCUMENTS_MAX];
    size_t n_documents, at_document, used_documents;
    struct question_passage *passages; /* of the document being read */
    uint64_t *hashes;
    size_t n_passages;
    struct question_ask ask;
    size_t asked_passage, n_modelled; /* the passage asked about; questions the model made */
    bool no_model;
    struct asked *asked;
    size_t n_asked, max_asked;
    struct eval_result *results[CONFIGURATIONS_MAX];
    char *settings[CONFIGURATIONS_MAX];
    size_t n_configurations, at_configuration, at_question;
};

struct evaluations {
    struct retrieve *r;
    struct lane lane;
    struct evaluation slots[AT_ONCE];
};

static void next_document(struct evaluation *e);
static void next_search(struct evaluation *e);

enum status evaluations_new(struct retrieve *r, struct evaluations **out, struct error *err)
{
    struct evaluations *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "retrieve: out of memory");
    }
    all->r = r;
    lane_init(&all->lane, r->svc->loop, 1, 64);
    for (size_t i = 0; i < AT_ONCE; i++) {
        all->slots[i].all = all;
        arena_init(&all->slots[i].arena, RUN_BYTES);
        arena_init(&all->slots[i].step, STEP_BYTES);
    }
    *out = all;
    return STATUS_OK;
}

void evaluations_free(struct evaluations *all)
{
    for (size_t i = 0; all != NULL && i < AT_ONCE; i++) {
        arena_reset(&all->slots[i].arena);
        arena_reset(&all->slots[i].step);
    }
    free(all);
}

/* ---- ends ---- */

static void over(struct evaluation *e, const struct error *err)
{
    struct retrieve *r = e->all->r;
    e->error = err == NULL ? (struct error){.code = STATUS_OK} : *err;
    LOG_INFO("evaluation", LOG_STR("tenant", e->tenant),
             LOG_STR("status", status_name(e->error.code)), LOG_INT("questions", e->n_asked),
             LOG_END);
    e->running = false;
    e->rpc = NULL;
    e->search = NULL;
    e->n_asked = e->at_question = e->at_configuration = 0;
    e->request = NULL;
    arena_reset(&e->arena);
    arena_reset(&e->step);
    retrieve_call_over(r);
}

static void stop(struct evaluation *e)
{
    struct error err;
    (void)error_set(&err, STATUS_CANCELLED, "it was stopped");
    e->stopped = true;
    if (e->rpc != NULL) {
        rpc_request_cancel(e->rpc);
        over(e, &err);
    } else if (e->search != NULL) {
        search_cancel(e->search); /* ends it through on_searched */
    }                             /* else it is on the lane, and looks when it comes back */
}

void evaluations_stop(struct evaluations *all)
{
    for (size_t i = 0; i < AT_ONCE; i++) {
        if (all->slots[i].running) {
            stop(&all->slots[i]);
        }
    }
}

static void no_memory(struct evaluation *e)
{
    struct error err;
    (void)error_set(&err, STATUS_NO_MEMORY, "evaluation: out of memory");
    over(e, &err);
}

static struct rpc_options options_of(const struct evaluation *e)
{
    return (struct rpc_options){.tenant = e->tenant, .priority = 1};
}

static uint64_t passage_hash(ProtobufCBinaryData sha)
{
    uint64_t h = 0;
    for (size_t i = 0; i < sizeof h && i < sha.len; i++) {
        h = h << 8 | sha.data[i];
    }
    return h;
}

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
    over(s->e, err.code == STATUS_OK ? NULL : &err);
}

/* What ranks, apart from the encoder: a change of it is a change of configuration. */
static char *settings_digest(struct evaluation *e)
{
    const struct settings *s = e->all->r->svc->settings;
    char *all = arena_printf(&e->arena, "%g %g %s %lld %u", s->retrieve.lsa_weight,
                             s->retrieve.encoder_weight, s->reranker.model,
                             (long long)s->retrieve.candidates, (unsigned)TEXT_ANALYZER_VERSION);
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
        no_memory(e);
        return;
    }
    s->e = e;
    if (lane_submit(&e->all->lane, store_work, store_done, s, &err) != STATUS_OK) {
        over(e, &err);
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
    uint64_t hash = passage_hash(p->hash);
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
        over(e, &copy);
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
    struct search_job job = {.options = options_of(e),
                             .request = &q,
                             .encoder = encoder_of(e, e->at_configuration),
                             .a = &e->step,
                             .done = on_searched,
                             .data = e};
    struct search *s = search_start(e->all->r, &job, &err);
    if (s == NULL) {
        over(e, &err);
    } else if (e->running) { /* else it failed at once */
        e->search = s;
    }
}

static void begin_searching(struct evaluation *e)
{
    struct error err;
    if (e->n_asked == 0) {
        (void)error_set(&err, STATUS_NOT_FOUND,
                        "no questions could be made: are there documents with text?");
        over(e, &err);
        return;
    }
    for (size_t i = 0; i < e->n_configurations; i++) {
        const Rt__Configuration *c = configuration(e, i);
        if (c != NULL && c->mode == RT__SEARCH_REQUEST__MODE__DENSE &&
            encoder_of(e, i)[0] == '\0') {
            (void)error_set(&err, STATUS_CONFLICT,
                            "no encoder is fitted yet: nothing can be found by vectors");
            over(e, &err);
            return;
        }
        e->results[i] = arena_array(&e->arena, e->n_asked, sizeof *e->results[i]);
        if (e->results[i] == NULL) {
            no_memory(e);
            return;
        }
    }
    e->at_question = e->at_configuration = 0;
    arena_reset(&e->step);
    next_search(e);
}

/* ---- reading documents ---- */

static void on_text_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct evaluation *e = data;
    const Vs__GetTextReply *t = vs_get_text_reply(m);
    for (size_t i = 0; t != NULL && i < t->n_chunks && e->n_passages < PASSAGES_MAX; i++) {
        const Vs__Chunk *c = t->chunks[i];
        uint8_t sha[SHA256_BYTES];
        struct question_passage *p = &e->passages[e->n_passages];
        const char *heading = c->heading_path == NULL ? "" : c->heading_path;
        p->heading = str_from(arena_strdup(&e->step, heading));
        p->text.ptr = arena_strndup(&e->step, (const char *)c->text.data, c->text.len);
        p->text.len = c->text.len;
        if (p->heading.ptr == NULL || p->text.ptr == NULL) {
            return; /* a document too large: its first passages do */
        }
        sha256_of(c->text.data, c->text.len, sha);
        e->hashes[e->n_passages++] =
            passage_hash((ProtobufCBinaryData){.len = sizeof sha, .data = sha});
    }
}

static enum status add_questions(struct evaluation *e, struct error *err)
{
    const struct sampled *d = &e->documents[e->at_document];
    struct question made[QUESTIONS_PER_DOCUMENT];
    size_t n = 0;
    enum status s = questions_make(d->id, str_from(d->title), e->passages, e->n_passages, &e->arena,
                                   made, &n, err);
    uint64_t *hashes =
        s == STATUS_OK && n > 0 ? arena_array(&e->arena, e->n_passages, sizeof *hashes) : NULL;
    if (s != STATUS_OK || n == 0) {
        return s;
    }
    if (hashes == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "evaluation: out of memory");
    }
    memcpy(hashes, e->hashes, e->n_passages * sizeof *hashes);
    for (size_t i = 0; i < n && e->n_asked < e->max_asked; i++) {
        e->asked[e->n_asked++] =
            (struct asked){.key = made[i].key,
                           .text = made[i].text,
                           .collection = d->collection,
                           .passages = hashes + made[i].first,
                           .n_passages = (size_t)(made[i].last - made[i].first) + 1};
    }
    e->used_documents++;
    return STATUS_OK;
}

/* ---- a question of the model's ---- */

static void on_model_question(void *data, const char *question, const struct error *err)
{
    struct evaluation *e = data;
    const struct sampled *d = &e->documents[e->at_document];
    e->rpc = NULL;
    e->no_model = err->code != STATUS_OK; /* without one, or with one that fails, the rest stands */
    size_t len = strlen(question);
    const char *text = len == 0 ? NULL : arena_strndup(&e->arena, question, len);
    uint64_t *hash = text == NULL ? NULL : arena_array(&e->arena, 1, sizeof *hash);
    if (hash != NULL) {
        *hash = e->hashes[e->asked_passage];
        e->asked[e->n_asked++] = (struct asked){
            .key = hash64(text, len) ^ (hash64(d->id, strlen(d->id)) * 31 + QUESTION_MODEL),
            .text = text,
            .collection = d->collection,
            .passages = hash,
            .n_passages = 1};
        e->n_modelled++;
    }
    e->at_document++;
    next_document(e);
}

/* About one passage, the same one for the same document. false: nothing was asked. */
static bool ask_model(struct evaluation *e)
{
    const struct sampled *d = &e->documents[e->at_document];
    if (e->no_model || e->n_modelled == MODEL_QUESTIONS_MAX || e->n_asked == e->max_asked ||
        e->n_passages == 0) {
        return false;
    }
    e->asked_passage = d->order % e->n_passages;
    const struct question_passage *p = &e->passages[e->asked_passage];
    if (p->text.len < MODEL_PASSAGE_LEAST) {
        return false;
    }
    struct rpc_options options = options_of(e);
    e->ask.done = on_model_question;
    e->ask.data = e;
    e->rpc = question_ask_start(e->all->r->svc, &e->ask, &options, d->title, p);
    return e->rpc != NULL;
}

static void on_text_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct evaluation *e = data;
    struct error own;
    e->rpc = NULL;
    if (err->code == STATUS_OK) {
        if (add_questions(e, &own) != STATUS_OK) {
            over(e, &own);
            return;
        }
    } else if (err->code != STATUS_NOT_FOUND) { /* it may have gone meanwhile */
        over(e, err);
        return;
    }
    if (err->code == STATUS_OK && ask_model(e)) {
        return;
    }
    e->at_document++;
    next_document(e);
}

static void next_document(struct evaluation *e)
{
    if (e->at_document == e->n_documents || e->n_asked == e->max_asked) {
        begin_searching(e);
        return;
    }
    arena_reset(&e->step);
    e->n_passages = 0;
    e->passages = arena_array(&e->step, PASSAGES_MAX, sizeof *e->passages);
    e->hashes = arena_array(&e->step, PASSAGES_MAX, sizeof *e->hashes);
    Vs__GetTextRequest q = VS__GET_TEXT_REQUEST__INIT;
    q.document = (char *)(uintptr_t)e->documents[e->at_document].id;
    struct rpc_options options = options_of(e);
    static const struct rpc_callbacks callbacks = {.on_reply = on_text_reply,
                                                   .on_finish = on_text_finish};
    struct rpc_client *c = service_client(e->all->r->svc, PEER_VECTORSTORE);
    e->rpc = c == NULL || e->passages == NULL || e->hashes == NULL
                 ? NULL
                 : vs_get_text(c, &options, &q, &callbacks, e);
    if (e->rpc == NULL) {
        no_memory(e);
    }
}

/* ---- choosing documents ---- */

static void consider(struct evaluation *e, const Vs__DocumentInfo *d)
{
    const char *id = d->location->document;
    uint64_t order = hash64(id, strlen(id));
    if (d->chunks == 0 ||
        (e->n_documents == DOCUMENTS_MAX && order >= e->documents[DOCUMENTS_MAX - 1].order)) {
        return;
    }
    struct sampled s = {order, arena_strdup(&e->arena, id),
                        arena_strdup(&e->arena, d->title == NULL ? "" : d->title),
                        arena_strdup(&e->arena, d->location->collection)};
    if (s.id == NULL || s.title == NULL || s.collection == NULL) {
        return; /* enough documents are known by then */
    }
    size_t i = e->n_documents < DOCUMENTS_MAX ? e->n_documents++ : DOCUMENTS_MAX - 1;
    for (; i > 0 && e->documents[i - 1].order > order; i--) {
        e->documents[i] = e->documents[i - 1];
    }
    e->documents[i] = s;
}

static void on_list_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    const Vs__ListReply *l = vs_list_reply(m);
    for (size_t i = 0; l != NULL && i < l->n_documents; i++) {
        consider(data, l->documents[i]);
    }
}

static void on_list_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct evaluation *e = data;
    e->rpc = NULL;
    if (err->code != STATUS_OK) {
        over(e, err);
        return;
    }
    next_document(e);
}

static void on_status_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct evaluation *e = data;
    const Vs__StatusReply *v = vs_status_reply(m);
    if (v != NULL) {
        e->generation = v->generation;
        e->published = arena_strdup(&e->arena, v->encoder);
    }
}

static void on_status_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct evaluation *e = data;
    e->rpc = NULL;
    if (err->code != STATUS_OK) {
        over(e, err);
        return;
    }
    Vs__ListRequest q = VS__LIST_REQUEST__INIT;
    struct rpc_options options = options_of(e);
    static const struct rpc_callbacks callbacks = {.on_reply = on_list_reply,
                                                   .on_finish = on_list_finish};
    struct rpc_client *c = service_client(e->all->r->svc, PEER_VECTORSTORE);
    e->rpc = c == NULL || e->published == NULL ? NULL : vs_list(c, &options, &q, &callbacks, e);
    if (e->rpc == NULL) {
        no_memory(e);
    }
}

/* ---- the beginning ---- */

/* People's questions come first: they are never left out for made ones. */
static bool take_judged(struct evaluation *e)
{
    for (size_t i = 0; i < e->request->n_judged && e->n_asked < e->max_asked; i++) {
        const Rt__JudgedQuestion *j = e->request->judged[i];
        uint64_t *bad = arena_array(&e->arena, j->n_bad + 1, sizeof *bad);
        char *text = arena_strndup(&e->arena, (const char *)j->text.data, j->text.len);
        if (bad == NULL || text == NULL) {
            return false;
        }
        for (size_t k = 0; k < j->n_bad; k++) {
            bad[k] = passage_hash(j->bad[k]);
        }
        if (j->n_documents > 0 && j->text.len > 0) {
            e->asked[e->n_asked++] = (struct asked){.key = hash64(j->key, strlen(j->key)),
                                                    .text = text,
                                                    .collection = "",
                                                    .documents = j->documents,
                                                    .n_documents = j->n_documents,
                                                    .bad = bad,
                                                    .n_bad = j->n_bad};
        }
    }
    return true;
}

static enum status start(struct evaluation *e, const char *tenant, const Rt__EvaluateRequest *m,
                         struct error *err)
{
    ProtobufCAllocator allocator;
    arena_reset(&e->arena);
    arena_reset(&e->step);
    arena_protobuf(&e->arena, &allocator);
    size_t len = rt__evaluate_request__get_packed_size(m);
    uint8_t *packed = arena_alloc(&e->arena, len + 1);
    if (packed == NULL) {
        return error_set(err, STATUS_TOO_LARGE, "evaluation: the request is too large");
    }
    (void)rt__evaluate_request__pack(m, packed);
    e->request = rt__evaluate_request__unpack(&allocator, len, packed);
    e->max_asked = m->has_questions && m->questions > 0 ? m->questions : QUESTIONS_DEFAULT;
    e->asked = arena_array(&e->arena, e->max_asked, sizeof *e->asked);
    (void)snprintf(e->tenant, sizeof e->tenant, "%s", tenant);
    e->n_asked = e->n_documents = e->at_document = e->used_documents = 0;
    e->n_modelled = 0;
    e->no_model = false;
    e->at_question = e->at_configuration = 0;
    e->n_configurations = m->n_configurations > 0 ? m->n_configurations : 1;
    e->published = NULL;
    e->stopped = false;
    e->error = (struct error){.code = STATUS_OK};
    Vs__StatusRequest q = VS__STATUS_REQUEST__INIT;
    struct rpc_options options = options_of(e);
    static const struct rpc_callbacks callbacks = {.on_reply = on_status_reply,
                                                   .on_finish = on_status_finish};
    struct rpc_client *c = service_client(e->all->r->svc, PEER_VECTORSTORE);
    e->rpc = e->request == NULL || e->asked == NULL || c == NULL || !take_judged(e)
                 ? NULL
                 : vs_status(c, &options, &q, &callbacks, e);
    if (e->rpc == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "evaluation: out of memory");
    }
    e->running = true;
    e->all->r->n_calls++;
    return STATUS_OK;
}

/* The tenant's last one, or NULL. */
static struct evaluation *slot_of(struct evaluations *all, const char *tenant)
{
    for (size_t i = 0; i < AT_ONCE; i++) {
        if (strcmp(all->slots[i].tenant, tenant) == 0) {
            return &all->slots[i];
        }
    }
    return NULL;
}

static struct evaluation *slot_for(struct evaluations *all, const char *tenant)
{
    struct evaluation *e = slot_of(all, tenant);
    for (size_t i = 0; i < AT_ONCE && e == NULL; i++) {
        e = all->slots[i].running ? NULL : &all->slots[i];
    }
    return e;
}

/* ---- the call ---- */

struct telling {
    struct rpc_call *call;
    struct retrieve *r;
    struct arena *a;
    const char *tenant;
    uint32_t history;
    uint64_t compare_a, compare_b;
    Rt__EvaluateReply reply;
    struct error error;
};

static void tell_work(void *job)
{
    struct telling *t = job;
    t->error.code = eval_db_read(t->r->svc->home, t->tenant, t->history, t->compare_a, t->compare_b,
                                 t->a, &t->reply, &t->error);
}

static void tell_done(void *job)
{
    struct telling *t = job;
    struct retrieve *r = t->r;
    struct error err = t->error;
    if (err.code == STATUS_OK) {
        rt_evaluate_return(t->call, &t->reply);
    } else {
        rpc_call_fail(t->call, &err);
    }
    retrieve_call_over(r);
}

static enum status check(const struct rpc_call *call, const Rt__EvaluateRequest *m,
                         struct error *err)
{
    const struct caller *who = rpc_call_caller(call);
    if (rpc_call_tenant(call)[0] == '\0') {
        return error_set(err, STATUS_INVALID, "evaluation: the call names no tenant");
    }
    if (who != NULL && !who->admin) {
        return error_set(err, STATUS_FORBIDDEN, "evaluations are for administrators");
    }
    if (m->n_configurations > CONFIGURATIONS_MAX || m->n_judged > JUDGED_MAX ||
        (m->has_questions && (m->questions < QUESTIONS_MIN || m->questions > QUESTIONS_MAX)) ||
        (m->has_history && m->history > 100)) {
        return error_set(err, STATUS_INVALID,
                         "an evaluation takes %u configurations, %u judged questions, %u to %u "
                         "questions; 100 runs are told",
                         CONFIGURATIONS_MAX, JUDGED_MAX, QUESTIONS_MIN, QUESTIONS_MAX);
    }
    for (size_t i = 0; i < m->n_configurations; i++) {
        const char *encoder = m->configurations[i]->encoder;
        if (encoder != NULL && strlen(encoder) >= ENCODER_NAME_MAX) {
            return error_set(err, STATUS_INVALID, "an encoder's name is longer than that");
        }
    }
    for (size_t i = 0; i < m->n_judged; i++) {
        if (m->judged[i]->n_documents > JUDGED_DOCUMENTS || m->judged[i]->text.len > 16384) {
            return error_set(err, STATUS_INVALID,
                             "a judged question has %u documents and 16 KiB at most",
                             JUDGED_DOCUMENTS);
        }
    }
    return STATUS_OK;
}

static enum status act(struct evaluations *all, const char *tenant, const Rt__EvaluateRequest *m,
                       struct error *err)
{
    struct evaluation *e = slot_of(all, tenant);
    if (m->action == RT__EVALUATE_REQUEST__ACTION__STOP) {
        if (e != NULL && e->running) {
            stop(e);
        }
        return STATUS_OK;
    }
    if (m->action != RT__EVALUATE_REQUEST__ACTION__START) {
        return STATUS_OK;
    }
    e = slot_for(all, tenant);
    if (e == NULL || e->running) {
        return error_set(err, STATUS_BUSY, "an evaluation is running already");
    }
    return start(e, tenant, m, err);
}

void evaluate_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct retrieve *r = service_state(call);
    const Rt__EvaluateRequest *q = rt_evaluate_request(m);
    struct telling *t = arena_alloc(rpc_call_arena(call), sizeof *t);
    struct error err = {.code = STATUS_OK};
    enum status s =
        r == NULL || r->stopping ? error_set(&err, STATUS_UNAVAILABLE, "retrieve is stopping")
        : q == NULL || t == NULL ? error_set(&err, STATUS_NO_MEMORY, "evaluation: out of memory")
                                 : check(call, q, &err);
    if (s == STATUS_OK) {
        s = act(r->evaluations, rpc_call_tenant(call), q, &err);
    }
    if (s != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    *t = (struct telling){.call = call,
                          .r = r,
                          .a = rpc_call_arena(call),
                          .tenant = rpc_call_tenant(call),
                          .history = q->has_history && q->history > 0 ? q->history : 20,
                          .compare_a = q->has_compare_a ? q->compare_a : 0,
                          .compare_b = q->has_compare_b ? q->compare_b : 0,
                          .reply = RT__EVALUATE_REPLY__INIT};
    const struct evaluation *e = slot_of(r->evaluations, t->tenant);
    if (e != NULL) {
        t->reply.running = e->running;
        t->reply.done = (uint32_t)(e->at_configuration * e->n_asked + e->at_question);
        t->reply.total = (uint32_t)(e->running ? e->n_configurations * e->n_asked : 0);
        t->reply.failed = e->error.code == STATUS_OK ? NULL : arena_strdup(t->a, e->error.text);
        t->reply.has_failed_status = e->error.code != STATUS_OK;
        t->reply.failed_status = (uint32_t)e->error.code;
    }
    if (lane_submit(&r->evaluations->lane, tell_work, tell_done, t, &err) != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    r->n_calls++;
}
