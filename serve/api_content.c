/* What is in a document: its text, its original, pictures of its pages. All streamed. */
#include <stdio.h>
#include <stdlib.h>

#include "ingest/ingest_rpc.h"
#include "serve/api.h"
#include "serve/api_files.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "vectorstore/vectorstore_rpc.h"

#define CHUNKS_JSON_MAX ((size_t)64 * 1024 * 1024)
#define PNG_BYTES_MAX ((size_t)32 * 1024 * 1024)

struct content {
    const char *id;
    bool begun, paused;
    struct rpc_request *rpc;
    /* text */
    struct buf chunks; /* JSON */
    struct jsonw chunks_json;
    char tail[4]; /* a character cut between two pieces */
    size_t tail_len;
    /* original */
    uint64_t left;
    bool part;  /* only the bytes [from, from + left) of the version that etag names, ... */
    int status; /* ... told with it */
    uint64_t from;
    /* page */
    uint32_t page, dpi;
    struct buf png;
    float width, height;
    char etag[SHA256_HEX_CAP + 8];
};

static void content_free(struct request *q)
{
    struct content *c = q->op;
    buf_deinit(&c->chunks);
    buf_deinit(&c->png);
}

static struct content *content_of(struct request *q, const char *id)
{
    struct content *c = id == NULL ? NULL : arena_alloc(q->arena, sizeof *c);
    if (c == NULL) {
        if (id != NULL) {
            api_out_of_memory(q);
        }
        return NULL;
    }
    c->id = id;
    buf_init(&c->chunks, CHUNKS_JSON_MAX);
    buf_init(&c->png, PNG_BYTES_MAX);
    q->op = c;
    q->on_gone = content_free;
    return c;
}

static void on_drain(struct http_request *http)
{
    struct request *q = http->data;
    struct content *c = q->op;
    if (c->paused && c->rpc != NULL) {
        c->paused = false;
        rpc_request_resume(c->rpc);
    }
}

static void send_bytes(struct request *q, const void *p, size_t len)
{
    struct content *c = q->op;
    if (http_stream_write(q->http, p, len) == STATUS_BUSY && c->rpc != NULL && !c->paused) {
        c->paused = true;
        rpc_request_pause(c->rpc);
    }
}

static void send_buf(struct request *q, struct buf *b)
{
    if (buf_status(b) != STATUS_OK) {
        http_stream_cut(q->http);
    } else {
        send_bytes(q, b->ptr == NULL ? "" : b->ptr, b->len);
    }
    buf_deinit(b);
}

static struct content *content_new(struct request *q)
{
    return content_of(q, api_id(q, 0));
}

/* ---- text ---- */

static void text_begin(struct request *q)
{
    struct content *c = q->op;
    if (!c->begun) {
        struct buf b;
        struct jsonw w;
        c->begun = true;
        q->http->on_drain = on_drain;
        http_stream_begin(q->http, 200, JSON_TYPE, -1);
        buf_init(&b, 4096);
        jsonw_init(&w, &b);
        jsonw_open(&w, '{');
        jsonw_field_z(&w, "id", c->id);
        buf_z(&b, ",\"text\":\"");
        send_buf(q, &b);
        jsonw_init(&c->chunks_json, &c->chunks);
    }
}

static void text_piece(struct request *q, struct str piece)
{
    struct content *c = q->op;
    struct buf raw;
    struct buf b;
    buf_init(&raw, piece.len + sizeof c->tail);
    buf_init(&b, 6 * (piece.len + sizeof c->tail) + 16);
    buf_append(&raw, c->tail, c->tail_len);
    buf_str(&raw, piece);
    size_t used = jsonw_escape(&b, buf_view(&raw), false);
    c->tail_len = raw.len - used < sizeof c->tail ? raw.len - used : 0;
    if (c->tail_len > 0) {
        memcpy(c->tail, raw.ptr + used, c->tail_len);
    }
    buf_deinit(&raw);
    send_buf(q, &b);
}

static void chunk_json(struct jsonw *w, const Vs__Chunk *k)
{
    jsonw_open(w, '{');
    jsonw_field_int(w, "start", k->start);
    jsonw_field_int(w, "end", k->end);
    if (k->has_page && k->page > 0) {
        jsonw_field_int(w, "page", k->page);
    }
    if (k->unit != NULL && k->unit[0] != '\0') {
        jsonw_field_z(w, "unit", k->unit);
    }
    if (k->heading_path != NULL && k->heading_path[0] != '\0') {
        jsonw_field_z(w, "heading_path", k->heading_path);
    }
    jsonw_close(w, '}');
}

static void on_text(struct request *q, const ProtobufCMessage *m)
{
    struct content *c = q->op;
    const Vs__GetTextReply *reply = vs_get_text_reply(m);
    text_begin(q);
    if (reply == NULL) {
        return;
    }
    if (reply->has_text && reply->text.len > 0) {
        text_piece(q, str_of_bytes(reply->text));
    }
    for (size_t i = 0; i < reply->n_chunks; i++) {
        chunk_json(&c->chunks_json, reply->chunks[i]);
    }
}

static void on_text_end(struct request *q, const struct error *err)
{
    struct content *c = q->op;
    c->rpc = NULL;
    if (err->code != STATUS_OK || buf_status(&c->chunks) != STATUS_OK) {
        q->on_gone = NULL;
        content_free(q);
        if (c->begun) {
            http_stream_cut(q->http);
        } else {
            api_fail(q, err);
        }
        return;
    }
    text_begin(q);
    struct buf b;
    buf_init(&b, CHUNKS_JSON_MAX);
    (void)jsonw_escape(&b, (struct str){c->tail, c->tail_len}, true);
    buf_z(&b, "\",\"chunks\":[");
    buf_str(&b, buf_view(&c->chunks));
    buf_z(&b, "]}");
    q->on_gone = NULL;
    content_free(q);
    send_buf(q, &b);
    http_stream_end(q->http);
}

void api_document_text(struct request *q)
{
    struct content *c = content_new(q);
    if (c != NULL) {
        Vs__GetTextRequest ask = VS__GET_TEXT_REQUEST__INIT;
        struct api_call how = {.on_reply = on_text, .on_finish = on_text_end};
        ask.document = pb_text(c->id);
        c->rpc = api_start(q, PEER_VECTORSTORE, &vs_get_text_method, 0, &ask.base, &how);
    }
}

/* ---- original ---- */

/* Nothing that a browser would run as a page of ours. */
static const char *safe_type(const char *format)
{
    if (strcmp(format, "pdf") == 0) {
        return "application/pdf";
    }
    if (strcmp(format, "txt") == 0 || strcmp(format, "md") == 0) {
        return "text/plain; charset=utf-8";
    }
    static const struct {
        const char *format, *type;
    } office[] = {
        {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
        {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
        {"odt", "application/vnd.oasis.opendocument.text"},
        {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
        {"odp", "application/vnd.oasis.opendocument.presentation"},
        {"epub", "application/epub+zip"},
        {"doc", "application/msword"},
        {"xls", "application/vnd.ms-excel"},
        {"xlsb", "application/vnd.ms-excel.sheet.binary.macroEnabled.12"},
        {"ppt", "application/vnd.ms-powerpoint"},
        {"msg", "application/vnd.ms-outlook"},
    };
    for (size_t i = 0; i < sizeof office / sizeof office[0]; i++) {
        if (strcmp(format, office[i].format) == 0) {
            return office[i].type;
        }
    }
    return "application/octet-stream";
}

/* attachment; filename="ascii"; filename*=UTF-8''percent-encoded (RFC 6266) */
static void disposition(struct request *q, struct str path)
{
    struct str name = path;
    struct buf b;
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '/') {
            name = (struct str){path.ptr + i + 1, path.len - i - 1};
        }
    }
    buf_init(&b, 4096);
    buf_z(&b, "attachment; filename=\"");
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.ptr[i];
        buf_char(&b, ch >= 0x20 && ch < 0x7f && ch != '"' && ch != '\\' && ch != '%' ? ch : '_');
    }
    buf_z(&b, "\"; filename*=UTF-8''");
    for (size_t i = 0; i < name.len; i++) {
        unsigned char ch = (unsigned char)name.ptr[i];
        bool plain = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') ||
                     (ch >= 'A' && ch <= 'Z') || ch == '-' || ch == '.' || ch == '_';
        buf_printf(&b, plain ? "%c" : "%%%02X", ch);
    }
    http_header(q->http, "Content-Disposition", buf_status(&b) == STATUS_OK ? b.ptr : "attachment");
    buf_deinit(&b);
}

/* The original's name is its content's hash, so a reader who put it together from parts can check
 * it. */
static void version_of(const Vs__DocumentInfo *d, struct content *c, struct http_version_of *v)
{
    char hex[SHA256_HEX_CAP] = "";
    if (d->hash.len == SHA256_BYTES) {
        sha256_hex(d->hash.data, hex);
    }
    (void)snprintf(c->etag, sizeof c->etag, "\"%s\"", hex);
    *v = (struct http_version_of){.etag = c->etag, .length = d->size};
}

static void original_headers(struct request *q, const Vs__DocumentInfo *d)
{
    q->http->on_drain = on_drain;
    disposition(q, str_of_bytes(d->location->path));
    http_header(q->http, "Content-Security-Policy", "sandbox; default-src 'none'");
    http_header(q->http, "Cache-Control", "private, no-store");
}

static void original_begin(struct request *q, const Vs__DocumentInfo *d)
{
    struct content *c = q->op;
    struct http_version_of v;
    char chosen[sizeof c->etag];
    memcpy(chosen, c->etag, sizeof chosen);
    version_of(d, c, &v);
    if (!c->part) {
        int status;
        original_headers(q, d);
        c->begun = http_choose(q->http, &v, &status, &c->from, &c->left);
        if (c->begun) {
            http_stream_begin(q->http, status, safe_type(d->format), (int64_t)c->left);
        }
    } else if (strcmp(chosen, c->etag) == 0) {
        c->begun = true;
        http_stream_begin(q->http, c->status, safe_type(d->format), (int64_t)c->left);
    } /* else another version came in between: on_original_end says so */
}

static void on_original(struct request *q, const ProtobufCMessage *m)
{
    struct content *c = q->op;
    const Vs__GetOriginalReply *reply = vs_get_original_reply(m);
    if (reply == NULL) {
        return;
    }
    if (!c->begun && reply->document != NULL) {
        original_begin(q, reply->document);
    }
    if (c->begun && reply->has_data) {
        size_t n = reply->data.len < c->left ? reply->data.len : (size_t)c->left;
        c->left -= n;
        send_bytes(q, reply->data.data, n);
    }
}

static void on_original_end(struct request *q, const struct error *err)
{
    struct content *c = q->op;
    c->rpc = NULL;
    if (c->begun) {
        if (err->code == STATUS_OK && c->left == 0) {
            http_stream_end(q->http);
        } else {
            http_stream_cut(q->http);
        }
    } else if (err->code == STATUS_OK && c->part) {
        http_headers_forget(q->http);
        http_header(q->http, "Retry-After", "1");
        api_error(q, 503, NULL, "changed", "The document was replaced just now: try again.");
    } else if (err->code == STATUS_OK) {
        api_error(q, 404, NULL, "not_found",
                  "The original is not kept before the document is ready.");
    } else {
        http_headers_forget(q->http);
        api_fail(q, err);
    }
}

static void ask_original(struct request *q)
{
    struct content *c = q->op;
    Vs__GetOriginalRequest ask = VS__GET_ORIGINAL_REQUEST__INIT;
    struct api_call how = {.on_reply = on_original, .on_finish = on_original_end};
    ask.document = pb_text(c->id);
    ask.has_offset = ask.has_length = c->part;
    ask.offset = c->from;
    ask.length = c->left;
    c->rpc = api_start(q, PEER_VECTORSTORE, &vs_get_original_method, 0, &ask.base, &how);
}

static void on_original_info(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct content *c = q->op;
    const Vs__GetDocumentReply *reply = vs_get_document_reply(m);
    struct http_version_of v;
    int status;
    if (reply == NULL) {
        q->on_gone = NULL;
        api_fail(q, err);
        return;
    }
    version_of(reply->document, c, &v);
    original_headers(q, reply->document);
    if (http_choose(q->http, &v, &status, &c->from, &c->left)) {
        c->part = true; /* of the whole, too: what was chosen holds for this version only */
        c->status = status;
        ask_original(q);
    }
}

/* Who sets conditions or wants a part is told by the document's row what there is; all others save
 * that call. */
void api_original_of(struct request *q, const char *document)
{
    static const char *const conditions[] = {"range", "if-match", "if-none-match",
                                             "if-modified-since", "if-unmodified-since"};
    struct content *c = content_of(q, document);
    bool asks_more = false;
    if (c == NULL) {
        return; /* answered: the head is gone */
    }
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        asks_more = asks_more || http_head_get(q->http->head, conditions[i]).ptr != NULL;
    }
    if (asks_more) {
        Vs__GetDocumentRequest ask = VS__GET_DOCUMENT_REQUEST__INIT;
        ask.document = pb_text(c->id);
        api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &ask.base, on_original_info);
    } else {
        ask_original(q);
    }
}

void api_document_original(struct request *q)
{
    const char *id = api_id(q, 0);
    if (id != NULL) {
        api_original_of(q, id);
    }
}

/* ---- pages ---- */

static void on_png(struct request *q, const ProtobufCMessage *m)
{
    struct content *c = q->op;
    const Ig__RenderReply *reply = ig_render_reply(m);
    if (reply == NULL) {
        return;
    }
    if (reply->has_width_points) {
        c->width = reply->width_points;
    }
    if (reply->has_height_points) {
        c->height = reply->height_points;
    }
    if (reply->has_png) {
        buf_append(&c->png, reply->png.data, reply->png.len);
    }
}

static void page_headers(struct request *q, const struct content *c)
{
    http_header(q->http, "ETag", c->etag);
    http_header(q->http, "Cache-Control", "private, no-cache");
}

static void on_png_end(struct request *q, const struct error *err)
{
    struct content *c = q->op;
    char number[32];
    c->rpc = NULL;
    q->on_gone = NULL;
    if (err->code != STATUS_OK) {
        content_free(q);
        api_fail(q, err);
        return;
    }
    (void)snprintf(number, sizeof number, "%.2f", (double)c->width);
    http_header(q->http, "X-Page-Width-Points", number);
    (void)snprintf(number, sizeof number, "%.2f", (double)c->height);
    http_header(q->http, "X-Page-Height-Points", number);
    page_headers(q, c);
    http_respond_buf(q->http, 200, "image/png", &c->png);
}

/* The picture's name is the content's hash: a browser that has it is answered without drawing
 * again. */
static void on_document(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct content *c = q->op;
    const Vs__GetDocumentReply *reply = vs_get_document_reply(m);
    if (reply == NULL) {
        q->on_gone = NULL;
        api_fail(q, err);
        return;
    }
    ProtobufCBinaryData h = reply->document->hash;
    size_t n = 0;
    c->etag[n++] = '"';
    for (size_t i = 0; i < h.len && i < 12; i++) {
        n += (size_t)snprintf(c->etag + n, sizeof c->etag - n, "%02x", h.data[i]);
    }
    (void)snprintf(c->etag + n, sizeof c->etag - n, "-%u-%u\"", c->page, c->dpi);
    if (http_etag_listed(q->http->head, "if-none-match", c->etag, true)) {
        page_headers(q, c);
        http_respond(q->http, 304, NULL, STR(""));
        return;
    }
    Ig__RenderRequest ask = IG__RENDER_REQUEST__INIT;
    struct api_call how = {.on_reply = on_png, .on_finish = on_png_end};
    ask.document = pb_text(c->id);
    ask.page = c->page;
    ask.has_dpi = true;
    ask.dpi = c->dpi;
    c->rpc = api_start(q, PEER_INGEST, &ig_render_method, 0, &ask.base, &how);
}

static bool read_number(struct str s, uint32_t min, uint32_t max, uint32_t *out)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
        n = n * 10 + (uint32_t)(s.ptr[i] - '0');
    }
    *out = n;
    return s.len > 0 && s.len <= 6 && n >= min && n <= max;
}

void api_document_page(struct request *q)
{
    struct content *c = content_new(q);
    const char *dpi;
    if (c == NULL || !api_query(q, "dpi", &dpi)) {
        return;
    }
    c->dpi = 110;
    if (dpi != NULL && !read_number(str_from(dpi), 36, 200, &c->dpi)) {
        api_error(q, 400, "dpi", "invalid", "dpi must be a number from 36 to 200");
        return;
    }
    if (!read_number(q->match.params[1], 1, 999999, &c->page)) {
        api_error(q, 404, NULL, "not_found", "There is no such page.");
        return;
    }
    Vs__GetDocumentRequest ask = VS__GET_DOCUMENT_REQUEST__INIT;
    ask.document = pb_text(c->id);
    api_unary(q, PEER_VECTORSTORE, &vs_get_document_method, 0, &ask.base, on_document);
}
