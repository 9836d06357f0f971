/* The table of the supervisor's methods. */
#ifndef CARREL_CLI_SUPERVISOR_RPC_H
#define CARREL_CLI_SUPERVISOR_RPC_H

#include "base/rpc/rpc.h"
#include "supervisor.pb-c.h"

RPC_METHOD(sv, status, "supervisor.Status", sv__status_request, Sv__StatusRequest, sv__status_reply,
           Sv__StatusReply, RPC_UNARY, FROM(CLI), 5000)
RPC_METHOD(sv, stop, "supervisor.Stop", sv__stop_request, Sv__StopRequest, sv__stop_reply,
           Sv__StopReply, RPC_UNARY, FROM(CLI), 5000)

#endif
