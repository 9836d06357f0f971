/* The parts of a sign-in by OpenID Connect that need nobody else: what the browser is sent away
 * with, what it must bring back, and what the provider says of itself. Pure; any thread.
 *
 * A flow is not kept here: it lies in a cookie of the browser that began it, sealed with a key that
 * only this process has. So strangers who begin flows and leave them cost nothing, and a code that
 * comes back with another browser's flow, or none, is refused. */
#ifndef CARREL_SERVE_OIDC_FLOW_H
#define CARREL_SERVE_OIDC_FLOW_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/settings/settings.h"
#include "base/status.h"
#include "base/str.h"

#define OIDC_URL_MAX 1024
#define OIDC_FLOW_MS ((int64_t)10 * 60 * 1000) /* for the sign-in at the provider */
#define OIDC_SEAL_KEY_BYTES 32
#define OIDC_RANDOM_CAP 44 /* 256 bits in base64url, and NUL */
#define OIDC_RETURN_CAP 200
#define OIDC_COOKIE_CAP 700

struct oidc_flow {
    char state[OIDC_RANDOM_CAP], nonce[OIDC_RANDOM_CAP], verifier[OIDC_RANDOM_CAP];
    char return_to[OIDC_RETURN_CAP]; /* a path of ours */
    int64_t expires_wall_ms;
};

/* What the discovery document says (OpenID Connect Discovery 1.0 section 3). */
struct oidc_metadata {
    char authorization[OIDC_URL_MAX], token[OIDC_URL_MAX], jwks[OIDC_URL_MAX];
    char userinfo[OIDC_URL_MAX], end_session[OIDC_URL_MAX]; /* "" none */
    bool says_issuer;                                       /* its redirects carry iss (RFC 9207) */
    bool post_secret; /* it takes the client's secret in the form and not as Basic */
};

/* A new flow. return_to: as asked for by the browser; anything but a plain path of ours becomes
 * "/". */
void oidc_flow_new(struct str return_to, int64_t now_wall_ms, struct oidc_flow *out);
void oidc_flow_seal(const struct oidc_flow *f, const uint8_t key[OIDC_SEAL_KEY_BYTES],
                    char out[OIDC_COOKIE_CAP]);
/* False: not sealed by key, or over. */
bool oidc_flow_open(struct str sealed, const uint8_t key[OIDC_SEAL_KEY_BYTES], int64_t now_wall_ms,
                    struct oidc_flow *out);

/* Where the browser goes: appended to out. */
void oidc_authorization_url(const struct oidc_metadata *m, const struct settings *s,
                            const struct oidc_flow *f, struct buf *out);
/* The form for the token endpoint, and the header that proves who we are ("" none). */
void oidc_token_form(const struct oidc_metadata *m, const struct settings *s, const char *secret,
                     struct str code, const struct oidc_flow *f, struct buf *form,
                     struct buf *authorization);

enum oidc_came_back {
    OIDC_CODE,    /* code is set */
    OIDC_STRANGE, /* not the flow's: state, iss, or a malformed query */
    OIDC_REFUSED, /* the provider, or the person there, said no */
};
/* What the provider sent the browser back with. code in a. */
enum oidc_came_back oidc_read_callback(struct str query, const struct oidc_metadata *m,
                                       const char *issuer, const struct oidc_flow *f,
                                       struct arena *a, struct str *code);

/* INVALID says what is wrong with the document. Its addresses that we shall call must be on the
 * origins of the issuer or of oidc.hosts. */
enum status oidc_read_metadata(struct str json, const struct settings *s, struct oidc_metadata *out,
                               struct error *err) MUST_CHECK;

/* "scheme://host:port" of a URL into out; false: too long, or none. */
bool oidc_origin(const char *url, char *out, size_t cap);
/* application/x-www-form-urlencoded, everything but unreserved characters as %XX. */
void oidc_encode(struct buf *out, struct str s);

#endif
