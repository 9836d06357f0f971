/* What the handlers of conversations have in common: work on the answers' lane for a request that
 * may go away meanwhile. Loop thread. */
#ifndef CARREL_SERVE_API_CONVERSATIONS_H
#define CARREL_SERVE_API_CONVERSATIONS_H

#include "serve/conversations.h"
#include "serve/request.h"

typedef enum status (*conversation_work_fn)(sqlite3 *db, struct conversation_ask *a,
                                            struct error *err);

struct conversation_call {
    struct request *q;
    struct http_request *http;
    char tenant[65], user[64], token[SHARE_TOKEN_CAP], share[ID_CAP];
    struct conversation_ask ask;
    struct buf out; /* ask.out */
    conversation_work_fn work;
    void (*then)(struct conversation_call *c);
    int status; /* 0: 200 */
    unsigned running;
};

/* Of whoever asks; in the arena. NULL: an error was answered. */
struct conversation_call *conversation_call(struct request *q, size_t out_max);
/* then runs where work succeeded and somebody still listens; else an error is answered. */
void conversation_run(struct conversation_call *c, conversation_work_fn work,
                      void (*then)(struct conversation_call *c));

#endif
