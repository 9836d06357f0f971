/* libcurl's multi interface on a libuv loop. Loop thread only. A transfer belongs to its owner, who makes it,
 * may abort it, and frees it after on_done or the abort. libcurl is used here only. */
#ifndef CARREL_GENERATE_UPSTREAM_HTTP_H
#define CARREL_GENERATE_UPSTREAM_HTTP_H

#include <uv.h>

#include "base/status.h"
#include "base/str.h"

struct http_client;
struct http_transfer;

/* proxy: path of a Unix socket that speaks SOCKS5 and resolves names. Every transfer goes through it. */
enum status http_client_new(uv_loop_t *loop, const char *proxy, struct http_client **out,
                            struct error *err) MUST_CHECK;
/* No transfer may be under way; closed runs last. */
void http_client_close(struct http_client *c, void (*closed)(void *data), void *data);

struct http_outcome {
    struct error error;   /* STATUS_OK: a whole answer came, whatever its status */
    bool connected;       /* false: the server never had the request */
    long status;          /* 0: none came */
    long retry_after_s;   /* 0: not said */
};

struct http_request {
    const char *url;
    const char *const *headers; /* "Name: value"; n_headers of them; copied */
    size_t n_headers;
    struct str body;            /* POSTed; borrowed until the transfer is freed */
    int64_t connect_timeout_ms;
    /* A piece of the body of a reply whose status is 200. false: end the transfer (on_done tells). */
    bool (*on_data)(void *data, const char *p, size_t len);
    /* Once, unless aborted before; never from inside http_start. */
    void (*on_done)(void *data, const struct http_outcome *outcome);
    void *data;
};

enum status http_start(struct http_client *c, const struct http_request *r,
                       struct http_transfer **out, struct error *err) MUST_CHECK;
/* Hold the body back, or let it come (on_data may run inside). Hold may be called from on_data. */
void http_hold(struct http_transfer *t, bool hold);
/* Ends it if it runs, and frees it. Not from inside on_data. */
void http_free(struct http_transfer *t);

#endif
