/* Calls to the outside through a real egress on the same loop; the server beside it answers as its
 * path says. getaddrinfo and connect are the test's own (curl's and libuv's calls come here too):
 * the resolver answers otherwise each time it is asked, and every address that is dialled is
 * written down. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "generate/egress/egress.h"
#include "serve/outbound.h"

#define REBOUND "rebound.test" /* whose addresses the resolver makes up */
#define FAR "8.8.8.8"          /* a public address; who dials it gets the server beside the test */

static struct {
    const char *answers[4]; /* addresses, parted by a space; one after the other, then the last */
    size_t n;
    atomic_size_t asked; /* by a thread of libuv */
    char dialled[512];   /* the loop's thread */
    int port;
} net;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (real == NULL) {
        void *f = dlsym(RTLD_NEXT, "getaddrinfo");
        memcpy(&real, &f, sizeof real);
    }
    if (node == NULL || strcmp(node, REBOUND) != 0) {
        return real(node, service, hints, out);
    }
    size_t at = atomic_fetch_add(&net.asked, 1);
    const char *list = net.answers[at < net.n ? at : net.n - 1];
    struct addrinfo numeric = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    *out = NULL;
    for (size_t len; list[0] != '\0'; list += len + (list[len] == ' ' ? 1 : 0)) {
        char one[INET6_ADDRSTRLEN];
        len = strcspn(list, " ");
        (void)snprintf(one, sizeof one, "%.*s", (int)len, list);
        while (*out != NULL) {
            out = &(*out)->ai_next;
        }
        int rc = real(one, service, &numeric, out);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int connect(int fd, __CONST_SOCKADDR_ARG where, socklen_t len)
{
    const struct sockaddr *to = where.__sockaddr__;
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (real == NULL) {
        void *f = dlsym(RTLD_NEXT, "connect");
        memcpy(&real, &f, sizeof real);
    }
    struct sockaddr_in in;
    char text[INET6_ADDRSTRLEN] = "";
    if (to->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, to, sizeof in6);
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
    } else if (to->sa_family == AF_INET) {
        memcpy(&in, to, sizeof in);
        (void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    } else {
        return real(fd, to, len); /* the door's socket */
    }
    size_t used = strlen(net.dialled);
    (void)snprintf(net.dialled + used, sizeof net.dialled - used, "%s ", text);
    if (strcmp(text, FAR) == 0) {
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        in.sin_port = htons((uint16_t)net.port);
        return real(fd, (const struct sockaddr *)&in, sizeof in);
    }
    if (strncmp(text, "127.", 4) != 0) { /* nothing of the test leaves the machine */
        errno = ENETUNREACH;
        return -1;
    }
    return real(fd, to, len);
}

#define PLACES 12
#define OTHER_PORT 1

struct world {
    uv_loop_t loop;
    uv_tcp_t server;
    char dir[64], socket[128];
    struct settings settings;
    struct destination places[PLACES];
    struct egress *egress;
    struct outbound *out;
    int port, asked_port; /* the server's, and that of the URLs */
    unsigned requests;
    int moved; /* the status of /moved, and where to */
    const char *location;
    char seen[2048];
    bool done, closed;
    struct outbound_reply reply;
    char body[4096], type[64];
};

struct visitor {
    struct world *w;
    uv_tcp_t tcp;
    uv_write_t write;
    char in[2048];
    size_t len;
    struct buf out;
};

static void on_visitor_closed(uv_handle_t *h)
{
    struct visitor *v = h->data;
    buf_deinit(&v->out);
    free(v);
}

static void on_written(uv_write_t *r, int status)
{
    (void)status;
    struct visitor *v = r->data;
    uv_close((uv_handle_t *)&v->tcp, on_visitor_closed);
}

static void answer(struct visitor *v)
{
    v->w->requests++;
    (void)snprintf(v->w->seen, sizeof v->w->seen, "%s", v->in);
    if (strstr(v->in, " /silent ") != NULL) {
        return;
    }
    if (strstr(v->in, " /moved ") != NULL) {
        buf_printf(&v->out, "HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                   v->w->moved, v->w->location);
    } else if (strstr(v->in, " /long ") != NULL) {
        buf_z(&v->out, "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n");
        for (size_t i = 0; i < 3000; i++) {
            buf_char(&v->out, 'x');
        }
    } else {
        buf_z(&v->out, "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Type:  text/plain \r\n"
                       "Content-Length: 4\r\n\r\nwait");
    }
    uv_buf_t b = uv_buf_init(v->out.ptr, (unsigned)v->out.len);
    v->write.data = v;
    assert_int_equal(uv_write(&v->write, (uv_stream_t *)&v->tcp, &b, 1, on_written), 0);
}

static void on_room(uv_handle_t *h, size_t wanted, uv_buf_t *b)
{
    (void)wanted;
    struct visitor *v = h->data;
    *b = uv_buf_init(v->in + v->len, (unsigned)(sizeof v->in - 1 - v->len));
}

static void on_bytes(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    (void)b;
    struct visitor *v = s->data;
    if (n < 0) {
        uv_close((uv_handle_t *)&v->tcp, on_visitor_closed);
        return;
    }
    v->len += (size_t)n;
    v->in[v->len] = '\0';
    const char *body = strstr(v->in, "\r\n\r\n");
    if (body != NULL && (strncmp(v->in, "POST", 4) != 0 || strstr(body, "end") != NULL)) {
        (void)uv_read_stop(s);
        if (strstr(v->in, " /silent ") != NULL) {
            (void)uv_read_start(s, on_room, on_bytes);
        }
        answer(v);
    }
}

static void on_visit(uv_stream_t *s, int status)
{
    assert_int_equal(status, 0);
    struct visitor *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->w = s->data;
    buf_init(&v->out, 8192);
    assert_int_equal(uv_tcp_init(&v->w->loop, &v->tcp), 0);
    v->tcp.data = v;
    assert_int_equal(uv_accept(s, (uv_stream_t *)&v->tcp), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)&v->tcp, on_room, on_bytes), 0);
}

/* What an administrator might be talked into listing: names of this machine that do not look it. */
static const char *const names[] = {REBOUND,  "localhost", "2130706433", "0x7f000001",
                                    "127.1",  "0",         "0177.0.0.1", "::ffff:127.0.0.1",
                                    "0.0.0.0"};

static int setup(void **state)
{
    size_t n = 0;
    struct world *w = calloc(1, sizeof *w);
    struct error err = {0};
    struct sockaddr_in at;
    struct sockaddr_storage got;
    int len = sizeof got;
    char run[96];
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/carrel-out-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(run, sizeof run, "%s/run", w->dir);
    assert_int_equal(file_mkdirs(run, 0700, &err), STATUS_OK);
    assert_int_equal(file_join(w->socket, sizeof w->socket, w->dir, SERVE_SOCKET, &err), STATUS_OK);
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &at), 0);
    assert_int_equal(uv_tcp_init(&w->loop, &w->server), 0);
    w->server.data = w;
    assert_int_equal(uv_tcp_bind(&w->server, (struct sockaddr *)&at, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->server, 8, on_visit), 0);
    assert_int_equal(uv_tcp_getsockname(&w->server, (struct sockaddr *)&got, &len), 0);
    struct sockaddr_in in;
    memcpy(&in, &got, sizeof in);
    w->port = ntohs(in.sin_port);
    w->places[0] =
        (struct destination){.host = "127.0.0.1", .port = (uint16_t)w->port, .allow_private = true};
    net.port = w->asked_port = w->port;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct destination *d = &w->places[++n];
        d->port =
            i == 0 ? (uint16_t)w->port : OTHER_PORT; /* where 127.0.0.1 itself is not listed */
        (void)snprintf(d->host, sizeof d->host, "%s", names[i]);
    }
    const struct egress_options o = {
        .socket = w->socket, .destinations = w->places, .n_destinations = n + 1};
    assert_int_equal(egress_new(&w->loop, &o, &w->egress, &err), STATUS_OK);
    w->settings.home = w->dir;
    assert_int_equal(outbound_new(&w->loop, &w->settings, &w->out, &err), STATUS_OK);
    *state = w;
    return 0;
}

static void on_closed(void *data)
{
    (void)data;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char run[96];
    outbound_close(w->out, on_closed, w);
    egress_close(w->egress, on_closed, w);
    uv_close((uv_handle_t *)&w->server, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    (void)snprintf(run, sizeof run, "%s/run", w->dir);
    (void)rmdir(run);
    (void)rmdir(w->dir);
    free(w);
    return 0;
}

static void on_done(void *data, const struct outbound_reply *r)
{
    struct world *w = data;
    struct str type = {0};
    w->done = true;
    w->reply = *r;
    (void)snprintf(w->body, sizeof w->body, "%.*s", (int)r->body.len, r->body.ptr);
    if (outbound_header(r, "content-type", &type)) {
        (void)snprintf(w->type, sizeof w->type, "%.*s", (int)type.len, type.ptr);
    }
}

static struct outbound_call *start(struct world *w, const char *host, const char *path)
{
    char url[200];
    struct error err = {0};
    struct outbound_call *c = NULL;
    const char *headers[] = {"X-Signed: yes"};
    bool silent = strcmp(path, "/silent") == 0;
    bool v6 = strchr(host, ':') != NULL;
    (void)snprintf(url, sizeof url, v6 ? "http://[%s]:%d%s" : "http://%s:%d%s", host, w->asked_port,
                   path);
    net.dialled[0] = '\0';
    const struct outbound_request r = {.what = "the receiver",
                                       .method = "POST",
                                       .url = url,
                                       .headers = headers,
                                       .n_headers = 1,
                                       .body = STR("{\"to\":\"the end\"}"),
                                       .max_reply_bytes = 1000,
                                       .timeout_ms = silent ? 1000 : 60000,
                                       .done = on_done,
                                       .data = w};
    w->done = false;
    assert_int_equal(outbound_start(w->out, &r, &c, &err), STATUS_OK);
    return c;
}

static void call(struct world *w, const char *host, const char *path)
{
    (void)start(w, host, path);
    while (!w->done) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
}

static void test_answer(void **state)
{
    struct world *w = *state;
    call(w, "127.0.0.1", "/busy");
    assert_int_equal(w->reply.error.code, STATUS_OK);
    assert_int_equal(w->reply.status, 503);
    assert_int_equal(w->reply.retry_after_s, 7);
    assert_string_equal(w->body, "wait");
    assert_string_equal(w->type, "text/plain");
    assert_non_null(strstr(w->seen, "X-Signed: yes"));
    assert_non_null(strstr(w->seen, "{\"to\":\"the end\"}"));
}

static void test_hostile(void **state)
{
    struct world *w = *state;
    call(w, "127.0.0.1", "/long");
    assert_int_equal(w->reply.error.code, STATUS_OK);
    assert_true(w->reply.cut);
    assert_int_equal(strlen(w->body), 1000);
    call(w, "127.0.0.1", "/silent");
    assert_int_equal(w->reply.error.code, STATUS_DEADLINE);
    assert_true(w->reply.sent);
    unsigned before = w->requests;
    call(w, "127.0.0.2", "/x"); /* not configured */
    assert_true(w->reply.refused);
    assert_int_equal(w->requests, before);
    assert_string_equal(net.dialled, "");
}

static void test_redirects(void **state)
{
    struct world *w = *state;
    char here[64];
    (void)snprintf(here, sizeof here, "http://127.0.0.1:%d/inside", w->port); /* a listed one too */
    static const int statuses[] = {301, 302, 303, 307, 308};
    const char *const places[] = {here,
                                  "/inside",
                                  "//localhost/inside",
                                  "http://" REBOUND "/",
                                  "http://2130706433/",
                                  "http://0x7f.1/",
                                  "http://0.0.0.0/",
                                  "http://169.254.169.254/latest/meta-data/",
                                  "http://[::1]/",
                                  "http://[::ffff:127.0.0.1]/",
                                  "http://[fe80::1%25lo]/",
                                  "http://[fd00::1]/",
                                  "http://[64:ff9b::7f00:1]/",
                                  "https://10.0.0.1/",
                                  "file:///etc/passwd",
                                  "gopher://127.0.0.1:1/x",
                                  "nonsense"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        w->requests = 0;
        w->location = places[i];
        w->moved = statuses[i % 5];
        call(w, "127.0.0.1", "/moved");
        if (w->reply.status != w->moved || w->requests != 1 ||
            strcmp(net.dialled, "127.0.0.1 ") != 0) {
            fail_msg("%d to %s: HTTP %ld, %u requests, dialled %s", w->moved, places[i],
                     w->reply.status, w->requests, net.dialled);
        }
    }
    assert_int_equal(atomic_load(&net.asked), 0);
}

static void refused_undialled(struct world *w, const char *host, const char *what)
{
    unsigned before = w->requests;
    call(w, host, "/x");
    if (w->reply.error.code != STATUS_UNAVAILABLE || !w->reply.refused || w->reply.sent ||
        w->requests != before || net.dialled[0] != '\0') {
        fail_msg("%s (%s): %s, dialled %s", host, what, w->reply.error.text, net.dialled);
    }
}

static void test_names_that_lead_inside(void **state)
{
    struct world *w = *state;
    w->asked_port = OTHER_PORT;
    for (size_t i = 1; i < sizeof names / sizeof *names; i++) {
        refused_undialled(w, names[i], "as it is written");
    }
    w->asked_port = w->port;
    static const char *const inside[] = {"127.0.0.1",
                                         "10.0.0.1",
                                         "0.0.0.0",
                                         "169.254.169.254",
                                         "100.64.0.1",
                                         "::1",
                                         "::",
                                         "::ffff:127.0.0.1",
                                         "::ffff:10.0.0.1",
                                         "::ffff:a9fe:a9fe",
                                         "::ffff:0:7f00:1",
                                         "::127.0.0.1",
                                         "fe80::1",
                                         "fec0::1",
                                         "fc00::1",
                                         "fd12:3456::1",
                                         "64:ff9b::7f00:1",
                                         "64:ff9b::10.0.0.1",
                                         "64:ff9b:1::a00:1",
                                         "64:ff9b::a9fe:a9fe",
                                         "2002:7f00:1::1",
                                         "2002:a00:1::",
                                         "2001::1",
                                         "2001:2::1",
                                         "3fff::1",
                                         "ff02::1",
                                         "127.0.0.1 ::1 fd00::1"};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        net.answers[0] = inside[i];
        net.n = 1;
        refused_undialled(w, REBOUND, inside[i]);
    }
}

/* Asked once a call, and what was looked at is what is dialled: a name whose address changes
 * between the two has nothing to change in between. */
static void test_rebinding(void **state)
{
    struct world *w = *state;
    net.answers[0] = FAR;
    net.answers[1] = "127.0.0.1";
    net.n = 2;
    atomic_store(&net.asked, 0);
    call(w, REBOUND, "/busy");
    assert_int_equal(w->reply.status, 503);
    assert_int_equal(atomic_load(&net.asked), 1);
    assert_string_equal(net.dialled, FAR " ");
    refused_undialled(w, REBOUND, "at its second call it leads inside");
    assert_int_equal(atomic_load(&net.asked), 2);

    net.answers[0] = "127.0.0.1 10.0.0.1 " FAR " ::1"; /* of several the public one */
    net.n = 1;
    call(w, REBOUND, "/busy");
    assert_int_equal(w->reply.status, 503);
    assert_string_equal(net.dialled, FAR " ");

    net.answers[0] = "9.9.9.9 127.0.0.1"; /* nobody answers at the public one: not the other then */
    call(w, REBOUND, "/busy");
    assert_true(w->reply.error.code != STATUS_OK);
    assert_string_equal(net.dialled, "9.9.9.9 ");
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    struct outbound_call *c = start(w, "127.0.0.1", "/silent");
    (void)uv_run(&w->loop, UV_RUN_ONCE);
    outbound_cancel(c);
    assert_false(w->done);
    (void)start(w, "127.0.0.1", "/silent"); /* dropped by the close in teardown */
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const origins[] = {"https://hooks.example.org", "http://10.0.0.5:5678/"};
    const struct string_list list = {origins, 2};
    static const struct {
        const char *url;
        enum status status;
    } rows[] = {
        {"https://hooks.example.org/x?y=1", STATUS_OK},
        {"https://HOOKS.example.org:443/x", STATUS_OK},
        {"http://10.0.0.5:5678/webhook/a", STATUS_OK},
        {"http://hooks.example.org/x", STATUS_FORBIDDEN},
        {"https://hooks.example.org:444/x", STATUS_FORBIDDEN},
        {"https://hooks.example.org.evil.test/", STATUS_FORBIDDEN},
        {"https://evil.test/https://hooks.example.org", STATUS_FORBIDDEN},
        {"https://10.0.0.5:5678/", STATUS_FORBIDDEN},
        {"https://user:pw@hooks.example.org/", STATUS_INVALID},
        {"https://hooks.example.org@evil.test/", STATUS_INVALID},
        {"https://hooks.example.org\\@evil.test/", STATUS_INVALID},
        {"https://hooks.example.org/#x", STATUS_INVALID},
        {"https://hooks.example.org/a b", STATUS_INVALID},
        {"https://hooks.example.org/\r\nX: y", STATUS_INVALID},
        {"file:///etc/passwd", STATUS_INVALID},
        {"ldap://hooks.example.org/", STATUS_INVALID},
        {"gopher://hooks.example.org/", STATUS_INVALID},
        {"//hooks.example.org/", STATUS_INVALID},
        {"", STATUS_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        enum status s = outbound_url_check(rows[i].url, &list, NULL, &err);
        if (s != rows[i].status) {
            fail_msg("%s: %d %s", rows[i].url, (int)s, err.text);
        }
    }
    char longest[OUTBOUND_URL_MAX + 64];
    struct error err = {0};
    (void)memset(longest, 'a', sizeof longest);
    (void)memcpy(longest, "https://hooks.example.org/", 26);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(outbound_url_check(longest, &list, NULL, &err), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_that_lead_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebinding, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
