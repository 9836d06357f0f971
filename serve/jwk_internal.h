/* What jwk.c reads and jwt.c verifies with. Private to the two. */
#ifndef CARREL_SERVE_JWK_INTERNAL_H
#define CARREL_SERVE_JWK_INTERNAL_H

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include "serve/jwt.h"

struct jwk {
    char kid[256];
    size_t kid_len;
    char alg[16]; /* "" any of the key's kind */
    bool rsa;     /* else P-256 */
    EVP_PKEY *key;
};

struct jwk_set {
    size_t n;
    struct jwk keys[JWK_KEYS_MAX];
};

#endif
