/* carrel-embed as a process: the test is ingest, retrieve and serve to it, and its vectorstore. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/hash.h"
#include "embed/embed_rpc.h"
#include "tests/service/one_service.h"
#include "vectorstore/vectorstore_rpc.h"

#define PASSAGES 300
#define BATCH 50

/* ---- the vectorstore ----------------------------------------------------------------------------- */

struct store {
    struct buf blob;
    char encoder[64];
    unsigned asked;
};

static void on_get_encoder(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct store *s = rpc_call_service(call);
    const Vs__GetEncoderRequest *ask = vs_get_encoder_request(m);
    if (ask == NULL) {
        fail_msg("not a request for a fit");
        return;
    }
    s->asked++;
    bool other = strcmp(ask->encoder, "carrel-lsa-0123456789abcdef") == 0; /* a blob of another name */
    if (strcmp(rpc_call_tenant(call), "main") != 0 ||
        (strcmp(ask->encoder, s->encoder) != 0 && !other)) {
        rpc_call_finish(call, STATUS_NOT_FOUND, "there is no such fit");
        return;
    }
    for (size_t at = 0; at < s->blob.len; at += 100000) {
        Vs__GetEncoderReply piece = VS__GET_ENCODER_REPLY__INIT;
        piece.has_blob = true;
        piece.blob.data = (uint8_t *)s->blob.ptr + at;
        piece.blob.len = s->blob.len - at < 100000 ? s->blob.len - at : 100000;
        assert_int_equal(vs_get_encoder_respond(call, &piece), STATUS_OK); /* well below a window */
    }
    rpc_call_finish(call, STATUS_OK, NULL);
}

static const struct rpc_handler handlers[] = {
    {.method = &vs_get_encoder_method, .on_request = on_get_encoder}};

struct world {
    uv_loop_t loop;
    struct one_service service;
    struct store store;
    struct rpc_server *server;
    struct rpc_client *serve, *ingest;
    bool closed[3];
};

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct error err = {0};
    char address[160];
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    buf_init(&w->store.blob, 64 * 1024 * 1024);
    one_service_home(&w->service, NULL);
    assert_int_equal(rpc_server_new(&w->loop, &w->service.all[PEER_VECTORSTORE], handlers, 1, NULL,
                                    &w->store, &w->server, &err),
                     STATUS_OK);
    (void)snprintf(address, sizeof address, "unix:%s/run/vectorstore.sock", w->service.home);
    assert_int_equal(rpc_server_listen(w->server, address, &err), STATUS_OK);
    one_service_start(&w->service, "carrel-embed", PEER_EMBED, "embed.sock");
    w->serve = one_service_client(&w->service, &w->loop, PEER_SERVE, PEER_EMBED);
    w->ingest = one_service_client(&w->service, &w->loop, PEER_INGEST, PEER_EMBED);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    one_service_stop(&w->service);
    rpc_client_close(w->serve, on_closed, &w->closed[0]);
    rpc_client_close(w->ingest, on_closed, &w->closed[1]);
    rpc_server_close(w->server, on_closed, &w->closed[2]);
    for (size_t i = 0; i < 3; i++) {
        one_service_until(&w->loop, &w->closed[i]);
    }
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    buf_deinit(&w->store.blob);
    free(w);
    return 0;
}

/* ---- Encode -------------------------------------------------------------------------------------- */

struct encoding {
    bool finished;
    struct error error;
    char encoder[64];
    uint32_t dimensions, tokens;
    size_t n;
    float *vectors;
};

static void on_encoded(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct encoding *e = data;
    const Em__EncodeReply *reply = em_encode_reply(m);
    if (reply == NULL) {
        fail_msg("not an encode reply");
        return;
    }
    (void)snprintf(e->encoder, sizeof e->encoder, "%s", reply->encoder);
    e->dimensions = reply->dimensions;
    e->tokens = reply->tokens;
    e->n = reply->n_vectors;
    e->vectors = malloc(e->n * sizeof(float) + 1);
    if (e->vectors == NULL) {
        fail_msg("out of memory");
        return;
    }
    memcpy(e->vectors, reply->vectors, e->n * sizeof(float));
}

static void on_encode_finished(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct encoding *e = data;
    e->error = *err;
    e->finished = true;
}

static void encode_start(struct world *w, const char *tenant, const char *encoder, const char *text,
                         bool query, struct encoding *e)
{
    static const struct rpc_callbacks cb = {.on_reply = on_encoded, .on_finish = on_encode_finished};
    *e = (struct encoding){0};
    ProtobufCBinaryData one = {.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
    Em__EncodeRequest ask = EM__ENCODE_REQUEST__INIT;
    ask.encoder = (char *)(uintptr_t)encoder;
    ask.kind = query ? EM__ENCODE_REQUEST__KIND__QUERY : EM__ENCODE_REQUEST__KIND__PASSAGE;
    ask.n_texts = 1;
    ask.texts = &one;
    struct rpc_options o = {.tenant = tenant, .timeout_ms = 60000, .wait_for_ready = true};
    assert_non_null(em_encode(w->serve, &o, &ask, &cb, e));
}

static void expect_length_one(const struct encoding *e)
{
    double sum = 0;
    for (size_t i = 0; i < e->n; i++) {
        sum += (double)e->vectors[i] * (double)e->vectors[i];
    }
    assert_true(fabs(sum - 1) < 1e-4);
}

static void test_hashed_before_the_first_fit(void **state)
{
    struct world *w = *state;
    struct encoding e;
    encode_start(w, "main", "", "The quick brown fox jumps over the lazy dog.", false, &e);
    one_service_until(&w->loop, &e.finished);
    assert_int_equal(e.error.code, STATUS_OK);
    assert_string_equal(e.encoder, "");
    assert_int_equal(e.dimensions, 256);
    assert_int_equal(e.n, 256);
    assert_int_equal(e.tokens, 9);
    expect_length_one(&e);
    free(e.vectors);
}

/* ---- Fit ----------------------------------------------------------------------------------------- */

struct fitting {
    struct rpc_request *request;
    struct buf blob;
    size_t next;
    bool finished, ended, cancel_when_ended;
    struct error error;
    char encoder[64];
    uint32_t passages, terms;
};

static void passage(size_t i, char out[256])
{
    static const char *const subjects[] = {"train station railway platform ticket",
                                           "bread oven flour bakery dough",
                                           "whale ocean deep swim plankton"};
    static const char *const rest[] = {"the morning", "a quiet village", "every week", "many people"};
    (void)snprintf(out, 256, "In %s there is a %s and %s see the %s.", rest[i % 4], subjects[i % 3],
                   rest[(i + 1) % 4], subjects[i % 3] + 6);
}

static void fit_send(struct fitting *f)
{
    while (f->next < PASSAGES) {
        static char texts[BATCH][256];
        ProtobufCBinaryData items[BATCH];
        for (size_t i = 0; i < BATCH; i++) {
            passage(f->next + i, texts[i]);
            items[i].data = (uint8_t *)texts[i];
            items[i].len = strlen(texts[i]);
        }
        Em__FitRequest ask = EM__FIT_REQUEST__INIT;
        ask.n_texts = BATCH;
        ask.texts = items;
        ask.has_dimensions = true;
        ask.dimensions = 32;
        enum status s = em_fit_send(f->request, &ask);
        if (s == STATUS_BUSY) {
            return;
        }
        assert_int_equal(s, STATUS_OK);
        f->next += BATCH;
    }
    if (!f->ended) {
        f->ended = true;
        rpc_request_end(f->request);
    }
}

static void on_fit_ready(struct rpc_request *r, void *data)
{
    (void)r;
    fit_send(data);
}

static void on_fit_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct fitting *f = data;
    const Em__FitReply *reply = em_fit_reply(m);
    if (reply == NULL) {
        fail_msg("not a fit reply");
        return;
    }
    if (reply->has_blob) {
        buf_append(&f->blob, reply->blob.data, reply->blob.len);
    }
    if (reply->encoder != NULL) {
        (void)snprintf(f->encoder, sizeof f->encoder, "%s", reply->encoder);
        f->passages = reply->passages;
        f->terms = reply->terms;
    }
}

static void on_fit_finished(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct fitting *f = data;
    f->error = *err;
    f->finished = true;
}

static void fit_start(struct world *w, struct fitting *f)
{
    static const struct rpc_callbacks cb = {
        .on_reply = on_fit_reply, .on_ready = on_fit_ready, .on_finish = on_fit_finished};
    *f = (struct fitting){0};
    buf_init(&f->blob, 64 * 1024 * 1024);
    struct rpc_options o = {.tenant = "main", .wait_for_ready = true, .timeout_ms = 60000};
    f->request = em_fit(w->ingest, &o, NULL, &cb, f);
    assert_non_null(f->request);
    fit_send(f);
}

static void fit_into_store(struct world *w)
{
    struct fitting f;
    fit_start(w, &f);
    one_service_until(&w->loop, &f.finished);
    assert_int_equal(f.error.code, STATUS_OK);
    assert_int_equal(f.passages, PASSAGES);
    assert_true(f.terms >= 10);
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    sha256_of(f.blob.ptr, f.blob.len, digest);
    sha256_hex(digest, hex);
    assert_int_equal(strncmp(f.encoder, "carrel-lsa-", 11), 0);
    assert_int_equal(strncmp(f.encoder + 11, hex, 16), 0);
    buf_append(&w->store.blob, f.blob.ptr, f.blob.len);
    memcpy(w->store.encoder, f.encoder, sizeof w->store.encoder);
    buf_deinit(&f.blob);
}

static void test_fit_then_encode(void **state)
{
    struct world *w = *state;
    struct encoding all[6];
    fit_into_store(w);
    for (size_t i = 0; i < 6; i++) { /* all want the one missing fit */
        encode_start(w, "main", w->store.encoder, i % 2 == 0 ? "railway tickets" : "a whale swims",
                     i >= 2, &all[i]);
    }
    for (size_t i = 0; i < 6; i++) {
        one_service_until(&w->loop, &all[i].finished);
        assert_int_equal(all[i].error.code, STATUS_OK);
        assert_string_equal(all[i].encoder, w->store.encoder);
        assert_int_equal(all[i].dimensions, 32);
        expect_length_one(&all[i]);
    }
    assert_int_equal(w->store.asked, 1);
    double same = 0, other = 0;
    for (size_t i = 0; i < 32; i++) {
        same += (double)all[0].vectors[i] * (double)all[2].vectors[i];
        other += (double)all[0].vectors[i] * (double)all[1].vectors[i];
    }
    assert_true(same > .99 && other < .5);
    for (size_t i = 0; i < 6; i++) {
        free(all[i].vectors);
    }
}

static void test_fits_of_others_and_wrong_ones(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *tenant, *encoder; /* NULL: the one stored */
        enum status status;
    } rows[] = {
        {"main", NULL, STATUS_OK},
        {"other", NULL, STATUS_NOT_FOUND}, /* in memory, but not theirs */
        {"main", "carrel-lsa-ffffffffffffffff", STATUS_NOT_FOUND},
        {"main", "carrel-lsa-0123456789abcdef", STATUS_CORRUPT},
        {"main",
         "carrel-lsa-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         STATUS_INVALID},
    };
    fit_into_store(w);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct encoding e;
        encode_start(w, rows[i].tenant, rows[i].encoder == NULL ? w->store.encoder : rows[i].encoder,
                     "railway", true, &e);
        one_service_until(&w->loop, &e.finished);
        assert_int_equal(e.error.code, rows[i].status);
        free(e.vectors);
    }
}

static void test_one_fit_at_a_time_and_cancel(void **state)
{
    struct world *w = *state;
    struct fitting first, second;
    fit_start(w, &first);
    struct encoding e; /* answered after the fit has begun: same connection order does not matter, time does */
    encode_start(w, "main", "", "word", true, &e);
    one_service_until(&w->loop, &e.finished);
    free(e.vectors);
    fit_start(w, &second);
    one_service_until(&w->loop, &second.finished);
    bool raced = second.error.code == STATUS_OK; /* a small fit may be over already */
    assert_true(raced || second.error.code == STATUS_BUSY);
    buf_deinit(&second.blob);
    if (!first.finished) {
        rpc_request_cancel(first.request);
    }
    buf_deinit(&first.blob);
    for (int i = 0; i < 200; i++) { /* the cancelled one makes room soon */
        fit_start(w, &second);
        one_service_until(&w->loop, &second.finished);
        buf_deinit(&second.blob);
        if (second.error.code == STATUS_OK) {
            return;
        }
        assert_int_equal(second.error.code, STATUS_BUSY);
    }
    fail_msg("a cancelled fit keeps its place");
}

struct listing {
    bool finished;
    size_t n;
    char last_state[16];
};

static void on_listed(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct listing *l = data;
    const Em__ListEncodersReply *reply = em_list_encoders_reply(m);
    if (reply == NULL || reply->n_encoders == 0) {
        fail_msg("not a list of encoders");
        return;
    }
    l->n = reply->n_encoders;
    (void)snprintf(l->last_state, sizeof l->last_state, "%s", reply->encoders[l->n - 1]->state);
}

static void on_list_finished(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    assert_int_equal(err->code, STATUS_OK);
    ((struct listing *)data)->finished = true;
}

static void test_list(void **state)
{
    struct world *w = *state;
    static const struct rpc_callbacks cb = {.on_reply = on_listed, .on_finish = on_list_finished};
    fit_into_store(w);
    struct encoding e;
    encode_start(w, "main", w->store.encoder, "railway", true, &e);
    one_service_until(&w->loop, &e.finished);
    free(e.vectors);
    static const struct {
        const char *tenant, *state;
        size_t n;
    } rows[] = {{"main", "fitted", 2}, {"other", "hashed", 1}};
    for (size_t i = 0; i < 2; i++) {
        struct listing l = {0};
        Em__ListEncodersRequest ask = EM__LIST_ENCODERS_REQUEST__INIT;
        struct rpc_options o = {.tenant = rows[i].tenant};
        assert_non_null(em_list_encoders(w->serve, &o, &ask, &cb, &l));
        one_service_until(&w->loop, &l.finished);
        assert_int_equal(l.n, rows[i].n);
        assert_string_equal(l.last_state, rows[i].state);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hashed_before_the_first_fit), TEST(test_fit_then_encode),
        TEST(test_fits_of_others_and_wrong_ones), TEST(test_one_fit_at_a_time_and_cancel),
        TEST(test_list)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
