/* Who is asking: keys, sessions, rates; people are in serve/users.h, and so is how a session is
 * made for somebody that another system vouches for. system/serve.db (tenants, users, keys) is read
 * at start into memory; a key is 256 random bits shown as carrel_<52 characters> and kept as its
 * SHA-256. Sessions live in memory only: after a restart of serve people sign in again. Loop thread
 * only. */
#ifndef CARREL_SERVE_AUTH_H
#define CARREL_SERVE_AUTH_H

#include <stdint.h>

#include "base/address.h"
#include "base/status.h"
#include "base/str.h"
#include "serve/roles.h"

#define SECRET_CAP 53 /* 256 bits as 52 characters of Crockford base32, and NUL */
#define KEY_CAP 64    /* "carrel_" and a secret */
#define GROUPS_MAX 64 /* of one key */
#define GROUP_BYTES_MAX 64

#define COLLECTIONS_MAX 32 /* that one key is held to */
#define ADDRESSES_MAX 16

struct auth;
struct user; /* serve/users.h */

/* Somebody, by key or signed in. Stays where it is until auth_close, also when it has ended. */
struct principal {
    char tenant[65];
    /* Opaque id: what he asked, keeps and may use is counted by it. A user's key has his, unless it
     * is held to collections: then his conversations would tell it of others. */
    char user[64];
    char key[64];  /* the key's id; "": signed in, no key */
    char name[64]; /* the user's; of a key the key's */
    enum role role;
    unsigned chosen; /* scopes that were chosen for the key; 0: all of its role */
    unsigned scopes; /* SCOPE_*: what holds; of people all, and SCOPE_PERSON */
    bool admin;      /* of that role, and not held to collections */
    bool revoked;
    bool idle; /* its owner is now what its maker could make no key for */
    int64_t created_wall_ms;
    int64_t expires_wall_ms; /* 0: never */
    char group_names[1024];  /* each ended by NUL */
    const char *groups[GROUPS_MAX];
    size_t n_groups;
    char collection_names[1024]; /* likewise; none: every collection */
    const char *collections[COLLECTIONS_MAX];
    size_t n_collections;
    struct address_range addresses[ADDRESSES_MAX]; /* none: from anywhere */
    size_t n_addresses;
    const struct user *owner; /* whose key it is, NULL: its own */
    /* Of a user's key, who made it, and what he might then: it never does more, whatever becomes of
     * its owner. */
    char made_by[64]; /* id of a user or key; "": a version before, which did not note it */
    enum role made_role;
    char made_groups[1024]; /* each ended by NUL; of administrators none are asked for */
    size_t n_made_groups;
    int64_t used_wall_ms; /* last; 0: never */
    char used_from[ADDRESS_TEXT];
    /* private */
    uint8_t hash[32];
    bool used_unwritten;
};

struct session {
    struct principal *who;
    char csrf[SECRET_CAP];
    int64_t expires_wall_ms;
    bool must_change; /* nothing but a new password is taken from him */
};

struct auth_options {
    const char *home;
    int64_t session_hours;
};

/* Blocks: at start. The first time it makes tenant "main" with its administrator, whose key it
 * writes to home/admin.key (0600). */
enum status auth_open(const struct auth_options *o, struct auth **out,
                      struct error *err) MUST_CHECK;
void auth_close(struct auth *a); /* NULL is fine */
/* NULL: unknown, revoked, or its owner may not any more. Takes the same time wherever in the list
 * the key is, and when it is not. Whether it has expired and where it may come from is asked by
 * auth_key_now. */
struct principal *auth_key(struct auth *a, struct str key);
/* It was revoked, has expired, or its owner may not any more; a user: he may not any more. For what
 * goes on after its call was answered. */
bool auth_ended(const struct principal *p, int64_t now_wall_ms);
/* NULL: it may be used now, from there, which is noted; otherwise why not. *expired: it is over. */
const char *auth_key_now(struct auth *a, struct principal *p, const char *peer, int64_t now_wall_ms,
                         bool *expired);
/* Keys whose last use is not in the database yet, at most n of them; they count as written then. */
struct key_use {
    char key[64];
    char from[ADDRESS_TEXT];
    int64_t wall_ms;
};
size_t auth_uses(struct auth *a, struct key_use *out, size_t n);

/* May this caller make calls that these roles and scopes (a route's) are for? */
bool auth_may(const struct principal *who, unsigned roles, unsigned scopes);
/* Sets the role, and what follows from it and from the chosen scopes and the collections. */
void auth_set_role(struct principal *p, enum role role);

/* Is he held to collections, and this is none of them? */
bool auth_held_out(const struct principal *who, const char *collection);
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
/* After group_names or collection_names were written, with n_groups, n_collections. */
void auth_point_names(struct principal *p);
/* INVALID: too many, or one is not a collection's name. */
enum status auth_set_collections(struct principal *p, const struct str *names, size_t n,
                                 struct error *err) MUST_CHECK;
/* "10.0.0.0/8", "192.0.2.7", "2001:db8::/32"; INVALID: another form, or too many. */
/* p's maker is `who`, as he is now. */
void auth_set_maker(struct principal *p, const struct principal *who);
/* Role and groups of p's owner, as far as its maker's reached. */
void auth_follow_owner(struct principal *p);
enum status auth_add_address(struct principal *p, struct str text, struct error *err) MUST_CHECK;
/* Fills key, hash and, where nobody owns it, user of a key to be; key gets the text to be shown
 * once. */
void auth_key_new(struct principal *p, char key[KEY_CAP]);
/* Blocks: system/serve.db. */
enum status auth_store_key(const char *home, const struct principal *p,
                           struct error *err) MUST_CHECK;
enum status auth_store_revoked(const char *home, const char *key, struct error *err) MUST_CHECK;
enum status auth_store_uses(const char *home, const struct key_use *uses, size_t n,
                            struct error *err) MUST_CHECK;
enum status auth_store_tenant(const char *home, const char *tenant, struct error *err) MUST_CHECK;
/* TOO_LARGE: there are as many keys as there may be. */
enum status auth_add(struct auth *a, const struct principal *p, struct error *err) MUST_CHECK;
/* The key is none any more and its sessions are over. False: there is no such key. */
bool auth_revoke(struct auth *a, const char *key);
/* NULL after the last; revoked ones are there too. */
const struct principal *auth_at(const struct auth *a, size_t i);
/* Each tenant that has a key or had one, once; owned (free). NULL: out of memory. */
char (*auth_tenants(const struct auth *a, size_t *n))[65];
const struct principal *auth_by_key(const struct auth *a, const char *key);
/* Whose id this is: a key's, or a user's (users.h), or that of a key that is nobody's. NULL. */
const struct principal *auth_by_id(const struct auth *a, const char *id);

/* A wrong key came from there. False: too many did lately. */
bool auth_note_failure(struct auth *a, const char *peer, int64_t now_ms, int64_t *retry_s);
/* It was none after all: who has a password looked at is counted before it is. */
void auth_failure_undo(struct auth *a, const char *peer);

/* BUSY: too many sessions. */
enum status auth_session_new(struct auth *a, struct principal *who, int64_t now_wall_ms,
                             char token[SECRET_CAP], const struct session **out,
                             struct error *err) MUST_CHECK;
const struct session *auth_session(struct auth *a, struct str token, int64_t now_wall_ms);
void auth_session_end(struct auth *a, struct str token);
/* Its user has chosen a password of his own. */
void auth_session_changed(struct auth *a, const struct session *s);
/* All of this user's, by whatever he came; but not `but`, which may be NULL. */
void auth_sessions_end(struct auth *a, const char *user, const struct session *but);
/* Without a hint by its duration where they differ. */
bool auth_equal(struct str a, struct str b);

#endif
