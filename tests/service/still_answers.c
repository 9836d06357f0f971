/* Stands where retrieve and generate stand, so that streams of answers can be held open for as long
 * as a test or a benchmark of serve wants: a search finds nothing, a chat gets one word at once and
 * then one word every 100 ms until max_tokens of them were sent; without max_tokens it stays still.
 *
 *   still-answers HOME       the identities of retrieve and generate, one after the other, on
 *                            descriptor 3 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/rpc/rpc.h"
#include "generate/generate_rpc.h"
#include "retrieve/retrieve_rpc.h"

#define WORD_MS 100

struct answer {
    struct rpc_call *call;
    struct list link;
    int64_t left; /* words; -1: none will come */
};

static struct list answers;
static char word[] = "word ", engine[] = "local", model[] = "still", stop[] = "stop";

static void die(const char *what)
{
    (void)fprintf(stderr, "still-answers: %s\n", what);
    exit(1);
}

static void on_search(struct rpc_call *call, const ProtobufCMessage *m)
{
    (void)m;
    Rt__SearchReply reply = RT__SEARCH_REPLY__INIT;
    rt_search_return(call, &reply);
}

static void end(struct answer *a, enum status s)
{
    list_remove(&a->link);
    rpc_call_finish(a->call, s, NULL);
}

static void on_chat(struct rpc_call *call, const ProtobufCMessage *m)
{
    const Ge__ChatRequest *q = ge_chat_request(m);
    Ge__ChatReply reply = GE__CHAT_REPLY__INIT;
    struct answer *a = arena_alloc(rpc_call_arena(call), sizeof *a);
    if (a == NULL) {
        die("out of memory");
    }
    *a = (struct answer){.call = call, .left = q->has_max_tokens ? (int64_t)q->max_tokens : -1};
    *rpc_call_data(call) = a;
    list_push(&answers, &a->link);
    reply.delta = word;
    reply.engine = engine;
    reply.model = model;
    (void)ge_chat_respond(call, &reply);
}

static void on_cancel(struct rpc_call *call)
{
    end(*rpc_call_data(call), STATUS_CANCELLED);
}

static void on_word(uv_timer_t *t)
{
    (void)t;
    list_for_each_safe(it, &answers)
    {
        struct answer *a = list_entry(it, struct answer, link);
        Ge__ChatReply reply = GE__CHAT_REPLY__INIT;
        if (a->left < 0) {
            continue;
        }
        reply.delta = word;
        if (a->left-- == 0) {
            reply.has_last = reply.last = true;
            reply.finish_reason = stop;
        }
        (void)ge_chat_respond(a->call, &reply);
        if (reply.has_last) {
            end(a, STATUS_OK);
        }
    }
}

static void serve(uv_loop_t *loop, const char *home, struct identity *id,
                  const struct rpc_handler *handler)
{
    uint8_t record[IDENTITY_RECORD_BYTES];
    char address[1200];
    struct rpc_server *server;
    struct error err;
    size_t n = 0;
    for (ssize_t got; n < sizeof record && (got = read(3, record + n, sizeof record - n)) > 0;) {
        n += (size_t)got;
    }
    if (identity_decode(record, n, id, &err) != STATUS_OK) {
        die("no identity on descriptor 3");
    }
    (void)snprintf(address, sizeof address, "unix:%s/run/%s.sock", home, peer_name(id->self));
    if (rpc_server_new(loop, id, handler, 1, NULL, NULL, &server, &err) != STATUS_OK ||
        rpc_server_listen(server, address, &err) != STATUS_OK) {
        die(err.text);
    }
}

int main(int argc, char **argv)
{
    static const struct rpc_handler search = {.method = &rt_search_method, .on_request = on_search};
    static const struct rpc_handler chat = {
        .method = &ge_chat_method, .on_request = on_chat, .on_cancel = on_cancel};
    static struct identity ids[2];
    static uv_loop_t loop;
    static uv_timer_t timer;
    if (argc != 2 || uv_loop_init(&loop) != 0 || uv_timer_init(&loop, &timer) != 0) {
        die("usage: still-answers HOME");
    }
    list_init(&answers);
    serve(&loop, argv[1], &ids[0], &search);
    serve(&loop, argv[1], &ids[1], &chat);
    (void)uv_timer_start(&timer, on_word, WORD_MS, WORD_MS);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}
