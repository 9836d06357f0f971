/* Conversations as OpenAI's API has them: made before anything is asked, with metadata, and a list
 * of items. An exchange is two items, its question and its answer; what a client put in besides is
 * an item of its own, kept apart: no link shows it, for nobody can tell from which documents it
 * came. Its place is behind the exchange that was the last when it came. */
#include <string.h>

#include "base/clock.h"
#include "base/db.h"
#include "serve/conversations.h"
#include "serve/http/jsonw.h"

#define MISSING "there is no such conversation of yours: it was deleted, is too old, or was erased"
#define ITEMS_OF_C                                                                                 \
    "WITH v AS (SELECT 'msg_q_' || a.id AS id, 'user' AS role, a.question AS text,"                \
    " e.number AS n, 0 AS k, 0 AS seq, '[]' AS notes, '' AS kind, '' AS call_id, '' AS name"       \
    " FROM exchanges e JOIN answers a ON a.id = e.answer WHERE e.conversation = ?2"                \
    " AND NOT e.goes_on"                                                                           \
    " UNION ALL SELECT 'msg_' || e.answer, 'assistant', e.text, e.number, 1, 0,"                   \
    " (SELECT json_group_array(json_object('type', 'file_citation', 'index', 0,"                   \
    " 'file_id', json_extract(c.value, '$.document.id'),"                                          \
    " 'filename', json_extract(c.value, '$.document.path'),"                                       \
    " 'number', json_extract(c.value, '$.number'), 'page', json_extract(c.value, '$.page'),"       \
    " 'hash', json_extract(c.value, '$.hash')))"                                                   \
    " FROM json_each(e.facts, '$.citations') c), '', '', ''"                                       \
    " FROM exchanges e WHERE e.conversation = ?2 AND (e.text <> '' OR NOT EXISTS("                 \
    "SELECT 1 FROM conversation_items i WHERE i.answer = e.answer))"                               \
    " UNION ALL SELECT " ITEM_ID ", i.role, i.text, i.place, 2, i.seq, '[]', i.kind, i.call_id,"   \
    " i.name FROM conversation_items i WHERE i.conversation = ?2) "
#define ITEM_ID                                                                                    \
    "CASE i.kind WHEN 'call' THEN 'fc_' WHEN 'output' THEN 'fco_' ELSE 'msg_' END"                 \
    " || CASE WHEN i.answer IS NULL THEN 'i_' ELSE '' END || i.id"
#define TOLD "id, role, text, notes, kind, call_id, name"

static enum status prepare(sqlite3 *db, const char *sql, const struct conversation_ask *a,
                           sqlite3_stmt **st, struct error *err)
{
    enum status s = db_prepare(db, sql, st, err);
    const char *const texts[] = {a->user, a->id, a->metadata, a->items};
    for (int i = 0; s == STATUS_OK && i < 4 && i < sqlite3_bind_parameter_count(*st); i++) {
        if (texts[i] != NULL) {
            (void)sqlite3_bind_text(*st, i + 1, texts[i], -1, SQLITE_STATIC);
        }
    }
    return s;
}

static enum status run(sqlite3 *db, const char *sql, const struct conversation_ask *a,
                       struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(db, sql, a, &st, err);
    if (s == STATUS_OK && sqlite3_bind_parameter_count(st) > 4) {
        (void)sqlite3_bind_int64(st, 5, a->now_ms);
    }
    s = s == STATUS_OK ? db_run(st, err) : s;
    (void)sqlite3_finalize(st);
    return s;
}

/* ?1 is its user, and it is not too old. */
static enum status is_there(sqlite3 *db, const struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT 1 FROM conversations WHERE user = ?1 AND id = ?2"
                               " AND changed_wall_ms >= ?3",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, a->user, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, a->id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, a->expired_ms);
        s = db_row(st, &row, err);
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && !row ? error_set(err, STATUS_NOT_FOUND, MISSING) : s;
}

/* ---- the conversation ---- */

static enum status tell(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    struct jsonw w;
    enum status s = prepare(db,
                            "SELECT created_wall_ms, CASE WHEN metadata = '' THEN '{}' ELSE"
                            " metadata END FROM conversations WHERE user = ?1 AND id = ?2",
                            a, &st, err);
    s = s == STATUS_OK ? db_row(st, &row, err) : s;
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, MISSING);
    } else if (s == STATUS_OK) {
        jsonw_init(&w, a->out);
        jsonw_open(&w, '{');
        jsonw_key(&w, "id");
        buf_printf(a->out, "\"" CONVERSATION_PREFIX "%s\"", a->id);
        w.comma = true;
        jsonw_field_z(&w, "object", "conversation");
        jsonw_field_int(&w, "created_at", sqlite3_column_int64(st, 0) / 1000);
        jsonw_key(&w, "metadata");
        jsonw_raw(&w, db_column(st, 1));
        jsonw_close(&w, '}');
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ?4: the items. */
static enum status add_items(sqlite3 *db, const struct conversation_ask *a, struct error *err)
{
    if (a->items == NULL) {
        return STATUS_OK;
    }
    enum status s =
        run(db,
            "INSERT INTO conversation_items" CONVERSATION_ITEM_COLUMNS
            " SELECT json_extract(j.value, '$.id'), ?2,"
            " (SELECT ifnull(max(number), 0) FROM exchanges WHERE conversation = ?2),"
            " (SELECT ifnull(max(seq), 0) FROM conversation_items WHERE conversation = ?2)"
            " + 1 + j.key, json_extract(j.value, '$.role'), json_extract(j.value, '$.text'), ?5,"
            " " CONVERSATION_ITEM_OF_J " FROM json_each(?4) j WHERE ?1 IS NOT NULL AND ?3 IS ?3"
            " AND (SELECT count(*) FROM conversation_items WHERE conversation = ?2)"
            " + json_array_length(?4) <= " CONVERSATION_ITEMS_TEXT
            " AND (SELECT ifnull(sum(length(CAST(text AS BLOB))), 0) FROM conversation_items"
            " WHERE conversation = ?2) + length(CAST(?4 AS BLOB)) <= " CONVERSATION_BYTES_TEXT,
            a, err);
    return s == STATUS_OK && sqlite3_changes(db) == 0
               ? error_set(err, STATUS_TOO_LARGE,
                           "a conversation has at most " CONVERSATION_ITEMS_TEXT
                           " items of its own, of " CONVERSATION_BYTES_TEXT " bytes together")
               : s;
}

static enum status in_transaction(sqlite3 *db, struct conversation_ask *a,
                                  enum status (*work)(sqlite3 *db, struct conversation_ask *a,
                                                      struct error *err),
                                  struct error *err)
{
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = work(db, a, err);
    s = s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
    if (s != STATUS_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return s;
}

static enum status create(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    enum status s = conversations_expire(db, a->now_ms, a->expired_ms, err);
    s = s == STATUS_OK ? conversations_room(db, a, err) : s;
    s = s == STATUS_OK ? run(db,
                             "INSERT INTO conversations(id, user, title, created_wall_ms,"
                             " changed_wall_ms, metadata) SELECT ?2, ?1, '', ?5, ?5, ?3"
                             " WHERE ?4 IS ?4",
                             a, err)
                       : s;
    s = s == STATUS_OK ? add_items(db, a, err) : s;
    return s == STATUS_OK ? tell(db, a, err) : s;
}

enum status conversation_create(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    return in_transaction(db, a, create, err);
}

enum status conversation_tell(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    enum status s = is_there(db, a, err);
    return s == STATUS_OK ? tell(db, a, err) : s;
}

enum status conversation_describe(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    enum status s = is_there(db, a, err);
    if (s == STATUS_OK) {
        s = run(db, "UPDATE conversations SET metadata = ?3 WHERE user = ?1 AND id = ?2", a, err);
    }
    return s == STATUS_OK ? tell(db, a, err) : s;
}

/* ---- items ---- */

/* A function's call, or what it gave back. */
static void call_json(struct jsonw *w, sqlite3_stmt *st)
{
    bool call = str_eq(db_column(st, 4), STR("call"));
    jsonw_open(w, '{');
    jsonw_field_str(w, "id", db_column(st, 0));
    jsonw_field_z(w, "type", call ? "function_call" : "function_call_output");
    jsonw_field_z(w, "status", "completed");
    jsonw_field_str(w, "call_id", db_column(st, 5));
    if (call) {
        jsonw_field_str(w, "name", db_column(st, 6));
    }
    jsonw_field_str(w, call ? "arguments" : "output", db_column(st, 2));
    jsonw_close(w, '}');
}

static void item_json(struct jsonw *w, sqlite3_stmt *st)
{
    bool answer = str_eq(db_column(st, 1), STR("assistant"));
    if (db_column(st, 4).len > 0) {
        call_json(w, st);
        return;
    }
    jsonw_open(w, '{');
    jsonw_field_str(w, "id", db_column(st, 0));
    jsonw_field_z(w, "type", "message");
    jsonw_field_z(w, "status", "completed");
    jsonw_field_str(w, "role", db_column(st, 1));
    jsonw_key(w, "content");
    jsonw_open(w, '[');
    jsonw_open(w, '{');
    jsonw_field_z(w, "type", answer ? "output_text" : "input_text");
    jsonw_field_str(w, "text", db_column(st, 2));
    if (answer) {
        jsonw_key(w, "annotations");
        jsonw_raw(w, db_column(st, 3));
        jsonw_key(w, "logprobs");
        jsonw_raw(w, STR("[]"));
    }
    jsonw_close(w, '}');
    jsonw_close(w, ']');
    jsonw_close(w, '}');
}

static enum status page(sqlite3_stmt *st, struct conversation_ask *a, struct error *err)
{
    char first[64] = "", last[64] = "";
    struct jsonw w;
    bool row = false, more = false;
    enum status s = STATUS_OK;
    jsonw_init(&w, a->out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "object", "list");
    jsonw_key(&w, "data");
    jsonw_open(&w, '[');
    for (int64_t n = 0; (s = db_row(st, &row, err)) == STATUS_OK && row; n++) {
        more = n == a->limit;
        if (more) {
            break;
        }
        struct str id = db_column(st, 0);
        size_t len = id.len < sizeof last - 1 ? id.len : sizeof last - 1;
        memcpy(last, id.ptr, len);
        last[len] = '\0';
        if (n == 0) {
            memcpy(first, last, sizeof first);
        }
        item_json(&w, st);
    }
    jsonw_close(&w, ']');
    jsonw_field_z(&w, "first_id", first[0] == '\0' ? NULL : first);
    jsonw_field_z(&w, "last_id", last[0] == '\0' ? NULL : last);
    jsonw_field_bool(&w, "has_more", more);
    jsonw_close(&w, '}');
    return s;
}

enum status conversation_items(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = is_there(db, a, err);
    /* one that has gone meanwhile is at no place: then nothing follows it */
    s = s == STATUS_OK
            ? prepare(db,
                      a->descending
                          ? ITEMS_OF_C "SELECT " TOLD " FROM v WHERE ?1 IS NOT NULL"
                                       " AND ?3 IS ?3 AND ?4 IS ?4 AND (?5 IS NULL OR (n, k, seq) <"
                                       " (SELECT n, k, seq FROM v WHERE id = ?5))"
                                       " ORDER BY n DESC, k DESC, seq DESC LIMIT ?6"
                          : ITEMS_OF_C "SELECT " TOLD " FROM v WHERE ?1 IS NOT NULL"
                                       " AND ?3 IS ?3 AND ?4 IS ?4 AND (?5 IS NULL OR (n, k, seq) >"
                                       " (SELECT n, k, seq FROM v WHERE id = ?5))"
                                       " ORDER BY n, k, seq LIMIT ?6",
                      a, &st, err)
            : s;
    if (s == STATUS_OK) {
        if (a->before != NULL) {
            (void)sqlite3_bind_text(st, 5, a->before, -1, SQLITE_STATIC);
        }
        (void)sqlite3_bind_int64(st, 6, a->limit + 1);
        s = page(st, a, err);
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK && buf_status(a->out) != STATUS_OK) {
        s = error_set(err, buf_status(a->out), "that is too long to be told at once: ask for less");
    }
    return s;
}

enum status conversation_item(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct jsonw w;
    bool row = false;
    enum status s = is_there(db, a, err);
    s = s == STATUS_OK ? prepare(db,
                                 ITEMS_OF_C "SELECT " TOLD " FROM v WHERE id = ?5"
                                            " AND ?1 IS NOT NULL AND ?3 IS ?3 AND ?4 IS ?4",
                                 a, &st, err)
                       : s;
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 5, a->item, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row) {
        jsonw_init(&w, a->out);
        item_json(&w, st);
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && !row
               ? error_set(err, STATUS_NOT_FOUND, "there is no such item in the conversation")
               : s;
}

/* Those that were added, in their order. */
static enum status tell_added(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(db,
                            "SELECT " ITEM_ID ", i.role, i.text, '[]', i.kind, i.call_id, i.name"
                            " FROM conversation_items i"
                            " WHERE i.conversation = ?2 AND ?1 IS NOT NULL AND ?3 IS ?3 AND i.id IN"
                            " (SELECT json_extract(j.value, '$.id') FROM json_each(?4) j)"
                            " ORDER BY i.seq",
                            a, &st, err);
    a->limit = CONVERSATION_ITEMS_MAX;
    s = s == STATUS_OK ? page(st, a, err) : s;
    (void)sqlite3_finalize(st);
    return s;
}

static enum status put_items(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    enum status s = is_there(db, a, err);
    s = s == STATUS_OK ? add_items(db, a, err) : s;
    s = s == STATUS_OK ? run(db,
                             "UPDATE conversations SET changed_wall_ms = max(changed_wall_ms, ?5)"
                             " WHERE user = ?1 AND id = ?2 AND ?3 IS ?3 AND ?4 IS ?4",
                             a, err)
                       : s;
    return s == STATUS_OK ? tell_added(db, a, err) : s;
}

enum status conversation_add_items(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    return in_transaction(db, a, put_items, err);
}

/* Half an exchange is none. A number that comes again must not be behind an older link. */
static enum status drop_item(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    static const char *const of_exchange[] = {
        "DELETE FROM shares WHERE conversation = ?2 AND ?1 IS NOT NULL AND ?4 IS NULL"
        " AND until_number >= (SELECT number FROM exchanges WHERE answer = ?3 AND conversation ="
        " ?2)",
        "DELETE FROM exchanges WHERE answer = ?3 AND conversation = ?2 AND ?1 IS NOT NULL"};
    struct conversation_ask one = *a;
    enum status s = is_there(db, a, err);
    bool message = strncmp(a->item, "msg_", 4) == 0;
    bool own = !message || strncmp(a->item, "msg_i_", 6) == 0;
    const char *id = strchr(a->item, '_') + 1; /* "q_", "i_" or nothing before it */
    one.items = NULL;
    one.metadata = strncmp(id, "q_", 2) == 0 || strncmp(id, "i_", 2) == 0 ? id + 2 : id;
    for (size_t i = 0; i < 2 && !own && s == STATUS_OK; i++) {
        s = run(db, of_exchange[i], &one, err);
    }
    if (own && s == STATUS_OK) {
        s = run(db,
                "DELETE FROM conversation_items WHERE id = ?3 AND conversation = ?2 AND ?1 IS NOT"
                " NULL",
                &one, err);
    }
    if (s == STATUS_OK && sqlite3_changes(db) == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such item in the conversation");
    }
    return s == STATUS_OK ? tell(db, a, err) : s;
}

enum status conversation_drop_item(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    return in_transaction(db, a, drop_item, err);
}

/* ---- to go on from ---- */

/* One message of the assistant's at a time, open as long as calls may follow. */
struct writing {
    struct jsonw w;
    bool message, calls;
};

static void end_message(struct writing *m)
{
    if (m->calls) {
        jsonw_close(&m->w, ']');
    }
    if (m->message) {
        jsonw_close(&m->w, '}');
    }
    m->message = m->calls = false;
}

static void begin_message(struct writing *m, struct str role, struct str text)
{
    end_message(m);
    jsonw_open(&m->w, '{');
    jsonw_field_str(&m->w, "role", role);
    jsonw_field_str(&m->w, "content", text);
    m->message = true;
}

static void add_call(struct writing *m, sqlite3_stmt *st)
{
    if (!m->calls) {
        jsonw_key(&m->w, "tool_calls");
        jsonw_open(&m->w, '[');
        m->calls = true;
    }
    jsonw_open(&m->w, '{');
    jsonw_field_str(&m->w, "id", db_column(st, 3));
    jsonw_field_z(&m->w, "type", "function");
    jsonw_key(&m->w, "function");
    jsonw_open(&m->w, '{');
    jsonw_field_str(&m->w, "name", db_column(st, 4));
    jsonw_field_str(&m->w, "arguments", db_column(st, 1));
    jsonw_close(&m->w, '}');
    jsonw_close(&m->w, '}');
}

/* Returns whether it began a message. */
static bool add_message(struct writing *m, sqlite3_stmt *st)
{
    struct str role = db_column(st, 0);
    struct str kind = db_column(st, 2);
    bool call = str_eq(kind, STR("call"));
    bool begins = !call || !m->message;
    if (begins) {
        begin_message(m, role, call ? STR("") : db_column(st, 1));
    }
    if (call) {
        add_call(m, st);
    } else if (str_eq(kind, STR("output"))) {
        jsonw_field_str(&m->w, "tool_call_id", db_column(st, 3));
    }
    if (!str_eq(role, STR("assistant"))) {
        end_message(m);
    }
    return begins;
}

enum status conversation_messages(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct writing m = {0};
    bool row = false;
    enum status s = is_there(db, a, err);
    /* what a function gave back goes with its call, and is nothing without it */
    s = s == STATUS_OK
            ? prepare(db,
                      ITEMS_OF_C "SELECT role, text, kind, call_id, name FROM v"
                                 " WHERE ?1 IS NOT NULL AND (kind <> 'output' OR EXISTS("
                                 "SELECT 1 FROM conversation_items i WHERE i.conversation = ?2"
                                 " AND i.kind = 'call' AND i.call_id = v.call_id"
                                 " AND i.seq < v.seq)) ORDER BY n, k, v.seq",
                      a, &st, err)
            : s;
    jsonw_init(&m.w, a->out);
    for (a->count = 0; s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row;) {
        a->count += add_message(&m, st) ? 1 : 0;
    }
    end_message(&m);
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && buf_status(a->out) != STATUS_OK
               ? error_set(err, buf_status(a->out), "the conversation is too long")
               : s;
}
