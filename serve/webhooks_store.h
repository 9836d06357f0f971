/* Endpoints and deliveries in tenants/<id>/serve.db. Functions of the lane of answers.h; each makes
 * its own transaction, but webhooks_put. */
#ifndef CARREL_SERVE_WEBHOOKS_STORE_H
#define CARREL_SERVE_WEBHOOKS_STORE_H

#include <sqlite3.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/settings/settings.h"
#include "base/text/subject.h"
#include "ingest/ingest_rpc.h"
#include "serve/outbound.h"
#include "serve/webhooks.h"

#define WEBHOOKS_MAX 32
#define WEBHOOK_NAME_MAX 100
#define WEBHOOK_WAITING_MAX 10000 /* deliveries of a tenant; no more are taken */
#define WEBHOOK_BODY_MAX ((size_t)256 * 1024)
#define WEBHOOK_ERROR_MAX 300
#define WEBHOOK_SEALED_BYTES 72 /* of a secret, as it is kept */

/* state: 0 waits, 1 was taken, 2 was given up. What tells of something erased goes with it. */
#define WEBHOOKS_SCHEMA                                                                            \
    "CREATE TABLE webhooks(id TEXT PRIMARY KEY, name TEXT NOT NULL, url TEXT NOT NULL,"            \
    " events TEXT NOT NULL, secret BLOB NOT NULL, enabled INTEGER NOT NULL, why TEXT NOT NULL,"    \
    " by TEXT NOT NULL, groups TEXT, created_wall_ms INTEGER NOT NULL,"                            \
    " failing_wall_ms INTEGER NOT NULL DEFAULT 0, ok_wall_ms INTEGER NOT NULL DEFAULT 0)"          \
    " STRICT, WITHOUT ROWID;"                                                                      \
    "CREATE TABLE deliveries(id TEXT PRIMARY KEY, webhook TEXT NOT NULL, event TEXT NOT NULL,"     \
    " ref TEXT NOT NULL, body TEXT NOT NULL, state INTEGER NOT NULL,"                              \
    " leased INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,"                     \
    " due_wall_ms INTEGER NOT NULL, created_wall_ms INTEGER NOT NULL,"                             \
    " ended_wall_ms INTEGER NOT NULL DEFAULT 0, status INTEGER NOT NULL DEFAULT 0,"                \
    " error TEXT NOT NULL DEFAULT '', took_ms INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;"  \
    "CREATE INDEX deliveries_due ON deliveries(due_wall_ms) WHERE state=0;"                        \
    "CREATE INDEX deliveries_leased ON deliveries(webhook) WHERE leased=1;"                        \
    "CREATE INDEX deliveries_by ON deliveries(webhook, created_wall_ms);"                          \
    "CREATE INDEX deliveries_ref ON deliveries(ref) WHERE ref<>'';"                                \
    "CREATE INDEX deliveries_ended ON deliveries(ended_wall_ms) WHERE state<>0;"                   \
    "CREATE TABLE webhook_notes(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;" \
    "CREATE TRIGGER deliveries_answer AFTER DELETE ON answers BEGIN"                               \
    " DELETE FROM deliveries WHERE ref=old.id; END;"                                               \
    "CREATE TRIGGER deliveries_erased AFTER INSERT ON erased BEGIN"                                \
    " DELETE FROM deliveries WHERE ref=new.document; END;"

/* A secret that was replaced signs beside the new one for a while; a delivery that is sent again
 * has its retries counted from then. */
#define WEBHOOKS_SCHEMA_2                                                                          \
    "ALTER TABLE webhooks ADD COLUMN secret_old BLOB;"                                             \
    "ALTER TABLE webhooks ADD COLUMN secret_old_until_ms INTEGER NOT NULL DEFAULT 0;"              \
    "ALTER TABLE deliveries ADD COLUMN again_wall_ms INTEGER NOT NULL DEFAULT 0;"

/* Why an endpoint is off, where it is for its maker. */
#define WEBHOOK_WHY_REVOKED "the key that made it was revoked"
#define WEBHOOK_WHY_OVER "who made it may not any more"

/* What endpoints can be told of, and what each is, for the reference. NULL after the last. */
struct webhook_event {
    const char *name, *help;
};
extern const struct webhook_event webhook_events[];

/* Inside the caller's transaction: a delivery for each endpoint that is on and for this event.
 * readers: who may know of it, names of groups each ended by NUL in n bytes; an endpoint made by a
 * key that is no administrator's gets it only where one is among the key's groups. n 0: everybody.
 * BUSY: too many wait. */
struct webhook_happening {
    const char *tenant, *event, *ref, *data;
    const char *const *readers;
    size_t n_readers;
    /* Of somebody: only administrators' endpoints and his own are told all of it, the others
     * `brief`. whose NULL: of nobody. */
    const char *whose, *brief;
};
enum status webhooks_put(sqlite3 *db, const struct webhook_happening *h,
                         struct error *err) MUST_CHECK;

/* An erasure's part: deliveries that name a data subject, whatever they tell of (what tells of
 * documents and answers goes with those), and what else of theirs is text. Inside the caller's
 * transaction. */
enum status webhooks_forget(sqlite3 *db, struct subject_set *subjects,
                            struct error *err) MUST_CHECK;

/* ---- what webhooks.c does ---- */

struct webhook_state {
    bool endpoints; /* one that is on */
    bool documents; /* and is told of documents */
    int64_t due_ms; /* when the next delivery is due, wall time; 0: none waits */
    int64_t cursor; /* of ingest's events; -1: not known */
};
/* After a start: what was under way waits again, and secrets that lie in clear are sealed. */
enum status webhooks_store_begin(sqlite3 *db, const char *home, struct webhook_state *out,
                                 struct error *err) MUST_CHECK;
enum status webhooks_store_state(sqlite3 *db, struct webhook_state *out,
                                 struct error *err) MUST_CHECK;

struct webhook_delivery {
    char id[ID_CAP], webhook[ID_CAP];
    char url[OUTBOUND_URL_MAX + 1];
    uint8_t secret[WEBHOOK_SECRET_BYTES];
    uint8_t secret_old[WEBHOOK_SECRET_BYTES]; /* signs too, if has_old */
    bool has_old;
    bool lost;       /* the secret does not open: it cannot be signed */
    char by[64];     /* who made the endpoint: a key's or a user's id */
    bool everything; /* as an administrator: it is told what only those may know */
    unsigned attempts;
    int64_t created_ms; /* or when somebody had it sent again */
    char *body;         /* owned: free() */
};
/* Takes at most one that is due; *found false: none. At most two of an endpoint are out at a time.
 */
enum status webhooks_store_take(sqlite3 *db, const char *home, int64_t now_ms,
                                struct webhook_delivery *out, bool *found,
                                struct error *err) MUST_CHECK;

struct webhook_outcome {
    const char *delivery, *webhook;
    bool taken, gone; /* gone: the receiver wants no more (410) */
    bool last;        /* not to be tried again */
    bool over;        /* not sent: who made the endpoint may not any more; it is switched off */
    long status;
    const char *error;
    int64_t now_ms, took_ms, due_ms, disable_ms;
};
enum status webhooks_store_outcome(sqlite3 *db, const struct webhook_outcome *o,
                                   struct error *err) MUST_CHECK;
/* Gives up what waits longer than retry_ms, and forgets what is over longer than keep_ms. */
enum status webhooks_store_sweep(sqlite3 *db, int64_t now_ms, int64_t retry_ms, int64_t keep_ms,
                                 struct error *err) MUST_CHECK;
enum status webhooks_store_cursor(sqlite3 *db, int64_t cursor, struct error *err) MUST_CHECK;

/* ---- what the API does ---- */

struct webhook_new {
    char id[ID_CAP];
    uint8_t secret[WEBHOOK_SECRET_BYTES];
    const char *name, *url, *events; /* events: names with a comma after each */
    const char *by;                  /* the key's id, or the user's who made it */
    const char *groups;              /* names with a comma after each; NULL: an administrator's */
    int64_t cursor;                  /* of ingest, where no other endpoint waits for its events */
};
/* Fills id and secret. TOO_LARGE: there are as many as there may be; UNAVAILABLE: no key to seal
 * with. */
enum status webhooks_store_add(sqlite3 *db, const char *home, struct webhook_new *n,
                               struct error *err) MUST_CHECK;
/* NOT_FOUND */
enum status webhooks_store_remove(sqlite3 *db, const char *id, struct error *err) MUST_CHECK;
enum status webhooks_store_enable(sqlite3 *db, const char *id, bool on,
                                  struct error *err) MUST_CHECK;
/* A new secret for it; the one before signs too until old_until_ms (wall time; 0: no more). */
enum status webhooks_store_secret(sqlite3 *db, const char *home, const char *id,
                                  uint8_t secret[WEBHOOK_SECRET_BYTES], int64_t old_until_ms,
                                  struct error *err) MUST_CHECK;
/* A delivery of an endpoint is sent now, whatever became of it: the same id, the same body.
 * NOT_FOUND; CONFLICT: the endpoint is off, it is under way, or its body is not kept any more. */
enum status webhooks_store_again(sqlite3 *db, const char *webhook, const char *delivery,
                                 int64_t now_ms, struct error *err) MUST_CHECK;
/* A delivery of the event "ping" to this endpoint alone, on or not; its id in out. */
enum status webhooks_store_ping(sqlite3 *db, const char *tenant, const char *id, char out[ID_CAP],
                                struct error *err) MUST_CHECK;
/* The key that made these was revoked: they are switched off. An administrator may switch them on.
 */
enum status webhooks_store_revoked(sqlite3 *db, const char *by, struct error *err) MUST_CHECK;
/* An administrator switches on what was off because its maker may not any more: it is his now. What
 * it is told stays what it was. */
enum status webhooks_store_adopt(sqlite3 *db, const char *id, const char *by,
                                 struct error *err) MUST_CHECK;
/* NOT_FOUND: there is none, or somebody else than `by` (NULL: anybody) made it. */
enum status webhooks_store_own(sqlite3 *db, const char *id, const char *by,
                               struct error *err) MUST_CHECK;
/* "webhooks": [...] into the open object; id NULL: all of them, or those that `by` made. NOT_FOUND.
 */
struct jsonw;
enum status webhooks_store_list(sqlite3 *db, const char *id, const char *by, struct jsonw *w,
                                struct error *err) MUST_CHECK;
/* "deliveries": the newest of an endpoint. NOT_FOUND: there is none. */
enum status webhooks_store_log(sqlite3 *db, const char *id, int64_t limit, struct jsonw *w,
                               struct error *err) MUST_CHECK;

/* ---- secrets (webhooks_secret.c), sealed with the home's key ---- */

/* UNAVAILABLE: there is no key. */
enum status webhook_secret_seal(const char *home, const char *id,
                                const uint8_t secret[WEBHOOK_SECRET_BYTES],
                                uint8_t out[WEBHOOK_SEALED_BYTES], struct error *err) MUST_CHECK;
/* kept: as it lies in the database. False: it does not open. */
bool webhook_secret_unseal(const char *home, const char *id, struct str kept,
                           uint8_t out[WEBHOOK_SECRET_BYTES]) MUST_CHECK;
/* Those that lie in clear, from versions before; they leave the file and its log. */
enum status webhooks_seal(sqlite3 *db, const char *home, struct error *err) MUST_CHECK;
/* Is one sealed, of any tenant? Then a new key must not take the place of one that is missing. */
enum status webhooks_any_sealed(const char *home, bool *out, struct error *err) MUST_CHECK;

/* What is told of a document, as JSON in the arena. NULL: out of memory, or too long. */
const char *webhook_event_data(struct arena *a, const Ig__Event *e);

#endif
