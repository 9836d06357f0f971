/* Following one tenant's folder: what the watch reports is left to come to rest, looked at again
 * and written into the journal; scans find what no event told. An event is only a hint where to
 * look: what counts is what stands on the disk when it is looked at, so events may come twice, late
 * or in any order. Loop thread. */
#ifndef CARREL_INGEST_FOLLOW_H
#define CARREL_INGEST_FOLLOW_H

#include "ingest/journal_lane.h"
#include "ingest/watch.h"

#define FOLLOW_MOUNTS                                                                              \
    "mounts" /* the journal's note of what was mounted, as disk_take_mounts writes it */

struct follow;

struct follow_options {
    uv_loop_t *loop;
    const char *root;   /* folder, absolute; borrowed */
    const char *tenant; /* for log lines; borrowed */
    struct disk *disk;  /* of the folder; borrowed, its root is set here */
    struct journal_lane *journal;
    struct lane *scans; /* where folders are read */
    int64_t settle_ms;
    int64_t rescan_s;
    int64_t poll_s; /* instead, where events do not tell: on a network, at the limit on watches */
    void (*on_work)(void *data);  /* the journal has new work */
    void (*on_scanned)(void *data); /* a folder, or everything, was looked through */
    void (*on_rules)(void *data); /* some folder says something else of its readers */
    void *data;
};

struct follow_status {
    bool missing;     /* the folder is not there: its documents are kept */
    bool watch_limit; /* not every folder can be watched: rescanned every poll_s */
    bool network;     /* something of it is on a network: rescanned every poll_s */
    bool unreadable;  /* some folder could not be read at the last scan */
    bool scanning;
    bool scanned; /* at least one whole scan has ended */
    size_t watched;
    size_t passed_over; /* links, devices, pipes at the last whole scan */
    size_t ignored;     /* by a .carrelignore, then too; a folder is one */
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
