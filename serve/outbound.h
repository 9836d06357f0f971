/* What serve asks outside: HTTP through carrel-egress' door for it (run/egress-serve.sock). The
 * door dials only places that settings name (base/settings/places.h), resolves their names itself
 * and refuses private addresses unless the administrator asked for them there; redirects are never
 * followed. Loop thread only.
 *
 * What is not HTTP is dialled with base/door.h and outbound_socket, on a lane. */
#ifndef CARREL_SERVE_OUTBOUND_H
#define CARREL_SERVE_OUTBOUND_H

#include <uv.h>

#include "base/settings/settings.h"
#include "base/str.h"

#define OUTBOUND_URL_MAX ((size_t)2048)

struct outbound;
struct outbound_call;

/* settings are borrowed as long as it lives. */
enum status outbound_new(uv_loop_t *loop, const struct settings *settings, struct outbound **out,
                         struct error *err) MUST_CHECK;
/* Calls under way are dropped without a word; closed runs last. */
void outbound_close(struct outbound *o, void (*closed)(void *data), void *data);
/* The door's path, for door_dial. */
const char *outbound_socket(const struct outbound *o);

/* An absolute http or https URL without a user name, fragment, white space, control characters or
 * backslashes, at most OUTBOUND_URL_MAX long, whose scheme, host and port are one of the origins of
 * a list (two may be given; NULL: none). INVALID says what is wrong with it, FORBIDDEN that it is
 * not listed. */
enum status outbound_url_check(const char *url, const struct string_list *origins,
                               const struct string_list *more, struct error *err) MUST_CHECK;

struct outbound_reply {
    struct error error;    /* STATUS_OK: a whole answer came, whatever its status */
    bool sent;             /* false: the server never had the request */
    bool refused;          /* by the door: private, or not configured */
    long status;           /* 0: none */
    long retry_after_s;    /* 0: not said */
    struct str head, body; /* valid during done; body at most max_reply_bytes */
    bool cut;              /* the body was longer; error is OK */
};

struct outbound_request {
    const char *what;           /* begins the texts of errors: "the receiver" */
    const char *method;         /* "POST" */
    const char *url;            /* checked by the caller's outbound_url_check; copied */
    const char *const *headers; /* "Name: value" without line ends; copied */
    size_t n_headers;
    struct str body;        /* copied */
    const char *ca_file;    /* NULL or "": the system's authorities */
    size_t max_reply_bytes; /* of body; at most 16 MiB */
    int64_t timeout_ms;     /* of all of it */
    /* Once, never from inside outbound_start, and not after a cancel. */
    void (*done)(void *data, const struct outbound_reply *reply);
    void *data;
};

/* BUSY: too many under way (64). */
enum status outbound_start(struct outbound *o, const struct outbound_request *r,
                           struct outbound_call **out, struct error *err) MUST_CHECK;
/* Ends it; done does not run. Not from inside done: there it is over by itself. */
void outbound_cancel(struct outbound_call *c);
/* A header's value of a reply's last head, without white space around it; false: not there. */
bool outbound_header(const struct outbound_reply *r, const char *name, struct str *out);

#endif
