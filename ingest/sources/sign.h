/* AWS Signature Version 4 of requests without a body, as S3 wants it: the path is encoded once, the
 * hash of the body is signed. ("Signature Version 4 signing process", AWS General Reference.) Ours
 * rather than libcurl's, which in Debian 12 signs a query as it stands. Pure. */
#ifndef CARREL_INGEST_SOURCES_SIGN_H
#define CARREL_INGEST_SOURCES_SIGN_H

#include <stdint.h>

#include "base/buf.h"

struct sign {
    const char *method, *host; /* as in the Host line */
    const char *path;          /* as it is sent, encoded */
    const char *query;         /* as it is sent: encoded, in the order of names; "" none */
    const char *region, *service;
    const char *access_key, *secret_key, *token; /* token: "" none */
    int64_t now_s;
};

/* Lines of a head, each ended by '\n': Authorization, x-amz-date, x-amz-content-sha256, and the
 * token. */
void sign_lines(const struct sign *s, struct buf *out);

#endif
