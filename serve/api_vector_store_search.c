/* POST /v1/vector_stores/{id}/search.
 *
 * The store -> with filters: rows with attributes (tenant_run), then every document of the
 * collection goes by and those that the filters hold of are noted -> one search a query -> rows of
 * the documents found, and the store is used (tenant_run) -> the answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/api.h"
#include "serve/api_vector_stores.h"
#include "serve/attribute_filter.h"
#include "serve/passage.h"
#include "serve/search_request.h"
#include "serve/tenant_run.h"
#include "serve/vector_store_match.h"

#define QUERIES_MAX 8
#define RESULTS_MAX 50
#define SIFTED_TOP_K 200
#define VALUE_MAX 512 /* bytes of an attribute */

struct found_passage {
    Rt__RankedPassage *ranked;
    struct attached_file row;
    bool has_row;
};

struct searching {
    struct stores stores;
    struct str queries[QUERIES_MAX];
    size_t n_queries, next;
    const struct json *filters; /* NULL: none */
    int64_t results;
    double threshold;
    bool no_rerank;
    struct match match; /* with filters */
    /* found */
    struct found_passage *found;
    size_t n;
    const char *note;
};

/* ---- told ---- */

static void text_attribute(struct jsonw *w, const struct json *own, const char *key,
                           struct str value)
{
    if (!jsonr_has(own, key) && value.len <= VALUE_MAX) {
        jsonw_field_str(w, key, value);
    }
}

static void boxes_attribute(struct jsonw *w, const struct json *own, const Vs__Passage *p)
{
    struct buf b;
    buf_init(&b, 4096);
    for (size_t i = 0; i < p->n_boxes; i++) {
        char one[96];
        const Vs__Box *x = p->boxes[i];
        int n = snprintf(one, sizeof one, "%s%u:%.1f,%.1f,%.1f,%.1f", i == 0 ? "" : ";", x->page,
                         (double)x->x0, (double)x->y0, (double)x->x1, (double)x->y1);
        if (n < 0 || b.len + (size_t)n > VALUE_MAX) {
            break; /* all of them are in "carrel" */
        }
        buf_append(&b, one, (size_t)n);
    }
    if (b.len > 0) {
        text_attribute(w, own, "boxes", buf_view(&b));
    }
    buf_deinit(&b);
}

/* The file's own, then where the passage stands. */
static void attributes(struct jsonw *w, const struct found_passage *f)
{
    const Vs__Passage *p = f->ranked->passage;
    struct json *own = NULL;
    struct error err;
    void *at = NULL;
    struct str key;
    const struct json *value = NULL;
    bool has = f->has_row && jsonr_read(str_from(f->row.attributes), &own, &err) == STATUS_OK;
    jsonw_key(w, "attributes");
    jsonw_open(w, '{');
    while (has && jsonr_next(own, &at, &key, &value)) {
        double d = 0;
        jsonw_key(w, key.ptr);
        if (jsonr_str(value).ptr != NULL) {
            jsonw_str(w, jsonr_str(value));
        } else if (jsonr_kind(value) == JSON_KIND_BOOL) {
            jsonw_bool(w, jsonr_true(value));
        } else if (jsonr_as_number(value, &d)) {
            jsonw_double(w, d);
        } else {
            jsonw_null(w);
        }
    }
    text_attribute(w, own, "collection", str_from(p->collection));
    text_attribute(w, own, "format", str_from(p->format));
    if (p->has_page && p->page > 0 && !jsonr_has(own, "page")) {
        jsonw_field_int(w, "page", p->page);
    }
    boxes_attribute(w, own, p);
    if (!jsonr_has(own, "passage")) {
        hex_field(w, "passage", p->chunk);
    }
    if (!jsonr_has(own, "hash")) {
        hex_field(w, "hash", p->hash);
    }
    jsonw_close(w, '}');
    jsonr_free(own);
}

static void result(struct jsonw *w, const struct found_passage *f)
{
    const Vs__Passage *p = f->ranked->passage;
    jsonw_open(w, '{');
    jsonw_field_z(w, "file_id", f->has_row ? f->row.file : p->document);
    jsonw_key(w, "filename");
    jsonw_path(w, path_name(str_of_bytes(p->path)));
    jsonw_field_double(w, "score", (double)f->ranked->score);
    attributes(w, f);
    jsonw_key(w, "content");
    jsonw_open(w, '[');
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", "text");
    jsonw_field_str(w, "text", str_of_bytes(p->text));
    jsonw_close(w, '}');
    jsonw_close(w, ']');
    jsonw_key(w, "carrel");
    jsonw_open(w, '{');
    hex_field(w, "passage", p->chunk);
    passage_fields(w, p, 0);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static enum status find_rows(sqlite3 *db, void *data, struct error *err)
{
    struct searching *s = data;
    enum status st = stores_touch(db, s->stores.collection, clock_wall_ms(), err);
    for (size_t i = 0; i < s->n && st == STATUS_OK; i++) {
        st = attached_get(db, s->stores.collection, s->found[i].ranked->passage->document,
                          s->stores.q->arena, &s->found[i].row, &s->found[i].has_row, err);
    }
    return st;
}

/* What was asked and what is shown, for the audit. */
static bool note(struct request *q, const struct searching *s)
{
    struct buf asked;
    Rt__RankedPassage **shown = arena_array(q->arena, s->n + 1, sizeof *shown);
    buf_init(&asked, QUERIES_MAX * (SEARCH_QUERY_BYTES_MAX + 1));
    for (size_t i = 0; i < s->n_queries; i++) {
        buf_z(&asked, i == 0 ? "" : "\n");
        buf_str(&asked, s->queries[i]);
    }
    audit_note_question(q, buf_view(&asked));
    buf_deinit(&asked);
    if (shown == NULL) {
        return false;
    }
    for (size_t i = 0; i < s->n; i++) {
        shown[i] = s->found[i].ranked;
    }
    audit_note_passages(q, shown, s->n);
    return true;
}

static void tell(struct request *q, const struct error *err)
{
    const struct searching *s = q->op;
    struct jsonw w;
    if (err->code != STATUS_OK) {
        api_fail(q, err);
        return;
    }
    if (!note(q, s)) {
        api_out_of_memory(q);
        return;
    }
    api_object_begin(q, &w);
    jsonw_field_z(&w, "object", "vector_store.search_results.page");
    jsonw_key(&w, "search_query");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < s->n_queries; i++) {
        jsonw_str(&w, s->queries[i]);
    }
    jsonw_close(&w, ']');
    jsonw_key(&w, "data");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < s->n; i++) {
        result(&w, &s->found[i]);
    }
    jsonw_close(&w, ']');
    jsonw_field_bool(&w, "has_more", false);
    jsonw_field_z(&w, "next_page", NULL);
    if (s->note != NULL) {
        jsonw_key(&w, "carrel");
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "note", s->note);
        jsonw_close(&w, '}');
    }
    api_object_end(q, 200, &w);
}

/* ---- the searches ---- */

static bool passes(const struct searching *s, const char *document)
{
    return s->filters == NULL || match_has(&s->match, document);
}

/* Best first; what two queries find is there once, with the better score. */
static void add(struct searching *s, Rt__RankedPassage *r)
{
    size_t at = s->n;
    if ((double)r->score < s->threshold || !passes(s, r->passage->document)) {
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        ProtobufCBinaryData a = s->found[i].ranked->passage->chunk, b = r->passage->chunk;
        if (a.len == b.len && memcmp(a.data, b.data, a.len) == 0) {
            if (s->found[i].ranked->score >= r->score) {
                return;
            }
            memmove(&s->found[i], &s->found[i + 1], (s->n - i - 1) * sizeof *s->found);
            s->n--;
            at = s->n;
            break;
        }
    }
    while (at > 0 && s->found[at - 1].ranked->score < r->score) {
        at--;
    }
    if (at >= (size_t)s->results) {
        return;
    }
    size_t last = s->n < (size_t)s->results ? s->n : (size_t)s->results - 1;
    memmove(&s->found[at + 1], &s->found[at], (last - at) * sizeof *s->found);
    s->found[at] = (struct found_passage){.ranked = r};
    s->n = last + 1;
}

static void next_query(struct request *q);

static void on_search(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct searching *s = q->op;
    const Rt__SearchReply *r = rt_search_reply(m);
    if (r == NULL) {
        api_fail(q, err);
        return;
    }
    for (size_t i = 0; i < r->n_passages; i++) {
        add(s, r->passages[i]);
    }
    if (r->n_passages > 0) {
        fair_found(q, s->stores.collection);
    }
    if (r->n_notes > 0) {
        s->note = r->notes[0];
    }
    next_query(q);
}

static void next_query(struct request *q)
{
    struct searching *s = q->op;
    Rt__SearchRequest ask = RT__SEARCH_REQUEST__INIT;
    Vs__Filter filter = VS__FILTER__INIT;
    char *collection = pb_text(s->stores.collection);
    char *documents[MATCH_DOCUMENTS_MAX];
    bool sift = s->filters != NULL && s->match.n > MATCH_DOCUMENTS_MAX;
    struct error err;
    if (s->next == s->n_queries || (s->filters != NULL && s->match.n == 0)) {
        if (sift && s->n < (size_t)s->results) {
            s->note = "the filters hold of more than 2048 files: the best 200 passages were sifted";
        }
        tenant_run(q, find_rows, s, tell);
        return;
    }
    if (search_query(s->queries[s->next++], "query", &ask, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    filter.collections = &collection;
    filter.n_collections = 1;
    for (size_t i = 0; s->filters != NULL && !sift && i < s->match.n; i++) {
        documents[i] = s->match.ids[i];
    }
    filter.documents = documents;
    filter.n_documents = s->filters != NULL && !sift ? s->match.n : 0;
    ask.filter = &filter;
    ask.has_top_k = true;
    ask.top_k = sift ? SIFTED_TOP_K : (uint32_t)s->results;
    ask.has_no_rerank = ask.no_rerank = s->no_rerank;
    api_unary(q, PEER_RETRIEVE, &rt_search_method, 0, &ask.base, on_search);
}

/* ---- what came ---- */

static void on_matched(struct request *q, struct match *m)
{
    (void)m;
    next_query(q);
}

static void on_store(struct request *q)
{
    struct searching *s = q->op;
    if (s->stores.n == 0) {
        api_error(q, 404, NULL, "not_found", "There is no such vector store.");
    } else if (store_expired(&s->stores.entries[0].row, clock_wall_ms())) {
        api_error(q, 400, NULL, "expired", "This vector store has expired.");
    } else if (s->filters != NULL) {
        s->match.filters = s->filters;
        s->match.collections[0] = s->stores.collection;
        s->match.n_collections = 1;
        match_run(q, &s->match, on_matched);
    } else {
        next_query(q);
    }
}

static enum status read_queries(const struct json *v, struct searching *s, struct error *err)
{
    size_t n = jsonr_kind(v) == JSON_KIND_ARRAY ? jsonr_len(v) : 1;
    if (n == 0 || n > QUERIES_MAX) {
        return error_set(err, STATUS_INVALID, "query must be a string or an array of at most %d",
                         QUERIES_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        Rt__SearchRequest check = RT__SEARCH_REQUEST__INIT;
        s->queries[i] = jsonr_str(jsonr_kind(v) == JSON_KIND_ARRAY ? jsonr_at(v, i) : v);
        enum status st = search_query(s->queries[i], "query", &check, err);
        if (st != STATUS_OK) {
            return st;
        }
    }
    s->n_queries = n;
    return STATUS_OK;
}

static enum status read_search(const struct json *body, struct searching *s, struct error *err)
{
    const struct json *ranking = jsonr_get(body, "ranking_options");
    struct str ranker;
    bool present = false, rewrite = false;
    enum status st = read_queries(jsonr_get(body, "query"), s, err);
    if (st == STATUS_OK) {
        st = jsonr_int(body, "max_num_results", 1, RESULTS_MAX, 10, &s->results, err);
    }
    if (st == STATUS_OK) { /* searching widens words by itself: there is nothing to rewrite */
        st = jsonr_bool(body, "rewrite_query", false, &rewrite, err);
    }
    if (st == STATUS_OK && ranking != NULL && jsonr_kind(ranking) != JSON_KIND_OBJECT) {
        st = error_set(err, STATUS_INVALID, "ranking_options must be an object");
    }
    if (st == STATUS_OK) {
        st = jsonr_number(ranking, "score_threshold", 0, 1, &present, &s->threshold, err);
    }
    if (st == STATUS_OK) {
        st = jsonr_string(ranking, "ranker", &ranker, err);
        s->no_rerank = st == STATUS_OK && ranker.ptr != NULL && str_eq(ranker, STR("none"));
    }
    s->filters = jsonr_get(body, "filters");
    return st == STATUS_OK && s->filters != NULL ? attribute_filter_check(s->filters, err) : st;
}

static void on_json(struct request *q, const struct json *body)
{
    struct searching *s = arena_alloc(q->arena, sizeof *s);
    struct error err;
    if (s == NULL) {
        api_out_of_memory(q);
        return;
    }
    s->stores.q = q;
    s->stores.attach.fd = -1;
    s->stores.collection = stores_collection(q);
    s->found = arena_array(q->arena, RESULTS_MAX + 1, sizeof *s->found);
    if (s->stores.collection == NULL || s->found == NULL) {
        api_error(q, 404, NULL, "not_found", "There is no such vector store.");
        return;
    }
    if (read_search(body, s, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    q->op = s;
    stores_survey(q, on_store);
}

void api_vector_store_search(struct request *q)
{
    api_read_json(q, on_json);
}
