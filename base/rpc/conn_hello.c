/* The handshake: each side sends HELLO at once and, over Unix sockets, signs the other's nonce when
 * it has seen the other's HELLO. Over TLS the certificate has proved the peer already. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/rpc/conn.h"
#include "base/rpc/message.h"

static const char proof_prefix[] = "carrel hello";
#define PREFIX_BYTES (sizeof proof_prefix - 1)
#define PROOF_TEXT_MAX (PREFIX_BYTES + 2 * CONN_NONCE_BYTES + 64)

/* prefix | nonce of the verifier | nonce of the signer | signer's name | NUL | verifier's name */
static size_t proof_text(const uint8_t *verifier_nonce, const uint8_t *signer_nonce,
                         enum peer signer, enum peer verifier, uint8_t out[PROOF_TEXT_MAX])
{
    size_t n = 0;
    memcpy(out, proof_prefix, PREFIX_BYTES);
    n += PREFIX_BYTES;
    memcpy(out + n, verifier_nonce, CONN_NONCE_BYTES);
    n += CONN_NONCE_BYTES;
    memcpy(out + n, signer_nonce, CONN_NONCE_BYTES);
    n += CONN_NONCE_BYTES;
    const char *a = peer_name(signer);
    const char *b = peer_name(verifier);
    memcpy(out + n, a, strlen(a) + 1);
    n += strlen(a) + 1;
    memcpy(out + n, b, strlen(b));
    return n + strlen(b);
}

enum status rpc_conn_hello_start(struct rpc_conn *c, struct error *err)
{
    char name[32];
    char build[32];
    (void)snprintf(name, sizeof name, "%s", peer_name(c->identity->self));
    (void)snprintf(build, sizeof build, "%s", CARREL_BUILD);
    random_bytes(c->nonce, sizeof c->nonce);
    Rpc__Hello hello = RPC__HELLO__INIT;
    hello.protocol = RPC_PROTOCOL;
    hello.service = name;
    hello.build = build;
    hello.nonce.data = c->nonce;
    hello.nonce.len = sizeof c->nonce;
    hello.has_window = 1;
    hello.window = c->window;
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = RPC__FRAME_KIND__HELLO;
    c->phase = CONN_HELLO;
    if (!rpc_conn_send_message(c, &h, &hello.base, 0)) {
        return error_set(err, STATUS_NO_MEMORY, "hello: out of memory");
    }
    return STATUS_OK;
}

static bool send_proof(struct rpc_conn *c, const uint8_t *peer_nonce)
{
    uint8_t text[PROOF_TEXT_MAX];
    uint8_t signature[PEER_SIGNATURE_BYTES];
    size_t len = proof_text(peer_nonce, c->nonce, c->identity->self, c->peer, text);
    identity_sign(c->identity, text, len, signature);
    Rpc__Proof proof = RPC__PROOF__INIT;
    proof.signature.data = signature;
    proof.signature.len = sizeof signature;
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    h.kind = RPC__FRAME_KIND__PROOF;
    return rpc_conn_send_message(c, &h, &proof.base, 0);
}

static void become_ready(struct rpc_conn *c)
{
    c->phase = CONN_READY;
    (void)uv_timer_stop(&c->hello_timer);
    c->ops->on_ready(c);
}

static enum status take_hello(struct rpc_conn *c, const Rpc__Hello *hello, struct error *err)
{
    enum peer p;
    if (hello->protocol != RPC_PROTOCOL) {
        return error_set(err, STATUS_PROTOCOL, "hello: the peer speaks protocol %u, this build %d",
                         hello->protocol, RPC_PROTOCOL);
    }
    if (!peer_parse(hello->service, &p) || hello->nonce.len != CONN_NONCE_BYTES) {
        return error_set(err, STATUS_PROTOCOL, "hello: unknown service or bad nonce");
    }
    if (c->expects && p != c->peer) {
        return error_set(err, STATUS_PROTOCOL, "hello: expected %s, %s answers", peer_name(c->peer),
                         peer_name(p));
    }
    if (c->tls != NULL && !tls_engine_peer_is(c->tls, peer_name(p))) {
        char name[64];
        tls_engine_peer_name(c->tls, name, sizeof name);
        return error_set(err, STATUS_UNAUTHENTICATED, "hello: %s shows the certificate of \"%s\"",
                         peer_name(p), name);
    }
    c->peer = p;
    uint32_t window = hello->has_window ? hello->window : CONN_WINDOW_LEAST;
    c->peer_window = window < CONN_WINDOW_LEAST ? CONN_WINDOW_LEAST : window;
    if (c->tls != NULL) {
        become_ready(c);
        return STATUS_OK;
    }
    c->phase = CONN_PROOF;
    memcpy(c->peer_nonce, hello->nonce.data, CONN_NONCE_BYTES);
    return send_proof(c, c->peer_nonce) ? STATUS_OK
                                        : error_set(err, STATUS_NO_MEMORY, "hello: out of memory");
}

static enum status take_proof(struct rpc_conn *c, const Rpc__Proof *proof, struct error *err)
{
    uint8_t text[PROOF_TEXT_MAX];
    size_t len = proof_text(c->nonce, c->peer_nonce, c->peer, c->identity->self, text);
    if (proof->signature.len != PEER_SIGNATURE_BYTES ||
        !identity_verify(c->identity, c->peer, text, len, proof->signature.data)) {
        return error_set(err, STATUS_UNAUTHENTICATED, "hello: the proof of being %s does not hold",
                         peer_name(c->peer));
    }
    become_ready(c);
    return STATUS_OK;
}

enum status rpc_conn_hello_frame(struct rpc_conn *c, const struct frame *f, struct error *err)
{
    bool hello = c->phase == CONN_HELLO && f->header->kind == RPC__FRAME_KIND__HELLO;
    bool proof = c->phase == CONN_PROOF && f->header->kind == RPC__FRAME_KIND__PROOF;
    if (!hello && !proof) {
        return error_set(err, STATUS_PROTOCOL, "a frame of kind %d where a %s was due",
                         (int)f->header->kind, c->phase == CONN_HELLO ? "hello" : "proof");
    }
    struct arena a;
    arena_init(&a, message_memory_max(f->body_len));
    ProtobufCMessage *m;
    enum status s = message_unpack(hello ? &rpc__hello__descriptor : &rpc__proof__descriptor,
                                   f->body, f->body_len, &a, &m, err);
    if (s == STATUS_OK) {
        s = hello ? take_hello(c, (const Rpc__Hello *)(const void *)m, err)
                  : take_proof(c, (const Rpc__Proof *)(const void *)m, err);
    }
    arena_reset(&a);
    return s;
}
