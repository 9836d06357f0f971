#include "serve/answers.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/db.h"
#include "base/file.h"
#include "serve/conversations.h"
#include "serve/files.h"
#include "serve/http/jsonw.h"
#include "serve/jobs.h"
#include "serve/turns.h"
#include "serve/uploads.h"
#include "serve/usage/books.h"
#include "serve/webhooks_store.h"

#define OPEN_MAX_TENANTS 8
#define QUEUED_MAX 4096

static const struct db_migration migrations[] = {
    {1, "CREATE TABLE answers(id TEXT PRIMARY KEY, created_wall_ms INTEGER NOT NULL,"
        " user TEXT NOT NULL, question TEXT NOT NULL, asked_model TEXT NOT NULL,"
        " engine TEXT NOT NULL, model TEXT NOT NULL, route TEXT NOT NULL, passages TEXT NOT NULL,"
        " cited TEXT NOT NULL, outcome TEXT NOT NULL, error TEXT NOT NULL, note TEXT NOT NULL,"
        " search_ms INTEGER NOT NULL, first_ms INTEGER NOT NULL, total_ms INTEGER NOT NULL,"
        " marks_removed INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,"
        " completion_tokens INTEGER NOT NULL) STRICT;"
        "CREATE INDEX answers_by_time ON answers(created_wall_ms);"},
    {2, "CREATE TABLE erased(document TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;"},
    {3, "CREATE TABLE feedback(answer TEXT NOT NULL REFERENCES answers(id) ON DELETE CASCADE,"
        " passage INTEGER NOT NULL, verdict INTEGER NOT NULL, comment TEXT NOT NULL,"
        " at_wall_ms INTEGER NOT NULL, PRIMARY KEY(answer, passage)) STRICT, WITHOUT ROWID;"},
    {4, "CREATE INDEX answers_by_user ON answers(user, id);"},
    {5, "ALTER TABLE answers ADD COLUMN search TEXT NOT NULL DEFAULT '';"},
    {6, "ALTER TABLE answers ADD COLUMN calls TEXT NOT NULL DEFAULT '';"},
    {7, TURNS_SCHEMA},
    {8, CONVERSATIONS_SCHEMA},
    {9, FILES_SCHEMA},
    {10, BOOKS_SCHEMA},
    {11, WEBHOOKS_SCHEMA},
    {12, JOBS_SCHEMA},
    {13, UPLOADS_SCHEMA},
    {14, WEBHOOKS_SCHEMA_2},
    {15, BOOKS_WORK_SCHEMA},
    {16, CONVERSATION_ITEMS_SCHEMA},
    {17, BOOKS_GUESS_SCHEMA},
    {18, BATCH_FILES_SCHEMA},
    {19, CONVERSATION_CALLS_SCHEMA},
};

struct tenant_db { /* touched by the lane's work only */
    char tenant[65];
    sqlite3 *db;
    uint64_t used;
};

struct answers {
    struct lane lane;
    char home[PATH_MAX];
    struct tenant_db open[OPEN_MAX_TENANTS];
    uint64_t tick;
    size_t pending;
    bool closing;
    void (*on_closed)(void *data);
    void *closed_data;
};

struct job {
    struct answers *a;
    const struct answer_record *record; /* a write; NULL: a read */
    struct answer_record copy;
    const char *tenant, *user, *id;
    struct forgetting *forget; /* NULL: something else */
    answers_forgotten_fn forgotten_done;
    answers_work_fn run; /* other work; NULL: none */
    bool all;
    struct buf out;
    struct error err;
    answers_done_fn done;
    void *data;
};

enum status answers_open(uv_loop_t *loop, const char *home, struct answers **out, struct error *err)
{
    struct answers *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    int n = snprintf(a->home, sizeof a->home, "%s", home);
    if (n < 0 || (size_t)n >= sizeof a->home) {
        free(a);
        return error_set(err, STATUS_TOO_LARGE, "%s: path too long", home);
    }
    lane_init(&a->lane, loop, 1, QUEUED_MAX);
    *out = a;
    return STATUS_OK;
}

/* ---- on the lane
 * --------------------------------------------------------------------------------------- */

static enum status tenant_open(struct answers *a, const char *tenant, sqlite3 **out,
                               struct error *err)
{
    struct tenant_db *slot = &a->open[0];
    for (size_t i = 0; i < OPEN_MAX_TENANTS; i++) {
        struct tenant_db *t = &a->open[i];
        if (t->db != NULL && strcmp(t->tenant, tenant) == 0) {
            t->used = ++a->tick;
            *out = t->db;
            return STATUS_OK;
        }
        if (t->used < slot->used) {
            slot = t;
        }
    }
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/tenants/%s", a->home, tenant);
    if (n < 0 || (size_t)n >= sizeof path - 16) {
        return error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    enum status s = file_mkdirs(path, 0700, err);
    sqlite3 *db = NULL;
    if (s == STATUS_OK) {
        (void)snprintf(path + n, sizeof path - (size_t)n, "/serve.db");
        s = db_open(path, DB_CREATE, migrations, sizeof migrations / sizeof migrations[0], &db,
                    err);
    }
    if (s != STATUS_OK) {
        return s;
    }
    db_close(slot->db);
    (void)snprintf(slot->tenant, sizeof slot->tenant, "%s", tenant);
    slot->db = db;
    slot->used = ++a->tick;
    *out = db;
    return STATUS_OK;
}

/* What it was made from may have been erased while it was being made: then there is no record. */
static enum status write_record(sqlite3 *db, const struct answer_record *r, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s =
        db_prepare(db,
                   "INSERT OR REPLACE INTO answers SELECT"
                   " ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21"
                   " WHERE NOT (json_valid(?9) AND EXISTS(SELECT 1 FROM json_each(?9) p"
                   " JOIN erased e ON e.document = json_extract(p.value, '$.document')))",
                   &st, err);
    if (s == STATUS_OK) {
        const char *const texts[] = {r->user,    r->question, r->asked_model, r->engine,
                                     r->model,   r->route,    r->passages,    r->cited,
                                     r->outcome, r->error,    r->note};
        const int64_t numbers[] = {r->search_ms,     r->first_ms,      r->total_ms,
                                   r->marks_removed, r->prompt_tokens, r->completion_tokens};
        (void)sqlite3_bind_text(st, 1, r->id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 2, r->created_wall_ms);
        for (int i = 0; i < 11; i++) {
            (void)sqlite3_bind_text(st, 3 + i, texts[i] == NULL ? "" : texts[i], -1, SQLITE_STATIC);
        }
        for (int i = 0; i < 6; i++) {
            (void)sqlite3_bind_int64(st, 14 + i, numbers[i]);
        }
        (void)sqlite3_bind_text(st, 20, r->search == NULL ? "" : r->search, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 21, r->calls == NULL ? "" : r->calls, -1, SQLITE_STATIC);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static void json_column(struct jsonw *w, const char *key, struct str json)
{
    jsonw_key(w, key);
    if (json.len == 0) {
        jsonw_null(w);
    } else {
        jsonw_raw(w, json);
    }
}

static void record_json(struct jsonw *w, sqlite3_stmt *st)
{
    static const char *const texts[] = {"question", "asked_model", "engine", "model"};
    static const char *const numbers[] = {"search_ms",     "first_ms",      "total_ms",
                                          "marks_removed", "prompt_tokens", "completion_tokens"};
    jsonw_open(w, '{');
    jsonw_field_str(w, "id", db_column(st, 0));
    jsonw_field_int(w, "created", sqlite3_column_int64(st, 1) / 1000);
    jsonw_field_str(w, "user", db_column(st, 2));
    for (int i = 0; i < 4; i++) {
        jsonw_field_str(w, texts[i], db_column(st, 3 + i));
    }
    json_column(w, "route", db_column(st, 7));
    json_column(w, "search", db_column(st, 19));
    json_column(w, "passages", db_column(st, 8));
    json_column(w, "cited", db_column(st, 9));
    if (db_column(st, 20).len > 0) {
        json_column(w, "calls", db_column(st, 20));
    }
    jsonw_field_str(w, "outcome", db_column(st, 10));
    for (int i = 11; i < 13; i++) {
        struct str t = db_column(st, i);
        if (t.len > 0) {
            jsonw_field_str(w, i == 11 ? "error" : "note", t);
        }
    }
    for (int i = 0; i < 6; i++) {
        jsonw_field_int(w, numbers[i], sqlite3_column_int64(st, 13 + i));
    }
    jsonw_close(w, '}');
}

static enum status read_record(sqlite3 *db, struct job *j, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    /* looked up by user and id: another's answer costs what one that never was does */
    enum status s = db_prepare(db,
                               j->all ? "SELECT * FROM answers WHERE id = ?1"
                                      : "SELECT * FROM answers INDEXED BY answers_by_user"
                                        " WHERE user = ?2 AND id = ?1",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, j->id, -1, SQLITE_STATIC);
        if (!j->all) {
            (void)sqlite3_bind_text(st, 2, j->user, -1, SQLITE_STATIC);
        }
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such answer");
    } else if (s == STATUS_OK) {
        struct jsonw w;
        jsonw_init(&w, &j->out);
        record_json(&w, st);
        s = buf_status(&j->out);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status forget(sqlite3 *db, struct job *j)
{
    char path[PATH_MAX];
    char *slash = NULL;
    enum status s = files_path(j->a->home, j->tenant, "", path, &j->err);
    slash = s == STATUS_OK ? strrchr(path, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
        j->forget->files = path;
        s = answers_forget_now(db, j->forget, &j->err);
        j->forget->files = NULL;
    }
    return s;
}

static void work(void *job)
{
    struct job *j = job;
    sqlite3 *db = NULL;
    enum status s = tenant_open(j->a, j->tenant, &db, &j->err);
    if (s == STATUS_OK && j->run != NULL) {
        s = j->run(db, j->data, &j->err);
    } else if (s == STATUS_OK && j->forget != NULL) {
        s = forget(db, j);
    } else if (s == STATUS_OK && j->record != NULL) {
        s = write_record(db, j->record, &j->err);
        s = s == STATUS_OK ? turns_expire(db, j->record->turns_expired_ms, &j->err) : s;
    } else if (s == STATUS_OK) {
        s = read_record(db, j, &j->err);
    }
    j->err.code = s;
}

/* ---- on the loop
 * --------------------------------------------------------------------------------------- */

static void maybe_closed(struct answers *a)
{
    if (!a->closing || a->pending > 0) {
        return;
    }
    for (size_t i = 0; i < OPEN_MAX_TENANTS; i++) {
        db_close(a->open[i].db);
    }
    void (*closed)(void *) = a->on_closed;
    void *data = a->closed_data;
    free(a);
    closed(data);
}

static void finished(void *job)
{
    struct job *j = job;
    struct answers *a = j->a;
    if (j->forget != NULL) {
        j->forgotten_done(&j->err, j->data);
    } else {
        bool read = j->record == NULL && j->run == NULL && j->err.code == STATUS_OK;
        j->done(&j->err, read ? &j->out : NULL, j->data);
    }
    buf_deinit(&j->out);
    free(j);
    a->pending--;
    maybe_closed(a);
}

static void refused(const struct error *err, answers_done_fn done, void *data, struct job *j)
{
    free(j); /* nothing was written into it */
    done(err, NULL, data);
}

static void submit(struct answers *a, struct job *j)
{
    struct error err;
    a->pending++;
    if (lane_submit(&a->lane, work, finished, j, &err) != STATUS_OK) {
        a->pending--;
        if (j->forget != NULL) {
            j->forgotten_done(&err, j->data);
            free(j);
        } else {
            refused(&err, j->done, j->data, j);
        }
    }
}

void answers_write(struct answers *a, const struct answer_record *r, answers_done_fn done,
                   void *data)
{
    struct error err = {.code = STATUS_NO_MEMORY, .text = "out of memory"};
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        refused(&err, done, data, j);
        return;
    }
    *j = (struct job){.a = a, .copy = *r, .tenant = r->tenant, .done = done, .data = data};
    j->record = &j->copy;
    submit(a, j);
}

void answers_read(struct answers *a, const char *tenant, const char *user, bool all, const char *id,
                  answers_done_fn done, void *data)
{
    struct error err = {.code = STATUS_NO_MEMORY, .text = "out of memory"};
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        refused(&err, done, data, j);
        return;
    }
    *j = (struct job){
        .a = a, .tenant = tenant, .user = user, .all = all, .id = id, .done = done, .data = data};
    buf_init(&j->out, (size_t)4 * 1024 * 1024);
    submit(a, j);
}

void answers_forget(struct answers *a, const char *tenant, struct forgetting *f,
                    answers_forgotten_fn done, void *data)
{
    struct error err = {.code = STATUS_NO_MEMORY, .text = "out of memory"};
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        done(&err, data);
        return;
    }
    *j = (struct job){.a = a, .tenant = tenant, .forget = f, .forgotten_done = done, .data = data};
    submit(a, j);
}

void answers_run(struct answers *a, const char *tenant, answers_work_fn run, answers_done_fn done,
                 void *data)
{
    struct error err = {.code = STATUS_NO_MEMORY, .text = "out of memory"};
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        refused(&err, done, data, j);
        return;
    }
    *j = (struct job){.a = a, .tenant = tenant, .run = run, .done = done, .data = data};
    submit(a, j);
}

void answers_close(struct answers *a, void (*on_closed)(void *data), void *data)
{
    a->closing = true;
    a->on_closed = on_closed;
    a->closed_data = data;
    maybe_closed(a);
}
