#include "serve/oidc.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "serve/idp.h"

#define WELL_KNOWN "/.well-known/openid-configuration"
#define REPLY_MAX ((size_t)256 * 1024)

static const char *const names[OIDC_THINGS] = {"the sign-in provider",
                                               "the sign-in provider's keys"};

enum status oidc_new(const struct settings *settings, struct outbound *outbound, int port,
                     struct oidc **out, struct error *err)
{
    *out = NULL;
    if (settings->oidc.issuer[0] == '\0') {
        return STATUS_OK;
    }
    struct oidc *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    o->settings = settings;
    o->outbound = outbound;
    o->refetches = OIDC_REFETCHES;
    random_bytes(o->seal, sizeof o->seal);
    (void)snprintf(o->cookie, sizeof o->cookie, "carrel_oidc_%d", port);
    for (size_t i = 0; i < OIDC_THINGS; i++) {
        o->fetch[i].o = o;
        list_init(&o->fetch[i].waiting);
    }
    enum status s = idp_secret(settings->oidc.client_secret_file, o->secret, sizeof o->secret, err);
    if (s != STATUS_OK) {
        oidc_free(o);
        return error_prefix(err, "oidc.client_secret_file");
    }
    *out = o;
    return STATUS_OK;
}

void oidc_free(struct oidc *o)
{
    for (size_t i = 0; o != NULL && i < OIDC_THINGS; i++) {
        if (o->fetch[i].call != NULL) {
            outbound_cancel(o->fetch[i].call);
        }
    }
    if (o != NULL) {
        jwk_set_free(o->keys);
        sodium_memzero(o->secret, sizeof o->secret);
        sodium_memzero(o->seal, sizeof o->seal);
    }
    free(o);
}

static bool fresh(const struct oidc_fetch *f, int64_t now_ms)
{
    return f->taken_ms != 0 && now_ms - f->taken_ms < OIDC_KEEP_MS;
}

const struct oidc_metadata *oidc_metadata(const struct oidc *o, int64_t now_ms)
{
    return fresh(&o->fetch[OIDC_METADATA], now_ms) ? &o->metadata : NULL;
}

const struct jwk_set *oidc_keys(const struct oidc *o, int64_t now_ms)
{
    return fresh(&o->fetch[OIDC_KEYS], now_ms) ? o->keys : NULL;
}

static enum status take_metadata(struct oidc *o, struct str body, struct error *err)
{
    struct oidc_metadata m;
    enum status s = oidc_read_metadata(body, o->settings, &m, err);
    if (s == STATUS_OK) {
        o->metadata = m;
    }
    return s;
}

static enum status take_keys(struct oidc *o, struct str body, struct error *err)
{
    struct jwk_set *keys;
    enum status s = jwk_set_read(body, &keys, err);
    if (s == STATUS_OK) {
        jwk_set_free(o->keys);
        o->keys = keys;
    }
    return s;
}

static void on_reply(void *data, const struct outbound_reply *reply)
{
    struct oidc_fetch *f = data;
    struct oidc *o = f->o;
    size_t what = (size_t)(f - o->fetch);
    struct error err = reply->error;
    f->call = NULL;
    if (err.code == STATUS_OK && (reply->status != 200 || reply->cut)) {
        (void)error_set(&err, STATUS_UNAVAILABLE, "%s: it answered %ld%s", names[what],
                        reply->status, reply->cut ? ", too long" : "");
    }
    if (err.code == STATUS_OK) {
        (void)(what == OIDC_METADATA ? take_metadata(o, reply->body, &err)
                                     : take_keys(o, reply->body, &err));
    }
    int64_t now = clock_monotonic_ms();
    f->failed_ms = err.code == STATUS_OK ? 0 : now;
    f->taken_ms = err.code == STATUS_OK ? now : f->taken_ms;
    f->error = err;
    if (err.code != STATUS_OK) {
        LOG_WARN("asking the sign-in provider failed", LOG_STR("what", names[what]),
                 LOG_STR("err", err.text), LOG_END);
    }
    struct list waiting;
    list_init(&waiting);
    while (!list_empty(&f->waiting)) { /* who comes meanwhile waits for the next */
        struct list *first = f->waiting.next;
        list_remove(first);
        list_push(&waiting, first);
    }
    while (!list_empty(&waiting)) {
        struct oidc_wait *w = list_entry(waiting.next, struct oidc_wait, link);
        list_remove(&w->link);
        w->then(w->data, err.code == STATUS_OK ? NULL : &err);
    }
}

static enum status start(struct oidc *o, enum oidc_thing what, struct error *err)
{
    char url[OIDC_URL_MAX + sizeof WELL_KNOWN];
    const char *issuer = o->settings->oidc.issuer;
    size_t len = strlen(issuer);
    const char *const headers[] = {"Accept: application/json"};
    struct oidc_fetch *f = &o->fetch[what];
    if (len >= OIDC_URL_MAX) {
        return error_set(err, STATUS_INVALID, "oidc.issuer is too long");
    }
    if (what == OIDC_KEYS) {
        (void)snprintf(url, sizeof url, "%s", o->metadata.jwks);
    } else { /* OpenID Connect Discovery 1.0 section 4: without the slash at its end */
        (void)snprintf(url, sizeof url, "%.*s" WELL_KNOWN,
                       (int)(len - (len > 0 && issuer[len - 1] == '/' ? 1 : 0)), issuer);
    }
    const struct outbound_request r = {
        .what = names[what],
        .method = "GET",
        .url = url,
        .headers = headers,
        .n_headers = 1,
        .ca_file = o->settings->oidc.ca_file,
        .max_reply_bytes = REPLY_MAX,
        .timeout_ms = o->settings->oidc.timeout_ms,
        .done = on_reply,
        .data = f,
    };
    return outbound_start(o->outbound, &r, &f->call, err);
}

static bool may_refetch(struct oidc *o, int64_t now_ms)
{
    double more = (double)(now_ms - o->refetch_ms) / (double)OIDC_REFETCH_MS;
    o->refetches = o->refetches + more > OIDC_REFETCHES ? OIDC_REFETCHES : o->refetches + more;
    o->refetch_ms = now_ms;
    if (o->refetches < 1) {
        return false;
    }
    o->refetches -= 1;
    return true;
}

enum status oidc_want(struct oidc *o, enum oidc_thing what, bool again, struct oidc_wait *w,
                      struct error *err)
{
    struct oidc_fetch *f = &o->fetch[what];
    int64_t now = clock_monotonic_ms();
    enum status s = STATUS_OK;
    if (f->call == NULL) {
        if (f->failed_ms != 0 && now - f->failed_ms < OIDC_PAUSE_MS) {
            return error_set(err, f->error.code, "%s", f->error.text);
        }
        if (again && !may_refetch(o, now)) {
            return error_set(err, STATUS_BUSY, "the provider's keys were fetched too often lately");
        }
        s = start(o, what, err);
    }
    if (s == STATUS_OK) {
        list_push(&f->waiting, &w->link);
    }
    return s;
}

void oidc_leave(struct oidc_wait *w)
{
    if (w->link.next != NULL) {
        list_remove(&w->link);
    }
}
