/* GET /api/facets: how many documents the caller may find, by collection, label, tag, language,
 * format, author and year; the same filter as a search's, in the query. GET
 * /api/documents/{id}/versions: what is kept of a document's past. */
#include <string.h>

#include "serve/api.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_filter.h"
#include "serve/search_request.h"
#include "vectorstore/vectorstore_rpc.h"

static void counts(struct jsonw *w, const char *key, Vs__FacetCount *const *list, size_t n)
{
    jsonw_key(w, key);
    jsonw_open(w, '[');
    for (size_t i = 0; i < n; i++) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "value", list[i]->value);
        jsonw_field_int(w, "documents", list[i]->documents);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void on_facets(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__FacetsReply *r = vs_facets_reply(m);
    struct jsonw w;
    if (!api_object(q, r, err, &w)) {
        return;
    }
    jsonw_field_int(&w, "documents", r->documents);
    counts(&w, "collections", r->collections, r->n_collections);
    counts(&w, "labels", r->labels, r->n_labels);
    counts(&w, "tags", r->tags, r->n_tags);
    counts(&w, "languages", r->languages, r->n_languages);
    counts(&w, "formats", r->formats, r->n_formats);
    counts(&w, "years", r->years, r->n_years);
    counts(&w, "authors", r->authors, r->n_authors);
    api_object_end(q, 200, &w);
}

struct one_value {
    char *text;
    char **list;
    size_t n;
};

/* One value of a kind in the query; false: an error was answered. */
static bool read_value(struct request *q, const char *name, struct one_value *v, char ***list,
                       size_t *n)
{
    const char *text = NULL;
    if (!api_query(q, name, &text)) {
        return false;
    }
    v->text = pb_text(text);
    if (text != NULL) {
        *list = &v->text;
        *n = 1;
    }
    return true;
}

static bool read_date(struct request *q, const char *name, bool end, protobuf_c_boolean *has,
                      int64_t *out)
{
    const char *text = NULL;
    if (!api_query(q, name, &text)) {
        return false;
    }
    *has = text != NULL && date_read(text, end, out);
    if (text != NULL && !*has) {
        api_error(q, 400, name, "invalid", "a date is written 2026-09-30 or 2026-09-30T12:00:00Z");
        return false;
    }
    return true;
}

void api_facets(struct request *q)
{
    Vs__FacetsRequest ask = VS__FACETS_REQUEST__INIT;
    Vs__Filter f = VS__FILTER__INIT;
    struct one_value values[6] = {{0}};
    if (read_value(q, "collection", &values[0], &f.collections, &f.n_collections) &&
        read_value(q, "label", &values[1], &f.labels, &f.n_labels) &&
        read_value(q, "tag", &values[2], &f.tags, &f.n_tags) &&
        read_value(q, "language", &values[3], &f.languages, &f.n_languages) &&
        read_value(q, "format", &values[4], &f.formats, &f.n_formats) &&
        read_value(q, "author", &values[5], &f.authors, &f.n_authors) &&
        read_date(q, "from", false, &f.has_from_ms, &f.from_ms) &&
        read_date(q, "until", true, &f.has_until_ms, &f.until_ms) &&
        read_date(q, "as_of", true, &f.has_as_of_ms, &f.as_of_ms)) {
        ask.filter = &f;
        api_unary(q, PEER_VECTORSTORE, &vs_facets_method, 0, &ask.base, on_facets);
    }
}

/* ---- versions ---- */

static void on_versions(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__ListVersionsReply *r = vs_list_versions_reply(m);
    struct jsonw w;
    if (!api_object(q, r, err, &w)) {
        return;
    }
    jsonw_key(&w, "versions");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < r->n_versions; i++) {
        const Vs__Version *v = r->versions[i];
        char hex[SHA256_HEX_CAP] = "";
        if (v->hash.len == SHA256_BYTES) {
            sha256_hex(v->hash.data, hex);
        }
        jsonw_open(&w, '{');
        jsonw_field_int(&w, "from", v->valid_from_ms / 1000);
        if (v->has_valid_to_ms) {
            jsonw_field_int(&w, "until", v->valid_to_ms / 1000);
        }
        jsonw_key(&w, "path");
        jsonw_path(&w, str_of_bytes(v->path));
        jsonw_field_z(&w, "hash", hex);
        jsonw_field_z(&w, "collection", v->collection);
        if (v->title != NULL) {
            jsonw_field_z(&w, "title", v->title);
        }
        jsonw_field_bool(&w, "stored", v->stored);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    api_object_end(q, 200, &w);
}

void api_document_versions(struct request *q)
{
    Vs__ListVersionsRequest ask = VS__LIST_VERSIONS_REQUEST__INIT;
    const char *id = api_id(q, 0);
    if (id != NULL) {
        ask.document = pb_text(id);
        api_unary(q, PEER_VECTORSTORE, &vs_list_versions_method, 0, &ask.base, on_versions);
    }
}
