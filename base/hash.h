/* SHA-256 (FIPS 180-4, by OpenSSL), hexadecimal, and random identifiers. */
#ifndef CARREL_BASE_HASH_H
#define CARREL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SHA256_BYTES 32
#define SHA256_HEX_CAP 65
#define ID_CAP 27 /* 26 characters and NUL */

#define HMAC_SHA1_BYTES 20

struct sha256; /* a running hash */

void sha256_of(const void *p, size_t len, uint8_t out[SHA256_BYTES]);
struct sha256 *sha256_new(void); /* NULL when out of memory */
void sha256_add(struct sha256 *h, const void *p, size_t len);
void sha256_end(struct sha256 *h, uint8_t out[SHA256_BYTES]); /* frees h */
/* A checksum that clients send (RFC 1321); against accidents only. NULL when out of memory or where
 * OpenSSL has none. */
#define MD5_HEX_CAP 33
struct md5;
struct md5 *md5_new(void);
void md5_add(struct md5 *h, const void *p, size_t len);
void md5_end(struct md5 *h, char out[MD5_HEX_CAP]); /* frees h */
void sha256_hex(const uint8_t digest[SHA256_BYTES], char out[SHA256_HEX_CAP]);
/* false unless exactly 64 hex digits */
bool sha256_parse(const char *hex, uint8_t out[SHA256_BYTES]);
/* RFC 2104, for the one-time codes of RFC 6238. */
void hmac_sha1(const void *key, size_t key_len, const void *p, size_t len,
               uint8_t out[HMAC_SHA1_BYTES]);
/* len random bytes from the kernel; aborts the process if the kernel has none (it never returns
 * weak ones) */
void random_bytes(void *p, size_t len);
/* A new opaque id: 128 random bits as 26 characters of lower-case Crockford base32. */
void id_new(char out[ID_CAP]);
/* Has the form that id_new makes. */
bool id_valid(const char *id);

#endif
