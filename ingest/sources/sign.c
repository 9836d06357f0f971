#include "ingest/sources/sign.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"

#define BLOCK 64
#define NO_BODY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* RFC 2104. */
static void hmac(const void *key, size_t key_len, const void *p, size_t len,
                 uint8_t out[SHA256_BYTES])
{
    uint8_t block[BLOCK] = {0};
    uint8_t pad[BLOCK];
    uint8_t inner[SHA256_BYTES] = {0};
    if (key_len > BLOCK) {
        sha256_of(key, key_len, block);
    } else {
        memcpy(block, key, key_len);
    }
    for (size_t i = 0; i < BLOCK; i++) {
        pad[i] = block[i] ^ 0x36;
    }
    memset(out, 0, SHA256_BYTES);
    struct sha256 *h = sha256_new();
    if (h != NULL) {
        sha256_add(h, pad, BLOCK);
        sha256_add(h, p, len);
        sha256_end(h, inner);
    }
    for (size_t i = 0; i < BLOCK; i++) {
        pad[i] = block[i] ^ 0x5c;
    }
    h = h == NULL ? NULL : sha256_new();
    if (h != NULL) {
        sha256_add(h, pad, BLOCK);
        sha256_add(h, inner, sizeof inner);
        sha256_end(h, out);
    }
    explicit_bzero(block, sizeof block);
    explicit_bzero(pad, sizeof pad);
}

static void hmac_z(const uint8_t key[SHA256_BYTES], const char *text, uint8_t out[SHA256_BYTES])
{
    uint8_t result[SHA256_BYTES];
    hmac(key, SHA256_BYTES, text, strlen(text), result);
    memcpy(out, result, SHA256_BYTES);
}

static void signing_key(const struct sign *s, const char *day, uint8_t out[SHA256_BYTES])
{
    struct buf secret;
    buf_init(&secret, 1024);
    buf_z(&secret, "AWS4");
    buf_z(&secret, s->secret_key);
    hmac(buf_view(&secret).ptr, secret.len, day, strlen(day), out);
    hmac_z(out, s->region, out);
    hmac_z(out, s->service, out);
    hmac_z(out, "aws4_request", out);
    if (secret.ptr != NULL) {
        explicit_bzero(secret.ptr, secret.cap);
    }
    buf_deinit(&secret);
}

static void canonical(const struct sign *s, const char *stamp, const char *names, struct buf *out)
{
    buf_printf(out, "%s\n%s\n%s\nhost:%s\nx-amz-content-sha256:" NO_BODY "\nx-amz-date:%s\n",
               s->method, s->path, s->query, s->host, stamp);
    if (s->token[0] != '\0') {
        buf_printf(out, "x-amz-security-token:%s\n", s->token);
    }
    buf_printf(out, "\n%s\n" NO_BODY, names);
}

void sign_lines(const struct sign *s, struct buf *out)
{
    struct buf text;
    struct tm utc = {0};
    time_t now = (time_t)s->now_s;
    char stamp[32] = "";
    char scope[200];
    char hex[SHA256_HEX_CAP];
    uint8_t digest[SHA256_BYTES];
    uint8_t key[SHA256_BYTES];
    const char *names = s->token[0] != '\0'
                            ? "host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
                            : "host;x-amz-content-sha256;x-amz-date";
    (void)gmtime_r(&now, &utc);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
    char day[9];
    memcpy(day, stamp, 8);
    day[8] = '\0';
    (void)snprintf(scope, sizeof scope, "%s/%.80s/%.40s/aws4_request", day, s->region, s->service);
    buf_init(&text, (size_t)64 << 10);
    canonical(s, stamp, names, &text);
    sha256_of(buf_view(&text).ptr, text.len, digest);
    sha256_hex(digest, hex);
    buf_reset(&text);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, scope, hex);
    signing_key(s, day, key);
    hmac(key, sizeof key, buf_view(&text).ptr, text.len, digest);
    sha256_hex(digest, hex);
    explicit_bzero(key, sizeof key);
    buf_printf(out,
               "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s\n"
               "x-amz-date: %s\nx-amz-content-sha256: " NO_BODY "\n",
               s->access_key, scope, names, hex, stamp);
    if (s->token[0] != '\0') {
        buf_printf(out, "x-amz-security-token: %s\n", s->token);
    }
    buf_deinit(&text);
}
