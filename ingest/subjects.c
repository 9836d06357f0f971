/* The journal's part of an erasure by data subject: its marks, and what was told to stay. */
#include <string.h>

#include "base/db.h"
#include "ingest/erasures.h"

#define KEPT_MAX 10000U

static enum status for_erasure(struct journal *j, const char *sql, const char *id,
                               sqlite3_stmt **out, struct error *err)
{
    *out = NULL;
    enum status s = db_prepare(journal_db(j), sql, out, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(*out, 1, id, -1, SQLITE_STATIC);
    }
    return s;
}

static void bind_bytes(sqlite3_stmt *st, int i, const void *p, size_t len)
{
    (void)sqlite3_bind_blob64(st, i, len == 0 ? "" : p, len, SQLITE_STATIC);
}

enum status erasure_subject_begin(struct journal *j, const char *id,
                                  const struct erasure_subject *subject, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s =
        for_erasure(j, "INSERT OR IGNORE INTO erasure_subjects VALUES(?1,?2)", id, &st, err);
    for (size_t i = 0; i < subject->n_marks && s == STATUS_OK; i++) {
        uint8_t packed[SUBJECT_MARK_BYTES];
        subject_mark_pack(&subject->marks[i], packed);
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        bind_bytes(st, 2, packed, sizeof packed);
        s = db_run(st, err);
        db_reset(st); /* and what was bound */
    }
    (void)sqlite3_finalize(st);
    st = NULL;
    if (s == STATUS_OK) {
        s = for_erasure(j, "INSERT OR IGNORE INTO erasure_kept VALUES(?1,?2,?3)", id, &st, err);
    }
    for (size_t i = 0; i < subject->n_kept && s == STATUS_OK; i++) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, subject->kept[i].document, -1, SQLITE_STATIC);
        bind_bytes(st, 3, subject->kept[i].path.ptr, subject->kept[i].path.len);
        s = db_run(st, err);
        db_reset(st); /* and what was bound */
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status get_marks(struct journal *j, const char *id, struct arena *a,
                             struct erasure_subject *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    out->marks = arena_array(a, SUBJECTS_MAX, sizeof *out->marks);
    enum status s =
        out->marks == NULL
            ? error_set(err, STATUS_NO_MEMORY, "out of memory")
            : for_erasure(j, "SELECT mark FROM erasure_subjects WHERE erasure=?1", id, &st, err);
    while (s == STATUS_OK && out->n_marks < SUBJECTS_MAX &&
           (s = db_row(st, &row, err)) == STATUS_OK && row) {
        struct str mark = db_column(st, 0);
        if (subject_mark_unpack((const uint8_t *)mark.ptr, mark.len, &out->marks[out->n_marks])) {
            out->n_marks++;
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status count_kept(struct journal *j, const char *id, size_t *n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        for_erasure(j, "SELECT count(*) FROM erasure_kept WHERE erasure=?1", id, &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    *n = s == STATUS_OK && row ? (size_t)sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

enum status erasure_subject_get(struct journal *j, const char *id, struct arena *a,
                                struct erasure_subject *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    size_t cap = 0;
    *out = (struct erasure_subject){0};
    enum status s = get_marks(j, id, a, out, err);
    if (s == STATUS_OK) {
        s = count_kept(j, id, &cap, err);
    }
    cap = cap < KEPT_MAX ? cap : KEPT_MAX;
    if (s == STATUS_OK) {
        out->kept = arena_array(a, cap + 1, sizeof *out->kept);
        s = out->kept == NULL
                ? error_set(err, STATUS_NO_MEMORY, "out of memory")
                : for_erasure(j,
                              "SELECT document,path FROM erasure_kept WHERE erasure=?1"
                              " ORDER BY path,document",
                              id, &st, err);
    }
    while (s == STATUS_OK && out->n_kept < cap && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        struct erasure_kept *k = &out->kept[out->n_kept++];
        struct str document = db_column(st, 0);
        struct str path = db_column(st, 1);
        memset(k, 0, sizeof *k);
        memcpy(k->document, document.ptr, document.len < ID_CAP ? document.len : ID_CAP - 1);
        k->path = (struct str){.ptr = arena_strndup(a, path.ptr, path.len), .len = path.len};
        if (k->path.ptr == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status mask_items(struct journal *j, const char *id, struct subject_set *set,
                              const struct erasure_item *items, size_t n, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = for_erasure(
        j, "UPDATE erasure_items SET path=?3 WHERE erasure=?1 AND document=?2", id, &st, err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        char masked[INGEST_PATH_MAX + 64];
        if (subject_in(set, items[i].path)) {
            size_t len = subject_masked(set, items[i].path, masked, sizeof masked);
            (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
            (void)sqlite3_bind_text(st, 2, items[i].document, -1, SQLITE_STATIC);
            bind_bytes(st, 3, masked, len);
            s = db_run(st, err);
            db_reset(st);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* What reading cost waits for serve's books under the names of collections. */
static enum status mask_worked(struct journal *j, struct subject_set *set, struct error *err)
{
    sqlite3_stmt *st = NULL;
    sqlite3_stmt *change = NULL;
    bool row = false;
    enum status s = db_prepare(journal_db(j), "SELECT DISTINCT collection FROM worked", &st, err);
    if (s == STATUS_OK) {
        s = db_prepare(journal_db(j), "UPDATE worked SET collection=?2 WHERE collection=?1",
                       &change, err);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        struct str name = db_column(st, 0);
        char masked[INGEST_PATH_MAX + 64];
        if (subject_in(set, name)) {
            size_t len = subject_masked(set, name, masked, sizeof masked);
            (void)sqlite3_bind_text(change, 1, name.ptr, (int)name.len, SQLITE_TRANSIENT);
            (void)sqlite3_bind_text(change, 2, masked, (int)len, SQLITE_TRANSIENT);
            s = db_run(change, err);
            db_reset(change);
        }
    }
    (void)sqlite3_finalize(st);
    (void)sqlite3_finalize(change);
    return s;
}

enum status erasure_subject_mask(struct journal *j, const char *id, struct subject_set *set,
                                 const struct erasure_item *items, size_t n, struct error *err)
{
    enum status s = mask_items(j, id, set, items, n, err);
    return s == STATUS_OK ? mask_worked(j, set, err) : s;
}
