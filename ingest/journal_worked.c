/* What reading documents cost, for serve, which enters it into its books: one row for each attempt
 * at a document, in the transaction that writes down how it ended, kept until serve says that it
 * has it. Whoever uploaded the document (or, of a member, its container) is named with it. */
#include "base/clock.h"
#include "base/db.h"
#include "ingest/journal_internal.h"

#define DAY_MS INT64_C(86400000)

static void bind(sqlite3_stmt *st, int at, const char *z)
{
    (void)sqlite3_bind_text(st, at, z == NULL ? "" : z, -1, SQLITE_STATIC);
}

enum status journal_owned(struct journal *j, int64_t id, const struct journal_owner *owner,
                          struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(j->db,
                               "INSERT OR REPLACE INTO owners(file,user,key,team)"
                               " VALUES(?1,?2,?3,?4)",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, id);
        bind(st, 2, owner->user);
        bind(st, 3, owner->key);
        bind(st, 4, owner->team);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status enter(struct journal *j, const struct file_row *row, bool ready, int64_t cpu_us,
                         const struct str owner[3], struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(j->db,
                               "INSERT INTO worked(day,collection,ready,cpu_us,user,key,team)"
                               " VALUES(?1,?2,?3,?4,?5,?6,?7)",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, clock_wall_ms() / DAY_MS);
        bind(st, 2, row->collection);
        (void)sqlite3_bind_int(st, 3, ready);
        (void)sqlite3_bind_int64(st, 4, cpu_us);
        for (int i = 0; i < 3; i++) {
            (void)sqlite3_bind_text(st, 5 + i, owner[i].len == 0 ? "" : owner[i].ptr,
                                    (int)owner[i].len, SQLITE_STATIC);
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status journal_worked(struct journal *j, const struct file_row *row, bool ready,
                           int64_t cpu_us, struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct str owner[3] = {{0}};
    bool found = false;
    enum status s = db_prepare(j->db,
                               "WITH RECURSIVE up(id,parent,height) AS (VALUES(?1,?2,0) UNION ALL"
                               " SELECT f.id,f.parent,height+1 FROM up JOIN files f"
                               " ON f.id=up.parent WHERE height<64)"
                               " SELECT user,key,team FROM up JOIN owners ON file=id"
                               " ORDER BY height LIMIT 1",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, row->id);
        (void)sqlite3_bind_int64(st, 2, row->parent);
        s = db_row(st, &found, err);
    }
    for (int i = 0; s == STATUS_OK && found && i < 3; i++) {
        owner[i] = db_column(st, i);
    }
    s = s == STATUS_OK ? enter(j, row, ready, cpu_us, owner, err) : s;
    (void)sqlite3_finalize(st);
    return s;
}

/* Serve's books may be newer than a journal that came out of a backup: then what is here is all
 * new to it. */
static enum status forget_told(struct journal *j, uint64_t after, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(j->db,
                               "DELETE FROM worked WHERE seq<=?1 AND ?1<=(SELECT seq FROM"
                               " sqlite_sequence WHERE name='worked')",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, (sqlite3_int64)after);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status take(struct arena *a, sqlite3_stmt *st, struct journal_work *w,
                        struct error *err)
{
    const char **texts[] = {&w->collection, &w->owner.user, &w->owner.key, &w->owner.team};
    w->seq = (uint64_t)sqlite3_column_int64(st, 0);
    w->day = sqlite3_column_int64(st, 1);
    w->ready = sqlite3_column_int(st, 2) != 0;
    w->cpu_us = sqlite3_column_int64(st, 3);
    for (int i = 0; i < 4; i++) {
        struct str s = db_column(st, 4 + i);
        *texts[i] = arena_strndup(a, s.len == 0 ? "" : s.ptr, s.len);
        if (*texts[i] == NULL) {
            return error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    return STATUS_OK;
}

enum status journal_worked_page(struct journal *j, uint64_t after, size_t limit, struct arena *a,
                                struct journal_work **out, size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = true;
    *n = 0;
    *out = arena_array(a, limit + 1, sizeof **out);
    if (*out == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    enum status s = forget_told(j, after, err);
    if (s == STATUS_OK) {
        s = db_prepare(j->db,
                       "SELECT seq,day,ready,cpu_us,collection,user,key,team FROM worked"
                       " ORDER BY seq LIMIT ?1",
                       &st, err);
    }
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, (sqlite3_int64)limit);
    }
    while (s == STATUS_OK && *n < limit && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        s = take(a, st, &(*out)[(*n)++], err);
    }
    (void)sqlite3_finalize(st);
    return s;
}
