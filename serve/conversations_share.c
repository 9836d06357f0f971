/* Links to conversations. What is behind one is told as far as its viewer may read what the answers
 * were made from: every passage that the engine was shown counts, cited or not. */
#include <string.h>

#include "base/db.h"
#include "serve/conversations.h"
#include "serve/http/jsonw.h"

#define NO_LINK "there is no such link here: it was taken back, is over, or is another tenant's"

static void bind_z(sqlite3_stmt *st, int at, const char *z)
{
    (void)sqlite3_bind_text(st, at, z, -1, SQLITE_STATIC);
}

static enum status count(sqlite3 *db, const char *sql, struct conversation_ask *a, int64_t *out,
                         struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        bind_z(st, 1, a->user);
        bind_z(st, 2, a->id);
        s = db_row(st, &row, err);
    }
    *out = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

static void share_json(struct jsonw *w, const char *id, int64_t created_ms, int64_t expires_ms,
                       int64_t exchanges)
{
    jsonw_field_z(w, "id", id);
    jsonw_field_int(w, "created", created_ms / 1000);
    jsonw_field_int(w, "expires", expires_ms / 1000);
    jsonw_field_int(w, "exchanges", exchanges);
}

enum status share_create(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    int64_t alive = 0;
    int64_t until = 0;
    enum status s = conversations_expire(db, a->now_ms, a->expired_ms, err);
    if (s == STATUS_OK) {
        s = count(db,
                  "SELECT count(*) FROM shares s JOIN conversations c ON c.id = s.conversation"
                  " WHERE c.user = ?1 AND c.id = ?2",
                  a, &alive, err);
    }
    if (s == STATUS_OK && alive >= CONVERSATION_SHARES_MAX) {
        s = error_set(err, STATUS_TOO_LARGE,
                      "a conversation has at most %d links at once: take one back first",
                      CONVERSATION_SHARES_MAX);
    }
    if (s == STATUS_OK) {
        s = count(db,
                  "SELECT max(e.number) FROM exchanges e JOIN conversations c"
                  " ON c.id = e.conversation WHERE c.user = ?1 AND c.id = ?2",
                  a, &until, err);
    }
    if (s == STATUS_OK && until == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such conversation of yours");
    }
    if (s == STATUS_OK) {
        s = db_prepare(db, "INSERT INTO shares VALUES(?1, ?2, ?3, ?4, ?5, ?6)", &st, err);
    }
    if (s == STATUS_OK) {
        (void)sqlite3_bind_blob(st, 1, a->hash, sizeof a->hash, SQLITE_STATIC);
        bind_z(st, 2, a->share);
        bind_z(st, 3, a->id);
        (void)sqlite3_bind_int64(st, 4, until);
        (void)sqlite3_bind_int64(st, 5, a->now_ms);
        (void)sqlite3_bind_int64(st, 6, a->expires_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK) {
        struct jsonw w;
        jsonw_init(&w, a->out);
        jsonw_open(&w, '{');
        share_json(&w, a->share, a->now_ms, a->expires_ms, until);
        jsonw_field_z(&w, "token", a->token);
        jsonw_close(&w, '}');
    }
    return s;
}

enum status shares_list(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct jsonw w;
    bool row = false;
    int64_t there = 0;
    enum status s = conversations_expire(db, a->now_ms, a->expired_ms, err);
    if (s == STATUS_OK) {
        s = count(db, "SELECT count(*) FROM conversations WHERE user = ?1 AND id = ?2", a, &there,
                  err);
    }
    if (s == STATUS_OK && there == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such conversation of yours");
    }
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "SELECT s.id, s.created_wall_ms, s.expires_wall_ms, s.until_number"
                       " FROM shares s JOIN conversations c ON c.id = s.conversation"
                       " WHERE c.user = ?1 AND c.id = ?2 ORDER BY s.created_wall_ms, s.id",
                       &st, err);
    }
    jsonw_init(&w, a->out);
    jsonw_open(&w, '{');
    jsonw_key(&w, "shares");
    jsonw_open(&w, '[');
    if (s == STATUS_OK) {
        bind_z(st, 1, a->user);
        bind_z(st, 2, a->id);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        char id[ID_CAP] = "";
        struct str text = db_column(st, 0);
        memcpy(id, text.ptr, text.len < sizeof id ? text.len : sizeof id - 1);
        jsonw_open(&w, '{');
        share_json(&w, id, sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2),
                   sqlite3_column_int64(st, 3));
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    (void)sqlite3_finalize(st);
    return s;
}

enum status share_delete(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "DELETE FROM shares WHERE id = ?3 AND conversation IN"
                               " (SELECT id FROM conversations WHERE user = ?1 AND id = ?2)",
                               &st, err);
    if (s == STATUS_OK) {
        bind_z(st, 1, a->user);
        bind_z(st, 2, a->id);
        bind_z(st, 3, a->share);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && sqlite3_changes(db) == 0
               ? error_set(err, STATUS_NOT_FOUND, "this conversation of yours has no such link")
               : s;
}

/* ---- looking ---- */

#define BEHIND                                                                                     \
    " FROM shares s JOIN conversations c ON c.id = s.conversation"                                 \
    " JOIN exchanges e ON e.conversation = c.id AND e.number <= s.until_number"                    \
    " JOIN answers a ON a.id = e.answer"                                                           \
    " WHERE s.hash = ?1 AND s.expires_wall_ms > ?2 AND c.changed_wall_ms >= ?3"

static enum status prepare(sqlite3 *db, const char *sql, const struct conversation_ask *a,
                           sqlite3_stmt **st, struct error *err)
{
    enum status s = db_prepare(db, sql, st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_blob(*st, 1, a->hash, sizeof a->hash, SQLITE_STATIC);
        (void)sqlite3_bind_int64(*st, 2, a->now_ms);
        (void)sqlite3_bind_int64(*st, 3, a->expired_ms);
    }
    return s;
}

enum status share_documents(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    int64_t n = 0;
    enum status s = prepare(db, "SELECT 1" BEHIND " LIMIT 1", a, &st, err);
    s = s == STATUS_OK ? db_row(st, &row, err) : s;
    (void)sqlite3_finalize(st);
    st = NULL;
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, NO_LINK);
    }
    if (s == STATUS_OK) {
        s = prepare(db,
                    "WITH behind(passages) AS (SELECT a.passages" BEHIND ")"
                    " SELECT DISTINCT json_extract(p.value, '$.document') FROM behind,"
                    " json_each(behind.passages) p",
                    a, &st, err);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        if (++n > SHARE_DOCUMENTS_MAX) {
            s = error_set(err, STATUS_TOO_LARGE,
                          "this conversation was made from more than %d documents: it cannot be "
                          "looked at through a link",
                          SHARE_DOCUMENTS_MAX);
            break;
        }
        buf_str(a->out, db_column(st, 0));
        buf_char(a->out, '\n');
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK ? buf_status(a->out) : s;
}

/* What is hidden has its number and nothing else: the question may repeat an earlier answer. */
static void exchange_json(struct jsonw *w, sqlite3_stmt *st, bool hidden)
{
    struct str facts = db_column(st, 6);
    jsonw_open(w, '{');
    jsonw_field_int(w, "number", sqlite3_column_int64(st, 0));
    jsonw_field_bool(w, "hidden", hidden);
    if (!hidden) {
        jsonw_field_int(w, "created", sqlite3_column_int64(st, 1) / 1000);
        jsonw_field_str(w, "question", db_column(st, 2));
        jsonw_field_str(w, "model", db_column(st, 3));
        jsonw_field_str(w, "outcome", db_column(st, 4));
        jsonw_field_str(w, "text", db_column(st, 5));
        if (facts.len > 2) {
            buf_char(w->out, ',');
            buf_append(w->out, facts.ptr + 1, facts.len - 2);
        }
    }
    jsonw_close(w, '}');
}

enum status share_read(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct jsonw w;
    bool row = false;
    bool hidden = false;
    int64_t n = 0;
    enum status s = prepare(
        db,
        "SELECT e.number, a.created_wall_ms, a.question, a.asked_model, a.outcome, e.text,"
        " e.facts, c.title, s.expires_wall_ms, NOT json_valid(a.passages) OR EXISTS("
        "SELECT 1 FROM json_each(a.passages) p WHERE json_extract(p.value, '$.document') IS NULL"
        " OR json_extract(p.value, '$.document') NOT IN (SELECT value FROM json_each(?4)))"
        /* what a function gave back comes from nobody knows where, though it be deleted since */
        " OR e.goes_on OR EXISTS(SELECT 1 FROM conversation_items i WHERE i.conversation = c.id"
        " AND i.kind = 'output' AND i.place < e.number)" BEHIND " ORDER BY e.number",
        a, &st, err);
    if (s == STATUS_OK) {
        bind_z(st, 4, a->readable);
    }
    jsonw_init(&w, a->out);
    jsonw_open(&w, '{');
    for (; s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row; n++) {
        hidden = hidden || sqlite3_column_int(st, 9) != 0;
        if (n == 0) {
            struct str title = db_column(st, 7); /* its owner's own words, or the first question */
            jsonw_field_str(&w, "title",
                            title.len > 0 ? title
                            : hidden      ? STR("")
                                          : db_column(st, 2));
            jsonw_field_int(&w, "expires", sqlite3_column_int64(st, 8) / 1000);
            jsonw_key(&w, "exchanges");
            jsonw_open(&w, '[');
        }
        exchange_json(&w, st, hidden);
    }
    if (s == STATUS_OK && n == 0) {
        s = error_set(err, STATUS_NOT_FOUND, NO_LINK);
    }
    if (n > 0) {
        jsonw_close(&w, ']');
    }
    jsonw_close(&w, '}');
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && buf_status(a->out) != STATUS_OK
               ? error_set(err, buf_status(a->out), "that is too long to be told at once")
               : s;
}
