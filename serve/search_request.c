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

enum status search_collections(const struct json *names, struct arena *a, Rt__SearchRequest *out,
                               struct error *err)
{
    if (names == NULL) {
        return STATUS_OK;
    }
    size_t n = jsonr_len(names);
    if (jsonr_kind(names) != JSON_KIND_ARRAY || n > SEARCH_COLLECTIONS_MAX) {
        return error_set(err, STATUS_INVALID, "collections must be an array of at most %d names",
                         SEARCH_COLLECTIONS_MAX);
    }
    char **list = arena_array(a, n + 1, sizeof *list);
    if (list == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        struct str name = jsonr_str(jsonr_at(names, i));
        if (!api_name_ok(name, 255)) {
            return error_set(err, STATUS_INVALID, "collections[%zu] is not a collection's name", i);
        }
        list[i] = pb_text(name.ptr); /* jansson's strings end in NUL */
    }
    out->collections = list;
    out->n_collections = n;
    return STATUS_OK;
}
