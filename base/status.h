/* Status codes and error text shared by every layer: RPC, HTTP, metrics and logs agree on them.
 *
 * A fallible function returns enum status and takes `struct error *err` last; on failure it fills err
 * with a sentence that says what failed and where ("manual.pdf: page 12: ..."). Output parameters are
 * written only on STATUS_OK. `err` may be NULL when the caller has no use for the text. */
#ifndef CARREL_BASE_STATUS_H
#define CARREL_BASE_STATUS_H

#include <stdbool.h>

/* X(code, name, HTTP status, may a retry help, default text). The order is part of the wire protocol:
 * append only. */
#define STATUS_LIST(X)                                                                             \
    X(OK, "ok", 200, false, "ok")                                                                  \
    X(CANCELLED, "cancelled", 499, false, "the caller went away")                                  \
    X(INVALID, "invalid", 400, false, "the request is not valid")                                  \
    X(UNAUTHENTICATED, "unauthenticated", 401, false, "no valid key or session was given")         \
    X(FORBIDDEN, "forbidden", 403, false, "this caller may not do that")                           \
    X(NOT_FOUND, "not_found", 404, false, "no such thing")                                         \
    X(CONFLICT, "conflict", 409, false, "it is already there, or has changed meanwhile")           \
    X(TOO_LARGE, "too_large", 413, false, "larger than the limit")                                 \
    X(UNSUPPORTED, "unsupported", 415, false, "this kind is not supported")                        \
    X(BUSY, "busy", 429, true, "busy: try again shortly")                                          \
    X(NO_MEMORY, "no_memory", 503, true, "out of memory")                                          \
    X(IO, "io", 500, true, "reading or writing failed")                                            \
    X(DISK_FULL, "disk_full", 507, true, "the disk is full")                                       \
    X(CORRUPT, "corrupt", 500, false, "stored data is damaged")                                    \
    X(PROTOCOL, "protocol", 502, false, "the peer broke the protocol")                             \
    X(UNAVAILABLE, "unavailable", 503, true, "a part of the appliance is down")                    \
    X(DEADLINE, "deadline", 504, true, "it took longer than allowed")                              \
    X(INTERNAL, "internal", 500, false, "internal error")

enum status {
#define STATUS_ENUM(code, name, http, retry, text) STATUS_##code,
    STATUS_LIST(STATUS_ENUM)
#undef STATUS_ENUM
        STATUS_COUNT
};

struct error {
    enum status code;
    char text[256];
};

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* Stable lower-case name ("not_found"); "internal" for a number outside the list. */
const char *status_name(enum status s);
/* One plain sentence for users; never NULL. */
const char *status_text(enum status s);
int status_http(enum status s);
bool status_retryable(enum status s);
/* A number from the wire; anything unknown becomes STATUS_INTERNAL. */
enum status status_from_wire(int n);
/* The status that fits an errno value (ENOSPC, EDQUOT -> DISK_FULL, ENOMEM -> NO_MEMORY, ...). */
enum status status_from_errno(int errnum);

/* Fill err (when not NULL) and return code, so that `return error_set(err, ...)` reads well. */
enum status error_set(struct error *err, enum status code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Like error_set with status_from_errno(errnum) and ": <strerror>" appended. */
enum status error_errno(struct error *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Put context before the text that is there: "ctx: old text". Returns err->code. */
enum status error_prefix(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
