/* Bytes of a connection to requests: guard and llhttp must both agree. Pull style, so that reading
 * stops wherever the reader wants it to: the caller asks for the next event, and keeps bytes that
 * were not used. Pure: no I/O. */
#ifndef CARREL_SERVE_HTTP_PARSE_H
#define CARREL_SERVE_HTTP_PARSE_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "serve/http/guard.h"

/* X(name) */
#define VERB_LIST(X) X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(PATCH) X(OPTIONS)
enum verb {
#define VERB_ENUM(name) VERB_##name,
    VERB_LIST(VERB_ENUM)
#undef VERB_ENUM
        VERB_COUNT
};
const char *verb_name(enum verb v);

#define HTTP_HEADERS_MAX 100

struct http_header {
    struct str name; /* lower case */
    struct str value;
};

struct http_head {
    enum verb verb;
    struct str path;  /* as sent: still percent-encoded, begins with '/', or is "*" (OPTIONS) */
    struct str query; /* after '?', without it */
    struct str host;  /* of an absolute target, otherwise the Host header; "" when there is none */
    struct http_header *headers; /* at most HTTP_HEADERS_MAX */
    size_t n_headers;
    bool http11;
    bool keep_alive;
    bool chunked;
    bool has_length;
    uint64_t length;
    bool expects_continue;
};

/* The value of the first header of that (lower-case) name, or an empty view with ptr NULL. */
struct str http_head_get(const struct http_head *h, const char *name);

struct http_parser; /* owns the head's bytes */

enum http_event {
    HTTP_EVENT_MORE, /* all bytes were used; feed more */
    HTTP_EVENT_HEAD, /* http_parser_head is valid until the HEAD after it */
    HTTP_EVENT_BODY, /* `piece` points into the bytes given */
    HTTP_EVENT_END,  /* of the message */
    HTTP_EVENT_BAD,  /* refused: answer http_parser_bad's status and close */
};

enum status http_parser_new(size_t max_head_bytes, struct http_parser **out) MUST_CHECK;
void http_parser_free(struct http_parser *p);
/* One event; *used says how many of the bytes it took. Call again with the rest (also when there is
 * none: the end of an empty body needs no byte). */
enum http_event http_parser_next(struct http_parser *p, const char *bytes, size_t len, size_t *used,
                                 struct str *piece);
const struct http_head *http_parser_head(const struct http_parser *p);
/* Of the head that is there nothing is asked any more but the verb and how the message is framed: its
 * bytes go, and its views are empty. */
void http_parser_forget(struct http_parser *p);
/* Bytes of a head have been seen, and not its end. */
bool http_parser_in_head(const struct http_parser *p);
int http_parser_bad(const struct http_parser *p, const char **reason);

#endif
