#include "base/rpc/address.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum status parse_tls(const char *text, struct rpc_address *out, struct error *err)
{
    const char *colon = strrchr(text, ':');
    size_t host_len = colon == NULL ? 0 : (size_t)(colon - text);
    char *end = NULL;
    long port = colon == NULL ? -1 : strtol(colon + 1, &end, 10);
    if (host_len == 0 || host_len >= sizeof out->host || end == colon + 1 || *end != '\0' ||
        port < 0 || port > 65535) {
        return error_set(err, STATUS_INVALID, "address \"tls:%s\": expected tls:host:port", text);
    }
    /* [::1] without its brackets */
    if (host_len > 2 && text[0] == '[' && text[host_len - 1] == ']') {
        text++;
        host_len -= 2;
    }
    memcpy(out->host, text, host_len);
    out->host[host_len] = '\0';
    out->port = (int)port;
    out->tls = true;
    return STATUS_OK;
}

enum status rpc_address_parse(const char *text, struct rpc_address *out, struct error *err)
{
    struct rpc_address a = {0};
    enum status s = STATUS_OK;
    if (strncmp(text, "unix:", 5) == 0) {
        size_t len = strlen(text + 5);
        if (len == 0 || len >= sizeof a.path) {
            return error_set(err, STATUS_INVALID,
                             "address \"%s\": a path of 1 to %zu bytes is needed", text,
                             sizeof a.path - 1);
        }
        memcpy(a.path, text + 5, len + 1);
    } else if (strncmp(text, "tls:", 4) == 0) {
        s = parse_tls(text + 4, &a, err);
    } else {
        s = error_set(err, STATUS_INVALID, "address \"%s\": expected unix:/path or tls:host:port",
                      text);
    }
    if (s == STATUS_OK) {
        *out = a;
    }
    return s;
}

enum status rpc_address_socket_path(const struct rpc_address *a, char out[RPC_SOCKET_PATH_CAP],
                                    int *dir_fd, struct error *err)
{
    const size_t cap = RPC_SOCKET_PATH_CAP;
    *dir_fd = -1;
    if (strlen(a->path) < cap) {
        memcpy(out, a->path, strlen(a->path) + 1);
        return STATUS_OK;
    }
    char folder[sizeof a->path];
    memcpy(folder, a->path, sizeof folder);
    char *slash = strrchr(folder, '/');
    if (slash == NULL) {
        return error_set(err, STATUS_INVALID, "%s: too long a name for a socket", a->path);
    }
    *slash = '\0';
    int fd = open(folder[0] == '\0' ? "/" : folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return error_errno(err, errno, "%s", folder);
    }
    int n = snprintf(out, cap, "/proc/self/fd/%d/%s", fd, slash + 1);
    if (n < 0 || (size_t)n >= cap) {
        (void)close(fd);
        return error_set(err, STATUS_INVALID, "%s: too long a name for a socket", a->path);
    }
    *dir_fd = fd;
    return STATUS_OK;
}

bool rpc_address_numeric(const struct rpc_address *a, struct sockaddr_storage *out)
{
    struct sockaddr_storage found = {0};
    if (uv_ip4_addr(a->host, a->port, (struct sockaddr_in *)(void *)&found) != 0 &&
        uv_ip6_addr(a->host, a->port, (struct sockaddr_in6 *)(void *)&found) != 0) {
        return false;
    }
    *out = found;
    return true;
}

enum status rpc_address_resolve(const struct rpc_address *a, uv_loop_t *loop,
                                struct sockaddr_storage *out, struct error *err)
{
    struct sockaddr_storage found = {0};
    if (rpc_address_numeric(a, out)) {
        return STATUS_OK;
    }
    char port[8];
    (void)snprintf(port, sizeof port, "%d", a->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    uv_getaddrinfo_t request;
    int rc = uv_getaddrinfo(loop, &request, NULL, a->host, port, &hints);
    if (rc != 0) {
        return error_set(err, STATUS_UNAVAILABLE, "%s: %s", a->host, uv_strerror(rc));
    }
    memcpy(&found, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    *out = found;
    return STATUS_OK;
}
