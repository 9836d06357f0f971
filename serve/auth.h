/* Who is asking: keys, sessions, rates. system/serve.db (tenants, users, keys) is read at start
 * into memory; a key is 256 random bits shown as carrel_<52 characters> and kept as its SHA-256.
 * Sessions live in memory only: after a restart of serve people sign in again. Loop thread only. */
#ifndef CARREL_SERVE_AUTH_H
#define CARREL_SERVE_AUTH_H

#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "serve/roles.h"

#define SECRET_CAP 53 /* 256 bits as 52 characters of Crockford base32, and NUL */
#define KEY_CAP 64    /* "carrel_" and a secret */
#define GROUPS_MAX 64 /* of one key */
#define GROUP_BYTES_MAX 64

struct auth;

struct principal {
    char tenant[65];
    char user[64]; /* opaque id */
    char name[64];
    enum role role;
    unsigned scopes; /* SCOPE_*: a key's, or all of them and SCOPE_PERSON */
    bool admin;      /* of that role */
    bool revoked;
    int64_t created_wall_ms;
    char group_names[1024]; /* each ended by NUL */
    const char *groups[GROUPS_MAX];
    size_t n_groups;
    /* private: the key's hash and token bucket */
    uint8_t hash[32];
    double tokens;
    int64_t filled_ms;
};

struct session {
    const struct principal *who;
    char csrf[SECRET_CAP];
    int64_t expires_wall_ms;
};

struct auth_options {
    const char *home;
    int64_t requests_per_minute; /* 0: no limit */
    int64_t session_hours;
};

/* Blocks: at start. The first time it makes tenant "main" with its administrator, whose key it
 * writes to home/admin.key (0600). */
enum status auth_open(const struct auth_options *o, struct auth **out,
                      struct error *err) MUST_CHECK;
void auth_close(struct auth *a); /* NULL is fine */
/* NULL: unknown. Takes the same time wherever in the list the key is, and when it is not. */
struct principal *auth_key(struct auth *a, struct str key);

/* May this caller make calls that these roles and scopes (a route's) are for? */
bool auth_may(const struct principal *who, unsigned roles, unsigned scopes);
/* Sets role and admin, and the scopes to all that a key of that role can use. */
void auth_set_role(struct principal *p, enum role role);

/* May one who looks after users and keys look after this one? An administrator after all of the
 * tenant (one of tenant "main" after all), a manager after editors, readers and services that have
 * groups, all of them his own. */
bool auth_looks_after(const struct principal *who, const struct principal *other);

/* ---- keys made and revoked while running: the database first, on any thread, then memory, on the
 * loop ---- */

/* Letters, digits and . _ - @, 1 to 64 of them; not "everyone" or "nobody". */
bool auth_group_ok(struct str name);
/* Takes the names as p's groups. INVALID: too many, or one is not a group's name, which it says. */
enum status auth_set_groups(struct principal *p, const struct str *names, size_t n,
                            struct error *err) MUST_CHECK;
/* Fills user and hash of a key to be; key gets the text to be shown once. */
void auth_key_new(struct principal *p, char key[KEY_CAP]);
/* Blocks: system/serve.db. */
enum status auth_store_key(const char *home, const struct principal *p,
                           struct error *err) MUST_CHECK;
enum status auth_store_revoked(const char *home, const char *user, struct error *err) MUST_CHECK;
enum status auth_store_tenant(const char *home, const char *tenant, struct error *err) MUST_CHECK;
/* TOO_LARGE: there are as many keys as there may be. */
enum status auth_add(struct auth *a, const struct principal *p, struct error *err) MUST_CHECK;
/* The key is none any more and its sessions are over. False: there is no such user. */
bool auth_revoke(struct auth *a, const char *user);
/* NULL after the last; revoked ones are there too. */
const struct principal *auth_at(const struct auth *a, size_t i);
const struct principal *auth_user(const struct auth *a, const char *user);

/* May this key make a request now? Otherwise *retry_s says when. */
bool auth_may_ask(struct auth *a, const struct principal *who, int64_t now_ms, int64_t *retry_s);
/* A wrong key came from there. False: too many did lately. */
bool auth_note_failure(struct auth *a, const char *peer, int64_t now_ms, int64_t *retry_s);

/* BUSY: too many sessions. */
enum status auth_session_new(struct auth *a, const struct principal *who, int64_t now_wall_ms,
                             char token[SECRET_CAP], const struct session **out,
                             struct error *err) MUST_CHECK;
const struct session *auth_session(struct auth *a, struct str token, int64_t now_wall_ms);
void auth_session_end(struct auth *a, struct str token);
/* Without a hint by its duration where they differ. */
bool auth_equal(struct str a, struct str b);

#endif
