#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/door.h"

/* One connection: the greeting, the request, a reply, and what is sent comes back. */
struct fake_door {
    int listener;
    uint8_t code;
    uint8_t request[300];
    ssize_t request_len;
    bool silent;
    pthread_t thread;
    char dir[64], path[108];
};

static void *run_door(void *data)
{
    struct fake_door *d = data;
    uint8_t greeting[3];
    int c = accept(d->listener, NULL, NULL);
    assert_true(c >= 0);
    assert_int_equal(recv(c, greeting, 3, MSG_WAITALL), 3);
    if (!d->silent) {
        assert_int_equal(send(c, "\x05\x00", 2, 0), 2);
        d->request_len = recv(c, d->request, sizeof d->request, 0);
        uint8_t reply[10] = {5, d->code, 0, 1};
        assert_int_equal(send(c, reply, sizeof reply, 0), 10);
    }
    char echo[16];
    ssize_t n = recv(c, echo, sizeof echo, 0);
    if (n > 0) {
        assert_int_equal(send(c, echo, (size_t)n, 0), n);
    }
    (void)close(c);
    return NULL;
}

static void open_door(struct fake_door *d)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(d->dir, sizeof d->dir, "/tmp/carrel-door-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    (void)snprintf(d->path, sizeof d->path, "%s/s", d->dir);
    memcpy(un.sun_path, d->path, strlen(d->path) + 1);
    d->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(d->listener, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(d->listener, 1), 0);
    assert_int_equal(pthread_create(&d->thread, NULL, run_door, d), 0);
}

static void close_door(struct fake_door *d)
{
    assert_int_equal(pthread_join(d->thread, NULL), 0);
    (void)close(d->listener);
    (void)unlink(d->path);
    (void)rmdir(d->dir);
}

static void test_dial(void **state)
{
    (void)state;
    struct fake_door d = {.code = 0};
    struct error err = {0};
    int fd = -1;
    char back[4];
    open_door(&d);
    assert_int_equal(door_dial(d.path, "ldap.example.org", 636, 2000, &fd, &err), STATUS_OK);
    assert_int_equal(send(fd, "ping", 4, 0), 4);
    assert_int_equal(recv(fd, back, 4, MSG_WAITALL), 4);
    assert_memory_equal(back, "ping", 4);
    (void)close(fd);
    close_door(&d);
    assert_int_equal(d.request_len, 5 + 16 + 2);
    assert_memory_equal(d.request, "\x05\x01\x00\x03\x10ldap.example.org\x02\x7c", 23);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        uint8_t code;
        bool silent;
        enum status status;
    } rows[] = {
        {2, false, STATUS_FORBIDDEN}, {5, false, STATUS_UNAVAILABLE}, {0, true, STATUS_DEADLINE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fake_door d = {.code = rows[i].code, .silent = rows[i].silent};
        struct error err = {0};
        int fd = -1;
        open_door(&d);
        assert_int_equal(door_dial(d.path, "h", 1, 200, &fd, &err), rows[i].status);
        assert_int_equal(fd, -1);
        close_door(&d);
    }
}

static void test_no_door(void **state)
{
    (void)state;
    struct error err = {0};
    int fd = -1;
    assert_int_equal(door_dial("/tmp/no-such-door", "h", 1, 200, &fd, &err), STATUS_UNAVAILABLE);
    char name[300];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(door_dial("/tmp/no-such-door", name, 1, 200, &fd, &err), STATUS_INVALID);
    assert_int_equal(door_dial("/tmp/no-such-door", "", 1, 200, &fd, &err), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dial), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_no_door)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
