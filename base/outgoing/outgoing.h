/* HTTP to the outside: libcurl's multi interface on a libuv loop, always through a door of
 * carrel-egress. Redirects are not followed, certificates are checked, the environment's proxies
 * are not used. A library of its own (carrel_outgoing), for the services that ask outside. Loop
 * thread only. A transfer belongs to its owner, who makes it, may abort it, and frees it after
 * on_done or the abort. libcurl is used here only. */
#ifndef CARREL_BASE_OUTGOING_OUTGOING_H
#define CARREL_BASE_OUTGOING_OUTGOING_H

#include <uv.h>

#include "base/status.h"
#include "base/str.h"

struct outgoing;
struct outgoing_transfer;

/* proxy: path of a Unix socket that speaks SOCKS5 and resolves names. Every transfer goes through
 * it. */
enum status outgoing_new(uv_loop_t *loop, const char *proxy, struct outgoing **out,
                         struct error *err) MUST_CHECK;
/* No transfer may be under way; closed runs last. */
void outgoing_close(struct outgoing *c, void (*closed)(void *data), void *data);

struct outgoing_outcome {
    struct error
        error;      /* STATUS_OK: a whole answer came, whatever its status, or on_data ended it */
    bool connected; /* false: the server never had the request */
    bool refused;   /* by carrel-egress: not a configured destination, or a private address */
    long status;    /* 0: none came */
    long retry_after_s; /* 0: not said */
};

struct outgoing_request {
    const char *what;   /* "the upstream": begins the texts of errors */
    const char *method; /* "POST"; GET, HEAD and DELETE go without a body */
    const char *url;
    const char *const *headers; /* "Name: value"; n_headers of them; copied */
    size_t n_headers;
    struct str body;     /* borrowed until the transfer is freed */
    const char *ca_file; /* authorities that are trusted; NULL or "": the system's */
    int64_t connect_timeout_ms;
    int64_t timeout_ms; /* of all of it; 0: none */
    bool any_status;    /* on_data gets the body whatever the reply's status, not of a 200 alone */
    /* A line of the reply's head without its end, status lines too; may be NULL. */
    void (*on_header)(void *data, const char *line, size_t len);
    /* A piece of the body. false: end the transfer (on_done tells). */
    bool (*on_data)(void *data, const char *p, size_t len);
    /* Once, unless aborted before; never from inside outgoing_start. */
    void (*on_done)(void *data, const struct outgoing_outcome *outcome);
    void *data;
};

enum status outgoing_start(struct outgoing *c, const struct outgoing_request *r,
                           struct outgoing_transfer **out, struct error *err) MUST_CHECK;
/* Hold the body back, or let it come (on_data may run inside). Hold may be called from on_data. */
void outgoing_hold(struct outgoing_transfer *t, bool hold);
/* Ends it if it runs, and frees it. Not from inside on_data. */
void outgoing_free(struct outgoing_transfer *t);

#endif
