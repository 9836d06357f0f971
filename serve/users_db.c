/* Users in system/serve.db. Blocks. */
#include <string.h>

#include "base/clock.h"
#include "base/text/text.h"
#include "serve/auth_internal.h"

static void bind(sqlite3_stmt *st, int i, const char *text)
{
    (void)sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

struct writing {
    const struct user *u;
    const char *instead_of; /* bound as NULL where it is */
    uint8_t sealed[TOTP_SEALED_BYTES];
    size_t sealed_len; /* 0: he has no secret */
};

/* Parameters are numbered alike in all statements; one that lacks a parameter refuses it: no
 * matter. */
static enum status run(sqlite3 *db, const char *sql, const struct writing *w, struct error *err)
{
    sqlite3_stmt *st = NULL;
    const struct user *u = w->u;
    const struct principal *p = &u->who;
    enum status s = db_prepare(db, sql, &st, err);
    if (s != STATUS_OK) {
        return s;
    }
    bind(st, 1, p->user);
    bind(st, 2, p->tenant);
    bind(st, 3, p->name);
    (void)sqlite3_bind_int64(st, 4, p->created_wall_ms);
    (void)sqlite3_bind_blob(st, 5, p->group_names, (int)auth_groups_bytes(p), SQLITE_STATIC);
    bind(st, 6, role_name(p->role));
    bind(st, 7, u->issuer);
    bind(st, 8, u->subject);
    bind(st, 9, u->password);
    (void)sqlite3_bind_int(st, 10, u->must_change);
    (void)sqlite3_bind_int(st, 11, u->disabled);
    (void)sqlite3_bind_blob(st, 12, w->sealed, (int)w->sealed_len, SQLITE_STATIC);
    (void)sqlite3_bind_int(st, 13, u->totp);
    (void)sqlite3_bind_int64(st, 14, u->totp_step);
    (void)sqlite3_bind_blob(st, 15, u->recovery, (int)(u->n_recovery * SHA256_BYTES),
                            SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 16, u->seen_wall_ms);
    (void)sqlite3_bind_int64(st, 17, clock_wall_ms());
    bind(st, 18, w->instead_of);
    s = db_run(st, err);
    (void)sqlite3_finalize(st);
    return s;
}

struct statement {
    unsigned what;
    const char *sql;
};

static const struct statement statements[] = {
    {USER_NEW, "INSERT OR IGNORE INTO tenants VALUES(?2, ?4)"},
    {USER_NEW, "INSERT INTO users(id, tenant, name, admin, created_wall_ms, groups, role, person,"
               " issuer, subject, password, must_change)"
               " VALUES(?1, ?2, ?3, ?6='admin', ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10)"},
    {USER_ROLE, "UPDATE users SET role=?6, admin=(?6='admin'), groups=?5 WHERE id=?1"},
    {USER_PASSWORD, "UPDATE users SET password=?9, must_change=?10 WHERE id=?1"
                    " AND (?18 IS NULL OR password=?18)"},
    {USER_TOTP, "UPDATE users SET totp_secret=?12, totp=?13, totp_step=?14 WHERE id=?1"},
    {USER_RECOVERY, "UPDATE users SET recovery=?15 WHERE id=?1"},
    {USER_DISABLED, "UPDATE users SET disabled=?11 WHERE id=?1"},
    {USER_SEEN, "UPDATE users SET seen_wall_ms=?16 WHERE id=?1"},
    {USER_NAME, "UPDATE users SET name=?3 WHERE id=?1"},
    {USER_REMOVED, "UPDATE keys SET revoked_wall_ms=?17, name='', used_from='' WHERE owner=?1"},
    {USER_REMOVED, "UPDATE users SET removed_wall_ms=?17, name='', groups=x'', password='',"
                   " subject='', totp_secret=x'', totp=0, recovery=x'' WHERE id=?1"},
};

/* His secret as it is kept. */
static enum status seal(sqlite3 *db, const char *home, struct writing *w, struct error *err)
{
    const struct user *u = w->u;
    static const uint8_t none[TOTP_SECRET_BYTES] = {0};
    struct secrets key;
    if (memcmp(u->totp_secret, none, sizeof none) == 0) {
        return STATUS_OK;
    }
    enum status s = auth_totp_key(db, home, &key, err);
    if (s == STATUS_OK) {
        secrets_seal(&key, str_from(u->who.user), u->totp_secret, sizeof u->totp_secret, w->sealed);
        secrets_close(&key);
        w->sealed_len = sizeof w->sealed;
    }
    return s;
}

static enum status guard(sqlite3 *db, const struct asker *by, const struct seen *about,
                         struct error *err)
{
    enum status s = by == NULL ? STATUS_OK : auth_guard_asker(db, by, err);
    return s == STATUS_OK && about != NULL ? auth_guard_seen(db, about, err) : s;
}

static enum status store(sqlite3 *db, const char *home, const struct user *u, unsigned what,
                         const char *instead_of, struct error *err)
{
    struct writing w = {.u = u, .instead_of = instead_of};
    enum status s = (what & USER_TOTP) != 0 ? seal(db, home, &w, err) : STATUS_OK;
    for (size_t i = 0; s == STATUS_OK && i < sizeof statements / sizeof statements[0]; i++) {
        if ((what & statements[i].what) == 0) {
            continue;
        }
        s = run(db, statements[i].sql, &w, err);
        if (s != STATUS_OK && sqlite3_extended_errcode(db) == SQLITE_CONSTRAINT_UNIQUE) {
            s = error_set(err, STATUS_CONFLICT, "somebody in the tenant has that name already");
        } else if (s == STATUS_OK && statements[i].what == USER_PASSWORD && instead_of != NULL &&
                   sqlite3_changes(db) == 0) {
            s = error_set(err, STATUS_CONFLICT, "the password was changed meanwhile");
        }
    }
    return s;
}

static enum status store_user(const char *home, const struct user *u, unsigned what,
                              const char *instead_of, const struct asker *by,
                              const struct seen *about, struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = auth_database(home, &db, err);
    if (s == STATUS_OK) {
        s = db_exec(db, "BEGIN IMMEDIATE", err);
    }
    if (s == STATUS_OK) {
        s = guard(db, by, about, err);
    }
    if (s == STATUS_OK) {
        s = store(db, home, u, what, instead_of, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    bool clean = true;
    if (s == STATUS_OK && (what & USER_REMOVED) != 0) { /* his name leaves the log too */
        s = db_scrub(db, false, &clean, err);
    }
    db_close(db);
    return s;
}

enum status auth_store_user(const char *home, const struct user *u, unsigned what,
                            const char *instead_of, struct error *err)
{
    return store_user(home, u, what, instead_of, NULL, NULL, err);
}

enum status auth_store_user_by(const char *home, const struct user *u, unsigned what,
                               const struct asker *by, const struct seen *about, struct error *err)
{
    return store_user(home, u, what, NULL, by, about, err);
}

/* ---- vouched for by another system ---- */

/* The row of that subject, if there is one: id, whether disabled, since when. */
static enum status find(sqlite3 *db, struct user *u, bool *found, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "SELECT id, disabled, created_wall_ms FROM users WHERE tenant=?1"
                               " AND issuer=?2 AND subject=?3 AND removed_wall_ms IS NULL",
                               &st, err);
    if (s == STATUS_OK) {
        bind(st, 1, u->who.tenant);
        bind(st, 2, u->issuer);
        bind(st, 3, u->subject);
        s = db_row(st, found, err);
    }
    if (s == STATUS_OK && *found) {
        auth_copy_text(u->who.user, sizeof u->who.user, db_column(st, 0));
        u->disabled = sqlite3_column_int(st, 1) != 0;
        u->who.created_wall_ms = sqlite3_column_int64(st, 2);
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* As much of it as there is room for, in whole characters; nothing of what is no text. */
static void copy_name(char *out, size_t cap, struct str name)
{
    bool text = text_utf8_valid(name);
    size_t n = !text ? 0 : name.len < cap ? name.len : cap - 1;
    while (n > 0 && n < name.len && ((unsigned char)name.ptr[n] & 0xc0) == 0x80) {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        out[i] = c < 0x20 || c == 0x7f ? ' ' : name.ptr[i];
    }
    out[n] = '\0';
}

static enum status fill(const struct external_user *e, struct user *u, struct error *err)
{
    struct str groups[GROUPS_MAX];
    size_t n = 0;
    size_t bytes = 0;
    struct principal *p = &u->who;
    *u = (struct user){0};
    if (e->issuer[0] == '\0' || e->subject[0] == '\0' || strlen(e->issuer) >= ISSUER_CAP ||
        strlen(e->subject) >= SUBJECT_CAP || strlen(e->tenant) >= sizeof p->tenant) {
        return error_set(err, STATUS_INVALID, "a subject of another system has no usable name");
    }
    auth_copy_text(p->tenant, sizeof p->tenant, str_from(e->tenant));
    auth_copy_text(u->issuer, sizeof u->issuer, str_from(e->issuer));
    auth_copy_text(u->subject, sizeof u->subject, str_from(e->subject));
    copy_name(p->name, sizeof p->name, str_from(e->name == NULL ? "" : e->name));
    for (size_t i = 0; i < e->n_groups && n < GROUPS_MAX; i++) {
        bool fits = bytes + e->groups[i].len + 1 <= sizeof p->group_names;
        if (fits && auth_group_ok(e->groups[i])) {
            bytes += e->groups[i].len + 1;
            groups[n++] = e->groups[i];
        }
    }
    auth_set_role(p, e->role);
    return auth_set_groups(p, groups, n, err);
}

enum status auth_store_external(const char *home, const struct external_user *e, struct user *out,
                                struct error *err)
{
    sqlite3 *db = NULL;
    bool found = false;
    enum status s = fill(e, out, err);
    if (s == STATUS_OK) {
        s = auth_database(home, &db, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "BEGIN IMMEDIATE", err);
    }
    if (s == STATUS_OK) {
        s = find(db, out, &found, err);
    }
    if (s == STATUS_OK) {
        out->seen_wall_ms = clock_wall_ms();
        if (!found) {
            id_new(out->who.user);
            out->who.created_wall_ms = out->seen_wall_ms;
        }
        s = store(db, home, out, (found ? USER_ROLE | USER_NAME : USER_NEW) | USER_SEEN, NULL, err);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    db_close(db);
    return s;
}
