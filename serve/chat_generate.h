/* A chat from its passages to its end: generate writes, the records become durable, it is told. The
 * order is in chat.c. Loop thread. */
#ifndef CARREL_SERVE_CHAT_GENERATE_H
#define CARREL_SERVE_CHAT_GENERATE_H

#include "serve/chat.h"

/* Has c->found answered from (of a plain chat: nothing found). */
void chat_generate(struct chat *c);
/* It ends here; err is recorded and told. */
void chat_failed(struct chat *c, const struct error *err);
/* request.on_gone of a chat: the client has left, and the records say so. */
void chat_gone(struct request *q);

#endif
