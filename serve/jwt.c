/* Signatures and claims. The order of a check: form, algorithm, key, signature; claims are not
 * looked at before. */
#include "serve/jwt.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdlib.h>
#include <strings.h>

#include "serve/jwk_internal.h"

#define HEADER_BYTES_MAX 2048
#define SIGNATURE_BYTES_MAX (JWT_RSA_BITS_MAX / 8)
#define ES256_BYTES 64
#define DER_BYTES_MAX 80
#define NUMERIC_DATE_MAX 1e11 /* the year 5138 */
#define AUDIENCES_MAX 64

bool base64url_decode(struct str s, uint8_t *out, size_t cap, size_t *len)
{
    return sodium_base642bin(out, cap, s.ptr, s.len, NULL, len, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
}

void base64url_encode(const uint8_t *p, size_t len, char *out, size_t cap)
{
    (void)sodium_bin2base64(out, cap, p, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* ---- the signature ---- */

static const struct algorithm {
    const char *name;
    bool rsa, pss;
} algorithms[] = {{"RS256", true, false}, {"PS256", true, true}, {"ES256", false, false}};

struct parts {
    struct str header, payload, signature, input; /* as they stand in the token */
};

static bool split(struct str t, struct parts *out)
{
    const char *a = t.len == 0 ? NULL : memchr(t.ptr, '.', t.len);
    if (a == NULL) {
        return false;
    }
    size_t rest = t.len - (size_t)(a + 1 - t.ptr);
    const char *b = memchr(a + 1, '.', rest);
    if (b == NULL) {
        return false;
    }
    out->header = (struct str){t.ptr, (size_t)(a - t.ptr)};
    out->payload = (struct str){a + 1, (size_t)(b - a - 1)};
    out->signature = (struct str){b + 1, t.len - (size_t)(b + 1 - t.ptr)};
    out->input = (struct str){t.ptr, (size_t)(b - t.ptr)};
    return memchr(b + 1, '.', out->signature.len) == NULL;
}

static const struct algorithm *algorithm_of(struct str name)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        if (str_eq(name, str_from(algorithms[i].name))) {
            return &algorithms[i];
        }
    }
    return NULL;
}

static bool typ_ok(struct str typ, const char *wanted)
{
    if (typ.ptr == NULL) {
        return true;
    }
    /* "application/" may stand before it (RFC 7515 section 4.1.9) */
    if (typ.len > 12 && strncasecmp(typ.ptr, "application/", 12) == 0) {
        typ = (struct str){typ.ptr + 12, typ.len - 12};
    }
    return (typ.len == 3 && strncasecmp(typ.ptr, "JWT", 3) == 0) ||
           (wanted != NULL && typ.len == strlen(wanted) &&
            strncasecmp(typ.ptr, wanted, typ.len) == 0);
}

/* r and s side by side (RFC 7518 section 3.4) as OpenSSL wants them. */
static bool to_der(const uint8_t *raw, uint8_t *der, size_t *len)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, ES256_BYTES / 2, NULL);
    BIGNUM *s = BN_bin2bn(raw + ES256_BYTES / 2, ES256_BYTES / 2, NULL);
    bool ok = sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1;
    if (ok) {
        uint8_t *p = der;
        int n = i2d_ECDSA_SIG(sig, NULL);
        ok = n > 0 && n <= DER_BYTES_MAX && i2d_ECDSA_SIG(sig, &p) == n;
        *len = ok ? (size_t)n : 0;
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return ok;
}

static bool signed_by(const struct jwk *k, const struct algorithm *alg, struct str input,
                      const uint8_t *sig, size_t len)
{
    uint8_t der[DER_BYTES_MAX];
    EVP_PKEY_CTX *pctx = NULL;
    if (!alg->rsa) {
        if (len != ES256_BYTES || !to_der(sig, der, &len)) {
            return false;
        }
        sig = der;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, k->key) == 1;
    if (ok && alg->rsa) {
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, alg->pss ? RSA_PKCS1_PSS_PADDING
                                                         : RSA_PKCS1_PADDING) == 1;
        ok = ok &&
             (!alg->pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1);
    }
    ok = ok && EVP_DigestVerify(ctx, sig, len, (const uint8_t *)input.ptr, input.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static bool fits(const struct jwk *k, const struct algorithm *alg)
{
    return k->rsa == alg->rsa && (k->alg[0] == '\0' || strcmp(k->alg, alg->name) == 0);
}

/* A token without a key's name is believed only where there is one key that can be meant. */
static enum status verify_by_set(const struct parts *p, const struct algorithm *alg, struct str kid,
                                 const struct jwk_set *keys, struct error *err)
{
    uint8_t sig[SIGNATURE_BYTES_MAX];
    size_t len;
    size_t candidates = 0;
    bool good = false;
    if (!base64url_decode(p->signature, sig, sizeof sig, &len) || len == 0) {
        return error_set(err, STATUS_INVALID, "the token's signature is not base64url");
    }
    for (size_t i = 0; i < keys->n; i++) {
        const struct jwk *k = &keys->keys[i];
        if (fits(k, alg) && (kid.ptr == NULL || str_eq(kid, (struct str){k->kid, k->kid_len}))) {
            candidates++;
            good = good || signed_by(k, alg, p->input, sig, len);
        }
    }
    if (candidates == 0) {
        return error_set(err, STATUS_NOT_FOUND, "no key of the provider's set is the token's");
    }
    if (kid.ptr == NULL && candidates > 1) {
        return error_set(err, STATUS_INVALID,
                         "the token names no key, and there is more than one that may be meant");
    }
    return good ? STATUS_OK : error_set(err, STATUS_FORBIDDEN, "the token's signature is wrong");
}

static enum status check_header(const struct json *h, const char *typ, const struct algorithm **alg,
                                struct error *err)
{
    *alg = algorithm_of(jsonr_str(jsonr_get(h, "alg")));
    if (*alg == NULL) {
        return error_set(err, STATUS_INVALID, "the token's algorithm is not RS256, PS256 or ES256");
    }
    if (jsonr_get(h, "crit") != NULL || jsonr_get(h, "b64") != NULL) {
        return error_set(err, STATUS_INVALID, "the token asks for an extension (crit)");
    }
    const struct json *kind = jsonr_get(h, "typ");
    if (kind != NULL && (jsonr_kind(kind) != JSON_KIND_STRING || !typ_ok(jsonr_str(kind), typ))) {
        return error_set(err, STATUS_INVALID, "the token is one of another kind (typ)");
    }
    return STATUS_OK;
}

enum status jws_verify(struct str compact, const struct jwk_set *keys, const char *typ,
                       struct buf *payload, struct error *err)
{
    struct parts p;
    uint8_t header[HEADER_BYTES_MAX];
    size_t len = 0;
    struct json *doc = NULL;
    const struct algorithm *alg;
    if (compact.len > JWT_BYTES_MAX || !split(compact, &p) ||
        !base64url_decode(p.header, header, sizeof header, &len) ||
        jsonr_read((struct str){(const char *)header, len}, &doc, NULL) != STATUS_OK) {
        return error_set(err, STATUS_INVALID, "the token is malformed");
    }
    struct str kid = jsonr_str(jsonr_get(doc, "kid"));
    enum status s = check_header(doc, typ, &alg, err);
    s = s != STATUS_OK ? s : verify_by_set(&p, alg, kid, keys, err);
    jsonr_free(doc);
    if (s != STATUS_OK) {
        return s;
    }
    char *room = buf_reserve(payload, p.payload.len);
    if (room == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (!base64url_decode(p.payload, (uint8_t *)room, p.payload.len, &len)) {
        return error_set(err, STATUS_INVALID, "the token is malformed");
    }
    payload->len += len;
    return STATUS_OK;
}

/* ---- the claims ---- */

static bool same(struct str a, const char *b)
{
    size_t len = strlen(b);
    return a.ptr != NULL && a.len == len && sodium_memcmp(a.ptr, b, len) == 0;
}

static bool for_us(const struct json *claims, const char *us)
{
    const struct json *aud = jsonr_get(claims, "aud");
    const struct json *azp = jsonr_get(claims, "azp");
    if (azp != NULL && !same(jsonr_str(azp), us)) {
        return false;
    }
    if (jsonr_kind(aud) != JSON_KIND_ARRAY) {
        return same(jsonr_str(aud), us);
    }
    bool found = false;
    size_t n = jsonr_len(aud);
    for (size_t i = 0; i < n && i < AUDIENCES_MAX; i++) {
        found = found || same(jsonr_str(jsonr_at(aud, i)), us);
    }
    /* for others as well: then it must say that it was given to us */
    return found && n <= AUDIENCES_MAX && (n == 1 || azp != NULL);
}

static bool subject_ok(struct str sub)
{
    bool ok = sub.ptr != NULL && sub.len > 0 && sub.len <= JWT_SUBJECT_MAX;
    for (size_t i = 0; ok && i < sub.len; i++) {
        ok = (unsigned char)sub.ptr[i] >= 0x20 && sub.ptr[i] != 0x7f;
    }
    return ok;
}

static enum status check_times(const struct json *claims, const struct jwt_expect *want,
                               struct error *err)
{
    double exp;
    double iat;
    double nbf;
    bool has_exp;
    bool has_iat;
    bool has_nbf;
    if (jsonr_number(claims, "exp", 0, NUMERIC_DATE_MAX, &has_exp, &exp, NULL) != STATUS_OK ||
        jsonr_number(claims, "iat", 0, NUMERIC_DATE_MAX, &has_iat, &iat, NULL) != STATUS_OK ||
        jsonr_number(claims, "nbf", 0, NUMERIC_DATE_MAX, &has_nbf, &nbf, NULL) != STATUS_OK ||
        !has_iat) {
        return error_set(err, STATUS_FORBIDDEN, "the token's times (exp, iat, nbf) are not times");
    }
    double now = (double)want->now_s;
    double slack = (double)want->slack_s;
    if (!has_exp || exp + slack <= now) {
        return error_set(err, STATUS_FORBIDDEN, "the token has expired (exp)");
    }
    if (iat - slack > now || (has_nbf && nbf - slack > now)) {
        return error_set(err, STATUS_FORBIDDEN,
                         "the token is from the future (iat, nbf): compare the clocks");
    }
    if (iat + (double)want->max_age_s + slack < now) {
        return error_set(err, STATUS_FORBIDDEN, "the token was issued too long ago (iat)");
    }
    return STATUS_OK;
}

enum status jwt_check(const struct json *claims, const struct jwt_expect *want, struct error *err)
{
    const struct json *nonce = jsonr_get(claims, "nonce");
    if (jsonr_kind(claims) != JSON_KIND_OBJECT) {
        return error_set(err, STATUS_FORBIDDEN, "the token holds no claims");
    }
    if (!same(jsonr_str(jsonr_get(claims, "iss")), want->issuer)) {
        return error_set(err, STATUS_FORBIDDEN, "the token is another issuer's (iss)");
    }
    if (!for_us(claims, want->audience)) {
        return error_set(err, STATUS_FORBIDDEN, "the token is meant for another client (aud, azp)");
    }
    if (want->nonce == NULL ? nonce != NULL : !same(jsonr_str(nonce), want->nonce)) {
        return error_set(err, STATUS_FORBIDDEN, "the token is another sign-in's (nonce)");
    }
    if (!subject_ok(jsonr_str(jsonr_get(claims, "sub")))) {
        return error_set(err, STATUS_FORBIDDEN, "the token names nobody (sub)");
    }
    return check_times(claims, want, err);
}

enum status jwt_open(struct str compact, const struct jwk_set *keys, const char *typ,
                     const struct jwt_expect *want, struct json **claims, struct error *err)
{
    struct buf payload;
    struct json *doc = NULL;
    *claims = NULL;
    buf_init(&payload, JWT_BYTES_MAX);
    enum status s = jws_verify(compact, keys, typ, &payload, err);
    if (s == STATUS_OK && jsonr_read(buf_view(&payload), &doc, NULL) != STATUS_OK) {
        s = error_set(err, STATUS_INVALID, "the token's claims are not JSON");
    }
    s = s != STATUS_OK ? s : jwt_check(doc, want, err);
    buf_deinit(&payload);
    if (s != STATUS_OK) {
        jsonr_free(doc);
        return s;
    }
    *claims = doc;
    return s;
}
