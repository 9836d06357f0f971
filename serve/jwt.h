/* Signed tokens of an identity provider: JSON Web Signature in its compact form (RFC 7515), keys
 * (RFC 7517) and the claims of an ID token (RFC 7519, OpenID Connect Core 3.1.3.7). Pure; any
 * thread.
 *
 * Accepted are RS256, PS256 and ES256 and nothing else: "none" and HMAC are refused by not being
 * known, so a public key can never be taken for a shared secret. A key is only ever taken from the
 * set that was fetched, never from the token (jwk, jku, x5u and x5c in its header are not read). */
#ifndef CARREL_SERVE_JWT_H
#define CARREL_SERVE_JWT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "serve/json.h"

#define JWT_BYTES_MAX ((size_t)32 * 1024)
#define JWK_SET_BYTES_MAX ((size_t)256 * 1024)
#define JWK_KEYS_MAX 64
#define JWT_RSA_BITS_MIN 2048
#define JWT_RSA_BITS_MAX 8192
#define JWT_SUBJECT_MAX 255

struct jwk_set;

/* Keys of other kinds, for other uses, or malformed ones are passed over, as RFC 7517 section 5
 * says. INVALID: no set, too many keys, or none that can be used. *out is owned: jwk_set_free. */
enum status jwk_set_read(struct str json, struct jwk_set **out, struct error *err) MUST_CHECK;
void jwk_set_free(struct jwk_set *s); /* NULL is fine */
size_t jwk_set_size(const struct jwk_set *s);

/* Checks the signature. payload gets the bytes that were signed. INVALID: malformed, or an
 * algorithm that is not accepted. NOT_FOUND: no key of that name and kind is in the set (it may
 * have been fetched before the provider changed its keys). FORBIDDEN: the signature is wrong. typ:
 * what the header may say of the token's kind besides "JWT" and nothing; NULL: nothing else. */
enum status jws_verify(struct str compact, const struct jwk_set *keys, const char *typ,
                       struct buf *payload, struct error *err) MUST_CHECK;

struct jwt_expect {
    const char *issuer, *audience; /* exactly */
    const char *nonce;             /* NULL: none may be there (a logout token) */
    int64_t now_s, slack_s;        /* clocks may differ by so much */
    int64_t max_age_s;             /* issued at most so long ago */
};

/* iss, sub, aud, azp, exp, nbf, iat, nonce. FORBIDDEN names the claim that is wrong, never its
 * text. */
enum status jwt_check(const struct json *claims, const struct jwt_expect *want,
                      struct error *err) MUST_CHECK;
/* Both: *claims is owned (jsonr_free) and to be believed. */
enum status jwt_open(struct str compact, const struct jwk_set *keys, const char *typ,
                     const struct jwt_expect *want, struct json **claims,
                     struct error *err) MUST_CHECK;

/* Base64 with the letters for URLs and without padding (RFC 7515 section 2); one text a value: what
 * is left of the last letter must be zero. base64url_decode: false unless it is, or above cap. */
bool base64url_decode(struct str s, uint8_t *out, size_t cap, size_t *len);
/* out: at least 4 * ((len + 2) / 3) + 1 bytes. */
void base64url_encode(const uint8_t *p, size_t len, char *out, size_t cap);

#endif
