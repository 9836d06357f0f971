/* OpenAI's responses: chat_responses_read.c turns a request into a chat, chat_responses.c writes
 * the answer, api_responses.c keeps turns and tells them again. */
#ifndef CARREL_SERVE_CHAT_RESPONSES_H
#define CARREL_SERVE_CHAT_RESPONSES_H

#include "serve/chat.h"
#include "serve/vector_store_id.h"

#define RESPONSE_ID "resp_"
#define RESPONSES_STORES_MAX 32

struct responses {
    const struct json *body;
    const char *previous;     /* previous_response_id; NULL: none */
    const char *conversation; /* its id, without prefix; "new"; NULL: none */
    struct str before;        /* the turns before: messages as JSON, without brackets; "" none */
    bool store;               /* the turn is kept */
    bool background;
    const struct json *filters; /* of file_search, checked; NULL: none */
    bool instructed;            /* the first message is "instructions" */
    size_t n_before;            /* messages in `before` */
    bool with_results;          /* include: file_search_call.results */
    /* the stream */
    uint64_t sequence;
    size_t outputs; /* items begun */
    size_t message; /* index of the message among them; SIZE_MAX: not begun */
};

/* Checks what only responses have, before anything is looked up. INVALID, UNSUPPORTED. */
enum status responses_read(const struct json *body, struct responses *out, const char **param,
                           struct error *err) MUST_CHECK;
/* chat_dialect.translate. */
enum status responses_translate(struct chat *c, const struct json *body, struct buf *out,
                                const char **param, struct error *err) MUST_CHECK;
/* The response that c is, complete. */
void responses_write(struct buf *out, const struct chat *c);
/* Turns made before this wall time are not kept any more. */
int64_t responses_expired_ms(int64_t keep_days);
/* api_responses.c: chat_dialect.keep. */
void responses_keep(struct chat *c);
extern const struct chat_dialect responses_dialect;

#endif
