/* GET /api/shared/{token}, in the order things happen:
 *
 *   api_shared      the token's hash is looked up in the caller's own tenant
 *   on_documents    which documents the answers were made from
 *   ask_next        each is asked for at the store, as this caller: may he read it?
 *   on_document     the last: what he may see is read
 *
 * Whoever may not read a document is told as much as of one that does not exist. */
#include <string.h>

#include "base/hash.h"
#include "serve/api.h"
#include "serve/api_conversations.h"
#include "serve/http/jsonw.h"
#include "serve/service.h"
#include "vectorstore/vectorstore_rpc.h"

struct viewing {
    struct conversation_call *call;
    char *documents; /* one a line, in the arena */
    char *at;        /* the next one */
    const char *now; /* the one that is asked for */
    struct jsonw w;  /* the readable ones, to the request's buffer */
};

static void tell_shared(struct conversation_call *c)
{
    http_header(c->q->http, "Cache-Control", "no-store");
    api_json(c->q, 200, &c->out);
}

static void ask_next(struct request *q);

static void read_it(struct viewing *v)
{
    struct conversation_call *c = v->call;
    struct request *q = c->q;
    jsonw_close(&v->w, ']');
    char *list =
        buf_status(&q->out) == STATUS_OK ? arena_strndup(q->arena, q->out.ptr, q->out.len) : NULL;
    if (list == NULL) {
        api_out_of_memory(q);
        return;
    }
    c->ask.readable = list;
    buf_init(&c->out, CONVERSATION_JSON_MAX);
    conversation_run(c, share_read, tell_shared);
}

static void on_document(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct viewing *v = q->op;
    const Vs__GetDocumentReply *reply = vs_get_document_reply(m);
    if (reply == NULL && err->code != STATUS_NOT_FOUND && err->code != STATUS_FORBIDDEN) {
        api_fail(q, err); /* not to know is not to may */
        return;
    }
    const Vs__DocumentInfo *d = reply == NULL ? NULL : reply->document;
    if (d != NULL && !(d->location->has_excluded && d->location->excluded)) {
        jsonw_str(&v->w, str_from(v->now));
    }
    ask_next(q);
}

static void ask_next(struct request *q)
{
    struct viewing *v = q->op;
    char *end = strchr(v->at, '\n');
    if (end == NULL) {
        read_it(v);
        return;
    }
    Vs__GetDocumentRequest ask = VS__GET_DOCUMENT_REQUEST__INIT;
    *end = '\0';
    v->now = v->at;
    ask.document = v->at;
    v->at = end + 1;
    api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &ask.base, on_document);
}

static void on_documents(struct conversation_call *c)
{
    struct request *q = c->q;
    struct viewing *v = arena_alloc(q->arena, sizeof *v);
    if (v != NULL) {
        *v = (struct viewing){.call = c};
        v->documents = arena_strndup(q->arena, c->out.ptr == NULL ? "" : c->out.ptr, c->out.len);
    }
    if (v == NULL || v->documents == NULL) {
        api_out_of_memory(q);
        return;
    }
    v->at = v->documents;
    jsonw_init(&v->w, &q->out);
    jsonw_open(&v->w, '[');
    q->op = v;
    buf_deinit(&c->out);
    ask_next(q);
}

void api_shared(struct request *q)
{
    struct str token = q->match.params[0];
    uint8_t secret[SHA256_BYTES];
    char text[SHARE_TOKEN_CAP];
    bool form = token.len == SHARE_TOKEN_CAP - 1;
    if (form) {
        memcpy(text, token.ptr, token.len);
        text[token.len] = '\0';
        form = sha256_parse(text, secret);
    }
    if (!form) {
        api_error(q, 404, NULL, "not_found", "There is no such link here.");
        return;
    }
    struct conversation_call *c = conversation_call(q, CONVERSATION_JSON_MAX);
    if (c != NULL) {
        sha256_of(token.ptr, token.len, c->ask.hash);
        conversation_run(c, share_documents, on_documents);
    }
}
