/* Calls between two real processes: many at once, streams, stalls, cancels, deadlines, deaths. */
#include "base/rpc/rpc.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "tests/unit/base/rpc_fixture.h"

static void test_interleaved(void **state)
{
    struct fixture *f = *state;
    struct many all;
    /* Once before there is a connection, once over the one that stands. */
    for (int round = 0; round < 2; round++) {
        struct one_of_many *ones = start_many(f->client, &all, MANY);
        turn_until(f, &all.done);
        assert_int_equal(all.wrong, 0);
        free(ones);
    }
}

static void test_stalled_reader(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    struct many all;
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    q.has_replies = q.has_reply_bytes = 1;
    q.replies = 100;
    q.reply_bytes = 100000;
    struct rpc_request *r = start_method(f->client, &echo_down_method, NULL, &q, &o);
    o.stop_after_first = true;
    while (o.replies == 0) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    struct one_of_many *ones = start_many(f->client, &all, MANY - 1);
    turn_until(f, &all.done);
    assert_int_equal(all.wrong, 0);
    assert_int_equal(o.replies, 1); /* it stood still all the while */
    assert_false(o.done);
    free(ones);
    o.stop_after_first = false;
    rpc_request_resume(r);
    assert_int_equal(o.replies, 1); /* not from inside resume */
    turn_until(f, &o.done);
    assert_int_equal(o.err.code, STATUS_OK);
    assert_int_equal(o.replies, 100);
    assert_int_equal(o.number, 99);
}

/* ---- request streams */

struct upload {
    struct outcome o;
    struct rpc_request *r;
    uint32_t left, sent, busy;
    uint32_t bytes;
    bool both;
    uint32_t next_reply;
};

static void upload_more(struct rpc_request *r, void *data)
{
    struct upload *u = data;
    uint8_t *blob = calloc(1, u->bytes + 1);
    assert_non_null(blob);
    while (u->left > 0) {
        Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
        char text[32];
        (void)snprintf(text, sizeof text, "part %u", u->sent);
        q.has_blob = 1;
        q.blob.data = blob;
        q.blob.len = u->bytes;
        q.has_number = 1;
        q.number = u->sent;
        q.text = text;
        enum status s = u->both ? echo_both_send(r, &q) : echo_up_send(r, &q);
        if (s != STATUS_OK) {
            assert_int_equal(s, STATUS_BUSY);
            u->busy++;
            break;
        }
        u->sent++;
        u->left--;
    }
    free(blob);
    if (u->left == 0) {
        rpc_request_end(r);
    }
}

static void upload_on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct upload *u = data;
    char text[32];
    (void)snprintf(text, sizeof text, "part %u", u->next_reply++);
    on_reply(r, m, &u->o);
    if (u->both) {
        assert_string_equal(u->o.text, text);
    }
}

static void upload_on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    on_finish(r, err, &((struct upload *)data)->o);
}

static const struct rpc_callbacks upload_callbacks = {
    .on_reply = upload_on_reply, .on_ready = upload_more, .on_finish = upload_on_finish};

static void test_request_stream(void **state)
{
    struct fixture *f = *state;
    struct upload u = {.left = 300, .bytes = 50000};
    u.r = echo_up(f->client, NULL, NULL, &upload_callbacks, &u);
    upload_more(u.r, &u);
    turn_until(f, &u.o.done);
    assert_int_equal(u.o.err.code, STATUS_OK);
    assert_int_equal(u.o.number, 300);
    assert_int_equal(u.o.peer, 300 * 50000);
    assert_true(u.busy > 0);
}

static void test_both_streams(void **state)
{
    struct fixture *f = *state;
    struct upload u = {.left = 20000, .bytes = 200, .both = true};
    u.r = echo_both(f->client, NULL, NULL, &upload_callbacks, &u);
    upload_more(u.r, &u);
    turn_until(f, &u.o.done);
    assert_int_equal(u.o.err.code, STATUS_OK);
    assert_int_equal(u.o.replies, 20000);
}

static void test_stalled_server_handler(void **state)
{
    struct fixture *f = *state;
    struct upload u = {.left = 100, .bytes = 50000};
    struct many all;
    struct outcome o;
    Echo__EchoRequest first = ECHO__ECHO_REQUEST__INIT;
    first.has_number = 1;
    first.number = 1;
    u.r = echo_up(f->client, NULL, &first, &upload_callbacks, &u);
    upload_more(u.r, &u);
    struct one_of_many *ones = start_many(f->client, &all, 2000);
    turn_until(f, &all.done);
    assert_int_equal(all.wrong, 0);
    free(ones);
    assert_true(u.left > 0); /* no more than a window went out */
    assert_true(u.sent <= 1024 * 1024 / 50000 + 2);
    assert_int_equal(call(f, f->client, &echo_stats_method, NULL, 77, &o), STATUS_OK);
    turn_until(f, &u.o.done);
    assert_int_equal(u.o.err.code, STATUS_OK);
    assert_int_equal(u.o.number, 101);
}

/* ---- cancel, deadline, death */

static uint32_t cancels(struct fixture *f)
{
    struct outcome o;
    assert_int_equal(call(f, f->client, &echo_stats_method, NULL, 0, &o), STATUS_OK);
    return o.cancels;
}

static void must_not_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    (void)err;
    (void)data;
    fail();
}

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    static const struct rpc_callbacks cb = {.on_finish = must_not_finish};
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    struct rpc_request *before = echo_slow(f->client, NULL, &q, &cb, NULL);
    rpc_request_cancel(before); /* never left this process */
    assert_int_equal(cancels(f), 0);
    struct rpc_request *r = echo_slow(f->client, NULL, &q, &cb, NULL);
    assert_int_equal(cancels(f), 0);
    rpc_request_cancel(r);
    assert_int_equal(cancels(f), 1);
    assert_works(f, f->client);
}

static void test_deadline(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    const struct rpc_options opt = {.timeout_ms = 100};
    assert_works(f, f->client);
    int64_t start = clock_monotonic_ms();
    assert_int_equal(call(f, f->client, &echo_slow_method, &opt, 0, &o), STATUS_DEADLINE);
    int64_t took = clock_monotonic_ms() - start;
    assert_in_range(took, 95, 30000);
    assert_int_equal(cancels(f), 1);
}

static void test_server_killed_mid_stream(void **state)
{
    struct fixture *f = *state;
    struct outcome o, other;
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    q.has_replies = q.has_reply_bytes = 1;
    q.replies = 1000000;
    q.reply_bytes = 1000;
    (void)start_method(f->client, &echo_down_method, NULL, &q, &o);
    while (o.replies < 3) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(kill(f->server, SIGKILL), 0);
    assert_int_equal(waitpid(f->server, NULL, 0), f->server);
    turn_until(f, &o.done);
    assert_int_equal(o.err.code, STATUS_UNAVAILABLE);
    assert_false(rpc_client_connected(f->client));

    /* Known to be down: at once, not after the deadline. */
    int64_t start = clock_monotonic_ms();
    assert_int_equal(call(f, f->client, &echo_echo_method, NULL, 1, &other), STATUS_UNAVAILABLE);
    assert_true(clock_monotonic_ms() - start < 10000);

    /* Who waits is served as soon as the peer is back; its socket file was left behind. */
    const struct rpc_options wait = {.wait_for_ready = true};
    (void)start_method(f->client, &echo_stats_method, &wait, &q, &o);
    f->server = start_server(f);
    turn_until(f, &o.done);
    assert_int_equal(o.err.code, STATUS_OK);
    assert_int_equal(o.pid, f->server);
    assert_works(f, f->client);
}

static void test_waits_no_longer_than_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    char address[128];
    struct rpc_client *nobody;
    struct error err;
    (void)snprintf(address, sizeof address, "unix:%s/nobody.sock", f->folder);
    assert_int_equal(
        rpc_client_new(&f->loop, &f->ids[PEER_RETRIEVE], PEER_EMBED, address, NULL, &nobody, &err),
        STATUS_OK);
    const struct rpc_options wait = {.wait_for_ready = true, .timeout_ms = 200};
    assert_int_equal(call(f, nobody, &echo_echo_method, NULL, 1, &o), STATUS_UNAVAILABLE);
    assert_int_equal(call(f, nobody, &echo_echo_method, &wait, 1, &o), STATUS_DEADLINE);
    close_client(f, nobody);
}

static void test_close_ends_requests(void **state)
{
    struct fixture *f = *state;
    struct outcome o, late;
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    struct rpc_client *c = new_client(f, &f->ids[PEER_RETRIEVE]);
    assert_works(f, c);
    (void)start_method(c, &echo_slow_method, NULL, &q, &o);
    (void)start_method(c, &echo_echo_method, NULL, NULL, &late); /* refused, but not in start */
    close_client(f, c);
    assert_true(o.done);
    assert_int_equal(o.err.code, STATUS_CANCELLED);
    assert_true(late.done);
    while (cancels(f) == 0) { /* the other side hears of it by the connection's end */
    }
}

/* ---- priority */

struct order {
    unsigned finished;
    unsigned interactive_at;
    bool done;
};

struct ordered {
    struct order *all;
    bool interactive;
};

static void order_on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct ordered *o = data;
    assert_int_equal(err->code, STATUS_OK);
    o->all->finished++;
    if (o->interactive) {
        o->all->interactive_at = o->all->finished;
    }
    o->all->done = o->all->finished == 201;
}

static void test_interactive_goes_first(void **state)
{
    struct fixture *f = *state;
    static const struct rpc_callbacks cb = {.on_finish = order_on_finish};
    static uint8_t blob[20000];
    struct order all = {0};
    struct ordered background = {.all = &all};
    struct ordered interactive = {.all = &all, .interactive = true};
    const struct rpc_options low = {.priority = 1};
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    assert_works(f, f->client);
    q.has_blob = 1;
    q.blob.data = blob;
    q.blob.len = sizeof blob;
    for (int i = 0; i < 200; i++) {
        assert_non_null(echo_echo(f->client, &low, &q, &cb, &background));
    }
    assert_non_null(echo_echo(f->client, NULL, &q, &cb, &interactive));
    turn_until(f, &all.done); /* and none of the others is forgotten */
    assert_int_equal(all.interactive_at, 1);
}

/* What the callee and the caller's own callbacks took is the effort's, with every reply and at the
 * end; one that ends before the call takes nothing and is touched by nobody. */
static void test_effort(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    struct effort e;
    struct effort gone;
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    const struct rpc_options told = {.effort = &e};
    const struct rpc_options lost = {.effort = &gone};
    effort_init(&e);
    int64_t before = 0;
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(call(f, f->client, &echo_echo_method, &told, i, &o), STATUS_OK);
        assert_true(effort_cpu_us(&e) > before);
        before = effort_cpu_us(&e);
    }
    q.has_replies = q.has_reply_bytes = 1;
    q.replies = 200;
    q.reply_bytes = 10000;
    (void)start_method(f->client, &echo_down_method, &told, &q, &o);
    while (o.replies < 100) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    int64_t half = effort_cpu_us(&e);
    assert_true(half > before);
    turn_until(f, &o.done);
    assert_true(effort_cpu_us(&e) > half);
    effort_init(&gone);
    (void)start_method(f->client, &echo_down_method, &lost, &q, &o);
    while (o.replies == 0) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    effort_end(&gone);
    memset(&gone, 0xee, sizeof gone);
    turn_until(f, &o.done);
    assert_int_equal(o.replies, 200);
    effort_end(&e);
}

int main(int argc, char **argv)
{
    int exit_code;
    if (fixture_main(argc, argv, &exit_code)) {
        return exit_code;
    }
#define WITH_SERVER(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_interleaved),
        WITH_SERVER(test_stalled_reader),
        WITH_SERVER(test_request_stream),
        WITH_SERVER(test_both_streams),
        WITH_SERVER(test_stalled_server_handler),
        WITH_SERVER(test_cancel),
        WITH_SERVER(test_deadline),
        WITH_SERVER(test_server_killed_mid_stream),
        WITH_SERVER(test_waits_no_longer_than_its_deadline),
        WITH_SERVER(test_close_ends_requests),
        WITH_SERVER(test_interactive_goes_first),
        WITH_SERVER(test_effort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
