/* A certificate authority and certificates signed by it, made on the spot for the TLS tests. */
#ifndef CARREL_TESTS_MAKE_CERTIFICATES_H
#define CARREL_TESTS_MAKE_CERTIFICATES_H

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "tests/unit/test.h"

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
};

static inline X509 *make_certificate(const char *name, EVP_PKEY *key,
                                     const struct authority *issuer)
{
    X509 *x = X509_new();
    assert_non_null(x);
    static long serial;
    (void)X509_set_version(x, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(x), -60);
    (void)X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    assert_int_equal(X509_set_pubkey(x, key), 1);
    X509_NAME *subject = X509_get_subject_name(x);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    (void)X509_set_issuer_name(x, issuer == NULL ? subject
                                                 : X509_get_subject_name(issuer->certificate));
    if (issuer == NULL) {
        X509_EXTENSION *is_ca =
            X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        assert_non_null(is_ca);
        assert_int_equal(X509_add_ext(x, is_ca, -1), 1);
        X509_EXTENSION_free(is_ca);
    }
    assert_true(X509_sign(x, issuer == NULL ? key : issuer->key, EVP_sha256()) > 0);
    return x;
}

static inline void write_pem(const char *folder, const char *name, const char *ending, X509 *x,
                             EVP_PKEY *key)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s.%s", folder, name, ending);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(x != NULL ? PEM_write_X509(f, x)
                               : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL),
                     1);
    assert_int_equal(fclose(f), 0);
}

/* Writes <folder>/<name>.crt. */
static inline struct authority make_authority(const char *folder, const char *name)
{
    struct authority a = {.key = EVP_EC_gen("P-256")};
    assert_non_null(a.key);
    a.certificate = make_certificate(name, a.key, NULL);
    write_pem(folder, name, "crt", a.certificate, NULL);
    return a;
}

/* Writes <folder>/<file>.crt and .key for common name cn. */
static inline void make_signed(const char *folder, const char *file, const char *cn,
                               const struct authority *issuer)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    X509 *x = make_certificate(cn, key, issuer);
    write_pem(folder, file, "crt", x, NULL);
    write_pem(folder, file, "key", NULL, key);
    X509_free(x);
    EVP_PKEY_free(key);
}

static inline void forget_authority(struct authority *a)
{
    X509_free(a->certificate);
    EVP_PKEY_free(a->key);
}

#endif
