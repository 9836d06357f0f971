/* A chat: chat.c finds the passages, has the answer written and keeps the record; a dialect reads
 * the request and writes the answer as one of the APIs that clients know has it: OpenAI's chat
 * completions (chat_completions.c) and responses (chat_responses.c), Anthropic's messages
 * (chat_messages.c), Ollama's chat (chat_ollama.c). Loop thread. */
#ifndef CARREL_SERVE_CHAT_H
#define CARREL_SERVE_CHAT_H

#include "base/model_line.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/api.h"
#include "serve/chat_request.h"
#include "serve/http/jsonw.h"
#include "serve/service.h"

#define CHAT_ANSWER_MAX ((size_t)4 * 1024 * 1024)
#define CHAT_TRANSLATED_MAX ((size_t)16 * 1024 * 1024)
#define CHAT_CITED_MAX 256
#define CHAT_CALLS_MAX 64

struct chat;

struct chat_dialect {
    /* Writes the request as OpenAI's chat completions have it, to out. *param: the field at fault.
     * Of c only q, more and dialect are set. NULL: it is one. */
    enum status (*translate)(struct chat *c, const struct json *body, struct buf *out,
                             const char **param, struct error *err);
    /* The answer is complete and in c, and recorded; it is told when this is written
     * (chat_record.h: chat_writing). May be NULL. */
    void (*keep)(struct chat *c);
    /* A stream: its first event; text; the latest call; the end; an error in the middle. */
    void (*begin)(struct chat *c);
    void (*text)(struct chat *c, const char *text);
    void (*call)(struct chat *c);
    void (*choice)(struct chat *c); /* the answer before is complete and the next begins; NULL:
                                       there is one only */
    void (*end)(struct chat *c);
    void (*fail)(struct chat *c);
    void (*whole)(struct chat *c); /* all at once */
};

struct chat_call {
    const char *id, *name, *arguments;
};

struct chat_cited {
    uint32_t number;
    uint32_t mark; /* code points of the answer before it, the first time */
};

/* An answer that is complete while others to the same question follow ("n"). In the arena. */
struct chat_choice {
    struct str text;
    const char *finish_reason, *logprobs_json;
    const struct chat_call *calls;
    size_t n_calls;
};

struct chat {
    const struct chat_dialect *dialect;
    struct chat_conversation *conversation; /* conversations.h; NULL: not kept in one */
    void *more;                             /* the dialect's; in the arena */
    struct request *q;                      /* NULL once answered or gone */
    struct http_request *http;
    char id[ID_CAP];
    struct chat_request ask;
    int64_t created_wall_ms, started_ms, search_ms, first_ms;
    const Rt__SearchReply *found;
    struct model_line *rewritten; /* the question standing alone; NULL until and unless it is */
    bool rewriting_over;          /* tried, well or not */
    bool generating;
    bool begun;    /* the stream's first event is out */
    bool first;    /* the first reply has come */
    bool complete; /* the last reply has come */
    bool paused;
    bool opened;   /* its record is in the audit: something may be shown */
    bool finished; /* generate is through: ended tells how */
    bool recorded;
    unsigned writing;                  /* records on their way: of the audit, of answers */
    void (*concluded)(struct chat *c); /* when none is any more */
    bool unwritten;                    /* a record could not be written */
    const struct error *ended;
    struct buf text; /* the answer */
    struct rpc_request *rpc;
    unsigned tries;   /* of a job, that found no place in the queue */
    int64_t again_ms; /* the next one, monotonic */
    /* what generate said; all in the arena */
    const char *engine, *model, *note, *finish_reason, *route_json;
    const char *stop;          /* the stop string that ended it; NULL: none is known of */
    const char *search_json;   /* which models found the passages; NULL: nothing was searched */
    const char *logprobs_json; /* NULL: none */
    bool refused;
    uint32_t marks_removed;
    int64_t prompt_tokens, completion_tokens; /* of all answers, as in the books */
    struct chat_cited *cited;                 /* CHAT_CITED_MAX of them; NULL until the first */
    size_t n_cited;
    struct chat_call *calls; /* of functions that the caller offered; CHAT_CALLS_MAX; NULL: none */
    size_t n_calls;
    struct fair_seen seen, seen_rewriting;
    struct fair_room room;    /* of the answer being written */
    uint32_t max_tokens;      /* that it was asked for; UINT32_MAX: no such */
    struct chat_choice *over; /* the answers before this one; NULL: none */
    size_t n_over;
    const struct error *failure;  /* never NULL */
    struct answer_record *record; /* NULL until it is written */
};

/* Could body be asked for an answer? false: what is wrong with it was told. */
bool chat_check(struct request *q, const struct json *body, const struct chat_dialect *dialect,
                void *more);
/* Asks for an answer to body. more: of the dialect, in the arena. */
void chat_ask(struct request *q, const struct json *body, const struct chat_dialect *dialect,
              void *more);

extern const struct error chat_no_error;
/* What was searched instead of the question; "": that was. */
static inline const char *chat_rewritten(const struct chat *c)
{
    return c->rewritten == NULL ? "" : c->rewritten->text;
}

/* ---- for dialects ---- */

/* mark: code points of the answer before its first citation. */
bool chat_is_cited(const struct chat *c, size_t number, uint32_t *mark);
/* "citations" and "carrel", inside an open object: which passages are behind the answer, who wrote
 * it, by which way. all: before the end nobody knows what will be cited, then all passages. */
void chat_citations(struct jsonw *w, const struct chat *c, bool all);
void chat_carrel(struct jsonw *w, const struct chat *c, bool last);
/* The calls as an array, as chat completions have them. */
void chat_calls(struct jsonw *w, const struct chat_call *calls, size_t n);
/* "stop", "length" or "tool_calls". */
const char *chat_finish(const struct chat *c);
/* A piece of a stream's body: what generate says waits while the client does not read. Takes b. */
void chat_stream_begin(struct chat *c);
void chat_send(struct chat *c, struct buf *b);
/* The next piece of a call's arguments, in whole characters; false: there is none left. */
bool chat_call_piece(struct str *rest, struct str *piece);

#endif
