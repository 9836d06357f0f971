/* Snapshot: serve's databases, for a backup. */
#include <limits.h>
#include <stdio.h>

#include "base/file.h"
#include "base/snapshot_call.h"
#include "serve/serve_rpc.h"
#include "serve/service.h"

static const Se__SnapshotReply reply = SE__SNAPSHOT_REPLY__INIT;

static void on_snapshot(struct rpc_call *call, const ProtobufCMessage *m)
{
    char to[PATH_MAX];
    char from[PATH_MAX];
    struct error err;
    const struct serve *s = service_state(call);
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
    snapshot_call(call, s->svc->loop, from, to, "serve.db", &reply.base);
}

const struct rpc_handler serve_handlers[SERVE_HANDLERS] = {
    {.method = &se_snapshot_method, .on_request = on_snapshot, .on_cancel = snapshot_call_cancel},
    {.method = &se_forget_method, .on_request = serve_forget},
};
