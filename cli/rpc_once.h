/* One call from the command line to a running part of the appliance, as the peer CLI. */
#ifndef CARREL_CLI_RPC_ONCE_H
#define CARREL_CLI_RPC_ONCE_H

#include "base/rpc/rpc.h"

/* Calls and waits. The reply is unpacked for on_reply only while this runs. STATUS_UNAVAILABLE when
 * nothing runs in that home. tenant may be NULL; timeout_ms 0: the method's. */
enum status rpc_once(const char *home, enum peer target, const struct rpc_method *m,
                     const char *tenant, uint32_t timeout_ms, const ProtobufCMessage *request,
                     void (*on_reply)(const ProtobufCMessage *reply, void *data), void *data,
                     struct error *err) MUST_CHECK;

#endif
