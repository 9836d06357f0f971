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
