#include "tests/unit/base/echo_service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/tls/tls.h"

struct echo_service {
    uint32_t cancels;
    struct list paused; /* struct stream */
};

struct stream {
    struct rpc_call *call;
    struct list link;
    uint32_t messages, left, bytes;
    uint64_t total;
    bool ended;
    char *text; /* of a message that found the window full */
    uint32_t number;
};

static struct echo_service *service_of(struct rpc_call *call)
{
    return rpc_call_service(call);
}

static struct stream *stream_of(struct rpc_call *call)
{
    void **slot = rpc_call_data(call);
    if (*slot == NULL) {
        struct stream *s = arena_alloc(rpc_call_arena(call), sizeof *s);
        if (s == NULL) {
            abort();
        }
        s->call = call;
        list_init(&s->link);
        *slot = s;
    }
    return *slot;
}

static char *writable(const char *z)
{
    char *p;
    memcpy(&p, &z, sizeof p);
    return p;
}

static void echo_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Echo__EchoRequest *q = echo_echo_request(m);
    const struct caller *caller = rpc_call_caller(call);
    Echo__EchoReply r = ECHO__ECHO_REPLY__INIT;
    r.text = q->text;
    r.has_number = 1;
    r.number = q->number;
    r.has_blob = q->has_blob;
    r.blob = q->blob;
    r.tenant = writable(rpc_call_tenant(call));
    r.user = caller == NULL ? NULL : writable(caller->user);
    r.has_peer = 1;
    r.peer = (uint32_t)rpc_call_peer(call);
    echo_echo_return(call, &r);
}

static void down_more(struct rpc_call *call)
{
    struct stream *s = stream_of(call);
    uint8_t *blob = calloc(1, s->bytes + 1);
    enum status st = STATUS_OK;
    while (s->left > 0 && blob != NULL) {
        Echo__EchoReply r = ECHO__ECHO_REPLY__INIT;
        r.has_number = 1;
        r.number = s->messages;
        r.has_blob = 1;
        r.blob.data = blob;
        r.blob.len = s->bytes;
        st = echo_down_respond(call, &r);
        if (st != STATUS_OK) {
            break;
        }
        s->messages++;
        s->left--;
    }
    free(blob);
    if (s->left == 0) {
        rpc_call_finish(call, STATUS_OK, NULL);
    } else if (st != STATUS_BUSY) {
        rpc_call_finish(call, STATUS_INTERNAL, "could not send");
    }
}

static void down_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Echo__EchoRequest *q = echo_down_request(m);
    struct stream *s = stream_of(call);
    s->left = q->replies;
    s->bytes = q->reply_bytes;
    down_more(call);
}

static void on_cancel(struct rpc_call *call)
{
    struct stream *s = stream_of(call);
    list_remove(&s->link);
    free(s->text);
    service_of(call)->cancels++;
    rpc_call_finish(call, STATUS_CANCELLED, NULL);
}

static void up_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Echo__EchoRequest *q = echo_up_request(m);
    struct stream *s = stream_of(call);
    if (s->messages == 0 && q->number == 1) {
        rpc_call_pause(call);
        list_push(&service_of(call)->paused, &s->link);
    }
    s->messages++;
    s->total += q->blob.len;
}

static void up_on_end(struct rpc_call *call)
{
    struct stream *s = stream_of(call);
    Echo__EchoReply r = ECHO__ECHO_REPLY__INIT;
    r.has_number = 1;
    r.number = s->messages;
    r.has_peer = 1;
    r.peer = (uint32_t)s->total;
    list_remove(&s->link);
    echo_up_return(call, &r);
}

static bool both_answer(struct rpc_call *call, uint32_t number, const char *text)
{
    Echo__EchoReply r = ECHO__ECHO_REPLY__INIT;
    r.has_number = 1;
    r.number = number;
    r.text = writable(text);
    return echo_both_respond(call, &r) == STATUS_OK;
}

static void both_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Echo__EchoRequest *q = echo_both_request(m);
    struct stream *s = stream_of(call);
    if (!both_answer(call, q->number, q->text)) {
        s->text = strdup(q->text);
        s->number = q->number;
        rpc_call_pause(call);
    }
}

static void both_on_ready(struct rpc_call *call)
{
    struct stream *s = stream_of(call);
    if (s->text != NULL && both_answer(call, s->number, s->text)) {
        free(s->text);
        s->text = NULL;
        rpc_call_resume(call);
    }
}

static void both_on_end(struct rpc_call *call)
{
    rpc_call_finish(call, STATUS_OK, NULL);
}

static void slow_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    (void)stream_of(call);
}

static void stats_on_request(struct rpc_call *call, const ProtobufCMessage *m)
{
    struct echo_service *e = service_of(call);
    if (echo_stats_request(m)->number == 77) {
        while (!list_empty(&e->paused)) {
            struct stream *s = list_entry(e->paused.next, struct stream, link);
            list_remove(&s->link);
            rpc_call_resume(s->call);
        }
    }
    Echo__EchoReply r = ECHO__ECHO_REPLY__INIT;
    r.has_cancels = 1;
    r.cancels = e->cancels;
    r.has_pid = 1;
    r.pid = (uint32_t)getpid();
    echo_stats_return(call, &r);
}

static const struct rpc_handler handlers[] = {
    {.method = &echo_echo_method, .on_request = echo_on_request},
    {.method = &echo_down_method,
     .on_request = down_on_request,
     .on_ready = down_more,
     .on_cancel = on_cancel},
    {.method = &echo_up_method,
     .on_request = up_on_request,
     .on_end = up_on_end,
     .on_cancel = on_cancel},
    {.method = &echo_both_method,
     .on_request = both_on_request,
     .on_end = both_on_end,
     .on_ready = both_on_ready,
     .on_cancel = on_cancel},
    {.method = &echo_slow_method, .on_request = slow_on_request, .on_cancel = on_cancel},
    {.method = &echo_stats_method, .on_request = stats_on_request},
    {.method = &echo_ingest_only_method, .on_request = echo_on_request},
};

static void on_signal(uv_signal_t *h, int signum)
{
    (void)signum;
    rpc_server_close(h->data, NULL, NULL);
    uv_close((uv_handle_t *)h, NULL);
}

static enum status load_tls(const char *folder, struct tls_context **tls, struct error *err)
{
    char ca[128], crt[128], key[128];
    (void)snprintf(ca, sizeof ca, "%s/ca.crt", folder);
    (void)snprintf(crt, sizeof crt, "%s/vectorstore.crt", folder);
    (void)snprintf(key, sizeof key, "%s/vectorstore.key", folder);
    const struct tls_files files = {.certificate = crt, .key = key, .ca = ca};
    return tls_context_new(&files, tls, err);
}

static int fail(const struct error *err)
{
    fprintf(stderr, "echo service: %s\n", err->text);
    return 1;
}

int echo_service_run(const char *folder, const char *address)
{
    struct error err;
    struct identity identity;
    struct echo_service service = {0};
    struct rpc_server *server;
    struct tls_context *tls = NULL;
    char path[128];
    struct buf record;
    uv_loop_t loop;
    uv_signal_t term;
    const struct rpc_limits limits = {.hello_timeout_ms = ECHO_HELLO_TIMEOUT_MS};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    log_init("echo", LOG_LEVEL_ERROR);
    list_init(&service.paused);
    (void)snprintf(path, sizeof path, "%s/vectorstore.identity", folder);
    buf_init(&record, 4096);
    if (file_read(path, &record, &err) != STATUS_OK ||
        identity_decode((const uint8_t *)record.ptr, record.len, &identity, &err) != STATUS_OK) {
        return fail(&err);
    }
    buf_deinit(&record);
    (void)uv_loop_init(&loop);
    if (rpc_server_new(&loop, &identity, handlers, sizeof handlers / sizeof *handlers, &limits,
                       &service, &server, &err) != STATUS_OK) {
        return fail(&err);
    }
    if (strncmp(address, "tls:", 4) == 0) {
        if (load_tls(folder, &tls, &err) != STATUS_OK) {
            return fail(&err);
        }
        rpc_server_tls(server, tls);
    }
    if (rpc_server_listen(server, address, &err) != STATUS_OK) {
        return fail(&err);
    }
    (void)uv_signal_init(&loop, &term);
    term.data = server;
    (void)uv_signal_start(&term, on_signal, SIGTERM);
    if (write(3, "r", 1) != 1) {
        return 1;
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    tls_context_free(tls);
    return uv_loop_close(&loop) == 0 ? 0 : 4;
}
