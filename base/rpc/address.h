/* "unix:/path" and "tls:host:port". */
#ifndef CARREL_BASE_RPC_ADDRESS_H
#define CARREL_BASE_RPC_ADDRESS_H

#include <sys/un.h>
#include <uv.h>

#include "base/status.h"

#define RPC_SOCKET_PATH_CAP (sizeof(((struct sockaddr_un *)0)->sun_path))

struct rpc_address {
    bool tls;
    char path[1024]; /* unix */
    char host[256];  /* tls */
    int port;
};

enum status rpc_address_parse(const char *text, struct rpc_address *out,
                              struct error *err) MUST_CHECK;
/* The path as the kernel takes it (108 bytes): one that is too long goes through a descriptor of
 * its folder, stored in *dir_fd, which must stay open as long as the name is used; otherwise -1. */
enum status rpc_address_socket_path(const struct rpc_address *a, char out[RPC_SOCKET_PATH_CAP],
                                    int *dir_fd, struct error *err) MUST_CHECK;
/* tls: true when the host is a number and *out is filled; a name must be looked up first. */
bool rpc_address_numeric(const struct rpc_address *a, struct sockaddr_storage *out);
/* tls: the address to bind to; looks a name up and blocks meanwhile, so only for the start. */
enum status rpc_address_resolve(const struct rpc_address *a, uv_loop_t *loop,
                                struct sockaddr_storage *out, struct error *err) MUST_CHECK;

#endif
