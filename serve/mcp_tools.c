/* What agents can do here: search, read, list, ask. */
#include <string.h>

#include "serve/chat.h"
#include "serve/mcp.h"
#include "serve/passage.h"
#include "serve/search_request.h"
#include "vectorstore/vectorstore_rpc.h"

#define PASSAGE_ID_MAX 64 /* bytes */

/* "handbook.pdf, page 3, Leave > Parental leave" */
static void place(struct buf *text, const Vs__Passage *p)
{
    struct buf path;
    struct jsonw w;
    buf_init(&path, 65536);
    jsonw_init(&w, &path);
    jsonw_path(&w, str_of_bytes(p->path));
    if (buf_status(&path) == STATUS_OK && path.len >= 2) {
        buf_append(text, path.ptr + 1, path.len - 2);
    }
    buf_deinit(&path);
    if (p->has_page && p->page > 0) {
        buf_printf(text, ", page %u", (unsigned)p->page);
    }
    if (p->heading_path != NULL && p->heading_path[0] != '\0') {
        buf_printf(text, ", %s", p->heading_path);
    }
}

static void passage(struct jsonw *w, struct buf *text, const Vs__Passage *p)
{
    hex_field(w, "passage", p->chunk);
    passage_fields(w, p, 0);
    place(text, p);
    buf_z(text, "\n");
    buf_str(text, str_of_bytes(p->text));
    buf_z(text, "\n\n");
}

/* ---- search ---- */

static void on_found(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Rt__SearchReply *reply = rt_search_reply(m);
    struct jsonw w;
    struct buf text;
    if (!mcp_begin(q, reply, err, &w, &text)) {
        return;
    }
    audit_note_passages(q, reply->passages, reply->n_passages);
    jsonw_key(&w, "passages");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < reply->n_passages; i++) {
        jsonw_open(&w, '{');
        buf_printf(&text, "[%zu] ", i + 1);
        passage(&w, &text, reply->passages[i]->passage);
        fair_found(q, reply->passages[i]->passage->collection);
        jsonw_field_double(&w, "score", (double)reply->passages[i]->score);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    for (size_t i = 0; i < reply->n_notes; i++) {
        buf_printf(&text, "%s\n", reply->notes[i]);
    }
    if (reply->n_passages == 0) {
        buf_z(&text, "Nothing was found.");
    }
    mcp_end(q, &w, &text);
}

static void search_now(struct request *q)
{
    const struct json *arguments = jsonr_get(jsonr_get(q->body, "params"), "arguments");
    Rt__SearchRequest ask = RT__SEARCH_REQUEST__INIT;
    struct error err;
    if (api_search_read(q, arguments, &ask, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    api_unary(q, PEER_RETRIEVE, &rt_search_method, 0, &ask.base, on_found);
}

static void search(struct request *q, const struct json *arguments)
{
    (void)arguments; /* the body has them still when it is this search's turn */
    api_in_turn(q, search_now);
}

/* ---- read_passage ---- */

static void on_fetched(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__FetchReply *reply = vs_fetch_reply(m);
    struct jsonw w;
    struct buf text;
    if (reply != NULL && reply->n_passages == 0) {
        api_error(q, 404, "passage", "not_found",
                  "There is no such passage: it may have changed since, search again.");
    } else if (mcp_begin(q, reply, err, &w, &text)) {
        Rt__RankedPassage shown = {.passage = reply->passages[0]};
        Rt__RankedPassage *list[] = {&shown};
        audit_note_passages(q, list, 1);
        passage(&w, &text, reply->passages[0]);
        mcp_end(q, &w, &text);
    }
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_passage(struct request *q, const struct json *arguments)
{
    Vs__FetchRequest ask = VS__FETCH_REQUEST__INIT;
    uint8_t bytes[PASSAGE_ID_MAX];
    ProtobufCBinaryData chunk = {0, bytes};
    struct str id = jsonr_str(jsonr_get(arguments, "passage"));
    int64_t around = 0;
    struct error err;
    bool ok = id.len > 0 && id.len % 2 == 0 && id.len / 2 <= PASSAGE_ID_MAX;
    for (size_t i = 0; ok && i < id.len; i += 2) {
        int high = digit(id.ptr[i]), low = digit(id.ptr[i + 1]);
        ok = high >= 0 && low >= 0;
        bytes[chunk.len++] = (uint8_t)(ok ? high * 16 + low : 0);
    }
    if (!ok) {
        api_error(q, 400, "passage", "invalid",
                  "passage must be the id of a passage, as search tells it");
        return;
    }
    if (jsonr_int(arguments, "around", 0, 3, 1, &around, &err) != STATUS_OK) {
        api_fail(q, &err);
        return;
    }
    ask.chunks = &chunk;
    ask.n_chunks = 1;
    ask.has_widen = true;
    ask.widen = (uint32_t)around;
    api_unary(q, PEER_VECTORSTORE, &vs_fetch_method, 0, &ask.base, on_fetched);
}

/* ---- list_collections ---- */

static void on_facets(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    const Vs__FacetsReply *reply = vs_facets_reply(m);
    struct jsonw w;
    struct buf text;
    if (!mcp_begin(q, reply, err, &w, &text)) {
        return;
    }
    jsonw_key(&w, "collections");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < reply->n_collections; i++) {
        const Vs__FacetCount *c = reply->collections[i];
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "name", c->value);
        jsonw_field_int(&w, "documents", c->documents);
        jsonw_close(&w, '}');
        buf_printf(&text, "%s (%u documents)\n", c->value, (unsigned)c->documents);
    }
    jsonw_close(&w, ']');
    mcp_end(q, &w, &text);
}

static void list_collections(struct request *q, const struct json *arguments)
{
    Vs__FacetsRequest ask = VS__FACETS_REQUEST__INIT;
    (void)arguments;
    api_unary(q, PEER_VECTORSTORE, &vs_facets_method, 0, &ask.base, on_facets);
}

/* ---- ask ---- */

static enum status translate(struct chat *c, const struct json *body, struct buf *out,
                             const char **param, struct error *err)
{
    struct str question = jsonr_str(jsonr_get(body, "question"));
    struct str collection = jsonr_str(jsonr_get(body, "collection"));
    struct jsonw w;
    (void)c;
    *param = "question";
    if (question.ptr == NULL) {
        return error_set(err, STATUS_INVALID, "question must be a string");
    }
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "model", "carrel");
    jsonw_key(&w, "messages");
    jsonw_open(&w, '[');
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "role", "user");
    jsonw_field_str(&w, "content", question);
    jsonw_close(&w, '}');
    jsonw_close(&w, ']');
    if (collection.ptr != NULL) {
        jsonw_key(&w, "carrel");
        jsonw_open(&w, '{');
        jsonw_key(&w, "collections");
        jsonw_open(&w, '[');
        jsonw_str(&w, collection);
        jsonw_close(&w, ']');
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, '}');
    return STATUS_OK;
}

static void whole(struct chat *c)
{
    struct jsonw w;
    struct buf text;
    (void)mcp_begin(c->q, c, NULL, &w, &text);
    jsonw_field_str(&w, "answer", buf_view(&c->text));
    chat_citations(&w, c, false);
    chat_carrel(&w, c, true);
    buf_str(&text, buf_view(&c->text));
    buf_z(&text, "\n");
    for (size_t i = 0; i < c->found->n_passages; i++) {
        uint32_t mark;
        if (chat_is_cited(c, i + 1, &mark)) {
            buf_printf(&text, "\n[%zu] ", i + 1);
            place(&text, c->found->passages[i]->passage);
        }
    }
    mcp_end(c->q, &w, &text);
}

static void ask(struct request *q, const struct json *arguments)
{
    static const struct chat_dialect dialect = {.translate = translate, .whole = whole};
    chat_ask(q, arguments, &dialect, NULL);
}

#define STRINGS(what)                                                                              \
    "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":64,\"description\":\"" what  \
    "\"}"
#define OBJECT(properties, required)                                                               \
    "{\"type\":\"object\",\"properties\":{" properties "},\"required\":[" required "]}"

const struct mcp_tool mcp_tools[] = {
    {"search", "Search the documents",
     "Finds the passages of the documents that say most about a query, best first, with document, "
     "page and text.",
     OBJECT(
         "\"query\":{\"type\":\"string\",\"description\":\"words or a question; \\\"phrases\\\", "
         "-exclusions and fields such as type:pdf are understood\"},"
         "\"top_k\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":200},"
         "\"collections\":" STRINGS(
             "only in these collections") ","
                                          "\"from\":{\"type\":\"string\",\"description\":\"dated "
                                          "from, 2026-09-30\"},"
                                          "\"until\":{\"type\":\"string\",\"description\":\"dated "
                                          "until\"}",
         "\"query\""),
     SCOPE_SEARCH, search},
    {"read_passage", "Read a passage",
     "Reads one passage that search found, with the passages before and after it.",
     OBJECT(
         "\"passage\":{\"type\":\"string\",\"description\":\"its id\"},"
         "\"around\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":3,\"description\":\"passages "
         "on each side; 1 unless told\"}",
         "\"passage\""),
     SCOPE_READ, read_passage},
    {"list_collections", "List the collections",
     "The collections that can be searched, with how many documents are in each.", OBJECT("", ""),
     SCOPE_READ, list_collections},
    {"ask", "Ask the documents",
     "Answers a question from the documents, with citations. Says so where nothing in them answers "
     "it.",
     OBJECT(
         "\"question\":{\"type\":\"string\"},\"collection\":{\"type\":\"string\",\"description\":"
         "\"only from this collection\"}",
         "\"question\""),
     SCOPE_ASK, ask},
};
const size_t mcp_tools_n = sizeof mcp_tools / sizeof mcp_tools[0];
