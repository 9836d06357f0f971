/* One row a route. Patterns: "/api/documents/{id}/pages/{n}.png"; a {name} takes one whole segment,
 * or a segment up to the literal that follows it. Pure. */
#ifndef CARREL_SERVE_HTTP_ROUTER_H
#define CARREL_SERVE_HTTP_ROUTER_H

#include "serve/http/http.h"
#include "serve/http/parse.h"

#define ROUTE_PARAMS_MAX 3

struct request; /* serve/request.h */

enum access {
    ACCESS_OPEN,  /* anybody */
    ACCESS_KEY,   /* a key or a session */
    ACCESS_ADMIN, /* ... of an administrator */
};

struct route {
    enum verb verb; /* GET answers HEAD too */
    const char *pattern;
    enum access access;
    bool csrf; /* writes: by cookie they need X-CSRF-Token */
    void (*handler)(struct request *q);
    enum error_shape errors;
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
