/* The RPC library between two real processes: this one asks, a copy of it started with --server
 * answers. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rpc/conn.h"
#include "tests/unit/base/echo_service.h"
#include "tests/unit/base/make_certificates.h"
#include "tests/unit/test.h"

struct fixture {
    char folder[64];
    char address[128];
    struct identity ids[PEER_COUNT];
    uv_loop_t loop;
    uv_timer_t alarm;
    struct rpc_client *client; /* retrieve */
    pid_t server;
};

/* ---- the other process
 * --------------------------------------------------------------------------- */

static pid_t start_server(const struct fixture *f)
{
    int p[2];
    char ready = 0;
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(p[1], 3);
        execl("/proc/self/exe", "rpc-server", "--server", f->folder, f->address, (char *)NULL);
        _exit(127);
    }
    (void)close(p[1]);
    ssize_t n = read(p[0], &ready, 1);
    (void)close(p[0]);
    assert_int_equal(n, 1);
    return pid;
}

static void stop_server(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0); /* no handle left, no leak */
}

static void on_alarm(uv_timer_t *t)
{
    (void)t;
    fprintf(stderr, "the loop waited for something that never came\n");
    abort();
}

static struct rpc_client *new_client(struct fixture *f, const struct identity *as)
{
    struct rpc_client *c;
    struct error err;
    enum status s = rpc_client_new(&f->loop, as, PEER_VECTORSTORE, f->address, NULL, &c, &err);
    assert_int_equal(s, STATUS_OK);
    return c;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void turn_until(struct fixture *f, const bool *done)
{
    while (!*done) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void close_client(struct fixture *f, struct rpc_client *c)
{
    bool closed = false;
    rpc_client_close(c, on_closed, &closed);
    turn_until(f, &closed);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error err;
    char path[128];
    uint8_t record[IDENTITY_RECORD_BYTES];
    assert_non_null(f);
    test_folder(f->folder);
    (void)snprintf(f->address, sizeof f->address, "unix:%s/echo.sock", f->folder);
    identity_make(f->ids);
    identity_encode(&f->ids[PEER_VECTORSTORE], record);
    (void)snprintf(path, sizeof path, "%s/vectorstore.identity", f->folder);
    assert_int_equal(file_write_atomic(path, record, sizeof record, 0600, &err), STATUS_OK);
    f->server = start_server(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    (void)uv_timer_init(&f->loop, &f->alarm);
    (void)uv_timer_start(&f->alarm, on_alarm, 50000, 0);
    f->client = new_client(f, &f->ids[PEER_RETRIEVE]);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_client(f, f->client);
    stop_server(f->server);
    uv_close((uv_handle_t *)&f->alarm, NULL);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

/* ---- one call, waited for
 * ------------------------------------------------------------------------ */

struct outcome {
    bool done;
    unsigned replies;
    struct error err;
    uint32_t number, cancels, pid, peer;
    char text[64], tenant[64], user[64];
    bool in_start; /* set while rpc_client_start runs: nothing may call back then */
    bool stop_after_first;
};

static void copy_text(char out[64], const char *z)
{
    (void)snprintf(out, 64, "%s", z == NULL ? "(none)" : z);
}

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    struct outcome *o = data;
    const Echo__EchoReply *e = echo_echo_reply(m);
    assert_non_null(e);
    assert_false(o->in_start);
    o->replies++;
    o->number = e->number;
    o->cancels = e->cancels;
    o->pid = e->pid;
    o->peer = e->peer;
    copy_text(o->text, e->text);
    copy_text(o->tenant, e->tenant);
    copy_text(o->user, e->user);
    if (o->stop_after_first) {
        rpc_request_pause(r);
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct outcome *o = data;
    assert_false(o->in_start);
    assert_false(o->done);
    o->done = true;
    o->err = *err;
}

static const struct rpc_callbacks collect = {.on_reply = on_reply, .on_finish = on_finish};

static struct rpc_request *start_method(struct rpc_client *c, const struct rpc_method *m,
                                        const struct rpc_options *opt, Echo__EchoRequest *q,
                                        struct outcome *o)
{
    *o = (struct outcome){.in_start = true};
    struct rpc_request *r = rpc_client_start(c, m, opt, q == NULL ? NULL : &q->base, &collect, o);
    assert_non_null(r);
    o->in_start = false;
    return r;
}

static enum status call(struct fixture *f, struct rpc_client *c, const struct rpc_method *m,
                        const struct rpc_options *opt, uint32_t number, struct outcome *o)
{
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    q.has_number = 1;
    q.number = number;
    (void)start_method(c, m, opt, &q, o);
    turn_until(f, &o->done);
    return o->err.code;
}

static void assert_works(struct fixture *f, struct rpc_client *c)
{
    struct outcome o;
    assert_int_equal(call(f, c, &echo_echo_method, NULL, 4711, &o), STATUS_OK);
    assert_int_equal(o.number, 4711);
    assert_int_equal(o.peer, PEER_RETRIEVE);
}

static uint32_t cancels(struct fixture *f)
{
    struct outcome o;
    assert_int_equal(call(f, f->client, &echo_stats_method, NULL, 0, &o), STATUS_OK);
    return o.cancels;
}

/* ---- many calls
 * ---------------------------------------------------------------------------------- */

#define MANY 10000

struct many {
    unsigned finished, wrong, first_interactive_at;
    bool done;
    unsigned expected;
};

struct one_of_many {
    struct many *all;
    uint32_t number;
    unsigned replies;
};

static void many_on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct one_of_many *one = data;
    const Echo__EchoReply *e = echo_echo_reply(m);
    char text[32];
    (void)snprintf(text, sizeof text, "text %u", one->number);
    one->replies++;
    if (e->number != one->number || e->text == NULL || strcmp(e->text, text) != 0) {
        one->all->wrong++;
    }
}

static void many_on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct one_of_many *one = data;
    if (err->code != STATUS_OK || one->replies != 1) {
        one->all->wrong++;
    }
    one->all->done = ++one->all->finished == one->all->expected;
}

static struct one_of_many *start_many(struct rpc_client *c, struct many *all, unsigned n)
{
    static const struct rpc_callbacks cb = {.on_reply = many_on_reply, .on_finish = many_on_finish};
    struct one_of_many *ones = calloc(n, sizeof *ones);
    assert_non_null(ones);
    *all = (struct many){.expected = n};
    for (unsigned i = 0; i < n; i++) {
        char text[32];
        Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
        ones[i] = (struct one_of_many){.all = all, .number = i * 7 + 1};
        (void)snprintf(text, sizeof text, "text %u", ones[i].number);
        q.has_number = 1;
        q.number = ones[i].number;
        q.text = text;
        assert_non_null(echo_echo(c, NULL, &q, &cb, &ones[i]));
    }
    return ones;
}

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

/* ---- request streams
 * ------------------------------------------------------------------------------ */

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

/* ---- cancel, deadline, death
 * ---------------------------------------------------------------------- */

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
    assert_in_range(took, 95, 5000);
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
    assert_true(clock_monotonic_ms() - start < 1000);

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

/* ---- who may
 * -------------------------------------------------------------------------------------- */

static void test_forbidden_peer(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    assert_int_equal(call(f, f->client, &echo_ingest_only_method, NULL, 1, &o), STATUS_FORBIDDEN);
    struct rpc_client *ingest = new_client(f, &f->ids[PEER_INGEST]);
    assert_int_equal(call(f, ingest, &echo_ingest_only_method, NULL, 1, &o), STATUS_OK);
    assert_int_equal(call(f, ingest, &echo_echo_method, NULL, 1, &o), STATUS_FORBIDDEN);
    close_client(f, ingest);
    assert_works(f, f->client);
}

static void test_bad_proof(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    struct identity others[PEER_COUNT];
    identity_make(others);
    /* Knows everybody's public keys, but not the secret of the peer it claims to be. */
    struct identity liar = f->ids[PEER_RETRIEVE];
    memcpy(liar.secret, others[PEER_RETRIEVE].secret, sizeof liar.secret);
    struct identity names[3] = {liar, others[PEER_RETRIEVE], f->ids[PEER_INGEST]};
    names[2].self = PEER_RETRIEVE;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct rpc_client *c = new_client(f, &names[i]);
        assert_int_equal(call(f, c, &echo_echo_method, NULL, 1, &o), STATUS_UNAVAILABLE);
        close_client(f, c);
    }
    assert_works(f, f->client);
}

static void test_callers(void **state)
{
    struct fixture *f = *state;
    static const char *const groups[] = {"staff"};
    int64_t now = clock_wall_ms();
    const struct {
        enum peer signer;
        const char *tenant;       /* of the caller */
        const char *frame_tenant; /* of the call */
        int64_t expires;
        bool flip;
        enum status expected;
    } cases[] = {
        {PEER_SERVE, "main", "main", 60000, false, STATUS_OK},
        {PEER_SERVE, "main", NULL, 60000, false, STATUS_OK},
        {PEER_SERVE, "main", "main", 60000, false, STATUS_OK}, /* from the cache */
        {PEER_SERVE, "main", "other", 60000, false, STATUS_UNAUTHENTICATED},
        {PEER_SERVE, "main", "main", -1000, false, STATUS_UNAUTHENTICATED},
        {PEER_SERVE, "main", "main", 60000, true, STATUS_UNAUTHENTICATED},
        {PEER_RETRIEVE, "main", "main", 60000, false, STATUS_UNAUTHENTICATED},
        {PEER_SERVE, "../main", NULL, 60000, false, STATUS_INVALID},
    };
    struct arena a;
    arena_init(&a, 64 * 1024);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct outcome o;
        struct error err;
        const uint8_t *token;
        size_t len;
        const struct caller c = {.tenant = cases[i].tenant,
                                 .user = "key:1",
                                 .groups = groups,
                                 .n_groups = 1,
                                 .expires_wall_ms = now + cases[i].expires};
        assert_int_equal(caller_sign(&f->ids[cases[i].signer], &c, &a, &token, &len, &err),
                         STATUS_OK);
        uint8_t *copy = malloc(len);
        assert_non_null(copy);
        memcpy(copy, token, len);
        copy[len / 3] ^= cases[i].flip ? 1 : 0;
        const struct rpc_options opt = {
            .tenant = cases[i].frame_tenant, .caller = copy, .caller_len = len};
        enum status s = call(f, f->client, &echo_echo_method, &opt, 1, &o);
        if (s != cases[i].expected) {
            fprintf(stderr, "case %zu: %s\n", i, o.err.text);
        }
        assert_int_equal(s, cases[i].expected);
        if (s == STATUS_OK) {
            assert_string_equal(o.tenant, "main");
            assert_string_equal(o.user, "key:1");
        }
        free(copy);
    }
    arena_reset(&a);
    struct outcome o;
    const struct rpc_options plain = {.tenant = "acme-2"};
    const struct rpc_options bad = {.tenant = "../etc"};
    assert_int_equal(call(f, f->client, &echo_echo_method, &plain, 1, &o), STATUS_OK);
    assert_string_equal(o.tenant, "acme-2");
    assert_string_equal(o.user, "(none)");
    assert_int_equal(call(f, f->client, &echo_echo_method, &bad, 1, &o), STATUS_INVALID);
    assert_int_equal(call(f, f->client, &echo_echo_method, NULL, 1, &o), STATUS_OK);
    assert_string_equal(o.tenant, "");
}

/* ---- a peer that breaks the rules
 * ----------------------------------------------------------------- */

struct raw {
    struct rpc_conn *conn;
    bool ready, closed, gone;
    struct error why;
    unsigned frames;
    uint32_t end_status;
};

static void raw_on_ready(struct rpc_conn *c)
{
    ((struct raw *)c->owner)->ready = true;
}

static enum status raw_on_frame(struct rpc_conn *c, const struct frame *fr, struct error *err)
{
    (void)err;
    struct raw *r = c->owner;
    r->frames++;
    if (fr->header->kind == RPC__FRAME_KIND__END) {
        r->end_status = fr->header->status;
    }
    return STATUS_OK;
}

static void raw_on_drained(struct rpc_conn *c)
{
    (void)c;
}

static void raw_on_close(struct rpc_conn *c, const struct error *why)
{
    struct raw *r = c->owner;
    r->closed = true;
    r->why = *why;
}

static void raw_on_gone(struct rpc_conn *c)
{
    ((struct raw *)c->owner)->gone = true;
}

static void raw_open(struct fixture *f, struct raw *r)
{
    static const struct rpc_conn_ops ops = {.on_ready = raw_on_ready,
                                            .on_frame = raw_on_frame,
                                            .on_drained = raw_on_drained,
                                            .on_close = raw_on_close,
                                            .on_gone = raw_on_gone};
    struct error err;
    struct rpc_address a;
    *r = (struct raw){0};
    const struct rpc_conn_options o = {.loop = &f->loop,
                                       .identity = &f->ids[PEER_RETRIEVE],
                                       .ops = &ops,
                                       .owner = r,
                                       .client = true,
                                       .target = PEER_VECTORSTORE,
                                       .window = CONN_WINDOW_LEAST,
                                       .hello_timeout_ms = 5000,
                                       .body_max = RPC_MESSAGE_MAX};
    assert_int_equal(rpc_address_parse(f->address, &a, &err), STATUS_OK);
    assert_int_equal(rpc_conn_new(&o, &r->conn, &err), STATUS_OK);
    assert_int_equal(rpc_conn_connect(r->conn, &a, &err), STATUS_OK);
    turn_until(f, &r->ready);
}

static void raw_bytes(struct raw *r, const void *p, size_t len)
{
    struct out_frame *o = malloc(sizeof *o + len);
    assert_non_null(o);
    *o = (struct out_frame){.len = len};
    memcpy(o->data, p, len);
    assert_true(rpc_conn_send(r->conn, o, 0));
}

static Rpc__FrameHeader raw_header(Rpc__FrameKind kind, uint32_t id)
{
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = kind;
    h.has_id = 1;
    h.id = id;
    return h;
}

static void raw_request(struct raw *r, uint32_t id, const char *method, const void *body,
                        size_t len)
{
    Rpc__FrameHeader h = raw_header(RPC__FRAME_KIND__REQUEST, id);
    char name[32];
    (void)snprintf(name, sizeof name, "%s", method);
    h.method = name;
    h.has_has_message = h.has_message = 1;
    assert_true(rpc_conn_send(r->conn, frame_encode_bytes(&h, body, len), 0));
}

enum offence {
    NO_HEADER,
    HEADER_TOO_LONG,
    BODY_TOO_LONG,
    HEADER_GARBAGE,
    UNKNOWN_METHOD,
    ID_ZERO,
    ID_TWICE,
    NO_MESSAGE,
    BODY_GARBAGE,
    SECOND_HELLO,
    OVER_WINDOW,
    AFTER_END,
    OFFENCES
};

static void commit_offence(struct raw *r, enum offence o)
{
    static const uint8_t junk[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    Rpc__FrameHeader h;
    switch (o) {
    case NO_HEADER:
        raw_bytes(r, (const uint8_t[8]){0}, 8);
        break;
    case HEADER_TOO_LONG:
        raw_bytes(r, (const uint8_t[8]){0x01, 0x20, 0, 0}, 8);
        break;
    case BODY_TOO_LONG:
        raw_bytes(r, (const uint8_t[8]){4, 0, 0, 0, 1, 0, 0x40, 0}, 8);
        break;
    case HEADER_GARBAGE:
        raw_bytes(r, (const uint8_t[12]){4, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 12);
        break;
    case UNKNOWN_METHOD:
        raw_request(r, 1, "echo.Nothing", NULL, 0);
        break;
    case ID_ZERO:
        raw_request(r, 0, "echo.Echo", NULL, 0);
        break;
    case ID_TWICE:
        raw_request(r, 5, "echo.Slow", NULL, 0);
        raw_request(r, 5, "echo.Echo", NULL, 0);
        break;
    case NO_MESSAGE:
        h = raw_header(RPC__FRAME_KIND__REQUEST, 1);
        h.method = (char[]){"echo.Echo"};
        assert_true(rpc_conn_send_message(r->conn, &h, NULL, 0));
        break;
    case BODY_GARBAGE:
        raw_request(r, 1, "echo.Echo", junk, sizeof junk);
        break;
    case SECOND_HELLO:
        h = raw_header(RPC__FRAME_KIND__HELLO, 0);
        assert_true(rpc_conn_send_message(r->conn, &h, NULL, 0));
        break;
    case OVER_WINDOW:
        /* a field the service does not know, 60 KiB at a time, never reading credit */
        raw_request(r, 1, "echo.Up", (const uint8_t[2]){0x10, 1}, 2);
        for (int i = 0; i < 24; i++) {
            static uint8_t body[60004] = {0x1a, 0xe0, 0xd4, 0x03};
            h = raw_header(RPC__FRAME_KIND__MESSAGE, 1);
            assert_true(rpc_conn_send(r->conn, frame_encode_bytes(&h, body, sizeof body), 0));
        }
        break;
    case AFTER_END:
        raw_request(r, 1, "echo.Up", (const uint8_t[2]){0x10, 1}, 2); /* paused: the call stays */
        h = raw_header(RPC__FRAME_KIND__END, 1);
        assert_true(rpc_conn_send_message(r->conn, &h, NULL, 0));
        h = raw_header(RPC__FRAME_KIND__MESSAGE, 1);
        assert_true(rpc_conn_send_message(r->conn, &h, NULL, 0));
        break;
    case OFFENCES:
        break;
    }
}

static void test_offences_close_that_connection_only(void **state)
{
    struct fixture *f = *state;
    assert_works(f, f->client);
    for (int o = 0; o < OFFENCES; o++) {
        struct raw r;
        raw_open(f, &r);
        commit_offence(&r, (enum offence)o);
        turn_until(f, &r.closed);
        turn_until(f, &r.gone);
        assert_true(rpc_client_connected(f->client));
        assert_works(f, f->client);
    }
}

static void test_bad_strings_end_the_call_only(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint8_t bytes[8];
        size_t len;
    } cases[] = {
        {{0x0a, 2, 0xc3, 0x28}, 4},       /* broken sequence */
        {{0x0a, 3, 'a', 0, 'b'}, 5},      /* NUL inside */
        {{0x0a, 3, 0xed, 0xa0, 0x80}, 5}, /* a surrogate */
        {{0x0a, 2, 0xc0, 0xaf}, 4},       /* overlong */
    };
    struct raw r;
    raw_open(f, &r);
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        r.end_status = 0;
        raw_request(&r, i + 1, "echo.Echo", cases[i].bytes, cases[i].len);
        while (r.end_status == 0) {
            (void)uv_run(&f->loop, UV_RUN_ONCE);
        }
        assert_int_equal(r.end_status, STATUS_INVALID);
        assert_false(r.closed);
    }
    rpc_conn_close(r.conn, NULL);
    turn_until(f, &r.gone);
}

/* Bytes before any hello: the socket is closed by the server, at once or at the hello's time-out.
 */
static void test_strangers(void **state)
{
    struct fixture *f = *state;
    static const char *const greetings[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x01", ""};
    for (size_t i = 0; i < COUNT_OF(greetings); i++) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        char c;
        (void)snprintf(to.sun_path, sizeof to.sun_path, "%s", f->address + 5);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const struct timeval limit = {.tv_sec = 10};
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
        assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
        size_t len = strlen(greetings[i]);
        assert_int_equal(send(fd, greetings[i], len, MSG_NOSIGNAL), (ssize_t)len);
        ssize_t n;
        do { /* the server's own hello comes first */
            n = recv(fd, &c, 1, 0);
        } while (n > 0);
        assert_true(n == 0 || errno == ECONNRESET);
        (void)close(fd);
    }
    assert_works(f, f->client);
}

/* ---- priority
 * ------------------------------------------------------------------------------------- */

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

/* ---- over TCP
 * ------------------------------------------------------------------------------------- */

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)close(fd);
    return ntohs(at.sin_port);
}

static struct tls_context *load_context(const struct fixture *f, const char *name, const char *ca)
{
    char crt[128], key[128], authority[128];
    struct tls_context *c;
    struct error err;
    (void)snprintf(crt, sizeof crt, "%s/%s.crt", f->folder, name);
    (void)snprintf(key, sizeof key, "%s/%s.key", f->folder, name);
    (void)snprintf(authority, sizeof authority, "%s/%s.crt", f->folder, ca);
    const struct tls_files files = {.certificate = crt, .key = key, .ca = authority};
    assert_int_equal(tls_context_new(&files, &c, &err), STATUS_OK);
    return c;
}

static enum status call_over_tls(struct fixture *f, const char *name, const char *ca,
                                 struct outcome *o)
{
    struct error err;
    struct rpc_client *c;
    struct tls_context *tls = load_context(f, name, ca);
    assert_int_equal(rpc_client_new(&f->loop, &f->ids[PEER_RETRIEVE], PEER_VECTORSTORE, f->address,
                                    tls, &c, &err),
                     STATUS_OK);
    enum status s = call(f, c, &echo_echo_method, NULL, 4711, o);
    if (s == STATUS_OK) {
        struct many all;
        struct one_of_many *ones = start_many(c, &all, 1000);
        turn_until(f, &all.done);
        assert_int_equal(all.wrong, 0);
        free(ones);
        struct outcome big;
        Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
        q.has_replies = q.has_reply_bytes = 1;
        q.replies = 10;
        q.reply_bytes = 1000000;
        (void)start_method(c, &echo_down_method, NULL, &q, &big);
        turn_until(f, &big.done);
        assert_int_equal(big.err.code, STATUS_OK);
        assert_int_equal(big.replies, 10);
    }
    close_client(f, c);
    tls_context_free(tls);
    return s;
}

static void test_mutual_tls(void **state)
{
    struct fixture *f = *state;
    struct outcome o;
    struct error err;
    struct rpc_client *plain;
    struct authority ca = make_authority(f->folder, "ca");
    struct authority stranger = make_authority(f->folder, "stranger");
    make_signed(f->folder, "vectorstore", "vectorstore", &ca);
    make_signed(f->folder, "retrieve", "retrieve", &ca);
    make_signed(f->folder, "ingest", "ingest", &ca);
    make_signed(f->folder, "forged", "retrieve", &stranger);
    pid_t unix_server = f->server;
    char unix_address[sizeof f->address];
    memcpy(unix_address, f->address, sizeof unix_address);
    (void)snprintf(f->address, sizeof f->address, "tls:127.0.0.1:%d", free_port());
    assert_int_equal(rpc_client_new(&f->loop, &f->ids[PEER_RETRIEVE], PEER_VECTORSTORE, f->address,
                                    NULL, &plain, &err),
                     STATUS_INVALID); /* never without TLS */
    f->server = start_server(f);

    assert_int_equal(call_over_tls(f, "retrieve", "ca", &o), STATUS_OK);
    assert_int_equal(o.number, 4711);
    assert_int_equal(o.peer, PEER_RETRIEVE);
    /* signed by nobody we know; a server we do not know; a certificate of another name */
    assert_int_equal(call_over_tls(f, "forged", "ca", &o), STATUS_UNAVAILABLE);
    assert_int_equal(call_over_tls(f, "retrieve", "stranger", &o), STATUS_UNAVAILABLE);
    assert_int_equal(call_over_tls(f, "ingest", "ca", &o), STATUS_UNAVAILABLE);
    assert_int_equal(call_over_tls(f, "retrieve", "ca", &o), STATUS_OK);

    stop_server(f->server);
    f->server = unix_server;
    memcpy(f->address, unix_address, sizeof unix_address);
    forget_authority(&ca);
    forget_authority(&stranger);
}

/* ---- addresses
 * ------------------------------------------------------------------------------------ */

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"unix:/tmp/x.sock", true}, {"tls:127.0.0.1:80", true}, {"tls:[::1]:80", true},
        {"tls:host.name:1", true},  {"unix:", false},           {"tcp:127.0.0.1:80", false},
        {"tls:127.0.0.1", false},   {"tls::80", false},         {"tls:a:65536", false},
        {"tls:a:8x", false},        {"tls:a:", false},          {"", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rpc_address a;
        struct error err;
        assert_int_equal(rpc_address_parse(cases[i].text, &a, &err) == STATUS_OK, cases[i].good);
    }
}

static void test_long_socket_path(void **state)
{
    struct fixture *f = *state;
    char folder[300];
    struct error err;
    int n = snprintf(folder, sizeof folder, "%s/", f->folder);
    memset(folder + n, 'd', 150);
    (void)snprintf(folder + n + 150, sizeof folder - (size_t)n - 150, "/run");
    assert_int_equal(file_mkdirs(folder, 0700, &err), STATUS_OK);
    char long_address[400];
    (void)snprintf(long_address, sizeof long_address, "unix:%s/v.sock", folder);
    struct rpc_server *server;
    struct rpc_client *c;
    struct rpc_server *second;
    assert_int_equal(
        rpc_server_new(&f->loop, &f->ids[PEER_VECTORSTORE], NULL, 0, NULL, NULL, &server, &err),
        STATUS_OK);
    assert_int_equal(rpc_server_listen(server, long_address, &err), STATUS_OK);
    assert_int_equal(
        rpc_server_new(&f->loop, &f->ids[PEER_VECTORSTORE], NULL, 0, NULL, NULL, &second, &err),
        STATUS_OK);
    /* A socket that somebody answers is not taken away from him. */
    assert_int_equal(rpc_server_listen(second, long_address, &err), STATUS_CONFLICT);
    assert_int_equal(rpc_client_new(&f->loop, &f->ids[PEER_RETRIEVE], PEER_VECTORSTORE,
                                    long_address, NULL, &c, &err),
                     STATUS_OK);
    struct outcome o;
    /* no such method there: that it is the protocol's fault shows that the connection came about */
    assert_int_equal(call(f, c, &echo_echo_method, NULL, 1, &o), STATUS_UNAVAILABLE);
    struct rpc_server_stats stats;
    rpc_server_stats(server, &stats);
    assert_true(stats.connections_total >= 1);
    close_client(f, c);
    bool closed = false, closed_too = false;
    rpc_server_close(server, on_closed, &closed);
    rpc_server_close(second, on_closed, &closed_too);
    turn_until(f, &closed);
    turn_until(f, &closed_too);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--server") == 0) {
        return echo_service_run(argv[2], argv[3]);
    }
    log_init("test", LOG_LEVEL_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
#define WITH_SERVER(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
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
        WITH_SERVER(test_forbidden_peer),
        WITH_SERVER(test_bad_proof),
        WITH_SERVER(test_callers),
        WITH_SERVER(test_offences_close_that_connection_only),
        WITH_SERVER(test_bad_strings_end_the_call_only),
        WITH_SERVER(test_strangers),
        WITH_SERVER(test_interactive_goes_first),
        WITH_SERVER(test_mutual_tls),
        WITH_SERVER(test_long_socket_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
