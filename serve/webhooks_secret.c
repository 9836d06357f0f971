/* What webhooks are signed with, sealed in tenants/<id>/serve.db (serve/secrets.h), bound to its
 * endpoint. Blocks. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/db.h"
#include "base/log.h"
#include "serve/secrets.h"
#include "serve/webhooks_store.h"

#define SCRUBS_MAX 40
#define SCRUB_AGAIN_NS 50000000
#define SEALED_BYTES "72" /* in SQL */

_Static_assert(WEBHOOK_SEALED_BYTES == 72, "SEALED_BYTES");
_Static_assert(WEBHOOK_SEALED_BYTES == WEBHOOK_SECRET_BYTES + SECRETS_MORE, "a sealed secret");

enum status webhook_secret_seal(const char *home, const char *id,
                                const uint8_t secret[WEBHOOK_SECRET_BYTES],
                                uint8_t out[WEBHOOK_SEALED_BYTES], struct error *err)
{
    struct secrets key;
    enum status s = secrets_open(home, false, &key, err);
    if (s == STATUS_OK) {
        secrets_seal(&key, str_from(id), secret, WEBHOOK_SECRET_BYTES, out);
        secrets_close(&key);
    }
    return s;
}

bool webhook_secret_unseal(const char *home, const char *id, struct str kept,
                           uint8_t out[WEBHOOK_SECRET_BYTES])
{
    struct secrets key;
    struct error lost;
    if (kept.len == WEBHOOK_SECRET_BYTES) { /* not sealed yet: there was no key */
        memcpy(out, kept.ptr, kept.len);
        return true;
    }
    if (kept.len != WEBHOOK_SEALED_BYTES || secrets_open(home, false, &key, &lost) != STATUS_OK) {
        return false;
    }
    bool good = secrets_unseal(&key, str_from(id), kept, out);
    secrets_close(&key);
    return good;
}

/* ---- those of versions before ---- */

static enum status number(sqlite3 *db, const char *sql, int64_t *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db, sql, &st, err);
    s = s == STATUS_OK ? db_row(st, &row, err) : s;
    *out = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

/* Both secrets of the endpoint that st is at. */
static enum status seal_row(sqlite3_stmt *to, const char *home, sqlite3_stmt *from,
                            struct error *err)
{
    uint8_t sealed[2][WEBHOOK_SEALED_BYTES];
    struct str id = db_column(from, 0);
    enum status s = STATUS_OK;
    (void)sqlite3_bind_text(to, 1, id.ptr, (int)id.len, SQLITE_STATIC);
    for (int i = 0; i < 2 && s == STATUS_OK; i++) {
        struct str plain = db_column(from, 1 + i);
        if (plain.len == WEBHOOK_SECRET_BYTES) {
            s = webhook_secret_seal(home, (const char *)sqlite3_column_text(from, 0),
                                    (const uint8_t *)plain.ptr, sealed[i], err);
            (void)sqlite3_bind_blob(to, 2 + i, sealed[i], WEBHOOK_SEALED_BYTES, SQLITE_STATIC);
        }
    }
    s = s == STATUS_OK ? db_run(to, err) : s;
    db_reset(to); /* and what was bound */
    return s;
}

static enum status seal_rows(sqlite3 *db, const char *home, struct error *err)
{
    sqlite3_stmt *from = NULL;
    sqlite3_stmt *to = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT id, secret, secret_old FROM webhooks WHERE length(secret)=32"
                               " OR length(secret_old)=32",
                               &from, err);
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "UPDATE webhooks SET secret=ifnull(?2,secret),"
                       " secret_old=ifnull(?3,secret_old) WHERE id=?1",
                       &to, err);
    }
    while (s == STATUS_OK && (s = db_row(from, &row, err)) == STATUS_OK && row) {
        s = seal_row(to, home, from, err);
    }
    (void)sqlite3_finalize(from);
    (void)sqlite3_finalize(to);
    /* until the file has been written anew, over a crash too */
    return s == STATUS_OK
               ? db_exec(db, "INSERT OR REPLACE INTO webhook_notes VALUES('scrub',1)", err)
               : s;
}

static enum status scrub(sqlite3 *db, struct error *err)
{
    static const struct timespec again = {.tv_nsec = SCRUB_AGAIN_NS};
    bool clean = false;
    enum status s = STATUS_OK;
    for (unsigned i = 0; s == STATUS_OK && !clean && i < SCRUBS_MAX; i++) {
        s = db_scrub(db, i == 0, &clean, err);
        if (s == STATUS_OK && !clean) {
            (void)nanosleep(&again, NULL);
        }
    }
    return s == STATUS_OK && clean
               ? db_exec(db, "DELETE FROM webhook_notes WHERE name='scrub'", err)
               : s; /* else at the next start */
}

enum status webhooks_seal(sqlite3 *db, const char *home, struct error *err)
{
    int64_t plain = 0, unclean = 0;
    enum status s = number(db,
                           "SELECT count(*) FROM webhooks WHERE length(secret)=32"
                           " OR length(secret_old)=32",
                           &plain, err);
    if (s == STATUS_OK && plain > 0) {
        s = db_exec(db, "BEGIN IMMEDIATE", err);
        if (s == STATUS_OK) {
            s = seal_rows(db, home, err);
            s = s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
            if (s != STATUS_OK) {
                (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
            }
        }
        if (s == STATUS_OK) {
            LOG_INFO("secrets of webhooks were sealed", LOG_INT("webhooks", plain), LOG_END);
        }
    }
    if (s == STATUS_OK) {
        s = number(db, "SELECT count(*) FROM webhook_notes WHERE name='scrub'", &unclean, err);
    }
    return s == STATUS_OK && unclean > 0 ? scrub(db, err) : s;
}

/* ---- may there be a new key? ---- */

static enum status sealed_in(const char *path, bool *out, struct error *err)
{
    sqlite3 *db = NULL;
    int64_t n = 0;
    enum status s = db_open(path, 0, NULL, 0, &db, err);
    if (s == STATUS_OK) {
        s = number(db, "SELECT count(*) FROM sqlite_master WHERE name='webhooks'", &n, err);
    }
    if (s == STATUS_OK && n > 0) {
        s = number(db, "SELECT count(*) FROM webhooks WHERE length(secret)=" SEALED_BYTES, &n, err);
    }
    db_close(db);
    *out = s == STATUS_OK && n > 0;
    return s;
}

enum status webhooks_any_sealed(const char *home, bool *out, struct error *err)
{
    char path[PATH_MAX];
    enum status s = STATUS_OK;
    *out = false;
    int n = snprintf(path, sizeof path, "%s/tenants", home);
    DIR *d = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    for (struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL && s == STATUS_OK && !*out;
         e = readdir(d)) {
        n = snprintf(path, sizeof path, "%s/tenants/%.64s/serve.db", home, e->d_name);
        if (e->d_name[0] != '.' && n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0) {
            s = sealed_in(path, out, err);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return s;
}
