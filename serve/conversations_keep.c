/* A chat that is kept in a conversation: checked before anything is asked, written with its record.
 *
 * What is kept may only come from this conversation, or an erasure and a link's viewer would find
 * texts whose documents nobody can tell. So the assistant's earlier messages in the request have to
 * be answers of the conversation. What functions gave back is kept as an item of the client's own
 * (responses only: there the calls are in the conversation too), and no link shows what follows. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/log.h"
#include "serve/chat_record.h"
#include "serve/chat_responses.h"
#include "serve/conversations.h"
#include "serve/request.h"

#define DAY_MS INT64_C(86400000)

struct chat_conversation {
    struct chat *c;
    struct http_request *http;
    void (*go)(struct chat *c);
    char id[ID_CAP], tenant[65], user[64];
    const char *filter; /* JSON, or NULL */
    int64_t expired_ms, per_user;
    int64_t last;      /* number of the newest exchange when the question was asked; 0: none */
    int64_t new_items; /* that the request puts in beside its question, at most */
    bool fresh;        /* it is made with the answer */
};

const char *chat_conversation_id(const struct chat *c)
{
    return c->conversation == NULL ? NULL : c->conversation->id;
}

/* ---- before ---- */

static enum status is_said(sqlite3_stmt *st, const struct chat_conversation *k, const char *text,
                           struct error *err)
{
    bool row = false;
    (void)sqlite3_bind_text(st, 1, k->id, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 2, text, -1, SQLITE_STATIC);
    enum status s = db_row(st, &row, err);
    db_reset(st);
    return s == STATUS_OK && !row
               ? error_set(
                     err, STATUS_INVALID,
                     "messages: the assistant's messages must be answers of the conversation, "
                     "as it keeps them")
               : s;
}

static enum status check_said(sqlite3 *db, const struct chat_conversation *k, struct error *err)
{
    const Ge__ChatRequest *ask = k->c->ask.ask;
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(
        db,
        "SELECT 1 FROM exchanges WHERE conversation = ?1 AND text = ?2"
        " UNION ALL SELECT 1 FROM conversation_items WHERE conversation = ?1 AND text = ?2 LIMIT 1",
        &st, err);
    for (size_t i = 0; i < ask->n_messages && s == STATUS_OK; i++) {
        const Ge__Message *m = ask->messages[i];
        bool calls_only = m->n_calls > 0 && m->content[0] == '\0';
        if (strcmp(m->role, "assistant") == 0 && !calls_only) {
            s = is_said(st, k, m->content, err);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status check(sqlite3 *db, void *data, struct error *err)
{
    struct chat_conversation *k = data;
    sqlite3_stmt *st = NULL;
    bool row = false;
    if (k->fresh) {
        const struct conversation_ask ask = {
            .user = k->user, .expired_ms = k->expired_ms, .per_user = k->per_user};
        return conversations_room(db, &ask, err);
    }
    enum status s = db_prepare(
        db,
        "SELECT (SELECT max(number) FROM exchanges e WHERE e.conversation ="
        " c.id), (SELECT count(*) FROM conversation_items i"
        " WHERE i.conversation = c.id) FROM conversations c WHERE c.id = ?1 AND c.user = ?2"
        " AND c.changed_wall_ms >= ?3",
        &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, k->id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, k->user, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, k->expired_ms);
        s = db_row(st, &row, err);
    }
    k->last = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    int64_t items = s == STATUS_OK && row ? sqlite3_column_int64(st, 1) : 0;
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such conversation of yours");
    } else if (s == STATUS_OK && k->last >= EXCHANGES_MAX) {
        s = error_set(err, STATUS_TOO_LARGE,
                      "a conversation has at most %d questions: begin a new one", EXCHANGES_MAX);
    } else if (s == STATUS_OK && k->new_items > 0 &&
               items + k->new_items > CONVERSATION_ITEMS_MAX) {
        s = error_set(err, STATUS_TOO_LARGE,
                      "a conversation has at most %d items beside its questions and answers: "
                      "begin a new one",
                      CONVERSATION_ITEMS_MAX);
    } else if (s == STATUS_OK) {
        s = check_said(db, k, err);
    }
    return s;
}

static void refuse(struct request *q, const struct error *err)
{
    if (err->code == STATUS_NOT_FOUND || err->code == STATUS_INVALID ||
        err->code == STATUS_TOO_LARGE) {
        int status = err->code == STATUS_NOT_FOUND ? 404 : 400;
        api_error(q, status, err->code == STATUS_INVALID ? "messages" : "conversation",
                  status_name(err->code), err->text);
    } else {
        api_fail(q, err);
    }
}

static void on_checked(const struct error *err, struct buf *json, void *data)
{
    (void)json;
    struct chat_conversation *k = data;
    struct http_request *http = k->http;
    if (!http_request_gone(http)) {
        if (err->code == STATUS_OK) {
            k->go(k->c);
        } else {
            refuse(k->c->q, err);
        }
    }
    http_request_release(http);
}

/* "new" has neither a past nor one that is made up. */
static enum status check_new(const struct chat *c, struct error *err)
{
    const Ge__ChatRequest *ask = c->ask.ask;
    for (size_t i = 0; i < ask->n_messages; i++) {
        if (strcmp(ask->messages[i]->role, "assistant") == 0 &&
            ask->messages[i]->content[0] != '\0') {
            return error_set(err, STATUS_INVALID,
                             "messages: a new conversation has no answers of the assistant yet");
        }
    }
    return STATUS_OK;
}

static enum status check_tools(const struct chat *c, struct error *err)
{
    const Ge__ChatRequest *ask = c->ask.ask;
    bool tools = ask->n_tools > 0;
    if (c->dialect == &responses_dialect) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < ask->n_messages; i++) {
        tools = tools || strcmp(ask->messages[i]->role, "tool") == 0;
    }
    return tools ? error_set(err, STATUS_INVALID,
                             "tools: calls of functions are kept in a conversation by "
                             "/v1/responses only")
                 : STATUS_OK;
}

/* Beside its question: each message, and each call of a function. */
static int64_t count_new(const struct chat *c)
{
    const struct responses *r = c->more;
    const struct json *all = jsonr_get(c->q->translated, "messages");
    int64_t n = -1;
    for (size_t i = (r->instructed ? 1 : 0) + r->n_before; i < jsonr_len(all); i++) {
        size_t calls = jsonr_len(jsonr_get(jsonr_at(all, i), "tool_calls"));
        n += calls > 0 ? (int64_t)calls : 1;
    }
    return n;
}

/* The id, or "" where a new one is wanted. */
static enum status wanted(struct request *q, const struct json *v, struct str *id,
                          struct error *err)
{
    *id = jsonr_str(jsonr_kind(v) == JSON_KIND_OBJECT ? jsonr_get(v, "id") : v);
    if (q->serve->settings->conversations.keep_days == 0) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "conversations are not kept here (conversations.keep_days is 0)");
    }
    if (str_starts(*id, STR(CONVERSATION_PREFIX))) {
        id->ptr += strlen(CONVERSATION_PREFIX);
        id->len -= strlen(CONVERSATION_PREFIX);
    }
    if (id->ptr != NULL && str_eq(*id, STR("new"))) {
        *id = STR("");
        return STATUS_OK;
    }
    return id->ptr == NULL || !id_valid(id->ptr)
               ? error_set(err, STATUS_INVALID,
                           "conversation must be \"new\", or the id of one of yours")
               : STATUS_OK;
}

void chat_conversation_begin(struct chat *c, const struct json *body, void (*go)(struct chat *c))
{
    struct request *q = c->q;
    const struct json *v = jsonr_get(body, "conversation");
    const struct json *filter = jsonr_get(body, "carrel");
    struct str id;
    struct error err;
    if (v == NULL || (c->dialect->translate != NULL && c->dialect != &responses_dialect)) {
        /* others have no word for it */
        go(c);
        return;
    }
    enum status s = wanted(q, v, &id, &err);
    s = s == STATUS_OK ? check_tools(c, &err) : s;
    if (s == STATUS_OK && id.len == 0) {
        s = check_new(c, &err);
    }
    if (s != STATUS_OK) {
        api_error(q, 400, "conversation", status_name(s), err.text);
        return;
    }
    struct chat_conversation *k = arena_alloc(q->arena, sizeof *k);
    if (k == NULL) {
        api_out_of_memory(q);
        return;
    }
    *k = (struct chat_conversation){.c = c, .http = q->http, .go = go};
    (void)snprintf(k->tenant, sizeof k->tenant, "%s", q->who->tenant);
    (void)snprintf(k->user, sizeof k->user, "%s", q->who->user);
    (void)snprintf(k->id, sizeof k->id, "%.*s", (int)id.len, id.len == 0 ? "" : id.ptr);
    k->filter = filter == NULL ? NULL : jsonr_text(filter, q->arena);
    k->expired_ms = clock_wall_ms() - q->serve->settings->conversations.keep_days * DAY_MS;
    k->new_items = c->dialect == &responses_dialect ? count_new(c) : 0;
    c->conversation = k;
    k->per_user = q->serve->settings->conversations.per_user;
    if (id.len == 0) {
        id_new(k->id);
        k->fresh = true;
    }
    http_request_hold(q->http); /* k lives in its arena */
    answers_run(q->serve->answers, k->tenant, check, on_checked, k);
}

/* ---- after ---- */

struct kept {
    struct chat *c;
    char tenant[65], user[64], answer[ID_CAP], id[ID_CAP];
    char *text, *facts;
    char *items; /* JSON; what else was said with the question; NULL: nothing */
    char *calls; /* JSON: the answer's, of functions; NULL: none */
    int64_t created_ms, expired_ms, last;
    bool fresh, goes_on;
};

static void free_kept(struct kept *k)
{
    free(k->text);
    free(k->facts);
    free(k->items);
    free(k->calls);
    free(k);
}

static enum status insert(sqlite3 *db, const char *sql, const struct kept *k, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        const char *const texts[] = {k->id,    k->user,  k->answer, k->text,
                                     k->facts, k->items, k->calls};
        static const char *const names[] = {":id",    ":user",  ":answer", ":text",
                                            ":facts", ":items", ":calls"};
        for (int i = 0; i < 7; i++) {
            int at = sqlite3_bind_parameter_index(st, names[i]);
            if (at > 0 && texts[i] != NULL) {
                (void)sqlite3_bind_text(st, at, texts[i], -1, SQLITE_STATIC);
            }
        }
        const int64_t numbers[] = {k->created_ms, k->last, k->goes_on};
        for (int i = 0; i < 3; i++) {
            int at =
                sqlite3_bind_parameter_index(st, (const char *[]){":at", ":last", ":goes_on"}[i]);
            if (at > 0) {
                (void)sqlite3_bind_int64(st, at, numbers[i]);
            }
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* Not where its record, the conversation, or the exchange that it goes on from went meanwhile:
 * what is said here may come from what was erased. */
static enum status write_exchange(sqlite3 *db, const struct kept *k, struct error *err)
{
    enum status s = STATUS_OK;
    if (k->fresh) {
        s = insert(db,
                   "INSERT INTO conversations(id, user, title, created_wall_ms, changed_wall_ms)"
                   " SELECT :id, :user, '', :at, :at"
                   " WHERE EXISTS(SELECT 1 FROM answers WHERE id = :answer)",
                   k, err);
    }
    if (s == STATUS_OK &&
        k->items != NULL) { /* before the exchange: their place is the one before */
        s = insert(db,
                   "INSERT INTO conversation_items" CONVERSATION_ITEM_COLUMNS
                   " SELECT json_extract(j.value, '$.id'), :id,"
                   " (SELECT ifnull(max(number), 0) FROM exchanges WHERE conversation = :id),"
                   " (SELECT ifnull(max(seq), 0) FROM conversation_items WHERE conversation = :id)"
                   " + 1 + j.key, json_extract(j.value, '$.role'), json_extract(j.value, '$.text'),"
                   " :at, " CONVERSATION_ITEM_OF_J " FROM json_each(:items) j"
                   " WHERE EXISTS(SELECT 1 FROM answers WHERE id = :answer)"
                   " AND EXISTS(SELECT 1 FROM conversations WHERE id = :id AND user = :user)"
                   " AND (SELECT count(*) FROM conversation_items WHERE conversation = :id)"
                   " + json_array_length(:items) <= " CONVERSATION_ITEMS_TEXT,
                   k, err);
    }
    if (s == STATUS_OK) {
        s = insert(db,
                   "INSERT INTO exchanges(answer, conversation, number, text, facts, goes_on)"
                   " SELECT :answer, :id, (SELECT ifnull(max(number), 0) + 1"
                   " FROM exchanges WHERE conversation = :id), :text, :facts, :goes_on"
                   " WHERE EXISTS(SELECT 1 FROM answers WHERE id = :answer)"
                   " AND EXISTS(SELECT 1 FROM conversations WHERE id = :id AND user = :user)"
                   " AND (:last = 0 OR EXISTS(SELECT 1 FROM exchanges WHERE conversation = :id"
                   " AND number = :last))",
                   k, err);
    }
    bool kept = s == STATUS_OK && sqlite3_changes(db) > 0;
    if (kept && k->calls != NULL) { /* behind the answer, and gone with it */
        s = insert(db,
                   "INSERT INTO conversation_items" CONVERSATION_ITEM_COLUMNS
                   " SELECT json_extract(j.value, '$.id'), :id,"
                   " (SELECT number FROM exchanges WHERE answer = :answer),"
                   " (SELECT ifnull(max(seq), 0) FROM conversation_items WHERE conversation = :id)"
                   " + 1 + j.key, 'assistant', json_extract(j.value, '$.text'),"
                   " :at, " CONVERSATION_ITEM_OF_J " FROM json_each(:calls) j",
                   k, err);
        s = s == STATUS_OK ? insert(db,
                                    "UPDATE conversation_items SET answer = :answer WHERE id IN"
                                    " (SELECT json_extract(j.value, '$.id')"
                                    " FROM json_each(:calls) j)",
                                    k, err)
                           : s;
    }
    if (s == STATUS_OK && kept) {
        s = insert(db,
                   "UPDATE conversations SET changed_wall_ms = max(changed_wall_ms, :at)"
                   " WHERE id = :id",
                   k, err);
    }
    return s;
}

static enum status keep(sqlite3 *db, void *data, struct error *err)
{
    const struct kept *k = data;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = conversations_expire(db, clock_wall_ms(), k->expired_ms, err);
    s = s == STATUS_OK ? write_exchange(db, k, err) : s;
    s = s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
    if (s != STATUS_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return s;
}

static void on_kept(const struct error *err, struct buf *json, void *data)
{
    struct kept *k = data;
    (void)json;
    chat_written(k->c, err);
    free_kept(k);
}

static char *take_z(struct buf *b)
{
    buf_char(b, '\0');
    if (buf_status(b) != STATUS_OK) {
        buf_deinit(b);
        return NULL;
    }
    return buf_take(b);
}

static char *facts_json(const struct chat *c)
{
    struct buf b;
    struct jsonw w;
    buf_init(&b, CHAT_ANSWER_MAX);
    jsonw_init(&w, &b);
    jsonw_open(&w, '{');
    chat_citations(&w, c, false);
    chat_carrel(&w, c, true);
    if (c->conversation->filter != NULL) {
        jsonw_key(&w, "filter");
        jsonw_raw(&w, str_from(c->conversation->filter));
    }
    jsonw_close(&w, '}');
    return take_z(&b);
}

static void item_begin(struct jsonw *w, const char *role, struct str text)
{
    char id[ID_CAP];
    id_new(id);
    jsonw_open(w, '{');
    jsonw_field_z(w, "id", id);
    jsonw_field_z(w, "role", role);
    jsonw_field_str(w, "text", text);
}

static void call_item(struct jsonw *w, struct str call_id, struct str name, struct str arguments)
{
    item_begin(w, "assistant", arguments);
    jsonw_field_z(w, "kind", "call");
    jsonw_field_str(w, "call_id", call_id);
    jsonw_field_str(w, "name", name);
    jsonw_close(w, '}');
}

/* One new message as items; how many. */
static size_t message_items(struct jsonw *w, const struct json *m, struct arena *a)
{
    const struct json *calls = jsonr_get(m, "tool_calls");
    struct str role = jsonr_str(jsonr_get(m, "role"));
    struct str text = {0};
    size_t n = 0;
    bool output = str_eq(role, STR("tool"));
    bool said = conversation_item_text(jsonr_get(m, "content"), a, &text);
    if (said && (text.len > 0 || output)) {
        item_begin(w, role.ptr, text);
        if (output) {
            jsonw_field_z(w, "kind", "output");
            jsonw_field_str(w, "call_id", jsonr_str(jsonr_get(m, "tool_call_id")));
        }
        jsonw_close(w, '}');
        n++;
    }
    for (size_t i = 0; i < jsonr_len(calls); i++) {
        const struct json *f = jsonr_get(jsonr_at(calls, i), "function");
        struct str arguments = jsonr_str(jsonr_get(f, "arguments"));
        call_item(w, jsonr_str(jsonr_get(jsonr_at(calls, i), "id")),
                  jsonr_str(jsonr_get(f, "name")), arguments.ptr == NULL ? STR("{}") : arguments);
        n++;
    }
    return n;
}

/* Of a response: the new messages but for the question, which is the exchange's. *goes_on: there is
 * none, or functions gave something back after it; then it is an item like the others. */
static char *items_json(const struct chat *c, bool *goes_on)
{
    const struct responses *r = c->more;
    const struct json *all = jsonr_get(c->q->translated, "messages");
    size_t from = (r->instructed ? 1 : 0) + r->n_before, question = SIZE_MAX, n = 0;
    struct buf b;
    struct jsonw w;
    for (size_t i = from; i < jsonr_len(all); i++) {
        struct str role = jsonr_str(jsonr_get(jsonr_at(all, i), "role"));
        question = str_eq(role, STR("user")) ? i : str_eq(role, STR("tool")) ? SIZE_MAX : question;
    }
    *goes_on = question == SIZE_MAX;
    buf_init(&b, CHAT_TRANSLATED_MAX);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = from; i < jsonr_len(all); i++) {
        n += i == question ? 0 : message_items(&w, jsonr_at(all, i), c->q->arena);
    }
    jsonw_close(&w, ']');
    if (n == 0) {
        buf_deinit(&b);
        return NULL;
    }
    return take_z(&b);
}

/* As the response names them. */
static char *calls_json(const struct chat *c)
{
    struct buf b;
    struct jsonw w;
    if (c->n_calls == 0) {
        return NULL;
    }
    buf_init(&b, CHAT_TRANSLATED_MAX);
    jsonw_init(&w, &b);
    jsonw_open(&w, '[');
    for (size_t i = 0; i < c->n_calls; i++) {
        jsonw_open(&w, '{');
        jsonw_key(&w, "id");
        buf_printf(&b, "\"%s_%zu\"", c->id, i);
        w.comma = true;
        jsonw_field_z(&w, "kind", "call");
        jsonw_field_z(&w, "call_id", c->calls[i].id);
        jsonw_field_z(&w, "name", c->calls[i].name);
        jsonw_field_z(&w, "text", c->calls[i].arguments);
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    return take_z(&b);
}

void chat_conversation_keep(struct chat *c)
{
    const struct chat_conversation *from = c->conversation;
    struct buf text;
    if (from == NULL || c->q == NULL) {
        return;
    }
    struct kept *k = calloc(1, sizeof *k);
    struct error err = {.code = STATUS_NO_MEMORY, .text = "out of memory"};
    chat_writing(c);
    if (k == NULL) {
        chat_written(c, &err);
        return;
    }
    *k = (struct kept){.c = c,
                       .created_ms = c->created_wall_ms,
                       .expired_ms = from->expired_ms,
                       .last = from->last,
                       .fresh = from->fresh};
    memcpy(k->tenant, from->tenant, sizeof k->tenant);
    memcpy(k->user, from->user, sizeof k->user);
    memcpy(k->id, from->id, sizeof k->id);
    memcpy(k->answer, c->id, sizeof k->answer);
    buf_init(&text, CHAT_ANSWER_MAX + 1);
    buf_str(&text, buf_view(&c->text));
    k->text = take_z(&text);
    k->facts = facts_json(c);
    if (c->dialect == &responses_dialect) {
        k->items = items_json(c, &k->goes_on);
        k->calls = calls_json(c);
    }
    if (k->text == NULL || k->facts == NULL || (c->n_calls > 0 && k->calls == NULL)) {
        (void)error_set(&err, STATUS_TOO_LARGE,
                        "an answer is too long to be kept in its conversation");
        chat_written(c, &err);
        free_kept(k);
        return;
    }
    answers_run(c->q->serve->answers, k->tenant, keep, on_kept, k);
}
