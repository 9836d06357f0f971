/* The record of every answer, in tenants/<tenant>/serve.db: what was asked, which passages were
 * shown to the engine, who answered and how it ended. Written and read on a lane of its own. */
#ifndef CARREL_SERVE_ANSWERS_H
#define CARREL_SERVE_ANSWERS_H

#include <sqlite3.h>
#include <uv.h>

#include "base/buf.h"
#include "base/lane.h"
#include "base/status.h"
#include "base/text/subject.h"

struct answers;

/* All text is borrowed until done has run; NULL counts as "". */
struct answer_record {
    const char *id, *tenant, *user, *question;
    const char *asked_model; /* "carrel:handbook" */
    const char *engine, *model;
    const char *route;    /* JSON object */
    const char *search;   /* JSON object: what found the passages; NULL: nothing was searched */
    const char *passages; /* JSON array: number, document, passage, hash, label */
    const char *cited;    /* JSON array of numbers */
    const char *calls;    /* JSON array of the functions' names; NULL: none was called */
    const char *outcome;  /* "answered", "refused", "cancelled", "failed" */
    const char *error, *note;
    int64_t created_wall_ms, search_ms, first_ms, total_ms;
    int64_t marks_removed, prompt_tokens, completion_tokens;
    int64_t turns_expired_ms; /* turns made before this wall time go (turns.h) */
};

/* json: of a read that succeeded, valid until it returns; otherwise NULL. */
typedef void (*answers_done_fn)(const struct error *err, struct buf *json, void *data);

enum status answers_open(uv_loop_t *loop, const char *home, struct answers **out,
                         struct error *err) MUST_CHECK;
/* done runs exactly once; at once when the queue is full. */
void answers_write(struct answers *a, const struct answer_record *r, answers_done_fn done,
                   void *data);
/* The record as a JSON object; NOT_FOUND when there is none, or it is another user's and all is
 * false. tenant, user, id: borrowed until done. */
void answers_read(struct answers *a, const char *tenant, const char *user, bool all, const char *id,
                  answers_done_fn done, void *data);
/* What is to be forgotten, and in the end how it went. */
struct forgetting {
    const char *const
        *documents; /* answers made from one of them, now and whenever one is written */
    size_t n;
    struct subject_set
        *subjects;     /* answers that name one, in question, titles or remarks; NULL: none */
    bool dry_run;      /* count and change nothing */
    const char *files; /* folder of files that were uploaded; set by the lane */
    bool whole;        /* write the file anew: something was found in it */
    uint32_t answers;  /* that went */
    bool clean;        /* false: a copy may still be in the file, call again */
};
/* Deletes such answers with their questions, then takes the bytes out of the file. f: borrowed
 * until done. */
typedef void (*answers_forgotten_fn)(const struct error *err, void *data);
void answers_forget(struct answers *a, const char *tenant, struct forgetting *f,
                    answers_forgotten_fn done, void *data);
/* answers_forget.c: the same on the lane. */
/* f's documents into the table `erased`, which the database has (document TEXT PRIMARY KEY). */
enum status answers_remember_erased(sqlite3 *db, const struct forgetting *f,
                                    struct error *err) MUST_CHECK;
enum status answers_forget_now(sqlite3 *db, struct forgetting *f, struct error *err) MUST_CHECK;
/* Does text, as it stands or as JSON within it reads, name one of them? */
enum status answers_named_in(struct subject_set *subjects, struct str text, bool *named,
                             struct error *err) MUST_CHECK;
/* Other work on the tenant's database, on the same lane; data, borrowed until done, goes to both.
 */
typedef enum status (*answers_work_fn)(sqlite3 *db, void *data, struct error *err);
void answers_run(struct answers *a, const char *tenant, answers_work_fn work, answers_done_fn done,
                 void *data);
/* After what is under way; on_closed last. */
void answers_close(struct answers *a, void (*on_closed)(void *data), void *data);

#endif
