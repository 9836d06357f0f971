#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "serve/http/coding.h"
#include "serve/http/conn.h"
#include "serve/http/jsonw.h"

#define JSON_TYPE "application/json; charset=utf-8"
#define COMPRESS_MAX ((size_t)1024 * 1024) /* a longer text would hold up the loop */

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Error";
}

static bool can_answer(const struct http_request *r)
{
    return r->conn != NULL && !r->conn->closing && r->answer != ANSWER_OVER;
}

void http_header(struct http_request *r, const char *name, const char *value)
{
    buf_z(&r->headers, name);
    buf_z(&r->headers, ": ");
    for (const char *v = value; *v != '\0'; v++) {
        if ((unsigned char)*v >= 0x20 && *v != 0x7f) {
            buf_char(&r->headers, *v);
        }
    }
    buf_z(&r->headers, "\r\n");
}

void http_headers_forget(struct http_request *r)
{
    buf_reset(&r->headers);
}

static bool has_header(const struct http_request *r, const char *name_colon)
{
    return r->headers.len > 0 && strcasestr(r->headers.ptr, name_colon) != NULL;
}

static void status_line(struct buf *b, int status, const char *id)
{
    char date[40] = "";
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;
    if (gmtime_r(&now, &tm) != NULL) {
        (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    buf_printf(b, "HTTP/1.1 %d %s\r\nDate: %s\r\nServer: carrel\r\n", status, http_reason(status),
               date);
    if (id != NULL) {
        buf_printf(b, "X-Request-Id: %s\r\n", id);
    }
}

/* Headers every answer carries unless its handler said otherwise. */
static void safe_headers(struct http_request *r, struct buf *b)
{
    buf_z(b, "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n");
    if (!has_header(r, "cache-control:")) {
        buf_z(b, "Cache-Control: no-store\r\n");
    }
    if (!has_header(r, "content-security-policy:")) {
        buf_z(b, "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n");
    }
}

/* An unread body that is not worth draining ends the connection with the answer. */
static void decide_keep(struct http_request *r)
{
    const struct http_head *h = r->head;
    if (r->body_state != BODY_COMPLETE &&
        (h->expects_continue || h->length > (uint64_t)256 * 1024)) {
        r->close_after = true;
    }
    if (r->server->stopping) {
        r->close_after = true;
    }
}

static void begin(struct http_request *r, struct buf *b, int status, const char *type,
                  int64_t length)
{
    decide_keep(r);
    r->status = status;
    status_line(b, status, r->id);
    safe_headers(r, b);
    buf_str(b, buf_view(&r->headers));
    if (type != NULL && status != 304 && status != 204) {
        buf_printf(b, "Content-Type: %s\r\n", type);
    }
    if (length >= 0 && status != 304 && status != 204) {
        buf_printf(b, "Content-Length: %lld\r\n", (long long)length);
    } else if (length < 0 && r->head->http11) {
        r->chunked = true;
        buf_z(b, "Transfer-Encoding: chunked\r\n");
    } else if (length < 0) {
        r->close_after = true;
    }
    if (r->close_after) {
        buf_z(b, "Connection: close\r\n");
    } else if (!r->head->http11) {
        buf_z(b, "Connection: keep-alive\r\n");
    }
    buf_z(b, "\r\n");
    if (status == 304 || status == 204) {
        r->no_body = true;
    }
}

static void send_buf(struct http_conn *c, struct buf *b)
{
    size_t len = b->len;
    char *bytes = buf_take(b);
    if (bytes == NULL) {
        conn_close(c);
    } else {
        conn_write(c, bytes, len);
    }
}

/* ---- the gate ---- */

static bool keep(struct http_request *r, int status, const char *type, struct buf *body)
{
    if (r->gate == NULL || !r->gate(r, status)) {
        return false;
    }
    r->kept.status = status;
    r->kept.type = type;
    r->kept.body = *body;
    buf_init(body, body->max);
    r->answer = ANSWER_KEPT;
    r->gate_kept(r);
    return true;
}

void http_gate_open(struct http_request *r)
{
    r->gate = NULL;
    if (r->answer == ANSWER_KEPT_STREAM) {
        r->answer = ANSWER_STREAM;
        http_stream_end(r);
    } else if (r->answer == ANSWER_KEPT) {
        r->answer = ANSWER_NONE;
        http_respond_buf(r, r->kept.status, r->kept.type, &r->kept.body);
    }
}

bool http_gate_refuse(struct http_request *r)
{
    r->gate = NULL;
    if (r->answer == ANSWER_KEPT_STREAM) {
        r->answer = ANSWER_STREAM;
        http_stream_cut(r);
        return false;
    }
    if (r->answer == ANSWER_KEPT) {
        r->answer = ANSWER_NONE;
    }
    buf_deinit(&r->kept.body);
    buf_reset(&r->headers);
    return true;
}

void http_respond(struct http_request *r, int status, const char *type, struct str body)
{
    if (r->answer != ANSWER_NONE || (r->sink == NULL && !can_answer(r))) {
        return;
    }
    if (r->gate != NULL) {
        struct buf copy;
        buf_init(&copy, HTTP_ARENA_MAX);
        buf_str(&copy, body);
        http_respond_buf(r, status, type, &copy);
        return;
    }
    if (r->sink != NULL) {
        request_sink(r, status, body);
        return;
    }
    struct buf b;
    buf_init(&b, HTTP_ARENA_MAX);
    begin(r, &b, status, type, (int64_t)body.len);
    if (!r->no_body) {
        buf_str(&b, body);
        r->bytes_out = body.len;
    }
    r->answer = ANSWER_OVER;
    send_buf(r->conn, &b);
    request_answered(r);
}

/* Head and body in one piece; owned: NULL, or what to free when the body has left. */
static void send_whole(struct http_request *r, int status, const char *type, struct str body,
                       char *owned)
{
    struct buf b;
    buf_init(&b, 32768);
    begin(r, &b, status, type, (int64_t)body.len);
    r->answer = ANSWER_OVER;
    if (r->no_body || body.len == 0) {
        send_buf(r->conn, &b);
        free(owned);
    } else {
        size_t head_len = b.len;
        r->bytes_out = body.len;
        conn_write_two(r->conn, buf_take(&b), head_len, body, owned);
    }
    request_answered(r);
}

void http_json_etag(struct str body, bool weak, char out[HTTP_JSON_ETAG_CAP])
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_CAP];
    sha256_of(body.ptr, body.len, digest);
    sha256_hex(digest, hex);
    (void)snprintf(out, HTTP_JSON_ETAG_CAP, "%s\"%.32s\"", weak ? "W/" : "", hex);
}

/* Who asks again and again for the same list (a workflow that polls) is told that nothing changed.
 * The tag of what goes out compressed is weak: it names what the JSON says, not these bytes. */
static bool json_unchanged(struct http_request *r, int status, const char *type, struct str body,
                           bool weak)
{
    bool reads = r->head->verb == VERB_GET || r->head->verb == VERB_HEAD;
    if (!reads || status != 200 || type == NULL || strcmp(type, JSON_TYPE) != 0 ||
        has_header(r, "etag:")) {
        return false;
    }
    char etag[HTTP_JSON_ETAG_CAP];
    http_json_etag(body, weak, etag);
    http_header(r, "ETag", etag);
    return http_etag_listed(r->head, "if-none-match", etag, true);
}

static enum http_coding coding_for(struct http_request *r, int status, const char *type, size_t len)
{
    size_t above = r->server->limits.compress_above;
    if (!r->may_compress || status != 200 || type == NULL || strcmp(type, JSON_TYPE) != 0 ||
        above == 0 || len < above || len > COMPRESS_MAX || has_header(r, "set-cookie:")) {
        return CODING_IDENTITY;
    }
    http_header(r, "Vary", "Accept-Encoding");
    return http_coding_choose(r->head, 1U << CODING_GZIP | 1U << CODING_ZSTD);
}

static void compress(struct http_request *r, enum http_coding c, struct buf *body)
{
    struct buf small;
    buf_init(&small, body->len);
    if (c != CODING_IDENTITY && http_coding_make(c, buf_view(body), false, &small) == STATUS_OK) {
        http_header(r, "Content-Encoding", http_coding_name(c));
        buf_deinit(body);
        *body = small;
    } else {
        buf_deinit(&small);
    }
}

void http_respond_buf(struct http_request *r, int status, const char *type, struct buf *body)
{
    struct buf taken = *body; /* body may lie in the request's own memory */
    buf_init(body, taken.max);
    if (buf_status(&taken) != STATUS_OK) {
        http_respond_error(r, 503, "server_error", NULL, NULL, "Out of memory: try again shortly.");
    } else if (r->answer != ANSWER_NONE || (r->sink == NULL && !can_answer(r)) ||
               keep(r, status, type, &taken)) {
        buf_deinit(&taken); /* too late, or taken by the gate */
        return;
    } else if (r->sink != NULL) {
        request_sink(r, status, buf_view(&taken));
    } else {
        enum http_coding coding = coding_for(r, status, type, taken.len);
        if (json_unchanged(r, status, type, buf_view(&taken), coding != CODING_IDENTITY)) {
            status = 304;
            buf_reset(&taken);
        } else {
            compress(r, coding, &taken);
        }
        struct str sent = buf_view(&taken);
        send_whole(r, status, type, sent, buf_take(&taken));
    }
    buf_deinit(&taken);
}

void http_respond_kept(struct http_request *r, const char *type, const struct http_version_of *v,
                       struct str body)
{
    int status;
    uint64_t from;
    uint64_t n;
    if (can_answer(r) && r->answer == ANSWER_NONE && http_choose(r, v, &status, &from, &n)) {
        send_whole(r, status, type, (struct str){body.ptr + from, (size_t)n}, NULL);
    }
}

bool http_choose(struct http_request *r, const struct http_version_of *v, int *status,
                 uint64_t *from, uint64_t *n)
{
    char text[80];
    uint64_t last = 0;
    *from = 0;
    *n = v->length;
    *status = 200;
    enum http_wanted wanted = http_wanted(r->head, v, from, &last);
    if (wanted == HTTP_WANTED_OTHER || wanted == HTTP_WANTED_OUTSIDE) {
        http_headers_forget(r); /* they tell of the file, not of an error */
    }
    if (v->etag != NULL) {
        http_header(r, "ETag", v->etag);
    }
    if (v->modified_s != 0) {
        http_date_write(v->modified_s, text);
        http_header(r, "Last-Modified", text);
    }
    http_header(r, "Accept-Ranges", "bytes");
    switch (wanted) {
    case HTTP_WANTED_WHOLE:
        return true;
    case HTTP_WANTED_PART:
        *status = 206;
        *n = last - *from + 1;
        (void)snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)*from,
                       (unsigned long long)last, (unsigned long long)v->length);
        http_header(r, "Content-Range", text);
        return true;
    case HTTP_WANTED_UNCHANGED:
        http_respond(r, 304, NULL, STR(""));
        return false;
    case HTTP_WANTED_OTHER:
        http_respond_error(r, 412, "invalid_request_error", NULL, "precondition_failed",
                           "It is not, or no longer, what If-Match or If-Unmodified-Since names.");
        return false;
    case HTTP_WANTED_OUTSIDE:
        (void)snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)v->length);
        http_header(r, "Content-Range", text);
        http_respond_error(r, 416, "invalid_request_error", NULL, "range_not_satisfiable",
                           "The range begins behind the end.");
        return false;
    }
    return false;
}

void http_stream_begin(struct http_request *r, int status, const char *type, int64_t length)
{
    if (r->sink != NULL) { /* told at its end: whoever streams goes on until then */
        r->answer = r->answer == ANSWER_NONE ? ANSWER_STREAM : r->answer;
        return;
    }
    if (!can_answer(r) || r->answer != ANSWER_NONE) {
        return;
    }
    struct buf b;
    buf_init(&b, 32768);
    begin(r, &b, status, type, length);
    buf_deinit(&r->headers); /* they are said; the stream may be long */
    r->answer = ANSWER_STREAM;
    r->left = length < 0 ? -1 : length;
    send_buf(r->conn, &b);
}

static void write_piece(struct http_request *r, const void *p, size_t len)
{
    if (r->left >= 0 && r->gate != NULL && (int64_t)len >= r->left && !r->keeps_byte) {
        r->keeps_byte = true;
        r->kept_byte = ((const char *)p)[len - 1];
        len--;
    }
    r->left -= r->left < 0 ? 0 : (int64_t)len;
    if (len > 0) {
        conn_write_copy(r->conn, p, len);
    }
}

static void refuse_stream(struct http_request *r)
{
    if (r->answer == ANSWER_STREAM) {
        r->answer = ANSWER_NONE;
        http_respond_error(r, 400, "invalid_request_error", NULL, NULL,
                           "What is streamed cannot be asked for this way.");
    }
}

enum status http_stream_write(struct http_request *r, const void *p, size_t len)
{
    if (r->sink != NULL) {
        return STATUS_OK;
    }
    if (!can_answer(r) || r->answer != ANSWER_STREAM) {
        return STATUS_CANCELLED;
    }
    struct http_conn *c = r->conn;
    if (len == 0 || r->no_body) {
        return STATUS_OK;
    }
    if (c->queued > HTTP_QUEUE_MAX) {
        conn_close(c);
        return STATUS_CANCELLED;
    }
    r->bytes_out += len;
    if (r->chunked) {
        struct buf b;
        buf_init(&b, len + 32);
        buf_printf(&b, "%zx\r\n", len);
        buf_append(&b, p, len);
        buf_z(&b, "\r\n");
        send_buf(c, &b);
    } else {
        write_piece(r, p, len);
    }
    if (c->closing) {
        return STATUS_CANCELLED;
    }
    if (c->queued > HTTP_QUEUE_HIGH) {
        r->busy = true;
        return STATUS_BUSY;
    }
    return STATUS_OK;
}

void http_stream_end(struct http_request *r)
{
    if (r->sink != NULL) {
        refuse_stream(r);
        return;
    }
    if (!can_answer(r) || r->answer != ANSWER_STREAM) {
        return;
    }
    if (r->gate != NULL && r->gate(r, r->status)) {
        r->answer = ANSWER_KEPT_STREAM;
        r->gate_kept(r);
        return;
    }
    if (r->keeps_byte) {
        conn_write_copy(r->conn, &r->kept_byte, 1);
    }
    if (r->chunked && !r->no_body) {
        conn_write_copy(r->conn, "0\r\n\r\n", 5);
    }
    r->answer = ANSWER_OVER;
    request_answered(r);
}

void http_stream_cut(struct http_request *r)
{
    if (r->sink != NULL) {
        refuse_stream(r);
    } else if (can_answer(r)) {
        conn_close(r->conn); /* the close callback ends the request */
    }
}

/* Anthropic's names for OpenAI's. */
static const char *anthropic_type(const char *type)
{
    return strcmp(type, "server_error") == 0 ? "api_error" : type;
}

/* JSON-RPC 2.0, section 5.1; -32603 is an internal error, -32602 wrong parameters. */
static void rpc_error(struct jsonw *w, enum error_shape shape, const char *id, const char *type,
                      const char *message)
{
    jsonw_field_z(w, "jsonrpc", "2.0");
    jsonw_key(w, "id");
    jsonw_raw(w, str_from(id == NULL ? "null" : id));
    jsonw_key(w, shape == ERRORS_TOOL ? "result" : "error");
    jsonw_open(w, '{');
    if (shape == ERRORS_TOOL) {
        jsonw_key(w, "content");
        jsonw_open(w, '[');
        jsonw_open(w, '{');
        jsonw_field_z(w, "type", "text");
        jsonw_field_z(w, "text", message);
        jsonw_close(w, '}');
        jsonw_close(w, ']');
        jsonw_field_bool(w, "isError", true);
    } else {
        jsonw_field_int(w, "code", strcmp(type, "server_error") == 0 ? -32603 : -32602);
        jsonw_field_z(w, "message", message);
    }
    jsonw_close(w, '}');
}

void http_error_body(struct buf *out, enum error_shape shape, const char *rpc_id, const char *type,
                     const char *param, const char *code, const char *message)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    if (shape == ERRORS_RPC || shape == ERRORS_TOOL) {
        rpc_error(&w, shape, rpc_id, type, message);
        jsonw_close(&w, '}');
        return;
    }
    if (shape == ERRORS_OLLAMA) {
        jsonw_field_z(&w, "error", message);
        jsonw_close(&w, '}');
        return;
    }
    if (shape == ERRORS_ANTHROPIC) {
        jsonw_field_z(&w, "type", "error");
    }
    jsonw_key(&w, "error");
    jsonw_open(&w, '{');
    if (shape == ERRORS_ANTHROPIC) {
        jsonw_field_z(&w, "type",
                      code != NULL && strcmp(code, "model_not_found") == 0 ? "not_found_error"
                                                                           : anthropic_type(type));
        jsonw_field_z(&w, "message", message);
    } else {
        jsonw_field_z(&w, "message", message);
        jsonw_field_z(&w, "type", type);
        jsonw_field_z(&w, "param", param);
        jsonw_field_z(&w, "code", code);
    }
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
}

void http_respond_error(struct http_request *r, int status, const char *type, const char *param,
                        const char *code, const char *message)
{
    struct buf body;
    buf_init(&body, 16384);
    http_error_body(&body, r->error_shape, r->rpc_id, type, param, code, message);
    http_respond(r, r->rpc_id != NULL ? 200 : status, JSON_TYPE, buf_view(&body));
    buf_deinit(&body);
}

void conn_refuse(struct http_conn *c, int status, const char *message)
{
    struct buf body;
    struct buf b;
    buf_init(&body, 4096);
    buf_init(&b, 8192);
    http_error_body(&body, ERRORS_OPENAI, NULL,
                    status < 500 ? "invalid_request_error" : "server_error", NULL, NULL, message);
    char id[ID_CAP];
    id_new(id);
    status_line(&b, status, id);
    buf_printf(&b,
               "Content-Type: " JSON_TYPE "\r\nX-Content-Type-Options: nosniff\r\n"
               "%sContent-Length: %zu\r\nConnection: close\r\n\r\n",
               status == 503 ? "Retry-After: 1\r\n" : "", body.len);
    buf_str(&b, buf_view(&body));
    buf_deinit(&body);
    send_buf(c, &b);
    c->head_ms = 0;
    c->last = true;
    c->server->cb.on_done(NULL, status, c->server->cb.data);
    conn_maybe_linger(c);
}
