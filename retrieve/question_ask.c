#include "retrieve/question_ask.h"

#include <string.h>

#include "generate/generate_rpc.h"

#define QUESTION_LEAST 8
#define QUESTION_TOKENS 60

static char *
text_of(const char *z) /* protobuf-c's strings are not const; packing only reads them */
{
    return (char *)(uintptr_t)z;
}

static void on_piece(struct rpc_request *r, const ProtobufCMessage *m, void *data)
{
    (void)r;
    struct question_ask *q = data;
    const Ge__ChatReply *reply = ge_chat_reply(m);
    if (reply != NULL && reply->delta != NULL) {
        model_line_add(&q->line, reply->delta);
    }
}

static void on_finish(struct rpc_request *r, const struct error *err, void *data)
{
    (void)r;
    struct question_ask *q = data;
    model_line_end(&q->line);
    bool good = err->code == STATUS_OK && strlen(q->line.text) >= QUESTION_LEAST;
    q->done(q->data, good ? q->line.text : "", err);
}

struct rpc_request *question_ask_start(struct service *svc, struct question_ask *q,
                                       const struct rpc_options *options, const char *title,
                                       const struct question_passage *p)
{
    static const struct rpc_callbacks callbacks = {.on_reply = on_piece, .on_finish = on_finish};
    Ge__ChatRequest ask = GE__CHAT_REQUEST__INIT;
    Ge__Message message = GE__MESSAGE__INIT;
    Ge__Message *messages[] = {&message};
    Vs__Passage passage = VS__PASSAGE__INIT;
    Vs__Passage *passages[] = {&passage};
    char heading[256];
    size_t n = p->heading.len < sizeof heading ? p->heading.len : sizeof heading - 1;
    memcpy(heading, p->heading.ptr, n);
    heading[n] = '\0';
    q->line = (struct model_line){.len = 0};
    message.role = text_of("user");
    message.content = text_of("What would somebody ask?");
    passage.document = passage.collection = passage.format = passage.content = text_of("");
    passage.title = text_of(title);
    passage.heading_path = heading;
    passage.text =
        (ProtobufCBinaryData){.len = p->text.len, .data = (uint8_t *)(uintptr_t)p->text.ptr};
    ask.answer_id = text_of("evaluation");
    ask.messages = messages;
    ask.n_messages = 1;
    ask.passages = passages;
    ask.n_passages = 1;
    ask.engine = text_of("local");
    ask.has_max_tokens = ask.has_make_question = true;
    ask.max_tokens = QUESTION_TOKENS;
    ask.make_question = true;
    struct rpc_client *c = service_client(svc, PEER_GENERATE);
    return c == NULL ? NULL : ge_chat(c, options, &ask, &callbacks, q);
}
