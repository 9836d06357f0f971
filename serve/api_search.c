/* POST /api/search: passages with the reasons for their rank. POST /api/explain: the same, and what
 * each word of the question added; with a document, why it is not among them. */
#include <stdlib.h>

#include "base/clock.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/api.h"
#include "serve/chat_request.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_filter.h"
#include "serve/search_request.h"
#include "serve/service.h"

/* What each word adds, as a share of all that the words add. */
static void uses(struct jsonw *w, Vs__WordUse *const *list, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += list[i]->part;
    }
    jsonw_key(w, "uses");
    jsonw_open(w, '[');
    for (size_t i = 0; i < n; i++) {
        const Vs__WordUse *u = list[i];
        jsonw_open(w, '{');
        jsonw_field_z(w, "word", u->word);
        jsonw_field_int(w, "in_text", u->in_text);
        jsonw_field_bool(w, "in_title", u->in_title);
        jsonw_field_double(w, "share", sum > 0 ? (double)(u->part / sum) : 0);
        jsonw_field_bool(w, "function_word", u->function_word);
        if (u->earlier) {
            jsonw_field_bool(w, "earlier", true);
        }
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void why(struct jsonw *w, const Rt__Why *y)
{
    jsonw_key(w, "why");
    jsonw_open(w, '{');
    if (y->has_text_rank) {
        jsonw_field_int(w, "text_rank", y->text_rank);
        jsonw_field_double(w, "text_score", (double)y->text_score);
        jsonw_field_double(w, "words", (double)y->words);
        jsonw_field_double(w, "proximity", (double)y->proximity);
        jsonw_field_double(w, "char4", (double)y->char4);
    }
    if (y->has_dense_rank) {
        jsonw_field_int(w, "dense_rank", y->dense_rank);
        jsonw_field_double(w, "dense_score", (double)y->dense_score);
    }
    jsonw_field_double(w, "fused", (double)y->fused);
    if (y->has_rerank_score) {
        jsonw_field_double(w, "rerank_score", (double)y->rerank_score);
        jsonw_field_int(w, "rank_before", y->rank_before);
    }
    if (y->n_folded > 0) {
        jsonw_key(w, "folded");
        jsonw_open(w, '[');
        for (size_t i = 0; i < y->n_folded; i++) {
            jsonw_str(w, str_from(y->folded[i]));
        }
        jsonw_close(w, ']');
    }
    if (y->n_uses > 0) {
        uses(w, y->uses, y->n_uses);
    }
    jsonw_close(w, '}');
}

static void strings(struct jsonw *w, const char *key, char *const *items, size_t n)
{
    if (n > 0) {
        jsonw_key(w, key);
        jsonw_open(w, '[');
        for (size_t i = 0; i < n; i++) {
            jsonw_str(w, str_from(items[i]));
        }
        jsonw_close(w, ']');
    }
}

static void interpreted(struct jsonw *w, const Rt__Interpreted *i)
{
    jsonw_key(w, "interpreted");
    jsonw_open(w, '{');
    jsonw_key(w, "text");
    jsonw_str(w, (struct str){(const char *)i->text.data, i->text.len});
    strings(w, "phrases", i->phrases, i->n_phrases);
    strings(w, "excluded", i->excluded, i->n_excluded);
    strings(w, "in_title", i->in_title, i->n_in_title);
    strings(w, "filters", i->filters, i->n_filters);
    jsonw_close(w, '}');
}

static void similar(struct jsonw *w, const Rt__SearchReply *reply)
{
    jsonw_key(w, "similar");
    jsonw_open(w, '[');
    for (size_t i = 0; i < reply->n_similar; i++) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "word", reply->similar[i]->word);
        strings(w, "tried", reply->similar[i]->tried, reply->similar[i]->n_tried);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void why_not(struct jsonw *w, const Rt__WhyNot *n)
{
    jsonw_key(w, "why_not");
    jsonw_open(w, '{');
    jsonw_field_bool(w, "known", n->known);
    jsonw_field_int(w, "candidates", n->candidates);
    strings(w, "filtered", n->filtered, n->n_filtered);
    if (n->has_shown_rank) {
        jsonw_field_int(w, "shown_rank", n->shown_rank);
    }
    if (n->has_dense_rank) {
        jsonw_field_int(w, "dense_rank", n->dense_rank);
    }
    if (n->best != NULL) {
        const Vs__Explained *e = n->best;
        jsonw_key(w, "best");
        jsonw_open(w, '{');
        jsonw_key(w, "passage");
        jsonw_str(w, (struct str){(const char *)e->chunk.data, e->chunk.len});
        if (e->has_rank) {
            jsonw_field_int(w, "text_rank", e->rank);
            jsonw_field_double(w, "text_score", (double)e->score);
        }
        jsonw_field_double(w, "words", (double)e->words);
        jsonw_field_double(w, "words_needed", (double)n->last_words);
        uses(w, e->uses, e->n_uses);
        jsonw_close(w, '}');
    }
    jsonw_close(w, '}');
}

static void on_found(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Rt__SearchReply *reply = rt_search_reply(m);
    struct jsonw w;
    if (!api_object(q, reply, err, &w)) {
        return;
    }
    audit_note_passages(q, reply->passages, reply->n_passages);
    jsonw_key(&w, "passages");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < reply->n_passages; i++) {
        jsonw_open(&w, '{');
        passage_fields(&w, reply->passages[i]->passage, 0);
        fair_found(q, reply->passages[i]->passage->collection);
        jsonw_field_double(&w, "score", (double)reply->passages[i]->score);
        why(&w, reply->passages[i]->why);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_key(&w, "notes");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < reply->n_notes; i++) {
        jsonw_str(&w, str_from(reply->notes[i]));
    }
    jsonw_close(&w, ']');
    if (reply->interpreted != NULL) {
        interpreted(&w, reply->interpreted);
    }
    if (reply->n_similar > 0) {
        similar(&w, reply);
    }
    if (reply->why_not != NULL) {
        why_not(&w, reply->why_not);
    }
    jsonw_field_int(&w, "matched", reply->matched);
    jsonw_field_double(&w, "upper_bound_share", (double)reply->upper_bound_share);
    search_models(&w, reply);
    jsonw_field_int(&w, "took_ms", clock_monotonic_ms() - q->http->started_ms);
    api_object_end(q, 200, &w);
}

static enum status read_mode(struct str mode, Rt__SearchRequest *out, struct error *err)
{
    static const struct {
        const char *name;
        Rt__SearchRequest__Mode mode;
    } modes[] = {
        {"default", RT__SEARCH_REQUEST__MODE__DEFAULT},
        {"bm25", RT__SEARCH_REQUEST__MODE__PLAIN_BM25},
        {"dense", RT__SEARCH_REQUEST__MODE__DENSE},
        {"text", RT__SEARCH_REQUEST__MODE__TEXT},
    };
    for (size_t i = 0; mode.ptr != NULL && i < sizeof modes / sizeof modes[0]; i++) {
        if (str_eq(mode, str_from(modes[i].name))) {
            out->has_mode = true;
            out->mode = modes[i].mode;
            return STATUS_OK;
        }
    }
    return mode.ptr == NULL
               ? STATUS_OK
               : error_set(err, STATUS_INVALID, "mode must be default, bm25, dense or text");
}

/* A conversation's search is told as chat asks it: the turns before, and the question rewritten. */
static enum status read_conversation(struct request *q, const struct json *body,
                                     Rt__SearchRequest *out, struct error *err)
{
    const struct json *list = jsonr_get(body, "earlier");
    struct str rewritten;
    size_t n = list == NULL ? 0 : jsonr_len(list);
    enum status s = jsonr_string(body, "rewritten", &rewritten, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (list != NULL && (jsonr_kind(list) != JSON_KIND_ARRAY || n > CHAT_EARLIER_MAX)) {
        return error_set(err, STATUS_INVALID, "earlier must be an array of at most %d strings",
                         CHAT_EARLIER_MAX);
    }
    out->earlier = arena_array(q->arena, n + 1, sizeof *out->earlier);
    if (out->earlier == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        struct str turn = jsonr_str(jsonr_at(list, i));
        if (turn.ptr == NULL || turn.len > SEARCH_QUERY_BYTES_MAX) {
            return error_set(err, STATUS_INVALID,
                             "earlier[%zu] must be a string of at most %zu bytes", i,
                             SEARCH_QUERY_BYTES_MAX);
        }
        out->earlier[out->n_earlier++] = pb_bytes(turn);
    }
    if (rewritten.len > SEARCH_QUERY_BYTES_MAX) {
        return error_set(err, STATUS_INVALID, "rewritten must not be longer than %zu bytes",
                         SEARCH_QUERY_BYTES_MAX);
    }
    out->has_rewritten = rewritten.ptr != NULL && rewritten.len > 0;
    out->rewritten = pb_bytes(rewritten);
    return STATUS_OK;
}

enum status api_search_read(struct request *q, const struct json *body, Rt__SearchRequest *out,
                            struct error *err)
{
    struct str query;
    struct str mode;
    int64_t top_k;
    int64_t widen;
    bool fold;
    bool rerank;
    bool any;
    Vs__Filter *filter = arena_alloc(q->arena, sizeof *filter);
    if (filter == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = jsonr_string(body, "query", &query, err);
    if (s == STATUS_OK) {
        s = search_query(query, "query", out, err);
    }
    if (s == STATUS_OK) {
        audit_note_question(q, query);
    }
    if (s == STATUS_OK) {
        s = read_conversation(q, body, out, err);
    }
    if (s == STATUS_OK) {
        s = search_filter(body, q->arena, filter, &any, err);
    }
    if (s == STATUS_OK) {
        out->filter = any ? filter : NULL;
        s = jsonr_int(body, "top_k", 1, SEARCH_TOP_K_MAX, 0, &top_k, err);
    }
    if (s == STATUS_OK) {
        out->has_top_k = top_k > 0;
        out->top_k = (uint32_t)top_k;
        s = jsonr_int(body, "widen", 0, 3, 0, &widen, err);
    }
    if (s == STATUS_OK) {
        out->has_widen = widen > 0;
        out->widen = (uint32_t)widen;
        s = jsonr_bool(body, "fold", true, &fold, err);
    }
    if (s == STATUS_OK) {
        out->has_no_fold = !fold;
        out->no_fold = !fold;
        s = jsonr_bool(body, "rerank", true, &rerank, err);
    }
    if (s == STATUS_OK) {
        out->has_no_rerank = !rerank;
        out->no_rerank = !rerank;
        s = jsonr_string(body, "mode", &mode, err);
    }
    return s == STATUS_OK ? read_mode(mode, out, err) : s;
}

static void on_json(struct request *q, const struct json *body)
{
    Rt__SearchRequest ask = RT__SEARCH_REQUEST__INIT;
    struct error err;
    if (api_search_read(q, body, &ask, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    api_unary(q, PEER_RETRIEVE, &rt_search_method, 0, &ask.base, on_found);
}

static void on_explain_json(struct request *q, const struct json *body)
{
    Rt__SearchRequest ask = RT__SEARCH_REQUEST__INIT;
    struct error err;
    struct str document;
    enum status s = api_search_read(q, body, &ask, &err);
    if (s == STATUS_OK) {
        s = jsonr_string(body, "document", &document, &err);
    }
    if (s == STATUS_OK && document.ptr != NULL && (document.len == 0 || document.len > 64)) {
        s = error_set(&err, STATUS_INVALID, "document must be a document's id");
    }
    if (s != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    ask.has_explain = ask.explain = true;
    ask.why_not = pb_text(document.ptr);
    api_unary(q, PEER_RETRIEVE, &rt_search_method, 0, &ask.base, on_found);
}

void api_explain(struct request *q)
{
    api_read_json(q, on_explain_json);
}

void api_search(struct request *q)
{
    api_read_json(q, on_json);
}
