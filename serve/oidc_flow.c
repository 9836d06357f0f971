#include "serve/oidc_flow.h"

#include <sodium.h>
#include <stdio.h>
#include <strings.h>

#include "base/hash.h"
#include "serve/http/url.h"
#include "serve/jwt.h"
#include "serve/outbound.h"

#define RANDOM_BYTES 32
#define CODE_MAX 2048
#define METADATA_MAX ((size_t)256 * 1024)

/* ---- the flow ---- */

static void random_text(char out[OIDC_RANDOM_CAP])
{
    uint8_t bytes[RANDOM_BYTES];
    random_bytes(bytes, sizeof bytes);
    base64url_encode(bytes, sizeof bytes, out, OIDC_RANDOM_CAP);
    sodium_memzero(bytes, sizeof bytes);
}

/* Never "//host" or "/\host", which browsers take for another server. */
static bool path_of_ours(struct str path)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789/#?&=._~%-";
    if (path.len == 0 || path.len >= OIDC_RETURN_CAP || path.ptr[0] != '/' ||
        (path.len > 1 && path.ptr[1] == '/')) {
        return false;
    }
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '\0' || strchr(letters, path.ptr[i]) == NULL) {
            return false;
        }
    }
    return true;
}

void oidc_flow_new(struct str return_to, int64_t now_wall_ms, struct oidc_flow *out)
{
    memset(out, 0, sizeof *out);
    random_text(out->state);
    random_text(out->nonce);
    random_text(out->verifier);
    struct str path = path_of_ours(return_to) ? return_to : STR("/");
    memcpy(out->return_to, path.ptr, path.len);
    out->expires_wall_ms = now_wall_ms + OIDC_FLOW_MS;
}

void oidc_flow_seal(const struct oidc_flow *f, const uint8_t key[OIDC_SEAL_KEY_BYTES],
                    char out[OIDC_COOKIE_CAP])
{
    uint8_t box[crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + sizeof *f];
    _Static_assert(4 * ((sizeof box + 2) / 3) + 1 <= OIDC_COOKIE_CAP, "raise OIDC_COOKIE_CAP");
    random_bytes(box, crypto_secretbox_NONCEBYTES);
    (void)crypto_secretbox_easy(box + crypto_secretbox_NONCEBYTES, (const uint8_t *)f, sizeof *f,
                                box, key);
    base64url_encode(box, sizeof box, out, OIDC_COOKIE_CAP);
}

bool oidc_flow_open(struct str sealed, const uint8_t key[OIDC_SEAL_KEY_BYTES], int64_t now_wall_ms,
                    struct oidc_flow *out)
{
    uint8_t box[crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + sizeof *out];
    size_t len;
    return sealed.ptr != NULL && base64url_decode(sealed, box, sizeof box, &len) &&
           len == sizeof box &&
           crypto_secretbox_open_easy((uint8_t *)out, box + crypto_secretbox_NONCEBYTES,
                                      sizeof box - crypto_secretbox_NONCEBYTES, box, key) == 0 &&
           now_wall_ms < out->expires_wall_ms;
}

/* ---- what is sent ---- */

void oidc_encode(struct buf *out, struct str s)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~";
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '\0' && strchr(unreserved, s.ptr[i]) != NULL) {
            buf_char(out, s.ptr[i]);
        } else {
            buf_printf(out, "%%%02X", (unsigned char)s.ptr[i]);
        }
    }
}

static void field(struct buf *out, const char *name, const char *value)
{
    if (out->len > 0 && out->ptr[out->len - 1] != '?' && out->ptr[out->len - 1] != '&') {
        buf_char(out, '&');
    }
    buf_z(out, name);
    buf_char(out, '=');
    oidc_encode(out, str_from(value));
}

void oidc_authorization_url(const struct oidc_metadata *m, const struct settings *s,
                            const struct oidc_flow *f, struct buf *out)
{
    uint8_t digest[SHA256_BYTES];
    char challenge[OIDC_RANDOM_CAP];
    sha256_of(f->verifier, strlen(f->verifier), digest); /* RFC 7636 section 4.2 */
    base64url_encode(digest, sizeof digest, challenge, sizeof challenge);
    buf_z(out, m->authorization);
    if (strchr(m->authorization, '?') == NULL) {
        buf_char(out, '?');
    }
    field(out, "response_type", "code");
    field(out, "client_id", s->oidc.client_id);
    field(out, "redirect_uri", s->oidc.redirect_uri);
    field(out, "scope", s->oidc.scopes);
    field(out, "state", f->state);
    field(out, "nonce", f->nonce);
    field(out, "code_challenge", challenge);
    field(out, "code_challenge_method", "S256");
}

/* RFC 6749 section 2.3.1: both encoded as in a form, then as Basic does. */
static void basic(struct buf *out, const char *id, const char *secret)
{
    char text[4096];
    struct buf pair;
    buf_init(&pair, 3000);
    oidc_encode(&pair, str_from(id));
    buf_char(&pair, ':');
    oidc_encode(&pair, str_from(secret));
    if (buf_status(&pair) == STATUS_OK) {
        (void)sodium_bin2base64(text, sizeof text, (const uint8_t *)pair.ptr, pair.len,
                                sodium_base64_VARIANT_ORIGINAL);
        buf_printf(out, "Authorization: Basic %s", text);
        sodium_memzero(text, sizeof text);
    }
    if (pair.ptr != NULL) {
        sodium_memzero(pair.ptr, pair.len);
    }
    buf_deinit(&pair);
}

void oidc_token_form(const struct oidc_metadata *m, const struct settings *s, const char *secret,
                     struct str code, const struct oidc_flow *f, struct buf *form,
                     struct buf *authorization)
{
    field(form, "grant_type", "authorization_code");
    buf_z(form, "&code=");
    oidc_encode(form, code);
    field(form, "redirect_uri", s->oidc.redirect_uri);
    field(form, "code_verifier", f->verifier);
    if (secret[0] == '\0' || m->post_secret) {
        field(form, "client_id", s->oidc.client_id);
        if (secret[0] != '\0') {
            field(form, "client_secret", secret);
        }
    } else {
        basic(authorization, s->oidc.client_id, secret);
    }
}

/* ---- what comes back ---- */

static bool same(struct str a, const char *b)
{
    size_t len = strlen(b);
    return a.ptr != NULL && a.len == len && sodium_memcmp(a.ptr, b, len) == 0;
}

enum oidc_came_back oidc_read_callback(struct str query, const struct oidc_metadata *m,
                                       const char *issuer, const struct oidc_flow *f,
                                       struct arena *a, struct str *code)
{
    struct str state;
    struct str iss;
    struct str error;
    if (url_query(query, "state", a, &state, NULL) != STATUS_OK ||
        url_query(query, "iss", a, &iss, NULL) != STATUS_OK ||
        url_query(query, "error", a, &error, NULL) != STATUS_OK ||
        url_query(query, "code", a, code, NULL) != STATUS_OK || !same(state, f->state)) {
        return OIDC_STRANGE;
    }
    /* another provider's code must never go to this one's token endpoint, nor the other way */
    if (iss.ptr != NULL ? !same(iss, issuer) : m->says_issuer) {
        return OIDC_STRANGE;
    }
    if (error.ptr != NULL) {
        return OIDC_REFUSED;
    }
    return code->ptr != NULL && code->len > 0 && code->len <= CODE_MAX ? OIDC_CODE : OIDC_STRANGE;
}

/* ---- what the provider says of itself ---- */

bool oidc_origin(const char *url, char *out, size_t cap)
{
    const char *host = strstr(url, "://");
    if (host == NULL) {
        return false;
    }
    size_t len = (size_t)(host + 3 - url);
    len += strcspn(url + len, "/?#");
    if (len >= cap) {
        return false;
    }
    memcpy(out, url, len);
    out[len] = '\0';
    return true;
}

/* Where the browser is sent. Whoever may use http for the issuer (this machine) may here too. */
static bool for_browsers(const char *url, bool plain)
{
    bool https = strncasecmp(url, "https://", 8) == 0;
    if (!https && !(plain && strncasecmp(url, "http://", 7) == 0)) {
        return false;
    }
    for (const char *p = url; *p != '\0'; p++) {
        if (*p <= 0x20 || *p == 0x7f || strchr("\"'<>\\^`{|}#", *p) != NULL) {
            return false;
        }
    }
    return true;
}

static enum status address(const struct json *doc, const char *name, bool needed, char *out,
                           struct error *err)
{
    struct str text = jsonr_str(jsonr_get(doc, name));
    out[0] = '\0';
    if (text.ptr == NULL || text.len == 0 || text.len >= OIDC_URL_MAX) {
        return !needed && text.ptr == NULL
                   ? STATUS_OK
                   : error_set(err, STATUS_INVALID, "%s is not an address", name);
    }
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return STATUS_OK;
}

static enum status to_call(const char *name, const char *url, const struct settings *s,
                           struct error *err)
{
    char origin[OIDC_URL_MAX];
    const char *const items[] = {origin};
    struct string_list issuer = {items, 1};
    if (!oidc_origin(s->oidc.issuer, origin, sizeof origin)) {
        return error_set(err, STATUS_INVALID, "oidc.issuer is not an address");
    }
    enum status st = outbound_url_check(url, &issuer, &s->oidc.hosts, err);
    if (st == STATUS_FORBIDDEN && oidc_origin(url, origin, sizeof origin)) {
        return error_set(err, STATUS_INVALID,
                         "%s lies on another server than the issuer: add %.150s to oidc.hosts",
                         name, origin);
    }
    return st == STATUS_OK ? st : error_prefix(err, "%s", name);
}

static bool has(const struct json *list, const char *text)
{
    for (size_t i = 0; i < jsonr_len(list); i++) {
        if (str_eq(jsonr_str(jsonr_at(list, i)), str_from(text))) {
            return true;
        }
    }
    return false;
}

static enum status read_document(const struct json *doc, const struct settings *s,
                                 struct oidc_metadata *m, struct error *err)
{
    bool plain = strncasecmp(s->oidc.issuer, "http://", 7) == 0;
    const struct json *methods = jsonr_get(doc, "code_challenge_methods_supported");
    const struct json *auth = jsonr_get(doc, "token_endpoint_auth_methods_supported");
    if (!same(jsonr_str(jsonr_get(doc, "issuer")), s->oidc.issuer)) {
        return error_set(err, STATUS_INVALID,
                         "it names another issuer than oidc.issuer, which must be the same letter "
                         "by letter");
    }
    if (methods != NULL && !has(methods, "S256")) {
        return error_set(err, STATUS_INVALID, "the provider does not do PKCE with S256");
    }
    enum status st = address(doc, "authorization_endpoint", true, m->authorization, err);
    st = st != STATUS_OK ? st : address(doc, "token_endpoint", true, m->token, err);
    st = st != STATUS_OK ? st : address(doc, "jwks_uri", true, m->jwks, err);
    st = st != STATUS_OK ? st : address(doc, "userinfo_endpoint", false, m->userinfo, err);
    st = st != STATUS_OK ? st : address(doc, "end_session_endpoint", false, m->end_session, err);
    if (st == STATUS_OK && (!for_browsers(m->authorization, plain) ||
                            (m->end_session[0] != '\0' && !for_browsers(m->end_session, plain)))) {
        st = error_set(err, STATUS_INVALID,
                       "authorization_endpoint and end_session_endpoint must "
                       "be https addresses");
    }
    st = st != STATUS_OK ? st : to_call("token_endpoint", m->token, s, err);
    st = st != STATUS_OK ? st : to_call("jwks_uri", m->jwks, s, err);
    if (st == STATUS_OK && m->userinfo[0] != '\0') {
        st = to_call("userinfo_endpoint", m->userinfo, s, err);
    }
    if (st != STATUS_OK) {
        return st;
    }
    m->post_secret =
        auth != NULL && !has(auth, "client_secret_basic") && has(auth, "client_secret_post");
    return jsonr_bool(doc, "authorization_response_iss_parameter_supported", false, &m->says_issuer,
                      err);
}

enum status oidc_read_metadata(struct str text, const struct settings *s, struct oidc_metadata *out,
                               struct error *err)
{
    struct json *doc = NULL;
    memset(out, 0, sizeof *out);
    if (text.len > METADATA_MAX || jsonr_read(text, &doc, NULL) != STATUS_OK) {
        return error_set(err, STATUS_INVALID, "the provider's discovery document is not JSON");
    }
    enum status st = read_document(doc, s, out, err);
    jsonr_free(doc);
    return st == STATUS_OK ? st : error_prefix(err, "the provider's discovery document");
}
