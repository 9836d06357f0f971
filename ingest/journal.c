#include "ingest/journal.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/db.h"

static const struct db_migration migrations[] = {
    {1, "CREATE TABLE files("
        " id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " document TEXT NOT NULL UNIQUE,"
        " path BLOB UNIQUE,"
        " collection TEXT NOT NULL,"
        " op INTEGER NOT NULL, state INTEGER NOT NULL,"
        " wanted INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0,"
        " ino INTEGER NOT NULL, size INTEGER NOT NULL,"
        " mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,"
        " weight INTEGER NOT NULL,"
        " hash BLOB, format TEXT, title TEXT, pages INTEGER NOT NULL DEFAULT 0,"
        " chunks INTEGER NOT NULL DEFAULT 0,"
        " attempts INTEGER NOT NULL DEFAULT 0, next_attempt_ms INTEGER NOT NULL DEFAULT 0,"
        " error TEXT, changed_ms INTEGER NOT NULL) STRICT;"
        "CREATE INDEX files_small ON files(weight,wanted) WHERE state=0;"
        "CREATE INDEX files_old ON files(wanted) WHERE state=0;"
        "CREATE INDEX files_retry ON files(next_attempt_ms) WHERE state=0;"
        "CREATE INDEX files_ino ON files(ino);"
        "CREATE INDEX files_state ON files(state,size);"
        "CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
        "INSERT INTO counter VALUES('sequence',0);"
        "CREATE TABLE note(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"},
    /* erasures.c. phase: enum erasure_phase */
    {2,
     "CREATE TABLE erasures(id TEXT PRIMARY KEY, created_ms INTEGER NOT NULL, by TEXT NOT NULL,"
     " phase INTEGER NOT NULL, sequence INTEGER NOT NULL, error TEXT NOT NULL DEFAULT '',"
     " attempts INTEGER NOT NULL DEFAULT 0, due_ms INTEGER NOT NULL DEFAULT 0,"
     " certificate TEXT, finished_ms INTEGER) STRICT;"
     "CREATE INDEX erasures_open ON erasures(created_ms) WHERE finished_ms IS NULL;"
     /* source: enum erased_source */
     "CREATE TABLE erasure_items(erasure TEXT NOT NULL, document TEXT NOT NULL,"
     " path BLOB NOT NULL, hash BLOB, size INTEGER NOT NULL, chunks INTEGER NOT NULL,"
     " versions INTEGER NOT NULL, content_stays INTEGER NOT NULL,"
     " source INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(erasure,document)) STRICT, WITHOUT ROWID;"
     "CREATE TABLE erasure_places(erasure TEXT NOT NULL, place TEXT NOT NULL, n INTEGER NOT NULL,"
     " PRIMARY KEY(erasure,place)) STRICT, WITHOUT ROWID;"
     "CREATE TABLE erasure_traces(erasure TEXT NOT NULL, roll INTEGER NOT NULL,"
     " keyed BLOB NOT NULL, PRIMARY KEY(erasure,roll,keyed)) STRICT, WITHOUT ROWID;"
     "CREATE TABLE erased_hashes(keyed BLOB PRIMARY KEY, erasure TEXT NOT NULL) STRICT,"
     " WITHOUT ROWID;"},
    {3,
     "CREATE TABLE holds(id TEXT PRIMARY KEY, kind INTEGER NOT NULL, target BLOB NOT NULL,"
     " path BLOB NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL,"
     " created_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"},
    {4, "ALTER TABLE files ADD COLUMN access TEXT;"}, /* what the rules said; NULL: never told */
};

/* The columns of struct file_row, in the order of read_row. */
#define ROW_COLUMNS                                                                                \
    "id,document,path,collection,op,state,wanted,done,ino,size,mtime_ns,ctime_ns,attempts,"        \
    "next_attempt_ms,chunks,pages,format,title,error,changed_ms,access"

#define STATEMENTS(X)                                                                              \
    X(next, "UPDATE counter SET value=value+1 WHERE name='sequence' RETURNING value")              \
    X(raise, "UPDATE counter SET value=max(value,?1) WHERE name='sequence'")                       \
    X(by_path, "SELECT " ROW_COLUMNS " FROM files WHERE path=?1")                                  \
    X(by_document, "SELECT " ROW_COLUMNS " FROM files WHERE document=?1")                          \
    X(by_ino, "SELECT " ROW_COLUMNS " FROM files WHERE ino=?1 AND size=?2 AND mtime_ns=?3"         \
              " AND path IS NOT NULL LIMIT 8")                                                     \
    X(below, "SELECT " ROW_COLUMNS " FROM files WHERE path>=?1 AND path<?2"                        \
             " AND op NOT IN (3,4,5) ORDER BY path LIMIT ?3")                                      \
    X(verify, "SELECT " ROW_COLUMNS " FROM files WHERE id>?1 AND path IS NOT NULL"                 \
              " ORDER BY id LIMIT ?2")                                                             \
    X(insert, "INSERT INTO files(document,path,collection,op,state,wanted,ino,size,mtime_ns,"      \
              "ctime_ns,weight,changed_ms) VALUES(?1,?2,?3,1,0,?4,?5,?6,?7,?8,?6,?9)")             \
    X(change, "UPDATE files SET path=?2,collection=?3,op=?4,state=?5,wanted=?6,ino=?7,size=?8,"    \
              "mtime_ns=?9,ctime_ns=?10,weight=?11,attempts=0,next_attempt_ms=0,error=NULL,"       \
              "changed_ms=?12 WHERE id=?1")                                                        \
    X(restamp, "UPDATE files SET ino=?2,size=?3,mtime_ns=?4,ctime_ns=?5 WHERE id=?1")              \
    X(drop, "DELETE FROM files WHERE id=?1")                                                       \
    X(small, "SELECT " ROW_COLUMNS " FROM files INDEXED BY files_small WHERE state=0"              \
             " AND next_attempt_ms<=?1 ORDER BY weight,wanted LIMIT ?2")                           \
    X(oldest, "SELECT " ROW_COLUMNS " FROM files INDEXED BY files_old WHERE state=0"               \
              " AND next_attempt_ms<=?1 ORDER BY wanted LIMIT ?2")                                 \
    X(later, "SELECT min(next_attempt_ms) FROM files WHERE state=0 AND next_attempt_ms>?1")        \
    X(done, "UPDATE files SET done=max(done,?2),hash=?3,format=?4,title=?5,pages=?6,chunks=?7,"    \
            "state=iif(wanted=?2,1,state),op=iif(wanted=?2,0,op),"                                 \
            "error=iif(wanted=?2,NULL,error),attempts=iif(wanted=?2,0,attempts),changed_ms=?8"     \
            " WHERE id=?1")                                                                        \
    X(moved, "UPDATE files SET done=max(done,?2),state=iif(wanted=?2,1,state),"                    \
             "op=iif(wanted=?2,0,op),error=iif(wanted=?2,NULL,error),changed_ms=?3 WHERE id=?1")   \
    X(removed, "DELETE FROM files WHERE id=?1 AND wanted=?2")                                      \
    X(excluded, "UPDATE files SET done=?2,state=3,op=0,hash=NULL,chunks=0,error=NULL,"             \
                "changed_ms=?3 WHERE id=?1 AND wanted=?2")                                         \
    X(unstored, "UPDATE files SET done=max(done,?2),hash=NULL,chunks=0,"                           \
                "op=iif(op=2,1,op) WHERE id=?1")                                                   \
    X(failed, "UPDATE files SET done=?2,state=2,op=0,hash=NULL,chunks=0,error=?3,changed_ms=?4"    \
              " WHERE id=?1 AND wanted=?2")                                                        \
    X(retry, "UPDATE files SET error=?3,next_attempt_ms=?4,attempts=attempts+?5,changed_ms=?6"     \
             " WHERE id=?1 AND wanted=?2")                                                         \
    X(requeue, "UPDATE files SET op=1,state=0,wanted=?2,weight=size,attempts=0,"                   \
               "next_attempt_ms=0,error=NULL,changed_ms=?3 WHERE id=?1 AND op NOT IN (3,4,5)")     \
    X(list, "SELECT " ROW_COLUMNS " FROM files WHERE document>?1 AND op NOT IN (3,4,5)"            \
            " AND state<>3 ORDER BY document LIMIT ?2")                                            \
    X(count, "SELECT state,count(*),total(size) FROM files GROUP BY state")                        \
    X(applied, "UPDATE files SET access=?2 WHERE id=?1")                                           \
    X(has_access, "SELECT EXISTS(SELECT 1 FROM files WHERE access<>'')")                           \
    X(judged, "SELECT " ROW_COLUMNS " FROM files WHERE id>?1 AND path IS NOT NULL"                 \
              " AND op NOT IN (3,4,5) AND state<>3 ORDER BY id LIMIT ?2")                          \
    X(relocate, "UPDATE files SET op=iif(state=1,2,op),weight=iif(state=1,0,weight),state=0,"      \
                "wanted=?2,attempts=0,next_attempt_ms=0,error=NULL,changed_ms=?3 WHERE id=?1")     \
    X(seen, "INSERT OR IGNORE INTO temp.stored(document) VALUES(?1)")

struct journal {
    sqlite3 *db;
#define STATEMENT_FIELD(name, sql) sqlite3_stmt *name;
    STATEMENTS(STATEMENT_FIELD)
#undef STATEMENT_FIELD
};

sqlite3 *journal_db(struct journal *j)
{
    return j->db;
}

void journal_close(struct journal *j)
{
    if (j != NULL) {
        db_close(j->db);
        free(j);
    }
}

/* Another extractor or chunker gives other chunks: everything that was stored is made anew. */
static enum status check_pipeline(struct journal *j, const char *pipeline, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(j->db, "SELECT value=?1 FROM note WHERE name='pipeline'", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, pipeline, -1, SQLITE_STATIC);
        s = db_row(st, &row, err);
    }
    bool same = s == STATUS_OK && row && sqlite3_column_int(st, 0) == 1;
    (void)sqlite3_finalize(st);
    if (s != STATUS_OK || same) {
        return s;
    }
    s = db_exec(j->db,
                "BEGIN IMMEDIATE;"
                "UPDATE files SET op=1,state=0,weight=size,attempts=0,next_attempt_ms=0,error=NULL,"
                " wanted=(SELECT value FROM counter WHERE name='sequence')+id"
                " WHERE state IN (1,2) AND op=0;"
                "UPDATE counter SET value=value+(SELECT coalesce(max(id),0) FROM files)"
                " WHERE name='sequence';",
                err);
    if (s == STATUS_OK) {
        s = db_prepare(j->db, "INSERT OR REPLACE INTO note VALUES('pipeline',?1)", &st, err);
    }
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, pipeline, -1, SQLITE_STATIC);
        s = db_run(st, err);
        (void)sqlite3_finalize(st);
    }
    if (s == STATUS_OK) {
        s = db_exec(j->db, "COMMIT", err);
    }
    if (s != STATUS_OK) {
        (void)sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return s;
}

enum status journal_open(const char *path, const char *pipeline, struct journal **out,
                         struct error *err)
{
    struct journal *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s =
        db_open(path, DB_CREATE, migrations, sizeof migrations / sizeof migrations[0], &j->db, err);
    if (s == STATUS_OK) {
        s = db_exec(j->db, "CREATE TEMP TABLE stored(document TEXT PRIMARY KEY) WITHOUT ROWID",
                    err);
    }
#define STATEMENT_PREPARE(name, sql)                                                               \
    if (s == STATUS_OK) {                                                                          \
        s = db_prepare(j->db, sql, &j->name, err);                                                 \
    }
    STATEMENTS(STATEMENT_PREPARE)
#undef STATEMENT_PREPARE
    if (s == STATUS_OK) {
        s = check_pipeline(j, pipeline, err);
    }
    if (s != STATUS_OK) {
        (void)error_prefix(err, "%s", path);
        journal_close(j);
        return s;
    }
    *out = j;
    return STATUS_OK;
}

enum status journal_open_reader(const char *path, struct journal **out, struct error *err)
{
    struct journal *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = db_open(path, DB_READONLY, NULL, 0, &j->db, err);
    if (s != STATUS_OK) {
        journal_close(j);
        return s;
    }
    *out = j;
    return STATUS_OK;
}

/* ---- rows ---- */

static void bind_blob(sqlite3_stmt *st, int i, struct str s)
{
    (void)sqlite3_bind_blob64(st, i, s.len == 0 ? "" : s.ptr, s.len, SQLITE_STATIC);
}

static void bind_stamp(sqlite3_stmt *st, int i, const struct file_stamp *f)
{
    (void)sqlite3_bind_int64(st, i, (sqlite3_int64)f->ino);
    (void)sqlite3_bind_int64(st, i + 1, (sqlite3_int64)f->size);
    (void)sqlite3_bind_int64(st, i + 2, f->mtime_ns);
    (void)sqlite3_bind_int64(st, i + 3, f->ctime_ns);
}

static const char *copy_text(sqlite3_stmt *st, int col, struct arena *a)
{
    struct str v = db_column(st, col);
    return v.len == 0 ? "" : arena_strndup(a, v.ptr, v.len);
}

/* a holds the texts; false when it is full. */
static bool read_row(sqlite3_stmt *st, struct arena *a, struct file_row *r)
{
    struct str document = db_column(st, 1);
    struct str path = db_column(st, 2);
    *r = (struct file_row){
        .id = sqlite3_column_int64(st, 0),
        .path = {.ptr = arena_strndup(a, path.ptr, path.len), .len = path.len},
        .collection = copy_text(st, 3, a),
        .op = (enum file_op)sqlite3_column_int(st, 4),
        .state = (enum file_state)sqlite3_column_int(st, 5),
        .wanted = (uint64_t)sqlite3_column_int64(st, 6),
        .done = (uint64_t)sqlite3_column_int64(st, 7),
        .stamp = {.ino = (uint64_t)sqlite3_column_int64(st, 8),
                  .size = (uint64_t)sqlite3_column_int64(st, 9),
                  .mtime_ns = sqlite3_column_int64(st, 10),
                  .ctime_ns = sqlite3_column_int64(st, 11)},
        .attempts = (uint32_t)sqlite3_column_int(st, 12),
        .next_attempt_ms = sqlite3_column_int64(st, 13),
        .chunks = (uint32_t)sqlite3_column_int64(st, 14),
        .pages = (uint32_t)sqlite3_column_int64(st, 15),
        .format = copy_text(st, 16, a),
        .title = copy_text(st, 17, a),
        .error = copy_text(st, 18, a),
        .changed_ms = sqlite3_column_int64(st, 19),
        .access = sqlite3_column_type(st, 20) == SQLITE_NULL ? NULL : copy_text(st, 20, a),
    };
    size_t n = document.len < ID_CAP ? document.len : ID_CAP - 1;
    memcpy(r->document, document.ptr, n);
    r->document[n] = '\0';
    return r->path.ptr != NULL && r->collection != NULL && r->format != NULL && r->title != NULL &&
           r->error != NULL &&
           (r->access != NULL || sqlite3_column_type(st, 20) == SQLITE_NULL);
}

/* Rows of a bound statement into one array in a. */
static enum status read_rows(sqlite3_stmt *st, size_t limit, struct arena *a, struct file_row *rows,
                             size_t *n, struct error *err)
{
    bool row = false;
    enum status s = STATUS_OK;
    while (*n < limit) {
        s = db_row(st, &row, err);
        if (s != STATUS_OK || !row) {
            return s;
        }
        if (!read_row(st, a, &rows[*n])) {
            s = error_set(err, STATUS_NO_MEMORY, "out of memory");
            break;
        }
        (*n)++;
    }
    db_reset(st);
    return s;
}

static enum status one_row(sqlite3_stmt *st, struct arena *a, struct file_row *out, bool *found,
                           struct error *err)
{
    size_t n = 0;
    enum status s = read_rows(st, 1, a, out, &n, err);
    *found = n == 1;
    return s;
}

static enum status next_sequence(struct journal *j, uint64_t *out, struct error *err)
{
    bool row = false;
    enum status s = db_row(j->next, &row, err);
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_CORRUPT, "the journal has lost its counter");
    }
    if (s == STATUS_OK) {
        *out = (uint64_t)sqlite3_column_int64(j->next, 0);
        s = db_run(j->next, err); /* to its end, so that the update counts */
    }
    return s;
}

/* Writes a row's new wish under a new sequence number. r holds path, op, state and stamp. */
static enum status change_row(struct journal *j, struct file_row *r, struct error *err)
{
    enum status s = next_sequence(j, &r->wanted, err);
    if (s != STATUS_OK) {
        return s;
    }
    char collection[INGEST_COLLECTION_CAP];
    path_collection(r->path, collection);
    sqlite3_stmt *st = j->change;
    (void)sqlite3_bind_int64(st, 1, r->id);
    if (r->path.len > 0) {
        bind_blob(st, 2, r->path);
    }
    (void)sqlite3_bind_text(st, 3, collection, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int(st, 4, (int)r->op);
    (void)sqlite3_bind_int(st, 5, (int)r->state);
    (void)sqlite3_bind_int64(st, 6, (sqlite3_int64)r->wanted);
    bind_stamp(st, 7, &r->stamp);
    (void)sqlite3_bind_int64(st, 11, r->op == FILE_OP_PUT ? (sqlite3_int64)r->stamp.size : 0);
    (void)sqlite3_bind_int64(st, 12, clock_wall_ms());
    return db_run(st, err);
}

static enum status drop_row(struct journal *j, int64_t id, struct error *err)
{
    (void)sqlite3_bind_int64(j->drop, 1, id);
    return db_run(j->drop, err);
}

static enum status row_at(struct journal *j, struct str path, struct arena *a, struct file_row *out,
                          bool *found, struct error *err)
{
    bind_blob(j->by_path, 1, path);
    return one_row(j->by_path, a, out, found, err);
}

static bool going(const struct file_row *r)
{
    return r->op == FILE_OP_REMOVE || r->op == FILE_OP_TRASH || r->op == FILE_OP_EXCLUDE;
}

/* The file of this row is no longer there. */
static enum status row_gone(struct journal *j, struct file_row *r, bool *changed, struct error *err)
{
    if (r->state == FILE_EXCLUDED) {
        return drop_row(j, r->id, err);
    }
    if (going(r)) {
        return STATUS_OK;
    }
    r->op = FILE_OP_REMOVE;
    r->state = FILE_QUEUED;
    *changed = true;
    return change_row(j, r, err);
}

/* Whatever document stands at path makes way for another that was renamed over it. */
static enum status displace(struct journal *j, struct str path, int64_t not_this, struct arena *a,
                            struct error *err)
{
    struct file_row old;
    bool found = false;
    enum status s = row_at(j, path, a, &old, &found, err);
    if (s != STATUS_OK || !found || old.id == not_this) {
        return s;
    }
    if (old.state == FILE_EXCLUDED) {
        return drop_row(j, old.id, err);
    }
    old.path = (struct str){.ptr = "", .len = 0};
    old.op = FILE_OP_REMOVE;
    old.state = FILE_QUEUED;
    return change_row(j, &old, err);
}

/* Row r now stands at path. exact: the kernel said so, hence the content is the same. */
static enum status move_row(struct journal *j, struct file_row *r, struct str path,
                            const struct file_stamp *stamp, bool exact, struct arena *a,
                            struct error *err)
{
    enum status s = displace(j, path, r->id, a, err);
    if (s != STATUS_OK) {
        return s;
    }
    bool same_content = exact && r->stamp.size == stamp->size &&
                        r->stamp.mtime_ns == stamp->mtime_ns && path_same_ending(r->path, path);
    if (r->state != FILE_EXCLUDED) {
        bool settled = r->state == FILE_READY || (r->state == FILE_QUEUED && r->op == FILE_OP_MOVE);
        r->op = settled && same_content ? FILE_OP_MOVE : FILE_OP_PUT;
        r->state = FILE_QUEUED;
    }
    r->path = path;
    r->stamp = *stamp;
    return change_row(j, r, err);
}

/* A file that was renamed while nobody watched has kept its inode, size and time, and its old place
 * is empty. It is hashed again (a known content is not extracted again). */
static enum status find_renamed(struct journal *j, int root, const struct file_stamp *stamp,
                                struct arena *a, struct file_row *out, bool *found,
                                struct error *err)
{
    struct file_row rows[8];
    size_t n = 0;
    (void)sqlite3_bind_int64(j->by_ino, 1, (sqlite3_int64)stamp->ino);
    (void)sqlite3_bind_int64(j->by_ino, 2, (sqlite3_int64)stamp->size);
    (void)sqlite3_bind_int64(j->by_ino, 3, stamp->mtime_ns);
    enum status s = read_rows(j->by_ino, 8, a, rows, &n, err);
    *found = false;
    for (size_t i = 0; i < n && s == STATUS_OK && !*found; i++) {
        if (rows[i].op == FILE_OP_TRASH || rows[i].op == FILE_OP_EXCLUDE) {
            continue;
        }
        enum tree_kind kind = TREE_MISSING;
        struct file_stamp at = {0};
        if (tree_stat(root, rows[i].path, &kind, &at, NULL) == STATUS_OK &&
            (kind != TREE_FILE || at.ino != stamp->ino)) {
            *out = rows[i];
            *found = true;
        }
    }
    return s;
}

static enum status insert_row(struct journal *j, struct str path, const struct file_stamp *stamp,
                              struct error *err)
{
    uint64_t sequence = 0;
    enum status s = next_sequence(j, &sequence, err);
    if (s != STATUS_OK) {
        return s;
    }
    char document[ID_CAP];
    char collection[INGEST_COLLECTION_CAP];
    id_new(document);
    path_collection(path, collection);
    sqlite3_stmt *st = j->insert;
    (void)sqlite3_bind_text(st, 1, document, -1, SQLITE_STATIC);
    bind_blob(st, 2, path);
    (void)sqlite3_bind_text(st, 3, collection, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 4, (sqlite3_int64)sequence);
    bind_stamp(st, 5, stamp);
    (void)sqlite3_bind_int64(st, 9, clock_wall_ms());
    return db_run(st, err);
}

enum status journal_seen(struct journal *j, int root, struct str path,
                         const struct file_stamp *stamp, enum checked *out, struct error *err)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct file_row r;
    bool found = false;
    *out = CHECKED_SAME;
    enum status s = row_at(j, path, &a, &r, &found, err);
    if (s != STATUS_OK) {
        goto out;
    }
    if (found) {
        bool same = file_stamp_equal(&r.stamp, stamp);
        bool condemned = r.op == FILE_OP_TRASH || r.op == FILE_OP_EXCLUDE;
        if (r.state == FILE_EXCLUDED || (same && r.op != FILE_OP_REMOVE) ||
            (condemned && r.stamp.ino == stamp->ino && r.stamp.mtime_ns == stamp->mtime_ns)) {
            goto out;
        }
        r.op = FILE_OP_PUT;
        r.state = FILE_QUEUED;
        r.stamp = *stamp;
        *out = CHECKED_QUEUED;
        s = change_row(j, &r, err);
        goto out;
    }
    *out = CHECKED_QUEUED;
    s = find_renamed(j, root, stamp, &a, &r, &found, err);
    if (s == STATUS_OK) {
        s = found ? move_row(j, &r, path, stamp, false, &a, err) : insert_row(j, path, stamp, err);
    }
out:
    arena_reset(&a);
    return s;
}

enum status journal_renamed(struct journal *j, int root, struct str path,
                            const struct file_stamp *stamp, enum checked *out, struct error *err)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct file_row r;
    bool found = false;
    *out = CHECKED_SAME;
    enum status s = row_at(j, path, &a, &r, &found, err);
    if (s == STATUS_OK && !found) {
        s = find_renamed(j, root, stamp, &a, &r, &found, err);
        if (s == STATUS_OK && found) {
            *out = CHECKED_QUEUED;
            s = move_row(j, &r, path, stamp, false, &a, err);
        }
    }
    arena_reset(&a);
    return s;
}

/* [prefix/, prefix0): every path below the folder. */
static bool below_range(struct str prefix, char *low, char *high)
{
    if (prefix.len > INGEST_PATH_MAX) {
        return false;
    }
    memcpy(low, prefix.ptr, prefix.len);
    memcpy(high, prefix.ptr, prefix.len);
    low[prefix.len] = '/';
    high[prefix.len] = '/' + 1;
    return true;
}

static enum status rows_below(struct journal *j, struct str prefix, size_t limit, struct arena *a,
                              struct file_row **rows, size_t *n, struct error *err)
{
    char low[INGEST_PATH_MAX + 1];
    char high[INGEST_PATH_MAX + 1];
    *n = 0;
    *rows = arena_array(a, limit == 0 ? 1 : limit, sizeof **rows);
    if (*rows == NULL || !below_range(prefix, low, high)) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    bind_blob(j->below, 1, (struct str){.ptr = low, .len = prefix.len + 1});
    bind_blob(j->below, 2, (struct str){.ptr = high, .len = prefix.len + 1});
    (void)sqlite3_bind_int64(j->below, 3, (sqlite3_int64)limit);
    return read_rows(j->below, limit, a, *rows, n, err);
}

enum status journal_check(struct journal *j, int root, struct str path, size_t limit,
                          enum checked *out, bool *more, struct error *err)
{
    *more = false;
    *out = CHECKED_IGNORED;
    enum tree_kind kind = TREE_MISSING;
    struct file_stamp stamp = {0};
    if (path.len == 0 || path.len > INGEST_PATH_MAX) {
        return STATUS_OK;
    }
    enum status s = tree_stat(root, path, &kind, &stamp, err);
    if (s != STATUS_OK || (kind == TREE_FILE && path_ignored(path))) {
        return s;
    }
    if (kind == TREE_FILE) {
        return journal_seen(j, root, path, &stamp, out, err);
    }
    if (kind == TREE_FOLDER) {
        *out = CHECKED_FOLDER;
    }
    struct arena a;
    arena_init(&a, 64 << 20);
    struct file_row r;
    bool found = false;
    bool changed = false;
    s = row_at(j, path, &a, &r, &found, err);
    if (s == STATUS_OK && found) {
        s = row_gone(j, &r, &changed, err);
    }
    if (s == STATUS_OK && kind != TREE_FOLDER) {
        struct file_row *rows;
        size_t n = 0;
        s = rows_below(j, path, limit, &a, &rows, &n, err);
        for (size_t i = 0; i < n && s == STATUS_OK; i++) {
            s = row_gone(j, &rows[i], &changed, err);
        }
        *more = n == limit;
    }
    if (changed && *out == CHECKED_IGNORED) {
        *out = CHECKED_QUEUED;
    }
    arena_reset(&a);
    return s;
}

static enum status move_below(struct journal *j, int root, struct str from, struct str to,
                              size_t limit, bool *more, struct error *err)
{
    struct arena a;
    arena_init(&a, 64 << 20);
    struct file_row *rows;
    size_t n = 0;
    enum status s = rows_below(j, from, limit, &a, &rows, &n, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        struct file_row *r = &rows[i];
        size_t tail = r->path.len - from.len;
        char *path = arena_alloc(&a, to.len + tail + 1);
        if (path == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, "out of memory");
            break;
        }
        memcpy(path, to.ptr, to.len);
        memcpy(path + to.len, r->path.ptr + from.len, tail);
        struct str moved = {.ptr = path, .len = to.len + tail};
        enum tree_kind kind = TREE_MISSING;
        struct file_stamp stamp = {0};
        bool changed;
        s = tree_stat(root, moved, &kind, &stamp, err);
        if (s != STATUS_OK) {
            break;
        }
        if (kind == TREE_FILE && stamp.ino == r->stamp.ino && moved.len <= INGEST_PATH_MAX) {
            s = move_row(j, r, moved, &stamp, true, &a, err);
        } else {
            s = row_gone(j, r, &changed, err);
        }
    }
    *more = n == limit;
    arena_reset(&a);
    return s;
}

enum status journal_moved(struct journal *j, int root, struct str from, struct str to, size_t limit,
                          enum checked *out, bool *more, struct error *err)
{
    *more = false;
    *out = CHECKED_QUEUED;
    enum tree_kind kind = TREE_MISSING;
    struct file_stamp stamp = {0};
    enum status s = tree_stat(root, to, &kind, &stamp, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (kind == TREE_FOLDER) {
        *out = CHECKED_FOLDER;
        return move_below(j, root, from, to, limit, more, err);
    }
    struct arena a;
    arena_init(&a, 1 << 20);
    struct file_row r;
    bool found = false;
    if (kind == TREE_FILE && !path_ignored(to) && to.len <= INGEST_PATH_MAX) {
        s = row_at(j, from, &a, &r, &found, err);
    }
    if (s == STATUS_OK && found && r.stamp.ino == stamp.ino && r.op != FILE_OP_TRASH &&
        r.op != FILE_OP_EXCLUDE) {
        s = move_row(j, &r, to, &stamp, true, &a, err);
    } else if (s == STATUS_OK) {
        enum checked first;
        bool more_below = false;
        s = journal_check(j, root, from, limit, &first, &more_below, err);
        if (s == STATUS_OK) {
            s = journal_check(j, root, to, limit, out, more, err);
            *more = *more || more_below;
            *out = first == CHECKED_QUEUED && *out != CHECKED_FOLDER ? first : *out;
        }
    }
    arena_reset(&a);
    return s;
}

static bool at_or_below(struct str path, struct str prefix)
{
    return prefix.len == 0 ||
           (str_starts(path, prefix) && (path.len == prefix.len || path.ptr[prefix.len] == '/'));
}

enum status journal_verify(struct journal *j, int root, struct str prefix, int64_t *cursor,
                           size_t limit, bool *changed, bool *end, struct error *err)
{
    struct arena a;
    arena_init(&a, 64 << 20);
    struct file_row *rows = arena_array(&a, limit, sizeof *rows);
    size_t n = 0;
    enum status s = STATUS_OK;
    if (rows == NULL) {
        s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        goto out;
    }
    (void)sqlite3_bind_int64(j->verify, 1, *cursor);
    (void)sqlite3_bind_int64(j->verify, 2, (sqlite3_int64)limit);
    s = read_rows(j->verify, limit, &a, rows, &n, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        enum tree_kind kind = TREE_MISSING;
        struct file_stamp stamp = {0};
        *cursor = rows[i].id;
        /* one that cannot be looked at is kept: it is not known to be gone */
        if (at_or_below(rows[i].path, prefix) &&
            tree_stat(root, rows[i].path, &kind, &stamp, NULL) == STATUS_OK && kind != TREE_FILE) {
            s = row_gone(j, &rows[i], changed, err);
        }
    }
    *end = n < limit;
out:
    arena_reset(&a);
    return s;
}

/* ---- work ---- */

enum status journal_take(struct journal *j, int64_t now_ms, size_t limit, struct arena *a,
                         struct file_row **rows, size_t *n, int64_t *next_ms, struct error *err)
{
    *n = 0;
    *next_ms = 0;
    *rows = arena_array(a, limit, sizeof **rows);
    if (*rows == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)sqlite3_bind_int64(j->small, 1, now_ms);
    (void)sqlite3_bind_int64(j->small, 2, (sqlite3_int64)(limit - limit / 4));
    enum status s = read_rows(j->small, limit - limit / 4, a, *rows, n, err);
    size_t first = *n;
    if (s == STATUS_OK && first == limit - limit / 4) {
        (void)sqlite3_bind_int64(j->oldest, 1, now_ms);
        (void)sqlite3_bind_int64(j->oldest, 2, (sqlite3_int64)(limit / 4));
        s = read_rows(j->oldest, limit, a, *rows, n, err);
    }
    size_t kept = first;
    for (size_t i = first; i < *n && s == STATUS_OK; i++) { /* those of both kinds count once */
        bool twice = false;
        for (size_t k = 0; k < first; k++) {
            twice = twice || (*rows)[k].id == (*rows)[i].id;
        }
        if (!twice) {
            (*rows)[kept++] = (*rows)[i];
        }
    }
    *n = kept;
    if (s == STATUS_OK) {
        bool row = false;
        (void)sqlite3_bind_int64(j->later, 1, now_ms);
        s = db_row(j->later, &row, err);
        if (s == STATUS_OK && row) {
            *next_ms = sqlite3_column_int64(j->later, 0);
        }
        db_reset(j->later);
    }
    return s;
}

static void bind_job(sqlite3_stmt *st, int64_t id, uint64_t sequence)
{
    (void)sqlite3_bind_int64(st, 1, id);
    (void)sqlite3_bind_int64(st, 2, (sqlite3_int64)sequence);
}

enum status journal_done(struct journal *j, int64_t id, uint64_t sequence,
                         const struct job_result *r, struct error *err)
{
    sqlite3_stmt *st = j->done;
    bind_job(st, id, sequence);
    (void)sqlite3_bind_blob(st, 3, r->hash, SHA256_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 4, r->format, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 5, r->title, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 6, r->pages);
    (void)sqlite3_bind_int64(st, 7, r->chunks);
    (void)sqlite3_bind_int64(st, 8, clock_wall_ms());
    return db_run(st, err);
}

enum status journal_moved_done(struct journal *j, int64_t id, uint64_t sequence, struct error *err)
{
    bind_job(j->moved, id, sequence);
    (void)sqlite3_bind_int64(j->moved, 3, clock_wall_ms());
    return db_run(j->moved, err);
}

enum status journal_removed(struct journal *j, int64_t id, uint64_t sequence, bool excluded,
                            struct error *err)
{
    sqlite3_stmt *st = excluded ? j->excluded : j->removed;
    bind_job(st, id, sequence);
    if (excluded) {
        (void)sqlite3_bind_int64(st, 3, clock_wall_ms());
    }
    enum status s = db_run(st, err);
    if (s ==
        STATUS_OK) { /* a row that has changed meanwhile stays, and is no longer in the store */
        bind_job(j->unstored, id, sequence);
        s = db_run(j->unstored, err);
    }
    return s;
}

enum status journal_failed(struct journal *j, int64_t id, uint64_t sequence, const char *why,
                           struct error *err)
{
    bind_job(j->failed, id, sequence);
    (void)sqlite3_bind_text(j->failed, 3, why, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(j->failed, 4, clock_wall_ms());
    enum status s = db_run(j->failed, err);
    if (s == STATUS_OK) { /* its older version has left the store, so a move would find nothing */
        bind_job(j->unstored, id, sequence);
        s = db_run(j->unstored, err);
    }
    return s;
}

enum status journal_retry(struct journal *j, int64_t id, uint64_t sequence, const char *why,
                          int64_t at_ms, bool counted, struct error *err)
{
    bind_job(j->retry, id, sequence);
    (void)sqlite3_bind_text(j->retry, 3, why, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(j->retry, 4, at_ms);
    (void)sqlite3_bind_int(j->retry, 5, counted ? 1 : 0);
    (void)sqlite3_bind_int64(j->retry, 6, clock_wall_ms());
    return db_run(j->retry, err);
}

enum status journal_requeue(struct journal *j, int64_t id, struct error *err)
{
    uint64_t sequence = 0;
    enum status s = next_sequence(j, &sequence, err);
    if (s == STATUS_OK) {
        bind_job(j->requeue, id, sequence);
        (void)sqlite3_bind_int64(j->requeue, 3, clock_wall_ms());
        s = db_run(j->requeue, err);
    }
    return s;
}

/* ---- what people ask ---- */

enum status journal_get(struct journal *j, const char *document, struct arena *a,
                        struct file_row *out, struct error *err)
{
    bool found = false;
    (void)sqlite3_bind_text(j->by_document, 1, document, -1, SQLITE_STATIC);
    enum status s = one_row(j->by_document, a, out, &found, err);
    if (s == STATUS_OK && (!found || going(out) || out->state == FILE_EXCLUDED)) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no document with this id");
    }
    return s;
}

enum status journal_get_path(struct journal *j, struct str path, struct arena *a,
                             struct file_row *out, struct error *err)
{
    bool found = false;
    enum status s = row_at(j, path, a, out, &found, err);
    if (s == STATUS_OK && !found) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no document with this path");
    }
    return s;
}

enum status journal_delete(struct journal *j, const char *document, bool exclude, struct arena *a,
                           struct file_row *out, struct error *err)
{
    enum status s = journal_get(j, document, a, out, err);
    if (s == STATUS_OK) {
        out->op = exclude ? FILE_OP_EXCLUDE : FILE_OP_TRASH;
        out->state = FILE_QUEUED;
        s = change_row(j, out, err);
    }
    return s;
}

enum status journal_list(struct journal *j, const char *after, size_t limit, struct arena *a,
                         struct file_row **rows, size_t *n, struct error *err)
{
    *n = 0;
    *rows = arena_array(a, limit, sizeof **rows);
    if (*rows == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)sqlite3_bind_text(j->list, 1, after, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(j->list, 2, (sqlite3_int64)limit);
    return read_rows(j->list, limit, a, *rows, n, err);
}

enum status journal_below(struct journal *j, struct str path, size_t limit, struct arena *a,
                          struct file_row **rows, size_t *n, struct error *err)
{
    struct file_row at;
    bool found = false;
    size_t below = 0;
    struct file_row *all = NULL;
    *n = 0;
    *rows = NULL;
    enum status s = row_at(j, path, a, &at, &found, err);
    if (s == STATUS_OK) {
        s = rows_below(j, path, limit, a, &all, &below, err);
    }
    if (s == STATUS_OK) {
        *rows = arena_array(a, below + 1, sizeof **rows);
        s = *rows == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    if (s == STATUS_OK && found && !going(&at) && at.state != FILE_EXCLUDED) {
        (*rows)[(*n)++] = at;
    }
    for (size_t i = 0; i < below && s == STATUS_OK; i++) {
        if (all[i].state != FILE_EXCLUDED) {
            (*rows)[(*n)++] = all[i];
        }
    }
    return s;
}

enum status journal_count(struct journal *j, struct journal_counts *out, struct error *err)
{
    *out = (struct journal_counts){0};
    bool row = true;
    enum status s = STATUS_OK;
    while ((s = db_row(j->count, &row, err)) == STATUS_OK && row) {
        uint64_t n = (uint64_t)sqlite3_column_int64(j->count, 1);
        switch ((enum file_state)sqlite3_column_int(j->count, 0)) {
        case FILE_QUEUED:
            out->queued = n;
            break;
        case FILE_READY:
            out->ready = n;
            out->bytes = (uint64_t)sqlite3_column_double(j->count, 2);
            break;
        case FILE_FAILED:
            out->failed = n;
            break;
        case FILE_EXCLUDED:
            out->excluded = n;
            break;
        }
    }
    return s;
}

/* ---- rules of access ---- */

enum status journal_applied(struct journal *j, int64_t id, const char *access, struct error *err)
{
    (void)sqlite3_bind_int64(j->applied, 1, id);
    (void)sqlite3_bind_text(j->applied, 2, access, -1, SQLITE_STATIC);
    return db_run(j->applied, err);
}

enum status journal_has_access(struct journal *j, bool *out, struct error *err)
{
    bool row = false;
    enum status s = db_row(j->has_access, &row, err);
    *out = s == STATUS_OK && row && sqlite3_column_int(j->has_access, 0) != 0;
    db_reset(j->has_access);
    return s;
}

/* A document that is ready moves; one on its way gets a new number, so that a job that has already asked the
 * rules as they were does it again; one that failed is in no store: only what is known of it changes. */
static enum status judge_one(struct journal *j, const struct file_row *row, const char *access,
                             uint64_t *changed, struct error *err)
{
    bool same = row->access != NULL && strcmp(row->access, access) == 0;
    bool quiet = row->state == FILE_FAILED ||
                 (row->state == FILE_READY && row->access == NULL && access[0] == '\0');
    uint64_t sequence = 0;
    if (same && row->state != FILE_QUEUED) {
        return STATUS_OK;
    }
    if (quiet) {
        return journal_applied(j, row->id, access, err);
    }
    enum status s = next_sequence(j, &sequence, err);
    if (s == STATUS_OK) {
        bind_job(j->relocate, row->id, sequence);
        (void)sqlite3_bind_int64(j->relocate, 3, clock_wall_ms());
        s = db_run(j->relocate, err);
        (*changed)++;
    }
    return s;
}

enum status journal_reapply(struct journal *j, int64_t *cursor, size_t limit,
                            journal_judge_fn judge, void *data, uint64_t *changed, bool *end,
                            struct error *err)
{
    struct arena a;
    size_t n = 0;
    *changed = 0;
    *end = false;
    arena_init(&a, 16 << 20);
    struct file_row *rows = arena_array(&a, limit, sizeof *rows);
    enum status s = rows == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(j->judged, 1, *cursor);
        (void)sqlite3_bind_int64(j->judged, 2, (sqlite3_int64)limit);
        s = read_rows(j->judged, limit, &a, rows, &n, err);
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        const char *access = "";
        *cursor = rows[i].id;
        s = judge(data, &rows[i], &a, &access, err);
        if (s == STATUS_OK) {
            s = judge_one(j, &rows[i], access, changed, err);
        }
    }
    *end = n < limit;
    arena_reset(&a);
    return s;
}

/* ---- agreeing with the store ---- */

enum status journal_store_list_begin(struct journal *j, struct error *err)
{
    return db_exec(j->db, "DELETE FROM temp.stored", err);
}

/* The journal was lost or is older than the store. Where the path is free the document gets its row
 * back, with a stamp that fits no file: its job finds what is there now, or that nothing is. Where
 * another document stands at the path already, this one is removed. */
static enum status adopt(struct journal *j, const char *document, struct str path, struct arena *a,
                         struct error *err)
{
    struct file_row r;
    bool taken = false;
    uint64_t wanted = 0;
    struct file_stamp none = {0};
    char collection[INGEST_COLLECTION_CAP];
    path_collection(path, collection);
    enum status s = row_at(j, path, a, &r, &taken, err);
    if (s == STATUS_OK) {
        s = next_sequence(j, &wanted, err);
    }
    if (s == STATUS_OK) {
        sqlite3_stmt *st = j->insert;
        (void)sqlite3_bind_text(st, 1, document, -1, SQLITE_STATIC);
        if (!taken) {
            bind_blob(st, 2, path);
        }
        (void)sqlite3_bind_text(st, 3, collection, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 4, (sqlite3_int64)wanted);
        bind_stamp(st, 5, &none);
        (void)sqlite3_bind_int64(st, 9, clock_wall_ms());
        s = db_run(st, err);
    }
    if (s == STATUS_OK && taken) {
        r = (struct file_row){.id = sqlite3_last_insert_rowid(j->db),
                              .path = {.ptr = "", .len = 0},
                              .op = FILE_OP_REMOVE,
                              .state = FILE_QUEUED};
        s = change_row(j, &r, err);
    }
    return s;
}

enum status journal_store_has(struct journal *j, const char *document, struct str path,
                              uint64_t sequence, struct error *err)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct file_row r;
    bool found = false;
    (void)sqlite3_bind_int64(j->raise, 1, (sqlite3_int64)sequence);
    enum status s = db_run(j->raise, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(j->seen, 1, document, -1, SQLITE_STATIC);
        s = db_run(j->seen, err);
    }
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(j->by_document, 1, document, -1, SQLITE_STATIC);
        s = one_row(j->by_document, &a, &r, &found, err);
    }
    if (s == STATUS_OK && !found) {
        s = adopt(j, document, path, &a, err);
    }
    arena_reset(&a);
    return s;
}

enum status journal_store_list_end(struct journal *j, uint64_t *requeued, struct error *err)
{
    enum status s =
        db_exec(j->db,
                "UPDATE files SET op=1,state=0,weight=size,attempts=0,next_attempt_ms=0,"
                " wanted=(SELECT value FROM counter WHERE name='sequence')+id"
                " WHERE state=1 AND op=0 AND document NOT IN (SELECT document FROM temp.stored);",
                err);
    if (s == STATUS_OK) {
        *requeued = (uint64_t)sqlite3_changes64(j->db);
        s = db_exec(j->db,
                    "UPDATE counter SET value=value+(SELECT coalesce(max(id),0) FROM files)"
                    " WHERE name='sequence'; DELETE FROM temp.stored",
                    err);
    }
    return s;
}
