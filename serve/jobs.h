/* Jobs: calls of the API that go on after their client has been told 202. A job is a request
 * without a connection (http_request_detached) that runs the handler it would have run; what would
 * have been sent is kept for jobs.keep_hours, told to whoever asked and nobody else, and posted to
 * a callback where one was given. Rows lie in tenants/<tenant>/serve.db; which of them are alive is
 * known by this process only: a row that is not over and not alive was interrupted. Loop thread,
 * but for jobs_store.c. */
#ifndef CARREL_SERVE_JOBS_H
#define CARREL_SERVE_JOBS_H

#include <sqlite3.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/text/subject.h"
#include "serve/request.h"

#define JOBS_RUNNING_MAX 8 /* that answer; half of them one tenant's */
#define JOBS_WATCHING_MAX 256
#define JOBS_ALIVE_MAX 512
#define JOBS_TENANT_MAX 128 /* alive */
#define JOB_RESULT_MAX ((size_t)8 * 1024 * 1024)

/* tenants/<id>/serve.db */
#define JOBS_SCHEMA                                                                                \
    "CREATE TABLE jobs(id TEXT PRIMARY KEY, user TEXT NOT NULL, kind TEXT NOT NULL,"               \
    " model TEXT NOT NULL, state TEXT NOT NULL, status INTEGER NOT NULL, result TEXT NOT NULL,"    \
    " delivery TEXT NOT NULL, created_wall_ms INTEGER NOT NULL, ended_wall_ms INTEGER NOT NULL)"   \
    " STRICT, WITHOUT ROWID;"                                                                      \
    "CREATE INDEX jobs_by_time ON jobs(created_wall_ms);"

struct job_row {
    const char *id, *user;
    const char *kind;     /* "chat", "responses", "messages", "ingest" */
    const char *model;    /* as asked for; "" */
    const char *state;    /* "queued", "running", "completed", "failed", "cancelled" */
    const char *result;   /* JSON, or "" */
    const char *delivery; /* of the callback, in words; "" none */
    int64_t status, created_wall_ms, ended_wall_ms;
};

/* ---- jobs_store.c: on the lane of answers.h ---- */

enum status jobs_put(sqlite3 *db, const struct job_row *r, struct error *err) MUST_CHECK;
/* NOT_FOUND: there is none, or it is another user's (user NULL: anybody's). */
enum status jobs_get(sqlite3 *db, const char *user, const char *id, struct arena *a,
                     struct job_row *out, struct error *err) MUST_CHECK;
/* Newest first, without results. */
enum status jobs_list(sqlite3 *db, const char *user, size_t limit, struct arena *a,
                      struct job_row **out, size_t *n, struct error *err) MUST_CHECK;
enum status jobs_remove(sqlite3 *db, const char *id, struct error *err) MUST_CHECK;
enum status jobs_delivered(sqlite3 *db, const char *id, const char *how,
                           struct error *err) MUST_CHECK;
enum status jobs_expire(sqlite3 *db, int64_t before_ms, struct error *err) MUST_CHECK;
/* An erasure's part: results made from one of these documents, or that name a data subject. */
enum status jobs_forget(sqlite3 *db, const char *const *documents, size_t n,
                        struct subject_set *subjects, struct error *err) MUST_CHECK;

/* ---- jobs.c ---- */

struct jobs;
struct job;

enum status jobs_new(struct serve *s, struct jobs **out, struct error *err) MUST_CHECK;
/* What runs is dropped and will be told as interrupted. closed runs last. */
void jobs_close(struct jobs *j, void (*closed)(void *data), void *data);

struct job_request {
    const char *kind;
    const char *model;    /* NULL: none */
    const char *callback; /* NULL: none; checked here */
    const char *path;     /* of the route whose limits count; NULL: none, it only waits */
    struct str body;      /* JSON; copied */
    void (*handler)(struct request *q);
    enum error_shape errors;
    bool watches; /* waits for others: takes none of the places of those that answer */
};

/* Begins a job as q's caller and answers q: 202 and the job, or what was wrong. answer NULL: the
 * job is told as GET /api/jobs/{id} tells it. */
void jobs_start(struct request *q, const struct job_request *r,
                void (*answer)(struct request *q, const struct job_row *row));
/* Is it alive, its end not written yet, and does it run? */
bool jobs_alive(const struct jobs *j, const char *tenant, const char *id, bool *running);
/* It is over as cancelled. False: it is not alive. */
bool jobs_cancel(struct jobs *j, const char *tenant, const char *id);
/* "Prefer: respond-async" (RFC 7240). */
bool jobs_preferred(const struct request *q);
/* Called about once a second as long as it is set. */
void jobs_watch(struct request *q, void (*look)(struct request *q));

#endif
