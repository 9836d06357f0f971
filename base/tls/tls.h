/* TLS 1.3 over OpenSSL's memory BIOs: bytes in, bytes out, no socket. Whoever owns the stream
 * (base/rpc, serve) feeds what it reads and sends what comes out, so it works on any uv_stream.
 *
 *   feed(ciphertext) -> read(plaintext) until *n is 0 -> output(ciphertext to send)
 *   write(plaintext) -> output(ciphertext to send)
 *
 * One thread at a time for an engine; a context may be shared by the engines of one thread. */
#ifndef CARREL_BASE_TLS_TLS_H
#define CARREL_BASE_TLS_TLS_H

#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

struct tls_context;
struct tls_engine;

struct tls_files {
    const char *certificate; /* PEM, with its chain */
    const char *key;         /* PEM */
    /* PEM. Given: mutual, each side must show a certificate that this authority signed. NULL: a
     * server for everybody (HTTPS); such a context cannot be a client. */
    const char *ca;
};

enum tls_side { TLS_SERVER, TLS_CLIENT };

/* Reads the files (blocks). Errors name the file. */
enum status tls_context_new(const struct tls_files *files, struct tls_context **out,
                            struct error *err) MUST_CHECK;
void tls_context_free(struct tls_context *c); /* NULL is fine; after its engines */

/* A client's first flight lies in the output at once. */
enum status tls_engine_new(struct tls_context *c, enum tls_side side, struct tls_engine **out,
                           struct error *err) MUST_CHECK;
void tls_engine_free(struct tls_engine *e); /* NULL is fine */
/* Ciphertext from the wire; carries the handshake on. After a failure an alert may lie in the
 * output; send it, then close. */
enum status tls_engine_feed(struct tls_engine *e, const void *p, size_t len,
                            struct error *err) MUST_CHECK;
/* Up to cap bytes of plaintext; *n == 0: no more for the moment, or the peer has said goodbye
 * (tls_engine_ended). */
enum status tls_engine_read(struct tls_engine *e, void *p, size_t cap, size_t *n,
                            struct error *err) MUST_CHECK;
bool tls_engine_ended(const struct tls_engine *e);
/* Takes all of it; the handshake must be over. */
enum status tls_engine_write(struct tls_engine *e, const void *p, size_t len,
                             struct error *err) MUST_CHECK;
/* Appends what is to be sent to out (check buf_status). */
void tls_engine_output(struct tls_engine *e, struct buf *out);
bool tls_engine_has_output(const struct tls_engine *e);
bool tls_engine_established(const struct tls_engine *e);
/* Puts a goodbye into the output. */
void tls_engine_goodbye(struct tls_engine *e);
/* Does the peer's verified certificate carry this name (subject alternative name or CN, no
 * wildcards)? */
bool tls_engine_peer_is(const struct tls_engine *e, const char *name);
/* The certificate's common name for the log; "" when there is none. */
void tls_engine_peer_name(const struct tls_engine *e, char *out, size_t cap);

#endif
