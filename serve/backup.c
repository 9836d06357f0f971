/* Snapshot: serve's databases, for a backup. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/snapshot_call.h"
#include "serve/audit/snapshot.h"
#include "serve/serve_rpc.h"
#include "serve/service.h"

static const Se__SnapshotReply reply = SE__SNAPSHOT_REPLY__INIT;

/* The tenant's audit first, then its answers. */
struct staging {
    struct rpc_call *call;
    struct serve *serve;
    char tenant[65], from[PATH_MAX], to[PATH_MAX];
};

static enum status stage_audit(struct audit *a, struct chain *c, void *data, struct error *err)
{
    const struct staging *g = data;
    (void)a;
    return audit_snapshot(c, g->serve->svc->home, g->to, err);
}

static char staging_now; /* a call's data while its audit is being copied */

static void on_audit_staged(const struct error *err, void *data)
{
    struct staging *g = data;
    *rpc_call_data(g->call) = NULL;
    if (rpc_call_cancelled(g->call)) {
        rpc_call_finish(g->call, STATUS_CANCELLED, NULL);
    } else if (err->code != STATUS_OK) {
        rpc_call_fail(g->call, err);
    } else {
        snapshot_call(g->call, g->serve->svc->loop, g->from, g->to, "serve.db", &reply.base);
    }
    free(g);
}

static void on_cancel(struct rpc_call *call)
{
    if (*rpc_call_data(call) != &staging_now) {
        snapshot_call_cancel(call);
    }
}

static void on_snapshot(struct rpc_call *call, const ProtobufCMessage *m)
{
    char to[PATH_MAX];
    char from[PATH_MAX];
    struct error err;
    struct serve *s = service_state(call);
    const Se__SnapshotRequest *r = se_snapshot_request(m);
    const char *tenant = rpc_call_tenant(call);
    const char *home = s->svc->home;
    enum status st = r == NULL ? error_set(&err, STATUS_INVALID, "snapshot: no request")
                               : snapshot_path(home, r->name, tenant, to, sizeof to, &err);
    int n = tenant[0] == '\0' ? snprintf(from, sizeof from, "%s/system/serve.db", home)
                              : snprintf(from, sizeof from, "%s/tenants/%s/serve.db", home, tenant);
    if (st == STATUS_OK && (n < 0 || (size_t)n >= sizeof from || (size_t)n + 16 >= sizeof to)) {
        st = error_set(&err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    if (st != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    if (tenant[0] == '\0') {
        size_t len = strlen(to);
        (void)snprintf(to + len, sizeof to - len, "/system");
    }
    struct staging *g = tenant[0] == '\0' ? NULL : calloc(1, sizeof *g);
    if (g == NULL) {
        snapshot_call(call, s->svc->loop, from, to, "serve.db", &reply.base);
        return;
    }
    g->call = call;
    g->serve = s;
    (void)snprintf(g->tenant, sizeof g->tenant, "%s", tenant);
    memcpy(g->from, from, sizeof g->from);
    memcpy(g->to, to, sizeof g->to);
    *rpc_call_data(call) = &staging_now;
    audit_run(s->audit, g->tenant, stage_audit, on_audit_staged, g);
}

const struct rpc_handler serve_handlers[SERVE_HANDLERS] = {
    {.method = &se_snapshot_method, .on_request = on_snapshot, .on_cancel = on_cancel},
    {.method = &se_forget_method, .on_request = serve_forget},
};
