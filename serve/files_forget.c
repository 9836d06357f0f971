/* What an erasure takes of files that were uploaded. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/db.h"
#include "base/file.h"
#include "base/text/text.h"
#include "serve/answers.h"
#include "serve/files.h"
#include "serve/uploads.h"

#define TEXT_MAX ((size_t)64 << 20)

static void unlink_in(const char *folder, const char *id)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, id);
    if (n > 0 && (size_t)n < sizeof path) {
        (void)unlink(path);
    }
}

/* Of each document: the files that became it, whose bytes are its own, and others of that content.
 */
static enum status forget_documents(sqlite3 *db, const char *const *documents, size_t n,
                                    const char *folder, struct error *err)
{
    static const char of_document[] =
        "SELECT id FROM files WHERE hash IN (SELECT f.hash FROM files f JOIN attached a"
        " ON a.file = f.id WHERE a.document = ?1)";
    sqlite3_stmt *find = NULL, *drop = NULL, *rows = NULL;
    enum status s = db_prepare(db, of_document, &find, err);
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "DELETE FROM files WHERE hash IN (SELECT f.hash FROM files f JOIN attached"
                       " a ON a.file = f.id WHERE a.document = ?1)",
                       &drop, err);
    }
    if (s == STATUS_OK) {
        s = db_prepare(db, "DELETE FROM attached WHERE document = ?1", &rows, err);
    }
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        bool row = false;
        (void)sqlite3_bind_text(find, 1, documents[i], -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(drop, 1, documents[i], -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(rows, 1, documents[i], -1, SQLITE_STATIC);
        while (folder != NULL && (s = db_row(find, &row, err)) == STATUS_OK && row) {
            unlink_in(folder, db_column(find, 0).ptr);
        }
        db_reset(find);
        s = s == STATUS_OK ? db_run(drop, err) : s;
        s = s == STATUS_OK ? db_run(rows, err) : s;
    }
    (void)sqlite3_finalize(find);
    (void)sqlite3_finalize(drop);
    (void)sqlite3_finalize(rows);
    return s;
}

/* Plain text that names nobody may stay; of everything else that cannot be told. */
static bool may_stay(const char *folder, const char *id, struct subject_set *subjects)
{
    char path[PATH_MAX];
    struct error err;
    struct buf text;
    int n = snprintf(path, sizeof path, "%s/%s", folder, id);
    buf_init(&text, TEXT_MAX);
    bool stays = n > 0 && (size_t)n < sizeof path && file_read(path, &text, &err) == STATUS_OK &&
                 text_utf8_valid(buf_view(&text)) && !subject_in(subjects, buf_view(&text));
    buf_deinit(&text);
    return stays;
}

static enum status forget_files(sqlite3 *db, struct subject_set *subjects, const char *folder,
                                struct error *err)
{
    sqlite3_stmt *st = NULL, *drop = NULL;
    bool row = false;
    enum status s = db_prepare(db, "SELECT id, name, user, purpose FROM files", &st, err);
    if (s == STATUS_OK) {
        s = db_prepare(db, "DELETE FROM files WHERE id = ?1", &drop, err);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        bool named = subject_in(subjects, db_column(st, 1)) ||
                     subject_in(subjects, db_column(st, 2)) ||
                     subject_in(subjects, db_column(st, 3));
        struct str id = db_column(st, 0);
        if (named || (folder != NULL && !may_stay(folder, id.ptr, subjects))) {
            if (folder != NULL) {
                unlink_in(folder, id.ptr);
            }
            (void)sqlite3_bind_text(drop, 1, id.ptr, -1, SQLITE_TRANSIENT);
            s = db_run(drop, err);
        }
    }
    (void)sqlite3_finalize(st);
    (void)sqlite3_finalize(drop);
    return s;
}

/* Names, descriptions and attributes that people wrote. The collection's folder is a matter of the
 * documents in it. */
static enum status forget_words(sqlite3 *db, struct subject_set *subjects, const char *select,
                                const char *change, struct error *err)
{
    sqlite3_stmt *st = NULL, *to = NULL;
    bool row = false;
    enum status s = db_prepare(db, select, &st, err);
    if (s == STATUS_OK) {
        s = db_prepare(db, change, &to, err);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        bool named = false; /* attributes and metadata are JSON */
        s = answers_named_in(subjects, db_column(st, 2), &named, err);
        if (s == STATUS_OK && named) {
            (void)sqlite3_bind_text(to, 1, db_column(st, 0).ptr, -1, SQLITE_TRANSIENT);
            (void)sqlite3_bind_text(to, 2, db_column(st, 1).ptr, -1, SQLITE_TRANSIENT);
            s = db_run(to, err);
        }
    }
    (void)sqlite3_finalize(st);
    (void)sqlite3_finalize(to);
    return s;
}

enum status files_forget(sqlite3 *db, const char *const *documents, size_t n,
                         struct subject_set *subjects, const char *folder, struct error *err)
{
    enum status s = forget_documents(db, documents, n, folder, err);
    s = s == STATUS_OK ? uploads_forget(db, folder, err) : s;
    if (s == STATUS_OK && subjects != NULL) {
        s = forget_files(db, subjects, folder, err);
    }
    if (s == STATUS_OK && subjects != NULL) {
        s = forget_words(db, subjects,
                         "SELECT collection, file, attributes || char(10) || error FROM attached",
                         "UPDATE attached SET attributes = '{}', error = ''"
                         " WHERE collection = ?1 AND file = ?2",
                         err);
    }
    if (s == STATUS_OK && subjects != NULL) {
        s = forget_words(
            db, subjects,
            "SELECT collection, '', collection || char(10) || name || char(10) || metadata"
            " FROM stores",
            "DELETE FROM stores WHERE collection = ?1 AND ?2 = ''", err);
    }
    return s;
}
