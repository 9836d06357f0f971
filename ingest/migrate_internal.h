/* What the files of a migration share. Only migrate*.c include this. */
#ifndef CARREL_INGEST_MIGRATE_INTERNAL_H
#define CARREL_INGEST_MIGRATE_INTERNAL_H

#include <stdio.h>

#include "embed/embed_rpc.h"
#include "ingest/migrate.h"
#include "vectorstore/vectorstore_rpc.h"

/* Phases:
 *   IDLE     waits for the next look
 *   STATUS   asks the store how things stand and decides
 *   FIT      Scan -> Fit, the fit's bytes are collected
 *   PROBE    instead of a fit: asks embed how many dimensions an encoder of its own has
 *   STORE    PutEncoder
 *   SCAN     fetches a batch of chunks without vectors; none left: PUBLISH (of an encoder that is
 *            being built), else IDLE
 *   ENCODE   that batch
 *   VECTORS  that batch
 *   COMPARE  with the published one, where it takes its place (migrate_gate.c)
 *   PUBLISH  CONFLICT (new chunks came meanwhile): SCAN again
 *   HOLD     instead: it was worse */
enum phase {
    MIGRATE_IDLE,
    MIGRATE_STATUS,
    MIGRATE_FIT,
    MIGRATE_PROBE,
    MIGRATE_STORE,
    MIGRATE_SCAN,
    MIGRATE_ENCODE,
    MIGRATE_VECTORS,
    MIGRATE_COMPARE,
    MIGRATE_PUBLISH,
    MIGRATE_HOLD,
};

#define LOOK_MS 1000
#define BATCH 64
#define FIT_MAX_BYTES ((size_t)512 << 20)
#define BASIS_MAX_BYTES ((size_t)256)
#define BATCH_MAX_BYTES ((size_t)8 << 20)

enum gate_step { GATE_IDLE, GATE_LOOK, GATE_START, GATE_POLL, GATE_DIFFER, GATE_DENSE };

struct gate_interval {
    double mean, low, high;
};

/* The comparison of one encoder with the published one. */
struct gate {
    enum gate_step step;
    char of[128], against[128];
    int64_t since_ms; /* monotonic: of this try */
    unsigned attempts;

    /* the last reply */
    bool heard, running, paired;
    uint32_t done, total;
    struct error failed;
    uint64_t newest;     /* run, before ours */
    uint64_t a[2], b[2]; /* pairs of runs: as people search, by vectors alone */
    uint64_t generation;
    int64_t run_ms; /* wall: of the oldest of them */

    bool known, publish; /* settled */
    bool measured;
    int64_t at_wall_ms;
    uint32_t questions;
    struct gate_interval ndcg_10, recall_5, recall_20, dense;
    char verdict[16], why[224];
};

struct gate_told {
    Vs__Comparison comparison;
    Vs__Comparison__Interval intervals[3];
};

struct migration {
    struct tenant *t;
    uv_timer_t timer;
    bool timer_closed, closing;
    enum phase phase;
    struct rpc_request *request; /* the one call in flight (FIT: to embed) */
    struct rpc_request *scan;    /* FIT: from the store */
    int64_t backoff_ms;

    struct stood { /* what the store said last */
        bool known;
        char encoder[128], building[128], candidate[128];
        char intent[16];
        uint64_t generation;
        uint32_t chunks, retained, fitted_on, missing, candidate_missing;
    } stood;

    char encoder[128]; /* being filled */
    uint32_t dimensions;
    bool publish; /* it is being built; else only missing vectors are filled in */
    bool aside;   /* it is a candidate */
    int64_t looked_ms;
    uint32_t chunks, filled, missing;
    bool bad_building; /* the unfinished encoder cannot be used: fit anew */

    /* fit */
    uint32_t unfit_chunks;  /* so many there were when no encoder could be fitted to them: */
    int64_t unfit_until_ms; /* while there are as many, none is tried until then */
    struct buf blob;
    uint32_t fitted_on;
    struct buf basis; /* of the scan, for the store */
    bool fit_known;
    bool scan_ended;
    bool scan_failed;
    struct error scan_err;
    struct arena held; /* a message that the window did not take */
    Em__FitRequest *held_message;
    size_t sent; /* STORE: bytes */
    char stored_state[16];
    float progress;

    /* batch */
    struct arena batch;
    ProtobufCBinaryData *keys, *texts;
    char **titles;
    size_t n;
    uint8_t *vectors;
    struct buf cursor;   /* where the next batch begins, */
    char cursor_of[128]; /* and whose it is */

    /* a fit that was asked for: forced until it is published */
    bool forced;
    char fresh[128]; /* its name, once it is stored */
    void (*refitted)(const char *name, void *data);
    void *refitted_data;

    /* a candidate that a person asked for */
    struct wish {
        bool wanted, under_way;
        uint32_t dimensions; /* 0: as configured */
        char encoder[128];   /* of embed's own; "": a fit */
        char last[320];      /* what became of the last one */
        char useless[128];   /* a candidate that embed cannot use: left alone */
        bool by_setting;     /* encoder.model asked for it */
        char complete[128];  /* the last candidate whose vectors were complete, */
        int64_t complete_ms; /* and since when */
    } wish;

    /* what encoder.model comes to: it becomes a candidate, and is published when it is complete */
    struct setting_wish {
        char encoder[128]; /* "": not known yet */
        int64_t next_ms;   /* not asked for again before */
        bool declined;     /* somebody went back from it: not again while this runs */
    } set;

    struct gate gate;
    struct note { /* the wish, in the journal */
        struct journal_op op;
        bool running, again;
        char value[160];
        struct rpc_call *call; /* START: is answered when it is written */
    } note;

    char doing[224];
};

/* migrate.c */
struct rpc_client *migrate_store(const struct migration *m);
struct rpc_client *migrate_embed(const struct migration *m);
struct rpc_options migrate_options(const struct migration *m, uint32_t timeout_ms);
void migrate_later(struct migration *m, int64_t ms);
/* The step is done and there is nothing else to do. */
void migrate_rest(struct migration *m);
/* The step failed: everything is looked at again after a wait. */
void migrate_failed(struct migration *m, const struct error *err);
void migrate_no_memory(struct migration *m);
void migrate_forget_work(struct migration *m);
/* The fit that was asked for is over; name: "" where there is too little text. */
void migrate_refit_ended(struct migration *m, const char *name);
/* The wish is over, in words. */
void migrate_wish_ended(struct migration *m, const char *how);

/* migrate_fit.c */
void migrate_start_fit(struct migration *m);
void migrate_start_probe(struct migration *m);

/* migrate_fill.c: m->encoder's, from m->cursor on */
void migrate_start_scan(struct migration *m);
void migrate_start_publish(struct migration *m);
void migrate_start_hold_back(struct migration *m);

/* The wish is in the journal, or why not: who made it is told. */
void migrate_wish_noted(struct migration *m, const struct error *err);

/* migrate_note.c */
void migrate_note_read(struct migration *m);
void migrate_note_write(struct migration *m);

/* migrate_gate.c */
bool migrate_gate_wanted(const struct migration *m);
/* m->encoder against the published one; ends in migrate_start_publish or migrate_start_hold_back.
 */
void migrate_start_gate(struct migration *m);
void migrate_gate_go_on(struct migration *m);
void migrate_gate_forget(struct migration *m);
/* Of m->encoder against the published one. */
bool migrate_gate_known(const struct migration *m);
/* *out points into m. */
void migrate_gate_tell(const struct migration *m, struct gate_told *out);

#endif
