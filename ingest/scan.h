/* Walking a folder tree in bounded steps, for the start, for new folders and for lost events. Links
 * are never followed; each folder is watched before it is read, so that nothing falls between. Runs
 * on a lane's thread, one step at a time. */
#ifndef CARREL_INGEST_SCAN_H
#define CARREL_INGEST_SCAN_H

#include "base/arena.h"
#include "ingest/disk.h"
#include "ingest/watch.h"

#define SCAN_STEP_FILES 256

struct scan;

struct scan_file {
    struct str path; /* lives in the step's arena */
    struct file_stamp stamp;
};

struct scan_step {
    struct arena arena;
    struct scan_file files[SCAN_STEP_FILES];
    size_t n;
    size_t passed_over; /* links, devices, pipes, sockets */
    size_t ignored;     /* by a .carrelignore: files, and folders with all in them */
    bool end;
    bool watch_limit; /* a folder could not be watched for the system's limit */
    bool away;        /* a mounted folder is not there */
    bool unreadable;  /* a folder could not be read: what is in it is not known to be gone */
};

/* Borrows watch (NULL: only look). prefix is copied. */
struct scan *scan_new(struct disk *disk, struct watch *watch,
                      struct str prefix); /* NULL: out of memory */
void scan_free(struct scan *s);
/* Fills out (whose arena the caller initialised). */
void scan_run_step(struct scan *s, struct scan_step *out);

#endif
