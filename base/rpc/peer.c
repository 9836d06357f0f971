#include "base/rpc/peer.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char identity_magic[8] = {'C', 'A', 'R', 'R', 'E', 'L', 'I', '1'};

_Static_assert(PEER_PUBLIC_BYTES == crypto_sign_PUBLICKEYBYTES, "Ed25519 public key");
_Static_assert(PEER_SECRET_BYTES == crypto_sign_SECRETKEYBYTES, "Ed25519 secret key");
_Static_assert(PEER_SIGNATURE_BYTES == crypto_sign_BYTES, "Ed25519 signature");

const char *peer_name(enum peer p)
{
    static const char *const names[PEER_COUNT] = {
#define PEER_NAME(code, name) [PEER_##code] = name,
        PEER_LIST(PEER_NAME)
#undef PEER_NAME
    };
    return (unsigned)p < PEER_COUNT ? names[p] : "?";
}

bool peer_parse(const char *name, enum peer *out)
{
    for (int i = 0; i < PEER_COUNT; i++) {
        if (strcmp(name, peer_name((enum peer)i)) == 0) {
            *out = (enum peer)i;
            return true;
        }
    }
    return false;
}

/* sodium_init may be called again and again; it only fails where the kernel has no randomness. */
static void need_sodium(void)
{
    if (sodium_init() < 0) {
        abort();
    }
}

void identity_make(struct identity all[PEER_COUNT])
{
    need_sodium();
    uint8_t publics[PEER_COUNT][PEER_PUBLIC_BYTES];
    for (int i = 0; i < PEER_COUNT; i++) {
        all[i].self = (enum peer)i;
        (void)crypto_sign_keypair(publics[i], all[i].secret);
    }
    for (int i = 0; i < PEER_COUNT; i++) {
        memcpy(all[i].publics, publics, sizeof publics);
    }
}

void identity_encode(const struct identity *id, uint8_t out[IDENTITY_RECORD_BYTES])
{
    uint32_t self = (uint32_t)id->self;
    uint8_t *p = out;
    memcpy(p, identity_magic, sizeof identity_magic);
    p += sizeof identity_magic;
    for (int i = 0; i < 4; i++) {
        *p++ = (uint8_t)(self >> (8 * i));
    }
    memcpy(p, id->secret, PEER_SECRET_BYTES);
    memcpy(p + PEER_SECRET_BYTES, id->publics, sizeof id->publics);
}

enum status identity_decode(const uint8_t *p, size_t len, struct identity *out, struct error *err)
{
    if (len != IDENTITY_RECORD_BYTES || memcmp(p, identity_magic, sizeof identity_magic) != 0) {
        return error_set(err, STATUS_INVALID,
                         "identity: not a record of this version (%zu bytes, expected %zu)", len,
                         (size_t)IDENTITY_RECORD_BYTES);
    }
    p += sizeof identity_magic;
    uint32_t self =
        (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    if (self >= PEER_COUNT) {
        return error_set(err, STATUS_INVALID, "identity: unknown peer number %u", self);
    }
    p += 4;
    /* The second half of an Ed25519 secret key is its public key: the record must agree with
     * itself. */
    if (memcmp(p + PEER_SECRET_BYTES - PEER_PUBLIC_BYTES,
               p + PEER_SECRET_BYTES + (size_t)self * PEER_PUBLIC_BYTES, PEER_PUBLIC_BYTES) != 0) {
        return error_set(err, STATUS_INVALID, "identity: the secret key is not the one of %s",
                         peer_name((enum peer)self));
    }
    out->self = (enum peer)self;
    memcpy(out->secret, p, PEER_SECRET_BYTES);
    memcpy(out->publics, p + PEER_SECRET_BYTES, sizeof out->publics);
    return STATUS_OK;
}

void identity_sign(const struct identity *id, const void *msg, size_t len,
                   uint8_t out[PEER_SIGNATURE_BYTES])
{
    need_sodium();
    (void)crypto_sign_detached(out, NULL, msg, len, id->secret);
}

bool identity_verify(const struct identity *id, enum peer signer, const void *msg, size_t len,
                     const uint8_t sig[PEER_SIGNATURE_BYTES])
{
    need_sodium();
    return (unsigned)signer < PEER_COUNT &&
           crypto_sign_verify_detached(sig, msg, len, id->publics[signer]) == 0;
}
