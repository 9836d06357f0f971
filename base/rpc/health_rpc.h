/* The method that every service answers (base/service.c). */
#ifndef CARREL_BASE_RPC_HEALTH_RPC_H
#define CARREL_BASE_RPC_HEALTH_RPC_H

#include "base/rpc/rpc.h"
#include "frame.pb-c.h"

RPC_METHOD(rpc, health, "rpc.Health", rpc__health_request, Rpc__HealthRequest, rpc__health_reply,
           Rpc__HealthReply, RPC_UNARY, FROM(SUPERVISOR) | FROM(CLI) | FROM(SERVE), 2000)

#endif
