/* A connection to the outside through a door of carrel-egress, as a plain socket: for protocols
 * that are not HTTP (LDAP, syslog over TLS). Blocking, with an end: for a lane's thread, never the
 * loop's. The door resolves the name, and dials only what settings name; TLS is the caller's, over
 * the socket. */
#ifndef CARREL_BASE_DOOR_H
#define CARREL_BASE_DOOR_H

#include <stdint.h>

#include "base/status.h"

/* socket: the door's path (file_join of home and SERVE_SOCKET). host without brackets. *fd is
 * blocking and close-on-exec, has timeout_ms as its send and receive time-outs, and is the caller's
 * to close. FORBIDDEN: the door does not dial that; UNAVAILABLE: nobody answers there, or at the
 * door. */
enum status door_dial(const char *socket, const char *host, uint16_t port, int64_t timeout_ms,
                      int *fd, struct error *err) MUST_CHECK;

#endif
