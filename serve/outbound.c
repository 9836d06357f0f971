#include "serve/outbound.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/destination.h"
#include "base/file.h"
#include "base/list.h"
#include "base/outgoing/outgoing.h"

#define CALLS_MAX 64
#define CONNECT_MS 10000
#define HEAD_MAX ((size_t)64 * 1024)
#define REPLY_MAX ((size_t)16 * 1024 * 1024)

struct outbound {
    struct outgoing *http;
    struct list calls;
    size_t n_calls;
    char socket[4096];
};

struct outbound_call {
    struct list link;
    struct outbound *owner;
    struct outgoing_transfer *transfer;
    struct outbound_request request;
    struct buf sent; /* the request's body */
    struct buf head, body;
    bool cut;
};

enum status outbound_new(uv_loop_t *loop, const struct settings *settings, struct outbound **out,
                         struct error *err)
{
    struct outbound *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    list_init(&o->calls);
    enum status s = file_join(o->socket, sizeof o->socket, settings->home, SERVE_SOCKET, err);
    s = s != STATUS_OK ? s : outgoing_new(loop, o->socket, &o->http, err);
    if (s != STATUS_OK) {
        free(o);
        return s;
    }
    *out = o;
    return STATUS_OK;
}

const char *outbound_socket(const struct outbound *o)
{
    return o->socket;
}

static void call_free(struct outbound_call *c)
{
    if (c->transfer != NULL) {
        outgoing_free(c->transfer);
    }
    list_remove(&c->link);
    c->owner->n_calls--;
    buf_deinit(&c->sent);
    buf_deinit(&c->head);
    buf_deinit(&c->body);
    free(c);
}

struct closing {
    struct outbound *o;
    void (*closed)(void *data);
    void *data;
};

static void on_http_closed(void *data)
{
    struct closing *c = data;
    struct closing then = *c;
    free(c->o);
    free(c);
    then.closed(then.data);
}

void outbound_close(struct outbound *o, void (*closed)(void *data), void *data)
{
    struct closing *c = calloc(1, sizeof *c);
    list_for_each_safe(it, &o->calls)
    {
        call_free(list_entry(it, struct outbound_call, link));
    }
    if (c == NULL) { /* the process ends; what is left open ends with it */
        closed(data);
        return;
    }
    *c = (struct closing){o, closed, data};
    outgoing_close(o->http, on_http_closed, c);
}

/* ---- addresses ---- */

static bool plain_url(const char *url)
{
    size_t n = 0;
    for (; url[n] != '\0'; n++) {
        if (n >= OUTBOUND_URL_MAX || url[n] <= ' ' || url[n] >= 0x7f ||
            strchr("\\#\"<>^`{|}", url[n])) {
            return false;
        }
    }
    return n > 0;
}

static bool listed(const struct destination *d, const struct string_list *origins)
{
    for (size_t i = 0; origins != NULL && i < origins->n; i++) {
        struct destination one;
        struct error err;
        if (destination_of_url(origins->items[i], &one, &err) == STATUS_OK &&
            destination_same_origin(d, &one)) {
            return true;
        }
    }
    return false;
}

enum status outbound_url_check(const char *url, const struct string_list *origins,
                               const struct string_list *more, struct error *err)
{
    struct destination d;
    if (!plain_url(url)) {
        return error_set(err, STATUS_INVALID,
                         "the URL is empty, longer than %zu bytes, or has a character that no URL "
                         "of ours may have (white space, \\, #, ...)",
                         OUTBOUND_URL_MAX);
    }
    enum status s = destination_of_url(url, &d, err);
    if (s != STATUS_OK) {
        return error_prefix(err, "the URL");
    }
    if (strcmp(d.scheme, "https") != 0 && strcmp(d.scheme, "http") != 0) {
        return error_set(err, STATUS_INVALID, "the URL: it must begin with https:// or http://");
    }
    if (!listed(&d, origins) && !listed(&d, more)) {
        char place[DESTINATION_CAP];
        destination_format(&d, place);
        return error_set(err, STATUS_FORBIDDEN,
                         "%s://%.150s is not one of the places that may be told", d.scheme, place);
    }
    return STATUS_OK;
}

/* ---- a call ---- */

static void on_header(void *data, const char *line, size_t len)
{
    struct outbound_call *c = data;
    if (len >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        buf_reset(&c->head); /* of an answer that comes after another one's head */
        return;
    }
    buf_append(&c->head, line, len);
    buf_char(&c->head, '\n');
}

static bool on_data(void *data, const char *p, size_t len)
{
    struct outbound_call *c = data;
    size_t room = c->request.max_reply_bytes - c->body.len;
    if (len > room) {
        buf_append(&c->body, p, room);
        c->cut = true;
        return false;
    }
    buf_append(&c->body, p, len);
    return buf_status(&c->body) == STATUS_OK;
}

static void on_done(void *data, const struct outgoing_outcome *o)
{
    struct outbound_call *c = data;
    struct outbound_reply reply = {.error = o->error,
                                   .sent = o->connected,
                                   .refused = o->refused,
                                   .status = o->status,
                                   .retry_after_s = o->retry_after_s,
                                   .head = buf_view(&c->head),
                                   .body = buf_view(&c->body),
                                   .cut = c->cut};
    if (buf_status(&c->body) != STATUS_OK && !c->cut) {
        (void)error_set(&reply.error, STATUS_NO_MEMORY, "out of memory");
    }
    c->request.done(c->request.data, &reply);
    call_free(c);
}

enum status outbound_start(struct outbound *o, const struct outbound_request *r,
                           struct outbound_call **out, struct error *err)
{
    struct outbound_call *c = o->n_calls < CALLS_MAX ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        return error_set(err, STATUS_BUSY, "too many calls to the outside are under way");
    }
    c->owner = o;
    c->request = *r;
    c->request.max_reply_bytes = r->max_reply_bytes < REPLY_MAX ? r->max_reply_bytes : REPLY_MAX;
    buf_init(&c->sent, r->body.len + 1);
    buf_init(&c->head, HEAD_MAX);
    buf_init(&c->body, c->request.max_reply_bytes + 1);
    buf_append(&c->sent, r->body.ptr, r->body.len);
    list_push(&o->calls, &c->link);
    o->n_calls++;
    const struct outgoing_request sent = {.what = r->what,
                                          .method = r->method,
                                          .url = r->url,
                                          .headers = r->headers,
                                          .n_headers = r->n_headers,
                                          .body = buf_view(&c->sent),
                                          .ca_file = r->ca_file,
                                          .connect_timeout_ms = CONNECT_MS,
                                          .timeout_ms = r->timeout_ms,
                                          .any_status = true,
                                          .on_header = on_header,
                                          .on_data = on_data,
                                          .on_done = on_done,
                                          .data = c};
    enum status s = buf_status(&c->sent);
    if (s != STATUS_OK) {
        (void)error_set(err, s, "out of memory");
    } else {
        s = outgoing_start(o->http, &sent, &c->transfer, err);
    }
    if (s != STATUS_OK) {
        call_free(c);
        return s;
    }
    *out = c;
    return STATUS_OK;
}

void outbound_cancel(struct outbound_call *c)
{
    call_free(c);
}

bool outbound_header(const struct outbound_reply *r, const char *name, struct str *out)
{
    size_t n = strlen(name);
    for (size_t at = 0; at < r->head.len;) {
        const char *line = r->head.ptr + at;
        const char *end = memchr(line, '\n', r->head.len - at);
        size_t len = end == NULL ? r->head.len - at : (size_t)(end - line);
        at += len + 1;
        if (len > n && line[n] == ':' && strncasecmp(line, name, n) == 0) {
            struct str v = {line + n + 1, len - n - 1};
            while (v.len > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\t')) {
                v = (struct str){v.ptr + 1, v.len - 1};
            }
            while (v.len > 0 && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == '\t')) {
                v.len--;
            }
            *out = v;
            return true;
        }
    }
    return false;
}
