/* The table of retrieve's methods. */
#ifndef CARREL_RETRIEVE_RPC_H
#define CARREL_RETRIEVE_RPC_H

#include "base/rpc/rpc.h"
#include "retrieve.pb-c.h"

RPC_METHOD(rt, search, "retrieve.Search", rt__search_request, Rt__SearchRequest, rt__search_reply,
           Rt__SearchReply, RPC_UNARY, FROM(SERVE), 10000)
RPC_METHOD(rt, evaluate, "retrieve.Evaluate", rt__evaluate_request, Rt__EvaluateRequest,
           rt__evaluate_reply, Rt__EvaluateReply, RPC_UNARY, FROM(SERVE) | FROM(INGEST), 30000)
RPC_METHOD(rt, snapshot, "retrieve.Snapshot", rt__snapshot_request, Rt__SnapshotRequest,
           rt__snapshot_reply, Rt__SnapshotReply, RPC_UNARY, FROM(CLI), 3600000)
RPC_METHOD(rt, forget, "retrieve.Forget", rt__forget_request, Rt__ForgetRequest, rt__forget_reply,
           Rt__ForgetReply, RPC_UNARY, FROM(INGEST), 60000)

#endif
