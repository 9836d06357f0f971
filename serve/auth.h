/* Who is asking: keys, sessions, rates. system/serve.db (tenants, users, keys) is read at start
 * into memory; a key is 256 random bits shown as carrel_<52 characters> and kept as its SHA-256.
 * Sessions live in memory only: after a restart of serve people sign in again. Loop thread only. */
#ifndef CARREL_SERVE_AUTH_H
#define CARREL_SERVE_AUTH_H

#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

#define SECRET_CAP 53 /* 256 bits as 52 characters of Crockford base32, and NUL */

struct auth;

struct principal {
    char tenant[65];
    char user[64]; /* opaque id */
    char name[64];
    bool admin;
    /* private: the key's token bucket */
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
