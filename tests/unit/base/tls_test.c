/* TLS engines speaking to each other, and to OpenSSL itself, through memory. */
#include "base/tls/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "tests/unit/base/make_certificates.h"
#include "tests/unit/test.h"

struct fixture {
    char folder[64];
    struct authority ca, stranger;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return 1;
    }
    test_folder(f->folder);
    f->ca = make_authority(f->folder, "ca");
    f->stranger = make_authority(f->folder, "stranger");
    make_signed(f->folder, "serve", "serve", &f->ca);
    make_signed(f->folder, "ingest", "ingest", &f->ca);
    make_signed(f->folder, "forged", "ingest", &f->stranger);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    forget_authority(&f->ca);
    forget_authority(&f->stranger);
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

static struct tls_context *context(const struct fixture *f, const char *name, const char *ca)
{
    char crt[128], key[128], authority[128];
    struct tls_context *c;
    struct error err;
    (void)snprintf(crt, sizeof crt, "%s/%s.crt", f->folder, name);
    (void)snprintf(key, sizeof key, "%s/%s.key", f->folder, name);
    (void)snprintf(authority, sizeof authority, "%s/%s.crt", f->folder, ca == NULL ? "" : ca);
    const struct tls_files files = {
        .certificate = crt, .key = key, .ca = ca == NULL ? NULL : authority};
    assert_int_equal(tls_context_new(&files, &c, &err), STATUS_OK);
    return c;
}

static struct tls_engine *engine(struct tls_context *c, enum tls_side side)
{
    struct tls_engine *e;
    struct error err;
    assert_int_equal(tls_engine_new(c, side, &e, &err), STATUS_OK);
    return e;
}

/* What one has to send is given to the other, `piece` bytes at a time. */
static enum status carry(struct tls_engine *from, struct tls_engine *to, size_t piece)
{
    struct buf b;
    struct error err;
    enum status s = STATUS_OK;
    buf_init(&b, 64 * 1024 * 1024);
    tls_engine_output(from, &b);
    assert_int_equal(buf_status(&b), STATUS_OK);
    for (size_t i = 0; i < b.len && s == STATUS_OK; i += piece) {
        s = tls_engine_feed(to, b.ptr + i, b.len - i < piece ? b.len - i : piece, &err);
    }
    buf_deinit(&b);
    return s;
}

static enum status shake(struct tls_engine *client, struct tls_engine *server, size_t piece)
{
    enum status s = STATUS_OK;
    for (int i = 0; i < 4 && s == STATUS_OK; i++) {
        s = carry(client, server, piece);
        enum status back = carry(server, client, piece);
        s = s == STATUS_OK ? back : s;
    }
    return s;
}

static void test_mutual(void **state)
{
    struct fixture *f = *state;
    struct tls_context *sc = context(f, "serve", "ca");
    struct tls_context *cc = context(f, "ingest", "ca");
    static const size_t pieces[] = {1, 7, 1 << 20};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        struct tls_engine *s = engine(sc, TLS_SERVER);
        struct tls_engine *c = engine(cc, TLS_CLIENT);
        struct error err;
        char name[32];
        assert_int_equal(tls_engine_write(c, "early", 5, &err), STATUS_INTERNAL);
        assert_int_equal(shake(c, s, pieces[i]), STATUS_OK);
        assert_true(tls_engine_established(c) && tls_engine_established(s));
        assert_true(tls_engine_peer_is(s, "ingest"));
        assert_false(tls_engine_peer_is(s, "serve"));
        assert_false(tls_engine_peer_is(s, "ingest.example"));
        assert_true(tls_engine_peer_is(c, "serve"));
        tls_engine_peer_name(s, name, sizeof name);
        assert_string_equal(name, "ingest");

        const size_t len = 300000;
        uint8_t *sent = malloc(len), *got = malloc(len);
        assert_true(sent != NULL && got != NULL);
        for (size_t k = 0; k < len; k++) {
            sent[k] = (uint8_t)(k * 31);
        }
        assert_int_equal(tls_engine_write(c, sent, len, &err), STATUS_OK);
        assert_int_equal(carry(c, s, pieces[i] * 1000), STATUS_OK);
        size_t n, have = 0;
        do {
            assert_int_equal(tls_engine_read(s, got + have, len - have, &n, &err), STATUS_OK);
            have += n;
        } while (n > 0);
        assert_int_equal(have, len);
        assert_memory_equal(sent, got, len);
        free(sent);
        free(got);

        assert_false(tls_engine_ended(s));
        tls_engine_goodbye(c);
        assert_int_equal(carry(c, s, 1000), STATUS_OK);
        assert_int_equal(tls_engine_read(s, name, sizeof name, &n, &err), STATUS_OK);
        assert_int_equal(n, 0);
        assert_true(tls_engine_ended(s));
        tls_engine_free(s);
        tls_engine_free(c);
    }
    tls_context_free(sc);
    tls_context_free(cc);
}

static void test_wrong_authority(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *server, *server_ca, *client, *client_ca;
    } cases[] = {
        {"serve", "ca", "forged", "ca"},       /* the server does not know the client's authority */
        {"serve", "ca", "ingest", "stranger"}, /* the client does not know the server's */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_context *sc = context(f, cases[i].server, cases[i].server_ca);
        struct tls_context *cc = context(f, cases[i].client, cases[i].client_ca);
        struct tls_engine *s = engine(sc, TLS_SERVER);
        struct tls_engine *c = engine(cc, TLS_CLIENT);
        assert_int_not_equal(shake(c, s, 1 << 20), STATUS_OK);
        assert_false(tls_engine_established(s));
        assert_false(tls_engine_peer_is(s, "ingest"));
        tls_engine_free(s);
        tls_engine_free(c);
        tls_context_free(sc);
        tls_context_free(cc);
    }
}

/* OpenSSL as a client without a certificate, at most `version`. */
static bool bare_client_gets_in(struct tls_context *sc, int version)
{
    struct tls_engine *s = engine(sc, TLS_SERVER);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, version), 1);
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    assert_true(ssl != NULL && in != NULL && out != NULL);
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    enum status st = STATUS_OK;
    for (int i = 0; i < 4 && st == STATUS_OK; i++) {
        char bytes[65536];
        struct buf b;
        struct error err;
        size_t n = 0;
        (void)SSL_do_handshake(ssl);
        if (BIO_read_ex(out, bytes, sizeof bytes, &n) == 1) {
            st = tls_engine_feed(s, bytes, n, &err);
        }
        buf_init(&b, 1 << 20);
        tls_engine_output(s, &b);
        if (b.len > 0) {
            assert_int_equal(BIO_write(in, b.ptr, (int)b.len), (int)b.len);
        }
        buf_deinit(&b);
    }
    bool in_ok = st == STATUS_OK && tls_engine_established(s);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    tls_engine_free(s);
    ERR_clear_error();
    return in_ok;
}

static void test_no_client_certificate(void **state)
{
    struct fixture *f = *state;
    struct tls_context *mutual = context(f, "serve", "ca");
    struct tls_context *open = context(f, "serve", NULL);
    struct tls_engine *e;
    struct error err;
    assert_false(bare_client_gets_in(mutual, TLS1_3_VERSION));
    assert_true(bare_client_gets_in(open, TLS1_3_VERSION));
    assert_false(bare_client_gets_in(open, TLS1_2_VERSION));
    /* without an authority nobody could be verified: no client may be made of it */
    assert_int_equal(tls_engine_new(open, TLS_CLIENT, &e, &err), STATUS_INVALID);
    tls_context_free(mutual);
    tls_context_free(open);
}

static void test_garbage(void **state)
{
    struct fixture *f = *state;
    struct tls_context *sc = context(f, "serve", "ca");
    struct tls_engine *s = engine(sc, TLS_SERVER);
    struct error err;
    assert_int_equal(tls_engine_feed(s, "GET / HTTP/1.1\r\n\r\n", 18, &err), STATUS_PROTOCOL);
    tls_engine_free(s);
    tls_context_free(sc);
}

static void test_files(void **state)
{
    struct fixture *f = *state;
    char crt[128], other[128], nothing[128];
    struct tls_context *c;
    struct error err;
    (void)snprintf(crt, sizeof crt, "%s/serve.crt", f->folder);
    (void)snprintf(other, sizeof other, "%s/ingest.key", f->folder);
    (void)snprintf(nothing, sizeof nothing, "%s/nothing.crt", f->folder);
    const struct tls_files cases[] = {
        {.certificate = nothing, .key = other},
        {.certificate = crt, .key = other}, /* another certificate's key */
        {.certificate = crt, .key = nothing},
        {.certificate = other, .key = other},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(tls_context_new(&cases[i], &c, &err), STATUS_INVALID);
        assert_non_null(strstr(err.text, f->folder)); /* says which file */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutual),
        cmocka_unit_test(test_wrong_authority),
        cmocka_unit_test(test_no_client_certificate),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
