/* People: who signs in with a name and a password, or by another system that vouches for them
 * (OIDC, LDAP). system/serve.db is the truth, all of it is in memory too. A change goes to the
 * database first, on a lane (auth_store_user), then into memory, on the loop (auth_take_user). */
#ifndef CARREL_SERVE_USERS_H
#define CARREL_SERVE_USERS_H

#include "serve/auth.h"
#include "serve/password.h"
#include "serve/totp.h"

#define RECOVERY_CODES 10
#define ISSUER_CAP 256
#define SUBJECT_CAP 256

/* Wrong passwords for one name: ten, and none is looked at for a quarter of an hour. They count
 * from when they are given, not from when they were found wrong: many at once are no more than one
 * after another. Names that nobody has count alike. */
#define ATTEMPTS_MAX 10U
#define LOCKED_MS 900000

struct attempts {
    uint64_t who; /* for names that nobody has: which */
    unsigned n;
    int64_t last_ms, locked_until_ms;
};

struct user {
    struct principal who;             /* no key; name: what he signs in with */
    char issuer[ISSUER_CAP];          /* who vouches for him; "": we do, by his password */
    char subject[SUBJECT_CAP];        /* his name there, which never changes */
    char password[PASSWORD_HASH_CAP]; /* argon2id with its salt and costs as text; "": none */
    bool must_change;                 /* the password is not his own yet */
    bool disabled;
    bool removed; /* stays in memory for the pointers to it, until the next start */
    uint8_t totp_secret[TOTP_SECRET_BYTES];
    bool totp;         /* asked for at sign-in */
    bool totp_lost;    /* the secret does not open: no code is right, recovery codes are */
    int64_t totp_step; /* the last one that was taken: none is taken twice */
    uint8_t recovery[RECOVERY_CODES][32]; /* SHA-256 of those not used yet */
    size_t n_recovery;
    int64_t seen_wall_ms;     /* signed in last; 0: never */
    struct attempts attempts; /* private */
};

/* What of a user is written or taken over. */
enum {
    USER_NEW = 1,       /* all of him */
    USER_ROLE = 2,      /* role and groups, also of his keys */
    USER_PASSWORD = 4,  /* and must_change; his other sessions end */
    USER_TOTP = 8,      /* secret, totp and step */
    USER_RECOVERY = 16, /* codes that are left */
    USER_DISABLED = 32, /* disabled: his sessions end and his keys open nothing */
    USER_REMOVED = 64,  /* name, password and all go; sessions and keys end for good */
    USER_SEEN = 128,
    USER_NAME = 256,
};

/* Blocks. CONFLICT: USER_NEW or USER_NAME, and somebody in the tenant has that name; USER_PASSWORD,
 * and the one there is not instead_of (a hash; NULL: never mind). */
enum status auth_store_user(const char *home, const struct user *u, unsigned what,
                            const char *instead_of, struct error *err) MUST_CHECK;
/* Who asks for a change, and whom it is about, as they were when the request was let in. */
struct asker {
    char id[64]; /* of a key or a user */
    bool key;
    enum role role; /* of a user's key the user's */
};
struct seen {
    char id[64];
    enum role role;
    char groups[1024]; /* each ended by NUL */
    size_t n_groups;   /* bytes */
};
void auth_asker(const struct principal *who, struct asker *out);
void auth_seen(const struct principal *who, struct seen *out);
/* auth_store_user for somebody else; about: NULL where he is new. In the transaction that writes,
 * FORBIDDEN: the asker may not any more; NOT_FOUND, CONFLICT: the other is gone, or has another
 * role or other groups. */
enum status auth_store_user_by(const char *home, const struct user *u, unsigned what,
                               const struct asker *by, const struct seen *about,
                               struct error *err) MUST_CHECK;
/* auth_store_key for whoever asked. NOT_FOUND: its owner is gone. */
enum status auth_store_key_by(const char *home, const struct principal *p, const struct asker *by,
                              struct error *err) MUST_CHECK;
/* Into memory. *out (may be NULL): where he stays. TOO_LARGE: there are as many as there may be. */
enum status auth_take_user(struct auth *a, const struct user *u, unsigned what,
                           const struct user **out, struct error *err) MUST_CHECK;
/* Those that are there, also disabled; NULL. */
struct user *auth_user_by_id(struct auth *a, const char *id);
/* By the name he signs in with, people of ours only. */
struct user *auth_user_by_name(struct auth *a, const char *tenant, struct str name);
/* Somebody gives a password or code for that name; u NULL: nobody has it. False: locked. */
bool auth_attempt(struct auth *a, struct user *u, const char *tenant, struct str name,
                  int64_t now_ms, int64_t *retry_s);
/* It was right so far, and no more was given: it does not count, and those before still do. */
void auth_attempt_undo(struct user *u);
/* It was the right one. */
void auth_attempt_good(struct auth *a, struct user *u, const char *peer);
/* All, one after another: start with *pos 0; NULL at the end. */
const struct user *auth_next_user(const struct auth *a, size_t *pos);

/* ---- vouched for by another system ----
 *
 *   lane:  auth_store_external(home, &e, &user, err)     the row: found or made, brought up to date
 *   loop:  auth_session_for_external(auth, &user, now, token, &session, err)
 *          then api_session_cookie(q, token): the cookie; the caller answers himself
 *
 * The cookie is SameSite=Strict: the browser does not send it with a redirect that began at another
 * site. Answer with a page of ours that goes on by itself. */
struct external_user {
    const char *tenant;
    const char
        *issuer; /* an OIDC issuer, or "ldap:<name>": together with the subject it says who */
    const char *subject; /* never reassigned: sub, entryUUID */
    const char *name;    /* to be shown; what does not fit or is no text is left out */
    enum role role;
    const struct str
        *groups; /* those with a name that groups may have are taken, up to the limit */
    size_t n_groups;
};
/* Blocks. The role and the groups are those said now: what they were is overwritten. */
enum status auth_store_external(const char *home, const struct external_user *e, struct user *out,
                                struct error *err) MUST_CHECK;
/* FORBIDDEN: an administrator disabled or removed him. BUSY: too many sessions. */
enum status auth_session_for_external(struct auth *a, const struct user *u, int64_t now_wall_ms,
                                      char token[SECRET_CAP], const struct session **out,
                                      struct error *err) MUST_CHECK;

#endif
