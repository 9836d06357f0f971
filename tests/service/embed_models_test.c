/* carrel-embed with imported models: the test is retrieve, ingest and serve to it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "embed/embed_rpc.h"
#include "embed/neural.h"
#include "tests/fixture/model_writer.h"
#include "tests/service/one_service.h"

#define WIDTH 64U

static const struct model_writer small = {.architecture = "bert",
                                          .type = TENSOR_F32,
                                          .layers = 2,
                                          .width = WIDTH,
                                          .feed_forward = 96,
                                          .heads = 4,
                                          .kv_heads = 4,
                                          .vocabulary = 320,
                                          .context = 128};

struct world {
    uv_loop_t loop;
    struct one_service service;
    struct rpc_client *retrieve, *ingest;
    struct model_record encoder, reranker;
    bool closed[2];
};

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void import(struct world *w, bool head, const char *name, enum model_role role,
                   struct model_record *out)
{
    char path[128];
    struct error err = {0};
    struct model_writer m = small;
    m.head = head;
    (void)snprintf(path, sizeof path, "%s/original.gguf", w->service.home);
    assert_int_equal(model_write_file(&m, path, &err), STATUS_OK);
    struct registry_import how = {.home = w->service.home,
                                  .path = path,
                                  .name = name,
                                  .role = role,
                                  .query_prefix = head ? NULL : "w5 ",
                                  .passage_prefix = head ? NULL : "w6 "};
    if (registry_import(&how, out, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
}

static void start(struct world *w, const char *yaml)
{
    assert_int_equal(uv_loop_init(&w->loop), 0);
    one_service_home(&w->service, yaml);
    import(w, false, "small", MODEL_ENCODER, &w->encoder);
    import(w, true, "judge", MODEL_RERANKER, &w->reranker);
    one_service_start(&w->service, "carrel-embed", PEER_EMBED, "embed.sock");
    w->retrieve = one_service_client(&w->service, &w->loop, PEER_RETRIEVE, PEER_EMBED);
    w->ingest = one_service_client(&w->service, &w->loop, PEER_INGEST, PEER_EMBED);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    start(w, "encoder:\n  model: small\nreranker:\n  model: judge\n");
    *state = w;
    return 0;
}

static int setup_wrong(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    start(w, "encoder:\n  model: judge\nreranker:\n  model: nobody\n");
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    one_service_stop(&w->service);
    rpc_client_close(w->retrieve, on_closed, &w->closed[0]);
    rpc_client_close(w->ingest, on_closed, &w->closed[1]);
    for (size_t i = 0; i < 2; i++) {
        one_service_until(&w->loop, &w->closed[i]);
    }
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

/* ---- Encode ---- */

struct encoding {
    bool finished;
    struct error error;
    char encoder[64];
    uint32_t dimensions, tokens, cut;
    size_t n;
    float vectors[4096];
};

static void on_encoded(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct encoding *e = data;
    const Em__EncodeReply *reply = em_encode_reply(m);
    assert_non_null(reply);
    assert_true(reply->n_vectors <= 4096);
    (void)snprintf(e->encoder, sizeof e->encoder, "%s", reply->encoder);
    e->dimensions = reply->dimensions;
    e->tokens = reply->tokens;
    e->cut = reply->cut;
    e->n = reply->n_vectors;
    memcpy(e->vectors, reply->vectors, e->n * sizeof(float));
}

static void on_encode_finished(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct encoding *e = data;
    e->error = *err;
    e->finished = true;
}

static struct rpc_request *encode_start(struct world *w, struct rpc_client *who,
                                        const char *encoder, const char *const *texts, size_t n,
                                        bool query, struct encoding *e)
{
    static const struct rpc_callbacks cb = {.on_reply = on_encoded,
                                            .on_finish = on_encode_finished};
    ProtobufCBinaryData list[64];
    (void)w;
    *e = (struct encoding){0};
    for (size_t i = 0; i < n; i++) {
        list[i].data = (uint8_t *)(uintptr_t)texts[i];
        list[i].len = strlen(texts[i]);
    }
    Em__EncodeRequest ask = EM__ENCODE_REQUEST__INIT;
    ask.encoder = (char *)(uintptr_t)encoder;
    ask.kind = query ? EM__ENCODE_REQUEST__KIND__QUERY : EM__ENCODE_REQUEST__KIND__PASSAGE;
    ask.n_texts = n;
    ask.texts = list;
    struct rpc_options o = {.tenant = "main", .timeout_ms = 60000, .wait_for_ready = true};
    struct rpc_request *r = em_encode(who, &o, &ask, &cb, e);
    assert_non_null(r);
    return r;
}

/* By the model's own functions. */
static void expected_vector(struct world *w, const char *text, bool query, float out[WIDTH])
{
    struct model *m = NULL;
    struct neural_scratch scratch;
    struct neural_count count = {0};
    struct error err = {0};
    struct encode_text t = {.text = str_from(text), .title = STR("")};
    assert_int_equal(registry_open(w->service.home, &w->encoder, &m, &err), STATUS_OK);
    neural_scratch_init(&scratch);
    assert_int_equal(neural_encode(&scratch, m, &w->encoder, &t, query, out, &count, &err),
                     STATUS_OK);
    neural_scratch_deinit(&scratch);
    model_close(m);
}

static void encoders_are_served_by_name(void **state)
{
    struct world *w = *state;
    static const char *const texts[] = {"w9 w10 w11", "w200", "w9 w10 w11"};
    struct encoding *passages = calloc(2, sizeof *passages);
    struct encoding *query = passages + 1;
    float expected[WIDTH];
    (void)encode_start(w, w->ingest, w->encoder.encoder, texts, 3, false, passages);
    (void)encode_start(w, w->retrieve, w->encoder.encoder, texts, 1, true, query);
    one_service_until(&w->loop, &passages->finished);
    one_service_until(&w->loop, &query->finished);
    if (passages->error.code != STATUS_OK) {
        fail_msg("%s", passages->error.text);
    }
    assert_string_equal(passages->encoder, w->encoder.encoder);
    assert_int_equal(passages->dimensions, WIDTH);
    assert_int_equal(passages->n, 3 * WIDTH);
    assert_int_equal(passages->tokens, 6 + 4 + 6);
    assert_int_equal(passages->cut, 0);
    expected_vector(w, texts[0], false, expected);
    assert_memory_equal(passages->vectors, expected, sizeof expected);
    assert_memory_equal(passages->vectors + 2 * WIDTH, expected, sizeof expected);
    expected_vector(w, texts[0], true, expected);
    assert_memory_equal(query->vectors, expected, sizeof expected);
    assert_memory_not_equal(query->vectors, passages->vectors, sizeof expected);
    free(passages);
}

static void long_text(char *out, size_t cap)
{
    size_t n = 0;
    for (int i = 0; i < 300; i++) {
        n += (size_t)snprintf(out + n, cap - n, "w%d ", 10 + i % 250);
    }
}

/* A cancelled batch ends between two texts; questions do not wait behind batches. */
static void batches_are_cancelled_and_passed(void **state)
{
    struct world *w = *state;
    static char text[4096];
    const char *texts[64];
    long_text(text, sizeof text);
    for (size_t i = 0; i < 64; i++) {
        texts[i] = text;
    }
    static const char *const question[] = {"w9"};
    struct encoding *e = calloc(6, sizeof *e);
    struct rpc_request *batch[5];
    for (size_t i = 0; i < 5; i++) {
        batch[i] = encode_start(w, w->ingest, w->encoder.encoder, texts, 64, false, &e[i]);
    }
    (void)encode_start(w, w->retrieve, w->encoder.encoder, question, 1, true, &e[5]);
    one_service_until(&w->loop, &e[5].finished);
    assert_int_equal(e[5].error.code, STATUS_OK);
    assert_false(e[4].finished);
    for (size_t i = 1; i < 5; i++) {
        rpc_request_cancel(batch[i]);
    }
    one_service_until(&w->loop, &e[0].finished);
    assert_int_equal(e[0].error.code, STATUS_OK);
    assert_int_equal(e[0].cut, 64);
    assert_int_equal(e[0].tokens, 64 * 128);
    free(e);
}

static void unknown_vectors_are_refused_by_name(void **state)
{
    struct world *w = *state;
    static const char *const texts[] = {"w9"};
    struct encoding *e = calloc(1, sizeof *e);
    (void)encode_start(w, w->retrieve, "gguf-0123456789abcdef", texts, 1, true, e);
    one_service_until(&w->loop, &e->finished);
    assert_int_equal(e->error.code, STATUS_NOT_FOUND);
    assert_non_null(strstr(e->error.text, "gguf-0123456789abcdef"));
    free(e);
}

/* ---- Rerank ---- */

struct ranking {
    bool finished;
    struct error error;
    char model[65], sha256[65];
    size_t n;
    float scores[64];
};

static void on_ranked(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct ranking *k = data;
    const Em__RerankReply *reply = em_rerank_reply(m);
    assert_non_null(reply);
    (void)snprintf(k->model, sizeof k->model, "%s", reply->model);
    (void)snprintf(k->sha256, sizeof k->sha256, "%s", reply->sha256);
    k->n = reply->n_scores;
    assert_true(k->n <= 64);
    if (k->n > 0) { /* none in time: no array either */
        memcpy(k->scores, reply->scores, k->n * sizeof(float));
    }
}

static void on_rank_finished(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct ranking *k = data;
    k->error = *err;
    k->finished = true;
}

static void rank(struct world *w, const char *const *passages, size_t n, uint32_t budget_ms,
                 struct ranking *k)
{
    static const struct rpc_callbacks cb = {.on_reply = on_ranked, .on_finish = on_rank_finished};
    ProtobufCBinaryData list[65];
    *k = (struct ranking){0};
    for (size_t i = 0; i < n; i++) {
        list[i].data = (uint8_t *)(uintptr_t)passages[i];
        list[i].len = strlen(passages[i]);
    }
    Em__RerankRequest ask = EM__RERANK_REQUEST__INIT;
    ask.query.data = (uint8_t *)(uintptr_t) "w7";
    ask.query.len = 2;
    ask.n_passages = n;
    ask.passages = list;
    ask.has_budget_ms = budget_ms > 0;
    ask.budget_ms = budget_ms;
    struct rpc_options o = {.tenant = "main", .timeout_ms = 60000, .wait_for_ready = true};
    assert_non_null(em_rerank(w->retrieve, &o, &ask, &cb, k));
    one_service_until(&w->loop, &k->finished);
}

static void pairs_are_scored(void **state)
{
    struct world *w = *state;
    static const char *const passages[] = {"w8 w9", "w100 w101 w102", "w7"};
    struct ranking k;
    struct model *m = NULL;
    struct neural_scratch scratch;
    struct neural_count count = {0};
    struct error err = {0};
    rank(w, passages, 3, 0, &k);
    if (k.error.code != STATUS_OK) {
        fail_msg("%s", k.error.text);
    }
    assert_string_equal(k.model, "judge");
    assert_string_equal(k.sha256, w->reranker.sha256);
    assert_int_equal(k.n, 3);
    assert_int_equal(registry_open(w->service.home, &w->reranker, &m, &err), STATUS_OK);
    neural_scratch_init(&scratch);
    for (size_t i = 0; i < 3; i++) {
        float score = 0;
        assert_int_equal(
            neural_score(&scratch, m, STR("w7"), str_from(passages[i]), &score, &count, &err),
            STATUS_OK);
        assert_memory_equal(&k.scores[i], &score, sizeof score);
    }
    neural_scratch_deinit(&scratch);
    model_close(m);
}

/* What cannot be read in the time left has no score; the first ones have theirs. */
static void time_bounds_the_scores(void **state)
{
    struct world *w = *state;
    static char text[4096];
    const char *passages[65];
    struct ranking k;
    long_text(text, sizeof text);
    for (size_t i = 0; i < 65; i++) {
        passages[i] = text;
    }
    rank(w, passages, 64, 20, &k);
    assert_int_equal(k.error.code, STATUS_OK);
    assert_true(k.n < 64);
    rank(w, passages, 65, 0, &k);
    assert_int_equal(k.error.code, STATUS_TOO_LARGE);
}

static void what_is_not_there_is_said(void **state)
{
    struct world *w = *state;
    static const char *const passages[] = {"w8"};
    struct ranking k;
    rank(w, passages, 1, 0, &k);
    assert_int_equal(k.error.code, STATUS_NOT_FOUND);
    assert_non_null(strstr(k.error.text, "nobody"));
    assert_non_null(strstr(k.error.text, "judge"));
}

/* ---- ListEncoders ---- */

struct listing {
    bool finished;
    size_t n;
    char name[64], model[65], state[16], problem[200];
    uint32_t dimensions;
    bool wanted;
};

static void on_listed(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct listing *l = data;
    const Em__ListEncodersReply *reply = em_list_encoders_reply(m);
    assert_non_null(reply);
    l->n = reply->n_encoders;
    const Em__EncoderInfo *last = reply->encoders[l->n - 1];
    (void)snprintf(l->name, sizeof l->name, "%s", last->name);
    (void)snprintf(l->model, sizeof l->model, "%s", last->model == NULL ? "" : last->model);
    (void)snprintf(l->state, sizeof l->state, "%s", last->state);
    (void)snprintf(l->problem, sizeof l->problem, "%s",
                   reply->problem == NULL ? "" : reply->problem);
    l->dimensions = last->dimensions;
    l->wanted = last->wanted;
}

static void on_list_finished(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    assert_int_equal(err->code, STATUS_OK);
    ((struct listing *)data)->finished = true;
}

static void list(struct world *w, struct listing *l)
{
    static const struct rpc_callbacks cb = {.on_reply = on_listed, .on_finish = on_list_finished};
    *l = (struct listing){0};
    Em__ListEncodersRequest ask = EM__LIST_ENCODERS_REQUEST__INIT;
    struct rpc_options o = {.tenant = "main", .wait_for_ready = true};
    assert_non_null(em_list_encoders(w->ingest, &o, &ask, &cb, l));
    one_service_until(&w->loop, &l->finished);
}

static void imported_encoders_are_listed(void **state)
{
    struct world *w = *state;
    struct listing l;
    list(w, &l);
    assert_int_equal(l.n, 2); /* hashed, small; a reranker is none */
    assert_string_equal(l.name, w->encoder.encoder);
    assert_string_equal(l.model, "small");
    assert_string_equal(l.state, "imported");
    assert_string_equal(l.problem, "");
    assert_int_equal(l.dimensions, WIDTH);
    assert_true(l.wanted);
}

static void a_wrong_wish_is_told(void **state)
{
    struct world *w = *state;
    struct listing l;
    list(w, &l);
    assert_false(l.wanted);
    assert_non_null(strstr(l.problem, "judge was imported as reranker"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(encoders_are_served_by_name),
        TEST(batches_are_cancelled_and_passed),
        TEST(unknown_vectors_are_refused_by_name),
        TEST(pairs_are_scored),
        TEST(time_bounds_the_scores),
        TEST(imported_encoders_are_listed),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_said, setup_wrong, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_wish_is_told, setup_wrong, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
