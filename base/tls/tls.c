#include "base/tls/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX ((size_t)256 * 1024 * 1024) /* ciphertext; callers bound what they give */

struct tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *bytes; /* how an engine's SSL reaches its two buffers */
    bool mutual;
};

/* The buffers are there only while something lies in them: OpenSSL's own memory BIOs keep what they
 * once needed, for each of thousands of connections that wait. */
struct tls_engine {
    SSL *ssl;
    struct buf in;  /* ciphertext from the peer */
    size_t in_at;   /* of it was read */
    struct buf out; /* ciphertext to the peer */
    bool ended;
};

/* ---- between OpenSSL and the buffers ---- */

static int bytes_read(BIO *b, char *p, size_t cap, size_t *n)
{
    struct tls_engine *e = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    *n = e->in.len - e->in_at < cap ? e->in.len - e->in_at : cap;
    if (*n == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    memcpy(p, e->in.ptr + e->in_at, *n);
    e->in_at += *n;
    if (e->in_at == e->in.len) {
        buf_deinit(&e->in);
        e->in_at = 0;
    }
    return 1;
}

static int bytes_write(BIO *b, const char *p, size_t len, size_t *n)
{
    struct tls_engine *e = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    buf_append(&e->out, p, len);
    *n = buf_status(&e->out) == STATUS_OK ? len : 0;
    return *n == len;
}

static long bytes_ctrl(BIO *b, int command, long number, void *p)
{
    (void)b;
    (void)number;
    (void)p;
    return command == BIO_CTRL_FLUSH; /* what is written lies there at once */
}

static BIO_METHOD *bytes_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "bytes");
    if (m != NULL &&
        (BIO_meth_set_read_ex(m, bytes_read) != 1 || BIO_meth_set_write_ex(m, bytes_write) != 1 ||
         BIO_meth_set_ctrl(m, bytes_ctrl) != 1)) {
        BIO_meth_free(m);
        m = NULL;
    }
    return m;
}

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
    c->bytes = bytes_method();
    if (c->ssl == NULL || c->bytes == NULL ||
        SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION) != 1) {
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
        BIO_meth_free(c->bytes);
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
    BIO *bytes = BIO_new(c->bytes);
    buf_init(&e->in, WAITING_MAX);
    buf_init(&e->out, WAITING_MAX);
    if (e->ssl == NULL || bytes == NULL) {
        BIO_free(bytes);
        s = error_set(err, STATUS_NO_MEMORY, "TLS: out of memory");
        goto out;
    }
    BIO_set_data(bytes, e);
    BIO_set_init(bytes, 1);
    SSL_set_bio(e->ssl, bytes, bytes); /* for both ways; owned by ssl */
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
        buf_deinit(&e->in);
        buf_deinit(&e->out);
        free(e);
    }
}

enum status tls_engine_feed(struct tls_engine *e, const void *p, size_t len, struct error *err)
{
    if (e->in_at > 0) {
        buf_consume(&e->in, e->in_at);
        e->in_at = 0;
    }
    buf_append(&e->in, p, len);
    if (buf_status(&e->in) != STATUS_OK) {
        return error_set(err, STATUS_NO_MEMORY, "TLS: out of memory");
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
    if (out->ptr == NULL && e->out.len <= out->max) { /* handed over as it is, or its failure */
        size_t max = out->max;
        *out = e->out;
        out->max = max;
        buf_init(&e->out, WAITING_MAX);
        return;
    }
    buf_str(out, buf_view(&e->out));
    if (out->failed == STATUS_OK) {
        out->failed = e->out.failed;
    }
    buf_deinit(&e->out);
}

bool tls_engine_has_output(const struct tls_engine *e)
{
    return e->out.len > 0;
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
