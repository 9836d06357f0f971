/* What is kept of a chat: the audit's second record (audit/gate.h) and the answer's (answers.h),
 * and the JSON that both hold of what the other services said. Loop thread. */
#ifndef CARREL_SERVE_CHAT_RECORD_H
#define CARREL_SERVE_CHAT_RECORD_H

#include "generate/generate_rpc.h"
#include "serve/chat.h"

/* Writes both, once a chat, whatever became of it: further calls do nothing. then runs once, when
 * both are durable or cannot be written (c->unwritten tells); the request's memory is held until
 * then. outcome: "answered", "refused", "failed" or "cancelled". */
void chat_record(struct chat *c, const char *outcome, void (*then)(struct chat *c));

/* More is written before it is told: c->concluded runs once chat_written has been called as often
 * as chat_writing; the request's memory is held until then. err: into c->unwritten. */
void chat_writing(struct chat *c);
void chat_written(struct chat *c, const struct error *err);

/* A reply that names the route: which way by which rule, and what was masked of a prompt that left.
 */
void chat_note_route(struct chat *c, const Ge__ChatReply *m);

/* In the request's arena; NULL: too long, or out of memory. */
const char *chat_search_json(struct chat *c); /* which models found c->found, and by what words */
const char *chat_logprobs_json(struct chat *c, const Ge__ChatReply *m);

#endif
