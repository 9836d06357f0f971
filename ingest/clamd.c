#include "ingest/clamd.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

#define PIECE 65536
#define ANSWER_MAX 512
#define CONNECT_MS 5000
#define PING_MS 5000

struct talk {
    const struct clamd *c;
    int fd;
    int64_t until; /* monotonic */
};

/* STATUS_OK when the socket is ready for events. */
static enum status wait_for(const struct talk *t, short events, struct error *err)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = t->fd, .events = events},
                                {.fd = t->c->cancel, .events = POLLIN}};
        int64_t left = t->until - clock_monotonic_ms();
        if (left <= 0) {
            return error_set(err, STATUS_DEADLINE, "the malware scanner does not answer");
        }
        int n = poll(fds, t->c->cancel >= 0 ? 2 : 1, left > 60000 ? 60000 : (int)left);
        if (n < 0 && errno != EINTR) {
            return error_errno(err, errno, "waiting for the malware scanner");
        }
        if (n > 0 && t->c->cancel >= 0 && fds[1].revents != 0) {
            return error_set(err, STATUS_CANCELLED, "cancelled");
        }
        if (n > 0 && fds[0].revents != 0) {
            return STATUS_OK;
        }
    }
}

static enum status send_all(const struct talk *t, const void *bytes, size_t len, struct error *err)
{
    const char *p = bytes;
    enum status s = STATUS_OK;
    while (len > 0 && s == STATUS_OK) {
        ssize_t n = send(t->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
            s = error_errno(err, errno, "the malware scanner hung up");
        } else {
            s = wait_for(t, POLLOUT, err);
        }
    }
    return s;
}

/* An answer ends with NUL; clamd then hangs up. */
static enum status take_answer(const struct talk *t, char out[ANSWER_MAX], struct error *err)
{
    size_t n = 0;
    while (n < ANSWER_MAX) {
        enum status s = wait_for(t, POLLIN, err);
        if (s != STATUS_OK) {
            return s;
        }
        ssize_t got = recv(t->fd, out + n, ANSWER_MAX - n, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (got <= 0) {
            return error_set(err, STATUS_UNAVAILABLE, "the malware scanner hung up");
        }
        n += (size_t)got;
        if (memchr(out, '\0', n) != NULL) {
            return STATUS_OK;
        }
    }
    return error_set(err, STATUS_PROTOCOL, "the malware scanner gave an answer without end");
}

/* ---- connecting ---- */

static enum status start_connect(struct talk *t, const struct sockaddr *a, socklen_t len,
                                 struct error *err)
{
    t->fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->fd < 0) {
        return error_errno(err, errno, "a socket for the malware scanner");
    }
    int failed = connect(t->fd, a, len) == 0 ? 0 : errno;
    enum status s = STATUS_OK;
    if (failed == EINPROGRESS) {
        socklen_t n = sizeof failed;
        s = wait_for(t, POLLOUT, err);
        if (s == STATUS_OK && getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &failed, &n) != 0) {
            failed = errno;
        }
    }
    if (s == STATUS_OK && failed != 0) {
        s = error_set(err, STATUS_UNAVAILABLE, "the malware scanner at %s cannot be reached: %s",
                      t->c->address, strerror(failed));
    }
    if (s != STATUS_OK) {
        close(t->fd);
        t->fd = -1;
    }
    return s;
}

static enum status connect_path(struct talk *t, struct error *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path, sizeof a.sun_path, "%s", t->c->address);
    if (n < 0 || (size_t)n >= sizeof a.sun_path) {
        return error_set(err, STATUS_INVALID, "ingest.scanner: the path is too long");
    }
    return start_connect(t, (const struct sockaddr *)&a, sizeof a, err);
}

static bool split(const char *address, char host[256], const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - address);
    char *end = NULL;
    if (colon == NULL || len == 0 || len >= 250) {
        return false;
    }
    bool bracketed = address[0] == '[' && address[len - 1] == ']' && len > 2;
    memcpy(host, address + (bracketed ? 1 : 0), len - (bracketed ? 2 : 0));
    host[len - (bracketed ? 2 : 0)] = '\0';
    long n = strtol(colon + 1, &end, 10);
    *port = colon + 1;
    return *end == '\0' && n > 0 && n < 65536 && strpbrk(host, "/ \t@") == NULL;
}

bool clamd_address_valid(const char *address)
{
    char host[256];
    const char *port;
    return address[0] == '/' ? strlen(address) < sizeof((struct sockaddr_un *)0)->sun_path
                             : split(address, host, &port);
}

/* The scanner is handed every document, so it stands on this machine or in its network. */
static bool is_near(const struct sockaddr *a)
{
    uint32_t v4 = 0;
    if (a->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, a, sizeof six);
        const unsigned char *b = six.sin6_addr.s6_addr;
        if (!IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
            return IN6_IS_ADDR_LOOPBACK(&six.sin6_addr) || (b[0] & 0xFE) == 0xFC ||
                   (b[0] == 0xFE && (b[1] & 0xC0) == 0x80);
        }
        v4 = (uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 | b[15];
    } else if (a->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, a, sizeof four);
        v4 = ntohl(four.sin_addr.s_addr);
    }
    return v4 >> 24 == 127 || v4 >> 24 == 10 || v4 >> 20 == 0xAC1 || v4 >> 16 == 0xC0A8 ||
           v4 >> 16 == 0xA9FE;
}

static enum status connect_host(struct talk *t, struct error *err)
{
    char host[256];
    const char *port;
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    if (!split(t->c->address, host, &port)) {
        return error_set(err, STATUS_INVALID, "ingest.scanner: neither a path nor host:port");
    }
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        return error_set(err, STATUS_UNAVAILABLE, "the malware scanner's host %s: %s", host,
                         gai_strerror(rc));
    }
    enum status s = STATUS_UNAVAILABLE;
    for (const struct addrinfo *a = found; a != NULL && s != STATUS_OK; a = a->ai_next) {
        s = is_near(a->ai_addr)
                ? start_connect(t, a->ai_addr, a->ai_addrlen, err)
                : error_set(err, STATUS_FORBIDDEN,
                            "the malware scanner at %s is not on a local network", t->c->address);
        if (s == STATUS_CANCELLED) {
            break;
        }
    }
    freeaddrinfo(found);
    return s;
}

static enum status talk_open(struct talk *t, const struct clamd *c, int64_t ms, struct error *err)
{
    *t = (struct talk){.c = c, .fd = -1, .until = clock_monotonic_ms() + CONNECT_MS};
    enum status s = c->address[0] == '/' ? connect_path(t, err) : connect_host(t, err);
    t->until = clock_monotonic_ms() + ms;
    return s;
}

static void talk_close(struct talk *t)
{
    if (t->fd >= 0) {
        close(t->fd);
    }
}

/* ---- the question ---- */

static enum status send_file(const struct talk *t, int fd, struct error *err)
{
    static const char begin[] = "zINSTREAM";
    char *piece = malloc(4 + PIECE);
    if (piece == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    off_t at = 0;
    enum status s = send_all(t, begin, sizeof begin, err); /* with its NUL */
    for (ssize_t n = 1; n > 0 && s == STATUS_OK; at += n) {
        n = pread(fd, piece + 4, PIECE, at);
        if (n < 0) {
            s = error_errno(err, errno, "reading the file");
            break;
        }
        for (int i = 0; i < 4; i++) { /* a piece without bytes ends the stream */
            piece[i] = (char)((uint32_t)n >> (24 - 8 * i));
        }
        s = send_all(t, piece, 4 + (size_t)n, err);
    }
    free(piece);
    return s;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s);
    size_t m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static enum clamd_verdict understand(const char *answer, char name[CLAMD_NAME_CAP],
                                     struct error *err)
{
    static const char head[] = "stream: ";
    static const char found[] = " FOUND";
    bool headed = strncmp(answer, head, sizeof head - 1) == 0;
    const char *body = answer + (headed ? sizeof head - 1 : 0);
    size_t len = strlen(body);
    if (headed && strcmp(body, "OK") == 0) {
        return CLAMD_CLEAN;
    }
    if (headed && ends_with(body, found) && len > sizeof found - 1) {
        len -= sizeof found - 1;
        len = len < CLAMD_NAME_CAP - 1 ? len : CLAMD_NAME_CAP - 1;
        for (size_t i = 0; i < len; i++) { /* a name of its database: printable ASCII */
            name[i] = body[i] > ' ' && body[i] < 127 ? body[i] : '_';
        }
        name[len] = '\0';
        return CLAMD_FOUND;
    }
    if (strstr(answer, "size limit exceeded") != NULL && ends_with(answer, "ERROR")) {
        return CLAMD_TOO_LARGE;
    }
    char shown[80];
    size_t n = 0;
    for (; answer[n] != '\0' && n + 1 < sizeof shown; n++) {
        shown[n] = answer[n] >= ' ' && answer[n] < 127 ? answer[n] : '?';
    }
    shown[n] = '\0';
    (void)error_set(err, STATUS_PROTOCOL, "the malware scanner said: %s", shown);
    return CLAMD_FAILED;
}

static bool answers_ping(const struct clamd *c, struct error *err)
{
    static const char ping[] = "zPING";
    char answer[ANSWER_MAX];
    struct talk t;
    enum status s = talk_open(&t, c, PING_MS, err);
    if (s == STATUS_OK) {
        s = send_all(&t, ping, sizeof ping, err);
    }
    if (s == STATUS_OK) {
        s = take_answer(&t, answer, err);
    }
    talk_close(&t);
    if (s == STATUS_OK && strcmp(answer, "PONG") != 0) {
        s = error_set(err, STATUS_PROTOCOL, "what answers at %s is no malware scanner", c->address);
    }
    return s == STATUS_OK;
}

enum clamd_verdict clamd_scan(const struct clamd *c, int fd, char name[CLAMD_NAME_CAP],
                              struct error *err)
{
    char answer[ANSWER_MAX];
    struct talk t;
    name[0] = '\0';
    enum status s = talk_open(&t, c, c->timeout_ms, err);
    enum status sent = s == STATUS_OK ? send_file(&t, fd, err) : s;
    if (s == STATUS_OK && sent != STATUS_CANCELLED && sent != STATUS_DEADLINE) {
        /* also after a failed send: above its limit clamd says so and hangs up */
        struct error unheard;
        s = take_answer(&t, answer, sent == STATUS_OK ? err : &unheard);
        s = sent == STATUS_OK || s == STATUS_OK ? s : sent;
    } else {
        s = sent;
    }
    talk_close(&t);
    if (s == STATUS_CANCELLED) {
        return CLAMD_DOWN;
    }
    enum clamd_verdict v = s == STATUS_OK ? understand(answer, name, err) : CLAMD_FAILED;
    if (v == CLAMD_CLEAN && sent != STATUS_OK) { /* said before it had seen all of it */
        (void)error_set(err, STATUS_PROTOCOL, "the malware scanner did not wait for the file");
        v = CLAMD_FAILED;
    }
    struct error why;
    if (v == CLAMD_FAILED && !answers_ping(c, &why)) {
        *err = why;
        v = CLAMD_DOWN;
    }
    return v;
}
