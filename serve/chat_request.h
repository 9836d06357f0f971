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
#define CHAT_TOOLS_MAX 128
#define CHAT_CALLS_A_MESSAGE 64
#define CHAT_CHOICES_MAX 8

struct chat_request {
    const char *model;      /* as asked */
    const char *collection; /* of "carrel:<collection>", otherwise NULL */
    struct str question;    /* the last user message */
    struct str *earlier;    /* earlier user turns, oldest first; at most CHAT_EARLIER_MAX */
    size_t n_earlier;
    bool stream, include_usage;
    size_t choices;     /* answers to the one question ("n"), at least 1 */
    bool plain;         /* the model of this machine was asked for: no documents */
    Vs__Filter *filter; /* of the object "carrel", collection included */
    bool filtered;
    /* messages, sampling fields; ready for generate.Chat but for passages and answer id */
    Ge__ChatRequest *ask;
};

/* Everything lives in a, or in the JSON document. model: the one of this machine, which can be
 * asked for by its name; "": none. *param names the field at fault (or NULL). NOT_FOUND: the model
 * that is asked for is not known. */
enum status chat_request_read(const struct json *body, const char *model, struct arena *a,
                              struct chat_request *out, const char **param,
                              struct error *err) MUST_CHECK;
/* chat_tools.c: tools, tool_choice and parallel_tool_calls into out->ask. */
enum status chat_tools_read(const struct json *body, struct arena *a, struct chat_request *out,
                            const char **param, struct error *err) MUST_CHECK;
/* tool_calls or tool_call_id of message i; m lives in a. */
enum status chat_calls_read(const struct json *message, size_t i, struct arena *a, Ge__Message *m,
                            struct error *err) MUST_CHECK;
/* "carrel", "carrel:name" -> true, with the collection or NULL. */
bool chat_model(struct str model, struct str *collection);

#endif
