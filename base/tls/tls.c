#include "base/tls/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct tls_context {
    SSL_CTX *ssl;
    bool mutual;
};

struct tls_engine {
    SSL *ssl;
    BIO *in;  /* ciphertext from the peer; owned by ssl */
    BIO *out; /* ciphertext to the peer; owned by ssl */
    bool ended;
};

/* The first reason in OpenSSL's queue, which is emptied: a later failure must not report this one.
 */
static enum status ssl_failure(struct error *err, enum status code, const char *what)
{
    unsigned long e = ERR_get_error();
    const char *reason = e == 0 ? NULL : ERR_reason_error_string(e);
    ERR_clear_error();
    return error_set(err, code, "%s: %s", what, reason == NULL ? "unknown TLS error" : reason);
}

static enum status load_files(SSL_CTX *ssl, const struct tls_files *f, struct error *err)
{
    if (SSL_CTX_use_certificate_chain_file(ssl, f->certificate) != 1) {
        return ssl_failure(err, STATUS_INVALID, f->certificate);
    }
    if (SSL_CTX_use_PrivateKey_file(ssl, f->key, SSL_FILETYPE_PEM) != 1) {
        return ssl_failure(err, STATUS_INVALID, f->key);
    }
    if (SSL_CTX_check_private_key(ssl) != 1) {
        return error_set(err, STATUS_INVALID, "%s: not the key of %s", f->key, f->certificate);
    }
    if (f->ca == NULL) {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
        return STATUS_OK;
    }
    if (SSL_CTX_load_verify_locations(ssl, f->ca, NULL) != 1) {
        return ssl_failure(err, STATUS_INVALID, f->ca);
    }
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return STATUS_OK;
}

enum status tls_context_new(const struct tls_files *files, struct tls_context **out,
                            struct error *err)
{
    struct tls_context *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "TLS: out of memory");
    }
    ERR_clear_error();
    enum status s;
    c->mutual = files->ca != NULL;
    c->ssl = SSL_CTX_new(TLS_method());
    if (c->ssl == NULL || SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION) != 1) {
        s = ssl_failure(err, STATUS_INTERNAL, "TLS");
        goto out;
    }
    (void)SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(c->ssl, 0);
    s = load_files(c->ssl, files, err);
out:
    if (s != STATUS_OK) {
        tls_context_free(c);
        return s;
    }
    *out = c;
    return STATUS_OK;
}

void tls_context_free(struct tls_context *c)
{
    if (c != NULL) {
        SSL_CTX_free(c->ssl);
        free(c);
    }
}

/* WANT_READ is the ordinary state between two flights. */
static enum status advance(struct tls_engine *e, struct error *err)
{
    if (SSL_is_init_finished(e->ssl)) {
        return STATUS_OK;
    }
    ERR_clear_error();
    int rc = SSL_do_handshake(e->ssl);
    if (rc == 1 || SSL_get_error(e->ssl, rc) == SSL_ERROR_WANT_READ) {
        return STATUS_OK;
    }
    long verdict = SSL_get_verify_result(e->ssl);
    if (verdict != X509_V_OK) {
        ERR_clear_error();
        return error_set(err, STATUS_UNAUTHENTICATED, "TLS handshake: the peer's certificate: %s",
                         X509_verify_cert_error_string(verdict));
    }
    return ssl_failure(err, STATUS_PROTOCOL, "TLS handshake");
}

enum status tls_engine_new(struct tls_context *c, enum tls_side side, struct tls_engine **out,
                           struct error *err)
{
    if (side == TLS_CLIENT && !c->mutual) {
        return error_set(err, STATUS_INVALID, "TLS: a client needs the authority's certificate");
    }
    struct tls_engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "TLS: out of memory");
    }
    enum status s = STATUS_OK;
    e->ssl = SSL_new(c->ssl);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *to = BIO_new(BIO_s_mem());
    if (e->ssl == NULL || in == NULL || to == NULL) {
        BIO_free(in);
        BIO_free(to);
        s = error_set(err, STATUS_NO_MEMORY, "TLS: out of memory");
        goto out;
    }
    (void)BIO_set_mem_eof_return(in, -1);
    (void)BIO_set_mem_eof_return(to, -1);
    SSL_set_bio(e->ssl, in, to);
    e->in = in;
    e->out = to;
    if (side == TLS_SERVER) {
        SSL_set_accept_state(e->ssl);
    } else {
        SSL_set_connect_state(e->ssl);
    }
    s = advance(e, err);
out:
    if (s != STATUS_OK) {
        tls_engine_free(e);
        return s;
    }
    *out = e;
    return STATUS_OK;
}

void tls_engine_free(struct tls_engine *e)
{
    if (e != NULL) {
        SSL_free(e->ssl);
        free(e);
    }
}

enum status tls_engine_feed(struct tls_engine *e, const void *p, size_t len, struct error *err)
{
    const char *at = p;
    while (len > 0) {
        int part = len > 1 << 20 ? 1 << 20 : (int)len;
        int n = BIO_write(e->in, at, part);
        if (n <= 0) {
            return error_set(err, STATUS_NO_MEMORY, "TLS: out of memory");
        }
        at += n;
        len -= (size_t)n;
    }
    return advance(e, err);
}

enum status tls_engine_read(struct tls_engine *e, void *p, size_t cap, size_t *n, struct error *err)
{
    *n = 0;
    if (!SSL_is_init_finished(e->ssl) || e->ended) {
        return STATUS_OK;
    }
    ERR_clear_error();
    size_t got = 0;
    int rc = SSL_read_ex(e->ssl, p, cap, &got);
    if (rc == 1) {
        *n = got;
        return STATUS_OK;
    }
    switch (SSL_get_error(e->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return STATUS_OK;
    case SSL_ERROR_ZERO_RETURN:
        e->ended = true;
        return STATUS_OK;
    default:
        return ssl_failure(err, STATUS_PROTOCOL, "TLS");
    }
}

bool tls_engine_ended(const struct tls_engine *e)
{
    return e->ended;
}

enum status tls_engine_write(struct tls_engine *e, const void *p, size_t len, struct error *err)
{
    if (!SSL_is_init_finished(e->ssl)) {
        return error_set(err, STATUS_INTERNAL, "TLS: written to before the handshake was over");
    }
    if (len == 0) {
        return STATUS_OK;
    }
    ERR_clear_error();
    size_t done = 0;
    if (SSL_write_ex(e->ssl, p, len, &done) != 1 || done != len) {
        return ssl_failure(err, STATUS_PROTOCOL, "TLS");
    }
    return STATUS_OK;
}

void tls_engine_output(struct tls_engine *e, struct buf *out)
{
    size_t len = BIO_ctrl_pending(e->out);
    char *at = len == 0 ? NULL : buf_reserve(out, len);
    size_t got = 0;
    if (at != NULL && BIO_read_ex(e->out, at, len, &got) == 1) {
        out->len += got;
    }
}

bool tls_engine_has_output(const struct tls_engine *e)
{
    return BIO_ctrl_pending(e->out) > 0;
}

bool tls_engine_established(const struct tls_engine *e)
{
    return SSL_is_init_finished(e->ssl) == 1;
}

void tls_engine_goodbye(struct tls_engine *e)
{
    if (SSL_is_init_finished(e->ssl)) {
        ERR_clear_error();
        (void)SSL_shutdown(e->ssl);
        ERR_clear_error();
    }
}

bool tls_engine_peer_is(const struct tls_engine *e, const char *name)
{
    X509 *cert = SSL_get0_peer_certificate(e->ssl);
    const unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT;
    return cert != NULL && SSL_get_verify_result(e->ssl) == X509_V_OK &&
           X509_check_host(cert, name, strlen(name), flags, NULL) == 1;
}

void tls_engine_peer_name(const struct tls_engine *e, char *out, size_t cap)
{
    X509 *cert = SSL_get0_peer_certificate(e->ssl);
    out[0] = '\0';
    if (cert != NULL) {
        (void)X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, out, (int)cap);
    }
}
