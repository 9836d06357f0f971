/* A peer that says anything: the frame decoder, and the state machines of server and client behind
 * a true handshake. The input is a little program: its first byte chooses whom to speak to, then
 * come steps of {operation, id, length} and `length` bytes of body. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rpc/conn.h"
#include "base/rpc/health_rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_METHOD(fn, wire, kind)                                                                \
    RPC_METHOD(fuzz, fn, wire, rpc__health_reply, Rpc__HealthReply, rpc__health_reply,             \
               Rpc__HealthReply, kind, FROM(RETRIEVE), 60000)
FUZZ_METHOD(one, "f.One", RPC_UNARY)
FUZZ_METHOD(up, "f.Up", RPC_REQUEST_STREAM)
FUZZ_METHOD(down, "f.Down", RPC_REPLY_STREAM)
FUZZ_METHOD(both, "f.Both", RPC_BOTH_STREAM)

static struct fuzz {
    uv_loop_t loop;
    struct identity ids[PEER_COUNT];
    char address[96];
    char path[80];
    struct rpc_server *server;
    struct rpc_client *client;
    uv_pipe_t listener;       /* of the false server */
    struct rpc_conn *speaker; /* says what the input says */
    bool ready, gone;
    unsigned open;
} z;

/* ---- an honest server */

static void one_on_request(struct rpc_call *c, const ProtobufCMessage *m)
{
    fuzz_one_return(c, fuzz_one_request(m));
}

static void stream_on_request(struct rpc_call *c, const ProtobufCMessage *m)
{
    const Rpc__HealthReply *q = fuzz_both_request(m);
    if (q->queue % 5 == 1) {
        rpc_call_pause(c);
    }
    if (q->queue % 5 == 2) {
        rpc_call_finish(c, STATUS_CONFLICT, q->detail);
        return;
    }
    if (q->queue % 5 == 3) {
        rpc_call_resume(c);
    }
    for (int i = 0; i < 3; i++) {
        if (fuzz_both_respond(c, q) != STATUS_OK) {
            break;
        }
    }
}

static void stream_on_end(struct rpc_call *c)
{
    rpc_call_finish(c, STATUS_OK, NULL);
}

static void stream_on_ready(struct rpc_call *c)
{
    rpc_call_resume(c);
}

static void stream_on_cancel(struct rpc_call *c)
{
    rpc_call_finish(c, STATUS_CANCELLED, NULL);
}

static const struct rpc_handler handlers[] = {
    {.method = &fuzz_one_method, .on_request = one_on_request},
    {.method = &fuzz_up_method,
     .on_request = stream_on_request,
     .on_end = stream_on_end,
     .on_cancel = stream_on_cancel},
    {.method = &fuzz_down_method,
     .on_request = stream_on_request,
     .on_ready = stream_on_ready,
     .on_cancel = stream_on_cancel},
    {.method = &fuzz_both_method,
     .on_request = stream_on_request,
     .on_end = stream_on_end,
     .on_ready = stream_on_ready,
     .on_cancel = stream_on_cancel},
};

/* ---- an honest client */

static void on_reply(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)data;
    const Rpc__HealthReply *h = fuzz_both_reply(m);
    if (h->queue % 5 == 1) {
        rpc_request_pause(r);
    } else if (h->queue % 5 == 2) {
        rpc_request_cancel(r);
    } else if (h->queue % 5 == 3) {
        rpc_request_resume(r);
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    (void)err;
    (void)data;
}

static void start_requests(void)
{
    static const struct rpc_callbacks cb = {.on_reply = on_reply, .on_finish = on_finish};
    char name[] = "x";
    Rpc__HealthReply q = RPC__HEALTH_REPLY__INIT;
    q.service = name;
    q.build = name;
    if (fuzz_one(z.client, NULL, &q, &cb, NULL) == NULL ||
        fuzz_up(z.client, NULL, &q, &cb, NULL) == NULL ||
        fuzz_down(z.client, NULL, &q, &cb, NULL) == NULL ||
        fuzz_both(z.client, NULL, NULL, &cb, NULL) == NULL) {
        abort();
    }
}

/* ---- the speaker */

static void on_ready(struct rpc_conn *c)
{
    (void)c;
    z.ready = true;
}

static enum status on_frame(struct rpc_conn *c, const struct frame *f, struct error *err)
{
    (void)c;
    (void)f;
    (void)err;
    return STATUS_OK;
}

static void on_drained(struct rpc_conn *c)
{
    (void)c;
}

static void on_close(struct rpc_conn *c, const struct error *why)
{
    (void)c;
    (void)why;
}

static void on_gone(struct rpc_conn *c)
{
    (void)c;
    z.gone = true;
}

static struct rpc_conn *speaker_new(bool client)
{
    static const struct rpc_conn_ops ops = {.on_ready = on_ready,
                                            .on_frame = on_frame,
                                            .on_drained = on_drained,
                                            .on_close = on_close,
                                            .on_gone = on_gone};
    const struct rpc_conn_options o = {.loop = &z.loop,
                                       .identity =
                                           &z.ids[client ? PEER_RETRIEVE : PEER_VECTORSTORE],
                                       .ops = &ops,
                                       .client = client,
                                       .target = PEER_VECTORSTORE,
                                       .window = RPC_MESSAGE_MAX,
                                       .hello_timeout_ms = 60000,
                                       .body_max = RPC_MESSAGE_MAX};
    struct rpc_conn *c;
    if (rpc_conn_new(&o, &c, NULL) != STATUS_OK) {
        abort();
    }
    z.ready = z.gone = false;
    return c;
}

static void on_connection(uv_stream_t *s, int status)
{
    if (status == 0 && z.speaker == NULL) {
        z.speaker = speaker_new(false);
        if (rpc_conn_accept(z.speaker, s, NULL) != STATUS_OK) {
            abort();
        }
    }
}

static void send_raw(const uint8_t *p, size_t len)
{
    struct out_frame *f = malloc(sizeof *f + len);
    if (f == NULL) {
        abort();
    }
    *f = (struct out_frame){.len = len};
    memcpy(f->data, p, len);
    (void)rpc_conn_send(z.speaker, f, 0);
}

/* The required fields of a HealthReply, and its queue; what follows may be anything. */
static const uint8_t valid_start[] = {0x0a, 1, 'x', 0x12, 1, 'y', 0x18, 0, 0x20};

static void step(uint8_t op, uint8_t id, const uint8_t *body, size_t len)
{
    static const char *const names[] = {"f.One", "f.Up", "f.Down", "f.Both"};
    char name[16], text[16];
    uint8_t valid[sizeof valid_start + 256];
    Rpc__FrameHeader h = RPC__FRAME_HEADER__INIT;
    if (op % 8 == 0) {
        send_raw(body, len);
        return;
    }
    if (id & 8) {
        memcpy(valid, valid_start, sizeof valid_start);
        memcpy(valid + sizeof valid_start, body, len);
        body = valid;
        len += sizeof valid_start;
    }
    h.kind = (Rpc__FrameKind)(op % 8);
    h.has_id = 1;
    h.id = id % 8;
    h.has_end = h.end = (op >> 3) & 1;
    h.has_has_message = h.has_message = 1;
    if (h.kind == RPC__FRAME_KIND__REQUEST) {
        (void)snprintf(name, sizeof name, "%s", names[(op >> 4) & 3]);
        h.method = name;
        if (op & 0x40) {
            h.has_caller = 1;
            h.caller.len = len;
            memcpy(&h.caller.data, &body, sizeof body);
        }
        if (op & 0x80) {
            (void)snprintf(text, sizeof text, "%.*s", (int)(len < 8 ? len : 8), (const char *)body);
            h.tenant = text;
        }
    } else if (h.kind == RPC__FRAME_KIND__END) {
        h.has_status = 1;
        h.status = op >> 3;
    } else if (h.kind == RPC__FRAME_KIND__CREDIT) {
        h.has_credit = 1;
        h.credit = len > 3 ? (uint32_t)body[0] | (uint32_t)body[1] << 8 | (uint32_t)body[2] << 16 |
                                 (uint32_t)body[3] << 24
                           : 1000;
    }
    struct out_frame *f = frame_encode_bytes(&h, body, len);
    if (f != NULL) {
        (void)rpc_conn_send(z.speaker, f, op >> 7);
    }
}

static void turns(int n)
{
    for (int i = 0; i < n; i++) {
        (void)uv_run(&z.loop, UV_RUN_NOWAIT);
    }
}

static void speak(const uint8_t *p, size_t len)
{
    while (len >= 3 && !z.gone && z.speaker->phase == CONN_READY) {
        size_t body = p[2];
        body = body > len - 3 ? len - 3 : body;
        step(p[0], p[1], p + 3, body);
        p += 3 + body;
        len -= 3 + body;
        if (p[-1] & 1) {
            turns(1);
        }
    }
    turns(4);
}

static void decode_only(const uint8_t *p, size_t len)
{
    static struct frame_scratch scratch;
    size_t pos = 0;
    while (pos < len) {
        struct frame f;
        if (frame_decode(p + pos, len - pos, 4096, &scratch, &f, NULL) != STATUS_OK ||
            f.size == 0) {
            return;
        }
        if (f.size > len - pos) {
            abort();
        }
        pos += f.size;
    }
}

static void on_closed(void *data)
{
    (void)data;
    z.open--;
}

static void on_listener_closed(uv_handle_t *h)
{
    (void)h;
    z.open--;
}

static void to_server(const uint8_t *p, size_t len)
{
    struct rpc_address a;
    if (rpc_server_new(&z.loop, &z.ids[PEER_VECTORSTORE], handlers,
                       sizeof handlers / sizeof *handlers, NULL, NULL, &z.server,
                       NULL) != STATUS_OK ||
        rpc_server_listen(z.server, z.address, NULL) != STATUS_OK ||
        rpc_address_parse(z.address, &a, NULL) != STATUS_OK) {
        abort();
    }
    z.speaker = speaker_new(true);
    if (rpc_conn_connect(z.speaker, &a, NULL) != STATUS_OK) {
        abort();
    }
    while (!z.ready) {
        (void)uv_run(&z.loop, UV_RUN_ONCE);
    }
    speak(p, len);
    z.open = 1;
    rpc_server_close(z.server, on_closed, NULL);
}

static void to_client(const uint8_t *p, size_t len)
{
    (void)uv_pipe_init(&z.loop, &z.listener, 0);
    (void)unlink(z.path);
    if (uv_pipe_bind(&z.listener, z.path) != 0 ||
        uv_listen((uv_stream_t *)&z.listener, 8, on_connection) != 0 ||
        rpc_client_new(&z.loop, &z.ids[PEER_RETRIEVE], PEER_VECTORSTORE, z.address, NULL, &z.client,
                       NULL) != STATUS_OK) {
        abort();
    }
    start_requests();
    while (!z.ready) {
        (void)uv_run(&z.loop, UV_RUN_ONCE);
    }
    speak(p, len);
    z.open = 2;
    rpc_client_close(z.client, on_closed, NULL);
    uv_close((uv_handle_t *)&z.listener, on_listener_closed);
}

static char folder[] = "/tmp/carrel-fuzz-XXXXXX";

static void tidy(void)
{
    (void)unlink(z.path);
    (void)rmdir(folder);
}

static void prepare(void)
{
    log_init("fuzz", LOG_LEVEL_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    identity_make(z.ids);
    if (uv_loop_init(&z.loop) != 0 || mkdtemp(folder) == NULL) {
        abort();
    }
    (void)atexit(tidy);
    (void)snprintf(z.path, sizeof z.path, "%s/s", folder);
    (void)snprintf(z.address, sizeof z.address, "unix:%s", z.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (z.path[0] == '\0') {
        prepare();
    }
    if (size < 1) {
        return 0;
    }
    if (data[0] % 3 == 0) {
        decode_only(data + 1, size - 1);
        return 0;
    }
    z.speaker = NULL;
    z.ready = z.gone = false;
    if (data[0] % 3 == 1) {
        to_server(data + 1, size - 1);
    } else {
        to_client(data + 1, size - 1);
    }
    if (!z.gone) {
        rpc_conn_close(z.speaker, NULL);
    }
    while (!z.gone || z.open > 0) {
        (void)uv_run(&z.loop, UV_RUN_ONCE);
    }
    return 0;
}
