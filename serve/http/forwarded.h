/* Who asks, when a proxy stands between: X-Forwarded-For, Forwarded (RFC 7239) and
 * X-Forwarded-Proto. They are words in a request that anybody can write; they count only where the
 * connection comes from a machine that the administrator named, and only what such machines wrote
 * themselves: each adds the one it was asked by at the right. Pure. */
#ifndef CARREL_SERVE_HTTP_FORWARDED_H
#define CARREL_SERVE_HTTP_FORWARDED_H

#include "base/address.h"
#include "serve/http/parse.h"

#define FORWARDED_HOPS_MAX 32 /* proxies of ours one behind the other */
#define FORWARDED_PROXIES_MAX 64

struct forwarded_proxies {
    struct address_range ranges[FORWARDED_PROXIES_MAX];
    size_t n;
};

struct forwarded {
    char client[ADDRESS_TEXT]; /* the right-most address that is no trusted proxy's */
    bool told;                 /* by a trusted proxy */
    bool tls;                  /* the client spoke TLS with the first of them that says so */
};

/* peer: the connection's address. False: a trusted proxy's words cannot be read, or say two things:
 * the request must be refused, for whoever guesses gives somebody another's address. */
bool forwarded_read(const struct http_head *h, const char *peer,
                    const struct forwarded_proxies *trusted, struct forwarded *out);
bool forwarded_trusts(const struct forwarded_proxies *trusted, const char *peer);

#endif
