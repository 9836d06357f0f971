#include "serve/search_request.h"

#include "serve/request.h"

enum status search_query(struct str query, const char *param, Rt__SearchRequest *out,
                         struct error *err)
{
    bool blank = true;
    for (size_t i = 0; blank && i < query.len; i++) {
        blank = (unsigned char)query.ptr[i] <= 0x20;
    }
    if (blank) {
        return error_set(err, STATUS_INVALID, "%s must be a string that is not empty", param);
    }
    if (query.len > SEARCH_QUERY_BYTES_MAX) {
        return error_set(err, STATUS_INVALID, "%s must not be longer than %zu bytes", param,
                         SEARCH_QUERY_BYTES_MAX);
    }
    out->query = pb_bytes(query);
    return STATUS_OK;
}

void search_models(struct jsonw *w, const Rt__SearchReply *reply)
{
    jsonw_field_z(w, "encoder", reply->encoder);
    if (reply->encoder_model != NULL) {
        jsonw_field_z(w, "encoder_model", reply->encoder_model);
    }
    if (reply->reranker != NULL) {
        jsonw_field_z(w, "reranker", reply->reranker);
        jsonw_field_z(w, "reranker_model", reply->reranker_model);
        jsonw_field_int(w, "reranked", reply->reranked);
    }
}
