/* Sets of public keys (RFC 7517, RFC 7518 section 6), as OpenSSL holds keys. */
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <stdlib.h>

#include "serve/jwk_internal.h"

#define COORDINATE_BYTES 32
#define RSA_BYTES_MAX (JWT_RSA_BITS_MAX / 8)
#define EXPONENT_BYTES_MAX 8

static EVP_PKEY *key_of(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static bool number_of(const struct json *jwk, const char *name, size_t cap, BIGNUM **out)
{
    uint8_t bytes[RSA_BYTES_MAX];
    size_t len;
    struct str text = jsonr_str(jsonr_get(jwk, name));
    if (text.ptr == NULL || !base64url_decode(text, bytes, cap, &len) || len == 0) {
        return false;
    }
    *out = BN_bin2bn(bytes, (int)len, NULL);
    return *out != NULL;
}

static EVP_PKEY *rsa_key(const struct json *jwk)
{
    BIGNUM *n = NULL;
    BIGNUM *e = NULL;
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld != NULL && number_of(jwk, "n", RSA_BYTES_MAX, &n) &&
        number_of(jwk, "e", EXPONENT_BYTES_MAX, &e) && BN_num_bits(n) >= JWT_RSA_BITS_MIN &&
        BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        key = key_of("RSA", bld);
    }
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);
    return key;
}

/* A point that is not on the curve is refused by OpenSSL when it reads it. */
static EVP_PKEY *ec_key(const struct json *jwk)
{
    uint8_t point[1 + 2 * COORDINATE_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
    size_t x_len;
    size_t y_len;
    EVP_PKEY *key = NULL;
    struct str x = jsonr_str(jsonr_get(jwk, "x"));
    struct str y = jsonr_str(jsonr_get(jwk, "y"));
    if (!str_eq(jsonr_str(jsonr_get(jwk, "crv")), STR("P-256")) || x.ptr == NULL || y.ptr == NULL ||
        !base64url_decode(x, point + 1, COORDINATE_BYTES, &x_len) || x_len != COORDINATE_BYTES ||
        !base64url_decode(y, point + 1 + COORDINATE_BYTES, COORDINATE_BYTES, &y_len) ||
        y_len != COORDINATE_BYTES) {
        return NULL;
    }
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1) {
        key = key_of("EC", bld);
    }
    OSSL_PARAM_BLD_free(bld);
    return key;
}

static bool for_signatures(const struct json *jwk)
{
    struct str use = jsonr_str(jsonr_get(jwk, "use"));
    const struct json *ops = jsonr_get(jwk, "key_ops");
    if (use.ptr != NULL && !str_eq(use, STR("sig"))) {
        return false;
    }
    if (ops == NULL) {
        return true;
    }
    for (size_t i = 0; i < jsonr_len(ops); i++) {
        if (str_eq(jsonr_str(jsonr_at(ops, i)), STR("verify"))) {
            return true;
        }
    }
    return false;
}

static bool read_key(const struct json *jwk, struct jwk *out)
{
    struct str kty = jsonr_str(jsonr_get(jwk, "kty"));
    struct str kid = jsonr_str(jsonr_get(jwk, "kid"));
    struct str alg = jsonr_str(jsonr_get(jwk, "alg"));
    if (jsonr_kind(jwk) != JSON_KIND_OBJECT || !for_signatures(jwk) || kid.len >= sizeof out->kid ||
        alg.len >= sizeof out->alg) {
        return false;
    }
    out->rsa = str_eq(kty, STR("RSA"));
    out->key = out->rsa ? rsa_key(jwk) : str_eq(kty, STR("EC")) ? ec_key(jwk) : NULL;
    if (out->key == NULL) {
        return false;
    }
    if (kid.len > 0) {
        memcpy(out->kid, kid.ptr, kid.len);
    }
    out->kid_len = kid.len;
    if (alg.len > 0) {
        memcpy(out->alg, alg.ptr, alg.len);
    }
    return true;
}

enum status jwk_set_read(struct str text, struct jwk_set **out, struct error *err)
{
    struct json *doc = NULL;
    struct jwk_set *set = NULL;
    enum status s = STATUS_OK;
    *out = NULL;
    if (text.len > JWK_SET_BYTES_MAX) {
        return error_set(err, STATUS_INVALID, "the set of keys is longer than %zu bytes",
                         JWK_SET_BYTES_MAX);
    }
    if (jsonr_read(text, &doc, err) != STATUS_OK) {
        return error_set(err, STATUS_INVALID, "the set of keys is not JSON");
    }
    const struct json *keys = jsonr_get(doc, "keys");
    size_t n = jsonr_kind(keys) == JSON_KIND_ARRAY ? jsonr_len(keys) : 0;
    if (n == 0 || n > JWK_KEYS_MAX) {
        s = error_set(err, STATUS_INVALID, "a set of keys has 1 to %d of them", JWK_KEYS_MAX);
    }
    if (s == STATUS_OK) {
        set = calloc(1, sizeof *set);
        s = set != NULL ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        set->n += read_key(jsonr_at(keys, i), &set->keys[set->n]) ? 1 : 0;
    }
    if (s == STATUS_OK && set->n == 0) {
        s = error_set(err, STATUS_INVALID,
                      "none of the %zu keys is an RSA key of %d to %d bits or a P-256 key for "
                      "signatures",
                      n, JWT_RSA_BITS_MIN, JWT_RSA_BITS_MAX);
    }
    jsonr_free(doc);
    if (s != STATUS_OK) {
        jwk_set_free(set);
        set = NULL;
    }
    *out = set;
    return s;
}

void jwk_set_free(struct jwk_set *s)
{
    for (size_t i = 0; s != NULL && i < s->n; i++) {
        EVP_PKEY_free(s->keys[i].key);
    }
    free(s);
}

size_t jwk_set_size(const struct jwk_set *s)
{
    return s->n;
}
