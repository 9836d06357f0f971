/* Writes with a condition (RFC 9110, section 13): If-Match, If-None-Match, If-Unmodified-Since on
 * PUT, PATCH, DELETE and POST. What GET of the same address would answer this caller now is what
 * the condition is about: its ETag, or its Last-Modified. Where it does not hold: 412, and nothing
 * is done. Loop thread.
 *
 * Between the looking and the doing no other write to that address gets through: it waits until the
 * write with the condition is over, and a write with a condition waits for those before it. */
#ifndef CARREL_SERVE_PRECONDITION_H
#define CARREL_SERVE_PRECONDITION_H

#include "base/list.h"

struct request;

/* A request's place among the writes to its address; in its arena. */
struct write_turn {
    struct list link; /* serve->writes, oldest first */
    struct request *q;
    struct http_request *look; /* GET of the address, under way; NULL: none */
    bool conditional, waiting;
};

/* The caller may write there: goes on with audit_begin(q), at once or later, or answers 412. */
void precondition_begin(struct request *q);
/* The request is over, however it ended. */
void precondition_over(struct request *q);

#endif
