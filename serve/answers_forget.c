/* Taking answers out of serve.db for good: those made from documents that were erased, those that
 * name a data subject wherever they do. */
#include <string.h>

#include "base/db.h"
#include "serve/answers.h"
#include "serve/conversations.h"
#include "serve/files.h"
#include "serve/jobs.h"
#include "serve/webhooks_store.h"

#define TEXT_MAX ((size_t)64 << 20)
#define UNESCAPED_MAX 4
/* Of one in json_tree: people choose keys too. */
#define KEY_AND_TEXT                                                                               \
    "iif(typeof(m.key)='text', m.key || char(10), '') || iif(m.atom IS NULL, '', m.atom)"

#define FROM_ERASED                                                                                \
    " answers WHERE json_valid(passages) AND EXISTS(SELECT 1 FROM json_each(answers.passages) p"   \
    " JOIN erased e ON e.document = json_extract(p.value, '$.document'))"

/* The turns that followed such an answer may say again what it said. */
static enum status drop_erased(sqlite3 *db, uint32_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_exec(db,
                            "WITH RECURSIVE gone(id) AS (SELECT id FROM" FROM_ERASED
                            " UNION SELECT t.answer FROM turns t JOIN gone ON t.previous = gone.id)"
                            " DELETE FROM turns WHERE answer IN (SELECT id FROM gone)",
                            err);
    if (s == STATUS_OK) {
        s = conversations_drop_erased(db, FROM_ERASED, err);
    }
    if (s == STATUS_OK) {
        s = db_prepare(db, "DELETE FROM" FROM_ERASED, &st, err);
    }
    if (s == STATUS_OK) {
        s = db_run(st, err);
        *n += s == STATUS_OK ? (uint32_t)sqlite3_changes(db) : 0;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status answers_remember_erased(sqlite3 *db, const struct forgetting *f, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "INSERT OR IGNORE INTO erased VALUES(?1)", &st, err);
    for (size_t i = 0; i < f->n && s == STATUS_OK; i++) {
        (void)sqlite3_bind_text(st, 1, f->documents[i], -1, SQLITE_STATIC);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status drop_one(sqlite3_stmt *st, int64_t row, struct error *err)
{
    (void)sqlite3_bind_int64(st, 1, row);
    enum status s = db_run(st, err);
    db_reset(st);
    return s;
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        v = d < 0 || v < 0 ? -1 : v * 16 + d;
    }
    return v;
}

static void add_character(struct buf *out, int c)
{
    if (c >= 0x10000) {
        buf_char(out, (char)(0xf0 | c >> 18));
        buf_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
    } else if (c >= 0x800) {
        buf_char(out, (char)(0xe0 | c >> 12));
    } else if (c >= 0x80) {
        buf_char(out, (char)(0xc0 | c >> 6));
    }
    if (c >= 0x800) {
        buf_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
    }
    buf_char(out, (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c));
}

/* JSON's escapes as what they mean, also where no JSON is. */
static void unescape(struct str s, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < s.len;) {
        size_t left = s.len - i;
        if (s.ptr[i] != '\\' || left < 2) {
            buf_char(out, s.ptr[i++]);
            continue;
        }
        int c = s.ptr[i + 1] == 'u' && left >= 6 ? hex4(s.ptr + i + 2) : -1;
        if (c < 0) { /* of \n and its like: a border of words */
            bool border = strchr("bfnrt", s.ptr[i + 1]) != NULL && s.ptr[i + 1] != '\0';
            buf_char(out, border ? ' ' : s.ptr[i + 1]);
            i += 2;
            continue;
        }
        i += 6;
        if (c >= 0xd800 && c < 0xdc00 && left >= 12 && s.ptr[i] == '\\' && s.ptr[i + 1] == 'u') {
            int low = hex4(s.ptr + i + 2);
            if (low >= 0xdc00 && low < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                i += 6;
            }
        }
        add_character(out, c >= 0xd800 && c < 0xe000 ? ' ' : c);
    }
}

/* As it stands, and as it reads: what functions are called with and give back is often JSON within
 * a text, and then within JSON again. */
enum status answers_named_in(struct subject_set *subjects, struct str text, bool *named,
                             struct error *err)
{
    struct buf out[2];
    buf_init(&out[0], TEXT_MAX);
    buf_init(&out[1], TEXT_MAX);
    *named = subject_in(subjects, text);
    enum status s = STATUS_OK;
    for (int i = 0; i < UNESCAPED_MAX && !*named && s == STATUS_OK && text.len > 0 &&
                    memchr(text.ptr, '\\', text.len) != NULL;
         i++) {
        unescape(text, &out[i % 2]);
        s = buf_status(&out[i % 2]);
        text = buf_view(&out[i % 2]);
        *named = s == STATUS_OK && subject_in(subjects, text);
    }
    buf_deinit(&out[0]);
    buf_deinit(&out[1]);
    return s == STATUS_OK ? s : error_set(err, s, "a text of an answer cannot be searched");
}

/* Every text of the record, JSON without its escapes; and what people remarked about it. */
static enum status drop_named(sqlite3 *db, struct forgetting *f, struct error *err)
{
    sqlite3_stmt *st = NULL;
    sqlite3_stmt *drop = NULL;
    bool row = false;
    enum status s = db_prepare(
        db,
        "SELECT rowid, user, question, asked_model, error, note, calls,"
        " CASE WHEN json_valid(route) THEN (SELECT group_concat(t.value, char(10))"
        " FROM json_tree(route) t WHERE t.type='text') ELSE route END,"
        " CASE WHEN json_valid(passages) THEN (SELECT group_concat(t.value, char(10))"
        " FROM json_tree(passages) t WHERE t.type='text') ELSE passages END,"
        " (SELECT group_concat(comment, char(10)) FROM feedback b WHERE b.answer = answers.id),"
        " (SELECT group_concat(" KEY_AND_TEXT ", char(10)) FROM turns t, json_tree(t.messages) m"
        " WHERE t.answer = answers.id),"
        " (SELECT group_concat(" KEY_AND_TEXT ", char(10)) FROM turns t, json_tree(t.response) m"
        " WHERE t.answer = answers.id),"
        " (SELECT e.text FROM exchanges e WHERE e.answer = answers.id),"
        " (SELECT group_concat(" KEY_AND_TEXT ", char(10)) FROM exchanges e, json_tree(e.facts) m"
        " WHERE e.answer = answers.id)"
        " FROM answers",
        &st, err);
    if (s == STATUS_OK) {
        s = db_prepare(db, "DELETE FROM answers WHERE rowid=?1", &drop, err);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        bool named = false;
        for (int i = 1; i < sqlite3_column_count(st) && !named && s == STATUS_OK; i++) {
            s = answers_named_in(f->subjects, db_column(st, i), &named, err);
        }
        if (named) {
            s = drop_one(drop, sqlite3_column_int64(st, 0), err);
            f->answers++;
        }
    }
    (void)sqlite3_finalize(st);
    (void)sqlite3_finalize(drop);
    return s;
}

/* Collections that are called after somebody: what the books say of them goes. */
static enum status drop_collections(sqlite3 *db, struct forgetting *f, struct error *err)
{
    static const char *const sql[] = {"DELETE FROM stored_days WHERE collection = ?1",
                                      "DELETE FROM found_days WHERE collection = ?1",
                                      "DELETE FROM worked_days WHERE collection = ?1"};
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        db_prepare(db,
                   "SELECT collection FROM stored_days UNION SELECT collection FROM found_days"
                   " UNION SELECT collection FROM worked_days",
                   &st, err);
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        bool named = false;
        s = answers_named_in(f->subjects, db_column(st, 0), &named, err);
        for (int i = 0; named && s == STATUS_OK && i < 3; i++) {
            sqlite3_stmt *drop = NULL;
            struct str name = db_column(st, 0);
            s = db_prepare(db, sql[i], &drop, err);
            if (s == STATUS_OK) {
                (void)sqlite3_bind_text(drop, 1, name.ptr, (int)name.len, SQLITE_TRANSIENT);
                s = db_run(drop, err);
            }
            (void)sqlite3_finalize(drop);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* Names that somebody gave conversations, which are called by their first questions again; what
 * clients put into them, and their notes about them. */
static enum status drop_from_conversations(sqlite3 *db, struct forgetting *f, struct error *err)
{
    static const char *const sql[][2] = {
        {"SELECT id, title FROM conversations WHERE title <> ''",
         "UPDATE conversations SET title = '' WHERE id = ?1"},
        {"SELECT id, text || char(10) || name || char(10) || call_id FROM conversation_items",
         "DELETE FROM conversation_items WHERE id = ?1"},
        {"SELECT id, metadata FROM conversations WHERE metadata <> ''",
         "UPDATE conversations SET metadata = '{}' WHERE id = ?1"}};
    enum status s = STATUS_OK;
    for (size_t i = 0; i < sizeof sql / sizeof sql[0] && s == STATUS_OK; i++) {
        sqlite3_stmt *st = NULL, *drop = NULL;
        bool row = false;
        s = db_prepare(db, sql[i][0], &st, err);
        s = s == STATUS_OK ? db_prepare(db, sql[i][1], &drop, err) : s;
        while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
            bool named = false;
            s = answers_named_in(f->subjects, db_column(st, 1), &named, err);
            if (s == STATUS_OK && named) {
                struct str id = db_column(st, 0);
                (void)sqlite3_bind_text(drop, 1, id.ptr, (int)id.len, SQLITE_TRANSIENT);
                s = db_run(drop, err);
                f->answers++;
            }
        }
        (void)sqlite3_finalize(st);
        (void)sqlite3_finalize(drop);
    }
    return s;
}

enum status answers_forget_now(sqlite3 *db, struct forgetting *f, struct error *err)
{
    f->answers = 0;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s == STATUS_OK) {
        s = answers_remember_erased(db, f, err);
    }
    if (s == STATUS_OK) {
        s = drop_erased(db, &f->answers, err);
    }
    if (s == STATUS_OK && f->subjects != NULL) {
        s = drop_named(db, f, err);
        s = s == STATUS_OK ? drop_from_conversations(db, f, err) : s;
        s = s == STATUS_OK ? drop_collections(db, f, err) : s;
        s = s == STATUS_OK ? webhooks_forget(db, f->subjects, err) : s;
    }
    if (s == STATUS_OK) {
        s = conversations_drop_empty(db, err);
    }
    if (s == STATUS_OK && !f->dry_run) {
        s = files_forget(db, f->documents, f->n, f->subjects, f->files, err);
        s = s == STATUS_OK ? jobs_forget(db, f->documents, f->n, f->subjects, err) : s;
    }
    if (s == STATUS_OK && !f->dry_run) {
        s = db_exec(db, "COMMIT", err);
    }
    if (s != STATUS_OK || f->dry_run) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    f->clean = f->dry_run;
    return s == STATUS_OK && !f->dry_run ? db_scrub(db, f->whole, &f->clean, err) : s;
}
