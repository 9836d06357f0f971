/* /api/eval: how well search finds what it should, measured on questions made from the tenant's own
 * documents. GET tells how a run goes and what earlier ones gave, POST starts one in the
 * background, DELETE stops it. For administrators. */
#include <string.h>

#include "base/list.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/api.h"
#include "serve/feedback.h"
#include "serve/http/jsonw.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "serve/service.h"

#define CONFIGURATIONS_MAX 4

static void interval(struct jsonw *w, const char *key, const Rt__Interval *i)
{
    api_interval(w, key, i->mean, i->low, i->high);
}

static void group(struct jsonw *w, const Rt__MeasureGroup *g, bool named)
{
    jsonw_open(w, '{');
    if (named) {
        jsonw_field_z(w, "collection", g->collection);
    }
    jsonw_field_int(w, "questions", g->questions);
    interval(w, "recall_5", g->recall_5);
    interval(w, "recall_20", g->recall_20);
    interval(w, "ndcg_10", g->ndcg_10);
    interval(w, "mrr_10", g->mrr_10);
    jsonw_close(w, '}');
}

static void run(struct jsonw *w, const Rt__EvaluationRun *r)
{
    jsonw_open(w, '{');
    jsonw_field_int(w, "id", (int64_t)r->id);
    jsonw_field_int(w, "at", r->at_wall_ms / 1000);
    jsonw_field_int(w, "generation", (int64_t)r->generation);
    jsonw_field_z(w, "encoder", r->encoder);
    jsonw_field_z(w, "mode", r->mode);
    jsonw_field_z(w, "settings", r->settings);
    jsonw_field_int(w, "documents", r->documents);
    for (size_t i = 0; i < r->n_groups && i < 1; i++) {
        jsonw_key(w, "all");
        group(w, r->groups[i], false);
    }
    jsonw_key(w, "collections");
    jsonw_open(w, '[');
    for (size_t i = 1; i < r->n_groups; i++) {
        group(w, r->groups[i], true);
    }
    jsonw_close(w, ']');
    jsonw_close(w, '}');
}

static void on_state(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Rt__EvaluateReply *r = rt_evaluate_reply(m);
    struct jsonw w;
    if (!api_object(q, r, err, &w)) {
        return;
    }
    jsonw_field_bool(&w, "running", r->running);
    jsonw_field_int(&w, "done", r->done);
    jsonw_field_int(&w, "total", r->total);
    if (r->failed != NULL) {
        jsonw_field_z(&w, "failed", r->failed);
    }
    jsonw_key(&w, "runs");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < r->n_runs; i++) {
        run(&w, r->runs[i]);
    }
    jsonw_close(&w, ']');
    if (r->difference != NULL) {
        jsonw_key(&w, "difference");
        group(&w, r->difference, false);
    }
    api_object_end(q, 200, &w);
}

void api_eval_get(struct request *q)
{
    Rt__EvaluateRequest ask = RT__EVALUATE_REQUEST__INIT;
    uint64_t history = 0;
    bool has[3];
    if (!api_query_number(q, "history", 100, &has[0], &history) ||
        !api_query_number(q, "a", INT64_MAX, &has[1], &ask.compare_a) ||
        !api_query_number(q, "b", INT64_MAX, &has[2], &ask.compare_b)) {
        return;
    }
    ask.has_history = has[0];
    ask.has_compare_a = has[1];
    ask.has_compare_b = has[2];
    ask.history = (uint32_t)history;
    api_unary(q, PEER_RETRIEVE, &rt_evaluate_method, 0, &ask.base, on_state);
}

static enum status read_configuration(struct request *q, const struct json *v,
                                      Rt__Configuration *out, struct error *err)
{
    static const char *const modes[] = {"default", "bm25", "dense", "text"};
    struct str encoder, mode;
    enum status s = jsonr_kind(v) == JSON_KIND_OBJECT
                        ? jsonr_string(v, "encoder", &encoder, err)
                        : error_set(err, STATUS_INVALID, "a configuration must be an object");
    if (s == STATUS_OK) {
        s = jsonr_string(v, "mode", &mode, err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    rt__configuration__init(out);
    if (encoder.ptr != NULL) {
        out->encoder = arena_strndup(q->arena, encoder.ptr, encoder.len);
        s = out->encoder == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : s;
    }
    bool known = mode.ptr == NULL;
    for (int i = 0; i < 4 && mode.ptr != NULL; i++) {
        if (str_eq(mode, str_from(modes[i]))) {
            out->has_mode = known = true;
            out->mode = (Rt__SearchRequest__Mode)i;
        }
    }
    if (mode.ptr != NULL && str_eq(mode, STR("fused"))) {
        out->has_mode = out->has_no_rerank = known = true;
        out->mode = RT__SEARCH_REQUEST__MODE__DEFAULT;
        out->no_rerank = true;
    }
    return known
               ? s
               : error_set(err, STATUS_INVALID, "mode must be default, bm25, dense, text or fused");
}

static enum status read_start(struct request *q, const struct json *body, Rt__EvaluateRequest *out,
                              struct error *err)
{
    const struct json *list = jsonr_get(body, "configurations");
    int64_t questions;
    enum status s = jsonr_int(body, "questions", 10, 1000, 0, &questions, err);
    if (s != STATUS_OK) {
        return s;
    }
    out->has_questions = questions > 0;
    out->questions = (uint32_t)questions;
    if (list == NULL) {
        return STATUS_OK;
    }
    if (jsonr_kind(list) != JSON_KIND_ARRAY || jsonr_len(list) > CONFIGURATIONS_MAX) {
        return error_set(err, STATUS_INVALID, "configurations must be an array of at most %d",
                         CONFIGURATIONS_MAX);
    }
    Rt__Configuration *all = arena_array(q->arena, CONFIGURATIONS_MAX, sizeof *all);
    out->configurations = arena_array(q->arena, CONFIGURATIONS_MAX, sizeof *out->configurations);
    if (all == NULL || out->configurations == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < jsonr_len(list) && s == STATUS_OK; i++) {
        s = read_configuration(q, jsonr_at(list, i), &all[i], err);
        out->configurations[out->n_configurations++] = &all[i];
    }
    return s;
}

struct starting {
    struct request *q;
    Rt__EvaluateRequest ask;
    struct feedback_judged judged;
};

/* What people liked is known. */
static void on_judged(const struct error *err, struct buf *json, void *data)
{
    struct starting *st = container_of(data, struct starting, judged);
    struct request *q = st->q;
    struct http_request *http = q->http;
    (void)json;
    if (!http_request_gone(http)) {
        if (err->code == STATUS_OK) {
            st->ask.judged = st->judged.list;
            st->ask.n_judged = st->judged.n;
            api_unary(q, PEER_RETRIEVE, &rt_evaluate_method, 0, &st->ask.base, on_state);
        } else {
            api_fail(q, err);
        }
    }
    http_request_release(http);
}

static void on_start(struct request *q, const struct json *body)
{
    struct error err;
    struct starting *st = arena_alloc(q->arena, sizeof *st);
    if (st == NULL) {
        api_out_of_memory(q);
        return;
    }
    st->q = q;
    rt__evaluate_request__init(&st->ask);
    st->ask.has_action = 1;
    st->ask.action = RT__EVALUATE_REQUEST__ACTION__START;
    st->judged.a = q->arena;
    if (read_start(q, body, &st->ask, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    http_request_hold(q->http);
    answers_run(q->serve->answers, q->who->tenant, feedback_judged, on_judged, &st->judged);
}

void api_eval_start(struct request *q)
{
    api_read_json(q, on_start);
}

void api_eval_stop(struct request *q)
{
    Rt__EvaluateRequest ask = RT__EVALUATE_REQUEST__INIT;
    ask.has_action = 1;
    ask.action = RT__EVALUATE_REQUEST__ACTION__STOP;
    api_unary(q, PEER_RETRIEVE, &rt_evaluate_method, 0, &ask.base, on_state);
}
