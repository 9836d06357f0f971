/* Writing: endpoints, deliveries and what became of them. Reading for people is webhooks_list.c. */
#include "serve/webhooks_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/db.h"
#include "base/log.h"
#include "serve/http/jsonw.h"

#define OF_ENDPOINT_MAX 2

const struct webhook_event webhook_events[] = {
    {"document.ingested", "a document is new or has changed, and can be found"},
    {"document.failed", "a document could not be read"},
    {"answer.flagged", "somebody said that an answer, or a passage of one, was wrong"},
    {"budget.warning", "a budget is nearly spent"},
    {"budget.exceeded", "a budget is spent"},
    {"job.done", "a job ended, well or not"},
    {NULL, NULL},
};

static void bind_text(sqlite3_stmt *st, int i, const char *text)
{
    (void)sqlite3_bind_text(st, i, text == NULL ? "" : text, -1, SQLITE_STATIC);
}

static enum status finish(sqlite3 *db, enum status s, struct error *err)
{
    if (s == STATUS_OK) {
        s = db_exec(db, "COMMIT", err);
    }
    if (s != STATUS_OK) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return s;
}

/* One number of a statement that is bound; finalizes it. */
static enum status number(sqlite3_stmt *st, int64_t *out, struct error *err)
{
    bool row = false;
    enum status s = db_row(st, &row, err);
    *out = s == STATUS_OK && row ? sqlite3_column_int64(st, 0) : 0;
    (void)sqlite3_finalize(st);
    return s;
}

static enum status count(sqlite3 *db, const char *sql, int64_t *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    return s == STATUS_OK ? number(st, out, err) : s;
}

static void stamp(int64_t now_ms, char out[32])
{
    time_t t = (time_t)(now_ms / 1000);
    struct tm tm;
    (void)gmtime_r(&t, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + n, 32 - n, ".%03dZ", (int)(now_ms % 1000));
}

/* ---- deliveries to be ---- */

static enum status write_body(const struct webhook_happening *h, const char *data, const char *id,
                              int64_t now_ms, struct buf *out, struct error *err)
{
    char at[32];
    struct jsonw w;
    stamp(now_ms, at);
    buf_init(out, WEBHOOK_BODY_MAX);
    jsonw_init(&w, out);
    jsonw_open(&w, '{');
    jsonw_field_z(&w, "id", id);
    jsonw_field_z(&w, "type", h->event);
    jsonw_field_z(&w, "timestamp", at);
    jsonw_field_z(&w, "tenant", h->tenant);
    jsonw_key(&w, "data");
    jsonw_raw(&w, str_from(data));
    jsonw_close(&w, '}');
    enum status s = buf_status(out);
    return s == STATUS_OK ? s : error_set(err, s, "an event is too long to be told of");
}

static enum status insert(sqlite3 *db, const struct webhook_happening *h, const char *data,
                          const char *webhook, char id[ID_CAP], struct error *err)
{
    sqlite3_stmt *st = NULL;
    struct buf body = {0};
    int64_t now_ms = clock_wall_ms();
    id_new(id);
    enum status s = write_body(h, data, id, now_ms, &body, err);
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "INSERT INTO deliveries(id,webhook,event,ref,body,state,due_wall_ms,"
                       "created_wall_ms) SELECT ?1,?2,?3,?4,?5,0,?6,?6"
                       " WHERE NOT EXISTS(SELECT 1 FROM erased WHERE document=?4)",
                       &st, err);
    }
    if (s == STATUS_OK) {
        bind_text(st, 1, id);
        bind_text(st, 2, webhook);
        bind_text(st, 3, h->event);
        bind_text(st, 4, h->ref);
        (void)sqlite3_bind_text(st, 5, body.ptr, (int)body.len, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 6, now_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    buf_deinit(&body);
    return s;
}

static enum status room(sqlite3 *db, struct error *err)
{
    int64_t waiting = 0;
    enum status s = count(db, "SELECT count(*) FROM deliveries WHERE state=0", &waiting, err);
    return s == STATUS_OK && waiting >= WEBHOOK_WAITING_MAX
               ? error_set(err, STATUS_BUSY, "%d deliveries of webhooks wait already",
                           WEBHOOK_WAITING_MAX)
               : s;
}

/* May the endpoint's maker read it? groups: names with a comma after each; NULL: an
 * administrator's. */
static bool may_know(const char *groups, const struct webhook_happening *h)
{
    if (groups == NULL || h->n_readers == 0) {
        return true;
    }
    for (size_t i = 0; i < h->n_readers; i++) {
        size_t n = strlen(h->readers[i]);
        for (const char *p = groups; n > 0 && (p = strstr(p, h->readers[i])) != NULL; p++) {
            if ((p == groups || p[-1] == ',') && p[n] == ',') {
                return true;
            }
        }
    }
    return false;
}

struct chosen {
    char id[WEBHOOKS_MAX][ID_CAP];
    bool brief[WEBHOOKS_MAX];
    size_t n;
};

static enum status choose(sqlite3 *db, const struct webhook_happening *h, struct chosen *out,
                          struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    out->n = 0;
    enum status s = db_prepare(db,
                               "SELECT id, groups, by FROM webhooks WHERE enabled=1"
                               " AND instr(events, ?1||',')>0",
                               &st, err);
    if (s == STATUS_OK) {
        bind_text(st, 1, h->event);
    }
    while (s == STATUS_OK && (s = db_row(st, &row, err)) == STATUS_OK && row) {
        const char *groups = (const char *)sqlite3_column_text(st, 1);
        if (out->n < WEBHOOKS_MAX && may_know(groups, h)) {
            out->brief[out->n] =
                h->whose != NULL && groups != NULL && !str_eq(db_column(st, 2), str_from(h->whose));
            (void)snprintf(out->id[out->n++], ID_CAP, "%s", db_column(st, 0).ptr);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_put(sqlite3 *db, const struct webhook_happening *h, struct error *err)
{
    struct chosen to;
    char id[ID_CAP];
    enum status s = choose(db, h, &to, err);
    if (s == STATUS_OK && to.n > 0) {
        s = room(db, err);
    }
    for (size_t i = 0; i < to.n && s == STATUS_OK; i++) {
        s = insert(db, h, to.brief[i] ? h->brief : h->data, to.id[i], id, err);
    }
    return s;
}

/* ---- what waits ---- */

enum status webhooks_store_state(sqlite3 *db, struct webhook_state *out, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(
        db,
        "SELECT EXISTS(SELECT 1 FROM webhooks WHERE enabled=1),"
        " EXISTS(SELECT 1 FROM webhooks WHERE enabled=1 AND instr(events,'document.')>0),"
        " ifnull((SELECT min(due_wall_ms) FROM deliveries d WHERE state=0 AND leased=0 AND"
        "  (event='ping' OR EXISTS(SELECT 1 FROM webhooks w WHERE w.id=d.webhook"
        "   AND w.enabled=1))),0),"
        " ifnull((SELECT value FROM webhook_notes WHERE name='cursor'),-1)",
        &st, err);
    if (s == STATUS_OK) {
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && row) {
        *out = (struct webhook_state){.endpoints = sqlite3_column_int(st, 0) != 0,
                                      .documents = sqlite3_column_int(st, 1) != 0,
                                      .due_ms = sqlite3_column_int64(st, 2),
                                      .cursor = sqlite3_column_int64(st, 3)};
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_store_begin(sqlite3 *db, const char *home, struct webhook_state *out,
                                 struct error *err)
{
    if (webhooks_seal(db, home, err) != STATUS_OK) {
        LOG_ERROR("secrets of webhooks cannot be sealed", LOG_STR("err", err->text), LOG_END);
    }
    enum status s = db_exec(db, "UPDATE deliveries SET leased=0 WHERE leased=1", err);
    return s == STATUS_OK ? webhooks_store_state(db, out, err) : s;
}

static enum status read_due(sqlite3 *db, const char *home, int64_t now_ms,
                            struct webhook_delivery *out, bool *found, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(
        db,
        "SELECT d.id, d.webhook, w.url, d.body, d.attempts,"
        " max(d.created_wall_ms, d.again_wall_ms), w.secret,"
        " iif(w.secret_old_until_ms>?1, w.secret_old, NULL), w.by, w.groups IS NULL"
        " FROM deliveries d JOIN webhooks w ON w.id=d.webhook"
        " WHERE d.state=0 AND d.leased=0 AND d.due_wall_ms<=?1"
        " AND (w.enabled=1 OR d.event='ping')"
        " AND d.webhook NOT IN (SELECT webhook FROM deliveries WHERE leased=1 GROUP BY webhook"
        "  HAVING count(*)>=?2)"
        " ORDER BY d.due_wall_ms LIMIT 1",
        &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, now_ms);
        (void)sqlite3_bind_int(st, 2, OF_ENDPOINT_MAX);
        s = db_row(st, found, err);
    }
    if (s == STATUS_OK && *found) {
        struct str body = db_column(st, 3), secret = db_column(st, 6), old = db_column(st, 7);
        (void)snprintf(out->id, sizeof out->id, "%.*s", STR_ARG(db_column(st, 0)));
        (void)snprintf(out->webhook, sizeof out->webhook, "%.*s", STR_ARG(db_column(st, 1)));
        (void)snprintf(out->by, sizeof out->by, "%.*s", STR_ARG(db_column(st, 8)));
        out->everything = sqlite3_column_int(st, 9) != 0;
        (void)snprintf(out->url, sizeof out->url, "%.*s", STR_ARG(db_column(st, 2)));
        out->attempts = (unsigned)sqlite3_column_int(st, 4);
        out->created_ms = sqlite3_column_int64(st, 5);
        out->lost = !webhook_secret_unseal(home, out->webhook, secret, out->secret);
        out->has_old = webhook_secret_unseal(home, out->webhook, old, out->secret_old);
        out->body = calloc(1, body.len + 1);
        if (out->body == NULL) {
            s = error_set(err, STATUS_NO_MEMORY, "out of memory");
        } else {
            memcpy(out->body, body.ptr, body.len);
        }
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_store_take(sqlite3 *db, const char *home, int64_t now_ms,
                                struct webhook_delivery *out, bool *found, struct error *err)
{
    sqlite3_stmt *st = NULL;
    *found = false;
    *out = (struct webhook_delivery){.body = NULL};
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = read_due(db, home, now_ms, out, found, err);
    if (s == STATUS_OK && *found) {
        s = db_prepare(db, "UPDATE deliveries SET leased=1 WHERE id=?1", &st, err);
        if (s == STATUS_OK) {
            bind_text(st, 1, out->id);
            s = db_run(st, err);
        }
        (void)sqlite3_finalize(st);
    }
    s = finish(db, s, err);
    if (s != STATUS_OK) {
        free(out->body);
        out->body = NULL;
        *found = false;
    }
    return s;
}

/* ---- what became of it ---- */

static enum status end_delivery(sqlite3 *db, const struct webhook_outcome *o, struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool over = o->taken || o->last;
    enum status s = db_prepare(
        db,
        "UPDATE deliveries SET leased=0, attempts=attempts+1, status=?2, error=?3, took_ms=?4,"
        " state=?5, due_wall_ms=iif(?5=0,?6,due_wall_ms), ended_wall_ms=iif(?5=0,0,?7)"
        " WHERE id=?1 AND state=0 AND leased=1",
        &st, err);
    if (s == STATUS_OK) {
        bind_text(st, 1, o->delivery);
        (void)sqlite3_bind_int64(st, 2, o->status);
        bind_text(st, 3, o->error);
        (void)sqlite3_bind_int64(st, 4, o->took_ms);
        (void)sqlite3_bind_int(st, 5, !over ? 0 : o->taken ? 1 : 2);
        (void)sqlite3_bind_int64(st, 6, o->due_ms);
        (void)sqlite3_bind_int64(st, 7, o->now_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

static enum status end_endpoint(sqlite3 *db, const struct webhook_outcome *o, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(
        db,
        o->taken  ? "UPDATE webhooks SET failing_wall_ms=0, ok_wall_ms=?2 WHERE id=?1"
        : o->over ? "UPDATE webhooks SET enabled=0, why='" WEBHOOK_WHY_OVER
                    "' WHERE id=?1 AND enabled=1"
        : o->gone ? "UPDATE webhooks SET enabled=0, why='the receiver wants no more (HTTP 410)'"
                    " WHERE id=?1 AND enabled=1"
                  : "UPDATE webhooks SET failing_wall_ms=iif(failing_wall_ms=0,?2,failing_wall_ms),"
                    " enabled=iif(failing_wall_ms<>0 AND failing_wall_ms<=?2-?3,0,enabled),"
                    " why=iif(failing_wall_ms<>0 AND failing_wall_ms<=?2-?3 AND enabled=1,"
                    "'it took nothing for too long',why) WHERE id=?1",
        &st, err);
    if (s == STATUS_OK) {
        bind_text(st, 1, o->webhook);
        if (o->taken || !(o->gone || o->over)) {
            (void)sqlite3_bind_int64(st, 2, o->now_ms);
        }
        if (!o->taken && !o->gone && !o->over) {
            (void)sqlite3_bind_int64(st, 3, o->disable_ms);
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_store_outcome(sqlite3 *db, const struct webhook_outcome *o, struct error *err)
{
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = end_delivery(db, o, err);
    if (s == STATUS_OK && o->webhook[0] != '\0') {
        s = end_endpoint(db, o, err);
    }
    return finish(db, s, err);
}

static enum status run2(sqlite3 *db, const char *sql, int64_t a, int64_t b, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        (void)sqlite3_bind_int64(st, 1, a);
        if (sqlite3_bind_parameter_count(st) > 1) {
            (void)sqlite3_bind_int64(st, 2, b);
        }
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_store_sweep(sqlite3 *db, int64_t now_ms, int64_t retry_ms, int64_t keep_ms,
                                 struct error *err)
{
    enum status s = run2(db,
                         "UPDATE deliveries SET state=2, ended_wall_ms=?1,"
                         " error=iif(error='','it waited too long',error)"
                         " WHERE state=0 AND leased=0"
                         " AND max(created_wall_ms, again_wall_ms)<=?1-?2",
                         now_ms, retry_ms, err);
    s = s == STATUS_OK ? run2(db,
                              "UPDATE webhooks SET secret_old=NULL, secret_old_until_ms=0"
                              " WHERE secret_old_until_ms<>0 AND secret_old_until_ms<=?1",
                              now_ms, 0, err)
                       : s;
    return s == STATUS_OK
               ? run2(db, "DELETE FROM deliveries WHERE state<>0 AND ended_wall_ms<=?1-?2", now_ms,
                      keep_ms, err)
               : s;
}

enum status webhooks_store_cursor(sqlite3 *db, int64_t cursor, struct error *err)
{
    return run2(db,
                "INSERT INTO webhook_notes VALUES('cursor',?1)"
                " ON CONFLICT(name) DO UPDATE SET value=?1",
                cursor, 0, err);
}

/* ---- endpoints ---- */

static enum status insert_endpoint(sqlite3 *db, const char *home, const struct webhook_new *n,
                                   struct error *err)
{
    sqlite3_stmt *st = NULL;
    uint8_t sealed[WEBHOOK_SEALED_BYTES];
    enum status s = webhook_secret_seal(home, n->id, n->secret, sealed, err);
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "INSERT INTO webhooks(id,name,url,events,secret,enabled,why,by,"
                       "groups,created_wall_ms) VALUES(?1,?2,?3,?4,?5,1,'',?6,?7,?8)",
                       &st, err);
    }
    if (s == STATUS_OK) {
        bind_text(st, 1, n->id);
        bind_text(st, 2, n->name);
        bind_text(st, 3, n->url);
        bind_text(st, 4, n->events);
        (void)sqlite3_bind_blob(st, 5, sealed, sizeof sealed, SQLITE_STATIC);
        bind_text(st, 6, n->by);
        if (n->groups != NULL) {
            bind_text(st, 7, n->groups);
        }
        (void)sqlite3_bind_int64(st, 8, clock_wall_ms());
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_store_add(sqlite3 *db, const char *home, struct webhook_new *n,
                               struct error *err)
{
    int64_t many = 0, others = 0;
    id_new(n->id);
    random_bytes(n->secret, sizeof n->secret);
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = count(db, "SELECT count(*) FROM webhooks", &many, err);
    if (s == STATUS_OK && many >= WEBHOOKS_MAX) {
        s = error_set(err, STATUS_TOO_LARGE, "there are %d webhooks already; remove one first",
                      WEBHOOKS_MAX);
    }
    if (s == STATUS_OK) {
        s = count(db,
                  "SELECT EXISTS(SELECT 1 FROM webhooks WHERE enabled=1"
                  " AND instr(events,'document.')>0)",
                  &others, err);
    }
    if (s == STATUS_OK && others == 0 && strstr(n->events, "document.") != NULL) {
        s = webhooks_store_cursor(db, n->cursor, err);
    }
    if (s == STATUS_OK) {
        s = insert_endpoint(db, home, n, err);
    }
    return finish(db, s, err);
}

/* A statement whose ?1 is the id; NOT_FOUND when it changed nothing. */
static enum status change(sqlite3 *db, const char *sql, const char *id, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, sql, &st, err);
    if (s == STATUS_OK) {
        bind_text(st, 1, id);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && sqlite3_changes(db) == 0
               ? error_set(err, STATUS_NOT_FOUND, "there is no such webhook")
               : s;
}

enum status webhooks_store_remove(sqlite3 *db, const char *id, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = change(db, "DELETE FROM webhooks WHERE id=?1", id, err);
    if (s == STATUS_OK) {
        s = db_prepare(db, "DELETE FROM deliveries WHERE webhook=?1", &st, err);
    }
    if (s == STATUS_OK) {
        bind_text(st, 1, id);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return finish(db, s, err);
}

enum status webhooks_store_enable(sqlite3 *db, const char *id, bool on, struct error *err)
{
    return change(db,
                  on ? "UPDATE webhooks SET enabled=1, why='', failing_wall_ms=0 WHERE id=?1"
                     : "UPDATE webhooks SET enabled=0, why='switched off' WHERE id=?1",
                  id, err);
}

enum status webhooks_store_secret(sqlite3 *db, const char *home, const char *id,
                                  uint8_t secret[WEBHOOK_SECRET_BYTES], int64_t old_until_ms,
                                  struct error *err)
{
    sqlite3_stmt *st = NULL;
    uint8_t sealed[WEBHOOK_SEALED_BYTES];
    random_bytes(secret, WEBHOOK_SECRET_BYTES);
    enum status s = webhook_secret_seal(home, id, secret, sealed, err);
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "UPDATE webhooks SET secret_old=iif(?3>0,secret,NULL),"
                       " secret_old_until_ms=?3, secret=?2 WHERE id=?1",
                       &st, err);
    }
    if (s == STATUS_OK) {
        bind_text(st, 1, id);
        (void)sqlite3_bind_blob(st, 2, sealed, sizeof sealed, SQLITE_STATIC);
        (void)sqlite3_bind_int64(st, 3, old_until_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return s == STATUS_OK && sqlite3_changes(db) == 0
               ? error_set(err, STATUS_NOT_FOUND, "there is no such webhook")
               : s;
}

enum status webhooks_store_ping(sqlite3 *db, const char *tenant, const char *id, char out[ID_CAP],
                                struct error *err)
{
    const struct webhook_happening h = {
        .tenant = tenant, .event = "ping", .ref = "", .data = "{\"hello\":\"from Carrel\"}"};
    int64_t there = 0;
    sqlite3_stmt *st = NULL;
    enum status s = db_prepare(db, "SELECT count(*) FROM webhooks WHERE id=?1", &st, err);
    if (s == STATUS_OK) {
        bind_text(st, 1, id);
        s = number(st, &there, err);
    }
    if (s == STATUS_OK && there == 0) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such webhook");
    }
    s = s == STATUS_OK ? room(db, err) : s;
    return s == STATUS_OK ? insert(db, &h, h.data, id, out, err) : s;
}

/* Why it cannot be sent again: read before it is changed, since one UPDATE tells only that it did
 * nothing. */
static enum status may_again(sqlite3 *db, const char *webhook, const char *delivery,
                             struct error *err)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    enum status s = db_prepare(db,
                               "SELECT w.enabled OR d.event='ping', d.leased, d.body=''"
                               " FROM deliveries d JOIN webhooks w ON w.id=d.webhook"
                               " WHERE d.id=?1 AND d.webhook=?2",
                               &st, err);
    if (s == STATUS_OK) {
        bind_text(st, 1, delivery);
        bind_text(st, 2, webhook);
        s = db_row(st, &row, err);
    }
    if (s == STATUS_OK && !row) {
        s = error_set(err, STATUS_NOT_FOUND, "there is no such delivery");
    } else if (s == STATUS_OK && sqlite3_column_int(st, 0) == 0) {
        s = error_set(err, STATUS_CONFLICT, "the webhook is off; switch it on first");
    } else if (s == STATUS_OK && sqlite3_column_int(st, 1) != 0) {
        s = error_set(err, STATUS_CONFLICT, "it is being sent just now");
    } else if (s == STATUS_OK && sqlite3_column_int(st, 2) != 0) {
        s = error_set(err, STATUS_CONFLICT, "what was told is not kept any more");
    }
    (void)sqlite3_finalize(st);
    return s;
}

enum status webhooks_store_again(sqlite3 *db, const char *webhook, const char *delivery,
                                 int64_t now_ms, struct error *err)
{
    sqlite3_stmt *st = NULL;
    enum status s = db_exec(db, "BEGIN IMMEDIATE", err);
    if (s != STATUS_OK) {
        return s;
    }
    s = may_again(db, webhook, delivery, err);
    s = s == STATUS_OK ? room(db, err) : s;
    if (s == STATUS_OK) {
        s = db_prepare(db,
                       "UPDATE deliveries SET state=0, due_wall_ms=?2, ended_wall_ms=0,"
                       " again_wall_ms=?2 WHERE id=?1",
                       &st, err);
    }
    if (s == STATUS_OK) {
        bind_text(st, 1, delivery);
        (void)sqlite3_bind_int64(st, 2, now_ms);
        s = db_run(st, err);
    }
    (void)sqlite3_finalize(st);
    return finish(db, s, err);
}
