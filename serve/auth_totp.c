/* Secrets of second factors, sealed in system/serve.db (serve/secrets.h). Blocks. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "serve/auth_internal.h"
#include "serve/webhooks_store.h"

_Static_assert(TOTP_SEALED_BYTES == TOTP_SECRET_BYTES + SECRETS_MORE, "a sealed secret");

#define SCRUBS_MAX 40
#define SCRUB_AGAIN_NS 50000000

enum status auth_totp_key(sqlite3 *db, const char *home, struct secrets *out, struct error *err)
{
    int64_t sealed;
    enum status s =
        db_number(db, "SELECT count(*) FROM users WHERE length(totp_secret)=60", &sealed, err);
    bool webhooks = false;
    /* a new key would make those that are there unreadable for good */
    if (s == STATUS_OK && sealed == 0 && !secrets_there(home)) {
        s = webhooks_any_sealed(home, &webhooks, err);
    }
    return s == STATUS_OK ? secrets_open(home, sealed == 0 && !webhooks, out, err) : s;
}

static enum status seal_row(sqlite3_stmt *to, const struct secrets *key, sqlite3_stmt *from,
                            struct error *err)
{
    uint8_t sealed[TOTP_SEALED_BYTES];
    struct str id = db_column(from, 0);
    struct str plain = db_column(from, 1);
    secrets_seal(key, id, (const uint8_t *)plain.ptr, TOTP_SECRET_BYTES, sealed);
    (void)sqlite3_bind_text(to, 1, id.ptr, (int)id.len, SQLITE_STATIC);
    (void)sqlite3_bind_blob(to, 2, sealed, sizeof sealed, SQLITE_STATIC);
    return db_run(to, err);
}

static enum status seal_rows(sqlite3 *db, const struct secrets *key, struct error *err)
{
    sqlite3_stmt *from = NULL;
    sqlite3_stmt *to = NULL;
    bool row = true;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s == STATUS_OK) {
        s = db_prepare(db, "SELECT id, totp_secret FROM users WHERE length(totp_secret)=20", &from,
                       err);
    }
    if (s == STATUS_OK) {
        s = db_prepare(db, "UPDATE users SET totp_secret=?2 WHERE id=?1", &to, err);
    }
    while (s == STATUS_OK && row) {
        s = db_row(from, &row, err);
        if (s == STATUS_OK && row) {
            s = seal_row(to, key, from, err);
        }
    }
    (void)sqlite3_finalize(from);
    (void)sqlite3_finalize(to);
    return s == STATUS_OK ? db_exec(db, "COMMIT", err) : s;
}

enum status auth_totp_seal(sqlite3 *db, const char *home, struct error *err)
{
    static const struct timespec again = {.tv_nsec = SCRUB_AGAIN_NS};
    struct secrets key;
    int64_t plain;
    bool clean = false;
    enum status s =
        db_number(db, "SELECT count(*) FROM users WHERE length(totp_secret)=20", &plain, err);
    if (s != STATUS_OK || plain == 0) {
        return s;
    }
    s = auth_totp_key(db, home, &key, err);
    if (s == STATUS_OK) {
        s = seal_rows(db, &key, err);
    }
    for (unsigned i = 0; s == STATUS_OK && !clean && i < SCRUBS_MAX; i++) {
        s = db_scrub(db, true, &clean, err); /* what they were leaves the file and its log */
        if (s == STATUS_OK && !clean) {
            (void)nanosleep(&again, NULL);
        }
    }
    secrets_close(&key);
    if (s == STATUS_OK) {
        LOG_INFO("secrets of second factors were sealed", LOG_INT("users", plain), LOG_END);
    }
    if (s == STATUS_OK && !clean) {
        LOG_WARN("system/serve.db is being read: what was in clear leaves its log later", LOG_END);
    }
    return s;
}

void auth_totp_unseal(struct user *u, const struct secrets *key, struct str sealed)
{
    if (key != NULL && secrets_unseal(key, str_from(u->who.user), sealed, u->totp_secret)) {
        return;
    }
    u->totp_lost = true; /* only his recovery codes, and administrators, help */
    explicit_bzero(u->totp_secret, sizeof u->totp_secret);
    LOG_ERROR("the secret of a second factor does not open with system/secrets.key: restore that "
              "file, or take the second factor off",
              LOG_STR("user", u->who.user), LOG_END);
}
