/* Records to a log server's socket on this machine: datagrams of RFC 5424, none lost while the
 * server is away for a moment. The way over TLS is in tests/service/audit-auditor.test.mjs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "serve/audit/internal.h"

static int listen_at(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = 20};
    (void)unlink(path);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    return fd;
}

static void expect(int fd, const char *what)
{
    char got[2048];
    ssize_t n = recv(fd, got, sizeof got - 1, 0);
    assert_true(n > 0);
    got[n] = '\0';
    assert_int_equal(strncmp(got, "<109>1 20", 9), 0); /* audit, notice; no count: a datagram */
    if (strstr(got, what) == NULL) {
        fail_msg("%s, not %s", got, what);
    }
}

static void put(struct audit_export *e, const char *lines)
{
    struct buf b;
    buf_init(&b, 65536);
    audit_export_take(e, "main", str_from(lines), &b);
    audit_export_put(e, &b);
    buf_deinit(&b);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void test_local_socket(void **state)
{
    char folder[] = "/tmp/carrel-syslog-XXXXXX";
    char path[64], to[80];
    bool closed = false;
    uv_loop_t loop;
    struct audit_export *e = NULL;
    struct error err;
    static struct settings set;
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/log", folder);
    (void)snprintf(to, sizeof to, "unix:%s", path);
    set.audit.syslog = to;
    set.audit.syslog_ca = "";
    assert_int_equal(uv_loop_init(&loop), 0);
    int fd = listen_at(path);
    assert_int_equal(audit_export_open(&loop, folder, &set, &e, &err), STATUS_OK);
    put(e, "{\"v\":1,\"seq\":1}\n{\"v\":1,\"seq\":2}\n");
    expect(fd, " carrel - record [carrel@32473 tenant=\"main\"] {\"v\":1,\"seq\":1}");
    expect(fd, "{\"v\":1,\"seq\":2}");
    (void)close(fd); /* the log server is started anew */
    put(e, "{\"v\":1,\"seq\":3}\n");
    fd = listen_at(path);
    put(e, "{\"v\":1,\"seq\":4}\n");
    expect(fd, "{\"v\":1,\"seq\":3}");
    expect(fd, "{\"v\":1,\"seq\":4}");
    audit_export_close(e, on_closed, &closed);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
    (void)close(fd);
    (void)unlink(path);
    (void)rmdir(folder);
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {"udp://log:514", "log", "tls://", "unix"};
    static struct settings set;
    uv_loop_t loop;
    (void)state;
    set.audit.syslog_ca = "";
    assert_int_equal(uv_loop_init(&loop), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct audit_export *e = NULL;
        struct error err;
        set.audit.syslog = bad[i];
        assert_int_equal(audit_export_open(&loop, "/tmp", &set, &e, &err), STATUS_INVALID);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_socket),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
