/* Signatures that stand without us (Ed25519, RFC 8032), and hashes that mean nothing without their
 * key (keyed BLAKE2b, RFC 7693); both by libsodium. */
#ifndef CARREL_BASE_SIGN_H
#define CARREL_BASE_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SIGN_PUBLIC_BYTES 32
#define SIGN_SECRET_BYTES 64
#define SIGN_BYTES 64
#define KEYED_KEY_BYTES 32
#define KEYED_BYTES 32

struct sign_key {
    uint8_t secret[SIGN_SECRET_BYTES];
    uint8_t public[SIGN_PUBLIC_BYTES];
};

/* The appliance's key, home/system/signing.key (0600), made at the first need together with
 * signing.pub, its public half in hexadecimal. Blocks. */
enum status sign_key_open(const char *home, struct sign_key *out, struct error *err) MUST_CHECK;
void sign_message(const struct sign_key *k, const void *p, size_t len, uint8_t out[SIGN_BYTES]);
bool sign_check(const uint8_t public[SIGN_PUBLIC_BYTES], const void *p, size_t len,
                const uint8_t signature[SIGN_BYTES]);

/* A random key at path (0600), made when missing. Blocks. */
enum status keyed_key_open(const char *path, uint8_t out[KEYED_KEY_BYTES],
                           struct error *err) MUST_CHECK;
void keyed_hash(const uint8_t key[KEYED_KEY_BYTES], const void *p, size_t len,
                uint8_t out[KEYED_BYTES]);

/* Lower-case hexadecimal; out: 2 * len + 1. */
void hex_encode(const uint8_t *p, size_t len, char *out);
/* false unless exactly 2 * len hex digits. */
bool hex_decode(const char *hex, uint8_t *out, size_t len);

#endif
