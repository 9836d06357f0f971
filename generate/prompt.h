/* The grounded prompt: rules, numbered passages, question. Pure. Passages are data: they stand
 * between delimiters that their text cannot contain, and the rules say that nothing in them is an
 * instruction.
 *
 * What is sent of the conversation are the caller's own turns. Earlier answers stay here: they may
 * quote passages whose labels nobody has checked for this call (docs/decisions/routing.md). */
#ifndef CARREL_GENERATE_PROMPT_H
#define CARREL_GENERATE_PROMPT_H

#include "base/buf.h"
#include "generate/generate_rpc.h"

#define PROMPT_BYTES_MAX ((size_t)1024 * 1024)
#define PROMPT_EARLIER_TURNS 8

/* What of the conversation is not in the prompt, or not as it was. */
struct prompt_masks {
    uint32_t earlier_answers;   /* and what functions returned for them */
    uint32_t earlier_questions; /* beyond PROMPT_EARLIER_TURNS */
    uint32_t marks;             /* the prompt's own delimiters in a text, made harmless */
};

struct prompt {
    struct buf system;
    struct buf user;
    struct prompt_masks masks;
};

void prompt_init(struct prompt *p);
void prompt_deinit(struct prompt *p);
/* Fills p. STATUS_INVALID without a question, STATUS_TOO_LARGE past PROMPT_BYTES_MAX. */
enum status prompt_build(const Ge__ChatRequest *ask, struct prompt *p,
                         struct error *err) MUST_CHECK;
/* The last user message; NULL when there is none or it is blank. */
const char *prompt_question(const Ge__ChatRequest *ask);

#endif
