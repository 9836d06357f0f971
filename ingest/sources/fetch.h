/* One request after another to one source, by libcurl through carrel-egress' socket. Blocking, with
 * ends to everything: a poll's thread only. Redirects are not followed, certificates are checked,
 * proxies of the environment are not used, bodies are taken as they come. Each request is logged
 * with its host, a hash of its path, status and bytes. */
#ifndef CARREL_INGEST_SOURCES_FETCH_H
#define CARREL_INGEST_SOURCES_FETCH_H

#include <stdatomic.h>

#include "base/hash.h"
#include "base/settings/settings.h"
#include "ingest/sources/listing.h"

struct fetcher;

/* Once in the process, before any thread. */
enum status fetch_init(struct error *err) MUST_CHECK;
/* Reads the credentials; socket: of carrel-egress, absolute. All borrowed as long as it lives;
 * cancelled ends what is under way within a second. */
enum status fetcher_new(const struct source_settings *s, const char *socket,
                        const _Atomic bool *cancelled, struct fetcher **out,
                        struct error *err) MUST_CHECK;
void fetcher_free(struct fetcher *f); /* NULL is fine */
const struct origin *fetcher_origin(const struct fetcher *f);

struct fetch_request {
    const char *method;  /* "GET", "PROPFIND" */
    const char *url;     /* below the origin */
    const char *query;   /* encoded and in order; "" none */
    const char *body;    /* of a PROPFIND; NULL: none */
    const char *version; /* what there is already, as a reply gave it; NULL: whatever there is */
    uint64_t max_bytes;
    struct buf *text; /* one of both takes a 2xx body: this, reset, */
    int fd;           /* or this, from where it stands */
};

struct fetch_reply {
    long status;                       /* 0: none came */
    long retry_after_s;                /* 0: not said */
    char version[LISTING_VERSION_CAP]; /* by ETag, else by Last-Modified; "" neither */
    int64_t modified_s;                /* 0: not said */
    char type[64];                     /* small letters, without parameters */
    char moved_to[1024];               /* a redirect's address */
    uint64_t bytes;
    uint8_t hash[SHA256_BYTES]; /* of what went to fd */
};

/* OK: an answer came whole, whatever its status. TOO_LARGE, DISK_FULL, CANCELLED; UNAVAILABLE: any
 * other that may pass. */
enum status fetch_run(struct fetcher *f, const struct fetch_request *q, struct fetch_reply *out,
                      struct error *err) MUST_CHECK;
/* Totals since it was made. */
void fetcher_totals(const struct fetcher *f, uint64_t *requests, uint64_t *bytes);

#endif
