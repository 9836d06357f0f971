/* What people ask of the journal. */
#include "ingest/journal_internal.h"

enum status journal_get(struct journal *j, const char *document, struct arena *a,
                        struct file_row *out, struct error *err)
{
    bool found = false;
    (void)sqlite3_bind_text(j->by_document, 1, document, -1, SQLITE_STATIC);
    enum status s = journal_one_row(j->by_document, a, out, &found, err);
    if (s == STATUS_OK && (!found || journal_going(out) || out->state == FILE_EXCLUDED)) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no document with this id");
    }
    return s;
}

enum status journal_get_path(struct journal *j, struct str path, struct arena *a,
                             struct file_row *out, struct error *err)
{
    bool found = false;
    enum status s = journal_row_at(j, path, a, out, &found, err);
    if (s == STATUS_OK && !found) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no document with this path");
    }
    return s;
}

enum status journal_delete(struct journal *j, const char *document, bool exclude, struct arena *a,
                           struct file_row *out, struct error *err)
{
    enum status s = journal_get(j, document, a, out, err);
    if (s == STATUS_OK && out->parent != 0) {
        char real[200];
        path_show(file_row_real(out), real, sizeof real);
        s = error_set(err, STATUS_UNSUPPORTED,
                      "it lies in %s and can be deleted only with that file, or by taking it out "
                      "of it",
                      real);
    }
    if (s == STATUS_OK) {
        s = journal_members_gone(j, out->id, false, err);
    }
    if (s == STATUS_OK) {
        out->op = exclude ? FILE_OP_EXCLUDE : FILE_OP_TRASH;
        out->state = FILE_QUEUED;
        s = journal_change_row(j, out, err);
    }
    return s;
}

static enum status list(sqlite3_stmt *st, const char *after, size_t limit, struct arena *a,
                        struct file_row **rows, size_t *n, struct error *err)
{
    *n = 0;
    *rows = arena_array(a, limit, sizeof **rows);
    if (*rows == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (void)sqlite3_bind_text(st, 1, after, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 2, (sqlite3_int64)limit);
    return journal_rows(st, limit, a, *rows, n, err);
}

enum status journal_list(struct journal *j, const char *after, size_t limit, struct arena *a,
                         struct file_row **rows, size_t *n, struct error *err)
{
    return list(j->list, after, limit, a, rows, n, err);
}

enum status journal_list_unready(struct journal *j, const char *after, size_t limit,
                                 struct arena *a, struct file_row **rows, size_t *n,
                                 struct error *err)
{
    return list(j->list_unready, after, limit, a, rows, n, err);
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
    enum status s = journal_row_at(j, path, a, &at, &found, err);
    if (s == STATUS_OK) {
        s = journal_rows_below(j, path, limit, a, &all, &below, err);
    }
    if (s == STATUS_OK) {
        *rows = arena_array(a, below + 1, sizeof **rows);
        s = *rows == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
    }
    if (s == STATUS_OK && found && !journal_going(&at) && at.state != FILE_EXCLUDED) {
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
            out->waiting_bytes = (uint64_t)sqlite3_column_double(j->count, 2);
            break;
        case FILE_READY:
            out->ready = n;
            out->bytes = (uint64_t)sqlite3_column_double(j->count, 2);
            out->pages = (uint64_t)sqlite3_column_double(j->count, 3);
            out->chunks = (uint64_t)sqlite3_column_double(j->count, 4);
            break;
        case FILE_FAILED:
            out->failed = n;
            out->failed_bytes = (uint64_t)sqlite3_column_double(j->count, 2);
            break;
        case FILE_EXCLUDED:
            out->excluded = n;
            break;
        }
    }
    return s;
}

/* ---- room ---- */

enum status journal_without_room(struct journal *j, uint64_t *n, uint64_t *least, struct error *err)
{
    bool row = false;
    enum status s = db_row(j->without_room, &row, err);
    if (s == STATUS_OK && row) {
        *n = (uint64_t)sqlite3_column_int64(j->without_room, 0);
        *least = (uint64_t)sqlite3_column_int64(j->without_room, 1);
    }
    db_reset(j->without_room);
    return s;
}

enum status journal_has_room(struct journal *j, uint64_t room, uint64_t *n, struct error *err)
{
    (void)sqlite3_bind_int64(j->has_room, 1, room > INT64_MAX ? INT64_MAX : (sqlite3_int64)room);
    enum status s = db_run(j->has_room, err);
    if (s == STATUS_OK) {
        *n = (uint64_t)sqlite3_changes64(j->db);
        s = db_exec(j->db,
                    "UPDATE counter SET value=value+(SELECT coalesce(max(id),0) FROM files)"
                    " WHERE name='sequence'",
                    err);
    }
    return s;
}
