/* People in memory. */
#include "serve/users.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/auth_internal.h"

#define NAME_KEY_CAP 160

static struct str name_key(const char *tenant, struct str name, char out[NAME_KEY_CAP])
{
    int n = snprintf(out, NAME_KEY_CAP, "%s/%.*s", tenant, STR_ARG(name));
    return (struct str){out, n < 0 || n >= NAME_KEY_CAP ? 0 : (size_t)n};
}

static enum status index_name(struct auth *a, struct user *u, struct error *err)
{
    char text[NAME_KEY_CAP];
    if (u->issuer[0] != '\0') {
        return STATUS_OK;
    }
    struct str key = name_key(u->who.tenant, str_from(u->who.name), text);
    enum status s = map_put(&a->names, key, u, NULL);
    return s == STATUS_OK ? s : error_set(err, s, "out of memory");
}

static void unindex_name(struct auth *a, const struct user *u)
{
    char text[NAME_KEY_CAP];
    struct str key = name_key(u->who.tenant, str_from(u->who.name), text);
    if (map_get(&a->names, key) == u) {
        (void)map_remove(&a->names, key);
    }
}

enum status auth_keep_user(struct auth *a, const struct user *u, struct user **out,
                           struct error *err)
{
    if (a->users.len >= USERS_MAX) {
        return error_set(err, STATUS_TOO_LARGE, "there are %d users already", USERS_MAX);
    }
    struct user *kept = malloc(sizeof *kept);
    if (kept == NULL) {
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    *kept = *u;
    auth_point_names(&kept->who);
    kept->who.scopes = SCOPES_KEY | SCOPE_PERSON;
    kept->who.owner = kept; /* disabled or removed, his sessions are over */
    enum status s = map_put(&a->users, str_from(kept->who.user), kept, NULL);
    if (s != STATUS_OK) {
        free(kept);
        return error_set(err, s, "out of memory");
    }
    s = index_name(a, kept, err);
    if (out != NULL) {
        *out = kept;
    }
    return s;
}

/* His keys do as he does. */
static void follow(struct auth *a, const struct user *u)
{
    for (size_t i = 0; i < a->n_keys; i++) {
        struct principal *p = &a->keys[i];
        if (p->owner == u) {
            auth_follow_owner(p);
            p->revoked = p->revoked || u->removed;
        }
    }
}

static void take_role(struct user *to, const struct user *from)
{
    memcpy(to->who.group_names, from->who.group_names, sizeof to->who.group_names);
    to->who.n_groups = from->who.n_groups;
    auth_point_names(&to->who);
    auth_set_role(&to->who, from->who.role);
    to->who.scopes = SCOPES_KEY | SCOPE_PERSON;
}

static void forget(struct auth *a, struct user *u)
{
    unindex_name(a, u);
    u->removed = true;
    u->totp = false;
    u->n_recovery = 0;
    explicit_bzero(u->password, sizeof u->password);
    explicit_bzero(u->totp_secret, sizeof u->totp_secret);
    explicit_bzero(u->subject, sizeof u->subject);
    explicit_bzero(u->who.name, sizeof u->who.name);
}

static void take_parts(struct auth *a, struct user *to, const struct user *from, unsigned what)
{
    if ((what & USER_ROLE) != 0) {
        take_role(to, from);
    }
    if ((what & USER_PASSWORD) != 0) {
        memcpy(to->password, from->password, sizeof to->password);
        to->must_change = from->must_change;
        to->attempts = (struct attempts){0};
    }
    if ((what & USER_TOTP) != 0) {
        memcpy(to->totp_secret, from->totp_secret, sizeof to->totp_secret);
        to->totp = from->totp;
        to->totp_lost = from->totp_lost;
        to->totp_step = from->totp_step > to->totp_step ? from->totp_step : to->totp_step;
    }
    if ((what & USER_RECOVERY) != 0) {
        memcpy(to->recovery, from->recovery, sizeof to->recovery);
        to->n_recovery = from->n_recovery;
    }
    if ((what & USER_DISABLED) != 0) {
        to->disabled = from->disabled;
    }
    if ((what & USER_SEEN) != 0) {
        to->seen_wall_ms = from->seen_wall_ms;
    }
    if ((what & USER_REMOVED) != 0) {
        forget(a, to);
    }
    if ((what & (USER_ROLE | USER_REMOVED)) != 0) {
        follow(a, to);
    }
    if ((what & (USER_REMOVED | USER_DISABLED)) != 0 && (to->removed || to->disabled)) {
        auth_sessions_end(a, to->who.user, NULL);
    }
}

enum status auth_take_user(struct auth *a, const struct user *u, unsigned what,
                           const struct user **out, struct error *err)
{
    struct user *kept = auth_user_by_id(a, u->who.user);
    enum status s = STATUS_OK;
    if (kept == NULL && (what & USER_NEW) != 0) {
        s = auth_keep_user(a, u, &kept, err);
    } else if (kept == NULL) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such user any more");
    } else {
        if ((what & USER_NAME) != 0) {
            unindex_name(a, kept);
            memcpy(kept->who.name, u->who.name, sizeof kept->who.name);
            s = index_name(a, kept, err);
        }
        take_parts(a, kept, u, what);
    }
    if (out != NULL) {
        *out = kept;
    }
    return s;
}

struct user *auth_user_by_id(struct auth *a, const char *id)
{
    struct user *u = map_get(&a->users, str_from(id));
    return u == NULL || u->removed ? NULL : u;
}

struct user *auth_user_by_name(struct auth *a, const char *tenant, struct str name)
{
    char text[NAME_KEY_CAP];
    struct str key = name_key(tenant, name, text);
    return key.len == 0 ? NULL : map_get(&a->names, key);
}

/* ---- wrong passwords ---- */

bool auth_attempt(struct auth *a, struct user *u, const char *tenant, struct str name,
                  int64_t now_ms, int64_t *retry_s)
{
    struct attempts *t = u == NULL ? NULL : &u->attempts;
    if (t == NULL) {
        uint64_t who = hash64(name.ptr, name.len) ^ hash64(tenant, strlen(tenant)) ^ a->seed;
        t = &a->unknown[hash64(&who, sizeof who) % UNKNOWN_SLOTS];
        if (t->who != who) {
            *t = (struct attempts){.who = who};
        }
    }
    if (t->locked_until_ms > now_ms) {
        *retry_s = (t->locked_until_ms - now_ms) / 1000 + 1;
        return false;
    }
    t->n = now_ms - t->last_ms > LOCKED_MS || t->locked_until_ms != 0 ? 1 : t->n + 1;
    t->last_ms = now_ms;
    t->locked_until_ms = t->n >= ATTEMPTS_MAX ? now_ms + LOCKED_MS : 0;
    return true;
}

void auth_attempt_undo(struct user *u)
{
    u->attempts.n -= u->attempts.n > 0;
    u->attempts.locked_until_ms = 0;
}

void auth_attempt_good(struct auth *a, struct user *u, const char *peer)
{
    u->attempts = (struct attempts){0};
    auth_failure_undo(a, peer);
}

const struct user *auth_next_user(const struct auth *a, size_t *pos)
{
    struct str key;
    void *value;
    while (map_next(&a->users, pos, &key, &value)) {
        const struct user *u = value;
        if (!u->removed) {
            return u;
        }
    }
    return NULL;
}

const struct principal *auth_by_id(const struct auth *a, const char *id)
{
    const struct principal *p = auth_by_key(a, id);
    const struct user *u = map_get(&a->users, str_from(id));
    if (p == NULL && u != NULL && !u->removed) {
        p = &u->who;
    }
    for (size_t i = 0; p == NULL && i < a->n_keys; i++) {
        if (strcmp(a->keys[i].user, id) == 0 && !a->keys[i].revoked) {
            p = &a->keys[i];
        }
    }
    return p;
}

enum status auth_session_for_external(struct auth *a, const struct user *u, int64_t now_wall_ms,
                                      char token[SECRET_CAP], const struct session **out,
                                      struct error *err)
{
    struct user *kept = auth_user_by_id(a, u->who.user);
    enum status s = STATUS_OK;
    const struct user *gone = map_get(&a->users, str_from(u->who.user));
    if (kept == NULL && gone != NULL) { /* his row was read, then he was removed */
        s = error_set(err, STATUS_FORBIDDEN, "this user was removed by an administrator meanwhile");
    } else if (kept != NULL) { /* disabled meanwhile counts, whatever the row said then */
        s = auth_take_user(a, u, USER_ROLE | USER_NAME | USER_SEEN, NULL, err);
    } else {
        s = auth_keep_user(a, u, &kept, err);
    }
    if (s == STATUS_OK && kept != NULL && kept->disabled) {
        s = error_set(err, STATUS_FORBIDDEN, "this user was disabled by an administrator");
    }
    return s == STATUS_OK ? auth_session_new(a, &kept->who, now_wall_ms, token, out, err) : s;
}
