/* Where egress may dial: host and port of configured URLs, and which addresses are nobody's
 * business from here (private, loopback, link-local and reserved ones). Pure. */
#ifndef CARREL_BASE_DESTINATION_H
#define CARREL_BASE_DESTINATION_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/status.h"
#include "base/str.h"

#define DESTINATION_HOST_CAP 256
#define DESTINATION_CAP (DESTINATION_HOST_CAP + 8)

struct destination {
    char scheme[8];                  /* "https", "http", "ldaps", "ldap" or "tls"; "" : not known */
    char host[DESTINATION_HOST_CAP]; /* lower case, no brackets, no dot at the end */
    uint16_t port;
    bool allow_private; /* although egress as a whole refuses private addresses */
};

/* From "https://host[:port]/...", http, ldaps, ldap or tls (syslog); user names in it are refused.
 * The error says what is wrong, not where: callers put the setting's name before it. */
enum status destination_of_url(const char *url, struct destination *out,
                               struct error *err) MUST_CHECK;
/* "host:port"; IPv6 in brackets. */
void destination_format(const struct destination *d, char out[DESTINATION_CAP]);
/* Does a name as a SOCKS client gave it (any case) mean d? */
bool destination_matches(const struct destination *d, struct str host, uint16_t port);
/* The host is written as an address, and as a private one. */
bool destination_is_private_address(const struct destination *d);
/* Scheme, host and port. */
bool destination_same_origin(const struct destination *a, const struct destination *b);
/* Not a public unicast address: anything that a request from outside should not be able to reach
 * through us, IPv4 inside IPv6 (mapped, translated, 6to4) included. Families other than IPv4 and
 * IPv6 are too. */
bool address_private(const struct sockaddr *sa);

#endif
