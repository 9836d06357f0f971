/* A whole connection: bytes over a real socket, in pieces whose size the input chooses, to handlers
 * that take, leave, pause and stream. Whatever comes, the connection ends, every request ends
 * exactly once, and no memory is left (ASan). */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/http/http.h"
#include "serve/http/sse.h"

#define PIECES_MAX 64
#define PATIENCE_MS 5000

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uv_loop_t loop;
static struct http_server *server;
static int port;
static int begun, done; /* requests of this input */

static void on_collected(struct http_request *r, struct str body)
{
    http_respond(r, 200, "text/plain", body);
}

/* Half of what comes, then a pause until the same turn's end. */
static size_t on_body(struct http_request *r, const char *p, size_t len)
{
    (void)p;
    if (len > 1) {
        http_body_resume(r);
        return len / 2;
    }
    return len;
}

static void on_body_end(struct http_request *r)
{
    http_respond(r, 200, "text/plain", STR("read"));
}

static void on_request(struct http_request *r, void *data)
{
    (void)data;
    begun++;
    switch (r->head->path.len > 1 ? r->head->path.ptr[1] : '\0') {
    case 'c':
        http_body_collect(r, 256, on_collected);
        break;
    case 's':
        r->on_body = on_body;
        r->on_body_end = on_body_end;
        http_body_stream(r, 1024);
        break;
    case 'e':
        sse_begin(r);
        (void)sse_data(r, STR("one"));
        (void)sse_data(r, STR("two"));
        http_stream_end(r);
        break;
    case 'x':
        http_stream_begin(r, 200, "text/plain", 10);
        http_stream_cut(r);
        break;
    case 'k': {
        struct http_version_of v = {"\"tag\"", 784111777, 26};
        http_respond_kept(r, "text/plain", &v, STR("abcdefghijklmnopqrstuvwxyz"));
        break;
    }
    case 'w':
        break; /* never answered: until the client has gone */
    default:
        http_respond(r, 404, "text/plain", STR("none"));
        break;
    }
}

static void on_done(struct http_request *r, int status, void *data)
{
    (void)status;
    (void)data;
    done += r != NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct http_limits limits = {
        .max_head_bytes = 4096,
        .max_body_bytes = 4096,
        .header_timeout_ms = 1000,
        .idle_timeout_ms = 1000,
        .request_timeout_ms = 1000,
        .max_connections = 8,
        .max_connections_per_address = 8,
        .max_requests_in_flight = 8,
    };
    static const struct http_callbacks cb = {on_request, on_done, NULL, NULL};
    if (uv_loop_init(&loop) != 0 ||
        http_server_new(&loop, &limits, &cb, &server, NULL) != STATUS_OK ||
        http_server_listen(server, "127.0.0.1", 0, &port, NULL) != STATUS_OK) {
        abort();
    }
    return 0;
}

static size_t connections(void)
{
    struct http_stats s;
    http_server_stats(server, &s);
    return s.connections;
}

static void drain(int fd)
{
    char sink[4096];
    while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0) {
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct linger reset = {1, 0}; /* no port waits for latecomers */
    if (size < 2) {
        return 0;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        abort();
    }
    size_t piece = 1 + (size_t)data[0] * 4;
    if (piece * PIECES_MAX < size) {
        piece = size / PIECES_MAX + 1;
    }
    bool half = (data[1] & 1) != 0; /* says that it has ended before it goes */
    begun = done = 0;
    for (size_t at = 2; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        if (send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            break;
        }
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        drain(fd);
    }
    for (int i = 0; i < 4; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        drain(fd);
    }
    if (half) {
        (void)shutdown(fd, SHUT_WR);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        drain(fd);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (connections() > 0) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        if (clock_monotonic_ms() > end) {
            abort();
        }
    }
    if (begun != done) {
        abort();
    }
    return 0;
}
