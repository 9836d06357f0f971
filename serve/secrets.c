#include "serve/secrets.h"

#include <limits.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/sign.h"

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES

_Static_assert(SECRETS_MORE == NONCE + TAG, "nonce before, tag behind");
_Static_assert(SECRETS_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
_Static_assert(SECRETS_KEY_BYTES == KEYED_KEY_BYTES, "the same kind of file");

bool secrets_there(const char *home)
{
    char path[PATH_MAX];
    struct error lost;
    return file_join(path, sizeof path, home, "system/secrets.key", &lost) == STATUS_OK &&
           access(path, F_OK) == 0;
}

enum status secrets_open(const char *home, bool make, struct secrets *out, struct error *err)
{
    char path[PATH_MAX];
    enum status s = file_join(path, sizeof path, home, "system/secrets.key", err);
    if (s == STATUS_OK && !make && access(path, F_OK) != 0) {
        s = error_set(err, STATUS_UNAVAILABLE,
                      "system/secrets.key is missing: restore it from a backup");
    }
    if (s != STATUS_OK) {
        return s;
    }
    s = keyed_key_open(path, out->key, err);
    if (s != STATUS_OK) { /* no fault of who asks, who learns no path either */
        LOG_ERROR("system/secrets.key", LOG_STR("err", err->text), LOG_END);
        s = error_set(
            err, STATUS_UNAVAILABLE,
            "system/secrets.key cannot be read: see that it is whole and the appliance's");
    }
    return s;
}

void secrets_close(struct secrets *s)
{
    sodium_memzero(s, sizeof *s);
}

void secrets_seal(const struct secrets *s, struct str whose, const uint8_t *plain, size_t len,
                  uint8_t *out)
{
    randombytes_buf(out, NONCE);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        out + NONCE, NULL, plain, len, (const uint8_t *)whose.ptr, whose.len, NULL, out, s->key);
}

bool secrets_unseal(const struct secrets *s, struct str whose, struct str sealed, uint8_t *out)
{
    const uint8_t *p = (const uint8_t *)sealed.ptr;
    return sealed.len > SECRETS_MORE && crypto_aead_xchacha20poly1305_ietf_decrypt(
                                            out, NULL, NULL, p + NONCE, sealed.len - NONCE,
                                            (const uint8_t *)whose.ptr, whose.len, p, s->key) == 0;
}
