/* Where egress may dial: host and port of configured URLs, and which addresses are nobody's business from
 * here (private, loopback, link-local and reserved ones). Pure. */
#ifndef CARREL_GENERATE_EGRESS_DESTINATION_H
#define CARREL_GENERATE_EGRESS_DESTINATION_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/status.h"
#include "base/str.h"

#define DESTINATION_HOST_CAP 256
#define DESTINATION_CAP (DESTINATION_HOST_CAP + 8)

struct destination {
    char host[DESTINATION_HOST_CAP]; /* lower case, no brackets, no dot at the end */
    uint16_t port;
    bool allow_private; /* although egress as a whole refuses private addresses */
};

/* From "http://host[:port]/..." or "https://..."; user names in it are refused. */
enum status destination_of_url(const char *url, struct destination *out,
                               struct error *err) MUST_CHECK;
/* "host:port"; IPv6 in brackets. */
void destination_format(const struct destination *d, char out[DESTINATION_CAP]);
/* Does a name as a SOCKS client gave it (any case) mean d? */
bool destination_matches(const struct destination *d, struct str host, uint16_t port);
/* Not a public unicast address: anything that a request from outside should not be able to reach through
 * us, IPv4 inside IPv6 (mapped, translated, 6to4) included. Families other than IPv4 and IPv6 are too. */
bool address_private(const struct sockaddr *sa);

#endif
