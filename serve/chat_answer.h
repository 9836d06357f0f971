/* An answer on its way out, between api_chat.c (which asks for it and keeps the record) and
 * chat_answer.c (which writes it as JSON, whole or as events). Loop thread. */
#ifndef CARREL_SERVE_CHAT_ANSWER_H
#define CARREL_SERVE_CHAT_ANSWER_H

#include "base/model_line.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/api.h"
#include "serve/chat_request.h"
#include "serve/service.h"

#define CHAT_ANSWER_MAX ((size_t)4 * 1024 * 1024)
#define CHAT_CITED_MAX 256
#define CHAT_CALLS_MAX 64

struct chat {
    struct request *q; /* NULL once answered or gone */
    struct http_request *http;
    char id[ID_CAP];
    struct chat_request ask;
    int64_t created_wall_ms, started_ms, search_ms, first_ms;
    const Rt__SearchReply *found;
    struct model_line rewritten; /* the question standing alone; "" until and unless it is */
    bool rewriting_over;         /* tried, well or not */
    bool generating;
    bool begun;    /* the stream's first event is out */
    bool first;    /* the first reply has come */
    bool complete; /* the last reply has come */
    bool paused;
    bool recorded;
    struct buf text; /* the answer */
    struct rpc_request *rpc;
    /* what generate said; all in the arena */
    const char *engine, *model, *note, *finish_reason, *route_json;
    const char *search_json; /* which models found the passages; NULL: nothing was searched */
    const char *logprobs_json; /* NULL: none */
    bool refused;
    uint32_t marks_removed, prompt_tokens, completion_tokens;
    struct {
        uint32_t number;
        uint32_t mark; /* code points of the answer before it, the first time */
    } cited[CHAT_CITED_MAX];
    size_t n_cited;
    struct {
        const char *id, *name, *arguments;
    } calls[CHAT_CALLS_MAX]; /* of functions that the caller offered */
    size_t n_calls;
    struct error failure;
    struct answer_record record;
};

/* mark: code points of the answer before its first citation. */
bool chat_is_cited(const struct chat *c, size_t number, uint32_t *mark);
/* The stream: first event; text; the latest call; the end; an error in the middle. */
void chat_begin_stream(struct chat *c);
void chat_stream_text(struct chat *c, const char *text);
void chat_stream_call(struct chat *c);
void chat_end_stream(struct chat *c);
void chat_fail_stream(struct chat *c);
/* All at once. */
void chat_answer_whole(struct chat *c);

#endif
