/* One look at a source: its listing, what has gone, what is new or changed, each file written into
 * the source's folder of the watched one by a temporary name and a rename. The follower does the
 * rest. Blocking; a thread of its own.
 *
 * A file goes only when a whole listing has not told of it: a listing that fails, is cut off or too
 * long deletes nothing, and one with no file, or far fewer, than there were counts when the next says
 * so too. Files that were deleted or erased here are not fetched again before they change. */
#ifndef CARREL_INGEST_SOURCES_POLL_H
#define CARREL_INGEST_SOURCES_POLL_H

#include <stdatomic.h>

#include "base/settings/settings.h"
#include "ingest/sources/state.h"

struct source_progress { /* written by the poll's thread, read by any */
    _Atomic bool listing;
    _Atomic uint64_t listed, fetched, deleted;
    _Atomic uint64_t number; /* of the poll under way */
};

struct source_job {
    const struct source_settings *source;
    const char *home;
    char root[4096]; /* the tenant's watched folder */
    bool forced;     /* by a person: although it is not due */
    bool first;      /* since the start: what failed is tried anew, the settings may be others */
    uint64_t room;   /* bytes that may be fetched */
    _Atomic bool cancelled;
    struct source_progress progress;

    /* what came of it */
    bool ran; /* false: it is not due yet */
    struct source_poll poll;
    struct source_counts counts;
    uint64_t passed_over, requests, bytes;
    struct error err; /* what was wrong with the whole */
};

void source_poll_run(struct source_job *j);

#endif
