/* The layout of a segment's file (segment_file.h), shared by its reader and its writer. Native
 * structs, little endian: the services run on nothing else. */
#ifndef CARREL_VECTORSTORE_SEGMENT_FORMAT_H
#define CARREL_VECTORSTORE_SEGMENT_FORMAT_H

#include <sodium.h>
#include <string.h>

#include "base/hash.h"
#include "vectorstore/segment_file.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "segment files are little endian; this machine is not"
#endif

#define SEGMENT_MAGIC "carrel-segfile-1"
#define SEGMENT_HEADER ((size_t)4096)
#define SEGMENT_TAG ((size_t)16)
#define SEGMENT_NONCE ((size_t)24)

struct segment_entry {
    char name[SEGMENT_NAME];
    uint64_t offset, size; /* in the body */
};

struct segment_header { /* the rest of the 4096 bytes is zero */
    char magic[16];
    char kind[SEGMENT_NAME];
    uint32_t version, encrypted;
    uint64_t body, blocks;
    uint32_t n_sections, unused;
    uint8_t salt[16];
    uint8_t table[SHA256_BYTES];
    uint8_t hash[SHA256_BYTES]; /* of this struct with zeros here */
    struct segment_entry sections[SEGMENT_SECTIONS];
};

_Static_assert(sizeof(struct segment_header) <= 4096, "the header has 4096 bytes");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == 16, "a tag has 16 bytes");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == 24, "a nonce has 24 bytes");

static inline void segment_header_hash(const struct segment_header *h,
                                       const struct segment_key *key, uint8_t out[SHA256_BYTES])
{
    struct segment_header copy = *h;
    memset(copy.hash, 0, sizeof copy.hash);
    (void)crypto_generichash(out, SHA256_BYTES, (const unsigned char *)&copy, sizeof copy,
                             key == NULL ? NULL : key->bytes, key == NULL ? 0 : SEGMENT_KEY_BYTES);
}

static inline void segment_nonce(const struct segment_header *h, uint64_t block,
                                 unsigned char out[SEGMENT_NONCE])
{
    memcpy(out, h->salt, sizeof h->salt);
    memcpy(out + sizeof h->salt, &block, sizeof block);
}

#endif
