/* The one door to the outside: SOCKS5 (CONNECT, no authentication) on a Unix socket that only our own user
 * can open. Dials the listed destinations and no other, resolves their names itself, and refuses private
 * addresses unless told otherwise, so that no name can be made to point inside. One log line a connection:
 * destination, bytes, verdict. Loop thread only. */
#ifndef CARREL_GENERATE_EGRESS_EGRESS_H
#define CARREL_GENERATE_EGRESS_EGRESS_H

#include <uv.h>

#include "base/destination.h"

struct egress;

struct egress_options {
    const char *socket; /* path; a stale one is replaced; made 0600 */
    const struct destination *destinations; /* borrowed */
    size_t n_destinations;
    bool allow_private_address;
    uint32_t max_connections;    /* 0: 64; more are closed at once */
    uint32_t connect_timeout_ms; /* 0: 15000; greeting, resolving and connecting together */
    uint32_t idle_timeout_ms;    /* 0: 300000; no byte either way */
};

struct egress_stats {
    uint64_t connections, refused, bytes_up, bytes_down;
    uint32_t open;
};

enum status egress_new(uv_loop_t *loop, const struct egress_options *o, struct egress **out,
                       struct error *err) MUST_CHECK;
void egress_stats(const struct egress *e, struct egress_stats *out);
/* Drops all connections; closed runs last. */
void egress_close(struct egress *e, void (*closed)(void *data), void *data);

/* What the socket of a data directory is called, for both sides. */
enum status egress_socket_path(const char *home, char *out, size_t cap,
                               struct error *err) MUST_CHECK;

#endif
