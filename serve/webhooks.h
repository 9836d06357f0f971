/* Telling other systems what happened. Administrators name endpoints (a URL of one of the origins
 * in settings, and the events it is for); each event becomes a delivery for each of them, kept in
 * the tenant's serve.db until it was taken: signed, tried again ever later, given up in the end. At
 * least once: an id tells the receiver what he has seen. docs/decisions/webhooks.md. Loop thread
 * only, but where it says. */
#ifndef CARREL_SERVE_WEBHOOKS_H
#define CARREL_SERVE_WEBHOOKS_H

#include "base/service.h"
#include "serve/answers.h"
#include "serve/outbound.h"

struct webhooks;

/* Asked before each delivery: may who made the endpoint (a key's or a user's id) still have others
 * told, and, everything, as an administrator? Else nothing is sent and the endpoint is off. */
typedef bool (*webhooks_may_fn)(void *data, const char *tenant, const char *by, bool everything);
/* Borrows all three as long as it lives; looks through the tenants there are by itself. */
enum status webhooks_open(struct service *svc, struct answers *answers, struct outbound *outbound,
                          webhooks_may_fn may, void *data, struct webhooks **out,
                          struct error *err) MUST_CHECK;
/* Deliveries under way are broken off (they are made again after a start); closed runs last. Before
 * answers and outbound are closed. */
void webhooks_close(struct webhooks *w, void (*closed)(void *data), void *data);

/* w NULL (serve is ending): nothing. Something happened in a tenant: `event` is one of
 * webhook_events, data a JSON object; both are copied. ref: the id of the document or answer that
 * it tells of, with which an erasure takes it;
 * "" none. Written in the background: where that fails the log says so. Whoever has the tenant's
 * database open on its lane calls webhooks_put (webhooks_store.h) in the same transaction instead,
 * and then webhooks_wake. */
void webhooks_emit(struct webhooks *w, const char *tenant, const char *event, const char *ref,
                   const char *data);
/* May an endpoint be there? */
enum status webhooks_url_check(const struct settings *s, const char *url,
                               struct error *err) MUST_CHECK;
/* Something of this tenant is waiting. */
void webhooks_wake(struct webhooks *w, const char *tenant);
/* Own figures in Prometheus' format. */
void webhooks_metrics(const struct webhooks *w, struct buf *out);

/* "webhook-signature" of Standard Webhooks: "v1," and base64 of the HMAC-SHA-256 of
 * "id.seconds.body" under the secret's bytes. */
#define WEBHOOK_SECRET_BYTES 32
#define WEBHOOK_SIGNATURE_CAP 64
void webhook_sign(const uint8_t secret[WEBHOOK_SECRET_BYTES], const char *id, int64_t now_s,
                  struct str body, char out[WEBHOOK_SIGNATURE_CAP]);
/* "whsec_" and base64 */
#define WEBHOOK_SECRET_CAP 64
void webhook_secret_text(const uint8_t secret[WEBHOOK_SECRET_BYTES], char out[WEBHOOK_SECRET_CAP]);
/* When a delivery that failed for the n-th time (from 1) is tried again: doubling from 5 s to an
 * hour, a fifth of it by chance (random: any number). */
#define WEBHOOK_WAIT_MAX_MS INT64_C(3600000)
int64_t webhook_wait_ms(unsigned attempts, uint32_t random);

#endif
