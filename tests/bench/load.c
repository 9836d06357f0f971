/* A load of passages searches, by HTTP or by the RPC that serve makes for them. Everything on one
 * thread and one loop, so that the generator costs both the same.
 *
 *   load http HOST:PORT KEY N SECONDS QUERIES      N connections, one request at a time on each
 *   load get  HOST:PORT PATH N SECONDS             the same with GET PATH, no key
 *   load rpc  HOME N SECONDS QUERIES               N calls in flight to retrieve; serve's identity
 *                                                  on descriptor 3
 *
 * Prints JSON: requests, failures, requests a second, p50 and p99 in ms. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/rpc/caller.h"
#include "base/rpc/rpc.h"
#include "retrieve/retrieve_rpc.h"
#include "serve/http/jsonw.h"

#define SAMPLES_MAX 4000000
#define QUERIES_MAX 20000
#define CLIENTS_MAX 4096
#define RESPONSE_MAX ((size_t)8 * 1024 * 1024)
#define WARM_S 1

struct load {
    uv_loop_t loop;
    struct str queries[QUERIES_MAX];
    size_t n_queries, next;
    int64_t start_us, end_us;
    float *ms;
    size_t n, failed;
    /* http */
    const char *key, *path;
    struct sockaddr_in address;
    /* rpc */
    struct rpc_client *rpc;
    struct rpc_options options;
};

struct client {
    struct load *l;
    int64_t sent_us;
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct buf out, in;
    size_t want; /* bytes of the whole answer; 0: its head is not there yet */
    char scratch[65536];
};

static struct load load;
static struct client clients[CLIENTS_MAX];

static void die(const char *what)
{
    (void)fprintf(stderr, "load: %s\n", what);
    exit(1);
}

static void ask(struct client *c);

static void answered(struct client *c, bool ok)
{
    struct load *l = c->l;
    int64_t now = clock_monotonic_us();
    if (c->sent_us >= l->start_us && now <= l->end_us) {
        l->failed += !ok;
        if (l->n < SAMPLES_MAX) {
            l->ms[l->n++] = (float)(now - c->sent_us) / 1000.0F;
        }
    }
    if (now < l->end_us) {
        ask(c);
    } else {
        uv_stop(&l->loop);
    }
}

/* ---- HTTP ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct client *c = h->data;
    *out = uv_buf_init(c->scratch, sizeof c->scratch);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct client *c = s->data;
    if (n < 0) {
        die("the server closed a connection");
    }
    buf_append(&c->in, b->base, (size_t)n);
    if (c->want == 0) {
        const char *end = c->in.ptr == NULL ? NULL : memmem(c->in.ptr, c->in.len, "\r\n\r\n", 4);
        const char *len = end == NULL ? NULL : strcasestr(c->in.ptr, "\r\ncontent-length:");
        if (end == NULL) {
            return;
        }
        if (len == NULL || len > end) {
            die("an answer without a length");
        }
        c->want = (size_t)(end + 4 - c->in.ptr) + strtoul(len + 17, NULL, 10);
    }
    if (c->in.len >= c->want) {
        bool ok = strncmp(c->in.ptr, "HTTP/1.1 200", 12) == 0;
        c->want = 0;
        buf_reset(&c->in);
        answered(c, ok);
    }
}

static void ask_http(struct client *c)
{
    struct load *l = c->l;
    buf_reset(&c->out);
    if (l->path != NULL) {
        buf_printf(&c->out, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", l->path);
    } else {
        struct buf body;
        struct jsonw w;
        buf_init(&body, 65536);
        jsonw_init(&w, &body);
        jsonw_open(&w, '{');
        jsonw_field_str(&w, "query", l->queries[l->next++ % l->n_queries]);
        jsonw_close(&w, '}');
        buf_printf(&c->out,
                   "POST /api/search HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                   l->key, body.len);
        buf_str(&c->out, buf_view(&body));
        buf_deinit(&body);
    }
    uv_buf_t b = uv_buf_init(c->out.ptr, (unsigned)c->out.len);
    /* not uv_write: the next answer can be there before libuv is done with the request of the last */
    if (buf_status(&c->out) != STATUS_OK ||
        uv_try_write((uv_stream_t *)&c->tcp, &b, 1) != (int)c->out.len) {
        die("cannot write");
    }
}

static void on_connect(uv_connect_t *r, int status)
{
    struct client *c = r->data;
    if (status != 0 || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        die("cannot connect");
    }
    (void)uv_tcp_nodelay(&c->tcp, 1);
    ask(c);
}

/* ---- RPC ---- */

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    (void)m;
    (void)data;
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    answered(data, err->code == STATUS_OK);
}

static void ask_rpc(struct client *c)
{
    static const struct rpc_callbacks cb = {on_reply, NULL, on_finish};
    struct load *l = c->l;
    Rt__SearchRequest ask = RT__SEARCH_REQUEST__INIT;
    struct str q = l->queries[l->next++ % l->n_queries];
    ask.query = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)q.ptr, .len = q.len};
    if (rpc_client_start(l->rpc, &rt_search_method, &l->options, &ask.base, &cb, c) == NULL) {
        die("out of memory");
    }
}

static void ask(struct client *c)
{
    c->sent_us = clock_monotonic_us();
    if (c->l->rpc != NULL) {
        ask_rpc(c);
    } else {
        ask_http(c);
    }
}

/* ---- both ---- */

static void read_queries(struct load *l, const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        die("cannot read the queries");
    }
    for (ssize_t n; l->n_queries < QUERIES_MAX && (n = getline(&line, &cap, f)) > 1;) {
        char *copy = strndup(line, (size_t)n - 1);
        if (copy == NULL) {
            die("out of memory");
        }
        l->queries[l->n_queries++] = (struct str){copy, (size_t)n - 1};
    }
    free(line);
    (void)fclose(f);
    if (l->n_queries == 0) {
        die("no queries");
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

static void report(const struct load *l, double seconds)
{
    qsort(l->ms, l->n, sizeof *l->ms, by_value);
    if (l->n == 0) {
        die("nothing was answered");
    }
    (void)printf("{\"requests\":%zu,\"failed\":%zu,\"per_s\":%.1f,\"p50\":%.3f,\"p99\":%.3f}\n",
                 l->n, l->failed, (double)l->n / seconds, (double)l->ms[l->n / 2],
                 (double)l->ms[l->n * 99 / 100]);
}

static struct identity serve_identity;
static struct arena arena;

static void open_rpc(struct load *l, const char *home)
{
    uint8_t record[IDENTITY_RECORD_BYTES];
    char address[1200];
    static const struct caller caller = {
        .tenant = "main", .user = "bench", .admin = true, .expires_wall_ms = INT64_MAX};
    struct error err;
    (void)snprintf(address, sizeof address, "unix:%s/run/retrieve.sock", home);
    arena_init(&arena, 65536);
    if (read(3, record, sizeof record) != (ssize_t)sizeof record ||
        identity_decode(record, sizeof record, &serve_identity, &err) != STATUS_OK) {
        die("no identity on descriptor 3");
    }
    l->options = (struct rpc_options){.timeout_ms = 60000, .tenant = "main"};
    if (caller_sign(&serve_identity, &caller, &arena, &l->options.caller, &l->options.caller_len,
                    &err) != STATUS_OK ||
        rpc_client_new(&l->loop, &serve_identity, PEER_RETRIEVE, address, NULL, &l->rpc, &err) !=
            STATUS_OK) {
        die(err.text);
    }
}

static void open_http(struct load *l, char *where, size_t n)
{
    char *colon = strrchr(where, ':');
    if (colon == NULL) {
        die("HOST:PORT");
    }
    *colon = '\0';
    if (uv_ip4_addr(where, (int)strtol(colon + 1, NULL, 10), &l->address) != 0) {
        die("HOST must be an IPv4 address");
    }
    for (size_t i = 0; i < n; i++) {
        struct client *c = &clients[i];
        c->l = l;
        buf_init(&c->out, 65536);
        buf_init(&c->in, RESPONSE_MAX);
        (void)uv_tcp_init(&l->loop, &c->tcp);
        c->tcp.data = c->connect.data = c;
        if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&l->address,
                           on_connect) != 0) {
            die("cannot connect");
        }
    }
}

int main(int argc, char **argv)
{
    bool rpc = argc == 6 && strcmp(argv[1], "rpc") == 0;
    bool get = argc == 6 && strcmp(argv[1], "get") == 0;
    bool http = argc == 7 && strcmp(argv[1], "http") == 0;
    struct load *l = &load;
    if (!rpc && !get && !http) {
        die("usage: see the head of load.c");
    }
    char **rest = argv + (rpc ? 3 : 4); /* N SECONDS [QUERIES] */
    size_t n = strtoul(rest[0], NULL, 10);
    double seconds = strtod(rest[1], NULL);
    l->ms = malloc(sizeof *l->ms * SAMPLES_MAX);
    if (n == 0 || n > CLIENTS_MAX || seconds <= 0 || l->ms == NULL || uv_loop_init(&l->loop) != 0) {
        die("N or SECONDS");
    }
    if (!get) {
        read_queries(l, rest[2]);
    }
    l->start_us = clock_monotonic_us() + (int64_t)WARM_S * 1000000;
    l->end_us = l->start_us + (int64_t)(seconds * 1e6);
    if (rpc) {
        open_rpc(l, argv[2]);
        for (size_t i = 0; i < n; i++) {
            clients[i].l = l;
            ask(&clients[i]);
        }
    } else {
        l->key = http ? argv[3] : NULL;
        l->path = get ? argv[3] : NULL;
        open_http(l, argv[2], n);
    }
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    report(l, seconds);
    return 0;
}
