/* What auth.c, auth_db.c and users.c share. */
#ifndef CARREL_SERVE_AUTH_INTERNAL_H
#define CARREL_SERVE_AUTH_INTERNAL_H

#include "base/db.h"
#include "base/hash.h"
#include "base/map.h"
#include "serve/secrets.h"
#include "serve/users.h"

#define KEYS_MAX 4096
#define USERS_MAX 16384
#define SESSIONS_MAX 4096
#define FAILURE_SLOTS 512
#define UNKNOWN_SLOTS 2048
#define FAILURES_PER_MINUTE 30.0

/* In principal.chosen: scopes were chosen, even if none of them is known here. */
#define SCOPE_CHOSEN (1U << 16)

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
    struct map users; /* by id; owned */
    struct map names; /* those of ours, by tenant, '/' and name */
    int64_t session_ms;
    struct map sessions; /* by SHA-256 of the token */
    struct failures failures[FAILURE_SLOTS];
    struct attempts unknown[UNKNOWN_SLOTS]; /* names that nobody has, as if somebody had them */
    uint64_t seed;                          /* so that nobody knows which of them share a slot */
};

/* auth_db.c */
enum status auth_database(const char *home, sqlite3 **out, struct error *err) MUST_CHECK;
/* The first administrator's key when there is none. */
enum status auth_load(struct auth *a, const char *home, struct error *err) MUST_CHECK;
/* Names that end in NUL, as the lists of p have them. */
/* auth_guard.c, inside a transaction. */
enum status auth_guard_asker(sqlite3 *db, const struct asker *by, struct error *err) MUST_CHECK;
enum status auth_guard_seen(sqlite3 *db, const struct seen *seen, struct error *err) MUST_CHECK;
enum status auth_read_groups(struct principal *p, struct str names, struct error *err) MUST_CHECK;
size_t auth_groups_bytes(const struct principal *p);

/* The place of an address's wrong keys and passwords; *who: its mark there. */
struct failures *auth_failures(struct auth *a, const char *peer, uint64_t *who);
/* auth_totp.c. A secret in the database: 60 bytes, of users before that 20 in clear. */
#define TOTP_SEALED_BYTES 60
/* The key; a new one only while nothing is sealed. */
enum status auth_totp_key(sqlite3 *db, const char *home, struct secrets *out,
                          struct error *err) MUST_CHECK;
/* Those in clear are sealed, and leave no trace. */
enum status auth_totp_seal(sqlite3 *db, const char *home, struct error *err) MUST_CHECK;
/* key NULL: there is none. What does not open is lost. */
void auth_totp_unseal(struct user *u, const struct secrets *key, struct str sealed);

/* A bucket that holds a minute's worth. */
bool auth_take(double *tokens, int64_t *filled_ms, double per_minute, int64_t now_ms,
               int64_t *retry_s);
void auth_copy_text(char *out, size_t cap, struct str s);

/* users.c: from the database; takes a copy */
enum status auth_keep_user(struct auth *a, const struct user *u, struct user **out,
                           struct error *err) MUST_CHECK;

#endif
