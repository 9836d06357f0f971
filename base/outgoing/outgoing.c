/* libcurl tells which sockets to watch and when to wake it; uv_poll and a timer do so; finished
 * transfers are read from its queue after each step (libcurl's docs/examples/multi-uv.c). */
#include "base/outgoing/outgoing.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define PROXY_URL_MAX ((size_t)1024)
/* A reply that is no answer (an error page) is not read further than this. */
#define DISCARDED_MAX ((size_t)64 * 1024)

struct outgoing {
    CURLM *multi;
    uv_loop_t *loop;
    uv_timer_t timer;
    struct buf proxy;
    size_t n_polls; /* sockets whose handles are not closed */
    bool timer_closed;
    void (*closed)(void *data);
    void *closed_data;
};

struct outgoing_socket {
    uv_poll_t poll;
    curl_socket_t fd;
    struct outgoing *client;
};

struct outgoing_transfer {
    struct outgoing *client;
    CURL *easy;
    struct curl_slist *headers;
    struct outgoing_request request;
    size_t discarded;
    bool stopped; /* on_data said so */
    bool running;
    char message[CURL_ERROR_SIZE];
};

static void ended(struct outgoing *c)
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

static void report(struct outgoing_transfer *t, CURLcode code)
{
    struct outgoing_outcome outcome = {0};
    curl_off_t retry_after = 0, sent = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &outcome.status);
    (void)curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
    (void)curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    outcome.retry_after_s = retry_after > 86400 ? 86400 : (long)retry_after;
    outcome.connected = sent > 0 || outcome.status != 0;
    long proxy = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_PROXY_ERROR, &proxy);
    outcome.refused = proxy == (long)CURLPX_REPLY_NOT_ALLOWED;
    bool own_stop = code == CURLE_WRITE_ERROR && (t->stopped || t->discarded > 0);
    if (outcome.refused) {
        (void)error_set(&outcome.error, STATUS_UNAVAILABLE,
                        "%s cannot be reached: carrel-egress refused it (not a configured "
                        "destination, or a private address)",
                        t->request.what);
    } else if (code != CURLE_OK && !own_stop) {
        (void)error_set(&outcome.error, status_of(code), "%s cannot be reached: %s",
                        t->request.what,
                        t->message[0] != '\0' ? t->message : curl_easy_strerror(code));
    }
    t->request.on_done(t->request.data, &outcome); /* may free t */
}

static void read_finished(struct outgoing *c)
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
        struct outgoing_transfer *t = (struct outgoing_transfer *)(void *)private;
        (void)curl_multi_remove_handle(c->multi, t->easy);
        t->running = false;
        report(t, code);
    }
}

static void on_timeout(uv_timer_t *h)
{
    struct outgoing *c = h->data;
    int running;
    (void)curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    read_finished(c);
}

static int on_timer_wanted(CURLM *multi, long ms, void *data)
{
    (void)multi;
    struct outgoing *c = data;
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
    struct outgoing_socket *s = h->data;
    struct outgoing *c = s->client;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    int running;
    (void)curl_multi_socket_action(c->multi, s->fd, flags, &running); /* may close s */
    read_finished(c);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct outgoing_socket *s = h->data;
    struct outgoing *c = s->client;
    free(s);
    c->n_polls--;
    ended(c);
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    (void)easy;
    struct outgoing *c = data;
    struct outgoing_socket *s = socket_data;
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
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
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

enum status outgoing_new(uv_loop_t *loop, const char *proxy, struct outgoing **out,
                         struct error *err)
{
    struct outgoing *c = calloc(1, sizeof *c);
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
    struct outgoing *c = h->data;
    c->timer_closed = true;
    ended(c);
}

void outgoing_close(struct outgoing *c, void (*closed)(void *data), void *data)
{
    (void)curl_multi_cleanup(c->multi); /* drops its idle connections through on_socket_wanted */
    c->multi = NULL;
    c->closed = closed;
    c->closed_data = data;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static size_t on_body(char *p, size_t size, size_t n, void *data)
{
    struct outgoing_transfer *t = data;
    long status = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && !t->request.any_status) {
        t->discarded += size * n;
        return t->discarded > DISCARDED_MAX ? 0 : size * n;
    }
    t->stopped = !t->request.on_data(t->request.data, p, size * n);
    return t->stopped ? 0 : size * n;
}

static size_t on_header(char *p, size_t size, size_t n, void *data)
{
    struct outgoing_transfer *t = data;
    size_t len = size * n;
    while (len > 0 && (p[len - 1] == '\r' || p[len - 1] == '\n')) {
        len--;
    }
    if (t->request.on_header != NULL) {
        t->request.on_header(t->request.data, p, len);
    }
    return size * n;
}

/* Children that are started meanwhile get nothing of this along. */
static int on_new_socket(void *data, curl_socket_t fd, curlsocktype purpose)
{
    (void)data, (void)purpose;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? CURL_SOCKOPT_OK : CURL_SOCKOPT_ERROR;
}

static bool set_options(struct outgoing_transfer *t, const struct outgoing_request *r)
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
    SET(CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (r->ca_file != NULL && r->ca_file[0] != '\0') {
        SET(CURLOPT_CAINFO, r->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (strcmp(r->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (strcmp(r->method, "GET") == 0 || strcmp(r->method, "DELETE") == 0) {
        SET(CURLOPT_HTTPGET, 1L);
    } else {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
        SET(CURLOPT_POSTFIELDS, r->body.ptr == NULL ? "" : r->body.ptr);
    }
    SET(CURLOPT_CUSTOMREQUEST, r->method);
    SET(CURLOPT_SOCKOPTFUNCTION, on_new_socket);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_HTTPHEADER, t->headers);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_ERRORBUFFER, t->message);
    SET(CURLOPT_PRIVATE, t);
#undef SET
    return ok;
}

enum status outgoing_start(struct outgoing *c, const struct outgoing_request *r,
                           struct outgoing_transfer **out, struct error *err)
{
    struct outgoing_transfer *t = calloc(1, sizeof *t);
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
        outgoing_free(t);
        return error_set(err, STATUS_INVALID, "a request to %s cannot be made", r->url);
    }
    t->running = true;
    *out = t;
    return STATUS_OK;
}

void outgoing_hold(struct outgoing_transfer *t, bool hold)
{
    (void)curl_easy_pause(t->easy, hold ? CURLPAUSE_RECV : CURLPAUSE_CONT);
}

void outgoing_free(struct outgoing_transfer *t)
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
