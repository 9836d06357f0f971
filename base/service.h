/* The life of a service process, the same for all six: arguments, settings, identity, loop, RPC server,
 * clients to the others, signals, orderly close. main.c is one call:
 *
 *   int main(int argc, char **argv) { return service_main(argc, argv, &definition); }
 *
 * Arguments: --home DIR [--boot-fd N] [--beat-fd N] [--log-level L] [--user NAME]; a byte a second is written to the
 * second descriptor from the loop, so that the supervisor hears when it stands still; the identity is read from the first
 * (default 3); started as root with --user, the process becomes that user before it opens anything else.
 * SIGTERM and SIGINT close; a second signal exits at once, and so does a close that takes longer than 5 s.
 * The process dies with its parent (PR_SET_PDEATHSIG). Every service answers "rpc.Health" for supervisor, CLI and serve. */
#ifndef CARREL_BASE_SERVICE_H
#define CARREL_BASE_SERVICE_H

#include <uv.h>

#include "base/rpc/rpc.h"
#include "base/settings/settings.h"

struct metrics;     /* base/metrics.h */
struct tls_context; /* base/tls/tls.h */

struct service {
    uv_loop_t *loop;
    const struct settings *settings;
    const char *home; /* data directory, absolute */
    struct identity identity;
    void *state; /* the service's own, set by open */
    int64_t grace_ms; /* likewise: so much longer than others it may take to close */
    /* private to service.c below */
    struct service_private *p;
};

struct service_health {
    uint32_t queue;
    char detail[160];
    /* Prometheus text appended by the service; capped */
    struct buf *metrics;
};

struct service_definition {
    enum peer self;
    const struct rpc_handler *handlers;
    size_t n_handlers;
    /* Sets svc->state (handlers find it by service_state(call)). The RPC server listens only after it
     * succeeded. */
    enum status (*open)(struct service *svc, struct error *err);
    /* May be NULL. Fills what "rpc.Health" says. */
    void (*health)(struct service *svc, struct service_health *out);
    /* Begin an orderly stop; call service_closed(svc) when all own handles are closed. NULL: nothing to do. */
    void (*close)(struct service *svc);
};

int service_main(int argc, char **argv, const struct service_definition *def);
void service_closed(struct service *svc);
/* The state of the service that answers this call (rpc_call_service is struct service). */
void *service_state(const struct rpc_call *call);
/* The one client to another service; made at first use, closed with the service. NULL only when out of
 * memory. */
struct rpc_client *service_client(struct service *svc, enum peer target);
/* Where the service registers its own counters; part of what "rpc.Health" says. Never NULL. */
struct metrics *service_metrics(struct service *svc);
/* Remember for `carrel status`; also logs at error level. */
void service_note_error(struct service *svc, const struct error *err);
/* "unix:<home>/run/<peer>.sock", or the configured address, into out. The supervisor and egress are always
 * local. */
void service_address(const struct settings *s, const char *home, enum peer p, char *out, size_t cap);
/* transport tls: the mutual TLS context of `self` from the configured files; transport unix: *out is NULL.
 * For rpc_client_new in processes that are no services. Owned: tls_context_free. */
enum status service_tls(const struct settings *s, enum peer self, struct tls_context **out,
                        struct error *err) MUST_CHECK;

#endif
