/* A chat between its files: chat.c has its life, chat_reply.c what is sent of it. */
#ifndef CARREL_GENERATE_CHAT_STATE_H
#define CARREL_GENERATE_CHAT_STATE_H

#include "generate/chat.h"
#include "generate/cite.h"
#include "generate/prompt.h"
#include "generate/route.h"

#define CALLS_MAX 64 /* of functions, in one answer */

struct chat {
    struct list link;
    struct generate *owner;
    struct rpc_call *call; /* NULL once finished */
    struct arena arena;    /* the request */
    const Ge__ChatRequest *ask;
    struct route route;
    struct engine *engine;
    struct engine_job *job; /* NULL while none runs */
    struct cite *cite;
    struct buf pending;
    size_t sent;                    /* of pending */
    Ge__ToolCall *calls[CALLS_MAX]; /* in the arena */
    size_t n_calls, calls_sent;
    bool first_sent, any_text, held, flushing, complete;
    bool lost;     /* a call of a function: no room for it */
    bool stranger; /* a function was called that nobody offered */
    struct error error;
    const char *finish_reason, *stop;
    bool refused;
    uint32_t prompt_tokens, completion_tokens;
    struct engine_spent spent, before; /* by this engine; by the one that it replaced */
    Ge__Elsewhere elsewhere;           /* of the reply being sent */
    Ge__TokenLogprob **logprobs;
    size_t n_logprobs;
    char note[400];
    bool left; /* the prompt was given to the upstream */
    struct prompt_masks masks;
    char version[128]; /* of the model, as the upstream told */
};

/* No answer for a person: no quoted sentences instead, and not counted. */
bool chat_rewrites(const struct chat *c);
/* Ends the call with an error; the engine, if at work, is told to stop. The caller releases. */
void chat_fail(struct chat *c, const struct error *err);
/* The route and what was masked, before anything is said: the first reply says it again. */
void chat_send_route(struct chat *c);
/* One round: what is pending, and the end when it is complete. STATUS_BUSY: on_ready calls again.
 * STATUS_CANCELLED: on_cancel has come or will. */
enum status chat_send_pending(struct chat *c);

#endif
