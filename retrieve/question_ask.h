/* A question that a passage answers, written by the local model where there is one
 * (generate.Chat, make_question). Loop thread. */
#ifndef CARREL_RETRIEVE_QUESTION_ASK_H
#define CARREL_RETRIEVE_QUESTION_ASK_H

#include "base/model_line.h"
#include "base/service.h"
#include "retrieve/questions.h"

struct question_ask { /* one call; the caller's until done */
    struct model_line line;
    /* question: "" when none was made; UNAVAILABLE in err: there is no model to ask. */
    void (*done)(void *data, const char *question, const struct error *err);
    void *data;
};

/* The call, for cancelling it; done does not come then, nor after NULL (out of memory). done
 * and data are set by the caller; the passage is borrowed until this returns. */
struct rpc_request *question_ask_start(struct service *svc, struct question_ask *q,
                                       const struct rpc_options *options, const char *title,
                                       const struct question_passage *p);

#endif
