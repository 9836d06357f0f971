/* The comparison before an encoder takes another's place: both are evaluated on the tenant's own
 * questions by retrieve, in the background. In the order things happen:
 *
 *   LOOK    the runs there are: a pair of today, of both encoders as they are now, will do
 *   START   a run of both; BUSY while another evaluation of the tenant is under way
 *   POLL    until it has ended
 *   DIFFER  the difference, question by question, with its interval: as people search
 *   DENSE   the same, by vectors alone: made questions repeat the documents' words, so that full
 * text hides much of what an encoder does settle  publish, or hold back
 *
 * A failure is tried again, each time after a longer wait, at most ATTEMPTS times. Then what growth
 * made is published unmeasured, since the tenant's documents have outgrown the other one, and what
 * a person asked for is held back. Meanwhile searches use the published encoder. */
#include "base/clock.h"
#include "base/log.h"
#include "ingest/migrate_internal.h"
#include "retrieve/retrieve_rpc.h"

#define ATTEMPTS 6U
#define POLL_MS 500
#define BUSY_MS 2000
#define PATIENCE_MS 1800000 /* for one run, and for another's to end */
#define QUESTIONS_MIN 30U   /* below it a difference says nothing */
#define RUNS 100U
#define FRESH_MS INT64_C(86400000)

static const char *const modes[] = {"default", "dense"};

static void ask(struct migration *m, enum gate_step step);

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* ---- the end ---- */

static void settle(struct migration *m, const char *verdict, const char *why, bool publish)
{
    struct gate *g = &m->gate;
    char points[64] = "";
    (void)snprintf(g->verdict, sizeof g->verdict, "%s", verdict);
    (void)snprintf(g->why, sizeof g->why, "%s", why);
    g->at_wall_ms = clock_wall_ms();
    g->publish = publish;
    g->known = true;
    g->step = GATE_IDLE;
    if (g->measured) {
        (void)snprintf(points, sizeof points, "%+.4f [%+.4f, %+.4f]", g->ndcg_10.mean,
                       g->ndcg_10.low, g->ndcg_10.high);
    }
    LOG_INFO("encoders compared", LOG_STR("tenant", m->t->id), LOG_STR("encoder", g->of),
             LOG_STR("against", g->against), LOG_STR("verdict", g->verdict),
             LOG_INT("questions", g->questions), LOG_STR("ndcg_10", points), LOG_STR("why", g->why),
             LOG_STR("result", publish ? "published" : "held back"), LOG_END);
    if (publish) {
        migrate_start_publish(m);
    } else {
        migrate_start_hold_back(m);
    }
}

static void judge(struct migration *m)
{
    struct gate *g = &m->gate;
    char why[sizeof g->why] = "";
    bool better = g->ndcg_10.low > 0 || g->recall_20.low > 0;
    if (g->questions < QUESTIONS_MIN) {
        (void)snprintf(why, sizeof why, "only %u questions could be made, %u are needed",
                       g->questions, QUESTIONS_MIN);
        settle(m, "unmeasured", why, true);
    } else if (g->ndcg_10.high < 0 || g->recall_20.high < 0) {
        settle(m, "worse", "", false);
    } else if (!better && g->dense.high < 0) {
        (void)snprintf(why, sizeof why, "by vectors alone nDCG@10 %+.3f [%+.3f, %+.3f]",
                       g->dense.mean, g->dense.low, g->dense.high);
        settle(m, "worse", why, false);
    } else {
        settle(m, better ? "better" : "same", "", true);
    }
}

/* Tried again after a wait, or not any more. */
static void gate_failed(struct migration *m, const struct error *err)
{
    struct gate *g = &m->gate;
    bool nothing = err->code == STATUS_NOT_FOUND && g->step == GATE_POLL;
    bool asked = same(m->stood.intent, "asked");
    g->step = GATE_IDLE;
    if (nothing) { /* no questions could be made */
        settle(m, "unmeasured", err->text, true);
    } else if (++g->attempts < ATTEMPTS) {
        migrate_failed(m, err);
        (void)snprintf(m->doing, sizeof m->doing, "comparing %.40s with %.40s: %.100s", g->of,
                       g->against, err->text);
    } else {
        g->attempts = 0;
        settle(m, "unmeasured", err->text, !asked);
    }
}

/* ---- replies ---- */

static const Rt__EvaluationRun *run_of(const Rt__EvaluateReply *r, const char *encoder,
                                       const char *mode, uint64_t above, const char *settings)
{
    for (size_t i = 0; i < r->n_runs; i++) { /* newest first */
        const Rt__EvaluationRun *run = r->runs[i];
        if (run->id > above && same(run->encoder, encoder) && same(run->mode, mode) &&
            (settings == NULL || same(run->settings, settings))) {
            return run;
        }
    }
    return NULL;
}

/* The newest pairs of runs above `above`, one a mode, into g. */
static bool find_pairs(struct gate *g, const Rt__EvaluateReply *r, uint64_t above)
{
    g->run_ms = INT64_MAX;
    for (int i = 0; i < 2; i++) {
        const Rt__EvaluationRun *b = run_of(r, g->of, modes[i], above, NULL);
        const Rt__EvaluationRun *a =
            b == NULL ? NULL : run_of(r, g->against, modes[i], above, b->settings);
        if (a == NULL || a->generation != b->generation ||
            (i > 0 && a->generation != g->generation)) {
            return false;
        }
        g->a[i] = a->id;
        g->b[i] = b->id;
        g->generation = a->generation;
        g->run_ms = a->at_wall_ms < g->run_ms ? a->at_wall_ms : g->run_ms;
        g->run_ms = b->at_wall_ms < g->run_ms ? b->at_wall_ms : g->run_ms;
    }
    return true;
}

static struct gate_interval interval(const Rt__Interval *i)
{
    return (struct gate_interval){.mean = i->mean, .low = i->low, .high = i->high};
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *msg, void *data)
{
    (void)r;
    struct migration *m = data;
    struct gate *g = &m->gate;
    const Rt__EvaluateReply *reply = rt_evaluate_reply(msg);
    if (reply == NULL) {
        return;
    }
    g->heard = true;
    g->running = reply->running;
    g->done = reply->done;
    g->total = reply->total;
    g->failed = (struct error){.code = STATUS_OK};
    if (reply->failed != NULL) {
        (void)error_set(&g->failed,
                        reply->has_failed_status ? status_from_wire((int)reply->failed_status)
                                                 : STATUS_INTERNAL,
                        "the evaluation: %s", reply->failed);
    }
    g->paired = find_pairs(g, reply, g->step == GATE_LOOK ? 0 : g->newest);
    if (g->step == GATE_LOOK) {
        g->newest = reply->n_runs > 0 ? reply->runs[0]->id : 0;
    }
    if (g->step == GATE_DIFFER && reply->difference != NULL) {
        const Rt__MeasureGroup *d = reply->difference;
        g->measured = true;
        g->questions = d->questions;
        g->ndcg_10 = interval(d->ndcg_10);
        g->recall_5 = interval(d->recall_5);
        g->recall_20 = interval(d->recall_20);
    } else if (g->step == GATE_DENSE && reply->difference != NULL) {
        g->measured = true;
        g->dense = interval(reply->difference->ndcg_10);
    }
}

static void on_looked(struct migration *m)
{
    const struct gate *g = &m->gate;
    int64_t age = clock_wall_ms() - g->run_ms;
    bool fresh = g->paired && g->generation == m->stood.generation && age >= 0 && age < FRESH_MS &&
                 same(m->wish.complete, g->of) && g->run_ms >= m->wish.complete_ms;
    ask(m, fresh ? GATE_DIFFER : GATE_START);
}

static void on_polled(struct migration *m)
{
    struct gate *g = &m->gate;
    struct error err;
    if (g->running && clock_monotonic_ms() - g->since_ms < PATIENCE_MS) {
        (void)snprintf(m->doing, sizeof m->doing, "comparing %.60s with %.60s: %u of %u", g->of,
                       g->against, g->done, g->total);
        migrate_later(m, POLL_MS);
    } else if (g->running) {
        (void)error_set(&err, STATUS_DEADLINE, "the evaluation takes too long");
        gate_failed(m, &err);
    } else if (g->paired) {
        ask(m, GATE_DIFFER);
    } else {
        if (g->failed.code == STATUS_OK) {
            (void)error_set(&g->failed, STATUS_UNAVAILABLE, "the evaluation ended without figures");
        }
        gate_failed(m, &g->failed);
    }
}

static void on_end(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct migration *m = data;
    struct gate *g = &m->gate;
    struct error e = *err;
    m->request = NULL;
    if (e.code == STATUS_BUSY && clock_monotonic_ms() - g->since_ms < PATIENCE_MS) {
        (void)snprintf(m->doing, sizeof m->doing,
                       "comparing %.60s with %.60s: waits for another evaluation", g->of,
                       g->against);
        g->step = GATE_LOOK; /* it may be the very one that is wanted */
        migrate_later(m, BUSY_MS);
        return;
    }
    if (e.code == STATUS_OK && !g->heard) {
        (void)error_set(&e, STATUS_PROTOCOL, "retrieve answered nothing");
    }
    if (e.code == STATUS_OK && g->step >= GATE_DIFFER && !g->measured) {
        (void)error_set(&e, STATUS_PROTOCOL, "retrieve told no difference");
    }
    if (e.code != STATUS_OK) {
        gate_failed(m, &e);
    } else if (g->step == GATE_LOOK) {
        on_looked(m);
    } else if (g->step == GATE_DIFFER) {
        ask(m, GATE_DENSE);
    } else if (g->step == GATE_DENSE) {
        judge(m);
    } else {
        g->since_ms = g->step == GATE_START ? clock_monotonic_ms() : g->since_ms;
        g->step = GATE_POLL;
        on_polled(m);
    }
}

/* ---- asking ---- */

static void ask(struct migration *m, enum gate_step step)
{
    struct gate *g = &m->gate;
    Rt__EvaluateRequest q = RT__EVALUATE_REQUEST__INIT;
    Rt__Configuration all[4];
    Rt__Configuration *list[4];
    g->step = step;
    g->heard = g->measured = false;
    q.has_history = 1;
    q.history = RUNS;
    if (step == GATE_START) {
        for (int i = 0; i < 4; i++) {
            rt__configuration__init(&all[i]);
            all[i].encoder = i % 2 == 0 ? g->against : g->of;
            all[i].has_mode = 1;
            all[i].mode =
                i < 2 ? RT__SEARCH_REQUEST__MODE__DEFAULT : RT__SEARCH_REQUEST__MODE__DENSE;
            list[i] = &all[i];
        }
        q.has_action = 1;
        q.action = RT__EVALUATE_REQUEST__ACTION__START;
        q.configurations = list;
        q.n_configurations = 4;
    } else if (step >= GATE_DIFFER) {
        q.has_compare_a = q.has_compare_b = 1;
        q.compare_a = g->a[step - GATE_DIFFER];
        q.compare_b = g->b[step - GATE_DIFFER];
    }
    struct rpc_options o = migrate_options(m, 0);
    struct rpc_callbacks cb = {.on_reply = on_reply, .on_finish = on_end};
    struct rpc_client *retrieve = service_client(m->t->in->svc, PEER_RETRIEVE);
    m->request = retrieve == NULL ? NULL : rt_evaluate(retrieve, &o, &q, &cb, m);
    if (m->request == NULL) {
        migrate_no_memory(m);
    }
}

bool migrate_gate_wanted(const struct migration *m)
{
    const struct stood *s = &m->stood;
    return m->t->in->settings->encoder.gate && !m->forced && s->encoder[0] != '\0' &&
           !same(s->encoder, m->encoder) && !same(s->intent, "forced");
}

bool migrate_gate_known(const struct migration *m)
{
    const struct gate *g = &m->gate;
    return g->known && same(g->of, m->encoder) && same(g->against, m->stood.encoder);
}

void migrate_start_gate(struct migration *m)
{
    struct gate *g = &m->gate;
    m->phase = MIGRATE_COMPARE;
    if (migrate_gate_known(m)) { /* settled before; the store did not take it then */
        if (g->publish) {
            migrate_start_publish(m);
        } else {
            migrate_start_hold_back(m);
        }
        return;
    }
    if (!same(g->of, m->encoder) || !same(g->against, m->stood.encoder)) {
        *g = (struct gate){.step = GATE_IDLE};
        (void)snprintf(g->of, sizeof g->of, "%s", m->encoder);
        (void)snprintf(g->against, sizeof g->against, "%s", m->stood.encoder);
    }
    (void)snprintf(m->doing, sizeof m->doing, "comparing %.60s with %.60s", g->of, g->against);
    g->since_ms = clock_monotonic_ms();
    ask(m, GATE_LOOK);
}

void migrate_gate_go_on(struct migration *m)
{
    ask(m, m->gate.step);
}

void migrate_gate_forget(struct migration *m)
{
    m->gate = (struct gate){.step = GATE_IDLE};
}

void migrate_gate_tell(const struct migration *m, struct gate_told *out)
{
    const struct gate *g = &m->gate;
    const struct gate_interval *in[] = {&g->ndcg_10, &g->recall_5, &g->recall_20};
    Vs__Comparison *c = &out->comparison;
    vs__comparison__init(c);
    c->against = (char *)(uintptr_t)g->against;
    c->verdict = (char *)(uintptr_t)g->verdict;
    c->at_wall_ms = g->at_wall_ms;
    c->has_questions = g->measured;
    c->questions = g->questions;
    c->why = g->why[0] == '\0' ? NULL : (char *)(uintptr_t)g->why;
    for (size_t i = 0; i < 3; i++) {
        vs__comparison__interval__init(&out->intervals[i]);
        out->intervals[i].mean = in[i]->mean;
        out->intervals[i].low = in[i]->low;
        out->intervals[i].high = in[i]->high;
    }
    c->ndcg_10 = g->measured ? &out->intervals[0] : NULL;
    c->recall_5 = g->measured ? &out->intervals[1] : NULL;
    c->recall_20 = g->measured ? &out->intervals[2] : NULL;
}
