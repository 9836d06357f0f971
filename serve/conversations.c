#include "serve/conversations.h"

#include <string.h>
#include <time.h>

#include "base/db.h"
#include "base/text/text.h"
#include "serve/http/jsonw.h"

#define DAY_MS INT64_C(86400000)
#define MISSING "there is no such conversation of yours: it was deleted, is too old, or was erased"

/* A conversation's title, or its first question. */
#define TITLE_OF_C                                                                                 \
    "CASE WHEN c.title <> '' THEN c.title ELSE ifnull((SELECT a.question FROM exchanges e"         \
    " JOIN answers a ON a.id = e.answer WHERE e.conversation = c.id ORDER BY e.number LIMIT 1),"   \
    " '') END"

static void bind_z(sqlite3_stmt *st, int at, const char *z)
{
    if (z != NULL) {
        (void)sqlite3_bind_text(st, at, z, -1, SQLITE_STATIC);
    }
}

/* At most so many bytes, in whole characters. */
static struct str shortened(struct str s)
{
    if (s.len <= CONVERSATION_TITLE_MAX) {
        return s;
    }
    size_t n = CONVERSATION_TITLE_MAX;
    while (n > 0 && ((unsigned char)s.ptr[n] & 0xC0) == 0x80) {
        n--;
    }
    return (struct str){s.ptr, n};
}

/* A statement about conversation ?2 of user ?1. */
static enum status run_one(sqlite3 *db, const char *sql, struct conversation_ask *a,
                           struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        bind_z(st, 1, a->user);
        bind_z(st, 2, a->id);
        if (sqlite3_bind_parameter_count(st) > 2) {
            bind_z(st, 3, a->title);
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    a->count = s == STATUS_OK ? sqlite3_changes(db) : 0;
    return s == STATUS_OK && a->count == 0 ? error_set(err, STATUS_NOT_FOUND, MISSING) : s;
}

enum status conversations_expire(sqlite3 *db, int64_t now_ms, int64_t expired_ms, struct error *err)
{
    static const char *const sql[] = {"DELETE FROM conversations WHERE changed_wall_ms < ?1",
                                      "DELETE FROM shares WHERE expires_wall_ms <= ?1"};
    enum status s = STATUS_OK;
    for (int i = 0; i < 2 && s == STATUS_OK; i++) {
        sqlite3_stmt *st = NULL;
        s = db_prepare(db, sql[i], &st, err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_int64(st, 1, i == 0 ? expired_ms : now_ms);
            s = db_run(st, err);
        }
        (void)sqlite3_finalize(st);
    }
    return s;
}

enum status conversations_room(sqlite3 *db, const struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT count(*) FROM conversations INDEXED BY conversations_by_user"
                               " WHERE user = ?1 AND changed_wall_ms >= ?2",
                               &st, err);
    if (s == STATUS_OK) {
        bind_z(st, 1, a->user);
        (void)sqlite3_bind_int64(st, 2, a->expired_ms);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && sqlite3_column_int64(st, 0) >= a->per_user) {
        s = error_set(err, STATUS_TOO_LARGE,
                      "you have %lld conversations, which is as many as are kept here "
                      "(conversations.per_user): delete some",
                      (long long)a->per_user);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- a list ---- */

/* folded_has(title, letters): whether the letters, folded already, stand in the title. NULL: all.
 */
static void folded_has(sqlite3_context *x, int n, sqlite3_value **v)
{
    struct buf title;
    (void)n;
    if (sqlite3_value_type(v[1]) == SQLITE_NULL) {
        sqlite3_result_int(x, 1);
        return;
    }
    buf_init(&title, 65536);
    text_fold(
        (struct str){(const char *)sqlite3_value_text(v[0]), (size_t)sqlite3_value_bytes(v[0])},
        &title);
    size_t len = (size_t)sqlite3_value_bytes(v[1]);
    bool has = len == 0 || (title.len > 0 &&
                            memmem(title.ptr, title.len, sqlite3_value_text(v[1]), len) != NULL);
    sqlite3_result_int(x, has ? 1 : 0);
    buf_deinit(&title);
}

static enum status list_rows(sqlite3_stmt *st, struct conversation_ask *a, struct jsonw *w,
                             struct error *err)
{
    char last[ID_CAP] = "";
    bool row = false;
    bool more = false;
    enum status s = STATUS_OK;
    jsonw_key(w, "conversations");
    jsonw_open(w, '[');
    for (int64_t n = 0; !more && (s = db_row(st, &row, err)) == STATUS_OK && row; n++) {
        more = n == a->limit;
        if (more) {
            break;
        }
        struct str id = db_column(st, 0);
        memcpy(last, id.ptr, id.len < sizeof last ? id.len : sizeof last - 1);
        jsonw_open(w, '{');
        jsonw_field_str(w, "id", id);
        jsonw_field_str(w, "title", shortened(db_column(st, 1)));
        jsonw_field_int(w, "created", sqlite3_column_int64(st, 2) / 1000);
        jsonw_field_int(w, "changed", sqlite3_column_int64(st, 3) / 1000);
        jsonw_field_int(w, "exchanges", sqlite3_column_int64(st, 4));
        jsonw_field_int(w, "shares", sqlite3_column_int64(st, 5));
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    jsonw_field_z(w, "next", more ? last : NULL);
    return s;
}

enum status conversations_list(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct buf like;
    struct jsonw w;
    buf_init(&like, 4096);
    jsonw_init(&w, a->out);
    jsonw_open(&w, '{');
    jsonw_field_int(&w, "keep_days", a->keep_days);
    enum status s = conversations_expire(db, a->now_ms, a->expired_ms, err);
    if (s == STATUS_OK && sqlite3_create_function(db, "folded_has", 2, SQLITE_UTF8, NULL,
                                                  folded_has, NULL, NULL) != SQLITE_OK) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    if (s == STATUS_OK) {
        s = db_prepare(
            db,
            "SELECT c.id, " TITLE_OF_C " AS called, c.created_wall_ms, c.changed_wall_ms,"
            " (SELECT count(*) FROM exchanges e WHERE e.conversation = c.id),"
            " (SELECT count(*) FROM shares s WHERE s.conversation = c.id)"
            " FROM conversations c WHERE c.user = ?1"
            " AND folded_has(called, ?2)"
            " AND (c.metadata = '' OR EXISTS(SELECT 1 FROM exchanges e"
            " WHERE e.conversation = c.id))"
            " AND (?3 IS NULL OR (c.changed_wall_ms, c.id) < (SELECT b.changed_wall_ms, b.id"
            " FROM conversations b WHERE b.id = ?3 AND b.user = ?1))"
            " ORDER BY c.changed_wall_ms DESC, c.id DESC LIMIT ?4",
            &st, err);
    }
    if (s == STATUS_OK) {
        if (a->like != NULL) {
            text_fold(str_from(a->like), &like);
            (void)sqlite3_bind_text(st, 2, like.ptr == NULL ? "" : like.ptr, (int)like.len,
                                    SQLITE_STATIC);
        }
        bind_z(st, 1, a->user);
        bind_z(st, 3, a->before);
        (void)sqlite3_bind_int64(st, 4, a->limit + 1);
        s = list_rows(st, a, &w, err);
    }
    jsonw_close(&w, '}');
    (void)sqlite3_finalize(st);
    buf_deinit(&like);
    return s;
}

/* ---- one ---- */

static enum status feedback_json(sqlite3 *db, struct str answer, struct jsonw *w, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT passage, verdict, comment FROM feedback WHERE answer = ?1"
                               " ORDER BY passage",
                               &st, err);
    jsonw_key(w, "feedback");
    jsonw_open(w, '[');
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, answer.ptr, (int)answer.len, SQLITE_TRANSIENT);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        jsonw_open(w, '{');
        jsonw_field_int(w, "passage", sqlite3_column_int64(st, 0));
        jsonw_field_z(w, "verdict", sqlite3_column_int(st, 1) > 0 ? "up" : "down");
        jsonw_field_str(w, "comment", db_column(st, 2));
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    (void)sqlite3_finalize(st);
    return s;
}

/* facts: an object; its members become the exchange's. */
static enum status exchange_json(sqlite3 *db, sqlite3_stmt *st, struct jsonw *w, struct error *err)
{
    struct str facts = db_column(st, 7);
    jsonw_open(w, '{');
    jsonw_field_int(w, "number", sqlite3_column_int64(st, 0));
    jsonw_field_str(w, "answer", db_column(st, 1));
    jsonw_field_int(w, "created", sqlite3_column_int64(st, 2) / 1000);
    jsonw_field_str(w, "question", db_column(st, 3));
    jsonw_field_str(w, "model", db_column(st, 4));
    jsonw_field_str(w, "outcome", db_column(st, 5));
    jsonw_field_str(w, "text", db_column(st, 6));
    if (facts.len > 2) {
        buf_char(w->out, ',');
        buf_append(w->out, facts.ptr + 1, facts.len - 2);
    }
    enum status s = feedback_json(db, db_column(st, 1), w, err);
    jsonw_close(w, '}');
    return s;
}

static const char exchanges_sql[] =
    "SELECT e.number, a.id, a.created_wall_ms, a.question, a.asked_model, a.outcome, e.text,"
    " e.facts FROM exchanges e JOIN answers a ON a.id = e.answer WHERE e.conversation = ?1"
    " ORDER BY e.number";

static enum status exchanges_json(sqlite3 *db, struct str id, struct jsonw *w, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, exchanges_sql, &st, err);
    jsonw_key(w, "exchanges");
    jsonw_open(w, '[');
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id.ptr, (int)id.len, SQLITE_TRANSIENT);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        s = exchange_json(db, st, w, err);
    }
    jsonw_close(w, ']');
    (void)sqlite3_finalize(st);
    return s;
}

/* What a client put in besides, and its notes; nothing where there is none. */
static enum status items_json(sqlite3 *db, struct str id, struct jsonw *w, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        db_prepare(db,
                   "SELECT metadata, (SELECT json_group_array(CASE kind WHEN '' THEN"
                   " json_object('role', role, 'text', text, 'after', place) ELSE"
                   " json_object('role', role, 'text', text, 'after', place, 'type', CASE kind"
                   " WHEN 'call' THEN 'function_call' ELSE 'function_call_output' END,"
                   " 'call_id', call_id, 'name', name) END) FROM (SELECT * FROM conversation_items"
                   " WHERE conversation = ?1 ORDER BY seq)) FROM conversations WHERE id = ?1",
                   &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id.ptr, (int)id.len, SQLITE_TRANSIENT);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row && db_column(st, 0).len > 2) {
        jsonw_key(w, "metadata");
        jsonw_raw(w, db_column(st, 0));
    }
    if (s == STATUS_OK && row && db_column(st, 1).len > 2) {
        jsonw_key(w, "items");
        jsonw_raw(w, db_column(st, 1));
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status conversation_json(sqlite3 *db, sqlite3_stmt *st, struct jsonw *w,
                                     struct error *err)
{
    jsonw_open(w, '{');
    jsonw_field_str(w, "id", db_column(st, 0));
    jsonw_field_str(w, "title", shortened(db_column(st, 1)));
    jsonw_field_int(w, "created", sqlite3_column_int64(st, 2) / 1000);
    jsonw_field_int(w, "changed", sqlite3_column_int64(st, 3) / 1000);
    enum status s = exchanges_json(db, db_column(st, 0), w, err);
    s = s == STATUS_OK ? items_json(db, db_column(st, 0), w, err) : s;
    jsonw_close(w, '}');
    return s;
}

/* ---- Markdown ---- */

static void day_and_time(struct buf *out, int64_t ms)
{
    char text[40];
    struct tm utc;
    time_t t = (time_t)(ms / 1000);
    if (gmtime_r(&t, &utc) != NULL && strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc) > 0) {
        buf_z(out, text);
    }
}

/* A line of its own cannot become a heading or end one. */
static void one_line(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        buf_char(out, c < 0x20 || c == 0x7f ? ' ' : (char)c);
    }
}

/* The sources of one answer, as a list. */
static enum status sources_markdown(sqlite3 *db, struct str answer, struct buf *out,
                                    struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        db_prepare(db,
                   "SELECT json_extract(c.value, '$.number'),"
                   " json_extract(c.value, '$.document.path'), json_extract(c.value, '$.page'),"
                   " json_extract(c.value, '$.hash')"
                   " FROM exchanges e, json_each(e.facts, '$.citations') c WHERE e.answer = ?1",
                   &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, answer.ptr, (int)answer.len, SQLITE_TRANSIENT);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        buf_printf(out, "- [%lld] ", (long long)sqlite3_column_int64(st, 0));
        one_line(out, db_column(st, 1));
        if (sqlite3_column_int64(st, 2) > 0) {
            buf_printf(out, ", page %lld", (long long)sqlite3_column_int64(st, 2));
        }
        buf_z(out, " (SHA-256 of the passage ");
        one_line(out, db_column(st, 3));
        buf_z(out, ")\n");
    }
    buf_z(out, "\n");
    (void)sqlite3_finalize(st);
    return s;
}

static enum status conversation_markdown(sqlite3 *db, sqlite3_stmt *of, struct buf *out,
                                         struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    struct str id = db_column(of, 0);
    buf_z(out, "# ");
    one_line(out, shortened(db_column(of, 1)));
    buf_z(out, "\n\n");
    day_and_time(out, sqlite3_column_int64(of, 2));
    buf_z(out, " to ");
    day_and_time(out, sqlite3_column_int64(of, 3));
    buf_z(out, "\n\n");
    enum status s = db_prepare(db, exchanges_sql, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id.ptr, (int)id.len, SQLITE_TRANSIENT);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        buf_z(out, "## ");
        one_line(out, db_column(st, 3));
        buf_z(out, "\n\n");
        buf_str(out, db_column(st, 6));
        buf_z(out, "\n\n");
        s = sources_markdown(db, db_column(st, 1), out, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- both ---- */

static enum status too_long(struct conversation_ask *a, enum status s, struct error *err)
{
    if (s == STATUS_OK && buf_status(a->out) != STATUS_OK) {
        return error_set(err, buf_status(a->out), "that is too long to be told at once");
    }
    return s;
}

/* One of the user's, or all of them: oldest first. */
static enum status find(sqlite3 *db, struct conversation_ask *a, sqlite3_stmt **st,
                        struct error *err)
{
    enum status s = db_prepare(db,
                               "SELECT c.id, " TITLE_OF_C ", c.created_wall_ms, c.changed_wall_ms"
                               " FROM conversations c WHERE c.user = ?1"
                               " AND (?2 IS NULL OR c.id = ?2) AND c.changed_wall_ms >= ?3"
                               " ORDER BY c.created_wall_ms, c.id",
                               st, err);
    if (s == STATUS_OK) {
        bind_z(*st, 1, a->user);
        bind_z(*st, 2, a->id);
        (void)sqlite3_bind_int64(*st, 3, a->expired_ms);
    }
    return s;
}

enum status conversation_read(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = find(db, a, &st, err);
    s = s == STATUS_OK ? db_row(st, &row, err) : s;
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, MISSING);
    } else if (s == STATUS_OK) {
        struct jsonw w;
        jsonw_init(&w, a->out);
        s = conversation_json(db, st, &w, err);
    }
    (void)sqlite3_finalize(st);
    return too_long(a, s, err);
}

enum status conversations_export(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct jsonw w;
    bool row = false;
    int64_t n = 0;
    enum status s = find(db, a, &st, err);
    jsonw_init(&w, a->out);
    if (!a->markdown) {
        jsonw_open(&w, '{');
        jsonw_key(&w, "conversations");
        jsonw_open(&w, '[');
    }
    while (s == STATUS_OK && buf_status(a->out) == STATUS_OK &&
           (s = db_row(st, &row, err)) == STATUS_OK && row) {
        n++;
        s = a->markdown ? conversation_markdown(db, st, a->out, err)
                        : conversation_json(db, st, &w, err);
    }
    if (!a->markdown) {
        jsonw_close(&w, ']');
        jsonw_close(&w, '}');
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK && a->id != NULL && n == 0) {
        s = error_set(err, STATUS_NOT_FOUND, MISSING);
    }
    return too_long(a, s, err);
}

enum status conversation_rename(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    return run_one(db, "UPDATE conversations SET title = ?3 WHERE user = ?1 AND id = ?2", a, err);
}

enum status conversation_delete(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    return run_one(db, "DELETE FROM conversations WHERE user = ?1 AND id = ?2", a, err);
}

/* ---- for good ---- */

static enum status run_user(sqlite3 *db, const char *sql, const char *user, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        bind_z(st, 1, user);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status conversations_erase(sqlite3 *db, struct conversation_ask *a, struct error *err)
{
    bool clean = false;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s == STATUS_OK) {
        s = run_user(db,
                     "DELETE FROM answers WHERE user = ?1 AND id IN (SELECT e.answer FROM exchanges"
                     " e JOIN conversations c ON c.id = e.conversation WHERE c.user = ?1)",
                     a->user, err);
    }
    if (s == STATUS_OK) {
        s = run_user(db, "DELETE FROM conversations WHERE user = ?1", a->user, err);
        a->count = s == STATUS_OK ? sqlite3_changes(db) : 0;
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    if (s != STATUS_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return s;
    }
    s = db_scrub(db, false, &clean, err);
    return s == STATUS_OK && !clean
               ? error_set(err, STATUS_BUSY,
                           "they are gone, but a reader still holds a copy in the write-ahead log: "
                           "ask again")
               : s;
}

enum status conversations_drop_erased(sqlite3 *db, const char *erased, struct error *err)
{
    struct buf sql;
    buf_init(&sql, 16384);
    /* a title may say what the answers said; what follows may say it again */
    buf_printf(&sql,
               "UPDATE conversations SET title = '' WHERE id IN (SELECT conversation FROM exchanges"
               " WHERE answer IN (SELECT id FROM %s));"
               "DELETE FROM conversation_items WHERE EXISTS(SELECT 1 FROM exchanges f"
               " WHERE f.conversation = conversation_items.conversation"
               " AND f.number <= conversation_items.place AND f.answer IN (SELECT id FROM %s));"
               "DELETE FROM exchanges WHERE EXISTS(SELECT 1 FROM exchanges f"
               " WHERE f.conversation = exchanges.conversation AND f.number <= exchanges.number"
               " AND f.answer IN (SELECT id FROM %s))",
               erased, erased, erased);
    buf_char(&sql, '\0');
    enum status s = buf_status(&sql) == STATUS_OK
                        ? db_exec(db, sql.ptr, err)
                        : error_set(err, buf_status(&sql), "out of memory");
    buf_deinit(&sql);
    return s;
}

enum status conversations_drop_empty(sqlite3 *db, struct error *err)
{
    return db_exec(db,
                   "DELETE FROM conversations WHERE metadata = '' AND NOT EXISTS("
                   "SELECT 1 FROM exchanges e WHERE e.conversation = conversations.id)",
                   err);
}
