/* A chat, in the order things happen:
 *
 *   chat_ask      read and check the request
 *   on_passages   retrieve.Search has answered; in a conversation a language model that may have
 *                 these passages rewrites the question (generate.Chat, standing_question), and both
 *                 are searched: the citations are written once, generate.Chat starts
 *   on_piece      route and engine come with the first reply, then text, calls: gathered, until ...
 *   on_opened     ... the audit's first record is durable, and the stream begins
 *   on_finished   generate is through: the audit's second record and the answer's (answers.h) are
 *                 written ...
 *   conclude      ... and then it is kept (conversations, responses) ...
 *   tell          ... and the last event, or the whole answer, goes out; 503, or a stream cut, when
 *                 one of them could not be written
 *
 * A client that leaves cancels both calls; the records then say "cancelled". */
#include "base/clock.h"
#include "generate/generate_rpc.h"
#include "serve/chat_generate.h"
#include "serve/chat_record.h"
#include "serve/conversations.h"
#include "serve/request.h"
#include "serve/search_request.h"
#include "serve/vector_store_match.h"

/* A rewritten question is worth this wait, and not a word more than this. */
#define REWRITE_MS 4000

const struct error chat_no_error = {.code = STATUS_OK};

/* ---- retrieve ---- */

static void search(struct chat *c);

static void on_rewritten_piece(struct request *q, const ProtobufCMessage *message)
{
    struct chat *c = q->op;
    const Ge__ChatReply *m = ge_chat_reply(message);
    if (m != NULL) {
        fair_take_reply(q, &c->seen_rewriting, m);
    }
    if (m != NULL && m->route != NULL) {
        chat_note_route(c, m); /* the questions may have left, should there be no answer */
    }
    if (m != NULL && m->delta != NULL) {
        model_line_add(c->rewritten, m->delta);
    }
}

static void on_rewritten(struct request *q, const struct error *err)
{
    struct chat *c = q->op;
    fair_settle(q);
    model_line_end(c->rewritten);
    if (err->code != STATUS_OK || str_eq(str_from(c->rewritten->text), c->ask.question)) {
        c->rewritten = NULL;
        chat_generate(c); /* what the earlier turns found */
        return;
    }
    search(c);
}

/* What goes along of the passages are the labels: they decide where the questions may go, as they
 * will for the answer. */
static void rewrite(struct chat *c)
{
    struct request *q = c->q;
    Ge__ChatRequest ask = GE__CHAT_REQUEST__INIT;
    size_t n = c->found->n_passages;
    Vs__Passage *bare = arena_array(q->arena, n + 1, sizeof *bare);
    Vs__Passage **list = arena_array(q->arena, n + 1, sizeof *list);
    static char none[] = "";
    c->rewriting_over = true;
    c->rewritten = arena_alloc(q->arena, sizeof *c->rewritten);
    if (bare == NULL || list == NULL || c->rewritten == NULL) {
        api_out_of_memory(q);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        vs__passage__init(&bare[i]);
        bare[i].label = c->found->passages[i]->passage->label;
        bare[i].document = bare[i].collection = bare[i].format = bare[i].content = none;
        list[i] = &bare[i];
    }
    ask.answer_id = c->id;
    ask.messages = c->ask.ask->messages;
    ask.n_messages = c->ask.ask->n_messages;
    ask.passages = list;
    ask.n_passages = n;
    ask.engine = c->ask.ask->engine;
    ask.scope = pb_text(q->who->tenant);
    ask.has_temperature = ask.has_max_tokens = ask.has_standing_question = true;
    ask.max_tokens = 150;
    ask.standing_question = true;
    struct api_call how = {.on_reply = on_rewritten_piece, .on_finish = on_rewritten};
    (void)api_start(q, PEER_GENERATE, &ge_chat_method, REWRITE_MS, &ask.base, &how);
}

static void on_passages(struct request *q, const ProtobufCMessage *m, const struct error *err)
{
    struct chat *c = q->op;
    c->search_ms = clock_monotonic_ms() - c->started_ms;
    share_leave(q->serve->share, &q->place);
    const Rt__SearchReply *found = rt_search_reply(m);
    c->found = found != NULL ? found : c->found; /* the first search's, if the second failed */
    if (c->found == NULL) {
        chat_failed(c, err);
        return;
    }
    c->search_json = chat_search_json(c);
    for (size_t i = 0; i < c->found->n_passages; i++) {
        fair_found(q, c->found->passages[i]->passage->collection);
    }
    if (c->ask.n_earlier > 0 && c->found->n_passages > 0 && !c->rewriting_over) {
        rewrite(c);
    } else {
        chat_generate(c);
    }
}

static void search_now(struct request *q)
{
    struct chat *c = q->op;
    Rt__SearchRequest ask = RT__SEARCH_REQUEST__INIT;
    ProtobufCBinaryData earlier[CHAT_EARLIER_MAX];
    ask.query = pb_bytes(c->ask.question);
    for (size_t i = 0; i < c->ask.n_earlier; i++) {
        earlier[i] = pb_bytes(c->ask.earlier[i]);
    }
    ask.earlier = earlier;
    ask.n_earlier = c->ask.n_earlier;
    ask.has_widen = true;
    ask.widen = (uint32_t)c->q->serve->settings->retrieve.widen;
    ask.has_rewritten = chat_rewritten(c)[0] != '\0';
    ask.rewritten = pb_bytes(str_from(chat_rewritten(c)));
    ask.filter = c->ask.filtered ? c->ask.filter : NULL;
    api_unary(q, PEER_RETRIEVE, &rt_search_method, 0, &ask.base, on_passages);
}

static void search(struct chat *c)
{
    api_in_turn(c->q, search_now);
}

/* The conversation as it is: nothing is searched, so nothing is cited. */
static void talk(struct chat *c)
{
    Rt__SearchReply *none = arena_alloc(c->q->arena, sizeof *none);
    if (none == NULL) {
        api_out_of_memory(c->q);
        return;
    }
    rt__search_reply__init(none);
    c->found = none;
    c->ask.ask->has_plain = c->ask.ask->plain = true;
    chat_generate(c);
}

/* The request as chat completions have it; NULL: the error was told. */
static const struct json *translated(struct chat *c, const struct json *body)
{
    struct request *q = c->q;
    struct buf b;
    struct error err = {0};
    const char *param = NULL;
    if (c->dialect->translate == NULL) {
        return body;
    }
    buf_init(&b, CHAT_TRANSLATED_MAX);
    enum status s = c->dialect->translate(c, body, &b, &param, &err);
    if (s == STATUS_OK && buf_status(&b) != STATUS_OK) {
        s = error_set(&err, buf_status(&b), "the conversation is too long");
    }
    if (s == STATUS_OK) {
        s = jsonr_read(buf_view(&b), &q->translated, &err);
    }
    buf_deinit(&b);
    if (s == STATUS_OK) {
        return q->translated;
    }
    api_error(q, s == STATUS_UNSUPPORTED ? 400 : status_http(s), param, status_name(s), err.text);
    return NULL;
}

/* To the documents that filters hold of. False: an error was answered. */
static bool narrow(struct chat *c)
{
    static char none[] = "00000000000000000000000000"; /* no document has this id */
    struct request *q = c->q;
    const struct match *m = q->narrowed;
    Vs__Filter *f = c->ask.filter;
    f->documents = arena_array(q->arena, m->n + 1, sizeof *f->documents);
    if (f->documents == NULL) {
        api_out_of_memory(q);
        return false;
    }
    for (size_t i = 0; i < m->n; i++) {
        f->documents[i] = m->ids[i];
    }
    f->documents[m->n] = none;
    f->n_documents = m->n == 0 ? 1 : m->n;
    c->ask.filtered = true;
    return true;
}

static void begin(struct chat *c)
{
    struct request *q = c->q;
    if (q->narrowed != NULL && !narrow(c)) {
        return;
    }
    c->created_wall_ms = clock_wall_ms();
    c->started_ms = clock_monotonic_ms();
    buf_init(&c->text, CHAT_ANSWER_MAX);
    id_new(c->id);
    if (q->answer_id != NULL) {
        (void)snprintf(c->id, sizeof c->id, "%s", q->answer_id);
    }
    c->ask.stream = c->ask.stream && q->job == NULL; /* nobody listens */
    audit_note_question(q, c->ask.question);
    if (q->audit.question.ptr != NULL) { /* the request's own goes before the record is written */
        c->ask.question = q->audit.question;
    }
    if (c->conversation != NULL) {
        audit_link_conversations(q);
    }
    q->audit.asked_model = c->ask.model;
    q->op = c;
    q->on_gone = chat_gone;
    if (c->ask.plain) {
        talk(c);
    } else {
        search(c);
    }
}

/* The request into c->ask; false: what is wrong with it was told. */
static bool read_ask(struct chat *c, const struct json *body)
{
    struct request *q = c->q;
    struct error err;
    const char *param;
    const struct json *ask = translated(c, body);
    if (ask == NULL) {
        return false;
    }
    enum status s = chat_request_read(ask, q->serve->settings->generate.model, &q->http->asked,
                                      &c->ask, &param, &err);
    if (s != STATUS_OK) {
        api_error(q, s == STATUS_UNSUPPORTED ? 400 : status_http(s), param,
                  s == STATUS_NOT_FOUND ? "model_not_found" : status_name(s), err.text);
    }
    return s == STATUS_OK;
}

static void chat_init(struct chat *c, struct request *q, const struct chat_dialect *dialect,
                      void *more)
{
    c->dialect = dialect;
    c->more = more;
    c->q = q;
    c->http = q->http;
    c->failure = c->ended = &chat_no_error;
}

bool chat_check(struct request *q, const struct json *body, const struct chat_dialect *dialect,
                void *more)
{
    struct chat *c = arena_alloc(q->arena, sizeof *c);
    if (c == NULL) {
        api_out_of_memory(q);
        return false;
    }
    chat_init(c, q, dialect, more);
    bool good = read_ask(c, body);
    jsonr_free(q->translated);
    q->translated = NULL;
    return good;
}

void chat_ask(struct request *q, const struct json *body, const struct chat_dialect *dialect,
              void *more)
{
    struct chat *c = arena_alloc(q->arena, sizeof *c);
    if (c == NULL) {
        api_out_of_memory(q);
        return;
    }
    chat_init(c, q, dialect, more);
    if (!read_ask(c, body)) {
        return;
    }
    /* the record is written after the body's JSON may be gone */
    c->ask.model = arena_strdup(q->arena, c->ask.model);
    if (c->ask.model == NULL) {
        api_out_of_memory(q);
        return;
    }
    chat_conversation_begin(c, body, begin);
}
