/* First the record, then the rows: a crash between the two leaves rows that the chain calls erased,
 * which the next erasure takes; never rows that are gone without a record. */
#include "serve/audit/erase.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LIST_MAX 6000
#define ROWS_MAX ((size_t)64 << 20) /* bytes of row numbers at once */

static int by_number(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void add_row(struct buf *rows, int64_t seq)
{
    buf_append(rows, &seq, sizeof seq);
}

/* Sorted, each once. */
static size_t distinct(struct buf *rows)
{
    int64_t *list = (int64_t *)(void *)rows->ptr;
    size_t n = rows->len / sizeof *list, kept = 0;
    if (n > 0) {
        qsort(list, n, sizeof *list, by_number);
    }
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || list[i] != list[kept - 1]) {
            list[kept++] = list[i];
        }
    }
    rows->len = kept * sizeof *list;
    return kept;
}

static enum status add_erase(struct chain *c, const struct audit_policy *p, const char *list,
                             const char *why, struct error *err)
{
    struct buf f;
    buf_init(&f, AUDIT_LINE_MAX);
    audit_field_z(&f, "why", why);
    audit_field_z(&f, "rows", list);
    struct audit_matter m = {.type = "erase", .fields = buf_view(&f)};
    enum status s = buf_status(&f) == STATUS_OK ? chain_add(c, p, &m, clock_wall_ms(), err)
                                                : error_set(err, STATUS_NO_MEMORY, "out of memory");
    buf_deinit(&f);
    return s;
}

static enum status write_records(struct chain *c, const struct audit_policy *p,
                                 const struct buf *rows, const char *why, struct error *err)
{
    const int64_t *list = (const int64_t *)(const void *)rows->ptr;
    size_t n = rows->len / sizeof *list;
    struct buf b;
    enum status s = STATUS_OK;
    buf_init(&b, LIST_MAX + 64);
    for (size_t i = 0; i < n && s == STATUS_OK;) {
        size_t j = i;
        while (j + 1 < n && list[j + 1] == list[j] + 1) {
            j++;
        }
        buf_printf(&b, "%s%" PRId64, b.len == 0 ? "" : ",", list[i]);
        if (j > i) {
            buf_printf(&b, "-%" PRId64, list[j]);
        }
        i = j + 1;
        if (b.len > LIST_MAX || i == n) {
            s = buf_status(&b) == STATUS_OK ? add_erase(c, p, b.ptr, why, err)
                                            : error_set(err, STATUS_NO_MEMORY, "out of memory");
            buf_reset(&b);
        }
    }
    buf_deinit(&b);
    return s == STATUS_OK ? chain_commit(c, err) : s;
}

static enum status delete_rows(sqlite3 *db, const struct buf *rows, struct error *err)
{
    const int64_t *list = (const int64_t *)(const void *)rows->ptr;
    sqlite3_stmt *st[2] = {NULL, NULL};
    enum status s = db_prepare(db, "DELETE FROM payload WHERE seq=?1", &st[0], err);
    if (s == STATUS_OK) {
        s = db_prepare(db, "DELETE FROM documents WHERE seq=?1", &st[1], err);
    }
    for (size_t i = 0; i < rows->len / sizeof *list && s == STATUS_OK; i++) {
        for (int k = 0; k < 2 && s == STATUS_OK; k++) {
            (void)sqlite3_bind_int64(st[k], 1, list[i]);
            s = db_run(st[k], err);
        }
    }
    (void)sqlite3_finalize(st[0]);
    (void)sqlite3_finalize(st[1]);
    return s;
}

static enum status find_documents(sqlite3 *db, const struct forgetting *f, struct buf *rows,
                                  struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, "SELECT seq FROM documents WHERE document=?1", &st, err);
    for (size_t i = 0; i < f->n && s == STATUS_OK; i++) {
        (void)sqlite3_bind_text(st, 1, f->documents[i], -1, SQLITE_STATIC);
        while ((s = db_row(st, &row, err)) == STATUS_OK && row) {
            add_row(rows, sqlite3_column_int64(st, 0));
        }
        db_reset(st);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status find_subjects(sqlite3 *db, const struct forgetting *f, struct buf *rows,
                                 int64_t *unreadable, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, "SELECT seq, sealed, text FROM payload", &st, err);
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        bool named = false;
        if (sqlite3_column_int(st, 1) != 0) {
            ++*unreadable;
            continue;
        }
        s = answers_named_in(f->subjects, db_column(st, 2), &named, err);
        if (named) {
            add_row(rows, sqlite3_column_int64(st, 0));
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status erase(struct chain *c, const struct audit_policy *p, const struct forgetting *f,
                         struct buf *rows, const char *why, struct error *err)
{
    enum status s = write_records(c, p, rows, why, err);
    if (s == STATUS_OK) {
        s = db_exec(c->payload, "BEGIN IMMEDIATE", err);
    }
    if (s == STATUS_OK && f != NULL) {
        s = answers_remember_erased(c->payload, f, err);
    }
    if (s == STATUS_OK) {
        s = delete_rows(c->payload, rows, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(c->payload, "COMMIT", err);
    }
    if (s != STATUS_OK && c->payload != NULL) {
        (void)sqlite3_exec(c->payload, "ROLLBACK", NULL, NULL, NULL);
    }
    return s;
}

enum status audit_forget_now(struct chain *c, const struct audit_policy *p, struct forgetting *f,
                             int64_t *unreadable, struct error *err)
{
    struct buf rows;
    buf_init(&rows, ROWS_MAX);
    f->clean = f->dry_run;
    *unreadable = 0;
    enum status s = find_documents(c->payload, f, &rows, err);
    if (s == STATUS_OK && f->subjects != NULL) {
        s = find_subjects(c->payload, f, &rows, unreadable, err);
    }
    if (s == STATUS_OK && buf_status(&rows) != STATUS_OK) {
        s = error_set(err, buf_status(&rows), "more texts are to be erased than at once");
    }
    f->answers = (uint32_t)distinct(&rows);
    if (s == STATUS_OK && !f->dry_run) {
        s = erase(c, p, f, &rows, "erasure", err);
        if (s == STATUS_OK) {
            s = db_scrub(c->payload, f->whole, &f->clean, err);
        }
    }
    buf_deinit(&rows);
    return s;
}

enum status audit_forget_linked(struct chain *c, const struct audit_policy *p, const char *name,
                                const char *why, struct error *err)
{
    const char *names[1] = {name};
    struct forgetting f = {.documents = names, .n = 1};
    struct buf rows;
    bool clean = true;
    buf_init(&rows, ROWS_MAX);
    enum status s = find_documents(c->payload, &f, &rows, err);
    if (s == STATUS_OK && buf_status(&rows) != STATUS_OK) {
        s = error_set(err, buf_status(&rows), "more texts are to be erased than at once");
    }
    if (s == STATUS_OK && distinct(&rows) > 0) {
        s = erase(c, p, NULL, &rows, why, err);
        s = s == STATUS_OK ? db_scrub(c->payload, false, &clean, err) : s;
    }
    if (s == STATUS_OK && !clean) {
        s = error_set(err, STATUS_BUSY,
                      "the audit's texts of them are gone, but a reader still holds a copy in the "
                      "write-ahead log: ask again");
    }
    buf_deinit(&rows);
    return s;
}

bool audit_expire_is_due(const struct chain *c, const struct audit_policy *p)
{
    return p->keep_ms > 0 &&
           (c->expired_ms == 0 || clock_monotonic_ms() - c->expired_ms >= AUDIT_EXPIRE_EVERY_MS);
}

enum status audit_expire_due(struct chain *c, const struct audit_policy *p, struct error *err)
{
    int64_t now = clock_monotonic_ms();
    sqlite3_stmt *st = NULL;
    struct buf rows;
    bool row = false;
    if (!audit_expire_is_due(c, p)) {
        return STATUS_OK;
    }
    c->expired_ms = now;
    buf_init(&rows, ROWS_MAX);
    enum status s = db_prepare(
        c->payload, "SELECT seq FROM payload WHERE at_wall_ms < ?1 LIMIT 1000000", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, clock_wall_ms() - p->keep_ms);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        add_row(&rows, sqlite3_column_int64(st, 0));
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK && rows.len > 0) {
        bool clean;
        (void)distinct(&rows);
        s = erase(c, p, NULL, &rows, "retention", err);
        if (s == STATUS_OK) {
            s = db_scrub(c->payload, false, &clean, err);
        }
    }
    buf_deinit(&rows);
    return s;
}

enum status audit_expire_wanted(const struct audit_policy *p, const char *tenant, bool *out,
                                struct error *err)
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    *out = false;
    int n = snprintf(path, sizeof path, "%s/tenants/%s/payload.db", p->home, tenant);
    if (n < 0 || (size_t)n >= sizeof path) {
        return error_set(err, STATUS_TOO_LARGE, "path too long");
    }
    if (p->keep_ms == 0 || access(path, F_OK) != 0) {
        return STATUS_OK;
    }
    enum status s = audit_payload_open(path, DB_READONLY, &db, err);
    s = s == STATUS_OK
            ? db_prepare(db, "SELECT 1 FROM payload WHERE at_wall_ms < ?1 LIMIT 1", &st, err)
            : s;
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, clock_wall_ms() - p->keep_ms);
        s = db_row(st, out, err);
    }
    (void)sqlite3_finalize(st);
    db_close(db);
    return s;
}
