/* What the files of an erasure under way share. The phases are those of enum erasure_phase, in that
 * order: erase.c drives them and writes each down when it has ended, erase_store.c does what
 * lies with the store, erase_end.c answers, databases and the proof. Whatever fails is written down
 * too and tried again later. Loop thread, but for what runs on lanes. */
#ifndef CARREL_INGEST_ERASE_INTERNAL_H
#define CARREL_INGEST_ERASE_INTERNAL_H

#include "ingest/erase.h"
#include "ingest/erase_files.h"
#include "ingest/subject_cursor.h"
#include "vectorstore/vectorstore_rpc.h"

#define ERASE_ARENA ((size_t)64 << 20)
#define ERASE_WAIT_MS 100

struct erasing {
    struct tenant *t;
    uv_timer_t timer;
    bool started, timer_closed, closing, stale;
    bool busy; /* a call, an operation or a lane's work is under way */
    bool bans;
    uint8_t key[KEYED_KEY_BYTES];
    struct rpc_request *request;
    struct journal_op op;

    struct arena arena; /* of the erasure under way */
    struct erasure e;
    bool open; /* e is there */
    struct erasure_item *items;
    size_t n_items;
    uint8_t (*banned)[KEYED_BYTES]; /* contents, of versions too */
    size_t n_banned;
    struct trace *traces;
    size_t n_traces;
    struct erasure_subject subject;  /* in the arena */
    struct subject_set *subject_set; /* owned; NULL: about none */
    size_t named_since;              /* VERIFY */
    struct subject_cursor cursor;
    struct erasure_place *places;
    size_t n_places;

    size_t hidden;  /* HIDE: documents told to the store */
    int64_t n;      /* what the phase has removed so far */
    uint32_t freed; /* HIDE: contents without a place since */
    bool begun;     /* the phase's first call was made */
    bool waiting_fit;
    bool fits_intact; /* FIT: none of them knows of what was erased */
    char clean[128]; /* FIT: the one that stays */
    char **fits;     /* those that go */
    size_t n_fits;
    Vs__ScrubRequest__Step scrub;
    bool scrub_done;
    uint32_t forgotten;
    bool forgotten_clean;
    bool store_clean; /* FILES: the store's file is done */
    uint32_t trashed;
    bool replaced; /* SOURCES: other files lie where some were */
    struct erase_scan scan;
    char *certificate;
    struct error err; /* of a lane's work */
    /* what is to be written down */
    enum erasure_phase next;
    const char *place;
    char doing[160];
};

/* ---- erase.c ---- */

/* What waits for something else: looked at again in ms, or at once. */
void erasing_later(struct erasing *z, int64_t ms);
void erasing_go_on(struct erasing *z);
/* The phase has ended, after removing z->n things from place (NULL: nothing is counted). */
void erasing_step(struct erasing *z, enum erasure_phase next, const char *place);
/* It could not be done now: written down, tried again. */
void erasing_failed(struct erasing *z, const struct error *err);
void erasing_no_memory(struct erasing *z);
/* Work on ingest's lane; done ends with erasing_lane_ended. false: it failed. */
bool erasing_lane(struct erasing *z, lane_work_fn work, lane_done_fn done);
/* At the beginning of a lane's done: false when there is nothing to go on with. */
bool erasing_lane_ended(struct erasing *z);
/* A call to another service was made, or not: NULL is a failure. */
void erasing_called(struct erasing *z, struct rpc_request *request);
/* At the end of a call: false when it failed. */
bool erasing_call_ended(struct erasing *z, const struct error *err);
struct rpc_options erasing_options(const struct erasing *z);
/* For erase_files.h; valid until the book is read again. */
struct erase_contents erasing_contents(const struct erasing *z);
/* The last journal operation of an erasure has ended. */
void erasing_step_done(struct journal_op *op);

/* ---- erase_store.c ---- */
void erase_hide(struct erasing *z);
void erase_scrub(struct erasing *z, Vs__ScrubRequest__Step what);
void erase_vectors(struct erasing *z);
void erase_fit(struct erasing *z);

/* ---- erase_end.c ---- */
/* The look through the files has found something before: databases are written anew. */
bool erase_found_before(const struct erasing *z);
void erase_answers(struct erasing *z);
void erase_journal(struct erasing *z);
void erase_prove(struct erasing *z);

/* ---- erase_adopt.c ---- */
/* Before the journal's lane runs: what the list of erasures names and the journal does not know is
 * begun again. */
enum status erase_adopt(struct ingest *in, const char *tenant, struct journal *j,
                        const uint8_t *key, struct error *err) MUST_CHECK;

#endif
