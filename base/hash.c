#include "base/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char id_alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

struct sha256 {
    EVP_MD_CTX *ctx;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return NULL;
    }
    h->ctx = EVP_MD_CTX_new();
    if (h->ctx == NULL || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(h->ctx);
        free(h);
        return NULL;
    }
    return h;
}

void sha256_add(struct sha256 *h, const void *p, size_t len)
{
    (void)EVP_DigestUpdate(h->ctx, p, len); /* cannot fail for SHA-256 once initialised */
}

void sha256_end(struct sha256 *h, uint8_t out[SHA256_BYTES])
{
    (void)EVP_DigestFinal_ex(h->ctx, out, NULL);
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void sha256_of(const void *p, size_t len, uint8_t out[SHA256_BYTES])
{
    (void)EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL);
}

static void put_hex(const uint8_t *p, size_t n, char *out)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[p[i] >> 4];
        out[2 * i + 1] = hex[p[i] & 15];
    }
    out[2 * n] = '\0';
}

struct md5 {
    EVP_MD_CTX *ctx;
};

struct md5 *md5_new(void)
{
    struct md5 *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return NULL;
    }
    h->ctx = EVP_MD_CTX_new();
    if (h->ctx == NULL || EVP_DigestInit_ex(h->ctx, EVP_md5(), NULL) != 1) {
        EVP_MD_CTX_free(h->ctx);
        free(h);
        return NULL;
    }
    return h;
}

void md5_add(struct md5 *h, const void *p, size_t len)
{
    (void)EVP_DigestUpdate(h->ctx, p, len);
}

void md5_end(struct md5 *h, char out[MD5_HEX_CAP])
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    (void)EVP_DigestFinal_ex(h->ctx, digest, NULL);
    EVP_MD_CTX_free(h->ctx);
    free(h);
    put_hex(digest, (MD5_HEX_CAP - 1) / 2, out);
}

void sha256_hex(const uint8_t digest[SHA256_BYTES], char out[SHA256_HEX_CAP])
{
    put_hex(digest, SHA256_BYTES, out);
}

bool sha256_parse(const char *hex, uint8_t out[SHA256_BYTES])
{
    if (strlen(hex) != 2 * (size_t)SHA256_BYTES) {
        return false;
    }
    for (size_t i = 0; i < 2 * (size_t)SHA256_BYTES; i++) {
        char c = hex[i];
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0) {
            return false;
        }
        out[i / 2] = (uint8_t)(i % 2 == 0 ? v << 4 : out[i / 2] | v);
    }
    return true;
}

void hmac_sha1(const void *key, size_t key_len, const void *p, size_t len,
               uint8_t out[HMAC_SHA1_BYTES])
{
    unsigned n = HMAC_SHA1_BYTES;
    if (HMAC(EVP_sha1(), key, (int)key_len, p, len, out, &n) == NULL || n != HMAC_SHA1_BYTES) {
        abort(); /* only a libcrypto without SHA-1 gets here: no code may be guessed from zeros */
    }
}

void random_bytes(void *p, size_t len)
{
    uint8_t *b = p;
    while (len > 0) {
        ssize_t n = getrandom(b, len, 0);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            abort();
        }
        b += n;
        len -= (size_t)n;
    }
}

void id_new(char out[ID_CAP])
{
    uint8_t r[17] = {0};
    random_bytes(r, 16);
    for (size_t i = 0; i < 26; i++) {
        size_t bit = i * 5;
        unsigned two = (unsigned)r[bit / 8] << 8 | r[bit / 8 + 1];
        out[i] = id_alphabet[(two >> (11 - bit % 8)) & 31];
    }
    out[26] = '\0';
}

bool id_valid(const char *id)
{
    return strlen(id) == 26 && strspn(id, id_alphabet) == 26;
}
