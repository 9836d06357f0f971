/* The provider of OpenID Connect: what it says of itself and its keys, fetched through the door for
 * serve and kept. Loop thread only.
 *
 * One fetch of each is under way at a time, however many wait. What it says of itself and its keys
 * are taken anew after an hour. A token signed with a key that is not known makes the keys be
 * fetched earlier, at most OIDC_REFETCHES times at once and then once in OIDC_REFETCH_MS: strangers
 * cannot make us ask the provider at will. After a failure nothing is asked for OIDC_PAUSE_MS. */
#ifndef CARREL_SERVE_OIDC_H
#define CARREL_SERVE_OIDC_H

#include "base/list.h"
#include "serve/jwt.h"
#include "serve/oidc_flow.h"
#include "serve/outbound.h"

#define OIDC_KEEP_MS ((int64_t)60 * 60 * 1000)
#define OIDC_REFETCHES 4.0
#define OIDC_REFETCH_MS ((int64_t)30 * 1000)
#define OIDC_PAUSE_MS ((int64_t)3 * 1000)

enum oidc_thing { OIDC_METADATA, OIDC_KEYS, OIDC_THINGS };

/* Somebody who waits for a thing. In the waiter's memory; zeroed before its first use. */
struct oidc_wait {
    struct list link;
    /* Once: it is there, or err says why not. Not after oidc_leave. */
    void (*then)(void *data, const struct error *err);
    void *data;
};

struct oidc {
    const struct settings *settings;
    struct outbound *outbound;
    char secret[1024]; /* "" a public client */
    uint8_t seal[OIDC_SEAL_KEY_BYTES];
    char cookie[48];
    /* private */
    struct oidc_metadata metadata;
    struct jwk_set *keys;
    struct oidc_fetch {
        struct oidc *o;
        struct outbound_call *call; /* NULL: none under way */
        struct list waiting;
        int64_t taken_ms;  /* what is there is of then; 0: nothing is */
        int64_t failed_ms; /* 0: the last went well */
        struct error error;
    } fetch[OIDC_THINGS];
    double refetches;
    int64_t refetch_ms;
};

/* *out NULL: no provider is configured. port: names the cookie. Blocks: at start. */
enum status oidc_new(const struct settings *settings, struct outbound *outbound, int port,
                     struct oidc **out, struct error *err) MUST_CHECK;
void oidc_free(struct oidc *o); /* NULL is fine; nobody waits; before outbound_close */

/* NULL: not there, or too old; oidc_want it then. Valid until the loop runs again. */
const struct oidc_metadata *oidc_metadata(const struct oidc *o, int64_t now_ms);
const struct jwk_set *oidc_keys(const struct oidc *o, int64_t now_ms);
/* An error: then will not run. again: fetched even where there is one (BUSY: too often). */
enum status oidc_want(struct oidc *o, enum oidc_thing what, bool again, struct oidc_wait *w,
                      struct error *err) MUST_CHECK;
/* May be called when not waiting. */
void oidc_leave(struct oidc_wait *w);

#endif
