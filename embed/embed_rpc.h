/* The table of embed's methods. */
#ifndef CARREL_EMBED_RPC_H
#define CARREL_EMBED_RPC_H

#include "base/rpc/rpc.h"
#include "embed.pb-c.h"

RPC_METHOD(em, encode, "embed.Encode", em__encode_request, Em__EncodeRequest, em__encode_reply,
           Em__EncodeReply, RPC_UNARY, FROM(INGEST) | FROM(RETRIEVE) | FROM(SERVE), 30000)
RPC_METHOD(em, fit, "embed.Fit", em__fit_request, Em__FitRequest, em__fit_reply, Em__FitReply,
           RPC_BOTH_STREAM, FROM(INGEST), 3600000)
RPC_METHOD(em, rerank, "embed.Rerank", em__rerank_request, Em__RerankRequest, em__rerank_reply,
           Em__RerankReply, RPC_UNARY, FROM(RETRIEVE) | FROM(SERVE), 30000)
RPC_METHOD(em, list_encoders, "embed.ListEncoders", em__list_encoders_request,
           Em__ListEncodersRequest, em__list_encoders_reply, Em__ListEncodersReply, RPC_UNARY,
           FROM(SERVE) | FROM(INGEST), 2000)

#endif
