/* The upstream engine against a server that behaves as upstreams do on bad days, through a real
 * egress, all on one loop. The server does what the model's name says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "generate/egress/egress.h"
#include "generate/engine.h"

#define KEY "sk-test-0123456789"
#define DIR_CAP 64

struct world {
    uv_loop_t loop;
    uv_tcp_t server;
    char dir[DIR_CAP];
    char url[64];
    unsigned requests, dropped;
    size_t last_body;
    bool key_seen;
};

/* ---- the server ---- */

struct visitor {
    struct world *world;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    struct buf in, out;
    unsigned pieces, handles;
    bool answered;
};

#define PIECE(text) "data: {\"choices\":[{\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define CALL(piece) "data: {\"choices\":[{\"delta\":{\"tool_calls\":[" piece "]}}]}\n\n"
#define DONE "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"

static void on_peer_closed(uv_handle_t *h)
{
    struct visitor *p = h->data;
    if (--p->handles == 0) {
        buf_deinit(&p->in);
        buf_deinit(&p->out);
        free(p);
    }
}

static void peer_close(struct visitor *p)
{
    if (!uv_is_closing((uv_handle_t *)&p->tcp)) {
        uv_close((uv_handle_t *)&p->tcp, on_peer_closed);
        uv_close((uv_handle_t *)&p->timer, on_peer_closed);
    }
}

static void on_sent_last(uv_write_t *w, int status)
{
    (void)status;
    peer_close(w->data);
}

static void on_sent(uv_write_t *w, int status)
{
    (void)w;
    (void)status;
}

static void send_text(struct visitor *p, const char *text, bool last)
{
    buf_reset(&p->out);
    buf_z(&p->out, text);
    uv_buf_t b = uv_buf_init(p->out.ptr, (unsigned)p->out.len);
    p->write.data = p;
    assert_int_equal(
        uv_write(&p->write, (uv_stream_t *)&p->tcp, &b, 1, last ? on_sent_last : on_sent), 0);
}

static void on_drip(uv_timer_t *t)
{
    struct visitor *p = t->data;
    send_text(p, p->pieces++ == 0 ? HEAD PIECE("drip ") : PIECE("drip "), false);
}

static void answer(struct visitor *p, const char *model)
{
    unsigned n = ++p->world->requests;
    if (strcmp(model, "good") == 0 || (strcmp(model, "busy-once") == 0 && n > 1) ||
        (strcmp(model, "broken-once") == 0 && n > 1)) {
        send_text(p, HEAD PIECE("Leave is ") ": ping\n\n" PIECE("14 weeks [1].") DONE, true);
    } else if (strcmp(model, "busy-once") == 0) {
        send_text(p, "HTTP/1.1 429 Slow down\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", true);
    } else if (strcmp(model, "busy-long") == 0) {
        send_text(p, "HTTP/1.1 429 Slow down\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n",
                  true);
    } else if (strcmp(model, "broken-once") == 0 || strcmp(model, "broken") == 0) {
        send_text(p, "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\noops!", true);
    } else if (strcmp(model, "denied") == 0) {
        send_text(p, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", true);
    } else if (strcmp(model, "cut") == 0) {
        send_text(p, HEAD PIECE("Leave is "), true);
    } else if (strcmp(model, "cut-early") == 0) {
        send_text(p,
                  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n5\r\nda",
                  true);
    } else if (strcmp(model, "page") == 0) {
        send_text(p,
                  "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
                  true);
    } else if (strcmp(model, "garbage") == 0) {
        send_text(p, HEAD "data: {nonsense\n\n", true);
    } else if (strcmp(model, "moved") == 0) {
        send_text(
            p, "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            true);
    } else if (strcmp(model, "calls") == 0) {
        send_text(p,
                  HEAD PIECE("Let me see. ") CALL(
                      "{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{"
                      "\"name\":\"rain\",\"arguments\":\"\"}}")
                      CALL("{\"index\":0,\"function\":{\"arguments\":\"{\\\"city\\\":\"}}")
                          CALL("{\"index\":0,\"function\":{\"arguments\":\"1}\"}}")
                              CALL("{\"index\":1,\"id\":\"c2\",\"function\":{\"name\":\"now\","
                                   "\"arguments\":\"{}\"}}") "data: "
                                                             "{\"choices\":[{\"delta\":{},\"finish_"
                                                             "reason\":\"tool_calls\"}]}\n\n"
                                                             "data: [DONE]\n\n",
                  true);
    } else if (strcmp(model, "drip") == 0) {
        (void)uv_timer_start(&p->timer, on_drip, 0, 30);
    } /* "hang": nothing at all */
}

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct visitor *p = h->data;
    char *room = buf_reserve(&p->in, 65536);
    *out = uv_buf_init(room, room == NULL ? 0 : 65536);
}

static void on_bytes(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    (void)b;
    struct visitor *p = s->data;
    if (n < 0) {
        p->world->dropped++;
        peer_close(p);
        return;
    }
    p->in.len += (size_t)n;
    p->in.ptr[p->in.len] = '\0';
    const char *body = strstr(p->in.ptr, "\r\n\r\n"),
               *length = strstr(p->in.ptr, "Content-Length: ");
    if (p->answered || body == NULL || length == NULL ||
        strlen(body + 4) < strtoul(length + 16, NULL, 10)) {
        return;
    }
    p->answered = true;
    p->world->last_body = strlen(body + 4);
    p->world->key_seen = strstr(p->in.ptr, "Authorization: Bearer " KEY "\r\n") != NULL;
    assert_int_equal(strncmp(p->in.ptr, "POST /v1/chat/completions HTTP/1.1\r\n", 36), 0);
    const char *model = strstr(body, "\"model\":\"");
    assert_non_null(model);
    char name[32] = "";
    (void)sscanf(model + 9, "%31[a-z-]", name);
    answer(p, name);
}

static void on_connection(uv_stream_t *s, int status)
{
    assert_int_equal(status, 0);
    struct visitor *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->world = s->data;
    buf_init(&p->in, 4 * 1024 * 1024);
    buf_init(&p->out, 65536);
    (void)uv_tcp_init(s->loop, &p->tcp);
    (void)uv_timer_init(s->loop, &p->timer);
    p->tcp.data = p->timer.data = p;
    p->handles = 2;
    assert_int_equal(uv_accept(s, (uv_stream_t *)&p->tcp), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)&p->tcp, on_room, on_bytes), 0);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    memcpy(w->dir, "/tmp/carrel-up XXXXXX", 22); /* a blank, as a home may have */
    assert_non_null(mkdtemp(w->dir));
    struct sockaddr_storage address;
    int len = sizeof address;
    struct sockaddr_in any;
    (void)uv_ip4_addr("127.0.0.1", 0, &any);
    (void)uv_tcp_init(&w->loop, &w->server);
    w->server.data = w;
    assert_int_equal(uv_tcp_bind(&w->server, (const struct sockaddr *)&any, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->server, 16, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&w->server, (struct sockaddr *)&address, &len), 0);
    memcpy(&any, &address, sizeof any);
    (void)snprintf(w->url, sizeof w->url, "http://localhost:%u/v1", ntohs(any.sin_port));
    char path[128];
    (void)snprintf(path, sizeof path, "%s/key", w->dir);
    assert_int_equal(file_write_atomic(path, KEY "\n", sizeof KEY, 0600, NULL), STATUS_OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    uv_close((uv_handle_t *)&w->server, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0); /* no handle was forgotten */
    char path[128];
    (void)snprintf(path, sizeof path, "%s/key", w->dir);
    (void)unlink(path);
    (void)rmdir(w->dir);
    free(w);
    return 0;
}

/* ---- one question ---- */

struct question {
    struct engine *engine;
    struct engine_job *job;
    struct egress *egress;
    struct buf text;
    struct error error;
    const char *finish_reason;
    bool finished, hold_first, cancel_at_text;
    unsigned holds;
    uv_timer_t timer; /* resumes, or cancels */
    unsigned closed;
};

static void on_timer(uv_timer_t *t)
{
    struct question *q = t->data;
    if (q->finished) {
        return;
    }
    if (q->hold_first) {
        q->hold_first = false;
        q->engine->ops->resume(q->job);
    } else {
        q->engine->ops->cancel(q->job);
    }
}

static bool on_text(void *data, const char *p, size_t len)
{
    struct question *q = data;
    buf_append(&q->text, p, len);
    if (q->cancel_at_text) { /* the worst moment: from inside the engine's own callback */
        q->cancel_at_text = false;
        q->engine->ops->cancel(q->job);
    }
    q->holds += q->hold_first;
    return !q->hold_first;
}

static void on_closed(void *data)
{
    ((struct question *)data)->closed++;
}

static void on_finish(void *data, const struct engine_result *r)
{
    struct question *q = data;
    assert_false(q->finished);
    q->finished = true;
    q->error = r->error;
    q->finish_reason = r->finish_reason;
    uv_close((uv_handle_t *)&q->timer, NULL);
    q->engine->ops->close(q->engine, on_closed, q);
    if (q->egress != NULL) {
        egress_close(q->egress, on_closed, q);
    }
}

static bool on_call(void *data, const char *id, struct str name, struct str arguments)
{
    struct question *q = data;
    buf_printf(&q->text, "<%s %.*s %.*s>", id, STR_ARG(name), STR_ARG(arguments));
    return true;
}

static const struct engine_sink sink = {.text = on_text, .call = on_call, .finish = on_finish};

struct options {
    const char *model;
    bool no_egress, no_private, other_destination;
    bool hold, cancel_in_text, tools;
    unsigned cancel_after_ms;
    int64_t idle_ms, total_ms;
};

/* Asks and runs the loop until all is closed again; q's text is the caller's to deinit. */
static void ask(struct world *w, const struct options *o, struct question *q)
{
    struct settings settings = {.home = w->dir};
    settings.generate.upstream =
        (struct upstream_settings){.url = w->url,
                                   .model = o->model,
                                   .key_file = "key",
                                   .connect_timeout_ms = 2000,
                                   .idle_timeout_ms = o->idle_ms > 0 ? o->idle_ms : 3000,
                                   .total_timeout_ms = o->total_ms > 0 ? o->total_ms : 10000,
                                   .max_retries = 2};
    char socket[128];
    struct error err = {0};
    *q = (struct question){.hold_first = o->hold, .cancel_at_text = o->cancel_in_text};
    buf_init(&q->text, 1024 * 1024);
    (void)snprintf(socket, sizeof socket, "%s/egress.sock", w->dir);
    struct destination destination;
    assert_int_equal(destination_of_url(o->other_destination ? "https://other.example" : w->url,
                                        &destination, &err),
                     STATUS_OK);
    struct egress_options door = {.socket = socket,
                                  .destinations = &destination,
                                  .n_destinations = 1,
                                  .allow_private_address = !o->no_private};
    if (!o->no_egress) {
        assert_int_equal(egress_new(&w->loop, &door, &q->egress, &err), STATUS_OK);
        struct stat st;
        assert_int_equal(stat(socket, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    if (upstream_engine_new(&w->loop, &settings, socket, &q->engine, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    assert_null(upstream_engine_unready(q->engine));
    Ge__Message m = GE__MESSAGE__INIT;
    char role[] = "user", content[] = "How long is leave?", id[] = "a1";
    m.role = role;
    m.content = content;
    Ge__Message *messages[] = {&m};
    Ge__ChatRequest request = GE__CHAT_REQUEST__INIT;
    request.answer_id = id;
    request.messages = messages;
    request.n_messages = 1;
    char name[] = "rain";
    char declaration[] = "{\"type\":\"function\",\"function\":{\"name\":\"rain\"}}";
    Ge__Tool tool = GE__TOOL__INIT;
    Ge__Tool *tools[] = {&tool};
    tool.name = name;
    tool.declaration = declaration;
    request.tools = tools;
    request.n_tools = o->tools ? 1 : 0;
    w->requests = w->dropped = 0;
    (void)uv_timer_init(&w->loop, &q->timer);
    q->timer.data = q;
    if (o->cancel_after_ms > 0 || o->hold) {
        (void)uv_timer_start(&q->timer, on_timer, o->hold ? 150 : o->cancel_after_ms, 0);
    }
    assert_int_equal(q->engine->ops->start(q->engine, &request, &sink, q, &q->job, &err),
                     STATUS_OK);
    assert_false(q->finished); /* never from inside start */
    unsigned closed = o->no_egress ? 1 : 2;
    while (q->closed < closed) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
}

static void expect(struct world *w, const struct options *o, enum status status, const char *text,
                   const char *says)
{
    struct question q;
    ask(w, o, &q);
    if (q.error.code != status || strcmp(buf_view(&q.text).ptr, text) != 0 ||
        (says != NULL && strstr(q.error.text, says) == NULL) || strstr(q.error.text, KEY) != NULL) {
        fail_msg("%s: %s (%s), text \"%s\"", o->model, status_name(q.error.code), q.error.text,
                 buf_view(&q.text).ptr);
    }
    buf_deinit(&q.text);
}

#define GOOD "Leave is 14 weeks [1]."

static void test_streams_an_answer(void **state)
{
    struct world *w = *state;
    expect(w, &(struct options){.model = "good"}, STATUS_OK, GOOD, NULL);
    assert_true(w->key_seen);
    assert_int_equal(w->requests, 1);
}

/* They come in pieces and go on whole, behind the text; to whom nothing was offered, nothing. */
static void test_calls_of_functions(void **state)
{
    struct world *w = *state;
    struct question q;
    ask(w, &(struct options){.model = "calls", .tools = true}, &q);
    assert_int_equal(q.error.code, STATUS_OK);
    assert_string_equal(buf_view(&q.text).ptr, "Let me see. <c1 rain {\"city\":1}><c2 now {}>");
    assert_string_equal(q.finish_reason, "tool_calls");
    buf_deinit(&q.text);
    expect(w, &(struct options){.model = "calls"}, STATUS_OK, "Let me see. ", NULL);
}

static void test_tries_again_when_told_to(void **state)
{
    struct world *w = *state;
    int64_t start = clock_monotonic_ms();
    expect(w, &(struct options){.model = "busy-once"}, STATUS_OK, GOOD, NULL);
    assert_int_equal(w->requests, 2);
    assert_true(clock_monotonic_ms() - start >= 1000); /* Retry-After: 1 */
    expect(w, &(struct options){.model = "broken-once"}, STATUS_OK, GOOD, NULL);
    assert_int_equal(w->requests, 2);
}

static void test_gives_up_in_time(void **state)
{
    struct world *w = *state;
    expect(w, &(struct options){.model = "broken"}, STATUS_UNAVAILABLE, "", "HTTP 500, 3 tries");
    assert_int_equal(w->requests, 3);
    expect(w, &(struct options){.model = "busy-long"}, STATUS_BUSY, "", "HTTP 429");
    assert_int_equal(w->requests, 1);
    expect(w, &(struct options){.model = "denied"}, STATUS_UNAVAILABLE, "", "key_file");
    assert_int_equal(w->requests, 1);
    expect(w, &(struct options){.model = "moved"}, STATUS_UNAVAILABLE, "", "HTTP 307");
    expect(w, &(struct options){.model = "hang", .idle_ms = 200, .total_ms = 60000},
           STATUS_DEADLINE, "", "idle_timeout_ms");
    expect(w, &(struct options){.model = "hang", .total_ms = 300}, STATUS_DEADLINE, "",
           "total_timeout_ms");
}

static void test_broken_answers_are_said(void **state)
{
    struct world *w = *state;
    expect(w, &(struct options){.model = "cut"}, STATUS_UNAVAILABLE, "Leave is ", "broke off");
    assert_int_equal(w->requests, 1); /* never a second try once something was said */
    expect(w, &(struct options){.model = "cut-early"}, STATUS_UNAVAILABLE, "", NULL);
    assert_int_equal(w->requests, 3);
    expect(w, &(struct options){.model = "page"}, STATUS_UNAVAILABLE, "", "did not stream");
    expect(w, &(struct options){.model = "garbage"}, STATUS_PROTOCOL, "", "not a JSON object");
}

static void test_cancel_closes_the_transfer(void **state)
{
    struct world *w = *state;
    struct question q;
    ask(w, &(struct options){.model = "drip", .cancel_after_ms = 1500}, &q);
    assert_int_equal(q.error.code, STATUS_CANCELLED);
    assert_non_null(strstr(buf_view(&q.text).ptr, "drip "));
    buf_deinit(&q.text);
    for (int i = 0; i < 12000 && w->dropped == 0; i++) {
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
        (void)usleep(5000);
    }
    assert_int_equal(w->dropped, 1); /* the server sees it */
    ask(w, &(struct options){.model = "hang", .cancel_after_ms = 100}, &q);
    assert_int_equal(q.error.code, STATUS_CANCELLED);
    buf_deinit(&q.text);
    ask(w, &(struct options){.model = "drip", .cancel_in_text = true}, &q);
    assert_int_equal(q.error.code, STATUS_CANCELLED);
    assert_string_equal(buf_view(&q.text).ptr, "drip ");
    buf_deinit(&q.text);
}

static void test_holding_back(void **state)
{
    struct world *w = *state;
    struct question q;
    ask(w, &(struct options){.model = "good", .hold = true}, &q);
    assert_int_equal(q.error.code, STATUS_OK);
    assert_string_equal(buf_view(&q.text).ptr, GOOD);
    assert_true(q.holds >= 1);
    buf_deinit(&q.text);
}

static void test_egress_keeps_the_door(void **state)
{
    struct world *w = *state;
    expect(w, &(struct options){.model = "good", .other_destination = true, .total_ms = 1500},
           STATUS_UNAVAILABLE, "", "cannot be reached");
    assert_int_equal(w->requests, 0);
    expect(w, &(struct options){.model = "good", .no_private = true, .total_ms = 1500},
           STATUS_UNAVAILABLE, "", "cannot be reached");
    assert_int_equal(w->requests, 0);
    expect(w, &(struct options){.model = "good", .no_egress = true, .total_ms = 1500},
           STATUS_UNAVAILABLE, "", "cannot be reached");
    assert_int_equal(w->requests, 0);
}

static void test_a_key_that_others_can_read_is_refused(void **state)
{
    struct world *w = *state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/key", w->dir);
    assert_int_equal(chmod(path, 0644), 0);
    struct settings settings = {.home = w->dir};
    settings.generate.upstream =
        (struct upstream_settings){.url = w->url, .model = "good", .key_file = "key"};
    struct engine *e = NULL;
    struct error err = {0};
    assert_int_equal(upstream_engine_new(&w->loop, &settings, "/tmp/none", &e, &err), STATUS_OK);
    assert_non_null(upstream_engine_unready(e));
    assert_non_null(strstr(upstream_engine_unready(e), "chmod 600"));
    Ge__ChatRequest request = GE__CHAT_REQUEST__INIT;
    struct engine_job *job = NULL;
    assert_int_equal(e->ops->start(e, &request, &sink, NULL, &job, &err), STATUS_UNAVAILABLE);
    struct question q = {0};
    e->ops->close(e, on_closed, &q);
    while (q.closed == 0) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_streams_an_answer),
                                       TEST(test_calls_of_functions),
                                       TEST(test_tries_again_when_told_to),
                                       TEST(test_gives_up_in_time),
                                       TEST(test_broken_answers_are_said),
                                       TEST(test_cancel_closes_the_transfer),
                                       TEST(test_holding_back),
                                       TEST(test_egress_keeps_the_door),
                                       TEST(test_a_key_that_others_can_read_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
