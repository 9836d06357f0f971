#include "serve/files.h"

#include "base/db.h"

#define FILE_COLUMNS "id,user,name,purpose,hash,bytes,created_wall_ms,expires_wall_ms"
#define STORE_COLUMNS "collection,user,name,metadata,created_wall_ms,days,active_wall_ms"
#define ATTACHED_COLUMNS                                                                           \
    "collection,file,document,user,attributes,batch,state,error,created_wall_ms"

static enum status no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "out of memory");
}

/* Prepares sql and binds texts to ?1 and following; NULL binds NULL. */
static enum status prepare(sqlite3 *db, const char *sql, const char *const *texts, int n,
                           sqlite3_stmt **st, struct error *err)
{
    enum status s = db_prepare(db, sql, st, err);
    for (int i = 0; i < n && s == STATUS_OK; i++) {
        (void)sqlite3_bind_text(*st, i + 1, texts[i], -1, SQLITE_STATIC);
    }
    return s;
}

static const char *column(sqlite3_stmt *st, int i, struct arena *a, bool *ok)
{
    struct str s = db_column(st, i);
    const char *z = arena_strndup(a, s.ptr == NULL ? "" : s.ptr, s.len);
    *ok = *ok && z != NULL;
    return z;
}

static enum status run(sqlite3 *db, const char *sql, const char *const *texts, int n,
                       struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(db, sql, texts, n, &st, err);
    if (s == STATUS_OK) {
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- rows into an array ---- */

typedef bool (*row_fn)(sqlite3_stmt *st, struct arena *a, void *out);

/* At most max rows of `size` bytes each. */
static enum status collect(sqlite3_stmt *st, size_t max, size_t size, row_fn read, struct arena *a,
                           void **out, size_t *n_out, struct error *err)
{
    size_t cap = 0, n = 0;
    char *rows = NULL;
    bool row = false;
    enum status s = STATUS_OK;
    while (n < max && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        if (n == cap) {
            size_t more = cap == 0 ? 32 : cap * 2;
            char *grown = arena_array(a, more, size);
            if (grown == NULL) {
                return no_memory(err);
            }
            if (n > 0) {
                memcpy(grown, rows, n * size);
            }
            rows = grown;
            cap = more;
        }
        if (!read(st, a, rows + n * size)) {
            return no_memory(err);
        }
        n++;
    }
    *out = rows;
    *n_out = n;
    return s;
}

static bool file_row(sqlite3_stmt *st, struct arena *a, void *out)
{
    bool ok = true;
    struct staged_file *f = out;
    *f = (struct staged_file){.id = column(st, 0, a, &ok),
                              .user = column(st, 1, a, &ok),
                              .name = column(st, 2, a, &ok),
                              .purpose = column(st, 3, a, &ok),
                              .hash = column(st, 4, a, &ok),
                              .bytes = sqlite3_column_int64(st, 5),
                              .created_wall_ms = sqlite3_column_int64(st, 6),
                              .expires_wall_ms = sqlite3_column_int64(st, 7)};
    return ok;
}

static bool store_row(sqlite3_stmt *st, struct arena *a, void *out)
{
    bool ok = true;
    struct store_row *s = out;
    *s = (struct store_row){.collection = column(st, 0, a, &ok),
                            .user = column(st, 1, a, &ok),
                            .name = column(st, 2, a, &ok),
                            .metadata = column(st, 3, a, &ok),
                            .created_wall_ms = sqlite3_column_int64(st, 4),
                            .days = sqlite3_column_int64(st, 5),
                            .active_wall_ms = sqlite3_column_int64(st, 6)};
    return ok;
}

static bool attached_row(sqlite3_stmt *st, struct arena *a, void *out)
{
    bool ok = true;
    struct attached_file *f = out;
    *f = (struct attached_file){.collection = column(st, 0, a, &ok),
                                .file = column(st, 1, a, &ok),
                                .document = column(st, 2, a, &ok),
                                .user = column(st, 3, a, &ok),
                                .attributes = column(st, 4, a, &ok),
                                .batch = column(st, 5, a, &ok),
                                .state = column(st, 6, a, &ok),
                                .error = column(st, 7, a, &ok),
                                .created_wall_ms = sqlite3_column_int64(st, 8)};
    return ok;
}

static bool id_row(sqlite3_stmt *st, struct arena *a, void *out)
{
    bool ok = true;
    *(const char **)out = column(st, 0, a, &ok);
    return ok;
}

/* The first row, if there is one. */
static enum status one(sqlite3 *db, const char *sql, const char *const *texts, int n, row_fn read,
                       struct arena *a, void *out, bool *found, struct error *err)
{
    sqlite3_stmt *st = NULL;
    *found = false;
    enum status s = prepare(db, sql, texts, n, &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, found, err);
    }
    if (s == STATUS_OK && *found && !read(st, a, out)) {
        s = no_memory(err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- files ---- */

enum status files_add(sqlite3 *db, const struct staged_file *f, struct error *err)
{
    const char *const texts[] = {f->id, f->user, f->name, f->purpose, f->hash};
    sqlite3_stmt *st = NULL;
    enum status s =
        prepare(db, "INSERT INTO files(" FILE_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8)", texts, 5,
                &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 6, f->bytes);
        (void)sqlite3_bind_int64(st, 7, f->created_wall_ms);
        (void)sqlite3_bind_int64(st, 8, f->expires_wall_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status files_get(sqlite3 *db, const char *user, const char *id, struct arena *a,
                      struct staged_file *out, struct error *err)
{
    const char *const texts[] = {id, user};
    bool found = false;
    enum status s =
        one(db, "SELECT " FILE_COLUMNS " FROM files WHERE id = ?1 AND (?2 IS NULL OR user = ?2)",
            texts, 2, file_row, a, out, &found, err);
    return s == STATUS_OK && !found ? error_set(err, STATUS_NOT_FOUND, "there is no file %.64s", id)
                                    : s;
}

enum status files_list(sqlite3 *db, const struct files_query *q, struct arena *a,
                       struct staged_file **out, size_t *n, struct error *err)
{
    const char *const texts[] = {q->user, q->purpose, q->after};
    sqlite3_stmt *st = NULL;
    void *rows = NULL;
    /* one that has gone meanwhile is at no place: then nothing follows it */
    enum status s = prepare(
        db,
        q->ascending
            ? "SELECT " FILE_COLUMNS " FROM files WHERE (?1 IS NULL OR user = ?1)"
              " AND (?2 IS NULL OR purpose = ?2) AND (?3 IS NULL OR (created_wall_ms, id) >"
              " (SELECT created_wall_ms, id FROM files WHERE id = ?3)) ORDER BY created_wall_ms, id"
            : "SELECT " FILE_COLUMNS " FROM files WHERE (?1 IS NULL OR user = ?1)"
              " AND (?2 IS NULL OR purpose = ?2) AND (?3 IS NULL OR (created_wall_ms, id) <"
              " (SELECT created_wall_ms, id FROM files WHERE id = ?3))"
              " ORDER BY created_wall_ms DESC, id DESC",
        texts, 3, &st, err);
    if (s == STATUS_OK) {
        s = collect(st, q->limit + 1, sizeof(struct staged_file), file_row, a, &rows, n, err);
        *out = rows;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status files_remove(sqlite3 *db, const char *id, struct error *err)
{
    return run(db, "DELETE FROM files WHERE id = ?1", &id, 1, err);
}

enum status files_total(sqlite3 *db, int64_t *bytes, int64_t *rows, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT coalesce(sum(bytes), 0) + (SELECT coalesce(sum(bytes), 0)"
                               " FROM uploads WHERE state = 'pending'), count(*) FROM files",
                               &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    *bytes = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    *rows = s == STATUS_OK && row ? sqlite3_column_int64(st, 1) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

enum status files_expired(sqlite3 *db, int64_t now_ms, size_t limit, struct arena *a, char ***ids,
                          size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    void *rows = NULL;
    enum status s = db_prepare(db, "SELECT id FROM files WHERE expires_wall_ms <= ?1", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, now_ms);
        s = collect(st, limit, sizeof(char *), id_row, a, &rows, n, err);
        *ids = rows;
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- stores ---- */

static enum status write_store(sqlite3 *db, const char *verb_sql, const struct store_row *r,
                               struct error *err)
{
    const char *const texts[] = {r->collection, r->user, r->name, r->metadata};
    sqlite3_stmt *st = NULL;
    enum status s = prepare(db, verb_sql, texts, 4, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 5, r->created_wall_ms);
        (void)sqlite3_bind_int64(st, 6, r->days);
        (void)sqlite3_bind_int64(st, 7, r->active_wall_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status stores_add(sqlite3 *db, const struct store_row *r, struct error *err)
{
    enum status s =
        write_store(db,
                    "INSERT OR IGNORE INTO stores(" STORE_COLUMNS ") SELECT ?1,?2,?3,?4,?5,?6,?7"
                    " WHERE (SELECT count(*) FROM stores) < 10000",
                    r, err);
    if (s == STATUS_OK && sqlite3_changes(db) == 0) {
        s = error_set(err, STATUS_CONFLICT, "there is a vector store of this name");
    }
    return s;
}

enum status stores_put(sqlite3 *db, const struct store_row *r, struct error *err)
{
    return write_store(
        db, "INSERT OR REPLACE INTO stores(" STORE_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7)", r,
        err);
}

enum status stores_get(sqlite3 *db, const char *collection, struct arena *a, struct store_row *out,
                       bool *found, struct error *err)
{
    return one(db, "SELECT " STORE_COLUMNS " FROM stores WHERE collection = ?1", &collection, 1,
               store_row, a, out, found, err);
}

enum status stores_all(sqlite3 *db, struct arena *a, struct store_row **out, size_t *n,
                       struct error *err)
{
    sqlite3_stmt *st = NULL;
    void *rows = NULL;
    enum status s = db_prepare(db, "SELECT " STORE_COLUMNS " FROM stores", &st, err);
    if (s == STATUS_OK) {
        s = collect(st, STORES_ROWS_MAX, sizeof(struct store_row), store_row, a, &rows, n, err);
        *out = rows;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status stores_touch(sqlite3 *db, const char *collection, int64_t now_ms, struct error *err)
{
    sqlite3_stmt *st = NULL;
    /* a write a minute is enough */
    enum status s = prepare(db,
                            "UPDATE stores SET active_wall_ms = ?2 WHERE collection = ?1"
                            " AND active_wall_ms < ?2 - 60000",
                            &collection, 1, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 2, now_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status stores_remove(sqlite3 *db, const char *collection, struct error *err)
{
    enum status s = run(db, "DELETE FROM batch_files WHERE collection = ?1", &collection, 1, err);
    s = s == STATUS_OK ? run(db, "DELETE FROM attached WHERE collection = ?1", &collection, 1, err)
                       : s;
    return s == STATUS_OK ? run(db, "DELETE FROM stores WHERE collection = ?1", &collection, 1, err)
                          : s;
}

/* ---- files of stores ---- */

enum status attached_put(sqlite3 *db, const struct attached_file *f, struct error *err)
{
    const char *const texts[] = {f->collection, f->file,  f->document, f->user,
                                 f->attributes, f->batch, f->state,    f->error};
    sqlite3_stmt *st = NULL;
    enum status s = prepare(db,
                            "INSERT OR REPLACE INTO attached(" ATTACHED_COLUMNS
                            ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
                            texts, 8, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 9, f->created_wall_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status attached_get(sqlite3 *db, const char *collection, const char *id, struct arena *a,
                         struct attached_file *out, bool *found, struct error *err)
{
    const char *const texts[] = {collection, id};
    return one(db,
               "SELECT " ATTACHED_COLUMNS
               " FROM attached WHERE collection = ?1 AND (file = ?2 OR document = ?2)",
               texts, 2, attached_row, a, out, found, err);
}

enum status attached_anywhere(sqlite3 *db, const char *file, struct arena *a,
                              struct attached_file *out, bool *found, struct error *err)
{
    return one(db,
               "SELECT " ATTACHED_COLUMNS
               " FROM attached WHERE file = ?1 ORDER BY document = '' LIMIT 1",
               &file, 1, attached_row, a, out, found, err);
}

enum status attached_of_file(sqlite3 *db, const char *file, size_t limit, struct arena *a,
                             struct attached_file **out, size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    void *rows = NULL;
    enum status s =
        prepare(db, "SELECT " ATTACHED_COLUMNS " FROM attached WHERE file = ?1 ORDER BY collection",
                &file, 1, &st, err);
    if (s == STATUS_OK) {
        s = collect(st, limit, sizeof(struct attached_file), attached_row, a, &rows, n, err);
        *out = rows;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status attached_list(sqlite3 *db, const char *collection, size_t limit, struct arena *a,
                          struct attached_file **out, size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    void *rows = NULL;
    enum status s = prepare(
        db, "SELECT " ATTACHED_COLUMNS " FROM attached WHERE collection = ?1 ORDER BY document",
        &collection, 1, &st, err);
    if (s == STATUS_OK) {
        s = collect(st, limit, sizeof(struct attached_file), attached_row, a, &rows, n, err);
        *out = rows;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status batch_list(sqlite3 *db, const char *batch, const char *collection, const char *user,
                       size_t limit, struct arena *a, struct attached_file **out, size_t *n,
                       struct error *err)
{
    const char *const texts[] = {batch, collection, user};
    sqlite3_stmt *st = NULL;
    void *rows = NULL;
    enum status s = prepare(db,
                            "SELECT b.collection, b.file, coalesce(a.document, ''),"
                            " coalesce(a.user, b.user), coalesce(a.attributes, '{}'), b.batch,"
                            " coalesce(a.state, 'failed'),"
                            " coalesce(a.error, 'there is no file ' || b.file),"
                            " coalesce(a.created_wall_ms, b.created_wall_ms)"
                            " FROM batch_files b LEFT JOIN attached a ON a.file = b.file"
                            " AND a.collection = b.collection AND (?3 IS NULL OR a.user = ?3)"
                            " WHERE b.batch = ?1 AND b.collection = ?2 ORDER BY 9, 2",
                            texts, 3, &st, err);
    if (s == STATUS_OK) {
        s = collect(st, limit, sizeof(struct attached_file), attached_row, a, &rows, n, err);
        *out = rows;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status attached_expired(sqlite3 *db, int64_t now_ms, size_t limit, struct arena *a,
                             struct attached_file **out, size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    void *rows = NULL;
    /* any: some that cannot go now do not keep the others */
    enum status s =
        db_prepare(db,
                   "SELECT " ATTACHED_COLUMNS " FROM attached WHERE document NOT IN ('', file)"
                   " AND collection IN (SELECT collection FROM stores WHERE days > 0"
                   " AND active_wall_ms + days * 86400000 <= ?1) ORDER BY random()",
                   &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, now_ms);
        s = collect(st, limit, sizeof(struct attached_file), attached_row, a, &rows, n, err);
        *out = rows;
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status attached_remove(sqlite3 *db, const char *collection, const char *file,
                            struct error *err)
{
    const char *const texts[] = {collection, file};
    enum status s =
        run(db, "DELETE FROM batch_files WHERE collection = ?1 AND file = ?2", texts, 2, err);
    return s == STATUS_OK
               ? run(db, "DELETE FROM attached WHERE collection = ?1 AND file = ?2", texts, 2, err)
               : s;
}

enum status batch_add(sqlite3 *db, const char *batch, const char *collection, const char *file,
                      const char *user, int64_t now_ms, struct error *err)
{
    const char *const texts[] = {batch, collection, file, user};
    sqlite3_stmt *st = NULL;
    enum status s =
        prepare(db, "INSERT OR IGNORE INTO batch_files VALUES(?1,?2,?3,?4,?5)", texts, 4, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 5, now_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status batch_begun(sqlite3 *db, const char *batch, const char *collection, const char *user,
                        int64_t *created_ms, struct error *err)
{
    const char *const texts[] = {batch, collection, user};
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = prepare(db,
                            "SELECT min(created_wall_ms) FROM batch_files WHERE batch = ?1"
                            " AND collection = ?2 AND (?3 IS NULL OR user = ?3) GROUP BY batch",
                            texts, 3, &st, err);
    s = s == STATUS_OK ? db_row(st, &row, err) : s;
    *created_ms = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && !row ? error_set(err, STATUS_NOT_FOUND, "there is no such batch") : s;
}

enum status attached_interrupt(sqlite3 *db, const char *batch, const char *state, const char *error,
                               struct error *err)
{
    const char *const texts[] = {batch, state, error};
    return run(db,
               "UPDATE attached SET state = ?2, error = ?3 WHERE batch = ?1 AND state = 'waiting'",
               texts, 3, err);
}
