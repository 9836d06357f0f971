#include "ingest/erasures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/db.h"

#define COLUMNS                                                                                    \
    "id,created_ms,by,phase,sequence,error,attempts,due_ms,coalesce(certificate,''),"              \
    "coalesce(finished_ms,0)"
#define PATH_ARENA_TEXT "an erasure is too large for the memory of one request"

static enum status prepare(struct journal *j, const char *sql, const char *id, sqlite3_stmt **out,
                           struct error *err)
{
    *out = NULL;
    enum status s = db_prepare(journal_db(j), sql, out, err);
    if (s == STATUS_OK && id != NULL) {
        (void)sqlite3_bind_text(*out, 1, id, -1, SQLITE_STATIC);
    }
    return s;
}

static enum status finish(sqlite3_stmt *st, enum status s, struct error *err)
{
    if (s == STATUS_OK) {
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static void bind_bytes(sqlite3_stmt *st, int i, const void *p, size_t len)
{
    (void)sqlite3_bind_blob64(st, i, len == 0 ? "" : p, len, SQLITE_STATIC);
}

static const char *text(sqlite3_stmt *st, int col, struct arena *a)
{
    struct str v = db_column(st, col);
    return v.len == 0 ? "" : arena_strndup(a, v.ptr, v.len);
}

static void copy_id(sqlite3_stmt *st, int col, char out[ID_CAP])
{
    struct str v = db_column(st, col);
    (void)snprintf(out, ID_CAP, "%.*s", (int)(v.len < ID_CAP ? v.len : ID_CAP - 1), v.ptr);
}

/* ---- beginning ---- */

static enum status next_sequence(struct journal *j, uint64_t *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        prepare(j, "UPDATE counter SET value=value+1 WHERE name='sequence' RETURNING value", NULL,
                &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_CORRUPT, "the journal has lost its counter");
    }
    if (s == STATUS_OK) {
        *out = (uint64_t)sqlite3_column_int64(st, 0);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status add_item(struct journal *j, const struct erasure *e,
                            const struct erasure_item *it, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(j,
                            "INSERT OR REPLACE INTO erasure_items(erasure,document,path,hash,size,"
                            "chunks,versions,content_stays,source)"
                            " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
                            e->id, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 2, it->document, -1, SQLITE_STATIC);
        bind_bytes(st, 3, it->path.ptr, it->path.len);
        if (it->has_hash) {
            bind_bytes(st, 4, it->hash, sizeof it->hash);
        }
        (void)sqlite3_bind_int64(st, 5, (sqlite3_int64)it->size);
        (void)sqlite3_bind_int64(st, 6, it->chunks);
        (void)sqlite3_bind_int64(st, 7, it->versions);
        (void)sqlite3_bind_int(st, 8, it->content_stays ? 1 : 0);
        (void)sqlite3_bind_int(st, 9, (int)it->source);
    }
    return finish(st, s, err);
}

/* Out of every list and queue; a scan passes over it while the erasure is under way. */
static enum status withdraw(struct journal *j, const struct erasure *e, const char *document,
                            struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(
        j,
        "UPDATE files SET state=3,op=0,wanted=?2,done=?2,title=NULL,author=NULL,own_ms=NULL,"
        "error=NULL,chunks=0,pages=0,attempts=0,next_attempt_ms=0,"
        "changed_ms=?3 WHERE document=?1",
        document, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 2, (sqlite3_int64)e->sequence);
        (void)sqlite3_bind_int64(st, 3, e->created_ms);
    }
    return finish(st, s, err);
}

enum status erasure_ban(struct journal *j, const char *id, const uint8_t keyed[KEYED_BYTES],
                        struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(j, "INSERT OR REPLACE INTO erased_hashes(erasure,keyed) VALUES(?1,?2)",
                            id, &st, err);
    if (s == STATUS_OK) {
        bind_bytes(st, 2, keyed, KEYED_BYTES);
    }
    return finish(st, s, err);
}

enum status erasure_any_ban(struct journal *j, bool *any, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(j, "SELECT 1 FROM erased_hashes LIMIT 1", NULL, &st, err);
    *any = false;
    if (s == STATUS_OK) {
        s = db_row(st, any, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status add_traces(struct journal *j, const struct erasure *e, const struct trace *list,
                              size_t n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s =
        prepare(j, "INSERT OR IGNORE INTO erasure_traces VALUES(?1,?2,?3)", NULL, &st, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        int64_t roll;
        memcpy(&roll, &list[i].roll, sizeof roll);
        (void)sqlite3_bind_text(st, 1, e->id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 2, roll);
        bind_bytes(st, 3, list[i].keyed, sizeof list[i].keyed);
        s = db_run(st, err);
        db_reset(st);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status erasure_begin(struct journal *j, struct erasure *e, const struct erasure_item *items,
                          size_t n_items, const struct trace *traces, size_t n_traces,
                          const uint8_t key[KEYED_KEY_BYTES], struct error *err)
{
    sqlite3_stmt *st = NULL;
    e->created_ms = clock_wall_ms();
    e->phase = ERASURE_HIDE;
    enum status s = next_sequence(j, &e->sequence, err);
    if (s == STATUS_OK) {
        s = prepare(
            j,
            "INSERT OR IGNORE INTO erasures(id,created_ms,by,phase,sequence) VALUES(?1,?2,?3,0,?4)",
            e->id, &st, err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_int64(st, 2, e->created_ms);
            (void)sqlite3_bind_text(st, 3, e->by, -1, SQLITE_STATIC);
            (void)sqlite3_bind_int64(st, 4, (sqlite3_int64)e->sequence);
        }
        s = finish(st, s, err);
    }
    for (size_t i = 0; i < n_items && s == STATUS_OK; i++) {
        s = add_item(j, e, &items[i], err);
        if (s == STATUS_OK) {
            s = withdraw(j, e, items[i].document, err);
        }
        if (s == STATUS_OK && items[i].has_hash && !items[i].content_stays) {
            uint8_t keyed[KEYED_BYTES];
            keyed_hash(key, items[i].hash, SHA256_BYTES, keyed);
            s = erasure_ban(j, e->id, keyed, err);
        }
    }
    return s == STATUS_OK ? add_traces(j, e, traces, n_traces, err) : s;
}

/* ---- reading ---- */

static enum status read_erasure(sqlite3_stmt *st, struct arena *a, struct erasure *out,
                                struct error *err)
{
    *out = (struct erasure){
        .created_ms = sqlite3_column_int64(st, 1),
        .by = text(st, 2, a),
        .phase = (enum erasure_phase)sqlite3_column_int(st, 3),
        .sequence = (uint64_t)sqlite3_column_int64(st, 4),
        .error = text(st, 5, a),
        .attempts = (uint32_t)sqlite3_column_int(st, 6),
        .due_ms = sqlite3_column_int64(st, 7),
        .certificate = text(st, 8, a),
        .finished_ms = sqlite3_column_int64(st, 9),
    };
    copy_id(st, 0, out->id);
    return out->by == NULL || out->error == NULL || out->certificate == NULL
               ? error_set(err, STATUS_NO_MEMORY, PATH_ARENA_TEXT)
               : STATUS_OK;
}

static enum status one_erasure(struct journal *j, const char *sql, const char *id, struct arena *a,
                               struct erasure *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = prepare(j, sql, id, &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK) {
        s = row ? read_erasure(st, a, out, err)
                : error_set(err, STATUS_NOT_FOUND, "there is no erasure with this id");
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status erasure_open(struct journal *j, struct arena *a, struct erasure *out, struct error *err)
{
    return one_erasure(j,
                       "SELECT " COLUMNS " FROM erasures WHERE finished_ms IS NULL"
                       " ORDER BY created_ms LIMIT 1",
                       NULL, a, out, err);
}

enum status erasure_get(struct journal *j, const char *id, struct arena *a, struct erasure *out,
                        struct error *err)
{
    return one_erasure(j, "SELECT " COLUMNS " FROM erasures WHERE id=?1", id, a, out, err);
}

enum status erasure_known(struct journal *j, const char *id, bool *known, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(j, "SELECT 1 FROM erasures WHERE id=?1", id, &st, err);
    *known = false;
    if (s == STATUS_OK) {
        s = db_row(st, known, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status erasure_list(struct journal *j, size_t limit, struct arena *a, struct erasure **out,
                         size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    *n = 0;
    *out = arena_array(a, limit + 1, sizeof **out);
    enum status s =
        *out == NULL
            ? error_set(err, STATUS_NO_MEMORY, "out of memory")
            : prepare(j, "SELECT " COLUMNS " FROM erasures ORDER BY created_ms DESC LIMIT ?1", NULL,
                      &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, (sqlite3_int64)limit);
    }
    while (s == STATUS_OK && *n < limit && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        s = read_erasure(st, a, &(*out)[*n], err);
        *n += s == STATUS_OK ? 1 : 0;
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* Room for all rows of one table that belong to the erasure. */
static enum status rows_of(struct journal *j, const char *count_sql, const char *sql,
                           const char *id, size_t size, struct arena *a, void **out, size_t *cap,
                           sqlite3_stmt **st, struct error *err)
{
    sqlite3_stmt *count = NULL;
    bool row = false;
    *st = NULL;
    enum status s = prepare(j, count_sql, id, &count, err);
    if (s == STATUS_OK) {
        s = db_row(count, &row, err);
    }
    *cap = s == STATUS_OK && row ? (size_t)sqlite3_column_int64(count, 0) : 0;
    (void)sqlite3_finalize(count);
    if (s == STATUS_OK) {
        *out = arena_array(a, *cap + 1, size);
        s = *out == NULL ? error_set(err, STATUS_NO_MEMORY, PATH_ARENA_TEXT)
                         : prepare(j, sql, id, st, err);
    }
    return s;
}

enum status erasure_items(struct journal *j, const char *id, struct arena *a,
                          struct erasure_item **out, size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    size_t cap = 0;
    void *room = NULL;
    *n = 0;
    enum status s = rows_of(j, "SELECT count(*) FROM erasure_items WHERE erasure=?1",
                            "SELECT document,path,hash,size,chunks,versions,content_stays,source"
                            " FROM erasure_items WHERE erasure=?1 ORDER BY path,document",
                            id, sizeof **out, a, &room, &cap, &st, err);
    *out = room;
    while (s == STATUS_OK && *n < cap && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        struct erasure_item *it = &(*out)[*n];
        struct str path = db_column(st, 1);
        struct str hash = db_column(st, 2);
        *it = (struct erasure_item){
            .path = {.ptr = arena_strndup(a, path.ptr, path.len), .len = path.len},
            .has_hash = hash.len == SHA256_BYTES,
            .size = (uint64_t)sqlite3_column_int64(st, 3),
            .chunks = (uint32_t)sqlite3_column_int64(st, 4),
            .versions = (uint32_t)sqlite3_column_int64(st, 5),
            .content_stays = sqlite3_column_int(st, 6) != 0,
            .source = (enum erased_source)sqlite3_column_int(st, 7),
        };
        copy_id(st, 0, it->document);
        if (it->has_hash) {
            memcpy(it->hash, hash.ptr, SHA256_BYTES);
        }
        if (it->path.ptr == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, PATH_ARENA_TEXT);
        }
        (*n)++;
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* Of one item: its own row, and whether the row at its path is a document's that stays. */
static enum status read_stamp(sqlite3_stmt *st, const char *id, struct erasure_item *it,
                              struct error *err)
{
    bool row = false;
    enum status s = STATUS_OK;
    (void)sqlite3_bind_text(st, 1, it->document, -1, SQLITE_STATIC);
    bind_bytes(st, 2, it->path.ptr, it->path.len);
    (void)sqlite3_bind_text(st, 3, id, -1, SQLITE_STATIC);
    it->has_stamp = it->has_was = it->taken = false;
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        if (sqlite3_column_int(st, 0) != 0) {
            it->has_stamp = true;
            it->stamp = (struct file_stamp){.ino = (uint64_t)sqlite3_column_int64(st, 1),
                                            .size = (uint64_t)sqlite3_column_int64(st, 2),
                                            .mtime_ns = sqlite3_column_int64(st, 3),
                                            .ctime_ns = sqlite3_column_int64(st, 4)};
            struct str hash = db_column(st, 5);
            it->has_was = hash.len == SHA256_BYTES;
            if (it->has_was) {
                memcpy(it->was, hash.ptr, SHA256_BYTES);
            }
        } else {
            it->taken = true;
        }
    }
    db_reset(st);
    return s;
}

enum status erasure_stamps(struct journal *j, const char *id, struct erasure_item *items, size_t n,
                           struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(j,
                            "SELECT document=?1,ino,size,mtime_ns,ctime_ns,hash FROM files"
                            " WHERE document=?1 OR (path=?2 AND document NOT IN"
                            " (SELECT document FROM erasure_items WHERE erasure=?3))",
                            NULL, &st, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        s = read_stamp(st, id, &items[i], err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status erasure_bans(struct journal *j, const char *id, struct arena *a,
                         uint8_t (**out)[KEYED_BYTES], size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    size_t cap = 0;
    void *room = NULL;
    *n = 0;
    enum status s = rows_of(j, "SELECT count(*) FROM erased_hashes WHERE erasure=?1",
                            "SELECT keyed FROM erased_hashes WHERE erasure=?1 ORDER BY keyed", id,
                            sizeof **out, a, &room, &cap, &st, err);
    *out = room;
    while (s == STATUS_OK && *n < cap && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        struct str keyed = db_column(st, 0);
        if (keyed.len == KEYED_BYTES) {
            memcpy((*out)[(*n)++], keyed.ptr, KEYED_BYTES);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status erasure_traces(struct journal *j, const char *id, struct arena *a, struct trace **out,
                           size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    size_t cap = 0;
    void *room = NULL;
    *n = 0;
    enum status s = rows_of(j, "SELECT count(*) FROM erasure_traces WHERE erasure=?1",
                            "SELECT roll,keyed FROM erasure_traces WHERE erasure=?1", id,
                            sizeof **out, a, &room, &cap, &st, err);
    *out = room;
    while (s == STATUS_OK && *n < cap && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        int64_t roll = sqlite3_column_int64(st, 0);
        struct str keyed = db_column(st, 1);
        if (keyed.len == TRACE_KEYED_BYTES) {
            memcpy(&(*out)[*n].roll, &roll, sizeof roll);
            memcpy((*out)[*n].keyed, keyed.ptr, keyed.len);
            (*n)++;
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status erasure_places(struct journal *j, const char *id, struct arena *a,
                           struct erasure_place **out, size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    size_t cap = 0;
    void *room = NULL;
    *n = 0;
    enum status s = rows_of(j, "SELECT count(*) FROM erasure_places WHERE erasure=?1",
                            "SELECT place,n FROM erasure_places WHERE erasure=?1 ORDER BY place",
                            id, sizeof **out, a, &room, &cap, &st, err);
    *out = room;
    while (s == STATUS_OK && *n < cap && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        (*out)[*n].place = text(st, 0, a);
        (*out)[*n].n = sqlite3_column_int64(st, 1);
        if ((*out)[*n].place == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, PATH_ARENA_TEXT);
        }
        (*n)++;
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- going on ---- */

enum status erasure_step(struct journal *j, const char *id, enum erasure_phase phase,
                         const char *place, int64_t n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = STATUS_OK;
    if (place != NULL) {
        s = prepare(j,
                    "INSERT INTO erasure_places VALUES(?1,?2,?3)"
                    " ON CONFLICT DO UPDATE SET n=n+?3",
                    id, &st, err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_text(st, 2, place, -1, SQLITE_STATIC);
            (void)sqlite3_bind_int64(st, 3, n);
        }
        s = finish(st, s, err);
    }
    if (s == STATUS_OK) {
        s = prepare(j, "UPDATE erasures SET phase=?2,error='',attempts=0,due_ms=0 WHERE id=?1", id,
                    &st, err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_int(st, 2, (int)phase);
        }
        s = finish(st, s, err);
    }
    return s;
}

enum status erasure_failed(struct journal *j, const char *id, const char *why, int64_t due_ms,
                           struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(
        j, "UPDATE erasures SET error=?2,attempts=attempts+1,due_ms=?3 WHERE id=?1", id, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 2, why, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, due_ms);
    }
    return finish(st, s, err);
}

enum status erasure_source(struct journal *j, const char *id, const struct erasure_item *item,
                           struct error *err)
{
    char why[200];
    sqlite3_stmt *st = NULL;
    enum status s = prepare(
        j, "UPDATE erasure_items SET source=?3 WHERE erasure=?1 AND document=?2", id, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 2, item->document, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int(st, 3, (int)item->source);
    }
    s = finish(st, s, err);
    bool shut_out = item->source == SOURCE_KEPT && !item->content_stays;
    if (s == STATUS_OK && item->source != SOURCE_KEPT) {
        s = prepare(j, "DELETE FROM files WHERE document=?1", item->document, &st, err);
        s = finish(st, s, err);
    } else if (s == STATUS_OK) {
        s = prepare(j, "UPDATE files SET hash=NULL WHERE document=?1", item->document, &st, err);
        s = finish(st, s, err);
    }
    if (s == STATUS_OK && shut_out) {
        (void)snprintf(why, sizeof why,
                       "erased (erasure %s); its file may not be deleted here: delete it yourself, "
                       "it is not taken in again",
                       id);
        s = prepare(j, "UPDATE files SET state=2,error=?2 WHERE document=?1", item->document, &st,
                    err);
        if (s == STATUS_OK) {
            (void)sqlite3_bind_text(st, 2, why, -1, SQLITE_STATIC);
        }
        s = finish(st, s, err);
    }
    return s;
}

enum status erasure_finish(struct journal *j, const char *id, const char *certificate,
                           struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(j,
                            "UPDATE erasures SET phase=9,certificate=?2,finished_ms=?3,error=''"
                            " WHERE id=?1",
                            id, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 2, certificate, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, clock_wall_ms());
    }
    s = finish(st, s, err);
    if (s == STATUS_OK) {
        s = prepare(j, "DELETE FROM erasure_traces WHERE erasure=?1", id, &st, err);
        s = finish(st, s, err);
    }
    return s;
}

enum status erasure_of_hash(struct journal *j, const uint8_t keyed[KEYED_BYTES], char id[ID_CAP],
                            struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = prepare(j, "SELECT erasure FROM erased_hashes WHERE keyed=?1", NULL, &st, err);
    if (s == STATUS_OK) {
        bind_bytes(st, 1, keyed, KEYED_BYTES);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, "this content was not erased");
    } else if (s == STATUS_OK) {
        copy_id(st, 0, id);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status erasure_allow(struct journal *j, const char *id, uint32_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = prepare(j, "DELETE FROM erased_hashes WHERE erasure=?1", id, &st, err);
    s = finish(st, s, err);
    *n = s == STATUS_OK ? (uint32_t)sqlite3_changes(journal_db(j)) : 0;
    return s;
}
