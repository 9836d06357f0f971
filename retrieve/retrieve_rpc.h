/* The table of retrieve's methods. */
#ifndef CARREL_RETRIEVE_RPC_H
#define CARREL_RETRIEVE_RPC_H

#include "base/rpc/rpc.h"
#include "retrieve.pb-c.h"

RPC_METHOD(rt, search, "retrieve.Search", rt__search_request, Rt__SearchRequest, rt__search_reply,
           Rt__SearchReply, RPC_UNARY, FROM(SERVE), 10000)

#endif
