#include "ingest/sources/state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/db.h"

static const struct db_migration migrations[] = {
    {1,
     "CREATE TABLE polls(source TEXT PRIMARY KEY, number INTEGER NOT NULL,"
     " started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, ok_ms INTEGER NOT NULL,"
     " due_ms INTEGER NOT NULL, failures INTEGER NOT NULL, empty INTEGER NOT NULL,"
     " error TEXT NOT NULL) STRICT, WITHOUT ROWID;"
     "CREATE TABLE objects(source TEXT NOT NULL, id BLOB NOT NULL, key BLOB, place BLOB,"
     " folded BLOB, version TEXT NOT NULL DEFAULT '', wanted TEXT NOT NULL, size INTEGER NOT NULL,"
     " hash BLOB, gone INTEGER NOT NULL DEFAULT 0, poll INTEGER NOT NULL, error TEXT,"
     " PRIMARY KEY(source,id)) STRICT, WITHOUT ROWID;"
     "CREATE UNIQUE INDEX objects_folded ON objects(source,folded) WHERE folded IS NOT NULL;"},
};

#define COLUMNS "id,key,place,version,wanted,size,hash,gone"
#define STATEMENTS(X)                                                                              \
    X(get_poll, "SELECT number,started_ms,ended_ms,ok_ms,due_ms,failures,empty FROM polls"         \
                " WHERE source=?1")                                                                \
    X(set_poll, "INSERT OR REPLACE INTO polls(source,number,started_ms,ended_ms,ok_ms,due_ms,"     \
                "failures,empty,error) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)")                        \
    X(forget, "DELETE FROM objects WHERE source=?1")                                               \
    X(listed, "INSERT INTO objects(source,id,key,wanted,size,poll) VALUES(?1,?2,?3,?4,?5,?6)"      \
              " ON CONFLICT(source,id) DO UPDATE SET wanted=?4,size=iif(?5<0,size,?5),poll=?6,"    \
              "key=iif(gone AND version<>'' AND version=?4,NULL,?3)")                              \
    X(next_listed, "SELECT " COLUMNS " FROM objects WHERE source=?1 AND id>?2 AND poll=?3"         \
                   " ORDER BY id LIMIT 1")                                                         \
    X(next_missing, "SELECT " COLUMNS " FROM objects WHERE source=?1 AND id>?2 AND poll<>?3"       \
                    " ORDER BY id LIMIT 1")                                                        \
    X(taken, "SELECT 1 FROM objects WHERE source=?1 AND folded=?2 AND id<>?3")                      \
    X(fetched,                                                                                     \
      "UPDATE objects SET place=?3,folded=?4,version=?5,hash=?6,size=?7,gone=0,error=NULL"         \
      " WHERE source=?1 AND id=?2")                                                                \
    X(failed, "UPDATE objects SET error=?3 WHERE source=?1 AND id=?2")                             \
    X(gone, "UPDATE objects SET gone=1,key=NULL,place=NULL,folded=NULL,hash=NULL,error=NULL,"      \
            "version=iif(?3<>'',?3,version) WHERE source=?1 AND id=?2")                            \
    X(drop, "DELETE FROM objects WHERE source=?1 AND id=?2")                                       \
    X(count, "SELECT count(place),count(error),total(gone),total(iif(place IS NULL,0,"             \
             "max(size,0))),max(error) FROM objects WHERE source=?1")

/* Sources of a tenant are looked at side by side: one of them makes its file, or makes it anew. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

struct source_state {
    sqlite3 *db;
    char source[65];
#define STATEMENT_FIELD(name, sql) sqlite3_stmt *name;
    STATEMENTS(STATEMENT_FIELD)
#undef STATEMENT_FIELD
};

enum status source_state_open(const char *path, const char *source, struct source_state **out,
                              struct error *err)
{
    struct source_state *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)snprintf(s->source, sizeof s->source, "%.64s", source);
    (void)pthread_mutex_lock(&opening);
    enum status st = db_open(path, DB_CREATE | DB_DERIVED, migrations,
                             sizeof migrations / sizeof *migrations, &s->db, err);
    (void)pthread_mutex_unlock(&opening);
#define STATEMENT_PREPARE(name, sql)                                                               \
    if (st == STATUS_OK) {                                                                         \
        st = db_prepare(s->db, sql, &s->name, err);                                                \
    }
    STATEMENTS(STATEMENT_PREPARE)
#undef STATEMENT_PREPARE
    if (st != STATUS_OK) {
        source_state_close(s);
        return st;
    }
    *out = s;
    return STATUS_OK;
}

void source_state_close(struct source_state *s)
{
    if (s != NULL) {
        db_close(s->db);
        free(s);
    }
}

static void bind_source(const struct source_state *s, sqlite3_stmt *st)
{
    (void)sqlite3_bind_text(st, 1, s->source, -1, SQLITE_STATIC);
}

static void bind_blob(sqlite3_stmt *st, int i, const void *p, size_t len)
{
    (void)sqlite3_bind_blob64(st, i, len == 0 ? "" : p, len, SQLITE_STATIC);
}

static void bind_row(const struct source_state *s, sqlite3_stmt *st, const struct source_row *r)
{
    bind_source(s, st);
    bind_blob(st, 2, r->id, sizeof r->id);
}

enum status source_state_poll(struct source_state *s, struct source_poll *out, struct error *err)
{
    bool row = false;
    bind_source(s, s->get_poll);
    enum status st = db_row(s->get_poll, &row, err);
    *out = (struct source_poll){0};
    if (st == STATUS_OK && row) {
        out->number = (uint64_t)sqlite3_column_int64(s->get_poll, 0);
        out->started_ms = sqlite3_column_int64(s->get_poll, 1);
        out->ended_ms = sqlite3_column_int64(s->get_poll, 2);
        out->ok_ms = sqlite3_column_int64(s->get_poll, 3);
        out->due_ms = sqlite3_column_int64(s->get_poll, 4);
        out->failures = (uint32_t)sqlite3_column_int64(s->get_poll, 5);
        out->empty = sqlite3_column_int(s->get_poll, 6) != 0;
    }
    db_reset(s->get_poll);
    return st;
}

enum status source_state_set_poll(struct source_state *s, const struct source_poll *p,
                                  const char *error, struct error *err)
{
    bind_source(s, s->set_poll);
    (void)sqlite3_bind_int64(s->set_poll, 2, (sqlite3_int64)p->number);
    (void)sqlite3_bind_int64(s->set_poll, 3, p->started_ms);
    (void)sqlite3_bind_int64(s->set_poll, 4, p->ended_ms);
    (void)sqlite3_bind_int64(s->set_poll, 5, p->ok_ms);
    (void)sqlite3_bind_int64(s->set_poll, 6, p->due_ms);
    (void)sqlite3_bind_int64(s->set_poll, 7, p->failures);
    (void)sqlite3_bind_int(s->set_poll, 8, p->empty);
    (void)sqlite3_bind_text(s->set_poll, 9, error, -1, SQLITE_STATIC);
    return db_run(s->set_poll, err);
}

enum status source_state_forget(struct source_state *s, struct error *err)
{
    bind_source(s, s->forget);
    return db_run(s->forget, err);
}

enum status source_state_begin(struct source_state *s, struct error *err)
{
    return db_exec(s->db, "BEGIN IMMEDIATE", err);
}

enum status source_state_commit(struct source_state *s, struct error *err)
{
    return db_exec(s->db, "COMMIT", err);
}

void source_state_rollback(struct source_state *s)
{
    if (sqlite3_get_autocommit(s->db) == 0) {
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
}

enum status source_state_listed(struct source_state *s, uint64_t number, const struct listed *l,
                                struct error *err)
{
    uint8_t id[SHA256_BYTES];
    source_id(s->source, l->key, id);
    bind_source(s, s->listed);
    bind_blob(s->listed, 2, id, sizeof id);
    bind_blob(s->listed, 3, l->key.ptr, l->key.len);
    (void)sqlite3_bind_text(s->listed, 4, l->version, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(s->listed, 5, l->size);
    (void)sqlite3_bind_int64(s->listed, 6, (sqlite3_int64)number);
    return db_run(s->listed, err);
}

static void copy_text(sqlite3_stmt *st, int col, char *out, size_t cap)
{
    struct str v = db_column(st, col);
    size_t n = v.len < cap ? v.len : cap - 1;
    memcpy(out, v.ptr == NULL ? "" : v.ptr, n);
    out[n] = '\0';
}

enum status source_state_next(struct source_state *s, uint64_t number, bool missing,
                              const uint8_t after[SHA256_BYTES], struct arena *a,
                              struct source_row *out, bool *found, struct error *err)
{
    sqlite3_stmt *st = missing ? s->next_missing : s->next_listed;
    bind_source(s, st);
    bind_blob(st, 2, after, SHA256_BYTES);
    (void)sqlite3_bind_int64(st, 3, (sqlite3_int64)number);
    enum status result = db_row(st, found, err);
    if (result == STATUS_OK && *found) {
        struct str id = db_column(st, 0);
        struct str key = db_column(st, 1);
        struct str hash = db_column(st, 6);
        *out = (struct source_row){.size = sqlite3_column_int64(st, 5),
                                   .gone = sqlite3_column_int(st, 7) != 0};
        memcpy(out->id, id.ptr, id.len < sizeof out->id ? id.len : sizeof out->id);
        memcpy(out->hash, hash.len == 0 ? "" : hash.ptr,
               hash.len < sizeof out->hash ? hash.len : sizeof out->hash);
        copy_text(st, 2, out->place, sizeof out->place);
        copy_text(st, 3, out->version, sizeof out->version);
        copy_text(st, 4, out->wanted, sizeof out->wanted);
        out->key = (struct str){key.len == 0 ? "" : arena_strndup(a, key.ptr, key.len), key.len};
        result = out->key.ptr == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : result;
    }
    db_reset(st);
    return result;
}

enum status source_state_taken(struct source_state *s, const struct source_row *row, bool *taken,
                               struct error *err)
{
    char folded[PLACE_MAX];
    source_fold(row->place, folded);
    bind_source(s, s->taken);
    bind_blob(s->taken, 2, folded, strlen(folded));
    bind_blob(s->taken, 3, row->id, sizeof row->id);
    enum status st = db_row(s->taken, taken, err);
    db_reset(s->taken);
    return st;
}

enum status source_state_fetched(struct source_state *s, const struct source_row *row,
                                 struct error *err)
{
    char folded[PLACE_MAX];
    source_fold(row->place, folded);
    bind_row(s, s->fetched, row);
    bind_blob(s->fetched, 3, row->place, strlen(row->place));
    bind_blob(s->fetched, 4, folded, strlen(folded));
    (void)sqlite3_bind_text(s->fetched, 5, row->version, -1, SQLITE_STATIC);
    bind_blob(s->fetched, 6, row->hash, sizeof row->hash);
    (void)sqlite3_bind_int64(s->fetched, 7, row->size);
    return db_run(s->fetched, err);
}

enum status source_state_failed(struct source_state *s, const struct source_row *row,
                                const char *why, struct error *err)
{
    bind_row(s, s->failed, row);
    (void)sqlite3_bind_text(s->failed, 3, why, -1, SQLITE_STATIC);
    return db_run(s->failed, err);
}

enum status source_state_fine(struct source_state *s, const struct source_row *row,
                              struct error *err)
{
    bind_row(s, s->failed, row);
    (void)sqlite3_bind_null(s->failed, 3);
    return db_run(s->failed, err);
}

enum status source_state_gone(struct source_state *s, const struct source_row *row,
                              struct error *err)
{
    bind_row(s, s->gone, row);
    (void)sqlite3_bind_text(s->gone, 3, row->version, -1, SQLITE_STATIC);
    return db_run(s->gone, err);
}

enum status source_state_drop(struct source_state *s, const struct source_row *row,
                              struct error *err)
{
    bind_row(s, s->drop, row);
    return db_run(s->drop, err);
}

enum status source_state_count(struct source_state *s, struct source_counts *out, struct error *err)
{
    bool row = false;
    bind_source(s, s->count);
    *out = (struct source_counts){0};
    enum status st = db_row(s->count, &row, err);
    if (st == STATUS_OK && row) {
        out->files = (uint64_t)sqlite3_column_int64(s->count, 0);
        out->failed = (uint64_t)sqlite3_column_int64(s->count, 1);
        out->gone = (uint64_t)sqlite3_column_double(s->count, 2);
        out->bytes = (uint64_t)sqlite3_column_double(s->count, 3);
        copy_text(s->count, 4, out->error, sizeof out->error);
    }
    db_reset(s->count);
    return st;
}
