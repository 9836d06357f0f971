/* Snapshot: the journal, for a backup. It is taken after the store's, so that no sequence number of
 * the store is above the journal's: what the store lacks is put again under new numbers by
 * reconcile.c. */
#include <limits.h>
#include <stdio.h>

#include "base/snapshot_call.h"
#include "ingest/documents.h"

static const Ig__SnapshotReply reply = IG__SNAPSHOT_REPLY__INIT;

void backup_snapshot(struct rpc_call *call, const ProtobufCMessage *m)
{
    char to[PATH_MAX];
    char from[PATH_MAX];
    struct error err;
    const Ig__SnapshotRequest *r = ig_snapshot_request(m);
    struct tenant *t = documents_tenant(call);
    if (t == NULL) {
        return;
    }
    const char *home = t->in->svc->home;
    enum status s = r == NULL ? error_set(&err, STATUS_INVALID, "snapshot: no request")
                              : snapshot_path(home, r->name, t->id, to, sizeof to, &err);
    int n = snprintf(from, sizeof from, "%s/tenants/%s/ingest.db", home, t->id);
    if (s == STATUS_OK && (n < 0 || (size_t)n >= sizeof from)) {
        s = error_set(&err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    if (s != STATUS_OK) {
        rpc_call_fail(call, &err);
        return;
    }
    snapshot_call(call, t->in->loop, from, to, "ingest.db", &reply.base);
}
