#include "cli/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool net_port_is_free(const char *host, int port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    const int yes = 1;
    bool is_v6 = strchr(host, ':') != NULL;

    if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    if (port == 0 || inet_pton(is_v6 ? AF_INET6 : AF_INET, host,
                               is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) != 1) {
        return true;
    }
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return true;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    int rc = is_v6 ? bind(fd, (const struct sockaddr *)&v6, sizeof(v6))
                   : bind(fd, (const struct sockaddr *)&v4, sizeof(v4));
    bool taken = rc != 0 && errno == EADDRINUSE;
    (void)close(fd);
    return !taken;
}
