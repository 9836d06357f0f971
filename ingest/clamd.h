/* Asking clamd whether a file holds malware: the INSTREAM command of clamd(8) over its socket.
 * A blocking function, for a lane. It trusts nothing of what comes back: an answer is "stream: OK",
 * "stream: NAME FOUND" or an error. */
#ifndef CARREL_INGEST_CLAMD_H
#define CARREL_INGEST_CLAMD_H

#include <stdint.h>

#include "base/status.h"

#define CLAMD_NAME_CAP 128

enum clamd_verdict {
    CLAMD_CLEAN,
    CLAMD_FOUND,
    CLAMD_TOO_LARGE, /* for clamd's StreamMaxLength */
    CLAMD_DOWN,      /* it does not answer a PING: err says why */
    CLAMD_FAILED,    /* it answers a PING, and not about this file: err says why */
};

struct clamd {
    const char *address; /* "/run/clamav/clamd.ctl" or "host:port" */
    int64_t timeout_ms;  /* for the whole question */
    int cancel; /* descriptor that becomes readable when nobody wants the answer; -1: none */
};

/* Whether settings may name it: a path from the root, or host:port. */
bool clamd_address_valid(const char *address);
/* Sends the file fd (read from its start, its offset untouched). name: of what was found. */
enum clamd_verdict clamd_scan(const struct clamd *c, int fd, char name[CLAMD_NAME_CAP],
                              struct error *err);

#endif
