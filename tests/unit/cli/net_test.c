#include "cli/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/test.h"

static void test_a_taken_port_is_told(void **state)
{
    (void)state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    assert_false(net_port_is_free("127.0.0.1", ntohs(a.sin_port)));
    assert_false(net_port_is_free("localhost", ntohs(a.sin_port)));
    (void)close(fd);
    assert_true(net_port_is_free("127.0.0.1", ntohs(a.sin_port)));
    assert_true(net_port_is_free("127.0.0.1", 0));
    assert_true(net_port_is_free("some.name", 80));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_taken_port_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
