/* What is to be done, and what became of it. */
#include "base/clock.h"
#include "ingest/journal_internal.h"

/* The sequence number from which on a file is among the newest. */
static enum status newest_from(struct journal *j, size_t newest, int64_t *from, struct error *err)
{
    bool row = false;
    enum status s = STATUS_OK;
    *from = 0;
    if (newest > 0) {
        (void)sqlite3_bind_int64(j->newest, 1, (sqlite3_int64)newest - 1);
        s = db_row(j->newest, &row, err);
        if (s == STATUS_OK && row) {
            *from = sqlite3_column_int64(j->newest, 0);
        }
        db_reset(j->newest);
    }
    return s;
}

static void bind_take(sqlite3_stmt *st, int64_t now_ms, size_t limit, const struct take_limits *may,
                      int64_t from)
{
    (void)sqlite3_bind_int64(st, 1, now_ms);
    (void)sqlite3_bind_int64(st, 2, (sqlite3_int64)limit);
    (void)sqlite3_bind_int64(st, 3, may->most_bytes);
    (void)sqlite3_bind_int64(st, 4, from);
}

enum status journal_take(struct journal *j, int64_t now_ms, const struct take_limits *may,
                         size_t limit, struct arena *a, struct file_row **rows, size_t *n,
                         int64_t *next_ms, struct error *err)
{
    int64_t from = 0;
    *n = 0;
    *next_ms = 0;
    *rows = arena_array(a, limit, sizeof **rows);
    if (*rows == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = newest_from(j, may->newest, &from, err);
    if (s != STATUS_OK) {
        return s;
    }
    bind_take(j->small, now_ms, limit - limit / 4, may, from);
    s = journal_rows(j->small, limit - limit / 4, a, *rows, n, err);
    size_t first = *n;
    if (s == STATUS_OK && first == limit - limit / 4) {
        bind_take(j->oldest, now_ms, limit / 4, may, from);
        s = journal_rows(j->oldest, limit, a, *rows, n, err);
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

enum status journal_done(struct journal *j, int64_t id, uint64_t sequence,
                         const struct job_result *r, struct error *err)
{
    sqlite3_stmt *st = j->done;
    journal_bind_job(st, id, sequence);
    (void)sqlite3_bind_blob(st, 3, r->hash, SHA256_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 4, r->format, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 5, r->title, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 6, r->pages);
    (void)sqlite3_bind_int64(st, 7, r->chunks);
    (void)sqlite3_bind_int64(st, 8, clock_wall_ms());
    (void)sqlite3_bind_text(st, 9, r->author, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 10, r->language, -1, SQLITE_STATIC);
    if (r->dated) {
        (void)sqlite3_bind_int64(st, 11, r->own_ms);
    } else {
        (void)sqlite3_bind_null(st, 11);
    }
    if (r->note != NULL) {
        (void)sqlite3_bind_text(st, 12, r->note, -1, SQLITE_STATIC);
    }
    (void)sqlite3_bind_text(st, 13, r->cut, -1, SQLITE_STATIC);
    return db_run(st, err);
}

/* ---- cutting anew ---- */

enum status journal_cut_set(struct journal *j, const char *collection, const char *cut,
                            struct error *err)
{
    (void)sqlite3_bind_text(j->cut_set, 1, collection == NULL ? "" : collection, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(j->cut_set, 2, cut, -1, SQLITE_STATIC);
    return db_run(j->cut_set, err);
}

enum status journal_cut_count(struct journal *j, uint64_t *out, struct error *err)
{
    bool row = false;
    enum status s = db_row(j->cut_count, &row, err);
    *out = s == STATUS_OK && row ? (uint64_t)sqlite3_column_int64(j->cut_count, 0) : 0;
    db_reset(j->cut_count);
    return s;
}

enum status journal_cut_page(struct journal *j, int64_t after, size_t limit, struct arena *a,
                             struct file_row **rows, size_t *n, struct error *err)
{
    *n = 0;
    *rows = arena_array(a, limit, sizeof **rows);
    if (*rows == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)sqlite3_bind_int64(j->cut_page, 1, after);
    (void)sqlite3_bind_int64(j->cut_page, 2, (sqlite3_int64)limit);
    enum status s = journal_rows(j->cut_page, limit, a, *rows, n, err);
    for (size_t i = 0; i < *n; i++) {
        (*rows)[i].op = FILE_OP_RECUT;
    }
    return s;
}

enum status journal_cut_done(struct journal *j, int64_t id, uint64_t sequence, const char *cut,
                             uint32_t chunks, struct error *err)
{
    journal_bind_job(j->cut_done, id, sequence);
    (void)sqlite3_bind_text(j->cut_done, 3, cut, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(j->cut_done, 4, chunks);
    return db_run(j->cut_done, err);
}

enum status journal_moved_done(struct journal *j, int64_t id, uint64_t sequence, struct error *err)
{
    journal_bind_job(j->moved, id, sequence);
    (void)sqlite3_bind_int64(j->moved, 3, clock_wall_ms());
    return db_run(j->moved, err);
}

enum status journal_moved_put(struct journal *j, int64_t id, uint64_t sequence, struct error *err)
{
    uint64_t next = 0;
    enum status s = journal_next_sequence(j, &next, err);
    if (s == STATUS_OK) {
        journal_bind_job(j->moved_put, id, sequence);
        (void)sqlite3_bind_int64(j->moved_put, 3, (sqlite3_int64)next);
        s = db_run(j->moved_put, err);
    }
    return s;
}

enum status journal_removed(struct journal *j, int64_t id, uint64_t sequence, bool excluded,
                            struct error *err)
{
    sqlite3_stmt *st = excluded ? j->excluded : j->removed;
    journal_bind_job(st, id, sequence);
    if (excluded) {
        (void)sqlite3_bind_int64(st, 3, clock_wall_ms());
    }
    enum status s = db_run(st, err);
    if (s ==
        STATUS_OK) { /* a row that has changed meanwhile stays, and is no longer in the store */
        journal_bind_job(j->unstored, id, sequence);
        s = db_run(j->unstored, err);
    }
    return s;
}

enum status journal_failed(struct journal *j, int64_t id, uint64_t sequence, const char *why,
                           struct error *err)
{
    journal_bind_job(j->failed, id, sequence);
    (void)sqlite3_bind_text(j->failed, 3, why, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(j->failed, 4, clock_wall_ms());
    enum status s = db_run(j->failed, err);
    bool settled = s == STATUS_OK && sqlite3_changes64(j->db) > 0;
    if (s == STATUS_OK) { /* its older version has left the store, so a move would find nothing */
        journal_bind_job(j->unstored, id, sequence);
        s = db_run(j->unstored, err);
    }
    if (settled && s == STATUS_OK) { /* nothing can be taken out of it any more */
        s = journal_members_gone(j, id, false, err);
    }
    return s;
}

enum status journal_retry(struct journal *j, int64_t id, uint64_t sequence, const char *why,
                          int64_t at_ms, bool counted, struct error *err)
{
    journal_bind_job(j->retry, id, sequence);
    (void)sqlite3_bind_text(j->retry, 3, why, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(j->retry, 4, at_ms);
    (void)sqlite3_bind_int(j->retry, 5, counted ? 1 : 0);
    (void)sqlite3_bind_int64(j->retry, 6, clock_wall_ms());
    return db_run(j->retry, err);
}

enum status journal_requeue(struct journal *j, int64_t id, struct error *err)
{
    uint64_t sequence = 0;
    enum status s = journal_next_sequence(j, &sequence, err);
    if (s == STATUS_OK) {
        journal_bind_job(j->requeue, id, sequence);
        (void)sqlite3_bind_int64(j->requeue, 3, clock_wall_ms());
        s = db_run(j->requeue, err);
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

enum status journal_note_set(struct journal *j, const char *name, const char *value,
                             struct error *err)
{
    (void)sqlite3_bind_text(j->note_set, 1, name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(j->note_set, 2, value, -1, SQLITE_STATIC);
    return db_run(j->note_set, err);
}

enum status journal_note_get(struct journal *j, const char *name, char *out, size_t cap,
                             struct error *err)
{
    bool row = false;
    (void)sqlite3_bind_text(j->note_get, 1, name, -1, SQLITE_STATIC);
    enum status s = db_row(j->note_get, &row, err);
    struct str value = s == STATUS_OK && row ? db_column(j->note_get, 0) : (struct str){0};
    out[0] = '\0';
    if (value.len >= cap) {
        s = error_set(err, STATUS_TOO_LARGE, "the note %s is longer than that", name);
    } else if (value.len > 0) {
        memcpy(out, value.ptr, value.len);
        out[value.len] = '\0';
    }
    db_reset(j->note_get);
    return s;
}

enum status journal_has_access(struct journal *j, bool *out, struct error *err)
{
    bool row = false;
    enum status s = db_row(j->has_access, &row, err);
    *out = s == STATUS_OK && row && sqlite3_column_int(j->has_access, 0) != 0;
    db_reset(j->has_access);
    return s;
}

/* A document that is ready moves; one on its way gets a new number, so that a job that has already
 * asked the rules as they were does it again, and where the store has an older version of it that
 * one moves first: the reading may be paused; one that failed is in no store: only what is known of
 * it changes. */
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
    enum status s = journal_next_sequence(j, &sequence, err);
    if (s == STATUS_OK) {
        journal_bind_job(j->relocate, row->id, sequence);
        (void)sqlite3_bind_int64(j->relocate, 3, clock_wall_ms());
        (void)sqlite3_bind_text(j->relocate, 4, access, -1, SQLITE_STATIC);
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
        s = journal_rows(j->judged, limit, &a, rows, &n, err);
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
    struct file_stamp none = {0};
    char collection[INGEST_COLLECTION_CAP];
    path_collection(path, collection);
    enum status s = journal_row_at(j, path, a, &r, &taken, err);
    if (s == STATUS_OK) {
        s = journal_insert_row(j, document, taken ? (struct str){.ptr = "", .len = 0} : path,
                               collection, &none, err);
    }
    if (s == STATUS_OK && taken) {
        r = (struct file_row){.id = sqlite3_last_insert_rowid(j->db),
                              .path = {.ptr = "", .len = 0},
                              .op = FILE_OP_REMOVE,
                              .state = FILE_QUEUED};
        s = journal_change_row(j, &r, err);
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
        s = journal_one_row(j->by_document, &a, &r, &found, err);
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
