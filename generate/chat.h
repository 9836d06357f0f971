/* generate.Chat, one call: route, engine, stream, citations. */
#ifndef CARREL_GENERATE_CHAT_H
#define CARREL_GENERATE_CHAT_H

#include "base/service.h"
#include "generate/engine.h"

struct generate {
    struct service *svc;
    struct engine *extractive;
    struct engine *local;    /* NULL when none is configured */
    struct engine *upstream; /* the same */
    size_t n_calls;          /* chats whose memory is still in use */
    unsigned engines_open;
    bool stopping;
    struct list chats;
    uint64_t answers, refused, failed, external, modelled, held_back, fallbacks, marks_removed;
};

void chat_on_request(struct rpc_call *call, const ProtobufCMessage *m);
void chat_on_ready(struct rpc_call *call);
void chat_on_cancel(struct rpc_call *call);
/* Cancels all chats; generate_chat_over tells when the last is gone. */
void chat_stop_all(struct generate *g);
/* service.c: a chat is gone. */
void generate_chat_over(struct generate *g);

#endif
