/* system/serve.db: tenants, users and keys. Blocks: at start, and on the lane of keys and users. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "serve/auth_internal.h"
#include "serve/usage/fair_store.h"

static const struct db_migration migrations[] = {
    {1, "CREATE TABLE tenants(id TEXT PRIMARY KEY, created_wall_ms INTEGER NOT NULL) STRICT;"
        "CREATE TABLE users(id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenants(id),"
        " name TEXT NOT NULL, admin INTEGER NOT NULL, created_wall_ms INTEGER NOT NULL) STRICT;"
        "CREATE TABLE keys(hash BLOB PRIMARY KEY, owner TEXT NOT NULL REFERENCES users(id),"
        " created_wall_ms INTEGER NOT NULL, revoked_wall_ms INTEGER) STRICT;"},
    /* names that end in NUL, one after another */
    {2, "ALTER TABLE users ADD COLUMN groups BLOB NOT NULL DEFAULT x'';"},
    /* scopes: names after one another, each ended by a comma; none: all that the role can use */
    {3, "ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'reader';"
        "UPDATE users SET role='admin' WHERE admin<>0;"
        "ALTER TABLE keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '';"},
    {4, FAIR_SCHEMA},
    /* A key that is nobody's has a row of users of its own, with its id. collections: names that
     * end in NUL; addresses: ranges, each ended by a comma. recovery: hashes of 32 bytes. */
    {5, "ALTER TABLE keys ADD COLUMN id TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE keys ADD COLUMN name TEXT NOT NULL DEFAULT '';"
        "UPDATE keys SET id=owner, name=(SELECT u.name FROM users u WHERE u.id=keys.owner);"
        "ALTER TABLE keys ADD COLUMN expires_wall_ms INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE keys ADD COLUMN collections BLOB NOT NULL DEFAULT x'';"
        "ALTER TABLE keys ADD COLUMN addresses TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE keys ADD COLUMN used_wall_ms INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE keys ADD COLUMN used_from TEXT NOT NULL DEFAULT '';"
        "CREATE UNIQUE INDEX keys_by_id ON keys(id);"
        "CREATE INDEX keys_by_owner ON keys(owner);"
        "ALTER TABLE users ADD COLUMN person INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE users ADD COLUMN issuer TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE users ADD COLUMN subject TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE users ADD COLUMN password TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE users ADD COLUMN must_change INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE users ADD COLUMN removed_wall_ms INTEGER;"
        "ALTER TABLE users ADD COLUMN totp_secret BLOB NOT NULL DEFAULT x'';"
        "ALTER TABLE users ADD COLUMN totp INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE users ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE users ADD COLUMN recovery BLOB NOT NULL DEFAULT x'';"
        "ALTER TABLE users ADD COLUMN seen_wall_ms INTEGER NOT NULL DEFAULT 0;"
        "CREATE UNIQUE INDEX users_by_name ON users(tenant, name)"
        " WHERE person<>0 AND issuer='' AND removed_wall_ms IS NULL;"
        "CREATE UNIQUE INDEX users_by_subject ON users(tenant, issuer, subject)"
        " WHERE issuer<>'' AND removed_wall_ms IS NULL;"},
    /* who made a user's key, and what he might then; made_groups: names that end in NUL */
    {6, "ALTER TABLE keys ADD COLUMN made_by TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE keys ADD COLUMN made_role TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE keys ADD COLUMN made_groups BLOB NOT NULL DEFAULT x'';"},
};

enum status auth_database(const char *home, sqlite3 **out, struct error *err)
{
    char path[PATH_MAX];
    enum status s = file_join(path, sizeof path, home, "system", err);
    if (s == STATUS_OK) {
        s = file_mkdirs(path, 0700, err);
    }
    if (s == STATUS_OK) {
        s = file_join(path, sizeof path, home, "system/serve.db", err);
    }
    return s == STATUS_OK ? db_open(path, DB_CREATE, migrations,
                                    sizeof migrations / sizeof migrations[0], out, err)
                          : s;
}

/* ---- lists in columns ---- */

static enum status damaged(struct error *err, const char *what)
{
    return error_set(err, STATUS_CORRUPT, "system/serve.db: %s", what);
}

/* False: it does not end in NUL, or there are more than max. */
static bool read_names(struct str names, struct str *out, size_t max, size_t *n)
{
    *n = 0;
    while (names.len > 0 && *n < max) {
        const char *end = memchr(names.ptr, '\0', names.len);
        if (end == NULL) {
            return false;
        }
        out[*n] = (struct str){names.ptr, (size_t)(end - names.ptr)};
        names.len -= out[*n].len + 1;
        names.ptr = end + 1;
        (*n)++;
    }
    return names.len == 0;
}

enum status auth_read_groups(struct principal *p, struct str names, struct error *err)
{
    struct str list[GROUPS_MAX];
    size_t n;
    if (!read_names(names, list, GROUPS_MAX, &n) || auth_set_groups(p, list, n, err) != STATUS_OK) {
        return damaged(err, "somebody's groups are damaged");
    }
    return STATUS_OK;
}

static enum status read_collections(struct principal *p, struct str names, struct error *err)
{
    struct str list[COLLECTIONS_MAX];
    size_t n;
    if (!read_names(names, list, COLLECTIONS_MAX, &n) ||
        auth_set_collections(p, list, n, err) != STATUS_OK) {
        return damaged(err, "a key's collections are damaged"); /* never: all of them */
    }
    return STATUS_OK;
}

/* The next of a list whose items end in commas. */
static bool next_item(struct str *list, struct str *out)
{
    const char *comma = list->len == 0 ? NULL : memchr(list->ptr, ',', list->len);
    if (comma == NULL) {
        return false;
    }
    *out = (struct str){list->ptr, (size_t)(comma - list->ptr)};
    *list = (struct str){comma + 1, list->len - out->len - 1};
    return true;
}

static enum status read_addresses(struct principal *p, struct str list, struct error *err)
{
    struct str one;
    while (next_item(&list, &one)) {
        if (auth_add_address(p, one, err) != STATUS_OK) {
            return damaged(err, "a key's addresses are damaged");
        }
    }
    return list.len == 0 ? STATUS_OK : damaged(err, "a key's addresses are damaged");
}

static enum status read_role(struct principal *p, struct str name, struct error *err)
{
    enum role role;
    if (!role_read(name, &role)) {
        return damaged(err, "somebody has no role");
    }
    auth_set_role(p, role);
    return STATUS_OK;
}

/* A name that a later version made grants nothing here. */
static void read_scopes(struct principal *p, struct str list)
{
    struct str one;
    while (next_item(&list, &one)) {
        p->chosen |= scope_read(one);
        p->chosen |= SCOPE_CHOSEN;
    }
    auth_set_role(p, p->role);
}

static size_t names_bytes(const char *const *names, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        len += strlen(names[i]) + 1;
    }
    return len;
}

size_t auth_groups_bytes(const struct principal *p)
{
    return names_bytes(p->groups, p->n_groups);
}

/* ---- reading ---- */

static void read_user_texts(struct user *u, sqlite3_stmt *st)
{
    struct principal *p = &u->who;
    auth_copy_text(p->user, sizeof p->user, db_column(st, 0));
    auth_copy_text(p->tenant, sizeof p->tenant, db_column(st, 1));
    auth_copy_text(p->name, sizeof p->name, db_column(st, 2));
    p->created_wall_ms = sqlite3_column_int64(st, 3);
    auth_copy_text(u->issuer, sizeof u->issuer, db_column(st, 6));
    auth_copy_text(u->subject, sizeof u->subject, db_column(st, 7));
    auth_copy_text(u->password, sizeof u->password, db_column(st, 8));
    u->must_change = sqlite3_column_int(st, 9) != 0;
    u->disabled = sqlite3_column_int(st, 10) != 0;
    u->totp = sqlite3_column_int(st, 12) != 0;
    u->totp_step = sqlite3_column_int64(st, 13);
    u->seen_wall_ms = sqlite3_column_int64(st, 15);
}

#define USER_COLUMNS                                                                               \
    "id, tenant, name, created_wall_ms, groups, role, issuer, subject, password, must_change,"     \
    " disabled, totp_secret, totp, totp_step, recovery, seen_wall_ms"

static enum status read_user(struct user *u, const struct secrets *key, sqlite3_stmt *st,
                             struct error *err)
{
    read_user_texts(u, st);
    struct str secret = db_column(st, 11);
    struct str recovery = db_column(st, 14);
    if ((secret.len != 0 && secret.len != TOTP_SEALED_BYTES) || recovery.len % SHA256_BYTES != 0 ||
        recovery.len > sizeof u->recovery || (u->totp && secret.len == 0)) {
        return damaged(err, "somebody's second factor is damaged");
    }
    if (secret.len > 0) {
        auth_totp_unseal(u, key, secret);
    }
    if (recovery.len > 0) {
        memcpy(u->recovery, recovery.ptr, recovery.len);
    }
    u->n_recovery = recovery.len / SHA256_BYTES;
    enum status s = auth_read_groups(&u->who, db_column(st, 4), err);
    return s == STATUS_OK ? read_role(&u->who, db_column(st, 5), err) : s;
}

static enum status load_users(struct auth *a, const char *home, sqlite3 *db, struct error *err)
{
    struct secrets key;
    struct error lost;
    bool has_key = auth_totp_key(db, home, &key, &lost) == STATUS_OK;
    if (!has_key) {
        LOG_ERROR("secrets of second factors cannot be read", LOG_STR("err", lost.text), LOG_END);
    }
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(
        db, "SELECT " USER_COLUMNS " FROM users WHERE person<>0 AND removed_wall_ms IS NULL", &st,
        err);
    bool row = s == STATUS_OK;
    while (s == STATUS_OK && row) {
        struct user u = {0};
        s = db_row(st, &row, err);
        if (s == STATUS_OK && row) {
            s = read_user(&u, has_key ? &key : NULL, st, err);
        }
        if (s == STATUS_OK && row) {
            s = auth_keep_user(a, &u, NULL, err);
        }
        explicit_bzero(&u, sizeof u);
    }
    secrets_close(&key);
    (void)sqlite3_finalize(st);
    return s;
}

/* A user's key: its maker, and what it may do now. */
static enum status read_maker(struct principal *p, sqlite3_stmt *st, struct error *err)
{
    struct str groups = db_column(st, 16);
    struct str list[GROUPS_MAX];
    auth_copy_text(p->made_by, sizeof p->made_by, db_column(st, 14));
    if (p->made_by[0] != '\0' &&
        (!role_read(db_column(st, 15), &p->made_role) || groups.len > sizeof p->made_groups ||
         !read_names(groups, list, GROUPS_MAX, &p->n_made_groups))) {
        return damaged(err, "a key's maker is damaged");
    }
    if (groups.len > 0) {
        memcpy(p->made_groups, groups.ptr, groups.len);
    }
    auth_follow_owner(p);
    return STATUS_OK;
}

static enum status read_key(struct auth *a, struct principal *p, sqlite3_stmt *st,
                            struct error *err)
{
    struct str hash = db_column(st, 0);
    if (hash.len != SHA256_BYTES) {
        return damaged(err, "a key's hash is not 32 bytes");
    }
    memcpy(p->hash, hash.ptr, SHA256_BYTES);
    auth_copy_text(p->user, sizeof p->user, db_column(st, 1));
    auth_copy_text(p->tenant, sizeof p->tenant, db_column(st, 2));
    auth_copy_text(p->name, sizeof p->name, db_column(st, 3));
    p->created_wall_ms = sqlite3_column_int64(st, 4);
    auth_copy_text(p->key, sizeof p->key, db_column(st, 8));
    p->expires_wall_ms = sqlite3_column_int64(st, 9);
    p->used_wall_ms = sqlite3_column_int64(st, 12);
    auth_copy_text(p->used_from, sizeof p->used_from, db_column(st, 13));
    enum status s = auth_read_groups(p, db_column(st, 5), err);
    if (s == STATUS_OK) {
        s = read_collections(p, db_column(st, 10), err);
    }
    if (s == STATUS_OK) {
        s = read_addresses(p, db_column(st, 11), err);
    }
    if (s == STATUS_OK) {
        s = read_role(p, db_column(st, 6), err);
    }
    if (s == STATUS_OK) {
        read_scopes(p, db_column(st, 7));
        p->owner = auth_user_by_id(a, p->user);
        s = p->owner == NULL ? STATUS_OK : read_maker(p, st, err);
    }
    if (s == STATUS_OK) {
        if (p->n_collections > 0) {
            memcpy(p->user, p->key, sizeof p->user);
        }
    }
    return s;
}

static enum status load_keys(struct auth *a, sqlite3 *db, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "SELECT k.hash, u.id, u.tenant, k.name, k.created_wall_ms, u.groups,"
                               " u.role, k.scopes, k.id, k.expires_wall_ms, k.collections,"
                               " k.addresses, k.used_wall_ms, k.used_from, k.made_by, k.made_role, "
                               "k.made_groups FROM keys k"
                               " JOIN users u ON u.id = k.owner"
                               " WHERE k.revoked_wall_ms IS NULL AND u.removed_wall_ms IS NULL",
                               &st, err);
    bool row = s == STATUS_OK;
    while (s == STATUS_OK && row) {
        s = db_row(st, &row, err);
        if (s == STATUS_OK && row) {
            s = a->n_keys == KEYS_MAX ? damaged(err, "too many keys")
                                      : read_key(a, &a->keys[a->n_keys++], st, err);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- writing ---- */

/* Nothing where none were chosen: the role's may become more. */
static void scopes_text(const struct principal *p, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < SCOPES_N && p->chosen != 0; i++) {
        if ((p->chosen & 1U << i) != 0) {
            int more = snprintf(out + n, cap - n, "%s,", scope_name(i));
            n += more > 0 ? (size_t)more : 0;
        }
    }
}

static void addresses_text(const struct principal *p, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < p->n_addresses; i++) {
        char one[ADDRESS_TEXT];
        address_range_text(&p->addresses[i], one);
        int more = snprintf(out + n, cap - n, "%s,", one);
        n += more > 0 ? (size_t)more : 0;
    }
}

static void bind(sqlite3_stmt *st, int i, const char *text)
{
    (void)sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

static size_t made_groups_bytes(const struct principal *p)
{
    size_t len = 0;
    for (size_t i = 0; i < p->n_made_groups; i++) {
        len += strlen(p->made_groups + len) + 1;
    }
    return len;
}

/* by NULL: nobody asked. */
static enum status guard(sqlite3 *db, const struct principal *p, const struct asker *by,
                         struct error *err)
{
    bool there = true;
    enum status s = by == NULL ? STATUS_OK : auth_guard_asker(db, by, err);
    if (s == STATUS_OK && p->owner != NULL) {
        sqlite3_stmt *st = NULL;
        bool row = false;
        s = db_prepare(db, "SELECT 1 FROM users WHERE id=?1 AND removed_wall_ms IS NULL", &st, err);
        if (s == STATUS_OK) {
            bind(st, 1, p->owner->who.user);
            s = db_row(st, &row, err);
        }
        there = row;
        (void)sqlite3_finalize(st);
    }
    return s == STATUS_OK && !there
               ? error_set(err, STATUS_NOT_FOUND, "owner: there is no such user any more")
               : s;
}

static enum status insert_key(sqlite3 *db, const struct principal *p, const struct asker *by,
                              struct error *err)
{
    static const char *const sql[] = {
        "INSERT OR IGNORE INTO tenants VALUES(?4, ?1)",
        "INSERT INTO users(id, tenant, name, admin, created_wall_ms, groups, role)"
        " VALUES(?2, ?4, ?5, ?6, ?1, ?7, ?8)",
        "INSERT INTO keys(hash, owner, created_wall_ms, scopes, id, name, expires_wall_ms,"
        " collections, addresses, made_by, made_role, made_groups)"
        " VALUES(?3, ?2, ?1, ?9, ?10, ?5, ?11, ?12, ?13, ?14, ?15, ?16)",
    };
    char scopes[SCOPES_N * 16];
    char addresses[ADDRESSES_MAX * (ADDRESS_TEXT + 1)];
    scopes_text(p, scopes, sizeof scopes);
    addresses_text(p, addresses, sizeof addresses);
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    s = s == STATUS_OK ? guard(db, p, by, err) : s;
    for (size_t i = 0; s == STATUS_OK && i < sizeof sql / sizeof sql[0]; i++) {
        sqlite3_stmt *st = NULL;
        if (i == 1 && p->owner != NULL) {
            continue;
        }
        s = db_prepare(db, sql[i], &st, err);
        if (s == STATUS_OK) { /* a statement that lacks a parameter refuses it: no matter */
            (void)sqlite3_bind_int64(st, 1, p->created_wall_ms);
            bind(st, 2, p->owner == NULL ? p->user : p->owner->who.user);
            (void)sqlite3_bind_blob(st, 3, p->hash, SHA256_BYTES, SQLITE_STATIC);
            bind(st, 4, p->tenant);
            bind(st, 5, p->name);
            (void)sqlite3_bind_int(st, 6, p->role == ROLE_ADMIN);
            (void)sqlite3_bind_blob(st, 7, p->group_names, (int)auth_groups_bytes(p),
                                    SQLITE_STATIC);
            bind(st, 8, role_name(p->role));
            bind(st, 9, scopes);
            bind(st, 10, p->key);
            (void)sqlite3_bind_int64(st, 11, p->expires_wall_ms);
            (void)sqlite3_bind_blob(st, 12, p->collection_names,
                                    (int)names_bytes(p->collections, p->n_collections),
                                    SQLITE_STATIC);
            bind(st, 13, addresses);
            bind(st, 14, p->made_by);
            bind(st, 15, p->made_by[0] == '\0' ? "" : role_name(p->made_role));
            (void)sqlite3_bind_blob(st, 16, p->made_groups, (int)made_groups_bytes(p),
                                    SQLITE_STATIC);
            s = db_run(st, err);
        }
        (void)sqlite3_finalize(st);
    }
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    return s; /* without COMMIT, closing the database rolls back */
}

/* The file comes first: a crash in between leaves a file whose key is nowhere, and the next start
 * makes another. */
static enum status first_key(const char *home, sqlite3 *db, struct error *err)
{
    struct principal p = {.tenant = "main", .name = "administrator"};
    auth_set_role(&p, ROLE_ADMIN);
    char text[KEY_CAP + 1];
    char path[PATH_MAX];
    auth_key_new(&p, text);
    size_t n = strlen(text);
    text[n] = '\n';
    enum status s = file_join(path, sizeof path, home, "admin.key", err);
    if (s == STATUS_OK) {
        s = file_write_atomic(path, text, n + 1, 0600, err);
    }
    if (s == STATUS_OK) {
        s = insert_key(db, &p, NULL, err);
    }
    explicit_bzero(text, sizeof text);
    if (s == STATUS_OK) {
        LOG_INFO("the first administrator's key was written to admin.key", LOG_END);
    }
    return s;
}

enum status auth_load(struct auth *a, const char *home, struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = auth_database(home, &db, err);
    if (s == STATUS_OK) {
        s = auth_totp_seal(db, home, err);
    }
    if (s == STATUS_OK) {
        s = load_users(a, home, db, err);
    }
    if (s == STATUS_OK) {
        s = load_keys(a, db, err);
    }
    if (s == STATUS_OK && a->n_keys == 0) {
        s = first_key(home, db, err);
        if (s == STATUS_OK) {
            s = load_keys(a, db, err);
        }
    }
    db_close(db);
    return s;
}

enum status auth_store_key(const char *home, const struct principal *p, struct error *err)
{
    return auth_store_key_by(home, p, NULL, err);
}

enum status auth_store_key_by(const char *home, const struct principal *p, const struct asker *by,
                              struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = auth_database(home, &db, err);
    if (s == STATUS_OK) {
        s = insert_key(db, p, by, err);
    }
    db_close(db);
    return s;
}

/* One statement of ours with a text and the time. */
static enum status store_one(const char *home, const char *sql, const char *text, struct error *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    enum status s = auth_database(home, &db, err);
    if (s == STATUS_OK) {
        s = db_prepare(db, sql, &st, err);
    }
    if (s == STATUS_OK) {
        bind(st, 1, text);
        (void)sqlite3_bind_int64(st, 2, clock_wall_ms());
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    db_close(db);
    return s;
}

enum status auth_store_revoked(const char *home, const char *key, struct error *err)
{
    return store_one(home, "UPDATE keys SET revoked_wall_ms=?2 WHERE id=?1", key, err);
}

enum status auth_store_tenant(const char *home, const char *tenant, struct error *err)
{
    return store_one(home, "INSERT OR IGNORE INTO tenants VALUES(?1, ?2)", tenant, err);
}

enum status auth_store_uses(const char *home, const struct key_use *uses, size_t n,
                            struct error *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    enum status s = auth_database(home, &db, err);
    if (s == STATUS_OK) {
        s = db_exec(db, "BEGIN IMMEDIATE", err);
    }
    if (s == STATUS_OK) {
        s = db_prepare(db, "UPDATE keys SET used_wall_ms=?2, used_from=?3 WHERE id=?1", &st, err);
    }
    for (size_t i = 0; s == STATUS_OK && i < n; i++) {
        bind(st, 1, uses[i].key);
        (void)sqlite3_bind_int64(st, 2, uses[i].wall_ms);
        bind(st, 3, uses[i].from);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    db_close(db);
    return s;
}
