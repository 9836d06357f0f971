/* Passwords: Argon2id (RFC 9106, by libsodium) with 64 MiB and two passes, kept as its own text,
 * which says salt and costs. Hashing and checking take 64 MiB and about a tenth of a second: on a
 * lane of small width. Pure but for that. */
#ifndef CARREL_SERVE_PASSWORD_H
#define CARREL_SERVE_PASSWORD_H

#include "base/status.h"
#include "base/str.h"

#define PASSWORD_HASH_CAP 128 /* crypto_pwhash_STRBYTES */
#define PASSWORD_BYTES_MAX 256
#define PASSWORD_CHARACTERS_MIN 10
#define PASSWORD_NEW_CAP 24 /* 20 characters in groups of five, and NUL */

/* NULL: it may be one's password; otherwise what is wrong with it, in words. name: the user's. */
const char *password_problem(struct str password, struct str name);
enum status password_hash(struct str password, char out[PASSWORD_HASH_CAP],
                          struct error *err) MUST_CHECK;
/* hash "": nobody's, which takes as long and is false. */
bool password_check(const char *hash, struct str password);
/* A random one to be handed over once: 100 bits. */
void password_new(char out[PASSWORD_NEW_CAP]);

#endif
