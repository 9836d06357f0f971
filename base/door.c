/* SOCKS5 (RFC 1928), CONNECT by name without authentication: what generate/egress speaks. */
#include "base/door.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME_MAX_BYTES 255
#define REPLY_BYTES 10 /* egress answers with an IPv4 address, all zero */

enum { SOCKS_NOT_ALLOWED = 2, SOCKS_NAME = 3 };

static enum status give(int fd, const uint8_t *p, size_t len, struct error *err)
{
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return error_set(err, STATUS_UNAVAILABLE, "carrel-egress does not answer");
        }
        p += n;
        len -= (size_t)n;
    }
    return STATUS_OK;
}

static enum status take(int fd, uint8_t *p, size_t len, struct error *err)
{
    while (len > 0) {
        ssize_t n = recv(fd, p, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return error_set(err, n == 0 ? STATUS_UNAVAILABLE : STATUS_DEADLINE,
                             "carrel-egress does not answer");
        }
        p += n;
        len -= (size_t)n;
    }
    return STATUS_OK;
}

static enum status reach_door(const char *path, int64_t timeout_ms, int *fd, struct error *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof un.sun_path) {
        return error_set(err, STATUS_TOO_LARGE, "%.120s...: too long for a socket's path", path);
    }
    memcpy(un.sun_path, path, strlen(path) + 1);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0) {
        return error_errno(err, errno, "a socket");
    }
    struct timeval tv = {.tv_sec = (time_t)(timeout_ms / 1000),
                         .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};
    if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) != 0 ||
        setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) != 0 ||
        connect(s, (struct sockaddr *)&un, sizeof un) != 0) {
        (void)close(s);
        return error_set(err, STATUS_UNAVAILABLE,
                         "carrel-egress is not there: nothing outside is configured, or it starts");
    }
    *fd = s;
    return STATUS_OK;
}

static enum status ask(int fd, const char *host, uint16_t port, struct error *err)
{
    static const uint8_t greeting[3] = {5, 1, 0};
    uint8_t request[4 + 1 + NAME_MAX_BYTES + 2] = {5, 1, 0, SOCKS_NAME};
    uint8_t reply[REPLY_BYTES];
    size_t len = strlen(host); /* door_dial looked */
    request[4] = (uint8_t)len;
    memcpy(request + 5, host, len);
    request[5 + len] = (uint8_t)(port >> 8);
    request[6 + len] = (uint8_t)(port & 0xff);
    enum status s = give(fd, greeting, sizeof greeting, err);
    s = s != STATUS_OK ? s : take(fd, reply, 2, err);
    if (s == STATUS_OK && (reply[0] != 5 || reply[1] != 0)) {
        s = error_set(err, STATUS_UNAVAILABLE, "carrel-egress does not speak SOCKS5");
    }
    s = s != STATUS_OK ? s : give(fd, request, len + 7, err);
    s = s != STATUS_OK ? s : take(fd, reply, sizeof reply, err);
    if (s != STATUS_OK || reply[1] == 0) {
        return s;
    }
    return reply[1] == SOCKS_NOT_ALLOWED
               ? error_set(
                     err, STATUS_FORBIDDEN,
                     "%.100s:%u: carrel-egress refused it (not a configured destination, or a "
                     "private address)",
                     host, (unsigned)port)
               : error_set(err, STATUS_UNAVAILABLE, "%.100s:%u cannot be reached", host,
                           (unsigned)port);
}

enum status door_dial(const char *socket, const char *host, uint16_t port, int64_t timeout_ms,
                      int *fd, struct error *err)
{
    int s = -1;
    if (host[0] == '\0' || strlen(host) > NAME_MAX_BYTES) {
        return error_set(err, STATUS_INVALID, "no host's name");
    }
    enum status st = reach_door(socket, timeout_ms, &s, err);
    if (st != STATUS_OK) {
        return st;
    }
    st = ask(s, host, port, err);
    if (st != STATUS_OK) {
        (void)close(s);
        return st;
    }
    *fd = s;
    return STATUS_OK;
}
