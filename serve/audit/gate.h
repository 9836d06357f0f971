/* Nothing is shown, and nothing is done by an administrator, that is not in the audit first. The
 * dispatcher begins each call here; every answer passes the gate (http.h) on its way out.
 *
 *   most calls    the record "open" (of an administrative act: "act") is durable before the handler
 *                 runs, "close" before the answer leaves, or the last piece of a stream
 *   searches      what they found stands in the record, so both are written when the answer is
 * ready chats         chat.c opens when the route is known and closes when the answer is complete
 *   left out      what shows no document and no use by anyone: gate.c has the list, with the reason
 *
 * If a record cannot be written the client gets 503 instead. Loop thread. */
#ifndef CARREL_SERVE_AUDIT_GATE_H
#define CARREL_SERVE_AUDIT_GATE_H

#include "base/hash.h"
#include "base/str.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/audit/audit.h"

struct request;
struct http_request;

/* Part of each request. The texts live in its arena. */
struct audit_call {
    enum {
        AUDIT_CALL_NONE,    /* not audited */
        AUDIT_CALL_NEW,     /* nothing is written */
        AUDIT_CALL_OPENING, /* "open" is on its way */
        AUDIT_CALL_OPEN,
        AUDIT_CALL_CLOSING,
        AUDIT_CALL_CLOSED,
    } state;
    bool late; /* opened with the answer, or by the handler */
    char id[ID_CAP];
    int status; /* of the answer that waits */
    int64_t started_ms;
    void (*then)(struct request *q, const struct error *err); /* a handler's, after open or close */
    /* for "open" */
    struct str question;
    const char *asked_model;
    const char *passages;  /* JSON array */
    const char *documents; /* ids, each ended by NUL */
    size_t documents_len, n_documents, n_passages;
    const char
        *linked;       /* what its texts go with besides: audit_link_conversations; NULL: nothing */
    const char *label; /* the strictest */
    const char *route; /* JSON object */
    const char *verdict, *rule, *engine, *model, *model_sha256, *model_version;
    const char *masks;  /* of a prompt that left: what of the conversation stayed, or "none" */
    const char *search; /* JSON object */
    /* for "close"; outcome NULL: told from the status */
    const char *outcome;
    struct str answer;
    const char *cited, *calls, *error;
    const char *details; /* JSON: of an administrative act */
    int64_t search_ms, first_ms, prompt_tokens, completion_tokens, marks_removed, masked;
};

/* ---- dispatch.c ---- */
/* The route is known, and the caller may call it: runs the handler, at once or when the record is
 * durable. */
void audit_begin(struct request *q);
/* The same of a request without a connection (jobs.h), whose handler writes at the end. */
void audit_begin_job(struct request *q, void (*handler)(struct request *q));
/* The request is over, however it ended; status 0: the client left. */
void audit_over(struct request *q, int status);

/* ---- for handlers ---- */
void audit_note_question(struct request *q, struct str question);
void audit_note_passages(struct request *q, Rt__RankedPassage *const *found, size_t n);
/* Its texts go when that user's conversations are erased, where audit.conversations says so. */
void audit_link_conversations(struct request *q);
/* A document that the answer was made from. */
void audit_note_document(struct request *q, const char *id);
/* A handler that writes its own records (chat.c): then runs once, later; err: 503 is to be told. */
void audit_open_now(struct request *q, void (*then)(struct request *q, const struct error *err));
void audit_close_now(struct request *q, void (*then)(struct request *q, const struct error *err));

#endif
