#include "base/snapshot_call.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/db.h"
#include "base/file.h"
#include "base/list.h"

struct copying {
    uv_work_t work;
    struct rpc_call *call;
    const ProtobufCMessage *reply;
    char from[PATH_MAX], to[PATH_MAX], dir[PATH_MAX];
    _Atomic bool cancelled;
    struct error err;
    enum status status;
};

enum status snapshot_path(const char *home, const char *name, const char *tenant, char *out,
                          size_t cap, struct error *err)
{
    size_t n = strlen(name);
    if (n == 0 || n > 64 || name[0] == '.' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != n) {
        return error_set(err, STATUS_INVALID, "snapshot: the name is not a plain short one");
    }
    int len = snprintf(out, cap, "%s/run/backup/%s%s%s", home, name,
                       tenant[0] == '\0' ? "" : "/tenants/", tenant);
    return len < 0 || (size_t)len >= cap
               ? error_set(err, STATUS_TOO_LARGE, "%s: path too long", home)
               : STATUS_OK;
}

static void copy(uv_work_t *work)
{
    struct copying *k = container_of(work, struct copying, work);
    k->status = file_mkdirs(k->dir, 0700, &k->err);
    if (k->status == STATUS_OK && access(k->from, F_OK) == 0) {
        k->status = db_copy_file(k->from, k->to, &k->cancelled, &k->err);
    }
}

static void copied(uv_work_t *work, int rc)
{
    struct copying *k = container_of(work, struct copying, work);
    struct rpc_call *call = k->call;
    *rpc_call_data(call) = NULL;
    if (rc != 0 || atomic_load(&k->cancelled)) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
    } else if (k->status != STATUS_OK) {
        rpc_call_fail(call, &k->err);
    } else {
        rpc_call_return(call, k->reply);
    }
    free(k);
}

void snapshot_call(struct rpc_call *call, uv_loop_t *loop, const char *from, const char *to,
                   const char *as, const ProtobufCMessage *reply)
{
    struct error err = {.code = STATUS_NO_MEMORY, .text = "out of memory"};
    struct copying *k = calloc(1, sizeof *k);
    enum status s = k == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    if (s == STATUS_OK) {
        k->call = call;
        k->reply = reply;
        int n = snprintf(k->from, sizeof k->from, "%s", from);
        int m = snprintf(k->dir, sizeof k->dir, "%s", to);
        if (n < 0 || (size_t)n >= sizeof k->from || m < 0 || (size_t)m >= sizeof k->dir) {
            s = error_set(&err, STATUS_TOO_LARGE, "%s: path too long", to);
        }
    }
    if (s == STATUS_OK) {
        s = file_join(k->to, sizeof k->to, to, as, &err);
    }
    if (s == STATUS_OK && uv_queue_work(loop, &k->work, copy, copied) == 0) {
        *rpc_call_data(call) = k;
        return;
    }
    free(k);
    rpc_call_fail(call, &err);
}

void snapshot_call_cancel(struct rpc_call *call)
{
    struct copying *k = *rpc_call_data(call);
    if (k == NULL) {
        rpc_call_finish(call, STATUS_CANCELLED, NULL);
        return;
    }
    atomic_store(&k->cancelled, true); /* copied() finishes the call */
}
