/* The two JSON shapes of an OpenAI-compatible chat endpoint that are needed: the request, and one
 * streamed piece of the reply. Pure. jansson is used here only. */
#ifndef CARREL_GENERATE_UPSTREAM_OPENAI_H
#define CARREL_GENERATE_UPSTREAM_OPENAI_H

#include "base/buf.h"
#include "generate/prompt.h"

#define OPENAI_DEPTH_MAX 32

#define OPENAI_CALLS_MAX 64
#define OPENAI_ARGUMENTS_MAX ((size_t)256 * 1024)

struct openai_call {
    char id[128], name[128];
    struct buf arguments;
};

/* Calls of functions, which come in pieces. */
struct openai_calls {
    struct openai_call *items; /* malloc'd */
    size_t n;
};

void openai_calls_deinit(struct openai_calls *c);

/* The body of POST /chat/completions; appended to out. With tools, what was called for the question
 * and came back goes along. */
enum status openai_request(const Ge__ChatRequest *ask, const struct prompt *prompt,
                           const char *model, struct buf *out, struct error *err) MUST_CHECK;

#define OPENAI_VERSION_CAP 128

struct openai_piece {
    bool done;                  /* "[DONE]" */
    struct buf *text;           /* the delta's text is appended here */
    struct openai_calls *calls; /* the delta's calls are added here; NULL: passed over */
    char *version; /* OPENAI_VERSION_CAP, "" at first: the model that answers, as it calls itself,
                      and its system_fingerprint; NULL: passed over */
    const char *finish_reason; /* static: "stop", "length", "tool_calls"; NULL: not yet */
    uint32_t prompt_tokens, completion_tokens; /* 0: not said */
};

/* One event's data. out->text must be set. STATUS_PROTOCOL for what is no such piece, or an error
 * object. */
enum status openai_piece(struct str json, struct openai_piece *out, struct error *err) MUST_CHECK;

#endif
