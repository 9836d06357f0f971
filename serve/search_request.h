/* What /api/search and chat both put into retrieve.Search. */
#ifndef CARREL_SERVE_SEARCH_REQUEST_H
#define CARREL_SERVE_SEARCH_REQUEST_H

#include "base/arena.h"
#include "retrieve.pb-c.h"
#include "serve/http/jsonw.h"
#include "serve/json.h"

struct request;

#define SEARCH_QUERY_BYTES_MAX ((size_t)32 * 1024)
#define SEARCH_TOP_K_MAX 200

/* Borrows query. `param` is used in messages. */
enum status search_query(struct str query, const char *param, Rt__SearchRequest *out,
                         struct error *err) MUST_CHECK;

/* api_search.c: a search as POST /api/search has it. Lives in q's arena and in body. */
enum status api_search_read(struct request *q, const struct json *body, Rt__SearchRequest *out,
                            struct error *err) MUST_CHECK;

/* protobuf-c's fields are not const, but packing only reads them. */
static inline char *pb_text(const char *z)
{
    union {
        const char *in;
        char *out;
    } u = {.in = z};
    return u.out;
}

static inline ProtobufCBinaryData pb_bytes(struct str s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(void *)pb_text(s.ptr)};
}

/* Which encoder and reranker searched: encoder, encoder_model, reranker, reranker_model, reranked.
 */
void search_models(struct jsonw *w, const Rt__SearchReply *reply);

#endif
