/* serve: the one door. HTTP in front, the five services behind. */
#ifndef CARREL_SERVE_SERVICE_H
#define CARREL_SERVE_SERVICE_H

#include "base/service.h"
#include "serve/answers.h"
#include "serve/audit/audit.h"
#include "serve/audit/refused.h"
#include "serve/auth.h"
#include "serve/http/forwarded.h"
#include "serve/http/http.h"
#include "serve/http/router.h"
#include "serve/http/static.h"
#include "serve/outbound.h"
#include "serve/share.h"
#include "serve/usage/fair.h"
#include "serve/usage/storage.h"
#include "serve/usage/worked.h"
#include "serve/webhooks.h"

#define STATUS_CLASSES 6

struct oidc;      /* serve/oidc.h */
struct ldap_ways; /* serve/ldap_ways.h */

struct serve {
    struct service *svc;
    const struct settings *settings;
    struct http_server *http;
    struct tls_context *tls; /* NULL: plain */
    struct auth *auth;
    struct answers *answers;
    struct conversations_sweep *sweep;
    struct outbound *outbound; /* NULL once closed */
    struct webhooks *webhooks;
    struct fair *fair;          /* limits, and who used what */
    struct jobs *jobs;          /* NULL once closed */
    struct storage *storage;    /* what documents take, a day */
    struct store_sweep *stores; /* what expired vector stores hold goes */
    struct worked *worked;      /* what reading them cost */
    struct oidc *oidc;          /* NULL: no provider is configured */
    struct ldap_ways *ldap;     /* NULL: no directory is configured */
    struct audit *audit;
    struct refused *refused;   /* counts who is refused at the door; NULL once closed */
    struct lane admin;         /* keys and tenants being written */
    struct lane files;         /* files that are uploaded, being written and read */
    struct share *share;       /* turns of tenants */
    struct list writes;        /* under way: precondition.h */
    struct static_files *page; /* NULL: not built */
    struct buf openapi;        /* the description of the API; empty until somebody asks */
    int port;
    struct forwarded_proxies proxies;
    bool loopback; /* only this machine can reach us */
    char cookie[32];
    struct lane passwords; /* being hashed: each takes 64 MiB */
    int64_t uses_ms;       /* when the last uses of keys were written */
    bool uses_writing;
    uint64_t by_class[STATUS_CLASSES]; /* answers by first digit; 0: aborted */
    uint64_t answers_total, uploads_total;
    bool health_up; /* what /api/health last found, and when */
    int64_t health_ms;
    unsigned closing; /* parts not closed yet */
};

extern const struct service_definition serve_definition;
/* The table of routes (routes.c). */
extern const struct route serve_routes[];
extern const size_t serve_routes_n;
/* After each job of these lanes: the last one lets a closing serve go on. */
void serve_admin_done(struct serve *s);
/* api_admin.c: own figures in Prometheus' format */
void serve_metrics(const struct serve *s, struct buf *out);
/* backup.c: what the command line calls */
#define SERVE_HANDLERS 2
extern const struct rpc_handler serve_handlers[SERVE_HANDLERS];
/* forget.c: the handler of serve.Forget */
void serve_forget(struct rpc_call *call, const ProtobufCMessage *m);
/* api_webhooks.c: a webhooks_may_fn; data: struct serve */
bool serve_webhook_may(void *data, const char *tenant, const char *by, bool everything);
/* dispatch.c: q's caller, signed for the other services for so long */
struct request;
enum status serve_sign(struct request *q, int64_t life_ms, struct error *err) MUST_CHECK;
void serve_on_request(struct http_request *r, void *serve);
void serve_on_done(struct http_request *r, int status, void *serve);

#endif
