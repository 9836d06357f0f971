/* Whether what somebody asked for may still be written: he, and whom it is about, may have become
 * others while the request waited for its body, for a hash, or for the lane. Looked at inside the
 * transaction that writes, so whatever came before it counts. */
#include <stdio.h>
#include <string.h>

#include "serve/auth_internal.h"

void auth_asker(const struct principal *who, struct asker *out)
{
    out->key = who->key[0] != '\0';
    (void)snprintf(out->id, sizeof out->id, "%s", out->key ? who->key : who->user);
    out->role = who->owner == NULL ? who->role : who->owner->who.role;
}

void auth_seen(const struct principal *who, struct seen *out)
{
    (void)snprintf(out->id, sizeof out->id, "%s", who->user);
    out->role = who->role;
    out->n_groups = auth_groups_bytes(who);
    memcpy(out->groups, who->group_names, out->n_groups);
}

/* The role that the database has now, and groups where out_groups is not NULL. */
static enum status look(sqlite3 *db, const char *sql, const char *id, enum role *role,
                        struct principal *groups, bool *there, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        s = db_row(st, there, err);
    }
    if (s == STATUS_OK && *there && !role_read(db_column(st, 0), role)) {
        *there = false;
    }
    if (s == STATUS_OK && *there && groups != NULL) {
        s = auth_read_groups(groups, db_column(st, 1), err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status auth_guard_asker(sqlite3 *db, const struct asker *by, struct error *err)
{
    enum role role = ROLE_READER;
    bool there = false;
    enum status s =
        look(db,
             by->key ? "SELECT u.role FROM keys k JOIN users u ON u.id = k.owner WHERE k.id = ?1"
                       " AND k.revoked_wall_ms IS NULL AND u.removed_wall_ms IS NULL"
                       " AND u.disabled = 0"
                     : "SELECT role FROM users WHERE id = ?1 AND removed_wall_ms IS NULL"
                       " AND disabled = 0",
             by->id, &role, NULL, &there, err);
    return s == STATUS_OK && (!there || role != by->role)
               ? error_set(err, STATUS_FORBIDDEN,
                           "you were removed, disabled or given another role meanwhile")
               : s;
}

enum status auth_guard_seen(sqlite3 *db, const struct seen *seen, struct error *err)
{
    struct principal now = {0};
    bool there = false;
    enum status s = look(db,
                         "SELECT role, groups FROM users WHERE id = ?1"
                         " AND removed_wall_ms IS NULL",
                         seen->id, &now.role, &now, &there, err);
    if (s != STATUS_OK) {
        return s;
    }
    if (!there) {
        return error_set(err, STATUS_NOT_FOUND, "there is no such user any more");
    }
    return now.role != seen->role || auth_groups_bytes(&now) != seen->n_groups ||
                   memcmp(now.group_names, seen->groups, seen->n_groups) != 0
               ? error_set(err, STATUS_CONFLICT,
                           "this user was given another role or other groups meanwhile: look again")
               : STATUS_OK;
}
