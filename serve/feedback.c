#include "serve/feedback.h"

#include "base/clock.h"
#include "base/db.h"
#include "base/hash.h"
#include "serve/http/jsonw.h"
#include "serve/webhooks_store.h"

#define DOCUMENTS_MAX 20U
#define BAD_MAX 50U

/* The answer is the user's, and has the passage. */
static enum status check(sqlite3 *db, const struct feedback *f, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT 1 FROM answers INDEXED BY answers_by_user"
                               " WHERE id = ?1 AND user = ?2 AND (?3 = 0 OR"
                               " (json_valid(passages) AND EXISTS(SELECT 1 FROM json_each(passages)"
                               " p WHERE json_extract(p.value, '$.number') = ?3)))",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, f->answer, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, f->user, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, f->passage);
        s = db_row(st, &row, err);
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && !row ? error_set(err, STATUS_NOT_FOUND,
                                              "there is no such answer of yours, or it has no "
                                              "such passage")
                                  : s;
}

static enum status write_verdict(sqlite3 *db, const struct feedback *f, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s =
        db_prepare(db,
                   f->verdict == 0 ? "DELETE FROM feedback WHERE answer = ?1 AND passage = ?2"
                                   : "INSERT OR REPLACE INTO feedback VALUES(?1, ?2, ?3, ?4, ?5)",
                   &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, f->answer, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 2, f->passage);
        if (f->verdict != 0) {
            (void)sqlite3_bind_int(st, 3, f->verdict);
            (void)sqlite3_bind_text(st, 4, f->comment, -1, SQLITE_STATIC);
            (void)sqlite3_bind_int64(st, 5, clock_wall_ms());
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* All of it, or what says nothing of whose question it was. */
static void flag(struct buf *out, const struct feedback *f, const struct str *question)
{
    struct jsonw w;
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "answer", f->answer);
    jsonw_field_z(&w, "verdict", "down");
    if (f->passage > 0) {
        jsonw_field_int(&w, "passage", f->passage);
    }
    if (question != NULL) {
        jsonw_field_z(&w, "comment", f->comment);
        jsonw_field_str(&w, "question", *question);
        jsonw_field_z(&w, "user", f->user);
    }
    jsonw_close(&w, '}');
}

/* Whoever is to be told that an answer was wrong. That too much waits already is no reason to
 * refuse the verdict. */
static enum status tell(sqlite3 *db, const struct feedback *f, struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct buf data;
    struct buf brief;
    bool row = false;
    buf_init(&data, WEBHOOK_BODY_MAX / 2);
    buf_init(&brief, 1024);
    enum status s =
        db_prepare(db, "SELECT substr(question,1,4000) FROM answers WHERE id=?1", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, f->answer, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row) {
        struct str question = db_column(st, 0);
        flag(&data, f, &question);
        flag(&brief, f, NULL);
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK && data.len > 0 && buf_status(&data) == STATUS_OK &&
        buf_status(&brief) == STATUS_OK) {
        const struct webhook_happening h = {.tenant = f->tenant,
                                            .event = "answer.flagged",
                                            .ref = f->answer,
                                            .data = data.ptr,
                                            .whose = f->user,
                                            .brief = brief.ptr};
        s = webhooks_put(db, &h, err);
        s = s == STATUS_BUSY ? STATUS_OK : s;
    }
    buf_deinit(&data);
    buf_deinit(&brief);
    return s;
}

enum status feedback_save(sqlite3 *db, void *data, struct error *err)
{
    const struct feedback *f = data;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = check(db, f, err);
    s = s == STATUS_OK ? write_verdict(db, f, err) : s;
    if (s == STATUS_OK && f->verdict < 0) {
        s = tell(db, f, err);
    }
    s = s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
    if (s != STATUS_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return s;
}

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "out of memory");
}

static enum status read_documents(sqlite3 *db, Rt__JudgedQuestion *q, struct arena *a,
                                  struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        db_prepare(db,
                   "SELECT DISTINCT json_extract(p.value, '$.document')"
                   " FROM answers a, json_each(a.passages) p"
                   " LEFT JOIN feedback f ON f.answer = a.id"
                   "  AND f.passage = json_extract(p.value, '$.number')"
                   " WHERE a.id = ?1 AND ifnull(f.verdict, 0) >= 0 AND (f.verdict = 1 OR"
                   "  json_extract(p.value, '$.number') IN (SELECT value FROM json_each(a.cited)))"
                   " LIMIT 20",
                   &st, err);
    q->documents = arena_array(a, DOCUMENTS_MAX, sizeof *q->documents);
    if (s == STATUS_OK && q->documents == NULL) {
        s = no_memory(err);
    }
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, q->key, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    while (s == STATUS_OK && row && q->n_documents < DOCUMENTS_MAX) {
        struct str id = db_column(st, 0);
        char *copy = arena_strndup(a, id.ptr, id.len);
        if (copy == NULL) {
            s = no_memory(err);
            break;
        }
        q->documents[q->n_documents++] = copy;
        s = db_row(st, &row, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status read_bad(sqlite3 *db, Rt__JudgedQuestion *q, struct arena *a, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT json_extract(p.value, '$.hash')"
                               " FROM answers a, json_each(a.passages) p JOIN feedback f"
                               " ON f.answer = a.id AND f.verdict = -1"
                               "  AND f.passage = json_extract(p.value, '$.number')"
                               " WHERE a.id = ?1 LIMIT 50",
                               &st, err);
    q->bad = arena_array(a, BAD_MAX, sizeof *q->bad);
    if (s == STATUS_OK && q->bad == NULL) {
        s = no_memory(err);
    }
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, q->key, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    while (s == STATUS_OK && row && q->n_bad < BAD_MAX) {
        struct str hex = db_column(st, 0);
        char *copy = arena_strndup(a, hex.ptr, hex.len);
        uint8_t *hash = arena_alloc(a, SHA256_BYTES);
        if (copy == NULL || hash == NULL) {
            s = no_memory(err);
            break;
        }
        if (sha256_parse(copy, hash)) {
            q->bad[q->n_bad++] = (ProtobufCBinaryData){.len = SHA256_BYTES, .data = hash};
        }
        s = db_row(st, &row, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status read_one(sqlite3 *db, sqlite3_stmt *st, struct feedback_judged *j,
                            struct error *err)
{
    struct str id = db_column(st, 0), text = db_column(st, 1);
    Rt__JudgedQuestion *q = arena_alloc(j->a, sizeof *q);
    char *key = arena_strndup(j->a, id.ptr, id.len);
    char *copy = arena_strndup(j->a, text.ptr, text.len);
    if (q == NULL || key == NULL || copy == NULL) {
        return no_memory(err);
    }
    rt__judged_question__init(q);
    q->key = key;
    q->text = (ProtobufCBinaryData){.len = text.len, .data = (uint8_t *)copy};
    enum status s = read_documents(db, q, j->a, err);
    if (s == STATUS_OK) {
        s = read_bad(db, q, j->a, err);
    }
    if (s == STATUS_OK && q->n_documents > 0) {
        j->list[j->n++] = q;
    }
    return s;
}

enum status feedback_judged(sqlite3 *db, void *data, struct error *err)
{
    struct feedback_judged *j = data;
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        db_prepare(db,
                   "SELECT id, question FROM answers a WHERE json_valid(passages)"
                   " AND json_valid(cited) AND length(question) BETWEEN 1 AND 4000"
                   " AND EXISTS(SELECT 1 FROM feedback f WHERE f.answer = a.id AND f.verdict = 1)"
                   " ORDER BY created_wall_ms DESC LIMIT 200",
                   &st, err);
    j->n = 0;
    j->list = arena_array(j->a, FEEDBACK_JUDGED_MAX, sizeof *j->list);
    if (s == STATUS_OK && j->list == NULL) {
        s = no_memory(err);
    }
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    while (s == STATUS_OK && row && j->n < FEEDBACK_JUDGED_MAX) {
        s = read_one(db, st, j, err);
        if (s == STATUS_OK) {
            s = db_row(st, &row, err);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- what administrators are told ---- */

static enum status write_counts(sqlite3 *db, const struct feedback_summary *f, struct jsonw *w,
                                struct error *err)
{
    static const char *const names[] = {"answers",  "refused",        "liked",
                                        "disliked", "passages_liked", "passages_disliked"};
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(
        db,
        "SELECT (SELECT count(*) FROM answers WHERE created_wall_ms >= ?1),"
        " (SELECT count(*) FROM answers WHERE created_wall_ms >= ?1 AND outcome = 'refused'),"
        " ifnull(sum(passage = 0 AND verdict = 1), 0), ifnull(sum(passage = 0 AND verdict = -1), "
        "0),"
        " ifnull(sum(passage > 0 AND verdict = 1), 0), ifnull(sum(passage > 0 AND verdict = -1), 0)"
        " FROM feedback WHERE at_wall_ms >= ?1",
        &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, f->since_wall_ms);
        s = db_row(st, &row, err);
    }
    for (int i = 0; s == STATUS_OK && row && i < (int)(sizeof names / sizeof names[0]); i++) {
        jsonw_field_int(w, names[i], sqlite3_column_int64(st, i));
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* "key": what the rows of sql say, each an object. Its ?1: since when, ?2: how many. */
static enum status write_list(sqlite3 *db, const struct feedback_summary *f, const char *key,
                              const char *sql, void (*fields)(struct jsonw *w, sqlite3_stmt *st),
                              struct jsonw *w, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, sql, &st, err);
    jsonw_key(w, key);
    jsonw_open(w, '[');
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, f->since_wall_ms);
        (void)sqlite3_bind_int(st, 2, FEEDBACK_LISTED_MAX);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        jsonw_open(w, '{');
        fields(w, st);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    (void)sqlite3_finalize(st);
    return s;
}

/* The same question asked twice is one, at its last time: max() decides which row id is of. */
#define UNANSWERED                                                                                 \
    "SELECT question, count(*), max(created_wall_ms), id FROM answers"                             \
    " WHERE created_wall_ms >= ?1 AND outcome = 'refused'"                                         \
    " AND length(question) BETWEEN 1 AND 4000 GROUP BY question ORDER BY 3 DESC LIMIT ?2"

static void unanswered_fields(struct jsonw *w, sqlite3_stmt *st)
{
    jsonw_field_str(w, "question", db_column(st, 0));
    jsonw_field_int(w, "times", sqlite3_column_int64(st, 1));
    jsonw_field_int(w, "at", sqlite3_column_int64(st, 2) / 1000);
    jsonw_field_str(w, "answer", db_column(st, 3));
}

/* What people wrote beside their thumbs, the newest. */
#define COMMENTS                                                                                   \
    "SELECT comment, verdict, at_wall_ms, answer FROM feedback"                                    \
    " WHERE at_wall_ms >= ?1 AND comment <> '' ORDER BY at_wall_ms DESC LIMIT ?2"

static void comment_fields(struct jsonw *w, sqlite3_stmt *st)
{
    jsonw_field_str(w, "comment", db_column(st, 0));
    jsonw_field_z(w, "verdict", sqlite3_column_int(st, 1) > 0 ? "up" : "down");
    jsonw_field_int(w, "at", sqlite3_column_int64(st, 2) / 1000);
    jsonw_field_str(w, "answer", db_column(st, 3));
}

enum status feedback_summary(sqlite3 *db, void *data, struct error *err)
{
    struct feedback_summary *f = data;
    struct jsonw w;
    jsonw_init(&w, &f->json);
    jsonw_open(&w, '{');
    enum status s = write_counts(db, f, &w, err);
    if (s == STATUS_OK) {
        s = write_list(db, f, "unanswered", UNANSWERED, unanswered_fields, &w, err);
    }
    if (s == STATUS_OK) {
        s = write_list(db, f, "comments", COMMENTS, comment_fields, &w, err);
    }
    jsonw_close(&w, '}');
    if (s == STATUS_OK && buf_status(&f->json) != STATUS_OK) {
        s = error_set(err, buf_status(&f->json), "the summary of answers is too long");
    }
    return s;
}
