/* Who may not, and peers that break the rules: each loses its own connection, or only its call. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rpc/conn.h"
#include "tests/unit/base/rpc_fixture.h"

/* ---- who may */

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

/* ---- a peer that breaks the rules */

struct raw {
    struct rpc_conn *conn;
    bool ready, closed, gone;
    struct error why;
    unsigned messages, ends;
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
    r->messages += fr->header->kind == RPC__FRAME_KIND__MESSAGE ? 1 : 0;
    if (fr->header->kind == RPC__FRAME_KIND__END) {
        r->ends++;
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

/* ---- more than is allowed */

/* A peer that asks and asks and never reads: past the connection's mark it is told BUSY, and memory
 * stays bounded; everybody else is served meanwhile. */
static void test_peer_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    enum { REQUESTS = 420, BLOB = 300 * 1024 };
    struct raw r;
    uint8_t *body = calloc(1, BLOB + 8);
    assert_non_null(body);
    /* field 3, bytes, 307200 long */
    memcpy(body, (const uint8_t[4]){0x1a, 0x80, 0xe0, 0x12}, 4);
    raw_open(f, &r);
    assert_int_equal(uv_read_stop(&r.conn->io.stream), 0);
    for (uint32_t i = 1; i <= REQUESTS; i++) {
        raw_request(&r, i, "echo.Echo", body, BLOB + 4);
        while (r.conn->queued > 1024 * 1024) { /* all of it is taken from us */
            (void)uv_run(&f->loop, UV_RUN_ONCE);
        }
    }
    assert_works(f, f->client);
    assert_false(r.closed);
    assert_int_equal(rpc_conn_read_start(r.conn), 0);
    while (r.ends + r.messages < REQUESTS) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(r.end_status, STATUS_BUSY);
    assert_in_range((size_t)r.messages * BLOB, CONN_QUEUE_MAX / 2,
                    CONN_QUEUE_MAX + 4 * 1024 * 1024);
    free(body);
    rpc_conn_close(r.conn, NULL);
    turn_until(f, &r.gone);
}

static void forever_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)call;
    (void)m;
}

static void forever_on_cancel(struct rpc_call *call)
{
    rpc_call_finish(call, STATUS_CANCELLED, NULL);
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    static const struct rpc_handler handlers[] = {{.method = &echo_slow_method,
                                                   .on_request = forever_on_request,
                                                   .on_cancel = forever_on_cancel}};
    const struct rpc_limits limits = {.calls_per_connection = 4, .connections = 2};
    struct rpc_server *server;
    struct rpc_server_stats stats;
    struct error err;
    struct outcome calls[5], third;
    struct rpc_client *c[3];
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    (void)snprintf(f->address, sizeof f->address, "unix:%s/small.sock", f->folder);
    assert_int_equal(rpc_server_new(&f->loop, &f->ids[PEER_VECTORSTORE], handlers, 1, &limits, NULL,
                                    &server, &err),
                     STATUS_OK);
    assert_int_equal(rpc_server_listen(server, f->address, &err), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        c[i] = new_client(f, &f->ids[PEER_RETRIEVE]);
    }
    for (int i = 0; i < 5; i++) {
        (void)start_method(c[0], &echo_slow_method, NULL, &q, &calls[i]);
    }
    turn_until(f, &calls[4].done);
    assert_int_equal(calls[4].err.code, STATUS_BUSY);
    for (int i = 0; i < 4; i++) {
        assert_false(calls[i].done);
    }
    /* A second connection is let in (its call ends by its deadline), a third is not. */
    const struct rpc_options shortly = {.timeout_ms = 1000};
    assert_int_equal(call(f, c[1], &echo_slow_method, &shortly, 0, &third), STATUS_DEADLINE);
    assert_int_equal(call(f, c[2], &echo_slow_method, NULL, 0, &third), STATUS_UNAVAILABLE);
    rpc_server_stats(server, &stats);
    assert_int_equal(stats.calls_now, 4);
    assert_true(stats.connections_refused >= 1);

    /* The server's end: whoever waits is told. */
    bool closed = false;
    rpc_server_close(server, on_closed, &closed);
    turn_until(f, &closed);
    for (int i = 0; i < 4; i++) {
        turn_until(f, &calls[i].done);
        assert_int_equal(calls[i].err.code, STATUS_UNAVAILABLE);
    }
    for (int i = 0; i < 3; i++) {
        close_client(f, c[i]);
    }
}

/* A caller that starts its request again whenever it fails cannot keep a client from closing. */
static void again_on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    (void)err;
    static const struct rpc_callbacks cb = {.on_finish = again_on_finish};
    Echo__EchoRequest q = ECHO__ECHO_REQUEST__INIT;
    assert_non_null(echo_slow(data, NULL, &q, &cb, data));
}

static void test_stubborn_caller(void **state)
{
    struct fixture *f = *state;
    struct error none = {.code = STATUS_OK};
    struct rpc_client *c = new_client(f, &f->ids[PEER_RETRIEVE]);
    again_on_finish(NULL, &none, c);
    assert_works(f, c);
    close_client(f, c);
}

int main(int argc, char **argv)
{
    int exit_code;
    if (fixture_main(argc, argv, &exit_code)) {
        return exit_code;
    }
#define WITH_SERVER(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_forbidden_peer),
        WITH_SERVER(test_bad_proof),
        WITH_SERVER(test_callers),
        WITH_SERVER(test_offences_close_that_connection_only),
        WITH_SERVER(test_bad_strings_end_the_call_only),
        WITH_SERVER(test_strangers),
        WITH_SERVER(test_peer_that_does_not_read),
        WITH_SERVER(test_limits),
        WITH_SERVER(test_stubborn_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
