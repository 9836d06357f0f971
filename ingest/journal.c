#include <stdlib.h>

#include "base/clock.h"
#include "ingest/journal_internal.h"

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
    {3, "CREATE TABLE holds(id TEXT PRIMARY KEY, kind INTEGER NOT NULL, target BLOB NOT NULL,"
        " path BLOB NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL,"
        " created_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"},
    {4, "ALTER TABLE files ADD COLUMN access TEXT;"}, /* what the rules said; NULL: never told */
    /* subjects.c */
    {5,
     "CREATE TABLE erasure_subjects(erasure TEXT NOT NULL, mark BLOB NOT NULL,"
     " PRIMARY KEY(erasure,mark)) STRICT, WITHOUT ROWID;"
     "CREATE TABLE erasure_kept(erasure TEXT NOT NULL, document TEXT NOT NULL, path BLOB NOT NULL,"
     " PRIMARY KEY(erasure,document)) STRICT, WITHOUT ROWID;"},
    /* counts with pages and chunks are read from the index alone */
    {6, "DROP INDEX files_state;"
        "CREATE INDEX files_state ON files(state,op,size,pages,chunks);"},
    /* what the document says of itself; own_ms: its own date, NULL: none */
    {7, "ALTER TABLE files ADD COLUMN author TEXT; ALTER TABLE files ADD COLUMN language TEXT;"
        "ALTER TABLE files ADD COLUMN own_ms INTEGER;"},
    /* journal_children.c. parent: the row of the container; real: so many bytes of the path are
     * that of the file on the disk, 0: all; member: SHA-256 of what was unpacked; seen: the
     * container's sequence number when it last had it */
    {8, "ALTER TABLE files ADD COLUMN parent INTEGER;"
        "ALTER TABLE files ADD COLUMN real INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE files ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE files ADD COLUMN member BLOB;"
        "ALTER TABLE files ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE files ADD COLUMN note TEXT;" /* what was left out of it */
        "CREATE INDEX files_parent ON files(parent) WHERE parent IS NOT NULL;"
        "CREATE INDEX files_hash ON files(hash) WHERE hash IS NOT NULL;"},
    {9, "ALTER TABLE files ADD COLUMN cut TEXT;"}, /* the pipeline it was put with */
    /* quarantine.c. moved: to quarantine/<tenant>/<id>/ */
    {10,
     "CREATE TABLE quarantine(id TEXT PRIMARY KEY, document TEXT NOT NULL, path BLOB NOT NULL,"
     " name TEXT NOT NULL, hash BLOB NOT NULL, size INTEGER NOT NULL, found_ms INTEGER NOT NULL,"
     " moved INTEGER NOT NULL, released_ms INTEGER, released_by TEXT NOT NULL)"
     " STRICT, WITHOUT ROWID;"
     "CREATE INDEX quarantine_hash ON quarantine(hash);"
     "CREATE INDEX quarantine_document ON quarantine(document);"},
    /* journal_events.c. told: the content of which it was said last that it is ready; kind: 1
       ready, 2 failed */
    {11, "ALTER TABLE files ADD COLUMN told BLOB;"
         "UPDATE files SET told=hash WHERE state=1;"
         "CREATE TABLE events(seq INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL,"
         " document TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;"
         "CREATE TRIGGER events_ready AFTER UPDATE OF state ON files WHEN new.state=1"
         " AND old.state<>1 AND new.hash IS NOT NULL AND new.told IS NOT new.hash BEGIN"
         " INSERT INTO events(kind,document,at_ms) VALUES(1,new.document,new.changed_ms);"
         " UPDATE files SET told=new.hash WHERE id=new.id;"
         " DELETE FROM events WHERE seq<=(SELECT max(seq) FROM events)-50000; END;"
         "CREATE TRIGGER events_failed AFTER UPDATE OF state ON files WHEN new.state=2"
         " AND old.state<>2 BEGIN"
         " INSERT INTO events(kind,document,at_ms) VALUES(2,new.document,new.changed_ms);"
         " UPDATE files SET told=NULL WHERE id=new.id;"
         " DELETE FROM events WHERE seq<=(SELECT max(seq) FROM events)-50000; END;"},
    /* journal_worked.c */
    {12, "CREATE TABLE owners(file INTEGER PRIMARY KEY, user TEXT NOT NULL, key TEXT NOT NULL,"
         " team TEXT NOT NULL) STRICT;"
         "CREATE TRIGGER owners_gone AFTER DELETE ON files BEGIN"
         " DELETE FROM owners WHERE file=old.id; END;"
         "CREATE TABLE worked(seq INTEGER PRIMARY KEY AUTOINCREMENT, day INTEGER NOT NULL,"
         " collection TEXT NOT NULL, ready INTEGER NOT NULL, cpu_us INTEGER NOT NULL,"
         " user TEXT NOT NULL, key TEXT NOT NULL, team TEXT NOT NULL) STRICT;"},
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

/* Another extractor gives other texts: everything that was stored is made anew. */
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
        s = db_exec(j->db,
                    "CREATE TEMP TABLE stored(document TEXT PRIMARY KEY) WITHOUT ROWID;"
                    "CREATE TEMP TABLE cuts(collection TEXT PRIMARY KEY, cut TEXT NOT NULL)"
                    " WITHOUT ROWID;",
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

void journal_bind_blob(sqlite3_stmt *st, int i, struct str s)
{
    (void)sqlite3_bind_blob64(st, i, s.len == 0 ? "" : s.ptr, s.len, SQLITE_STATIC);
}

void journal_bind_stamp(sqlite3_stmt *st, int i, const struct file_stamp *f)
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
        .author = copy_text(st, 21, a),
        .language = copy_text(st, 22, a),
        .dated = sqlite3_column_type(st, 23) != SQLITE_NULL,
        .own_ms = sqlite3_column_int64(st, 23),
        .parent = sqlite3_column_int64(st, 25),
        .real = (size_t)sqlite3_column_int64(st, 26),
        .depth = (uint32_t)sqlite3_column_int(st, 27),
        .note = copy_text(st, 29, a),
        .parent_document = sqlite3_column_type(st, 30) == SQLITE_NULL ? NULL : copy_text(st, 30, a),
    };
    struct str hash = db_column(st, 24);
    r->hashed = hash.len == SHA256_BYTES;
    if (r->hashed) {
        memcpy(r->hash, hash.ptr, SHA256_BYTES);
    }
    if (sqlite3_column_count(st) > 32) {
        r->members = (uint32_t)sqlite3_column_int64(st, 31);
        r->members_done = (uint32_t)sqlite3_column_int64(st, 32);
    }
    struct str member = db_column(st, 28);
    r->has_member = member.len == sizeof r->member;
    if (r->has_member) {
        memcpy(r->member, member.ptr, sizeof r->member);
    }
    size_t n = document.len < ID_CAP ? document.len : ID_CAP - 1;
    memcpy(r->document, document.ptr, n);
    r->document[n] = '\0';
    return r->path.ptr != NULL && r->collection != NULL && r->format != NULL && r->title != NULL &&
           r->error != NULL && r->note != NULL && r->author != NULL && r->language != NULL &&
           (r->access != NULL || sqlite3_column_type(st, 20) == SQLITE_NULL);
}

enum status journal_rows(sqlite3_stmt *st, size_t limit, struct arena *a, struct file_row *rows,
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

enum status journal_one_row(sqlite3_stmt *st, struct arena *a, struct file_row *out, bool *found,
                            struct error *err)
{
    size_t n = 0;
    enum status s = journal_rows(st, 1, a, out, &n, err);
    *found = n == 1;
    return s;
}

enum status journal_next_sequence(struct journal *j, uint64_t *out, struct error *err)
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

enum status journal_change_row(struct journal *j, struct file_row *r, struct error *err)
{
    enum status s = journal_next_sequence(j, &r->wanted, err);
    if (s != STATUS_OK) {
        return s;
    }
    char collection[INGEST_COLLECTION_CAP];
    path_collection(file_row_real(r), collection);
    sqlite3_stmt *st = j->change;
    (void)sqlite3_bind_int64(st, 1, r->id);
    if (r->path.len > 0) {
        journal_bind_blob(st, 2, r->path);
    }
    (void)sqlite3_bind_text(st, 3, collection, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int(st, 4, (int)r->op);
    (void)sqlite3_bind_int(st, 5, (int)r->state);
    (void)sqlite3_bind_int64(st, 6, (sqlite3_int64)r->wanted);
    journal_bind_stamp(st, 7, &r->stamp);
    (void)sqlite3_bind_int64(st, 11, r->op == FILE_OP_PUT ? (sqlite3_int64)r->stamp.size : 0);
    (void)sqlite3_bind_int64(st, 12, clock_wall_ms());
    return db_run(st, err);
}

enum status journal_insert_row(struct journal *j, const char *document, struct str path,
                               const char *collection, const struct file_stamp *stamp,
                               struct error *err)
{
    uint64_t sequence = 0;
    enum status s = journal_next_sequence(j, &sequence, err);
    if (s != STATUS_OK) {
        return s;
    }
    sqlite3_stmt *st = j->insert;
    (void)sqlite3_bind_text(st, 1, document, -1, SQLITE_STATIC);
    if (path.len > 0) {
        journal_bind_blob(st, 2, path);
    }
    (void)sqlite3_bind_text(st, 3, collection, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 4, (sqlite3_int64)sequence);
    journal_bind_stamp(st, 5, stamp);
    (void)sqlite3_bind_int64(st, 9, clock_wall_ms());
    return db_run(st, err);
}

enum status journal_drop_row(struct journal *j, int64_t id, struct error *err)
{
    (void)sqlite3_bind_int64(j->drop, 1, id);
    return db_run(j->drop, err);
}

enum status journal_row_at(struct journal *j, struct str path, struct arena *a,
                           struct file_row *out, bool *found, struct error *err)
{
    journal_bind_blob(j->by_path, 1, path);
    return journal_one_row(j->by_path, a, out, found, err);
}

struct str file_row_real(const struct file_row *r)
{
    return (struct str){r->path.ptr, r->real > 0 && r->real < r->path.len ? r->real : r->path.len};
}

bool journal_going(const struct file_row *r)
{
    return r->op == FILE_OP_REMOVE || r->op == FILE_OP_TRASH || r->op == FILE_OP_EXCLUDE;
}

/* [prefix/, prefix0): every path below the folder. */
bool journal_below_range(struct str prefix, char *low, char *high)
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

static enum status rows_below(sqlite3_stmt *st, struct str prefix, size_t limit, struct arena *a,
                              struct file_row **rows, size_t *n, struct error *err)
{
    char low[INGEST_PATH_MAX + 1];
    char high[INGEST_PATH_MAX + 1];
    *n = 0;
    *rows = arena_array(a, limit == 0 ? 1 : limit, sizeof **rows);
    if (*rows == NULL || !journal_below_range(prefix, low, high)) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    journal_bind_blob(st, 1, (struct str){.ptr = low, .len = prefix.len + 1});
    journal_bind_blob(st, 2, (struct str){.ptr = high, .len = prefix.len + 1});
    (void)sqlite3_bind_int64(st, 3, (sqlite3_int64)limit);
    return journal_rows(st, limit, a, *rows, n, err);
}

enum status journal_rows_below(struct journal *j, struct str prefix, size_t limit, struct arena *a,
                               struct file_row **rows, size_t *n, struct error *err)
{
    return rows_below(j->below, prefix, limit, a, rows, n, err);
}

enum status journal_files_below(struct journal *j, struct str prefix, size_t limit, struct arena *a,
                                struct file_row **rows, size_t *n, struct error *err)
{
    return rows_below(j->below_files, prefix, limit, a, rows, n, err);
}

void journal_bind_job(sqlite3_stmt *st, int64_t id, uint64_t sequence)
{
    (void)sqlite3_bind_int64(st, 1, id);
    (void)sqlite3_bind_int64(st, 2, (sqlite3_int64)sequence);
}
