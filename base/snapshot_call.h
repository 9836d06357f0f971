/* How a service answers "copy this database of yours for a backup": on the pool, page for page, as it stands at one
 * moment (base/db.h). Loop thread only. */
#ifndef CARREL_BASE_SNAPSHOT_CALL_H
#define CARREL_BASE_SNAPSHOT_CALL_H

#include <uv.h>

#include "base/rpc/rpc.h"

/* "<home>/run/backup/<name>[/tenants/<tenant>]": where copies of that backup go; INVALID unless name is 1 to 64
 * characters of [A-Za-z0-9._-] and does not begin with a dot. tenant may be "". */
enum status snapshot_path(const char *home, const char *name, const char *tenant, char *out, size_t cap,
                          struct error *err) MUST_CHECK;
/* Copies database `from`, if it is there, to folder `to` (made where it is missing) under the name `as`, and
 * finishes the call with reply or the failure. */
void snapshot_call(struct rpc_call *call, uv_loop_t *loop, const char *from, const char *to, const char *as,
                   const ProtobufCMessage *reply);
/* The handler's on_cancel. */
void snapshot_call_cancel(struct rpc_call *call);

#endif
