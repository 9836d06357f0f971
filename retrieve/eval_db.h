/* The runs of evaluations, in tenants/<tenant>/eval.db: figures only. Questions are made anew from
 * the documents for each run and known here by a hash, so that nothing of a document's text is kept
 * and erasing one needs nothing here; what may name somebody is the name of a collection
 * (eval_db_forget). Blocking; one thread at a time. */
#ifndef CARREL_RETRIEVE_EVAL_DB_H
#define CARREL_RETRIEVE_EVAL_DB_H

#include "base/arena.h"
#include "base/text/subject.h"
#include "retrieve.pb-c.h"
#include "retrieve/measure.h"

#define EVAL_RUNS_KEPT 200

struct eval_result {
    uint64_t key;
    const char *collection; /* "": of a person's question */
    struct measured m;
};
struct eval_run {
    int64_t at_wall_ms;
    uint64_t generation;
    const char *encoder, *mode, *settings;
    uint32_t documents;
    const struct eval_result *results;
    size_t n;
};

/* Adds the run, with its intervals by collection, and forgets the oldest beyond EVAL_RUNS_KEPT. */
enum status eval_db_add(const char *home, const char *tenant, const struct eval_run *run,
                        struct error *err) MUST_CHECK;
/* Takes out the figures of collections whose names name the subject, *n of them, and cleans the
 * file (db_scrub); *clean false: call again. No file: nothing to do. */
enum status eval_db_forget(const char *home, const char *tenant, struct subject_set *set,
                           bool whole, uint32_t *n, bool *clean, struct error *err) MUST_CHECK;
/* The newest `limit` runs into out->runs; with a and b (0: not) out->difference, NOT_FOUND where
 * one is not kept or they share no question. All in arena. No file yet: no runs. */
enum status eval_db_read(const char *home, const char *tenant, uint32_t limit, uint64_t a,
                         uint64_t b, struct arena *arena, Rt__EvaluateReply *out,
                         struct error *err) MUST_CHECK;

#endif
