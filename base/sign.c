#include "base/sign.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

_Static_assert(SIGN_PUBLIC_BYTES == crypto_sign_PUBLICKEYBYTES, "Ed25519 public key");
_Static_assert(SIGN_SECRET_BYTES == crypto_sign_SECRETKEYBYTES, "Ed25519 secret key");
_Static_assert(SIGN_BYTES == crypto_sign_BYTES, "Ed25519 signature");

/* sodium_init may be called again and again; it only fails where the kernel has no randomness. */
static void need_sodium(void)
{
    if (sodium_init() < 0) {
        abort();
    }
}

/* A file of exactly len secret bytes; NOT_FOUND when there is none. */
static enum status read_secret(const char *path, uint8_t *out, size_t len, struct error *err)
{
    struct buf b;
    buf_init(&b, len + 1);
    enum status s = file_read(path, &b, err);
    if (s == STATUS_OK && b.len != len) {
        s = error_set(err, STATUS_CORRUPT,
                      "%s: is not a key of %zu bytes: restore it from a backup", path, len);
    }
    if (s == STATUS_OK && b.ptr != NULL) {
        memcpy(out, b.ptr, len);
    }
    if (b.ptr != NULL) {
        sodium_memzero(b.ptr, b.len);
    }
    buf_deinit(&b);
    return s;
}

static enum status write_public(const char *home, const struct sign_key *k, struct error *err)
{
    char path[1200];
    char line[2 * SIGN_PUBLIC_BYTES + 2];
    hex_encode(k->public, sizeof k->public, line);
    line[sizeof line - 2] = '\n';
    enum status s = file_join(path, sizeof path, home, "system/signing.pub", err);
    if (s == STATUS_OK && access(path, F_OK) != 0) {
        s = file_write_atomic(path, line, sizeof line - 1, 0644, err);
    }
    return s;
}

enum status sign_key_open(const char *home, struct sign_key *out, struct error *err)
{
    char path[1200];
    need_sodium();
    enum status s = file_join(path, sizeof path, home, "system", err);
    if (s == STATUS_OK) {
        s = file_mkdirs(path, 0700, err);
    }
    if (s == STATUS_OK) {
        s = file_join(path, sizeof path, home, "system/signing.key", err);
    }
    if (s == STATUS_OK) {
        s = read_secret(path, out->secret, sizeof out->secret, err);
    }
    if (s == STATUS_NOT_FOUND) {
        (void)crypto_sign_keypair(out->public, out->secret);
        s = file_write_atomic(path, out->secret, sizeof out->secret, 0600, err);
    }
    if (s == STATUS_OK) {
        (void)crypto_sign_ed25519_sk_to_pk(out->public, out->secret);
        s = write_public(home, out, err);
    }
    return s;
}

void sign_message(const struct sign_key *k, const void *p, size_t len, uint8_t out[SIGN_BYTES])
{
    need_sodium();
    (void)crypto_sign_detached(out, NULL, p, len, k->secret);
}

bool sign_check(const uint8_t public[SIGN_PUBLIC_BYTES], const void *p, size_t len,
                const uint8_t signature[SIGN_BYTES])
{
    need_sodium();
    return crypto_sign_verify_detached(signature, p, len, public) == 0;
}

enum status keyed_key_open(const char *path, uint8_t out[KEYED_KEY_BYTES], struct error *err)
{
    enum status s = read_secret(path, out, KEYED_KEY_BYTES, err);
    if (s == STATUS_NOT_FOUND) {
        random_bytes(out, KEYED_KEY_BYTES);
        s = file_write_atomic(path, out, KEYED_KEY_BYTES, 0600, err);
    }
    return s;
}

void keyed_hash(const uint8_t key[KEYED_KEY_BYTES], const void *p, size_t len,
                uint8_t out[KEYED_BYTES])
{
    need_sodium();
    (void)crypto_generichash(out, KEYED_BYTES, p, len, key, KEYED_KEY_BYTES);
}

void hex_encode(const uint8_t *p, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15U];
    }
    out[2 * len] = '\0';
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(const char *hex, uint8_t *out, size_t len)
{
    if (strlen(hex) != 2 * len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int high = digit(hex[2 * i]);
        int low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
