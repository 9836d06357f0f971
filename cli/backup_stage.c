/* A backup's first step: each service makes a copy of what it owns in run/backup/<id>/; and what is
 * looked at before. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/backup.h"
#include "cli/rpc_once.h"
#include "ingest/ingest_rpc.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/serve_rpc.h"
#include "vectorstore/vectorstore_rpc.h"

enum status backup_check_target(const struct backup_wish *w, struct error *err)
{
    char home[PATH_MAX];
    char target[PATH_MAX];
    enum status s = file_mkdirs(w->target, 0700, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (realpath(w->home, home) == NULL || realpath(w->target, target) == NULL) {
        return error_errno(err, errno, "%s", w->target);
    }
    size_t n = strlen(home);
    if (strncmp(home, target, n) == 0 && (target[n] == '/' || target[n] == '\0')) {
        return error_set(err, STATUS_INVALID,
                         "%s lies in the data directory: a backup belongs elsewhere, best on "
                         "another disk",
                         w->target);
    }
    return STATUS_OK;
}

enum status backup_lock(const char *home, int *fd, struct error *err)
{
    char path[PATH_MAX];
    enum status s = file_join(path, sizeof path, home, "run/backup.lock", err);
    if (s == STATUS_OK) {
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (*fd < 0) {
            s = error_errno(err, errno, "%s", path);
        } else if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
            s = error_set(err, STATUS_BUSY, "another backup of this appliance is being made");
        }
    }
    return s;
}

static void ignore_reply(const ProtobufCMessage *m, void *data)
{
    (void)m;
    (void)data;
}

enum status backup_stage_tenant(const char *home, const char *name, const char *tenant,
                                struct error *err)
{
    Vs__SnapshotRequest vs = VS__SNAPSHOT_REQUEST__INIT;
    Ig__SnapshotRequest ig = IG__SNAPSHOT_REQUEST__INIT;
    Se__SnapshotRequest se = SE__SNAPSHOT_REQUEST__INIT;
    Rt__SnapshotRequest rt = RT__SNAPSHOT_REQUEST__INIT;
    vs.name = ig.name = se.name = rt.name = (char *)(uintptr_t)name;
    enum status s = rpc_once(home, PEER_VECTORSTORE, &vs_snapshot_method, tenant, 0, &vs.base,
                             ignore_reply, NULL, err);
    if (s == STATUS_OK) {
        s = rpc_once(home, PEER_INGEST, &ig_snapshot_method, tenant, 0, &ig.base, ignore_reply,
                     NULL, err);
    }
    if (s == STATUS_OK) {
        s = rpc_once(home, PEER_SERVE, &se_snapshot_method, tenant, 0, &se.base, ignore_reply, NULL,
                     err);
    }
    if (s == STATUS_OK) {
        s = rpc_once(home, PEER_RETRIEVE, &rt_snapshot_method, tenant, 0, &rt.base, ignore_reply,
                     NULL, err);
    }
    return s == STATUS_OK ? s : error_prefix(err, "tenant %s", tenant);
}

enum status backup_stage_system(const char *home, const char *name, struct error *err)
{
    Se__SnapshotRequest se = SE__SNAPSHOT_REQUEST__INIT;
    se.name = (char *)(uintptr_t)name;
    return rpc_once(home, PEER_SERVE, &se_snapshot_method, NULL, 0, &se.base, ignore_reply, NULL,
                    err);
}
