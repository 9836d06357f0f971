/* Tokens: the examples of RFC 7515 and RFC 7517, and what must not be believed. */
#include "serve/jwt.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdio.h>

#include "tests/unit/test.h"

/* RFC 7515 appendix A: the same payload in A.1 (HS256), A.2 (RS256) and A.3 (ES256) */
#define PAYLOAD                                                                                    \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "f"                                                                                            \
    "Q"
#define A1                                                                                         \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD                                            \
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define A2                                                                                         \
    "eyJhbGciOiJSUzI1NiJ9." PAYLOAD                                                                \
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"       \
    "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSj" \
    "tQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6Ie" \
    "YI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define A3                                                                                         \
    "eyJhbGciOiJFUzI1NiJ9." PAYLOAD                                                                \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define A2_N                                                                                       \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"                        \
    "4qPCJrcS2mJPMEzP1Pt0Bm4d"                                                                     \
    "4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-"                      \
    "bSf63kpaSHSXndS5z5rexM"                                                                       \
    "dbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_"                 \
    "I5IhlJH7aGhyxXFvU"                                                                            \
    "K-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define RSA_JWK "{\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"AQAB\"}"
#define EC_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define EC_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define EC_JWK "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}"
#define OCT_JWK                                                                                    \
    "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4" \
    "hcgUuTwjAzZr1Z9CAow\"}"
#define KEYS(list) "{\"keys\":[" list "]}"
/* RFC 7517 appendix A.1 */
#define RFC7517_A1                                                                                 \
    KEYS(                                                                                          \
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\"," \
        "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\",\"use\":\"enc\",\"kid\":\"1\"},"    \
        "{\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86" \
        "zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_R" \
        "N5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CB" \
        "OpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEg" \
        "U8awapJzKnqDKgw\",\"e\":\"AQAB\",\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}")

static struct jwk_set *keys_of(const char *json)
{
    struct jwk_set *set;
    struct error err = {0};
    if (jwk_set_read(str_from(json), &set, &err) != STATUS_OK) {
        fail_msg("%s", err.text);
    }
    return set;
}

static enum status verify(const char *token, const char *keys)
{
    struct jwk_set *set = keys_of(keys);
    struct buf payload;
    buf_init(&payload, JWT_BYTES_MAX);
    enum status s = jws_verify(str_from(token), set, NULL, &payload, NULL);
    if (s == STATUS_OK) {
        assert_true(str_eq(buf_view(&payload), STR("{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n "
                                                   "\"http://example.com/is_root\":true}")));
    } else {
        assert_int_equal(payload.len, 0);
    }
    buf_deinit(&payload);
    jwk_set_free(set);
    return s;
}

static void rfc_examples(void **state)
{
    (void)state;
    assert_int_equal(verify(A2, KEYS(RSA_JWK)), STATUS_OK);
    assert_int_equal(verify(A3, KEYS(EC_JWK)), STATUS_OK);
    assert_int_equal(verify(A3, KEYS(RSA_JWK "," EC_JWK)), STATUS_OK);
    assert_int_equal(verify(A2, KEYS(EC_JWK)), STATUS_NOT_FOUND);
    /* a shared secret, with or without the secret among the keys */
    assert_int_equal(verify(A1, KEYS(RSA_JWK "," OCT_JWK)), STATUS_INVALID);
    /* RFC 7519 section 6.1 */
    assert_int_equal(verify("eyJhbGciOiJub25lIn0." PAYLOAD ".", KEYS(RSA_JWK)), STATUS_INVALID);
}

static void changed(void **state)
{
    (void)state;
    char token[sizeof A3];
    int believed = 0;
    for (size_t i = 0; i + 1 < sizeof A3; i++) {
        memcpy(token, A3, sizeof A3);
        token[i] = token[i] == 'A' ? 'B' : 'A';
        believed += verify(token, KEYS(EC_JWK)) == STATUS_OK;
    }
    assert_int_equal(believed, 0);
    static const char *const malformed[] = {"",
                                            ".",
                                            "..",
                                            "...",
                                            "a.b.c",
                                            A3 ".",
                                            A3 "=",
                                            A3 "A",
                                            "eyJhbGciOiJFUzI1NiJ9." PAYLOAD ".",
                                            "eyJhbGciOiJFUzI1NiJ9." PAYLOAD,
                                            " " A3};
    for (size_t i = 0; i < COUNT_OF(malformed); i++) {
        assert_int_not_equal(verify(malformed[i], KEYS(EC_JWK)), STATUS_OK);
    }
}

static void key_sets(void **state)
{
    (void)state;
    struct jwk_set *set = keys_of(RFC7517_A1);
    assert_int_equal(jwk_set_size(set), 1); /* the other is for encryption */
    jwk_set_free(set);
    static const char *const none[] = {
        "",
        "[]",
        "{}",
        "{\"keys\":[]}",
        "{\"keys\":{}}",
        KEYS(OCT_JWK),
        KEYS("1,null,\"x\",[]"),
        /* not on the curve; too short; a modulus of 24 bits; exponent 1; padding */
        KEYS("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_Y "\",\"y\":\"" EC_X "\"}"),
        KEYS("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQAB\",\"y\":\"AQAB\"}"),
        KEYS("{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}"),
        KEYS("{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}"),
        KEYS("{\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"AQ\"}"),
        KEYS("{\"kty\":\"RSA\",\"n\":\"" A2_N "==\",\"e\":\"AQAB\"}"),
        KEYS("{\"kty\":\"RSA\",\"n\":\"" A2_N "\"}"),
        KEYS("{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"" A2_N "\",\"e\":\"AQAB\"}"),
        KEYS("{\"kty\":\"RSA\",\"key_ops\":[\"encrypt\"],\"n\":\"" A2_N "\",\"e\":\"AQAB\"}"),
    };
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        assert_int_equal(jwk_set_read(str_from(none[i]), &set, NULL), STATUS_INVALID);
        assert_null(set);
    }
    /* a key that is bound to another algorithm */
    assert_int_equal(
        verify(A2, KEYS("{\"kty\":\"RSA\",\"alg\":\"PS256\",\"n\":\"" A2_N "\",\"e\":\"AQAB\"}")),
        STATUS_NOT_FOUND);
    /* no name in the token, and two that may be meant */
    assert_int_equal(verify(A3, KEYS(EC_JWK "," EC_JWK)), STATUS_INVALID);
}

/* ---- tokens of our own ---- */

static EVP_PKEY *key;
static char set_json[1024];

static int make_key(void **state)
{
    (void)state;
    BIGNUM *n = NULL;
    uint8_t bytes[256];
    char text[400];
    key = EVP_RSA_gen(2048);
    assert_int_equal(EVP_PKEY_get_bn_param(key, "n", &n), 1);
    assert_int_equal(BN_bn2binpad(n, bytes, sizeof bytes), (int)sizeof bytes);
    base64url_encode(bytes, sizeof bytes, text, sizeof text);
    BN_free(n);
    (void)snprintf(set_json, sizeof set_json,
                   KEYS("{\"kty\":\"RSA\",\"kid\":\"k1\",\"n\":\"%s\",\"e\":\"AQAB\"}"), text);
    return 0;
}

static int free_key(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return 0;
}

static void put(struct buf *b, const void *p, size_t len)
{
    char text[4096];
    base64url_encode(p, len, text, sizeof text);
    buf_z(b, text);
}

/* padding: RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, or 0 for an HMAC with the set of keys as
 * secret */
static void sign(const char *header, const char *claims, int padding, int salt, struct buf *out)
{
    uint8_t sig[512];
    size_t len = sizeof sig;
    buf_init(out, JWT_BYTES_MAX);
    put(out, header, strlen(header));
    buf_char(out, '.');
    put(out, claims, strlen(claims));
    if (padding == 0) {
        unsigned n;
        assert_non_null(HMAC(EVP_sha256(), set_json, (int)strlen(set_json), (uint8_t *)out->ptr,
                             out->len, sig, &n));
        len = n;
    } else {
        EVP_PKEY_CTX *pctx;
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, key), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, padding), 1);
        if (padding == RSA_PKCS1_PSS_PADDING) {
            assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salt), 1);
        }
        assert_int_equal(EVP_DigestSign(ctx, sig, &len, (uint8_t *)out->ptr, out->len), 1);
        EVP_MD_CTX_free(ctx);
    }
    buf_char(out, '.');
    put(out, sig, len);
}

#define RS "{\"alg\":\"RS256\",\"kid\":\"k1\"}"
#define NOW 1700000000
static const struct jwt_expect expect = {"https://id.example", "carrel", "n0nce", NOW, 60, 600};

static enum status open_token(const char *header, const char *claims, int padding, int salt,
                              const char *typ, const struct jwt_expect *want)
{
    struct jwk_set *set = keys_of(set_json);
    struct json *doc;
    struct buf token;
    sign(header, claims, padding, salt, &token);
    enum status s = jwt_open(buf_view(&token), set, typ, want, &doc, NULL);
    assert_true((s == STATUS_OK) == (doc != NULL));
    jsonr_free(doc);
    buf_deinit(&token);
    jwk_set_free(set);
    return s;
}

#define ISS "\"iss\":\"https://id.example\""
#define SUB ",\"sub\":\"u1\""
#define AUD ",\"aud\":\"carrel\""
#define TIMES ",\"iat\":1700000000,\"exp\":1700000300"
#define NONCE ",\"nonce\":\"n0nce\""
#define GOOD "{" ISS SUB AUD TIMES NONCE "}"

static void headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int padding, salt;
        const char *typ;
        enum status s;
    } cases[] = {
        {RS, RSA_PKCS1_PADDING, 0, NULL, STATUS_OK},
        {"{\"alg\":\"RS256\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_OK},
        {"{\"alg\":\"PS256\",\"kid\":\"k1\"}", RSA_PKCS1_PSS_PADDING, 32, NULL, STATUS_OK},
        /* RFC 7518 section 3.5: the salt is as long as the hash */
        {"{\"alg\":\"PS256\",\"kid\":\"k1\"}", RSA_PKCS1_PSS_PADDING, 20, NULL, STATUS_FORBIDDEN},
        {"{\"alg\":\"PS256\",\"kid\":\"k1\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_FORBIDDEN},
        {RS, RSA_PKCS1_PSS_PADDING, 32, NULL, STATUS_FORBIDDEN},
        {"{\"alg\":\"RS256\",\"kid\":\"k2\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_NOT_FOUND},
        {"{\"alg\":\"RS256\",\"kid\":\"\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_NOT_FOUND},
        /* the public key taken for a secret */
        {"{\"alg\":\"HS256\",\"kid\":\"k1\"}", 0, 0, NULL, STATUS_INVALID},
        {"{\"alg\":\"none\",\"kid\":\"k1\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"alg\":\"rs256\",\"kid\":\"k1\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"alg\":\"RS512\",\"kid\":\"k1\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"kid\":\"k1\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"alg\":[\"RS256\"]}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"alg\":\"none\",\"alg\":\"RS256\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"alg\":\"RS256\",\"crit\":[\"exp\"]}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"alg\":\"RS256\",\"typ\":\"JWT\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_OK},
        {"{\"alg\":\"RS256\",\"typ\":\"application/jwt\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_OK},
        {"{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"alg\":\"RS256\",\"typ\":\"logout+jwt\"}", RSA_PKCS1_PADDING, 0, NULL, STATUS_INVALID},
        {"{\"alg\":\"RS256\",\"typ\":\"logout+jwt\"}", RSA_PKCS1_PADDING, 0, "logout+jwt",
         STATUS_OK},
        /* keys that the token brings along are nobody's */
        {"{\"alg\":\"ES256\",\"jwk\":" EC_JWK "}", RSA_PKCS1_PADDING, 0, NULL, STATUS_NOT_FOUND},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum status s = open_token(cases[i].header, GOOD, cases[i].padding, cases[i].salt,
                                   cases[i].typ, &expect);
        if (s != cases[i].s) {
            fail_msg("%s: %s", cases[i].header, status_name(s));
        }
    }
}

static void claims(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {GOOD, true},
        {"{" ISS SUB ",\"aud\":[\"carrel\"]" TIMES NONCE "}", true},
        {"{" ISS SUB ",\"aud\":[\"carrel\",\"b\"],\"azp\":\"carrel\"" TIMES NONCE "}", true},
        {"{" ISS SUB ",\"aud\":[\"carrel\",\"b\"]" TIMES NONCE "}", false},
        {"{" ISS SUB ",\"aud\":[\"b\"]" TIMES NONCE "}", false},
        {"{" ISS SUB ",\"aud\":[]" TIMES NONCE "}", false},
        {"{" ISS SUB ",\"aud\":\"carrel2\"" TIMES NONCE "}", false},
        {"{" ISS SUB ",\"aud\":{\"carrel\":1}" TIMES NONCE "}", false},
        {"{" ISS SUB TIMES NONCE "}", false},
        {"{" ISS SUB AUD ",\"azp\":\"b\"" TIMES NONCE "}", false},
        {"{" ISS SUB AUD ",\"azp\":1" TIMES NONCE "}", false},
        {"{\"iss\":\"https://id.example/\"" SUB AUD TIMES NONCE "}", false},
        {"{\"iss\":[\"https://id.example\"]" SUB AUD TIMES NONCE "}", false},
        {"{" ISS AUD TIMES NONCE "}", false},
        {"{" ISS ",\"sub\":\"\"" AUD TIMES NONCE "}", false},
        {"{" ISS ",\"sub\":1" AUD TIMES NONCE "}", false},
        {"{" ISS ",\"sub\":\"a\\nb\"" AUD TIMES NONCE "}", false},
        {"{" ISS SUB AUD TIMES "}", false},
        {"{" ISS SUB AUD TIMES ",\"nonce\":\"other\"}", false},
        {"{" ISS SUB AUD TIMES ",\"nonce\":\"n0nce2\"}", false},
        /* 60 seconds of slack */
        {"{" ISS SUB AUD NONCE ",\"iat\":1699999700,\"exp\":1699999941}", true},
        {"{" ISS SUB AUD NONCE ",\"iat\":1699999700,\"exp\":1699999940}", false},
        {"{" ISS SUB AUD NONCE ",\"iat\":1699999700}", false},
        {"{" ISS SUB AUD NONCE ",\"exp\":1700000300}", false},
        {"{" ISS SUB AUD NONCE ",\"iat\":1700000060,\"exp\":1700000300}", true},
        {"{" ISS SUB AUD NONCE ",\"iat\":1700000061,\"exp\":1700000300}", false},
        {"{" ISS SUB AUD NONCE ",\"iat\":1699999340,\"exp\":1700000300}", true},
        {"{" ISS SUB AUD NONCE ",\"iat\":1699999339,\"exp\":1700000300}", false},
        {"{" ISS SUB AUD NONCE TIMES ",\"nbf\":1700000060}", true},
        {"{" ISS SUB AUD NONCE TIMES ",\"nbf\":1700000061}", false},
        {"{" ISS SUB AUD NONCE TIMES ",\"nbf\":\"1\"}", false},
        {"{" ISS SUB AUD NONCE ",\"iat\":1700000000,\"exp\":\"1700000300\"}", false},
        {"{" ISS SUB AUD NONCE ",\"iat\":1700000000,\"exp\":1e300}", false},
        {"{" ISS SUB AUD NONCE ",\"iat\":1700000000,\"exp\":-1}", false},
        {"[]", false},
        {"null", false},
        {"", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if ((open_token(RS, cases[i].text, RSA_PKCS1_PADDING, 0, NULL, &expect) == STATUS_OK) !=
            cases[i].ok) {
            fail_msg("%s", cases[i].text);
        }
    }
    /* a logout token has no nonce, and may not */
    struct jwt_expect logout = expect;
    logout.nonce = NULL;
    assert_int_equal(open_token(RS, GOOD, RSA_PKCS1_PADDING, 0, NULL, &logout), STATUS_FORBIDDEN);
    assert_int_equal(open_token(RS, "{" ISS SUB AUD TIMES "}", RSA_PKCS1_PADDING, 0, NULL, &logout),
                     STATUS_OK);
}

static void letters(void **state)
{
    (void)state;
    uint8_t out[8];
    size_t len;
    /* RFC 7515 appendix C */
    assert_true(base64url_decode(STR("A-z_4ME"), out, sizeof out, &len));
    assert_int_equal(len, 5);
    assert_memory_equal(out, ((uint8_t[]){3, 236, 255, 224, 193}), 5);
    static const char *const bad[] = {
        "A", "AB", "A-z_4MF", "A-z_4ME=", "A+z/4ME", "A-z_ 4ME", "AAAAAAAAAAAA"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(base64url_decode(str_from(bad[i]), out, sizeof out, &len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rfc_examples), cmocka_unit_test(changed),
                                       cmocka_unit_test(key_sets),     cmocka_unit_test(headers),
                                       cmocka_unit_test(claims),       cmocka_unit_test(letters)};
    return cmocka_run_group_tests(tests, make_key, free_key);
}
