/* One row a route. Patterns: "/api/documents/{id}/pages/{n}.png"; a {name} takes one whole segment,
 * or a segment up to the literal that follows it. Pure. */
#ifndef CARREL_SERVE_HTTP_ROUTER_H
#define CARREL_SERVE_HTTP_ROUTER_H

#include "serve/http/http.h"
#include "serve/http/parse.h"

#define ROUTE_PARAMS_MAX 3

struct request; /* serve/request.h */

struct route {
    enum verb verb; /* GET answers HEAD too */
    const char *pattern;
    unsigned roles;  /* who may: bits, serve/roles.h; 0: anybody, known or not */
    unsigned scopes; /* one of which the caller must hold; 0: none is asked for */
    bool csrf;       /* writes: by cookie they need X-CSRF-Token */
    void (*handler)(struct request *q);
    enum error_shape errors;
    const char *act; /* an administrative act's name in the audit: "key.create"; NULL: none */
};

struct route_match {
    const struct route *route;           /* NULL: none */
    unsigned allow;                      /* 1 << verb of the rows whose pattern fits */
    struct str params[ROUTE_PARAMS_MAX]; /* as sent, percent escapes included */
};

void route_find(const struct route *table, size_t n, enum verb verb, struct str path,
                struct route_match *out);
/* "GET, HEAD, POST" */
void route_allow(unsigned allow, struct buf *out);

#endif
