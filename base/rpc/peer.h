/* The names of the processes that may speak to each other, and the proof of being one of them.
 *
 * The supervisor makes an Ed25519 key pair for every peer at each start. A service inherits on a
 * descriptor its own secret key and everyone's public keys (`struct identity`); nothing is written to disk
 * but the CLI's own identity ($home/run/cli.identity, 0600). Over Unix sockets a peer proves itself by signing
 * the other side's nonce; over TCP by its certificate (mutual TLS 1.3). serve's key also signs callers. */
#ifndef CARREL_BASE_RPC_PEER_H
#define CARREL_BASE_RPC_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* X(code, name). Append only: the number is part of the identity file. */
#define PEER_LIST(X)                                                                               \
    X(SUPERVISOR, "supervisor")                                                                    \
    X(CLI, "cli")                                                                                  \
    X(VECTORSTORE, "vectorstore")                                                                  \
    X(EMBED, "embed")                                                                              \
    X(RETRIEVE, "retrieve")                                                                        \
    X(GENERATE, "generate")                                                                        \
    X(INGEST, "ingest")                                                                            \
    X(SERVE, "serve")                                                                              \
    X(EGRESS, "egress")

enum peer {
#define PEER_ENUM(code, name) PEER_##code,
    PEER_LIST(PEER_ENUM)
#undef PEER_ENUM
        PEER_COUNT
};

/* A set of peers, for the table of who may call a method: FROM(SERVE) | FROM(RETRIEVE). */
#define FROM(code) (1U << PEER_##code)

#define PEER_PUBLIC_BYTES 32
#define PEER_SECRET_BYTES 64
#define PEER_SIGNATURE_BYTES 64

struct identity {
    enum peer self;
    uint8_t secret[PEER_SECRET_BYTES];
    uint8_t publics[PEER_COUNT][PEER_PUBLIC_BYTES];
};

const char *peer_name(enum peer p); /* "?" outside the list */
bool peer_parse(const char *name, enum peer *out);

/* A fresh set: all[i].self == i, all share the public keys. */
void identity_make(struct identity all[PEER_COUNT]);
/* Fixed-size record with magic and version, for a pipe or a 0600 file. */
#define IDENTITY_RECORD_BYTES (8 + 4 + PEER_SECRET_BYTES + PEER_COUNT * PEER_PUBLIC_BYTES)
void identity_encode(const struct identity *id, uint8_t out[IDENTITY_RECORD_BYTES]);
enum status identity_decode(const uint8_t *p, size_t len, struct identity *out,
                            struct error *err) MUST_CHECK;
void identity_sign(const struct identity *id, const void *msg, size_t len,
                   uint8_t out[PEER_SIGNATURE_BYTES]);
bool identity_verify(const struct identity *id, enum peer signer, const void *msg, size_t len,
                     const uint8_t sig[PEER_SIGNATURE_BYTES]);

#endif
