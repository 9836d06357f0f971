/* What a webhook is, apart from when it is sent: its signature as standardwebhooks.com has it
 * (HMAC-SHA-256 of "ID.SECONDS.BODY"), its waits, where it may go, what it says of a document. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/webhooks.h"
#include "serve/webhooks_store.h"

#define WAIT_FIRST_MS 5000

void webhook_sign(const uint8_t secret[WEBHOOK_SECRET_BYTES], const char *id, int64_t now_s,
                  struct str body, char out[WEBHOOK_SIGNATURE_CAP])
{
    crypto_auth_hmacsha256_state h;
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    char head[96];
    int n = snprintf(head, sizeof head, "%.40s.%lld.", id, (long long)now_s);
    (void)crypto_auth_hmacsha256_init(&h, secret, WEBHOOK_SECRET_BYTES);
    (void)crypto_auth_hmacsha256_update(&h, (const uint8_t *)head, (unsigned long long)n);
    (void)crypto_auth_hmacsha256_update(&h, (const uint8_t *)body.ptr, body.len);
    (void)crypto_auth_hmacsha256_final(&h, mac);
    memcpy(out, "v1,", 3);
    (void)sodium_bin2base64(out + 3, WEBHOOK_SIGNATURE_CAP - 3, mac, sizeof mac,
                            sodium_base64_VARIANT_ORIGINAL);
}

void webhook_secret_text(const uint8_t secret[WEBHOOK_SECRET_BYTES], char out[WEBHOOK_SECRET_CAP])
{
    memcpy(out, "whsec_", 6);
    (void)sodium_bin2base64(out + 6, WEBHOOK_SECRET_CAP - 6, secret, WEBHOOK_SECRET_BYTES,
                            sodium_base64_VARIANT_ORIGINAL);
}

int64_t webhook_wait_ms(unsigned attempts, uint32_t random)
{
    int64_t wait = WAIT_FIRST_MS;
    for (unsigned i = 1; i < attempts && wait < WEBHOOK_WAIT_MAX_MS; i++) {
        wait *= 2;
    }
    wait = wait > WEBHOOK_WAIT_MAX_MS ? WEBHOOK_WAIT_MAX_MS : wait;
    int64_t fifth = wait / 5;
    return wait - fifth + (int64_t)(random % (uint64_t)(2 * fifth + 1));
}

enum status webhooks_url_check(const struct settings *s, const char *url, struct error *err)
{
    return outbound_url_check(url, &s->webhooks.allow, &s->webhooks.allow_private, err);
}

const char *webhook_event_data(struct arena *a, const Ig__Event *e)
{
    const Ig__DocumentState *d = e->document;
    struct buf out;
    struct jsonw w;
    buf_init(&out, WEBHOOK_BODY_MAX / 2);
    jsonw_init(&w, &out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "document", d->document);
    jsonw_key(&w, "path");
    jsonw_path(&w, str_of_bytes(d->path));
    jsonw_field_z(&w, "collection", d->collection);
    if (d->title != NULL && d->title[0] != '\0') {
        jsonw_field_z(&w, "title", d->title);
    }
    if (d->format != NULL && d->format[0] != '\0') {
        jsonw_field_z(&w, "format", d->format);
    }
    jsonw_field_int(&w, "size", (int64_t)d->size);
    jsonw_field_int(&w, "pages", d->has_pages ? d->pages : 0);
    jsonw_field_int(&w, "chunks", d->chunks);
    if (d->error != NULL) {
        jsonw_field_z(&w, "error", d->error);
    }
    if (d->parent != NULL) {
        jsonw_field_z(&w, "parent", d->parent);
    }
    jsonw_field_int(&w, "at", e->at_wall_ms / 1000);
    jsonw_close(&w, '}');
    const char *text = buf_status(&out) == STATUS_OK ? arena_strndup(a, out.ptr, out.len) : NULL;
    buf_deinit(&out);
    return text;
}
