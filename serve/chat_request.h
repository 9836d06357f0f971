/* An OpenAI chat request, read and checked. Unknown fields are accepted, as clients expect. Pure.
 */
#ifndef CARREL_SERVE_CHAT_REQUEST_H
#define CARREL_SERVE_CHAT_REQUEST_H

#include "base/arena.h"
#include "generate.pb-c.h"
#include "serve/json.h"
#include "vectorstore.pb-c.h"

#define CHAT_MESSAGES_MAX 256
#define CHAT_EARLIER_MAX 8
#define CHAT_STOPS_MAX 16
#define CHAT_BIASES_MAX 300

struct chat_request {
    const char *model;                    /* as asked */
    const char *collection;               /* of "carrel:<collection>", otherwise NULL */
    struct str question;                  /* the last user message */
    struct str earlier[CHAT_EARLIER_MAX]; /* earlier user turns, oldest first */
    size_t n_earlier;
    bool stream, include_usage;
    Vs__Filter filter; /* of the object "carrel", collection included */
    bool filtered;
    /* messages, sampling fields; ready for generate.Chat but for passages and answer id */
    Ge__ChatRequest ask;
};

/* Everything lives in a, or in the JSON document. *param names the field at fault (or NULL).
 * NOT_FOUND: the model is not known. */
enum status chat_request_read(const struct json *body, struct arena *a, struct chat_request *out,
                              const char **param, struct error *err) MUST_CHECK;
/* "carrel", "carrel:name" -> true, with the collection or NULL. */
bool chat_model(struct str model, struct str *collection);

#endif
