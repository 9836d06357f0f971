/* Which documents, their passages, and the questions made of them. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/map.h"
#include "retrieve/evaluate_internal.h"

#define MODEL_QUESTIONS_MAX 60U  /* of a run: each takes a model seconds */
#define MODEL_PASSAGE_LEAST 120U /* bytes: less says too little to ask about */
#define PASSAGES_MAX 512U        /* of one document */

static void next_document(struct evaluation *e);

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
            evaluation_passage_hash((ProtobufCBinaryData){.len = sizeof sha, .data = sha});
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
    struct rpc_options options = evaluation_options(e);
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
            evaluation_over(e, &own);
            return;
        }
    } else if (err->code != STATUS_NOT_FOUND) { /* it may have gone meanwhile */
        evaluation_over(e, err);
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
        evaluation_search(e);
        return;
    }
    arena_reset(&e->step);
    e->n_passages = 0;
    e->passages = arena_array(&e->step, PASSAGES_MAX, sizeof *e->passages);
    e->hashes = arena_array(&e->step, PASSAGES_MAX, sizeof *e->hashes);
    Vs__GetTextRequest q = VS__GET_TEXT_REQUEST__INIT;
    q.document = (char *)(uintptr_t)e->documents[e->at_document].id;
    struct rpc_options options = evaluation_options(e);
    static const struct rpc_callbacks callbacks = {.on_reply = on_text_reply,
                                                   .on_finish = on_text_finish};
    struct rpc_client *c = service_client(e->all->r->svc, PEER_VECTORSTORE);
    e->rpc = c == NULL || e->passages == NULL || e->hashes == NULL
                 ? NULL
                 : vs_get_text(c, &options, &q, &callbacks, e);
    if (e->rpc == NULL) {
        evaluation_no_memory(e);
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
        evaluation_over(e, err);
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
        evaluation_over(e, err);
        return;
    }
    Vs__ListRequest q = VS__LIST_REQUEST__INIT;
    struct rpc_options options = evaluation_options(e);
    static const struct rpc_callbacks callbacks = {.on_reply = on_list_reply,
                                                   .on_finish = on_list_finish};
    struct rpc_client *c = service_client(e->all->r->svc, PEER_VECTORSTORE);
    e->rpc = c == NULL || e->published == NULL ? NULL : vs_list(c, &options, &q, &callbacks, e);
    if (e->rpc == NULL) {
        evaluation_no_memory(e);
    }
}

struct rpc_request *evaluation_read(struct evaluation *e)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_status_reply,
                                                   .on_finish = on_status_finish};
    Vs__StatusRequest q = VS__STATUS_REQUEST__INIT;
    struct rpc_options options = evaluation_options(e);
    struct rpc_client *c = service_client(e->all->r->svc, PEER_VECTORSTORE);
    return c == NULL ? NULL : vs_status(c, &options, &q, &callbacks, e);
}
