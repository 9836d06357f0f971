/* The context of one API call: who asks, for what, and the calls to other services it has in
 * flight. Lives in the HTTP request's arena; ends with it. When the client goes away, or the
 * deadline passes, the calls in flight are cancelled and on_gone runs. */
#ifndef CARREL_SERVE_REQUEST_H
#define CARREL_SERVE_REQUEST_H

#include "base/service.h"
#include "serve/audit/gate.h"
#include "serve/auth.h"
#include "serve/http/http.h"
#include "serve/http/jsonw.h"
#include "serve/http/router.h"
#include "serve/json.h"
#include "serve/precondition.h"
#include "serve/share.h"
#include "serve/usage/fair.h"

#define JSON_TYPE "application/json; charset=utf-8"
#define REQUEST_CALLS_MAX 8

struct serve; /* serve/service.h */
struct job;   /* serve/jobs.h */
struct match; /* serve/vector_store_match.h */

/* A call in flight. Its functions get the request; on_reply may be NULL. */
struct api_call {
    struct request *q;
    struct rpc_request *r; /* NULL: free */
    void (*on_reply)(struct request *q, const ProtobufCMessage *m);
    void (*on_ready)(struct request *q);
    void (*on_finish)(struct request *q, const struct error *err);
    /* api_unary's */
    void (*done)(struct request *q, const ProtobufCMessage *reply, const struct error *err);
    const ProtobufCMessage *kept;
    bool lost; /* there was no memory for the copy */
    struct api_call *next;
};

struct request {
    struct http_request *http;
    struct serve *serve;
    struct arena *arena; /* http's */
    struct route_match match;
    struct principal *who;         /* NULL on open routes */
    const struct session *session; /* NULL: by key, or open */
    bool https;           /* the one who asks speaks TLS, with us or with a proxy of ours */
    const uint8_t *token; /* the signed caller */
    size_t token_len;
    const struct principal *refused; /* whose key it is that may not be used now */
    struct match *narrowed;          /* a chat searches these documents only; NULL: all */
    struct job *job;                 /* jobs.h: it runs as one; NULL: it has a client */
    const char *answer_id;           /* what its answer is to be called; NULL: as it comes */
    struct json *body;               /* freed with the request */
    struct json *translated;         /* the body in another API's words; likewise */
    struct buf out;                  /* an answer being put together; freed with the request */
    struct api_call *calls;          /* at most REQUEST_CALLS_MAX; in the arena */
    struct effort effort;            /* processor time: ours and that of the services asked */
    struct fair_use use;             /* limits it counts for, and what it used */
    struct share_place place;        /* where tenants take turns */
    void (*in_turn)(struct request *q);
    struct write_turn *turn; /* among the writes to its address; NULL: it is none */
    struct audit_call audit; /* what its record says; serve/audit/gate.h */
    void *op;                /* the handler's state, in the arena */
    void (*on_gone)(
        struct request *q); /* calls are cancelled already; free what the arena does not hold */
};

/* api_session.c: the browser gets this session's cookie with the answer to come */
void api_session_cookie(struct request *q, const char *token);
/* api_keys.c: what keys were used goes to the database now and then */
void api_note_uses(struct serve *s);

/* dispatch.c: 403, with what is missing: the role, or a scope of the key */
void api_refuse(struct request *q, unsigned roles, unsigned scopes);
/* The loop works for this request between these; it may end meanwhile. */
void api_work_begin(struct request *q, struct effort_use *u);
void api_work_end(struct effort_use *u);
/* work.c: op, of the arena, on a lane of serve's, then `done` on the loop, also when the client has
 * gone meanwhile (http_request_gone): what the database has got counts. err: what work gave. BUSY
 * is answered here.
 */
struct lane;
void api_on_lane(struct request *q, struct lane *lane, void *op,
                 enum status (*work)(void *op, struct error *err),
                 void (*done)(struct request *q, const struct error *err));

/* request.c */
struct request *api_request_new(struct serve *s, struct http_request *http);
/* Starts a call as this caller. NULL: an error was answered. timeout 0: the method's, but never
 * longer than the request has left. */
struct rpc_request *api_start(struct request *q, enum peer target, const struct rpc_method *method,
                              uint32_t timeout_ms, const ProtobufCMessage *first,
                              const struct api_call *how);
void api_cancel_calls(struct request *q);
/* Cancels one of them. */
void api_cancel_forget(struct request *q, struct rpc_request *r);

/* go when it is this tenant's turn (share.h): now, or later while the client waits. The turn ends
 * with share_leave, or with the answer. Where the line is full 429 is answered here; a job asks
 * again each second instead. */
void api_in_turn(struct request *q, void (*go)(struct request *q));

/* A unary call: `done` gets the reply (a copy in the arena), or NULL and the error. */
typedef void (*api_done_fn)(struct request *q, const ProtobufCMessage *reply,
                            const struct error *err);
void api_unary(struct request *q, enum peer target, const struct rpc_method *method,
               uint32_t timeout_ms, const ProtobufCMessage *first, api_done_fn done);

/* Answers: each ends the request. Never from on_reply: the call is still in flight there. */
void api_json(struct request *q, int status, struct buf *body); /* takes body */
void api_object_begin(struct request *q, struct jsonw *w);      /* api_object's */
void api_object_end(struct request *q, int status, struct jsonw *w);
/* {"id", "object", "deleted": true}, as OpenAI answers a DELETE. */
void api_deleted(struct request *q, const char *object, const char *id);
/* A refusal at the door is counted for the audit (audit/refused.h); api_error does so by itself. */
void api_note_refusal(struct request *q, int status, const char *code);
void api_error(struct request *q, int status, const char *param, const char *code,
               const char *message);
/* An error of another service or of our own code, in words, with Retry-After where it helps. */
void api_fail(struct request *q, const struct error *err);
/* The answer as one JSON object, for an api_done_fn: w is open inside it. false: reply is NULL, and
 * the error was told. */
static inline bool api_object(struct request *q, const void *reply, const struct error *err,
                              struct jsonw *w)
{
    if (reply == NULL) {
        api_fail(q, err);
        return false;
    }
    api_object_begin(q, w);
    return true;
}
void api_out_of_memory(struct request *q);
/* "key": a mean and the ends of its 95 % interval. */
void api_interval(struct jsonw *w, const char *key, double mean, double low, double high);

/* Is the caller an administrator of the tenant whose administrators run the appliance? What
 * services tell of their work names files, addresses and tenants: it is for them. */
#define API_OPERATORS "main"
bool api_runs_appliance(const struct request *q);
/* The same, or a machine of that tenant whose key has the scope monitor. */
bool api_watches_appliance(const struct request *q);

/* Reads the body as a JSON object, then calls `then`; answers 400, 413 or 415 by itself. */
void api_read_json(struct request *q, void (*then)(struct request *q, const struct json *body));
/* A decoded query parameter as text without NUL, or NULL when absent. False: 400 was answered. */
bool api_query(struct request *q, const char *name, const char **out);
/* The same for a whole number from 1 to max; *has false: it is not there. */
bool api_query_number(struct request *q, const char *name, uint64_t max, bool *has, uint64_t *out);
/* The id in the path, checked for form; NULL: 404 was answered. */
const char *api_id(struct request *q, size_t param);
/* Names of collections and the like: 1..max bytes, no control characters. */
bool api_name_ok(struct str s, size_t max);

#endif
