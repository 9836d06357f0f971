/* libcurl tells which sockets to watch and when to wake it; uv_poll and a timer do so; finished transfers
 * are read from its queue after each step (libcurl's docs/examples/multi-uv.c). */
#include "generate/upstream/http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define PROXY_URL_MAX ((size_t)1024)
/* A reply that is no answer (an error page) is not read further than this. */
#define DISCARDED_MAX ((size_t)64 * 1024)

struct http_client {
    CURLM *multi;
    uv_loop_t *loop;
    uv_timer_t timer;
    struct buf proxy;
    size_t n_polls; /* sockets whose handles are not closed */
    bool timer_closed;
    void (*closed)(void *data);
    void *closed_data;
};

struct http_socket {
    uv_poll_t poll;
    curl_socket_t fd;
    struct http_client *client;
};

struct http_transfer {
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    struct http_request request;
    size_t discarded;
    bool stopped; /* on_data said so */
    bool running;
    char message[CURL_ERROR_SIZE];
};

static void ended(struct http_client *c)
{
    if (c->closed != NULL && c->timer_closed && c->n_polls == 0) {
        void (*closed)(void *) = c->closed;
        void *data = c->closed_data;
        buf_deinit(&c->proxy);
        free(c);
        closed(data);
    }
}

static enum status status_of(CURLcode code)
{
    switch ((int)code) {
    case CURLE_OK:
        return STATUS_OK;
    case CURLE_OUT_OF_MEMORY:
        return STATUS_NO_MEMORY;
    case CURLE_OPERATION_TIMEDOUT:
        return STATUS_DEADLINE;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return STATUS_INVALID;
    default:
        return STATUS_UNAVAILABLE;
    }
}

static void report(struct http_transfer *t, CURLcode code)
{
    struct http_outcome outcome = {0};
    curl_off_t retry_after = 0, sent = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &outcome.status);
    (void)curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
    (void)curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    outcome.retry_after_s = retry_after > 86400 ? 86400 : (long)retry_after;
    outcome.connected = sent > 0 || outcome.status != 0;
    bool own_stop = code == CURLE_WRITE_ERROR && (t->stopped || t->discarded > 0);
    if (code != CURLE_OK && !own_stop) {
        error_set(&outcome.error, status_of(code), "the upstream cannot be reached: %s",
                  t->message[0] != '\0' ? t->message : curl_easy_strerror(code));
    }
    t->request.on_done(t->request.data, &outcome); /* may free t */
}

static void read_finished(struct http_client *c)
{
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode code = m->data.result;
        char *private = NULL;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        struct http_transfer *t = (struct http_transfer *)(void *)private;
        (void)curl_multi_remove_handle(c->multi, t->easy);
        t->running = false;
        report(t, code);
    }
}

static void on_timeout(uv_timer_t *h)
{
    struct http_client *c = h->data;
    int running;
    (void)curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    read_finished(c);
}

static int on_timer_wanted(CURLM *multi, long ms, void *data)
{
    (void)multi;
    struct http_client *c = data;
    if (ms < 0) {
        (void)uv_timer_stop(&c->timer);
    } else {
        /* 0 means at once, but never from inside libcurl */
        (void)uv_timer_start(&c->timer, on_timeout, (uint64_t)ms, 0);
    }
    return 0;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct http_socket *s = h->data;
    struct http_client *c = s->client;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    int running;
    (void)curl_multi_socket_action(c->multi, s->fd, flags, &running); /* may close s */
    read_finished(c);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct http_socket *s = h->data;
    struct http_client *c = s->client;
    free(s);
    c->n_polls--;
    ended(c);
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    (void)easy;
    struct http_client *c = data;
    struct http_socket *s = socket_data;
    if (what == CURL_POLL_REMOVE) {
        if (s != NULL) {
            (void)uv_poll_stop(&s->poll);
            uv_close((uv_handle_t *)&s->poll, on_poll_closed);
            (void)curl_multi_assign(c->multi, fd, NULL);
        }
        return 0;
    }
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        if (s == NULL || uv_poll_init_socket(c->loop, &s->poll, fd) != 0) {
            free(s);
            return -1; /* libcurl fails the transfer */
        }
        s->fd = fd;
        s->client = c;
        s->poll.data = s;
        c->n_polls++;
        (void)curl_multi_assign(c->multi, fd, s);
    }
    int events = 0;
    events |= what == CURL_POLL_IN || what == CURL_POLL_INOUT ? UV_READABLE : 0;
    events |= what == CURL_POLL_OUT || what == CURL_POLL_INOUT ? UV_WRITABLE : 0;
    return uv_poll_start(&s->poll, events, on_poll) == 0 ? 0 : -1;
}

/* The path becomes part of a URL, so everything outside the unreserved characters is escaped. */
static enum status make_proxy_url(struct buf *out, const char *path, struct error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    buf_init(out, PROXY_URL_MAX);
    buf_z(out, "socks5h://localhost");
    for (const char *p = path; *p != '\0'; p++) {
        if (strchr(plain, *p) != NULL) {
            buf_char(out, *p);
        } else {
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*p);
        }
    }
    enum status s = buf_status(out);
    return s == STATUS_OK && path[0] == '/'
               ? STATUS_OK
               : error_set(err, STATUS_INVALID, "%s: not a socket's absolute path", path);
}

enum status http_client_new(uv_loop_t *loop, const char *proxy, struct http_client **out,
                            struct error *err)
{
    struct http_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = make_proxy_url(&c->proxy, proxy, err);
    if (s == STATUS_OK && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        s = error_set(err, STATUS_INTERNAL, "libcurl cannot be started");
    }
    c->multi = s == STATUS_OK ? curl_multi_init() : NULL;
    if (s == STATUS_OK && c->multi == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (s != STATUS_OK) {
        buf_deinit(&c->proxy);
        free(c);
        return s;
    }
    c->loop = loop;
    (void)uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    (void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    (void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    (void)curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    (void)curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    (void)curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 8L);
    *out = c;
    return STATUS_OK;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct http_client *c = h->data;
    c->timer_closed = true;
    ended(c);
}

void http_client_close(struct http_client *c, void (*closed)(void *data), void *data)
{
    (void)curl_multi_cleanup(c->multi); /* drops its idle connections through on_socket_wanted */
    c->multi = NULL;
    c->closed = closed;
    c->closed_data = data;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static size_t on_body(char *p, size_t size, size_t n, void *data)
{
    struct http_transfer *t = data;
    long status = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        t->discarded += size * n;
        return t->discarded > DISCARDED_MAX ? 0 : size * n;
    }
    t->stopped = !t->request.on_data(t->request.data, p, size * n);
    return t->stopped ? 0 : size * n;
}

static bool set_options(struct http_transfer *t, const struct http_request *r)
{
    CURL *e = t->easy;
    bool ok = true;
#define SET(option, value) ok = ok && curl_easy_setopt(e, option, value) == CURLE_OK
    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PROXY, buf_view(&t->client->proxy).ptr);
    SET(CURLOPT_NOPROXY, ""); /* whatever the environment says */
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_timeout_ms);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    SET(CURLOPT_POSTFIELDS, r->body.ptr);
    SET(CURLOPT_HTTPHEADER, t->headers);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_ERRORBUFFER, t->message);
    SET(CURLOPT_PRIVATE, t);
#undef SET
    return ok;
}

enum status http_start(struct http_client *c, const struct http_request *r,
                       struct http_transfer **out, struct error *err)
{
    struct http_transfer *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    t->client = c;
    t->request = *r;
    t->easy = curl_easy_init();
    bool ok = t->easy != NULL;
    for (size_t i = 0; ok && i < r->n_headers; i++) {
        struct curl_slist *more = curl_slist_append(t->headers, r->headers[i]);
        ok = more != NULL;
        t->headers = ok ? more : t->headers;
    }
    ok = ok && set_options(t, r);
    if (!ok || curl_multi_add_handle(c->multi, t->easy) != CURLM_OK) {
        http_free(t);
        return error_set(err, STATUS_INVALID, "a request to %s cannot be made", r->url);
    }
    t->running = true;
    *out = t;
    return STATUS_OK;
}

void http_hold(struct http_transfer *t, bool hold)
{
    (void)curl_easy_pause(t->easy, hold ? CURLPAUSE_RECV : CURLPAUSE_CONT);
}

void http_free(struct http_transfer *t)
{
    if (t->running) {
        (void)curl_multi_remove_handle(t->client->multi, t->easy);
    }
    if (t->easy != NULL) {
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->headers);
    free(t);
}
