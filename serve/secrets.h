/* What must be readable again and yet not lie in a database as it is: sealed under a key in a file
 * of its own, system/secrets.key (0600, the appliance's). A copy of the database alone opens
 * nothing. Blocks. */
#ifndef CARREL_SERVE_SECRETS_H
#define CARREL_SERVE_SECRETS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

#define SECRETS_KEY_BYTES 32
#define SECRETS_MORE 40 /* a sealed text is so much longer */

struct secrets {
    uint8_t key[SECRETS_KEY_BYTES];
};

bool secrets_there(const char *home);
/* make: where there is no file, write one with a new key; else UNAVAILABLE. */
enum status secrets_open(const char *home, bool make, struct secrets *out,
                         struct error *err) MUST_CHECK;
void secrets_close(struct secrets *s);
/* XChaCha20-Poly1305 under a nonce of its own; whose: it opens for him only. out: len and
 * SECRETS_MORE. */
void secrets_seal(const struct secrets *s, struct str whose, const uint8_t *plain, size_t len,
                  uint8_t *out);
/* out: of sealed.len - SECRETS_MORE. False: another key, another one's, or damaged. */
bool secrets_unseal(const struct secrets *s, struct str whose, struct str sealed,
                    uint8_t *out) MUST_CHECK;

#endif
