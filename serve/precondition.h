/* Writes with a condition (RFC 9110, section 13): If-Match, If-None-Match, If-Unmodified-Since on
 * PUT, PATCH, DELETE and POST. What GET of the same address would answer this caller now is what
 * the condition is about: its ETag, or its Last-Modified. Where it does not hold: 412, and nothing
 * is done. Loop thread.
 *
 * An upload's condition is about the document that stands at the path it names (?path=): its ETag
 * as GET /api/documents/{id} has it, or its file's (GET .../original). Where none stands, If-Match
 * does not hold and If-None-Match does. A form names its files too late for that.
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
    const char *path;          /* an upload's; NULL: of the address itself */
    bool conditional, waiting;
};

/* The caller may write there: goes on with audit_begin(q), at once or later, or answers 412. */
void precondition_begin(struct request *q);
/* The request is over, however it ended. */
void precondition_over(struct request *q);

#endif
