/* Where a service listens: Unix sockets with long names, TCP under mutual TLS. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rpc/address.h"
#include "base/tls/tls.h"
#include "tests/unit/base/make_certificates.h"
#include "tests/unit/base/rpc_fixture.h"

/* ---- over TCP */

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

/* ---- addresses */

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
    int exit_code;
    if (fixture_main(argc, argv, &exit_code)) {
        return exit_code;
    }
#define WITH_SERVER(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_mutual_tls),
        cmocka_unit_test(test_addresses),
        WITH_SERVER(test_long_socket_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
