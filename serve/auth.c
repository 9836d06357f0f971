#include "serve/auth.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "base/settings/rules.h"
#include "serve/usage/fair_store.h"

#define KEYS_MAX 4096
#define SESSIONS_MAX 4096
#define FAILURE_SLOTS 512
#define FAILURES_PER_MINUTE 30.0
#define KEY_PREFIX "carrel_"

struct live_session {
    struct session s;
    uint8_t hash[SHA256_BYTES];
};

struct failures { /* one address's recent wrong keys */
    uint64_t peer;
    double tokens;
    int64_t filled_ms;
};

struct auth {
    struct principal *keys;
    size_t n_keys;
    double per_minute;
    int64_t session_ms;
    struct map sessions; /* by SHA-256 of the token */
    struct failures failures[FAILURE_SLOTS];
};

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
};

/* 256 random bits as 52 characters. */
static void secret_new(char out[SECRET_CAP])
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint8_t r[34] = {0};
    random_bytes(r, 32);
    for (size_t i = 0; i < SECRET_CAP - 1; i++) {
        size_t bit = i * 5;
        unsigned two = (unsigned)r[bit / 8] << 8 | r[bit / 8 + 1];
        out[i] = alphabet[(two >> (11 - bit % 8)) & 31];
    }
    out[SECRET_CAP - 1] = '\0';
}

static bool same_bytes(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t differ = 0;
    for (size_t i = 0; i < n; i++) {
        differ = (uint8_t)(differ | (x[i] ^ y[i]));
    }
    return differ == 0;
}

bool auth_equal(struct str a, struct str b)
{
    uint8_t x[SHA256_BYTES];
    uint8_t y[SHA256_BYTES];
    sha256_of(a.ptr == NULL ? "" : a.ptr, a.len, x);
    sha256_of(b.ptr == NULL ? "" : b.ptr, b.len, y);
    return same_bytes(x, y, sizeof x) && a.len == b.len;
}

/* ---- the database, at start
 * -------------------------------------------------------------------------- */

static void copy_text(char *out, size_t cap, struct str s)
{
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    memcpy(out, s.ptr, n);
    out[n] = '\0';
}

static void point_groups(struct principal *p)
{
    const char *at = p->group_names;
    for (size_t i = 0; i < p->n_groups; i++) {
        p->groups[i] = at;
        at += strlen(at) + 1;
    }
}

static enum status load_groups(struct principal *p, struct str names, struct error *err)
{
    struct str list[GROUPS_MAX];
    size_t n = 0;
    while (names.len > 0 && n < GROUPS_MAX) {
        const char *end = memchr(names.ptr, '\0', names.len);
        if (end == NULL) {
            break;
        }
        list[n++] = (struct str){names.ptr, (size_t)(end - names.ptr)};
        names.len -= list[n - 1].len + 1;
        names.ptr = end + 1;
    }
    if (names.len > 0 || auth_set_groups(p, list, n, err) != STATUS_OK) {
        return error_set(err, STATUS_CORRUPT, "system/serve.db: a key's groups are damaged");
    }
    return STATUS_OK;
}

static enum status load_role(struct principal *p, struct str role, struct str scopes,
                             struct error *err)
{
    enum role read;
    if (!role_read(role, &read)) {
        return error_set(err, STATUS_CORRUPT, "system/serve.db: a user has no role");
    }
    auth_set_role(p, read);
    if (scopes.len > 0) {
        p->scopes = 0;
    }
    while (scopes.len > 0) { /* a name that a later version made grants nothing here */
        const char *comma = memchr(scopes.ptr, ',', scopes.len);
        size_t n = comma == NULL ? scopes.len : (size_t)(comma - scopes.ptr);
        p->scopes |= scope_read((struct str){scopes.ptr, n});
        n += comma == NULL ? 0 : 1;
        scopes = (struct str){scopes.ptr + n, scopes.len - n};
    }
    return STATUS_OK;
}

static enum status load_keys(struct auth *a, sqlite3 *db, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "SELECT k.hash, u.id, u.tenant, u.name,"
                               " k.created_wall_ms, u.groups, u.role, k.scopes FROM keys k"
                               " JOIN users u ON u.id = k.owner WHERE k.revoked_wall_ms IS NULL",
                               &st, err);
    bool row = s == STATUS_OK;
    while (s == STATUS_OK && row) {
        s = db_row(st, &row, err);
        if (s != STATUS_OK || !row) {
            break;
        }
        struct str hash = db_column(st, 0);
        if (hash.len != SHA256_BYTES || a->n_keys == KEYS_MAX) {
            s = error_set(err, STATUS_CORRUPT, "system/serve.db: %s",
                          hash.len != SHA256_BYTES ? "a key's hash is not 32 bytes"
                                                   : "too many keys");
            break;
        }
        struct principal *p = &a->keys[a->n_keys++];
        memcpy(p->hash, hash.ptr, SHA256_BYTES);
        copy_text(p->user, sizeof p->user, db_column(st, 1));
        copy_text(p->tenant, sizeof p->tenant, db_column(st, 2));
        copy_text(p->name, sizeof p->name, db_column(st, 3));
        p->created_wall_ms = sqlite3_column_int64(st, 4);
        s = load_groups(p, db_column(st, 5), err);
        if (s == STATUS_OK) {
            s = load_role(p, db_column(st, 6), db_column(st, 7), err);
        }
        p->tokens = a->per_minute;
        p->filled_ms = clock_monotonic_ms();
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status open_database(const char *home, sqlite3 **out, struct error *err)
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

static size_t groups_bytes(const struct principal *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_groups; i++) {
        n += strlen(p->groups[i]) + 1;
    }
    return n;
}

/* Nothing where they are all that the role can use: those may become more. */
static void scopes_text(const struct principal *p, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < SCOPES_N && p->scopes != role_scopes(p->role); i++) {
        if ((p->scopes & 1U << i) != 0) {
            int more = snprintf(out + n, cap - n, "%s,", scope_name(i));
            n += more > 0 ? (size_t)more : 0;
        }
    }
}

static enum status insert_key(sqlite3 *db, const struct principal *p, struct error *err)
{
    static const char *const sql[] = {
        "INSERT OR IGNORE INTO tenants VALUES(?4, ?1)",
        "INSERT INTO users(id, tenant, name, admin, created_wall_ms, groups, role)"
        " VALUES(?2, ?4, ?5, ?6, ?1, ?7, ?8)",
        "INSERT INTO keys(hash, owner, created_wall_ms, scopes) VALUES(?3, ?2, ?1, ?9)",
    };
    char scopes[SCOPES_N * 16];
    scopes_text(p, scopes, sizeof scopes);
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    for (size_t i = 0; s == STATUS_OK && i < sizeof sql / sizeof sql[0]; i++) {
        sqlite3_stmt *st = NULL;
        s = db_prepare(db, sql[i], &st, err);
        if (s == STATUS_OK) { /* a statement that lacks a parameter refuses it: no matter */
            (void)sqlite3_bind_int64(st, 1, p->created_wall_ms);
            (void)sqlite3_bind_text(st, 2, p->user, -1, SQLITE_STATIC);
            (void)sqlite3_bind_blob(st, 3, p->hash, SHA256_BYTES, SQLITE_STATIC);
            (void)sqlite3_bind_text(st, 4, p->tenant, -1, SQLITE_STATIC);
            (void)sqlite3_bind_text(st, 5, p->name, -1, SQLITE_STATIC);
            (void)sqlite3_bind_int(st, 6, p->admin);
            (void)sqlite3_bind_blob(st, 7, p->group_names, (int)groups_bytes(p), SQLITE_STATIC);
            (void)sqlite3_bind_text(st, 8, role_name(p->role), -1, SQLITE_STATIC);
            (void)sqlite3_bind_text(st, 9, scopes, -1, SQLITE_STATIC);
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
        s = insert_key(db, &p, err);
    }
    explicit_bzero(text, sizeof text);
    if (s == STATUS_OK) {
        LOG_INFO("the first administrator's key was written to admin.key", LOG_END);
    }
    return s;
}

enum status auth_open(const struct auth_options *o, struct auth **out, struct error *err)
{
    struct auth *a = calloc(1, sizeof *a);
    sqlite3 *db = NULL;
    if (a != NULL) {
        a->keys = calloc(KEYS_MAX, sizeof *a->keys);
    }
    if (a == NULL || a->keys == NULL) {
        auth_close(a);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    a->per_minute = (double)o->requests_per_minute;
    a->session_ms = o->session_hours * 3600 * 1000;
    map_init(&a->sessions);
    enum status s = open_database(o->home, &db, err);
    if (s == STATUS_OK) {
        s = load_keys(a, db, err);
    }
    if (s == STATUS_OK && a->n_keys == 0) {
        s = first_key(o->home, db, err);
        if (s == STATUS_OK) {
            s = load_keys(a, db, err);
        }
    }
    db_close(db);
    if (s != STATUS_OK) {
        auth_close(a);
        return s;
    }
    *out = a;
    return STATUS_OK;
}

void auth_close(struct auth *a)
{
    if (a == NULL) {
        return;
    }
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&a->sessions, &pos, &key, &value)) {
        free(value);
    }
    map_deinit(&a->sessions);
    free(a->keys);
    free(a);
}

/* ---- roles ---- */

bool auth_may(const struct principal *who, unsigned roles, unsigned scopes)
{
    return (roles & ROLE_BIT(who->role)) != 0 && (scopes == 0 || (who->scopes & scopes) != 0);
}

void auth_set_role(struct principal *p, enum role role)
{
    p->role = role;
    p->admin = role == ROLE_ADMIN;
    p->scopes = role_scopes(role);
}

static bool has_group(const struct principal *p, const char *group)
{
    for (size_t i = 0; i < p->n_groups; i++) {
        if (strcmp(p->groups[i], group) == 0) {
            return true;
        }
    }
    return false;
}

bool auth_looks_after(const struct principal *who, const struct principal *other)
{
    bool same = strcmp(who->tenant, other->tenant) == 0;
    if (who->admin) {
        return same || strcmp(who->tenant, "main") == 0;
    }
    bool in_team = other->n_groups > 0;
    for (size_t i = 0; i < other->n_groups; i++) {
        in_team = in_team && has_group(who, other->groups[i]);
    }
    return same && in_team && who->role == ROLE_MANAGER &&
           (other->role == ROLE_EDITOR || other->role == ROLE_READER ||
            other->role == ROLE_SERVICE);
}

/* ---- keys made and revoked ---- */

bool auth_group_ok(struct str name)
{
    return rules_group_valid(name); /* "nobody" must stay what nobody is in */
}

enum status auth_set_groups(struct principal *p, const struct str *names, size_t n,
                            struct error *err)
{
    size_t at = 0;
    if (n > GROUPS_MAX) {
        return error_set(err, STATUS_INVALID, "groups: at most %d", GROUPS_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        if (!auth_group_ok(names[i])) {
            return error_set(err, STATUS_INVALID,
                             "groups: \"%.*s\" is no group's name (letters, digits and . _ - @, at "
                             "most %d)",
                             names[i].len > 64 ? 64 : (int)names[i].len, names[i].ptr,
                             GROUP_BYTES_MAX);
        }
        if (at + names[i].len + 1 > sizeof p->group_names) {
            return error_set(err, STATUS_INVALID,
                             "groups: their names are longer than %zu together",
                             sizeof p->group_names);
        }
        memcpy(p->group_names + at, names[i].ptr, names[i].len);
        p->group_names[at + names[i].len] = '\0';
        at += names[i].len + 1;
    }
    p->n_groups = n;
    point_groups(p);
    return STATUS_OK;
}

void auth_key_new(struct principal *p, char key[KEY_CAP])
{
    char secret[SECRET_CAP];
    secret_new(secret);
    (void)snprintf(key, KEY_CAP, KEY_PREFIX "%s", secret);
    sha256_of(key, strlen(key), p->hash);
    id_new(p->user);
    p->created_wall_ms = clock_wall_ms();
    explicit_bzero(secret, sizeof secret);
}

enum status auth_store_key(const char *home, const struct principal *p, struct error *err)
{
    sqlite3 *db = NULL;
    enum status s = open_database(home, &db, err);
    if (s == STATUS_OK) {
        s = insert_key(db, p, err);
    }
    db_close(db);
    return s;
}

/* One statement of ours with a text and the time. */
static enum status store_one(const char *home, const char *sql, const char *text, struct error *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    enum status s = open_database(home, &db, err);
    if (s == STATUS_OK) {
        s = db_prepare(db, sql, &st, err);
    }
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 2, clock_wall_ms());
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    db_close(db);
    return s;
}

enum status auth_store_revoked(const char *home, const char *user, struct error *err)
{
    return store_one(home, "UPDATE keys SET revoked_wall_ms=?2 WHERE owner=?1", user, err);
}

enum status auth_store_tenant(const char *home, const char *tenant, struct error *err)
{
    return store_one(home, "INSERT OR IGNORE INTO tenants VALUES(?1, ?2)", tenant, err);
}

enum status auth_add(struct auth *a, const struct principal *p, struct error *err)
{
    if (a->n_keys == KEYS_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "there are %d keys already: revoke some, restart",
                         KEYS_MAX);
    }
    struct principal *kept = &a->keys[a->n_keys++];
    *kept = *p;
    point_groups(kept);
    kept->tokens = a->per_minute;
    kept->filled_ms = clock_monotonic_ms();
    return STATUS_OK;
}

bool auth_revoke(struct auth *a, const char *user)
{
    bool found = false;
    for (size_t i = 0; i < a->n_keys; i++) {
        if (strcmp(a->keys[i].user, user) == 0 && !a->keys[i].revoked) {
            a->keys[i].revoked = found = true;
        }
    }
    size_t pos = 0;
    struct str key;
    void *value;
    while (found && map_next(&a->sessions, &pos, &key, &value)) {
        struct live_session *l = value;
        l->s.expires_wall_ms = l->s.who->revoked ? 0 : l->s.expires_wall_ms;
    }
    return found;
}

const struct principal *auth_at(const struct auth *a, size_t i)
{
    return i < a->n_keys ? &a->keys[i] : NULL;
}

const struct principal *auth_user(const struct auth *a, const char *user)
{
    for (size_t i = 0; i < a->n_keys; i++) {
        if (strcmp(a->keys[i].user, user) == 0 && !a->keys[i].revoked) {
            return &a->keys[i];
        }
    }
    return NULL;
}

/* ---- keys and rates
 * ---------------------------------------------------------------------------------- */

struct principal *auth_key(struct auth *a, struct str key)
{
    uint8_t hash[SHA256_BYTES];
    struct principal *found = NULL;
    sha256_of(key.ptr == NULL ? "" : key.ptr, key.len, hash);
    for (size_t i = 0; i < a->n_keys; i++) { /* all of them, always */
        if (same_bytes(a->keys[i].hash, hash, sizeof hash)) {
            found = &a->keys[i];
        }
    }
    return found == NULL || found->revoked ? NULL : found;
}

/* A bucket that holds a minute's worth. */
static bool take(double *tokens, int64_t *filled_ms, double per_minute, int64_t now_ms,
                 int64_t *retry_s)
{
    double grown = *tokens + (double)(now_ms - *filled_ms) * per_minute / 60000.0;
    *tokens = grown > per_minute ? per_minute : grown;
    *filled_ms = now_ms;
    if (*tokens >= 1.0) {
        *tokens -= 1.0;
        return true;
    }
    *retry_s = (int64_t)((1.0 - *tokens) * 60.0 / per_minute) + 1;
    return false;
}

bool auth_may_ask(struct auth *a, const struct principal *who, int64_t now_ms, int64_t *retry_s)
{
    struct principal *p = &a->keys[who - a->keys];
    return a->per_minute <= 0 || take(&p->tokens, &p->filled_ms, a->per_minute, now_ms, retry_s);
}

bool auth_note_failure(struct auth *a, const char *peer, int64_t now_ms, int64_t *retry_s)
{
    uint64_t h = hash64(peer, strlen(peer));
    struct failures *f = &a->failures[h % FAILURE_SLOTS];
    if (f->peer != h || f->filled_ms == 0) {
        *f = (struct failures){.peer = h, .tokens = FAILURES_PER_MINUTE, .filled_ms = now_ms};
    }
    return take(&f->tokens, &f->filled_ms, FAILURES_PER_MINUTE, now_ms, retry_s);
}

/* ---- sessions
 * ---------------------------------------------------------------------------------------- */

static struct str hash_key(const uint8_t hash[SHA256_BYTES])
{
    return (struct str){(const char *)hash, SHA256_BYTES};
}

static void drop_expired(struct auth *a, int64_t now_wall_ms)
{
    for (bool found = true; found;) {
        size_t pos = 0;
        struct str key;
        void *value;
        found = false;
        while (!found && map_next(&a->sessions, &pos, &key, &value)) {
            struct live_session *l = value;
            if (l->s.expires_wall_ms <= now_wall_ms) {
                (void)map_remove(&a->sessions, hash_key(l->hash));
                free(l);
                found = true;
            }
        }
    }
}

enum status auth_session_new(struct auth *a, const struct principal *who, int64_t now_wall_ms,
                             char token[SECRET_CAP], const struct session **out, struct error *err)
{
    if (a->sessions.len >= SESSIONS_MAX) {
        drop_expired(a, now_wall_ms);
    }
    if (a->sessions.len >= SESSIONS_MAX) {
        return error_set(err, STATUS_BUSY, "too many people are signed in");
    }
    struct live_session *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    secret_new(token);
    secret_new(l->s.csrf);
    l->s.who = who;
    l->s.expires_wall_ms = now_wall_ms + a->session_ms;
    sha256_of(token, SECRET_CAP - 1, l->hash);
    enum status s = map_put(&a->sessions, hash_key(l->hash), l, NULL);
    if (s != STATUS_OK) {
        free(l);
        return error_set(err, s, "out of memory");
    }
    *out = &l->s;
    return STATUS_OK;
}

const struct session *auth_session(struct auth *a, struct str token, int64_t now_wall_ms)
{
    uint8_t hash[SHA256_BYTES];
    sha256_of(token.ptr == NULL ? "" : token.ptr, token.len, hash);
    struct live_session *l = map_get(&a->sessions, hash_key(hash));
    return l != NULL && l->s.expires_wall_ms > now_wall_ms ? &l->s : NULL;
}

void auth_session_end(struct auth *a, struct str token)
{
    uint8_t hash[SHA256_BYTES];
    sha256_of(token.ptr == NULL ? "" : token.ptr, token.len, hash);
    free(map_remove(&a->sessions, hash_key(hash)));
}
