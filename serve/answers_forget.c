/* Taking answers out of serve.db for good: those made from documents that were erased, those that
 * name a data subject wherever they do. */
#include "base/db.h"
#include "serve/answers.h"

static enum status drop_erased(sqlite3 *db, uint32_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "DELETE FROM answers WHERE json_valid(passages) AND"
                               " EXISTS(SELECT 1 FROM json_each(answers.passages) p JOIN erased e"
                               " ON e.document = json_extract(p.value, '$.document'))",
                               &st, err);
    if (s == STATUS_OK) {
        s = db_run(st, err);
        *n += s == STATUS_OK ? (uint32_t)sqlite3_changes(db) : 0;
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status remember_erased(sqlite3 *db, const struct forgetting *f, struct error *err)
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
        " (SELECT group_concat(m.value, char(10)) FROM turns t, json_tree(t.messages) m"
        " WHERE t.answer = answers.id AND m.type='text'),"
        " (SELECT group_concat(m.value, char(10)) FROM turns t, json_tree(t.response) m"
        " WHERE t.answer = answers.id AND m.type='text')"
        " FROM answers",
        &st, err);
    if (s == STATUS_OK) {
        s = db_prepare(db, "DELETE FROM answers WHERE rowid=?1", &drop, err);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        bool named = false;
        for (int i = 1; i < sqlite3_column_count(st) && !named; i++) {
            named = subject_in(f->subjects, db_column(st, i));
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

enum status answers_forget_now(sqlite3 *db, struct forgetting *f, struct error *err)
{
    f->answers = 0;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s == STATUS_OK) {
        s = remember_erased(db, f, err);
    }
    if (s == STATUS_OK) {
        s = drop_erased(db, &f->answers, err);
    }
    if (s == STATUS_OK && f->subjects != NULL) {
        s = drop_named(db, f, err);
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
