/* Endpoints and their deliveries, for people. */
#include <string.h>

#include "base/db.h"
#include "serve/answers.h"
#include "serve/http/jsonw.h"
#include "serve/webhooks_store.h"

static void events_json(struct jsonw *w, struct str events)
{
    jsonw_key(w, "events");
    jsonw_open(w, '[');
    for (size_t at = 0; at < events.len;) {
        const char *end = memchr(events.ptr + at, ',', events.len - at);
        size_t n = end == NULL ? events.len - at : (size_t)(end - events.ptr) - at;
        jsonw_str(w, (struct str){events.ptr + at, n});
        at += n + 1;
    }
    jsonw_close(w, ']');
}

static void seconds(struct jsonw *w, const char *key, int64_t ms)
{
    if (ms > 0) {
        jsonw_field_int(w, key, ms / 1000);
    }
}

static void webhook_json(struct jsonw *w, sqlite3_stmt *st)
{
    jsonw_open(w, '{');
    jsonw_field_str(w, "id", db_column(st, 0));
    jsonw_field_str(w, "name", db_column(st, 1));
    jsonw_field_str(w, "url", db_column(st, 2));
    events_json(w, db_column(st, 3));
    jsonw_field_bool(w, "enabled", sqlite3_column_int(st, 4) != 0);
    if (db_column(st, 5).len > 0) {
        jsonw_field_str(w, "why", db_column(st, 5));
    }
    jsonw_field_str(w, "by", db_column(st, 6));
    jsonw_field_int(w, "created", sqlite3_column_int64(st, 7) / 1000);
    seconds(w, "failing_since", sqlite3_column_int64(st, 8));
    seconds(w, "last_taken", sqlite3_column_int64(st, 9));
    jsonw_field_int(w, "waiting", sqlite3_column_int64(st, 10));
    jsonw_field_int(w, "given_up", sqlite3_column_int64(st, 11));
    jsonw_close(w, '}');
}

enum status webhooks_store_revoked(sqlite3 *db, const char *by, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "UPDATE webhooks SET enabled=0, why='" WEBHOOK_WHY_REVOKED
                               "' WHERE by=?1 AND enabled=1",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, by, -1, SQLITE_STATIC);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_store_adopt(sqlite3 *db, const char *id, const char *by, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db,
                               "UPDATE webhooks SET by=?2 WHERE id=?1 AND enabled=0"
                               " AND why IN ('" WEBHOOK_WHY_REVOKED "','" WEBHOOK_WHY_OVER "')",
                               &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(st, 2, by, -1, SQLITE_STATIC);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_store_own(sqlite3 *db, const char *id, const char *by, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s =
        db_prepare(db, "SELECT 1 FROM webhooks WHERE id=?1 AND (?2 IS NULL OR by=?2)", &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        if (by != NULL) {
            (void)sqlite3_bind_text(st, 2, by, -1, SQLITE_STATIC);
        }
        s = db_row(st, &row, err);
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && !row ? error_set(err, STATUS_NOT_FOUND, "there is no such webhook")
                                  : s;
}

enum status webhooks_store_list(sqlite3 *db, const char *id, const char *by, struct jsonw *w,
                                struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    size_t n = 0;
    enum status s = db_prepare(
        db,
        "SELECT id,name,url,events,enabled,why,by,created_wall_ms,failing_wall_ms,ok_wall_ms,"
        " (SELECT count(*) FROM deliveries d WHERE d.webhook=w.id AND d.state=0),"
        " (SELECT count(*) FROM deliveries d WHERE d.webhook=w.id AND d.state=2)"
        " FROM webhooks w WHERE (?1 IS NULL OR id=?1) AND (?2 IS NULL OR by=?2) ORDER BY "
        "created_wall_ms, id",
        &st, err);
    if (s == STATUS_OK && id != NULL) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    }
    if (s == STATUS_OK && by != NULL) {
        (void)sqlite3_bind_text(st, 2, by, -1, SQLITE_STATIC);
    }
    if (id == NULL) {
        jsonw_key(w, "webhooks");
        jsonw_open(w, '[');
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        webhook_json(w, st);
        n++;
    }
    if (id == NULL) {
        jsonw_close(w, ']');
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && id != NULL && n == 0
               ? error_set(err, STATUS_NOT_FOUND, "there is no such webhook")
               : s;
}

static void delivery_json(struct jsonw *w, sqlite3_stmt *st)
{
    static const char *const states[] = {"waiting", "taken", "given_up"};
    int state = sqlite3_column_int(st, 3);
    jsonw_open(w, '{');
    jsonw_field_str(w, "id", db_column(st, 0));
    jsonw_field_str(w, "event", db_column(st, 1));
    if (db_column(st, 2).len > 0) {
        jsonw_field_str(w, "about", db_column(st, 2));
    }
    jsonw_field_z(w, "state", states[state >= 0 && state <= 2 ? state : 2]);
    jsonw_field_int(w, "attempts", sqlite3_column_int64(st, 4));
    seconds(w, "created", sqlite3_column_int64(st, 5));
    if (state == 0) {
        seconds(w, "next", sqlite3_column_int64(st, 6));
    }
    seconds(w, "ended", sqlite3_column_int64(st, 7));
    seconds(w, "again", sqlite3_column_int64(st, 11));
    if (sqlite3_column_int64(st, 8) > 0) {
        jsonw_field_int(w, "status", sqlite3_column_int64(st, 8));
    }
    if (db_column(st, 9).len > 0) {
        jsonw_field_str(w, "error", db_column(st, 9));
    }
    if (sqlite3_column_int64(st, 4) > 0) {
        jsonw_field_int(w, "took_ms", sqlite3_column_int64(st, 10));
    }
    jsonw_close(w, '}');
}

enum status webhooks_store_log(sqlite3 *db, const char *id, int64_t limit, struct jsonw *w,
                               struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = webhooks_store_own(db, id, NULL, err);
    if (s != STATUS_OK) {
        return s;
    }
    s = db_prepare(
        db,
        "SELECT id,event,ref,state,attempts,created_wall_ms,due_wall_ms,ended_wall_ms,status,error,"
        "took_ms,again_wall_ms FROM deliveries WHERE webhook=?1 ORDER BY created_wall_ms DESC, id "
        "LIMIT ?2",
        &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 2, limit);
    }
    jsonw_key(w, "deliveries");
    jsonw_open(w, '[');
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        delivery_json(w, st);
    }
    jsonw_close(w, ']');
    (void)sqlite3_finalize(st);
    return s;
}

/* ---- what an erasure takes ---- */

enum status webhooks_forget(sqlite3 *db, struct subject_set *subjects, struct error *err)
{
    static const struct {
        const char *find, *drop;
    } what[] = {
        {"SELECT id, body || char(10) || error FROM deliveries",
         "DELETE FROM deliveries WHERE id=?1"},
        {"SELECT id, name FROM webhooks", "UPDATE webhooks SET name='' WHERE id=?1"},
    };
    enum status s = STATUS_OK;
    for (size_t i = 0; i < sizeof what / sizeof what[0] && s == STATUS_OK; i++) {
        sqlite3_stmt *st = NULL, *drop = NULL;
        bool row = false;
        s = db_prepare(db, what[i].find, &st, err);
        s = s == STATUS_OK ? db_prepare(db, what[i].drop, &drop, err) : s;
        while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
            bool named = false;
            s = answers_named_in(subjects, db_column(st, 1), &named, err);
            if (s == STATUS_OK && named) {
                struct str id = db_column(st, 0);
                (void)sqlite3_bind_text(drop, 1, id.ptr, (int)id.len, SQLITE_TRANSIENT);
                s = db_run(drop, err);
                db_reset(drop);
            }
        }
        (void)sqlite3_finalize(st);
        (void)sqlite3_finalize(drop);
    }
    return s;
}
