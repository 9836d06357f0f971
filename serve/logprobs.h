/* Log probabilities of an answer's tokens in OpenAI's form. Pure. */
#ifndef CARREL_SERVE_LOGPROBS_H
#define CARREL_SERVE_LOGPROBS_H

#include "base/buf.h"
#include "generate.pb-c.h"

/* {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}, appended to out. Bytes that are no
 * text by themselves (a token may end within a character) are shown as U+FFFD; "bytes" has them. */
void logprobs_write(struct buf *out, const Ge__ChatReply *m);

#endif
