#include "ingest/holds.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/db.h"

static void bind_bytes(sqlite3_stmt *st, int i, struct str s)
{
    (void)sqlite3_bind_blob64(st, i, s.len == 0 ? "" : s.ptr, s.len, SQLITE_STATIC);
}

static enum status count(struct journal *j, int64_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(journal_db(j), "SELECT count(*) FROM holds", &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    *n = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

enum status hold_prepare(struct journal *j, struct hold *h, struct arena *a, struct error *err)
{
    int64_t n = 0;
    struct file_row r = {.path = STR("")};
    enum status s = count(j, &n, err);
    if (s == STATUS_OK && n >= HOLDS_MAX) {
        s = error_set(err, STATUS_TOO_LARGE, "there are %u holds already: remove some", HOLDS_MAX);
    }
    if (s == STATUS_OK && h->kind == HOLD_DOCUMENT) {
        s = journal_get(j, h->target.ptr, a, &r, err);
    }
    h->path = r.path;
    h->created_ms = clock_wall_ms();
    id_new(h->id);
    return s;
}

enum status hold_add(struct journal *j, const struct hold *h, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s =
        db_prepare(journal_db(j), "INSERT INTO holds VALUES(?1,?2,?3,?4,?5,?6,?7)", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, h->id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int(st, 2, (int)h->kind);
        bind_bytes(st, 3, h->target);
        bind_bytes(st, 4, h->path);
        (void)sqlite3_bind_text(st, 5, h->reason, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 6, h->by, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 7, h->created_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status hold_remove(struct journal *j, const char *id, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(journal_db(j), "DELETE FROM holds WHERE id=?1", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK && sqlite3_changes(journal_db(j)) == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no hold with this id");
    }
    return s;
}

enum status hold_list(struct journal *j, struct arena *a, struct hold **out, size_t *n,
                      struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    int64_t cap = 0;
    *n = 0;
    enum status s = count(j, &cap, err);
    if (s == STATUS_OK) {
        *out = arena_array(a, (size_t)cap + 1, sizeof **out);
        s = *out == NULL ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                         : db_prepare(journal_db(j),
                                      "SELECT id,kind,target,path,reason,by,created_ms FROM holds"
                                      " ORDER BY created_ms,id",
                                      &st, err);
    }
    while (s == STATUS_OK && *n < (size_t)cap && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        struct hold *h = &(*out)[*n];
        struct str text[5];
        for (int i = 0; i < 5; i++) {
            struct str v = db_column(st, i < 1 ? 0 : i + 1);
            text[i] = (struct str){.ptr = arena_strndup(a, v.ptr, v.len), .len = v.len};
            if (text[i].ptr == NULL) {
                s = error_set(err, STATUS_NO_MEMORY, "out of memory");
            }
        }
        if (s == STATUS_OK) {
            *h = (struct hold){.kind = (enum hold_kind)sqlite3_column_int(st, 1),
                               .target = text[1],
                               .path = text[2],
                               .reason = text[3].ptr,
                               .by = text[4].ptr,
                               .created_ms = sqlite3_column_int64(st, 6)};
            (void)snprintf(h->id, sizeof h->id, "%s", text[0].ptr);
            (*n)++;
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

static bool at_or_below(struct str path, struct str top)
{
    return top.len > 0 && str_starts(path, top) &&
           (path.len == top.len || path.ptr[top.len] == '/');
}

/* What is held lies in the document at path (an archive): it stays only with that one. */
static bool lies_in(struct str held, struct str path)
{
    return held.len > path.len && at_or_below(held, path);
}

const struct hold *hold_over(const struct hold *list, size_t n, const char *document,
                             struct str path)
{
    char collection[INGEST_COLLECTION_CAP];
    path_collection(path, collection);
    for (size_t i = 0; i < n; i++) {
        const struct hold *h = &list[i];
        bool over = false;
        switch (h->kind) {
        case HOLD_DOCUMENT:
            over = str_eq(h->target, str_from(document)) ||
                   (document[0] == '\0' && h->path.len > 0 && str_eq(h->path, path)) ||
                   lies_in(h->path, path);
            break;
        case HOLD_PATH:
            over = at_or_below(path, h->target) || lies_in(h->target, path);
            break;
        case HOLD_COLLECTION:
            over = str_eq(h->target, str_from(collection));
            break;
        }
        if (over) {
            return h;
        }
    }
    return NULL;
}

const struct hold *hold_named(const struct hold *list, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].id, id) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

enum status hold_refuse(const struct hold *h, struct str path, struct error *err)
{
    char shown[160];
    path_show(path, shown, sizeof shown);
    return error_set(err, STATUS_FORBIDDEN, "%s is under the legal hold %s (%.200s)", shown, h->id,
                     h->reason);
}
