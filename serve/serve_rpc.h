/* The table of serve's methods. */
#ifndef CARREL_SERVE_RPC_H
#define CARREL_SERVE_RPC_H

#include "base/rpc/rpc.h"
#include "serve.pb-c.h"

RPC_METHOD(se, snapshot, "serve.Snapshot", se__snapshot_request, Se__SnapshotRequest,
           se__snapshot_reply, Se__SnapshotReply, RPC_UNARY, FROM(CLI), 3600000)
RPC_METHOD(se, forget, "serve.Forget", se__forget_request, Se__ForgetRequest, se__forget_reply,
           Se__ForgetReply, RPC_UNARY, FROM(INGEST), 600000)

#endif
