/* What every dialect's answer has in common: citations, who answered, and pieces of a stream that
 * wait for their reader. */
#include "serve/chat.h"
#include "serve/cited.h"
#include "serve/conversations.h"
#include "serve/http/jsonw.h"
#include "serve/passage.h"
#include "serve/request.h"

#define CALL_PIECE ((size_t)1024) /* bytes of a call's arguments in one event */

bool chat_is_cited(const struct chat *c, size_t number, uint32_t *mark)
{
    for (size_t i = 0; i < c->n_cited; i++) {
        if (c->cited[i].number == number) {
            *mark = c->cited[i].mark;
            return true;
        }
    }
    return false;
}

void chat_citations(struct jsonw *w, const struct chat *c, bool all)
{
    jsonw_key(w, "citations");
    jsonw_open(w, '[');
    for (size_t i = 0; i < c->found->n_passages; i++) {
        const Vs__Passage *p = c->found->passages[i]->passage;
        uint32_t mark = 0;
        if (!all && !chat_is_cited(c, i + 1, &mark)) {
            continue;
        }
        jsonw_open(w, '{');
        jsonw_field_int(w, "number", (int64_t)i + 1);
        hex_field(w, "passage", p->chunk);
        passage_fields(w, p, all ? 0 : cited_page(p, buf_view(&c->text), mark));
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

void chat_carrel(struct jsonw *w, const struct chat *c, bool last)
{
    jsonw_key(w, "carrel");
    jsonw_open(w, '{');
    jsonw_field_z(w, "answer_id", c->id);
    if (chat_conversation_id(c) != NULL) {
        jsonw_field_z(w, "conversation", chat_conversation_id(c));
    }
    jsonw_field_z(w, "engine", c->engine);
    jsonw_field_z(w, "model", c->model);
    if (c->route_json != NULL) {
        jsonw_key(w, "route");
        jsonw_raw(w, str_from(c->route_json));
    }
    if (c->search_json != NULL) {
        jsonw_key(w, "search");
        jsonw_raw(w, str_from(c->search_json));
    }
    if (c->found->n_notes > 0) {
        jsonw_key(w, "notes");
        jsonw_open(w, '[');
        for (size_t i = 0; i < c->found->n_notes; i++) {
            jsonw_str(w, str_from(c->found->notes[i]));
        }
        jsonw_close(w, ']');
    }
    jsonw_field_int(w, "widen", c->q->serve->settings->retrieve.widen);
    if (chat_rewritten(c)[0] != '\0') {
        jsonw_field_z(w, "rewritten", chat_rewritten(c));
    }
    if (last) {
        if (c->note != NULL && c->note[0] != '\0') {
            jsonw_field_z(w, "note", c->note);
        }
        jsonw_field_bool(w, "refused", c->refused);
        jsonw_field_int(w, "marks_removed", c->marks_removed);
    }
    jsonw_close(w, '}');
}

/* OpenAI knows no "refused": the answer that there is none ended as it should. */
const char *chat_finish(const struct chat *c)
{
    if (c->n_calls > 0) {
        return "tool_calls";
    }
    return c->finish_reason != NULL && strcmp(c->finish_reason, "length") == 0 ? "length" : "stop";
}

void chat_send(struct chat *c, struct buf *b)
{
    enum status s = buf_status(b);
    if (s == STATUS_OK) {
        s = http_stream_write(c->http, b->ptr, b->len);
    } else {
        http_stream_cut(c->http);
    }
    if (s == STATUS_BUSY && c->rpc != NULL && !c->paused) {
        c->paused = true;
        rpc_request_pause(c->rpc);
    }
    buf_deinit(b);
}

static void on_drain(struct http_request *http)
{
    struct request *q = http->data;
    struct chat *c = q->op;
    if (c->paused && c->rpc != NULL) {
        c->paused = false;
        rpc_request_resume(c->rpc);
    }
}

void chat_stream_begin(struct chat *c)
{
    c->begun = true;
    c->http->on_drain = on_drain;
}

bool chat_call_piece(struct str *rest, struct str *piece)
{
    size_t n = rest->len < CALL_PIECE ? rest->len : CALL_PIECE;
    while (n < rest->len && ((unsigned char)rest->ptr[n] & 0xC0) == 0x80) {
        n++;
    }
    *piece = (struct str){rest->ptr, n};
    *rest = (struct str){rest->ptr + n, rest->len - n};
    return n > 0;
}

void chat_calls(struct jsonw *w, const struct chat_call *calls, size_t n)
{
    jsonw_open(w, '[');
    for (size_t i = 0; i < n; i++) {
        jsonw_open(w, '{');
        jsonw_field_z(w, "id", calls[i].id);
        jsonw_field_z(w, "type", "function");
        jsonw_key(w, "function");
        jsonw_open(w, '{');
        jsonw_field_z(w, "name", calls[i].name);
        jsonw_field_z(w, "arguments", calls[i].arguments);
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}
