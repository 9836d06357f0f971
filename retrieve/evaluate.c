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
#include "retrieve/evaluate_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"

#define QUESTIONS_MIN 10U
#define QUESTIONS_MAX 1000U
#define QUESTIONS_DEFAULT 300U
#define JUDGED_MAX 200U
#define RUN_BYTES ((size_t)64 * 1024 * 1024)
#define STEP_BYTES ((size_t)32 * 1024 * 1024)

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

void evaluation_over(struct evaluation *e, const struct error *err)
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
        evaluation_over(e, &err);
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

void evaluation_no_memory(struct evaluation *e)
{
    struct error err;
    (void)error_set(&err, STATUS_NO_MEMORY, "evaluation: out of memory");
    evaluation_over(e, &err);
}

struct rpc_options evaluation_options(const struct evaluation *e)
{
    return (struct rpc_options){.tenant = e->tenant, .priority = 1};
}

uint64_t evaluation_passage_hash(ProtobufCBinaryData sha)
{
    uint64_t h = 0;
    for (size_t i = 0; i < sizeof h && i < sha.len; i++) {
        h = h << 8 | sha.data[i];
    }
    return h;
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
            bad[k] = evaluation_passage_hash(j->bad[k]);
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
    e->rpc = e->request == NULL || e->asked == NULL || !take_judged(e) ? NULL : evaluation_read(e);
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

bool evaluation_running(struct evaluations *all, const char *tenant)
{
    const struct evaluation *e = slot_of(all, tenant);
    return e != NULL && e->running;
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
