/* The table of generate's methods. */
#ifndef CARREL_GENERATE_RPC_H
#define CARREL_GENERATE_RPC_H

#include "base/rpc/rpc.h"
#include "generate.pb-c.h"

RPC_METHOD(ge, chat, "generate.Chat", ge__chat_request, Ge__ChatRequest, ge__chat_reply,
           Ge__ChatReply, RPC_REPLY_STREAM, FROM(SERVE) | FROM(RETRIEVE), 300000)
RPC_METHOD(ge, describe, "generate.Describe", ge__describe_request, Ge__DescribeRequest,
           ge__describe_reply, Ge__DescribeReply, RPC_UNARY, FROM(SERVE), 2000)

#endif
