/* Following one tenant's folder: what the watch reports is left to come to rest, looked at again
 * and written into the journal; scans find what no event told. An event is only a hint where to
 * look: what counts is what stands on the disk when it is looked at, so events may come twice, late
 * or in any order. Loop thread. */
#ifndef CARREL_INGEST_FOLLOW_H
#define CARREL_INGEST_FOLLOW_H

#include "ingest/journal_lane.h"
#include "ingest/watch.h"

struct follow;

struct follow_options {
    uv_loop_t *loop;
    const char *root;   /* folder, absolute; borrowed */
    const char *tenant; /* for log lines; borrowed */
    struct journal_lane *journal;
    struct lane *scans; /* where folders are read */
    int64_t settle_ms;
    int64_t rescan_s;
    void (*on_work)(void *data); /* the journal has new work */
    void *data;
};

struct follow_status {
    bool missing;     /* the folder is not there: its documents are kept */
    bool watch_limit; /* not every folder can be watched: rescanned every 30 s */
    bool unreadable;  /* some folder could not be read at the last scan */
    bool scanning;
    bool scanned; /* at least one whole scan has ended */
    size_t watched;
    size_t passed_over; /* links, devices, pipes at the last whole scan */
    size_t settling;
    uint64_t lost; /* times that events were lost */
};

/* Starts with a whole scan. */
enum status follow_new(const struct follow_options *o, struct follow **out,
                       struct error *err) MUST_CHECK;
void follow_close(struct follow *f, void (*on_closed)(void *data), void *data);
/* Look at path when it has come to rest. */
void follow_touch(struct follow *f, struct str path, bool finished);
/* Look at everything soon. */
void follow_rescan(struct follow *f);
void follow_status(struct follow *f, struct follow_status *out);
/* Descriptor of the folder, -1 while it is missing. Stays open as long as f. */
int follow_root(const struct follow *f);
/* For tests: as if the kernel's queue had overflowed. */
void follow_lost(struct follow *f, const char *why);

#endif
