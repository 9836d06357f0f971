/* The doorman in front of llhttp: every byte of a connection passes here first.
 *
 * llhttp 8.1.0 lets things through on which two HTTP implementations may disagree, and disagreement
 * is how requests are smuggled: a bare CR inside a header, a space before the colon, folded lines.
 * The guard accepts the grammar of RFC 9112 and nothing beside it, and it follows the framing of
 * bodies by itself: where it and llhttp do not see the same end of a message, the connection is
 * refused (parse.c). Pure: no I/O, no allocation. */
#ifndef CARREL_SERVE_HTTP_GUARD_H
#define CARREL_SERVE_HTTP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guard_limits {
    size_t head_bytes; /* request line and headers */
    size_t headers;    /* lines */
    size_t target_bytes;
};

struct guard {
    struct guard_limits limits;
    int state;
    size_t head_bytes;
    size_t headers;
    size_t line_bytes; /* of the piece being read: method, target, version, chunk line */
    uint64_t left;     /* body bytes of this length or chunk */
    int status;        /* HTTP status to refuse with, once refused */
    const char *reason;
};

void guard_init(struct guard *g, const struct guard_limits *limits);
/* Examines bytes of a head. Returns how many belong to it; *done when its last byte was among them.
 * After a refusal g->status is set and the count means nothing. */
size_t guard_head(struct guard *g, const char *p, size_t len, bool *done);

/* After a head: what follows it. */
void guard_expect_nothing(struct guard *g);
void guard_expect_length(struct guard *g, uint64_t len);
void guard_expect_chunks(struct guard *g);

enum guard_piece {
    GUARD_FRAMING, /* n bytes of chunk framing */
    GUARD_DATA,    /* n bytes of body */
    GUARD_END,     /* the message is over; n is 0 and the guard is ready for the next head */
    GUARD_REFUSED,
};
/* len may be 0 (an empty body ends without a byte); then GUARD_FRAMING with n 0 means: more is
 * needed. */
enum guard_piece guard_body(struct guard *g, const char *p, size_t len, size_t *n);

#endif
