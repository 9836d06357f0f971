/* carrel-generate (and carrel-egress) as processes: the test is serve to them, and the upstream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "generate/generate_rpc.h"
#include "tests/service/one_service.h"

/* ---- an upstream that always says the same ------------------------------------------------------- */

struct upstream {
    uv_tcp_t server;
    unsigned requests;
    struct buf talk; /* said instead, when not empty */
    char asked[8192]; /* the last request, as far as it came at once */
};

struct visitor {
    uv_tcp_t tcp;
    uv_write_t write;
    struct upstream *upstream;
};

static const char said[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"Leave is 14 weeks [1\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\", 9] and paid [2].\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

static void on_visitor_closed(uv_handle_t *h)
{
    free(h->data);
}

static void on_said(uv_write_t *w, int status)
{
    (void)status;
    struct visitor *v = w->data;
    uv_close((uv_handle_t *)&v->tcp, on_visitor_closed);
}

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *out)
{
    static char room[65536];
    (void)h;
    (void)wanted;
    *out = uv_buf_init(room, sizeof room);
}

static void on_asked(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct visitor *v = s->data;
    (void)uv_read_stop(s);
    if (n < 0) {
        uv_close((uv_handle_t *)&v->tcp, on_visitor_closed);
        return;
    }
    v->upstream->requests++;
    (void)snprintf(v->upstream->asked, sizeof v->upstream->asked, "%.*s", (int)n, b->base);
    struct buf *talk = &v->upstream->talk;
    uv_buf_t answer = uv_buf_init((char *)(uintptr_t)said, sizeof said - 1);
    if (talk->len > 0) {
        answer = uv_buf_init(talk->ptr, (unsigned)talk->len);
    }
    v->write.data = v;
    assert_int_equal(uv_write(&v->write, s, &answer, 1, on_said), 0);
}

static void on_visit(uv_stream_t *s, int status)
{
    assert_int_equal(status, 0);
    struct visitor *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->upstream = s->data;
    v->tcp.data = v;
    (void)uv_tcp_init(s->loop, &v->tcp);
    assert_int_equal(uv_accept(s, (uv_stream_t *)&v->tcp), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)&v->tcp, on_room, on_asked), 0);
}

struct world {
    uv_loop_t loop;
    struct one_service service;
    struct upstream upstream;
    struct rpc_client *serve;
    bool closed;
};

static struct world *begin(bool upstream, bool egress)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    struct sockaddr_in any;
    struct sockaddr_storage bound;
    int len = sizeof bound;
    (void)uv_ip4_addr("127.0.0.1", 0, &any);
    buf_init(&w->upstream.talk, 8 * 1024 * 1024);
    (void)uv_tcp_init(&w->loop, &w->upstream.server);
    w->upstream.server.data = &w->upstream;
    assert_int_equal(uv_tcp_bind(&w->upstream.server, (const struct sockaddr *)&any, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->upstream.server, 8, on_visit), 0);
    assert_int_equal(uv_tcp_getsockname(&w->upstream.server, (struct sockaddr *)&bound, &len), 0);
    memcpy(&any, &bound, sizeof any);
    char yaml[512];
    (void)snprintf(yaml, sizeof yaml,
                   "generate:\n  upstream:\n    url: http://127.0.0.1:%u/v1\n    model: m\n"
                   "    may_receive: [public]\n    max_retries: 0\n    allow_private_address: true\n",
                   ntohs(any.sin_port));
    one_service_home(&w->service, upstream ? yaml : NULL);
    if (egress) {
        one_service_start(&w->service, "carrel-egress", PEER_EGRESS, "egress-socks.sock");
    }
    one_service_start(&w->service, "carrel-generate", PEER_GENERATE, "generate.sock");
    w->serve = one_service_client(&w->service, &w->loop, PEER_SERVE, PEER_GENERATE);
    return w;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void finish(struct world *w)
{
    one_service_stop(&w->service);
    rpc_client_close(w->serve, on_closed, &w->closed);
    one_service_until(&w->loop, &w->closed);
    uv_close((uv_handle_t *)&w->upstream.server, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    buf_deinit(&w->upstream.talk);
    free(w);
}

/* ---- one chat ------------------------------------------------------------------------------------ */

struct chat {
    bool finished, last, refused;
    struct error error;
    unsigned replies;
    uv_timer_t *pause; /* reading is held at the first reply until it fires */
    struct rpc_request *request;
    struct buf text;
    char verdict[16], reason[256], label[32], engine[32], note[400], finish_reason[16];
    char citations[256];
    uint32_t removed;
};

static void copy(char *out, size_t cap, const char *z)
{
    (void)snprintf(out, cap, "%s", z == NULL ? "" : z);
}

static void on_paused(uv_timer_t *t)
{
    struct chat *c = t->data;
    rpc_request_resume(c->request);
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct chat *c = data;
    if (c->pause != NULL && c->replies == 0) {
        c->request = r;
        c->pause->data = c;
        rpc_request_pause(r);
        (void)uv_timer_start(c->pause, on_paused, 500, 0);
    }
    const Ge__ChatReply *reply = ge_chat_reply(m);
    if (reply == NULL || (c->replies == 0 && reply->route == NULL)) {
        fail_msg("the first reply must say the route");
        return;
    }
    assert_false(c->last);
    if (c->replies++ == 0) {
        copy(c->verdict, sizeof c->verdict, reply->route->verdict);
        copy(c->reason, sizeof c->reason, reply->route->reason);
        copy(c->label, sizeof c->label, reply->route->strictest_label);
    } else if (reply->route != NULL) { /* of a prompt that left it is told before, too */
        assert_string_equal(c->verdict, "external");
        assert_string_equal(reply->route->verdict, "external");
        assert_int_equal(c->replies, 2);
    }
    if (reply->engine != NULL) {
        assert_string_equal(c->engine, "");
        copy(c->engine, sizeof c->engine, reply->engine);
    }
    buf_z(&c->text, reply->delta == NULL ? "" : reply->delta);
    if (reply->has_last && reply->last) {
        c->last = true;
        c->refused = reply->refused;
        c->removed = reply->marks_removed;
        copy(c->note, sizeof c->note, reply->note);
        copy(c->finish_reason, sizeof c->finish_reason, reply->finish_reason);
        size_t n = 0;
        for (size_t i = 0; i < reply->n_citations; i++) {
            n += (size_t)snprintf(c->citations + n, sizeof c->citations - n, "%u@%u-%u ",
                                  reply->citations[i]->number, reply->citations[i]->start,
                                  reply->citations[i]->end);
        }
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct chat *c = data;
    c->error = *err;
    c->finished = true;
}

struct asked {
    const char *question, *engine, *label;
    float share;
    size_t n_passages;
    uv_timer_t *pause;
    bool standing;
};

static void ask(struct world *w, const struct asked *a, struct chat *c)
{
    static const struct rpc_callbacks cb = {.on_reply = on_reply, .on_finish = on_finish};
    static const char *const texts[] = {"Parental leave lasts 14 weeks for each parent. Ask early.",
                                        "Leave is paid in full. The canteen opens at noon."};
    *c = (struct chat){.pause = a->pause};
    buf_init(&c->text, 8 * 1024 * 1024);
    Ge__Message m = GE__MESSAGE__INIT;
    char user[] = "user", id[] = "a1", name[] = "doc", empty[] = "";
    m.role = user;
    m.content = (char *)(uintptr_t)a->question;
    Ge__Message *messages[] = {&m};
    Vs__Passage p[2], *passages[2];
    for (size_t i = 0; i < 2; i++) {
        vs__passage__init(&p[i]);
        p[i].document = name;
        p[i].collection = name;
        p[i].format = name;
        p[i].content = name;
        p[i].label = a->label == NULL ? empty : (char *)(uintptr_t)a->label;
        p[i].text.data = (uint8_t *)(uintptr_t)texts[i];
        p[i].text.len = strlen(texts[i]);
        passages[i] = &p[i];
    }
    Ge__ChatRequest request = GE__CHAT_REQUEST__INIT;
    request.answer_id = id;
    request.messages = messages;
    request.n_messages = 1;
    request.passages = passages;
    request.n_passages = a->n_passages;
    request.engine = (char *)(uintptr_t)a->engine;
    request.has_standing_question = request.standing_question = a->standing;
    request.has_upper_bound_share = true;
    request.upper_bound_share = a->share;
    struct rpc_options o = {.tenant = "main", .wait_for_ready = true, .timeout_ms = 60000};
    assert_non_null(ge_chat(w->serve, &o, &request, &cb, c));
    one_service_until(&w->loop, &c->finished);
}

#define QUESTION "How long is parental leave?"

static void test_quotes(void **state)
{
    (void)state;
    struct world *w = begin(false, false);
    struct chat c;
    ask(w, &(struct asked){.question = QUESTION, .n_passages = 2, .share = .7F, .label = "internal"}, &c);
    assert_int_equal(c.error.code, STATUS_OK);
    assert_true(c.last);
    assert_string_equal(c.verdict, "local");
    assert_string_equal(c.engine, "extractive");
    assert_string_equal(c.label, "internal");
    assert_string_equal(c.finish_reason, "stop");
    assert_string_equal(c.note, "");
    assert_true(strstr(buf_view(&c.text).ptr, "Parental leave lasts 14 weeks for each parent. [1]") ==
                buf_view(&c.text).ptr);
    assert_int_equal(strncmp(c.citations, "1@47-50 ", 8), 0);
    buf_deinit(&c.text);
    ask(w, &(struct asked){.question = "Who won the cup?", .n_passages = 2, .share = .1F}, &c);
    assert_true(c.refused);
    assert_string_equal(c.finish_reason, "refused");
    assert_string_equal(buf_view(&c.text).ptr, "Nothing in these documents answers this.");
    buf_deinit(&c.text);
    ask(w, &(struct asked){.question = QUESTION, .n_passages = 2, .share = .7F, .engine = "upstream"}, &c);
    assert_int_equal(c.error.code, STATUS_OK);
    assert_string_equal(c.verdict, "refuse");
    assert_true(c.refused);
    assert_non_null(strstr(c.note, "no upstream is configured"));
    buf_deinit(&c.text);
    ask(w, &(struct asked){.question = " ", .n_passages = 2}, &c);
    assert_int_equal(c.error.code, STATUS_INVALID);
    buf_deinit(&c.text);
    ask(w, &(struct asked){.question = QUESTION, .n_passages = 2, .engine = "oracle"}, &c);
    assert_int_equal(c.error.code, STATUS_INVALID);
    buf_deinit(&c.text);
    finish(w);
}

static void test_upstream_by_policy(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    struct chat c;
    ask(w, &(struct asked){.question = QUESTION, .n_passages = 2, .share = .7F, .label = "public"}, &c);
    assert_int_equal(c.error.code, STATUS_OK);
    assert_string_equal(c.verdict, "external");
    assert_string_equal(c.engine, "upstream");
    assert_string_equal(buf_view(&c.text).ptr, "Leave is 14 weeks [1] and paid [2].");
    assert_string_equal(c.citations, "1@18-21 2@31-34 ");
    assert_int_equal(c.removed, 1);
    assert_int_equal(w->upstream.requests, 1);
    buf_deinit(&c.text);
    static const char *const kept[] = {"internal", NULL};
    for (size_t i = 0; i < 2; i++) {
        ask(w, &(struct asked){.question = QUESTION, .n_passages = 2, .share = .7F, .label = kept[i]}, &c);
        assert_string_equal(c.verdict, "local");
        assert_string_equal(c.engine, "extractive");
        assert_non_null(strstr(c.note, i == 0 ? "labelled internal" : "no label"));
        assert_non_null(strstr(buf_view(&c.text).ptr, "14 weeks"));
        buf_deinit(&c.text);
    }
    assert_int_equal(w->upstream.requests, 1);
    finish(w);
}

/* A question of a conversation, written so that it stands alone: by a model that may have these passages' answer,
 * which gets the questions only; otherwise not at all. */
static void test_standing_question(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    struct chat c;
    struct asked a = {.question = "And for part-time staff?", .n_passages = 2, .label = "public", .standing = true};
    ask(w, &a, &c);
    assert_int_equal(c.error.code, STATUS_OK);
    assert_string_equal(c.verdict, "external");
    assert_non_null(strstr(buf_view(&c.text).ptr, "Leave is 14 weeks"));
    assert_int_equal(w->upstream.requests, 1);
    assert_non_null(strstr(w->upstream.asked, "stands alone"));
    assert_non_null(strstr(w->upstream.asked, "part-time staff"));
    assert_null(strstr(w->upstream.asked, "Ask early")); /* no passage goes along */
    buf_deinit(&c.text);
    a.label = "internal";
    ask(w, &a, &c);
    assert_int_equal(c.error.code, STATUS_UNAVAILABLE);
    assert_non_null(strstr(c.error.text, "labelled internal"));
    buf_deinit(&c.text);
    a.n_passages = 0;
    ask(w, &a, &c);
    assert_int_equal(c.error.code, STATUS_UNAVAILABLE);
    buf_deinit(&c.text);
    assert_int_equal(w->upstream.requests, 1);
    finish(w);
    w = begin(false, false);
    a = (struct asked){.question = "And for part-time staff?", .n_passages = 2, .label = "public", .standing = true};
    ask(w, &a, &c);
    assert_int_equal(c.error.code, STATUS_UNAVAILABLE); /* and no quoted sentences */
    buf_deinit(&c.text);
    finish(w);
}

static void test_quotes_when_the_upstream_is_down(void **state)
{
    (void)state;
    struct world *w = begin(true, false); /* no egress: no way out */
    struct chat c;
    ask(w, &(struct asked){.question = QUESTION, .n_passages = 2, .share = .7F, .label = "public"}, &c);
    assert_int_equal(c.error.code, STATUS_OK);
    assert_string_equal(c.verdict, "external");
    assert_string_equal(c.engine, "extractive");
    assert_non_null(strstr(c.note, "the upstream failed"));
    assert_non_null(strstr(buf_view(&c.text).ptr, "14 weeks for each parent. [1]"));
    assert_int_equal(w->upstream.requests, 0);
    buf_deinit(&c.text);
    finish(w);
}

/* A reader that stops, and an upstream with much to say: windows and taps close one after the other, and
 * nothing is lost, doubled or out of order. */
static void test_a_slow_reader(void **state)
{
    (void)state;
    struct world *w = begin(true, true);
    struct buf *talk = &w->upstream.talk, expected;
    buf_init(&expected, 8 * 1024 * 1024);
    buf_z(talk, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    for (unsigned i = 0; expected.len < 1900000; i++) {
        char piece[512];
        (void)snprintf(piece, sizeof piece, "%u: größer als je zuvor %0300u ", i, i);
        buf_z(&expected, piece);
        buf_printf(talk, "data: {\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}\n\n", piece);
    }
    buf_z(talk, "data: [DONE]\n\n");
    assert_int_equal(buf_status(talk), STATUS_OK);
    uv_timer_t pause;
    (void)uv_timer_init(&w->loop, &pause);
    struct chat c;
    ask(w,
        &(struct asked){
            .question = QUESTION, .n_passages = 2, .share = .7F, .label = "public", .pause = &pause},
        &c);
    assert_int_equal(c.error.code, STATUS_OK);
    assert_true(c.last);
    assert_int_equal(c.text.len, expected.len);
    assert_memory_equal(c.text.ptr, expected.ptr, expected.len);
    buf_deinit(&c.text);
    buf_deinit(&expected);
    uv_close((uv_handle_t *)&pause, NULL);
    finish(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quotes),
                                       cmocka_unit_test(test_upstream_by_policy),
                                       cmocka_unit_test(test_standing_question),
                                       cmocka_unit_test(test_quotes_when_the_upstream_is_down),
                                       cmocka_unit_test(test_a_slow_reader)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
