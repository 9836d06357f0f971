/* Who is asking: made and signed by serve, carried unchanged through every call, believed by a
 * service only when serve's signature holds and it has not expired. A call without a caller is the
 * appliance's own work (ingest's pipeline) and is trusted as far as its method's row in the table
 * lets that peer in. */
#ifndef CARREL_BASE_RPC_CALLER_H
#define CARREL_BASE_RPC_CALLER_H

#include "base/arena.h"
#include "base/rpc/peer.h"

struct caller {
    const char *tenant;
    const char *user;          /* opaque id, e.g. "key:3f2a..." */
    const char *const *groups; /* n_groups names; readers lists are matched against these */
    size_t n_groups;
    bool admin;
    const char *const *collections; /* n_collections names; none: every collection */
    size_t n_collections;
    int64_t expires_wall_ms;
};

/* Serve only. The signed token (bytes, at most 4 KiB) allocated in a. */
enum status caller_sign(const struct identity *serve, const struct caller *c, struct arena *a,
                        const uint8_t **token, size_t *token_len, struct error *err) MUST_CHECK;
/* Checks form, signature and expiry; out's strings live in a. STATUS_UNAUTHENTICATED when it fails.
 */
enum status caller_verify(const struct identity *self, const uint8_t *token, size_t token_len,
                          int64_t now_wall_ms, struct arena *a, struct caller *out,
                          struct error *err) MUST_CHECK;
/* The same for a token whose very bytes caller_verify has found good before: only form and expiry
 * are looked at. */
enum status caller_read_verified(const uint8_t *token, size_t token_len, int64_t now_wall_ms,
                                 struct arena *a, struct caller *out, struct error *err) MUST_CHECK;

#endif
