#include "serve/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/settings/rules.h"
#include "serve/auth_internal.h"

#define KEY_PREFIX "carrel_"

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

/* ---- lists that a principal holds ---- */

void auth_copy_text(char *out, size_t cap, struct str s)
{
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    if (n > 0) {
        memcpy(out, s.ptr, n);
    }
    out[n] = '\0';
}

static void point(const char *at, const char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        names[i] = at;
        at += strlen(at) + 1;
    }
}

void auth_point_names(struct principal *p)
{
    point(p->group_names, p->groups, p->n_groups);
    point(p->collection_names, p->collections, p->n_collections);
}

enum status auth_open(const struct auth_options *o, struct auth **out, struct error *err)
{
    struct auth *a = calloc(1, sizeof *a);
    if (a != NULL) {
        a->keys = calloc(KEYS_MAX, sizeof *a->keys);
    }
    if (a == NULL || a->keys == NULL) {
        auth_close(a);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    random_bytes(&a->seed, sizeof a->seed);
    a->session_ms = o->session_hours * 3600 * 1000;
    map_init(&a->sessions);
    map_init(&a->users);
    map_init(&a->names);
    enum status s = auth_load(a, o->home, err);
    if (s != STATUS_OK) {
        auth_close(a);
        return s;
    }
    *out = a;
    return STATUS_OK;
}

static void free_map(struct map *m, bool values)
{
    size_t pos = 0;
    struct str key;
    void *value;
    while (values && map_next(m, &pos, &key, &value)) {
        free(value);
    }
    map_deinit(m);
}

void auth_close(struct auth *a)
{
    if (a == NULL) {
        return;
    }
    free_map(&a->sessions, true);
    free_map(&a->names, false);
    free_map(&a->users, true);
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
    unsigned scopes = p->chosen == 0 ? ~0U : p->chosen;
    if (p->n_collections > 0) { /* the rest tells of more than these collections */
        scopes &= SCOPE_ASK | SCOPE_SEARCH | SCOPE_READ | SCOPE_INGEST;
    }
    p->role = role;
    p->admin = role == ROLE_ADMIN && p->n_collections == 0;
    p->scopes = scopes & role_scopes(role);
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

bool auth_held_out(const struct principal *who, const char *collection)
{
    for (size_t i = 0; i < who->n_collections; i++) {
        if (strcmp(who->collections[i], collection) == 0) {
            return false;
        }
    }
    return who->n_collections > 0;
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

/* Lays names after one another into `out`; INVALID where they are longer than it together. */
static enum status lay_out(const char *what, const struct str *names, size_t n, char *out,
                           size_t cap, struct error *err)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (at + names[i].len + 1 > cap) {
            return error_set(err, STATUS_INVALID, "%s: their names are longer than %zu together",
                             what, cap);
        }
        memcpy(out + at, names[i].ptr, names[i].len);
        out[at + names[i].len] = '\0';
        at += names[i].len + 1;
    }
    return STATUS_OK;
}

enum status auth_set_groups(struct principal *p, const struct str *names, size_t n,
                            struct error *err)
{
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
    }
    enum status s = lay_out("groups", names, n, p->group_names, sizeof p->group_names, err);
    if (s == STATUS_OK) {
        p->n_groups = n;
        auth_point_names(p);
    }
    return s;
}

enum status auth_set_collections(struct principal *p, const struct str *names, size_t n,
                                 struct error *err)
{
    if (n > COLLECTIONS_MAX) {
        return error_set(err, STATUS_INVALID, "collections: at most %d", COLLECTIONS_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        bool ok = names[i].len > 0;
        for (size_t k = 0; ok && k < names[i].len; k++) {
            ok = (unsigned char)names[i].ptr[k] >= 0x20 && names[i].ptr[k] != 0x7f;
        }
        if (!ok) {
            return error_set(err, STATUS_INVALID, "collections[%zu] is no collection's name", i);
        }
    }
    enum status s =
        lay_out("collections", names, n, p->collection_names, sizeof p->collection_names, err);
    if (s == STATUS_OK) {
        p->n_collections = n;
        auth_point_names(p);
        auth_set_role(p, p->role);
    }
    return s;
}

/* ---- whose key ---- */

void auth_set_maker(struct principal *p, const struct principal *who)
{
    (void)snprintf(p->made_by, sizeof p->made_by, "%s", who->key[0] != '\0' ? who->key : who->user);
    p->made_role = who->role;
    memcpy(p->made_groups, who->group_names, sizeof p->made_groups);
    p->n_made_groups = who->role == ROLE_ADMIN ? 0 : who->n_groups;
}

/* Managers look after editors, readers and services (auth_looks_after). False: he could make no key
 * for that role, and none of his would do. */
static bool within(enum role owner, enum role maker, enum role *out)
{
    *out = maker == ROLE_MANAGER && owner == ROLE_ADMIN ? ROLE_MANAGER : owner;
    return maker == ROLE_ADMIN || (maker == ROLE_MANAGER && owner != ROLE_AUDITOR);
}

static bool maker_had(const struct principal *p, const char *group)
{
    const char *at = p->made_groups;
    for (size_t i = 0; i < p->n_made_groups; i++, at += strlen(at) + 1) {
        if (strcmp(at, group) == 0) {
            return true;
        }
    }
    return false;
}

void auth_follow_owner(struct principal *p)
{
    const struct principal *owner = &p->owner->who;
    bool known = p->made_by[0] != '\0';
    enum role role = owner->role;
    size_t at = 0;
    p->idle = known && !within(owner->role, p->made_role, &role);
    p->n_groups = 0;
    for (size_t i = 0; i < owner->n_groups; i++) {
        if (!known || p->made_role == ROLE_ADMIN || maker_had(p, owner->groups[i])) {
            size_t len = strlen(owner->groups[i]) + 1; /* all of them fit */
            memcpy(p->group_names + at, owner->groups[i], len);
            at += len;
            p->n_groups++;
        }
    }
    auth_point_names(p);
    auth_set_role(p, role);
}

/* ---- where a key may come from ---- */

enum status auth_add_address(struct principal *p, struct str text, struct error *err)
{
    if (p->n_addresses == ADDRESSES_MAX) {
        return error_set(err, STATUS_INVALID, "addresses: at most %d", ADDRESSES_MAX);
    }
    if (!address_range_read(text, &p->addresses[p->n_addresses])) {
        return error_set(err, STATUS_INVALID,
                         "addresses[%zu] must be like 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32",
                         p->n_addresses);
    }
    p->n_addresses++;
    return STATUS_OK;
}

static bool comes_from(const struct principal *p, const char *peer)
{
    uint8_t a[16];
    return p->n_addresses == 0 ||
           (address_read(str_from(peer), a) && address_in(a, p->addresses, p->n_addresses));
}

void auth_key_new(struct principal *p, char key[KEY_CAP])
{
    char secret[SECRET_CAP];
    secret_new(secret);
    (void)snprintf(key, KEY_CAP, KEY_PREFIX "%s", secret);
    sha256_of(key, strlen(key), p->hash);
    id_new(p->key);
    if (p->owner == NULL || p->n_collections > 0) {
        (void)snprintf(p->user, sizeof p->user, "%s", p->key);
    }
    p->created_wall_ms = clock_wall_ms();
    explicit_bzero(secret, sizeof secret);
}

enum status auth_add(struct auth *a, const struct principal *p, struct error *err)
{
    if (a->n_keys == KEYS_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "there are %d keys already: revoke some, restart",
                         KEYS_MAX);
    }
    struct principal *kept = &a->keys[a->n_keys++];
    *kept = *p;
    auth_point_names(kept);
    if (kept->owner != NULL) { /* may have changed while the key was written */
        auth_follow_owner(kept);
        kept->revoked = kept->owner->removed;
    }
    return STATUS_OK;
}

bool auth_revoke(struct auth *a, const char *key)
{
    for (size_t i = 0; i < a->n_keys; i++) {
        struct principal *p = &a->keys[i];
        if (strcmp(p->key, key) == 0 && !p->revoked) {
            p->revoked = true;
            return true;
        }
    }
    return false;
}

const struct principal *auth_at(const struct auth *a, size_t i)
{
    return i < a->n_keys ? &a->keys[i] : NULL;
}

static bool has_name(char (*names)[65], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

char (*auth_tenants(const struct auth *a, size_t *n))[65]
{
    char(*names)[65] = calloc(a->n_keys + 1, sizeof *names);
    *n = 0;
    for (size_t i = 0; names != NULL && i < a->n_keys; i++) {
        if (!has_name(names, *n, a->keys[i].tenant)) {
            memcpy(names[(*n)++], a->keys[i].tenant, sizeof *names);
        }
    }
    return names;
}

const struct principal *auth_by_key(const struct auth *a, const char *key)
{
    for (size_t i = 0; i < a->n_keys; i++) {
        if (strcmp(a->keys[i].key, key) == 0 && !a->keys[i].revoked) {
            return &a->keys[i];
        }
    }
    return NULL;
}

/* ---- keys and rates ---- */

/* A key that was revoked, or whose owner may not any more; a user who may not. */
static bool ended(const struct principal *p)
{
    return p->revoked || p->idle || (p->owner != NULL && (p->owner->disabled || p->owner->removed));
}

bool auth_ended(const struct principal *p, int64_t now_wall_ms)
{
    return ended(p) || (p->expires_wall_ms != 0 && p->expires_wall_ms <= now_wall_ms);
}

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
    return found == NULL || ended(found) ? NULL : found;
}

const char *auth_key_now(struct auth *a, struct principal *p, const char *peer, int64_t now_wall_ms,
                         bool *expired)
{
    (void)a;
    *expired = p->expires_wall_ms != 0 && p->expires_wall_ms <= now_wall_ms;
    if (*expired) {
        return "This key has expired.";
    }
    if (!comes_from(p, peer)) {
        return "This key may not be used from this address.";
    }
    p->used_wall_ms = now_wall_ms;
    (void)snprintf(p->used_from, sizeof p->used_from, "%s", peer);
    p->used_unwritten = true;
    return NULL;
}

size_t auth_uses(struct auth *a, struct key_use *out, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < a->n_keys && found < n; i++) {
        struct principal *p = &a->keys[i];
        if (p->used_unwritten) {
            struct key_use *use = &out[found++];
            (void)snprintf(use->key, sizeof use->key, "%s", p->key);
            (void)snprintf(use->from, sizeof use->from, "%s", p->used_from);
            use->wall_ms = p->used_wall_ms;
            p->used_unwritten = false;
        }
    }
    return found;
}

bool auth_take(double *tokens, int64_t *filled_ms, double per_minute, int64_t now_ms,
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

struct failures *auth_failures(struct auth *a, const char *peer, uint64_t *who)
{
    uint8_t address[16] = {0};
    (void)address_read(str_from(peer), address);
    struct address_range r = address_household(address);
    *who = hash64(r.address, sizeof r.address) ^ a->seed;
    return &a->failures[hash64(who, sizeof *who) % FAILURE_SLOTS];
}

bool auth_note_failure(struct auth *a, const char *peer, int64_t now_ms, int64_t *retry_s)
{
    uint64_t h;
    struct failures *f = auth_failures(a, peer, &h);
    if (f->peer != h || f->filled_ms == 0) {
        *f = (struct failures){.peer = h, .tokens = FAILURES_PER_MINUTE, .filled_ms = now_ms};
    }
    return auth_take(&f->tokens, &f->filled_ms, FAILURES_PER_MINUTE, now_ms, retry_s);
}

void auth_failure_undo(struct auth *a, const char *peer)
{
    uint64_t h;
    struct failures *f = auth_failures(a, peer, &h);
    if (f->peer == h && f->tokens < FAILURES_PER_MINUTE) { /* a whole office behind one address */
        f->tokens += 1.0;
    }
}

/* ---- sessions ---- */

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

enum status auth_session_new(struct auth *a, struct principal *who, int64_t now_wall_ms,
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
    l->s.must_change = who->key[0] == '\0' && who->owner != NULL && who->owner->must_change;
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
    bool lives =
        l != NULL && l->s.expires_wall_ms > now_wall_ms && !auth_ended(l->s.who, now_wall_ms);
    return lives ? &l->s : NULL;
}

void auth_session_end(struct auth *a, struct str token)
{
    uint8_t hash[SHA256_BYTES];
    sha256_of(token.ptr == NULL ? "" : token.ptr, token.len, hash);
    free(map_remove(&a->sessions, hash_key(hash)));
}

void auth_session_changed(struct auth *a, const struct session *s)
{
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&a->sessions, &pos, &key, &value)) {
        struct live_session *l = value;
        l->s.must_change = l->s.must_change && &l->s != s;
    }
}

void auth_sessions_end(struct auth *a, const char *user, const struct session *but)
{
    size_t pos = 0;
    struct str key;
    void *value;
    while (map_next(&a->sessions, &pos, &key, &value)) {
        struct live_session *l = value;
        if (&l->s != but && strcmp(l->s.who->user, user) == 0) {
            l->s.expires_wall_ms = 0; /* what runs still looks at it: dropped when there is need */
        }
    }
}
